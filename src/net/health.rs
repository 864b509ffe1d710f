//! Whether a server that is dialled can be reached: one that could not be rests, for
//! longer and longer.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Milliseconds between two lines in the log about one server.
const TELL_MS: u64 = 1_000;

/// How long a server rests that could not be reached, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RestTimes {
    /// After the first failure. It doubles with each one that follows.
    pub(super) first_ms: u64,
    /// The longest rest.
    pub(super) most_ms: u64,
    /// How long one trial keeps other clients from the server.
    pub(super) trial_ms: u64,
}

/// What is known of a server from the connections to it.
#[derive(Debug, Default)]
pub(super) struct Health {
    rest: Mutex<Rest>,
    connects: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Rest {
    /// Failures since it was reached last.
    in_row: u32,
    /// When its rest is over.
    until_ms: u64,
    /// The log says that it cannot be reached.
    told: bool,
    /// When the log got a line about it.
    told_ms: Option<u64>,
}

/// Whether a server is to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// It was reached, or never dialled.
    Up,
    /// Its rest is over, and the caller is to try it; others wait for the result.
    Trial,
    /// It rests until then.
    Resting(u64),
}

/// Milliseconds since the first call in this process.
pub(super) fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let life = START.get_or_init(Instant::now).elapsed();
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
}

impl Health {
    fn rest(&self) -> MutexGuard<'_, Rest> {
        // Nothing that can panic is done under the lock.
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be dialled. Where its rest is over, one caller gets
    /// [`Availability::Trial`].
    pub(super) fn ask(&self, now_ms: u64, times: RestTimes) -> Availability {
        let mut rest = self.rest();
        if rest.in_row == 0 {
            return Availability::Up;
        }
        if now_ms < rest.until_ms {
            return Availability::Resting(rest.until_ms);
        }
        rest.until_ms = now_ms.saturating_add(times.trial_ms);
        Availability::Trial
    }

    /// The same without a trial: it rests until it was reached.
    pub(super) fn look(&self, now_ms: u64) -> Availability {
        let rest = self.rest();
        match rest.in_row {
            0 => Availability::Up,
            _ => Availability::Resting(rest.until_ms.max(now_ms)),
        }
    }

    /// It was reached. Says so in the log, where the log says the contrary.
    pub(super) fn reached(&self, name: &str, now_ms: u64) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let mut rest = self.rest();
        rest.in_row = 0;
        rest.until_ms = 0;
        if rest.told && rest.may_tell(now_ms) {
            rest.told = false;
            drop(rest);
            log::warn!(target: "heirloom::net", "the backend {name} is reached again");
        }
    }

    /// It could not be reached. It rests, and the log says so once. A failure while
    /// it rests prolongs its rest only where that was a trial: many dials may have
    /// begun before the first of them failed.
    pub(super) fn failed(
        &self,
        name: &str,
        why: &dyn Display,
        is_trial: bool,
        (now_ms, times): (u64, RestTimes),
    ) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut rest = self.rest();
        if rest.in_row == 0 || is_trial || now_ms >= rest.until_ms {
            rest.in_row = rest.in_row.saturating_add(1);
            let doubled = 1u64.checked_shl(rest.in_row - 1).unwrap_or(u64::MAX);
            let rest_ms = times.first_ms.saturating_mul(doubled).min(times.most_ms);
            rest.until_ms = now_ms.saturating_add(rest_ms);
        }
        if !rest.told && rest.may_tell(now_ms) {
            rest.told = true;
            drop(rest);
            log::warn!(target: "heirloom::net", "the backend {name} cannot be reached: {why}");
        }
    }

    /// Whether it rests, or waits for a trial.
    pub(super) fn is_resting(&self) -> bool {
        self.rest().in_row > 0
    }

    /// How often it was reached.
    pub(super) fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// How often it could not be reached.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl Rest {
    /// Whether the log may get a line: a server that comes and goes fills no log.
    fn may_tell(&mut self, now_ms: u64) -> bool {
        let may = self.told_ms.is_none_or(|at| now_ms >= at + TELL_MS);
        if may {
            self.told_ms = Some(now_ms);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: RestTimes = RestTimes {
        first_ms: 100,
        most_ms: 350,
        trial_ms: 50,
    };

    fn fail(health: &Health, is_trial: bool, now_ms: u64) {
        health.failed("h", &"why", is_trial, (now_ms, TIMES));
    }

    #[test]
    fn a_rest_doubles_up_to_a_bound_and_one_caller_tries() {
        let health = Health::default();
        assert_eq!(health.ask(0, TIMES), Availability::Up);
        fail(&health, false, 0);
        let mut now_ms = 0;
        for rest_ms in [100, 200, 350, 350] {
            let until = now_ms + rest_ms;
            assert_eq!(health.ask(until - 1, TIMES), Availability::Resting(until));
            assert_eq!(health.ask(until, TIMES), Availability::Trial);
            assert_eq!(health.ask(until, TIMES), Availability::Resting(until + 50));
            now_ms = until + 10;
            fail(&health, true, now_ms);
        }
        health.reached("h", now_ms);
        assert_eq!(health.ask(now_ms, TIMES), Availability::Up);
        fail(&health, false, now_ms);
        let first = Availability::Resting(now_ms + 100);
        assert_eq!(health.ask(now_ms, TIMES), first, "it starts again");
    }

    #[test]
    fn dials_that_began_before_the_first_failed_prolong_no_rest() {
        let health = Health::default();
        for now_ms in 0..20 {
            fail(&health, false, now_ms);
        }
        assert_eq!(health.ask(99, TIMES), Availability::Resting(100));
        assert_eq!(health.failures(), 20);
    }

    #[test]
    fn a_trial_without_an_end_is_followed_by_another() {
        let health = Health::default();
        fail(&health, false, 0);
        assert_eq!(health.ask(100, TIMES), Availability::Trial);
        assert_eq!(health.ask(149, TIMES), Availability::Resting(150));
        assert_eq!(health.ask(150, TIMES), Availability::Trial);
    }
}
