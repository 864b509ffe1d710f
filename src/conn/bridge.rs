//! A bridge: what one connection receives, another sends, in whatever version
//! each of them has.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Conn, Event};
use crate::bytes::Output;
use crate::error::Violation;
use crate::frame::utf8::Replace;
use crate::frame::{BAD_GATEWAY, GOING_AWAY, Kind, NO_STATUS, NORMAL, Reason};
use crate::message::{Message, Piece};
use crate::version::{Side, Version};

/// How payload is coded on its way to the other connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Messages are sent as they were received.
    #[default]
    Plain,
    /// Every message is sent as a text that holds it in base64.
    Encode,
    /// Every text is base64 of a binary message.
    Decode,
}

impl Coding {
    /// The coding of the opposite direction.
    #[must_use]
    pub fn reverse(self) -> Coding {
        match self {
            Coding::Plain => Coding::Plain,
            Coding::Encode => Coding::Decode,
            Coding::Decode => Coding::Encode,
        }
    }
}

/// What was carried in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were received to their end.
    pub messages: u64,
    /// Octets of payload, as they were received.
    pub octets: u64,
}

/// One of the two connections of a bridge, with the output that goes to its
/// peer.
#[derive(Debug)]
pub struct BridgeEnd<'a, 'o> {
    /// The connection.
    pub conn: &'a mut Conn,
    /// What its peer is sent.
    pub out: &'a mut Output<'o>,
}

/// One direction of a bridge: sends to one connection what another received.
///
/// Nothing is gathered: a piece goes on as a piece, and at most three octets
/// wait for those that complete them. Both connections must be under
/// [manual control](Conn::set_manual_control), so that pings and closes go from
/// one end to the other.
#[derive(Debug, Default)]
pub struct Direction {
    coding: Coding,
    /// What was carried so far.
    pub tally: Tally,
    replace: Replace,
    /// Octets that do not yet make a whole group of base64.
    group: [u8; 3],
    grouped: u8,
    /// Whether padding was received, which ends base64.
    padded: bool,
    /// Whether a part of the message at hand was sent.
    started: bool,
    /// The code of the close that was received, for the one that is sent.
    close_code: Option<u16>,
}

impl Direction {
    /// A direction with this coding.
    #[must_use]
    pub fn new(coding: Coding) -> Direction {
        Direction {
            coding,
            ..Direction::default()
        }
    }

    /// Carries what happened at `from` to `to`. Nothing is carried to a
    /// connection that is closing.
    ///
    /// # Errors
    ///
    /// What cannot be sent to the other end. `from` has failed then and its peer
    /// gets a close; tell the other end by [`Direction::peer_lost`] of the
    /// opposite direction.
    pub fn carry(
        &mut self,
        event: Event<'_>,
        from: &mut BridgeEnd<'_, '_>,
        to: &mut BridgeEnd<'_, '_>,
    ) -> Result<(), Violation> {
        match event {
            Event::Piece(piece) => {
                let carried = self.piece(piece, to);
                if let Err(violation) = carried {
                    from.conn.fail(violation, from.out);
                }
                return carried;
            }
            Event::Ping(payload) => {
                if to.conn.ping(payload, to.out).is_err() {
                    // It has no pings, or is closing: this end is alive itself.
                    let _ = from.conn.pong(payload, from.out);
                }
            }
            // A version without pongs has sent no ping.
            Event::Pong(payload) => {
                let _ = to.conn.pong(payload, to.out);
            }
            Event::Close(reason) => self.close(&reason, from.conn.version(), to),
            Event::Request(_)
            | Event::Http(_)
            | Event::Refused(_)
            | Event::Response(_)
            | Event::Stray(_)
            | Event::Open => {}
        }
        Ok(())
    }

    /// The peer of `from` ended its side of TCP in order, as a hixie peer closes.
    pub fn end(&mut self, from: &Conn, to: &mut BridgeEnd<'_, '_>) {
        if self.close_code.is_some() {
            return;
        }
        // A server ends TCP to close; a page that is left ends it too.
        let code = match from.side() {
            Side::Client => NORMAL,
            Side::Server => GOING_AWAY,
        };
        self.close_code = Some(code);
        to.conn.close(code, "", to.out);
    }

    /// The code of the close that was carried, once one was.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.close_code
    }

    /// The connection at the far end of this direction has gone without a close,
    /// or has failed: closes `from`, the near end, with the best code that its
    /// version has and the reason `what`. If `from` had sent a close, its code is
    /// echoed.
    pub fn peer_lost(&self, what: &str, from: &mut BridgeEnd<'_, '_>) {
        let (code, what) = match (self.close_code, from.conn.side()) {
            (Some(code), _) => (code, ""),
            // The backend is gone, for a client.
            (None, Side::Server) => (BAD_GATEWAY, what),
            (None, Side::Client) => (GOING_AWAY, what),
        };
        from.conn.close(code, what, from.out);
    }

    fn close(&mut self, reason: &Reason<'_>, from: Option<&Version>, to: &mut BridgeEnd<'_, '_>) {
        let has_codes = from.is_some_and(Version::has_close_codes);
        let code = match reason.code {
            // "Too large" before RFC 6455, which keeps 1004 from the wire.
            Some(1004) => 1009,
            Some(code) => code,
            None if has_codes => NO_STATUS,
            None => NORMAL,
        };
        self.close_code = Some(code);
        let text = if has_codes { &*reason.text } else { "" };
        to.conn.close(code, text, to.out);
    }

    fn piece(&mut self, piece: Piece<'_>, to: &mut BridgeEnd<'_, '_>) -> Result<(), Violation> {
        if piece.last {
            self.tally.messages += 1;
        }
        self.tally.octets += piece.octets.len() as u64;
        let Piece {
            kind,
            octets,
            first,
            last,
            checked,
        } = piece;
        let octets: &[u8] = octets;
        let text = if kind == Kind::Text && !checked {
            self.replace.feed(octets, last)
        } else {
            Cow::Borrowed(octets)
        };
        match (self.coding, kind) {
            (Coding::Plain, _) | (Coding::Decode, Kind::Binary) => {
                if kind == Kind::Binary && to.conn.version().is_some_and(|v| !v.has_binary()) {
                    return Err(Violation::BinaryUnwanted);
                }
                self.send(kind, &text, first, last, to);
            }
            (Coding::Encode, _) => {
                let encoded = self.encode(&text, last);
                self.send(Kind::Text, encoded.as_bytes(), false, last, to);
            }
            (Coding::Decode, Kind::Text) => {
                let decoded = self.decode(&text, last)?;
                self.send(Kind::Binary, &decoded, false, last, to);
            }
        }
        Ok(())
    }

    /// Sends what a piece became. Nothing is sent for one that became empty,
    /// unless it is the last.
    #[inline]
    fn send(
        &mut self,
        kind: Kind,
        octets: &[u8],
        whole: bool,
        last: bool,
        to: &mut BridgeEnd<'_, '_>,
    ) {
        if octets.is_empty() && !last {
            return;
        }
        // It fails where the other end is closing: it gets nothing more.
        let _ = if whole && last {
            let message = Message::checked(kind, octets);
            to.conn.send(message, to.out)
        } else {
            to.conn
                .send_piece(kind, octets, !self.started, last, to.out)
        };
        self.started = !last;
    }

    /// The base64 of whole groups of three octets, and at the end of all.
    fn encode(&mut self, octets: &[u8], last: bool) -> String {
        let mut all = self.with_group(octets);
        if !last {
            self.keep_group(&mut all, 3);
        }
        STANDARD.encode(&all)
    }

    /// What whole groups of four characters hold; at the end all must be whole.
    fn decode(&mut self, text: &[u8], last: bool) -> Result<Vec<u8>, Violation> {
        let mut all = self.with_group(text);
        if self.padded && !all.is_empty() {
            return Err(Violation::Base64Malformed);
        }
        if !last {
            self.keep_group(&mut all, 4);
        }
        self.padded = !last && (self.padded || all.ends_with(b"="));
        STANDARD
            .decode(&all)
            .map_err(|_| Violation::Base64Malformed)
    }

    fn with_group(&mut self, octets: &[u8]) -> Vec<u8> {
        let kept = usize::from(core::mem::take(&mut self.grouped));
        let (kept, _) = self.group.split_at(kept);
        [kept, octets].concat()
    }

    /// Keeps what is more than whole groups of `n`, which is less than `n`.
    fn keep_group(&mut self, octets: &mut Vec<u8>, n: usize) {
        let whole = octets.len() - octets.len() % n;
        let (_, more) = octets.split_at(whole);
        for (to, from) in self.group.iter_mut().zip(more) {
            *to = *from;
            self.grouped += 1;
        }
        octets.truncate(whole);
    }
}
