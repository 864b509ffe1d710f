//! What one end makes of the octets that it receives, in whatever portions they
//! arrive, with and without an observer, and whether a [`Session`] or the caller
//! keeps the buffer. All of these must make the same of them.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Config, Conn, Event, Phase, Session, SessionEvent};
use heirloom::error::{Located, Refusal, Violation};
use heirloom::extension::Codecs;
use heirloom::message::{Gather, Kind, Message, WholeMessage};
use heirloom::trace::Span;
use heirloom::{Limits, Side, Version, Versions};

use crate::memory::{Seeded, dial, open};

/// What is sent to the end under test.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Pieces(Vec<String>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
    /// A frame with this first and second octet, or whatever it is.
    Octets(Vec<u8>),
}

/// Octets for one end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) version: &'static Version,
    pub(crate) to: Side,
    /// Whether the handshake is part of it.
    pub(crate) with_handshake: bool,
    pub(crate) sent: Vec<Sent>,
    /// Octets that are changed on the way: where, and by which bits.
    pub(crate) damage: Vec<(usize, u8)>,
    pub(crate) portions: Vec<usize>,
    pub(crate) seed: u64,
}

impl Stream {
    /// Limits that a few frames reach.
    pub(crate) fn config() -> Arc<Config> {
        let limits = Limits::default().with_message_bytes(130);
        Arc::new(
            Config::default()
                .with_versions(Versions::ALL)
                .with_limits(limits),
        )
    }

    /// The end under test, before the stream.
    pub(crate) fn conn(&self) -> Conn {
        let config = Stream::config();
        let (client, server) = if self.with_handshake {
            dial(self.version, &config, self.seed)
        } else {
            open(self.version, &config, self.seed)
        };
        let mut end = match self.to {
            Side::Client => client,
            Side::Server => server,
        };
        mem::replace(end.session.conn_mut(), Conn::server(config))
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let config = Stream::config();
        let (client, mut server) = dial(self.version, &config, self.seed);
        let handshake = match self.to {
            Side::Server => server.incoming.clone(),
            // Without the digest of hixie-76 nothing follows it.
            Side::Client => server.read(server.incoming.len()),
        };
        let (opened_client, opened_server) = open(self.version, &config, self.seed);
        drop(client);
        let mut sender = match self.to {
            Side::Client => opened_server,
            Side::Server => opened_client,
        };
        let mut octets = if self.with_handshake {
            handshake
        } else {
            Vec::new()
        };
        for sent in &self.sent {
            let ((), more) = sender.send(|conn, out| send(sent, conn, out));
            octets.extend(more);
        }
        for (at, bits) in &self.damage {
            if !octets.is_empty() {
                let at = at % octets.len();
                octets[at] ^= bits;
            }
        }
        octets
    }

    /// What the end under test makes of the octets.
    ///
    /// # Panics
    ///
    /// Where it makes something else of them in other portions.
    pub(crate) fn outcome(&self) -> Outcome {
        let octets = self.octets();
        let want = Feeding::WHOLE.feed(self.conn(), self.seed, &octets);
        for portions in [&[usize::MAX][..], &[1], &self.portions] {
            for (watched, by_session) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let feeding = Feeding {
                    portions,
                    rooms: &[0],
                    watched,
                    by_session,
                };
                let outcome = feeding.feed(self.conn(), self.seed, &octets);
                assert_eq!(outcome, want, "{feeding:?} {octets:02x?}");
            }
        }
        want
    }
}

/// Sends what the version has; the rest is left out.
fn send(sent: &Sent, conn: &mut Conn, out: &mut Output<'_>) {
    match sent {
        Sent::Text(text) => drop(conn.send(Message::text(text), out)),
        Sent::Binary(octets) => drop(conn.send(Message::binary(octets), out)),
        Sent::Pieces(pieces) => {
            for (i, piece) in pieces.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == pieces.len());
                let _ = conn.send_piece(Kind::Text, piece.as_bytes(), first, last, out);
            }
        }
        Sent::Ping(octets) => drop(conn.ping(octets, out)),
        Sent::Pong(octets) => drop(conn.pong(octets, out)),
        Sent::Close(code) => conn.close(*code, "a reason", out),
        Sent::Octets(octets) => out.octets.extend_from_slice(octets),
    }
}

/// All that one end made of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<String>,
    pub(crate) violation: Option<Located<Violation>>,
    pub(crate) sent: Vec<u8>,
    /// Octets that were consumed.
    pub(crate) consumed: u64,
}

/// How an end is fed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feeding<'p> {
    pub(crate) portions: &'p [usize],
    /// Octets of the room of one turn, where the caller keeps the buffer.
    pub(crate) rooms: &'p [usize],
    pub(crate) watched: bool,
    pub(crate) by_session: bool,
}

impl Feeding<'static> {
    /// All at once, to a session.
    pub(crate) const WHOLE: Feeding<'static> = Feeding {
        portions: &[usize::MAX],
        rooms: &[0],
        watched: false,
        by_session: true,
    };
}

impl Feeding<'_> {
    /// What this end makes of the octets.
    ///
    /// # Panics
    ///
    /// Where an error lies outside what was received, where a piece is longer than
    /// the room or a message longer than the limit, where a turn changes nothing,
    /// and where an observer is not told of each octet once.
    pub(crate) fn feed(self, conn: Conn, seed: u64, octets: &[u8]) -> Outcome {
        let mut feeder = Feeder {
            outcome: Outcome::default(),
            spans: self.watched.then(Vec::new),
            random: Seeded(seed),
            codecs: Codecs::default(),
            arriving: 0,
        };
        let portions = Portions {
            sizes: self.portions.iter().cycle(),
            rest: octets,
        };
        if self.by_session {
            let mut session = Session::new(conn);
            for portion in portions {
                session.receive(portion);
                feeder.next_of_session(&mut session);
            }
            feeder.outcome.consumed = session.position();
            feeder.ends_with(session.conn());
        } else {
            let (mut conn, mut gather) = (conn, Gather::default());
            let mut rooms = self.rooms.iter().cycle();
            let mut buffer = Vec::new();
            for portion in portions {
                buffer.extend_from_slice(portion);
                loop {
                    let mut room = vec![0; *rooms.next().unwrap()];
                    feeder.next_of_conn(&mut conn, &mut buffer, &mut room, &mut gather);
                    if !conn.waits_for_room() {
                        break;
                    }
                }
            }
            feeder.ends_with(&conn);
        }
        let consumed = usize::try_from(feeder.outcome.consumed).unwrap();
        if let Some(spans) = &feeder.spans {
            assert_eq!(
                bits_named(spans, octets.len()),
                bits_up_to(consumed, octets.len())
            );
        }
        feeder.outcome
    }
}

/// The portions of a stream.
struct Portions<'o, S> {
    sizes: S,
    rest: &'o [u8],
}

impl<'o, 's, S: Iterator<Item = &'s usize>> Iterator for Portions<'o, S> {
    type Item = &'o [u8];

    fn next(&mut self) -> Option<&'o [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (portion, later) = self.rest.split_at(self.rest.len().min(*self.sizes.next()?));
        self.rest = later;
        Some(portion)
    }
}

/// How many bits of each octet were named.
fn bits_named(spans: &[Span], octets: usize) -> Vec<u32> {
    let mut bits = vec![0; octets];
    for span in spans {
        for at in span.at.clone() {
            bits[at as usize] += u32::from(span.bits.end - span.bits.start);
        }
    }
    bits
}

fn bits_up_to(consumed: usize, octets: usize) -> Vec<u32> {
    let bits = |at| if at < consumed { 8 } else { 0 };
    (0..octets).map(bits).collect()
}

struct Feeder {
    outcome: Outcome,
    spans: Option<Vec<Span>>,
    random: Seeded,
    codecs: Codecs,
    /// Octets of the message that arrives.
    arriving: u64,
}

impl Feeder {
    fn next_of_session(&mut self, session: &mut Session) {
        let out = Output::new(&mut self.outcome.sent, &mut self.random);
        let mut out = out.with_shared_codecs(&mut self.codecs);
        loop {
            let received = session.received();
            let limit = session.conn().config().limits.message_bytes;
            let next = match &mut self.spans {
                Some(spans) => session.next_watched(&mut out, spans),
                None => session.next(&mut out),
            };
            match next {
                Ok(None) => return,
                Ok(Some((event, conn))) => {
                    if let SessionEvent::Message(message) = &event {
                        let octets = message.payload().len() as u64;
                        assert!(conn.compression().is_none() || octets <= limit);
                    }
                    let event = describe(event, conn, &mut out, received);
                    add(&mut self.outcome.events, event);
                }
                Err(violation) => {
                    lies_within(&violation.at, received);
                    assert!(self.outcome.violation.is_none());
                    self.outcome.violation = Some(violation);
                }
            }
        }
    }

    /// The same by a [`Conn`] alone, for a caller that keeps the buffer.
    fn next_of_conn(
        &mut self,
        conn: &mut Conn,
        buffer: &mut Vec<u8>,
        room: &mut [u8],
        gather: &mut Gather,
    ) {
        let out = Output::new(&mut self.outcome.sent, &mut self.random);
        let mut out = out.with_shared_codecs(&mut self.codecs);
        let start = self.outcome.consumed;
        let received = start + buffer.len() as u64;
        let most = room.len();
        let mut in_turn = 0;
        let mut input = Input::starting_at(buffer, start).with_room(room);
        loop {
            let next = match &mut self.spans {
                Some(spans) => conn.next_watched(&mut input, &mut out, spans),
                None => conn.next(&mut input, &mut out),
            };
            let event = match next {
                Ok(None) => break,
                Err(violation) => {
                    lies_within(&violation.at, received);
                    assert!(self.outcome.violation.is_none());
                    self.outcome.violation = Some(violation);
                    continue;
                }
                Ok(Some(Event::Piece(piece))) => {
                    if conn.compression().is_some() && piece.frame_to_come.is_none() {
                        in_turn += piece.octets.len();
                        assert!(in_turn <= most, "more than the room");
                    }
                    self.arriving += piece.octets.len() as u64;
                    assert!(self.arriving <= conn.config().limits.message_bytes);
                    if piece.last {
                        self.arriving = 0;
                    }
                    if piece.first && piece.last {
                        let whole = WholeMessage::of(piece).unwrap();
                        let event = SessionEvent::Message(whole.message());
                        describe(event, conn, &mut out, received)
                    } else {
                        gather.add(&piece);
                        if !piece.last {
                            continue;
                        }
                        let event = SessionEvent::Message(gather.finish());
                        let event = describe(event, conn, &mut out, received);
                        gather.clear();
                        event
                    }
                }
                Ok(Some(event)) => describe(whole(event), conn, &mut out, received),
            };
            add(&mut self.outcome.events, event);
        }
        if conn.waits_for_room() {
            let is_progress = in_turn > 0 || input.position() > start;
            assert!(is_progress, "a turn without progress");
        }
        self.outcome.consumed = input.position();
        let left = input.rest().len();
        buffer.drain(..buffer.len() - left);
    }

    /// Nothing is parsed behind a violation.
    fn ends_with(&self, conn: &Conn) {
        if self.outcome.violation.is_some() {
            assert_eq!(conn.phase(), Phase::Closed);
        }
    }
}

/// An event that is no piece of a message.
fn whole(event: Event<'_>) -> SessionEvent<'_> {
    match event {
        Event::Request(request) => SessionEvent::Request(request),
        Event::Http(request) => SessionEvent::Http(request),
        Event::Refused(refused) => SessionEvent::Refused(refused),
        Event::Response(response) => SessionEvent::Response(response),
        Event::Open => SessionEvent::Open,
        Event::Stray(octets) => SessionEvent::Stray(octets),
        Event::Ping(payload) => SessionEvent::Ping(payload),
        Event::Pong(payload) => SessionEvent::Pong(payload),
        Event::Close(reason) => SessionEvent::Close(reason),
        other => unreachable!("{other:?}"),
    }
}

/// White space before the first frame may be reported in portions.
fn add(events: &mut Vec<String>, event: String) {
    if event != "stray" || events.last() != Some(&event) {
        events.push(event);
    }
}

/// An error lies in octets that have arrived.
fn lies_within(at: &Range<u64>, received: u64) {
    assert!(
        at.start <= at.end && at.end <= received,
        "{at:?} of {received}"
    );
}

/// Answers an event; gives all that it says.
fn describe(
    event: SessionEvent<'_>,
    conn: &mut Conn,
    out: &mut Output<'_>,
    received: u64,
) -> String {
    match event {
        SessionEvent::Request(request) => {
            let chosen = request.choose_subprotocol(&["chat".to_owned()]);
            match chosen {
                Ok(chosen) => conn.accept(chosen, out).unwrap(),
                Err(refusal) => conn.refuse(refusal, out),
            }
            let version = request.version();
            format!("request {version:?} {}", request.target())
        }
        SessionEvent::Http(request) => {
            conn.refuse(Refusal::NotFound, out);
            format!("http {}", request.target())
        }
        SessionEvent::Refused(refused) => {
            lies_within(&refused.refusal.at, received);
            format!("refused {:?} {:?}", refused.refusal, refused.octets)
        }
        SessionEvent::Response(response) => format!("response {}", response.status()),
        SessionEvent::Open => "open".to_owned(),
        SessionEvent::Stray(_) => "stray".to_owned(),
        SessionEvent::Message(message) => describe_message(message),
        SessionEvent::Ping(payload) => format!("ping {payload:?}"),
        SessionEvent::Pong(payload) => format!("pong {payload:?}"),
        SessionEvent::Close(reason) => format!("close {reason:?}"),
        other => unreachable!("{other:?}"),
    }
}

/// What an outcome says of a message.
pub(crate) fn describe_message(message: Message<'_>) -> String {
    format!("message {message:?}")
}
