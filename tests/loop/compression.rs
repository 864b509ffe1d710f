//! Compression on real sockets: what a server answers, sends and holds, and what a
//! bomb costs the others.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Instant;

use heirloom::Config;
use heirloom::extension::{Codecs, Compression, ContextMemory, Deflater, Inflater, Level, Mode};
use heirloom::net::{Listen, ListenAt, Takes};

use crate::support::PATIENCE;
use crate::support::failing_app::{FailingApp, Hold};
use crate::support::folder::Folder;
use crate::support::peer::{BINARY, CLOSE, PING, PONG, Peer, RFC, TEXT, frame, request, said};
use crate::support::server::{Running, setup};

/// The bit of a compressed message in the first octet of a frame.
const RSV1: u8 = 0x40;
const FIN: u8 = 0x80;
pub(super) const DEFLATED_TEXT: u8 = TEXT | RSV1;
const DEFLATED_BINARY: u8 = BINARY | RSV1;

const OFFER: &str = "permessage-deflate; client_max_window_bits";
pub(super) const WITH_CONTEXT: &str = "permessage-deflate";
pub(super) const ALONE: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = KIB * KIB;

/// A client that offers compression.
pub(super) struct Client {
    pub(super) peer: Peer,
    /// What the server agreed to.
    answer: Option<String>,
    inflater: Box<Inflater>,
    deflater: Box<Deflater>,
}

impl Deref for Client {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

impl Client {
    pub(super) fn open(address: SocketAddr, offer: &str, path: &str) -> Client {
        let mut peer = Peer::connect(address);
        let mut request = request(RFC, path);
        if !offer.is_empty() {
            request.truncate(request.len() - 2);
            request.extend(format!("Sec-WebSocket-Extensions: {offer}\r\n\r\n").bytes());
        }
        peer.send(&request);
        let head = peer.head();
        assert_eq!(head.status(), 101);
        let mut codecs = Codecs::default();
        Client {
            answer: head.header("Sec-WebSocket-Extensions").map(str::to_owned),
            peer,
            inflater: codecs.inflater(),
            deflater: codecs.deflater(Level::Default, 15),
        }
    }

    fn agreed_to(&self, flag: &str) -> bool {
        self.answer.as_ref().is_some_and(|all| all.contains(flag))
    }

    /// A whole message as it sends it: compressed.
    pub(super) fn deflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut deflated = Vec::new();
        self.deflater.message(payload, &mut deflated);
        let starts_anew = ["client_no_context_takeover", "; no_context_takeover"];
        if starts_anew.iter().any(|flag| self.agreed_to(flag)) {
            self.deflater.reset();
        }
        deflated
    }

    /// Sends a whole message in one frame.
    pub(super) fn send_deflated(&mut self, first: u8, payload: &[u8]) {
        let deflated = self.deflated(payload);
        self.send(&frame(first, &deflated));
    }

    /// Receives a message in one frame: its first octet, the octets of its payload
    /// on the way, and what they say.
    pub(super) fn message(&mut self) -> (u8, usize, Vec<u8>) {
        let (first, payload) = self.peer.frame();
        if first & RSV1 == 0 {
            return (first, payload.len(), payload);
        }
        let inflated = self.inflated(&payload);
        (first, payload.len(), inflated)
    }

    /// What a compressed message says.
    pub(super) fn inflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let inflated = inflate(&mut self.inflater, payload);
        let starts_anew = ["server_no_context_takeover", "; no_context_takeover"];
        if starts_anew.iter().any(|flag| self.agreed_to(flag)) {
            self.inflater.reset();
        }
        inflated
    }
}

fn inflate(inflater: &mut Inflater, mut octets: &[u8]) -> Vec<u8> {
    let (mut room, mut all) = (vec![0; 64 * KIB], Vec::new());
    loop {
        let done = inflater.inflate(octets, &mut room).unwrap();
        all.extend_from_slice(&room[..done.written]);
        octets = &octets[done.consumed..];
        if !done.room_is_full {
            break;
        }
    }
    loop {
        let done = inflater.finish(&mut room).unwrap();
        all.extend_from_slice(&room[..done.written]);
        if done.is_finished {
            return all;
        }
    }
}

pub(super) fn config(mode: Mode) -> Config {
    Config::default().with_compression(Compression::default().with_mode(mode))
}

/// A text of so many octets that says nothing twice, and gets a little shorter.
pub(super) fn prose(octets: usize) -> String {
    let letters = noise(octets).into_iter().map(|octet| octet >> 3);
    letters.map(|letter| char::from(b'A' + letter)).collect()
}

/// Octets that do not get shorter.
pub(super) fn noise(octets: usize) -> Vec<u8> {
    let mut n = 1u64;
    let mut next = || {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (n >> 56) as u8
    };
    (0..octets).map(|_| next()).collect()
}

#[test]
fn each_mode_answers_and_echoes_as_it_says() {
    for (mode, answer) in [(Mode::Shared, ALONE), (Mode::PerConnection, WITH_CONTEXT)] {
        let server = Running::serve(config(mode));
        let mut client = Client::open(server.address, OFFER, "/");
        assert_eq!(client.answer.as_deref(), Some(answer));
        let text = prose(2000);
        let mut on_the_wire = Vec::new();
        for _ in 0..2 {
            client.send_deflated(DEFLATED_TEXT, text.as_bytes());
            let (first, length, echo) = client.message();
            assert_eq!(first, DEFLATED_TEXT);
            assert!(echo == text.as_bytes());
            on_the_wire.push(length);
        }
        // The second one refers to the first one where a context is kept.
        assert!(on_the_wire[0] < 1500, "{on_the_wire:?}");
        match mode {
            Mode::PerConnection => assert!(on_the_wire[1] < 50, "{on_the_wire:?}"),
            _ => assert_eq!(on_the_wire[0], on_the_wire[1]),
        }
        // A message that was not compressed is compressed on its way back.
        client.send_text(&text);
        let (first, _, echo) = client.message();
        assert_eq!(first, DEFLATED_TEXT);
        assert!(echo == text.as_bytes());
        // However it comes, it goes in one frame.
        let long = prose(MIB);
        let deflated = client.deflated(long.as_bytes());
        let parts: Vec<&[u8]> = deflated.chunks(deflated.len().div_ceil(10)).collect();
        for (n, part) in parts.iter().enumerate() {
            let opcode = if n == 0 { DEFLATED_TEXT & !FIN } else { 0 };
            let fin = if n + 1 == parts.len() { FIN } else { 0 };
            client.send(&frame(fin | opcode, part));
            client.send(&frame(PING, b"between"));
        }
        for _ in &parts[1..] {
            assert_eq!(client.frame(), (PONG, b"between".to_vec()));
        }
        // The last ping comes behind the message.
        let (first, _, echo) = client.message();
        assert_eq!(first, DEFLATED_TEXT);
        assert!(echo == long.as_bytes());
        assert_eq!(client.frame(), (PONG, b"between".to_vec()));
        client.close();
    }
}

#[test]
fn short_and_incompressible_messages_go_plain() {
    for mode in [Mode::Shared, Mode::PerConnection] {
        let server = Running::serve(config(mode));
        let mut client = Client::open(server.address, OFFER, "/");
        for (octets, first) in [(0, TEXT), (63, TEXT), (64, DEFLATED_TEXT)] {
            let text = "x".repeat(octets);
            client.send_deflated(DEFLATED_TEXT, text.as_bytes());
            let (echoed, length, echo) = client.message();
            assert_eq!(echoed, first, "{octets} octets, {mode:?}");
            assert_eq!(echo, text.as_bytes());
            assert!(length <= octets);
        }
        let noise = noise(2000);
        client.send_deflated(DEFLATED_BINARY, &noise);
        let (first, _, echo) = client.message();
        assert!(echo == noise);
        // What the compressor has seen for its context is sent as it made it.
        match mode {
            Mode::PerConnection => assert_eq!(first, DEFLATED_BINARY),
            _ => assert_eq!(first, BINARY),
        }
        let text = prose(1000);
        client.send_text(&text);
        let (first, _, echo) = client.message();
        assert_eq!(first, DEFLATED_TEXT);
        assert!(echo == text.as_bytes());
    }
}

#[test]
fn off_agrees_to_nothing_and_rsv1_fails() {
    let server = Running::serve(config(Mode::Off));
    let mut client = Client::open(server.address, OFFER, "/");
    assert_eq!(client.answer, None);
    let text = prose(2000);
    client.echo(&text);
    client.send_deflated(DEFLATED_TEXT, text.as_bytes());
    client.close_frame(1002);
    // And without an offer no mode compresses.
    for mode in [Mode::Shared, Mode::PerConnection] {
        let server = Running::serve(config(mode));
        let mut plain = Peer::open(server.address, RFC, "/");
        plain.echo(&text);
        plain.send(&frame(DEFLATED_TEXT, b"\x02\0"));
        plain.close_frame(1002);
    }
}

/// 64 MiB of zeros, deflated.
fn bomb() -> &'static [u8] {
    static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
    BOMB.get_or_init(|| {
        let mut bomb = Vec::new();
        let mut deflater = Codecs::default().deflater(Level::Best, 15);
        deflater.message(&vec![0; 64 * MIB], &mut bomb);
        assert!(bomb.len() < 100 * KIB, "{} octets", bomb.len());
        bomb
    })
}

fn bomb_in_one_frame() -> Vec<u8> {
    frame(DEFLATED_BINARY, bomb())
}

fn bomb_in_fragments() -> Vec<u8> {
    let bomb = bomb();
    let parts = bomb.chunks(bomb.len().div_ceil(1024)).enumerate();
    // It never ends: the limit comes first.
    let fragment = |(n, part)| frame(if n == 0 { DEFLATED_BINARY & !FIN } else { 0 }, part);
    parts.flat_map(fragment).collect()
}

/// A client of a Unix socket: what it has sent has arrived.
pub(super) fn open_unix(path: &Path) -> Peer {
    let mut peer = Peer::connect_unix(path);
    peer.upgrade(RFC, "/");
    peer
}

/// Where [`open_unix`] connects to.
pub(super) fn unix(path: &Path) -> Listen {
    let path = path.to_owned();
    Listen::new(ListenAt::Unix { path, mode: 0o600 }, Takes::Plain)
}

/// A server that compresses, with one worker, which stands still when somebody says
/// `hold`; says when it does, and lets go.
fn held(mode: Mode, path: &Path) -> (Running, Receiver<()>, Sender<()>) {
    let (entered, is_held) = channel();
    let (let_go, release) = channel();
    let hold = Mutex::new(Some(Hold { entered, release }));
    let server = Running::app_at(&[unix(path)], 1, config(mode), move || {
        FailingApp::new(hold.lock().unwrap().take())
    });
    (server, is_held, let_go)
}

#[test]
fn a_bomb_takes_many_short_turns_and_others_have_theirs_between() {
    for (mode, offer, octets) in [
        (Mode::Shared, OFFER, bomb_in_one_frame()),
        (Mode::PerConnection, OFFER, bomb_in_fragments()),
        (Mode::Shared, "x-webkit-deflate-frame", bomb_in_one_frame()),
    ] {
        let folder = Folder::new();
        let path = folder.path("s");
        let (server, is_held, let_go) = held(mode, &path);
        let mut bomber = Client::open(server.address, offer, "/");
        let mut other = open_unix(&path);
        let hold = [said(RFC, "small"), said(RFC, "hold")].concat();
        other.send(&hold);
        is_held.recv_timeout(PATIENCE).unwrap();
        bomber.send(&octets);
        let (mut turns, begin) = (0, Instant::now());
        while !bomber.has_received() {
            // The worker stands still once in each turn of the loop.
            other.send(&hold);
            let_go.send(()).unwrap();
            is_held.recv_timeout(PATIENCE).unwrap();
            assert_eq!(other.receive_text(), "small");
            turns += 1;
            assert!(begin.elapsed() < PATIENCE, "the bomb is never given up");
        }
        // 16 MiB in turns of 64 KiB, and those in which none of it has arrived.
        assert!(turns >= 200, "{turns} turns");
        drop(let_go);
        assert_eq!(other.receive_text(), "small");
        assert_eq!(bomber.close_frame(1009), "message-too-big");
        bomber.is_cut_off();
        other.echo("as before");
        // The inflater is thrown away, and the next one is in order.
        let mut next = Client::open(server.address, OFFER, "/");
        next.send_deflated(DEFLATED_TEXT, prose(500).as_bytes());
        assert_eq!(next.message().2, prose(500).as_bytes());
    }
}

#[test]
fn bombs_get_1009_while_others_go_on() {
    let server = Running::serve(config(Mode::Shared));
    let mut other = Peer::open(server.address, RFC, "/");
    let address = server.address;
    let bombers: Vec<_> = [bomb_in_one_frame(), bomb_in_fragments()]
        .map(|octets| {
            thread::spawn(move || {
                let mut bomber = Client::open(address, OFFER, "/");
                bomber.send(&octets);
                assert_eq!(bomber.close_frame(1009), "message-too-big");
                bomber.is_cut_off();
            })
        })
        .into();
    while !bombers.iter().all(thread::JoinHandle::is_finished) {
        other.echo("not disturbed");
    }
    for bomber in bombers {
        bomber.join().unwrap();
    }
}

/// The octets that count for an inflater, at least.
const COUNTED: usize = Inflater::OCTETS / 4096 * 4096;

#[test]
fn the_inflaters_of_unfinished_messages_have_a_total() {
    const CLIENTS: usize = 100;
    for (mode, most) in [(Mode::Shared, 2 * MIB), (Mode::Shared, 64 * MIB)] {
        let server = Running::serve(setup(|s| {
            s.config = config(mode);
            s.settings.memory_bytes = most;
        }));
        let mut other = Peer::open(server.address, RFC, "/");
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| Client::open(server.address, OFFER, "/"))
            .collect();
        let ping = frame(PING, b"?");
        let mut rests = Vec::new();
        for client in &mut clients {
            let deflated = client.deflated(prose(200).as_bytes());
            let (start, rest) = deflated.split_at(20);
            let start = frame(DEFLATED_TEXT & !FIN, start);
            // Once the pong is there, the inflater is held.
            client.send(&[&start, &ping[..]].concat());
            assert!(client.receives_within(PATIENCE));
            rests.push(frame(FIN, rest));
            other.echo("not disturbed");
        }
        let mut kept = 0;
        for (client, rest) in clients.iter_mut().zip(rests) {
            client.send(&rest);
            let (mut first, _, mut payload) = client.message();
            if first == PONG {
                (first, _, payload) = client.message();
            }
            if first == CLOSE {
                assert_eq!(payload[..2], 1013u16.to_be_bytes());
                assert_eq!(&payload[2..], b"memory-full");
            } else {
                assert_eq!(payload, prose(200).as_bytes());
                kept += 1;
            }
        }
        let room = (most / COUNTED).min(CLIENTS);
        assert!(
            (room.saturating_sub(3)..=room).contains(&kept),
            "{kept} are kept"
        );
        assert!(kept == CLIENTS || most < 64 * MIB, "{kept} are kept");
        other.echo("as before");
    }
}

#[test]
fn contexts_that_use_the_memory_up_leave_none_for_new_clients() {
    let server = Running::serve(setup(|s| {
        s.config = config(Mode::PerConnection);
        s.settings.memory_bytes = MIB;
    }));
    let text = prose(100);
    let mut clients = Vec::new();
    let refused = loop {
        let mut peer = Peer::connect(server.address);
        peer.send(&request(RFC, "/"));
        if peer.head().status() != 101 {
            break peer.rest();
        }
        assert!(clients.len() < 10, "there is always room");
        let mut client = Client::open(server.address, OFFER, "/");
        client.send_deflated(DEFLATED_TEXT, text.as_bytes());
        assert_eq!(client.message().2, text.as_bytes());
        clients.push(client);
    };
    assert!(refused.starts_with(b"out-of-memory: "));
    // Those that are there go on.
    assert_eq!(clients.len(), 4);
    for client in &mut clients {
        client.send_deflated(DEFLATED_TEXT, text.as_bytes());
        assert_eq!(client.message().2, text.as_bytes());
    }
}

#[test]
fn contexts_are_for_as_many_connections_as_there_is_memory_for() {
    let memory = ContextMemory::new(Deflater::OCTETS + Inflater::OCTETS);
    let config = config(Mode::PerConnection).with_context_memory(memory.clone());
    let server = Running::serve(config);
    // Without compression, or without a context, it is not taken.
    let _plain = Peer::open(server.address, RFC, "/");
    let alone = Client::open(server.address, ALONE, "/");
    assert_eq!(alone.answer.as_deref(), Some(ALONE));
    let mut first = Client::open(server.address, OFFER, "/");
    assert_eq!(first.answer.as_deref(), Some(WITH_CONTEXT));
    let mut second = Client::open(server.address, OFFER, "/");
    assert_eq!(second.answer.as_deref(), Some(ALONE));
    let text = prose(2000);
    let on_the_wire = |client: &mut Client| {
        client.send_deflated(DEFLATED_TEXT, text.as_bytes());
        let (first, length, echo) = client.message();
        assert_eq!(first, DEFLATED_TEXT);
        assert!(echo == text.as_bytes());
        length
    };
    let alone = on_the_wire(&mut second);
    assert_eq!(on_the_wire(&mut first), alone);
    assert!(on_the_wire(&mut first) < 50);
    assert_eq!(on_the_wire(&mut second), alone);
    first.close();
    drop(first);
    let begin = Instant::now();
    while memory.held() > 0 {
        assert!(begin.elapsed() < PATIENCE, "it never comes back");
        thread::yield_now();
    }
    let mut third = Client::open(server.address, OFFER, "/");
    assert_eq!(third.answer.as_deref(), Some(WITH_CONTEXT));
    assert_eq!(on_the_wire(&mut third), alone);
    assert!(on_the_wire(&mut third) < 50);
    // The second one has none, as it was told.
    assert_eq!(on_the_wire(&mut second), alone);
}

/// What members of a room ask for, and the first octet of what they receive.
const MEMBERS: [(&str, u8); 6] = [
    ("", TEXT),
    (ALONE, DEFLATED_TEXT),
    (
        "permessage-deflate; server_no_context_takeover",
        DEFLATED_TEXT,
    ),
    // A message of its context is not the same octets for all.
    (WITH_CONTEXT, TEXT),
    // Nor is one of a smaller window.
    (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        TEXT,
    ),
    ("x-webkit-deflate-frame; no_context_takeover", DEFLATED_TEXT),
];

#[test]
fn a_room_sends_compressed_frames_to_those_that_agreed() {
    let server = Running::serve_on(2, config(Mode::PerConnection));
    let mut members: Vec<Client> = (0..2 * MEMBERS.len())
        .map(|n| Client::open(server.address, MEMBERS[n % MEMBERS.len()].0, "/chat"))
        .collect();
    for (n, octets) in (0..members.len()).zip([200, 2000, 40_000].into_iter().cycle()) {
        let text = format!("{n} {}", prose(octets));
        if members[n].answer.is_some() {
            members[n].send_deflated(DEFLATED_TEXT, text.as_bytes());
        } else {
            members[n].send_text(&text);
        }
        members[n].send_text("short");
        for (m, member) in members.iter_mut().enumerate().filter(|(m, _)| *m != n) {
            let (first, _, received) = member.message();
            assert_eq!(first, MEMBERS[m % MEMBERS.len()].1, "member {m} hears {n}");
            assert!(received == text.as_bytes(), "member {m} hears {n}");
            assert_eq!(member.message(), (TEXT, 5, b"short".to_vec()));
        }
    }
    for member in &mut members {
        member.close();
    }
}

#[test]
fn members_that_speak_at_once_receive_all_but_their_own() {
    // All of them together are compressed in one turn, should they come in one.
    const EACH: usize = 10;
    let server = Running::serve_on(2, config(Mode::PerConnection));
    let members: Vec<Client> = (0..2 * MEMBERS.len())
        .map(|n| Client::open(server.address, MEMBERS[n % MEMBERS.len()].0, "/chat"))
        .collect();
    let all = members.len();
    let prose = &prose(1500);
    thread::scope(|scope| {
        for (m, mut member) in members.into_iter().enumerate() {
            scope.spawn(move || {
                let texts = (0..EACH).map(|n| said(RFC, &format!("{m} {n} {prose}")));
                member.send(&texts.collect::<Vec<_>>().concat());
                let mut next = vec![0; all];
                for _ in 0..(all - 1) * EACH {
                    let (first, _, text) = member.message();
                    assert_eq!(first, MEMBERS[m % MEMBERS.len()].1);
                    let text = String::from_utf8(text).unwrap();
                    let mut words = text.splitn(3, ' ');
                    let mut word = || words.next().unwrap();
                    let (from, n): (usize, usize) =
                        (word().parse().unwrap(), word().parse().unwrap());
                    assert_ne!(from, m);
                    assert_eq!(n, next[from], "from {from}");
                    assert!(word() == prose);
                    next[from] += 1;
                }
                member
            });
        }
    });
}

#[test]
fn a_context_holds_across_what_others_publish() {
    let server = Running::app(1, config(Mode::PerConnection), || FailingApp::new(None));
    let mut keeps = Client::open(server.address, WITH_CONTEXT, "/");
    let mut other = Peer::open(server.address, RFC, "/");
    let text = prose(2000);
    let mut lengths = Vec::new();
    for _ in 0..3 {
        keeps.send_deflated(DEFLATED_TEXT, text.as_bytes());
        let (first, length, echo) = keeps.message();
        assert_eq!(first, DEFLATED_TEXT);
        assert!(echo == text.as_bytes());
        lengths.push(length);
        other.send_text("tell");
        assert_eq!(keeps.message(), (TEXT, 4, b"told".to_vec()));
    }
    assert!(
        lengths[1..].iter().all(|length| *length < 50),
        "{lengths:?}"
    );
}

#[cfg(all(feature = "cli", target_os = "linux"))]
mod program {
    use super::*;
    use crate::memory::program::peak;
    use crate::support::program::Program;

    #[test]
    fn the_modes_have_options() {
        for (args, answer) in [
            (&[][..], Some(ALONE)),
            (&["--compression", "shared"], Some(ALONE)),
            (&["--compression", "per-connection"], Some(WITH_CONTEXT)),
            (
                &["--compression=per-connection", "--compression-memory=0"],
                Some(ALONE),
            ),
            (&["--compression", "off"], None),
        ] {
            let program = Program::serve(args);
            let client = Client::open(program.address, OFFER, "/");
            assert_eq!(client.answer.as_deref(), answer, "{args:?}");
        }
    }

    #[test]
    fn bombs_take_no_more_memory_than_messages_may() {
        let args = ["--workers", "1", "--max-message-bytes", "1MiB"];
        let program = Program::serve(&args);
        for octets in [bomb_in_one_frame(), bomb_in_fragments()] {
            let mut bombers: Vec<_> = (0..10)
                .map(|_| Client::open(program.address, OFFER, "/"))
                .collect();
            let before = peak(program.id());
            for bomber in &mut bombers {
                bomber.send(&octets);
            }
            for bomber in &mut bombers {
                bomber.close_frame(1009);
            }
            // Each was 64 MiB.
            let used = (peak(program.id()) - before) / MIB;
            assert!(used < 32, "{used} MiB");
        }
    }
}
