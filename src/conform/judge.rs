//! The verdicts on a case that was played, by the rules of the original.

use std::time::Duration;

use super::case::{Case, CloseEnd, Closing};
use super::expect::Expected;
use super::result::{Behavior, CaseResult, ClosingVerdict, HowClosed};
use crate::frame::NORMAL;
use crate::vector::{Difference, Level, Step};
use crate::version::Side;

/// How a peer answered to a handshake that it must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A server, by this status.
    Status(u16),
    /// A server, by something that is no HTTP.
    NoHttp,
    /// By the end of TCP.
    Ended,
    /// A client did not: it sent octets, the first a frame of this opcode.
    Octets(u8),
    /// It did nothing.
    Hangs,
}

/// What was found while a case was played.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Why the case has failed whatever was received.
    failure: Option<Difference>,
    /// The rule that the peer broke first.
    violation: Option<Difference>,
    /// What the peer does not have.
    lacking: Option<String>,
    /// How it answered to a handshake that it must refuse.
    pub(super) refused: Option<Refused>,
    /// The head by which a server did.
    pub(super) refusal: Vec<u8>,
    /// Whether the tester ended the conversation because it took too long.
    deadline: bool,
}

/// What was wrong, and how bad that is.
#[derive(Debug)]
struct Broken {
    level: Level,
    section: String,
}

/// The verdicts.
#[derive(Debug)]
pub(super) struct Judged {
    behavior: Behavior,
    closing: ClosingVerdict,
    broken: Vec<Broken>,
    difference: Option<Difference>,
    closing_difference: Option<Difference>,
    closed: HowClosed,
    /// The section of the case.
    section: String,
}

impl Facts {
    /// The case has failed, whatever was received. The first reason counts.
    pub(super) fn fail(&mut self, difference: Difference) {
        self.failure.get_or_insert(difference);
    }

    /// The peer has broken a rule.
    pub(super) fn violated(&mut self, difference: Difference) {
        self.violation.get_or_insert(difference);
    }

    /// The peer does not have this.
    pub(super) fn lacks(&mut self, what: String) {
        self.lacking.get_or_insert(what);
    }

    pub(super) fn is_lacking(&self) -> bool {
        self.lacking.is_some()
    }

    /// The tester ends the conversation because it took too long.
    pub(super) fn deadline_passed(&mut self) {
        self.deadline = true;
    }

    pub(super) fn judge(
        self,
        case: &Case,
        side: Side,
        expected: &Expected<'_>,
        closed: HowClosed,
    ) -> Judged {
        if case.handshake.as_ref().is_some_and(|own| own.refused) {
            return self.judge_refusal(case, closed);
        }
        let (mut behavior, mut difference, mut broken) = self.judge_received(case, expected);
        let (mut closing, mut closing_difference) = match &self.lacking {
            // The tester has closed, for there is nothing to test.
            Some(_) => {
                let by_tester = Closing {
                    by: CloseEnd::Tester,
                    codes: vec![NORMAL],
                    ..case.close.clone()
                };
                judge_closing(&by_tester, side, &closed)
            }
            None => judge_closing(&case.close, side, &closed),
        };
        let wrong_end = closed.was_open && is_wrong_end(case.close.by, &closed);
        let fatal = case.close.wrong_end_fails && wrong_end
            || case.close.wrong_code_fails && closing == ClosingVerdict::WrongCode;
        if fatal {
            // A wrong code breaks what the case says of codes, which is pushed below.
            if behavior != Behavior::Failed && closing != ClosingVerdict::WrongCode {
                broken.push(failed(case));
            }
            behavior = Behavior::Failed;
            difference = difference.or_else(|| closing_difference.clone());
        }
        if case.informational {
            (behavior, closing) = (Behavior::Informational, ClosingVerdict::Informational);
            broken.clear();
        } else if let Some(level) = level_of_closing(case, closing) {
            let section = match closing {
                ClosingVerdict::FailedByClient if case.version == "rfc6455" => {
                    "RFC 6455 section 7.1.1"
                }
                ClosingVerdict::FailedByClient => &case.section,
                _ => case.close.section.as_deref().unwrap_or(&case.section),
            };
            let section = section.to_owned();
            broken.push(Broken { level, section });
        } else {
            closing_difference = None;
        }
        Judged {
            behavior,
            closing,
            broken,
            difference,
            closing_difference,
            closed,
            section: case.section.clone(),
        }
    }

    fn judge_received(
        &self,
        case: &Case,
        expected: &Expected<'_>,
    ) -> (Behavior, Option<Difference>, Vec<Broken>) {
        if let Some(why) = self.lacking.as_ref().filter(|_| self.failure.is_none()) {
            let difference = Difference::from(why.clone());
            return (Behavior::Unimplemented, Some(difference), Vec::new());
        }
        if let Some(failure) = &self.failure {
            return (Behavior::Failed, Some(failure.clone()), vec![failed(case)]);
        }
        let met = expected.met().and_then(|met| case.outcomes.get(met));
        let hangs = self.deadline && case.close.silence_fails;
        let met = met.filter(|outcome| !hangs || !outcome.events.is_empty());
        match met {
            Some(outcome) if outcome.verdict == Behavior::Ok => (Behavior::Ok, None, Vec::new()),
            Some(outcome) => {
                let broken = Broken {
                    level: outcome.level.unwrap_or(Level::Should),
                    section: outcome.section.as_ref().unwrap_or(&case.section).clone(),
                };
                (outcome.verdict, expected.difference(), vec![broken])
            }
            None => {
                let mut difference = self.violation.clone().or_else(|| expected.difference());
                if hangs {
                    let what = "the peer neither answers nor closes";
                    difference.get_or_insert_with(|| Difference::from(what.to_owned()));
                }
                if let (true, Some(difference)) = (self.deadline, &mut difference) {
                    difference
                        .what
                        .push_str("; the tester ended the conversation at the deadline");
                }
                (Behavior::Failed, difference, vec![failed(case)])
            }
        }
    }

    /// The first header that the refusal must have and has not.
    fn missing<'c>(&self, case: &'c Case) -> Option<&'c String> {
        let head = String::from_utf8_lossy(&self.refusal);
        let has = |name: &str| {
            let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
            lines.any(|(n, _)| n.trim().eq_ignore_ascii_case(name))
        };
        let names = &case.handshake.as_ref()?.headers;
        names.iter().find(|name| !has(name))
    }

    fn judge_refusal(self, case: &Case, closed: HowClosed) -> Judged {
        let statuses = case.handshake.as_ref().map(|own| own.statuses.as_slice());
        let statuses = statuses.unwrap_or_default();
        let is_right = |status: u16| match statuses {
            [] => (400..600).contains(&status),
            statuses => statuses.contains(&status),
        };
        let wanted = match statuses {
            [] => "a status from 400 to 599".to_owned(),
            statuses => {
                let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
                format!("the status {}", statuses.join(" or "))
            }
        };
        let is_client = case
            .handshake
            .as_ref()
            .is_some_and(|own| own.response.is_some());
        let wrong = |what: String, seen: String| {
            let wanted = if is_client { "the end of TCP" } else { &wanted };
            let difference = Difference::from(what).in_field("handshake");
            Some(difference.between(wanted, seen))
        };
        let (behavior, difference) = match self.refused {
            Some(Refused::Status(status)) if is_right(status) => match self.missing(case) {
                None => (Behavior::Ok, None),
                Some(name) => {
                    let what = format!("the refusal has no header {name}");
                    let difference = Difference::from(what).in_field("handshake");
                    let wanted = format!("the header {name}");
                    (
                        Behavior::Failed,
                        Some(difference.between(wanted, "no such header")),
                    )
                }
            },
            Some(Refused::Ended) if is_client => (Behavior::Ok, None),
            Some(Refused::Status(101)) => {
                let what = "the server accepts a request that it must refuse".to_owned();
                (Behavior::Failed, wrong(what, "101".to_owned()))
            }
            Some(Refused::Status(status)) => {
                let what = format!(
                    "the server refuses the request with HTTP status {status}, and not with {wanted}"
                );
                (Behavior::Failed, wrong(what, status.to_string()))
            }
            Some(Refused::NoHttp) => {
                let what = "the server answers with something that is no HTTP".to_owned();
                (Behavior::Failed, wrong(what, "no HTTP".to_owned()))
            }
            Some(Refused::Ended) => {
                let what = "the server ends TCP without an answer".to_owned();
                (
                    Behavior::NonStrict,
                    wrong(what, "the end of TCP".to_owned()),
                )
            }
            // A close tells what is wrong, although no connection was open.
            Some(Refused::Octets(8)) => {
                let what = "the client sends a close on a connection that was never open";
                (
                    Behavior::NonStrict,
                    wrong(what.to_owned(), "a close".to_owned()),
                )
            }
            Some(Refused::Octets(_)) => {
                let what = "the client accepts a response that it must refuse".to_owned();
                (Behavior::Failed, wrong(what, "a frame".to_owned()))
            }
            Some(Refused::Hangs) | None => {
                let what = "the peer does not refuse the handshake in time".to_owned();
                (
                    Behavior::Failed,
                    self.failure.or(wrong(what, "nothing".to_owned())),
                )
            }
        };
        let broken = match behavior {
            Behavior::Ok => Vec::new(),
            Behavior::NonStrict => vec![Broken {
                level: Level::Should,
                section: case.section.clone(),
            }],
            _ => vec![failed(case)],
        };
        let closing = match behavior {
            Behavior::Failed => ClosingVerdict::Failed,
            _ => ClosingVerdict::Ok,
        };
        Judged {
            behavior,
            closing,
            broken,
            difference,
            closing_difference: None,
            closed,
            section: case.section.clone(),
        }
    }
}

fn failed(case: &Case) -> Broken {
    Broken {
        level: case.level,
        section: case.section.clone(),
    }
}

fn is_wrong_end(by: CloseEnd, closed: &HowClosed) -> bool {
    match by {
        CloseEnd::Tester => !closed.by_tester,
        CloseEnd::Peer => closed.by_tester,
        CloseEnd::Either => false,
    }
}

/// The level of what is broken in the closing.
fn level_of_closing(case: &Case, closing: ClosingVerdict) -> Option<Level> {
    match closing {
        ClosingVerdict::Ok | ClosingVerdict::Informational => None,
        ClosingVerdict::FailedByClient => Some(Level::Should),
        ClosingVerdict::Failed | ClosingVerdict::Unclean => {
            Some(case.close.level.unwrap_or(case.level))
        }
        ClosingVerdict::WrongCode => {
            let level = case.close.code_level.or(case.close.level);
            Some(level.unwrap_or(case.level))
        }
    }
}

fn judge_closing(
    wanted: &Closing,
    side: Side,
    closed: &HowClosed,
) -> (ClosingVerdict, Option<Difference>) {
    let codes = &wanted.codes;
    if !closed.was_open {
        let what = "the opening handshake was not finished".to_owned();
        return (ClosingVerdict::Failed, Some(Difference::from(what)));
    }
    if is_wrong_end(wanted.by, closed) {
        let (right, seen) = match closed.by_tester {
            true => ("the peer", "the tester"),
            false => ("the tester", "the peer"),
        };
        let why = if closed.failed_by_tester {
            ", because the peer broke a rule or the deadline had passed"
        } else {
            ""
        };
        let what = format!("{right} was to close the connection, but {seen} did{why}");
        let difference = Difference::from(what).in_field("closed by");
        return (
            ClosingVerdict::Failed,
            Some(difference.between(right, seen)),
        );
    }
    if wanted.clean && !closed.clean {
        let why = closed.not_clean.as_deref().unwrap_or("it was broken off");
        let what = format!("the closing handshake was not finished: {why}");
        let difference = Difference::from(what).in_field("clean");
        return (
            ClosingVerdict::Unclean,
            Some(difference.between("true", "false")),
        );
    }
    let is_wrong = |code: &u16| !codes.is_empty() && !codes.contains(code);
    if let Some(code) = closed.remote_code.filter(is_wrong) {
        let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
        let wanted = format!("{} or no code", codes.join(", "));
        let what = format!("the peer closes with code {code}, and not with {wanted}");
        let difference = Difference::from(what).in_field("close code");
        let difference = difference.between(wanted, code.to_string());
        return (ClosingVerdict::WrongCode, Some(difference));
    }
    if side == Side::Client && closed.dropped_by_tester {
        let what = "the tester had to end TCP, which is the server's to do".to_owned();
        let difference = Difference::from(what).in_field("end of TCP");
        let difference = difference.between("by the server", "by the tester");
        return (ClosingVerdict::FailedByClient, Some(difference));
    }
    (ClosingVerdict::Ok, None)
}

impl Judged {
    /// Whether nothing was wrong.
    pub(super) fn is_passed(&self) -> bool {
        self.broken.is_empty()
    }

    pub(super) fn into_result(
        self,
        (conversation, is_cut): (Vec<Step>, bool),
        octets: (u64, u64),
        duration: Duration,
    ) -> CaseResult {
        // The strongest level is the least one.
        let broken = self.broken.into_iter().min_by_key(|broken| broken.level);
        let (broken, section) = match broken {
            Some(Broken { level, section }) => (Some(level), section),
            None => (None, self.section),
        };
        CaseResult {
            behavior: self.behavior,
            closing: self.closing,
            broken,
            difference: self.difference,
            closing_difference: self.closing_difference,
            closed: self.closed,
            section,
            conversation,
            is_cut,
            octets,
            duration,
        }
    }
}
