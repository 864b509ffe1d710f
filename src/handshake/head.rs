//! The HTTP head: request or status line and headers, up to the empty line.
//!
//! httparse judges it; this file finds its end in linear time, refuses what
//! httparse is too kind to, and keeps where everything lies.

use std::cell::Cell;

use memchr::memchr;

use crate::error::{Refusal, Violation};
use crate::trace::{Field, SpanWriter, Trace};

/// No head has more headers than this, whatever the limit says.
pub(crate) const MAX_HEADERS: usize = 128;

/// How far the search for the end of a head has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
    line: usize,
}

impl Scan {
    /// Looks for the empty line, from where the last look ended: a head that
    /// comes octet by octet costs linear time. Gives the length of the head.
    pub(crate) fn find_end(&mut self, octets: &[u8], limit: u32) -> Result<Option<usize>, Refusal> {
        let too_long = Refusal::HeadTooLong { limit };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        loop {
            let unseen = octets.get(self.seen..).unwrap_or_default();
            let Some(i) = memchr(b'\n', unseen) else {
                self.seen = octets.len();
                return if octets.len() > limit {
                    Err(too_long)
                } else {
                    Ok(None)
                };
            };
            let end = self.seen + i + 1;
            if end > limit {
                return Err(too_long);
            }
            let line = octets.get(self.line..end).unwrap_or_default();
            match line {
                [b'\r', b'\n'] if self.line == 0 => return Err(Refusal::HeadMalformed),
                [b'\r', b'\n'] => return Ok(Some(end)),
                // RFC 9112 section 2.2 leaves a bare LF to choice; some hops
                // read it as the end of a line and some do not, so refuse.
                [.., b'\r', b'\n'] => {}
                _ => return Err(Refusal::BareLf),
            }
            self.seen = end;
            self.line = end;
        }
    }
}

/// One header: its name as sent, its value without surrounding white space.
#[derive(Clone, Copy, Debug)]
pub struct Header<'b> {
    /// The name, in the letters it was sent in.
    pub name: &'b str,
    /// The value without surrounding white space; inner runs of spaces stand.
    pub value: &'b [u8],
    /// The whole line, without its CR LF.
    line: &'b [u8],
}

impl<'b> Header<'b> {
    /// The value as text, where it is visible ASCII and spaces.
    #[must_use]
    pub fn text(self) -> Option<&'b str> {
        if is_field_text(self.value) {
            std::str::from_utf8(self.value).ok()
        } else {
            None
        }
    }

    /// All that follows the colon and one space. The keys of hixie-76 are
    /// taken so: a real client sent one that begins with its only space.
    pub(crate) fn raw_value(self) -> &'b [u8] {
        let after = self.line.get(self.name.len() + 1..).unwrap_or_default();
        after.strip_prefix(b" ").unwrap_or(after)
    }
}

/// Whether these octets may stand in a header that we write: visible ASCII and
/// spaces.
pub(crate) fn is_field_text(octets: &[u8]) -> bool {
    octets.iter().all(|o| matches!(o, 0x20..=0x7e))
}

/// A head that was read. Looking a header up names it for the watcher.
#[derive(Debug)]
pub struct Head<'b> {
    raw: &'b [u8],
    /// The three parts of the first line.
    first: [&'b str; 3],
    headers: Vec<Header<'b>>,
    looked_at: Cell<u128>,
}

impl<'b> Head<'b> {
    /// Reads a request's head, whose end was found.
    pub(crate) fn request(raw: &'b [u8], limit: u16) -> Result<Head<'b>, Refusal> {
        let lines = lines(raw);
        if lines
            .iter()
            .any(|l| l.starts_with(b" ") || l.starts_with(b"\t"))
        {
            return Err(Refusal::HeadFolded);
        }
        let limit_reached = lines.len().saturating_sub(1) > usize::from(limit).min(MAX_HEADERS);
        if limit_reached {
            return Err(Refusal::TooManyHeaders { limit });
        }
        let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut parsed);
        match request.parse(raw) {
            Ok(httparse::Status::Complete(n)) if n == raw.len() => {}
            Err(httparse::Error::Version) => return Err(Refusal::HttpVersion),
            _ => return Err(Refusal::HeadMalformed),
        }
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(Refusal::HeadMalformed);
        };
        let version = if request.version == Some(1) {
            "HTTP/1.1"
        } else {
            "HTTP/1.0"
        };
        Head::new(raw, [method, target, version], request.headers, &lines)
            .ok_or(Refusal::HeadMalformed)
    }

    /// Reads an answer's head, whose end was found.
    pub(crate) fn response(raw: &'b [u8]) -> Result<Head<'b>, Violation> {
        let lines = lines(raw);
        let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut parsed);
        match response.parse(raw) {
            Ok(httparse::Status::Complete(n)) if n == raw.len() => {}
            _ => return Err(Violation::ResponseMalformed),
        }
        // httparse drops a reason that is not ASCII and gives the code as a
        // number: take both from the line itself.
        let line = lines.first().copied().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| Violation::ResponseMalformed)?;
        let mut parts = line.splitn(3, ' ');
        let first = [(); 3].map(|()| parts.next().unwrap_or_default());
        Head::new(raw, first, response.headers, &lines).ok_or(Violation::ResponseMalformed)
    }

    fn new(
        raw: &'b [u8],
        first: [&'b str; 3],
        parsed: &[httparse::Header<'b>],
        lines: &[&'b [u8]],
    ) -> Option<Head<'b>> {
        // Nothing is folded, so line and header go together.
        let header_lines = lines.get(1..)?;
        if header_lines.len() != parsed.len() {
            return None;
        }
        let headers = parsed.iter().zip(header_lines).map(|(h, line)| Header {
            name: h.name,
            value: h.value,
            line,
        });
        Some(Head {
            raw,
            first,
            headers: headers.collect(),
            looked_at: Cell::new(0),
        })
    }

    /// The three parts of the first line: method, target and HTTP version of a
    /// request; HTTP version, status and reason of an answer.
    #[must_use]
    pub fn first_line(&self) -> [&'b str; 3] {
        self.first
    }

    /// The octets of the head, its empty line included.
    #[must_use]
    pub fn raw(&self) -> &'b [u8] {
        self.raw
    }

    /// The headers in the order they were sent.
    #[must_use]
    pub fn headers(&self) -> &[Header<'b>] {
        &self.headers
    }

    /// All headers of this name, whatever its letter case.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = Header<'b>> + 'h {
        self.headers
            .iter()
            .enumerate()
            .filter(|(_, h)| h.name.eq_ignore_ascii_case(name))
            .map(|(i, h)| {
                self.looked_at.set(self.looked_at.get() | 1 << i);
                *h
            })
    }

    /// The first header of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Header<'b>> {
        self.all(name).next()
    }

    /// Whether there is a header of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The only header of this name; none or several give none.
    pub(crate) fn only(&self, name: &str) -> Option<Header<'b>> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (Some(header), None) => Some(header),
            _ => None,
        }
    }

    /// The header of this name, which may stand at most once.
    pub(crate) fn at_most_one(&self, name: &'static str) -> Result<Option<Header<'b>>, Refusal> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(Refusal::HeaderRepeated { name }),
            (header, None) => Ok(header),
        }
    }

    /// Whether one of the comma lists of this name holds the token, whatever
    /// its letter case (RFC 6455 section 4.2.1).
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        // All lines are looked at, so that all are named.
        self.all(name)
            .map(|h| list(h.value).any(|t| t.eq_ignore_ascii_case(token.as_bytes())))
            .fold(false, |found, here| found | here)
    }

    /// Tells the watcher what each octet is.
    pub(crate) fn name<T: Trace>(&self, spans: &mut SpanWriter<'_, T>, is_request: bool) {
        if !T::WATCHING {
            return;
        }
        let fields = if is_request {
            [Field::Method, Field::Target, Field::HttpVersion]
        } else {
            [Field::HttpVersion, Field::Status, Field::Reason]
        };
        let first = lines(self.raw).first().map_or(0, |l| l.len());
        let mut left = first;
        for (i, (part, field)) in self.first.into_iter().zip(fields).enumerate() {
            if i > 0 && left > 0 {
                spans.octets(1, Field::Space, 0);
                left -= 1;
            }
            spans.octets(
                part.len().min(left),
                field,
                part.parse().unwrap_or_default(),
            );
            left = left.saturating_sub(part.len());
        }
        // A first line with more spaces than parts.
        spans.octets(left, Field::Space, 0);
        spans.octets(2, Field::LineEnd, 0);
        for (i, header) in self.headers.iter().enumerate() {
            let (name, value) = if self.looked_at.get() & 1 << i != 0 {
                (Field::HeaderName, Field::HeaderValue)
            } else {
                (Field::IgnoredName, Field::IgnoredValue)
            };
            let after = header.line.len() - header.name.len();
            let value_at = header
                .line
                .get(header.name.len() + 1..)
                .and_then(|v| v.iter().position(|o| !matches!(o, b' ' | b'\t')))
                .map_or(after, |i| i + 1);
            spans.octets(header.name.len(), name, 0);
            spans.octets(value_at, Field::Separator, 0);
            spans.octets(header.value.len(), value, 0);
            spans.octets(
                after.saturating_sub(value_at + header.value.len()),
                Field::Separator,
                0,
            );
            spans.octets(2, Field::LineEnd, 0);
        }
        spans.octets(2, Field::HeadEnd, 0);
    }
}

/// The lines of a head without their CR LF and without the empty one.
fn lines(raw: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::with_capacity(16);
    let mut rest = raw;
    while let Some(i) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(i + 1);
        rest = after;
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    lines
}

/// The elements of a comma list, without surrounding white space.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|o| *o == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_for_the_end_goes_on_where_it_ended() {
        let mut scan = Scan::default();
        assert_eq!(
            scan.find_end(b"GET / HTTP/1.1\r\nHost: aaaa", 1000),
            Ok(None)
        );
        // Were the octets of before looked at again, this would be an end.
        let other = b"GET / HTTP/1.1\r\nHost: \r\n\r\nb\r\n\r\n";
        assert_eq!(scan.find_end(other, 1000), Ok(Some(other.len())));
    }

    #[test]
    fn a_head_that_is_cut_anywhere_ends_at_the_same_octet() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nmore";
        for cut in 0..head.len() {
            let mut scan = Scan::default();
            let first = scan.find_end(head.get(..cut).unwrap_or_default(), 1000);
            let end = match first {
                Ok(None) => scan.find_end(head, 1000),
                found => found,
            };
            assert_eq!(end, Ok(Some(head.len() - 4)), "cut at {cut}");
        }
    }
}
