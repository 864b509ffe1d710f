//! Heads that we write: line by line, and no value that would add a line.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::octets::{is_field_text, is_token};
use super::policy::Config;
use crate::error::{Refusal, Unsendable};

/// A header whose value is only carried, from one head to another: its name, and
/// any octets but CR, LF and NUL.
pub type CarriedHeader<'a> = (&'a str, &'a [u8]);

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

    /// Starts with lines of ours, up to within a line, which
    /// [`HeadWriter::end_line`] ends.
    #[inline]
    pub(crate) fn within_line(out: &'o mut Vec<u8>, lines: &'static str) -> HeadWriter<'o> {
        let start = out.len();
        out.extend_from_slice(lines.as_bytes());
        HeadWriter {
            out,
            start,
            clean: true,
        }
    }

    /// Starts a line of ours: a name, a colon and a space.
    #[inline]
    pub(crate) fn start_line(&mut self, start: &'static str) {
        self.out.extend_from_slice(start.as_bytes());
    }

    /// Ends a line that was started.
    pub(crate) fn end_line(&mut self, value: &[u8]) {
        self.clean &= is_field_text(value);
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends a line that was started with a value that no peer has sent.
    #[inline]
    pub(crate) fn end_line_of_ours(&mut self, value: &[u8]) {
        debug_assert!(is_field_text(value));
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.clean &= is_field_text(value.as_bytes());
        self.line(name, value.as_bytes());
    }

    /// Headers whose values are only carried: any octets but those that would
    /// add a line or end it (RFC 9110 section 5.5).
    pub(crate) fn carried(&mut self, headers: &[CarriedHeader<'_>]) {
        for (name, value) in headers {
            self.clean &= !value.iter().any(|o| matches!(o, b'\r' | b'\n' | 0));
            self.line(name, value);
        }
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        self.clean &= is_token(name.as_bytes());
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
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

/// A response of plain HTTP, after which the connection closes.
#[derive(Clone, Copy, Debug)]
pub struct HttpResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'a str,
    /// More headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Headers that are only carried.
    pub carried: &'a [CarriedHeader<'a>],
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
        head.carried(self.carried);
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
        carried: &[],
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

#[cfg(test)]
mod tests {
    use super::super::{hixie75, hixie76, hybi05};
    use super::*;

    #[test]
    fn lines_of_ours_are_such_as_are_checked() {
        let mut checked = Vec::new();
        let mut heads = Vec::new();
        let mut check = |first: &str, lines: [(&str, &str); 4]| {
            let mut head = HeadWriter::start(&mut checked, first);
            for (name, value) in lines.into_iter().filter(|(name, _)| !name.is_empty()) {
                head.header(name, value);
            }
            assert_eq!(head.end(), Ok(()));
        };
        check(
            "HTTP/1.1 101 Web Socket Protocol Handshake",
            [
                ("Upgrade", "WebSocket"),
                ("Connection", "Upgrade"),
                ("WebSocket-Origin", "http://o"),
                ("WebSocket-Location", "ws://h/"),
            ],
        );
        check(
            "HTTP/1.1 101 WebSocket Protocol Handshake",
            [
                ("Upgrade", "WebSocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Origin", "http://o"),
                ("Sec-WebSocket-Location", "ws://h/"),
            ],
        );
        check(
            "HTTP/1.1 101 Switching Protocols",
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("", ""),
            ],
        );
        let parts: (&[u8], &[u8]) = (b"http://o", b"ws://h/");
        assert_eq!(hixie75::start_response(parts, &mut heads).end(), Ok(()));
        assert_eq!(hixie76::start_response(parts, &mut heads).end(), Ok(()));
        let proof = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert_eq!(hybi05::start_response(proof, &mut heads).end(), Ok(()));
        assert_eq!(
            heads.escape_ascii().to_string(),
            checked.escape_ascii().to_string()
        );
    }
}
