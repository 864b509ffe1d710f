//! Backpressure: a peer that does not read stops only the peer that sends to it.
//! And many at once.

use std::fs;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::time::Instant;

use heirloom::net::ClosedBy;

use crate::gate::{
    ALL, Gate, HIXIE_75, HIXIE_76, bridge, gate, gate_with, milliseconds, receive_whole,
    receive_whole_at_client,
};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, clear};
use crate::support::peer::{BINARY, CLOSE, PING, Peer, RFC, Speaks, TEXT, frame, request, said};
use crate::support::program::{HEIRLOOM, Program};
use crate::support::sockets::{socket, sockets};

/// Octets that the system holds for the sockets of this port: unsent, unread.
pub(crate) fn in_the_system(port: u16) -> usize {
    let all = sockets().into_iter();
    let own = all.filter(|socket| [socket.local, socket.remote].contains(&port));
    own.map(|socket| socket.unacknowledged + socket.unread)
        .sum()
}

/// Writes until nothing is taken any more, while `meanwhile` goes on; gives how
/// many octets were taken. The gateway has no more to do then.
pub(crate) fn write_until_stuck(
    gate: &Gate,
    peer: &Peer,
    octets: &[u8],
    mut meanwhile: impl FnMut(),
) -> usize {
    let mut stream = peer.stream();
    stream.set_nonblocking(true).unwrap();
    let (mut written, mut stuck, mut rests) = (0, Instant::now(), false);
    loop {
        match stream.write(&octets[written % octets.len()..]) {
            Ok(n) => {
                written += n;
                (stuck, rests) = (Instant::now(), false);
                assert!(written < 64 << 20, "it takes all there is");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                if rests {
                    break;
                }
                meanwhile();
                // TCP asks again after less than this whether there is room.
                if stuck.elapsed() >= milliseconds(400) {
                    gate.await_rest();
                    rests = true;
                }
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
    written
}

/// The most that the gateway may hold of a pair.
pub(crate) const PAIR: usize = 1 << 20;

#[test]
fn a_client_that_does_not_read_stops_its_backend_only() {
    for speaks in [HIXIE_76, RFC] {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let (mut other, mut other_served) = bridge(&gate, &backend, RFC);
        let mut client = Peer::connect_narrow(gate.address);
        client.send(&request(speaks, "/"));
        let served = backend.open();
        client.agree(speaks);
        let message = clear(TEXT, &[b'x'; 10_000]);
        let written = write_until_stuck(&gate, &served, &message, || {
            other.send_text("and we");
            assert_eq!(other_served.receive_text(), "and we");
            other_served.send_text("go on");
            assert_eq!(other.receive_text(), "go on");
        });
        let ports = [served.stream().peer_addr(), client.stream().local_addr()];
        let system: usize = ports.map(|a| in_the_system(a.unwrap().port())).iter().sum();
        let held = written.saturating_sub(system);
        assert!(held < PAIR, "{speaks:?}: {held} octets are held");
        assert!(
            held > 100_000,
            "{speaks:?}: nothing is held: {written} less {system}"
        );
        // All of it is there when it reads again.
        for _ in 0..written / message.len() {
            assert_eq!(receive_whole_at_client(&mut client).len(), 10_000);
        }
    }
}

#[test]
fn a_backend_that_does_not_read_stops_its_client_only() {
    for speaks in [HIXIE_76, RFC] {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let (mut other, mut other_served) = bridge(&gate, &backend, RFC);
        let (client, mut served) = bridge(&gate, &backend, speaks);
        let message = said(speaks, &"x".repeat(10_000));
        let written = write_until_stuck(&gate, &client, &message, || {
            other.send_text("and we");
            assert_eq!(other_served.receive_text(), "and we");
        });
        let ports = [served.stream().peer_addr(), client.stream().local_addr()];
        let system: usize = ports.map(|a| in_the_system(a.unwrap().port())).iter().sum();
        let held = written.saturating_sub(system);
        assert!(held < PAIR, "{speaks:?}: {held} octets are held");
        for _ in 0..written / message.len() {
            assert_eq!(receive_whole(&mut served).len(), 10_000);
        }
    }
}

#[test]
fn messages_that_grow_on_the_way_are_held_within_the_same_bound() {
    // An empty hixie text has two octets, its frame for the backend six; what
    // is not UTF-8 becomes three octets for each.
    let bad = [&[0][..], &[0x80; 5000], &[0xff]].concat();
    for octets in [[0, 0xff].repeat(5000), bad] {
        let backend = Backend::listen();
        let gate = gate(&backend);
        let (client, served) = bridge(&gate, &backend, HIXIE_76);
        let written = write_until_stuck(&gate, &client, &octets, || ());
        let from = client.stream().local_addr().unwrap().port();
        let unread = in_the_system(from);
        let port = served.stream().peer_addr().unwrap().port();
        let said = in_the_system(port);
        // At most three octets were said for each that was read.
        let held = ((written - unread) * 3).saturating_sub(said);
        assert!(held < PAIR, "{held} octets are held");
    }
}

#[test]
fn a_peer_that_asks_for_pongs_and_reads_none_is_not_read_for_ever() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (_client, served) = bridge(&gate, &backend, HIXIE_76);
    // The pongs are ours: a hixie client has none.
    let written = write_until_stuck(&gate, &served, &clear(PING, &[7; 125]), || ());
    let port = served.stream().peer_addr().unwrap().port();
    // Each octet that was taken became an answer of as many, and more.
    let held = (2 * written).saturating_sub(in_the_system(port));
    assert!(written < 32 << 20, "{written}");
    assert!(held > 0);
}

#[test]
fn a_reader_that_never_takes_anything_is_ended_and_so_is_its_partner() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.write_ms = 600);
    let mut client = Peer::connect_narrow(gate.address);
    client.send(&request(RFC, "/"));
    let mut served = backend.open();
    client.agree(RFC);
    served.stream().set_nonblocking(true).unwrap();
    let message = clear(BINARY, &[7; 60_000]);
    let begin = Instant::now();
    // Until it is reset, or its close has arrived.
    loop {
        assert!(begin.elapsed() < PATIENCE, "it is never ended");
        match served.stream().write(&message) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => break,
            _ => {}
        }
        let mut octet = [0];
        if matches!(served.stream().peek(&mut octet), Ok(1)) {
            break;
        }
        std::thread::yield_now();
    }
    served.stream().set_nonblocking(false).unwrap();
    assert!(begin.elapsed() >= milliseconds(500));
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Client, "write-timeout"));
    client.is_cut_off();
    served.is_cut_off();
}

#[test]
fn while_bridges_hold_the_memory_a_new_client_gets_503_and_the_others_go_on() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.memory_bytes = 512 * 1024);
    let (mut other, mut other_served) = bridge(&gate, &backend, RFC);
    let mut pairs: Vec<(Peer, Served, usize)> = Vec::new();
    for speaks in [RFC, HIXIE_76, RFC, RFC] {
        let (client, served) = bridge(&gate, &backend, speaks);
        pairs.push((client, served, 0));
    }
    for (client, _, sent) in &mut pairs {
        let message = said(client.speaks(), &"x".repeat(10_000));
        *sent = write_until_stuck(&gate, client, &message, || {
            other.send_text("and we");
            assert_eq!(other_served.receive_text(), "and we");
        }) / message.len();
    }
    let mut late = Peer::connect(gate.address);
    late.send(&request(RFC, "/"));
    let (head, body) = late.response();
    assert_eq!(head.status(), 503);
    assert!(body.starts_with("out-of-memory: "), "{body}");
    // All at once: each waits for the memory that the others hold.
    std::thread::scope(|scope| {
        for (_, served, sent) in &mut pairs {
            scope.spawn(move || {
                for _ in 0..*sent {
                    assert_eq!(receive_whole(served).len(), 10_000);
                }
            });
        }
    });
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "memory does not return");
        let mut late = Peer::connect(gate.address);
        late.send(&request(RFC, "/"));
        // It is refused, or its backend is asked.
        while !late.has_received() {
            if let Some(mut served) = backend.accept_now() {
                served.agree_to(&[]);
                return late.agree(RFC);
            }
            std::thread::yield_now();
        }
    }
}

// All at once.

/// Descriptors that a process has open.
fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// How many clients this process may have with a backend's end for each; more
/// descriptors are asked for first.
fn clients(wanted: usize) -> usize {
    let id = std::process::id().to_string();
    // Where there is no prlimit, what there is must do.
    let _ = Command::new("prlimit")
        .args(["--pid", &id, "--nofile=4096:"])
        .output();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3).unwrap().parse();
    let most = soft.map_or(wanted, |soft: usize| soft.saturating_sub(300) / 2);
    assert!(most >= 200, "too few descriptors to test anything");
    wanted.min(most)
}

/// The built program, in front of this backend; all versions are on.
fn program(mut heirloom: Command, backend: &Backend, args: &[&str]) -> Program {
    let url = backend.url();
    let all = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--versions",
        "all",
        "--to",
        &url,
    ];
    Program::start(heirloom.args(all).args(args))
}

#[test]
fn a_backend_killed_in_the_middle_of_its_messages_ends_500_clients_properly() {
    let backend = Backend::listen();
    let count = clients(500);
    let mut roomy = Command::new("sh");
    roomy.args(["-c", "ulimit -n 4096; exec \"$@\"", "sh", HEIRLOOM]);
    // Nobody is to wait for it.
    let gateway = program(roomy, &backend, &["--close-timeout-ms", "10min"]);
    let before = descriptors(gateway.id());
    let mut pairs: Vec<(Speaks, Peer, Served)> = (0..count)
        .map(|n| {
            let speaks = ALL[n % ALL.len()];
            let mut client = Peer::connect(gateway.address);
            client.send(&request(speaks, "/"));
            let served = backend.open();
            client.agree(speaks);
            (speaks, client, served)
        })
        .collect();
    assert!(descriptors(gateway.id()) >= before + 2 * count);
    for (n, (speaks, client, served)) in pairs.iter_mut().enumerate() {
        // Some say half a message too, and of some the half is a whole frame's
        // begin.
        if n % 3 == 0 {
            match speaks {
                Speaks::Number(_) => client.send(&frame(0x01, b"mine")),
                _ => client.send(b"\0mine"),
            }
        }
        served.send_text("whole");
        if n % 2 == 0 {
            served.send(&clear(0x01, b"half"));
        } else {
            served.send(&clear(TEXT, b"halfhalf")[..2 + 4]);
        }
        assert_eq!(client.receive_text(), "whole");
        let half = match speaks {
            Speaks::Number(_) => {
                let start = client.exactly(2);
                let want = if n % 2 == 0 { [0x01, 4] } else { [TEXT, 8] };
                assert_eq!(start, want, "{speaks:?}");
                client.exactly(4)
            }
            _ => {
                assert_eq!(client.exactly(1), [0]);
                client.exactly(4)
            }
        };
        assert_eq!(half, b"half");
    }
    let mut ends = Vec::new();
    for (speaks, client, served) in pairs {
        served.reset();
        ends.push((speaks, client));
    }
    for (n, (speaks, client)) in ends.iter_mut().enumerate() {
        match *speaks {
            // Nothing that would make a half whole, nothing behind it.
            HIXIE_75 | HIXIE_76 => {}
            // A close would be payload of the frame.
            _ if n % 2 == 1 => {}
            RFC => drop(client.close_frame(1014)),
            Speaks::Number(_) => drop(client.close_frame(1001)),
        }
        if let (Speaks::Number(_), 0) = (&speaks, n % 2) {
            client.send(&frame(CLOSE, &[0x03, 0xe9]));
        }
        client.ends();
    }
    drop(ends);
    let until = Instant::now() + PATIENCE;
    while descriptors(gateway.id()) > before {
        assert!(Instant::now() < until, "descriptors do not come back");
        std::thread::yield_now();
    }
    // And it goes on.
    let mut client = Peer::connect(gateway.address);
    client.send(&request(RFC, "/"));
    let _served = backend.open();
    client.agree(RFC);
}

#[test]
fn many_that_come_and_go_leave_no_descriptor_behind() {
    let backend = Backend::listen();
    let gateway = program(Command::new(HEIRLOOM), &backend, &[]);
    let before = descriptors(gateway.id());
    for n in 0..200 {
        let speaks = ALL[n % ALL.len()];
        let whole = request(speaks, "/");
        let mut client = Peer::connect(gateway.address);
        if n % 4 == 0 {
            // No backend is dialled for half a head.
            client.send(&whole[..30]);
            client.reset();
            continue;
        }
        client.send(&whole);
        let mut served = backend.accept();
        match n % 4 {
            1 => client.reset(),
            2 => {
                served.send(b"HTTP/1.1 404 No\r\n\r\n");
                assert_eq!(client.response().0.status(), 404);
            }
            _ => {
                served.agree_to(&[]);
                client.agree(speaks);
                served.reset();
            }
        }
    }
    let until = Instant::now() + PATIENCE;
    while descriptors(gateway.id()) > before {
        assert!(Instant::now() < until, "descriptors do not come back");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_client_says_after_its_backend_is_gone_is_not_kept() {
    let backend = Backend::listen();
    let program = program(Command::new(HEIRLOOM), &backend, &[]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Peer::connect(program.address);
        client.send(&request(RFC, "/"));
        let served = backend.open();
        client.agree(RFC);
        served.reset();
        client.close_frame(1014);
        clients.push(client);
    }
    let before = resident(program.id());
    // 4 MiB each that never end, in place of the close.
    let mut head = vec![BINARY, 0x80 | 127];
    head.extend((8u64 << 20).to_be_bytes());
    head.extend([0; 4]);
    for client in &mut clients {
        client.send(&head);
        client.send(&vec![0; 4 << 20]);
    }
    let more = resident(program.id()).saturating_sub(before);
    assert!(more < 16 << 20, "{more} octets more are held");
}

/// Octets of memory of this process.
fn resident(id: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn a_backend_that_lingers_keeps_the_place_of_its_client() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.settings.connections = 2);
    let mut lingering = Vec::new();
    for _ in 0..2 {
        let (client, served) = bridge(&gate, &backend, RFC);
        client.reset();
        assert_eq!(gate.seen().what, "reset");
        // It is told 1001 and does not answer.
        lingering.push(served);
    }
    let mut third = Peer::connect(gate.address);
    third.send(&request(RFC, "/"));
    assert_eq!(third.response().0.status(), 503);
    drop(lingering);
}

/// Octets that this end has written and the system has not handed over.
fn not_handed_over(peer: &Peer) -> usize {
    let (own, other) = (peer.stream().local_addr(), peer.stream().peer_addr());
    let open = socket(own.unwrap().port(), other.unwrap().port());
    open.expect("the connection is open").unacknowledged
}

#[test]
fn what_a_backend_said_before_it_broke_off_still_reaches_a_slow_client() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.config.limits.message_bytes = 1 << 32;
    });
    let mut client = Peer::connect_narrow(gate.address);
    client.send(&request(RFC, "/"));
    let served = backend.open();
    client.agree(RFC);
    // One message without an end, so that every octet behind its head is payload.
    let mut head = vec![BINARY, 127];
    head.extend((1u64 << 30).to_be_bytes());
    served.stream().write_all(&head).unwrap();
    let written = write_until_stuck(&gate, &served, &[7; 10_000], || {});
    let arrived = written - not_handed_over(&served);
    served.reset();
    // The frame is never whole, so no close stands behind its payload.
    assert_eq!(client.exactly(head.len()), head);
    assert_eq!(client.rest().len(), arrived);
}
