//! Captures built from the vectors come back as the same octets, whatever
//! happens to their segments; HAR and k3po; files that nobody vouches for.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use heirloom::Side;
use heirloom::vector::import::{
    Imported, MAX_OCTETS, MAX_STEPS, MAX_TEXT_OCTETS, Options, Unimportable, import,
};
use heirloom::vector::{
    Expect, ExpectedResult, File, Split, Step, StreamEnd, Vector, play, splits,
};
use proptest::prelude::*;

use support::program::run;

/// The link types that are written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Null,
    Ethernet,
    Vlan,
    Raw,
    Sll,
    Sll2,
}

const LINKS: [Link; 6] = [
    Link::Null,
    Link::Ethernet,
    Link::Vlan,
    Link::Raw,
    Link::Sll,
    Link::Sll2,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pcap { big: bool, nano: bool },
    Pcapng { big: bool },
}

const FORMATS: [Format; 6] = [
    Format::Pcap {
        big: false,
        nano: false,
    },
    Format::Pcap {
        big: true,
        nano: false,
    },
    Format::Pcap {
        big: false,
        nano: true,
    },
    Format::Pcap {
        big: true,
        nano: true,
    },
    Format::Pcapng { big: false },
    Format::Pcapng { big: true },
];

/// What a capture looks like outside its segments.
#[derive(Clone, Copy, Debug)]
struct Look {
    link: Link,
    format: Format,
    six: bool,
}

const PLAIN: Look = Look {
    link: Link::Ethernet,
    format: FORMATS[0],
    six: false,
};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

#[derive(Clone, Debug)]
struct Segment {
    client: bool,
    /// The client's port; the server's is 80.
    port: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: Vec<u8>,
    /// Microseconds since the capture began.
    time: u64,
}

/// 2010-06-01 12:00:00, in seconds.
const BEGIN: u64 = 1_275_393_600;

/// The segments of a conversation; no write is cut.
fn segments(steps: &[Step], port: u16, begins: [u32; 2]) -> Vec<Segment> {
    let mut next = begins;
    let mut time = 0;
    let mut all = Vec::new();
    let mut send = |all: &mut Vec<Segment>, who: usize, flags: u8, payload: &[u8], wait: u64| {
        time += wait;
        all.push(Segment {
            client: who == 0,
            port,
            seq: next[who],
            ack: if flags & ACK == 0 { 0 } else { next[1 - who] },
            flags,
            payload: payload.to_vec(),
            time,
        });
        let counted = u32::from(flags & (SYN | FIN) != 0);
        next[who] = next[who].wrapping_add(payload.len() as u32 + counted);
    };
    send(&mut all, 0, SYN, b"", 0);
    send(&mut all, 1, SYN | ACK, b"", 1);
    send(&mut all, 0, ACK, b"", 1);
    for step in steps {
        let who = usize::from(step.from == Side::Server);
        let wait = step.after_ms.unwrap_or(0) * 1000;
        let flags = match step.end {
            None => ACK | PSH,
            Some(StreamEnd::Fin) => ACK | FIN,
            Some(StreamEnd::Rst) => ACK | RST,
        };
        let octets = step.octets().unwrap();
        let mut chunks = octets.chunks(60_000).peekable();
        if chunks.peek().is_none() {
            send(&mut all, who, flags, b"", wait);
        }
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_some() { ACK } else { flags };
            send(&mut all, who, flags, chunk, wait);
        }
    }
    all
}

fn packet(segment: &Segment, look: Look) -> Vec<u8> {
    let mut tcp = Vec::new();
    let ports = [segment.port, 80];
    let (from, to) = if segment.client { (0, 1) } else { (1, 0) };
    tcp.extend(ports[from].to_be_bytes());
    tcp.extend(ports[to].to_be_bytes());
    tcp.extend(segment.seq.to_be_bytes());
    tcp.extend(segment.ack.to_be_bytes());
    // A time stamp option, as Linux sends it.
    tcp.extend([8 << 4, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    tcp.extend(&segment.payload);
    let mut ip = Vec::new();
    if look.six {
        ip.extend([0x60, 0, 0, 0]);
        ip.extend((tcp.len() as u16).to_be_bytes());
        ip.extend([6, 64]);
        for host in [from, to] {
            ip.extend([
                0xfd,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                host as u8 + 1,
            ]);
        }
    } else {
        ip.extend([0x45, 0]);
        ip.extend((20 + tcp.len() as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        for host in [from, to] {
            ip.extend([192, 0, 2, host as u8 + 1]);
        }
    }
    ip.extend(tcp);
    let kind: [u8; 2] = if look.six { [0x86, 0xdd] } else { [8, 0] };
    let mut frame = Vec::new();
    match look.link {
        Link::Null => frame.extend(if look.six {
            [30, 0, 0, 0]
        } else {
            [2, 0, 0, 0]
        }),
        Link::Ethernet | Link::Vlan => {
            frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
            if look.link == Link::Vlan {
                frame.extend([0x81, 0, 0, 7]);
            }
            frame.extend(kind);
        }
        Link::Raw => {}
        Link::Sll => {
            frame.extend([0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
            frame.extend(kind);
        }
        Link::Sll2 => {
            frame.extend(kind);
            frame.extend([0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
        }
    }
    frame.extend(ip);
    // Short frames are padded, and the padding is no payload.
    if matches!(look.link, Link::Ethernet | Link::Vlan) && frame.len() < 60 {
        frame.resize(60, 0xee);
    }
    frame
}

/// A number in the file's order.
fn number<const N: usize>(little: [u8; N], big: bool) -> [u8; N] {
    let mut octets = little;
    if big {
        octets.reverse();
    }
    octets
}

fn capture(segments: &[Segment], look: Look) -> Vec<u8> {
    let link: u16 = match look.link {
        Link::Null => 0,
        Link::Ethernet | Link::Vlan => 1,
        Link::Raw => 101,
        Link::Sll => 113,
        Link::Sll2 => 276,
    };
    let mut file = Vec::new();
    match look.format {
        Format::Pcap { big, nano } => {
            let n32 = |n: u32| number(n.to_le_bytes(), big);
            let magic = if nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
            file.extend(n32(magic));
            file.extend(number(2_u16.to_le_bytes(), big));
            file.extend(number(4_u16.to_le_bytes(), big));
            for n in [0, 0, 262_144, u32::from(link)] {
                file.extend(n32(n));
            }
            for segment in segments {
                let frame = packet(segment, look);
                let unit = if nano { 1000 } else { 1 };
                file.extend(n32((BEGIN + segment.time / 1_000_000) as u32));
                file.extend(n32((segment.time % 1_000_000 * unit) as u32));
                file.extend(n32(frame.len() as u32));
                file.extend(n32(frame.len() as u32));
                file.extend(frame);
            }
        }
        Format::Pcapng { big } => {
            let n16 = |n: u16| number(n.to_le_bytes(), big);
            let n32 = |n: u32| number(n.to_le_bytes(), big);
            let block = |kind: u32, body: Vec<u8>| {
                let len = n32(12 + body.len() as u32);
                [n32(kind).as_slice(), &len, &body, &len].concat()
            };
            let mut body = [n32(0x1a2b_3c4d).as_slice(), &n16(1), &n16(0)].concat();
            body.extend([0xff; 8]);
            file.extend(block(0x0a0d_0d0a, body));
            // Interface 0 is of another kind; 1 counts 2^-20 seconds; 2 nanoseconds,
            // an hour too early.
            let interface = |link: u16, options: &[u8]| {
                block(
                    1,
                    [n16(link).as_slice(), &n16(0), &n32(0), options].concat(),
                )
            };
            let hour = number(3600_i64.to_le_bytes(), big);
            let nano = [
                n16(9).as_slice(),
                &n16(1),
                &[9, 0, 0, 0],
                &n16(14),
                &n16(8),
                &hour,
                &n16(0),
                &n16(0),
            ]
            .concat();
            let binary = [n16(9).as_slice(), &n16(1), &[0x94, 0, 0, 0]].concat();
            file.extend(interface(147, &[]));
            file.extend(interface(link, &binary));
            file.extend(interface(link, &nano));
            file.extend(block(5, vec![0; 12]));
            for (i, segment) in segments.iter().enumerate() {
                let mut frame = packet(segment, look);
                let micros = BEGIN * 1_000_000 + segment.time;
                let (interface, time) = if i % 2 == 0 {
                    // Rounded up, so that no millisecond is lost.
                    let units = (u128::from(micros) << 20).div_ceil(1_000_000);
                    (1, units as u64)
                } else {
                    (2, (micros - 3_600_000_000) * 1000)
                };
                let mut body = n32(interface).to_vec();
                body.extend(n32((time >> 32) as u32));
                body.extend(n32(time as u32));
                body.extend(n32(frame.len() as u32));
                body.extend(n32(frame.len() as u32));
                frame.resize(frame.len().next_multiple_of(4), 0);
                body.extend(frame);
                file.extend(block(6, body));
            }
        }
    }
    file
}

fn vectors() -> Vec<Vector> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let folders = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = folders
        .filter(|path| path.is_dir())
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let read = |path: &PathBuf| File::read(&fs::read(path).unwrap()).unwrap().vectors;
    files.iter().flat_map(read).collect()
}

fn vector(id: &str) -> Vector {
    vectors().into_iter().find(|v| v.id == id).unwrap()
}

const DRAFT_76: &str = "hixie-76/draft-server-side";

/// A long one with pauses, an answer and a goodbye.
fn example() -> Vector {
    let mut vector = vector(DRAFT_76);
    vector.steps.push(Step::of(Side::Client, b"\x00hello\xff"));
    vector
        .steps
        .push(Step::of(Side::Server, b"\x00hello\xff").after(1500));
    vector.steps.push(Step::of(Side::Client, b"\xff\x00"));
    vector.steps.push(Step::of(Side::Server, b"\xff\x00"));
    vector.steps.push(Step::end(Side::Server, StreamEnd::Fin));
    vector.steps.push(Step::end(Side::Client, StreamEnd::Fin));
    vector
}

fn said(vector: &Vector, who: Side) -> Vec<u8> {
    let own = vector.steps.iter().filter(|step| step.from == who);
    own.flat_map(|step| step.octets().unwrap()).collect()
}

fn both(vector: &Vector) -> [Vec<u8>; 2] {
    [Side::Client, Side::Server].map(|who| said(vector, who))
}

fn of(file: &[u8]) -> Result<Imported, Unimportable> {
    import(file, &Options::of("a capture.pcap"))
}

/// The one vector of a capture.
fn one(file: &[u8]) -> Vector {
    let imported = of(file).unwrap();
    assert_eq!(imported.file.vectors.len(), 1, "{:?}", imported.remarks);
    imported.file.vectors.into_iter().next().unwrap()
}

struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i + 1));
        }
    }
}

/// Cuts the payloads into segments of this many octets.
fn slice(segments: &[Segment], octets: usize) -> Vec<Segment> {
    let mut all = Vec::new();
    for segment in segments {
        if segment.payload.is_empty() {
            all.push(segment.clone());
            continue;
        }
        for (i, chunk) in segment.payload.chunks(octets).enumerate() {
            let at = i * octets;
            let last = at + chunk.len() == segment.payload.len();
            let flags = if last {
                segment.flags
            } else {
                segment.flags & !(PSH | FIN)
            };
            all.push(Segment {
                seq: segment.seq.wrapping_add(at as u32),
                flags,
                payload: chunk.to_vec(),
                ..segment.clone()
            });
        }
    }
    all
}

#[test]
fn every_vector_comes_back_from_a_capture() {
    let (mut imported, mut held) = (0, 0);
    for vector in vectors() {
        if said(&vector, Side::Client).len() + said(&vector, Side::Server).len() > 100_000 {
            continue;
        }
        let file = capture(&segments(&vector.steps, 4000, [1, 2]), PLAIN);
        let back = match of(&file) {
            Ok(back) => back.file.vectors.into_iter().next().unwrap(),
            Err(Unimportable::Nothing(_)) => continue,
            Err(error) => panic!("{}: {error}", vector.id),
        };
        imported += 1;
        assert_eq!(both(&back), both(&vector), "{}", vector.id);
        // What the corpus holds both sides to, the import finds by itself.
        let accepts = |side| {
            let conclusion = vector.expect.of(side);
            conclusion.is_some_and(|c| c.result == ExpectedResult::Accept)
        };
        let answered = vector.steps.iter().any(|step| step.from == Side::Server);
        if accepts(Side::Server) && accepts(Side::Client) && answered && !vector.secure {
            held += 1;
            let (want, got) = (&vector.expect, &back.expect);
            assert_eq!(got.server, want.server, "{}", vector.id);
            assert_eq!(got.client, want.client, "{}", vector.id);
            for who in [Side::Client, Side::Server] {
                let heard = |expect: &Expect| {
                    let own = expect.messages.iter().filter(|m| m.from == who);
                    own.map(|m| (m.kind, m.octets().unwrap()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(heard(got), heard(want), "{}", vector.id);
            }
            assert_eq!(got.subprotocol, want.subprotocol, "{}", vector.id);
            let detected = want.detected.as_ref().unwrap_or(&vector.version);
            assert_eq!(got.detected.as_ref(), Some(detected), "{}", vector.id);
        }
    }
    assert!(
        imported > 800 && held > 100,
        "{imported} imported, {held} held"
    );
}

#[test]
fn every_link_and_format_gives_the_same() {
    let want = example();
    let segments = segments(&want.steps, 4000, [7, 9]);
    let first = one(&capture(&segments, PLAIN));
    assert_eq!(both(&first), both(&want));
    assert!(!first.unfinished);
    assert_eq!(first.source.date.as_deref(), Some("2010-06-01"));
    assert_eq!(first.source.timing.as_deref(), Some("recorded"));
    assert_eq!(first.id, "hixie-76/a-capture-1");
    let waits = |v: &Vector| v.steps.iter().map(|s| s.after_ms).collect::<Vec<_>>();
    for link in LINKS {
        for format in FORMATS {
            for six in [false, true] {
                let look = Look { link, format, six };
                let vector = one(&capture(&segments, look));
                assert_eq!(both(&vector), both(&want), "{look:?}");
                assert_eq!(waits(&vector), waits(&first), "{look:?}");
                assert_eq!(vector.expect.messages.len(), 2, "{look:?}");
            }
        }
    }
    assert!(waits(&first).contains(&Some(1500)), "{:?}", waits(&first));
}

#[test]
fn what_is_imported_plays_at_every_cut_and_fits_the_schema() {
    let schema = fs::read("vectors/schema.json").unwrap();
    let schema = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let file = of(&capture(&segments(&example().steps, 4000, [7, 9]), PLAIN))
        .unwrap()
        .file;
    let text = file.to_canonical();
    validator
        .validate(&serde_json::from_str(&text).unwrap())
        .unwrap();
    let vector = &File::read(text.as_bytes()).unwrap().vectors[0];
    for side in [Side::Server, Side::Client] {
        assert!(vector.expect.of(side).is_some(), "{side:?}");
        for cut in splits(vector, side) {
            play(vector, side, cut).unwrap();
        }
    }
}

#[test]
fn segments_may_come_in_any_order_and_often() {
    let want = example();
    for seed in 0..200 {
        let mut random = Seeded(seed);
        // Numbers that wrap around inside the conversation, on either side.
        let begins = [
            u32::MAX - (seed as u32 % 400),
            (seed as u32 % 90).wrapping_sub(60),
        ];
        let whole = segments(&want.steps, 4000, begins);
        let mut sent = slice(&whole, [1, 2, 7, 50, 100_000][random.below(5)]);
        // Retransmissions that overlap what comes before and after them.
        for segment in whole.iter().filter(|s| !s.payload.is_empty()) {
            let from = random.below(segment.payload.len());
            let to = from + 1 + random.below(segment.payload.len() - from);
            sent.push(Segment {
                seq: segment.seq.wrapping_add(from as u32),
                payload: segment.payload[from..to].to_vec(),
                flags: ACK,
                ..segment.clone()
            });
        }
        let again = sent.clone();
        sent.extend(again);
        random.shuffle(&mut sent);
        let vector = one(&capture(&sent, PLAIN));
        assert_eq!(both(&vector), both(&want), "seed {seed}");
        assert!(!vector.unfinished, "seed {seed}");
        // The order of the conversation comes from the acknowledgements.
        assert!(vector.expect.server.is_some(), "seed {seed}");
        assert!(vector.expect.client.is_some(), "seed {seed}");
        assert_eq!(vector.expect.messages.len(), 2, "seed {seed}");
    }
}

#[test]
fn a_retransmission_that_joins_segments_stops_nothing() {
    let want = example();
    let whole = segments(&want.steps, 4000, [5, 6]);
    let mut sent = slice(&whole, 10);
    let first = whole.iter().find(|s| !s.payload.is_empty()).unwrap();
    let last = sent.last().unwrap().ack;
    // It was sent at the end, and acknowledges all that came before.
    sent.push(Segment {
        ack: last,
        flags: ACK,
        ..first.clone()
    });
    let vector = one(&capture(&sent, PLAIN));
    assert_eq!(both(&vector), both(&want));
    assert!(!vector.unfinished);
}

#[test]
fn the_begin_of_a_connection_may_be_missing() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let vector = one(&capture(&sent[3..], PLAIN));
    assert_eq!(both(&vector), both(&want));
    let imported = of(&capture(&sent[4..], PLAIN));
    let error = imported.unwrap_err().to_string();
    assert!(error.contains("its begin is not in the capture"), "{error}");
}

#[test]
fn a_lost_segment_is_named() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let data = |s: &Segment| !s.payload.is_empty();
    for lost in (0..sent.len()).filter(|i| data(&sent[*i])).skip(1) {
        let mut rest = sent.clone();
        let missing = rest.remove(lost);
        let imported = of(&capture(&rest, PLAIN)).unwrap();
        let vector = &imported.file.vectors[0];
        assert!(vector.unfinished, "{lost}");
        let who = if missing.client { "client" } else { "server" };
        let note = vector.steps.last().unwrap().note.clone().unwrap();
        assert!(note.contains(&format!("the {who}'s octets ")), "{note}");
        assert!(
            imported
                .remarks
                .iter()
                .any(|r| note.ends_with(r.rsplit_once(": ").unwrap().1)),
            "{note}"
        );
        for (got, want) in both(vector).iter().zip(both(&want)) {
            assert!(want.starts_with(got), "{lost}");
        }
    }
}

#[test]
fn a_packet_of_which_the_begin_was_kept_ends_the_vector() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let mut file = capture(&sent[..5], PLAIN);
    let len = packet(&sent[4], PLAIN).len();
    let at = file.len() - len - 8;
    file[at..at + 4].copy_from_slice(&(len as u32 - 10).to_le_bytes());
    file.truncate(file.len() - 10);
    let vector = one(&file);
    assert!(vector.unfinished);
    let note = vector.steps.last().unwrap().note.clone().unwrap();
    assert!(note.contains("tcpdump -s 0"), "{note}");

    // Of the request, too little to know what it asks for, or what follows.
    let request = &sent[3].payload;
    for (kept, known) in [(20, false), (100, true)] {
        let mut cut = sent[3].clone();
        cut.payload.truncate(kept);
        let imported = of(&capture(&[&sent[..3], &[cut]].concat(), PLAIN));
        assert!(kept < request.len());
        match imported {
            Ok(imported) if known => {
                let expect = &imported.file.vectors[0].expect;
                assert!(expect.server.is_none() && expect.client.is_none());
            }
            Err(error) if !known => {
                assert!(error.to_string().contains("its head has no end"), "{error}");
            }
            other => panic!("{kept}: {other:?}"),
        }
    }
}

#[test]
fn connections_are_kept_apart_and_others_left_out() {
    let want = example();
    let http = [
        Step::of(Side::Client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Step::of(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n"),
    ];
    let tls = [Step::of(Side::Client, b"\x16\x03\x01\x00\x05hello")];
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    let second = segments(&want.steps, 4001, [50, 60]);
    // Interleaved with the first; then the first port again.
    let at = sent.len() / 2;
    sent.splice(at..at, second);
    sent.extend(segments(&want.steps, 4000, [500, 600]));
    sent.extend(segments(&http, 4002, [1, 1]));
    sent.extend(segments(&tls, 4003, [1, 1]));
    let file = capture(&sent, PLAIN);
    let imported = of(&file).unwrap();
    assert_eq!(imported.file.vectors.len(), 3, "{:?}", imported.remarks);
    for vector in &imported.file.vectors {
        assert_eq!(both(vector), both(&want));
        assert!(!vector.unfinished);
    }
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("192.0.2.1:4002 to 192.0.2.2:80"),
        "{remarks}"
    );
    assert!(remarks.contains("plain HTTP"), "{remarks}");
    assert!(remarks.contains("TLS"), "{remarks}");

    let mut options = Options::of("x");
    options.port = Some(80);
    assert_eq!(import(&file, &options).unwrap().file.vectors.len(), 3);
    options.port = Some(81);
    assert!(matches!(
        import(&file, &options),
        Err(Unimportable::Nothing(_))
    ));
}

#[test]
fn a_reset_is_a_reset() {
    let mut want = example();
    let n = want.steps.len();
    want.steps.truncate(n - 2);
    want.steps.push(Step::end(Side::Client, StreamEnd::Rst));
    let vector = one(&capture(&segments(&want.steps, 4000, [5, 6]), PLAIN));
    assert_eq!(vector.steps.last().unwrap().end, Some(StreamEnd::Rst));
    assert!(!vector.unfinished);
}

#[test]
fn the_octets_that_came_first_count() {
    let want = example();
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    let mut other = sent[3].clone();
    other.payload[0] ^= 1;
    sent.insert(4, other);
    let imported = of(&capture(&sent, PLAIN)).unwrap();
    assert_eq!(both(&imported.file.vectors[0]), both(&want));
    assert!(
        imported.remarks.join("\n").contains("says others"),
        "{:?}",
        imported.remarks
    );
}

#[test]
fn a_write_of_several_segments_is_one_step() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let vector = one(&capture(&slice(&sent, 20), PLAIN));
    assert_eq!(vector.steps.len(), want.steps.len());
}

#[test]
fn a_capture_cut_off_anywhere_gives_an_error_or_less() {
    let want = both(&example());
    let segments = segments(&example().steps, 4000, [5, 6]);
    for format in [FORMATS[0], FORMATS[4]] {
        let file = capture(&segments, Look { format, ..PLAIN });
        for end in 0..file.len() {
            let Ok(imported) = of(&file[..end]) else {
                continue;
            };
            let vector = &imported.file.vectors[0];
            assert!(
                vector.unfinished || both(vector) == want,
                "{format:?} {end}"
            );
            for (got, want) in both(vector).iter().zip(&want) {
                assert!(want.starts_with(got), "{format:?} {end}");
            }
        }
    }
}

const SCRIPT: &str = r#"# A comment.
property location "tcp://localhost:8001"
property body "^n:ds[4U"
property again ${body}

connect await READY
connect ${location}
connected
write "GET /demo HTTP/1.1\r\n"
write "Host: example.com\r\n" "Connection: Upgrade\r\n"
write "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
write "Sec-WebSocket-Protocol: sample\r\n"
write "Upgrade: WebSocket\r\n"
write "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
write "Origin: http://example.com\r\n"
write "\r\n"
write flush
write ${again}
write notify SENT

read "HTTP/1.1 101 WebSocket Protocol Handshake\r\n"
read "Upgrade: WebSocket\r\n"
read "Connection: Upgrade\r\n"
read "Sec-WebSocket-Origin: http://example.com\r\n"
read "Sec-WebSocket-Location: ws://example.com/demo\r\n"
read "Sec-WebSocket-Protocol: sample\r\n"
read "\r\n"
read "8jKS'y:G*Co,Wxa-"
read notify HEARD
write [0x00] "caf\u00e9" [0xff]
write [0xff 0x00]
read [0xff 0x00]
close
closed
"#;

#[test]
fn a_script_becomes_a_vector() {
    let imported = of(SCRIPT.as_bytes()).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(vector.version, "hixie-76");
    let heard = &vector.expect.messages[0];
    assert_eq!(heard.data.as_deref(), Some("café"));
    assert!(vector.expect.client.is_some() && vector.expect.server.is_some());
    assert_eq!(vector.expect.subprotocol.as_deref(), Some("sample"));
    assert_eq!(vector.source.kind, "derived");
    let ends = vector
        .steps
        .iter()
        .filter(|step| step.end.is_some())
        .count();
    assert_eq!(ends, 1);
    assert_eq!(vector.steps[1].octets().unwrap(), b"^n:ds[4U");
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("line 6: READY: barriers are not kept"),
        "{remarks}"
    );

    // The same from the other end: who writes is the server.
    let other = SCRIPT
        .replace("write notify", "read notify")
        .replace("read ", "\u{1}")
        .replace("write ", "read ")
        .replace('\u{1}', "write ")
        .replace("connect await READY\n", "")
        .replace("read flush", "write flush")
        .replace(
            "connect ${location}",
            "accept ${location} as server\naccepted",
        );
    let other = of(other.as_bytes()).unwrap();
    assert_eq!(both(&other.file.vectors[0]), both(vector));
}

#[test]
fn what_a_script_says_that_is_not_read_is_refused_with_its_line() {
    for (from, to, line, word) in [
        (
            "read \"\\r\\n\"\n",
            "read /Date: .*/ \"\\r\\n\"\n",
            27,
            "regular expression",
        ),
        (
            "connect ${location}",
            "connect http://localhost:8001/",
            7,
            "not tcp://",
        ),
        (
            "write ${again}",
            "write ${core:random(8)}",
            18,
            "functions are not run",
        ),
        (
            "connected\n",
            "connected\nwrite option x 1\n",
            9,
            "`write option` is not read",
        ),
        ("read [0xff 0x00]", "read [0..2]", 32, "[0..2] is not read"),
        ("closed", "sleep", 34, "`sleep` is not read"),
        ("# A comment.", "write \"a\"", 1, "comes before connect"),
        ("\"^n:ds[4U\"", "\"^n\n\"", 3, "does not end on its line"),
        ("\"^n:ds[4U\"", "\"\\q\"", 3, "unknown escape"),
    ] {
        let script = SCRIPT.replacen(from, to, 1);
        assert_ne!(script, SCRIPT, "{from}");
        let error = of(script.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("line {line}: ")),
            "{to}: {error}"
        );
        assert!(error.contains(word), "{to}: {error}");
    }
}

fn har() -> serde_json::Value {
    serde_json::json!({"log": {"version": "1.2", "creator": {"name": "WebInspector"}, "entries": [
        {"startedDateTime": "2024-05-06T07:08:09.123Z",
         "request": {"method": "GET", "url": "http://example.com/", "httpVersion": "HTTP/1.1",
                     "headers": [{"name": "Host", "value": "example.com"}]},
         "response": {"status": 200, "statusText": "OK", "headers": []}},
        {"startedDateTime": "2024-05-06T07:08:10.123Z", "_resourceType": "websocket",
         "request": {"method": "GET", "url": "wss://example.com/chat?a=1#x", "httpVersion": "HTTP/1.1",
            "headers": [{"name": "Host", "value": "example.com"},
                {"name": "Upgrade", "value": "websocket"}, {"name": "Connection", "value": "Upgrade"},
                {"name": "Sec-WebSocket-Key", "value": "dGhlIHNhbXBsZSBub25jZQ=="},
                {"name": "User-Agent", "value": "Some/1"},
                {"name": "Sec-WebSocket-Version", "value": "13"}]},
         "response": {"status": 101, "statusText": "Switching Protocols", "headers": [
                {"name": "Upgrade", "value": "websocket"}, {"name": "Connection", "value": "Upgrade"},
                {"name": "Sec-WebSocket-Accept", "value": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}]},
         "_webSocketMessages": [
            {"type": "send", "time": 1.5, "opcode": 1, "data": "grüße"},
            {"type": "receive", "time": 2.5, "opcode": 2, "data": "AQID"},
            {"type": "receive", "time": 2.5, "opcode": -1, "data": "x"}]}
    ]}})
}

#[test]
fn a_har_keeps_heads_and_messages() {
    let text = serde_json::to_vec_pretty(&har()).unwrap();
    let imported = of(&text).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(vector.id, "rfc6455/a-capture-1");
    assert!(vector.secure && vector.unfinished);
    let request = said(vector, Side::Client);
    assert!(request.starts_with(b"GET /chat?a=1 HTTP/1.1\r\nHost: example.com\r\n"));
    assert!(said(vector, Side::Server).ends_with(b"xOo=\r\n\r\n"));
    let note = vector.steps[0].note.as_ref().unwrap();
    assert!(note.contains("HAR keeps no octets"), "{note}");
    assert_eq!(vector.expect.messages.len(), 2);
    assert_eq!(vector.expect.messages[0].data.as_deref(), Some("grüße"));
    assert_eq!(vector.expect.messages[1].octets().unwrap(), [1, 2, 3]);
    assert_eq!(vector.source.date.as_deref(), Some("2024-05-06"));
    assert_eq!(vector.source.client.as_deref(), Some("Some/1"));
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("1 entries that are plain HTTP"),
        "{remarks}"
    );
    assert!(remarks.contains("1 messages that are neither"), "{remarks}");
    // What it says is a vector that its own reader takes, and that plays.
    let file = File::read(imported.file.to_canonical().as_bytes()).unwrap();
    for side in [Side::Server, Side::Client] {
        play(&file.vectors[0], side, Split::Whole).unwrap();
    }

    // Without messages, the handshake holds both sides.
    let mut har = har();
    har["log"]["entries"][1]["_webSocketMessages"] = serde_json::json!([]);
    let vector = one(&serde_json::to_vec(&har).unwrap());
    assert!(vector.expect.server.is_some() && vector.expect.client.is_some());
}

#[test]
fn a_har_has_no_key3_and_says_so() {
    let mut har = har();
    let headers = &mut har["log"]["entries"][1]["request"]["headers"];
    *headers = serde_json::json!([
        {"name": "Host", "value": "example.com"}, {"name": "Upgrade", "value": "WebSocket"},
        {"name": "Connection", "value": "Upgrade"}, {"name": "Origin", "value": "http://example.com"},
        {"name": "Sec-WebSocket-Key1", "value": "4 @1  46546xW%0l 1 5"},
        {"name": "Sec-WebSocket-Key2", "value": "12998 5 Y3 1  .P00"}]);
    let vector = one(&serde_json::to_vec(&har).unwrap());
    assert_eq!(vector.version, "hixie-76");
    let note = vector.steps.last().unwrap().note.clone().unwrap();
    assert!(
        note.contains("neither the eight octets of hixie-76"),
        "{note}"
    );
}

#[test]
fn a_har_that_is_wrong_says_where() {
    for (text, want) in [
        ("{\"log\": {\n\"entries\": [,]}}", "line 2: not a HAR"),
        ("{\"vectors\": []}", "it is a vector file already"),
        ("{}", "no \"log\""),
        (
            "{\"log\": {\"entries\": []}}",
            "there is no WebSocket conversation",
        ),
    ] {
        let error = of(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
    let mut har = har();
    har["log"]["entries"][1]["request"]["headers"][0]["value"] = "a\r\nb".into();
    let error = of(&serde_json::to_vec(&har).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("line break"), "{error}");
    har["log"]["entries"][1]["request"]["headers"][0]["name"] = ":authority".into();
    let error = of(&serde_json::to_vec(&har).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("HTTP/2"), "{error}");
}

#[test]
fn texts_cut_off_anywhere_give_an_error_or_less() {
    let har = serde_json::to_vec(&har()).unwrap();
    for text in [SCRIPT.as_bytes(), &har] {
        for end in 0..text.len() {
            let _ = of(&text[..end]);
        }
    }
}

#[test]
fn what_needs_too_much_room_is_cut_or_refused() {
    // More steps than a vector may have: the begin is kept.
    let mut want = example();
    want.steps.truncate(2);
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    let frame = Segment {
        seq: sent.last().unwrap().seq + sent.last().unwrap().payload.len() as u32,
        payload: b"\xff".to_vec(),
        ..sent.last().unwrap().clone()
    };
    for n in 0..MAX_STEPS as u32 {
        let seq = frame.seq + n;
        sent.push(Segment {
            seq,
            ..frame.clone()
        });
    }
    let imported = of(&capture(&sent, PLAIN)).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(vector.steps.len(), MAX_STEPS);
    assert!(vector.unfinished, "{:?}", imported.remarks);

    // Two connections that have not room together: the first is kept.
    let long = Step::of(Side::Server, &vec![b'x'; MAX_OCTETS / 2]);
    want.steps.push(long);
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    sent.extend(segments(&want.steps, 4001, [5, 6]));
    let imported = of(&capture(&sent, PLAIN)).unwrap();
    assert_eq!(imported.file.vectors.len(), 1);
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("with it there would be more than"),
        "{remarks}"
    );

    let text = [b"{".to_vec(), vec![b' '; MAX_TEXT_OCTETS]].concat();
    assert_eq!(of(&text).unwrap_err(), Unimportable::TextTooLong);
}

fn temporary(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("import-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_program_writes_to_stdout_a_file_or_a_folder() {
    let folder = temporary("program");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut sent = segments(&example().steps, 4000, [5, 6]);
    sent.extend(segments(&example().steps, 4001, [5, 6]));
    fs::write(path("it.bin"), capture(&sent, PLAIN)).unwrap();

    let ended = run(&["import", &path("it.bin")]);
    assert_eq!(ended.code, Some(0), "{}", ended.talk);
    let file = File::read(ended.out.as_bytes()).unwrap();
    assert_eq!(file.vectors.len(), 2);
    assert_eq!(file.to_canonical(), ended.out);

    let to_file = run(&["import", &path("it.bin"), "--out", &path("it.json")]);
    assert_eq!((to_file.code, to_file.out.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(path("it.json")).unwrap(), ended.out);

    let to_folder = run(&["import", &path("it.bin"), "--out", &path("new/")]);
    assert_eq!(to_folder.code, Some(0), "{}", to_folder.talk);
    for name in ["new/hixie-76-it-1.json", "new/hixie-76-it-2.json"] {
        File::read(&fs::read(path(name)).unwrap()).unwrap();
    }
}

#[test]
fn the_program_says_what_is_wrong() {
    let folder = temporary("wrong");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let missing = run(&["import", &path("nothing.pcap")]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.talk.contains("cannot read"), "{}", missing.talk);

    for (name, octets, want) in [
        ("empty", b"".as_slice(), "it is empty"),
        (
            "other",
            b"\x7fELF",
            "offset 0: it is no pcap, pcapng, HAR or k3po script",
        ),
        (
            "short.pcap",
            b"\xd4\xc3\xb2\xa1\x02",
            "offset 5: the file ends inside the head",
        ),
        ("s.rpt", b"\nconnect http://a/\n", "line 2: "),
    ] {
        fs::write(path(name), octets).unwrap();
        let ended = run(&["import", &path(name)]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{name}");
        assert!(ended.talk.contains(want), "{name}: {}", ended.talk);
        assert!(ended.talk.contains(&path(name)), "{name}: {}", ended.talk);
    }

    fs::write(
        path("it"),
        capture(&segments(&example().steps, 4000, [5, 6]), PLAIN),
    )
    .unwrap();
    let onto = run(&["import", &path("it"), "--out", &path("it")]);
    assert_eq!(onto.code, Some(2), "{}", onto.talk);
    let other = run(&["import", &path("it"), "--port", "81"]);
    assert_eq!(other.code, Some(1));
    assert!(
        other.talk.contains("other ports (--port)"),
        "{}",
        other.talk
    );
    assert_eq!(run(&["import", &path("it"), "--port", "80"]).code, Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_octets_make_it_panic(
        begin in prop_oneof![
            Just(&b""[..]), Just(&b"\xa1\xb2\xc3\xd4"[..]), Just(&b"\x4d\x3c\xb2\xa1"[..]),
            Just(&b"\x0a\x0d\x0d\x0a"[..]),
            Just(&b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0"[..]),
            Just(&b"{\"log\":"[..]), Just(&b"connect tcp://a\n"[..]),
        ],
        octets in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let _ = of(&[begin, &octets].concat());
    }

    #[test]
    fn no_script_makes_it_panic(words in proptest::collection::vec(
        prop_oneof![
            Just("connect tcp://a\n".to_owned()), Just("accept".to_owned()), Just("write".to_owned()),
            Just("read".to_owned()), Just("accepted".to_owned()), Just("property".to_owned()),
            Just("\"GET / HTTP/1.1\\r\\nUpgrade: websocket\\r\\n\\r\\n\"".to_owned()),
            Just("[0xff 0x00]".to_owned()), Just("${a}".to_owned()), Just("a".to_owned()),
            Just("close".to_owned()), Just("closed".to_owned()), Just("notify".to_owned()), ".{0,6}",
        ], 0..40)
    ) {
        let _ = of(words.join(" ").as_bytes());
    }

    #[test]
    fn no_damaged_capture_makes_it_panic(
        format in 0..FORMATS.len(),
        link in 0..LINKS.len(),
        six in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..12),
    ) {
        let look = Look { link: LINKS[link], format: FORMATS[format], six };
        let mut file = capture(&segments(&example().steps, 4000, [u32::MAX - 40, 6]), look);
        for (at, octet, how) in damage {
            let at = at.index(file.len());
            match how {
                0 => file[at] = octet,
                1 => file[at] ^= 1 << (octet % 8),
                2 => file.truncate(at.max(40)),
                _ => { file.remove(at); }
            }
        }
        if let Ok(imported) = of(&file) {
            // Whatever came of it can be read and played.
            let text = imported.file.to_canonical();
            let file = File::read(text.as_bytes()).unwrap();
            for vector in &file.vectors {
                for side in [Side::Server, Side::Client] {
                    play(vector, side, Split::Whole).unwrap();
                }
            }
        }
    }
}
