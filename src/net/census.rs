//! The census: which connections are open now, over all workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

use crate::version::Version;

/// Connections of one worker that are listed one by one, as
/// [`Counted::listed`] says; more are counted.
pub(super) const LISTED: usize = 256;

/// Which connections are open. Nobody waits: each worker writes its own part
/// when it was asked, at most once a second, and what is read is what was
/// written last.
#[derive(Clone, Debug)]
pub struct Census {
    parts: Arc<[Part]>,
}

#[derive(Debug)]
struct Part {
    wanted: AtomicBool,
    counted: Mutex<Counted>,
    waker: Arc<Waker>,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Connections whose handshake is finished and that are not closing.
    pub open: usize,
    /// Some of them, at most 256 of each worker.
    pub listed: Vec<Listed>,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// What it speaks.
    pub version: &'static Version,
    /// Seconds since it was accepted.
    pub age_s: u64,
}

impl Census {
    pub(super) fn new(wakers: impl IntoIterator<Item = Arc<Waker>>) -> Census {
        let parts = wakers.into_iter().map(|waker| Part {
            wanted: AtomicBool::new(false),
            counted: Mutex::default(),
            waker,
        });
        Census {
            parts: parts.collect(),
        }
    }

    /// What was counted last; asks every worker to count anew.
    #[must_use]
    pub fn look(&self) -> Counted {
        let mut all = Counted::default();
        for part in self.parts.iter() {
            let counted = part.counted.lock().unwrap_or_else(PoisonError::into_inner);
            all.open += counted.open;
            all.listed.extend_from_slice(&counted.listed);
            drop(counted);
            part.wanted.store(true, Ordering::Release);
            if let Err(error) = part.waker.wake() {
                log::debug!("cannot wake a worker: {error}");
            }
        }
        all
    }

    /// Whether this worker is to count.
    pub(super) fn is_wanted(&self, worker: usize) -> bool {
        let part = self.parts.get(worker);
        part.is_some_and(|part| part.wanted.load(Ordering::Acquire))
    }

    /// What this worker counted.
    pub(super) fn write(&self, worker: usize, counted: Counted) {
        if let Some(part) = self.parts.get(worker) {
            part.wanted.store(false, Ordering::Release);
            *part.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        }
    }
}
