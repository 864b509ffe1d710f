//! Cases of conformance: what is in the files, how they are played, and that each
//! of them can fail.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod cases;
mod faulty;
mod hostile;
mod mutation;
mod played;
