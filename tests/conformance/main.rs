//! `heirloom conform`, as people and scripts use it: servers and clients under test
//! that misbehave, and those that do not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod clients;
mod exec;
mod hostile;
mod servers;
mod usage;
