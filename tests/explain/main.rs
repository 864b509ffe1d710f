//! The explanation: every octet named, the cause found, whatever was pasted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod causes;
mod compression;
mod foreign;
#[cfg(feature = "cli")]
mod input;
mod octets;
mod offers;
#[cfg(feature = "cli")]
mod reports;
