//! What the tester sends: the steps of a case as octets, made in pieces while the
//! socket takes them.

use super::case::{Case, CaseFrame, CaseMessage, CaseStep, CloseStep, Roundtrips};
use super::payload::Payload;
use crate::bytes::Output;
use crate::conn::Conn;
use crate::extension::{Codecs, Deflate, Deflater, Level};
use crate::frame::{Control, Kind, Opcode, Position, RawFrame, RawHeader};
use crate::random::SystemRandom;
use crate::vector::{MessageKind, StreamEnd};
use crate::version::{Layout, Side};

/// Octets that are made at once.
const PORTION: usize = 64 * 1024;

/// How far the steps of a case have been sent.
pub(super) struct Sending<'c> {
    steps: &'c [CaseStep],
    /// The step that is sent next.
    next: usize,
    /// How often it was sent.
    repeated: usize,
    is_full: bool,
    /// Messages of the roundtrips at hand that were sent.
    roundtrips: usize,
    /// Whether the echo of one has not arrived.
    awaits_echo: bool,
    /// Octets of what is generated that earlier roundtrips took.
    offset: u64,
    current: Option<Current>,
    /// The frame that was sent last, for `more`.
    last_frame: RawFrame,
    /// Octets of one write of the current step.
    chop: Option<usize>,
    deflater: Option<Box<Deflater>>,
    codecs: Codecs,
}

/// A message or a frame whose payload is being sent.
enum Current {
    Message(Fragments),
    /// A text of hixie, which ends with FF.
    Hixie(Payload, bool),
    Payload(Payload),
}

/// A message in frames.
struct Fragments {
    payload: Payload,
    opcode: u8,
    /// RSV1 of the first frame.
    rsv: u8,
    /// Octets of each frame.
    size: Option<usize>,
    /// Octets of the frame that were not sent.
    frame: u64,
    started: bool,
    /// Whether the frame at hand is the last one.
    last: bool,
}

/// What comes next, where it is not octets.
#[derive(Debug)]
pub(super) enum Next<'c> {
    /// Octets were made.
    Octets,
    /// A pause of so many milliseconds, with its name.
    Wait(u64, Option<&'c str>),
    /// A close was written.
    Closed(&'c CloseStep),
    /// A message was started whose echo must arrive before the next; what is
    /// generated starts so many octets on.
    Roundtrip(&'c CaseMessage, u64),
    /// Our side of TCP ends.
    End(StreamEnd),
    /// Nothing, until an echo has arrived.
    Awaits,
    /// Nothing.
    Done,
    /// It cannot be sent in this version.
    Impossible(String),
}

impl<'c> Sending<'c> {
    pub(super) fn new(case: &'c Case, is_full: bool) -> Sending<'c> {
        Sending {
            steps: &case.steps,
            next: 0,
            repeated: 0,
            is_full,
            roundtrips: 0,
            awaits_echo: false,
            offset: 0,
            current: None,
            last_frame: RawFrame::default(),
            chop: None,
            deflater: None,
            codecs: Codecs::default(),
        }
    }

    /// Sends nothing more but the rest of the frame at hand.
    pub(super) fn stop(&mut self) {
        self.next = self.steps.len();
        match &mut self.current {
            // What follows in other frames is left out.
            Some(Current::Message(fragments)) if fragments.frame > 0 => {
                fragments.size = None;
                fragments.last = true;
            }
            Some(Current::Payload(_)) | None => {}
            Some(Current::Message(_) | Current::Hixie(..)) => self.current = None,
        }
    }

    /// The echo of a roundtrip has arrived.
    pub(super) fn on_echo(&mut self) {
        self.awaits_echo = false;
    }

    /// Whether nothing of a frame is half sent, so that another one may follow.
    pub(super) fn is_between_frames(&self) -> bool {
        match &self.current {
            None => true,
            Some(Current::Message(fragments)) => fragments.frame == 0,
            Some(_) => false,
        }
    }

    /// Whether what comes next is a pause or nothing.
    pub(super) fn pauses(&self) -> bool {
        let next = self.steps.get(self.next);
        self.current.is_none()
            && !self.awaits_echo
            && next.is_none_or(|step| step.wait_ms.is_some())
    }

    /// Octets of one write.
    pub(super) fn chop(&self) -> Option<usize> {
        self.chop
    }

    /// Octets that the echoes of all roundtrips have.
    pub(super) fn roundtrip_octets(case: &Case, is_full: bool) -> u64 {
        let of = |roundtrips: &Roundtrips| {
            let payload = Payload::of(&roundtrips.message.content, 0);
            let one = payload.map_or(0, |payload| payload.left());
            one.saturating_mul(count(roundtrips, is_full) as u64)
        };
        case.steps
            .iter()
            .filter_map(|step| step.roundtrips.as_ref())
            .fold(0, |sum, roundtrips| sum.saturating_add(of(roundtrips)))
    }

    /// Appends the next octets; says what else comes.
    pub(super) fn make(&mut self, conn: &mut Conn, octets: &mut Vec<u8>) -> Next<'c> {
        while octets.len() < PORTION {
            if self.current.is_some() {
                if let Err(why) = self.go_on(conn, octets) {
                    return Next::Impossible(why);
                }
                continue;
            }
            if self.awaits_echo {
                return Next::Awaits;
            }
            let Some(step) = self.steps.get(self.next) else {
                return Next::Done;
            };
            // What is cut into writes comes by itself.
            let is_cut = step.chop.is_some() || self.chop.is_some();
            if is_cut && !octets.is_empty() {
                return Next::Octets;
            }
            self.chop = step.chop;
            match self.start(step, conn, octets) {
                Ok(Next::Octets) => {}
                Ok(next) => return next,
                Err(why) => return Next::Impossible(why),
            }
        }
        Next::Octets
    }

    fn start(
        &mut self,
        step: &'c CaseStep,
        conn: &mut Conn,
        octets: &mut Vec<u8>,
    ) -> Result<Next<'c>, String> {
        if let Some(roundtrips) = &step.roundtrips {
            if self.roundtrips >= count(roundtrips, self.is_full) {
                self.roundtrips = 0;
                self.next += 1;
                return Ok(Next::Octets);
            }
            self.roundtrips += 1;
            let offset = self.offset;
            let payload = Payload::of(&roundtrips.message.content, offset)?;
            self.offset += payload.left();
            self.start_message(&roundtrips.message, payload, conn)?;
            self.awaits_echo = true;
            return Ok(Next::Roundtrip(&roundtrips.message, offset));
        }
        self.repeated += 1;
        if self.repeated >= step.repeat.unwrap_or(1) {
            self.repeated = 0;
            self.next += 1;
        }
        if let Some(message) = &step.message {
            let payload = Payload::of(&message.content, 0)?;
            self.start_message(message, payload, conn)?;
        } else if let Some(content) = &step.ping {
            let payload = Payload::of(content, 0)?;
            self.control(Control::Ping, payload, conn, octets)?;
        } else if let Some(content) = &step.pong {
            let payload = Payload::of(content, 0)?;
            self.control(Control::Pong, payload, conn, octets)?;
        } else if let Some(close) = &step.close {
            self.close(close, conn, octets)?;
            return Ok(Next::Closed(close));
        } else if let Some(frame) = &step.frame {
            self.frame(frame, conn, octets)?;
        } else if let Some(content) = &step.more {
            self.current = Some(Current::Payload(Payload::of(content, 0)?));
        } else if let Some(content) = &step.octets {
            self.last_frame = RawFrame::default();
            self.current = Some(Current::Payload(Payload::of(content, 0)?));
        } else if let Some(ms) = step.wait_ms {
            return Ok(Next::Wait(ms, step.mark.as_deref()));
        } else if let Some(end) = step.end {
            return Ok(Next::End(end));
        }
        Ok(Next::Octets)
    }

    fn start_message(
        &mut self,
        message: &CaseMessage,
        payload: Payload,
        conn: &mut Conn,
    ) -> Result<(), String> {
        let version = conn.version().ok_or("the connection is not open")?;
        let kind = match message.kind {
            MessageKind::Text => Kind::Text,
            MessageKind::Binary => Kind::Binary,
            MessageKind::Ping | MessageKind::Pong => {
                return Err("a message is text or binary".to_owned());
            }
        };
        if version.layout == Layout::Hixie75 {
            if kind == Kind::Binary {
                return Err(format!("{} has no binary messages", version.name));
            }
            self.current = Some(Current::Hixie(payload, false));
            return Ok(());
        }
        let side = conn.side();
        let (payload, rsv) = match conn.compression() {
            Some(deflate) if deflate.of(side).can_be_kept() => {
                (self.deflated(payload, deflate, side), 4)
            }
            _ => (payload, 0),
        };
        let encoder = conn.raw_encoder().ok_or("the connection is not open")?;
        let opcode = encoder.number_of(Opcode::Data(kind));
        let is_per_frame = conn.compression().is_some_and(Deflate::is_per_frame);
        let size = message.fragment.filter(|_| !(rsv != 0 && is_per_frame));
        // A message no longer than a fragment is one frame. Where the size divides
        // the length, a last frame without payload follows, as in the original.
        let is_fragmented = |size: &usize| payload.left() > *size as u64;
        self.current = Some(Current::Message(Fragments {
            size: size.filter(is_fragmented),
            payload,
            opcode,
            rsv,
            frame: 0,
            started: false,
            last: false,
        }));
        Ok(())
    }

    /// The payload of a whole message, compressed.
    fn deflated(&mut self, mut payload: Payload, deflate: Deflate, side: Side) -> Payload {
        let coding = deflate.of(side);
        let deflater = self
            .deflater
            .get_or_insert_with(|| self.codecs.deflater(Level::Fast, coding.max_window_bits));
        let mut deflated = Vec::new();
        loop {
            let part = payload.next(usize::MAX);
            let length = part.len();
            if payload.left() > length as u64 {
                deflater.part(part, &mut deflated);
                payload.skip(length);
            } else {
                deflater.message(part, &mut deflated);
                break;
            }
        }
        if coding.no_context_takeover {
            deflater.reset();
        }
        Payload::of_octets(&deflated)
    }

    fn control(
        &mut self,
        control: Control,
        payload: Payload,
        conn: &mut Conn,
        octets: &mut Vec<u8>,
    ) -> Result<(), String> {
        let version = conn.version().ok_or("the connection is not open")?;
        if !version.has_ping() {
            return Err(format!("{} has no pings", version.name));
        }
        let encoder = conn.raw_encoder().ok_or("the connection is not open")?;
        let header = RawHeader {
            last: true,
            rsv: 0,
            opcode: encoder.number_of(Opcode::Control(control)),
            length: payload.left(),
            length_octets: None,
            masked: None,
        };
        self.last_frame = encoder.raw(header, &mut Output::new(octets, &mut SystemRandom));
        self.current = Some(Current::Payload(payload));
        Ok(())
    }

    fn close(
        &mut self,
        close: &CloseStep,
        conn: &mut Conn,
        octets: &mut Vec<u8>,
    ) -> Result<(), String> {
        let version = conn.version().ok_or("the connection is not open")?;
        let mut random = SystemRandom;
        let mut out = Output::new(octets, &mut random);
        if !version.has_close_codes() {
            conn.close(close.code.unwrap_or(crate::frame::NORMAL), "", &mut out);
            return Ok(());
        }
        let reason = Payload::of(&close.reason, 0)?;
        let code = close.code.map(u16::to_be_bytes);
        let code = code.as_ref().map_or(&[][..], |code| &code[..]);
        let encoder = conn.raw_encoder().ok_or("the connection is not open")?;
        let header = RawHeader {
            last: true,
            rsv: 0,
            opcode: encoder.number_of(Opcode::Control(Control::Close)),
            length: code.len() as u64 + reason.left(),
            length_octets: None,
            masked: None,
        };
        self.last_frame = encoder.raw(header, &mut out);
        self.last_frame.payload(code, octets);
        self.current = Some(Current::Payload(reason));
        conn.note_close_sent();
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &CaseFrame,
        conn: &mut Conn,
        octets: &mut Vec<u8>,
    ) -> Result<(), String> {
        let version = conn.version().ok_or("the connection is not open")?;
        if version.layout == Layout::Hixie75 {
            return Err(format!("frames of {} have no fields", version.name));
        }
        let payload = Payload::of(&frame.content, 0)?;
        let encoder = conn.raw_encoder().ok_or("the connection is not open")?;
        let header = RawHeader {
            last: frame.fin,
            rsv: frame.rsv,
            opcode: frame.opcode,
            length: frame.length.unwrap_or(payload.left()),
            length_octets: frame.length_octets,
            masked: frame.masked,
        };
        self.last_frame = encoder.raw(header, &mut Output::new(octets, &mut SystemRandom));
        self.current = Some(Current::Payload(payload));
        Ok(())
    }

    /// Makes more of the message or frame at hand.
    fn go_on(&mut self, conn: &mut Conn, octets: &mut Vec<u8>) -> Result<(), String> {
        let room = PORTION.saturating_sub(octets.len()).max(1);
        let is_over = match &mut self.current {
            None => true,
            Some(Current::Payload(payload)) => {
                let part = payload.next(room);
                let length = part.len();
                self.last_frame.payload(part, octets);
                payload.skip(length);
                payload.left() == 0
            }
            Some(Current::Hixie(payload, started)) => {
                let encoder = conn.raw_encoder().ok_or("the connection is not open")?;
                let part = payload.next(room);
                let length = part.len();
                let last = payload.left() == length as u64;
                let position = Position {
                    first: !*started,
                    last,
                };
                let mut random = SystemRandom;
                let mut out = Output::new(octets, &mut random);
                encoder.data(Kind::Text, position, part, &mut out);
                payload.skip(length);
                *started = true;
                last
            }
            Some(Current::Message(fragments)) => {
                fragments.go_on(conn, &mut self.last_frame, room, octets)?
            }
        };
        if is_over {
            self.current = None;
        }
        Ok(())
    }
}

impl Fragments {
    /// Makes more of it; whether it is all.
    fn go_on(
        &mut self,
        conn: &mut Conn,
        frame: &mut RawFrame,
        room: usize,
        octets: &mut Vec<u8>,
    ) -> Result<bool, String> {
        if self.frame == 0 {
            let encoder = conn.raw_encoder().ok_or("the connection is not open")?;
            let left = self.payload.left();
            let size = self.size.map_or(left, |size| left.min(size as u64));
            self.last = self.size.is_none_or(|size| left < size as u64);
            let header = RawHeader {
                last: self.last,
                rsv: if self.started { 0 } else { self.rsv },
                opcode: if self.started {
                    encoder.number_of(Opcode::Continuation)
                } else {
                    self.opcode
                },
                length: size,
                length_octets: None,
                masked: None,
            };
            *frame = encoder.raw(header, &mut Output::new(octets, &mut SystemRandom));
            self.started = true;
            self.frame = size;
        }
        let most = usize::try_from(self.frame).unwrap_or(usize::MAX).min(room);
        let part = self.payload.next(most);
        let length = part.len();
        frame.payload(part, octets);
        self.payload.skip(length);
        self.frame -= length as u64;
        Ok(self.frame == 0 && self.last)
    }
}

fn count(roundtrips: &Roundtrips, is_full: bool) -> usize {
    match roundtrips.full {
        Some(full) if is_full => full,
        _ => roundtrips.count,
    }
}
