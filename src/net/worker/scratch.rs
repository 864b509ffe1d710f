//! What the turns of all links use, and no link owns.

use std::sync::Arc;

use super::link::READ;
use super::places::Places;
use super::pool::Pool;
use super::random_pool::RandomPool;
use crate::bytes::Output;
use crate::extension::Codecs;
use crate::net::backend_dial::BackendDial;
use crate::net::budget::Budget;
use crate::net::later::Later;
use crate::net::refusal::Hint;
use crate::net::settings::Settings;
use crate::net::topic::{self, Making, Topics};
use crate::net::warning::WarningLimiter;

/// Octets in front of the read buffer, where what was left unparsed is put: a
/// frame's header and a control frame's payload fit.
pub(super) const FRONT: usize = 256;

/// Octets that one turn deflates, about as many as it inflates; others wait no
/// longer than that.
const DEFLATED: usize = 64 * 1024;

/// What every turn uses.
pub(super) struct Scratch {
    /// `FRONT` octets, then the room of one read.
    pub(super) buffer: Vec<u8>,
    /// Where compressed payload is inflated: no octet while no connection has
    /// agreed on compression.
    pub(super) room: Vec<u8>,
    /// What the link of this turn sends.
    pub(super) out: OutBuffer,
    /// What the other link of its bridge sends.
    pub(super) peer_out: OutBuffer,
    /// A backend that the link of this turn asked for.
    pub(super) dial: Option<Box<BackendDial>>,
    /// A page that the link of this turn waits for.
    pub(super) later: Option<Later>,
    pub(super) topics: Topics,
    pub(super) pool: Pool,
    pub(super) warnings: Warnings,
}

/// What applies while a turn lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'w> {
    pub(super) settings: &'w Settings,
    pub(super) now_ms: u64,
    /// Which worker this is.
    pub(super) worker: usize,
    pub(super) places: &'w Places,
}

impl Context<'_> {
    pub(super) fn hint(&self) -> Option<Hint> {
        self.settings.hint
    }
}

/// The output of one link in one turn, with the source of its random octets.
#[derive(Default)]
pub(super) struct OutBuffer {
    pub(super) octets: Vec<u8>,
    random: RandomPool,
    codecs: Codecs,
    /// What may still be deflated of what is published, in this turn of the loop.
    to_publish_deflated: usize,
}

impl OutBuffer {
    /// Where frames that were made for many links are put, and what makes them.
    #[inline]
    pub(super) fn octets_and_making<'m>(
        &'m mut self,
        budget: &'m Arc<Budget>,
    ) -> (&'m mut Vec<u8>, Making<'m>) {
        let making = Making {
            budget,
            codecs: &mut self.codecs,
            to_deflate: &mut self.to_publish_deflated,
        };
        (&mut self.octets, making)
    }

    #[inline]
    pub(super) fn output(&mut self) -> Output<'_> {
        Output::new(&mut self.octets, &mut self.random).with_shared_codecs(&mut self.codecs)
    }
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch {
            buffer: vec![0; FRONT + READ],
            room: Vec::new(),
            out: OutBuffer::default(),
            peer_out: OutBuffer::default(),
            dial: None,
            later: None,
            topics: Topics::default(),
            pool: Pool::default(),
            warnings: Warnings::default(),
        }
    }

    /// A turn of the loop starts: so much may be deflated of what is published in it, in
    /// all topics.
    #[inline]
    pub(super) fn start_loop_turn(&mut self) {
        self.out.to_publish_deflated = topic::DEFLATED;
    }

    /// A turn starts, of a link or of the mail: so much may be deflated of what a link
    /// sends, or its partner.
    #[inline]
    pub(super) fn start_turn(&mut self) {
        self.out.codecs.limit_deflating(DEFLATED);
        self.peer_out.codecs.limit_deflating(DEFLATED);
    }

    /// Whether this turn has deflated all that it may.
    #[inline]
    pub(super) fn has_deflated_all(&self) -> bool {
        !self.out.codecs.may_deflate() || !self.peer_out.codecs.may_deflate()
    }

    /// After a panic: throws away what the turn has done so far.
    pub(super) fn discard_turn(&mut self) {
        self.out.octets.clear();
        self.peer_out.octets.clear();
        self.dial = None;
        self.later = None;
        self.topics.discard_turn();
    }
}

/// When warnings were logged last that any peer can cause: one limiter for each
/// kind, so that none hides another.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// A connection cannot be accepted.
    pub(super) accept: WarningLimiter,
    /// A backend cannot be reached.
    pub(super) backend: WarningLimiter,
    /// TLS with a backend fails.
    pub(super) backend_tls: WarningLimiter,
    /// There is no socket for a connection to a backend.
    pub(super) sockets: WarningLimiter,
    /// A message was binary, and the other end has none.
    pub(super) binary: WarningLimiter,
    /// A client offers no TLS that is served.
    pub(super) tls: WarningLimiter,
    /// A subscriber does not read.
    pub(super) slow: WarningLimiter,
    /// The memory for connections is used up.
    pub(super) memory: WarningLimiter,
    panic: WarningLimiter,
}

impl Warnings {
    /// The app panicked, which ended a connection.
    pub(super) fn of_panic(&mut self, now_ms: u64) {
        if self.panic.again(now_ms) {
            log::error!("a connection ended by a panic");
        }
    }
}
