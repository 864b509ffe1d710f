//! What a server refuses for reasons of its own, which the protocol does not
//! know: proxies, backends, how many connections there are.

use std::fmt;

use crate::bytes::Output;
use crate::conn::Conn;
use crate::error::{Refusal, Violation, coded};
use crate::frame::GOING_AWAY;
use crate::handshake::{CarriedHeader, HttpResponse};

/// Gives a sentence that is added to the text of a refusal.
pub(super) type Hint = fn(NetRefusal) -> Option<String>;

coded! {
    /// Why a server does not upgrade a request that the protocol allows. The text
    /// is one sentence of cause and cure, written for the person who runs the
    /// client.
    enum NetRefusal,
    status -> u16: /** The HTTP status that this kind of refusal has; [`NetRefusal::response_status`] is the one that is sent. */,
    /// Every stable code of a [`NetRefusal`] with its HTTP status.
    REFUSALS;

    /// No PROXY header where there must be one.
    #[error("this listener takes connections from that address with a PROXY header only; let the balancer send one")]
    ProxyHeader = "proxy-header", 400;
    /// A PROXY header from a peer that is not trusted.
    #[error("the connection starts with a PROXY header, and none is believed from this address; let the balancer send none")]
    ProxyHeaderUnexpected = "proxy-header-unexpected", 400;
    /// No TLS where nothing else is spoken.
    #[error("a plain request came to a port that takes TLS only; dial wss://")]
    PlainOnTlsPort = "plain-on-tls-port", 400;
    /// TLS from a client of 2010, where that is off. It gets the alert of TLS.
    #[error("a client speaks TLS of 2010 only, which is not safe any more")]
    TlsTooOld = "tls-too-old", 400;
    /// TLS with nothing that could be served. It gets the alert of TLS.
    #[error("a client offers no TLS that could be served: SSL 3 has no safe suite, and RC4, 3DES and anonymous suites are not there")]
    TlsNothingInCommon = "tls-nothing-in-common", 400;
    /// No route leads from this host and path to anything but a page.
    #[error("there is no WebSocket at this host and path")]
    NoRoute = "no-route", 404;
    /// A gateway does not pass on a header that may stand once and stands twice.
    #[error("the request's {name} stands twice and is not passed on to the backend; send it once")]
    HeaderNotPassed { name: &'static str } = "header-not-passed", 400;
    /// The backend of a gateway refused.
    #[error("the backend behind this gateway refused with HTTP status {status}")]
    BackendRefused { status: u16 } = "backend-refused", 502;
    /// The backend of a gateway is not a WebSocket server of the configured
    /// version.
    #[error("the backend behind this gateway does not answer as a WebSocket server does: {violation}")]
    BackendHandshake { violation: Violation } = "backend-handshake", 502;
    /// TLS with the backend of a gateway fails.
    #[error("the backend behind this gateway does not complete TLS: {why}")]
    BackendTls { why: &'static str } = "backend-tls", 502;
    /// No TCP connection to the backend of a gateway.
    #[error("the backend behind this gateway cannot be reached; is it running?")]
    BackendUnreachable = "backend-unreachable", 502;
    /// The backend of a gateway does not answer in time.
    #[error("the backend behind this gateway did not answer in time")]
    BackendTimeout = "backend-timeout", 504;
    /// The backend of a gateway ended TCP before it answered plain HTTP.
    #[error("the backend behind this gateway ended the connection without an answer")]
    BackendCut = "backend-cut", 502;
    /// Plain HTTP was sent to the backend of a gateway, and no answer came.
    #[error("the backend behind this gateway did not answer the request in time")]
    BackendSilent = "backend-silent", 504;
    /// A request of a gateway came back to it.
    #[error("the request has come back to a gateway that it has passed, or has passed too many; a gateway's backend must not lead to the gateway itself")]
    GatewayLoop = "gateway-loop", 508;
    /// As many connections as there may be.
    #[error("there are as many connections as there may be; try again later")]
    TooManyConnections = "too-many-connections", 503;
    /// The system gives a gateway no socket for its backend.
    #[error("this gateway has no socket left for a connection to its backend; try again later")]
    OutOfSockets = "out-of-sockets", 503;
    /// The connections of the server hold as much memory as they may.
    #[error("the memory for connections is used up; try again later")]
    OutOfMemory = "out-of-memory", 503;
    /// As many connections from this address as there may be.
    #[error("there are as many connections from this address as there may be; close one, or try again later")]
    TooManyFromAddress = "too-many-from-address", 503;
    /// The server is being stopped.
    #[error("the server is going away; try again later")]
    GoingAway = "going-away", 503;
}

/// Seconds after which a client may try again.
const RETRY_AFTER: &str = "5";

impl NetRefusal {
    /// The HTTP status that is sent: that of the backend where it found a fault
    /// in the request, [`NetRefusal::status`] otherwise. 426 and 407 concern the
    /// hop to the backend, so the client gets 502 instead.
    #[must_use]
    pub const fn response_status(self) -> u16 {
        match self {
            NetRefusal::BackendRefused { status: 407 | 426 } => self.status(),
            NetRefusal::BackendRefused { status } if status >= 400 && status < 500 => status,
            _ => self.status(),
        }
    }

    /// Answers a request with this refusal, and the connection is over. Writes
    /// nothing once the head of a 101 was written.
    pub(super) fn respond(self, conn: &mut Conn, hint: Option<Hint>, out: &mut Output<'_>) {
        self.respond_carrying(&[], conn, hint, out);
    }

    /// The same with headers of the backend that refused.
    pub(super) fn respond_carrying(
        self,
        carried: &[CarriedHeader<'_>],
        conn: &mut Conn,
        hint: Option<Hint>,
        out: &mut Output<'_>,
    ) {
        let body = match hint.and_then(|hint| hint(self)) {
            Some(hint) => format!("{}: {self}; {hint}\n", self.code()),
            None => format!("{}: {self}\n", self.code()),
        };
        let headers: &[(&str, &str)] = match self {
            _ if self.status() == 503 => &[("Retry-After", RETRY_AFTER)],
            _ => &[],
        };
        let response = HttpResponse {
            status: self.response_status(),
            content_type: "text/plain; charset=utf-8",
            headers,
            carried,
            body: body.as_bytes(),
        };
        if conn.respond(&response, out).is_err() {
            conn.close(GOING_AWAY, "", out);
        }
    }
}

/// Why a request is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnyRefusal {
    /// For a reason of the protocol, or of the policy that the protocol applies.
    Protocol(Refusal),
    /// For a reason of the server.
    Net(NetRefusal),
}

impl AnyRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            AnyRefusal::Protocol(refusal) => refusal.code(),
            AnyRefusal::Net(refusal) => refusal.code(),
        }
    }

    /// The HTTP status that is sent.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            AnyRefusal::Protocol(refusal) => refusal.status(),
            AnyRefusal::Net(refusal) => refusal.response_status(),
        }
    }

    /// Answers a request with this refusal, and the connection is over.
    pub(super) fn respond(self, conn: &mut Conn, hint: Option<Hint>, out: &mut Output<'_>) {
        match self {
            AnyRefusal::Protocol(refusal) => conn.refuse(refusal, out),
            AnyRefusal::Net(refusal) => refusal.respond(conn, hint, out),
        }
    }
}

impl From<Refusal> for AnyRefusal {
    fn from(refusal: Refusal) -> AnyRefusal {
        AnyRefusal::Protocol(refusal)
    }
}

impl From<NetRefusal> for AnyRefusal {
    fn from(refusal: NetRefusal) -> AnyRefusal {
        AnyRefusal::Net(refusal)
    }
}

impl fmt::Display for AnyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyRefusal::Protocol(refusal) => refusal.fmt(f),
            AnyRefusal::Net(refusal) => refusal.fmt(f),
        }
    }
}
