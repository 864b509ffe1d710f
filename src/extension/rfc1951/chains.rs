//! Where the octets at a position occurred before (RFC 1951 section 4): positions
//! with the same hash form a chain, from the latest to the earliest.

use alloc::boxed::Box;

use super::window::{WINDOW, zeroed};

/// How many octets are hashed, of the eight that are given. Shorter matches are
/// hardly found. With four, chains are longer and hold less that is worth a look:
/// it takes more time, and JSON comes out longer.
pub(super) const HASHED: u32 = 5;

/// With more, more is found, and less of it is close at hand for the processor.
const HASH_BITS: u32 = 15;

/// Positions by their hashes. Position 0 stands for none.
pub(super) struct Chains {
    /// The latest position of each hash.
    latest: Box<[u16; 1 << HASH_BITS]>,
    /// The position before, for each position of a window.
    before: Box<[u16; WINDOW]>,
}

impl Chains {
    /// The octets that these hold.
    pub(super) const OCTETS: usize = 2 * ((1 << HASH_BITS) + WINDOW);

    pub(super) fn new() -> Chains {
        Chains {
            latest: zeroed(),
            before: zeroed(),
        }
    }

    /// Notes a position where these octets are, and says the latest one before.
    #[inline(always)]
    pub(super) fn insert(&mut self, octets: u64, position: u16) -> u16 {
        let hashed = octets << (u64::BITS - 8 * HASHED);
        // The multiplier is 2 to the 64 divided by the golden ratio (Knuth).
        let hash = hashed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - HASH_BITS);
        let latest = self.latest.get_mut(hash as usize);
        let before = latest.map_or(0, |latest| core::mem::replace(latest, position));
        if let Some(slot) = self.before.get_mut(usize::from(position) % WINDOW) {
            *slot = before;
        }
        before
    }

    /// The position before this one with the same hash. It says so as long as the
    /// position is less than a window old.
    #[inline(always)]
    pub(super) fn before(&self, position: u16) -> u16 {
        let before = self.before.get(usize::from(position) % WINDOW);
        before.copied().unwrap_or_default()
    }

    /// Moves all positions down by a window. Those that fall out are forgotten.
    pub(super) fn slide(&mut self) {
        const BY: u16 = 1 << 15;
        const { assert!(BY as usize == WINDOW) };
        for positions in [&mut self.latest[..], &mut self.before[..]] {
            for position in positions {
                *position = position.saturating_sub(BY);
            }
        }
    }

    /// Forgets all positions.
    pub(super) fn clear(&mut self) {
        // What is before is only read from a later one.
        self.latest.fill(0);
    }
}
