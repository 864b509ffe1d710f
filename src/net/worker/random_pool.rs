//! Random octets, drawn from the system ahead: a call for each mask costs more
//! than the rest of a small message.

use crate::bytes::Random;
use crate::random::SystemRandom;

/// Octets drawn at once: the masks of 1,024 frames.
const DRAWN: usize = 4 * 1024;

/// Random octets that wait to be used, each once.
///
/// They are as unpredictable as single draws: they come from the system, are used
/// once and never leave this process before. A process that was forked with them
/// would use the same ones again; this one forks nowhere, and each worker has its
/// own.
#[derive(Default)]
pub(super) struct RandomPool {
    /// Those that are left; they are used from the end. No memory before the
    /// first are used: most servers mask nothing.
    octets: Vec<u8>,
}

impl Random for RandomPool {
    /// # Panics
    ///
    /// As [`SystemRandom`].
    fn fill(&mut self, octets: &mut [u8]) {
        if octets.len() > self.octets.len() {
            if octets.len() > DRAWN {
                return SystemRandom.fill(octets);
            }
            self.refill();
        }
        let left = self.octets.len() - octets.len();
        let (_, drawn) = self.octets.split_at(left);
        match (<&mut [u8; 4]>::try_from(&mut *octets), drawn.first_chunk()) {
            // A masking key is one move.
            (Ok(key), Some(drawn)) => *key = *drawn,
            _ => octets.copy_from_slice(drawn),
        }
        self.octets.truncate(left);
    }
}

impl RandomPool {
    #[cold]
    fn refill(&mut self) {
        // Taken out, so that a panic leaves none that are not random.
        let mut octets = std::mem::take(&mut self.octets);
        octets.resize(DRAWN, 0);
        SystemRandom.fill(&mut octets);
        self.octets = octets;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_octets_are_used_twice() {
        let mut random_pool = RandomPool::default();
        let mut seen = HashSet::new();
        for _ in 0..DRAWN {
            // Not a divisor of what is drawn at once.
            let mut octets = [0; 20];
            random_pool.fill(&mut octets);
            assert!(seen.insert(octets));
        }
    }

    #[test]
    fn more_than_is_drawn_at_once_is_random_too() {
        let mut octets = vec![0; 3 * DRAWN];
        RandomPool::default().fill(&mut octets);
        for part in octets.chunks(DRAWN / 4) {
            assert!(part.iter().any(|octet| *octet != 0));
        }
    }
}
