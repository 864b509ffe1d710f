//! Handshakes that do not finish.

use std::time::Instant;

use crate::support::PATIENCE;
use crate::support::peer::{Peer, RFC};
use crate::support::server::{Running, setup};
use crate::{head_of_76, milliseconds};

#[test]
fn a_client_without_the_eight_octets_ends_at_the_deadline_and_no_other_notices() {
    let server = Running::serve(setup(|s| s.settings.handshake_ms = 1_000));
    let mut other = Peer::open(server.address, RFC, "/");
    let begin = Instant::now();
    let mut peer = Peer::connect(server.address);
    peer.send(&head_of_76());
    assert_eq!(peer.head().status(), 101);
    while !peer.receives_within(milliseconds(10)) {
        other.echo("still here");
    }
    peer.ends();
    assert!(begin.elapsed() >= milliseconds(950));
    other.echo("and here");
}

#[test]
fn a_head_that_dribbles_gets_408_at_the_deadline() {
    let server = Running::serve(setup(|s| s.settings.handshake_ms = 500));
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
    let server = Running::serve(setup(|s| s.settings.handshake_ms = 200));
    let mut peer = Peer::connect(server.address);
    assert_eq!(peer.response().0.status(), 408);
}

#[test]
fn many_clients_that_never_finish_are_all_ended() {
    let server = Running::serve(setup(|s| s.settings.handshake_ms = 500));
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
