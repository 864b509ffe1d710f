//! The header that all layouts from hybi-01 on share, and its rules.

use core::ops::Range;

use super::mask::Mask;
use crate::error::Violation;
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Layout, Side, Version};

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text, which is UTF-8.
    Text,
    /// Octets.
    Binary,
}

/// The control frames (RFC 6455 section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Close,
    Ping,
    Pong,
}

/// What a frame is, whatever its number in this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Data(Kind),
    Control(Control),
}

impl Opcode {
    /// That of a data frame, which is the first of its message or not.
    #[inline]
    pub(super) fn of_data(kind: Kind, first: bool) -> Opcode {
        if first {
            Opcode::Data(kind)
        } else {
            Opcode::Continuation
        }
    }

    /// The number in this layout: hybi-07 gave them all new ones.
    #[inline]
    pub(super) fn number(self, layout: Layout) -> u8 {
        let (early, late) = match self {
            Opcode::Continuation => (0, 0),
            Opcode::Data(Kind::Text) => (4, 1),
            Opcode::Data(Kind::Binary) => (5, 2),
            Opcode::Control(Control::Close) => (1, 8),
            Opcode::Control(Control::Ping) => (2, 9),
            Opcode::Control(Control::Pong) => (3, 10),
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
            (8, true) | (1, false) => Opcode::Control(Control::Close),
            (9, true) | (2, false) => Opcode::Control(Control::Ping),
            (10, true) | (3, false) => Opcode::Control(Control::Pong),
            _ => return Err(Violation::ReservedOpcode { opcode: number }),
        })
    }
}

/// What RSV1 means (RFC 7692 section 6, and the drafts of deflate-frame).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rsv1 {
    /// Nothing: it must be 0.
    Reserved,
    /// On the first frame of a message: the message is compressed.
    Message,
    /// The frame is compressed.
    Frame,
}

/// A frame that is a whole message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeFrame {
    pub(crate) kind: Kind,
    /// Octets before the payload.
    pub(super) header: usize,
    /// Octets of payload.
    pub(crate) payload: usize,
    /// Whether one octet follows the payload, as in hixie.
    pub(super) has_terminator: bool,
    /// The masking key of the payload, as it lies on the wire.
    pub(super) key: Option<u32>,
}

/// A header that keeps the rules.
#[derive(Debug)]
pub(super) struct Header {
    /// Whether this is the last frame of its message.
    pub(super) last: bool,
    pub(super) opcode: Opcode,
    pub(super) length: u64,
    /// Whether RSV1 says that the payload is compressed.
    pub(super) compressed: bool,
}

/// The octets of a header as they stand, after unmasking: two, and two or eight
/// more where the length does not fit seven bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    first: u8,
    second: u8,
    length: u64,
    /// How many octets these are, without the masking key.
    pub(super) octets: usize,
}

impl Raw {
    #[inline]
    pub(super) fn read(octets: &[u8]) -> Option<Raw> {
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

    /// Whether the top bit of the first octet means that the message ends:
    /// hybi-01 has MORE where the others have FIN.
    #[inline]
    fn is_last(self, layout: Layout) -> bool {
        (self.first & 0x80 != 0) != (layout == Layout::Hybi01)
    }

    /// The top bit of the second octet: MASK in hybi-07, reserved before.
    #[inline]
    pub(super) fn second_top(self) -> bool {
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

    /// Which of these octets break this rule.
    #[cold]
    fn broken_by(self, violation: Violation) -> Range<usize> {
        match violation {
            Violation::ReservedBits if self.first & 0x70 == 0 => 1..2,
            Violation::ReservedBits
            | Violation::CompressedBitMisplaced
            | Violation::ReservedOpcode { .. }
            | Violation::ControlFragmented => 0..1,
            Violation::MaskMissing | Violation::MaskUnexpected => 1..2,
            _ => 1..self.octets,
        }
    }
}

/// A header that was found in the input, before its rules are known to hold.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) raw: Raw,
    /// The masking key, or hybi-04's nonce.
    pub(super) key: Option<[u8; 4]>,
    /// Whether the key stands before the header, and not behind it.
    pub(super) key_first: bool,
    pub(super) mask: Mask,
    pub(super) header: Result<Header, Violation>,
}

impl Found {
    /// How many octets it takes on the wire, its key included.
    #[inline(always)]
    pub(super) fn octets(&self) -> usize {
        self.raw.octets + if self.key.is_some() { 4 } else { 0 }
    }

    /// Where it breaks this rule, by the position of its octets from its first.
    #[cold]
    pub(super) fn broken_by(&self, violation: Violation) -> Range<usize> {
        let before = if self.key_first { 4 } else { 0 };
        let at = self.raw.broken_by(violation);
        before + at.start..before + at.end
    }
}

/// The rules that one header can break, in the order in which they are checked.
#[inline(always)]
pub(super) fn check(
    raw: Raw,
    version: &Version,
    from: Side,
    rsv1: Rsv1,
) -> Result<Header, Violation> {
    let layout = version.layout;
    let last = raw.is_last(layout);
    // RFC 6455 section 5.2; before hybi-07 the fourth reserved bit was there.
    let reserved_4 = layout != Layout::Hybi07 && raw.second_top();
    let compressed = rsv1 != Rsv1::Reserved && raw.first & RSV1 != 0;
    let reserved = if rsv1 == Rsv1::Reserved { 0x70 } else { 0x30 };
    if raw.first & reserved != 0 || reserved_4 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::numbered(raw.first & 0x0f, layout)?;
    let may_be_compressed = match opcode {
        Opcode::Data(_) => true,
        Opcode::Continuation => rsv1 == Rsv1::Frame,
        Opcode::Control(_) => false,
    };
    if compressed && !may_be_compressed {
        return Err(Violation::CompressedBitMisplaced);
    }
    if version.rfc_rules {
        // Section 5.1, since draft 15; older clients were seen to differ.
        match (from, raw.second_top()) {
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
    if let Opcode::Control(_) = opcode {
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
        compressed,
    })
}

/// Reports the fields of a header to the observer, without its key.
pub(super) fn name<T: Trace>(raw: Raw, layout: Layout, spans: &mut SpanWriter<'_, T>) {
    let (first, second) = (u64::from(raw.first), u64::from(raw.second));
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
    match raw.octets {
        4 => spans.octets(2, Field::Length16, raw.length),
        10 => spans.octets(8, Field::Length64, raw.length),
        _ => {}
    }
}

/// The first reserved bit, in the first octet of a header.
pub(super) const RSV1: u8 = 0x40;

/// The longest header without its key.
pub(crate) const MAX_HEADER: usize = 10;

/// A header without a key, in the shortest form of its length: its octets, and
/// how many of them there are.
#[inline]
pub(super) fn write(
    layout: Layout,
    opcode: Opcode,
    last: bool,
    length: u64,
) -> ([u8; MAX_HEADER], usize) {
    // hybi-01 has MORE where the others have FIN.
    let top = if last == (layout == Layout::Hybi01) {
        0
    } else {
        0x80
    };
    let first = top | opcode.number(layout);
    let mut header = [0; MAX_HEADER];
    let n = if let Some(short) = u8::try_from(length).ok().filter(|l| *l < 126) {
        copy(&mut header, &[first, short]);
        2
    } else if let Ok(length) = u16::try_from(length) {
        let [a, b] = length.to_be_bytes();
        copy(&mut header, &[first, 126, a, b]);
        4
    } else {
        let [a, b, c, d, e, f, g, h] = length.to_be_bytes();
        copy(&mut header, &[first, 127, a, b, c, d, e, f, g, h]);
        10
    };
    (header, n)
}

/// A header whose first octet is `first` and that tells this length in 0, 2 or 8
/// octets more, right or wrong; in the fewest where `length_octets` is `None`.
#[cfg(feature = "conform")]
pub(super) fn write_as_told(
    first: u8,
    length: u64,
    length_octets: Option<u8>,
) -> ([u8; MAX_HEADER], usize) {
    let octets = length_octets.unwrap_or(match length {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    });
    let mut header = [0; MAX_HEADER];
    let [.., c, d, e, f, g, h, i, j] = length.to_be_bytes();
    match octets {
        0 => copy(&mut header, &[first, j & 0x7f]),
        2 => copy(&mut header, &[first, 126, i, j]),
        _ => copy(&mut header, &[first, 127, c, d, e, f, g, h, i, j]),
    }
    (header, 2 + usize::from(octets))
}

fn copy<const N: usize>(to: &mut [u8; MAX_HEADER], from: &[u8; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

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
