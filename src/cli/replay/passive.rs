//! One end of the core, which listens to somebody and counts.

use heirloom::Version;
use heirloom::bytes::{Input, Output, Random};
use heirloom::conn::{Conn, Event};
use heirloom::error::{Refusal, Violation};
use heirloom::frame::Kind;
use heirloom::message::Gather;
use heirloom::vector::MessageKind;

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The head of the request or answer has come.
    pub(super) head: bool,
    /// The handshake is finished.
    pub(super) open: bool,
    /// Messages, pings and pongs that came.
    pub(super) messages: usize,
    /// Goodbye was said.
    pub(super) closed: bool,
}

impl Mark {
    /// Whether this is as far as the other, at least.
    pub(super) fn reaches(self, other: Mark) -> bool {
        self.head >= other.head
            && self.open >= other.open
            && self.messages >= other.messages
            && self.closed >= other.closed
    }
}

pub(super) struct PassiveEndpoint {
    pub(super) conn: Conn,
    pub(super) mark: Mark,
    pub(super) messages: Vec<(MessageKind, Vec<u8>)>,
    /// The first fault, and the octet behind which it was found.
    pub(super) violation: Option<(Violation, u64)>,
    pub(super) refusal: Option<Refusal>,
    /// The status of an answer.
    pub(super) status: Option<u16>,
    /// What the core says to it; whoever plays a recording says something else.
    pub(super) output: Vec<u8>,
    /// The subprotocols a server speaks.
    spoken: Vec<String>,
    pending: Vec<u8>,
    position: u64,
    gather: Gather,
}

impl PassiveEndpoint {
    pub(super) fn new(conn: Conn, spoken: Vec<String>) -> PassiveEndpoint {
        PassiveEndpoint {
            conn,
            mark: Mark::default(),
            messages: Vec::new(),
            violation: None,
            refusal: None,
            status: None,
            output: Vec::new(),
            spoken,
            pending: Vec::new(),
            position: 0,
            gather: Gather::default(),
        }
    }

    pub(super) fn receive(&mut self, octets: &[u8], random: &mut dyn Random) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(octets);
        let mut input = Input::starting_at(&mut pending, self.position);
        let mut output = std::mem::take(&mut self.output);
        let mut out = Output::new(&mut output, random);
        loop {
            match self.conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(event)) => self.take(event, &mut out),
                Err(violation) => {
                    self.violation.get_or_insert((violation, input.position()));
                }
            }
        }
        self.position = input.position();
        let left = input.rest().len();
        pending.drain(..pending.len() - left);
        (self.pending, self.output) = (pending, output);
    }

    /// TCP has ended on the other side.
    pub(super) fn receive_end(&mut self) {
        let left = self.pending.len();
        if let Err(violation) = self.conn.end_of_input(left) {
            let at = self.position + left as u64;
            self.violation.get_or_insert((violation, at));
        }
    }

    fn take(&mut self, event: Event<'_>, out: &mut Output<'_>) {
        match event {
            Event::Request(request) => {
                self.mark.head = true;
                match request.choose_subprotocol(&self.spoken) {
                    Ok(chosen) => {
                        if self.conn.accept(chosen, out).is_err() {
                            self.conn.refuse(Refusal::HeadMalformed, out);
                        }
                    }
                    Err(refusal) => {
                        self.conn.refuse(refusal, out);
                        self.refusal = Some(refusal);
                    }
                }
            }
            Event::Http(_) => {
                self.conn.refuse(Refusal::NotFound, out);
                self.refusal = Some(Refusal::NotFound);
            }
            Event::Refused(refusal, _) => self.refusal = Some(refusal),
            Event::Response(response) => {
                self.mark.head = true;
                self.status = Some(response.status());
            }
            Event::Open => self.mark.open = true,
            Event::Piece(piece) => {
                self.gather.add(&piece);
                if piece.last {
                    let checked = self.conn.version().is_some_and(Version::checks_text);
                    let mut gather = std::mem::take(&mut self.gather);
                    let message = gather.finish(checked);
                    let kind = match message.kind() {
                        Kind::Text => MessageKind::Text,
                        Kind::Binary => MessageKind::Binary,
                    };
                    self.note(kind, message.payload());
                }
            }
            Event::Ping(payload) => self.note(MessageKind::Ping, payload),
            Event::Pong(payload) => self.note(MessageKind::Pong, payload),
            Event::Close(_) => self.mark.closed = true,
            _ => {}
        }
    }

    fn note(&mut self, kind: MessageKind, payload: &[u8]) {
        self.mark.messages += 1;
        self.messages.push((kind, payload.to_vec()));
    }
}
