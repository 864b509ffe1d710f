//! Frames: octets to pieces of messages and back.
//!
//! Each layout has a file of its own that says where the key lies and what the
//! top bits mean; the header of two octets and the two longer lengths are one
//! and the same from hybi-01 on and stand here, with the rules on them.

pub(crate) mod close;
pub(crate) mod hixie75;
mod hybi04;
mod hybi05;
mod hybi07;
mod mask;
mod utf8;

use crate::bytes::Output;
use crate::error::Violation;
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Layout, Side, Version};

pub use close::{BAD_GATEWAY, GOING_AWAY, NO_STATUS, NORMAL, Reason, code_for as close_code};
pub(crate) use mask::Mask;
pub(crate) use utf8::{Mend, Utf8};

/// What kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text, which is UTF-8.
    Text,
    /// Octets.
    Binary,
}

/// A whole message. A text is valid UTF-8 by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    kind: Kind,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// A text message.
    #[must_use]
    pub fn text(text: &'a str) -> Message<'a> {
        Message {
            kind: Kind::Text,
            payload: text.as_bytes(),
        }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(octets: &'a [u8]) -> Message<'a> {
        Message {
            kind: Kind::Binary,
            payload: octets,
        }
    }

    /// A message whose text was checked as it came.
    pub(crate) fn checked(kind: Kind, payload: &'a [u8]) -> Message<'a> {
        debug_assert!(kind == Kind::Binary || std::str::from_utf8(payload).is_ok());
        Message { kind, payload }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The octets of the message.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Text => std::str::from_utf8(self.payload).ok(),
            Kind::Binary => None,
        }
    }
}

/// Payload of a message, as much as has come. It lies unmasked in the caller's
/// own buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'b> {
    /// Text or binary.
    pub kind: Kind,
    /// The octets. Text of a version that replaces what is not UTF-8 is here as
    /// it came; [`Gather`](crate::message::Gather) replaces on delivery.
    pub octets: &'b mut [u8],
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
}

/// What a frame is, whatever its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Data(Kind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    /// The number in this layout: hybi-07 gave them all new ones.
    fn number(self, layout: Layout) -> u8 {
        let (early, late) = match self {
            Opcode::Continuation => (0, 0),
            Opcode::Data(Kind::Text) => (4, 1),
            Opcode::Data(Kind::Binary) => (5, 2),
            Opcode::Close => (1, 8),
            Opcode::Ping => (2, 9),
            Opcode::Pong => (3, 10),
        };
        if layout == Layout::Hybi07 {
            late
        } else {
            early
        }
    }

    #[inline]
    pub(crate) fn numbered(number: u8, layout: Layout) -> Result<Opcode, Violation> {
        let late = layout == Layout::Hybi07;
        Ok(match (number, late) {
            (0, _) => Opcode::Continuation,
            (1, true) | (4, false) => Opcode::Data(Kind::Text),
            (2, true) | (5, false) => Opcode::Data(Kind::Binary),
            (8, true) | (1, false) => Opcode::Close,
            (9, true) | (2, false) => Opcode::Ping,
            (10, true) | (3, false) => Opcode::Pong,
            _ => return Err(Violation::ReservedOpcode { opcode: number }),
        })
    }
}

/// A frame's header, read and judged.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) last: bool,
    pub(crate) opcode: Opcode,
    pub(crate) length: u64,
}

/// The octets of a header as they stand, after unmasking: two, and two or eight
/// more where the length does not fit seven bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    first: u8,
    second: u8,
    length: u64,
    octets: usize,
}

impl Raw {
    #[inline]
    fn read(octets: &[u8]) -> Option<Raw> {
        let (&[first, second], rest) = octets.split_first_chunk::<2>()?;
        let (length, more) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
            short => (u64::from(short), 0),
        };
        Some(Raw {
            first,
            second,
            length,
            octets: 2 + more,
        })
    }

    /// Whether the top bit of the first octet says that the message ends:
    /// hybi-01 says MORE where the others say FIN.
    #[inline]
    fn is_last(self, wire: Wire<'_>) -> bool {
        (self.first & 0x80 != 0) != (wire.version.layout == Layout::Hybi01)
    }

    /// The top bit of the second octet: MASK in hybi-07, reserved before.
    #[inline]
    fn second_top(self) -> bool {
        self.second & 0x80 != 0
    }

    #[inline]
    fn is_minimal(self) -> bool {
        match self.octets {
            4 => self.length > 125,
            10 => self.length > 0xffff,
            _ => true,
        }
    }
}

/// A header as it was read, before its rules are known to hold.
#[derive(Debug)]
pub(crate) struct Read {
    raw: Raw,
    key: Option<[u8; 4]>,
    /// The octets it takes on the wire, its key included.
    pub(crate) octets: usize,
    pub(crate) header: Result<Header, Violation>,
    pub(crate) mask: Mask,
}

/// Who speaks which version, and with which secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'s> {
    pub(crate) version: &'static Version,
    /// Who wrote, or writes, these frames.
    pub(crate) from: Side,
    /// hybi-04: the masking key of the connection.
    pub(crate) secret: Option<&'s [u8; 20]>,
}

/// Reads a header, if all of it is there. Not for the hixie layout. Inlined for
/// good, with its rules: what it gives is large, and is taken apart at once.
#[inline(always)]
pub(crate) fn read(wire: Wire<'_>, octets: &[u8]) -> Option<Read> {
    match wire.version.layout {
        Layout::Hybi07 => hybi07::read(wire, octets),
        Layout::Hybi05 => hybi05::read(wire, octets),
        Layout::Hybi04 => hybi04::read(wire, octets),
        Layout::Hybi01 | Layout::Hixie75 => read_clear(wire, octets),
    }
}

/// Tells the watcher what a header's octets are.
pub(crate) fn name<T: Trace>(read: &Read, wire: Wire<'_>, spans: &mut SpanWriter<'_, T>) {
    let layout = wire.version.layout;
    let key = |spans: &mut SpanWriter<'_, T>, field| {
        if let Some(key) = read.key {
            spans.octets(4, field, u64::from(u32::from_be_bytes(key)));
        }
    };
    match layout {
        Layout::Hybi04 => {
            key(spans, Field::FrameNonce);
            if let Some(nonce) = read.key {
                hybi04::derive(wire, nonce, spans);
            }
        }
        Layout::Hybi05 => key(spans, Field::MaskingKey),
        _ => {}
    }
    let Raw {
        first,
        second,
        length,
        octets,
    } = read.raw;
    let (first, second) = (u64::from(first), u64::from(second));
    let top = if layout == Layout::Hybi01 {
        Field::More
    } else {
        Field::Fin
    };
    spans.bits(&[
        (1, top, first >> 7),
        (3, Field::Reserved, first >> 4 & 7),
        (4, Field::Opcode, first & 15),
    ]);
    let second_top = if layout == Layout::Hybi07 {
        Field::Mask
    } else {
        Field::Reserved4
    };
    spans.bits(&[
        (1, second_top, second >> 7),
        (7, Field::Length7, second & 127),
    ]);
    match octets {
        4 => spans.octets(2, Field::Length16, length),
        10 => spans.octets(8, Field::Length64, length),
        _ => {}
    }
    if layout == Layout::Hybi07 {
        key(spans, Field::MaskingKey);
    }
}

/// The rules that one header can break, in the order they are asked.
#[inline(always)]
fn judge(raw: Raw, last: bool, wire: Wire<'_>) -> Result<Header, Violation> {
    let layout = wire.version.layout;
    // RFC 6455 section 5.2; before hybi-07 the fourth reserved bit was there.
    let reserved_4 = layout != Layout::Hybi07 && raw.second_top();
    if raw.first & 0x70 != 0 || reserved_4 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::numbered(raw.first & 0x0f, layout)?;
    if wire.version.is_rfc() {
        // Section 5.1, since draft 15; older clients were seen to differ.
        match (wire.from, raw.second_top()) {
            (Side::Client, false) => return Err(Violation::MaskMissing),
            (Side::Server, true) => return Err(Violation::MaskUnexpected),
            _ => {}
        }
        // Section 5.2, since draft 14.
        if !raw.is_minimal() {
            return Err(Violation::LengthNotMinimal);
        }
    }
    if raw.length >> 63 != 0 {
        return Err(Violation::LengthOutOfRange);
    }
    if opcode.is_control() {
        // Section 5.5.
        if raw.length > 125 {
            return Err(Violation::ControlTooLong);
        }
        if !last {
            return Err(Violation::ControlFragmented);
        }
    }
    Ok(Header {
        last,
        opcode,
        length: raw.length,
    })
}

/// Reads a header that is not masked and has no MASK bit.
#[inline]
fn read_clear(wire: Wire<'_>, octets: &[u8]) -> Option<Read> {
    let raw = Raw::read(octets)?;
    Some(Read {
        raw,
        key: None,
        octets: raw.octets,
        header: judge(raw, raw.is_last(wire), wire),
        mask: Mask::Clear,
    })
}

/// Reads a header that is masked itself: unmasks as much as one may take.
fn read_masked(wire: Wire<'_>, key: [u8; 4], mut mask: Mask, masked: &[u8]) -> Option<Read> {
    let mut plain = [0; MAX_HEAD];
    let n = masked.len().min(MAX_HEAD);
    let head = plain.get_mut(..n)?;
    head.copy_from_slice(masked.get(..n)?);
    mask.apply(head);
    let raw = Raw::read(head)?;
    // The key was turned past `n` octets; turn it on to where payload begins.
    let back = mask.period() - n % mask.period();
    let mask = mask.turned(back + raw.octets);
    Some(Read {
        raw,
        key: Some(key),
        octets: 4 + raw.octets,
        header: judge(raw, raw.is_last(wire), wire),
        mask,
    })
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) last: bool,
    pub(crate) payload: &'a [u8],
}

/// Writes a frame, masked where this version's client masks. Not for the hixie
/// layout.
#[inline]
pub(crate) fn write(wire: Wire<'_>, frame: Frame<'_>, out: &mut Output<'_>) {
    if wire.from == Side::Server || !wire.version.client_masks() {
        let (head, n) = head(wire.version, frame.opcode, frame.last, frame.payload.len());
        out.octets
            .extend_from_slice(head.get(..n).unwrap_or_default());
        out.octets.extend_from_slice(frame.payload);
        return;
    }
    match wire.version.layout {
        Layout::Hybi07 => hybi07::write_masked(wire, frame, out),
        Layout::Hybi05 => hybi05::write_masked(wire, frame, out),
        Layout::Hybi04 => hybi04::write_masked(wire, frame, out),
        Layout::Hybi01 | Layout::Hixie75 => {}
    }
}

/// The longest header without its key.
pub(crate) const MAX_HEAD: usize = 10;

/// A header in clear, in the shortest form of its length.
#[inline]
pub(crate) fn head(
    version: &Version,
    opcode: Opcode,
    last: bool,
    length: usize,
) -> ([u8; MAX_HEAD], usize) {
    let layout = version.layout;
    // hybi-01 says MORE where the others say FIN.
    let top = if last == (layout == Layout::Hybi01) {
        0
    } else {
        0x80
    };
    let first = top | opcode.number(layout);
    let mut head = [0; MAX_HEAD];
    let n = if let Some(short) = u8::try_from(length).ok().filter(|l| *l < 126) {
        copy(&mut head, &[first, short]);
        2
    } else if let Ok(length) = u16::try_from(length) {
        let [a, b] = length.to_be_bytes();
        copy(&mut head, &[first, 126, a, b]);
        4
    } else {
        let [a, b, c, d, e, f, g, h] = (length as u64).to_be_bytes();
        copy(&mut head, &[first, 127, a, b, c, d, e, f, g, h]);
        10
    };
    (head, n)
}

fn copy<const N: usize>(to: &mut [u8; MAX_HEAD], from: &[u8; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Appends a frame and masks what follows the key: the whole frame where the
/// key comes first, else the payload.
fn write_with_key(
    out: &mut Vec<u8>,
    head: &[u8],
    key: [u8; 4],
    mut mask: Mask,
    key_first: bool,
    payload: &[u8],
) {
    let start = if key_first {
        out.extend_from_slice(&key);
        let start = out.len();
        out.extend_from_slice(head);
        start
    } else {
        out.extend_from_slice(head);
        out.extend_from_slice(&key);
        out.len()
    };
    out.extend_from_slice(payload);
    mask.apply(out.get_mut(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_read_as_they_are_written() {
        for layout in [Layout::Hybi01, Layout::Hybi07] {
            let known = (0..16).filter_map(|n| Some((n, Opcode::numbered(n, layout).ok()?)));
            let known: Vec<(u8, Opcode)> = known.collect();
            assert_eq!(known.len(), 6);
            for (number, opcode) in known {
                assert_eq!(opcode.number(layout), number);
            }
        }
    }
}
