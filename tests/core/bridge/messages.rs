//! Messages: whole, in pieces, with replaced text, and octets that are no
//! messages.

use heirloom::Side;
use heirloom::conn::{Coding, Direction, FRAGMENT};
use heirloom::error::Violation;
use heirloom::message::{Kind, Message};
use heirloom::version::Layout;
use proptest::prelude::*;

use super::joined::{Bridge, both, cut, pairs};
use crate::memory::Received;
use crate::pair::version;

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
struct Sent {
    from_client: bool,
    binary: bool,
    text: String,
    /// Where it is cut into pieces.
    cuts: Vec<prop::sample::Index>,
    /// A ping after the first piece.
    ping: bool,
    /// All of it arrives before the next is sent.
    settle: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let bools = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (bools, text(), cuts).prop_map(|((from_client, binary, ping, settle), text, cuts)| Sent {
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
    fn a_message_that_is_carried_whole_gives_the_octets_that_it_gives_in_pieces(
        client in version(),
        backend in version(),
        coding in prop_oneof![Just(Coding::Plain), Just(Coding::Encode), Just(Coding::Decode)],
        all in prop::collection::vec((sent(), any::<bool>()), 1..8),
        seed in any::<u64>(),
    ) {
        let run = |carries_whole| {
            let mut bridge = Bridge::seeded(client, backend, coding, seed);
            bridge.carries_whole = carries_whole;
            for (sent, is_invalid) in &all {
                let side = if sent.from_client { Side::Client } else { Side::Server };
                let can_send = bridge.outer(side).conn().can_send();
                if !can_send || bridge.ours(side).conn().version().is_none() {
                    break;
                }
                let mut octets = sent.text.clone().into_bytes();
                if *is_invalid {
                    octets.insert(octets.len() / 2, 0xc0);
                }
                let has_binary = bridge.outer(side).version().has_binary();
                if sent.binary && has_binary {
                    bridge.send(side, |conn, out| conn.send(Message::binary(&octets), out));
                } else if *is_invalid && has_binary {
                    bridge.send_octets_as_text(side, &[&octets]);
                } else {
                    bridge.send(side, |conn, out| conn.send(Message::text(&sent.text), out));
                }
                // All that is there in one step, so that both read the same.
                while bridge.step(side, true, usize::MAX) {}
            }
            (bridge.wire, bridge.violations, bridge.to_backend.tally, bridge.to_client.tally)
        };
        prop_assert_eq!(run(true), run(false));
    }

    #[test]
    fn what_one_side_sends_the_other_receives_whole_once_and_in_order(
        client in version(),
        backend in version(),
        all in prop::collection::vec(sent(), 1..8),
        seed in any::<u64>(),
    ) {
        let mut bridge = Bridge::seeded(client, backend, Coding::Plain, seed);
        let has_binary = client.has_binary() && backend.has_binary();
        // By the end that receives it.
        let (mut to_client, mut to_backend) = (Vec::new(), Vec::new());
        let mut pongs = [0, 0];
        for (n, sent) in all.into_iter().enumerate() {
            let (from, version, other) = if sent.from_client {
                (Side::Client, client, backend)
            } else {
                (Side::Server, backend, client)
            };
            let kind = if sent.binary && has_binary { Kind::Binary } else { Kind::Text };
            let pieces = cut(sent.text.as_bytes(), &sent.cuts);
            let pings = sent.ping && version.has_ping();
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
            let received = if sent.from_client { &mut to_backend } else { &mut to_client };
            let whole = Received::Message(kind, sent.text.clone().into_bytes());
            let ping = Received::Ping(name.to_vec());
            // A ping stands before the message it interrupts.
            if pings && other.has_ping() && pieces.len() > 1 {
                received.extend([ping, whole]);
            } else if pings && other.has_ping() {
                received.extend([whole, ping]);
            } else {
                received.push(whole);
            }
            pongs[usize::from(sent.from_client)] += usize::from(pings);
            if sent.settle {
                bridge.settle();
            }
        }
        bridge.settle();
        for (end, want, pongs) in [
            (&bridge.client, to_client, pongs[1]),
            (&bridge.backend, to_backend, pongs[0]),
        ] {
            let is_pong = |received: &Received| matches!(received, Received::Pong(_));
            let (received_pongs, received): (Vec<Received>, Vec<Received>) =
                end.received.iter().cloned().partition(is_pong);
            prop_assert_eq!(received, want);
            // Each ping has its pong, of the other end or ours.
            prop_assert_eq!(received_pongs.len(), pongs);
            prop_assert_eq!(&end.violation, &None);
        }
        prop_assert_eq!(bridge.violations, vec![]);
    }

    #[test]
    fn text_that_is_not_utf8_is_passed_on_replaced_as_the_whole_would_be(
        from_version in version().prop_filter("replaces", |v| !v.checks_text()),
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
        let replaced = String::from_utf8_lossy(&octets).into_owned();
        let want = [replaced.as_str(), "after"].map(Received::text);
        // As it is on the wire: `settle` asserts that nothing more is replaced.
        prop_assert_eq!(&bridge.outer(from.peer()).received, &want);
        prop_assert_eq!(bridge.violations, vec![]);
    }

    #[test]
    fn whatever_octets_arrive_neither_end_panics_nor_receives_text_that_is_not_utf8(
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
        bridge.ours(from).add_incoming(&junk);
        bridge.settle();
        let other = bridge.outer(from.peer());
        prop_assert_eq!(&other.violation, &None, "we send nothing wrong");
        for received in &other.received {
            if let Received::Message(Kind::Text, octets) = received {
                prop_assert!(std::str::from_utf8(octets).is_ok());
            }
        }
    }
}

/// Whether text waits for its end: it has no length, and for the other end it
/// must have one.
fn is_held(bridge: &mut Bridge, from: Side) -> bool {
    let [sender, receiver] = [from, from.peer()].map(|side| bridge.outer(side).version().layout);
    sender == Layout::Hixie75 && receiver != Layout::Hixie75
}

#[test]
fn fragments_are_passed_on_as_they_arrive_and_are_not_gathered() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            if is_held(&mut bridge, from) {
                continue;
            }
            for (i, piece) in ["one ", "two ", "three"].iter().enumerate() {
                bridge.send(from, |conn, out| {
                    conn.send_piece(Kind::Text, piece.as_bytes(), i == 0, i == 2, out)
                });
                bridge.settle();
                let other = bridge.outer(from.peer());
                let sofar = ["one ", "one two ", "one two three"][i].as_bytes().to_vec();
                if i < 2 {
                    assert_eq!(other.part, sofar, "{client} to {backend}");
                } else {
                    assert_eq!(other.received, [Received::text(sofar)]);
                }
            }
        }
    }
}

#[test]
fn a_long_frame_is_passed_on_while_it_arrives() {
    // What has arrived goes on: no more waits for the rest than a fragment.
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let text = "x".repeat(100_000);
            let (_, sent) = bridge
                .outer(from)
                .send(|conn, out| conn.send(Message::text(&text), out));
            let (start, end) = sent.split_at(90_000);
            bridge.ours(from).add_incoming(start);
            bridge.settle();
            let arrived = bridge.outer(from.peer()).part.len();
            let least = if is_held(&mut bridge, from) {
                FRAGMENT
            } else {
                89_900
            };
            assert!(arrived >= least, "{client} to {backend}: {arrived}");
            bridge.ours(from).add_incoming(end);
            bridge.settle();
            let whole = Received::text(text);
            assert!(bridge.outer(from.peer()).received == [whole]);
        }
    }
}

#[test]
fn binary_for_a_side_without_it_ends_with_1003_and_is_not_delivered() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let (sender, receiver) = (
                bridge.outer(from).version(),
                bridge.outer(from.peer()).version(),
            );
            if !sender.has_binary() || receiver.has_binary() {
                continue;
            }
            bridge.send(from, |conn, out| conn.send(Message::text("before"), out));
            bridge.send(from, |conn, out| conn.send(Message::binary(b"\xff\0"), out));
            bridge.settle();
            assert_eq!(bridge.violations, [(from, Violation::BinaryUnwanted)]);
            let before = Received::text("before");
            assert_eq!(bridge.outer(from.peer()).messages(), [before]);
            if sender.has_close_codes() {
                let close = Received::Close(Some(1003), "binary-unwanted".to_owned());
                assert_eq!(
                    bridge.outer(from).received,
                    [close],
                    "{client} to {backend}"
                );
            }
            assert_eq!(bridge.outer(from).violation, None);
        }
    }
}

#[test]
fn a_tally_counts_messages_that_ended_and_octets_as_they_arrive() {
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
        assert_eq!(tally(&bridge.to_backend), (3, 8), "{client} to {backend}");
        assert_eq!(tally(&bridge.to_client), (0, 2), "{client} to {backend}");
    }
}
