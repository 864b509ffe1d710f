//! Backends of bridges: how they are dialled, and what becomes of one end of a bridge
//! when the other is gone.

use std::io;
use std::sync::Arc;

use super::bridge;
use super::bridge_link::{BridgeLink, Carried};
use super::dialling::{self, Connecting, Dialling};
use super::link::{Flow, Link};
use super::{Drain, Worker};
use crate::conn::{Conn, Tally};
use crate::net::address::ServerAddress;
use crate::net::app::{App, EndReason};
use crate::net::backend_dial::{BackendDial, BackendTls, Carries, Course};
use crate::net::post::Post;
use crate::net::refusal::NetRefusal;
use crate::net::resolve::Found;
use crate::net::warning::log_step;

impl<A: App> Worker<A> {
    /// Dials a backend for a client that waits.
    pub(super) fn dial(&mut self, client: usize, dial: BackendDial) {
        let now_ms = self.clock.now_ms;
        let settings = &self.policy.settings;
        let mut deadline_ms = now_ms.saturating_add(settings.handshake_ms);
        let (conn, carried) = match dial.carries {
            Carries::Messages { conn, coding, .. } => (conn, Carried::messages(coding)),
            // It asks for nothing, so it never leaves the start of its handshake.
            Carries::Octets { received } => {
                let config = Arc::clone(&self.policy.config);
                let conn = Conn::client_without_request(None, config);
                (conn, Carried::octets(received))
            }
        };
        let [from_client, to_client] = carried;
        let (tls, output) = first_octets(dial.tls, dial.introduction, dial.output);
        let link = Link::of_backend(conn, &output, now_ms);
        let token = self.links.slots.put(Box::new(link));
        if let Some(Some(link)) = self.links.slots.get(client) {
            deadline_ms = link.due_ms(settings).unwrap_or(deadline_ms);
            let mut bridge = BridgeLink::of_client(token, from_client);
            bridge.target = dial.course.as_ref().map(|course| course.chosen());
            link.dials(bridge, now_ms);
            link.arm(&mut self.links.wheel, client, settings);
        }
        // It may have more to do as one end of a relay.
        self.links.enqueue(client);
        let dialling = Dialling::new(dial.endpoint, dial.resolver, tls, deadline_ms);
        if let Some(known) = self.start_dial(client, token, (to_client, dialling, dial.course)) {
            self.resolved(token, Ok(known));
        }
    }

    /// Dials the server of this link, which is new. Gives its addresses, where they are
    /// known without a lookup.
    fn start_dial(
        &mut self,
        client: usize,
        token: usize,
        (to_client, dialling, mut course): (Carried, Dialling, Option<Box<Course>>),
    ) -> Option<Arc<[ServerAddress]>> {
        self.counter.dials();
        let known = dialling.known();
        let Some(Some(link)) = self.links.slots.get(token) else {
            return None;
        };
        if let Some(course) = &mut course {
            course.begins(self.clock.now_ms, dialling.deadline_ms());
        }
        let bridge = BridgeLink::of_backend(client, to_client, dialling, course);
        link.rare_mut().bridge = Some(Box::new(bridge));
        link.arm(&mut self.links.wheel, token, &self.policy.settings);
        let may_go_on = link.may_go_on();
        if let Some(client) = self.links.get(client) {
            let waits = may_go_on && client.bridge().is_some_and(BridgeLink::relays);
            client.flow.set(Flow::PAUSED_BY_BRIDGE, waits);
        }
        if known.is_none() {
            self.look_up(token);
        }
        known
    }

    /// The server of this link has had its time, and another one is left.
    pub(super) fn give_up_server(&mut self, token: usize) {
        if let Some(link) = self.links.get(token) {
            link.ended_by_peer(NetRefusal::BackendTimeout.code(), None);
        }
        self.remove_link(token);
    }

    /// This link is about to be removed: where it leads to a server that could not be
    /// reached and its client can have another one, that one is dialled in its place.
    pub(super) fn goes_on(&mut self, token: usize) -> bool {
        let now_ms = self.clock.now_ms;
        let Some(link) = self.links.get(token).filter(|link| !link.is_of_client()) else {
            return false;
        };
        let what = link.ended().map_or("", |ended| ended.what);
        let is_reaching = link.is_reaching();
        let Some(bridge) = link.bridge().filter(|bridge| bridge.partner.is_some()) else {
            return false;
        };
        let Some(course) = &bridge.course else {
            return false;
        };
        match what {
            // The cause lies here, or was noted.
            "out-of-sockets" | "backend-unreachable" => {}
            what if what.starts_with("tls-") => {
                course.failed(&format_args!("no TLS with it ({what})"));
            }
            _ if is_reaching => course.ran_out(now_ms),
            _ => {}
        }
        let may_go_on = what != "out-of-sockets" && link.may_go_on() && self.drain == Drain::No;
        may_go_on && self.dial_next(token)
    }

    /// Dials the next server for the client of this link, in place of it.
    fn dial_next(&mut self, token: usize) -> bool {
        let now_ms = self.clock.now_ms;
        let Some(bridge) = self.links.get(token).and_then(Link::bridge_mut) else {
            return false;
        };
        let Some((client, mut course)) = bridge.partner.zip(bridge.course.take()) else {
            return false;
        };
        let deadline_ms = course.deadline_ms();
        let Some(waiting) = self.links.get(client) else {
            return false;
        };
        if waiting.is_over() || waiting.past.answered || deadline_ms <= now_ms {
            return false;
        }
        let Some(next) = course.next() else {
            return false;
        };
        let name = course.chosen();
        log_step(format_args!("{} is tried next", name.server()));
        let Some(mut gone) = self.links.take_gone(token) else {
            return false;
        };
        let carries = gone.take_carries();
        let Some(carries) = carries else {
            return false;
        };
        self.places.leave(gone.counted_as);
        drop(gone);
        self.links.slots.drop(token);
        let conn = next
            .conn
            .unwrap_or_else(|| Conn::client_without_request(None, Arc::clone(&self.policy.config)));
        let (tls, output) = first_octets(next.tls, next.introduction, next.output);
        let link = Link::of_backend(conn, &output, now_ms);
        let token = self.links.slots.put(Box::new(link));
        if let Some(bridge) = self.links.get(client).and_then(Link::bridge_mut) {
            bridge.partner = Some(token);
            bridge.target = Some(name);
        }
        let dialling = Dialling::new(next.endpoint, next.resolver, tls, deadline_ms);
        if let Some(known) = self.start_dial(client, token, (carries, dialling, Some(course))) {
            // Not at once: servers that fail at once would nest, one in the other.
            let found = Ok(known);
            self.mail
                .inbox()
                .post_anyway(Post::Resolved { token, found });
        }
        true
    }

    /// Has the name of a backend resolved.
    fn look_up(&mut self, token: usize) {
        let inbox = self.mail.inbox();
        if let Some(dialling) = self.links.get(token).and_then(Link::dialling) {
            dialling.look_up(&self.clock, move |found| {
                inbox.post_anyway(Post::Resolved { token, found });
            });
        }
    }

    /// The addresses of a backend are known, or that it has none.
    pub(super) fn resolved(&mut self, token: usize, found: Found) {
        let Some(dialling) = self.links.get(token).and_then(Link::dialling) else {
            return;
        };
        match dialling.resolved(found, self.clock.now_ms) {
            Ok(()) => self.advance_dial(token),
            Err(error) => self.backend_unreachable(token, &error),
        }
    }

    /// Goes on with dialling a backend.
    pub(super) fn advance_dial(&mut self, token: usize) {
        let Some(Some(link)) = self.links.slots.get(token) else {
            return;
        };
        let Some(dialling) = link.dialling() else {
            return;
        };
        match dialling.advance(token, self.clock.now_ms, self.poll.registry()) {
            Connecting::Done(mut transport) => {
                let settings = &self.policy.settings;
                transport.set_keepalive(settings.keepalive);
                if let Some(ms) = settings.user_timeout_ms() {
                    transport.set_user_timeout(ms);
                }
                let is_tls = match dialling.take_tls() {
                    Ok(Some(tls)) => {
                        transport.start_tls(tls, &[]);
                        true
                    }
                    Ok(None) => false,
                    Err(error) => return self.backend_unreachable(token, &error),
                };
                let course = link.bridge().and_then(|bridge| bridge.course.as_ref());
                if let Some(course) = course {
                    course.connected(is_tls);
                }
                link.connected(transport, self.clock.now_ms);
                self.counter.connected();
                self.turn(token);
            }
            Connecting::Waiting => link.arm(&mut self.links.wheel, token, &self.policy.settings),
            Connecting::Outdated => self.look_up(token),
            Connecting::Failed(error) => self.backend_unreachable(token, &error),
        }
    }

    /// There is no connection to a backend: another server is tried, or its client
    /// gets the refusal.
    fn backend_unreachable(&mut self, token: usize, error: &io::Error) {
        let refusal = dialling::no_connection(error);
        let Some(link) = self.links.get(token) else {
            return;
        };
        link.ended_by_peer(refusal.code(), None);
        let course = link.bridge().and_then(|bridge| bridge.course.as_ref());
        match course.filter(|_| refusal == NetRefusal::BackendUnreachable) {
            Some(course) => course.failed(error),
            None => self.warn_of_backend(refusal, error),
        }
        self.remove_link(token);
    }

    fn warn_of_backend(&mut self, refusal: NetRefusal, error: &io::Error) {
        let now_ms = self.clock.now_ms;
        let warnings = &mut self.scratch.warnings;
        if refusal == NetRefusal::OutOfSockets {
            if warnings.sockets.again(now_ms) {
                log::warn!(target: "heirloom::net", "there is no socket for a connection to the backend: {error}");
            }
        } else if warnings.backend.again(now_ms) {
            log::warn!(target: "heirloom::net", "the backend cannot be reached: {error}");
        }
    }

    /// A link is gone, and ended so: its partner closes. Gives what the partner
    /// had carried.
    pub(super) fn leave_bridge(&mut self, bridge: &BridgeLink, ended: EndReason) -> Tally {
        let Some(other) = bridge.partner else {
            return bridge.carried;
        };
        let partner = self.links.get(other);
        let carried = partner.and_then(|partner| Some(partner.bridge()?.carries.tally()));
        self.partner_removed(other, bridge.carries.tally(), ended);
        carried.unwrap_or_default()
    }

    /// A link's partner is gone. `carried` is what it had carried, `ended` how it
    /// ended.
    fn partner_removed(&mut self, token: usize, carried: Tally, ended: EndReason) {
        let Some(link) = self.links.get(token) else {
            return;
        };
        link.flow.set(Flow::PAUSED_BY_BRIDGE, false);
        let is_reaching = link.is_reaching();
        let now_ms = self.clock.now_ms;
        if let Some(bridge) = link.bridge_mut() {
            if let Some(course) = bridge.course.as_ref().filter(|_| is_reaching) {
                course.ran_out(now_ms);
            }
            bridge.partner = None;
            bridge.carried = carried;
            // There is no peer to write to yet, and what waits must not keep the
            // link.
            if bridge.dialling.is_some() {
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

/// What a backend is sent first, behind TLS and what comes before that. Without TLS
/// all is one.
fn first_octets(
    tls: Option<BackendTls>,
    introduction: Vec<u8>,
    output: Vec<u8>,
) -> (Option<(BackendTls, Vec<u8>)>, Vec<u8>) {
    match tls {
        Some(tls) => (Some((tls, introduction)), output),
        None => (None, [introduction, output].concat()),
    }
}
