//! One connection: handshake, frames, close; either side. It has no socket, no
//! clock and no randomness of its own.
//!
//! A [`Conn`] strings small machines together: the opening handshake, then a
//! decoder and a receiver for what arrives, a sender and an encoder for what is
//! sent, and the closing handshake. Its contract:
//!
//! 1. Call [`Conn::next`] until it gives `None`; then send what is in the
//!    output; then read more.
//! 2. Octets that `next` did not consume go in front of those that arrive next:
//!    never more than one head during the handshake, one control frame after it.
//! 3. On `Err` the output already holds the close that this version can send.
//!    Send it and end TCP.
//!
//! A [`Session`] keeps that contract for its caller and assembles messages.

mod role;
mod open;
mod respond;
mod close;
mod send;
mod session;
mod arriving;
mod held;
mod bridge;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use crate::bytes::{Input, Output};
use crate::error::{Located, Refusal, Unsendable, Violation};
use crate::extension::{Agreed, Deflate};
use crate::frame::{Control, Kind, Reason, Wire};
use crate::handshake::{
    Agreement, ClientEvent, ClientHandshake, ClientRequest, Opened, Request, Response, ServerEvent,
    ServerHandshake, write_request,
};
use crate::message::{Message, Piece};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Row, Side, Version};

pub use self::bridge::{BridgeEnd, Coding, Direction, Tally};
use self::close::PeerClosed;
pub use self::held::FRAGMENT;
use self::open::{Kept, Open, Received, Start};
use self::role::Role;
pub use self::session::{Session, SessionEvent};
pub use crate::handshake::{Config, Limits, Routes};

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// Server: a client asks for an upgrade. Answer by [`Conn::accept`] or
    /// [`Conn::refuse`].
    Request(Box<Request<'b>>),
    /// Server: a request of plain HTTP. Answer by [`Conn::respond`] or
    /// [`Conn::refuse`].
    Http(Box<Request<'b>>),
    /// Server: a request was refused, and the response is in the output.
    Refused(Box<RefusedRequest<'b>>),
    /// Client: the head of the response has arrived. If it is wrong, the next
    /// call of [`Conn::next`] returns the error.
    Response(Box<Response<'b>>),
    /// The handshake is finished on both sides.
    Open,
    /// hixie-76: white space between the handshake and the first frame. Some
    /// servers send CR LF there. It was skipped.
    Stray(&'b [u8]),
    /// Payload, as much as has arrived.
    Piece(Piece<'b>),
    /// A ping, which has been answered.
    Ping(&'b [u8]),
    /// A pong.
    Pong(&'b [u8]),
    /// The peer has sent a close. Ours is in the output, or was sent before, or
    /// is due where the caller has control.
    Close(Reason<'b>),
}

/// A request that was refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct RefusedRequest<'b> {
    /// Why, and which octets were the cause.
    pub refusal: Located<Refusal>,
    /// The octets that were refused: a head, or what should have been one.
    pub octets: &'b [u8],
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The opening handshake is not finished.
    Handshake,
    /// Messages may go both ways.
    Open,
    /// We have sent a close and wait for the peer's.
    Closing,
    /// Nothing more is sent or parsed; end TCP when the output is written.
    Closed,
}

/// The protocol engine, for either side.
#[derive(Debug)]
pub struct Conn {
    config: Arc<Config>,
    state: State,
}

#[derive(Debug)]
enum State {
    Handshake(Box<Opening>),
    Open(Open),
    PeerClosed(Box<PeerClosed>),
    Over(Over),
}

/// A connection that is being opened.
#[derive(Debug)]
struct Opening {
    handshake: Handshake,
    role: Role,
}

/// An opening handshake, of either side.
#[derive(Debug)]
enum Handshake {
    Server(ServerHandshake),
    Client(ClientHandshake),
}

/// A connection that is over.
#[derive(Debug)]
struct Over {
    /// The version, if it was known.
    version: Option<Row>,
    role: Role,
    /// Whether the peer has sent a close.
    close_received: bool,
}

impl Conn {
    /// The server's end of a new connection.
    #[must_use]
    pub fn server(config: Arc<Config>) -> Conn {
        let handshake = Handshake::Server(ServerHandshake::new());
        Conn::opening(Side::Server, handshake, config)
    }

    /// The client's end: writes the request. The eight octets of hixie-76 are
    /// the last of it.
    ///
    /// # Errors
    ///
    /// [`Unsendable::HeaderValue`] where a value would add a line,
    /// [`Unsendable::Request`] where no server would take the request. Nothing
    /// is written then.
    pub fn client(
        version: &'static Version,
        request: &ClientRequest<'_>,
        config: Arc<Config>,
        out: &mut Output<'_>,
    ) -> Result<Conn, Unsendable> {
        let start = out.octets.len();
        let (compression, contexts) = config.new_compression();
        write_request(version, request, &compression, out)?;
        let (_, written) = out.octets.split_at(start);
        match ClientHandshake::of_request(written, request.secure, &config) {
            Ok(mut handshake) => {
                handshake.hold_contexts(contexts);
                Ok(Conn::client_in(handshake, config))
            }
            Err(refusal) => {
                out.octets.truncate(start);
                Err(Unsendable::Request(refusal))
            }
        }
    }

    /// The client's end of a connection whose request is known, with the eight
    /// octets of hixie-76 where they are: it holds the server to this request.
    ///
    /// # Errors
    ///
    /// Why a server that has all versions on refuses the request.
    pub fn client_of(request: &[u8], secure: bool, config: Arc<Config>) -> Result<Conn, Refusal> {
        let handshake = ClientHandshake::of_request(request, secure, &config)?;
        Ok(Conn::client_in(handshake, config))
    }

    /// The client's end of a connection whose request was not seen: it checks
    /// only what needs no request. The version is that which the response looks
    /// like where `version` is `None`.
    #[must_use]
    pub fn client_without_request(version: Option<&'static Version>, config: Arc<Config>) -> Conn {
        Conn::client_in(ClientHandshake::without_request(version), config)
    }

    /// The same behind the head of the response: hixie-76 has sixteen octets
    /// there, the others are open.
    #[must_use]
    pub fn client_after_response(version: &'static Version, config: Arc<Config>) -> Conn {
        if version.has_body() {
            let handshake = ClientHandshake::digest_without_request(version);
            return Conn::client_in(handshake, config);
        }
        let wire = Wire::unseen_by_client(version);
        let state = State::Open(Open::new(wire, Kept::default(), Role::of(Side::Client)));
        Conn { config, state }
    }

    fn client_in(handshake: ClientHandshake, config: Arc<Config>) -> Conn {
        Conn::opening(Side::Client, Handshake::Client(handshake), config)
    }

    fn opening(side: Side, handshake: Handshake, config: Arc<Config>) -> Conn {
        let role = Role::of(side);
        let state = State::Handshake(Box::new(Opening { handshake, role }));
        Conn { config, state }
    }

    /// Has the server's end of a connection whose request has not arrived judge it by
    /// this configuration. Nothing happens where it has arrived.
    pub fn set_config(&mut self, config: &Arc<Config>) {
        let State::Handshake(opening) = &self.state else {
            return;
        };
        if matches!(&opening.handshake, Handshake::Server(server) if server.awaits_head()) {
            self.config = Arc::clone(config);
        }
    }

    /// One end of a connection whose handshake was not seen, to read frames with.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NoMaskingKey`] for the server's end of hybi-04, whose client
    /// masks with a key that is made in the handshake. Its client's end reads,
    /// but cannot send.
    pub fn opened(
        side: Side,
        version: &'static Version,
        config: Arc<Config>,
    ) -> Result<Conn, Unsendable> {
        let mut wire = Wire::unseen(version, side)?;
        wire.keep_layout();
        let state = State::Open(Open::new(wire, Kept::default(), Role::of(side)));
        Ok(Conn { config, state })
    }

    /// Leaves pings and closes of the peer to the caller, which answers by
    /// [`Conn::pong`] and [`Conn::close`]. A bridge replies once its other
    /// connection has replied. After the peer's close this end may still send.
    pub fn set_manual_control(&mut self) {
        let role = match &mut self.state {
            State::Handshake(opening) => &mut opening.role,
            State::Open(open) => &mut open.role,
            State::PeerClosed(peer_closed) => &mut peer_closed.open.role,
            State::Over(over) => &mut over.role,
        };
        role.set_manual_control();
    }

    #[inline]
    fn role(&self) -> Role {
        match &self.state {
            State::Open(open) => open.role,
            State::Handshake(opening) => opening.role,
            State::PeerClosed(peer_closed) => peer_closed.open.role,
            State::Over(over) => over.role,
        }
    }

    /// The version, once it is known.
    #[must_use]
    #[inline]
    pub fn version(&self) -> Option<&'static Version> {
        match &self.state {
            State::Handshake(opening) => match &opening.handshake {
                Handshake::Server(server) => server.version(),
                Handshake::Client(client) => client.version(),
            },
            State::Open(open) => Some(open.wire.version()),
            State::PeerClosed(peer_closed) => Some(peer_closed.open.wire.version()),
            State::Over(over) => over.version.map(Row::version),
        }
    }

    /// Whether its version has pings, once that is known.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn has_ping(&self) -> bool {
        match &self.state {
            State::Open(open) => !open.wire.is_hixie(),
            _ => self.version().is_some_and(Version::has_ping),
        }
    }

    /// What applies to this connection: that of its request's route, once the
    /// request has arrived.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Which end this is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.role().side()
    }

    /// How far the connection has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Handshake(_) => Phase::Handshake,
            State::Open(open) if open.close_sent => Phase::Closing,
            State::Open(_) | State::PeerClosed(_) => Phase::Open,
            State::Over(_) => Phase::Closed,
        }
    }

    /// Whether messages may be sent: the handshake is done on our side, and we
    /// have not sent a close.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.phase() == Phase::Open
    }

    /// The frames of an open connection, while no close was sent.
    fn receiving(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) if !open.close_sent => Some(open),
            _ => None,
        }
    }

    /// The compression that both ends agreed on.
    #[must_use]
    pub fn compression(&self) -> Option<Deflate> {
        match &self.state {
            State::Open(open) => open.wire.deflate(),
            State::PeerClosed(peer_closed) => peer_closed.open.wire.deflate(),
            State::Handshake(..) | State::Over(_) => None,
        }
    }

    /// A message that lies whole in the input. `None` where something else comes
    /// next, or nothing: [`Conn::next`] tells.
    #[inline(always)]
    pub fn next_message<'b>(&mut self, input: &mut Input<'b>) -> Option<Message<'b>> {
        let (kind, octets) = self.take_whole(input)?;
        Some(Message::checked(kind, octets))
    }

    #[inline(always)]
    fn take_whole<'b>(&self, input: &mut Input<'b>) -> Option<(Kind, &'b mut [u8])> {
        match &self.state {
            State::Open(open) => open.next_whole(self.config.limits.message_bytes, input),
            _ => None,
        }
    }

    /// A whole message of this connection's version as a piece.
    #[inline(always)]
    fn whole_piece<'b>(&self, kind: Kind, octets: &'b mut [u8]) -> Piece<'b> {
        let has_length = match &self.state {
            State::Open(open) => !open.wire.is_hixie(),
            _ => true,
        };
        Piece::whole(kind, octets, has_length)
    }

    /// What happened next in the input; `None` when more is needed.
    ///
    /// # Errors
    ///
    /// Why the connection fails, and in which octets the cause lies. The close is
    /// in the output, and the phase is [`Phase::Closed`].
    #[inline(always)]
    pub fn next<'b>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        self.next_watched(input, out, &mut ())
    }

    /// The same, with an observer.
    ///
    /// # Errors
    ///
    /// As [`Conn::next`].
    #[inline(always)]
    pub fn next_watched<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        if !T::WATCHING {
            if let Some((kind, octets)) = self.take_whole(input) {
                return Ok(Some(Event::Piece(self.whole_piece(kind, octets))));
            }
        }
        let event = match &self.state {
            State::Open(open) if open.start == Start::Frames => {
                self.next_any_frame(input, out, trace)
            }
            _ => self.next_other(input, out, trace),
        };
        if let Err(located) = &event {
            self.fail(located.error, out);
        }
        event
    }

    #[inline(always)]
    fn next_any_frame<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        match &self.state {
            State::Open(open) if open.wire.is_hixie() => {
                self.next_frame::<true, T>(input, out, trace)
            }
            State::Open(open) if open.wire.deflate().is_some() => {
                self.next_deflated(input, out, trace)
            }
            _ => self.next_frame::<false, T>(input, out, trace),
        }
    }

    #[inline(never)] // so that the event is written once, to where it is wanted
    fn next_frame<'b, const HIXIE: bool, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        let State::Open(open) = &mut self.state else {
            return Ok(None);
        };
        let limit = self.config.limits.message_bytes;
        let received = open.receive::<HIXIE, T>(limit, input, trace)?;
        self.on_received(received, input.position(), out)
    }

    #[inline(never)]
    fn next_deflated<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        let State::Open(open) = &mut self.state else {
            return Ok(None);
        };
        let Some(deflate) = open.wire.deflate() else {
            return Ok(None);
        };
        let limit = self.config.limits.message_bytes;
        let received = open.receive_deflated(deflate, limit, input, out, trace)?;
        self.on_received(received, input.position(), out)
    }

    /// What was received, up to octet `end`.
    #[inline(always)]
    fn on_received<'b>(
        &mut self,
        received: Option<Received<'b>>,
        end: u64,
        out: &mut Output<'_>,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        match received {
            None => Ok(None),
            Some(Received::Piece(piece)) => Ok(Some(Event::Piece(piece))),
            Some(Received::Control(control, payload)) => {
                self.control(control, payload, end, out).map(Some)
            }
        }
    }

    /// A control frame, whose payload ends at octet `end`.
    fn control<'b>(
        &mut self,
        control: Control,
        payload: &'b [u8],
        end: u64,
        out: &mut Output<'_>,
    ) -> Result<Event<'b>, Located<Violation>> {
        match control {
            Control::Close => self.close_received(payload, end, out),
            Control::Pong => Ok(Event::Pong(payload)),
            Control::Ping => {
                if let Some(open) = self
                    .receiving()
                    .filter(|open| !open.role.has_manual_control())
                {
                    open.send_control(Control::Pong, payload, out);
                }
                Ok(Event::Ping(payload))
            }
        }
    }

    fn next_other<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        match &mut self.state {
            State::Handshake(opening) => match &mut opening.handshake {
                Handshake::Server(server) => {
                    let event = server.next(&mut self.config, input, out, trace);
                    Ok(event.map(|event| self.on_server_event(event)))
                }
                Handshake::Client(client) => {
                    let event = client.next(&self.config, input, trace)?;
                    Ok(event.map(|event| self.on_client_event(event)))
                }
            },
            State::Open(open) if open.start == Start::Unannounced => {
                open.start = Start::behind_handshake(open.wire);
                Ok(Some(Event::Open))
            }
            State::Open(_) => self.next_start(input, out, trace),
            State::PeerClosed(_) | State::Over(_) => {
                // Octets after a close are not parsed (RFC 6455 section 5.5.1).
                let after = input.rest().len();
                SpanWriter::new(trace, input.position()).octets(after, Field::AfterEnd, 0);
                input.take_all();
                Ok(None)
            }
        }
    }

    /// What stands between the handshake of hixie-76, or hybi-03, and the first
    /// frame.
    fn next_start<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Located<Violation>> {
        let State::Open(open) = &mut self.state else {
            return Ok(None);
        };
        if let Some(stray) = open.skip_stray(input, trace) {
            return Ok(Some(Event::Stray(stray)));
        }
        if !open.settle_layout(input) {
            return Ok(None);
        }
        self.next_any_frame(input, out, trace)
    }

    fn on_server_event<'b>(&mut self, event: ServerEvent<'b>) -> Event<'b> {
        match event {
            ServerEvent::Request(request) => Event::Request(request),
            ServerEvent::Http(request) => Event::Http(request),
            ServerEvent::Refused(refusal, octets) => {
                self.end(false);
                Event::Refused(Box::new(RefusedRequest { refusal, octets }))
            }
            ServerEvent::Open(agreement) => {
                self.open(agreed(agreement), true);
                Event::Open
            }
        }
    }

    fn on_client_event<'b>(&mut self, event: ClientEvent<'b>) -> Event<'b> {
        let wire = |opened| match opened {
            Opened::Agreed(agreement) => agreed(agreement),
            Opened::Unseen(version, deflate) => {
                let wire = Wire::unseen_by_client(version);
                let wire = wire.with_deflate(deflate.map(Agreed::from));
                (wire, Kept::default())
            }
        };
        match event {
            ClientEvent::Response(response, opened) => {
                if let Some(opened) = opened {
                    self.open(wire(opened), false);
                }
                Event::Response(response)
            }
            ClientEvent::Open(opened) => {
                self.open(wire(opened), true);
                Event::Open
            }
        }
    }

    /// The handshake is finished; `announced` is whether [`Event::Open`] is being
    /// delivered.
    fn open(&mut self, (wire, kept): (Wire, Kept), announced: bool) {
        let mut open = Open::new(wire, kept, self.role());
        if announced {
            open.start = Start::behind_handshake(wire);
        }
        self.state = State::Open(open);
    }

    /// Client: before the response, names another scheme and authority that a
    /// hixie server may give for its location. A server behind a proxy may learn
    /// from a header which URL another client dialled, and names that.
    pub fn allow_location(&mut self, base: String) {
        if let State::Handshake(opening) = &mut self.state {
            if let Handshake::Client(client) = &mut opening.handshake {
                client.allow_location(base);
            }
        }
    }
}

/// What an opening handshake agreed on.
fn agreed(agreement: Agreement) -> (Wire, Kept) {
    let Agreement {
        version,
        masking_key,
        deflate,
        contexts,
    } = agreement;
    let wire = Wire::agreed(version, masking_key.as_ref());
    let kept = Kept {
        key: masking_key,
        contexts,
    };
    (wire.with_deflate(deflate.map(Agreed::from)), kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Conn>() <= 24, "{} octets", size_of::<Conn>());
        assert!(size_of::<Event<'_>>() <= 40);
    }
}
