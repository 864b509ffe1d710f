//! Compression, between frames and messages (RFC 7692 section 7.2, and the drafts
//! of deflate-frame).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Piece;
use super::receive::Receiver;
use crate::bytes::{Input, Output};
use crate::error::{Located, Violation};
use crate::extension::{Codecs, Coding, Compression, Deflate, Deflater, Finished, Inflater};
use crate::frame::{Chunk, Decoder, Encoder, Kind, Position};
use crate::trace::{Field, Trace};
use crate::version::Version;

/// Octets of payload that are unmasked before they are inflated. What the room
/// has no space for is masked again, so there are not many.
const AHEAD: usize = 8 * 1024;

/// What compression needs while a message is inflated or deflated, and from
/// message to message where a context is kept.
#[derive(Debug, Default)]
pub(crate) struct Deflating {
    /// Of the message that is inflated, or of all messages.
    inflater: Option<Box<Inflater>>,
    stage: Stage,
    /// Where the payload of the frame starts in the peer's stream: faults are told
    /// there, because how far a stream was read depends on how it arrived.
    payload_at: u64,
    /// Whether the room was filled before all was inflated.
    waits_for_room: bool,
    /// Of the message that is deflated, or of all messages.
    deflater: Option<Box<Deflater>>,
}

/// How far the message that is inflated has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// None is.
    #[default]
    Idle,
    /// The payload of a frame is being read.
    Payload,
    /// Another frame of it must follow.
    BetweenFrames,
    /// Its payload was read, and the end of it is to be inflated.
    Tail,
}

/// What came of inflating.
#[derive(Debug)]
pub(crate) enum Step<'b> {
    Piece(Piece<'b>),
    /// The payload of the frame was read.
    FrameEnds,
    /// More input is needed, or more room.
    Waits,
}

/// The other parts of the connection that inflating needs.
#[derive(Debug)]
pub(crate) struct Receiving<'c> {
    pub(crate) decoder: &'c mut Decoder,
    pub(crate) receiver: &'c mut Receiver,
    pub(crate) version: &'static Version,
    /// The most octets that a message may have, inflated.
    pub(crate) limit: u64,
}

impl Deflating {
    /// Whether the next octets are payload to inflate, or the end of a message
    /// is.
    pub(crate) fn is_in_frame(&self) -> bool {
        matches!(self.stage, Stage::Payload | Stage::Tail)
    }

    /// Whether the next frame continues a message that is compressed as a whole.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.stage == Stage::BetweenFrames
    }

    /// Whether more waits for room, and needs no more input.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    /// Whether nothing would be lost without it.
    pub(crate) fn is_idle(&self) -> bool {
        self.inflater.is_none() && self.stage == Stage::Idle && self.deflater.is_none()
    }

    /// Octets of memory that it holds: for a message that arrives, and for what may
    /// follow.
    #[cfg(feature = "net")]
    pub(crate) fn held(&self) -> (usize, usize) {
        let inflater = self.inflater.as_ref().map_or(0, |_| Inflater::OCTETS);
        let deflater = self.deflater.as_ref().map_or(0, |_| Deflater::OCTETS);
        match self.stage {
            Stage::Idle => (0, inflater + deflater),
            Stage::Payload | Stage::BetweenFrames | Stage::Tail => (inflater, deflater),
        }
    }

    /// The header of a compressed frame was read, or of one that continues a
    /// compressed message; its payload starts at octet `at`.
    pub(crate) fn start_frame(&mut self, at: u64, codecs: &mut Codecs) {
        self.payload_at = at;
        self.stage = Stage::Payload;
        if self.inflater.is_none() {
            self.inflater = Some(codecs.inflater());
        }
    }

    /// Inflates payload of the current frame into the room of the input.
    ///
    /// # Errors
    ///
    /// [`Violation::CompressedDataInvalid`], [`Violation::MessageTooBig`] for one
    /// octet more than the limit, or text that is not UTF-8. The inflater is
    /// thrown away then.
    pub(crate) fn inflate<'b, T: Trace>(
        &mut self,
        deflate: Deflate,
        receiving: &mut Receiving<'_>,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Step<'b>, Located<Violation>> {
        let inflated = self.fill_room(deflate, receiving, input, trace);
        let octets = inflated.and_then(|(written, ends)| {
            let octets = input.take_room(written);
            if T::WATCHING && written > 0 {
                trace.derive(Field::Inflated, octets);
            }
            self.piece(octets, ends, receiving)
        });
        octets.map_err(|violation| {
            self.inflater = None;
            let at = self.payload_at;
            Located::new(violation, at..at)
        })
    }

    /// Writes to the room; gives how much, and whether the frame, or the message
    /// where that is compressed as a whole, ends there.
    fn fill_room<T: Trace>(
        &mut self,
        deflate: Deflate,
        receiving: &mut Receiving<'_>,
        input: &mut Input<'_>,
        trace: &mut T,
    ) -> Result<(usize, bool), Violation> {
        let Some(inflater) = &mut self.inflater else {
            unreachable!("a compressed frame was started");
        };
        let decoder = &mut *receiving.decoder;
        // One octet more than may come tells that there are too many.
        let most = receiving.limit.saturating_sub(receiving.receiver.octets());
        let most = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        let most = most.min(input.room().len());
        let mut written = 0;
        self.waits_for_room = false;
        while self.stage == Stage::Payload {
            if inflater.is_broken() {
                return Err(Violation::CompressedDataInvalid);
            }
            if input.to_inflate() == 0 && !input.rest().is_empty() {
                self.waits_for_room = true;
                return Ok((written, false));
            }
            // An observer learns at which octet a message breaks a rule.
            let ahead = if T::WATCHING { 1 } else { AHEAD };
            let unmasked = decoder.unmask_ahead(input, ahead.min(input.to_inflate()));
            let (octets, room) = input.ahead(unmasked);
            let (room, _) = room.split_at_mut(most);
            let (_, room) = room.split_at_mut(written);
            let inflated = inflater
                .inflate(octets, room)
                .map_err(|_| Violation::CompressedDataInvalid);
            let consumed = inflated.map_or(unmasked, |inflated| inflated.consumed);
            decoder.consume(consumed, unmasked, input, trace);
            input.count_inflated(consumed);
            let inflated = inflated?;
            written += inflated.written;
            if inflater.is_broken() {
                self.waits_for_room = true;
                return Ok((written, false));
            }
            let frame_ends = decoder.is_between_frames();
            if frame_ends && (deflate.is_per_frame() || decoder.is_in_last_frame()) {
                self.stage = Stage::Tail;
            } else if inflated.room_is_full {
                // All that is of a frame comes before the next one.
                self.waits_for_room = true;
                return Ok((written, false));
            } else if frame_ends {
                self.stage = Stage::BetweenFrames;
            } else if input.rest().is_empty() {
                return Ok((written, false));
            }
            if T::WATCHING && written > 0 {
                return Ok((written, false));
            }
        }
        if self.stage != Stage::Tail {
            return Ok((written, false));
        }
        let (_, room) = input.ahead(0);
        let (room, _) = room.split_at_mut(most);
        let (_, room) = room.split_at_mut(written);
        let finished = match inflater.finish(room) {
            Ok(finished) => finished,
            Err(_) if written == 0 => return Err(Violation::CompressedDataInvalid),
            // What comes before the fault is delivered first.
            Err(_) => Finished {
                written: 0,
                is_finished: false,
            },
        };
        written += finished.written;
        self.waits_for_room = !finished.is_finished;
        Ok((written, finished.is_finished))
    }

    /// What was inflated, as a piece of its message.
    fn piece<'b>(
        &mut self,
        octets: &'b mut [u8],
        ends: bool,
        receiving: &mut Receiving<'_>,
    ) -> Result<Step<'b>, Violation> {
        let frame_is_final = receiving.decoder.is_in_last_frame();
        if ends {
            self.stage = Stage::Idle;
        }
        let message_ends = ends && frame_is_final;
        if octets.is_empty() && !message_ends {
            return Ok(if self.is_in_frame() {
                Step::Waits
            } else {
                Step::FrameEnds
            });
        }
        let chunk = Chunk {
            octets,
            frame_to_come: None,
            frame_is_final,
            message_ends,
        };
        let Receiving {
            receiver,
            version,
            limit,
            ..
        } = receiving;
        let piece = receiver.piece(chunk, version, *limit);
        piece.map(Step::Piece).map_err(|(violation, _)| violation)
    }

    /// Gives back what need not be kept until the next message of a peer that
    /// compresses so.
    pub(crate) fn release(&mut self, coding: Coding, codecs: &mut Codecs) {
        if self.stage == Stage::Idle && coding.no_context_takeover {
            if let Some(inflater) = self.inflater.take() {
                codecs.give_back(inflater);
            }
        }
    }

    /// Sends a whole message in one frame: compressed, where it is long enough and
    /// that makes it shorter, and where it does not make others wait too long.
    pub(crate) fn send(
        &mut self,
        coding: Coding,
        compression: &Compression,
        encoder: Encoder<'_>,
        (kind, payload): (Kind, &[u8]),
        out: &mut Output<'_>,
    ) {
        let whole = Position {
            first: true,
            last: true,
        };
        let is_too_long = out.has_limit_of_deflating() && compression.is_too_long(payload.len());
        if payload.len() < compression.threshold || is_too_long || !coding.can_be_kept() {
            // A context is not touched by it.
            return encoder.message(kind, payload, out);
        }
        out.count_deflated(compression.cost_of(payload.len()));
        let mut deflater = self.deflater(coding.max_window_bits, compression, out);
        let mut deflated = out.with_codecs(Codecs::take_buffer);
        deflater.message(payload, &mut deflated);
        // A peer that keeps a context must see what our compressor has seen.
        if coding.no_context_takeover && deflated.len() >= payload.len() {
            encoder.message(kind, payload, out);
        } else {
            encoder.compressed(kind, whole, &deflated, out);
        }
        self.keep(deflater, coding.no_context_takeover, deflated, out);
    }

    /// Sends a part of a message in a frame of its own, compressed. One that is
    /// compressed alone is treated as a message is: it stays as it is where it is
    /// short, or would become no shorter.
    pub(crate) fn send_piece(
        &mut self,
        (coding, is_per_frame): (Coding, bool),
        compression: &Compression,
        encoder: Encoder<'_>,
        (kind, position, payload): (Kind, Position, &[u8]),
        out: &mut Output<'_>,
    ) {
        let is_alone = is_per_frame || position.first && position.last;
        let is_short = is_alone && payload.len() < compression.threshold;
        if is_short || !coding.can_be_kept() {
            return encoder.data(kind, position, payload, out);
        }
        out.count_deflated(compression.cost_of(payload.len()));
        let mut deflater = self.deflater(coding.max_window_bits, compression, out);
        let mut deflated = out.with_codecs(Codecs::take_buffer);
        let ends = position.last || is_per_frame;
        if ends {
            deflater.message(payload, &mut deflated);
        } else {
            deflater.part(payload, &mut deflated);
        }
        let may_stay = is_alone && coding.no_context_takeover;
        if may_stay && deflated.len() >= payload.len() {
            encoder.data(kind, position, payload, out);
        } else {
            encoder.compressed(kind, position, &deflated, out);
        }
        self.keep(deflater, ends && coding.no_context_takeover, deflated, out);
    }

    /// Gives the compressor back between two parts of a message, where it need not
    /// be kept for the next message either. The next part refers to none before it
    /// then.
    #[cfg(feature = "net")]
    pub(crate) fn rest(&mut self, coding: Coding, out: &mut Output<'_>) {
        if coding.no_context_takeover {
            if let Some(deflater) = self.deflater.take() {
                out.with_codecs(|codecs| codecs.give_back_deflater(deflater));
            }
        }
    }

    /// The compressor of the next message, which is not here any more then.
    pub(crate) fn deflater(
        &mut self,
        window_bits: u8,
        compression: &Compression,
        out: &mut Output<'_>,
    ) -> Box<Deflater> {
        let deflater = self.deflater.take();
        deflater.unwrap_or_else(|| {
            out.with_codecs(|codecs| codecs.deflater(compression.level, window_bits))
        })
    }

    /// Keeps the compressor for the next message, or gives it back.
    fn keep(
        &mut self,
        deflater: Box<Deflater>,
        is_done: bool,
        buffer: Vec<u8>,
        out: &mut Output<'_>,
    ) {
        if is_done {
            out.with_codecs(|codecs| codecs.give_back_deflater(deflater));
        } else {
            self.deflater = Some(deflater);
        }
        out.with_codecs(|codecs| codecs.give_back_buffer(buffer));
    }
}
