//! The clients of vectors, played to a foreign server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heirloom::conform::response_status;
use heirloom::conn::Conn;
use heirloom::error::{Located, Violation};
use heirloom::net::dial::DialTarget;
use heirloom::net::replay::{ReplayConnection, ReplayEvent};
use heirloom::vector::{
    Conclusion, Difference, ExpectedResult, MessageKind, ReceivedMessage, StreamEnd, Vector,
};
use heirloom::{Config, Side, SystemRandom};

use super::describe::{self, difference, shown};
use super::moves::{
    Move, all_of, configuration, head_len, is_bound_to_its_nonce, other_compression,
};
use super::passive::{Mark, PassiveEndpoint};
use super::rewritten::rewrite_for;
use super::turned::{Turned, turned};
use super::{Manner, PlayOutcome, Played};
use crate::cli::units::counted;

/// Octets of the response and what follows it that are kept to be shown.
const KEPT_OCTETS: usize = 64 * 1024;
/// How long an echo may take where it is not known that the server echoes.
const GUESS: Duration = Duration::from_millis(500);
/// Octets that a server may send where fewer were recorded.
const FLOOD_OCTETS: usize = 4 * 1024 * 1024;

/// What the server must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Required {
    /// It upgrades, and replies to each message.
    Accepts,
    /// It refuses to upgrade.
    Refuses,
    /// It ends the connection for what the client does.
    Fails,
}

pub(super) fn play(
    vector: &Vector,
    moves: Vec<Move>,
    target: &DialTarget,
    manner: &Manner,
) -> PlayOutcome {
    let own = vector.config.as_ref();
    if own.is_some_and(|config| config.max_message_bytes.is_some()) {
        let why = "it is about a limit that another server need not have";
        return PlayOutcome::Skipped(why.to_owned());
    }
    let config = configuration(vector);
    if is_bound_to_its_nonce(vector, &moves) {
        let why = "hybi-04 masks frames by the server's nonce, so recorded ones mean nothing to \
                   another server";
        return PlayOutcome::Skipped(why.to_owned());
    }
    let required = required(vector);
    let (mut moves, is_turned) = match turning(vector, moves, &config, required.is_err()) {
        Ok(turned) => (turned.moves, turned.is_turned),
        Err(why) => return PlayOutcome::NotRun(why),
    };
    let required = match required {
        Ok(required) => required,
        // The frames are those of the server, and an echo returns them.
        Err(_) if is_turned => Required::Accepts,
        Err(why) => return PlayOutcome::Skipped(why.to_owned()),
    };
    let recorded = all_of(&moves, Side::Client);
    rewrite_for(vector, &mut moves, manner);
    let request = all_of(&moves, Side::Client);
    let marks = match marks(&recorded, &moves, vector.secure, &config) {
        Ok(marks) => marks,
        // Where the request is wrong, the server refuses it.
        Err(_) if required != Required::Accepts => Vec::new(),
        Err(code) => {
            let what = format!("our client cannot check the response to this request: {code}");
            return PlayOutcome::wrong(what);
        }
    };
    let connected = ReplayConnection::connect(target, manner.timeout, manner.faults.clone());
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => return PlayOutcome::Unreachable(error),
    };
    let endpoint = Conn::client_of(&request, manner.secure, config)
        .ok()
        .map(|conn| PassiveEndpoint::new(conn, Vec::new()));
    let response = all_of(&moves, Side::Server);
    let mut replay = ClientReplay {
        vector,
        manner,
        required,
        is_guess: is_turned && manner.target.is_none(),
        connection,
        kept: KEPT_OCTETS.max(response.len() + 1),
        flood: FLOOD_OCTETS.max(response.len().saturating_mul(2)),
        endpoint,
        request,
        seen: Vec::new(),
        octets: 0,
        ended: None,
        skipped: None,
    };
    let mut failures: Vec<_> = replay.converse(&moves, &marks).err().into_iter().collect();
    if let Some(why) = replay.skipped {
        return PlayOutcome::Skipped(why);
    }
    if let (true, Some(failure)) = (replay.is_silent(), failures.first()) {
        return PlayOutcome::NotRun(format!(
            "it is turned round, and the path that it asks for need not echo (--path): {failure}"
        ));
    }
    if let Some(subprotocol) = replay.unspoken() {
        return PlayOutcome::NotRun(format!(
            "the server does not speak the subprotocol {} that it asks for",
            shown(subprotocol.as_bytes())
        ));
    }
    if manner.is_exact && !replay.connection.is_limit_reached() {
        replay.compare(&response, &mut failures);
    }
    PlayOutcome::Played(Played {
        is_unanswered: replay.is_unanswered(),
        failures,
        sent: replay.request,
        seen: replay.seen,
        octets: replay.octets,
    })
}

/// What the server must do, or why that is not known.
fn required(vector: &Vector) -> Result<Required, &'static str> {
    let rejects = |c: &Conclusion| c.result == ExpectedResult::Reject;
    match (&vector.expect.server, &vector.expect.client) {
        (Some(server), _) => match server.result {
            ExpectedResult::Accept => Ok(Required::Accepts),
            ExpectedResult::Either => Err("the documents leave open what a server does"),
            ExpectedResult::Reject if server.status.is_some() => Ok(Required::Refuses),
            ExpectedResult::Reject => Ok(Required::Fails),
        },
        (None, Some(client)) if vector.source.kind == "capture" => {
            if client.code.as_deref() == Some("refused") {
                Ok(Required::Refuses)
            } else if rejects(client) {
                Err("the recorded server was wrong, and a correct one sends something else")
            } else {
                Ok(Required::Accepts)
            }
        }
        _ => Err("it expects nothing of a server"),
    }
}

/// What is played of a vector. What was recorded with a real server is played as it
/// is, and so is a vector that is about the client alone and not about messages.
fn turning(
    vector: &Vector,
    moves: Vec<Move>,
    config: &Arc<Config>,
    is_of_client: bool,
) -> Result<Turned, String> {
    let accepts = |c: &Conclusion| c.result == ExpectedResult::Accept;
    let is_wrong = is_of_client && !vector.expect.client.as_ref().is_some_and(accepts);
    let sends = |message: &ReceivedMessage| message.from == Side::Server;
    let is_silent = is_of_client && !vector.expect.messages.iter().any(sends);
    if vector.source.kind == "capture" || is_wrong || is_silent {
        return Ok(Turned {
            moves,
            is_turned: false,
        });
    }
    turned(vector, moves, config)
}

/// How far the recorded conversation had come for the client after each move.
fn marks(
    request: &[u8],
    moves: &[Move],
    secure: bool,
    config: &Arc<Config>,
) -> Result<Vec<Mark>, &'static str> {
    let conn = Conn::client_of(request, secure, Arc::clone(config));
    let conn = conn.map_err(|refusal| refusal.code())?;
    let mut endpoint = PassiveEndpoint::new(conn, Vec::new());
    let mut marks = Vec::with_capacity(moves.len());
    for step in moves {
        if step.from == Side::Server {
            endpoint.receive(&step.octets, &mut |_: &mut [u8]| {});
        }
        marks.push(endpoint.mark());
    }
    Ok(marks)
}

/// One conversation with the server.
struct ClientReplay<'a> {
    vector: &'a Vector,
    manner: &'a Manner,
    required: Required,
    /// Whether it is not known that the server echoes what was turned round.
    is_guess: bool,
    connection: ReplayConnection,
    /// How many octets of the server are kept.
    kept: usize,
    /// How many octets of the server are too many.
    flood: usize,
    /// Our client; `None` where it would not send this request.
    endpoint: Option<PassiveEndpoint>,
    request: Vec<u8>,
    /// The first octets of the server.
    seen: Vec<u8>,
    /// How many octets the server has sent.
    octets: usize,
    /// How the server ended TCP.
    ended: Option<&'static str>,
    /// Why this vector means nothing to the server.
    skipped: Option<String>,
}

/// Why a wait is over.
enum Waited {
    Reached,
    Ended,
    TimedOut,
}

impl ClientReplay<'_> {
    /// When a wait that starts now is over. Where an echo
    /// was not promised, it comes soon or not at all.
    fn deadline(&self) -> Instant {
        let deadline = self.manner.deadline();
        match self.is_guess && self.mark().open {
            true => deadline.min(Instant::now() + GUESS + self.manner.faults.latency),
            false => deadline,
        }
    }

    /// Whether what it lacks is an echo that was not promised.
    fn is_silent(&self) -> bool {
        self.is_guess && self.mark().open && self.violation().is_none()
    }

    fn converse(&mut self, moves: &[Move], marks: &[Mark]) -> Result<(), Difference> {
        let mut before = Mark::default();
        let mut responded = false;
        for (i, step) in moves.iter().enumerate() {
            if step.from == Side::Server {
                responded |= !step.octets.is_empty();
                before = marks.get(i).copied().unwrap_or(before);
                continue;
            }
            // What the client sends next, it sent after it had received this.
            if responded && self.ended.is_none() && !self.connection.is_limit_reached() {
                let waited = self.wait(self.deadline(), |replay| replay.reaches(before));
                self.fault()?;
                if self.required == Required::Accepts && !matches!(waited, Waited::Reached) {
                    return Err(self.missing(before, &waited).into());
                }
                let endpoint = self.endpoint.as_ref().filter(|_| before.open);
                self.skipped = endpoint.and_then(|e| other_compression(self.vector, e.conn()));
                if self.skipped.is_some() {
                    return Ok(());
                }
            }
            if !step.after.is_zero() {
                self.wait(Instant::now() + step.after, |_| false);
            }
            self.connection.send(&step.octets);
            if let Some(end) = step.end {
                self.connection.end(end == StreamEnd::Rst);
            }
            self.wait(self.deadline(), |replay| replay.connection.is_written());
        }
        if self.connection.is_limit_reached() {
            // We cut the connection on purpose: what arrived until then is judged.
            self.wait(self.deadline(), |replay| replay.ended.is_some());
            return match self.violation().map(|located| located.error) {
                // It is right to refuse half a request.
                Some(Violation::ResponseStatus { .. }) => Ok(()),
                _ => self.fault(),
            };
        }
        match self.required {
            Required::Accepts => self.conclude(moves, marks.last().copied().unwrap_or_default()),
            Required::Refuses => self.conclude_refusal(),
            Required::Fails => self.conclude_failure(),
        }
    }

    /// Receives until `enough`, the end of TCP, or the deadline.
    fn wait(&mut self, deadline: Instant, enough: impl Fn(&ClientReplay<'_>) -> bool) -> Waited {
        loop {
            if enough(self) {
                return Waited::Reached;
            }
            if self.ended.is_some() {
                return Waited::Ended;
            }
            match self.connection.step(deadline) {
                ReplayEvent::Octets(octets) => {
                    self.octets += octets.len();
                    let room = self.kept.saturating_sub(self.seen.len());
                    let kept = octets.get(..room).unwrap_or(octets);
                    self.seen.extend_from_slice(kept);
                    if let Some(endpoint) = &mut self.endpoint {
                        endpoint.receive(octets, &mut SystemRandom);
                        endpoint.output.clear();
                    }
                    if self.octets > self.flood {
                        self.ended = Some("sends far more than was recorded");
                    }
                }
                ReplayEvent::Fin => {
                    self.ended = Some(if self.connection.is_truncated() {
                        "ends TCP and not TLS before it (tls-truncated)"
                    } else {
                        "ends TCP"
                    });
                }
                ReplayEvent::Rst => self.ended = Some("resets TCP"),
                ReplayEvent::TimedOut => return Waited::TimedOut,
                // Our octets are written: the loop looks whether that is enough.
                _ => {}
            }
        }
    }

    fn mark(&self) -> Mark {
        let endpoint = self.endpoint.as_ref();
        endpoint.map(PassiveEndpoint::mark).unwrap_or_default()
    }

    /// The first thing that the server sent wrong.
    fn violation(&self) -> Option<&Located<Violation>> {
        self.endpoint.as_ref()?.received.violation.as_ref()
    }

    fn reaches(&self, mark: Mark) -> bool {
        match &self.endpoint {
            Some(endpoint) => {
                endpoint.received.violation.is_some() || endpoint.mark().reaches(mark)
            }
            None => self.octets > 0,
        }
    }

    /// The subprotocol for want of which the server may have refused: one of hixie
    /// must be repeated.
    fn unspoken(&self) -> Option<&str> {
        let located = self.violation()?;
        let refused = matches!(located.error, Violation::ResponseStatus { .. });
        let is_hixie = self
            .endpoint
            .as_ref()?
            .conn()
            .version()?
            .has_opaque_subprotocol();
        let asked = self.vector.expect.subprotocol.as_deref();
        asked.filter(|_| refused && is_hixie && self.required == Required::Accepts)
    }

    /// The server's violation as a difference, unless it was to refuse and has refused.
    fn fault(&mut self) -> Result<(), Difference> {
        let Some(located) = self.violation() else {
            return Ok(());
        };
        let refused = matches!(located.error, Violation::ResponseStatus { .. });
        if refused && self.required == Required::Refuses {
            return Ok(());
        }
        let version = self.endpoint.as_ref().and_then(|e| e.conn().version());
        let spoken = self.vector.expect.subprotocol.iter().cloned().collect();
        let model = describe::model(&self.request, spoken, configuration(self.vector));
        let mut found = describe::violation(located, version, &self.seen, &model);
        if refused {
            // The body may say why.
            self.wait(Instant::now() + Duration::from_millis(200), |_| false);
            let end = head_len(&self.seen).unwrap_or(self.seen.len());
            let (_, body) = self.seen.split_at(end);
            let first = shown(before(&self.seen, b'\r'));
            let mut what = format!("refused: it sends {first}");
            if !body.is_empty() {
                what.push_str(&format!(", and {}", shown(body)));
            }
            found = Difference::from(what)
                .at(0)
                .in_field("status-line")
                .between("101", first);
        }
        Err(found)
    }

    /// What has not arrived, in words.
    fn missing(&self, want: Mark, waited: &Waited) -> String {
        let octets = counted(self.octets, "octet");
        let how = match (waited, self.ended) {
            (_, Some(ended)) => format!("the server {ended} after {octets}"),
            _ => format!(
                "{octets} arrived within {} ms (--timeout-ms)",
                self.manner.timeout.as_millis()
            ),
        };
        let mark = self.mark();
        let what = if want.head && !mark.head {
            "the head of the response does not arrive".to_owned()
        } else if want.open && !mark.open {
            "the handshake is not finished: the sixteen octets do not arrive".to_owned()
        } else if mark.messages < want.messages {
            format!("{} of {} messages arrived", mark.messages, want.messages)
        } else {
            "the server sends no close".to_owned()
        };
        format!("{what}; {how}")
    }

    fn conclude(&mut self, moves: &[Move], want: Mark) -> Result<(), Difference> {
        let messages = self.expected()?;
        let waited = self.wait(self.deadline(), |replay| {
            replay.reaches(want) && replay.lacks(&messages).is_none()
        });
        self.fault()?;
        if let Some((kind, octets)) = self.lacks(&messages) {
            let received = self.endpoint.iter().flat_map(|e| &e.received.messages);
            let received: Vec<String> = received
                .take(8)
                .map(|(k, o)| format!("{k:?} {}", shown(o)))
                .collect();
            return Err(format!(
                "the {kind:?} {} does not arrive; what arrives is [{}]",
                shown(octets),
                received.join(", ")
            )
            .into());
        }
        if !matches!(waited, Waited::Reached) && !self.mark().reaches(want) {
            return Err(self.missing(want, &waited).into());
        }
        let ends = moves
            .iter()
            .any(|m| m.from == Side::Server && m.end.is_some());
        if ends {
            self.wait(self.deadline(), |replay| replay.ended.is_some());
            self.fault()?;
            if self.ended.is_none() {
                return Err(format!(
                    "the server does not end TCP within {} ms (--timeout-ms)",
                    self.manner.timeout.as_millis()
                )
                .into());
            }
        }
        Ok(())
    }

    fn conclude_refusal(&mut self) -> Result<(), Difference> {
        self.wait(self.deadline(), |replay| {
            replay.ended.is_some() || replay.seen.contains(&b'\n')
        });
        let line = before(&self.seen, b'\n').trim_ascii_end();
        let server = self.vector.expect.server.as_ref();
        let code = server.and_then(|c| c.code.as_deref()).unwrap_or("refused");
        let wrong = |what: String, wanted: String, seen: String| {
            let difference = Difference::from(what).at(0).in_field("status-line");
            Err(difference.between(wanted, seen))
        };
        if line.is_empty() && self.ended.is_none() {
            let ms = self.manner.timeout.as_millis();
            return Err(format!(
                "the server neither responds nor ends TCP within {ms} ms (--timeout-ms), and \
                 {code} was expected"
            )
            .into());
        }
        if line.is_empty() && !self.manner.is_exact {
            return Ok(());
        }
        let Some(status) = response_status(&self.seen) else {
            let seen = shown(line);
            let what = format!("it sends {seen}, which is no HTTP, and {code} was expected");
            return wrong(what, "HTTP/1.1".to_owned(), seen);
        };
        if status == 101 {
            let at = line.iter().position(|octet| *octet == b' ').unwrap_or(0) + 1;
            let what =
                format!("octet {at} starts \"101\": the server upgrades, and {code} was expected");
            return wrong(what, "a refusal".to_owned(), "101".to_owned());
        }
        match server.and_then(|c| c.status) {
            Some(want) if self.manner.is_exact && status != want => {
                let seen = shown(line);
                let what = format!("it sends {seen}, and status {want} ({code}) was expected");
                wrong(what, want.to_string(), seen)
            }
            _ if is_refusal(status, code) => Ok(()),
            _ => {
                let seen = shown(line);
                let wanted = "a status from 400 to 599".to_owned();
                let what = format!(
                    "it sends {seen}, which is no refusal, and {wanted} ({code}) was expected"
                );
                wrong(what, wanted, seen)
            }
        }
    }

    /// Whether the server has ended TCP in place of refusing by a status.
    fn is_unanswered(&self) -> bool {
        self.required == Required::Refuses
            && self.octets == 0
            && self.ended.is_some()
            && !self.connection.is_limit_reached()
    }

    fn conclude_failure(&mut self) -> Result<(), Difference> {
        self.wait(self.deadline(), |replay| {
            replay.mark().closed || replay.ended.is_some()
        });
        if self.mark().closed || self.ended.is_some() {
            return Ok(());
        }
        self.fault()?;
        let server = self.vector.expect.server.as_ref();
        let code = server.and_then(|c| c.code.as_deref()).unwrap_or_default();
        Err(format!(
            "the server does not object: it neither sends a close nor ends TCP within {} ms \
             (--timeout-ms), and {code} was expected",
            self.manner.timeout.as_millis()
        )
        .into())
    }

    /// The messages that the server must send.
    fn expected(&self) -> Result<Vec<(MessageKind, Vec<u8>)>, String> {
        let all = self.vector.expect.messages.iter();
        all.filter(|message| message.from == Side::Server)
            .map(|message| Ok((message.kind, message.octets()?)))
            .collect()
    }

    /// The first of these messages that has not arrived in this order; others may
    /// arrive between them.
    fn lacks<'m>(
        &self,
        messages: &'m [(MessageKind, Vec<u8>)],
    ) -> Option<&'m (MessageKind, Vec<u8>)> {
        let mut received = self.endpoint.iter().flat_map(|e| &e.received.messages);
        messages
            .iter()
            .find(|want| !received.any(|message| message == *want))
    }

    fn compare(&mut self, want: &[u8], failures: &mut Vec<Difference>) {
        self.wait(self.deadline(), |replay| replay.seen.len() >= want.len());
        let ignored = &self.manner.ignored_headers;
        let (seen, want) = (without(&self.seen, ignored), without(want, ignored));
        if seen != want {
            let but = if ignored.is_empty() {
                ""
            } else {
                "without the ignored headers, "
            };
            let what = format!(
                "not exact: {but}{} ({} of {} arrived)",
                difference(&seen, &want, 0),
                seen.len(),
                counted(want.len(), "octet")
            );
            let at = want.iter().zip(&seen).take_while(|(w, s)| w == s).count();
            let from = |octets: &[u8]| shown(octets.get(at..).unwrap_or_default());
            failures.push(
                Difference::from(what)
                    .at(at as u64)
                    .in_field("octets")
                    .between(from(&want), from(&seen)),
            );
        }
    }
}

/// Whether this status refuses what is wrong by this code. A request that asks for
/// no WebSocket may get a page.
fn is_refusal(status: u16, code: &str) -> bool {
    let is_of_http = matches!(
        code,
        "upgrade-missing" | "connection-missing" | "version-missing" | "http-version"
    );
    (400..600).contains(&status) || is_of_http && status == 200
}

/// What a server sent, without these headers.
fn without(octets: &[u8], names: &[String]) -> Vec<u8> {
    let end = head_len(octets).unwrap_or(0);
    let (head, rest) = octets.split_at(end);
    let kept = head
        .split_inclusive(|octet| *octet == b'\n')
        .filter(|line| {
            let name = before(line, b':');
            !names
                .iter()
                .any(|ignored| name.eq_ignore_ascii_case(ignored.as_bytes()))
        });
    [&kept.collect::<Vec<_>>().concat(), rest].concat()
}

/// The octets before the first of this value; all of them where there is none.
fn before(octets: &[u8], stop: u8) -> &[u8] {
    let end = octets.iter().position(|octet| *octet == stop);
    let (before, _) = octets.split_at(end.unwrap_or(octets.len()));
    before
}
