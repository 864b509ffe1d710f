//! One plain opening handshake with the server under test: whether it speaks a
//! version, and whether it still answers.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use heirloom::Version;
use heirloom::bytes::Escaped;
use heirloom::conn::{Phase, SessionEvent};
use heirloom::error::Violation;
use heirloom::frame::NORMAL;
use heirloom::net::dial::{Connection, DialError, DialOptions, Progress};

use super::target::Server;

/// What came of it.
#[derive(Debug)]
pub(super) enum Asked {
    /// The version is spoken. What the response says of the server, if anything.
    Speaks(Option<String>),
    /// The server answers, and does not speak the version: what it does.
    Declines(String),
    /// Not one octet arrives in time.
    Silent,
    /// There is no connection.
    Unreachable(DialError),
    /// This program panics at what it receives.
    Panicked,
}

impl Asked {
    /// Whether the server is there.
    pub(super) fn answers(&self) -> bool {
        match self {
            // Without an answer there is nothing to panic at.
            Asked::Speaks(_) | Asked::Declines(_) | Asked::Panicked => true,
            Asked::Silent | Asked::Unreachable(_) => false,
        }
    }
}

/// What the echo of is waited for, where only frames tell which version it is.
const QUESTION: &str = "heirloom conform";

/// How long that echo may take.
const ECHO: Duration = Duration::from_secs(1);

/// Octets above which an answer is too long to be one.
const FLOOD: u64 = 1024 * 1024;

/// Opens a connection of this version and closes it again. It never panics: others
/// wait for its end.
pub(super) fn ask(server: &Server<'_>, version: &'static Version) -> Asked {
    let asked = catch_unwind(AssertUnwindSafe(|| converse(server, version)));
    asked.unwrap_or(Asked::Panicked)
}

fn converse(server: &Server<'_>, version: &'static Version) -> Asked {
    let deadline = Instant::now() + server.patience;
    let options = DialOptions::default().with_tls(server.tls.cloned());
    let dialled = server.request.with(server.url, |request| {
        Connection::dial(server.url, version, request, options, deadline)
    });
    let mut client = match dialled {
        Ok(client) => client,
        // A server that resets a connection as soon as it takes it is there.
        Err(DialError::Connect(_, error)) if error.kind() == ErrorKind::ConnectionReset => {
            return Asked::Declines("it resets TCP in the opening handshake".to_owned());
        }
        Err(error) => return Asked::Unreachable(error),
    };
    let mut seen = Seen::default();
    while client.conn().phase() == Phase::Handshake && seen.wrong.is_none() {
        if let Some(ended) = seen.step(&mut client, deadline) {
            return match ended {
                "does not answer in time" if client.received() == 0 => Asked::Silent,
                ended => Asked::Declines(format!("it {ended}")),
            };
        }
    }
    if let Some(wrong) = seen.wrong {
        return Asked::Declines(wrong);
    }
    if version.twin().is_some() && !seen.echoes(&mut client, deadline) {
        let why = "its opening handshake is that of an older version too, and it echoes none of its \
                   frames";
        return Asked::Declines(why.to_owned());
    }
    client.with_conn(|conn, out| conn.close(NORMAL, "", out));
    // The server sees the close as soon as it is written; its own is not waited for.
    // hixie-75 has none to write.
    if !client.unsent().is_empty() {
        seen.step(&mut client, deadline);
    }
    Asked::Speaks(seen.server)
}

/// What has arrived.
#[derive(Default)]
struct Seen {
    server: Option<String>,
    wrong: Option<String>,
    has_echoed: bool,
}

impl Seen {
    /// One step. How the connection ended, if it did.
    fn step(&mut self, client: &mut Connection, deadline: Instant) -> Option<&'static str> {
        let progress = client.step(Some(deadline), &mut (), &mut |event, _, _| match event {
            Ok(SessionEvent::Response(response)) => {
                let name = response.head().get("Server");
                let name = name.and_then(|header| header.text());
                self.server = name.map(|name| Escaped::<120>(name.trim()).to_string());
            }
            Ok(SessionEvent::Message(message)) => {
                self.has_echoed |= message.as_text() == Some(QUESTION);
            }
            Ok(_) => {}
            Err(located) => {
                self.wrong = Some(match located.error {
                    Violation::ResponseStatus { status } => {
                        format!("it answers with HTTP status {status}")
                    }
                    violation => violation.to_string(),
                });
            }
        });
        if client.received() > FLOOD {
            return Some("sends more than 1 MiB in answer to an opening handshake");
        }
        match progress {
            Progress::TimedOut => Some("does not answer in time"),
            Progress::Ended(_) => Some("ends TCP in the opening handshake"),
            Progress::Broken(_) => Some("resets TCP in the opening handshake"),
            _ => None,
        }
    }

    /// Whether a message comes back.
    fn echoes(&mut self, client: &mut Connection, deadline: Instant) -> bool {
        let sent = client.with_conn(|conn, out| conn.send(QUESTION.into(), out));
        let deadline = deadline.min(Instant::now() + ECHO);
        while sent.is_ok() && !self.has_echoed && self.wrong.is_none() {
            if self.step(client, deadline).is_some() {
                break;
            }
        }
        self.has_echoed
    }
}
