//! HAR: what the developer tools of a browser save.
//!
//! It keeps the parts of heads, and whole messages, but no octets: no frames, and
//! nothing of what follows a head in hixie-76.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::request::asks;
use super::{Draft, Drafts, Unimportable};
use crate::bytes::Escaped;
use crate::vector::{MessageKind, ReceivedMessage, Step};
use crate::version::Side;

/// Entries that are read.
const MAX_ENTRIES: usize = 65_536;

#[derive(Deserialize)]
struct Har {
    log: Option<Log>,
    /// Vector files have this.
    vectors: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: Option<String>,
    request: Request,
    response: Option<Response>,
    #[serde(rename = "_webSocketMessages")]
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    http_version: String,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    status: i64,
    #[serde(default)]
    status_text: String,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    opcode: f64,
    #[serde(default)]
    data: String,
}

/// Whether the file is JSON.
pub(super) fn is(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

pub(super) fn read(text: &[u8], drafts: &mut Drafts<'_>) -> Result<(), Unimportable> {
    let har: Har = serde_json::from_slice(text).map_err(|error| Unimportable::Line {
        line: error.line(),
        what: format!("not a HAR: {error}; save it again from the network panel of the browser"),
    })?;
    let Some(log) = har.log else {
        return Err(Unimportable::Line {
            line: 1,
            what: if har.vectors.is_some() {
                "it is a vector file already; `heirloom check` reads it"
            } else {
                "this JSON has no \"log\", so it is not a HAR"
            }
            .to_owned(),
        });
    };
    let mut others = 0_usize;
    for (n, entry) in log.entries.iter().take(MAX_ENTRIES).enumerate() {
        if !entry.is_websocket() {
            others += 1;
            continue;
        }
        let place = format!("entry {} ({})", n + 1, Escaped::<80>(&entry.request.url));
        match entry.draft(drafts, n + 1) {
            Ok(draft) => drafts.add(draft, &place),
            Err(why) => drafts.remark(format!("left out: {place}: {why}")),
        }
    }
    if others > 0 {
        drafts.remark(format!("left out: {others} entries that are plain HTTP"));
    }
    if log.entries.len() > MAX_ENTRIES {
        drafts.remark(format!("left out: the entries after entry {MAX_ENTRIES}"));
    }
    Ok(())
}

impl Entry {
    fn is_websocket(&self) -> bool {
        let url = self.request.url.to_ascii_lowercase();
        let head = lines(&self.request.headers).unwrap_or_default().concat();
        url.starts_with("ws:") || url.starts_with("wss:") || asks(head.as_bytes())
    }

    fn draft(&self, drafts: &mut Drafts<'_>, n: usize) -> Result<Draft, String> {
        let request = &self.request;
        let (scheme, rest) = request
            .url
            .split_once("://")
            .ok_or("its URL has no scheme")?;
        let secure = matches!(scheme.to_ascii_lowercase().as_str(), "wss" | "https");
        let target = target(rest);
        let http = request.http_version.to_ascii_lowercase();
        let modern = http.starts_with("h2") || http.starts_with("h3");
        let modern = modern || http.starts_with("http/2") || http.starts_with("http/3");
        let pseudo = request.headers.iter().any(|h| h.name.starts_with(':'));
        if modern || pseudo {
            return Err("WebSocket over HTTP/2 or HTTP/3 has no such handshake".to_owned());
        }
        if request.headers.is_empty() {
            return Err("the headers of its request were not kept".to_owned());
        }
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|o| (0x21..=0x7e).contains(&o));
        if !plain(&request.method) || !plain(&target) {
            return Err("its method or its URL cannot stand in a request line".to_owned());
        }
        let mut head = vec![format!("{} {target} HTTP/1.1\r\n", request.method)];
        head.extend(lines(&request.headers)?);
        head.push("\r\n".to_owned());
        let note = "rebuilt: HAR keeps no octets; order and case as given";
        let mut step = step(Side::Client, &head, note)?;
        let numbered = |h: &Header| h.name.eq_ignore_ascii_case("Sec-WebSocket-Key1");
        let mut unfinished = None;
        if request.headers.iter().any(numbered) {
            step.note = Some(format!("{note}; runs of spaces in the keys may be lost"));
            unfinished = Some("HAR keeps neither the eight octets of hixie-76 nor the digest");
        }
        let mut steps = vec![step];
        match &self.response {
            Some(response) if (100..=599).contains(&response.status) => {
                let reason = &response.status_text;
                if reason.chars().any(char::is_control) {
                    return Err("its reason phrase has a control character".to_owned());
                }
                let mut head = vec![format!("HTTP/1.1 {} {reason}\r\n", response.status)];
                head.extend(lines(&response.headers)?);
                head.push("\r\n".to_owned());
                steps.push(self::step(Side::Server, &head, note)?);
            }
            _ => unfinished = Some("HAR kept no response"),
        }
        let messages = self.messages(drafts, n);
        if !messages.is_empty() {
            unfinished.get_or_insert("HAR keeps no frames; the messages are only in expect");
        }
        let mut octets = 0_usize;
        for step in &steps {
            octets = octets.saturating_add(step.octets()?.len());
        }
        for received in &messages {
            octets = octets.saturating_add(received.octets()?.len());
        }
        drafts.count(octets, steps.len() + messages.len())?;
        let mut source = drafts.source("capture", &format!("entry {n}"));
        source.timing = Some("unknown".to_owned());
        source.date = self.started_date_time.as_deref().and_then(day);
        Ok(Draft {
            source,
            secure,
            steps,
            unfinished: unfinished.map(str::to_owned),
            messages,
        })
    }

    fn messages(&self, drafts: &mut Drafts<'_>, n: usize) -> Vec<ReceivedMessage> {
        let mut messages = Vec::new();
        let mut unread = 0_usize;
        for message in self.messages.iter().flatten() {
            let from = match message.kind.as_str() {
                "send" => Side::Client,
                "receive" => Side::Server,
                _ => {
                    unread += 1;
                    continue;
                }
            };
            let binary = || STANDARD.decode(&message.data).ok();
            let (kind, octets) = match message.opcode {
                1.0 => (MessageKind::Text, Some(message.data.clone().into_bytes())),
                2.0 => (MessageKind::Binary, binary()),
                9.0 => (MessageKind::Ping, binary()),
                10.0 => (MessageKind::Pong, binary()),
                _ => (MessageKind::Text, None),
            };
            match octets {
                Some(octets) => messages.push(ReceivedMessage::of(from, kind, &octets)),
                None => unread += 1,
            }
        }
        if unread > 0 {
            drafts.remark(format!(
                "entry {n}: left out: {unread} messages that are neither text nor base64"
            ));
        }
        messages
    }
}

/// The path and query of a URL after its `://`.
fn target(rest: &str) -> String {
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    match rest.find(['/', '?']) {
        Some(at) => {
            let (_, target) = rest.split_at(at);
            if target.starts_with('?') {
                format!("/{target}")
            } else {
                target.to_owned()
            }
        }
        None => "/".to_owned(),
    }
}

fn lines(headers: &[Header]) -> Result<Vec<String>, String> {
    let each = headers.iter().map(|header| {
        let Header { name, value } = header;
        if [name, value].iter().any(|text| text.contains(['\r', '\n'])) {
            return Err("a header holds a line break".to_owned());
        }
        Ok(format!("{name}: {value}\r\n"))
    });
    each.collect()
}

/// A head as a step. A head with characters above U+00FF is sent as UTF-8.
fn step(from: Side, head: &[String], note: &str) -> Result<Step, String> {
    let text = head.concat();
    let latin1: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
    let mut step = Step::of(from, &latin1.unwrap_or_else(|_| text.into_bytes()));
    step.note = Some(note.to_owned());
    Ok(step)
}

/// The date of a time in the form of HAR.
fn day(time: &str) -> Option<String> {
    let day = time.get(..10)?;
    let fits = day.bytes().enumerate().all(|(at, o)| match at {
        4 | 7 => o == b'-',
        _ => o.is_ascii_digit(),
    });
    fits.then(|| day.to_owned())
}
