//! What is fuzzed: each file makes choices of the octets that a fuzzer gives, and
//! panics where what must hold does not. `fuzz/` runs them on octets that reach new
//! code, `tests/core/seeds.rs` on the octets that are kept in `fuzz/seeds/`.

mod choices;
pub(crate) mod deflater;
pub(crate) mod extension_header;
pub(crate) mod frames;
pub(crate) mod inflating_receiver;
