//! Frames that go.

use super::{Conn, Phase, State};
use crate::bytes::Output;
use crate::error::Unsendable;
use crate::frame::{self, Frame, Kind, Message, Opcode, Utf8, close, hixie75};
use crate::version::{Closing, Layout, Side, Version};

impl Conn {
    /// Sends a whole message in one frame.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot say; nothing is written then.
    #[inline]
    pub fn send(&mut self, message: Message<'_>, out: &mut Output<'_>) -> Result<(), Unsendable> {
        if self.sending.is_some() {
            return Err(Unsendable::MessageUnfinished);
        }
        let version = self.may_send(message.kind())?;
        if version.layout == Layout::Hixie75 {
            hixie75::write_text(message.payload(), true, true, out.octets);
        } else {
            let opcode = Opcode::Data(message.kind());
            self.write(opcode, true, message.payload(), out);
        }
        Ok(())
    }

    /// The octets that stand before and after the payload when this side sends
    /// a message of `length` octets unmasked, so that a payload can be sent
    /// from where it lies; `None` where it would be masked.
    ///
    /// # Errors
    ///
    /// As [`Conn::send`].
    pub fn framing_of(
        &self,
        kind: Kind,
        length: usize,
    ) -> Result<Option<(Framing, Option<u8>)>, Unsendable> {
        if self.sending.is_some() {
            return Err(Unsendable::MessageUnfinished);
        }
        let version = self.may_send(kind)?;
        if version.layout == Layout::Hixie75 {
            let framing = Framing {
                octets: [0; frame::MAX_HEAD],
                len: 1,
            };
            return Ok(Some((framing, Some(hixie75::TERMINATOR))));
        }
        if self.side == Side::Client && version.client_masks() {
            return Ok(None);
        }
        let (octets, len) = frame::head(version, Opcode::Data(kind), true, length);
        Ok(Some((Framing { octets, len }, None)))
    }

    /// Sends a piece of a message, in a frame of its own where the version has
    /// fragments; a hixie text stays open until its last piece.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot say, a piece out of order, or text
    /// that is not UTF-8; nothing is written then.
    pub fn send_piece(
        &mut self,
        kind: Kind,
        octets: &[u8],
        first: bool,
        last: bool,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let version = self.may_send(kind)?;
        match (first, self.sending) {
            (true, Some(_)) => return Err(Unsendable::MessageUnfinished),
            (false, None) => return Err(Unsendable::PieceWithoutFirst),
            _ => {}
        }
        if first {
            self.sent_utf8 = Utf8::default();
        }
        if kind == Kind::Text {
            let mut utf8 = self.sent_utf8;
            if utf8.feed(octets).is_err() || (last && !utf8.is_whole()) {
                return Err(Unsendable::TextNotUtf8);
            }
            self.sent_utf8 = utf8;
        }
        if version.layout == Layout::Hixie75 {
            hixie75::write_text(octets, first, last, out.octets);
        } else {
            let opcode = if first {
                Opcode::Data(kind)
            } else {
                Opcode::Continuation
            };
            self.write(opcode, last, octets, out);
        }
        self.sending = (!last).then_some(kind);
        Ok(())
    }

    /// Sends a ping.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot say; nothing is written then.
    pub fn ping(&mut self, payload: &[u8], out: &mut Output<'_>) -> Result<(), Unsendable> {
        self.control_frame(Opcode::Ping, payload, out)
    }

    /// Sends a pong that no ping asked for.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot say; nothing is written then.
    pub fn pong(&mut self, payload: &[u8], out: &mut Output<'_>) -> Result<(), Unsendable> {
        self.control_frame(Opcode::Pong, payload, out)
    }

    fn control_frame(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let version = self.may_send(Kind::Text)?;
        if !version.has_ping() {
            return Err(Unsendable::NoPing(version));
        }
        if payload.len() > 125 {
            return Err(Unsendable::ControlTooLong(payload.len()));
        }
        self.write(opcode, true, payload, out);
        Ok(())
    }

    /// Says goodbye the way this version does: a close frame with what it can
    /// carry, FF 00, or nothing. A code that may not stand on the wire is left
    /// out. Does nothing unless the connection is open.
    pub fn close(&mut self, code: u16, reason: &str, out: &mut Output<'_>) {
        let (state, version) = match (&self.state, self.version) {
            (State::Open | State::Agreed, Some(version)) => (State::Closing, version),
            (State::PeerClosed(_), Some(version)) => (State::Closed, version),
            _ => {
                if self.phase() == Phase::Handshake {
                    self.state = State::Closed;
                }
                return;
            }
        };
        let before = std::mem::replace(&mut self.state, state);
        match (version.closing, before) {
            (Closing::Hixie75, _) => self.state = State::Closed,
            (Closing::Hixie76, _) => self.send_hixie_close(out),
            (_, State::PeerClosed(peer_body)) if !version.has_close_codes() => {
                let body = close::reply(version, self.side, &peer_body);
                self.write(Opcode::Close, true, &body, out);
            }
            _ => {
                // Where there are no codes, none is left out.
                let body = if close::may_send(code) || !version.has_close_codes() {
                    close::body(version, self.side, code, reason)
                } else {
                    Vec::new()
                };
                self.write(Opcode::Close, true, &body, out);
            }
        }
    }

    /// FF 00, but never inside a text: there only the end of TCP is honest.
    pub(super) fn send_hixie_close(&mut self, out: &mut Output<'_>) {
        if self.sending.is_none() {
            out.octets.extend_from_slice(&hixie75::CLOSE);
        } else {
            self.state = State::Closed;
        }
    }

    #[inline]
    fn may_send(&self, kind: Kind) -> Result<&'static Version, Unsendable> {
        match (&self.state, self.version) {
            (State::Open | State::Agreed | State::PeerClosed(_), Some(version)) => {
                if kind == Kind::Binary && !version.has_binary() {
                    Err(Unsendable::NoBinary(version))
                } else {
                    Ok(version)
                }
            }
            _ => Err(Unsendable::NotOpen),
        }
    }

    #[inline]
    pub(super) fn write(&self, opcode: Opcode, last: bool, payload: &[u8], out: &mut Output<'_>) {
        if let Some(wire) = self.wire(self.side) {
            let frame = Frame {
                opcode,
                last,
                payload,
            };
            frame::write(wire, frame, out);
        }
    }
}

/// The octets in front of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    octets: [u8; frame::MAX_HEAD],
    len: usize,
}

impl Framing {
    /// At most this many octets stand in front of a payload.
    pub const MAX: usize = frame::MAX_HEAD;

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}
