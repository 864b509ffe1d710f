//! A connection to a server: its name is resolved, its addresses are tried, and TLS
//! is agreed on.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::address::ServerAddress;
use super::attempts::{Attempted, Attempts};
use super::resolve::Resolver;
use super::tls::{ClientTls, ClientTlsError, Tls, TlsFault};
use super::transport::Transport;
use super::url::{Endpoint, Unresolved, Url};
use crate::error::Unsendable;

const SOCKET: Token = Token(0);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host name has no address.
    #[error(transparent)]
    Resolve(#[from] Unresolved),
    /// There is no connection to this address.
    #[error("cannot connect to {0}: {1}")]
    Connect(ServerAddress, #[source] io::Error),
    /// It takes too long.
    #[error("the server did not answer in time")]
    TimedOut,
    /// Nothing can be trusted, or no certificate can be for this host.
    #[error(transparent)]
    ClientTls(#[from] ClientTlsError),
    /// TLS could not be agreed on; [`DialError::tls_fault`] says why, unless TCP has
    /// failed.
    #[error("{}", tls_failed(.0))]
    TlsFailed(#[source] io::Error),
    /// The server does not go on with TLS.
    #[error(
        "TCP is connected, and the server did not go on with the opening handshake of TLS in time; a server that speaks no TLS on this port may wait so for a request: dial ws://"
    )]
    TlsTimedOut,
    /// The system has no more polls or wakers.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[source] io::Error),
    /// The request cannot be written, or no server would take it.
    #[error("cannot send the request: {0}")]
    Request(#[from] Unsendable),
}

fn tls_failed(error: &io::Error) -> String {
    match TlsFault::of(error) {
        Some(fault) => fault.to_string(),
        None => format!(
            "the connection broke in the opening handshake of TLS: {error}; if the server speaks no TLS on this port, dial ws://"
        ),
    }
}

impl DialError {
    /// What is wrong with TLS, where that is why.
    #[must_use]
    pub fn tls_fault(&self) -> Option<&TlsFault> {
        match self {
            DialError::TlsFailed(error) => TlsFault::of(error),
            _ => None,
        }
    }
}

/// A server that is to be dialled: where it is, and how TLS is spoken to it.
#[derive(Clone, Debug)]
pub struct DialTarget {
    endpoint: Endpoint,
    /// With the name that the certificate must be for.
    tls: Option<(ClientTls, String)>,
}

impl From<Endpoint> for DialTarget {
    fn from(endpoint: Endpoint) -> DialTarget {
        DialTarget {
            endpoint,
            tls: None,
        }
    }
}

impl From<SocketAddr> for DialTarget {
    fn from(address: SocketAddr) -> DialTarget {
        Endpoint::from(address).into()
    }
}

impl DialTarget {
    /// The server of a URL. Where that is `wss`, the certificates of `tls` are
    /// trusted, or those of the system, which are read now.
    ///
    /// # Errors
    ///
    /// Why no TLS can be spoken.
    pub fn of(url: &Url, tls: Option<&ClientTls>) -> Result<DialTarget, ClientTlsError> {
        let target = DialTarget::from(url.endpoint());
        match (url.secure, tls) {
            (false, _) => Ok(target),
            (true, Some(tls)) => Ok(target.with_tls(tls.clone(), url.name())),
            (true, None) => Ok(target.with_tls(ClientTls::of_system()?, url.name())),
        }
    }

    /// With TLS, in which the server must prove to be `host`: a name or an address,
    /// without a port.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls, host: impl Into<String>) -> DialTarget {
        self.tls = Some((tls, host.into()));
        self
    }

    /// Connects, and agrees on TLS where it is to be spoken, until the deadline.
    pub(super) fn connect(
        &self,
        resolver: &Resolver,
        deadline: Instant,
    ) -> Result<Transport, DialError> {
        let mut transport = connect(&self.endpoint, resolver, deadline)?;
        if let Some((tls, host)) = &self.tls {
            let tls = Tls::connect(tls, host, Vec::new())?;
            transport.start_tls(tls, &[]);
            agree(&mut transport, deadline)?;
        }
        Ok(transport)
    }
}

impl fmt::Display for DialTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls.is_some() {
            f.write_str("wss://")?;
        }
        self.endpoint.fmt(f)
    }
}

/// Finishes the opening handshake of TLS.
fn agree(transport: &mut Transport, deadline: Instant) -> Result<(), DialError> {
    let mut poll = Poll::new().map_err(DialError::Poll)?;
    let mut events = Events::with_capacity(8);
    transport.assume_ready();
    transport
        .register(poll.registry(), SOCKET, true)
        .map_err(DialError::Poll)?;
    loop {
        match transport.advance_tls() {
            Ok(true) => {
                return transport
                    .deregister(poll.registry())
                    .map_err(DialError::Poll);
            }
            Ok(false) => {}
            Err(error) => return Err(DialError::TlsFailed(error)),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DialError::TlsTimedOut);
        }
        match poll.poll(&mut events, Some(left)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(DialError::Poll(error));
            }
            _ => {}
        }
        for event in &events {
            transport.on_event(event);
        }
    }
}

/// Connects to one of the addresses of an endpoint, until the deadline.
fn connect(
    endpoint: &Endpoint,
    resolver: &Resolver,
    deadline: Instant,
) -> Result<Transport, DialError> {
    let known = resolver.known(endpoint);
    let is_old = known.is_some() && endpoint.is_name();
    let addresses = match known {
        Some(known) => known,
        None => look_up(endpoint, resolver, deadline)?,
    };
    let mut connected = connect_to(&addresses, deadline);
    if !matches!(connected, Ok((_, false))) {
        resolver.forget(endpoint);
    }
    if is_old && matches!(connected, Err(DialError::Connect(..))) {
        // The server may have moved since.
        connected = connect_to(&look_up(endpoint, resolver, deadline)?, deadline);
    }
    connected.map(|(transport, _)| transport)
}

fn look_up(
    endpoint: &Endpoint,
    resolver: &Resolver,
    deadline: Instant,
) -> Result<Arc<[ServerAddress]>, DialError> {
    let found = resolver.resolve_until(endpoint, deadline);
    Ok(found.ok_or(DialError::TimedOut)??)
}

/// Connects to one of these addresses; whether another one has failed before.
fn connect_to(
    addresses: &[ServerAddress],
    deadline: Instant,
) -> Result<(Transport, bool), DialError> {
    let mut poll = Poll::new().map_err(DialError::Poll)?;
    let mut events = Events::with_capacity(8);
    let start = Instant::now();
    let after_start = |at: Instant| {
        let ms = at.saturating_duration_since(start).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX)
    };
    let mut attempts = Attempts::new(addresses, 0, after_start(deadline));
    loop {
        let now_ms = after_start(Instant::now());
        match attempts.advance(now_ms, poll.registry(), SOCKET) {
            Attempted::Connected(mut transport) => {
                transport
                    .deregister(poll.registry())
                    .map_err(DialError::Poll)?;
                if let Err(error) = transport.set_nodelay() {
                    log::debug!(target: "heirloom::net", "TCP_NODELAY: {error}");
                }
                return Ok((transport, attempts.has_failed()));
            }
            Attempted::Failed(Some((address, error))) if error.kind() != ErrorKind::TimedOut => {
                return Err(DialError::Connect(address, error));
            }
            Attempted::Failed(_) => return Err(DialError::TimedOut),
            Attempted::Waiting => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DialError::TimedOut);
        }
        let due_ms = attempts.due_ms().map(|due| due.saturating_sub(now_ms));
        let wait = due_ms.map_or(left, |due| left.min(Duration::from_millis(due)));
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(DialError::Poll(error));
            }
            _ => {}
        }
    }
}
