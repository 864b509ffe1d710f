//! The receiving half of the frame layer: octets to frames, for every layout.

use memchr::memchr;

use super::header::{Control, Found, Header, Kind, Opcode, Rsv1, WholeFrame, name};
use super::mask::{self, Mask};
use super::wire::{OneWay, Wire, WireLayout};
use super::{hixie75, hybi04, hybi05, hybi07};
use crate::bytes::Input;
use crate::error::{Located, Violation};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::Side;

/// What was found next in the input.
#[derive(Debug)]
pub(crate) enum Frame<'b> {
    /// The header of a data frame; its payload follows in chunks.
    Data(Data),
    /// Payload of the current data frame, as much as has arrived.
    Chunk(Chunk<'b>),
    /// A control frame, whole and unmasked. An error lies in its payload.
    Control(Control, &'b [u8]),
}

/// The header of a data frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data {
    /// Text or binary; `None` of a continuation frame.
    pub(crate) kind: Option<Kind>,
    /// The octets of its payload; `None` of a hixie text, which ends with 0xFF.
    pub(crate) length: Option<u64>,
    /// Whether RSV1 says that the payload is compressed.
    pub(crate) compressed: bool,
}

/// Payload of a data frame, unmasked where it lies.
#[derive(Debug)]
pub(crate) struct Chunk<'b> {
    pub(crate) octets: &'b mut [u8],
    /// Octets of the frame that follow these; `None` of a hixie text, which has
    /// no length, and of what was inflated.
    pub(crate) frame_to_come: Option<u64>,
    /// Whether the frame is the last of its message.
    pub(crate) frame_is_final: bool,
    /// Whether the message ends here.
    pub(crate) message_ends: bool,
}

/// What of a frame comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Header,
    Payload,
    /// hixie: text up to 0xFF.
    Text,
    /// hixie: text up to 0xFF that is not delivered.
    SkippedText,
    /// hixie: octets that are not delivered.
    Skipped,
}

/// Reads the frames of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The key for the rest of the current frame.
    mask: Mask,
    /// Octets of the current frame still to come.
    rest: u64,
    expect: Expect,
    /// Whether the current frame is the last of its message.
    last: bool,
}

impl Default for Decoder {
    #[inline]
    fn default() -> Decoder {
        Decoder {
            mask: Mask::Clear,
            rest: 0,
            expect: Expect::Header,
            last: true,
        }
    }
}

impl Decoder {
    /// Whether nothing of a frame has been read.
    #[inline]
    pub(crate) fn is_between_frames(&self) -> bool {
        self.expect == Expect::Header
    }

    /// Whether a text without a length is arriving.
    pub(crate) fn is_in_text_without_length(&self) -> bool {
        self.expect == Expect::Text
    }

    /// Octets of payload still to come of the current data frame.
    pub(crate) fn payload_to_come(&self) -> u64 {
        if self.expect == Expect::Payload {
            self.rest
        } else {
            0
        }
    }

    /// What comes next in the input; `None` where more input is needed. hixie
    /// frames that are to be skipped are skipped; `limit` is the most octets
    /// that one may have.
    ///
    /// # Errors
    ///
    /// The rule that a header breaks.
    ///
    /// `HIXIE` is whether the layout is hixie's, so that neither kind of layout
    /// pays for the other.
    #[inline(always)]
    pub(crate) fn next<'b, const HIXIE: bool, T: Trace>(
        &mut self,
        wire: OneWay<'_>,
        limit: u64,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Frame<'b>>, Located<Violation>> {
        if HIXIE {
            return self.next_hixie(wire, limit, input, trace);
        }
        if self.expect == Expect::Payload {
            return Ok(self.payload(input, trace).map(Frame::Chunk));
        }
        self.header(wire, input, trace)
    }

    /// Between two frames: a frame that is a whole message and lies whole in these
    /// octets. `None` of all other frames, and of those about which anything is
    /// unusual: [`Decoder::next`] reads them. Nothing is consumed.
    #[inline(always)]
    pub(crate) fn find_whole(wire: Wire, from: Side, octets: &[u8]) -> Option<WholeFrame> {
        let frame = match (wire.layout, from) {
            (WireLayout::Hybi07, from) => hybi07::read_whole(from, octets)?,
            (WireLayout::Hixie75, _) => return hixie75::read_whole(octets),
            (WireLayout::Hybi04 | WireLayout::Hybi04WithoutKey, Side::Client) => return None,
            _ => find_other(wire, from, octets)?,
        };
        (octets.len() - frame.header >= frame.payload).then_some(frame)
    }

    /// A header from hybi-01 on, and the payload of a control frame with it.
    #[inline(always)]
    fn header<'b, T: Trace>(
        &mut self,
        wire: OneWay<'_>,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Frame<'b>>, Located<Violation>> {
        let rest = input.rest();
        let Some(mut found) = find(wire, rest) else {
            return Ok(None);
        };
        let octets = found.octets();
        if let Ok(header) = &found.header {
            // A control frame is delivered whole, so it is read whole.
            let payload = rest.len().saturating_sub(octets) as u64;
            if matches!(header.opcode, Opcode::Control(_)) && payload < header.length {
                return Ok(None);
            }
        }
        let start = input.position();
        if T::WATCHING {
            name_header(&found, wire, &mut SpanWriter::new(trace, start));
        }
        input.take(octets);
        let header = match &found.header {
            Ok(header) => header,
            Err(violation) => {
                let at = found.broken_by(*violation);
                return Err(Located::in_head(*violation, at, start));
            }
        };
        let kind = match header.opcode {
            Opcode::Data(kind) => Some(kind),
            Opcode::Continuation => None,
            Opcode::Control(control) => {
                let at = input.position();
                let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                let payload = input.take(length);
                found.mask.apply(payload);
                if T::WATCHING {
                    name_payload(control, payload, wire, &mut SpanWriter::new(trace, at));
                }
                return Ok(Some(Frame::Control(control, payload)));
            }
        };
        let (length, compressed) = (header.length, header.compressed);
        self.last = header.last;
        self.mask = found.mask;
        self.rest = length;
        self.expect = Expect::Payload;
        Ok(Some(Frame::Data(Data {
            kind,
            length: Some(length),
            compressed,
        })))
    }

    #[inline(always)]
    fn payload<'b, T: Trace>(&mut self, input: &mut Input<'b>, trace: &mut T) -> Option<Chunk<'b>> {
        if input.rest().is_empty() && self.rest > 0 {
            return None;
        }
        let at = input.position();
        let octets = input.take(usize::try_from(self.rest).unwrap_or(usize::MAX));
        SpanWriter::new(trace, at).octets(octets.len(), Field::Payload, 0);
        self.mask.apply(octets);
        self.rest -= octets.len() as u64;
        let frame_ends = self.rest == 0;
        if frame_ends {
            self.expect = Expect::Header;
        }
        Some(Chunk {
            octets,
            frame_to_come: Some(self.rest),
            frame_is_final: self.last,
            message_ends: frame_ends && self.last,
        })
    }

    /// How many octets come next, as far as they have arrived, that belong to one
    /// data frame, where that is compressed, was started, or is one of several of
    /// its message; `None` where something else comes next.
    pub(crate) fn fragment_ahead(&self, wire: OneWay<'_>, input: &Input<'_>) -> Option<usize> {
        let arrived = input.rest().len();
        let up_to = |octets: u64| usize::try_from(octets).map_or(arrived, |n| n.min(arrived));
        if !self.is_between_frames() {
            return Some(up_to(self.payload_to_come()));
        }
        let found = find(wire, input.rest())?;
        let header = found.header.as_ref().ok()?;
        let is_fragment = match header.opcode {
            Opcode::Data(_) => header.compressed || !header.last,
            Opcode::Continuation => true,
            Opcode::Control(_) => false,
        };
        is_fragment.then(|| up_to(header.length.saturating_add(found.octets() as u64)))
    }

    /// Whether the frame at hand is the last of its message.
    pub(crate) fn is_in_last_frame(&self) -> bool {
        self.last
    }

    /// Unmasks payload of the current frame where it lies, as much as has arrived
    /// of it and at most `most` octets, without consuming it; gives how much.
    /// [`Decoder::consume`] must follow.
    pub(crate) fn unmask_ahead(&self, input: &mut Input<'_>, most: usize) -> usize {
        let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let n = rest.min(most).min(input.rest().len());
        self.mask.apply_from(0, input.rest_mut().split_at_mut(n).0);
        n
    }

    /// Consumes `n` of the `unmasked` octets of payload, and masks the others
    /// again.
    pub(crate) fn consume<T: Trace>(
        &mut self,
        n: usize,
        unmasked: usize,
        input: &mut Input<'_>,
        trace: &mut T,
    ) {
        let at = input.position();
        let n = input.take(n.min(unmasked)).len();
        SpanWriter::new(trace, at).octets(n, Field::Payload, 0);
        let (again, _) = input.rest_mut().split_at_mut(unmasked - n);
        self.mask.apply_from(n, again);
        self.mask = core::mem::take(&mut self.mask).rotated(n);
        self.rest -= n as u64;
        if self.rest == 0 {
            self.expect = Expect::Header;
        }
    }

    /// The hixie layout: a frame is a message, and text has no length.
    #[inline(always)]
    fn next_hixie<'b, T: Trace>(
        &mut self,
        wire: OneWay<'_>,
        limit: u64,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Frame<'b>>, Located<Violation>> {
        while !input.rest().is_empty() {
            match self.expect {
                Expect::Payload => unreachable!("a hixie text has no length"),
                Expect::Header => {
                    let found = hixie75::read(wire.version(), wire.from, limit, input.rest());
                    let Some((header, n)) = found else {
                        return Ok(None);
                    };
                    let at = input.position();
                    let octets = input.take(n);
                    hixie75::name(octets, &mut SpanWriter::new(trace, at));
                    // The octet at which a length is too long is its last one.
                    let header =
                        header.map_err(|violation| Located::in_head(violation, n - 1..n, at))?;
                    match header {
                        hixie75::Header::Text { deliver: true } => {
                            self.expect = Expect::Text;
                            return Ok(Some(Frame::Data(Data {
                                kind: Some(Kind::Text),
                                length: None,
                                compressed: false,
                            })));
                        }
                        hixie75::Header::Text { deliver: false } => {
                            self.expect = Expect::SkippedText;
                        }
                        hixie75::Header::Skip(0) => {}
                        hixie75::Header::Skip(length) => {
                            self.rest = length;
                            self.expect = Expect::Skipped;
                        }
                        hixie75::Header::Close => {
                            return Ok(Some(Frame::Control(Control::Close, &[])));
                        }
                    }
                }
                Expect::Text => return Ok(Some(Frame::Chunk(self.text(input, trace)))),
                Expect::SkippedText => {
                    self.text(input, trace);
                }
                Expect::Skipped => {
                    let at = input.position();
                    let n = usize::try_from(self.rest).unwrap_or(usize::MAX);
                    let n = input.take(n).len();
                    SpanWriter::new(trace, at).octets(n, Field::Skipped, 0);
                    self.rest -= n as u64;
                    if self.rest == 0 {
                        self.expect = Expect::Header;
                    }
                }
            }
        }
        Ok(None)
    }

    /// hixie: text up to 0xFF, or as much of it as has arrived.
    #[inline(always)]
    fn text<'b, T: Trace>(&mut self, input: &mut Input<'b>, trace: &mut T) -> Chunk<'b> {
        let end = memchr(hixie75::TERMINATOR, input.rest());
        let n = end.unwrap_or(input.rest().len());
        let mut spans = SpanWriter::new(trace, input.position());
        let octets = input.take(n);
        let field = if self.expect == Expect::Text {
            Field::Payload
        } else {
            Field::Skipped
        };
        spans.octets(n, field, 0);
        if end.is_some() {
            spans.octets(1, Field::Terminator, u64::from(hixie75::TERMINATOR));
            input.take(1);
            self.expect = Expect::Header;
        }
        Chunk {
            octets,
            frame_to_come: None,
            frame_is_final: true,
            message_ends: end.is_some(),
        }
    }
}

impl WholeFrame {
    /// Octets of the whole frame.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.header + self.payload + usize::from(self.has_terminator)
    }

    /// Its payload, in the octets of the frame and those behind it.
    #[inline(always)]
    pub(crate) fn payload_in<'b>(&self, octets: &'b mut [u8]) -> &'b mut [u8] {
        let (_, payload) = octets.split_at_mut(self.header);
        payload.split_at_mut(self.payload).0
    }

    /// Unmasks the payload; gives whether it is ASCII.
    #[inline(always)]
    pub(crate) fn unmask(&self, payload: &mut [u8]) -> bool {
        match self.key {
            Some(key) => mask::unmask(key, payload),
            None => mask::is_ascii(payload),
        }
    }
}

/// [`Decoder::find_whole`] from hybi-01 to hybi-06, and where compression was agreed
/// on: a compressed frame is none of them.
#[inline(never)]
fn find_other(wire: Wire, from: Side, octets: &[u8]) -> Option<WholeFrame> {
    let found = find(wire.sent_by(from, None), octets)?;
    let key = match found.mask {
        Mask::Clear => None,
        Mask::Four(key) => Some(key),
        Mask::Twenty(_) => return None,
    };
    match &found.header {
        Ok(Header {
            last: true,
            opcode: Opcode::Data(kind),
            length,
            compressed: false,
        }) => Some(WholeFrame {
            kind: *kind,
            header: found.octets(),
            payload: usize::try_from(*length).ok()?,
            has_terminator: false,
            key,
        }),
        _ => None,
    }
}

/// The header that these octets start with, if all of it is there.
#[inline(always)]
fn find(wire: OneWay<'_>, octets: &[u8]) -> Option<Found> {
    let (version, from) = (wire.version(), wire.from);
    match (wire.layout(), from) {
        (WireLayout::Hybi07, _) => hybi07::read(version, from, Rsv1::Reserved, octets),
        (WireLayout::Hybi07Deflate, _) => hybi07::read(version, from, wire.rsv1(), octets),
        (WireLayout::Hybi05, Side::Client) => hybi05::read(version, from, octets),
        (WireLayout::Hybi04, Side::Client) => hybi04::read(version, from, wire.key(), octets),
        (WireLayout::Hybi04WithoutKey, Side::Client) => {
            unreachable!("no server reads hybi-04 without its key")
        }
        // Before hybi-07 no server masks, and before hybi-04 no client does.
        _ => hybi05::read_clear(version, from, octets),
    }
}

/// Reports the fields of a header and its key to the observer.
fn name_header<T: Trace>(found: &Found, wire: OneWay<'_>, spans: &mut SpanWriter<'_, T>) {
    let layout = wire.version().layout;
    let (first, behind) = if found.key_first {
        (found.key, None)
    } else {
        (None, found.key)
    };
    if let Some(key) = first {
        let number = u64::from(u32::from_be_bytes(key));
        match wire.layout() {
            WireLayout::Hybi04 => {
                spans.octets(4, Field::FrameNonce, number);
                hybi04::derive(wire.key(), key, spans);
            }
            _ => spans.octets(4, Field::MaskingKey, number),
        }
    }
    name(found.raw, layout, spans);
    if let Some(key) = behind {
        spans.octets(4, Field::MaskingKey, u64::from(u32::from_be_bytes(key)));
    }
}

/// Reports the fields of a control frame's payload to the observer.
fn name_payload<T: Trace>(
    control: Control,
    payload: &[u8],
    wire: OneWay<'_>,
    spans: &mut SpanWriter<'_, T>,
) {
    if control != Control::Close {
        return spans.octets(payload.len(), Field::ControlPayload, 0);
    }
    let mut reason = payload.len();
    if let (Some((code, rest)), true) = (
        payload.split_first_chunk::<2>(),
        wire.version().has_close_codes(),
    ) {
        spans.octets(2, Field::CloseCode, u64::from(u16::from_be_bytes(*code)));
        reason = rest.len();
    }
    spans.octets(reason, Field::CloseReason, 0);
}
