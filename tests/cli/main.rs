//! The program, as people and scripts use it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod listening;
mod pages;
mod program;
mod results;
mod versions;
