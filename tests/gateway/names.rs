//! The backend's name: it is resolved when it is dialled, off the loop, and all
//! of its addresses are tried.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heirloom::net::{ClosedBy, Resolver};

use crate::gate::{ALL, Set, bridge, gate_with};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Silent, gone};
use crate::support::peer::{Peer, RFC, request};
use crate::support::program::{HEIRLOOM, Program};

const URL: &str = "ws://backend.example:9000";

/// Has the backend's name resolved so.
fn resolved_by(
    lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> impl FnOnce(&mut Set) {
    |set| set.backend.resolver = Resolver::new(lookup)
}

#[test]
fn a_name_is_resolved_again_after_its_address_has_failed() {
    let (first, second) = (Backend::listen(), Backend::listen());
    let address = Arc::new(Mutex::new(first.address));
    let asked = Arc::clone(&address);
    let lookup = move |name: &str, port| {
        assert_eq!((name, port), ("backend.example", 9000));
        Ok(vec![*asked.lock().unwrap()])
    };
    let gate = gate_with(URL, resolved_by(lookup));
    drop(bridge(&gate, &first, RFC));
    *address.lock().unwrap() = second.address;
    drop(first);
    // The answer of a moment ago leads nowhere any more.
    bridge(&gate, &second, RFC);
}

#[test]
fn a_name_without_an_address_is_told_to_the_client_and_looked_up_again() {
    let backend = Backend::listen();
    let answers = Mutex::new(vec![Ok(vec![backend.address]), Err(()), Ok(vec![])]);
    let gate = gate_with(
        URL,
        resolved_by(move |_, _| match answers.lock().unwrap().pop() {
            Some(answer) => answer.map_err(|()| io::Error::other("no such host")),
            None => panic!("it is known"),
        }),
    );
    for _ in 0..2 {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let (head, body) = client.response();
        assert_eq!(head.status(), 502);
        assert!(body.starts_with("backend-unreachable: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!(
            (seen.by, seen.what),
            (ClosedBy::Backend, "backend-unreachable")
        );
    }
    bridge(&gate, &backend, RFC);
}

#[test]
fn a_lookup_that_takes_long_keeps_nothing_else_waiting() {
    let backend = Backend::listen();
    let address = backend.address;
    let (tell, asked) = channel();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let lookup = move |_: &str, _| {
        tell.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Ok(vec![address])
    };
    let gate = gate_with(URL, resolved_by(lookup));
    let mut waiting = Peer::connect(gate.address);
    waiting.send(&request(RFC, "/"));
    asked.recv_timeout(PATIENCE).unwrap();
    let mut other = Peer::connect(gate.address);
    other.send(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n");
    assert_eq!(other.head().status(), 200);
    release.send(()).unwrap();
    backend.open().send_text("found");
    waiting.agree(RFC);
    assert_eq!(waiting.receive_text(), "found");
}

#[test]
fn a_client_that_leaves_during_the_lookup_is_forgotten() {
    let (tell, asked) = channel();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let backend = Backend::listen();
    let address = backend.address;
    let lookup = move |_: &str, _| {
        tell.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Ok(vec![address])
    };
    let gate = gate_with(URL, resolved_by(lookup));
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    asked.recv_timeout(PATIENCE).unwrap();
    client.reset();
    assert_eq!(gate.seen().by, ClosedBy::Client);
    release.send(()).unwrap();
    let mut next = Peer::connect(gate.address);
    next.send(&request(RFC, "/"));
    backend.open();
    next.agree(RFC);
    backend.has_nobody();
}

#[test]
fn a_lookup_that_hangs_ends_with_the_clients_patience() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let gate = gate_with(URL, |set| {
        set.settings.handshake_ms = 1_000;
        set.backend.resolver = Resolver::new(move |_, _| {
            let _ = released.lock().unwrap().recv();
            Ok(vec![])
        });
    });
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    let (head, body) = client.response();
    assert_eq!(head.status(), 504, "{body}");
    drop(release);
}

#[test]
fn a_silent_address_does_not_use_up_the_time_of_the_next() {
    let silent = Silent::new();
    let backend = Backend::listen();
    for before in [vec![silent.address; 3], vec![silent.address, gone()]] {
        let addresses = [before, vec![backend.address]].concat();
        let gate = gate_with(URL, resolved_by(move |_, _| Ok(addresses.clone())));
        for speaks in ALL {
            let start = Instant::now();
            let (mut client, mut served) = bridge(&gate, &backend, speaks);
            client.send_text("found");
            assert_eq!(served.receive_text(), "found");
            assert!(start.elapsed() < Duration::from_secs(3), "{speaks:?}");
        }
    }
}

#[test]
fn addresses_share_a_short_deadline() {
    let silent = Silent::new();
    let backend = Backend::listen();
    // A quarter of a second for each before it would be too much.
    let silent_ones = |n| vec![silent.address; n];
    let addresses = [silent_ones(7), vec![backend.address], silent_ones(8)].concat();
    let gate = gate_with(URL, |set| {
        set.settings.handshake_ms = 1_500;
        set.backend.resolver = Resolver::new(move |_, _| Ok(addresses.clone()));
    });
    bridge(&gate, &backend, RFC);
}

#[test]
fn an_unknown_name_is_no_reason_not_to_start() {
    let listen = ["--listen", "127.0.0.1:0", "--to"];
    let mut gateway = Command::new(HEIRLOOM);
    gateway.arg("gateway").args(listen);
    Program::start(gateway.arg("ws://backend.invalid:9000/"));
    let mut record = Command::new(HEIRLOOM);
    record.arg("record").args(listen);
    Program::start(record.args(["backend.invalid:9000", "--none"]));
}
