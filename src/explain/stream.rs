//! One side of a conversation: its octets, and the end of the core that reads
//! them.

use std::collections::VecDeque;

use super::foreign::changes;
use super::name::{Namer, Parsed, Parts, PartsOf};
use super::timeline::Timeline;
use crate::bytes::{Input, Output};
use crate::conn::{Conn, Phase, Session, SessionEvent};
use crate::error::{Located, Refusal, Violation};
use crate::extension::{Changes, Compression, Deflate, Mode, answer, check_answer};
use crate::handshake::{Detected, Head, Header, detect};
use crate::trace::Field;
use crate::version::{Side, Version, Versions};

/// The session is given no more octets at once, which bounds what a parse reports
/// at once.
const PORTION: usize = 64 * 1024;

/// A control frame with its longest header is no longer than this.
const LONGEST_FIELD_OCTETS: usize = 160;

/// How far the octets of one side can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// They wait for what the other side has yet to send.
    Waiting,
    /// The opening handshake is arriving, as seen from this side.
    Handshake,
    /// The opening handshake is finished.
    Open,
}

/// Whether TCP has ended on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tcp {
    Open,
    /// It has, behind octets that may not be parsed yet.
    Ended,
    /// It has, and the connection knows.
    Reported,
}

/// What happened next on one side.
#[derive(Debug)]
pub(super) enum Step {
    /// A request for an upgrade, and its head.
    Request(RequestSeen, Vec<u8>),
    /// A request for something else.
    Http,
    /// A request that is refused, and the version that it asks for.
    Refused(Refusal, Option<&'static Version>),
    /// A response, and its head.
    Response(ResponseSeen, Vec<u8>),
    /// The handshake is finished.
    Open,
    /// A message or control frame.
    Frame,
    /// A rule is broken.
    Broken(Located<Violation>),
}

/// What is read from the head of a request.
#[derive(Debug)]
pub(super) struct RequestSeen {
    /// The version that it asks for.
    pub(super) version: &'static Version,
    /// Whether it offers extensions, of which one may change what follows.
    pub(super) offers: bool,
    /// What a server answers that has compression on.
    pub(super) deflate: Option<Deflate>,
}

/// What is read from the head of a response.
#[derive(Debug)]
pub(super) struct ResponseSeen {
    pub(super) status: u16,
    /// The version that it agrees to.
    pub(super) version: Option<&'static Version>,
    /// hybi-04: the server's part of the masking key.
    pub(super) nonce: Option<String>,
    /// The compression that it agrees to.
    pub(super) deflate: Option<Deflate>,
    /// What the extensions change that it agrees to and that are not spoken here.
    pub(super) changes: Option<Changes>,
}

/// One side of a conversation.
#[derive(Debug)]
pub(super) struct Stream {
    /// The end that reads it; `None` until it is known how.
    session: Option<Session>,
    pub(super) state: State,
    pub(super) tcp: Tcp,
    /// Whether nothing is parsed any more, because an extension that is not spoken
    /// here changes what follows.
    pub(super) is_stopped: bool,
    /// Octets that the session was not given yet.
    pending: VecDeque<u8>,
    /// The octets of the session's buffer as they were sent; the session unmasks
    /// its own.
    raw: Vec<u8>,
    /// How many of them are named.
    named: usize,
    /// The part that is arriving, by its index.
    current: Option<usize>,
    pub(super) timeline: Timeline,
    from: Side,
}

impl Stream {
    pub(super) fn new(from: Side) -> Stream {
        Stream {
            session: None,
            state: State::Waiting,
            tcp: Tcp::Open,
            is_stopped: false,
            pending: VecDeque::new(),
            raw: Vec::new(),
            named: 0,
            current: None,
            timeline: Timeline::default(),
            from,
        }
    }

    /// Reads on by this connection.
    pub(super) fn read_by(&mut self, conn: Conn) {
        match &mut self.session {
            Some(session) => session.set_conn(conn),
            None => self.session = Some(Session::new(conn)),
        }
        self.state = State::Handshake;
    }

    /// Leaves what is not parsed until the other side has sent more.
    pub(super) fn wait(&mut self) {
        self.state = State::Waiting;
        if let Some(session) = &mut self.session {
            for octet in session.unparsed().iter().rev() {
                self.pending.push_front(*octet);
            }
            session.truncate_unparsed(0);
        }
    }

    /// Whether the connection is known, and waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.session.is_some() && self.state == State::Waiting
    }

    /// Parses nothing any more: what follows is named as that.
    pub(super) fn stop(&mut self) {
        if let Some(conn) = self.conn_mut() {
            with_output(|out| conn.fail(Violation::Internal, out));
        }
    }

    pub(super) fn conn_mut(&mut self) -> Option<&mut Conn> {
        self.session.as_mut().map(Session::conn_mut)
    }

    pub(super) fn phase(&self) -> Phase {
        let conn = self.session.as_ref().map(Session::conn);
        conn.map_or(Phase::Handshake, Conn::phase)
    }

    /// The position of the first octet that is not parsed.
    pub(super) fn position(&self) -> u64 {
        self.session.as_ref().map_or(0, Session::position)
    }

    /// These octets arrived, after `before` others of both sides.
    pub(super) fn add(&mut self, before: u64, octets: &[u8]) {
        self.timeline.add(before, octets.len());
        self.pending.extend(octets);
    }

    /// Whether all octets were given to the connection.
    pub(super) fn is_drained(&self) -> bool {
        self.pending.is_empty()
    }

    /// Gives the next portion to the session, if there is one and it need not wait.
    /// Gives whether it did.
    pub(super) fn receive(&mut self) -> bool {
        let Some(session) = &mut self.session else {
            return false;
        };
        if self.state == State::Waiting || self.pending.is_empty() {
            return false;
        }
        let (octets, _) = self.pending.as_slices();
        let portion = octets.get(..PORTION).unwrap_or(octets);
        let n = portion.len();
        session.receive(portion);
        self.pending.drain(..n);
        self.raw.clear();
        self.raw.extend_from_slice(session.unparsed());
        self.named = 0;
        true
    }

    /// What happened next; `None` where more octets are needed.
    pub(super) fn next(&mut self, namer: &mut Namer) -> Option<Step> {
        let session = self.session.as_mut()?;
        with_output(|out| match session.next_watched(out, namer) {
            Ok(next) => next.map(|(event, conn)| Step::of(event, conn)),
            Err(located) => Some(Step::Broken(located)),
        })
    }

    /// The octets that were parsed and not named, as they were sent.
    pub(super) fn unnamed(&self) -> &[u8] {
        let parsed = self.session.as_ref().map_or(0, |s| s.parsed().len());
        self.raw.split_at(parsed).0.split_at(self.named).1
    }

    /// Names what was parsed since the last call, up to octet `end`. The octets
    /// behind it were not looked at, because a rule is broken before them.
    pub(super) fn name(
        &mut self,
        mut namer: Namer,
        version: Option<&'static Version>,
        end: u64,
        parts: &mut Parts,
    ) {
        let Some(session) = &self.session else {
            return;
        };
        let raw = self.unnamed();
        let (_, plain) = session.parsed().split_at(self.named);
        let at = session.position() - raw.len() as u64;
        let n = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let (raw, after) = raw.split_at(n.min(raw.len()));
        let (plain, _) = plain.split_at(raw.len());
        let of = |at, raw, plain| PartsOf {
            from: self.from,
            version,
            parsed: Parsed { at, raw, plain },
        };
        let mut current = self.current;
        if !after.is_empty() {
            namer.truncate(end);
        }
        namer.write_parts(of(at, raw, plain), parts, &mut current);
        if !after.is_empty() {
            let namer = Namer::of(Field::AfterEnd, end, after.len());
            namer.write_parts(of(end, after, after), parts, &mut current);
        }
        self.named = session.parsed().len();
        self.current = current;
    }

    /// Reports the end of TCP to the connection.
    pub(super) fn end_of_input(&mut self) -> Result<(), Located<Violation>> {
        self.tcp = Tcp::Reported;
        match &mut self.session {
            Some(session) => session.end_of_input(),
            None => Ok(()),
        }
    }

    /// No more octets follow: names what is left, and counts what is missing.
    pub(super) fn finish(&mut self, version: Option<&'static Version>, parts: &mut Parts) {
        let left = self.session.as_ref().map_or(&[][..], Session::unparsed);
        let mut rest = left.to_vec();
        let mut at = self.position();
        if self.tcp != Tcp::Reported && !rest.is_empty() {
            let in_head = self.is_in_head();
            let named = self.name_cut_field(at, &rest, version, parts);
            rest.drain(..named);
            at += named as u64;
            if let Some(part) = self.current.and_then(|n| parts.list.get_mut(n)) {
                // Where the octets end between two fields, no span shows that.
                part.missing = part.missing.or(in_head.then_some(0));
            }
        }
        rest.extend(&self.pending);
        let of = PartsOf {
            from: self.from,
            version,
            parsed: Parsed {
                at,
                raw: &rest,
                plain: &rest,
            },
        };
        let namer = Namer::of(Field::Unreadable, at, rest.len());
        namer.write_parts(of, parts, &mut self.current);
        self.count_missing(parts);
    }

    /// Whether the head of this side is arriving.
    fn is_in_head(&self) -> bool {
        self.phase() == Phase::Handshake && self.current.is_none()
    }

    /// The octets ended inside a field: shows the parse how it might go on, so
    /// that the octets that are there get their names. Its outcome means
    /// nothing. Gives how many of `left` are named.
    fn name_cut_field(
        &mut self,
        at: u64,
        left: &[u8],
        version: Option<&'static Version>,
        parts: &mut Parts,
    ) -> usize {
        let in_head = self.is_in_head();
        let Some(session) = &mut self.session else {
            return 0;
        };
        let conn = session.conn_mut();
        let mut octets = left.to_vec();
        if in_head {
            octets.extend_from_slice(match left {
                [.., b'\r', b'\n', b'\r'] => b"\n".as_slice(),
                [.., b'\r', b'\n'] => b"\r\n",
                [.., b'\r'] => b"\n\r\n",
                _ => b"\r\n\r\n",
            });
        } else {
            octets.resize(left.len() + LONGEST_FIELD_OCTETS, 0);
        }
        let mut namer = Namer::default();
        let mut input = Input::starting_at(&mut octets, at);
        with_output(|out| {
            let _ = conn.next_watched(&mut input, out, &mut namer);
        });
        namer.drop_derived();
        let (plain, _) = octets.split_at(left.len());
        let of = PartsOf {
            from: self.from,
            version: version.or(conn.version()),
            parsed: Parsed {
                at,
                raw: left,
                plain,
            },
        };
        namer.write_parts(of, parts, &mut self.current);
        let part = self.current.and_then(|n| parts.list.get(n));
        let named = part.map_or(0, |part| part.end().saturating_sub(at));
        usize::try_from(named).unwrap_or(usize::MAX).min(left.len())
    }

    /// How many octets are missing at the end of the last part.
    fn count_missing(&self, parts: &mut Parts) {
        let part = self.current.and_then(|n| parts.list.get_mut(n));
        let (Some(part), Some(session)) = (part, &self.session) else {
            return;
        };
        if self.is_stopped {
            return;
        }
        let conn = session.conn();
        let cut = part.spans.last().is_some_and(|seen| seen.cut);
        if cut || conn.text_to_come() || part.lacks_terminator() {
            part.missing = Some(0);
        } else if conn.compression().is_some() {
            part.missing = part.payload_missing().filter(|missing| *missing > 0);
        } else if conn.payload_to_come() > 0 {
            part.missing = Some(conn.payload_to_come());
        }
    }
}

impl Step {
    fn of(event: SessionEvent<'_>, conn: &Conn) -> Step {
        match event {
            SessionEvent::Request(request) => match request.version() {
                Some(version) => {
                    let deflate = acceptable(request.head(), version);
                    let offers = request.head().has("Sec-WebSocket-Extensions");
                    let seen = RequestSeen {
                        version,
                        offers: offers && version.has_extensions(),
                        deflate,
                    };
                    Step::Request(seen, request.head().raw().to_vec())
                }
                None => Step::Http,
            },
            SessionEvent::Http(_) => Step::Http,
            SessionEvent::Refused(refused) => {
                let limit = conn.config().limits.headers;
                let version = requested_version(refused.octets, limit);
                Step::Refused(refused.refusal.error, version)
            }
            SessionEvent::Response(response) => {
                let head = response.head();
                let nonce = head.get("Sec-WebSocket-Nonce").and_then(Header::text);
                let agreed = head.all("Sec-WebSocket-Extensions");
                let agreed = agreed.map(|header| header.value);
                let seen = ResponseSeen {
                    changes: changes(agreed, conn.version()),
                    status: response.status(),
                    version: conn.version(),
                    nonce: nonce.map(str::to_owned),
                    deflate: response
                        .compression()
                        .or_else(|| claimed(head, conn.version())),
                };
                Step::Response(seen, head.raw().to_vec())
            }
            SessionEvent::Open => Step::Open,
            SessionEvent::Stray(_)
            | SessionEvent::Message(_)
            | SessionEvent::Ping(_)
            | SessionEvent::Pong(_)
            | SessionEvent::Close(_) => Step::Frame,
        }
    }
}

/// The compression that a server may agree to.
fn acceptable(head: &Head<'_>, version: &'static Version) -> Option<Deflate> {
    let offered = head.all("Sec-WebSocket-Extensions");
    let offered: Vec<&[u8]> = offered.map(|header| header.value).collect();
    let all = Compression::default().with_mode(Mode::PerConnection);
    let answer = answer(offered.iter().copied(), version, &all, None);
    answer.map(|answer| answer.deflate)
}

/// The compression that a response agrees to, whatever else is wrong with it.
fn claimed(head: &Head<'_>, version: Option<&'static Version>) -> Option<Deflate> {
    let answered = head.all("Sec-WebSocket-Extensions");
    let answered: Vec<&[u8]> = answered.map(|header| header.value).collect();
    let answered = || answered.iter().copied();
    check_answer(version?, answered(), answered()).ok()?
}

/// The version that a refused head asks for, where one can be made out.
fn requested_version(head: &[u8], limit: u16) -> Option<&'static Version> {
    let head = Head::request(head, limit, &[]).ok()?;
    match detect(&head, Versions::ALL).ok()? {
        Detected::Upgrade(version) => Some(version),
        Detected::Http => None,
    }
}

/// Gives an output whose octets are not needed.
pub(super) fn with_output<R>(act: impl FnOnce(&mut Output<'_>) -> R) -> R {
    let mut sink = Vec::new();
    let mut random = |octets: &mut [u8]| octets.fill(0);
    act(&mut Output::new(&mut sink, &mut random))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conn::Config;

    #[test]
    fn a_parse_is_given_a_portion_however_much_has_arrived() {
        let mut stream = Stream::new(Side::Client);
        stream.read_by(Conn::server(Arc::new(Config::default())));
        stream.add(0, &vec![0; 16 * 1024 * 1024]);
        assert!(stream.receive());
        assert!(stream.raw.len() <= PORTION, "{}", stream.raw.len());
    }
}
