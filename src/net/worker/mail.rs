//! Mailboxes between workers: bounded, and nobody waits at them. What does not
//! fit stays with the sender, who reads less until it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::Waker;

/// Posts that may wait in one mailbox.
const CAPACITY: usize = 64;

/// One worker's mail: its own box, and the way to all others.
#[derive(Debug)]
pub(in crate::net) struct Mail<P> {
    inbox: Receiver<P>,
    others: Vec<Other<P>>,
    /// Set by a sender whose post did not fit into our box.
    waited_for: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Other<P> {
    to: SyncSender<P>,
    waker: Arc<Waker>,
    waited_for: Arc<AtomicBool>,
    unsent: VecDeque<P>,
}

/// A mailbox for each of these workers.
pub(super) fn mailboxes<P>(wakers: &[Arc<Waker>]) -> Vec<Mail<P>> {
    let boxes: Vec<_> = wakers
        .iter()
        .map(|waker| {
            let (to, inbox) = sync_channel(CAPACITY);
            (
                to,
                inbox,
                Arc::clone(waker),
                Arc::new(AtomicBool::new(false)),
            )
        })
        .collect();
    let ways: Vec<_> = boxes
        .iter()
        .map(|(to, _, waker, flag)| (to.clone(), Arc::clone(waker), Arc::clone(flag)))
        .collect();
    let mail = boxes
        .into_iter()
        .enumerate()
        .map(|(i, (_, inbox, _, flag))| Mail {
            inbox,
            others: ways
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .map(|(_, (to, waker, waited_for))| Other {
                    to: to.clone(),
                    waker: Arc::clone(waker),
                    waited_for: Arc::clone(waited_for),
                    unsent: VecDeque::new(),
                })
                .collect(),
            waited_for: flag,
        });
    mail.collect()
}

impl<P: Clone> Mail<P> {
    /// Posts to all others. What does not fit is held.
    pub(super) fn post(&mut self, post: &P) {
        for other in &mut self.others {
            other.unsent.push_back(post.clone());
        }
        self.send_unsent();
    }

    /// Sends what was held; whether all of it went.
    pub(super) fn send_unsent(&mut self) -> bool {
        let mut all = true;
        for other in &mut self.others {
            let had = !other.unsent.is_empty();
            while let Some(post) = other.unsent.pop_front() {
                match other.to.try_send(post) {
                    Ok(()) => {}
                    Err(TrySendError::Full(post)) => {
                        other.unsent.push_front(post);
                        other.waited_for.store(true, Ordering::Release);
                        all = false;
                        break;
                    }
                    // That worker has ended, and its links with it.
                    Err(TrySendError::Disconnected(_)) => other.unsent.clear(),
                }
            }
            if had {
                wake(&other.waker);
            }
        }
        all
    }

    /// Whether something is held.
    pub(super) fn has_unsent(&self) -> bool {
        self.others.iter().any(|o| !o.unsent.is_empty())
    }

    /// The next post of another worker.
    pub(super) fn receive(&mut self) -> Option<P> {
        self.inbox.try_recv().ok()
    }

    /// Tells those who wait that there is room again.
    pub(super) fn has_room(&mut self) {
        if self.waited_for.swap(false, Ordering::AcqRel) {
            for other in &self.others {
                wake(&other.waker);
            }
        }
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::error!("cannot wake a worker: {error}");
    }
}
