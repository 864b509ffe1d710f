//! Servers that send too little.

use std::thread;
use std::time::Duration;

use crate::host::{Connection, Host};
use crate::program::{NOTHING, Stdin, connect, finds, probe};
use crate::support::backend::gone;

#[test]
fn a_server_that_sends_nothing_times_out() {
    let host = Host::new(Connection::read_to_end);
    for version in ["hixie-75", "hixie-76", "rfc6455"] {
        let ended = connect(host.address, &["--as", version], Stdin::Stays(b"x\n"));
        ended
            .exits(5)
            .complains("the server did not answer in time");
        let (ended, reason) = finds(host.address, version, "silent", "hangs");
        assert_eq!(ended.code, Some(5));
        assert_eq!(reason, "no answer arrived in time (--timeout-ms)");
    }
}

#[test]
fn a_server_that_sends_its_head_octet_by_octet_times_out() {
    let host = Host::new(|conn| {
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ");
        while conn.send(b"x") {
            thread::sleep(Duration::from_millis(20));
        }
    });
    connect(host.address, &[], NOTHING)
        .exits(5)
        .complains("the server did not answer in time");
    assert_eq!(
        finds(host.address, "rfc6455", "silent", "hangs").0.code,
        Some(5)
    );
}

#[test]
fn a_101_without_its_sixteen_octets_has_a_sentence_of_its_own() {
    let host = Host::new(|conn| {
        let lines = conn.right_response();
        conn.send_head(&lines);
        conn.read_to_end();
    });
    for version in ["hixie-76", "hybi-03"] {
        let ended = connect(host.address, &["--as", version], NOTHING);
        ended
            .exits(5)
            .complains("the 101 arrived and the sixteen octets that prove it did not");
        let (ended, reason) = finds(host.address, version, "silent", "hangs");
        assert_eq!(ended.code, Some(5));
        assert!(reason.contains("the sixteen octets did not"), "{reason}");
    }
}

#[test]
fn an_end_before_the_sixteen_octets_has_a_sentence_of_its_own() {
    let host = Host::new(|conn| {
        let lines = conn.right_response();
        conn.send_head(&lines);
        conn.end();
    });
    let ended = connect(host.address, &["--as", "hixie-76"], NOTHING);
    ended
        .exits(4)
        .complains("the server ended the connection between its 101 and the end");
    let (ended, reason) = finds(host.address, "hixie-76", "silent", "ends");
    assert_eq!(ended.code, Some(4));
    assert!(reason.contains("between its 101 and the end"), "{reason}");
}

#[test]
fn a_server_that_ends_at_once_has_not_answered() {
    let host = Host::new(Connection::end);
    let ended = connect(host.address, &["--as", "hybi-06"], Stdin::Stays(b""));
    let sentence = "the server ended the connection without an answer; it may not speak hybi-06";
    ended.exits(4).complains(sentence);
    let (ended, _) = finds(host.address, "hybi-06", "silent", "ends");
    ended.exits(4);
}

#[test]
fn a_server_that_ends_inside_its_head_has_answered_in_part() {
    for octets in ["HTTP/1.1 101 Swi", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let host = Host::new(|conn| {
            conn.send(octets.as_bytes());
            conn.end();
        });
        let sentence = "the server ended the connection before its response was complete";
        let ended = connect(host.address, &[], Stdin::Stays(b""));
        ended.exits(4).complains(sentence);
        let (ended, reason) = finds(host.address, "rfc6455", "silent", "ends");
        ended.exits(4);
        assert_eq!(reason, sentence);
    }
}

#[test]
fn a_server_that_resets_has_not_answered() {
    let host = Host::new(|conn| conn.reset());
    for version in ["hixie-75", "rfc6455"] {
        let ended = connect(host.address, &["--as", version], Stdin::Stays(b""));
        ended.exits(4).complains("the connection broke: ");
        let (ended, reason) = finds(host.address, version, "silent", "resets");
        ended.exits(4);
        assert!(reason.starts_with("the connection broke: "), "{reason}");
    }
}

#[test]
fn a_port_without_a_listener_exits_3() {
    let address = gone();
    let sentence = format!("cannot connect to {address}: ");
    connect(address, &[], NOTHING).exits(3).complains(&sentence);
    let (ended, findings) = probe(address, &[]);
    ended.exits(3);
    assert_eq!(findings.len(), 1, "the others would find the same");
    assert_eq!(findings[0]["verdict"], "unreachable");
    assert_eq!(findings[0]["severity"], "error");
    assert!(
        findings[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with(&sentence)
    );
}
