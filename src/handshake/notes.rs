//! The parser of heads: one pass over the octets, which checks them all and
//! notes where everything lies that a server looks up.

use alloc::string::String;

use super::name::Name;
use super::octets::{find_colon, is_token, letters, run};
use super::values::ValueOctets;

/// No head has more headers than this, whatever the limit says.
pub(super) const MAX_HEADERS: usize = 128;

/// Where the first header of a known name lies in a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Where the line starts; 0 where there is no such header.
    pub(super) start: u32,
    /// Where the value starts, without white space.
    pub(super) value: u32,
    pub(super) length: u32,
    /// Which header of the head it is, from 0.
    pub(super) index: u8,
}

impl Mark {
    const NONE: Mark = Mark {
        start: 0,
        value: 0,
        length: 0,
        index: 0,
    };
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
    /// Of no head yet.
    pub(super) const NONE: HeaderNotes = HeaderNotes {
        end: 0,
        start: 0,
        marks: [Mark::NONE; Name::COUNT],
        repeated: 0,
    };

    /// Reads the headers that start at this octet, at most `most` of them, where
    /// nothing was noted before. `None` where the head does not end, or cannot be
    /// read.
    #[inline(always)] // so that there is one loop for each kind of head
    fn read(&mut self, octets: &[u8], start: usize, most: usize, opaque: &[String]) -> Option<()> {
        self.start = start;
        // Then all places are numbers of 32 bits.
        u32::try_from(octets.len()).ok()?;
        let mut rest = octets.get(start..)?;
        let mut index = 0;
        loop {
            if let [b'\r', b'\n', after @ ..] = rest {
                self.end = octets.len() - after.len();
                return Some(());
            }
            if index == most {
                return None;
            }
            let start = octets.len() - rest.len();
            rest = match Line::read_usual(rest) {
                Some(line) => {
                    let (name, _) = rest.split_at(line.name);
                    if let Some(name) = Name::of(name) {
                        self.note(name, index, start, &line);
                    }
                    rest.get(line.length + 2..)?
                }
                None => self.read_unusual(rest, (start, index), opaque)?,
            };
            index += 1;
        }
    }

    /// Reads an unusual line, which starts there and has this index. Gives what
    /// follows.
    #[cold]
    #[inline(never)]
    fn read_unusual<'o>(
        &mut self,
        octets: &'o [u8],
        (start, index): (usize, usize),
        opaque: &[String],
    ) -> Option<&'o [u8]> {
        let line = Line::read(octets, opaque)?;
        let (name, _) = octets.split_at(line.name);
        match Name::of(name) {
            Some(name) => self.note(name, index, start, &line),
            None if is_token(name) => {}
            None => return None,
        }
        octets.get(line.length + 2..)
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
    /// Reads the line in front of these octets, if it is as nearly all are: a name
    /// of letters and hyphens, a colon, one space, and a value whose first and last
    /// octets are visible.
    #[inline(always)]
    fn read_usual(octets: &[u8]) -> Option<Line> {
        let name = letters(octets);
        let [b':', b' ', after @ ..] = octets.get(name..)? else {
            return None;
        };
        let (value, behind) = after.split_at_checked(run::<b' '>(after))?;
        let ends_are_visible = value.first()? > &b' ' && value.last()? > &b' ';
        let is_line = name > 0 && ends_are_visible && behind.starts_with(b"\r\n");
        is_line.then(|| Line {
            name,
            value: name + 2,
            value_length: value.len(),
            length: octets.len() - behind.len(),
        })
    }

    /// Reads any line in front of these octets. The name is not checked.
    fn read(octets: &[u8], opaque: &[String]) -> Option<Line> {
        let name = find_colon(octets)?;
        let mut rest = octets.get(name + 1..)?;
        while let [b' ' | b'\t', after @ ..] = rest {
            rest = after;
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
        while let [before @ .., b' ' | b'\t'] = text {
            text = before;
        }
        Some(Line {
            name,
            value,
            value_length: text.len(),
            length,
        })
    }
}

impl HeaderNotes {
    /// Reads the head of a request in front of these octets. `None` where it does
    /// not end, or cannot be read.
    pub(super) fn read_request(
        &mut self,
        octets: &[u8],
        limit: u16,
        opaque: &[String],
    ) -> Option<RequestLine> {
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
        self.read(octets, start, most, opaque)?;
        Some(RequestLine {
            is_http_1_0: minor == b'0',
            ..line
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
    let mut notes = HeaderNotes::NONE;
    notes.read(octets, octets.len() - after.len(), MAX_HEADERS, &[])?;
    Some(notes)
}
