//! The gateway on real sockets: clients and backends that speak by hand, and
//! backends that lie.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use heirloom::conn::Tally;
use heirloom::net::gateway::{Binary, Gateway, Route};
use heirloom::net::{Networks, Party, ProxyVersion, Server};
use heirloom::{Config, Version, Versions};

use support::PATIENCE;
use support::backend::{Backend, Served, clear};
use support::peer::{
    BINARY, CLOSE, DIGEST, KEY3, PING, PONG, Peer, RFC, Speaks, TEXT, frame, request, said,
};
use support::program::{HEIRLOOM, Program};
use support::server::Running;

const HIXIE_75: Speaks = Speaks::Hixie75;
const HIXIE_76: Speaks = Speaks::Hixie76;
const ALL: [Speaks; 5] = [
    HIXIE_75,
    HIXIE_76,
    Speaks::Number(7),
    Speaks::Number(8),
    RFC,
];

fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What the gateway's log was told of a connection.
#[derive(Debug)]
struct Seen {
    client: SocketAddr,
    path: Option<String>,
    version: Option<&'static str>,
    answered: bool,
    opened: bool,
    by: Party,
    what: &'static str,
    code: Option<u16>,
    from_client: Tally,
    to_client: Tally,
}

/// A gateway that runs.
struct Gate {
    running: Running,
    seen: Receiver<Seen>,
}

impl std::ops::Deref for Gate {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Gate {
    /// What was seen of the next connection that ends.
    fn seen(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a connection ends")
    }
}

/// What can be set of a gateway.
struct Set {
    config: Config,
    route: Route,
    proxies: Networks,
}

fn gate(backend: &Backend) -> Gate {
    gate_with(&backend.url(), |_| {})
}

/// All versions are on, and one worker serves all.
fn gate_with(to: &str, set: impl FnOnce(&mut Set)) -> Gate {
    let to: heirloom::net::Url = to.parse().unwrap();
    let addresses = to.addresses().unwrap();
    let mut config = Config::default();
    config.versions = Versions::ALL;
    let mut all = Set {
        config,
        route: Route {
            to,
            addresses: addresses.into(),
            version: Version::named("rfc6455").unwrap(),
            binary: Binary::Refuse,
            send_proxy: None,
            trusted: Networks::default(),
            config: Arc::default(),
        },
        proxies: Networks::default(),
    };
    set(&mut all);
    all.route.config = Arc::new(all.config.clone());
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[loopback], 1, all.config)
        .unwrap()
        .accept_proxy(all.proxies);
    let (tell, seen) = channel();
    let route = Arc::new(all.route);
    let tell = std::sync::Mutex::new(tell);
    let running = Running::server(server, move || {
        let tell = tell.lock().unwrap().clone();
        Gateway::new(Arc::clone(&route), move |visit| {
            let parting = visit.parting;
            let _ = tell.send(Seen {
                client: visit.client,
                path: visit.path.map(str::to_owned),
                version: parting.version.map(|v| v.name),
                answered: parting.answered,
                opened: parting.opened,
                by: parting.ended.by,
                what: parting.ended.what,
                code: parting.ended.code,
                from_client: parting.from_client,
                to_client: parting.to_client,
            });
        })
    });
    Gate { running, seen }
}

/// A client and the backend's end of the same bridge.
fn bridge(gate: &Gate, backend: &Backend, speaks: Speaks) -> (Peer, Served) {
    let mut client = Peer::connect(gate.address);
    client.send(&request(speaks, "/"));
    let served = backend.open();
    client.agree(speaks);
    (client, served)
}

/// A request with these header lines in front of its last ones.
fn request_with(speaks: Speaks, path: &str, lines: &[&str]) -> Vec<u8> {
    let whole = request(speaks, path);
    let at = whole.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 2;
    let (head, end) = whole.split_at(at);
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    [head, lines.as_bytes(), end].concat()
}

/// The payload of a message at the backend, in however many fragments.
fn hear_whole(served: &mut Served) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        let (first, mut payload) = served.masked_frame();
        heard.append(&mut payload);
        if first & 0x80 != 0 {
            return heard;
        }
    }
}

/// The payload of a message at the client.
fn hear_whole_at_client(client: &mut Peer) -> Vec<u8> {
    if !matches!(client.speaks(), Speaks::Number(_)) {
        return client.hear().into_bytes();
    }
    let mut heard = Vec::new();
    loop {
        let (first, mut payload) = client.frame();
        heard.append(&mut payload);
        if first & 0x80 != 0 {
            return heard;
        }
    }
}

// The order of the two handshakes.

#[test]
fn the_client_hears_101_when_the_backend_agreed_and_not_before() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let mut served = backend.accept();
        assert!(!client.hears_within(milliseconds(60)), "{speaks:?}");
        served.agree_to(&[]);
        client.agree(speaks);
        client.say("there");
        assert_eq!(served.hear_text(), "there");
        served.say_text("and back");
        assert_eq!(client.hear(), "and back");
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
        let (head, body) = client.answer();
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
    served.say_text("early");
    served.send(&clear(PING, b"still there?"));
    assert!(!after.hears_within(milliseconds(60)));
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
    let answer = served.answer_of_rfc();
    served.send(&[answer.as_bytes(), &clear(TEXT, b"early")].concat());
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
        assert!(!served.hears_within(milliseconds(30)), "{speaks:?}");
        served.agree_to(&[]);
        client.agree(speaks);
        assert_eq!(served.hear_text(), "early");
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
            assert!(hear_whole(&mut served) == text.as_bytes(), "{speaks:?}");
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
        (426, 502),
        (100, 502),
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
            let (head, body) = client.answer();
            assert_eq!(head.status(), told, "{status}: {body}");
            assert!(body.starts_with("backend-refused: "), "{body}");
            assert!(body.contains(&format!("status {status}")), "{body}");
            assert_eq!(head.header("X-Secret"), None);
            assert_eq!(served.rest(), b"");
            drop(client);
            let seen = gate.seen();
            assert_eq!((seen.answered, seen.opened), (false, false));
            assert_eq!((seen.by, seen.what), (Party::Backend, "backend-refused"));
            assert_eq!(seen.code, Some(told));
        }
    }
}

#[test]
fn a_backend_that_nobody_can_reach_is_502() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gate = gate_with(&format!("ws://{gone}"), |_| {});
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let (head, body) = client.answer();
        assert_eq!(head.status(), 502);
        assert!(body.starts_with("backend-unreachable: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!(
            (seen.by, seen.what),
            (Party::Backend, "backend-unreachable")
        );
        assert_eq!(seen.code, Some(502));
    }
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_504() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.config.limits.handshake_ms = 300);
    // One says nothing, one dribbles: progress extends nothing.
    for dribbles in [false, true] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let mut served = backend.accept();
        if dribbles {
            served.send(b"HTTP/1.1 101 Switching Protocols\r\nX: ");
            let begin = Instant::now();
            while !client.hears_within(milliseconds(20)) {
                assert!(begin.elapsed() < PATIENCE, "progress extends the deadline");
                let _ = served.stream().write(b"x");
            }
        }
        let (head, body) = client.answer();
        assert_eq!(head.status(), 504);
        assert!(body.starts_with("backend-timeout: "), "{body}");
        served.is_cut_off();
        drop(client);
        assert_eq!(gate.seen().what, "backend-timeout");
    }
}

#[test]
fn a_backend_that_never_takes_the_connection_is_504() {
    // A queue of one that is full: nobody accepts, and SYNs are not answered.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&loopback.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, milliseconds(100)) {
        fill.push(stream);
        assert!(fill.len() < 100, "the queue is never full");
    }
    let gate = gate_with(&format!("ws://{address}"), |set| {
        set.config.limits.handshake_ms = 300;
    });
    let mut client = Peer::connect(gate.address);
    client.send(&request(HIXIE_76, "/"));
    let (head, body) = client.answer();
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
            let (head, body) = client.answer();
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
        assert_eq!(seen.by, Party::Client);
        assert_eq!((seen.answered, seen.opened), (false, false));
    }
}

#[test]
fn the_next_address_is_tried_where_one_refuses() {
    let backend = Backend::listen();
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let address = backend.address;
    let other = Backend::listen();
    let last = other.address;
    let gate = gate_with(&backend.url(), |set| {
        set.route.addresses = Arc::from([gone, gone, address, last]);
    });
    for speaks in ALL {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        client.say("found");
        assert_eq!(served.hear_text(), "found");
    }
    other.has_nobody();
}

// Backends that lie.

/// A client says its payload at once; the backend lies and must not get it.
fn lie(gate: &Gate, backend: &Backend, what: &str, lie: impl FnOnce(&mut Served)) -> String {
    let mut client = Peer::connect(gate.address);
    let origin = request_with(RFC, "/", &["Origin: http://example.com"]);
    client.send(&[origin, frame(TEXT, b"secret")].concat());
    let mut served = backend.accept();
    lie(&mut served);
    let (head, body) = client.answer();
    assert_eq!(head.status(), 502, "{what}: {body}");
    assert!(body.starts_with("backend-handshake: "), "{what}: {body}");
    served.finish();
    let mut got = Vec::new();
    // It may be reset by then: what it sent more was not read.
    let _ = served.stream().read_to_end(&mut got);
    assert_eq!(got, b"", "{what}");
    drop(client);
    let seen = gate.seen();
    assert_eq!(seen.by, Party::Backend, "{what}");
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
            said = change(served.answer_of_rfc());
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
            "the answer's Upgrade is missing",
        ),
        (
            "Connection: Upgrade\r\n",
            "",
            "the answer's Connection is missing",
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
        let answer = served.answer_of_rfc().replacen(from, to, 1);
        served.send(answer.as_bytes());
        let (_, body) = client.answer();
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
        set.route.version = Version::named("hixie-76").unwrap();
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
            let answer = change(&served.answer_of_76());
            // It would be right otherwise.
            let digest = served.digest(&key3);
            served.send(&[answer.as_bytes(), &digest].concat());
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
                let answer = served.answer_of_76();
                served.send(&[answer.as_bytes(), &digest].concat());
            },
        );
    }
}

#[test]
fn a_subprotocol_of_a_backend_of_hixie_76_is_what_was_asked_for_or_none() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.route.version = Version::named("hixie-76").unwrap();
    });
    // The draft overlooks what nobody asked for; so does its client.
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
        let mut answer = served.answer_of_76();
        if let Some(name) = answered {
            let line = format!("Sec-WebSocket-Protocol: {name}\r\n");
            answer.insert_str(answer.len() - 2, &line);
        }
        let digest = served.digest(&key3);
        served.send(&[answer.as_bytes(), &digest].concat());
        match told {
            Ok(told) => {
                let head = client.head();
                assert_eq!(head.status(), 101);
                assert_eq!(head.header("Sec-WebSocket-Protocol"), told);
            }
            Err(status) => assert_eq!(client.answer().0.status(), status),
        }
    }
}

#[test]
fn a_backend_of_hixie_76_that_tells_the_truth_is_bridged_after_its_digest() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.route.version = Version::named("hixie-76").unwrap();
    });
    let mut client = Peer::connect(gate.address);
    client.send(&[request(RFC, "/"), frame(TEXT, b"early")].concat());
    let mut served = backend.accept();
    let key3 = served.exactly(8);
    let answer = served.answer_of_76();
    let digest = served.digest(&key3);
    served.send(&[answer.as_bytes(), &digest[..15]].concat());
    assert!(!client.hears_within(milliseconds(50)), "half a proof");
    assert!(!served.hears_within(milliseconds(10)));
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

// What the backend is told of the client.

#[test]
fn the_request_to_the_backend_is_our_own_with_what_the_list_allows() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let lines = [
        "Cookie: a=b",
        "Authorization: Basic Zm9vOmJhcg==",
        "User-Agent: Old/1.0 (TV)",
        "cookie: c=d",
        // None of these.
        "Proxy-Authorization: Basic eA==",
        "Proxy-Connection: keep-alive",
        "Keep-Alive: 5",
        "TE: trailers",
        "Trailer: X",
        "Via: 1.1 evil",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "X-Anything: else",
        "Accept-Encoding: gzip",
        "Expect: 100-continue",
    ];
    let mut client = Peer::connect(gate.address);
    let whole = String::from_utf8(request_with(RFC, "/chat?a=b", &lines)).unwrap();
    let whole = whole.replace("Connection: Upgrade", "Connection: Upgrade, X-Anything");
    client.send(whole.as_bytes());
    let served = backend.accept();
    let head = &served.head;
    assert_eq!(head.lines[0], "GET /chat?a=b HTTP/1.1");
    let mut names = head.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "Authorization",
            "Connection",
            "Cookie",
            "Forwarded",
            "Host",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Upgrade",
            "User-Agent",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
        ]
    );
    let host = backend.address.to_string();
    for (name, value) in [
        ("Host", &*host),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Cookie", "a=b; c=d"),
        ("Authorization", "Basic Zm9vOmJhcg=="),
        ("User-Agent", "Old/1.0 (TV)"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "example.com"),
        ("Forwarded", "for=127.0.0.1;host=\"example.com\";proto=http"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    // The key is ours and not the client's.
    let key = head.header("Sec-WebSocket-Key").unwrap();
    assert_ne!(key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(key.len(), 24);
}

#[test]
fn the_origin_of_each_version_goes_on_and_none_is_made_up() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (speaks, lines, origin) in [
        (HIXIE_75, &[][..], Some("http://example.com")),
        (HIXIE_76, &[], Some("http://example.com")),
        (
            Speaks::Number(8),
            &["Sec-WebSocket-Origin: http://a.example"],
            Some("http://a.example"),
        ),
        (
            RFC,
            &["Origin: https://b.example"],
            Some("https://b.example"),
        ),
        (RFC, &[], None),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(speaks, "/", lines));
        let served = backend.accept();
        assert_eq!(served.head.header("Origin"), origin, "{speaks:?}");
        assert_eq!(served.head.header("Sec-WebSocket-Origin"), None);
    }
}

#[test]
fn what_cannot_be_passed_on_is_refused_and_no_backend_is_dialled() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for lines in [
        &["Authorization: a", "Authorization: b"][..],
        &["Cookie: a=\u{e9}"],
        &["Cookie: fine=1", "Cookie: a=\tb\u{7f}"],
        &["Authorization: \u{e9}"],
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(RFC, "/", lines));
        let (head, body) = client.answer();
        assert_eq!(head.status(), 400, "{lines:?}");
        assert!(
            body.starts_with("header-not-passed: ") || body.starts_with("head-"),
            "{lines:?}: {body}"
        );
    }
    backend.has_nobody();
}

#[test]
fn the_path_is_the_route_s_or_the_client_s_and_the_query_goes_on() {
    for (route, asked, want) in [
        ("", "/", "/"),
        ("", "/a/b?c=d", "/a/b?c=d"),
        ("/", "/a?b", "/a?b"),
        ("/app", "/a/b", "/app"),
        ("/app", "/a?c=d", "/app?c=d"),
        ("/app?x=y", "/a?c=d", "/app?x=y"),
        ("", "http://elsewhere.example/p?q", "/p?q"),
        ("", "/a%0d%0aX:y", "/a%0d%0aX:y"),
        ("", "//evil.example/x", "//evil.example/x"),
    ] {
        let backend = Backend::listen();
        let gate = gate_with(&format!("{}{route}", backend.url()), |_| {});
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, asked));
        let served = backend.accept();
        let line = format!("GET {want} HTTP/1.1");
        assert_eq!(served.head.lines[0], line, "{route:?} and {asked}");
    }
}

#[test]
fn subprotocols_are_asked_for_and_what_is_chosen_is_told() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (choice, lines) in [
        (None, &["Sec-WebSocket-Protocol: chat, superchat"][..]),
        (
            Some("superchat"),
            &["Sec-WebSocket-Protocol: chat, superchat"],
        ),
        (
            Some("chat"),
            &[
                "Sec-WebSocket-Protocol: chat",
                "Sec-WebSocket-Protocol: superchat",
            ],
        ),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(RFC, "/", lines));
        let mut served = backend.accept();
        let asked = served.head.header("Sec-WebSocket-Protocol");
        assert_eq!(asked, Some("chat, superchat"));
        match choice {
            Some(choice) => served.agree_to(&[("Sec-WebSocket-Protocol", choice)]),
            None => served.agree_to(&[]),
        }
        assert_eq!(client.head().header("Sec-WebSocket-Protocol"), choice);
    }
}

#[test]
fn a_hixie_client_that_does_not_get_its_subprotocol_is_refused() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for agrees in [true, false] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(
            HIXIE_76,
            "/",
            &["Sec-WebSocket-Protocol: chat"],
        ));
        let mut served = backend.accept();
        assert_eq!(served.head.header("Sec-WebSocket-Protocol"), Some("chat"));
        if agrees {
            served.agree_to(&[("Sec-WebSocket-Protocol", "chat")]);
            let head = client.head();
            assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("chat"));
        } else {
            served.agree_to(&[]);
            let (head, body) = client.answer();
            assert_eq!(head.status(), 400);
            assert!(body.starts_with("subprotocol-unknown: "), "{body}");
            // It had agreed, so it is told goodbye, and nothing else.
            served.hear_close(1001);
        }
    }
}

#[test]
fn forwarded_headers_of_trusted_peers_are_believed_and_of_others_replaced() {
    let lines = [
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: public.example",
    ];
    for trusted in [true, false] {
        let backend = Backend::listen();
        let gate = gate_with(&backend.url(), |set| {
            if trusted {
                set.route.trusted = "127.0.0.0/8".parse().unwrap();
            }
        });
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(HIXIE_76, "/chat", &lines));
        let mut served = backend.open();
        let location = client.head();
        let location = location
            .header("Sec-WebSocket-Location")
            .unwrap()
            .to_owned();
        let head = &served.head;
        let [who, proto, host] =
            ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"].map(|n| head.header(n));
        if trusted {
            assert_eq!(who, Some("192.0.2.7, 127.0.0.1"));
            assert_eq!((proto, host), (Some("https"), Some("public.example")));
            assert_eq!(location, "wss://public.example/chat");
        } else {
            assert_eq!(who, Some("127.0.0.1"));
            assert_eq!((proto, host), (Some("http"), Some("example.com")));
            assert_eq!(location, "ws://example.com/chat");
        }
        assert_eq!(client.exactly(16), DIGEST);
        served.say_text("x");
        client.reset();
        let who = if trusted { "192.0.2.7" } else { "127.0.0.1" };
        assert_eq!(gate.seen().client.ip().to_string(), who);
    }
}

#[test]
fn the_public_url_stands_in_the_location_whatever_proxies_say() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.config.public_url = Some("wss://known.example".to_owned());
        set.route.trusted = "127.0.0.1".parse().unwrap();
    });
    for (speaks, name) in [
        (HIXIE_75, "WebSocket-Location"),
        (HIXIE_76, "Sec-WebSocket-Location"),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(
            speaks,
            "/a?b",
            &["X-Forwarded-Host: x.example"],
        ));
        let _served = backend.open();
        let head = client.head();
        assert_eq!(head.header(name), Some("wss://known.example/a?b"));
    }
}

// The PROXY protocol.

const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x50";

#[test]
fn a_proxy_header_of_a_listed_peer_names_the_client_however_it_comes() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
    });
    let v1 = &b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"[..];
    for header in [v1, V2] {
        for singly in [false, true] {
            for speaks in [HIXIE_76, RFC] {
                let mut client = Peer::connect(gate.address);
                let all = [header, &request(speaks, "/")].concat();
                if singly {
                    client.send_singly(&all);
                } else {
                    client.send(&all);
                }
                let mut served = backend.open();
                client.agree(speaks);
                assert_eq!(served.head.header("X-Forwarded-For"), Some("192.0.2.7"));
                client.say("behind");
                assert_eq!(served.hear_text(), "behind");
                client.reset();
                let seen = gate.seen();
                assert_eq!(seen.client, "192.0.2.7:4711".parse().unwrap());
            }
        }
    }
}

#[test]
fn a_listed_peer_without_a_proxy_header_is_refused() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
    });
    for begin in [
        request(RFC, "/"),
        b"PROXY TCP4 nonsense\r\n".to_vec(),
        vec![0x16, 3, 1],
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&begin);
        let (head, body) = client.answer();
        assert_eq!(head.status(), 400);
        assert!(body.starts_with("proxy-header: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!((seen.what, seen.path), ("proxy-header", None));
    }
    backend.has_nobody();
}

#[test]
fn a_proxy_header_of_a_peer_that_is_not_listed_is_refused() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "192.0.2.0/24".parse().unwrap();
    });
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"[..], V2] {
        let mut client = Peer::connect(gate.address);
        client.send(&[header, &request(RFC, "/")].concat());
        let (head, body) = client.answer();
        assert_eq!(head.status(), 400);
        assert!(body.starts_with("proxy-header-unexpected: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!(seen.what, "proxy-header-unexpected");
        assert!(seen.client.ip().is_loopback());
    }
    backend.has_nobody();
}

#[test]
fn a_proxy_header_that_never_ends_is_over_at_the_deadline() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
        set.config.limits.handshake_ms = 200;
    });
    let mut client = Peer::connect(gate.address);
    client.send(b"PROXY TCP4 ");
    assert_eq!(client.answer().0.status(), 408);
}

#[test]
fn the_backend_gets_a_proxy_header_first_where_it_wants_one() {
    for (version, begin) in [
        (ProxyVersion::V1, &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..]),
        (
            ProxyVersion::V2,
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"[..],
        ),
    ] {
        let backend = Backend::listen();
        let gate = gate_with(&backend.url(), |set| set.route.send_proxy = Some(version));
        let mut client = Peer::connect(gate.address);
        let from = client.stream().local_addr().unwrap().port();
        client.send(&request(RFC, "/"));
        let mut served = backend.accept_raw();
        assert_eq!(served.exactly(begin.len()), begin);
        match version {
            ProxyVersion::V1 => {
                let ports = format!("{from} {}\r\n", gate.address.port());
                assert_eq!(served.exactly(ports.len()), ports.as_bytes());
            }
            ProxyVersion::V2 => {
                let ports = [from.to_be_bytes(), gate.address.port().to_be_bytes()].concat();
                assert_eq!(served.exactly(4), ports);
            }
        }
        assert_eq!(served.head().lines[0], "GET / HTTP/1.1");
    }
}

#[test]
fn a_proxy_header_that_came_goes_on_as_the_one_that_is_sent() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
        set.route.send_proxy = Some(ProxyVersion::V1);
    });
    let mut client = Peer::connect(gate.address);
    client.send(&[V2, &request(RFC, "/")].concat());
    let mut served = backend.accept_raw();
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    assert_eq!(served.exactly(line.len()), line);
}

// Messages, pings, goodbyes.

#[test]
fn half_a_message_is_heard_before_its_other_half_is_said() {
    let backend = Backend::listen();
    let gate = gate(&backend);

    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    old.send(b"\0half ");
    assert_eq!(served.masked_frame(), (0x01, b"half ".to_vec()));
    old.send(b"whole\xff");
    assert_eq!(served.masked_frame(), (0x80, b"whole".to_vec()));
    served.send(&clear(0x01, b"and "));
    assert_eq!(old.exactly(5), b"\0and ");
    served.send(&clear(PING, b"p"));
    assert_eq!(served.masked_frame(), (PONG, b"p".to_vec()));
    served.send(&clear(0x80, b"back"));
    assert_eq!(old.exactly(5), b"back\xff");

    let (mut new, mut served) = bridge(&gate, &backend, RFC);
    new.send(&frame(0x02, b"half "));
    assert_eq!(served.masked_frame(), (0x02, b"half ".to_vec()));
    new.send(&frame(PING, b"q"));
    assert_eq!(served.masked_frame(), (PING, b"q".to_vec()));
    served.send(&clear(PONG, b"q"));
    assert_eq!(new.frame(), (PONG, b"q".to_vec()));
    new.send(&frame(0x80, b"whole"));
    assert_eq!(served.masked_frame(), (0x80, b"whole".to_vec()));
}

#[test]
fn a_character_cut_in_two_arrives_whole_and_one_that_is_never_whole_is_mended() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    let text = "😀".as_bytes();
    old.send(&[0, text[0], text[1]]);
    old.send(&[text[2], 0x80, b'x', 0xc3, 0xff]);
    assert_eq!(
        String::from_utf8(hear_whole(&mut served)).unwrap(),
        "😀x\u{fffd}"
    );
}

#[test]
fn goodbyes_are_carried_with_code_and_reason_and_answered_end_to_end() {
    let backend = Backend::listen();
    let gate = gate(&backend);

    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send(&frame(CLOSE, b"\x0f\xa0why"));
    assert_eq!(served.hear_close(4000), "why");
    // The answer is the backend's, not ours.
    assert!(!client.hears_within(milliseconds(40)));
    served.say_text("one more");
    served.send(&clear(CLOSE, &[0x0f, 0xa0]));
    assert_eq!(client.hear(), "one more");
    client.close_frame(4000);
    client.ends();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (Party::Client, "closed"));
    assert_eq!(seen.code, Some(4000));
    assert_eq!(
        seen.to_client,
        Tally {
            messages: 1,
            octets: 8
        }
    );

    let (mut client, mut served) = bridge(&gate, &backend, Speaks::Number(8));
    served.send(&clear(CLOSE, b"\x03\xf1too big"));
    assert_eq!(client.close_frame(1004), "too big");
    client.send(&frame(CLOSE, &[0x03, 0xec]));
    served.hear_close(1009);
    client.ends();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.code), (Party::Backend, Some(1009)));

    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    served.send(&clear(CLOSE, &[]));
    assert_eq!(client.frame(), (CLOSE, vec![]));
    client.send(&frame(CLOSE, &[]));
    assert_eq!(served.masked_frame(), (CLOSE, vec![]));
    served.finish();
    client.ends();
}

#[test]
fn goodbyes_of_hixie_are_codes_for_the_backend_and_its_code_is_theirs() {
    let backend = Backend::listen();
    let gate = gate(&backend);

    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    old.send(&[0xff, 0]);
    served.hear_close(1000);
    served.send(&clear(CLOSE, &[0x03, 0xe8]));
    assert_eq!(old.rest(), [0xff, 0]);

    for speaks in [HIXIE_75, HIXIE_76] {
        let (old, mut served) = bridge(&gate, &backend, speaks);
        old.finish();
        served.hear_close(1001);
        served.send(&clear(CLOSE, &[0x03, 0xe9]));
        served.finish();
    }

    for (speaks, words) in [(HIXIE_75, &[][..]), (HIXIE_76, &[0xff, 0])] {
        let (mut old, mut served) = bridge(&gate, &backend, speaks);
        served.say_text("last");
        served.send(&clear(CLOSE, b"\x03\xe9bye"));
        assert_eq!(old.hear(), "last");
        assert_eq!(old.rest(), words, "{speaks:?}");
    }
}

#[test]
fn who_says_goodbye_by_half_a_tcp_still_hears_what_the_backend_says() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in [HIXIE_75, HIXIE_76] {
        let (mut old, mut served) = bridge(&gate, &backend, speaks);
        old.say("question");
        old.finish();
        assert_eq!(served.hear_text(), "question");
        served.hear_close(1001);
        let answer = "x".repeat(300_000);
        served.say_text(&answer);
        served.send(&clear(CLOSE, &[0x03, 0xe9]));
        assert!(old.hear() == answer, "{speaks:?}");
        old.is_cut_off();
    }
}

#[test]
fn a_backend_that_half_closes_after_its_goodbye_still_gets_the_client_s() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    served.send(&clear(CLOSE, &[0x03, 0xe8]));
    served.finish();
    client.close_frame(1000);
    client.send(&frame(CLOSE, &[0x03, 0xe8]));
    served.hear_close(1000);
    client.ends();
}

#[test]
fn a_backend_that_is_gone_is_told_each_in_its_version_s_own_way() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for resets in [false, true] {
        for speaks in ALL {
            let (mut client, served) = bridge(&gate, &backend, speaks);
            if resets {
                served.reset();
            } else {
                served.finish();
            }
            match speaks {
                HIXIE_75 => {}
                HIXIE_76 => assert_eq!(client.exactly(2), [0xff, 0]),
                RFC => drop(client.close_frame(1014)),
                Speaks::Number(_) => drop(client.close_frame(1001)),
            }
            if let Speaks::Number(_) = speaks {
                client.send(&frame(CLOSE, &[0x03, 0xe9]));
            }
            client.ends();
            drop(client);
            let seen = gate.seen();
            assert_eq!(seen.by, Party::Backend, "{speaks:?}");
            assert!(seen.opened);
        }
    }
}

#[test]
fn a_client_that_is_gone_is_1001_for_the_backend() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let (client, mut served) = bridge(&gate, &backend, speaks);
        client.reset();
        served.hear_close(1001);
        let seen = gate.seen();
        assert_eq!((seen.by, seen.what), (Party::Client, "reset"));
    }
}

#[test]
fn half_a_message_of_a_client_that_is_gone_is_never_whole_for_the_backend() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        match speaks {
            HIXIE_75 | HIXIE_76 => client.send(b"\0half"),
            Speaks::Number(_) => client.send(&frame(0x01, b"half")),
        }
        assert_eq!(served.masked_frame(), (0x01, b"half".to_vec()));
        client.finish();
        served.hear_close(1001);
        drop(client);
        assert_eq!(gate.seen().what, "connection-cut", "{speaks:?}");
    }
}

#[test]
fn a_protocol_error_of_the_backend_is_told_to_it_and_1014_to_the_client() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (octets, code, what) in [
        (vec![0xc1, 0], 1002, "reserved-bits"),
        (frame(TEXT, b"masked"), 1002, "mask-unexpected"),
        (clear(TEXT, b"\xff"), 1007, "utf8-invalid"),
        (clear(CLOSE, &[0x03, 0xee]), 1002, "close-code-invalid"),
    ] {
        let (mut client, mut served) = bridge(&gate, &backend, RFC);
        served.send(&octets);
        assert_eq!(served.hear_close(code), what);
        assert_eq!(client.close_frame(1014), what);
        client.send(&frame(CLOSE, &[0x03, 0xf6]));
        client.ends();
        drop(client);
        let seen = gate.seen();
        assert_eq!((seen.by, seen.what), (Party::Backend, what));
    }
}

#[test]
fn a_message_over_the_limit_ends_both_and_never_arrives_whole() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.config.limits.message_bytes = 1000);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send(&frame(0x01, &[b'a'; 600]));
    client.send(&frame(0x80, &[b'a'; 401]));
    client.close_frame(1009);
    assert_eq!(served.masked_frame().0, 0x01);
    assert_eq!(served.hear_close(1001), "message-too-big");
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    served.send(&clear(0x01, &[b'a'; 600]));
    served.send(&clear(0x80, &[b'a'; 401]));
    served.hear_close(1009);
    assert_eq!(old.rest(), [&[0][..], &[b'a'; 600]].concat());
}

// Binary messages.

#[test]
fn binary_for_a_hixie_client_ends_with_1003_unless_base64_is_on() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    served.send(&clear(BINARY, b"\xff\0"));
    assert_eq!(served.hear_close(1003), "binary-unwanted");
    assert_eq!(old.rest(), [0xff, 0]);
    drop(old);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (Party::Backend, "binary-unwanted"));
    assert_eq!(seen.code, Some(1003));
}

#[test]
fn base64_is_what_a_side_without_binary_talks_where_it_is_on() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.route.binary = Binary::Base64);
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    old.say("AP8=");
    assert_eq!(served.masked_frame(), (BINARY, vec![0, 0xff]));
    served.send(&clear(BINARY, &[0xff, 0, 1]));
    assert_eq!(old.hear(), "/wAB");
    served.send(&clear(0x02, &[0xff]));
    served.send(&clear(0x80, &[0, 1, 2]));
    assert_eq!(old.hear(), "/wABAg==");
    old.say("no base64");
    served.hear_close(1001);
    assert_eq!(old.rest(), [0xff, 0]);
    drop(old);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (Party::Client, "base64-malformed"));
}

#[test]
fn the_subprotocol_base64_is_answered_by_us_and_binary_asked_of_the_backend() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.route.binary = Binary::Base64);
    for speaks in [HIXIE_76, RFC] {
        for agrees in [true, false] {
            let mut client = Peer::connect(gate.address);
            client.send(&request_with(
                speaks,
                "/",
                &["Sec-WebSocket-Protocol: base64"],
            ));
            let mut served = backend.accept();
            assert_eq!(served.head.header("Sec-WebSocket-Protocol"), Some("binary"));
            if agrees {
                served.agree_to(&[("Sec-WebSocket-Protocol", "binary")]);
            } else {
                served.agree_to(&[]);
            }
            let head = client.head();
            assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("base64"));
            if speaks == HIXIE_76 {
                assert_eq!(client.exactly(16), DIGEST);
            }
            client.send(&said(speaks, "AP8="));
            assert_eq!(served.masked_frame(), (BINARY, vec![0, 0xff]));
        }
    }
    // Who asks for both has binary, and is passed on as it is.
    let mut client = Peer::connect(gate.address);
    client.send(&request_with(
        RFC,
        "/",
        &["Sec-WebSocket-Protocol: binary, base64"],
    ));
    let mut served = backend.accept();
    let asked = served.head.header("Sec-WebSocket-Protocol");
    assert_eq!(asked, Some("binary, base64"));
    served.agree_to(&[("Sec-WebSocket-Protocol", "binary")]);
    client.agree(RFC);
    client.send(&frame(BINARY, b"\0"));
    assert_eq!(served.masked_frame(), (BINARY, vec![0]));
}

// Backpressure.

/// Octets that the system holds for the sockets of this port: unsent, unread.
fn in_the_system(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let hex = format!(":{port:04X}");
    let mut all = 0;
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[1].ends_with(&hex) || words[2].ends_with(&hex) {
            let (sends, receives) = words[4].split_once(':').unwrap();
            all += usize::from_str_radix(sends, 16).unwrap();
            all += usize::from_str_radix(receives, 16).unwrap();
        }
    }
    all
}

/// Writes until nothing is taken any more, while `meanwhile` goes on; gives how
/// many octets were taken.
fn write_until_stuck(peer: &Peer, octets: &[u8], mut meanwhile: impl FnMut()) -> usize {
    let mut stream = peer.stream();
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    let mut stuck = Instant::now();
    while stuck.elapsed() < milliseconds(400) {
        match stream.write(&octets[written % octets.len()..]) {
            Ok(n) => {
                written += n;
                stuck = Instant::now();
                assert!(written < 64 << 20, "it takes all there is");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                meanwhile();
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
    written
}

/// The most that the gateway may hold of a pair.
const PAIR: usize = 1 << 20;

#[test]
fn a_client_that_does_not_read_stops_its_backend_and_nobody_else() {
    for speaks in [HIXIE_76, RFC] {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let (mut other, mut other_served) = bridge(&gate, &backend, RFC);
        let mut client = Peer::connect_narrow(gate.address);
        client.send(&request(speaks, "/"));
        let served = backend.open();
        client.agree(speaks);
        let message = clear(TEXT, &[b'x'; 10_000]);
        let written = write_until_stuck(&served, &message, || {
            other.say("and we");
            assert_eq!(other_served.hear_text(), "and we");
            other_served.say_text("go on");
            assert_eq!(other.hear(), "go on");
        });
        let ports = [served.stream().peer_addr(), client.stream().local_addr()];
        let system: usize = ports.map(|a| in_the_system(a.unwrap().port())).iter().sum();
        let held = written.saturating_sub(system);
        assert!(held < PAIR, "{speaks:?}: {held} octets are held");
        assert!(
            held > 100_000,
            "{speaks:?}: nothing is held: {written} less {system}"
        );
        // All of it is there when it reads again.
        for _ in 0..written / message.len() {
            assert_eq!(hear_whole_at_client(&mut client).len(), 10_000);
        }
    }
}

#[test]
fn a_backend_that_does_not_read_stops_its_client_and_nobody_else() {
    for speaks in [HIXIE_76, RFC] {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let (mut other, mut other_served) = bridge(&gate, &backend, RFC);
        let (client, mut served) = bridge(&gate, &backend, speaks);
        let message = said(speaks, &"x".repeat(10_000));
        let written = write_until_stuck(&client, &message, || {
            other.say("and we");
            assert_eq!(other_served.hear_text(), "and we");
        });
        let ports = [served.stream().peer_addr(), client.stream().local_addr()];
        let system: usize = ports.map(|a| in_the_system(a.unwrap().port())).iter().sum();
        let held = written.saturating_sub(system);
        assert!(held < PAIR, "{speaks:?}: {held} octets are held");
        for _ in 0..written / message.len() {
            assert_eq!(hear_whole(&mut served).len(), 10_000);
        }
    }
}

#[test]
fn messages_that_grow_on_the_way_are_held_within_the_same_bound() {
    // An empty hixie text has two octets, its frame for the backend six; what
    // is not UTF-8 becomes three octets for each.
    let bad = [&[0][..], &[0x80; 5000], &[0xff]].concat();
    for octets in [[0, 0xff].repeat(5000), bad] {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let (client, served) = bridge(&gate, &backend, HIXIE_76);
        let written = write_until_stuck(&client, &octets, || ());
        let from = client.stream().local_addr().unwrap().port();
        let unread = in_the_system(from);
        let port = served.stream().peer_addr().unwrap().port();
        let said = in_the_system(port);
        // At most three octets were said for each that was read.
        let held = ((written - unread) * 3).saturating_sub(said);
        assert!(held < PAIR, "{held} octets are held");
    }
}

#[test]
fn who_asks_for_pongs_and_reads_none_is_not_read_for_ever() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (_client, served) = bridge(&gate, &backend, HIXIE_76);
    // The pongs are ours: a hixie client has none.
    let written = write_until_stuck(&served, &clear(PING, &[7; 125]), || ());
    let port = served.stream().peer_addr().unwrap().port();
    // Each octet that was taken became an answer of as many, and more.
    let held = (2 * written).saturating_sub(in_the_system(port));
    assert!(written < 32 << 20, "{written}");
    assert!(held > 0);
}

#[test]
fn a_reader_that_never_takes_anything_is_ended_and_so_is_its_partner() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.config.limits.write_ms = 600);
    let mut client = Peer::connect_narrow(gate.address);
    client.send(&request(RFC, "/"));
    let mut served = backend.open();
    client.agree(RFC);
    served.stream().set_nonblocking(true).unwrap();
    let message = clear(BINARY, &[7; 60_000]);
    let begin = Instant::now();
    // Until it is reset, or its goodbye has come.
    loop {
        assert!(begin.elapsed() < PATIENCE, "it is never ended");
        match served.stream().write(&message) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => break,
            _ => {}
        }
        let mut octet = [0];
        if matches!(served.stream().peek(&mut octet), Ok(1)) {
            break;
        }
        std::thread::yield_now();
    }
    served.stream().set_nonblocking(false).unwrap();
    assert!(begin.elapsed() >= milliseconds(500));
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (Party::Client, "write-timeout"));
    client.is_cut_off();
    served.is_cut_off();
}

// Deadlines, drains.

#[test]
fn a_client_that_is_silent_too_long_is_sent_away_and_the_backend_is_told() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.config.limits.idle_ms = 300;
        set.config.limits.close_ms = 300;
    });
    for speaks in [HIXIE_75, HIXIE_76, RFC] {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        client.is_sent_away();
        served.hear_close(1001);
        drop(client);
        assert_eq!(gate.seen().what, "idle-timeout", "{speaks:?}");
    }
    // The one that does not answer is ended too.
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    assert_eq!(client.close_frame(1001), "idle");
    served.hear_close(1001);
    client.is_cut_off();
}

#[test]
fn who_talks_is_not_idle() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.config.limits.idle_ms = 400);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    let begin = Instant::now();
    while begin.elapsed() < milliseconds(1200) {
        client.say("still");
        assert_eq!(served.hear_text(), "still");
        // The end would be heard at once.
        assert!(!client.hears_within(milliseconds(50)));
    }
}

#[test]
fn a_hixie_76_client_without_its_eight_octets_was_answered_and_never_open() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.config.limits.handshake_ms = 300);
    let whole = request(HIXIE_76, "/x");
    let mut client = Peer::connect(gate.address);
    client.send(&whole[..whole.len() - KEY3.len()]);
    let mut served = backend.open();
    assert_eq!(client.head().status(), 101);
    client.ends();
    served.hear_close(1001);
    drop(client);
    let seen = gate.seen();
    assert_eq!((seen.answered, seen.opened), (true, false));
    assert_eq!(seen.what, "handshake-timeout");
    assert_eq!(seen.version, Some("hixie-76"));
}

#[test]
fn a_gateway_that_stops_says_goodbye_to_both_sides_and_ends() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let mut pairs: Vec<(Peer, Served)> = ALL
        .iter()
        .map(|speaks| bridge(&gate, &backend, *speaks))
        .collect();
    gate.stop();
    for (client, served) in &mut pairs {
        assert_eq!(served.hear_close(1001), "going-away");
        served.send(&clear(CLOSE, &[0x03, 0xe9]));
        client.is_sent_away();
    }
    drop(pairs);
    gate.wait();
    for _ in ALL {
        assert_eq!(gate.seen().what, "going-away");
    }
}

#[test]
fn a_gateway_that_stops_refuses_with_503_those_whose_backend_is_being_asked() {
    // In whatever slots the two ends of a pair lie: some were used before.
    for used_before in 0..4 {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let mut before: Vec<_> = (0..used_before)
            .map(|_| bridge(&gate, &backend, HIXIE_75))
            .collect();
        for (client, mut served) in before.drain(..).rev() {
            drop(client);
            served.is_sent_away();
            gate.seen();
        }
        let waiting: Vec<(Peer, Served)> = (0..3)
            .map(|_| {
                let mut client = Peer::connect(gate.address);
                client.send(&request(RFC, "/"));
                (client, backend.accept())
            })
            .collect();
        gate.stop();
        for (mut client, mut served) in waiting {
            let (head, body) = client.answer();
            assert_eq!(head.status(), 503, "after {used_before}: {body}");
            served.is_cut_off();
            drop(client);
            let seen = gate.seen();
            assert_eq!((seen.by, seen.what), (Party::Server, "going-away"));
        }
        gate.wait();
    }
}

#[test]
fn a_connection_that_ends_tells_what_it_carried() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/path?secret=1"));
        let mut served = backend.open();
        client.agree(speaks);
        for text in ["", "grüße", "x"] {
            client.say(text);
            assert_eq!(served.hear_text(), text);
        }
        served.say_text("back");
        assert_eq!(client.hear(), "back");
        let address = client.stream().local_addr().unwrap();
        client.reset();
        let seen = gate.seen();
        assert_eq!(seen.client, address);
        assert_eq!(seen.path.as_deref(), Some("/path"), "without its query");
        assert_eq!((seen.answered, seen.opened), (true, true));
        assert_eq!(
            seen.from_client,
            Tally {
                messages: 3,
                octets: 8
            }
        );
        assert_eq!(
            seen.to_client,
            Tally {
                messages: 1,
                octets: 4
            }
        );
    }
}

// All at once.

/// Descriptors that a process has open.
fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// How many clients this process may have with a backend's end for each; more
/// descriptors are asked for first.
fn clients(wanted: usize) -> usize {
    let id = std::process::id().to_string();
    // Where there is no prlimit, what there is must do.
    let _ = Command::new("prlimit")
        .args(["--pid", &id, "--nofile=4096:"])
        .output();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3).unwrap().parse();
    let most = soft.map_or(wanted, |soft: usize| soft.saturating_sub(300) / 2);
    assert!(most >= 200, "too few descriptors to test anything");
    wanted.min(most)
}

#[test]
fn a_backend_killed_in_the_middle_of_its_messages_ends_500_clients_properly() {
    let backend = Backend::listen();
    let count = clients(500);
    let gateway = Program::start(
        Command::new("sh")
            .args(["-c", "ulimit -n 4096; exec \"$@\"", "sh", HEIRLOOM])
            .args([
                "gateway",
                "--listen",
                "127.0.0.1:0",
                "--versions",
                "all",
                "--to",
                &backend.url(),
            ]),
    );
    let before = descriptors(gateway.id());
    let mut pairs: Vec<(Speaks, Peer, Served)> = (0..count)
        .map(|n| {
            let speaks = ALL[n % ALL.len()];
            let mut client = Peer::connect(gateway.address);
            client.send(&request(speaks, "/"));
            let served = backend.open();
            client.agree(speaks);
            (speaks, client, served)
        })
        .collect();
    assert!(descriptors(gateway.id()) >= before + 2 * count);
    for (n, (speaks, client, served)) in pairs.iter_mut().enumerate() {
        // Some say half a message too, and of some the half is a whole frame's
        // begin.
        if n % 3 == 0 {
            match speaks {
                Speaks::Number(_) => client.send(&frame(0x01, b"mine")),
                _ => client.send(b"\0mine"),
            }
        }
        served.say_text("whole");
        if n % 2 == 0 {
            served.send(&clear(0x01, b"half"));
        } else {
            served.send(&clear(TEXT, b"halfhalf")[..2 + 4]);
        }
        assert_eq!(client.hear(), "whole");
        let half = match speaks {
            Speaks::Number(_) => {
                let (first, payload) = client.frame();
                assert_eq!(first, 0x01, "{speaks:?}");
                payload
            }
            _ => {
                assert_eq!(client.exactly(1), [0]);
                client.exactly(4)
            }
        };
        assert_eq!(half, b"half");
    }
    let mut ends = Vec::new();
    let killed = Instant::now();
    for (speaks, client, served) in pairs {
        served.reset();
        ends.push((speaks, client));
    }
    for (speaks, client) in &mut ends {
        match *speaks {
            // Nothing that would make a half whole, nothing behind it.
            HIXIE_75 | HIXIE_76 => {}
            RFC => drop(client.close_frame(1014)),
            Speaks::Number(_) => drop(client.close_frame(1001)),
        }
        if let Speaks::Number(_) = speaks {
            client.send(&frame(CLOSE, &[0x03, 0xe9]));
        }
        client.ends();
    }
    let took = killed.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "{count} clients took {took:?}"
    );
    drop(ends);
    let until = Instant::now() + PATIENCE;
    while descriptors(gateway.id()) > before {
        assert!(Instant::now() < until, "descriptors do not come back");
        std::thread::yield_now();
    }
    // And it goes on.
    let mut client = Peer::connect(gateway.address);
    client.send(&request(RFC, "/"));
    let _served = backend.open();
    client.agree(RFC);
}

#[test]
fn many_that_come_and_go_leave_no_descriptor_behind() {
    let backend = Backend::listen();
    let gateway = Program::start(Command::new(HEIRLOOM).args([
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--versions",
        "all",
        "--to",
        &backend.url(),
    ]));
    let before = descriptors(gateway.id());
    for n in 0..200 {
        let speaks = ALL[n % ALL.len()];
        let whole = request(speaks, "/");
        let mut client = Peer::connect(gateway.address);
        if n % 4 == 0 {
            // Nobody is dialled for half a head.
            client.send(&whole[..30]);
            client.reset();
            continue;
        }
        client.send(&whole);
        let mut served = backend.accept();
        match n % 4 {
            1 => client.reset(),
            2 => {
                served.send(b"HTTP/1.1 404 No\r\n\r\n");
                assert_eq!(client.answer().0.status(), 404);
            }
            _ => {
                served.agree_to(&[]);
                client.agree(speaks);
                served.reset();
            }
        }
    }
    let until = Instant::now() + PATIENCE;
    while descriptors(gateway.id()) > before {
        assert!(Instant::now() < until, "descriptors do not come back");
        std::thread::yield_now();
    }
}
