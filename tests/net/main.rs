//! Servers and clients on real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod foreign;
mod mixed;
mod tls;
mod unix;
mod unix_ends;
