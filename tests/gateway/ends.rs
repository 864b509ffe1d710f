//! Deadlines and drains, and what the log is told when a connection ends.

use std::time::Instant;

use heirloom::conn::Tally;
use heirloom::net::ClosedBy;

use crate::gate::{
    ALL, HIXIE_75, HIXIE_76, IDLE_MS, LONGER, bridge, gate, gate_with, milliseconds,
};
use crate::support::backend::{Backend, Served, clear};
use crate::support::peer::{BINARY, CLOSE, KEY3, Peer, RFC, frame, request};

#[test]
fn a_client_that_is_silent_too_long_is_sent_away_and_the_backend_is_told() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.settings.idle_ms = 300;
        set.settings.close_ms = 1_000;
    });
    for speaks in [HIXIE_75, HIXIE_76, RFC] {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        client.is_sent_away();
        served.receive_close(1001);
        drop(client);
        let seen = gate.seen();
        assert_eq!(
            (seen.by, seen.what),
            (ClosedBy::Server, "idle-timeout"),
            "{speaks:?}"
        );
    }
    // The one that does not answer is ended too.
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    assert_eq!(client.close_frame(1001), "idle");
    served.receive_close(1001);
    client.is_cut_off();
}

#[test]
fn a_client_that_sends_is_not_idle() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.idle_ms = IDLE_MS);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    let begin = Instant::now();
    while begin.elapsed() < LONGER {
        client.send_text("still");
        assert_eq!(served.receive_text(), "still");
        // A close would arrive at once.
        assert!(!client.receives_within(milliseconds(50)));
    }
}

#[test]
fn a_hixie_76_client_without_its_eight_octets_was_answered_and_never_open() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.handshake_ms = 1_000);
    let whole = request(HIXIE_76, "/x");
    let mut client = Peer::connect(gate.address);
    client.send(&whole[..whole.len() - KEY3.len()]);
    let mut served = backend.open();
    assert_eq!(client.head().status(), 101);
    client.ends();
    served.receive_close(1001);
    drop(client);
    let seen = gate.seen();
    assert_eq!((seen.answered, seen.opened), (true, false));
    assert_eq!(seen.what, "handshake-timeout");
    assert_eq!(seen.version, Some("hixie-76"));
}

#[test]
fn a_gateway_that_stops_closes_both_sides_and_ends() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let mut pairs: Vec<(Peer, Served)> = ALL
        .iter()
        .map(|speaks| bridge(&gate, &backend, *speaks))
        .collect();
    gate.stop();
    for (client, served) in &mut pairs {
        assert_eq!(served.receive_close(1001), "going-away");
        served.send(&clear(CLOSE, &[0x03, 0xe9]));
        client.is_sent_away();
    }
    drop(pairs);
    gate.wait();
    for _ in ALL {
        assert_eq!(gate.seen().what, "going-away");
    }
}

#[test]
fn a_gateway_that_stops_refuses_with_503_those_whose_backend_is_being_asked() {
    // In whatever slots the two ends of a pair lie: some were used before.
    for used_before in 0..4 {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let mut before: Vec<_> = (0..used_before)
            .map(|_| bridge(&gate, &backend, HIXIE_75))
            .collect();
        for (client, mut served) in before.drain(..).rev() {
            drop(client);
            served.is_sent_away();
            gate.seen();
        }
        let waiting: Vec<(Peer, Served)> = (0..3)
            .map(|_| {
                let mut client = Peer::connect(gate.address);
                client.send(&request(RFC, "/"));
                (client, backend.accept())
            })
            .collect();
        gate.stop();
        for (mut client, mut served) in waiting {
            let (head, body) = client.response();
            assert_eq!(head.status(), 503, "after {used_before}: {body}");
            served.is_cut_off();
            drop(client);
            let seen = gate.seen();
            assert_eq!((seen.by, seen.what), (ClosedBy::Server, "going-away"));
        }
        gate.wait();
    }
}

#[test]
fn a_connection_that_ends_tells_what_it_carried() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/path?secret=1"));
        let mut served = backend.open();
        client.agree(speaks);
        for text in ["", "grüße", "x"] {
            client.send_text(text);
            assert_eq!(served.receive_text(), text);
        }
        served.send_text("back");
        assert_eq!(client.receive_text(), "back");
        let address = client.stream().local_addr().unwrap();
        client.reset();
        let seen = gate.seen();
        assert_eq!(seen.client, address);
        assert_eq!(seen.path.as_deref(), Some("/path"), "without its query");
        assert_eq!((seen.answered, seen.opened), (true, true));
        assert_eq!(
            seen.from_client,
            Tally {
                messages: 3,
                octets: 8
            }
        );
        assert_eq!(
            seen.to_client,
            Tally {
                messages: 1,
                octets: 4
            }
        );
    }
}

#[test]
fn a_client_that_is_not_read_because_its_backend_does_not_read_is_not_idle() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.settings.idle_ms = IDLE_MS;
        set.settings.output_bytes = 4096;
    });
    let (mut client, served) = bridge(&gate, &backend, RFC);
    let moment = Some(milliseconds(50));
    client.stream().set_write_timeout(moment).unwrap();
    let message = frame(BINARY, &[0; 60_000]);
    let begin = Instant::now();
    while begin.elapsed() < LONGER {
        // Full or not: it goes on talking.
        let _ = std::io::Write::write(&mut client.stream(), &message);
    }
    assert!(!client.receives_within(milliseconds(50)));
    drop(served);
}

#[test]
fn a_client_that_breaks_off_while_it_is_not_read_is_gone_at_once() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.output_bytes = 4096);
    let (client, served) = bridge(&gate, &backend, RFC);
    client.stream().set_nonblocking(true).unwrap();
    let message = frame(BINARY, &[0; 60_000]);
    let (mut stuck, mut rest) = (Instant::now(), &message[..]);
    while stuck.elapsed() < milliseconds(200) {
        if let Ok(n) = std::io::Write::write(&mut client.stream(), rest) {
            stuck = Instant::now();
            rest = &rest[n..];
            if rest.is_empty() {
                rest = &message;
            }
        }
    }
    client.reset();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Client, "reset"));
    drop(served);
}

#[test]
fn a_backend_that_closes_right_after_its_101_was_open() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for closes in [&clear(CLOSE, &[0x0f, 0xa0])[..], &[]] {
        for speaks in ALL {
            let mut client = Peer::connect(gate.address);
            client.send(&request(speaks, "/"));
            let mut served = backend.accept();
            let agreed = served.response_of_rfc();
            served.send(&[agreed.as_bytes(), closes].concat());
            served.finish();
            client.agree(speaks);
            drop(client);
            let seen = gate.seen();
            assert_eq!((seen.answered, seen.opened), (true, true), "{speaks:?}");
        }
    }
}
