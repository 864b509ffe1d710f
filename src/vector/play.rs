//! Holding the core to a vector: in memory, from either side, cut anywhere.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{
    Close, CloseSent, CloseWord, ExpectedResult, MessageKind, Vector, both, difference,
    first_difference, shown,
};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event, Phase};
use crate::error::{Refusal, Violation};
use crate::frame::{Kind, Message, close_code};
use crate::message::Gather;
use crate::trace::{Field, Span, Trace};
use crate::version::{Side, Version, Versions};

/// Where the octets that are fed are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Nowhere but between turns of the conversation.
    Whole,
    /// Once more, before the octet of this number.
    At(usize),
    /// Before every octet.
    Everywhere,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Split::Whole => f.write_str("whole"),
            Split::At(n) => write!(f, "cut at octet {n}"),
            Split::Everywhere => f.write_str("octet by octet"),
        }
    }
}

/// The core does not conclude what a vector says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}, {side} {split}: {what}")]
pub struct Failure {
    /// The vector.
    pub id: String,
    /// The side that was held to it: `server` or `client`.
    pub side: &'static str,
    /// How its octets were cut.
    pub split: Split,
    /// What differs.
    pub what: String,
}

/// What a play came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// The octets that this side was fed.
    pub fed: usize,
    /// The octets of them that it ate.
    pub consumed: u64,
    /// The octets that it said.
    pub sent: Vec<u8>,
    received: Vec<(MessageKind, Vec<u8>)>,
    closed: Option<(Option<u16>, String)>,
    detected: Option<&'static str>,
    subprotocol: Option<String>,
    numbers: Vec<u32>,
    rejected: Option<Rejected>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rejected {
    code: &'static str,
    status: Option<u16>,
    close: Option<u16>,
    /// The sentence, for a person.
    why: String,
    /// How much of the peer's octets was eaten before.
    after: u64,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejected {
            code, why, after, ..
        } = self;
        write!(f, "{code} after {after} octets of its peer: {why}")
    }
}

/// Plays a vector to one side of the core.
///
/// # Errors
///
/// The first thing that differs from what the vector expects. A side that the
/// vector holds to nothing has nothing to differ from.
pub fn play(vector: &Vector, side: Side, split: Split) -> Result<Played, Failure> {
    watch(vector, side, split, &mut ())
}

/// The same, watched.
///
/// # Errors
///
/// As [`play`].
pub fn watch<T: Trace>(
    vector: &Vector,
    side: Side,
    split: Split,
    trace: &mut T,
) -> Result<Played, Failure> {
    if vector.expect.of(side).is_none() {
        return Ok(Played::default());
    }
    let script = Script::new(vector).map_err(|what| failure(vector, side, split, what))?;
    script.watch(side, split, trace)
}

/// The cuts that matter for this side of a vector, as [`Script::splits`].
#[must_use]
pub fn splits(vector: &Vector, side: Side) -> Vec<Split> {
    Script::new(vector).map_or(vec![Split::Whole], |script| script.splits(side))
}

fn failure(vector: &Vector, side: Side, split: Split, what: String) -> Failure {
    Failure {
        id: vector.id.clone(),
        side: side.name(),
        split,
        what,
    }
}

/// A vector that was made ready to be played many times.
#[derive(Debug)]
pub struct Script<'v> {
    vector: &'v Vector,
    turns: Vec<ScriptStep>,
    /// All that the client says.
    request: Vec<u8>,
    /// All that the server says.
    response: Vec<u8>,
    nonce: Vec<u8>,
    messages: Vec<(Side, MessageKind, Vec<u8>)>,
}

/// No more octets are played for one side of a vector.
const MAX_PLAYED_OCTETS: usize = 1024 * 1024 * 1024;

impl<'v> Script<'v> {
    /// The script of this vector.
    ///
    /// # Errors
    ///
    /// What is wrong with the octets of a step or a message.
    pub fn new(vector: &'v Vector) -> Result<Script<'v>, String> {
        let turns = turns(vector)?;
        let of = |from| -> Vec<u8> {
            let own = turns.iter().filter(|t| t.from == from);
            own.flat_map(|t| t.octets.iter().copied()).collect()
        };
        let (request, response) = (of(Side::Client), of(Side::Server));
        let received = vector.expect.messages.iter();
        let messages = received.map(|m| Ok((m.from, m.kind, m.octets()?)));
        Ok(Script {
            vector,
            nonce: nonce(&response),
            messages: messages.collect::<Result<_, String>>()?,
            request,
            response,
            turns,
        })
    }

    /// As [`play`](self::play()).
    ///
    /// # Errors
    ///
    /// As [`play`](self::play()).
    pub fn play(&self, side: Side, split: Split) -> Result<Played, Failure> {
        self.watch(side, split, &mut ())
    }

    fn watch<T: Trace>(&self, side: Side, split: Split, trace: &mut T) -> Result<Played, Failure> {
        if self.vector.expect.of(side).is_none() {
            return Ok(Played::default());
        }
        let fail = |what| failure(self.vector, side, split, what);
        let mut player = Player::new(self, side, split, trace).map_err(fail)?;
        player.converse().map_err(fail)?;
        player.conclude().map_err(fail)?;
        Ok(player.played)
    }

    /// The cuts that matter for this side: all of them up to 4 KiB; beyond,
    /// every one inside heads and frame headers and within eight octets of
    /// their edges, and seeded samples elsewhere. Of a long recording, as many
    /// of them as a gibibyte of octets allows.
    #[must_use]
    pub fn splits(&self, side: Side) -> Vec<Split> {
        let mut spans: Vec<Span> = Vec::new();
        let Ok(played) = self.watch(side, Split::Whole, &mut spans) else {
            return vec![Split::Whole];
        };
        let mut splits = vec![Split::Whole];
        let at = if played.fed <= 4096 {
            splits.push(Split::Everywhere);
            (1..played.fed).collect()
        } else {
            places(&spans, played.fed)
        };
        let allowed =
            (MAX_PLAYED_OCTETS / (self.request.len() + self.response.len()).max(1)).max(1);
        // A step that is odd meets frames of one length at different places.
        let step = at.len().div_ceil(allowed).max(1) | 1;
        splits.extend(at.into_iter().step_by(step).map(Split::At));
        splits
    }
}

/// Where to cut what is too long to be cut everywhere.
fn places(spans: &[Span], fed: usize) -> BTreeSet<usize> {
    let mut at = BTreeSet::new();
    for span in spans {
        let start = usize::try_from(span.at.start).unwrap_or(usize::MAX);
        let end = usize::try_from(span.at.end).unwrap_or(usize::MAX);
        if matches!(
            span.field,
            Field::Payload | Field::Skipped | Field::IgnoredValue
        ) {
            for edge in [start, end] {
                at.extend(edge.saturating_sub(8)..=edge + 8);
            }
        } else if end - start < 4096 {
            at.extend(start..=end);
        }
    }
    let mut seed = 0x2545_f491_u32;
    for _ in 0..64 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        at.insert(seed as usize % fed);
    }
    at.retain(|n| (1..fed).contains(n));
    at
}

/// Octets that one side said without a break, or its end.
#[derive(Debug)]
struct ScriptStep {
    from: Side,
    octets: Vec<u8>,
    ends: bool,
}

fn turns(vector: &Vector) -> Result<Vec<ScriptStep>, String> {
    let mut turns: Vec<ScriptStep> = Vec::new();
    for step in &vector.steps {
        let (from, octets) = (step.from, step.octets()?);
        match turns.last_mut() {
            Some(last) if last.from == from && !last.ends && step.end.is_none() => {
                last.octets.extend(octets);
            }
            _ => turns.push(ScriptStep {
                from,
                octets,
                ends: step.end.is_some(),
            }),
        }
    }
    Ok(turns)
}

struct Player<'s, 't, T> {
    script: &'s Script<'s>,
    vector: &'s Vector,
    side: Side,
    split: Split,
    trace: &'t mut T,
    conn: Conn,
    pending: Vec<u8>,
    gather: Gather,
    /// Messages, and which of them the server is to send next.
    to_send: std::slice::Iter<'s, (Side, MessageKind, Vec<u8>)>,
    /// Octets said and not yet compared.
    uncompared: Vec<u8>,
    /// How many octets were compared.
    compared: usize,
    played: Played,
}

impl<'s, 't, T: Trace> Player<'s, 't, T> {
    fn new(
        script: &'s Script<'s>,
        side: Side,
        split: Split,
        trace: &'t mut T,
    ) -> Result<Player<'s, 't, T>, String> {
        let vector = script.vector;
        let mut config = Config {
            versions: Versions::ALL,
            ..Config::default()
        };
        if vector.secure {
            config.public_url = header(&script.request, "Host").map(|host| format!("wss://{host}"));
        }
        let config = Arc::new(config);
        let conn = match side {
            Side::Server => Conn::server(config),
            Side::Client => Conn::client_of(&script.request, vector.secure, config)
                .map_err(|refusal| format!("the request is none of ours: {}", refusal.code()))?,
        };
        Ok(Player {
            script,
            vector,
            side,
            split,
            trace,
            conn,
            pending: Vec::new(),
            gather: Gather::default(),
            to_send: script.messages.iter(),
            uncompared: Vec::new(),
            compared: 0,
            played: Played::default(),
        })
    }

    fn converse(&mut self) -> Result<(), String> {
        for turn in &self.script.turns {
            match (turn.from == self.side, turn.ends) {
                (false, false) => self.feed(&turn.octets)?,
                (false, true) => {
                    if let Err(violation) = self.conn.end_of_input(self.pending.len()) {
                        self.reject_violation(violation, self.played.consumed);
                    }
                }
                (true, false) => self.compare(&turn.octets)?,
                (true, true) => {
                    let phase = self.conn.phase();
                    if self.side == Side::Server && phase != Phase::Closed {
                        return Err(format!("the server does not end, it is {phase:?}"));
                    }
                }
            }
        }
        let refused = self
            .played
            .rejected
            .as_ref()
            .is_some_and(|r| r.status.is_some());
        if self.side == Side::Server && !self.uncompared.is_empty() && !refused {
            return Err(format!("the server says more: {}", shown(&self.uncompared)));
        }
        Ok(())
    }

    /// Gives octets to the core, cut as asked.
    fn feed(&mut self, octets: &[u8]) -> Result<(), String> {
        let start = self.played.fed;
        self.played.fed += octets.len();
        match self.split {
            Split::Whole => self.give(octets),
            Split::At(n) => {
                let at = n.saturating_sub(start).min(octets.len());
                let (head, tail) = octets.split_at(at);
                if !head.is_empty() {
                    self.give(head)?;
                }
                if tail.is_empty() {
                    Ok(())
                } else {
                    self.give(tail)
                }
            }
            Split::Everywhere => octets.chunks(1).try_for_each(|octet| self.give(octet)),
        }
    }

    fn give(&mut self, octets: &[u8]) -> Result<(), String> {
        self.pending.extend_from_slice(octets);
        let mut pending = std::mem::take(&mut self.pending);
        let mut input = Input::starting_at(&mut pending, self.played.consumed);
        let mut out_octets = Vec::new();
        let given = self.parse(&mut input, &mut out_octets);
        self.played.consumed = input.position();
        let left = input.rest().len();
        pending.drain(..pending.len() - left);
        self.pending = pending;
        self.played.sent.extend_from_slice(&out_octets);
        self.uncompared.extend(out_octets);
        given
    }

    fn parse(&mut self, input: &mut Input<'_>, out_octets: &mut Vec<u8>) -> Result<(), String> {
        let nonce = &self.script.nonce;
        let mut random = |octets: &mut [u8]| {
            for (to, from) in octets.iter_mut().zip(nonce.iter().cycle()) {
                *to = *from;
            }
        };
        let mut out = Output::new(out_octets, &mut random);
        loop {
            let mut watch = KeyNumbers {
                trace: &mut *self.trace,
                numbers: &mut self.played.numbers,
            };
            let event = match self.conn.next_watched(input, &mut out, &mut watch) {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => event,
                Err(violation) => {
                    self.reject_violation(violation, input.position());
                    continue;
                }
            };
            match event {
                Event::Request(request) => {
                    self.played.detected = request.version().map(|v| v.name);
                    let spoken: Vec<String> =
                        self.vector.expect.subprotocol.iter().cloned().collect();
                    match request.choose_subprotocol(&spoken) {
                        Ok(chosen) => {
                            self.played.subprotocol = chosen.map(str::to_owned);
                            let chosen = chosen.map(str::to_owned);
                            self.conn
                                .accept(chosen.as_deref(), &mut out)
                                .map_err(|error| error.to_string())?;
                        }
                        Err(refusal) => {
                            self.conn.refuse(refusal, &mut out);
                            self.reject_refusal(refusal, input.position());
                        }
                    }
                }
                Event::Http(_) => {
                    self.conn.refuse(Refusal::NotFound, &mut out);
                    self.reject_refusal(Refusal::NotFound, input.position());
                }
                Event::Refused(refusal, _) => self.reject_refusal(refusal, input.position()),
                Event::Response(response) => {
                    self.played.detected = self.conn.version().map(|v| v.name);
                    self.played.subprotocol = response.subprotocol().map(str::to_owned);
                }
                Event::Open => {}
                Event::Piece(piece) => {
                    self.gather.add(&piece);
                    if piece.last {
                        let checked = self.conn.version().is_some_and(Version::checks_text);
                        let message = self.gather.finish(checked);
                        let kind = match message.kind() {
                            Kind::Text => MessageKind::Text,
                            Kind::Binary => MessageKind::Binary,
                        };
                        self.played
                            .received
                            .push((kind, message.payload().to_vec()));
                        self.gather = Gather::default();
                        self.reply(&mut out)?;
                    }
                }
                Event::Ping(payload) => {
                    self.played
                        .received
                        .push((MessageKind::Ping, payload.to_vec()));
                }
                Event::Pong(payload) => {
                    self.played
                        .received
                        .push((MessageKind::Pong, payload.to_vec()));
                }
                Event::Close(reason) => {
                    self.played.closed = Some((reason.code, reason.text.into_owned()));
                }
            }
        }
    }

    fn reject_refusal(&mut self, refusal: Refusal, after: u64) {
        self.played.rejected.get_or_insert(Rejected {
            code: refusal.code(),
            status: Some(refusal.status()),
            close: None,
            why: refusal.to_string(),
            after,
        });
    }

    fn reject_violation(&mut self, violation: Violation, after: u64) {
        let version = self.conn.version();
        let close = version
            .filter(|v| v.has_close_codes() && violation.close_code() != 1006)
            .map(|v| close_code(v, violation.close_code()));
        self.played.rejected.get_or_insert(Rejected {
            code: violation.code(),
            status: None,
            close,
            why: violation.to_string(),
            after,
        });
    }

    /// The server's own octets are exact; a client's keys and masks are not.
    fn compare(&mut self, want: &[u8]) -> Result<(), String> {
        if self.side == Side::Client {
            return Ok(());
        }
        while self.uncompared.len() < want.len() {
            let Some(message) = self.next_to_send() else {
                break;
            };
            let mut random = |_: &mut [u8]| {};
            let before = self.uncompared.len();
            let mut out = Output::new(&mut self.uncompared, &mut random);
            self.conn
                .send(message, &mut out)
                .map_err(|error| error.to_string())?;
            self.to_send.next();
            let sent = self.uncompared.get(before..).unwrap_or_default();
            self.played.sent.extend_from_slice(sent);
        }
        // It may have said more already: what the next turns hold.
        if self.uncompared.starts_with(want) {
            self.uncompared.drain(..want.len());
            self.compared += want.len();
            return Ok(());
        }
        let before = self.played.sent.len().saturating_sub(self.uncompared.len());
        Err(difference(
            want,
            &self.uncompared,
            before,
            self.conn.version(),
        ))
    }

    /// The message that the server is to send next.
    fn next_to_send(&mut self) -> Option<Message<'s>> {
        loop {
            let (from, kind, octets) = self.to_send.as_slice().first()?;
            match (from, kind) {
                (Side::Server, MessageKind::Binary) => return Some(Message::binary(octets)),
                (Side::Server, MessageKind::Text) => {
                    let text = std::str::from_utf8(octets).unwrap_or_default();
                    return Some(Message::text(text));
                }
                _ => self.to_send.next(),
            };
        }
    }

    /// Sends messages as soon as the recorded server did: it may have answered
    /// a message before it heard the goodbye behind it.
    fn reply(&mut self, out: &mut Output<'_>) -> Result<(), String> {
        while self.side == Side::Server {
            let Some(message) = self.next_to_send() else {
                break;
            };
            let length = message.payload().len();
            let Ok(Some((front, behind))) = self.conn.framing_of(message.kind(), length) else {
                break;
            };
            let at = self.compared + self.uncompared.len() + out.octets.len();
            let recorded = self.script.response.get(at..).unwrap_or_default();
            let rest = recorded
                .strip_prefix(front.octets())
                .and_then(|rest| rest.strip_prefix(message.payload()));
            let is_next = rest.is_some_and(|rest| behind.is_none_or(|b| rest.first() == Some(&b)));
            if !is_next {
                break;
            }
            self.conn
                .send(message, out)
                .map_err(|error| error.to_string())?;
            self.to_send.next();
        }
        Ok(())
    }

    fn conclude(&self) -> Result<(), String> {
        let expect = &self.vector.expect;
        let Some(want) = expect.of(self.side) else {
            return Ok(());
        };
        let rejected = &self.played.rejected;
        match (want.result, rejected) {
            (ExpectedResult::Either, _) => return Ok(()),
            (ExpectedResult::Accept, Some(r)) => return Err(format!("rejected with {r}")),
            (ExpectedResult::Reject, None) => {
                let code = want.code.as_deref().unwrap_or("some code");
                return Err(format!("accepted, and {code} was expected"));
            }
            (ExpectedResult::Reject, Some(r)) => {
                let code = want.code.as_deref().unwrap_or(r.code);
                if code != r.code {
                    return Err(format!("rejected with {r}\n{code} was expected"));
                }
                equal("status", &want.status, &r.status)?;
                if want.close.is_some() {
                    equal("close code", &want.close, &r.close)?;
                }
            }
            (ExpectedResult::Accept, None) => {}
        }
        if let Some(name) = &expect.detected {
            equal("version", &Some(name.as_str()), &self.played.detected)?;
        }
        if want.result == ExpectedResult::Accept {
            equal("subprotocol", &expect.subprotocol, &self.played.subprotocol)?;
        }
        let numbers: Vec<u32> = [expect.key_number_1, expect.key_number_2]
            .into_iter()
            .flatten()
            .collect();
        if self.side == Side::Server && !numbers.is_empty() {
            equal("key numbers", &numbers, &self.played.numbers)?;
        }
        let peers = |(from, ..): &&(Side, MessageKind, Vec<u8>)| *from != self.side;
        let wanted = || self.script.messages.iter().filter(peers);
        for (n, (want, got)) in wanted().zip(&self.played.received).enumerate() {
            let ((_, kind, want), n) = (want, n + 1);
            equal(&format!("the kind of message {n}"), kind, &got.0)?;
            if *want != got.1 {
                let (at, sides) = (first_difference(want, &got.1), both(want, &got.1));
                return Err(format!("message {n} differs at its octet {at}\n{sides}"));
            }
        }
        let (want, got) = (wanted().count(), self.played.received.len());
        if want != got {
            let next = |(kind, octets): (MessageKind, &[u8])| format!("{kind:?} {}", shown(octets));
            let missing = wanted()
                .nth(got)
                .map(|(_, kind, octets)| (*kind, &octets[..]));
            let more = self.played.received.get(want);
            let more = more.map(|(kind, octets)| (*kind, &octets[..]));
            let next = missing.or(more).map(next).unwrap_or_default();
            return Err(format!(
                "hears {got} messages, and {want} were expected; the first beyond is {next}"
            ));
        }
        self.conclude_close()
    }

    fn conclude_close(&self) -> Result<(), String> {
        let closed = &self.played.closed;
        let want = match &self.vector.expect.close {
            Some(Close::Word(CloseWord::None)) => None,
            Some(Close::Word(CloseWord::Clean)) if closed.is_none() => {
                return Err("no goodbye is heard, and one was expected".to_owned());
            }
            Some(Close::Said(CloseSent { from, code, reason })) if *from == self.side.peer() => {
                Some((*code, reason.clone().unwrap_or_default()))
            }
            _ => return Ok(()),
        };
        if want == *closed {
            return Ok(());
        }
        let (want, got) = (close_text(&want), close_text(closed));
        Err(format!("goodbye is {got}, and {want} was expected"))
    }
}

/// Keeps the numbers of hixie-76's keys beside whatever else is watched.
struct KeyNumbers<'t, T> {
    trace: &'t mut T,
    numbers: &'t mut Vec<u32>,
}

impl<T: Trace> Trace for KeyNumbers<'_, T> {
    const WATCHING: bool = T::WATCHING;

    fn see(&mut self, span: Span) {
        self.trace.see(span);
    }

    fn derive(&mut self, field: Field, octets: &[u8]) {
        if let (Field::KeyNumber, Some(number)) = (field, octets.first_chunk()) {
            self.numbers.push(u32::from_be_bytes(*number));
        }
        self.trace.derive(field, octets);
    }
}

fn equal<V: PartialEq + fmt::Debug>(what: &str, want: &V, got: &V) -> Result<(), String> {
    if want == got {
        return Ok(());
    }
    let (want, got) = (spoken(want), spoken(got));
    Err(format!("{what} is {got}, and {want} was expected"))
}

/// A value for a person, who knows nothing of `Some`.
fn spoken(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.strip_prefix("Some(").and_then(|t| t.strip_suffix(')')) {
        Some(inner) => inner.to_owned(),
        None if text == "None" => "none".to_owned(),
        None => text,
    }
}

/// How goodbye was said, for a person.
fn close_text(closed: &Option<(Option<u16>, String)>) -> String {
    match closed {
        None => "none".to_owned(),
        Some((None, reason)) => format!("one without a code {reason:?}"),
        Some((Some(code), reason)) => format!("{code} {reason:?}"),
    }
}

/// A header's value in recorded octets.
pub(super) fn header(octets: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(octets);
    text.split("\r\n").find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// The sixteen octets of hybi-04's nonce, so that the server says it again.
pub(super) fn nonce(octets: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    header(octets, "Sec-WebSocket-Nonce")
        .and_then(|text| LENIENT.decode(text).ok())
        .unwrap_or_default()
}
