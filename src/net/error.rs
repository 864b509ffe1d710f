//! One error to hold all that can go wrong with a connection.

use std::io;
use std::ops::Range;

use super::dial::DialError;
use super::listening::BindError;
use super::networks::NetworksError;
use super::proxy::UnknownProxyVersion;
use super::server::SendError;
use super::url::{BadUrl, Unresolved};
use crate::bytes::Escaped;
use crate::error::{Located, Refusal, Unsendable, Violation};
use crate::version::UnknownVersion;

/// What can go wrong with a connection, from the URL to the close.
///
/// Its sentence is whole; [`source`](std::error::Error::source) gives the cause
/// as a type of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a WebSocket URL.
    #[error("this is not a WebSocket URL: {0}")]
    Url(#[from] BadUrl),
    /// No version has this name.
    #[error("{0}")]
    Version(#[from] UnknownVersion),
    /// TCP could not be connected, or the opening handshake took too long.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// Client: the server refused with an HTTP status other than 101.
    #[error("the server refused with HTTP status {status}{}", first_line(body))]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The body of the response, as much as had arrived.
        body: String,
    },
    /// Server: the request was refused, and the response was sent.
    #[error("the request was refused: {refusal}")]
    Refused {
        /// Why.
        #[source]
        refusal: Refusal,
        /// The octets of the request in which the cause lies, where it lies in
        /// some.
        at: Option<Range<u64>>,
    },
    /// Server: the request asks for no upgrade. The client was answered with 426.
    #[error("the request is plain HTTP and asks for no WebSocket")]
    PlainHttp,
    /// The peer broke the protocol. It was sent the close that its version has.
    #[error("the connection failed: {0}")]
    Violation(#[from] Located<Violation>),
    /// The version or the state of the connection cannot send this. Nothing was
    /// sent.
    #[error("this cannot be sent: {0}")]
    Unsendable(#[from] Unsendable),
    /// The connection is closed: nothing more arrives.
    #[error("the connection is closed")]
    Closed,
    /// Server: an address cannot be listened on.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Server: a [`Sender`](super::Sender) could not send.
    #[error("{0}")]
    Send(#[from] SendError),
    /// A list of networks names something else.
    #[error("{0}")]
    Networks(#[from] NetworksError),
    /// No version of the PROXY protocol has this name.
    #[error("{0}")]
    ProxyVersion(#[from] UnknownProxyVersion),
    /// The stream could not be read or written. Its kind is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) or
    /// [`TimedOut`](io::ErrorKind::TimedOut) where a timeout of the stream is
    /// over; an open connection goes on after that.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused { refusal, at: None }
    }
}

impl From<Located<Refusal>> for Error {
    fn from(located: Located<Refusal>) -> Error {
        Error::Refused {
            refusal: located.error,
            at: Some(located.at),
        }
    }
}

impl From<Unresolved> for Error {
    fn from(unresolved: Unresolved) -> Error {
        Error::Dial(DialError::Resolve(unresolved))
    }
}

/// The first line of a refusal's body, as the end of a sentence.
fn first_line(body: &str) -> String {
    match body.lines().next() {
        None | Some("") => String::new(),
        Some(line) => format!(": {}", Escaped::<300>(line)),
    }
}
