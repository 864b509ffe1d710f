//! Compressed conversations: any messages, any settings of both ends, any
//! portions, any room; and octets that are no DEFLATE stream.

use heirloom::conn::{Conn, Phase};
use heirloom::error::Violation;
use heirloom::extension::{Codecs, Level, Mode};
use heirloom::message::Kind;
use heirloom::{Limits, Side};
use proptest::prelude::*;

use crate::deflating::{self, Act, End, Setting, deflated, open, request, send};

/// Compresses all, with a context.
const ALL: Setting = Setting {
    mode: Mode::PerConnection,
    threshold: 0,
    level: Level::Default,
};

/// A server whose clients compress with a context, and this limit.
fn server(limit: u64, offer: &str, room: usize) -> End {
    let request = request(offer);
    let mut server = End::new(Conn::server(ALL.config(limit)), room);
    server.receive(request.as_bytes(), request.len());
    assert!(server.conn.compression().is_some());
    server.out.clear();
    server
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    deflating::frame(Side::Server, first, payload)
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => message().prop_map(|(kind, octets)| Act::Whole(kind, octets)),
        2 => (message(), 1usize..2000).prop_map(|((kind, octets), n)| Act::Pieces(kind, octets, n)),
        1 => Just(Act::Ping),
    ]
}

fn message() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let text = |text: String| (Kind::Text, text.into_bytes());
    prop_oneof![
        prop::collection::vec("[a-fąę]{1,9} ", 0..300).prop_map(move |words| text(words.concat())),
        "\\PC{0,40}".prop_map(text),
        prop::collection::vec(any::<u8>(), 0..800).prop_map(|octets| (Kind::Binary, octets)),
        (any::<u8>(), 0usize..70_000).prop_map(|(octet, n)| (Kind::Binary, vec![octet; n])),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    let mode = prop::sample::select(&[Mode::Shared, Mode::PerConnection][..]);
    let level = prop::sample::select(&[Level::Fast, Level::Default, Level::Best][..]);
    let threshold = prop::sample::select(&[0, 64, 1000][..]);
    (mode, threshold, level).prop_map(|(mode, threshold, level)| Setting {
        mode,
        threshold,
        level,
    })
}

/// An offer, and what a server may add to the answer.
fn offer() -> impl Strategy<Value = (String, String)> {
    let flags = any::<[bool; 2]>();
    let window = prop::option::of(9u8..=15);
    let messages = (flags, window.clone(), prop::option::of(9u8..=15)).prop_map(
        |([server, client], of_server, of_client)| {
            let mut offer = "permessage-deflate; client_max_window_bits".to_owned();
            if server {
                offer += "; server_no_context_takeover";
            }
            if client {
                offer += "; client_no_context_takeover";
            }
            if let Some(bits) = of_server {
                offer += &format!("; server_max_window_bits={bits}");
            }
            let added = of_client.map(|bits| format!("; client_max_window_bits={bits}"));
            (offer, added.unwrap_or_default())
        },
    );
    let names = prop::sample::select(&["deflate-frame", "x-webkit-deflate-frame"][..]);
    let frames = (names, any::<bool>(), window).prop_map(|(name, alone, window)| {
        let alone = if alone { "; no_context_takeover" } else { "" };
        let window = window.map(|bits| format!("; max_window_bits={bits}"));
        let window = window.unwrap_or_default();
        (format!("{name}{alone}{window}"), String::new())
    });
    prop_oneof![messages, frames]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_messages_pass_between_any_two_settings(
        offer in offer(),
        settings in [setting(), setting()],
        acts in prop::collection::vec((any::<bool>(), act()), 1..12),
        rooms in [room(), room()],
        portion in prop_oneof![1usize..20, 1usize..5000, Just(1 << 20)],
    ) {
        let limit = Limits::default().message_bytes;
        let (mut server, mut client) = open((&offer.0, &offer.1), settings, rooms, limit);
        let (mut of_server, mut of_client) = ((Vec::new(), 0), (Vec::new(), 0));
        for (by_server, act) in &acts {
            let (from, to, sent) = if *by_server {
                (&mut server, &mut client, &mut of_server)
            } else {
                (&mut client, &mut server, &mut of_client)
            };
            send(from, act, &mut sent.0, &mut sent.1);
            let octets = std::mem::take(&mut from.out);
            to.receive(&octets, portion);
            // The pongs.
            let pongs = std::mem::take(&mut to.out);
            from.receive(&pongs, portion);
            prop_assert_eq!(to.violation, None);
        }
        for (end, (messages, pings)) in [(&server, of_client), (&client, of_server)] {
            prop_assert_eq!(&end.received, &messages);
            prop_assert_eq!(end.pings, pings);
            prop_assert!(end.pending.is_empty());
        }
    }

    #[test]
    fn garbage_gives_no_more_than_the_limit(
        payloads in prop::collection::vec(garbage(), 1..5),
        per_frame in any::<bool>(),
        binary in any::<bool>(),
        room in room(),
        portion in 1usize..700,
        limit in 0u64..3000,
    ) {
        let offer = if per_frame { "deflate-frame" } else { "permessage-deflate" };
        let mut server = server(limit, offer, room);
        let last = payloads.len() - 1;
        for (i, payload) in payloads.iter().enumerate() {
            let opcode = if i > 0 { 0 } else if binary { 2 } else { 1 };
            let rsv1 = if i == 0 || per_frame { 0x40 } else { 0 };
            let fin = if i == last { 0x80 } else { 0 };
            server.receive(&frame(fin | rsv1 | opcode, payload), portion);
            prop_assert!(server.arriving.len() as u64 <= limit);
        }
        let longest = server.received.iter().map(|(_, octets)| octets.len()).max();
        prop_assert!(longest.unwrap_or(0) as u64 <= limit);
        prop_assert!(server.longest <= room);
        let is_expected = match server.violation {
            None => server.received.len() == 1,
            Some(Violation::CompressedDataInvalid | Violation::MessageTooBig { .. }) => true,
            Some(violation) => !binary && violation.code() == "utf8-invalid",
        };
        prop_assert!(is_expected, "{:?}", server.violation);
        prop_assert_eq!(server.conn.phase() == Phase::Closed, server.violation.is_some());
    }
}

/// Rooms from one octet on.
fn room() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..10, 1usize..3000, Just(65_536)]
}

/// Octets at random, and streams with a few octets changed or cut off.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        message(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
    );
    let damaged = damaged.prop_map(|((_, octets), changes, end)| {
        let mut stream = deflated(&octets);
        for (at, octet) in changes {
            let at = at.index(stream.len());
            stream[at] = octet;
        }
        let end = end.index(stream.len() * 2);
        stream.truncate(end.max(1));
        stream
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..300), damaged]
}

const LIMIT: u64 = 16 * 1024 * 1024;

/// What a server does with 64 MiB of zeros: pieces no longer than the room, up to
/// the limit, and 1009.
#[track_caller]
fn fails_at_the_limit(server: &End) {
    assert!(
        matches!(server.violation, Some(Violation::MessageTooBig { .. })),
        "{:?}",
        server.violation
    );
    assert!(server.arriving.len() as u64 <= LIMIT);
    assert!(server.longest <= server.room);
    assert_eq!(server.out.get(2..4), Some(&1009u16.to_be_bytes()[..]));
    assert_eq!(server.conn.phase(), Phase::Closed);
    assert_eq!(server.conn.side(), Side::Server);
}

#[test]
fn a_bomb_in_one_frame_fails_at_the_limit() {
    let bomb = deflated(&vec![0; 64 * 1024 * 1024]);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    for portion in [usize::MAX, 1000] {
        let mut server = server(LIMIT, "permessage-deflate", 65_536);
        server.receive(&frame(0xc2, &bomb), portion.min(1 << 30));
        fails_at_the_limit(&server);
        assert!(server.arriving.len() as u64 > LIMIT - 65_536);
    }
}

#[test]
fn a_bomb_in_16384_fragments_fails_at_the_limit() {
    let bomb = deflated(&vec![0; 64 * 1024 * 1024]);
    let mut server = server(LIMIT, "permessage-deflate", 65_536);
    let portion = bomb.len().div_ceil(16_384);
    for (i, part) in bomb.chunks(portion).enumerate() {
        let first = if i == 0 { 0x42 } else { 0 };
        server.receive(&frame(first, part), 1000);
    }
    fails_at_the_limit(&server);
}

#[test]
fn a_bomb_of_many_frames_each_deflated_alone_fails_at_the_limit() {
    let part = deflated(&vec![0; 64 * 1024]);
    let mut server = server(LIMIT, "deflate-frame", 65_536);
    for i in 0..1024 {
        let first = if i == 0 { 0x42 } else { 0x40 };
        server.receive(&frame(first, &part), 1000);
    }
    fails_at_the_limit(&server);
}

#[test]
fn a_bomb_behind_a_context_fails_at_the_limit() {
    let mut server = server(LIMIT, "permessage-deflate", 65_536);
    let mut deflater = Codecs::default().deflater(Level::Best, 15);
    for octets in [1000, 64 * 1024 * 1024] {
        let mut out = Vec::new();
        deflater.message(&vec![0; octets], &mut out);
        server.receive(&frame(0xc2, &out), 10_000);
    }
    assert_eq!(server.received, [(Kind::Binary, vec![0; 1000])]);
    fails_at_the_limit(&server);
}

#[test]
fn exactly_the_limit_passes_and_one_octet_more_does_not() {
    for (octets, passes) in [(LIMIT, true), (LIMIT + 1, false)] {
        let payload = vec![0; usize::try_from(octets).unwrap()];
        for room in [65_536, 1 << 20] {
            let mut server = server(LIMIT, "permessage-deflate", room);
            server.receive(&frame(0xc2, &deflated(&payload)), 1 << 20);
            assert_eq!(server.violation.is_none(), passes);
            assert_eq!(server.received.len(), usize::from(passes));
            // The next message has the same inflater, or a new one.
            if passes {
                server.receive(&frame(0xc2, &deflated(b"abc")), 1 << 20);
                assert_eq!(server.received.len(), 2);
            }
        }
    }
}

/// The room decides in which pieces a message comes, not why it fails, nor what
/// comes before.
#[test]
fn a_message_fails_for_its_first_fault_in_any_room() {
    let bad_text = [&b"abc\xff"[..], &[b'x'; 20]].concat();
    let cut = {
        let mut stream = deflated(b"abcd\xff");
        stream.truncate(stream.len() - 1);
        stream
    };
    for (frames, limit, violation, pings) in [
        // No UTF-8, and too long.
        (
            vec![frame(0xc1, &deflated(&bad_text))],
            10,
            "utf8-invalid",
            0,
        ),
        // No UTF-8, and without its end.
        (vec![frame(0xc1, &cut)], 10, "utf8-invalid", 0),
        // Too long before a ping comes.
        (
            vec![frame(0x41, &deflated(b"abcdefghijkl")), frame(0x89, b"")],
            10,
            "message-too-big",
            0,
        ),
        (
            vec![frame(0x41, &deflated(b"abcdefghij")), frame(0x89, b"")],
            10,
            "-",
            1,
        ),
    ] {
        for room in 1..=30 {
            let mut server = server(limit, "permessage-deflate", room);
            server.receive(&frames.concat(), usize::MAX);
            let found = server.violation.map_or("-", |violation| violation.code());
            assert_eq!((found, server.pings), (violation, pings), "room of {room}");
        }
    }
}
