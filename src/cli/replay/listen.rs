//! The servers of vectors, played to a foreign client.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use heirloom::conn::Conn;
use heirloom::net::replay::{ReplayConnection, ReplayEvent};
use heirloom::vector::{Difference, ExpectedResult, StreamEnd, Vector};
use heirloom::{Config, Side, SystemRandom};

use super::describe::{self, shown};
use super::moves::{
    Move, all_of, configuration, head_len, is_bound_to_its_nonce, other_compression,
};
use super::passive::{Mark, PassiveEndpoint};
use super::{Manner, PlayOutcome, Played};
use crate::cli::units::counted;

/// How often the listener is polled.
const TICK: Duration = Duration::from_millis(10);

/// Octets of the client that are kept to be shown.
const KEPT_OCTETS: usize = 64 * 1024;
/// Octets that a client may send.
const FLOOD_OCTETS: usize = 64 * 1024 * 1024;

/// Headers of a response whose right value depends on the request.
const BOUND: [&str; 8] = [
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Nonce",
    "Sec-WebSocket-Origin",
    "Sec-WebSocket-Location",
    "Sec-WebSocket-Protocol",
    "WebSocket-Origin",
    "WebSocket-Location",
    "WebSocket-Protocol",
];

pub(super) fn play(
    vector: &Vector,
    moves: &[Move],
    listener: &TcpListener,
    manner: &Manner,
) -> PlayOutcome {
    if let Err(why) = is_playable(vector, moves) {
        return PlayOutcome::Skipped(why.to_owned());
    }
    let stream = match accept(listener, manner.deadline()) {
        Ok(stream) => stream,
        Err(what) => return PlayOutcome::NoClient(what),
    };
    match ReplayConnection::over(stream, manner.faults.clone()) {
        Ok(connection) => play_over(vector, moves, connection, &[], manner),
        Err(error) => PlayOutcome::wrong(format!("cannot use the connection: {error}")),
    }
}

/// Whether the server of this vector can be played to a client, or why it cannot.
pub(super) fn is_playable(vector: &Vector, moves: &[Move]) -> Result<(), &'static str> {
    let Some(client) = &vector.expect.client else {
        return Err("it expects nothing of a client");
    };
    if client.result == ExpectedResult::Either {
        return Err("the documents leave open what a client does");
    }
    if vector.secure {
        return Err("it ran inside TLS, and this connection does not");
    }
    if is_bound_to_its_nonce(vector, moves) {
        return Err(
            "hybi-04 masks frames by the server's nonce, so recorded ones cannot be counted",
        );
    }
    Ok(())
}

/// Plays a server over a connection, on which these octets have arrived.
pub(super) fn play_over(
    vector: &Vector,
    moves: &[Move],
    connection: ReplayConnection,
    received: &[u8],
    manner: &Manner,
) -> PlayOutcome {
    let spoken: Vec<String> = vector.expect.subprotocol.iter().cloned().collect();
    let client = vector.expect.client.as_ref();
    let mut replay = ServerReplay {
        vector,
        manner,
        connection,
        endpoint: PassiveEndpoint::new(Conn::server(configuration(vector)), spoken),
        skipped: None,
        octets: received.len(),
        seen: received.to_vec(),
        ended: None,
        sent: Vec::new(),
        rejects: client.is_some_and(|client| client.result == ExpectedResult::Reject),
    };
    replay.endpoint.receive(received, &mut SystemRandom);
    let failures = replay.converse(moves).err().into_iter().collect();
    match replay.skipped {
        Some(why) => PlayOutcome::Skipped(why),
        None => PlayOutcome::Played(Played {
            failures,
            sent: replay.sent,
            seen: replay.seen,
            octets: replay.octets,
            is_unanswered: false,
        }),
    }
}

fn accept(listener: &TcpListener, deadline: Instant) -> Result<TcpStream, String> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {}
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => continue,
                _ => return Err(format!("cannot accept: {error}")),
            },
        }
        if Instant::now() >= deadline {
            return Err("no client connected in time (--timeout-ms)".to_owned());
        }
        thread::sleep(TICK);
    }
}

/// One conversation with the client.
struct ServerReplay<'a> {
    vector: &'a Vector,
    manner: &'a Manner,
    connection: ReplayConnection,
    endpoint: PassiveEndpoint,
    /// Why this vector means nothing to the client.
    skipped: Option<String>,
    /// How many octets the client has sent.
    octets: usize,
    /// The first octets of the client.
    seen: Vec<u8>,
    /// What was sent to it.
    sent: Vec<u8>,
    /// How the client ended TCP.
    ended: Option<&'static str>,
    /// Whether the client must fail the connection.
    rejects: bool,
}

impl ServerReplay<'_> {
    fn converse(&mut self, moves: &[Move]) -> Result<(), Difference> {
        let recorded = all_of(moves, Side::Server);
        let request = all_of(moves, Side::Client);
        let spoken: Vec<String> = self.vector.expect.subprotocol.iter().cloned().collect();
        let config = configuration(self.vector);
        let marks = marks(moves, spoken.clone(), &config);
        let model = describe::model(&request, spoken, config);
        // The client sends a request of its own.
        self.wait(self.manner.deadline(), |replay| replay.endpoint.mark().head);
        self.fault()?;
        if !self.endpoint.mark().head {
            return Err(format!(
                "no request arrived: {}, {}",
                counted(self.octets, "octet"),
                shown(&self.seen)
            )
            .into());
        }
        let version = self.endpoint.conn().version().map_or("none", |v| v.name);
        if version != self.vector.version {
            return Err(format!(
                "the client speaks {version}, and {} was expected",
                self.vector.version
            )
            .into());
        }
        self.skipped = other_compression(self.vector, self.endpoint.conn());
        if self.skipped.is_some() {
            return Ok(());
        }
        let opening = opening(&recorded, &model);
        let (head, digest) = recorded.split_at(head_len(&recorded).unwrap_or(0).min(opening));
        let (digest, _) = digest.split_at(opening - head.len());
        let output = std::mem::take(&mut self.endpoint.output);
        let ours = head_len(&output).unwrap_or(output.len());
        let (our_head, our_digest) = output.split_at(ours);
        let response = response(head, &model, our_head);
        self.send(&response);
        if !digest.is_empty() {
            self.prove(digest, &model, our_digest)?;
        }
        self.follow(moves, &marks, opening)
    }

    /// hixie-76: sixteen octets for the client's own eight, where the recorded
    /// ones were right for the recorded eight.
    fn prove(&mut self, recorded: &[u8], model: &[u8], output: &[u8]) -> Result<(), Difference> {
        self.wait(self.manner.deadline(), |replay| replay.endpoint.mark().open);
        self.fault()?;
        let mut ours = output.to_vec();
        ours.append(&mut self.endpoint.output);
        let right = model.ends_with(recorded) && ours.len() >= recorded.len();
        let digest = if right { &ours } else { recorded };
        let digest = digest.get(..recorded.len()).unwrap_or(digest).to_vec();
        self.send(&digest);
        Ok(())
    }

    /// Sends what the server sent after the handshake, each step after what the
    /// client had sent before it.
    fn follow(&mut self, moves: &[Move], marks: &[Mark], opening: usize) -> Result<(), Difference> {
        let mut at = 0;
        let mut before = Mark::default();
        for (i, step) in moves.iter().enumerate() {
            if step.from == Side::Client {
                before = marks.get(i).copied().unwrap_or(before);
                continue;
            }
            let skip = opening.saturating_sub(at).min(step.octets.len());
            at += step.octets.len();
            let (_, octets) = step.octets.split_at(skip);
            if octets.is_empty() && step.end.is_none() {
                continue;
            }
            if !self.rejects && !self.connection.is_limit_reached() {
                self.wait(self.manner.deadline(), |replay| {
                    replay.endpoint.mark().reaches(before)
                });
                self.fault()?;
                if !self.endpoint.mark().reaches(before) {
                    return Err(self.missing(before).into());
                }
            }
            if !step.after.is_zero() {
                self.wait(Instant::now() + step.after, |_| false);
            }
            self.send(octets);
            if let Some(end) = step.end {
                self.connection.end(end == StreamEnd::Rst);
            }
            self.wait(self.manner.deadline(), |replay| {
                replay.connection.is_written()
            });
        }
        self.wait(self.manner.deadline(), |replay| {
            replay.connection.is_written()
        });
        if self.connection.is_limit_reached() {
            return Ok(());
        }
        if self.rejects {
            return self.conclude_rejection();
        }
        let last = marks.last().copied().unwrap_or_default();
        self.wait(self.manner.deadline(), |replay| {
            replay.endpoint.mark().reaches(last)
        });
        self.fault()?;
        if !self.endpoint.mark().reaches(last) {
            return Err(self.missing(last).into());
        }
        let ends = |m: &Move| m.from == Side::Client && m.end.is_some();
        if moves.iter().any(ends) {
            self.wait(self.manner.deadline(), |replay| replay.ended.is_some());
            self.fault()?;
            if self.ended.is_none() {
                return Err("the client does not end TCP in time (--timeout-ms)"
                    .to_owned()
                    .into());
            }
        }
        Ok(())
    }

    fn conclude_rejection(&mut self) -> Result<(), Difference> {
        let messages = self.endpoint.mark().messages;
        self.wait(self.manner.deadline(), |replay| {
            replay.ended.is_some() || replay.endpoint.mark().closed
        });
        let client = self.vector.expect.client.as_ref();
        let code = client.and_then(|c| c.code.as_deref()).unwrap_or_default();
        if self.endpoint.mark().messages > messages {
            return Err(format!("the client goes on, and {code} was expected").into());
        }
        if self.ended.is_none() && !self.endpoint.mark().closed {
            return Err(format!(
                "the client neither sends a close nor ends TCP in time (--timeout-ms), and {code} \
                 was expected"
            )
            .into());
        }
        Ok(())
    }

    fn send(&mut self, octets: &[u8]) {
        self.sent.extend_from_slice(octets);
        self.connection.send(octets);
    }

    fn wait(&mut self, deadline: Instant, enough: impl Fn(&ServerReplay<'_>) -> bool) {
        while !enough(self) && self.ended.is_none() {
            match self.connection.step(deadline) {
                ReplayEvent::Octets(octets) => {
                    self.octets += octets.len();
                    let room = KEPT_OCTETS.saturating_sub(self.seen.len());
                    let kept = octets.get(..room).unwrap_or(octets);
                    self.seen.extend_from_slice(kept);
                    let open = self.endpoint.mark().open;
                    self.endpoint.receive(octets, &mut SystemRandom);
                    if open {
                        // The recorded frames are sent, not ours.
                        self.endpoint.output.clear();
                    }
                    if self.octets > FLOOD_OCTETS {
                        self.ended = Some("sends far too much");
                    }
                }
                ReplayEvent::Fin => {
                    self.ended = Some("ends TCP");
                    if !self.rejects && !self.endpoint.mark().closed {
                        self.endpoint.receive_end();
                    }
                }
                ReplayEvent::Rst => self.ended = Some("resets TCP"),
                ReplayEvent::TimedOut => return,
                // Our octets are written: the loop looks whether that is enough.
                _ => {}
            }
        }
    }

    /// The client's violation as a difference, if there is one.
    fn fault(&self) -> Result<(), Difference> {
        if let Some(refusal) = self.endpoint.received.refusal {
            return Err(format!(
                "{}: {refusal}; its request is {}",
                refusal.code(),
                shown(&self.seen)
            )
            .into());
        }
        match &self.endpoint.received.violation {
            // A client need not close as the recorded one did.
            Some(violation) if !self.rejects && !self.was_cut() => {
                Err(describe::violation(violation, None, &self.seen, &[]))
            }
            _ => Ok(()),
        }
    }

    /// Whether the recorded client broke the same rule, such as ending TCP without
    /// a close.
    fn was_cut(&self) -> bool {
        let violation = self.endpoint.received.violation.as_ref();
        let code = violation.map(|located| located.error.code());
        let server = self.vector.expect.server.as_ref();
        code.is_some() && server.and_then(|c| c.code.as_deref()) == code
    }

    fn missing(&self, want: Mark) -> String {
        let mark = self.endpoint.mark();
        let what = if want.open && !mark.open {
            "the handshake is not finished: the eight octets do not arrive".to_owned()
        } else if mark.messages < want.messages {
            format!("{} of {} messages arrived", mark.messages, want.messages)
        } else {
            "the client sends no close".to_owned()
        };
        let octets = counted(self.octets, "octet");
        match self.ended {
            Some(ended) => format!("{what}; the client {ended} after {octets}"),
            None => format!(
                "{what} within {} ms (--timeout-ms), after {octets}",
                self.manner.timeout.as_millis()
            ),
        }
    }
}

/// How far the recorded conversation had come for the server after each move.
fn marks(moves: &[Move], spoken: Vec<String>, config: &Arc<Config>) -> Vec<Mark> {
    let server = Conn::server(Arc::clone(config));
    let mut endpoint = PassiveEndpoint::new(server, spoken);
    let each = moves.iter().map(|step| {
        if step.from == Side::Client {
            endpoint.receive(&step.octets, &mut |_: &mut [u8]| {});
        }
        endpoint.mark()
    });
    each.collect()
}

/// How many octets of the recorded server are its handshake.
fn opening(recorded: &[u8], model: &[u8]) -> usize {
    let head = head_len(recorded).unwrap_or(recorded.len());
    let body = model.len() - head_len(model).unwrap_or(model.len());
    let upgraded = recorded.get(9..12) == Some(b"101");
    let octets = if upgraded {
        head + body
    } else {
        recorded.len()
    };
    octets.min(recorded.len())
}

/// The recorded head as a response to the client's own request: a header that was
/// right for the recorded request gets the value that is right for this one.
fn response(recorded: &[u8], model: &[u8], ours: &[u8]) -> Vec<u8> {
    let line_of = |head: &[u8], name: &str| -> Option<Vec<u8>> {
        let lines = head.split_inclusive(|octet| *octet == b'\n');
        let mut own = lines.filter(|line| is_header(line, name));
        own.next().map(<[u8]>::to_vec)
    };
    let mut response = Vec::with_capacity(recorded.len());
    for line in recorded.split_inclusive(|octet| *octet == b'\n') {
        let bound = BOUND.iter().find(|name| is_header(line, name));
        let Some(name) = bound else {
            response.extend_from_slice(line);
            continue;
        };
        let value = |line: &[u8]| -> Vec<u8> {
            let colon = line.iter().position(|octet| *octet == b':');
            line.split_at(colon.unwrap_or(0)).1.trim_ascii().to_vec()
        };
        let was_right = line_of(model, name).is_some_and(|right| value(&right) == value(line))
            // A nonce is random, and our core unmasks with the one that it drew.
            || *name == "Sec-WebSocket-Nonce";
        if !was_right {
            response.extend_from_slice(line);
        } else if let Some(right) = line_of(ours, name) {
            let colon = line.iter().position(|octet| *octet == b':').unwrap_or(0);
            response.extend_from_slice(line.split_at(colon).0);
            let colon = right.iter().position(|octet| *octet == b':').unwrap_or(0);
            response.extend_from_slice(right.split_at(colon).1);
        }
    }
    response
}

fn is_header(line: &[u8], name: &str) -> bool {
    let own = line.split(|octet| *octet == b':').next();
    own.is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
}
