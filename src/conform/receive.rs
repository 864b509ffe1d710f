//! Receives what the peer sends, and notes what it does.

use super::case::{AtDeadline, EventKind};
use super::incoming::Happened;
use super::judge::Refused;
use super::opening::{self, Answer};
use super::player::{Player, State, is_hixie};
use crate::bytes::Output;
use crate::error::{Located, Violation};
use crate::frame::NORMAL;
use crate::random::SystemRandom;
use crate::vector::{Difference, StreamEnd, shown};
use crate::version::{Side, Version};

/// Octets of a response that are looked at.
const MOST_HEAD: usize = 64 * 1024;
/// Pings and pongs that a peer may send: several times what any case asks for. They
/// are short, so a limit of octets comes late.
const MOST_CONTROLS: u32 = 50_000;

impl Player<'_> {
    /// Decodes what has arrived.
    pub(super) fn decode(&mut self) {
        let received = self.record.octets().0;
        let payload = self.incoming.payload_octets();
        if received.max(payload) > self.most_octets {
            return self.flooded_by_octets();
        }
        if self.link.awaits_refusal {
            return self.look_for_refusal();
        }
        if let Some(exceeded) = self.incoming.take_exceeded() {
            let what = exceeded.to_string();
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
                // The original does not find the end of a text that is not UTF-8, and
                // breaks off at what follows.
                return match self.link.is_text_broken {
                    true => self.drop_connection(),
                    false => self.walk(),
                };
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
                        return self.flooded_by_octets();
                    }
                }
                Happened::Request(answer, version) => self.answer(&answer, version),
                Happened::Refused(why) => self.refused_request(&why),
                Happened::Open => self.opened(),
                Happened::Piece(true) => {
                    if !self.expected.awaits_echo() {
                        self.sending.on_echo();
                        self.clock.echoed();
                    }
                    self.close_when_met();
                }
                Happened::Ping(payload) => {
                    self.pong(&payload);
                    self.control_received();
                }
                Happened::Pong => self.control_received(),
                Happened::Close(code, reason) => {
                    self.link.closed.remote_code = code;
                    let reason = shown(reason.as_bytes(), 200);
                    self.link.closed.remote_reason = Some(reason).filter(|r| r.len() > 2);
                    self.close_received();
                }
                Happened::Violation(located) => return self.violated(&located),
            }
        }
    }

    /// A ping or pong has arrived.
    fn control_received(&mut self) {
        self.link.controls += 1;
        if self.link.controls > MOST_CONTROLS {
            return self.flooded(&format!("{MOST_CONTROLS} pings and pongs"));
        }
        self.close_when_met();
    }

    pub(super) fn answer(&mut self, answer: &Answer, version: &'static Version) {
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

    pub(super) fn refused_request(&mut self, why: &str) {
        let what = format!("the client's request is not one of WebSocket: {why}");
        self.facts.fail(Difference::from(what).in_field("request"));
        self.link.ends = Some(StreamEnd::Fin);
        self.drop_connection();
        self.clock.linger();
    }

    pub(super) fn opened(&mut self) {
        self.link.closed.was_open = true;
        self.link.state = State::Open;
        self.clock.opened();
        let Some(conn) = &mut self.conn else {
            return;
        };
        conn.set_manual_control();
        let lacks_compression = self.case.compression.is_some() && conn.compression().is_none();
        if lacks_compression {
            let lacking = match self.side {
                Side::Client => "the server does not agree to the compression that is offered",
                Side::Server => "the client offers no compression that the case can agree to",
            };
            self.facts.lacks(lacking.to_owned());
        }
        if self.facts.is_lacking() {
            self.sending.stop();
            self.send_close(Some(NORMAL), "");
        }
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
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
    pub(super) fn close_received(&mut self) {
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
                    self.clock.await_end(false, false);
                }
            }
            State::Closing => {
                self.link.closed.clean = true;
                if self.side == Side::Server {
                    self.link.ends = Some(StreamEnd::Fin);
                    self.drop_connection();
                    self.clock.linger();
                } else {
                    let fails = self.case.at_deadline == AtDeadline::Fail;
                    self.clock.await_end(true, fails);
                }
            }
            State::Opening | State::Closed => {}
        }
    }

    /// The peer has broken a rule: the connection is failed, and a close of the peer
    /// is still looked for.
    pub(super) fn violated(&mut self, located: &Located<Violation>) {
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
            State::Closing => {
                self.drop_connection();
                let is_of_close = matches!(
                    error,
                    Violation::CloseCodeInvalid { .. } | Violation::CloseReasonUtf8
                );
                if !is_of_close {
                    // The original reads nothing behind a header that is wrong here.
                    self.incoming.forget();
                    return;
                }
            }
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
        } else if matches!(error, Violation::MaskMissing | Violation::MaskUnexpected) {
            // The frame itself still counts; it is a pong, or the close.
            if let Some((pong, _)) = self.incoming.take_pong() {
                self.expected.control(EventKind::Pong, &pong);
            }
            self.walk();
        } else if matches!(error, Violation::Utf8Invalid) {
            self.link.is_text_broken = true;
        } else {
            self.walk();
        }
    }

    pub(super) fn take_walked_close(&mut self) -> Option<super::frames::SeenClose> {
        let close = self.incoming.take_close()?;
        self.link.closed.remote_code = close.code().or(self.link.closed.remote_code);
        let reason = shown(close.reason(), 200);
        self.link.closed.remote_reason = Some(reason).filter(|r| r.len() > 2);
        Some(close)
    }

    /// Nothing but the end of TCP follows a close. Pings do no harm.
    pub(super) fn look_behind_close(&mut self) {
        let opcode = self.incoming.walk_behind_close();
        if let Some(opcode) = opcode.filter(|_| !self.link.is_broken) {
            let what = format!("the peer sends a frame of opcode {opcode} behind its close");
            self.facts
                .fail(Difference::from(what).in_field("behind the close"));
        }
    }

    /// Behind a frame that broke a rule: the peer's close, where it has arrived.
    pub(super) fn walk(&mut self) {
        // The original goes on to note pongs.
        while let Some((pong, masked)) = self.incoming.take_pong() {
            if masked != (self.side == Side::Server) {
                return self.drop_connection();
            }
            self.expected.control(EventKind::Pong, &pong);
        }
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
    pub(super) fn look_for_refusal(&mut self) {
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
                opening::response_status(octets).map_or(Refused::NoHttp, Refused::Status)
            }
            Side::Server => Refused::Octets(octets.first().map_or(0, |first| first & 15)),
        };
        self.facts.refused = Some(refused);
        self.drop_connection();
    }

    fn flooded_by_octets(&mut self) {
        self.flooded(&format!("{} octets", self.most_octets));
    }

    /// The peer has sent more than so much.
    fn flooded(&mut self, most: &str) {
        self.facts.fail(
            Difference::from(format!(
                "the peer sends far more than it should: more than {most}"
            ))
            .in_field("length"),
        );
        self.link.closed.not_clean = Some("the peer sends far more than it should".to_owned());
        self.link.closed.clean = false;
        self.drop_connection();
    }

    /// The peer has ended TCP.
    pub(super) fn peer_ended(&mut self, how: StreamEnd) {
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
            let status = opening::response_status(octets).filter(|_| self.side == Side::Client);
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
}
