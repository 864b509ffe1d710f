//! hixie: 0x00 text 0xFF; types from 0x80 up carry a length.

use memchr::memchr;

use super::header::{Kind, WholeFrame};
use crate::error::Violation;
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Closing, Side, Version};

/// The octet that ends a text. It cannot occur in UTF-8.
pub(super) const TERMINATOR: u8 = 0xff;

/// No length takes more octets than this; seven bits each make 70.
const MAX_LENGTH_OCTETS: usize = 10;

/// The type and length of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Text up to 0xFF, which is delivered or skipped.
    Text { deliver: bool },
    /// A length, and as many octets to skip.
    Skip(u64),
    /// FF 00 of hixie-76.
    Close,
}

/// Reads type and length, if all of them are there, and how many octets they
/// take (hixie-76 section 5.3).
pub(super) fn read(
    version: &Version,
    from: Side,
    limit: u64,
    octets: &[u8],
) -> Option<(Result<Header, Violation>, usize)> {
    let (&kind, rest) = octets.split_first()?;
    if kind & 0x80 == 0 {
        // hixie-75 lets a server take types 01 to 7F for text and has a client
        // skip them; hixie-76 has both skip them.
        let is_75_server = version.closing == Closing::Hixie75 && from == Side::Client;
        let deliver = kind == 0 || is_75_server;
        return Some((Ok(Header::Text { deliver }), 1));
    }
    let mut length: u64 = 0;
    for (i, octet) in rest.iter().enumerate() {
        let n = i + 2;
        if i >= MAX_LENGTH_OCTETS {
            return Some((Err(Violation::LengthOutOfRange), n));
        }
        let digit = u64::from(octet & 0x7f);
        length = match length.checked_mul(128).and_then(|l| l.checked_add(digit)) {
            Some(length) if length <= limit => length,
            // Stop while the length is still being read, or it never ends.
            _ => return Some((Err(Violation::MessageTooBig { limit }), n)),
        };
        if octet & 0x80 == 0 {
            let is_close = kind == TERMINATOR && length == 0 && version.closing == Closing::Hixie76;
            let header = if is_close {
                Header::Close
            } else {
                Header::Skip(length)
            };
            return Some((Ok(header), n));
        }
    }
    None
}

/// Finds a text that lies whole in these octets.
#[inline(always)]
pub(super) fn read_whole(octets: &[u8]) -> Option<WholeFrame> {
    let (0, text) = octets.split_first()? else {
        return None;
    };
    Some(WholeFrame {
        kind: Kind::Text,
        header: 1,
        payload: memchr(TERMINATOR, text)?,
        has_terminator: true,
        key: None,
    })
}

/// Reports the type and length of a frame to the observer.
pub(super) fn name<T: Trace>(octets: &[u8], spans: &mut SpanWriter<'_, T>) {
    if let Some((kind, digits)) = octets.split_first() {
        spans.octets(1, Field::FrameType, u64::from(*kind));
        for digit in digits {
            spans.octets(1, Field::LengthDigit, u64::from(digit & 0x7f));
        }
    }
}

/// hixie-76: starts or answers the closing handshake.
pub(super) const CLOSE: [u8; 2] = [0xff, 0];
