//! Pairs: two links of one bridge, the client's and the one that was dialled
//! for it. Whoever works on one has both in hand.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::{CountedAs, Link, Scratch, Worker};
use crate::bytes::Output;
use crate::conn::{BridgeEnd, Conn, Direction, Event, Limits, Phase, Tally};
use crate::error::{Refusal, Violation};
use crate::net::{App, BackendDial, ClosedBy, EndReason};
use crate::version::Side;

/// What a link of a bridge knows of the other one.
#[derive(Debug)]
pub(super) struct BridgeLink {
    /// The other link; `None` once it is gone.
    pub(super) partner: Option<usize>,
    /// What this link's peer says goes this way.
    pub(super) direction: Direction,
    /// What a partner that is gone had carried.
    pub(super) carried: Tally,
    /// The backend's link: the subprotocol that it chose.
    pub(super) subprotocol: Option<String>,
    /// The backend's link: where to try yet, the next one last.
    untried: Vec<SocketAddr>,
    /// Whether TCP stands.
    is_connected: bool,
}

/// A link's partner, while the link eats.
pub(super) struct BridgeTurn<'t, G> {
    pub(super) bridge: &'t mut BridgeLink,
    pub(super) partner: &'t mut Link<G>,
    pub(super) out: Output<'t>,
}

impl<G> BridgeTurn<'_, G> {
    /// Whether this link, which may talk, waits for a partner that cannot yet
    /// be told what it says.
    pub(super) fn waits(&self, conn: &Conn) -> bool {
        conn.phase() == Phase::Open && is_early(&self.partner.conn)
    }

    /// Tells the partner what happened.
    pub(super) fn carry(
        &mut self,
        event: Event<'_>,
        conn: &mut Conn,
        out: &mut Output<'_>,
    ) -> Result<(), Violation> {
        let mut from = BridgeEnd { conn, out };
        let mut to = BridgeEnd {
            conn: &mut self.partner.conn,
            out: &mut self.out,
        };
        self.bridge.direction.carry(event, &mut from, &mut to)
    }
}

/// Whether a connection is still in its handshake and cannot be talked to.
fn is_early(conn: &Conn) -> bool {
    conn.phase() == Phase::Handshake && !conn.can_send()
}

/// The backend, to which our end is of the client's side, broke the handshake:
/// its client is refused, if that can still be said.
pub(super) fn refuse_for<G>(
    side: Side,
    violation: Violation,
    partner: &mut Link<G>,
    out: &mut Output<'_>,
) {
    if side == Side::Server || !is_early(&partner.conn) || partner.record.answered {
        return;
    }
    let refusal = match violation {
        Violation::ResponseStatus { status } => Refusal::BackendRefused { status },
        violation => Refusal::BackendHandshake { violation },
    };
    refuse(partner, refusal, out);
}

/// Refuses for what the backend did.
fn refuse<G>(link: &mut Link<G>, refusal: Refusal, out: &mut Output<'_>) {
    link.record.end(EndReason {
        by: ClosedBy::Backend,
        what: refusal.code(),
        code: Some(refusal.response_status()),
    });
    link.conn.refuse(refusal, out);
}

/// Tells a link that its partner is gone, unless it knows.
fn partner_lost<G>(link: &mut Link<G>, ended: Option<EndReason>, out: &mut Output<'_>) {
    let Some(bridge) = &link.bridge else {
        return;
    };
    let what = ended.map_or("connection-cut", |ended| ended.what);
    if is_early(&link.conn) && link.conn.side() == Side::Server && !link.record.answered {
        let violation = Violation::HandshakeCut;
        let refusal = match what {
            "backend-timeout" => Refusal::BackendTimeout,
            "backend-unreachable" => Refusal::BackendUnreachable,
            _ => Refusal::BackendHandshake { violation },
        };
        return refuse(link, refusal, out);
    }
    if let Some(ended) = ended {
        link.record.end(ended);
    }
    let mut end = BridgeEnd {
        conn: &mut link.conn,
        out,
    };
    bridge.direction.peer_lost(what, &mut end);
}

impl Scratch {
    /// After work on a pair: where one link is at its end and the other does
    /// not know, it is told.
    pub(super) fn propagate_close<G>(&mut self, link: &mut Link<G>, partner: &mut Link<G>) {
        let is_over = |link: &Link<G>| link.conn.phase() == Phase::Closed;
        match (is_over(link), is_over(partner)) {
            (true, false) => {
                let mut out = self.peer_output();
                partner_lost(partner, link.record.ended(), &mut out);
            }
            (false, true) => {
                let mut out = self.output();
                partner_lost(link, partner.record.ended(), &mut out);
            }
            _ => {}
        }
    }
}

/// Holds each link of a pair while the other does not take what it says.
pub(super) fn pause_reads<G>(link: &mut Link<G>, partner: &mut Link<G>, limits: &Limits) {
    let full = |link: &Link<G>| link.backlog.len() > link.high_water(limits);
    let waits = |link: &Link<G>, partner: &Link<G>| {
        link.conn.side() == Side::Client
            && link.conn.phase() == Phase::Open
            && is_early(&partner.conn)
    };
    let over = |link: &Link<G>| link.conn.phase() == Phase::Closed;
    link.read_paused_by_bridge = !over(link) && (full(partner) || waits(link, partner));
    partner.read_paused_by_bridge = !over(partner) && (full(link) || waits(partner, link));
}

impl<A: App> Worker<A> {
    /// Dials a backend for a client that waits.
    pub(super) fn dial(&mut self, client: usize, dial: BackendDial) {
        let mut untried = dial.addresses.to_vec();
        untried.reverse();
        let stream = match next_stream(&mut untried) {
            Ok(stream) => stream,
            Err(error) => {
                self.warn_of_backend(&error);
                self.cannot_reach(client);
                return;
            }
        };
        let mut conn = dial.conn;
        conn.set_manual_control();
        let mut link = Box::new(Link::new(stream, conn, self.now_ms));
        link.counted_as = CountedAs::Bridge;
        link.readable = false;
        link.writable = false;
        link.watches_writes = true;
        link.backlog.push_small(&dial.output);
        link.bridge = Some(Box::new(BridgeLink {
            partner: Some(client),
            direction: Direction::new(dial.coding.back()),
            carried: Tally::default(),
            subprotocol: None,
            untried,
            is_connected: false,
        }));
        let due = link.due_ms(&self.scratch.config.limits);
        let token = self.slots.put(link);
        if let Some(Some(link)) = self.slots.get(client) {
            link.bridge = Some(Box::new(BridgeLink {
                partner: Some(token),
                direction: Direction::new(dial.coding),
                carried: Tally::default(),
                subprotocol: None,
                untried: Vec::new(),
                is_connected: true,
            }));
        }
        if let (Some(due), Some(Some(link))) = (due, self.slots.get(token)) {
            link.armed_ms = self.wheel.arm(token, due, 0);
        }
        self.watch_partner(token);
    }

    fn watch_partner(&mut self, token: usize) {
        let Some(Some(link)) = self.slots.get(token) else {
            return;
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let watched = self
            .poll
            .registry()
            .register(&mut link.stream, Token(token), both);
        if let Err(error) = watched {
            log::warn!("cannot watch a connection: {error}");
            self.remove_link(token);
        }
    }

    /// Whether TCP of this link stands. Where the backend cannot be reached at
    /// one address, the next is tried, and then its client is told.
    pub(super) fn is_connected(&mut self, token: usize) -> bool {
        let Some(Some(link)) = self.slots.get(token) else {
            return false;
        };
        let Some(bridge) = link.bridge.as_mut().filter(|bridge| !bridge.is_connected) else {
            return true;
        };
        let failed = match link.stream.take_error() {
            Ok(None) => match link.stream.peer_addr() {
                Ok(_) => None,
                Err(error) if error.kind() == ErrorKind::NotConnected => return false,
                Err(error) => Some(error),
            },
            Ok(Some(error)) | Err(error) => Some(error),
        };
        let Some(error) = failed else {
            bridge.is_connected = true;
            if let Err(error) = link.stream.set_nodelay(true) {
                log::debug!(target: "heirloom::net", "TCP_NODELAY: {error}");
            }
            return true;
        };
        log::debug!(target: "heirloom::net", "a backend does not answer: {error}");
        let stream = match next_stream(&mut bridge.untried) {
            Ok(stream) => stream,
            Err(next) => {
                let error = if next.kind() == ErrorKind::NotFound {
                    error
                } else {
                    next
                };
                link.record.end(EndReason {
                    by: ClosedBy::Backend,
                    what: Refusal::BackendUnreachable.code(),
                    code: None,
                });
                self.warn_of_backend(&error);
                self.remove_link(token);
                return false;
            }
        };
        link.stream = stream;
        link.readable = false;
        link.writable = false;
        link.read_closed = false;
        self.watch_partner(token);
        false
    }

    /// Each client hears of it; the log is told once a second.
    fn warn_of_backend(&mut self, error: &io::Error) {
        if self.scratch.warnings.again(self.now_ms) {
            log::warn!(target: "heirloom::net", "the backend cannot be reached: {error}");
        }
    }

    fn cannot_reach(&mut self, client: usize) {
        self.with_link(client, |link, _, scratch, _| {
            let mut out = scratch.output();
            refuse(link, Refusal::BackendUnreachable, &mut out);
        });
    }

    /// A link is gone, and ended so: its partner is told. Gives what the
    /// partner had carried.
    pub(super) fn leave_bridge(&mut self, bridge: &BridgeLink, ended: EndReason) -> Tally {
        let Some(other) = bridge.partner else {
            return bridge.carried;
        };
        let carried = match self.slots.get(other) {
            Some(Some(partner)) => partner.bridge.as_ref().map(|bridge| bridge.direction.tally),
            _ => None,
        };
        self.partner_removed(other, bridge.direction.tally, ended);
        carried.unwrap_or_default()
    }

    /// A link's partner is gone, which had carried so much, and ended so.
    fn partner_removed(&mut self, token: usize, carried: Tally, ended: EndReason) {
        let Some(Some(link)) = self.slots.get(token) else {
            return;
        };
        let mut never_connected = false;
        if let Some(bridge) = &mut link.bridge {
            bridge.partner = None;
            bridge.carried = carried;
            never_connected = !bridge.is_connected;
        }
        link.read_paused_by_bridge = false;
        // Nobody is there to write to, and what waits must not keep it.
        if never_connected {
            return self.remove_link(token);
        }
        self.with_link(token, |link, _, scratch, _| {
            let mut out = scratch.output();
            if link.conn.phase() != Phase::Closed {
                partner_lost(link, Some(ended), &mut out);
            }
        });
    }
}

/// Begins to connect to the next address that the system can begin with;
/// `NotFound` where none is left.
fn next_stream(untried: &mut Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(ErrorKind::NotFound);
    while let Some(address) = untried.pop() {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
