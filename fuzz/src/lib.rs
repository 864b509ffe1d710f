//! The targets, which the tests of the core run too.

#[path = "../../tests/support/deflating.rs"]
mod deflating;
#[path = "../../tests/support/feeding.rs"]
mod feeding;
#[path = "../../tests/support/fuzzed/mod.rs"]
mod fuzzed;
#[path = "../../tests/support/memory.rs"]
mod memory;

/// A connection that agreed on compression and receives these octets.
pub fn inflating_receiver(octets: &[u8]) {
    fuzzed::inflating_receiver::run(octets);
}

/// Offers and answers of extensions.
pub fn extension_header(octets: &[u8]) {
    fuzzed::extension_header::run(octets);
}

/// The frames, and the handshake, of any version.
pub fn frames(octets: &[u8]) {
    fuzzed::frames::run(octets);
}

/// Messages to DEFLATE and back.
pub fn deflater(octets: &[u8]) {
    fuzzed::deflater::run(octets);
}
