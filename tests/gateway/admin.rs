//! The admin listener: its pages, who may ask, and that what is done to it touches no
//! connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gate::HIXIE_76;
use crate::metrics::{admin_of, get, scrape};
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC, request};
use crate::support::program::{HEIRLOOM, Program, run};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

#[test]
fn each_page_is_there_for_get_and_head_and_nothing_else() {
    let program = Program::serve(&ADMIN);
    let admin = admin_of(&program);
    let (status, kind, front) = get(admin, "/");
    assert_eq!((status, &*kind), (200, "text/html; charset=utf-8"));
    for path in ["/metrics", "/healthz", "/readyz", "/connections"] {
        assert!(front.contains(&format!("<a href=\"{path}")), "{front}");
        let (status, kind, body) = get(admin, path);
        assert_eq!(status, 200, "{path}");
        let mut peer = Peer::connect(admin);
        peer.send(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let head = peer.head();
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.header("Content-Type"), Some(&*kind), "{path}");
        assert_eq!(head.header("Cache-Control"), Some("no-store"), "{path}");
        assert_eq!(peer.rest(), b"", "{path} {body}");
        let mut peer = Peer::connect(admin);
        let post = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        peer.send(post.as_bytes());
        assert_eq!(peer.response().0.status(), 405, "{path}");
    }
    assert_eq!(get(admin, "/healthz").2, "ok\n");
    assert_eq!(get(admin, "/readyz").2, "ready\n");
    for path in ["/chat", "/metrics/", "/.git/config", "//metrics"] {
        assert_eq!(get(admin, path).0, 404, "{path}");
    }
    for query in ["limit=x", "limit=1001", "other=1"] {
        let (status, _, body) = get(admin, &format!("/connections?{query}"));
        assert_eq!(
            (status, &*body),
            (400, "limit is a number from 0 to 1000\n")
        );
    }
    // It is no WebSocket server.
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::connect(admin);
        let whole = String::from_utf8(request(speaks, "/metrics")).unwrap();
        peer.send(
            whole
                .replace("example.com\r\nC", "localhost\r\nC")
                .as_bytes(),
        );
        let (head, body) = peer.response();
        assert_eq!(head.status(), 404, "{body}");
        assert!(body.starts_with("no-route: "), "{body}");
    }
    // What its own clients do is not among the numbers.
    let told = scrape(admin);
    assert_eq!(told.get("heirloom_connections_accepted_total", &[]), 0.0);
}

#[test]
fn a_page_of_another_site_whose_name_leads_here_is_refused() {
    let program = Program::serve(&["--admin", "localhost:0"]);
    let admin = admin_of(&program);
    let ask = |host: &str| {
        let mut peer = Peer::connect(admin);
        peer.send(format!("GET /connections HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let (head, body) = peer.response();
        (head.status(), body)
    };
    for host in [
        "evil.example",
        "localhost.evil.example:9090",
        "127.0.0.1.nip.io",
        "1",
    ] {
        let (status, body) = ask(host);
        assert_eq!(status, 403, "{host}");
        assert!(body.starts_with("host-forbidden: "), "{host}: {body}");
    }
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "192.0.2.7:9090",
        "[::1]",
        "[::1]:9",
    ] {
        assert_eq!(ask(host).0, 200, "{host}");
    }
}

#[test]
fn connections_are_listed_oldest_first_and_counted_beyond_the_list() {
    let backend = Backend::listen();
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()]);
    let program = Program::start(command.args(ADMIN));
    let admin = admin_of(&program);
    let list = |query: &str| -> Value {
        let (status, kind, body) = get(admin, &format!("/connections{query}"));
        assert_eq!((status, &*kind), (200, "application/json"));
        serde_json::from_str(&body).unwrap()
    };
    assert_eq!(
        list(""),
        serde_json::json!({ "connections": 0, "listed": [] })
    );
    let mut client = Peer::connect(program.address);
    client.send(&request(HIXIE_76, "/room?secret"));
    let mut served = backend.open();
    client.agree(HIXIE_76);
    client.send_text("grüße");
    assert_eq!(served.receive_text(), "grüße");
    let told = list("");
    assert_eq!(told["connections"], 1);
    let one = &told["listed"][0];
    let address = client.stream().local_addr().unwrap();
    let age = one["age"].as_u64().unwrap();
    assert!(age <= PATIENCE.as_secs(), "{told}");
    let want = serde_json::json!({
        "version": "hixie-76",
        "state": "open",
        "route": "/",
        "client": address.to_string(),
        "age": age,
        "received": { "messages": 1, "octets": 7 },
        "sent": { "messages": 0, "octets": 0 },
    });
    assert_eq!(*one, want);
    // Nothing that a client asked for is told.
    assert!(!told.to_string().contains("room"), "{told}");
    let begun: Vec<Peer> = (0..4)
        .map(|_| {
            let mut peer = Peer::connect(program.address);
            peer.send(b"GET / HTTP/1.1\r\n");
            peer
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    let told = loop {
        let told = list("?limit=2");
        if told["connections"] == 5 {
            break told;
        }
        assert!(Instant::now() < until, "{told}");
    };
    assert_eq!(told["listed"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(list("?limit=0")["listed"].as_array().unwrap().len(), 0);
    let all = list("?limit=1000");
    let states: Vec<&str> = all["listed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states.iter().filter(|state| **state == "handshake").count(),
        4,
        "{all}"
    );
    drop(begun);
}

#[test]
fn a_server_that_is_being_stopped_is_alive_and_not_ready() {
    let program = Program::serve(&["--admin", "127.0.0.1:0", "--drain-timeout-ms", "10min"]);
    let admin = admin_of(&program);
    let mut peer = Peer::open(program.address, RFC, "/");
    peer.echo("hello");
    assert_eq!(get(admin, "/readyz").0, 200);
    program.signal("TERM");
    // It has got its close, and does not answer it.
    peer.close_frame(1001);
    let (status, _, body) = get(admin, "/readyz");
    assert_eq!((status, &*body), (503, "draining\n"));
    assert_eq!(get(admin, "/healthz").0, 200);
    let told = scrape(admin);
    assert_eq!(told.get("heirloom_draining", &[]), 1.0);
    let closing = [("version", "rfc6455"), ("state", "closing"), ("route", "/")];
    assert_eq!(told.get("heirloom_connections", &closing), 1.0, "{told:#?}");
    drop(peer);
    let status = program.ends_within(PATIENCE);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn clients_are_served_while_the_admin_pages_are_asked_without_a_pause() {
    let program = Program::serve(&["--admin", "127.0.0.1:0", "--workers", "1"]);
    let admin = admin_of(&program);
    let is_over = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for path in ["/metrics", "/metrics", "/connections", "/metrics"] {
            let (is_over, asked) = (&is_over, &asked);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let (status, _, body) = get(admin, path);
                    // So many may wait for an answer.
                    assert!(matches!(status, 200 | 503), "{status} {body}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut peer = Peer::open(program.address, RFC, "/");
        let mut slowest = Duration::ZERO;
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until || asked.load(Ordering::Relaxed) < 8 {
            let begin = Instant::now();
            peer.echo("hello");
            slowest = slowest.max(begin.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        // On a busy machine, too.
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    });
}

#[test]
fn clients_of_the_admin_pages_that_say_nothing_or_little_touch_no_connection() {
    let program = Program::serve(&ADMIN);
    let admin = admin_of(&program);
    let mut peer = Peer::open(program.address, RFC, "/");
    // More than it takes: each holds a place until its time is over.
    let mut mute: Vec<Peer> = (0..100).map(|_| Peer::connect(admin)).collect();
    for slow in mute.iter_mut().take(20) {
        slow.send(b"GET /met");
    }
    peer.echo("hello");
    let mut more = Peer::open(program.address, RFC, "/");
    more.echo("hello");
    // Those above the limit are refused, and the others get 408 after five seconds.
    let until = Instant::now() + PATIENCE;
    let status = loop {
        // It may be refused, reset, or served.
        let mut asks = TcpStream::connect(admin).unwrap();
        asks.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut answer = String::new();
        let asked = asks.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _ = asked.and_then(|()| asks.read_to_string(&mut answer));
        if answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        assert!(Instant::now() < until, "no place is free again");
        peer.echo("hello");
    };
    assert!(status.ends_with("ok\n"), "{status}");
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ".to_owned() + &"x".repeat(9000);
    let mut long = Peer::connect(admin);
    long.send(head.as_bytes());
    assert_eq!(long.head().status(), 431);
    peer.echo("hello");
}

#[test]
fn a_public_admin_address_is_warned_of_and_loopback_is_not() {
    let program = Program::serve(&["--admin", "0.0.0.0:0"]);
    let warning = program.await_talk("--admin");
    assert!(warning.contains("is not loopback"), "{warning}");
    drop(program);
    let program = Program::serve(&ADMIN);
    program.signal("TERM");
    let (_, ended) = program.wait();
    assert!(
        ended.talk.contains("admin on http://127.0.0.1:"),
        "{ended:?}"
    );
    assert!(!ended.talk.contains("warning"), "{ended:?}");
}

#[test]
fn an_admin_address_that_cannot_be_used_is_told_with_its_option() {
    for (address, sentence) in [
        ("unix:", "give the path of the socket"),
        ("unix:@admin", "give the path of the socket"),
        ("9090", "give HOST:PORT"),
    ] {
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--admin", address]);
        assert_eq!(ended.code, Some(2), "{address}");
        assert!(ended.talk.contains(sentence), "{address}: {}", ended.talk);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--admin", &address]);
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert!(
        ended.talk.contains(&format!("cannot listen on {address}")),
        "{ended:?}"
    );
    assert!(ended.talk.contains("see --admin"), "{ended:?}");
}

#[test]
fn a_unix_admin_socket_is_for_its_owner_and_gone_at_the_end() {
    let folder = Folder::new();
    let path = folder.path("admin.sock");
    let program = Program::serve(&["--admin", &format!("unix:{}", path.display())]);
    let line = program.await_talk("admin on ");
    assert_eq!(line, format!("admin on unix:{}", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "10", "--unix-socket"]);
    let output = curl.arg(&path).arg("http://localhost/metrics").output();
    let output = output.expect("install curl: apt-get install curl");
    assert!(output.status.success(), "{output:?}");
    let told = crate::support::metrics::Scrape::read(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(told.get("heirloom_draining", &[]), 0.0);
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{ended:?}");
    assert!(!path.exists(), "the socket's file stays");
}
