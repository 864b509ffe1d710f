//! Why a head cannot be read, and in which octets the cause lies. The head ends,
//! and each line of it in CR LF.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr;

use super::notes::{MAX_HEADERS, RequestLine};
use super::octets::is_token_octet;
use super::scan::{At, HeadError};
use super::values::ValueOctets;

/// Why the head of a request cannot be read.
#[cold]
pub(super) fn why_request(raw: &[u8], limit: u16, opaque: &[String]) -> At<HeadError> {
    let lines = lines(raw);
    if let Some((at, line)) = lines.iter().find(|(_, line)| is_folded(line)) {
        return (HeadError::Folded, *at..at + line.len());
    }
    let most = usize::from(limit).min(MAX_HEADERS);
    if let Some((at, line)) = lines.get(most + 1) {
        let error = HeadError::TooManyHeaders { limit };
        return (error, *at..at + line.len());
    }
    let first: &[u8] = lines.first().map_or(&[], |(_, line)| line);
    if let Some(bad) = bad_in_target(first) {
        return bad;
    }
    if has_other_version(raw) {
        return (HeadError::HttpVersion, 0..first.len());
    }
    (HeadError::Malformed, find_malformed(&lines, true, opaque))
}

/// The octet that a target may not hold, where the line is right otherwise. A
/// space among them makes no other version of HTTP.
fn bad_in_target(line: &[u8]) -> Option<At<HeadError>> {
    let rest = line
        .strip_suffix(b" HTTP/1.1")
        .or_else(|| line.strip_suffix(b" HTTP/1.0"))?;
    let method = rest
        .iter()
        .take_while(|octet| is_token_octet(**octet))
        .count();
    let target = rest.get(method..)?.strip_prefix(b" ")?;
    let bad = target.iter().position(|o| !matches!(o, 0x21..=0x7e))?;
    let octet = *target.get(bad)?;
    let at = method + 1 + bad;
    (method > 0).then_some((HeadError::Target { octet }, at..at + 1))
}

/// Why the head of a response cannot be read.
#[cold]
pub(super) fn why_response(raw: &[u8]) -> At<HeadError> {
    let at = find_malformed(&lines(raw), false, &[]);
    (HeadError::Malformed, at)
}

/// Whether method and target are well formed, and something other than HTTP/1.1
/// or 1.0 follows.
fn has_other_version(raw: &[u8]) -> bool {
    let Some((line, rest)) = RequestLine::read(raw) else {
        return false;
    };
    let target = raw
        .get(line.method + 1..)
        .and_then(|r| r.get(..line.target));
    target.is_some_and(|target| core::str::from_utf8(target).is_ok())
        && !rest.starts_with(b"HTTP/1.0")
        && !rest.starts_with(b"HTTP/1.1")
}

/// The lines of a head without their CR LF and without the empty one, each with
/// where it starts.
fn lines(raw: &[u8]) -> Vec<(usize, &[u8])> {
    let mut lines = Vec::new();
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

/// The line of a head that cannot be read, or the octet in it where that can be
/// told.
fn find_malformed(lines: &[(usize, &[u8])], is_request: bool, opaque: &[String]) -> Range<usize> {
    let Some(((_, first), headers)) = lines.split_first() else {
        return 0..0;
    };
    for (at, line) in headers {
        let name = line
            .iter()
            .take_while(|octet| is_token_octet(**octet))
            .count();
        if name == 0 || line.get(name) != Some(&b':') {
            let end = line.len().min(name + 1);
            return at + name.min(end)..at + end;
        }
        let values = ValueOctets::of(line, opaque);
        // Names hold none of the octets that values may not hold.
        if let Some(i) = line.iter().position(|octet| !values.allow(*octet)) {
            return at + i..at + i + 1;
        }
    }
    let bad = |octet: &u8| !matches!(octet, 0x20..=0x7e);
    match first.iter().position(bad) {
        Some(i) if is_request => i..i + 1,
        _ => 0..first.len(),
    }
}
