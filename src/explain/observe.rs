//! Two ends of the core, which observe both sides of a conversation.

use std::mem;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{
    Case, Consumed, Explanation, Fault, MAX_PARTS, Namer, Note, Part, PartKind, ResponseSeen,
    Timeline, verdict,
};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event, Phase};
use crate::error::{Refusal, Violation};
use crate::frame::Kind;
use crate::handshake::{self, Detected, Head, Origins};
use crate::version::{Layout, Side, Version, Versions};

/// Reads the octets of a conversation as they come and keeps what each of them
/// is. [`Explainer::parts`] shows what there is so far, [`Explainer::finish`]
/// says what it came to.
#[derive(Debug)]
pub struct Explainer {
    config: Arc<Config>,
    secure: bool,
    version: Option<&'static Version>,
    client: Stream,
    server: Stream,
    parts: Vec<Part>,
    fault: Option<Fault>,
    /// The request's head, and the eight octets of hixie-76 behind it.
    request_octets: Vec<u8>,
    request: Request,
    /// The answer's head.
    response_octets: Vec<u8>,
    response: Option<ResponseSeen>,
    /// Octets of both sides so far.
    fed: u64,
    /// Whether there are as many parts as there may be.
    full: bool,
    finishing: bool,
}

/// How far the request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Coming,
    /// It asks for WebSocket and is right; whether eight octets are due.
    Right {
        body: bool,
    },
    /// It is refused, plain HTTP, or not there.
    None,
    /// The octets are frames: there is no handshake.
    Unneeded,
}

/// What one side says.
#[derive(Debug)]
struct Stream {
    /// The end that observes; none yet.
    conn: Option<Conn>,
    /// Whether it observes an answer whose request is not known.
    probing: bool,
    /// Octets that were not given to anybody yet.
    pending: Vec<u8>,
    /// Octets that were given and not eaten, to be unmasked in place.
    buffer: Vec<u8>,
    /// The same, as they came.
    raw: Vec<u8>,
    consumed: u64,
    timeline: Timeline,
    current: Option<usize>,
    /// Whether the payload at hand can break no rule.
    harmless: bool,
    open: bool,
    closed: bool,
    ended: bool,
    /// Whether it observes as a client whose request was made up, so that what
    /// it computes means nothing.
    assumed: bool,
}

impl Explainer {
    /// Begins with a handshake; `secure` where it ran inside TLS, which a hixie
    /// answer must say.
    #[must_use]
    pub fn new(secure: bool) -> Explainer {
        Explainer::with(Config::default(), secure)
    }

    /// For conversations of a server of these limits and this public URL.
    #[must_use]
    pub fn of_server(config: &Config) -> Explainer {
        let is_wss = |url: &String| url.starts_with("wss://");
        let secure = config.public_url.as_ref().is_some_and(is_wss);
        Explainer::with(config.clone(), secure)
    }

    fn with(mut config: Config, secure: bool) -> Explainer {
        config.versions = Versions::ALL;
        config.origins = Origins::any();
        let config = Arc::new(config);
        Explainer {
            client: Stream::new(Some(Conn::server(Arc::clone(&config)))),
            server: Stream::new(None),
            config,
            secure,
            version: None,
            parts: Vec::new(),
            fault: None,
            request_octets: Vec::new(),
            request: Request::Coming,
            response_octets: Vec::new(),
            response: None,
            fed: 0,
            full: false,
            finishing: false,
        }
    }

    /// Begins after the handshake: the octets are frames of this version.
    #[must_use]
    pub fn of_frames(version: &'static Version) -> Explainer {
        let mut explainer = Explainer::new(false);
        explainer.version = Some(version);
        explainer.request = Request::Unneeded;
        for side in [Side::Client, Side::Server] {
            let config = Arc::clone(&explainer.config);
            explainer.stream(side).conn = Some(Conn::opened(side.peer(), version, config));
        }
        explainer
    }

    /// These octets came next from this side.
    pub fn feed(&mut self, from: Side, octets: &[u8]) {
        let fed = self.fed;
        self.fed += octets.len() as u64;
        let stream = self.stream(from);
        stream.timeline.add(fed, octets.len());
        stream.pending.extend_from_slice(octets);
        self.observe();
    }

    /// This side ended its direction.
    pub fn end(&mut self, from: Side) {
        self.stream(from).ended = true;
        self.observe();
    }

    /// What was named so far. The last part of each side may still grow.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Nothing more comes.
    #[must_use]
    pub fn finish(mut self) -> Explanation {
        self.finishing = true;
        self.observe();
        for side in [Side::Client, Side::Server] {
            self.finish_field(side);
            self.name_the_rest(side);
            self.count_missing(side);
        }
        // One side may have waited for the other: the parts go as they came.
        let mut parts = mem::take(&mut self.parts);
        parts.sort_by_key(|part| match part.from {
            Side::Client => self.client.timeline.when(part.at),
            Side::Server => self.server.timeline.when(part.at),
        });
        self.parts = parts;
        let verdict = verdict(&Case {
            version: self.version,
            parts: &self.parts,
            fault: self.fault,
            secure: self.secure,
            asks: matches!(self.request, Request::Right { .. }),
            no_handshake: self.request == Request::Unneeded,
            open: [self.client.open, self.server.open],
            full: self.full,
            status: self.response.as_ref().map(|response| response.status),
        });
        Explanation {
            version: self.version,
            parts: self.parts,
            verdict,
        }
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Lets both sides be heard, until nobody can go on: one may wait for what
    /// the other says.
    fn observe(&mut self) {
        while self.observe_side(Side::Client) | self.observe_side(Side::Server) {}
        let has_response = self.server.timeline.octets > 0 || self.request == Request::Unneeded;
        for side in [Side::Client, Side::Server] {
            if side == Side::Server && self.server.ended && self.server.conn.is_none() {
                // It says nothing, and an answer is due.
                self.ready_for_server();
            }
            let stream = self.stream(side);
            // A client that has no answer yet may end its side: only the
            // eight octets of hixie-76 would be missing.
            let early = side == Side::Client && !has_response && stream.phase() != Phase::Handshake;
            if stream.ended && stream.pending.is_empty() && !stream.closed && !early {
                stream.closed = true;
                let left = stream.buffer.len();
                let ended = stream.conn.as_mut().map(|conn| conn.end_of_input(left));
                if let Some(Err(violation)) = ended {
                    self.broken(side, violation);
                }
            }
        }
    }

    /// Gives what waits to the end that observes; whether anything was.
    fn observe_side(&mut self, side: Side) -> bool {
        let pending = mem::take(&mut self.stream(side).pending);
        let mut rest = pending.as_slice();
        let mut seen = false;
        while !rest.is_empty() && self.ready(side) {
            let stream = self.stream(side);
            // Octet by octet, so that a fault is where it is whatever the
            // portions; where none can be, as they come.
            let n = stream.portion().min(rest.len());
            let (portion, after) = rest.split_at(n);
            rest = after;
            stream.buffer.extend_from_slice(portion);
            stream.raw.extend_from_slice(portion);
            self.parse(side);
            seen = true;
            if self.parts.len() >= MAX_PARTS && !self.full {
                self.stop();
            }
        }
        let consumed = pending.len() - rest.len();
        let mut pending = pending;
        if consumed > 0 {
            pending.drain(..consumed);
        }
        self.stream(side).pending = pending;
        seen
    }

    /// Parses nothing more: what comes then is named as not parsed.
    fn stop(&mut self) {
        self.full = true;
        let mut sink = Vec::new();
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut sink, &mut random);
        let conns = [&mut self.client.conn, &mut self.server.conn];
        for conn in conns.into_iter().flatten() {
            conn.abort(Violation::Internal, &mut out);
        }
    }

    /// Whether the next octet of this side can be read yet.
    fn ready(&mut self, side: Side) -> bool {
        match side {
            Side::Client => {
                // What hybi-04's client says is masked by a key that its
                // server helps to make.
                let masked = self.version.is_some_and(|v| v.layout == Layout::Hybi04);
                let waits = match self.request {
                    Request::Coming => false,
                    Request::Unneeded => masked,
                    _ => masked && !self.client.open && self.client.phase() != Phase::Closed,
                };
                !waits
            }
            Side::Server => self.ready_for_server(),
        }
    }

    fn ready_for_server(&mut self) -> bool {
        if self.server.conn.is_some() {
            // The proof cannot be judged before the eight octets are there.
            let digest = !self.response_octets.is_empty() && !self.server.open;
            return !(digest && self.request == Request::Right { body: true }) || self.finishing;
        }
        match self.request {
            Request::Coming if !self.finishing => return false,
            Request::Right { .. } => {
                self.server.conn = self.dialler();
            }
            _ => {}
        }
        if self.server.conn.is_none() {
            let config = Arc::clone(&self.config);
            let request = ResponseSeen::default().request(None);
            self.server.conn = Conn::client_of(request.as_bytes(), false, config).ok();
            self.server.probing = true;
        }
        self.server.conn.is_some()
    }

    /// Reads what there is of this side.
    fn parse(&mut self, side: Side) {
        let stream = self.stream(side);
        let Some(mut conn) = stream.conn.take() else {
            return;
        };
        let mut buffer = mem::take(&mut stream.buffer);
        let probing = stream.probing;
        let at = stream.consumed;
        let mut input = Input::starting_at(&mut buffer, at);
        let mut sink = Vec::new();
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut sink, &mut random);
        let mut namer = Namer::default();
        let (mut turned, mut refused) = (None, false);
        loop {
            out.octets.clear();
            let event = conn.next_watched(&mut input, &mut out, &mut namer);
            let position = input.position();
            match event {
                Ok(None) => break,
                Ok(Some(event)) => {
                    match &event {
                        Event::Request(request) => self.version = request.version(),
                        Event::Refused(_, _) => refused = true,
                        _ => {}
                    }
                    match event {
                        Event::Response(response) if probing => {
                            turned = Some(ResponseSeen::of(&response));
                            break;
                        }
                        event => self.on_event(side, event, &mut conn, &mut out, position),
                    }
                }
                Err(violation) if side == Side::Server && self.goes_on_after(violation) => {
                    turned = Some(ResponseSeen::default());
                    self.fault_at(side, violation, position);
                    break;
                }
                Err(violation) => self.fault_at(side, violation, position),
            }
        }
        let consumed = input.position();
        let n = usize::try_from(consumed - at).unwrap_or(usize::MAX);
        let keep_notes = !(probing && turned.is_some());
        if refused {
            // Refused, but perhaps the request of a version that is known.
            let refused = self.stream(side).raw.get(..n).unwrap_or_default().to_vec();
            self.version = self.requested_version(&refused);
        }
        let stream = self.stream(side);
        stream.consumed = consumed;
        let raw: Vec<u8> = stream.raw.drain(..n.min(stream.raw.len())).collect();
        stream.conn = Some(conn);
        if keep_notes {
            self.name_octets(side, namer, at, &raw, buffer.get(..n).unwrap_or_default());
        }
        buffer.drain(..n.min(buffer.len()));
        self.stream(side).buffer = buffer;
        self.remember(side, &raw);
        if let Some(seen) = turned {
            if probing {
                self.response_octets = raw;
                self.found(seen, at);
            } else {
                self.go_on();
            }
        }
        if probing && self.server.phase() == Phase::Closed {
            self.server.probing = false;
        }
    }

    fn name_octets(&mut self, side: Side, mut namer: Namer, at: u64, raw: &[u8], plain: &[u8]) {
        let unproved = self.stream(side).assumed || self.request == Request::Right { body: true };
        if side == Side::Server && unproved {
            namer.notes.retain(Note::is_span);
        }
        let mut current = self.stream(side).current;
        let consumed = Consumed { at, raw, plain };
        namer.write_parts(side, self.version, consumed, &mut self.parts, &mut current);
        self.stream(side).current = current;
    }

    /// The version that a refused head asks for.
    fn requested_version(&self, head: &[u8]) -> Option<&'static Version> {
        let head = Head::request(head, self.config.limits.headers).ok()?;
        match handshake::detect(&head, self.config.versions).ok()? {
            Detected::Upgrade(version) => Some(version),
            Detected::Http => None,
        }
    }

    /// Keeps the octets of the handshake, which other ears may need.
    fn remember(&mut self, side: Side, raw: &[u8]) {
        let handshake = match side {
            Side::Client => &mut self.request_octets,
            Side::Server => &mut self.response_octets,
        };
        if handshake.is_empty() {
            handshake.extend_from_slice(raw);
        } else if let (Side::Client, Request::Right { body: true }, 8) =
            (side, self.request, raw.len())
        {
            handshake.extend_from_slice(raw);
            self.request = Request::Right { body: false };
            self.renew();
        }
    }

    /// The eight octets have come: the end that observes the answer needs them.
    fn renew(&mut self) {
        if self.server.conn.is_none() || self.server.probing || self.server.open {
            return;
        }
        if let Some(conn) = self.dialler() {
            self.replace(conn);
        }
    }

    /// Who sent the request.
    fn dialler(&self) -> Option<Conn> {
        let config = Arc::clone(&self.config);
        let mut conn = Conn::client_of(&self.request_octets, self.secure, config).ok()?;
        if let Some(url) = &self.config.public_url {
            conn.allow_location(url.clone());
        }
        Some(conn)
    }

    /// Another ear, which is told the answer's head again.
    fn replace(&mut self, mut conn: Conn) -> Namer {
        let mut namer = Namer::default();
        let mut head = self.response_octets.clone();
        let mut sink = Vec::new();
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut sink, &mut random);
        let mut input = Input::starting_at(&mut head, 0);
        while let Ok(Some(_)) = conn.next_watched(&mut input, &mut out, &mut namer) {}
        if conn.phase() == Phase::Open {
            self.server.open = true;
        }
        self.server.conn = Some(conn);
        namer
    }

    fn on_event(
        &mut self,
        side: Side,
        event: Event<'_>,
        conn: &mut Conn,
        out: &mut Output<'_>,
        position: u64,
    ) {
        match event {
            Event::Request(_) => {
                let body = self.version.is_some_and(Version::has_body);
                self.request = Request::Right { body };
                let waits = self.version.is_some_and(|v| v.layout == Layout::Hybi04);
                if !waits {
                    // Without a subprotocol there is nothing to refuse.
                    let _ = conn.accept(None, out);
                }
            }
            Event::Http(_) => {
                self.request = Request::None;
                conn.refuse(Refusal::NotFound, out);
            }
            Event::Refused(refusal, _) => {
                self.request = Request::None;
                self.fault
                    .get_or_insert(Fault::refusal(refusal, position.saturating_sub(1)));
            }
            Event::Response(response) => {
                let seen = ResponseSeen::of(&response);
                if seen.status == 101 {
                    self.accept(seen.nonce.as_deref());
                } else {
                    self.turn_away();
                }
                self.response = Some(seen);
            }
            Event::Open => self.stream(side).open = true,
            Event::Piece(piece) => {
                let checks = self.version.is_some_and(Version::checks_text);
                self.stream(side).harmless = piece.kind == Kind::Binary || !checks;
            }
            Event::Ping(_) | Event::Pong(_) | Event::Close(_) => {}
        }
    }

    /// hybi-04: the server's nonce is known, so its client can be read.
    fn accept(&mut self, nonce: Option<&str>) {
        const LENIENT: GeneralPurpose = GeneralPurpose::new(
            &ALPHABET,
            GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
        );
        let Some(conn) = &mut self.client.conn else {
            return;
        };
        let nonce = nonce.and_then(|nonce| LENIENT.decode(nonce).ok());
        let nonce = nonce.unwrap_or_default();
        let mut random = |octets: &mut [u8]| {
            for (to, from) in octets.iter_mut().zip(nonce.iter().cycle()) {
                *to = *from;
            }
        };
        let mut sink = Vec::new();
        let mut out = Output::new(&mut sink, &mut random);
        // All but hybi-04 were accepted before.
        if conn.accept(None, &mut out).is_ok() {
            self.client.open = conn.next(&mut Input::new(&mut []), &mut out).is_ok();
        }
    }

    /// The server says no: what its client says then is not parsed.
    fn turn_away(&mut self) {
        let mut sink = Vec::new();
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut sink, &mut random);
        if let Some(conn) = &mut self.client.conn {
            conn.refuse(Refusal::NotFound, &mut out);
        }
    }

    /// Whether frames may follow although this is wrong with the answer: many
    /// clients do not look.
    fn goes_on_after(&self, violation: Violation) -> bool {
        let upgraded = self.response.as_ref().is_some_and(|a| a.status == 101);
        upgraded
            && !self.server.open
            && violation != Violation::ResponseMalformed
            && violation != Violation::ResponseTooLong
    }

    /// Reads on as if the answer were right.
    fn go_on(&mut self) {
        self.server.assumed = true;
        let Some(version) = self.version else {
            return;
        };
        let config = Arc::clone(&self.config);
        let digest = self.parts.iter().any(|part| part.kind == PartKind::Digest);
        if version.has_body() && !digest {
            if let Some(response) = &self.response {
                let request = response.request(Some(version));
                let conn = Conn::client_of(request.as_bytes(), false, Arc::clone(&config));
                if let Ok(conn) = conn {
                    self.replace(conn);
                    if self.server.phase() != Phase::Closed {
                        return;
                    }
                }
            }
        }
        self.server.conn = Some(Conn::opened(Side::Client, version, config));
    }

    /// An answer without its request: it is read again by a client that might
    /// have asked for it.
    fn found(&mut self, seen: ResponseSeen, at: u64) {
        self.server.probing = false;
        self.server.assumed = true;
        let version = self.version.or(seen.version);
        let request = seen.request(version);
        let status = seen.status;
        self.response = Some(seen);
        if self.version.is_none() {
            self.version = version.filter(|_| status == 101);
        }
        let config = Arc::clone(&self.config);
        let conn = Conn::client_of(request.as_bytes(), false, config);
        let namer = match conn {
            Ok(conn) => self.replace(conn),
            Err(_) => self.replace_by_any(),
        };
        let head = self.response_octets.clone();
        self.name_octets(Side::Server, namer, at, &head, &head);
        if status != 101 {
            let end = at + head.len() as u64;
            self.fault_at(Side::Server, Violation::ResponseStatus { status }, end);
        } else if self.server.phase() == Phase::Closed {
            match self.version {
                Some(version) => {
                    let config = Arc::clone(&self.config);
                    self.server.conn = Some(Conn::opened(Side::Client, version, config));
                }
                None => {
                    let end = at + head.len() as u64;
                    self.fault_at(Side::Server, Violation::UpgradeMismatch, end);
                }
            }
        }
    }

    fn replace_by_any(&mut self) -> Namer {
        let request = ResponseSeen::default().request(None);
        let config = Arc::clone(&self.config);
        match Conn::client_of(request.as_bytes(), false, config) {
            Ok(conn) => self.replace(conn),
            Err(_) => Namer::default(),
        }
    }

    fn broken(&mut self, side: Side, violation: Violation) {
        let at = self.stream(side).consumed;
        self.fault_at(side, violation, at);
    }

    /// Only the first fault counts.
    fn fault_at(&mut self, side: Side, violation: Violation, position: u64) {
        // Without the request nothing proves anything.
        let unproved = side == Side::Server
            && !matches!(self.request, Request::Right { body: false })
            && matches!(
                violation,
                Violation::AcceptMismatch
                    | Violation::DigestMismatch
                    | Violation::OriginMismatch
                    | Violation::LocationMismatch
                    | Violation::SubprotocolMismatch
                    | Violation::ExtensionUnexpected
            );
        let digest_alone = unproved && violation == Violation::DigestMismatch;
        let head_known = matches!(self.request, Request::Right { .. });
        if digest_alone || (unproved && !head_known) {
            return;
        }
        self.fault.get_or_insert(Fault::violation(
            side,
            violation,
            position.saturating_sub(1),
        ));
    }

    /// The octets ended inside a field: the parse is shown how it might go on,
    /// so that what is there gets its name. What comes of it is not believed.
    fn finish_field(&mut self, side: Side) {
        let at = self.stream(side).consumed;
        let version = self.version;
        let stream = self.stream(side);
        let Some(mut conn) = stream.conn.take() else {
            return;
        };
        let real = stream.buffer.len();
        if real > 0 && !stream.closed {
            let mut octets = stream.buffer.clone();
            let in_head = match side {
                Side::Client => self.request == Request::Coming,
                Side::Server => {
                    self.response_octets.is_empty() && self.request != Request::Unneeded
                }
            };
            if in_head {
                let end: &[u8] = match octets.as_slice() {
                    [.., b'\r', b'\n', b'\r'] => b"\n",
                    [.., b'\r', b'\n'] => b"\r\n",
                    [.., b'\r'] => b"\n\r\n",
                    _ => b"\r\n\r\n",
                };
                octets.extend_from_slice(end);
            } else {
                octets.resize(real + LONGEST_FIELD_OCTETS, 0);
            }
            let mut namer = Namer::default();
            let mut sink = Vec::new();
            let mut random = |octets: &mut [u8]| octets.fill(0);
            let mut out = Output::new(&mut sink, &mut random);
            let mut input = Input::starting_at(&mut octets, at);
            let _ = conn.next_watched(&mut input, &mut out, &mut namer);
            namer.notes.retain(Note::is_span);
            let raw = self.stream(side).raw.clone();
            let plain = octets.get(..real).unwrap_or_default().to_vec();
            let mut current = self.stream(side).current;
            let version = version.or(conn.version());
            let consumed = Consumed {
                at,
                raw: &raw,
                plain: &plain,
            };
            namer.write_parts(side, version, consumed, &mut self.parts, &mut current);
            let stream = self.stream(side);
            stream.current = current;
            let named = current.and_then(|n| self.parts.get(n)).map(Part::end);
            let named = named.unwrap_or(at).max(at);
            let n = usize::try_from(named - at).unwrap_or(usize::MAX).min(real);
            let stream = self.stream(side);
            stream.consumed = at + n as u64;
            stream.raw.drain(..n);
            stream.buffer.drain(..n);
        }
        self.stream(side).conn = Some(conn);
    }

    /// Octets that nobody could read.
    fn name_the_rest(&mut self, side: Side) {
        let stream = self.stream(side);
        let mut rest = mem::take(&mut stream.raw);
        rest.append(&mut stream.pending);
        if rest.is_empty() {
            return;
        }
        let at = stream.consumed;
        stream.consumed += rest.len() as u64;
        let namer = Namer::unreadable(at, rest.len());
        self.name_octets(side, namer, at, &rest, &rest);
    }

    /// How much the last part of a side lacks.
    fn count_missing(&mut self, side: Side) {
        let stream = self.stream(side);
        let closed = stream.phase() == Phase::Closed && stream.conn.is_some();
        let (open, text) = match &stream.conn {
            Some(conn) => (conn.payload_to_come(), conn.text_to_come()),
            None => (0, false),
        };
        let current = stream.current;
        let Some(part) = current.and_then(|n| self.parts.get_mut(n)) else {
            return;
        };
        let cut = part.spans.last().is_some_and(|seen| seen.cut);
        if cut || text {
            part.missing = Some(0);
        } else if open > 0 && !closed {
            part.missing = Some(open);
        }
    }
}

/// A control frame with its longest header is no longer than this.
const LONGEST_FIELD_OCTETS: usize = 160;

impl Stream {
    fn new(conn: Option<Conn>) -> Stream {
        Stream {
            conn,
            probing: false,
            pending: Vec::new(),
            buffer: Vec::new(),
            raw: Vec::new(),
            consumed: 0,
            timeline: Timeline::default(),
            current: None,
            harmless: false,
            open: false,
            closed: false,
            ended: false,
            assumed: false,
        }
    }

    fn phase(&self) -> Phase {
        self.conn.as_ref().map_or(Phase::Handshake, Conn::phase)
    }

    /// How many octets may be given at once.
    fn portion(&self) -> usize {
        let Some(conn) = &self.conn else {
            return 1;
        };
        if conn.phase() == Phase::Closed && !self.probing {
            return usize::MAX;
        }
        if !self.buffer.is_empty() || !self.harmless {
            return 1;
        }
        if conn.text_to_come() {
            return usize::MAX;
        }
        usize::try_from(conn.payload_to_come())
            .unwrap_or(usize::MAX)
            .max(1)
    }
}
