//! `serve -v`: a line for each handshake, and none for anything else.

use super::support::peer::{Peer, RFC, Speaks, request};
use super::support::program::Program;
use super::{HIXIE_75, HIXIE_76, Page, ask, head_of_76, hostile_values, is_inert, serve, stop};

const HANDSHAKES: &str = " INFO  heirloom::handshakes] ";

/// The lines about handshakes, by their clients.
fn lines(talk: &str) -> Vec<(String, String)> {
    let own = talk.lines().filter_map(|line| line.split_once(HANDSHAKES));
    own.map(|(_, said)| {
        let (client, verdict) = said.split_once(' ').unwrap();
        (client.to_owned(), verdict.to_owned())
    })
    .collect()
}

fn client(peer: &Peer) -> String {
    peer.stream().local_addr().unwrap().to_string()
}

/// One connection of each fate, with what its line must say.
fn each_fate(program: &Program) -> Vec<(String, &'static str)> {
    let mut fates = Vec::new();
    let refused = |octets: &[u8], status: u16| {
        let mut peer = Peer::connect(program.address);
        peer.send(octets);
        assert_eq!(peer.response().0.status(), status);
        client(&peer)
    };

    let mut peer = Peer::open(program.address, RFC, "/some/path?secret=1");
    peer.echo("hello");
    peer.close();
    fates.push((client(&peer), "rfc6455 open /some/path"));
    let mut peer = Peer::connect(program.address);
    peer.send_singly(&request(HIXIE_76, "/old"));
    peer.agree(HIXIE_76);
    peer.close();
    fates.push((client(&peer), "hixie-76 open /old"));
    let peer = Peer::open(program.address, Speaks::Number(8), "/chat");
    fates.push((client(&peer), "hybi-08 open /chat"));
    peer.reset();

    let at = refused(&request(Speaks::Number(99), "/"), 426);
    fates.push((at, "no version refused 426 version-unknown"));
    let at = refused(&request(HIXIE_75, "/"), 426);
    fates.push((at, "hixie-75 refused 426 version-off"));
    let at = refused(b"GET / HTTP/1.1\r\nHost: \x01\r\n\r\n", 400);
    fates.push((at, "no version refused 400 head-malformed"));

    let mut peer = Peer::connect(program.address);
    fates.push((client(&peer), "no version not finished: handshake-cut"));
    peer.finish();
    peer.is_cut_off();
    let mut peer = Peer::connect(program.address);
    fates.push((client(&peer), "no version not finished: handshake-cut"));
    peer.send(b"GET / HTTP/1.1\r\nHo");
    peer.finish();
    peer.is_cut_off();
    let mut peer = Peer::connect(program.address);
    fates.push((client(&peer), "hixie-76 not finished: handshake-cut"));
    peer.send(&head_of_76("/"));
    assert_eq!(peer.head().status(), 101);
    peer.finish();
    peer.is_cut_off();
    let mut peer = Peer::connect(program.address);
    fates.push((client(&peer), "hixie-76 not finished: reset"));
    peer.send(&head_of_76("/"));
    assert_eq!(peer.head().status(), 101);
    peer.reset();
    fates
}

#[test]
fn each_handshake_has_one_line_and_a_page_has_none() {
    let program = serve(&["-v"], &["--workers", "2"]);
    let mut fates = each_fate(&program);
    let page = Page::load(&program);
    page.connection();
    page.json("connections");
    assert_eq!(ask(program.address, "GET", "/healthz", "x").0.status(), 200);
    let mut lines = lines(&stop(program).talk);
    lines.sort();
    fates.sort();
    let fates: Vec<(String, String)> = fates.into_iter().map(|(c, v)| (c, v.to_owned())).collect();
    assert_eq!(lines, fates);
}

#[test]
fn the_line_is_there_while_the_connection_is_open() {
    let program = serve(&["-v"], &[]);
    let mut peer = Peer::open(program.address, HIXIE_76, "/now");
    let line = program.await_talk("hixie-76 open /now");
    assert!(line.contains(&client(&peer)), "{line}");
    peer.echo("still here");
}

#[test]
fn without_the_option_nothing_is_said() {
    let program = serve(&[], &[]);
    each_fate(&program);
    let ended = stop(program);
    // But where its page is.
    assert!(
        ended.talk.starts_with("heirloom: open http://"),
        "{ended:?}"
    );
    assert_eq!(ended.talk.lines().count(), 1, "{ended:?}");
    assert_eq!(ended.out, "");
}

#[test]
fn what_a_peer_says_is_inert_in_its_line() {
    let program = serve(&["-v"], &["--versions", "all"]);
    let mut sent = 0;
    let mut paths: Vec<Vec<u8>> = hostile_values();
    paths.push(b"%1b[2J%0a\"'\\".to_vec());
    paths.push("x".repeat(15_000).into_bytes());
    for path in paths {
        for speaks in [HIXIE_76, RFC] {
            let whole = request(speaks, "/MARK");
            let at = whole.windows(4).position(|w| w == b"MARK").unwrap();
            let mut peer = Peer::connect(program.address);
            peer.send(&[&whole[..at], &*path, &whole[at + 4..]].concat());
            let status = peer.head().status();
            assert!([101, 400, 505].contains(&status), "{status}");
            sent += 1;
            drop(peer);
        }
    }
    let talk = stop(program).talk;
    is_inert(&talk);
    let lines = lines(&talk);
    assert_eq!(lines.len(), sent, "{talk}");
    for (client, verdict) in lines {
        assert!(verdict.chars().count() < 300, "{client} {verdict}");
    }
}

#[test]
fn the_token_of_a_page_is_in_no_line() {
    for loud in ["-v", "-vv", "-vvv"] {
        let program = serve(&[loud], &[]);
        let page = Page::load(&program);
        page.open(RFC).close();
        page.open(HIXIE_76).close();
        page.connection();
        page.ask("vector");
        page.ask("nothing");
        let mut cut = Peer::connect(program.address);
        cut.send(&head_of_76(&page.path()));
        assert_eq!(cut.head().status(), 101);
        cut.reset();
        let talk = stop(program).talk;
        assert!(talk.contains("rfc6455 open /lab\n"), "{talk}");
        assert!(talk.contains("hixie-76 open /lab\n"), "{talk}");
        assert!(!talk.contains(&page.token), "{talk}");
    }
}

#[test]
fn behind_a_proxy_the_client_is_the_one_the_proxy_names() {
    let program = serve(&["-v"], &["--accept-proxy", "127.0.0.1"]);
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    let mut peer = Peer::connect(program.address);
    peer.send(&[&line[..], &request(RFC, "/x")].concat());
    peer.agree(RFC);
    let mut refused = Peer::connect(program.address);
    refused.send(b"PROXY TCP6 2001:db8::1 2001:db8::2 4712 80\r\n");
    refused.send(&request(Speaks::Number(99), "/"));
    assert_eq!(refused.response().0.status(), 426);
    // No header: no other address can be named.
    let mut plain = Peer::connect(program.address);
    plain.send(&request(RFC, "/x"));
    plain.is_cut_off();
    let alone = client(&plain);
    drop(peer);
    let mut clients: Vec<String> = lines(&stop(program).talk)
        .into_iter()
        .map(|(client, verdict)| format!("{client} {verdict}"))
        .collect();
    clients.sort();
    assert_eq!(clients.len(), 3, "{clients:?}");
    assert!(
        clients[0].starts_with(&format!("{alone} no version ")),
        "{clients:?}"
    );
    assert_eq!(clients[1], "192.0.2.7:4711 rfc6455 open /x");
    let last = "[2001:db8::1]:4712 no version refused 426 version-unknown";
    assert_eq!(clients[2], last);
}
