//! Octets that differ, described for a person: where they differ, both sides, and
//! which rule applies there.

use std::fmt;

use super::show::escaped;
use crate::version::Version;

/// What differs from what was expected: a text for a person, and its parts for a
/// program, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The text; it may have several lines.
    pub what: String,
    /// The octet where it lies, in the stream of its sender or in a message.
    pub octet: Option<u64>,
    /// What the value is: a header, `status`, `close`, or the like.
    pub field: Option<String>,
    /// What was expected there.
    pub expected: Option<String>,
    /// What is there.
    pub seen: Option<String>,
}

impl From<String> for Difference {
    fn from(what: String) -> Difference {
        Difference {
            what,
            ..Difference::default()
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Difference {
    /// With the octet where it lies.
    #[must_use]
    pub fn at(mut self, octet: u64) -> Difference {
        self.octet = Some(octet);
        self
    }

    /// With the name of the value.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> Difference {
        self.field = Some(field.into());
        self
    }

    /// With both values.
    #[must_use]
    pub fn between(mut self, expected: impl Into<String>, seen: impl Into<String>) -> Difference {
        self.expected = Some(expected.into());
        self.seen = Some(seen.into());
        self
    }
}

/// Octets of each side that are given to a program.
const CONTEXT: usize = 56;

/// Both sides from a little before the first octet that differs.
pub(super) fn sides(want: &[u8], got: &[u8]) -> (String, String) {
    let start = first_difference(want, got).saturating_sub(24);
    let context = |octets: &[u8]| {
        let (_, rest) = octets.split_at(start.min(octets.len()));
        escaped(rest.get(..CONTEXT).unwrap_or(rest))
    };
    (context(want), context(got))
}

/// The part of what the server sends in which the first octet differs.
fn field(want: &[u8], got: &[u8], version: Option<&Version>) -> String {
    let at = first_difference(want, got);
    let head = head(got)
        .or_else(|| head(want))
        .filter(|head| head.starts_with(b"HTTP/"));
    let Some(head) = head else {
        return "octets".to_owned();
    };
    if at >= head.len() {
        let digest = version.is_some_and(Version::has_body) && at < head.len() + 16;
        return if digest { "digest" } else { "octets" }.to_owned();
    }
    let line = head.iter().take(at).filter(|o| **o == b'\n').count();
    let names = names(head);
    let name = line.checked_sub(1).and_then(|n| names.get(n));
    name.cloned()
        .unwrap_or_else(|| if line == 0 { "status-line" } else { "head" }.to_owned())
}

/// Where the octets that the server sends differ from the vector's, and which
/// rule applies there. The first of them is octet `before`.
pub(super) fn difference(
    want: &[u8],
    got: &[u8],
    before: usize,
    version: Option<&Version>,
) -> Difference {
    let at = before + first_difference(want, got);
    let (place, both) = (place(want, got, version), both(want, got));
    let (expected, seen) = sides(want, got);
    let what = format!("octet {at} of what the server sends differs, {place}\n{both}");
    Difference::from(what)
        .at(at as u64)
        .in_field(field(want, got, version))
        .between(expected, seen)
}

/// The number of octets before the first that differs.
pub(super) fn first_difference(want: &[u8], got: &[u8]) -> usize {
    want.iter().zip(got).take_while(|(w, g)| w == g).count()
}

/// The first octet that differs, in its context: one side below the other.
pub(super) fn both(want: &[u8], got: &[u8]) -> String {
    let at = first_difference(want, got);
    let start = at.saturating_sub(24);
    let context = |octets: &[u8]| {
        let end = octets.len().min(at + 32);
        let (_, context) = octets.split_at(end).0.split_at(start);
        let before = if start > 0 { "…" } else { "" };
        let after = if end < octets.len() { "…" } else { "" };
        format!(
            "{before}\"{}\"{after} ({} octets)",
            escaped(context),
            octets.len()
        )
    };
    let same = escaped(got.split_at(at).0.split_at(start).1);
    let width = same.len() + usize::from(start > 0) + 1;
    format!(
        "core   {}\nvector {}\n       {:width$}^",
        context(got),
        context(want),
        ""
    )
}

/// What the first octet that differs is part of, and the rule for it.
fn place(want: &[u8], got: &[u8], version: Option<&Version>) -> String {
    let at = first_difference(want, got);
    let is_head = |octets: &[u8]| octets.starts_with(b"HTTP/");
    let Some((name, head)) = version
        .map(|v| v.name)
        .zip(head(got).filter(|h| is_head(h)))
    else {
        return "in a refusal or after the handshake".to_owned();
    };
    if at >= head.len() {
        return if name == "hixie-76" && at < head.len() + 16 {
            "in the digest (MD5 of both key numbers and the eight octets after the head)".to_owned()
        } else {
            "after the head".to_owned()
        };
    }
    let line = head.iter().take(at).filter(|o| **o == b'\n').count();
    let mut rule = "";
    if name == "hixie-75" && line < 3 {
        rule = " (clients of hixie-75 compare the first three lines octet by octet)";
    }
    let (ours, theirs) = (names(head), names(self::head(want).unwrap_or(want)));
    if line == 0 {
        return format!("in the status line{rule}");
    }
    if let Some(lacks) = ours.iter().find(|name| !theirs.contains(name)) {
        return format!("the vector lacks {lacks}, a header of {name}{rule}");
    }
    if let Some(more) = theirs.iter().find(|name| !ours.contains(name)) {
        return format!("the vector has {more}, no header of {name}{rule}");
    }
    let (our, their) = (ours.get(line - 1), theirs.get(line - 1));
    let (Some(our), Some(their)) = (our, their) else {
        return "at the end of the head".to_owned();
    };
    if our != their {
        return format!(
            "the order of headers of {name} is {}{rule}",
            ours.join(", ")
        );
    }
    if our.eq_ignore_ascii_case("Sec-WebSocket-Accept") {
        rule = " (base64 of the SHA-1 of the key and the GUID)";
    }
    format!("in the value of {our}{rule}")
}

/// A head with its empty line.
fn head(octets: &[u8]) -> Option<&[u8]> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    octets.get(..end + 4)
}

/// The names of a head's headers, in order.
fn names(head: &[u8]) -> Vec<String> {
    let lines = head.split(|o| *o == b'\n').skip(1);
    let names = lines.filter_map(|line| line.split(|o| *o == b':').next());
    names
        .filter(|name| !matches!(name, [] | [b'\r']))
        .map(escaped)
        .collect()
}
