//! Messages: whole, in pieces, mended, and octets that are none.

use heirloom::Side;
use heirloom::conn::{Coding, Direction};
use heirloom::error::Violation;
use heirloom::frame::{Kind, Message};
use heirloom::version::Layout;
use proptest::prelude::*;

use crate::bridge::{Bridge, both, cut, pairs};
use crate::memory::{Received, version};

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
            let whole = Received::Message(kind, said.text.clone().into_bytes());
            let ping = Received::Ping(name.to_vec());
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
            let is_pong = |heard: &Received| matches!(heard, Received::Pong(_));
            let (heard_pongs, heard): (Vec<Received>, Vec<Received>) =
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
            .map(|text| Received::Message(Kind::Text, text.as_bytes().to_vec()));
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
            if let Received::Message(Kind::Text, octets) = heard {
                prop_assert!(std::str::from_utf8(octets).is_ok());
            }
        }
    }
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
                    assert_eq!(other.heard, [Received::Message(Kind::Text, sofar)]);
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
            let whole = Received::Message(Kind::Text, text.into_bytes());
            assert!(bridge.outer(from.peer()).heard == [whole]);
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
            let before = Received::Message(Kind::Text, b"before".to_vec());
            assert_eq!(bridge.outer(from.peer()).messages(), [before]);
            if speaker.has_close_codes() {
                let told = Received::Close(Some(1003), "binary-unwanted".to_owned());
                assert_eq!(bridge.outer(from).heard, [told], "{client} to {backend}");
            }
            assert_eq!(bridge.outer(from).violation, None);
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
        let tally = |direction: &Direction| (direction.tally.messages, direction.tally.octets);
        assert_eq!(tally(&bridge.forth), (3, 8), "{client} to {backend}");
        assert_eq!(tally(&bridge.back), (0, 2), "{client} to {backend}");
    }
}
