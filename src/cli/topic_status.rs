//! How the broker of topics is, as it is told: once when it goes, and once when it is
//! back. And how long to wait until it is tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heirloom::bytes::{Escaped, Random};
use heirloom::net::SystemRandom;

use super::broker::{Broker, PATIENCE};

/// The first wait before a broker is tried again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A connection that was as long there was good: the next wait is the first again.
const GOOD: Duration = Duration::from_secs(10);
/// How often lost texts are told of.
const TELL_LOST: Duration = Duration::from_secs(10);

/// What both threads use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) broker: Broker,
    /// The name of this process.
    pub(super) origin: String,
    pub(super) status: Mutex<Status>,
    /// Messages of the broker that were no texts for here.
    pub(super) ignored: AtomicU64,
}

impl Shared {
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        // Its parts are set one by one, and each is right by itself.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of the first message that is ignored, and counts all.
    pub(super) fn ignore(&self, channel: &str, why: &str) {
        if self.ignored.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!(
                "a message on channel {} of the broker is ignored: {why}; others are only counted",
                Escaped::<200>(channel)
            );
        }
    }
}

/// Which of the two connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Out,
    In,
}

/// How the broker is, as it is told.
#[derive(Debug)]
pub(super) struct Status {
    place: String,
    out_is_up: bool,
    in_is_up: bool,
    /// It was told that the broker is away, and has been since then.
    away: Option<Instant>,
    /// It has been there before.
    was_up: bool,
    /// Texts that were not told of yet.
    pub(super) lost: u64,
    /// When lost texts were told of.
    told_lost: Option<Instant>,
    /// It was told that the broker refuses texts.
    told_refused: bool,
}

impl Status {
    pub(super) fn new(place: String) -> Status {
        Status {
            place,
            out_is_up: false,
            in_is_up: false,
            away: None,
            was_up: false,
            lost: 0,
            told_lost: None,
            told_refused: false,
        }
    }

    fn set(&mut self, way: Way, is_up: bool) {
        match way {
            Way::Out => self.out_is_up = is_up,
            Way::In => self.in_is_up = is_up,
        }
    }

    /// A connection is there. Tells when both are.
    pub(super) fn up(&mut self, way: Way) {
        self.set(way, true);
        if !self.out_is_up || !self.in_is_up {
            return;
        }
        let place = &self.place;
        if let Some(since) = self.away.take() {
            let seconds = since.elapsed().as_secs();
            let lost = std::mem::take(&mut self.lost);
            log::warn!(
                "the broker {place} is back after {seconds} s; {lost} texts from here did not \
                 reach it"
            );
        } else if !self.was_up {
            log::info!("topics are shared over {place}");
        }
        self.was_up = true;
    }

    /// A connection is not there. It is told once.
    pub(super) fn down(&mut self, way: Way, why: &str) {
        self.set(way, false);
        if self.away.is_none() {
            self.away = Some(Instant::now());
            log::warn!(
                "the broker {} is away: {why}; members here are served on, and nothing goes to \
                 other processes or comes from them until it is back",
                self.place
            );
        } else {
            log::debug!("the broker {} is still away: {why}", self.place);
        }
    }

    /// Texts do not reach the broker. While it is away they are told of when it is
    /// back.
    pub(super) fn lose(&mut self, texts: u64) {
        self.lost = self.lost.saturating_add(texts);
        let told = self
            .told_lost
            .is_some_and(|told| told.elapsed() < TELL_LOST);
        if self.lost > 0 && self.away.is_none() && !told {
            self.told_lost = Some(Instant::now());
            let lost = std::mem::take(&mut self.lost);
            log::warn!(
                "{lost} texts from here did not reach the broker {}: more are published than it \
                 takes",
                self.place
            );
        }
    }

    /// The broker does not take a text. It is told once.
    pub(super) fn refuse(&mut self, why: &str) {
        if !std::mem::replace(&mut self.told_refused, true) {
            log::warn!(
                "the broker {} does not take what is published here: {why}",
                self.place
            );
        }
    }
}

/// How long to wait until a broker is tried again.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    tried: Instant,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff {
            next: FIRST_WAIT,
            tried: Instant::now(),
        }
    }

    /// A connection is tried now.
    pub(super) fn start(&mut self) {
        self.tried = Instant::now();
    }

    /// The next wait: twice the last one at most, and shortened by chance, so that
    /// not all processes come back at once.
    pub(super) fn wait(&mut self) -> Duration {
        // To fail takes up to the patience with a connection, and with an answer.
        if self.tried.elapsed() > GOOD + PATIENCE {
            self.next = FIRST_WAIT;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        let mut chance = [0];
        SystemRandom.fill(&mut chance);
        wait / 2 + wait / 2 * u32::from(chance[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..100).map(|_| backoff.wait()).collect();
        let first = waits.first().expect("the first wait");
        assert!(*first >= FIRST_WAIT / 2 && *first <= FIRST_WAIT);
        assert!(waits.iter().all(|wait| *wait <= LONGEST_WAIT));
        let late: Vec<_> = waits.iter().skip(10).collect();
        assert!(late.iter().all(|wait| **wait >= LONGEST_WAIT / 2));
        assert!(
            late.iter().any(|wait| Some(wait) != late.first()),
            "no chance is in it"
        );
    }
}
