//! What the turns of all links use, and no link owns.

use super::link::TURN;
use super::pool::Pool;
use super::random_pool::RandomPool;
use crate::bytes::Output;
use crate::net::app::BackendDial;
use crate::net::refusal::Hint;
use crate::net::settings::Settings;
use crate::net::topic::Topics;

/// Octets in front of the read buffer, where what was left unparsed is put: a
/// frame's header and a control frame's payload fit.
pub(super) const FRONT: usize = 256;

/// What every turn uses.
pub(super) struct Scratch {
    /// `FRONT` octets, then the room of one read.
    pub(super) buffer: Vec<u8>,
    /// What the link of this turn sends.
    pub(super) out: OutBuffer,
    /// What the other link of its bridge sends.
    pub(super) peer_out: OutBuffer,
    /// A backend that the link of this turn asked for.
    pub(super) dial: Option<Box<BackendDial>>,
    pub(super) topics: Topics,
    pub(super) pool: Pool,
    pub(super) warnings: WarningLimiter,
}

/// What applies while a turn lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'w> {
    pub(super) settings: &'w Settings,
    pub(super) now_ms: u64,
    /// Which worker this is.
    pub(super) worker: usize,
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
}

impl OutBuffer {
    #[inline]
    pub(super) fn output(&mut self) -> Output<'_> {
        Output::new(&mut self.octets, &mut self.random)
    }
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch {
            buffer: vec![0; FRONT + TURN],
            out: OutBuffer::default(),
            peer_out: OutBuffer::default(),
            dial: None,
            topics: Topics::default(),
            pool: Pool::default(),
            warnings: WarningLimiter::default(),
        }
    }

    /// After a panic: throws away what the turn has done so far.
    pub(super) fn discard_turn(&mut self) {
        self.out.octets.clear();
        self.peer_out.octets.clear();
        self.dial = None;
        self.topics.discard_turn();
    }
}

/// When a warning was logged last that any peer can cause.
#[derive(Debug, Default)]
pub(super) struct WarningLimiter(Option<u64>);

impl WarningLimiter {
    /// Whether it is time for another: one a second.
    pub(super) fn again(&mut self, now_ms: u64) -> bool {
        let again = self.0.is_none_or(|at| now_ms >= at + 1000);
        if again {
            self.0 = Some(now_ms);
        }
        again
    }
}
