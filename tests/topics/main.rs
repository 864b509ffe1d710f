//! Topics over several processes: the built program and a real Redis.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod away;
mod fake;
mod rooms;
mod trust;
