//! hybi-05 to RFC 6455: a key answered by SHA-1.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use super::{ClientRequest, ExpectedResponse, Head, HeadWriter, extensions};
use crate::bytes::Output;
use crate::error::{Refusal, Violation};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::Version;

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
    STANDARD.encode(digest(key))
}

fn digest(key: &str) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    sha1.finalize().into()
}

/// The key of a request. Its padding bits may be anything: the example of the
/// old drafts and keys written by hand have them set.
pub(super) fn read_key(head: &Head<'_>, version: &Version) -> Result<String, Refusal> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let header = head.get("Sec-WebSocket-Key").ok_or(Refusal::KeyMissing)?;
    let key = header.text().ok_or(Refusal::KeyMalformed)?;
    let mut octets = [0; 32];
    let decoded = LENIENT.decode_slice(key, &mut octets);
    match decoded {
        Ok(n) if version.key_octets().contains(&n) => Ok(key.to_owned()),
        _ => Err(Refusal::KeyMalformed),
    }
}

/// A key for a client: sixteen random octets.
pub(super) fn make_key(out: &mut Output<'_>) -> String {
    STANDARD.encode(out.draw::<16>())
}

/// The answer's head after its first line. The nonce is hybi-04's.
pub(super) fn write_response<T: Trace>(
    key: &str,
    nonce: Option<&str>,
    head: &mut HeadWriter<'_>,
    spans: &mut SpanWriter<'_, T>,
) {
    head.header("Upgrade", "websocket");
    head.header("Connection", "Upgrade");
    head.header("Sec-WebSocket-Accept", &watched_accept(key, spans));
    if let Some(nonce) = nonce {
        head.header("Sec-WebSocket-Nonce", nonce);
    }
}

/// The request after its first line, in the order of the RFC's example.
pub(super) fn write_request(
    version: &Version,
    request: &ClientRequest<'_>,
    key: &str,
    head: &mut HeadWriter<'_>,
) {
    head.header("Host", request.host);
    head.header("Upgrade", "websocket");
    head.header("Connection", "Upgrade");
    head.header("Sec-WebSocket-Key", key);
    // One who has none sends `null`.
    let required = version.requires_origin().then_some("null");
    if let (Some(origin), Some(name)) = (request.origin.or(required), version.origin.first()) {
        head.header(name, origin);
    }
    if !request.subprotocols.is_empty() {
        head.header("Sec-WebSocket-Protocol", &request.subprotocols.join(", "));
    }
    for (name, value) in request.headers {
        head.header(name, value);
    }
    if let Some(number) = version.number {
        head.header("Sec-WebSocket-Version", &number.to_string());
    }
}

/// The checks of RFC 6455 section 4.1, which the drafts since 04 share.
pub(super) fn verify<'b, T: Trace>(
    expected: &ExpectedResponse,
    head: &Head<'b>,
    spans: &mut SpanWriter<'_, T>,
) -> Result<Option<&'b str>, Violation> {
    let upgrade = head.only("Upgrade");
    if upgrade.is_none_or(|h| !h.value.eq_ignore_ascii_case(b"websocket")) {
        return Err(Violation::UpgradeMismatch);
    }
    if !head.has_token("Connection", "upgrade") {
        return Err(Violation::ConnectionMismatch);
    }
    let accept = head.only("Sec-WebSocket-Accept");
    let proof = watched_accept(&expected.key, spans);
    if accept.is_none_or(|h| h.value != proof.as_bytes()) {
        return Err(Violation::AcceptMismatch);
    }
    if extensions(head).any(|name| !expected.extensions.iter().any(|offered| offered == name)) {
        return Err(Violation::ExtensionUnexpected);
    }
    let mut answers = head.all("Sec-WebSocket-Protocol");
    let (response, second) = (answers.next(), answers.next());
    let Some(response) = response else {
        return Ok(None);
    };
    let chosen = response
        .text()
        .filter(|name| second.is_none() && expected.offered.iter().any(|o| o == name));
    // Fatal since version 13; Firefox 6 goes on without.
    if chosen.is_none() && expected.version.is_rfc() {
        return Err(Violation::SubprotocolMismatch);
    }
    Ok(chosen)
}

pub(super) fn watched_accept<T: Trace>(key: &str, spans: &mut SpanWriter<'_, T>) -> String {
    let proof = accept(key);
    if T::WATCHING {
        spans.derive(Field::AcceptInput, format!("{key}{GUID}").as_bytes());
        spans.derive(Field::AcceptDigest, &digest(key));
        spans.derive(Field::Proof, proof.as_bytes());
    }
    proof
}
