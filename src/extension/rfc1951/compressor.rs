//! Octets to DEFLATE: strings that occurred before within the window become a
//! length and a distance (RFC 1951 section 4).

use alloc::vec::Vec;

use super::bits::Bits;
use super::block::Block;
use super::chains::{Chains, HASHED};
use super::window::{END, Octets, STEP, WINDOW};
use super::{LONGEST, SHORTEST, low};

/// How much is tried to find long matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// How many earlier positions are looked at.
    pub(crate) tries: u16,
    /// As that, once a long match was found: where there is one, there are longer ones.
    pub(crate) tries_of_long: u16,
    /// From how many octets on a match is a long one.
    pub(crate) long: u16,
    /// A match of this many octets is taken at once. Otherwise the next octet is
    /// tried too, where a longer one may start.
    pub(crate) taken_at_once: u16,
    /// A match of this many octets is not compared with others.
    pub(crate) enough: u16,
    /// Whether matches are looked for that start within another.
    pub(crate) notes_all: bool,
    /// Whether matches of three and four octets are looked for, which else are found by
    /// chance, or not.
    pub(crate) finds_short: bool,
}

/// A compressor with the octets that it may refer to. It holds a fixed number of
/// octets.
pub(crate) struct Compressor {
    /// What was compressed, and room for more. The first position is never used.
    octets: Octets,
    chains: Chains,
    block: Block,
    effort: Effort,
    /// The furthest that a match may be.
    reach: usize,
    /// Where what may be referred to starts.
    start: usize,
    /// Where it ends.
    end: usize,
    /// All positions before have their places in the chains.
    hashed: usize,
}

/// Chains give no matches of fewer octets: they save little or nothing.
const SHORTEST_FOUND: usize = 4;

/// Where short matches are looked for, one of more octets is not asked whether it saves
/// anything.
const LONGEST_SHORT: usize = 4;

/// The most literals and matches of a block. In a longer one the codes do not fit
/// all of it as well.
const PARTS: usize = 8 * 1024;

impl Compressor {
    /// The octets that one holds beside itself.
    pub(crate) const OCTETS: usize = Octets::OCTETS + Chains::OCTETS + size_of::<u32>() * PARTS;

    /// Refers back by at most 2 to the power of this many octets: 8 to 15.
    pub(crate) fn new(effort: Effort, window_bits: u8) -> Compressor {
        Compressor {
            octets: Octets::new(),
            chains: Chains::new(),
            block: Block::new(PARTS),
            effort,
            reach: reach(window_bits),
            start: 1,
            end: 1,
            hashed: 1,
        }
    }

    /// Takes another effort and window, and forgets all that was compressed.
    pub(crate) fn restart(&mut self, effort: Effort, window_bits: u8) {
        self.effort = effort;
        self.reach = reach(window_bits);
        self.reset();
    }

    /// Forgets all that was compressed. It costs nothing: what was before stays
    /// where it is, and is not referred to.
    pub(crate) fn reset(&mut self) {
        self.start = self.end;
        self.hashed = self.end;
    }

    /// Appends these octets, compressed, up to the lengths of the empty stored
    /// block that ends a flush (RFC 7692 section 7.2.1).
    pub(crate) fn compress(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        let mut sink = Sink {
            out,
            bits: Bits::default(),
            start: None,
        };
        while !octets.is_empty() {
            let moved = self.make_room(octets.len());
            sink.start = if self.block.is_empty() {
                Some(self.end)
            } else {
                sink.start.and_then(|start| start.checked_sub(moved))
            };
            let (some, rest) = octets.split_at(octets.len().min(END - self.end));
            octets = rest;
            let from = self.end;
            self.octets.write(from, some);
            self.end += some.len();
            if self.effort.finds_short {
                self.take::<true>(from, &mut sink);
            } else {
                self.take::<false>(from, &mut sink);
            }
        }
        if !self.block.is_empty() {
            sink.write(&mut self.block, &self.octets, self.end);
        }
        sink.bits.append_stored(sink.out);
    }

    /// Makes room for this many octets, or for some of them. Says how far what is
    /// there was moved.
    fn make_room(&mut self, octets: usize) -> usize {
        if self.start == self.end && END - self.end < octets {
            // Nothing of it can be referred to, and no block is open.
            self.chains.clear();
            (self.start, self.end, self.hashed) = (1, 1, 1);
            return 0;
        }
        if self.end < END {
            return 0;
        }
        self.octets.slide();
        self.chains.slide();
        for position in [&mut self.start, &mut self.end, &mut self.hashed] {
            *position = position.saturating_sub(WINDOW).max(1);
        }
        WINDOW
    }
}

/// As far as a chain is one: a position that is a whole window back has the place
/// of the one that is compared with it.
fn reach(window_bits: u8) -> usize {
    (1 << window_bits.min(15)) - 1
}

/// Where bits go, and what the open block stands for.
struct Sink<'o> {
    out: &'o mut Vec<u8>,
    bits: Bits,
    /// Where the open block starts, if all of its octets are still here.
    start: Option<usize>,
}

impl Sink<'_> {
    /// Writes the block, which ends before this position. It is kept out of the loop
    /// over the octets.
    #[cold]
    fn write(&mut self, block: &mut Block, octets: &Octets, end: usize) {
        let octets = self.start.and_then(|start| octets.get(start, end));
        block.write(octets, &mut self.bits, self.out);
        self.start = Some(end);
    }
}

impl Compressor {
    /// Takes the octets from here to the end into blocks. Those that fill up are
    /// written. Whether short matches are looked for is known to the compiler: the loop
    /// has no time to ask.
    fn take<const FINDS_SHORT: bool>(&mut self, from: usize, sink: &mut Sink<'_>) {
        let Compressor { octets, block, .. } = self;
        let end = self.end;
        let taken_at_once = usize::from(self.effort.taken_at_once);
        let mut search = Search {
            octets,
            chains: &mut self.chains,
            effort: self.effort,
            start: self.start,
            end,
            reach: self.reach,
        };
        // What follows the last octets of a call is not known before the next.
        let hashable = (end + 1).saturating_sub(HASHED as usize);
        search.insert_all::<FINDS_SHORT>(self.hashed, from.min(hashable));
        self.hashed = self.hashed.max(hashable);
        let mut at = from;
        while at < hashable {
            if block.is_full_with(2) {
                sink.write(block, octets, at);
            }
            let Some(mut found) = search.first::<FINDS_SHORT>(at, block) else {
                block.push_literal(octets.one(low(at)));
                at += 1;
                continue;
            };
            let mut hashed = at + 1;
            while found.length < taken_at_once && hashed < hashable && !block.is_full_with(2) {
                hashed += 1;
                let Some(longer) = search.longer::<FINDS_SHORT>(at + 1, found.length) else {
                    break;
                };
                block.push_literal(octets.one(low(at)));
                at += 1;
                found = longer;
            }
            block.push_match(low(found.length), low(found.distance));
            at += found.length;
            if self.effort.notes_all {
                search.insert_all::<FINDS_SHORT>(hashed, at.min(hashable));
            }
        }
        for at in at..end {
            if block.is_full_with(1) {
                sink.write(block, octets, at);
            }
            block.push_literal(octets.one(low(at)));
        }
    }
}

/// Looks for matches.
struct Search<'c> {
    octets: &'c Octets,
    chains: &'c mut Chains,
    effort: Effort,
    start: usize,
    end: usize,
    /// The furthest distance.
    reach: usize,
}

/// Octets that occurred before.
struct Match {
    length: usize,
    distance: usize,
}

impl Search<'_> {
    #[inline(always)]
    fn insert<const FINDS_SHORT: bool>(&mut self, position: usize) -> u16 {
        let position = low(position);
        let octets = self.octets.eight(position, 0);
        self.chains.insert::<FINDS_SHORT>(octets, position)
    }

    /// Notes the positions from one up to another.
    #[inline(always)]
    fn insert_all<const FINDS_SHORT: bool>(&mut self, from: usize, to: usize) {
        for position in from..to {
            self.insert::<FINDS_SHORT>(position);
        }
    }

    /// A match that starts here and is worth its bits, where none is known yet. Notes the
    /// position.
    #[inline(always)]
    fn first<const FINDS_SHORT: bool>(&mut self, at: usize, block: &Block) -> Option<Match> {
        if !FINDS_SHORT {
            return self.longer::<FINDS_SHORT>(at, SHORTEST_FOUND - 1);
        }
        let found = self.longer::<FINDS_SHORT>(at, SHORTEST - 1)?;
        let short = self.octets.get(at, at + found.length.min(LONGEST_SHORT))?;
        let is_worth_it = found.length > LONGEST_SHORT || block.saves(short, low(found.distance));
        is_worth_it.then_some(found)
    }

    /// A match here of more octets than this many, if there is one. Notes the position.
    #[inline(always)]
    fn longer<const FINDS_SHORT: bool>(&mut self, at: usize, than: usize) -> Option<Match> {
        if !FINDS_SHORT {
            return self.longest::<FINDS_SHORT>(at, than);
        }
        let latest = self.chains.latest_of_short(self.octets.eight(low(at), 0));
        let found = self.longest::<FINDS_SHORT>(at, than.max(SHORTEST_FOUND - 1));
        found.or_else(|| self.short(at, latest).filter(|short| short.length > than))
    }

    /// Three octets that are the same at this position, or four.
    fn short(&self, at: usize, latest: u16) -> Option<Match> {
        let differ = self.octets.four(low(at), 0) ^ self.octets.four(latest, 0);
        let length = (differ.trailing_zeros() / 8) as usize;
        (latest >= self.least(at) && length >= SHORTEST).then(|| Match {
            length,
            distance: at - usize::from(latest),
        })
    }

    /// The earliest position that may be referred to from here.
    #[inline(always)]
    fn least(&self, at: usize) -> u16 {
        low(self.start.max(at.saturating_sub(self.reach)))
    }

    /// The longest match that the chain of this position gives, if there is one of more
    /// octets than this many. Notes the position.
    #[inline(always)]
    fn longest<const FINDS_SHORT: bool>(&mut self, at: usize, than: usize) -> Option<Match> {
        let mut candidate = self.insert::<FINDS_SHORT>(at);
        let least = self.least(at);
        let most = (self.end - at).min(LONGEST);
        if candidate < least || than >= most {
            return None;
        }
        let (octets, effort) = (self.octets, self.effort);
        let (mut length, mut from) = (than, 0);
        let (mut tries, mut is_long) = (effort.tries, false);
        let here = low(at);
        let first = octets.four(here, 0);
        // What a longer match must have at its end.
        let mut last = octets.four(here, length + 1 - SHORTEST_FOUND);
        loop {
            if octets.four(candidate, length + 1 - SHORTEST_FOUND) == last
                && octets.four(candidate, 0) == first
            {
                let found = self.common(here, candidate, most);
                if found > length {
                    (length, from) = (found, candidate);
                    if found >= usize::from(effort.enough) || found == most {
                        break;
                    }
                    last = octets.four(here, length + 1 - SHORTEST_FOUND);
                    if found >= usize::from(effort.long) && !is_long {
                        is_long = true;
                        tries = effort.tries_of_long;
                    }
                }
            }
            tries = tries.saturating_sub(1);
            if tries == 0 {
                break;
            }
            candidate = self.chains.before(candidate);
            if candidate < least {
                break;
            }
        }
        (from > 0).then(|| Match {
            length,
            distance: at - usize::from(from),
        })
    }

    /// How many octets are the same at both, up to this many. The first four are.
    #[inline(always)]
    fn common(&self, one: u16, other: u16, most: usize) -> usize {
        let mut same = SHORTEST_FOUND;
        while same < most {
            let differ = self.octets.eight(one, same) ^ self.octets.eight(other, same);
            if differ != 0 {
                same += (differ.trailing_zeros() / 8) as usize;
                break;
            }
            same += STEP;
        }
        same.min(most)
    }
}
