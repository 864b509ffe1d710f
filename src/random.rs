//! The system's source of random octets.

use crate::bytes::Random;

/// The system's source of random octets. They cannot be guessed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    ///
    /// Where the system has no random octets to give: a mask that can be guessed
    /// must never be sent.
    fn fill(&mut self, octets: &mut [u8]) {
        if let Err(error) = getrandom::fill(octets) {
            panic!("the system gives no random octets: {error}");
        }
    }
}
