//! The links of a worker: where they are, which have more to do, and their
//! deadlines.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use mio::{Registry, Token};

use super::link::{AfterTurn, Flow, Link, READ};
use super::pool::Pool;
use super::rare::Rare;
use super::relaying;
use super::scratch::Context;
use super::slots::Slots;
use super::timing::Stage;
use super::wheel::Wheel;
use crate::conn::Phase;
use crate::net::backlog::Progress;
use crate::net::budget::{Budget, Held};
use crate::net::settings::Settings;

/// The links of one worker.
pub(super) struct Links<D> {
    pub(super) slots: Slots<D>,
    /// Links that have more to do, in order.
    ready: VecDeque<usize>,
    pub(super) wheel: Wheel,
    /// Counts the memory of all links, those of other workers too.
    pub(super) budget: Arc<Budget>,
    /// An empty one, for the next link that needs one.
    spare: Option<Box<Rare>>,
}

impl<D> Links<D> {
    pub(super) fn new(budget: Arc<Budget>) -> Links<D> {
        Links {
            slots: Slots::default(),
            ready: VecDeque::new(),
            wheel: Wheel::new(),
            budget,
            spare: None,
        }
    }

    #[inline]
    pub(super) fn get(&mut self, token: usize) -> Option<&mut Link<D>> {
        self.slots.get(token)?.as_deref_mut()
    }

    /// Takes a link out of its slot, for a turn that may need more of it.
    #[inline]
    pub(super) fn take_for_turn(&mut self, token: usize) -> Option<Box<Link<D>>> {
        let mut link = self.take(token)?;
        if link.rare.is_none() {
            link.rare = self.spare.take();
        }
        Some(link)
    }

    /// Takes a link out of its slot, to work on it.
    #[inline]
    pub(super) fn take(&mut self, token: usize) -> Option<Box<Link<D>>> {
        self.slots.get(token)?.take()
    }

    /// Takes a link that is gone out of its slot; its memory does not count any
    /// more.
    pub(super) fn take_gone(&mut self, token: usize) -> Option<Box<Link<D>>> {
        let mut link = self.take(token)?;
        // A peer that is still there learns by it that nothing was cut off.
        if !link.backlog.is_empty() {
            link.transport.withhold_tls_close();
        }
        link.transport.end_tls();
        if let Some(rare) = &mut link.rare {
            let held = std::mem::take(&mut rare.memory);
            self.budget.change(held, Held::default());
        }
        Some(link)
    }

    /// Puts it back, and into the ready list if it has more to do.
    #[inline]
    pub(super) fn put_back(&mut self, token: usize, mut link: Box<Link<D>>, settings: &Settings) {
        self.keep_empty(&mut link);
        if link.holds_any() {
            link.count_memory(&self.budget);
            self.keep_empty(&mut link);
        }
        if !link.flow.has(Flow::QUEUED) && link.wants_turn(settings) {
            link.flow.set(Flow::QUEUED, true);
            self.ready.push_back(token);
        }
        if let Some(slot) = self.slots.get(token) {
            *slot = Some(link);
        }
    }

    /// Takes what a link has for nothing any more, for the next that needs it.
    #[inline]
    fn keep_empty(&mut self, link: &mut Link<D>) {
        if let Some(spare) = link.take_empty() {
            self.spare = Some(spare);
        }
    }

    /// Puts a link into the ready list.
    pub(super) fn enqueue(&mut self, token: usize) {
        if let Some(Some(link)) = self.slots.get(token) {
            if !link.flow.has(Flow::QUEUED) {
                link.flow.set(Flow::QUEUED, true);
                self.ready.push_back(token);
            }
        }
    }

    /// How many links have more to do.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next link that has more to do.
    pub(super) fn next_ready(&mut self) -> Option<usize> {
        let token = self.ready.pop_front()?;
        if let Some(link) = self.get(token) {
            link.flow.set(Flow::QUEUED, false);
        }
        Some(token)
    }
}

/// What settles a link after work on it.
pub(super) struct Settle<'w> {
    pub(super) registry: &'w Registry,
    pub(super) wheel: &'w mut Wheel,
    pub(super) pool: &'w mut Pool,
    pub(super) context: Context<'w>,
}

impl Settle<'_> {
    /// Writes the link's output, moves it on to the next stage and arms its
    /// deadline.
    pub(super) fn settle<D>(
        &mut self,
        token: usize,
        link: &mut Link<D>,
        out: &mut Vec<u8>,
    ) -> AfterTurn {
        let now_ms = self.context.now_ms;
        let had_backlog = !link.backlog.is_empty();
        if let Some(rare) = &mut link.rare {
            rare.record.end_turn(out);
        }
        match link.backlog.send(out, &mut link.transport) {
            Ok(Progress::Some) => {
                let stage = link.timing.stage();
                let is_life = stage == Stage::Open && !link.has_ping();
                if had_backlog && stage != Stage::Handshake || is_life {
                    link.timing.restart(now_ms);
                }
            }
            Ok(Progress::None) => {}
            Err(error) => {
                log::debug!(target: "heirloom::net", "a write failed: {error}");
                if !relaying::outlives_writes(link) {
                    link.broken(&error);
                    return AfterTurn::Drop;
                }
            }
        }
        if out.capacity() > 2 * READ {
            *out = Vec::new();
        }
        while let Some(buffer) = link.backlog.spent() {
            self.pool.put(buffer);
        }
        let stage = link.timing.stage();
        if advance(link, now_ms) == AfterTurn::Drop {
            return AfterTurn::Drop;
        }
        if stage == Stage::Handshake {
            link.set_user_timeout(self.context.settings);
        }
        if !link.backlog.is_empty() || link.transport.has_unsent() {
            let stage = link.timing.stage();
            let waits = !link.backlog.is_empty();
            if waits && !had_backlog && (stage == Stage::Open || stage.relays()) {
                link.timing.restart(now_ms);
            }
            if let Err(error) = link.transport.watch_writes(self.registry, Token(token)) {
                warn_of_watching(&error);
                return AfterTurn::Drop;
            }
        }
        link.arm(self.wheel, token, self.context.settings);
        AfterTurn::Keep
    }
}

pub(super) fn warn_of_watching(error: &io::Error) {
    log::warn!("cannot watch a connection: {error}");
}

/// Moves a link on to the stage that its connection has come to.
fn advance<D>(link: &mut Link<D>, now_ms: u64) -> AfterTurn {
    match (link.timing.stage(), link.conn.phase()) {
        (Stage::Handshake, Phase::Open) => link.timing.enter(Stage::Open, now_ms),
        (
            Stage::Handshake | Stage::Open | Stage::Relay | Stage::RelayEnding,
            Phase::Closing | Phase::Closed,
        ) => {
            link.timing.enter(Stage::Closing, now_ms);
        }
        _ => {}
    }
    if link.timing.stage().relays() {
        return relaying::advance(link);
    }
    let is_closing = link.timing.stage() == Stage::Closing;
    if is_closing && link.conn.ends_by_tcp() {
        // What the peer still sends is not thrown away.
        if link.backlog.is_empty() && !link.flow.has(Flow::HAS_ENDED_WRITES) {
            link.flow.set(Flow::HAS_ENDED_WRITES, true);
            if link.transport.shutdown_write().is_err() {
                return AfterTurn::Drop;
            }
        }
        return AfterTurn::Keep;
    }
    if is_closing && link.backlog.is_empty() && link.conn.has_sent_all() {
        // All is written and the peer has nothing more to send, or has gone:
        // nothing is left that could cause a reset.
        let transport = &mut link.transport;
        // Inside TLS both ends send a close_notify behind their closes, and a peer
        // that gets none may take that for an attack (RFC 8446 section 6.1).
        let is_tls = transport.is_tls();
        let has_ended = transport.is_read_closed() || link.conn.is_close_complete() && !is_tls;
        let ends = !transport.is_readable() && has_ended;
        if (!ends || is_tls) && transport.shutdown_write().is_err() {
            return AfterTurn::Drop;
        }
        if ends && !transport.has_unsent() {
            return AfterTurn::Drop;
        }
        // Nothing is parsed any more.
        link.discard_input();
        link.timing.enter(Stage::Draining, now_ms);
    }
    AfterTurn::Keep
}
