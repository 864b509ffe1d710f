//! Octets that were compressed, and room for more.

use alloc::boxed::Box;
use alloc::vec;

/// The largest window: nothing refers further back (RFC 1951 section 2).
pub(super) const WINDOW: usize = 32 * 1024;

/// Where the room ends. All positions before it are 16 bits.
pub(super) const END: usize = 2 * WINDOW;

/// So many octets are compared at a time, some of them after the last one.
pub(super) const STEP: usize = size_of::<u64>();

/// After the end there are so many octets that what starts before it can be read
/// wherever it is: a step, up to 511 octets further.
const AFTER_END: usize = MOST_FURTHER + STEP;
const MOST_FURTHER: usize = 511;

const ALL: usize = END + AFTER_END;

/// The octets, by their positions.
pub(super) struct Octets(Box<[u8; ALL]>);

impl Octets {
    /// What they take.
    pub(super) const OCTETS: usize = ALL;

    pub(super) fn new() -> Octets {
        Octets(zeroed())
    }

    /// Writes octets from a position on.
    pub(super) fn write(&mut self, at: usize, octets: &[u8]) {
        if let Some(to) = self.0.get_mut(at..at + octets.len()) {
            to.copy_from_slice(octets);
        }
    }

    /// Moves all octets down by a window. The first window of them is lost.
    pub(super) fn slide(&mut self) {
        self.0.copy_within(WINDOW..END, 0);
    }

    pub(super) fn get(&self, from: usize, to: usize) -> Option<&[u8]> {
        self.0.get(from..to)
    }

    /// The octet at a position.
    #[inline(always)]
    pub(super) fn one(&self, at: u16) -> u8 {
        self.0.get(usize::from(at)).copied().unwrap_or_default()
    }

    /// The four octets so much further than a position, the first of them lowest.
    #[inline(always)]
    pub(super) fn four(&self, at: u16, further: usize) -> u32 {
        let at = usize::from(at) + (further & MOST_FURTHER);
        let octets = self.0.get(at..).and_then(<[u8]>::first_chunk);
        u32::from_le_bytes(octets.copied().unwrap_or_default())
    }

    /// As that, eight octets.
    #[inline(always)]
    pub(super) fn eight(&self, at: u16, further: usize) -> u64 {
        let at = usize::from(at) + (further & MOST_FURTHER);
        let octets = self.0.get(at..).and_then(<[u8]>::first_chunk);
        u64::from_le_bytes(octets.copied().unwrap_or_default())
    }
}

/// An array of zeros that was never on the stack.
pub(super) fn zeroed<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    let zeros = vec![T::default(); N].into_boxed_slice();
    zeros
        .try_into()
        .unwrap_or_else(|_| unreachable!("it was made with this length"))
}
