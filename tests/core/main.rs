//! The core in memory: two ends of every version, joined or bridged, whatever
//! the portions in which octets arrive.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/deflating.rs"]
mod deflating;
#[path = "../support/feeding.rs"]
mod feeding;
#[path = "../support/fuzzed/mod.rs"]
mod fuzzed;
#[path = "../support/memory.rs"]
mod memory;

mod bridge;
mod closing;
mod compressed;
mod deflate;
mod extension;
mod extension_handshake;
mod pair;
mod seeds;
mod splits;
