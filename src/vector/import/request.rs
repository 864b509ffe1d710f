//! Which octets of a client start a WebSocket conversation.

use memchr::{memchr, memmem};

/// The maximum length of a request's head.
const MAX_HEAD_OCTETS: usize = 64 * 1024;

/// The octets up to the first empty line, or all octets if there is no empty line.
pub(super) fn head(octets: &[u8]) -> &[u8] {
    let octets = octets.get(..MAX_HEAD_OCTETS).unwrap_or(octets);
    let end = memmem::find(octets, b"\r\n\r\n").unwrap_or(octets.len());
    octets.get(..end).unwrap_or(octets)
}

/// Whether these octets start with a method of HTTP.
pub(super) fn is_request(octets: &[u8]) -> bool {
    let is = |method: &[u8]| octets.starts_with(method);
    METHODS.into_iter().any(is) || is(b"CONNECT ")
}

const METHODS: [&[u8]; 8] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
];

/// Why these octets of a client start no WebSocket conversation.
pub(super) fn other_protocol(octets: &[u8]) -> Option<&'static str> {
    let is = |prefix: &[u8]| octets.starts_with(prefix);
    if octets.is_empty() {
        Some("the client sends nothing")
    } else if is(b"\x16\x03") || is(b"\x80") && octets.get(2) == Some(&1) {
        Some("TLS, which hides the octets; capture where they are not encrypted")
    } else if is(b"PRI * HTTP/2") {
        Some("HTTP/2")
    } else if is(b"<policy-file-request") {
        Some("a Flash policy request")
    } else if is(b"CONNECT ") {
        Some("the client sends CONNECT to a proxy, and no tunnel is opened")
    } else if !METHODS.into_iter().any(is) {
        Some("not HTTP, or the start of the connection is not in the capture")
    } else if asks(head(octets)) {
        None
    } else if memmem::find(octets, b"ec-WebSocket-").is_some() {
        Some("the upgrade is not the first request of the connection")
    } else if memmem::find(octets, b"\r\n\r\n").is_none() {
        Some("its head does not end, and asks for no WebSocket so far")
    } else {
        Some("plain HTTP")
    }
}

/// Whether this head of a request asks for WebSocket.
pub(super) fn asks(head: &[u8]) -> bool {
    head.split(|o| *o == b'\n').any(|line| {
        let colon = memchr(b':', line).unwrap_or(line.len());
        let line = line.to_ascii_lowercase();
        let (name, value) = line.split_at(colon);
        let upgrade = name == b"upgrade" && memmem::find(value, b"websocket").is_some();
        upgrade || name.starts_with(b"sec-websocket-") || name.starts_with(b"websocket-")
    })
}
