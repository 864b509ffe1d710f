//! Bombs, and what does not inflate.

use std::thread;

use heirloom::extension::{Codecs, Level, Mode};

use super::{
    Agreed, Alone, COMPRESSED, Contexts, Frames, MOST, NO_CONTEXT, Nothing, bridge, bridge_by,
    gate, pass, stored,
};
use crate::support::backend::Backend;
use crate::support::peer::{CLOSE, TEXT};

const MIB: usize = 1024 * 1024;

/// 64 MiB of zeros, compressed in these many parts; of each frame on its own, or
/// as a whole.
fn bomb(parts: usize, is_per_frame: bool) -> Vec<Vec<u8>> {
    let mut deflater = Codecs::default().deflater(Level::Fast, 15);
    let zeros = vec![0; 64 * MIB / parts];
    let part = |n| {
        let mut octets = Vec::new();
        if is_per_frame {
            deflater.reset();
        }
        if is_per_frame || n == parts - 1 {
            deflater.message(&zeros, &mut octets);
        } else {
            deflater.part(&zeros, &mut octets);
        }
        octets
    };
    (0..parts).map(part).collect()
}

/// The frames of a binary message whose parts were compressed.
fn frames(parts: &[Vec<u8>], is_per_frame: bool) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let kind = if n == 0 { 0x02 } else { 0 };
        let fin = if n == parts.len() - 1 { 0x80 } else { 0 };
        let is_marked = n == 0 || is_per_frame;
        let rsv1 = if is_marked { COMPRESSED } else { 0 };
        frames.push((fin | kind | rsv1, &part[..]));
    }
    frames
}

/// Octets of data frames, as they are on the wire, before a close with this code.
fn until_close(peer: &mut dyn Frames, code: u16) -> usize {
    let mut octets = 0;
    loop {
        let (first, payload) = peer.read();
        if first == CLOSE {
            assert_eq!(payload[..2], code.to_be_bytes(), "{payload:?}");
            return octets;
        }
        if first & 0x08 == 0 {
            assert_eq!(first & 0x80, 0, "the message has come to an end");
            octets += payload.len();
        }
    }
}

#[test]
fn a_bomb_ends_both_sides_and_never_arrives_whole() {
    let backend = Backend::listen();
    let whole = [bomb(1, false), bomb(64, false)];
    let by_frame = bomb(64, true);
    let mut cases = Vec::new();
    for most in [1, 16] {
        let gate = gate(&backend, Mode::PerConnection, most * MIB as u64);
        for of_backend in Agreed::ALL {
            for parts in &whole {
                for offer in [NO_CONTEXT, "permessage-deflate"] {
                    cases.push((offer, frames(parts, false)));
                }
            }
            for offer in [
                "deflate-frame",
                "x-webkit-deflate-frame; no_context_takeover",
            ] {
                cases.push((offer, frames(&by_frame, true)));
            }
            for (offer, frames) in cases.drain(..) {
                let value = of_backend.value();
                let (mut client, mut served) = bridge_by(&gate, &backend, Some(offer), value);
                let arrived = thread::scope(|scope| {
                    let reader = scope.spawn(|| until_close(&mut served, 1001));
                    for (first, payload) in &frames {
                        client.write(*first, payload);
                    }
                    assert_eq!(client.close_frame(1009), "message-too-big");
                    reader.join().unwrap()
                });
                assert!(arrived <= most as usize * MIB, "{offer}: {arrived} octets");
            }
        }
    }
}

#[test]
fn a_bomb_of_the_backend_ends_both_sides_too() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MIB as u64);
    let parts = [bomb(1, false), bomb(64, false)];
    for of_client in Agreed::ALL {
        for parts in &parts {
            let of_backend = Some("permessage-deflate");
            let (mut client, mut served) =
                bridge_by(&gate, &backend, of_client.value(), of_backend);
            thread::scope(|scope| {
                let reader = scope.spawn(|| until_close(&mut client, 1014));
                for (first, payload) in frames(parts, false) {
                    served.write(first, payload);
                }
                assert_eq!(served.receive_close(1009), "message-too-big");
                assert!(reader.join().unwrap() <= MIB);
            });
        }
    }
}

#[test]
fn exactly_the_limit_arrives_and_one_octet_more_does_not() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, 200_000);
    for of_client in [Alone, Contexts] {
        for of_backend in Agreed::ALL {
            let (mut client, mut served) = bridge(&gate, &backend, of_client, of_backend);
            let most = vec![b'a'; 200_000];
            let (one, two) = most.split_at(100_000);
            pass((&mut client, &mut served), TEXT, &[&most]);
            pass((&mut client, &mut served), TEXT, &[one, two]);
            client.send(TEXT, &[one, two, b"a"]);
            assert_eq!(client.peer.close_frame(1009), "message-too-big");
        }
    }
}

/// A block of the type that is reserved.
const CORRUPT: &[u8] = &[0x07];

#[test]
fn what_does_not_inflate_is_1007_of_the_gateway_where_it_inflates() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    for of_client in [Alone, Contexts] {
        for of_backend in Agreed::ALL {
            for fragments in [true, false] {
                let (mut client, mut served) = bridge(&gate, &backend, of_client, of_backend);
                if fragments {
                    let wire = stored(b"right");
                    client
                        .peer
                        .write(0x01 | COMPRESSED, &wire[..wire.len() - 1]);
                    client.peer.write(0x80, CORRUPT);
                } else if (of_client, of_backend) == (Alone, Alone) {
                    continue;
                } else {
                    client.peer.write(TEXT | COMPRESSED, CORRUPT);
                }
                let reason = client.peer.close_frame(1007);
                assert_eq!(reason, "compressed-data-invalid");
                until_close(&mut served.peer, 1001);
            }
        }
    }
}

#[test]
fn what_is_kept_is_the_backends_to_refuse() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    // One does not inflate, and one is no UTF-8.
    for wire in [CORRUPT.to_vec(), stored(b"\xff")] {
        let (mut client, mut served) = bridge(&gate, &backend, Alone, Alone);
        client.peer.write(TEXT | COMPRESSED, &wire);
        assert_eq!(served.peer.read(), (TEXT | COMPRESSED, wire));
        served.peer.write(CLOSE, b"\x03\xefno");
        assert_eq!(client.peer.close_frame(1007), "no");
        client.peer.write(CLOSE, b"\x03\xef");
        served.peer.receive_close(1007);
        client.peer.ends();
    }
}

#[test]
fn a_text_that_is_inflated_is_checked() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    for of_backend in [Nothing, Contexts] {
        let (mut client, mut served) = bridge(&gate, &backend, Alone, of_backend);
        client.send(TEXT, &[b"\xf0\x9f\x98", b"\xff"]);
        assert_eq!(client.peer.close_frame(1007), "utf8-invalid");
        until_close(&mut served.peer, 1001);
    }
}
