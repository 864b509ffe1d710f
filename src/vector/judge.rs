//! Compares what one side of the core concluded from a conversation with what
//! the vector expects.

use std::fmt;

use super::diff::{Difference, both, first_difference, sides};
use super::played::{Played, Rejected};
use super::script::{Script, ScriptMessage};
use super::show::shown;
use super::{Close, CloseSent, CloseWord, Conclusion, ExpectedResult, MessageKind};
use crate::version::Side;

/// Octets of a message that are shown.
const MAX_SHOWN: usize = 200;

impl Played {
    /// Compares this with what the vector expects of this side.
    ///
    /// # Errors
    ///
    /// The first thing that differs.
    pub(super) fn judge(&self, script: &Script<'_>, side: Side) -> Result<(), Difference> {
        let expect = &script.vector.expect;
        let Some(want) = expect.of(side) else {
            return Ok(());
        };
        if want.result == ExpectedResult::Either {
            return Ok(());
        }
        self.judge_result(want)?;
        if let Some(name) = &expect.detected {
            let version = self.handshake.version.map(|version| version.name);
            equal("version", &Some(name.as_str()), &version)?;
        }
        if want.result == ExpectedResult::Accept {
            let subprotocol = &self.handshake.subprotocol;
            equal("subprotocol", &expect.subprotocol, subprotocol)?;
        }
        let extensions = &self.handshake.extensions;
        if want.result == ExpectedResult::Accept || extensions.is_some() {
            equal("extensions", &expect.extensions, extensions)?;
        }
        let numbers = [expect.key_number_1, expect.key_number_2];
        let numbers: Vec<u32> = numbers.into_iter().flatten().collect();
        if side == Side::Server && !numbers.is_empty() {
            equal("key numbers", &numbers, &self.handshake.key_numbers)?;
        }
        self.judge_messages(script, side)?;
        self.judge_close(expect.close.as_ref(), side)
    }

    fn judge_result(&self, want: &Conclusion) -> Result<(), Difference> {
        match (want.result, &self.rejected) {
            (ExpectedResult::Either, _) | (ExpectedResult::Accept, None) => Ok(()),
            (ExpectedResult::Accept, Some(r)) => {
                Err(rejected(format!("rejected with {r}"), r).between("accept", r.code))
            }
            (ExpectedResult::Reject, None) => {
                let code = want.code.as_deref().unwrap_or("some code");
                let what = format!("accepted, and {code} was expected");
                Err(Difference::from(what)
                    .in_field("result")
                    .between(code, "accept"))
            }
            (ExpectedResult::Reject, Some(r)) => {
                let code = want.code.as_deref().unwrap_or(r.code);
                if code != r.code {
                    let what = format!("rejected with {r}\n{code} was expected");
                    return Err(rejected(what, r).between(code, r.code));
                }
                equal("status", &want.status, &r.status)?;
                match want.close {
                    Some(_) => equal("close code", &want.close, &r.close),
                    None => Ok(()),
                }
            }
        }
    }

    fn judge_messages(&self, script: &Script<'_>, side: Side) -> Result<(), Difference> {
        let of_peer = |message: &&ScriptMessage| message.from != side;
        let wanted = || script.messages.iter().filter(of_peer);
        for (n, (want, (kind, octets))) in (1..).zip(wanted().zip(&self.messages)) {
            equal(&format!("the kind of message {n}"), &want.kind, kind)?;
            if want.octets != *octets {
                let at = first_difference(&want.octets, octets);
                let both = both(&want.octets, octets);
                let (expected, seen) = sides(&want.octets, octets);
                let what = format!("message {n} differs at its octet {at}\n{both}");
                return Err(Difference::from(what)
                    .at(at as u64)
                    .in_field(format!("message {n}"))
                    .between(expected, seen));
            }
        }
        let (want, got) = (wanted().count(), self.messages.len());
        let next =
            |(kind, octets): (MessageKind, &[u8])| format!("{kind:?} {}", shown(octets, MAX_SHOWN));
        let message = |message: &ScriptMessage| next((message.kind, &message.octets));
        if let Some(missing) = wanted().nth(got).map(message) {
            return Err(number(want, got, &format!("missing is {missing}")));
        }
        if let Some((kind, octets)) = self.messages.get(want) {
            let more = next((*kind, octets));
            return Err(number(want, got, &format!("too many is {more}")));
        }
        Ok(())
    }

    fn judge_close(&self, expected: Option<&Close>, side: Side) -> Result<(), Difference> {
        let closed = &self.closed;
        let want = match expected {
            Some(Close::Word(CloseWord::None)) => None,
            Some(Close::Word(CloseWord::Clean)) if closed.is_none() => {
                let what = "no close was received, and one was expected".to_owned();
                return Err(Difference::from(what)
                    .in_field("close")
                    .between("one", "none"));
            }
            Some(Close::Sent(CloseSent { from, code, reason })) if *from == side.peer() => {
                Some((*code, reason.clone().unwrap_or_default()))
            }
            _ => return Ok(()),
        };
        if want == *closed {
            return Ok(());
        }
        let (want, got) = (close_text(&want), close_text(closed));
        let what = format!("the close is {got}, and {want} was expected");
        Err(Difference::from(what).in_field("close").between(want, got))
    }
}

/// A result that differs, at the octet where this side rejects its peer.
fn rejected(what: String, rejected: &Rejected) -> Difference {
    Difference::from(what).at(rejected.after).in_field("result")
}

/// A number of messages that differs.
fn number(want: usize, got: usize, first: &str) -> Difference {
    let what = format!(
        "{got} messages were received, and {want} were expected; the first that is {first}"
    );
    let (want, got) = (want.to_string(), got.to_string());
    Difference::from(what)
        .in_field("messages")
        .between(want, got)
}

fn equal<V: PartialEq + fmt::Debug>(what: &str, want: &V, got: &V) -> Result<(), Difference> {
    if want == got {
        return Ok(());
    }
    let (want, got) = (spoken(want), spoken(got));
    let text = format!("{what} is {got}, and {want} was expected");
    Err(Difference::from(text).in_field(what).between(want, got))
}

/// A value for a person, without the `Some` around it.
fn spoken(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.strip_prefix("Some(").and_then(|t| t.strip_suffix(')')) {
        Some(inner) => inner.to_owned(),
        None if text == "None" => "none".to_owned(),
        None => text,
    }
}

/// The code and reason of a close, for a person.
fn close_text(closed: &Option<(Option<u16>, String)>) -> String {
    match closed {
        None => "none".to_owned(),
        Some((None, reason)) => format!("one without a code {reason:?}"),
        Some((Some(code), reason)) => format!("{code} {reason:?}"),
    }
}
