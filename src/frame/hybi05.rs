//! hybi-05 and -06: four octets of key, then the whole frame masked by them,
//! header included. The index into the key does not restart at the payload.

use super::{Frame, Mask, Read, Wire, head, read_clear, read_masked, write_with_key};
use crate::bytes::Output;
use crate::version::Side;

#[inline]
pub(super) fn read(wire: Wire<'_>, octets: &[u8]) -> Option<Read> {
    if wire.from == Side::Server {
        return read_clear(wire, octets);
    }
    let (key, masked) = octets.split_first_chunk::<4>()?;
    read_masked(wire, *key, Mask::four(*key), masked)
}

pub(super) fn write_masked(wire: Wire<'_>, frame: Frame<'_>, out: &mut Output<'_>) {
    let (head, n) = head(wire.version, frame.opcode, frame.last, frame.payload.len());
    let key: [u8; 4] = out.draw();
    let head = head.get(..n).unwrap_or_default();
    write_with_key(out.octets, head, key, Mask::four(key), true, frame.payload);
}
