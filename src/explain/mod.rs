//! A watched parse, told to a person: what each octet is, how the proof is
//! made, which rule was broken and what probably broke it.
//!
//! [`Explainer`] is fed the octets of both directions, or of one, in any
//! portions. Two connections of the core read them, watched by a
//! [`Trace`](crate::trace::Trace), so the explanation is the real parse. What
//! comes of it is an [`Explanation`]: [`Part`]s, each with its spans, and a
//! [`Verdict`]. [`terminal`], [`json`] and [`html`] show it; none of them reads
//! octets for itself.
//!
//! ```
//! use heirloom::Side;
//! use heirloom::explain::{Explainer, Outcome};
//!
//! let mut explainer = Explainer::new(false);
//! explainer.feed(Side::Client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
//! let explanation = explainer.finish();
//! assert_eq!(explanation.verdict.outcome, Outcome::Http);
//! ```

mod cause;
mod derive;
pub mod dump;
pub mod history;
pub mod html;
pub mod json;
mod name;
mod observe;
mod response_seen;
pub mod terminal;
mod timeline;
mod words;

use crate::bytes::Escaped;
use crate::trace::{Field, Span};
use crate::version::{Side, Version};

use self::cause::{Case, Fault, verdict};
use self::derive::derivations;
use self::name::{Consumed, Namer, Note};
pub use self::observe::Explainer;
use self::response_seen::ResponseSeen;
use self::terminal::plain;
use self::timeline::Timeline;
use self::words::{About, about, hex, is_masked, section, title};
pub use self::words::{Item, Role, field_name};

/// A part keeps no more octets than this; the others are only counted.
pub const KEPT_OCTETS: usize = 64 * 1024;

/// No conversation is told in more parts; what follows them is not parsed.
pub const MAX_PARTS: usize = 65_536;

/// What came of a conversation.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The version spoken, where it was found or named.
    pub version: Option<&'static Version>,
    /// Heads, keys, digests and frames, in the order in which they began.
    pub parts: Vec<Part>,
    /// What it came to.
    pub verdict: Verdict,
}

/// Octets of one side that belong together.
#[derive(Clone, Debug)]
pub struct Part {
    /// Who sent them.
    pub from: Side,
    /// What they are.
    pub kind: PartKind,
    /// The version by which they were read.
    pub version: Option<&'static Version>,
    /// The place of the first in this side's stream.
    pub at: u64,
    /// How many they are.
    pub octets: u64,
    /// As they came, up to [`KEPT_OCTETS`].
    pub raw: Vec<u8>,
    /// Without their mask; the same where there is none.
    pub plain: Vec<u8>,
    /// What each of them is, in order, every bit once.
    pub spans: Vec<Seen>,
    /// How many are missing at its end: 0 where none can say.
    pub missing: Option<u64>,
    /// What the parse computed on the way.
    derived: Vec<(Field, Vec<u8>)>,
}

/// A span, and whether it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the parse said.
    pub span: Span,
    /// Whether more of the field was to come when the octets ended.
    pub cut: bool,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartKind {
    /// The head of a request.
    Request,
    /// The head of an answer.
    Response,
    /// hixie-76: the eight octets after the request's head.
    Key3,
    /// hixie-76: the sixteen octets after the answer's head.
    Digest,
    /// A frame.
    Frame,
    /// Octets that are not parsed: after a goodbye, a refusal or a fault.
    After,
    /// Octets that cannot be read.
    Unreadable,
}

impl PartKind {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PartKind::Request => "request",
            PartKind::Response => "answer",
            PartKind::Key3 => "key3",
            PartKind::Digest => "digest",
            PartKind::Frame => "frame",
            PartKind::After => "after",
            PartKind::Unreadable => "unreadable",
        }
    }
}

impl Part {
    /// What it is, in a few words.
    #[must_use]
    pub fn title(&self) -> String {
        title(self)
    }

    /// Each field with its words, in order.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        about(self)
    }

    /// How what proves something was computed, step by step.
    #[must_use]
    pub fn derivations(&self) -> Vec<Derivation> {
        derivations(self)
    }

    /// The octets of a span as they came, as far as they were kept.
    #[must_use]
    pub fn raw_of(&self, span: &Span) -> &[u8] {
        self.slice(&self.raw, span)
    }

    /// The octets of a span without their mask, as far as they were kept.
    #[must_use]
    pub fn plain_of(&self, span: &Span) -> &[u8] {
        self.slice(&self.plain, span)
    }

    fn slice<'a>(&self, octets: &'a [u8], span: &Span) -> &'a [u8] {
        let place = |at: u64| {
            let at = usize::try_from(at.saturating_sub(self.at)).unwrap_or(usize::MAX);
            at.min(octets.len())
        };
        octets
            .get(place(span.at.start)..place(span.at.end))
            .unwrap_or_default()
    }

    /// The value of its first span of this field.
    fn value(&self, field: Field) -> Option<u64> {
        let seen = self.spans.iter().find(|seen| seen.span.field == field)?;
        (!seen.cut).then_some(seen.span.value)
    }

    /// How many octets of payload it has, kept or not.
    fn payload_octets(&self) -> u64 {
        let spans = self.spans.iter().map(|seen| &seen.span);
        let payload = spans.filter(|span| is_payload(span.field));
        payload.map(|span| span.at.end - span.at.start).sum()
    }

    /// Its payload without the mask, as far as it was kept.
    fn payload(&self) -> Vec<u8> {
        let spans = self.spans.iter().map(|seen| &seen.span);
        let payload = spans.filter(|span| is_payload(span.field));
        payload
            .flat_map(|span| self.plain_of(span).iter().copied())
            .collect()
    }

    /// Its headers, where it is a head.
    fn headers(&self) -> Vec<HeaderSeen<'_>> {
        let mut headers = Vec::new();
        let mut name = None;
        for seen in &self.spans {
            let octets = self.raw_of(&seen.span);
            match seen.span.field {
                Field::HeaderName | Field::IgnoredName => {
                    headers.extend(name.replace(octets).map(HeaderSeen::without_value));
                }
                Field::HeaderValue | Field::IgnoredValue => {
                    let value = octets;
                    headers.extend(name.take().map(|name| HeaderSeen { name, value }));
                }
                _ => {}
            }
        }
        headers.extend(name.map(HeaderSeen::without_value));
        headers
    }

    /// The value of its first header of this name.
    fn header(&self, name: &str) -> Option<&[u8]> {
        let headers = self.headers();
        let found = headers.iter().find(|header| header.is(name));
        found.map(|header| header.value)
    }
}

/// A header as the parse named it.
#[derive(Clone, Copy, Debug)]
struct HeaderSeen<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> HeaderSeen<'a> {
    fn without_value(name: &'a [u8]) -> HeaderSeen<'a> {
        HeaderSeen { name, value: &[] }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

fn is_payload(field: Field) -> bool {
    matches!(
        field,
        Field::Payload
            | Field::Skipped
            | Field::ControlPayload
            | Field::CloseCode
            | Field::CloseReason
    )
}

/// A computation, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// What is computed.
    pub title: String,
    /// The section that asks for it.
    pub section: String,
    /// How.
    pub steps: Vec<ProofStep>,
}

/// One step of a computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofStep {
    /// What is done.
    pub label: &'static str,
    /// What comes of it, in pieces that look different.
    pub runs: Vec<Run>,
}

/// A piece of text in a computation. It is fit for any page or terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The text.
    pub text: String,
    /// What it is in the computation.
    pub mark: Mark,
}

/// What a piece of text is in a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// Words between.
    Plain,
    /// A digit of a key.
    Digit,
    /// A space of a key, shown as `␣`.
    Space,
    /// A character of a key that says nothing.
    Noise,
    /// The first, second and third thing that is put together.
    First,
    /// See [`Mark::First`].
    Second,
    /// See [`Mark::First`].
    Third,
    /// What comes out.
    Result,
    /// What should not have come out.
    Wrong,
}

impl Mark {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mark::Plain => "plain",
            Mark::Digit => "digit",
            Mark::Space => "space",
            Mark::Noise => "noise",
            Mark::First => "first",
            Mark::Second => "second",
            Mark::Third => "third",
            Mark::Result => "result",
            Mark::Wrong => "wrong",
        }
    }
}

/// What a conversation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In a word.
    pub outcome: Outcome,
    /// Where it broke, where it did.
    pub place: Option<Place>,
    /// The stable code of the refusal or violation, where there is one.
    pub code: Option<&'static str>,
    /// In a sentence.
    pub sentence: String,
    /// The section with the rule, where one was broken.
    pub section: Option<String>,
    /// What probably broke it, or keeps it from going on.
    pub cause: Option<String>,
    /// What to do about that.
    pub cure: Option<String>,
}

/// Where a conversation broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose octets broke the rule.
    pub from: Side,
    /// The last octet that was read, by its place in the stream; 0 where none
    /// was.
    pub at: u64,
    /// The part in which it is, by its place in [`Explanation::parts`].
    pub part: Option<usize>,
}

/// A verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// All of it is right, and the handshake is there from both sides.
    Good,
    /// Nothing is wrong so far as it goes, but it ends early.
    Incomplete,
    /// Plain HTTP: nobody asks for WebSocket.
    Http,
    /// The server says no.
    Refused,
    /// A rule is broken.
    Broken,
}

impl Outcome {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Good => "good",
            Outcome::Incomplete => "incomplete",
            Outcome::Http => "plain",
            Outcome::Refused => "refused",
            Outcome::Broken => "broken",
        }
    }
}

/// What a peer sent, fit for a terminal or a page: text where it is text, else
/// octet by octet. What is longer than `max` characters is cut, and the octets
/// beyond are counted.
fn shown(octets: &[u8], max: usize) -> String {
    let Ok(text) = std::str::from_utf8(octets) else {
        let cut = octets.get(..max).unwrap_or(octets);
        let text = cut.escape_ascii().to_string();
        return counted(
            text.replace("\\'", "'").replace("\\\"", "\""),
            octets.len() - cut.len(),
        );
    };
    let end = text.char_indices().nth(max).map_or(text.len(), |(n, _)| n);
    let cut = text.get(..end).unwrap_or(text);
    counted(Escaped::<{ usize::MAX }>(cut).to_string(), text.len() - end)
}

fn counted(mut text: String, more: usize) -> String {
    match more {
        0 => {}
        1 => text.push_str("… (1 octet more)"),
        _ => text.push_str(&format!("… ({more} octets more)")),
    }
    text
}

/// Where in an octet bits lie, and what they are: `.000....`.
fn bit_pattern(at: std::ops::Range<u8>, value: u64) -> String {
    let pattern = (0..8_u8).map(|bit| match at.end.checked_sub(bit + 1) {
        Some(shift) if at.contains(&bit) => {
            if value >> shift & 1 == 1 {
                '1'
            } else {
                '0'
            }
        }
        _ => '.',
    });
    pattern.collect()
}

/// A sentence with a capital, without its full stop.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    let rest = chars.as_str().trim_end_matches('.');
    first.unwrap_or_default() + rest
}
