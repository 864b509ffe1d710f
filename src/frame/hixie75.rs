//! hixie: 0x00 text 0xFF; types from 0x80 up carry a length.

use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Closing, Side, Version};

/// The octet that ends a text. It cannot occur in UTF-8.
pub(crate) const TERMINATOR: u8 = 0xff;

/// No length takes more octets than this; seven bits each make 70.
const MAX_LENGTH_OCTETS: usize = 10;

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Text up to 0xFF; thrown away where it is not for delivery.
    Text { deliver: bool },
    /// So many octets to skip.
    Skip(u64),
    /// FF 00 of hixie-76.
    Close,
    /// A length of too many octets.
    TooManyOctets,
    /// A length over the limit.
    TooLong,
}

/// Reads type and length, if all of them are there, and the octets they take
/// (hixie-76 section 5.3).
pub(crate) fn read(
    version: &Version,
    from: Side,
    limit: u64,
    octets: &[u8],
) -> Option<(Start, usize)> {
    let (&kind, rest) = octets.split_first()?;
    if kind & 0x80 == 0 {
        // hixie-75 lets a server take types 01 to 7F for text, and a client
        // throw them away; hixie-76 has both throw them away.
        let is_75_server = version.closing == Closing::Hixie75 && from == Side::Client;
        let deliver = kind == 0 || is_75_server;
        return Some((Start::Text { deliver }, 1));
    }
    let mut length: u64 = 0;
    for (i, octet) in rest.iter().enumerate() {
        let n = i + 2;
        if i >= MAX_LENGTH_OCTETS {
            return Some((Start::TooManyOctets, n));
        }
        let digit = u64::from(octet & 0x7f);
        length = match length.checked_mul(128).and_then(|l| l.checked_add(digit)) {
            Some(length) if length <= limit => length,
            // Stop while the length is still being read, or it never ends.
            _ => return Some((Start::TooLong, n)),
        };
        if octet & 0x80 == 0 {
            let is_close = kind == TERMINATOR && length == 0 && version.closing == Closing::Hixie76;
            let start = if is_close {
                Start::Close
            } else {
                Start::Skip(length)
            };
            return Some((start, n));
        }
    }
    None
}

/// Tells the watcher what these octets of type and length are.
pub(crate) fn name<T: Trace>(octets: &[u8], spans: &mut SpanWriter<'_, T>) {
    if let Some((kind, digits)) = octets.split_first() {
        spans.octets(1, Field::FrameType, u64::from(*kind));
        for digit in digits {
            spans.octets(1, Field::LengthDigit, u64::from(digit & 0x7f));
        }
    }
}

/// Writes a text, which is valid UTF-8 and so holds no 0xFF.
pub(crate) fn write_text(text: &[u8], first: bool, last: bool, out: &mut Vec<u8>) {
    if first {
        out.push(0);
    }
    out.extend_from_slice(text);
    if last {
        out.push(TERMINATOR);
    }
}

/// hixie-76: says goodbye.
pub(crate) const CLOSE: [u8; 2] = [0xff, 0];
