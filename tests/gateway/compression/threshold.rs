//! Messages that are too short to be compressed, in whatever way they come.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heirloom::extension::Mode;
use heirloom::net::Binary;

use super::{
    Alone, COMPRESSED, Contexts, EXTENSIONS, End, Frames, MOST, NO_CONTEXT, Nothing, Received,
    bridge, bridge_by, gate, mode, pass,
};
use crate::gate::{Gate, HIXIE_76, gate_with, request_with};
use crate::support::backend::Backend;
use crate::support::peer::{BINARY, Peer, RFC, TEXT, request};

/// The octets of the shortest message that is compressed, where nothing else is set.
const THRESHOLD: usize = 64;

/// A gateway with this threshold.
fn gate_at(backend: &Backend, in_mode: Mode, threshold: usize) -> Gate {
    gate_with(&backend.url(), |set| {
        mode(in_mode)(set);
        let compression = set.config.compression.with_threshold(threshold);
        set.config = set.config.clone().with_compression(compression);
    })
}

fn is_compressed(received: &Received) -> bool {
    received.first & COMPRESSED != 0
}

/// How messages of so many octets are cut: each cut is where a fragment starts.
fn cuts(octets: usize) -> Vec<Vec<usize>> {
    vec![
        vec![],
        vec![octets / 2],
        vec![0, octets],
        (1..octets.min(70)).collect(),
    ]
}

/// The parts of a payload that is cut there.
fn parts<'a>(payload: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut from = 0;
    let mut parts = Vec::new();
    for cut in cuts.iter().copied().chain([payload.len()]) {
        parts.push(&payload[from..cut]);
        from = cut;
    }
    parts
}

/// Short messages go plain from one end to the other, and in one frame; those that
/// have enough octets are compressed.
fn goes_by_length<A: Frames, B: Frames>(from: &mut End<A>, to: &mut End<B>) {
    for octets in [0, 1, 40, THRESHOLD - 1, THRESHOLD, 200] {
        let payload = vec![b'a'; octets];
        for cuts in cuts(octets) {
            let parts = parts(&payload, &cuts);
            let received = pass((from, to), TEXT, &parts);
            let what = (from.agreed, to.agreed, octets, parts.len());
            assert_eq!(is_compressed(&received), octets >= THRESHOLD, "{what:?}");
            if octets < THRESHOLD {
                assert_eq!(received.frames.len(), 1, "{what:?}");
            }
        }
    }
}

#[test]
fn a_short_message_goes_plain_whichever_way_it_comes() {
    let backend = Backend::listen();
    for in_mode in [Mode::Shared, Mode::PerConnection] {
        let gate = gate(&backend, in_mode, 1000);
        let contexts = match in_mode {
            Mode::PerConnection => Contexts,
            _ => Alone,
        };
        for (of_client, of_backend) in [
            (Nothing, Alone),
            (Nothing, contexts),
            (Alone, Alone),
            (contexts, Alone),
            (Alone, contexts),
            (contexts, contexts),
        ] {
            let (mut client, mut served) = bridge(&gate, &backend, of_client, of_backend);
            goes_by_length(&mut client, &mut served);
            let (mut client, mut served) = bridge(&gate, &backend, of_backend, of_client);
            goes_by_length(&mut served, &mut client);
        }
    }
}

#[test]
fn a_text_without_a_length_and_base64_go_by_their_length_too() {
    let backend = Backend::listen();
    let texts = gate(&backend, Mode::Shared, MOST);
    let mut client = Peer::connect(texts.address);
    client.send(&request(HIXIE_76, "/"));
    let mut served = backend.accept();
    served.agree_to(&[(EXTENSIONS, NO_CONTEXT)]);
    client.agree(HIXIE_76);
    let mut served = End::new(served, Alone);
    for octets in [0, THRESHOLD - 1, THRESHOLD] {
        client.send_text(&"a".repeat(octets));
        let received = served.receive();
        assert_eq!(is_compressed(&received), octets >= THRESHOLD, "{octets}");
    }

    let gate = gate_with(&backend.url(), |set| {
        mode(Mode::Shared)(set);
        set.backend.binary = Binary::Base64;
    });
    let mut client = Peer::connect(gate.address);
    let lines = ["Sec-WebSocket-Protocol: base64"];
    client.send(&request_with(RFC, "/", &lines));
    let mut served = backend.accept();
    served.agree_to(&[
        ("Sec-WebSocket-Protocol", "binary"),
        (EXTENSIONS, NO_CONTEXT),
    ]);
    client.agree(RFC);
    let (mut client, mut served) = (End::new(client, Nothing), End::new(served, Alone));
    for octets in [THRESHOLD - 1, THRESHOLD] {
        // Its base64 has enough octets each time.
        let text = STANDARD.encode(vec![b'a'; octets]);
        for cuts in cuts(text.len()) {
            client.send(TEXT, &parts(text.as_bytes(), &cuts));
            let received = served.receive();
            assert_eq!(received.payload.len(), octets);
            assert_eq!(is_compressed(&received), octets >= THRESHOLD, "{octets}");
        }
    }
}

#[test]
fn where_frames_are_compressed_alone_a_short_frame_goes_plain() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    for offer in [
        "deflate-frame",
        "x-webkit-deflate-frame; no_context_takeover",
    ] {
        let (mut client, mut served) = bridge_by(&gate, &backend, Some(offer), None);
        let mut passed = |first: u8, octets: usize| {
            served.write(first, &vec![b'a'; octets]);
            let (first, payload) = client.read();
            (first, payload.len() < octets)
        };
        assert_eq!(passed(0x81, THRESHOLD - 1), (0x81, false));
        assert_eq!(passed(0x81, THRESHOLD), (0x81 | COMPRESSED, true));
        // Nothing of a message in fragments waits.
        assert_eq!(passed(0x01, 20), (0x01, false));
        assert_eq!(passed(0x00, 200), (COMPRESSED, true));
        assert_eq!(passed(0x80, 20), (0x80, false));
    }
}

#[test]
fn the_threshold_may_be_anything() {
    let backend = Backend::listen();
    let sent = |threshold, lengths: &[usize]| {
        let gate = gate_at(&backend, Mode::Shared, threshold);
        let (mut client, mut served) = bridge(&gate, &backend, Nothing, Alone);
        let whole = vec![b'a'; lengths.iter().sum()];
        let ends = lengths.iter().scan(0, |at, length| {
            *at += length;
            Some(*at)
        });
        let cuts: Vec<usize> = ends.take(lengths.len() - 1).collect();
        let received = pass((&mut client, &mut served), BINARY, &parts(&whole, &cuts));
        (is_compressed(&received), received.frames.len())
    };
    assert_eq!(sent(0, &[50]), (true, 1));
    assert_eq!(sent(0, &[0, 50]), (true, 2));
    assert_eq!(sent(1000, &[999]), (false, 1));
    assert_eq!(sent(1000, &[500, 499]), (false, 1));
    assert_eq!(sent(1000, &[500, 500]), (true, 1));
    // A frame's header tells how many come.
    assert_eq!(sent(100_000, &[100_000]), (true, 2));
    assert_eq!(sent(100_000, &[99_999]), (false, 2));
    assert_eq!(sent(100_000, &[60_000, 60_000]), (true, 2));
    // What is not known to have enough when 64 KiB of it are there goes plain.
    assert_eq!(sent(100_000, &[40_000, 40_000, 40_000]), (false, 3));
    assert_eq!(sent(usize::MAX, &[200_000]), (false, 4));
}
