//! One turn of a link: what is read, eaten, asked of the app and answered.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{BridgeTurn, Link, LinkRecord, Pool, RandomPool, ReadResult, Room, Stage, TURN};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event, Framing};
use crate::error::{Refusal, Unsendable, Violation};
use crate::frame::{GOING_AWAY, Piece};
use crate::handshake::{HttpResponse, Request};
use crate::message::{Gather, WholeMessage};
use crate::net::{
    App, BackendDial, ClosedBy, EndReason, Handle, Incoming, LinkId, Reply, read_proxy_header,
};
use crate::version::{Side, Version};

/// Octets in front of the read buffer, where what was left uneaten is put: a
/// frame's header and a control frame's payload fit.
const FRONT: usize = 256;
/// A message of which so much is still to come is read to where it will lie.
const DIRECT: usize = TURN;
/// Octets that a peer may still send while we drain: whoever is told that his
/// message is too big is sending one.
const DRAIN: u32 = 1024 * 1024;

/// What every turn uses, and no link owns.
pub(super) struct Scratch {
    pub(super) config: Arc<Config>,
    /// `FRONT` octets, then the room of one read.
    buffer: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// What the other link of a bridge is told.
    pub(super) peer_out: Vec<u8>,
    random: RandomPool,
    peer_random: RandomPool,
    /// A backend that the link of this turn asked for.
    pub(super) dial: Option<Box<BackendDial>>,
    pub(super) room: Room,
    pub(super) pool: Pool,
    pub(super) warnings: WarningLimiter,
    pub(super) now_ms: u64,
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

/// Whether a link lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterTurn {
    Keep,
    Drop,
}

impl Scratch {
    pub(super) fn new(config: Config) -> Scratch {
        Scratch {
            config: Arc::new(config),
            buffer: vec![0; FRONT + TURN],
            out: Vec::new(),
            peer_out: Vec::new(),
            random: RandomPool::default(),
            peer_random: RandomPool::default(),
            dial: None,
            room: Room::default(),
            pool: Pool::default(),
            warnings: WarningLimiter::default(),
            now_ms: 0,
        }
    }

    /// Where the link at hand is told something.
    pub(super) fn output(&mut self) -> Output<'_> {
        Output::new(&mut self.out, &mut self.random)
    }

    /// Where the other link of its bridge is.
    pub(super) fn peer_output(&mut self) -> Output<'_> {
        Output::new(&mut self.peer_out, &mut self.peer_random)
    }

    /// After a panic: throws away what was half done. What others said in the
    /// room before `mark` stays.
    pub(super) fn discard_output(&mut self, mark: usize) {
        self.out.clear();
        self.peer_out.clear();
        self.dial = None;
        self.room.take_back(mark);
    }

    /// One turn of a link: at most one read, and all that comes of it.
    pub(super) fn take_turn<A: App>(
        &mut self,
        app: &mut A,
        id: LinkId,
        link: &mut Link<A::Data>,
        mut partner: Option<&mut Link<A::Data>>,
    ) -> AfterTurn {
        if !link.wants_read(&self.config.limits) {
            return AfterTurn::Keep;
        }
        if link.stage == Stage::Draining {
            return self.drain_link(link);
        }
        if std::mem::take(&mut link.has_unparsed) {
            self.parse_unparsed(app, id, link, partner);
            return AfterTurn::Keep;
        }
        let to_come = usize::try_from(link.conn.payload_to_come()).unwrap_or(usize::MAX);
        let long = link.gather.as_ref().is_some_and(|g| g.len() >= DIRECT);
        let to_come = if long && link.conn.text_to_come() {
            TURN
        } else {
            to_come
        };
        let read = if to_come >= DIRECT && link.gather.is_some() && link.unparsed.is_empty() {
            self.read_into_message(app, id, link, to_come.min(TURN))
        } else {
            self.read_and_dispatch(app, id, link, partner.as_deref_mut())
        };
        match read {
            ReadResult::Octets(_) => {
                if link.stage == Stage::Open && link.backlog.is_empty() {
                    link.since_ms = self.now_ms;
                }
                AfterTurn::Keep
            }
            ReadResult::Nothing => AfterTurn::Keep,
            ReadResult::Broken => {
                link.record.end(EndReason {
                    by: link.peer(),
                    what: "reset",
                    code: None,
                });
                AfterTurn::Drop
            }
            ReadResult::End => {
                link.read_closed = true;
                self.end_of_input(link, partner);
                AfterTurn::Keep
            }
        }
    }

    /// The peer has ended its side of TCP.
    fn end_of_input<G>(&mut self, link: &mut Link<G>, partner: Option<&mut Link<G>>) {
        let mut ended = EndReason {
            by: link.peer(),
            what: "closed",
            code: None,
        };
        if let Err(violation) = link.conn.end_of_input(link.unparsed.len()) {
            log::debug!(target: "heirloom::net", "{violation}");
            ended.what = violation.code();
            if let Some(partner) = partner {
                let mut out = self.peer_output();
                super::refuse_for(link.conn.side(), violation, partner, &mut out);
            }
        } else if let (Some(bridge), Some(partner)) = (&mut link.bridge, partner) {
            let mut out = self.peer_output();
            let mut to = crate::conn::BridgeEnd {
                conn: &mut partner.conn,
                out: &mut out,
            };
            bridge.direction.end(&link.conn, &mut to);
        }
        link.record.end(ended);
    }

    /// Lets the connection eat what has come already.
    fn parse_unparsed<A: App>(
        &mut self,
        app: &mut A,
        id: LinkId,
        link: &mut Link<A::Data>,
        partner: Option<&mut Link<A::Data>>,
    ) {
        let mut octets = std::mem::take(&mut link.unparsed);
        let (mut dispatch, _, unparsed) = self.dispatch(id, link, partner);
        let left = dispatch.parse(app, &mut octets);
        octets.drain(..octets.len() - left);
        *unparsed = octets;
    }

    /// Throws away what a peer still sends after our last words.
    fn drain_link<G>(&mut self, link: &mut Link<G>) -> AfterTurn {
        let room = self.buffer.as_mut_slice();
        match Link::<G>::read(&mut link.stream, &mut link.readable, link.read_closed, room) {
            ReadResult::Octets(n) => {
                link.drained = link
                    .drained
                    .saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
                if link.drained > DRAIN {
                    AfterTurn::Drop
                } else {
                    AfterTurn::Keep
                }
            }
            ReadResult::Nothing => AfterTurn::Keep,
            ReadResult::End | ReadResult::Broken => AfterTurn::Drop,
        }
    }

    /// Reads into the shared buffer and lets the connection eat.
    fn read_and_dispatch<A: App>(
        &mut self,
        app: &mut A,
        id: LinkId,
        link: &mut Link<A::Data>,
        partner: Option<&mut Link<A::Data>>,
    ) -> ReadResult {
        let room = self.buffer.get_mut(FRONT..).unwrap_or_default();
        let read =
            Link::<A::Data>::read(&mut link.stream, &mut link.readable, link.read_closed, room);
        let ReadResult::Octets(n) = read else {
            return read;
        };
        if let Some(recorder) = link.record.recorder() {
            recorder.note(Side::Client, room.get(..n).unwrap_or_default());
        }
        let (mut dispatch, buffer, unparsed) = self.dispatch(id, link, partner);
        if unparsed.len() <= FRONT {
            // Put what was left in front of what came: nothing large moves.
            let start = FRONT - unparsed.len();
            let octets = buffer.get_mut(start..FRONT + n).unwrap_or_default();
            for (to, from) in octets.iter_mut().zip(unparsed.iter()) {
                *to = *from;
            }
            let left = dispatch.parse(app, octets);
            unparsed.clear();
            let consumed = octets.len() - left;
            unparsed.extend_from_slice(octets.get(consumed..).unwrap_or_default());
        } else {
            // A head in small portions: append, and look on from where the
            // last look ended.
            let received = buffer.get(FRONT..FRONT + n).unwrap_or_default();
            unparsed.extend_from_slice(received);
            let left = dispatch.parse(app, unparsed);
            unparsed.drain(..unparsed.len() - left);
        }
        if unparsed.is_empty() && unparsed.capacity() > 0 {
            *unparsed = Vec::new();
        }
        read
    }

    /// Reads payload straight to where the message is gathered.
    fn read_into_message<A: App>(
        &mut self,
        app: &mut A,
        id: LinkId,
        link: &mut Link<A::Data>,
        want: usize,
    ) -> ReadResult {
        let Some(mut gather) = link.gather.take() else {
            return ReadResult::Nothing;
        };
        let room = gather.room(want);
        let read =
            Link::<A::Data>::read(&mut link.stream, &mut link.readable, link.read_closed, room);
        let ReadResult::Octets(n) = read else {
            link.gather = Some(gather);
            return read;
        };
        if let Some(recorder) = link.record.recorder() {
            recorder.note(Side::Client, room.get(..n).unwrap_or_default());
        }
        let (mut dispatch, _, unparsed) = self.dispatch(id, link, None);
        let mut input = Input::new(room.get_mut(..n).unwrap_or_default());
        let handle = &mut dispatch.handle;
        let piece = match handle.conn.next(&mut input, &mut handle.out) {
            Ok(Some(Event::Piece(piece))) => Some((piece.kind, piece.octets.len(), piece.last)),
            Ok(_) => None,
            Err(violation) => {
                log_violation(handle.conn, violation);
                None
            }
        };
        // Behind a text's end there may be more.
        let mut rest = input.rest().to_vec();
        if let Some((kind, n, last)) = piece {
            gather.grow(kind, n);
            *dispatch.gather = Some(gather);
            if last {
                dispatch.finish(app);
            }
        }
        if !rest.is_empty() {
            let left = dispatch.parse(app, &mut rest);
            rest.drain(..rest.len() - left);
            *unparsed = rest;
        }
        read
    }

    /// What one turn of a link works with, the shared buffer, and what was left
    /// uneaten last time.
    fn dispatch<'t, A: App>(
        &'t mut self,
        id: LinkId,
        link: &'t mut Link<A::Data>,
        partner: Option<&'t mut Link<A::Data>>,
    ) -> (Dispatch<'t, A>, &'t mut Vec<u8>, &'t mut Vec<u8>) {
        let peer = link
            .expects_proxy_header
            .then(|| link.stream.peer_addr().ok())
            .flatten();
        let partner_gone = link.bridge.is_some() && partner.is_none();
        let bridge_turn = match (&mut link.bridge, partner) {
            (Some(bridge), Some(partner)) => Some(BridgeTurn {
                bridge,
                partner,
                out: Output::new(&mut self.peer_out, &mut self.peer_random),
            }),
            _ => None,
        };
        let handle = Handle {
            id,
            data: &mut link.data,
            conn: &mut link.conn,
            out: Output::new(&mut self.out, &mut self.random),
            backlog: &mut link.backlog,
            room: &mut self.room,
            in_room: &mut link.in_room,
            is_recorded: link.record.recorder().is_some(),
        };
        let dispatch = Dispatch {
            handle,
            gather: &mut link.gather,
            record: &mut link.record,
            dial: &mut self.dial,
            bridge_turn,
            partner_gone,
            expects_proxy_header: &mut link.expects_proxy_header,
            peer,
            pool: &mut self.pool,
            warnings: &mut self.warnings,
            now_ms: self.now_ms,
        };
        (dispatch, &mut self.buffer, &mut link.unparsed)
    }

    /// A deadline has come.
    pub(super) fn expire<G>(&mut self, link: &mut Link<G>) -> AfterTurn {
        if link.stage == Stage::Open && link.read_paused_by_bridge && link.backlog.is_empty() {
            // It is not heard, which is not its silence; whoever does not take
            // what it says has a deadline of its own.
            link.since_ms = self.now_ms;
            return AfterTurn::Keep;
        }
        let mut out = self.output();
        let mut by = link.peer();
        let (after, what, code) = match link.stage {
            Stage::Handshake if link.conn.side() == Side::Client => {
                (AfterTurn::Drop, Refusal::BackendTimeout.code(), None)
            }
            Stage::Handshake => {
                let refusal = if link.bridge.is_some() && !link.record.answered {
                    by = ClosedBy::Backend;
                    Refusal::BackendTimeout
                } else {
                    Refusal::HandshakeTimeout
                };
                link.conn.refuse(refusal, &mut out);
                (
                    AfterTurn::Keep,
                    refusal.code(),
                    Some(refusal.response_status()),
                )
            }
            Stage::Open if link.backlog.is_empty() => {
                link.conn.close(GOING_AWAY, "idle", &mut out);
                (AfterTurn::Keep, "idle-timeout", Some(GOING_AWAY))
            }
            // Nothing can be said to one who does not read.
            Stage::Open => (AfterTurn::Drop, "write-timeout", None),
            Stage::Closing | Stage::Draining => (AfterTurn::Drop, "close-timeout", None),
        };
        link.record.end(EndReason { by, what, code });
        after
    }
}

/// One turn of a link, while the connection eats.
struct Dispatch<'t, A: App> {
    handle: Handle<'t, A>,
    gather: &'t mut Option<Box<Gather>>,
    record: &'t mut LinkRecord,
    dial: &'t mut Option<Box<BackendDial>>,
    bridge_turn: Option<BridgeTurn<'t, A::Data>>,
    /// A link of a bridge whose partner is gone.
    partner_gone: bool,
    expects_proxy_header: &'t mut bool,
    /// The address of TCP, while a PROXY header is awaited.
    peer: Option<SocketAddr>,
    pool: &'t mut Pool,
    warnings: &'t mut WarningLimiter,
    now_ms: u64,
}

impl<A: App> Dispatch<'_, A> {
    /// Lets the connection eat, event by event; gives how many octets are left.
    fn parse(&mut self, app: &mut A, octets: &mut [u8]) -> usize {
        let mut input = Input::new(octets);
        if *self.expects_proxy_header && !self.read_proxy_header_first(app, &mut input) {
            return input.rest().len();
        }
        loop {
            if let Some(bridge_turn) = &self.bridge_turn {
                if bridge_turn.waits(self.handle.conn) {
                    break;
                }
            }
            let handle = &mut self.handle;
            match handle.conn.next(&mut input, &mut handle.out) {
                Ok(None) => break,
                Ok(Some(event)) => match (event, &mut self.bridge_turn) {
                    // Who would have heard it is gone.
                    (Event::Piece(_), None) if self.partner_gone => {}
                    (Event::Piece(piece), None) => self.piece(app, piece),
                    (Event::Refused(refusal, octets), None) => {
                        app.refused(&refusal, octets, self.handle.data);
                        if self.record.recorder().is_none() {
                            self.start_recording(app, &[octets]);
                        }
                        self.event(app, Event::Refused(refusal, octets));
                    }
                    (Event::Request(request) | Event::Http(request), None) => {
                        self.request(app, &request, input.rest());
                    }
                    (event, None) => self.event(app, event),
                    (event, Some(_)) => self.dispatch_bridge(app, event),
                },
                Err(violation) => self.violated(violation),
            }
        }
        input.rest().len()
    }

    /// Reads the PROXY header in front of everything; whether it is there.
    fn read_proxy_header_first(&mut self, app: &mut A, input: &mut Input<'_>) -> bool {
        let Some(peer) = self.peer else {
            // Gone already.
            input.take_all();
            return false;
        };
        match read_proxy_header(input.rest(), peer) {
            Ok(None) => false,
            Ok(Some((client, octets))) => {
                input.take(octets);
                *self.expects_proxy_header = false;
                app.connected(&client, self.handle.data);
                self.start_recording(app, &[input.rest()]);
                true
            }
            Err(refusal) => {
                *self.expects_proxy_header = false;
                input.take_all();
                self.refused(refusal);
                self.handle.conn.refuse(refusal, &mut self.handle.out);
                true
            }
        }
    }

    /// What happened on a link of a bridge.
    fn dispatch_bridge(&mut self, app: &mut A, event: Event<'_>) {
        let Some(bridge_turn) = &mut self.bridge_turn else {
            return;
        };
        let handle = &mut self.handle;
        match event {
            Event::Response(response) => {
                bridge_turn.bridge.subprotocol = response.subprotocol().map(str::to_owned);
            }
            Event::Open if handle.conn.side() == Side::Client => {
                log::debug!(target: "heirloom::handshake", "the backend agrees: {}", version_name(handle.conn));
                let chosen = bridge_turn.bridge.subprotocol.take();
                let partner = &mut *bridge_turn.partner;
                let reply = app.backend_accepted(chosen.as_deref(), &mut partner.data);
                partner.has_unparsed = true;
                write_reply(
                    &mut partner.conn,
                    &mut bridge_turn.out,
                    &mut partner.record,
                    reply,
                );
            }
            Event::Open => {
                bridge_turn.partner.has_unparsed = true;
                self.opened(app);
            }
            event => {
                let close = match &event {
                    Event::Close(reason) => Some(reason.code),
                    _ => None,
                };
                if let Err(violation) = bridge_turn.carry(event, handle.conn, &mut handle.out) {
                    log_violation(handle.conn, violation);
                    if violation == Violation::BinaryUnwanted && self.warnings.again(self.now_ms) {
                        log::warn!(
                            target: "heirloom::net",
                            "a {} sent a binary message, and {} has none: both are told goodbye \
                             (--binary)",
                            ClosedBy::facing(handle.conn.side()),
                            version_name(&bridge_turn.partner.conn)
                        );
                    }
                    let by = ClosedBy::facing(handle.conn.side());
                    self.ended(by, violation.code(), Some(violation.close_code()));
                } else if let Some(code) = close {
                    let by = ClosedBy::facing(handle.conn.side());
                    self.ended(by, "closed", code);
                }
            }
        }
    }

    /// The peer broke the protocol; its goodbye is in the output.
    fn violated(&mut self, violation: Violation) {
        let side = self.handle.conn.side();
        log_violation(self.handle.conn, violation);
        if let Some(bridge_turn) = &mut self.bridge_turn {
            super::refuse_for(side, violation, bridge_turn.partner, &mut bridge_turn.out);
        }
        let code = Some(violation.close_code()).filter(|code| *code != 1006);
        self.ended(ClosedBy::facing(side), violation.code(), code);
    }

    fn refused(&mut self, refusal: Refusal) {
        log::debug!(target: "heirloom::handshake", "refused: {}", refusal.code());
        let status = refusal.response_status();
        self.ended(ClosedBy::Server, refusal.code(), Some(status));
    }

    fn ended(&mut self, by: ClosedBy, what: &'static str, code: Option<u16>) {
        let ended = EndReason { by, what, code };
        self.record.end(ended);
        if let Some(bridge_turn) = &mut self.bridge_turn {
            bridge_turn.partner.record.end(ended);
        }
    }

    fn opened(&mut self, app: &mut A) {
        let handle = &mut self.handle;
        log::debug!(target: "heirloom::handshake", "open: {}", version_name(handle.conn));
        self.record.opened = true;
        // The app may look at the recording now, and this answer is not yet written.
        self.record.note_output(handle.out.octets);
        app.open(handle);
    }

    #[inline]
    fn piece(&mut self, app: &mut A, piece: Piece<'_>) {
        if piece.first && piece.last {
            let checked = is_checked(self.handle.conn);
            if let Some(whole) = WholeMessage::of(piece, checked) {
                app.message(Incoming::Whole(whole), &mut self.handle);
            }
            return;
        }
        let (pool, now_ms) = (&mut *self.pool, self.now_ms);
        let gather = self.gather.get_or_insert_with(|| {
            let buffer = pool.take(now_ms);
            Box::new(Gather::into_buffer(buffer, Framing::MAX))
        });
        gather.add(&piece);
        if piece.last {
            self.finish(app);
        }
    }

    /// A gathered message is whole.
    fn finish(&mut self, app: &mut A) {
        if let Some(mut gather) = self.gather.take() {
            let checked = is_checked(self.handle.conn);
            let incoming = Incoming::Gathered(&mut gather, checked);
            app.message(incoming, &mut self.handle);
            self.pool.put(gather.into_octets());
        }
    }

    fn event(&mut self, app: &mut A, event: Event<'_>) {
        match event {
            Event::Open => self.opened(app),
            Event::Refused(refusal, _) => {
                if let Refusal::VersionOff { version, .. } = refusal {
                    self.record.set_requested_version(version);
                }
                self.refused(refusal);
            }
            Event::Close(reason) => {
                log::debug!(target: "heirloom::net", "closed by the peer: {:?}", reason.code);
                self.ended(ClosedBy::Client, "closed", reason.code);
            }
            Event::Request(_)
            | Event::Http(_)
            | Event::Response(_)
            | Event::Piece(_)
            | Event::Ping(_)
            | Event::Pong(_) => {}
        }
    }

    /// A client asks for something; `behind` has come after the request.
    fn request(&mut self, app: &mut A, request: &Request<'_>, behind: &[u8]) {
        let reply = app.request(request, self.handle.data);
        if self.record.recorder().is_none() {
            self.start_recording(app, &[request.head().raw(), behind]);
        }
        self.reply(reply);
    }

    /// Starts recording, if the app wants one, with what has come already.
    fn start_recording(&mut self, app: &mut A, received: &[&[u8]]) {
        if let Some(recorder) = app.recorder(self.handle.data) {
            self.handle.is_recorded = true;
            for octets in received {
                recorder.note(Side::Client, octets);
            }
            self.record.start_recording(recorder);
        }
    }

    fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Bridge(dial) => {
                if let Some(base) = &dial.public_url {
                    self.handle.conn.set_public_url(base);
                }
                self.handle.conn.set_manual_control();
                *self.dial = Some(dial);
            }
            reply => {
                let Handle { conn, out, .. } = &mut self.handle;
                write_reply(conn, out, self.record, reply);
            }
        }
    }
}

/// Answers a request.
fn write_reply(conn: &mut Conn, out: &mut Output<'_>, record: &mut LinkRecord, reply: Reply) {
    let mut ended = |what, status| {
        record.end(EndReason {
            by: ClosedBy::Server,
            what,
            code: Some(status),
        });
    };
    let replied = match reply {
        Reply::Accept(subprotocol) => {
            let accepted = conn.accept(subprotocol.as_deref(), out);
            record.answered = accepted.is_ok();
            log::debug!(target: "heirloom::handshake", "101 said: {}", version_name(conn));
            accepted
        }
        Reply::Refuse(refusal) => {
            log::debug!(target: "heirloom::handshake", "refused: {}", refusal.code());
            ended(refusal.code(), refusal.response_status());
            conn.refuse(refusal, out);
            Ok(())
        }
        Reply::Http {
            status,
            content_type,
            headers,
            body,
        } => {
            ended("page", status);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
            let response = HttpResponse {
                status,
                content_type,
                headers: &headers,
                body: &body,
            };
            conn.respond(&response, out)
        }
        // One backend is enough.
        Reply::Bridge(_) => Err(Unsendable::NotOpen),
    };
    if let Err(error) = replied {
        log::warn!("cannot answer a request: {error}");
        conn.refuse(Refusal::NotFound, out);
    }
}

/// Whether text was checked as it came.
fn is_checked(conn: &Conn) -> bool {
    conn.version().is_some_and(Version::checks_text)
}

fn version_name(conn: &Conn) -> &'static str {
    conn.version().map_or("no version", |v| v.name)
}

fn log_violation(conn: &Conn, violation: Violation) {
    let version = version_name(conn);
    log::debug!(target: "heirloom::net", "{version}: {}: {violation}", violation.code());
}
