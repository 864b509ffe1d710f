//! The portions in which octets arrive change nothing: not the events, not the
//! errors, not where an error lies, not what is sent. Nor does an observer, nor
//! whether a [`Session`] or the caller keeps the buffer.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Config, Conn, Event, Session, SessionEvent};
use heirloom::error::{Located, Refusal, Violation};
use heirloom::message::{Gather, Kind, Message, WholeMessage};
use heirloom::trace::Span;
use heirloom::version::Layout;
use heirloom::{Limits, Side, Version, Versions};
use proptest::prelude::*;

use crate::memory::{Seeded, dial, open, version};
use crate::pair::side;

/// What is sent to the end under test.
#[derive(Clone, Debug)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Pieces(Vec<String>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
    /// A frame with this first and second octet, or whatever it is.
    Octets(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let octets = || prop::collection::vec(any::<u8>(), 0..20);
    let codes = prop_oneof![Just(1000), Just(1004), Just(4999), any::<u16>()];
    prop_oneof![
        "\\PC{0,30}".prop_map(Sent::Text),
        "x{100,140}".prop_map(Sent::Text),
        octets().prop_map(Sent::Binary),
        prop::collection::vec("\\PC{0,9}", 1..4).prop_map(Sent::Pieces),
        octets().prop_map(Sent::Ping),
        octets().prop_map(Sent::Pong),
        codes.prop_map(Sent::Close),
        octets().prop_map(Sent::Octets),
        // hixie frames with a length; hybi frames of every opcode.
        (any::<u8>(), 0u8..=0x84, octets()).prop_map(|(first, second, rest)| {
            Sent::Octets([&[first, second][..], &rest].concat())
        }),
    ]
}

/// Octets for one end of a connection.
#[derive(Clone, Debug)]
struct Stream {
    version: &'static Version,
    to: Side,
    /// Whether the handshake is part of it.
    with_handshake: bool,
    sent: Vec<Sent>,
    /// Octets that are changed on the way.
    damage: Vec<(prop::sample::Index, u8)>,
    portions: Vec<usize>,
    seed: u64,
}

fn stream() -> impl Strategy<Value = Stream> {
    let sent = prop::collection::vec(sent(), 0..6);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let portions = prop::collection::vec(1usize..40, 1..8);
    let bools = (any::<bool>(), any::<bool>());
    (version(), bools, sent, damage, portions, any::<u64>()).prop_map(
        |(version, (to_client, with_handshake), sent, damage, portions, seed)| Stream {
            version,
            to: side(to_client),
            with_handshake,
            sent,
            damage,
            portions,
            seed,
        },
    )
}

impl Stream {
    /// Limits that a few frames reach.
    fn config() -> Arc<Config> {
        let limits = Limits::default().with_message_bytes(130);
        Arc::new(
            Config::default()
                .with_versions(Versions::ALL)
                .with_limits(limits),
        )
    }

    /// The end under test, before the stream.
    fn conn(&self) -> Conn {
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

    fn octets(&self) -> Vec<u8> {
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
        for (at, octet) in &self.damage {
            if !octets.is_empty() {
                let at = at.index(octets.len());
                octets[at] = *octet;
            }
        }
        octets
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
struct Outcome {
    events: Vec<String>,
    violation: Option<Located<Violation>>,
    sent: Vec<u8>,
    /// Octets that were consumed.
    consumed: u64,
}

/// How an end is fed.
#[derive(Clone, Copy, Debug)]
struct Feeding<'p> {
    portions: &'p [usize],
    watched: bool,
    by_session: bool,
}

impl Feeding<'_> {
    fn feed(self, stream: &Stream, octets: &[u8]) -> Result<Outcome, TestCaseError> {
        let mut feeder = Feeder {
            outcome: Outcome::default(),
            spans: self.watched.then(Vec::new),
            random: Seeded(stream.seed),
        };
        let mut portions = self.portions.iter().cycle();
        if self.by_session {
            let mut session = Session::new(stream.conn());
            let mut rest = octets;
            while !rest.is_empty() {
                let n = rest.len().min(*portions.next().unwrap());
                let (portion, later) = rest.split_at(n);
                session.receive(portion);
                feeder.next_of_session(&mut session)?;
                rest = later;
            }
            feeder.outcome.consumed = session.position();
        } else {
            let (mut conn, mut gather) = (stream.conn(), Gather::default());
            let mut buffer = Vec::new();
            let mut rest = octets;
            while !rest.is_empty() {
                let n = rest.len().min(*portions.next().unwrap());
                let (portion, later) = rest.split_at(n);
                buffer.extend_from_slice(portion);
                feeder.next_of_conn(&mut conn, &mut buffer, &mut gather)?;
                rest = later;
            }
        }
        let consumed = usize::try_from(feeder.outcome.consumed).unwrap();
        if let Some(spans) = &feeder.spans {
            prop_assert_eq!(
                bits_named(spans, octets.len()),
                bits_up_to(consumed, octets.len())
            );
        }
        Ok(feeder.outcome)
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
}

impl Feeder {
    fn next_of_session(&mut self, session: &mut Session) -> Result<(), TestCaseError> {
        let mut out = Output::new(&mut self.outcome.sent, &mut self.random);
        loop {
            let received = session.received();
            let next = match &mut self.spans {
                Some(spans) => session.next_watched(&mut out, spans),
                None => session.next(&mut out),
            };
            match next {
                Ok(None) => return Ok(()),
                Ok(Some((event, conn))) => {
                    let event = describe(event, conn, &mut out, received)?;
                    add(&mut self.outcome.events, event);
                }
                Err(violation) => {
                    lies_within(&violation.at, received)?;
                    prop_assert!(self.outcome.violation.is_none());
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
        gather: &mut Gather,
    ) -> Result<(), TestCaseError> {
        let mut out = Output::new(&mut self.outcome.sent, &mut self.random);
        let start = self.outcome.consumed;
        let received = start + buffer.len() as u64;
        let mut input = Input::starting_at(buffer, start);
        loop {
            let next = match &mut self.spans {
                Some(spans) => conn.next_watched(&mut input, &mut out, spans),
                None => conn.next(&mut input, &mut out),
            };
            let event = match next {
                Ok(None) => break,
                Err(violation) => {
                    lies_within(&violation.at, received)?;
                    self.outcome.violation = Some(violation);
                    continue;
                }
                Ok(Some(Event::Piece(piece))) if piece.first && piece.last => {
                    let whole = WholeMessage::of(piece).unwrap();
                    let event = SessionEvent::Message(whole.message());
                    describe(event, conn, &mut out, received)?
                }
                Ok(Some(Event::Piece(piece))) => {
                    gather.add(&piece);
                    if !piece.last {
                        continue;
                    }
                    let event = SessionEvent::Message(gather.finish());
                    let event = describe(event, conn, &mut out, received)?;
                    gather.clear();
                    event
                }
                Ok(Some(event)) => {
                    let event = match event {
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
                    };
                    describe(event, conn, &mut out, received)?
                }
            };
            add(&mut self.outcome.events, event);
        }
        self.outcome.consumed = input.position();
        let left = input.rest().len();
        buffer.drain(..buffer.len() - left);
        Ok(())
    }
}

/// White space before the first frame may be reported in portions.
fn add(events: &mut Vec<String>, event: String) {
    if event != "stray" || events.last() != Some(&event) {
        events.push(event);
    }
}

/// An error lies in octets that have arrived.
fn lies_within(at: &Range<u64>, received: u64) -> Result<(), TestCaseError> {
    prop_assert!(
        at.start <= at.end && at.end <= received,
        "{at:?} of {received}"
    );
    Ok(())
}

/// Answers an event; gives all that it says.
fn describe(
    event: SessionEvent<'_>,
    conn: &mut Conn,
    out: &mut Output<'_>,
    received: u64,
) -> Result<String, TestCaseError> {
    Ok(match event {
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
            lies_within(&refused.refusal.at, received)?;
            format!("refused {:?} {:?}", refused.refusal, refused.octets)
        }
        SessionEvent::Response(response) => format!("response {}", response.status()),
        SessionEvent::Open => "open".to_owned(),
        SessionEvent::Stray(_) => "stray".to_owned(),
        SessionEvent::Message(message) => format!("message {message:?}"),
        SessionEvent::Ping(payload) => format!("ping {payload:?}"),
        SessionEvent::Pong(payload) => format!("pong {payload:?}"),
        SessionEvent::Close(reason) => format!("close {reason:?}"),
        other => unreachable!("{other:?}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn portions_observers_and_buffers_change_nothing(stream in stream()) {
        let octets = stream.octets();
        let whole = Feeding { portions: &[usize::MAX], watched: false, by_session: true };
        let want = whole.feed(&stream, &octets)?;
        for portions in [&[usize::MAX][..], &[1], &stream.portions] {
            for (watched, by_session) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let feeding = Feeding { portions, watched, by_session };
                let outcome = feeding.feed(&stream, &octets)?;
                prop_assert_eq!(&outcome, &want, "{:?} {:02x?}", feeding, &octets);
            }
        }
    }
}

/// The property above meets what it is about.
#[test]
fn the_streams_hold_messages_closes_and_violations() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut events, mut violations) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let stream = stream().new_tree(&mut runner).unwrap().current();
        let whole = Feeding {
            portions: &[usize::MAX],
            watched: false,
            by_session: true,
        };
        let outcome = whole.feed(&stream, &stream.octets()).unwrap();
        events.extend(outcome.events);
        violations.extend(outcome.violation.map(|located| located.error.code()));
    }
    for event in [
        "request", "refused", "response", "open", "message", "ping", "pong", "close",
    ] {
        let count = events.iter().filter(|e| e.starts_with(event)).count();
        assert!(count > 20, "{count} times {event}");
    }
    violations.sort_unstable();
    violations.dedup();
    assert!(violations.len() > 15, "{violations:?}");
}

/// Each rule of frames, at every split: the error lies where the rule is broken.
#[test]
fn an_error_lies_where_the_rule_is_broken() {
    let rfc = Version::named("rfc6455").unwrap();
    let hixie = Version::named("hixie-76").unwrap();
    let cases: [(&Version, &[u8], Violation, Range<u64>); 14] = [
        (rfc, b"\x81\x01a\xc1\x00", Violation::ReservedBits, 3..4),
        (
            rfc,
            b"\x83\x00",
            Violation::ReservedOpcode { opcode: 3 },
            0..1,
        ),
        (rfc, b"\x09\x00", Violation::ControlFragmented, 0..1),
        (rfc, b"\x89\x7e\x00\x7e", Violation::ControlTooLong, 1..4),
        (rfc, b"\x81\x7e\x00\x01", Violation::LengthNotMinimal, 1..4),
        (rfc, b"\x81\x81abcd", Violation::MaskUnexpected, 1..2),
        (rfc, b"\x80\x00", Violation::ContinuationUnexpected, 0..2),
        (
            rfc,
            b"\x01\x00\x81\x00",
            Violation::MessageInterrupted,
            2..4,
        ),
        (rfc, b"\x88\x01a", Violation::CloseBodyShort, 2..3),
        (
            rfc,
            b"\x88\x02\x03\xed",
            Violation::CloseCodeInvalid { code: 1005 },
            2..4,
        ),
        (
            rfc,
            b"\x88\x03\x03\xe8\xff",
            Violation::CloseReasonUtf8,
            4..5,
        ),
        (
            rfc,
            b"\x82\x7e\x00\x83",
            Violation::MessageTooBig { limit: 130 },
            0..4,
        ),
        (rfc, b"\x81\x03a\xff", Violation::Utf8Invalid, 3..4),
        // An octet more than the limit, of a text without a length.
        (
            hixie,
            &[b'x'; 132],
            Violation::MessageTooBig { limit: 130 },
            131..132,
        ),
    ];
    for (version, octets, violation, at) in cases {
        let mut octets = octets.to_vec();
        if version.layout == Layout::Hixie75 {
            octets[0] = 0;
        }
        for first in 1..=octets.len() {
            let (mut client, _) = open(version, &Stream::config(), 7);
            let before = client.session.received();
            client.add_incoming(&octets);
            client.read(first);
            client.read(octets.len() - first);
            let found = client.violation.unwrap();
            assert_eq!(found.error, violation);
            let found = found.at.start - before..found.at.end - before;
            assert_eq!(found, at, "{violation:?} after {first}");
        }
    }
}
