//! A bridge in memory: a client of any version, our two ends, a backend of any
//! version. What one says the other hears, and how a goodbye or a loss is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/memory.rs"]
mod memory;

mod base64;
mod bridge;
mod closing;
mod control;
mod half;
mod messages;
mod node;
mod wire;
