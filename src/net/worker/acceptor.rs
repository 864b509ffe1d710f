//! Listeners: bound once for each worker, accepted in batches.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::net::address::PeerAddress;
use crate::net::keepalive::Keepalive;
use crate::net::listen::{Listen, ListenAt, Takes};
use crate::net::proxy::ClientAddress;
use crate::net::transport::{Transport, is_exhausted};
use crate::net::unix::{self, SocketFile};

/// Connections that may wait to be accepted; the system caps it.
const BACKLOG: i32 = 4096;
/// Connections accepted from one listener in one turn of the loop.
const BATCH: usize = 64;
/// Retry of an accept that failed for want of descriptors, in milliseconds.
const RETRY_MS: u64 = 100;

/// The listeners of one worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    /// A connection may be waiting.
    waiting: bool,
    /// When an accept that failed is tried again.
    retry_ms: Option<u64>,
}

#[derive(Debug)]
struct Listener {
    socket: ListenSocket,
    takes: Takes,
}

#[derive(Debug)]
enum ListenSocket {
    /// Bound to this address.
    Tcp(TcpListener, SocketAddr),
    /// With its file, unless its name is abstract. The file goes first: as long as
    /// the socket is bound no other file has its number.
    Unix {
        _file: Option<SocketFile>,
        socket: UnixListener,
    },
}

/// What an accept gave.
#[derive(Debug)]
pub(super) enum Accepted {
    Connection(Transport, ClientAddress, Takes),
    /// The system has no descriptors or memory to spare.
    Exhausted(io::Error),
}

/// How far a turn's accepts have come.
#[derive(Debug, Default)]
pub(super) struct Round {
    listener: usize,
    accepted: usize,
}

impl Acceptor {
    /// Binds these places, for one worker of several, and writes the real
    /// ports back. The listeners get the tokens from `first` on.
    ///
    /// A Unix socket has one queue, whatever number of listeners there are, and each
    /// connection would wake all of them. So the first worker alone has it, and hands
    /// over what the others should have.
    ///
    /// # Errors
    ///
    /// The first that cannot be bound, and why.
    pub(super) fn bind(
        places: &mut [Listen],
        registry: &Registry,
        first: usize,
        has_unix: bool,
    ) -> Result<Acceptor, (ListenAt, io::Error)> {
        let mut listeners: Vec<Listener> = Vec::new();
        for place in places {
            let token = Token(first + listeners.len());
            let bound = match &place.at {
                ListenAt::Tcp(address) => ListenSocket::bind_tcp(*address, registry, token),
                ListenAt::Unix { .. } if !has_unix => continue,
                ListenAt::Unix { path, mode } => {
                    ListenSocket::bind_unix(path, *mode, registry, token)
                }
            };
            let socket = bound.map_err(|error| (place.at.clone(), error))?;
            if let ListenSocket::Tcp(_, address) = &socket {
                place.at = ListenAt::Tcp(*address);
            }
            listeners.push(Listener {
                socket,
                takes: place.takes,
            });
        }
        Ok(Acceptor {
            listeners,
            waiting: true,
            retry_ms: None,
        })
    }

    /// How many tokens it has.
    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// An event reports that a connection waits.
    pub(super) fn set_waiting(&mut self) {
        self.waiting = true;
    }

    /// Whether another round would accept more at once.
    #[inline]
    pub(super) fn has_more(&self, now_ms: u64) -> bool {
        self.waiting && self.retry_ms.is_none_or(|at| at <= now_ms)
    }

    /// A descriptor is free again.
    pub(super) fn retry_soon(&mut self, now_ms: u64) {
        if self.retry_ms.is_some() {
            self.retry_ms = Some(now_ms);
        }
    }

    /// Milliseconds until connections are accepted, if that is not left to an
    /// event.
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        match self.retry_ms {
            Some(at) => Some(at.saturating_sub(now_ms).max(1)),
            None => self.waiting.then_some(0),
        }
    }

    /// Starts to accept, if it is time.
    pub(super) fn start_round(&mut self, now_ms: u64) -> Option<Round> {
        if !self.waiting || self.retry_ms.is_some_and(|at| at > now_ms) {
            return None;
        }
        self.retry_ms = None;
        self.waiting = false;
        Some(Round::default())
    }

    /// Accepts the next connection of this round. Events are edge-triggered:
    /// whatever the error, connections may still wait in the queue, and no further
    /// event will report them.
    pub(super) fn next(&mut self, round: &mut Round, now_ms: u64) -> Option<Accepted> {
        loop {
            let listener = self.listeners.get(round.listener)?;
            if round.accepted == BATCH {
                self.waiting = true;
            } else {
                match listener.socket.accept() {
                    Ok((transport, client)) => {
                        round.accepted += 1;
                        return Some(Accepted::Connection(transport, client, listener.takes));
                    }
                    Err(error) => match Fault::of(&error) {
                        Fault::Gone => {
                            round.accepted += 1;
                            continue;
                        }
                        Fault::Empty => {}
                        Fault::Exhausted => {
                            round.listener += 1;
                            round.accepted = 0;
                            self.waiting = true;
                            self.retry_ms = Some(now_ms + RETRY_MS);
                            return Some(Accepted::Exhausted(error));
                        }
                        Fault::Broken => log::error!("a listener is broken: {error}"),
                    },
                }
            }
            round.listener += 1;
            round.accepted = 0;
        }
    }

    /// Sets the TCP keepalive of the connections that are accepted from now on.
    pub(super) fn set_keepalive(&self, keepalive: Option<Keepalive>) {
        for listener in &self.listeners {
            let ListenSocket::Tcp(socket, _) = &listener.socket else {
                continue;
            };
            let socket = SockRef::from(socket);
            if let Err(error) = Keepalive::set(keepalive, socket) {
                log::debug!(target: "heirloom::net", "TCP keepalive: {error}");
            }
        }
    }

    /// Stops listening.
    pub(super) fn close(&mut self, registry: &Registry) {
        self.waiting = false;
        self.retry_ms = None;
        for mut listener in std::mem::take(&mut self.listeners) {
            let deregistered = match &mut listener.socket {
                ListenSocket::Tcp(socket, _) => registry.deregister(socket),
                ListenSocket::Unix { socket, .. } => registry.deregister(socket),
            };
            if let Err(error) = deregistered {
                log::debug!("cannot stop watching a listener: {error}");
            }
        }
    }
}

impl ListenSocket {
    /// Binds; several workers may bind the same address.
    fn bind_tcp(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<ListenSocket> {
        let socket = socket(address)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        // Connections inherit both, those too that come before the settings are
        // known.
        socket.set_tcp_nodelay(true)?;
        Keepalive::set(Some(Keepalive::default()), SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut socket = TcpListener::from_std(socket.into());
        let address = socket.local_addr()?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(ListenSocket::Tcp(socket, address))
    }

    fn bind_unix(
        path: &Path,
        mode: u32,
        registry: &Registry,
        token: Token,
    ) -> io::Result<ListenSocket> {
        let (socket, file) = unix::listen(path, mode, BACKLOG)?;
        let mut socket = UnixListener::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(ListenSocket::Unix {
            _file: file,
            socket,
        })
    }

    fn accept(&self) -> io::Result<(Transport, ClientAddress)> {
        let (socket, address) = match self {
            ListenSocket::Tcp(socket, address) => (socket, address),
            ListenSocket::Unix { socket, .. } => {
                let transport = Transport::accept_unix(socket)?;
                return Ok((transport, PeerAddress::Unix.into()));
            }
        };
        let (transport, peer) = Transport::accept(socket)?;
        let mut client = ClientAddress::from(peer);
        // As far as it is known at no cost: one listener may stand for many
        // addresses.
        client.destination = if address.ip().is_unspecified() {
            transport.local_address().ok()
        } else {
            Some(*address)
        };
        Ok((transport, client))
    }
}

/// What an accept that failed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No connection waits.
    Empty,
    /// This connection is gone already; others may wait.
    Gone,
    /// The system has no descriptors or memory to spare.
    Exhausted,
    /// The listener itself is broken.
    Broken,
}

impl Fault {
    fn of(error: &io::Error) -> Fault {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::WouldBlock, _) => Fault::Empty,
            (ErrorKind::InvalidInput, _) => Fault::Broken,
            _ if is_exhausted(error) => Fault::Exhausted,
            (_, Some(libc::EBADF | libc::ENOTSOCK)) => Fault::Broken,
            _ => Fault::Gone,
        }
    }
}

/// Checks that nothing listens there: `SO_REUSEPORT` would let two servers of
/// one user share a port, and each would get half of the clients.
pub(in crate::net) fn check_free(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Or a restart waits for the last run's connections to time out.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    Ok(socket)
}
