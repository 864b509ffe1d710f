//! Spans into parts: where a part starts, and what its octets are unmasked.

use super::inflated::Portion;
use super::part::{KEPT_OCTETS, Part, PartKind, Seen};
use crate::trace::{Field, Span, Trace};
use crate::version::{Layout, Side, Version};

/// An explanation has no more parts; what follows them is not parsed.
pub const MAX_PARTS: usize = 65_536;

/// The octets that the messages of a conversation may inflate to; what follows
/// them is not parsed.
pub const MAX_INFLATED_OCTETS: u64 = 256 * 1024 * 1024;

/// The octets of inflated messages that are kept of all parts together.
const KEPT_INFLATED: usize = 16 * 1024 * 1024;

/// The parts of a conversation so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) list: Vec<Part>,
    /// Whether there were more than [`MAX_PARTS`].
    pub(super) full: bool,
    /// The octets that messages inflated to.
    pub(super) inflated: u64,
    /// Of these, the octets that are kept.
    kept_inflated: usize,
}

impl Parts {
    /// Adds what came out of the part that is arriving.
    fn add_inflated(&mut self, current: Option<usize>, portion: &Portion) {
        self.inflated += portion.octets;
        if let Some(part) = current.and_then(|n| self.list.get_mut(n)) {
            let most = KEPT_INFLATED.saturating_sub(self.kept_inflated);
            self.kept_inflated += part.coded.came_out.add(portion, most);
        }
    }
}

/// What a watched parse reported.
#[derive(Debug)]
enum Note {
    Span(Span),
    Derived(Field, Vec<u8>),
    Inflated(Portion),
}

/// Keeps what a parse reports until its octets are known.
#[derive(Debug, Default)]
pub(super) struct Namer {
    notes: Vec<Note>,
}

impl Trace for Namer {
    fn see(&mut self, span: Span) {
        // Compressed payload is read octet by octet.
        let last = match self.notes.as_mut_slice() {
            [.., Note::Span(last), Note::Inflated(_)] | [.., Note::Span(last)] => Some(last),
            _ => None,
        };
        match last {
            Some(last) if goes_on(last, &span) => last.at.end = span.at.end,
            _ => self.notes.push(Note::Span(span)),
        }
    }

    fn derive(&mut self, field: Field, octets: &[u8]) {
        match (field, self.notes.last_mut()) {
            (Field::Inflated, Some(Note::Inflated(portion))) => portion.extend(octets),
            (Field::Inflated, _) => self.notes.push(Note::Inflated(Portion::of(octets))),
            _ => self.notes.push(Note::Derived(field, octets.to_vec())),
        }
    }
}

/// Octets that were parsed: as they were sent, and unmasked.
#[derive(Clone, Copy)]
pub(super) struct Parsed<'a> {
    /// The position of the first in its stream.
    pub(super) at: u64,
    pub(super) raw: &'a [u8],
    pub(super) plain: &'a [u8],
}

impl Parsed<'_> {
    fn end(&self) -> u64 {
        self.at + self.raw.len() as u64
    }
}

/// Octets of one side, to be put into parts.
#[derive(Clone, Copy)]
pub(super) struct PartsOf<'a> {
    pub(super) from: Side,
    pub(super) version: Option<&'static Version>,
    pub(super) parsed: Parsed<'a>,
}

impl Namer {
    /// Octets that are all of one field.
    pub(super) fn of(field: Field, at: u64, octets: usize) -> Namer {
        let notes = vec![Note::Span(Span {
            at: at..at + octets as u64,
            bits: 0..8,
            field,
            value: 0,
        })];
        Namer { notes }
    }

    /// Where the first payload of a data frame starts.
    pub(super) fn payload_of_data(&self) -> Option<u64> {
        self.notes.iter().find_map(|note| match note {
            Note::Span(span) if span.field == Field::Payload && !span.at.is_empty() => {
                Some(span.at.start)
            }
            _ => None,
        })
    }

    /// Forgets what was computed.
    pub(super) fn drop_derived(&mut self) {
        self.notes.retain(|note| matches!(note, Note::Span(_)));
    }

    /// Forgets what was named from octet `end` on.
    pub(super) fn truncate(&mut self, end: u64) {
        self.notes.retain_mut(|note| match note {
            Note::Span(span) => {
                span.at.end = span.at.end.min(end);
                span.at.start < end
            }
            Note::Derived(..) | Note::Inflated(_) => true,
        });
    }

    /// Adds what was reported to the parts. `current` is the part of this side that
    /// is arriving. A field that ends beyond what was parsed is cut off.
    pub(super) fn write_parts(
        self,
        of: PartsOf<'_>,
        parts: &mut Parts,
        current: &mut Option<usize>,
    ) {
        let end = of.parsed.end();
        for note in self.notes {
            match note {
                Note::Span(span) if span.at.start >= end => {}
                Note::Span(mut span) => {
                    let cut = span.at.end > end;
                    span.at.end = span.at.end.min(end);
                    let starts = starts(&span, of, current.is_some());
                    if starts.is_some_and(|kind| kind != PartKind::After)
                        && parts.list.len() >= MAX_PARTS
                    {
                        parts.full = true;
                        return write_after(span.at.start, of, parts, current);
                    }
                    if let Some(kind) = starts {
                        start_part(kind, span.at.start, of, parts, current);
                    }
                    if let Some(part) = current.and_then(|n| parts.list.get_mut(n)) {
                        part.add(span, cut, of.parsed);
                    }
                }
                Note::Inflated(portion) => parts.add_inflated(*current, &portion),
                Note::Derived(field, octets) => {
                    if let Some(part) = current.and_then(|n| parts.list.get_mut(n)) {
                        part.derived.push((field, octets));
                    }
                }
            }
        }
    }
}

/// Starts a part, unless these octets go on with the one before.
fn start_part(
    kind: PartKind,
    at: u64,
    of: PartsOf<'_>,
    parts: &mut Parts,
    current: &mut Option<usize>,
) {
    let before = current.and_then(|n| parts.list.get(n));
    let goes_on = matches!(
        kind,
        PartKind::After | PartKind::Unreadable | PartKind::Stray
    ) && before.is_some_and(|part| part.kind == kind);
    if !goes_on {
        *current = Some(parts.list.len());
        let octets = usize::try_from(at - of.parsed.at).ok();
        let octets = octets.and_then(|at| of.parsed.raw.get(at..));
        // The version is known once the final response is, which may have arrived
        // with this one or later.
        let is_interim = kind == PartKind::Response && octets.is_some_and(is_interim);
        let version = of.version.filter(|_| !is_interim);
        parts.list.push(Part::new(of.from, kind, version, at));
    }
}

/// Whether the status of this response is 1xx, and not 101 (RFC 9110 section
/// 15.2).
fn is_interim(head: &[u8]) -> bool {
    let status = head.get(9..12);
    status.is_some_and(|status| status.starts_with(b"1") && status != b"101")
}

/// Names all octets from `at` on as not parsed.
fn write_after(at: u64, of: PartsOf<'_>, parts: &mut Parts, current: &mut Option<usize>) {
    let skipped = usize::try_from(at - of.parsed.at).unwrap_or(usize::MAX);
    let (_, rest) = of.parsed.raw.split_at(skipped);
    let parsed = Parsed {
        at,
        raw: rest,
        plain: rest,
    };
    Namer::of(Field::AfterEnd, at, rest.len()).write_parts(
        PartsOf { parsed, ..of },
        parts,
        current,
    );
}

/// The part that starts with this span, if one does.
fn starts(span: &Span, of: PartsOf<'_>, inside: bool) -> Option<PartKind> {
    match span.field {
        Field::Method => Some(PartKind::Request),
        Field::HttpVersion if of.from == Side::Server => Some(PartKind::Response),
        Field::Key3 => Some(PartKind::Key3),
        Field::Digest => Some(PartKind::Digest),
        Field::Stray => Some(PartKind::Stray),
        Field::AfterEnd => Some(PartKind::After),
        Field::Unreadable => Some(PartKind::Unreadable),
        field if Some(field) == of.version.map(|v| first_field(v, of.from)) => {
            Some(PartKind::Frame)
        }
        _ if !inside => Some(PartKind::Unreadable),
        _ => None,
    }
}

/// The field that every frame of this side starts with.
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
    fn add(&mut self, span: Span, cut: bool, parsed: Parsed<'_>) {
        self.keep(span.at.end, parsed);
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
            Some(last) if goes_on(&last.span, &span) => {
                last.span.at.end = span.at.end;
                last.cut = cut;
            }
            _ => self.spans.push(Seen { span, cut }),
        }
    }

    /// Counts the octets up to `end`, and keeps those that there is room for.
    fn keep(&mut self, end: u64, parsed: Parsed<'_>) {
        let from = self.end();
        if end <= from {
            return;
        }
        self.octets = end - self.at;
        let index = |at: u64| {
            let at = at.saturating_sub(parsed.at);
            usize::try_from(at).unwrap_or(usize::MAX)
        };
        let room = KEPT_OCTETS.saturating_sub(self.raw.len());
        let new = |octets: &[u8]| -> Vec<u8> {
            let (upto, _) = octets.split_at(index(end));
            let (_, new) = upto.split_at(index(from));
            new.iter().copied().take(room).collect()
        };
        self.raw.extend(new(parsed.raw));
        self.plain.extend(new(parsed.plain));
    }
}

/// Whether a span is a further portion of the one before it.
fn goes_on(last: &Span, span: &Span) -> bool {
    last.field == span.field && last.at.end == span.at.start && grows(span.field)
}

/// Whether a field may arrive in portions, which make one span.
fn grows(field: Field) -> bool {
    matches!(
        field,
        Field::Payload | Field::Skipped | Field::AfterEnd | Field::Unreadable | Field::Stray
    )
}

/// The octets of a header field unmasked. The core unmasks a masked header
/// aside, so only the values of its fields are known.
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
