//! One connection of a client under test: its request, and the answer to what it
//! asks for besides cases.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heirloom::bytes::Output;
use heirloom::conn::{Config, Conn, Limits, Phase, Session, SessionEvent};
use heirloom::frame::NORMAL;
use heirloom::handshake::HttpResponse;
use heirloom::net::replay::{Faults, ReplayConnection, ReplayEvent};
use heirloom::version::{Version, Versions};
use heirloom::{Message, SystemRandom};

use super::command::Declined;

/// How long a request may take to arrive.
const REQUEST: Duration = Duration::from_secs(10);

/// How long the closing handshake and the end of TCP may take, each.
const CLOSE: Duration = Duration::from_secs(2);

/// Octets that a client may send beside its case.
const FLOOD: u64 = 1024 * 1024;

/// A connection whose request has arrived.
pub(super) struct Talk {
    connection: ReplayConnection,
    session: Session,
    /// All that has arrived until the request was understood.
    received: Vec<u8>,
    octets: u64,
}

/// What a client asks for, before it is answered.
pub(super) struct Request {
    pub(super) version: &'static Version,
    pub(super) target: String,
}

impl Talk {
    /// Reads the request. A client that sends none, or something else, is answered
    /// here; `None` then.
    pub(super) fn begin(stream: TcpStream) -> Option<(Talk, Request)> {
        let connection = ReplayConnection::over(stream, Faults::default()).ok()?;
        let limits = Limits::default().with_message_bytes(64 * 1024);
        let config = Config::default()
            .with_versions(Versions::ALL)
            .with_limits(limits);
        let mut talk = Talk {
            connection,
            session: Session::new(Conn::server(Arc::new(config))),
            received: Vec::new(),
            octets: 0,
        };
        let deadline = Instant::now() + REQUEST;
        loop {
            match talk.connection.step(deadline) {
                ReplayEvent::Octets(octets) => {
                    talk.received.extend_from_slice(octets);
                    talk.session.receive(octets);
                }
                ReplayEvent::Written => continue,
                ReplayEvent::Fin | ReplayEvent::Rst | ReplayEvent::TimedOut => return None,
            }
            let mut sent = Vec::new();
            let mut random = SystemRandom;
            let mut out = Output::new(&mut sent, &mut random);
            let request = match talk.session.next(&mut out) {
                Ok(None) => continue,
                Ok(Some((SessionEvent::Request(request), _))) => {
                    Some((request.version(), request.target().to_owned()))
                }
                Ok(Some((SessionEvent::Http(_), conn))) => {
                    let why = "this is a server for tests of WebSocket clients, and this is no \
                               opening handshake";
                    respond(
                        conn,
                        &Declined {
                            status: 426,
                            why: why.to_owned(),
                        },
                        &mut out,
                    );
                    None
                }
                // The answer is in the output.
                Ok(_) | Err(_) => None,
            };
            if let Some((Some(version), target)) = request {
                return Some((talk, Request { version, target }));
            }
            talk.connection.send(&sent);
            talk.end();
            return None;
        }
    }

    /// Hands the connection over to a case, with the octets that have arrived.
    pub(super) fn into_parts(self) -> (ReplayConnection, Vec<u8>) {
        (self.connection, self.received)
    }

    /// Answers with an error of HTTP.
    pub(super) fn decline(mut self, declined: &Declined) {
        self.with_conn(|conn, out| respond(conn, declined, out));
        self.end();
    }

    /// Upgrades, sends these texts, and closes.
    pub(super) fn answer(mut self, text: Option<&str>) {
        let accepted = self.with_conn(|conn, out| conn.accept(None, out));
        if accepted.is_err() {
            return;
        }
        let deadline = Instant::now() + REQUEST;
        // The eight octets of hixie-76 may still be on their way.
        self.wait(deadline, |phase| phase != Phase::Handshake);
        self.with_conn(|conn, out| {
            // Where the client has closed already, nothing more can be sent.
            if conn.can_send() {
                if let Some(text) = text {
                    let _ = conn.send(Message::text(text), out);
                }
                conn.close(NORMAL, "", out);
            }
        });
        self.wait(Instant::now() + CLOSE, |phase| phase == Phase::Closed);
        self.end();
    }

    /// Ends TCP once all is written, and waits for the client to do so: what it was
    /// sent last is not lost by a reset.
    fn end(&mut self) {
        self.connection.end(false);
        let deadline = Instant::now() + CLOSE;
        while let ReplayEvent::Octets(_) | ReplayEvent::Written = self.connection.step(deadline) {
            // A client that goes on to send is read for so long, and no longer.
            if Instant::now() >= deadline {
                break;
            }
        }
    }

    fn with_conn<R>(&mut self, call: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let mut sent = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut sent, &mut random);
        let answer = call(self.session.conn_mut(), &mut out);
        self.connection.send(&sent);
        answer
    }

    /// Receives until the connection has come so far, or has ended.
    fn wait(&mut self, deadline: Instant, is_reached: impl Fn(Phase) -> bool) {
        loop {
            let mut sent = Vec::new();
            let mut random = SystemRandom;
            let mut out = Output::new(&mut sent, &mut random);
            let parsed = loop {
                match self.session.next(&mut out) {
                    Ok(None) => break true,
                    Ok(Some(_)) => {}
                    Err(_) => break false,
                }
            };
            self.connection.send(&sent);
            if !parsed || is_reached(self.session.conn().phase()) || self.octets > FLOOD {
                return;
            }
            match self.connection.step(deadline) {
                ReplayEvent::Octets(octets) => {
                    self.octets += octets.len() as u64;
                    self.session.receive(octets);
                }
                ReplayEvent::Written => {}
                ReplayEvent::Fin | ReplayEvent::Rst | ReplayEvent::TimedOut => return,
            }
        }
    }
}

/// Answers with a status and a sentence.
fn respond(conn: &mut Conn, declined: &Declined, out: &mut Output<'_>) {
    let body = format!("{}\n", declined.why);
    let response = HttpResponse {
        status: declined.status,
        content_type: "text/plain; charset=utf-8",
        headers: &[],
        carried: &[],
        body: body.as_bytes(),
    };
    // It fails only where a response was begun, which is then the answer.
    let _ = conn.respond(&response, out);
}
