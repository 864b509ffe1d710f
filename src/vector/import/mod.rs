//! Makes vectors of what other programs recorded: pcap, HAR and k3po.
//!
//! The files are not trusted: each has a limit, and an error names the place in
//! the file.

mod request;
mod exchange;
mod pcap;
mod tcp;
mod har;
mod k3po;

use std::net::SocketAddr;

use self::request::head;
use super::recorded::header;
use super::{Expect, ExpectedResult, File, Source, Step, Vector};
use crate::version::Side;

/// No file is longer than this, in octets.
pub const MAX_FILE_OCTETS: usize = 256 * 1024 * 1024;

/// No text, HAR or script, is longer than this, in octets: parsed, it needs many
/// times the memory.
pub const MAX_TEXT_OCTETS: usize = 64 * 1024 * 1024;

/// The most octets of all connections together: a vector file holds no more.
pub const MAX_OCTETS: usize = 64 * 1024 * 1024;

/// The most steps and messages of all connections together.
pub const MAX_STEPS: usize = 262_144;

/// The most TCP connections of a capture.
pub const MAX_CONNECTIONS: usize = 65_536;

/// What to import of a file.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The name of the file, which the vectors name as their source.
    pub name: String,
    /// Import only connections to this port of a server.
    pub port: Option<u16>,
}

impl Options {
    /// A file of this name.
    #[must_use]
    pub fn of(name: &str) -> Options {
        Options {
            name: name.to_owned(),
            port: None,
        }
    }
}

/// What was imported from a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The vectors, at least one.
    pub file: File,
    /// What was left out or cut off, and why: one line each.
    pub remarks: Vec<String>,
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unimportable {
    /// It has none of the known formats.
    #[error("offset 0: it is not a pcap, pcapng, HAR or k3po script; {0}")]
    Unknown(&'static str),
    /// It is longer than [`MAX_FILE_OCTETS`].
    #[error(
        "it is longer than {MAX_FILE_OCTETS} octets; cut it, for example with editcap or a filter"
    )]
    TooLong,
    /// It is a text longer than [`MAX_TEXT_OCTETS`].
    #[error(
        "it is not a capture, and longer than {MAX_TEXT_OCTETS} octets; save only the WebSocket entries"
    )]
    TextTooLong,
    /// Something in a binary file cannot be read.
    #[error("offset {offset}: {what}")]
    At {
        /// The place.
        offset: usize,
        /// What is wrong there, and what to do.
        what: String,
    },
    /// Something in a text cannot be read.
    #[error("line {line}: {what}")]
    Line {
        /// The place.
        line: usize,
        /// What is wrong there, and what to do.
        what: String,
    },
    /// It can be read, but holds no conversation.
    #[error("there is no WebSocket conversation in it{}", because(.0))]
    Nothing(Vec<String>),
}

fn because(remarks: &[String]) -> String {
    match remarks {
        [] => String::new(),
        [one] => format!(": {one}"),
        [one, rest @ ..] => format!(": {one} (and {} more)", rest.len()),
    }
}

/// Makes vectors of a file; the content shows its format.
///
/// # Errors
///
/// Why no conversation could be imported.
pub fn import(octets: &[u8], options: &Options) -> Result<Imported, Unimportable> {
    if octets.len() > MAX_FILE_OCTETS {
        return Err(Unimportable::TooLong);
    }
    let text = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let mut drafts = Drafts::new(options);
    let is_capture = pcap::is(octets);
    if !is_capture && octets.len() > MAX_TEXT_OCTETS {
        return Err(Unimportable::TextTooLong);
    }
    if is_capture {
        let mut table = tcp::Table::default();
        let mut remarks = pcap::read(octets, &mut |segment| table.add(segment))?;
        drafts.remarks.append(&mut remarks);
        table.conversations(&mut drafts);
    } else if har::is(text) {
        har::read(text, &mut drafts)?;
    } else if k3po::is(text) {
        k3po::read(text, &mut drafts)?;
    } else {
        return Err(Unimportable::Unknown(if octets.is_empty() {
            "it is empty"
        } else {
            "give a capture made by tcpdump -w or Wireshark, a HAR saved by a browser, or a .rpt"
        }));
    }
    drafts.finish()
}

/// A TCP segment of a capture.
struct Segment<'a> {
    /// The number of its packet, from 1.
    number: usize,
    /// Nanoseconds since 1970.
    time_ns: u64,
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: Option<u32>,
    syn: bool,
    fin: bool,
    rst: bool,
    psh: bool,
    /// Whether the capture kept only the start of it.
    cut: bool,
    payload: &'a [u8],
}

/// A conversation that the core has not played yet.
struct Draft {
    source: Source,
    secure: bool,
    steps: Vec<Step>,
    /// Why it is cut off; `None` where it is complete.
    unfinished: Option<String>,
    /// Messages that are known although their frames are not among the steps.
    messages: Vec<super::ReceivedMessage>,
    /// The side of whose octets not all are known.
    open: Option<Side>,
}

/// The vectors so far.
struct Drafts<'o> {
    options: &'o Options,
    vectors: Vec<Vector>,
    remarks: Vec<String>,
    /// Octets of all steps and messages.
    octets: usize,
    /// How many steps and messages there are.
    steps: usize,
}

impl<'o> Drafts<'o> {
    fn new(options: &'o Options) -> Drafts<'o> {
        Drafts {
            options,
            vectors: Vec::new(),
            remarks: Vec::new(),
            octets: 0,
            steps: 0,
        }
    }

    fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    /// Adds these numbers of octets and steps to the totals.
    ///
    /// # Errors
    ///
    /// Where that is more than the limit.
    fn count(&mut self, octets: usize, steps: usize) -> Result<(), String> {
        let octets = self.octets.saturating_add(octets);
        let steps = self.steps.saturating_add(steps);
        if octets > MAX_OCTETS || steps > MAX_STEPS {
            return Err(format!(
                "with it the file would have more than {MAX_OCTETS} octets or {MAX_STEPS} steps; \
                 import a part of the file"
            ));
        }
        (self.octets, self.steps) = (octets, steps);
        Ok(())
    }

    /// The source of a vector from this file.
    fn source(&self, kind: &str, place: &str) -> Source {
        Source {
            kind: kind.to_owned(),
            reference: format!("{}, {place}", self.options.name),
            client: None,
            server: None,
            date: None,
            timing: None,
            licence: None,
        }
    }

    /// Makes a vector of it. `place` names the conversation where that fails.
    fn add(&mut self, draft: Draft, place: &str) {
        let Draft {
            mut source,
            secure,
            mut steps,
            unfinished,
            messages,
            open,
        } = draft;
        let Some(last) = steps.last_mut() else {
            self.remark(format!("left out: {place}: neither side sent anything"));
            return;
        };
        if let Some(why) = &unfinished {
            let note = last.note.take().map(|note| format!("{note}; "));
            last.note = Some(format!("{}cut off here: {why}", note.unwrap_or_default()));
            self.remark(format!("unfinished: {place}: {why}"));
        }
        let value_of = |from: Side, name: &str| {
            let step = steps.iter().find(|step| step.from == from)?;
            named(&step.octets().ok()?, name)
        };
        source.client = value_of(Side::Client, "User-Agent");
        source.server = value_of(Side::Server, "Server");
        let mut vector = Vector {
            id: String::new(),
            title: None,
            version: "none".to_owned(),
            source,
            secure,
            flags: Vec::new(),
            unfinished: unfinished.is_some(),
            config: None,
            steps,
            expect: Expect::default(),
        };
        if let Err(why) = vector.conclude() {
            self.remark(format!("left out: {place}: {why}"));
            return;
        }
        if let Some(from) = open {
            vector.expect_nothing_of_the_unknown(from);
        }
        if !messages.is_empty() {
            vector.expect.messages = messages;
            vector.expect_only_what_is_played(false);
        }
        let (stem, n) = (stem(&self.options.name), self.vectors.len() + 1);
        vector.id = format!("{}/{stem}-{n}", vector.version);
        self.vectors.push(vector);
    }

    fn finish(self) -> Result<Imported, Unimportable> {
        if self.vectors.is_empty() {
            return Err(Unimportable::Nothing(self.remarks));
        }
        let mut file = File::of(self.vectors);
        // Its folder is not the one beside the schema.
        file.schema = None;
        Ok(Imported {
            file,
            remarks: self.remarks,
        })
    }
}

impl Vector {
    /// Not all octets of this side are known. What its peer refuses because of that
    /// is no expectation.
    fn expect_nothing_of_the_unknown(&mut self, from: Side) {
        let expected = match from {
            Side::Client => &mut self.expect.server,
            Side::Server => &mut self.expect.client,
        };
        if expected
            .as_ref()
            .is_some_and(|expected| expected.result != ExpectedResult::Accept)
        {
            *expected = None;
        }
    }
}

/// The name of the file as part of an id.
fn stem(name: &str) -> String {
    let name = name.rsplit_once(['/', '\\']).map_or(name, |(_, name)| name);
    let name = name.split_once('.').map_or(name, |(stem, _)| stem);
    let mut stem = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()).take(60) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            stem.push(c);
        } else if !stem.is_empty() && !stem.ends_with('-') {
            stem.push('-');
        }
    }
    let stem = stem.trim_end_matches('-');
    if stem.is_empty() { "import" } else { stem }.to_owned()
}

/// The value of a header, where it is short visible ASCII.
fn named(octets: &[u8], name: &str) -> Option<String> {
    let value = header(head(octets), name)?;
    let plain = value.bytes().all(|o| matches!(o, 0x20..=0x7e));
    (plain && !value.is_empty() && value.len() <= 200).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_parts_of_an_id() {
        for (name, want) in [
            ("a/Phantom JS (1.9).pcap", "phantom-js-1"),
            ("--.har", "import"),
            ("", "import"),
            ("x.tar.gz", "x"),
        ] {
            assert_eq!(stem(name), want);
        }
    }
}
