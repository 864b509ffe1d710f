//! A worker: one thread, one loop, its own listeners and links.

mod link;
mod listener;
mod mail;
mod pair;
mod pool;
mod random_pool;
mod room;
mod scratch;
mod slots;
mod wheel;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};

use self::link::{CountedAs, Link, LinkRecord, Progress, ReadResult, Stage};
use self::listener::Accepted;
use self::pair::{BridgeLink, BridgeTurn, refuse_for};
use self::pool::Pool;
use self::random_pool::RandomPool;
use self::scratch::{AfterTurn, Scratch};
use self::slots::Slots;
use self::wheel::Wheel;

use super::{
    App, BindError, ClientAddress, ClosedBy, ConnectionInfo, ConnectionStats, EndReason, LISTED,
    LinkId, Networks, Shared, StatsSnapshot, Stopper, Summary,
};
use crate::bytes::Output;
use crate::conn::{Config, Conn, Phase};
use crate::error::{Refusal, Violation};
use crate::frame::GOING_AWAY;
use crate::version::{Closing, Side, Version};

pub(super) use self::link::Backlog;
pub(super) use self::mail::Mail;
pub(super) use self::room::{Batch, Room};

/// Octets read from one link in one turn; the others wait no longer than that.
pub(super) const TURN: usize = 64 * 1024;
/// Connections accepted in one turn.
const ACCEPTS: usize = 64;
/// Retry of an accept that failed for want of descriptors, in milliseconds.
const RETRY_MS: u64 = 100;
/// Connections above the limit that are told so at the same time.
const TOLD: usize = 64;

/// Connections are counted at most so often, in milliseconds.
const COUNT_MS: u64 = 1_000;

const WAKER: Token = Token(0);
/// No link's token: its generation would be 0.
const SHUTDOWN: Token = Token(u32::MAX as usize);

/// What a worker needs before it runs: listeners and a way to wake it.
#[derive(Debug)]
pub(super) struct BoundWorker {
    poll: Poll,
    waker: Arc<Waker>,
    /// With the address each is bound to.
    listeners: Vec<(TcpListener, SocketAddr)>,
    shutdown: Option<(UnixStream, Stopper)>,
}

impl BoundWorker {
    /// Binds these addresses and writes the real ports back.
    pub(super) fn bind(addresses: &mut [SocketAddr]) -> Result<BoundWorker, BindError> {
        let failed = |address| move |error| BindError { address, error };
        let some = addresses.first().copied();
        let nowhere = some.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let poll = Poll::new().map_err(failed(nowhere))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(failed(nowhere))?;
        let mut listeners = Vec::new();
        for (i, address) in addresses.iter_mut().enumerate() {
            let mut listener = listener::bind(*address).map_err(failed(*address))?;
            *address = listener.local_addr().map_err(failed(*address))?;
            poll.registry()
                .register(&mut listener, Token(1 + i), Interest::READABLE)
                .map_err(failed(*address))?;
            listeners.push((listener, *address));
        }
        Ok(BoundWorker {
            poll,
            waker: Arc::new(waker),
            listeners,
            shutdown: None,
        })
    }

    /// Gives the end of a pipe that stops the server.
    pub(super) fn add_shutdown_pipe(
        &mut self,
        stopper: Stopper,
    ) -> io::Result<std::os::unix::net::UnixStream> {
        let (writer, reader) = std::os::unix::net::UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        reader.set_nonblocking(true)?;
        let mut reader = UnixStream::from_std(reader);
        self.poll
            .registry()
            .register(&mut reader, SHUTDOWN, Interest::READABLE)?;
        self.shutdown = Some((reader, stopper));
        Ok(writer)
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }
}

/// Checks that nobody listens there yet.
pub(super) fn check_free(address: SocketAddr) -> Result<(), BindError> {
    listener::check_free(address).map_err(|error| BindError { address, error })
}

/// A mailbox for each worker.
pub(super) fn mailboxes(bound_workers: &[BoundWorker]) -> Vec<Mail<Batch>> {
    let wakers: Vec<_> = bound_workers.iter().map(BoundWorker::waker).collect();
    mail::mailboxes(&wakers)
}

/// What all workers of a server are told.
pub(super) struct WorkerSetup {
    pub(super) config: Config,
    /// Whose connections begin with a PROXY header.
    pub(super) proxies: Networks,
    pub(super) stats: ConnectionStats,
    /// Which worker this is.
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
}

/// One worker.
pub(super) struct Worker<A: App> {
    app: A,
    poll: Poll,
    /// Kept, though others wake: a waker that nobody holds wakes nobody.
    _waker: Arc<Waker>,
    shutdown: Option<(UnixStream, Stopper)>,
    /// With the address each is bound to.
    listeners: Vec<(TcpListener, SocketAddr)>,
    /// Listeners that may have somebody waiting.
    waiting: bool,
    /// When an accept that failed is tried again.
    retry_ms: Option<u64>,
    slots: Slots<A::Data>,
    ready: VecDeque<usize>,
    wheel: Wheel,
    mail: Mail<Batch>,
    paused_by_mailbox: Vec<usize>,
    scratch: Scratch,
    /// Whose connections begin with a PROXY header.
    proxies: Networks,
    stats: ConnectionStats,
    /// Which worker this is.
    index: usize,
    /// When this worker counted last.
    counted_ms: Option<u64>,
    start: Instant,
    now_ms: u64,
    shared: Arc<Shared>,
    draining: bool,
}

impl<A: App> Worker<A> {
    pub(super) fn new(
        bound_worker: BoundWorker,
        mail: Mail<Batch>,
        app: A,
        setup: WorkerSetup,
    ) -> Worker<A> {
        Worker {
            app,
            poll: bound_worker.poll,
            _waker: bound_worker.waker,
            shutdown: bound_worker.shutdown,
            listeners: bound_worker.listeners,
            waiting: true,
            retry_ms: None,
            slots: Slots::default(),
            ready: VecDeque::new(),
            wheel: Wheel::new(),
            mail,
            paused_by_mailbox: Vec::new(),
            scratch: Scratch::new(setup.config),
            proxies: setup.proxies,
            stats: setup.stats,
            index: setup.index,
            counted_ms: None,
            start: Instant::now(),
            now_ms: 0,
            shared: setup.shared,
            draining: false,
        }
    }

    /// Runs until it was told to drain and the last link is gone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        while !(self.draining && self.slots.live == 0) {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    log::error!("poll failed: {error}");
                    return;
                }
                _ => {}
            }
            self.now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.scratch.now_ms = self.now_ms;
            for event in &events {
                match event.token() {
                    WAKER => self.read_mail(),
                    // What was written to it does not matter, nor how much.
                    SHUTDOWN => {
                        if let Some((_, stopper)) = &self.shutdown {
                            stopper.stop();
                        }
                    }
                    Token(n) if n <= self.listeners.len() => self.waiting = true,
                    Token(token) => {
                        if let Some(Some(link)) = self.slots.get(token) {
                            link.readable |= event.is_readable() || event.is_error();
                            link.read_closed |= event.is_read_closed();
                            link.writable |= event.is_writable();
                            let is_client = link.conn.side() == Side::Server;
                            if event.is_error() && link.read_paused_by_bridge && is_client {
                                // It is gone, and nobody reads it who would
                                // see that. What a backend said before it broke
                                // off is still for its client.
                                self.remove_link(token);
                                continue;
                            }
                        }
                        if self.is_connected(token) {
                            self.turn(token);
                        }
                    }
                }
            }
            self.accept();
            for _ in 0..self.ready.len() {
                if let Some(token) = self.ready.pop_front() {
                    if let Some(Some(link)) = self.slots.get(token) {
                        link.queued = false;
                    }
                    self.turn(token);
                }
            }
            self.deliver();
            self.count();
            self.wheel.advance(self.now_ms, &mut due);
            for token in due.drain(..) {
                self.deadline_reached(token);
            }
            self.scratch.pool.trim(self.now_ms);
            if self.shared.draining.load(Ordering::Acquire) && !self.draining {
                self.drain();
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.waiting && self.retry_ms.is_none() {
            return Some(Duration::ZERO);
        }
        let retry = self
            .retry_ms
            .map(|at| at.saturating_sub(self.now_ms).max(1));
        let pool = self.scratch.pool.wait_ms();
        let count = self
            .counted_ms
            .filter(|_| self.stats.is_wanted(self.index))
            .map(|at| (at + COUNT_MS).saturating_sub(self.now_ms).max(1));
        let next = [retry, pool, count, self.wheel.wait_ms(self.now_ms)];
        next.into_iter().flatten().min().map(Duration::from_millis)
    }

    /// Takes in those who wait, a batch at a time.
    fn accept(&mut self) {
        if !self.waiting || self.draining || self.retry_ms.is_some_and(|at| at > self.now_ms) {
            return;
        }
        self.retry_ms = None;
        self.waiting = false;
        for i in 0..self.listeners.len() {
            for n in 0.. {
                if n == ACCEPTS {
                    self.waiting = true;
                    break;
                }
                let Some((listener, address)) = self.listeners.get(i) else {
                    break;
                };
                match listener::accept(listener) {
                    Accepted::Stream(stream, peer) => {
                        let local = local_address(*address, &stream);
                        self.accept_connection(stream, peer, local);
                    }
                    Accepted::Again => {}
                    Accepted::Empty => break,
                    Accepted::Exhausted(error) => {
                        // Nobody will say again that they wait.
                        self.waiting = true;
                        self.retry_ms = Some(self.now_ms + RETRY_MS);
                        self.log_exhausted(&error);
                        break;
                    }
                    Accepted::Broken(error) => {
                        log::error!("a listener is broken: {error}");
                        break;
                    }
                }
            }
        }
    }

    fn log_exhausted(&mut self, error: &io::Error) {
        if self.scratch.warnings.again(self.now_ms) {
            log::warn!(
                "cannot accept: {error}; {} connections are open, others wait until one ends",
                self.slots.live
            );
        }
    }

    fn accept_connection(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        local: Option<SocketAddr>,
    ) {
        let limit = self.scratch.config.limits.connections;
        let surplus = !take_one(&self.shared.connections, limit);
        if surplus && !take_one(&self.shared.surplus, TOLD) {
            return;
        }
        log::debug!(target: "heirloom::net", "{peer} connected");
        let conn = Conn::server(Arc::clone(&self.scratch.config));
        let mut link = Box::new(Link::new(stream, conn, self.now_ms));
        let mut client = ClientAddress::from(peer);
        client.destination = local;
        self.app.connected(&client, &mut link.data);
        link.expects_proxy_header = self.proxies.contains(peer.ip());
        if !link.expects_proxy_header {
            if let Some(recorder) = self.app.recorder(&mut link.data) {
                link.record.start_recording(recorder);
            }
        }
        if surplus {
            link.counted_as = CountedAs::Surplus;
        }
        let token = self.slots.put(link);
        if surplus {
            self.with_link(token, |link, _, scratch, _| {
                let mut out = scratch.output();
                refuse(link, Refusal::TooManyConnections, &mut out);
            });
        }
        // The head is there already, as a rule: read before waiting for it.
        self.turn(token);
        let Some(Some(link)) = self.slots.get(token) else {
            return;
        };
        let mut interest = Interest::READABLE;
        if !link.backlog.is_empty() {
            interest |= Interest::WRITABLE;
            link.watches_writes = true;
        }
        let registered = self
            .poll
            .registry()
            .register(&mut link.stream, Token(token), interest);
        if let Err(error) = registered {
            log::warn!("cannot watch a connection: {error}");
            self.remove_link(token);
        }
    }

    /// Lets a link read, write and go on, as far as one turn lets it.
    fn turn(&mut self, token: usize) {
        let after = self.with_link(token, |link, partner, scratch, app| {
            scratch.take_turn(app, LinkId(token), link, partner)
        });
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
        if let Some(dial) = self.scratch.dial.take() {
            self.dial(token, *dial);
        }
    }

    /// Lifts a link and its partner out of their slots, works on them, writes
    /// what was said, and puts them back. A panic ends this link, and its
    /// partner, and no other.
    fn with_link<R>(
        &mut self,
        token: usize,
        work: impl FnOnce(&mut Link<A::Data>, Option<&mut Link<A::Data>>, &mut Scratch, &mut A) -> R,
    ) -> Option<R> {
        let mut link = self.slots.get(token)?.take()?;
        let bridge = link.bridge.as_ref().and_then(|bridge| bridge.partner);
        let mut partner = bridge.and_then(|token| Some((token, self.slots.get(token)?.take()?)));
        let (scratch, app) = (&mut self.scratch, &mut self.app);
        // What other links said in the room stays.
        let mark = scratch.room.mark();
        let mut partner_missed_output = false;
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let other = partner.as_mut().map(|(_, partner)| &mut **partner);
            work(&mut link, other, scratch, app)
        }));
        let result = match worked {
            Ok(result) => Some(result),
            Err(_) => {
                log::error!("a connection ended by a panic");
                // A partner that does not hear all it was to hear must not
                // hear a goodbye either, which could complete half a text.
                partner_missed_output = !self.scratch.peer_out.is_empty();
                self.scratch.discard_output(mark);
                link.unparsed = Vec::new();
                link.gather = None;
                let mut out = self.scratch.output();
                link.conn.abort(Violation::Internal, &mut out);
                link.record.end(ended_here(Violation::Internal.code()));
                None
            }
        };
        let mut dropped = [None, None];
        if let Some((other, partner)) = &mut partner {
            self.scratch.propagate_close(&mut link, partner);
            std::mem::swap(&mut self.scratch.out, &mut self.scratch.peer_out);
            if self.settle(*other, partner) == AfterTurn::Drop || partner_missed_output {
                dropped[1] = Some(*other);
            }
            std::mem::swap(&mut self.scratch.out, &mut self.scratch.peer_out);
        }
        if self.settle(token, &mut link) == AfterTurn::Drop {
            dropped[0] = Some(token);
        }
        if let Some((other, mut partner)) = partner {
            pair::pause_reads(&mut link, &mut partner, &self.scratch.config.limits);
            self.queue(other, &mut partner);
            if let Some(slot) = self.slots.get(other) {
                *slot = Some(partner);
            }
        }
        self.queue(token, &mut link);
        if let Some(slot) = self.slots.get(token) {
            *slot = Some(link);
        }
        for token in dropped.into_iter().flatten() {
            self.remove_link(token);
        }
        result.filter(|_| dropped[0].is_none())
    }

    /// After work on a link: writes, moves on to the next stage and arms the
    /// deadline.
    fn settle(&mut self, token: usize, link: &mut Link<A::Data>) -> AfterTurn {
        if link.in_room && !link.is_member {
            link.is_member = true;
            self.scratch.room.members.push(LinkId(token));
        }
        let limits = &self.scratch.config.limits;
        let had_backlog = !link.backlog.is_empty();
        match link.flush(&mut self.scratch.out) {
            Ok(Progress::Some) => {
                if had_backlog && link.stage != Stage::Handshake {
                    link.since_ms = self.now_ms;
                }
            }
            Ok(Progress::None) => {}
            Err(error) => {
                log::debug!(target: "heirloom::net", "a write failed: {error}");
                return AfterTurn::Drop;
            }
        }
        if self.scratch.out.capacity() > 4 * TURN {
            self.scratch.out = Vec::new();
        }
        while let Some(buffer) = link.backlog.spent() {
            self.scratch.pool.put(buffer);
        }
        if advance(link, self.now_ms) == AfterTurn::Drop {
            return AfterTurn::Drop;
        }
        if !link.backlog.is_empty() {
            if !had_backlog && link.stage == Stage::Open {
                link.since_ms = self.now_ms;
            }
            if !link.watches_writes && !link.writable {
                link.watches_writes = true;
                let both = Interest::READABLE | Interest::WRITABLE;
                let watched = self
                    .poll
                    .registry()
                    .reregister(&mut link.stream, Token(token), both);
                match watched {
                    // Not registered yet: it was accepted in this turn.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => {
                        log::warn!("cannot watch a connection: {error}");
                        return AfterTurn::Drop;
                    }
                    Ok(()) => {}
                }
            }
        }
        if let Some(due) = link.due_ms(limits) {
            link.armed_ms = self.wheel.arm(token, due, link.armed_ms);
        }
        AfterTurn::Keep
    }

    /// Queues a link that has more to do.
    fn queue(&mut self, token: usize, link: &mut Link<A::Data>) {
        if !link.queued && link.wants_read(&self.scratch.config.limits) {
            link.queued = true;
            self.ready.push_back(token);
        }
    }

    /// The wheel says that a deadline may have come.
    fn deadline_reached(&mut self, token: usize) {
        let now_ms = self.now_ms;
        let limits = self.scratch.config.limits.clone();
        let Some(Some(link)) = self.slots.get(token) else {
            return;
        };
        if link.armed_ms == 0 || link.armed_ms > now_ms {
            // An entry of a deadline that moved closer; the link has another.
            return;
        }
        link.armed_ms = 0;
        let Some(due) = link.due_ms(&limits) else {
            return;
        };
        if due > now_ms {
            link.armed_ms = self.wheel.arm(token, due, 0);
            return;
        }
        let after = self.with_link(token, |link, _, scratch, _| scratch.expire(link));
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
    }

    /// Counts the connections, if somebody wants to know and did not just now.
    fn count(&mut self) {
        let early = |at: u64| self.now_ms < at + COUNT_MS;
        if !self.stats.is_wanted(self.index) || self.counted_ms.is_some_and(early) {
            return;
        }
        self.counted_ms = Some(self.now_ms);
        let mut snapshot = StatsSnapshot::default();
        for link in self.slots.links() {
            let (Some(version), Stage::Open, Side::Server) =
                (link.conn.version(), link.stage, link.conn.side())
            else {
                continue;
            };
            snapshot.open += 1;
            if snapshot.listed.len() < LISTED {
                let age_s = (self.now_ms / 1000).saturating_sub(u64::from(link.began_s));
                snapshot.listed.push(ConnectionInfo { version, age_s });
            }
        }
        self.stats.write(self.index, snapshot);
    }

    /// Stops listening and says goodbye to all.
    fn drain(&mut self) {
        self.draining = true;
        let clients = self.slots.links().filter(|l| l.conn.side() == Side::Server);
        let clients = clients.count();
        log::info!("draining {clients} connections");
        // Nobody is accepted any more, so nobody waits.
        self.waiting = false;
        self.retry_ms = None;
        for (mut listener, _) in std::mem::take(&mut self.listeners) {
            if let Err(error) = self.poll.registry().deregister(&mut listener) {
                log::debug!("cannot stop watching a listener: {error}");
            }
        }
        for token in self.slots.tokens() {
            self.with_link(token, |link, _, scratch, _| {
                let mut out = scratch.output();
                match link.conn.phase() {
                    // The refusal of its client ends it, in whatever order
                    // the two stand.
                    Phase::Handshake if link.conn.side() == Side::Client => {}
                    Phase::Handshake => refuse(link, Refusal::GoingAway, &mut out),
                    _ => {
                        link.record.end(EndReason {
                            code: Some(GOING_AWAY),
                            ..ended_here("going-away")
                        });
                        link.conn.close(GOING_AWAY, "going-away", &mut out);
                    }
                }
            });
        }
    }

    /// A link is gone.
    fn remove_link(&mut self, token: usize) {
        let Some(Some(mut link)) = self.slots.get(token).map(Option::take) else {
            return;
        };
        let ended = link.record.ended().unwrap_or(EndReason {
            by: link.peer(),
            what: "reset",
            code: None,
        });
        // A client's place is free when both links of its bridge are gone.
        let partner = link.bridge.as_ref().and_then(|bridge| bridge.partner);
        if let Some(Some(partner)) = partner.and_then(|token| self.slots.get(token)) {
            if partner.counted_as == CountedAs::Bridge {
                std::mem::swap(&mut partner.counted_as, &mut link.counted_as);
            }
        }
        let (from_client, to_client) = match &link.bridge {
            Some(bridge) => (bridge.direction.tally, self.leave_bridge(bridge, ended)),
            None => Default::default(),
        };
        if link.conn.side() == Side::Server {
            let summary = Summary {
                version: link.conn.version().or(link.record.requested_version()),
                answered: link.record.answered,
                opened: link.record.opened,
                ended,
                from_client,
                to_client,
            };
            let (app, data) = (&mut self.app, &mut link.data);
            let closed = AssertUnwindSafe(|| app.closed(LinkId(token), &summary, data));
            if catch_unwind(closed).is_err() {
                log::error!("the app panicked when a connection was gone");
            }
        }
        if link.is_member {
            self.scratch
                .room
                .members
                .retain(|member| *member != LinkId(token));
        }
        let counter = match link.counted_as {
            CountedAs::Connection => Some(&self.shared.connections),
            CountedAs::Surplus => Some(&self.shared.surplus),
            CountedAs::Bridge => None,
        };
        if let Some(counter) = counter {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
        drop(link);
        self.slots.drop(token);
        // A descriptor is free again.
        if self.retry_ms.is_some() {
            self.retry_ms = Some(self.now_ms);
        }
    }
}

/// An end that was our doing.
fn ended_here(what: &'static str) -> EndReason {
    EndReason {
        by: ClosedBy::Server,
        what,
        code: None,
    }
}

/// Refuses for a reason of our own.
fn refuse<G>(link: &mut Link<G>, refusal: Refusal, out: &mut Output<'_>) {
    link.record.end(EndReason {
        code: Some(refusal.response_status()),
        ..ended_here(refusal.code())
    });
    link.conn.refuse(refusal, out);
}

/// The address that a client dialled, as far as it is known at no cost: one
/// listener may stand for many.
fn local_address(listener: SocketAddr, stream: &TcpStream) -> Option<SocketAddr> {
    if listener.ip().is_unspecified() {
        return stream.local_addr().ok();
    }
    Some(listener)
}

/// Takes one of so many places, if one is free.
fn take_one(counter: &AtomicUsize, limit: usize) -> bool {
    let before = counter.fetch_add(1, Ordering::Relaxed);
    if before >= limit {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    before < limit
}

/// Moves a link on to the stage that its connection has come to.
fn advance<G>(link: &mut Link<G>, now_ms: u64) -> AfterTurn {
    let enter = |link: &mut Link<G>, stage| {
        link.stage = stage;
        link.since_ms = now_ms;
    };
    match (link.stage, link.conn.phase()) {
        (Stage::Handshake, Phase::Open) => enter(link, Stage::Open),
        (Stage::Handshake | Stage::Open, Phase::Closing | Phase::Closed) => {
            enter(link, Stage::Closing);
        }
        _ => {}
    }
    if link.stage == Stage::Closing && has_said_all(&link.conn) && link.backlog.is_empty() {
        // All is said and the peer has nothing more to say, or has gone: there
        // is nothing left that could cause a reset.
        if !link.readable && (link.read_closed || link.conn.is_close_complete()) {
            return AfterTurn::Drop;
        }
        if link.stream.shutdown(Shutdown::Write).is_err() {
            return AfterTurn::Drop;
        }
        enter(link, Stage::Draining);
    }
    AfterTurn::Keep
}

/// Whether nothing more will be sent. After a server's FF 00 that is so at
/// once, and the end of TCP tells a WebKit of 2011 what its FF 00 does not.
fn has_said_all(conn: &Conn) -> bool {
    match conn.phase() {
        Phase::Closed => true,
        Phase::Closing => {
            let is_76 = |v: &Version| v.closing == Closing::Hixie76;
            conn.side() == Side::Server && conn.version().is_some_and(is_76)
        }
        Phase::Handshake | Phase::Open => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Limits;

    #[test]
    fn every_stage_has_exactly_one_deadline() {
        let limits = Limits::default();
        for stage in [Stage::Handshake, Stage::Closing, Stage::Draining] {
            assert!(due(stage, &limits, false).is_some(), "{stage:?}");
        }
        assert_eq!(due(Stage::Open, &limits, false), None, "idle is off");
        assert!(due(Stage::Open, &limits, true).is_some(), "write stall");
        let idle = Limits {
            idle_ms: 7,
            ..Limits::default()
        };
        assert_eq!(due(Stage::Open, &idle, false), Some(7));
    }

    fn due(stage: Stage, limits: &Limits, backlog: bool) -> Option<u64> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
        let stream = std::net::TcpStream::connect(listener.local_addr().ok()?).ok()?;
        let conn = Conn::server(Arc::default());
        let mut link: Link<()> = Link::new(TcpStream::from_std(stream), conn, 0);
        link.stage = stage;
        if backlog {
            link.backlog.push_small(b"waits");
        }
        link.due_ms(limits)
    }
}
