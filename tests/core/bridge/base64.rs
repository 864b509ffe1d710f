//! Octets for a side without binary messages, as base64.

use heirloom::Side;
use heirloom::conn::Coding;
use heirloom::error::Violation;
use heirloom::message::{Kind, Message};
use proptest::prelude::*;

use super::joined::{Bridge, cut, named};
use super::wire::{close, frames};
use crate::memory::Received;
use crate::pair::version;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn octets_are_carried_as_base64_of_any_length_in_any_pieces(
        client in version(),
        backend in version(),
        octets in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        from_client in any::<bool>(),
        seed in any::<u64>(),
    ) {
        // The side without binary messages sends base64; where both have them,
        // or neither, the client does.
        let coding = if backend.has_binary() { Coding::Decode } else { Coding::Encode };
        let mut bridge = Bridge::seeded(client, backend, coding, seed);
        let from = if from_client { Side::Client } else { Side::Server };
        let base64 = base64_of(&octets).into_bytes();
        let sends_base64 = from_client == (coding == Coding::Decode);
        let (kind, payload) = if sends_base64 {
            (Kind::Text, &base64)
        } else if bridge.outer(from).version().has_binary() {
            (Kind::Binary, &octets)
        } else {
            // Neither side has binary: what is a text goes as base64 too.
            prop_assume!(std::str::from_utf8(&octets).is_ok());
            (Kind::Text, &octets)
        };
        let pieces = cut(payload, &cuts);
        bridge.send(from, |conn, out| {
            for (i, piece) in pieces.iter().enumerate() {
                conn.send_piece(kind, piece, i == 0, i + 1 == pieces.len(), out)?;
            }
            Ok(())
        });
        bridge.settle();
        let to = bridge.outer(from.peer());
        let has_binary = to.version().has_binary();
        let want = if !sends_base64 {
            vec![Received::text(base64)]
        } else if has_binary {
            vec![Received::binary(octets)]
        } else {
            // Octets for a version without binary are dropped, never damaged.
            vec![]
        };
        prop_assert_eq!(&to.received, &want);
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
                let want = [Received::binary(&octets[..n])];
                assert_eq!(bridge.backend.received, want, "{client} {pieces:?}");
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
                bridge.front.add_incoming(piece);
                bridge.settle();
            }
            let want = [Received::binary(&octets[..n])];
            assert_eq!(bridge.backend.received, want, "{pieces:?}");
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
            assert_eq!(bridge.client.arrived, want, "{pieces:?}");
        }
    }
}

#[test]
fn text_that_is_not_base64_ends_both_and_never_becomes_a_whole_message() {
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
                let sent = frames(client, Side::Server, &bridge.client.arrived).unwrap();
                let want = if client.has_close_codes() {
                    close(b"\x03\xefbase64-malformed")
                } else {
                    close(&[])
                };
                assert_eq!(sent, [want], "{client} {pieces:?}");
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
    let octets: Vec<Received> = [&b"A"[..], b"AB", b"", b"ABC", b"A"]
        .iter()
        .map(Received::binary)
        .collect();
    assert_eq!(bridge.backend.received, octets);
    assert_eq!(
        bridge.client.arrived,
        b"\0QQ==\xff\0QUI=\xff\0\xff\0QUJD\xff\0QQ==\xff"
    );
}
