//! A deflater: whatever it is given, with whatever level and window, in one call or
//! in parts, inflates to the same octets, by an inflater that starts anew where the
//! deflater does. What does not compress becomes little longer.
//!
//! The octets: what comes one after the other, each with its kind in front.

use heirloom::extension::{Codecs, Deflater, Inflater, Level};

use super::choices::Choices;

/// More is not deflated.
const MOST_ACTS: usize = 48;

/// The types of the blocks that came first in a message, by their numbers.
pub(crate) type Types = [bool; 3];

pub(crate) fn run(octets: &[u8]) -> Types {
    let mut choices = Choices(octets);
    let mut codecs = Codecs::default();
    let mut deflater = codecs.deflater(Level::Default, 15);
    let mut inflater = codecs.inflater();
    let mut types = Types::default();
    let mut made = b"The quick brown fox jumps over the lazy dog. ".to_vec();
    for _ in 0..MOST_ACTS {
        if !choices.are_left() {
            break;
        }
        match choices.octet() % 8 {
            // Another connection, whose messages have nothing to do with those before.
            0 => {
                codecs.give_back_deflater(deflater);
                let level = choices.of(&[Level::Fast, Level::Default, Level::Best]);
                deflater = codecs.deflater(level, 9 + choices.octet() % 7);
                inflater.reset();
            }
            1 => {
                deflater.reset();
                inflater.reset();
            }
            2 | 3 => {
                let payload = payload(&mut choices, &mut made);
                let part = 1 + usize::from(choices.u16());
                let mut deflated = Vec::new();
                for part in payload.chunks(part.max(payload.len() / 16)) {
                    deflater.part(part, &mut deflated);
                }
                deflater.finish(&[], &mut deflated);
                assert!(inflate(&mut inflater, &deflated) == payload);
            }
            _ => {
                let payload = payload(&mut choices, &mut made);
                let deflated = whole(&mut deflater, &payload);
                types[usize::from(deflated[0] >> 1 & 3)] = true;
                assert!(inflate(&mut inflater, &deflated) == payload);
            }
        }
    }
    types
}

/// A message in one call. It takes no more than stored blocks would.
fn whole(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    deflater.message(payload, &mut deflated);
    // A block has 8192 literals or more, but for the last one; the head of a stored
    // one takes five octets, and what ends a flush one more.
    let heads = 5 * (payload.len() / 8192 + 2) + 1;
    assert!(deflated.len() <= payload.len() + heads);
    deflated
}

/// Octets of a kind that is chosen, among them some that were there before.
fn payload(choices: &mut Choices<'_>, made: &mut Vec<u8>) -> Vec<u8> {
    let kind = choices.octet();
    let length = usize::from(choices.u16()) << (kind >> 3 & 3);
    let length = length % 100_000;
    let octets: Vec<u8> = match kind % 6 {
        0 => choices.octets().to_vec(),
        1 => vec![choices.octet(); length],
        // From any place, as far as there is: mostly what was there before.
        2 | 3 => {
            let from = usize::from(choices.u16()) % made.len();
            made.iter()
                .cycle()
                .skip(from)
                .take(length)
                .copied()
                .collect()
        }
        4 => {
            let mut random = u64::from(choices.octet()) + 1;
            let mask = choices.of(&[0xff, 0x0f, 0x7f, 0x03]);
            let mut next = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 32 & mask) as u8
            };
            (0..length).map(|_| next()).collect()
        }
        _ => {
            let some = choices.octets();
            some.iter().cycle().take(length).copied().collect()
        }
    };
    made.extend(octets.iter().take(1 << 16));
    if made.len() > 1 << 18 {
        made.drain(..1 << 17);
    }
    octets
}

fn inflate(inflater: &mut Inflater, mut octets: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    let mut room = vec![0; 1 << 16];
    loop {
        let done = inflater.inflate(octets, &mut room);
        let done = done.unwrap_or_else(|e| panic!("after {}: {e}", inflated.len()));
        inflated.extend_from_slice(&room[..done.written]);
        octets = &octets[done.consumed..];
        if !done.room_is_full {
            break;
        }
    }
    loop {
        let done = inflater.finish(&mut room);
        let done = done.unwrap_or_else(|e| panic!("at the end, after {}: {e}", inflated.len()));
        inflated.extend_from_slice(&room[..done.written]);
        if done.is_finished {
            return inflated;
        }
    }
}
