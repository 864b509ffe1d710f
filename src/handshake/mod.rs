//! The opening handshake: octets to agreement and back.
//!
//! [`detect`] finds the version from the head of a request alone. Each way of
//! proof has a file of its own with both sides of it: what the server answers
//! and what the client verifies. `server.rs` and `client.rs` are the two ends
//! of the handshake. Whatever is echoed passes one checked writer, `HeadWriter`.

mod origin;
mod octets;
mod name;
mod values;
mod scan;
mod notes;
mod malformed;
mod head;
mod detect;
mod host;
mod policy;
mod ask;
mod write;
mod response;
mod request;
mod challenged;
mod hixie75;
mod hixie76;
mod hybi05;
mod hybi04;
mod server;
mod client;

use crate::extension::{Deflate, HeldContexts};
use crate::version::Version;

pub use ask::ClientRequest;
pub(crate) use client::{ClientEvent, ClientHandshake, Opened, write_request};
#[cfg(feature = "net")]
pub(crate) use detect::is_authority;
pub use detect::{Detected, detect};
pub use head::{Head, Header};
pub use hixie76::number as hixie76_number;
pub use host::{HostPattern, Hosts};
#[cfg(any(feature = "explain", feature = "vector"))]
pub(crate) use hybi05::LENIENT;
pub use hybi05::accept;
pub use origin::Origins;
pub use policy::{Config, Limits, Routes};
pub use request::Request;
pub use response::Response;
pub(crate) use server::{ServerEvent, ServerHandshake};
pub use write::{CarriedHeader, HttpResponse};

/// What an opening handshake agreed on.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) version: &'static Version,
    /// hybi-04: the masking key of the connection.
    pub(crate) masking_key: Option<[u8; 20]>,
    /// How messages are compressed.
    pub(crate) deflate: Option<Deflate>,
    /// The memory for the contexts of compression, where some are kept.
    pub(crate) contexts: Option<HeldContexts>,
}
