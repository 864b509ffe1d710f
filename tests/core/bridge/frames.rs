//! Frames stay as they are: one in is one out, however it arrives.

use heirloom::conn::{Coding, FRAGMENT, Phase};
use heirloom::error::Violation;
use heirloom::message::{Kind, Message};
use heirloom::version::Layout;
use heirloom::{Side, Version};

use super::joined::{Bridge, both, named, pairs};
use super::wire::{Frame, Op, frames};
use crate::memory::Received;

/// The lengths and ends of the frames of a message that arrived.
fn lengths(frames: &[Frame]) -> Vec<(usize, bool)> {
    frames.iter().map(|f| (f.payload.len(), f.last)).collect()
}

fn has_lengths(version: &Version) -> bool {
    version.layout != Layout::Hixie75
}

#[test]
fn one_frame_in_is_one_frame_out_however_it_arrives() {
    for (client, backend) in pairs() {
        for from in both() {
            for (seed, length) in [0, 1, 125, 126, 3000, 65_535, 65_536, 65_537, 300_000]
                .into_iter()
                .enumerate()
            {
                for kind in [Kind::Text, Kind::Binary] {
                    let mut bridge = Bridge::seeded(client, backend, Coding::Plain, seed as u64);
                    let (sender, receiver) = (
                        bridge.outer(from).version(),
                        bridge.outer(from.peer()).version(),
                    );
                    if !has_lengths(sender) || !has_lengths(receiver) {
                        continue;
                    }
                    let payload = vec![b'x'; length];
                    bridge.send(from, |conn, out| {
                        conn.send_piece(kind, &payload, true, true, out)
                    });
                    bridge.settle();
                    let receiver = bridge.outer(from.peer());
                    assert_eq!(receiver.received.len(), 1, "{client} {backend} {length}");
                    let version = receiver.version();
                    let Some(frames) = frames(version, from, &receiver.arrived) else {
                        continue;
                    };
                    assert_eq!(lengths(&frames), [(length, true)], "{client} to {backend}");
                }
            }
        }
    }
}

#[test]
fn three_fragments_in_are_three_out_and_one_text_for_hixie() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::seeded(client, backend, Coding::Plain, 3);
            if !has_lengths(bridge.outer(from).version()) {
                continue;
            }
            // Each cuts a character, and one is empty.
            let text = "é".repeat(50_000);
            let (one, rest) = text.as_bytes().split_at(70_001);
            let pieces = [one, &[], rest];
            bridge.send(from, |conn, out| {
                for (i, piece) in pieces.iter().enumerate() {
                    conn.send_piece(Kind::Text, piece, i == 0, i == 2, out)?;
                }
                Ok(())
            });
            bridge.settle();
            let receiver = bridge.outer(from.peer());
            assert!(receiver.received == [Received::text(&text)]);
            let Some(frames) = frames(receiver.version(), from, &receiver.arrived) else {
                continue;
            };
            let want = if has_lengths(receiver.version()) {
                vec![(70_001, false), (0, false), (29_999, true)]
            } else {
                vec![(100_000, true)]
            };
            assert_eq!(lengths(&frames), want, "{client} to {backend}");
        }
    }
}

#[test]
fn a_hixie_text_becomes_one_frame_or_fragments_of_one_size() {
    for (length, want) in [
        (0, vec![(0, true)]),
        (3000, vec![(3000, true)]),
        (FRAGMENT, vec![(FRAGMENT, true)]),
        (FRAGMENT + 1, vec![(FRAGMENT, false), (1, true)]),
        (
            200_000,
            vec![
                (FRAGMENT, false),
                (FRAGMENT, false),
                (FRAGMENT, false),
                (200_000 - 3 * FRAGMENT, true),
            ],
        ),
    ] {
        for seed in 0..8 {
            for from in both() {
                let (client, backend) = match from {
                    Side::Client => ("hixie-76", "rfc6455"),
                    Side::Server => ("rfc6455", "hixie-76"),
                };
                let mut bridge = Bridge::seeded(named(client), named(backend), Coding::Plain, seed);
                let text = "x".repeat(length);
                bridge.send(from, |conn, out| conn.send(Message::text(&text), out));
                bridge.settle();
                let receiver = bridge.outer(from.peer());
                let frames = frames(receiver.version(), from, &receiver.arrived).unwrap();
                assert_eq!(lengths(&frames), want);
            }
        }
    }
}

#[test]
fn half_a_frame_whose_sender_is_gone_ends_with_tcp_and_without_a_close() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let sender = bridge.outer(from).version();
            let receiver = bridge.outer(from.peer()).version();
            if !has_lengths(sender) || !has_lengths(receiver) {
                continue;
            }
            let (_, sent) = bridge
                .outer(from)
                .send(|conn, out| conn.send(Message::binary(&[7; 1000]), out));
            bridge.ours(from).add_incoming(&sent[..500]);
            bridge.settle();
            let before = bridge.outer(from.peer()).arrived.len();
            assert!(before > 480, "{client} to {backend}: {before}");
            bridge.lose(from, "reset");
            bridge.settle();
            assert_eq!(bridge.ours(from.peer()).conn().phase(), Phase::Closed);
            let receiver = bridge.outer(from.peer());
            assert_eq!(receiver.arrived.len(), before, "{client} to {backend}");
            assert!(receiver.input_ends);
            assert_eq!(receiver.received, []);
            assert_eq!(receiver.end_of_input, Some(Err(Violation::ConnectionCut)));
        }
    }
}

#[test]
fn what_crosses_half_a_frame_is_not_written_into_it() {
    let mut bridge = Bridge::open(named("rfc6455"), named("rfc6455"), Coding::Plain);
    let (_, sent) = bridge
        .client
        .send(|conn, out| conn.send(Message::text(&"x".repeat(1000)), out));
    bridge.front.add_incoming(&sent[..500]);
    bridge.settle();
    // The backend closes; what the client was sending goes on.
    bridge.send(Side::Server, |conn, out| conn.ping(b"p", out));
    bridge.close(Side::Server, 4000, "why");
    bridge.step(Side::Server, true, usize::MAX);
    bridge.front.add_incoming(&sent[500..]);
    bridge.settle();
    let want = [
        Received::Ping(b"p".to_vec()),
        Received::Close(Some(4000), "why".to_owned()),
    ];
    assert_eq!(bridge.client.received, want);
    let frames = frames(named("rfc6455"), Side::Client, &bridge.backend.arrived).unwrap();
    assert_eq!(frames[0].payload.len(), 1000);
    assert!(
        frames[1..]
            .iter()
            .all(|f| matches!(f.op, Op::Pong | Op::Close))
    );
}

#[test]
fn a_long_text_that_is_not_utf8_fails_where_its_length_was_sent() {
    // Versions before hybi-08 replace, and U+FFFD has another length.
    for (length, fails) in [(1000, false), (FRAGMENT, false), (FRAGMENT + 1, true)] {
        let mut bridge = Bridge::open(named("hybi-07"), named("rfc6455"), Coding::Plain);
        let mut text = vec![b'x'; length];
        text[length / 2] = 0xff;
        bridge.send_octets_as_text(Side::Client, &[&text]);
        bridge.settle();
        if fails {
            let want = [(Side::Client, Violation::Utf8Invalid)];
            assert_eq!(bridge.violations, want);
            assert_eq!(bridge.backend.messages(), []);
        } else {
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(bridge.backend.received == [Received::text(text)]);
            let frames = frames(named("rfc6455"), Side::Client, &bridge.backend.arrived);
            assert_eq!(frames.unwrap().len(), 1, "{length}");
        }
    }
}

#[test]
fn a_character_may_straddle_short_and_long_frames() {
    let text = "é".repeat(100_000);
    let text = text.as_bytes();
    let cuts = [1, 70_002, 70_003, 150_004];
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in cuts.into_iter().chain([text.len()]) {
        pieces.push(&text[from..to]);
        from = to;
    }
    for (client, backend) in pairs() {
        let mut bridge = Bridge::open(client, backend, Coding::Plain);
        bridge.send_octets_as_text(Side::Client, &pieces);
        bridge.settle();
        assert!(
            bridge.backend.received == [Received::text(text)],
            "{client} to {backend}"
        );
    }
}

#[test]
fn a_frame_that_becomes_base64_is_one_frame() {
    for length in [0, 1, 2, 3, 1000, 100_000] {
        let mut bridge = Bridge::open(named("rfc6455"), named("rfc6455"), Coding::Encode);
        let octets = vec![7; length];
        bridge.send(Side::Client, |conn, out| {
            conn.send(Message::binary(&octets), out)
        });
        bridge.settle();
        let frames = frames(named("rfc6455"), Side::Client, &bridge.backend.arrived).unwrap();
        assert_eq!(lengths(&frames), [(length.div_ceil(3) * 4, true)]);
    }
}
