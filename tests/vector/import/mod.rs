//! Captures built from the vectors come back as the same octets, whatever
//! happens to their segments; HAR and k3po; files that are not trusted.

mod captures;
mod k3po;
mod har;
mod reports;
mod program;

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

use crate::support::program::run;

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
fn segments(steps: &[Step], port: u16, first_seqs: [u32; 2]) -> Vec<Segment> {
    let mut next = first_seqs;
    let mut time = 0;
    let mut all = Vec::new();
    let mut send = |all: &mut Vec<Segment>, from: usize, flags: u8, payload: &[u8], wait: u64| {
        time += wait;
        all.push(Segment {
            client: from == 0,
            port,
            seq: next[from],
            ack: if flags & ACK == 0 { 0 } else { next[1 - from] },
            flags,
            payload: payload.to_vec(),
            time,
        });
        let counted = u32::from(flags & (SYN | FIN) != 0);
        next[from] = next[from].wrapping_add(payload.len() as u32 + counted);
    };
    send(&mut all, 0, SYN, b"", 0);
    send(&mut all, 1, SYN | ACK, b"", 1);
    send(&mut all, 0, ACK, b"", 1);
    for step in steps {
        let from = usize::from(step.from == Side::Server);
        let wait = step.after_ms.unwrap_or(0) * 1000;
        let flags = match step.end {
            None => ACK | PSH,
            Some(StreamEnd::Fin) => ACK | FIN,
            Some(StreamEnd::Rst) => ACK | RST,
        };
        let octets = step.octets().unwrap();
        let mut chunks = octets.chunks(60_000).peekable();
        if chunks.peek().is_none() {
            send(&mut all, from, flags, b"", wait);
        }
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_some() { ACK } else { flags };
            send(&mut all, from, flags, chunk, wait);
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

/// A long conversation with pauses, a reply and a close.
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

fn sent(vector: &Vector, from: Side) -> Vec<u8> {
    let own = vector.steps.iter().filter(|step| step.from == from);
    own.flat_map(|step| step.octets().unwrap()).collect()
}

fn both(vector: &Vector) -> [Vec<u8>; 2] {
    [Side::Client, Side::Server].map(|from| sent(vector, from))
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
