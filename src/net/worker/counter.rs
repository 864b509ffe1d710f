//! Counts the connections of one worker, for the statistics.

use super::slots::Slots;
use super::timing::Stage;
use crate::net::stats::{ConnectionInfo, ConnectionStats, LISTED, StatsSnapshot};

/// Connections are counted at most so often, in milliseconds.
const COUNT_MS: u64 = 1_000;

/// One worker's part of the statistics.
#[derive(Debug)]
pub(super) struct Counter {
    stats: ConnectionStats,
    /// Which worker this is.
    worker: usize,
    /// When it counted last.
    counted_ms: Option<u64>,
}

impl Counter {
    pub(super) fn new(stats: ConnectionStats, worker: usize) -> Counter {
        Counter {
            stats,
            worker,
            counted_ms: None,
        }
    }

    /// Milliseconds until it may count, if it was asked and must wait.
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let at = self.counted_ms?;
        self.stats
            .is_wanted(self.worker)
            .then(|| (at + COUNT_MS).saturating_sub(now_ms).max(1))
    }

    /// Counts, if it was asked and did not just now.
    #[inline]
    pub(super) fn count<D>(&mut self, slots: &Slots<D>, now_ms: u64) {
        let early = |at: u64| now_ms < at + COUNT_MS;
        if self.stats.is_wanted(self.worker) && !self.counted_ms.is_some_and(early) {
            self.count_now(slots, now_ms);
        }
    }

    #[inline(never)]
    fn count_now<D>(&mut self, slots: &Slots<D>, now_ms: u64) {
        self.counted_ms = Some(now_ms);
        let mut snapshot = StatsSnapshot::default();
        for link in slots.links().filter(|link| link.is_of_client()) {
            let (Some(version), Stage::Open) = (link.conn.version(), link.timing.stage()) else {
                continue;
            };
            snapshot.open += 1;
            if snapshot.listed.len() < LISTED {
                let age_s = (now_ms / 1000).saturating_sub(u64::from(link.past.began_s));
                snapshot.listed.push(ConnectionInfo { version, age_s });
            }
        }
        self.stats.write(self.worker, snapshot);
    }
}
