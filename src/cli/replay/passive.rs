//! One end of the core that receives what a peer sends, and counts it.

use heirloom::bytes::{Output, Random};
use heirloom::conn::{Conn, Session, SessionEvent};
use heirloom::error::{Located, Refusal, Violation};
use heirloom::vector::MessageKind;

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The head of the request or response has arrived.
    pub(super) head: bool,
    /// The handshake is finished.
    pub(super) open: bool,
    /// Messages, pings and pongs that have arrived.
    pub(super) messages: usize,
    /// The peer has sent a close.
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

/// One end of the core that receives what a peer sends, and counts it.
pub(super) struct PassiveEndpoint {
    session: Session,
    /// What the core sends to the peer. A replay sends what was recorded in its
    /// place.
    pub(super) output: Vec<u8>,
    pub(super) received: Received,
}

/// What was received so far.
#[derive(Default)]
pub(super) struct Received {
    pub(super) mark: Mark,
    pub(super) messages: Vec<(MessageKind, Vec<u8>)>,
    /// The first violation.
    pub(super) violation: Option<Located<Violation>>,
    pub(super) refusal: Option<Refusal>,
    /// The subprotocols that a server speaks.
    spoken: Vec<String>,
}

impl PassiveEndpoint {
    /// An endpoint on this connection; as a server it speaks these
    /// subprotocols.
    pub(super) fn new(conn: Conn, spoken: Vec<String>) -> PassiveEndpoint {
        PassiveEndpoint {
            session: Session::new(conn),
            output: Vec::new(),
            received: Received {
                spoken,
                ..Received::default()
            },
        }
    }

    pub(super) fn conn(&self) -> &Conn {
        self.session.conn()
    }

    /// How far the conversation has come.
    pub(super) fn mark(&self) -> Mark {
        self.received.mark
    }

    /// Octets of the peer arrive.
    pub(super) fn receive(&mut self, octets: &[u8], random: &mut dyn Random) {
        let PassiveEndpoint {
            session,
            output,
            received,
        } = self;
        let mut out = Output::new(output, random);
        session.receive(octets);
        loop {
            match session.next(&mut out) {
                Ok(None) => break,
                Ok(Some((event, conn))) => received.on_event(event, conn, &mut out),
                Err(violation) => {
                    received.violation.get_or_insert(violation);
                }
            }
        }
    }

    /// The peer has ended TCP.
    pub(super) fn receive_end(&mut self) {
        if let Err(violation) = self.session.end_of_input() {
            self.received.violation.get_or_insert(violation);
        }
    }
}

impl Received {
    fn on_event(&mut self, event: SessionEvent<'_>, conn: &mut Conn, out: &mut Output<'_>) {
        match event {
            SessionEvent::Request(request) => {
                self.mark.head = true;
                match request.choose_subprotocol(&self.spoken) {
                    Ok(chosen) => {
                        if conn.accept(chosen, out).is_err() {
                            conn.refuse(Refusal::HeadMalformed, out);
                        }
                    }
                    Err(refusal) => {
                        conn.refuse(refusal, out);
                        self.refusal = Some(refusal);
                    }
                }
            }
            SessionEvent::Http(_) => {
                conn.refuse(Refusal::NotFound, out);
                self.refusal = Some(Refusal::NotFound);
            }
            SessionEvent::Refused(refused) => self.refusal = Some(refused.refusal.error),
            SessionEvent::Response(_) => self.mark.head = true,
            SessionEvent::Open => self.mark.open = true,
            SessionEvent::Message(message) => {
                self.add(message.kind().into(), message.payload());
            }
            SessionEvent::Ping(payload) => self.add(MessageKind::Ping, payload),
            SessionEvent::Pong(payload) => self.add(MessageKind::Pong, payload),
            SessionEvent::Close(_) => self.mark.closed = true,
            _ => {}
        }
    }

    fn add(&mut self, kind: MessageKind, payload: &[u8]) {
        self.mark.messages += 1;
        self.messages.push((kind, payload.to_vec()));
    }
}
