//! What reaches a worker from other threads: posts, through a bounded mailbox
//! that never blocks its sender.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::listen::{Listen, ListenPolicy, Takes};
use super::listener::Listener;
use super::page::Page;
use super::proxy::ClientAddress;
use super::resolve::Found;
use super::settings::Settings;
use super::topic::{Batch, OutsideTexts};
use super::transport::Transport;
use crate::conn::Config;
use crate::frame::Kind;

/// A request to a worker from another thread.
#[derive(Debug)]
pub(super) enum Post {
    /// Texts for the subscribers of a topic.
    Publish(Batch),
    /// Texts from outside, for the subscribers of a topic in all workers.
    PublishToAll(OutsideTexts),
    /// A message for one connection.
    Send {
        token: usize,
        kind: Kind,
        payload: Vec<u8>,
    },
    /// A close for one connection.
    Close {
        token: usize,
        code: u16,
        reason: String,
    },
    /// The addresses of the backend that this link is to reach.
    Resolved { token: usize, found: Found },
    /// The page that this link waits for.
    Page { token: usize, page: Box<Page> },
    /// The configuration and settings from now on.
    Settings(Arc<Policy>),
    /// Where to listen from now on.
    Listen(Box<NewListeners>),
    /// A client that another worker has accepted.
    Client(Box<NewClient>),
    /// Give this up: the loop turns.
    Answer(Sender<()>),
    /// Close the connections whose route is gone.
    Retire { drain_ms: u64, spread_ms: u64 },
    /// Close all connections, and end.
    Drain,
}

/// Where a worker is to listen.
#[derive(Debug)]
pub(super) struct NewListeners {
    /// All places of the server, with their policies.
    pub(super) places: Arc<[Listen]>,
    /// Those that are new to this worker.
    pub(super) bound: Vec<Listener>,
}

/// A client that was accepted, and nothing of it read.
#[derive(Debug)]
pub(super) struct NewClient {
    pub(super) transport: Transport,
    pub(super) address: ClientAddress,
    pub(super) takes: Takes,
    pub(super) policy: Arc<ListenPolicy>,
}

/// The configuration and settings of the connections of a server.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// The configuration of a request before its route is known.
    pub(super) config: Arc<Config>,
    pub(super) settings: Settings,
}

/// Posts that wait for one worker.
#[derive(Debug)]
pub(super) struct Mailbox {
    posts: Mutex<Posts>,
    capacity: usize,
    waker: Arc<Waker>,
}

#[derive(Debug, Default)]
struct Posts {
    queue: VecDeque<Post>,
    /// A post was returned because there was no room.
    wanted: bool,
    /// The worker has ended.
    closed: bool,
}

/// A post that a mailbox did not take.
#[derive(Debug)]
pub(super) enum NotPosted {
    /// The mailbox is at its capacity.
    Full,
    /// The worker has ended, and its connections with it.
    Closed,
}

impl Mailbox {
    /// A mailbox with this capacity, for the worker with this waker.
    pub(super) fn new(capacity: usize, waker: Arc<Waker>) -> Mailbox {
        Mailbox {
            posts: Mutex::default(),
            capacity,
            waker,
        }
    }

    /// Adds a post, if there is room.
    pub(super) fn post(&self, post: Post) -> Result<(), NotPosted> {
        let mut posts = self.posts();
        if posts.closed {
            return Err(NotPosted::Closed);
        }
        if posts.queue.len() >= self.capacity {
            posts.wanted = true;
            return Err(NotPosted::Full);
        }
        self.push(posts, post);
        Ok(())
    }

    /// Adds a text from outside for the subscribers of a topic, if there is room. It
    /// joins the last post where that is of the same topic and waits yet.
    pub(super) fn post_text(&self, topic: &str, text: &str) -> Result<(), NotPosted> {
        let mut posts = self.posts();
        if posts.closed {
            return Err(NotPosted::Closed);
        }
        if let Some(Post::PublishToAll(texts)) = posts.queue.back_mut() {
            if texts.add(topic, text) {
                return Ok(());
            }
        }
        drop(posts);
        self.post(Post::PublishToAll(OutsideTexts::new(topic, text)))
    }

    /// Adds a post whether or not there is room. Only for posts that are rare.
    pub(super) fn post_anyway(&self, post: Post) {
        let posts = self.posts();
        if !posts.closed {
            self.push(posts, post);
        }
    }

    /// Hands a client over, or gives it back where there is no room or the worker
    /// has ended.
    pub(super) fn hand_over(&self, client: Box<NewClient>) -> Result<(), Box<NewClient>> {
        let posts = self.posts();
        if posts.closed || posts.queue.len() >= self.capacity {
            return Err(client);
        }
        self.push(posts, Post::Client(client));
        Ok(())
    }

    fn push(&self, mut posts: MutexGuard<'_, Posts>, post: Post) {
        let was_empty = posts.queue.is_empty();
        posts.queue.push_back(post);
        drop(posts);
        // The worker takes posts until the queue is empty, so it needs waking
        // only where the queue was empty.
        if was_empty {
            self.wake();
        }
    }

    /// The next post.
    pub(super) fn take(&self) -> Option<Post> {
        self.posts().queue.pop_front()
    }

    /// Whether a post was returned for want of room since the last call.
    pub(super) fn was_wanted(&self) -> bool {
        std::mem::take(&mut self.posts().wanted)
    }

    /// The worker is about to end: refuses all further posts, unless a client waits
    /// here. Gives whether none does.
    pub(super) fn close_without_clients(&self) -> bool {
        let mut posts = self.posts();
        let has_client = posts
            .queue
            .iter()
            .any(|post| matches!(post, Post::Client(_)));
        posts.closed |= !has_client;
        !has_client
    }

    /// Refuses all further posts: the worker has ended.
    pub(super) fn close(&self) {
        let mut posts = self.posts();
        posts.closed = true;
        posts.queue.clear();
    }

    /// Whether the worker has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.posts().closed
    }

    /// Wakes the worker.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake a worker: {error}");
        }
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        // A post is pushed or taken as a whole, so a panic leaves no half of one.
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use mio::{Poll, Token};

    use super::*;

    #[test]
    fn a_mailbox_does_not_close_while_a_client_waits_and_takes_none_afterwards() {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        let mailbox = Mailbox::new(2, Arc::new(waker));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let client = || {
            let stream = TcpStream::connect(address).expect("loopback");
            Box::new(NewClient {
                address: ClientAddress::from(stream.local_addr().expect("connected")),
                transport: Transport::from_std(stream).expect("options"),
                takes: Takes::default(),
                policy: Arc::default(),
            })
        };
        mailbox.post_anyway(Post::Drain);
        assert!(mailbox.hand_over(client()).is_ok());
        assert!(mailbox.hand_over(client()).is_err(), "there is no room");
        assert!(!mailbox.close_without_clients());
        assert!(matches!(mailbox.take(), Some(Post::Drain)));
        assert!(matches!(mailbox.take(), Some(Post::Client(_))));
        assert!(mailbox.close_without_clients());
        assert!(mailbox.hand_over(client()).is_err(), "the worker has ended");
    }
}
