//! Vectors: the core is held to every one, and every tool that reads or writes
//! them gives them back as they are.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[cfg(feature = "cli")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "cli")]
mod check;
#[cfg(feature = "cli")]
mod compressed;
#[cfg(feature = "cli")]
mod import;
#[cfg(feature = "cli")]
mod record;
#[cfg(feature = "cli")]
mod replay;
mod vectors;
