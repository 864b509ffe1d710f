//! One turn of a link: at most one read, and all that comes of it.

use super::bridge;
use super::bridge_link::CarriedBack;
use super::dispatch::Dispatch;
use super::leaving::Why;
use super::link::{AfterTurn, Flow, Link, Preface, READ, TURN};
use super::relaying;
use super::scratch::{Context, FRONT, OutBuffer, Scratch};
use super::timing::{Stage, ping_payload};
use crate::bytes::Input;
use crate::conn::Phase;
use crate::error::{Refusal, Violation};
use crate::frame::GOING_AWAY;
use crate::net::app::{App, ClosedBy, EndReason};
use crate::net::first::{First, first_of_all};
use crate::net::link_id::LinkId;
use crate::net::listen::Takes;
use crate::net::proxy::ClientAddress;
use crate::net::refusal::{AnyRefusal, NetRefusal};
use crate::net::tls::TlsFault;
use crate::net::transport::ReadResult;
use crate::version::Side;

/// A message of which at least this much is still to come is read straight into
/// its own buffer.
const DIRECT: usize = TURN;
/// Octets that a peer may still send while we drain: a peer whose message is too
/// big may be in the middle of sending it.
const DRAIN: u32 = 1024 * 1024;

/// A link and what its turn may use.
pub(super) struct Turn<'t, A: App> {
    pub(super) token: usize,
    pub(super) link: &'t mut Link<A::Data>,
    /// The other link of its bridge.
    pub(super) partner: Option<&'t mut Link<A::Data>>,
    pub(super) app: &'t mut A,
    pub(super) scratch: &'t mut Scratch,
    pub(super) context: Context<'t>,
}

impl<A: App> Turn<'_, A> {
    /// A client has connected. It is refused at once where there is a reason.
    pub(super) fn greet(&mut self, client: &ClientAddress, refusal: Option<NetRefusal>) {
        let link = &mut *self.link;
        self.app.connected(client, &mut link.data);
        if link.preface != Preface::ProxyHeader {
            if let Some(recorder) = self.app.recorder(&mut link.data) {
                link.rare_mut().record.start_recording(recorder);
            }
        }
        match refusal {
            // Its first octet says how it can be told.
            Some(refusal) if matches!(link.takes, Takes::Both | Takes::Tls) => {
                let (what, code) = (refusal.code(), Some(refusal.status()));
                link.end(EndReason::by_server(what, code));
                link.rare_mut().record.set_due_refusal(refusal);
            }
            Some(refusal) => {
                let (hint, mut out) = (self.context.hint(), self.scratch.out.output());
                link.refuse(ClosedBy::Server, refusal.into(), hint, &mut out);
            }
            None => {}
        }
    }

    /// Reads once and parses what was read.
    pub(super) fn take(mut self) -> AfterTurn {
        if !self.link.wants_turn(self.context.settings) {
            return AfterTurn::Keep;
        }
        if self.link.has_deflation() {
            self.deflate();
            return AfterTurn::Keep;
        }
        if self.link.timing.stage() == Stage::Draining {
            return drain(self.link, &mut self.scratch.buffer);
        }
        if self.link.timing.stage().relays() {
            return match self.partner {
                Some(partner) => relaying::read(self.link, partner, self.scratch, &self.context),
                None => AfterTurn::Drop,
            };
        }
        if self.link.flow.take(Flow::PARSE_DUE) {
            self.parse_unparsed();
            self.parse_on();
            return AfterTurn::Keep;
        }
        let read = match self.direct_room() {
            Some(want) => self.read_into_message(want),
            None => self.read_and_dispatch(),
        };
        self.parse_on();
        self.after_read(read)
    }

    /// Goes on with the message that is being deflated.
    fn deflate(&mut self) {
        let compression = self.link.conn.config().compression;
        if self.link.backlog.is_empty() {
            self.link.timing.restart(self.context.now_ms);
        }
        let rare = self.link.rare.as_mut();
        let deflation = rare.and_then(|rare| rare.deflation.as_mut());
        let mut out = self.scratch.out.output();
        if deflation.is_some_and(|deflation| deflation.go_on(&compression, &mut out)) {
            self.end_deflation();
        }
    }

    /// Sends the message that is being deflated, if there is one, before something else
    /// is sent. It goes as it is where not all of it is deflated yet.
    pub(super) fn end_deflation(&mut self) {
        let link = &mut *self.link;
        let rare = link.rare.as_mut();
        let Some(deflation) = rare.and_then(|rare| rare.deflation.take()) else {
            return;
        };
        // What was received behind it has waited.
        if !link.unparsed().is_empty() {
            link.flow.set(Flow::PARSE_DUE, true);
        }
        if link.conn.can_send() {
            let mut out = self.scratch.out.output();
            let spent = deflation.send(&mut link.backlog, &mut out);
            self.scratch.pool.put(spent);
        }
    }

    /// Where more waits to be inflated, or for what was deflated, the next turn goes
    /// on with it.
    fn parse_on(&mut self) {
        let waits = self.scratch.has_deflated_all() && !self.link.unparsed().is_empty();
        if (waits || self.link.conn.waits_for_room()) && !self.link.is_over() {
            self.link.flow.set(Flow::PARSE_DUE, true);
        }
    }

    /// What comes of a read, once all octets are parsed.
    pub(super) fn after_read(self, read: ReadResult) -> AfterTurn {
        let link = self.link;
        match read {
            ReadResult::Octets(_) => {
                if link.timing.stage() == Stage::Open && link.backlog.is_empty() {
                    link.timing.restart(self.context.now_ms);
                }
                AfterTurn::Keep
            }
            ReadResult::Nothing => AfterTurn::Keep,
            ReadResult::Broken(error) => {
                let (warnings, now_ms) = (&mut self.scratch.warnings, self.context.now_ms);
                bridge::warn_of_tls(link, &error, warnings, now_ms);
                link.broken(&error);
                let is_new = link.conn.phase() == Phase::Handshake && link.bridge().is_none();
                if !is_new || TlsFault::of(&error).is_none() {
                    return AfterTurn::Drop;
                }
                // A reset would destroy the alert: what still comes is drained.
                if let Some(version) = link.tls_version() {
                    link.rare_mut().record.set_past_tls(version);
                }
                link.transport.give_up_tls();
                let mut out = self.scratch.out.output();
                link.conn.answer_otherwise(&[], &mut out);
                AfterTurn::Keep
            }
            // Another server of its backend is tried.
            ReadResult::End if link.may_go_on() => AfterTurn::Drop,
            ReadResult::End => {
                answer_last_request(link, &mut self.scratch.out);
                end_of_input(
                    link,
                    self.partner,
                    &mut self.scratch.peer_out,
                    &self.context,
                );
                AfterTurn::Keep
            }
        }
    }

    /// How much to read to where a message is being gathered, if so.
    #[inline]
    fn direct_room(&self) -> Option<usize> {
        let rare = self.link.rare.as_ref()?;
        let arriving = rare.arriving.as_ref()?;
        let to_come = if arriving.gather.len() >= DIRECT && self.link.conn.text_to_come() {
            TURN
        } else {
            usize::try_from(self.link.conn.payload_to_come()).unwrap_or(usize::MAX)
        };
        (to_come >= DIRECT && rare.unparsed.is_empty()).then(|| to_come.min(2 * READ))
    }

    fn dispatch(&mut self) -> (Dispatch<'_, A>, &mut Vec<u8>, &mut Vec<u8>, &mut A) {
        let id = LinkId {
            worker: self.context.worker,
            token: self.token,
        };
        let partner = self.partner.as_deref_mut();
        let (dispatch, buffer, unparsed) =
            Dispatch::new(id, self.link, partner, self.scratch, &self.context);
        (dispatch, buffer, unparsed, self.app)
    }

    /// Parses what was read before.
    fn parse_unparsed(&mut self) {
        let mut octets = self.link.take_unparsed();
        let (mut dispatch, _, unparsed, app) = self.dispatch();
        let left = dispatch.parse(app, &mut octets);
        octets.drain(..octets.len() - left);
        *unparsed = octets;
    }

    /// Reads into the shared buffer and parses.
    fn read_and_dispatch(&mut self) -> ReadResult {
        let (_, room) = self.scratch.buffer.split_at_mut(FRONT);
        // What a bridge reads may have to wait for its partner.
        let most = if self.link.bridge().is_some() {
            TURN
        } else {
            READ
        };
        let (room, _) = room.split_at_mut(most);
        let read = self.link.transport.read(room);
        let ReadResult::Octets(n) = read else {
            return read;
        };
        if let Some(recorder) = self.link.recorder() {
            recorder.note(Side::Client, room.split_at(n).0);
        }
        self.dispatch_read(n);
        read
    }

    /// Parses the last `left` of `n` octets that were read into the shared buffer.
    /// `ended` is how the app has ended the connection before.
    pub(super) fn parse_received(mut self, n: usize, left: usize, ended: Option<EndReason>) {
        if let Some(ended) = ended {
            self.link.end(ended);
        }
        if left == 0 {
            return;
        }
        let (mut dispatch, buffer, unparsed, app) = self.dispatch();
        let (received, _) = buffer.split_at_mut(FRONT + n);
        let (_, octets) = received.split_at_mut(FRONT + n - left);
        let left = dispatch.parse(app, octets);
        if left > 0 {
            unparsed.extend_from_slice(octets.split_at(octets.len() - left).1);
        }
        self.parse_on();
    }

    /// Goes on where messages were carried to the other end of the bridge, with
    /// this result, and the last `left` of `n` octets that were read into the
    /// shared buffer are to be parsed.
    pub(super) fn parse_behind_carried(
        mut self,
        n: usize,
        left: usize,
        carried: Result<(), Violation>,
    ) {
        self.dispatch().0.carried(carried, None);
        self.parse_received(n, left, None);
    }

    /// Parses the octets that were read into the shared buffer.
    fn dispatch_read(&mut self, n: usize) {
        let (mut dispatch, buffer, unparsed, app) = self.dispatch();
        let (front_and_received, _) = buffer.split_at_mut(FRONT + n);
        if unparsed.len() <= FRONT {
            // Put what was left in front of what was received: nothing large
            // moves.
            let (_, octets) = front_and_received.split_at_mut(FRONT - unparsed.len());
            if !unparsed.is_empty() {
                octets
                    .split_at_mut(unparsed.len())
                    .0
                    .copy_from_slice(unparsed);
                unparsed.clear();
            }
            let left = dispatch.parse(app, octets);
            if left > 0 {
                unparsed.extend_from_slice(octets.split_at(octets.len() - left).1);
            }
        } else {
            // A head in small portions: append, and the search for its end goes
            // on from where it was.
            let (_, received) = front_and_received.split_at(FRONT);
            unparsed.extend_from_slice(received);
            let left = dispatch.parse(app, unparsed);
            unparsed.drain(..unparsed.len() - left);
        }
        if unparsed.is_empty() && unparsed.capacity() > 0 {
            *unparsed = Vec::new();
        }
    }

    /// Reads payload straight to where the message is gathered.
    fn read_into_message(&mut self, want: usize) -> ReadResult {
        let rare = self.link.rare.as_mut();
        let Some(mut arriving) = rare.and_then(|rare| rare.arriving.take()) else {
            return ReadResult::Nothing;
        };
        let to_come = self.link.conn.payload_to_come();
        let to_come = if to_come == 0 { u64::MAX } else { to_come };
        let (pool, now_ms) = (&mut self.scratch.pool, self.context.now_ms);
        let grow = |buffer: &mut _, least, whole| pool.grow(buffer, (least, whole), now_ms);
        if arriving.gather.try_reserve(want, to_come, grow).is_err() {
            let mut out = self.scratch.out.output();
            self.link.give_up(Violation::MemoryFull, &mut out);
            return ReadResult::Nothing;
        }
        let room = arriving.gather.room(want);
        let read = self.link.transport.read(room);
        let ReadResult::Octets(n) = read else {
            self.link.rare_mut().arriving = Some(arriving);
            return read;
        };
        if let Some(recorder) = self.link.recorder() {
            recorder.note(Side::Client, room.split_at(n).0);
        }
        let (mut dispatch, _, unparsed, app) = self.dispatch();
        let mut behind = dispatch.parse_in_place(app, arriving, n);
        if !behind.is_empty() {
            let left = dispatch.parse(app, &mut behind);
            behind.drain(..behind.len() - left);
            *unparsed = behind;
        }
        read
    }

    /// A deadline has come.
    pub(super) fn expire(self) -> AfterTurn {
        let (link, context) = (self.link, self.context);
        let mut out = self.scratch.out.output();
        let message_due = link.message_due_ms(context.settings);
        if message_due.is_some_and(|due| due <= context.now_ms) {
            link.message_is_due(context.now_ms, &mut out);
            return AfterTurn::Keep;
        }
        match link.timing.stage() {
            Stage::Handshake if !link.is_of_client() => {
                link.ended_by_peer(NetRefusal::BackendTimeout.code(), None);
                AfterTurn::Drop
            }
            // A response could not be read.
            Stage::Handshake if link.is_in_tls_handshake() => {
                link.ended_by_peer("tls-handshake-timeout", None);
                AfterTurn::Drop
            }
            Stage::Handshake => {
                let (by, refusal): (_, AnyRefusal) =
                    if let Some(due) = link.rare_mut().record.take_due_refusal() {
                        (ClosedBy::Server, due.into())
                    } else if link.bridge().is_some() && !link.past.answered {
                        (ClosedBy::Backend, NetRefusal::BackendTimeout.into())
                    } else {
                        (ClosedBy::Client, Refusal::HandshakeTimeout.into())
                    };
                link.refuse(by, refusal, context.hint(), &mut out);
                AfterTurn::Keep
            }
            Stage::Open
                if (link.flow.is_paused() || link.has_deflation()) && link.backlog.is_empty() =>
            {
                // Reading is paused, so that nothing was read proves nothing. A
                // partner that does not read has a deadline of its own.
                link.timing.restart(context.now_ms);
                AfterTurn::Keep
            }
            Stage::Open if link.timing.take_ping(context.settings, link.timed_peer()) => {
                // Where it cannot be sent, the peer has the rest of the time.
                let _ = link.conn.ping(ping_payload(), &mut out);
                AfterTurn::Keep
            }
            Stage::Open if link.backlog.is_empty() && context.settings.idle_ms == 0 => {
                link.timing.look_again(context.now_ms);
                AfterTurn::Keep
            }
            Stage::Open if link.backlog.is_empty() => {
                link.conn.close(GOING_AWAY, "idle", &mut out);
                let ended = EndReason::by_server("idle-timeout", Some(GOING_AWAY));
                link.end(ended);
                AfterTurn::Keep
            }
            Stage::Relay | Stage::RelayEnding if link.backlog.is_empty() => match self.partner {
                Some(partner) => relaying::expire(link, partner, &mut out, &context),
                None => AfterTurn::Drop,
            },
            // A peer that does not read cannot be sent a close either.
            Stage::Open | Stage::Relay | Stage::RelayEnding => {
                link.ended_by_peer("write-timeout", None);
                AfterTurn::Drop
            }
            Stage::Closing | Stage::Draining => {
                link.ended_by_peer("close-timeout", None);
                AfterTurn::Drop
            }
        }
    }

    /// Its unfinished input is to give its memory back.
    pub(super) fn give_up(self) {
        let (link, hint) = (self.link, self.context.hint());
        let mut out = self.scratch.out.output();
        if link.conn.phase() == Phase::Handshake {
            link.take_unparsed();
            let refusal = NetRefusal::OutOfMemory.into();
            return link.refuse(ClosedBy::Server, refusal, hint, &mut out);
        }
        link.give_up(Violation::MemoryFull, &mut out);
    }

    /// It is sent away: the server is being stopped, or its route is gone.
    pub(super) fn go_away(mut self, why: Why) {
        self.end_deflation();
        let (link, hint) = (self.link, self.context.hint());
        let mut out = self.scratch.out.output();
        match link.conn.phase() {
            // What is being answered may be answered to its end.
            Phase::Handshake if link.timing.stage().relays() => {
                link.timing.enter(Stage::RelayEnding, self.context.now_ms);
            }
            Phase::Handshake if link.is_of_client() => {
                let refusal = NetRefusal::GoingAway.into();
                link.refuse(ClosedBy::Server, refusal, hint, &mut out);
            }
            // The refusal of its client ends a backend's handshake, in whatever
            // order the two stand.
            Phase::Handshake => {}
            _ => {
                let ended = EndReason::by_server(why.word(), Some(GOING_AWAY));
                link.end(ended);
                link.conn.close(GOING_AWAY, why.word(), &mut out);
            }
        }
    }
}

/// Answers a Flash player that ends its request for a policy with its side of TCP.
fn answer_last_request<D>(link: &mut Link<D>, out: &mut OutBuffer) {
    let listener = link.rare.as_mut().and_then(|rare| rare.listener.take());
    let policy = listener
        .as_ref()
        .and_then(|listener| listener.flash.as_ref());
    let Some(policy) = policy.filter(|_| link.preface == Preface::Unknown) else {
        return;
    };
    if let First::FlashPolicy { .. } = first_of_all(link.unparsed()) {
        link.take_unparsed();
        link.preface = Preface::Done;
        link.conn
            .answer_otherwise(policy.octets(), &mut out.output());
        link.end(EndReason::by_server("policy", None));
    }
}

/// The peer has ended its side of TCP.
fn end_of_input<D>(
    link: &mut Link<D>,
    partner: Option<&mut Link<D>>,
    peer_out: &mut OutBuffer,
    context: &Context<'_>,
) {
    let unparsed = link.rare.as_mut().map(|rare| &mut rare.unparsed);
    let left = Input::new(unparsed.map_or(&mut [], |octets| octets));
    match link.conn.end_of_input(&left) {
        Ok(()) => {
            if let Some(partner) = partner {
                bridge::end_of_input(link, partner, &mut peer_out.output());
            }
            let truncated = link.transport.is_truncated();
            link.ended_by_peer(if truncated { "tls-truncated" } else { "closed" }, None);
        }
        Err(located) => {
            link.discard_input();
            let violation = located.error;
            log::debug!(target: "heirloom::net", "{violation}");
            if let Some(partner) = partner {
                let (side, hint) = (link.conn.side(), context.hint());
                let headers = CarriedBack::default();
                let mut out = peer_out.output();
                bridge::refuse_client((side, violation), &headers, partner, hint, &mut out);
            }
            // Inside TLS that is how an attacker cuts off what a peer sends.
            let cut_off = link.transport.is_truncated() && !link.is_in_tls_handshake();
            let what = if cut_off {
                "tls-truncated"
            } else {
                violation.code()
            };
            link.ended_by_peer(what, None);
        }
    }
}

/// Throws away what a peer still sends after our last output.
fn drain<D>(link: &mut Link<D>, buffer: &mut [u8]) -> AfterTurn {
    match link.transport.read(buffer) {
        ReadResult::Octets(n) => {
            if link.rare_mut().drained(n) > DRAIN {
                AfterTurn::Drop
            } else {
                AfterTurn::Keep
            }
        }
        ReadResult::Nothing => AfterTurn::Keep,
        ReadResult::End | ReadResult::Broken(_) => AfterTurn::Drop,
    }
}
