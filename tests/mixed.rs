//! All versions at once, through one listener, in one room: nothing is lost,
//! nothing is crossed, nothing is damaged.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod support;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::conn::{Config, Event, Phase};
use heirloom::error::Violation;
use heirloom::frame::{Kind, Message};
use heirloom::handshake::ClientRequest;
use heirloom::message::Gather;
use heirloom::net::Url;
use heirloom::net::dial::{Connection, KeyBody, Progress};
use heirloom::version::{Closing, InvalidUtf8};
use heirloom::{VERSIONS, Version, Versions};

use support::server::{Running, config};

const CLIENTS_PER_VERSION: usize = 4;
const CLIENTS: usize = CLIENTS_PER_VERSION * VERSIONS.len();
const MESSAGES: usize = 60;
/// Octets over which a length takes eight octets more.
const LONG: usize = 70_000;
const TIME: Duration = Duration::from_secs(18);

/// Message `n` of a sender. All of them differ, and each can be told from its
/// first two words.
fn text(sender: usize, n: usize) -> String {
    let mut text = format!("{sender} {n} ");
    match n % 10 {
        1 => text.push_str("grüße 😀 𝕳𝖊𝖎𝖗𝖑𝖔𝖔𝖒 \u{10ffff}"),
        // Longer than a length of seven bits can say.
        4 => text.push_str(&"é".repeat(100 + sender)),
        7 => {
            let filler = format!("{sender}😀{n} ");
            text.push_str(&filler.repeat(LONG / filler.len()));
        }
        // Nothing but its name.
        8 => {}
        _ => text.push_str(&"x".repeat((sender * 7 + n * 13) % 126)),
    }
    text
}

/// Who is in the room, and what he has heard of each other.
struct Member {
    me: usize,
    version: &'static Version,
    client: Connection,
    gather: Gather,
    opened: bool,
    /// The number of the next message of each sender.
    next: Vec<usize>,
    heard: usize,
    close: bool,
    wrong: Option<String>,
}

impl Member {
    fn enter(me: usize, version: &'static Version, url: &Url, deadline: Instant) -> Member {
        let ask = ClientRequest {
            host: &url.host,
            target: &url.target,
            secure: false,
            origin: None,
            subprotocols: &[],
            headers: &[],
        };
        let config: Arc<Config> = Arc::default();
        let client = Connection::dial(url, version, &ask, KeyBody::WithHead, config, deadline);
        let mut member = Member {
            me,
            version,
            client: client.unwrap(),
            gather: Gather::default(),
            opened: false,
            next: vec![0; CLIENTS],
            heard: 0,
            close: false,
            wrong: None,
        };
        while !member.opened {
            let step = member.step(deadline);
            assert!(matches!(step, Progress::Transferred), "{version}: {step:?}");
        }
        member
    }

    fn step(&mut self, deadline: Instant) -> Progress {
        let mut heard = Vec::new();
        let mut listen = |event: Result<Event<'_>, Violation>| match event {
            Ok(Event::Open) => self.opened = true,
            Ok(Event::Piece(piece)) => {
                self.gather.add(&piece);
                if piece.last {
                    let mut gather = std::mem::take(&mut self.gather);
                    let message = gather.finish(self.version.invalid_utf8 == InvalidUtf8::Fail);
                    assert_eq!(message.kind(), Kind::Text);
                    heard.push(message.as_text().unwrap().to_owned());
                }
            }
            Ok(Event::Close(_)) => self.close = true,
            Ok(_) => {}
            Err(violation) => self.wrong = Some(violation.to_string()),
        };
        let step = self.client.step(Some(deadline), &mut (), &mut listen);
        if let Some(wrong) = &self.wrong {
            panic!("{} {}: {wrong}", self.version, self.me);
        }
        for text in heard {
            self.hear(&text);
        }
        step
    }

    /// It is the next message of another, to the letter.
    fn hear(&mut self, heard: &str) {
        let (me, version) = (self.me, self.version);
        let mut words = heard.split(' ');
        let mut word = || words.next().and_then(|word| word.parse::<usize>().ok());
        let (Some(sender), Some(n)) = (word(), word()) else {
            panic!("{version} {me} hears {:?}", heard.get(..100));
        };
        assert_ne!(sender, me, "{version} {me} hears its own message {n}");
        assert_eq!(n, self.next[sender], "{version} {me} hears {sender}");
        assert!(heard == text(sender, n), "{sender} {n} is damaged");
        self.next[sender] += 1;
        self.heard += 1;
    }

    /// Says all it has to say while it hears all there is to hear.
    fn talk(&mut self, deadline: Instant) {
        let mut said = 0;
        let all = (CLIENTS - 1) * MESSAGES;
        while said < MESSAGES || self.heard < all || !self.client.output().is_empty() {
            if said < MESSAGES && self.client.output().len() < 16 * 1024 {
                let text = text(self.me, said);
                self.client
                    .with_conn(|conn, out| conn.send(Message::text(&text), out))
                    .unwrap();
                said += 1;
            }
            // Who has more to say does not wait long for others.
            let soon = Instant::now() + Duration::from_millis(2);
            match self.step(deadline.min(soon)) {
                Progress::Transferred | Progress::Woken => {}
                Progress::TimedOut if Instant::now() < deadline => {}
                step => panic!(
                    "{} {}: {step:?} after {} of {all}",
                    self.version, self.me, self.heard
                ),
            }
        }
    }

    /// Says goodbye its own way; nothing comes before that of the server.
    fn leave(mut self, deadline: Instant) {
        let heard = self.heard;
        if self.version.closing == Closing::Hixie75 {
            self.client.shutdown().unwrap();
        } else {
            self.client.with_conn(|conn, out| conn.close(1000, "", out));
        }
        loop {
            match self.step(deadline) {
                Progress::Transferred => {}
                Progress::Ended(Ok(())) => break,
                step => panic!("{} {}: {step:?}", self.version, self.me),
            }
        }
        assert_eq!(self.heard, heard, "something comes twice");
        let silent = self.version.closing == Closing::Hixie75;
        assert_ne!(self.close, silent, "{}", self.version);
        assert_eq!(self.client.conn.phase(), Phase::Closed);
    }
}

#[test]
fn all_versions_at_once_hear_all_of_each_other_in_order_and_once() {
    let deadline = Instant::now() + TIME;
    let server = Running::serve_on(
        2,
        config(|config| {
            config.versions = Versions::ALL;
            // Who is slow on a busy machine is not dropped from the room.
            config.limits.output_bytes = 64 << 20;
        }),
    );
    let url: Url = format!("ws://{}/chat", server.address).parse().unwrap();
    let (all_in, all_heard) = (Barrier::new(CLIENTS), Barrier::new(CLIENTS));
    thread::scope(|scope| {
        for me in 0..CLIENTS {
            let version = &VERSIONS[me % VERSIONS.len()];
            let (url, all_in, all_heard) = (&url, &all_in, &all_heard);
            let run = move || {
                let mut member = caught(|| Member::enter(me, version, url, deadline));
                all_in.wait();
                let talked = caught(|| member.as_mut().map(|m| m.talk(deadline)));
                // Who leaves early would not hear what comes twice.
                all_heard.wait();
                let member = member.expect("it enters the room");
                talked.flatten().expect("it hears all");
                member.leave(deadline);
            };
            let name = format!("{version} {me}");
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, run)
                .unwrap();
        }
    });
    assert!(Instant::now() < deadline);
}

/// What fails in one thread must not leave the others at a barrier.
fn caught<R>(what: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).ok()
}
