//! The order of the two handshakes: when the client gets its 101, and what it
//! gets where the backend refuses.

use std::io::Write;
use std::time::Instant;

use heirloom::net::{ClosedBy, Resolver};

use crate::gate::{ALL, HIXIE_76, bridge, gate, gate_with, milliseconds, receive_whole};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Silent, clear, gone};
use crate::support::peer::{DIGEST, KEY3, PING, PONG, Peer, RFC, TEXT, request, said};

#[test]
fn the_client_gets_its_101_when_the_backend_agreed_and_not_before() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let mut served = backend.accept();
        assert!(!client.receives_within(milliseconds(60)), "{speaks:?}");
        served.agree_to(&[]);
        client.agree(speaks);
        client.send_text("there");
        assert_eq!(served.receive_text(), "there");
        served.send_text("and back");
        assert_eq!(client.receive_text(), "and back");
    }
}

#[test]
fn no_backend_is_dialled_for_a_head_that_is_not_good_or_not_whole() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let good = String::from_utf8(request(RFC, "/")).unwrap();
    for (head, status) in [
        (good.replace("Sec-WebSocket-Key", "X-Key"), 400),
        (good.replace("Version: 13", "Version: 99"), 426),
        (good.replace("Upgrade: websocket\r\n", ""), 400),
        (good.replace("Host: example.com", "Host: a b"), 400),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 200),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(head.as_bytes());
        let (head, body) = client.response();
        assert_eq!(head.status(), status, "{body}");
    }
    let mut client = Peer::connect(gate.address);
    client.send(&good.as_bytes()[..good.len() - 1]);
    client.finish();
    client.is_cut_off();
    assert_eq!(gate.seen().version, None);
    backend.has_nobody();
}

#[test]
fn the_eight_octets_of_hixie_76_may_come_before_or_after_the_101() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let whole = request(HIXIE_76, "/");
    let (head, body) = whole.split_at(whole.len() - KEY3.len());

    let mut before = Peer::connect(gate.address);
    before.send(head);
    let mut served = backend.accept();
    before.send(body);
    served.agree_to(&[]);
    assert_eq!(before.head().status(), 101);
    assert_eq!(before.exactly(16), DIGEST);

    let mut after = Peer::connect(gate.address);
    after.send(head);
    let mut served = backend.open();
    assert_eq!(after.head().status(), 101);
    // What the backend says early waits for the digest.
    served.send_text("early");
    served.send(&clear(PING, b"still there?"));
    assert!(!after.receives_within(milliseconds(60)));
    after.send_singly(body);
    assert_eq!(after.exactly(16), DIGEST);
    assert_eq!(after.exactly(7), b"\0early\xff");
    assert_eq!(served.masked_frame(), (PONG, b"still there?".to_vec()));
}

#[test]
fn what_a_backend_says_in_one_write_with_its_101_waits_for_the_eight_octets() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let whole = request(HIXIE_76, "/");
    let (head, body) = whole.split_at(whole.len() - KEY3.len());
    let mut client = Peer::connect(gate.address);
    client.send(head);
    let mut served = backend.accept();
    let response = served.response_of_rfc();
    served.send(&[response.as_bytes(), &clear(TEXT, b"early")].concat());
    assert_eq!(client.head().status(), 101);
    client.send(body);
    assert_eq!(client.exactly(16), DIGEST);
    assert_eq!(client.exactly(7), b"\0early\xff");
}

#[test]
fn what_a_client_says_before_the_101_waits_for_the_backend() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&[request(speaks, "/"), said(speaks, "early")].concat());
        let mut served = backend.accept();
        assert!(!served.receives_within(milliseconds(30)), "{speaks:?}");
        served.agree_to(&[]);
        client.agree(speaks);
        assert_eq!(served.receive_text(), "early");
    }
}

#[test]
fn responses_of_1xx_before_the_101_are_read_over() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let mut served = backend.accept();
        served.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        served.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
        served.agree_to(&[]);
        client.agree(speaks);
        client.send(&said(speaks, "on"));
        assert_eq!(served.receive_text(), "on");
    }
}

#[test]
fn much_that_a_client_says_before_the_101_arrives_too() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in [HIXIE_76, RFC] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let mut served = backend.accept();
        let texts: Vec<String> = (0..30).map(|n| format!("{n} ").repeat(3_000)).collect();
        let all: Vec<u8> = texts.iter().flat_map(|text| said(speaks, text)).collect();
        client.send(&all);
        served.agree_to(&[]);
        client.agree(speaks);
        for text in &texts {
            assert!(receive_whole(&mut served) == text.as_bytes(), "{speaks:?}");
        }
    }
}

#[test]
fn a_refusal_of_the_backend_is_told_with_its_status_where_it_is_about_the_request() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (status, told) in [
        (400, 400),
        (401, 401),
        (403, 403),
        (404, 404),
        (410, 410),
        (418, 418),
        (429, 429),
        (451, 451),
        (499, 499),
        (407, 502),
        (426, 502),
        (200, 502),
        (302, 502),
        (500, 502),
        (503, 502),
    ] {
        for speaks in [HIXIE_76, RFC] {
            let mut client = Peer::connect(gate.address);
            client.send(&request(speaks, "/"));
            let mut served = backend.accept();
            served.send(format!("HTTP/1.1 {status} Whatever\r\nX-Secret: s\r\n\r\nno").as_bytes());
            let (head, body) = client.response();
            assert_eq!(head.status(), told, "{status}: {body}");
            assert!(body.starts_with("backend-refused: "), "{body}");
            assert!(body.contains(&format!("status {status}")), "{body}");
            assert_eq!(head.header("X-Secret"), None);
            assert_eq!(served.rest(), b"");
            drop(client);
            let seen = gate.seen();
            assert_eq!((seen.answered, seen.opened), (false, false));
            assert_eq!((seen.by, seen.what), (ClosedBy::Backend, "backend-refused"));
            assert_eq!(seen.code, Some(told));
        }
    }
}

#[test]
fn a_backend_that_cannot_be_reached_is_502() {
    let gone = gone();
    let gate = gate_with(&format!("ws://{gone}"), |_| {});
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let (head, body) = client.response();
        assert_eq!(head.status(), 502);
        assert!(body.starts_with("backend-unreachable: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!(
            (seen.by, seen.what),
            (ClosedBy::Backend, "backend-unreachable")
        );
        assert_eq!(seen.code, Some(502));
    }
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_504() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.handshake_ms = 1_000);
    // One says nothing, one dribbles: progress extends nothing.
    for dribbles in [false, true] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let mut served = backend.accept();
        if dribbles {
            served.send(b"HTTP/1.1 101 Switching Protocols\r\nX: ");
            let begin = Instant::now();
            while !client.receives_within(milliseconds(20)) {
                assert!(begin.elapsed() < PATIENCE, "progress extends the deadline");
                let _ = served.stream().write(b"x");
            }
        }
        let (head, body) = client.response();
        assert_eq!(head.status(), 504);
        assert!(body.starts_with("backend-timeout: "), "{body}");
        served.is_cut_off();
        drop(client);
        assert_eq!(gate.seen().what, "backend-timeout");
    }
}

#[test]
fn a_backend_that_never_takes_the_connection_is_504() {
    let silent = Silent::new();
    let gate = gate_with(&format!("ws://{}", silent.address), |set| {
        set.settings.handshake_ms = 1_000;
    });
    let mut client = Peer::connect(gate.address);
    client.send(&request(HIXIE_76, "/"));
    let (head, body) = client.response();
    assert_eq!(head.status(), 504, "{body}");
}

#[test]
fn a_backend_that_ends_inside_its_handshake_is_502() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for resets in [false, true] {
        for begin in ["", "HTTP/1.1 101 Swi"] {
            let mut client = Peer::connect(gate.address);
            client.send(&request(RFC, "/"));
            let mut served = backend.accept_raw();
            served.head();
            served.send(begin.as_bytes());
            if resets {
                served.reset();
            } else {
                drop(served);
            }
            let (head, body) = client.response();
            assert_eq!(head.status(), 502);
            assert!(body.starts_with("backend-handshake: "), "{body}");
        }
    }
}

#[test]
fn a_client_that_goes_while_its_backend_is_asked_ends_that_connection() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for resets in [false, true] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let mut served = backend.accept();
        if resets {
            client.reset();
        } else {
            drop(client);
        }
        served.is_cut_off();
        let seen = gate.seen();
        assert_eq!(seen.by, ClosedBy::Client);
        assert_eq!((seen.answered, seen.opened), (false, false));
    }
}

#[test]
fn the_next_address_is_tried_where_one_refuses() {
    let backend = Backend::listen();
    let gone = gone();
    let address = backend.address;
    let other = Backend::listen();
    let last = other.address;
    let gate = gate_with("ws://backend.example:9000", |set| {
        let addresses = [gone, gone, address, last];
        set.backend.resolver = Resolver::new(move |_, _| Ok(addresses.to_vec()));
    });
    for speaks in ALL {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        client.send_text("found");
        assert_eq!(served.receive_text(), "found");
    }
    other.has_nobody();
}
