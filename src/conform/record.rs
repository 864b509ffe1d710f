//! What both sides wrote, as far as it is kept.

use crate::vector::{Step, StreamEnd, hex};
use crate::version::Side;

/// The conversation of one case.
#[derive(Debug)]
pub(super) struct Record {
    parts: Vec<(Side, Part)>,
    /// Octets of each direction that may still be kept.
    room: (usize, usize),
    is_cut: bool,
    /// Octets that the tester has received and sent.
    octets: (u64, u64),
    /// Whether the head of each direction is whole.
    behind_head: (bool, bool),
    tester: Side,
}

#[derive(Debug)]
enum Part {
    Octets(Vec<u8>),
    End(StreamEnd),
}

impl Record {
    pub(super) fn new(tester: Side, kept: usize) -> Record {
        Record {
            parts: Vec::new(),
            room: (kept, kept),
            is_cut: false,
            octets: (0, 0),
            behind_head: (false, false),
            tester,
        }
    }

    /// Octets that were received.
    pub(super) fn received(&mut self, octets: &[u8]) {
        self.octets.0 += octets.len() as u64;
        self.room.0 = self.keep(self.tester.peer(), octets, self.room.0);
    }

    /// Octets that are sent.
    pub(super) fn sent(&mut self, octets: &[u8]) {
        self.octets.1 += octets.len() as u64;
        self.room.1 = self.keep(self.tester, octets, self.room.1);
    }

    fn keep(&mut self, from: Side, octets: &[u8], room: usize) -> usize {
        let kept = octets.get(..room).unwrap_or(octets);
        self.is_cut |= kept.len() < octets.len();
        if !kept.is_empty() {
            self.parts.push((from, Part::Octets(kept.to_vec())));
        }
        room - kept.len()
    }

    /// One side has ended its direction of TCP.
    pub(super) fn ended(&mut self, is_tester: bool, how: StreamEnd) {
        let from = if is_tester {
            self.tester
        } else {
            self.tester.peer()
        };
        self.parts.push((from, Part::End(how)));
    }

    /// Octets that were received and sent.
    pub(super) fn octets(&self) -> (u64, u64) {
        self.octets
    }

    /// The conversation with at most this many octets of each direction, and
    /// whether it was longer.
    pub(super) fn into_steps(mut self, kept: usize) -> (Vec<Step>, bool) {
        let mut room = (kept, kept);
        let mut steps = Vec::with_capacity(self.parts.len());
        for (from, part) in std::mem::take(&mut self.parts) {
            let is_tester = from == self.tester;
            let (room, behind_head) = match is_tester {
                true => (&mut room.1, &mut self.behind_head.1),
                false => (&mut room.0, &mut self.behind_head.0),
            };
            let octets = match part {
                Part::End(end) => {
                    steps.push(Step::end(from, end));
                    continue;
                }
                Part::Octets(octets) => octets,
            };
            let octets_kept = octets.get(..*room).unwrap_or(&octets);
            self.is_cut |= octets_kept.len() < octets.len();
            *room -= octets_kept.len();
            if octets_kept.is_empty() {
                continue;
            }
            let head_end = match *behind_head {
                true => Some(0),
                false => octets_kept
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .map(|at| at + 4),
            };
            *behind_head |= head_end.is_some();
            let end = head_end.unwrap_or(octets_kept.len());
            let (head, rest) = octets_kept.split_at(end);
            if !head.is_empty() {
                steps.push(Step {
                    text: Some(lines(head)),
                    hex: None,
                    ..Step::of(from, &[])
                });
            }
            if !rest.is_empty() {
                steps.push(Step {
                    hex: Some(hex(rest)),
                    ..Step::of(from, &[])
                });
            }
        }
        (steps, self.is_cut)
    }
}

/// One string for each line of a head, each octet a character.
fn lines(head: &[u8]) -> Vec<String> {
    head.split_inclusive(|octet| *octet == b'\n')
        .map(|line| line.iter().map(|octet| char::from(*octet)).collect())
        .collect()
}
