//! hixie-76: two numbers hidden in keys and eight octets, answered by MD5.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use md5::{Digest, Md5};

use super::ask::ClientRequest;
use super::challenged::{Challenged, Violated, value_at};
use super::detect::Refused;
use super::head::{Head, Header};
use super::hixie75::echo_origin_and_location;
use super::name::Name;
use super::write::HeadWriter;
use crate::bytes::Output;
use crate::error::{Refusal, Violation};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::Version;

const KEYS: [&str; 2] = ["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"];

/// The numbers of both keys.
pub(super) fn numbers<T: Trace>(
    head: &Head<'_>,
    spans: &mut SpanWriter<'_, T>,
) -> Result<[u32; 2], Refused> {
    let mut numbers = [0; 2];
    let keys = head.numbered_keys().into_iter().zip(1u8..);
    for ((value, key), slot) in keys.zip(&mut numbers) {
        let value = value.ok_or_else(|| (Refusal::KeyAlone, head.missing_at()))?;
        if T::WATCHING {
            let digits = value.iter().copied().filter(u8::is_ascii_digit);
            let spaces = value.iter().filter(|octet| **octet == b' ').count();
            let spaces = u32::try_from(spaces).unwrap_or(u32::MAX);
            spans.derive(Field::Key, value);
            spans.derive(Field::KeyDigits, &digits.collect::<Vec<u8>>());
            spans.derive(Field::KeySpaces, &spaces.to_be_bytes());
        }
        *slot = number(key, value).map_err(|refusal| {
            let name = if key == 1 { Name::Key1 } else { Name::Key2 };
            (refusal, head.value_at(name))
        })?;
        spans.derive(Field::KeyNumber, &slot.to_be_bytes());
    }
    Ok(numbers)
}

/// The number that a key holds: its digits read as one decimal, divided by its
/// spaces (hixie-76 section 5.2). `key` is 1 or 2 and names it in a refusal.
///
/// Only U+0020 is a space, and every one counts.
///
/// ```
/// use heirloom::handshake::hixie76_number;
/// assert_eq!(hixie76_number(1, b"4 @1  46546xW%0l 1 5"), Ok(829_309_203));
/// ```
///
/// # Errors
///
/// One of the four key errors.
pub fn number(key: u8, value: &[u8]) -> Result<u32, Refusal> {
    let (mut product, mut spaces): (u64, u32) = (0, 0);
    let (mut has_digits, mut too_large) = (false, false);
    for octet in value {
        let digit = octet.wrapping_sub(b'0');
        if digit < 10 {
            let (tenfold, over) = product.overflowing_mul(10);
            let (next, carry) = tenfold.overflowing_add(digit.into());
            product = next;
            has_digits = true;
            too_large |= over | carry;
        } else if *octet == b' ' {
            spaces = spaces.saturating_add(1);
        }
    }
    if !has_digits {
        return Err(Refusal::KeyWithoutDigits { key });
    }
    if spaces == 0 {
        return Err(Refusal::KeyWithoutSpaces { key });
    }
    if too_large {
        return Err(Refusal::KeyTooLarge { key });
    }
    if product % u64::from(spaces) != 0 {
        return Err(Refusal::KeyNotDivisible { key, spaces });
    }
    u32::try_from(product / u64::from(spaces)).map_err(|_| Refusal::KeyTooLarge { key })
}

/// MD5 of both numbers, big endian, and the eight octets as they came.
pub(super) fn digest<T: Trace>(
    numbers: [u32; 2],
    key3: [u8; 8],
    spans: &mut SpanWriter<'_, T>,
) -> [u8; 16] {
    let mut input = [0; 16];
    let parts = numbers.iter().flat_map(|n| n.to_be_bytes()).chain(key3);
    for (to, from) in input.iter_mut().zip(parts) {
        *to = from;
    }
    spans.derive(Field::DigestInput, &input);
    let digest: [u8; 16] = Md5::digest(input).into();
    spans.derive(Field::Proof, &digest);
    digest
}

/// A key for a client (hixie-76 section 4.1, steps 16 to 23).
pub(super) fn make_key(out: &mut Output<'_>) -> String {
    let spaces = 1 + below(out, 12);
    let number = below(out, u32::MAX / spaces);
    let product = u64::from(number) * u64::from(spaces);
    let mut key: Vec<char> = product.to_string().chars().collect();
    // 0x21 to 0x2F and 0x3A to 0x7E: visible, and neither digit nor space.
    for _ in 0..=below(out, 12) {
        let noise = below(out, 84);
        let noise = if noise < 15 {
            0x21 + noise
        } else {
            0x3a - 15 + noise
        };
        let at = below(out, len(&key) + 1);
        key.insert(at as usize, char::from_u32(noise).unwrap_or('!'));
    }
    for _ in 0..spaces {
        // Never first and never last.
        let at = 1 + below(out, len(&key) - 1);
        key.insert(at as usize, ' ');
    }
    key.into_iter().collect()
}

fn len(key: &[char]) -> u32 {
    u32::try_from(key.len()).unwrap_or(u32::MAX)
}

/// A random number below `limit`, which is at least 1. The slight favour to
/// small numbers does no harm: keys are not secrets.
fn below(out: &mut Output<'_>, limit: u32) -> u32 {
    u32::from_be_bytes(out.draw()) % limit.max(1)
}

/// The response up to its origin.
const RESPONSE: &str = "HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
                        Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Origin: ";

/// Starts the response.
pub(super) fn start_response<'o>(echo: (&[u8], &[u8]), out: &'o mut Vec<u8>) -> HeadWriter<'o> {
    echo_origin_and_location(RESPONSE, "Sec-WebSocket-Location: ", echo, out)
}

/// The request after its first line, in the order that WebKit wrote it.
pub(super) fn write_request(
    version: &Version,
    request: &ClientRequest<'_>,
    keys: &[String; 2],
    head: &mut HeadWriter<'_>,
) {
    head.header("Upgrade", "WebSocket");
    head.header("Connection", "Upgrade");
    head.header("Host", request.host);
    head.header("Origin", &request.hixie_origin());
    if let Some(name) = request.opaque_subprotocol() {
        head.header("Sec-WebSocket-Protocol", &name);
    }
    for (name, value) in request.headers {
        head.header(name, value);
    }
    head.carried(request.carried);
    if version.has_draft() {
        head.header("Sec-WebSocket-Draft", "2");
    }
    for (name, key) in KEYS.iter().zip(keys) {
        head.header(name, key);
    }
}

/// The checks of hixie-76 section 4.1 that need no request.
pub(super) fn verify_upgrade(head: &Head<'_>) -> Result<(), Violated> {
    let is = |name: &str, want: &str| {
        head.only(name)
            .and_then(Header::text)
            .is_some_and(|value| value.eq_ignore_ascii_case(want))
    };
    // The draft compares `WebSocket` by case. Servers that were seen to send it
    // in lower case still prove themselves by the digest.
    if !is("Upgrade", "WebSocket") {
        return Err((Violation::UpgradeMismatch, value_at(head, "Upgrade")));
    }
    if !is("Connection", "Upgrade") {
        return Err((Violation::ConnectionMismatch, value_at(head, "Connection")));
    }
    Ok(())
}

/// The checks of hixie-76 section 4.1 that compare the head of the response with
/// the request. The digest follows.
pub(super) fn verify<'b>(
    challenged: &Challenged,
    head: &Head<'b>,
) -> Result<Option<&'b str>, Violated> {
    challenged.verify_echo(head, "Sec-WebSocket-Origin", "Sec-WebSocket-Location")?;
    challenged.verify_opaque_subprotocol(head, "Sec-WebSocket-Protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_we_make_hold_a_number() {
        let mut seed = 1u32;
        let mut random = |octets: &mut [u8]| {
            for octet in octets {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *octet = (seed >> 24) as u8;
            }
        };
        let mut sink = Vec::new();
        let mut out = Output::new(&mut sink, &mut random);
        for _ in 0..1000 {
            let key = make_key(&mut out);
            assert!(number(1, key.as_bytes()).is_ok(), "{key:?}");
            assert!(!key.starts_with(' ') && !key.ends_with(' '), "{key:?}");
        }
    }

    #[test]
    fn each_key_error_has_its_refusal() {
        assert_eq!(
            number(2, b"abc d"),
            Err(Refusal::KeyWithoutDigits { key: 2 })
        );
        assert_eq!(
            number(1, b"46\t546"),
            Err(Refusal::KeyWithoutSpaces { key: 1 })
        );
        let squeezed = number(1, b"2 L785 8o% s9Sy9@V. 4<1P5");
        assert_eq!(
            squeezed,
            Err(Refusal::KeyNotDivisible { key: 1, spaces: 4 })
        );
        assert_eq!(
            number(1, b"99999999999 9"),
            Err(Refusal::KeyTooLarge { key: 1 })
        );
        let beyond_64_bits = b"9999999999999999999999 9";
        assert_eq!(
            number(1, beyond_64_bits),
            Err(Refusal::KeyTooLarge { key: 1 })
        );
    }
}
