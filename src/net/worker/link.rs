//! A link: a socket, the connection behind it, and what waits on either side of
//! it.

use std::io::{self, ErrorKind};

use super::bridge_link::{BridgeLink, Carried, Stream};
use super::dialling::Dialling;
use super::rare::Rare;
use super::record::Past;
use super::timing::{self, Stage, Timing};
use super::wheel::Wheel;
use crate::bytes::Output;
use crate::conn::{Conn, Phase};
use crate::error::Violation;
use crate::net::agreement::INTERNAL_ERROR;
use crate::net::app::{ClosedBy, EndReason};
use crate::net::backlog::{Backlog, Part};
use crate::net::first::may_begin_tls;
use crate::net::listen::Takes;
use crate::net::recorder::Recorder;
use crate::net::refusal::{AnyRefusal, Hint};
use crate::net::settings::Settings;
use crate::net::tls::TlsFault;
use crate::net::transport::Transport;
use crate::version::{Side, Version};

/// Octets of one read into the shared buffer; the others wait no longer than
/// that.
pub(super) const READ: usize = 256 * 1024;
/// A message of which at least this many octets are there or to come is read into
/// its own buffer. Also the most that one read of a bridge takes.
pub(super) const TURN: usize = 64 * 1024;

/// A socket and the connection behind it. Between messages it owns no buffer.
#[derive(Debug)]
pub(super) struct Link<D> {
    pub(super) conn: Conn,
    /// What the app keeps of it.
    pub(super) data: D,
    pub(super) transport: Transport,
    pub(super) backlog: Backlog,
    /// What most links have nothing of: it is there only while there is something.
    pub(super) rare: Option<Box<Rare>>,
    pub(super) timing: Timing,
    pub(super) past: Past,
    pub(super) flow: Flow,
    /// What may come before HTTP.
    pub(super) preface: Preface,
    pub(super) counted_as: CountedAs,
    /// What its listener takes; TLS only where the server has a certificate.
    pub(super) takes: Takes,
}

/// What comes before HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    /// A PROXY header of a trusted proxy.
    ProxyHeader,
    /// The peer is not trusted: a PROXY header is refused.
    Unknown,
    /// The first message of TLS, which has begun.
    ClientHello,
    /// Nothing, or it was read.
    Done,
}

/// Whether a link is about to be read, or is not read now: a bit for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow(u8);

impl Flow {
    /// Waits in the ready list.
    pub(super) const QUEUED: Flow = Flow(1);
    /// What was not parsed may be parsed now, without a read.
    pub(super) const PARSE_DUE: Flow = Flow(1 << 1);
    /// Until the other workers have taken what it published.
    pub(super) const PAUSED_BY_MAILBOX: Flow = Flow(1 << 2);
    /// Until the other link of its bridge takes what it sends.
    pub(super) const PAUSED_BY_BRIDGE: Flow = Flow(1 << 3);
    /// Until another thread has made the page that it asked for.
    pub(super) const AWAITS_PAGE: Flow = Flow(1 << 4);
    /// Until memory that connections hold has returned.
    pub(super) const PAUSED_BY_MEMORY: Flow = Flow(1 << 5);
    /// Our side of TCP is to be shut down once all is written.
    pub(super) const ENDS_WRITES: Flow = Flow(1 << 6);
    /// Our side of TCP is shut down, and its peer's is still read.
    pub(super) const HAS_ENDED_WRITES: Flow = Flow(1 << 7);

    const PAUSED: Flow = Flow(
        Flow::PAUSED_BY_MAILBOX.0
            | Flow::PAUSED_BY_BRIDGE.0
            | Flow::PAUSED_BY_MEMORY.0
            | Flow::AWAITS_PAGE.0,
    );

    /// Whether one of these bits is set.
    #[inline]
    pub(super) fn has(self, bits: Flow) -> bool {
        self.0 & bits.0 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, bit: Flow, on: bool) {
        if on {
            self.0 |= bit.0;
        } else {
            self.0 &= !bit.0;
        }
    }

    /// Whether no bit is set.
    #[inline]
    pub(super) fn is_clear(self) -> bool {
        self.0 == 0
    }

    /// Clears a bit; whether it was set.
    pub(super) fn take(&mut self, bit: Flow) -> bool {
        let was = self.has(bit);
        self.set(bit, false);
        was
    }

    /// Whether it is not read for a reason that is not its peer's.
    #[inline]
    pub(super) fn is_paused(self) -> bool {
        self.has(Flow::PAUSED)
    }
}

/// Which of the counted places a link takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountedAs {
    /// One of the connections there may be.
    Connection,
    /// One too many, which is being refused.
    Surplus,
    /// None: its client has one.
    Bridge,
}

/// Whether a link stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterTurn {
    Keep,
    Drop,
}

impl<D: Default> Link<D> {
    pub(super) fn new(transport: Transport, conn: Conn, now_ms: u64) -> Link<D> {
        Link {
            conn,
            data: D::default(),
            transport,
            backlog: Backlog::default(),
            rare: None,
            timing: Timing::new(now_ms),
            past: Past::new(now_ms),
            flow: Flow::default(),
            preface: Preface::Unknown,
            counted_as: CountedAs::Connection,
            takes: Takes::Both,
        }
    }

    /// Of a backend that is to be dialled, and is sent this first.
    pub(super) fn of_backend(mut conn: Conn, output: &[u8], now_ms: u64) -> Link<D> {
        conn.set_manual_control();
        let mut link = Link::new(Transport::missing(), conn, now_ms);
        link.counted_as = CountedAs::Bridge;
        link.preface = Preface::Done;
        link.backlog.push_small(output);
        link
    }
}

impl<D> Link<D> {
    /// What most links have nothing of, to put something there.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The other link of its bridge, if it has one.
    #[inline]
    pub(super) fn bridge(&self) -> Option<&BridgeLink> {
        self.rare.as_ref()?.bridge.as_deref()
    }

    #[inline]
    pub(super) fn bridge_mut(&mut self) -> Option<&mut BridgeLink> {
        self.rare.as_mut()?.bridge.as_deref_mut()
    }

    /// What keeps what goes over its wire.
    #[inline]
    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.rare.as_ref()?.record.recorder()
    }

    /// How it ended, once that is known.
    pub(super) fn ended(&self) -> Option<EndReason> {
        self.rare.as_ref()?.record.ended()
    }

    /// Notes an end, unless another one was seen before.
    pub(super) fn end(&mut self, ended: EndReason) {
        self.rare_mut().record.end(ended);
    }

    /// The version of TLS that was agreed on, also where TLS was given up since.
    pub(super) fn tls_version(&self) -> Option<&'static str> {
        let now = self.transport.tls_agreement().map(|tls| tls.version);
        now.or_else(|| self.rare.as_ref()?.record.past_tls())
    }

    /// The version that was asked for, where it is off.
    pub(super) fn requested_version(&self) -> Option<&'static Version> {
        self.rare.as_ref()?.record.requested_version()
    }

    /// Gives its place among the connections of its address up to another link of
    /// the same client.
    pub(super) fn hand_place_to(&mut self, other: &mut Link<D>) {
        let place = self.rare.as_mut().and_then(|rare| rare.record.take_place());
        if let Some(place) = place {
            other.rare_mut().record.set_place(place);
        }
    }

    /// Octets that were received and not parsed.
    pub(super) fn unparsed(&self) -> &[u8] {
        self.rare.as_ref().map_or(&[], |rare| &rare.unparsed)
    }

    /// Takes them out, to parse them.
    pub(super) fn take_unparsed(&mut self) -> Vec<u8> {
        let rare = self.rare.as_mut();
        rare.map_or_else(Vec::new, |rare| std::mem::take(&mut rare.unparsed))
    }

    /// Throws away what was received and not delivered, and what was not sent back.
    pub(super) fn discard_input(&mut self) {
        self.flow.set(Flow::PARSE_DUE, false);
        if let Some(rare) = &mut self.rare {
            rare.unparsed = Vec::new();
            rare.arriving = None;
            rare.deflation = None;
            if let Some(bridge) = &mut rare.bridge {
                bridge.carries.discard_held();
            }
        }
    }

    /// Whether a message is being deflated, to be sent. Nothing is parsed meanwhile.
    pub(super) fn has_deflation(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| rare.deflation.is_some())
    }

    /// Whether to read from it, or to parse what was read, or to go on deflating. A
    /// link is not read while its own output is backed up.
    pub(super) fn wants_turn(&self, settings: &Settings) -> bool {
        if self.has_deflation() {
            return true;
        }
        // What is read of a relay adds nothing to its own backlog.
        let relays = self.timing.stage().relays();
        let has_room = relays || self.backlog.len() <= self.high_water(settings);
        // A client may go on sending while its backend is dialled, but not for
        // ever. What was read already is parsed in any case.
        let unparsed_fits = self.bridge().is_none()
            || self.flow.has(Flow::PARSE_DUE)
            || self.unparsed().len() < TURN;
        (self.transport.is_readable() || self.flow.has(Flow::PARSE_DUE))
            && !self.flow.is_paused()
            && has_room
            && unparsed_fits
    }

    /// Octets of backlog above which nothing is read that would add to it. Both
    /// directions of a bridge, with what one turn of each adds, hold no more than
    /// one link that answers itself.
    pub(super) fn high_water(&self, settings: &Settings) -> usize {
        if self.bridge().is_some() {
            settings.output_bytes / 4
        } else {
            settings.output_bytes
        }
    }

    /// Writes octets that many links share, or keeps them.
    pub(super) fn send_shared(&mut self, part: Part, now_ms: u64) -> io::Result<()> {
        let had_backlog = !self.backlog.is_empty();
        self.backlog.send_shared(part, &mut self.transport)?;
        let starts_to_wait = !self.backlog.is_empty();
        if !had_backlog && (starts_to_wait || !self.has_ping()) {
            self.timing.restart(now_ms);
        }
        Ok(())
    }

    /// Its peer, as the cause of an end.
    pub(super) fn peer(&self) -> ClosedBy {
        ClosedBy::peer_of(self.conn.side())
    }

    /// Whether it leads to a backend that has not agreed on TLS.
    pub(super) fn is_backend_in_tls_handshake(&self) -> bool {
        !self.is_of_client() && self.transport.is_in_tls_handshake()
    }

    /// TCP has failed, or TLS.
    pub(super) fn broken(&mut self, error: &io::Error) {
        let what = match error.kind() {
            // The system had no sign of life.
            ErrorKind::TimedOut => "idle-timeout",
            _ => match TlsFault::of(error) {
                Some(fault) => fault.code(),
                None if self.is_backend_in_tls_handshake() => "tls-cut",
                None => "reset",
            },
        };
        if let Some(fault) = TlsFault::of(error) {
            let peer = self.transport.peer_address();
            let peer = peer.map_or_else(|_| "a peer".to_owned(), |peer| peer.to_string());
            log::info!(target: "heirloom::net", "{peer}: {fault}");
        }
        self.ended_by_peer(what, None);
    }

    /// Notes that its peer ended it so.
    pub(super) fn ended_by_peer(&mut self, what: &'static str, code: Option<u16>) {
        let by = self.peer();
        self.end(EndReason { by, what, code });
    }

    /// What its deadlines depend on.
    pub(super) fn timed_peer(&self) -> timing::Peer {
        timing::Peer {
            side: self.conn.side(),
            output_waits: !self.backlog.is_empty(),
            has_ping: self.has_ping(),
        }
    }

    /// Whether its peer can be asked whether it lives.
    pub(super) fn has_ping(&self) -> bool {
        self.conn.has_ping()
    }

    /// An open peer that cannot be pinged is judged by the system: what it was
    /// sent is a sign of life, because TCP ends where it is not acknowledged in
    /// time. Without an idle timeout that is the time of all connections.
    pub(super) fn set_user_timeout(&self, settings: &Settings) {
        if self.timing.stage() == Stage::Open && !self.has_ping() && settings.idle_ms > 0 {
            self.transport.set_user_timeout(settings.idle_ms);
        }
    }

    /// The deadline of its stage, if there is one.
    pub(super) fn due_ms(&self, settings: &Settings) -> Option<u64> {
        let due = self.timing.due_ms(settings, self.timed_peer());
        if self.rare.is_none() {
            return due;
        }
        let dialling = self.bridge().and_then(|bridge| bridge.dialling.as_ref());
        let dialling = dialling.and_then(Dialling::due_ms);
        let message = self.message_due_ms(settings);
        let gives_up = self.gives_up_ms();
        let all = [due, dialling, message, gives_up];
        all.into_iter().flatten().min()
    }

    /// When the message that is arriving must have grown.
    pub(super) fn message_due_ms(&self, settings: &Settings) -> Option<u64> {
        let arriving = self.rare.as_ref()?.arriving.as_ref()?;
        let is_limited = settings.message_ms > 0 && self.timing.stage() == Stage::Open;
        is_limited.then(|| arriving.due_ms(settings.message_ms))
    }

    /// Has the wheel watch its deadline.
    pub(super) fn arm(&mut self, wheel: &mut Wheel, token: usize, settings: &Settings) {
        if let Some(due) = self.due_ms(settings) {
            self.timing.arm(wheel, token, due);
        }
    }

    /// Whether it is not connected to its backend yet, TLS included.
    pub(super) fn is_reaching(&self) -> bool {
        self.is_connecting() || self.is_backend_in_tls_handshake()
    }

    /// When the next server of its backend is tried, while this one is not reached.
    pub(super) fn gives_up_ms(&self) -> Option<u64> {
        let gives_up_ms = self.bridge()?.course.as_ref()?.gives_up_ms?;
        self.is_reaching().then_some(gives_up_ms)
    }

    /// Whether it can make room for a link to another server of its backend: the
    /// client's request can be sent again, because not one octet of an answer has
    /// come. Of plain HTTP nothing may have been sent.
    pub(super) fn may_go_on(&self) -> bool {
        let Some(bridge) = self.bridge() else {
            return false;
        };
        let has_more = bridge
            .course
            .as_ref()
            .is_some_and(|course| course.has_more());
        let is_unanswered =
            self.conn.phase() == Phase::Handshake && self.unparsed().is_empty() && !bridge.relays();
        has_more && bridge.partner.is_some() && (is_unanswered || self.is_reaching())
    }

    /// Whether the protocol is done with it.
    pub(super) fn is_over(&self) -> bool {
        self.conn.phase() == Phase::Closed
    }

    /// Whether its opening handshake goes on.
    pub(super) fn is_opening(&self) -> bool {
        self.conn.phase() == Phase::Handshake && !self.timing.stage().relays()
    }

    /// Whether a backend is being dialled.
    #[inline]
    pub(super) fn is_connecting(&self) -> bool {
        self.bridge()
            .is_some_and(|bridge| bridge.dialling.is_some())
    }

    /// Whether its client has begun TLS, and nothing inside it can be read or
    /// written yet.
    pub(super) fn is_in_tls_handshake(&self) -> bool {
        self.begins_with_tls() || self.transport.is_in_tls_handshake()
    }

    /// Whether TLS may come, and its first message is not whole: what its client
    /// has sent begins as one, or nothing else is taken.
    fn begins_with_tls(&self) -> bool {
        let is_tls = |octet: &u8| may_begin_tls(*octet);
        match self.preface {
            Preface::Done => false,
            Preface::ClientHello => true,
            _ if self.takes == Takes::Tls => true,
            Preface::ProxyHeader => false,
            Preface::Unknown => {
                self.takes == Takes::Both && self.unparsed().first().is_some_and(is_tls)
            }
        }
    }

    /// Whether the deadline of its stage has come.
    pub(super) fn is_late(&self, settings: &Settings, now_ms: u64) -> bool {
        let due = self.timing.due_ms(settings, self.timed_peer());
        due.is_some_and(|due| due <= now_ms)
    }

    /// How its backend is dialled, while it is.
    pub(super) fn dialling(&mut self) -> Option<&mut Dialling> {
        self.bridge_mut()?.dialling.as_mut()
    }

    /// A backend is dialled for it.
    pub(super) fn dials(&mut self, bridge: BridgeLink, now_ms: u64) {
        if bridge.relays() {
            self.timing.enter(Stage::Relay, now_ms);
            self.flow.set(Flow::PARSE_DUE, !self.unparsed().is_empty());
        }
        self.rare_mut().bridge = Some(Box::new(bridge));
    }

    /// Its backend is connected.
    pub(super) fn connected(&mut self, transport: Transport, now_ms: u64) {
        self.transport = transport;
        if let Some(bridge) = self.bridge_mut() {
            bridge.dialling = None;
            if bridge.relays() {
                self.timing.enter(Stage::Relay, now_ms);
            }
        }
    }

    /// What carries its peer's messages to the other link, to give it to another link.
    pub(super) fn take_carries(&mut self) -> Option<Carried> {
        let bridge = self.rare.as_mut()?.bridge.take()?;
        Some(bridge.carries)
    }

    /// What its peer has sent and goes on as it is, if this link relays.
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.bridge_mut()?.carries {
            Carried::Octets(stream) => Some(stream),
            Carried::Messages(_) => None,
        }
    }

    /// The other link of its bridge, while there is one.
    #[inline]
    pub(super) fn partner(&self) -> Option<usize> {
        self.bridge()?.partner
    }

    /// Refuses its request, for a reason that lies at `by`.
    pub(super) fn refuse(
        &mut self,
        by: ClosedBy,
        refusal: AnyRefusal,
        hint: Option<Hint>,
        out: &mut Output<'_>,
    ) {
        self.flow.set(Flow::AWAITS_PAGE, false);
        let (what, code) = (refusal.code(), Some(refusal.status()));
        self.end(EndReason { by, what, code });
        if self.begins_with_tls() {
            self.take_unparsed();
            self.preface = Preface::Done;
            // A response could not be read.
            return self.conn.answer_otherwise(&INTERNAL_ERROR, out);
        }
        refusal.respond(&mut self.conn, hint, out);
    }

    /// Fails it after a panic, in which its input was lost.
    pub(super) fn fail_after_panic(&mut self, out: &mut Output<'_>) {
        self.discard_input();
        self.preface = Preface::Done;
        self.flow.set(Flow::AWAITS_PAGE, false);
        let violation = Violation::Internal;
        self.conn.fail(violation, out);
        self.end(EndReason::by_server(violation.code(), None));
    }

    /// The message that is arriving must have grown by now. While it was not read,
    /// it could not.
    pub(super) fn message_is_due(&mut self, now_ms: u64, out: &mut Output<'_>) {
        let is_read = !self.flow.is_paused() && self.backlog.is_empty();
        let arriving = self.rare.as_mut().and_then(|rare| rare.arriving.as_mut());
        match arriving {
            Some(arriving) if !is_read || arriving.has_grown() => arriving.restart(now_ms),
            _ => self.give_up(Violation::MessageTimeout, out),
        }
    }

    /// Gives its unfinished message up, for a reason of the server.
    pub(super) fn give_up(&mut self, violation: Violation, out: &mut Output<'_>) {
        self.discard_input();
        self.conn.fail(violation, out);
        let ended = EndReason::by_server(violation.code(), violation.close_code());
        self.end(ended);
    }

    /// Whether our end is the server's: its peer is a client.
    pub(super) fn is_of_client(&self) -> bool {
        self.conn.side() == Side::Server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_small() {
        // With the two pointers that a site keeps of each; one word is the pointer to
        // TLS.
        let octets = size_of::<Link<[usize; 2]>>();
        assert!(octets <= 96, "{octets} octets");
    }
}
