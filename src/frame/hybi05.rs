//! hybi-05 and -06: the client puts a key of four octets in front of the frame
//! and masks all of it, header included. hybi-01 and all servers before hybi-07
//! send the header in clear.

use super::header::{Found, MAX_HEADER, Raw, Rsv1, check};
use super::mask::Mask;
use crate::version::{Side, Version};

/// Finds a header that is masked by the key in front of it.
pub(super) fn read(version: &Version, from: Side, octets: &[u8]) -> Option<Found> {
    let (key, masked) = octets.split_first_chunk::<4>()?;
    read_masked(version, from, *key, Mask::four(*key), masked)
}

/// Finds a header in clear.
#[inline]
pub(super) fn read_clear(version: &Version, from: Side, octets: &[u8]) -> Option<Found> {
    let raw = Raw::read(octets)?;
    Some(Found {
        raw,
        key: None,
        key_first: false,
        mask: Mask::Clear,
        header: check(raw, version, from, Rsv1::Reserved),
    })
}

/// Finds a header that is masked: unmasks as much as the longest one takes.
pub(super) fn read_masked(
    version: &Version,
    from: Side,
    key: [u8; 4],
    mut mask: Mask,
    masked: &[u8],
) -> Option<Found> {
    let mut plain = [0; MAX_HEADER];
    let n = masked.len().min(MAX_HEADER);
    let header = plain.get_mut(..n)?;
    header.copy_from_slice(masked.get(..n)?);
    mask.apply(header);
    let raw = Raw::read(header)?;
    // The key was rotated past `n` octets; rotate it on to the first octet of
    // the payload. The index into the key does not restart there.
    let back = mask.period() - n % mask.period();
    Some(Found {
        raw,
        key: Some(key),
        key_first: true,
        mask: mask.rotated(back + raw.octets),
        header: check(raw, version, from, Rsv1::Reserved),
    })
}
