//! Which clients are alive, and what a backend learns of it.

use std::time::Instant;

use crate::gate::{HIXIE_75, HIXIE_76, IDLE_MS, LONGER, bridge, gate_with, milliseconds};
use crate::support::backend::{Backend, clear};
use crate::support::peer::{PING, PONG, RFC, Speaks, frame};

#[test]
fn a_client_is_pinged_and_its_pongs_are_not_for_the_backend() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.idle_ms = IDLE_MS);
    for speaks in [Speaks::Number(7), RFC] {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        let begin = Instant::now();
        while begin.elapsed() < LONGER {
            let (first, payload) = client.frame();
            assert_eq!(first, PING);
            client.send(&frame(PONG, &payload));
        }
        // The first that the backend gets.
        client.send_text("alive");
        assert_eq!(served.receive_text(), "alive");
    }
}

#[test]
fn pings_of_a_backend_are_not_answered_for_a_client_that_is_silent() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.idle_ms = IDLE_MS);
    for speaks in [Speaks::Number(7), RFC] {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        served.send(&clear(PING, b"there?"));
        assert_eq!(client.frame(), (PING, b"there?".to_vec()));
        client.is_sent_away();
        // No pong came before the close.
        served.receive_close(1001);
    }
    // The pong of a client that answers reaches the backend.
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    served.send(&clear(PING, b"there?"));
    assert_eq!(client.frame(), (PING, b"there?".to_vec()));
    client.send(&frame(PONG, b"there?"));
    assert_eq!(served.masked_frame(), (PONG, b"there?".to_vec()));
}

#[test]
fn the_pings_of_a_gateway_are_its_own() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.ping_ms = 100);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    for _ in 0..3 {
        let (first, payload) = client.frame();
        assert_eq!(first, PING);
        client.send(&frame(PONG, &payload));
    }
    // The first that the backend gets.
    client.send_text("alive");
    assert_eq!(served.receive_text(), "alive");
}

#[test]
fn pings_of_a_backend_do_not_keep_a_client_without_pings_alive() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.idle_ms = IDLE_MS);
    for speaks in [HIXIE_75, HIXIE_76] {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        // It was open a moment ago.
        served.send(&clear(PING, b"1"));
        assert_eq!(served.masked_frame(), (PONG, b"1".to_vec()));
        client.is_sent_away();
        served.receive_close(1001);
    }
}

#[test]
fn a_client_without_pings_that_only_listens_lives() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.idle_ms = IDLE_MS);
    for speaks in [HIXIE_75, HIXIE_76] {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        let begin = Instant::now();
        while begin.elapsed() < LONGER {
            served.send_text("news");
            assert_eq!(client.receive_text(), "news");
            assert!(!client.receives_within(milliseconds(50)));
        }
        client.send_text("still here");
        assert_eq!(served.receive_text(), "still here");
    }
}
