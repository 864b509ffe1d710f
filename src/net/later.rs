//! Answers that another thread makes, while the loop goes on.

use std::fmt;
use std::sync::Arc;

use super::page::Page;
use super::post::{Mailbox, Post};

/// Seconds after which a client may ask again.
const RETRY_AFTER: &str = "1";

/// A page that another thread makes. Its connection is not read meanwhile; the
/// deadline of its handshake goes on to apply.
pub struct Later(Box<dyn FnOnce(Answer) + Send>);

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

impl Later {
    /// `ask` is called on the loop, once, and must not block: it hands the
    /// [`Answer`] to another thread.
    #[must_use]
    pub fn new(ask: impl FnOnce(Answer) + Send + 'static) -> Later {
        Later(Box::new(ask))
    }

    pub(super) fn ask(self, answer: Answer) {
        (self.0)(answer);
    }
}

/// Where a page goes that a connection waits for. One that is dropped answers
/// 503, so that its connection is not left without an answer.
#[derive(Debug)]
pub struct Answer {
    inbox: Arc<Mailbox>,
    token: usize,
    is_sent: bool,
}

impl Answer {
    /// For the link of this token, whose worker has this inbox.
    pub(super) fn new(inbox: Arc<Mailbox>, token: usize) -> Answer {
        Answer {
            inbox,
            token,
            is_sent: false,
        }
    }

    /// Answers with this page.
    pub fn send(mut self, page: Page) {
        self.post(page);
    }

    /// Answers 503: there is too much to do, and the client may ask again.
    pub fn refuse_busy(mut self) {
        self.post(busy());
    }

    fn post(&mut self, page: Page) {
        self.is_sent = true;
        let (token, page) = (self.token, Box::new(page));
        self.inbox.post_anyway(Post::Page { token, page });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_sent {
            self.post(busy());
        }
    }
}

fn busy() -> Page {
    let text = "there is too much to do at the moment; ask again\n";
    Page::new("text/plain; charset=utf-8", text)
        .with_status(503)
        .with_header("Retry-After", RETRY_AFTER)
        .with_header("Cache-Control", "no-store")
}
