//! A bridge: what one connection receives, another sends, in whatever version
//! each of them has.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::held::{FRAGMENT, FramePart, Held};
use super::{Conn, Event, State, agreed};
use crate::bytes::{Input, Output};
use crate::error::{Unsendable, Violation};
use crate::frame::utf8::{Replace, Utf8};
use crate::frame::{BAD_GATEWAY, GOING_AWAY, Kind, NO_STATUS, NORMAL, OpenFrame, Position, Reason};
use crate::handshake::CarriedHeader;
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
/// Frames stay as they are where both versions have lengths: a frame's header
/// goes on with the length that it had, and its payload follows piece by piece.
/// To a version without lengths all frames of a message make one text. From one,
/// at most [`FRAGMENT`] octets wait, and so they do on the way to an end that
/// compresses. Both connections must be under
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
    /// Whether a part of the current message was sent.
    started: bool,
    /// The frame whose header was sent, and not all of its payload.
    open: Option<OpenFrame>,
    /// Payload that waits for the end of its frame, or of its message.
    held: Held,
    /// The check of a text whose frames keep their lengths, so that nothing in it
    /// can be replaced.
    strict: Option<Utf8>,
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

    /// Octets of memory that payload takes which waits for the end of its frame, or
    /// of its message.
    #[must_use]
    pub fn held_capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Throws away what is held: its message comes to no end.
    pub(crate) fn discard_held(&mut self) {
        self.held.discard();
    }

    /// Both ends are open, and this direction or its reverse goes from `from` to
    /// `to`. Compressed messages that `from` receives go on as they are from here
    /// on, where no context is kept on either side, the window of `to` is as large,
    /// both versions do the same with text that is not UTF-8, and a message cannot be
    /// longer than the limit of `from`: it is one frame then, and too short for that.
    /// Its text is left to the peer of `to`.
    pub fn keep_compressed(&self, from: &mut Conn, to: &mut Conn) {
        let (State::Open(from_open), State::Open(to_open)) = (&mut from.state, &mut to.state)
        else {
            return;
        };
        let (Some(received), Some(sent)) = (from_open.wire.deflate(), to_open.wire.deflate())
        else {
            return;
        };
        let received = received.of(from_open.role.side().peer());
        let sent = sent.of(to_open.role.side());
        let [one, other] = [&from_open.wire, &to_open.wire].map(|wire| wire.version());
        let can_follow = one.invalid_utf8 == other.invalid_utf8
            && received.no_context_takeover
            && sent.no_context_takeover
            && received.max_window_bits <= sent.max_window_bits;
        if can_follow && self.coding == Coding::Plain {
            from_open.role.keep_compressed();
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
                    self.discard_held();
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

    /// Carries the messages that come next in the input of `from`, as long as each
    /// lies whole in it and may be deflated. [`Conn::next`] tells what is left.
    ///
    /// # Errors
    ///
    /// As [`Direction::carry`].
    #[inline]
    pub fn carry_whole(
        &mut self,
        input: &mut Input<'_>,
        from: &mut BridgeEnd<'_, '_>,
        to: &mut BridgeEnd<'_, '_>,
    ) -> Result<(), Violation> {
        let deflates = to.conn.deflates();
        while let Some((kind, octets)) = from.conn.take_whole(input) {
            if !self.send_whole(kind, octets, to) {
                let piece = from.conn.whole_piece(kind, octets);
                self.carry(Event::Piece(piece), from, to)?;
            }
            if deflates && !to.out.may_deflate() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a message as it is, in one frame; whether it was sent. Where it was
    /// not, nothing was done.
    #[inline]
    fn send_whole(&mut self, kind: Kind, octets: &[u8], to: &mut BridgeEnd<'_, '_>) -> bool {
        let stays_one_frame = self.coding == Coding::Plain && octets.len() <= FRAGMENT;
        // It was checked as it was read.
        let message = Message::checked(kind, octets);
        if !stays_one_frame || to.conn.send(message, to.out).is_err() {
            return false;
        }
        self.tally.messages += 1;
        self.tally.octets += octets.len() as u64;
        true
    }

    /// The peer of `from` ended its side of TCP in order, as a hixie peer closes.
    pub fn end(&mut self, from: &Conn, to: &mut BridgeEnd<'_, '_>) {
        self.discard_held();
        if self.close_code.is_some() {
            return;
        }
        // A server ends TCP to close; a page that is left ends it too.
        let code = match from.side() {
            Side::Client => NORMAL,
            Side::Server => GOING_AWAY,
        };
        self.close_code = Some(code);
        if !to.conn.reply_to_peer(to.out) {
            to.conn.close(code, "", to.out);
        }
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
        self.discard_held();
        let text = if has_codes { &*reason.text } else { "" };
        to.conn.close(code, text, to.out);
    }

    fn piece(&mut self, piece: Piece<'_>, to: &mut BridgeEnd<'_, '_>) -> Result<(), Violation> {
        if piece.last {
            self.tally.messages += 1;
        }
        self.tally.octets += piece.octets.len() as u64;
        let (kind, last) = (piece.kind, piece.last);
        let has_lengths = to.conn.version().is_some_and(Version::has_fragments);
        // What a frame becomes where it is compressed is not known before.
        let keeps_lengths = has_lengths && (piece.compressed || !to.conn.deflates());
        let frame = FramePart::of(&piece, keeps_lengths);
        let text = self.text(piece, &frame)?;
        let length = self.length(kind, text.len(), &frame);
        let (kind, octets) = match (self.coding, kind) {
            (Coding::Plain, _) | (Coding::Decode, Kind::Binary) => {
                if kind == Kind::Binary && to.conn.version().is_some_and(|v| !v.has_binary()) {
                    return Err(Violation::BinaryUnwanted);
                }
                (kind, text)
            }
            (Coding::Encode, _) => {
                let encoded = self.encode(&text, last);
                (Kind::Text, Cow::Owned(encoded.into_bytes()))
            }
            (Coding::Decode, Kind::Text) => (Kind::Binary, Cow::Owned(self.decode(&text, last)?)),
        };
        if !to.conn.can_send() {
            // It is closing and gets nothing more.
            self.discard_held();
            return Ok(());
        }
        if !has_lengths {
            self.send_piece(kind, &octets, last, to);
        } else if let Some(open) = &mut self.open {
            if to.conn.continue_frame(open, &octets, to.out) != Ok(false) {
                self.open = None;
            }
        } else if let Some(length) = length {
            // What frames before it were inflated to had no length, and waits.
            if !self.held.is_empty() {
                self.send_held(kind, &[], false, to);
            }
            let end = (frame.is_final, frame.is_compressed);
            self.start_frame(kind, length, &octets, end, to);
        } else {
            if frame.is_first {
                self.held.start_frame(&frame);
            }
            self.hold(kind, &octets, (&frame, last), to);
        }
        Ok(())
    }

    /// The octets of a piece; of a text, UTF-8.
    fn text<'b>(
        &mut self,
        piece: Piece<'b>,
        frame: &FramePart,
    ) -> Result<Cow<'b, [u8]>, Violation> {
        let octets: &'b [u8] = piece.octets;
        if piece.first {
            self.strict = None;
        }
        if frame.is_exact {
            return Ok(Cow::Borrowed(octets));
        }
        let mut text = Cow::Borrowed(octets);
        if self.strict.is_none() && frame.keeps_length() && self.coding != Coding::Decode {
            // Its header goes out before its text was seen, so there will be no
            // room for U+FFFD: this message is checked from here on.
            self.strict = Some(Utf8::default());
            let kept = self.replace.take();
            if !kept.is_empty() {
                text = Cow::Owned([kept, octets].concat());
            }
        }
        let Some(utf8) = &mut self.strict else {
            return Ok(self.replace.feed(octets, piece.last));
        };
        let checked = utf8.feed(&text);
        if checked.is_err() || piece.last && !utf8.is_complete() {
            return Err(Violation::Utf8Invalid);
        }
        Ok(text)
    }

    /// The length of the frame that goes out for the frame that starts here, if
    /// it is known; `text` octets of it are at hand.
    fn length(&self, kind: Kind, text: usize, frame: &FramePart) -> Option<u64> {
        let to_come = frame.to_come.filter(|_| frame.is_first)?;
        // What will be replaced is not known, unless nothing can be.
        let is_exact = to_come == 0 || frame.is_exact || self.strict.is_some();
        let length = (text as u64).checked_add(to_come).filter(|_| is_exact)?;
        match (self.coding, kind) {
            (Coding::Plain, _) | (Coding::Decode, Kind::Binary) => Some(length),
            (Coding::Encode, _) => {
                let octets = length.checked_add(u64::from(self.grouped))?;
                let groups = if frame.is_final {
                    octets.div_ceil(3)
                } else {
                    octets / 3
                };
                groups.checked_mul(4)
            }
            // Its padding comes last.
            (Coding::Decode, Kind::Text) => None,
        }
    }

    /// To a version without lengths: a piece of the one text that the message
    /// becomes. Nothing is sent for a piece that became empty, unless it is the
    /// last.
    fn send_piece(&mut self, kind: Kind, octets: &[u8], last: bool, to: &mut BridgeEnd<'_, '_>) {
        if octets.is_empty() && !last {
            return;
        }
        let first = !core::mem::replace(&mut self.started, !last);
        // It has no binary messages: what was decoded for it is dropped.
        let _ = to.conn.send_piece(kind, octets, first, last, to.out);
    }

    /// Starts a frame of this length with these octets, which may be all of it.
    fn start_frame(
        &mut self,
        kind: Kind,
        length: u64,
        octets: &[u8],
        (last, compressed): (bool, bool),
        to: &mut BridgeEnd<'_, '_>,
    ) {
        let position = Position {
            first: !core::mem::replace(&mut self.started, !last),
            last,
        };
        let frame = (kind, position, length, compressed);
        if let Ok(open) = to.conn.start_frame(frame, octets, to.out) {
            self.open = open;
        }
    }

    /// Holds payload until its frame ends, which is known then to be the last of
    /// its message or not. What is more than may be held goes on in fragments. The
    /// first frame tells whether the message is compressed, so it waits until the
    /// message has enough octets for that, or is whole.
    fn hold(
        &mut self,
        kind: Kind,
        mut octets: &[u8],
        (frame, last): (&FramePart, bool),
        to: &mut BridgeEnd<'_, '_>,
    ) {
        if !self.started {
            let is_plain = self.coding == Coding::Plain;
            let to_come = if is_plain { frame.known_to_come } else { 0 };
            self.held.measure(octets.len(), to_come, to.conn);
        }
        while let Some((now, later)) = self.held.split_excess(octets) {
            self.send_held(kind, now, false, to);
            octets = later;
        }
        let is_decided = self.started || last || !self.held.is_short();
        if frame.ends && is_decided {
            self.send_held(kind, octets, last, to);
        } else {
            self.held.push(octets);
        }
    }

    /// Sends what was held, and these octets, in one frame.
    fn send_held(&mut self, kind: Kind, octets: &[u8], last: bool, to: &mut BridgeEnd<'_, '_>) {
        let payload = self.held.take_with(octets);
        if self.held.is_short() || !to.conn.deflates() {
            let length = payload.len() as u64;
            return self.start_frame(kind, length, &payload, (last, false), to);
        }
        let position = Position {
            first: !core::mem::replace(&mut self.started, !last),
            last,
        };
        // Where it can be sent nothing more, it gets nothing more.
        let _ = to
            .conn
            .send_frame_deflated(kind, position, &payload, to.out);
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

impl Conn {
    /// Server: upgrades as [`Conn::accept`] does, with headers of the 101 of
    /// another server, which are carried as they are.
    ///
    /// # Errors
    ///
    /// As [`Conn::accept`].
    pub fn accept_carrying(
        &mut self,
        subprotocol: Option<&str>,
        headers: &[CarriedHeader<'_>],
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let agreement = self.server_handshake()?.accept(subprotocol, headers, out)?;
        if let Some(agreement) = agreement {
            self.open(agreed(agreement), false);
        }
        Ok(())
    }

    /// Sends the header of a data frame whose payload has this length, and these
    /// octets of it, which may be all; the rest follows by
    /// [`Conn::continue_frame`]. A text must have been checked. Until the frame is
    /// whole no other frame is sent, and a close ends the connection without a
    /// close frame: it would be read as payload. Gives the frame where it is not
    /// whole.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send, or a frame out of order; nothing
    /// is written then.
    fn start_frame(
        &mut self,
        (kind, position, length, compressed): (Kind, Position, u64, bool),
        octets: &[u8],
        out: &mut Output<'_>,
    ) -> Result<Option<OpenFrame>, Unsendable> {
        let open = self.sending(kind)?;
        let mut sender = open.sender();
        sender.start_frame(kind, position.first)?;
        let mut frame = open
            .encoder()
            .start_frame(kind, position, (length, compressed), out);
        frame.payload(octets, out);
        let is_whole = frame.is_whole();
        if is_whole {
            sender.end_frame(frame.is_last());
        }
        open.set_sender(sender);
        Ok((!is_whole).then_some(frame))
    }

    /// Sends the next part of the payload of a frame; gives whether the frame is
    /// whole.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where nothing can be sent any more.
    fn continue_frame(
        &mut self,
        frame: &mut OpenFrame,
        payload: &[u8],
        out: &mut Output<'_>,
    ) -> Result<bool, Unsendable> {
        let open = self.sending(Kind::Text)?;
        frame.payload(payload, out);
        if frame.is_whole() {
            let mut sender = open.sender();
            sender.end_frame(frame.is_last());
            open.set_sender(sender);
        }
        Ok(frame.is_whole())
    }
}
