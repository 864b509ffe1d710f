//! The bridge: client, our end for it, our end for the backend, backend.

use heirloom::bytes::{Input, Output};
use heirloom::conn::{BridgeEnd, Coding, Conn, Direction, Phase};
use heirloom::error::{Unsendable, Violation};
use heirloom::frame::Kind;
use heirloom::version::Layout;
use heirloom::{Side, VERSIONS, Version};
use proptest::prelude::*;

use crate::memory::Seeded;
use crate::node::{Node, open};

/// Client, our end for it, our end for the backend, backend.
pub(crate) struct Bridge {
    pub(crate) client: Node,
    pub(crate) front: Node,
    pub(crate) behind: Node,
    pub(crate) backend: Node,
    pub(crate) forth: Direction,
    pub(crate) back: Direction,
    chunks: Seeded,
    /// What `carry` and the connections of the bridge found.
    pub(crate) violations: Vec<(Side, Violation)>,
}

impl Bridge {
    pub(crate) fn open(
        client: &'static Version,
        backend: &'static Version,
        coding: Coding,
    ) -> Bridge {
        Bridge::seeded(client, backend, coding, 7)
    }

    pub(crate) fn seeded(
        client: &'static Version,
        backend: &'static Version,
        coding: Coding,
        seed: u64,
    ) -> Bridge {
        let (client, mut front) = open(client, seed ^ 0x10);
        let (mut behind, backend) = open(backend, seed ^ 0x20);
        front.conn.set_manual_control();
        behind.conn.set_manual_control();
        Bridge {
            client,
            front,
            behind,
            backend,
            forth: Direction::new(coding),
            back: Direction::new(coding.back()),
            chunks: Seeded(seed),
            violations: Vec::new(),
        }
    }

    /// The client, for `Side::Client`; the backend otherwise.
    pub(crate) fn outer(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.backend,
        }
    }

    /// Our end that faces the client, or the backend.
    pub(crate) fn ours(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Client => &mut self.front,
            Side::Server => &mut self.behind,
        }
    }

    /// The client or the backend says something.
    pub(crate) fn send(
        &mut self,
        from: Side,
        what: impl FnOnce(&mut Conn, &mut Output<'_>) -> Result<(), Unsendable>,
    ) {
        let (told, said) = self.outer(from).talk(what);
        told.unwrap();
        self.ours(from).gets(&said);
        self.spread_ends();
    }

    pub(crate) fn close(&mut self, from: Side, code: u16, reason: &str) {
        self.send(from, |conn, out| {
            conn.close(code, reason, out);
            Ok(())
        });
    }

    /// A text of the client or backend, whatever octets: its own connection
    /// would refuse to send such. Each piece is a frame where there are frames.
    pub(crate) fn send_octets_as_text(&mut self, from: Side, pieces: &[&[u8]]) {
        let node = self.outer(from);
        let version = node.version();
        if version.layout == Layout::Hixie75 {
            let said = [&[0], &pieces.concat()[..], &[0xff]].concat();
            self.ours(from).gets(&said);
            return;
        }
        let mut all = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let (first, last) = (i == 0, i + 1 == pieces.len());
            let (told, mut said) =
                node.talk(|conn, out| conn.send_piece(Kind::Binary, piece, first, last, out));
            told.unwrap();
            if first {
                // Binary becomes text, through the mask.
                let masks = from == Side::Client;
                let (at, change) = match version.layout {
                    Layout::Hybi07 => (0, 2 ^ 1),
                    Layout::Hybi04 | Layout::Hybi05 if masks => (4, 5 ^ 4),
                    _ => (0, 5 ^ 4),
                };
                said[at] ^= change;
            }
            all.extend(said);
        }
        self.ours(from).gets(&all);
    }

    /// Carries octets until all is quiet, in chunks of chance.
    pub(crate) fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for side in [Side::Client, Side::Server] {
                for bridged in [false, true] {
                    let chunk = match self.chunks.next() % 5 {
                        0 => 1,
                        1 => 3,
                        2 => 50,
                        3 => 4000,
                        _ => usize::MAX,
                    };
                    // Where a chunk alone does not do, all that is there may.
                    moved |= self.step(side, bridged, chunk)
                        || self.step(side, bridged, usize::MAX)
                        || self.step_end(side, bridged);
                }
            }
        }
    }

    /// Lets one of the four eat; whether anything came of it.
    pub(crate) fn step(&mut self, side: Side, bridged: bool, chunk: usize) -> bool {
        let node = if bridged {
            self.ours(side)
        } else {
            self.outer(side)
        };
        let before = node.wire.len();
        if before == 0 {
            return false;
        }
        let n = chunk.min(before);
        let said = if bridged {
            self.bridge(side, n)
        } else {
            let said = self.outer(side).eat(n);
            self.ours(side).gets(&said);
            !said.is_empty()
        };
        self.spread_ends();
        let node = if bridged {
            self.ours(side)
        } else {
            self.outer(side)
        };
        said || node.wire.len() != before
    }

    pub(crate) fn step_end(&mut self, side: Side, bridged: bool) -> bool {
        if bridged {
            if !self.ours(side).end_is_due() {
                return false;
            }
            self.end_of_input(side);
        } else {
            let node = self.outer(side);
            if !node.end_is_due() {
                return false;
            }
            let ended = node.conn.end_of_input(node.wire.len());
            node.end = Some(ended);
        }
        self.spread_ends();
        true
    }

    /// Where a connection has ended, TCP ends for its peer.
    fn spread_ends(&mut self) {
        for (here, there) in [
            (&mut self.client, &mut self.front),
            (&mut self.behind, &mut self.backend),
        ] {
            here.ends |= there.has_ended();
            there.ends |= here.has_ended();
        }
    }

    /// Our end of this side eats `n` octets, as a gateway's loop lets it.
    fn bridge(&mut self, side: Side, n: usize) -> bool {
        let Bridge {
            front,
            behind,
            forth,
            back,
            ..
        } = self;
        let (here, there, direction) = match side {
            Side::Client => (front, behind, forth),
            Side::Server => (behind, front, back),
        };
        let mut octets = std::mem::take(&mut here.wire);
        let later = octets.split_off(n);
        let (mut said, mut across) = (Vec::new(), Vec::new());
        let (a, b) = (&mut here.random, &mut there.random);
        let mut random = |octets: &mut [u8]| octets.fill_with(|| a.next() as u8);
        let mut random_across = |octets: &mut [u8]| octets.fill_with(|| b.next() as u8);
        let mut out = Output::new(&mut said, &mut random);
        let mut out_across = Output::new(&mut across, &mut random_across);
        let mut input = Input::new(&mut octets);
        loop {
            match here.conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let mut from = BridgeEnd {
                        conn: &mut here.conn,
                        out: &mut out,
                    };
                    let mut to = BridgeEnd {
                        conn: &mut there.conn,
                        out: &mut out_across,
                    };
                    if let Err(violation) = direction.carry(event, &mut from, &mut to) {
                        self.violations.push((side, violation));
                    }
                }
                Err(violation) => self.violations.push((side, violation)),
            }
        }
        here.wire = [input.rest(), &later].concat();
        let some = !said.is_empty() || !across.is_empty();
        self.outer(side).gets(&said);
        self.outer(side.peer()).gets(&across);
        self.balance(side, "connection-cut");
        some
    }

    /// TCP has ended at our end of this side.
    fn end_of_input(&mut self, side: Side) {
        let (here, there, direction) = match side {
            Side::Client => (&mut self.front, &mut self.behind, &mut self.forth),
            Side::Server => (&mut self.behind, &mut self.front, &mut self.back),
        };
        let ended = here.conn.end_of_input(here.wire.len());
        here.end = Some(ended);
        let mut said = Vec::new();
        if ended.is_ok() {
            let random = &mut there.random;
            let mut random = |octets: &mut [u8]| octets.fill_with(|| random.next() as u8);
            let mut out = Output::new(&mut said, &mut random);
            let mut to = BridgeEnd {
                conn: &mut there.conn,
                out: &mut out,
            };
            direction.end(&here.conn, &mut to);
        }
        self.outer(side.peer()).gets(&said);
        self.balance(side, "connection-cut");
    }

    /// Where one end is over, the other is told.
    fn balance(&mut self, side: Side, what: &str) {
        for side in [side, side.peer()] {
            let is_over = |node: &Node| node.conn.phase() == Phase::Closed;
            if is_over(self.ours(side)) && !is_over(self.ours(side.peer())) {
                self.lose(side, what);
            }
        }
    }

    /// Our end of this side is gone.
    pub(crate) fn lose(&mut self, gone: Side, what: &str) {
        let (there, direction) = match gone {
            Side::Client => (&mut self.behind, &self.back),
            Side::Server => (&mut self.front, &self.forth),
        };
        let ((), said) =
            there.talk(|conn, out| direction.peer_lost(what, &mut BridgeEnd { conn, out }));
        self.outer(gone.peer()).gets(&said);
        self.spread_ends();
    }
}

pub(crate) fn pairs() -> impl Iterator<Item = (&'static Version, &'static Version)> {
    VERSIONS
        .iter()
        .flat_map(|client| VERSIONS.iter().map(move |backend| (client, backend)))
}

pub(crate) fn both() -> [Side; 2] {
    [Side::Client, Side::Server]
}

pub(crate) fn named(name: &str) -> &'static Version {
    Version::named(name).unwrap()
}

/// The pieces of these octets.
pub(crate) fn cut<'o>(octets: &'o [u8], cuts: &[prop::sample::Index]) -> Vec<&'o [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|c| c.index(octets.len() + 1)).collect();
    at.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in at.into_iter().chain([octets.len()]) {
        pieces.push(&octets[from..to]);
        from = to;
    }
    pieces
}
