//! `heirloom gateway`, as scripts and people use it: exit codes, access lines,
//! signals, and readers of its lines that stop.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::backend::{Backend, clear};
use crate::support::peer::{BINARY, CLOSE, KEY3, Peer, RFC, Speaks, TEXT, frame, request, said};
use crate::support::program::{HEIRLOOM, Program, run};

const HIXIE_76: Speaks = Speaks::Hixie76;

/// A gateway on a free port of loopback, in front of this backend.
fn gateway(backend: &Backend, args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()]);
    Program::start(command.args(["--versions", "all"]).args(args))
}

/// Stops it; the lines it said after the first.
fn lines(program: Program) -> Vec<String> {
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
    ended.out.lines().map(str::to_owned).collect()
}

/// The words of a line: a time, and then names with values.
fn fields(line: &str) -> (String, BTreeMap<String, String>) {
    let (time, rest) = line.split_once(' ').unwrap();
    let mut fields = BTreeMap::new();
    for word in rest.split(' ') {
        let (name, value) = word.split_once('=').unwrap_or_else(|| panic!("{line}"));
        let before = fields.insert(name.to_owned(), value.to_owned());
        assert_eq!(before, None, "{name} stands twice: {line}");
    }
    (time.to_owned(), fields)
}

/// A time such as 2026-01-31T12:34:56.789Z.
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    shape == "0000-00-00T00:00:00.000Z"
}

fn open(
    program: &Program,
    backend: &Backend,
    speaks: Speaks,
    path: &str,
) -> (Peer, crate::support::backend::Served) {
    let mut client = Peer::connect(program.address);
    client.send(&request(speaks, path));
    let served = backend.open();
    client.agree(speaks);
    (client, served)
}

/// One connection of each fate: bridged, answered and never open, refused by
/// the backend, refused by us, a page, and one that says nothing. Gives the
/// clients' addresses in this order.
fn each_fate(program: &Program, backend: &Backend) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    let mut note = |peer: &Peer| addresses.push(peer.stream().local_addr().unwrap());

    let (mut client, mut served) = open(program, backend, RFC, "/chat?token=secret");
    note(&client);
    client.send_text("grüße");
    assert_eq!(served.receive_text(), "grüße");
    served.send_text("you");
    served.send_text("");
    assert_eq!(
        (client.receive_text(), client.receive_text()),
        ("you".to_owned(), String::new())
    );
    client.send(&frame(CLOSE, &[0x0f, 0xa0]));
    served.receive_close(4000);
    served.send(&clear(CLOSE, &[0x0f, 0xa0]));
    client.close_frame(4000);
    client.ends();

    let whole = request(HIXIE_76, "/old");
    let mut client = Peer::connect(program.address);
    note(&client);
    client.send(&whole[..whole.len() - KEY3.len()]);
    let mut served = backend.open();
    assert_eq!(client.head().status(), 101);
    client.finish();
    served.receive_close(1001);
    client.ends();

    let mut client = Peer::connect(program.address);
    note(&client);
    client.send(&request(RFC, "/no"));
    backend.accept().send(b"HTTP/1.1 403 No\r\n\r\n");
    assert_eq!(client.response().0.status(), 403);

    let mut client = Peer::connect(program.address);
    note(&client);
    client.send(&request(Speaks::Number(99), "/new"));
    assert_eq!(client.response().0.status(), 426);

    let mut client = Peer::connect(program.address);
    note(&client);
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().0.status(), 200);

    let mut client = Peer::connect(program.address);
    note(&client);
    client.finish();
    client.is_cut_off();
    addresses
}

/// What differs between the lines of `each_fate`.
const FATES: [[&str; 9]; 6] = [
    // version, path, state, received, sent, by, ended, code, status
    [
        "rfc6455", "/chat", "open", "1/7", "2/3", "client", "closed", "4000", "101",
    ],
    [
        "hixie-76",
        "/old",
        "answered",
        "0/0",
        "0/0",
        "client",
        "handshake-cut",
        "-",
        "101",
    ],
    [
        "rfc6455",
        "/no",
        "refused",
        "0/0",
        "0/0",
        "backend",
        "backend-refused",
        "403",
        "403",
    ],
    [
        "-",
        "-",
        "refused",
        "0/0",
        "0/0",
        "server",
        "version-unknown",
        "426",
        "-",
    ],
    ["-", "/", "page", "0/0", "0/0", "server", "page", "200", "-"],
    [
        "-",
        "-",
        "none",
        "0/0",
        "0/0",
        "client",
        "handshake-cut",
        "-",
        "-",
    ],
];

#[test]
fn each_connection_has_a_line_with_all_its_fields() {
    let backend = Backend::listen();
    let program = gateway(&backend, &[]);
    let addresses = each_fate(&program, &backend);
    let lines = lines(program);
    assert_eq!(lines.len(), addresses.len(), "{lines:#?}");
    for (address, fate) in addresses.iter().zip(FATES) {
        let client = format!(" client={address} ");
        let line = lines.iter().find(|line| line.contains(&client));
        let line = line.unwrap_or_else(|| panic!("no line of {address}: {lines:#?}"));
        let (time, mut fields) = fields(line);
        assert!(is_time(&time), "{line}");
        let ms: u64 = fields.remove("ms").unwrap().parse().unwrap();
        assert!(ms < 20_000, "{line}");
        let [
            version,
            path,
            state,
            received,
            sent,
            by,
            ended,
            code,
            status,
        ] = fate;
        let host = backend.address.to_string();
        let host = if status == "-" { "-" } else { &host };
        let want: BTreeMap<String, String> = [
            ("client", &*address.to_string()),
            ("version", version),
            ("path", path),
            ("route", if path == "-" { "-" } else { "/" }),
            ("backend", host),
            ("status", status),
            ("state", state),
            ("received", received),
            ("sent", sent),
            ("by", by),
            ("ended", ended),
            ("code", code),
            ("tls", "-"),
        ]
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
        assert_eq!(fields, want, "{line}");
    }
    assert!(!lines.concat().contains("secret"));
}

#[test]
fn a_health_check_leaves_no_line_and_a_version_that_is_off_its_name() {
    let backend = Backend::listen();
    let mut command = Command::new(HEIRLOOM);
    let args = ["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()];
    let program = Program::start(command.args(args));
    let mut client = Peer::connect(program.address);
    client.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().0.status(), 200);
    drop(client);
    let mut client = Peer::connect(program.address);
    client.send(&request(Speaks::Hixie75, "/"));
    assert_eq!(client.response().0.status(), 426);
    drop(client);
    let lines = lines(program);
    let [line] = &*lines else {
        panic!("{lines:#?}");
    };
    let (_, fields) = fields(line);
    assert_eq!(fields["version"], "hixie-75", "{line}");
    assert_eq!(fields["ended"], "version-off", "{line}");
}

#[test]
fn the_same_fields_stand_in_a_line_of_json() {
    let backend = Backend::listen();
    let program = gateway(&backend, &["--json"]);
    let addresses = each_fate(&program, &backend);
    let lines = lines(program);
    assert_eq!(lines.len(), addresses.len(), "{lines:#?}");
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (address, fate) in addresses.iter().zip(FATES) {
        let line = lines
            .iter()
            .find(|line| line["client"] == address.to_string());
        let line = line.unwrap_or_else(|| panic!("no line of {address}: {lines:#?}"));
        let [
            version,
            path,
            state,
            received,
            sent,
            by,
            ended,
            code,
            status,
        ] = fate;
        let host = backend.address.to_string();
        let status = status.parse::<u16>().ok();
        let or_null = |text: &str| match text {
            "-" => Value::Null,
            text => Value::from(text),
        };
        let carried = |text: &str| {
            let (messages, octets) = text.split_once('/').unwrap();
            let number = |text: &str| text.parse::<u64>().unwrap();
            serde_json::json!({"messages": number(messages), "octets": number(octets)})
        };
        let mut rest = line.as_object().unwrap().clone();
        assert!(
            is_time(rest.remove("time").unwrap().as_str().unwrap()),
            "{line}"
        );
        assert!(rest.remove("ms").unwrap().is_u64(), "{line}");
        let want = serde_json::json!({
            "client": address.to_string(),
            "version": or_null(version),
            "path": or_null(path),
            "route": or_null(if path == "-" { "-" } else { "/" }),
            "backend": status.map(|_| host),
            "status": status,
            "state": state,
            "received": carried(received),
            "sent": carried(sent),
            "by": by,
            "ended": ended,
            "code": code.parse::<u16>().map_or(Value::Null, Value::from),
            "tls": null,
        });
        assert_eq!(Value::Object(rest), want);
    }
}

#[test]
fn a_line_is_written_when_its_connection_has_ended_and_not_at_the_end_of_all() {
    let backend = Backend::listen();
    let mut program = gateway(&backend, &[]);
    let mut out = program.take_lines();
    for path in ["/one", "/two"] {
        let (client, mut served) = open(&program, &backend, RFC, path);
        drop(client);
        served.receive_close(1001);
        let line = out.next_line();
        assert!(line.contains(&format!(" path={path} ")), "{line}");
    }
}

#[test]
fn a_path_that_is_hostile_is_one_word_of_one_line() {
    for json in [false, true] {
        let backend = Backend::listen();
        let program = gateway(&backend, if json { &["--json"] } else { &[] });
        let hostile = [
            "/a\u{1b}[31mb",
            "/a\u{202e}b\u{2028}c\u{9b}d",
            "/a=b ended=closed",
            "/\"}{",
            "/code=1000",
            "/a\u{a0}b\u{3000}c",
            "/a\tb",
            "/\\u{1b}",
        ];
        for path in hostile {
            let mut client = Peer::connect(program.address);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
            client.response();
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(5000));
        let mut client = Peer::connect(program.address);
        client.send(long.as_bytes());
        client.response();
        drop(client);
        let lines = lines(program);
        assert_eq!(lines.len(), hostile.len() + 1, "{lines:#?}");
        for line in &lines {
            if json {
                let value: Value = serde_json::from_str(line).unwrap();
                assert_eq!(value.as_object().unwrap().len(), 15, "{line}");
            } else {
                assert_eq!(fields(line).1.len(), 14, "{line}");
                assert!(line.len() < 2000, "{line}");
            }
            let is_inert = |c: char| {
                !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}')
            };
            assert!(line.chars().all(is_inert), "{line:?}");
        }
    }
}

#[test]
fn binary_that_cannot_go_on_has_a_line_that_says_so() {
    let backend = Backend::listen();
    let program = gateway(&backend, &[]);
    let (mut client, mut served) = open(&program, &backend, HIXIE_76, "/");
    served.send(&clear(BINARY, &[0xff]));
    assert_eq!(served.receive_close(1003), "binary-unwanted");
    assert_eq!(client.rest(), [0xff, 0]);
    drop((client, served));
    let lines = lines(program);
    let said = " by=backend ended=binary-unwanted code=1003 tls=-";
    assert!(lines[0].ends_with(said), "{lines:?}");
}

#[test]
fn what_cannot_be_started_says_why_by_its_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let to = "ws://127.0.0.1:9";
    let cases: [(&[&str], i32, &str); 13] = [
        (&["--to", to, "--listen", &taken], 3, &taken),
        (&[], 2, "--to"),
        (&["--to", "http://127.0.0.1/"], 2, "ws://"),
        (&["--to", to, "--insecure"], 2, "dial wss://"),
        (&["--to", "wss://h/", "--ca", "/dev/null"], 2, "/dev/null"),
        (&["--to", "127.0.0.1:9000"], 2, "ws://"),
        (&["--to", to, "--as", "hixie-77"], 2, "hixie-77"),
        (&["--to", to, "--binary", "hex"], 2, "hex"),
        (
            &["--to", to, "--accept-forwarded", "10.1.2.3/8"],
            2,
            "10.0.0.0/8",
        ),
        (&["--to", to, "--accept-proxy", "localhost"], 2, "localhost"),
        (&["--to", to, "--send-proxy=v3"], 2, "v3"),
        (
            &["--to", to, "--public-url", "https://example.com"],
            2,
            "wss://HOST",
        ),
        (
            &["--to", to, "--versions", "-76,-7,-8,-13"],
            2,
            "--versions",
        ),
    ];
    for (args, code, says) in cases {
        let mut all = vec!["gateway"];
        if !args.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(args);
        let ended = run(&all);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.talk);
        assert!(ended.talk.contains(says), "{args:?}: {}", ended.talk);
        assert_eq!(ended.out, "", "{args:?}");
    }
}

#[test]
fn term_and_int_close_both_sides_and_exit_0() {
    for signal in ["TERM", "INT"] {
        let backend = Backend::listen();
        let program = gateway(&backend, &["--workers", "2"]);
        let mut pairs: Vec<_> = [Speaks::Hixie75, HIXIE_76, RFC]
            .map(|speaks| open(&program, &backend, speaks, "/"))
            .into();
        let mut waiting = Peer::connect(program.address);
        waiting.send(&request(RFC, "/"));
        let mut asked = backend.accept();
        program.signal(signal);
        for (client, served) in &mut pairs {
            served.receive_close(1001);
            served.send(&clear(CLOSE, &[0x03, 0xe9]));
            client.is_sent_away();
        }
        assert_eq!(waiting.response().0.status(), 503);
        asked.is_cut_off();
        drop((pairs, waiting, asked));
        let (status, ended) = program.wait();
        assert_eq!(status.code(), Some(0), "{}", ended.talk);
        // That it has no list of origins, and nothing about its end.
        assert!(ended.talk.contains("--origin"), "{}", ended.talk);
        assert_eq!(ended.talk.lines().count(), 1, "{}", ended.talk);
        assert_eq!(ended.out.matches(" ended=going-away ").count(), 4);
        assert_eq!(ended.out.lines().count(), 4);
    }
}

#[test]
fn a_reader_that_closes_its_pipe_does_not_stop_the_gateway() {
    let backend = Backend::listen();
    let mut program = gateway(&backend, &["--json"]);
    program.hang_up();
    for _ in 0..3 {
        let (mut client, mut served) = open(&program, &backend, RFC, "/");
        client.send_text("still here");
        assert_eq!(served.receive_text(), "still here");
        drop(client);
        served.receive_close(1001);
    }
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
}

/// So many connections, each of which has a line.
fn visit(address: SocketAddr, count: usize) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..count / 4 {
                    let mut peer = Peer::connect(address);
                    peer.send(b"GET /a-path-that-makes-a-line-long HTTP/1.1\r\nHost: h\r\n\r\n");
                    peer.is_cut_off();
                }
            });
        }
    });
}

#[test]
fn a_reader_that_stops_loses_lines_and_the_gateway_counts_them_and_goes_on() {
    let backend = Backend::listen();
    let mut program = gateway(&backend, &[]);
    let mut out = program.take_lines();
    // More than wait for a reader, and more than a pipe holds.
    let count = 10_000;
    visit(program.address, count);
    let (mut client, mut served) = open(&program, &backend, RFC, "/");
    client.send_text("still here");
    assert_eq!(served.receive_text(), "still here");
    // It reads again: what was kept is whole, what was not is counted.
    let own = " by=server ended=not-found code=404 tls=-";
    assert!(out.next_line().ends_with(own));
    let mut read = 1;
    // It is told once a second.
    let number = |line: &str| {
        let number = line.split_whitespace().find_map(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("{line}"))
    };
    let mut lost: usize = number(&program.await_talk("access lines are lost"));
    let (moment, until) = (Duration::from_millis(50), Instant::now() + PATIENCE);
    while read + lost < count {
        assert!(Instant::now() < until, "{read} are read, {lost} are lost");
        if let Some(line) = out.line_within(moment) {
            assert!(line.ends_with(own), "{line}");
            read += 1;
        } else if let Some(line) = program.talk_within("access lines are lost", moment) {
            lost += number(&line);
        }
    }
    assert_eq!(read + lost, count);
    served.send_text("and here");
    assert_eq!(client.receive_text(), "and here");
}

#[test]
fn a_reader_that_stops_does_not_keep_the_gateway_from_its_end() {
    let backend = Backend::listen();
    let program = gateway(&backend, &[]);
    // More than a pipe holds.
    visit(program.address, 1200);
    program.signal("TERM");
    let ended = program.wait_unread();
    assert_eq!(ended.code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_gateway_without_descriptors_does_not_blame_its_backend() {
    let backend = Backend::listen();
    let program = gateway(&backend, &[]);
    let (mut client, mut served) = open(&program, &backend, RFC, "/");
    // Enough for a client, and not for its backend.
    program.leave_descriptors(1);
    let begin = Instant::now();
    for _ in 0..3 {
        let mut refused = Peer::connect(program.address);
        refused.send(&request(RFC, "/"));
        let (head, body) = refused.response();
        assert_eq!(head.status(), 503);
        assert!(head.header("Retry-After").is_some());
        assert!(body.starts_with("out-of-sockets: "), "{body}");
    }
    client.send_text("still here");
    assert_eq!(served.receive_text(), "still here");
    drop((client, served));
    program.signal("TERM");
    let (_, ended) = program.wait();
    assert!(!ended.talk.contains("cannot be reached"), "{ended:?}");
    let told = |line: &&str| line.contains("no socket for a connection to the backend");
    let most = begin.elapsed().as_secs() as usize + 1;
    assert!(
        (1..=most).contains(&ended.talk.lines().filter(told).count()),
        "{ended:?}"
    );
    let refused = |line: &&str| line.contains("by=server ended=out-of-sockets code=503");
    assert_eq!(ended.out.lines().filter(refused).count(), 3, "{ended:?}");
}

#[test]
fn options_of_the_route_are_those_of_the_gateway() {
    let backend = Backend::listen();
    let path = format!("{}/app", backend.url());
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &path]);
    let args = [
        "--accept-proxy=127.0.0.1",
        "--accept-forwarded=192.0.2.0/24",
        "--send-proxy",
        "--binary=base64",
        "--public-url=wss://public.example",
    ];
    let program = Program::start(command.args(args));
    let mut client = Peer::connect(program.address);
    client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n");
    let whole = String::from_utf8(request(HIXIE_76, "/old")).unwrap();
    let whole = whole.replace("Connection:", "X-Forwarded-For: 203.0.113.5\r\nConnection:");
    client.send(whole.as_bytes());
    let mut served = backend.accept_raw();
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    assert_eq!(served.exactly(line.len()), line);
    let head = served.head();
    assert_eq!(head.lines[0], "GET /app HTTP/1.1");
    let chain = head.header("X-Forwarded-For");
    assert_eq!(chain, Some("203.0.113.5, 192.0.2.7"));
    let mut served = crate::support::backend::Served::over(served, head);
    served.agree_to(&[]);
    let head = client.head();
    let location = head.header("Sec-WebSocket-Location");
    assert_eq!(location, Some("wss://public.example/old"));
    client.exactly(16);
    client.send(&said(HIXIE_76, "AP8="));
    assert_eq!(served.masked_frame(), (BINARY, vec![0, 0xff]));
    client.reset();
    served.receive_close(1001);
    drop(served);
    let lines = lines(program);
    assert!(lines[0].contains(" client=203.0.113.5 "), "{lines:?}");
}

#[test]
fn the_backend_is_spoken_to_in_the_version_that_is_asked_for() {
    let backend = Backend::listen();
    let program = gateway(&backend, &["--as", "hixie-76"]);
    let mut client = Peer::connect(program.address);
    client.send(&request(RFC, "/"));
    let mut served = backend.accept();
    let key3 = served.exactly(8);
    let response = served.response_of_76();
    let digest = served.digest(&key3);
    served.send(&[response.as_bytes(), &digest].concat());
    client.agree(RFC);
    client.send(&frame(TEXT, b"old"));
    assert_eq!(served.exactly(5), b"\0old\xff");
}
