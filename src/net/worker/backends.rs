//! Backends of bridges: how they are dialled, and what becomes of one end of a bridge
//! when the other is gone.

use std::io;
use std::sync::Arc;

use super::Worker;
use super::bridge;
use super::bridge_link::{BridgeLink, Carried};
use super::dialling::{self, Connecting, Dialling};
use super::link::{Flow, Link};
use crate::conn::{Conn, Tally};
use crate::net::app::{App, BackendDial, Carries, EndReason};
use crate::net::post::Post;
use crate::net::refusal::NetRefusal;
use crate::net::resolve::Found;

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
        let (tls, output) = match dial.tls {
            Some(tls) => (Some((tls, dial.introduction)), dial.output),
            None => (None, [dial.introduction, dial.output].concat()),
        };
        let link = Link::of_backend(conn, &output, now_ms);
        let token = self.links.slots.put(Box::new(link));
        if let Some(Some(link)) = self.links.slots.get(client) {
            deadline_ms = link.due_ms(settings).unwrap_or(deadline_ms);
            link.dials(BridgeLink::of_client(token, from_client), now_ms);
            link.arm(&mut self.links.wheel, client, settings);
        }
        // It may have more to do as one end of a relay.
        self.links.enqueue(client);
        let dialling = Dialling::new(dial.endpoint, dial.resolver, tls, deadline_ms);
        let known = dialling.known();
        let Some(Some(link)) = self.links.slots.get(token) else {
            return;
        };
        let bridge = BridgeLink::of_backend(client, to_client, dialling);
        link.rare_mut().bridge = Some(Box::new(bridge));
        link.arm(&mut self.links.wheel, token, settings);
        match known {
            Some(known) => self.resolved(token, Ok(known)),
            None => self.look_up(token),
        }
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
                transport.set_keepalive(self.policy.settings.keepalive);
                match dialling.take_tls() {
                    Ok(Some(tls)) => transport.start_tls(tls, &[]),
                    Ok(None) => {}
                    Err(error) => return self.backend_unreachable(token, &error),
                }
                link.connected(transport, self.clock.now_ms);
                self.turn(token);
            }
            Connecting::Waiting => link.arm(&mut self.links.wheel, token, &self.policy.settings),
            Connecting::Outdated => self.look_up(token),
            Connecting::Failed(error) => self.backend_unreachable(token, &error),
        }
    }

    /// There is no connection to a backend: its client gets the refusal, and the
    /// log a line at most once a second.
    fn backend_unreachable(&mut self, token: usize, error: &io::Error) {
        let refusal = dialling::no_connection(error);
        self.warn_of_backend(refusal, error);
        if let Some(link) = self.links.get(token) {
            link.ended_by_peer(refusal.code(), None);
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
        if let Some(bridge) = link.bridge_mut() {
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
