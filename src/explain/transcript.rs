//! Text in which other programs show heads: `curl -v` and `connect -v`, ngrep, the
//! network panels of browsers.
//!
//! They show lines, not octets: each line of a head gets its CR LF back. What
//! stands between the heads is left out.

use super::dump::{DumpedOctets, Speaker, looks_like_http};
use crate::version::Side;

/// The heads that such a text shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// What prints such text.
    pub program: &'static str,
    /// Whether its URL says that the connection ran inside TLS.
    pub secure: bool,
    /// The heads, in order, with what hixie-76 has behind them where it is shown.
    pub octets: Vec<DumpedOctets>,
}

/// Reads a text in which a program shows heads; `None` where it is something else.
#[must_use]
pub fn read(text: &str) -> Option<Transcript> {
    let text = text.replace("\r\n", "\n");
    arrows(&text)
        .or_else(|| ngrep(&text))
        .or_else(|| panel(&text))
}

fn known(side: Side, octets: Vec<u8>) -> DumpedOctets {
    DumpedOctets {
        speaker: Speaker::Known(side),
        octets,
    }
}

/// `> ` before each line of a request, `< ` before each line of a response.
fn arrows(text: &str) -> Option<Transcript> {
    let mut heads: Vec<(Side, Vec<u8>)> = Vec::new();
    let mut inside = None;
    for line in text.lines().map(without_time) {
        let (side, line) = match line.as_bytes().first() {
            Some(b'>') => (Side::Client, line.trim_start_matches('>')),
            Some(b'<') => (Side::Server, line.trim_start_matches('<')),
            _ => continue,
        };
        let line = line.strip_prefix(' ').unwrap_or(line);
        if inside != Some(side) {
            let starts = looks_like_http(line.as_bytes());
            if !starts || line.starts_with("HTTP/") != (side == Side::Server) {
                continue;
            }
            heads.push((side, Vec::new()));
        }
        let (_, octets) = heads.last_mut()?;
        octets.extend_from_slice(line.as_bytes());
        octets.extend_from_slice(b"\r\n");
        inside = (!line.is_empty()).then_some(side);
    }
    (!heads.is_empty()).then(|| Transcript {
        program: "curl -v or connect -v",
        secure: false,
        octets: heads.into_iter().map(|(side, o)| known(side, o)).collect(),
    })
}

/// The line without the time that `curl --trace-time` puts before it.
fn without_time(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, rest)) if time.len() >= 8 && is_time(time) => rest,
        _ => line,
    }
}

fn is_time(text: &str) -> bool {
    let time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    text.contains(':') && text.chars().all(time)
}

/// ngrep prints a line with both addresses, then the octets, with a full stop for
/// each that cannot be printed: also for CR.
fn ngrep(text: &str) -> Option<Transcript> {
    let mut packets: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if let Some(from) = ngrep_sender(line) {
            packets.push((from, Vec::new()));
        } else if let Some((_, lines)) = packets.last_mut() {
            lines.push(line);
        }
    }
    let first = packets.first()?.0;
    let mut octets: Vec<DumpedOctets> = Vec::new();
    let mut due = None;
    for (from, lines) in &packets {
        let speaker = if *from == first {
            Speaker::First
        } else {
            Speaker::Second
        };
        let lines = packet_lines(lines);
        let starts = lines.first().is_some_and(|line| is_first_line(line));
        if !starts && due != Some(speaker) {
            continue;
        }
        let (head, ended) = head_of(&lines);
        match octets.last_mut() {
            Some(last) if !starts => last.octets.extend(head),
            _ => octets.push(DumpedOctets {
                speaker,
                octets: head,
            }),
        }
        due = (!ended).then_some(speaker);
    }
    (!octets.is_empty()).then_some(Transcript {
        program: "ngrep",
        secure: false,
        octets,
    })
}

/// The sender that a line of ngrep names: `T 10.0.0.1:80 -> 10.0.0.2:4711 [AP]`.
fn ngrep_sender(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("T ")?;
    let (before, _) = rest.split_once(" -> ")?;
    before.split_whitespace().next_back()
}

/// The lines of a packet. Without `-W byline` there is only one, and each CR and LF
/// in it is a full stop.
fn packet_lines<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let mut lines: Vec<&str> = lines
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.chars().all(|c| c == '#'))
        .collect();
    if let [one] = lines.as_mut_slice() {
        let one = one.trim_start();
        if is_first_line(one) && one.contains("..") {
            return one.split("..").collect();
        }
    }
    let line = |line: &'t str| line.strip_suffix('.').unwrap_or(line);
    lines.into_iter().map(line).collect()
}

fn is_first_line(line: &str) -> bool {
    looks_like_http(line.as_bytes())
}

/// The head in these lines, and whether its empty line is there.
fn head_of(lines: &[&str]) -> (Vec<u8>, bool) {
    let mut head = Vec::new();
    for line in lines {
        head.extend_from_slice(line.as_bytes());
        head.extend_from_slice(b"\r\n");
        if line.is_empty() {
            return (head, true);
        }
    }
    (head, false)
}

/// What a network panel shows of one request.
#[derive(Default)]
struct Panel<'t> {
    url: Option<&'t str>,
    method: Option<&'t str>,
    status: Option<&'t str>,
    /// The lines of each head.
    request: Vec<String>,
    response: Vec<String>,
    key3: Vec<u8>,
    digest: Vec<u8>,
}

/// `Request URL:`, `Request Method:`, `Status Code:`, and the headers below
/// `Request Headers` and `Response Headers`.
fn panel(text: &str) -> Option<Transcript> {
    let mut panel = Panel::default();
    let mut side = None;
    let pairs = pairs_of(text);
    for (name, value) in pairs {
        let title = name.to_ascii_lowercase();
        match title.as_str() {
            "request url" => panel.url = Some(value),
            "request method" => panel.method = Some(value),
            "status code" | "status" if side.is_none() => panel.status = Some(value),
            "(key3)" => panel.key3 = hex_octets(value)?,
            "(challenge response)" => panel.digest = hex_octets(value)?,
            _ if title.starts_with("request headers") => side = Some(Side::Client),
            _ if title.starts_with("response headers") => side = Some(Side::Server),
            _ => panel.line(side, name, value),
        }
    }
    let url = panel.url?;
    if panel.request.is_empty() && panel.response.is_empty() {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let secure = matches!(scheme.to_ascii_lowercase().as_str(), "wss" | "https");
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, target) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let slash = if target.starts_with('/') { "" } else { "/" };
    let method = panel.method.unwrap_or("GET");
    let line = format!("{method} {slash}{target} HTTP/1.1");
    if !panel.request.is_empty() && !panel.has_host() {
        panel.request.push(format!("Host: {host}"));
    }
    let mut octets = Vec::new();
    if !panel.request.is_empty() {
        octets.push(known(
            Side::Client,
            head_with(&line, &panel.request, &panel.key3),
        ));
    }
    if let Some(status) = panel.status {
        let line = format!("HTTP/1.1 {status}");
        octets.push(known(
            Side::Server,
            head_with(&line, &panel.response, &panel.digest),
        ));
    }
    Some(Transcript {
        program: "the network panel of a browser",
        secure,
        octets,
    })
}

impl Panel<'_> {
    fn line(&mut self, side: Option<Side>, name: &str, value: &str) {
        let lines = match side {
            Some(Side::Client) => &mut self.request,
            Some(Side::Server) => &mut self.response,
            None => return,
        };
        // Fields of HTTP/2 start with a colon; a name has no spaces.
        let is_name = !name.is_empty() && !name.contains([' ', '(', '/']);
        if is_name {
            lines.push(format!("{name}: {value}"));
        }
    }

    fn has_host(&self) -> bool {
        let host = |line: &String| line.to_ascii_lowercase().starts_with("host:");
        self.request.iter().any(host)
    }
}

/// Names and values: `Name:value` on one line, or, as newer panels give them, the
/// name on one line and its value on the next.
fn pairs_of(text: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let is_url = |line: &str| {
        let line = line.trim().trim_end_matches(':');
        line.eq_ignore_ascii_case("request url")
    };
    let alternating = lines.iter().any(|line| is_url(line));
    let mut pairs = Vec::new();
    // Words on which a panel can be clicked.
    let is_button = |line: &str| {
        ["raw", "view source", "view parsed"].contains(&line.trim().to_ascii_lowercase().as_str())
    };
    let mut lines = lines
        .into_iter()
        .filter(|line| !line.is_empty() && !is_button(line));
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        let is_title = {
            let title = line.to_ascii_lowercase();
            title == "general"
                || title.starts_with("request headers")
                || title.starts_with("response headers")
        };
        if is_title {
            pairs.push((line, ""));
        } else if alternating {
            let value = lines.next().unwrap_or_default();
            pairs.push((line.trim_end_matches(':'), value));
        } else if let Some((name, value)) = split(line) {
            pairs.push((name, value));
        }
    }
    pairs
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name, value.strip_prefix(' ').unwrap_or(value)))
}

/// `57:6A:4E`, also with spaces between.
fn hex_octets(text: &str) -> Option<Vec<u8>> {
    let digits = text.split([':', ' ']).filter(|pair| !pair.is_empty());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

fn head_with(first: &str, lines: &[String], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{first}\r\n{}\r\n", lines.join("\r\n")).into_bytes();
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(body);
    head
}
