//! The addresses of the two ends of a connection: of TCP, or of a Unix socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The address of a client: of TCP, or that it came by a Unix socket, where a
/// client has no address.
///
/// ```
/// use heirloom::net::PeerAddress;
///
/// // As nginx writes it.
/// assert_eq!(PeerAddress::Unix.to_string(), "unix:");
/// assert_eq!(PeerAddress::Unix.ip(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An address of TCP, or one that a proxy named.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix,
}

impl PeerAddress {
    /// Its IP address, where it has one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            PeerAddress::Tcp(address) => Some(address.ip()),
            PeerAddress::Unix => None,
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> PeerAddress {
        PeerAddress::Tcp(address)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Tcp(address) => address.fmt(f),
            PeerAddress::Unix => f.write_str("unix:"),
        }
    }
}

/// An address of a server that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a Unix socket; with `@` in front the name of an abstract one.
    Unix(Arc<Path>),
}

impl ServerAddress {
    /// Whether it is an address of IPv4.
    pub(super) fn is_ipv4(&self) -> bool {
        matches!(self, ServerAddress::Tcp(address) if address.is_ipv4())
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> ServerAddress {
        ServerAddress::Tcp(address)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Tcp(address) => address.fmt(f),
            ServerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
