//! hixie-75: nothing is proved. The response echoes origin and location.

use alloc::vec::Vec;

use super::ask::ClientRequest;
use super::challenged::{Challenged, Violated};
use super::head::Head;
use super::write::HeadWriter;
use crate::error::Violation;

/// The response up to its origin; clients compare the first three lines octet by
/// octet (hixie-75 section 4.1), so Upgrade and Connection come first.
const RESPONSE: &str = "HTTP/1.1 101 Web Socket Protocol Handshake\r\n\
                        Upgrade: WebSocket\r\nConnection: Upgrade\r\nWebSocket-Origin: ";

/// Starts the response.
pub(super) fn start_response<'o>(echo: (&[u8], &[u8]), out: &'o mut Vec<u8>) -> HeadWriter<'o> {
    echo_origin_and_location(RESPONSE, "WebSocket-Location: ", echo, out)
}

/// Starts a response of hixie: its lines up to the origin, and the origin and the
/// location that the client compares.
pub(super) fn echo_origin_and_location<'o>(
    response: &'static str,
    location_name: &'static str,
    (origin, location): (&[u8], &[u8]),
    out: &'o mut Vec<u8>,
) -> HeadWriter<'o> {
    let mut head = HeadWriter::within_line(out, response);
    head.end_line(origin);
    head.start_line(location_name);
    head.end_line(location);
    head
}

/// The request after its first line, in the order that the draft fixes.
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
    head.carried(request.carried);
}

/// The checks of hixie-75 section 4.1 that need no request.
pub(super) fn verify_upgrade(head: &Head<'_>) -> Result<(), Violated> {
    const FIRST: &[u8] =
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
    // Their exact octets decide.
    head.look_up("Upgrade");
    head.look_up("Connection");
    let mut pairs = head.raw().iter().zip(FIRST);
    match pairs.position(|(is, want)| is != want) {
        Some(i) => Err((Violation::ResponseLines, i..i + 1)),
        None if head.raw().len() < FIRST.len() => {
            Err((Violation::ResponseLines, head.missing_at()))
        }
        None => Ok(()),
    }
}

/// The checks of hixie-75 section 4.1 that compare the response with the
/// request.
pub(super) fn verify<'b>(
    challenged: &Challenged,
    head: &Head<'b>,
) -> Result<Option<&'b str>, Violated> {
    challenged.verify_echo(head, "WebSocket-Origin", "WebSocket-Location")?;
    challenged.verify_opaque_subprotocol(head, "WebSocket-Protocol")
}
