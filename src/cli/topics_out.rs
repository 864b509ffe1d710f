//! What is published here, on its way to the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heirloom::net::{Tap, Tapped};
use redis::{Connection, Value};

use super::broker::{self, SILENCE};
use super::topic_status::{Backoff, Shared, Way};

/// Octets, and texts, that are sent to the broker before its answers are read.
const SENT_OCTETS: usize = 256 * 1024;
const SENT_TEXTS: usize = 1024;
/// What the turns of the loops have published is sent together, up to so many.
const SENT_BATCHES: usize = 64;

/// The thread that publishes at the broker.
pub(super) struct Outward {
    pub(super) shared: Arc<Shared>,
    pub(super) tap: Tap,
}

/// Commands that are sent together.
#[derive(Debug, Default)]
struct Commands {
    octets: Vec<u8>,
    texts: usize,
}

impl Outward {
    /// Runs until the tap is closed and empty.
    pub(super) fn run(&self) {
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
            self.add(&tapped, &mut commands, &mut connection)?;
            // What waits already goes with it.
            for _ in 0..SENT_BATCHES {
                let Some(tapped) = self.tap.wait(Duration::ZERO) else {
                    break;
                };
                self.add(&tapped, &mut commands, &mut connection)?;
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
