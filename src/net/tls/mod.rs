//! TLS below the protocol: what a client offers, which certificate a server
//! shows, which one a client trusts.

mod cursor;
mod suite;
mod hello;
mod read;
mod certificate;
mod server;
mod client;

pub use self::hello::{ClientHello, ServedBy, TlsVersion};
pub use self::read::NotAHello;
pub use self::suite::{ServerKey, Suite};
