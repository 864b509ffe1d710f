//! Where the octets at a position occurred before (RFC 1951 section 4): positions
//! with the same hash form a chain, from the latest to the earliest.

use alloc::boxed::Box;

use super::window::{WINDOW, zeroed};

/// How many octets are hashed for the chains, of the eight that are given. They hardly
/// give shorter matches. With four, chains are longer and hold less that is worth a look:
/// it takes more time, and JSON comes out longer.
pub(super) const HASHED: u32 = 5;

/// With more, more is found, and less of it is close at hand for the processor.
const HASH_BITS: u32 = 15;

/// Where short matches are looked for, one half of the table is for the chains, and the
/// other has the latest position of each hash of three octets: what is shorter than
/// [`HASHED`] only pays if it is near. It takes no more room, and costs the chains little.
const HALF_BITS: u32 = HASH_BITS - 1;
const HASHED_FOR_SHORT: u32 = 3;

/// Positions by their hashes. Position 0 stands for none.
pub(super) struct Chains {
    /// The latest position of each hash. What was noted by another level's hashes was
    /// compressed before, and is not referred to.
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
    pub(super) fn insert<const FINDS_SHORT: bool>(&mut self, octets: u64, position: u16) -> u16 {
        let hash = if FINDS_SHORT {
            if let Some(latest) = self.latest.get_mut(hash_of_short(octets)) {
                *latest = position;
            }
            hash(octets, HASHED, HALF_BITS)
        } else {
            hash(octets, HASHED, HASH_BITS)
        };
        let latest = self.latest.get_mut(hash);
        let before = latest.map_or(0, |latest| core::mem::replace(latest, position));
        if let Some(slot) = self.before.get_mut(usize::from(position) % WINDOW) {
            *slot = before;
        }
        before
    }

    /// The latest position that has the hash of the first three of these octets, where
    /// short matches are looked for.
    #[inline(always)]
    pub(super) fn latest_of_short(&self, octets: u64) -> u16 {
        let latest = self.latest.get(hash_of_short(octets));
        latest.copied().unwrap_or_default()
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

/// The hash of so many of these octets, in so many bits.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "15 bits at most")]
fn hash(octets: u64, count: u32, bits: u32) -> usize {
    let hashed = octets << (u64::BITS - 8 * count);
    // The multiplier is 2 to the 64 divided by the golden ratio (Knuth).
    (hashed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - bits)) as usize
}

#[inline(always)]
fn hash_of_short(octets: u64) -> usize {
    (1 << HALF_BITS) + hash(octets, HASHED_FOR_SHORT, HALF_BITS)
}
