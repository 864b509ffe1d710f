//! The lab: a page that any browser since 2010 can open, and what it asks of
//! the server about its own connection.
//!
//! A page has a token that only it knows, and by that token it gets its own
//! handshake explained, the list of connections, and the recording. What is
//! kept is bounded in pages and in octets for each; the oldest pages go first.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::app::Page;
use super::proxy::ClientAddress;
use super::recorder::{Recorder, Recording};
use super::stats::ConnectionStats;
use crate::agent;
use crate::bytes::Random;
use crate::conn::Config;
use crate::error::Refusal;
use crate::handshake::{Header, Request};
use crate::random::SystemRandom;
use crate::version::Version;

/// Pages that are remembered.
const PAGES: usize = 128;
/// Octets of one connection that are kept.
const RECORDED: usize = 64 * 1024;
/// Octets of a User-Agent that are kept.
const AGENT: usize = 512;
/// Where a page's own connection and questions go.
const PREFIX: &str = "/lab/";

const HTML: &str = include_str!("lab.html");

/// Explains conversations: the loop itself cannot.
pub trait Explain: Send + Sync {
    /// The conversation, explained.
    fn explain(&self, recording: &Recording) -> Value;

    /// The conversation as a vector file. `unfinished` is whether more was sent, or
    /// may be sent.
    fn vector(&self, recording: &Recording, unfinished: bool) -> String;

    /// Whether every handshake is to be explained, by [`Explain::handshake`].
    fn wants_all(&self) -> bool {
        false
    }

    /// A handshake has succeeded or failed.
    fn handshake(&self, client: &ClientAddress, recording: &Recording) {
        let _ = (client, recording);
    }
}

/// The lab of a server, shared by its workers. Only connections that a page
/// opened pay for its locks.
#[derive(Clone)]
pub struct Lab {
    pages: Arc<Mutex<VecDeque<Arc<PageEntry>>>>,
    explanations: Arc<dyn Explain>,
    stats: ConnectionStats,
    config: Arc<Config>,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").finish_non_exhaustive()
    }
}

/// One page, and the last connection that it opened.
#[derive(Debug)]
pub(super) struct PageEntry {
    token: String,
    agent: String,
    seen: Mutex<PageConnection>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PageConnection {
    number: u64,
    recorder: Option<Recorder>,
    pub(super) version: Option<&'static Version>,
    pub(super) subprotocol: Option<String>,
    pub(super) open: bool,
    /// It has come to its end.
    pub(super) closed: bool,
    /// The code of the refusal, where it was refused.
    pub(super) refused: Option<&'static str>,
}

impl PageEntry {
    /// Another connection of the page, which counts from now on. Gives its
    /// number, and its recorder: the one it has, or a new one.
    pub(super) fn connect(&self, recorder: Option<Recorder>) -> (u64, Recorder) {
        let recorder = recorder.unwrap_or_else(|| Recorder::new(RECORDED));
        let mut seen = self.seen();
        let number = seen.number + 1;
        if let Some(before) = seen.recorder.take() {
            before.retire();
        }
        *seen = PageConnection {
            number,
            recorder: Some(recorder.clone()),
            ..PageConnection::default()
        };
        (number, recorder)
    }

    /// The connection of this number changed, if it still counts.
    pub(super) fn note(&self, number: u64, what: impl FnOnce(&mut PageConnection)) {
        let mut seen = self.seen();
        if seen.number == number {
            what(&mut seen);
        }
    }

    fn seen(&self) -> MutexGuard<'_, PageConnection> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lab {
    /// A lab of a server with this configuration and these statistics.
    #[must_use]
    pub fn new(config: Arc<Config>, stats: ConnectionStats, explanations: Arc<dyn Explain>) -> Lab {
        Lab {
            pages: Arc::default(),
            explanations,
            stats,
            config,
        }
    }

    pub(super) fn explanations(&self) -> &dyn Explain {
        &*self.explanations
    }

    /// The page whose connection this request is.
    pub(super) fn entry_of(&self, request: &Request<'_>) -> Option<Arc<PageEntry>> {
        self.entry(request.path().strip_prefix(PREFIX)?)
    }

    /// The page whose connection began with these octets, which were refused: a
    /// target is looked for, and nothing else is read of them.
    pub(super) fn entry_in(&self, octets: &[u8]) -> Option<Arc<PageEntry>> {
        let target = octets
            .strip_prefix(b"GET ")?
            .strip_prefix(PREFIX.as_bytes())?;
        let end = target.iter().position(|octet| *octet == b' ')?;
        self.entry(std::str::from_utf8(target.get(..end)?).ok()?)
    }

    /// The answer to a plain GET or HEAD, where it is for the lab.
    pub(super) fn reply(&self, request: &Request<'_>) -> Option<Page> {
        let path = request.path();
        if path == "/" {
            return Some(self.page(request));
        }
        let (token, what) = path.strip_prefix(PREFIX)?.split_once('/')?;
        let entry = self.entry(token)?;
        match what {
            "connection" => Some(json_page(200, &self.connection(&entry))),
            "connections" => Some(json_page(200, &self.connections())),
            "vector" => Some(self.vector(&entry)),
            _ => None,
        }
    }

    fn entry(&self, token: &str) -> Option<Arc<PageEntry>> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().find(|entry| entry.token == token).cloned()
    }

    fn page(&self, request: &Request<'_>) -> Page {
        let agent = request.head().get("User-Agent").and_then(Header::text);
        let agent: String = agent.unwrap_or_default().chars().take(AGENT).collect();
        let speaks = self.speaks(&agent).unwrap_or_default();
        let token = secret();
        let nonce = secret();
        let names: Vec<&str> = self.config.versions.iter().map(|v| v.name).collect();
        // The nonce first: nothing that is put in later can hold its mark.
        let html = HTML
            .replace("{nonce}", &nonce)
            .replace("{token}", &token)
            .replace("{versions}", &escaped(&names.join(", ")))
            .replace("{speaks}", &escaped(&speaks))
            .replace("{agent}", &escaped(&agent));
        if request.method() == "GET" {
            self.remember(token, agent);
        }
        Page::new("text/html; charset=utf-8", html)
            .with_header("Content-Security-Policy", policy(&nonce))
            .with_header("Cache-Control", "no-store")
            .with_header("Referrer-Policy", "no-referrer")
    }

    fn remember(&self, token: String, agent: String) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES {
            pages.pop_front();
        }
        pages.push_back(Arc::new(PageEntry {
            token,
            agent,
            seen: Mutex::default(),
        }));
    }

    fn connection(&self, entry: &PageEntry) -> Value {
        let seen = entry.seen().clone();
        let recording = seen.recorder.map(|recorder| recorder.recording());
        json!({
            "open": seen.open,
            "refused": seen.refused,
            "version": seen.version.map(|v| v.name),
            "document": seen.version.map(|v| v.document),
            "clients": seen.version.map(|v| v.clients),
            "subprotocol": seen.subprotocol,
            "agent": entry.agent,
            "speaks": self.speaks(&entry.agent),
            "cut": recording.as_ref().is_some_and(|c| c.is_cut),
            "explanation": recording.map(|c| self.explanations.explain(&c)),
        })
    }

    fn connections(&self) -> Value {
        let snapshot = self.stats.snapshot();
        let mut listed = snapshot.listed;
        listed.sort_by_key(|one| one.age_s);
        let listed: Vec<Value> = listed
            .iter()
            .map(|one| json!({ "version": one.version.name, "age": one.age_s }))
            .collect();
        json!({ "open": snapshot.open, "listed": listed })
    }

    fn vector(&self, entry: &PageEntry) -> Page {
        let (recorder, closed) = {
            let seen = entry.seen();
            (seen.recorder.clone(), seen.closed)
        };
        let Some(recorder) = recorder else {
            return json_page(404, &json!({ "error": "this page has no connection yet" }));
        };
        let recording = recorder.recording();
        let unfinished = !closed || recording.is_cut;
        let vector = self.explanations.vector(&recording, unfinished);
        let disposition = "attachment; filename=\"heirloom-recording.json\"";
        Page::new("application/json", vector)
            .with_header("Content-Disposition", disposition)
            .with_header("Cache-Control", "no-store")
    }

    /// What is known of a browser, and whether its version is off.
    fn speaks(&self, agent: &str) -> Option<String> {
        let known = agent::known(agent)?;
        let mut text = match known.version {
            Some(version) => format!("{} is known to speak {version}", known.browser),
            None => format!("{} is known to have no WebSocket", known.browser),
        };
        if let Some(note) = known.note {
            text.push_str("; ");
            text.push_str(note);
        }
        text.push('.');
        let on = self.config.versions;
        if let Some(version) = known.version.filter(|v| !on.contains(v)) {
            let hint = self.config.hint;
            let hint = hint.and_then(|hint| hint(Refusal::VersionOff { version, on }));
            let _ = match hint {
                Some(hint) => write!(text, " Here {} is off; {hint}.", version.name),
                None => write!(text, " Here {} is off.", version.name),
            };
        }
        Some(text)
    }
}

fn json_page(status: u16, value: &Value) -> Page {
    Page::new("application/json", value.to_string())
        .with_status(status)
        .with_header("Cache-Control", "no-store")
}

/// Nothing but what the page itself holds. Browsers that know no nonces, of
/// 2012 to 2015, go by `'unsafe-inline'`; those that do ignore it.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}' 'unsafe-inline'; \
         style-src 'nonce-{nonce}' 'unsafe-inline'; connect-src 'self' ws: wss:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Sixteen octets that cannot be guessed, in hex.
fn secret() -> String {
    let mut octets = [0; 16];
    SystemRandom.fill(&mut octets);
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Text for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
