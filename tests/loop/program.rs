//! What needs the built program: its limits on descriptors, and its options.

use std::collections::VecDeque;
use std::fs;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use crate::milliseconds;
use crate::support::PATIENCE;
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::program::{HEIRLOOM, Program};

#[test]
fn a_version_that_is_off_is_told_the_option_that_turns_it_on() {
    let program = Program::serve(&[]);
    let cases = [
        (Speaks::Hixie75, "--versions +hixie-75"),
        (Speaks::Number(6), "--versions +hybi-06"),
    ];
    for (speaks, option) in cases {
        let mut peer = Peer::connect(program.address);
        peer.send(&request(speaks, "/"));
        let (head, body) = peer.response();
        assert_eq!(head.status(), 426);
        assert_eq!(head.header("Upgrade"), Some("websocket"));
        assert_eq!(head.header("Sec-WebSocket-Version"), Some("13, 8, 7"));
        assert!(body.starts_with("version-off: "), "{body}");
        assert!(body.contains(option), "{body}");
    }
}

/// Time on a processor that a process has used, in hundredths of a second.
fn ticks(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name may hold spaces; what follows its bracket does not.
    let after: Vec<&str> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
    after[12].parse::<u64>().unwrap() + after[13].parse::<u64>().unwrap()
}

/// More than it has descriptors for, and so many that it has enough for.
const CLIENTS: usize = 90;
const STAY: usize = 30;

#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_the_open_are_served_and_the_queued_when_some_leave() {
    let mut command = Command::new("prlimit");
    command.args(["--nofile=64:64", HEIRLOOM, "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    let program = Program::start(&mut command);
    let (tell, served) = channel();
    let (tell_of_connection, connected) = channel();
    for _ in 0..CLIENTS {
        let (address, tell) = (program.address, tell.clone());
        let tell_of_connection = tell_of_connection.clone();
        thread::spawn(move || {
            let mut peer = Peer::connect(address);
            // The queue of the system takes it, whether or not it is accepted.
            peer.send(&request(RFC, "/"));
            let _ = tell_of_connection.send(());
            peer.agree(RFC);
            let _ = tell.send(peer);
        });
    }
    drop(tell);
    // From here on no new client comes to wake the listener.
    for _ in 0..CLIENTS {
        connected.recv_timeout(PATIENCE).unwrap();
    }
    program.await_talk("cannot accept");
    // Fewer than it has descriptors for, since it needs some itself.
    let mut open: VecDeque<Peer> = VecDeque::new();
    while open.len() < STAY {
        open.push_back(served.recv_timeout(PATIENCE).unwrap());
    }
    while let Ok(peer) = served.recv_timeout(milliseconds(500)) {
        open.push_back(peer);
    }
    assert!(open.len() < 64, "{} are open", open.len());
    for peer in &mut open {
        peer.echo("still served");
    }
    let before = ticks(program.id());
    thread::sleep(milliseconds(1000));
    let used = ticks(program.id()) - before;
    assert!(used < 30, "it spins: {used} hundredths of a second");
    // Some were accepted whose response has not been read yet, so one leaves for each
    // that comes, and all come.
    for n in open.len()..CLIENTS {
        open.truncate(STAY);
        let peer = served.recv_timeout(PATIENCE);
        open.push_front(peer.unwrap_or_else(|_| panic!("{n} of {CLIENTS} clients are served")));
    }
    for peer in &mut open {
        peer.echo("served at last");
    }
}
