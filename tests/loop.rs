//! The loop, on real sockets: whatever peers do, each gets what is his and
//! nobody else notices.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::handshake::Origins;
use heirloom::{Config, Limits, Versions};
use support::PATIENCE;
use support::failing_app::{FailingApp, Hold};
use support::peer::{
    BINARY, CLOSE, DIGEST, KEY3, PING, PONG, Peer, RFC, Speaks, TEXT, frame, is_timeout, request,
    said,
};
use support::program::{HEIRLOOM, Program};
use support::server::{Running, config};

const HIXIE_76: Speaks = Speaks::Hixie76;

/// A request of hixie-76 without its eight octets.
fn head_of_76() -> Vec<u8> {
    let whole = request(HIXIE_76, "/");
    whole[..whole.len() - KEY3.len()].to_vec()
}

fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}

// The two versions, and the ways their octets may come.

#[test]
fn both_versions_talk_at_once_and_close_each_in_its_own_way() {
    let server = Running::serve(Config::default());
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    let mut new = Peer::open(server.address, RFC, "/");
    for text in ["Hello", "", "grüß 😀", &"long ".repeat(1000)] {
        old.send_text(text);
        new.send_text(text);
        assert_eq!(old.receive_text(), text);
        assert_eq!(new.receive_text(), text);
    }
    old.close();
    new.close();
}

#[test]
fn binary_comes_back_as_binary() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    for octets in [&b""[..], &[0, 0xff, 0x80], &[7; 70_000]] {
        peer.send(&frame(BINARY, octets));
        assert_eq!(peer.frame(), (BINARY, octets.to_vec()));
    }
}

#[test]
fn heads_and_frames_may_come_octet_by_octet() {
    let server = Running::serve(Config::default());
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::connect(server.address);
        peer.send_singly(&request(speaks, "/"));
        peer.agree(speaks);
        for text in ["one by one", &"x".repeat(200)] {
            peer.send_singly(&said(speaks, text));
            assert_eq!(peer.receive_text(), text);
        }
        peer.close();
    }
}

#[test]
fn a_head_and_its_first_message_may_come_at_once() {
    let server = Running::serve(Config::default());
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::connect(server.address);
        peer.send(&[request(speaks, "/"), said(speaks, "early")].concat());
        peer.agree(speaks);
        assert_eq!(peer.receive_text(), "early");
        peer.close();
    }
}

#[test]
fn the_eight_octets_may_wait_for_the_101() {
    // Most proxies hold them back until they have seen it.
    let server = Running::serve(Config::default());
    let mut peer = Peer::connect(server.address);
    peer.send(&head_of_76());
    assert_eq!(peer.head().status(), 101);
    peer.send(KEY3);
    assert_eq!(peer.exactly(16), DIGEST);
}

#[test]
fn messages_of_one_write_come_back_in_order() {
    let server = Running::serve(Config::default());
    let texts: Vec<String> = (0..500).map(|n| format!("message {n}")).collect();
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::open(server.address, speaks, "/");
        let octets: Vec<u8> = texts.iter().flat_map(|text| said(speaks, text)).collect();
        peer.send(&octets);
        for text in &texts {
            assert_eq!(peer.receive_text(), *text);
        }
    }
}

#[test]
fn a_ping_between_fragments_is_answered_before_the_message() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(0x01, b"Hel"));
    peer.send(&frame(PING, b"there?"));
    // The answer is awaited, so the message cannot have been whole.
    assert_eq!(peer.frame(), (PONG, b"there?".to_vec()));
    peer.send(&frame(0x80, b"lo"));
    assert_eq!(peer.receive_text(), "Hello");
}

#[test]
fn messages_of_a_megabyte_come_back_whole() {
    let server = Running::serve(Config::default());
    let text = "é".repeat(512 * 1024);
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    let mut new = Peer::open(server.address, RFC, "/");
    for _ in 0..3 {
        old.send_text(&text);
        new.send_text(&text);
        assert!(new.receive_text() == text);
        assert!(old.receive_text() == text);
        let octets: Vec<u8> = (0..1u32 << 20).map(|n| n as u8).collect();
        new.send(&frame(BINARY, &octets));
        assert!(new.frame() == (BINARY, octets));
    }
}

#[test]
fn a_message_of_many_fragments_comes_back_whole() {
    let server = Running::serve(Config::default());
    let octets: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    for size in [7, 1000, 65_536] {
        let mut peer = Peer::open(server.address, RFC, "/");
        let mut frames = frame(0x02, b"");
        for piece in octets.chunks(size) {
            frames.extend(frame(0x00, piece));
        }
        frames.extend(frame(0x80, b""));
        peer.send(&frames);
        assert!(
            peer.frame() == (BINARY, octets.clone()),
            "in pieces of {size}"
        );
    }
}

#[test]
fn a_message_at_the_limit_comes_back_and_one_octet_more_is_refused() {
    let server = Running::serve(Config::default());
    let most = 16 << 20;
    let octets = vec![b'm'; most];
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(TEXT, &octets));
    assert!(peer.frame() == (TEXT, octets));
    // The length alone is enough to refuse it.
    let head = [&[BINARY, 0x80 | 127][..], &(most as u64 + 1).to_be_bytes()].concat();
    peer.send(&head);
    peer.send(&[0; 4]);
    peer.close_frame(1009);
    peer.ends();
}

#[test]
fn fragments_that_are_too_much_together_are_refused() {
    let server = Running::serve(config(|c| c.limits.message_bytes = 1000));
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(0x01, &[b'a'; 600]));
    peer.send(&frame(0x80, &[b'a'; 401]));
    peer.close_frame(1009);
    peer.ends();
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    old.send_text(&"a".repeat(1001));
    assert_eq!(old.exactly(2), [0xff, 0]);
    old.ends();
}

// Handshakes that do not finish.

#[test]
fn a_client_without_the_eight_octets_ends_at_the_deadline_and_nobody_notices() {
    let server = Running::serve(config(|c| c.limits.handshake_ms = 400));
    let mut other = Peer::open(server.address, RFC, "/");
    let begin = Instant::now();
    let mut peer = Peer::connect(server.address);
    peer.send(&head_of_76());
    assert_eq!(peer.head().status(), 101);
    while !peer.receives_within(milliseconds(10)) {
        other.echo("still here");
    }
    peer.ends();
    assert!(begin.elapsed() >= milliseconds(350));
    other.echo("and here");
}

#[test]
fn a_head_that_dribbles_gets_408_at_the_deadline() {
    let server = Running::serve(config(|c| c.limits.handshake_ms = 500));
    let begin = Instant::now();
    let mut peer = Peer::connect(server.address);
    peer.send(b"GET / HTTP/1.1\r\nX: ");
    while !peer.receives_within(milliseconds(20)) {
        assert!(begin.elapsed() < PATIENCE, "progress extends the deadline");
        peer.send(b"x");
    }
    let (head, body) = peer.response();
    assert_eq!(head.status(), 408);
    assert!(body.starts_with("handshake-timeout: "), "{body}");
    assert!(begin.elapsed() >= milliseconds(450));
}

#[test]
fn a_client_that_says_nothing_gets_408_at_the_deadline() {
    let server = Running::serve(config(|c| c.limits.handshake_ms = 200));
    let mut peer = Peer::connect(server.address);
    assert_eq!(peer.response().0.status(), 408);
}

#[test]
fn many_clients_that_never_finish_are_all_ended() {
    let server = Running::serve(config(|c| c.limits.handshake_ms = 500));
    let mut peers: Vec<Peer> = (0..200)
        .map(|_| {
            let mut peer = Peer::connect(server.address);
            peer.send(b"GET / HTTP/1.1\r\n");
            peer
        })
        .collect();
    for peer in &mut peers {
        assert_eq!(peer.response().0.status(), 408);
    }
}

// Refusals and goodbyes arrive.

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
fn a_goodbye_reaches_a_client_that_is_still_writing() {
    let server = Running::serve(config(|c| c.limits.message_bytes = 100_000));
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
fn what_came_before_a_violation_is_answered_before_the_goodbye() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&[said(RFC, "fine"), frame(0x83, b"no such opcode")].concat());
    assert_eq!(peer.receive_text(), "fine");
    peer.close_frame(1002);
    peer.ends();
}

#[test]
fn only_pages_of_the_listed_origins_connect() {
    let server = Running::serve(config(|c| {
        c.origins = Origins::only(["https://example.com"]);
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
fn a_version_that_is_off_is_told_the_option_that_turns_it_on() {
    let server = Running::serve(Config::default());
    let cases = [
        (Speaks::Hixie75, "--versions +hixie-75"),
        (Speaks::Number(6), "--versions +hybi-06"),
    ];
    for (speaks, option) in cases {
        let mut peer = Peer::connect(server.address);
        peer.send(&request(speaks, "/"));
        let (head, body) = peer.response();
        assert_eq!(head.status(), 426);
        assert_eq!(head.header("Upgrade"), Some("websocket"));
        assert_eq!(head.header("Sec-WebSocket-Version"), Some("13, 8, 7"));
        assert!(body.starts_with("version-off: "), "{body}");
        assert!(body.contains(option), "{body}");
    }
}

#[test]
fn one_connection_too_many_gets_503_until_another_leaves() {
    let server = Running::serve(config(|c| {
        c.limits.connections = 2;
        // Longer than the test waits: who was refused and stays must not take
        // a place meanwhile.
        c.limits.close_ms = 60_000;
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

// Plain HTTP.

fn get(server: &Running, request: &str) -> (u16, String, Vec<String>) {
    let mut peer = Peer::connect(server.address);
    peer.send(request.as_bytes());
    let (head, body) = peer.response();
    (head.status(), body, head.lines)
}

#[test]
fn plain_requests_get_their_pages() {
    let server = Running::serve(Config::default());
    let (status, page, lines) = get(&server, "GET / HTTP/1.1\r\nHost: lab.test:81\r\n\r\n");
    assert_eq!(status, 200);
    assert!(page.contains("ws://lab.test:81/chat"), "{page}");
    assert!(
        page.contains("hixie-76") && page.contains("rfc6455"),
        "{page}"
    );
    assert!(!page.contains("hixie-75"), "it is off: {page}");
    let is_html = |l: &String| l.starts_with("Content-Type: text/html");
    assert!(lines.iter().any(is_html), "{lines:?}");
    let ask = |line: &str| get(&server, &format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(ask("GET /healthz").0, 200);
    assert_eq!(ask("GET /healthz?deep").1, "ok\n");
    let (status, body, _) = ask("GET /nowhere");
    assert_eq!(status, 404);
    assert!(body.starts_with("not-found: "), "{body}");
    let (status, body, lines) = ask("POST /");
    assert_eq!(status, 405);
    assert!(body.starts_with("method-not-get: "), "{body}");
    assert!(lines.contains(&"Allow: GET".to_owned()), "{lines:?}");
}

#[test]
fn head_is_get_without_the_body() {
    let server = Running::serve(Config::default());
    for path in ["/", "/healthz"] {
        let rest = format!("{path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (_, body, lines) = get(&server, &format!("GET {rest}"));
        let mut peer = Peer::connect(server.address);
        peer.send(format!("HEAD {rest}").as_bytes());
        assert_eq!(peer.head().lines, lines);
        peer.ends();
        assert!(!body.is_empty());
    }
}

#[test]
fn the_page_escapes_what_the_client_sent() {
    let server = Running::serve(Config::default());
    for host in ["<script>alert(1)</script>", "a\"b", "a&b;'", "h\u{80}"] {
        let (_, page, _) = get(&server, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(!page.contains(host), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}

#[test]
fn nothing_a_client_sends_adds_a_line_to_an_answer() {
    let server = Running::serve(Config::default());
    let names_of = |request: &str| {
        let mut peer = Peer::connect(server.address);
        peer.send(request.as_bytes());
        let head = peer.head();
        let names: Vec<String> = head.names().iter().map(|n| (*n).to_owned()).collect();
        (head.status(), names.join(" "), head)
    };
    let old = String::from_utf8(request(HIXIE_76, "/")).unwrap();
    let planned = "Upgrade Connection Sec-WebSocket-Origin Sec-WebSocket-Location";
    let percent = "%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a%E2%80%A8";
    // What is visible ASCII comes back as it was sent, on the one line it is
    // for.
    let origin = format!("http://{percent}");
    let (status, names, head) = names_of(&old.replace("http://example.com", &origin));
    assert_eq!((status, names.as_str()), (101, planned));
    assert_eq!(head.header("Sec-WebSocket-Origin"), Some(&*origin));
    let (status, names, head) = names_of(&old.replace("GET /", &format!("GET /{percent}")));
    assert_eq!((status, names.as_str()), (101, planned));
    let location = format!("ws://example.com/{percent}");
    assert_eq!(head.header("Sec-WebSocket-Location"), Some(&*location));
    let (status, names, head) =
        names_of(&old.replace("Host: example.com", &format!("Host: {percent}")));
    assert_eq!((status, names.as_str()), (101, planned));
    let location = format!("ws://{percent}/");
    assert_eq!(head.header("Sec-WebSocket-Location"), Some(&*location));
    // What is not is refused, and not one octet of it comes back.
    for bad in ["\r", "\n", "\0", "\x0b", "\x1b[31m", "\u{85}", "\u{2028}"] {
        let bad = format!("{bad}Set-Cookie:a=b");
        for at in ["http://example.com", "Host: example.com", "GET /"] {
            let request = old.replacen(at, &format!("{at}{bad}"), 1);
            let mut peer = Peer::connect(server.address);
            peer.send(request.as_bytes());
            let (head, body) = peer.response();
            assert_eq!(head.status(), 400, "{request:?}");
            let said = format!("{head:?}{body}");
            assert!(!said.contains("Set-Cookie"), "{said}");
        }
    }
    // A subprotocol is chosen from ours, never echoed.
    let new = String::from_utf8(request(RFC, "/")).unwrap();
    let asks = "\r\nSec-WebSocket-Protocol: spoken%0d%0a, spoken\r\nConnection:";
    let (status, names, head) = names_of(&new.replace("\r\nConnection:", asks));
    assert_eq!(status, 101);
    let planned = "Upgrade Connection Sec-WebSocket-Accept Sec-WebSocket-Protocol";
    assert_eq!(names, planned);
    assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("spoken"));
}

// Peers that end, stall, flood or fall silent.

#[test]
fn who_says_something_and_ends_at_once_still_gets_his_echo() {
    let server = Running::serve(Config::default());
    for speaks in [HIXIE_76, RFC] {
        for text in ["last words", &"long ".repeat(100_000)] {
            let mut peer = Peer::connect(server.address);
            peer.send(&[request(speaks, "/"), said(speaks, text)].concat());
            peer.finish();
            peer.agree(speaks);
            assert!(peer.receive_text() == text);
            peer.ends();
        }
    }
}

#[test]
fn who_ends_before_he_has_heard_all_still_hears_all() {
    let server = Running::serve(Config::default());
    // More than the system holds for him when the end is seen.
    let text = "long ".repeat(1_600_000);
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::connect_narrow(server.address);
        peer.upgrade(speaks, "/");
        peer.send_text(&text);
        peer.finish();
        assert!(peer.receive_text() == text);
        peer.ends();
    }
}

#[test]
fn who_ends_inside_his_head_gets_nothing_but_the_end() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::connect(server.address);
    peer.send(b"GET / HTTP/1.1\r\nHost:");
    peer.finish();
    peer.ends();
}

#[test]
fn a_peer_that_never_reads_is_not_read_and_is_ended_and_nobody_waits_for_it() {
    let server = Running::serve(config(|c| {
        c.limits.output_bytes = 64 * 1024;
        c.limits.write_ms = 1_500;
    }));
    let mut other = Peer::open(server.address, RFC, "/");
    let mut sluggard = Peer::connect_narrow(server.address);
    sluggard.upgrade(RFC, "/");
    let messages = frame(BINARY, &[0x5a; 16 * 1024]).repeat(64);
    let stream = sluggard.stream();
    stream.set_write_timeout(Some(milliseconds(300))).unwrap();
    // The systems on both sides hold some; the server adds little to it.
    let (mut taken, mut at) = (0, 0);
    let error = loop {
        match (&*stream).write(&messages[at..]) {
            Ok(n) => {
                taken += n;
                at = (at + n) % messages.len();
                assert!(taken < 100 << 20, "the server takes all and keeps it");
            }
            Err(error) => break error.kind(),
        }
    };
    assert!(is_timeout(error), "{error} before its writes stalled");
    other.echo("nobody waits");
    // Its write deadline ends it, and unread input makes that a reset.
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "it is never ended");
        other.echo("nobody waits");
        match (&*stream).write(&messages[at..]) {
            Ok(n) => at = (at + n) % messages.len(),
            Err(error) if is_timeout(error.kind()) => {}
            Err(error) => {
                let ended = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(ended.contains(&error.kind()), "{error}");
                break;
            }
        }
    }
    other.echo("nobody waited");
}

#[test]
fn who_reads_again_in_time_gets_all_he_asked_for() {
    let server = Running::serve(config(|c| c.limits.output_bytes = 64 * 1024));
    let mut peer = Peer::connect_narrow(server.address);
    peer.upgrade(RFC, "/");
    let rounds = 2000u32;
    let writes = peer.stream().try_clone().unwrap();
    let writer = thread::spawn(move || {
        for n in 0..rounds {
            let octets = [n.to_be_bytes().repeat(1024), b"end".to_vec()].concat();
            (&writes).write_all(&frame(BINARY, &octets)).unwrap();
        }
    });
    // 8 MB of echo against 64 KiB of patience: it stalls and goes on, again
    // and again.
    for n in 0..rounds {
        let (first, octets) = peer.frame();
        assert_eq!((first, octets.len()), (BINARY, 4099));
        assert_eq!(octets[..4], n.to_be_bytes());
    }
    writer.join().unwrap();
}

#[test]
fn floods_do_not_keep_a_polite_peer_waiting() {
    let server = Running::serve(Config::default());
    let mut polite = Peer::open(server.address, RFC, "/");
    let over = Arc::new(AtomicBool::new(false));
    let flooders: Vec<_> = (0..2)
        .map(|_| {
            let mut peer = Peer::open(server.address, RFC, "/");
            let over = Arc::clone(&over);
            thread::spawn(move || {
                // Pongs are eaten and not answered: there is always more to
                // read.
                let pongs = frame(PONG, &[0; 125]).repeat(4000);
                while !over.load(Ordering::Relaxed) {
                    peer.send(&pongs);
                }
            })
        })
        .collect();
    let begin = Instant::now();
    for n in 0..100 {
        polite.echo(&format!("may I, {n}"));
    }
    over.store(true, Ordering::Relaxed);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    for flooder in flooders {
        flooder.join().unwrap();
    }
}

#[test]
fn who_is_silent_too_long_is_sent_away_and_who_talks_is_not() {
    let server = Running::serve(config(|c| c.limits.idle_ms = 500));
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    let mut new = Peer::open(server.address, RFC, "/");
    let mut talker = Peer::open(server.address, RFC, "/");
    let begin = Instant::now();
    while !new.receives_within(milliseconds(50)) {
        talker.echo("not idle");
    }
    assert!(begin.elapsed() >= milliseconds(400));
    new.is_sent_away();
    old.is_sent_away();
    // It lives longer than the limit, because it talks.
    while begin.elapsed() < milliseconds(1200) {
        assert!(!talker.receives_within(milliseconds(50)));
        talker.echo("not idle");
    }
}

#[test]
fn silence_is_allowed_unless_told_otherwise() {
    assert_eq!(Limits::default().idle_ms, 0);
    let server = Running::serve(config(|c| c.limits.handshake_ms = 300));
    let mut silent = Peer::open(server.address, RFC, "/");
    // Its handshake's deadline has passed when one that came later is told.
    let mut late = Peer::connect(server.address);
    assert_eq!(late.response().0.status(), 408);
    silent.echo("still here");
}

#[test]
fn a_storm_of_resets_leaves_the_server_alive_and_no_place_taken() {
    let server = Running::serve(config(|c| c.limits.connections = 200));
    let mut witness = Peer::open(server.address, RFC, "/");
    for n in 0..2000 {
        let mut peer = Peer::connect(server.address);
        match n % 4 {
            0 => {}
            1 => peer.send(b"GET / HT"),
            2 => peer.send(&request(RFC, "/")),
            _ => peer.send(&[request(RFC, "/"), said(RFC, "gone")].concat()),
        }
        peer.reset();
    }
    witness.echo("what a storm");
    let mut peers: Vec<Peer> = (0..100)
        .map(|_| Peer::open(server.address, RFC, "/"))
        .collect();
    for peer in &mut peers {
        peer.echo("calm");
    }
}

/// Time on a processor that a process has used, in hundredths of a second.
fn ticks(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name may hold spaces; what follows its bracket does not.
    let after: Vec<&str> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
    after[12].parse::<u64>().unwrap() + after[13].parse::<u64>().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_the_open_are_served_and_the_queued_when_some_leave() {
    let mut command = Command::new("prlimit");
    command.args(["--nofile=64:64", HEIRLOOM, "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    let program = Program::start(&mut command);
    let (tell, served) = channel();
    for _ in 0..90 {
        let (address, tell) = (program.address, tell.clone());
        thread::spawn(move || {
            let mut peer = Peer::connect(address);
            // The queue of the system takes it, whether or not it is accepted.
            peer.send(&request(RFC, "/"));
            peer.agree(RFC);
            let _ = tell.send(peer);
        });
    }
    drop(tell);
    program.await_talk("cannot accept");
    let mut open = Vec::new();
    while let Ok(peer) = served.recv_timeout(milliseconds(500)) {
        open.push(peer);
    }
    assert!((30..64).contains(&open.len()), "{} are open", open.len());
    let queued = 90 - open.len();
    for peer in &mut open {
        peer.echo("still served");
    }
    let before = ticks(program.id());
    thread::sleep(milliseconds(1000));
    let used = ticks(program.id()) - before;
    assert!(used < 30, "it spins: {used} hundredths of a second");
    // No new client comes to wake the listener.
    open.truncate(open.len() - queued);
    for n in 0..queued {
        let peer = served.recv_timeout(PATIENCE);
        open.push(peer.unwrap_or_else(|_| panic!("{n} of {queued} queued clients are served")));
    }
    for peer in &mut open {
        peer.echo("served at last");
    }
}

// An app that fails.

fn words(workers: usize) -> Running {
    Running::app(workers, Config::default(), || FailingApp::new(None))
}

/// A server of which one worker stands still when somebody says `hold`, so that
/// what comes meanwhile comes in one poll; says when it does, and lets go.
fn held(workers: usize) -> (Running, Receiver<()>, Sender<()>) {
    let (entered, is_held) = channel();
    let (let_go, release) = channel();
    let hold = Mutex::new(Some(Hold { entered, release }));
    let server = Running::app(workers, Config::default(), move || {
        FailingApp::new(hold.lock().unwrap().take())
    });
    (server, is_held, let_go)
}

#[test]
fn what_one_did_not_hear_no_other_hears() {
    let (server, is_held, let_go) = held(1);
    let mut holder = Peer::open(server.address, RFC, "/");
    let mut leaver = Peer::open(server.address, RFC, "/");
    holder.send_text("hold");
    is_held.recv_timeout(PATIENCE).unwrap();
    // What he said is read, and the answer cannot be written.
    leaver.send_text("between us");
    leaver.reset();
    holder.send_text("and mine?");
    let_go.send(()).unwrap();
    assert_eq!(holder.receive_text(), "and mine?");
    holder.echo("and now?");
}

#[test]
fn an_app_that_panics_ends_one_connection_with_1011_and_no_other() {
    let server = words(1);
    let mut other = Peer::open(server.address, RFC, "/");
    let mut older = Peer::open(server.address, HIXIE_76, "/");
    for _ in 0..3 {
        let mut peer = Peer::open(server.address, RFC, "/");
        peer.send_text("fail");
        peer.close_frame(1011);
        peer.ends();
        let mut old = Peer::open(server.address, HIXIE_76, "/");
        old.send_text("fail");
        assert_eq!(old.exactly(2), [0xff, 0]);
        old.ends();
        other.echo("undisturbed");
        older.echo("undisturbed");
    }
}

#[test]
fn an_app_that_panics_at_any_time_ends_no_other_connection() {
    for path in ["/fail-at-request", "/fail-at-open", "/fail-at-gone"] {
        let server = words(1);
        let mut other = Peer::open(server.address, RFC, "/");
        let mut peer = Peer::connect(server.address);
        peer.send(&request(RFC, path));
        peer.finish();
        peer.is_cut_off();
        other.echo(path);
        Peer::open(server.address, RFC, "/").echo("come in");
    }
}

#[test]
fn the_goodbye_after_a_panic_reaches_a_client_that_is_still_writing() {
    let server = words(1);
    for _ in 0..10 {
        let mut peer = Peer::open(server.address, RFC, "/");
        peer.send(&[said(RFC, "fail"), frame(PONG, &[0; 100]).repeat(900)].concat());
        peer.close_frame(1011);
        peer.ends();
    }
}

#[test]
fn a_panic_loses_nothing_that_another_said_in_the_room() {
    let (server, is_held, let_go) = held(1);
    let mut holder = Peer::open(server.address, RFC, "/");
    let mut teller = Peer::open(server.address, RFC, "/");
    let mut failing = Peer::open(server.address, RFC, "/");
    // While the worker stands still both come in, so one poll brings both.
    holder.send_text("hold");
    is_held.recv_timeout(PATIENCE).unwrap();
    teller.send_text("tell");
    failing.send_text("fail");
    let_go.send(()).unwrap();
    failing.is_cut_off();
    assert_eq!(holder.receive_text(), "told");
}

// Stopping.

#[test]
fn a_server_that_stops_says_goodbye_in_each_version_s_own_way() {
    let server = Running::serve_on(2, config(|c| c.versions = Versions::ALL));
    let (address, mut peers) = (server.address, Vec::new());
    for speaks in [Speaks::Hixie75, HIXIE_76, RFC, Speaks::Number(8)] {
        let mut peer = Peer::open(address, speaks, "/");
        peer.echo("before");
        peers.push(peer);
    }
    server.stop();
    for peer in &mut peers {
        peer.is_sent_away();
    }
    // The hixie peers have not ended TCP themselves.
    drop(peers);
    server.wait();
}

#[test]
fn a_server_that_stops_refuses_the_handshakes_in_progress() {
    let server = Running::serve(Config::default());
    let mut silent = Peer::connect(server.address);
    let mut half = Peer::connect(server.address);
    half.send(b"GET / HTTP/1.1\r\nHost: h\r\n");
    let mut waiting = Peer::connect(server.address);
    waiting.send(&head_of_76());
    // Who came before is accepted before.
    assert_eq!(waiting.head().status(), 101);
    server.stop();
    for peer in [&mut silent, &mut half] {
        let (head, body) = peer.response();
        assert_eq!(head.status(), 503);
        assert!(head.header("Retry-After").is_some());
        assert!(body.starts_with("going-away: "), "{body}");
    }
    // After a 101 there is nothing that can be said.
    waiting.ends();
    drop((silent, half, waiting));
    server.wait();
}

#[test]
fn a_server_that_stops_ends_though_a_client_never_answers() {
    let server = Running::serve(config(|c| c.limits.close_ms = 300));
    let mut mute = Peer::open(server.address, RFC, "/");
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    server.stop();
    mute.close_frame(1001);
    assert_eq!(old.exactly(2), [0xff, 0]);
    // Both stay, and say nothing.
    server.wait();
    mute.is_cut_off();
    old.is_cut_off();
}

#[test]
fn a_server_that_stops_does_not_keep_its_port() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    server.stop();
    peer.close_frame(1001);
    let refused = std::net::TcpStream::connect(server.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

// The room.

#[test]
fn the_room_carries_text_from_any_version_to_all_others() {
    let server = Running::serve_on(2, config(|c| c.versions = Versions::ALL));
    let versions = [
        Speaks::Hixie75,
        HIXIE_76,
        Speaks::Number(7),
        Speaks::Number(8),
        RFC,
    ];
    // So many that both workers have some.
    let mut members: Vec<Peer> = (0..20)
        .map(|n| Peer::open(server.address, versions[n % versions.len()], "/chat"))
        .collect();
    let mut outside = Peer::open(server.address, RFC, "/");
    for n in 0..members.len() {
        let text = format!("grüße von {n} 😀");
        members[n].send_text(&text);
        for (m, member) in members.iter_mut().enumerate() {
            if m != n {
                assert_eq!(member.receive_text(), text, "{m} hears {n}");
            }
        }
    }
    // Had one heard itself, that would come before its goodbye.
    outside.echo("not in the room");
    for member in &mut members {
        member.close();
    }
}

#[test]
fn the_room_keeps_the_order_of_each_sender() {
    let server = Running::serve_on(2, Config::default());
    let mut listeners: Vec<Peer> = (0..8)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    let senders: Vec<_> = (0..4)
        .map(|s| {
            let mut sender = Peer::open(server.address, [HIXIE_76, RFC][s % 2], "/chat");
            thread::spawn(move || {
                for n in 0..500 {
                    sender.send_text(&format!("{s} {n}"));
                }
                sender
            })
        })
        .collect();
    for listener in &mut listeners {
        let mut next = [0; 4];
        for _ in 0..4 * 500 {
            let text = listener.receive_text();
            let (s, n) = text.split_once(' ').unwrap();
            let (s, n): (usize, u32) = (s.parse().unwrap(), n.parse().unwrap());
            assert_eq!(n, next[s], "of sender {s}");
            next[s] += 1;
        }
    }
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn who_leaves_the_room_hears_no_more_of_it_and_the_others_stay() {
    let server = Running::serve_on(2, Config::default());
    let mut members: Vec<Peer> = (0..6)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    while members.len() > 1 {
        let mut leaver = members.pop().unwrap();
        leaver.close();
        members[0].send_text("who is left?");
        for member in &mut members[1..] {
            assert_eq!(member.receive_text(), "who is left?");
        }
    }
}

#[test]
fn binary_is_not_for_the_room() {
    let server = Running::serve(Config::default());
    let mut member = Peer::open(server.address, HIXIE_76, "/chat");
    let mut peer = Peer::open(server.address, RFC, "/chat");
    peer.send(&frame(BINARY, b"\0\xff"));
    peer.close_frame(1003);
    peer.ends();
    let mut other = Peer::open(server.address, RFC, "/chat");
    other.send_text("text");
    assert_eq!(member.receive_text(), "text");
}

#[test]
fn a_member_that_does_not_read_is_dropped_and_the_rest_never_wait() {
    let server = Running::serve_on(2, config(|c| c.limits.output_bytes = 256 * 1024));
    let mut sender = Peer::open(server.address, RFC, "/chat");
    let mut members: Vec<Peer> = (0..4)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    let mut sluggard = Peer::connect_narrow(server.address);
    sluggard.upgrade(RFC, "/chat");
    // More than the system and the server hold for one who does not read.
    let rounds = 200;
    let text = "t".repeat(64 * 1024);
    for _ in 0..rounds {
        sender.send_text(&text);
        for member in &mut members {
            assert!(member.receive_text() == text);
        }
    }
    // What the system holds still comes, and then the end.
    let octets = sluggard.rest();
    assert!(octets.len() < rounds * text.len(), "it is never dropped");
    sender.send_text("he is gone");
    for member in &mut members {
        assert_eq!(member.receive_text(), "he is gone");
    }
}

#[test]
fn a_crowd_that_shouts_is_heard_whole() {
    // Everybody speaks at once, faster than mailboxes take: senders are read
    // less, and nothing is lost.
    let server = Running::serve_on(2, Config::default());
    let members: Vec<Peer> = (0..8)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    let each = 400;
    let threads: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            thread::spawn(move || {
                let speaks = member.speaks();
                let all: Vec<u8> = (0..each).flat_map(|_| said(speaks, "me!")).collect();
                member.send(&all);
                for _ in 0..7 * each {
                    assert_eq!(member.receive_text(), "me!");
                }
                member
            })
        })
        .collect();
    // Nobody leaves before all have heard all, and nobody is forgotten.
    let mut members: Vec<Peer> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    for n in 0..members.len() {
        members[n].send_text("and me?");
        for (_, member) in members.iter_mut().enumerate().filter(|(m, _)| *m != n) {
            assert_eq!(member.receive_text(), "and me?");
        }
    }
}

#[test]
fn who_reads_is_not_dropped_however_much_all_say_at_once() {
    let server = Running::serve(Config::default());
    let peers: Vec<Peer> = (0..24)
        .map(|_| Peer::open(server.address, RFC, "/chat"))
        .collect();
    let text = "x".repeat(65_000);
    // All are in the room before anyone speaks.
    thread::scope(|scope| {
        for mut peer in peers {
            let text = &text;
            scope.spawn(move || {
                peer.send_text(text);
                for _ in 1..24 {
                    assert_eq!(peer.receive_text().len(), text.len());
                }
            });
        }
    });
}

#[test]
fn who_posts_faster_than_another_worker_takes_is_not_read_meanwhile() {
    let (server, is_held, let_go) = held(2);
    let mut peers: Vec<Peer> = (0..16)
        .map(|_| Peer::open(server.address, RFC, "/"))
        .collect();
    // One of the two stands still, and one of its clients knows where.
    let is_there = |peer: &mut Peer| {
        peer.send_text("hold");
        is_held.recv_timeout(milliseconds(300)).is_ok()
    };
    assert!(peers.iter_mut().any(is_there));
    let answers = |peer: &mut Peer| {
        peer.send_text("is it you?");
        peer.receives_within(milliseconds(300))
    };
    let mut poster = peers
        .into_iter()
        .find_map(|mut p| answers(&mut p).then_some(p));
    let poster = poster.as_mut().expect("the other worker has some too");
    assert_eq!(poster.receive_text(), "is it you?");
    let stream = poster.stream().try_clone().unwrap();
    stream.set_write_timeout(Some(milliseconds(300))).unwrap();
    let posts = said(RFC, "tell").repeat(10_000);
    let (mut taken, mut at) = (0, 0);
    while let Ok(n) = (&stream).write(&posts[at..]) {
        taken += n;
        at = (at + n) % posts.len();
        assert!(taken < 100 << 20, "all is taken and kept");
    }
    drop(let_go);
    // The two handles are one socket, with one time to wait.
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    poster.send(&posts[at..]);
    poster.echo("read again");
}

#[test]
fn a_close_frame_without_a_code_is_answered_without_one() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(CLOSE, b""));
    assert_eq!(peer.frame(), (CLOSE, Vec::new()));
    peer.ends();
}
