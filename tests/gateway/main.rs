//! The gateway on real sockets: clients and backends that speak by hand, and
//! backends that lie.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin;
mod bad_backends;
mod checks;
mod closing;
mod compression;
mod ends;
mod gate;
mod http;
mod liveness;
mod loops;
mod messages;
mod metrics;
mod names;
mod order;
mod pressure;
mod program;
mod requests;
mod several;
mod tls;
