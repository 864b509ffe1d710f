//! Whether the workers of a server still turn.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::post::{Mailbox, Post};
use super::state::ServerState;

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
