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

use std::sync::Arc;

use memchr::memchr;

use crate::bytes::{Input, Output};
use crate::error::{Refusal, Unsendable, Violation};
use crate::frame::{self, Frame, Kind, Mask, Message, Opcode, Piece, Reason, Utf8, Wire};
use crate::frame::{close, hixie75};
use crate::handshake::{self, Answer, Ask, Head, Origins, Page, Request, Response, Scan, Secret};
use crate::trace::{Field, Pen, Trace};
use crate::version::{Closing, Layout, Side, Text, Version, Versions};

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
    Plain(Box<Request<'b>>),
    /// Server: the request was refused, and the refusal is in the output.
    Refused(Refusal),
    /// Client: the head of the answer has come. What is wrong with it is the
    /// next thing said.
    Answer(Box<Response<'b>>),
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
    Asked(Box<Answer>),
    /// Server: a plain request was shown; whether a body is wanted.
    Plain(bool),
    /// Server, hixie-76: the head was sent; eight octets are coming.
    Body(Box<Answer>),
    /// Client: the answer is coming.
    Waiting(Box<(Secret, Scan)>),
    /// Client: the answer was shown, and this is wrong with it.
    Failed(Violation),
    /// Client, hixie-76: sixteen octets are coming.
    Digest(Box<Secret>),
    /// The handshake is finished; `Open` is to be told.
    Agreed,
    Open,
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
    secret: Option<Box<[u8; 20]>>,
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
    /// header; nothing is written then.
    pub fn client(
        version: &'static Version,
        ask: &Ask<'_>,
        config: Arc<Config>,
        out: &mut Output<'_>,
    ) -> Result<Conn, Unsendable> {
        let start = out.octets.len();
        handshake::write_request(version, ask, out)?;
        let request = out.octets.get(start..).unwrap_or_default();
        Conn::client_of(request, ask.secure, config).map_err(|_| Unsendable::HeaderValue)
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
        let secret = Secret::of(&request, key3, secure)?;
        let version = Some(secret.version);
        let state = State::Waiting(Box::new((secret, Scan::default())));
        Ok(Conn::new(Side::Client, config, version, state))
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
            utf8: Utf8::default(),
            sending: None,
            sent_utf8: Utf8::default(),
        }
    }

    /// The version spoken, once it is known.
    #[must_use]
    pub fn version(&self) -> Option<&'static Version> {
        self.version
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
            | State::Plain(_)
            | State::Body(_)
            | State::Waiting(_)
            | State::Failed(_)
            | State::Digest(_)
            | State::Agreed => Phase::Handshake,
            State::Open => Phase::Open,
            State::Closing => Phase::Closing,
            State::Closed => Phase::Closed,
        }
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
        match event {
            Ok(event) => Ok(event),
            Err(violation) => {
                self.fail(violation, out);
                Err(violation)
            }
        }
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

    /// TCP has ended on the peer's side.
    ///
    /// # Errors
    ///
    /// Where it ended too soon: inside the handshake or a message, or without
    /// the goodbye that this version has. A hixie peer that ends TCP between
    /// frames ended normally: browsers were seen to.
    pub fn end_of_input(&mut self) -> Result<(), Violation> {
        let ended = match self.phase() {
            Phase::Handshake => Err(Violation::HandshakeCut),
            Phase::Open | Phase::Closing => {
                let between_frames = self.expect == Expect::Header;
                let hixie = self.version.is_some_and(|v| v.layout == Layout::Hixie75);
                if hixie && between_frames {
                    Ok(())
                } else {
                    Err(Violation::Cut)
                }
            }
            Phase::Closed => Ok(()),
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

/// The opening handshake.
impl Conn {
    fn next_of_handshake<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        match &mut self.state {
            State::Head(_) => Ok(self.read_request(input, out, trace)),
            State::Waiting(_) => self.read_answer(input, trace),
            State::Body(answer) => {
                let Some(key3) = input.rest().first_chunk::<8>().copied() else {
                    return Ok(None);
                };
                let mut pen = Pen::new(trace, input.position());
                handshake::name_body(8, Field::Key3, &mut pen);
                out.octets.extend_from_slice(&answer.digest(key3, &mut pen));
                input.take(8);
                self.state = State::Open;
                Ok(Some(Event::Open))
            }
            State::Digest(secret) => {
                let Some(digest) = input.rest().first_chunk::<16>().copied() else {
                    return Ok(None);
                };
                let mut pen = Pen::new(trace, input.position());
                handshake::name_body(16, Field::Digest, &mut pen);
                let verdict = secret.verify_digest(&digest, &mut pen);
                input.take(16);
                verdict?;
                self.state = State::Open;
                Ok(Some(Event::Open))
            }
            State::Agreed => {
                self.state = State::Open;
                Ok(Some(Event::Open))
            }
            State::Failed(violation) => Err(*violation),
            State::Asked(_) | State::Plain(_) => Ok(None),
            State::Open | State::Closing | State::Closed => {
                // Octets after a closing frame are not parsed.
                let after = input.rest().len();
                let mut pen = Pen::new(trace, input.position());
                pen.octets(after, Field::AfterEnd, 0);
                input.take_all();
                Ok(None)
            }
        }
    }

    fn read_request<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Option<Event<'b>> {
        let end = match self.find_head(input.rest()) {
            Ok(None) => return None,
            Ok(Some(end)) => end,
            Err(refusal) => return Some(self.unreadable(refusal, input, out, trace)),
        };
        let at = input.position();
        let raw: &'b [u8] = input.take(end);
        let head = match Head::request(raw, self.config.limits.headers) {
            Ok(head) => head,
            Err(refusal) => {
                Pen::new(trace, at).octets(end, Field::Unreadable, 0);
                return Some(self.refused(refusal, out));
            }
        };
        if !T::WATCHING {
            return Some(self.judge_request(head, out, &mut Pen::new(trace, at)));
        }
        // The watcher sees the lines in order, and then what was derived; but
        // which headers decided is known only after the judgement.
        let again = Head::request(raw, self.config.limits.headers);
        let mut derived = Derived::default();
        let event = self.judge_request(head, out, &mut Pen::new(&mut derived, at));
        let mut pen = Pen::new(trace, at);
        match (&event, again) {
            (Event::Request(request) | Event::Plain(request), _) => {
                request.head().name(&mut pen, true);
            }
            (_, Ok(head)) => {
                let _ = handshake::detect(&head, self.config.versions);
                head.name(&mut pen, true);
            }
            (_, Err(_)) => {}
        }
        derived.tell(&mut pen);
        Some(event)
    }

    fn find_head(&mut self, octets: &[u8]) -> Result<Option<usize>, Refusal> {
        let limit = self.config.limits.head_bytes;
        match (&mut self.state, octets.first()) {
            (_, None) => Ok(None),
            (_, Some(0x16)) => Err(Refusal::TlsUnexpected),
            (_, Some(first)) if !first.is_ascii_alphabetic() => Err(Refusal::HeadMalformed),
            (State::Head(scan), _) => scan.find_end(octets, limit),
            _ => Ok(None),
        }
    }

    fn judge_request<'b, T: Trace>(
        &mut self,
        head: Head<'b>,
        out: &mut Output<'_>,
        pen: &mut Pen<'_, T>,
    ) -> Event<'b> {
        let request = match Request::read(head, self.config.versions) {
            Ok(request) => request,
            Err(refusal) => return self.refused(refusal, out),
        };
        let Some(version) = request.version() else {
            self.state = State::Plain(request.method() != "HEAD");
            return Event::Plain(Box::new(request));
        };
        if !self.config.origins.allow(request.origin()) {
            return self.refused(Refusal::OriginNotAllowed, out);
        }
        let public_url = self.config.public_url.as_deref();
        match Answer::prepare(&request, version, public_url, pen) {
            Ok(answer) => {
                self.version = Some(version);
                self.state = State::Asked(Box::new(answer));
                Event::Request(Box::new(request))
            }
            Err(refusal) => self.refused(refusal, out),
        }
    }

    /// Octets that are no head: all of them are named and thrown away.
    fn unreadable<'b, T: Trace>(
        &mut self,
        refusal: Refusal,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Event<'b> {
        let n = input.rest().len();
        Pen::new(trace, input.position()).octets(n, Field::Unreadable, 0);
        input.take_all();
        self.refused(refusal, out)
    }

    fn refused<'b>(&mut self, refusal: Refusal, out: &mut Output<'_>) -> Event<'b> {
        self.refuse(refusal, out);
        Event::Refused(refusal)
    }

    /// Server: upgrades. The 101 is written; the connection is open when
    /// [`Event::Open`] says so.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where no request waits for an answer,
    /// [`Unsendable::HeaderValue`] where the subprotocol would add a line.
    pub fn accept(
        &mut self,
        subprotocol: Option<&str>,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let State::Asked(answer) = &self.state else {
            return Err(Unsendable::NotOpen);
        };
        self.secret = answer.write(subprotocol, out, &mut Pen::new(&mut (), 0))?;
        let has_body = answer.version.has_body();
        let state = std::mem::replace(&mut self.state, State::Agreed);
        if let (State::Asked(answer), true) = (state, has_body) {
            self.state = State::Body(answer);
        }
        Ok(())
    }

    /// Server: answers with a refusal. Does nothing once a 101 was written.
    pub fn refuse(&mut self, refusal: Refusal, out: &mut Output<'_>) {
        if matches!(
            self.state,
            State::Head(_) | State::Asked(_) | State::Plain(_)
        ) {
            handshake::write_refusal(refusal, self.config.versions, out.octets);
        }
        self.state = State::Closed;
    }

    /// Server: answers plain HTTP.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where no request waits for an answer,
    /// [`Unsendable::HeaderValue`] where a header would add a line.
    pub fn respond(&mut self, page: &Page<'_>, out: &mut Output<'_>) -> Result<(), Unsendable> {
        let with_body = match self.state {
            State::Plain(with_body) => with_body,
            State::Asked(_) => true,
            _ => return Err(Unsendable::NotOpen),
        };
        page.write(with_body, out.octets)?;
        self.state = State::Closed;
        Ok(())
    }

    fn read_answer<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        let limit = self.config.limits.head_bytes;
        let State::Waiting(waiting) = &mut self.state else {
            return Ok(None);
        };
        let (secret, scan) = &mut **waiting;
        let at = input.position();
        let end = match scan.find_end(input.rest(), limit) {
            Ok(None) => return Ok(None),
            Ok(Some(end)) => end,
            Err(refusal) => {
                let n = input.rest().len();
                Pen::new(trace, at).octets(n, Field::Unreadable, 0);
                input.take_all();
                return Err(match refusal {
                    Refusal::HeadTooLong { .. } => Violation::ResponseTooLong,
                    _ => Violation::ResponseMalformed,
                });
            }
        };
        let raw: &'b [u8] = input.take(end);
        let head = match Head::response(raw) {
            Ok(head) => head,
            Err(violation) => {
                Pen::new(trace, at).octets(end, Field::Unreadable, 0);
                return Err(violation);
            }
        };
        let mut derived = Derived::default();
        let (response, verdict) = secret.verify(head, &mut Pen::new(&mut derived, at));
        let mut pen = Pen::new(trace, at);
        response.head().name(&mut pen, false);
        derived.tell(&mut pen);
        let has_body = secret.version.has_body();
        match verdict {
            Err(violation) => self.state = State::Failed(violation),
            Ok(masking_key) => {
                self.secret = masking_key;
                let state = std::mem::replace(&mut self.state, State::Agreed);
                if let (State::Waiting(waiting), true) = (state, has_body) {
                    self.state = State::Digest(Box::new(waiting.0));
                }
            }
        }
        Ok(Some(Event::Answer(Box::new(response))))
    }
}

/// Keeps what was derived until the head it comes from was named.
#[derive(Default)]
struct Derived(Vec<(Field, Vec<u8>)>);

impl Derived {
    fn tell<T: Trace>(&self, pen: &mut Pen<'_, T>) {
        for (field, octets) in &self.0 {
            pen.derive(*field, octets);
        }
    }
}

impl Trace for Derived {
    fn see(&mut self, _: crate::trace::Span) {}

    fn derive(&mut self, field: Field, octets: &[u8]) {
        self.0.push((field, octets.to_vec()));
    }
}

/// Frames that come.
impl Conn {
    #[inline]
    fn next_frame<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        loop {
            let event = match self.expect {
                Expect::Header => {
                    if input.rest().is_empty() {
                        return Ok(None);
                    }
                    let hixie = self.version.is_some_and(|v| v.layout == Layout::Hixie75);
                    let read = if hixie {
                        self.hixie_start(input, out, trace)?
                    } else {
                        self.header(input, out, trace)?
                    };
                    match read {
                        Read::More => return Ok(None),
                        Read::GoOn => None,
                        Read::Event(event) => Some(event),
                    }
                }
                Expect::Payload => {
                    if input.rest().is_empty() && self.rest > 0 {
                        return Ok(None);
                    }
                    self.payload(input, trace)?
                }
                Expect::HixieText { deliver } => {
                    if input.rest().is_empty() {
                        return Ok(None);
                    }
                    self.hixie_text(deliver, input, trace)?
                }
                Expect::Skip => {
                    if input.rest().is_empty() {
                        return Ok(None);
                    }
                    self.skip(input, trace);
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
            if matches!(self.state, State::Closed) {
                return self.next_of_handshake(input, out, trace);
            }
        }
    }

    /// A header from hybi-01 on.
    #[inline]
    fn header<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Read<'b>, Violation> {
        let Some(wire) = self.wire(self.side.peer()) else {
            return Ok(Read::More);
        };
        let Some(read) = frame::read(wire, input.rest()) else {
            return Ok(Read::More);
        };
        if let Ok(header) = &read.header {
            // A control frame is shown whole, so it is read whole.
            let payload = input.rest().len().saturating_sub(read.octets) as u64;
            if header.opcode.is_control() && payload < header.length {
                return Ok(Read::More);
            }
        }
        if T::WATCHING {
            frame::name(&read, wire, &mut Pen::new(trace, input.position()));
        }
        input.take(read.octets);
        let mut header = read.header?;
        let kind = match (header.opcode, self.coming) {
            (Opcode::Data(kind), None) => {
                self.first = true;
                self.message = 0;
                self.utf8 = Utf8::default();
                kind
            }
            (Opcode::Continuation, Some(kind)) => kind,
            // RFC 6455 section 5.4.
            (Opcode::Data(_), Some(_)) => return Err(Violation::MessageInterrupted),
            (Opcode::Continuation, None) => return Err(Violation::ContinuationUnexpected),
            (control, _) => {
                let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                let at = input.position();
                let payload = input.take(length);
                header.mask.apply(payload);
                return self.control(control, payload, at, out, trace);
            }
        };
        self.coming = Some(kind);
        self.grow(header.length)?;
        self.last = header.last;
        self.mask = header.mask;
        self.rest = header.length;
        self.expect = Expect::Payload;
        Ok(Read::GoOn)
    }

    /// Counts octets into the message at hand.
    #[inline]
    fn grow(&mut self, octets: u64) -> Result<(), Violation> {
        let limit = self.config.limits.message_bytes;
        match self.message.checked_add(octets) {
            Some(message) if message <= limit => {
                self.message = message;
                Ok(())
            }
            _ => Err(Violation::MessageTooBig { limit }),
        }
    }

    #[inline]
    fn payload<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        let kind = self.coming.unwrap_or(Kind::Binary);
        let at = input.position();
        let octets = input.take(usize::try_from(self.rest).unwrap_or(usize::MAX));
        Pen::new(trace, at).octets(octets.len(), Field::Payload, 0);
        self.mask.apply(octets);
        self.rest -= octets.len() as u64;
        let last = self.last && self.rest == 0;
        if kind == Kind::Text && self.version.is_some_and(|v| v.text == Text::Failed) {
            let fed = self.utf8.feed(octets);
            if fed.is_err() || (last && !self.utf8.is_whole()) {
                return Err(Violation::Utf8Invalid);
            }
        }
        if self.rest == 0 {
            self.expect = Expect::Header;
            if last {
                self.coming = None;
            }
        }
        Ok(self.deliver(kind, octets, last))
    }

    /// After our goodbye nothing more is delivered.
    #[inline]
    fn deliver<'b>(&mut self, kind: Kind, octets: &'b mut [u8], last: bool) -> Option<Event<'b>> {
        let first = std::mem::replace(&mut self.first, false);
        matches!(self.state, State::Open).then_some(Event::Piece(Piece {
            kind,
            octets,
            first,
            last,
        }))
    }

    fn control<'b, T: Trace>(
        &mut self,
        opcode: Opcode,
        payload: &'b mut [u8],
        at: u64,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Read<'b>, Violation> {
        let payload: &'b [u8] = payload;
        let mut pen = Pen::new(trace, at);
        let open = matches!(self.state, State::Open);
        if opcode == Opcode::Close {
            return self.peer_closes(payload, out, &mut pen).map(Read::Event);
        }
        pen.octets(payload.len(), Field::ControlPayload, 0);
        Ok(match opcode {
            _ if !open => Read::GoOn,
            Opcode::Ping => {
                self.write(Opcode::Pong, true, payload, out);
                Read::Event(Event::Ping(payload))
            }
            _ => Read::Event(Event::Pong(payload)),
        })
    }

    fn peer_closes<'b, T: Trace>(
        &mut self,
        body: &'b [u8],
        out: &mut Output<'_>,
        pen: &mut Pen<'_, T>,
    ) -> Result<Event<'b>, Violation> {
        let Some(version) = self.version else {
            return Ok(Event::Close(Reason::default()));
        };
        let code = match body.split_first_chunk::<2>() {
            Some((code, _)) if version.has_close_codes() => {
                pen.octets(2, Field::CloseCode, u64::from(u16::from_be_bytes(*code)));
                2
            }
            _ => 0,
        };
        pen.octets(body.len() - code, Field::CloseReason, 0);
        let reason = close::read(version, body)?;
        if matches!(self.state, State::Open) {
            let reply = close::reply(version, self.side, body);
            self.write(Opcode::Close, true, &reply, out);
        }
        self.state = State::Closed;
        Ok(Event::Close(reason))
    }

    /// Type and length of a hixie frame.
    fn hixie_start<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Read<'b>, Violation> {
        let Some(version) = self.version else {
            return Ok(Read::More);
        };
        let limit = self.config.limits.message_bytes;
        let Some((start, n)) = hixie75::read(version, self.side.peer(), limit, input.rest()) else {
            return Ok(Read::More);
        };
        let at = input.position();
        let octets = input.take(n);
        hixie75::name(octets, &mut Pen::new(trace, at));
        match start {
            hixie75::Start::Text { deliver } => {
                self.first = true;
                self.message = 0;
                self.coming = Some(Kind::Text);
                self.expect = Expect::HixieText { deliver };
            }
            hixie75::Start::Skip(length) => {
                self.rest = length;
                if length > 0 {
                    self.expect = Expect::Skip;
                }
            }
            hixie75::Start::Close => {
                if matches!(self.state, State::Open) {
                    self.say_hixie_close(out);
                }
                self.state = State::Closed;
                return Ok(Read::Event(Event::Close(Reason::default())));
            }
            hixie75::Start::TooManyOctets => return Err(Violation::LengthOutOfRange),
            hixie75::Start::TooLong => return Err(Violation::MessageTooBig { limit }),
        }
        Ok(Read::GoOn)
    }

    fn hixie_text<'b, T: Trace>(
        &mut self,
        deliver: bool,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        let end = memchr(hixie75::TERMINATOR, input.rest());
        let n = end.unwrap_or(input.rest().len());
        let mut pen = Pen::new(trace, input.position());
        let octets = input.take(n);
        if deliver {
            pen.octets(n, Field::Payload, 0);
            self.grow(n as u64)?;
        } else {
            pen.octets(n, Field::Skipped, 0);
        }
        if end.is_some() {
            pen.octets(1, Field::Terminator, u64::from(hixie75::TERMINATOR));
            input.take(1);
            self.expect = Expect::Header;
            self.coming = None;
        }
        Ok(if deliver {
            self.deliver(Kind::Text, octets, end.is_some())
        } else {
            None
        })
    }

    fn skip<T: Trace>(&mut self, input: &mut Input<'_>, trace: &mut T) {
        let at = input.position();
        let n = input
            .take(usize::try_from(self.rest).unwrap_or(usize::MAX))
            .len();
        Pen::new(trace, at).octets(n, Field::Skipped, 0);
        self.rest -= n as u64;
        if self.rest == 0 {
            self.expect = Expect::Header;
        }
    }
}

/// What a header led to.
enum Read<'b> {
    More,
    GoOn,
    Event(Event<'b>),
}

/// Frames that go.
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
    pub fn send_around(
        &self,
        kind: Kind,
        length: usize,
    ) -> Result<Option<(Around, Option<u8>)>, Unsendable> {
        if self.sending.is_some() {
            return Err(Unsendable::MessageUnfinished);
        }
        let version = self.may_send(kind)?;
        if version.layout == Layout::Hixie75 {
            let around = Around {
                octets: [0; frame::MAX_HEAD],
                len: 1,
            };
            return Ok(Some((around, Some(hixie75::TERMINATOR))));
        }
        if self.side == Side::Client && version.client_masks() {
            return Ok(None);
        }
        let (octets, len) = frame::head(version, Opcode::Data(kind), true, length);
        Ok(Some((Around { octets, len }, None)))
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
        let (State::Open | State::Agreed, Some(version)) = (&self.state, self.version) else {
            if self.phase() == Phase::Handshake {
                self.state = State::Closed;
            }
            return;
        };
        self.state = State::Closing;
        match version.closing {
            Closing::Hixie75 => self.state = State::Closed,
            Closing::Hixie76 => self.say_hixie_close(out),
            _ => {
                let body = if close::may_send(code) {
                    close::body(version, self.side, code, reason)
                } else {
                    Vec::new()
                };
                self.write(Opcode::Close, true, &body, out);
            }
        }
    }

    /// FF 00, but never inside a text: there only the end of TCP is honest.
    fn say_hixie_close(&mut self, out: &mut Output<'_>) {
        if self.sending.is_none() {
            out.octets.extend_from_slice(&hixie75::CLOSE);
        } else {
            self.state = State::Closed;
        }
    }

    #[inline]
    fn may_send(&self, kind: Kind) -> Result<&'static Version, Unsendable> {
        match (&self.state, self.version) {
            (State::Open | State::Agreed, Some(version)) => {
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
    fn write(&self, opcode: Opcode, last: bool, payload: &[u8], out: &mut Output<'_>) {
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
pub struct Around {
    octets: [u8; frame::MAX_HEAD],
    len: usize,
}

impl Around {
    /// At most this many octets stand in front of a payload.
    pub const MAX: usize = frame::MAX_HEAD;

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}
