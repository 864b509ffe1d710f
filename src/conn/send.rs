//! What an open connection sends: messages, parts of messages, pings and pongs.

#[cfg(feature = "net")]
use alloc::boxed::Box;

use super::open::Open;
use super::{Conn, State};
use crate::bytes::Output;
use crate::error::Unsendable;
#[cfg(feature = "net")]
use crate::extension::{Deflater, MOST_WINDOW_BITS};
#[cfg(feature = "conform")]
use crate::frame::Encoder;
#[cfg(feature = "net")]
use crate::frame::Shape;
use crate::frame::{Control, Framing, Kind, Position};
use crate::message::Message;

impl Conn {
    /// The open connection, if this end may send messages of this kind.
    #[inline(always)]
    pub(super) fn sending(&mut self, kind: Kind) -> Result<&mut Open, Unsendable> {
        let open = match &mut self.state {
            State::Open(open) if !open.close_sent => open,
            State::PeerClosed(peer_closed) => &mut peer_closed.open,
            _ => return Err(Unsendable::NotOpen),
        };
        open.prepare_to_send(kind)?;
        Ok(open)
    }

    /// Sends a whole message in one frame.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send; nothing is written then.
    #[inline(always)] // a server's echo is one function then
    pub fn send(&mut self, message: Message<'_>, out: &mut Output<'_>) -> Result<(), Unsendable> {
        if let State::Open(open) = &self.state {
            if open.send_simple(message, out) {
                return Ok(());
            }
        }
        self.send_any(message, out)
    }

    #[inline(never)]
    fn send_any(&mut self, message: Message<'_>, out: &mut Output<'_>) -> Result<(), Unsendable> {
        let compression = self.config.compression;
        let open = self.sending(message.kind())?;
        open.sender().whole()?;
        if let Some(deflate) = open.wire.deflate() {
            open.send_deflated(deflate, &compression, message, out);
            return Ok(());
        }
        let encoder = open.encoder();
        encoder.message(message.kind(), message.payload(), out);
        Ok(())
    }

    /// What stands around the payload when this end sends a message of `length`
    /// octets, so that a payload can be sent from where it lies; `None` where it
    /// would be masked or may be compressed.
    ///
    /// # Errors
    ///
    /// As [`Conn::send`].
    pub fn framing_of(&mut self, kind: Kind, length: usize) -> Result<Option<Framing>, Unsendable> {
        let framing = self.framing_of_plain(kind, length)?;
        Ok(framing.filter(|_| self.compression().is_none()))
    }

    /// The same for a payload that is sent uncompressed in any case.
    ///
    /// # Errors
    ///
    /// As [`Conn::send`].
    pub(crate) fn framing_of_plain(
        &mut self,
        kind: Kind,
        length: usize,
    ) -> Result<Option<Framing>, Unsendable> {
        let open = self.sending(kind)?;
        open.sender().whole()?;
        Ok(open.encoder().framing(kind, length))
    }

    /// What a message of `length` octets is deflated with, over several turns; `None`
    /// where it is sent as it is. It may refer to messages before, where this
    /// connection keeps a context. Messages after it refer to neither.
    #[cfg(feature = "net")]
    pub(crate) fn deflater_of_long(
        &mut self,
        length: usize,
        out: &mut Output<'_>,
    ) -> Option<Box<Deflater>> {
        let compression = self.config.compression;
        match &mut self.state {
            State::Open(open) if length >= compression.threshold => {
                open.take_deflater(&compression, out)
            }
            _ => None,
        }
    }

    /// How this end can send a whole message of this kind now, so that others are
    /// sent the same octets; `None` where it cannot send one.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn shape_to_send(&mut self, kind: Kind) -> Option<Shape> {
        let compression = self.config.compression;
        let open = self.sending(kind).ok()?;
        open.sender().whole().ok()?;
        let alone = open.wire.deflate().filter(|deflate| {
            let coding = deflate.of(open.role.side());
            coding.no_context_takeover && coding.max_window_bits == MOST_WINDOW_BITS
        });
        // Where this end keeps a context, its next message may be sent plain.
        Some(match alone {
            Some(_) => Shape::Deflated(compression),
            None => Shape::Plain(open.wire.version().layout),
        })
    }

    /// What writes frames of this end, right or wrong, until the peer's close was
    /// replied to; `None` while it cannot send any.
    #[cfg(feature = "conform")]
    pub(crate) fn raw_encoder(&mut self) -> Option<Encoder<'_>> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::PeerClosed(peer_closed) => &mut peer_closed.open,
            _ => return None,
        };
        open.prepare_to_send(Kind::Text).ok()?;
        Some(open.encoder())
    }

    /// Notes that the caller has written a close of its own.
    #[cfg(feature = "conform")]
    pub(crate) fn note_close_sent(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.close_sent = true;
        }
    }

    /// Sends a piece of a message, in a frame of its own where the version has
    /// fragments; a hixie text stays open until its last piece.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send, a piece out of order, or text that
    /// is not UTF-8; nothing is written then.
    pub fn send_piece(
        &mut self,
        kind: Kind,
        octets: &[u8],
        first: bool,
        last: bool,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let compression = self.config.compression;
        let open = self.sending(kind)?;
        let mut sender = open.sender();
        sender.piece(kind, octets, first, last)?;
        let position = Position { first, last };
        match open.wire.deflate() {
            Some(deflate) => {
                let piece = (kind, position, octets);
                open.send_piece_deflated(deflate, &compression, piece, out);
            }
            None => open.encoder().data(kind, position, octets, out),
        }
        open.set_sender(sender);
        Ok(())
    }

    /// More of a message in pieces may be long in coming: what compresses it is given
    /// back, where each message is compressed on its own. The pieces behind this
    /// refer to none before it.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn rest(&mut self, out: &mut Output<'_>) {
        match &mut self.state {
            State::Open(open) => open.rest(out),
            State::PeerClosed(peer_closed) => peer_closed.open.rest(out),
            State::Handshake(..) | State::Over(_) => {}
        }
    }

    /// Whether [`Conn::rest`] may have something to do: it has not, as a rule.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn may_rest(&self) -> bool {
        match &self.state {
            State::Open(open) => open.is_inside(),
            State::PeerClosed(peer_closed) => peer_closed.open.is_inside(),
            State::Handshake(..) | State::Over(_) => false,
        }
    }

    /// Sends a ping with at most 125 octets.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send; nothing is written then.
    pub fn ping(&mut self, payload: &[u8], out: &mut Output<'_>) -> Result<(), Unsendable> {
        self.send_control(Control::Ping, payload, out)
    }

    /// Sends a pong that no ping asked for, with at most 125 octets.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send; nothing is written then.
    pub fn pong(&mut self, payload: &[u8], out: &mut Output<'_>) -> Result<(), Unsendable> {
        self.send_control(Control::Pong, payload, out)
    }

    fn send_control(
        &mut self,
        control: Control,
        payload: &[u8],
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let open = self.sending(Kind::Text)?;
        let version = open.wire.version();
        if !version.has_ping() {
            return Err(Unsendable::NoPing(version));
        }
        if payload.len() > 125 {
            return Err(Unsendable::ControlTooLong(payload.len()));
        }
        open.sender().control()?;
        open.send_control(control, payload, out);
        Ok(())
    }
}
