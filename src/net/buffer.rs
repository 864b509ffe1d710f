//! Buffers of messages and of output that waits. The memory of a large one goes
//! back to the system when it is dropped.
//!
//! A heap gives back only its end. Where thousands of large buffers were taken and
//! dropped, what little is kept above them holds all of their memory. So a large
//! buffer is no part of the heap: it has pages of its own.

use std::alloc::{Layout, handle_alloc_error};
use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::message::GatherBuffer;

/// From this many octets on, those of one page, a buffer has pages of its own.
pub(super) const LARGE: usize = 4 * 1024;

/// A buffer that grows.
#[derive(Debug)]
pub(super) struct Buffer(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    /// Of its pages, the first `len` octets are in use.
    Pages {
        pages: MmapMut,
        len: usize,
    },
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer(Memory::Heap(Vec::new()))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(octets) => octets,
            Memory::Pages { pages, len } => pages.split_at(*len).0,
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Heap(octets) => octets,
            Memory::Pages { pages, len } => pages.split_at_mut(*len).0,
        }
    }
}

impl Buffer {
    /// How many octets it can hold without more memory.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        match &self.0 {
            Memory::Heap(octets) => octets.capacity(),
            Memory::Pages { pages, .. } => pages.len(),
        }
    }

    pub(super) fn extend_from_slice(&mut self, octets: &[u8]) {
        let (len, more) = (self.len(), octets.len());
        self.reserve(more);
        match &mut self.0 {
            Memory::Heap(heap) => heap.extend_from_slice(octets),
            Memory::Pages { pages, len: used } => {
                let (_, free) = pages.split_at_mut(len);
                free.split_at_mut(more).0.copy_from_slice(octets);
                *used = len + more;
            }
        }
    }

    pub(super) fn truncate(&mut self, new_len: usize) {
        match &mut self.0 {
            Memory::Heap(octets) => octets.truncate(new_len),
            Memory::Pages { len, .. } => *len = new_len.min(*len),
        }
    }

    /// A buffer that can hold so many octets.
    ///
    /// # Errors
    ///
    /// Where there is no memory.
    pub(super) fn try_with_capacity(capacity: usize) -> Result<Buffer, TryReserveError> {
        if let Some(pages) = pages_for(capacity) {
            return Ok(Buffer(Memory::Pages { pages, len: 0 }));
        }
        // It is small, or the system has no more pages of their own.
        let mut octets = Vec::new();
        octets.try_reserve_exact(capacity)?;
        Ok(Buffer(Memory::Heap(octets)))
    }

    /// Takes the memory for `more` octets; it doubles at least.
    fn reserve(&mut self, more: usize) {
        let capacity = self.len().saturating_add(more);
        if capacity <= self.capacity() {
            return;
        }
        let capacity = capacity.max(self.capacity().saturating_mul(2));
        let Ok(mut larger) = Buffer::try_with_capacity(capacity) else {
            // As a vector does.
            handle_alloc_error(Layout::array::<u8>(capacity).unwrap_or(Layout::new::<u8>()));
        };
        larger.extend_from_slice(self);
        *self = larger;
    }
}

/// Pages for this many octets, if they are so many.
fn pages_for(octets: usize) -> Option<MmapMut> {
    if octets < LARGE {
        return None;
    }
    MmapMut::map_anon(octets.checked_next_multiple_of(LARGE)?).ok()
}

impl GatherBuffer for Buffer {
    fn octets(&self) -> &[u8] {
        self
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }

    fn capacity(&self) -> usize {
        Buffer::capacity(self)
    }

    fn extend_from_slice(&mut self, octets: &[u8]) {
        Buffer::extend_from_slice(self, octets);
    }

    fn resize(&mut self, new_len: usize) {
        if new_len > self.len() {
            self.reserve(new_len - self.len());
        }
        match &mut self.0 {
            Memory::Heap(octets) => octets.resize(new_len, 0),
            Memory::Pages { len, .. } => *len = new_len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_buffer_stays_while_it_grows_and_shrinks() {
        let (mut buffer, mut octets) = (Buffer::default(), Vec::new());
        for n in 0..100_u8 {
            let more = vec![n; usize::from(n) * 40];
            buffer.extend_from_slice(&more);
            octets.extend_from_slice(&more);
            assert!(*buffer == *octets);
            assert!(buffer.capacity() >= buffer.len());
            assert_eq!(
                matches!(buffer.0, Memory::Pages { .. }),
                buffer.capacity() >= LARGE
            );
        }
        buffer.resize(200_000);
        let (same, _) = buffer.split_at(octets.len());
        assert!(same == octets);
        buffer.truncate(3_000);
        assert!(buffer.to_vec() == octets.split_at(3_000).0);
        buffer.truncate(4_000);
        assert_eq!(buffer.len(), 3_000);
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        for capacity in [usize::MAX, isize::MAX as usize, 1 << 60] {
            assert!(Buffer::try_with_capacity(capacity).is_err());
        }
    }
}
