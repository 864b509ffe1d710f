//! Octets of one side that belong together, and the fields in them.

use super::inflated::{Coded, Inflated};
use crate::trace::{Field, Span};
use crate::version::{Side, Version};

/// A part keeps no more octets than this; the others are only counted.
pub const KEPT_OCTETS: usize = 64 * 1024;

/// Octets of one side that belong together.
#[derive(Clone, Debug)]
pub struct Part {
    /// The side that sent them.
    pub from: Side,
    /// What they are.
    pub kind: PartKind,
    /// The version by which they were read.
    pub version: Option<&'static Version>,
    /// The position of the first in this side's stream.
    pub at: u64,
    /// How many they are.
    pub octets: u64,
    /// As they were sent, up to [`KEPT_OCTETS`].
    pub raw: Vec<u8>,
    /// Unmasked; the same where nothing masks them.
    pub plain: Vec<u8>,
    /// What each of them is, in order, every bit once.
    pub spans: Vec<Seen>,
    /// How many octets are missing at its end: 0 where nothing tells how many,
    /// `None` where the part is whole.
    pub missing: Option<u64>,
    /// The compressed message that ends in this frame, or the frame that is
    /// compressed on its own, beside what it inflates to.
    pub inflated: Option<Box<Inflated>>,
    /// What compression means for this frame.
    pub(super) coded: Coded,
    /// A response, or a request without one: what the request asked for.
    pub(super) asked: Asked,
    /// What the parse computed on the way.
    pub(super) derived: Vec<(Field, Vec<u8>)>,
}

/// What a request asked for, where its response is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Whether the request is known.
    pub(super) is_known: bool,
    /// The values of its `Sec-WebSocket-Extensions`.
    pub(super) extensions: Vec<Vec<u8>>,
    pub(super) user_agent: Option<Vec<u8>>,
}

/// A span, and whether it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the parse named.
    pub span: Span,
    /// Whether the octets ended inside the field.
    pub cut: bool,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartKind {
    /// The head of a request.
    Request,
    /// The head of a response.
    Response,
    /// hixie-76: the eight octets after the request's head.
    Key3,
    /// hixie-76: the sixteen octets after the response's head.
    Digest,
    /// hixie-76: white space between the handshake and the first frame.
    Stray,
    /// A frame.
    Frame,
    /// Octets that are not parsed: they follow a close, a refusal or a fault.
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
            PartKind::Stray => "stray",
            PartKind::After => "after",
            PartKind::Unreadable => "unreadable",
        }
    }
}

impl Part {
    /// A part without octets, at this position of its stream.
    pub(super) fn new(
        from: Side,
        kind: PartKind,
        version: Option<&'static Version>,
        at: u64,
    ) -> Part {
        Part {
            from,
            kind,
            version,
            at,
            octets: 0,
            raw: Vec::new(),
            plain: Vec::new(),
            spans: Vec::new(),
            missing: None,
            inflated: None,
            coded: Coded::default(),
            asked: Asked::default(),
            derived: Vec::new(),
        }
    }

    /// The position behind its last octet.
    pub(super) fn end(&self) -> u64 {
        self.at + self.octets
    }

    /// The octets of a span as they were sent, as far as they were kept.
    #[must_use]
    pub fn raw_of(&self, span: &Span) -> &[u8] {
        self.slice(&self.raw, span)
    }

    /// The octets of a span unmasked, as far as they were kept.
    #[must_use]
    pub fn plain_of(&self, span: &Span) -> &[u8] {
        self.slice(&self.plain, span)
    }

    fn slice<'a>(&self, octets: &'a [u8], span: &Span) -> &'a [u8] {
        let index = |at: u64| {
            let at = usize::try_from(at.saturating_sub(self.at)).unwrap_or(usize::MAX);
            at.min(octets.len())
        };
        let (upto, _) = octets.split_at(index(span.at.end));
        let (_, slice) = upto.split_at(index(span.at.start).min(upto.len()));
        slice
    }

    /// Its first span of this field.
    pub(super) fn span(&self, field: Field) -> Option<&Seen> {
        self.spans.iter().find(|seen| seen.span.field == field)
    }

    /// The value of its first span of this field, if that is whole.
    pub(super) fn value(&self, field: Field) -> Option<u64> {
        let seen = self.span(field)?;
        (!seen.cut).then_some(seen.span.value)
    }

    /// What the parse computed first as this field.
    pub(super) fn derived(&self, field: Field) -> Option<&[u8]> {
        let found = self.derived.iter().find(|(f, _)| *f == field);
        found.map(|(_, octets)| octets.as_slice())
    }

    /// Whether it is a head, or the start of one that cannot be read yet.
    pub(super) fn is_in_head(&self) -> bool {
        let head = matches!(self.kind, PartKind::Request | PartKind::Response);
        head || self.kind == PartKind::Unreadable && self.at == 0
    }

    /// hixie: whether it is a frame that ends with 0xFF, and that has not come.
    pub(super) fn lacks_terminator(&self) -> bool {
        let text = self.value(Field::FrameType).is_some_and(|kind| kind < 0x80);
        text && self.span(Field::Terminator).is_none()
    }

    /// Whether its payload is masked.
    pub(super) fn is_masked(&self) -> bool {
        self.value(Field::Mask) == Some(1)
            || self.value(Field::FrameNonce).is_some()
            || self.value(Field::MaskingKey).is_some()
    }

    /// How many octets of payload it has, kept or not.
    pub(super) fn payload_octets(&self) -> u64 {
        let spans = self.spans.iter().map(|seen| &seen.span);
        let payload = spans.filter(|span| span.field.is_payload());
        payload.map(|span| span.at.end - span.at.start).sum()
    }

    /// How many octets of payload its header announces and that are not there.
    pub(super) fn payload_missing(&self) -> Option<u64> {
        let lengths = [Field::Length64, Field::Length16, Field::Length7];
        let length = lengths.into_iter().find_map(|field| self.value(field))?;
        length.checked_sub(self.payload_octets())
    }

    /// Its payload unmasked, as far as it was kept.
    pub(super) fn payload(&self) -> Vec<u8> {
        let spans = self.spans.iter().map(|seen| &seen.span);
        let payload = spans.filter(|span| span.field.is_payload());
        payload
            .flat_map(|span| self.plain_of(span).iter().copied())
            .collect()
    }

    /// Its headers, if it is a head.
    pub(super) fn headers(&self) -> Vec<HeaderSeen<'_>> {
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

    /// The values of all its headers of this name, in order.
    pub(super) fn header_values(&self, name: &str) -> Vec<&[u8]> {
        let headers = self.headers().into_iter();
        let found = headers.filter(|header| header.is(name));
        found.map(|header| header.value).collect()
    }

    /// The value of its first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        let headers = self.headers();
        let found = headers.iter().find(|header| header.is(name));
        found.map(|header| header.value)
    }
}

/// A header as the parse named it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderSeen<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> HeaderSeen<'a> {
    fn without_value(name: &'a [u8]) -> HeaderSeen<'a> {
        HeaderSeen { name, value: &[] }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}
