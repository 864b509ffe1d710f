//! TLS below the protocol: what a client offers, which certificate a server
//! shows, which one a client trusts. Without the feature `tls` there is none.

#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::crypto::CryptoProvider;

#[cfg(feature = "tls")]
mod cursor;
#[cfg(feature = "tls")]
mod suite;
#[cfg(feature = "tls")]
mod hello;
#[cfg(feature = "tls")]
mod read;
#[cfg(feature = "tls")]
mod inspect;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "legacy-tls")]
mod legacy;
#[cfg(feature = "tls")]
mod server;
#[cfg(feature = "tls")]
mod trust;
#[cfg(feature = "tls")]
mod explained;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod fault;
#[cfg(feature = "tls")]
mod carrier;
#[cfg(feature = "tls")]
mod stream;
#[cfg(all(test, feature = "tls"))]
mod tests;
#[cfg(not(feature = "tls"))]
mod none;

#[cfg(feature = "tls")]
pub use self::certificate::{CertificateFiles, TlsFileError};
#[cfg(feature = "tls")]
pub use self::client::{ClientTls, ClientTlsError, ClientTlsOptions};
#[cfg(feature = "tls")]
pub use self::explained::CertificateProblem;
#[cfg(feature = "tls")]
pub use self::fault::TlsFault;
#[cfg(feature = "tls")]
pub use self::hello::{ClientHello, ServedBy, TlsVersion};
#[cfg(feature = "legacy-tls")]
pub use self::legacy::LegacyError;
#[cfg(feature = "legacy-tls")]
pub(super) use self::legacy::ask;
#[cfg(not(feature = "tls"))]
pub(super) use self::none::Tls;
#[cfg(not(feature = "tls"))]
pub use self::none::{ClientTls, ClientTlsError, ServerTls, TlsFault};
#[cfg(feature = "tls")]
pub use self::read::NotAHello;
#[cfg(feature = "tls")]
pub use self::server::{ServerCertificate, ServerTls};
#[cfg(feature = "tls")]
pub(super) use self::stream::Tls;
#[cfg(feature = "tls")]
pub use self::suite::{ServerKey, Suite};

/// The protocol that is agreed on inside TLS (RFC 7301): WebSocket starts as
/// HTTP/1.1.
#[cfg(feature = "tls")]
const HTTP_1_1: &[u8] = b"http/1.1";

/// The cryptography. It is named each time, so that no other crate of a process
/// decides it.
#[cfg(feature = "tls")]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
