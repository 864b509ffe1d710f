//! The time of one turn of the loop.

use std::time::{Duration, Instant};

/// Milliseconds of the worker's life, read once for each turn of its loop.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    pub(super) now_ms: u64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            now_ms: 0,
        }
    }

    /// A turn of the loop starts.
    pub(super) fn tick(&mut self) {
        let life = self.start.elapsed();
        let whole_ms = life.as_secs().saturating_mul(1000);
        self.now_ms = whole_ms.saturating_add(life.subsec_millis().into());
    }

    /// The instant of this time.
    pub(super) fn at(&self, ms: u64) -> Instant {
        let after = Duration::from_millis(ms);
        self.start.checked_add(after).unwrap_or(self.start)
    }
}
