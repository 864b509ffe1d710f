//! A server that stops.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use heirloom::{Config, Versions};

use crate::failing::held;
use crate::support::PATIENCE;
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::server::{Running, setup};
use crate::support::sockets::{await_queued, await_refused};
use crate::{HIXIE_76, head_of_76, milliseconds};

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
    assert_eq!(waiting.head().status(), 101);
    server.await_connections(3);
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
    await_refused(server.address);
}

#[test]
fn connections_that_wait_to_be_accepted_when_the_server_stops_are_refused_and_not_reset() {
    let (server, is_held, let_go) = held(1);
    let mut holder = Peer::open(server.address, RFC, "/");
    holder.send_text("hold");
    is_held.recv_timeout(PATIENCE).unwrap();
    // The worker stands still: these wait in the system's queue. They are more
    // than one round accepts.
    let mut waiting: Vec<Peer> = (0..200).map(|_| Peer::connect(server.address)).collect();
    for peer in waiting.iter_mut().step_by(2) {
        peer.send(&request(RFC, "/"));
    }
    await_queued(server.address, waiting.len());
    server.stop();
    let_go.send(()).unwrap();
    for peer in &mut waiting {
        let (head, body) = peer.response();
        assert_eq!(head.status(), 503);
        assert!(body.starts_with("going-away: "), "{body}");
    }
    drop(waiting);
    drop(holder);
    server.wait();
}

#[test]
fn a_drain_has_a_deadline_that_no_reader_extends() {
    let server = Running::serve(setup(|s| s.settings.drain_ms = 400));
    let mut slow = Peer::connect_narrow(server.address);
    slow.upgrade(RFC, "/");
    // More than the system buffers, and than it reads in this test.
    slow.send(&crate::support::peer::frame(
        crate::support::peer::BINARY,
        &vec![7; 6 * 1024 * 1024],
    ));
    // The echo has started.
    slow.exactly(1000);
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    // A little is read again and again, which is progress.
    let reader = thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) && slow.stream().read(&mut [0; 1000]).is_ok() {
            thread::sleep(milliseconds(10));
        }
    });
    server.stop();
    // That would go on for longer than this waits.
    server.wait();
    over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}
