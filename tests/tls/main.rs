//! TLS: the files it is set up with, each mistake that people make with them, and
//! what clients offer first.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod behind;
mod files;
mod flash;
mod hellos;
mod hostile;
mod legacy;
mod secure;
mod served;

use self::hellos::of as hello;
