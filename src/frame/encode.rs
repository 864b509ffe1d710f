//! The sending half of the frame layer: frames to octets, for every layout.

use alloc::vec::Vec;

use super::header::{Control, Kind, MAX_HEADER, Opcode, RSV1, Rsv1, write};
use super::mask::{self, Mask};
use super::wire::{OneWay, Wire, WireLayout};
use super::{hixie75, hybi04};
use crate::bytes::Output;
#[cfg(feature = "net")]
use crate::extension::{Codecs, Compression};
use crate::version::{Layout, Side};

/// Writes the frames that one end sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder<'w> {
    wire: OneWay<'w>,
}

/// Which frame of its message a data frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// How a server frames whole messages: the same for many of its clients, which can
/// share the octets.
#[cfg(feature = "net")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As they are.
    Plain(Layout),
    /// Compressed each on its own, in the layout of hybi-07.
    Deflated(Compression),
}

/// What stands before and after the payload of a frame that is not masked.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    header: [u8; MAX_HEADER],
    len: usize,
    terminator: Option<u8>,
}

impl Framing {
    /// The most octets that can stand before a payload.
    pub const MAX_HEADER: usize = MAX_HEADER;

    /// The octets before the payload.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.len).unwrap_or(&self.header)
    }

    /// The octet after the payload, which only hixie has.
    #[must_use]
    pub fn terminator(&self) -> Option<u8> {
        self.terminator
    }

    /// The framing of a whole message of `length` octets in a frame that is not
    /// masked.
    #[inline]
    fn of(layout: Layout, kind: Kind, length: usize) -> Framing {
        if layout == Layout::Hixie75 {
            return Framing {
                header: [0; MAX_HEADER],
                len: 1,
                terminator: Some(hixie75::TERMINATOR),
            };
        }
        let (header, len) = write(layout, Opcode::Data(kind), true, length as u64);
        Framing {
            header,
            len,
            terminator: None,
        }
    }

    /// The same for a message that was compressed to `length` octets. All versions
    /// that have compression have the layout of hybi-07.
    #[cfg(feature = "net")]
    pub(crate) fn compressed(kind: Kind, length: usize) -> Framing {
        let mut framing = Framing::of(Layout::Hybi07, kind, length);
        if let Some(first) = framing.header.first_mut() {
            *first |= RSV1;
        }
        framing
    }
}

impl<'w> Encoder<'w> {
    /// Writes the frames that go this way.
    #[inline]
    pub(crate) fn new(wire: OneWay<'w>) -> Encoder<'w> {
        Encoder { wire }
    }

    /// A whole message in one frame, as a server sends it to all clients with this
    /// shape.
    #[cfg(feature = "net")]
    pub(crate) fn server_frame(
        shape: Shape,
        kind: Kind,
        payload: &[u8],
        codecs: &mut Codecs,
        out: &mut Vec<u8>,
    ) {
        let layout = match shape {
            Shape::Plain(layout) => layout,
            Shape::Deflated(compression) => {
                if let Some(deflated) = codecs.shorter(payload, compression) {
                    let framing = Framing::compressed(kind, deflated.len());
                    out.extend_from_slice(framing.header());
                    out.extend_from_slice(&deflated);
                    return codecs.give_back_buffer(deflated);
                }
                Layout::Hybi07
            }
        };
        let framing = Framing::of(layout, kind, payload.len());
        out.extend_from_slice(framing.header());
        out.extend_from_slice(payload);
        out.extend(framing.terminator());
    }

    /// Whether this end masks what it sends.
    #[inline]
    fn masks(self) -> bool {
        self.wire.from == Side::Client && self.wire.version().client_masks()
    }

    /// The octets around a whole message of this length, which is then sent from
    /// where it lies; `None` where it must be masked.
    pub(crate) fn framing(self, kind: Kind, length: usize) -> Option<Framing> {
        let layout = self.wire.version().layout;
        (!self.masks()).then(|| Framing::of(layout, kind, length))
    }

    /// A whole message in one frame, where that takes little: as a server of today
    /// sends it, but for its longest messages, and in the layout of hixie. Whether
    /// it was written.
    #[inline(always)]
    pub(crate) fn simple_message(
        (wire, from): (Wire, Side),
        (kind, payload): (Kind, &[u8]),
        out: &mut Output<'_>,
    ) -> bool {
        match (wire.layout, from, u16::try_from(payload.len())) {
            (WireLayout::Hybi07, Side::Server, Ok(length)) => {
                let first = 0x80 | Opcode::Data(kind).number(Layout::Hybi07);
                match u8::try_from(length) {
                    Ok(short @ 0..=125) => out.octets.extend_from_slice(&[first, short]),
                    _ => {
                        let [high, low] = length.to_be_bytes();
                        out.octets.extend_from_slice(&[first, 126, high, low]);
                    }
                }
                out.octets.extend_from_slice(payload);
            }
            (WireLayout::Hybi07, Side::Client, Ok(length)) => {
                masked_message(kind, length, payload, out);
            }
            (WireLayout::Hixie75, ..) if kind == Kind::Text => {
                out.octets.push(0);
                out.octets.extend_from_slice(payload);
                out.octets.push(hixie75::TERMINATOR);
            }
            _ => return false,
        }
        true
    }

    /// A whole message in one frame.
    #[inline(never)]
    pub(crate) fn message(self, kind: Kind, payload: &[u8], out: &mut Output<'_>) {
        let whole = Position {
            first: true,
            last: true,
        };
        self.data(kind, whole, payload, out);
    }

    /// A data frame whose payload is compressed. RSV1 stands on the first frame of
    /// a message only, or on every one, as was agreed.
    pub(crate) fn compressed(
        self,
        kind: Kind,
        position: Position,
        payload: &[u8],
        out: &mut Output<'_>,
    ) {
        let rsv1 = match self.wire.rsv1() {
            Rsv1::Frame => true,
            Rsv1::Message => position.first,
            Rsv1::Reserved => unreachable!("compression was agreed on"),
        };
        self.frame(
            Opcode::of_data(kind, position.first),
            position,
            rsv1,
            payload,
            out,
        );
    }

    /// A data frame: a whole message, or a part of one. hixie has no fragments;
    /// there the parts of a text make one frame.
    #[inline]
    pub(crate) fn data(self, kind: Kind, position: Position, payload: &[u8], out: &mut Output<'_>) {
        if let WireLayout::Hixie75 = self.wire.layout() {
            if position.first {
                out.octets.push(0);
            }
            out.octets.extend_from_slice(payload);
            if position.last {
                out.octets.push(hixie75::TERMINATOR);
            }
            return;
        }
        let opcode = Opcode::of_data(kind, position.first);
        self.frame(opcode, position, false, payload, out);
    }

    /// A control frame. hixie-76 has one close, FF 00, and hixie has no other
    /// control frames: nothing is written for them.
    pub(crate) fn control(self, control: Control, payload: &[u8], out: &mut Output<'_>) {
        match (self.wire.layout(), control) {
            (WireLayout::Hixie75, Control::Close) => {
                out.octets.extend_from_slice(&hixie75::CLOSE);
            }
            (WireLayout::Hixie75, Control::Ping | Control::Pong) => {}
            _ => {
                let whole = Position {
                    first: true,
                    last: true,
                };
                self.frame(Opcode::Control(control), whole, false, payload, out);
            }
        }
    }

    /// Writes the header of a data frame whose payload has this length and
    /// follows in parts; `compressed` is whether its message is, as a whole. Not
    /// for hixie, whose frames have no length.
    pub(crate) fn start_frame(
        self,
        kind: Kind,
        position: Position,
        (length, compressed): (u64, bool),
        out: &mut Output<'_>,
    ) -> OpenFrame {
        let opcode = Opcode::of_data(kind, position.first);
        let layout = self.wire.version().layout;
        let (mut header, n) = write(layout, opcode, position.last, length);
        if let (true, true, Some(first)) = (compressed, position.first, header.first_mut()) {
            *first |= RSV1;
        }
        let header = header.get(..n).unwrap_or(&header);
        let mask = if self.masks() {
            self.masked_header(header, out)
        } else {
            out.octets.extend_from_slice(header);
            Mask::Clear
        };
        OpenFrame {
            mask,
            to_come: length,
            last: position.last,
        }
    }

    /// A frame from hybi-01 on.
    #[inline(never)]
    fn frame(
        self,
        opcode: Opcode,
        position: Position,
        rsv1: bool,
        payload: &[u8],
        out: &mut Output<'_>,
    ) {
        let layout = self.wire.version().layout;
        let (mut header, n) = write(layout, opcode, position.last, payload.len() as u64);
        if let (true, Some(first)) = (rsv1, header.first_mut()) {
            *first |= RSV1;
        }
        let header = header.get(..n).unwrap_or(&header);
        if !self.masks() {
            out.octets.extend_from_slice(header);
            out.octets.extend_from_slice(payload);
            return;
        }
        let mut mask = self.masked_header(header, out);
        append_masked(payload, &mut mask, out.octets);
    }

    /// The number of this opcode on this wire.
    #[cfg(feature = "conform")]
    pub(crate) fn number_of(self, opcode: Opcode) -> u8 {
        opcode.number(self.wire.version().layout)
    }

    /// Writes a header field by field. Not for hixie, whose frames have none.
    #[cfg(feature = "conform")]
    pub(crate) fn raw(self, header: RawHeader, out: &mut Output<'_>) -> RawFrame {
        let layout = self.wire.version().layout;
        let top = header.last != (layout == Layout::Hybi01);
        let first = u8::from(top) << 7 | (header.rsv & 7) << 4 | header.opcode & 15;
        let (octets, n) = super::header::write_as_told(first, header.length, header.length_octets);
        let octets = octets.get(..n).unwrap_or(&octets);
        let can_be_masked = layout != Layout::Hybi01;
        if can_be_masked && header.masked.unwrap_or(self.masks()) {
            let mask = self.masked_header(octets, out);
            return RawFrame { mask };
        }
        out.octets.extend_from_slice(octets);
        RawFrame::default()
    }

    /// Draws a key and writes the header with it, masked where this layout masks
    /// headers. Gives the mask of the payload.
    fn masked_header(self, header: &[u8], out: &mut Output<'_>) -> Mask {
        let key: [u8; 4] = out.draw();
        let octets = &mut *out.octets;
        let start = octets.len();
        if let WireLayout::Hybi07 | WireLayout::Hybi07Deflate = self.wire.layout() {
            octets.extend_from_slice(header);
            if let Some(second) = octets.get_mut(start + 1) {
                *second |= 0x80;
            }
            octets.extend_from_slice(&key);
            return Mask::four(key);
        }
        let mut mask = match self.wire.layout() {
            WireLayout::Hybi04 => hybi04::mask(self.wire.key(), key),
            _ => Mask::four(key),
        };
        octets.extend_from_slice(&key);
        append_masked(header, &mut mask, octets);
        mask
    }
}

/// A frame that a tester sends field by field: its header was written, and any
/// payload may follow.
#[cfg(feature = "conform")]
#[derive(Debug, Default)]
pub(crate) struct RawFrame {
    mask: Mask,
}

#[cfg(feature = "conform")]
impl RawFrame {
    /// Appends octets of its payload.
    pub(crate) fn payload(&mut self, payload: &[u8], octets: &mut Vec<u8>) {
        append_masked(payload, &mut self.mask, octets);
    }
}

/// The fields of a header, right or wrong.
#[cfg(feature = "conform")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawHeader {
    /// Whether it is told to be the last frame of its message.
    pub(crate) last: bool,
    /// The three reserved bits as a number.
    pub(crate) rsv: u8,
    /// The opcode, as this layout numbers it.
    pub(crate) opcode: u8,
    pub(crate) length: u64,
    /// The octets of the extended length; the fewest where it is `None`.
    pub(crate) length_octets: Option<u8>,
    /// Whether it is masked; as this end must where it is `None`.
    pub(crate) masked: Option<bool>,
}

/// A frame whose header was written and whose payload follows in parts.
#[derive(Debug)]
pub(crate) struct OpenFrame {
    mask: Mask,
    /// Octets of payload that are still to be written.
    to_come: u64,
    /// Whether it is the last frame of its message.
    last: bool,
}

impl OpenFrame {
    /// Writes the next part of the payload.
    ///
    /// # Panics
    ///
    /// Where it is more than the header announced: what follows would be read as
    /// frames.
    pub(crate) fn payload(&mut self, payload: &[u8], out: &mut Output<'_>) {
        let to_come = self.to_come.checked_sub(payload.len() as u64);
        let Some(to_come) = to_come else {
            unreachable!("a frame gets the payload that its header announced");
        };
        self.to_come = to_come;
        append_masked(payload, &mut self.mask, out.octets);
    }

    /// Whether all of the payload was written.
    pub(crate) fn is_whole(&self) -> bool {
        self.to_come == 0
    }

    /// Whether it is the last frame of its message.
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }
}

/// A whole message, as a client of today sends it.
#[inline(never)]
fn masked_message(kind: Kind, length: u16, payload: &[u8], out: &mut Output<'_>) {
    let [a, b, c, d] = out.draw();
    let first = 0x80 | Opcode::Data(kind).number(Layout::Hybi07);
    let octets = &mut *out.octets;
    match u8::try_from(length) {
        Ok(short @ 0..=125) => octets.extend_from_slice(&[first, 0x80 | short, a, b, c, d]),
        _ => {
            let [high, low] = length.to_be_bytes();
            octets.extend_from_slice(&[first, 0x80 | 126, high, low, a, b, c, d]);
        }
    }
    let start = octets.len();
    octets.extend_from_slice(payload);
    let (_, masked) = octets.split_at_mut(start);
    mask::mask(u32::from_le_bytes([a, b, c, d]), masked);
}

/// Appends these octets, masked.
fn append_masked(payload: &[u8], mask: &mut Mask, octets: &mut Vec<u8>) {
    let start = octets.len();
    octets.extend_from_slice(payload);
    let (_, masked) = octets.split_at_mut(start);
    mask.apply(masked);
}
