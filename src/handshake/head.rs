//! The HTTP head: request or status line and headers, up to the empty line.
//!
//! httparse checks it; this file finds its end in linear time, refuses what
//! httparse lets pass, and keeps where everything lies.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr;

use crate::error::{Refusal, Violation};
use crate::trace::{Field, SpanWriter, Trace};

/// No head has more headers than this, whatever the limit says.
pub(crate) const MAX_HEADERS: usize = 128;

/// What is wrong with a head, of a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    TooLong { limit: u32 },
    TooManyHeaders { limit: u16 },
    BareLf,
    Folded,
    HttpVersion,
    Target { octet: u8 },
    Malformed,
}

impl HeadError {
    /// As a server says it to a client.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            HeadError::TooLong { limit } => Refusal::HeadTooLong { limit },
            HeadError::TooManyHeaders { limit } => Refusal::TooManyHeaders { limit },
            HeadError::BareLf => Refusal::BareLf,
            HeadError::Folded => Refusal::HeadFolded,
            HeadError::HttpVersion => Refusal::HttpVersion,
            HeadError::Target { octet } => Refusal::TargetInvalid { octet: Some(octet) },
            HeadError::Malformed => Refusal::HeadMalformed,
        }
    }

    /// As a client says it of a server.
    pub(crate) fn violation(self) -> Violation {
        match self {
            HeadError::TooLong { .. } => Violation::ResponseTooLong,
            _ => Violation::ResponseMalformed,
        }
    }
}

/// An error, and its octets from the start of the head.
type At<E> = (E, Range<usize>);

/// How far the search for the end of a head has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
    line: usize,
}

impl Scan {
    /// Looks for the empty line, from where the last look ended: a head that
    /// arrives octet by octet costs linear time. Gives the length of the head.
    pub(crate) fn find_end(
        &mut self,
        octets: &[u8],
        limit: u32,
    ) -> Result<Option<usize>, At<HeadError>> {
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        let too_long = || (HeadError::TooLong { limit }, max..max.saturating_add(1));
        loop {
            let unseen = octets.get(self.seen..).unwrap_or_default();
            let Some(i) = memchr(b'\n', unseen) else {
                self.seen = octets.len();
                return if octets.len() > max {
                    Err(too_long())
                } else {
                    Ok(None)
                };
            };
            let end = self.seen + i + 1;
            if end > max {
                return Err(too_long());
            }
            let line = octets.get(self.line..end).unwrap_or_default();
            match line {
                [b'\r', b'\n'] if self.line == 0 => return Err((HeadError::Malformed, 0..end)),
                [b'\r', b'\n'] => return Ok(Some(end)),
                // RFC 9112 section 2.2 leaves a bare LF to choice; some hops
                // read it as the end of a line and some do not, so refuse.
                [.., b'\r', b'\n'] => {}
                _ => return Err((HeadError::BareLf, end - 1..end)),
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
    /// Where the line starts in the head.
    start: usize,
}

impl<'b> Header<'b> {
    /// The value as text, where it is visible ASCII and spaces.
    #[must_use]
    pub fn text(self) -> Option<&'b str> {
        if is_field_text(self.value) {
            core::str::from_utf8(self.value).ok()
        } else {
            None
        }
    }

    /// All that follows the colon and one space. The keys of hixie-76 are
    /// taken so: a real client sent one that starts with its only space.
    pub(crate) fn raw_value(self) -> &'b [u8] {
        let (_, after) = self.line.split_at(self.name.len() + 1);
        after.strip_prefix(b" ").unwrap_or(after)
    }

    /// Where the line lies in the head, without its CR LF.
    pub(crate) fn line_at(self) -> Range<usize> {
        self.start..self.start + self.line.len()
    }

    /// Where the value lies in the head; where it is empty, the whole line.
    pub(crate) fn value_at(self) -> Range<usize> {
        if self.value.is_empty() {
            return self.line_at();
        }
        let start = self.start + self.name.len() + self.separator();
        start..start + self.value.len()
    }

    /// How many octets stand between name and value.
    fn separator(self) -> usize {
        let (_, after) = self.line.split_at(self.name.len());
        let is_space = |octet: &u8| matches!(octet, b' ' | b'\t');
        let value = after.iter().skip(1).position(|octet| !is_space(octet));
        value.map_or(after.len(), |i| i + 1)
    }
}

/// Whether these octets may stand in a header that we write: visible ASCII and
/// spaces.
pub(crate) fn is_field_text(octets: &[u8]) -> bool {
    octets.iter().all(|o| matches!(o, 0x20..=0x7e))
}

/// A head that was read. A header that was looked up is named for the observer
/// as one that decided something.
#[derive(Debug)]
pub struct Head<'b> {
    raw: &'b [u8],
    /// The three parts of the first line.
    first: [&'b str; 3],
    headers: Vec<Header<'b>>,
    /// A bit for each header that was looked up; atomic, so that a head can be
    /// shared between threads.
    looked_up: [AtomicU64; 2],
}

impl<'b> Head<'b> {
    /// Reads a request's head, whose end was found. Values of the headers named
    /// `opaque` may hold any octet but CR, LF and NUL.
    pub(crate) fn request(
        raw: &'b [u8],
        limit: u16,
        opaque: &[String],
    ) -> Result<Head<'b>, At<HeadError>> {
        let lines = lines(raw);
        if let Some((at, line)) = lines.iter().find(|(_, line)| is_folded(line)) {
            return Err((HeadError::Folded, *at..at + line.len()));
        }
        let most = usize::from(limit).min(MAX_HEADERS);
        if let Some((at, line)) = lines.get(most + 1) {
            let error = HeadError::TooManyHeaders { limit };
            return Err((error, *at..at + line.len()));
        }
        let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut parsed);
        let first: &[u8] = lines.first().map_or(&[], |(_, line)| line);
        let first_line = first.len();
        match request.parse(raw) {
            Ok(httparse::Status::Complete(n)) if n == raw.len() => {}
            Err(httparse::Error::Version) => {
                let version = (HeadError::HttpVersion, 0..first_line);
                return Err(bad_in_target(first).unwrap_or(version));
            }
            Err(httparse::Error::HeaderValue) => {
                let plain = Head::with_plain_values(raw, &lines, opaque);
                let head =
                    plain.and_then(|plain| Head::request(&plain, limit, opaque).ok()?.over(raw));
                let malformed = || find_malformed(&lines, true, opaque);
                return head.ok_or_else(|| (HeadError::Malformed, malformed()));
            }
            _ => {
                let malformed = || (HeadError::Malformed, find_malformed(&lines, true, opaque));
                return Err(bad_in_target(first).unwrap_or_else(malformed));
            }
        }
        let malformed = || (HeadError::Malformed, 0..first_line);
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(malformed());
        };
        let version = if request.version == Some(1) {
            "HTTP/1.1"
        } else {
            "HTTP/1.0"
        };
        Head::new(raw, [method, target, version], request.headers, &lines).ok_or_else(malformed)
    }

    /// The octets of a head that `httparse` refuses for an octet in a value that
    /// may hold it, with another octet in its place. hixie-76 reads the digits and
    /// spaces of its keys and ignores all other octets, and Java clients send DEL;
    /// values that are only carried are opaque (RFC 9110 section 5.5).
    #[cold]
    fn with_plain_values(
        raw: &[u8],
        lines: &[(usize, &[u8])],
        opaque: &[String],
    ) -> Option<Vec<u8>> {
        let mut plain = raw.to_vec();
        let mut changed = false;
        for (start, line) in lines.iter().skip(1) {
            let values = ValueOctets::of(line, opaque);
            for octet in plain.get_mut(*start..start + line.len())? {
                if is_forbidden_in_value(octet) && values.allow(*octet) {
                    *octet = b'x';
                    changed = true;
                }
            }
        }
        // Where nothing was changed, something else is at fault.
        changed.then_some(plain)
    }

    /// The same head over octets that differ in values only.
    fn over<'r>(&self, raw: &'r [u8]) -> Option<Head<'r>> {
        let text = |at: Range<usize>| core::str::from_utf8(raw.get(at)?).ok();
        let headers = self.headers.iter().map(|header| {
            Some(Header {
                name: text(header.start..header.start + header.name.len())?,
                value: raw
                    .get(header.value_at().start..)?
                    .get(..header.value.len())?,
                line: raw.get(header.line_at())?,
                start: header.start,
            })
        });
        Some(Head {
            raw,
            first: [
                text(self.first_line_at(0))?,
                text(self.first_line_at(1))?,
                text(self.first_line_at(2))?,
            ],
            headers: headers.collect::<Option<_>>()?,
            looked_up: [const { AtomicU64::new(0) }; 2],
        })
    }

    /// Reads a response's head, whose end was found.
    pub(crate) fn response(raw: &'b [u8]) -> Result<Head<'b>, At<HeadError>> {
        let lines = lines(raw);
        let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut parsed);
        match response.parse(raw) {
            Ok(httparse::Status::Complete(n)) if n == raw.len() => {}
            Err(httparse::Error::HeaderValue) => {
                let plain = Head::with_plain_values(raw, &lines, &[]);
                let head = plain.and_then(|plain| Head::response(&plain).ok()?.over(raw));
                let malformed = || find_malformed(&lines, false, &[]);
                return head.ok_or_else(|| (HeadError::Malformed, malformed()));
            }
            _ => {
                let at = find_malformed(&lines, false, &[]);
                return Err((HeadError::Malformed, at));
            }
        }
        // httparse drops a reason that is not ASCII and gives the code as a
        // number: take both from the line itself.
        let line: &'b [u8] = lines.first().map_or(&[], |(_, line)| line);
        let malformed = || (HeadError::Malformed, 0..line.len());
        let text = core::str::from_utf8(line).map_err(|_| malformed())?;
        let mut parts = text.splitn(3, ' ');
        let first = [(); 3].map(|()| parts.next().unwrap_or_default());
        Head::new(raw, first, response.headers, &lines).ok_or_else(malformed)
    }

    fn new(
        raw: &'b [u8],
        first: [&'b str; 3],
        parsed: &[httparse::Header<'b>],
        lines: &[(usize, &'b [u8])],
    ) -> Option<Head<'b>> {
        // Nothing is folded, so line and header go together.
        let header_lines = lines.get(1..)?;
        if header_lines.len() != parsed.len() {
            return None;
        }
        let headers = parsed
            .iter()
            .zip(header_lines)
            .map(|(h, (start, line))| Header {
                name: h.name,
                value: h.value,
                line,
                start: *start,
            });
        Some(Head {
            raw,
            first,
            headers: headers.collect(),
            looked_up: [const { AtomicU64::new(0) }; 2],
        })
    }

    /// The three parts of the first line: method, target and HTTP version of a
    /// request; HTTP version, status and reason of a response.
    #[must_use]
    pub fn first_line(&self) -> [&'b str; 3] {
        self.first
    }

    /// The path of a request's target, without query and authority.
    #[must_use]
    pub fn path(&self) -> &'b str {
        let [_, target, _] = self.first;
        // A query may hold a URL of its own, and so may a path.
        let query = memchr(b'?', target.as_bytes()).unwrap_or(target.len());
        let (before, _) = target.split_at(query);
        if before.starts_with('/') {
            return before;
        }
        match before.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |i| rest.split_at(i).1),
            None => before,
        }
    }

    /// The authority of an absolute target; a path has none.
    pub(super) fn target_authority(&self) -> Option<&'b str> {
        let [_, target, _] = self.first;
        if target.starts_with('/') {
            return None;
        }
        let (_, rest) = target.split_once("://")?;
        rest.split(['/', '?', '#']).next()
    }

    /// Where this part of the first line lies in the head.
    pub(crate) fn first_line_at(&self, part: usize) -> Range<usize> {
        let before = self.first.iter().take(part);
        let start = before.map(|text| text.len() + 1).sum();
        start..start + self.first.get(part).map_or(0, |text| text.len())
    }

    /// Where a header is missing: at the empty line.
    pub(crate) fn missing_at(&self) -> Range<usize> {
        let end = self.raw.len().saturating_sub(2);
        end..end
    }

    /// The octets of the head, its empty line included.
    #[must_use]
    pub fn raw(&self) -> &'b [u8] {
        self.raw
    }

    /// The headers in the order in which they were sent.
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
                self.note_look_up(i);
                *h
            })
    }

    /// Notes that the header of this index was looked up.
    fn note_look_up(&self, index: usize) {
        if let Some(bits) = self.looked_up.get(index / 64) {
            // Not one read-modify-write: only the observer reads it, later.
            bits.store(
                bits.load(Ordering::Relaxed) | 1 << (index % 64),
                Ordering::Relaxed,
            );
        }
    }

    fn was_looked_up(&self, index: usize) -> bool {
        let bits = self.looked_up.get(index / 64);
        bits.is_some_and(|bits| bits.load(Ordering::Relaxed) & 1 << (index % 64) != 0)
    }

    /// Looks up all headers of this name for the observer: they decide, if the
    /// caller looks at them later.
    pub(crate) fn look_up(&self, name: &str) {
        self.all(name).for_each(drop);
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

    /// The header of this name, which may stand at most once. An error lies in
    /// the second one.
    pub(crate) fn at_most_one(
        &self,
        name: &'static str,
    ) -> Result<Option<Header<'b>>, At<Refusal>> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (_, Some(second)) => Err((Refusal::HeaderRepeated { name }, second.line_at())),
            (header, None) => Ok(header),
        }
    }

    /// Whether one of the comma lists of this name holds the token, whatever
    /// its letter case (RFC 6455 section 4.2.1).
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        // All lines are looked up, so that the observer learns of all.
        self.all(name)
            .map(|h| list(h.value).any(|t| t.eq_ignore_ascii_case(token.as_bytes())))
            .fold(false, |found, here| found | here)
    }

    /// Tells the observer what each octet is.
    pub(crate) fn name<T: Trace>(&self, spans: &mut SpanWriter<'_, T>, is_request: bool) {
        if !T::WATCHING {
            return;
        }
        let fields = if is_request {
            [Field::Method, Field::Target, Field::HttpVersion]
        } else {
            [Field::HttpVersion, Field::Status, Field::Reason]
        };
        let first = memchr(b'\r', self.raw).unwrap_or(self.raw.len());
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
            let (name, value) = if self.was_looked_up(i) {
                (Field::HeaderName, Field::HeaderValue)
            } else {
                (Field::IgnoredName, Field::IgnoredValue)
            };
            let separator = header.separator();
            let value_end = header.name.len() + separator + header.value.len();
            spans.octets(header.name.len(), name, 0);
            spans.octets(separator, Field::Separator, 0);
            spans.octets(header.value.len(), value, 0);
            let after = header.line.len().saturating_sub(value_end);
            spans.octets(after, Field::Separator, 0);
            spans.octets(2, Field::LineEnd, 0);
        }
        spans.octets(2, Field::HeadEnd, 0);
    }
}

/// The lines of a head without their CR LF and without the empty one, each with
/// where it starts.
fn lines(raw: &[u8]) -> Vec<(usize, &[u8])> {
    let mut lines = Vec::with_capacity(16);
    let (mut start, mut rest) = (0, raw);
    while let Some(i) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(i + 1);
        rest = after;
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        lines.push((start, line));
        start += i + 1;
    }
    lines
}

/// Whether a line continues the one before (RFC 9112 section 5.2).
fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// The octet for which `httparse` refuses a target: it takes one with a space for
/// a wrong version, and wants UTF-8 of the others. `None` where the line is wrong
/// in another way.
#[cold]
fn bad_in_target(line: &[u8]) -> Option<At<HeadError>> {
    let rest = line
        .strip_suffix(b" HTTP/1.1")
        .or_else(|| line.strip_suffix(b" HTTP/1.0"))?;
    let method = rest
        .iter()
        .take_while(|octet| is_token_octet(octet))
        .count();
    let target = rest.get(method..)?.strip_prefix(b" ")?;
    let bad = target.iter().position(|o| !matches!(o, 0x21..=0x7e))?;
    let octet = *target.get(bad)?;
    let at = method + 1 + bad;
    (method > 0).then_some((HeadError::Target { octet }, at..at + 1))
}

/// The line of a head that cannot be read, or the octet in it where that can be
/// told.
#[cold]
fn find_malformed(lines: &[(usize, &[u8])], is_request: bool, opaque: &[String]) -> Range<usize> {
    let Some(((_, first), headers)) = lines.split_first() else {
        return 0..0;
    };
    for (at, line) in headers {
        let name = line
            .iter()
            .take_while(|octet| is_token_octet(octet))
            .count();
        if name == 0 || line.get(name) != Some(&b':') {
            let end = line.len().min(name + 1);
            return at + name.min(end)..at + end;
        }
        let values = ValueOctets::of(line, opaque);
        let is_bad = |octet: &u8| is_forbidden_in_value(octet) && !values.allow(*octet);
        if let Some(i) = line.iter().position(is_bad) {
            return at + i..at + i + 1;
        }
    }
    let bad = |octet: &u8| !matches!(octet, 0x20..=0x7e);
    match first.iter().position(bad) {
        Some(i) if is_request => i..i + 1,
        _ => 0..first.len(),
    }
}

/// The octets that the value of a header may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueOctets {
    /// Text: the value is read here.
    Text,
    /// Any but CR, LF and NUL: the value is only carried.
    Opaque,
    /// Any but CR and LF: a key of hixie-76.
    Any,
}

impl ValueOctets {
    /// By the name of the header in this line.
    fn of(line: &[u8], opaque: &[String]) -> ValueOctets {
        /// Headers that are passed on or kept, and never read.
        const CARRIED: [&str; 6] = [
            "Cookie",
            "Authorization",
            "User-Agent",
            "Set-Cookie",
            "WWW-Authenticate",
            "Retry-After",
        ];
        let end = memchr(b':', line).unwrap_or(line.len());
        let (name, _) = line.split_at(end);
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("Sec-WebSocket-Key1") || is("Sec-WebSocket-Key2") {
            ValueOctets::Any
        } else if CARRIED.into_iter().any(is) || opaque.iter().any(|other| is(other)) {
            ValueOctets::Opaque
        } else {
            ValueOctets::Text
        }
    }

    fn allow(self, octet: u8) -> bool {
        match self {
            ValueOctets::Text => false,
            ValueOctets::Opaque => !matches!(octet, b'\r' | b'\n' | 0),
            ValueOctets::Any => !matches!(octet, b'\r' | b'\n'),
        }
    }
}

/// Whether no value of a header may hold this octet (RFC 9110 section 5.5).
fn is_forbidden_in_value(octet: &u8) -> bool {
    matches!(octet, 0..=8 | 10..=31 | 127)
}

/// Whether a header's name may hold this octet (RFC 9110 section 5.6.2).
pub(crate) fn is_token_octet(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet)
}

/// The line of a head in which this octet lies, and which octet of the line it
/// is; both count from 1.
pub(super) fn line_and_octet(raw: &[u8], at: usize) -> (usize, usize) {
    let (before, _) = raw.split_at(at.min(raw.len()));
    let line = before.iter().filter(|octet| **octet == b'\n').count();
    let start = before.iter().rposition(|octet| *octet == b'\n');
    (line + 1, before.len() - start.map_or(0, |i| i + 1) + 1)
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
        // A second look at the octets from before would find an end here.
        let other = b"GET / HTTP/1.1\r\nHost: \r\n\r\nb\r\n\r\n";
        assert_eq!(scan.find_end(other, 1000), Ok(Some(other.len())));
    }

    #[test]
    fn a_head_that_is_cut_anywhere_ends_at_the_same_octet() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nmore";
        for cut in 0..head.len() {
            let mut scan = Scan::default();
            let (start, _) = head.split_at(cut);
            let first = scan.find_end(start, 1000);
            let end = match first {
                Ok(None) => scan.find_end(head, 1000),
                found => found,
            };
            assert_eq!(end, Ok(Some(head.len() - 4)), "cut at {cut}");
        }
    }
}
