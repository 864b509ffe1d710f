//! Which clients are alive: those that send, those that answer a ping, and those
//! without pings that take what they are sent.

use std::time::{Duration, Instant};

use heirloom::net::Settings;

use crate::support::PATIENCE;
use crate::support::peer::{CLOSE, PING, PONG, Peer, RFC, Speaks, frame};
use crate::support::server::{Running, setup};
#[cfg(target_os = "linux")]
use crate::support::sockets::socket;
use crate::{HIXIE_76, milliseconds};

/// Half of it is the time in which a client is to give a sign of life, on a busy
/// machine too.
const IDLE_MS: u64 = 2_000;
/// For so long clients live on.
const LONGER: Duration = Duration::from_millis(3_000);

fn serve(idle_ms: u64) -> Running {
    Running::serve(setup(|s| s.settings.idle_ms = idle_ms))
}

#[test]
fn a_client_is_pinged_before_it_is_sent_away_for_silence() {
    let server = serve(500);
    for speaks in [Speaks::Number(7), Speaks::Number(8), RFC] {
        let begin = Instant::now();
        let mut silent = Peer::open(server.address, speaks, "/");
        assert_eq!(silent.frame().0, PING, "{speaks:?}");
        assert!(begin.elapsed() >= milliseconds(200));
        silent.is_sent_away();
        assert!(begin.elapsed() >= milliseconds(450));
    }
}

#[test]
fn a_client_that_answers_a_ping_lives() {
    let server = serve(IDLE_MS);
    let mut client = Peer::open(server.address, RFC, "/");
    let begin = Instant::now();
    while begin.elapsed() < LONGER {
        let (first, payload) = client.frame();
        assert_eq!(first, PING);
        client.send(&frame(PONG, &payload));
    }
    client.echo("still here");
}

#[test]
fn a_client_that_sends_anything_lives_and_is_not_pinged() {
    let server = serve(IDLE_MS);
    let mut client = Peer::open(server.address, RFC, "/");
    let begin = Instant::now();
    while begin.elapsed() < LONGER {
        client.echo("not idle");
        assert!(!client.receives_within(milliseconds(50)));
    }
}

#[test]
fn a_silent_client_is_pinged_once_and_stays() {
    let settings = Settings::default();
    assert_eq!((settings.ping_ms, settings.idle_ms), (30_000, 0));
    let server = Running::serve(setup(|s| s.settings.ping_ms = 100));
    for speaks in [Speaks::Number(7), Speaks::Number(8), RFC] {
        let mut client = Peer::open(server.address, speaks, "/");
        for _ in 0..2 {
            assert_eq!(client.frame().0, PING, "{speaks:?}");
            // Without an answer there is no second one.
            assert!(!client.receives_within(milliseconds(400)));
            // It is alive all the same, and is pinged again.
            client.echo("here");
        }
    }
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    assert!(!old.receives_within(milliseconds(400)));
    old.echo("here");
    let server = Running::serve(setup(|s| s.settings.ping_ms = 0));
    let mut client = Peer::open(server.address, RFC, "/");
    assert!(!client.receives_within(milliseconds(300)));
}

#[test]
fn a_client_without_pings_that_only_listens_lives_while_it_is_sent_something() {
    let server = serve(IDLE_MS);
    let mut listener = Peer::open(server.address, HIXIE_76, "/chat");
    let mut silent = Peer::open(server.address, HIXIE_76, "/");
    let mut talker = Peer::open(server.address, RFC, "/chat");
    let begin = Instant::now();
    while begin.elapsed() < LONGER {
        talker.send_text("news");
        assert_eq!(listener.receive_text(), "news");
        assert!(!talker.receives_within(milliseconds(50)));
    }
    silent.is_sent_away();
    // Nothing is sent to it any more.
    listener.is_sent_away();
}

#[test]
fn a_client_with_pings_that_only_listens_must_answer_them() {
    let server = serve(IDLE_MS);
    let begin = Instant::now();
    let mut listener = Peer::open(server.address, RFC, "/chat");
    let mut talker = Peer::open(server.address, RFC, "/chat");
    let mut seen = Vec::new();
    while seen.last() != Some(&CLOSE) {
        talker.send_text("news");
        let (first, _) = listener.frame();
        seen.push(first);
        assert!(!talker.receives_within(milliseconds(50)));
        assert!(begin.elapsed() < PATIENCE, "{seen:?}");
    }
    assert!(seen.contains(&PING));
    assert!(begin.elapsed() >= milliseconds(IDLE_MS - 100));
}

/// A timer of a socket, as Linux numbers them.
#[cfg(target_os = "linux")]
const KEEPALIVE: u8 = 2;

#[cfg(target_os = "linux")]
#[test]
fn tcp_looks_after_connections_that_were_accepted() {
    for (keepalive, expected) in [(Settings::default().keepalive, KEEPALIVE), (None, 0)] {
        let server = Running::serve(setup(|s| s.settings.keepalive = keepalive));
        // It runs when this one was served, and its settings hold.
        Peer::open(server.address, RFC, "/").echo("open");
        let mut client = Peer::open(server.address, RFC, "/");
        client.echo("open");
        let port = client.stream().local_addr().unwrap().port();
        // Until all is acknowledged it has another timer.
        let begin = Instant::now();
        let timer = || {
            socket(server.address.port(), port)
                .expect("it is connected")
                .timer
        };
        while timer() != expected {
            assert!(begin.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    }
}
