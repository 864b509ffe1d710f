//! What applies to a connection: limits, versions, origins.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::head::Head;
use super::host::Hosts;
use super::origin::Origins;
use crate::error::Refusal;
use crate::extension::{Compression, ContextMemory, Deflater, HeldContexts, Inflater, Mode};
use crate::version::Versions;

/// How many octets and headers a connection may send. Every number is finite;
/// what exceeds it is refused, never cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of the head of a request or response.
    pub head_bytes: u32,
    /// Headers of a head; at most 128.
    pub headers: u16,
    /// Octets of a message, over all its fragments.
    pub message_bytes: u64,
}

impl Default for Limits {
    /// 16 KiB of head with 100 headers, 16 MiB of message.
    fn default() -> Limits {
        Limits {
            head_bytes: 16 * 1024,
            headers: 100,
            message_bytes: 16 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Sets the maximum length of a head.
    #[must_use]
    pub fn with_head_bytes(mut self, octets: u32) -> Limits {
        self.head_bytes = octets;
        self
    }

    /// Sets the maximum number of headers of a head, at most 128.
    #[must_use]
    pub fn with_headers(mut self, headers: u16) -> Limits {
        self.headers = headers;
        self
    }

    /// Sets the maximum length of a message.
    #[must_use]
    pub fn with_message_bytes(mut self, octets: u64) -> Limits {
        self.message_bytes = octets;
        self
    }
}

/// What connections share: limits and policy.
///
/// ```
/// use heirloom::{Config, Versions};
/// let config = Config::default()
///     .with_versions(Versions::ALL)
///     .with_public_url("wss://example.com");
/// assert_eq!(config.versions, Versions::ALL);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// How many octets and headers a connection may send.
    pub limits: Limits,
    /// The versions that a server has on.
    pub versions: Versions,
    /// The pages that may connect to a server.
    pub origins: Origins,
    /// The hosts that a server answers to.
    pub hosts: Hosts,
    /// How messages are compressed, where the peer agrees. Off by default.
    pub compression: Compression,
    /// What connections that keep contexts may hold together. Where it is used up,
    /// new ones compress as with [`Mode::Shared`].
    pub context_memory: ContextMemory,
    /// The URL that clients dialled, such as `wss://example.com`, where it is
    /// not `ws://` and the Host they sent. hixie clients compare it.
    pub public_url: Option<String>,
    /// Names of headers of requests that are only carried: their values may hold
    /// any octet but CR, LF and NUL (RFC 9110 section 5.5). Those of cookies and
    /// credentials always may.
    pub opaque_headers: Vec<String>,
    /// Where other requests have other configurations.
    pub routes: Option<Arc<dyn Routes>>,
    /// A sentence that is added to the text of a refusal, such as which option
    /// of a program turns a version on.
    pub hint: Option<fn(Refusal) -> Option<String>>,
}

/// Octets of the contexts of one connection: a compressor with the largest window,
/// and a decompressor.
const CONTEXTS: usize = Deflater::OCTETS + Inflater::OCTETS;

impl Config {
    /// With these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// With further headers whose values are only carried.
    #[must_use]
    pub fn with_opaque_headers(mut self, names: Vec<String>) -> Config {
        self.opaque_headers = names;
        self
    }

    /// With these versions on.
    #[must_use]
    pub fn with_versions(mut self, versions: Versions) -> Config {
        self.versions = versions;
        self
    }

    /// For pages of these origins.
    #[must_use]
    pub fn with_origins(mut self, origins: Origins) -> Config {
        self.origins = origins;
        self
    }

    /// For requests to these hosts.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Hosts) -> Config {
        self.hosts = hosts;
        self
    }

    /// With this compression.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Config {
        self.compression = compression;
        self
    }

    /// With this memory for contexts of compression, which other configurations
    /// may share.
    #[must_use]
    pub fn with_context_memory(mut self, memory: ContextMemory) -> Config {
        self.context_memory = memory;
        self
    }

    /// How a new connection may compress, and the memory for its contexts.
    pub(crate) fn new_compression(&self) -> (Compression, Option<HeldContexts>) {
        if self.compression.mode != Mode::PerConnection {
            return (self.compression, None);
        }
        match self.context_memory.take(CONTEXTS) {
            Some(held) => (self.compression, Some(held)),
            None => (self.compression.with_mode(Mode::Shared), None),
        }
    }

    /// Whether its clients use TLS, by the URL that they dial.
    #[must_use]
    pub(crate) fn is_secure(&self) -> bool {
        let url = self.public_url.as_ref();
        url.is_some_and(|url| url.starts_with("wss://"))
    }

    /// For clients that dialled this scheme and authority.
    #[must_use]
    pub fn with_public_url(mut self, url: impl Into<String>) -> Config {
        self.public_url = Some(url.into());
        self
    }

    /// With other configurations for the requests that these routes know.
    #[must_use]
    pub fn with_routes(mut self, routes: Arc<dyn Routes>) -> Config {
        self.routes = Some(routes);
        self
    }

    /// With this hint added to refusals.
    #[must_use]
    pub fn with_hint(mut self, hint: fn(Refusal) -> Option<String>) -> Config {
        self.hint = Some(hint);
        self
    }
}

/// Finds the configuration for a request, by its host and path.
pub trait Routes: fmt::Debug + Send + Sync {
    /// What applies to this request, before its version is known. With `None`
    /// what applied to the connection so far goes on to apply.
    fn config_for(&self, head: &Head<'_>) -> Option<Arc<Config>>;
}
