//! Peers that end, stall, flood or fall silent.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use heirloom::Config;
use heirloom::net::Settings;

use crate::support::PATIENCE;
use crate::support::peer::{BINARY, PONG, Peer, RFC, frame, is_timeout, request, said};
use crate::support::server::{Running, setup};
use crate::{HIXIE_76, milliseconds};

#[test]
fn a_client_that_sends_and_ends_at_once_still_gets_its_echo() {
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
fn a_client_that_ends_before_it_has_received_all_still_receives_all() {
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
fn a_client_that_ends_inside_its_head_gets_nothing_but_the_end() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::connect(server.address);
    peer.send(b"GET / HTTP/1.1\r\nHost:");
    peer.finish();
    peer.ends();
}

#[test]
fn a_peer_that_never_reads_is_not_read_and_is_ended_and_no_other_waits_for_it() {
    let server = Running::serve(setup(|s| {
        s.settings.output_bytes = 64 * 1024;
        s.settings.write_ms = 1_500;
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
fn a_client_that_reads_again_in_time_gets_all_it_asked_for() {
    let server = Running::serve(setup(|s| s.settings.output_bytes = 64 * 1024));
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
fn silence_is_allowed_unless_told_otherwise() {
    assert_eq!(Settings::default().idle_ms, 0);
    let server = Running::serve(setup(|s| s.settings.handshake_ms = 1_000));
    let mut silent = Peer::open(server.address, RFC, "/");
    // Its handshake's deadline has passed when one that came later is told.
    let mut late = Peer::connect(server.address);
    assert_eq!(late.response().0.status(), 408);
    silent.echo("still here");
}

#[test]
fn a_storm_of_resets_leaves_the_server_alive_and_no_place_taken() {
    let server = Running::serve(setup(|s| s.settings.connections = 200));
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
