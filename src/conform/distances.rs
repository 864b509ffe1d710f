//! How far back a DEFLATE stream refers (RFC 1951): whether a sender keeps to the
//! window that was agreed on. An inflater has all octets at hand, and does not
//! notice.

/// The furthest distance in a message that is compressed as RFC 7692 section 7.2.1
/// says; `None` where it is no DEFLATE stream.
pub(super) fn furthest(message: &[u8]) -> Option<usize> {
    let mut bits = Bits {
        octets: message,
        tail: &[0, 0, 0xff, 0xff],
        held: 0,
        count: 0,
    };
    let mut furthest = 0;
    while !bits.is_at_end() {
        let is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => bits.skip_stored()?,
            1 => furthest = furthest.max(block(&mut bits, &Codes::fixed())?),
            2 => {
                let codes = Codes::read(&mut bits)?;
                furthest = furthest.max(block(&mut bits, &codes)?);
            }
            _ => return None,
        }
        if is_last {
            break;
        }
    }
    Some(furthest)
}

/// The octets of a message and the tail that its sender leaves out, bit by bit.
struct Bits<'m> {
    octets: &'m [u8],
    tail: &'m [u8],
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn is_at_end(&self) -> bool {
        self.octets.is_empty() && self.tail.is_empty()
    }

    fn octet(&mut self) -> Option<u8> {
        if self.octets.is_empty() {
            self.octets = std::mem::take(&mut self.tail);
        }
        let (first, rest) = self.octets.split_first()?;
        self.octets = rest;
        Some(*first)
    }

    /// The next bits, at most 16, the first of them the lowest.
    fn take(&mut self, n: u32) -> Option<usize> {
        while self.count < n {
            self.held |= u32::from(self.octet()?) << self.count;
            self.count += 8;
        }
        let taken = self.held & ((1 << n) - 1);
        self.held >>= n;
        self.count -= n;
        usize::try_from(taken).ok()
    }

    fn skip_stored(&mut self) -> Option<()> {
        // Whole octets are never held here: what is held belongs to the octet that
        // is skipped to its end.
        self.held = 0;
        self.count = 0;
        let length = usize::from(u16::from_le_bytes([self.octet()?, self.octet()?]));
        let inverse = u16::from_le_bytes([self.octet()?, self.octet()?]);
        if usize::from(!inverse) != length {
            return None;
        }
        for _ in 0..length {
            self.octet()?;
        }
        Some(())
    }
}

/// The longest code.
const LONGEST: usize = 15;

/// A canonical Huffman code.
struct Code {
    /// How many symbols have a code of this length.
    counts: [usize; LONGEST + 1],
    /// The symbols by their codes.
    symbols: Vec<usize>,
}

impl Code {
    fn of(lengths: &[usize]) -> Code {
        let mut counts = [0; LONGEST + 1];
        for length in lengths {
            if let Some(count) = counts.get_mut(*length) {
                *count += 1;
            }
        }
        if let Some(unused) = counts.first_mut() {
            *unused = 0;
        }
        let mut symbols: Vec<usize> = (0..lengths.len()).collect();
        let length = |symbol: &usize| lengths.get(*symbol).copied().unwrap_or(0);
        symbols.retain(|symbol| length(symbol) > 0);
        symbols.sort_by_key(length);
        Code { counts, symbols }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0_usize, 0_usize, 0_usize);
        for count in self.counts.iter().skip(1) {
            code |= bits.take(1)?;
            if let Some(at) = code.checked_sub(first).filter(|at| at < count) {
                return self.symbols.get(index + at).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// The two codes of a block.
struct Codes {
    literals: Code,
    distances: Code,
}

/// In which order the lengths of the code for lengths stand.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

impl Codes {
    fn fixed() -> Codes {
        let literals = (0..288).map(|symbol| match symbol {
            0..=143 => 8,
            144..=255 => 9,
            256..=279 => 7,
            _ => 8,
        });
        Codes {
            literals: Code::of(&literals.collect::<Vec<usize>>()),
            distances: Code::of(&[5; 30]),
        }
    }

    fn read(bits: &mut Bits<'_>) -> Option<Codes> {
        let literals = bits.take(5)? + 257;
        let distances = bits.take(5)? + 1;
        let count = bits.take(4)? + 4;
        let mut lengths = [0; ORDER.len()];
        for symbol in ORDER.iter().take(count) {
            *lengths.get_mut(*symbol)? = bits.take(3)?;
        }
        let code = Code::of(&lengths);
        let mut lengths = Vec::with_capacity(literals + distances);
        while lengths.len() < literals + distances {
            let (length, times) = match code.symbol(bits)? {
                length @ 0..=15 => (length, 1),
                16 => (*lengths.last()?, 3 + bits.take(2)?),
                17 => (0, 3 + bits.take(3)?),
                _ => (0, 11 + bits.take(7)?),
            };
            lengths.extend(std::iter::repeat_n(length, times));
        }
        let (of_literals, of_distances) = lengths.split_at_checked(literals)?;
        Some(Codes {
            literals: Code::of(of_literals),
            distances: Code::of(of_distances),
        })
    }
}

/// How many bits follow the symbol of a length, from 257 on.
const LENGTH_BITS: [u32; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];

/// The furthest distance in a block that is compressed.
fn block(bits: &mut Bits<'_>, codes: &Codes) -> Option<usize> {
    let mut furthest = 0;
    loop {
        let symbol = codes.literals.symbol(bits)?;
        let Some(length) = symbol.checked_sub(257) else {
            if symbol == 256 {
                return Some(furthest);
            }
            continue;
        };
        bits.take(*LENGTH_BITS.get(length)?)?;
        let symbol = codes.distances.symbol(bits)?;
        let distance = match symbol {
            0..=3 => symbol + 1,
            4..=29 => {
                let extra = u32::try_from(symbol / 2 - 1).ok()?;
                let base = ((2 + symbol % 2) << extra) + 1;
                base + bits.take(extra)?
            }
            _ => return None,
        };
        furthest = furthest.max(distance);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::conform::made;
    use crate::extension::{Codecs, Level};

    fn furthest_of(octets: &[u8], bits: u8) -> Option<usize> {
        let mut deflated = Vec::new();
        let mut deflater = Codecs::default().deflater(Level::Best, bits);
        deflater.message(octets, &mut deflated);
        furthest(&deflated)
    }

    #[test]
    fn a_compressor_keeps_to_its_window() {
        for like in made::KINDS {
            let block = made::block(like).unwrap();
            for bits in 9..=15 {
                let found = furthest_of(block, bits).unwrap();
                assert!(found <= 1 << bits, "{like} {bits}: {found}");
                let is_packed = like == "packed" || like == "picture";
                assert!(
                    is_packed || found > 1 << (bits - 2),
                    "{like} {bits}: {found}"
                );
            }
        }
    }

    #[test]
    fn short_and_odd_messages_are_read() {
        assert_eq!(furthest(&[0]), Some(0));
        assert_eq!(furthest_of(b"a", 15), Some(0));
        assert_eq!(furthest_of(b"abcdefghijabcdefghij", 15), Some(10));
        assert_eq!(furthest_of(&[b'a'; 1000], 9), Some(1));
        // Stored, in a block of its own.
        assert_eq!(furthest(b"\x00\x03\x00\xfc\xffabc\x00"), Some(0));
        for wrong in [&b"\xff"[..], b"\x06\xff\xff", b"\x00\x03\x00\x03\x00abc"] {
            assert_eq!(furthest(wrong), None);
        }
    }
}
