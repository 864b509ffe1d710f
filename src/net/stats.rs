//! Statistics: which connections are open now, over all workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

use crate::version::Version;

/// The maximum number of connections per worker in [`StatsSnapshot::listed`].
/// The others are only counted.
pub(super) const LISTED: usize = 256;

/// The open connections of a server. Reading never blocks: each worker writes
/// its own part on request, at most once a second, and a reader gets what was
/// written last.
#[derive(Clone, Debug)]
pub struct ConnectionStats {
    parts: Arc<[Part]>,
}

#[derive(Debug)]
struct Part {
    wanted: AtomicBool,
    snapshot: Mutex<StatsSnapshot>,
    waker: Arc<Waker>,
}

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
    pub(super) fn new(wakers: impl IntoIterator<Item = Arc<Waker>>) -> ConnectionStats {
        let parts = wakers.into_iter().map(|waker| Part {
            wanted: AtomicBool::new(false),
            snapshot: Mutex::default(),
            waker,
        });
        ConnectionStats {
            parts: parts.collect(),
        }
    }

    /// The last count. Also asks every worker for a new one.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut all = StatsSnapshot::default();
        for part in self.parts.iter() {
            let snapshot = part.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            all.open += snapshot.open;
            all.listed.extend_from_slice(&snapshot.listed);
            drop(snapshot);
            part.wanted.store(true, Ordering::Release);
            if let Err(error) = part.waker.wake() {
                log::debug!("cannot wake a worker: {error}");
            }
        }
        all
    }

    /// Whether this worker must write its part.
    #[inline]
    pub(super) fn is_wanted(&self, worker: usize) -> bool {
        let part = self.parts.get(worker);
        part.is_some_and(|part| part.wanted.load(Ordering::Acquire))
    }

    /// Writes the part of this worker.
    pub(super) fn write(&self, worker: usize, snapshot: StatsSnapshot) {
        if let Some(part) = self.parts.get(worker) {
            part.wanted.store(false, Ordering::Release);
            *part.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        }
    }
}
