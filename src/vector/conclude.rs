//! What the core concludes from recorded octets, written into the vector.

use std::sync::Arc;

use super::{
    Close, CloseSent, CloseWord, Conclusion, Expect, ExpectedResult, MessageKind, ReceivedMessage,
    Split, StreamEnd, Vector, nonce, watch,
};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event, Phase};
use crate::error::{Refusal, Violation};
use crate::frame::{Kind, close_code};
use crate::message::Gather;
use crate::trace::{Field, Span, Trace};
use crate::version::{Side, Version, Versions};

/// More messages than this are no expectation that anybody reads.
const MAX_RECEIVED: usize = 262_144;

/// Beyond this many octets a conclusion is not tried octet by octet as well.
const SLOWLY_OCTETS: usize = 64 * 1024;

impl Vector {
    /// Sets `version` and `expect` to what the core concludes from the steps.
    ///
    /// A side is held to the vector only where it can be: the client where our
    /// server would take the request, the server where ours says the very
    /// octets that were recorded. Where more is heard than an expectation can
    /// hold, none is held to it and no message is listed.
    ///
    /// # Errors
    ///
    /// What is wrong with a step.
    pub fn conclude(&mut self) -> Result<(), String> {
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            steps.push((step.from, step.octets()?, step.end));
        }
        let of = |from| -> Vec<u8> {
            let own = steps.iter().filter(|(f, _, _)| *f == from);
            own.flat_map(|(_, octets, _)| octets.iter().copied())
                .collect()
        };
        let (request, response) = (of(Side::Client), of(Side::Server));
        let config = || {
            Arc::new(Config {
                versions: Versions::ALL,
                ..Config::default()
            })
        };
        let mut server = PassiveEndpoint::new(Conn::server(config()), nonce(&response));
        let mut client = Conn::client_of(&request, self.secure, config())
            .ok()
            .filter(|_| steps.iter().any(|(from, _, _)| *from == Side::Server))
            .map(|conn| PassiveEndpoint::new(conn, Vec::new()));
        let slowly = request.len() + response.len() <= SLOWLY_OCTETS;
        drop((request, response));

        let mut expect = Expect::default();
        let mut closes = Vec::new();
        for (from, octets, end) in &steps {
            let endpoint = match from {
                Side::Client => &mut server,
                Side::Server => match &mut client {
                    Some(client) => client,
                    None => continue,
                },
            };
            match end {
                None => endpoint.receive(*from, octets, &mut expect.messages, &mut closes),
                Some(StreamEnd::Fin | StreamEnd::Rst) => endpoint.receive_end(),
            }
        }
        drop(steps);

        let client = client.as_ref();
        let detected = server.detected.or(client.and_then(|c| c.detected));
        expect.detected = detected.map(|v| v.name.to_owned());
        self.version = detected.map_or("none", |v| v.name).to_owned();
        expect.subprotocol = client.and_then(|c| c.subprotocol.clone());
        if let [one, two] = *server.numbers {
            (expect.key_number_1, expect.key_number_2) = (Some(one), Some(two));
        }
        let both = server.closed && client.is_some_and(|c| c.closed);
        expect.close = Some(match closes.into_iter().next() {
            None => Close::Word(CloseWord::None),
            Some(_) if both && detected.is_some_and(|v| !v.has_close_codes()) => {
                Close::Word(CloseWord::Clean)
            }
            Some(close) => Close::Said(close),
        });
        if expect.messages.len() < MAX_RECEIVED {
            expect.client = client.and_then(PassiveEndpoint::concluded);
            expect.server = server.concluded();
        } else {
            expect.messages = Vec::new();
        }
        self.expect = expect;
        self.hold_only_who_agrees(slowly);
        Ok(())
    }

    /// Lets go of a side that would not play this vector as it stands.
    pub(super) fn hold_only_who_agrees(&mut self, slowly: bool) {
        for side in [Side::Server, Side::Client] {
            let splits = [Split::Whole, Split::Everywhere];
            let tried = splits.into_iter().take(if slowly { 2 } else { 1 });
            if tried
                .map(|split| watch(self, side, split, &mut ()))
                .any(|played| played.is_err())
            {
                match side {
                    Side::Server => self.expect.server = None,
                    Side::Client => self.expect.client = None,
                }
            }
        }
    }
}

/// One side of the core, which only listens.
struct PassiveEndpoint {
    conn: Conn,
    nonce: Vec<u8>,
    pending: Vec<u8>,
    consumed: u64,
    gather: Gather,
    numbers: Vec<u32>,
    detected: Option<&'static Version>,
    subprotocol: Option<String>,
    closed: bool,
    conclusion: Conclusion,
}

impl PassiveEndpoint {
    fn new(conn: Conn, nonce: Vec<u8>) -> PassiveEndpoint {
        PassiveEndpoint {
            conn,
            nonce,
            pending: Vec::new(),
            consumed: 0,
            gather: Gather::default(),
            numbers: Vec::new(),
            detected: None,
            subprotocol: None,
            closed: false,
            conclusion: Conclusion {
                result: ExpectedResult::Accept,
                code: None,
                status: None,
                close: None,
            },
        }
    }

    fn receive(
        &mut self,
        from: Side,
        octets: &[u8],
        received: &mut Vec<ReceivedMessage>,
        closes: &mut Vec<CloseSent>,
    ) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(octets);
        let mut input = Input::starting_at(&mut pending, self.consumed);
        let nonce = std::mem::take(&mut self.nonce);
        let mut random = |octets: &mut [u8]| {
            for (to, from) in octets.iter_mut().zip(nonce.iter().cycle()) {
                *to = *from;
            }
        };
        let mut out_octets = Vec::new();
        let mut out = Output::new(&mut out_octets, &mut random);
        loop {
            out.octets.clear();
            let mut numbers = KeyNumbers(&mut self.numbers);
            match self.conn.next_watched(&mut input, &mut out, &mut numbers) {
                Ok(None) => break,
                Ok(Some(event)) => self.take(event, from, &mut out, received, closes),
                Err(violation) => self.broken(violation),
            }
        }
        self.consumed = input.position();
        let left = input.rest().len();
        pending.drain(..pending.len() - left);
        (self.pending, self.nonce) = (pending, nonce);
    }

    fn take(
        &mut self,
        event: Event<'_>,
        from: Side,
        out: &mut Output<'_>,
        received: &mut Vec<ReceivedMessage>,
        closes: &mut Vec<CloseSent>,
    ) {
        match event {
            Event::Request(request) => {
                self.detected = request.version();
                // Without a subprotocol there is nothing to refuse.
                let _ = self.conn.accept(None, out);
            }
            Event::Http(_) => {
                self.conn.refuse(Refusal::NotFound, out);
                self.refused(Refusal::NotFound);
            }
            Event::Refused(refusal, _) => self.refused(refusal),
            Event::Response(response) => {
                self.detected = self.conn.version();
                self.subprotocol = response.subprotocol().map(str::to_owned);
            }
            Event::Open => {}
            Event::Piece(piece) => {
                self.gather.add(&piece);
                if piece.last {
                    let checked = self.conn.version().is_some_and(Version::checks_text);
                    let message = self.gather.finish(checked);
                    let kind = match message.kind() {
                        Kind::Text => MessageKind::Text,
                        Kind::Binary => MessageKind::Binary,
                    };
                    keep(received, from, kind, message.payload());
                    self.gather = Gather::default();
                }
            }
            Event::Ping(payload) => keep(received, from, MessageKind::Ping, payload),
            Event::Pong(payload) => keep(received, from, MessageKind::Pong, payload),
            Event::Close(reason) => {
                self.closed = true;
                let text = reason.text.into_owned();
                closes.push(CloseSent {
                    from,
                    code: reason.code,
                    reason: Some(text).filter(|text| !text.is_empty()),
                });
            }
        }
    }

    /// What it came to; nothing where it still waits in the handshake.
    fn concluded(&self) -> Option<Conclusion> {
        let waits = self.conn.phase() == Phase::Handshake;
        let accepts = self.conclusion.result == ExpectedResult::Accept;
        (!(waits && accepts)).then(|| self.conclusion.clone())
    }

    fn receive_end(&mut self) {
        if let Err(violation) = self.conn.end_of_input(self.pending.len()) {
            self.broken(violation);
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.reject(refusal.code(), Some(refusal.status()), None);
    }

    fn broken(&mut self, violation: Violation) {
        let version = self.conn.version();
        let close = version
            .filter(|v| v.has_close_codes() && violation.close_code() != 1006)
            .map(|v| close_code(v, violation.close_code()));
        self.reject(violation.code(), None, close);
    }

    /// Only the first fault counts.
    fn reject(&mut self, code: &str, status: Option<u16>, close: Option<u16>) {
        if self.conclusion.result == ExpectedResult::Accept {
            self.conclusion = Conclusion {
                result: ExpectedResult::Reject,
                code: Some(code.to_owned()),
                status,
                close,
            };
        }
    }
}

/// Lists what was heard, up to the limit.
fn keep(received: &mut Vec<ReceivedMessage>, from: Side, kind: MessageKind, octets: &[u8]) {
    if received.len() < MAX_RECEIVED {
        received.push(ReceivedMessage::of(from, kind, octets));
    }
}

/// Keeps the numbers of hixie-76's keys.
struct KeyNumbers<'n>(&'n mut Vec<u32>);

impl Trace for KeyNumbers<'_> {
    fn see(&mut self, _: Span) {}

    fn derive(&mut self, field: Field, octets: &[u8]) {
        if let (Field::KeyNumber, Some(number)) = (field, octets.first_chunk()) {
            self.0.push(u32::from_be_bytes(*number));
        }
    }
}
