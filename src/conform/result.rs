//! What became of a case.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::vector::{Difference, Level, Step};

/// The verdict on what was received, in the words of Autobahn|Testsuite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Behavior {
    /// As it must be.
    #[serde(rename = "OK")]
    Ok,
    /// Not as it should be, and not wrong.
    #[serde(rename = "NON-STRICT")]
    NonStrict,
    /// The documents leave it open.
    #[serde(rename = "INFORMATIONAL")]
    Informational,
    /// The peer does not have what is tested.
    #[serde(rename = "UNIMPLEMENTED")]
    Unimplemented,
    /// Wrong.
    #[serde(rename = "FAILED")]
    Failed,
}

/// The verdict on how the connection was closed, in the words of
/// Autobahn|Testsuite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClosingVerdict {
    /// As it must be.
    #[serde(rename = "OK")]
    Ok,
    /// The closing handshake was finished with a code that is not allowed here.
    #[serde(rename = "WRONG CODE")]
    WrongCode,
    /// The closing handshake was not finished.
    #[serde(rename = "UNCLEAN")]
    Unclean,
    /// The tester, as a client, had to end TCP because the server did not (RFC 6455
    /// section 7.1.1).
    #[serde(rename = "FAILED BY CLIENT")]
    FailedByClient,
    /// The documents leave it open.
    #[serde(rename = "INFORMATIONAL")]
    Informational,
    /// The wrong end started it, or the connection was never open.
    #[serde(rename = "FAILED")]
    Failed,
}

impl Behavior {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Behavior::Ok => "OK",
            Behavior::NonStrict => "NON-STRICT",
            Behavior::Informational => "INFORMATIONAL",
            Behavior::Unimplemented => "UNIMPLEMENTED",
            Behavior::Failed => "FAILED",
        }
    }
}

impl ClosingVerdict {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ClosingVerdict::Ok => "OK",
            ClosingVerdict::WrongCode => "WRONG CODE",
            ClosingVerdict::Unclean => "UNCLEAN",
            ClosingVerdict::FailedByClient => "FAILED BY CLIENT",
            ClosingVerdict::Informational => "INFORMATIONAL",
            ClosingVerdict::Failed => "FAILED",
        }
    }
}

impl fmt::Display for Behavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ClosingVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of a case that was played.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The verdict on what was received.
    pub behavior: Behavior,
    /// The verdict on how the connection was closed.
    pub closing: ClosingVerdict,
    /// The strongest level of what was broken; `None` where nothing was.
    pub broken: Option<Level>,
    /// What was received wrong: expected and seen, and where.
    pub difference: Option<Difference>,
    /// What was wrong in the closing.
    pub closing_difference: Option<Difference>,
    /// How the connection was closed.
    pub closed: HowClosed,
    /// The section of what was broken.
    pub section: String,
    /// What both sides wrote, as far as it is kept.
    pub conversation: Vec<Step>,
    /// Whether the conversation was longer than what is kept.
    pub is_cut: bool,
    /// Octets that were received and sent.
    pub octets: (u64, u64),
    /// From the first octet to the end of TCP.
    pub duration: Duration,
}

/// How a connection was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HowClosed {
    /// Whether the opening handshake was finished.
    pub was_open: bool,
    /// Whether the tester sent its close first.
    pub by_tester: bool,
    /// Whether it did so because the peer was wrong, or the deadline had passed.
    pub failed_by_tester: bool,
    /// Whether the tester ended TCP.
    pub dropped_by_tester: bool,
    /// Whether a wait of the tester ran into its time limit: a busy peer may need
    /// longer.
    pub timed_out: bool,
    /// Whether both closes were seen, and TCP ended in time.
    pub clean: bool,
    /// Why it was not clean, as a sentence.
    pub not_clean: Option<String>,
    /// The code that the tester sent.
    pub local_code: Option<u16>,
    /// The reason that the tester sent, as a text with escapes.
    pub local_reason: Option<String>,
    /// The code that the peer sent.
    pub remote_code: Option<u16>,
    /// The reason that the peer sent, as a text with escapes.
    pub remote_reason: Option<String>,
}
