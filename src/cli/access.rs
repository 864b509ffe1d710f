//! Access lines: one for each connection that has ended.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use heirloom::bytes::Escaped;
use heirloom::net::Url;
use heirloom::net::gateway::Visit;
use jiff::Timestamp;
use serde::Serialize;

use super::complain;
use super::report::json;

/// Lines that may wait for whoever reads them; more are lost, and counted.
const WAITING: usize = 8192;
/// At the end, whoever reads them has so many milliseconds to take the rest.
const LAST_MS: u64 = 1_000;

/// Writes lines without ever making a worker wait.
#[derive(Clone)]
pub(super) struct AccessLog {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
    backend: Arc<str>,
    json: bool,
    /// Says by its end that all lines are written.
    written: Arc<Mutex<Receiver<()>>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: String,
    version: Option<&'static str>,
    path: Option<&'a str>,
    backend: &'a str,
    state: &'static str,
    received: Carried,
    sent: Carried,
    ms: u128,
    by: String,
    ended: &'static str,
    code: Option<u16>,
}

#[derive(Serialize)]
struct Carried {
    messages: u64,
    octets: u64,
}

impl From<heirloom::conn::Tally> for Carried {
    fn from(tally: heirloom::conn::Tally) -> Carried {
        Carried {
            messages: tally.messages,
            octets: tally.octets,
        }
    }
}

impl AccessLog {
    /// Lines about connections to this backend, on standard output.
    pub(super) fn open(backend: &Url, json: bool) -> io::Result<AccessLog> {
        let (lines, waiting) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let (writes, written) = sync_channel(0);
        thread::Builder::new()
            .name("access-lines".to_owned())
            .spawn(move || {
                let _writes: SyncSender<()> = writes;
                write(&waiting, &counted);
            })?;
        Ok(AccessLog {
            lines,
            lost,
            backend: backend.host.as_str().into(),
            json,
            written: Arc::new(Mutex::new(written)),
        })
    }

    /// Notes a connection that has ended.
    pub(super) fn note(&self, visit: &Visit<'_>) {
        let line = self.line(visit);
        let text = if self.json {
            json(&line).unwrap_or_default()
        } else {
            line.text()
        };
        match self.lines.try_send(text) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all lines are written, or nobody takes them.
    pub(super) fn close(self) {
        let AccessLog { lines, written, .. } = self;
        drop(lines);
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = Duration::from_millis(LAST_MS);
        if written.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            complain(&"the last access lines are lost: nobody takes them");
        }
    }

    fn line<'a>(&'a self, visit: &Visit<'a>) -> Line<'a> {
        let parting = visit.parting;
        let time = Timestamp::try_from(visit.begin).unwrap_or(Timestamp::UNIX_EPOCH);
        Line {
            time: format!("{time:.3}"),
            // Who is known by a header has no port that we know.
            client: if visit.client.port() == 0 {
                visit.client.ip().to_string()
            } else {
                visit.client.to_string()
            },
            version: parting.version.map(|v| v.name),
            path: visit.path,
            backend: &self.backend,
            state: match (parting.answered, parting.opened) {
                (_, true) => "open",
                (true, false) => "answered",
                (false, false) if parting.ended.what == "page" => "page",
                (false, false) if parting.ended.code.is_some() => "refused",
                (false, false) => "none",
            },
            received: parting.from_client.into(),
            sent: parting.to_client.into(),
            ms: visit.duration.as_millis(),
            by: parting.ended.by.to_string(),
            ended: parting.ended.what,
            code: parting.ended.code,
        }
    }
}

impl Line<'_> {
    fn text(&self) -> String {
        let path = self.path.map_or("-".to_owned(), |path| {
            Escaped::<1000>(path).to_string().replace(' ', "\\u{20}")
        });
        let code = self.code.map_or("-".to_owned(), |code| code.to_string());
        format!(
            "{} client={} version={} path={path} backend={} state={} received={}/{} sent={}/{} \
             ms={} by={} ended={} code={code}",
            self.time,
            self.client,
            self.version.unwrap_or("-"),
            self.backend,
            self.state,
            self.received.messages,
            self.received.octets,
            self.sent.messages,
            self.sent.octets,
            self.ms,
            self.by,
            self.ended,
        )
    }
}

/// Writes what waits, as long as anybody may still say something.
fn write(waiting: &Receiver<String>, lost: &AtomicU64) {
    let mut out = io::stdout();
    while let Ok(line) = waiting.recv() {
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                complain(&format!("cannot write access lines: {error}"));
            }
            return;
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            complain(&format!(
                "{lost} access lines are lost: nobody takes them fast enough"
            ));
        }
    }
}
