//! Topics over several processes and machines: what is published here goes to a
//! broker, and what others publish there comes to the members here.
//!
//! Two threads do it, each with a connection of its own; no loop waits for them.
//! Delivery is at most once, as it is within one process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use heirloom::bytes::{Escaped, Random};
use heirloom::net::{RouteTable, Router, SendError, Sender, Server, SystemRandom, Tap, Tapped};
use redis::{Connection, Msg, Value};

use super::broker::{self, Broker, BrokerParser, PATIENCE, Sent};
use super::{Exit, complain};

/// Octets of texts that may wait for the broker.
const WAITING: usize = 8 * 1024 * 1024;
/// Octets, and texts, that are sent to the broker before its answers are read.
const SENT_OCTETS: usize = 256 * 1024;
const SENT_TEXTS: usize = 1024;
/// A connection that was silent for so long is asked whether it is alive.
const SILENCE: Duration = Duration::from_secs(5);
/// How often it is seen whether there are other topics.
const LOOK: Duration = Duration::from_secs(1);
/// The first wait before a broker is tried again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A connection that was as long there was good: the next wait is the first again.
const GOOD: Duration = Duration::from_secs(10);
/// How long a text of the broker waits for room in the mailbox of the server.
const ROOM: Duration = Duration::from_secs(1);
/// How long the last texts have at the end.
const LAST: Duration = Duration::from_secs(1);
/// How often lost texts are told of.
const TELL_LOST: Duration = Duration::from_secs(10);

/// Which broker the topics are shared over.
#[derive(Clone, Debug, Args)]
pub(super) struct TopicsArgs {
    /// Share topics, such as /chat, with other processes and machines over a Redis or Valkey server:
    /// redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS. Each text is delivered at
    /// most once. While the broker is away, members here are served on. Every user of the machine
    /// can see a password on the command line.
    #[arg(long, value_name = "URL", value_parser = BrokerParser, help_heading = "Topics")]
    topics: Option<Broker>,
}

impl TopicsArgs {
    /// Carries what is published on this server to the broker, and back, as soon as
    /// the broker can be reached.
    pub(super) fn carry(
        &self,
        server: Server,
        router: &Router,
    ) -> Result<(Server, Option<Carrier>), Exit> {
        let Some(broker) = &self.topics else {
            return Ok((server, None));
        };
        if router.table().topics().is_empty() {
            log::warn!("--topics is given, and no route leads to a topic");
        }
        let tap = Tap::new(WAITING);
        let shared = Arc::new(Shared {
            broker: broker.clone(),
            origin: broker::origin(),
            status: Mutex::new(Status::new(broker.to_string())),
            ignored: AtomicU64::new(0),
        });
        let carrier = Carrier::start(&shared, &tap, server.sender(), router);
        let carrier = carrier.map_err(|error| {
            complain(&format!("cannot start a thread for --topics: {error}"));
            Exit::Unreachable
        })?;
        Ok((server.with_tap(tap), Some(carrier)))
    }
}

/// The two threads.
#[derive(Debug)]
pub(super) struct Carrier {
    shared: Arc<Shared>,
    tap: Tap,
    /// Ends when the last text was sent.
    sent: Receiver<()>,
}

impl Carrier {
    fn start(
        shared: &Arc<Shared>,
        tap: &Tap,
        sender: Sender,
        router: &Router,
    ) -> std::io::Result<Carrier> {
        let (ends, sent) = channel::<()>();
        let out = Outward {
            shared: Arc::clone(shared),
            tap: tap.clone(),
        };
        thread::Builder::new()
            .name("topics-out".to_owned())
            .spawn(move || {
                out.run();
                drop(ends);
            })?;
        let inward = Inward {
            shared: Arc::clone(shared),
            sender,
            router: router.clone(),
        };
        thread::Builder::new()
            .name("topics-in".to_owned())
            .spawn(move || inward.run())?;
        Ok(Carrier {
            shared: Arc::clone(shared),
            tap: tap.clone(),
            sent,
        })
    }

    /// Waits until the last texts are at the broker, but not for long.
    pub(super) fn finish(self) {
        self.tap.close();
        // It ends by an error: nothing is ever sent.
        let _ = self.sent.recv_timeout(LAST);
        let ignored = self.shared.ignored.load(Ordering::Relaxed);
        if ignored > 0 {
            log::info!("{ignored} messages of the broker were ignored");
        }
    }
}

/// What both threads use.
#[derive(Debug)]
struct Shared {
    broker: Broker,
    /// The name of this process.
    origin: String,
    status: Mutex<Status>,
    /// Messages of the broker that were no texts for here.
    ignored: AtomicU64,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        // Its parts are set one by one, and each is right by itself.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of the first message that is ignored, and counts all.
    fn ignore(&self, channel: &str, why: &str) {
        if self.ignored.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!(
                "a message on channel {} of the broker is ignored: {why}; others are only counted",
                Escaped::<200>(channel)
            );
        }
    }
}

/// Which of the two connections.
#[derive(Clone, Copy, Debug)]
enum Way {
    Out,
    In,
}

/// How the broker is, as it is told.
#[derive(Debug)]
struct Status {
    place: String,
    out_is_up: bool,
    in_is_up: bool,
    /// It was told that the broker is away, and has been since then.
    away: Option<Instant>,
    /// It has been there before.
    was_up: bool,
    /// Texts that were not told of yet.
    lost: u64,
    /// When lost texts were told of.
    told_lost: Option<Instant>,
    /// It was told that the broker refuses texts.
    told_refused: bool,
}

impl Status {
    fn new(place: String) -> Status {
        Status {
            place,
            out_is_up: false,
            in_is_up: false,
            away: None,
            was_up: false,
            lost: 0,
            told_lost: None,
            told_refused: false,
        }
    }

    fn set(&mut self, way: Way, is_up: bool) {
        match way {
            Way::Out => self.out_is_up = is_up,
            Way::In => self.in_is_up = is_up,
        }
    }

    /// A connection is there. Tells when both are.
    fn up(&mut self, way: Way) {
        self.set(way, true);
        if !self.out_is_up || !self.in_is_up {
            return;
        }
        let place = &self.place;
        if let Some(since) = self.away.take() {
            let seconds = since.elapsed().as_secs();
            let lost = std::mem::take(&mut self.lost);
            log::warn!(
                "the broker {place} is back after {seconds} s; {lost} texts from here did not \
                 reach it"
            );
        } else if !self.was_up {
            log::info!("topics are shared over {place}");
        }
        self.was_up = true;
    }

    /// A connection is not there. It is told once.
    fn down(&mut self, way: Way, why: &str) {
        self.set(way, false);
        if self.away.is_none() {
            self.away = Some(Instant::now());
            log::warn!(
                "the broker {} is away: {why}; members here are served on, and nothing goes to \
                 other processes or comes from them until it is back",
                self.place
            );
        } else {
            log::debug!("the broker {} is still away: {why}", self.place);
        }
    }

    /// Texts do not reach the broker. While it is away they are told of when it is
    /// back.
    fn lose(&mut self, texts: u64) {
        self.lost = self.lost.saturating_add(texts);
        let told = self
            .told_lost
            .is_some_and(|told| told.elapsed() < TELL_LOST);
        if self.lost > 0 && self.away.is_none() && !told {
            self.told_lost = Some(Instant::now());
            let lost = std::mem::take(&mut self.lost);
            log::warn!(
                "{lost} texts from here did not reach the broker {}: more are published than it \
                 takes",
                self.place
            );
        }
    }

    /// The broker does not take a text. It is told once.
    fn refuse(&mut self, why: &str) {
        if !std::mem::replace(&mut self.told_refused, true) {
            log::warn!(
                "the broker {} does not take what is published here: {why}",
                self.place
            );
        }
    }
}

/// How long to wait until a broker is tried again.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    tried: Instant,
}

impl Backoff {
    fn new() -> Backoff {
        Backoff {
            next: FIRST_WAIT,
            tried: Instant::now(),
        }
    }

    /// A connection is tried now.
    fn start(&mut self) {
        self.tried = Instant::now();
    }

    /// The next wait: twice the last one at most, and shortened by chance, so that
    /// not all processes come back at once.
    fn wait(&mut self) -> Duration {
        // To fail takes up to the patience with a connection, and with an answer.
        if self.tried.elapsed() > GOOD + PATIENCE {
            self.next = FIRST_WAIT;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        let mut chance = [0];
        SystemRandom.fill(&mut chance);
        wait / 2 + wait / 2 * u32::from(chance[0]) / 255
    }
}

/// The thread that publishes at the broker.
struct Outward {
    shared: Arc<Shared>,
    tap: Tap,
}

/// Commands that are sent together.
#[derive(Debug, Default)]
struct Commands {
    octets: Vec<u8>,
    texts: usize,
}

impl Outward {
    /// Runs until the tap is closed and empty.
    fn run(&self) {
        let mut backoff = Backoff::new();
        while !self.tap.is_over() {
            backoff.start();
            if let Err(why) = self.publish() {
                self.shared.status().down(Way::Out, &why);
                self.discard_for(backoff.wait());
            }
        }
    }

    /// Publishes over one connection until that breaks, or the tap is over.
    fn publish(&self) -> Result<(), String> {
        let mut connection = self.shared.broker.connect()?;
        broker::ping(&mut connection)?;
        self.shared.status().up(Way::Out);
        let mut commands = Commands::default();
        loop {
            let Some(tapped) = self.tap.wait(SILENCE) else {
                if self.tap.is_over() {
                    return Ok(());
                }
                broker::ping(&mut connection)?;
                continue;
            };
            let mut next = Some(tapped);
            while let Some(tapped) = next {
                self.add(&tapped, &mut commands, &mut connection)?;
                next = self.tap.wait(Duration::ZERO);
            }
            self.send(&mut commands, &mut connection)?;
            let lost = self.tap.take_lost();
            if lost > 0 {
                self.shared.status().lose(lost);
            }
        }
    }

    /// Adds texts, and sends whenever there are many.
    fn add(
        &self,
        tapped: &Tapped,
        commands: &mut Commands,
        connection: &mut Connection,
    ) -> Result<(), String> {
        let channel = broker::channel_of(tapped.topic());
        let mut texts = tapped.texts();
        for text in texts.by_ref() {
            broker::add_publish(&mut commands.octets, &channel, &self.shared.origin, text);
            commands.texts += 1;
            if commands.octets.len() >= SENT_OCTETS || commands.texts >= SENT_TEXTS {
                if let Err(why) = self.send(commands, connection) {
                    self.shared.status().lost += texts.count() as u64;
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    /// Sends what was added and reads the answers.
    fn send(&self, commands: &mut Commands, connection: &mut Connection) -> Result<(), String> {
        let Commands { octets, texts } = std::mem::take(commands);
        if texts == 0 {
            return Ok(());
        }
        let mut unanswered = texts as u64;
        let mut sent = connection.send_packed_command(&octets);
        while unanswered > 0 && sent.is_ok() {
            match connection.recv_response() {
                Ok(Value::ServerError(error)) => {
                    let why = broker::told(&error.into());
                    self.shared.status().refuse(&why);
                }
                Ok(_) => {}
                Err(error) => {
                    sent = Err(error);
                    break;
                }
            }
            unanswered -= 1;
        }
        sent.map_err(|error| {
            self.shared.status().lost += unanswered;
            broker::told(&error)
        })
    }

    /// Takes what is published, and counts it as lost.
    fn discard_for(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut lost = self.tap.take_lost();
        while !self.tap.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(tapped) = self.tap.wait(left) {
                lost += tapped.texts().count() as u64;
            } else if left.is_zero() {
                break;
            }
        }
        self.shared.status().lost += lost;
    }
}

/// The thread that hears what others publish.
struct Inward {
    shared: Arc<Shared>,
    sender: Sender,
    router: Router,
}

/// The server has ended.
struct Ended;

/// The topics that were subscribed to.
struct Subscribed {
    table: Arc<RouteTable>,
    /// Each with the most octets of a text.
    topics: BTreeMap<String, u64>,
}

impl Subscribed {
    fn of(table: Arc<RouteTable>) -> Subscribed {
        let topics = table.topics().into_iter();
        let topics = topics.map(|(topic, most)| (topic.to_owned(), most));
        Subscribed {
            topics: topics.collect(),
            table,
        }
    }

    /// The channels of topics that `other` does not have.
    fn channels_beyond(&self, other: &Subscribed) -> Vec<String> {
        let topics = self.topics.keys();
        let beyond = topics.filter(|topic| !other.topics.contains_key(*topic));
        beyond.map(|topic| broker::channel_of(topic)).collect()
    }
}

impl Inward {
    /// Runs until the server has ended.
    fn run(&self) {
        let mut backoff = Backoff::new();
        loop {
            backoff.start();
            match self.hear() {
                Ok(Ended) => return,
                Err(why) => self.shared.status().down(Way::In, &why),
            }
            thread::sleep(backoff.wait());
        }
    }

    /// Hears over one connection until that breaks.
    fn hear(&self) -> Result<Ended, String> {
        let mut connection = self.shared.broker.connect()?;
        let mut subscribed = Subscribed::of(self.router.table());
        if self.subscribe(&mut connection, &subscribed)?.is_some() {
            return Ok(Ended);
        }
        self.shared.status().up(Way::In);
        let mut pubsub = connection.as_pubsub();
        let heard = self.hear_on(&mut pubsub, &mut subscribed);
        // It unsubscribes when it goes, and waits for the answer.
        let _ = pubsub.set_read_timeout(Some(Duration::from_millis(1)));
        heard
    }

    /// Subscribes to the first topics. The broker may refuse.
    fn subscribe(
        &self,
        connection: &mut Connection,
        subscribed: &Subscribed,
    ) -> Result<Option<Ended>, String> {
        let mut unanswered = subscribed.topics.len();
        if unanswered == 0 {
            return broker::ping(connection).map(|()| None);
        }
        let mut command = redis::cmd("SUBSCRIBE");
        for topic in subscribed.topics.keys() {
            command.arg(broker::channel_of(topic));
        }
        let sent = connection.send_packed_command(&command.get_packed_command());
        sent.map_err(|error| broker::told(&error))?;
        while unanswered > 0 {
            let answer = broker::refused(connection.recv_response())?;
            // Texts may come between the answers.
            match Msg::from_owned_value(answer) {
                Some(message) => {
                    if let Some(ended) = self.deliver(&message, subscribed) {
                        return Ok(Some(ended));
                    }
                }
                None => unanswered -= 1,
            }
        }
        Ok(None)
    }

    fn hear_on(
        &self,
        pubsub: &mut redis::PubSub<'_>,
        subscribed: &mut Subscribed,
    ) -> Result<Ended, String> {
        let told = |error| broker::told(&error);
        pubsub.set_read_timeout(Some(LOOK)).map_err(told)?;
        let (mut heard, mut looked) = (Instant::now(), Instant::now());
        loop {
            match pubsub.get_message() {
                Ok(message) => {
                    heard = Instant::now();
                    if let Some(ended) = self.deliver(&message, subscribed) {
                        return Ok(ended);
                    }
                }
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(broker::told(&error)),
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.follow_table(pubsub, subscribed).map_err(told)?;
            }
            if heard.elapsed() >= SILENCE {
                pubsub.set_read_timeout(Some(PATIENCE)).map_err(told)?;
                pubsub.ping::<Value>().map_err(told)?;
                pubsub.set_read_timeout(Some(LOOK)).map_err(told)?;
                heard = Instant::now();
            }
        }
    }

    /// Subscribes to the topics of the routes that are there now.
    fn follow_table(
        &self,
        pubsub: &mut redis::PubSub<'_>,
        subscribed: &mut Subscribed,
    ) -> redis::RedisResult<()> {
        let table = self.router.table();
        if Arc::ptr_eq(&table, &subscribed.table) {
            return Ok(());
        }
        let now = Subscribed::of(table);
        let (more, fewer) = (
            now.channels_beyond(subscribed),
            subscribed.channels_beyond(&now),
        );
        *subscribed = now;
        pubsub.set_read_timeout(Some(PATIENCE))?;
        if !more.is_empty() {
            pubsub.subscribe(more)?;
        }
        if !fewer.is_empty() {
            pubsub.unsubscribe(fewer)?;
        }
        pubsub.set_read_timeout(Some(LOOK))
    }

    /// Hands a text to the members here.
    fn deliver(&self, message: &Msg, subscribed: &Subscribed) -> Option<Ended> {
        let channel = message.get_channel_name();
        let payload = message.get_payload_bytes();
        let topic = broker::topic_of(channel);
        let found = topic.and_then(|topic| Some((topic, *subscribed.topics.get(topic)?)));
        let Some((topic, most)) = found else {
            // A topic that is gone since.
            return None;
        };
        let sent = match Sent::read(payload) {
            Ok(sent) => sent,
            Err(why) => {
                self.shared.ignore(channel, why);
                return None;
            }
        };
        if sent.origin == self.shared.origin {
            return None;
        }
        if sent.text.len() as u64 > most {
            self.shared
                .ignore(channel, "it is longer than --max-message-bytes");
            return None;
        }
        let until = Instant::now() + ROOM;
        loop {
            match self.sender.publish(topic, sent.text) {
                Ok(()) => return None,
                Err(SendError::Ended) => return Some(Ended),
                Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
                Err(_) => {
                    self.shared
                        .ignore(channel, "the members here do not keep up");
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..100).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= FIRST_WAIT / 2 && waits[0] <= FIRST_WAIT);
        assert!(waits.iter().all(|wait| *wait <= LONGEST_WAIT));
        let late = &waits[10..];
        assert!(late.iter().all(|wait| *wait >= LONGEST_WAIT / 2));
        assert!(
            late.iter().any(|wait| *wait != late[0]),
            "no chance is in it"
        );
    }
}
