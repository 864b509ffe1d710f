//! The parser of heads: one pass over the octets, which checks them all and
//! notes where everything lies that a server looks up.

use alloc::string::String;

use super::name::Name;
use super::octets::{find_colon, is_token, run};
use super::values::ValueOctets;

/// No head has more headers than this, whatever the limit says.
pub(super) const MAX_HEADERS: usize = 128;

/// Where the first header of a known name lies in a head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Where the line starts; 0 where there is no such header.
    pub(super) start: u32,
    /// Where the value starts, without white space.
    pub(super) value: u32,
    pub(super) length: u32,
    /// Which header of the head it is, from 0.
    pub(super) index: u8,
}

/// Where the headers of a head lie.
#[derive(Debug)]
pub(super) struct HeaderNotes {
    /// How long the head is, its empty line included.
    pub(super) end: usize,
    /// Where the first header starts.
    pub(super) start: usize,
    marks: [Mark; Name::COUNT],
    /// A bit for each known name that stands more than once.
    repeated: u16,
}

impl HeaderNotes {
    /// Reads the headers that start at this octet, at most `most` of them. `None`
    /// where the head does not end, or cannot be read.
    #[inline(always)] // so that it is written once, to where it is wanted
    fn read(octets: &[u8], start: usize, most: usize, opaque: &[String]) -> Option<HeaderNotes> {
        let mut notes = HeaderNotes {
            end: 0,
            start,
            marks: [Mark::default(); Name::COUNT],
            repeated: 0,
        };
        // Then all places are numbers of 32 bits.
        u32::try_from(octets.len()).ok()?;
        let mut rest = octets.get(start..)?;
        let mut index = 0;
        loop {
            if let [b'\r', b'\n', after @ ..] = rest {
                notes.end = octets.len() - after.len();
                return Some(notes);
            }
            if index == most {
                return None;
            }
            let line = Line::read(rest, opaque)?;
            let (name, _) = rest.split_at(line.name);
            match Name::of(name) {
                Some(name) => notes.note(name, index, octets.len() - rest.len(), &line),
                None if is_token(name) => {}
                None => return None,
            }
            rest = rest.get(line.length + 2..)?;
            index += 1;
        }
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // see `read`, and MAX_HEADERS
    fn note(&mut self, name: Name, index: usize, start: usize, line: &Line) {
        let Some(mark) = self.marks.get_mut(name as usize) else {
            unreachable!("each name has its mark");
        };
        if mark.start > 0 {
            self.repeated |= 1 << name as u16;
            return;
        }
        *mark = Mark {
            start: start as u32,
            value: (start + line.value) as u32,
            length: line.value_length as u32,
            index: index as u8,
        };
    }

    /// The first header of this name.
    #[inline]
    pub(super) fn mark(&self, name: Name) -> Option<&Mark> {
        self.marks.get(name as usize).filter(|mark| mark.start > 0)
    }

    /// Whether there is more than one header of this name.
    #[inline]
    pub(super) fn is_repeated(&self, name: Name) -> bool {
        self.repeated & 1 << name as u16 != 0
    }
}

/// The line of one header; all is counted from its start.
struct Line {
    name: usize,
    value: usize,
    value_length: usize,
    /// Without the CR LF.
    length: usize,
}

impl Line {
    /// Reads the line in front of these octets. The name is not checked.
    #[inline(always)]
    fn read(octets: &[u8], opaque: &[String]) -> Option<Line> {
        let name = find_colon(octets)?;
        let mut rest = octets.get(name + 1..)?;
        // Nearly all have one space here.
        if let [b' ', after @ ..] = rest {
            rest = after;
        }
        if rest.first().is_some_and(|octet| *octet <= b' ') {
            while let [b' ' | b'\t', after @ ..] = rest {
                rest = after;
            }
        }
        let value = octets.len() - rest.len();
        let mut values = None;
        loop {
            rest = rest.get(run::<b' '>(rest)..)?;
            match rest {
                [b'\r', b'\n', ..] => break,
                [b'\t', after @ ..] => rest = after,
                // An octet that few values may hold.
                [octet, after @ ..] => {
                    let values = values.get_or_insert_with(|| ValueOctets::of(octets, opaque));
                    if !values.allow(*octet) {
                        return None;
                    }
                    rest = after;
                }
                [] => return None,
            }
        }
        let length = octets.len() - rest.len();
        let mut text = octets.get(value..length)?;
        if text.last().is_some_and(|octet| *octet <= b' ') {
            while let [before @ .., b' ' | b'\t'] = text {
                text = before;
            }
        }
        Some(Line {
            name,
            value,
            value_length: text.len(),
            length,
        })
    }
}

/// Where everything lies in the head of a request.
#[derive(Debug)]
pub(super) struct RequestNotes {
    pub(super) line: RequestLine,
    pub(super) headers: HeaderNotes,
}

impl RequestNotes {
    /// Reads the head in front of these octets. `None` where it does not end, or
    /// cannot be read.
    pub(super) fn read(octets: &[u8], limit: u16, opaque: &[String]) -> Option<RequestNotes> {
        let most = usize::from(limit).min(MAX_HEADERS);
        let (line, rest) = RequestLine::read(octets)?;
        let minor = match rest {
            [
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                b'1',
                b'.',
                minor,
                b'\r',
                b'\n',
                ..,
            ] => *minor,
            _ => return None,
        };
        if !matches!(minor, b'0' | b'1') {
            return None;
        }
        let start = octets.len() - rest.len() + 10;
        Some(RequestNotes {
            line: RequestLine {
                is_http_1_0: minor == b'0',
                ..line
            },
            headers: HeaderNotes::read(octets, start, most, opaque)?,
        })
    }
}

/// How long the parts of a request line are.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    pub(super) method: usize,
    pub(super) target: usize,
    pub(super) is_http_1_0: bool,
}

impl RequestLine {
    /// Reads method and target, each with one space behind it. Gives what follows.
    #[inline]
    pub(super) fn read(octets: &[u8]) -> Option<(RequestLine, &[u8])> {
        let (method, after) = match octets {
            [b'G', b'E', b'T', b' ', after @ ..] => (3, after),
            _ => {
                let space = octets.iter().position(|octet| *octet == b' ')?;
                let (method, after) = octets.split_at(space);
                if !is_token(method) {
                    return None;
                }
                (space, after.get(1..)?)
            }
        };
        let target = run::<b'!'>(after);
        let rest = after.get(target..)?.strip_prefix(b" ")?;
        let line = RequestLine {
            method,
            target,
            is_http_1_0: false,
        };
        (target > 0).then_some((line, rest))
    }
}

/// Where the headers lie in the head of a response.
pub(super) fn read_response(octets: &[u8]) -> Option<HeaderNotes> {
    let rest = octets.strip_prefix(b"HTTP/1.")?;
    let rest = match rest {
        [b'0' | b'1', b' ', a, b, c, rest @ ..]
            if [a, b, c].into_iter().all(u8::is_ascii_digit) =>
        {
            rest
        }
        _ => return None,
    };
    let reason = match rest {
        [b' ', reason @ ..] => reason,
        _ => rest,
    };
    if reason.len() == rest.len() && !rest.starts_with(b"\r\n") {
        return None;
    }
    let ends = |octet: &u8| !matches!(octet, b'\t' | b' '..=b'~' | 0x80..);
    let length = reason.iter().position(ends)?;
    let after = reason.get(length..)?.strip_prefix(b"\r\n")?;
    HeaderNotes::read(octets, octets.len() - after.len(), MAX_HEADERS, &[])
}
