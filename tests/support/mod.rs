//! What tests with sockets share: a server in a thread, peers that write their
//! octets by hand, the program. Every wait has an end.

// Each test file uses a part of it.
#![allow(dead_code)]

pub(crate) mod backend;
pub(crate) mod certificate;
pub(crate) mod failing_app;
pub(crate) mod folder;
pub(crate) mod metrics;
pub(crate) mod peer;
#[cfg(feature = "cli")]
pub(crate) mod program;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod sockets;
#[cfg(feature = "tls")]
pub(crate) mod tls_host;

use std::time::Duration;

/// What takes longer in these tests has failed, on a busy machine too. It is less than
/// the time that a server gives a client that does not read, or that it drains.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
