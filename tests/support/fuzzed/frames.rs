//! The decoder of any version, with or without its handshake: octets make the same
//! events, the same violation and the same answers in whatever portions they arrive.
//!
//! The octets: version, side, whether the handshake is part of it, four portions,
//! up to four changed octets, and what is sent, each with its kind in front.

use heirloom::VERSIONS;

use super::choices::Choices;
use crate::feeding::{Outcome, Sent, Stream};

/// More is not sent.
const MOST_SENT: usize = 32;

pub(crate) fn run(octets: &[u8]) -> Outcome {
    let mut choices = Choices(octets);
    let versions: Vec<_> = VERSIONS.iter().collect();
    let (version, to) = (choices.of(&versions), choices.side());
    let with_handshake = choices.bool();
    let portions = choices.sizes();
    let damaged = choices.octet() % 5;
    let damage = (0..damaged).map(|_| (usize::from(choices.u16()), choices.octet()));
    let damage = damage.collect();
    let mut sent = Vec::new();
    while choices.are_left() && sent.len() < MOST_SENT {
        sent.push(next(&mut choices));
    }
    let stream = Stream {
        version,
        to,
        with_handshake,
        sent,
        damage,
        portions,
        seed: 7,
    };
    stream.outcome()
}

fn next(choices: &mut Choices<'_>) -> Sent {
    match choices.octet() % 8 {
        0 => Sent::Text(choices.text()),
        1 => Sent::Binary(choices.octets().to_vec()),
        2 => {
            let pieces = 1 + choices.octet() % 4;
            Sent::Pieces((0..pieces).map(|_| choices.text()).collect())
        }
        3 => Sent::Ping(choices.octets().to_vec()),
        4 => Sent::Pong(choices.octets().to_vec()),
        5 => Sent::Close(choices.u16()),
        6 => Sent::Octets(choices.octets().to_vec()),
        _ => Sent::Octets(choices.rest().to_vec()),
    }
}
