//! `serve --explain`: each handshake explained on standard output, as it
//! happens.

use std::time::Duration;

use super::support::peer::{DIGEST, KEY3, PONG, Peer, RFC, Speaks, frame, request};
use super::support::program::Program;
use super::{HIXIE_76, Page, ask, head_of_76, hex, hostile_values, is_inert, request_with, stop};

/// What was told of each client, in order.
fn told(out: &str) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = Vec::new();
    for line in out.lines() {
        if let Some(client) = line.strip_prefix("== ") {
            told.push((client.to_owned(), String::new()));
        } else {
            let (_, text) = told.last_mut().expect("a client stands first");
            text.push_str(line);
            text.push('\n');
        }
    }
    told
}

/// What was told of this client, which must be one thing.
fn told_of(told: &[(String, String)], client: &str) -> String {
    let own: Vec<&String> = told
        .iter()
        .filter(|(c, _)| c == client)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(own.len(), 1, "{client}: {told:#?}");
    own[0].clone()
}

fn client(peer: &Peer) -> String {
    peer.stream().local_addr().unwrap().to_string()
}

#[test]
fn each_handshake_is_explained_once() {
    let program = Program::serve(&["--explain", "--workers", "2"]);
    let mut wanted: Vec<(String, &str, Vec<&str>)> = Vec::new();

    let mut peer = Peer::open(program.address, RFC, "/first");
    peer.echo("a message is no handshake");
    peer.close();
    let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    wanted.push((
        client(&peer),
        "rfc6455\n",
        vec!["GET /first", accept, "Verdict: good"],
    ));

    let mut late = Peer::connect(program.address);
    late.send(&head_of_76("/late"));
    assert_eq!(late.head().status(), 101);
    late.send(KEY3);
    assert_eq!(late.exactly(16), DIGEST);
    let digest = hex(DIGEST);
    wanted.push((
        client(&late),
        "hixie-76\n",
        vec!["GET /late", &digest, "Verdict: good"],
    ));

    let mut refused = Peer::connect(program.address);
    refused.send(&request(Speaks::Number(99), "/"));
    assert_eq!(refused.response().0.status(), 426);
    let named = vec![
        "HTTP/1.1 426",
        "Verdict: broken, version-unknown",
        "Sec-WebSocket-Version: 99",
    ];
    wanted.push((client(&refused), "No version was found\n", named));

    let mut off = Peer::connect(program.address);
    off.send(&request(Speaks::Hixie75, "/"));
    assert_eq!(off.response().0.status(), 426);
    wanted.push((
        client(&off),
        "hixie-75\n",
        vec!["HTTP/1.1 426", "Verdict: refused"],
    ));

    let mut cut = Peer::connect(program.address);
    cut.send(&head_of_76("/cut"));
    assert_eq!(cut.head().status(), 101);
    cut.finish();
    cut.is_cut_off();
    wanted.push((
        client(&cut),
        "hixie-76\n",
        vec!["GET /cut", "Verdict: incomplete"],
    ));

    let mut half = Peer::connect(program.address);
    half.send(b"GET /half HTTP/1.1\r\nHo");
    half.finish();
    half.is_cut_off();
    wanted.push((
        client(&half),
        "No version was found\n",
        vec!["Verdict: incomplete"],
    ));

    let page = Page::load(&program);
    page.connection();
    assert_eq!(ask(program.address, "GET", "/healthz", "x").0.status(), 200);
    drop(late);
    let told = told(&stop(program).out);
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (client, first, named) in wanted {
        let text = told_of(&told, &client);
        assert!(text.starts_with(first), "{text}");
        for named in named {
            assert!(text.contains(named), "{named:?} is not in {text}");
        }
        assert!(!text.contains("a message is no handshake"));
        assert_eq!(text.matches("\nVerdict: ").count(), 1, "{text}");
    }
}

#[test]
fn it_is_told_as_it_happens_and_the_page_is_told_as_well() {
    let mut program = Program::serve(&["--explain"]);
    let mut out = program.take_lines();
    let page = Page::load(&program);
    let mut peer = page.open(HIXIE_76);
    assert_eq!(out.next_line(), format!("== {}", client(&peer)));
    assert_eq!(out.next_line(), "hixie-76");
    while !out.next_line().starts_with("Verdict: good") {}
    let told = page.connection();
    assert_eq!(told["version"], "hixie-76");
    assert_eq!(told["explanation"]["verdict"]["result"], "good");
    peer.echo("still here");
}

#[test]
fn a_hostile_head_is_inert_on_standard_output() {
    let program = Program::serve(&["--explain"]);
    let mut clients = Vec::new();
    let mut send = |octets: &[u8]| {
        let mut peer = Peer::connect(program.address);
        peer.send(octets);
        peer.head();
        clients.push(client(&peer));
        peer.reset();
    };
    for value in hostile_values() {
        for speaks in [RFC, HIXIE_76] {
            for mark in [
                request_with(speaks, "/", "X-Evil: MARK\r\nUser-Agent: MARK\r\n"),
                request(speaks, "/MARK"),
            ] {
                let mut octets = Vec::new();
                let mut rest = &mark[..];
                while let Some(at) = rest.windows(4).position(|w| w == b"MARK") {
                    octets.extend_from_slice(&rest[..at]);
                    octets.extend_from_slice(&value[..value.len().min(7_000)]);
                    rest = &rest[at + 4..];
                }
                octets.extend_from_slice(rest);
                send(&octets);
            }
        }
        send(&[b"GET / HTTP/1.1\r\nHost: h\r\nX: ", &*value, b"\r\n\r\n"].concat());
        send(&[&*value, b"\r\n\r\n"].concat());
    }
    send(&[b"GET / HTTP/1.1\r\nHost: h\r\nX: ", &*vec![b'<'; 20_000]].concat());
    let out = stop(program).out;
    is_inert(&out);
    let widest = out.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(400), "{widest:?} columns");
    let told = told(&out);
    for client in clients {
        // A page that was answered is no handshake.
        assert!(told.iter().filter(|(c, _)| *c == client).count() <= 1);
    }
    assert!(told.len() > 30, "{}", told.len());
}

#[test]
fn behind_a_proxy_its_header_is_no_part_of_it() {
    let program = Program::serve(&["--explain", "--accept-proxy", "127.0.0.1"]);
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    let mut peer = Peer::connect(program.address);
    // Also where it comes in portions.
    peer.send(&line[..20]);
    peer.send_singly(&[&line[20..], &head_of_76("/")].concat());
    assert_eq!(peer.head().status(), 101);
    peer.send(KEY3);
    assert_eq!(peer.exactly(16), DIGEST);
    drop(peer);
    let told = told(&stop(program).out);
    let text = told_of(&told, "192.0.2.7:4711");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        text.starts_with("hixie-76\n") && text.contains("Verdict: good"),
        "{text}"
    );
    assert!(
        !text.contains("PROXY") && !text.contains("198.51.100.1"),
        "{text}"
    );
    let first = text.lines().find(|line| line.contains("client, octets"));
    let octets = format!("octets 0 to {}", head_of_76("/").len() - 1);
    assert!(first.unwrap().contains(&octets), "{text}");
}

#[test]
fn frames_that_come_with_the_handshake_make_no_endless_explanation() {
    let program = Program::serve(&["--explain"]);
    let mut peer = Peer::connect(program.address);
    peer.send(&[request(RFC, "/"), frame(PONG, b"").repeat(9_000)].concat());
    peer.agree(RFC);
    peer.echo("behind");
    drop(peer);
    let out = stop(program).out;
    // A read ends where it ends, perhaps inside a frame.
    let fine = out.contains("Verdict: good") || out.contains("Verdict: incomplete");
    assert!(fine, "{} octets", out.len());
    assert!(out.len() < 64 * 1024, "{} octets", out.len());
}

#[test]
fn a_reader_that_stops_does_not_stop_the_server() {
    let program = Program::serve(&["--explain", "--workers", "1"]);
    let mut first = Peer::open(program.address, HIXIE_76, "/");
    // More than a pipe holds.
    for _ in 0..300 {
        Peer::open(program.address, RFC, "/").echo("hello");
    }
    first.echo("still here");
    drop(first);
    program.signal("TERM");
    assert_eq!(program.wait_unread().code(), Some(0));
}

#[test]
fn a_reader_that_is_gone_does_not_stop_the_server() {
    let mut program = Program::serve(&["--explain"]);
    program.hang_up();
    for _ in 0..20 {
        Peer::open(program.address, RFC, "/").echo("hello");
    }
    let page = Page::load(&program);
    let peer = page.open(RFC);
    assert_eq!(page.connection()["open"], true);
    drop(peer);
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
}

#[test]
fn a_reader_that_reads_again_gets_what_waited() {
    let mut program = Program::serve(&["--explain"]);
    let mut out = program.take_lines();
    for _ in 0..200 {
        Peer::open(program.address, RFC, "/").echo("hello");
    }
    let mut good = 0;
    while good < 200 {
        let line = out
            .line_within(Duration::from_secs(10))
            .expect("all of them");
        good += usize::from(line == "Verdict: good");
    }
}
