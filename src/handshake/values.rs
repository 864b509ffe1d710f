//! Which octets the values of headers may hold.

use alloc::string::String;

use memchr::memchr;

/// The octets that the value of a header may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueOctets {
    /// Text: the value is read here.
    Text,
    /// Any but CR, LF and NUL: the value is only carried (RFC 9110 section 5.5).
    Opaque,
    /// Any but CR and LF: a key of hixie-76. Its digits and spaces are read, all
    /// other octets are ignored, and Java clients send DEL.
    Any,
}

impl ValueOctets {
    /// By the name of the header in this line. Values of the headers named
    /// `opaque` are only carried.
    #[cold]
    pub(super) fn of(line: &[u8], opaque: &[String]) -> ValueOctets {
        /// Headers that are passed on or kept, and never read.
        const CARRIED: [&str; 6] = [
            "Cookie",
            "Authorization",
            "User-Agent",
            "Set-Cookie",
            "WWW-Authenticate",
            "Retry-After",
        ];
        let end = memchr(b':', line).unwrap_or(line.len());
        let (name, _) = line.split_at(end);
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("Sec-WebSocket-Key1") || is("Sec-WebSocket-Key2") {
            ValueOctets::Any
        } else if CARRIED.into_iter().any(is) || opaque.iter().any(|other| is(other)) {
            ValueOctets::Opaque
        } else {
            ValueOctets::Text
        }
    }

    pub(super) fn allow(self, octet: u8) -> bool {
        match self {
            ValueOctets::Text => !is_control(octet),
            ValueOctets::Opaque => !matches!(octet, b'\r' | b'\n' | 0),
            ValueOctets::Any => !matches!(octet, b'\r' | b'\n'),
        }
    }
}

/// Whether no text may hold this octet (RFC 9110 section 5.5).
fn is_control(octet: u8) -> bool {
    matches!(octet, 0..=8 | 10..=31 | 127)
}
