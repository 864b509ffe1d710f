//! Spans into parts: where a part begins, and what its octets are without the
//! mask.

use super::{KEPT_OCTETS, Part, PartKind, Seen};
use crate::trace::{Field, Span, Trace};
use crate::version::{Layout, Side, Version};

/// What a watched parse said, in order.
#[derive(Debug)]
pub(super) enum Note {
    Span(Span),
    Derived(Field, Vec<u8>),
}

/// Keeps what a parse says.
#[derive(Debug, Default)]
pub(super) struct Namer {
    pub(super) notes: Vec<Note>,
}

impl Trace for Namer {
    fn see(&mut self, span: Span) {
        self.notes.push(Note::Span(span));
    }

    fn derive(&mut self, field: Field, octets: &[u8]) {
        self.notes.push(Note::Derived(field, octets.to_vec()));
    }
}

impl Note {
    pub(super) fn is_span(&self) -> bool {
        matches!(self, Note::Span(_))
    }
}

/// Octets that were eaten: as they came and without their mask.
#[derive(Clone, Copy)]
pub(super) struct Consumed<'a> {
    pub(super) at: u64,
    pub(super) raw: &'a [u8],
    pub(super) plain: &'a [u8],
}

impl Namer {
    /// So many octets from there on cannot be read.
    pub(super) fn unreadable(at: u64, octets: usize) -> Namer {
        let notes = vec![Note::Span(Span {
            at: at..at + octets as u64,
            bits: 0..8,
            field: Field::Unreadable,
            value: 0,
        })];
        Namer { notes }
    }

    /// Puts what was said into parts. `current` is the part of this side that
    /// is being read. What lies beyond `consumed` was made up and is cut off.
    pub(super) fn write_parts(
        self,
        from: Side,
        version: Option<&'static Version>,
        consumed: Consumed<'_>,
        parts: &mut Vec<Part>,
        current: &mut Option<usize>,
    ) {
        let end = consumed.at + consumed.raw.len() as u64;
        for note in self.notes {
            match note {
                Note::Span(span) if span.at.start >= end => {}
                Note::Span(mut span) => {
                    let cut = span.at.end > end;
                    span.at.end = span.at.end.min(end);
                    if let Some(kind) = begins(&span, from, version, current.is_some()) {
                        let same = current.and_then(|n| parts.get(n));
                        let goes_on = matches!(kind, PartKind::After | PartKind::Unreadable)
                            && same.is_some_and(|part| part.kind == kind);
                        if !goes_on {
                            *current = Some(parts.len());
                            parts.push(Part::begin(from, kind, version, span.at.start));
                        }
                    }
                    if let Some(part) = current.and_then(|n| parts.get_mut(n)) {
                        part.add(span, cut, consumed);
                    }
                }
                Note::Derived(field, octets) => {
                    if let Some(part) = current.and_then(|n| parts.get_mut(n)) {
                        part.derived.push((field, octets));
                    }
                }
            }
        }
    }
}

/// What begins with this span, if anything does.
fn begins(
    span: &Span,
    from: Side,
    version: Option<&'static Version>,
    inside: bool,
) -> Option<PartKind> {
    match span.field {
        Field::Method => Some(PartKind::Request),
        Field::HttpVersion if from == Side::Server => Some(PartKind::Response),
        Field::Key3 => Some(PartKind::Key3),
        Field::Digest => Some(PartKind::Digest),
        Field::AfterEnd => Some(PartKind::After),
        Field::Unreadable => Some(PartKind::Unreadable),
        field if Some(field) == version.map(|v| first_field(v, from)) => Some(PartKind::Frame),
        _ if !inside => Some(PartKind::Unreadable),
        _ => None,
    }
}

/// The field that every frame of this side begins with.
fn first_field(version: &Version, from: Side) -> Field {
    match (version.layout, from) {
        (Layout::Hixie75, _) => Field::FrameType,
        (Layout::Hybi01, _) => Field::More,
        (Layout::Hybi04, Side::Client) => Field::FrameNonce,
        (Layout::Hybi05, Side::Client) => Field::MaskingKey,
        (Layout::Hybi04 | Layout::Hybi05 | Layout::Hybi07, _) => Field::Fin,
    }
}

impl Part {
    fn begin(from: Side, kind: PartKind, version: Option<&'static Version>, at: u64) -> Part {
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
            derived: Vec::new(),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.at + self.octets
    }

    fn add(&mut self, span: Span, cut: bool, consumed: Consumed<'_>) {
        let from = self.at + self.octets;
        if span.at.end > from {
            self.octets = span.at.end - self.at;
            let place = |at: u64| {
                let at = at.saturating_sub(consumed.at);
                usize::try_from(at).unwrap_or(usize::MAX)
            };
            let range = place(from)..place(span.at.end);
            let room = KEPT_OCTETS.saturating_sub(self.raw.len());
            let raw = consumed.raw.get(range.clone()).unwrap_or_default();
            let plain = consumed.plain.get(range).unwrap_or_default();
            self.raw.extend(raw.iter().take(room));
            self.plain.extend(plain.iter().take(room));
        }
        if let Some(header) = plain_header(self, &span) {
            let at = usize::try_from(span.at.start - self.at).unwrap_or(usize::MAX);
            for (to, octet) in self.plain.iter_mut().skip(at).zip(header) {
                *to = if span.bits.start == 0 {
                    octet
                } else {
                    *to | octet
                };
            }
        }
        match self.spans.last_mut() {
            Some(last)
                if last.span.field == span.field
                    && last.span.at.end == span.at.start
                    && grows(span.field) =>
            {
                last.span.at.end = span.at.end;
                last.cut = cut;
            }
            _ => self.spans.push(Seen { span, cut }),
        }
    }
}

/// Whether a field may come in portions, which are one.
fn grows(field: Field) -> bool {
    matches!(
        field,
        Field::Payload | Field::Skipped | Field::AfterEnd | Field::Unreadable
    )
}

/// The octets of a header field without the mask. Where the header itself is
/// masked the core unmasks it aside, and only the values tell.
fn plain_header(part: &Part, span: &Span) -> Option<Vec<u8>> {
    let layout = part.version?.layout;
    let masked = matches!(layout, Layout::Hybi04 | Layout::Hybi05) && part.from == Side::Client;
    if part.kind != PartKind::Frame || !masked {
        return None;
    }
    let octets = span.value.to_be_bytes();
    match span.field {
        Field::Length16 => octets.get(6..).map(<[u8]>::to_vec),
        Field::Length64 => Some(octets.to_vec()),
        Field::Fin | Field::Reserved | Field::Opcode | Field::Reserved4 | Field::Length7 => {
            let low = octets.last().copied()?;
            Some(vec![low.checked_shl(u32::from(8 - span.bits.end))?])
        }
        _ => None,
    }
}
