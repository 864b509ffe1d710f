//! Payload to raw DEFLATE and back, as RFC 7692 section 7.2 asks: flushed to an
//! octet, and without the four octets that every flush ends in.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "net")]
use super::Compression;
#[cfg(not(feature = "std"))]
use super::no_zlib as zlib;
use super::step::{Step, Until};
#[cfg(feature = "std")]
use super::zlib;
use super::{LEAST_WINDOW_BITS, Level, MOST_WINDOW_BITS};

/// What every flush ends in: the lengths of an empty stored block. Senders leave
/// it out, and receivers put it back.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What a message of no octets is: a stored block without its lengths.
const EMPTY: u8 = 0;

/// The smallest window of a compressor: zlib makes no raw stream with one of 8.
pub(crate) const LEAST_OF_OURS: u8 = LEAST_WINDOW_BITS + 1;

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
    stream: zlib::Deflate,
    level: Level,
    window_bits: u8,
    /// Something was deflated since the stream started.
    is_used: bool,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("level", &self.level)
            .field("window_bits", &self.window_bits)
            .finish_non_exhaustive()
    }
}

impl Deflater {
    /// The octets that one of this window holds.
    #[must_use]
    pub const fn octets(window_bits: u8) -> usize {
        match window_bits {
            ..=9 => 138_248,
            10 => 142_088,
            11 => 149_768,
            12 => 165_128,
            13 => 195_848,
            14 => 228_616,
            15.. => 294_152,
        }
    }

    fn new(level: Level, window_bits: u8) -> Box<Deflater> {
        Box::new(Deflater {
            stream: zlib::Deflate::new(zlib_level(level), window_bits, memory_level(window_bits)),
            level,
            window_bits,
            is_used: false,
        })
    }

    /// Appends a whole message, deflated, without the tail.
    pub fn message(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.flush(payload, out);
        end_message(start, out);
    }

    /// Appends a part of a message, with its tail: all of the part can be
    /// inflated from what was appended.
    pub fn part(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.flush(payload, out);
    }

    /// Appends the last part of a message, without the tail.
    pub fn finish(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.message(payload, out);
    }

    /// Forgets all that was deflated, as without context takeover before each
    /// message.
    pub fn reset(&mut self) {
        if self.is_used {
            self.stream.reset();
            self.is_used = false;
        }
    }

    /// Octets of memory that it holds.
    #[cfg(feature = "net")]
    pub(crate) fn held(&self) -> usize {
        Deflater::octets(self.window_bits)
    }

    fn set_level(&mut self, level: Level) {
        if self.level != level {
            self.stream.set_level(zlib_level(level));
            self.level = level;
        }
    }

    fn flush(&mut self, mut payload: &[u8], out: &mut Vec<u8>) {
        /// With less room than this, zlib may flush twice.
        const LEAST_ROOM: usize = 64;
        const MOST_ROOM: usize = 32 * 1024;
        if payload.is_empty() {
            // A second flush of nothing would give nothing.
            return;
        }
        self.is_used = true;
        loop {
            let start = out.len();
            let room = payload.len().min(MOST_ROOM) + LEAST_ROOM;
            out.resize(start + room, 0);
            let step = self
                .stream
                .deflate(payload, out.get_mut(start..).unwrap_or_default());
            out.truncate(start + step.written);
            payload = payload.get(step.consumed..).unwrap_or_default();
            if step.written < room {
                debug_assert!(payload.is_empty());
                return;
            }
        }
    }
}

/// Takes the tail off what was written since `start`. Where nothing was, it is a
/// message without octets, or the end of one whose parts have their tails.
fn end_message(start: usize, out: &mut Vec<u8>) {
    let Some(written) = out.get(start..).filter(|written| !written.is_empty()) else {
        out.push(EMPTY);
        return;
    };
    debug_assert!(written.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
}

/// The level of zlib. 1 has no codes of its own: JSON gets a third longer, in less
/// than half of the time. 3 takes two thirds of the time of 6, and JSON is 6 % longer,
/// prose 2 %. 7 gives the smallest size; 8 and 9 take more time and give none smaller.
fn zlib_level(level: Level) -> i32 {
    match level {
        Level::Fast => 1,
        Level::Default => 3,
        Level::Best => 7,
    }
}

/// How much memory zlib takes beside the window. More than 6 makes a message of
/// 1 MiB half a percent shorter, and one of 1 KiB takes longer.
fn memory_level(window_bits: u8) -> i32 {
    i32::from(window_bits - 7).min(6)
}

/// The largest buffer that is kept, in octets.
const MOST_KEPT: usize = 64 * 1024;

/// What the connections of one thread share: inflaters and deflaters that are
/// idle, one of each kind and window at most.
#[derive(Debug, Default)]
pub struct Codecs {
    inflater: Option<Box<Inflater>>,
    /// For one compressed message at a time.
    buffer: Vec<u8>,
    /// By window, from 9 bits on.
    deflaters: [Option<Box<Deflater>>; (MOST_WINDOW_BITS - LEAST_OF_OURS + 1) as usize],
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
        match self.idle(window_bits).and_then(Option::take) {
            Some(mut deflater) => {
                deflater.set_level(level);
                deflater
            }
            None => Deflater::new(level, window_bits),
        }
    }

    /// Keeps a deflater for its next user.
    pub fn give_back_deflater(&mut self, mut deflater: Box<Deflater>) {
        if let Some(idle @ None) = self.idle(deflater.window_bits) {
            deflater.reset();
            *idle = Some(deflater);
        }
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

    fn idle(&mut self, window_bits: u8) -> Option<&mut Option<Box<Deflater>>> {
        let place = usize::from(window_bits.checked_sub(LEAST_OF_OURS)?);
        self.deflaters.get_mut(place)
    }
}
