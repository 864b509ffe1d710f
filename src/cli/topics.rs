//! Topics over several processes and machines: what is published here goes to a
//! broker, and what others publish there comes to the members here.
//!
//! Two threads do it, each with a connection of its own; no loop waits for them.
//! Delivery is at most once, as it is within one process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clap::Args;
use heirloom::net::{Router, Sender, Server, Tap};

use super::broker::{self, Broker, BrokerParser};
use super::topic_status::{Shared, Status};
use super::topics_in::Inward;
use super::topics_out::Outward;
use super::{Exit, complain};

/// Octets of texts that may wait for the broker.
const WAITING: usize = 8 * 1024 * 1024;
/// How long the last texts have at the end.
const LAST: Duration = Duration::from_secs(1);

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
            let were = match ignored {
                1 => "message of the broker was",
                _ => "messages of the broker were",
            };
            log::info!("{ignored} {were} ignored");
        }
    }
}
