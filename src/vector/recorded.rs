//! What is read from recorded octets without the core: a header, and the nonce
//! of hybi-04.

use base64::Engine;

use crate::handshake::LENIENT;

/// The value of the first header with this name.
pub(super) fn header(octets: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(octets);
    text.split("\r\n").find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// The sixteen octets of hybi-04's nonce. They are the server's random octets
/// when its conversation is played again, so that it sends the recorded nonce.
#[derive(Debug, Default)]
pub(super) struct Nonce(Vec<u8>);

impl Nonce {
    /// The nonce of this response; empty where it has none.
    pub(super) fn of(response: &[u8]) -> Nonce {
        let text = header(response, "Sec-WebSocket-Nonce");
        Nonce(
            text.and_then(|text| LENIENT.decode(text).ok())
                .unwrap_or_default(),
        )
    }

    /// Fills the slice with the nonce, repeated; an empty one changes nothing.
    pub(super) fn fill(&self, octets: &mut [u8]) {
        for (to, from) in octets.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
    }
}
