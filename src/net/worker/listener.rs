//! Listeners: bound once for each worker, accepted in batches.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; the system caps it.
const BACKLOG: i32 = 4096;

/// Binds; several workers may bind the same address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    // Connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Checks that nobody listens there: `SO_REUSEPORT` would let two servers of one
/// user share a port and each get half of its clients.
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

/// What came of one accept.
pub(super) enum Accepted {
    Stream(TcpStream, SocketAddr),
    /// Nobody waits.
    Empty,
    /// This one is gone already; ask again.
    Again,
    /// The system has no descriptors or memory to spare.
    Exhausted(io::Error),
    /// The listener itself is broken.
    Broken(io::Error),
}

/// Accepts one connection. mio's listeners are edge-triggered: whatever the
/// error, the queue is still there and nobody will say so again.
pub(super) fn accept(listener: &TcpListener) -> Accepted {
    match listener.accept() {
        Ok((stream, peer)) => Accepted::Stream(stream, peer),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Accepted::Empty,
            ErrorKind::InvalidInput => Accepted::Broken(error),
            _ => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    Accepted::Exhausted(error)
                }
                Some(libc::EBADF | libc::ENOTSOCK) => Accepted::Broken(error),
                _ => Accepted::Again,
            },
        },
    }
}
