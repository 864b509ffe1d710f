//! What happens while the connections hold more memory than they may: those that
//! hold some are not read, and where nothing can give memory back, the least
//! active unfinished messages are given up.

use super::Worker;
use super::link::{Flow, Link};
use super::rare::Rare;
use crate::net::app::App;
use crate::net::budget::{Budget, Held};

/// How often a worker looks whether memory has returned, in milliseconds.
const LOOK_MS: u64 = 10;
/// Where other things than unfinished messages hold memory, they have this time
/// to give it back, until one connection is closed.
const PATIENCE_MS: u64 = 5_000;

/// What one worker knows of a lack of memory.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// When a connection was closed last for it, or since when it lasts.
    since_ms: Option<u64>,
    /// Links that are not read until memory has returned.
    paused: Vec<usize>,
}

impl Pressure {
    /// Milliseconds until the next look, while memory is lacking.
    pub(super) fn wait_ms(&self) -> Option<u64> {
        (self.since_ms.is_some() || !self.paused.is_empty()).then_some(LOOK_MS)
    }
}

impl<A: App> Worker<A> {
    /// Whether the connections hold more than they may.
    #[inline]
    pub(super) fn lacks_memory(&self) -> bool {
        let limit = self.policy.settings.memory_bytes;
        self.links.budget.is_over(limit)
    }

    /// Memory is lacking: a link that holds some, or would hold some while much is
    /// lacking, is not read. It may still write.
    #[cold]
    pub(super) fn pause_for_memory(&mut self, token: usize) {
        let limit = self.policy.settings.memory_bytes;
        let is_far_over = self.links.budget.is_far_over(limit);
        let partner = self.links.get(token).and_then(|link| link.partner());
        let partner = partner.and_then(|token| self.links.get(token));
        let partner_waits = partner.is_some_and(|partner| !partner.backlog.is_empty());
        let Some(link) = self.links.get(token) else {
            return;
        };
        let holds = link.holds_input_or_output() || partner_waits || is_far_over;
        // One that is over is only drained. What was read already is parsed.
        let must_wait = holds && !link.is_over() && !link.flow.has(Flow::PARSE_DUE);
        if must_wait && !link.flow.has(Flow::PAUSED_BY_MEMORY) {
            link.flow.set(Flow::PAUSED_BY_MEMORY, true);
            self.pressure.paused.push(token);
        }
    }

    /// Reads links again once memory has returned, and closes some where it does
    /// not return by itself.
    #[inline]
    pub(super) fn relieve(&mut self) {
        if self.lacks_memory() || self.pressure.wait_ms().is_some() {
            self.relieve_links();
        }
    }

    #[inline(never)]
    fn relieve_links(&mut self) {
        if !self.lacks_memory() {
            self.pressure.since_ms = None;
            for token in std::mem::take(&mut self.pressure.paused) {
                if let Some(link) = self.links.get(token) {
                    link.flow.set(Flow::PAUSED_BY_MEMORY, false);
                    self.links.enqueue(token);
                }
            }
            return;
        }
        self.scratch.pool.clear();
        let now_ms = self.clock.now_ms;
        let Some(since_ms) = self.pressure.since_ms else {
            self.pressure.since_ms = Some(now_ms);
            self.warn_of_memory();
            if self.links.budget.workers() > 1 {
                // The others say first which of theirs is the least active.
                self.least_active(&self.holders());
                return self.mail.wake_others();
            }
            return self.give_up(now_ms);
        };
        if self.links.budget.workers() == 1 || now_ms >= since_ms + LOOK_MS {
            self.give_up(since_ms);
        }
    }

    /// Closes the least active of the links with unfinished input, as long as such
    /// input alone is too much. What else holds memory has a time to give it back.
    fn give_up(&mut self, since_ms: u64) {
        let now_ms = self.clock.now_ms;
        let lasts = now_ms.saturating_sub(since_ms) >= PATIENCE_MS;
        let limit = self.policy.settings.memory_bytes;
        if lasts && self.forget_recordings() {
            self.pressure.since_ms = Some(now_ms);
            return;
        }
        let mut holders = self.holders();
        while self.lacks_memory() {
            let is_least_active = self.least_active(&holders);
            let is_stuck = self.links.budget.is_unfinished_over(limit);
            if !(is_stuck && is_least_active || lasts) {
                return;
            }
            if let Some((_, token)) = holders.pop() {
                self.close_for_memory(token);
            }
            self.pressure.since_ms = Some(now_ms);
            if lasts {
                return;
            }
        }
    }

    /// Frees what was recorded of all links: that costs none of them anything.
    /// Gives whether there was something.
    fn forget_recordings(&mut self) -> bool {
        let mut was_some = false;
        for token in self.links.slots.tokens() {
            let budget = &self.links.budget;
            if let Some(Some(link)) = self.links.slots.get(token) {
                let rare = link.rare.as_ref();
                was_some |= rare.is_some_and(|rare| rare.record.forget_recording());
                link.count_memory(budget);
            }
        }
        was_some
    }

    /// Whether the last of these is the least active of all workers.
    fn least_active(&self, holders: &[(u64, usize)]) -> bool {
        let idle_ms = holders.last().map(|(idle_ms, _)| *idle_ms);
        self.links.budget.has_least_active(self.index, idle_ms)
    }

    /// The links with unfinished input, and for how long each has not been active:
    /// the least active is the last.
    fn holders(&self) -> Vec<(u64, usize)> {
        let now_ms = self.clock.now_ms;
        let links = self.links.slots.tokens_and_links();
        let with_input =
            links.filter(|(_, link)| link.memory().has_unfinished() && !link.is_over());
        let mut holders: Vec<_> = with_input
            .map(|(token, link)| (link.timing.waited_ms(now_ms), token))
            .collect();
        holders.sort_unstable();
        holders
    }

    fn close_for_memory(&mut self, token: usize) {
        self.with_link(token, |turn| turn.give_up());
        if let Some(link) = self.links.get(token) {
            // What its peer still sends is thrown away.
            link.flow.set(Flow::PAUSED_BY_MEMORY, false);
            self.links.enqueue(token);
        }
    }

    fn warn_of_memory(&mut self) {
        let now_ms = self.clock.now_ms;
        if self.scratch.warnings.memory.again(now_ms) {
            log::warn!(
                target: "heirloom::net",
                "the memory for connections is used up: they hold {} octets; new ones are refused",
                self.links.budget.held()
            );
        }
    }
}

impl<D> Link<D> {
    /// Counts what its buffers hold, where that has changed.
    #[inline]
    pub(super) fn count_memory(&mut self, budget: &Budget) {
        let (held, counted) = (self.held(), self.memory());
        if held != counted {
            budget.change(counted, held);
            self.rare_mut().memory = held;
        }
    }

    /// Gives up what most links have nothing of, where this one has nothing of it
    /// any more.
    #[inline]
    pub(super) fn take_empty(&mut self) -> Option<Box<Rare>> {
        let mut rare = self.rare.take_if(|rare| rare.is_empty())?;
        rare.unparsed = Vec::new();
        Some(rare)
    }

    /// Whether it may hold memory, or what was counted may have changed.
    #[inline]
    pub(super) fn holds_any(&self) -> bool {
        self.rare.is_some()
            || !self.backlog.is_empty()
            || self.conn.held_for_compression() != (0, 0)
            || self.transport.held() > 0
    }

    /// What was counted of its memory.
    #[inline]
    fn memory(&self) -> Held {
        self.rare
            .as_ref()
            .map_or_else(Held::default, |rare| rare.memory)
    }

    /// What its buffers hold. What waits for the other end of a bridge is not
    /// counted as unfinished.
    #[inline]
    fn held(&self) -> Held {
        let output = self.backlog.own_capacity() + self.transport.held();
        let (inflating, contexts) = self.conn.held_for_compression();
        let Some(rare) = &self.rare else {
            return Held::of(inflating, output + contexts);
        };
        let arriving = rare.arriving.as_ref();
        let input = arriving.map_or(0, |arriving| arriving.gather.capacity())
            + rare.unparsed.capacity()
            + inflating;
        let deflation = rare.deflation.as_ref();
        let deflation = deflation.map_or(0, |deflation| deflation.capacity());
        let output = output + contexts + deflation + rare.record.recorded();
        match &rare.bridge {
            None => Held::of(input, output),
            Some(bridge) => {
                let carried = inflating + bridge.carries.held_capacity();
                if self.flow.has(Flow::PAUSED_BY_BRIDGE) {
                    Held::of(0, rare.unparsed.capacity() + carried + output)
                } else {
                    Held::of(carried, rare.unparsed.capacity() + output)
                }
            }
        }
    }

    /// Whether reading it on may take more memory, or waits for what it is to
    /// send.
    fn holds_input_or_output(&self) -> bool {
        let memory = self.memory();
        memory.has_unfinished()
            || !self.backlog.is_empty()
            || self.bridge().is_some() && memory.is_some()
    }
}
