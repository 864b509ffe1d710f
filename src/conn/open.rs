//! An open connection: the decoder and receiver of what arrives, the sender of
//! what is sent.

use simdutf8::basic::from_utf8;

use crate::bytes::{Input, Output};
use crate::error::Unsendable;
use crate::frame::{self, Control, Decoder, Encoder, Kind, Wire};
use crate::message::{Receiver, Sender};
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
