//! Where a server listens, what it takes there, and how it treats what comes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::flash::FlashPolicy;
use super::networks::Networks;
use super::passed::Passed;
use super::tls::ServerTls;

/// Where a server listens, what it takes there, and how it treats what comes.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where.
    pub at: ListenAt,
    /// What may come there.
    pub takes: Takes,
    /// How connections are treated before their request is there. A connection
    /// keeps what was in force when it was accepted.
    pub policy: Arc<ListenPolicy>,
}

/// How the connections of a listener are treated before their request is there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenPolicy {
    /// The certificates that are shown, where TLS is spoken.
    pub tls: Option<ServerTls>,
    /// The peers whose connections start with a PROXY header, which is believed;
    /// other peers must send none.
    pub proxies: Networks,
    /// What Flash players are answered, where they are.
    pub flash: Option<FlashPolicy>,
}

impl ListenPolicy {
    /// With these certificates, or without TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: impl Into<Option<ServerTls>>) -> ListenPolicy {
        self.tls = tls.into();
        self
    }

    /// Requires a PROXY header on connections from these networks, and believes
    /// it; refuses one on all other connections.
    #[must_use]
    pub fn accept_proxy(mut self, networks: Networks) -> ListenPolicy {
        self.proxies = networks;
        self
    }

    /// Answers Flash players with this policy, or not at all.
    #[must_use]
    pub fn with_flash_policy(mut self, policy: impl Into<Option<FlashPolicy>>) -> ListenPolicy {
        self.flash = policy.into();
        self
    }

    /// Whether a connection needs any of this behind a PROXY header.
    pub(super) fn is_needed_by_preface(&self) -> bool {
        self.tls.is_some() || self.flash.is_some()
    }
}

impl Listen {
    /// A listener with the default policy: no TLS, no PROXY headers, and no answer
    /// to Flash players.
    #[must_use]
    pub fn new(at: ListenAt, takes: Takes) -> Listen {
        Listen {
            at,
            takes,
            policy: Arc::default(),
        }
    }

    /// With this policy.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<Arc<ListenPolicy>>) -> Listen {
        self.policy = policy.into();
        self
    }
}

/// The place of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// A socket that another program has bound.
    Passed(Passed),
}

impl ListenAt {
    /// Whether two stand for one place: of Unix sockets the path says it.
    pub(super) fn is_same_place(&self, other: &ListenAt) -> bool {
        match (self, other) {
            (ListenAt::Unix { path, .. }, ListenAt::Unix { path: other, .. }) => path == other,
            _ => self == other,
        }
    }

    /// The same place, where it is a Unix socket with the other's permissions.
    pub(super) fn with_mode_of(&self, other: &ListenAt) -> ListenAt {
        match (self, other) {
            (ListenAt::Unix { .. }, ListenAt::Unix { .. }) => other.clone(),
            _ => self.clone(),
        }
    }

    /// The address, where it is one of TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            ListenAt::Tcp(address) => Some(*address),
            ListenAt::Passed(passed) => passed.address(),
            ListenAt::Unix { .. } => None,
        }
    }
}

/// What may come to a listener, by its first octet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// TLS where there is a certificate, and plain connections.
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
        Listen::new(ListenAt::Tcp(address), Takes::default())
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAt::Tcp(address) => address.fmt(f),
            ListenAt::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            ListenAt::Passed(passed) => passed.fmt(f),
        }
    }
}
