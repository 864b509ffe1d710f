//! Servers that send too much, or read too little.

use std::thread;

use crate::host::{Host, frame};
use crate::program::{Stdin, connect, finds};
use crate::support::PATIENCE;

#[test]
fn a_head_without_end_is_too_long() {
    for octets in [&b"X-Flood: yes\r\n"[..], &[b'x'; 4096]] {
        let octets = octets.to_vec();
        let host = Host::new(move |conn| {
            conn.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Flood: ");
            conn.send_forever(&octets);
        });
        let ended = connect(host.address, &[], Stdin::Stays(b""));
        ended.exits(4).complains("response-too-long: ");
        finds(host.address, "rfc6455", "wrong", "response-too-long")
            .0
            .exits(1);
    }
}

/// What an endless flood is made of: version and octets of one write.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("hixie-75", b"\0flood\xff".repeat(1000)),
        ("hixie-76", b"\0flood\xff".repeat(1000)),
        ("hybi-03", frame(0x04, b"flood").repeat(1000)),
        ("hybi-06", frame(0x84, b"flood").repeat(1000)),
        ("rfc6455", frame(0x81, b"flood").repeat(1000)),
        // One message that never ends.
        ("rfc6455", frame(0x01, &[b'x'; 1000])),
        // Nothing but control frames.
        ("rfc6455", frame(0x8a, b"").repeat(1000)),
        // Frames that are skipped.
        ("hixie-76", b"\x80\x05flood".repeat(1000)),
    ]
}

/// Sends its octets without end, and reads nothing.
fn flooding(octets: Vec<u8>) -> Host {
    Host::after_opening(move |conn| {
        if octets[0] == 0x01 {
            conn.send(&octets);
            let more = frame(0x00, &octets[4..]);
            conn.send_forever(&more);
        } else {
            conn.send_forever(&octets);
        }
    })
}

#[test]
fn a_flood_does_not_delay_our_end() {
    for (version, octets) in floods() {
        // A message that never ends is ended by its limit.
        let code = if octets[0] == 0x01 { 1 } else { 5 };
        let host = flooding(octets);
        let ended = connect(host.address, &["--as", version], Stdin::Ends(b"enough\n"));
        ended.exits(code);
        if code == 5 {
            ended.complains("the server did not answer our close in time");
        } else {
            ended.complains("message-too-big: ");
        }
    }
}

#[test]
fn a_flood_in_answer_to_one_message_is_a_verdict() {
    for (version, octets) in floods() {
        let host = flooding(octets);
        finds(host.address, version, "wrong", "floods").0.exits(1);
    }
}

#[test]
fn a_server_that_pings_and_never_reads_is_not_answered_forever() {
    // Each ping asks for a pong that it does not read.
    let pings = frame(0x89, &[b'x'; 125]).repeat(500);
    let host = flooding(pings);
    let ended = connect(host.address, &[], Stdin::Ends(b""));
    ended.exits(5);
    finds(host.address, "rfc6455", "wrong", "floods").0.exits(1);
}

#[test]
fn a_server_that_never_reads_times_out() {
    let host = Host::after_opening(|_| thread::sleep(PATIENCE));
    // More than the buffers of both ends take.
    let line = [&vec![b'x'; 1 << 20][..], b"\n"].concat();
    let lines = line.repeat(32);
    let input = Stdin::Ends(&lines);
    let ended = connect(host.address, &["--write-timeout-ms", "500"], input);
    ended
        .exits(5)
        .complains("the server reads nothing of what we send (--write-timeout-ms)");
}
