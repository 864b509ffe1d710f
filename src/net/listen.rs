//! Where a server listens, and what it takes there.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server listens, and what it takes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub at: ListenAt,
    /// What may come there.
    pub takes: Takes,
}

/// The place of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// An address of TCP; port 0 becomes a free one.
    Tcp(SocketAddr),
    /// A Unix socket, which is made, and removed when the server stops listening.
    Unix {
        /// Its path; with `@` in front an abstract name, of Linux.
        path: PathBuf,
        /// The permissions of its file, such as `0o600`. An abstract name has none.
        mode: u32,
    },
}

/// What may come to a listener, by its first octet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// TLS where the server has a certificate, and plain connections.
    #[default]
    Both,
    /// Plain connections only.
    Plain,
    /// TLS only.
    Tls,
    /// Requests of Flash players for a policy only.
    FlashPolicy,
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen {
            at: ListenAt::Tcp(address),
            takes: Takes::default(),
        }
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAt::Tcp(address) => address.fmt(f),
            ListenAt::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
