//! What tests in memory share: random numbers that a seed decides, any version,
//! and one end of a connection. It needs no sockets, so it is taken without its
//! `mod.rs`.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;

use heirloom::bytes::{Output, Random};
use heirloom::conn::{Config, Conn, Phase, Session, SessionEvent};
use heirloom::error::{Located, Violation};
use heirloom::handshake::ClientRequest;
use heirloom::message::Kind;
use heirloom::trace::{Field, Span};
use heirloom::{Version, Versions};

/// A generator that a seed decides.
#[derive(Clone)]
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

impl Random for Seeded {
    fn fill(&mut self, octets: &mut [u8]) {
        octets.fill_with(|| self.next() as u8);
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl Received {
    pub(crate) fn text(text: impl AsRef<[u8]>) -> Received {
        Received::Message(Kind::Text, text.as_ref().to_vec())
    }

    pub(crate) fn binary(octets: impl AsRef<[u8]>) -> Received {
        Received::Message(Kind::Binary, octets.as_ref().to_vec())
    }
}

/// All versions on.
pub(crate) fn config() -> Arc<Config> {
    Arc::new(Config::default().with_versions(Versions::ALL))
}

/// One end of a connection, what is on its way to it, and what it received.
pub(crate) struct End {
    pub(crate) session: Session,
    /// Octets on their way to it.
    pub(crate) incoming: Vec<u8>,
    /// Behind those octets TCP ends.
    pub(crate) input_ends: bool,
    /// Its peer is gone: what that one sends is lost.
    peer_is_gone: bool,
    /// What it made of the end of TCP, once it was told.
    pub(crate) end_of_input: Option<Result<(), Violation>>,
    /// All octets that were ever on their way, since the handshake.
    pub(crate) arrived: Vec<u8>,
    /// Payload of the message that is arriving, as it is on the wire.
    pub(crate) part: Vec<u8>,
    pub(crate) received: Vec<Received>,
    /// Whether a text that was received is not as it is on the wire.
    pub(crate) has_replaced: bool,
    pub(crate) violation: Option<Located<Violation>>,
    pub(crate) random: Seeded,
}

impl End {
    pub(crate) fn new(conn: Conn, seed: u64) -> End {
        End {
            session: Session::new(conn),
            incoming: Vec::new(),
            input_ends: false,
            peer_is_gone: false,
            end_of_input: None,
            arrived: Vec::new(),
            part: Vec::new(),
            received: Vec::new(),
            has_replaced: false,
            violation: None,
            random: Seeded(seed),
        }
    }

    pub(crate) fn conn(&self) -> &Conn {
        self.session.conn()
    }

    pub(crate) fn version(&self) -> &'static Version {
        self.conn().version().unwrap()
    }

    /// Sends; gives what `send` gives, and the octets.
    pub(crate) fn send<R>(
        &mut self,
        send: impl FnOnce(&mut Conn, &mut Output<'_>) -> R,
    ) -> (R, Vec<u8>) {
        let mut octets = Vec::new();
        let mut out = Output::new(&mut octets, &mut self.random);
        let result = send(self.session.conn_mut(), &mut out);
        (result, octets)
    }

    /// More octets are on their way to it.
    pub(crate) fn add_incoming(&mut self, octets: &[u8]) {
        if self.peer_is_gone {
            return;
        }
        assert!(
            octets.is_empty() || !self.input_ends,
            "octets after the end"
        );
        self.incoming.extend_from_slice(octets);
        self.arrived.extend_from_slice(octets);
    }

    /// Its peer is gone; what was on its way arrives.
    pub(crate) fn lose_peer(&mut self) {
        self.input_ends = true;
        self.peer_is_gone = true;
    }

    /// TCP has ended and it was not told yet.
    pub(crate) fn end_is_due(&self) -> bool {
        self.input_ends && self.end_of_input.is_none()
    }

    /// Tells it that TCP has ended.
    pub(crate) fn end_input(&mut self) {
        assert!(self.incoming.is_empty(), "octets are on their way");
        let ended = self.session.end_of_input();
        self.end_of_input = Some(ended.map_err(|located| located.error));
    }

    /// Reads the next `n` octets that are on their way; gives what it sends.
    pub(crate) fn read(&mut self, n: usize) -> Vec<u8> {
        let octets: Vec<u8> = self.incoming.drain(..n).collect();
        self.session.receive(&octets);
        let mut sent = Vec::new();
        let mut random = self.random.clone();
        let mut out = Output::new(&mut sent, &mut random);
        loop {
            let mut spans = Vec::new();
            let received = match self.session.next_watched(&mut out, &mut spans) {
                Ok(None) => None,
                Ok(Some((event, conn))) => Some(answer(event, conn, &mut out)),
                Err(violation) => {
                    self.violation.get_or_insert(violation);
                    continue;
                }
            };
            self.add_payload(&spans);
            match received {
                None => break,
                Some(None) => {}
                Some(Some(received)) => self.add_received(received),
            }
        }
        self.random = random;
        sent
    }

    fn add_payload(&mut self, spans: &[Span]) {
        let parsed = self.session.parsed();
        let start = self.session.position() - parsed.len() as u64;
        for span in spans.iter().filter(|span| span.field == Field::Payload) {
            let at = (span.at.start - start) as usize..(span.at.end - start) as usize;
            self.part.extend_from_slice(&parsed[at]);
        }
    }

    fn add_received(&mut self, received: Received) {
        if let Received::Message(kind, payload) = &received {
            let part = std::mem::take(&mut self.part);
            if *payload != part {
                assert_eq!(*kind, Kind::Text);
                assert_eq!(*payload, String::from_utf8_lossy(&part).as_bytes());
                self.has_replaced = true;
            }
        }
        self.received.push(received);
    }

    /// The messages that it received.
    pub(crate) fn messages(&self) -> Vec<Received> {
        let is_message = |received: &&Received| matches!(received, Received::Message(..));
        self.received.iter().filter(is_message).cloned().collect()
    }
}

/// Accepts a request; gives what of the event a test looks at.
fn answer(event: SessionEvent<'_>, conn: &mut Conn, out: &mut Output<'_>) -> Option<Received> {
    match event {
        SessionEvent::Request(request) => {
            // Damage on the way may change what is offered.
            match request.choose_subprotocol(&["chat".to_owned()]) {
                Ok(chosen) => conn.accept(chosen, out).unwrap(),
                Err(refusal) => conn.refuse(refusal, out),
            }
            None
        }
        SessionEvent::Message(message) => {
            let (kind, payload) = (message.kind(), message.payload().to_vec());
            Some(Received::Message(kind, payload))
        }
        SessionEvent::Ping(octets) => Some(Received::Ping(octets.to_vec())),
        SessionEvent::Pong(octets) => Some(Received::Pong(octets.to_vec())),
        SessionEvent::Close(reason) => Some(Received::Close(reason.code, reason.text.into_owned())),
        _ => None,
    }
}

/// A client that has sent its request and a server that has not read it.
pub(crate) fn dial(version: &'static Version, config: &Arc<Config>, seed: u64) -> (End, End) {
    let request = ClientRequest::new("example.com:8076", "/demo?a=b")
        .with_origin("http://example.com")
        .with_subprotocols(&["chat"])
        .with_headers(&[("Cookie", "a=b")]);
    let mut sent = Vec::new();
    let mut random = Seeded(seed ^ 0x5eed);
    let mut out = Output::new(&mut sent, &mut random);
    let client = Conn::client(version, &request, Arc::clone(config), &mut out).unwrap();
    let client = End::new(client, seed ^ 1);
    let mut server = End::new(Conn::server(Arc::clone(config)), seed ^ 2);
    server.incoming = sent;
    (client, server)
}

/// A client and a server that have agreed.
pub(crate) fn open(version: &'static Version, config: &Arc<Config>, seed: u64) -> (End, End) {
    let (mut client, mut server) = dial(version, config, seed);
    while !(client.incoming.is_empty() && server.incoming.is_empty()) {
        let response = server.read(server.incoming.len());
        client.incoming.extend(response);
        let body = client.read(client.incoming.len());
        server.incoming.extend(body);
    }
    assert_eq!(client.conn().phase(), Phase::Open, "{version}");
    assert_eq!(server.conn().phase(), Phase::Open, "{version}");
    assert_eq!(server.conn().version(), Some(version));
    (client, server)
}
