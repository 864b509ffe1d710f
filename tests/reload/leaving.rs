//! Many connections that leave at once, or one after the other.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use heirloom::net::{Listen, ListenAt, Settings, Takes};

use crate::support::peer::{Peer, RFC};
use crate::support::program::{HEIRLOOM, Program};
use crate::support::sockets::await_refused;
use crate::{ALL, Changing, echo, loopback};

const CLIENTS: usize = 200;
const WINDOWS: usize = 5;
const SPREAD_MS: u64 = 4_000;

fn open(address: SocketAddr) -> Vec<Peer> {
    let speaks = ALL.iter().cycle().take(CLIENTS);
    speaks
        .map(|speaks| Peer::open(address, *speaks, "/"))
        .collect()
}

/// Each of them is sent away by its version's own close; gives how many in each
/// part of the time.
fn sent_away(peers: Vec<Peer>, started: Instant) -> [usize; WINDOWS] {
    let window_ms = SPREAD_MS as usize / WINDOWS;
    let threads: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            thread::spawn(move || {
                peer.is_sent_away();
                started.elapsed()
            })
        })
        .collect();
    let mut windows = [0; WINDOWS];
    for thread in threads {
        let after = thread.join().unwrap().as_millis() as usize;
        windows[(after / window_ms).min(WINDOWS - 1)] += 1;
    }
    windows
}

fn is_even(windows: [usize; WINDOWS]) {
    let expected = CLIENTS / WINDOWS;
    // The machine may be busy; all at once would still be one window of 200.
    for count in windows {
        assert!(
            count >= expected / 3 && count <= expected * 2,
            "{windows:?}"
        );
    }
}

#[test]
fn the_closes_of_a_stop_come_evenly_and_the_deadline_counts_from_the_last() {
    let settings = Settings::default()
        .with_spread_ms(SPREAD_MS)
        .with_drain_ms(1_000);
    let server = Changing::with(&[loopback(0)], 2, echo(), settings);
    let peers = open(server.running.address);
    assert!(!server.state.is_draining());
    let started = Instant::now();
    server.running.stop();
    assert!(server.state.is_draining());
    is_even(sent_away(peers, started));
    server.running.wait();
}

#[test]
fn the_closes_of_a_reload_come_evenly_once_their_time_has_come() {
    let server = Changing::start(&[loopback(0)], 2, echo());
    let peers = open(server.running.address);
    server.route(echo());
    let wait = Duration::from_millis(500);
    let started = Instant::now() + wait;
    server.reloader.retire(500, SPREAD_MS);
    let (tell, told) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || tell.send(sent_away(peers, started)));
    // Others are served meanwhile.
    let mut other = Peer::open(server.running.address, RFC, "/");
    let windows = loop {
        other.echo("meanwhile");
        if let Ok(windows) = told.try_recv() {
            break windows;
        }
    };
    reader.join().unwrap().unwrap();
    is_even(windows);
    other.echo("at the end");
}

#[test]
fn a_client_whose_close_is_to_come_is_served_until_then() {
    let settings = Settings::default().with_spread_ms(60_000);
    // An address of its own: the port of a closed one may be another test's at once.
    let own = Listen::new(ListenAt::Tcp(([127, 0, 0, 9], 0).into()), Takes::Both);
    let server = Changing::with(&[own], 1, echo(), settings);
    let mut first = Peer::open(server.running.address, RFC, "/");
    let mut last = Peer::open(server.running.address, RFC, "/");
    let mut half = Peer::connect(server.running.address);
    half.send(b"GET / HTTP/1.1\r\n");
    server.running.await_connections(3);
    server.running.stop();
    // A handshake is not worth waiting for.
    assert_eq!(half.response().0.status(), 503);
    first.is_sent_away();
    // Listeners close first.
    await_refused(server.running.address);
    last.echo("still served");
    last.close();
    server.running.wait();
}

#[test]
fn a_second_term_ends_a_program_that_spreads_its_closes() {
    let mut command = Command::new(HEIRLOOM);
    command.args(["serve", "--listen", "127.0.0.1:0", "--spread-ms", "1h"]);
    let program = Program::start(command.args(["--workers", "1"]));
    let mut first = Peer::open(program.address, RFC, "/");
    let mut last = Peer::open(program.address, RFC, "/");
    program.signal("TERM");
    first.is_sent_away();
    last.echo("still served");
    program.signal("TERM");
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(128 + 15));
    last.is_cut_off();
}
