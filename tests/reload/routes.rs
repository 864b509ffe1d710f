//! Connections whose route a reload has changed, and those whose route stays.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use heirloom::net::{
    Backend as Upstream, ClosedBy, Destination, Http, Route, Router, Server, Settings, Site,
};
use heirloom::{Config, Version, Versions};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::peer::{CLOSE, Peer, RFC, Speaks, frame, request};
use crate::support::server::Running;
use crate::support::sockets::await_read;
use crate::{ALL, Changing, echo, loopback, no_routes, shared};

#[test]
fn those_of_a_changed_route_are_sent_away_and_those_of_one_that_stays_are_not() {
    let stays = shared("/stays");
    let table = || no_routes().with_shared(Arc::clone(&stays));
    let old = table().with(Route::below("/", Destination::Echo));
    let server = Changing::start(&[loopback(0)], 2, old);
    let open = |path: &str| {
        let open = |speaks: &Speaks| Peer::open(server.running.address, *speaks, path);
        ALL.iter().map(open).collect::<Vec<Peer>>()
    };
    let (mut kept, mut moved) = (open("/stays"), open("/moves"));
    server.route(table().with(Route::below("/", Destination::Echo)));
    let mut new = open("/moves");
    server.settle();
    for peer in moved.iter_mut().chain(&mut kept) {
        peer.echo("nothing happens yet");
    }
    server.reloader.retire(0, 0);
    for peer in &mut moved {
        peer.is_sent_away();
    }
    for peer in new.iter_mut().chain(&mut kept) {
        peer.echo("still here");
    }
    // There is nothing more to retire.
    server.reloader.retire(0, 0);
    server.settle();
    for peer in new.iter_mut().chain(&mut kept) {
        peer.echo("still here");
    }
}

#[test]
fn a_route_that_comes_back_in_time_keeps_its_connections() {
    let (one, other) = (shared("/one"), shared("/other"));
    let both = || {
        no_routes()
            .with_shared(Arc::clone(&one))
            .with_shared(Arc::clone(&other))
    };
    let server = Changing::start(&[loopback(0)], 1, both());
    let mut kept = Peer::open(server.running.address, RFC, "/one");
    let mut gone = Peer::open(server.running.address, RFC, "/other");
    server.route(no_routes());
    server.reloader.retire(300, 0);
    server.route(no_routes().with_shared(Arc::clone(&one)));
    // Its time has come for both.
    assert_eq!(gone.close_frame(1001), "route-changed");
    server.settle();
    kept.echo("still here");
}

#[test]
fn a_client_that_has_sent_no_request_is_judged_by_the_new_configuration() {
    let server = Changing::start(&[loopback(0)], 1, echo());
    let mut early = Peer::connect(server.running.address);
    early.send(b"GET / HTTP/1.1\r\n");
    server.running.await_connections(1);
    await_read(early.stream());
    let config = Config::default().with_versions(Versions::NONE);
    server.route(heirloom::net::RouteTable::new(config));
    server.settle();
    let whole = request(RFC, "/");
    let first_line = whole.iter().position(|octet| *octet == b'\n').unwrap();
    early.send(&whole[first_line + 1..]);
    let (head, body) = early.response();
    assert_eq!(head.status(), 426, "{body}");
    assert!(body.starts_with("version-off: "), "{body}");
}

/// A gateway, its router, and how its connections ended.
struct Gate {
    server: Changing,
    seen: Receiver<(ClosedBy, &'static str, Option<u16>)>,
}

fn to(backend: &Backend) -> Destination {
    let version = Version::named("rfc6455").unwrap();
    let upstream = Upstream::new(backend.url().parse().unwrap(), version);
    Destination::backend(upstream.with_http(Http::Pass))
}

fn gate(backend: &Backend) -> Gate {
    let table = no_routes().with(Route::below("/", to(backend)));
    let router = Router::new(table);
    let server = Server::listen(&[loopback(0)], 1, router.config()).unwrap();
    let (reloader, state, liveness) = (server.reloader(), server.state(), server.liveness());
    let (tell, seen) = channel();
    let own = router.clone();
    let running = Running::server(server, move || {
        let tell = tell.clone();
        Site::new(&own).with_access_log(move |record| {
            let ended = record.summary.ended;
            let _ = tell.send((ended.by, ended.what, ended.code));
        })
    });
    let server = Changing {
        running,
        reloader,
        router,
        settings: Settings::default(),
        state,
        liveness,
    };
    Gate { server, seen }
}

#[test]
fn both_ends_of_a_bridge_are_sent_away() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.server.running.address);
        client.send(&request(speaks, "/"));
        let mut served = backend.open();
        client.agree(speaks);
        client.send_text("through");
        assert_eq!(served.receive_text(), "through");
        gate.server
            .route(no_routes().with(Route::below("/", to(&backend))));
        gate.server.reloader.retire(0, 0);
        served.is_sent_away();
        client.is_sent_away();
        drop(client);
        let ended = gate.seen.recv_timeout(PATIENCE).unwrap();
        let expected = (ClosedBy::Server, "route-changed", Some(1001));
        assert_eq!(ended, expected, "{speaks:?}");
    }
}

#[test]
fn a_handshake_that_began_with_the_old_table_is_finished_and_sent_away_then() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let mut client = Peer::connect(gate.server.running.address);
    client.send(&request(RFC, "/"));
    let mut served = backend.accept();
    gate.server.route(no_routes());
    gate.server.reloader.retire(0, 0);
    gate.server.settle();
    let mut refused = Peer::connect(gate.server.running.address);
    refused.send(&request(RFC, "/"));
    assert_eq!(refused.response().0.status(), 404);
    served.agree_to(&[]);
    client.agree(RFC);
    assert_eq!(client.close_frame(1001), "route-changed");
    client.send(&frame(CLOSE, &[0x03, 0xe9]));
    client.ends();
    served.receive_close(1001);
}

#[test]
fn plain_http_that_is_being_answered_is_answered_to_its_end() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let mut client = Peer::connect(gate.server.running.address);
    client.send(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut served = backend.accept();
    served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    assert_eq!(client.head().status(), 200);
    gate.server.route(no_routes());
    gate.server.reloader.retire(0, 0);
    gate.server.settle();
    served.send(b"llo");
    assert_eq!(client.exactly(5), b"hello");
}
