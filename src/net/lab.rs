//! The lab: a page that any browser since 2010 can open, and what it asks of
//! the server about its own connection.
//!
//! A page has a token that only it knows, and by that token it gets its own
//! handshake explained, the list of connections, and the recording. What is
//! kept is bounded in pages and in octets for each (`lab_pages`). An explanation
//! takes longer than the loop may stand still, so it is made by a thread of its
//! own, and its connection waits.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::app::Reply;
use super::background::{Background, Room};
use super::lab_pages::{Asked, PageConnection, PageEntry, Pages, Question};
use super::later::{Answer, Later};
use super::page::Page;
use super::proxy::ClientAddress;
use super::recorder::{Recorder, Recording};
use super::stats::ConnectionStats;
use crate::agent;
use crate::bytes::Random;
use crate::conn::Config;
use crate::error::Refusal;
use crate::handshake::{Header, Request};
use crate::random::SystemRandom;

/// What may wait for explanations: pages that ask, and handshakes that are all
/// explained.
const ROOM: Room = Room {
    answers: 32,
    notes: 1024,
    note_octets: 8 * 1024 * 1024,
};
/// Explanations that are kept, and octets of each.
const CACHED: usize = 8;
const CACHED_OCTETS: usize = 1024 * 1024;
/// Octets of a User-Agent that are kept.
const AGENT: usize = 512;
/// Where a page's own connection and questions go.
const PREFIX: &str = "/lab/";

const HTML: &str = include_str!("lab.html");

/// Explains conversations: the loop itself cannot. All is called on one thread
/// beside the loop, and may take its time.
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
    shared: Arc<Shared>,
    stats: ConnectionStats,
    config: Arc<Config>,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").finish_non_exhaustive()
    }
}

/// What the clones of a lab share.
struct Shared {
    pages: Pages,
    background: Background,
    /// The last explanations: a page asks again when nothing has changed.
    cache: Mutex<VecDeque<Cached>>,
    explanations: Arc<dyn Explain>,
}

/// An explanation as JSON, and what was explained: so many octets of a
/// connection.
struct Cached {
    token: String,
    number: u64,
    octets: usize,
    is_cut: bool,
    text: Arc<str>,
}

impl Lab {
    /// A lab of a server with this configuration and these statistics.
    #[must_use]
    pub fn new(config: Arc<Config>, stats: ConnectionStats, explanations: Arc<dyn Explain>) -> Lab {
        Lab {
            shared: Arc::new(Shared {
                pages: Pages::new(),
                background: Background::new(ROOM, "explanations"),
                cache: Mutex::default(),
                explanations,
            }),
            stats,
            config,
        }
    }

    /// Whether every handshake is explained.
    pub(super) fn wants_all(&self) -> bool {
        self.shared.explanations.wants_all()
    }

    /// A handshake has succeeded or failed: it is explained on another thread,
    /// where all are.
    pub(super) fn handshake(&self, client: &ClientAddress, recorder: &Recorder) {
        if !self.wants_all() {
            return;
        }
        let recording = recorder.recording();
        let (explanations, client) = (Arc::clone(&self.shared.explanations), *client);
        self.shared.background.note(recording.octets(), move || {
            explanations.handshake(&client, &recording);
        });
    }

    /// Waits until all handshakes are explained, but no longer than this; tells
    /// how many are not. For the end of a server.
    pub fn finish(&self, within: Duration) {
        self.shared.background.finish(within);
    }

    /// The page whose connection this request is.
    pub(super) fn entry_of(&self, request: &Request<'_>) -> Option<Arc<PageEntry>> {
        let token = request.path().strip_prefix(PREFIX)?;
        self.shared.pages.connect(token)
    }

    /// The page whose connection began with these octets, which were refused: a
    /// target is looked for, and nothing else is read of them.
    pub(super) fn entry_in(&self, octets: &[u8]) -> Option<Arc<PageEntry>> {
        let target = octets
            .strip_prefix(b"GET ")?
            .strip_prefix(PREFIX.as_bytes())?;
        let end = target.iter().position(|octet| *octet == b' ')?;
        let token = std::str::from_utf8(target.get(..end)?).ok()?;
        self.shared.pages.connect(token)
    }

    /// The answer to a plain GET or HEAD, where it is for the lab.
    pub(super) fn reply(&self, request: &Request<'_>) -> Option<Reply> {
        let path = request.path();
        if path == "/" {
            return Some(Reply::Http(self.page(request)));
        }
        let (token, what) = path.strip_prefix(PREFIX)?.split_once('/')?;
        let entry = self.shared.pages.find(token)?;
        match what {
            "connection" => Some(self.later(entry, Question::Connection, request)),
            "connections" => Some(Reply::Http(json_page(200, &self.connections()))),
            "vector" => Some(self.later(entry, Question::Vector, request)),
            _ => None,
        }
    }

    /// Has a question answered by the other thread, unless the page has no
    /// connection yet: then there is nothing to explain.
    fn later(&self, entry: Arc<PageEntry>, question: Question, request: &Request<'_>) -> Reply {
        if entry.seen().recorder.is_none() {
            return Reply::Http(match question {
                Question::Connection => {
                    let agent = entry.agent.clone().unwrap_or_else(|| agent_of(request));
                    self.connection(&entry, &agent)
                }
                Question::Vector => self.vector(&entry),
            });
        }
        let lab = self.clone();
        let agent = agent_of(request);
        Reply::Later(Later::new(move |answer| {
            lab.ask(entry, question, agent, answer);
        }))
    }

    fn ask(&self, entry: Arc<PageEntry>, question: Question, agent: String, answer: Answer) {
        if entry.ask(question, answer) != Some(Asked::First) {
            return;
        }
        let (lab, asked) = (self.clone(), Arc::clone(&entry));
        let queued = self.shared.background.answer(move || {
            let agent = asked.agent.as_ref().unwrap_or(&agent);
            for (question, answer) in asked.take_askers() {
                answer.send(match question {
                    Question::Connection => lab.connection(&asked, agent),
                    Question::Vector => lab.vector(&asked),
                });
            }
        });
        if queued.is_err() {
            for (_, answer) in entry.take_askers() {
                answer.refuse_busy();
            }
        }
    }

    fn page(&self, request: &Request<'_>) -> Page {
        let agent = agent_of(request);
        let speaks = self.speaks(&agent).unwrap_or_default();
        let pages = &self.shared.pages;
        let token = if request.method() == "GET" {
            pages.load(&agent)
        } else {
            pages.token()
        };
        let nonce = secret();
        let names: Vec<&str> = self.config.versions.iter().map(|v| v.name).collect();
        // The nonce first: nothing that is put in later can hold its mark.
        let html = HTML
            .replace("{nonce}", &nonce)
            .replace("{token}", &token)
            .replace("{versions}", &escaped(&names.join(", ")))
            .replace("{speaks}", &escaped(&speaks))
            .replace("{agent}", &escaped(&agent));
        Page::new("text/html; charset=utf-8", html)
            .with_header("Content-Security-Policy", policy(&nonce))
            .with_header("Cache-Control", "no-store")
            .with_header("Referrer-Policy", "no-referrer")
    }

    fn connection(&self, entry: &PageEntry, agent: &str) -> Page {
        let seen = entry.seen().clone();
        let recording = seen.recorder.as_ref().map(|r| r.recording());
        let mut told = json!({
            "open": seen.open,
            "refused": seen.refused,
            "version": seen.version.map(|v| v.name),
            "document": seen.version.map(|v| v.document),
            "clients": seen.version.map(|v| v.clients),
            "subprotocol": seen.subprotocol,
            "agent": agent,
            "speaks": self.speaks(agent),
            "cut": recording.as_ref().is_some_and(|c| c.is_cut),
        })
        .to_string();
        let explained = recording.map(|recording| self.explained(entry, &seen, &recording));
        // The explanation is text already: it goes in as the last member.
        told.truncate(told.len().saturating_sub(1));
        let explanation = explained.as_deref().unwrap_or("null");
        let _ = write!(told, ",\"explanation\":{explanation}}}");
        json_text_page(200, told)
    }

    /// The explanation of a recording, as JSON: the last one, where nothing was
    /// sent since.
    fn explained(
        &self,
        entry: &PageEntry,
        seen: &PageConnection,
        recording: &Recording,
    ) -> Arc<str> {
        let (number, octets, is_cut) = (seen.number, recording.octets(), recording.is_cut);
        let is_same = |cached: &Cached| {
            let same = (cached.number, cached.octets, cached.is_cut) == (number, octets, is_cut);
            same && cached.token == entry.token
        };
        let cache = || {
            self.shared
                .cache
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(cached) = cache().iter().find(|cached| is_same(cached)) {
            return Arc::clone(&cached.text);
        }
        let text: Arc<str> = self
            .shared
            .explanations
            .explain(recording)
            .to_string()
            .into();
        let mut cache = cache();
        cache.retain(|cached| cached.token != entry.token);
        if text.len() <= CACHED_OCTETS {
            if cache.len() >= CACHED {
                cache.pop_front();
            }
            cache.push_back(Cached {
                token: entry.token.clone(),
                number,
                octets,
                is_cut,
                text: Arc::clone(&text),
            });
        }
        text
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
        let vector = self.shared.explanations.vector(&recording, unfinished);
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
    json_text_page(status, value.to_string())
}

fn json_text_page(status: u16, text: String) -> Page {
    Page::new("application/json", text)
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

/// The name of the browser that asks.
fn agent_of(request: &Request<'_>) -> String {
    let agent = request.head().get("User-Agent").and_then(Header::text);
    agent.unwrap_or_default().chars().take(AGENT).collect()
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
