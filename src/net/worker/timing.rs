//! How far a connection has come, and its deadline: each stage has exactly one.

use std::num::NonZeroU32;
use std::sync::OnceLock;

use super::wheel::{Wheel, has_come};
use crate::bytes::Random;
use crate::net::settings::Settings;
use crate::random::SystemRandom;
use crate::version::Side;

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The opening handshake, from TCP's connection on.
    Handshake,
    /// Messages go both ways.
    Open,
    /// Plain HTTP goes both ways as it is.
    Relay,
    /// The same, until neither end has sent anything for a while: the backend has
    /// ended its side, or the server is being stopped.
    RelayEnding,
    /// The last output is being written, or the peer's close is awaited.
    Closing,
    /// Our side of TCP is shut down. What still arrives is thrown away, so that
    /// no reset destroys our last output (RFC 9112 section 9.6).
    Draining,
}

impl Stage {
    /// Whether octets go both ways as they are.
    #[inline]
    pub(super) fn relays(self) -> bool {
        matches!(self, Stage::Relay | Stage::RelayEnding)
    }
}

/// The stage of a link and its deadline.
#[derive(Debug)]
pub(super) struct Timing {
    /// From when on the deadline counts, in milliseconds of the worker's life.
    since: Since,
    /// The tick at which the wheel looks at it next.
    armed: Option<NonZeroU32>,
    stage: Stage,
    /// The peer was pinged since it gave a sign of life.
    pinged: bool,
}

/// A time in milliseconds of the worker's life: 48 bits of it, since every link has
/// one.
#[derive(Clone, Copy, Debug)]
struct Since([u16; 3]);

impl Since {
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // its parts
    fn new(ms: u64) -> Since {
        Since([ms as u16, (ms >> 16) as u16, (ms >> 32) as u16])
    }

    #[inline]
    fn ms(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }
}

/// What is known of a peer besides the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Which end of the connection is ours.
    pub(super) side: Side,
    /// It has to read before it can be sent more.
    pub(super) output_waits: bool,
    /// Its version has pings.
    pub(super) has_ping: bool,
}

/// The payload of our own pings, which no peer can know before: a gateway must
/// tell their pongs from those that are for its backend.
pub(super) fn ping_payload() -> &'static [u8; 8] {
    static PAYLOAD: OnceLock<[u8; 8]> = OnceLock::new();
    PAYLOAD.get_or_init(|| {
        let mut payload = [0; 8];
        SystemRandom.fill(&mut payload);
        payload
    })
}

impl Timing {
    pub(super) fn new(now_ms: u64) -> Timing {
        Timing {
            since: Since::new(now_ms),
            armed: None,
            stage: Stage::Handshake,
            pinged: false,
        }
    }

    #[inline]
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// The next stage, whose deadline counts from now on.
    pub(super) fn enter(&mut self, stage: Stage, now_ms: u64) {
        self.stage = stage;
        self.restart(now_ms);
    }

    /// The deadline of this stage counts from now on: there was progress, or a
    /// sign of life.
    #[inline]
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.since = Since::new(now_ms);
        self.pinged = false;
    }

    /// It was pinged, and may be silent for ever: the next look comes when another
    /// ping would.
    pub(super) fn look_again(&mut self, now_ms: u64) {
        self.since = Since::new(now_ms);
    }

    /// Its time has come: whether the peer is to be pinged, which counts as done.
    pub(super) fn take_ping(&mut self, settings: &Settings, peer: Peer) -> bool {
        let pings = settings.ping_after_ms().is_some();
        let due = self.stage == Stage::Open && pings && self.may_ping(peer);
        self.pinged |= due;
        due
    }

    fn may_ping(&self, peer: Peer) -> bool {
        peer.has_ping && !peer.output_waits && !self.pinged
    }

    /// Milliseconds without progress.
    pub(super) fn waited_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since.ms())
    }

    /// The deadline of this stage, if there is one, or the time of the ping that
    /// comes before it.
    pub(super) fn due_ms(&self, settings: &Settings, peer: Peer) -> Option<u64> {
        let wait = match self.stage {
            Stage::Handshake => settings.handshake_ms,
            // A peer that reads our last output slowly may have all of it.
            Stage::Open | Stage::Relay | Stage::RelayEnding | Stage::Closing
                if peer.output_waits =>
            {
                settings.write_ms
            }
            // What its backend sends restarts the client's deadline too.
            Stage::Relay | Stage::RelayEnding if peer.side == Side::Client => return None,
            Stage::Relay => settings.http_ms,
            // A bridge is as idle as its client.
            Stage::Open if peer.side == Side::Client => return None,
            Stage::Open => {
                let ping_ms = settings.ping_after_ms().filter(|_| peer.has_ping);
                let idle_ms = (settings.idle_ms > 0).then_some(settings.idle_ms);
                if self.pinged {
                    // A sign of life arms nothing, so a look is to come again.
                    idle_ms.or(ping_ms)?
                } else {
                    ping_ms.or(idle_ms)?
                }
            }
            Stage::RelayEnding | Stage::Closing | Stage::Draining => settings.close_ms,
        };
        Some(self.since.ms().saturating_add(wait))
    }

    /// Has the wheel look at it when `due_ms` has come, or before.
    #[inline]
    pub(super) fn arm(&mut self, wheel: &mut Wheel, token: usize, due_ms: u64) {
        self.armed = wheel.arm(token, due_ms, self.armed);
    }

    /// The wheel looks at it. Whether this is the look that it was armed for: an
    /// entry of a deadline that has moved is not.
    pub(super) fn comes_up(&mut self, now_ms: u64) -> bool {
        let is_armed = self.armed.is_some_and(|tick| has_come(tick, now_ms));
        if is_armed {
            self.armed = None;
        }
        is_armed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_exactly_one_deadline() {
        let settings = Settings::default();
        let stages = [
            Stage::Handshake,
            Stage::Relay,
            Stage::RelayEnding,
            Stage::Closing,
            Stage::Draining,
        ];
        for stage in stages {
            assert!(due(stage, &settings, false).is_some(), "{stage:?}");
        }
        assert_eq!(due(Stage::Open, &settings, false), None, "idle is off");
        for stage in [Stage::Open, Stage::Relay, Stage::RelayEnding] {
            let stalled = due(stage, &settings, true);
            assert_eq!(stalled, Some(settings.write_ms), "{stage:?}");
        }
        assert_eq!(due(Stage::Relay, &settings, false), Some(settings.http_ms));
        let idle = Settings::default().with_idle_ms(7).with_ping_ms(0);
        assert_eq!(due(Stage::Open, &idle, false), Some(7));
    }

    fn due(stage: Stage, settings: &Settings, output_waits: bool) -> Option<u64> {
        let mut timing = Timing::new(0);
        timing.enter(stage, 0);
        timing.due_ms(settings, peer(output_waits, false))
    }

    fn peer(output_waits: bool, has_ping: bool) -> Peer {
        Peer {
            side: Side::Server,
            output_waits,
            has_ping,
        }
    }

    #[test]
    fn a_peer_is_pinged_once_before_the_idle_timeout() {
        let settings = Settings::default().with_idle_ms(100);
        let mut timing = Timing::new(0);
        timing.enter(Stage::Open, 1000);
        let pingable = peer(false, true);
        assert_eq!(timing.due_ms(&settings, pingable), Some(1050));
        assert!(timing.take_ping(&settings, pingable));
        assert_eq!(timing.due_ms(&settings, pingable), Some(1100));
        assert!(!timing.take_ping(&settings, pingable));
        timing.restart(1090);
        assert_eq!(timing.due_ms(&settings, pingable), Some(1140));
        assert!(!timing.take_ping(&settings, peer(false, false)));
    }

    #[test]
    fn a_silent_peer_is_pinged_once_where_it_may_be_idle() {
        let settings = Settings::default().with_ping_ms(100);
        let mut timing = Timing::new(0);
        timing.enter(Stage::Open, 1000);
        let pingable = peer(false, true);
        assert_eq!(timing.due_ms(&settings, pingable), Some(1100));
        assert!(timing.take_ping(&settings, pingable));
        assert_eq!(timing.due_ms(&settings, pingable), Some(1100));
        timing.look_again(1100);
        assert!(!timing.take_ping(&settings, pingable), "once");
        assert_eq!(timing.due_ms(&settings, pingable), Some(1200));
        timing.restart(2000);
        assert_eq!(timing.due_ms(&settings, pingable), Some(2100));
        // The sooner of the two.
        let both = settings.clone().with_idle_ms(150);
        assert_eq!(timing.due_ms(&both, pingable), Some(2075));
        let both = settings.with_idle_ms(300);
        assert_eq!(timing.due_ms(&both, pingable), Some(2100));
        assert!(timing.take_ping(&both, pingable));
        assert_eq!(timing.due_ms(&both, pingable), Some(2300));
        let none = Settings::default().with_ping_ms(0);
        timing.restart(3000);
        assert_eq!(timing.due_ms(&none, pingable), None);
        assert!(!timing.take_ping(&none, pingable));
    }
}
