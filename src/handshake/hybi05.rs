//! hybi-05 to RFC 6455: a key answered by SHA-1.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use super::ask::ClientRequest;
use super::challenged::{Challenged, Violated, value_at};
use super::detect::Refused;
use super::head::{Head, Header};
use super::name::Name;
use super::octets::OctetSet;
use super::write::HeadWriter;
use crate::bytes::Output;
use crate::error::{Refusal, Violation};
use crate::extension::{Compression, Deflate, check_answer, offer};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{KeyLength, Version};

/// The GUID that goes into the proof (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The proof that a server read this key (RFC 6455 section 4.2.2 item 5). The
/// key goes in as it stands on the wire.
///
/// ```
/// let proof = heirloom::handshake::accept("dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(proof, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept(key: &str) -> String {
    STANDARD.encode(digest(key.as_bytes()))
}

/// The same, without an allocation.
pub(super) fn proof(key: &[u8]) -> [u8; 28] {
    let mut proof = [0; 28];
    let Ok(28) = STANDARD.encode_slice(digest(key), &mut proof) else {
        unreachable!("20 octets are 28 characters of base64");
    };
    proof
}

fn digest(key: &[u8]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    sha1.finalize().into()
}

/// Base64 whose padding bits may be anything: the example of the old drafts and
/// keys written by hand have them set.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The key of a request: characters of base64.
pub(super) fn read_key<'b>(head: &Head<'b>, version: &Version) -> Result<&'b [u8], Refused> {
    let value = head.value(Name::Key);
    let value = value.ok_or_else(|| (Refusal::KeyMissing, head.missing_at()))?;
    let decoded = || {
        let mut octets = [0; 64];
        LENIENT.decode_slice(value, &mut octets).ok()
    };
    let fits = match version.key_length {
        KeyLength::None => false,
        KeyLength::Characters(most) => {
            // Padding included.
            let is_base64 = |octet: &u8| *octet == b'=' || BASE64.has(*octet);
            (1..=most).contains(&value.len()) && value.iter().all(is_base64)
        }
        KeyLength::Octets(n) => n == 16 && are_sixteen_octets(value) || decoded() == Some(n),
    };
    if fits {
        return Ok(value);
    }
    let refusal = Refusal::KeyMalformed {
        length: version.key_length,
        characters: u32::try_from(value.len()).unwrap_or(u32::MAX),
        octets: decoded().and_then(|n| u8::try_from(n).ok()),
    };
    Err((refusal, head.value_at(Name::Key)))
}

/// The characters of base64 (RFC 4648 section 4), without that of the padding.
static BASE64: OctetSet =
    OctetSet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/// Whether these are sixteen octets in base64, which shows without decoding.
fn are_sixteen_octets(value: &[u8]) -> bool {
    let characters = value.strip_suffix(b"==");
    characters.is_some_and(|c| c.len() == 22 && BASE64.has_all(c))
}

/// A key for a client: sixteen random octets.
pub(super) fn make_key(out: &mut Output<'_>) -> String {
    STANDARD.encode(out.draw::<16>())
}

/// The response up to its proof.
const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
                        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";

/// Starts the response.
pub(super) fn start_response<'o>(proof: &[u8; 28], out: &'o mut Vec<u8>) -> HeadWriter<'o> {
    let mut head = HeadWriter::within_line(out, RESPONSE);
    head.end_line_of_ours(proof);
    head
}

/// The request after its first line, in the order of the RFC's example.
pub(super) fn write_request(
    version: &Version,
    request: &ClientRequest<'_>,
    compression: &Compression,
    key: &str,
    head: &mut HeadWriter<'_>,
) {
    head.header("Host", request.host);
    head.header("Upgrade", "websocket");
    head.header("Connection", "Upgrade");
    head.header("Sec-WebSocket-Key", key);
    // A client without an origin sends `null` where one is required.
    let required = version.requires_origin.then_some("null");
    if let (Some(origin), Some(name)) = (request.origin.or(required), version.origin.first()) {
        head.header(name, origin);
    }
    if !request.subprotocols.is_empty() {
        head.header("Sec-WebSocket-Protocol", &request.subprotocols.join(", "));
    }
    if let Some(offer) = offer(version, compression) {
        head.header(Name::Extensions.text(), offer);
    }
    for (name, value) in request.headers {
        head.header(name, value);
    }
    head.carried(request.carried);
    if let Some(number) = version.number {
        head.header("Sec-WebSocket-Version", &number.to_string());
    }
}

/// The checks of RFC 6455 section 4.1 that need no request. The drafts since 04
/// have them too.
pub(super) fn verify_upgrade(head: &Head<'_>) -> Result<(), Violated> {
    let upgrade = head.only("Upgrade");
    if upgrade.is_none_or(|h| !h.value.eq_ignore_ascii_case(b"websocket")) {
        return Err((Violation::UpgradeMismatch, value_at(head, "Upgrade")));
    }
    if !head.has_token("Connection", "upgrade") {
        return Err((Violation::ConnectionMismatch, value_at(head, "Connection")));
    }
    Ok(())
}

/// The checks of RFC 6455 section 4.1 that compare the response with the
/// request.
pub(super) fn verify<'b, T: Trace>(
    challenged: &Challenged,
    head: &Head<'b>,
    spans: &mut SpanWriter<'_, T>,
) -> Result<(Option<&'b str>, Option<Deflate>), Violated> {
    let proof = head.only("Sec-WebSocket-Accept");
    derive(challenged.key.as_bytes(), spans);
    if proof.is_none_or(|h| h.value != accept(&challenged.key).as_bytes()) {
        let at = value_at(head, "Sec-WebSocket-Accept");
        return Err((Violation::AcceptMismatch, at));
    }
    let deflate = verify_extensions(challenged, head)?;
    let mut all = head.all("Sec-WebSocket-Protocol");
    let (chosen, second) = (all.next(), all.next());
    let Some(header) = chosen else {
        return Ok((None, deflate));
    };
    let chosen = header
        .text()
        .filter(|name| second.is_none() && challenged.subprotocols.iter().any(|o| o == name));
    // Fatal since version 13; Firefox 6 goes on without.
    if chosen.is_none() && challenged.version.rfc_rules {
        return Err((Violation::SubprotocolMismatch, header.value_at()));
    }
    Ok((chosen, deflate))
}

/// Checks the extensions that the server agrees to.
fn verify_extensions(
    challenged: &Challenged,
    head: &Head<'_>,
) -> Result<Option<Deflate>, Violated> {
    let offered = challenged.extensions.iter().map(Vec::as_slice);
    let agreed = check_answer(challenged.version, offered, head.extension_values());
    agreed.map_err(|bad| {
        let line = head.all(Name::Extensions.text()).nth(bad.line);
        let value = line.map_or_else(|| head.missing_at(), Header::value_at);
        let at = value.start + bad.at.start..value.start + bad.at.end;
        (bad.violation, at)
    })
}

/// Reports to the observer how the proof is made.
pub(super) fn derive<T: Trace>(key: &[u8], spans: &mut SpanWriter<'_, T>) {
    if T::WATCHING {
        spans.derive(Field::AcceptInput, &[key, GUID.as_bytes()].concat());
        spans.derive(Field::AcceptDigest, &digest(key));
        spans.derive(Field::Proof, &proof(key));
    }
}
