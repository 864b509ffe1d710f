//! Servers whose response is wrong.

use heirloom::VERSIONS;

use crate::host::{Connection, Host};
use crate::program::{Stdin, connect, finds, probe};

type Lines = Vec<String>;

fn set(lines: &mut Lines, name: &str, value: &str) {
    let line = lines.iter_mut().find(|l| l.starts_with(name)).unwrap();
    *line = format!("{name}: {value}");
}

fn leave_out(lines: &mut Lines, name: &str) {
    let before = lines.len();
    lines.retain(|l| !l.starts_with(name));
    assert_eq!(lines.len(), before - 1, "{name}");
}

pub(crate) fn add(lines: &mut Lines, line: &str) {
    lines.push(line.to_owned());
}

/// The response to this version is right except for one fault, which both
/// commands call by its name.
fn is_detected(version: &str, code: &str, fault: fn(&mut Lines)) {
    let host = Host::new(move |conn| {
        let mut lines = conn.right_response();
        fault(&mut lines);
        conn.send_head(&lines);
        if let Some(digest) = conn.digest() {
            conn.send(&digest);
        }
        conn.read_to_end();
    });
    let ended = connect(host.address, &["--as", version], Stdin::Stays(b"x\n"));
    ended.exits(4).complains(&format!("{code}: ")).is_escaped();
    assert_eq!(ended.out(), "");
    finds(host.address, version, "wrong", code).0.exits(1);
}

#[test]
fn responses_of_1xx_before_the_final_one_are_read_over() {
    let host = Host::new(|conn| {
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
        conn.open();
        conn.read_to_end();
    });
    for version in VERSIONS.iter().filter(|v| v.twin().is_none()) {
        let (_, reason) = finds(host.address, version.name, "good", "speaks");
        assert!(reason.contains("no echo and no pong"), "{reason}");
        let version = ["--as", version.name, "-v"];
        let ended = connect(host.address, &version, Stdin::Ends(b"x\n"));
        assert!(ended.stderr.contains("* open, "), "{}", ended.stderr);
    }
}

#[test]
fn a_wrong_or_missing_accept_is_caught_in_every_version_that_has_one() {
    for version in VERSIONS.iter().filter(|v| v.number.is_some()) {
        is_detected(version.name, "accept-mismatch", |lines| {
            set(
                lines,
                "Sec-WebSocket-Accept",
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            );
        });
    }
    is_detected("rfc6455", "accept-mismatch", |lines| {
        leave_out(lines, "Sec-WebSocket-Accept");
    });
    is_detected("rfc6455", "accept-mismatch", |lines| {
        let right = lines[3].clone();
        add(lines, &right);
    });
}

#[test]
fn a_wrong_digest_is_caught_in_every_version_that_has_one() {
    let host = Host::new(|conn| {
        let lines = conn.right_response();
        conn.send_head(&lines);
        conn.send(b"8jKS'y:G*Co,Wxa-");
        conn.read_to_end();
    });
    for version in VERSIONS.iter().filter(|v| v.has_body()) {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        ended.exits(4).complains("digest-mismatch: ");
        finds(host.address, version.name, "wrong", "digest-mismatch")
            .0
            .exits(1);
    }
}

#[test]
fn a_101_without_any_proof_is_detected() {
    let bare: fn(&mut Lines) = |lines| lines.truncate(1);
    is_detected("hixie-75", "response-lines", bare);
    is_detected("hixie-76", "upgrade-mismatch", bare);
    is_detected("hybi-03", "upgrade-mismatch", bare);
    is_detected("hybi-04", "upgrade-mismatch", bare);
    is_detected("rfc6455", "upgrade-mismatch", bare);
    is_detected("rfc6455", "connection-mismatch", |lines| {
        leave_out(lines, "Connection");
    });
}

#[test]
fn a_wrong_origin_is_detected() {
    is_detected("hixie-75", "origin-mismatch", |lines| {
        set(lines, "WebSocket-Origin", "http://other.example");
    });
    is_detected("hixie-76", "origin-mismatch", |lines| {
        set(lines, "Sec-WebSocket-Origin", "http://other.example");
    });
    is_detected("hybi-03", "origin-mismatch", |lines| {
        leave_out(lines, "Sec-WebSocket-Origin");
    });
}

#[test]
fn a_wrong_location_is_detected() {
    is_detected("hixie-75", "location-mismatch", |lines| {
        set(lines, "WebSocket-Location", "ws://other.example/");
    });
    is_detected("hixie-76", "location-mismatch", |lines| {
        let secure = lines[4].replace("ws://", "wss://");
        lines[4] = secure;
    });
    is_detected("hybi-03", "location-mismatch", |lines| {
        leave_out(lines, "Sec-WebSocket-Location");
    });
}

#[test]
fn the_first_three_lines_of_hixie_75_are_compared_octet_by_octet() {
    is_detected("hixie-75", "response-lines", |lines| lines.swap(1, 2));
    is_detected("hixie-75", "response-lines", |lines| {
        set(lines, "Upgrade", "websocket");
    });
}

#[test]
fn a_wrong_header_is_seen_as_it_is() {
    let host = Host::new(|conn| {
        let mut lines = conn.right_response();
        set(&mut lines, "Upgrade", "h2c");
        add(&mut lines, "Upgrade: web\u{e9}socket");
        conn.send_head(&lines);
        conn.read_to_end();
    });
    let (_, findings) = probe(host.address, &["--versions", "rfc6455"]);
    assert_eq!(findings[0]["field"], "Upgrade");
    assert_eq!(findings[0]["seen"], "h2c, web\u{e9}socket");
    let bare = Host::new(|conn| {
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        conn.read_to_end();
    });
    let (_, findings) = probe(bare.address, &["--versions", "rfc6455"]);
    assert_eq!(findings[0]["field"], "Upgrade");
    assert_eq!(findings[0]["seen"], serde_json::Value::Null);
}

#[test]
fn a_subprotocol_that_was_not_asked_for_is_detected() {
    is_detected("rfc6455", "subprotocol-mismatch", |lines| {
        add(lines, "Sec-WebSocket-Protocol: chat");
    });
}

#[test]
fn a_subprotocol_that_hixie_asked_for_and_does_not_get_is_detected() {
    let host = Host::after_opening(Connection::read_to_end);
    for version in ["hixie-75", "hixie-76", "hybi-03"] {
        let ask = ["--as", version, "--subprotocol", "chat"];
        let ended = connect(host.address, &ask, Stdin::Stays(b""));
        ended.exits(4).complains("subprotocol-mismatch: ");
    }
}

#[test]
fn an_extension_that_was_not_offered_is_detected() {
    is_detected("rfc6455", "extension-unexpected", |lines| {
        add(lines, "Sec-WebSocket-Extensions: x-webkit-deflate-frame");
    });
    is_detected("hybi-07", "extension-unexpected", |lines| {
        add(
            lines,
            "Sec-WebSocket-Extensions: x-webkit-deflate-frame, deflate-stream",
        );
    });
}

#[test]
fn hybi_04_without_a_nonce_is_detected() {
    is_detected("hybi-04", "nonce-missing", |lines| {
        leave_out(lines, "Sec-WebSocket-Nonce");
    });
}
