//! Every WebSocket version that ever went over a wire, hixie-75 to RFC 6455.
//!
//! The map, from the ground up; a file imports only from floors below it:
//!
//! - [`version`]: the table of versions.
//! - [`error`], [`trace`]: what goes wrong, and at which end; how a parse is
//!   watched.
//! - [`extension`]: compression, and how it is negotiated.
//! - [`bytes`]: the cursor over received octets; where output goes.
//! - [`handshake`], [`frame`]: octets to agreement, octets to frames, and
//!   back.
//! - [`message`]: frames to messages and back.
//! - [`conn`]: one connection without a socket, clock or randomness.
//! - `vector`, `explain`, `net`: recorded conversations; a watched parse,
//!   explained to a person; the loop, the only code that touches a socket. Each
//!   is a feature.
//! - `conform`: cases that a server or a client under test must pass. It is a
//!   feature.
//!
//! On a socket, `client::connect` and `server::accept` give a WebSocket that
//! reads, sends and closes, over TCP or any other stream, and `net::Server` serves
//! many connections on a few threads. Without a socket, a server takes ten lines:
//!
//! ```
//! use std::sync::Arc;
//! use heirloom::conn::{Conn, Session, SessionEvent};
//! use heirloom::{Config, Output};
//!
//! let request = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\n\
//!     Upgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//!     Sec-WebSocket-Version: 13\r\n\r\n";
//! let mut session = Session::new(Conn::server(Arc::new(Config::default())));
//! session.receive(request);
//! // A server draws random octets only for hybi-04, which is off here. A real
//! // one takes `heirloom::SystemRandom`.
//! let mut random = |_: &mut [u8]| unreachable!();
//! let mut sent = Vec::new();
//! let mut out = Output::new(&mut sent, &mut random);
//! while let Some((event, conn)) = session.next(&mut out)? {
//!     if let SessionEvent::Request(request) = event {
//!         assert_eq!(request.version().map(|v| v.name), Some("rfc6455"));
//!         conn.accept(None, &mut out)?;
//!     }
//! }
//! assert!(sent.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(any(feature = "net", feature = "explain"))]
pub mod agent;
pub mod bytes;
#[cfg(feature = "conform")]
pub mod conform;
pub mod conn;
pub mod error;
#[cfg(feature = "explain")]
pub mod explain;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod message;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "random")]
mod random;
pub mod trace;
#[cfg(feature = "vector")]
pub mod vector;
pub mod version;

pub use bytes::{Input, Output};
pub use conn::{Config, Conn, Event, Limits, Session, SessionEvent};
pub use message::{Kind, Message};
#[cfg(feature = "net")]
pub use net::{Error, accept as server, client};
#[cfg(feature = "random")]
pub use random::SystemRandom;
pub use version::{Side, VERSIONS, Version, Versions};
