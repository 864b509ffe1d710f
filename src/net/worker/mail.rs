//! The mail of one worker. What does not fit into the mailbox of another worker
//! is kept here, and the connections that published it are not read until it
//! fits.

use std::collections::VecDeque;
use std::sync::Arc;

use mio::Waker;

use crate::net::post::{Mailbox, NewClient, NotPosted, Post};
use crate::net::tap::Tap;
use crate::net::topic::Batch;

/// Posts that may wait from other workers.
const FROM_WORKERS: usize = 64;
/// Posts that may wait from outside.
const FROM_OUTSIDE: usize = 1024;

/// The mailboxes of one worker.
#[derive(Clone, Debug)]
pub(in crate::net) struct Mailboxes {
    /// From the other workers, and what is never refused: new settings and the
    /// drain.
    pub(in crate::net) inbox: Arc<Mailbox>,
    /// From outside. It is not emptied while posts to other workers wait.
    pub(in crate::net) outside: Arc<Mailbox>,
}

impl Mailboxes {
    pub(super) fn new(waker: &Arc<Waker>) -> Mailboxes {
        let mailbox = |capacity| Arc::new(Mailbox::new(capacity, Arc::clone(waker)));
        Mailboxes {
            inbox: mailbox(FROM_WORKERS),
            outside: mailbox(FROM_OUTSIDE),
        }
    }
}

/// The mailboxes that a worker empties. They take nothing more once it is gone.
#[derive(Debug)]
pub(super) struct OwnMailboxes(pub(super) Mailboxes);

impl Drop for OwnMailboxes {
    fn drop(&mut self) {
        self.0.inbox.close();
        self.0.outside.close();
    }
}

/// One worker's mail: its own mailboxes, and those of all others.
#[derive(Debug)]
pub(super) struct Mail {
    own: OwnMailboxes,
    others: Vec<Other>,
    /// Links that are not read until all was sent.
    paused: Vec<usize>,
    /// Gets what connections of this worker publish.
    tap: Option<Tap>,
}

#[derive(Debug)]
struct Other {
    /// Which worker it is.
    worker: usize,
    inbox: Arc<Mailbox>,
    unsent: VecDeque<Batch>,
}

impl Mail {
    /// The mail of the worker that has `own` of all these mailboxes. `tap` gets what
    /// its connections publish.
    pub(super) fn new(own: OwnMailboxes, all: &[Mailboxes], tap: Option<Tap>) -> Mail {
        let inboxes = all.iter().map(|mailboxes| &mailboxes.inbox).enumerate();
        let others = inboxes.filter(|(_, inbox)| !Arc::ptr_eq(inbox, &own.0.inbox));
        let others = others.map(|(worker, inbox)| Other {
            worker,
            inbox: Arc::clone(inbox),
            unsent: VecDeque::new(),
        });
        Mail {
            others: others.collect(),
            own,
            paused: Vec::new(),
            tap,
        }
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.others.len() + 1
    }

    /// Sends texts of this worker's connections to all other workers, and to the tap.
    pub(super) fn publish_own(&mut self, batch: &Batch) {
        if let Some(tap) = &self.tap {
            tap.put(batch);
        }
        self.publish(batch);
    }

    /// Sends texts to all other workers. What does not fit is kept.
    pub(super) fn publish(&mut self, batch: &Batch) {
        for other in &mut self.others {
            other.unsent.push_back(batch.clone());
        }
        self.send_kept();
    }

    /// Sends what was kept. Gives the links that may be read again, once all of
    /// it was sent.
    pub(super) fn send_unsent(&mut self) -> Vec<usize> {
        self.send_kept();
        if self.has_unsent() {
            Vec::new()
        } else {
            std::mem::take(&mut self.paused)
        }
    }

    fn send_kept(&mut self) {
        for other in &mut self.others {
            while let Some(batch) = other.unsent.pop_front() {
                match other.inbox.post(Post::Publish(batch.clone())) {
                    Ok(()) => {}
                    Err(NotPosted::Full) => {
                        other.unsent.push_front(batch);
                        break;
                    }
                    Err(NotPosted::Closed) => other.unsent.clear(),
                }
            }
        }
    }

    /// Whether something is kept.
    pub(super) fn has_unsent(&self) -> bool {
        self.others.iter().any(|other| !other.unsent.is_empty())
    }

    /// This link is not read until all was sent.
    pub(super) fn pause(&mut self, token: usize) {
        self.paused.push(token);
    }

    /// Where this worker takes posts that are never refused.
    pub(super) fn inbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.own.0.inbox)
    }

    /// The next post of another worker.
    pub(super) fn receive(&self) -> Option<Post> {
        self.own.0.inbox.take()
    }

    /// The next post from outside. There is none while something is kept: it
    /// could be more to keep.
    pub(super) fn receive_from_outside(&self) -> Option<Post> {
        if self.has_unsent() {
            return None;
        }
        self.own.0.outside.take()
    }

    /// Tells other workers that have something to send that there is room.
    pub(super) fn announce_room(&self) {
        if self.own.0.inbox.was_wanted() {
            for other in &self.others {
                other.inbox.wake();
            }
        }
    }

    /// Has all other workers look at what they share.
    pub(super) fn wake_others(&self) {
        for other in &self.others {
            other.inbox.wake();
        }
    }

    /// Hands a client over to another worker, or gives it back.
    pub(super) fn hand_over(
        &self,
        worker: usize,
        client: Box<NewClient>,
    ) -> Result<(), Box<NewClient>> {
        match self.others.iter().find(|other| other.worker == worker) {
            Some(other) => other.inbox.hand_over(client),
            None => Err(client),
        }
    }

    /// The worker is about to end: takes no further posts, unless a client waits.
    /// Gives whether none does.
    pub(super) fn close_without_clients(&self) -> bool {
        self.own.0.inbox.close_without_clients()
    }

    /// Has all workers drain, this one too.
    pub(super) fn drain_all(&self) {
        self.own.0.inbox.post_anyway(Post::Drain);
        for other in &self.others {
            other.inbox.post_anyway(Post::Drain);
        }
    }
}
