//! Topics: `/chat` of `serve`.

use std::io::Write;
use std::thread;
use std::time::Instant;

use heirloom::{Config, Versions};

use crate::failing::held;
use crate::support::PATIENCE;
use crate::support::peer::{BINARY, Peer, RFC, Speaks, frame, said};
use crate::support::server::{Running, setup};
use crate::{HIXIE_76, milliseconds};

#[test]
fn the_room_carries_text_from_any_version_to_all_others() {
    let server = Running::serve_on(2, setup(|s| s.config.versions = Versions::ALL));
    let versions = [
        Speaks::Hixie75,
        HIXIE_76,
        Speaks::Number(7),
        Speaks::Number(8),
        RFC,
    ];
    // So many that both workers have some.
    let mut members: Vec<Peer> = (0..20)
        .map(|n| Peer::open(server.address, versions[n % versions.len()], "/chat"))
        .collect();
    let mut outside = Peer::open(server.address, RFC, "/");
    for n in 0..members.len() {
        let text = format!("grüße von {n} 😀");
        members[n].send_text(&text);
        for (m, member) in members.iter_mut().enumerate() {
            if m != n {
                assert_eq!(member.receive_text(), text, "{m} hears {n}");
            }
        }
    }
    // A text of its own would arrive before its close.
    outside.echo("not in the room");
    for member in &mut members {
        member.close();
    }
}

#[test]
fn the_room_keeps_the_order_of_each_sender() {
    let server = Running::serve_on(2, Config::default());
    let mut listeners: Vec<Peer> = (0..8)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    let senders: Vec<_> = (0..4)
        .map(|s| {
            let mut sender = Peer::open(server.address, [HIXIE_76, RFC][s % 2], "/chat");
            thread::spawn(move || {
                for n in 0..500 {
                    sender.send_text(&format!("{s} {n}"));
                }
                sender
            })
        })
        .collect();
    for listener in &mut listeners {
        let mut next = [0; 4];
        for _ in 0..4 * 500 {
            let text = listener.receive_text();
            let (s, n) = text.split_once(' ').unwrap();
            let (s, n): (usize, u32) = (s.parse().unwrap(), n.parse().unwrap());
            assert_eq!(n, next[s], "of sender {s}");
            next[s] += 1;
        }
    }
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn a_client_that_leaves_a_topic_receives_no_more_of_it_and_the_others_stay() {
    let server = Running::serve_on(2, Config::default());
    let mut members: Vec<Peer> = (0..6)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    while members.len() > 1 {
        let mut leaver = members.pop().unwrap();
        leaver.close();
        members[0].send_text("who is left?");
        for member in &mut members[1..] {
            assert_eq!(member.receive_text(), "who is left?");
        }
    }
}

#[test]
fn binary_is_not_for_the_room() {
    let server = Running::serve(Config::default());
    let mut member = Peer::open(server.address, HIXIE_76, "/chat");
    let mut peer = Peer::open(server.address, RFC, "/chat");
    peer.send(&frame(BINARY, b"\0\xff"));
    peer.close_frame(1003);
    peer.ends();
    let mut other = Peer::open(server.address, RFC, "/chat");
    other.send_text("text");
    assert_eq!(member.receive_text(), "text");
}

#[test]
fn a_member_that_does_not_read_is_dropped_and_the_rest_never_wait() {
    let server = Running::serve_on(2, setup(|s| s.settings.output_bytes = 256 * 1024));
    let mut sender = Peer::open(server.address, RFC, "/chat");
    let mut members: Vec<Peer> = (0..4)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    let mut sluggard = Peer::connect_narrow(server.address);
    sluggard.upgrade(RFC, "/chat");
    // More than the system and the server hold for one who does not read.
    let rounds = 200;
    let text = "t".repeat(64 * 1024);
    for _ in 0..rounds {
        sender.send_text(&text);
        for member in &mut members {
            assert!(member.receive_text() == text);
        }
    }
    // What the system holds still comes, and then the end.
    let octets = sluggard.rest();
    assert!(octets.len() < rounds * text.len(), "it is never dropped");
    sender.send_text("he is gone");
    for member in &mut members {
        assert_eq!(member.receive_text(), "he is gone");
    }
}

#[test]
fn many_that_publish_at_once_are_received_whole() {
    // All publish at once, faster than mailboxes take: senders are read
    // less, and nothing is lost.
    let server = Running::serve_on(2, Config::default());
    let members: Vec<Peer> = (0..8)
        .map(|n| Peer::open(server.address, [HIXIE_76, RFC][n % 2], "/chat"))
        .collect();
    let each = 400;
    let threads: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            thread::spawn(move || {
                let speaks = member.speaks();
                let all: Vec<u8> = (0..each).flat_map(|_| said(speaks, "me!")).collect();
                member.send(&all);
                for _ in 0..7 * each {
                    assert_eq!(member.receive_text(), "me!");
                }
                member
            })
        })
        .collect();
    // All stay until all have received everything, and each one is still subscribed.
    let mut members: Vec<Peer> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    for n in 0..members.len() {
        members[n].send_text("and me?");
        for (_, member) in members.iter_mut().enumerate().filter(|(m, _)| *m != n) {
            assert_eq!(member.receive_text(), "and me?");
        }
    }
}

#[test]
fn a_subscriber_that_reads_is_not_dropped_however_much_all_publish_at_once() {
    let server = Running::serve(Config::default());
    let peers: Vec<Peer> = (0..24)
        .map(|_| Peer::open(server.address, RFC, "/chat"))
        .collect();
    let text = "x".repeat(65_000);
    // All are in the room before anyone speaks.
    thread::scope(|scope| {
        for mut peer in peers {
            let text = &text;
            scope.spawn(move || {
                peer.send_text(text);
                for _ in 1..24 {
                    assert_eq!(peer.receive_text().len(), text.len());
                }
            });
        }
    });
}

#[test]
fn a_client_that_publishes_faster_than_another_worker_takes_is_not_read_meanwhile() {
    let (server, is_held, let_go) = held(2);
    let mut peers: Vec<Peer> = (0..16)
        .map(|_| Peer::open(server.address, RFC, "/"))
        .collect();
    // One of the two stands still, and one of its clients knows where.
    let is_there = |peer: &mut Peer| {
        peer.send_text("hold");
        is_held.recv_timeout(milliseconds(300)).is_ok()
    };
    assert!(peers.iter_mut().any(is_there));
    // The other worker has some too.
    for peer in &mut peers {
        peer.send_text("is it you?");
    }
    let begin = Instant::now();
    let mut poster = loop {
        assert!(begin.elapsed() < PATIENCE, "both stand still");
        if let Some(n) = peers.iter().position(Peer::has_received) {
            break peers.swap_remove(n);
        }
        thread::yield_now();
    };
    drop(peers);
    assert_eq!(poster.receive_text(), "is it you?");
    let stream = poster.stream().try_clone().unwrap();
    stream.set_write_timeout(Some(milliseconds(300))).unwrap();
    let posts = said(RFC, "tell").repeat(10_000);
    let (mut taken, mut at) = (0, 0);
    while let Ok(n) = (&stream).write(&posts[at..]) {
        taken += n;
        at = (at + n) % posts.len();
        assert!(taken < 100 << 20, "all is taken and kept");
    }
    drop(let_go);
    // The two handles are one socket, with one time to wait.
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    poster.send(&posts[at..]);
    poster.echo("read again");
}
