//! What one side of the core concluded from a conversation.

use std::fmt;

use super::MessageKind;
use crate::conn::Conn;
use crate::error::{Refusal, Violation};
use crate::frame::close_code;
use crate::handshake::{Request, Response, hixie76_number};
use crate::version::Version;

/// What one side of the core concluded from a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// How many octets this side received.
    pub received_octets: usize,
    /// How many of them it parsed.
    pub consumed: u64,
    /// The octets that it sent.
    pub sent: Vec<u8>,
    pub(super) handshake: Handshake,
    pub(super) messages: Vec<(MessageKind, Vec<u8>)>,
    /// The code and reason of the peer's close.
    pub(super) closed: Option<(Option<u16>, String)>,
    pub(super) rejected: Option<Rejected>,
}

/// The result of the opening handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) version: Option<&'static Version>,
    pub(super) subprotocol: Option<String>,
    /// The compression that was agreed on.
    pub(super) extensions: Option<String>,
    /// The numbers of hixie-76's keys.
    pub(super) key_numbers: Vec<u32>,
}

impl Handshake {
    /// A server received this request.
    pub(super) fn request(&mut self, request: &Request<'_>) {
        self.version = request.version();
        if self.version.is_some_and(Version::has_body) {
            let keys = request.head().numbered_keys().into_iter();
            let numbers = keys
                .zip(1..)
                .filter_map(|(value, key)| hixie76_number(key, value?).ok());
            self.key_numbers.extend(numbers);
        }
    }

    /// A client that requested this version received this response.
    pub(super) fn response(&mut self, response: &Response<'_>, version: Option<&'static Version>) {
        self.version = version;
        self.subprotocol = response.subprotocol().map(str::to_owned);
    }

    /// The handshake is finished on both sides of this connection.
    pub(super) fn opened(&mut self, conn: &Conn) {
        self.extensions = conn.compression().map(|deflate| deflate.to_string());
    }
}

/// Why one side rejects what it received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) code: &'static str,
    pub(super) status: Option<u16>,
    pub(super) close: Option<u16>,
    /// The sentence, for a person.
    why: String,
    /// How many octets of the peer were parsed before.
    pub(super) after: u64,
}

impl Rejected {
    /// It refuses the request.
    pub(super) fn refusal(refusal: Refusal, after: u64) -> Rejected {
        Rejected {
            code: refusal.code(),
            status: Some(refusal.status()),
            close: None,
            why: refusal.to_string(),
            after,
        }
    }

    /// It fails a connection of this version.
    pub(super) fn violation(
        violation: Violation,
        version: Option<&Version>,
        after: u64,
    ) -> Rejected {
        let version = version.filter(|version| version.has_close_codes());
        let close = version.zip(violation.close_code());
        Rejected {
            code: violation.code(),
            status: None,
            close: close.map(|(version, code)| close_code(version, code)),
            why: violation.to_string(),
            after,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejected {
            code, why, after, ..
        } = self;
        write!(f, "{code} after {after} octets of its peer: {why}")
    }
}
