//! The token: only the page that has it is told of its connection, and what is
//! kept for pages has a bound.

use std::fs;

use super::support::peer::{Peer, RFC, Speaks, frame};
use super::support::program::Program;
use super::{HIXIE_76, Page, ask, hex, request_with, serve};

const ASKED: [&str; 3] = ["connection", "connections", "vector"];

#[test]
fn a_token_that_no_page_has_is_not_found() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let peer = page.open(RFC);
    let mut wrong = vec![
        "0".repeat(32),
        String::new(),
        page.token.to_uppercase() + "x",
        page.token[..31].to_owned(),
        format!("{}0", page.token),
        format!("%{}", page.token),
        format!("../lab/{}", page.token),
    ];
    let mut other: Vec<char> = page.token.chars().collect();
    other[31] = if other[31] == '0' { '1' } else { '0' };
    wrong.push(other.into_iter().collect());
    for token in wrong {
        for what in ASKED {
            let path = format!("/lab/{token}/{what}");
            let (head, body) = ask(program.address, "GET", &path, "plain");
            assert_eq!(head.status(), 404, "{path}");
            assert!(!body.contains(&page.token));
        }
    }
    for what in ["", "x", "connection/", "connection/x", "vector.json"] {
        assert_eq!(page.ask(what).0.status(), 404, "{what}");
    }
    assert_eq!(page.ask("connection?x=1").0.status(), 200);
    drop(peer);
}

#[test]
fn a_page_is_told_of_its_own_connection_only() {
    let program = Program::serve(&["--subprotocol", "chat"]);
    let (one, two) = (
        Page::load_as(&program, "the first"),
        Page::load_as(&program, "the second"),
    );
    let mut peer = Peer::connect(program.address);
    let more = "Sec-WebSocket-Protocol: chat\r\nX-Mark: the-mark\r\n";
    peer.send(&request_with(RFC, &one.path(), more));
    peer.agree(RFC);
    peer.echo("said by one");

    let told = two.connection();
    assert_eq!(told["open"], false);
    assert_eq!(told["agent"], "the second");
    for nothing in [
        "version",
        "document",
        "clients",
        "subprotocol",
        "explanation",
    ] {
        assert!(told[nothing].is_null(), "{nothing}: {told}");
    }
    let (head, body) = two.ask("vector");
    assert_eq!(head.status(), 404);
    assert_eq!(head.header("Content-Type"), Some("application/json"));
    assert!(body.contains("this page has no connection yet"), "{body}");
    let other = two.open(HIXIE_76);
    assert_eq!(two.connection()["version"], "hixie-76");
    assert_eq!(one.connection()["version"], "rfc6455");
    for what in ASKED {
        let body = two.ask(what).1;
        for secret in [&*one.token, "the-mark", "said by one"] {
            assert!(!body.contains(secret) && !body.contains(&hex(secret.as_bytes())));
        }
    }
    assert!(one.ask("vector").1.contains("the-mark"));
    drop(other);
}

#[test]
fn only_get_and_head_are_answered() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let peer = page.open(RFC);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for what in ASKED {
            let path = format!("{}/{what}", page.path());
            let (head, body) = ask(program.address, method, &path, "plain");
            assert_eq!(head.status(), 405, "{method} {what}");
            assert!(!body.contains('{'), "{body}");
        }
        assert_eq!(ask(program.address, method, "/", "plain").0.status(), 405);
    }
    drop(peer);
}

#[test]
fn a_connection_that_no_page_opened_is_not_recorded() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let zeros = format!("/lab/{}", "0".repeat(32));
    let behind = format!("{}/", page.path());
    let paths = ["/", "/chat", "/lab/", &*zeros, &*behind];
    let mut strangers = Vec::new();
    for path in paths {
        for speaks in [RFC, HIXIE_76] {
            let mut peer = Peer::connect(program.address);
            peer.send(&request_with(speaks, path, "X-Mark: nobodys\r\n"));
            peer.agree(speaks);
            if path != "/chat" {
                peer.echo("nobody said this");
            }
            strangers.push(peer);
        }
    }
    assert!(page.connection()["explanation"].is_null());
    let own = page.open(RFC);
    for what in ASKED {
        let (head, body) = page.ask(what);
        assert_eq!(head.status(), 200);
        for mark in ["nobodys", "nobody said this"] {
            assert!(!body.contains(mark) && !body.contains(&hex(mark.as_bytes())));
        }
    }
    drop(own);
}

#[test]
fn pages_that_strangers_load_make_the_server_forget_none() {
    let program = Program::serve(&[]);
    let (open, closed) = (Page::load(&program), Page::load(&program));
    let unused = Page::load(&program);
    let mut peer = open.open(HIXIE_76);
    closed.open(RFC).close();
    closed.await_closed();
    let strangers = 10_000;
    let mut many = Peer::connect(program.address);
    for _ in 0..strangers {
        many.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(many.response().0.status(), 200);
        many = Peer::connect(program.address);
    }
    assert_eq!(open.connection()["open"], true);
    assert_eq!(open.connection()["version"], "hixie-76");
    assert_eq!(closed.connection()["version"], "rfc6455");
    assert!(closed.ask("vector").1.contains("GET /lab/"));
    assert_eq!(unused.connection()["open"], false);
    let mut used = unused.open(RFC);
    assert_eq!(unused.connection()["version"], "rfc6455");
    for peer in [&mut peer, &mut used] {
        peer.echo("still here");
    }
}

#[test]
fn an_open_page_is_not_forgotten_and_the_oldest_closed_one_is() {
    let program = Program::serve(&[]);
    let first = Page::load(&program);
    let mut peer = first.open(HIXIE_76);
    let second = Page::load(&program);
    second.open(RFC).close();
    second.await_closed();
    for _ in 0..126 {
        let page = Page::load(&program);
        page.open(RFC).close();
        page.await_closed();
    }
    assert_eq!(second.connection()["version"], "rfc6455");
    let last = Page::load(&program);
    let mut newest = last.open(RFC);
    assert_eq!(last.connection()["open"], true);
    assert_eq!(first.connection()["open"], true);
    // Its token is good, and nothing is kept of its connection.
    assert!(second.connection()["version"].is_null());
    second.open(RFC).echo("again");
    assert_eq!(second.connection()["version"], "rfc6455");
    for peer in [&mut peer, &mut newest] {
        peer.echo("still here");
    }
}

/// Octets of memory that the program has now.
fn resident(program: &Program) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_recording_has_a_bound_and_says_that_it_is_cut() {
    let program = serve(&[], &["--workers", "1", "--versions", "all"]);
    for speaks in [RFC, HIXIE_76, Speaks::Hixie75] {
        let page = Page::load(&program);
        let mut peer = page.open(speaks);
        peer.echo("short");
        assert_eq!(page.connection()["cut"], false);
        let text = "0123456789abcdef".repeat(64 * 1024);
        for _ in 0..4 {
            peer.echo(&text);
        }
        #[cfg(target_os = "linux")]
        let before = resident(&program);
        for _ in 0..24 {
            peer.echo(&text);
        }
        #[cfg(target_os = "linux")]
        {
            let grown = resident(&program).saturating_sub(before);
            assert!(grown < 8 << 20, "{grown} octets more");
        }
        let told = page.connection();
        assert_eq!(told["cut"], true);
        assert_eq!(told["open"], true);
        let parts = told["explanation"]["parts"].as_array().unwrap();
        let kept: usize = parts
            .iter()
            .map(|part| part["hex"].as_str().unwrap().split(' ').count())
            .sum();
        assert!(kept > 32 * 1024 && kept <= 64 * 1024, "{kept}");
        assert!(page.ask("vector").1.len() < 1 << 20);
        peer.echo("goes on");
    }
}

/// The least that many frames can be is many parts, and each has its words.
#[test]
fn many_small_frames_make_no_endless_explanation() {
    let program = serve(&[], &["--workers", "1"]);
    let page = Page::load(&program);
    let mut peer = page.open(RFC);
    peer.send(&frame(0x8a, b"").repeat(10_000));
    peer.echo("behind");
    let body = page.ask("connection").1;
    assert!(body.len() < 1 << 20, "{} octets", body.len());
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["explanation"]["verdict"]["result"], "good");
    assert_eq!(told["explanation"]["version"], "rfc6455");
    peer.echo("goes on");

    // What is not told is judged all the same.
    let page = Page::load(&program);
    let mut peer = page.open(RFC);
    peer.send(&frame(0x8a, b"").repeat(1_000));
    peer.send(&frame(0x83, b""));
    peer.close_frame(1002);
    let verdict = &page.connection()["explanation"]["verdict"];
    assert_eq!(verdict["result"], "broken", "{verdict}");
    assert!(
        verdict["part"].is_null() && verdict["offset"].is_u64(),
        "{verdict}"
    );
}
