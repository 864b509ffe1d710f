//! hixie-75: nothing is proved. The answer echoes origin and location.

use super::{Ask, Head, HeadWriter, Header, Secret};
use crate::error::Violation;

/// The answer after its first line; clients compare the first three lines
/// octet by octet (hixie-75 section 4.1), so Upgrade and Connection come next.
pub(super) fn write_answer(origin: &str, location: &str, head: &mut HeadWriter<'_>) {
    head.header("Upgrade", "WebSocket");
    head.header("Connection", "Upgrade");
    head.header("WebSocket-Origin", origin);
    head.header("WebSocket-Location", location);
}

/// The request after its first line, in the order the draft fixes.
pub(super) fn write_request(ask: &Ask<'_>, head: &mut HeadWriter<'_>) {
    head.header("Upgrade", "WebSocket");
    head.header("Connection", "Upgrade");
    head.header("Host", ask.host);
    head.header("Origin", &ask.hixie_origin());
    if let Some(name) = ask.opaque_subprotocol() {
        head.header("WebSocket-Protocol", &name);
    }
    for (name, value) in ask.headers {
        head.header(name, value);
    }
}

/// The checks of hixie-75 section 4.1.
pub(super) fn verify<'b>(secret: &Secret, head: &Head<'b>) -> Result<Option<&'b str>, Violation> {
    const FIRST: &[u8] =
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
    // Looked up so that a watcher sees that they decided.
    let _ = (head.has("Upgrade"), head.has("Connection"));
    if !head.raw().starts_with(FIRST) {
        return Err(Violation::ResponseLines);
    }
    secret.verify_echo(head, "WebSocket-Origin", "WebSocket-Location")?;
    secret.verify_opaque_subprotocol(head, "WebSocket-Protocol")
}

impl Ask<'_> {
    /// hixie clients always send an origin, in lower case.
    pub(super) fn hixie_origin(&self) -> String {
        match self.origin {
            Some(origin) => origin.to_ascii_lowercase(),
            None => format!("http://{}", self.host.to_ascii_lowercase()),
        }
    }

    /// hixie asks for one string.
    pub(super) fn opaque_subprotocol(&self) -> Option<String> {
        (!self.subprotocols.is_empty()).then(|| self.subprotocols.join(" "))
    }
}

impl Secret {
    /// Origin and location come back as they were sent, once each.
    pub(super) fn verify_echo(
        &self,
        head: &Head<'_>,
        origin: &str,
        location: &str,
    ) -> Result<(), Violation> {
        let is =
            |name: &str, want: &str| head.only(name).is_some_and(|h| h.value == want.as_bytes());
        if !is(origin, &self.origin) {
            return Err(Violation::OriginMismatch);
        }
        if !is(location, &self.location) {
            return Err(Violation::LocationMismatch);
        }
        Ok(())
    }

    /// A hixie client that asked wants the whole string back; one that did not
    /// ask does not look.
    pub(super) fn verify_opaque_subprotocol<'b>(
        &self,
        head: &Head<'b>,
        name: &str,
    ) -> Result<Option<&'b str>, Violation> {
        let Some(asked) = self.offered.first() else {
            return Ok(None);
        };
        head.only(name)
            .and_then(Header::text)
            .filter(|answer| answer == asked)
            .map(Some)
            .ok_or(Violation::SubprotocolMismatch)
    }
}
