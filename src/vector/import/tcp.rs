//! Reassembles TCP connections from their segments.
//!
//! All segments of a connection are known before it is reassembled, so their
//! order in the capture matters little: sequence numbers order them within a
//! direction, and a segment comes after the octets of the other direction that it
//! acknowledges.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use jiff::Timestamp;

use super::exchange::{Exchange, exchanges};
use super::request::{is_request, other_protocol};
use super::{Draft, Drafts, MAX_CONNECTIONS, MAX_OCTETS, MAX_STEPS, Segment};
use crate::bytes::Escaped;
use crate::vector::{Step, StreamEnd};
use crate::version::Side;

/// The connections of a capture.
#[derive(Default)]
pub(super) struct Table<'a> {
    /// The index of the newest connection between two addresses.
    newest: HashMap<(SocketAddr, SocketAddr), usize>,
    all: Vec<Connection<'a>>,
    /// How many segments belong to connections beyond the limit.
    refused: usize,
}

struct Connection<'a> {
    /// The lower address is peer 0, the higher peer 1.
    peers: [SocketAddr; 2],
    segments: Vec<Piece<'a>>,
    /// The first sequence number of each peer after its SYN.
    starts: [Option<u32>; 2],
    /// The peer that opened it, where a SYN shows that.
    client: Option<usize>,
    ended: bool,
}

/// A segment without its addresses.
struct Piece<'a> {
    number: usize,
    time_ns: u64,
    from: usize,
    /// The sequence number of its first octet.
    seq: u32,
    ack: Option<u32>,
    fin: bool,
    rst: bool,
    psh: bool,
    cut: bool,
    payload: &'a [u8],
}

impl<'a> Table<'a> {
    pub(super) fn add(&mut self, segment: Segment<'a>) {
        let from = usize::from(segment.from > segment.to);
        let mut peers = [segment.from, segment.to];
        peers.sort();
        let known = self.newest.get(&peers.into()).copied();
        let known = known.filter(|at| {
            let connection = self.all.get(*at);
            connection.is_some_and(|c| !c.is_before(from, &segment))
        });
        let at = match known {
            Some(at) => at,
            None if self.all.len() >= MAX_CONNECTIONS => {
                self.refused += 1;
                return;
            }
            None => {
                self.all.push(Connection {
                    peers,
                    segments: Vec::new(),
                    starts: [None; 2],
                    client: None,
                    ended: false,
                });
                self.newest.insert(peers.into(), self.all.len() - 1);
                self.all.len() - 1
            }
        };
        if let Some(connection) = self.all.get_mut(at) {
            connection.add(from, segment);
        }
    }

    /// Makes a draft of each connection that is WebSocket.
    pub(super) fn conversations(self, drafts: &mut Drafts<'_>) {
        let mut other_ports = 0_usize;
        for connection in self.all {
            let port = drafts.options.port;
            if port.is_some_and(|port| connection.peers.iter().all(|peer| peer.port() != port)) {
                other_ports += 1;
                continue;
            }
            connection.converse(drafts);
        }
        if other_ports > 0 {
            drafts.remark(format!(
                "left out: {other_ports} connections to other ports (--port)"
            ));
        }
        if self.refused > 0 {
            drafts.remark(format!(
                "left out: {} packets of connections beyond the first {MAX_CONNECTIONS}; filter the capture",
                self.refused
            ));
        }
    }
}

/// How many octets `seq` is after `base`.
fn distance(base: u32, seq: u32) -> i64 {
    i64::from(i32::from_ne_bytes(seq.wrapping_sub(base).to_ne_bytes()))
}

fn length(octets: &[u8]) -> i64 {
    i64::try_from(octets.len()).unwrap_or(i64::MAX)
}

impl<'a> Connection<'a> {
    /// Whether this segment opens another connection between the same peers.
    fn is_before(&self, from: usize, segment: &Segment<'_>) -> bool {
        if !segment.syn || segment.ack.is_some() {
            return false;
        }
        let first = segment.seq.wrapping_add(1);
        match self.starts.get(from).copied().flatten() {
            Some(start) => start != first,
            None => {
                // It may have been captured after the segments of its connection.
                let numbers = self.segments.iter().find_map(|piece| {
                    let own = piece.from == from;
                    if own { Some(piece.seq) } else { piece.ack }
                });
                numbers.map_or(self.ended, |number| {
                    let ahead = distance(first, number);
                    !(0..=i64::try_from(MAX_OCTETS).unwrap_or(i64::MAX)).contains(&ahead)
                })
            }
        }
    }

    fn add(&mut self, from: usize, segment: Segment<'a>) {
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        if segment.syn {
            if let Some(start) = self.starts.get_mut(from) {
                start.get_or_insert(seq);
            }
            let opener = if segment.ack.is_some() {
                1 - from
            } else {
                from
            };
            self.client.get_or_insert(opener);
        }
        self.ended |= segment.fin || segment.rst;
        self.segments.push(Piece {
            number: segment.number,
            time_ns: segment.time_ns,
            from,
            seq,
            ack: segment.ack,
            fin: segment.fin,
            rst: segment.rst,
            psh: segment.psh,
            cut: segment.cut,
            payload: segment.payload,
        });
    }

    fn converse(self, drafts: &mut Drafts<'_>) {
        let peers = self.peers;
        let numbers = self.segments.iter().map(|piece| piece.number);
        let (first, last) = (numbers.clone().min(), numbers.max());
        let (client, port) = (self.client, drafts.options.port);
        let flow = Flow::of(&self);
        drop(self);
        let gets = |side: &&usize| {
            let stream = flow.sides.get(**side);
            stream.is_some_and(|s| is_request(&s.octets))
        };
        let by_port = || {
            let server = peers.iter().position(|peer| Some(peer.port()) == port)?;
            Some(1 - server)
        };
        let client = client
            .or_else(|| [0, 1].iter().find(gets).copied())
            .or_else(by_port)
            .unwrap_or(0);
        let [low, high] = peers;
        let (from, to) = if client == 0 {
            (low, high)
        } else {
            (high, low)
        };
        let place = format!(
            "{from} to {to}, packets {} to {}",
            first.unwrap_or(0),
            last.unwrap_or(0)
        );
        let side_of = |index: usize| {
            if index == client {
                Side::Client
            } else {
                Side::Server
            }
        };
        let octets = flow.sides.iter().map(|side| side.octets.len()).sum();
        let sent = |index: usize| flow.sides.get(index).map(|side| side.octets.as_slice());
        let request = sent(client).unwrap_or_default();
        let mut exchanges = exchanges(request, sent(1 - client).unwrap_or_default());
        let all = exchanges.len();
        let why_not = |exchange: &Exchange| {
            other_protocol(request.get(exchange.client.clone()).unwrap_or_default())
        };
        let reason = exchanges.iter().find_map(why_not);
        exchanges.retain(|exchange| why_not(exchange).is_none());
        if let Some(why) = reason {
            let others = all - exchanges.len();
            let what = match (others, exchanges.is_empty()) {
                (1, _) | (_, true) => place.clone(),
                _ => format!("{place}: {others} requests"),
            };
            drafts.remark(format!("left out: {what}: {why}"));
        }
        if exchanges.is_empty() {
            return;
        }
        if let Err(why) = drafts.count(octets, flow.events.len()) {
            drafts.remark(format!("left out: {place}: {why}"));
            return;
        }
        for (number, from) in &flow.differing {
            let side = side_of(*from);
            drafts.remark(format!(
                "{place}: packet {number} repeats octets of the {side} with other values; the first are kept"
            ));
        }
        let several = all > 1;
        let drafted: Vec<(Draft, String)> = exchanges
            .iter()
            .map(|exchange| {
                let n = exchange.client.start;
                let place = if several {
                    format!("{place}, from octet {n} of the client")
                } else {
                    place.clone()
                };
                if let Some(to) = &exchange.tunnel {
                    drafts.remark(format!(
                        "{place}: it runs through a proxy's tunnel to {}, whose CONNECT is left out",
                        Escaped::<80>(to)
                    ));
                }
                (flow.draft(exchange, client, drafts, &place), place)
            })
            .collect();
        drop(flow);
        for (draft, place) in drafted {
            drafts.add(draft, &place);
        }
    }
}

/// A connection, reassembled.
#[derive(Default)]
struct Flow {
    sides: [HalfStream; 2],
    events: Vec<Event>,
    lost: Option<Lost>,
    /// Retransmissions with other octets: the packet, and the peer that sent it.
    differing: Vec<(usize, usize)>,
}

/// What one peer sent.
#[derive(Default)]
struct HalfStream {
    octets: Vec<u8>,
    end: Option<StreamEnd>,
}

struct Event {
    from: usize,
    time_ns: u64,
    what: EventKind,
    /// Whether what follows may be part of the same write.
    open: bool,
}

#[derive(Clone, Copy)]
enum EventKind {
    Octets { start: usize, end: usize },
    Ends(StreamEnd),
}

/// Octets of a peer that are not in the capture, and the packet that shows that
/// they were sent.
#[derive(Clone, Copy)]
struct Gap {
    from: usize,
    start: i64,
    end: i64,
    number: usize,
}

/// Why the octets end before the connection does.
enum Lost {
    Octets(Gap),
    /// The capture kept only the start of this packet.
    Cut(usize),
    TooLong,
}

/// Where a segment lies in its direction.
#[derive(Clone, Copy)]
struct PiecePlace {
    offset: i64,
    /// Its index in the capture.
    index: usize,
    /// How many octets of the other direction come before it.
    ack: i64,
}

/// One direction while it is reassembled. A segment passes each stage once, so
/// that no capture makes this slow.
#[derive(Default)]
struct Reassembly {
    /// Segments after a gap, the nearest last.
    behind: Vec<PiecePlace>,
    /// Segments without a gap before them that acknowledge octets which the other
    /// peer has not sent yet.
    early: BTreeSet<(i64, usize, i64)>,
    /// Segments that can be taken: index in the capture, and offset.
    due: BTreeSet<(usize, i64)>,
    /// The offset that comes next; after a FIN, one more.
    next: i64,
    /// The highest index in the capture that was taken.
    index: usize,
}

/// The most differing retransmissions that are reported of one connection.
const MAX_DIFFERING: usize = 3;

impl Flow {
    fn of(connection: &Connection<'_>) -> Flow {
        let mut flow = Flow::default();
        let bases = [0, 1].map(|from| base(connection, from));
        let [mut low, mut high] = [0, 1].map(|from| reassembly(connection, from, bases));
        loop {
            let line = match (low.ready(high.next), high.ready(low.next)) {
                (None, None) => break,
                (Some(one), Some(other)) if other < one => &mut high,
                (None, Some(_)) => &mut high,
                (Some(_), _) => &mut low,
            };
            let Some((index, offset)) = line.due.pop_first() else {
                break;
            };
            line.index = line.index.max(index);
            let piece = connection.segments.get(index);
            if !piece.is_some_and(|piece| flow.take(connection, piece, offset, line)) {
                return flow;
            }
        }
        // A segment that only waits for octets of the other peer is no gap.
        let lines = [(0, low), (1, high)];
        let reach = lines
            .each_ref()
            .map(|(from, line)| line.reach(connection, *from));
        let ended = |gap: &Gap| flow.sides.get(gap.from).is_some_and(|s| s.end.is_some());
        let gaps = reach.iter().filter_map(|(_, gap)| *gap);
        let gap = gaps.filter(|gap| !ended(gap)).min_by_key(|gap| gap.number);
        let reach = reach.each_ref().map(|(reach, _)| *reach);
        let gap = gap.or_else(|| acknowledged(connection, bases, reach));
        flow.lost = gap.map(Lost::Octets);
        flow
    }

    /// Takes the new octets of a segment, and its end. Gives false where nothing
    /// more is to be taken.
    fn take(
        &mut self,
        connection: &Connection<'_>,
        piece: &Piece<'_>,
        offset: i64,
        line: &mut Reassembly,
    ) -> bool {
        let Some(side) = self.sides.get_mut(piece.from) else {
            return false;
        };
        if side.end.is_some() {
            return true;
        }
        let old = usize::try_from(line.next - offset).unwrap_or(0);
        let new = piece.payload.get(old..).unwrap_or_default();
        let start = usize::try_from(offset.max(0)).unwrap_or(usize::MAX);
        let again = side.octets.get(start..).unwrap_or_default();
        // A keepalive probe repeats one octet that was acknowledged.
        let probe = piece.payload.len() <= 1;
        let skipped = usize::try_from(-offset.min(0)).unwrap_or(0);
        let octets = piece.payload.get(skipped..).unwrap_or_default();
        let differs = again.iter().zip(octets).any(|(one, other)| one != other);
        if differs && !probe && self.differing.len() < MAX_DIFFERING {
            self.differing.push((piece.number, piece.from));
        }
        let long = side.octets.len() + new.len() > MAX_OCTETS;
        if long || self.events.len() >= MAX_STEPS {
            self.lost = Some(Lost::TooLong);
            return false;
        }
        if !new.is_empty() && !piece.rst {
            let start = side.octets.len();
            side.octets.extend_from_slice(new);
            let end = side.octets.len();
            line.next = i64::try_from(end).unwrap_or(i64::MAX);
            // A write that is longer than a segment is sent in several, and the
            // last of them has PSH set.
            match self.events.last_mut() {
                Some(last) if last.from == piece.from && last.open => {
                    if let EventKind::Octets { end: last_end, .. } = &mut last.what {
                        *last_end = end;
                    }
                    last.open = !piece.psh;
                }
                _ => {
                    let time_ns = connection.segments.get(line.index).map_or(0, |p| p.time_ns);
                    self.events.push(Event {
                        from: piece.from,
                        time_ns: time_ns.max(piece.time_ns),
                        what: EventKind::Octets { start, end },
                        open: !piece.psh,
                    });
                }
            }
        }
        if piece.cut && offset + length(piece.payload) == line.next {
            self.lost = Some(Lost::Cut(piece.number));
            return false;
        }
        let end = match (piece.rst, piece.fin) {
            (true, _) => StreamEnd::Rst,
            (false, true) => StreamEnd::Fin,
            (false, false) => return true,
        };
        side.end = Some(end);
        line.next += i64::from(end == StreamEnd::Fin);
        self.events.push(Event {
            from: piece.from,
            time_ns: piece.time_ns,
            what: EventKind::Ends(end),
            open: false,
        });
        true
    }

    /// The draft of one exchange.
    fn draft(&self, exchange: &Exchange, client: usize, drafts: &Drafts<'_>, place: &str) -> Draft {
        let [low, high] = &self.sides;
        let of = |from: usize| if from == 0 { low } else { high };
        let is_last = exchange.client.end == of(client).octets.len()
            && exchange.server.end == of(1 - client).octets.len();
        let side_of = |index: usize| {
            if index == client {
                Side::Client
            } else {
                Side::Server
            }
        };
        let mut start_ns = None;
        let mut before_ms = 0;
        let mut steps = Vec::new();
        for event in &self.events {
            let side = side_of(event.from);
            let mut step = match event.what {
                EventKind::Octets { start, end } => {
                    let own = match side {
                        Side::Client => &exchange.client,
                        Side::Server => &exchange.server,
                    };
                    let (start, end) = (start.max(own.start), end.min(own.end));
                    if start >= end {
                        continue;
                    }
                    let octets = of(event.from).octets.split_at(end).0.split_at(start).1;
                    Step::of(side, octets)
                }
                EventKind::Ends(_) if !is_last => continue,
                EventKind::Ends(end) => Step::end(side, end),
            };
            let start_ns = *start_ns.get_or_insert(event.time_ns);
            let at_ms = event.time_ns.saturating_sub(start_ns) / 1_000_000;
            step.after_ms = at_ms.checked_sub(before_ms).filter(|ms| *ms > 0);
            before_ms = before_ms.max(at_ms);
            steps.push(step);
        }
        let mut source = drafts.source("capture", place);
        source.date = date(start_ns.unwrap_or(0));
        source.timing = Some("recorded".to_owned());
        Draft {
            source,
            secure: false,
            steps,
            unfinished: is_last.then(|| self.why_unfinished(&side_of)).flatten(),
            messages: Vec::new(),
            open: None,
        }
    }

    fn why_unfinished(&self, side_of: &dyn Fn(usize) -> Side) -> Option<String> {
        let name = |from: usize| side_of(from).name();
        match &self.lost {
            Some(Lost::Octets(gap)) => Some(format!(
                "the {}'s octets {} to {} are not in the capture, but packet {} comes after them",
                name(gap.from),
                gap.start,
                gap.end,
                gap.number
            )),
            Some(Lost::Cut(number)) => Some(format!(
                "the capture keeps only the start of packet {number}; capture with tcpdump -s 0"
            )),
            Some(Lost::TooLong) => Some(format!(
                "the connection is longer than {MAX_OCTETS} octets or {MAX_STEPS} steps"
            )),
            None => {
                let ends = self.sides.each_ref().map(|side| side.end);
                let over = ends.contains(&Some(StreamEnd::Rst)) || ends.iter().all(Option::is_some);
                (!over).then(|| "the capture ends before the connection does".to_owned())
            }
        }
    }
}

impl Reassembly {
    /// The index in the capture of the segment that can be taken next, when the
    /// other direction has come so far.
    fn ready(&mut self, other: i64) -> Option<usize> {
        while let Some(place) = self.behind.last().filter(|p| p.offset <= self.next) {
            self.early.insert((place.ack, place.index, place.offset));
            self.behind.pop();
        }
        while let Some((ack, index, offset)) = self.early.pop_first() {
            if ack > other {
                self.early.insert((ack, index, offset));
                break;
            }
            self.due.insert((index, offset));
        }
        let (index, _) = self.due.first()?;
        Some(self.index.max(*index))
    }

    /// How far the captured octets reach, and the gap after them.
    fn reach(&self, connection: &Connection<'_>, from: usize) -> (i64, Option<Gap>) {
        let end = |index: usize, offset: i64| {
            let piece = connection.segments.get(index);
            piece.map_or(offset, |piece| {
                offset + length(piece.payload) + i64::from(piece.fin)
            })
        };
        let early = self.early.iter();
        let mut reach = early
            .map(|(_, index, offset)| end(*index, *offset))
            .fold(self.next, i64::max);
        for place in self.behind.iter().rev() {
            if place.offset > reach {
                let number = connection.segments.get(place.index).map_or(0, |p| p.number);
                let gap = Gap {
                    from,
                    start: reach,
                    end: place.offset,
                    number,
                };
                return (reach, Some(gap));
            }
            reach = reach.max(end(place.index, place.offset));
        }
        (reach, None)
    }
}

/// The sequence number of a peer's first octet.
fn base(connection: &Connection<'_>, from: usize) -> Option<u32> {
    if let Some(start) = connection.starts.get(from).copied().flatten() {
        return Some(start);
    }
    let own = || {
        connection
            .segments
            .iter()
            .filter(|piece| piece.from == from)
    };
    let first = own().find(|piece| !piece.payload.is_empty() || piece.fin);
    let first = first.or_else(|| own().next())?.seq;
    let seqs = own()
        .filter(|piece| !piece.payload.is_empty() || piece.fin)
        .map(|piece| piece.seq);
    // What the other peer has acknowledged was sent before.
    let acks = connection
        .segments
        .iter()
        .filter(|piece| piece.from != from && !piece.rst)
        .filter_map(|piece| piece.ack);
    let near = i64::try_from(MAX_OCTETS).unwrap_or(i64::MAX);
    seqs.chain(acks)
        .filter(|seq| distance(first, *seq).abs() <= near)
        .min_by_key(|seq| distance(first, *seq))
}

/// The segments of a direction, by their offset in it.
fn reassembly(connection: &Connection<'_>, from: usize, bases: [Option<u32>; 2]) -> Reassembly {
    let base = |of: usize| bases.get(of).copied().flatten();
    let mut places = Vec::new();
    let mut end = 0;
    for (index, piece) in connection.segments.iter().enumerate() {
        let (true, Some(start)) = (piece.from == from, base(from)) else {
            continue;
        };
        let mut offset = distance(start, piece.seq);
        if piece.rst {
            // Its sequence number may be an old one.
            offset = offset.max(end);
        }
        end = end.max(offset + length(piece.payload));
        if piece.payload.is_empty() && !piece.fin && !piece.rst {
            continue;
        }
        let ack = base(1 - from)
            .zip(piece.ack)
            .map_or(i64::MIN, |(base, ack)| distance(base, ack));
        places.push(PiecePlace { offset, index, ack });
    }
    places.sort_by_key(|place| std::cmp::Reverse((place.offset, place.index)));
    Reassembly {
        behind: places,
        ..Reassembly::default()
    }
}

/// The octets that were acknowledged but are not in the capture.
fn acknowledged(
    connection: &Connection<'_>,
    bases: [Option<u32>; 2],
    reach: [i64; 2],
) -> Option<Gap> {
    let pieces = connection.segments.iter().filter(|piece| !piece.rst);
    pieces
        .filter_map(|piece| {
            let from = 1 - piece.from;
            let base = bases.get(from).copied().flatten()?;
            let (start, end) = (*reach.get(from)?, distance(base, piece.ack?));
            (end > start).then_some(Gap {
                from,
                start,
                end,
                number: piece.number,
            })
        })
        .next()
}

/// The date of a time in nanoseconds since 1970.
fn date(time_ns: u64) -> Option<String> {
    let time = Timestamp::from_nanosecond(i128::from(time_ns)).ok()?;
    let day = time.strftime("%F").to_string();
    // A capture without a clock has times of 1970.
    (day != "1970-01-01").then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let day = |n: u64| date(n * 86_400 * 1_000_000_000);
        assert_eq!(day(0), None);
        assert_eq!(day(1).as_deref(), Some("1970-01-02"));
        assert_eq!(day(11_016).as_deref(), Some("2000-02-29"));
        assert_eq!(day(14_692).as_deref(), Some("2010-03-24"));
        assert_eq!(day(20_777).as_deref(), Some("2026-11-20"));
        assert_eq!(date(u64::MAX).as_deref(), Some("2554-07-21"));
    }
}
