//! One case that is being played: how far the connection has come, and how it is
//! closed.

use super::case::{AtDeadline, Case, CloseEnd, CloseStep};
use super::clock::Clock;
use super::expect::Expected;
use super::incoming::Incoming;
use super::judge::Facts;
use super::options::PlayOptions;
use super::payload::Payload;
use super::record::Record;
use super::result::HowClosed;
use super::sending::Sending;
use crate::bytes::Output;
use crate::conn::Conn;
use crate::frame::{GOING_AWAY, NO_STATUS, NORMAL};
use crate::net::replay::ReplayConnection;
use crate::random::SystemRandom;
use crate::vector::StreamEnd;
use crate::version::{Closing, Side, Version};

/// Octets that any peer may send beyond what is expected.
const FLOOD: u64 = 4 * 1024 * 1024;
/// How many times what is expected a peer may send.
const FLOOD_FACTOR: u64 = 4;

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Opening,
    Open,
    /// A close was sent, or received and replied to.
    Closing,
    /// Nothing more is read: the tester or the peer has ended TCP.
    Closed,
}

/// What the connection is in.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) state: State,
    pub(super) closed: HowClosed,
    /// The handshake is one that the peer must refuse.
    pub(super) awaits_refusal: bool,
    /// The peer has broken a rule: frames are only walked over.
    pub(super) is_broken: bool,
    /// The rule is that texts are UTF-8.
    pub(super) is_text_broken: bool,
    /// The peer's close is to be replied to, once a frame may be sent.
    pub(super) owes_reply: bool,
    /// Our side of TCP ends when all is written.
    pub(super) ends: Option<StreamEnd>,
    /// Whether the peer has sent its close.
    pub(super) behind_close: bool,
    /// Whether roundtrips were played.
    pub(super) had_roundtrips: bool,
    /// Whether the peer has ended TCP.
    pub(super) peer_ended: bool,
    /// Pings and pongs that have arrived.
    pub(super) controls: u32,
}

/// One case that is being played.
pub(super) struct Player<'c> {
    pub(super) case: &'c Case,
    pub(super) options: &'c PlayOptions,
    pub(super) side: Side,
    pub(super) connection: ReplayConnection,
    pub(super) conn: Option<Conn>,
    pub(super) incoming: Incoming,
    pub(super) sending: Sending<'c>,
    pub(super) expected: Expected<'c>,
    /// Octets of the core that go out between two frames.
    pub(super) answers: Vec<u8>,
    pub(super) link: Link,
    pub(super) clock: Clock,
    pub(super) record: Record,
    pub(super) facts: Facts,
    /// Octets that the peer may send.
    pub(super) most_octets: u64,
    /// The octets that are sent next.
    pub(super) outgoing: Vec<u8>,
}

impl<'c> Player<'c> {
    pub(super) fn new(
        case: &'c Case,
        side: Side,
        connection: ReplayConnection,
        options: &'c PlayOptions,
    ) -> Player<'c> {
        let expected = Expected::of(case);
        let roundtrips = Sending::roundtrip_octets(case, options.full);
        let octets = expected.octets().saturating_add(roundtrips);
        let most_octets = octets.saturating_mul(FLOOD_FACTOR).saturating_add(FLOOD);
        Player {
            case,
            options,
            side,
            connection,
            conn: None,
            incoming: Incoming::default(),
            sending: Sending::new(case, options.full),
            expected,
            answers: Vec::new(),
            link: Link {
                state: State::Opening,
                closed: HowClosed::default(),
                awaits_refusal: false,
                is_broken: false,
                is_text_broken: false,
                owes_reply: false,
                ends: None,
                behind_close: false,
                had_roundtrips: false,
                peer_ended: false,
                controls: 0,
            },
            clock: Clock::new(case, side, options, octets),
            record: Record::new(side, options.kept_octets),
            facts: Facts::default(),
            most_octets,
            outgoing: Vec::new(),
        }
    }

    /// The steps have written a close.
    pub(super) fn close_step(&mut self, close: &CloseStep) {
        if self.link.state != State::Open {
            return;
        }
        let reason = Payload::of(&close.reason, 0).unwrap_or_default();
        let reason = reason.next(125).escape_ascii().to_string();
        self.sent_close(close.code, reason);
    }

    /// Closes with this code, or without one.
    pub(super) fn send_close(&mut self, code: Option<u16>, reason: &str) {
        if self.link.state != State::Open {
            return;
        }
        if let Some(conn) = &mut self.conn {
            let mut random = SystemRandom;
            let mut out = Output::new(&mut self.answers, &mut random);
            conn.close(code.unwrap_or(NO_STATUS), reason, &mut out);
        }
        self.sent_close(code, reason.to_owned());
    }

    /// A close was sent first.
    pub(super) fn sent_close(&mut self, code: Option<u16>, reason: String) {
        self.link.state = State::Closing;
        self.link.closed.by_tester = true;
        self.link.closed.local_code = code;
        self.link.closed.local_reason = Some(reason).filter(|reason| !reason.is_empty());
        self.clock.await_reply();
        // Versions that close by the end of TCP.
        if self.conn.as_ref().is_some_and(Conn::has_sent_all) {
            self.link.ends = Some(StreamEnd::Fin);
        }
    }

    /// Replies to the peer's close, where that is due.
    pub(super) fn reply_to_close(&mut self) {
        if !std::mem::take(&mut self.link.owes_reply) {
            return;
        }
        if let Some(conn) = &mut self.conn {
            let mut random = SystemRandom;
            let mut out = Output::new(&mut self.answers, &mut random);
            conn.close(NORMAL, "", &mut out);
            if self.side == Side::Server || is_hixie(conn.version()) {
                self.link.ends = Some(StreamEnd::Fin);
            }
        }
    }

    /// Closes where all that is expected has been received.
    pub(super) fn close_when_met(&mut self) {
        let closing = &self.case.close;
        let is_by_peer = closing.by == CloseEnd::Peer;
        if self.link.state != State::Open || !closing.automatic || is_by_peer {
            return;
        }
        let code = closing.codes.first().copied().or(Some(NORMAL));
        let any = self.expected.has_received() || self.link.had_roundtrips;
        // The original closes where all outcomes are met.
        let is_met = match closing.by {
            CloseEnd::Either => self.expected.is_settled(),
            CloseEnd::Tester | CloseEnd::Peer => self.expected.meets_all(),
        };
        let is_met = any && self.sending.pauses() && is_met;
        // The original ends its long cases at the first wrong echo.
        let is_long = self.clock.is_patient() && self.case.at_deadline == AtDeadline::Close;
        let is_lost = is_long && self.expected.is_lost();
        if is_met || is_lost {
            self.sending.stop();
            self.send_close(code, "");
        }
    }

    /// Fails the connection (RFC 6455 section 7.1.7).
    pub(super) fn fail(&mut self) {
        self.link.closed.failed_by_tester = true;
        self.sending.stop();
        match self.link.state {
            State::Open => self.send_close(Some(GOING_AWAY), "Going Away"),
            State::Closing => self.drop_connection(),
            State::Opening | State::Closed => {}
        }
    }

    /// Ends TCP.
    pub(super) fn drop_connection(&mut self) {
        if self.link.state == State::Closed {
            return;
        }
        self.link.state = State::Closed;
        self.link.closed.dropped_by_tester = true;
        self.incoming.forget();
    }
}

/// Whether this version closes by the end of TCP, or may.
pub(super) fn is_hixie(version: Option<&Version>) -> bool {
    version.is_some_and(|v| matches!(v.closing, Closing::Hixie75 | Closing::Hixie76))
}
