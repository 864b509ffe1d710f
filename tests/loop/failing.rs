//! An app that fails.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use heirloom::handshake::Request;
use heirloom::net::{
    App, Backend, ClientAddress, Reply, Router, Server, Settings, Site, SiteData, gateway,
};
use heirloom::{Config, VERSIONS};

use crate::HIXIE_76;
use crate::support::PATIENCE;
use crate::support::backend;
use crate::support::failing_app::{FailingApp, Hold, Trap};
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

#[test]
fn a_panic_in_any_callback_of_a_connection_ends_that_connection_and_no_other() {
    let trap = Trap::default();
    let own = trap.clone();
    let server = Running::app(1, Config::default(), move || FailingApp::trapped(&own));
    let mut other = Peer::open(server.address, RFC, "/");
    for callback in [
        "connected",
        "recorder",
        "request",
        "open",
        "message",
        "closed",
    ] {
        trap.set(callback);
        let mut peer = Peer::connect(server.address);
        peer.send(&[request(RFC, "/"), said(RFC, "hello")].concat());
        peer.finish();
        peer.is_cut_off();
        other.echo(callback);
        // The last callback may come after the end that the peer sees.
        wait_for(&trap);
        Peer::open(server.address, RFC, "/").echo(callback);
    }
    trap.set("refused");
    let mut peer = Peer::connect(server.address);
    peer.send(b"no request at all\r\n\r\n");
    peer.is_cut_off();
    wait_for(&trap);
    other.echo("still here");
}

#[test]
fn a_panic_while_settings_change_ends_no_connection() {
    let trap = Trap::default();
    let own = trap.clone();
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[address], 1, Config::default()).unwrap();
    let reloader = server.reloader();
    let server = Running::server(server, move || FailingApp::trapped(&own));
    let mut peer = Peer::open(server.address, RFC, "/");
    trap.set("reloaded");
    reloader.reload(Config::default(), Settings::default());
    wait_for(&trap);
    peer.echo("still here");
    Peer::open(server.address, RFC, "/").echo("come in");
}

/// A gateway whose answer to a backend that agrees fails.
struct FailingGate(Site, Trap);

impl App for FailingGate {
    type Data = SiteData;

    fn connected(&mut self, client: &ClientAddress, data: &mut SiteData) {
        self.0.connected(client, data);
    }

    fn request(&mut self, request: &Request<'_>, data: &mut SiteData) -> Reply {
        self.0.request(request, data)
    }

    fn backend_accepted(&mut self, subprotocol: Option<&str>, data: &mut SiteData) -> Reply {
        self.1.step_on("backend_accepted");
        self.0.backend_accepted(subprotocol, data)
    }
}

#[test]
fn a_panic_when_a_backend_agrees_ends_that_bridge_and_no_other() {
    let trap = Trap::default();
    let own = trap.clone();
    let served = backend::Backend::listen();
    let to = served.url().parse().unwrap();
    let version = VERSIONS.iter().find(|v| v.name == "rfc6455").unwrap();
    let backend = Backend::new(to, version);
    let router = Router::new(gateway::routes(Config::default(), backend));
    let config = router.config();
    let server = Running::app(1, config, move || {
        FailingGate(Site::new(&router), own.clone())
    });
    let join = || {
        let mut client = Peer::connect(server.address);
        client.send(&request(RFC, "/"));
        let behind = served.open();
        (client, behind)
    };
    let (mut client, mut behind) = join();
    client.agree(RFC);
    trap.set("backend_accepted");
    let (mut failing, mut its) = join();
    failing.is_cut_off();
    its.is_cut_off();
    wait_for(&trap);
    client.send_text("still here");
    assert_eq!(behind.receive_text(), "still here");
}

/// Data that fails when it goes.
#[derive(Default)]
struct Fragile(Option<Trap>);

impl Drop for Fragile {
    fn drop(&mut self) {
        if let Some(trap) = &self.0 {
            trap.step_on("drop");
        }
    }
}

struct Keeper(Trap);

impl App for Keeper {
    type Data = Fragile;

    fn request(&mut self, _: &Request<'_>, data: &mut Fragile) -> Reply {
        data.0 = Some(self.0.clone());
        Reply::Accept(None)
    }
}

#[test]
fn a_panic_in_what_an_app_keeps_ends_no_other_connection() {
    let trap = Trap::default();
    let own = trap.clone();
    let server = Running::app(1, Config::default(), move || Keeper(own.clone()));
    let other = Peer::open(server.address, RFC, "/");
    trap.set("drop");
    Peer::open(server.address, RFC, "/").reset();
    wait_for(&trap);
    Peer::open(server.address, RFC, "/").close();
    drop(other);
}

/// Waits until the callback that was to fail has failed.
fn wait_for(trap: &Trap) {
    let until = std::time::Instant::now() + PATIENCE;
    while !trap.is_sprung() {
        assert!(std::time::Instant::now() < until, "it was never called");
        std::thread::sleep(crate::milliseconds(2));
    }
}
