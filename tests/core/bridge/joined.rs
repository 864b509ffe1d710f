//! The bridge: client, our end for it, our end for the backend, backend.

use heirloom::bytes::{Input, Output};
use heirloom::conn::{BridgeEnd, Coding, Conn, Direction, Phase};
use heirloom::error::{Unsendable, Violation};
use heirloom::message::Kind;
use heirloom::version::Layout;
use heirloom::{Side, VERSIONS, Version};
use proptest::prelude::*;

use crate::memory::{End, Seeded, config, open};

/// Client, our end for it, our end for the backend, backend.
pub(crate) struct Bridge {
    pub(crate) client: End,
    pub(crate) front: End,
    pub(crate) rear: End,
    pub(crate) backend: End,
    pub(crate) to_backend: Direction,
    pub(crate) to_client: Direction,
    portions: Seeded,
    /// Whether messages that lie whole in the input are carried as such, as by a
    /// gateway.
    pub(crate) carries_whole: bool,
    /// What our two ends have sent so far, to whom.
    pub(crate) wire: Vec<(Side, Vec<u8>)>,
    /// What `carry` and our two ends found.
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
        let (client, mut front) = open(client, &config(), seed ^ 0x10);
        let (mut rear, backend) = open(backend, &config(), seed ^ 0x20);
        for end in [&mut front, &mut rear] {
            end.session.conn_mut().set_manual_control();
        }
        Bridge {
            client,
            front,
            rear,
            backend,
            to_backend: Direction::new(coding),
            to_client: Direction::new(coding.reverse()),
            portions: Seeded(seed),
            carries_whole: seed % 2 == 1,
            wire: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// The client, for `Side::Client`; the backend otherwise.
    pub(crate) fn outer(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.backend,
        }
    }

    /// Our end that faces the client, or the backend.
    pub(crate) fn ours(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.front,
            Side::Server => &mut self.rear,
        }
    }

    fn end(&mut self, side: Side, is_ours: bool) -> &mut End {
        if is_ours {
            self.ours(side)
        } else {
            self.outer(side)
        }
    }

    /// The client or the backend sends something.
    pub(crate) fn send(
        &mut self,
        from: Side,
        send: impl FnOnce(&mut Conn, &mut Output<'_>) -> Result<(), Unsendable>,
    ) {
        let (result, sent) = self.outer(from).send(send);
        result.unwrap();
        self.ours(from).add_incoming(&sent);
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
        let end = self.outer(from);
        let version = end.version();
        if version.layout == Layout::Hixie75 {
            let sent = [&[0], &pieces.concat()[..], &[0xff]].concat();
            self.ours(from).add_incoming(&sent);
            return;
        }
        let mut all = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let (first, last) = (i == 0, i + 1 == pieces.len());
            let (result, mut sent) =
                end.send(|conn, out| conn.send_piece(Kind::Binary, piece, first, last, out));
            result.unwrap();
            if first {
                // Binary becomes text, through the mask.
                let masks = from == Side::Client;
                let (at, change) = match version.layout {
                    Layout::Hybi07 => (0, 2 ^ 1),
                    Layout::Hybi04 | Layout::Hybi05 if masks => (4, 5 ^ 4),
                    _ => (0, 5 ^ 4),
                };
                sent[at] ^= change;
            }
            all.extend(sent);
        }
        self.ours(from).add_incoming(&all);
    }

    /// Carries octets in random portions until none are left. No text that the
    /// client or the backend received has to be replaced.
    pub(crate) fn settle(&mut self) {
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            for side in [Side::Client, Side::Server] {
                for is_ours in [false, true] {
                    let portion = match self.portions.next() % 5 {
                        0 => 1,
                        1 => 3,
                        2 => 50,
                        3 => 4000,
                        _ => usize::MAX,
                    };
                    // Where a portion alone does not do, all that is there may.
                    has_moved |= self.step(side, is_ours, portion)
                        || self.step(side, is_ours, usize::MAX)
                        || self.step_end(side, is_ours);
                }
            }
        }
        assert!(!self.client.has_replaced && !self.backend.has_replaced);
    }

    /// Lets one of the four read; gives whether anything came of it.
    pub(crate) fn step(&mut self, side: Side, is_ours: bool, portion: usize) -> bool {
        let before = self.end(side, is_ours).incoming.len();
        if before == 0 {
            return false;
        }
        let n = portion.min(before);
        let has_sent = if is_ours {
            self.bridge(side, n)
        } else {
            let sent = self.outer(side).read(n);
            self.ours(side).add_incoming(&sent);
            !sent.is_empty()
        };
        self.spread_ends();
        has_sent || self.end(side, is_ours).incoming.len() != before
    }

    pub(crate) fn step_end(&mut self, side: Side, is_ours: bool) -> bool {
        if !self.end(side, is_ours).end_is_due() {
            return false;
        }
        if is_ours {
            self.end_of_input(side);
        } else {
            self.outer(side).end_input();
        }
        self.spread_ends();
        true
    }

    /// Where one end has sent all, TCP ends for its peer.
    fn spread_ends(&mut self) {
        for (here, there) in [
            (&mut self.client, &mut self.front),
            (&mut self.rear, &mut self.backend),
        ] {
            here.input_ends |= there.conn().has_sent_all();
            there.input_ends |= here.conn().has_sent_all();
        }
    }

    /// Our end of this side, the other one, and the direction between them.
    fn direction(&mut self, from: Side) -> (&mut End, &mut End, &mut Direction) {
        match from {
            Side::Client => (&mut self.front, &mut self.rear, &mut self.to_backend),
            Side::Server => (&mut self.rear, &mut self.front, &mut self.to_client),
        }
    }

    /// Our end of this side reads `n` octets, as a gateway's loop lets it: in
    /// pieces, not in messages.
    fn bridge(&mut self, side: Side, n: usize) -> bool {
        let carries_whole = self.carries_whole;
        let (here, there, direction) = self.direction(side);
        let mut octets = std::mem::take(&mut here.incoming);
        let later = octets.split_off(n);
        let (mut sent, mut sent_across) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut sent, &mut here.random);
        let mut out_across = Output::new(&mut sent_across, &mut there.random);
        let mut input = Input::new(&mut octets);
        let mut violations = Vec::new();
        loop {
            let conn = here.session.conn_mut();
            if carries_whole {
                let mut from = BridgeEnd {
                    conn,
                    out: &mut out,
                };
                let mut to = BridgeEnd {
                    conn: there.session.conn_mut(),
                    out: &mut out_across,
                };
                let carried = direction.carry_whole(&mut input, &mut from, &mut to);
                violations.extend(carried.err().map(|violation| (side, violation)));
            }
            let conn = here.session.conn_mut();
            match conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let mut from = BridgeEnd {
                        conn,
                        out: &mut out,
                    };
                    let mut to = BridgeEnd {
                        conn: there.session.conn_mut(),
                        out: &mut out_across,
                    };
                    if let Err(violation) = direction.carry(event, &mut from, &mut to) {
                        violations.push((side, violation));
                    }
                }
                Err(violation) => violations.push((side, violation.error)),
            }
        }
        here.incoming = [input.rest(), &later].concat();
        let has_sent = !sent.is_empty() || !sent_across.is_empty();
        self.violations.extend(violations);
        self.outer(side).add_incoming(&sent);
        self.outer(side.peer()).add_incoming(&sent_across);
        self.wire.push((side, sent));
        self.wire.push((side.peer(), sent_across));
        self.balance(side, "connection-cut");
        has_sent
    }

    /// TCP has ended at our end of this side.
    fn end_of_input(&mut self, side: Side) {
        let (here, there, direction) = self.direction(side);
        let mut left = std::mem::take(&mut here.incoming);
        let ended = here.session.conn_mut().end_of_input(&Input::new(&mut left));
        here.end_of_input = Some(ended.clone().map_err(|located| located.error));
        let mut sent = Vec::new();
        if ended.is_ok() {
            let (_, octets) = there.send(|conn, out| {
                direction.end(here.session.conn(), &mut BridgeEnd { conn, out });
            });
            sent = octets;
        }
        self.outer(side.peer()).add_incoming(&sent);
        self.balance(side, "connection-cut");
    }

    /// Where one end is over, the other is told.
    fn balance(&mut self, side: Side, reason: &str) {
        for side in [side, side.peer()] {
            let is_over = |end: &End| end.conn().phase() == Phase::Closed;
            if is_over(self.ours(side)) && !is_over(self.ours(side.peer())) {
                self.lose(side, reason);
            }
        }
    }

    /// Our end of this side is gone.
    pub(crate) fn lose(&mut self, gone: Side, reason: &str) {
        let (there, direction) = match gone {
            Side::Client => (&mut self.rear, &self.to_client),
            Side::Server => (&mut self.front, &self.to_backend),
        };
        let ((), sent) =
            there.send(|conn, out| direction.peer_lost(reason, &mut BridgeEnd { conn, out }));
        self.outer(gone.peer()).add_incoming(&sent);
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
