//! Huffman codes (RFC 1951 section 3.2.2).

/// The most symbols of an alphabet.
const MOST_SYMBOLS: usize = 288;

/// A code, in the order in which its bits are sent.
#[derive(Clone, Copy)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) length: u8,
    /// How many bits follow it.
    pub(super) extra_bits: u8,
}

impl Code {
    /// Of a symbol without a code.
    pub(super) const NONE: Code = Code {
        bits: 0,
        length: 0,
        extra_bits: 0,
    };
}

/// How long the codes of symbols with these frequencies are, none longer than
/// `longest` bits. A symbol that does not occur has none, which is 0.
pub(super) fn lengths<const N: usize>(frequencies: &[u16; N], longest: u8) -> [u8; N] {
    const { assert!(N <= MOST_SYMBOLS) };
    let mut lengths = [0; N];
    let mut room = [0; MOST_SYMBOLS];
    let sorted = by_frequency(frequencies, &mut room);
    let mut symbols = [0; MOST_SYMBOLS];
    for (symbol, one) in symbols.iter_mut().zip(sorted.iter_mut()) {
        *symbol = (*one & SYMBOL_MASK) as usize;
        *one >>= SYMBOL_BITS;
    }
    depths(sorted);
    let counts = counts(sorted, longest);
    let mut symbols = symbols.iter();
    for (length, count) in (0..=longest).zip(counts).rev() {
        for symbol in symbols.by_ref().take(usize::from(count)) {
            if let Some(to) = lengths.get_mut(*symbol) {
                *to = length;
            }
        }
    }
    lengths
}

const SYMBOL_BITS: u32 = 9;
const SYMBOL_MASK: u32 = (1 << SYMBOL_BITS) - 1;

/// The symbols that occur, rare ones first, with their frequencies above them.
fn by_frequency<'r, const N: usize>(
    frequencies: &[u16; N],
    room: &'r mut [u32; MOST_SYMBOLS],
) -> &'r mut [u32] {
    let mut used = 0;
    for (symbol, frequency) in (0..).zip(frequencies) {
        if let Some(slot) = room.get_mut(used) {
            *slot = u32::from(*frequency) << SYMBOL_BITS | symbol;
        }
        used += usize::from(*frequency > 0);
    }
    let sorted = room.get_mut(..used).unwrap_or_default();
    sorted.sort_unstable();
    sorted
}

/// In place of sorted frequencies, how deep their symbols are in a Huffman tree,
/// deep ones first (Moffat and Katajainen, "In-place calculation of
/// minimum-redundancy codes", 1995).
#[allow(
    clippy::indexing_slicing,
    reason = "all of them are below the number of symbols"
)]
fn depths(nodes: &mut [u32]) {
    let count = nodes.len();
    if count < 2 {
        // One symbol needs a bit too.
        nodes.fill(1);
        return;
    }
    // Inner nodes take the place of what they join: their frequency, and then the
    // number of the node that joins them.
    let (mut inner, mut leaf) = (0, 0);
    for (node, number) in (0..count - 1).zip(0_u32..) {
        let mut sum = 0;
        for _ in 0..2 {
            if leaf < count && (inner == node || nodes[leaf] <= nodes[inner]) {
                sum += nodes[leaf];
                leaf += 1;
            } else {
                sum += nodes[inner];
                nodes[inner] = number;
                inner += 1;
            }
        }
        nodes[node] = sum;
    }
    // How deep the inner nodes are. The last one is the root.
    nodes[count - 2] = 0;
    for node in (0..count - 2).rev() {
        nodes[node] = nodes[nodes[node] as usize] + 1;
    }
    // A level has twice as many places as inner nodes above; what is no inner node
    // there is a leaf.
    let (mut places, mut depth) = (1, 0);
    let (mut inner, mut leaf) = (count - 1, count);
    while leaf > 0 {
        let mut joined = 0;
        while inner > 0 && nodes[inner - 1] == depth {
            joined += 1;
            inner -= 1;
        }
        for _ in joined..places {
            leaf -= 1;
            nodes[leaf] = depth;
        }
        places = 2 * joined;
        depth += 1;
    }
}

/// How many codes there are of each length, if none may be longer than `longest`
/// bits. Where the tree is deeper, codes become longer that were the longest of
/// the others.
fn counts(depths: &[u32], longest: u8) -> [u16; 16] {
    let mut counts = [0_u16; 16];
    let limit = usize::from(longest);
    for depth in depths {
        if let Some(count) = counts.get_mut((*depth as usize).min(limit)) {
            *count += 1;
        }
    }
    // What the codes take of all that there could be of the greatest length.
    let taken = (0..).zip(counts).skip(1);
    let mut taken: u32 = taken
        .take(limit)
        .map(|(length, count)| u32::from(count) << (limit - length))
        .sum();
    while taken > 1 << limit {
        // A leaf and one of the deepest become children of a node in its place.
        let above = counts.get_mut(1..limit).unwrap_or_default();
        let Some(place) = above.iter().rposition(|count| *count > 0) else {
            break;
        };
        let from = place + 1;
        for (length, change) in [(from, -1), (from + 1, 2), (limit, -1)] {
            if let Some(count) = counts.get_mut(length) {
                *count = count.saturating_add_signed(change);
            }
        }
        taken -= 1;
    }
    counts
}

/// The codes of these lengths.
#[allow(
    clippy::indexing_slicing,
    reason = "a length has at most 15 bits, and the compiler runs it too"
)]
pub(super) const fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut next = first_codes(lengths);
    let mut codes = [Code::NONE; N];
    let mut symbol = 0;
    while symbol < N {
        let length = lengths[symbol];
        if length > 0 {
            let code = &mut next[(length & 15) as usize];
            codes[symbol].bits = code.reverse_bits() >> (16 - length as u32);
            codes[symbol].length = length;
            *code = code.wrapping_add(1);
        }
        symbol += 1;
    }
    codes
}

/// The first code of each length.
#[allow(clippy::indexing_slicing, reason = "as above")]
const fn first_codes(lengths: &[u8]) -> [u16; 16] {
    // Symbols beside each other are counted apart: most have no code, and what adds
    // to one number must wait for what added to it before.
    let mut counts = [[0_u8; 16]; 4];
    let mut symbol = 0;
    while symbol < lengths.len() {
        let count = &mut counts[symbol & 3][(lengths[symbol] & 15) as usize];
        *count = count.wrapping_add(1);
        symbol += 1;
    }
    let mut first = [0_u16; 16];
    let mut length = 2;
    while length < 16 {
        let mut of_shorter = 0;
        let mut part = 0;
        while part < counts.len() {
            of_shorter += counts[part][length - 1] as u16;
            part += 1;
        }
        first[length] = first[length - 1].wrapping_add(of_shorter) << 1;
        length += 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length that is possible is used: the code is complete, and no longer
    /// than it may be.
    fn hold<const N: usize>(frequencies: [u16; N], longest: u8) {
        let lengths = lengths(&frequencies, longest);
        let mut taken = 0_u32;
        for (frequency, length) in frequencies.iter().zip(lengths) {
            assert_eq!(*frequency > 0, length > 0, "{frequencies:?}: {lengths:?}");
            assert!(length <= longest, "{frequencies:?}: {lengths:?}");
            taken += if length > 0 { 1 << (15 - length) } else { 0 };
        }
        let used = frequencies.iter().filter(|count| **count > 0).count();
        let all = if used > 1 { 1 << 15 } else { taken };
        assert_eq!(taken, all, "{frequencies:?}: {lengths:?}");
        // A frequent symbol has no longer code than a rare one.
        let mut both: Vec<_> = frequencies.iter().zip(lengths).collect();
        both.retain(|(frequency, _)| **frequency > 0);
        both.sort_unstable();
        assert!(
            both.is_sorted_by(|a, b| a.0 == b.0 || a.1 >= b.1),
            "{both:?}"
        );
        // No code starts with another: as numbers with the first bit highest, each
        // begins where the one before has ended.
        let mut codes: Vec<_> = codes(&lengths).into_iter().collect();
        codes.retain(|code| code.length > 0);
        let start = |code: &Code| u32::from(code.bits.reverse_bits() >> 1);
        codes.sort_unstable_by_key(start);
        let mut end = 0;
        for code in &codes {
            assert_eq!(start(code), end, "{lengths:?}");
            end += 1 << (15 - code.length);
        }
    }

    #[test]
    fn codes_are_complete_and_no_longer_than_they_may_be() {
        hold([0; 19], 7);
        hold([0, 0, 5, 0], 7);
        hold([1, 1], 1);
        hold([u16::MAX; 288], 15);
        // Each as frequent as all before: a tree as deep as can be.
        let fibonacci = |symbol: usize| {
            let next = |(one, other): (u16, u16), _| (other, one.saturating_add(other));
            (0..symbol).fold((1, 1), next).0
        };
        hold(core::array::from_fn::<_, 24, _>(fibonacci), 15);
        hold(core::array::from_fn::<_, 19, _>(fibonacci), 7);
        let mut random = 1_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> 20
        };
        for _ in 0..2000 {
            let bits = next() % 15;
            let mut frequency = |_| {
                let is_used = next() % 3 != 0;
                let frequency = next() & ((1 << (next() % (bits + 1))) - 1);
                if is_used {
                    u16::try_from(frequency).unwrap_or(1)
                } else {
                    0
                }
            };
            hold(core::array::from_fn::<_, 286, _>(&mut frequency), 15);
            hold(core::array::from_fn::<_, 30, _>(&mut frequency), 15);
            hold(core::array::from_fn::<_, 19, _>(&mut frequency), 7);
        }
    }
}
