//! What other threads ask the workers of a server: numbers, and which connections
//! are open. A worker looks once a turn of its loop whether it is asked, and
//! nothing is counted otherwise than by itself.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::Waker;

use super::budget::Budget;
use super::metrics::{ConnectionDetails, ConnectionList, MetricsSnapshot, WorkerCounts};
use super::state::ServerState;
use crate::version::Version;

/// The maximum number of connections per worker in [`StatsSnapshot::listed`].
/// The others are only counted.
pub(super) const LISTED: usize = 256;
/// How long an answer is awaited. A worker answers when its turn of the loop is
/// over, at most once in 100 ms.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a worker is asked for: a bit for each.
pub(super) mod asked {
    /// [`StatsSnapshot`](super::StatsSnapshot).
    pub(in crate::net) const OPEN: u8 = 1;
    /// [`WorkerCounts`](super::WorkerCounts).
    pub(in crate::net) const COUNTS: u8 = 1 << 1;
    /// [`ConnectionDetails`](super::ConnectionDetails).
    pub(in crate::net) const LIST: u8 = 1 << 2;
}

/// Where each worker writes its part of what is asked.
#[derive(Debug)]
pub(super) struct Board {
    parts: Box<[Part]>,
    pub(super) budget: Arc<Budget>,
    pub(super) state: ServerState,
}

/// One worker's part. It has a cache line of its own: the worker looks at `wanted`
/// in each turn of its loop.
#[derive(Debug)]
#[repr(align(128))]
struct Part {
    wanted: AtomicU8,
    answers: Mutex<Answers>,
    answered: Condvar,
    waker: Arc<Waker>,
}

#[derive(Debug, Default)]
struct Answers {
    open: StatsSnapshot,
    counts: Arc<WorkerCounts>,
    list: Arc<[ConnectionDetails]>,
    /// How many connections are to be listed at most.
    limit: usize,
    /// How often something was asked, and which of these is answered.
    asked: u64,
    done: u64,
    /// The worker has ended, and this was its last word.
    has_ended: bool,
}

/// What a worker is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// Bits of [`asked`].
    pub(super) what: u8,
    number: u64,
    /// How many connections it may list.
    pub(super) limit: usize,
}

impl Board {
    pub(super) fn new(wakers: impl IntoIterator<Item = Arc<Waker>>) -> Board {
        let parts = wakers.into_iter().map(|waker| Part {
            wanted: AtomicU8::new(0),
            answers: Mutex::default(),
            answered: Condvar::new(),
            waker,
        });
        let parts: Box<[Part]> = parts.collect();
        Board {
            budget: Arc::new(Budget::new(parts.len())),
            parts,
            state: ServerState::default(),
        }
    }

    /// What this worker is asked for: bits of [`asked`].
    #[inline]
    pub(super) fn wanted(&self, worker: usize) -> u8 {
        let part = self.parts.get(worker);
        part.map_or(0, |part| part.wanted.load(Ordering::Acquire))
    }

    /// A worker is about to answer this: bits of [`asked`].
    pub(super) fn begin(&self, worker: usize, what: u8) -> Request {
        let Some(part) = self.parts.get(worker) else {
            return Request::default();
        };
        // What is asked from here on is answered the next time.
        let mut answers = part.answers();
        let wanted = part.wanted.fetch_and(!what, Ordering::AcqRel);
        let what = wanted & what;
        let lists = what & asked::LIST != 0;
        Request {
            what,
            number: answers.asked,
            // It is that of a list, which may be answered later than the rest.
            limit: if lists {
                std::mem::take(&mut answers.limit)
            } else {
                0
            },
        }
    }

    /// Writes the part of a worker.
    pub(super) fn write_open(&self, worker: usize, open: StatsSnapshot) {
        if let Some(part) = self.parts.get(worker) {
            part.answers().open = open;
        }
    }

    /// Writes the part of a worker that answers this request.
    pub(super) fn write(
        &self,
        worker: usize,
        request: Request,
        counts: WorkerCounts,
        list: Option<Vec<ConnectionDetails>>,
    ) {
        let Some(part) = self.parts.get(worker) else {
            return;
        };
        let mut answers = part.answers();
        answers.counts = Arc::new(counts);
        if let Some(list) = list {
            answers.list = list.into();
        }
        answers.done = request.number;
        drop(answers);
        part.answered.notify_all();
    }

    /// A worker has ended, with these counts.
    pub(super) fn write_last(&self, worker: usize, counts: WorkerCounts) {
        if let Some(part) = self.parts.get(worker) {
            let mut answers = part.answers();
            answers.has_ended = true;
            answers.open = StatsSnapshot::default();
            answers.counts = Arc::new(counts);
            answers.list = Arc::default();
            drop(answers);
            part.answered.notify_all();
        }
    }

    /// Asks every worker, and hands each part to `take`, with whether it answers
    /// this.
    fn ask(&self, what: u8, limit: usize, mut take: impl FnMut(&Answers, bool)) {
        let asked: Vec<u64> = self
            .parts
            .iter()
            .map(|part| {
                let mut answers = part.answers();
                answers.asked += 1;
                answers.limit = answers.limit.max(limit);
                part.ask(what);
                answers.asked
            })
            .collect();
        let until = Instant::now() + PATIENCE;
        for (part, asked) in self.parts.iter().zip(asked) {
            let left = until.saturating_duration_since(Instant::now());
            let waits = |answers: &mut Answers| answers.done < asked && !answers.has_ended;
            let waited = part
                .answered
                .wait_timeout_while(part.answers(), left, waits);
            let (answers, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            take(&answers, !timeout.timed_out());
        }
    }
}

impl Part {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        // Each part is replaced as a whole.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, what: u8) {
        self.wanted.fetch_or(what, Ordering::AcqRel);
        if let Err(error) = self.waker.wake() {
            log::debug!("cannot wake a worker: {error}");
        }
    }
}

/// The numbers of a [`Server`](super::Server), while it runs and after it. It may be
/// asked from any thread but those of the server's own workers, which would wait for
/// themselves.
#[derive(Clone, Debug)]
pub struct Metrics(pub(super) Arc<Board>);

impl Metrics {
    /// What the server has done until now, and what it holds. Every worker is
    /// asked; each answers within 100 ms as a rule. One that has not answered after
    /// a second, or does not run yet, is [silent](MetricsSnapshot::silent_workers).
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let board = &self.0;
        let mut all = MetricsSnapshot {
            workers: board.parts.len(),
            ..MetricsSnapshot::default()
        };
        board.ask(asked::COUNTS, 0, |answers, is_fresh| {
            all.silent_workers += usize::from(!is_fresh);
            all.add(&answers.counts);
        });
        all.is_draining = self.is_draining();
        all.memory.held = board.budget.held() as u64;
        all.sort();
        all
    }

    /// The connections of clients that are there now, at most `limit` of them
    /// listed, the oldest of each worker first. It waits as
    /// [`Metrics::snapshot`] does.
    #[must_use]
    pub fn connections(&self, limit: usize) -> ConnectionList {
        let mut all = ConnectionList::default();
        let mut counts = MetricsSnapshot::default();
        let what = asked::COUNTS | asked::LIST;
        self.0.ask(what, limit, |answers, _| {
            counts.add(&answers.counts);
            all.listed.extend_from_slice(&answers.list);
        });
        all.count = counts.connection_count();
        all.listed
            .sort_by_key(|connection| std::cmp::Reverse(connection.age_s));
        all.listed.truncate(limit);
        all
    }

    /// Whether the server is being stopped, or has ended: it takes no new
    /// connections.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.state.is_draining()
    }
}

/// The open connections of a server. Reading never blocks: each worker writes
/// its own part on request, at most once a second, and a reader gets what was
/// written last.
#[derive(Clone, Debug)]
pub struct ConnectionStats(pub(super) Arc<Board>);

/// The open connections at one moment.
#[derive(Clone, Debug, Default)]
pub struct StatsSnapshot {
    /// Connections whose handshake is finished and that are not closing.
    pub open: usize,
    /// Some of them, at most 256 of each worker.
    pub listed: Vec<ConnectionInfo>,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo {
    /// The version of the connection.
    pub version: &'static Version,
    /// Seconds since it was accepted.
    pub age_s: u64,
}

impl ConnectionStats {
    /// The last count. Also asks every worker for a new one.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut all = StatsSnapshot::default();
        for part in self.0.parts.iter() {
            let answers = part.answers();
            all.open += answers.open.open;
            all.listed.extend_from_slice(&answers.open.listed);
            part.ask(asked::OPEN);
        }
        all
    }
}
