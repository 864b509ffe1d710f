//! How servers get proofs wrong: the known mistakes are tried one after the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;

use super::super::Case;
use super::look::{is, keys, spaces_more};
use crate::explain::part::PartKind;
use crate::handshake;
use crate::trace::Field;

pub(super) fn digest_wrong(case: &Case<'_>) -> Option<String> {
    is(case, "digest-mismatch")?;
    let digest = &case.part(PartKind::Digest)?.raw;
    let input = case.derived(PartKind::Digest, Field::DigestInput)?;
    let (numbers, key3) = input.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *numbers;
    let md5 = |parts: &[&[u8]]| Md5::digest(parts.concat()).to_vec();
    let keys: Vec<&[u8]> = {
        let request = case.part(PartKind::Request)?;
        let keys = request.derived.iter().filter(|(f, _)| *f == Field::Key);
        keys.map(|(_, key)| key.as_slice()).collect()
    };
    let squeezed: Vec<u8> = keys.iter().flat_map(|key| squeezed_number(key)).collect();
    let trimmed = key3.trim_ascii();
    let text: Vec<u8> = String::from_utf8_lossy(key3).into_owned().into_bytes();
    let tries: [(Vec<u8>, &str); 6] = [
        (
            md5(&[numbers, trimmed]),
            "The server trimmed white space off the third key before it computed the digest: those \
             eight octets are not text, and may start or end with any octet.",
        ),
        (
            md5(&[&squeezed, key3]),
            "The server, or a hop before it, squeezed runs of spaces in the keys: with single \
             spaces the digest would be right.",
        ),
        (
            md5(&[&[d, c, b, a, h, g, f, e], key3]),
            "The server put the numbers into the digest with the least significant octet first.",
        ),
        (
            md5(&[&[e, f, g, h, a, b, c, d], key3]),
            "The server took the second key for the first.",
        ),
        (
            md5(&[numbers]),
            "The server left the third key out of the digest.",
        ),
        (
            md5(&[numbers, &text]),
            "The server read the third key as UTF-8 text, which changes octets that are not UTF-8.",
        ),
    ];
    let found = tries.into_iter().find(|(tried, _)| tried == digest);
    Some(match found {
        Some((_, why)) => why.to_owned(),
        None if digest.iter().all(u8::is_ascii_hexdigit) => {
            "The server sends the digest in hex; it must send the sixteen octets themselves."
                .to_owned()
        }
        None => {
            "The server computed over other keys: a hop changed them, or the response belongs to \
                 another request."
                .to_owned()
        }
    })
}

/// The number of a key whose runs of spaces are single spaces.
fn squeezed_number(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    key.dedup_by(|a, b| (*a, *b) == (b' ', b' '));
    let number = handshake::hixie76_number(1, &key);
    number.map_or(Vec::new(), |n| n.to_be_bytes().to_vec())
}

/// How many more spaces in the keys would make a digest right.
pub(super) fn spaces_lost(case: &Case<'_>) -> Option<String> {
    is(case, "digest-mismatch")?;
    let digest = &case.part(PartKind::Digest)?.raw;
    let input = case.derived(PartKind::Digest, Field::DigestInput)?;
    let key3 = input.get(8..)?;
    let keys = keys(case);
    let [one, two] = keys.as_slice() else {
        return None;
    };
    let mut tries: Vec<(u64, u64)> = Vec::new();
    for a in 0..=12_u64.saturating_sub(one.spaces) {
        tries.extend((0..=12_u64.saturating_sub(two.spaces)).map(|b| (a, b)));
    }
    tries.sort_by_key(|(a, b)| a + b);
    let fits = |(a, b): &(u64, u64)| {
        let (Some(one), Some(two)) = (one.with(*a), two.with(*b)) else {
            return false;
        };
        let input = [&one.to_be_bytes(), &two.to_be_bytes(), key3].concat();
        Md5::digest(input).as_slice() == digest
    };
    let (a, b) = tries.into_iter().find(fits)?;
    let told: Vec<String> = [(a, 1), (b, 2)]
        .into_iter()
        .filter(|(lost, _)| *lost > 0)
        .map(|(lost, key)| format!("{} in key {key}", spaces_more(lost)))
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "With {} this digest is right: a hop or the recorder squeezed runs of spaces in the \
             request.",
            told.join(" and ")
        )
    })
}

pub(super) fn accept_wrong(case: &Case<'_>) -> Option<String> {
    is(case, "accept-mismatch")?;
    let Some(got) = case.response_header("Sec-WebSocket-Accept") else {
        return Some(
            "The response has no Sec-WebSocket-Accept: it comes from a server that does not know \
             WebSocket, or is made for an older version."
                .to_owned(),
        );
    };
    let key = String::from_utf8_lossy(case.request_header("Sec-WebSocket-Key")?).into_owned();
    let is = |proof: String| proof.as_bytes() == got;
    let input = case.derived(PartKind::Response, Field::AcceptInput);
    let guid = input.and_then(|input| input.strip_prefix(key.as_bytes()));
    let guid = guid.unwrap_or_default();
    let sha1 = |parts: &[&[u8]]| STANDARD.encode(Sha1::digest(parts.concat()));
    let decoded = STANDARD.decode(&key).unwrap_or_default();
    let right = case
        .derived(PartKind::Response, Field::Proof)
        .unwrap_or_default();
    Some(
        if got == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
            "This is the accept of the RFC's example, copied: it fits only the example's key."
        } else if is(handshake::accept(&key.replace('+', " "))) {
            "The server read a `+` of the key as a space, as in a URL."
        } else if is(handshake::accept(key.trim_end_matches('='))) {
            "The server left out the `=` at the end of the key."
        } else if is(sha1(&[&decoded, guid])) {
            "The server decoded the key before it hashed it; the characters themselves go in."
        } else if is(sha1(&[key.as_bytes(), &guid.to_ascii_lowercase()])) {
            "The server uses the GUID in lower case; its letters are upper case."
        } else if got.eq_ignore_ascii_case(right) {
            "Only the case of letters differs: a hop or a program changed it, and in base64 case \
             matters."
        } else if got == key.as_bytes() {
            "The server sends the key back as it is."
        } else if got.len() != 28 {
            "The accept is not 20 octets in base64: perhaps the SHA-1 was put into hex before it \
             was encoded."
        } else {
            "The server computed over another key: a hop changed the key or caches responses, or \
             the response belongs to another request."
        }
        .to_owned(),
    )
}
