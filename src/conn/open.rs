//! An open connection: the decoder and receiver of what arrives, the sender of
//! what is sent.

use alloc::boxed::Box;

use simdutf8::basic::from_utf8;

use crate::bytes::{Input, Output};
use crate::error::{Located, Unsendable, Violation};
use crate::extension::{Compression, Deflate};
use crate::frame::{self, Control, Data, Decoder, Encoder, Frame, Kind, Position, Wire};
use crate::message::{Deflating, Message, Piece, Receiver, Receiving, Sender, Step};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::Side;

/// An open connection.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) wire: Wire,
    pub(super) decoder: Decoder,
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    /// Whether we have sent a close.
    pub(super) close_sent: bool,
    pub(super) start: Start,
    /// Whether compressed messages that arrive are delivered as they are.
    pub(super) keeps_received: bool,
    /// Whether messages are sent as they are given, compressed or not.
    pub(super) keeps_sent: bool,
    /// What compression needs, while it needs something.
    pub(super) deflating: Option<Box<Deflating>>,
}

/// What comes next where compression was agreed on.
#[derive(Debug)]
pub(super) enum Next<'b> {
    Piece(Piece<'b>),
    Control(Control, &'b [u8]),
}

/// What comes before the first frame of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// [`Event::Open`] is due.
    Unannounced,
    /// hixie-76 and hybi-03: the first octet of the peer tells whether white
    /// space stands before the frames, and which of the two layouts they have.
    Unknown,
    /// Nothing: frames arrive.
    Frames,
}

impl Start {
    pub(super) fn behind_handshake(wire: &Wire) -> Start {
        if wire.version().has_body() {
            Start::Unknown
        } else {
            Start::Frames
        }
    }
}

impl Open {
    pub(super) fn new(wire: Wire, side: Side) -> Open {
        Open {
            wire,
            decoder: Decoder::new(side.peer()),
            receiver: Receiver::default(),
            sender: Sender::default(),
            close_sent: false,
            start: Start::Unannounced,
            keeps_received: false,
            keeps_sent: false,
            deflating: None,
        }
    }

    /// The compression of messages that arrive, where they are inflated.
    #[inline]
    pub(super) fn inflates(&self) -> Option<Deflate> {
        self.wire.deflate().filter(|_| !self.keeps_received)
    }

    /// The compression of messages that are sent, where they are deflated here.
    #[inline]
    pub(super) fn deflates(&self) -> Option<Deflate> {
        self.wire.deflate().filter(|_| !self.keeps_sent)
    }

    /// Whether the payload that arrives is compressed.
    pub(super) fn is_inflating(&self) -> bool {
        let deflating = self.deflating.as_deref();
        deflating.is_some_and(Deflating::is_in_frame)
    }

    /// Whether payload to inflate comes next in the input.
    pub(super) fn is_compressed_next(&self, input: &Input<'_>) -> bool {
        let deflating = self.deflating.as_deref();
        let continues = deflating.is_some_and(Deflating::is_between_frames);
        self.is_inflating()
            || self.start == Start::Frames
                && self.decoder.is_compressed_next(&self.wire, continues, input)
    }

    /// What comes next in the input, where compression was agreed on; `None` where
    /// more input is needed, or more room.
    pub(super) fn next_deflated<'b, T: Trace>(
        &mut self,
        deflate: Deflate,
        limit: u64,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Next<'b>>, Located<Violation>> {
        loop {
            if self.is_inflating() {
                match self.inflate(deflate, limit, input, out, trace)? {
                    Step::Piece(piece) => return Ok(Some(Next::Piece(piece))),
                    Step::FrameEnds => {}
                    Step::Waits => return Ok(None),
                }
            }
            let start = input.position();
            let frame = self
                .decoder
                .next::<false, T>(&self.wire, limit, input, trace)?;
            match frame {
                None => return Ok(None),
                Some(Frame::Data(data)) => {
                    let started = self.start_frame(data, limit, out);
                    started.map_err(|violation| Located::new(violation, start..input.position()))?;
                }
                Some(Frame::Chunk(chunk)) => {
                    let version = self.wire.version();
                    let piece = self.receiver.piece(chunk, version, limit);
                    return match piece {
                        Ok(piece) => Ok(Some(Next::Piece(piece))),
                        Err((violation, at)) => Err(Located::in_head(violation, at, start)),
                    };
                }
                Some(Frame::Control(control, payload)) => {
                    return Ok(Some(Next::Control(control, payload)));
                }
            }
        }
    }

    fn start_frame(
        &mut self,
        data: Data,
        limit: u64,
        out: &mut Output<'_>,
    ) -> Result<(), Violation> {
        let deflating = self.deflating.as_deref();
        let continues = deflating.is_some_and(Deflating::is_between_frames);
        if !data.compressed && !continues {
            return self.receiver.start_frame(data, limit);
        }
        // What it becomes is counted while it is inflated.
        let inflated = Data {
            length: None,
            compressed: false,
            ..data
        };
        self.receiver.start_frame(inflated, limit)?;
        let deflating = self.deflating.get_or_insert_default();
        out.with_codecs(|codecs| deflating.start_frame(codecs));
        Ok(())
    }

    fn inflate<'b, T: Trace>(
        &mut self,
        deflate: Deflate,
        limit: u64,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Step<'b>, Located<Violation>> {
        let Some(deflating) = &mut self.deflating else {
            unreachable!("a compressed frame was started");
        };
        let mut receiving = Receiving {
            decoder: &mut self.decoder,
            receiver: &mut self.receiver,
            version: self.wire.version(),
            limit,
        };
        let step = deflating.inflate(deflate, &mut receiving, input, trace);
        let from = self.decoder.from();
        out.with_codecs(|codecs| deflating.release(deflate, from, codecs));
        self.forget_idle();
        step
    }

    /// Sends a whole message, compressed where that is worth it.
    pub(super) fn send_deflated(
        &mut self,
        deflate: Deflate,
        side: Side,
        compression: &Compression,
        message: Message<'_>,
        out: &mut Output<'_>,
    ) {
        let encoder = Encoder::new(&self.wire, side);
        let message = (message.kind(), message.payload());
        let deflating = self.deflating.get_or_insert_default();
        deflating.send(deflate, compression, encoder, message, out);
        self.forget_idle();
    }

    /// Sends a part of a message, compressed.
    pub(super) fn send_piece_deflated(
        &mut self,
        deflate: Deflate,
        side: Side,
        compression: &Compression,
        piece: (Kind, Position, &[u8]),
        out: &mut Output<'_>,
    ) {
        let encoder = Encoder::new(&self.wire, side);
        let deflating = self.deflating.get_or_insert_default();
        deflating.send_piece(deflate, compression, encoder, piece, out);
        self.forget_idle();
    }

    /// An idle connection holds nothing for compression, but for its contexts.
    fn forget_idle(&mut self) {
        let is_idle = self.deflating.as_deref().is_some_and(Deflating::is_idle);
        if is_idle {
            self.deflating = None;
        }
    }

    /// Whether messages of this kind can be sent. This end may send before the
    /// peer has shown its layout, and then by the layout that was asked for.
    #[inline(always)]
    pub(super) fn prepare_to_send(&mut self, kind: Kind) -> Result<(), Unsendable> {
        let version = self.wire.version();
        if kind == Kind::Binary && !version.has_binary() {
            return Err(Unsendable::NoBinary(version));
        }
        if !self.wire.can_send() {
            return Err(Unsendable::NoMaskingKey);
        }
        if self.start != Start::Frames {
            self.wire.keep_layout();
        }
        Ok(())
    }

    pub(super) fn send_control(
        &self,
        side: Side,
        control: Control,
        payload: &[u8],
        out: &mut Output<'_>,
    ) {
        if self.wire.can_send() && !self.sender.is_inside_frame() {
            Encoder::new(&self.wire, side).control(control, payload, out);
        }
    }

    /// A message that lies whole in the input, in one frame; `limit` is the most
    /// octets that it may have. `None` where it does not, and where anything about
    /// it is unusual: the input is as it was then, and [`Decoder::next`] reads it.
    #[inline(always)]
    pub(super) fn next_whole<'b>(
        &self,
        limit: u64,
        input: &mut Input<'b>,
    ) -> Option<(Kind, &'b mut [u8])> {
        if self.start != Start::Frames || self.receiver.is_inside_message() {
            return None;
        }
        let frame = self.decoder.find_whole(&self.wire, input.rest())?;
        if frame.payload as u64 > limit {
            return None;
        }
        let payload = frame.payload_in(input.rest_mut());
        let is_ascii = frame.unmask(payload);
        if frame.kind == Kind::Text && !is_ascii && from_utf8(payload).is_err() {
            // What is wrong, or what to put in its place, is found on the long way.
            frame.unmask(payload);
            return None;
        }
        let octets = input.take(frame.len());
        Some((frame.kind, frame.payload_in(octets)))
    }

    /// Takes the white space between the handshake of hixie-76, or hybi-03, and
    /// the first frame.
    pub(super) fn skip_stray<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Option<&'b [u8]> {
        let n = frame::stray(input.rest());
        if n == 0 {
            return None;
        }
        SpanWriter::new(trace, input.position()).octets(n, Field::Stray, 0);
        Some(input.take(n))
    }

    /// Finds the layout of the frames by their first octet; `false` where it has
    /// not arrived.
    pub(super) fn settle_layout(&mut self, input: &Input<'_>) -> bool {
        let settled = !input.rest().is_empty() && self.wire.settle_layout(input.rest());
        if settled {
            self.start = Start::Frames;
        }
        settled
    }
}
