//! DEFLATE (RFC 1951): its alphabets, and a compressor. zlib inflates.

mod bits;
mod huffman;
mod block;
mod window;
mod chains;
mod compressor;

pub(super) use compressor::{Compressor, Effort};

/// The shortest and the longest string that a pair of length and distance stands
/// for (section 3.2.5).
const SHORTEST: usize = 3;
const LONGEST: usize = 258;

/// The symbol that ends a block.
pub(crate) const END_OF_BLOCK: usize = 256;

/// The symbols of literals, of the end of a block, and of lengths from 257 on. The
/// last two have fixed codes, and never occur.
pub(crate) const LITERALS: usize = END_OF_BLOCK + 1 + LENGTHS.len() + 2;

/// How many bits a code of these symbols may have (section 3.2.7).
pub(crate) const LONGEST_CODE: u8 = 15;

/// What a symbol stands for: this number, and as much more as the bits say that
/// follow its code.
#[derive(Clone, Copy)]
pub(crate) struct Symbol {
    pub(crate) base: u16,
    pub(crate) extra_bits: u8,
}

/// Lengths, by their symbols from 257 on (section 3.2.5).
pub(crate) const LENGTHS: [Symbol; 29] = {
    let mut lengths = steps(SHORTEST, 4);
    // The longest has a symbol of its own.
    lengths[28] = Symbol {
        base: 258,
        extra_bits: 0,
    };
    lengths
};

/// Distances, by their symbols (section 3.2.5).
pub(crate) const DISTANCES: [Symbol; 30] = steps(1, 2);

/// Symbols that stand for all numbers from `first` on: one number each, twice as
/// many symbols as in a step, and then each step of symbols has a bit more.
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "the compiler runs it"
)]
const fn steps<const N: usize>(first: usize, step: usize) -> [Symbol; N] {
    let mut symbols = [Symbol {
        base: 0,
        extra_bits: 0,
    }; N];
    let (mut base, mut at) = (first, 0);
    while at < N {
        let extra_bits = (at / step).saturating_sub(1);
        symbols[at] = Symbol {
            base: base as u16,
            extra_bits: extra_bits as u8,
        };
        base += 1 << extra_bits;
        at += 1;
    }
    symbols
}

/// In which order the lengths of the codes for code lengths stand (section 3.2.7).
pub(crate) const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// How long the fixed codes of literals and lengths are (section 3.2.6).
pub(crate) const FIXED_LITERALS: [u8; LITERALS] = fixed_literals();

#[allow(clippy::indexing_slicing, reason = "the compiler runs it")]
const fn fixed_literals() -> [u8; LITERALS] {
    let mut lengths = [8; LITERALS];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < END_OF_BLOCK { 9 } else { 7 };
        symbol += 1;
    }
    lengths
}

/// How long the fixed codes of distances are (section 3.2.6).
pub(crate) const FIXED_DISTANCES: [u8; DISTANCES.len()] = [5; DISTANCES.len()];

/// A number below 64 Ki.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // nothing is left above
fn low(number: usize) -> u16 {
    debug_assert!(number <= usize::from(u16::MAX));
    (number & 0xffff) as u16
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_rfc() {
        let all = |symbols: &[Symbol]| -> Vec<(u16, u8)> {
            let pairs = symbols.iter().map(|one| (one.base, one.extra_bits));
            pairs.collect()
        };
        let (lengths, distances) = (all(&LENGTHS), all(&DISTANCES));
        assert_eq!(
            lengths[..9],
            [
                (3, 0),
                (4, 0),
                (5, 0),
                (6, 0),
                (7, 0),
                (8, 0),
                (9, 0),
                (10, 0),
                (11, 1)
            ]
        );
        assert_eq!(
            lengths[24..],
            [(131, 5), (163, 5), (195, 5), (227, 5), (258, 0)]
        );
        assert_eq!(
            distances[..6],
            [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1)]
        );
        assert_eq!(
            distances[26..],
            [(8193, 12), (12_289, 12), (16_385, 13), (24_577, 13)]
        );
    }
}
