//! hybi-04: a nonce of four octets, then the whole frame masked by a key of 20
//! octets, made of the nonce and the masking key of the connection.

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha1::{Digest, Sha1};

use super::header::Found;
use super::hybi05::read_masked;
use super::mask::Mask;
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Side, Version};

/// The masking key of a connection. The opening handshake makes it.
pub(crate) type MaskingKey = [u8; 20];

/// Finds a header that is masked by the frame's key.
pub(super) fn read(
    version: &Version,
    from: Side,
    connection: &MaskingKey,
    octets: &[u8],
) -> Option<Found> {
    let (nonce, masked) = octets.split_first_chunk::<4>()?;
    read_masked(version, from, *nonce, mask(connection, *nonce), masked)
}

/// The mask of the frame with this nonce.
pub(super) fn mask(connection: &MaskingKey, nonce: [u8; 4]) -> Mask {
    Mask::Twenty(Box::new(digest(connection, nonce)))
}

/// SHA-1 over the nonce of the frame and the masking key of the connection.
fn digest(connection: &MaskingKey, nonce: [u8; 4]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(nonce);
    sha1.update(connection);
    sha1.finalize().into()
}

/// Reports to the observer how the key of this frame is made.
pub(super) fn derive<T: Trace>(
    connection: &MaskingKey,
    nonce: [u8; 4],
    spans: &mut SpanWriter<'_, T>,
) {
    if T::WATCHING {
        let input: Vec<u8> = nonce.iter().chain(connection).copied().collect();
        spans.derive(Field::FrameKeyInput, &input);
        spans.derive(Field::FrameKey, &digest(connection, nonce));
    }
}
