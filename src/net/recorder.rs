//! Recordings: the octets that one connection read and wrote.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::version::Side;

/// The octets of one connection from its start, in the order in which they were
/// read and written here.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The octets of each read or write, and the side that sent them.
    pub steps: Vec<(Side, Vec<u8>)>,
    /// Whether more was sent than was kept.
    pub is_cut: bool,
    octets: usize,
}

impl Recording {
    /// How many octets were kept.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }
}

/// The maximum number of steps of a recording.
const STEPS: usize = 512;

/// Records one connection, up to a limit. Clones share one recording. A
/// connection without a recorder takes no lock.
#[derive(Clone, Debug)]
pub struct Recorder {
    kept: Arc<Mutex<Recording>>,
    limit: usize,
}

impl Recorder {
    /// A recorder that keeps at most this number of octets.
    #[must_use]
    pub fn new(octets: usize) -> Recorder {
        Recorder {
            kept: Arc::default(),
            limit: octets,
        }
    }

    /// A copy of the recording so far.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.kept().clone()
    }

    /// Stops and frees the recording: another recorder has replaced this one.
    pub(super) fn retire(&self) {
        *self.kept() = Recording {
            is_cut: true,
            ..Recording::default()
        };
    }

    /// Octets that are kept.
    pub(super) fn octets(&self) -> usize {
        self.kept().octets
    }

    /// Adds octets that this side sent.
    pub(super) fn note(&self, from: Side, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let mut kept = self.kept();
        let room = self.limit - kept.octets;
        if kept.is_cut || octets.len() > room || kept.steps.len() >= STEPS {
            // Nothing is kept after a gap: a recording is the start of a
            // conversation.
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
        // A step is pushed as a whole, so a panic cannot leave half of one.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_keeps_the_start_and_shows_that_it_was_cut() {
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
