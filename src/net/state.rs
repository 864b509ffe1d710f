//! Whether a server drains, and whether its workers still turn.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::post::{Mailbox, Post};

/// Whether a [`Server`](super::Server) drains. Clones are of the same server.
#[derive(Clone, Debug, Default)]
pub struct ServerState(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    drains: Mutex<bool>,
    changed: Condvar,
}

impl ServerState {
    /// Whether it is being stopped: it takes no new connections, and ends with the
    /// last one.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.lock()
    }

    /// Waits until it drains, at most this long. Gives whether it does.
    #[must_use]
    pub fn wait_for_drain(&self, at_most: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), at_most, |drains| !*drains);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// It drains from now on.
    pub(super) fn set_draining(&self) {
        *self.lock() = true;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds out whether the loops of all workers of a [`Server`](super::Server) still
/// turn.
#[derive(Debug)]
pub struct Liveness {
    inboxes: Vec<Arc<Mailbox>>,
    state: ServerState,
    /// The last question, where not all have answered it.
    asked: Mutex<Option<Receiver<()>>>,
}

impl Liveness {
    pub(super) fn new(inboxes: Vec<Arc<Mailbox>>, state: ServerState) -> Liveness {
        Liveness {
            inboxes,
            state,
            asked: Mutex::default(),
        }
    }

    /// Asks all workers, and waits at most this long for their answers. Gives
    /// whether all have answered. A worker answers between two turns of its loop;
    /// one that is stuck does not, nor one that has ended while the server is not
    /// being stopped.
    #[must_use]
    pub fn all_turn(&self, at_most: Duration) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // One question at a time, so that none pile up.
        let answers = asked.take().unwrap_or_else(|| {
            let (answer, answers) = channel();
            for inbox in &self.inboxes {
                inbox.post_anyway(Post::Answer(answer.clone()));
            }
            answers
        });
        // Each of them answers by giving its end up.
        if answers.recv_timeout(at_most) == Err(RecvTimeoutError::Timeout) {
            *asked = Some(answers);
            return false;
        }
        self.state.is_draining() || !self.inboxes.iter().any(|inbox| inbox.is_closed())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mio::{Poll, Token, Waker};

    use super::*;

    #[test]
    fn a_worker_that_does_not_answer_does_not_turn() {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let inbox = || Arc::new(Mailbox::new(1, Arc::clone(&waker)));
        let (one, other) = (inbox(), inbox());
        let state = ServerState::default();
        let inboxes = vec![Arc::clone(&one), Arc::clone(&other)];
        let liveness = Liveness::new(inboxes, state.clone());
        let short = Duration::from_millis(5);
        assert!(!liveness.all_turn(short));
        drop(one.take());
        assert!(!liveness.all_turn(short), "the other one has not answered");
        assert!(one.take().is_none(), "it was asked once");
        drop(other.take());
        assert!(liveness.all_turn(short), "the late answer counts");
        one.close();
        other.close();
        assert!(!liveness.all_turn(short), "both have ended");
        state.set_draining();
        assert!(liveness.all_turn(short), "as they are to");
        assert!(state.wait_for_drain(Duration::from_secs(60)));
    }
}
