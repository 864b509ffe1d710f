//! hybi-04: four octets of nonce, then the whole frame masked by a key of 20
//! octets, made of the nonce and the secret of the connection.

use sha1::{Digest, Sha1};

use super::{Frame, Mask, Read, Wire, head, read_clear, read_masked, write_with_key};
use crate::bytes::Output;
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::Side;

#[inline]
pub(super) fn read(wire: Wire<'_>, octets: &[u8]) -> Option<Read> {
    if wire.from == Side::Server {
        return read_clear(wire, octets);
    }
    let (nonce, masked) = octets.split_first_chunk::<4>()?;
    read_masked(wire, *nonce, frame_key(wire, *nonce), masked)
}

pub(super) fn write_masked(wire: Wire<'_>, frame: Frame<'_>, out: &mut Output<'_>) {
    let (head, n) = head(wire.version, frame.opcode, frame.last, frame.payload.len());
    let nonce: [u8; 4] = out.draw();
    let head = head.get(..n).unwrap_or_default();
    let mask = frame_key(wire, nonce);
    write_with_key(out.octets, head, nonce, mask, true, frame.payload);
}

fn frame_key(wire: Wire<'_>, nonce: [u8; 4]) -> Mask {
    Mask::Twenty(Box::new(digest(wire, nonce)))
}

/// SHA-1 over the nonce of the frame and the masking key of the connection.
fn digest(wire: Wire<'_>, nonce: [u8; 4]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(nonce);
    sha1.update(wire.secret.copied().unwrap_or_default());
    sha1.finalize().into()
}

/// Tells the watcher how the key of this frame is made.
pub(super) fn derive<T: Trace>(wire: Wire<'_>, nonce: [u8; 4], spans: &mut SpanWriter<'_, T>) {
    if T::WATCHING {
        let secret = wire.secret.copied().unwrap_or_default();
        let input: Vec<u8> = nonce.into_iter().chain(secret).collect();
        spans.derive(Field::FrameKeyInput, &input);
        spans.derive(Field::FrameKey, &digest(wire, nonce));
    }
}
