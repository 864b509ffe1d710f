//! Why TLS has failed.

use std::io::{self, ErrorKind};

use super::explained::CertificateProblem;
use crate::bytes::Escaped;

/// Why TLS has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// A client broke the protocol, or offers nothing that is served.
    #[error("TLS: {0}")]
    Client(#[from] rustls::Error),
    /// The same, where OpenSSL serves the client.
    #[cfg(feature = "legacy-tls")]
    #[error("TLS: {0}")]
    Legacy(String),
    /// The certificate of a server is not accepted.
    #[error("{sentence}")]
    Certificate {
        /// What is wrong with it.
        problem: CertificateProblem,
        /// One sentence of cause and cure.
        sentence: String,
    },
    /// A server broke the protocol, or offers nothing that is known here: one
    /// sentence of cause and cure.
    #[error("{0}")]
    Server(String),
    /// A server has ended TCP before TLS was agreed on.
    #[error(
        "the server ended the connection in the opening handshake of TLS; if it speaks no TLS on this port, dial ws://"
    )]
    Cut,
    /// The peer has ended TCP, and not TLS before it (RFC 8446 section 6.1).
    #[error(
        "tls-truncated: the peer ended TCP without a close_notify of TLS, so what it sent last may have been cut off; let it end TLS first"
    )]
    Truncated,
    /// What a server sends is no TLS.
    #[error("the server does not speak TLS on this port: it answers {}; dial ws://", answered(.first))]
    NotTls {
        /// The first octets of the answer.
        first: Vec<u8>,
    },
}

/// What a server answers that speaks no TLS.
fn answered(first: &[u8]) -> String {
    if first.starts_with(b"HTTP/") {
        return "in plain HTTP".to_owned();
    }
    format!("\"{}\"", Escaped::<80>(&String::from_utf8_lossy(first)))
}

impl TlsFault {
    /// The stable code of an end for this reason.
    pub(in crate::net) fn code(&self) -> &'static str {
        match self {
            TlsFault::Certificate { .. } => "tls-untrusted",
            TlsFault::NotTls { .. } => "tls-absent",
            TlsFault::Cut => "tls-cut",
            TlsFault::Truncated => "tls-truncated",
            _ => "tls-failed",
        }
    }

    /// The fault behind an error of a transport, if it is one of TLS.
    pub(in crate::net) fn of(error: &io::Error) -> Option<&TlsFault> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<TlsFault> for io::Error {
    fn from(fault: TlsFault) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, fault)
    }
}
