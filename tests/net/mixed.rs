//! All versions at once, through one listener, in one room: nothing is lost,
//! nothing is swapped, nothing is damaged.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use heirloom::conn::Phase;
use heirloom::handshake::ClientRequest;
use heirloom::net::Url;
use heirloom::net::dial::{Connection, DialOptions, Progress};
use heirloom::version::Closing;
use heirloom::{Message, SessionEvent, VERSIONS, Version, Versions};

use crate::support::server::{Running, setup};

const CLIENTS_PER_VERSION: usize = 4;
/// Nine versions.
const CLIENTS: usize = CLIENTS_PER_VERSION * 9;
const MESSAGES: usize = 60;
/// Octets over which a length takes eight octets more.
const LONG: usize = 70_000;
const TIME: Duration = Duration::from_secs(60);

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

/// A client in the room, and what it has received of each other.
struct Member {
    me: usize,
    version: &'static Version,
    client: Connection,
    opened: bool,
    /// The number of the next message of each sender.
    next: Vec<usize>,
    received: usize,
    close: bool,
}

impl Member {
    fn enter(me: usize, version: &'static Version, url: &Url, deadline: Instant) -> Member {
        let request = ClientRequest::new(&url.host, &url.target);
        let client = Connection::dial(url, version, &request, DialOptions::default(), deadline);
        let mut member = Member {
            me,
            version,
            client: client.unwrap(),
            opened: false,
            next: vec![0; CLIENTS],
            received: 0,
            close: false,
        };
        while !member.opened {
            let step = member.step(deadline);
            assert!(matches!(step, Progress::Transferred), "{version}: {step:?}");
        }
        member
    }

    fn step(&mut self, deadline: Instant) -> Progress {
        let mut texts = Vec::new();
        let (me, version) = (self.me, self.version);
        let (opened, close) = (&mut self.opened, &mut self.close);
        let progress = self
            .client
            .step(Some(deadline), &mut (), &mut |event, _, _| match event {
                Ok(SessionEvent::Open) => *opened = true,
                Ok(SessionEvent::Message(message)) => {
                    texts.push(message.as_text().unwrap().to_owned());
                }
                Ok(SessionEvent::Close(_)) => *close = true,
                Ok(_) => {}
                Err(violation) => panic!("{version} {me}: {violation}"),
            });
        for text in texts {
            self.receive(&text);
        }
        progress
    }

    /// It is the next message of another, to the letter.
    fn receive(&mut self, received: &str) {
        let (me, version) = (self.me, self.version);
        let mut words = received.split(' ');
        let mut word = || words.next().and_then(|word| word.parse::<usize>().ok());
        let (Some(sender), Some(n)) = (word(), word()) else {
            panic!("{version} {me} receives {:?}", received.get(..100));
        };
        assert_ne!(sender, me, "{version} {me} receives its own message {n}");
        assert_eq!(n, self.next[sender], "{version} {me} receives {sender}");
        assert!(received == text(sender, n), "{sender} {n} is damaged");
        self.next[sender] += 1;
        self.received += 1;
    }

    /// Sends all its messages while it receives those of the others.
    fn exchange(&mut self, deadline: Instant) {
        let mut sent = 0;
        let all = (CLIENTS - 1) * MESSAGES;
        while sent < MESSAGES || self.received < all || !self.client.unsent().is_empty() {
            if sent < MESSAGES && self.client.unsent().len() < 16 * 1024 {
                let text = text(self.me, sent);
                self.client
                    .with_conn(|conn, out| conn.send(Message::text(&text), out))
                    .unwrap();
                sent += 1;
            }
            // While there is more to send it does not wait long for others.
            let soon = Instant::now() + Duration::from_millis(2);
            match self.step(deadline.min(soon)) {
                Progress::Transferred | Progress::Woken => {}
                Progress::TimedOut if Instant::now() < deadline => {}
                progress => panic!(
                    "{} {}: {progress:?} after {} of {all}",
                    self.version, self.me, self.received
                ),
            }
        }
    }

    /// Closes as its version does; no message arrives before the close of the
    /// server.
    fn leave(mut self, deadline: Instant) {
        let received = self.received;
        if self.version.closing == Closing::Hixie75 {
            self.client.shutdown().unwrap();
        } else {
            self.client.with_conn(|conn, out| conn.close(1000, "", out));
        }
        loop {
            match self.step(deadline) {
                Progress::Transferred => {}
                Progress::Ended(Ok(())) => break,
                progress => panic!("{} {}: {progress:?}", self.version, self.me),
            }
        }
        assert_eq!(self.received, received, "a message arrives twice");
        let without_close = self.version.closing == Closing::Hixie75;
        assert_ne!(self.close, without_close, "{}", self.version);
        assert_eq!(self.client.conn().phase(), Phase::Closed);
    }
}

#[test]
fn all_versions_at_once_receive_all_messages_in_order_and_once() {
    let deadline = Instant::now() + TIME;
    let server = Running::serve_on(
        2,
        setup(|setup| {
            setup.config.versions = Versions::ALL;
            // A client that is slow on a busy machine is not disconnected.
            setup.settings.output_bytes = 64 << 20;
        }),
    );
    let url: Url = format!("ws://{}/chat", server.address).parse().unwrap();
    let (all_in, all_received) = (Barrier::new(CLIENTS), Barrier::new(CLIENTS));
    thread::scope(|scope| {
        for me in 0..CLIENTS {
            let version = &VERSIONS[me % VERSIONS.len()];
            let (url, all_in, all_received) = (&url, &all_in, &all_received);
            let run = move || {
                let mut member = caught(|| Member::enter(me, version, url, deadline));
                all_in.wait();
                let done = caught(|| member.as_mut().map(|m| m.exchange(deadline)));
                // A client that left early would not see what arrives twice.
                all_received.wait();
                let member = member.expect("it enters the room");
                done.flatten().expect("it receives all");
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

/// A failure of one thread must not leave the others at a barrier.
fn caught<R>(what: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).ok()
}
