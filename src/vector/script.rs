//! A vector that was made ready to be played many times.

use std::fmt;

use super::diff::Difference;
use super::recorded::Nonce;
use super::{MessageKind, Vector};
use crate::message::Message;
use crate::version::Side;

/// Where the octets that one side receives are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Only where the other side takes its turn.
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

/// The core does not conclude what a vector expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}, {side} {split}: {what}")]
pub struct Failure {
    /// The vector.
    pub id: String,
    /// The side to which it was played.
    pub side: Side,
    /// How the octets that it received were split.
    pub split: Split,
    /// What differs.
    pub what: Box<Difference>,
}

impl Failure {
    pub(super) fn new(
        vector: &Vector,
        side: Side,
        split: Split,
        what: impl Into<Difference>,
    ) -> Failure {
        Failure {
            id: vector.id.clone(),
            side,
            split,
            what: Box::new(what.into()),
        }
    }
}

/// A vector that was made ready to be played many times.
#[derive(Debug)]
pub struct Script<'v> {
    pub(super) vector: &'v Vector,
    pub(super) turns: Vec<Turn>,
    /// All that the client sends.
    pub(super) request: Vec<u8>,
    /// All that the server sends.
    pub(super) response: Vec<u8>,
    pub(super) nonce: Nonce,
    pub(super) messages: Vec<ScriptMessage>,
}

/// Octets that one side sends without a reply in between, or its end of TCP.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) from: Side,
    pub(super) octets: Vec<u8>,
    pub(super) ends: bool,
}

/// A message, ping or pong that one side is expected to receive.
#[derive(Debug)]
pub(super) struct ScriptMessage {
    pub(super) from: Side,
    pub(super) kind: MessageKind,
    pub(super) octets: Vec<u8>,
}

impl ScriptMessage {
    /// The message to send; `None` of a ping or pong, and of a text that is not
    /// UTF-8, which the core does not send.
    pub(super) fn message(&self) -> Option<Message<'_>> {
        match self.kind {
            MessageKind::Text => std::str::from_utf8(&self.octets).ok().map(Message::text),
            MessageKind::Binary => Some(Message::binary(&self.octets)),
            MessageKind::Ping | MessageKind::Pong => None,
        }
    }
}

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
        let messages = vector.expect.messages.iter().map(|message| {
            Ok(ScriptMessage {
                from: message.from,
                kind: message.kind,
                octets: message.octets()?,
            })
        });
        Ok(Script {
            vector,
            nonce: Nonce::of(&response),
            messages: messages.collect::<Result<_, String>>()?,
            request,
            response,
            turns,
        })
    }
}

fn turns(vector: &Vector) -> Result<Vec<Turn>, String> {
    let mut turns: Vec<Turn> = Vec::new();
    for step in &vector.steps {
        let (from, octets) = (step.from, step.octets()?);
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
