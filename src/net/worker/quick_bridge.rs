//! The turn of an open link of a bridge about which nothing is unusual: one read,
//! whole messages to the other link, one write to its peer. All else takes the
//! turn of `turn.rs`.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Worker;
use super::bridge::Partner;
use super::link::{AfterTurn, Link, READ, TURN};
use super::quick::QuickTurn;
use super::scratch::FRONT;
use super::timing::Stage;
use crate::bytes::Input;
use crate::error::Violation;
use crate::net::app::App;
use crate::net::transport::ReadResult;

/// What a quick turn has come to.
enum Came {
    /// All that was read is carried and written.
    Done,
    /// So many of the octets that were read are left to be parsed, or what was
    /// carried is to be written.
    Left {
        left: usize,
        carried: Result<(), Violation>,
    },
    /// The read has brought no octets.
    NoOctets(ReadResult),
    /// The other link's peer can be sent nothing more.
    PeerBroken(io::Error),
    Panicked,
}

impl<A: App> Worker<A> {
    /// Takes the turn of a link of a bridge, where both of its links are simple.
    #[inline(never)] // so that links without a bridge pay little for it
    pub(super) fn quick_bridge_turn(&mut self, token: usize) -> QuickTurn {
        let Some(link) = self.links.get(token) else {
            return QuickTurn::NotTaken;
        };
        let Some(other) = link.partner().filter(|_| link.is_usual()) else {
            return QuickTurn::NotTaken;
        };
        let is_ready = |partner: &mut Link<A::Data>| partner.takes_carried();
        if !self.links.get(other).is_some_and(is_ready) {
            return QuickTurn::NotTaken;
        }
        let Some(mut link) = self.links.take(token) else {
            return QuickTurn::NotTaken;
        };
        // What a bridge reads may have to wait for its partner.
        let (_, room) = self.scratch.buffer.split_at_mut(FRONT);
        let read = link.transport.read(room.split_at_mut(TURN).0);
        let (came, n) = match read {
            ReadResult::Octets(n) => (self.carry_to(other, &mut link, n), n),
            ReadResult::Nothing => (Came::Done, 0),
            read => (Came::NoOctets(read), 0),
        };
        let has_more = link.transport.is_readable();
        if let Some(slot) = self.links.slots.get(token) {
            *slot = Some(link);
        }
        match came {
            Came::Done if !has_more => QuickTurn::Done,
            Came::Done => QuickTurn::ReadsOn,
            came => {
                self.go_on_carrying((token, other), n, came);
                QuickTurn::ReadsOn
            }
        }
    }

    #[inline]
    fn carry_to(&mut self, other: usize, link: &mut Link<A::Data>, n: usize) -> Came {
        let now_ms = self.clock.now_ms;
        link.timing.restart(now_ms);
        let scratch = &mut self.scratch;
        let (_, received) = scratch.buffer.split_at_mut(FRONT);
        let (received, _) = received.split_at_mut(n);
        let mut input = Input::new(received);
        let bridge = link.rare.as_mut().and_then(|rare| rare.bridge.as_mut());
        let (Some(partner), Some(bridge)) = (self.links.get(other), bridge) else {
            unreachable!("both links are there");
        };
        let mut to = Partner {
            bridge,
            link: partner,
            out: scratch.peer_out.output(),
        };
        let (conn, mut out) = (&mut link.conn, scratch.out.output());
        let worked = catch_unwind(AssertUnwindSafe(|| {
            to.carry_whole(&mut input, conn, &mut out)
        }));
        let left = input.rest().len();
        let carried = match worked {
            Ok(carried) => carried,
            Err(_) => return Came::Panicked,
        };
        let out = &mut scratch.peer_out.octets;
        if left > 0 || carried.is_err() || out.capacity() > 2 * READ {
            return Came::Left { left, carried };
        }
        match partner.backlog.send(out, &mut partner.transport) {
            Err(error) => Came::PeerBroken(error),
            Ok(_) => {
                let waits = !partner.backlog.is_empty();
                if waits || !partner.has_ping() {
                    partner.timing.restart(now_ms);
                }
                if waits {
                    return Came::Left { left, carried };
                }
                Came::Done
            }
        }
    }

    /// Goes on with a turn for which the quick way is not enough.
    #[inline(never)]
    fn go_on_carrying(&mut self, (token, other): (usize, usize), n: usize, came: Came) {
        match came {
            Came::Done => {}
            Came::NoOctets(read) => {
                let after = self.with_link(token, |turn| turn.after_read(read));
                if after == Some(AfterTurn::Drop) {
                    self.remove_link(token);
                }
            }
            Came::Left { left, carried } => {
                self.with_link(token, |turn| turn.parse_behind_carried(n, left, carried));
            }
            Came::PeerBroken(error) => {
                log::debug!(target: "heirloom::net", "a write failed: {error}");
                if let Some(partner) = self.links.get(other) {
                    partner.broken(&error);
                }
                self.remove_link(other);
            }
            Came::Panicked => {
                self.scratch.warnings.of_panic(self.clock.now_ms);
                // As after a panic in any turn: a close must not complete half a
                // text.
                let missed_output = !self.scratch.peer_out.octets.is_empty();
                self.scratch.discard_turn();
                self.with_link(token, |turn| {
                    turn.link.fail_after_panic(&mut turn.scratch.out.output());
                });
                if missed_output {
                    self.remove_link(other);
                }
            }
        }
    }
}

impl<D> Link<D> {
    /// Whether what is carried to it can be written at once.
    #[inline]
    fn takes_carried(&self) -> bool {
        self.timing.stage() == Stage::Open
            && self.conn.can_send()
            && self.backlog.is_empty()
            && self.recorder().is_none()
            && self.transport.is_writable()
    }
}
