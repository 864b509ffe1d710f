//! Counts the connections of one worker, when it is asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::acceptor::Acceptor;
use super::bridge_link::BridgeLink;
use super::link::Link;
use super::slots::Slots;
use super::timing::Stage;
use crate::conn::Tally;
use crate::net::app::{App, Summary};
use crate::net::metrics::{
    CertificateExpiry, ConnectionCount, ConnectionDetails, ConnectionState, Outcome, WorkerCounts,
};
use crate::net::stats::{Board, ConnectionInfo, LISTED, Request, StatsSnapshot, asked};
#[cfg(feature = "tls")]
use crate::net::tls::ServerTls;
use crate::version::Version;

/// Open connections are counted at most so often, in milliseconds.
const OPEN_MS: u64 = 1_000;
/// All is counted at most so often, in milliseconds.
const COUNTS_MS: u64 = 100;

/// One worker's part of what is counted.
#[derive(Debug)]
pub(super) struct Counter {
    board: Arc<Board>,
    /// Which worker this is.
    worker: usize,
    /// What has ended. What is there now is counted when it is asked for.
    counts: WorkerCounts,
    /// When it counted open connections last, and when all.
    open_ms: Option<u64>,
    counts_ms: Option<u64>,
    /// When it may answer what it was asked too early.
    due_ms: Option<u64>,
}

/// What a worker has, to count it.
pub(super) struct Counted<'w, A: App> {
    pub(super) app: &'w A,
    pub(super) slots: &'w Slots<A::Data>,
    pub(super) acceptor: &'w Acceptor,
    /// What the connections of all workers may hold.
    pub(super) memory_bytes: usize,
    pub(super) now_ms: u64,
}

impl Counter {
    pub(super) fn new(board: Arc<Board>, worker: usize) -> Counter {
        Counter {
            board,
            worker,
            counts: WorkerCounts::default(),
            open_ms: None,
            counts_ms: None,
            due_ms: None,
        }
    }

    /// Milliseconds until it may count, if it was asked and must wait.
    #[inline]
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let due = self.due_ms?;
        Some(due.saturating_sub(now_ms).max(1))
    }

    /// Whether it was asked.
    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.board.wanted(self.worker) != 0
    }

    /// Counts what it was asked for, unless it did just now.
    #[inline(never)]
    pub(super) fn count<A: App>(&mut self, counted: &Counted<'_, A>) {
        let wanted = self.board.wanted(self.worker);
        self.due_ms = None;
        let mut take = |bits: u8, last: &mut Option<u64>, every: u64| {
            if wanted & bits == 0 {
                return 0;
            }
            let due = last.map_or(0, |at| at + every);
            if due > counted.now_ms {
                self.due_ms = Some(self.due_ms.map_or(due, |other| other.min(due)));
                return 0;
            }
            *last = Some(counted.now_ms);
            bits
        };
        let what = take(asked::OPEN, &mut self.open_ms, OPEN_MS)
            | take(asked::COUNTS | asked::LIST, &mut self.counts_ms, COUNTS_MS);
        if what == 0 {
            return;
        }
        let request = self.board.begin(self.worker, what);
        if request.what & asked::OPEN != 0 {
            self.board.write_open(self.worker, open(counted));
        }
        if request.what & (asked::COUNTS | asked::LIST) != 0 {
            self.answer(request, counted);
        }
    }

    /// A connection of a client has ended.
    pub(super) fn ended<D>(&mut self, link: &Link<D>, summary: &Summary) {
        self.counts.ended(summary, link.tls_version());
    }

    /// A connection was ended without an answer.
    pub(super) fn dropped(&mut self) {
        self.counts.dropped += 1;
    }

    /// A backend is dialled.
    pub(super) fn dials(&mut self) {
        self.counts.backends.dials += 1;
    }

    /// A backend is connected.
    pub(super) fn connected(&mut self) {
        self.counts.backends.connected += 1;
    }

    /// The worker begins to stop.
    pub(super) fn drains(&self) {
        self.board.state.set_draining();
    }

    /// The worker has ended.
    pub(super) fn finish(self, memory_bytes: usize) {
        let mut counts = self.counts;
        counts.memory_limit = memory_bytes as u64;
        self.board.write_last(self.worker, counts);
    }

    fn answer<A: App>(&self, request: Request, counted: &Counted<'_, A>) {
        let mut counts = self.counts.clone();
        counts.memory_limit = counted.memory_bytes as u64;
        counts.certificates = certificates(counted.acceptor);
        for link in clients(counted.slots) {
            let relayed = link.bridge().is_some_and(BridgeLink::relays);
            let ended = link.ended();
            let outcome = Outcome::of(link.past.answered, relayed, ended);
            counts.live(&connection(link, counted), outcome, ended);
            let (from, to) = carried(link, counted.slots);
            counts.carried(version(link), from, to);
            if let Some(version) = link.tls_version() {
                counts.tls(version);
            }
        }
        let list = request.what & asked::LIST != 0;
        let list = list.then(|| list_of(counted, request.limit));
        self.board.write(self.worker, request, counts, list);
    }
}

/// The certificates that its listeners show, each once.
#[cfg(feature = "tls")]
fn certificates(acceptor: &Acceptor) -> Vec<CertificateExpiry> {
    let mut all: Vec<CertificateExpiry> = Vec::new();
    let shown = acceptor.policies().filter_map(|policy| policy.tls.as_ref());
    for certificate in shown.flat_map(ServerTls::certificates) {
        let expiry = CertificateExpiry {
            names: certificate.names().to_vec(),
            not_after: certificate.not_after(),
        };
        if !all.contains(&expiry) {
            all.push(expiry);
        }
    }
    all
}

#[cfg(not(feature = "tls"))]
fn certificates(_: &Acceptor) -> Vec<CertificateExpiry> {
    Vec::new()
}

fn clients<D>(slots: &Slots<D>) -> impl Iterator<Item = &Link<D>> {
    slots.links().filter(|link| link.is_of_client())
}

fn version<D>(link: &Link<D>) -> Option<&'static Version> {
    link.conn.version().or(link.requested_version())
}

/// What is alike in many connections.
fn connection<A: App>(link: &Link<A::Data>, counted: &Counted<'_, A>) -> ConnectionCount {
    let route = AssertUnwindSafe(|| counted.app.route(&link.data));
    ConnectionCount {
        version: version(link),
        state: match link.timing.stage() {
            Stage::Handshake => ConnectionState::Handshake,
            Stage::Open => ConnectionState::Open,
            Stage::Relay | Stage::RelayEnding => ConnectionState::Http,
            Stage::Closing | Stage::Draining => ConnectionState::Closing,
        },
        route: catch_unwind(route).unwrap_or_default(),
        count: 1,
    }
}

/// What was carried from a client to its backend and back.
fn carried<D>(link: &Link<D>, slots: &Slots<D>) -> (Tally, Tally) {
    let Some(bridge) = link.bridge() else {
        return Default::default();
    };
    let partner = bridge.partner.and_then(|token| slots.peek(token));
    let back = partner.and_then(|partner| Some(partner.bridge()?.carries.tally()));
    (bridge.carries.tally(), back.unwrap_or(bridge.carried))
}

/// The oldest connections of clients.
fn list_of<A: App>(counted: &Counted<'_, A>, limit: usize) -> Vec<ConnectionDetails> {
    let mut links: Vec<&Link<A::Data>> = clients(counted.slots).collect();
    links.sort_by_key(|link| link.past.began_s);
    links.truncate(limit);
    let details = |link: &Link<A::Data>| {
        let ConnectionCount {
            version,
            state,
            route,
            ..
        } = connection(link, counted);
        let client = AssertUnwindSafe(|| counted.app.client(&link.data));
        let client = catch_unwind(client).unwrap_or_default();
        let (from, to) = carried(link, counted.slots);
        let leads_on = link.bridge().is_some();
        ConnectionDetails {
            version,
            state,
            route,
            client: client.or_else(|| link.transport.peer_address().ok()),
            age_s: (counted.now_ms / 1000).saturating_sub(u64::from(link.past.began_s)),
            from_client: leads_on.then_some(from),
            to_client: leads_on.then_some(to),
        }
    };
    links.into_iter().map(details).collect()
}

/// The open connections, and some of them.
fn open<A: App>(counted: &Counted<'_, A>) -> StatsSnapshot {
    let mut snapshot = StatsSnapshot::default();
    for link in clients(counted.slots) {
        let (Some(version), Stage::Open) = (link.conn.version(), link.timing.stage()) else {
            continue;
        };
        snapshot.open += 1;
        if snapshot.listed.len() < LISTED {
            let age_s = (counted.now_ms / 1000).saturating_sub(u64::from(link.past.began_s));
            snapshot.listed.push(ConnectionInfo { version, age_s });
        }
    }
    snapshot
}
