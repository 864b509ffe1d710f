//! The opening handshake of a connection.

use super::{Conn, Event, State};
use crate::bytes::{Input, Output};
use crate::error::{Refusal, Unsendable, Violation};
use crate::handshake::{self, Head, HttpResponse, PendingResponse, Request};
use crate::trace::{Field, SpanWriter, Trace};

/// How a PROXY header of version 2 begins.
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

impl Conn {
    pub(super) fn next_of_handshake<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        match &mut self.state {
            State::Head(_) => Ok(self.read_request(input, out, trace)),
            State::Waiting(_) => self.read_response(input, trace),
            State::Body(pending) => {
                let Some(key3) = input.rest().first_chunk::<8>().copied() else {
                    return Ok(None);
                };
                let mut spans = SpanWriter::new(trace, input.position());
                handshake::name_body(8, Field::Key3, &mut spans);
                out.octets
                    .extend_from_slice(&pending.digest(key3, &mut spans));
                input.take(8);
                self.state = State::Open;
                Ok(Some(Event::Open))
            }
            State::Digest(expected) => {
                let Some(digest) = input.rest().first_chunk::<16>().copied() else {
                    return Ok(None);
                };
                let mut spans = SpanWriter::new(trace, input.position());
                handshake::name_body(16, Field::Digest, &mut spans);
                let verdict = expected.verify_digest(&digest, &mut spans);
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
            State::Asked(_) | State::Http(_) => Ok(None),
            State::Open | State::PeerClosed(_) | State::Closing | State::Closed => {
                // Octets after a closing frame are not parsed.
                let after = input.rest().len();
                let mut spans = SpanWriter::new(trace, input.position());
                spans.octets(after, Field::AfterEnd, 0);
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
                SpanWriter::new(trace, at).octets(end, Field::Unreadable, 0);
                return Some(self.refused(refusal, raw, out));
            }
        };
        if !T::WATCHING {
            return Some(self.judge_request(head, out, &mut SpanWriter::new(trace, at)));
        }
        // The watcher sees the lines in order, and then what was derived; but
        // which headers decided is known only after the judgement.
        let again = Head::request(raw, self.config.limits.headers);
        let mut derived = Derived::default();
        let event = self.judge_request(head, out, &mut SpanWriter::new(&mut derived, at));
        let mut spans = SpanWriter::new(trace, at);
        match (&event, again) {
            (Event::Request(request) | Event::Http(request), _) => {
                // Whoever accepts looks at them.
                let _ = request.subprotocols().count();
                request.head().name(&mut spans, true);
            }
            (_, Ok(head)) => {
                let versions = self.config.versions;
                match Request::read(head, versions) {
                    Ok(request) => request.head().name(&mut spans, true),
                    Err(_) => {
                        if let Ok(head) = Head::request(raw, self.config.limits.headers) {
                            let _ = handshake::detect(&head, versions);
                            head.name(&mut spans, true);
                        }
                    }
                }
            }
            (_, Err(_)) => {}
        }
        derived.write_to(&mut spans);
        Some(event)
    }

    fn find_head(&mut self, octets: &[u8]) -> Result<Option<usize>, Refusal> {
        let limit = self.config.limits.head_bytes;
        if octets.starts_with(b"PROXY ") || octets.starts_with(PROXY_V2) {
            return Err(Refusal::ProxyHeaderUnexpected);
        }
        match (&mut self.state, octets.first()) {
            (_, None) => Ok(None),
            (_, Some(b'\r')) if PROXY_V2.starts_with(octets) => Ok(None),
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
        spans: &mut SpanWriter<'_, T>,
    ) -> Event<'b> {
        let wants_body = head.first_line()[0] != "HEAD";
        let raw = head.raw();
        let request = match Request::read(head, self.config.versions) {
            Ok(request) => request,
            Err(refusal) => {
                self.state = State::Http(wants_body);
                return self.refused(refusal, raw, out);
            }
        };
        let Some(version) = request.version() else {
            self.state = State::Http(wants_body);
            return Event::Http(Box::new(request));
        };
        if !self.config.origins.allow(request.origin()) {
            return self.refused(Refusal::OriginNotAllowed, raw, out);
        }
        let public_url = self.config.public_url.as_deref();
        match PendingResponse::prepare(&request, version, public_url, spans) {
            Ok(pending) => {
                self.version = Some(version);
                self.state = State::Asked(Box::new(pending));
                Event::Request(Box::new(request))
            }
            Err(refusal) => self.refused(refusal, raw, out),
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
        SpanWriter::new(trace, input.position()).octets(n, Field::Unreadable, 0);
        let raw: &'b [u8] = input.take_all();
        self.refused(refusal, raw, out)
    }

    fn refused<'b>(&mut self, refusal: Refusal, raw: &'b [u8], out: &mut Output<'_>) -> Event<'b> {
        self.refuse(refusal, out);
        Event::Refused(refusal, raw)
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
        let State::Asked(pending) = &self.state else {
            return Err(Unsendable::NotOpen);
        };
        self.secret = pending.write_response(subprotocol, out, &mut SpanWriter::new(&mut (), 0))?;
        let has_body = pending.version.has_body();
        let state = std::mem::replace(&mut self.state, State::Agreed);
        if let (State::Asked(pending), true) = (state, has_body) {
            self.state = State::Body(pending);
        }
        Ok(())
    }

    /// Server: between request and answer, says what the client dialled, such
    /// as `wss://example.com`, where it is not what its Host says. hixie clients
    /// compare it. [`Config::public_url`](super::Config::public_url) knows
    /// better.
    pub fn set_public_url(&mut self, base: &str) {
        if self.config.public_url.is_some() {
            return;
        }
        if let State::Asked(pending) = &mut self.state {
            pending.set_public_url(base);
        }
    }

    /// Client: before the answer, names another scheme and authority that a
    /// hixie server may give for its location: a server that is told by a
    /// header what somebody else dialled says that.
    pub fn allow_location(&mut self, base: String) {
        if let State::Waiting(waiting) = &mut self.state {
            waiting.0.allow_location(base);
        }
    }

    /// Server: answers with a refusal. Does nothing once a 101 was written.
    pub fn refuse(&mut self, refusal: Refusal, out: &mut Output<'_>) {
        let with_body = match self.state {
            State::Head(_) | State::Asked(_) => true,
            State::Http(with_body) => with_body,
            _ => {
                self.state = State::Closed;
                return;
            }
        };
        handshake::write_refusal(refusal, self.config.versions, with_body, out.octets);
        self.state = State::Closed;
    }

    /// Server: answers plain HTTP.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where no request waits for an answer,
    /// [`Unsendable::HeaderValue`] where a header would add a line.
    pub fn respond(
        &mut self,
        response: &HttpResponse<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let with_body = match self.state {
            State::Http(with_body) => with_body,
            State::Asked(_) => true,
            _ => return Err(Unsendable::NotOpen),
        };
        response.write(with_body, out.octets)?;
        self.state = State::Closed;
        Ok(())
    }

    fn read_response<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Event<'b>>, Violation> {
        let limit = self.config.limits.head_bytes;
        let State::Waiting(waiting) = &mut self.state else {
            return Ok(None);
        };
        let (expected, scan) = &mut **waiting;
        let at = input.position();
        // Who speaks another protocol often waits then, and no line ends.
        let is_http = input.rest().iter().zip(b"HTTP/").all(|(a, b)| a == b);
        let found = if is_http {
            scan.find_end(input.rest(), limit)
        } else {
            Err(Refusal::HeadMalformed)
        };
        let end = match found {
            Ok(None) => return Ok(None),
            Ok(Some(end)) => end,
            Err(refusal) => {
                let n = input.rest().len();
                SpanWriter::new(trace, at).octets(n, Field::Unreadable, 0);
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
                SpanWriter::new(trace, at).octets(end, Field::Unreadable, 0);
                return Err(violation);
            }
        };
        let mut derived = Derived::default();
        let (response, verdict) = expected.verify(head, &mut SpanWriter::new(&mut derived, at));
        let mut spans = SpanWriter::new(trace, at);
        response.head().name(&mut spans, false);
        derived.write_to(&mut spans);
        let has_body = expected.version.has_body();
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
        Ok(Some(Event::Response(Box::new(response))))
    }
}

/// Keeps what was derived until the head it comes from was named.
#[derive(Default)]
struct Derived(Vec<(Field, Vec<u8>)>);

impl Derived {
    fn write_to<T: Trace>(&self, spans: &mut SpanWriter<'_, T>) {
        for (field, octets) in &self.0 {
            spans.derive(*field, octets);
        }
    }
}

impl Trace for Derived {
    fn see(&mut self, _: crate::trace::Span) {}

    fn derive(&mut self, field: Field, octets: &[u8]) {
        self.0.push((field, octets.to_vec()));
    }
}
