//! The loop, on real sockets: whatever a peer does, it gets what is its own, and
//! no other peer notices.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod compression;
mod explanations;
mod failing;
mod handshakes;
mod liveness;
mod memory;
mod messages;
#[cfg(feature = "cli")]
mod origins;
mod pages;
#[cfg(feature = "cli")]
mod program;
mod refusals;
mod slow_peers;
mod stopping;
mod summaries;
mod topics;
mod portions;
mod turns;
mod workers;

use std::time::Duration;

use support::peer::{KEY3, Speaks, request};

const HIXIE_76: Speaks = Speaks::Hixie76;

/// A request of hixie-76 without its eight octets.
fn head_of_76() -> Vec<u8> {
    let whole = request(HIXIE_76, "/");
    whole[..whole.len() - KEY3.len()].to_vec()
}

fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}
