//! What the connections of a server publish, for one thread that carries it
//! elsewhere. The workers never wait for that thread: what does not fit is lost
//! and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::topic::Batch;

/// What a text counts beside its octets.
const TEXT: usize = 64;

/// A queue of what the connections of a server publish, for one thread that
/// carries it elsewhere. It holds texts of connections only: what comes from
/// elsewhere and is published by a [`Sender`](super::Sender) does not go out
/// again. The texts of each connection are in their order.
///
/// ```no_run
/// use std::time::Duration;
///
/// use heirloom::Config;
/// use heirloom::net::{Router, Server, Site, Tap, serve};
///
/// let router = Router::new(serve::routes(Config::default()));
/// let tap = Tap::new(8 * 1024 * 1024);
/// let server = Server::bind(&["127.0.0.1:8076".parse()?], 2, router.config())?;
/// let server = server.with_tap(tap.clone());
/// std::thread::spawn(move || {
///     while !tap.is_over() {
///         if let Some(tapped) = tap.wait(Duration::from_secs(1)) {
///             for text in tapped.texts() {
///                 println!("{}: {text}", tapped.topic());
///             }
///         }
///     }
/// });
/// server.run(|| Site::new(&router));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tap(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was added, or nothing more will be.
    changed: Condvar,
    /// What may wait.
    octets: usize,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// The octets of these, with what each text counts.
    octets: usize,
    /// Texts that did not fit, and were not told of yet.
    lost: u64,
    /// A thread waits.
    idle: bool,
    closed: bool,
}

/// Texts that connections published in one topic.
#[derive(Clone, Debug)]
pub struct Tapped(Batch);

impl Tapped {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// The texts, in their order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.texts()
    }
}

impl Tap {
    /// A queue with room for so many octets of text. A text counts 64 octets more
    /// than it has; one batch that is longer than the room waits alone.
    #[must_use]
    pub fn new(octets: usize) -> Tap {
        Tap(Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            octets,
        }))
    }

    /// The next texts, which are awaited for no longer than this. `None` comes
    /// earlier once the queue is closed and empty.
    #[must_use]
    pub fn wait(&self, within: Duration) -> Option<Tapped> {
        let until = Instant::now().checked_add(within);
        let mut queue = self.queue();
        loop {
            if let Some(batch) = queue.batches.pop_front() {
                queue.octets = queue.octets.saturating_sub(cost(&batch));
                return Some(Tapped(batch));
            }
            let left = match until {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if queue.closed || left.is_zero() {
                return None;
            }
            queue.idle = true;
            let waited = self.0.changed.wait_timeout(queue, left);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.idle = false;
        }
    }

    /// How many texts did not fit since the last call.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.queue().lost)
    }

    /// Takes nothing more. What waits can be taken yet.
    pub fn close(&self) {
        self.queue().closed = true;
        self.0.changed.notify_all();
    }

    /// Whether it is closed and empty.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let queue = self.queue();
        queue.closed && queue.batches.is_empty()
    }

    /// Adds texts, if there is room. It never waits for room.
    pub(super) fn put(&self, batch: &Batch) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        let octets = queue.octets.saturating_add(cost(batch));
        if octets > self.0.octets && !queue.batches.is_empty() {
            let (_, texts) = batch.size();
            queue.lost = queue.lost.saturating_add(texts as u64);
            return;
        }
        queue.octets = octets;
        queue.batches.push_back(batch.clone());
        let wakes = queue.idle;
        drop(queue);
        if wakes {
            self.0.changed.notify_one();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A batch is added or taken as a whole, so a panic leaves no half of one.
        let queue = self.0.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(batch: &Batch) -> usize {
    let (octets, texts) = batch.size();
    octets.saturating_add(texts.saturating_mul(TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::budget::Budget;
    use crate::net::topic::OutsideTexts;

    fn batch(text: &str) -> Batch {
        OutsideTexts::new("t", text).into_batch(&Arc::new(Budget::new(1)))
    }

    fn next(tap: &Tap) -> Option<String> {
        let tapped = tap.wait(Duration::ZERO)?;
        assert_eq!(tapped.topic(), "t");
        Some(tapped.texts().collect())
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_rest_keeps_its_order() {
        let tap = Tap::new(2 * (TEXT + 1));
        for text in ["a", "b", "c", "d"] {
            tap.put(&batch(text));
        }
        assert_eq!(tap.take_lost(), 2);
        assert_eq!(tap.take_lost(), 0, "it is told once");
        assert_eq!(next(&tap).as_deref(), Some("a"));
        tap.put(&batch("e"));
        assert_eq!(next(&tap).as_deref(), Some("b"));
        assert_eq!(next(&tap).as_deref(), Some("e"));
        assert_eq!(next(&tap), None);
    }

    #[test]
    fn a_batch_that_is_longer_than_the_room_waits_alone() {
        let tap = Tap::new(1);
        tap.put(&batch("long"));
        tap.put(&batch("next"));
        assert_eq!(next(&tap).as_deref(), Some("long"));
        assert_eq!(next(&tap), None);
        assert_eq!(tap.take_lost(), 1);
    }

    #[test]
    fn one_that_waits_is_woken_by_a_text_and_by_the_end() {
        let tap = Tap::new(1000);
        let other = tap.clone();
        let waits = std::thread::spawn(move || {
            let long = Duration::from_secs(60);
            let text: String = other.wait(long).expect("a text").texts().collect();
            (text, other.wait(long).is_none())
        });
        tap.put(&batch("text"));
        tap.close();
        tap.put(&batch("late"));
        assert_eq!(waits.join().expect("it ends"), ("text".to_owned(), true));
        assert!(tap.is_over());
    }
}
