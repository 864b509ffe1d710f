//! What the peer sends: decoded by the core, compared as it arrives.

use super::case::{Case, EventKind};
use super::expect::{Arriving, Expected};
use super::frames::{FrameWalk, SeenClose};
use super::opening::Answer;
use crate::bytes::{Input, Output};
use crate::conn::{Conn, Event};
use crate::error::{Located, Violation};
use crate::extension::{Codecs, Exceeded, WindowWatch};
use crate::random::SystemRandom;
use crate::version::{Layout, Version};

/// Octets that are inflated at once.
const ROOM: usize = 64 * 1024;

/// What has happened.
#[derive(Debug)]
pub(super) enum Happened {
    /// More must be received.
    Waits,
    /// A client asks for an upgrade: what to answer.
    Request(Box<Answer>, &'static Version),
    /// A request was refused by the core, or does not ask for WebSocket.
    Refused(String),
    /// The handshake is finished.
    Open,
    /// A piece of a message, and whether the message ends there.
    Piece(bool),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// The peer has sent a close.
    Close(Option<u16>, String),
    /// The peer has broken a rule.
    Violation(Located<Violation>),
    /// Nothing that counts.
    Other,
}

/// What was received.
#[derive(Debug)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
    /// Octets of the buffer that are parsed.
    consumed: usize,
    /// The position of the buffer's first octet in the peer's stream.
    start: u64,
    room: Vec<u8>,
    codecs: Codecs,
    walk: FrameWalk,
    /// Whether frames have the layout that is walked over.
    walks: bool,
    arriving: Arriving,
    /// Octets of payload.
    payload_octets: u64,
    /// The frames behind the peer's close.
    behind_close: FrameWalk,
}

impl Default for Incoming {
    fn default() -> Incoming {
        Incoming {
            buffer: Vec::new(),
            consumed: 0,
            start: 0,
            room: Vec::new(),
            codecs: Codecs::default(),
            walk: FrameWalk::default(),
            walks: false,
            arriving: Arriving::default(),
            payload_octets: 0,
            behind_close: FrameWalk::behind_close(),
        }
    }
}

impl Incoming {
    /// Octets have arrived.
    pub(super) fn take(&mut self, octets: &[u8]) {
        self.start += self.consumed as u64;
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(octets);
        if self.walks {
            self.walk.feed(octets);
        }
    }

    /// Throws away what is not parsed, where the peer has sent its close; gives the
    /// opcode of the first frame there that is neither a ping nor a close.
    pub(super) fn walk_behind_close(&mut self) -> Option<u8> {
        let (_, unparsed) = self.buffer.split_at(self.consumed);
        if self.walks {
            self.behind_close.feed(unparsed);
        }
        self.forget();
        self.behind_close.opcode_behind_close()
    }

    /// What is not parsed.
    pub(super) fn unparsed(&self) -> &[u8] {
        self.buffer.split_at(self.consumed).1
    }

    /// Throws away what is not parsed.
    pub(super) fn forget(&mut self) {
        self.consumed = self.buffer.len();
    }

    /// Octets of payload that have arrived, inflated.
    pub(super) fn payload_octets(&self) -> u64 {
        self.payload_octets
    }

    /// The next pong behind a frame that broke a rule, or this frame, and whether it
    /// is masked.
    pub(super) fn take_pong(&mut self) -> Option<(Vec<u8>, bool)> {
        self.walk.take_pong()
    }

    /// A close of the peer behind a frame that broke a rule, or this frame.
    pub(super) fn take_close(&mut self) -> Option<SeenClose> {
        self.walk.take_close()
    }

    /// What refers back beyond the window that was agreed on, once.
    pub(super) fn take_exceeded(&mut self) -> Option<Exceeded> {
        self.walk.take_exceeded()
    }

    /// TCP has ended on the peer's side; whether that is how this version closes.
    pub(super) fn end(&mut self, conn: &mut Conn) -> bool {
        let position = self.start + self.consumed as u64;
        let (_, left) = self.buffer.split_at_mut(self.consumed);
        conn.end_of_input(&Input::starting_at(left, position))
            .is_ok()
    }

    /// What comes next. What the core answers goes to `answers`.
    pub(super) fn next(
        &mut self,
        conn: &mut Conn,
        case: &Case,
        expected: &mut Expected<'_>,
        answers: &mut Vec<u8>,
    ) -> Happened {
        if conn.compression().is_some() && self.room.is_empty() {
            self.room.resize(ROOM, 0);
        }
        let position = self.start + self.consumed as u64;
        let (_, unparsed) = self.buffer.split_at_mut(self.consumed);
        let mut input = Input::starting_at(unparsed, position).with_room(&mut self.room);
        let mut random = SystemRandom;
        let mut out = Output::new(answers, &mut random).with_shared_codecs(&mut self.codecs);
        let event = conn.next(&mut input, &mut out);
        let at = input.position();
        self.consumed = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) if conn.waits_for_room() => return Happened::Other,
            Ok(None) => return Happened::Waits,
            Err(located) => return Happened::Violation(located),
        };
        match event {
            Event::Request(request) => match request.version() {
                Some(version) => {
                    let answer = Answer::to(&request, case);
                    Happened::Request(Box::new(answer), version)
                }
                None => Happened::Refused("it names no version".to_owned()),
            },
            Event::Http(_) => Happened::Refused("it is a request of plain HTTP".to_owned()),
            Event::Refused(refused) => Happened::Refused(refused.refusal.error.to_string()),
            Event::Open => {
                let layout = conn.version().map(|version| version.layout);
                self.walks = layout == Some(Layout::Hybi07);
                if let Some(deflate) = conn.compression() {
                    let window = WindowWatch::new(deflate, conn.side().peer());
                    self.walk.hold_to_window(window);
                }
                if self.walks {
                    self.walk.feed(input.rest());
                }
                Happened::Open
            }
            Event::Piece(piece) => {
                self.payload_octets += piece.octets.len() as u64;
                let ends = piece.last;
                self.arriving.piece(
                    expected,
                    (piece.kind, piece.octets),
                    (piece.first, piece.last),
                );
                Happened::Piece(ends)
            }
            Event::Ping(payload) => {
                if expected.counts_pings() {
                    expected.control(EventKind::Ping, payload);
                }
                Happened::Ping(payload.to_vec())
            }
            Event::Pong(payload) => {
                self.walk.take_pong();
                if !expected.awaits_echo() {
                    expected.control(EventKind::Pong, payload);
                }
                Happened::Pong
            }
            Event::Close(reason) => Happened::Close(reason.code, reason.text.into_owned()),
            Event::Response(_) | Event::Stray(_) => Happened::Other,
        }
    }
}
