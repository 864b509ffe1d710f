//! Two ends joined in memory: any version, any messages, any chunking, and
//! what happens when octets are damaged on the way.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "support/memory.rs"]
mod memory;

use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Config, Conn, Event, Phase};
use heirloom::error::{Unsendable, Violation};
use heirloom::frame::{Kind, Message};
use heirloom::handshake::ClientRequest;
use heirloom::message::Gather;
use heirloom::version::{InvalidUtf8, Layout};
use heirloom::{Side, VERSIONS, Version, Versions};
use proptest::prelude::*;

use memory::{Received, Seeded, version};

/// One end, what is on its way to it, and what it has heard.
struct End {
    conn: Conn,
    wire: Vec<u8>,
    gather: Gather,
    heard: Vec<Received>,
    violation: Option<Violation>,
    random: Seeded,
}

impl End {
    fn new(conn: Conn, seed: u64) -> End {
        End {
            conn,
            wire: Vec::new(),
            gather: Gather::default(),
            heard: Vec::new(),
            violation: None,
            random: Seeded(seed),
        }
    }

    /// Says something; gives the octets.
    fn say(
        &mut self,
        what: impl FnOnce(&mut Conn, &mut Output<'_>) -> Result<(), Unsendable>,
    ) -> Result<Vec<u8>, Unsendable> {
        let mut said = Vec::new();
        let random = &mut self.random;
        let mut random = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
        what(&mut self.conn, &mut Output::new(&mut said, &mut random))?;
        Ok(said)
    }

    /// Eats the first `n` octets of the wire; gives what it says to them.
    fn eat(&mut self, n: usize) -> Vec<u8> {
        let mut said = Vec::new();
        let random = &mut self.random;
        let mut random = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
        let mut out = Output::new(&mut said, &mut random);
        let mut wire = std::mem::take(&mut self.wire);
        let later = wire.split_off(n);
        let mut input = Input::new(&mut wire);
        loop {
            match self.conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(Event::Request(request))) => {
                    let chosen = request.choose_subprotocol(&["chat".to_owned()]).unwrap();
                    let chosen = chosen.map(str::to_owned);
                    self.conn.accept(chosen.as_deref(), &mut out).unwrap();
                }
                Ok(Some(Event::Piece(piece))) => {
                    self.gather.add(&piece);
                    if piece.last {
                        let checked =
                            self.conn.version().unwrap().invalid_utf8 == InvalidUtf8::Fail;
                        let message = self.gather.finish(checked);
                        let (kind, octets) = (message.kind(), message.payload().to_vec());
                        self.heard.push(Received::Message(kind, octets));
                        self.gather = Gather::default();
                    }
                }
                Ok(Some(Event::Ping(octets))) => self.heard.push(Received::Ping(octets.to_vec())),
                Ok(Some(Event::Pong(octets))) => self.heard.push(Received::Pong(octets.to_vec())),
                Ok(Some(Event::Close(reason))) => {
                    self.heard
                        .push(Received::Close(reason.code, reason.text.into_owned()));
                }
                Ok(Some(_)) => {}
                Err(violation) => {
                    self.violation.get_or_insert(violation);
                }
            }
        }
        let left = input.rest().len();
        wire.drain(..wire.len() - left);
        wire.extend(later);
        self.wire = wire;
        said
    }
}

struct Pair {
    client: End,
    server: End,
    chunks: Seeded,
}

impl Pair {
    fn new(version: &'static Version, seed: u64) -> Pair {
        let mut config = Config::default();
        config.versions = Versions::ALL;
        let config = Arc::new(config);
        let mut sent = Vec::new();
        let mut random = Seeded(seed ^ 0x5eed);
        let mut fill = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
        let ask = ClientRequest {
            host: "example.com:8076",
            target: "/demo?a=b",
            secure: false,
            origin: Some("http://example.com"),
            subprotocols: &["chat"],
            headers: &[("Cookie", "a=b")],
        };
        let mut out = Output::new(&mut sent, &mut fill);
        let client = Conn::client(version, &ask, Arc::clone(&config), &mut out).unwrap();
        let mut pair = Pair {
            client: End::new(client, seed ^ 1),
            server: End::new(Conn::server(config), seed ^ 2),
            chunks: Seeded(seed ^ 3),
        };
        pair.server.wire = sent;
        pair
    }

    fn open(version: &'static Version, seed: u64) -> Pair {
        let mut pair = Pair::new(version, seed);
        pair.settle();
        assert_eq!(pair.client.conn.phase(), Phase::Open, "{version}");
        assert_eq!(pair.server.conn.phase(), Phase::Open, "{version}");
        assert_eq!(pair.server.conn.version(), Some(version));
        pair
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn send(
        &mut self,
        from: Side,
        what: impl FnOnce(&mut Conn, &mut Output<'_>) -> Result<(), Unsendable>,
    ) -> Result<(), Unsendable> {
        let said = self.end(from).say(what)?;
        self.end(from.peer()).wire.extend(said);
        Ok(())
    }

    /// Carries octets both ways, in chunks of chance, until all is quiet.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for side in [Side::Client, Side::Server] {
                let chunk = match self.chunks.next() % 4 {
                    0 => 1,
                    1 => 7,
                    2 => 200,
                    _ => usize::MAX,
                };
                // Where a chunk alone does not do, all that is there may.
                moved |= self.carry(side, chunk) || self.carry(side, usize::MAX);
            }
        }
    }

    /// Lets an end eat a chunk of its wire; whether anything came of it.
    fn carry(&mut self, to: Side, chunk: usize) -> bool {
        let end = self.end(to);
        let before = end.wire.len();
        let said = end.eat(chunk.min(before));
        let moved = end.wire.len() != before || !said.is_empty();
        self.end(to.peer()).wire.extend(said);
        moved
    }
}

fn message() -> impl Strategy<Value = (bool, bool, String, usize)> {
    let long = prop_oneof![Just(0usize), Just(1), 120usize..130, 65_530usize..65_540];
    (any::<bool>(), any::<bool>(), "\\PC{0,40}", long)
}

fn octets_of(text: &str, long: usize) -> String {
    let mut text = text.to_owned();
    text.extend(std::iter::repeat_n('x', long));
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_one_end_sends_the_other_hears(
        version in version(),
        messages in prop::collection::vec(message(), 1..8),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(version, seed);
        let mut want = [Vec::new(), Vec::new()];
        for (from_client, text, words, long) in messages {
            let from = if from_client { Side::Client } else { Side::Server };
            let words = octets_of(&words, long);
            let kind = if text || !version.has_binary() { Kind::Text } else { Kind::Binary };
            pair.send(from, |conn, out| {
                let message = match kind {
                    Kind::Text => Message::text(&words),
                    Kind::Binary => Message::binary(words.as_bytes()),
                };
                conn.send(message, out)
            }).unwrap();
            want[usize::from(from_client)].push(Received::Message(kind, words.into_bytes()));
            if seed % 3 == 0 {
                pair.settle();
            }
        }
        pair.settle();
        prop_assert_eq!(&pair.client.heard, &want[0]);
        prop_assert_eq!(&pair.server.heard, &want[1]);
    }

    #[test]
    fn a_message_in_pieces_is_heard_whole(
        version in version(),
        words in "\\PC{0,200}",
        cut in any::<prop::sample::Index>(),
        from_client in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(version, seed);
        let from = if from_client { Side::Client } else { Side::Server };
        let (head, tail) = words.as_bytes().split_at(cut.index(words.len() + 1));
        pair.send(from, |conn, out| {
            conn.send_piece(Kind::Text, head, true, false, out)?;
            if version.has_ping() {
                conn.ping(b"between", out)?;
            }
            conn.send_piece(Kind::Text, tail, false, true, out)
        }).unwrap();
        pair.settle();
        let mut want = vec![Received::Message(Kind::Text, words.clone().into_bytes())];
        if version.has_ping() {
            want.insert(0, Received::Ping(b"between".to_vec()));
        }
        prop_assert_eq!(&pair.end(from.peer()).heard, &want);
    }

    #[test]
    fn either_end_may_say_goodbye(
        version in version(),
        from_client in any::<bool>(),
        crossing in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(version, seed);
        let from = if from_client { Side::Client } else { Side::Server };
        let bye = |conn: &mut Conn, out: &mut Output<'_>| {
            conn.close(1000, "bye", out);
            Ok(())
        };
        pair.send(from, bye).unwrap();
        if crossing {
            pair.send(from.peer(), bye).unwrap();
        }
        pair.settle();
        let other = pair.end(from.peer());
        prop_assert_eq!(other.violation, None);
        if version.name == "hixie-75" {
            // Nothing is said; TCP ends.
            prop_assert!(other.heard.is_empty());
            prop_assert_eq!(other.conn.end_of_input(0), Ok(()));
        } else {
            let code = version.has_close_codes().then_some(1000);
            let heard = matches!(&other.heard[..], [Received::Close(c, _)] if *c == code);
            prop_assert!(heard, "{:?}", other.heard);
            prop_assert_eq!(pair.client.conn.phase(), Phase::Closed);
            prop_assert_eq!(pair.server.conn.phase(), Phase::Closed);
        }
    }

    #[test]
    fn damage_on_the_way_never_panics_and_never_passes_text_that_is_not_utf8(
        version in version(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        from_client in any::<bool>(),
        in_handshake in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut pair = if in_handshake {
            Pair::new(version, seed)
        } else {
            Pair::open(version, seed)
        };
        let from = if from_client && !in_handshake { Side::Client } else { Side::Server };
        if !in_handshake {
            pair.send(from, |conn, out| {
                conn.send(Message::text("grüße, a text of some length"), out)?;
                conn.close(1000, "bye", out);
                Ok(())
            }).unwrap();
        }
        let wire = &mut pair.end(from.peer()).wire;
        if !wire.is_empty() {
            for (at, octet) in damage {
                let at = at.index(wire.len());
                wire[at] = octet;
            }
        }
        pair.settle();
        for heard in pair.client.heard.iter().chain(&pair.server.heard) {
            if let Received::Message(Kind::Text, octets) = heard {
                prop_assert!(std::str::from_utf8(octets).is_ok());
            }
        }
    }

    #[test]
    fn a_server_survives_any_octets(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut server = End::new(Conn::server(Arc::default()), 1);
        server.wire = octets;
        let n = server.wire.len();
        server.eat(n);
    }

    #[test]
    fn an_open_end_survives_any_octets(
        version in version(),
        octets in prop::collection::vec(any::<u8>(), 0..600),
        to_client in any::<bool>(),
    ) {
        let mut pair = Pair::open(version, 1);
        let end = pair.end(if to_client { Side::Client } else { Side::Server });
        end.wire.extend(octets);
        let n = end.wire.len();
        end.eat(n);
        let left = end.wire.len();
        prop_assert!(left <= 140, "{left} octets wait to be shown again");
    }
}

#[test]
fn what_a_version_cannot_say_is_an_error_and_writes_nothing() {
    for version in &VERSIONS {
        let mut pair = Pair::open(version, 7);
        let binary = pair
            .client
            .say(|conn, out| conn.send(Message::binary(b"x"), out));
        let ping = pair.client.say(|conn, out| conn.ping(b"x", out));
        if version.layout == Layout::Hixie75 {
            assert_eq!(binary, Err(Unsendable::NoBinary(version)));
            assert_eq!(ping, Err(Unsendable::NoPing(version)));
        } else {
            assert!(binary.is_ok() && ping.is_ok());
            let long = pair.client.say(|conn, out| conn.ping(&[0; 126], out));
            assert_eq!(long, Err(Unsendable::ControlTooLong(126)));
        }
    }
}

#[test]
fn pieces_come_in_order_and_are_utf8() {
    for version in &VERSIONS {
        let mut pair = Pair::open(version, 7);
        let client = &mut pair.client;
        let piece = |octets, first, last| {
            move |conn: &mut Conn, out: &mut Output<'_>| {
                conn.send_piece(Kind::Text, octets, first, last, out)
            }
        };
        let tail = client.say(piece(b"x", false, true));
        assert_eq!(tail, Err(Unsendable::PieceWithoutFirst));
        let cut = client.say(piece(b"\xc3", true, true));
        assert_eq!(cut, Err(Unsendable::TextNotUtf8));
        client.say(piece(b"\xc3", true, false)).unwrap();
        let whole = client.say(|conn, out| conn.send(Message::text("x"), out));
        assert_eq!(whole, Err(Unsendable::MessageUnfinished));
        assert_eq!(
            client.say(piece(b"\xa4", true, true)),
            Err(Unsendable::MessageUnfinished)
        );
        client.say(piece(b"\xa4", false, true)).unwrap();
    }
}

#[test]
fn half_a_hixie_text_is_never_completed_by_a_goodbye() {
    let version = Version::named("hixie-76").unwrap();
    let mut pair = Pair::open(version, 7);
    let said = pair.server.say(|conn, out| {
        conn.send_piece(Kind::Text, b"half", true, false, out)?;
        conn.close(1001, "", out);
        Ok(())
    });
    assert_eq!(said.unwrap(), b"\0half");
    assert_eq!(pair.server.conn.phase(), Phase::Closed);
}
