//! The closing handshake: which end has sent a close, which must reply, and when
//! the connection is over (RFC 6455 section 7).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::open::Open;
use super::{Conn, Event, Over, Phase, State};
use crate::bytes::{Input, Output};
use crate::error::{Located, Violation};
use crate::frame::{Control, close};
use crate::version::{Closing, Layout, Row, Side};

/// The peer has sent a close, and the caller, which has manual control, has not
/// replied yet. Until then this end may still send.
#[derive(Debug)]
pub(super) struct PeerClosed {
    pub(super) open: Open,
    /// The body of the peer's close.
    body: Vec<u8>,
}

impl Open {
    /// hixie-76: FF 00, but never inside a text, where it would complete what
    /// was not whole: there TCP ends. Gives whether it was written.
    fn send_hixie_close(&self, out: &mut Output<'_>) -> bool {
        let between_messages = !self.sender().is_inside_message();
        if between_messages {
            self.encoder().control(Control::Close, &[], out);
        }
        between_messages
    }

    /// Replies to a close with this body.
    fn reply_to_close(&self, received: &[u8], out: &mut Output<'_>) {
        let (version, side) = (self.wire.version(), self.role.side());
        if self.sender().is_inside_frame() {
            return;
        }
        match version.closing {
            Closing::Hixie75 => {}
            Closing::Hixie76 => {
                self.send_hixie_close(out);
            }
            Closing::Hybi01 | Closing::Hybi05 | Closing::Hybi06 => {
                let body = close::reply(version, side, received);
                self.encoder().control(Control::Close, &body, out);
            }
        }
    }

    /// Sends a close with this code and reason, as far as this version has them.
    /// Gives whether the peer is to reply.
    fn send_close(&self, code: u16, reason: &str, out: &mut Output<'_>) -> bool {
        let (version, side) = (self.wire.version(), self.role.side());
        // Inside a frame a close would be read as payload: there TCP ends.
        if !self.wire.can_send() || self.sender().is_inside_frame() {
            return false;
        }
        match version.closing {
            Closing::Hixie75 => false,
            Closing::Hixie76 => self.send_hixie_close(out),
            Closing::Hybi01 | Closing::Hybi05 | Closing::Hybi06 => {
                // A code that may not be sent is left out.
                let body = if version.has_close_codes() && !close::may_send(code) {
                    Vec::new()
                } else {
                    close::body(version, side, code, reason)
                };
                self.encoder().control(Control::Close, &body, out);
                true
            }
        }
    }
}

impl Conn {
    /// Sends a close the way this version does: a close frame with what it can
    /// carry, FF 00, or nothing. A code that may not stand on the wire is left
    /// out. Does nothing where a close was sent before; during the opening
    /// handshake the connection is over without one.
    pub fn close(&mut self, code: u16, reason: &str, out: &mut Output<'_>) {
        match &mut self.state {
            State::Handshake(_) => self.end(false),
            State::Open(open) if !open.close_sent => {
                open.close_sent = true;
                // hixie-75 closes by the end of TCP, and a server may still send
                // what it has then: the caller reads it to its end.
                let ends_by_tcp = open.role.has_manual_control()
                    && open.role.side() == Side::Client
                    && open.wire.version().closing == Closing::Hixie75
                    && !open.sender().is_inside_message();
                if !open.send_close(code, reason, out) && !ends_by_tcp {
                    self.end(false);
                }
            }
            State::PeerClosed(peer_closed) => {
                let PeerClosed { open, body } = &**peer_closed;
                if open.wire.version().has_close_codes() {
                    open.send_close(code, reason, out);
                } else {
                    open.reply_to_close(body, out);
                }
                self.end(true);
            }
            State::Open(_) | State::Over(_) => {}
        }
    }

    /// Sends the reply to the close that the peer has sent, where it is due. Gives
    /// whether it was.
    pub(super) fn reply_to_peer(&mut self, out: &mut Output<'_>) -> bool {
        let State::PeerClosed(peer_closed) = &self.state else {
            return false;
        };
        let PeerClosed { open, body } = &**peer_closed;
        open.reply_to_close(body, out);
        self.end(true);
        true
    }

    /// Fails the connection (RFC 6455 section 7.1.7): sends a close with the code
    /// of the violation, as far as this version can, and parses nothing more.
    #[cold]
    pub fn fail(&mut self, violation: Violation, out: &mut Output<'_>) {
        if let Some(code) = violation.close_code() {
            self.close(code, violation.code(), out);
        }
        let close_received = self.is_close_complete();
        self.end(close_received);
    }

    /// The connection is over.
    pub(super) fn end(&mut self, close_received: bool) {
        self.state = State::Over(Over {
            version: self.version().map(Row::of),
            role: self.role(),
            close_received,
        });
    }

    /// The peer has sent a close with this body, which ends at octet `end` of
    /// its stream.
    pub(super) fn close_received<'b>(
        &mut self,
        body: &'b [u8],
        end: u64,
        out: &mut Output<'_>,
    ) -> Result<Event<'b>, Located<Violation>> {
        let State::Open(open) = &self.state else {
            unreachable!("frames are read while the connection is open");
        };
        let reason = close::read(open.wire.version(), body).map_err(|(violation, at)| {
            Located::in_head(violation, at, end.saturating_sub(body.len() as u64))
        })?;
        if !open.close_sent {
            if open.role.has_manual_control() {
                self.leave_close_to_caller(body);
                return Ok(Event::Close(reason));
            }
            open.reply_to_close(body, out);
        }
        self.end(true);
        Ok(Event::Close(reason))
    }

    /// The caller has control: it replies to the peer's close.
    fn leave_close_to_caller(&mut self, body: &[u8]) {
        let over = State::Over(Over {
            version: self.version().map(Row::of),
            role: self.role(),
            close_received: true,
        });
        if let State::Open(open) = core::mem::replace(&mut self.state, over) {
            let body = body.to_vec();
            self.state = State::PeerClosed(Box::new(PeerClosed { open, body }));
        }
    }

    /// TCP has ended on the peer's side; `left` is what was not parsed.
    ///
    /// # Errors
    ///
    /// Where it ended too soon: inside the handshake or a message, or without
    /// the close that this version has. A hixie peer that ends TCP between
    /// frames has closed: browsers were seen to.
    pub fn end_of_input(&mut self, left: &Input<'_>) -> Result<(), Located<Violation>> {
        let end = left.position() + left.rest().len() as u64;
        let cut = |violation| Err(Located::new(violation, end..end));
        match &self.state {
            State::PeerClosed(_) | State::Over(_) => Ok(()),
            State::Handshake(_) => {
                self.end(false);
                cut(Violation::HandshakeCut)
            }
            State::Open(open) => {
                let between_frames = open.is_between_frames() && left.rest().is_empty();
                let is_hixie = open.wire.version().layout == Layout::Hixie75;
                if !(is_hixie && between_frames) {
                    self.end(false);
                    return cut(Violation::ConnectionCut);
                }
                if open.role.has_manual_control() && !open.close_sent {
                    self.leave_close_to_caller(&[]);
                } else {
                    self.end(true);
                }
                Ok(())
            }
        }
    }

    /// Whether the closing handshake is complete: both ends have sent a close,
    /// so that nothing more will arrive.
    #[must_use]
    pub fn is_close_complete(&self) -> bool {
        matches!(
            self.state,
            State::Over(Over {
                close_received: true,
                ..
            })
        )
    }

    /// Whether the end of TCP is our close, and what the peer still sends is read
    /// until it ends TCP as well: the client's end of hixie-75.
    #[must_use]
    pub fn ends_by_tcp(&self) -> bool {
        let closing = self.version().map(|version| version.closing);
        self.phase() == Phase::Closing
            && self.side() == Side::Client
            && closing == Some(Closing::Hixie75)
    }

    /// Whether nothing more will be sent. After a server's FF 00 that is so at
    /// once: a WebKit of 2011 needs the end of TCP, because it ignores FF 00.
    #[must_use]
    pub fn has_sent_all(&self) -> bool {
        match self.phase() {
            Phase::Closed => true,
            Phase::Closing => {
                let closing = self.version().map(|version| version.closing);
                self.ends_by_tcp()
                    || self.side() == Side::Server && closing == Some(Closing::Hixie76)
            }
            Phase::Handshake | Phase::Open => false,
        }
    }
}
