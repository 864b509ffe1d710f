//! hixie-75: nothing is proved. The answer echoes origin and location.

use super::{ClientRequest, ExpectedResponse, Head, HeadWriter};
use crate::error::Violation;

/// The answer after its first line; clients compare the first three lines
/// octet by octet (hixie-75 section 4.1), so Upgrade and Connection come next.
pub(super) fn write_response(origin: &str, location: &str, head: &mut HeadWriter<'_>) {
    head.header("Upgrade", "WebSocket");
    head.header("Connection", "Upgrade");
    head.header("WebSocket-Origin", origin);
    head.header("WebSocket-Location", location);
}

/// The request after its first line, in the order the draft fixes.
pub(super) fn write_request(request: &ClientRequest<'_>, head: &mut HeadWriter<'_>) {
    head.header("Upgrade", "WebSocket");
    head.header("Connection", "Upgrade");
    head.header("Host", request.host);
    head.header("Origin", &request.hixie_origin());
    if let Some(name) = request.opaque_subprotocol() {
        head.header("WebSocket-Protocol", &name);
    }
    for (name, value) in request.headers {
        head.header(name, value);
    }
}

/// The checks of hixie-75 section 4.1.
pub(super) fn verify<'b>(
    expected: &ExpectedResponse,
    head: &Head<'b>,
) -> Result<Option<&'b str>, Violation> {
    const FIRST: &[u8] =
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
    // Looked up so that a watcher sees that they decided.
    let _ = (head.has("Upgrade"), head.has("Connection"));
    if !head.raw().starts_with(FIRST) {
        return Err(Violation::ResponseLines);
    }
    expected.verify_echo(head, "WebSocket-Origin", "WebSocket-Location")?;
    expected.verify_opaque_subprotocol(head, "WebSocket-Protocol")
}
