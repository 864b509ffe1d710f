//! The lab pages that a server remembers, by their tokens.
//!
//! A token is proved by a key of the server, so that a page is known without
//! being kept: however many strangers load the page, none that is in use is
//! forgotten. What is kept of a page starts with its first connection. Of these
//! the oldest whose connection is closed makes room; where all are open, one
//! more is not recorded. The names of browsers that loaded a page and have not
//! connected yet are kept apart, and the oldest of them go first: without it a
//! page is told the name that it asks with.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha1::{Digest, Sha1};

use super::later::Answer;
use super::recorder::Recorder;
use crate::bytes::Random;
use crate::random::SystemRandom;
use crate::version::Version;

/// Pages with a connection that are kept, and names of pages without one.
const PAGES: usize = 128;
/// Octets of one connection that are kept.
const RECORDED: usize = 64 * 1024;
/// Octets of a token that are random, and as many prove it.
const HALF: usize = 8;
/// Questions of one page that may wait for their answers.
const ASKERS: usize = 4;

/// The pages of one lab.
pub(super) struct Pages {
    key: [u8; 32],
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Pages that have connected.
    connected: VecDeque<Arc<PageEntry>>,
    /// Pages that were loaded, with the names of their browsers.
    loaded: VecDeque<(String, String)>,
}

/// One page, and the last connection that it opened.
#[derive(Debug)]
pub(super) struct PageEntry {
    pub(super) token: String,
    /// The name of the browser that loaded it, as far as it is still known.
    pub(super) agent: Option<String>,
    seen: Mutex<PageConnection>,
    askers: Mutex<Vec<(Question, Answer)>>,
}

/// What a page asks about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Connection,
    Vector,
}

/// Whether a question is the first that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is: the answer is to be made.
    First,
    /// Others wait, and it gets its answer with them.
    Joined,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PageConnection {
    pub(super) number: u64,
    pub(super) recorder: Option<Recorder>,
    pub(super) version: Option<&'static Version>,
    pub(super) subprotocol: Option<String>,
    pub(super) open: bool,
    /// It has come to its end.
    pub(super) closed: bool,
    /// The code of the refusal, where it was refused.
    pub(super) refused: Option<&'static str>,
}

impl Pages {
    pub(super) fn new() -> Pages {
        let mut key = [0; 32];
        SystemRandom.fill(&mut key);
        Pages {
            key,
            kept: Mutex::default(),
        }
    }

    /// The token of a page that a browser of this name loads.
    pub(super) fn load(&self, agent: &str) -> String {
        let token = self.token();
        let mut kept = self.kept();
        if kept.loaded.len() >= PAGES {
            kept.loaded.pop_front();
        }
        kept.loaded.push_back((token.clone(), agent.to_owned()));
        token
    }

    /// A token that no page has.
    pub(super) fn token(&self) -> String {
        let mut random = [0; HALF];
        SystemRandom.fill(&mut random);
        hex(&random) + &hex(&self.proof(&random))
    }

    /// The page of this token: what is kept of it, or one without a connection.
    pub(super) fn find(&self, token: &str) -> Option<Arc<PageEntry>> {
        if !self.is_own(token) {
            return None;
        }
        let kept = self.kept();
        Some(kept.find(token).unwrap_or_else(|| kept.without(token)))
    }

    /// The page of this token, which has a connection now. None where there is
    /// no room for it: all that are kept are open.
    pub(super) fn connect(&self, token: &str) -> Option<Arc<PageEntry>> {
        if !self.is_own(token) {
            return None;
        }
        let mut kept = self.kept();
        if let Some(entry) = kept.find(token) {
            return Some(entry);
        }
        if kept.connected.len() >= PAGES {
            let is_closed = |entry: &Arc<PageEntry>| entry.seen().closed;
            let oldest = kept.connected.iter().position(is_closed)?;
            kept.connected.remove(oldest);
        }
        let entry = kept.without(token);
        kept.loaded.retain(|(loaded, _)| loaded != token);
        kept.connected.push_back(Arc::clone(&entry));
        Some(entry)
    }

    /// Whether this server made the token.
    fn is_own(&self, token: &str) -> bool {
        if token.len() != 4 * HALF || !token.is_ascii() {
            return false;
        }
        let (random, proof) = token.split_at(2 * HALF);
        let mut octets = [0; HALF];
        for (octet, digits) in octets.iter_mut().zip(random.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            let Ok(value) = u8::from_str_radix(digits, 16) else {
                return false;
            };
            *octet = value;
        }
        // One spelling only. The time that the comparison takes shows at most a
        // token of a page that was never loaded.
        hex(&octets) == random && hex(&self.proof(&octets)) == proof
    }

    /// HMAC of these octets (RFC 2104), with SHA-1, cut.
    fn proof(&self, octets: &[u8; HALF]) -> [u8; HALF] {
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            for (octet, key) in block.iter_mut().zip(self.key) {
                *octet ^= key;
            }
            block
        };
        let inner = Sha1::new().chain_update(padded(0x36)).chain_update(octets);
        let outer = Sha1::new()
            .chain_update(padded(0x5c))
            .chain_update(inner.finalize());
        let mut proof = [0; HALF];
        for (octet, digest) in proof.iter_mut().zip(outer.finalize()) {
            *octet = digest;
        }
        proof
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&self, token: &str) -> Option<Arc<PageEntry>> {
        let mut connected = self.connected.iter();
        connected.find(|entry| entry.token == token).cloned()
    }

    /// A page without a connection.
    fn without(&self, token: &str) -> Arc<PageEntry> {
        let mut loaded = self.loaded.iter();
        let loaded = loaded.find(|(loaded, _)| loaded == token);
        Arc::new(PageEntry {
            token: token.to_owned(),
            agent: loaded.map(|(_, agent)| agent.clone()),
            seen: Mutex::default(),
            askers: Mutex::default(),
        })
    }
}

impl PageEntry {
    /// Another connection of the page, which counts from now on. Gives its
    /// number, and its recorder: the one it has, or a new one.
    pub(super) fn connect(&self, recorder: Option<Recorder>) -> (u64, Recorder) {
        let recorder = recorder.unwrap_or_else(|| Recorder::new(RECORDED));
        let mut seen = self.seen();
        let number = seen.number + 1;
        if let Some(before) = seen.recorder.take() {
            before.retire();
        }
        *seen = PageConnection {
            number,
            recorder: Some(recorder.clone()),
            ..PageConnection::default()
        };
        (number, recorder)
    }

    /// The connection of this number changed, if it still counts.
    pub(super) fn note(&self, number: u64, what: impl FnOnce(&mut PageConnection)) {
        let mut seen = self.seen();
        if seen.number == number {
            what(&mut seen);
        }
    }

    /// Its last connection.
    pub(super) fn seen(&self) -> MutexGuard<'_, PageConnection> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page asks. As many as may wait already are refused.
    pub(super) fn ask(&self, question: Question, answer: Answer) -> Option<Asked> {
        let mut askers = self.askers();
        if askers.len() >= ASKERS {
            drop(askers);
            answer.refuse_busy();
            return None;
        }
        askers.push((question, answer));
        Some(if askers.len() == 1 {
            Asked::First
        } else {
            Asked::Joined
        })
    }

    /// All that waits for an answer. The next question is the first again.
    pub(super) fn take_askers(&self) -> Vec<(Question, Answer)> {
        std::mem::take(&mut self.askers())
    }

    fn askers(&self) -> MutexGuard<'_, Vec<(Question, Answer)>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Octets in hex.
fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_without_being_kept_and_no_other_is() {
        let pages = Pages::new();
        let first = pages.load("first");
        for _ in 0..10_000 {
            pages.load("stranger");
        }
        assert_eq!(pages.kept().loaded.len(), PAGES);
        assert_eq!(pages.find(&first).unwrap().agent, None);
        let last = pages.load("last");
        let agent = pages.find(&last).unwrap().agent.clone();
        assert_eq!(agent.as_deref(), Some("last"));
        assert!(Pages::new().find(&first).is_none(), "of another server");
        for (i, octet) in first.bytes().enumerate() {
            let mut other = first.clone().into_bytes();
            other.splice(i..=i, [if octet == b'0' { b'1' } else { b'0' }]);
            assert!(pages.find(&String::from_utf8(other).unwrap()).is_none());
        }
        for wrong in [
            "",
            "é",
            &first[1..],
            &first.to_uppercase(),
            &(first.clone() + "0"),
        ] {
            let same = *wrong == *first;
            assert!(same || pages.find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_open_page_never_makes_room_and_a_closed_one_does() {
        let pages = Pages::new();
        let connect = || {
            let token = pages.token();
            let entry = pages.connect(&token)?;
            entry.connect(None);
            Some((token, entry))
        };
        let first = connect().unwrap();
        let second = connect().unwrap();
        for _ in 2..PAGES {
            connect().unwrap();
        }
        assert!(connect().is_none(), "all are open");
        second.1.note(1, |seen| seen.closed = true);
        assert!(connect().is_some());
        assert!(connect().is_none());
        let number = |token: &str| pages.find(token).unwrap().seen().number;
        assert_eq!(number(&first.0), 1);
        assert_eq!(number(&second.0), 0, "it is a page without a connection");
    }
}
