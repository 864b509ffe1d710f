//! Memory of large messages, kept for the next ones.

use std::collections::TryReserveError;

use crate::net::buffer::{Buffer, LARGE};

/// Octets of buffers that are kept for the next large messages.
const POOL: usize = 16 * 1024 * 1024;
/// How long a buffer is kept without use, in milliseconds.
const POOL_MS: u64 = 2_000;

/// Buffers of large messages, kept for the next ones.
#[derive(Default)]
pub(super) struct Pool {
    /// Those of `LARGE` octets and more, of twice as much and more, and so on.
    sizes: Vec<Vec<Buffer>>,
    octets: usize,
    used_ms: u64,
}

/// Among which of the sizes a buffer of this capacity is kept, if it is.
fn size_of(capacity: usize) -> Option<usize> {
    let size = (capacity / LARGE).checked_ilog2()?;
    usize::try_from(size).ok()
}

impl Pool {
    /// Gives a buffer a capacity of `least`, by another one where it has less. A kept
    /// one that can hold the `whole` message is preferred. What is in it stays.
    ///
    /// # Errors
    ///
    /// Where there is no memory.
    pub(super) fn grow(
        &mut self,
        buffer: &mut Buffer,
        (least, whole): (usize, usize),
        now_ms: u64,
    ) -> Result<(), TryReserveError> {
        if buffer.capacity() >= least {
            return Ok(());
        }
        let mut larger = match self.take(least, whole, now_ms) {
            Some(larger) => larger,
            None => Buffer::try_with_capacity(least)?,
        };
        larger.extend_from_slice(buffer);
        self.put(std::mem::replace(buffer, larger));
        Ok(())
    }

    /// A small one that can hold the whole message, or else the largest.
    fn take(&mut self, least: usize, whole: usize, now_ms: u64) -> Option<Buffer> {
        if whole < LARGE {
            return None;
        }
        self.used_ms = now_ms;
        let holds = |octets: usize| {
            move |buffers: &Vec<Buffer>| buffers.last().is_some_and(|b| b.capacity() >= octets)
        };
        let sizes = &mut self.sizes;
        let size = sizes
            .iter()
            .position(holds(whole))
            .or_else(|| sizes.iter().rposition(holds(least)))?;
        let buffer = sizes.get_mut(size)?.pop()?;
        self.octets -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer where there is room. Smaller ones make room for it: a short
    /// message can have a long buffer, and a long one need not move then.
    pub(super) fn put(&mut self, mut buffer: Buffer) {
        let capacity = buffer.capacity();
        let Some(size) = size_of(capacity) else {
            return;
        };
        while self.octets + capacity > POOL {
            let mut smaller = self.sizes.iter_mut().take(size);
            let Some(dropped) = smaller.find_map(Vec::pop) else {
                return;
            };
            self.octets -= dropped.capacity();
        }
        buffer.truncate(0);
        self.octets += capacity;
        if self.sizes.len() <= size {
            self.sizes.resize_with(size + 1, Vec::new);
        }
        if let Some(buffers) = self.sizes.get_mut(size) {
            buffers.push(buffer);
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
        self.sizes = Vec::new();
        self.octets = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A buffer of this capacity that holds one octet.
    fn buffer(capacity: usize) -> Buffer {
        let mut buffer = Buffer::try_with_capacity(capacity).unwrap();
        buffer.extend_from_slice(b"x");
        buffer
    }

    #[test]
    fn a_buffer_grows_into_one_that_was_kept() {
        let mut pool = Pool::default();
        let mut small = buffer(10);
        pool.put(buffer(5 * LARGE));
        pool.put(buffer(7 * LARGE));
        pool.put(buffer(100));
        assert_eq!(pool.octets, 12 * LARGE);
        // The last one of that size is large enough, and then it is not.
        pool.grow(&mut small, (6 * LARGE, usize::MAX), 0).unwrap();
        assert_eq!((small.capacity(), &*small), (7 * LARGE, &b"x"[..]));
        assert_eq!(pool.octets, 5 * LARGE);
        pool.grow(&mut small, (9 * LARGE, 20 * LARGE), 0).unwrap();
        assert_eq!((small.capacity(), &*small), (9 * LARGE, &b"x"[..]));
        assert_eq!(pool.octets, 12 * LARGE);
        pool.trim(POOL_MS + 1);
        assert_eq!((pool.octets, pool.wait_ms()), (0, None));
    }

    #[test]
    fn not_more_is_kept_than_there_is_room_for() {
        let mut pool = Pool::default();
        for _ in 0..20 {
            pool.put(buffer(POOL / 8));
        }
        assert_eq!(pool.octets, POOL);
        pool.put(buffer(POOL / 16));
        assert_eq!(pool.octets, POOL);
        let mut kept = |least, whole| pool.take(least, whole, 0).unwrap().capacity();
        assert_eq!(kept(POOL / 16, POOL / 16), POOL / 8);
        pool.put(buffer(POOL / 16));
        pool.put(buffer(POOL / 16));
        pool.put(buffer(POOL / 8));
        assert_eq!(pool.octets, POOL);
        let mut kept = |least, whole| pool.take(least, whole, 0).unwrap().capacity();
        assert_eq!(kept(POOL / 16, POOL / 16), POOL / 8);
        pool.put(buffer(POOL / 16));
        let mut kept = |least, whole| pool.take(least, whole, 0).unwrap().capacity();
        assert_eq!(kept(LARGE, POOL / 20), POOL / 16);
        assert_eq!(kept(LARGE, POOL), POOL / 8);
    }
}
