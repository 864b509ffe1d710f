//! Checks of backends, beside the connections of clients.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use heirloom::net::{Check, Destination, ProxyVersion, Route, RouteTable, Router};
use heirloom::{Config, Version};

use crate::gate::{Gate, Set, milliseconds};
use crate::several::{Names, gate_of, url};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, Silent, gone};
use crate::support::peer::{Peer, RFC, request};

/// What is known of the servers of a backend: whether each rests.
fn resting(backend: &heirloom::net::Backend) -> Vec<bool> {
    backend.targets().map(|target| target.is_resting).collect()
}

fn await_resting(backend: &heirloom::net::Backend, want: &[bool]) {
    let until = Instant::now() + PATIENCE;
    while resting(backend) != want {
        assert!(Instant::now() < until, "{:?} never was", want);
        thread::sleep(milliseconds(5));
    }
}

/// A gateway whose servers are checked every 100 ms, and its backend.
fn checked(
    urls: &[String],
    check: Check,
    set: impl FnOnce(&mut Set),
) -> (Gate, heirloom::net::Backend) {
    let mut backend = None;
    let gate = gate_of(urls, |all| {
        all.backend = all.backend.clone().with_rest_ms(3_600_000, 3_600_000);
        set(all);
        let own = all.backend.clone().with_check(check, 100);
        backend = Some(own.clone());
        all.backend = own;
    });
    (gate, backend.unwrap())
}

#[test]
fn a_check_of_tcp_finds_a_server_before_a_client_does() {
    let one = Backend::listen();
    let names = Names::of(&[gone(), one.address]);
    let (gate, backend) = checked(&names.urls(), Check::Tcp, |set| {
        set.backend.resolver = names.resolver();
    });
    await_resting(&backend, &[true, false]);
    // It is there again, and an hour of rest does not matter.
    let two = Backend::listen();
    names.set(0, two.address);
    await_resting(&backend, &[false, false]);
    // Checks send nothing.
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    let mut served = loop {
        let mut peer = two.accept_raw();
        let mut first = [0];
        if peer.stream().peek(&mut first).unwrap_or(0) > 0 {
            let head = peer.head();
            break Served::over(peer, head);
        }
    };
    served.agree_to(&[]);
    client.agree(RFC);
}

#[test]
fn a_check_by_an_opening_handshake_ends_as_a_client_does() {
    let backend = Backend::listen();
    let (_gate, known) = checked(&[backend.url()], Check::WebSocket, |set| {
        set.backend.send_proxy = Some(ProxyVersion::V1);
    });
    // One that refuses is away, and so is one that says nothing.
    for answer in [
        "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let mut peer = backend.accept_raw();
        assert_eq!(peer.head().lines[0], "PROXY UNKNOWN");
        peer.send(answer.as_bytes());
        drop(peer);
        await_resting(&known, &[true]);
    }
    let mut peer = backend.accept_raw();
    let introduction = "PROXY UNKNOWN\r\n";
    assert_eq!(peer.exactly(introduction.len()), introduction.as_bytes());
    let head = peer.head();
    assert!(head.header("CDN-Loop").unwrap().starts_with("heirloom-"));
    let mut served = Served::over(peer, head);
    served.agree_to(&[]);
    served.receive_close(1000);
    await_resting(&known, &[false]);
}

#[test]
fn checks_end_with_the_route_though_connections_keep_the_backend() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let version = Version::named("rfc6455").unwrap();
    let table = |to: &Backend| {
        let backend = heirloom::net::Backend::new(to.url().parse().unwrap(), version);
        let backend = Arc::new(backend.with_check(Check::Tcp, 50));
        let destination = Destination::Backend(Arc::clone(&backend));
        let table = RouteTable::new(Config::default());
        (table.with(Route::below("/", destination)), backend)
    };
    let (first, _kept) = table(&one);
    let router = Router::new(first);
    one.accept_raw();
    one.accept_raw();
    let (second, _kept_too) = table(&two);
    router.replace(second);
    two.accept_raw();
    two.accept_raw();
    // One may have been under way.
    while one.accept_raw_now().is_some() {}
    for _ in 0..5 {
        two.accept_raw();
    }
    assert!(one.accept_raw_now().is_none());
}

#[test]
fn checks_end_with_their_backend() {
    let (backend, other) = (Backend::listen(), Backend::listen());
    let (gate, known) = checked(&[backend.url()], Check::Tcp, |_| {});
    let (_gate, _known) = checked(&[other.url()], Check::Tcp, |_| {});
    backend.accept_raw();
    backend.accept_raw();
    drop((gate, known));
    // By those of another backend it is seen that time passes. One may be under way.
    while other.accept_raw_now().is_some() {}
    other.accept_raw();
    other.accept_raw();
    while backend.accept_raw_now().is_some() {}
    for _ in 0..3 {
        other.accept_raw();
    }
    assert!(backend.accept_raw_now().is_none());
}

#[test]
fn a_check_that_hangs_delays_no_other() {
    let silent = Silent::new();
    let backend = Backend::listen();
    let urls = [url(silent.address), backend.url()];
    let (_gate, known) = checked(&urls, Check::WebSocket, |set| {
        set.backend = set.backend.clone().with_connect_ms(5_000);
    });
    for _ in 0..5 {
        backend.open().receive_close(1000);
    }
    assert_eq!(resting(&known), [false, false], "it still hangs");
    await_resting(&known, &[true, false]);
}

#[test]
fn a_server_that_only_connects_gets_no_client_while_its_check_fails() {
    let sick = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = Backend::listen();
    let urls = [format!("ws://{}/", sick.local_addr().unwrap()), good.url()];
    thread::spawn(move || {
        for mut client in sick.incoming().map_while(Result::ok) {
            // It may be gone; what it asked does not matter.
            let _ = client.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
            let _ = client.shutdown(Shutdown::Write);
            let _ = client.read(&mut [0; 4096]);
        }
    });
    let (gate, backend) = checked(&urls, Check::WebSocket, |set| {
        set.backend = set.backend.clone().with_rest_ms(1, 1);
    });
    thread::spawn(move || {
        // Those of the checks too.
        loop {
            good.accept().agree_to(&[]);
        }
    });
    await_resting(&backend, &[true, false]);
    for _ in 0..20 {
        Peer::open(gate.address, RFC, "/");
    }
}
