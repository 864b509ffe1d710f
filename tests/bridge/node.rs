//! One connection, and a client and a server that have agreed.

use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Config, Conn, Event, Phase};
use heirloom::error::Violation;
use heirloom::handshake::ClientRequest;
use heirloom::version::Closing;
use heirloom::{Side, Version, Versions};

use crate::memory::{Received, Seeded};

/// One connection, and what is on its way to it.
pub(crate) struct Node {
    pub(crate) conn: Conn,
    /// Octets that it has not eaten.
    pub(crate) wire: Vec<u8>,
    /// Behind those octets TCP ends.
    pub(crate) ends: bool,
    /// Its peer is gone: what that one would say never comes.
    pub(crate) is_cut: bool,
    /// It was told that TCP ended, and said so.
    pub(crate) end: Option<Result<(), Violation>>,
    /// All octets that ever came, since the handshake.
    pub(crate) came: Vec<u8>,
    /// A message of which the end has not come.
    pub(crate) part: Option<Vec<u8>>,
    /// With their octets as they came: nothing is mended here.
    pub(crate) heard: Vec<Received>,
    pub(crate) violation: Option<Violation>,
    pub(crate) random: Seeded,
}

impl Node {
    pub(crate) fn new(conn: Conn, seed: u64) -> Node {
        Node {
            conn,
            wire: Vec::new(),
            ends: false,
            is_cut: false,
            end: None,
            came: Vec::new(),
            part: None,
            heard: Vec::new(),
            violation: None,
            random: Seeded(seed),
        }
    }

    pub(crate) fn version(&self) -> &'static Version {
        self.conn.version().unwrap()
    }

    pub(crate) fn talk<R>(
        &mut self,
        what: impl FnOnce(&mut Conn, &mut Output<'_>) -> R,
    ) -> (R, Vec<u8>) {
        let mut said = Vec::new();
        let random = &mut self.random;
        let mut random = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
        let told = what(&mut self.conn, &mut Output::new(&mut said, &mut random));
        (told, said)
    }

    /// Its peer is gone, behind what came.
    pub(crate) fn is_cut_off(&mut self) {
        self.ends = true;
        self.is_cut = true;
    }

    /// What is on its way.
    pub(crate) fn gets(&mut self, octets: &[u8]) {
        if self.is_cut {
            return;
        }
        assert!(octets.is_empty() || !self.ends, "octets behind the end");
        self.wire.extend_from_slice(octets);
        self.came.extend_from_slice(octets);
    }

    /// It speaks no more: TCP ends on its side. A server of hixie-76 has said
    /// all with its FF 00.
    pub(crate) fn has_ended(&self) -> bool {
        let is_76 = self
            .conn
            .version()
            .is_some_and(|v| v.closing == Closing::Hixie76);
        match self.conn.phase() {
            Phase::Closed => true,
            Phase::Closing => is_76 && self.conn.side() == Side::Server,
            _ => false,
        }
    }

    /// The end is due: everything was eaten that can be.
    pub(crate) fn end_is_due(&self) -> bool {
        self.ends && self.end.is_none()
    }

    /// An end that nobody bridges: eats `n` octets, and gives what it says.
    pub(crate) fn eat(&mut self, n: usize) -> Vec<u8> {
        let mut octets = std::mem::take(&mut self.wire);
        let later = octets.split_off(n);
        let mut heard = Vec::new();
        let mut part = self.part.take();
        let mut violation = None;
        let (left, said) = self.talk(|conn, out| {
            let mut input = Input::new(&mut octets);
            loop {
                match conn.next(&mut input, out) {
                    Ok(None) => break input.rest().to_vec(),
                    Ok(Some(Event::Request(_))) => conn.accept(None, out).unwrap(),
                    Ok(Some(Event::Piece(piece))) => {
                        assert_eq!(piece.first, part.is_none(), "pieces out of order");
                        let mut whole = part.take().unwrap_or_default();
                        whole.extend_from_slice(piece.octets);
                        if piece.last {
                            heard.push(Received::Message(piece.kind, whole));
                        } else {
                            part = Some(whole);
                        }
                    }
                    Ok(Some(Event::Ping(octets))) => heard.push(Received::Ping(octets.to_vec())),
                    Ok(Some(Event::Pong(octets))) => heard.push(Received::Pong(octets.to_vec())),
                    Ok(Some(Event::Close(reason))) => {
                        heard.push(Received::Close(reason.code, reason.text.into_owned()));
                    }
                    Ok(Some(_)) => {}
                    Err(error) => {
                        violation.get_or_insert(error);
                    }
                }
            }
        });
        self.part = part;
        self.heard.append(&mut heard);
        self.violation = self.violation.or(violation);
        self.wire = [left, later].concat();
        said
    }

    pub(crate) fn messages(&self) -> Vec<Received> {
        let is_message = |heard: &&Received| matches!(heard, Received::Message(..));
        self.heard.iter().filter(is_message).cloned().collect()
    }
}

pub(crate) fn config() -> Arc<Config> {
    let mut config = Config::default();
    config.versions = Versions::ALL;
    Arc::new(config)
}

/// A client and a server of this version that have agreed.
pub(crate) fn open(version: &'static Version, seed: u64) -> (Node, Node) {
    let mut random = Seeded(seed);
    let mut fill = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
    let ask = ClientRequest {
        host: "example.com",
        target: "/",
        secure: false,
        origin: Some("http://example.com"),
        subprotocols: &[],
        headers: &[],
    };
    let mut sent = Vec::new();
    let mut out = Output::new(&mut sent, &mut fill);
    let client = Conn::client(version, &ask, config(), &mut out).unwrap();
    let mut client = Node::new(client, seed ^ 1);
    let mut server = Node::new(Conn::server(config()), seed ^ 2);
    server.wire = sent;
    for _ in 0..4 {
        let n = server.wire.len();
        client.wire = server.eat(n);
        let n = client.wire.len();
        server.wire = client.eat(n);
    }
    assert_eq!(client.conn.phase(), Phase::Open, "{version}");
    assert_eq!(server.conn.phase(), Phase::Open, "{version}");
    (client, server)
}
