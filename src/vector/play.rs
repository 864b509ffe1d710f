//! Holding the core to a vector: in memory, from either side, cut anywhere.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{Close, CloseSaid, CloseWord, HeardKind, Vector, Verdict};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event, Phase};
use crate::error::{Refusal, Violation};
use crate::frame::{Kind, Message, close_code};
use crate::message::Gather;
use crate::trace::{Field, Span, Trace};
use crate::version::{Side, Text, Versions};

/// Where the octets that are fed are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere but between turns of the conversation.
    Whole,
    /// Once more, before the octet of this number.
    At(usize),
    /// Before every octet.
    Everywhere,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Whole => f.write_str("whole"),
            Cut::At(n) => write!(f, "cut at octet {n}"),
            Cut::Everywhere => f.write_str("octet by octet"),
        }
    }
}

/// The core does not conclude what a vector says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}, {side} {cut}: {what}")]
pub struct Failure {
    /// The vector.
    pub id: String,
    /// The side that was held to it: `server` or `client`.
    pub side: &'static str,
    /// How its octets were cut.
    pub cut: Cut,
    /// What differs.
    pub what: String,
}

/// What a play came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// The octets that this side was fed.
    pub fed: usize,
    /// The octets of them that it ate.
    pub eaten: u64,
    /// The octets that it said.
    pub said: Vec<u8>,
    heard: Vec<(HeardKind, Vec<u8>)>,
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
}

/// Plays a vector to one side of the core.
///
/// # Errors
///
/// The first thing that differs from what the vector expects. A side that the
/// vector holds to nothing has nothing to differ from.
pub fn play(vector: &Vector, side: Side, cut: Cut) -> Result<Played, Failure> {
    watch(vector, side, cut, &mut ())
}

/// The same, watched.
///
/// # Errors
///
/// As [`play`].
pub fn watch<T: Trace>(
    vector: &Vector,
    side: Side,
    cut: Cut,
    trace: &mut T,
) -> Result<Played, Failure> {
    let fail = |what| Failure {
        id: vector.id.clone(),
        side: match side {
            Side::Client => "client",
            Side::Server => "server",
        },
        cut,
        what,
    };
    if vector.expect.of(side).is_none() {
        return Ok(Played::default());
    }
    let mut player = Player::new(vector, side, cut, trace).map_err(fail)?;
    player.converse().map_err(fail)?;
    player.conclude().map_err(fail)?;
    Ok(player.played)
}

/// The cuts that matter for this side of a vector: all of them up to 4 KiB;
/// beyond, every one inside heads and frame headers and within eight octets of
/// their edges, and seeded samples elsewhere.
#[must_use]
pub fn cuts(vector: &Vector, side: Side) -> Vec<Cut> {
    let mut spans: Vec<Span> = Vec::new();
    let Ok(played) = watch(vector, side, Cut::Whole, &mut spans) else {
        return vec![Cut::Whole];
    };
    let mut cuts = vec![Cut::Whole, Cut::Everywhere];
    if played.fed <= 4096 {
        cuts.extend((1..played.fed).map(Cut::At));
        return cuts;
    }
    cuts.truncate(1);
    let mut at = std::collections::BTreeSet::new();
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
        at.insert(seed as usize % played.fed);
    }
    cuts.extend(
        at.into_iter()
            .filter(|n| (1..played.fed).contains(n))
            .map(Cut::At),
    );
    cuts
}

/// Octets that one side said without a break, or its end.
struct Turn {
    from: Side,
    octets: Vec<u8>,
    ends: bool,
}

fn turns(vector: &Vector) -> Result<Vec<Turn>, String> {
    let mut turns: Vec<Turn> = Vec::new();
    for step in &vector.steps {
        let (from, octets) = (step.from.side(), step.octets()?);
        match turns.last_mut() {
            Some(last) if last.from == from && !last.ends && step.end.is_none() => {
                last.octets.extend(octets);
            }
            _ => turns.push(Turn {
                from,
                octets,
                ends: step.end.is_some(),
            }),
        }
    }
    Ok(turns)
}

struct Player<'v, 't, T> {
    vector: &'v Vector,
    side: Side,
    cut: Cut,
    trace: &'t mut T,
    conn: Conn,
    pending: Vec<u8>,
    gather: Gather,
    nonce: Vec<u8>,
    /// Data messages that the server is to send, in order.
    to_send: std::vec::IntoIter<(Kind, Vec<u8>)>,
    /// Octets said and not yet compared.
    said: Vec<u8>,
    played: Played,
}

impl<'v, 't, T: Trace> Player<'v, 't, T> {
    fn new(
        vector: &'v Vector,
        side: Side,
        cut: Cut,
        trace: &'t mut T,
    ) -> Result<Player<'v, 't, T>, String> {
        let mut config = Config {
            versions: Versions::ALL,
            ..Config::default()
        };
        let turns = turns(vector)?;
        let of = |from| {
            let own = turns.iter().filter(|t| t.from == from);
            own.flat_map(|t| t.octets.clone()).collect::<Vec<u8>>()
        };
        let asked = of(Side::Client);
        if vector.secure {
            config.public_url = header(&asked, "Host").map(|host| format!("wss://{host}"));
        }
        let config = Arc::new(config);
        let conn = match side {
            Side::Server => Conn::server(config),
            Side::Client => Conn::client_of(&asked, vector.secure, config)
                .map_err(|refusal| format!("the request is none of ours: {}", refusal.code()))?,
        };
        let mut to_send = Vec::new();
        for heard in &vector.expect.messages {
            let kind = match heard.kind {
                HeardKind::Text => Kind::Text,
                HeardKind::Binary => Kind::Binary,
                HeardKind::Ping | HeardKind::Pong => continue,
            };
            if heard.from.side() == Side::Server {
                to_send.push((kind, heard.octets()?));
            }
        }
        Ok(Player {
            vector,
            side,
            cut,
            trace,
            conn,
            pending: Vec::new(),
            gather: Gather::default(),
            nonce: nonce(&of(Side::Server)),
            to_send: to_send.into_iter(),
            said: Vec::new(),
            played: Played::default(),
        })
    }

    fn converse(&mut self) -> Result<(), String> {
        for turn in turns(self.vector)? {
            match (turn.from == self.side, turn.ends) {
                (false, false) => self.feed(&turn.octets)?,
                (false, true) => {
                    if let Err(violation) = self.conn.end_of_input(self.pending.len()) {
                        self.reject_violation(violation);
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
        if self.side == Side::Server && !self.said.is_empty() && !refused {
            return Err(format!("the server says more: {}", shown(&self.said)));
        }
        Ok(())
    }

    /// Gives octets to the core, cut as asked.
    fn feed(&mut self, octets: &[u8]) -> Result<(), String> {
        let start = self.played.fed;
        self.played.fed += octets.len();
        match self.cut {
            Cut::Whole => self.give(octets),
            Cut::At(n) => {
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
            Cut::Everywhere => octets.chunks(1).try_for_each(|octet| self.give(octet)),
        }
    }

    fn give(&mut self, octets: &[u8]) -> Result<(), String> {
        self.pending.extend_from_slice(octets);
        let mut pending = std::mem::take(&mut self.pending);
        let mut input = Input::starting_at(&mut pending, self.played.eaten);
        let mut said = Vec::new();
        let given = self.eat(&mut input, &mut said);
        self.played.eaten = input.position();
        let left = input.rest().len();
        pending.drain(..pending.len() - left);
        self.pending = pending;
        self.played.said.extend_from_slice(&said);
        self.said.extend(said);
        given
    }

    fn eat(&mut self, input: &mut Input<'_>, said: &mut Vec<u8>) -> Result<(), String> {
        let nonce = self.nonce.clone();
        let mut random = |octets: &mut [u8]| {
            for (to, from) in octets.iter_mut().zip(nonce.iter().cycle()) {
                *to = *from;
            }
        };
        let mut out = Output::new(said, &mut random);
        loop {
            let mut watch = Numbers {
                trace: &mut *self.trace,
                numbers: &mut self.played.numbers,
            };
            let event = match self.conn.next_watched(input, &mut out, &mut watch) {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => event,
                Err(violation) => {
                    self.reject_violation(violation);
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
                            self.reject_refusal(refusal);
                        }
                    }
                }
                Event::Plain(_) => {
                    self.conn.refuse(Refusal::NotFound, &mut out);
                    self.reject_refusal(Refusal::NotFound);
                }
                Event::Refused(refusal) => self.reject_refusal(refusal),
                Event::Answer(response) => {
                    self.played.detected = self.conn.version().map(|v| v.name);
                    self.played.subprotocol = response.subprotocol().map(str::to_owned);
                }
                Event::Open => {}
                Event::Piece(piece) => {
                    self.gather.add(&piece);
                    if piece.last {
                        let checked = self.conn.version().is_some_and(|v| v.text == Text::Failed);
                        let message = self.gather.finish(checked);
                        let kind = match message.kind() {
                            Kind::Text => HeardKind::Text,
                            Kind::Binary => HeardKind::Binary,
                        };
                        self.played.heard.push((kind, message.payload().to_vec()));
                        self.gather = Gather::default();
                    }
                }
                Event::Ping(payload) => {
                    self.played.heard.push((HeardKind::Ping, payload.to_vec()));
                }
                Event::Pong(payload) => {
                    self.played.heard.push((HeardKind::Pong, payload.to_vec()));
                }
                Event::Close(reason) => {
                    self.played.closed = Some((reason.code, reason.text.into_owned()));
                }
            }
        }
    }

    fn reject_refusal(&mut self, refusal: Refusal) {
        self.played.rejected.get_or_insert(Rejected {
            code: refusal.code(),
            status: Some(refusal.status()),
            close: None,
        });
    }

    fn reject_violation(&mut self, violation: Violation) {
        let version = self.conn.version();
        let close = version
            .filter(|v| v.has_close_codes() && violation.close_code() != 1006)
            .map(|v| close_code(v, violation.close_code()));
        self.played.rejected.get_or_insert(Rejected {
            code: violation.code(),
            status: None,
            close,
        });
    }

    /// The server's own octets are exact; a client's keys and masks are not.
    fn compare(&mut self, want: &[u8]) -> Result<(), String> {
        if self.side == Side::Client {
            return Ok(());
        }
        while self.said.len() < want.len() {
            let Some((kind, octets)) = self.to_send.next() else {
                break;
            };
            let message = match kind {
                Kind::Binary => Message::binary(&octets),
                Kind::Text => Message::text(std::str::from_utf8(&octets).unwrap_or_default()),
            };
            let mut random = |_: &mut [u8]| {};
            let before = self.said.len();
            let mut out = Output::new(&mut self.said, &mut random);
            self.conn
                .send(message, &mut out)
                .map_err(|error| error.to_string())?;
            let sent = self.said.get(before..).unwrap_or_default();
            self.played.said.extend_from_slice(sent);
        }
        if self.said == want {
            self.said.clear();
            return Ok(());
        }
        Err(difference(want, &self.said))
    }

    fn conclude(&self) -> Result<(), String> {
        let expect = &self.vector.expect;
        let Some(want) = expect.of(self.side) else {
            return Ok(());
        };
        let rejected = &self.played.rejected;
        match (want.result, rejected) {
            (Verdict::Either, _) => return Ok(()),
            (Verdict::Accept, Some(r)) => return Err(format!("rejected with {}", r.code)),
            (Verdict::Reject, None) => {
                let code = want.code.as_deref().unwrap_or("some code");
                return Err(format!("accepted, and {code} was expected"));
            }
            (Verdict::Reject, Some(r)) => {
                let code = want.code.as_deref().unwrap_or(r.code);
                equal("code", &code, &r.code)?;
                equal("status", &want.status, &r.status)?;
                if want.close.is_some() {
                    equal("close code", &want.close, &r.close)?;
                }
            }
            (Verdict::Accept, None) => {}
        }
        if let Some(name) = &expect.detected {
            equal("version", &Some(name.as_str()), &self.played.detected)?;
        }
        if want.result == Verdict::Accept {
            equal("subprotocol", &expect.subprotocol, &self.played.subprotocol)?;
        }
        let numbers: Vec<u32> = [expect.key_number_1, expect.key_number_2]
            .into_iter()
            .flatten()
            .collect();
        if self.side == Side::Server && !numbers.is_empty() {
            equal("key numbers", &numbers, &self.played.numbers)?;
        }
        let mut heard = Vec::new();
        for message in &expect.messages {
            if message.from.side() != self.side {
                heard.push((message.kind, message.octets()?));
            }
        }
        if heard != self.played.heard {
            let shown = |all: &[(HeardKind, Vec<u8>)]| {
                let each = all.iter().map(|(k, o)| format!("{k:?} {}", shown(o)));
                each.collect::<Vec<_>>().join(", ")
            };
            let (want, got) = (shown(&heard), shown(&self.played.heard));
            return Err(format!("hears [{got}], and [{want}] was expected"));
        }
        self.conclude_close()
    }

    fn conclude_close(&self) -> Result<(), String> {
        let closed = &self.played.closed;
        match &self.vector.expect.close {
            Some(Close::Word(CloseWord::None)) => equal("goodbye", &None, closed),
            Some(Close::Word(CloseWord::Clean)) => equal("goodbye", &true, &closed.is_some()),
            Some(Close::Said(CloseSaid { from, code, reason }))
                if from.side() == self.side.peer() =>
            {
                let reason = reason.clone().unwrap_or_default();
                equal("goodbye", &Some((*code, reason)), closed)
            }
            _ => Ok(()),
        }
    }
}

/// Keeps the numbers of hixie-76's keys beside whatever else is watched.
struct Numbers<'t, T> {
    trace: &'t mut T,
    numbers: &'t mut Vec<u32>,
}

impl<T: Trace> Trace for Numbers<'_, T> {
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
        Ok(())
    } else {
        Err(format!("{what} is {got:?}, and {want:?} was expected"))
    }
}

/// The first octet that differs, in its context.
fn difference(want: &[u8], got: &[u8]) -> String {
    let at = want.iter().zip(got).take_while(|(w, g)| w == g).count();
    let around = |octets: &[u8]| {
        let start = at.saturating_sub(16);
        let end = octets.len().min(at + 24);
        shown(octets.get(start..end).unwrap_or_default())
    };
    format!(
        "octet {at} differs: says {} where {} was expected ({} octets, {} expected)",
        around(got),
        around(want),
        got.len(),
        want.len()
    )
}

/// Octets for a person: ASCII as it is, the rest escaped, cut at 200.
fn shown(octets: &[u8]) -> String {
    let cut = octets.get(..200).unwrap_or(octets);
    let more = if cut.len() < octets.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_ascii())
}

/// A header's value in recorded octets.
fn header(octets: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(octets);
    text.split("\r\n").find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// The sixteen octets of hybi-04's nonce, so that the server says it again.
fn nonce(octets: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    header(octets, "Sec-WebSocket-Nonce")
        .and_then(|text| LENIENT.decode(text).ok())
        .unwrap_or_default()
}
