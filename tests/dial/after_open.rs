//! Servers that go wrong after the opening handshake.

use std::thread;
use std::time::Duration;

use heirloom::VERSIONS;
use serde_json::Value;

use crate::host::{Connection, Host, frame};
use crate::program::{EVIL, NOTHING, Stdin, connect, finds, heirloom, probe};
use crate::responses::add;

/// The octets of one violation after a right handshake: version, code, octets.
fn violations() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        (
            "rfc6455",
            "mask-unexpected",
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
        ),
        ("rfc6455", "reserved-opcode", frame(0x83, b"x")),
        ("rfc6455", "reserved-bits", frame(0xc1, b"x")),
        ("rfc6455", "utf8-invalid", frame(0x81, b"\xc3(")),
        ("rfc6455", "control-fragmented", frame(0x09, b"")),
        ("rfc6455", "close-code-invalid", frame(0x88, b"\x03\xed")),
        ("rfc6455", "close-body-short", frame(0x88, b"\x03")),
        ("hybi-08", "utf8-invalid", frame(0x81, b"\xc3(")),
        ("hybi-07", "reserved-opcode", frame(0x84, b"x")),
        ("hybi-06", "reserved-opcode", frame(0x88, b"\x03\xe8")),
        (
            "hybi-05",
            "reserved-bits",
            b"\x84\x85\x37\xfa\x21\x3d".to_vec(),
        ),
        ("hybi-04", "continuation-unexpected", frame(0x80, b"x")),
        // FIN is MORE there, and a close cannot go on.
        ("hybi-03", "control-fragmented", frame(0x81, b"")),
        (
            "hixie-76",
            "message-too-big",
            b"\x80\xff\xff\xff\xff\x7f".to_vec(),
        ),
        (
            "hixie-75",
            "message-too-big",
            b"\x80\xff\xff\xff\xff\x7f".to_vec(),
        ),
    ]
}

#[test]
fn a_frame_that_breaks_the_protocol_is_called_by_its_name() {
    for (version, code, octets) in violations() {
        for ends in [true, false] {
            let octets = octets.clone();
            let host = Host::after_opening(move |conn| {
                conn.send(&octets);
                if ends {
                    conn.end();
                } else {
                    conn.read_to_end();
                }
            });
            // Whether there is more to send or not, and whether the server ends
            // TCP or waits.
            for stdin in [NOTHING, Stdin::Stays(b"")] {
                let ended = connect(host.address, &["--as", version], stdin);
                ended.exits(1).complains(&format!("{code}: ")).is_escaped();
            }
            finds(host.address, version, "wrong", code).0.exits(1);
        }
    }
}

#[test]
fn a_violation_after_our_close_is_called_by_its_name_too() {
    let host = Host::after_opening(|conn| {
        // The echo, and then a reply to our close that is masked.
        conn.send(&frame(0x81, "heirloom probe: grüße".as_bytes()));
        thread::sleep(Duration::from_millis(200));
        conn.send(b"\x88\x82\x01\x02\x03\x04\x02\xea");
        conn.read_to_end();
    });
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(1).complains("mask-unexpected: ");
    finds(host.address, "rfc6455", "wrong", "mask-unexpected")
        .0
        .exits(1);
}

#[test]
fn a_close_with_a_code_is_a_good_end_and_shown() {
    let reason = format!("{EVIL}maintenance");
    let body = [&[0x0f, 0xa0], reason.as_bytes()].concat();
    for ends in [true, false] {
        let close = frame(0x88, &body);
        let host = Host::after_opening(move |conn| {
            conn.send(&close);
            if ends {
                conn.end();
            } else {
                // It should end TCP now, and does not.
                conn.read_to_end();
            }
        });
        let ended = connect(host.address, &["-v"], Stdin::Stays(b""));
        ended.exits(0).is_escaped();
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.starts_with("* closed 4000 "), "{last}");
        assert!(last.ends_with("maintenance"), "{last}");
        connect(host.address, &[], Stdin::Stays(b"")).exits(0);
        let (ended, reason) = finds(host.address, "rfc6455", "good", "speaks");
        ended.exits(0);
        assert!(reason.ends_with("it closes at once"), "{reason}");
    }
}

#[test]
fn a_close_in_one_packet_with_the_handshake_is_a_close() {
    let host = Host::new(|conn| {
        let mut octets = format!("{}\r\n\r\n", conn.right_response().join("\r\n")).into_bytes();
        octets.extend_from_slice(&frame(0x88, b"\x0f\xa0"));
        conn.send(&octets);
        conn.end();
    });
    let ended = connect(host.address, &["-v"], Stdin::Stays(b""));
    ended.exits(0);
    assert!(
        ended.stderr.ends_with("* closed 4000\n"),
        "{}",
        ended.stderr
    );
    let (_, reason) = finds(host.address, "rfc6455", "good", "speaks");
    assert!(reason.ends_with("it closes at once"), "{reason}");
}

#[test]
fn a_close_counts_although_tcp_is_reset_after_it() {
    let host = Host::after_opening(|conn| {
        conn.send(&frame(0x88, b"\x03\xe8"));
        // What we send after it is lost.
        thread::sleep(Duration::from_millis(100));
        conn.reset();
    });
    connect(host.address, &[], Stdin::Stays(b"")).exits(0);
}

#[test]
fn an_end_without_a_close_is_a_cut_in_versions_with_a_close() {
    let host = Host::after_opening(Connection::end);
    for version in VERSIONS {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        if version.name.starts_with("hixie") {
            // Browsers were seen to end like this.
            ended.exits(0);
            assert_eq!(ended.stderr, "");
        } else {
            ended.exits(1).complains("connection-cut: ");
        }
        let (ended, reason) = finds(host.address, version.name, "silent", "ends");
        ended.exits(4);
        let begin = "the handshake is right, and then the server ended";
        assert!(reason.starts_with(begin), "{reason}");
    }
}

#[test]
fn an_end_inside_a_message_is_a_cut_in_every_version() {
    let host = Host::after_opening(|conn| {
        let half: &[u8] = match conn.header("Sec-WebSocket-Version") {
            None if conn.header("Sec-WebSocket-Draft").is_some() => b"\x04\x05he",
            None => b"\0he",
            Some("4" | "5" | "6") => b"\x84\x05he",
            Some(_) => b"\x81\x05he",
        };
        conn.send(half);
        conn.end();
    });
    for version in VERSIONS {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        ended.exits(1).complains("connection-cut: ");
        assert_eq!(ended.out(), "", "half a message is none");
    }
}

#[test]
fn a_reset_after_the_handshake_is_reported() {
    let host = Host::after_opening(|conn| {
        thread::sleep(Duration::from_millis(100));
        conn.reset();
    });
    let ended = connect(host.address, &[], Stdin::Stays(b""));
    ended.exits(1).complains("the connection broke: ");
    let (ended, reason) = finds(host.address, "rfc6455", "silent", "resets");
    ended.exits(4);
    assert!(reason.starts_with("the handshake is right, and then"));
}

#[test]
fn a_server_that_does_not_answer_our_close_times_out() {
    let host = Host::after_opening(Connection::read_to_end);
    for version in VERSIONS.iter().filter(|v| v.name != "hixie-75") {
        let ended = connect(host.address, &["--as", version.name], NOTHING);
        ended
            .exits(5)
            .complains("the server did not answer our close in time");
    }
}

#[test]
fn a_pong_that_does_not_arrive_is_missed() {
    let host = Host::after_opening(Connection::read_to_end);
    let ended = connect(host.address, &["--ping"], NOTHING);
    ended.exits(5).complains("the pong did not arrive in time");
}

#[test]
fn a_server_that_is_silent_after_the_handshake_speaks_the_version() {
    let host = Host::after_opening(Connection::read_to_end);
    let url = format!("ws://{}/", host.address);
    let args = ["probe", &url, "--json", "--versions", "13,75"];
    let ended = heirloom(&args, NOTHING);
    assert_eq!(ended.code, Some(0), "{}", ended.out());
    for line in ended.out().lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        assert_eq!(finding["verdict"], "speaks", "{finding}");
        let reason = finding["reason"].as_str().unwrap();
        assert!(reason.ends_with("arrived within a second"), "{reason}");
    }
}

#[test]
fn what_a_server_sends_is_shown_without_its_escape_sequences() {
    let host = Host::new(|conn| {
        let mut lines = conn.right_response();
        lines[0] = "HTTP/1.1 101 \u{9b}31mSwitching\u{202e}".to_owned();
        add(&mut lines, "X-Evil: \u{9b}2J\u{202e}\u{2028}x");
        conn.send_head(&lines);
        conn.send(&frame(0x89, EVIL.as_bytes()));
        conn.send(&frame(0x8a, EVIL.as_bytes()));
        conn.send(&frame(0x88, &[&[0x03, 0xe8], EVIL.as_bytes()].concat()));
        conn.end();
    });
    let ended = connect(host.address, &["-vvv"], Stdin::Stays(b""));
    ended.is_escaped();
    assert!(ended.stderr.contains("< X-Evil: "), "{}", ended.stderr);
    let (ended, _) = probe(host.address, &["--versions", "13"]);
    ended.is_escaped();
}

#[test]
fn messages_in_a_pipe_are_as_the_server_sent_them() {
    let host = Host::after_opening(|conn| {
        conn.send(&frame(0x81, EVIL.as_bytes()));
        conn.send(&frame(0x82, b"\0\xff\x1b[0m"));
        conn.send(&frame(0x88, b""));
        conn.end();
    });
    let ended = connect(host.address, &[], Stdin::Stays(b""));
    ended.exits(0);
    let want = [EVIL.as_bytes(), b"\n\0\xff\x1b[0m\n"].concat();
    assert_eq!(ended.out, want);
}

#[test]
fn a_message_over_the_limit_is_not_shown() {
    let host = Host::after_opening(|conn| {
        conn.send(&frame(0x81, b"ten octets"));
        conn.send(&frame(0x81, b"and eleven."));
        conn.read_to_end();
    });
    let limit = ["--max-message-bytes", "10"];
    let ended = connect(host.address, &limit, Stdin::Stays(b""));
    ended.exits(1).complains("message-too-big: ");
    assert_eq!(ended.out(), "ten octets\n");
}

#[test]
fn white_space_behind_a_digest_is_skipped_and_named() {
    let host = Host::after_opening(|conn| {
        conn.send(b"\r\n");
        conn.send(b"\0one\xff\0two\xff\xff\0");
        conn.read_to_end();
    });
    let ended = connect(host.address, &["--as", "hixie-76"], NOTHING);
    assert_eq!(ended.out, b"one\ntwo\n");
    assert!(
        ended.stderr.contains("2 octets of white space"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("\\r\\n"), "{}", ended.stderr);
}
