//! Messages to raw DEFLATE and back: known octets, every split, every window.

use heirloom::extension::{Codecs, Corrupt, Deflater, Inflater, Level};
use proptest::prelude::*;
use zlib_rs::{Deflate, DeflateFlush};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// Inflates a message whose octets arrive in these portions, through a room of
/// this size.
fn inflate(inflater: &mut Inflater, portions: &[&[u8]], room: usize) -> Result<Vec<u8>, Corrupt> {
    let mut message = Vec::new();
    let mut room = vec![0; room];
    for portion in portions {
        let mut octets = *portion;
        loop {
            let done = inflater.inflate(octets, &mut room)?;
            message.extend_from_slice(&room[..done.written]);
            octets = &octets[done.consumed..];
            if !done.room_is_full {
                assert!(octets.is_empty());
                break;
            }
        }
    }
    loop {
        let done = inflater.finish(&mut room)?;
        message.extend_from_slice(&room[..done.written]);
        if done.is_finished {
            return Ok(message);
        }
    }
}

fn deflated(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    deflater.message(payload, &mut out);
    out.split_off(6)
}

/// One conversation: the payload of each frame, and the messages. With a context
/// the inflater is not reset between them.
const KNOWN: &[(&[&str], &[&str], bool)] = &[
    // RFC 7692 section 7.2.3.
    (&["f248cdc9c90700"], &["Hello"], false),
    (&["f248cdc9c90700", "f200110000"], &["Hello", "Hello"], true),
    (&["000500faff48656c6c6f00"], &["Hello"], false),
    (&["f348cdc9c9070000"], &["Hello"], false),
    (
        &["f348cdc9c9070000", "f348cdc9c9070000"],
        &["Hello", "Hello"],
        true,
    ),
    (&["f24805000000ffffcac9c90700"], &["Hello"], false),
    (&["00"], &[""], false),
    (&["00", "00"], &["", ""], true),
    // No octet at all.
    (&["", "f248cdc9c90700", ""], &["", "Hello", ""], true),
    // pywebsocket r790, without context.
    (
        &[
            "0ac92f4a0c01620000",
            "722cc92f4a74cb01120000",
            "0ac8c8c92f4a0c01620000",
        ],
        &["ToraTora", "AtoraFlora", "PhloraTora"],
        false,
    ),
    // The same with context.
    (
        &["2ac92f4a0400", "2a01620000", "02610000"],
        &["tora", "tora", "tora"],
        true,
    ),
    // Jetty's: one message in three frames, each with its own flush.
    (
        &["f248cdc9c95700000000ffff0acf2fca4901000000ffff520400"],
        &["Hello World!"],
        false,
    ),
    // Chrome 20, deflate-frame, unmasked.
    (&["f248cdc9c90700"], &["Hello"], false),
    (
        &["f248cdc9c90700", "0ac9482d4a0500"],
        &["Hello", "There"],
        true,
    ),
    (&["cacc4bcbb70200"], &["info:"], false),
    (
        &["2ac9cc4db50200", "2a01110000", "02130000"],
        &["time:", "time:", "time:"],
        true,
    ),
    // pywebsocket's server.
    (&["f248cdc9c90700"], &["Hello"], false),
    (
        &["2a2e494ccece2f4b2d4acbc92f0700"],
        &["stackoverflow"],
        false,
    ),
    // A text in two frames of deflate-frame.
    (&["f248cd0100", "cac90700"], &["Hel", "lo"], true),
];

#[test]
fn known_octets_inflate_at_every_split_and_through_every_room() {
    let mut codecs = Codecs::default();
    for (frames, messages, context) in KNOWN {
        for room in [1, 2, 3, 5, 8, 64] {
            let longest = frames.iter().map(|frame| frame.len() / 2).max().unwrap();
            for split in 0..=longest {
                let mut inflater = codecs.inflater();
                for (frame, message) in frames.iter().zip(*messages) {
                    let octets = hex(frame);
                    let (a, b) = octets.split_at(split.min(octets.len()));
                    let out = inflate(&mut inflater, &[a, b], room).unwrap();
                    assert_eq!(
                        String::from_utf8(out).unwrap(),
                        *message,
                        "{frame} {split} {room}"
                    );
                    if !context {
                        inflater.reset();
                    }
                }
                codecs.give_back(inflater);
            }
        }
    }
}

#[test]
fn an_inflater_that_lacks_the_context_says_so() {
    let mut inflater = Codecs::default().inflater();
    assert_eq!(
        inflate(&mut inflater, &[&hex("2a01620000")], 64),
        Err(Corrupt)
    );
    // It stays so.
    assert_eq!(inflate(&mut inflater, &[&hex("00")], 64), Err(Corrupt));
}

#[test]
fn a_message_that_ends_within_a_block_is_corrupt() {
    let mut codecs = Codecs::default();
    let mut deflater = codecs.deflater(Level::Default, 15);
    let text = "The quick brown fox jumps over the lazy dog, the quick one. ".repeat(9);
    for whole in [
        hex("f248cdc9c90700"),
        hex("000500faff48656c6c6f00"),
        hex("f24805000000ffffcac9c90700"),
        deflated(&mut deflater, text.as_bytes()),
    ] {
        for end in 1..whole.len() {
            let mut inflater = codecs.inflater();
            let result = inflate(&mut inflater, &[&whole[..end]], 4096);
            // Cut behind a block, and what starts the next.
            let blocks = [hex("00"), hex("f2480500")];
            let ends_whole = blocks.iter().any(|block| *block == whole[..end]);
            assert_eq!(
                result.is_ok(),
                ends_whole,
                "{end} of {whole:02x?}: {result:?}"
            );
            codecs.give_back(inflater);
        }
    }
}

/// Whatever the room: octets that lie before the end of what a faulty stream says
/// are not lost with it.
#[test]
fn what_comes_before_a_fault_is_given_first() {
    // "Hello" in a block that does not end, and one whose last octet is missing.
    for (stream, before) in [("f248cdc9c9", "Hell"), ("000500faff48656c6c", "Hell")] {
        for room in 1..=8 {
            let mut inflater = Codecs::default().inflater();
            let (mut given, mut room) = (Vec::new(), vec![0; room]);
            let (octets, mut at) = (hex(stream), 0);
            let mut fault = None;
            while fault.is_none() && at < octets.len() {
                match inflater.inflate(&octets[at..], &mut room) {
                    Ok(done) => {
                        given.extend_from_slice(&room[..done.written]);
                        at += done.consumed;
                    }
                    Err(corrupt) => fault = Some(corrupt),
                }
            }
            while fault.is_none() {
                match inflater.finish(&mut room) {
                    Ok(done) => {
                        given.extend_from_slice(&room[..done.written]);
                        assert!(!done.is_finished);
                    }
                    Err(corrupt) => fault = Some(corrupt),
                }
            }
            assert_eq!(given, before.as_bytes(), "{stream} {}", room.len());
        }
    }
}

#[test]
fn the_empty_message_is_one_octet() {
    let mut deflater = Codecs::default().deflater(Level::Default, 15);
    for payload in ["", "", "a", "", ""] {
        let octets = deflated(&mut deflater, payload.as_bytes());
        assert_eq!(octets == [0], payload.is_empty(), "{octets:02x?}");
    }
}

/// What level 6 of zlib makes of the text of the licence: `python3 -c "import sys,
/// zlib; c = zlib.compressobj(6, zlib.DEFLATED, -15); print(len(c.compress(
/// sys.stdin.buffer.read()) + c.flush()))" < LICENSE-APACHE`.
const BY_ZLIB: usize = 3949;

#[test]
fn more_effort_makes_less_and_none_makes_much_more_than_zlib() {
    let text = include_bytes!("../../LICENSE-APACHE");
    let size = |level| {
        let mut deflater = Codecs::default().deflater(level, 15);
        deflated(&mut deflater, text).len()
    };
    let sizes = [Level::Best, Level::Default, Level::Fast].map(size);
    assert!(sizes.is_sorted(), "{sizes:?}");
    for (size, most) in sizes.into_iter().zip([101, 105, 110]) {
        assert!(
            size * 100 <= BY_ZLIB * most,
            "{size}: {most} % of {BY_ZLIB}"
        );
    }
}

/// Binary records in which little more than three or four octets repeat.
fn records(octets: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut random = 1_u64;
    let mut below = move |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) % limit
    };
    let many: Vec<[u8; 4]> = (0..512)
        .map(|_| (below(1 << 32) as u32).to_le_bytes())
        .collect();
    let mut made = Vec::new();
    let mut make = |name, record: &mut dyn FnMut(&mut Vec<u8>)| {
        let mut records = Vec::new();
        while records.len() < octets {
            record(&mut records);
        }
        records.truncate(octets);
        made.push((name, records));
    };
    make("small numbers of 32 bits", &mut |to| {
        to.extend((below(1000) as u32).to_le_bytes());
    });
    make("larger numbers", &mut |to| {
        to.extend((below(100_000) as u32).to_le_bytes());
    });
    make("pixels of 64 colours", &mut |to| {
        to.extend(&many[below(64) as usize][..3]);
    });
    make("pixels of 512 colours", &mut |to| {
        to.extend(&many[below(512) as usize][..3]);
    });
    make("pixels with alpha", &mut |to| {
        to.extend(many[below(256) as usize]);
    });
    make("a name of three octets and a number", &mut |to| {
        to.extend(&many[below(64) as usize][..3]);
        to.extend((below(1 << 16) as u16).to_le_bytes());
    });
    make("a name of four octets and a number", &mut |to| {
        to.extend(many[below(256) as usize]);
        to.extend((below(1 << 16) as u16).to_le_bytes());
    });
    let (mut time, mut heat) = (1_700_000_000_u32, 2000_u16);
    make("telemetry", &mut |to| {
        time += below(3) as u32;
        heat = heat + below(7) as u16 - 3;
        to.extend(time.to_le_bytes());
        to.extend((below(40) as u16).to_le_bytes());
        to.extend(heat.to_le_bytes());
        to.extend((below(1 << 16) as u16).to_le_bytes());
        to.extend([below(4) as u8, 0, 0, 1]);
    });
    made
}

#[test]
fn at_the_best_level_records_become_little_longer_than_with_zlib() {
    for octets in [1 << 10, 1 << 14, 1 << 18] {
        for (name, records) in records(octets) {
            let mut zlib = Deflate::new(9, false, 15);
            let mut room = vec![0; 2 * octets];
            let flush = DeflateFlush::SyncFlush;
            zlib.compress(&records, &mut room, flush).unwrap();
            let by_zlib = zlib.total_out() as usize - TAIL.len();
            let [best, default] = [Level::Best, Level::Default].map(|level| {
                let mut deflater = Codecs::default().deflater(level, 15);
                deflated(&mut deflater, &records).len()
            });
            assert!(
                best * 100 <= by_zlib * 106 && best * 100 <= default * 102,
                "{octets} octets of {name}: {best}, {default} at the default level, zlib {by_zlib}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_deflated_inflates(
        messages in prop::collection::vec(payload(), 1..6),
        window in 8u8..=16,
        level in prop::sample::select(&[Level::Fast, Level::Default, Level::Best][..]),
        takeover in any::<bool>(),
        room in 1usize..300,
        portion in 1usize..300,
        part in 1usize..5000,
    ) {
        let mut codecs = Codecs::default();
        let mut deflater = codecs.deflater(level, window);
        let mut inflater = codecs.inflater();
        for (i, message) in messages.iter().enumerate() {
            let mut octets = Vec::new();
            if i % 2 == 0 {
                deflater.message(message, &mut octets);
            } else {
                for part in message.chunks(part) {
                    deflater.part(part, &mut octets);
                    prop_assert!(octets.ends_with(&TAIL));
                }
                deflater.finish(&[], &mut octets);
            }
            prop_assert!(!octets.is_empty());
            let portions: Vec<&[u8]> = octets.chunks(portion).collect();
            let got = inflate(&mut inflater, &portions, room);
            prop_assert_eq!(got.as_ref(), Ok(message));
            if !takeover {
                deflater.reset();
                inflater.reset();
            }
        }
        codecs.give_back(inflater);
        codecs.give_back_deflater(deflater);
    }

    /// A deflater passes from one connection to the next, with another level.
    #[test]
    fn no_level_refers_to_what_another_left(
        turns in prop::collection::vec(
            (
                prop::sample::select(&[Level::Fast, Level::Default, Level::Best][..]),
                9u8..=15,
                prop::collection::vec(payload(), 1..4),
            ),
            2..6,
        ),
    ) {
        let mut codecs = Codecs::default();
        for (level, window, messages) in &turns {
            let mut deflater = codecs.deflater(*level, *window);
            let mut inflater = codecs.inflater();
            for message in messages {
                let octets = deflated(&mut deflater, message);
                let got = inflate(&mut inflater, &[&octets], 1 << 16);
                prop_assert!(got.as_ref() == Ok(message));
            }
            codecs.give_back(inflater);
            codecs.give_back_deflater(deflater);
        }
    }

    /// Long enough that what was compressed before is moved, several times.
    #[test]
    fn long_messages_inflate_with_a_context_and_without(
        messages in prop::collection::vec((words(), 1usize..40), 2..5),
        window in 9u8..=15,
        level in prop::sample::select(&[Level::Fast, Level::Default, Level::Best][..]),
        takeover in any::<bool>(),
    ) {
        let mut codecs = Codecs::default();
        let mut deflater = codecs.deflater(level, window);
        let mut inflater = codecs.inflater();
        for (words, times) in &messages {
            let message = words.repeat(*times);
            let octets = deflated(&mut deflater, &message);
            let got = inflate(&mut inflater, &[&octets], 1 << 16);
            prop_assert!(got == Ok(message));
            if !takeover {
                deflater.reset();
                inflater.reset();
            }
        }
    }

    #[test]
    fn octets_of_any_kind_end_in_a_message_or_an_error(
        octets in prop::collection::vec(any::<u8>(), 0..600),
        room in 1usize..100,
    ) {
        let mut codecs = Codecs::default();
        let mut whole = codecs.inflater();
        let whole = inflate(&mut whole, &[&octets], 1 << 20);
        let mut parts = codecs.inflater();
        let portions: Vec<&[u8]> = octets.chunks(1).collect();
        prop_assert_eq!(inflate(&mut parts, &portions, room), whole);
    }
}

/// Random octets, text that repeats itself, runs, and records.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        words(),
        (any::<u8>(), 0usize..90_000).prop_map(|(octet, n)| vec![octet; n]),
        (0usize..8, 1usize..20_000).prop_map(|(shape, n)| records(n).swap_remove(shape).1),
    ]
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec("[a-f]{1,9} ", 0..800);
    words.prop_map(|words| words.concat().into_bytes())
}
