//! One turn of a link: what is read, eaten, asked of the app and answered.

use std::sync::Arc;

use super::{Filled, Link, Pool, Room, Stage, TURN};
use crate::bytes::{Input, Output};
use crate::conn::{Around, Config, Conn, Event};
use crate::error::{Refusal, Violation};
use crate::frame::{GOING_AWAY, Piece};
use crate::handshake::{Page, Request};
use crate::message::{Gather, Whole};
use crate::net::{App, Handle, Incoming, LinkId, Reply, SystemRandom};
use crate::version::Version;

/// Octets in front of the read buffer, where what was left uneaten is put: a
/// frame's header and a control frame's payload fit.
const FRONT: usize = 256;
/// A message of which so much is still to come is read to where it will lie.
const DIRECT: usize = TURN;
/// Octets that a peer may still send while we drain: whoever is told that his
/// message is too big is sending one.
const DRAIN: u32 = 1024 * 1024;

/// What every turn uses, and no link owns.
pub(super) struct Desk {
    pub(super) config: Arc<Config>,
    /// `FRONT` octets, then the room of one read.
    buffer: Vec<u8>,
    pub(super) said: Vec<u8>,
    pub(super) room: Room,
    pub(super) pool: Pool,
    pub(super) now_ms: u64,
}

/// Whether a link lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
}

impl Desk {
    pub(super) fn new(config: Config) -> Desk {
        Desk {
            config: Arc::new(config),
            buffer: vec![0; FRONT + TURN],
            said: Vec::new(),
            room: Room::default(),
            pool: Pool::default(),
            now_ms: 0,
        }
    }

    /// After a panic: throws away what was half done. What others said in the
    /// room before `mark` stays.
    pub(super) fn tidy(&mut self, mark: usize) {
        self.said.clear();
        self.room.unsay(mark);
    }

    /// One turn of a link: at most one read, and all that comes of it.
    pub(super) fn serve<A: App>(
        &mut self,
        app: &mut A,
        id: LinkId,
        link: &mut Link<A::Guest>,
    ) -> Fate {
        if !link.wants_read(&self.config.limits) {
            return Fate::Keep;
        }
        if link.stage == Stage::Draining {
            return self.drain_link(link);
        }
        let to_come = usize::try_from(link.conn.payload_to_come()).unwrap_or(usize::MAX);
        let long = link.gather.as_ref().is_some_and(|g| g.len() >= DIRECT);
        let to_come = if long && link.conn.text_to_come() {
            TURN
        } else {
            to_come
        };
        let filled = if to_come >= DIRECT && link.gather.is_some() && link.tail.is_empty() {
            self.fill_direct(app, id, link, to_come.min(TURN))
        } else {
            self.fill(app, id, link)
        };
        match filled {
            Filled::Octets(_) => {
                if link.stage == Stage::Open && link.backlog.is_empty() {
                    link.since_ms = self.now_ms;
                }
                Fate::Keep
            }
            Filled::Nothing => Fate::Keep,
            Filled::Broken => Fate::Drop,
            Filled::End => {
                link.read_closed = true;
                if let Err(violation) = link.conn.end_of_input(link.tail.len()) {
                    log::debug!(target: "heirloom::net", "{violation}");
                }
                Fate::Keep
            }
        }
    }

    /// Throws away what a peer still sends after our last words.
    fn drain_link<G>(&mut self, link: &mut Link<G>) -> Fate {
        let room = self.buffer.as_mut_slice();
        match Link::<G>::read(&mut link.stream, &mut link.readable, link.read_closed, room) {
            Filled::Octets(n) => {
                link.drained = link
                    .drained
                    .saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
                if link.drained > DRAIN {
                    Fate::Drop
                } else {
                    Fate::Keep
                }
            }
            Filled::Nothing => Fate::Keep,
            Filled::End | Filled::Broken => Fate::Drop,
        }
    }

    /// Reads into the shared buffer and lets the connection eat.
    fn fill<A: App>(&mut self, app: &mut A, id: LinkId, link: &mut Link<A::Guest>) -> Filled {
        let room = self.buffer.get_mut(FRONT..).unwrap_or_default();
        let filled =
            Link::<A::Guest>::read(&mut link.stream, &mut link.readable, link.read_closed, room);
        let Filled::Octets(n) = filled else {
            return filled;
        };
        let mut random = SystemRandom;
        let (mut turn, buffer, tail) = self.turn(id, link, &mut random);
        if tail.len() <= FRONT {
            // Put what was left in front of what came: nothing large moves.
            let start = FRONT - tail.len();
            let octets = buffer.get_mut(start..FRONT + n).unwrap_or_default();
            for (to, from) in octets.iter_mut().zip(tail.iter()) {
                *to = *from;
            }
            let left = turn.eat(app, octets);
            tail.clear();
            let eaten = octets.len() - left;
            tail.extend_from_slice(octets.get(eaten..).unwrap_or_default());
        } else {
            // A head in small portions: append, and look on from where the
            // last look ended.
            let came = buffer.get(FRONT..FRONT + n).unwrap_or_default();
            tail.extend_from_slice(came);
            let left = turn.eat(app, tail);
            tail.drain(..tail.len() - left);
        }
        if tail.is_empty() && tail.capacity() > 0 {
            *tail = Vec::new();
        }
        filled
    }

    /// Reads payload straight to where the message is gathered.
    fn fill_direct<A: App>(
        &mut self,
        app: &mut A,
        id: LinkId,
        link: &mut Link<A::Guest>,
        want: usize,
    ) -> Filled {
        let Some(mut gather) = link.gather.take() else {
            return Filled::Nothing;
        };
        let room = gather.room(want);
        let filled =
            Link::<A::Guest>::read(&mut link.stream, &mut link.readable, link.read_closed, room);
        let Filled::Octets(n) = filled else {
            link.gather = Some(gather);
            return filled;
        };
        let mut random = SystemRandom;
        let (mut turn, _, tail) = self.turn(id, link, &mut random);
        let mut input = Input::new(room.get_mut(..n).unwrap_or_default());
        let handle = &mut turn.handle;
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
            *turn.gather = Some(gather);
            if last {
                turn.finish(app);
            }
        }
        if !rest.is_empty() {
            let left = turn.eat(app, &mut rest);
            rest.drain(..rest.len() - left);
            *tail = rest;
        }
        filled
    }

    /// What one turn of a link works with, the shared buffer, and what was left
    /// uneaten last time.
    fn turn<'t, A: App>(
        &'t mut self,
        id: LinkId,
        link: &'t mut Link<A::Guest>,
        random: &'t mut SystemRandom,
    ) -> (Turn<'t, A>, &'t mut Vec<u8>, &'t mut Vec<u8>) {
        let handle = Handle {
            id,
            guest: &mut link.guest,
            conn: &mut link.conn,
            out: Output::new(&mut self.said, random),
            backlog: &mut link.backlog,
            room: &mut self.room,
            in_room: &mut link.in_room,
        };
        let turn = Turn {
            handle,
            gather: &mut link.gather,
            pool: &mut self.pool,
            now_ms: self.now_ms,
        };
        (turn, &mut self.buffer, &mut link.tail)
    }

    /// A deadline has come.
    pub(super) fn expire<G>(&mut self, link: &mut Link<G>) -> Fate {
        let mut random = SystemRandom;
        let mut out = Output::new(&mut self.said, &mut random);
        match link.stage {
            Stage::Handshake => {
                link.conn.refuse(Refusal::HandshakeTimeout, &mut out);
                Fate::Keep
            }
            Stage::Open if link.backlog.is_empty() => {
                link.conn.close(GOING_AWAY, "idle", &mut out);
                Fate::Keep
            }
            // Nothing can be said to one who does not read.
            Stage::Open | Stage::Closing | Stage::Draining => Fate::Drop,
        }
    }
}

/// One turn of a link, while the connection eats.
struct Turn<'t, A: App> {
    handle: Handle<'t, A>,
    gather: &'t mut Option<Box<Gather>>,
    pool: &'t mut Pool,
    now_ms: u64,
}

impl<A: App> Turn<'_, A> {
    /// Lets the connection eat, event by event; gives how many octets are left.
    fn eat(&mut self, app: &mut A, octets: &mut [u8]) -> usize {
        let mut input = Input::new(octets);
        loop {
            let handle = &mut self.handle;
            match handle.conn.next(&mut input, &mut handle.out) {
                Ok(None) => break,
                Ok(Some(Event::Piece(piece))) => self.piece(app, piece),
                Ok(Some(event)) => self.event(app, event),
                Err(violation) => log_violation(handle.conn, violation),
            }
        }
        input.rest().len()
    }

    #[inline]
    fn piece(&mut self, app: &mut A, piece: Piece<'_>) {
        if piece.first && piece.last {
            let checked = is_checked(self.handle.conn);
            if let Some(whole) = Whole::of(piece, checked) {
                app.message(Incoming::Whole(whole), &mut self.handle);
            }
            return;
        }
        let (pool, now_ms) = (&mut *self.pool, self.now_ms);
        let gather = self.gather.get_or_insert_with(|| {
            let buffer = pool.take(now_ms);
            Box::new(Gather::into_buffer(buffer, Around::MAX))
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
        let handle = &mut self.handle;
        match event {
            Event::Request(request) | Event::Plain(request) => {
                let reply = app.request(&request, handle.guest);
                self.reply(&request, reply);
            }
            Event::Open => {
                log::debug!(target: "heirloom::handshake", "open: {}", version_name(handle.conn));
                app.open(handle);
            }
            Event::Refused(refusal) => {
                log::debug!(target: "heirloom::handshake", "refused: {}", refusal.code());
            }
            Event::Close(reason) => {
                log::debug!(target: "heirloom::net", "closed by the peer: {:?}", reason.code);
            }
            Event::Answer(_) | Event::Piece(_) | Event::Ping(_) | Event::Pong(_) => {}
        }
    }

    fn reply(&mut self, request: &Request<'_>, reply: Reply) {
        let Handle { conn, out, .. } = &mut self.handle;
        let replied = match reply {
            Reply::Accept(subprotocol) => conn.accept(subprotocol.as_deref(), out),
            Reply::Refuse(refusal) => {
                log::debug!(target: "heirloom::handshake", "refused: {}", refusal.code());
                conn.refuse(refusal, out);
                Ok(())
            }
            Reply::Page {
                status,
                content_type,
                headers,
                body,
            } => {
                let page = Page {
                    status,
                    content_type,
                    headers,
                    body: &body,
                };
                conn.respond(&page, out)
            }
        };
        if let Err(error) = replied {
            log::warn!("cannot answer {:?}: {error}", request.target());
            conn.refuse(Refusal::NotFound, out);
        }
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
