//! A server that stops.

use std::io::ErrorKind;

use heirloom::{Config, Versions};

use crate::support::peer::{Peer, RFC, Speaks};
use crate::support::server::{Running, setup};
use crate::{HIXIE_76, head_of_76};

#[test]
fn a_server_that_stops_closes_in_each_version_s_own_way() {
    let server = Running::serve_on(2, setup(|s| s.config.versions = Versions::ALL));
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
    let server = Running::serve(setup(|s| s.settings.close_ms = 300));
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
