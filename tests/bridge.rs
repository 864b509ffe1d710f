//! A bridge in memory: a client of any version, our two ends, a backend of any
//! version. What one says the other hears, and how a goodbye or a loss is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Coding, Config, Conn, End, Event, Phase, Way};
use heirloom::error::{Unsendable, Violation};
use heirloom::frame::{Kind, Message};
use heirloom::handshake::Ask;
use heirloom::version::{Closing, Layout};
use heirloom::{Side, VERSIONS, Version, Versions};
use proptest::prelude::*;

/// A generator that a seed decides.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Heard {
    /// With its octets as they came: nothing is mended here.
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// One connection, and what is on its way to it.
struct Node {
    conn: Conn,
    /// Octets that it has not eaten.
    wire: Vec<u8>,
    /// Behind those octets TCP ends.
    ends: bool,
    /// Its peer is gone: what that one would say never comes.
    is_cut: bool,
    /// It was told that TCP ended, and said so.
    end: Option<Result<(), Violation>>,
    /// All octets that ever came, since the handshake.
    came: Vec<u8>,
    /// A message of which the end has not come.
    part: Option<Vec<u8>>,
    heard: Vec<Heard>,
    violation: Option<Violation>,
    random: Seeded,
}

impl Node {
    fn new(conn: Conn, seed: u64) -> Node {
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

    fn version(&self) -> &'static Version {
        self.conn.version().unwrap()
    }

    fn talk<R>(&mut self, what: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> (R, Vec<u8>) {
        let mut said = Vec::new();
        let random = &mut self.random;
        let mut random = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
        let told = what(&mut self.conn, &mut Output::new(&mut said, &mut random));
        (told, said)
    }

    /// Its peer is gone, behind what came.
    fn is_cut_off(&mut self) {
        self.ends = true;
        self.is_cut = true;
    }

    /// What is on its way.
    fn gets(&mut self, octets: &[u8]) {
        if self.is_cut {
            return;
        }
        assert!(octets.is_empty() || !self.ends, "octets behind the end");
        self.wire.extend_from_slice(octets);
        self.came.extend_from_slice(octets);
    }

    /// It speaks no more: TCP ends on its side. A server of hixie-76 has said
    /// all with its FF 00.
    fn has_ended(&self) -> bool {
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
    fn end_is_due(&self) -> bool {
        self.ends && self.end.is_none()
    }

    /// An end that nobody bridges: eats `n` octets, and gives what it says.
    fn eat(&mut self, n: usize) -> Vec<u8> {
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
                            heard.push(Heard::Message(piece.kind, whole));
                        } else {
                            part = Some(whole);
                        }
                    }
                    Ok(Some(Event::Ping(octets))) => heard.push(Heard::Ping(octets.to_vec())),
                    Ok(Some(Event::Pong(octets))) => heard.push(Heard::Pong(octets.to_vec())),
                    Ok(Some(Event::Close(reason))) => {
                        heard.push(Heard::Close(reason.code, reason.text.into_owned()));
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

    fn messages(&self) -> Vec<Heard> {
        let is_message = |heard: &&Heard| matches!(heard, Heard::Message(..));
        self.heard.iter().filter(is_message).cloned().collect()
    }
}

fn config() -> Arc<Config> {
    let mut config = Config::default();
    config.versions = Versions::ALL;
    Arc::new(config)
}

/// A client and a server of this version that have agreed.
fn open(version: &'static Version, seed: u64) -> (Node, Node) {
    let mut random = Seeded(seed);
    let mut fill = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
    let ask = Ask {
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

/// Client, our end for it, our end for the backend, backend.
struct Bridge {
    client: Node,
    front: Node,
    behind: Node,
    backend: Node,
    forth: Way,
    back: Way,
    chunks: Seeded,
    /// What `carry` and the connections of the bridge found.
    violations: Vec<(Side, Violation)>,
}

impl Bridge {
    fn open(client: &'static Version, backend: &'static Version, coding: Coding) -> Bridge {
        Bridge::seeded(client, backend, coding, 7)
    }

    fn seeded(
        client: &'static Version,
        backend: &'static Version,
        coding: Coding,
        seed: u64,
    ) -> Bridge {
        let (client, mut front) = open(client, seed ^ 0x10);
        let (mut behind, backend) = open(backend, seed ^ 0x20);
        front.conn.leave_control();
        behind.conn.leave_control();
        Bridge {
            client,
            front,
            behind,
            backend,
            forth: Way::new(coding),
            back: Way::new(coding.back()),
            chunks: Seeded(seed),
            violations: Vec::new(),
        }
    }

    /// The client, for `Side::Client`; the backend otherwise.
    fn outer(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.backend,
        }
    }

    /// Our end that faces the client, or the backend.
    fn ours(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Client => &mut self.front,
            Side::Server => &mut self.behind,
        }
    }

    /// The client or the backend says something.
    fn send(
        &mut self,
        from: Side,
        what: impl FnOnce(&mut Conn, &mut Output<'_>) -> Result<(), Unsendable>,
    ) {
        let (told, said) = self.outer(from).talk(what);
        told.unwrap();
        self.ours(from).gets(&said);
        self.spread_ends();
    }

    fn close(&mut self, from: Side, code: u16, reason: &str) {
        self.send(from, |conn, out| {
            conn.close(code, reason, out);
            Ok(())
        });
    }

    /// A text of the client or backend, whatever octets: its own connection
    /// would refuse to send such. Each piece is a frame where there are frames.
    fn send_octets_as_text(&mut self, from: Side, pieces: &[&[u8]]) {
        let node = self.outer(from);
        let version = node.version();
        if version.layout == Layout::Hixie75 {
            let said = [&[0], &pieces.concat()[..], &[0xff]].concat();
            self.ours(from).gets(&said);
            return;
        }
        let mut all = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let (first, last) = (i == 0, i + 1 == pieces.len());
            let (told, mut said) =
                node.talk(|conn, out| conn.send_piece(Kind::Binary, piece, first, last, out));
            told.unwrap();
            if first {
                // Binary becomes text, through the mask.
                let masks = from == Side::Client;
                let (at, change) = match version.layout {
                    Layout::Hybi07 => (0, 2 ^ 1),
                    Layout::Hybi04 | Layout::Hybi05 if masks => (4, 5 ^ 4),
                    _ => (0, 5 ^ 4),
                };
                said[at] ^= change;
            }
            all.extend(said);
        }
        self.ours(from).gets(&all);
    }

    /// Carries octets until all is quiet, in chunks of chance.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for side in [Side::Client, Side::Server] {
                for bridged in [false, true] {
                    let chunk = match self.chunks.next() % 5 {
                        0 => 1,
                        1 => 3,
                        2 => 50,
                        3 => 4000,
                        _ => usize::MAX,
                    };
                    // Where a chunk alone does not do, all that is there may.
                    moved |= self.step(side, bridged, chunk)
                        || self.step(side, bridged, usize::MAX)
                        || self.step_end(side, bridged);
                }
            }
        }
    }

    /// Lets one of the four eat; whether anything came of it.
    fn step(&mut self, side: Side, bridged: bool, chunk: usize) -> bool {
        let node = if bridged {
            self.ours(side)
        } else {
            self.outer(side)
        };
        let before = node.wire.len();
        if before == 0 {
            return false;
        }
        let n = chunk.min(before);
        let said = if bridged {
            self.bridge(side, n)
        } else {
            let said = self.outer(side).eat(n);
            self.ours(side).gets(&said);
            !said.is_empty()
        };
        self.spread_ends();
        let node = if bridged {
            self.ours(side)
        } else {
            self.outer(side)
        };
        said || node.wire.len() != before
    }

    fn step_end(&mut self, side: Side, bridged: bool) -> bool {
        if bridged {
            if !self.ours(side).end_is_due() {
                return false;
            }
            self.end_of_input(side);
        } else {
            let node = self.outer(side);
            if !node.end_is_due() {
                return false;
            }
            let ended = node.conn.end_of_input(node.wire.len());
            node.end = Some(ended);
        }
        self.spread_ends();
        true
    }

    /// Where a connection has ended, TCP ends for its peer.
    fn spread_ends(&mut self) {
        for (here, there) in [
            (&mut self.client, &mut self.front),
            (&mut self.behind, &mut self.backend),
        ] {
            here.ends |= there.has_ended();
            there.ends |= here.has_ended();
        }
    }

    /// Our end of this side eats `n` octets, as a gateway's loop lets it.
    fn bridge(&mut self, side: Side, n: usize) -> bool {
        let Bridge {
            front,
            behind,
            forth,
            back,
            ..
        } = self;
        let (here, there, way) = match side {
            Side::Client => (front, behind, forth),
            Side::Server => (behind, front, back),
        };
        let mut octets = std::mem::take(&mut here.wire);
        let later = octets.split_off(n);
        let (mut said, mut across) = (Vec::new(), Vec::new());
        let (a, b) = (&mut here.random, &mut there.random);
        let mut random = |octets: &mut [u8]| octets.fill_with(|| a.next() as u8);
        let mut random_across = |octets: &mut [u8]| octets.fill_with(|| b.next() as u8);
        let mut out = Output::new(&mut said, &mut random);
        let mut out_across = Output::new(&mut across, &mut random_across);
        let mut input = Input::new(&mut octets);
        loop {
            match here.conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let mut from = End {
                        conn: &mut here.conn,
                        out: &mut out,
                    };
                    let mut to = End {
                        conn: &mut there.conn,
                        out: &mut out_across,
                    };
                    if let Err(violation) = way.carry(event, &mut from, &mut to) {
                        self.violations.push((side, violation));
                    }
                }
                Err(violation) => self.violations.push((side, violation)),
            }
        }
        here.wire = [input.rest(), &later].concat();
        let some = !said.is_empty() || !across.is_empty();
        self.outer(side).gets(&said);
        self.outer(side.peer()).gets(&across);
        self.balance(side, "connection-cut");
        some
    }

    /// TCP has ended at our end of this side.
    fn end_of_input(&mut self, side: Side) {
        let (here, there, way) = match side {
            Side::Client => (&mut self.front, &mut self.behind, &mut self.forth),
            Side::Server => (&mut self.behind, &mut self.front, &mut self.back),
        };
        let ended = here.conn.end_of_input(here.wire.len());
        here.end = Some(ended);
        let mut said = Vec::new();
        if ended.is_ok() {
            let random = &mut there.random;
            let mut random = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
            let mut out = Output::new(&mut said, &mut random);
            let mut to = End {
                conn: &mut there.conn,
                out: &mut out,
            };
            way.end(&here.conn, &mut to);
        }
        self.outer(side.peer()).gets(&said);
        self.balance(side, "connection-cut");
    }

    /// Where one end is over, the other is told.
    fn balance(&mut self, side: Side, what: &str) {
        for side in [side, side.peer()] {
            let is_over = |node: &Node| node.conn.phase() == Phase::Closed;
            if is_over(self.ours(side)) && !is_over(self.ours(side.peer())) {
                self.lose(side, what);
            }
        }
    }

    /// Our end of this side is gone.
    fn lose(&mut self, gone: Side, what: &str) {
        let (there, way) = match gone {
            Side::Client => (&mut self.behind, &self.back),
            Side::Server => (&mut self.front, &self.forth),
        };
        let ((), said) = there.talk(|conn, out| way.lost(what, &mut End { conn, out }));
        self.outer(gone.peer()).gets(&said);
        self.spread_ends();
    }
}

/// A frame on the wire, read by hand.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    last: bool,
    op: Op,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The frames of a version, whoever wrote them; `None` where they are masked by
/// a secret. A hixie text without its end is a frame that is not the last.
fn frames(version: &Version, from: Side, octets: &[u8]) -> Option<Vec<Frame>> {
    let mut rest = octets.to_vec();
    let mut frames = Vec::new();
    if version.layout == Layout::Hixie75 {
        while let Some(kind) = rest.first() {
            if *kind == 0xff {
                assert_eq!(rest[..2], [0xff, 0], "{octets:02x?}");
                frames.push(goodbye(&[]));
                rest.drain(..2);
                continue;
            }
            assert_eq!(*kind, 0, "{octets:02x?}");
            let end = rest.iter().position(|o| *o == 0xff);
            frames.push(Frame {
                last: end.is_some(),
                op: Op::Text,
                payload: rest[1..end.unwrap_or(rest.len())].to_vec(),
            });
            rest.drain(..end.map_or(rest.len(), |end| end + 1));
        }
        return Some(frames);
    }
    if version.layout == Layout::Hybi04 && from == Side::Client {
        return None;
    }
    while !rest.is_empty() {
        let masks_all = version.layout == Layout::Hybi05 && from == Side::Client;
        if masks_all {
            let key: Vec<u8> = rest.drain(..4).collect();
            // The index goes on, so this unmasks as much as the frame has.
            let head = |rest: &[u8], i: usize| rest[i] ^ key[i % 4];
            let (head, length) = head_and_length(&rest, &head);
            let clear: Vec<u8> = rest
                .drain(..head + length)
                .enumerate()
                .map(|(i, o)| o ^ key[i % 4])
                .collect();
            frames.push(frame_of(version, clear[0], clear[head..].to_vec()));
            continue;
        }
        let (head, length) = head_and_length(&rest, &|rest, i| rest[i]);
        let first = rest[0];
        let is_masked = rest[1] & 0x80 != 0;
        assert_eq!(
            is_masked,
            version.layout == Layout::Hybi07 && from == Side::Client
        );
        rest.drain(..head);
        let mut key = [0; 4];
        if is_masked {
            key = rest.drain(..4).collect::<Vec<u8>>().try_into().unwrap();
        }
        let payload = rest.drain(..length).enumerate();
        let payload = payload.map(|(i, o)| o ^ key[i % 4]).collect();
        frames.push(frame_of(version, first, payload));
    }
    Some(frames)
}

fn head_and_length(rest: &[u8], octet: &dyn Fn(&[u8], usize) -> u8) -> (usize, usize) {
    let number =
        |n: usize| (2..2 + n).fold(0usize, |all, i| all * 256 + usize::from(octet(rest, i)));
    match octet(rest, 1) & 0x7f {
        126 => (4, number(2)),
        127 => (10, number(8)),
        short => (2, usize::from(short)),
    }
}

fn frame_of(version: &Version, first: u8, payload: Vec<u8>) -> Frame {
    use Op::{Binary, Close, Continuation, Ping, Pong, Text};
    let early = [Continuation, Close, Ping, Pong, Text, Binary];
    let op = match (version.layout, first & 0x7f) {
        (Layout::Hybi07, 0) => Continuation,
        (Layout::Hybi07, 1) => Text,
        (Layout::Hybi07, 2) => Binary,
        (Layout::Hybi07, 8) => Close,
        (Layout::Hybi07, 9) => Ping,
        (Layout::Hybi07, 10) => Pong,
        (Layout::Hybi07, _) => panic!("{first:02x}"),
        (_, n) => early[usize::from(n)],
    };
    Frame {
        last: (first & 0x80 != 0) != (version.layout == Layout::Hybi01),
        op,
        payload,
    }
}

fn goodbye(body: &[u8]) -> Frame {
    Frame {
        last: true,
        op: Op::Close,
        payload: body.to_vec(),
    }
}

fn pairs() -> impl Iterator<Item = (&'static Version, &'static Version)> {
    VERSIONS
        .iter()
        .flat_map(|client| VERSIONS.iter().map(move |backend| (client, backend)))
}

fn both() -> [Side; 2] {
    [Side::Client, Side::Server]
}

fn version() -> impl Strategy<Value = &'static Version> {
    (0..VERSIONS.len()).prop_map(|i| &VERSIONS[i])
}

fn text() -> impl Strategy<Value = String> {
    let astral = prop_oneof![
        Just(String::new()),
        Just("😀".to_owned()),
        Just("\u{10ffff}𝕳".to_owned())
    ];
    let long = prop_oneof![Just(0usize), Just(1), 120usize..130, 65_530usize..65_540];
    ("\\PC{0,20}", astral, long).prop_map(|(some, astral, long)| {
        let mut text = some + &astral;
        text.extend(std::iter::repeat_n('é', long / 2));
        text.extend(std::iter::repeat_n('x', long % 2));
        text
    })
}

#[derive(Clone, Debug)]
struct Said {
    from_client: bool,
    binary: bool,
    text: String,
    /// Where it is cut into pieces.
    cuts: Vec<prop::sample::Index>,
    /// A ping after the first piece.
    ping: bool,
    /// All is quiet before the next.
    settle: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let bools = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (bools, text(), cuts).prop_map(|((from_client, binary, ping, settle), text, cuts)| Said {
        from_client,
        binary,
        text,
        cuts,
        ping,
        settle,
    })
}

/// The pieces of these octets.
fn cut<'o>(octets: &'o [u8], cuts: &[prop::sample::Index]) -> Vec<&'o [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|c| c.index(octets.len() + 1)).collect();
    at.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in at.into_iter().chain([octets.len()]) {
        pieces.push(&octets[from..to]);
        from = to;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_one_side_says_the_other_hears_whole_once_and_in_order(
        client in version(),
        backend in version(),
        all in prop::collection::vec(said(), 1..8),
        seed in any::<u64>(),
    ) {
        let mut bridge = Bridge::seeded(client, backend, Coding::Plain, seed);
        let has_binary = client.has_binary() && backend.has_binary();
        // By who hears it.
        let (mut to_client, mut to_backend) = (Vec::new(), Vec::new());
        let mut pongs = [0, 0];
        for (n, said) in all.into_iter().enumerate() {
            let (from, version, other) = if said.from_client {
                (Side::Client, client, backend)
            } else {
                (Side::Server, backend, client)
            };
            let kind = if said.binary && has_binary { Kind::Binary } else { Kind::Text };
            let pieces = cut(said.text.as_bytes(), &said.cuts);
            let pings = said.ping && version.has_ping();
            let name = [n as u8];
            bridge.send(from, |conn, out| {
                for (i, piece) in pieces.iter().enumerate() {
                    conn.send_piece(kind, piece, i == 0, i + 1 == pieces.len(), out)?;
                    if i == 0 && pings {
                        conn.ping(&name, out)?;
                    }
                }
                Ok(())
            });
            let heard = if said.from_client { &mut to_backend } else { &mut to_client };
            let whole = Heard::Message(kind, said.text.clone().into_bytes());
            let ping = Heard::Ping(name.to_vec());
            // A ping stands before the message it interrupts.
            if pings && other.has_ping() && pieces.len() > 1 {
                heard.extend([ping, whole]);
            } else if pings && other.has_ping() {
                heard.extend([whole, ping]);
            } else {
                heard.push(whole);
            }
            pongs[usize::from(said.from_client)] += usize::from(pings);
            if said.settle {
                bridge.settle();
            }
        }
        bridge.settle();
        for (node, want, pongs) in [
            (&bridge.client, to_client, pongs[1]),
            (&bridge.backend, to_backend, pongs[0]),
        ] {
            let is_pong = |heard: &Heard| matches!(heard, Heard::Pong(_));
            let (heard_pongs, heard): (Vec<Heard>, Vec<Heard>) =
                node.heard.iter().cloned().partition(is_pong);
            prop_assert_eq!(heard, want);
            // Each ping has its pong, be it that of the other end or ours.
            prop_assert_eq!(heard_pongs.len(), pongs);
            prop_assert_eq!(node.violation, None);
        }
        prop_assert_eq!(bridge.violations, vec![]);
    }

    #[test]
    fn text_that_is_not_utf8_goes_on_mended_as_the_whole_would_be(
        from_version in version().prop_filter("mends", |v| !v.checks_text()),
        to_version in version(),
        from_client in any::<bool>(),
        octets in prop::collection::vec(
            prop_oneof![
                any::<u8>().prop_map(|o| vec![o]),
                Just("😀".as_bytes().to_vec()),
                Just("€".as_bytes().to_vec()),
                Just(b"\xf0\x9f\x98".to_vec()),
                Just(b"\xe2\x82".to_vec()),
                Just(b"\xed\xa0\x80".to_vec()),
                Just(b"abc".to_vec()),
            ],
            0..12,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        seed in any::<u64>(),
    ) {
        let (client, backend, from) = if from_client {
            (from_version, to_version, Side::Client)
        } else {
            (to_version, from_version, Side::Server)
        };
        let mut bridge = Bridge::seeded(client, backend, Coding::Plain, seed);
        let mut octets = octets.concat();
        if from_version.layout == Layout::Hixie75 {
            octets.retain(|o| *o != 0xff);
        }
        bridge.send_octets_as_text(from, &cut(&octets, &cuts));
        bridge.send(from, |conn, out| conn.send(Message::text("after"), out));
        bridge.settle();
        let mended = String::from_utf8_lossy(&octets).into_owned();
        let want = [mended.as_str(), "after"]
            .map(|text| Heard::Message(Kind::Text, text.as_bytes().to_vec()));
        // As it is on the wire: who hears it mends nothing here.
        prop_assert_eq!(&bridge.outer(from.peer()).heard, &want);
        prop_assert_eq!(bridge.violations, vec![]);
    }

    #[test]
    fn whatever_octets_come_neither_end_panics_nor_hears_text_that_is_not_utf8(
        client in version(),
        backend in version(),
        junk in prop::collection::vec(any::<u8>(), 0..300),
        from_client in any::<bool>(),
        base64 in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let coding = if base64 { Coding::Decode } else { Coding::Plain };
        let mut bridge = Bridge::seeded(client, backend, coding, seed);
        let from = if from_client { Side::Client } else { Side::Server };
        bridge.ours(from).gets(&junk);
        bridge.settle();
        let other = bridge.outer(from.peer());
        prop_assert_eq!(other.violation, None, "we say nothing wrong");
        for heard in &other.heard {
            if let Heard::Message(Kind::Text, octets) = heard {
                prop_assert!(std::str::from_utf8(octets).is_ok());
            }
        }
    }

    #[test]
    fn octets_travel_as_base64_of_any_length_in_any_pieces(
        client in version(),
        backend in version(),
        octets in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        from_client in any::<bool>(),
        seed in any::<u64>(),
    ) {
        // The side without binary messages talks base64; where both have them,
        // or neither, the client does.
        let coding = if backend.has_binary() { Coding::Decode } else { Coding::Encode };
        let mut bridge = Bridge::seeded(client, backend, coding, seed);
        let from = if from_client { Side::Client } else { Side::Server };
        let base64 = base64_of(&octets).into_bytes();
        let says_base64 = from_client == (coding == Coding::Decode);
        let (kind, said) = if says_base64 {
            (Kind::Text, &base64)
        } else if bridge.outer(from).version().has_binary() {
            (Kind::Binary, &octets)
        } else {
            // Neither side has binary: what is a text goes as base64 too.
            prop_assume!(std::str::from_utf8(&octets).is_ok());
            (Kind::Text, &octets)
        };
        let pieces = cut(said, &cuts);
        bridge.send(from, |conn, out| {
            for (i, piece) in pieces.iter().enumerate() {
                conn.send_piece(kind, piece, i == 0, i + 1 == pieces.len(), out)?;
            }
            Ok(())
        });
        bridge.settle();
        let to = bridge.outer(from.peer());
        let has_binary = to.version().has_binary();
        let want = if !says_base64 {
            vec![Heard::Message(Kind::Text, base64)]
        } else if has_binary {
            vec![Heard::Message(Kind::Binary, octets)]
        } else {
            // Octets for one who has none are dropped, never damaged.
            vec![]
        };
        prop_assert_eq!(&to.heard, &want);
    }
}

/// Base64 by hand (RFC 4648 section 4).
fn base64_of(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() {
                letter as char
            } else {
                '='
            });
        }
    }
    text
}

fn named(name: &str) -> &'static Version {
    Version::named(name).unwrap()
}

#[test]
fn our_base64_is_that_of_the_rfc() {
    // RFC 4648 section 10.
    for (octets, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64_of(octets.as_bytes()), text);
    }
}

/// All ways to cut octets into three pieces.
fn threes(octets: &[u8]) -> impl Iterator<Item = [&[u8]; 3]> {
    let n = octets.len();
    (0..=n).flat_map(move |a| (a..=n).map(move |b| [&octets[..a], &octets[a..b], &octets[b..]]))
}

#[test]
fn base64_becomes_octets_at_every_cut() {
    let octets = [0, 0xff, 0x80, 7, 0xc3, 0x28, 1, 2];
    for n in 0..=octets.len() {
        let base64 = base64_of(&octets[..n]);
        for pieces in threes(base64.as_bytes()) {
            for client in ["hixie-76", "rfc6455"] {
                let client = named(client);
                let mut bridge = Bridge::open(client, named("rfc6455"), Coding::Decode);
                bridge.send_octets_as_text(Side::Client, &pieces);
                bridge.settle();
                let want = [Heard::Message(Kind::Binary, octets[..n].to_vec())];
                assert_eq!(bridge.backend.heard, want, "{client} {pieces:?}");
            }
        }
    }
}

#[test]
fn hixie_base64_becomes_octets_however_its_text_comes_in() {
    // A hixie text has no frames inside: the cuts are those of TCP.
    let octets = [0, 0xff, 0x80, 7, 0xc3];
    for n in 0..=octets.len() {
        let base64 = base64_of(&octets[..n]);
        let whole = [&[0], base64.as_bytes(), &[0xff]].concat();
        for pieces in threes(&whole) {
            let mut bridge = Bridge::open(named("hixie-76"), named("rfc6455"), Coding::Decode);
            for piece in pieces {
                bridge.front.gets(piece);
                bridge.settle();
            }
            let want = [Heard::Message(Kind::Binary, octets[..n].to_vec())];
            assert_eq!(bridge.backend.heard, want, "{pieces:?}");
        }
    }
}

#[test]
fn octets_become_base64_at_every_cut_and_as_one_text() {
    let octets = [0, 0xff, 0x80, 7, 0xc3, 0x28, 1, 2];
    for n in 0..=octets.len() {
        for pieces in threes(&octets[..n]) {
            let mut bridge = Bridge::open(named("hixie-76"), named("rfc6455"), Coding::Decode);
            bridge.send(Side::Server, |conn, out| {
                conn.send_piece(Kind::Binary, pieces[0], true, false, out)?;
                conn.send_piece(Kind::Binary, pieces[1], false, false, out)?;
                conn.send_piece(Kind::Binary, pieces[2], false, true, out)
            });
            bridge.settle();
            let base64 = base64_of(&octets[..n]);
            let want = [&[0], base64.as_bytes(), &[0xff]].concat();
            assert_eq!(bridge.client.came, want, "{pieces:?}");
        }
    }
}

#[test]
fn what_is_no_base64_ends_both_and_never_becomes_a_whole_message() {
    for bad in [
        // Padding in the middle, or too much of it.
        "QQ==QQ==",
        "QQ==QQ",
        "QUI=Q",
        "QQ==\u{3d}",
        "Q===",
        "====",
        "=",
        // Cut groups.
        "Q",
        "QQ",
        "QUI",
        "QUJDQ",
        "QUJDQQ",
        // Other letters.
        "QQ=A",
        "QU-_",
        "QU I",
        "QUJD\n",
        "é===",
        "\u{fffd}",
        // Bits behind the last octet.
        "QR==",
        "QUJ=",
    ] {
        for pieces in threes(bad.as_bytes()) {
            for client in ["hixie-76", "rfc6455"] {
                let client = named(client);
                let mut bridge = Bridge::open(client, named("rfc6455"), Coding::Decode);
                bridge.send_octets_as_text(Side::Client, &pieces);
                bridge.settle();
                assert_eq!(
                    bridge.violations,
                    [(Side::Client, Violation::Base64Malformed)],
                    "{client} {pieces:?}"
                );
                assert_eq!(bridge.backend.messages(), [], "{client} {pieces:?}");
                assert_eq!(bridge.backend.violation, None);
                let told = frames(client, Side::Server, &bridge.client.came).unwrap();
                let want = if client.has_close_codes() {
                    goodbye(b"\x03\xefbase64-malformed")
                } else {
                    goodbye(&[])
                };
                assert_eq!(told, [want], "{client} {pieces:?}");
            }
        }
    }
}

#[test]
fn base64_of_one_message_leaves_nothing_for_the_next() {
    let mut bridge = Bridge::open(named("hixie-76"), named("rfc6455"), Coding::Decode);
    for text in ["QQ==", "QUI=", "", "QUJD", "QQ=="] {
        bridge.send(Side::Client, |conn, out| {
            conn.send(Message::text(text), out)
        });
    }
    for octets in [&b"A"[..], b"AB", b"", b"ABC", b"A"] {
        bridge.send(Side::Server, |conn, out| {
            conn.send(Message::binary(octets), out)
        });
    }
    bridge.settle();
    let octets: Vec<Heard> = [&b"A"[..], b"AB", b"", b"ABC", b"A"]
        .iter()
        .map(|octets| Heard::Message(Kind::Binary, octets.to_vec()))
        .collect();
    assert_eq!(bridge.backend.heard, octets);
    assert_eq!(
        bridge.client.came,
        b"\0QQ==\xff\0QUI=\xff\0\xff\0QUJD\xff\0QQ==\xff"
    );
}

#[test]
fn fragments_go_on_as_they_come_and_are_not_gathered() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            for (i, piece) in ["one ", "two ", "three"].iter().enumerate() {
                bridge.send(from, |conn, out| {
                    conn.send_piece(Kind::Text, piece.as_bytes(), i == 0, i == 2, out)
                });
                bridge.settle();
                let other = bridge.outer(from.peer());
                let sofar = ["one ", "one two ", "one two three"][i].as_bytes().to_vec();
                if i < 2 {
                    assert_eq!(other.part, Some(sofar), "{client} to {backend}");
                } else {
                    assert_eq!(other.heard, [Heard::Message(Kind::Text, sofar)]);
                }
            }
        }
    }
}

#[test]
fn a_long_frame_goes_on_while_it_comes() {
    // Not one piece per frame, but what has come: nothing waits for the rest.
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let text = "x".repeat(100_000);
            let (_, said) = bridge
                .outer(from)
                .talk(|conn, out| conn.send(Message::text(&text), out));
            let (begin, end) = said.split_at(60_000);
            bridge.ours(from).gets(begin);
            bridge.settle();
            let came = bridge.outer(from.peer()).part.as_ref().unwrap().len();
            assert!(came > 59_900, "{client} to {backend}: {came}");
            bridge.ours(from).gets(end);
            bridge.settle();
            let whole = Heard::Message(Kind::Text, text.into_bytes());
            assert!(bridge.outer(from.peer()).heard == [whole]);
        }
    }
}

#[test]
fn a_ping_reaches_the_other_end_or_is_answered_by_us() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let to = from.peer();
            if !bridge.outer(from).version().has_ping() {
                continue;
            }
            bridge.send(from, |conn, out| conn.ping(b"there?", out));
            bridge.settle();
            let has_ping = bridge.outer(to).version().has_ping();
            let want = [Heard::Ping(b"there?".to_vec())];
            let heard = &bridge.outer(to).heard;
            assert_eq!(heard[..], want[..usize::from(has_ping)]);
            let pong = [Heard::Pong(b"there?".to_vec())];
            assert_eq!(bridge.outer(from).heard, pong, "{client} to {backend}");
        }
    }
}

#[test]
fn a_pong_that_nobody_asked_for_goes_on_where_there_are_pongs() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            if !bridge.outer(from).version().has_ping() {
                continue;
            }
            bridge.send(from, |conn, out| conn.pong(b"alive", out));
            bridge.send(from, |conn, out| conn.send(Message::text("after"), out));
            bridge.settle();
            let other = bridge.outer(from.peer());
            let after = Heard::Message(Kind::Text, b"after".to_vec());
            let mut want = vec![Heard::Pong(b"alive".to_vec()), after];
            if !other.version().has_ping() {
                want.remove(0);
            }
            assert_eq!(other.heard, want, "{client} to {backend}");
            assert_eq!(bridge.outer(from).heard, []);
        }
    }
}

#[test]
fn binary_for_a_side_without_it_ends_with_1003_and_is_not_delivered() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let (speaker, hearer) = (
                bridge.outer(from).version(),
                bridge.outer(from.peer()).version(),
            );
            if !speaker.has_binary() || hearer.has_binary() {
                continue;
            }
            bridge.send(from, |conn, out| conn.send(Message::text("before"), out));
            bridge.send(from, |conn, out| conn.send(Message::binary(b"\xff\0"), out));
            bridge.settle();
            assert_eq!(bridge.violations, [(from, Violation::BinaryUnwanted)]);
            let before = Heard::Message(Kind::Text, b"before".to_vec());
            assert_eq!(bridge.outer(from.peer()).messages(), [before]);
            if speaker.has_close_codes() {
                let told = Heard::Close(Some(1003), "binary-unwanted".to_owned());
                assert_eq!(bridge.outer(from).heard, [told], "{client} to {backend}");
            }
            assert_eq!(bridge.outer(from).violation, None);
        }
    }
}

/// How a peer of this version is told this code, after our end of `by` said it:
/// the body of its close frame, `None` where there are no close frames.
fn told(version: &Version, by: Side, code: u16, reason: &str) -> Option<Vec<u8>> {
    let draft = |code| match code {
        1009 => 1004,
        1008 => 1003,
        1010 => 1002,
        1011..=1014 => 1001,
        code => code,
    };
    let code = match (version.name, code) {
        ("hixie-75", _) => return None,
        ("hixie-76" | "hybi-03" | "hybi-04", _) => return Some(Vec::new()),
        ("hybi-05", _) if by == Side::Client => return Some(b"C".to_vec()),
        ("hybi-05", _) => return Some(b"S".to_vec()),
        (_, 1005) => return Some(Vec::new()),
        ("rfc6455", code) => code,
        // 1007 came with the draft that made text fail.
        ("hybi-06" | "hybi-07", 1007) => 1002,
        (_, code) => draft(code),
    };
    Some([&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The last frame that a client or backend was told, and that it was the only
/// close frame. `None` where it was told by the end of TCP.
fn last_words(bridge: &mut Bridge, side: Side) -> Option<Vec<u8>> {
    let node = bridge.outer(side);
    let version = node.version();
    let octets = node.came.clone();
    let Some(frames) = frames(version, side.peer(), &octets) else {
        // Masked by a secret: what its reader says must do.
        return match node.heard.last() {
            Some(Heard::Close(code, text)) => {
                assert_eq!(*code, None);
                Some(text.clone().into_bytes())
            }
            _ => None,
        };
    };
    let closes = frames.iter().filter(|f| f.op == Op::Close).count();
    assert!(closes <= 1, "{version} is told goodbye {closes} times");
    assert!(node.ends || node.conn.phase() == Phase::Closed, "{version}");
    let last = frames.last()?;
    (last.op == Op::Close).then(|| last.payload.clone())
}

const CODES: [u16; 16] = [
    1005, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999,
];

#[test]
fn each_close_code_is_told_to_each_version_as_far_as_it_can_say_it() {
    for (client, backend) in pairs() {
        for from in both() {
            for code in CODES {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let speaker = bridge.outer(from).version();
                let hearer = bridge.outer(from.peer()).version();
                // What the speaker's own version makes of it.
                let (meant, reason) = match told(speaker, from, code, "why") {
                    _ if !speaker.has_close_codes() => (
                        match (speaker.name, from) {
                            // The end of TCP: a page that is left, a server
                            // that has said all.
                            ("hixie-75", Side::Client) => 1001,
                            _ => 1000,
                        },
                        "",
                    ),
                    Some(body) if body.is_empty() => (1005, ""),
                    Some(body) => match u16::from_be_bytes([body[0], body[1]]) {
                        1004 => (1009, "why"),
                        code => (code, "why"),
                    },
                    None => unreachable!(),
                };
                bridge.close(from, code, "why");
                bridge.settle();
                let want = told(hearer, from, meant, reason);
                let heard = last_words(&mut bridge, from.peer());
                assert_eq!(heard, want, "{code} from {speaker} to {hearer}");
                for side in both() {
                    let node = bridge.outer(side);
                    let at = format!("{code} from {speaker} to {hearer}");
                    assert_eq!(node.violation, None, "{at}");
                    assert_eq!(node.conn.phase(), Phase::Closed, "{at}");
                    assert_ne!(node.end, Some(Err(Violation::Cut)), "{at}");
                }
                for way in [&bridge.forth, &bridge.back] {
                    // Each hears the other's, or, of hixie-75, its end.
                    assert!(way.goodbye().is_some(), "{code} {speaker} {hearer}");
                }
            }
        }
    }
}

#[test]
fn no_code_that_is_not_for_the_wire_is_ever_written() {
    for (client, backend) in pairs() {
        for code in [1005u16, 1006, 1015, 1004, 0, 999, 1016, 2999, 5000, 65_535] {
            for side in both() {
                // By whoever may call it, and by a peer that sends it.
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let ((), said) = bridge
                    .ours(side)
                    .talk(|conn, out| conn.close(code, "why", out));
                bridge.outer(side).gets(&said);
                let version = bridge.outer(side).version();
                if let Some(frames) = frames(version, side.peer(), &said) {
                    let body = frames.first().map_or(&[][..], |f| &f.payload);
                    if version.has_close_codes() {
                        assert_eq!(body, b"", "{code} to {version}");
                    }
                }
                bridge.settle();
                assert_eq!(bridge.outer(side).violation, None, "{code} to {version}");
            }
        }
    }
}

#[test]
fn a_close_frame_of_hybi_05_names_who_speaks_whatever_the_other_end_said() {
    // docs/versions.md: a close frame with a letter.
    let hybi_05 = named("hybi-05");
    for code in CODES {
        let mut bridge = Bridge::open(hybi_05, named("rfc6455"), Coding::Plain);
        bridge.close(Side::Server, code, "");
        bridge.settle();
        assert_eq!(
            last_words(&mut bridge, Side::Client).unwrap(),
            b"S",
            "{code}"
        );
        let mut bridge = Bridge::open(named("rfc6455"), hybi_05, Coding::Plain);
        bridge.close(Side::Client, code, "");
        bridge.settle();
        assert_eq!(
            last_words(&mut bridge, Side::Server).unwrap(),
            b"C",
            "{code}"
        );
    }
}

#[test]
fn goodbyes_that_cross_end_both_without_a_fault() {
    for (client, backend) in pairs() {
        for late in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            bridge.close(Side::Client, 1000, "client");
            bridge.close(Side::Server, 1001, "backend");
            // One of the two is heard first.
            let n = bridge.ours(late.peer()).wire.len();
            bridge.step(late.peer(), true, n);
            bridge.settle();
            for side in both() {
                let node = bridge.outer(side);
                assert_eq!(node.violation, None, "{client} {backend}");
                assert_eq!(node.conn.phase(), Phase::Closed, "{client} {backend}");
                let _ = last_words(&mut bridge, side);
            }
            assert_eq!(bridge.violations, []);
        }
    }
}

#[test]
fn what_was_said_before_a_goodbye_is_heard_before_it() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            // The other one speaks too: it has not heard the goodbye yet.
            bridge.send(from, |conn, out| conn.send(Message::text("last"), out));
            bridge.close(from, 1000, "");
            bridge.send(from.peer(), |conn, out| {
                conn.send(Message::text("crossing"), out)
            });
            let n = bridge.ours(from).wire.len();
            bridge.step(from, true, n);
            bridge.settle();
            let last = Heard::Message(Kind::Text, b"last".to_vec());
            assert_eq!(bridge.outer(from.peer()).messages(), [last]);
            // A hixie-75 that said goodbye hears no more here, and one of hixie
            // that was told goodbye, by the end of TCP, is not read any more.
            let speaker = bridge.outer(from).version();
            let hearer = bridge.outer(from.peer()).version();
            if speaker.closing != Closing::Hixie75 && hearer.layout != Layout::Hixie75 {
                let heard = bridge.outer(from).messages();
                let crossing = Heard::Message(Kind::Text, b"crossing".to_vec());
                assert_eq!(heard, [crossing], "{client} to {backend}");
            }
        }
    }
}

/// How the one who speaks stops in the middle of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Goodbye,
    EndOfTcp,
    Reset,
    Violation,
}

#[test]
fn half_a_message_is_never_made_whole_however_its_speaker_stops() {
    for (client, backend) in pairs() {
        for from in both() {
            for stop in [Stop::Goodbye, Stop::EndOfTcp, Stop::Reset, Stop::Violation] {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let speaker = bridge.outer(from).version();
                let is_hixie = speaker.layout == Layout::Hixie75;
                if is_hixie && matches!(stop, Stop::Goodbye | Stop::Violation) {
                    // Inside a text there is neither.
                    continue;
                }
                bridge.send(from, |conn, out| {
                    conn.send_piece(Kind::Text, b"half", true, false, out)
                });
                bridge.settle();
                match stop {
                    Stop::Goodbye => bridge.close(from, 1000, ""),
                    Stop::EndOfTcp => bridge.ours(from).is_cut_off(),
                    Stop::Reset => {
                        let ended = bridge.ours(from).conn.end_of_input(1);
                        assert_eq!(ended, Err(Violation::Cut));
                        bridge.lose(from, "reset");
                    }
                    Stop::Violation => {
                        let (_, said) = bridge.outer(from).talk(|conn, out| {
                            conn.ping(b"", out).unwrap();
                            conn.send_piece(Kind::Text, b"x", false, false, out)
                        });
                        // A second message inside the first.
                        bridge.ours(from).gets(&said);
                        let (mut other, _) = open(speaker, 99);
                        if from == Side::Server {
                            (_, other) = open(speaker, 99);
                        }
                        let (_, said) =
                            other.talk(|conn, out| conn.send(Message::text("new"), out));
                        bridge.ours(from).gets(&said);
                    }
                }
                bridge.settle();
                let at = format!("{client}, {backend}: {from:?} stops by {stop:?}");
                let hearer = bridge.outer(from.peer());
                let version = hearer.version();
                assert_eq!(hearer.messages(), [], "{at}");
                assert_eq!(hearer.violation, None, "{at}");
                assert!(hearer.ends, "{at}: TCP does not end");
                if let Some(frames) = frames(version, from, &hearer.came) {
                    let whole = frames
                        .iter()
                        .any(|f| f.last && !matches!(f.op, Op::Close | Op::Ping | Op::Pong));
                    assert!(!whole, "{at}: {frames:?}");
                }
                if version.layout == Layout::Hixie75 {
                    assert!(!hearer.came.contains(&0xff), "{at}");
                    assert_eq!(hearer.end, Some(Err(Violation::Cut)), "{at}");
                }
            }
        }
    }
}

#[test]
fn the_end_of_a_hixie_connection_is_a_goodbye_with_a_code() {
    for hixie in ["hixie-75", "hixie-76"].map(named) {
        for other in &VERSIONS {
            // A client that leaves, and a backend that has said all.
            for (from, code) in [(Side::Client, 1001), (Side::Server, 1000)] {
                let (client, backend) = match from {
                    Side::Client => (hixie, other),
                    Side::Server => (other, hixie),
                };
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                bridge.send(from, |conn, out| conn.send(Message::text("bye"), out));
                bridge.ours(from).is_cut_off();
                bridge.settle();
                let bye = Heard::Message(Kind::Text, b"bye".to_vec());
                assert_eq!(bridge.outer(from.peer()).messages(), [bye]);
                let heard = last_words(&mut bridge, from.peer());
                assert_eq!(heard, told(other, from, code, ""), "{hixie} to {other}");
                assert_eq!(bridge.outer(from.peer()).violation, None);
                assert_eq!(bridge.violations, []);
            }
        }
    }
}

#[test]
fn ff_00_is_a_goodbye_with_1000() {
    for other in &VERSIONS {
        let mut bridge = Bridge::open(named("hixie-76"), other, Coding::Plain);
        bridge.front.gets(&[0xff, 0]);
        bridge.settle();
        let heard = last_words(&mut bridge, Side::Server);
        assert_eq!(heard, told(other, Side::Client, 1000, ""), "{other}");
        assert_eq!(bridge.client.came, [0xff, 0], "{other}");
    }
}

#[test]
fn a_lost_backend_is_1014_and_a_lost_client_is_1001() {
    for (client, backend) in pairs() {
        for (gone, code) in [(Side::Server, 1014), (Side::Client, 1001)] {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            bridge.send(gone, |conn, out| conn.send(Message::text("whole"), out));
            bridge.settle();
            bridge.lose(gone, "reset");
            let left = gone.peer();
            let version = bridge.outer(left).version();
            // What it says back has nobody to go to.
            while bridge.step(left, false, usize::MAX) || bridge.step_end(left, false) {}
            let heard = last_words(&mut bridge, left);
            let want = told(version, gone, code, "reset");
            assert_eq!(heard, want, "{client}, {backend}");
            let node = bridge.outer(left);
            assert_eq!(node.messages().len(), 1);
            assert_eq!(node.violation, None);
            assert_eq!(node.conn.phase(), Phase::Closed);
        }
    }
}

#[test]
fn who_said_goodbye_gets_it_back_when_the_other_end_is_lost() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let speaker = bridge.outer(from).version();
            bridge.close(from, 4000, "mine");
            let n = bridge.ours(from).wire.len();
            bridge.step(from, true, n);
            bridge.step_end(from, true);
            bridge.lose(from.peer(), "close-timeout");
            while bridge.step(from, false, usize::MAX) || bridge.step_end(from, false) {}
            let heard = last_words(&mut bridge, from);
            assert_eq!(
                heard,
                told(speaker, from.peer(), 4000, ""),
                "{client}, {backend}"
            );
        }
    }
}

#[test]
fn a_protocol_error_of_one_is_told_to_it_and_ends_the_other() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let speaker = bridge.outer(from).version();
            if speaker.layout != Layout::Hybi07 {
                continue;
            }
            // A reserved bit.
            bridge.ours(from).gets(&[0xc1, 0x80]);
            bridge.ours(from).gets(&[0; 4]);
            bridge.settle();
            let told_speaker = frames(speaker, from.peer(), &bridge.outer(from).came).unwrap();
            assert_eq!(told_speaker[0].payload[..2], [0x03, 0xea], "{speaker}");
            let code = if from == Side::Client { 1001 } else { 1014 };
            let hearer = bridge.outer(from.peer()).version();
            let heard = last_words(&mut bridge, from.peer());
            assert_eq!(heard, told(hearer, from, code, "connection-cut"));
        }
    }
}

#[test]
fn a_tally_counts_messages_that_came_to_their_end_and_octets_as_they_came() {
    for (client, backend) in pairs() {
        let mut bridge = Bridge::open(client, backend, Coding::Plain);
        for text in ["", "grüße", "x"] {
            bridge.send(Side::Client, |conn, out| {
                conn.send(Message::text(text), out)
            });
        }
        bridge.send(Side::Server, |conn, out| {
            conn.send_piece(Kind::Text, b"ha", true, false, out)
        });
        bridge.settle();
        let tally = |way: &Way| (way.tally.messages, way.tally.octets);
        assert_eq!(tally(&bridge.forth), (3, 8), "{client} to {backend}");
        assert_eq!(tally(&bridge.back), (0, 2), "{client} to {backend}");
    }
}

#[test]
fn a_reason_is_carried_where_both_can_say_it() {
    let reason = "é".repeat(61);
    for client in ["hybi-06", "hybi-07", "hybi-08", "rfc6455"].map(named) {
        for backend in ["hybi-06", "hybi-07", "hybi-08", "rfc6455"].map(named) {
            for from in both() {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                bridge.close(from, 4001, &reason);
                bridge.settle();
                let heard = [Heard::Close(Some(4001), reason.clone())];
                assert_eq!(bridge.outer(from.peer()).heard, heard);
            }
        }
    }
}
