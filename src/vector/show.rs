//! Octets for a person: in hex, and as a string.

/// Octets in lower-case hex, with a space between two.
///
/// ```
/// assert_eq!(heirloom::vector::hex(b"\x81\x02hi"), "81 02 68 69");
/// ```
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    let digit = |n: u8| char::from(if n < 10 { b'0' + n } else { b'a' - 10 + n });
    let mut text = String::with_capacity(octets.len() * 3);
    for octet in octets {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push(digit(octet >> 4));
        text.push(digit(octet & 15));
    }
    text
}

/// The octets of hex that a person wrote; spaces mean nothing.
pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len() / 3 + 1);
    let mut high = None;
    for (at, c) in text.chars().enumerate().filter(|(_, c)| *c != ' ') {
        let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
        let Some(digit) = digit else {
            return Err(format!("hex holds {c:?} at character {}", at + 1));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => octets.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(octets),
        Some(_) => Err("hex holds half an octet at its end".to_owned()),
    }
}

/// The first `max` octets as a string in quotes: ASCII as it is, the rest
/// escaped.
///
/// ```
/// assert_eq!(heirloom::vector::shown(b"a\xff\n", 200), r#""a\xff\n""#);
/// assert_eq!(heirloom::vector::shown(b"abc", 2), "\"ab…\"");
/// ```
#[must_use]
pub fn shown(octets: &[u8], max: usize) -> String {
    let (first, more) = match octets.split_at_checked(max) {
        Some((first, [_, ..])) => (first, "…"),
        _ => (octets, ""),
    };
    format!("\"{}{more}\"", escaped(first))
}

/// Octets in visible ASCII, as in a string literal.
pub(super) fn escaped(octets: &[u8]) -> String {
    octets.escape_ascii().to_string().replace("\\'", "'")
}
