//! What a server has done and holds, as numbers.

use std::ptr;
use std::sync::Arc;
use std::time::SystemTime;

use super::address::PeerAddress;
use super::app::{ClosedBy, EndReason, Summary};
use super::refusal::NetRefusal;
use crate::conn::Tally;
use crate::version::Version;

/// What a server has done since it was started, and what it holds, over all its
/// workers. Numbers of connections that are open are in it: nothing waits for
/// their end.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Connections of clients that were accepted.
    pub accepted: u64,
    /// Some of them that were ended at once, without an answer: there was not even
    /// a place to refuse them.
    pub dropped: u64,
    /// The connections of clients that are there now, by version, state and route.
    pub connections: Vec<ConnectionCount>,
    /// How opening handshakes went, by version and code.
    pub handshakes: Vec<HandshakeCount>,
    /// How connections of clients ended, by end and reason.
    pub closed: Vec<ClosedCount>,
    /// Requests of plain HTTP that were answered with a page.
    pub pages: u64,
    /// Requests of plain HTTP that went to a backend.
    pub passed: u64,
    /// What was carried between clients and backends, by the version of the client.
    pub traffic: Vec<Traffic>,
    /// Opening handshakes of TLS with clients that were finished, by version of
    /// TLS.
    pub tls: Vec<(&'static str, u64)>,
    /// What became of backends that were dialled.
    pub backends: BackendCounts,
    /// What its connections hold, and may hold.
    pub memory: MemoryUse,
    /// The certificates that are shown.
    pub certificates: Vec<CertificateExpiry>,
    /// Whether it is being stopped.
    pub is_draining: bool,
    /// Its workers.
    pub workers: usize,
    /// Those that did not answer in time: of them the last numbers are given.
    pub silent_workers: usize,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Its opening handshake is not finished.
    Handshake,
    /// Messages go both ways.
    Open,
    /// It carries plain HTTP to a backend.
    Http,
    /// It has had its last message, or its refusal.
    Closing,
}

impl ConnectionState {
    /// Its name in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ConnectionState::Handshake => "handshake",
            ConnectionState::Open => "open",
            ConnectionState::Http => "http",
            ConnectionState::Closing => "closing",
        }
    }
}

/// How many connections are alike.
#[derive(Clone, Debug)]
pub struct ConnectionCount {
    /// Their version, once it is known.
    pub version: Option<&'static Version>,
    /// How far they have come.
    pub state: ConnectionState,
    /// The name of their route, once it is known.
    pub route: Option<Arc<str>>,
    /// How many there are.
    pub count: u64,
}

/// How many opening handshakes went alike.
#[derive(Clone, Debug)]
pub struct HandshakeCount {
    /// The version that was asked for, as far as it was known.
    pub version: Option<&'static Version>,
    /// `101`, the stable code of the refusal, or how the connection ended before
    /// its request was answered.
    pub code: &'static str,
    /// How many there were.
    pub count: u64,
}

/// How many connections of clients ended alike.
#[derive(Clone, Debug)]
pub struct ClosedCount {
    /// The end that ended them.
    pub by: ClosedBy,
    /// Why: what [`EndReason::what`] says.
    pub what: &'static str,
    /// How many there were.
    pub count: u64,
}

/// What was carried for clients of one version.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The version; `None` is plain HTTP, which has no messages, and whose octets
    /// include the heads.
    pub version: Option<&'static Version>,
    /// What clients sent.
    pub from_clients: Tally,
    /// What clients were sent.
    pub to_clients: Tally,
}

/// What became of backends that were dialled.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BackendCounts {
    /// How often a backend was dialled.
    pub dials: u64,
    /// How often TCP, or a Unix socket, was connected.
    pub connected: u64,
    /// Clients that were refused because there was no connection to their backend,
    /// or the backend did not agree, by code.
    pub failures: Vec<(&'static str, u64)>,
}

/// What the connections of a server hold, in octets.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryUse {
    /// What they hold now, counted in steps of 4 KiB for each connection.
    pub held: u64,
    /// What they may hold.
    pub limit: u64,
}

/// When a certificate expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it expires.
    pub not_after: SystemTime,
}

/// One connection of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionDetails {
    /// Its version, once it is known.
    pub version: Option<&'static Version>,
    /// How far it has come.
    pub state: ConnectionState,
    /// The name of its route, once it is known.
    pub route: Option<Arc<str>>,
    /// The client's address, its own or from a trusted proxy; `None` where it is
    /// gone already.
    pub client: Option<PeerAddress>,
    /// Seconds since it was accepted.
    pub age_s: u64,
    /// What was carried from the client to a backend, where it leads to one.
    pub from_client: Option<Tally>,
    /// What was carried to the client.
    pub to_client: Option<Tally>,
}

/// Connections of clients at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionList {
    /// How many there are.
    pub count: u64,
    /// Some of them.
    pub listed: Vec<ConnectionDetails>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered with 101.
    Answered,
    /// It was not, for the reason for which its connection has ended.
    NotAnswered,
    /// It was of plain HTTP, and got a page.
    Page,
    /// It was of plain HTTP, and went to a backend.
    Passed,
}

/// The code of a handshake that was answered.
const ANSWERED: &str = "101";
/// How a connection ends that got a page.
const PAGE: &str = "page";

impl Outcome {
    /// As far as it can be told of a connection that may still be there.
    pub(super) fn of(answered: bool, relayed: bool, ended: Option<EndReason>) -> Option<Outcome> {
        match ended {
            _ if relayed => Some(Outcome::Passed),
            _ if answered => Some(Outcome::Answered),
            Some(ended) if ended.what == PAGE => Some(Outcome::Page),
            ended => ended.map(|_| Outcome::NotAnswered),
        }
    }
}

/// Whether a code says that a backend failed.
fn is_of_backend(code: &str) -> bool {
    code.starts_with("backend-") || code == NetRefusal::OutOfSockets.code()
}

/// What one worker has counted, and what it holds at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerCounts {
    pub(super) dropped: u64,
    /// Connections of clients that have ended.
    ended: Vec<EndedCount>,
    traffic: Vec<Traffic>,
    tls: Vec<(&'static str, u64)>,
    pub(super) backends: BackendCounts,
    /// Those that are there now.
    live: Vec<ConnectionCount>,
    /// How the handshakes of those went.
    decided: Vec<HandshakeCount>,
    pages: u64,
    passed: u64,
    pub(super) memory_limit: u64,
    pub(super) certificates: Vec<CertificateExpiry>,
}

#[derive(Clone, Debug)]
struct EndedCount {
    version: Option<&'static Version>,
    outcome: Outcome,
    by: ClosedBy,
    what: &'static str,
    count: u64,
}

/// Whether these are the same row of the table.
fn same(one: Option<&'static Version>, other: Option<&'static Version>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => ptr::eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// One more in the row that is meant, or a new row. A row moves up with each, so
/// that the usual ones are found at once.
fn count_in<R>(
    rows: &mut Vec<R>,
    is_meant: impl Fn(&R) -> bool,
    add: impl FnOnce(&mut R),
    new: impl FnOnce() -> R,
) {
    let at = rows.iter().position(is_meant);
    let at = at.unwrap_or_else(|| {
        rows.push(new());
        rows.len() - 1
    });
    if let Some(row) = rows.get_mut(at) {
        add(row);
    }
    if at > 0 {
        rows.swap(at, at - 1);
    }
}

/// Adds to the count of a code.
fn count_code(rows: &mut Vec<(&'static str, u64)>, code: &'static str, count: u64) {
    count_in(
        rows,
        |row| row.0 == code,
        |row| row.1 += count,
        || (code, 0),
    );
}

fn sum(one: &mut Tally, other: Tally) {
    one.messages = one.messages.saturating_add(other.messages);
    one.octets = one.octets.saturating_add(other.octets);
}

fn count_traffic(rows: &mut Vec<Traffic>, of: &Traffic) {
    count_in(
        rows,
        |row| same(row.version, of.version),
        |row| {
            sum(&mut row.from_clients, of.from_clients);
            sum(&mut row.to_clients, of.to_clients);
        },
        || Traffic {
            version: of.version,
            from_clients: Tally::default(),
            to_clients: Tally::default(),
        },
    );
}

fn count_handshake(
    rows: &mut Vec<HandshakeCount>,
    version: Option<&'static Version>,
    code: &'static str,
    count: u64,
) {
    count_in(
        rows,
        |row| same(row.version, version) && row.code == code,
        |row| row.count += count,
        || HandshakeCount {
            version,
            code,
            count: 0,
        },
    );
}

fn count_live(rows: &mut Vec<ConnectionCount>, of: &ConnectionCount) {
    count_in(
        rows,
        |row| same(row.version, of.version) && row.state == of.state && row.route == of.route,
        |row| row.count += of.count,
        || ConnectionCount {
            count: 0,
            ..of.clone()
        },
    );
}

impl WorkerCounts {
    /// A connection of a client has ended so.
    pub(super) fn ended(&mut self, summary: &Summary, tls: Option<&'static str>) {
        let ended = summary.ended;
        let outcome = Outcome::of(summary.answered, summary.relayed, Some(ended));
        let outcome = outcome.unwrap_or(Outcome::NotAnswered);
        count_in(
            &mut self.ended,
            |row| {
                // Equal texts at two places are two rows here, and one in a snapshot.
                same(row.version, summary.version)
                    && row.outcome == outcome
                    && row.by == ended.by
                    && ptr::eq(row.what, ended.what)
            },
            |row| row.count += 1,
            || EndedCount {
                version: summary.version,
                outcome,
                by: ended.by,
                what: ended.what,
                count: 0,
            },
        );
        self.carried(summary.version, summary.from_client, summary.to_client);
        if let Some(version) = tls {
            self.tls(version);
        }
    }

    /// So much was carried for a client of this version.
    pub(super) fn carried(&mut self, version: Option<&'static Version>, from: Tally, to: Tally) {
        if from.octets > 0 || to.octets > 0 || from.messages > 0 || to.messages > 0 {
            let traffic = Traffic {
                version,
                from_clients: from,
                to_clients: to,
            };
            count_traffic(&mut self.traffic, &traffic);
        }
    }

    /// TLS of this version was agreed on with a client.
    pub(super) fn tls(&mut self, version: &'static str) {
        count_code(&mut self.tls, version, 1);
    }

    /// A connection of a client is there.
    pub(super) fn live(
        &mut self,
        connection: &ConnectionCount,
        outcome: Option<Outcome>,
        ended: Option<EndReason>,
    ) {
        let version = connection.version;
        if let Some(ended) = ended.filter(|ended| is_of_backend(ended.what)) {
            count_code(&mut self.backends.failures, ended.what, 1);
        }
        count_live(&mut self.live, connection);
        match (outcome, ended) {
            (Some(Outcome::Answered), _) => {
                count_handshake(&mut self.decided, version, ANSWERED, 1);
            }
            (Some(Outcome::NotAnswered), Some(ended)) => {
                count_handshake(&mut self.decided, version, ended.what, 1);
            }
            (Some(Outcome::Page), _) => self.pages += 1,
            (Some(Outcome::Passed), _) => self.passed += 1,
            (Some(Outcome::NotAnswered) | None, _) => {}
        }
    }
}

impl MetricsSnapshot {
    /// Adds what a worker has counted.
    pub(super) fn add(&mut self, worker: &WorkerCounts) {
        self.dropped += worker.dropped;
        self.pages += worker.pages;
        self.passed += worker.passed;
        self.accepted += worker.dropped;
        for row in &worker.ended {
            self.accepted += row.count;
            if is_of_backend(row.what) {
                count_code(&mut self.backends.failures, row.what, row.count);
            }
            match row.outcome {
                Outcome::Answered => {
                    count_handshake(&mut self.handshakes, row.version, ANSWERED, row.count);
                }
                Outcome::NotAnswered => {
                    count_handshake(&mut self.handshakes, row.version, row.what, row.count);
                }
                Outcome::Page => self.pages += row.count,
                Outcome::Passed => self.passed += row.count,
            }
            count_in(
                &mut self.closed,
                |closed| closed.by == row.by && closed.what == row.what,
                |closed| closed.count += row.count,
                || ClosedCount {
                    by: row.by,
                    what: row.what,
                    count: 0,
                },
            );
        }
        for row in &worker.live {
            self.accepted += row.count;
            count_live(&mut self.connections, row);
        }
        for row in &worker.decided {
            count_handshake(&mut self.handshakes, row.version, row.code, row.count);
        }
        for traffic in &worker.traffic {
            count_traffic(&mut self.traffic, traffic);
        }
        for (version, count) in &worker.tls {
            count_code(&mut self.tls, version, *count);
        }
        self.backends.dials += worker.backends.dials;
        self.backends.connected += worker.backends.connected;
        for (code, count) in &worker.backends.failures {
            count_code(&mut self.backends.failures, code, *count);
        }
        self.memory.limit = self.memory.limit.max(worker.memory_limit);
        // Not every worker has every listener.
        for certificate in &worker.certificates {
            if !self.certificates.contains(certificate) {
                self.certificates.push(certificate.clone());
            }
        }
    }

    /// In an order that does not change from one snapshot to the next.
    pub(super) fn sort(&mut self) {
        let name = |version: Option<&'static Version>| version.map(|v| v.name);
        self.connections
            .sort_by_cached_key(|row| (name(row.version), row.state, row.route.clone()));
        self.handshakes
            .sort_by_key(|row| (name(row.version), row.code));
        self.closed.sort_by_key(|row| (row.what, row.by as u8));
        self.traffic.sort_by_key(|row| name(row.version));
        self.tls.sort_unstable();
        self.backends.failures.sort_unstable();
    }

    /// How many connections of clients there are.
    #[must_use]
    pub fn connection_count(&self) -> u64 {
        self.connections.iter().map(|row| row.count).sum()
    }
}
