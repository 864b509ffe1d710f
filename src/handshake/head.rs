//! The HTTP head: request or status line and headers, up to the empty line.
//!
//! `notes` reads it in one pass. What is not looked up is not looked at again.

use alloc::string::String;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr;

use super::malformed::{why_request, why_response};
use super::name::Name;
use super::notes::{HeaderNotes, Mark, RequestLine, read_response};
use super::octets::is_field_text;
use super::scan::{At, HeadError};
use crate::error::Refusal;
use crate::extension::{Element, elements};
use crate::trace::{Field, SpanWriter, Trace};

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
    /// Reads the header whose line starts at this octet of a head that was
    /// checked; `None` at the empty line.
    fn read(raw: &'b [u8], start: usize) -> Option<Header<'b>> {
        let rest = raw.get(start..)?;
        let (line, _) = rest.split_at_checked(memchr(b'\r', rest)?)?;
        let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
        let mut value = value.strip_prefix(b":")?;
        while let [b' ' | b'\t', after @ ..] = value {
            value = after;
        }
        while let [before @ .., b' ' | b'\t'] = value {
            value = before;
        }
        Some(Header {
            name: core::str::from_utf8(name).ok()?,
            value,
            line,
            start,
        })
    }

    /// The value as text, where it is visible ASCII and spaces.
    #[must_use]
    pub fn text(self) -> Option<&'b str> {
        if is_field_text(self.value) {
            core::str::from_utf8(self.value).ok()
        } else {
            None
        }
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

/// A head that was read. A header that was looked up is named for the observer
/// as one that decided something.
#[derive(Debug)]
pub struct Head<'b> {
    raw: &'b [u8],
    /// The three parts of the first line.
    first: [&'b str; 3],
    notes: HeaderNotes,
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
        let mut head = Head::unread();
        let line = head.note_request(raw, limit, opaque);
        line.and_then(|line| head.take_request(raw, line))
            .ok_or_else(|| why_request(raw, limit, opaque))?;
        Ok(head)
    }

    /// A head that is to be read, where it lies from then on.
    pub(super) fn unread() -> Head<'b> {
        Head::new(&[], [""; 3], HeaderNotes::NONE)
    }

    /// Notes what a request's head in front of these octets holds. `None` where it
    /// does not end, or cannot be read.
    #[inline]
    pub(super) fn note_request(
        &mut self,
        octets: &[u8],
        limit: u16,
        opaque: &[String],
    ) -> Option<RequestLine> {
        self.notes.read_request(octets, limit, opaque)
    }

    /// How long the head is that was noted.
    pub(super) fn noted_length(&self) -> usize {
        self.notes.end
    }

    /// Takes the octets that were noted, which start with this line; `None` where
    /// its target is not UTF-8.
    #[inline]
    pub(super) fn take_request(&mut self, raw: &'b [u8], line: RequestLine) -> Option<()> {
        let RequestLine {
            method,
            target,
            is_http_1_0,
        } = line;
        let (method, after) = raw.split_at_checked(method)?;
        let target = after.get(1..)?.get(..target)?;
        let method = match method {
            b"GET" => "GET",
            other => core::str::from_utf8(other).ok()?,
        };
        let target = match target {
            b"/" => "/",
            other => core::str::from_utf8(other).ok()?,
        };
        let version = if is_http_1_0 { "HTTP/1.0" } else { "HTTP/1.1" };
        self.raw = raw;
        self.first = [method, target, version];
        Some(())
    }

    /// Reads a response's head, whose end was found.
    pub(crate) fn response(raw: &'b [u8]) -> Result<Head<'b>, At<HeadError>> {
        let notes = read_response(raw).ok_or_else(|| why_response(raw))?;
        let end = memchr(b'\r', raw).unwrap_or(raw.len());
        let (line, _) = raw.split_at(end);
        let text = core::str::from_utf8(line).map_err(|_| (HeadError::Malformed, 0..end))?;
        let mut parts = text.splitn(3, ' ');
        let first = [(); 3].map(|()| parts.next().unwrap_or_default());
        Ok(Head::new(raw, first, notes))
    }

    #[inline]
    fn new(raw: &'b [u8], first: [&'b str; 3], notes: HeaderNotes) -> Head<'b> {
        Head {
            raw,
            first,
            notes,
            looked_up: [const { AtomicU64::new(0) }; 2],
        }
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
        if target == "/" {
            return target;
        }
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
    pub fn headers(&self) -> impl Iterator<Item = Header<'b>> + use<'b> {
        let (raw, mut start) = (self.raw, self.notes.start);
        core::iter::from_fn(move || {
            let header = Header::read(raw, start)?;
            start = header.line_at().end + 2;
            Some(header)
        })
    }

    /// All headers of this name, whatever its letter case.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = Header<'b>> + 'h {
        let (noted, walked) = match Name::of(name.as_bytes()) {
            Some(known) if !self.notes.is_repeated(known) => (Some(known), None),
            _ => (None, Some(self.headers().enumerate())),
        };
        let walked = walked
            .into_iter()
            .flatten()
            .filter(|(_, h)| h.name.eq_ignore_ascii_case(name))
            .map(|(i, h)| {
                self.note_look_up(i);
                h
            });
        noted
            .into_iter()
            .filter_map(|known| self.first(known))
            .chain(walked)
    }

    /// The first header of this name.
    #[inline]
    pub(super) fn first(&self, name: Name) -> Option<Header<'b>> {
        self.notes.mark(name).and_then(|mark| self.header_at(mark))
    }

    fn header_at(&self, mark: &Mark) -> Option<Header<'b>> {
        self.note_look_up(usize::from(mark.index));
        Header::read(self.raw, mark.start as usize)
    }

    /// The value of the first header of this name.
    #[inline]
    pub(super) fn value(&self, name: Name) -> Option<&'b [u8]> {
        let mark = self.notes.mark(name)?;
        self.note_look_up(usize::from(mark.index));
        let value = self.raw.get(mark.value as usize..)?;
        value.get(..mark.length as usize)
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
    #[inline]
    pub fn get(&self, name: &str) -> Option<Header<'b>> {
        match Name::of(name.as_bytes()) {
            Some(known) => self.first(known),
            None => self.all(name).next(),
        }
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
    #[inline]
    pub(super) fn at_most_one(&self, name: Name) -> Result<Option<Header<'b>>, At<Refusal>> {
        if self.notes.is_repeated(name) {
            return Err(self.repeated(name));
        }
        Ok(self.first(name))
    }

    /// The keys of hixie-76: all that follows the colon and one space. A real
    /// client sent one that starts with its only space.
    pub(crate) fn numbered_keys(&self) -> [Option<&'b [u8]>; 2] {
        [Name::Key1, Name::Key2].map(|name| {
            let mark = self.notes.mark(name)?;
            self.note_look_up(usize::from(mark.index));
            let start = mark.start as usize + name.text().len() + 1;
            let after = self.raw.get(start..)?;
            let (value, _) = after.split_at_checked(memchr(b'\r', after)?)?;
            Some(value.strip_prefix(b" ").unwrap_or(value))
        })
    }

    /// The value of the header of this name, which may stand at most once.
    #[inline]
    pub(super) fn only_value(&self, name: Name) -> Result<Option<&'b [u8]>, At<Refusal>> {
        if self.notes.is_repeated(name) {
            return Err(self.repeated(name));
        }
        Ok(self.value(name))
    }

    /// Where the value of the first header of this name lies.
    #[cold]
    pub(super) fn value_at(&self, name: Name) -> Range<usize> {
        let header = self.first(name);
        header.map_or_else(|| self.missing_at(), Header::value_at)
    }

    #[cold]
    fn repeated(&self, name: Name) -> At<Refusal> {
        let name = name.text();
        let second = self.all(name).take(2).last();
        let at = second.map_or_else(|| self.missing_at(), Header::line_at);
        (Refusal::HeaderRepeated { name }, at)
    }

    /// Whether one of the comma lists of this name holds the token, whatever
    /// its letter case (RFC 6455 section 4.2.1).
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        // All lines are looked up, so that the observer learns of all.
        self.all(name)
            .map(|header| lists(header.value, token))
            .fold(false, |found, here| found | here)
    }

    /// The same of a known name. It is fastest where the value is the token as it is
    /// written here.
    #[inline(always)]
    pub(super) fn has_known_token(&self, name: Name, token: &str) -> bool {
        if self.notes.is_repeated(name) {
            return self.has_token(name.text(), token);
        }
        self.value(name)
            .is_some_and(|value| value == token.as_bytes() || lists(value, token))
    }

    /// The values of `Sec-WebSocket-Extensions`, line by line.
    pub(super) fn extension_values(&self) -> impl Iterator<Item = &'b [u8]> + '_ {
        self.all(Name::Extensions.text()).map(|header| header.value)
    }

    /// The extensions that can be read there.
    pub(super) fn extensions(&self) -> impl Iterator<Item = Element<'b>> + '_ {
        self.extension_values().flat_map(elements).flatten()
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
        for (i, header) in self.headers().enumerate() {
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

/// Whether a comma list holds this token.
fn lists(value: &[u8], token: &str) -> bool {
    let is = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
    is(value) || list(value).any(is)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::super::notes::MAX_HEADERS;
    use super::super::scan::Scan;
    use super::super::values::ValueOctets;
    use super::*;

    type Read = ([String; 3], Vec<(String, Vec<u8>)>);

    /// The octets with an `x` for each that httparse refuses and a value may hold.
    fn plain(raw: &[u8], opaque: &[String]) -> Vec<u8> {
        let mut plain = Vec::new();
        for (i, line) in raw.split_inclusive(|octet| *octet == b'\n').enumerate() {
            let values = ValueOctets::of(line, opaque);
            plain.extend(line.iter().map(|octet| match octet {
                b'\t' | b'\r' | b'\n' => *octet,
                0..=31 | 127 if i > 0 && values.allow(*octet) => b'x',
                _ => *octet,
            }));
        }
        plain
    }

    /// A request as httparse reads it, with our limits.
    fn request_by_httparse(raw: &[u8], limit: u16, opaque: &[String]) -> Result<Read, HeadError> {
        let lines: Vec<&[u8]> = raw.split(|octet| *octet == b'\n').collect();
        if lines.iter().any(|line| matches!(line, [b' ' | b'\t', ..])) {
            return Err(HeadError::Folded);
        }
        // The first line, the empty one, and what split finds behind that.
        if lines.len() - 3 > usize::from(limit) {
            return Err(HeadError::TooManyHeaders { limit });
        }
        let plain = plain(raw, opaque);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&plain) {
            Ok(httparse::Status::Complete(n)) if n == raw.len() => {}
            Err(httparse::Error::Version) => return Err(HeadError::HttpVersion),
            _ => return Err(HeadError::Malformed),
        }
        let version = ["HTTP/1.0", "HTTP/1.1"][usize::from(request.version.unwrap())];
        let first = [request.method.unwrap(), request.path.unwrap(), version];
        Ok((
            first.map(str::to_owned),
            pairs(&plain, raw, request.headers),
        ))
    }

    fn response_by_httparse(raw: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
        let plain = plain(raw, &[]);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let read = response.parse(&plain).ok()?;
        let end = raw.iter().position(|octet| *octet == b'\r')?;
        core::str::from_utf8(&raw[..end]).ok()?;
        let read = read == httparse::Status::Complete(raw.len());
        read.then(|| pairs(&plain, raw, response.headers))
    }

    /// Names, and values as they were sent.
    fn pairs(plain: &[u8], raw: &[u8], parsed: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
        let pair = |h: &httparse::Header<'_>| {
            let start = h.value.as_ptr() as usize - plain.as_ptr() as usize;
            (
                h.name.to_owned(),
                raw[start..start + h.value.len()].to_vec(),
            )
        };
        parsed.iter().map(pair).collect()
    }

    fn headers_of(head: &Head<'_>) -> Vec<(String, Vec<u8>)> {
        let pair = |h: Header<'_>| (h.name.to_owned(), h.value.to_vec());
        head.headers().map(pair).collect()
    }

    /// What is looked up is what stands among the headers.
    fn hold_look_ups(head: &Head<'_>) {
        for name in [
            "Host",
            "upgrade",
            "Sec-WebSocket-Key1",
            "WEBSOCKET-PROTOCOL",
            "Cookie",
            "sec-websocket-version",
        ] {
            let walked = head.headers().filter(|h| h.name.eq_ignore_ascii_case(name));
            let walked: Vec<_> = walked
                .map(|h| (h.line_at(), h.value_at(), h.value))
                .collect();
            let all = head.all(name).map(|h| (h.line_at(), h.value_at(), h.value));
            assert_eq!(all.collect::<Vec<_>>(), walked);
            let first = head.get(name).map(|h| h.value);
            assert_eq!(first, walked.first().map(|(_, _, value)| *value));
            if let Some(known) = Name::of(name.as_bytes()) {
                assert_eq!(head.value(known), first);
                let second = walked.get(1).map(|(line, ..)| line.clone());
                assert_eq!(head.only_value(known).err().map(|(_, at)| at), second);
                assert_eq!(head.only(name).is_some(), walked.len() == 1);
            }
        }
    }

    const LINES: [&[u8]; 14] = [
        b"Host: h",
        b"Upgrade:websocket",
        b"UPGRADE: \tWebSocket \t",
        b"Connection: keep-alive, Upgrade",
        b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5",
        b"Sec-WebSocket-Key1:  1\x7f\0\x01",
        b"Cookie: a=\xff\x01 b",
        b"X-Opaque: \x02",
        b"WebSocket-Protocol: \xc3\xa9",
        b"Sec-WebSocket-Version: 13",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\t(KHTML)",
        b"A:",
        b"Empty: \t ",
        b"x_1~: :",
    ];

    const OCTETS: &[u8] = b"\r\n\t \0\x01\x7f\x80\xc3\xa9:/?aZ-.12(";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn heads_are_read_as_httparse_reads_them(
            first in prop::sample::select(vec![
                b"GET / HTTP/1.1".as_slice(),
                b"GET /a\xc3\xa9?b=http://h HTTP/1.0",
                b"POST * HTTP/1.1",
                b"HTTP/1.1 101 Switching Protocols",
                b"HTTP/1.0 200",
                b"HTTP/1.1 404 \xc3\xa9",
                b"GET / HTTP/2.0",
            ]),
            lines in prop::collection::vec(prop::sample::select(LINES.as_slice()), 0..7),
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::sample::select(OCTETS), 0..3),
                0..4,
            ),
            behind in any::<bool>(),
        ) {
            let mut octets = [first, b"\r\n", &lines.join(b"\r\n".as_slice())].concat();
            if !lines.is_empty() {
                octets.extend_from_slice(b"\r\n");
            }
            octets.extend_from_slice(b"\r\n");
            for (at, octet, how) in changes {
                let at = at.index(octets.len());
                let with = [octet];
                octets.splice(at..at + usize::from(how != 0), with.into_iter().take(usize::from(how != 2)));
            }
            if behind {
                octets.extend_from_slice(b"\x81\x00 behind: it\r\n\r\n");
            }
            let opaque = ["X-Opaque".to_owned()];
            let end = Scan::default().find_end(&octets, 10_000);
            let mut notes = HeaderNotes::NONE;
            let noted = notes.read_request(&octets, 5, &opaque);
            let Ok(Some(end)) = end else {
                prop_assert!(noted.is_none(), "{:?}", octets.escape_ascii());
                return Ok(());
            };
            let raw = &octets[..end];
            if noted.is_some() {
                prop_assert_eq!(notes.end, end);
            }
            let ours = Head::request(raw, 5, &opaque);
            let ours_read = ours.as_ref().map_err(|(error, _)| *error).map(|head| {
                hold_look_ups(head);
                (head.first_line().map(str::to_owned), headers_of(head))
            });
            let theirs = request_by_httparse(raw, 5, &opaque);
            if let Err(HeadError::Target { .. }) = ours_read {
                // httparse has no error of its own for that.
                let has_none = matches!(theirs, Err(HeadError::Malformed | HeadError::HttpVersion));
                prop_assert!(has_none, "{}: {theirs:?}", raw.escape_ascii());
            } else {
                prop_assert_eq!(ours_read, theirs, "{}", raw.escape_ascii());
            }
            let ours = Head::response(raw).ok().map(|head| headers_of(&head));
            prop_assert_eq!(ours, response_by_httparse(raw), "{}", raw.escape_ascii());
        }
    }
}
