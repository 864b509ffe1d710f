//! Plays one case to a peer: sends its steps, compares what arrives, closes as the
//! case says, and judges (Autobahn|Testsuite's rules, verdict for verdict).

use std::time::Instant;

use super::case::{
    AtDeadline, Case, CaseContent, CaseEvent, CaseMessage, CaseStep, CloseEnd, Closing, EventKind,
    Outcome,
};
use super::clock::{Clock, Due, Stage};
use super::judge::Refused;
use super::opening;
use super::options::PlayOptions;
use super::player::{Player, State};
use super::result::{Behavior, CaseResult};
use crate::conn::Conn;
use crate::frame::NORMAL;
use crate::net::Url;
use crate::net::dial::{DialError, DialTarget};
use crate::net::replay::{Faults, ReplayConnection, ReplayEvent};
use crate::vector::{Difference, MessageKind, StreamEnd};
use crate::version::Side;

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
    let mut result = play_once(case, target, url, options)?;
    if case.close.serves_on && result.behavior == Behavior::Ok {
        let second = match play_once(&second(case), target, url, options) {
            Ok(second) if second.behavior == Behavior::Ok => None,
            Ok(second) => Some(second.difference.map_or_else(String::new, |d| d.what)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = second {
            let what = format!("the server no longer echoes on a second connection: {why}");
            result.behavior = Behavior::Failed;
            result.broken = Some(case.level);
            result.section = case.section.clone();
            result.difference = Some(Difference::from(what).in_field("second connection"));
        }
    }
    Ok(result)
}

/// The case that shows that a server still serves: it echoes a text.
fn second(case: &Case) -> Case {
    let content = CaseContent {
        data: Some("Still there?".to_owned()),
        ..CaseContent::default()
    };
    let message = CaseMessage {
        kind: MessageKind::Text,
        content: content.clone(),
        fragment: None,
    };
    let echo = CaseEvent {
        kind: EventKind::Text,
        content,
        mark: None,
    };
    Case {
        handshake: None,
        compression: None,
        steps: vec![CaseStep {
            message: Some(message),
            ..CaseStep::default()
        }],
        outcomes: vec![Outcome {
            verdict: Behavior::Ok,
            events: vec![echo],
            ignore: Vec::new(),
            level: None,
            section: None,
        }],
        close: Closing {
            by: CloseEnd::Tester,
            codes: vec![NORMAL],
            automatic: true,
            silence_fails: false,
            serves_on: false,
            ..case.close.clone()
        },
        ..case.clone()
    }
}

fn play_once(
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

impl Player<'_> {
    fn play(mut self) -> CaseResult {
        // What is read and thrown away behind the end of our side.
        let mut thrown_away = 0;
        while self.link.state != State::Closed || self.lingers() && thrown_away <= self.most_octets
        {
            if self.options.is_stopped() {
                break;
            }
            self.send();
            let (at, due) = match self.due() {
                Some((at, due)) => (at, Some(due)),
                None => (Clock::far(), None),
            };
            let written = self.connection.written();
            self.clock.written(written);
            // While octets wait to be written, whether some were is looked at often; so is
            // whether to stop.
            let until = match self.connection.is_written() && self.options.stop.is_none() {
                true => at,
                false => at.min(Clock::soon()),
            };
            match self.connection.step(until) {
                ReplayEvent::Octets(octets) => {
                    self.clock.received(octets.len());
                    if self.link.state != State::Closed {
                        self.record.received(octets);
                        self.incoming.take(octets);
                        self.decode();
                    } else {
                        thrown_away += octets.len() as u64;
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

    /// When something is due next, and what.
    fn due(&self) -> Option<(Instant, Due)> {
        self.clock.due(match self.link.state {
            State::Opening if self.link.awaits_refusal => Stage::Refusal,
            State::Opening => Stage::Opening,
            State::Open => Stage::Open,
            State::Closing => Stage::Closing,
            State::Closed => Stage::Closed,
        })
    }

    fn on_due(&mut self, due: Option<Due>) {
        let is_limit = !matches!(due, None | Some(Due::Wait(_) | Due::Linger));
        self.link.closed.timed_out |= is_limit;
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
                if self.link.state == State::Open {
                    self.clock.closed_at_deadline();
                }
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
