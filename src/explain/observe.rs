//! Two ends of the core observe the two sides of a conversation.

use std::mem;
use std::sync::Arc;

use base64::Engine;

use super::Explanation;
use super::cause::{Case, Fault, verdict};
use super::follow::{follow, note_offers};
use super::name::{MAX_INFLATED_OCTETS, Namer, Parts};
use super::part::{Part, PartKind};
use super::stream::{RequestSeen, ResponseSeen, State, Step, Stream, Tcp, with_output};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Phase};
use crate::error::{Located, Refusal, Violation};
use crate::extension::{Changes, Compression, Deflate};
use crate::handshake::{Hosts, LENIENT, Origins};
use crate::version::{Layout, Side, Version, Versions};

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// Reads the octets of a conversation as they arrive and keeps what each of them
/// is. [`Explainer::parts`] gives what there is so far, [`Explainer::finish`]
/// the whole with its verdict.
#[derive(Debug)]
pub struct Explainer {
    handshake: Handshake,
    client: Stream,
    server: Stream,
    parts: Parts,
    fault: Option<Fault>,
    /// Whether the limit of a message is that of an explanation, and not the server's.
    own_limit: bool,
    /// Octets of both sides so far.
    fed: u64,
}

/// What is known of the opening handshake.
#[derive(Debug)]
struct Handshake {
    config: Arc<Config>,
    /// Whether it runs inside TLS.
    secure: bool,
    version: Option<&'static Version>,
    request: Request,
    /// The request's head, and the eight octets of hixie-76 behind it.
    request_octets: Vec<u8>,
    /// The response's head.
    response_octets: Vec<u8>,
    status: Option<u16>,
    compression: Agreement,
}

/// What is known of compression.
#[derive(Debug, Default)]
struct Agreement {
    /// What a server that has it on answers to the request.
    offered: Option<Deflate>,
    /// What the server of this conversation answers.
    agreed: Option<Deflate>,
    /// What the extensions change that it agrees to and that are not spoken here.
    changes: Option<Changes>,
}

/// How far the request has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Arriving,
    /// It asks for WebSocket and is right, but the eight octets of hixie-76 are
    /// due.
    WithoutKey3,
    /// It asks for WebSocket, and is right and whole.
    Right,
    /// It is refused, plain HTTP, or not there.
    None,
    /// The octets are frames: there is no handshake.
    Unneeded,
}

impl Explainer {
    /// Starts with a handshake. `secure` is whether it runs inside TLS, which a
    /// hixie response must repeat in its location.
    #[must_use]
    pub fn new(secure: bool) -> Explainer {
        Explainer::with(Config::default(), secure)
    }

    /// For conversations of a server with these limits and this public URL.
    #[must_use]
    pub fn of_server(config: &Config) -> Explainer {
        Explainer {
            own_limit: false,
            ..Explainer::with(config.clone(), config.is_secure())
        }
    }

    fn with(mut config: Config, secure: bool) -> Explainer {
        // What a server lets in is its policy, which octets do not show.
        config.versions = Versions::ALL;
        config.origins = Origins::any();
        config.hosts = Hosts::any();
        config.routes = None;
        config.compression = Compression::default();
        let config = Arc::new(config);
        let mut client = Stream::new(Side::Client);
        client.read_by(Conn::server(Arc::clone(&config)));
        Explainer {
            handshake: Handshake {
                config,
                secure,
                version: None,
                request: Request::Arriving,
                request_octets: Vec::new(),
                response_octets: Vec::new(),
                status: None,
                compression: Agreement::default(),
            },
            client,
            server: Stream::new(Side::Server),
            parts: Parts::default(),
            fault: None,
            own_limit: true,
            fed: 0,
        }
    }

    /// Starts after the handshake: the octets are frames of this version.
    #[must_use]
    pub fn of_frames(version: &'static Version) -> Explainer {
        let mut explainer = Explainer::new(false);
        explainer.handshake.version = Some(version);
        explainer.handshake.request = Request::Unneeded;
        for side in SIDES {
            let config = Arc::clone(&explainer.handshake.config);
            let mut stream = Stream::new(side);
            // The frames of hybi-04's client cannot be read: their masking key is
            // made in the handshake.
            if let Ok(conn) = Conn::opened(side.peer(), version, config) {
                stream.read_by(conn);
            }
            *explainer.stream(side) = stream;
        }
        explainer
    }

    /// The same, where both sides agreed on this compression.
    #[must_use]
    pub fn of_compressed_frames(version: &'static Version, deflate: Deflate) -> Explainer {
        let mut explainer = Explainer::of_frames(version);
        explainer.handshake.compression.agreed = Some(deflate);
        for side in SIDES {
            if let Some(conn) = explainer.stream(side).conn_mut() {
                conn.read_compressed(Some(deflate));
            }
        }
        explainer
    }

    /// These octets arrived next from this side.
    pub fn feed(&mut self, from: Side, octets: &[u8]) {
        let before = self.fed;
        self.fed += octets.len() as u64;
        self.stream(from).add(before, octets);
        self.observe();
    }

    /// TCP has ended on this side.
    pub fn end(&mut self, from: Side) {
        self.stream(from).tcp = Tcp::Ended;
        self.observe();
    }

    /// What was named so far. The last part of each side may still grow.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts.list
    }

    /// No more octets follow.
    #[must_use]
    pub fn finish(mut self) -> Explanation {
        self.stop_waiting();
        self.observe();
        let version = self.handshake.version;
        self.client.finish(version, &mut self.parts);
        self.server.finish(version, &mut self.parts);
        // One side may have waited for the other: the parts are put in the order
        // in which they were sent.
        let mut parts = mem::take(&mut self.parts.list);
        parts.sort_by_key(|part| match part.from {
            Side::Client => self.client.timeline.when(part.at),
            Side::Server => self.server.timeline.when(part.at),
        });
        note_offers(&mut parts);
        if let Some(deflate) = self.handshake.compression.agreed {
            let fault = self.fault.map(|fault| (fault.from(), fault.at()));
            follow(&mut parts, deflate, fault);
        }
        let fault = self.first_fault(&parts);
        let request = self.handshake.request;
        let verdict = verdict(&Case {
            version,
            parts: &parts,
            fault,
            secure: self.handshake.secure,
            asks: matches!(request, Request::Right | Request::WithoutKey3),
            no_handshake: request == Request::Unneeded,
            response_is_whole: self.server.state == State::Open,
            full: self.parts.full,
            stopped: self.is_stopped(&parts),
            own_limit: self.own_limit,
            inflates_on: self.parts.inflated > MAX_INFLATED_OCTETS,
            status: self.handshake.status,
        });
        Explanation {
            version,
            parts,
            verdict,
        }
    }

    /// Whether octets were not parsed because an extension that is not spoken here
    /// changes them.
    fn is_stopped(&self, parts: &[Part]) -> bool {
        let is_stopped = |from| match from {
            Side::Client => self.client.is_stopped,
            Side::Server => self.server.is_stopped,
        };
        let mut after = parts.iter().filter(|part| part.kind == PartKind::After);
        after.any(|part| is_stopped(part.from))
    }

    /// The rule that was broken first: by what a receiver notices, or by a reference
    /// beyond the window, which it need not.
    fn first_fault(&self, parts: &[Part]) -> Option<Fault> {
        let when = |fault: &Fault| match fault.from() {
            Side::Client => self.client.timeline.when(fault.at()),
            Side::Server => self.server.timeline.when(fault.at()),
        };
        let beyond = parts.iter().filter_map(|part| {
            let beyond = part.inflated.as_deref()?.beyond?;
            Some(Fault::beyond(part.from, beyond))
        });
        self.fault.into_iter().chain(beyond).min_by_key(when)
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Reads both sides as far as they can be read: one may wait for what the
    /// other has yet to send.
    fn observe(&mut self) {
        while self.read(Side::Client) | self.read(Side::Server) {}
        SIDES.into_iter().for_each(|side| self.report_end(side));
    }

    /// Reports the end of TCP to the connection of a side, once all octets are
    /// parsed.
    fn report_end(&mut self, side: Side) {
        let has_response =
            self.server.timeline.octets > 0 || self.handshake.request == Request::Unneeded;
        let is_hybi04 = self.is_hybi04();
        let stream = self.stream(side);
        // A client that has no response yet may end its side: then only the eight
        // octets of hixie-76 can be missing.
        let waits = stream.is_waiting() && !is_hybi04;
        let is_open = !has_response && stream.phase() != Phase::Handshake;
        let early = side == Side::Client && (waits || is_open);
        if stream.tcp == Tcp::Ended && stream.is_drained() && !early {
            let position = stream.position();
            if let Err(located) = stream.end_of_input() {
                self.broken(side, &located, position);
            }
        }
    }

    /// Reads what has arrived on one side; whether there was any.
    fn read(&mut self, side: Side) -> bool {
        let mut has_read = false;
        while self.stream(side).receive() {
            has_read = true;
            loop {
                let mut namer = Namer::default();
                let step = self.stream(side).next(&mut namer);
                let changed = self.changed_payload(side, &namer);
                let is_last = step.is_none() && changed.is_none();
                let end = match (changed, step) {
                    (Some(at), _) => {
                        self.stop(side);
                        at
                    }
                    (None, Some(step)) => self.on_step(side, step),
                    (None, None) => u64::MAX,
                };
                self.name(side, namer, end);
                if is_last {
                    break;
                }
            }
        }
        has_read
    }

    /// Names what was parsed last, up to octet `end`.
    fn name(&mut self, side: Side, namer: Namer, end: u64) {
        let (version, was_full) = (self.handshake.version, self.parts.full);
        let stream = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        stream.name(namer, version, end, &mut self.parts);
        self.parts.full |= self.parts.inflated > MAX_INFLATED_OCTETS;
        if self.parts.full && !was_full {
            for side in SIDES {
                self.stream(side).stop();
            }
        }
    }

    /// Where the payload starts of the first data frame, if every one is changed by an
    /// extension that is not spoken here.
    fn changed_payload(&self, side: Side, namer: &Namer) -> Option<u64> {
        let changes = self.handshake.compression.changes;
        let is_stopped = match side {
            Side::Client => self.client.is_stopped,
            Side::Server => self.server.is_stopped,
        };
        if is_stopped || changes != Some(Changes::DataFrames) {
            return None;
        }
        namer.payload_of_data()
    }

    /// What this side sends from here on is not parsed: an extension that is not
    /// spoken here changes it.
    fn stop(&mut self, side: Side) {
        let stream = self.stream(side);
        stream.is_stopped = true;
        stream.stop();
    }

    /// The handshake is finished, as seen from this side.
    fn open(&mut self, side: Side) {
        self.stream(side).state = State::Open;
        if self.handshake.compression.changes == Some(Changes::Stream) {
            self.stop(side);
        }
    }

    /// Gives the octet up to which the step was read.
    fn on_step(&mut self, side: Side, step: Step) -> u64 {
        let position = self.stream(side).position();
        match step {
            Step::Request(asked, head) => self.on_request(asked, head),
            Step::Http => {
                self.handshake.request = Request::None;
                self.refuse_client();
                self.read_response_without_request();
            }
            Step::Refused(refusal, version) => {
                self.handshake.request = Request::None;
                self.handshake.version = version;
                self.read_response_without_request();
                let at = position.saturating_sub(1);
                self.fault.get_or_insert(Fault::refusal(refusal, at));
            }
            Step::Response(response, head) => self.on_response(response, head),
            Step::Open => {
                self.open(side);
                if (side, self.handshake.request) == (Side::Client, Request::WithoutKey3) {
                    self.on_key3();
                }
            }
            Step::Frame => {}
            Step::Broken(located) => {
                let end = self.broken(side, &located, position);
                let in_handshake = side == Side::Server && self.server.state != State::Open;
                if in_handshake && self.handshake.status == Some(101) {
                    self.read_on_after(located.error);
                }
                return end;
            }
        }
        position
    }

    fn on_request(&mut self, asked: RequestSeen, head: Vec<u8>) {
        let version = asked.version;
        self.handshake.version = Some(version);
        self.handshake.compression.offered = asked.deflate;
        self.handshake.request_octets = head;
        self.handshake.request = if version.has_body() {
            Request::WithoutKey3
        } else {
            Request::Right
        };
        if version.layout == Layout::Hybi04 || asked.offers {
            // Its frames are masked by a key that the server helps to make, or may
            // be compressed if the server agrees.
            self.client.wait();
        } else if let Some(conn) = self.client.conn_mut() {
            // Without a subprotocol there is nothing that could not be written.
            let _ = with_output(|out| conn.accept(None, out));
        }
        match self.handshake.client() {
            Some(conn) => self.server.read_by(conn),
            None => self.read_response_without_request(),
        }
    }

    /// The eight octets of hixie-76 have arrived: the end that reads the response
    /// needs them.
    fn on_key3(&mut self) {
        let key3 = self.client.unnamed();
        self.handshake.request_octets.extend_from_slice(key3);
        self.handshake.request = Request::Right;
        let has_response = !self.handshake.response_octets.is_empty();
        let is_over = self.server.phase() == Phase::Closed;
        if is_over || has_response && !self.server.is_waiting() {
            return;
        }
        if let Some(mut conn) = self.handshake.client() {
            let mut head = self.handshake.response_octets.clone();
            let mut input = Input::new(&mut head);
            with_output(|out| while let Ok(Some(_)) = conn.next(&mut input, out) {});
            self.server.read_by(conn);
        }
    }

    fn on_response(&mut self, response: ResponseSeen, head: Vec<u8>) {
        let is_upgraded = response.status == 101;
        let handshake = &mut self.handshake;
        handshake.status = Some(response.status);
        handshake.response_octets = head;
        handshake.version = handshake
            .version
            .or(response.version.filter(|_| is_upgraded));
        handshake.compression.agreed = response.deflate.filter(|_| is_upgraded);
        handshake.compression.changes = response.changes.filter(|_| is_upgraded);
        match handshake.request {
            Request::Right | Request::WithoutKey3 if !is_upgraded => self.refuse_client(),
            // The digest cannot be judged before the eight octets are there.
            Request::WithoutKey3 => self.server.wait(),
            Request::Right if self.client.is_waiting() => self.accept_client(response.nonce),
            _ => {}
        }
    }

    /// The server's nonce and compression are known, so its client can be read.
    fn accept_client(&mut self, nonce: Option<String>) {
        let nonce = nonce.and_then(|nonce| LENIENT.decode(nonce).ok());
        let nonce = nonce.unwrap_or_default();
        let mut random = |octets: &mut [u8]| {
            for (to, from) in octets.iter_mut().zip(nonce.iter().cycle()) {
                *to = *from;
            }
        };
        let mut sink = Vec::new();
        let mut out = Output::new(&mut sink, &mut random);
        self.client.state = State::Handshake;
        if let Some(conn) = self.client.conn_mut() {
            let _ = conn.accept(None, &mut out);
            conn.read_compressed(self.handshake.compression.agreed);
        }
        if let Some(Step::Open) = self.client.next(&mut Namer::default()) {
            self.open(Side::Client);
        }
    }

    /// The server does not upgrade: what its client sends then is not parsed.
    fn refuse_client(&mut self) {
        if let Some(conn) = self.client.conn_mut() {
            with_output(|out| conn.refuse(Refusal::NotFound, out));
        }
        if self.client.is_waiting() {
            self.client.state = State::Handshake;
        }
    }

    /// Reads a response that no request is known for.
    fn read_response_without_request(&mut self) {
        let config = Arc::clone(&self.handshake.config);
        let conn = Conn::client_without_request(self.handshake.version, config);
        self.server.read_by(conn);
    }

    /// Reads on although the response is wrong, as clients do that do not check
    /// it.
    fn read_on_after(&mut self, violation: Violation) {
        let Some(version) = self.handshake.version else {
            return;
        };
        let config = Arc::clone(&self.handshake.config);
        if violation == Violation::DigestMismatch {
            if let Ok(conn) = Conn::opened(Side::Client, version, config) {
                self.server.read_by(conn);
            }
        } else {
            let mut conn = Conn::client_after_response(version, config);
            conn.read_compressed(self.handshake.compression.agreed);
            self.server.read_by(conn);
        }
    }

    /// Nothing more arrives that a side could wait for.
    fn stop_waiting(&mut self) {
        match self.handshake.request {
            Request::Arriving => self.read_response_without_request(),
            Request::WithoutKey3 if self.server.is_waiting() => {
                if let Some(version) = self.handshake.version {
                    let config = Arc::clone(&self.handshake.config);
                    let conn = Conn::client_after_response(version, config);
                    self.server.read_by(conn);
                }
            }
            // The response is missing: what it would mean is the best guess.
            Request::Right if self.client.is_waiting() && !self.is_hybi04() => {
                let compression = &mut self.handshake.compression;
                compression.agreed = compression.agreed.or(compression.offered);
                self.accept_client(None);
            }
            _ => {}
        }
    }

    fn is_hybi04(&self) -> bool {
        let version = self.handshake.version;
        version.is_some_and(|version| version.layout == Layout::Hybi04)
    }

    /// A rule is broken; only the first that is counts. Gives the octet up to
    /// which this side was read.
    fn broken(&mut self, side: Side, located: &Located<Violation>, position: u64) -> u64 {
        let end = match located.error {
            // The octets behind the fault had arrived, and nothing looked at them.
            // What is inflated is read octet by octet.
            Violation::Utf8Invalid | Violation::MessageTooBig { .. } if !located.at.is_empty() => {
                located.at.end
            }
            _ => position,
        };
        if !self.parts.full && !self.stream(side).is_stopped {
            let at = end.saturating_sub(1);
            let fault = Fault::violation(side, located.error, at);
            self.fault.get_or_insert(fault);
        }
        end
    }
}

impl Handshake {
    /// The client that sent the request, with the eight octets of hixie-76 where
    /// they are known.
    fn client(&self) -> Option<Conn> {
        let config = Arc::clone(&self.config);
        let mut conn = Conn::client_of(&self.request_octets, self.secure, config).ok()?;
        if let Some(url) = &self.config.public_url {
            conn.allow_location(url.clone());
        }
        Some(conn)
    }
}
