//! Frames on the wire, read by hand.

use heirloom::version::Layout;
use heirloom::{Side, Version};

/// A frame on the wire, read by hand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) last: bool,
    pub(crate) op: Op,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The frames of a version; `None` where they are masked with a key that is made
/// in the handshake. A hixie text without its end is a frame that is not the last.
pub(crate) fn frames(version: &Version, from: Side, octets: &[u8]) -> Option<Vec<Frame>> {
    let mut rest = octets.to_vec();
    let mut frames = Vec::new();
    if version.layout == Layout::Hixie75 {
        while let Some(kind) = rest.first() {
            if *kind == 0xff {
                assert_eq!(rest[..2], [0xff, 0], "{octets:02x?}");
                frames.push(close(&[]));
                rest.drain(..2);
                continue;
            }
            assert_eq!(*kind, 0, "{octets:02x?}");
            let end = rest.iter().position(|o| *o == 0xff);
            frames.push(Frame {
                last: end.is_some(),
                op: Op::Text,
                payload: rest[1..end.unwrap_or(rest.len())].to_vec(),
            });
            rest.drain(..end.map_or(rest.len(), |end| end + 1));
        }
        return Some(frames);
    }
    if version.layout == Layout::Hybi04 && from == Side::Client {
        return None;
    }
    while !rest.is_empty() {
        let masks_all = version.layout == Layout::Hybi05 && from == Side::Client;
        if masks_all {
            let key: Vec<u8> = rest.drain(..4).collect();
            // The index goes on, so this unmasks as much as the frame has.
            let head = |rest: &[u8], i: usize| rest[i] ^ key[i % 4];
            let (head, length) = head_and_length(&rest, &head);
            let clear: Vec<u8> = rest
                .drain(..head + length)
                .enumerate()
                .map(|(i, o)| o ^ key[i % 4])
                .collect();
            frames.push(frame_of(version, clear[0], clear[head..].to_vec()));
            continue;
        }
        let (head, length) = head_and_length(&rest, &|rest, i| rest[i]);
        let first = rest[0];
        let is_masked = rest[1] & 0x80 != 0;
        assert_eq!(
            is_masked,
            version.layout == Layout::Hybi07 && from == Side::Client
        );
        rest.drain(..head);
        let mut key = [0; 4];
        if is_masked {
            key = rest.drain(..4).collect::<Vec<u8>>().try_into().unwrap();
        }
        let payload = rest.drain(..length).enumerate();
        let payload = payload.map(|(i, o)| o ^ key[i % 4]).collect();
        frames.push(frame_of(version, first, payload));
    }
    Some(frames)
}

fn head_and_length(rest: &[u8], octet: &dyn Fn(&[u8], usize) -> u8) -> (usize, usize) {
    let number =
        |n: usize| (2..2 + n).fold(0usize, |all, i| all * 256 + usize::from(octet(rest, i)));
    match octet(rest, 1) & 0x7f {
        126 => (4, number(2)),
        127 => (10, number(8)),
        short => (2, usize::from(short)),
    }
}

fn frame_of(version: &Version, first: u8, payload: Vec<u8>) -> Frame {
    use Op::{Binary, Close, Continuation, Ping, Pong, Text};
    let early = [Continuation, Close, Ping, Pong, Text, Binary];
    let op = match (version.layout, first & 0x7f) {
        (Layout::Hybi07, 0) => Continuation,
        (Layout::Hybi07, 1) => Text,
        (Layout::Hybi07, 2) => Binary,
        (Layout::Hybi07, 8) => Close,
        (Layout::Hybi07, 9) => Ping,
        (Layout::Hybi07, 10) => Pong,
        (Layout::Hybi07, _) => panic!("{first:02x}"),
        (_, n) => early[usize::from(n)],
    };
    Frame {
        last: (first & 0x80 != 0) != (version.layout == Layout::Hybi01),
        op,
        payload,
    }
}

pub(crate) fn close(body: &[u8]) -> Frame {
    Frame {
        last: true,
        op: Op::Close,
        payload: body.to_vec(),
    }
}
