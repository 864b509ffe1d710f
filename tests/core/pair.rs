//! Two ends joined in memory: any version, any messages, any portions, and
//! what happens when octets are damaged on the way.

use heirloom::bytes::Output;
use heirloom::conn::{Conn, Phase};
use heirloom::error::{Unsendable, Violation};
use heirloom::handshake::ClientRequest;
use heirloom::message::{Kind, Message};
use heirloom::version::{Challenge, Layout};
use heirloom::{Side, VERSIONS, Version};
use proptest::prelude::*;

use crate::memory::{End, Received, Seeded, config, dial, open};

/// A client and a server, and the portions in which octets arrive.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    portions: Seeded,
}

impl Pair {
    fn new((client, server): (End, End), seed: u64) -> Pair {
        Pair {
            client,
            server,
            portions: Seeded(seed ^ 3),
        }
    }

    /// The request is on its way.
    fn dialled(version: &'static Version, seed: u64) -> Pair {
        Pair::new(dial(version, &config(), seed), seed)
    }

    /// The handshake is done.
    pub(crate) fn open(version: &'static Version, seed: u64) -> Pair {
        Pair::new(open(version, &config(), seed), seed)
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    pub(crate) fn send(
        &mut self,
        from: Side,
        send: impl FnOnce(&mut Conn, &mut Output<'_>) -> Result<(), Unsendable>,
    ) -> Result<(), Unsendable> {
        let (result, sent) = self.end(from).send(send);
        self.end(from.peer()).add_incoming(&sent);
        result
    }

    /// Carries octets both ways, in random portions, until none are left.
    pub(crate) fn settle(&mut self) {
        while !(self.client.incoming.is_empty() && self.server.incoming.is_empty()) {
            for side in [Side::Client, Side::Server] {
                let portion = match self.portions.next() % 4 {
                    0 => 1,
                    1 => 7,
                    2 => 200,
                    _ => usize::MAX,
                };
                self.carry(side, portion);
            }
        }
    }

    /// Lets an end read a portion of what is on its way to it.
    pub(crate) fn carry(&mut self, to: Side, portion: usize) {
        let end = self.end(to);
        let sent = end.read(portion.min(end.incoming.len()));
        self.end(to.peer()).add_incoming(&sent);
    }
}

pub(crate) fn version() -> impl Strategy<Value = &'static Version> {
    (0..VERSIONS.len()).prop_map(|i| &VERSIONS[i])
}

pub(crate) fn side(from_client: bool) -> Side {
    if from_client {
        Side::Client
    } else {
        Side::Server
    }
}

fn message() -> impl Strategy<Value = (bool, bool, String, usize)> {
    let long = prop_oneof![Just(0usize), Just(1), 120usize..130, 65_530usize..65_540];
    (any::<bool>(), any::<bool>(), "\\PC{0,40}", long)
}

fn lengthened(text: &str, by: usize) -> String {
    let mut text = text.to_owned();
    text.extend(std::iter::repeat_n('x', by));
    text
}

/// The browsers of hixie-75 and hixie-76 compare the location with the URL that they
/// dialled.
#[test]
fn a_client_inside_tls_agrees_with_a_server_that_knows_of_it_and_with_no_other() {
    for version in VERSIONS {
        let request = ClientRequest::new("example.com:8076", "/demo")
            .with_secure(true)
            .with_origin("https://example.com");
        let compares = [Challenge::Hixie75, Challenge::Hixie76].contains(&version.challenge);
        for knows in [true, false] {
            let (mut sent, mut random) = (Vec::new(), Seeded(7));
            let mut out = Output::new(&mut sent, &mut random);
            let client = Conn::client(version, &request, config(), &mut out).unwrap();
            let mut server = Conn::server(config());
            if knows {
                server.set_secure();
            }
            let mut pair = Pair::new((End::new(client, 1), End::new(server, 2)), 3);
            pair.server.add_incoming(&sent);
            pair.settle();
            let violation = (compares && !knows).then_some(Violation::LocationMismatch);
            let found = pair.client.violation.as_ref().map(|located| &located.error);
            assert_eq!(found, violation.as_ref(), "{version}");
            let is_open = pair.client.conn().phase() == Phase::Open;
            assert_eq!(is_open, violation.is_none(), "{version}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_one_end_sends_the_other_receives(
        version in version(),
        messages in prop::collection::vec(message(), 1..8),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(version, seed);
        let mut want = [Vec::new(), Vec::new()];
        for (from_client, text, words, long) in messages {
            let words = lengthened(&words, long);
            let kind = if text || !version.has_binary() { Kind::Text } else { Kind::Binary };
            pair.send(side(from_client), |conn, out| {
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
        prop_assert_eq!(&pair.client.received, &want[0]);
        prop_assert_eq!(&pair.server.received, &want[1]);
    }

    #[test]
    fn a_message_in_pieces_is_received_whole(
        version in version(),
        words in "\\PC{0,200}",
        cut in any::<prop::sample::Index>(),
        from_client in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(version, seed);
        let from = side(from_client);
        let (head, tail) = words.as_bytes().split_at(cut.index(words.len() + 1));
        pair.send(from, |conn, out| {
            conn.send_piece(Kind::Text, head, true, false, out)?;
            if version.has_ping() {
                conn.ping(b"between", out)?;
            }
            conn.send_piece(Kind::Text, tail, false, true, out)
        }).unwrap();
        pair.settle();
        let mut want = vec![Received::text(&words)];
        if version.has_ping() {
            want.insert(0, Received::Ping(b"between".to_vec()));
        }
        prop_assert_eq!(&pair.end(from.peer()).received, &want);
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
            Pair::dialled(version, seed)
        } else {
            Pair::open(version, seed)
        };
        let from = side(from_client || in_handshake);
        if !in_handshake {
            pair.send(from, |conn, out| {
                conn.send(Message::text("grüße, a text of some length"), out)?;
                conn.close(1000, "bye", out);
                Ok(())
            }).unwrap();
        }
        let incoming = &mut pair.end(from.peer()).incoming;
        for (at, octet) in damage {
            let at = at.index(incoming.len());
            incoming[at] = octet;
        }
        pair.settle();
        for received in pair.client.received.iter().chain(&pair.server.received) {
            if let Received::Message(Kind::Text, octets) = received {
                prop_assert!(std::str::from_utf8(octets).is_ok());
            }
        }
    }

    #[test]
    fn a_server_survives_any_octets(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let n = octets.len();
        let mut server = End::new(Conn::server(config()), 1);
        server.add_incoming(&octets);
        server.read(n);
    }

    #[test]
    fn an_open_end_survives_any_octets(
        version in version(),
        octets in prop::collection::vec(any::<u8>(), 0..600),
        to_client in any::<bool>(),
    ) {
        let mut pair = Pair::open(version, 1);
        let end = pair.end(side(to_client));
        end.add_incoming(&octets);
        end.read(octets.len());
        let left = end.session.unparsed().len();
        prop_assert!(left <= 140, "{left} octets are kept");
    }
}

#[test]
fn what_a_version_cannot_send_is_an_error_and_writes_nothing() {
    for version in VERSIONS {
        let mut client = Pair::open(version, 7).client;
        let (binary, sent) = client.send(|conn, out| conn.send(Message::binary(b"x"), out));
        let (ping, more) = client.send(|conn, out| conn.ping(b"x", out));
        if version.layout == Layout::Hixie75 {
            assert_eq!(binary, Err(Unsendable::NoBinary(version)));
            assert_eq!(ping, Err(Unsendable::NoPing(version)));
            assert!(sent.is_empty() && more.is_empty());
        } else {
            assert!(binary.is_ok() && ping.is_ok());
            let (long, sent) = client.send(|conn, out| conn.ping(&[0; 126], out));
            assert_eq!(long, Err(Unsendable::ControlTooLong(126)));
            assert!(sent.is_empty());
        }
    }
}

#[test]
fn pieces_are_sent_in_order_and_are_utf8() {
    for version in VERSIONS {
        let mut client = Pair::open(version, 7).client;
        let mut piece = |octets: &[u8], first, last| {
            let send = |conn: &mut Conn, out: &mut Output<'_>| {
                conn.send_piece(Kind::Text, octets, first, last, out)
            };
            let (result, sent) = client.send(send);
            assert_eq!(result.is_err(), sent.is_empty());
            result
        };
        let unfinished = Err(Unsendable::MessageUnfinished);
        assert_eq!(piece(b"x", false, true), Err(Unsendable::PieceWithoutFirst));
        assert_eq!(piece(b"\xc3", true, true), Err(Unsendable::TextNotUtf8));
        piece(b"\xc3", true, false).unwrap();
        assert_eq!(piece(b"\xa4", true, true), unfinished);
        piece(b"\xa4", false, false).unwrap();
        let (whole, _) = client.send(|conn, out| conn.send(Message::text("x"), out));
        assert_eq!(whole, unfinished);
    }
}

#[test]
fn half_a_hixie_text_is_never_completed_by_a_close() {
    let version = Version::named("hixie-76").unwrap();
    let mut server = Pair::open(version, 7).server;
    let (sent, octets) = server.send(|conn, out| {
        let sent = conn.send_piece(Kind::Text, b"half", true, false, out);
        conn.close(1001, "", out);
        sent
    });
    assert_eq!((sent, &octets[..]), (Ok(()), &b"\0half"[..]));
    assert_eq!(server.conn().phase(), Phase::Closed);
}

/// Without the key that is made in its handshake, hybi-04 is read by a client
/// and sent by neither side.
#[test]
fn hybi_04_is_not_sent_without_its_key() {
    let hybi_04 = Version::named("hybi-04").unwrap();
    for version in VERSIONS {
        let server = Conn::opened(Side::Server, version, config());
        assert_eq!(server.is_err(), version == hybi_04, "{version}");
    }
    let refused = Conn::opened(Side::Server, hybi_04, config()).err();
    assert_eq!(refused, Some(Unsendable::NoMaskingKey));
    let mut server = Pair::open(hybi_04, 7).server;
    let (_, text) = server.send(|conn, out| conn.send(Message::text("readable"), out));
    let response = {
        let (mut client, mut server) = dial(hybi_04, &config(), 7);
        let response = server.read(server.incoming.len());
        client.add_incoming(&response);
        response
    };
    let without_key = [
        (
            Conn::opened(Side::Client, hybi_04, config()).unwrap(),
            &[][..],
        ),
        (Conn::client_after_response(hybi_04, config()), &[]),
        (
            Conn::client_without_request(Some(hybi_04), config()),
            &response,
        ),
    ];
    for (conn, before) in without_key {
        let mut client = End::new(conn, 7);
        client.add_incoming(before);
        client.add_incoming(&text);
        let mut sent = client.read(client.incoming.len());
        assert_eq!(client.received, [Received::text("readable")]);
        let (results, octets) = client.send(|conn, out| {
            let results = [
                conn.send(Message::text("x"), out),
                conn.send(Message::binary(b"x"), out),
                conn.send_piece(Kind::Text, b"x", true, true, out),
                conn.ping(b"x", out),
                conn.pong(b"x", out),
            ];
            conn.close(1000, "x", out);
            results
        });
        sent.extend(octets);
        assert_eq!(results, [Err(Unsendable::NoMaskingKey); 5]);
        assert_eq!(sent, b"");
    }
}
