//! A block: literals and matches, which become bits once all of them are known
//! (RFC 1951 section 3.2.3).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::bits::{Bits, Room};
use super::huffman::{self, Code};
use super::{
    DISTANCES, END_OF_BLOCK, FIXED_DISTANCES, FIXED_LITERALS, LENGTHS, LITERALS, LONGEST,
    LONGEST_CODE, ORDER, Symbol,
};

/// The symbol of each length, counted from [`FIRST_LENGTH`].
const SYMBOL_OF_LENGTH: [u8; LONGEST + 1] = symbols(&LENGTHS, 0, 0);

/// The symbol of each distance up to 256, and of those above, which share it in
/// groups of 128.
const SYMBOL_OF_NEAR: [u8; 256] = symbols(&DISTANCES, 1, 0);
const SYMBOL_OF_FAR: [u8; 256] = symbols(&DISTANCES, 1, FAR_BITS);
const FAR_BITS: u32 = 7;

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "the compiler runs it"
)]
const fn symbols<const N: usize, const M: usize>(
    alphabet: &[Symbol; M],
    first: usize,
    shift: u32,
) -> [u8; N] {
    let mut symbols = [0; N];
    let (mut symbol, mut at) = (0, 0);
    while at < N {
        let number = first + (at << shift);
        while symbol + 1 < M && number >= alphabet[symbol + 1].base as usize {
            symbol += 1;
        }
        symbols[at] = symbol as u8;
        at += 1;
    }
    symbols
}

/// Literals and matches of a block.
pub(super) struct Block {
    /// See [`SYMBOL_BITS`].
    parts: Box<[u32]>,
    count: usize,
    literals: [u16; LITERALS],
    distances: [u16; DISTANCES.len()],
}

/// What a part holds, the lowest first: the symbol of an octet or a length, what a
/// length is more than that says, the symbol of a distance or [`NO_DISTANCE`], and
/// what it is more.
const SYMBOL_BITS: u32 = 9;
const LENGTH_BITS: u32 = 5;
const DISTANCE_SYMBOL_BITS: u32 = 5;

#[inline(always)]
fn pack(symbol: u16, longer: u16, of_distance: u16, further: u16) -> u32 {
    let part = u32::from(further) << DISTANCE_SYMBOL_BITS | u32::from(of_distance);
    let part = part << LENGTH_BITS | u32::from(longer);
    part << SYMBOL_BITS | u32::from(symbol)
}

/// In place of the symbol of a distance, after a literal.
const NO_DISTANCE: u16 = 30;
const _: () = assert!(NO_DISTANCE as usize == DISTANCES.len());

/// The first symbol of a length.
const FIRST_LENGTH: u16 = 257;
const _: () = assert!(FIRST_LENGTH as usize == END_OF_BLOCK + 1);

impl Block {
    /// Of at most this many literals and matches, fewer than 64 Ki.
    pub(super) fn new(most: usize) -> Block {
        Block {
            parts: vec![0; most].into(),
            count: 0,
            literals: [0; LITERALS],
            distances: [0; DISTANCES.len()],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is no room for this many more.
    #[inline]
    pub(super) fn is_full_with(&self, more: usize) -> bool {
        self.parts.len() - self.count < more
    }

    #[inline(always)]
    pub(super) fn push_literal(&mut self, octet: u8) {
        self.push(pack(octet.into(), 0, NO_DISTANCE, 0));
        count(&mut self.literals, octet.into());
    }

    /// Pushes a string of this length that stands this far before.
    #[inline(always)]
    pub(super) fn push_match(&mut self, length: u16, distance: u16) {
        let of_length = length_symbol(length);
        let longer = length - base(&LENGTHS, of_length);
        let symbol = FIRST_LENGTH + of_length;
        let of_distance = distance_symbol(distance);
        let further = distance - base(&DISTANCES, of_distance);
        self.push(pack(symbol, longer, of_distance, further));
        count(&mut self.literals, symbol);
        count(&mut self.distances, of_distance);
    }

    #[inline(always)]
    fn push(&mut self, part: u32) {
        let Some(slot) = self.parts.get_mut(self.count) else {
            unreachable!("a full block is written first");
        };
        *slot = part;
        self.count += 1;
    }

    /// Whether a match in place of these octets is likely to make the block shorter, by
    /// what it holds so far. Where few octets occur, their codes are short.
    pub(super) fn saves(&self, octets: &[u8], distance: u16) -> bool {
        // Any octet may come next, so none counts as impossible.
        let all = logarithm(self.count + UNSEEN);
        let of_literals = octets.iter().map(|octet| {
            let frequency = self.literals.get(usize::from(*octet));
            all - logarithm(frequency.map_or(0, |frequency| usize::from(*frequency)) + 1)
        });
        let symbol = DISTANCES.get(usize::from(distance_symbol(distance)));
        let extra_bits = symbol.map_or(0, |symbol| u32::from(symbol.extra_bits));
        of_literals.sum::<u32>() >= SIXTEENTHS * (BITS_OF_MATCH + extra_bits)
    }

    /// Writes the block in the form that takes least, and empties it. `octets` are
    /// those that it stands for, where they are still at hand.
    pub(super) fn write(&mut self, octets: Option<&[u8]>, bits: &mut Bits, out: &mut Vec<u8>) {
        count(&mut self.literals, FIRST_LENGTH - 1);
        let extra = extra(&self.literals, END_OF_BLOCK + 1, &LENGTHS)
            + extra(&self.distances, 0, &DISTANCES);
        let fixed = HEAD_BITS as usize
            + sum(&self.literals, &FIXED_LITERALS)
            + sum(&self.distances, &FIXED_DISTANCES);
        let dynamic = self.may_be_dynamic().then(|| Dynamic::new(self));
        let dynamic = dynamic.filter(|dynamic| dynamic.bits < fixed);
        let least = dynamic.as_ref().map_or(fixed, |dynamic| dynamic.bits) + extra;
        match (octets, dynamic) {
            (Some(octets), _) if stored_bits(octets.len()) <= least => {
                write_stored(octets, bits, out);
            }
            (_, Some(dynamic)) => bits.append(out, least, |room| {
                dynamic.head.write(room);
                let literals = huffman::codes(&dynamic.literals);
                let literals = with_extra(literals, END_OF_BLOCK + 1, &LENGTHS);
                self.write_parts(&literals, &distance_codes(&dynamic.distances), room);
            }),
            (_, None) => bits.append(out, least, |room| {
                room.put(FIXED, HEAD_BITS);
                self.write_parts(&FIXED_CODES, &FIXED_DISTANCE_CODES, room);
            }),
        }
        self.count = 0;
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES.len()];
    }
}

/// What the codes of a length and a distance take, in bits, until they are known. With
/// fewer, JSON and numbers become longer, with more, records whose parts repeat do.
const BITS_OF_MATCH: u32 = 10;

/// So many literals that did not occur are counted as if they had.
const UNSEEN: usize = 64;

/// In a bit.
const SIXTEENTHS: u32 = 16;

/// The logarithm to base 2 of a number from 1 to 64 Ki, in sixteenths: exact for powers of
/// two, and on a straight line between.
#[allow(clippy::cast_possible_truncation, reason = "15 at most")]
fn logarithm(number: usize) -> u32 {
    let power = number.max(1).ilog2();
    let above = (SIXTEENTHS as usize * number) >> power;
    SIXTEENTHS * power + (above as u32 & (SIXTEENTHS - 1))
}

/// How many bits tell what a block is: whether it is the last one, which none is
/// here, and its type.
const HEAD_BITS: u32 = 3;
/// The types of blocks, in these bits.
const FIXED: u64 = 0b01 << 1;
const DYNAMIC: u64 = 0b10 << 1;

static FIXED_CODES: [Code; LITERALS] =
    with_extra(huffman::codes(&FIXED_LITERALS), END_OF_BLOCK + 1, &LENGTHS);
static FIXED_DISTANCE_CODES: [Code; DISTANCE_CODES] = distance_codes(&FIXED_DISTANCES);

/// As many as the bits of a symbol can tell apart. [`NO_DISTANCE`] has no bits.
const DISTANCE_CODES: usize = 1 << DISTANCE_SYMBOL_BITS;

#[allow(clippy::indexing_slicing, reason = "there are more codes than symbols")]
const fn distance_codes(lengths: &[u8; DISTANCES.len()]) -> [Code; DISTANCE_CODES] {
    let mut all = [0; DISTANCE_CODES];
    let mut symbol = 0;
    while symbol < lengths.len() {
        all[symbol] = lengths[symbol];
        symbol += 1;
    }
    with_extra(huffman::codes(&all), 0, &DISTANCES)
}

/// These codes, with the bits that follow those of an alphabet, whose first symbol
/// is this one.
#[allow(clippy::indexing_slicing, reason = "the compiler knows all lengths")]
const fn with_extra<const N: usize>(
    mut codes: [Code; N],
    first: usize,
    alphabet: &[Symbol],
) -> [Code; N] {
    let mut symbol = 0;
    while symbol < alphabet.len() {
        codes[first + symbol].extra_bits = alphabet[symbol].extra_bits;
        symbol += 1;
    }
    codes
}

/// With so many literals and matches, codes of its own are tried for any block.
const MANY: usize = 56;
/// With fewer than these, for none: what it takes to say the codes is more than they
/// save. Between the two it depends on how often each symbol occurs: once in a while
/// a block takes a few octets more than it could, and most take half of the time.
const FEW: usize = 24;

impl Block {
    /// Whether codes of its own may be worth their work.
    fn may_be_dynamic(&self) -> bool {
        let used = || self.literals.iter().filter(|count| **count > 0).count();
        self.count >= MANY || (self.count >= FEW && self.count >= 2 * used())
    }
}

impl Block {
    fn write_parts(
        &self,
        literals: &[Code; LITERALS],
        distances: &[Code; DISTANCE_CODES],
        room: &mut Room<'_>,
    ) {
        for part in self.parts.iter().take(self.count) {
            let mut part = *part;
            let mut next = |bits: u32| {
                let low = part & ((1 << bits) - 1);
                part >>= bits;
                low
            };
            // A literal takes the way of a match, with no bits for what it lacks:
            // which of the two comes is hard to predict, and a branch would cost
            // more. 48 bits at most.
            let length = code(literals, next(SYMBOL_BITS) as usize);
            let mut bits = u64::from(length.bits);
            let mut count = u32::from(length.length);
            bits |= u64::from(next(LENGTH_BITS)).wrapping_shl(count);
            count = count.wrapping_add(length.extra_bits.into());
            let distance = code(distances, next(DISTANCE_SYMBOL_BITS) as usize);
            bits |= u64::from(distance.bits).wrapping_shl(count);
            count = count.wrapping_add(distance.length.into());
            bits |= u64::from(part).wrapping_shl(count);
            count = count.wrapping_add(distance.extra_bits.into());
            room.put(bits, count);
        }
        put(room, code(literals, END_OF_BLOCK));
    }
}

#[inline(always)]
fn put(room: &mut Room<'_>, code: Code) {
    room.put(u64::from(code.bits), u32::from(code.length));
}

#[inline(always)]
fn code(codes: &[Code], symbol: usize) -> Code {
    codes.get(symbol).copied().unwrap_or(Code::NONE)
}

#[inline(always)]
fn base(alphabet: &[Symbol], symbol: u16) -> u16 {
    let Some(symbol) = alphabet.get(usize::from(symbol)) else {
        unreachable!("a symbol is of its alphabet");
    };
    symbol.base
}

/// The symbol of a length, counted from [`FIRST_LENGTH`].
#[inline(always)]
fn length_symbol(length: u16) -> u16 {
    let symbol = SYMBOL_OF_LENGTH.get(usize::from(length));
    u16::from(symbol.copied().unwrap_or_default())
}

#[inline(always)]
fn distance_symbol(distance: u16) -> u16 {
    let at = usize::from(distance - 1);
    let near = SYMBOL_OF_NEAR.get(at);
    let symbol = near.or_else(|| SYMBOL_OF_FAR.get(at >> FAR_BITS));
    u16::from(symbol.copied().unwrap_or_default())
}

#[inline(always)]
fn count(frequencies: &mut [u16], symbol: u16) {
    if let Some(frequency) = frequencies.get_mut(usize::from(symbol)) {
        *frequency = frequency.wrapping_add(1);
    }
}

/// What symbols of these frequencies take with codes of these lengths, in bits.
fn sum(frequencies: &[u16], lengths: &[u8]) -> usize {
    let products = frequencies.iter().zip(lengths);
    let sum = products.fold(0_u32, |sum, (frequency, length)| {
        sum.wrapping_add(u32::from(*frequency).wrapping_mul(u32::from(*length)))
    });
    sum as usize
}

/// What follows codes of this alphabet, whose first symbol has this number, in bits.
fn extra(frequencies: &[u16], first: usize, alphabet: &[Symbol]) -> usize {
    let frequencies = frequencies.iter().skip(first);
    let products = frequencies.zip(alphabet);
    products
        .map(|(frequency, symbol)| usize::from(*frequency) * usize::from(symbol.extra_bits))
        .sum()
}

/// The most octets of a stored block (section 3.2.4).
const MOST_STORED: usize = u16::MAX as usize;

/// What octets take in stored blocks, in bits, wherever they start.
fn stored_bits(octets: usize) -> usize {
    let blocks = octets.div_ceil(MOST_STORED);
    8 * octets + blocks * (HEAD_BITS as usize + 7 + 32)
}

fn write_stored(octets: &[u8], bits: &mut Bits, out: &mut Vec<u8>) {
    for chunk in octets.chunks(MOST_STORED) {
        bits.append_stored(out);
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
}

/// A block with codes of its own.
struct Dynamic {
    literals: [u8; LITERALS],
    distances: [u8; DISTANCES.len()],
    head: Head,
    /// What the block takes but for the bits that follow codes.
    bits: usize,
}

impl Dynamic {
    fn new(block: &Block) -> Dynamic {
        let literals = huffman::lengths(&block.literals, LONGEST_CODE);
        let mut distances = block.distances;
        // Where no distance or only one occurs, old decoders want two codes.
        let used = distances.iter().filter(|count| **count > 0).count();
        let unused = distances.iter_mut().filter(|count| **count == 0);
        for count in unused.take(2_usize.saturating_sub(used)) {
            *count = 1;
        }
        let distances = huffman::lengths(&distances, LONGEST_CODE);
        let head = Head::new(&literals, &distances);
        let bits =
            head.bits() + sum(&block.literals, &literals) + sum(&block.distances, &distances);
        Dynamic {
            literals,
            distances,
            head,
            bits,
        }
    }
}

/// How the code lengths are said (section 3.2.7).
struct Head {
    literals: usize,
    distances: usize,
    /// The code lengths, and where they are repeated how often.
    runs: [Run; LITERALS + DISTANCES.len()],
    run_count: usize,
    frequencies: [u16; ORDER.len()],
    lengths: [u8; ORDER.len()],
    length_count: usize,
}

#[derive(Clone, Copy, Default)]
struct Run {
    symbol: u8,
    extra: u8,
}

/// The symbols of a code length that is repeated: what is repeated, from how many
/// times on, and how many bits say how many more.
const REPEAT: u8 = 16;
const ZEROS: u8 = 17;
const MANY_ZEROS: u8 = 18;

/// The longest code of a code length.
const LONGEST_OF_LENGTHS: u8 = 7;

/// What follows the code of a code length, in bits.
fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        REPEAT => 2,
        ZEROS => 3,
        MANY_ZEROS => 7,
        _ => 0,
    }
}

impl Head {
    fn new(literals: &[u8; LITERALS], distances: &[u8; DISTANCES.len()]) -> Head {
        let mut head = Head {
            literals: used(literals).max(END_OF_BLOCK + 1),
            distances: used(distances).max(1),
            runs: [Run::default(); LITERALS + DISTANCES.len()],
            run_count: 0,
            frequencies: [0; ORDER.len()],
            lengths: [0; ORDER.len()],
            length_count: 0,
        };
        let literals = literals.get(..head.literals).unwrap_or_default();
        let distances = distances.get(..head.distances).unwrap_or_default();
        // A run may go on from one to the other; it ends there, for the sake of
        // simplicity.
        for lengths in [literals, distances] {
            for run in lengths.chunk_by(|one, next| one == next) {
                if let Some(length) = run.first() {
                    head.push_run(*length, run.len());
                }
            }
        }
        head.lengths = huffman::lengths(&head.frequencies, LONGEST_OF_LENGTHS);
        let ordered = ORDER.map(|symbol| head.lengths.get(symbol).copied().unwrap_or_default());
        head.length_count = used(&ordered).max(4);
        head
    }

    fn push_run(&mut self, length: u8, mut times: usize) {
        if length == 0 {
            while times >= 11 {
                let some = times.min(138);
                self.push(MANY_ZEROS, some - 11);
                times -= some;
            }
            if times >= 3 {
                self.push(ZEROS, times - 3);
                return;
            }
        } else {
            self.push(length, 0);
            times -= 1;
            while times >= 3 {
                let some = times.min(6);
                self.push(REPEAT, some - 3);
                times -= some;
            }
        }
        for _ in 0..times {
            self.push(length, 0);
        }
    }

    fn push(&mut self, symbol: u8, extra: usize) {
        if let Some(run) = self.runs.get_mut(self.run_count) {
            let extra = u8::try_from(extra).unwrap_or_default();
            *run = Run { symbol, extra };
        }
        self.run_count += 1;
        count(&mut self.frequencies, symbol.into());
    }

    fn bits(&self) -> usize {
        let extra = (0..).zip(self.frequencies);
        let extra: usize = extra
            .map(|(symbol, count)| usize::from(count) * extra_bits(symbol) as usize)
            .sum();
        let head = HEAD_BITS as usize + 5 + 5 + 4;
        head + 3 * self.length_count + sum(&self.frequencies, &self.lengths) + extra
    }

    fn write(&self, room: &mut Room<'_>) {
        room.put(DYNAMIC, HEAD_BITS);
        room.put((self.literals - END_OF_BLOCK - 1) as u64, 5);
        room.put((self.distances - 1) as u64, 5);
        room.put((self.length_count - 4) as u64, 4);
        for symbol in ORDER.iter().take(self.length_count) {
            let length = self.lengths.get(*symbol).copied().unwrap_or_default();
            room.put(u64::from(length), 3);
        }
        let codes = huffman::codes(&self.lengths);
        for run in self.runs.iter().take(self.run_count) {
            put(room, code(&codes, usize::from(run.symbol)));
            room.put(u64::from(run.extra), extra_bits(run.symbol));
        }
    }
}

/// How many there are up to the last that is not 0.
fn used(lengths: &[u8]) -> usize {
    lengths
        .iter()
        .rposition(|length| *length > 0)
        .map_or(0, |last| last + 1)
}
