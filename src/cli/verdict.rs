//! The keys that every verdict has in JSON, whatever command gives it:
//! docs/verdicts.md describes them, docs/verdict.schema.json is their schema.

use clap::ValueEnum;
use heirloom::Side;
use heirloom::error::Violation;
use heirloom::vector::Difference;
use heirloom::version::{Challenge, Version};
use serde::Serialize;

/// How bad a verdict is, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// All is as it should be.
    #[default]
    Good,
    /// Nothing was proved, as where a vector is skipped or not run.
    #[value(skip)]
    Unproved,
    /// The server refuses, and the refusal says so.
    Refused,
    /// The server ends, resets or hangs without an answer.
    Silent,
    /// Something is wrong.
    Wrong,
    /// Nothing can be proved: a server cannot be reached, or a file not be read.
    #[value(skip)]
    Error,
}

/// A verdict. A key without a value is null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Verdict {
    /// What it is about, for a program.
    pub(super) id: Option<String>,
    /// What it is about, for a person.
    pub(super) title: Option<String>,
    /// A word, or the stable code of a rule.
    pub(super) verdict: &'static str,
    pub(super) severity: Severity,
    #[serde(flatten)]
    pub(super) place: Place,
}

/// Where something is wrong, and what.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Place {
    /// The side that is wrong: `client` or `server`.
    pub(super) side: Option<&'static str>,
    /// The octet, in what this side sends or receives.
    pub(super) octet: Option<u64>,
    pub(super) field: Option<String>,
    pub(super) expected: Option<String>,
    pub(super) seen: Option<String>,
}

impl Place {
    /// Where this side differs from what was expected.
    pub(super) fn of(side: Option<Side>, difference: &Difference) -> Place {
        Place {
            side: side.map(Side::name),
            octet: difference.octet,
            field: difference.field.clone(),
            expected: difference.expected.clone(),
            seen: difference.seen.clone(),
        }
    }
}

/// The header that a violation is about.
pub(super) fn header_of(violation: Violation, version: Option<&Version>) -> Option<&'static str> {
    let hixie75 = version.is_some_and(|v| v.challenge == Challenge::Hixie75);
    Some(match violation {
        Violation::UpgradeMismatch => "Upgrade",
        Violation::ConnectionMismatch => "Connection",
        Violation::AcceptMismatch => "Sec-WebSocket-Accept",
        Violation::NonceMissing => "Sec-WebSocket-Nonce",
        Violation::OriginMismatch if hixie75 => "WebSocket-Origin",
        Violation::OriginMismatch => "Sec-WebSocket-Origin",
        Violation::LocationMismatch if hixie75 => "WebSocket-Location",
        Violation::LocationMismatch => "Sec-WebSocket-Location",
        Violation::SubprotocolMismatch if hixie75 => "WebSocket-Protocol",
        Violation::SubprotocolMismatch => "Sec-WebSocket-Protocol",
        Violation::ExtensionUnexpected | Violation::ExtensionInvalid { .. } => {
            "Sec-WebSocket-Extensions"
        }
        _ => return None,
    })
}
