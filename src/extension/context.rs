//! The memory of connections that keep what was compressed before.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// What the contexts of compression may take, of all connections together. Clones
/// count together.
#[derive(Clone, Debug)]
pub struct ContextMemory(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    limit: usize,
    held: AtomicUsize,
}

impl ContextMemory {
    /// The octets of a [`ContextMemory`] where none are given: 64 MiB, which is
    /// enough for some 240 connections.
    pub const DEFAULT_OCTETS: usize = 64 * 1024 * 1024;

    /// At most this many octets.
    #[must_use]
    pub fn new(octets: usize) -> ContextMemory {
        ContextMemory(Arc::new(Counter {
            limit: octets,
            held: AtomicUsize::new(0),
        }))
    }

    /// Octets that are taken now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Takes this many octets until what it gives is dropped; `None` where there
    /// are not as many.
    pub(crate) fn take(&self, octets: usize) -> Option<HeldContexts> {
        let taken = self
            .0
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                let held = held.checked_add(octets)?;
                (held <= self.0.limit).then_some(held)
            });
        taken.ok().map(|_| HeldContexts {
            memory: self.clone(),
            octets,
        })
    }
}

impl Default for ContextMemory {
    fn default() -> ContextMemory {
        ContextMemory::new(ContextMemory::DEFAULT_OCTETS)
    }
}

/// The memory of one connection's contexts.
#[derive(Debug)]
pub(crate) struct HeldContexts {
    memory: ContextMemory,
    octets: usize,
}

impl Drop for HeldContexts {
    fn drop(&mut self) {
        self.memory.0.held.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let memory = ContextMemory::new(10);
        let held = memory.take(6);
        assert!(held.is_some());
        assert!(memory.take(5).is_none());
        assert_eq!(memory.held(), 6);
        drop(held);
        assert_eq!(memory.held(), 0);
        assert!(memory.take(10).is_some());
    }
}
