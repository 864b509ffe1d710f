//! Memory of large messages, kept for the next ones.

/// Smaller buffers are not worth keeping.
const SMALL: usize = 4 * 1024;
/// Octets of buffers that are kept for the next large messages.
const POOL: usize = 16 * 1024 * 1024;
/// How long a buffer is kept without use, in milliseconds.
const POOL_MS: u64 = 2_000;

/// Buffers of large messages, kept for the next ones.
#[derive(Default)]
pub(super) struct Pool {
    buffers: Vec<Vec<u8>>,
    octets: usize,
    used_ms: u64,
}

impl Pool {
    pub(super) fn take(&mut self, now_ms: u64) -> Vec<u8> {
        self.used_ms = now_ms;
        let buffer = self.buffers.pop().unwrap_or_default();
        self.octets -= buffer.capacity();
        buffer
    }

    pub(super) fn put(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() >= SMALL && self.octets + buffer.capacity() <= POOL {
            self.octets += buffer.capacity();
            self.buffers.push(buffer);
        }
    }

    /// Milliseconds until it is worth a look, if anything is kept.
    pub(super) fn wait_ms(&self) -> Option<u64> {
        (self.octets > 0).then_some(POOL_MS)
    }

    pub(super) fn trim(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.used_ms) > POOL_MS {
            self.clear();
        }
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self) {
        self.buffers = Vec::new();
        self.octets = 0;
    }
}
