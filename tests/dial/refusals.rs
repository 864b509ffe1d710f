//! Servers that refuse.

use std::thread;
use std::time::Duration;

use heirloom::VERSIONS;

use crate::host::Host;
use crate::program::{EVIL, NOTHING, Stdin, connect, finds, heirloom, probe};

pub(crate) fn refusal(status: &str, more: &str, body: &str) -> (Vec<u8>, Vec<u8>) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    (head.into_bytes(), body.as_bytes().to_vec())
}

#[test]
fn a_refusal_is_repeated_without_its_escape_sequences() {
    let body = format!("{EVIL}come back later{EVIL}\nsecond line\n");
    let (head, body) = refusal("400 Bad Request", "", &body);
    let host = Host::sending([head, body].concat());
    for version in VERSIONS {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        let sentence = "refused: the server refused with HTTP status 400; it says: ";
        ended.exits(4).complains(sentence).is_escaped();
        assert!(ended.stderr.contains("come back later"), "{}", ended.stderr);
        let (ended, reason) = finds(host.address, version.name, "refused", "refused");
        ended.exits(4);
        assert!(reason.starts_with("HTTP status 400: "), "{reason}");
        assert!(reason.contains("come back later"), "{reason}");
    }
    // As a person sees it.
    let url = format!("ws://{}/", host.address);
    heirloom(&["probe", &url], NOTHING).exits(4).is_escaped();
}

#[test]
fn the_body_of_a_refusal_may_arrive_after_its_head() {
    let (head, body) = refusal("503 Service Unavailable", "", "going-away: try later\n");
    let host = Host::new(move |conn| {
        conn.send(&head);
        thread::sleep(Duration::from_millis(100));
        conn.send(&body);
        conn.read_to_end();
    });
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(4).complains("refused: ");
    let says = "; it says: going-away: try later\n";
    assert!(ended.stderr.ends_with(says), "{}", ended.stderr);
    let (_, reason) = finds(host.address, "rfc6455", "refused", "refused");
    assert_eq!(reason, "HTTP status 503: going-away: try later");
}

#[test]
fn a_refusal_without_a_body_does_not_keep_us_waiting() {
    let (head, _) = refusal("403 Forbidden", "", "");
    let host = Host::sending(head);
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(4).complains("refused: ");
    assert!(
        ended.stderr.ends_with("HTTP status 403\n"),
        "{}",
        ended.stderr
    );
    let (_, reason) = finds(host.address, "rfc6455", "refused", "refused");
    assert_eq!(reason, "HTTP status 403");
}

#[test]
fn the_versions_that_a_426_lists_are_shown() {
    let lists = "Upgrade: websocket\r\nSec-WebSocket-Version: 13, 8\r\n";
    let (head, body) = refusal("426 Upgrade Required", lists, "too old\n");
    let host = Host::sending([head, body].concat());
    let (ended, findings) = probe(host.address, &["--versions", "5,6"]);
    ended.exits(4).is_escaped();
    assert_eq!(findings.len(), 2);
    for finding in findings {
        assert_eq!(finding["verdict"], "refused");
        assert_eq!(finding["severity"], "refused");
        assert_eq!(finding["status"], 426);
        assert_eq!(finding["lists"], "13, 8");
        assert_eq!(
            finding["reason"],
            "HTTP status 426, which lists 13, 8: too old"
        );
    }
    connect(host.address, &["--as", "5"], NOTHING)
        .exits(4)
        .complains("refused: the server refused with HTTP status 426; it says: too old");
}

#[test]
fn a_response_that_is_not_http_is_called_malformed() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"HTTP/1.1 200 OK\nServer: bare line feeds\n\n",
        b"\x1b[31m\x00\x00\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/2 101\r\n\r\n",
    ] {
        let host = Host::sending(garbage.to_vec());
        let ended = connect(host.address, &[], Stdin::Stays(b""));
        ended
            .exits(4)
            .complains("response-malformed: ")
            .is_escaped();
        finds(host.address, "rfc6455", "wrong", "response-malformed")
            .0
            .exits(1);
    }
}
