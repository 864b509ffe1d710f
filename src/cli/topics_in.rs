//! What others publish at the broker, on its way to the members here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use heirloom::net::{RouteTable, Router, SendError, Sender};
use redis::{Connection, Msg, Value};

use super::broker::{self, PATIENCE, SILENCE, Sent};
use super::topic_status::{Backoff, Shared, Way};

/// How often it is seen whether there are other topics.
const LOOK: Duration = Duration::from_secs(1);
/// How long a text of the broker waits for room in the mailbox of the server.
const ROOM: Duration = Duration::from_secs(1);

/// The thread that receives what other processes publish.
pub(super) struct Inward {
    pub(super) shared: Arc<Shared>,
    pub(super) sender: Sender,
    pub(super) router: Router,
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
    pub(super) fn run(&self) {
        let mut backoff = Backoff::new();
        loop {
            backoff.start();
            match self.receive() {
                Ok(Ended) => return,
                Err(why) => self.shared.status().down(Way::In, &why),
            }
            thread::sleep(backoff.wait());
        }
    }

    /// Receives over one connection until that breaks.
    fn receive(&self) -> Result<Ended, String> {
        let mut connection = self.shared.broker.connect()?;
        let mut subscribed = Subscribed::of(self.router.table());
        if self.subscribe(&mut connection, &subscribed)?.is_some() {
            return Ok(Ended);
        }
        self.shared.status().up(Way::In);
        let mut pubsub = connection.as_pubsub();
        let ended = self.receive_on(&mut pubsub, &mut subscribed);
        // It unsubscribes when it goes, and waits for the answer.
        let _ = pubsub.set_read_timeout(Some(Duration::from_millis(1)));
        ended
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

    fn receive_on(
        &self,
        pubsub: &mut redis::PubSub<'_>,
        subscribed: &mut Subscribed,
    ) -> Result<Ended, String> {
        let told = |error| broker::told(&error);
        pubsub.set_read_timeout(Some(LOOK)).map_err(told)?;
        let (mut received, mut looked) = (Instant::now(), Instant::now());
        loop {
            match pubsub.get_message() {
                Ok(message) => {
                    received = Instant::now();
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
            if received.elapsed() >= SILENCE {
                pubsub.set_read_timeout(Some(PATIENCE)).map_err(told)?;
                pubsub.ping::<Value>().map_err(told)?;
                pubsub.set_read_timeout(Some(LOOK)).map_err(told)?;
                received = Instant::now();
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
    use heirloom::Config;
    use heirloom::net::{Destination, Route};

    use super::*;

    #[test]
    fn a_new_table_adds_its_topics_and_takes_the_others_away() {
        let subscribed = |topics: &[&str]| {
            let table = RouteTable::new(Config::default());
            let route = |topic| Route::exact(topic, Destination::topic(topic));
            let table = topics
                .iter()
                .map(|topic| route(topic))
                .fold(table, RouteTable::with);
            Subscribed::of(Arc::new(table))
        };
        let (old, new) = (subscribed(&["/a", "/b"]), subscribed(&["/b", "/c", "/d"]));
        assert_eq!(new.channels_beyond(&old), ["heirloom:/c", "heirloom:/d"]);
        assert_eq!(old.channels_beyond(&new), ["heirloom:/a"]);
    }
}
