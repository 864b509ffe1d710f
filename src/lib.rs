//! Every WebSocket version that ever went over a wire, hixie-75 to RFC 6455.
//!
//! The map, from the ground up; a file imports only from floors below it:
//!
//! - [`bytes`], [`version`]: the cursor over received octets; the table of
//!   versions.
//! - [`error`], [`trace`]: what goes wrong and whose fault it is; how a parse
//!   is watched.
//! - [`handshake`], [`frame`]: octets to agreement, octets to frames, and
//!   back.
//! - [`conn`], [`message`]: one connection without a socket; pieces into whole
//!   messages.
//! - [`vector`], [`explain`], [`net`]: recorded conversations; a watched parse,
//!   told to a person; the loop, the only code that touches a socket.
//!
//! A server in ten lines, without a socket:
//!
//! ```
//! use std::sync::Arc;
//! use heirloom::bytes::{Input, Output};
//! use heirloom::conn::{Config, Conn, Event};
//!
//! let mut request = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\n\
//!     Upgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//!     Sec-WebSocket-Version: 13\r\n\r\n".to_vec();
//! let (mut sent, mut random) = (Vec::new(), |_: &mut [u8]| {});
//! let mut out = Output::new(&mut sent, &mut random);
//! let mut conn = Conn::server(Arc::new(Config::default()));
//! let mut input = Input::new(&mut request);
//! if let Some(Event::Request(request)) = conn.next(&mut input, &mut out)? {
//!     assert_eq!(request.version().map(|v| v.name), Some("rfc6455"));
//!     conn.accept(None, &mut out)?;
//! }
//! assert!(sent.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod agent;
pub mod bytes;
pub mod conn;
pub mod error;
pub mod explain;
pub mod frame;
pub mod handshake;
pub mod message;
#[cfg(feature = "net")]
pub mod net;
pub mod trace;
pub mod vector;
pub mod version;

pub use bytes::{Input, Output};
pub use conn::{Config, Conn, Event, Limits};
pub use frame::{Kind, Message};
pub use version::{Side, VERSIONS, Version, Versions};
