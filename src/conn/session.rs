//! A connection with the input buffer that it needs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Conn, Event, RefusedRequest};
use crate::bytes::{Input, Output};
use crate::error::{Located, Violation};
use crate::frame::{Kind, Reason};
use crate::handshake::{Request, Response};
use crate::message::{Gather, Message, Piece};
use crate::trace::Trace;

/// What happened. As [`Event`], but with whole messages for pieces.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionEvent<'s> {
    /// Server: a client asks for an upgrade. Answer by [`Conn::accept`] or
    /// [`Conn::refuse`].
    Request(Box<Request<'s>>),
    /// Server: a request of plain HTTP. Answer by [`Conn::respond`] or
    /// [`Conn::refuse`].
    Http(Box<Request<'s>>),
    /// Server: a request was refused, and the response is in the output.
    Refused(Box<RefusedRequest<'s>>),
    /// Client: the head of the response has arrived.
    Response(Box<Response<'s>>),
    /// The handshake is finished on both sides.
    Open,
    /// hixie-76: white space between the handshake and the first frame. It was
    /// skipped.
    Stray(&'s [u8]),
    /// A whole message.
    Message(Message<'s>),
    /// A ping, which has been answered.
    Ping(&'s [u8]),
    /// A pong.
    Pong(&'s [u8]),
    /// The peer has sent a close.
    Close(Reason<'s>),
}

/// A [`Conn`] with its input buffer: received octets go in, whole messages and
/// other events come out.
///
/// ```
/// use std::sync::Arc;
/// use heirloom::conn::{Conn, Session, SessionEvent};
/// use heirloom::{Config, Output};
///
/// let request = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\n\
///     Upgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
///     Sec-WebSocket-Version: 13\r\n\r\n";
/// let mut session = Session::new(Conn::server(Arc::new(Config::default())));
/// session.receive(request);
/// // A server draws no random octets, but for hybi-04.
/// let mut random = |_: &mut [u8]| unreachable!();
/// let mut sent = Vec::new();
/// let mut out = Output::new(&mut sent, &mut random);
/// while let Some((event, conn)) = session.next(&mut out)? {
///     if let SessionEvent::Request(_) = event {
///         conn.accept(None, &mut out)?;
///     }
/// }
/// assert!(sent.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    conn: Conn,
    /// Octets that were received; the first `consumed` of them are parsed.
    buffer: Vec<u8>,
    consumed: usize,
    /// The position of the buffer's first octet in the peer's stream.
    start: u64,
    /// The message that is arriving in pieces, or was delivered last.
    gather: Gather,
    /// Whether the gathered message was delivered.
    delivered: bool,
    /// Where compressed payload is inflated, once some may arrive.
    room: Vec<u8>,
}

/// Octets that are inflated between two deliveries.
const ROOM: usize = 64 * 1024;

impl Session {
    /// Parses for this connection.
    #[must_use]
    pub fn new(conn: Conn) -> Session {
        Session {
            conn,
            buffer: Vec::new(),
            consumed: 0,
            start: 0,
            gather: Gather::default(),
            delivered: false,
            room: Vec::new(),
        }
    }

    /// The connection.
    #[must_use]
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// The connection, to send by it.
    pub fn conn_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Replaces the connection; what was received and not parsed stays.
    pub fn set_conn(&mut self, conn: Conn) {
        self.conn = conn;
        self.gather.clear();
    }

    /// Adds octets that were received. Call [`Session::next`] until it gives
    /// `None` then.
    pub fn receive(&mut self, octets: &[u8]) {
        self.forget_consumed();
        self.buffer.extend_from_slice(octets);
    }

    fn forget_consumed(&mut self) {
        self.start += self.consumed as u64;
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
    }

    /// The octets that were received and not parsed: part of a head or frame, or
    /// the body of a response that was no upgrade.
    #[must_use]
    pub fn unparsed(&self) -> &[u8] {
        self.buffer.split_at(self.consumed).1
    }

    /// The octets that were parsed since the last [`Session::receive`], with
    /// payload unmasked.
    #[must_use]
    pub fn parsed(&self) -> &[u8] {
        self.buffer.split_at(self.consumed).0
    }

    /// The position of the first octet that is not parsed in the peer's stream.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.start + self.consumed as u64
    }

    /// Octets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// Throws away what is not parsed beyond `limit` octets.
    pub fn truncate_unparsed(&mut self, limit: usize) {
        self.buffer.truncate(self.consumed.saturating_add(limit));
    }

    /// What happened next, and the connection to answer by; `None` when more must
    /// be received.
    ///
    /// # Errors
    ///
    /// As [`Conn::next`]. What follows is thrown away, so this may be called
    /// again.
    #[allow(clippy::should_implement_trait)] // its items borrow from it
    pub fn next<'s>(
        &'s mut self,
        out: &mut Output<'_>,
    ) -> Result<Option<(SessionEvent<'s>, &'s mut Conn)>, Located<Violation>> {
        self.next_watched(out, &mut ())
    }

    /// The same, with an observer.
    ///
    /// # Errors
    ///
    /// As [`Session::next`].
    pub fn next_watched<'s, T: Trace>(
        &'s mut self,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<(SessionEvent<'s>, &'s mut Conn)>, Located<Violation>> {
        if core::mem::take(&mut self.delivered) {
            self.gather.clear();
        }
        if self.conn.compression().is_some() && self.gather_fragments(out, trace)? {
            self.delivered = true;
            let message = SessionEvent::Message(self.gather.finish());
            return Ok(Some((message, &mut self.conn)));
        }
        let start = self.start;
        let position = self.position();
        let Session {
            conn,
            buffer,
            consumed,
            gather,
            delivered,
            ..
        } = self;
        let (_, unparsed) = buffer.split_at_mut(*consumed);
        let mut input = Input::starting_at(unparsed, position);
        loop {
            let event = conn.next_watched(&mut input, out, trace);
            *consumed = usize::try_from(input.position() - start).unwrap_or(usize::MAX);
            let event = match event? {
                None => return Ok(None),
                Some(Event::Piece(piece)) => {
                    let message = match in_place(piece) {
                        Ok(message) => message,
                        Err(piece) => {
                            gather.add(&piece);
                            if !piece.last {
                                continue;
                            }
                            *delivered = true;
                            gather.finish()
                        }
                    };
                    SessionEvent::Message(message)
                }
                Some(Event::Request(request)) => SessionEvent::Request(request),
                Some(Event::Http(request)) => SessionEvent::Http(request),
                Some(Event::Refused(refused)) => SessionEvent::Refused(refused),
                Some(Event::Response(response)) => SessionEvent::Response(response),
                Some(Event::Open) => SessionEvent::Open,
                Some(Event::Stray(octets)) => SessionEvent::Stray(octets),
                Some(Event::Ping(payload)) => SessionEvent::Ping(payload),
                Some(Event::Pong(payload)) => SessionEvent::Pong(payload),
                Some(Event::Close(reason)) => SessionEvent::Close(reason),
            };
            return Ok(Some((event, conn)));
        }
    }

    /// Gathers the compressed frames that come next, and those of messages that have
    /// several; whether a message is whole then.
    fn gather_fragments<T: Trace>(
        &mut self,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<bool, Located<Violation>> {
        self.room.resize(ROOM, 0);
        loop {
            let position = self.position();
            let (_, unparsed) = self.buffer.split_at_mut(self.consumed);
            let ahead = Input::starting_at(unparsed, position);
            let Some(octets) = self.conn.fragment_ahead(&ahead) else {
                return Ok(false);
            };
            // A frame at a time, so that no other event is among what comes.
            let (frame, _) = unparsed.split_at_mut(octets);
            let mut input = Input::starting_at(frame, position).with_room(&mut self.room);
            let waited = self.conn.waits_for_room();
            let event = self.conn.next_watched(&mut input, out, trace);
            let goes_on = waited || input.position() > position;
            self.consumed = usize::try_from(input.position() - self.start).unwrap_or(usize::MAX);
            match event? {
                Some(Event::Piece(piece)) => {
                    self.gather.add(&piece);
                    if piece.last {
                        return Ok(true);
                    }
                }
                _ if goes_on || self.conn.waits_for_room() => {}
                _ => return Ok(false),
            }
        }
    }

    /// TCP has ended on the peer's side.
    ///
    /// # Errors
    ///
    /// As [`Conn::end_of_input`].
    pub fn end_of_input(&mut self) -> Result<(), Located<Violation>> {
        let position = self.position();
        let (_, unparsed) = self.buffer.split_at_mut(self.consumed);
        let left = Input::starting_at(unparsed, position);
        self.conn.end_of_input(&left)
    }
}

/// The message of a piece that is all of it and needs no replacement.
fn in_place<'b>(piece: Piece<'b>) -> Result<Message<'b>, Piece<'b>> {
    let is_valid =
        piece.kind == Kind::Binary || piece.checked || core::str::from_utf8(piece.octets).is_ok();
    if piece.first && piece.last && is_valid {
        let octets: &'b [u8] = piece.octets;
        Ok(Message::checked(piece.kind, octets))
    } else {
        Err(piece)
    }
}
