//! TLS below the protocol: what a client offers, which certificate a server
//! shows, which one a client trusts.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

mod cursor;
mod suite;
mod hello;
mod read;

mod inspect;
mod certificate;

#[cfg(feature = "legacy-tls")]
mod legacy;

mod server;

mod trust;

mod explained;

mod client;

mod fault;

mod stream;

mod tests;

pub use self::certificate::{CertificateFiles, TlsFileError};
pub use self::client::{ClientTls, ClientTlsError, ClientTlsOptions};
pub use self::explained::CertificateProblem;
pub use self::fault::TlsFault;
pub use self::hello::{ClientHello, ServedBy, TlsVersion};
#[cfg(feature = "legacy-tls")]
pub use self::legacy::LegacyError;
pub use self::read::NotAHello;
pub use self::server::{ServerCertificate, ServerTls};
pub(super) use self::stream::Tls;
pub use self::suite::{ServerKey, Suite};

/// The protocol that is agreed on inside TLS (RFC 7301): WebSocket starts as
/// HTTP/1.1.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The cryptography. It is named each time, so that no other crate of a process
/// decides it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
