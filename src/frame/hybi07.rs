//! hybi-07 to RFC 6455: MASK bit, the key after the length, payload masked.

use super::{Frame, Mask, Raw, Read, Wire, head, judge, write_with_key};
use crate::bytes::Output;

#[inline(always)]
pub(super) fn read(wire: Wire<'_>, octets: &[u8]) -> Option<Read> {
    let raw = Raw::read(octets)?;
    let (key, mask, key_octets) = if raw.second_top() {
        let key = *octets.get(raw.octets..)?.first_chunk::<4>()?;
        (Some(key), Mask::four(key), 4)
    } else {
        (None, Mask::Clear, 0)
    };
    Some(Read {
        raw,
        key,
        octets: raw.octets + key_octets,
        header: judge(raw, raw.is_last(wire), wire),
        mask,
    })
}

pub(super) fn write_masked(wire: Wire<'_>, frame: Frame<'_>, out: &mut Output<'_>) {
    let (mut head, n) = head(wire.version, frame.opcode, frame.last, frame.payload.len());
    if let Some(second) = head.get_mut(1) {
        *second |= 0x80;
    }
    let key: [u8; 4] = out.draw();
    let head = head.get(..n).unwrap_or_default();
    write_with_key(out.octets, head, key, Mask::four(key), false, frame.payload);
}
