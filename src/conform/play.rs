//! Plays one case to a peer: sends its steps, compares what arrives, closes as the
//! case says, and judges (Autobahn|Testsuite's rules, verdict for verdict).

use std::time::Instant;

use super::case::{AtDeadline, Case, CloseEnd, CloseStep};
use super::clock::{Clock, Due};
use super::expect::Expected;
use super::incoming::{Happened, Incoming};
use super::judge::{Facts, Refused};
use super::opening::{self, Answer};
use super::options::PlayOptions;
use super::record::Record;
use super::result::{CaseResult, HowClosed};
use super::sending::{Next, Sending};
use crate::bytes::Output;
use crate::conn::Conn;
use crate::error::{Located, Violation};
use crate::frame::{GOING_AWAY, NO_STATUS, NORMAL};
use crate::net::Url;
use crate::net::dial::{DialError, DialTarget};
use crate::net::replay::{Faults, ReplayConnection, ReplayEvent};
use crate::random::SystemRandom;
use crate::vector::{Difference, StreamEnd, shown};
use crate::version::{Closing, Side, Version};

/// Plays a case to the server at this URL, which is dialled as `target` says.
///
/// # Errors
///
/// Why there is no connection.
pub fn play_to_server(
    case: &Case,
    target: &DialTarget,
    url: &Url,
    options: &PlayOptions,
) -> Result<CaseResult, DialError> {
    let connection = ReplayConnection::connect(target, options.opening, Faults::default())?;
    let mut player = Player::new(case, Side::Client, connection, options);
    let config = opening::config(player.most_octets);
    match opening::request(case, url, options, &config, &mut player.answers) {
        Ok(conn) => player.conn = conn,
        Err(why) => player.facts.fail(Difference::from(format!(
            "the request cannot be written: {why}"
        ))),
    }
    player.link.awaits_refusal = case.handshake.as_ref().is_some_and(|own| own.refused);
    Ok(player.play())
}

/// Plays a case to the client at the other end of this connection, which has sent
/// these octets: its request, to the end of the head or further.
#[must_use]
pub fn play_to_client(
    case: &Case,
    connection: ReplayConnection,
    received: &[u8],
    options: &PlayOptions,
) -> CaseResult {
    let mut player = Player::new(case, Side::Server, connection, options);
    player.conn = Some(Conn::server(opening::config(player.most_octets)));
    player.record.received(received);
    player.incoming.take(received);
    player.decode();
    player.play()
}

/// Octets that any peer may send beyond what is expected.
const FLOOD: u64 = 4 * 1024 * 1024;
/// How many times what is expected a peer may send.
const FLOOD_FACTOR: u64 = 4;
/// Octets of a response that are looked at.
const MOST_HEAD: usize = 64 * 1024;

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    /// A close was sent, or received and replied to.
    Closing,
    /// Nothing more is read: the tester or the peer has ended TCP.
    Closed,
}

/// What the connection is in.
#[derive(Debug)]
struct Link {
    state: State,
    closed: HowClosed,
    /// The handshake is one that the peer must refuse.
    awaits_refusal: bool,
    /// The peer has broken a rule: frames are only walked over.
    is_broken: bool,
    /// The peer's close is to be replied to, once a frame may be sent.
    owes_reply: bool,
    /// Our side of TCP ends when all is written.
    ends: Option<StreamEnd>,
    /// Whether the peer has sent its close.
    behind_close: bool,
    /// Whether roundtrips were played.
    had_roundtrips: bool,
    /// Whether the peer has ended TCP.
    peer_ended: bool,
}

/// One case that is being played.
struct Player<'c> {
    case: &'c Case,
    options: &'c PlayOptions,
    side: Side,
    connection: ReplayConnection,
    conn: Option<Conn>,
    incoming: Incoming,
    sending: Sending<'c>,
    expected: Expected<'c>,
    /// Octets of the core that go out between two frames.
    answers: Vec<u8>,
    link: Link,
    clock: Clock,
    record: Record,
    facts: Facts,
    /// Octets that the peer may send.
    most_octets: u64,
    /// The octets that are sent next.
    outgoing: Vec<u8>,
}

impl<'c> Player<'c> {
    fn new(
        case: &'c Case,
        side: Side,
        connection: ReplayConnection,
        options: &'c PlayOptions,
    ) -> Player<'c> {
        let expected = Expected::of(case);
        let roundtrips = Sending::roundtrip_octets(case, options.full);
        let octets = expected.octets().saturating_add(roundtrips);
        let most_octets = octets.saturating_mul(FLOOD_FACTOR).saturating_add(FLOOD);
        Player {
            case,
            options,
            side,
            connection,
            conn: None,
            incoming: Incoming::default(),
            sending: Sending::new(case, options.full),
            expected,
            answers: Vec::new(),
            link: Link {
                state: State::Opening,
                closed: HowClosed::default(),
                awaits_refusal: false,
                is_broken: false,
                owes_reply: false,
                ends: None,
                behind_close: false,
                had_roundtrips: false,
                peer_ended: false,
            },
            clock: Clock::new(case, options, octets),
            record: Record::new(side, options.kept_octets),
            facts: Facts::default(),
            most_octets,
            outgoing: Vec::new(),
        }
    }

    fn play(mut self) -> CaseResult {
        while self.link.state != State::Closed || self.lingers() {
            self.send();
            let (at, due) = match self.due() {
                Some((at, due)) => (at, Some(due)),
                None => (Clock::far(), None),
            };
            let written = self.connection.written();
            // While octets wait to be written, whether some were is looked at often.
            let until = match self.connection.is_written() {
                true => at,
                false => at.min(Clock::soon()),
            };
            match self.connection.step(until) {
                ReplayEvent::Octets(octets) => {
                    self.clock.progress();
                    if self.link.state != State::Closed {
                        self.record.received(octets);
                        self.incoming.take(octets);
                        self.decode();
                    }
                }
                ReplayEvent::Fin => self.peer_ended(StreamEnd::Fin),
                ReplayEvent::Rst => self.peer_ended(StreamEnd::Rst),
                ReplayEvent::Written => self.clock.progress(),
                ReplayEvent::TimedOut => {
                    if self.connection.written() > written {
                        self.clock.progress();
                    } else if Instant::now() >= at {
                        self.on_due(due);
                    }
                }
            }
        }
        self.result()
    }

    /// Whether the end of our side is still to reach the peer: what it has not read
    /// would be lost by a reset.
    fn lingers(&self) -> bool {
        !self.link.peer_ended && self.clock.lingers()
    }

    // Sending.

    /// Puts what comes next into the queue.
    fn send(&mut self) {
        while self.connection.is_written() {
            let mut octets = std::mem::take(&mut self.outgoing);
            octets.clear();
            if self.sending.is_between_frames() {
                self.reply_to_close();
                octets.append(&mut self.answers);
            }
            let goes_on = self.make(&mut octets);
            let is_empty = octets.is_empty();
            if !is_empty {
                self.record.sent(&octets);
                match self.sending.chop() {
                    Some(size) => self.connection.send_in_slices(&octets, size),
                    None => self.connection.send(&octets),
                }
            }
            self.outgoing = octets;
            let waits = self.sending.is_between_frames()
                && (!self.answers.is_empty() || self.link.owes_reply);
            if is_empty && !waits {
                if let Some(end) = self.link.ends.take() {
                    self.record.ended(true, end);
                    self.connection.end(end == StreamEnd::Rst);
                }
            }
            if !goes_on && !waits {
                break;
            }
        }
    }

    /// Makes the next octets of the steps; whether more comes at once.
    fn make(&mut self, octets: &mut Vec<u8>) -> bool {
        loop {
            let is_open = match self.link.state {
                State::Opening => false,
                State::Open | State::Closing => true,
                State::Closed => !self.sending.is_between_frames(),
            };
            if !is_open || self.clock.is_waiting() {
                return false;
            }
            let Some(conn) = &mut self.conn else {
                return false;
            };
            match self.sending.make(conn, octets) {
                Next::Octets => return true,
                Next::Closed(close) => self.close_step(close),
                Next::Roundtrip(message, offset) => {
                    self.link.had_roundtrips = true;
                    self.expected.expect_echo(message, offset);
                }
                Next::Wait(ms, mark) => {
                    self.clock.wait(ms, mark.map(str::to_owned));
                    self.close_when_met();
                    return false;
                }
                Next::End(end) => {
                    self.link.ends = Some(end);
                    return true;
                }
                Next::Awaits => return false,
                Next::Done => {
                    self.close_when_met();
                    return false;
                }
                Next::Impossible(why) => {
                    self.facts.fail(Difference::from(format!(
                        "a step of the case cannot be sent: {why}"
                    )));
                    self.sending.stop();
                    self.send_close(Some(NORMAL), "");
                    return false;
                }
            }
        }
    }

    /// The steps have written a close.
    fn close_step(&mut self, close: &CloseStep) {
        if self.link.state != State::Open {
            return;
        }
        let reason = super::payload::Payload::of(&close.reason, 0).unwrap_or_default();
        let reason = reason.next(125).escape_ascii().to_string();
        self.sent_close(close.code, reason);
    }

    /// Closes with this code, or without one.
    fn send_close(&mut self, code: Option<u16>, reason: &str) {
        if self.link.state != State::Open {
            return;
        }
        if let Some(conn) = &mut self.conn {
            let mut random = SystemRandom;
            let mut out = Output::new(&mut self.answers, &mut random);
            conn.close(code.unwrap_or(NO_STATUS), reason, &mut out);
        }
        self.sent_close(code, reason.to_owned());
    }

    fn sent_close(&mut self, code: Option<u16>, reason: String) {
        self.link.state = State::Closing;
        self.link.closed.by_tester = true;
        self.link.closed.local_code = code;
        self.link.closed.local_reason = Some(reason).filter(|reason| !reason.is_empty());
        self.clock.await_reply();
        // Versions that close by the end of TCP.
        if self.conn.as_ref().is_some_and(Conn::has_sent_all) {
            self.link.ends = Some(StreamEnd::Fin);
        }
    }

    /// Replies to the peer's close, where that is due.
    fn reply_to_close(&mut self) {
        if !std::mem::take(&mut self.link.owes_reply) {
            return;
        }
        if let Some(conn) = &mut self.conn {
            let mut random = SystemRandom;
            let mut out = Output::new(&mut self.answers, &mut random);
            conn.close(NORMAL, "", &mut out);
            if self.side == Side::Server || is_hixie(conn.version()) {
                self.link.ends = Some(StreamEnd::Fin);
            }
        }
    }

    /// Closes where all that is expected has been received.
    fn close_when_met(&mut self) {
        let closing = &self.case.close;
        let is_by_peer = closing.by == CloseEnd::Peer;
        if self.link.state != State::Open || !closing.automatic || is_by_peer {
            return;
        }
        let code = closing.codes.first().copied().or(Some(NORMAL));
        let any = self.expected.has_received() || self.link.had_roundtrips;
        // The original closes where all outcomes are met.
        let is_met = match closing.by {
            CloseEnd::Either => self.expected.is_settled(),
            CloseEnd::Tester | CloseEnd::Peer => self.expected.meets_all(),
        };
        let is_met = any && self.sending.pauses() && is_met;
        // The original ends its long cases at the first wrong echo.
        let is_lost = self.clock.is_patient() && self.expected.is_lost();
        if is_met || is_lost {
            self.sending.stop();
            self.send_close(code, "");
        }
    }

    /// Fails the connection (RFC 6455 section 7.1.7).
    fn fail(&mut self) {
        self.link.closed.failed_by_tester = true;
        self.sending.stop();
        match self.link.state {
            State::Open => self.send_close(Some(GOING_AWAY), "Going Away"),
            State::Closing => self.drop_connection(),
            State::Opening | State::Closed => {}
        }
    }

    /// Ends TCP.
    fn drop_connection(&mut self) {
        if self.link.state == State::Closed {
            return;
        }
        self.link.state = State::Closed;
        self.link.closed.dropped_by_tester = true;
        self.incoming.forget();
    }

    // Receiving.

    /// Decodes what has arrived.
    fn decode(&mut self) {
        let received = self.record.octets().0;
        let payload = self.incoming.payload_octets();
        if received.max(payload) > self.most_octets {
            return self.flooded();
        }
        if self.link.awaits_refusal {
            return self.look_for_refusal();
        }
        if let Some(distance) = self.incoming.take_exceeded() {
            let what = format!(
                "a compressed message refers {distance} octets back, beyond the agreed window"
            );
            self.facts.fail(Difference::from(what).in_field("window"));
        }
        loop {
            if self.link.state == State::Closed {
                return;
            }
            if self.link.behind_close {
                return self.look_behind_close();
            }
            if self.link.is_broken {
                self.incoming.forget();
                return self.walk();
            }
            let Some(conn) = &mut self.conn else {
                return;
            };
            let happened =
                self.incoming
                    .next(conn, self.case, &mut self.expected, &mut self.answers);
            match happened {
                Happened::Waits => return,
                Happened::Other | Happened::Piece(false) => {
                    if self.incoming.payload_octets() > self.most_octets {
                        return self.flooded();
                    }
                }
                Happened::Request(answer, version) => self.answer(&answer, version),
                Happened::Refused(why) => self.refused_request(&why),
                Happened::Open => self.opened(),
                Happened::Piece(true) => {
                    if !self.expected.awaits_echo() {
                        self.sending.on_echo();
                    }
                    self.close_when_met();
                }
                Happened::Ping(payload) => {
                    self.pong(&payload);
                    self.close_when_met();
                }
                Happened::Pong => self.close_when_met(),
                Happened::Close(code, reason) => {
                    self.link.closed.remote_code = code;
                    let reason = shown(reason.as_bytes(), 200);
                    self.link.closed.remote_reason = Some(reason).filter(|r| r.len() > 2);
                    self.close_received();
                }
                Happened::Violation(located) => self.violated(&located),
            }
        }
    }

    fn answer(&mut self, answer: &Answer, version: &'static Version) {
        let Some(conn) = &mut self.conn else {
            return;
        };
        if let Err(why) = answer.write(conn, &mut self.answers) {
            self.facts.fail(Difference::from(format!(
                "the response to the client cannot be written: {why}"
            )));
            return self.drop_connection();
        }
        conn.set_manual_control();
        if version.name != self.case.version {
            self.facts.lacks(format!(
                "the client speaks {}, and the case is of {}",
                version.name, self.case.version
            ));
        }
        conn.read_compressed(answer.agreed());
        self.link.awaits_refusal = self.case.handshake.as_ref().is_some_and(|own| own.refused);
        if self.link.awaits_refusal {
            self.incoming.forget();
        }
    }

    fn refused_request(&mut self, why: &str) {
        let what = format!("the client's request is not one of WebSocket: {why}");
        self.facts.fail(Difference::from(what).in_field("request"));
        self.link.ends = Some(StreamEnd::Fin);
        self.drop_connection();
        self.clock.linger();
    }

    fn opened(&mut self) {
        self.link.closed.was_open = true;
        self.link.state = State::Open;
        self.clock.opened();
        let Some(conn) = &mut self.conn else {
            return;
        };
        conn.set_manual_control();
        let lacks_compression = self.case.compression.is_some() && conn.compression().is_none();
        if lacks_compression {
            let whom = match self.side {
                Side::Client => "the server does not agree to the compression that is offered",
                Side::Server => "the client offers no compression that the case can agree to",
            };
            self.facts.lacks(whom.to_owned());
        }
        if self.facts.is_lacking() {
            self.sending.stop();
            self.send_close(Some(NORMAL), "");
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        if self.link.state != State::Open {
            return;
        }
        if let Some(conn) = &mut self.conn {
            let mut random = SystemRandom;
            let mut out = Output::new(&mut self.answers, &mut random);
            // Versions without pings have sent none.
            let _ = conn.pong(payload, &mut out);
        }
    }

    /// The peer's close has arrived.
    fn close_received(&mut self) {
        self.link.behind_close = true;
        self.sending.stop();
        self.clock.end_wait();
        match self.link.state {
            State::Open => {
                self.link.state = State::Closing;
                self.link.closed.clean = true;
                self.link.closed.local_code = Some(NORMAL);
                self.link.owes_reply = true;
                if self.side == Side::Server {
                    // Our reply is the last that is sent.
                    self.drop_connection();
                    self.clock.linger();
                } else {
                    self.clock.await_end(false);
                }
            }
            State::Closing => {
                self.link.closed.clean = true;
                if self.side == Side::Server {
                    self.link.ends = Some(StreamEnd::Fin);
                    self.drop_connection();
                    self.clock.linger();
                } else {
                    self.clock.await_end(true);
                }
            }
            State::Opening | State::Closed => {}
        }
    }

    /// The peer has broken a rule: the connection is failed, and a close of the peer
    /// is still looked for.
    fn violated(&mut self, located: &Located<Violation>) {
        let (error, at) = (located.error, located.at.start);
        if self.link.state == State::Opening {
            let what = match error {
                Violation::ResponseStatus { status } => Difference::from(format!(
                    "the server refuses the upgrade with HTTP status {status}"
                ))
                .between("101", status.to_string()),
                _ => Difference::from(format!(
                    "the opening handshake is wrong at octet {at} of what the server sends: {error}"
                )),
            };
            self.facts.fail(what.at(at).in_field(match error {
                Violation::ResponseStatus { .. } => "status",
                _ => error.code(),
            }));
            self.link.closed.not_clean = Some("the opening handshake was not finished".to_owned());
            return self.drop_connection();
        }
        let what = format!("the peer breaks a rule at octet {at} of what it sends: {error}");
        self.facts
            .violated(Difference::from(what).at(at).in_field(error.code()));
        self.link.is_broken = true;
        self.link.closed.failed_by_tester = true;
        self.sending.stop();
        self.clock.end_wait();
        match self.link.state {
            // The core has written the close.
            State::Open => self.sent_close(error.close_code(), error.code().to_owned()),
            State::Closing => self.drop_connection(),
            State::Opening | State::Closed => {}
        }
        if let (Violation::CloseCodeInvalid { code }, None) = (error, self.link.closed.remote_code)
        {
            self.link.closed.remote_code = Some(code);
        }
        if matches!(error, Violation::CloseReasonUtf8) {
            // The original breaks off where a reason cannot be read.
            self.take_walked_close();
            self.link.state = State::Closed;
        } else {
            self.walk();
        }
    }

    fn take_walked_close(&mut self) -> Option<super::frames::SeenClose> {
        let close = self.incoming.take_close()?;
        self.link.closed.remote_code = close.code().or(self.link.closed.remote_code);
        let reason = shown(close.reason(), 200);
        self.link.closed.remote_reason = Some(reason).filter(|r| r.len() > 2);
        Some(close)
    }

    /// Nothing but the end of TCP follows a close. Pings do no harm.
    fn look_behind_close(&mut self) {
        let opcode = self.incoming.opcode_behind_close();
        if let Some(opcode @ (0..=2 | 10)) = opcode.filter(|_| !self.link.is_broken) {
            let what = format!("the peer sends a frame of opcode {opcode} behind its close");
            self.facts
                .fail(Difference::from(what).in_field("behind the close"));
        }
        self.incoming.forget();
    }

    /// Behind a frame that broke a rule: the peer's close, where it has arrived.
    fn walk(&mut self) {
        let Some(close) = self.take_walked_close() else {
            return;
        };
        if !close.is_masked_right(self.side.peer()) {
            self.drop_connection();
        } else {
            self.close_received();
        }
    }

    /// What the peer sends in place of refusing, or how it refuses.
    fn look_for_refusal(&mut self) {
        let octets = self.incoming.unparsed();
        if octets.is_empty() {
            return;
        }
        let refused = match self.side {
            Side::Client => {
                let is_whole = octets.windows(4).any(|four| four == b"\r\n\r\n");
                if !is_whole && octets.len() < MOST_HEAD {
                    return;
                }
                self.facts.refusal = octets.get(..MOST_HEAD).unwrap_or(octets).to_vec();
                opening::status(octets).map_or(Refused::NoHttp, Refused::Status)
            }
            Side::Server => Refused::Octets(octets.first().map_or(0, |first| first & 15)),
        };
        self.facts.refused = Some(refused);
        self.drop_connection();
    }

    fn flooded(&mut self) {
        let expected = self.most_octets;
        self.facts.fail(
            Difference::from(format!(
                "the peer sends far more than it should: more than {expected} octets"
            ))
            .in_field("length"),
        );
        self.link.closed.not_clean = Some("the peer sends far more than it should".to_owned());
        self.link.closed.clean = false;
        self.drop_connection();
    }

    /// The peer has ended TCP.
    fn peer_ended(&mut self, how: StreamEnd) {
        if self.link.peer_ended {
            return;
        }
        self.link.peer_ended = true;
        self.record.ended(false, how);
        self.clock.end_linger();
        self.link.ends = None;
        if self.link.state == State::Closed {
            return;
        }
        if self.link.awaits_refusal && self.facts.refused.is_none() {
            let octets = self.incoming.unparsed();
            let status = opening::status(octets).filter(|_| self.side == Side::Client);
            self.facts.refused = Some(match status {
                Some(status) => Refused::Status(status),
                None if octets.is_empty() => Refused::Ended,
                None => Refused::NoHttp,
            });
            self.facts.refusal = octets.get(..MOST_HEAD).unwrap_or(octets).to_vec();
        }
        let how = match how {
            StreamEnd::Fin => "ended TCP",
            StreamEnd::Rst => "reset TCP",
        };
        if self.link.state == State::Opening {
            let what = format!("the peer {how} before the opening handshake was finished");
            self.facts.fail(Difference::from(what));
        } else if let Some(conn) = &mut self.conn {
            if is_hixie(conn.version()) && self.incoming.end(conn) {
                self.link.closed.clean = true;
            }
        }
        if !self.link.closed.clean {
            self.link.closed.not_clean =
                Some(format!("the peer {how} without a closing handshake"));
        }
        self.link.state = State::Closed;
    }

    // Time.

    /// When something is due next, and what.
    fn due(&self) -> Option<(Instant, Due)> {
        self.clock.due(match self.link.state {
            State::Opening if self.link.awaits_refusal => super::clock::Stage::Refusal,
            State::Opening => super::clock::Stage::Opening,
            State::Open => super::clock::Stage::Open,
            State::Closing => super::clock::Stage::Closing,
            State::Closed => super::clock::Stage::Closed,
        })
    }

    fn on_due(&mut self, due: Option<Due>) {
        match due {
            None => {}
            Some(Due::Wait(mark)) => {
                self.clock.end_wait();
                if let (Some(mark), State::Open) = (mark, self.link.state) {
                    self.expected.mark(&mark);
                }
            }
            Some(Due::Opening | Due::Cap) if self.link.state == State::Opening => {
                if self.link.awaits_refusal {
                    self.facts.refused = Some(Refused::Hangs);
                }
                self.facts.fail(Difference::from(
                    "the peer did not finish the opening handshake in time".to_owned(),
                ));
                self.link.closed.not_clean =
                    Some("the peer did not finish the opening handshake in time".to_owned());
                self.drop_connection();
            }
            Some(Due::Opening) => {}
            Some(due @ (Due::Deadline | Due::Cap)) => {
                if due == Due::Cap {
                    self.clock.extend();
                }
                self.facts.deadline_passed();
                match (self.case.at_deadline, self.link.state) {
                    (AtDeadline::Close, State::Open) => {
                        self.sending.stop();
                        self.send_close(None, "");
                    }
                    _ => self.fail(),
                }
            }
            Some(Due::Reply) => {
                self.not_clean("the peer did not reply to the close in time");
            }
            Some(Due::EndBehindReply) => {
                self.not_clean("the server did not end TCP in time, after both closes");
            }
            Some(Due::End) => self.drop_connection(),
            Some(Due::Linger) => self.clock.end_linger(),
        }
    }

    fn not_clean(&mut self, why: &str) {
        self.link.closed.clean = false;
        self.link.closed.not_clean = Some(why.to_owned());
        self.drop_connection();
    }

    fn result(self) -> CaseResult {
        let closed = self.link.closed;
        let judged = self
            .facts
            .judge(self.case, self.side, &self.expected, closed);
        let octets = self.record.octets();
        let kept = if judged.is_passed() {
            self.options.kept_of_passed
        } else {
            self.options.kept_octets
        };
        let conversation = self.record.into_steps(kept);
        judged.into_result(conversation, octets, self.clock.elapsed())
    }
}

/// Whether this version closes by the end of TCP, or may.
fn is_hixie(version: Option<&Version>) -> bool {
    version.is_some_and(|v| matches!(v.closing, Closing::Hixie75 | Closing::Hixie76))
}
