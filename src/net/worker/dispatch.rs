//! What one turn of a link received, event by event: to the app, to the other
//! end of its bridge, or into the message that is being gathered.

use std::sync::Arc;

use super::arriving::Arriving;
use super::bridge::{self, BridgeTurn};
use super::bridge_link::CarriedBack;
use super::link::{Flow, Link, Preface};
use super::pool::Pool;
use super::record::{LinkRecord, Past};
use super::scratch::{Context, Scratch, Warnings};
use super::timing::ping_payload;
use crate::bytes::{Input, Output};
use crate::conn::{Conn, Event, Phase};
use crate::error::{Refusal, Unsendable, Violation};
use crate::handshake::{HttpResponse, Request};
use crate::message::{Piece, WholeMessage};
use crate::net::app::{App, ClosedBy, EndReason, Handle, Incoming, Reply};
use crate::net::backend_dial::{BackendDial, Carries};
use crate::net::later::Later;
use crate::net::link_id::LinkId;
use crate::net::listen::{ListenPolicy, Takes};
use crate::net::page::Page;
use crate::net::refusal::{AnyRefusal, Hint};
use crate::net::transport::Transport;
use crate::version::Side;

/// Octets that one turn inflates; others wait no longer than that.
const ROOM: usize = 64 * 1024;

/// One turn of a link, while its input is parsed.
pub(super) struct Dispatch<'t, A: App> {
    pub(super) handle: Handle<'t, A>,
    arriving: &'t mut Option<Box<Arriving>>,
    pub(super) preface: &'t mut Preface,
    pub(super) transport: &'t mut Transport,
    pub(super) takes: Takes,
    listener: &'t mut Option<Arc<ListenPolicy>>,
    past: &'t mut Past,
    pub(super) record: &'t mut LinkRecord,
    bridge: BridgeTurn<'t, A::Data>,
    dial: &'t mut Option<Box<BackendDial>>,
    later: &'t mut Option<Later>,
    pool: &'t mut Pool,
    room: &'t mut Vec<u8>,
    pub(super) warnings: &'t mut Warnings,
    pub(super) context: &'t Context<'t>,
}

/// The parts of a turn: what parses, the shared buffer, and what was left
/// unparsed.
pub(super) type Parts<'t, A> = (Dispatch<'t, A>, &'t mut Vec<u8>, &'t mut Vec<u8>);

impl<'t, A: App> Dispatch<'t, A> {
    pub(super) fn new(
        id: LinkId,
        link: &'t mut Link<A::Data>,
        partner: Option<&'t mut Link<A::Data>>,
        scratch: &'t mut Scratch,
        context: &'t Context<'t>,
    ) -> Parts<'t, A> {
        // What is empty when the turn is over is given up.
        let rare = &mut **link.rare.get_or_insert_default();
        let handle = Handle {
            id,
            data: &mut link.data,
            conn: &mut link.conn,
            out: scratch.out.output(),
            backlog: &mut link.backlog,
            topics: &mut scratch.topics,
            deflation: Some(&mut rare.deflation),
            is_recorded: rare.record.recorder().is_some(),
            ended: None,
        };
        let dispatch = Dispatch {
            handle,
            arriving: &mut rare.arriving,
            preface: &mut link.preface,
            transport: &mut link.transport,
            takes: link.takes,
            listener: &mut rare.listener,
            past: &mut link.past,
            record: &mut rare.record,
            bridge: BridgeTurn::new(&mut rare.bridge, partner, &mut scratch.peer_out),
            dial: &mut scratch.dial,
            later: &mut scratch.later,
            pool: &mut scratch.pool,
            room: &mut scratch.room,
            warnings: &mut scratch.warnings,
            context,
        };
        (dispatch, &mut scratch.buffer, &mut rare.unparsed)
    }

    /// Parses these octets; gives how many are left.
    pub(super) fn parse(&mut self, app: &mut A, octets: &mut [u8]) -> usize {
        let mut room = std::mem::take(self.room);
        if room.is_empty() && self.handle.conn.compression().is_some() {
            room.resize(ROOM, 0);
        }
        let left = self.parse_into(app, Input::new(octets).with_room(&mut room));
        *self.room = room;
        left
    }

    fn parse_into(&mut self, app: &mut A, mut input: Input<'_>) -> usize {
        if *self.preface != Preface::Done {
            let listener = self.listener.take();
            let goes_on = self.read_preface(app, &mut input, listener.as_deref());
            if *self.preface != Preface::Done {
                *self.listener = listener;
            }
            if !goes_on {
                return input.rest().len();
            }
        }
        loop {
            if let BridgeTurn::Partner(partner) = &mut self.bridge {
                let Handle { conn, out, .. } = &mut self.handle;
                if self.past.opened && conn.can_send() && partner.is_early() {
                    break;
                }
                let carried = partner.carry_whole(&mut input, conn, out);
                self.carried(carried, None);
            }
            if self.has_deflation() || !self.may_deflate() {
                break;
            }
            let handle = &mut self.handle;
            match handle.conn.next(&mut input, &mut handle.out) {
                Ok(None) => break,
                Ok(Some(event)) => match (event, &self.bridge) {
                    (Event::Piece(piece), BridgeTurn::None) => self.piece(app, piece),
                    // The end that it was for is gone.
                    (Event::Piece(_), BridgeTurn::PartnerGone) => {}
                    (event, BridgeTurn::Partner(_)) => self.bridge_event(app, event),
                    (event, _) => self.event(app, event, input.rest()),
                },
                Err(located) => self.failed(located.error),
            }
        }
        if matches!(self.bridge, BridgeTurn::None) && self.handle.conn.is_inside_message() {
            // It has its time also where no payload of it has come yet, or nothing that
            // was inflated.
            let now_ms = self.context.now_ms;
            self.arriving
                .get_or_insert_with(|| Box::new(Arriving::new(now_ms)));
        }
        input.rest().len()
    }

    /// Whether what is parsed next may be deflated in this turn.
    fn may_deflate(&self) -> bool {
        let may_partner = match &self.bridge {
            BridgeTurn::Partner(partner) => partner.out.may_deflate(),
            BridgeTurn::None | BridgeTurn::PartnerGone => true,
        };
        may_partner && self.handle.out.may_deflate()
    }

    /// Parses payload that was read to where the message is gathered. Gives what
    /// lies behind the message's end.
    pub(super) fn parse_in_place(
        &mut self,
        app: &mut A,
        mut arriving: Box<Arriving>,
        n: usize,
    ) -> Vec<u8> {
        let (received, _) = arriving.gather.room(n).split_at_mut(n);
        let mut input = Input::new(received);
        let handle = &mut self.handle;
        let event = handle.conn.next(&mut input, &mut handle.out);
        let behind = input.rest().to_vec();
        match event {
            Ok(Some(Event::Piece(piece))) => {
                let (kind, checked, last) = (piece.kind, piece.checked, piece.last);
                let n = piece.octets.len();
                arriving.gather.add_in_place(kind, checked, n);
                *self.arriving = Some(arriving);
                if last {
                    self.finish(app);
                }
            }
            Ok(_) => {}
            Err(located) => self.failed(located.error),
        }
        behind
    }

    /// Answers with a refusal.
    pub(super) fn respond(&mut self, refusal: AnyRefusal) {
        let hint = self.context.hint();
        refusal.respond(self.handle.conn, hint, &mut self.handle.out);
    }

    /// Tells the app of TLS, where its client speaks it.
    fn tell_of_tls(&mut self, app: &mut A) {
        if let Some(agreement) = self.transport.tls_agreement() {
            app.secured(agreement, self.handle.data);
        }
    }

    /// The client's first octets were refused, and the response is written.
    pub(super) fn first_refused(
        &mut self,
        app: &mut A,
        refusal: AnyRefusal,
        octets: &[u8],
        behind: &[u8],
    ) {
        self.tell_of_tls(app);
        app.refused(refusal, octets, self.handle.data);
        if self.record.recorder().is_none() {
            self.start_recording(app, &[octets, behind]);
        }
        self.refused(refusal);
    }

    /// What happened on a link of a bridge.
    fn bridge_event(&mut self, app: &mut A, event: Event<'_>) {
        let BridgeTurn::Partner(partner) = &mut self.bridge else {
            return;
        };
        let handle = &mut self.handle;
        match event {
            Event::Response(response) => {
                partner.bridge.subprotocol = response.subprotocol().map(str::to_owned);
                partner.bridge.headers = CarriedBack::of(&response);
                if let Some(course) = partner.bridge.course.take() {
                    course.answered(self.transport.is_tls(), Some(response.status()));
                }
                if let Some(client) = partner.link.bridge_mut() {
                    client.status = Some(response.status());
                }
            }
            Event::Open if handle.conn.side() == Side::Client => {
                log::debug!(target: "heirloom::handshake", "the backend agrees: {}", version_name(handle.conn));
                self.past.opened = true;
                let chosen = partner.bridge.subprotocol.take();
                let headers = std::mem::take(&mut partner.bridge.headers);
                let link = &mut *partner.link;
                let reply = app.backend_accepted(chosen.as_deref(), &mut link.data);
                link.flow.set(Flow::PARSE_DUE, true);
                let hint = self.context.hint();
                let conn_and_out = (&mut link.conn, &mut partner.out);
                let ended = write_reply(conn_and_out, &mut link.past, hint, reply, &headers);
                if let Some(ended) = ended {
                    link.end(ended);
                }
                partner.keep_compressed(handle.conn);
            }
            Event::Open => {
                // What its backend has sent before waits for this.
                if !partner.link.unparsed().is_empty() {
                    partner.link.flow.set(Flow::PARSE_DUE, true);
                }
                self.opened(app);
            }
            // It answers our own ping.
            Event::Pong(payload) if *payload == *ping_payload() => {}
            event => self.carry(event),
        }
    }

    /// Carries an event to the other end of the bridge.
    fn carry(&mut self, event: Event<'_>) {
        let BridgeTurn::Partner(partner) = &mut self.bridge else {
            return;
        };
        let close = match &event {
            Event::Close(reason) => Some(reason.code),
            _ => None,
        };
        let handle = &mut self.handle;
        let carried = partner.carry(event, handle.conn, &mut handle.out);
        self.carried(carried, close);
    }

    /// Notes what came of carrying something to the other end of the bridge: a
    /// close, which has this code, or something else.
    #[inline]
    pub(super) fn carried(&mut self, carried: Result<(), Violation>, close: Option<Option<u16>>) {
        if carried.is_err() || close.is_some() {
            self.note_carried(carried, close);
        }
    }

    #[inline(never)]
    fn note_carried(&mut self, carried: Result<(), Violation>, close: Option<Option<u16>>) {
        let BridgeTurn::Partner(partner) = &mut self.bridge else {
            return;
        };
        let conn = &self.handle.conn;
        let by = ClosedBy::peer_of(conn.side());
        if let Err(violation) = carried {
            log_violation(conn, violation);
            let is_binary = violation == Violation::BinaryUnwanted;
            if is_binary && self.warnings.binary.again(self.context.now_ms) {
                let version = version_name(&partner.link.conn);
                log::warn!(
                    target: "heirloom::net",
                    "a {by} sent a binary message, and {version} has none: both ends of the bridge \
                     are closed"
                );
            }
            self.ended(by, violation.code(), violation.close_code());
        } else if let Some(code) = close {
            self.ended(by, "closed", code);
        }
    }

    /// The peer broke the protocol; the close is in the output.
    pub(super) fn failed(&mut self, violation: Violation) {
        let side = self.handle.conn.side();
        log_violation(self.handle.conn, violation);
        if let BridgeTurn::Partner(partner) = &mut self.bridge {
            partner.bridge.carries.discard_held();
            let hint = self.context.hint();
            let headers = &partner.bridge.headers;
            bridge::refuse_client(
                (side, violation),
                headers,
                partner.link,
                hint,
                &mut partner.out,
            );
        }
        self.ended(
            ClosedBy::peer_of(side),
            violation.code(),
            violation.close_code(),
        );
    }

    pub(super) fn refused(&mut self, refusal: AnyRefusal) {
        log::debug!(target: "heirloom::handshake", "refused: {}", refusal.code());
        self.ended(ClosedBy::Server, refusal.code(), Some(refusal.status()));
    }

    pub(super) fn ended(&mut self, by: ClosedBy, what: &'static str, code: Option<u16>) {
        let ended = EndReason { by, what, code };
        self.record.end(ended);
        if let BridgeTurn::Partner(partner) = &mut self.bridge {
            partner.link.end(ended);
        }
    }

    fn opened(&mut self, app: &mut A) {
        let handle = &mut self.handle;
        log::debug!(target: "heirloom::handshake", "open: {}", version_name(handle.conn));
        self.past.opened = true;
        // The app may look at the recording now, and this response is not written
        // yet.
        self.record.note_output(handle.out.octets);
        app.open(handle);
        self.note_end();
    }

    /// Notes how the app has ended the connection, if it has.
    #[inline]
    fn note_end(&mut self) {
        if let Some(EndReason { by, what, code }) = self.handle.ended.take() {
            self.ended(by, what, code);
        }
    }

    #[inline]
    fn piece(&mut self, app: &mut A, piece: Piece<'_>) {
        if piece.first && piece.last {
            *self.arriving = None;
            if let Some(whole) = WholeMessage::of(piece) {
                app.message(Incoming::whole(whole.message()), &mut self.handle);
                self.note_end();
            }
            return;
        }
        let (pool, now_ms) = (&mut *self.pool, self.context.now_ms);
        let arriving = self
            .arriving
            .get_or_insert_with(|| Box::new(Arriving::new(now_ms)));
        let gather = &mut arriving.gather;
        let to_come = self.handle.conn.payload_to_come();
        let to_come = to_come.saturating_add(piece.octets.len() as u64);
        let grow = |buffer: &mut _, least, whole| pool.grow(buffer, (least, whole), now_ms);
        if gather
            .try_reserve(piece.octets.len(), to_come, grow)
            .is_err()
        {
            return self.give_up();
        }
        gather.add(&piece);
        if piece.last {
            self.finish(app);
        }
    }

    /// The last piece of a message was gathered.
    fn finish(&mut self, app: &mut A) {
        if let Some(mut arriving) = self.arriving.take() {
            app.message(Incoming::gathered(&mut arriving.gather), &mut self.handle);
            self.note_end();
            self.pool.put(arriving.gather.into_octets());
            self.keep_order();
        }
    }

    /// A message that the app sends is deflated over several turns. Where the app has
    /// sent more behind it, it goes as it is, and now.
    fn keep_order(&mut self) {
        let Handle {
            conn,
            out,
            backlog,
            deflation,
            ..
        } = &mut self.handle;
        if out.octets.is_empty() && conn.can_send() {
            return;
        }
        let begun = deflation.as_mut().and_then(|slot| slot.take());
        if let Some(begun) = begun {
            self.pool.put(begun.send(backlog, out));
        }
    }

    /// Whether a message is being deflated, to be sent.
    fn has_deflation(&self) -> bool {
        let slot = self.handle.deflation.as_ref();
        slot.is_some_and(|slot| slot.is_some())
    }

    /// There is no memory for the message that is arriving.
    fn give_up(&mut self) {
        *self.arriving = None;
        let violation = Violation::MemoryFull;
        self.handle.conn.fail(violation, &mut self.handle.out);
        self.ended(ClosedBy::Server, violation.code(), violation.close_code());
    }

    /// What happened on a link without a bridge; `behind` was received after it.
    fn event(&mut self, app: &mut A, event: Event<'_>, behind: &[u8]) {
        match event {
            Event::Open => self.opened(app),
            Event::Request(request) | Event::Http(request) => self.request(app, &request, behind),
            Event::Refused(refused) => {
                let refusal = refused.refusal.error;
                if let Refusal::VersionOff { version, .. } = refusal {
                    self.record.set_requested_version(version);
                }
                self.first_refused(app, refusal.into(), refused.octets, behind);
            }
            Event::Close(reason) => {
                log::debug!(target: "heirloom::net", "closed by the peer: {:?}", reason.code);
                self.ended(ClosedBy::Client, "closed", reason.code);
            }
            Event::Response(_)
            | Event::Stray(_)
            | Event::Piece(_)
            | Event::Ping(_)
            | Event::Pong(_) => {}
        }
    }

    /// A client asks for something; `behind` was received after the request.
    fn request(&mut self, app: &mut A, request: &Request<'_>, behind: &[u8]) {
        self.tell_of_tls(app);
        let reply = app.request(request, self.handle.data);
        if self.record.recorder().is_none() {
            self.start_recording(app, &[request.head().raw(), behind]);
        }
        let Handle { conn, out, .. } = &mut self.handle;
        match reply {
            Reply::Bridge(dial) => {
                if let Carries::Messages { public_url, .. } = &dial.carries {
                    if let Some(base) = public_url {
                        conn.set_public_url(base);
                    }
                    conn.set_manual_control();
                }
                *self.dial = Some(dial);
            }
            Reply::Later(later) => *self.later = Some(later),
            reply => {
                let hint = self.context.hint();
                let headers = CarriedBack::default();
                let ended = write_reply((conn, out), self.past, hint, reply, &headers);
                if let Some(ended) = ended {
                    self.record.end(ended);
                }
            }
        }
    }

    /// Starts a recording, if the app wants one, with what was received already.
    pub(super) fn start_recording(&mut self, app: &mut A, received: &[&[u8]]) {
        if let Some(recorder) = app.recorder(self.handle.data) {
            self.handle.is_recorded = true;
            for octets in received {
                recorder.note(Side::Client, octets);
            }
            self.record.start_recording(recorder);
        }
    }
}

/// Answers a request; a 101 has these headers besides. Gives how the connection
/// ends, where it does.
fn write_reply(
    (conn, out): (&mut Conn, &mut Output<'_>),
    past: &mut Past,
    hint: Option<Hint>,
    reply: Reply,
    headers: &CarriedBack,
) -> Option<EndReason> {
    let mut ended = None;
    let replied = match reply {
        Reply::Accept(subprotocol) => {
            let headers = headers.headers();
            let accepted = conn.accept_carrying(subprotocol.as_deref(), &headers, out);
            past.answered = accepted.is_ok();
            // Without the eight octets of hixie-76 the handshake is finished by
            // this response, even where a close follows in the same turn.
            past.opened |= conn.phase() == Phase::Open;
            log::debug!(target: "heirloom::handshake", "101 sent: {}", version_name(conn));
            accepted
        }
        Reply::Refuse(refusal) => {
            log::debug!(target: "heirloom::handshake", "refused: {}", refusal.code());
            let status = refusal.status();
            ended = Some(EndReason::by_server(refusal.code(), Some(status)));
            refusal.respond(conn, hint, out);
            Ok(())
        }
        Reply::Http(page) => {
            ended = Some(EndReason::by_server("page", Some(page.status)));
            write_page(conn, &page, out)
        }
        // One backend is enough, and no page is made behind a bridge.
        Reply::Bridge(_) | Reply::Later(_) => Err(Unsendable::NotOpen),
    };
    if let Err(error) = replied {
        log::warn!("cannot answer a request: {error}");
        conn.refuse(Refusal::NotFound, out);
    }
    ended
}

/// Answers with a page that was awaited.
pub(super) fn write_awaited<D>(link: &mut Link<D>, page: Page, out: &mut Output<'_>) {
    let (conn, past) = (&mut link.conn, &mut link.past);
    let (reply, headers) = (Reply::Http(page), CarriedBack::default());
    if let Some(ended) = write_reply((conn, out), past, None, reply, &headers) {
        link.end(ended);
    }
}

fn write_page(conn: &mut Conn, page: &Page, out: &mut Output<'_>) -> Result<(), Unsendable> {
    let headers: Vec<(&str, &str)> = page.headers.iter().map(|(n, v)| (*n, &**v)).collect();
    let response = HttpResponse {
        status: page.status,
        content_type: page.content_type,
        headers: &headers,
        carried: &[],
        body: &page.body,
    };
    conn.respond(&response, out)
}

fn version_name(conn: &Conn) -> &'static str {
    conn.version().map_or("no version", |v| v.name)
}

fn log_violation(conn: &Conn, violation: Violation) {
    let version = version_name(conn);
    log::debug!(target: "heirloom::net", "{version}: {}: {violation}", violation.code());
}
