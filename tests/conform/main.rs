//! Cases of conformance: what is in the files, and that each of them can fail.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod cases;
