//! How far back a DEFLATE stream refers (RFC 1951): whether a sender keeps to the
//! window that was agreed on. An inflater has all octets at hand, and does not
//! notice.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use super::rfc1951::{
    DISTANCES, END_OF_BLOCK, FIXED_DISTANCES, FIXED_LITERALS, LENGTHS, LONGEST_CODE, ORDER, Symbol,
};
use super::{Deflate, MOST_WINDOW_BITS};
use crate::version::Side;

/// A reference beyond the window that was agreed on (RFC 7692 sections 7.1.2.1 and
/// 7.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// How many octets back it goes.
    pub distance: u64,
    /// How many it may, by what was agreed on.
    pub window: u64,
}

impl Exceeded {
    /// The stable code of such a fault.
    pub const CODE: &'static str = "window-exceeded";
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceeded { distance, window } = self;
        write!(
            f,
            "what is compressed refers {distance} octets back, beyond the window of {window} that \
             was agreed on"
        )
    }
}

/// Watches the compressed messages of one sender: whether it keeps to its window. A
/// connection does not look, as it inflates with the largest one. Of each message the
/// first MiB is looked at, compressed.
///
/// ```
/// use heirloom::Side;
/// use heirloom::extension::{Coding, Deflate, Name, WindowWatch};
/// let server = Coding { no_context_takeover: false, max_window_bits: 8 };
/// let client = Coding::default();
/// let deflate = Deflate { name: Name::PermessageDeflate, server, client };
/// assert!(WindowWatch::new(deflate, Side::Client).is_none());
/// let mut watch = WindowWatch::new(deflate, Side::Server).expect("a small window");
/// // 300 octets, and the first three of them again.
/// watch.start_frame(0xc1);
/// watch.payload(&[0, 0x2c, 1, 0xd3, 0xfe]);
/// watch.payload(&[b'a'; 300]);
/// watch.payload(&[2, 0x86, 0x15, 0]);
/// watch.end_frame();
/// let exceeded = watch.take_exceeded().expect("it goes beyond");
/// assert_eq!((exceeded.distance, exceeded.window), (300, 256));
/// ```
#[derive(Debug)]
pub struct WindowWatch {
    window: usize,
    is_per_frame: bool,
    /// What has arrived of what is compressed: a message, or a frame.
    compressed: Vec<u8>,
    /// Whether the message at hand is compressed, or the frame.
    is_compressed: bool,
    /// Whether the frame at hand is of a message, and what is compressed ends with it.
    is_in_message: bool,
    is_last: bool,
    exceeded: Option<Exceeded>,
}

/// Octets of what is compressed that are looked at.
const MOST_OCTETS: usize = 1024 * 1024;

impl WindowWatch {
    /// Watches what this side sends, where both agreed on this; `None` where it may
    /// refer back as far as DEFLATE can.
    #[must_use]
    pub fn new(deflate: Deflate, sender: Side) -> Option<WindowWatch> {
        let bits = deflate.of(sender).max_window_bits;
        (bits < MOST_WINDOW_BITS).then(|| WindowWatch {
            window: 1 << bits,
            is_per_frame: deflate.is_per_frame(),
            compressed: Vec::new(),
            is_compressed: false,
            is_in_message: false,
            is_last: false,
            exceeded: None,
        })
    }

    /// A frame starts, with this first octet of its header.
    pub fn start_frame(&mut self, first: u8) {
        let (opcode, rsv1) = (first & 15, first & 0x40 != 0);
        self.is_in_message = opcode < 8;
        self.is_last = self.is_per_frame || first & 0x80 != 0;
        if matches!(opcode, 1 | 2) || self.is_in_message && self.is_per_frame {
            self.is_compressed = rsv1;
        }
    }

    /// Octets of its payload have arrived, unmasked.
    pub fn payload(&mut self, octets: &[u8]) {
        if self.is_in_message && self.is_compressed {
            let room = MOST_OCTETS.saturating_sub(self.compressed.len());
            let octets = octets.get(..room).unwrap_or(octets);
            self.compressed.extend_from_slice(octets);
        }
    }

    /// The frame has ended.
    pub fn end_frame(&mut self) {
        if !self.is_in_message || !self.is_last {
            return;
        }
        if self.is_compressed && self.exceeded.is_none() {
            let found = first_beyond(self.window, &self.compressed);
            self.exceeded = found.map(|found| Exceeded {
                distance: found.distance as u64,
                window: self.window as u64,
            });
        }
        self.compressed.clear();
    }

    /// What went beyond the window since this was asked last: the first of it.
    pub fn take_exceeded(&mut self) -> Option<Exceeded> {
        self.exceeded.take()
    }
}

/// A reference of a stream to octets that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "explain"), allow(dead_code))] // the rest asks how far alone
pub(crate) struct Reference {
    /// How many octets back they start.
    pub(crate) distance: usize,
    /// The octet of the stream in which it ends.
    pub(crate) at: usize,
    /// What the stream has inflated to before it, in octets.
    pub(crate) before: usize,
}

/// The furthest distance in a message that is compressed as RFC 7692 section 7.2.1
/// says; `None` where it is no DEFLATE stream.
#[cfg(all(test, feature = "conform"))]
pub(crate) fn furthest(message: &[u8]) -> Option<usize> {
    let mut furthest = 0;
    read(message, &super::deflate::TAIL, &mut |reference| {
        furthest = furthest.max(reference.distance);
    })?;
    Some(furthest)
}

/// The first reference in a message that goes back more than so many octets. The end
/// of the message may be missing, and what is no DEFLATE stream is read up to where it
/// is none.
pub(crate) fn first_beyond(window: usize, message: &[u8]) -> Option<Reference> {
    let mut first = None;
    // What the tail adds refers to nothing.
    read(message, &[], &mut |reference| {
        if reference.distance > window {
            first.get_or_insert(reference);
        }
    });
    first
}

/// Reads a stream, and tells of its references; `None` where it is none, or has no
/// end.
fn read(octets: &[u8], tail: &[u8], found: &mut dyn FnMut(Reference)) -> Option<()> {
    let mut bits = Bits {
        octets,
        tail,
        read: 0,
        held: 0,
        count: 0,
    };
    let mut made = 0;
    while !bits.is_at_end() {
        let is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => made += bits.skip_stored()?,
            1 => block(&mut bits, &Codes::fixed(), &mut made, found)?,
            2 => {
                let codes = Codes::read(&mut bits)?;
                block(&mut bits, &codes, &mut made, found)?;
            }
            _ => return None,
        }
        if is_last {
            break;
        }
    }
    Some(())
}

/// The octets of a message and the tail that its sender leaves out, bit by bit.
struct Bits<'m> {
    octets: &'m [u8],
    tail: &'m [u8],
    /// How many octets were read.
    read: usize,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn is_at_end(&self) -> bool {
        self.octets.is_empty() && self.tail.is_empty()
    }

    fn octet(&mut self) -> Option<u8> {
        if self.octets.is_empty() {
            self.octets = mem::take(&mut self.tail);
        }
        let (first, rest) = self.octets.split_first()?;
        self.octets = rest;
        self.read += 1;
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

    /// Skips a stored block behind its type, and gives how many octets it has.
    fn skip_stored(&mut self) -> Option<usize> {
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
        Some(length)
    }
}

/// A canonical Huffman code.
struct Code {
    /// How many symbols have a code of this length.
    counts: [usize; LONGEST_CODE as usize + 1],
    /// The symbols by their codes.
    symbols: Vec<usize>,
}

impl Code {
    fn of(lengths: &[u8]) -> Code {
        let mut counts = [0; LONGEST_CODE as usize + 1];
        for length in lengths {
            if let Some(count) = counts.get_mut(usize::from(*length)) {
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

impl Codes {
    fn fixed() -> Codes {
        Codes {
            literals: Code::of(&FIXED_LITERALS),
            distances: Code::of(&FIXED_DISTANCES),
        }
    }

    fn read(bits: &mut Bits<'_>) -> Option<Codes> {
        let literals = bits.take(5)? + END_OF_BLOCK + 1;
        let distances = bits.take(5)? + 1;
        let count = bits.take(4)? + 4;
        let mut lengths = [0; ORDER.len()];
        for symbol in ORDER.iter().take(count) {
            *lengths.get_mut(*symbol)? = u8::try_from(bits.take(3)?).ok()?;
        }
        let code = Code::of(&lengths);
        let mut lengths = Vec::with_capacity(literals + distances);
        while lengths.len() < literals + distances {
            let (length, times) = match code.symbol(bits)? {
                length @ 0..=15 => (u8::try_from(length).ok()?, 1),
                16 => (*lengths.last()?, 3 + bits.take(2)?),
                17 => (0, 3 + bits.take(3)?),
                _ => (0, 11 + bits.take(7)?),
            };
            lengths.extend(core::iter::repeat_n(length, times));
        }
        let (of_literals, of_distances) = lengths.split_at_checked(literals)?;
        Some(Codes {
            literals: Code::of(of_literals),
            distances: Code::of(of_distances),
        })
    }
}

/// What a symbol stands for, with the bits that follow it.
fn number(bits: &mut Bits<'_>, alphabet: &[Symbol], symbol: usize) -> Option<usize> {
    let symbol = alphabet.get(symbol)?;
    Some(usize::from(symbol.base) + bits.take(symbol.extra_bits.into())?)
}

/// Reads a block that is compressed. `made` is what the stream has inflated to.
fn block(
    bits: &mut Bits<'_>,
    codes: &Codes,
    made: &mut usize,
    found: &mut dyn FnMut(Reference),
) -> Option<()> {
    loop {
        let symbol = codes.literals.symbol(bits)?;
        let Some(of_length) = symbol.checked_sub(END_OF_BLOCK + 1) else {
            if symbol == END_OF_BLOCK {
                return Some(());
            }
            *made += 1;
            continue;
        };
        let length = number(bits, &LENGTHS, of_length)?;
        let symbol = codes.distances.symbol(bits)?;
        let distance = number(bits, &DISTANCES, symbol)?;
        found(Reference {
            distance,
            at: bits.read.saturating_sub(1),
            before: *made,
        });
        *made += length;
    }
}

#[cfg(all(test, feature = "conform", feature = "explain"))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::extension::Level;
    use crate::extension::deflate::Codecs;

    fn furthest_of(octets: &[u8], bits: u8) -> Option<usize> {
        let mut deflated = Vec::new();
        let mut deflater = Codecs::default().deflater(Level::Best, bits);
        deflater.message(octets, &mut deflated);
        furthest(&deflated)
    }

    /// Words of which each comes again sooner or later.
    fn words(octets: usize) -> Vec<u8> {
        let (mut text, mut random) = (Vec::new(), 1_u64);
        while text.len() < octets {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text.extend_from_slice(format!("word{} ", (random >> 20) % 5000).as_bytes());
        }
        text
    }

    #[test]
    fn a_deflater_keeps_to_each_window_whatever_it_did_before() {
        let mut codecs = Codecs::default();
        let block = &words(60_000)[..];
        for turn in 0..3 {
            // Up, down, and up again.
            for step in 9..=15 {
                let bits = if turn == 1 { 24 - step } else { step };
                for level in [Level::Fast, Level::Default, Level::Best] {
                    let mut deflater = codecs.deflater(level, bits);
                    let mut most = 0;
                    for payload in [&block[..5000], block, &block[300..20_000], block] {
                        let mut deflated = Vec::new();
                        for part in payload.chunks(7000) {
                            deflater.part(part, &mut deflated);
                        }
                        deflater.finish(&[], &mut deflated);
                        most = most.max(furthest(&deflated).unwrap());
                    }
                    assert!(most <= 1 << bits, "{level:?} {bits}: {most}");
                    assert!(most > 1 << (bits - 2), "{level:?} {bits}: {most}");
                    codecs.give_back_deflater(deflater);
                }
            }
        }
    }

    /// Pixels of some colours: three octets repeat, mostly further back than a small
    /// window, and hardly more.
    #[test]
    fn short_matches_keep_to_each_window() {
        let mut random = 1_u64;
        let mut pixels = Vec::new();
        while pixels.len() < 100_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let colour = (random >> 40) % 700;
            pixels.extend(&colour.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[..3]);
        }
        for bits in 9..=15 {
            let most = furthest_of(&pixels, bits).unwrap();
            // Many are that far, and beyond 8 Ki hardly any.
            let least = 1 << (bits - 1).min(12);
            assert!((least..1 << bits).contains(&most), "{bits}: {most}");
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

    #[test]
    fn the_first_reference_beyond_a_window_is_found_where_it_lies() {
        // 300 octets, stored, and the first three of them again.
        let block = [&[0, 0x2c, 1, 0xd3, 0xfe][..], &[b'a'; 300]].concat();
        let again = [&block[..], &[2, 0x86, 0x15, 0]].concat();
        let found = Reference {
            distance: 300,
            at: 307,
            before: 300,
        };
        assert_eq!(first_beyond(299, &again), Some(found));
        assert_eq!(first_beyond(300, &again), None);
        // It is there with its last octet, and not before.
        assert_eq!(first_beyond(299, &again[..308]), Some(found));
        assert_eq!(first_beyond(299, &again[..307]), None);
        // In a message of its own it refers to the one before.
        let found = Reference {
            distance: 300,
            at: 2,
            before: 0,
        };
        assert_eq!(first_beyond(299, &[2, 0x86, 0x15, 0]), Some(found));
        assert_eq!(furthest(&again), Some(300));
    }
}
