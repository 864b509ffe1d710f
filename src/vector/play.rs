//! Plays a vector to the core: in memory, to either side, at any split.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::diff::{Difference, difference};
use super::played::{Played, Rejected};
use super::recorded::header;
use super::script::{Failure, Script, ScriptMessage, Split};
use super::show::shown;
use super::{MessageKind, Vector};
use crate::bytes::Output;
use crate::conn::{Conn, Phase, Session, SessionEvent};
use crate::error::Refusal;
use crate::extension::Codecs;
use crate::frame::Framing;
use crate::message::Message;
use crate::trace::{Field, Span, Trace};
use crate::version::Side;

/// Plays a vector to one side of the core.
///
/// # Errors
///
/// The first thing that differs from what the vector expects. A vector that
/// expects nothing of this side has nothing to differ from.
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
    let script = Script::new(vector).map_err(|what| Failure::new(vector, side, split, what))?;
    script.watch(side, split, trace)
}

/// The splits that matter for this side of a vector, as [`Script::splits`].
#[must_use]
pub fn splits(vector: &Vector, side: Side) -> Vec<Split> {
    Script::new(vector).map_or(vec![Split::Whole], |script| script.splits(side))
}

/// No more octets are played for one side of a vector.
const MAX_PLAYED_OCTETS: usize = 1024 * 1024 * 1024;

impl Script<'_> {
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
        let played = Player::new(self, side, split, trace)
            .map_err(Difference::from)
            .and_then(Player::play);
        played.map_err(|what| Failure::new(self.vector, side, split, what))
    }

    /// The splits that matter for this side: all of them up to 4 KiB; beyond,
    /// every one inside heads and frame headers and within eight octets of
    /// their edges, and seeded samples elsewhere. Of a long recording, as many
    /// of them as a gibibyte of octets allows.
    #[must_use]
    pub fn splits(&self, side: Side) -> Vec<Split> {
        let mut spans: Vec<Span> = Vec::new();
        let Ok(played) = self.watch(side, Split::Whole, &mut spans) else {
            return vec![Split::Whole];
        };
        let octets = played.received_octets;
        let mut splits = vec![Split::Whole];
        let at = if octets <= 4096 {
            splits.push(Split::Everywhere);
            (1..octets).collect()
        } else {
            places(&spans, octets)
        };
        let allowed =
            (MAX_PLAYED_OCTETS / (self.request.len() + self.response.len()).max(1)).max(1);
        // A step that is odd meets frames of one length at different places.
        let step = at.len().div_ceil(allowed).max(1) | 1;
        splits.extend(at.into_iter().step_by(step).map(Split::At));
        splits
    }
}

/// Where to split what is too long to be split everywhere.
fn places(spans: &[Span], octets: usize) -> BTreeSet<usize> {
    let mut at = BTreeSet::new();
    for span in spans {
        let start = usize::try_from(span.at.start).unwrap_or(usize::MAX);
        let end = usize::try_from(span.at.end).unwrap_or(usize::MAX);
        if matches!(
            span.field,
            Field::Payload | Field::Skipped | Field::IgnoredValue | Field::AfterEnd
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
        at.insert(seed as usize % octets);
    }
    at.retain(|n| (1..octets).contains(n));
    at
}

/// Plays one side of a script.
struct Player<'s, 't, T> {
    script: &'s Script<'s>,
    side: Side,
    split: Split,
    trace: &'t mut T,
    session: Session,
    to_send: ToSend<'s>,
    codecs: Codecs,
    /// How many of the octets that were sent were compared with the recorded ones.
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
        let secure = script.vector.secure;
        let mut config = script.vector.configuration();
        if let (true, Some(host)) = (secure, header(&script.request, "Host")) {
            config = config.with_public_url(format!("wss://{host}"));
        }
        let config = Arc::new(config);
        let conn = match side {
            Side::Server => Conn::server(config),
            Side::Client => {
                Conn::client_of(&script.request, secure, config).map_err(|refusal| {
                    format!("no server would take this request: {}", refusal.code())
                })?
            }
        };
        Ok(Player {
            script,
            side,
            split,
            trace,
            session: Session::new(conn),
            to_send: ToSend::new(script, side),
            codecs: Codecs::default(),
            compared: 0,
            played: Played::default(),
        })
    }

    fn play(mut self) -> Result<Played, Difference> {
        for turn in &self.script.turns {
            match (turn.from == self.side, turn.ends) {
                (false, false) => self.receive(&turn.octets)?,
                (false, true) => self.end_of_input(),
                (true, false) if self.side == Side::Server => self.compare(&turn.octets)?,
                // A client's keys and masks are random.
                (true, false) => {}
                (true, true) => {
                    let phase = self.session.conn().phase();
                    if self.side == Side::Server && phase != Phase::Closed {
                        let what = format!("the server does not end TCP, its phase is {phase:?}");
                        return Err(what.into());
                    }
                }
            }
        }
        let rejected = &self.played.rejected;
        let refused = rejected.as_ref().is_some_and(|r| r.status.is_some());
        let more = self.played.sent.split_at(self.compared).1;
        if self.side == Side::Server && !more.is_empty() && !refused {
            let (at, more) = (self.compared as u64, shown(more, 200));
            let what = Difference::from(format!("the server sends more: {more}"));
            return Err(what.at(at).in_field("octets").between("nothing", more));
        }
        self.played.judge(self.script, self.side)?;
        Ok(self.played)
    }

    /// Gives octets to the core, split as requested.
    fn receive(&mut self, octets: &[u8]) -> Result<(), Difference> {
        let start = self.played.received_octets;
        self.played.received_octets += octets.len();
        match self.split {
            Split::Whole => self.receive_part(octets),
            Split::At(n) => {
                let at = n.saturating_sub(start).min(octets.len());
                let (before, after) = octets.split_at(at);
                let parts = [before, after].into_iter().filter(|part| !part.is_empty());
                parts
                    .into_iter()
                    .try_for_each(|part| self.receive_part(part))
            }
            Split::Everywhere => octets
                .chunks(1)
                .try_for_each(|octet| self.receive_part(octet)),
        }
    }

    fn receive_part(&mut self, octets: &[u8]) -> Result<(), Difference> {
        let Player {
            script,
            session,
            to_send,
            codecs,
            played,
            ..
        } = self;
        let mut sent = std::mem::take(&mut played.sent);
        let mut random = |octets: &mut [u8]| script.nonce.fill(octets);
        let mut out = Output::new(&mut sent, &mut random).with_shared_codecs(codecs);
        session.receive(octets);
        loop {
            let rejected = match session.next_watched(&mut out, self.trace) {
                Ok(None) => break,
                Ok(Some((event, conn))) => {
                    let refusal = on_event(event, conn, script, to_send, played, &mut out)?;
                    refusal.map(|refusal| Rejected::refusal(refusal, session.position()))
                }
                Err(located) => {
                    let version = session.conn().version();
                    let after = located.after(session.position());
                    Some(Rejected::violation(located.error, version, after))
                }
            };
            // Only the first fault counts.
            played.rejected = played.rejected.take().or(rejected);
        }
        played.consumed = session.position();
        played.sent = sent;
        Ok(())
    }

    /// The peer has ended TCP.
    fn end_of_input(&mut self) {
        if let Err(located) = self.session.end_of_input() {
            let version = self.session.conn().version();
            let after = self.session.position();
            let rejected = Rejected::violation(located.error, version, after);
            self.played.rejected.get_or_insert(rejected);
        }
    }

    /// Compares what the server sent with what was recorded, octet for octet.
    fn compare(&mut self, want: &[u8]) -> Result<(), Difference> {
        let end = self.compared + want.len();
        let mut random = |_: &mut [u8]| unreachable!("a server's frames are not masked");
        let out = Output::new(&mut self.played.sent, &mut random);
        let mut out = out.with_shared_codecs(&mut self.codecs);
        while out.octets.len() < end {
            match self.to_send.peek() {
                Some(message) => self
                    .to_send
                    .send(message, self.session.conn_mut(), &mut out)?,
                None => break,
            }
        }
        // It may have sent the octets of later turns too.
        let sent = self.played.sent.split_at(self.compared).1;
        if sent.starts_with(want) {
            self.compared = end;
            return Ok(());
        }
        let version = self.session.conn().version();
        Err(difference(want, sent, self.compared, version))
    }
}

/// Answers an event, and notes it. Gives the refusal of a request that was
/// refused.
fn on_event(
    event: SessionEvent<'_>,
    conn: &mut Conn,
    script: &Script<'_>,
    to_send: &mut ToSend<'_>,
    played: &mut Played,
    out: &mut Output<'_>,
) -> Result<Option<Refusal>, Difference> {
    match event {
        SessionEvent::Request(request) => {
            played.handshake.request(&request);
            let spoken: Vec<String> = script.vector.expect.subprotocol.iter().cloned().collect();
            match request.choose_subprotocol(&spoken) {
                Ok(chosen) => {
                    played.handshake.subprotocol = chosen.map(str::to_owned);
                    conn.accept(chosen, out)
                        .map_err(|error| error.to_string())?;
                }
                Err(refusal) => {
                    conn.refuse(refusal, out);
                    return Ok(Some(refusal));
                }
            }
        }
        SessionEvent::Http(_) => {
            conn.refuse(Refusal::NotFound, out);
            return Ok(Some(Refusal::NotFound));
        }
        SessionEvent::Refused(refused) => return Ok(Some(refused.refusal.error)),
        SessionEvent::Response(response) => {
            played.handshake.response(&response, conn.version());
        }
        SessionEvent::Open => played.handshake.opened(conn),
        SessionEvent::Stray(_) => {}
        SessionEvent::Message(message) => {
            played
                .messages
                .push((message.kind().into(), message.payload().to_vec()));
            to_send.send_if_recorded(conn, out)?;
        }
        SessionEvent::Ping(payload) => {
            played.messages.push((MessageKind::Ping, payload.to_vec()));
        }
        SessionEvent::Pong(payload) => {
            played.messages.push((MessageKind::Pong, payload.to_vec()));
        }
        SessionEvent::Close(reason) => {
            played.closed = Some((reason.code, reason.text.into_owned()));
        }
    }
    Ok(None)
}

/// The messages that our server has still to send, and all the octets that the
/// recorded server sent. Our client sends no messages.
struct ToSend<'s> {
    messages: &'s [ScriptMessage],
    recorded: &'s [u8],
}

impl<'s> ToSend<'s> {
    fn new(script: &'s Script<'_>, side: Side) -> ToSend<'s> {
        ToSend {
            messages: match side {
                Side::Server => &script.messages,
                Side::Client => &[],
            },
            recorded: &script.response,
        }
    }

    /// The message that is next.
    fn peek(&mut self) -> Option<Message<'s>> {
        loop {
            let (first, rest) = self.messages.split_first()?;
            if let (Side::Server, Some(message)) = (first.from, first.message()) {
                return Some(message);
            }
            self.messages = rest;
        }
    }

    /// Sends the message that is next.
    fn send(
        &mut self,
        message: Message<'_>,
        conn: &mut Conn,
        out: &mut Output<'_>,
    ) -> Result<(), String> {
        self.messages = self.messages.split_first().map_or(&[], |(_, rest)| rest);
        conn.send(message, out).map_err(|error| error.to_string())
    }

    /// Sends messages as soon as the recorded server did: it may have answered
    /// a message before it received the close behind it.
    fn send_if_recorded(
        &mut self,
        conn: &mut Conn,
        out: &mut Output<'_>,
    ) -> Result<(), Difference> {
        while let Some(message) = self.peek() {
            let length = message.payload().len();
            let Ok(framing) = conn.framing_of(message.kind(), length) else {
                break;
            };
            let recorded = self.recorded.get(out.octets.len()..).unwrap_or_default();
            let is_next = match framing {
                Some(framing) => starts_with(recorded, &framing, message.payload()),
                None => conn.compression().is_some() && starts_with_a_message(recorded),
            };
            if !is_next {
                break;
            }
            self.send(message, conn, out)?;
        }
        Ok(())
    }
}

/// Whether this message stands there, in this frame.
fn starts_with(recorded: &[u8], framing: &Framing, payload: &[u8]) -> bool {
    let rest = recorded
        .strip_prefix(framing.header())
        .and_then(|rest| rest.strip_prefix(payload));
    rest.is_some_and(|rest| match framing.terminator() {
        Some(terminator) => rest.first() == Some(&terminator),
        None => true,
    })
}

/// Whether a frame stands there that starts a text or binary message, compressed
/// or not.
fn starts_with_a_message(recorded: &[u8]) -> bool {
    matches!(recorded.first().map(|octet| octet & 0x0f), Some(1 | 2))
}
