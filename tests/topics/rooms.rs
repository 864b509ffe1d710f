//! Rooms that several processes share.

use std::net::{Shutdown, SocketAddr};
use std::thread;

use crate::support::peer::{Peer, RFC, Speaks};
use crate::support::program::Program;
use crate::support::redis::Redis;

const ALL: [Speaks; 5] = [
    Speaks::Hixie75,
    Speaks::Hixie76,
    Speaks::Number(7),
    Speaks::Number(8),
    RFC,
];

/// A server that shares its topics by now.
pub(crate) fn sharing(redis: &Redis) -> Program {
    let server = Program::serve(&["-v", "--versions", "all", "--topics", &redis.url()]);
    server.await_talk("topics are shared over redis://127.0.0.1:");
    server
}

pub(crate) fn member(address: SocketAddr, speaks: Speaks) -> Peer {
    Peer::open(address, speaks, "/chat")
}

#[test]
fn members_of_two_processes_hear_each_other_once_in_every_version() {
    let redis = Redis::start();
    let servers = [sharing(&redis), sharing(&redis)];
    let mut members: Vec<Peer> = (0..2 * ALL.len())
        .map(|n| member(servers[n % 2].address, ALL[n / 2]))
        .collect();
    for n in 0..members.len() {
        let text = format!("grüße von {n} 😀");
        members[n].send_text(&text);
        for (m, other) in members.iter_mut().enumerate() {
            if m != n {
                assert_eq!(other.receive_text(), text, "{m} hears {n}");
            }
        }
    }
    // A text that came twice would arrive before the close.
    for member in &mut members {
        member.close();
    }
}

#[test]
fn a_burst_keeps_the_order_of_each_sender_and_arrives_whole() {
    const TEXTS: u32 = 2_000;
    let redis = Redis::start();
    let servers = [sharing(&redis), sharing(&redis)];
    let mut listeners: Vec<Peer> = (0..4)
        .map(|n| member(servers[n % 2].address, ALL[n]))
        .collect();
    let senders: Vec<_> = (0..4)
        .map(|s| {
            let mut sender = member(servers[s % 2].address, ALL[s]);
            thread::spawn(move || {
                // They hear the others, and read that, so that they are not dropped.
                let mut hears = Peer::over(sender.stream().try_clone().unwrap());
                let reader = thread::spawn(move || hears.is_cut_off());
                for n in 0..TEXTS {
                    sender.send_text(&format!("{s} {n} {}", "x".repeat(100)));
                }
                (sender, reader)
            })
        })
        .collect();
    for listener in &mut listeners {
        let mut next = [0; 4];
        for _ in 0..4 * TEXTS {
            let text = listener.receive_text();
            let mut words = text.split(' ');
            let s: usize = words.next().unwrap().parse().unwrap();
            let n: u32 = words.next().unwrap().parse().unwrap();
            assert_eq!(n, next[s], "of sender {s}");
            next[s] += 1;
        }
    }
    for sender in senders {
        let (sender, reader) = sender.join().unwrap();
        sender.stream().shutdown(Shutdown::Both).unwrap();
        reader.join().unwrap();
    }
}

#[test]
fn the_last_texts_of_a_process_that_stops_arrive() {
    let redis = Redis::start();
    let (stays, stops) = (sharing(&redis), sharing(&redis));
    let mut listener = member(stays.address, RFC);
    let mut sender = member(stops.address, RFC);
    for n in 0..500 {
        sender.send_text(&n.to_string());
    }
    // Its echo on the other connection shows that what was sent before has arrived.
    let mut witness = member(stops.address, RFC);
    sender.send_text("last");
    while witness.receive_text() != "last" {}
    stops.signal("TERM");
    for n in 0..500 {
        assert_eq!(listener.receive_text(), n.to_string());
    }
    assert_eq!(listener.receive_text(), "last");
    let (status, _) = stops.wait();
    assert!(status.success());
}
