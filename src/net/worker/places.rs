//! How many connections there may be, over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::addresses::Addresses;
use super::link::CountedAs;

/// Connections above the limit that are being refused at the same time; more
/// are closed at once.
const REFUSED: usize = 64;

/// The connections of all workers, counted.
#[derive(Debug, Default)]
pub(in crate::net) struct Places {
    connections: AtomicUsize,
    surplus: AtomicUsize,
    /// Those of each address, where they are limited.
    pub(super) addresses: Arc<Addresses>,
}

impl Places {
    /// Takes a place for a new connection; `None` where there is not even one to
    /// refuse it.
    pub(super) fn take(&self, limit: usize) -> Option<CountedAs> {
        if take_one(&self.connections, limit) {
            Some(CountedAs::Connection)
        } else {
            take_one(&self.surplus, REFUSED).then_some(CountedAs::Surplus)
        }
    }

    /// A link is gone.
    pub(super) fn leave(&self, counted_as: CountedAs) {
        let counter = match counted_as {
            CountedAs::Connection => &self.connections,
            CountedAs::Surplus => &self.surplus,
            CountedAs::Bridge => return,
        };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more, if there are fewer than `limit`.
fn take_one(counter: &AtomicUsize, limit: usize) -> bool {
    let before = counter.fetch_add(1, Ordering::Relaxed);
    if before >= limit {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    before < limit
}
