//! TLS below the protocol: what a client offers, which certificate a server
//! shows, which one a client trusts.

mod hello;
mod certificate;
mod server;
mod client;
mod stream;

pub use server::ServerTls;
pub use stream::TlsFault;
pub(super) use stream::Tls;
