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

mod asked;
mod closing;
mod ends;
mod gate;
mod liars;
mod messages;
mod order;
mod pressure;
