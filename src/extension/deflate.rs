//! Payload to raw DEFLATE and back, as RFC 7692 section 7.2 asks: flushed to an
//! octet, and without the four octets that every flush ends in.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "net")]
use super::Compression;
#[cfg(not(feature = "std"))]
use super::no_zlib as zlib;
use super::rfc1951::{Compressor, Effort};
use super::step::{Step, Until};
#[cfg(feature = "std")]
use super::zlib;
use super::{LEAST_OF_OURS, Level, MOST_WINDOW_BITS};

/// What every flush ends in: the lengths of an empty stored block. Senders leave
/// it out, and receivers put it back.
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What a message of no octets is: a stored block without its lengths.
const EMPTY: u8 = 0;

/// The stream does not inflate. The inflater is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compressed octets do not inflate")]
pub struct Corrupt;

/// How far one call of [`Inflater::inflate`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// Octets of the input that were read.
    pub consumed: usize,
    /// Octets that were written to the room.
    pub written: usize,
    /// More may wait: it comes with another call, even without input.
    pub room_is_full: bool,
}

/// How far one call of [`Inflater::finish`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Octets that were written to the room.
    pub written: usize,
    /// The message is whole. Otherwise it goes on with another call and new room.
    pub is_finished: bool,
}

/// Inflates what one sender sends, message after message. Its size is fixed.
pub struct Inflater {
    stream: zlib::Inflate,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was inflated since the stream started.
    Fresh,
    /// A message has ended, and the next may refer to it.
    Between,
    /// A message is being read.
    Reading,
    /// As that, and the last room was filled.
    Waiting,
    /// A block said that it is the last one. What is left of the message says
    /// nothing.
    Ended,
    /// The stream did not inflate.
    Broken,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inflater").field(&self.state).finish()
    }
}

impl Inflater {
    /// The octets that one holds.
    pub const OCTETS: usize = 47_688;

    fn new() -> Box<Inflater> {
        Box::new(Inflater {
            stream: zlib::Inflate::new(),
            state: State::Fresh,
        })
    }

    /// Inflates octets of a message into the room, and says how far it came. Where
    /// not all was consumed, the room is full. What comes before a fault is given
    /// first, and the next call fails, so that it does not matter in which portions
    /// the octets arrive.
    pub fn inflate(&mut self, octets: &[u8], room: &mut [u8]) -> Result<Inflated, Corrupt> {
        let starts = matches!(self.state, State::Fresh | State::Between);
        if self.state == State::Ended || (starts && octets.is_empty()) {
            return Ok(Inflated {
                consumed: octets.len(),
                written: 0,
                room_is_full: false,
            });
        }
        let step = self.step(octets, room, Until::Input)?;
        let room_is_full = step.written == room.len();
        let (consumed, state) = if step.is_corrupt {
            (octets.len(), State::Broken)
        } else if step.has_ended {
            (octets.len(), State::Ended)
        } else if room_is_full {
            (step.consumed, State::Waiting)
        } else {
            (step.consumed, State::Reading)
        };
        self.state = state;
        Ok(Inflated {
            consumed,
            written: step.written,
            room_is_full: room_is_full && state == State::Waiting,
        })
    }

    /// Inflates what is left of a message that has ended. A message that ends
    /// within a block is corrupt.
    pub fn finish(&mut self, room: &mut [u8]) -> Result<Finished, Corrupt> {
        let mut written = 0;
        if self.state == State::Waiting {
            let inflated = self.inflate(&[], room)?;
            written = inflated.written;
            if inflated.room_is_full || self.is_broken() {
                return Ok(Finished {
                    written,
                    is_finished: false,
                });
            }
        }
        match self.state {
            // Not an octet, where one of 00 would be right, is an empty message.
            State::Fresh | State::Between => {}
            State::Ended => self.start_anew(),
            State::Reading | State::Waiting | State::Broken => {
                let tail = self.read_tail(room.get_mut(written..).unwrap_or_default());
                if written == 0 {
                    tail?;
                }
            }
        }
        Ok(Finished {
            written,
            // What comes before a fault is given first.
            is_finished: !self.is_broken(),
        })
    }

    /// Reads the tail. It must be the end of a block, and with that of the
    /// message: nothing comes out any more, and a fifth octet is not read.
    fn read_tail(&mut self, room: &mut [u8]) -> Result<(), Corrupt> {
        let [a, b, c, d] = TAIL;
        let mut one = [0];
        // zlib writes nothing without room, and reads nothing either.
        let room = if room.is_empty() { &mut one } else { room };
        let step = self.step(&[a, b, c, d, EMPTY], room, Until::Block)?;
        if step.consumed == TAIL.len() && step.written == 0 && !step.is_corrupt {
            self.state = State::Between;
            Ok(())
        } else {
            self.state = State::Broken;
            Err(Corrupt)
        }
    }

    fn step(&mut self, octets: &[u8], room: &mut [u8], until: Until) -> Result<Step, Corrupt> {
        if self.is_broken() {
            return Err(Corrupt);
        }
        let step = self.stream.inflate(octets, room, until);
        if step.is_corrupt && step.written == 0 {
            self.state = State::Broken;
            return Err(Corrupt);
        }
        Ok(step)
    }

    /// Whether the next call fails.
    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Forgets all that was inflated, as without context takeover before each
    /// message.
    pub fn reset(&mut self) {
        if self.state != State::Fresh {
            self.start_anew();
        }
    }

    fn start_anew(&mut self) {
        self.stream.reset();
        self.state = State::Fresh;
    }
}

/// Deflates what one end sends, message after message. Its size is fixed.
pub struct Deflater {
    compressor: Compressor,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

impl Deflater {
    /// The octets that one holds.
    pub const OCTETS: usize = size_of::<Deflater>() + Compressor::OCTETS;

    fn new(level: Level, window_bits: u8) -> Box<Deflater> {
        Box::new(Deflater {
            compressor: Compressor::new(effort(level), window_bits),
        })
    }

    /// Appends a whole message, deflated, without the tail.
    pub fn message(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.compressor.compress(payload, out);
    }

    /// Appends a part of a message, with its tail: all of the part can be
    /// inflated from what was appended.
    pub fn part(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if !payload.is_empty() {
            self.compressor.compress(payload, out);
            out.extend_from_slice(&TAIL);
        }
    }

    /// Appends the last part of a message, without the tail.
    pub fn finish(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.message(payload, out);
    }

    /// Forgets all that was deflated, as without context takeover before each
    /// message.
    pub fn reset(&mut self) {
        self.compressor.reset();
    }

    fn restart(&mut self, level: Level, window_bits: u8) {
        self.compressor.restart(effort(level), window_bits);
    }
}

/// What the levels try. `cargo bench --bench compression -- levels` shows what comes of
/// each. Binary records that repeat three or four octets and not more become up to 1.7
/// times as long as with zlib but for the best level, which looks for them.
fn effort(level: Level) -> Effort {
    let (tries, tries_of_long, long, taken_at_once, enough) = match level {
        Level::Fast => (1, 1, 12, 1, 32),
        Level::Default => (2, 16, 12, 5, 128),
        Level::Best => (64, 64, 32, 128, 258),
    };
    Effort {
        tries,
        tries_of_long,
        long,
        taken_at_once,
        enough,
        notes_all: level != Level::Fast,
        finds_short: level == Level::Best,
    }
}

/// The largest buffer that is kept, in octets.
const MOST_KEPT: usize = 64 * 1024;

/// What the connections of one thread share: an inflater and a deflater that are
/// idle, one of each at most.
#[derive(Debug)]
pub struct Codecs {
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
    /// For one compressed message at a time.
    buffer: Vec<u8>,
    /// Others wait while something is deflated.
    is_limited: bool,
    /// Octets that may still be deflated before they have their turn.
    to_deflate: usize,
}

impl Default for Codecs {
    /// Without codecs, and without a limit.
    fn default() -> Codecs {
        Codecs {
            inflater: None,
            deflater: None,
            buffer: Vec::new(),
            is_limited: false,
            to_deflate: usize::MAX,
        }
    }
}

impl Codecs {
    /// An inflater that has inflated nothing yet, as far as it knows.
    pub fn inflater(&mut self) -> Box<Inflater> {
        self.inflater.take().unwrap_or_else(Inflater::new)
    }

    /// Keeps an inflater for its next user. One that is broken is thrown away.
    pub fn give_back(&mut self, mut inflater: Box<Inflater>) {
        if self.inflater.is_none() && inflater.state != State::Broken {
            inflater.reset();
            self.inflater = Some(inflater);
        }
    }

    /// A deflater that has deflated nothing yet, as far as it knows, for a window
    /// of 9 to 15 bits.
    pub fn deflater(&mut self, level: Level, window_bits: u8) -> Box<Deflater> {
        let window_bits = window_bits.clamp(LEAST_OF_OURS, MOST_WINDOW_BITS);
        match self.deflater.take() {
            Some(mut deflater) => {
                deflater.restart(level, window_bits);
                deflater
            }
            None => Deflater::new(level, window_bits),
        }
    }

    /// Keeps a deflater for its next user.
    pub fn give_back_deflater(&mut self, deflater: Box<Deflater>) {
        self.deflater.get_or_insert(deflater);
    }

    /// A message compressed on its own with the largest window; `None` where it is
    /// too short for that, or would not become shorter.
    #[cfg(feature = "net")]
    pub(crate) fn shorter(&mut self, payload: &[u8], compression: Compression) -> Option<Vec<u8>> {
        if payload.len() < compression.threshold {
            return None;
        }
        let mut deflater = self.deflater(compression.level, MOST_WINDOW_BITS);
        let mut deflated = self.take_buffer();
        deflater.message(payload, &mut deflated);
        self.give_back_deflater(deflater);
        if deflated.len() < payload.len() {
            return Some(deflated);
        }
        self.give_back_buffer(deflated);
        None
    }

    /// Only so many octets may be deflated before others have their turn.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn limit_deflating(&mut self, octets: usize) {
        self.is_limited = true;
        self.to_deflate = octets;
    }

    /// Whether there is such a limit.
    pub(crate) fn has_limit(&self) -> bool {
        self.is_limited
    }

    /// Whether more may be deflated before others have their turn.
    #[inline]
    pub(crate) fn may_deflate(&self) -> bool {
        self.to_deflate > 0
    }

    /// Notes that this was deflated.
    pub(crate) fn count_deflated(&mut self, octets: usize) {
        if self.is_limited {
            self.to_deflate = self.to_deflate.saturating_sub(octets);
        }
    }

    /// An empty buffer for a compressed message.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.buffer)
    }

    /// Keeps the buffer for the next message, if it is not a large one.
    pub(crate) fn give_back_buffer(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= MOST_KEPT {
            buffer.clear();
            self.buffer = buffer;
        }
    }
}
