//! When something is due: pauses, deadlines, and the ends of waits for the peer.

use std::time::{Duration, Instant};

use super::case::Case;
use super::options::PlayOptions;
use crate::version::Side;

/// How long the peer may take to reply to a close, and a server to end TCP behind
/// both closes: as in the original.
const CLOSING: Duration = Duration::from_secs(1);
/// How long a client may take to end TCP after the server has.
const LINGER: Duration = Duration::from_millis(500);
/// How often to look whether octets were written.
const LOOK: Duration = Duration::from_millis(250);
/// A deadline from which on a case is a long one: what counts is that it goes on.
const LONG: Duration = Duration::from_secs(5);
/// What a case may take beyond its pauses and its deadline, however slowly the peer
/// goes on.
const SPARE: Duration = Duration::from_secs(5);
/// The same for a case with a long deadline, for each MiB that is expected.
const SPARE_OF_MIB: Duration = Duration::from_secs(2);
/// What a case with a long deadline may take in any case, beyond [`SPARE`].
const SPARE_OF_LONG: Duration = Duration::from_secs(15);
/// What it gets more for each octet that was sent or received (62500 in a second),
/// and for each echo: one may wait for the acknowledgement of a packet.
const OF_OCTET: Duration = Duration::from_micros(16);
const OF_ECHO: Duration = Duration::from_millis(50);

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Opening,
    /// The handshake is one that the peer must refuse.
    Refusal,
    Open,
    Closing,
    Closed,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A pause is over; its name.
    Wait(Option<String>),
    /// The opening handshake takes too long.
    Opening,
    /// The tester ends the conversation.
    Deadline,
    /// The case takes too long, although something goes on.
    Cap,
    /// The peer does not reply to our close.
    Reply,
    /// The server does not end TCP, after its close has replied to ours.
    EndBehindReply,
    /// The server does not end TCP, after ours has replied to its close.
    End,
    /// The client does not end TCP.
    Linger,
}

/// The times of one case.
#[derive(Debug)]
pub(super) struct Clock {
    /// The side of the tester.
    side: Side,
    started: Instant,
    /// When an octet was last sent or received.
    progress: Instant,
    opening: Instant,
    deadline: Duration,
    /// Whether the case may take long as long as it goes on.
    is_patient: bool,
    waiting: Option<(Instant, Option<String>)>,
    closing: Option<(Instant, Due)>,
    /// When the tester fails the connection, counted from the last step.
    kill: Option<Instant>,
    /// Whether that has closed the connection.
    has_killed: bool,
    cap: Instant,
    /// What the cap may grow to.
    most: Instant,
    /// Octets that were written so far.
    written: u64,
    linger: Option<Instant>,
}

impl Clock {
    /// The clock of a case for which so many octets are expected.
    pub(super) fn new(case: &Case, side: Side, options: &PlayOptions, octets: u64) -> Clock {
        let now = Instant::now();
        let deadline = Duration::from_millis(case.deadline_ms);
        let is_patient = deadline >= LONG;
        let waits = case.steps.iter().filter_map(|step| step.wait_ms).sum();
        let least = options.opening + Duration::from_millis(waits) + SPARE;
        let (cap, most) = if is_patient {
            let mib = u32::try_from(octets >> 20)
                .unwrap_or(u32::MAX)
                .saturating_add(30);
            let most = least + SPARE_OF_MIB.saturating_mul(mib);
            (least + SPARE_OF_LONG, most)
        } else {
            (least + deadline, least + deadline)
        };
        Clock {
            side,
            started: now,
            progress: now,
            opening: now + options.opening,
            deadline: match is_patient {
                true => deadline.min(options.patience),
                false => deadline,
            },
            is_patient,
            waiting: None,
            closing: None,
            kill: None,
            has_killed: false,
            cap: now + cap,
            most: now + most,
            written: 0,
            linger: None,
        }
    }

    /// A time that does not come while a case is played.
    pub(super) fn far() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    /// When to look whether octets were written.
    pub(super) fn soon() -> Instant {
        Instant::now() + LOOK
    }

    /// Octets were sent or received.
    pub(super) fn progress(&mut self) {
        self.progress = Instant::now();
    }

    /// So many octets were received. A case that goes on only octet by octet does not
    /// last for ever.
    pub(super) fn received(&mut self, octets: usize) {
        self.progress();
        self.grant(octets as u64);
    }

    /// So many octets were written since the start.
    pub(super) fn written(&mut self, octets: u64) {
        self.grant(octets.saturating_sub(self.written));
        self.written = octets;
    }

    fn grant(&mut self, octets: u64) {
        let more = OF_OCTET.saturating_mul(u32::try_from(octets).unwrap_or(u32::MAX));
        self.cap = (self.cap + more).min(self.most);
    }

    /// The echo of a message has arrived for which the steps wait.
    pub(super) fn echoed(&mut self) {
        self.cap = (self.cap + OF_ECHO).min(self.most);
    }

    /// The deadline of the case closes the connection. It does so once: from then on
    /// the peer has the times of every close.
    pub(super) fn closed_at_deadline(&mut self) {
        self.has_killed = true;
    }

    /// The opening handshake is finished.
    pub(super) fn opened(&mut self) {
        self.progress();
    }

    /// Whether the case may take long as long as it goes on.
    pub(super) fn is_patient(&self) -> bool {
        self.is_patient
    }

    /// A pause begins.
    pub(super) fn wait(&mut self, ms: u64, mark: Option<String>) {
        self.waiting = Some((Instant::now() + Duration::from_millis(ms), mark));
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The pause is over.
    pub(super) fn end_wait(&mut self) {
        if self.waiting.take().is_some() {
            self.progress();
        }
    }

    /// All steps were sent: from now on the deadline of a case counts that fails the
    /// connection then.
    pub(super) fn steps_sent(&mut self) {
        self.kill.get_or_insert(Instant::now() + self.deadline);
    }

    /// A close was sent first.
    pub(super) fn await_reply(&mut self) {
        self.closing = Some((Instant::now() + CLOSING, Due::Reply));
    }

    /// Both closes are there, and a server is to end TCP; `replied` is whether its
    /// close was the second, `fails` whether the deadline of the case fails the
    /// connection.
    pub(super) fn await_end(&mut self, replied: bool, fails: bool) {
        let at = Instant::now() + CLOSING;
        // In the original the deadline of the case still counts. Where it comes
        // first, both closes were in order, and only the end of TCP was not.
        let is_ahead = fails && !self.has_killed;
        let kill = self.kill.filter(|kill| is_ahead && *kill <= at);
        self.closing = Some(match (replied, kill) {
            (true, None) => (at, Due::EndBehindReply),
            (true, Some(kill)) => (kill, Due::End),
            (false, _) => (at, Due::End),
        });
    }

    /// A client is given the time to end TCP.
    pub(super) fn linger(&mut self) {
        self.linger = Some(Instant::now() + LINGER);
    }

    pub(super) fn end_linger(&mut self) {
        self.linger = None;
    }

    pub(super) fn lingers(&self) -> bool {
        // A peer that goes on to send is read for so long, and no longer.
        self.linger.is_some_and(|until| Instant::now() < until)
    }

    /// The case gets a little more time, to close.
    pub(super) fn extend(&mut self) {
        self.cap = Instant::now() + CLOSING + CLOSING;
        self.most = self.cap;
    }

    /// What is due next at this stage.
    pub(super) fn due(&self, stage: Stage) -> Option<(Instant, Due)> {
        let wait = || self.waiting.clone().map(|(at, mark)| (at, Due::Wait(mark)));
        let next = match stage {
            Stage::Opening => Some((self.opening, Due::Opening)),
            // A client refuses by the end of TCP, and is given the case's deadline.
            Stage::Refusal if self.side == Side::Server => {
                Some((self.progress + self.deadline, Due::Opening))
            }
            Stage::Refusal => Some((self.opening, Due::Opening)),
            Stage::Open => Some(wait().unwrap_or((self.progress + self.deadline, Due::Deadline))),
            Stage::Closing => {
                let closing = self.closing.clone().map(|(at, due)| match due {
                    // What is on its way comes before the peer's reply.
                    Due::Reply if self.is_patient => (at.max(self.progress + CLOSING), due),
                    due => (at, due),
                });
                closing.into_iter().chain(wait()).min_by_key(|(at, _)| *at)
            }
            Stage::Closed => return self.linger.map(|at| (at, Due::Linger)),
        };
        let cap = (self.cap, Due::Cap);
        next.into_iter().chain([cap]).min_by_key(|(at, _)| *at)
    }

    /// Since the case was begun.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::corpus::CaseSet;
    use super::*;

    fn clock(id: &str, octets: u64) -> Clock {
        let set = CaseSet::built_in();
        let case = set.cases.iter().find(|case| case.id == id).unwrap();
        Clock::new(case, Side::Client, &PlayOptions::default(), octets)
    }

    /// How long until this is due.
    fn until((at, due): (Instant, Due)) -> (Duration, Due) {
        (at.saturating_duration_since(Instant::now()), due)
    }

    #[test]
    fn a_close_at_the_deadline_gives_a_server_its_time_to_end_tcp() {
        let mut clock = clock("3.1", 0);
        clock.deadline = Duration::ZERO;
        clock.steps_sent();
        clock.closed_at_deadline();
        clock.await_reply();
        clock.await_end(true, true);
        let (left, due) = until(clock.due(Stage::Closing).unwrap());
        assert_eq!(due, Due::EndBehindReply);
        assert!(left > CLOSING / 2, "{left:?}");
    }

    #[test]
    fn the_deadline_ends_tcp_where_the_tester_closed_before() {
        let mut clock = clock("3.1", 0);
        clock.deadline = CLOSING / 4;
        clock.steps_sent();
        clock.await_reply();
        clock.await_end(true, true);
        let (left, due) = until(clock.due(Stage::Closing).unwrap());
        assert_eq!(due, Due::End);
        assert!(left <= CLOSING / 4, "{left:?}");
    }

    #[test]
    fn a_case_that_goes_on_octet_by_octet_ends() {
        let mut clock = clock("9.1.6", 16 << 20);
        for octets in 1..=100 {
            clock.received(1);
            clock.written(octets);
        }
        assert!(until((clock.cap, Due::Cap)).0 < Duration::from_secs(30));
        // One that goes on well gets the time that it takes.
        clock.received(16 << 20);
        assert!(until((clock.cap, Due::Cap)).0 > Duration::from_secs(80));
        clock.extend();
        clock.received(1 << 20);
        assert!(until((clock.cap, Due::Cap)).0 <= CLOSING * 2);
    }
}
