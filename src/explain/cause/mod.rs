//! The verdict: which rule was broken, what probably broke it, and the cure.

mod rule;

mod likely;

use super::foreign::foreign;
use super::name::{MAX_INFLATED_OCTETS, MAX_PARTS};
use super::part::{Part, PartKind};
use super::{Outcome, Place, Verdict};
use crate::error::{Refusal, Violation};
use crate::explain::inflated::Beyond;
use crate::extension::{Changes, Element, Exceeded, known};
use crate::trace::Field;
use crate::version::{Side, Version};

/// The first rule that was broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    from: Side,
    at: u64,
    kind: FaultKind,
}

#[derive(Clone, Copy, Debug)]
enum FaultKind {
    Refusal(Refusal),
    Violation(Violation),
    /// No receiver need notice it.
    Beyond(Beyond),
}

impl Fault {
    pub(super) fn refusal(refusal: Refusal, at: u64) -> Fault {
        Fault {
            from: Side::Client,
            at,
            kind: FaultKind::Refusal(refusal),
        }
    }

    pub(super) fn violation(from: Side, violation: Violation, at: u64) -> Fault {
        Fault {
            from,
            at,
            kind: FaultKind::Violation(violation),
        }
    }

    pub(super) fn beyond(from: Side, beyond: Beyond) -> Fault {
        Fault {
            from,
            at: beyond.at,
            kind: FaultKind::Beyond(beyond),
        }
    }

    /// The side whose octets broke it.
    pub(super) fn from(self) -> Side {
        self.from
    }

    /// The last octet that was parsed.
    pub(super) fn at(self) -> u64 {
        self.at
    }

    fn code(self) -> &'static str {
        match self.kind {
            FaultKind::Refusal(refusal) => refusal.code(),
            FaultKind::Violation(violation) => violation.code(),
            FaultKind::Beyond(_) => Exceeded::CODE,
        }
    }

    fn sentence(self) -> String {
        match self.kind {
            FaultKind::Refusal(refusal) => refusal.to_string(),
            FaultKind::Violation(violation) => violation.to_string(),
            FaultKind::Beyond(Beyond {
                distance, window, ..
            }) => Exceeded { distance, window }.to_string(),
        }
    }
}

/// A conversation, for the causes to examine.
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
    /// Whether the response was read to its end, the digest of hixie-76 included.
    pub(super) response_is_whole: bool,
    /// Whether there were more parts than are explained.
    pub(super) full: bool,
    /// Whether octets were not parsed because an extension that is not spoken here
    /// changes them.
    pub(super) stopped: bool,
    /// Whether the limit of a message is that of an explanation, and not the server's.
    pub(super) own_limit: bool,
    /// Whether messages inflate to more than is explained.
    pub(super) inflates_on: bool,
    pub(super) status: Option<u16>,
}

impl<'a> Case<'a> {
    fn code(&self) -> &'static str {
        self.fault.map_or("", Fault::code)
    }

    fn part(&self, kind: PartKind) -> Option<&'a Part> {
        let is = |part: &&Part| part.kind == kind;
        match kind {
            // Responses with a status of 1xx may stand before the final one.
            PartKind::Response => self.parts.iter().rfind(is),
            _ => self.parts.iter().find(is),
        }
    }

    fn request_header(&self, name: &str) -> Option<&'a [u8]> {
        self.part(PartKind::Request)?.header(name)
    }

    fn response_header(&self, name: &str) -> Option<&'a [u8]> {
        self.part(PartKind::Response)?.header(name)
    }

    /// The extension that both sides agreed on, that is not spoken here, and that may
    /// give this a meaning (RFC 6455 section 5.8); without a violation, the one that
    /// changes what is not parsed.
    fn foreign_extension(&self, violation: Option<Violation>) -> Option<Element<'a>> {
        let response = self.part(PartKind::Response)?;
        let values = response.header_values("Sec-WebSocket-Extensions");
        let mut all = foreign(values, self.version);
        match violation {
            Some(violation) => all.find(|extension| may_mean(*extension, violation)),
            None => all.min_by_key(|extension| {
                known(extension.name).map_or(Changes::MarkedFrames, |known| known.changes)
            }),
        }
    }

    /// Whether this may be no fault, because an extension gives it a meaning.
    fn may_be_meant(&self, violation: Violation) -> bool {
        self.foreign_extension(Some(violation)).is_some()
    }

    /// Whether nothing need be wrong: only this program cannot read on.
    fn is_end_of_ours(&self, violation: Violation) -> bool {
        self.may_be_meant(violation) || likely::is_too_big_to_explain(self)
    }

    fn has_sent(&self, side: Side) -> bool {
        self.parts.iter().any(|part| part.from == side)
    }

    /// The part in which it broke.
    fn broken_part(&self) -> Option<(usize, &'a Part)> {
        let fault = self.fault?;
        let own = self.parts.iter().enumerate();
        let mut own = own.filter(|(_, part)| part.from == fault.from);
        own.find(|(_, part)| part.at <= fault.at && fault.at < part.end())
    }

    /// Whether a head is cut off.
    fn has_cut_head(&self) -> bool {
        let mut cut = self.parts.iter().filter(|part| part.missing.is_some());
        cut.any(|part| part.is_in_head())
    }

    /// Whether the eight octets of hixie-76 are due and missing.
    fn lacks_third_key(&self) -> bool {
        let due = self.asks && self.version.is_some_and(Version::has_body);
        let key3 = self.part(PartKind::Key3);
        due && key3.is_none_or(|part| part.missing.is_some())
    }

    fn derived(&self, kind: PartKind, field: Field) -> Option<&'a [u8]> {
        self.part(kind)?.derived(field)
    }
}

/// The verdict on a conversation.
pub(super) fn verdict(case: &Case<'_>) -> Verdict {
    // What a head lacks may stand in the octets that are missing.
    let likely = likely::likely(case).filter(|_| case.fault.is_some() || !case.has_cut_head());
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
    let outcome = match fault.kind {
        FaultKind::Violation(Violation::ResponseStatus { .. }) => Outcome::Refused,
        FaultKind::Violation(violation) if case.is_end_of_ours(violation) => Outcome::Incomplete,
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
        section: rule::section_of(case.version, fault),
        cause,
        cure,
    }
}

/// The outcome where no rule is broken.
/// Whether this extension may give it a meaning. One that is not known may change any
/// payload, and use every reserved bit and opcode.
fn may_mean(extension: Element<'_>, violation: Violation) -> bool {
    let known = known(extension.name);
    match violation {
        Violation::ReservedBits => known.is_none_or(|known| known.changes != Changes::DataFrames),
        Violation::ReservedOpcode { .. }
        | Violation::Utf8Invalid
        | Violation::CompressedDataInvalid
        | Violation::CloseBodyShort
        | Violation::CloseCodeInvalid { .. }
        | Violation::CloseReasonUtf8 => known.is_none(),
        _ => false,
    }
}

fn unbroken(case: &Case<'_>) -> (Outcome, String) {
    let [client, server] = [Side::Client, Side::Server].map(|side| case.has_sent(side));
    let cut = case.parts.iter().find(|part| part.missing.is_some());
    let incomplete = |sentence: String| (Outcome::Incomplete, sentence);
    if !client && !server {
        return incomplete("there are no octets".to_owned());
    }
    if case.stopped {
        return incomplete(
            "nothing is wrong so far, but an extension was agreed on that changes what follows and \
             that this program does not have"
                .to_owned(),
        );
    }
    if case.inflates_on {
        return incomplete(format!(
            "nothing is wrong so far, but only the first {MAX_INFLATED_OCTETS} octets of inflated \
             messages are explained"
        ));
    }
    if case.full {
        return incomplete(format!(
            "nothing is wrong so far, but only the first {MAX_PARTS} parts are explained"
        ));
    }
    if let Some(part) = cut {
        return incomplete(cut_off(part, case.no_handshake));
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
        return incomplete("the eight octets behind the request's head are missing".to_owned());
    }
    if !server {
        return incomplete("the request is right; the response is missing".to_owned());
    }
    if !client {
        return incomplete(
            "nothing is wrong with the response, but its proof cannot be checked without the \
             request"
                .to_owned(),
        );
    }
    if !case.response_is_whole {
        let sentence = match (case.status, case.version.is_some_and(Version::has_body)) {
            (None, _) => "the request is right; the final response is missing",
            (_, true) => {
                "the response is right so far; the sixteen octets behind its head are missing"
            }
            (_, false) => "the response is right so far; the rest is missing",
        };
        return incomplete(sentence.to_owned());
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

fn cut_off(part: &Part, frames_only: bool) -> String {
    let octets = part.octets;
    let are = if octets == 1 { "is" } else { "are" };
    let in_head = part.is_in_head() && !frames_only;
    let what = match part.kind {
        PartKind::Key3 => {
            return format!("the third key is cut off: {octets} of 8 octets {are} here");
        }
        PartKind::Digest => {
            return format!("the digest is cut off: {octets} of 16 octets {are} here");
        }
        _ if in_head && part.from == Side::Client => "head of the request".to_owned(),
        _ if in_head => "head of the response".to_owned(),
        _ => format!("{}'s last frame", part.from),
    };
    match part.missing {
        Some(1) => format!("nothing is wrong so far, but 1 octet of the {what} is missing"),
        Some(n) if n > 0 => {
            format!("nothing is wrong so far, but {n} octets of the {what} are missing")
        }
        _ => format!("nothing is wrong so far, but the {what} is cut off"),
    }
}
