//! Frames that come.

use std::mem;

use memchr::memchr;

use super::{Conn, Event, Expect, State};
use crate::bytes::{Input, Output};
use crate::error::Violation;
use crate::frame::{self, Kind, Opcode, Piece, Reason, Utf8, close, hixie75};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Layout, Version};

/// What a header led to.
enum Read<'b> {
    More,
    GoOn,
    Event(Event<'b>),
}

impl Conn {
    #[inline(never)] // so that the event is written once, to where it is wanted
    pub(super) fn next_frame<'b, T: Trace>(
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
            if matches!(self.state, State::Closed | State::PeerClosed(_)) {
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
        let Some(mut read) = frame::read(wire, input.rest()) else {
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
            frame::name(&read, wire, &mut SpanWriter::new(trace, input.position()));
        }
        input.take(read.octets);
        let header = read.header?;
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
                read.mask.apply(payload);
                return self.control(control, payload, at, out, trace);
            }
        };
        self.coming = Some(kind);
        self.grow(header.length)?;
        self.last = header.last;
        self.mask = read.mask;
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
        SpanWriter::new(trace, at).octets(octets.len(), Field::Payload, 0);
        self.mask.apply(octets);
        self.rest -= octets.len() as u64;
        let last = self.last && self.rest == 0;
        if kind == Kind::Text && self.version.is_some_and(Version::checks_text) {
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
        Ok(Some(self.deliver(kind, octets, last)))
    }

    /// What the peer said before it heard our goodbye is delivered too.
    #[inline]
    fn deliver<'b>(&mut self, kind: Kind, octets: &'b mut [u8], last: bool) -> Event<'b> {
        let first = mem::replace(&mut self.first, false);
        Event::Piece(Piece {
            kind,
            octets,
            first,
            last,
        })
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
        let mut spans = SpanWriter::new(trace, at);
        let open = matches!(self.state, State::Open);
        if opcode == Opcode::Close {
            return self.peer_closes(payload, out, &mut spans).map(Read::Event);
        }
        spans.octets(payload.len(), Field::ControlPayload, 0);
        Ok(Read::Event(match opcode {
            Opcode::Ping => {
                if open && !self.manual_control {
                    self.write(Opcode::Pong, true, payload, out);
                }
                Event::Ping(payload)
            }
            _ => Event::Pong(payload),
        }))
    }

    fn peer_closes<'b, T: Trace>(
        &mut self,
        body: &'b [u8],
        out: &mut Output<'_>,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<Event<'b>, Violation> {
        let Some(version) = self.version else {
            return Ok(Event::Close(Reason::default()));
        };
        let code = match body.split_first_chunk::<2>() {
            Some((code, _)) if version.has_close_codes() => {
                spans.octets(2, Field::CloseCode, u64::from(u16::from_be_bytes(*code)));
                2
            }
            _ => 0,
        };
        spans.octets(body.len() - code, Field::CloseReason, 0);
        let reason = close::read(version, body)?;
        self.close_received = true;
        let open = matches!(self.state, State::Open);
        if open && self.manual_control {
            self.state = State::PeerClosed(body.into());
            return Ok(Event::Close(reason));
        }
        if open {
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
        hixie75::name(octets, &mut SpanWriter::new(trace, at));
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
                self.close_received = true;
                let open = matches!(self.state, State::Open);
                if open && self.manual_control {
                    self.state = State::PeerClosed(Box::default());
                    return Ok(Read::Event(Event::Close(Reason::default())));
                }
                if open {
                    self.send_hixie_close(out);
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
        let mut spans = SpanWriter::new(trace, input.position());
        let octets = input.take(n);
        if deliver {
            spans.octets(n, Field::Payload, 0);
            self.grow(n as u64)?;
        } else {
            spans.octets(n, Field::Skipped, 0);
        }
        if end.is_some() {
            spans.octets(1, Field::Terminator, u64::from(hixie75::TERMINATOR));
            input.take(1);
            self.expect = Expect::Header;
            self.coming = None;
        }
        Ok(deliver.then(|| self.deliver(Kind::Text, octets, end.is_some())))
    }

    fn skip<T: Trace>(&mut self, input: &mut Input<'_>, trace: &mut T) {
        let at = input.position();
        let n = input
            .take(usize::try_from(self.rest).unwrap_or(usize::MAX))
            .len();
        SpanWriter::new(trace, at).octets(n, Field::Skipped, 0);
        self.rest -= n as u64;
        if self.rest == 0 {
            self.expect = Expect::Header;
        }
    }
}
