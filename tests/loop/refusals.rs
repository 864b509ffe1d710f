//! Refusals and closes that arrive.

use std::time::Instant;

use heirloom::Config;
use heirloom::handshake::Origins;

use crate::HIXIE_76;
use crate::support::PATIENCE;
use crate::support::peer::{BINARY, Peer, RFC, Speaks, TEXT, frame, request, said};
use crate::support::server::{Running, setup};

#[test]
fn a_refusal_reaches_a_client_that_is_still_writing() {
    let server = Running::serve(Config::default());
    let unknown = String::from_utf8(request(Speaks::Number(99), "/")).unwrap();
    let no_key = unknown.replace("Sec-WebSocket-Key", "X-Key");
    let bare = unknown.replace("\r\n", "\n");
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(17_000));
    for (begin, status) in [(unknown, 426), (no_key, 426), (bare, 400), (long, 431)] {
        for _ in 0..10 {
            let mut peer = Peer::connect(server.address);
            // One write, so that much of it is unread when the refusal goes;
            // and then more.
            peer.send(&[begin.as_bytes(), &[b'x'; 50 * 1024]].concat());
            peer.send(&[b'y'; 10 * 1024]);
            let (head, _) = peer.response();
            assert_eq!(head.status(), status);
            assert_eq!(head.header("Connection").unwrap_or("none"), {
                if status == 426 {
                    "Upgrade, close"
                } else {
                    "close"
                }
            });
        }
    }
}

#[test]
fn what_cannot_become_a_request_is_refused_before_the_handshake_times_out() {
    // The timeout is longer than a peer of these tests waits.
    let server = Running::serve(setup(|s| s.settings.handshake_ms = 600_000));
    for (protocol, octets) in [
        ("SSH", &b"SSH-2.0-OpenSSH_9.2\r\n"[..]),
        ("SMTP", b"EHLO mail.example\r\n"),
        ("SMTP of a server", b"220 mail.example ESMTP\r\n"),
        ("IRC", b"NICK guest\r\n"),
        ("RDP", b"\x03\x00\x00\x13\x0e\xe0"),
        ("MQTT", b"\x10\x10\x00\x04MQTT"),
        ("AMQP", b"AMQP\x00"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n"),
        ("Flash", b"<policy-file-request/>\0"),
        ("a response", b"HTTP/1.1 200 OK\r\n"),
        ("a word", b"HELLO\r\n"),
    ] {
        for send in [Peer::send, Peer::send_singly] {
            let mut peer = Peer::connect(server.address);
            send(&mut peer, octets);
            let (head, body) = peer.response();
            assert_eq!(head.status(), 400, "{protocol}");
            assert!(body.starts_with("head-malformed: "), "{protocol}: {body}");
        }
    }
    let mut peer = Peer::connect(server.address);
    peer.send(b"\x16\x03\x01");
    assert!(peer.response().1.starts_with("tls-unexpected: "));
}

#[test]
fn a_close_reaches_a_client_that_is_still_writing() {
    let server = Running::serve(setup(|s| s.config.limits.message_bytes = 100_000));
    let unmasked = [&[TEXT, 5][..], b"Hello"].concat();
    let not_utf8 = frame(TEXT, b"good \xff bad");
    let too_big = frame(BINARY, &[0; 100_001])[..14].to_vec();
    for (what, code) in [(unmasked, 1002), (not_utf8, 1007), (too_big, 1009)] {
        for _ in 0..10 {
            let mut peer = Peer::open(server.address, RFC, "/");
            peer.send(&[&what[..], &[b'x'; 50 * 1024]].concat());
            peer.send(&[b'y'; 10 * 1024]);
            peer.close_frame(code);
            peer.ends();
        }
    }
}

#[test]
fn what_arrived_before_a_violation_is_answered_before_the_close() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&[said(RFC, "fine"), frame(0x83, b"no such opcode")].concat());
    assert_eq!(peer.receive_text(), "fine");
    peer.close_frame(1002);
    peer.ends();
}

#[test]
fn only_pages_of_the_listed_origins_connect() {
    let server = Running::serve(setup(|s| {
        s.config.origins = Origins::only(["https://example.com"]);
    }));
    let from = |speaks, origin: &str| {
        let text = String::from_utf8(request(speaks, "/")).unwrap();
        let text = text.replace("Origin: http://example.com\r\n", "");
        let with = format!("\r\nOrigin: {origin}\r\nConnection:");
        let mut peer = Peer::connect(server.address);
        peer.send(text.replace("\r\nConnection:", &with).as_bytes());
        peer
    };
    for speaks in [HIXIE_76, RFC] {
        from(speaks, "https://EXAMPLE.com:443").agree(speaks);
        for origin in [
            "http://example.com",
            "https://example.com.evil.test",
            "https://notexample.com",
            "https://example.com:8443",
            "null",
        ] {
            let (head, body) = from(speaks, origin).response();
            assert_eq!(head.status(), 403, "{origin}");
            assert!(body.starts_with("origin-not-allowed: "), "{body}");
        }
    }
    let mut without = Peer::connect(server.address);
    without.send(&request(RFC, "/"));
    assert_eq!(without.response().0.status(), 403);
}

#[test]
fn one_connection_too_many_gets_503_until_another_leaves() {
    let server = Running::serve(setup(|s| {
        s.settings.connections = 2;
        // Longer than the test waits: who was refused and stays must not take
        // a place meanwhile.
        s.settings.close_ms = 60_000;
    }));
    let mut first = Peer::open(server.address, RFC, "/");
    let mut second = Peer::open(server.address, HIXIE_76, "/");
    let mut third = Peer::connect(server.address);
    third.send(&request(RFC, "/"));
    let (head, body) = third.response();
    assert_eq!(head.status(), 503);
    assert!(head.header("Retry-After").unwrap().parse::<u32>().is_ok());
    assert!(body.starts_with("too-many-connections: "), "{body}");
    first.echo("not disturbed");
    first.close();
    drop(first);
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "the place is not free again");
        let mut fourth = Peer::connect(server.address);
        fourth.send(&request(RFC, "/"));
        // The server may not have seen yet that the first has gone.
        if fourth.head().status() == 101 {
            break;
        }
    }
    second.echo("not disturbed");
}

#[test]
fn a_refusal_for_one_octet_names_its_line_and_octet() {
    let server = Running::serve(Config::default());
    let head = |lines: &[&str]| lines.concat().into_bytes();
    let rest = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (octets, sentence) in [
        (
            head(&["GET / HTTP/1.1\r\nHost: h\r\nX-Odd: a\u{7f}b\r\n", rest]),
            "this is not an HTTP request (line 3, octet 9)",
        ),
        (
            head(&["GET / HTTP/1.1\r\nHost: h\nA: b\r\n", rest]),
            "a line of the head ends in LF alone; lines end in CR LF (line 2, octet 8)",
        ),
        (
            head(&["GET /a#b HTTP/1.1\r\nHost: h\r\n", key, rest]),
            "the request target holds a `#`: a fragment is not sent to servers (line 1, octet 7)",
        ),
        (
            head(&["GET /jos\u{e9} HTTP/1.1\r\nHost: h\r\n", key, rest]),
            "only visible ASCII may stand there, and all else is percent-encoded (line 1, octet 9)",
        ),
        (
            head(&["GET / HTTP/1.1\r\nHost: h:0x50\r\n", key, rest]),
            "the Host header is not a host and port (line 2, octet 7)",
        ),
        (
            head(&["GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n", key, rest]),
            "the header Host is there twice; once is right (line 3, octet 1)",
        ),
        (
            head(&[
                "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: AAAA\r\n",
                rest,
            ]),
            "this one has 4 characters, which hold 3 octets (line 3, octet 20)",
        ),
    ] {
        let mut peer = Peer::connect(server.address);
        peer.send(&octets);
        let (head, body) = peer.response();
        assert_eq!(head.status(), 400, "{body}");
        assert!(body.ends_with(&format!("{sentence}\n")), "{body}");
    }
}
