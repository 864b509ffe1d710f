//! Backends that lie.

use std::io::Read;

use heirloom::Version;
use heirloom::conn::Tally;
use heirloom::net::ClosedBy;

use crate::gate::{Gate, gate, gate_with, milliseconds, request_with};
use crate::support::backend::{Backend, Served};
use crate::support::peer::{BINARY, PING, PONG, Peer, RFC, TEXT, frame, request};

/// A client says its payload at once; the backend lies and must not get it.
fn lie(gate: &Gate, backend: &Backend, what: &str, lie: impl FnOnce(&mut Served)) -> String {
    let mut client = Peer::connect(gate.address);
    let origin = request_with(RFC, "/", &["Origin: http://example.com"]);
    client.send(&[origin, frame(TEXT, b"secret")].concat());
    let mut served = backend.accept();
    lie(&mut served);
    let (head, body) = client.response();
    assert_eq!(head.status(), 502, "{what}: {body}");
    assert!(body.starts_with("backend-handshake: "), "{what}: {body}");
    served.finish();
    let mut got = Vec::new();
    // It may be reset by then: what it sent more was not read.
    let _ = served.stream().read_to_end(&mut got);
    assert_eq!(got, b"", "{what}");
    drop(client);
    let seen = gate.seen();
    assert_eq!(seen.by, ClosedBy::Backend, "{what}");
    assert_eq!(seen.from_client, Tally::default(), "{what}");
    seen.what.to_owned()
}

#[test]
fn a_backend_that_lies_in_its_handshake_gets_nothing_of_the_client() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let upgrade = "Upgrade: websocket\r\n";
    let connection = "Connection: Upgrade\r\n";
    type Change = Box<dyn Fn(String) -> String>;
    let replace = |from: &'static str, to: &'static str| -> Change {
        Box::new(move |right: String| {
            assert!(right.contains(from));
            right.replacen(from, to, 1)
        })
    };
    let lies: Vec<(&str, Change)> = vec![
        ("response-malformed", replace("HTTP/1.1", "HTTQ/1.1")),
        ("response-malformed", replace("HTTP/1.1", "SSH-2.0")),
        ("response-malformed", replace("HTTP/1.1", "\r\nHTTP/1.1")),
        ("response-malformed", replace("HTTP/1.1", "junkHTTP/1.1")),
        ("response-malformed", replace("\r\nUpgrade", "\nUpgrade")),
        ("upgrade-mismatch", replace(upgrade, "")),
        (
            "upgrade-mismatch",
            replace(upgrade, "Upgrade: websockets\r\n"),
        ),
        (
            "upgrade-mismatch",
            replace(upgrade, "Upgrade: h2c\r\nUpgrade: websocket\r\n"),
        ),
        ("connection-mismatch", replace(connection, "")),
        (
            "connection-mismatch",
            replace(connection, "Connection: keep-alive\r\n"),
        ),
        (
            "accept-mismatch",
            replace("Sec-WebSocket-Accept", "X-Accept"),
        ),
        ("accept-mismatch", replace("Accept: ", "Accept: A")),
        (
            "accept-mismatch",
            replace("\r\n\r\n", "\r\nSec-WebSocket-Accept: x\r\n\r\n"),
        ),
        (
            "accept-mismatch",
            Box::new(|right| {
                right
                    .to_ascii_uppercase()
                    .replace("WEBSOCKET\r", "websocket\r")
            }),
        ),
        (
            "subprotocol-mismatch",
            replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ),
        (
            "subprotocol-mismatch",
            replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol:\r\n\r\n"),
        ),
        (
            "extension-unexpected",
            replace(
                "\r\n\r\n",
                "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            ),
        ),
        (
            "extension-unexpected",
            replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
        ),
    ];
    for (code, change) in &lies {
        let mut said = String::new();
        let what = lie(&gate, &backend, code, |served| {
            said = change(served.response_of_rfc());
            served.send(said.as_bytes());
        });
        assert_eq!(what, "backend-handshake", "{said}");
    }
}

#[test]
fn a_lie_is_named_to_the_client() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (from, to, sentence) in [
        (
            "Upgrade: websocket\r\n",
            "",
            "the response's Upgrade is missing",
        ),
        (
            "Connection: Upgrade\r\n",
            "",
            "the response's Connection is missing",
        ),
        (
            "Accept: ",
            "Accept: A",
            "does not prove that the server read our key",
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Protocol: x\r\n\r\n",
            "not one we asked for",
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: x\r\n\r\n",
            "that we did not offer",
        ),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let mut served = backend.accept();
        let response = served.response_of_rfc().replacen(from, to, 1);
        served.send(response.as_bytes());
        let (_, body) = client.response();
        assert!(body.contains(sentence), "{body}");
    }
}

#[test]
fn a_backend_whose_head_never_ends_is_told_off_at_the_limit() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let what = lie(&gate, &backend, "endless", |served| {
        served.send(b"HTTP/1.1 101 Switching Protocols\r\n");
        for _ in 0..17 {
            served.send(format!("X: {}\r\n", "x".repeat(1000)).as_bytes());
        }
    });
    assert_eq!(what, "backend-handshake");
}

#[test]
fn a_backend_of_hixie_76_that_lies_gets_nothing_of_the_client() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.backend.version = Version::named("hixie-76").unwrap();
    });
    let path = format!("ws://{}/", backend.address);
    let replace = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |right: &str| {
            assert!(right.contains(&from), "{from} in {right}");
            right.replacen(&from, &to, 1)
        }
    };
    let lies = [
        replace("HTTP/1.1", "HTTQ/1.1"),
        replace("Upgrade: WebSocket\r\n", ""),
        replace("Upgrade: WebSocket\r\n", "Upgrade: other\r\n"),
        replace("Connection: Upgrade\r\n", ""),
        replace("Origin: http://example.com", "Origin: http://evil.example"),
        replace("Sec-WebSocket-Origin: http://example.com\r\n", ""),
        replace(&path, "ws://evil.example/"),
        replace(&path, "/"),
        replace("Sec-WebSocket-Location", "X-Location"),
    ];
    for (n, change) in lies.iter().enumerate() {
        lie(&gate, &backend, &format!("lie {n}"), |served| {
            let key3 = served.exactly(8);
            let response = change(&served.response_of_76());
            // It would be right otherwise.
            let digest = served.digest(&key3);
            served.send(&[response.as_bytes(), &digest].concat());
        });
    }
    for n in 0..16 {
        lie(
            &gate,
            &backend,
            &format!("octet {n} of the digest"),
            |served| {
                let key3 = served.exactly(8);
                let mut digest = served.digest(&key3);
                digest[n] ^= 1;
                let response = served.response_of_76();
                served.send(&[response.as_bytes(), &digest].concat());
            },
        );
    }
}

#[test]
fn a_subprotocol_of_a_backend_of_hixie_76_is_what_was_asked_for_or_none() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.backend.version = Version::named("hixie-76").unwrap();
    });
    // The draft ignores a subprotocol that was not asked for; so does its client.
    for (asked, answered, told) in [
        (None, Some("chat"), Ok(None)),
        (Some("chat"), Some("chat"), Ok(Some("chat"))),
        (Some("chat"), Some("other"), Err(502)),
        (Some("chat"), None, Err(502)),
    ] {
        let mut client = Peer::connect(gate.address);
        let asks = asked.map(|name| format!("Sec-WebSocket-Protocol: {name}"));
        let asks: Vec<&str> = asks.iter().map(String::as_str).collect();
        client.send(&request_with(RFC, "/", &asks));
        let mut served = backend.accept();
        assert_eq!(served.head.header("Sec-WebSocket-Protocol"), asked);
        let key3 = served.exactly(8);
        let mut response = served.response_of_76();
        if let Some(name) = answered {
            let line = format!("Sec-WebSocket-Protocol: {name}\r\n");
            response.insert_str(response.len() - 2, &line);
        }
        let digest = served.digest(&key3);
        served.send(&[response.as_bytes(), &digest].concat());
        match told {
            Ok(told) => {
                let head = client.head();
                assert_eq!(head.status(), 101);
                assert_eq!(head.header("Sec-WebSocket-Protocol"), told);
            }
            Err(status) => assert_eq!(client.response().0.status(), status),
        }
    }
}

#[test]
fn a_backend_of_hixie_76_that_tells_the_truth_is_bridged_after_its_digest() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.backend.version = Version::named("hixie-76").unwrap();
    });
    let mut client = Peer::connect(gate.address);
    client.send(&[request(RFC, "/"), frame(TEXT, b"early")].concat());
    let mut served = backend.accept();
    let key3 = served.exactly(8);
    let response = served.response_of_76();
    let digest = served.digest(&key3);
    served.send(&[response.as_bytes(), &digest[..15]].concat());
    assert!(!client.receives_within(milliseconds(50)), "half a proof");
    assert!(!served.receives_within(milliseconds(10)));
    served.send(&digest[15..]);
    client.agree(RFC);
    assert_eq!(served.exactly(7), b"\0early\xff");
    // A ping has nowhere to go, and is answered here.
    client.send(&frame(PING, b"x"));
    assert_eq!(client.frame(), (PONG, b"x".to_vec()));
    // Binary has no words there.
    client.send(&frame(BINARY, b"x"));
    assert_eq!(client.close_frame(1003), "binary-unwanted");
    assert_eq!(served.exactly(2), [0xff, 0]);
}
