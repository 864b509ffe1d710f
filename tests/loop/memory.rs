//! Memory that connections hold has a total, and so has the time that a message
//! may take and the number of connections of one address.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use heirloom::extension::{Compression, Mode};
use heirloom::net::{Router, Server, Settings, Site, serve};
use heirloom::{Config, Versions};

use crate::compression::{Client, DEFLATED_TEXT};
use crate::support::PATIENCE;
use crate::support::peer::{BINARY, Peer, RFC, Speaks, TEXT, frame, request, said};
use crate::support::server::{Running, setup};
use crate::{HIXIE_76, milliseconds};

const MIB: usize = 1 << 20;
/// What each of many clients sends of its message, which is not finished by it.
const MOST: usize = 15 * MIB;

/// Sends most of a message, unless the server ends the connection before.
fn upload(peer: &mut Peer) {
    peer.send(match peer.speaks() {
        // 16 MiB, with a mask of zeros.
        Speaks::Number(_) => &[BINARY, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        _ => &[0],
    });
    let part = [b'x'; 64 * 1024];
    for _ in 0..MOST / part.len() {
        if let Err(error) = peer.stream().write_all(&part) {
            let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.kind()), "{error}");
            break;
        }
    }
}

/// It gets the close of its version.
fn is_given_up(peer: &mut Peer) {
    match peer.speaks() {
        RFC => assert_eq!(peer.close_frame(1013), "memory-full"),
        // The older versions have no such code.
        Speaks::Number(_) => assert_eq!(peer.close_frame(1001), "memory-full"),
        Speaks::Hixie76 => assert_eq!(peer.exactly(2), [0xff, 0]),
        Speaks::Hixie75 => {}
    }
    peer.is_cut_off();
}

/// Sixty clients send most of a message of 16 MiB, and another one goes on with
/// its echo. Gives how many were kept.
fn sixty_uploads(address: SocketAddr, speaks: Speaks) -> usize {
    let mut other = Peer::open(address, RFC, "/");
    // All are open before the first takes memory; they send at once, and none of
    // them ends before all are judged.
    let peers: Vec<_> = (0..60).map(|_| Peer::open(address, speaks, "/")).collect();
    let uploads: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            thread::spawn(move || {
                upload(&mut peer);
                peer
            })
        })
        .collect();
    while !uploads.iter().all(JoinHandle::is_finished) {
        other.echo("nobody waits");
    }
    let mut kept: Vec<Peer> = uploads.into_iter().map(|u| u.join().unwrap()).collect();
    // One of which all was sent is given up too, when what others have sent is read.
    let begin = Instant::now();
    while kept.len() > 5 {
        assert!(begin.elapsed() < PATIENCE, "{} are kept", kept.len());
        other.echo("nobody waits");
        let (ended, rest) = kept.into_iter().partition(Peer::has_received);
        let ended: Vec<Peer> = ended;
        ended
            .into_iter()
            .for_each(|mut peer| is_given_up(&mut peer));
        kept = rest;
    }
    kept.len()
}

#[test]
fn unfinished_messages_that_use_the_memory_up_are_given_up_and_the_others_go_on() {
    for (workers, speaks) in [(1, RFC), (2, RFC), (1, HIXIE_76), (1, Speaks::Number(7))] {
        let setup = setup(|s| s.settings.memory_bytes = 64 * MIB);
        let server = Running::serve_on(workers, setup);
        let kept = sixty_uploads(server.address, speaks);
        assert!((1..=5).contains(&kept), "{kept} of {speaks:?} are kept");
        open_when_there_is_room(server.address).0.echo("it lives");
    }
}

/// Opens as soon as the server has room for it; gives the refusals before.
fn open_when_there_is_room(address: SocketAddr) -> (Peer, Vec<String>) {
    let (begin, mut refusals) = (Instant::now(), Vec::new());
    loop {
        assert!(begin.elapsed() < PATIENCE, "there is never room");
        let mut peer = Peer::connect(address);
        peer.send(&request(RFC, "/"));
        let head = peer.head();
        if head.status() == 101 {
            return (peer, refusals);
        }
        assert_eq!(head.status(), 503);
        assert!(head.header("Retry-After").is_some());
        refusals.push(String::from_utf8(peer.rest()).unwrap());
    }
}

#[test]
fn without_memory_new_clients_are_refused_and_reading_goes_on_when_it_returns() {
    let server = Running::serve(setup(|s| {
        s.settings.memory_bytes = 8 * MIB;
        s.settings.output_bytes = 64 * MIB;
    }));
    let mut sluggard = Peer::open(server.address, RFC, "/");
    let mut uploader = Peer::open(server.address, RFC, "/");
    let mut small = Peer::open(server.address, HIXIE_76, "/");
    // Its echo is more than the systems hold for a client that does not read.
    let large = "large ".repeat(7 * MIB / 6);
    sluggard.send_text(&large);
    assert!(sluggard.receives_within(PATIENCE));
    let text = "text ".repeat(3 * MIB / 5);
    uploader.send_text(&text);
    let refusal = loop {
        let mut late = Peer::connect(server.address);
        late.send(&request(RFC, "/"));
        match late.head().status() {
            503 => break String::from_utf8(late.rest()).unwrap(),
            status => assert_eq!(status, 101),
        }
    };
    assert!(refusal.starts_with("out-of-memory: "), "{refusal}");
    small.echo("what is small is no matter");
    assert!(!uploader.receives_within(milliseconds(100)), "it is read");
    assert!(sluggard.receive_text() == large);
    assert!(uploader.receive_text() == text);
    let (mut late, _) = open_when_there_is_room(server.address);
    late.echo("there is room");
}

#[test]
fn an_address_has_as_many_connections_as_it_may_and_others_have_theirs() {
    let server = Running::serve(setup(|s| s.settings.connections_per_address = Some(2)));
    let mut first = Peer::open(server.address, RFC, "/");
    let second = Peer::open(server.address, HIXIE_76, "/");
    let mut third = Peer::connect(server.address);
    third.send(&request(RFC, "/"));
    let (head, body) = third.response();
    assert_eq!(head.status(), 503);
    assert!(head.header("Retry-After").is_some());
    assert!(body.starts_with("too-many-from-address: "), "{body}");
    drop(second);
    let (mut fourth, refusals) = open_when_there_is_room(server.address);
    for refusal in refusals {
        assert!(refusal.starts_with("too-many-from-address: "), "{refusal}");
    }
    fourth.echo("there is room");
    first.echo("not disturbed");
}

#[test]
fn behind_a_trusted_proxy_the_address_is_that_of_the_proxy_header() {
    let router = Router::new(serve::routes(Config::default()));
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[loopback], 1, router.config()).unwrap();
    let server = server
        .with_settings(Settings::default().with_connections_per_address(1))
        .accept_proxy("127.0.0.0/8".parse().unwrap());
    let server = Running::server(server, move || Site::new(&router));
    let connect = |client: &str| {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("PROXY TCP4 {client} 198.51.100.1 5000 80\r\n").as_bytes());
        peer.send(&request(RFC, "/"));
        peer
    };
    let mut open = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2"] {
        let mut peer = connect(client);
        peer.agree(RFC);
        open.push(peer);
    }
    let (head, body) = connect("192.0.2.2").response();
    assert_eq!(head.status(), 503);
    assert!(body.starts_with("too-many-from-address: "), "{body}");
    for peer in &mut open {
        peer.echo("not disturbed");
    }
}

#[test]
fn a_message_that_does_not_grow_is_ended_and_a_slow_one_arrives() {
    let server = Running::serve(setup(|s| {
        s.config.versions = Versions::ALL;
        s.settings.message_ms = 2_000;
    }));
    let text = "slow ".repeat(40_000);
    let open = |speaks| {
        let [mut dribbler, slow] = [(); 2].map(|()| Peer::open(server.address, speaks, "/"));
        let start = said(speaks, "a little, and then nothing");
        dribbler.send(&start[..start.len() - 2]);
        (dribbler, slow, said(speaks, &text))
    };
    let mut peers = [RFC, Speaks::Number(8), HIXIE_76, Speaks::Hixie75].map(open);
    // Longer than the deadline, and 20 kB each time.
    for n in 0..10 {
        for (_, slow, message) in &mut peers {
            let part = message.len() / 10;
            let end = if n == 9 {
                message.len()
            } else {
                (n + 1) * part
            };
            slow.send(&message[n * part..end]);
        }
        thread::sleep(milliseconds(300));
    }
    for (mut dribbler, mut slow, _) in peers {
        assert!(slow.receive_text() == text);
        slow.echo("as before");
        match slow.speaks() {
            RFC => assert_eq!(dribbler.close_frame(1008), "message-timeout"),
            // The older versions have no such code.
            Speaks::Number(_) => assert_eq!(dribbler.close_frame(1003), "message-timeout"),
            Speaks::Hixie76 => assert_eq!(dribbler.exactly(2), [0xff, 0]),
            Speaks::Hixie75 => {}
        }
        dribbler.ends();
        // Between messages there is no such deadline.
        slow.echo("as before");
    }
}

#[test]
fn a_message_has_its_time_also_where_nothing_of_it_has_come_out() {
    let compression = Compression::default().with_mode(Mode::Shared);
    let server = Running::serve(setup(|s| {
        s.config = Config::default()
            .with_versions(Versions::ALL)
            .with_compression(compression);
        s.settings.message_ms = 100;
    }));
    let pmd = "permessage-deflate";
    let frames = "x-webkit-deflate-frame";
    let begun = frame(DEFLATED_TEXT, b"12345");
    // Masked frames: a header, the key, and payload.
    for (offer, octets) in [
        (pmd, frame(0x41, b"")),
        (pmd, frame(0x41, &[0xf2])),
        // Blocks of no octets.
        (pmd, frame(0x41, &[0x02, 0x08, 0x20, 0x80, 0x00])),
        (pmd, begun[..6].to_vec()),
        (pmd, begun[..7].to_vec()),
        (frames, begun[..6].to_vec()),
        (frames, frame(0x41, &[0])),
        ("", frame(0x01, b"")),
        ("", frame(TEXT, b"12345")[..6].to_vec()),
        ("", frame(TEXT, &[b'x'; 1000])[..8].to_vec()),
        ("", frame(TEXT, &[b'x'; 100_000])[..14].to_vec()),
    ] {
        let mut client = Client::open(server.address, offer, "/");
        client.send(&octets);
        let reason = client.close_frame(1008);
        assert_eq!(reason, "message-timeout", "{offer} {octets:x?}");
    }
    // What ends in time is not ended later.
    let mut client = Client::open(server.address, pmd, "/");
    client.send(&frame(0x41, &[0xf2]));
    client.send(&frame(0x80, &[0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]));
    assert_eq!(client.receive_text(), "Hello");
    thread::sleep(milliseconds(200));
    client.send_text("still here");
    assert_eq!(client.receive_text(), "still here");
}

#[cfg(all(feature = "cli", target_os = "linux"))]
pub(crate) mod program {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::support::program::{HEIRLOOM, Program};

    /// The most octets that a process has had in memory.
    pub(crate) fn peak(id: u32) -> usize {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// The octets of its own that a process has in memory now. What it shares with
    /// other programs that run, as its code, would count for more when they end.
    fn now(id: u32) -> usize {
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
        let line = rollup.lines().find_map(|l| l.strip_prefix("Anonymous:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Opens so many connections, which echo a short message each.
    fn opened(address: SocketAddr, speaks: Speaks, n: usize) -> Vec<Peer> {
        let mut peers: Vec<_> = (0..n).map(|_| Peer::open(address, speaks, "/")).collect();
        for peer in &mut peers {
            peer.echo("short");
        }
        peers
    }

    #[test]
    fn memory_goes_back_to_the_system_after_a_burst() {
        const PEERS: usize = 1000;
        let own = std::process::id().to_string();
        let status = Command::new("prlimit")
            .args(["--pid", &own, "--nofile=4096:"])
            .status();
        assert!(status.unwrap().success());
        let text = "burst ".repeat(50_000);
        for speaks in [RFC, HIXIE_76] {
            let program = Program::serve(&["--workers", "1"]);
            let mut peers = opened(program.address, speaks, PEERS);
            let idle = now(program.id());
            let message = said(speaks, &text);
            let (most, rest) = message.split_at(message.len() / 10 * 9);
            for peer in &mut peers {
                peer.send(most);
            }
            // What lives longer than the messages is in memory behind them.
            let late = opened(program.address, speaks, PEERS / 10);
            let begin = Instant::now();
            while now(program.id()) - idle < PEERS * most.len() / 2 {
                assert!(begin.elapsed() < PATIENCE, "it never holds what it is sent");
            }
            for peer in &mut peers {
                peer.send(rest);
            }
            for peer in &mut peers {
                assert!(peer.receive_text() == text);
            }
            let echoed = Instant::now();
            loop {
                let left = now(program.id()).saturating_sub(idle) / PEERS;
                if left <= 4096 {
                    println!("{speaks:?}: {left} octets per connection");
                    break;
                }
                let waited = echoed.elapsed();
                assert!(waited < PATIENCE, "{left} octets per connection");
                thread::sleep(milliseconds(50));
            }
            drop((peers, late));
        }
    }

    #[test]
    fn the_process_stays_within_its_memory() {
        let program = Program::serve(&["--max-memory-bytes", "64MiB", "--workers", "2"]);
        let before = peak(program.id());
        let kept = sixty_uploads(program.address, RFC);
        assert!((1..=5).contains(&kept), "{kept} are kept");
        let used = (peak(program.id()) - before) / MIB;
        // A buffer that grows may be copied, and each worker keeps a few. Without
        // the limit it would be 900 MiB.
        assert!(used < 128, "{used} MiB");
    }

    #[test]
    fn without_an_option_the_limit_of_the_address_space_is_kept() {
        let mut command = Command::new("prlimit");
        command.args([&format!("--as={}", 256 * MIB), HEIRLOOM, "serve"]);
        command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
        let program = Program::start(&mut command);
        let kept = sixty_uploads(program.address, RFC);
        assert!((1..=5).contains(&kept), "{kept} are kept");
        open_when_there_is_room(program.address).0.echo("it lives");
    }

    #[test]
    fn the_memory_of_a_room_does_not_multiply_with_the_members_that_speak() {
        let program = Program::serve(&["--workers", "1", "--max-output-bytes", "64MiB"]);
        let mut members: Vec<Peer> = (0..150)
            .map(|_| {
                let mut peer = Peer::connect_narrow(program.address);
                peer.upgrade(RFC, "/chat");
                peer
            })
            .collect();
        let mut listener = Peer::open(program.address, RFC, "/chat");
        let before = peak(program.id());
        // All of them in one turn of the loop.
        program.signal("STOP");
        for member in &mut members {
            member.send_text(&"x".repeat(60_000));
        }
        program.signal("CONT");
        for _ in 0..150 {
            assert_eq!(listener.receive_text().len(), 60_000);
        }
        // 9 MB were sent, and no member reads.
        let used = (peak(program.id()) - before) / MIB;
        assert!(used < 32, "{used} MiB");
    }
}
