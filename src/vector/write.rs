//! Writes vectors in their canonical form, and makes steps of octets.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

use super::show::{hex, unhex};
use super::{File, Fill, MessageKind, ReceivedMessage, Step, StreamEnd, Vector};
use crate::version::Side;

/// A value that is longer stands on several lines.
const MAX_COLUMNS: usize = 100;

/// Lists that always have one element per line.
const TALL: [&str; 3] = ["\"text\": ", "\"steps\": ", "\"vectors\": "];

/// A write of fewer octets is never a `fill`.
const MIN_FILL_OCTETS: usize = 256;

/// The maximum number of octets that a `fill` repeats.
const MAX_PERIOD_OCTETS: usize = 16;

/// The schema allows no more repetitions.
const MAX_TIMES: usize = 16 * 1024 * 1024;

/// Octets in one string of a `text`, where what follows the head is not printable.
const REST_OCTETS: usize = 32;

impl File {
    /// A file of these vectors, for a folder beside the schema.
    #[must_use]
    pub fn of(vectors: Vec<Vector>) -> File {
        File {
            schema: Some("../schema.json".to_owned()),
            format: 1,
            notes: std::collections::BTreeMap::new(),
            vectors,
        }
    }

    /// The file in its canonical form: two files with the same content are the same,
    /// octet for octet.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, OneLine);
        if let Err(error) = self.serialize(&mut serializer) {
            unreachable!("strings and numbers are written to a Vec: {error}");
        }
        let Ok(line) = String::from_utf8(line) else {
            unreachable!("the writer writes ASCII");
        };
        let mut out = String::with_capacity(line.len() * 2);
        let (node, _) = Node::read(&line, false);
        node.lay("", 0, 0, &mut out);
        out.push('\n');
        out
    }
}

impl Step {
    /// One write of these octets, in the most readable form: `fill` where they
    /// repeat, `text` where they are printable or start with a head, else `hex`.
    #[must_use]
    pub fn of(from: Side, octets: &[u8]) -> Step {
        let mut step = Step {
            from,
            text: None,
            hex: None,
            fill: None,
            end: None,
            after_ms: None,
            note: None,
        };
        let head = head_len(octets);
        if let Some(fill) = Fill::of(octets) {
            step.fill = Some(fill);
        } else if !octets.is_empty() && (head > 0 || octets.iter().all(|o| is_printable(*o))) {
            step.text = Some(lines(octets, head));
        } else {
            step.hex = Some(hex(octets));
        }
        step
    }

    /// The end of one direction of TCP.
    #[must_use]
    pub fn end(from: Side, end: StreamEnd) -> Step {
        Step {
            hex: None,
            end: Some(end),
            ..Step::of(from, &[])
        }
    }

    /// The same step after a wait.
    #[must_use]
    pub fn after(self, ms: u64) -> Step {
        Step {
            after_ms: Some(ms),
            ..self
        }
    }
}

impl ReceivedMessage {
    /// A message, ping or pong with these octets.
    #[must_use]
    pub fn of(from: Side, kind: MessageKind, octets: &[u8]) -> ReceivedMessage {
        let fill = Fill::of(octets);
        let text = std::str::from_utf8(octets)
            .ok()
            .filter(|_| kind == MessageKind::Text && fill.is_none());
        ReceivedMessage {
            from,
            kind,
            data: text.map(str::to_owned),
            hex: (text.is_none() && fill.is_none()).then(|| hex(octets)),
            fill,
        }
    }
}

impl Fill {
    /// These octets as a repetition; `None` where they are short or do not repeat.
    #[must_use]
    pub fn of(octets: &[u8]) -> Option<Fill> {
        if octets.len() < MIN_FILL_OCTETS {
            return None;
        }
        let repeats = |period: &usize| {
            let (first, rest) = octets.split_at(*period);
            let (_, last) = octets.split_at(octets.len() - period);
            octets.len() % period == 0
                && first == last
                && octets.iter().zip(rest).all(|(a, b)| a == b)
        };
        let period = (1..=MAX_PERIOD_OCTETS).find(repeats)?;
        let times = octets.len() / period;
        (times <= MAX_TIMES).then_some(Fill {
            hex: hex(octets.get(..period)?),
            times,
        })
    }
}

/// The length of the head, with its empty line, that these octets start with; 0
/// where they do not start with a head in visible ASCII.
fn head_len(octets: &[u8]) -> usize {
    let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") else {
        return 0;
    };
    let (head, _) = octets.split_at(end + 4);
    if head.iter().all(|o| is_printable(*o)) {
        head.len()
    } else {
        0
    }
}

fn is_printable(octet: u8) -> bool {
    matches!(octet, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

/// One string for each line. Where what follows the head is not printable, its
/// strings have [`REST_OCTETS`] each.
fn lines(octets: &[u8], head: usize) -> Vec<String> {
    let latin1 = |octets: &[u8]| octets.iter().map(|o| char::from(*o)).collect::<String>();
    let (head, rest) = octets.split_at(head);
    let mut lines: Vec<String> = head.split_inclusive(|o| *o == b'\n').map(latin1).collect();
    if rest.iter().all(|o| is_printable(*o)) {
        lines.extend(rest.split_inclusive(|o| *o == b'\n').map(latin1));
    } else {
        lines.extend(rest.chunks(REST_OCTETS).map(latin1));
    }
    lines
}

/// Hex that a person wrote, in the form of [`hex`].
pub(super) fn as_hex<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    match unhex(text) {
        Ok(octets) => to.serialize_str(&hex(&octets)),
        Err(_) => to.serialize_str(text),
    }
}

/// The same for optional hex.
pub(super) fn as_some_hex<S: Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => as_hex(text, to),
        None => to.serialize_none(),
    }
}

/// Words in order.
pub(super) fn as_sorted<S: Serializer>(words: &[String], to: S) -> Result<S::Ok, S::Error> {
    let mut words: Vec<&String> = words.iter().collect();
    words.sort_unstable();
    to.collect_seq(words)
}

/// JSON on one line: `": "` and `", "` between, and nothing but visible ASCII.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for part in fragment.split_inclusive(|c| !matches!(c, ' '..='~')) {
            let last = part.chars().next_back().filter(|c| !matches!(c, ' '..='~'));
            let plain = part.len() - last.map_or(0, char::len_utf8);
            to.write_all(part.split_at(plain).0.as_bytes())?;
            for unit in last
                .iter()
                .flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec())
            {
                write!(to, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let code = match escape {
            CharEscape::Quote => return to.write_all(b"\\\""),
            CharEscape::ReverseSolidus => return to.write_all(b"\\\\"),
            CharEscape::CarriageReturn => return to.write_all(b"\\r"),
            CharEscape::LineFeed => return to.write_all(b"\\n"),
            CharEscape::Tab => return to.write_all(b"\\t"),
            CharEscape::Solidus => b'/',
            CharEscape::Backspace => 8,
            CharEscape::FormFeed => 12,
            CharEscape::AsciiControl(code) => code,
        };
        write!(to, "\\u{code:04x}")
    }
}

/// A value in text that [`OneLine`] wrote.
struct Node<'t> {
    /// The whole value, on one line.
    text: &'t str,
    /// `"key": ` and value of each member; in a list the key is empty.
    members: Vec<(&'t str, Node<'t>)>,
    /// Whether it must stand on several lines.
    tall: bool,
}

impl<'t> Node<'t> {
    /// The value that starts here, and the text after it.
    fn read(text: &'t str, tall: bool) -> (Node<'t>, &'t str) {
        let close = match text.as_bytes().first() {
            Some(b'{') => '}',
            Some(b'[') => ']',
            _ => {
                let (leaf, rest) = text.split_at(leaf_len(text));
                let node = Node {
                    text: leaf,
                    members: Vec::new(),
                    tall: false,
                };
                return (node, rest);
            }
        };
        let mut node = Node {
            text,
            members: Vec::new(),
            tall,
        };
        let (_, mut rest) = text.split_at(1);
        while !rest.is_empty() && !rest.starts_with(close) {
            rest = rest.strip_prefix(", ").unwrap_or(rest);
            let key_len = if close == '}' { leaf_len(rest) + 2 } else { 0 };
            let (key, value) = rest.split_at_checked(key_len).unwrap_or((rest, ""));
            let (member, after) = Node::read(value, TALL.contains(&key));
            node.tall |= member.tall;
            node.members.push((key, member));
            rest = after;
        }
        let rest = rest.strip_prefix(close).unwrap_or(rest);
        (node.text, _) = text.split_at(text.len() - rest.len());
        node.tall &= !node.members.is_empty();
        (node, rest)
    }

    /// Writes the value after its key; `after` is the width of what follows on its
    /// last line.
    fn lay(&self, key: &str, indent: usize, after: usize, out: &mut String) {
        out.push_str(key);
        let width = indent + key.len() + self.text.len() + after;
        if self.members.is_empty() || (!self.tall && width <= MAX_COLUMNS) {
            out.push_str(self.text);
            return;
        }
        out.push_str(self.text.split_at(1).0);
        let last = self.members.len() - 1;
        for (i, (key, member)) in self.members.iter().enumerate() {
            let comma = usize::from(i < last);
            new_line(indent + 2, out);
            member.lay(key, indent + 2, comma, out);
            out.push_str(",".split_at(comma).0);
        }
        new_line(indent, out);
        out.push_str(self.text.split_at(self.text.len() - 1).1);
    }
}

fn new_line(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// The length of the string, number or word at the start of the text.
fn leaf_len(text: &str) -> usize {
    if !text.starts_with('"') {
        return text.find([',', '}', ']']).unwrap_or(text.len());
    }
    let mut escaped = false;
    for (i, octet) in text.bytes().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(octets: &[u8]) -> Step {
        let step = Step::of(Side::Client, octets);
        assert_eq!(step.octets().unwrap(), octets);
        step
    }

    #[test]
    fn octets_become_the_step_that_reads_best() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\xff\x00345678";
        let text = of(head).text.unwrap();
        assert_eq!(text.len(), 4);
        assert_eq!(text.last().unwrap(), "\u{ff}\u{0}345678");
        assert_eq!(of(b"half a li").text.unwrap(), ["half a li"]);
        assert_eq!(of(b"\x81\x02hi").hex.unwrap(), "81 02 68 69");
        assert_eq!(of(b"").hex.unwrap(), "");
        let fill = of(&b"\x00abc".repeat(100)).fill.unwrap();
        assert_eq!((fill.hex.as_str(), fill.times), ("00 61 62 63", 100));
        assert_eq!(of(&[7; 300]).fill.unwrap().times, 300);
        assert!(of(&[7; 255]).fill.is_none());
        let end = Step::end(Side::Server, StreamEnd::Rst).after(3);
        assert_eq!((end.hex, end.after_ms), (None, Some(3)));
    }

    #[test]
    fn strings_are_ascii() {
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, OneLine);
        "a\"\\\r\n\t\u{8}\u{c}\u{0}\u{1f}/~\u{7f}\u{80}\u{ff}\u{2028}\u{1f600}b"
            .serialize(&mut serializer)
            .unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#""a\"\\\r\n\t\u0008\u000c\u0000\u001f/~\u007f\u0080\u00ff\u2028\ud83d\ude00b""#
        );
    }
}
