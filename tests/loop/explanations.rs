//! Explanations take longer than a loop may stand still: they are made beside
//! it, one after the other, and connections wait for them without disturbing
//! others. The explanations of these tests end when the test says so, so that
//! what comes first does not depend on time.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use heirloom::Config;
use heirloom::net::lab::{Explain, Lab};
use heirloom::net::{ClientAddress, Listen, Recording, Router, Server, Settings, Site, serve};
use serde_json::{Value, json};

use crate::compression::unix;
use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC, is_timeout};
use crate::support::server::Running;

/// Explains when it is told to.
struct Slow {
    /// Tells that an explanation has started, by its count of octets.
    started: Mutex<Sender<usize>>,
    /// One message for each that may end.
    release: Mutex<Receiver<()>>,
    explained: AtomicUsize,
    all: bool,
}

impl Slow {
    fn wait(&self, recording: &Recording) {
        let octets = recording.steps.iter().map(|(_, octets)| octets.len()).sum();
        let _ = self.started.lock().unwrap().send(octets);
        // The test may have ended.
        let _ = self.release.lock().unwrap().recv();
        self.explained.fetch_add(1, Ordering::AcqRel);
    }
}

impl Explain for Slow {
    fn explain(&self, recording: &Recording) -> Value {
        self.wait(recording);
        json!({ "steps": recording.steps.len() })
    }

    fn vector(&self, recording: &Recording, _: bool) -> String {
        self.wait(recording);
        "a vector".to_owned()
    }

    fn wants_all(&self) -> bool {
        self.all
    }

    fn handshake(&self, _: &ClientAddress, recording: &Recording) {
        self.wait(recording);
    }
}

/// A server with one worker and a lab.
struct LabServer {
    running: Running,
    slow: Arc<Slow>,
    lab: Lab,
    started: Receiver<usize>,
    release: Sender<()>,
    folder: Folder,
}

impl LabServer {
    fn start(all: bool) -> LabServer {
        let (tell, started) = channel();
        let (release, released) = channel();
        let slow = Arc::new(Slow {
            started: Mutex::new(tell),
            release: Mutex::new(released),
            explained: AtomicUsize::new(0),
            all,
        });
        let folder = Folder::new();
        let loopback = Listen::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listeners = [loopback, unix(&folder.path("s"))];
        let server = Server::listen(&listeners, 1, Config::default()).unwrap();
        let explain = Arc::clone(&slow);
        let lab = Lab::new(Arc::default(), server.stats(), explain);
        let table = serve::routes_with(Config::default(), [], Some(lab.clone()));
        let router = Router::new(table);
        // Who asks may wait for longer than a handshake takes.
        let settings = Settings::default().with_handshake_ms(600_000);
        let server = server.with_config(router.config()).with_settings(settings);
        LabServer {
            running: Running::server(server, move || Site::new(&router)),
            slow,
            lab,
            started,
            release,
            folder,
        }
    }

    fn peer(&self) -> Peer {
        Peer::connect(self.running.address)
    }

    /// The path of a page that was loaded.
    fn page(&self) -> String {
        let mut peer = self.peer();
        peer.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let body = peer.response().1;
        let token = body.split("var token = '").nth(1).unwrap();
        format!("/lab/{}", token.split('\'').next().unwrap())
    }

    /// A page with an open connection.
    fn open(&self) -> (String, Peer) {
        let path = self.page();
        let peer = Peer::open(self.running.address, RFC, &path);
        (path, peer)
    }

    /// Asks, and does not wait for the answer. By a Unix socket: what was sent has
    /// arrived.
    fn ask(&self, path: &str, what: &str) -> Peer {
        let mut peer = Peer::connect_unix(&self.folder.path("s"));
        peer.send(format!("GET {path}/{what} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        peer
    }

    /// Waits until the loop has taken all that has arrived before: the turn that
    /// echoes the first text is that in which it accepts and reads what waits.
    fn settle(&self, peer: &mut Peer) {
        for text in ["one turn", "and the next"] {
            peer.echo(text);
        }
    }

    fn await_start(&self) -> usize {
        let started = self.started.recv_timeout(PATIENCE);
        started.expect("an explanation is started")
    }
}

/// It is refused for now.
fn is_busy(mut peer: Peer) {
    let (head, _) = peer.response();
    assert_eq!(head.status(), 503);
    assert!(head.header("Retry-After").unwrap().parse::<u32>().is_ok());
}

#[test]
fn an_explanation_that_is_being_made_stops_no_echo() {
    let server = LabServer::start(false);
    let (path, mut own) = server.open();
    let mut other = Peer::open(server.running.address, RFC, "/");
    let mut asker = server.ask(&path, "connection");
    server.await_start();
    // It is not done before all this is.
    for _ in 0..100 {
        own.echo("in the middle");
        other.echo("in the middle");
    }
    let mut vector = server.ask(&path, "vector");
    let mut health = server.ask("", "healthz");
    assert_eq!(health.response().0.status(), 200);
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 0);
    server.release.send(()).unwrap();
    let (head, body) = asker.response();
    assert_eq!(head.status(), 200);
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["open"], true);
    assert!(told["explanation"]["steps"].is_u64(), "{body}");
    server.await_start();
    server.release.send(()).unwrap();
    assert_eq!(vector.response().1, "a vector");
}

#[test]
fn what_has_not_changed_is_not_explained_again() {
    let server = LabServer::start(false);
    let (path, mut own) = server.open();
    for _ in 0..2 {
        server.release.send(()).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(server.ask(&path, "connection").response().0.status(), 200);
    }
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 1);
    own.echo("more");
    assert_eq!(server.ask(&path, "connection").response().0.status(), 200);
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 2);
}

#[test]
fn a_page_that_asks_too_often_is_refused_and_no_other_is() {
    let server = LabServer::start(false);
    let ((path, mut own), (other, _its_own)) = (server.open(), server.open());
    let mut answered = vec![server.ask(&path, "connection")];
    server.await_start();
    // These four wait for the next explanation, which is one for all of them.
    answered.extend((0..4).map(|_| server.ask(&path, "connection")));
    server.settle(&mut own);
    for _ in 0..3 {
        is_busy(server.ask(&path, "connection"));
    }
    answered.push(server.ask(&other, "connection"));
    server.settle(&mut own);
    for _ in 0..3 {
        server.release.send(()).unwrap();
    }
    for mut peer in answered {
        assert_eq!(peer.response().0.status(), 200);
    }
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 3);
}

#[test]
fn a_full_queue_answers_503_and_what_is_in_it_is_answered() {
    let server = LabServer::start(false);
    let mut pages: Vec<(String, Peer)> = (0..40).map(|_| server.open()).collect();
    let mut asked = vec![server.ask(&pages[0].0, "connection")];
    server.await_start();
    asked.extend((1..33).map(|i| server.ask(&pages[i].0, "connection")));
    server.settle(&mut pages[0].1);
    for (path, peer) in &mut pages[33..] {
        is_busy(server.ask(path, "connection"));
        peer.echo("no worse for it");
    }
    for _ in &asked {
        server.release.send(()).unwrap();
    }
    for mut peer in asked {
        assert_eq!(peer.response().0.status(), 200);
    }
    for (path, _) in &pages[33..] {
        server.release.send(()).unwrap();
        assert_eq!(server.ask(path, "connection").response().0.status(), 200);
    }
}

#[test]
fn a_client_that_waits_for_a_page_is_not_read_and_may_leave() {
    let server = LabServer::start(false);
    let (path, mut own) = server.open();
    let asker = server.ask(&path, "connection");
    server.await_start();
    // More than it is read of, behind its request.
    asker.stream().set_nonblocking(true).unwrap();
    let (mut sent, mut full) = (0, 0);
    while full < 3 {
        match asker.stream().write(&[b'x'; 64 * 1024]) {
            Ok(n) => {
                (sent, full) = (sent + n, 0);
                assert!(sent < 64 << 20, "it is read");
            }
            Err(error) => {
                assert!(is_timeout(error.kind()), "{error}");
                full += 1;
                server.settle(&mut own);
            }
        }
    }
    let mut gone = server.peer();
    gone.send(format!("GET {path}/connection HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    gone.reset();
    own.echo("still here");
    let mut half = server.ask(&path, "connection");
    half.finish();
    for _ in 0..2 {
        server.release.send(()).unwrap();
    }
    // A client that has ended its side gets its answer all the same.
    assert_eq!(half.response().0.status(), 200);
    own.echo("still here");
}

#[test]
fn a_stop_waits_for_no_explanation() {
    let server = LabServer::start(false);
    let (path, own) = server.open();
    let asker = server.ask(&path, "connection");
    server.await_start();
    server.running.stop();
    is_busy(asker);
    drop(own);
    server.running.wait();
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 0);
}

#[test]
fn handshakes_that_are_all_explained_stop_no_connection() {
    let server = LabServer::start(true);
    let mut first = Peer::open(server.running.address, RFC, "/");
    assert!(server.await_start() > 0);
    for _ in 0..50 {
        Peer::open(server.running.address, RFC, "/").echo("in the middle");
        first.echo("in the middle");
    }
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 0);
    for _ in 0..51 {
        server.release.send(()).unwrap();
    }
    server.lab.finish(PATIENCE);
    assert_eq!(server.slow.explained.load(Ordering::Acquire), 51);
}

#[test]
fn more_handshakes_than_may_wait_are_not_explained() {
    let server = LabServer::start(true);
    let mut first = Peer::open(server.running.address, RFC, "/");
    server.await_start();
    let room = 1024;
    for _ in 0..room + 6 {
        drop(Peer::open(server.running.address, RFC, "/"));
    }
    first.echo("no worse for it");
    for _ in 0..room + 7 {
        server.release.send(()).unwrap();
    }
    server.lab.finish(PATIENCE);
    assert_eq!(server.slow.explained.load(Ordering::Acquire), room + 1);
}
