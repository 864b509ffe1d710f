//! Warnings that any peer can cause: of each kind, one line a second.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a warning of one kind was logged last.
#[derive(Debug, Default)]
pub(super) struct WarningLimiter(Option<u64>);

impl WarningLimiter {
    /// Whether it is time for another: one a second.
    pub(super) fn again(&mut self, now_ms: u64) -> bool {
        let again = self.0.is_none_or(|at| now_ms >= at + 1000);
        if again {
            self.0 = Some(now_ms);
        }
        again
    }
}

/// The same for all threads of the process.
#[derive(Debug)]
pub(super) struct SharedLimiter(Mutex<Option<Instant>>);

impl SharedLimiter {
    pub(super) const fn new() -> SharedLimiter {
        SharedLimiter(Mutex::new(None))
    }

    /// Whether it is time for another: one a second.
    pub(super) fn again(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = last.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        if again {
            *last = Some(Instant::now());
        }
        again
    }
}

/// Lines a second about the steps of dials.
const STEPS: u32 = 20;

/// When the second began of which these lines were written, and how many were not.
static STEPS_OF_SECOND: Mutex<Option<(Instant, u32)>> = Mutex::new(None);

/// A step of a dial that goes wrong, for the log at level info. Of many in one second
/// some are left out, and their number is told.
pub(super) fn log_step(step: fmt::Arguments<'_>) {
    if !log::log_enabled!(target: "heirloom::net", log::Level::Info) {
        return;
    }
    let mut left_out = 0;
    {
        let mut second = STEPS_OF_SECOND
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (begin, lines) = second.get_or_insert_with(|| (Instant::now(), 0));
        if begin.elapsed() >= Duration::from_secs(1) {
            left_out = lines.saturating_sub(STEPS);
            (*begin, *lines) = (Instant::now(), 0);
        }
        *lines = lines.saturating_add(1);
        if *lines > STEPS {
            return;
        }
    }
    if left_out > 0 {
        log::info!(target: "heirloom::net", "{left_out} lines about dials were left out");
    }
    log::info!(target: "heirloom::net", "{step}");
}
