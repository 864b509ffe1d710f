//! The steps of a vector, ready to be played.

use std::sync::Arc;
use std::time::Duration;

use heirloom::conn::{Conn, Phase};
use heirloom::vector::{StreamEnd, Vector};
use heirloom::{Config, Side};

/// The longest recorded wait that is kept.
const MAX_WAIT_MS: u64 = 60_000;

/// A step, ready to be played.
pub(super) struct Move {
    pub(super) from: Side,
    pub(super) octets: Vec<u8>,
    pub(super) end: Option<StreamEnd>,
    pub(super) after: Duration,
}

/// The steps of this vector, with the recorded waits or without.
pub(super) fn moves(vector: &Vector, with_waits: bool) -> Result<Vec<Move>, String> {
    let mut moves = Vec::with_capacity(vector.steps.len());
    for step in &vector.steps {
        let wait_ms = step.after_ms.filter(|_| with_waits).unwrap_or(0);
        moves.push(Move {
            from: step.from,
            octets: step.octets()?,
            end: step.end,
            after: Duration::from_millis(wait_ms.min(MAX_WAIT_MS)),
        });
    }
    Ok(moves)
}

/// All octets that one side sends.
pub(super) fn all_of(moves: &[Move], from: Side) -> Vec<u8> {
    let own = moves.iter().filter(|m| m.from == from);
    own.flat_map(|m| m.octets.iter().copied()).collect()
}

/// The length of a head with its empty line.
pub(super) fn head_len(octets: &[u8]) -> Option<usize> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// Whether the recorded frames mean nothing to another server: the client of
/// hybi-04 masks them with a key that is made of the server's nonce.
pub(super) fn is_bound_to_its_nonce(vector: &Vector, moves: &[Move]) -> bool {
    let request = all_of(moves, Side::Client);
    vector.version == "hybi-04" && head_len(&request).is_some_and(|end| request.len() > end)
}

/// The configuration of our end of this vector.
pub(super) fn configuration(vector: &Vector) -> Arc<Config> {
    Arc::new(vector.configuration())
}

/// Why this vector means nothing to a peer that agreed on this compression: the
/// recorded frames are compressed otherwise.
pub(super) fn other_compression(vector: &Vector, conn: &Conn) -> Option<String> {
    let recorded = vector.expect.extensions.as_deref()?;
    if matches!(conn.phase(), Phase::Handshake | Phase::Closed) {
        return None;
    }
    let agreed = conn.compression().map(|deflate| deflate.to_string());
    if agreed.as_deref() == Some(recorded) {
        return None;
    }
    let agreed = agreed.unwrap_or("no compression".to_owned());
    Some(format!(
        "it is about {recorded}, and {agreed} was agreed on"
    ))
}
