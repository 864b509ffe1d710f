//! What reaches a worker from outside: posts, what others publish, new settings,
//! and the stop.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::dispatch::write_awaited;
use super::leaving::{Span, Why};
use super::link::{Flow, Link};
use super::timing::Stage;
use super::{Drain, Worker};
use crate::error::Unsendable;
use crate::frame::Kind;
use crate::message::Message;
use crate::net::app::{App, EndReason};
use crate::net::backlog::Part;
use crate::net::later::{Answer, Later};
use crate::net::link_id::LinkId;
use crate::net::page::Page;
use crate::net::post::{NewClient, NewListeners, Policy, Post};
use crate::net::settings::Settings;
use crate::net::topic::{Batch, FramesFor, Making};
use crate::version::Side;

/// A subscriber whose backlog is over the limit has this time to read something,
/// while its backlog is at most `PATIENCE` times the limit. The backlog of a
/// topic is shared by all subscribers, so one that reads slowly costs little.
const PATIENCE_MS: u64 = 1_000;
const PATIENCE: usize = 16;
/// Rounds of accepts before a listener is closed: more than the system's queue
/// holds, and an end to them while clients keep coming.
const LAST_ROUNDS: usize = 128;
/// Connections that are sent away in one turn of the loop.
const SENT_AWAY: usize = 64;
/// How often it is looked whether a handshake has ended whose route is gone, in
/// milliseconds.
const OPENING_MS: u64 = 100;

/// Posts from outside that are read in one turn of the loop: there may be ever more.
const OUTSIDE_A_TURN: usize = 16;

impl<A: App> Worker<A> {
    /// Hands on what was published in this turn of the loop.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.scratch.topics.are_some() {
            self.publish_all();
        }
    }

    #[inline(never)]
    fn publish_all(&mut self) {
        let budget = Arc::clone(&self.links.budget);
        for batch in self.scratch.topics.take(&budget) {
            self.mail.publish_own(&batch);
            if self.mail.has_unsent() {
                // What publishes faster than the other workers take is not read
                // until they have.
                for LinkId { token, .. } in batch.publishers() {
                    if let Some(link) = self.links.get(token) {
                        if !link.flow.has(Flow::PAUSED_BY_MAILBOX) {
                            link.flow.set(Flow::PAUSED_BY_MAILBOX, true);
                            self.mail.pause(token);
                        }
                    }
                }
            }
            self.deliver(&batch);
        }
    }

    /// Sends texts to the subscribers that this worker has. One that does not
    /// read fast enough is disconnected.
    fn deliver(&mut self, batch: &Batch) {
        let budget = Arc::clone(&self.links.budget);
        for subscriber in self.scratch.topics.subscribers(batch.topic()) {
            let token = subscriber.token;
            let now_ms = self.clock.now_ms;
            let Some(link) = self.links.get(token) else {
                continue;
            };
            if link.takes_published() {
                let (out, mut making) = self.scratch.out.octets_and_making(&budget);
                let sent = if batch.is_from(subscriber) {
                    send_published(link, batch, subscriber, out, (&mut making, now_ms))
                        .and_then(|()| link.send_output(out, now_ms))
                } else {
                    link.write_published(batch, &mut making, now_ms)
                };
                match sent {
                    Ok(()) if link.backlog.is_empty() => {}
                    // What waits has a deadline, and its socket is watched.
                    Ok(()) => {
                        self.with_link(token, |_| {});
                    }
                    Err(error) => self.write_failed(token, &error),
                }
                continue;
            }
            if !self.keeps_up(token) {
                continue;
            }
            let sent = self.with_link(token, |turn| {
                let (out, mut making) = turn.scratch.out.octets_and_making(&budget);
                send_published(turn.link, batch, subscriber, out, (&mut making, now_ms))
            });
            if let Some(Err(error)) = sent {
                self.write_failed(token, &error);
            }
        }
    }

    #[cold]
    fn write_failed(&mut self, token: usize, error: &io::Error) {
        log::debug!(target: "heirloom::net", "a write failed: {error}");
        self.remove_link(token);
    }

    /// Whether a link may be sent more that it did not ask for. One that does not
    /// read fast enough is disconnected, so that neither its messages nor others
    /// wait for it.
    fn keeps_up(&mut self, token: usize) -> bool {
        let limit = self.policy.settings.output_bytes;
        let Some(link) = self.links.get(token) else {
            return false;
        };
        let waits = link.backlog.len();
        if waits <= limit {
            return true;
        }
        let stalls = link.timing.waited_ms(self.clock.now_ms) >= PATIENCE_MS;
        if stalls || waits > limit.saturating_mul(PATIENCE) {
            if self.scratch.warnings.slow.again(self.clock.now_ms) {
                log::warn!(target: "heirloom::net", "a connection that does not read its messages is disconnected");
            }
            self.remove_link(token);
            return false;
        }
        true
    }

    /// Reads the posts that wait: all of them, unless much of what others publish is
    /// deflated here.
    pub(super) fn read_mail(&mut self) {
        self.scratch.start_turn();
        while !self.scratch.has_deflated_all() {
            let Some(post) = self.mail.receive() else {
                break;
            };
            self.on_post(post);
        }
        self.mail.announce_room();
        for token in self.mail.send_unsent() {
            if let Some(link) = self.links.get(token) {
                link.flow.set(Flow::PAUSED_BY_MAILBOX, false);
            }
            self.links.enqueue(token);
        }
        for _ in 0..OUTSIDE_A_TURN {
            if self.scratch.has_deflated_all() {
                break;
            }
            let Some(post) = self.mail.receive_from_outside() else {
                return;
            };
            self.on_post(post);
        }
        // The connections have their turns before the rest.
        self.mail.inbox().wake();
    }

    fn on_post(&mut self, post: Post) {
        match post {
            Post::Publish(batch) => self.deliver(&batch),
            Post::PublishToAll(texts) => {
                let batch = texts.into_batch(&self.links.budget);
                self.mail.publish(&batch);
                self.deliver(&batch);
            }
            Post::Send {
                token,
                kind,
                payload,
            } => self.send(token, Message::checked(kind, &payload)),
            Post::Close {
                token,
                code,
                reason,
            } => {
                self.with_link(token, |mut turn| {
                    turn.end_deflation();
                    let ended = EndReason::by_server("closed", Some(code));
                    turn.link.end(ended);
                    let mut out = turn.scratch.out.output();
                    turn.link.conn.close(code, &reason, &mut out);
                });
            }
            Post::Resolved { token, found } => self.resolved(token, found),
            Post::Page { token, page } => self.answer(token, *page),
            Post::Settings(policy) => self.reload(policy),
            Post::Listen(listeners) => self.listen(*listeners),
            Post::Client(client) => {
                // From here on it is counted with all others.
                self.places.client_left(self.index);
                self.add_client(*client);
            }
            Post::Answer(answer) => drop(answer),
            Post::Retire {
                drain_ms,
                spread_ms,
            } => self.retire(drain_ms, spread_ms),
            Post::Drain => {
                if self.drain == Drain::No {
                    self.drain = Drain::Requested;
                }
            }
        }
    }

    /// Hands a client over to another worker, where that one has fewer. Gives it
    /// back where it stays here.
    pub(super) fn hand_over(&self, client: NewClient) -> Option<NewClient> {
        let better = self.places.better_worker(self.index);
        let Some(worker) = better.filter(|_| self.drain == Drain::No) else {
            return Some(client);
        };
        // Counted at once, so that of many that come together not all go there.
        self.places.client_came(worker);
        let handed = self.mail.hand_over(worker, Box::new(client));
        handed.err().map(|client| {
            self.places.client_left(worker);
            *client
        })
    }

    /// Sends a message that comes from outside.
    fn send(&mut self, token: usize, message: Message<'_>) {
        if !self.keeps_up(token) {
            return;
        }
        let sent = self.with_link(token, |mut turn| -> Result<(), Unsendable> {
            turn.end_deflation();
            let mut out = turn.scratch.out.output();
            turn.link.conn.send(message, &mut out)
        });
        if let Some(Err(error)) = sent {
            log::debug!(target: "heirloom::net", "a message was not sent: {error}");
        }
    }

    /// Has the page made that a link asked for. The link is not read meanwhile.
    pub(super) fn ask(&mut self, token: usize, later: Later) {
        let Some(link) = self.links.get(token) else {
            return;
        };
        link.flow.set(Flow::AWAITS_PAGE, true);
        let answer = Answer::new(self.mail.inbox(), token);
        // An answer that a panic drops is a refusal.
        if catch_unwind(AssertUnwindSafe(|| later.ask(answer))).is_err() {
            self.scratch.warnings.of_panic(self.clock.now_ms);
        }
    }

    /// The page is there that a link waits for, unless it has given up.
    fn answer(&mut self, token: usize, page: Page) {
        self.with_link(token, |turn| {
            if turn.link.flow.take(Flow::AWAITS_PAGE) {
                write_awaited(turn.link, page, &mut turn.scratch.out.output());
            }
        });
    }

    /// From now on this applies. Connections whose request has arrived keep what
    /// applied to it.
    fn reload(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        let app = AssertUnwindSafe(|| self.app.reloaded());
        if catch_unwind(app).is_err() {
            log::error!("the app panicked when the settings changed");
        }
        self.acceptor.set_keepalive(&self.policy.settings);
        let config = &self.policy.config;
        // A timeout may be shorter now.
        for token in self.links.slots.tokens() {
            if let Some(Some(link)) = self.links.slots.get(token) {
                if link.is_of_client() {
                    link.conn.set_config(config);
                }
                link.set_user_timeout(&self.policy.settings);
                link.arm(&mut self.links.wheel, token, &self.policy.settings);
            }
        }
    }

    /// From now on it listens at these places. Where it does not listen any more,
    /// the connections that wait are accepted first.
    fn listen(&mut self, listeners: NewListeners) {
        let NewListeners { places, bound } = listeners;
        if self.drain != Drain::No {
            return;
        }
        let registry = self.poll.registry();
        for listener in bound {
            let settings = &self.policy.settings;
            listener.set_keepalive(settings.keepalive, settings.user_timeout_ms());
            let at = listener.at().clone();
            if let Err(error) = self.acceptor.add(listener, registry) {
                log::error!("cannot watch the listener at {at}, which is closed: {error}");
            }
        }
        if self.acceptor.has_other_than(&places) {
            self.accept_all();
        }
        let registry = self.poll.registry();
        self.acceptor.close_all_but(&places, registry);
        self.acceptor.update(&places);
    }

    /// Accepts the connections that wait. The system has completed TCP's handshake
    /// with them: closing their listener would reset them.
    fn accept_all(&mut self) {
        self.acceptor.set_waiting();
        for _ in 0..LAST_ROUNDS {
            if !self.acceptor.has_more(self.clock.now_ms) {
                break;
            }
            self.accept();
        }
    }

    /// Refuses the connections that wait to be accepted, stops listening and closes
    /// all others.
    pub(super) fn start_drain(&mut self) {
        let Settings {
            drain_ms,
            spread_ms,
            ..
        } = self.policy.settings;
        let due_ms = self.clock.now_ms.saturating_add(spread_ms);
        let due_ms = due_ms.saturating_add(drain_ms);
        self.drain = Drain::Started { due_ms };
        self.counter.drains();
        let links = self.links.slots.links();
        let clients = links.filter(|link| link.is_of_client()).count();
        log::info!("draining {clients} connections");
        self.acceptor.leave_passed(self.poll.registry());
        self.accept_all();
        self.acceptor.close(self.poll.registry());
        self.leaving.clear();
        let (mut open, mut opening) = (Vec::new(), Vec::new());
        for (token, link) in self.links.slots.tokens_and_links() {
            if !link.is_opening() && link.is_of_client() {
                open.push(token);
            } else if link.is_opening() || link.partner().is_none() {
                opening.push(token);
            }
        }
        // These have nothing yet that could come back.
        for token in opening {
            self.with_link(token, |turn| turn.go_away(Why::Stop));
        }
        let span = self.span(0, spread_ms);
        self.leaving.add(&open, Why::Stop, span);
        self.send_away();
    }

    /// Has the connections sent away whose route is not there any more, once
    /// `drain_ms` is over, evenly over `spread_ms`.
    fn retire(&mut self, drain_ms: u64, spread_ms: u64) {
        if self.drain != Drain::No {
            return;
        }
        let mut outdated = self.links.slots.tokens();
        outdated.retain(|token| self.is_outdated(*token));
        let span = self.span(drain_ms, spread_ms);
        self.leaving.add(&outdated, Why::RouteChanged, span);
        let slots = &mut self.links.slots;
        let live = slots.live;
        self.leaving
            .forget_gone(live, |token| slots.get(token).is_some());
    }

    fn span(&self, after_ms: u64, spread_ms: u64) -> Span {
        Span {
            from_ms: self.clock.now_ms.saturating_add(after_ms),
            spread_ms,
            worker: (self.index, self.mail.workers()),
        }
    }

    /// Whether it is a client's, and its app says that it is outdated.
    fn is_outdated(&mut self, token: usize) -> bool {
        let (app, links) = (&mut self.app, &mut self.links);
        let Some(link) = links.get(token).filter(|link| link.is_of_client()) else {
            return false;
        };
        let asked = AssertUnwindSafe(|| app.is_outdated(&mut link.data));
        catch_unwind(asked).unwrap_or_else(|_| {
            self.scratch.warnings.of_panic(self.clock.now_ms);
            false
        })
    }

    /// Sends those away whose time has come, with the other ends of their bridges.
    pub(super) fn send_away(&mut self) {
        let now_ms = self.clock.now_ms;
        for _ in 0..SENT_AWAY {
            let Some((token, why)) = self.leaving.next_due(now_ms) else {
                return;
            };
            if why == Why::RouteChanged {
                if !self.is_outdated(token) {
                    continue;
                }
                if self.links.get(token).is_some_and(|link| link.is_opening()) {
                    // Its handshake has a deadline, and may end before.
                    self.leaving.postpone(token, why, now_ms + OPENING_MS);
                    continue;
                }
            }
            let partner = self.links.get(token).and_then(|link| link.partner());
            for token in [Some(token), partner].into_iter().flatten() {
                self.with_link(token, |turn| turn.go_away(why));
            }
        }
    }

    /// Whether the worker has nothing more to do. Connections that have not ended
    /// in time are closed.
    pub(super) fn is_drained(&mut self) -> bool {
        let Drain::Started { due_ms } = self.drain else {
            return false;
        };
        if self.links.slots.live > 0 && self.clock.now_ms >= due_ms {
            let open = self.links.slots.live;
            log::warn!("{open} connections have not ended in time and are closed");
            for token in self.links.slots.tokens() {
                self.remove_link(token);
            }
        }
        if self.links.slots.live > 0 {
            return false;
        }
        if self.mail.close_without_clients() {
            return true;
        }
        self.read_mail();
        false
    }
}

/// Sends texts to one of their subscribers. Few are put into its output, `out`.
fn send_published<D>(
    link: &mut Link<D>,
    batch: &Batch,
    subscriber: LinkId,
    out: &mut Vec<u8>,
    (making, now_ms): (&mut Making<'_>, u64),
) -> io::Result<()> {
    let Some(shape) = link.conn.shape_to_send(Kind::Text) else {
        return Ok(());
    };
    match batch.frames_for(shape, subscriber, out, making) {
        FramesFor::Copied => {}
        FramesFor::All(part) => link.send_published(part, now_ms)?,
        FramesFor::Parts(parts) => {
            for part in parts {
                link.send_published(part, now_ms)?;
            }
        }
    }
    Ok(())
}

impl<D> Link<D> {
    /// Whether what is published can be written to its peer at once, and nothing
    /// more comes of it.
    #[inline]
    fn takes_published(&self) -> bool {
        self.timing.stage() == Stage::Open
            && self.backlog.is_empty()
            && self.bridge().is_none()
            && self.recorder().is_none()
            && self.transport.is_writable()
    }

    /// Writes all that was published, or keeps what the system does not take.
    #[inline]
    fn write_published(
        &mut self,
        batch: &Batch,
        making: &mut Making<'_>,
        now_ms: u64,
    ) -> io::Result<()> {
        let Some(shape) = self.conn.shape_to_send(Kind::Text) else {
            return Ok(());
        };
        let frames = batch.all_frames(shape, making);
        let all = frames.octets().len();
        let written = self.transport.write(frames.octets())?;
        if written < all {
            let part = Part::new(frames, 0..all);
            self.backlog.push_shared(part, written);
        }
        if written < all || !self.has_ping() {
            self.timing.restart(now_ms);
        }
        Ok(())
    }

    fn send_published(&mut self, part: Part, now_ms: u64) -> io::Result<()> {
        if let Some(recorder) = self.recorder() {
            recorder.note(Side::Server, part.octets());
        }
        self.send_shared(part, now_ms)
    }

    /// Writes what was copied to its output, or keeps it.
    #[inline]
    fn send_output(&mut self, out: &mut Vec<u8>, now_ms: u64) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.backlog.send(out, &mut self.transport) {
            self.broken(&error);
            return Err(error);
        }
        if !self.backlog.is_empty() || !self.has_ping() {
            self.timing.restart(now_ms);
        }
        Ok(())
    }
}
