//! TLS: the files it is set up with, and each mistake that people make with them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod files;
