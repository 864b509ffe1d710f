//! Tapes: what goes over one connection's wire, kept for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::version::Side;

/// What was said on one connection, from its begin, in the order in which it
/// was read and written here.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What each read or write held, and whose it was.
    pub steps: Vec<(Side, Vec<u8>)>,
    /// Whether more was said than was kept.
    pub is_cut: bool,
    octets: usize,
}

/// Steps of a conversation that are kept.
const STEPS: usize = 512;

/// Keeps the conversation of one connection, up to a bound. Copies of a
/// recorder record the same. Only connections that have one pay for its lock.
#[derive(Clone, Debug)]
pub struct Recorder {
    kept: Arc<Mutex<Recording>>,
    limit: usize,
}

impl Recorder {
    /// A recorder for so many octets.
    #[must_use]
    pub fn new(octets: usize) -> Recorder {
        Recorder {
            kept: Arc::default(),
            limit: octets,
        }
    }

    /// What was said so far.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.kept().clone()
    }

    /// Keeps nothing more and gives the memory back: another recorder took its
    /// place.
    pub(super) fn retire(&self) {
        *self.kept() = Recording {
            is_cut: true,
            ..Recording::default()
        };
    }

    /// One side says something.
    pub(super) fn note(&self, from: Side, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let mut kept = self.kept();
        let room = self.limit - kept.octets;
        if kept.is_cut || octets.len() > room || kept.steps.len() >= STEPS {
            // Nothing after what is missing: what is kept is a begin.
            let octets = octets.get(..room).unwrap_or(octets);
            if !kept.is_cut && !octets.is_empty() {
                kept.steps.push((from, octets.to_vec()));
                kept.octets += octets.len();
            }
            kept.is_cut = true;
            return;
        }
        kept.steps.push((from, octets.to_vec()));
        kept.octets += octets.len();
    }

    fn kept(&self) -> MutexGuard<'_, Recording> {
        // Half a step cannot be there: it is pushed whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_keeps_a_begin_and_says_that_more_was_said() {
        let recorder = Recorder::new(5);
        recorder.note(Side::Client, b"abc");
        assert!(!recorder.recording().is_cut);
        recorder.note(Side::Server, b"defg");
        recorder.note(Side::Client, b"h");
        let kept = recorder.recording();
        let steps = [
            (Side::Client, b"abc".to_vec()),
            (Side::Server, b"de".to_vec()),
        ];
        assert_eq!(kept.steps, steps);
        assert!(kept.is_cut);
    }
}
