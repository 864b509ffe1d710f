//! What a worker deflates for one connection, before others have their turns.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use heirloom::error::Violation;
use heirloom::extension::{Compression, Level, Mode};
use heirloom::handshake::Request;
use heirloom::net::{
    App, Backend as To, ClientAddress, Handle, Incoming, Reply, Router, Site, gateway,
};
use heirloom::{Config, Version};

use crate::compression::{
    ALONE, Client, DEFLATED_TEXT, KIB, MIB, WITH_CONTEXT, config, open_unix, prose, unix,
};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, clear};
use crate::support::failing_app::{FailingApp, Hold};
use crate::support::folder::Folder;
use crate::support::peer::{CLOSE, Peer, RFC, TEXT, frame, said};
use crate::support::server::{Running, setup};

/// Octets that a turn deflates, and what each message counts beside its own.
const A_TURN: usize = 64 * KIB;
const A_MESSAGE: usize = 512;

/// Echoes, carries what comes on `/bridge` to a backend, and stands still where it is
/// told to.
struct Stepping {
    hold: Option<Hold>,
    site: Site,
}

impl App for Stepping {
    type Data = <Site as App>::Data;

    fn connected(&mut self, client: &ClientAddress, data: &mut Self::Data) {
        self.site.connected(client, data);
    }

    fn backend_accepted(&mut self, subprotocol: Option<&str>, data: &mut Self::Data) -> Reply {
        self.site.backend_accepted(subprotocol, data)
    }

    fn request(&mut self, request: &Request<'_>, data: &mut Self::Data) -> Reply {
        match request.path() {
            "/bridge" => self.site.request(request, data),
            _ => Reply::Accept(None),
        }
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Stepping>) {
        match (incoming.message().as_text(), &self.hold) {
            (Some("hold"), Some(hold)) => {
                // The test may have ended.
                let _ = hold.entered.send(());
                let _ = hold.release.recv();
            }
            _ => link.send_back(incoming).unwrap(),
        }
    }
}

/// A server with one worker, which stands still once in each turn of the loop.
pub(super) struct Steps {
    is_held: Receiver<()>,
    let_go: Sender<()>,
    pub(super) other: Peer,
    /// Behind its clients, so that they are dropped first.
    pub(super) server: Running,
    _folder: Folder,
}

impl Steps {
    pub(super) fn start(config: Config, backend: &Backend) -> Steps {
        let (entered, is_held) = channel();
        let (let_go, release) = channel();
        let hold = Mutex::new(Some(Hold { entered, release }));
        let to = To::new(backend.url().parse().unwrap(), rfc6455()).with_config(config.clone());
        let router = Router::new(gateway::routes(config, to));
        let config = router.config();
        let folder = Folder::new();
        let path = folder.path("s");
        let server = Running::app_at(&[unix(&path)], 1, config, move || Stepping {
            hold: hold.lock().unwrap().take(),
            site: Site::new(&router),
        });
        Steps {
            is_held,
            let_go,
            other: open_unix(&path),
            server,
            _folder: folder,
        }
    }

    /// The worker stands still in the turn of another connection.
    pub(super) fn stop(&mut self) {
        self.other.send(&said(RFC, "hold"));
        self.is_held.recv_timeout(PATIENCE).unwrap();
    }

    /// It goes on, until that one has had its next turn.
    pub(super) fn step(&mut self) {
        self.other.send(&said(RFC, "hold"));
        self.let_go.send(()).unwrap();
        self.is_held.recv_timeout(PATIENCE).unwrap();
    }

    pub(super) fn go_on(&self) {
        self.let_go.send(()).unwrap();
    }
}

fn rfc6455() -> &'static Version {
    Version::named("rfc6455").unwrap()
}

/// What has arrived.
fn arrived(mut stream: &TcpStream) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), vec![0; 64 * KIB]);
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut room) {
            Ok(0) => panic!("it is closed: {:?}", String::from_utf8_lossy(&all)),
            Ok(n) => all.extend_from_slice(&room[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    all
}

/// Takes the first of these frames of a server, which are deflated, where all of it has
/// arrived: its payload.
fn payload(octets: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [first, length, rest @ ..] = &octets[..] else {
        return None;
    };
    assert_eq!(*first, DEFLATED_TEXT);
    assert!(*length < 126, "{length}");
    let payload = rest.get(..usize::from(*length))?.to_vec();
    octets.drain(..2 + payload.len());
    Some(payload)
}

/// Sends many short texts at once, and holds what the client gets of them to what a
/// turn may deflate.
fn floods(
    steps: &mut Steps,
    client: &mut Client,
    (text, cost): (&str, usize),
    flood: impl FnOnce(&mut Client, usize),
) {
    const TEXTS: usize = 2000;
    steps.stop();
    flood(client, TEXTS);
    let (mut octets, mut received, mut turns) = (Vec::new(), 0, 0);
    let begin = Instant::now();
    let most = (A_TURN / cost + 1) * text.len();
    let least = TEXTS * cost / A_TURN;
    while received < TEXTS * text.len() {
        steps.step();
        octets.extend(arrived(client.stream()));
        while let Some(payload) = payload(&mut octets) {
            let echo = client.inflated(&payload);
            assert_eq!(echo, text.as_bytes());
            received += echo.len();
        }
        turns += 1;
        // Where its first turn comes by an event, another one may follow behind it.
        let due = 2 * turns * most;
        assert!(received <= due, "{received} octets in {turns} turns");
        assert!(begin.elapsed() < PATIENCE, "not all arrive");
    }
    // And those in which nothing has arrived.
    assert!(turns >= least / 2, "{turns} turns");
    steps.go_on();
}

#[test]
fn many_short_messages_are_deflated_in_short_turns_and_others_have_theirs_between() {
    let backend = Backend::listen();
    let best = Compression::default()
        .with_mode(Mode::Shared)
        .with_level(Level::Best);
    for (config, offer, times) in [
        (config(Mode::Shared), ALONE, 1),
        (Config::default().with_compression(best), ALONE, 4),
        (config(Mode::PerConnection), WITH_CONTEXT, 1),
        (config(Mode::Shared), "x-webkit-deflate-frame", 1),
    ] {
        let text = prose(100);
        let cost = (text.len() + A_MESSAGE) * times;
        for is_deflated in [false, true] {
            let mut steps = Steps::start(config.clone(), &backend);
            let mut client = Client::open(steps.server.address, offer, "/");
            floods(&mut steps, &mut client, (&text, cost), |client, n| {
                let texts: Vec<_> = (0..n)
                    .map(|_| match is_deflated {
                        true => frame(DEFLATED_TEXT, &client.deflated(text.as_bytes())),
                        false => said(RFC, &text),
                    })
                    .collect();
                client.send(&texts.concat());
            });
            client.send_text(&text);
            assert_eq!(client.message().2, text.as_bytes());
        }
    }
}

#[test]
fn what_a_backend_sends_is_deflated_in_short_turns_too() {
    let backend = Backend::listen();
    let mut steps = Steps::start(config(Mode::Shared), &backend);
    let address = steps.server.address;
    let (mut client, mut served): (Client, Served) = std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::open(address, ALONE, "/bridge"));
        let served = backend.open();
        (client.join().unwrap(), served)
    });
    let text = prose(100);
    let cost = text.len() + A_MESSAGE;
    floods(&mut steps, &mut client, (&text, cost), |_, n| {
        served.send(&clear(TEXT, text.as_bytes()).repeat(n));
    });
    served.send(&clear(TEXT, text.as_bytes()));
    assert_eq!(client.message().2, text.as_bytes());
}

/// About so many octets that inflate to nothing: empty blocks.
fn empty_blocks(octets: usize) -> Vec<u8> {
    // Each ends at an octet: a block with the fixed codes, and a stored one.
    const BLOCKS: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0xff, 0xff];
    let mut blocks = BLOCKS.repeat(octets / BLOCKS.len());
    blocks.push(0);
    blocks
}

#[test]
fn what_inflates_to_nothing_takes_many_short_turns_too() {
    let backend = Backend::listen();
    for (config, offer) in [
        (config(Mode::Shared), ALONE),
        (config(Mode::PerConnection), WITH_CONTEXT),
        (config(Mode::Shared), "x-webkit-deflate-frame"),
    ] {
        let mut steps = Steps::start(config, &backend);
        let mut client = Client::open(steps.server.address, offer, "/");
        let octets = empty_blocks(MIB / 2);
        let message = [frame(DEFLATED_TEXT, &octets), said(RFC, "behind")].concat();
        steps.stop();
        client.send(&message);
        let (begin, mut turns) = (Instant::now(), 0);
        while !client.has_received() {
            steps.step();
            turns += 1;
            assert!(begin.elapsed() < PATIENCE, "nothing comes back");
        }
        let least = octets.len() / A_TURN;
        assert!(turns >= least, "{turns} turns");
        steps.go_on();
        assert_eq!(client.receive_text(), "");
        assert_eq!(client.receive_text(), "behind");
    }
}

#[test]
fn a_long_text_of_a_room_goes_plain() {
    let server = Running::serve(config(Mode::Shared));
    let [mut from, mut to] =
        [ALONE, ALONE].map(|offer| Client::open(server.address, offer, "/chat"));
    for (octets, kind) in [
        (200 * KIB, DEFLATED_TEXT),
        (256 * KIB, TEXT),
        (2000, DEFLATED_TEXT),
    ] {
        let text = prose(octets);
        from.send_deflated(DEFLATED_TEXT, text.as_bytes());
        let (first, _, received) = to.message();
        assert_eq!(first, kind, "{octets} octets");
        assert!(received == text.as_bytes(), "{octets} octets");
    }
}

/// Publishes each text in all these topics, and subscribes to them.
struct Rooms;

const ROOMS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

impl App for Rooms {
    type Data = ();

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }

    fn open(&mut self, link: &mut Handle<'_, Rooms>) {
        for room in ROOMS {
            link.subscribe(room);
        }
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Rooms>) {
        let text = incoming.message().as_text().unwrap().to_owned();
        for room in ROOMS {
            link.publish(room, &text);
        }
    }
}

#[test]
fn the_texts_of_all_rooms_that_one_turn_of_the_loop_deflates_are_not_more_than_others_wait_for() {
    let server = Running::app(1, config(Mode::Shared), || Rooms);
    let [mut from, mut to] = ["", ALONE].map(|offer| Client::open(server.address, offer, "/"));
    let text = prose(60 * KIB);
    for _ in 0..3 {
        from.send_text(&text);
        let firsts = ROOMS.map(|_| {
            let (first, _, received) = to.message();
            assert!(received == text.as_bytes());
            first
        });
        let deflated = firsts.iter().filter(|first| **first == DEFLATED_TEXT);
        assert_eq!(deflated.count(), 256 * KIB / (text.len() + A_MESSAGE));
    }
}

/// Sends back what it receives, and fails behind a text that takes a turn to deflate.
struct Failing;

impl App for Failing {
    type Data = ();

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Failing>) {
        let is_long = incoming.message().payload().len() >= A_TURN;
        link.send_back(incoming).unwrap();
        if is_long {
            link.fail(Violation::Internal);
        }
    }
}

/// In milliseconds: a peer has this time to end its side of TCP.
const AN_HOUR: u64 = 3_600_000;

#[test]
#[cfg(target_os = "linux")]
fn the_loop_rests_where_a_connection_fails_whose_octets_wait_for_the_next_turn() {
    let settings = setup(|set| {
        set.config = config(Mode::Shared);
        set.settings.close_ms = AN_HOUR;
    });
    let server = Running::app(1, settings, || Failing);
    let mut client = Client::open(server.address, ALONE, "/");
    let long = prose(A_TURN);
    client.send(&[said(RFC, &long), said(RFC, "more")].concat());
    assert!(client.message().2 == long.as_bytes());
    client.close_frame(1011);
    server.await_rest();
}

#[test]
#[cfg(target_os = "linux")]
fn the_loop_rests_where_octets_that_wait_for_the_next_turn_use_the_memory_up() {
    let settings = setup(|set| {
        set.config = config(Mode::Shared);
        set.settings.close_ms = AN_HOUR;
        set.settings.memory_bytes = 16 * KIB;
    });
    let (entered, is_held) = channel();
    let (let_go, release) = channel();
    let hold = Mutex::new(Some(Hold { entered, release }));
    let server = Running::app(1, settings, move || {
        FailingApp::new(hold.lock().unwrap().take())
    });
    let mut other = Peer::open(server.address, RFC, "/");
    let mut client = Client::open(server.address, ALONE, "/");
    other.send(&said(RFC, "hold"));
    is_held.recv_timeout(PATIENCE).unwrap();
    // All of them are there when it is read.
    let text = prose(100);
    client.send(&said(RFC, &text).repeat(600));
    let_go.send(()).unwrap();
    let reason = loop {
        match client.message() {
            (CLOSE, _, reason) => break reason,
            (_, _, echo) => assert_eq!(echo, text.as_bytes()),
        }
    };
    assert_eq!(reason, b"\x03\xf5memory-full");
    server.await_rest();
}
