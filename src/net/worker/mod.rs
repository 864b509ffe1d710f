//! A worker: one thread, one loop, its own listeners and links.

mod clock;
mod wheel;
mod dialling;
mod addresses;
mod arriving;
mod bridge_link;
mod record;
mod rare;
mod timing;
mod link;
mod acceptor;
mod mail;
mod places;
mod leaving;
mod pool;
mod random_pool;
mod slots;
mod counter;
mod scratch;
mod bridge;
mod relaying;
mod links;
mod dispatch;
mod preface;
mod bound;
mod turn;
mod quick;
mod quick_bridge;
mod backends;
mod outside;
mod memory;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::UnixStream;
use mio::{Events, Poll, Token};

use self::acceptor::{Accepted, Acceptor, LISTENER};
use self::bound::{CALL, Call, SHUTDOWN, WAKER};
use self::bridge_link::BridgeLink;
use self::clock::Clock;
use self::counter::{Counted, Counter};
use self::dialling::ATTEMPT;
use self::leaving::Leaving;
use self::link::{AfterTurn, CountedAs, Flow, Link, Preface};
use self::links::{Links, Settle, warn_of_watching};
use self::mail::Mail;
use self::memory::Pressure;
use self::quick::QuickTurn;
use self::scratch::{Context, Scratch};
use self::timing::Stage;
use self::turn::Turn;
use super::app::{App, EndReason, Summary};
use super::link_id::LinkId;
use super::listen::Takes;
use super::post::{NewClient, Policy};
use super::proxy::ClientAddress;
use super::refusal::NetRefusal;
use super::stats::Board;
use super::tap::Tap;
use crate::conn::Conn;

pub(super) use self::bound::BoundWorker;
pub(super) use self::mail::Mailboxes;
pub(super) use self::places::Places;

/// How often one link is read before the others have their turns.
const MAX_READS: usize = 4;

/// What the workers of a server share.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) policy: Arc<Policy>,
    pub(super) board: Arc<Board>,
    pub(super) places: Arc<Places>,
    /// The mailboxes of all workers.
    pub(super) mailboxes: Vec<Mailboxes>,
    /// Gets what connections publish.
    pub(super) tap: Option<Tap>,
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
    call: Option<Call>,
    links: Links<A::Data>,
    scratch: Scratch,
    mail: Mail,
    policy: Arc<Policy>,
    places: Arc<Places>,
    counter: Counter,
    clock: Clock,
    drain: Drain,
    leaving: Leaving,
    pressure: Pressure,
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
        bound.acceptor.set_keepalive(&setup.policy.settings);
        Worker {
            app,
            index,
            poll: bound.poll,
            acceptor: bound.acceptor,
            _shutdown: bound.shutdown,
            call: bound.call,
            links: Links::new(Arc::clone(&setup.board.budget)),
            scratch: Scratch::new(),
            mail: Mail::new(bound.mailboxes, &setup.mailboxes, setup.tap),
            policy: setup.policy,
            places: setup.places,
            counter: Counter::new(setup.board, index),
            clock: Clock::new(),
            drain: Drain::No,
            leaving: Leaving::default(),
            pressure: Pressure::default(),
        }
    }

    /// Runs until the drain has started and the last link is gone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        while !self.is_drained() {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    log::error!("poll failed: {error}");
                    return;
                }
                _ => {}
            }
            self.clock.tick();
            self.scratch.start_loop_turn();
            for event in &events {
                match event.token() {
                    WAKER => self.read_mail(),
                    // What was written to it does not matter, nor how much.
                    SHUTDOWN => self.mail.drain_all(),
                    CALL => {
                        if let Some(call) = &mut self.call {
                            call.call(self.poll.registry());
                        }
                    }
                    LISTENER => self.acceptor.set_waiting(),
                    Token(token) => self.on_event(token, event),
                }
            }
            if self.drain == Drain::No && self.acceptor.has_more(self.clock.now_ms) {
                self.accept();
            }
            for _ in 0..self.links.ready() {
                if let Some(token) = self.links.next_ready() {
                    self.turn(token);
                }
            }
            self.publish();
            let now_ms = self.clock.now_ms;
            if self.counter.is_asked() {
                self.counter.count(&Counted {
                    acceptor: &self.acceptor,
                    app: &self.app,
                    slots: &self.links.slots,
                    memory_bytes: self.policy.settings.memory_bytes,
                    now_ms,
                });
            }
            self.links.wheel.advance(now_ms, &mut due);
            if !due.is_empty() {
                for token in due.drain(..) {
                    self.deadline_reached(token);
                }
            }
            self.send_away();
            self.scratch.pool.trim(now_ms);
            self.relieve();
            if self.drain == Drain::Requested {
                self.start_drain();
            }
        }
        self.counter.finish(self.policy.settings.memory_bytes);
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
            self.leaving.wait_ms(now_ms),
            self.pressure.wait_ms(),
        ];
        // Cheaper than the minimum of those that are there.
        let waits = next.iter().map(|wait| wait.unwrap_or(u64::MAX));
        let wait_ms = waits.fold(u64::MAX, u64::min);
        (wait_ms < u64::MAX).then(|| Duration::from_millis(wait_ms))
    }

    /// A socket is ready.
    fn on_event(&mut self, token: usize, event: &Event) {
        if token & ATTEMPT != 0 {
            let token = token & !ATTEMPT;
            let is_connected = event.is_writable() && !event.is_error() && !event.is_write_closed();
            if let Some(dialling) = self.links.get(token).and_then(Link::dialling) {
                dialling.note_event(is_connected);
            }
            return self.advance_dial(token);
        }
        let Some(link) = self.links.get(token) else {
            return;
        };
        link.transport.on_event(event);
        if event.is_error() && link.bridge().is_none() && link.timing.stage() == Stage::Open {
            let (app, data) = (&mut self.app, &mut link.data);
            let needs = AssertUnwindSafe(|| app.needs_input_before_reset(data));
            if catch_unwind(needs).is_ok_and(|needs| !needs) {
                return self.remove_link(token);
            }
        }
        let is_paused =
            link.flow.has(Flow::PAUSED_BY_BRIDGE) || link.flow.has(Flow::PAUSED_BY_MEMORY);
        if event.is_error() && is_paused && link.is_of_client() {
            // It is gone, and it is not read, which would show that. What a backend
            // sent before it broke off is still for its client.
            return self.remove_link(token);
        }
        self.turn(token);
    }

    /// Accepts the connections that wait, a batch at a time.
    fn accept(&mut self) {
        let now_ms = self.clock.now_ms;
        let Some(mut round) = self.acceptor.start_round(now_ms) else {
            return;
        };
        while let Some(accepted) = self.acceptor.next(&mut round, now_ms) {
            match accepted {
                Accepted::Connection(client) => {
                    if let Some(client) = self.hand_over(client) {
                        self.add_client(client);
                    }
                }
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

    fn add_client(&mut self, client: NewClient) {
        let NewClient {
            transport,
            address: client,
            takes,
            policy: listener,
        } = client;
        let policy = &self.policy;
        let drains = matches!(self.drain, Drain::Started { .. });
        let proxied = listener.proxies.contains_peer(client.address);
        // Behind a proxy the address is known when the PROXY header has arrived.
        let per_address = policy.settings.connections_per_address;
        let limited = per_address.filter(|_| !proxied).zip(client.address.ip());
        let place = limited.map(|(n, ip)| self.places.addresses.take(ip, n));
        let refusal = match &place {
            _ if drains => Some(NetRefusal::GoingAway),
            _ if self.lacks_memory() => Some(NetRefusal::OutOfMemory),
            Some(None) => Some(NetRefusal::TooManyFromAddress),
            _ => None,
        };
        let limit = match refusal {
            Some(NetRefusal::GoingAway) => usize::MAX,
            Some(_) => 0,
            None => policy.settings.connections,
        };
        let Some(counted_as) = self.places.take(limit) else {
            return self.counter.dropped();
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
        link.takes = match takes {
            Takes::Both if listener.tls.is_none() => Takes::Plain,
            takes => takes,
        };
        if let Some(place) = place.flatten() {
            link.rare_mut().record.set_place(place);
        }
        if listener.is_needed_by_preface() {
            link.rare_mut().listener = Some(listener);
        }
        if proxied {
            link.preface = Preface::ProxyHeader;
        }
        let refusal = match counted_as {
            CountedAs::Surplus => refusal.or(Some(NetRefusal::TooManyConnections)),
            CountedAs::Connection | CountedAs::Bridge => refusal,
        };
        let token = self.links.slots.put(link);
        self.places.client_came(self.index);
        // As a rule the head is there already: read before waiting for it.
        if refusal.is_none() {
            self.scratch.start_turn();
            self.whole_turn(token, Some(&client));
            if self.scratch.topics.are_many() {
                self.publish();
            }
        } else {
            self.with_link(token, |mut turn| turn.greet(&client, refusal));
            self.turn(token);
        }
        if let Some(link) = self.links.get(token) {
            let writes = !link.backlog.is_empty();
            let registry = self.poll.registry();
            if let Err(error) = link.transport.register(registry, Token(token), writes) {
                warn_of_watching(&error);
                self.remove_link(token);
            }
        }
    }

    /// Lets a link read, parse and write. One that fills its reads is read again,
    /// until as much was read as may be, or as much deflated; then the others have
    /// their turns.
    fn turn(&mut self, token: usize) {
        self.scratch.start_turn();
        for reads in 1.. {
            if self.lacks_memory() {
                self.pause_for_memory(token);
            }
            let mut quick = self.quick_turn(token);
            if quick == QuickTurn::NotTaken {
                quick = self.quick_bridge_turn(token);
            }
            if quick == QuickTurn::NotTaken {
                self.whole_turn(token, None);
            }
            if self.scratch.topics.are_many() {
                self.publish();
            }
            if quick == QuickTurn::Done || !self.reads_on(token) {
                return;
            }
            // What is published is handed on once a round, and is to stay small.
            let is_over = reads == MAX_READS || self.scratch.has_deflated_all();
            if is_over || self.scratch.topics.are_some() {
                return self.links.enqueue(token);
            }
        }
    }

    /// Whether a link has filled its last read, and may be read again. What waits to
    /// be inflated waits for the others.
    #[inline(never)]
    fn reads_on(&mut self, token: usize) -> bool {
        let settings = &self.policy.settings;
        self.links.get(token).is_some_and(|link| {
            link.timing.stage() == Stage::Open
                && link.transport.is_readable()
                && link.wants_turn(settings)
                && !link.conn.waits_for_room()
        })
    }

    /// The turn of any link: at most one read, and all that comes of it. `client`
    /// has just connected by it.
    #[inline(never)] // most turns are quick ones
    fn whole_turn(&mut self, token: usize, client: Option<&ClientAddress>) {
        let after = self.with_link(token, |mut turn| {
            if let Some(client) = client {
                turn.greet(client, None);
            }
            turn.take()
        });
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
        if let Some(dial) = self.scratch.dial.take() {
            self.dial(token, *dial);
        }
        if let Some(later) = self.scratch.later.take() {
            self.ask(token, later);
        }
    }

    /// Takes a link and its partner out of their slots, works on them, writes
    /// their output, and puts them back. A panic ends this link, and its partner,
    /// and no other.
    fn with_link<R>(&mut self, token: usize, work: impl FnOnce(Turn<'_, A>) -> R) -> Option<R> {
        let mut link = self.links.take_for_turn(token)?;
        let other = link.partner();
        let mut partner = other.and_then(|token| Some((token, self.links.take(token)?)));
        let context = Context {
            settings: &self.policy.settings,
            now_ms: self.clock.now_ms,
            worker: self.index,
            places: &self.places,
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
            partner.conn.rest(&mut peer_out.output());
        }
        if link.conn.may_rest() {
            link.conn.rest(&mut out.output());
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

    /// The wheel reports that a deadline may have come.
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
        if !link.is_late(&self.policy.settings, now_ms) {
            if link.gives_up_ms().is_some_and(|at| at <= now_ms) {
                return self.give_up_server(token);
            }
            if link.is_connecting() {
                return self.advance_dial(token);
            }
        }
        let after = self.with_link(token, |turn| turn.expire());
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
    }

    /// A link is gone.
    fn remove_link(&mut self, token: usize) {
        if self.goes_on(token) {
            return;
        }
        let Some(mut link) = self.links.take_gone(token) else {
            return;
        };
        let ended = link.ended().unwrap_or(EndReason {
            by: link.peer(),
            what: "reset",
            code: None,
        });
        // A client's place is free when both links of its bridge are gone.
        if let Some(partner) = link.partner().and_then(|token| self.links.get(token)) {
            if partner.counted_as == CountedAs::Bridge {
                std::mem::swap(&mut partner.counted_as, &mut link.counted_as);
                link.hand_place_to(partner);
            }
        }
        let (from_client, to_client) = match link.bridge() {
            Some(bridge) => (bridge.carries.tally(), self.leave_bridge(bridge, ended)),
            None => Default::default(),
        };
        let id = self.id(token);
        if link.is_of_client() {
            let bridge = link.bridge();
            let relayed = bridge.is_some_and(BridgeLink::relays);
            let summary = Summary {
                target: bridge.and_then(|bridge| bridge.target.clone()),
                target_status: bridge.and_then(|bridge| bridge.status),
                version: link.conn.version().or(link.requested_version()),
                answered: link.past.answered && !relayed,
                relayed,
                opened: link.past.opened,
                ended,
                from_client,
                to_client,
            };
            self.counter.ended(&link, &summary);
            let (app, data) = (&mut self.app, &mut link.data);
            let closed = AssertUnwindSafe(|| app.closed(id, &summary, data));
            if catch_unwind(closed).is_err() {
                self.scratch.warnings.of_panic(self.clock.now_ms);
            }
            self.scratch.topics.remove_link(id);
            self.places.client_left(self.index);
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
