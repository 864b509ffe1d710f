//! Vectors whose server sends first, turned round: our client sends the message,
//! and what the server sent is its echo.

use std::sync::Arc;
use std::time::Duration;

use heirloom::bytes::Output;
use heirloom::conn::Conn;
use heirloom::message::Message;
use heirloom::vector::{MessageKind, Vector};
use heirloom::{Config, Side, SystemRandom};

use super::moves::{Move, all_of, head_len};
use super::passive::PassiveEndpoint;

/// Octets that follow a head of hixie-76 before it is proved.
const DIGEST: usize = 16;

/// What is played of a vector.
pub(super) struct Turned {
    pub(super) moves: Vec<Move>,
    /// Whether our client sends a message that the recorded one did not.
    pub(super) is_turned: bool,
}

/// The moves of a vector, with a message of our client before each message of the
/// server that answers none.
///
/// # Errors
///
/// Why no echo returns what its server sends.
pub(super) fn turned(
    vector: &Vector,
    moves: Vec<Move>,
    config: &Arc<Config>,
) -> Result<Turned, String> {
    let request = all_of(&moves, Side::Client);
    let Ok(conn) = Conn::client_of(&request, false, Arc::clone(config)) else {
        return Ok(Turned {
            moves,
            is_turned: false,
        });
    };
    let mut turning = Turning {
        vector,
        config,
        client: PassiveEndpoint::new(conn, Vec::new()),
        server: PassiveEndpoint::new(Conn::server(Arc::clone(config)), Vec::new()),
        turned: Turned {
            moves: Vec::new(),
            is_turned: false,
        },
        server_closes: false,
    };
    for step in moves {
        turning.add(step)?;
    }
    let Turning {
        turned,
        server_closes,
        ..
    } = turning;
    if turned.is_turned && server_closes {
        return Err("its server closes by itself, which another server need not do".to_owned());
    }
    Ok(turned)
}

struct Turning<'a> {
    vector: &'a Vector,
    config: &'a Arc<Config>,
    /// What the recorded client has received.
    client: PassiveEndpoint,
    /// What a server has received.
    server: PassiveEndpoint,
    turned: Turned,
    /// Whether the server was the first to close.
    server_closes: bool,
}

impl Turning<'_> {
    fn add(&mut self, step: Move) -> Result<(), String> {
        if step.from == Side::Client {
            self.server.receive(&step.octets, &mut SystemRandom);
            self.turned.moves.push(step);
            return Ok(());
        }
        // A message may lie in one write with the response. Ours is sent between them.
        let (head, rest) = self.split(step);
        let counted = self.client.received.messages.len();
        if let Some(head) = head {
            self.client.receive(&head.octets, &mut SystemRandom);
            self.turned.moves.push(head);
        }
        self.client.receive(&rest.octets, &mut SystemRandom);
        let new = self.client.received.messages.iter().skip(counted).cloned();
        for (kind, octets) in new.collect::<Vec<_>>() {
            self.answer(kind, &octets)?;
        }
        let ends = rest.end.is_some() || self.client.mark().closed;
        self.server_closes |= ends && !self.server.mark().closed;
        self.turned.moves.push(rest);
        Ok(())
    }

    /// The response, and what is in one write with it.
    fn split(&self, step: Move) -> (Option<Move>, Move) {
        let has_digest = self.client.conn().version().is_some_and(|v| v.has_body());
        let digest = if has_digest { DIGEST } else { 0 };
        let end = head_len(&step.octets).map(|end| end + digest);
        let end = end.filter(|end| !self.client.mark().open && *end < step.octets.len());
        let Some(end) = end else {
            return (None, step);
        };
        let (head, rest) = step.octets.split_at(end);
        let head = Move {
            from: Side::Server,
            octets: head.to_vec(),
            end: None,
            after: step.after,
        };
        let rest = Move {
            octets: rest.to_vec(),
            after: Duration::ZERO,
            ..step
        };
        (Some(head), rest)
    }

    /// Has our client send what the server sends, unless the server answers by it.
    fn answer(&mut self, kind: MessageKind, octets: &[u8]) -> Result<(), String> {
        let asked = match kind {
            MessageKind::Pong => MessageKind::Ping,
            other => other,
        };
        let sent = &self.server.received.messages;
        if sent.iter().any(|(k, o)| *k == asked && o == octets) {
            return Ok(());
        }
        let message = match kind {
            MessageKind::Ping => {
                return Err("its server sends a ping, which no echo returns".to_owned());
            }
            MessageKind::Pong => {
                return Err("its server sends a pong without a ping, which no echo returns".into());
            }
            MessageKind::Binary => Message::binary(octets),
            MessageKind::Text => match std::str::from_utf8(octets) {
                Ok(text) => Message::text(text),
                Err(_) => return Err("its server sends a text that is not UTF-8".to_owned()),
            },
        };
        if self.vector.expect.extensions.is_some() {
            return Err("its server sends a compressed message of its own".to_owned());
        }
        let cannot = |why: &dyn std::fmt::Display| format!("our client cannot send it: {why}");
        let version = self.client.conn().version();
        let version = version.ok_or_else(|| cannot(&"its version is not known"))?;
        let mut conn = Conn::opened(Side::Client, version, Arc::clone(self.config))
            .map_err(|error| cannot(&error))?;
        let mut frame = Vec::new();
        let mut random = SystemRandom;
        conn.send(message, &mut Output::new(&mut frame, &mut random))
            .map_err(|error| cannot(&error))?;
        self.server.receive(&frame, &mut SystemRandom);
        self.turned.is_turned = true;
        self.turned.moves.push(Move {
            from: Side::Client,
            octets: frame,
            end: None,
            after: Duration::ZERO,
        });
        Ok(())
    }
}
