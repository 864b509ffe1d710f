//! Plain HTTP that is passed to the backend as it is.

use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Instant;

use heirloom::net::{ClosedBy, Http, ProxyVersion};

use crate::gate::{Gate, Set, gate, gate_with, milliseconds, request_with};
use crate::pressure::{PAIR, in_the_system, write_until_stuck};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, Silent};
use crate::support::peer::{Peer, RFC, request};
use crate::support::program::{HEIRLOOM, Program};

const GET: &[u8] = b"GET /echo/info?t=1 HTTP/1.1\r\nHost: example.com\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn passing(to: &str, set: impl FnOnce(&mut Set)) -> Gate {
    gate_with(to, |all| {
        all.backend.http = Http::Pass;
        set(all);
    })
}

/// A client and the backend's end of the same relay; the request was read there.
fn relay(gate: &Gate, backend: &Backend) -> (Peer, Served) {
    let mut client = Peer::connect(gate.address);
    client.send(GET);
    (client, backend.accept())
}

/// Both have their answer and end, the client first.
fn end_in_order(mut client: Peer, mut served: Served) {
    client.finish();
    served.ends();
    served.finish();
    client.ends();
}

#[test]
fn a_get_is_passed_and_so_is_its_answer() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let (mut client, mut served) = relay(&gate, &backend);
    assert_eq!(served.head.lines[0], "GET /echo/info?t=1 HTTP/1.1");
    assert_eq!(served.head.header("Host"), Some("example.com"));
    served.send(ANSWER);
    assert_eq!(client.exactly(ANSWER.len()), ANSWER);
    end_in_order(client, served);
    let seen = gate.seen();
    assert!(seen.relayed && !seen.answered && !seen.opened);
    assert_eq!(
        (seen.by, seen.what, seen.code),
        (ClosedBy::Client, "closed", None)
    );
    assert_eq!(
        (seen.path.as_deref(), seen.version),
        (Some("/echo/info"), None)
    );
    let octets = [seen.from_client.octets, seen.to_client.octets];
    assert_eq!(octets, [GET.len() as u64, ANSWER.len() as u64]);
    assert_eq!((seen.from_client.messages, seen.to_client.messages), (0, 0));
}

#[test]
fn the_head_goes_on_as_it_is_but_for_what_names_the_client() {
    for trusted in [false, true] {
        let backend = Backend::listen();
        let gate = passing(&format!("{}/app", backend.url()), |set| {
            if trusted {
                set.backend.trusted = "127.0.0.1".parse().unwrap();
            }
        });
        let mut client = Peer::connect(gate.address);
        let lines: [&[u8]; 11] = [
            b"PUT /x%20y?q HTTP/1.1",
            b"X-Forwarded-For: 192.0.2.7",
            b"Host: example.com:81",
            b"X_FORWARDED_FOR: 127.0.0.1",
            b"x-b:  \xe4 two  ",
            b"Forwarded: for=192.0.2.7",
            b"x-forwarded-proto: https",
            b"Connection: keep-alive, TE",
            b"TE: trailers",
            b"Cookie: a=b",
            b"X-Forwarded-Host: evil.example",
        ];
        client.send(&[&lines.join(&b"\r\n"[..])[..], b"\r\n\r\n"].concat());
        let mut served = backend.accept_raw();
        let kept: Vec<&[u8]> = [0, 2, 4, 7, 8, 9].map(|i| lines[i]).into();
        let own: [&[u8]; 4] = if trusted {
            [
                b"X-Forwarded-For: 192.0.2.7, 127.0.0.1",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: evil.example",
                b"Forwarded: for=192.0.2.7, for=127.0.0.1;host=\"evil.example\";proto=https",
            ]
        } else {
            [
                b"X-Forwarded-For: 127.0.0.1",
                b"X-Forwarded-Proto: http",
                b"X-Forwarded-Host: example.com:81",
                b"Forwarded: for=127.0.0.1;host=\"example.com:81\";proto=http",
            ]
        };
        let want = [
            &[kept, own.to_vec()].concat().join(&b"\r\n"[..])[..],
            b"\r\nCDN-Loop: heirloom-",
        ]
        .concat();
        let got = served.exactly(want.len());
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&want)
        );
        // The gateway's name, and the end of the head.
        let end = served.exactly(16 + 4);
        assert_eq!(end[16..], *b"\r\n\r\n");
        client.reset();
        let ip = if trusted { "192.0.2.7" } else { "127.0.0.1" };
        assert_eq!(gate.seen().client.ip().to_string(), ip);
    }
}

#[test]
fn a_body_arrives_however_it_is_sent() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let body = b"0123456789".repeat(20);
    let length = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    let chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec();
    for rest in [[length, body].concat(), chunked] {
        for singly in [false, true] {
            let head = b"POST /echo/1/xhr_send HTTP/1.1\r\nHost: h\r\n";
            let whole = [&head[..], &rest].concat();
            let mut client = Peer::connect(gate.address);
            if singly {
                client.send_singly(&whole);
            } else {
                client.send(&whole);
            }
            let mut served = backend.accept();
            let at = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            assert_eq!(served.exactly(rest.len() - at), rest[at..]);
            served.send(ANSWER);
            assert_eq!(client.exactly(ANSWER.len()), ANSWER);
            end_in_order(client, served);
            assert_eq!(gate.seen().from_client.octets, whole.len() as u64);
        }
    }
}

#[test]
fn a_body_that_waits_for_100_continue_gets_it() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let mut client = Peer::connect(gate.address);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut served = backend.accept();
    assert_eq!(served.head.header("Expect"), Some("100-continue"));
    served.send(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    client.send(b"body");
    assert_eq!(served.exactly(4), b"body");
}

#[test]
fn an_answer_arrives_piece_by_piece_and_ends_with_the_backend() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let (mut client, mut served) = relay(&gate, &backend);
    for piece in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        b"2\r\no\n\r\n",
        b"1\r\nh\r\n",
        b"0\r\n\r\n",
    ] {
        served.send(piece);
        assert_eq!(client.exactly(piece.len()), piece);
    }
    // Without a length, the end of TCP is that of the body.
    served.finish();
    client.ends();
    client.finish();
    served.ends();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Backend, "closed"));
}

#[test]
fn what_follows_on_the_connection_is_passed_even_an_upgrade() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let mut client = Peer::connect(gate.address);
    let second = b"GET /healthz HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
    // Two at once.
    client.send(&[GET, second].concat());
    let mut served = backend.accept();
    served.send(ANSWER);
    assert_eq!(served.exactly(second.len()), second);
    served.send(ANSWER);
    assert_eq!(client.exactly(2 * ANSWER.len()), ANSWER.repeat(2));
    let upgrade = request(RFC, "/chat");
    client.send(&upgrade);
    assert_eq!(served.exactly(upgrade.len()), upgrade);
    served.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi");
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.exactly(4), b"\x81\x02hi");
    backend.has_nobody();
}

#[test]
fn a_client_that_ends_its_side_is_still_answered() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let mut client = Peer::connect(gate.address);
    client.send(GET);
    // Most likely before the backend is connected.
    client.finish();
    let mut served = backend.accept();
    served.ends();
    served.send(ANSWER);
    assert_eq!(client.exactly(ANSWER.len()), ANSWER);
    served.finish();
    client.ends();
    let seen = gate.seen();
    assert_eq!(
        (seen.by, seen.what, seen.code),
        (ClosedBy::Client, "closed", None)
    );
}

#[test]
fn an_upload_goes_on_behind_an_early_answer() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let mut client = Peer::connect(gate.address);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf");
    let mut served = backend.accept();
    served.send(ANSWER);
    served.finish();
    assert_eq!(client.rest(), ANSWER);
    client.send(b"half");
    assert_eq!(served.exactly(8), b"halfhalf");
}

#[test]
fn an_answer_is_read_though_the_backend_takes_no_more_of_the_request() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..100 {
        let mut client = Peer::connect(gate.address);
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
        let mut served = backend.accept();
        let mut writer = client.stream().try_clone().unwrap();
        let upload = thread::spawn(move || {
            for _ in 0..200 {
                // Its end is up to the gateway.
                let _ = writer.write_all(&[b'x'; 1000]);
            }
        });
        served.exactly(10_000);
        served.send(answer);
        // It is reset, since not all was read.
        drop(served);
        assert_eq!(client.exactly(answer.len()), answer);
        upload.join().unwrap();
    }
}

#[test]
fn a_slow_reader_of_a_big_answer_stops_its_backend_only() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let (mut other, mut other_served) = relay(&gate, &backend);
    let mut client = Peer::connect_narrow(gate.address);
    client.send(GET);
    let served = backend.accept();
    let written = write_until_stuck(&gate, &served, &[b'x'; 10_000], || {
        other.send(b"and we");
        assert_eq!(other_served.exactly(6), b"and we");
        other_served.send(b"go on");
        assert_eq!(other.exactly(5), b"go on");
    });
    let ports = [served.stream().peer_addr(), client.stream().local_addr()];
    let system: usize = ports.map(|a| in_the_system(a.unwrap().port())).iter().sum();
    let held = written.saturating_sub(system);
    assert!(held < PAIR, "{held} octets are held");
    assert!(held > 100_000, "nothing is held: {written} less {system}");
    served.finish();
    assert_eq!(client.rest().len(), written);
}

#[test]
fn a_backend_that_reads_a_big_body_slowly_stops_its_client_and_answers_meanwhile() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let (mut client, mut served) = relay(&gate, &backend);
    let written = write_until_stuck(&gate, &client, &[b'x'; 10_000], || ());
    let ports = [served.stream().peer_addr(), client.stream().local_addr()];
    let system: usize = ports.map(|a| in_the_system(a.unwrap().port())).iter().sum();
    let held = written.saturating_sub(system);
    assert!(held < PAIR, "{held} octets are held");
    // A full way in one direction does not stop the other one.
    let answer = write_until_stuck(&gate, &served, &[b'y'; 10_000], || ());
    assert_eq!(served.exactly(written).len(), written);
    assert_eq!(client.exactly(answer).len(), answer);
}

#[test]
fn a_backend_that_is_gone_is_a_502() {
    // Nothing listens at port 1 of loopback.
    let gate = passing("ws://127.0.0.1:1", |_| {});
    let mut client = Peer::connect(gate.address);
    client.send(GET);
    let (head, body) = client.response();
    assert_eq!(head.status(), 502);
    assert!(body.starts_with("backend-unreachable: "), "{body}");
    drop(client);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.code), (ClosedBy::Backend, Some(502)));
}

#[test]
fn a_backend_that_ends_without_an_answer_is_a_502() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    for reset in [false, true] {
        let (mut client, mut served) = relay(&gate, &backend);
        if reset {
            served.reset();
        } else {
            served.finish();
            served.ends();
        }
        let (head, body) = client.response();
        assert_eq!(head.status(), 502);
        assert!(body.starts_with("backend-cut: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!(seen.by, ClosedBy::Backend);
        assert!(seen.relayed);
    }
}

#[test]
fn a_backend_that_breaks_off_in_an_answer_ends_it() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let (mut client, mut served) = relay(&gate, &backend);
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf";
    served.send(half);
    assert_eq!(client.exactly(half.len()), half);
    served.reset();
    client.ends();
    drop(client);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Backend, "reset"));
}

#[test]
fn a_backend_that_says_nothing_is_a_504() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |set| set.settings.http_ms = 1_000);
    let start = Instant::now();
    let (mut client, mut served) = relay(&gate, &backend);
    let (head, body) = client.response();
    assert!(start.elapsed() >= milliseconds(900));
    assert_eq!(head.status(), 504);
    assert!(body.starts_with("backend-silent: "), "{body}");
    served.ends();
    drop(client);
    let seen = gate.seen();
    assert_eq!(
        (seen.by, seen.what, seen.code),
        (ClosedBy::Backend, "backend-silent", Some(504))
    );
}

#[test]
fn a_backend_that_does_not_accept_is_a_504() {
    let silent = Silent::new();
    let to = format!("ws://{}", silent.address);
    let gate = passing(&to, |set| set.settings.handshake_ms = 300);
    let mut client = Peer::connect(gate.address);
    client.send(GET);
    let (head, body) = client.response();
    assert_eq!(head.status(), 504);
    assert!(body.starts_with("backend-timeout: "), "{body}");
}

#[test]
fn a_slow_exchange_is_not_over_while_either_end_says_something() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |set| {
        set.settings.http_ms = 1_000;
        set.settings.handshake_ms = 1_000;
    });
    let (mut client, mut served) = relay(&gate, &backend);
    let start = Instant::now();
    // An upload, and then a stream of events, each longer than both deadlines.
    while start.elapsed() < milliseconds(1_500) {
        client.send(b"x");
        assert_eq!(served.exactly(1), b"x");
        assert!(!client.receives_within(milliseconds(100)));
    }
    while start.elapsed() < milliseconds(3_000) {
        served.send(b"y");
        assert_eq!(client.exactly(1), b"y");
        assert!(!client.receives_within(milliseconds(100)));
    }
    // Then both are silent.
    client.ends();
    served.ends();
    drop(client);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Server, "idle-timeout"));
}

#[test]
fn a_client_that_is_gone_ends_its_backend() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    let (client, mut served) = relay(&gate, &backend);
    client.reset();
    served.is_cut_off();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Client, "reset"));
    assert!(seen.relayed);
}

#[test]
fn a_client_that_reads_nothing_is_over_at_the_deadline() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |set| set.settings.write_ms = 3_000);
    let mut client = Peer::connect_narrow(gate.address);
    client.send(GET);
    let mut served = backend.accept();
    write_until_stuck(&gate, &served, &[b'x'; 10_000], || ());
    served.is_cut_off();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Client, "write-timeout"));
    client.is_cut_off();
}

#[test]
fn a_stop_lets_an_answer_end_and_not_a_silence() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |set| set.settings.close_ms = 1_000);
    let (mut waiting, mut waiting_served) = relay(&gate, &backend);
    let (mut idle, mut idle_served) = relay(&gate, &backend);
    idle_served.send(ANSWER);
    assert_eq!(idle.exactly(ANSWER.len()), ANSWER);
    let (mut busy, mut busy_served) = relay(&gate, &backend);
    gate.stop();
    let start = Instant::now();
    while start.elapsed() < milliseconds(2_000) {
        busy_served.send(b"y");
        assert_eq!(busy.exactly(1), b"y");
        assert!(!busy.receives_within(milliseconds(50)));
    }
    let (head, body) = waiting.response();
    assert_eq!(head.status(), 503);
    assert!(body.starts_with("going-away: "), "{body}");
    waiting_served.ends();
    idle.ends();
    idle_served.ends();
    end_in_order(busy, busy_served);
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn the_backend_of_plain_http_gets_its_proxy_header() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |set| {
        set.backend.send_proxy = Some(ProxyVersion::V1);
    });
    let mut client = Peer::connect(gate.address);
    client.send(GET);
    let mut served = backend.accept_raw();
    let ports = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        client.stream().local_addr().unwrap().port(),
        gate.address.port()
    );
    assert_eq!(served.exactly(ports.len()), ports.as_bytes());
    assert_eq!(served.head().lines[0], "GET /echo/info?t=1 HTTP/1.1");
}

#[test]
fn health_checks_and_refusals_stay_the_gateway_s_own() {
    let backend = Backend::listen();
    let gate = passing(&backend.url(), |_| {});
    for method in ["GET", "HEAD"] {
        let mut client = Peer::connect(gate.address);
        client.send(format!("{method} /healthz HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!(client.head().status(), 200);
    }
    let body = "Content-Length: 3\r\n\r\nGET";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (lines, code) in [
        (
            format!("POST / HTTP/1.1\r\nHost: h\r\n{key}{body}"),
            "upgrade-smuggled",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\n{key}\r\n"),
            "upgrade-missing",
        ),
        (format!("POST / HTTP/1.1\r\n{body}"), "host-missing"),
        (
            "GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n".to_owned(),
            "head-folded",
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n{body}"),
            "method-not-get",
        ),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(lines.as_bytes());
        let (head, body) = client.response();
        assert!(head.status() >= 400);
        assert!(body.starts_with(&format!("{code}: ")), "{code}: {body}");
    }
    backend.has_nobody();
    // And an upgrade is bridged as before.
    let mut client = Peer::connect(gate.address);
    client.send(&request_with(RFC, "/", &[]));
    let mut served = backend.open();
    client.agree(RFC);
    client.send_text("hello");
    assert_eq!(served.receive_text(), "hello");
}

#[test]
fn plain_http_is_refused_unless_it_is_to_be_passed() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (method, status) in [("GET", 404), ("POST", 405)] {
        let mut client = Peer::connect(gate.address);
        client.send(format!("{method} /echo/info HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!(client.response().0.status(), status);
    }
    backend.has_nobody();
}

#[test]
fn the_program_passes_http_and_its_line_says_so() {
    for json in [false, true] {
        let backend = Backend::listen();
        let mut command = Command::new(HEIRLOOM);
        command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()]);
        command.args(["--http", "pass", "--http-timeout-ms", "5min"]);
        if json {
            command.arg("--json");
        }
        let mut program = Program::start(&mut command);
        let mut out = program.take_lines();
        let mut client = Peer::connect(program.address);
        client.send(GET);
        let mut served = backend.accept();
        served.send(ANSWER);
        assert_eq!(client.exactly(ANSWER.len()), ANSWER);
        end_in_order(client, served);
        let line = out.next_line();
        let (from, to) = (GET.len(), ANSWER.len());
        let want = if json {
            format!(
                "\"state\":\"http\",\"received\":{{\"messages\":0,\"octets\":{from}}},\
                 \"sent\":{{\"messages\":0,\"octets\":{to}}}"
            )
        } else {
            format!(" state=http received=0/{from} sent=0/{to} ")
        };
        assert!(line.contains(&want), "{line}");
        let mut refused = Peer::connect(program.address);
        refused.send(GET);
        drop(backend.accept_raw());
        assert_eq!(refused.response().0.status(), 502);
        drop(refused);
        assert!(out.next_line().contains("refused"));
    }
}
