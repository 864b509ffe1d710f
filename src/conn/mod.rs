//! One connection: handshake, frames, close; either side. No socket, no clock,
//! no randomness of its own.
//!
//! The contract fits on a card:
//!
//! 1. Call [`Conn::next`] until it gives `None`; then send what is in the
//!    output; then read more.
//! 2. What `next` did not eat, show again in front of what comes next: never
//!    more than one head during the handshake, one control frame after it.
//! 3. On `Err` the output already holds the goodbye that this version can say.
//!    Send it and close the connection.

mod bridge;
mod opening;
mod receive;
mod send;

use std::sync::Arc;

use crate::bytes::{Input, Output};
use crate::error::{Refusal, Unsendable, Violation};
use crate::frame::{Kind, Mask, Piece, Reason, Utf8, Wire};
use crate::handshake::write_request;
use crate::handshake::{
    ClientRequest, ExpectedResponse, Head, MaskingKey, Origins, PendingResponse, Request, Response,
    Scan,
};
use crate::trace::Trace;
use crate::version::{Layout, Side, Version, Versions};

pub use self::bridge::{BridgeEnd, Coding, Direction, Tally};
pub use self::send::Framing;

/// What may be held and waited for. Every number is finite; more than it is
/// refused, never cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a request's or answer's head.
    pub head_bytes: u32,
    /// Headers of a head; at most 128.
    pub headers: u16,
    /// Octets of a message, over all its fragments.
    pub message_bytes: u64,
    /// Octets of output that wait for the peer; above it nothing more is read
    /// from whoever feeds it, but one whole message is always admitted.
    pub output_bytes: usize,
    /// Connections at once.
    pub connections: usize,
    /// Milliseconds from accept to the end of the handshake.
    pub handshake_ms: u64,
    /// Milliseconds from our goodbye to the end.
    pub close_ms: u64,
    /// Milliseconds without a sign of the peer; 0 is off.
    pub idle_ms: u64,
    /// Milliseconds without progress while output waits.
    pub write_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 * 1024,
            headers: 100,
            message_bytes: 16 * 1024 * 1024,
            output_bytes: 1024 * 1024,
            connections: 16_384,
            handshake_ms: 10_000,
            close_ms: 5_000,
            idle_ms: 0,
            write_ms: 30_000,
        }
    }
}

/// What connections share: limits and policy.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// What may be held and waited for.
    pub limits: Limits,
    /// The versions a server has on.
    pub versions: Versions,
    /// The pages that may connect.
    pub origins: Origins,
    /// The URL that clients dialled, such as `wss://example.com`, where it is
    /// not `ws://` and the Host they sent. hixie clients compare it.
    pub public_url: Option<String>,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// Server: a client asks for an upgrade. Answer by [`Conn::accept`] or
    /// [`Conn::refuse`].
    Request(Box<Request<'b>>),
    /// Server: plain HTTP. Answer by [`Conn::respond`] or [`Conn::refuse`].
    Http(Box<Request<'b>>),
    /// Server: these octets, a head or what should have been one, were refused,
    /// and the refusal is in the output.
    Refused(Refusal, &'b [u8]),
    /// Client: the head of the answer has come. What is wrong with it is the
    /// next thing said.
    Response(Box<Response<'b>>),
    /// The handshake is finished on both sides.
    Open,
    /// Payload, as much as has come.
    Piece(Piece<'b>),
    /// A ping, which has been answered.
    Ping(&'b [u8]),
    /// A pong.
    Pong(&'b [u8]),
    /// The peer said goodbye; ours is in the output or was said before.
    Close(Reason<'b>),
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The opening handshake is not finished.
    Handshake,
    /// Messages may go both ways.
    Open,
    /// We said goodbye and wait for the peer's.
    Closing,
    /// Nothing more is sent or parsed; end TCP when the output is written.
    Closed,
}

#[derive(Debug)]
enum State {
    /// Server: the request is coming.
    Head(Scan),
    /// Server: the request was shown; accept or refuse is due.
    Asked(Box<PendingResponse>),
    /// Server: a plain request was shown; whether a body is wanted.
    Http(bool),
    /// Server, hixie-76: the head was sent; eight octets are coming.
    Body(Box<PendingResponse>),
    /// Client: the answer is coming.
    Waiting(Box<(ExpectedResponse, Scan)>),
    /// Client: the answer was shown, and this is wrong with it.
    Failed(Violation),
    /// Client, hixie-76: sixteen octets are coming.
    Digest(Box<ExpectedResponse>),
    /// The handshake is finished; `Open` is to be told.
    Agreed,
    Open,
    /// The peer said goodbye, with this body, and it is left to the caller when
    /// ours is said; until then we may talk.
    PeerClosed(Box<[u8]>),
    Closing,
    Closed,
}

/// What of a frame comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Header,
    Payload,
    HixieText { deliver: bool },
    Skip,
}

/// The protocol engine, for either side.
#[derive(Debug)]
pub struct Conn {
    config: Arc<Config>,
    version: Option<&'static Version>,
    state: State,
    /// hybi-04: the masking key of the connection.
    secret: Option<MaskingKey>,
    mask: Mask,
    /// Octets of the frame at hand still to come.
    rest: u64,
    /// Octets of the message at hand so far.
    message: u64,
    expect: Expect,
    side: Side,
    /// The kind of the message that is coming, while one is.
    coming: Option<Kind>,
    /// Whether the frame at hand is the last of its message.
    last: bool,
    /// Whether nothing of the message was delivered yet.
    first: bool,
    /// Whether the peer said goodbye.
    close_received: bool,
    /// Whether pings and goodbyes of the peer are left to the caller to answer.
    manual_control: bool,
    utf8: Utf8,
    /// The kind of the message that is being sent in pieces, while one is.
    sending: Option<Kind>,
    sent_utf8: Utf8,
}

impl Conn {
    /// The server's end of a new connection.
    #[must_use]
    pub fn server(config: Arc<Config>) -> Conn {
        Conn::new(Side::Server, config, None, State::Head(Scan::default()))
    }

    /// The client's end: writes the request. The eight octets of hixie-76 are
    /// the last of it.
    ///
    /// # Errors
    ///
    /// [`Unsendable::HeaderValue`] where the request would not be one line per
    /// header, [`Unsendable::Request`] where no server would take it; nothing
    /// is written then.
    pub fn client(
        version: &'static Version,
        client_request: &ClientRequest<'_>,
        config: Arc<Config>,
        out: &mut Output<'_>,
    ) -> Result<Conn, Unsendable> {
        let start = out.octets.len();
        write_request(version, client_request, out)?;
        let request = out.octets.get(start..).unwrap_or_default();
        let conn = Conn::client_of(request, client_request.secure, config);
        if conn.is_err() {
            out.octets.truncate(start);
        }
        conn.map_err(Unsendable::Request)
    }

    /// The client's end of a connection whose request is known, with the eight
    /// octets of hixie-76 where they are: it holds the server to this request.
    ///
    /// # Errors
    ///
    /// Why a server that has all versions on refuses the request.
    pub fn client_of(request: &[u8], secure: bool, config: Arc<Config>) -> Result<Conn, Refusal> {
        let end = Scan::default()
            .find_end(request, config.limits.head_bytes)?
            .ok_or(Refusal::HeadMalformed)?;
        let (head, body) = request.split_at(end);
        let head = Head::request(head, config.limits.headers)?;
        let request = Request::read(head, Versions::ALL)?;
        let key3 = body.first_chunk().copied().unwrap_or_default();
        let expected = ExpectedResponse::of(&request, key3, secure)?;
        let version = Some(expected.version);
        let state = State::Waiting(Box::new((expected, Scan::default())));
        Ok(Conn::new(Side::Client, config, version, state))
    }

    /// One end of a connection whose handshake was seen elsewhere or not at all,
    /// to read frames with. hybi-04's client cannot be read so: its key is made
    /// in the handshake.
    #[must_use]
    pub fn opened(side: Side, version: &'static Version, config: Arc<Config>) -> Conn {
        Conn::new(side, config, Some(version), State::Agreed)
    }

    fn new(
        side: Side,
        config: Arc<Config>,
        version: Option<&'static Version>,
        state: State,
    ) -> Conn {
        Conn {
            config,
            version,
            state,
            secret: None,
            mask: Mask::Clear,
            rest: 0,
            message: 0,
            expect: Expect::Header,
            side,
            coming: None,
            last: true,
            first: true,
            close_received: false,
            manual_control: false,
            utf8: Utf8::default(),
            sending: None,
            sent_utf8: Utf8::default(),
        }
    }

    /// Leaves pings and goodbyes of the peer to the caller, who answers by
    /// [`Conn::pong`] and [`Conn::close`]: whoever carries them on to another
    /// connection answers when that one has. After the peer's goodbye one may
    /// still talk to it.
    pub fn set_manual_control(&mut self) {
        self.manual_control = true;
    }

    /// The version spoken, once it is known.
    #[must_use]
    pub fn version(&self) -> Option<&'static Version> {
        self.version
    }

    /// Whether a text without a length is coming: where it ends, only it says.
    #[must_use]
    pub fn text_to_come(&self) -> bool {
        self.expect == Expect::HixieText { deliver: true } && matches!(self.state, State::Open)
    }

    /// Which end this is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// How far the connection has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Head(_)
            | State::Asked(_)
            | State::Http(_)
            | State::Body(_)
            | State::Waiting(_)
            | State::Failed(_)
            | State::Digest(_)
            | State::Agreed => Phase::Handshake,
            State::Open | State::PeerClosed(_) => Phase::Open,
            State::Closing => Phase::Closing,
            State::Closed => Phase::Closed,
        }
    }

    /// Whether messages may be sent: the handshake is done on our side, and
    /// goodbye is not said.
    #[must_use]
    pub fn can_send(&self) -> bool {
        matches!(
            self.state,
            State::Agreed | State::Open | State::PeerClosed(_)
        )
    }

    /// Whether both sides have said goodbye, so that nothing more will come.
    #[must_use]
    pub fn is_close_complete(&self) -> bool {
        self.close_received && matches!(self.state, State::Closed)
    }

    /// The octets of payload that are still to come of the frame at hand, where
    /// a length says so and the message goes on: a caller that gathers whole
    /// messages may read them straight to where they will lie.
    #[must_use]
    pub fn payload_to_come(&self) -> u64 {
        if self.expect == Expect::Payload && matches!(self.state, State::Open) {
            self.rest
        } else {
            0
        }
    }

    /// What happened next in the input; `None` when more is needed.
    ///
    /// # Errors
    ///
    /// How the peer broke the protocol. The goodbye is in the output, the phase
    /// is [`Phase::Closed`].
    #[inline]
    pub fn next<'b>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
    ) -> Result<Option<Event<'b>>, Violation> {
        self.next_watched(input, out, &mut ())
    }

    /// The same, watched.
    ///
    /// # Errors
    ///
    /// As [`Conn::next`].
    #[inline]
    pub fn next_watched<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        let event = match self.state {
            State::Open | State::Closing => self.next_frame(input, out, trace),
            _ => self.next_of_handshake(input, out, trace),
        };
        if let Err(violation) = event {
            self.fail(violation, out);
        }
        event
    }

    /// Says what can be said of a violation, and closes.
    fn fail(&mut self, violation: Violation, out: &mut Output<'_>) {
        self.close(violation.close_code(), violation.code(), out);
        self.state = State::Closed;
    }

    /// Ends the connection for a fault that is not the protocol's: the same
    /// goodbye, and nothing more is parsed.
    pub fn abort(&mut self, violation: Violation, out: &mut Output<'_>) {
        self.fail(violation, out);
    }

    /// TCP has ended on the peer's side, and `left` octets were not eaten.
    ///
    /// # Errors
    ///
    /// Where it ended too soon: inside the handshake or a message, or without
    /// the goodbye that this version has. A hixie peer that ends TCP between
    /// frames ended normally: browsers were seen to.
    pub fn end_of_input(&mut self, left: usize) -> Result<(), Violation> {
        let ended = match self.state {
            State::PeerClosed(_) => return Ok(()),
            State::Open | State::Closing => {
                let between_frames = self.expect == Expect::Header && left == 0;
                let hixie = self.version.is_some_and(|v| v.layout == Layout::Hixie75);
                if hixie && between_frames {
                    self.close_received = true;
                    if self.manual_control && matches!(self.state, State::Open) {
                        self.state = State::PeerClosed(Box::default());
                        return Ok(());
                    }
                    Ok(())
                } else {
                    Err(Violation::ConnectionCut)
                }
            }
            State::Closed => Ok(()),
            _ => Err(Violation::HandshakeCut),
        };
        self.state = State::Closed;
        ended
    }

    fn wire(&self, from: Side) -> Option<Wire<'_>> {
        Some(Wire {
            version: self.version?,
            from,
            secret: self.secret.as_deref(),
        })
    }
}
