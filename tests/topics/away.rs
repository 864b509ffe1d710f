//! The broker is away: members of one process are served on, and all of them once
//! it is back.

use std::time::{Duration, Instant};

use crate::rooms::{member, sharing};
use crate::support::peer::{Peer, RFC, Speaks};
use crate::support::program::Program;
use crate::support::redis::Redis;

/// Texts reach the other process, by now or soon.
fn reaches(from: &mut Peer, to: &mut Peer) {
    let text = "do you hear me?";
    from.send_text(text);
    assert_eq!(to.receive_text(), text);
}

/// Ends a server, which does not tell this again.
fn tells_no_more(server: Program, word: &str) {
    server.signal("TERM");
    let (_, ended) = server.wait();
    assert!(
        !ended.talk.contains(word),
        "it is told again: {}",
        ended.talk
    );
}

#[test]
fn a_broker_that_is_killed_is_told_once_and_found_again() {
    let mut redis = Redis::start();
    let servers = [sharing(&redis), sharing(&redis)];
    let mut here = [RFC, Speaks::Hixie76].map(|speaks| member(servers[0].address, speaks));
    let mut there = member(servers[1].address, RFC);
    let [one, two] = &mut here;
    reaches(one, &mut there);
    assert_eq!(two.receive_text(), "do you hear me?");
    redis.kill();
    for server in &servers {
        server.await_talk("is away");
    }
    // More than the first waits.
    for n in 0..20 {
        one.send_text(&n.to_string());
        assert_eq!(two.receive_text(), n.to_string());
    }
    redis.start_again();
    for server in &servers {
        server.await_talk("is back");
    }
    reaches(one, &mut there);
    drop(here);
    drop(there);
    for server in servers {
        tells_no_more(server, "is away");
    }
}

#[test]
fn a_server_starts_without_its_broker() {
    let later = Redis::later();
    let url = format!("redis://127.0.0.1:{}", later.port);
    let server = Program::serve(&["--topics", &url]);
    let line = server.await_talk("is away");
    assert!(line.contains(&url) && line.contains("refused"), "{line}");
    let (mut one, mut two) = (member(server.address, RFC), member(server.address, RFC));
    reaches(&mut one, &mut two);
    let redis = later.start();
    server.await_talk("is back");
    let other = sharing(&redis);
    reaches(&mut one, &mut member(other.address, RFC));
}

#[test]
fn a_broker_that_hangs_slows_no_member_and_what_it_missed_is_counted() {
    let redis = Redis::start();
    let server = sharing(&redis);
    let (mut one, mut two) = (member(server.address, RFC), member(server.address, RFC));
    reaches(&mut one, &mut two);
    redis.signal("STOP");
    // Far more than what may wait for the broker.
    let text = "t".repeat(64 * 1024);
    let mut slowest = Duration::ZERO;
    for _ in 0..1_000 {
        let start = Instant::now();
        one.send_text(&text);
        assert_eq!(two.receive_text(), text);
        slowest = slowest.max(start.elapsed());
    }
    // What waits for the broker waits for so long.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let told = server.await_long_talk("is away", Duration::from_secs(20));
    assert!(told.contains("does not answer"), "{told}");
    redis.signal("CONT");
    let told = server.await_long_talk("is back", Duration::from_secs(20));
    let lost = told.split("; ").last().unwrap();
    let lost: u32 = lost.split(' ').next().unwrap().parse().expect("a number");
    assert!(lost > 500, "{told}");
    let other = sharing(&redis);
    let mut late = member(other.address, RFC);
    one.send_text("do you hear me?");
    // On a slow machine texts have waited for the broker to come back.
    while late.receive_text() != "do you hear me?" {}
}
