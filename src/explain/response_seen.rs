//! What an answer's head says, and a request that might have led to it.

use crate::handshake::{Header, Response};
use crate::version::{Challenge, Version};

/// What an answer's head says, for a request that might have led to it.
#[derive(Debug, Default)]
pub(super) struct ResponseSeen {
    pub(super) status: u16,
    pub(super) version: Option<&'static Version>,
    pub(super) origin: Option<String>,
    pub(super) location: Option<String>,
    pub(super) subprotocol: Option<String>,
    pub(super) nonce: Option<String>,
}

impl ResponseSeen {
    pub(super) fn of(response: &Response<'_>) -> ResponseSeen {
        let head = response.head();
        let text = |name: &str| head.get(name).and_then(Header::text).map(str::to_owned);
        let named = Version::named;
        let (accept, nonce) = (text("Sec-WebSocket-Accept"), text("Sec-WebSocket-Nonce"));
        let sec = text("Sec-WebSocket-Location").or(text("Sec-WebSocket-Origin"));
        let plain = text("WebSocket-Location").or(text("WebSocket-Origin"));
        let version = if nonce.is_some() {
            named("hybi-04")
        } else if accept.is_some() {
            named("rfc6455")
        } else if sec.is_some() {
            named("hixie-76")
        } else if plain.is_some() {
            named("hixie-75")
        } else {
            None
        };
        ResponseSeen {
            status: response.status(),
            version,
            origin: text("Sec-WebSocket-Origin").or(text("WebSocket-Origin")),
            location: text("Sec-WebSocket-Location").or(text("WebSocket-Location")),
            subprotocol: text("Sec-WebSocket-Protocol").or(text("WebSocket-Protocol")),
            nonce,
        }
    }

    /// A request that might have led to this answer. Of the answer to it, only
    /// the proof is wrong.
    pub(super) fn request(&self, version: Option<&'static Version>) -> String {
        let location = self.location.as_deref().unwrap_or_default();
        let url = location.split_once("://").map_or("", |(_, rest)| rest);
        let (host, target) = match url.find('/').and_then(|i| url.split_at_checked(i)) {
            Some((host, target)) => (host, target),
            None => (url, "/"),
        };
        let host = if host.is_empty() { "unknown" } else { host };
        let origin = self.origin.as_deref().unwrap_or("http://unknown");
        let challenge = version.map_or(Challenge::Hybi05, |v| v.challenge);
        let (upgrade, mut more) = match challenge {
            Challenge::Hixie75 => ("WebSocket", format!("Origin: {origin}\r\n")),
            Challenge::Hixie76 => {
                let draft = version.is_some_and(Version::has_draft);
                let draft = if draft {
                    "Sec-WebSocket-Draft: 2\r\n"
                } else {
                    ""
                };
                let keys = "Sec-WebSocket-Key1: 1 1\r\nSec-WebSocket-Key2: 1 1\r\n";
                ("WebSocket", format!("Origin: {origin}\r\n{draft}{keys}"))
            }
            Challenge::Hybi04 | Challenge::Hybi05 => {
                let number = version.and_then(|v| v.number).unwrap_or(13);
                let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
                (
                    "websocket",
                    format!("{key}\r\nSec-WebSocket-Version: {number}\r\n"),
                )
            }
        };
        if let Some(name) = &self.subprotocol {
            let header = version.map_or("Sec-WebSocket-Protocol", Version::subprotocol_header);
            more.push_str(&format!("{header}: {name}\r\n"));
        }
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: {upgrade}\r\n\
             Connection: Upgrade\r\n{more}\r\n"
        )
    }
}
