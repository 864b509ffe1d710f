//! Memory that the connections of all workers hold, counted in steps: buffers of
//! less than a step cost nothing to count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Octets of one step.
const STEP: usize = 4 * 1024;
/// Octets above the limit that those may take together that hold nothing yet, at
/// least.
const SLACK: usize = 8 * 1024 * 1024;

/// What all connections hold, for all workers.
#[derive(Debug)]
pub(super) struct Budget {
    /// All of it, in octets.
    held: AtomicUsize,
    /// What of it belongs to input that is not finished: only its peer, or its
    /// end, gives it back.
    unfinished: AtomicUsize,
    /// Of each worker, since when the least active of its connections with such
    /// input was not active, in milliseconds from `start` on; `NONE` of one that
    /// has none.
    idle_since: Box<[AtomicU64]>,
    start: Instant,
}

const NONE: u64 = u64::MAX;

/// What one connection holds, in steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    unfinished: u32,
    other: u32,
}

impl Held {
    /// Of octets that belong to unfinished input, and of all others.
    #[inline]
    pub(super) fn of(unfinished: usize, other: usize) -> Held {
        let steps = |octets: usize| u32::try_from(octets / STEP).unwrap_or(u32::MAX);
        Held {
            unfinished: steps(unfinished),
            other: steps(other),
        }
    }

    /// Whether it holds unfinished input.
    pub(super) fn has_unfinished(self) -> bool {
        self.unfinished > 0
    }

    /// Whether it holds anything.
    pub(super) fn is_some(self) -> bool {
        self != Held::default()
    }
}

impl Budget {
    pub(super) fn new(workers: usize) -> Budget {
        Budget {
            held: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
            idle_since: (0..workers).map(|_| AtomicU64::new(NONE)).collect(),
            start: Instant::now(),
        }
    }

    /// Whether more is held than may be.
    #[inline]
    pub(super) fn is_over(&self, limit: usize) -> bool {
        self.held.load(Ordering::Relaxed) > limit
    }

    /// Whether so much more is held that those must wait too that hold nothing.
    pub(super) fn is_far_over(&self, limit: usize) -> bool {
        self.is_over(limit.saturating_add(SLACK.max(limit / 8)))
    }

    /// Whether unfinished input alone is more than may be held.
    pub(super) fn is_unfinished_over(&self, limit: usize) -> bool {
        self.unfinished.load(Ordering::Relaxed) > limit
    }

    /// Octets that are held.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A connection that held `before` holds `after`.
    pub(super) fn change(&self, before: Held, after: Held) {
        let octets = |steps: u32| steps as usize * STEP;
        let all = |held: Held| octets(held.unfinished) + octets(held.other);
        change(&self.held, all(before), all(after));
        let (before, after) = (octets(before.unfinished), octets(after.unfinished));
        change(&self.unfinished, before, after);
    }

    /// Counts octets that belong to no single connection, as long as the charge
    /// lives.
    pub(super) fn charge(self: &Arc<Self>, octets: usize) -> Charge {
        self.held.fetch_add(octets, Ordering::Relaxed);
        Charge {
            budget: Arc::clone(self),
            octets,
        }
    }

    /// Whether this worker has the least active of all connections with
    /// unfinished input: one that is not active for `idle_ms`, or none.
    pub(super) fn has_least_active(&self, worker: usize, idle_ms: Option<u64>) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NONE);
        let own = idle_ms.map_or(NONE, |idle| now.saturating_sub(idle));
        if let Some(slot) = self.idle_since.get(worker) {
            slot.store(own, Ordering::Release);
        }
        let all = self.idle_since.iter().map(|at| at.load(Ordering::Acquire));
        own != NONE && all.min().is_some_and(|least| own <= least)
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.idle_since.len()
    }
}

fn change(counter: &AtomicUsize, before: usize, after: usize) {
    if after > before {
        counter.fetch_add(after - before, Ordering::Relaxed);
    } else {
        counter.fetch_sub(before - after, Ordering::Relaxed);
    }
}

/// Octets that are counted as long as this lives.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    octets: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_held_no_more() {
        let budget = Arc::new(Budget::new(1));
        let (none, some) = (Held::default(), Held::of(9000, 5000));
        budget.change(none, some);
        assert_eq!(budget.held(), 3 * STEP);
        assert!(budget.is_unfinished_over(2 * STEP - 1));
        assert!(!budget.is_unfinished_over(2 * STEP));
        let charge = budget.charge(10);
        assert!(budget.is_over(3 * STEP));
        drop(charge);
        budget.change(some, Held::of(4095, 4095));
        assert_eq!(budget.held(), 0);
        assert!(!budget.is_over(0));
    }

    #[test]
    fn of_all_workers_the_one_with_the_least_active_connection_is_found() {
        let budget = Budget::new(2);
        assert!(!budget.has_least_active(0, None));
        assert!(budget.has_least_active(0, Some(0)));
        // As if it had not been active since the start.
        assert!(budget.has_least_active(1, Some(u64::MAX)));
        while budget.start.elapsed().as_millis() == 0 {
            std::thread::yield_now();
        }
        assert!(!budget.has_least_active(0, Some(0)));
        assert!(!budget.has_least_active(1, None));
        assert!(budget.has_least_active(0, Some(0)));
    }
}
