//! The verdict: which rule was broken, what probably broke it, and the cure.

mod likely;

use super::{About, MAX_PARTS, Outcome, Part, PartKind, Place, Verdict, is_masked, section, shown};
use crate::error::{Refusal, Violation};
use crate::handshake;
use crate::trace::Field;
use crate::version::{Layout, Side, Version};

/// The first rule that was broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    from: Side,
    at: u64,
    what: FaultKind,
}

#[derive(Clone, Copy, Debug)]
enum FaultKind {
    Refusal(Refusal),
    Violation(Violation),
}

impl Fault {
    pub(super) fn refusal(refusal: Refusal, at: u64) -> Fault {
        Fault {
            from: Side::Client,
            at,
            what: FaultKind::Refusal(refusal),
        }
    }

    pub(super) fn violation(from: Side, violation: Violation, at: u64) -> Fault {
        Fault {
            from,
            at,
            what: FaultKind::Violation(violation),
        }
    }

    fn code(self) -> &'static str {
        match self.what {
            FaultKind::Refusal(refusal) => refusal.code(),
            FaultKind::Violation(violation) => violation.code(),
        }
    }

    fn sentence(self) -> String {
        match self.what {
            FaultKind::Refusal(refusal) => refusal.to_string(),
            FaultKind::Violation(violation) => violation.to_string(),
        }
    }
}

/// A conversation as the causes look at it.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) version: Option<&'static Version>,
    pub(super) parts: &'a [Part],
    pub(super) fault: Option<Fault>,
    pub(super) secure: bool,
    /// Whether the request asks for WebSocket and is right.
    pub(super) asks: bool,
    /// Whether the octets are frames alone.
    pub(super) no_handshake: bool,
    /// Whether the handshake was finished, as seen in what the client and the
    /// server say.
    pub(super) open: [bool; 2],
    /// Whether there were more parts than are told.
    pub(super) full: bool,
    pub(super) status: Option<u16>,
}

impl<'a> Case<'a> {
    fn code(&self) -> &'static str {
        self.fault.map_or("", Fault::code)
    }

    fn part(&self, kind: PartKind) -> Option<&'a Part> {
        self.parts.iter().find(|part| part.kind == kind)
    }

    fn request_header(&self, name: &str) -> Option<&'a [u8]> {
        self.part(PartKind::Request)?.header(name)
    }

    fn response_header(&self, name: &str) -> Option<&'a [u8]> {
        self.part(PartKind::Response)?.header(name)
    }

    fn says_anything(&self, side: Side) -> bool {
        self.parts.iter().any(|part| part.from == side)
    }

    /// The part in which it broke.
    fn broken_part(&self) -> Option<(usize, &'a Part)> {
        let fault = self.fault?;
        let own = self.parts.iter().enumerate();
        let mut own = own.filter(|(_, part)| part.from == fault.from);
        own.find(|(_, part)| part.at <= fault.at && fault.at < part.end())
    }

    /// The requirement of hixie-76 that most often goes missing.
    fn lacks_third_key(&self) -> bool {
        let due = self.asks && self.version.is_some_and(Version::has_body);
        let key3 = self.part(PartKind::Key3);
        due && key3.is_none_or(|part| part.missing.is_some())
    }

    fn derived(&self, kind: PartKind, field: Field) -> Option<&'a [u8]> {
        let derived = &self.part(kind)?.derived;
        let found = derived.iter().find(|(f, _)| *f == field);
        found.map(|(_, octets)| octets.as_slice())
    }
}

/// What it came to.
pub(super) fn verdict(case: &Case<'_>) -> Verdict {
    let likely = likely::likely(case);
    let (cause, cure) = likely.map_or((None, None), |(cause, cure)| (Some(cause), Some(cure)));
    let Some(fault) = case.fault else {
        let (outcome, sentence) = unbroken(case);
        return Verdict {
            outcome,
            place: None,
            code: None,
            sentence,
            section: None,
            cause,
            cure,
        };
    };
    let outcome = match fault.what {
        FaultKind::Violation(Violation::ResponseStatus { .. }) => Outcome::Refused,
        // The bit has a meaning that both sides agreed on, and we know none.
        FaultKind::Violation(Violation::ReservedBits)
            if case.response_header("Sec-WebSocket-Extensions").is_some() =>
        {
            Outcome::Incomplete
        }
        _ => Outcome::Broken,
    };
    Verdict {
        outcome,
        place: Some(Place {
            from: fault.from,
            at: fault.at,
            part: case.broken_part().map(|(n, _)| n),
        }),
        code: Some(fault.code()),
        sentence: fault.sentence(),
        section: Some(rule(case, fault)).filter(|section| !section.is_empty()),
        cause,
        cure,
    }
}

/// Where no rule is broken.
fn unbroken(case: &Case<'_>) -> (Outcome, String) {
    let [client, server] = [Side::Client, Side::Server].map(|side| case.says_anything(side));
    let cut = case.parts.iter().find(|part| part.missing.is_some());
    let incomplete = |sentence: String| (Outcome::Incomplete, sentence);
    if !client && !server {
        return incomplete("there is not one octet".to_owned());
    }
    if case.full {
        return incomplete(format!(
            "nothing is wrong so far, but only the first {MAX_PARTS} parts are told"
        ));
    }
    if let Some(part) = cut {
        return incomplete(cut_off(part));
    }
    let unread = case
        .parts
        .iter()
        .any(|part| part.kind == PartKind::Unreadable);
    if case.no_handshake && unread {
        return incomplete("not all frames can be read".to_owned());
    }
    if case.no_handshake {
        return (Outcome::Good, "every frame follows the rules".to_owned());
    }
    if client && !case.asks {
        return (
            Outcome::Http,
            "this is plain HTTP: the request does not ask for WebSocket".to_owned(),
        );
    }
    if case.lacks_third_key() {
        return incomplete("the eight octets behind the request's head are not there".to_owned());
    }
    if !server {
        return incomplete("the request is right; an answer is not here".to_owned());
    }
    if !client {
        return incomplete(
            "the answer reads well; whether its proof is right only the request can tell"
                .to_owned(),
        );
    }
    if !case.open[1] {
        return incomplete(
            "the answer is right so far; the sixteen octets behind its head are not there"
                .to_owned(),
        );
    }
    if unread {
        return incomplete("the handshake is right; not all frames can be read".to_owned());
    }
    let frames = case
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Frame);
    let sentence = match frames.count() {
        0 => "the handshake is right".to_owned(),
        1 => "the handshake is right, and so is the frame".to_owned(),
        n => format!("the handshake is right, and so are all {n} frames"),
    };
    (Outcome::Good, sentence)
}

fn cut_off(part: &Part) -> String {
    let whose = part.from.name();
    let what = match part.kind {
        PartKind::Request => "head of the request",
        PartKind::Response => "head of the answer",
        PartKind::Key3 => "third key",
        PartKind::Digest => "digest",
        _ => "last frame",
    };
    match (part.kind, part.missing) {
        (PartKind::Key3, _) => format!(
            "the third key is cut off: {} of 8 octets are here",
            part.octets
        ),
        (PartKind::Digest, _) => format!(
            "the digest is cut off: {} of 16 octets are here",
            part.octets
        ),
        (_, Some(1)) => format!("nothing is wrong so far, but the {whose}'s {what} lacks 1 octet"),
        (_, Some(n)) if n > 0 => {
            format!("nothing is wrong so far, but the {whose}'s {what} lacks {n} octets")
        }
        _ => format!("nothing is wrong so far, but the {whose}'s {what} is cut off"),
    }
}

/// The section with the rule that was broken.
fn rule(case: &Case<'_>, fault: Fault) -> String {
    let about = match fault.what {
        FaultKind::Refusal(refusal) => match refusal {
            Refusal::BareLf => return "RFC 9112 section 2.2".to_owned(),
            Refusal::HeadFolded => return "RFC 9112 section 5.2".to_owned(),
            Refusal::HeadMalformed => About::Http,
            Refusal::KeyWithoutDigits { .. }
            | Refusal::KeyWithoutSpaces { .. }
            | Refusal::KeyNotDivisible { .. }
            | Refusal::KeyTooLarge { .. }
            | Refusal::KeyAlone => return "hixie-76 section 5.2".to_owned(),
            Refusal::OriginMissing => return "hixie-76 section 4.1".to_owned(),
            Refusal::HeadTooLong { .. }
            | Refusal::TooManyHeaders { .. }
            | Refusal::TlsUnexpected
            | Refusal::HandshakeTimeout
            | Refusal::OriginNotAllowed
            | Refusal::TooManyConnections
            | Refusal::GoingAway
            | Refusal::NotFound => return String::new(),
            // No document has a rule of this.
            Refusal::DraftMalformed | Refusal::BodyUnexpected | Refusal::SubprotocolUnknown => {
                return String::new();
            }
            Refusal::VersionUnknown { .. } | Refusal::VersionOff { .. } => {
                return "RFC 6455 section 4.2.2".to_owned();
            }
            Refusal::VersionList | Refusal::VersionMalformed => {
                return "RFC 6455 section 11.3.5".to_owned();
            }
            Refusal::HeaderRepeated {
                name: "Sec-WebSocket-Key",
            } => {
                return "RFC 6455 section 11.3.1".to_owned();
            }
            _ if case.version.is_some_and(|v| v.number.is_none()) => {
                let name = case.version.map_or("", |v| v.name);
                return match name {
                    "hixie-76" => format!("{name} section 5.1"),
                    _ => String::new(),
                };
            }
            _ => return "RFC 6455 section 4.2.1".to_owned(),
        },
        FaultKind::Violation(violation) => match violation {
            Violation::ReservedBits
            | Violation::ReservedOpcode { .. }
            | Violation::LengthNotMinimal
            | Violation::LengthOutOfRange => About::Frames(fault.from),
            Violation::MaskMissing | Violation::MaskUnexpected => {
                return "RFC 6455 section 5.1".to_owned();
            }
            Violation::ControlFragmented | Violation::ControlTooLong => About::Control,
            Violation::ContinuationUnexpected | Violation::MessageInterrupted => {
                return "RFC 6455 section 5.4".to_owned();
            }
            Violation::Utf8Invalid => return "RFC 6455 section 8.1".to_owned(),
            Violation::CloseBodyShort | Violation::CloseReasonUtf8 => About::Closing(fault.from),
            Violation::CloseCodeInvalid { .. } => About::CloseCodes,
            Violation::ConnectionCut => return "RFC 6455 section 7.1.1".to_owned(),
            Violation::ResponseMalformed => About::Http,
            Violation::DigestMismatch | Violation::AcceptMismatch => About::Proof,
            Violation::UpgradeMismatch
            | Violation::ConnectionMismatch
            | Violation::OriginMismatch
            | Violation::LocationMismatch
            | Violation::SubprotocolMismatch
            | Violation::ExtensionUnexpected
            | Violation::NonceMissing => About::Response,
            Violation::ResponseLines => return "hixie-75 section 4.1".to_owned(),
            _ => return String::new(),
        },
    };
    section(case.version, about)
}
