//! HAR: what the developer tools of a browser save.
//!
//! It keeps the parts of heads, and whole messages, but no octets: no frames, and
//! nothing of what follows a head in hixie-76.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

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
    vectors: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    entries: Entries,
}

/// The entries, each read by itself, so that an odd one spoils no other. The
/// bodies of plain HTTP are dropped on the way.
#[derive(Default)]
struct Entries {
    list: Vec<Result<Entry, String>>,
    /// How many there are beyond [`MAX_ENTRIES`].
    more: usize,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Entries, D::Error> {
        from.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries, A::Error> {
        let mut entries = Entries::default();
        while entries.list.len() < MAX_ENTRIES {
            match seq.next_element::<Value>()? {
                Some(entry) => entries.list.push(Entry::of(entry)),
                None => return Ok(entries),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            entries.more += 1;
        }
        Ok(entries)
    }
}

struct Entry {
    started_date_time: Option<String>,
    request: Request,
    response: Option<Response>,
    messages: Vec<Message>,
    /// Whether the browser calls it so.
    is_named_websocket: bool,
    /// What is not as the format has it, and was passed over.
    odd: Vec<&'static str>,
}

struct Request {
    method: String,
    url: String,
    http_version: String,
    headers: Vec<Header>,
}

struct Response {
    status: u64,
    status_text: String,
    headers: Vec<Header>,
}

struct Header {
    name: String,
    value: String,
}

/// A message; empty where it is not as the format has it.
#[derive(Default)]
struct Message {
    kind: String,
    opcode: Option<u64>,
    data: Option<String>,
}

impl Entry {
    /// Reads an entry; the error says why that is not possible.
    fn of(entry: Value) -> Result<Entry, String> {
        let Value::Object(mut entry) = entry else {
            return Err(format!("it is {}, not an object", kind_of(&entry)));
        };
        let mut odd = Vec::new();
        let Some(Value::Object(mut request)) = entry.remove("request") else {
            return Err("it has no request".to_owned());
        };
        let url = text(&mut request, "url").ok_or("its request has no URL")?;
        let headers = headers(request.remove("headers"), &mut odd);
        let request = Request {
            method: text(&mut request, "method").ok_or("its request has no method")?,
            url,
            http_version: text(&mut request, "httpVersion").unwrap_or_default(),
            headers,
        };
        let response = match entry.remove("response") {
            Some(Value::Object(response)) => Response::of(response, &mut odd),
            None | Some(Value::Null) => None,
            Some(_) => {
                odd.push("its response is not an object");
                None
            }
        };
        let messages = match entry.remove("_webSocketMessages") {
            Some(Value::Array(messages)) => messages.into_iter().map(Message::of).collect(),
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                odd.push("its messages are not a list");
                Vec::new()
            }
        };
        Ok(Entry {
            started_date_time: text(&mut entry, "startedDateTime"),
            request,
            response,
            messages,
            is_named_websocket: text(&mut entry, "_resourceType").as_deref() == Some("websocket"),
            odd,
        })
    }
}

impl Response {
    fn of(mut response: Map<String, Value>, odd: &mut Vec<&'static str>) -> Option<Response> {
        let headers = headers(response.remove("headers"), odd);
        let status = match response.remove("status") {
            Some(Value::Number(status)) => status.as_u64(),
            Some(Value::String(status)) => status.parse().ok(),
            _ => None,
        };
        if status.is_none() {
            odd.push("the status of its response is not a number");
        }
        Some(Response {
            status: status?,
            status_text: text(&mut response, "statusText").unwrap_or_default(),
            headers,
        })
    }
}

impl Message {
    fn of(message: Value) -> Message {
        let Value::Object(mut message) = message else {
            return Message::default();
        };
        Message {
            kind: text(&mut message, "type").unwrap_or_default(),
            opcode: message.get("opcode").and_then(whole),
            data: text(&mut message, "data"),
        }
    }
}

/// A number without a fraction; some programs write 1.0.
fn whole(value: &Value) -> Option<u64> {
    let opcodes = 0..=15_u8;
    let number = value.as_f64()?;
    let mut found = opcodes.filter(|opcode| f64::from(*opcode) == number);
    found.next().map(u64::from)
}

/// A member that is a text.
fn text(of: &mut Map<String, Value>, name: &str) -> Option<String> {
    match of.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn headers(list: Option<Value>, odd: &mut Vec<&'static str>) -> Vec<Header> {
    let mut headers = Vec::new();
    match list {
        Some(Value::Array(list)) => {
            let all = list.len();
            headers.extend(list.into_iter().filter_map(Header::of));
            if headers.len() < all {
                odd.push("some of its headers have no name or no value");
            }
        }
        None => {}
        Some(_) => odd.push("its headers are not a list"),
    }
    headers
}

impl Header {
    fn of(header: Value) -> Option<Header> {
        let Value::Object(mut header) = header else {
            return None;
        };
        let name = text(&mut header, "name")?;
        let value = match header.remove("value")? {
            Value::String(value) => value,
            Value::Number(value) => value.to_string(),
            _ => return None,
        };
        Some(Header { name, value })
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether the file is JSON.
pub(super) fn is(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// The text with U+FFFD for what is not UTF-8 and for escapes of half a surrogate
/// pair, which browsers write for messages that were cut inside a character.
/// `None` where there is no such thing.
#[cold]
fn with_whole_characters(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let mut mended = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once('\\') {
        mended.push_str(before);
        let (unit, after_unit) = unit(after);
        let (next, after_next) = unit_escape(after_unit);
        rest = match (unit, next) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => {
                mended.push('\\');
                mended.push_str(after.strip_suffix(after_next)?);
                after_next
            }
            (Some(0xd800..=0xdfff), _) => {
                mended.push('\u{fffd}');
                after_unit
            }
            _ => {
                mended.push('\\');
                mended.push_str(after.strip_suffix(after_unit)?);
                after_unit
            }
        };
    }
    mended.push_str(rest);
    (mended.as_bytes() != text.as_bytes() || matches!(text, Cow::Owned(_))).then_some(mended)
}

/// What stands behind a backslash: the code unit of `uXXXX`, or none of another
/// escape; and what follows.
fn unit(text: &str) -> (Option<u16>, &str) {
    if let Some((digits, rest)) = text.strip_prefix('u').and_then(|t| t.split_at_checked(4)) {
        return (u16::from_str_radix(digits, 16).ok(), rest);
    }
    let mut rest = text.chars();
    rest.next();
    (None, rest.as_str())
}

/// The same with its backslash.
fn unit_escape(text: &str) -> (Option<u16>, &str) {
    text.strip_prefix('\\').map_or((None, text), unit)
}

pub(super) fn read(text: &[u8], drafts: &mut Drafts<'_>) -> Result<(), Unimportable> {
    let har: serde_json::Result<Har> = serde_json::from_slice(text).or_else(|error| {
        let mended = with_whole_characters(text).ok_or(error)?;
        let har = serde_json::from_str(&mended)?;
        drafts
            .remark("octets or escapes in it that are no characters are read as U+FFFD".to_owned());
        Ok(har)
    });
    let har = har.map_err(|error| Unimportable::Line {
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
    for (n, entry) in log.entries.list.iter().enumerate() {
        let n = n + 1;
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                drafts.remark(format!("left out: entry {n}: {why}"));
                continue;
            }
        };
        let place = format!("entry {n} ({})", Escaped::<80>(&entry.request.url));
        let is_websocket = entry.is_websocket();
        if !entry.odd.is_empty() {
            let left_out = if is_websocket { "" } else { "left out: " };
            drafts.remark(format!("{left_out}{place}: {}", entry.odd.join("; ")));
        } else if !is_websocket {
            others += 1;
        }
        if !is_websocket {
            continue;
        }
        match entry.draft(drafts, n) {
            Ok(draft) => drafts.add(draft, &place),
            Err(why) => drafts.remark(format!("left out: {place}: {why}")),
        }
    }
    if others > 0 {
        drafts.remark(format!("left out: {others} entries that are plain HTTP"));
    }
    if log.entries.more > 0 {
        let more = log.entries.more;
        drafts.remark(format!(
            "left out: the {more} entries after entry {MAX_ENTRIES}"
        ));
    }
    Ok(())
}

impl Entry {
    fn is_websocket(&self) -> bool {
        let url = self.request.url.to_ascii_lowercase();
        let head = lines(&self.request.headers).unwrap_or_default().concat();
        let by_url = url.starts_with("ws:") || url.starts_with("wss:");
        by_url || self.is_named_websocket || asks(head.as_bytes())
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
            open: None,
        })
    }

    fn messages(&self, drafts: &mut Drafts<'_>, n: usize) -> Vec<ReceivedMessage> {
        let mut messages = Vec::new();
        let mut unread = 0_usize;
        for message in &self.messages {
            let from = match message.kind.as_str() {
                "send" => Side::Client,
                "receive" => Side::Server,
                _ => {
                    unread += 1;
                    continue;
                }
            };
            let binary = || STANDARD.decode(message.data.as_ref()?).ok();
            let (kind, octets) = match message.opcode {
                Some(1) => {
                    let data = message.data.clone().map(String::into_bytes);
                    (MessageKind::Text, data)
                }
                Some(2) => (MessageKind::Binary, binary()),
                Some(9) => (MessageKind::Ping, binary()),
                Some(10) => (MessageKind::Pong, binary()),
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
