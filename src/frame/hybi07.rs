//! hybi-07 to RFC 6455: a MASK bit, the key after the length, payload masked.

use super::header::{Found, Kind, Raw, Rsv1, WholeFrame, check};
use super::mask::Mask;
use crate::version::{Side, Version};

/// Finds a frame that is a whole message of at most 65,535 octets, if all of its
/// header is there and nothing about it is unusual.
#[inline(always)]
pub(super) fn read_whole(from: Side, octets: &[u8]) -> Option<WholeFrame> {
    let (&[first, second], rest) = octets.split_first_chunk::<2>()?;
    // FIN and an opcode.
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        _ => return None,
    };
    let (payload, mut header) = match second & 0x7f {
        126 => (u16::from_be_bytes(*rest.first_chunk()?), 4),
        127 => return None,
        short => (u16::from(short), 2),
    };
    let is_masked = second & 0x80 != 0;
    let is_minimal = header == 2 || payload > 125;
    if is_masked != (from == Side::Client) || !is_minimal {
        return None;
    }
    let mut key = None;
    if is_masked {
        key = Some(u32::from_le_bytes(*octets.get(header..)?.first_chunk()?));
        header += 4;
    }
    Some(WholeFrame {
        kind,
        header,
        payload: usize::from(payload),
        has_terminator: false,
        key,
    })
}

/// Finds a header, if all of it is there.
#[inline(always)]
pub(super) fn read(version: &Version, from: Side, rsv1: Rsv1, octets: &[u8]) -> Option<Found> {
    let raw = Raw::read(octets)?;
    let (key, mask) = if raw.second_top() {
        let key = *octets.get(raw.octets..)?.first_chunk::<4>()?;
        (Some(key), Mask::four(key))
    } else {
        (None, Mask::Clear)
    };
    Some(Found {
        raw,
        key,
        key_first: false,
        mask,
        header: check(raw, version, from, rsv1),
    })
}
