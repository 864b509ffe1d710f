//! What needs the built program: its limits on descriptors, and its options.

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

#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_the_open_are_served_and_the_queued_when_some_leave() {
    let mut command = Command::new("prlimit");
    command.args(["--nofile=64:64", HEIRLOOM, "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    let program = Program::start(&mut command);
    let (tell, served) = channel();
    for _ in 0..90 {
        let (address, tell) = (program.address, tell.clone());
        thread::spawn(move || {
            let mut peer = Peer::connect(address);
            // The queue of the system takes it, whether or not it is accepted.
            peer.send(&request(RFC, "/"));
            peer.agree(RFC);
            let _ = tell.send(peer);
        });
    }
    drop(tell);
    program.await_talk("cannot accept");
    let mut open = Vec::new();
    while let Ok(peer) = served.recv_timeout(milliseconds(500)) {
        open.push(peer);
    }
    assert!((30..64).contains(&open.len()), "{} are open", open.len());
    let queued = 90 - open.len();
    for peer in &mut open {
        peer.echo("still served");
    }
    let before = ticks(program.id());
    thread::sleep(milliseconds(1000));
    let used = ticks(program.id()) - before;
    assert!(used < 30, "it spins: {used} hundredths of a second");
    // No new client comes to wake the listener.
    open.truncate(open.len() - queued);
    for n in 0..queued {
        let peer = served.recv_timeout(PATIENCE);
        open.push(peer.unwrap_or_else(|_| panic!("{n} of {queued} queued clients are served")));
    }
    for peer in &mut open {
        peer.echo("served at last");
    }
}
