//! Heads that we write: line by line, and no value that would add a line.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::head::{is_field_text, is_token_octet};
use super::policy::Config;
use crate::error::{Refusal, Unsendable};

/// Writes a head line by line and refuses a value that would add a line.
pub(crate) struct HeadWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    clean: bool,
}

impl<'o> HeadWriter<'o> {
    pub(crate) fn start(out: &'o mut Vec<u8>, first_line: &str) -> HeadWriter<'o> {
        let start = out.len();
        out.extend_from_slice(first_line.as_bytes());
        out.extend_from_slice(b"\r\n");
        HeadWriter {
            out,
            start,
            clean: true,
        }
    }

    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.clean &= is_field_text(value.as_bytes()) && is_token(name);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends the head; where a value was not clean, nothing at all is written.
    pub(crate) fn end(self) -> Result<(), Unsendable> {
        if self.clean {
            self.out.extend_from_slice(b"\r\n");
            Ok(())
        } else {
            self.out.truncate(self.start);
            Err(Unsendable::HeaderValue)
        }
    }
}

/// Whether this can be the name of a header (RFC 9110 section 5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.as_bytes().iter().all(is_token_octet)
}

/// A response of plain HTTP, after which the connection closes.
#[derive(Clone, Copy, Debug)]
pub struct HttpResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'a str,
    /// More headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl HttpResponse<'_> {
    /// Writes head and body; for HEAD only the length of the body.
    pub(crate) fn write(&self, with_body: bool, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        let first = format!("HTTP/1.1 {} {}", self.status, reason(self.status));
        let mut head = HeadWriter::start(out, &first);
        if !self.headers.iter().any(|(name, _)| *name == "Connection") {
            head.header("Connection", "close");
        }
        for (name, value) in self.headers {
            head.header(name, value);
        }
        head.header("Content-Type", self.content_type);
        head.header("X-Content-Type-Options", "nosniff");
        head.header("Content-Length", &self.body.len().to_string());
        head.end()?;
        if with_body {
            out.extend_from_slice(self.body);
        }
        Ok(())
    }
}

/// Writes the HTTP response of a refusal: its stable code, one sentence, and the
/// line and octet in which the cause lies.
pub(super) fn write_refusal(
    refusal: Refusal,
    place: Option<(usize, usize)>,
    config: &Config,
    with_body: bool,
    out: &mut Vec<u8>,
) {
    let mut body = format!("{}: {refusal}", refusal.code());
    if let Some((line, octet)) = place {
        body.push_str(&format!(" (line {line}, octet {octet})"));
    }
    if let Some(hint) = config.hint.and_then(|hint| hint(refusal)) {
        body.push_str("; ");
        body.push_str(&hint);
    }
    body.push('\n');
    let numbers = config.versions.numbers();
    let mut headers: Vec<(&str, &str)> = Vec::new();
    match refusal {
        // RFC 9110 section 15.5.22: a 426 names what to upgrade to.
        Refusal::VersionUnknown { .. } | Refusal::VersionOff { .. } => {
            headers.push(("Upgrade", "websocket"));
            headers.push(("Connection", "Upgrade, close"));
        }
        Refusal::MethodNotGet => headers.push(("Allow", "GET")),
        _ => {}
    }
    // RFC 6455 section 4.4; an empty list would be no header at all.
    let about_version = matches!(
        refusal,
        Refusal::VersionUnknown { .. }
            | Refusal::VersionOff { .. }
            | Refusal::VersionMalformed
            | Refusal::VersionList
            | Refusal::VersionMissing
    );
    if about_version && !numbers.is_empty() {
        headers.push(("Sec-WebSocket-Version", &numbers));
    }
    let response = HttpResponse {
        status: refusal.status(),
        content_type: "text/plain; charset=utf-8",
        headers: &headers,
        body: body.as_bytes(),
    };
    // All of it is ours, so it is clean.
    let written = response.write(with_body, out);
    debug_assert!(written.is_ok());
}

/// The reason phrase of a status that we use.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}
