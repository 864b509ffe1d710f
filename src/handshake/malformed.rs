//! Why a head cannot be read, and in which octets the cause lies. Where the whole
//! head is judged, each line of it ends in CR LF.

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

/// Why octets cannot become a request, where that shows before their head has
/// ended; `None` where they may, or where the whole head tells it better. The head
/// may be cut anywhere; the first `seen` octets were looked at already, and no line
/// ends in them.
///
/// Clients of other protocols send a line of their own, or octets that no text
/// has, and wait for an answer: their head would never end.
#[cold]
pub(super) fn why_no_request(octets: &[u8], seen: usize) -> Option<At<HeadError>> {
    let end = memchr(b'\n', octets.get(seen..)?).map(|i| seen + i + 1);
    let line = octets.get(..end.unwrap_or(octets.len()))?;
    // A CR is the start of a line's end, unless another octet follows.
    let text = match end {
        Some(_) => line.strip_suffix(b"\n")?,
        None => line,
    };
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let method = memchr(b' ', text).map_or(text, |space| text.split_at(space).0);
    let unseen = seen.saturating_sub(1);
    if let Some(i) = method.iter().skip(unseen).position(is_no_text) {
        let at = unseen + i;
        return Some((HeadError::Malformed, at..at + 1));
    }
    let is_request_line = RequestLine::read(line).is_some() || bad_in_target(text).is_some();
    if !line.ends_with(b"\r\n") || is_request_line {
        return None;
    }
    Some((HeadError::Malformed, in_first_line(text)))
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
    if is_request {
        in_first_line(first)
    } else {
        0..first.len()
    }
}

/// The octet in the first line of a request that no text has, or all of the line.
fn in_first_line(line: &[u8]) -> Range<usize> {
    match line.iter().position(is_no_text) {
        Some(i) => i..i + 1,
        None => 0..line.len(),
    }
}

fn is_no_text(octet: &u8) -> bool {
    !matches!(octet, 0x20..=0x7e)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_become_a_request_shows_at_the_same_octet_in_any_portions() {
        for (octets, refused_at) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Some((21, 0..19))),
            (b"EHLO mail.example\r\n", Some((19, 0..17))),
            (b"HTTP/1.1 200 OK\r\n", Some((17, 0..15))),
            (b"GET /\r\n", Some((7, 0..5))),
            (b"a  b HTTP/1.1\r\n", None),
            (b"AMQP\0\0\x09\x01", Some((5, 4..5))),
            (b"AM\rQP", Some((4, 2..3))),
            (b"AM\r\rQ", Some((4, 2..3))),
            (b"GET\xff / HTTP/1.1\r\n", Some((4, 3..4))),
            // These are judged when the head is whole.
            (b"GET /\xff HTTP/1.1\r\n", None),
            (b"GET / a HTTP/1.1\r\n", None),
            (b"GET / HTTP/2.0\r\n", None),
            (b"GET / HTTP/1.1\r\n", None),
            (b"HELLO\n", None),
            (b"GET", None),
        ] {
            let (mut found, mut seen) = (None, 0);
            for n in 1..=octets.len() {
                if found.is_none() {
                    found = why_no_request(&octets[..n], seen).map(|why| (n, why));
                }
                seen = n;
            }
            let expected = refused_at.map(|(n, at)| (n, (HeadError::Malformed, at)));
            assert_eq!(found, expected, "{}", octets.escape_ascii());
            let at_once = why_no_request(octets, 0);
            assert_eq!(
                at_once,
                expected.map(|(_, why)| why),
                "{}",
                octets.escape_ascii()
            );
        }
    }
}
