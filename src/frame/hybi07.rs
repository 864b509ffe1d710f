//! hybi-07 to RFC 6455: a MASK bit, the key after the length, payload masked.

use super::header::{Found, Raw, check};
use super::mask::Mask;
use crate::version::{Side, Version};

/// Finds a header, if all of it is there.
#[inline(always)]
pub(super) fn read(version: &Version, from: Side, octets: &[u8]) -> Option<Found> {
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
        header: check(raw, version, from),
    })
}
