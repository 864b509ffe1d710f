//! A worker: one thread, one loop, its own listeners and links.

mod wheel;
mod bridge_link;
mod record;
mod timing;
mod link;
mod acceptor;
mod mail;
mod places;
mod pool;
mod random_pool;
mod slots;
mod counter;
mod scratch;
mod bridge;
mod links;
mod dispatch;
mod bound;
mod turn;
mod outside;

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::UnixStream;
use mio::{Events, Poll, Token};

use self::acceptor::{Accepted, Acceptor};
use self::bound::{FIRST_LISTENER, SHUTDOWN, WAKER};
use self::bridge::Connecting;
use self::bridge_link::BridgeLink;
use self::counter::Counter;
use self::link::{AfterTurn, CountedAs, Link, Preface};
use self::links::{Links, Settle, warn_of_watching};
use self::mail::Mail;
use self::scratch::{Context, Scratch};
use self::turn::Turn;
use super::app::{App, BackendDial, ClosedBy, EndReason, Summary};
use super::link_id::LinkId;
use super::post::Policy;
use super::proxy::ClientAddress;
use super::refusal::NetRefusal;
use super::stats::ConnectionStats;
use super::transport::Transport;
use crate::conn::{Conn, Tally};

pub(super) use self::acceptor::check_free;
pub(super) use self::bound::BoundWorker;
pub(super) use self::mail::Mailboxes;
pub(super) use self::places::Places;

/// What the workers of a server share.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) policy: Arc<Policy>,
    pub(super) stats: ConnectionStats,
    pub(super) places: Arc<Places>,
    /// The mailboxes of all workers.
    pub(super) mailboxes: Vec<Mailboxes>,
}

/// One worker.
pub(super) struct Worker<A: App> {
    app: A,
    /// Which worker this is.
    index: usize,
    poll: Poll,
    acceptor: Acceptor,
    /// Kept, though nothing is read from it.
    _shutdown: Option<UnixStream>,
    links: Links<A::Data>,
    scratch: Scratch,
    mail: Mail,
    policy: Arc<Policy>,
    places: Arc<Places>,
    counter: Counter,
    clock: Clock,
    drain: Drain,
}

/// The time of this turn of the loop.
#[derive(Debug)]
struct Clock {
    start: Instant,
    now_ms: u64,
}

impl Clock {
    fn tick(&mut self) {
        self.now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
    }
}

/// Whether the worker is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// After what has arrived before.
    Requested,
    /// Connections have until then to end.
    Started {
        due_ms: u64,
    },
}

impl Drain {
    /// Milliseconds until what is still open is closed.
    fn wait_ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Drain::Started { due_ms } => Some(due_ms.saturating_sub(now_ms)),
            Drain::No | Drain::Requested => None,
        }
    }
}

impl<A: App> Worker<A> {
    /// Worker number `index`.
    pub(super) fn new(bound: BoundWorker, index: usize, app: A, setup: Setup) -> Worker<A> {
        Worker {
            app,
            index,
            poll: bound.poll,
            acceptor: bound.acceptor,
            _shutdown: bound.shutdown,
            links: Links::new(),
            scratch: Scratch::new(),
            mail: Mail::new(bound.mailboxes, &setup.mailboxes),
            policy: setup.policy,
            places: setup.places,
            counter: Counter::new(setup.stats, index),
            clock: Clock {
                start: Instant::now(),
                now_ms: 0,
            },
            drain: Drain::No,
        }
    }

    /// Runs until it was told to drain and the last link is gone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        let listeners = FIRST_LISTENER..FIRST_LISTENER + self.acceptor.len();
        while !self.is_drained() {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    log::error!("poll failed: {error}");
                    return;
                }
                _ => {}
            }
            self.clock.tick();
            for event in &events {
                match event.token() {
                    WAKER => self.read_mail(),
                    // What was written to it does not matter, nor how much.
                    SHUTDOWN => self.mail.drain_all(),
                    Token(n) if listeners.contains(&n) => self.acceptor.set_waiting(),
                    Token(token) => self.on_event(token, event),
                }
            }
            if self.drain == Drain::No {
                self.accept();
            }
            for _ in 0..self.links.ready() {
                if let Some(token) = self.links.next_ready() {
                    self.turn(token);
                }
            }
            self.publish();
            let now_ms = self.clock.now_ms;
            self.counter.count(&self.links.slots, now_ms);
            self.links.wheel.advance(now_ms, &mut due);
            for token in due.drain(..) {
                self.deadline_reached(token);
            }
            self.scratch.pool.trim(now_ms);
            if self.drain == Drain::Requested {
                self.start_drain();
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.links.ready() > 0 {
            return Some(Duration::ZERO);
        }
        let now_ms = self.clock.now_ms;
        let next = [
            self.acceptor.wait_ms(now_ms),
            self.scratch.pool.wait_ms(),
            self.counter.wait_ms(now_ms),
            self.links.wheel.wait_ms(now_ms),
            self.drain.wait_ms(now_ms),
        ];
        next.into_iter().flatten().min().map(Duration::from_millis)
    }

    /// A socket is ready.
    fn on_event(&mut self, token: usize, event: &Event) {
        let Some(link) = self.links.get(token) else {
            return;
        };
        link.transport.on_event(event);
        if event.is_error() && link.flow.paused_by_bridge && link.is_of_client() {
            // It is gone, and it is not read, which would show that. What a backend
            // sent before it broke off is still for its client.
            return self.remove_link(token);
        }
        if !link.is_connecting() || self.is_connected(token) {
            self.turn(token);
        }
    }

    /// Accepts the connections that wait, a batch at a time.
    fn accept(&mut self) {
        let now_ms = self.clock.now_ms;
        let Some(mut round) = self.acceptor.start_round(now_ms) else {
            return;
        };
        while let Some(accepted) = self.acceptor.next(&mut round, now_ms) {
            match accepted {
                Accepted::Connection(transport, client) => self.add_client(transport, client),
                Accepted::Exhausted(error) => {
                    if self.scratch.warnings.accept.again(now_ms) {
                        log::warn!(
                            "cannot accept: {error}; {} connections are open, others wait until \
                             one ends",
                            self.links.slots.live
                        );
                    }
                }
            }
        }
    }

    fn add_client(&mut self, transport: Transport, client: ClientAddress) {
        let policy = &self.policy;
        let drains = matches!(self.drain, Drain::Started { .. });
        let limit = if drains {
            usize::MAX
        } else {
            policy.settings.connections
        };
        let Some(counted_as) = self.places.take(limit) else {
            return;
        };
        log::debug!(target: "heirloom::net", "{} connected", client.address);
        let conn = Conn::server(Arc::clone(&policy.config));
        let now_ms = self.clock.now_ms;
        // The app makes its data.
        let new = AssertUnwindSafe(|| Box::new(Link::new(transport, conn, now_ms)));
        let Ok(mut link) = catch_unwind(new) else {
            self.places.leave(counted_as);
            return self.scratch.warnings.of_panic(now_ms);
        };
        link.counted_as = counted_as;
        let proxied = policy.proxies.contains(client.address.ip());
        if proxied {
            link.preface = Preface::ProxyHeader;
        }
        let refusal = match counted_as {
            _ if drains => Some(NetRefusal::GoingAway),
            CountedAs::Surplus => Some(NetRefusal::TooManyConnections),
            CountedAs::Connection | CountedAs::Bridge => None,
        };
        let token = self.links.slots.put(link);
        self.with_link(token, |turn| turn.greet(&client, refusal));
        // As a rule the head is there already: read before waiting for it.
        self.turn(token);
        if let Some(link) = self.links.get(token) {
            let writes = !link.backlog.is_empty();
            let registry = self.poll.registry();
            if let Err(error) = link.transport.register(registry, Token(token), writes) {
                warn_of_watching(&error);
                self.remove_link(token);
            }
        }
    }

    /// Lets a link read, parse and write, as far as one turn goes.
    fn turn(&mut self, token: usize) {
        let after = self.with_link(token, |turn| turn.take());
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
        if let Some(dial) = self.scratch.dial.take() {
            self.dial(token, *dial);
        }
    }

    /// Takes a link and its partner out of their slots, works on them, writes
    /// their output, and puts them back. A panic ends this link, and its partner,
    /// and no other.
    fn with_link<R>(&mut self, token: usize, work: impl FnOnce(Turn<'_, A>) -> R) -> Option<R> {
        let mut link = self.links.take(token)?;
        let other = link.partner();
        let mut partner = other.and_then(|token| Some((token, self.links.take(token)?)));
        let context = Context {
            settings: &self.policy.settings,
            now_ms: self.clock.now_ms,
            worker: self.index,
        };
        let (scratch, app) = (&mut self.scratch, &mut self.app);
        // What other links have published stays.
        scratch.topics.start_turn();
        let mut partner_missed_output = false;
        let worked = catch_unwind(AssertUnwindSafe(|| {
            work(Turn {
                token,
                link: &mut link,
                partner: partner.as_mut().map(|(_, partner)| &mut **partner),
                app,
                scratch,
                context,
            })
        }));
        let result = match worked {
            Ok(result) => Some(result),
            Err(_) => {
                scratch.warnings.of_panic(context.now_ms);
                // A partner that does not get all it was to get must not get a
                // close either, which could complete half a text.
                partner_missed_output = !scratch.peer_out.octets.is_empty();
                scratch.discard_turn();
                link.fail_after_panic(&mut scratch.out.output());
                None
            }
        };
        let mut dropped = [None, None];
        let (out, peer_out) = (&mut scratch.out, &mut scratch.peer_out);
        if let Some((_, partner)) = &mut partner {
            bridge::propagate_close((&mut link, out), (partner, peer_out), context.hint());
        }
        let mut settle = Settle {
            registry: self.poll.registry(),
            wheel: &mut self.links.wheel,
            pool: &mut scratch.pool,
            context,
        };
        if let Some((other, partner)) = &mut partner {
            let after = settle.settle(*other, partner, &mut peer_out.octets);
            if after == AfterTurn::Drop || partner_missed_output {
                dropped[1] = Some(*other);
            }
        }
        if settle.settle(token, &mut link, &mut out.octets) == AfterTurn::Drop {
            dropped[0] = Some(token);
        }
        if let Some((other, mut partner)) = partner {
            bridge::pause_reads(&mut link, &mut partner, context.settings);
            self.links.put_back(other, partner, context.settings);
        }
        self.links.put_back(token, link, context.settings);
        for token in dropped.into_iter().flatten() {
            self.remove_link(token);
        }
        result.filter(|_| dropped[0].is_none())
    }

    /// The wheel says that a deadline may have come.
    fn deadline_reached(&mut self, token: usize) {
        let now_ms = self.clock.now_ms;
        let Some(Some(link)) = self.links.slots.get(token) else {
            return;
        };
        if !link.timing.comes_up(now_ms) {
            return;
        }
        let Some(due) = link.due_ms(&self.policy.settings) else {
            return;
        };
        if due > now_ms {
            return link.timing.arm(&mut self.links.wheel, token, due);
        }
        let after = self.with_link(token, |turn| turn.expire());
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
    }

    /// A link is gone.
    fn remove_link(&mut self, token: usize) {
        let Some(mut link) = self.links.take(token) else {
            return;
        };
        let ended = link.record.ended().unwrap_or(EndReason {
            by: link.peer(),
            what: "reset",
            code: None,
        });
        // A client's place is free when both links of its bridge are gone.
        if let Some(partner) = link.partner().and_then(|token| self.links.get(token)) {
            if partner.counted_as == CountedAs::Bridge {
                std::mem::swap(&mut partner.counted_as, &mut link.counted_as);
            }
        }
        let (from_client, to_client) = match &link.bridge {
            Some(bridge) => (bridge.direction.tally, self.leave_bridge(bridge, ended)),
            None => Default::default(),
        };
        let id = self.id(token);
        if link.is_of_client() {
            let summary = Summary {
                version: link.conn.version().or(link.record.requested_version()),
                answered: link.record.answered,
                opened: link.record.opened,
                ended,
                from_client,
                to_client,
            };
            let (app, data) = (&mut self.app, &mut link.data);
            let closed = AssertUnwindSafe(|| app.closed(id, &summary, data));
            if catch_unwind(closed).is_err() {
                self.scratch.warnings.of_panic(self.clock.now_ms);
            }
            self.scratch.topics.remove_link(id);
        }
        self.places.leave(link.counted_as);
        // What the app keeps of it goes with it.
        if catch_unwind(AssertUnwindSafe(|| drop(link))).is_err() {
            self.scratch.warnings.of_panic(self.clock.now_ms);
        }
        self.links.slots.drop(token);
        self.acceptor.retry_soon(self.clock.now_ms);
    }

    fn id(&self, token: usize) -> LinkId {
        LinkId {
            worker: self.index,
            token,
        }
    }
}

// Bridges.

impl<A: App> Worker<A> {
    /// Dials a backend for a client that waits.
    fn dial(&mut self, client: usize, dial: BackendDial) {
        let mut untried = dial.addresses.to_vec();
        untried.reverse();
        let transport = match bridge::connect_next(&mut untried) {
            Ok(transport) => transport,
            Err(error) => {
                let error = error.unwrap_or_else(bridge::no_address);
                self.warn_of_backend(&error);
                return self.refuse_unconnected(client, bridge::no_connection(&error));
            }
        };
        let mut conn = dial.conn;
        conn.set_manual_control();
        let mut link = Box::new(Link::new(transport, conn, self.clock.now_ms));
        link.counted_as = CountedAs::Bridge;
        link.preface = Preface::Done;
        link.backlog.push_small(&dial.output);
        let bridge = BridgeLink::of_backend(client, dial.coding, untried);
        link.bridge = Some(Box::new(bridge));
        let token = self.links.slots.put(link);
        if let Some(link) = self.links.get(client) {
            let bridge = BridgeLink::of_client(token, dial.coding);
            link.bridge = Some(Box::new(bridge));
        }
        let Some(Some(link)) = self.links.slots.get(token) else {
            return;
        };
        link.arm(&mut self.links.wheel, token, &self.policy.settings);
        let registry = self.poll.registry();
        if let Err(error) = link.transport.register(registry, Token(token), true) {
            warn_of_watching(&error);
            self.remove_link(token);
        }
    }

    /// Whether TCP of this link is connected. Where the backend cannot be reached
    /// at any address, its client is told.
    fn is_connected(&mut self, token: usize) -> bool {
        let Some(link) = self.links.get(token) else {
            return false;
        };
        match bridge::connecting(link, token, self.poll.registry()) {
            Connecting::Done => true,
            Connecting::Waiting => false,
            Connecting::Failed(error) => {
                link.ended_by_peer(bridge::no_connection(&error).code(), None);
                self.warn_of_backend(&error);
                self.remove_link(token);
                false
            }
        }
    }

    /// Each client is told; the log has it once a second.
    fn warn_of_backend(&mut self, error: &io::Error) {
        let now_ms = self.clock.now_ms;
        let warnings = &mut self.scratch.warnings;
        if bridge::no_connection(error) == NetRefusal::OutOfSockets {
            if warnings.sockets.again(now_ms) {
                log::warn!(target: "heirloom::net", "there is no socket for a connection to the backend: {error}");
            }
        } else if warnings.backend.again(now_ms) {
            log::warn!(target: "heirloom::net", "the backend cannot be reached: {error}");
        }
    }

    fn refuse_unconnected(&mut self, client: usize, refusal: NetRefusal) {
        let by = match refusal {
            NetRefusal::OutOfSockets => ClosedBy::Server,
            _ => ClosedBy::Backend,
        };
        self.with_link(client, |turn| {
            let (hint, mut out) = (turn.context.hint(), turn.scratch.out.output());
            turn.link.refuse(by, refusal.into(), hint, &mut out);
        });
    }

    /// A link is gone, and ended so: its partner closes. Gives what the partner
    /// had carried.
    fn leave_bridge(&mut self, bridge: &BridgeLink, ended: EndReason) -> Tally {
        let Some(other) = bridge.partner else {
            return bridge.carried;
        };
        let partner = self.links.get(other);
        let carried = partner.and_then(|partner| Some(partner.bridge.as_ref()?.direction.tally));
        self.partner_removed(other, bridge.direction.tally, ended);
        carried.unwrap_or_default()
    }

    /// A link's partner is gone, which had carried so much, and ended so.
    fn partner_removed(&mut self, token: usize, carried: Tally, ended: EndReason) {
        let Some(link) = self.links.get(token) else {
            return;
        };
        link.flow.paused_by_bridge = false;
        if let Some(bridge) = &mut link.bridge {
            bridge.partner = None;
            bridge.carried = carried;
            // There is no peer to write to yet, and what waits must not keep the
            // link.
            if bridge.untried.is_some() {
                return self.remove_link(token);
            }
        }
        self.with_link(token, |turn| {
            if !turn.link.is_over() {
                let hint = turn.context.hint();
                let mut out = turn.scratch.out.output();
                bridge::partner_lost(turn.link, Some(ended), hint, &mut out);
            }
        });
    }
}
