//! What is received, compared with every outcome that a case allows while it
//! arrives.

use super::case::{Case, CaseEvent, CaseMessage, EventKind, Outcome};
use super::payload::Payload;
use crate::message::Kind;
use crate::vector::{Difference, MessageKind, shown};

/// Octets of what was received that are kept to be shown.
const SHOWN: usize = 64;
/// Received things that are kept to be shown.
const MOST_SEEN: usize = 16;

/// What may still be received, by outcome.
#[derive(Debug)]
pub(super) struct Expected<'c> {
    alternatives: Vec<Alternative<'c>>,
    /// The echo that is waited for between two messages of `roundtrips`.
    echo: Option<Alternative<'c>>,
    /// An echo was wrong.
    wrong_echo: Option<Difference>,
    /// Pings count only where an outcome names one.
    counts_pings: bool,
    seen: Vec<Seen>,
    /// How many things were received.
    count: usize,
    /// Whether the message at hand is an echo.
    in_echo: bool,
}

/// One thing that was received, shortened.
#[derive(Clone, Debug)]
struct Seen {
    kind: EventKind,
    octets: Vec<u8>,
    length: u64,
}

/// One outcome, and how far what was received is the same.
#[derive(Debug)]
struct Alternative<'c> {
    events: Vec<Event<'c>>,
    /// How many of them were received.
    next: usize,
    /// Which of them the message that is arriving is compared with.
    at: usize,
    /// What is left of the message that is arriving.
    payload: Payload,
    /// What differs in the message that is arriving.
    differs: Option<Miss>,
    /// The first thing that was received otherwise.
    missed: Option<Miss>,
    /// What may be received any number of times.
    ignored: &'c [EventKind],
    /// Whether the message that is arriving is ignored.
    is_ignoring: bool,
}

/// One event of an outcome.
#[derive(Clone, Copy, Debug)]
enum Event<'c> {
    Of(&'c CaseEvent),
    Echo(&'c CaseMessage, u64),
}

/// What was received in place of something else.
#[derive(Clone, Debug)]
struct Miss {
    /// Which event of the outcome.
    event: usize,
    what: MissKind,
}

#[derive(Clone, Debug)]
enum MissKind {
    /// Nothing more was expected.
    NothingMore(EventKind),
    /// A thing of this kind was expected.
    Kind(EventKind),
    /// The payload differs from this octet on.
    Octets(u64, Vec<u8>, Vec<u8>),
    /// The payload ends after so many octets, and so many are missing.
    Short(u64, u64),
}

impl<'c> Event<'c> {
    fn kind(self) -> EventKind {
        match self {
            Event::Of(event) => event.kind,
            Event::Echo(message, _) => match message.kind {
                MessageKind::Text => EventKind::Text,
                MessageKind::Binary => EventKind::Binary,
                MessageKind::Ping => EventKind::Ping,
                MessageKind::Pong => EventKind::Pong,
            },
        }
    }

    fn payload(self) -> Payload {
        // The content was checked when the case was read.
        match self {
            Event::Of(event) => Payload::of(&event.content, 0),
            Event::Echo(message, offset) => Payload::of(&message.content, offset),
        }
        .unwrap_or_default()
    }

    fn is_mark(self, name: &str) -> bool {
        matches!(self, Event::Of(event)
            if event.kind == EventKind::Mark && event.mark.as_deref() == Some(name))
    }
}

impl<'c> Alternative<'c> {
    fn of(events: Vec<Event<'c>>) -> Alternative<'c> {
        Alternative {
            events,
            next: 0,
            at: 0,
            payload: Payload::default(),
            differs: None,
            missed: None,
            ignored: &[],
            is_ignoring: false,
        }
    }

    fn outcome(outcome: &'c Outcome) -> Alternative<'c> {
        Alternative {
            ignored: &outcome.ignore,
            ..Alternative::of(outcome.events.iter().map(Event::Of).collect())
        }
    }

    /// A message starts to arrive. Pings and pongs may be received before it ends,
    /// so it is compared with the next message.
    fn begin(&mut self, kind: EventKind) {
        self.is_ignoring = self.ignored.contains(&kind);
        if self.is_ignoring {
            return;
        }
        let is_message =
            |event: &Event<'_>| matches!(event.kind(), EventKind::Text | EventKind::Binary);
        let (_, ahead) = self.events.split_at(self.next.min(self.events.len()));
        let found = ahead.iter().position(is_message);
        self.at = self.next + found.unwrap_or(ahead.len());
        let miss = |event, what| Some(Miss { event, what });
        self.differs = match self.events.get(self.at) {
            None => miss(self.next, MissKind::NothingMore(kind)),
            Some(event) if event.kind() != kind => miss(self.at, MissKind::Kind(event.kind())),
            Some(event) => {
                self.payload = event.payload();
                None
            }
        };
    }

    /// The next octets of the message that is arriving, `at` octets from its start.
    fn piece(&mut self, octets: &[u8], at: u64) {
        if self.missed.is_some() || self.differs.is_some() || self.is_ignoring {
            return;
        }
        if let Err(same) = self.payload.compare(octets) {
            let (_, differ) = octets.split_at(same.min(octets.len()));
            let at = at + same as u64;
            let expected = self.expected_at(at);
            self.differs = Some(Miss {
                event: self.at,
                what: MissKind::Octets(at, expected, first(differ).to_vec()),
            });
        }
    }

    fn expected_at(&self, at: u64) -> Vec<u8> {
        let whole = self.events.get(self.at).map(|event| event.payload());
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        whole.map_or(Vec::new(), |payload| payload.shown_from(at, SHOWN))
    }

    /// The message has ended.
    fn end(&mut self, length: u64) {
        if self.is_ignoring {
            return;
        }
        let left = std::mem::take(&mut self.payload).left();
        let order = self.events.get(self.next).filter(|_| self.at > self.next);
        let miss = if let Some(event) = order {
            Some((self.next, MissKind::Kind(event.kind())))
        } else {
            (left > 0).then_some((self.at, MissKind::Short(length, left)))
        };
        let miss = miss.map(|(event, what)| Miss { event, what });
        let miss = self.differs.take().or(miss);
        self.missed = self.missed.take().or(miss);
        self.next += usize::from(self.missed.is_none());
    }

    /// A ping or a pong was received.
    fn control(&mut self, kind: EventKind, payload: &[u8]) {
        if self.missed.is_some() || self.ignored.contains(&kind) {
            return;
        }
        let what = match self.events.get(self.next) {
            None => MissKind::NothingMore(kind),
            Some(event) if event.kind() != kind => MissKind::Kind(event.kind()),
            Some(event) => {
                let mut expected = event.payload();
                let whole = expected.clone();
                let length = payload.len() as u64;
                match expected.compare(payload) {
                    Ok(()) if expected.left() == 0 => {
                        self.next += 1;
                        return;
                    }
                    Ok(()) => MissKind::Short(length, expected.left()),
                    Err(same) => {
                        let (_, differ) = payload.split_at(same);
                        let expected = whole.shown_from(same, SHOWN);
                        MissKind::Octets(same as u64, expected, first(differ).to_vec())
                    }
                }
            }
        };
        let event = self.next;
        self.missed = Some(Miss { event, what });
    }

    fn mark(&mut self, name: &str) {
        match self.events.get(self.next) {
            _ if self.missed.is_some() => {}
            Some(event) if event.is_mark(name) => self.next += 1,
            Some(event) => {
                let what = MissKind::Kind(event.kind());
                let event = self.next;
                self.missed = Some(Miss { event, what });
            }
            None => {
                let what = MissKind::NothingMore(EventKind::Mark);
                let event = self.next;
                self.missed = Some(Miss { event, what });
            }
        }
    }

    fn is_met(&self) -> bool {
        self.missed.is_none() && self.next == self.events.len()
    }

    /// What differs from this outcome.
    fn difference(&self, seen: &[Seen], count: usize) -> Difference {
        let Some(Miss { event, what }) = &self.missed else {
            let expected = self
                .events
                .get(self.next)
                .map_or(String::new(), |event| describe_expected(*event));
            let so_far = describe_all(seen, count);
            return Difference::from(format!(
                "{expected} is missing; received before the connection ended: {so_far}"
            ))
            .in_field("received")
            .between(expected, so_far);
        };
        let ordinal = event + 1;
        match what {
            MissKind::NothingMore(kind) => {
                let got = seen
                    .get(*event)
                    .map_or(name(*kind).to_owned(), describe_seen);
                let expected = if self.events.is_empty() {
                    "nothing"
                } else {
                    "nothing more"
                };
                Difference::from(format!("{expected} was to be received, but {got} was"))
                    .in_field("received")
                    .between(expected, got)
            }
            MissKind::Kind(expected) => {
                let expected = self
                    .events
                    .get(*event)
                    .map_or(name(*expected).to_owned(), |event| {
                        describe_expected(*event)
                    });
                let got = seen.get(*event).map_or(String::new(), describe_seen);
                Difference::from(format!(
                    "received thing {ordinal} is {got}; expected was {expected}"
                ))
                .in_field("kind")
                .between(expected, got)
            }
            MissKind::Octets(at, expected, got) => {
                let (expected, got) = (shown(expected, SHOWN), shown(got, SHOWN));
                let kind = self
                    .events
                    .get(*event)
                    .map_or("message", |e| name(e.kind()));
                Difference::from(format!(
                    "{kind} differs from octet {at} on: expected {expected}, received {got}"
                ))
                .at(*at)
                .in_field("payload")
                .between(expected, got)
            }
            MissKind::Short(length, missing) => {
                let kind = self
                    .events
                    .get(*event)
                    .map_or("message", |e| name(e.kind()));
                Difference::from(format!(
                    "{kind} ends after {length} octets, {missing} too early"
                ))
                .at(*length)
                .in_field("length")
                .between(
                    format!("{} octets", length + missing),
                    format!("{length} octets"),
                )
            }
        }
    }
}

impl<'c> Expected<'c> {
    pub(super) fn of(case: &'c Case) -> Expected<'c> {
        let is_ping = |event: &CaseEvent| event.kind == EventKind::Ping;
        Expected {
            alternatives: case.outcomes.iter().map(Alternative::outcome).collect(),
            echo: None,
            wrong_echo: None,
            counts_pings: case
                .outcomes
                .iter()
                .any(|outcome| outcome.events.iter().any(is_ping)),
            seen: Vec::new(),
            count: 0,
            in_echo: false,
        }
    }

    /// Octets of payload that the longest outcome has.
    pub(super) fn octets(&self) -> u64 {
        let of = |alternative: &Alternative<'_>| {
            let lengths = alternative
                .events
                .iter()
                .map(|event| event.payload().left());
            lengths.fold(0_u64, u64::saturating_add)
        };
        self.alternatives.iter().map(of).max().unwrap_or(0)
    }

    /// Whether anything was received that counts.
    pub(super) fn has_received(&self) -> bool {
        self.count > 0
    }

    /// Whether a ping of the peer is a thing that counts.
    pub(super) fn counts_pings(&self) -> bool {
        self.counts_pings
    }

    /// Waits for the echo of this message; what is generated starts `offset` octets
    /// on.
    pub(super) fn expect_echo(&mut self, message: &'c CaseMessage, offset: u64) {
        self.echo = Some(Alternative::of(vec![Event::Echo(message, offset)]));
    }

    /// Whether an echo is waited for.
    pub(super) fn awaits_echo(&self) -> bool {
        self.echo.is_some()
    }

    fn begin(&mut self, kind: EventKind) {
        let is_message = matches!(kind, EventKind::Text | EventKind::Binary);
        self.in_echo = is_message && self.echo.is_some();
        if let (true, Some(echo)) = (self.in_echo, &mut self.echo) {
            echo.begin(kind);
        } else {
            for alternative in &mut self.alternatives {
                alternative.begin(kind);
            }
        }
    }

    fn end(&mut self, kind: EventKind, octets: &[u8], length: u64) {
        if let Some(mut echo) = self.echo.take_if(|_| self.in_echo) {
            echo.end(length);
            if !echo.is_met() {
                let seen = [Seen {
                    kind,
                    octets: octets.to_vec(),
                    length,
                }];
                self.wrong_echo = Some(echo.difference(&seen, 1));
            }
            return;
        }
        self.count += 1;
        if self.seen.len() < MOST_SEEN {
            self.seen.push(Seen {
                kind,
                octets: octets.to_vec(),
                length,
            });
        }
        for alternative in &mut self.alternatives {
            alternative.end(length);
        }
    }

    fn piece(&mut self, octets: &[u8], at: u64) {
        if let (true, Some(echo)) = (self.in_echo, &mut self.echo) {
            echo.piece(octets, at);
        } else {
            for alternative in &mut self.alternatives {
                alternative.piece(octets, at);
            }
        }
    }

    /// A ping or a pong was received.
    pub(super) fn control(&mut self, kind: EventKind, payload: &[u8]) {
        for alternative in &mut self.alternatives {
            alternative.control(kind, payload);
        }
        self.count += 1;
        if self.seen.len() < MOST_SEEN {
            self.seen.push(Seen {
                kind,
                octets: first(payload).to_vec(),
                length: payload.len() as u64,
            });
        }
    }

    /// A pause of this name has passed, and the connection is open.
    pub(super) fn mark(&mut self, name: &str) {
        self.count += 1;
        if self.seen.len() < MOST_SEEN {
            self.seen.push(Seen {
                kind: EventKind::Mark,
                octets: name.as_bytes().to_vec(),
                length: name.len() as u64,
            });
        }
        for alternative in &mut self.alternatives {
            alternative.mark(name);
        }
    }

    /// Whether what was received is all that any outcome asks for.
    pub(super) fn meets_all(&self) -> bool {
        self.echo.is_none() && self.alternatives.iter().all(Alternative::is_met)
    }

    /// Whether one outcome is met, and none that is longer can be met any more.
    pub(super) fn is_settled(&self) -> bool {
        let mut open = self.alternatives.iter().filter(|a| a.missed.is_none());
        self.echo.is_none() && self.met().is_some() && open.all(Alternative::is_met)
    }

    /// Whether none can be met any more.
    pub(super) fn is_lost(&self) -> bool {
        self.wrong_echo.is_some() || self.alternatives.iter().all(|a| a.missed.is_some())
    }

    /// The outcome that was met, by its index.
    pub(super) fn met(&self) -> Option<usize> {
        if self.echo.is_some() || self.wrong_echo.is_some() {
            return None;
        }
        self.alternatives.iter().position(Alternative::is_met)
    }

    /// What differs from the best outcome.
    pub(super) fn difference(&self) -> Option<Difference> {
        if let Some(difference) = &self.wrong_echo {
            return Some(difference.clone());
        }
        if let Some(echo) = &self.echo {
            return Some(echo.difference(&[], 0));
        }
        let best = self.alternatives.first()?;
        Some(best.difference(&self.seen, self.count))
    }
}

/// A message that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    kind: Option<EventKind>,
    /// Its first octets.
    first: Vec<u8>,
    length: u64,
}

impl Arriving {
    /// The next piece of a message.
    pub(super) fn piece(
        &mut self,
        expected: &mut Expected<'_>,
        (kind, octets): (Kind, &[u8]),
        (starts, ends): (bool, bool),
    ) {
        let kind = match kind {
            Kind::Text => EventKind::Text,
            Kind::Binary => EventKind::Binary,
        };
        if starts {
            self.first.clear();
            self.length = 0;
            self.kind = Some(kind);
            expected.begin(kind);
        }
        expected.piece(octets, self.length);
        let room = SHOWN.saturating_sub(self.first.len());
        self.first
            .extend_from_slice(octets.get(..room).unwrap_or(octets));
        self.length += octets.len() as u64;
        if ends {
            self.kind = None;
            expected.end(kind, &self.first, self.length);
        }
    }
}

fn first(octets: &[u8]) -> &[u8] {
    octets.get(..SHOWN).unwrap_or(octets)
}

fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Text => "the text message",
        EventKind::Binary => "the binary message",
        EventKind::Ping => "the ping",
        EventKind::Pong => "the pong",
        EventKind::Mark => "the pause",
    }
}

fn describe_seen(seen: &Seen) -> String {
    describe(seen.kind, &seen.octets, seen.length)
}

fn describe_expected(event: Event<'_>) -> String {
    if let Event::Of(CaseEvent {
        kind: EventKind::Mark,
        mark: Some(mark),
        ..
    }) = event
    {
        return describe(EventKind::Mark, mark.as_bytes(), 0);
    }
    let payload = event.payload();
    describe(event.kind(), payload.next(SHOWN), payload.left())
}

fn describe(kind: EventKind, octets: &[u8], length: u64) -> String {
    let what = match kind {
        EventKind::Text => "a text message",
        EventKind::Binary => "a binary message",
        EventKind::Ping => "a ping",
        EventKind::Pong => "a pong",
        EventKind::Mark => {
            return format!(
                "an open connection after pause {}",
                String::from_utf8_lossy(octets)
            );
        }
    };
    match length {
        0 => format!("{what} without payload"),
        _ if length <= octets.len() as u64 => format!("{what} {}", shown(octets, SHOWN)),
        _ => format!("{what} of {length} octets {}", shown(octets, 24)),
    }
}

fn describe_all(seen: &[Seen], count: usize) -> String {
    if seen.is_empty() {
        return "nothing".to_owned();
    }
    let mut all: Vec<String> = seen.iter().map(describe_seen).collect();
    if count > seen.len() {
        all.push(format!("{} more", count - seen.len()));
    }
    all.join(", ")
}
