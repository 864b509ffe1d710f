//! An app that fails.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use heirloom::Config;

use crate::HIXIE_76;
use crate::support::PATIENCE;
use crate::support::failing_app::{FailingApp, Hold};
use crate::support::peer::{PONG, Peer, RFC, frame, request, said};
use crate::support::server::Running;

fn words(workers: usize) -> Running {
    Running::app(workers, Config::default(), || FailingApp::new(None))
}

/// A server of which one worker stands still when somebody says `hold`, so that
/// what comes meanwhile comes in one poll; says when it does, and lets go.
pub(crate) fn held(workers: usize) -> (Running, Receiver<()>, Sender<()>) {
    let (entered, is_held) = channel();
    let (let_go, release) = channel();
    let hold = Mutex::new(Some(Hold { entered, release }));
    let server = Running::app(workers, Config::default(), move || {
        FailingApp::new(hold.lock().unwrap().take())
    });
    (server, is_held, let_go)
}

#[test]
fn what_one_client_did_not_receive_no_other_receives() {
    let (server, is_held, let_go) = held(1);
    let mut holder = Peer::open(server.address, RFC, "/");
    let mut leaver = Peer::open(server.address, RFC, "/");
    holder.send_text("hold");
    is_held.recv_timeout(PATIENCE).unwrap();
    // What he said is read, and the answer cannot be written.
    leaver.send_text("between us");
    leaver.reset();
    holder.send_text("and mine?");
    let_go.send(()).unwrap();
    assert_eq!(holder.receive_text(), "and mine?");
    holder.echo("and now?");
}

#[test]
fn an_app_that_panics_ends_one_connection_with_1011_and_no_other() {
    let server = words(1);
    let mut other = Peer::open(server.address, RFC, "/");
    let mut older = Peer::open(server.address, HIXIE_76, "/");
    for _ in 0..3 {
        let mut peer = Peer::open(server.address, RFC, "/");
        peer.send_text("fail");
        peer.close_frame(1011);
        peer.ends();
        let mut old = Peer::open(server.address, HIXIE_76, "/");
        old.send_text("fail");
        assert_eq!(old.exactly(2), [0xff, 0]);
        old.ends();
        other.echo("undisturbed");
        older.echo("undisturbed");
    }
}

#[test]
fn an_app_that_panics_at_any_time_ends_no_other_connection() {
    for path in ["/fail-at-request", "/fail-at-open", "/fail-at-gone"] {
        let server = words(1);
        let mut other = Peer::open(server.address, RFC, "/");
        let mut peer = Peer::connect(server.address);
        peer.send(&request(RFC, path));
        peer.finish();
        peer.is_cut_off();
        other.echo(path);
        Peer::open(server.address, RFC, "/").echo("come in");
    }
}

#[test]
fn the_close_after_a_panic_reaches_a_client_that_is_still_writing() {
    let server = words(1);
    for _ in 0..10 {
        let mut peer = Peer::open(server.address, RFC, "/");
        peer.send(&[said(RFC, "fail"), frame(PONG, &[0; 100]).repeat(900)].concat());
        peer.close_frame(1011);
        peer.ends();
    }
}

#[test]
fn a_panic_loses_nothing_that_another_said_in_the_room() {
    let (server, is_held, let_go) = held(1);
    let mut holder = Peer::open(server.address, RFC, "/");
    let mut teller = Peer::open(server.address, RFC, "/");
    let mut failing = Peer::open(server.address, RFC, "/");
    // While the worker stands still both come in, so one poll brings both.
    holder.send_text("hold");
    is_held.recv_timeout(PATIENCE).unwrap();
    teller.send_text("tell");
    failing.send_text("fail");
    let_go.send(()).unwrap();
    failing.is_cut_off();
    assert_eq!(holder.receive_text(), "told");
}
