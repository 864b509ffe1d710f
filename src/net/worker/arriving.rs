//! A message that is arriving in pieces, and the time in which it must grow.

use crate::frame::Framing;
use crate::message::Gather;
use crate::net::buffer::Buffer;

/// Octets by which an unfinished message must grow in the time that it has: so
/// few that a slow upload is not ended, and more than a peer sends that only
/// keeps the message open.
const PROGRESS: usize = 16 * 1024;

/// A message that is arriving in pieces.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) gather: Gather<Buffer>,
    /// From when on its time counts.
    since_ms: u64,
    /// What had arrived then.
    had: usize,
}

impl Arriving {
    /// Nothing has arrived yet; there is room for a header in front.
    pub(super) fn new(now_ms: u64) -> Arriving {
        Arriving {
            gather: Gather::into_buffer(Buffer::default(), Framing::MAX_HEADER),
            since_ms: now_ms,
            had: 0,
        }
    }

    /// When it must have grown, where it has `message_ms` for that.
    pub(super) fn due_ms(&self, message_ms: u64) -> u64 {
        self.since_ms.saturating_add(message_ms)
    }

    /// Whether it has grown enough since its time counts.
    pub(super) fn has_grown(&self) -> bool {
        self.gather.len().saturating_sub(self.had) >= PROGRESS
    }

    /// Its time counts from now on.
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.had = self.gather.len();
    }
}
