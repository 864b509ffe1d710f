//! A server's end that blocks: `accept(stream)` gives a WebSocket of any
//! version. A server of many connections on few threads is
//! [`Server`](super::Server).
//!
//! ```no_run
//! for stream in std::net::TcpListener::bind("127.0.0.1:8076")?.incoming() {
//!     if let Err(error) = echo(stream?) {
//!         eprintln!("{error}");
//!     }
//! }
//!
//! fn echo(stream: std::net::TcpStream) -> Result<(), heirloom::Error> {
//!     let mut socket = heirloom::server::accept(stream)?;
//!     while let Some(message) = socket.read()?.as_message() {
//!         socket.send(message)?;
//!     }
//!     Ok(())
//! }
//! # Ok::<(), heirloom::Error>(())
//! ```

use std::io::{Read, Write};
use std::sync::Arc;

use super::blocking::SessionStream;
pub use super::blocking::{OwnedMessage, WebSocket};
use super::error::Error;
use crate::conn::{Config, Conn, Phase, SessionEvent};
use crate::error::Refusal;
use crate::handshake::{HttpResponse, Request};
use crate::random::SystemRandom;

/// Reads a request from a stream and upgrades it, in any version that is on by
/// default.
///
/// # Errors
///
/// [`Error::Refused`] where the request is refused and [`Error::PlainHttp`] where
/// it asks for no upgrade: the client has got the response then.
/// [`Error::Violation`] where the stream ends too soon; [`Error::Io`] where it
/// fails.
pub fn accept<S: Read + Write>(stream: S) -> Result<WebSocket<S>, Error> {
    Acceptor::new().accept(stream)
}

/// What connections of a server share: the configuration, and the subprotocols
/// that are spoken.
///
/// ```no_run
/// use heirloom::server::Acceptor;
/// use heirloom::{Config, Versions};
///
/// let acceptor = Acceptor::new()
///     .with_config(Config::default().with_versions(Versions::ALL))
///     .with_subprotocols(["chat"]);
/// let (stream, _) = std::net::TcpListener::bind("127.0.0.1:8076")?.accept()?;
/// let socket = acceptor.accept(stream)?;
/// println!("{} with {:?}", socket.version(), socket.subprotocol());
/// # Ok::<(), heirloom::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Acceptor {
    config: Arc<Config>,
    subprotocols: Vec<String>,
}

impl Acceptor {
    /// Upgrades every request, without a subprotocol.
    #[must_use]
    pub fn new() -> Acceptor {
        Acceptor::default()
    }

    /// With these limits, versions and origins.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Acceptor {
        self.config = config.into();
        self
    }

    /// Chooses the first subprotocol of the client that is one of these.
    #[must_use]
    pub fn with_subprotocols<T: Into<String>>(
        mut self,
        subprotocols: impl IntoIterator<Item = T>,
    ) -> Acceptor {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Reads a request from a stream and upgrades it. The stream must block; its
    /// own timeouts apply.
    ///
    /// # Errors
    ///
    /// As [`accept`].
    pub fn accept<S: Read + Write>(&self, stream: S) -> Result<WebSocket<S>, Error> {
        self.accept_with(stream, |request| {
            let chosen = request.choose_subprotocol(&self.subprotocols)?;
            Ok(chosen.map(str::to_owned))
        })
    }

    /// The same, where `choose` sees the request and gives the subprotocol to
    /// agree on, or returns why the request is refused.
    ///
    /// ```no_run
    /// # use heirloom::server::Acceptor;
    /// # fn serve(stream: std::net::TcpStream) -> Result<(), heirloom::Error> {
    /// use heirloom::error::Refusal;
    ///
    /// let mut path = String::new();
    /// let socket = Acceptor::new().accept_with(stream, |request| {
    ///     path = request.path().to_owned();
    ///     if path == "/chat" {
    ///         Ok(None)
    ///     } else {
    ///         Err(Refusal::NotFound)
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`accept`], and [`Error::Unsendable`] where the subprotocol cannot
    /// stand in a header.
    pub fn accept_with<S: Read + Write>(
        &self,
        stream: S,
        mut choose: impl FnMut(&Request<'_>) -> Result<Option<String>, Refusal>,
    ) -> Result<WebSocket<S>, Error> {
        let conn = Conn::server(Arc::clone(&self.config));
        let mut wire = SessionStream::new(stream, conn, Vec::new());
        let mut subprotocol = None;
        loop {
            let answered = answer(&mut wire, &mut choose, &mut subprotocol);
            let flushed = wire.flush();
            answered?;
            flushed?;
            let conn = wire.session.conn();
            if let (Phase::Open, Some(version)) = (conn.phase(), conn.version()) {
                return Ok(WebSocket::opened(wire, version, subprotocol));
            }
            if !wire.fill()? {
                wire.session.end_of_input()?;
            }
        }
    }
}

/// The response to a request that asks for no upgrade.
const UPGRADE_REQUIRED: HttpResponse<'_> = HttpResponse {
    carried: &[],
    status: 426,
    content_type: "text/plain; charset=utf-8",
    headers: &[("Upgrade", "websocket"), ("Connection", "Upgrade, close")],
    body: b"this server speaks WebSocket only\n",
};

/// Answers what was received of a request.
fn answer<S: Read + Write>(
    wire: &mut SessionStream<S>,
    choose: &mut dyn FnMut(&Request<'_>) -> Result<Option<String>, Refusal>,
    subprotocol: &mut Option<String>,
) -> Result<(), Error> {
    let mut random = SystemRandom;
    let (session, mut out) = wire.session_and_output(&mut random);
    while let Some((event, conn)) = session.next(&mut out)? {
        match event {
            SessionEvent::Request(request) => match choose(&request) {
                Ok(chosen) => {
                    conn.accept(chosen.as_deref(), &mut out)?;
                    *subprotocol = chosen;
                }
                Err(refusal) => {
                    conn.refuse(refusal, &mut out);
                    return Err(refusal.into());
                }
            },
            SessionEvent::Http(_) => {
                conn.respond(&UPGRADE_REQUIRED, &mut out)?;
                return Err(Error::PlainHttp);
            }
            SessionEvent::Refused(refused) => return Err(refused.refusal.into()),
            SessionEvent::Open => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
