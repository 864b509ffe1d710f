//! hybi-04: beside the key a nonce of the server, and from both the key that
//! masks all frames of the client.

use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::bytes::Output;
use crate::trace::{Field, SpanWriter, Trace};

/// The GUID that goes into the masking key.
const GUID: &str = "61AC5F19-FBBA-4540-B96F-6561F1AB40A8";

/// A nonce: sixteen octets in base64.
pub(super) fn nonce(out: &mut Output<'_>) -> String {
    STANDARD.encode(out.draw::<16>())
}

/// The masking key of the connection: SHA-1 over both strings as they stand on
/// the wire, never decoded.
pub(super) fn masking_key(key: &[u8], nonce: &str) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(nonce);
    sha1.update(GUID);
    sha1.finalize().into()
}

/// Reports to the observer how the masking key is made.
pub(super) fn derive<T: Trace>(key: &[u8], nonce: &str, spans: &mut SpanWriter<'_, T>) {
    if T::WATCHING {
        let input = [key, nonce.as_bytes(), GUID.as_bytes()].concat();
        spans.derive(Field::SecretInput, &input);
        spans.derive(Field::Secret, &masking_key(key, nonce));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_key_is_that_of_pywebsocket() {
        let key = masking_key(b"dGhlIHNhbXBsZSBub25jZQ==", "H+cNj5elaybfGIQv1esl2w==");
        let hex: String = key.iter().map(|o| format!("{o:02x}")).collect();
        assert_eq!(hex, "6322a2adc02bc433e3896d34410b74bb7739f960");
    }
}
