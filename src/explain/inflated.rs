//! A compressed message, or frame, beside what it inflates to.

use super::section::About;
use crate::extension::Deflate;

/// Octets of which only the first ones are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// The first ones.
    pub kept: Vec<u8>,
    /// How many they are, kept or not.
    pub octets: u64,
}

/// A portion keeps no more octets than this.
const MAX_KEPT: usize = 64 * 1024;

impl Portion {
    pub(super) fn of(octets: &[u8]) -> Portion {
        let mut portion = Portion::default();
        portion.extend(octets);
        portion
    }

    pub(super) fn extend(&mut self, octets: &[u8]) {
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        let kept = octets.get(..room).unwrap_or(octets);
        // A gap is never closed.
        if self.is_whole() {
            self.kept.extend_from_slice(kept);
        }
        self.octets += octets.len() as u64;
    }

    /// Adds what follows, and keeps at most `most` octets of it. Gives how many.
    pub(super) fn add(&mut self, more: &Portion, most: usize) -> usize {
        let before = self.kept.len();
        let kept = more.kept.get(..most).unwrap_or(&more.kept);
        self.extend(kept);
        self.octets += more.octets - kept.len() as u64;
        self.kept.len() - before
    }

    /// What is kept, without a character that was cut.
    pub(super) fn text(&self) -> &[u8] {
        match std::str::from_utf8(&self.kept) {
            Err(cut) if cut.error_len().is_none() && !self.is_whole() => {
                self.kept.split_at(cut.valid_up_to()).0
            }
            _ => &self.kept,
        }
    }

    /// Whether all of them are kept.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.kept.len() as u64 == self.octets
    }
}

/// What compression means for a frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Coded {
    /// What the two sides agreed on.
    pub(super) deflate: Option<Deflate>,
    /// Whether its payload is compressed.
    pub(super) is_compressed: bool,
    /// Whether it continues a message that has one compressed frame or more.
    pub(super) continues: bool,
    /// What came out while the frame was read.
    pub(super) came_out: Portion,
}

impl Coded {
    /// Where its meaning stands.
    pub(super) fn about(&self) -> Option<About> {
        let per_frame = self.deflate?.is_per_frame();
        Some(About::Compression { per_frame })
    }
}

/// A compressed message, or a frame that is compressed on its own, beside what it
/// inflates to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inflated {
    /// How it was compressed.
    pub deflate: Deflate,
    /// In how many frames it was sent.
    pub frames: usize,
    /// The payload of these frames, unmasked.
    pub compressed: Portion,
    /// What came out.
    pub plain: Portion,
    /// Whether it is a text.
    pub is_text: bool,
    /// Whether all of it is there and inflates.
    pub is_whole: bool,
    /// What it leans on.
    pub context: Context,
    /// Its first reference beyond the window that was agreed on, where it has one.
    pub beyond: Option<Beyond>,
}

/// A reference beyond the window that was agreed on (RFC 7692 section 7.1.2). A
/// receiver with a larger window inflates it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beyond {
    /// How many octets back it goes.
    pub distance: u64,
    /// The most that was agreed on.
    pub window: u64,
    /// Whether it goes back to an earlier message, or frame.
    pub is_to_earlier: bool,
    /// The position of its last octet in the stream of its sender.
    pub at: u64,
}

/// Whether a message refers to those before it (RFC 7692 section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Context {
    /// It cannot: it is the first, or the sender starts anew for each.
    Fresh,
    /// It may, but inflates without them.
    Unused,
    /// It does: without them it does not inflate.
    Earlier,
    /// Not all of it was kept, or it does not inflate at all.
    Unknown,
}

impl Context {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Context::Fresh => "fresh",
            Context::Unused => "unused",
            Context::Earlier => "earlier",
            Context::Unknown => "unknown",
        }
    }
}

/// The three bits in front of a block (RFC 1951 section 3.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBlock {
    /// The octet in whose lowest bits they lie.
    pub octet: u8,
    /// Whether it is the last block of its stream.
    pub bfinal: bool,
    /// The type of the block.
    pub btype: u8,
}

impl FirstBlock {
    /// The type in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self.btype {
            0 => "stored",
            1 => "fixed Huffman",
            2 => "dynamic Huffman",
            _ => "reserved",
        }
    }
}

impl Inflated {
    /// The header of its first block.
    #[must_use]
    pub fn first_block(&self) -> Option<FirstBlock> {
        let octet = self.compressed.kept.first().copied()?;
        Some(FirstBlock {
            octet,
            bfinal: octet & 1 != 0,
            btype: octet >> 1 & 3,
        })
    }

    /// Whether the tail is put back: not where the first block says that it is
    /// the last, or nothing was sent, or the end is not there.
    #[must_use]
    pub fn has_tail(&self) -> bool {
        self.is_whole && self.first_block().is_some_and(|block| !block.bfinal)
    }

    /// `message` or `frame`.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        if self.deflate.is_per_frame() {
            "frame"
        } else {
            "message"
        }
    }
}
