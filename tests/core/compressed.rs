//! Compressed conversations: any messages, any settings of both ends, any
//! portions, any room; and octets that are no DEFLATE stream.

use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Conn, Event, Phase};
use heirloom::error::Violation;
use heirloom::extension::{Codecs, Compression, Level, Mode};
use heirloom::message::Kind;
use heirloom::{Config, Limits, Message, Side, Versions};
use proptest::prelude::*;

use crate::memory::Seeded;

/// One end, with what it has received and not parsed.
struct End {
    conn: Conn,
    pending: Vec<u8>,
    out: Vec<u8>,
    random: Seeded,
    codecs: Codecs,
    arriving: Vec<u8>,
    received: Vec<(Kind, Vec<u8>)>,
    pings: usize,
    violation: Option<Violation>,
    /// Octets of the room.
    room: usize,
    /// The longest piece.
    longest: usize,
}

impl End {
    fn new(conn: Conn, room: usize) -> End {
        End {
            conn,
            pending: Vec::new(),
            out: Vec::new(),
            random: Seeded(7),
            codecs: Codecs::default(),
            arriving: Vec::new(),
            received: Vec::new(),
            pings: 0,
            violation: None,
            room,
            longest: 0,
        }
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let out = Output::new(&mut self.out, &mut self.random);
        act(
            &mut self.conn,
            &mut out.with_shared_codecs(&mut self.codecs),
        )
    }

    /// Octets of the peer arrive in portions of this size.
    fn receive(&mut self, octets: &[u8], portion: usize) {
        for portion in octets.chunks(portion) {
            self.pending.extend_from_slice(portion);
            while self.turn() {}
        }
    }

    /// Parses what has arrived; whether more waits for room.
    fn turn(&mut self) -> bool {
        let mut room = vec![0; self.room];
        let mut input = Input::new(&mut self.pending).with_room(&mut room);
        let out = Output::new(&mut self.out, &mut self.random);
        let mut out = out.with_shared_codecs(&mut self.codecs);
        let mut in_turn = 0;
        loop {
            match self.conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(Event::Request(_))) => self.conn.accept(None, &mut out).unwrap(),
                Ok(Some(Event::Ping(_))) => self.pings += 1,
                Ok(Some(Event::Piece(piece))) => {
                    in_turn += piece.octets.len();
                    self.longest = self.longest.max(piece.octets.len());
                    self.arriving.extend_from_slice(piece.octets);
                    if piece.last {
                        let message = std::mem::take(&mut self.arriving);
                        self.received.push((piece.kind, message));
                    }
                }
                Ok(Some(_)) => {}
                Err(located) => {
                    self.violation.get_or_insert(located.error);
                }
            }
        }
        let waits = self.conn.waits_for_room();
        if waits {
            assert!(in_turn > 0 || self.room == 0, "a turn without progress");
        }
        let parsed = usize::try_from(input.position()).unwrap();
        self.pending.drain(..parsed);
        waits
    }
}

/// What one end is set to.
#[derive(Clone, Copy, Debug)]
struct Setting {
    mode: Mode,
    threshold: usize,
    level: Level,
}

impl Setting {
    fn config(self, limit: u64) -> Arc<Config> {
        let compression = Compression::default()
            .with_mode(self.mode)
            .with_threshold(self.threshold)
            .with_level(self.level);
        let config = Config::default()
            .with_versions(Versions::ALL)
            .with_compression(compression)
            .with_limits(Limits::default().with_message_bytes(limit));
        Arc::new(config)
    }
}

const ALL: Setting = Setting {
    mode: Mode::PerConnection,
    threshold: 0,
    level: Level::Default,
};

/// Two open ends whose client offers this; `added` is what a server may add to the
/// answer of ours.
fn open(offer: &str, added: &str, settings: [Setting; 2], rooms: [usize; 2]) -> (End, End) {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    let limit = Limits::default().message_bytes;
    let [of_server, of_client] = settings.map(|setting| setting.config(limit));
    let mut server = End::new(Conn::server(of_server), rooms[0]);
    let client = Conn::client_of(request.as_bytes(), false, of_client).unwrap();
    let mut client = End::new(client, rooms[1]);
    server.receive(request.as_bytes(), 1000);
    let response = String::from_utf8(std::mem::take(&mut server.out)).unwrap();
    let response = response.replacen("-deflate", &format!("-deflate{added}"), 1);
    client.receive(response.as_bytes(), 1000);
    assert_eq!(client.violation, None, "{response}");
    let compresses = settings[0].mode != Mode::Off;
    for end in [&server, &client] {
        assert_eq!(end.conn.phase(), Phase::Open, "{response}");
        assert_eq!(end.conn.compression().is_some(), compresses, "{response}");
    }
    (server, client)
}

/// A server whose clients compress with a context, and this limit.
fn server(limit: u64, offer: &str, room: usize) -> End {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    let mut server = End::new(Conn::server(ALL.config(limit)), room);
    server.receive(request.as_bytes(), request.len());
    assert!(server.conn.compression().is_some());
    server.out.clear();
    server
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(n) if n < 126 => frame.push(0x80 | n as u8),
        Ok(n) => {
            frame.push(0xfe);
            frame.extend(n.to_be_bytes());
        }
        Err(_) => {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut deflater = Codecs::default().deflater(Level::Best, 15);
    deflater.message(payload, &mut out);
    out
}

/// Something that one end sends.
#[derive(Clone, Debug)]
enum Act {
    Whole(Kind, Vec<u8>),
    Pieces(Kind, Vec<u8>, usize),
    Ping,
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

fn send(end: &mut End, act: &Act, sent: &mut Vec<(Kind, Vec<u8>)>, pings: &mut usize) {
    let message = |kind, octets: &[u8]| (kind, octets.to_vec());
    match act {
        Act::Ping => {
            end.with(|conn, out| conn.ping(b"?", out)).unwrap();
            *pings += 1;
        }
        Act::Whole(kind, octets) => {
            let message_to_send = match kind {
                Kind::Text => Message::text(std::str::from_utf8(octets).unwrap()),
                Kind::Binary => Message::binary(octets),
            };
            end.with(|conn, out| conn.send(message_to_send, out))
                .unwrap();
            sent.push(message(*kind, octets));
        }
        Act::Pieces(kind, octets, n) => {
            let pieces: Vec<&[u8]> = octets.chunks(*n).chain([&[][..]]).collect();
            for (i, piece) in pieces.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == pieces.len());
                end.with(|conn, out| conn.send_piece(*kind, piece, first, last, out))
                    .unwrap();
                if !last {
                    end.with(|conn, out| conn.ping(b"!", out)).unwrap();
                    *pings += 1;
                }
            }
            sent.push(message(*kind, octets));
        }
    }
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
        let (mut server, mut client) = open(&offer.0, &offer.1, settings, rooms);
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
