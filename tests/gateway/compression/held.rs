//! What messages hold that are not finished, and what becomes of them when memory is
//! used up.

use std::collections::HashSet;
use std::thread::yield_now;
use std::time::Instant;

use heirloom::extension::{Compression, Inflater, Mode};

use super::{
    Alone, COMPRESSED, Contexts, EXTENSIONS, End, Frames, MOST, NO_CONTEXT, Nothing, bridge,
    bridge_by, gate, mode, noise, stored, text,
};
use crate::gate::{Gate, HIXIE_76, gate_with};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, clear};
use crate::support::peer::{CLOSE, PING, Peer, RFC, frame, request, said};

/// Octets that are counted at once.
const STEP: usize = 4096;

/// Reads frames until a ping; gives those before it.
fn until_ping(peer: &mut dyn Frames) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        match peer.read() {
            (PING, _) => return frames,
            frame => frames.push(frame),
        }
    }
}

/// Sends a message in fragments of these lengths, with a ping after each. What the
/// gateway holds behind each, and whether all of the message that was sent so far
/// has arrived.
fn holds_little<A: Frames, B: Frames>(gate: &Gate, from: &mut End<A>, to: &mut End<B>) {
    let lengths = [1, 1000, 0, 30, 3000, 1];
    let said = text(lengths.iter().sum());
    let mut rest = said.as_bytes();
    let (mut wire, mut first) = (Vec::new(), 0);
    for (n, length) in lengths.into_iter().enumerate() {
        let (part, behind) = rest.split_at(length);
        rest = behind;
        let fin = if behind.is_empty() { 0x80 } else { 0 };
        from.peer.write(fin | u8::from(n == 0), part);
        from.peer.write(PING, b"");
        let frames = until_ping(&mut to.peer);
        // What is too short to be compressed waits for more.
        assert_eq!(frames.len(), usize::from(n > 0), "{n}: {frames:?}");
        for (octet, mut payload) in frames {
            first |= octet;
            wire.append(&mut payload);
        }
        let held = gate.held();
        assert!(held <= STEP, "{held} octets are held behind fragment {n}");
    }
    assert_eq!(first, 0x81 | COMPRESSED);
    assert_eq!(to.inflate(&wire), said.as_bytes());
}

#[test]
fn between_its_fragments_a_message_that_is_compressed_on_its_own_holds_no_compressor() {
    let backend = Backend::listen();
    for in_mode in [Mode::Shared, Mode::PerConnection] {
        let gate = gate(&backend, in_mode, MOST);
        // Whether it could, or could not, send compressed fragments itself.
        for of_other in [Nothing, Alone] {
            let (mut client, mut served) = bridge(&gate, &backend, of_other, Alone);
            holds_little(&gate, &mut client, &mut served);
            let (mut client, mut served) = bridge(&gate, &backend, Alone, of_other);
            holds_little(&gate, &mut served, &mut client);
        }
    }
}

#[test]
fn a_long_message_holds_no_compressor_while_it_does_not_grow() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    let (mut client, mut served) = bridge(&gate, &backend, Nothing, Alone);
    let said = text(200_000);
    let whole = frame(0x81, said.as_bytes());
    // All but its last octets, with no frame of its own behind that: what goes on is
    // cut off at 64 KiB.
    let (most, last) = whole.split_at(whole.len() - 10);
    client.peer.send(most);
    let mut frames = vec![served.peer.read(), served.peer.read(), served.peer.read()];
    let held = gate.held();
    assert!(held <= 16 * STEP, "{held} octets are held");
    client.peer.send(last);
    frames.push(served.peer.read());
    let wire: Vec<u8> = frames.iter().flat_map(|(_, wire)| wire.clone()).collect();
    assert!(served.inflate(&wire) == said.as_bytes());
}

/// Sends the first octets of a message that is compressed, and waits until the
/// gateway has read them. They come with a ping in one write, so that both are read
/// before something is ended.
fn start_compressed(from: &mut Peer, written: Written, to: &mut dyn Frames) {
    // A stored block of more octets than there are.
    let start = written(0x02 | COMPRESSED, &[0, 9, 0, 0xf6, 0xff, 1]);
    from.send(&[start, written(PING, b"")].concat());
    assert_eq!(until_ping(to), []);
}

/// How one side writes a frame: its first octet and payload.
type Written = fn(u8, &[u8]) -> Vec<u8>;

/// Sends what is left of such a message; it arrives.
fn finish_compressed(from: &mut dyn Frames, to: &mut dyn Frames) {
    from.write(0x80, &[2, 3, 4, 5, 6, 7, 8, 9, 0]);
    let (first, payload) = to.read();
    assert_eq!((first, payload), (0x82, (1..=9).collect()));
}

/// More bridges than there is memory for if each has an unfinished message: `start`
/// starts one. Gives the bridges in their order.
fn use_memory_up(
    gate: &Gate,
    backend: &Backend,
    agreed: [Option<&str>; 2],
    start: fn(&mut Peer, &mut Served),
) -> Vec<(Peer, Served)> {
    let open = |_| bridge_by(gate, backend, agreed[0], agreed[1]);
    let mut bridges: Vec<_> = (0..BRIDGES).map(open).collect();
    assert_eq!(gate.held(), 0);
    for (client, served) in &mut bridges {
        start(client, served);
    }
    assert!(gate.held() <= MEMORY);
    bridges
}

const BRIDGES: usize = 30;
const MEMORY: usize = 1 << 20;
/// How many inflaters there is memory for.
const KEPT: usize = MEMORY / (Inflater::OCTETS / STEP * STEP);

fn small_gate(backend: &Backend) -> Gate {
    gate_with(&backend.url(), |set| {
        mode(Mode::PerConnection)(set);
        set.settings.memory_bytes = MEMORY;
    })
}

#[test]
fn clients_whose_unfinished_messages_use_the_memory_up_are_ended_with_1013() {
    let backend = Backend::listen();
    let gate = small_gate(&backend);
    let agreed = [Some(NO_CONTEXT), None];
    let bridges = use_memory_up(&gate, &backend, agreed, |client, served| {
        start_compressed(client, frame, served);
    });
    let mut ended = 0;
    for (mut client, mut served) in bridges {
        if client.has_received() {
            assert_eq!(client.close_frame(1013), "memory-full");
            served.receive_close(1001);
            ended += 1;
        } else {
            finish_compressed(&mut client, &mut served);
        }
        let (mut client, mut served) = bridge_by(&gate, &backend, agreed[0], agreed[1]);
        client.write(0x82, b"a new one");
        assert_eq!(served.read(), (0x82, b"a new one".to_vec()));
    }
    assert_eq!(ended, BRIDGES - KEPT);
}

#[test]
fn a_message_that_waits_for_the_other_end_is_not_given_up() {
    let backend = Backend::listen();
    let gate = small_gate(&backend);
    // More than the system holds for a backend that does not read.
    let (mut waiting, mut reader) = bridge(&gate, &backend, Alone, Nothing);
    let long = vec![7; MOST as usize];
    waiting.send(0x82, &[&long]);
    let begin = Instant::now();
    while gate.held() < 100_000 {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} octets are held",
            gate.held()
        );
        yield_now();
    }
    // More of it can be inflated, so the worker rests only where it must not be.
    gate.await_rest();
    let agreed = [Some(NO_CONTEXT), None];
    let mut bridges: Vec<_> = (0..BRIDGES)
        .map(|_| bridge_by(&gate, &backend, agreed[0], agreed[1]))
        .collect();
    for (client, served) in &mut bridges {
        start_compressed(client, frame, served);
    }
    assert!(gate.held() > MEMORY);
    let ended = bridges.iter().filter(|(client, _)| client.has_received());
    assert_eq!(ended.count(), BRIDGES - KEPT);
    assert!(!waiting.peer.has_received());
    drop(bridges);
    while gate.held() > MEMORY / 2 {
        assert!(begin.elapsed() < PATIENCE, "memory does not return");
        yield_now();
    }
    assert!(reader.receive().payload == long);
}

#[test]
fn what_is_held_for_a_message_counts_until_its_sender_is_answered_its_close() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    let (mut client, mut served) = bridge_by(&gate, &backend, Some(NO_CONTEXT), None);
    start_compressed(&mut client, frame, &mut served);
    let held = gate.held();
    assert_eq!(held, Inflater::OCTETS / STEP * STEP);
    client.write(CLOSE, b"\x03\xe8");
    served.receive_close(1000);
    assert_eq!(gate.held(), held);
    served.write(CLOSE, b"\x03\xe8");
    client.close_frame(1000);
    assert_eq!(gate.held(), 0);
}

#[test]
fn between_frames_that_are_compressed_alone_nothing_is_held() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    let offer = Some("x-webkit-deflate-frame; no_context_takeover");
    for answer in [None, Some(NO_CONTEXT)] {
        let (mut client, mut served) = bridge_by(&gate, &backend, offer, answer);
        client.write(0x02 | COMPRESSED, &stored(&[7; 100]));
        client.write(PING, b"");
        until_ping(&mut served);
        assert_eq!(gate.held(), 0);
        served.write(0x02, &[7; 100]);
        served.write(PING, b"");
        until_ping(&mut client);
        assert_eq!(gate.held(), 0);
    }
}

#[test]
fn a_backend_whose_unfinished_messages_use_the_memory_up_is_told_1013_too() {
    let backend = Backend::listen();
    let gate = small_gate(&backend);
    let agreed = [None, Some(NO_CONTEXT)];
    let bridges = use_memory_up(&gate, &backend, agreed, |client, served| {
        start_compressed(served, clear, client);
    });
    let mut ended = 0;
    for (mut client, mut served) in bridges {
        if served.has_received() {
            assert_eq!(served.receive_close(1013), "memory-full");
            assert_eq!(client.close_frame(1014), "memory-full");
            ended += 1;
        } else {
            finish_compressed(&mut served, &mut client);
        }
    }
    assert_eq!(ended, BRIDGES - KEPT);
}

/// The payload of a frame, whose last octet does not come.
const WAITS: usize = 60_000;

#[test]
fn payload_that_waits_for_the_end_of_its_frame_is_unfinished_input() {
    let backend = Backend::listen();
    for speaks in [RFC, HIXIE_76] {
        let gate = small_gate(&backend);
        let open = |_| {
            let mut client = Peer::connect(gate.address);
            client.send(&request(speaks, "/"));
            let mut served = backend.accept();
            served.agree_to(&[(EXTENSIONS, NO_CONTEXT)]);
            client.agree(speaks);
            (client, served)
        };
        let mut bridges: Vec<_> = (0..BRIDGES).map(open).collect();
        let whole = said(speaks, &"x".repeat(WAITS));
        for (client, _) in &mut bridges {
            client.send(&whole[..whole.len() - 1]);
        }
        let mut ended = HashSet::new();
        let begin = Instant::now();
        while BRIDGES - ended.len() > MEMORY / (WAITS / STEP * STEP) {
            assert!(begin.elapsed() < PATIENCE, "{} are ended", ended.len());
            let has_ended = |(_, (client, _)): &(usize, &mut (Peer, Served))| client.has_received();
            let now = bridges.iter_mut().enumerate().filter(has_ended);
            ended.extend(now.map(|(n, _)| n));
            yield_now();
        }
        for n in ended {
            let (client, served) = &mut bridges[n];
            match speaks {
                HIXIE_76 => assert_eq!(client.exactly(2), [0xff, 0]),
                _ => assert_eq!(client.close_frame(1013), "memory-full"),
            }
            served.receive_close(1001);
        }
        open(0);
    }
}

#[test]
fn of_a_message_whose_sender_breaks_the_protocol_nothing_is_held() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        let compression = Compression::default()
            .with_mode(Mode::Shared)
            .with_threshold(30_000);
        mode(Mode::Shared)(set);
        set.config = set.config.clone().with_compression(compression);
        set.settings.close_ms = 3_600_000;
    });
    let (mut client, mut served) = bridge_by(&gate, &backend, None, Some(NO_CONTEXT));
    // It waits for more, which may make it long enough to be compressed.
    let start = frame(0x02, &[7; 20_000]);
    client.send(&[start, frame(PING, b"")].concat());
    assert_eq!(until_ping(&mut served), []);
    assert!(gate.held() >= 4 * STEP);
    client.write(0x83, b"reserved");
    client.close_frame(1002);
    assert_eq!(gate.held(), 0);
}

#[test]
fn contexts_go_on_from_fragment_to_fragment() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    let (mut client, mut served) = bridge(&gate, &backend, Nothing, Contexts);
    let said = noise(3000);
    let mut lengths = Vec::new();
    for first in [0x02, 0x80] {
        client.peer.write(first, &said);
        lengths.push(served.peer.read().1.len());
    }
    // The second refers to the first.
    assert!(lengths[1] * 10 < lengths[0], "{lengths:?}");
}
