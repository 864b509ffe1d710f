//! What a server said that did not upgrade, in the words of `connect` and
//! `probe`.

use std::time::Instant;

use heirloom::bytes::Escaped;
use heirloom::handshake::{Head, Response};
use heirloom::net::dial::{Connection, Progress};
use heirloom::vector::shown;

use super::suggest;

/// Octets shown of an answer that is not HTTP.
const MAX_SHOWN: usize = 60;

/// Why a plain request is not understood.
pub(super) const SPEAKS_TLS: &str = "the server speaks TLS on this port; dial wss://";

/// What servers say to a plain request that comes to their port of TLS: nginx,
/// Apache, Go, and ours.
const OF_TLS_PORTS: [&str; 4] = [
    "sent to HTTPS port",
    "SSL-enabled server port",
    "HTTP request to an HTTPS server",
    "plain-on-tls-port",
];

/// The parts of a response head that tell how to read its body, or what to do.
#[derive(Debug, Default)]
pub(super) struct Answer {
    location: Option<String>,
    /// Names of the ways to authenticate that the server takes.
    schemes: Vec<String>,
    /// Octets of the body, where the head tells.
    length: Option<usize>,
    chunked: bool,
    body: Body,
}

/// What kind of text a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    /// Its first line says what it is about.
    #[default]
    Text,
    /// Its title does.
    Html,
    /// No text.
    Other,
}

impl Answer {
    pub(super) fn of(response: &Response<'_>) -> Answer {
        let (head, status) = (response.head(), response.status());
        let content = text(head, "Content-Type").unwrap_or_default();
        let content = content.split(';').next().unwrap_or_default();
        let content = content.trim().to_ascii_lowercase();
        let challenges = if status == 407 {
            "Proxy-Authenticate"
        } else {
            "WWW-Authenticate"
        };
        let without_body = matches!(status, 100..=199 | 204 | 304);
        Answer {
            location: text(head, "Location").filter(|_| (300..400).contains(&status)),
            schemes: head
                .all(challenges)
                .filter_map(|header| header.text())
                .flat_map(schemes)
                .collect(),
            length: if without_body {
                Some(0)
            } else {
                text(head, "Content-Length").and_then(|length| length.trim().parse().ok())
            },
            chunked: text(head, "Transfer-Encoding")
                .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked")),
            body: match &*content {
                "" => Body::Text,
                "text/html" | "application/xhtml+xml" => Body::Html,
                content if content.starts_with("text/") || content.contains("json") => Body::Text,
                _ => Body::Other,
            },
        }
    }

    /// What the head asks for, behind a comma or a semicolon.
    pub(super) fn asks(&self) -> String {
        let mut asks = String::new();
        if let Some(location) = &self.location {
            let shown = Escaped::<300>(location).to_string();
            asks.push_str(&format!("; it redirects to {shown}, which is not followed"));
            let meant = suggest::of_url(location).filter(|_| location.contains("://"));
            if let Some(meant) = meant.filter(|meant| meant != location) {
                asks.push_str(&format!(" (try {})", Escaped::<300>(&meant)));
            }
        }
        if !self.schemes.is_empty() {
            let schemes = self.schemes.join(", ");
            let schemes = Escaped::<100>(&schemes);
            asks.push_str(&format!("; it asks for authentication: {schemes}"));
        }
        asks
    }

    /// What the body says, if it arrives until the deadline, behind `before`; and
    /// whether it says that the port is one of TLS.
    pub(super) fn says<const MAX: usize>(
        &self,
        client: &mut Connection,
        deadline: Instant,
        before: &str,
    ) -> String {
        let said = self.said(client, deadline);
        let said = said.map(|line| format!("{before}{}", Escaped::<MAX>(&line)));
        let mut says = said.unwrap_or_default();
        let body = self.body(client.unparsed());
        let body = String::from_utf8_lossy(&body);
        if client.tls().is_none() && OF_TLS_PORTS.iter().any(|words| body.contains(words)) {
            says.push_str("; ");
            says.push_str(SPEAKS_TLS);
        }
        says
    }

    fn said(&self, client: &mut Connection, deadline: Instant) -> Option<String> {
        while !self.is_enough(client.unparsed()) {
            match client.step(Some(deadline), &mut (), &mut |_, _, _| {}) {
                Progress::Transferred | Progress::Woken => {}
                _ => break,
            }
        }
        let body = self.body(client.unparsed());
        let text = String::from_utf8_lossy(&body);
        let said = if self.is_html(&text) {
            title(&text)?
        } else if self.body == Body::Other {
            return None;
        } else {
            text.lines().next()?.to_owned()
        };
        (!said.is_empty()).then_some(said)
    }

    fn is_html(&self, text: &str) -> bool {
        self.body == Body::Html || self.body == Body::Text && text.trim_start().starts_with('<')
    }

    /// Whether no more octets of the body are needed.
    fn is_enough(&self, received: &[u8]) -> bool {
        let body = self.body(received);
        let text = String::from_utf8_lossy(&body);
        let whole = self.length.is_some_and(|length| received.len() >= length);
        let html = self.is_html(&text);
        whole && !self.chunked
            || self.body == Body::Other
            || html && title(&text).is_some()
            || !html && text.contains('\n')
    }

    /// The body as far as it was received, without what stands behind it.
    fn body(&self, received: &[u8]) -> Vec<u8> {
        if self.chunked {
            return unchunked(received);
        }
        let length = self.length.unwrap_or(received.len());
        received.get(..length).unwrap_or(received).to_vec()
    }
}

fn text(head: &Head<'_>, name: &str) -> Option<String> {
    head.get(name)?.text().map(str::to_owned)
}

/// The names of the schemes in a list of challenges. Parameters, which may be
/// quoted and hold commas, are left out.
fn schemes(challenges: &str) -> Vec<String> {
    let mut quoted = false;
    let items = challenges.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    let first = items.filter_map(|item| item.split_whitespace().next());
    first
        .filter(|word| !word.contains('=') || word.ends_with("=="))
        .map(str::to_owned)
        .collect()
}

/// The chunks of a chunked body, as far as they are there.
fn unchunked(mut received: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = received.iter().position(|octet| *octet == b'\n') {
        let (line, rest) = received.split_at(end + 1);
        let size = String::from_utf8_lossy(line);
        let size = size.split(';').next().unwrap_or_default().trim().to_owned();
        let Ok(size @ 1..) = usize::from_str_radix(&size, 16) else {
            break;
        };
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        body.extend_from_slice(chunk);
        received = behind.strip_prefix(b"\r\n").unwrap_or(behind);
    }
    body
}

/// The title of a page, on one line.
fn title(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower.get(start..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</title")?;
    let words: Vec<&str> = page.get(start..end)?.split_whitespace().collect();
    Some(words.join(" "))
}

/// The first octets of what is no HTTP, behind a semicolon; empty where nothing
/// was received, or where it starts as HTTP does.
pub(super) fn not_http(client: &Connection) -> String {
    let received = [client.parsed(), client.unparsed()].concat();
    if client.received() != received.len() as u64 {
        // The first ones are gone.
        return String::new();
    }
    of_octets(&received)
}

fn of_octets(received: &[u8]) -> String {
    let start = received.get(..5).unwrap_or(received);
    if received.is_empty() || b"HTTP/".starts_with(start) {
        return String::new();
    }
    let tls = matches!(received, [0x15 | 0x16, 0x03, ..]);
    let looks = if tls {
        format!(", which looks like TLS: {SPEAKS_TLS}")
    } else {
        String::new()
    };
    format!(
        "; the answer starts with {}{looks}",
        shown(received, MAX_SHOWN)
    )
}
