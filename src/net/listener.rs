//! A listener of one worker: it is bound, and connections are accepted from it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::address::PeerAddress;
use super::keepalive::{Keepalive, set_user_timeout};
use super::listen::{Listen, ListenAt, ListenPolicy, Takes};
use super::passed::Duplicate;
use super::proxy::ClientAddress;
use super::transport::{Transport, is_exhausted};
use super::unix::{self, SocketFile};

/// Connections that may wait to be accepted; the system caps it.
const BACKLOG: i32 = 4096;

/// A listener that is bound, for one worker.
#[derive(Debug)]
pub(super) struct Listener {
    /// With the real port.
    at: ListenAt,
    pub(super) takes: Takes,
    pub(super) policy: Arc<ListenPolicy>,
    socket: ListenSocket,
    /// Goes behind the socket.
    _open: Open,
}

/// What each listener of a place has as long as it is open.
#[derive(Clone, Debug)]
pub(super) struct Open {
    _sender: Sender<()>,
}

/// Finds out when all listeners of a place are closed.
#[derive(Debug)]
pub(super) struct Closed(Mutex<Receiver<()>>);

impl Closed {
    /// What the listeners of a place have, and what finds out that none has it any
    /// more.
    pub(super) fn new() -> (Open, Arc<Closed>) {
        let (sender, receiver) = channel();
        let closed = Arc::new(Closed(Mutex::new(receiver)));
        (Open { _sender: sender }, closed)
    }

    /// Waits until it is closed, at most this long. Gives whether it is.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv_timeout(at_most) == Err(RecvTimeoutError::Disconnected)
    }
}

#[derive(Debug)]
enum ListenSocket {
    /// Bound to this address.
    Tcp(TcpListener, SocketAddr),
    /// With its file, unless its name is abstract or it was passed. The file goes
    /// first: as long as the socket is bound no other file has its number.
    Unix {
        _file: Option<SocketFile>,
        socket: UnixListener,
    },
}

impl Listener {
    /// Binds it; several workers may bind the same address of TCP.
    ///
    /// # Errors
    ///
    /// Why it cannot be bound.
    pub(super) fn bind(listen: &Listen, open: Open) -> io::Result<Listener> {
        let (mut at, mut file) = (listen.at.clone(), None);
        let socket = match &listen.at {
            ListenAt::Tcp(address) => {
                let (socket, address) = bind_tcp(*address)?;
                at = ListenAt::Tcp(address);
                Duplicate::Tcp(socket, address)
            }
            ListenAt::Unix { path, mode } => {
                let (socket, its) = unix::listen(path, *mode, BACKLOG)?;
                file = its;
                Duplicate::Unix(socket)
            }
            ListenAt::Passed(passed) => passed.duplicate()?,
        };
        Ok(Listener {
            at,
            takes: listen.takes,
            policy: Arc::clone(&listen.policy),
            _open: open,
            socket: match socket {
                Duplicate::Tcp(socket, address) => {
                    // Connections inherit both, those too that come before the
                    // settings are known.
                    SockRef::from(&socket).set_tcp_nodelay(true)?;
                    Keepalive::set(Some(Keepalive::default()), SockRef::from(&socket))?;
                    ListenSocket::Tcp(TcpListener::from_std(socket), address)
                }
                Duplicate::Unix(socket) => ListenSocket::Unix {
                    _file: file,
                    socket: UnixListener::from_std(socket),
                },
            },
        })
    }

    /// Where it is, with its real port.
    pub(super) fn at(&self) -> &ListenAt {
        &self.at
    }

    /// Has a poll watch it.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            ListenSocket::Tcp(socket, _) => registry.register(socket, token, Interest::READABLE),
            ListenSocket::Unix { socket, .. } => {
                registry.register(socket, token, Interest::READABLE)
            }
        }
    }

    /// Has the poll not watch it any more.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.socket {
            ListenSocket::Tcp(socket, _) => registry.deregister(socket),
            ListenSocket::Unix { socket, .. } => registry.deregister(socket),
        }
    }

    /// Sets the TCP keepalive of the connections that are accepted from now on, and
    /// for how many milliseconds they wait for an acknowledgement.
    pub(super) fn set_keepalive(&self, keepalive: Option<Keepalive>, user_timeout_ms: Option<u64>) {
        let ListenSocket::Tcp(socket, _) = &self.socket else {
            return;
        };
        if let Err(error) = Keepalive::set(keepalive, SockRef::from(socket)) {
            log::debug!(target: "heirloom::net", "TCP keepalive: {error}");
        }
        // The system gives it to those that it accepts.
        let set = |ms| set_user_timeout(SockRef::from(socket), ms);
        if let Some(Err(error)) = user_timeout_ms.map(set) {
            log::debug!(target: "heirloom::net", "TCP_USER_TIMEOUT: {error}");
        }
    }

    pub(super) fn accept(&self) -> io::Result<(Transport, ClientAddress)> {
        let (socket, address) = match &self.socket {
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

fn bind_tcp(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let socket = socket(address)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = std::net::TcpListener::from(socket);
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// What an accept that failed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
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
    pub(super) fn of(error: &io::Error) -> Fault {
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
pub(super) fn check_free(address: SocketAddr) -> io::Result<()> {
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
