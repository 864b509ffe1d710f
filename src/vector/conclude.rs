//! What the core concludes from recorded octets, written into the vector.

use std::sync::Arc;

use super::configured::mode_of;
use super::play::watch;
use super::played::{Handshake, Rejected};
use super::recorded::{Nonce, header};
use super::script::Split;
use super::{
    Close, CloseSent, CloseWord, Conclusion, Expect, ExpectedResult, MessageKind, ReceivedMessage,
    StreamEnd, Vector,
};
use crate::bytes::Output;
use crate::conn::{Config, Conn, Phase, Session, SessionEvent};
use crate::error::Refusal;
use crate::extension::Compression;
use crate::version::{Side, Versions};

/// A list of more messages is no expectation that a person reads.
const MAX_RECEIVED: usize = 262_144;

/// A conversation of more octets is not tried octet by octet as well.
const SLOWLY_OCTETS: usize = 64 * 1024;

impl Vector {
    /// Sets `version` and `expect` to what the core concludes from the steps.
    ///
    /// Something is expected of the client where our server would accept the
    /// request, and of the server where ours sends exactly the recorded octets.
    /// Where there are more messages than can be listed, nothing is expected of
    /// either side, and no message is listed.
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
        let config = Arc::new(configuration(&response));
        let server = Conn::server(Arc::clone(&config));
        let mut server = PassiveEndpoint::new(server, Nonce::of(&response));
        let mut client = Conn::client_of(&request, self.secure, config)
            .ok()
            .filter(|_| steps.iter().any(|(from, _, _)| *from == Side::Server))
            .map(|conn| PassiveEndpoint::new(conn, Nonce::default()));
        let slowly = request.len() + response.len() <= SLOWLY_OCTETS;
        drop((request, response));

        let mut received = Received::default();
        for (from, octets, end) in &steps {
            let endpoint = match from {
                Side::Client => &mut server,
                Side::Server => match &mut client {
                    Some(client) => client,
                    None => continue,
                },
            };
            match end {
                None => endpoint.receive(octets, &mut received),
                Some(StreamEnd::Fin | StreamEnd::Rst) => endpoint.receive_end(),
            }
        }
        drop(steps);
        self.expect_what(&server, client.as_ref(), received);
        self.expect_only_what_is_played(slowly);
        Ok(())
    }

    /// Sets `version` and `expect` to what both sides concluded.
    fn expect_what(
        &mut self,
        server: &PassiveEndpoint,
        client: Option<&PassiveEndpoint>,
        received: Received,
    ) {
        let Received { messages, closes } = received;
        let mut expect = Expect::default();
        let of_client = client.map(|client| &client.handshake);
        let version = server.handshake.version;
        let version = version.or(of_client.and_then(|handshake| handshake.version));
        expect.detected = version.map(|v| v.name.to_owned());
        self.version = version.map_or("none", |v| v.name).to_owned();
        expect.extensions = of_client.and_then(|handshake| handshake.extensions.clone());
        expect.subprotocol = of_client.and_then(|handshake| handshake.subprotocol.clone());
        if let [one, two] = *server.handshake.key_numbers {
            (expect.key_number_1, expect.key_number_2) = (Some(one), Some(two));
        }
        let both = server.closed && client.is_some_and(|c| c.closed);
        expect.close = Some(match closes.into_iter().next() {
            None => Close::Word(CloseWord::None),
            Some(_) if both && version.is_some_and(|v| !v.has_close_codes()) => {
                Close::Word(CloseWord::Clean)
            }
            Some(sent) => Close::Sent(sent),
        });
        if messages.len() < MAX_RECEIVED {
            expect.client = client.and_then(PassiveEndpoint::conclusion);
            expect.server = server.conclusion();
            expect.messages = messages;
        }
        self.expect = expect;
    }

    /// Drops the expectation for a side that does not reproduce this vector.
    /// `slowly`: octet by octet as well.
    pub(super) fn expect_only_what_is_played(&mut self, slowly: bool) {
        for side in [Side::Server, Side::Client] {
            if self.is_played(side, slowly) || self.is_played_with_a_threshold(side, slowly) {
                continue;
            }
            match side {
                Side::Server => self.expect.server = None,
                Side::Client => self.expect.client = None,
            }
        }
    }

    /// Whether this side reproduces the vector.
    fn is_played(&self, side: Side, slowly: bool) -> bool {
        let splits = [Split::Whole, Split::Everywhere];
        let tried = splits.into_iter().take(if slowly { 2 } else { 1 });
        tried
            .map(|split| watch(self, side, split, &mut ()))
            .all(|played| played.is_ok())
    }

    /// The same for a server that compresses every message, or none though it
    /// agreed to compression; the vector says so then.
    fn is_played_with_a_threshold(&mut self, side: Side, slowly: bool) -> bool {
        if side == Side::Client || self.expect.extensions.is_none() {
            return false;
        }
        for threshold in [0, u32::MAX] {
            self.set_compression_threshold(Some(threshold));
            if self.is_played(side, slowly) {
                return true;
            }
        }
        self.set_compression_threshold(None);
        false
    }
}

/// Both sides with every version on, and with the compression to which this
/// response agrees.
fn configuration(response: &[u8]) -> Config {
    let agreed = header(response, "Sec-WebSocket-Extensions");
    let mode = agreed.as_deref().map(mode_of).unwrap_or_default();
    Config::default()
        .with_versions(Versions::ALL)
        .with_compression(Compression::default().with_mode(mode))
}

/// Messages and closes of both sides, in order.
#[derive(Default)]
struct Received {
    messages: Vec<ReceivedMessage>,
    closes: Vec<CloseSent>,
}

impl Received {
    /// Lists what was received, up to the limit.
    fn message(&mut self, from: Side, kind: MessageKind, octets: &[u8]) {
        if self.messages.len() < MAX_RECEIVED {
            self.messages.push(ReceivedMessage::of(from, kind, octets));
        }
    }
}

/// One side of the core that only receives: what it sends is thrown away.
struct PassiveEndpoint {
    session: Session,
    nonce: Nonce,
    handshake: Handshake,
    /// Whether the peer has sent a close.
    closed: bool,
    rejected: Option<Rejected>,
}

impl PassiveEndpoint {
    fn new(conn: Conn, nonce: Nonce) -> PassiveEndpoint {
        PassiveEndpoint {
            session: Session::new(conn),
            nonce,
            handshake: Handshake::default(),
            closed: false,
            rejected: None,
        }
    }

    /// Octets of the peer arrive.
    fn receive(&mut self, octets: &[u8], received: &mut Received) {
        let PassiveEndpoint {
            session,
            nonce,
            handshake,
            closed,
            rejected,
        } = self;
        let mut random = |octets: &mut [u8]| nonce.fill(octets);
        let mut sent = Vec::new();
        let mut out = Output::new(&mut sent, &mut random);
        session.receive(octets);
        loop {
            out.octets.clear();
            let fault = match session.next(&mut out) {
                Ok(None) => return,
                Ok(Some((event, conn))) => {
                    *closed |= matches!(event, SessionEvent::Close(_));
                    let refusal = on_event(event, conn, handshake, received, &mut out);
                    refusal.map(|refusal| Rejected::refusal(refusal, session.position()))
                }
                Err(located) => {
                    let version = session.conn().version();
                    let after = located.after(session.position());
                    Some(Rejected::violation(located.error, version, after))
                }
            };
            // Only the first fault counts.
            *rejected = rejected.take().or(fault);
        }
    }

    /// The peer has ended TCP.
    fn receive_end(&mut self) {
        if let Err(located) = self.session.end_of_input() {
            let version = self.session.conn().version();
            let after = self.session.position();
            let rejected = Rejected::violation(located.error, version, after);
            self.rejected.get_or_insert(rejected);
        }
    }

    /// What it concludes; `None` while the handshake is not finished.
    fn conclusion(&self) -> Option<Conclusion> {
        match &self.rejected {
            Some(rejected) => Some(Conclusion {
                result: ExpectedResult::Reject,
                code: Some(rejected.code.to_owned()),
                status: rejected.status,
                close: rejected.close,
                level: None,
                section: None,
            }),
            None if self.session.conn().phase() == Phase::Handshake => None,
            None => Some(Conclusion {
                result: ExpectedResult::Accept,
                code: None,
                status: None,
                close: None,
                level: None,
                section: None,
            }),
        }
    }
}

/// Answers an event, and notes it. Gives the refusal of a request that was
/// refused.
fn on_event(
    event: SessionEvent<'_>,
    conn: &mut Conn,
    handshake: &mut Handshake,
    received: &mut Received,
    out: &mut Output<'_>,
) -> Option<Refusal> {
    let from = conn.side().peer();
    match event {
        SessionEvent::Request(request) => {
            handshake.request(&request);
            // Without a subprotocol no header can be wrong.
            let _ = conn.accept(None, out);
        }
        SessionEvent::Http(_) => {
            conn.refuse(Refusal::NotFound, out);
            return Some(Refusal::NotFound);
        }
        SessionEvent::Refused(refused) => return Some(refused.refusal.error),
        SessionEvent::Response(response) => handshake.response(&response, conn.version()),
        SessionEvent::Open => handshake.opened(conn),
        SessionEvent::Stray(_) => {}
        SessionEvent::Message(message) => {
            received.message(from, message.kind().into(), message.payload());
        }
        SessionEvent::Ping(payload) => received.message(from, MessageKind::Ping, payload),
        SessionEvent::Pong(payload) => received.message(from, MessageKind::Pong, payload),
        SessionEvent::Close(reason) => {
            let text = reason.text.into_owned();
            received.closes.push(CloseSent {
                from,
                code: reason.code,
                reason: Some(text).filter(|text| !text.is_empty()),
            });
        }
    }
    None
}
