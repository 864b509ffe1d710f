//! What others recorded, made into vectors: pcap, HAR, k3po.
//!
//! The files are not trusted: what they hold is bounded, and what is wrong
//! with them is said, with its place.

mod har;
mod k3po;
mod pcap;
mod tcp;

use std::net::SocketAddr;

use jiff::Timestamp;
use memchr::memmem;

use super::{Expect, File, Source, Step, Vector, header};

/// No file is longer than this, in octets.
pub const MAX_FILE_OCTETS: usize = 256 * 1024 * 1024;

/// No text, HAR or script, is longer than this, in octets: taken apart it
/// needs many times the room.
pub const MAX_TEXT_OCTETS: usize = 64 * 1024 * 1024;

/// No connection is longer than this, nor are all together: a vector file
/// holds no more.
pub const MAX_OCTETS: usize = 64 * 1024 * 1024;

/// No connection has more steps and messages than this, nor have all together.
pub const MAX_STEPS: usize = 262_144;

/// No capture has more TCP connections than this.
pub const MAX_CONNECTIONS: usize = 65_536;

/// A request's head is looked for in so many octets.
const MAX_HEAD_OCTETS: usize = 64 * 1024;

/// What is to be imported, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The file's name, which the vectors tell as their source.
    pub name: String,
    /// The server's port, where only its connections are wanted.
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

/// What came of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The vectors, at least one.
    pub file: File,
    /// What was left out or cut off, and why; a line each.
    pub remarks: Vec<String>,
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unimportable {
    /// It is none of the known formats.
    #[error("offset 0: it is no pcap, pcapng, HAR or k3po script; {0}")]
    Unknown(&'static str),
    /// It is longer than [`MAX_FILE_OCTETS`].
    #[error(
        "it is longer than {MAX_FILE_OCTETS} octets; cut it, for example with editcap or a filter"
    )]
    TooLong,
    /// It is a text longer than [`MAX_TEXT_OCTETS`].
    #[error(
        "it is no capture, and longer than {MAX_TEXT_OCTETS} octets; save only the WebSocket entries"
    )]
    TextTooLong,
    /// Something in a binary file cannot be read.
    #[error("offset {offset}: {what}")]
    At {
        /// Where.
        offset: usize,
        /// What, and what to do.
        what: String,
    },
    /// Something in a text cannot be read.
    #[error("line {line}: {what}")]
    Line {
        /// Where.
        line: usize,
        /// What, and what to do.
        what: String,
    },
    /// It can be read, and holds no conversation.
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

/// Makes vectors of a file; its format is told by its content.
///
/// # Errors
///
/// Where it has no conversation that could be imported, and why.
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
    /// Whether the capture kept only its begin.
    cut: bool,
    payload: &'a [u8],
}

/// A conversation before the core has looked at it.
struct Draft {
    source: Source,
    secure: bool,
    steps: Vec<Step>,
    /// Why it is cut off, where it is.
    unfinished: Option<String>,
    /// What is known of the messages beside the steps.
    messages: Vec<super::ReceivedMessage>,
}

/// The vectors so far.
struct Drafts<'o> {
    options: &'o Options,
    vectors: Vec<Vector>,
    remarks: Vec<String>,
    /// Octets of all steps and messages, and how many they are.
    octets: usize,
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

    /// Makes room for so many octets more in so many steps.
    fn make_room(&mut self, octets: usize, steps: usize) -> Result<(), String> {
        let octets = self.octets.saturating_add(octets);
        let steps = self.steps.saturating_add(steps);
        if octets > MAX_OCTETS || steps > MAX_STEPS {
            return Err(format!(
                "with it there would be more than {MAX_OCTETS} octets or {MAX_STEPS} steps; \
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

    /// Makes a vector of it; `place` names it where that fails.
    fn add(&mut self, draft: Draft, place: &str) {
        let Draft {
            mut source,
            secure,
            mut steps,
            unfinished,
            messages,
        } = draft;
        let Some(last) = steps.last_mut() else {
            self.remark(format!("left out: {place}: nothing was said"));
            return;
        };
        if let Some(why) = &unfinished {
            let note = last.note.take().map(|note| format!("{note}; "));
            last.note = Some(format!("{}cut off here: {why}", note.unwrap_or_default()));
            self.remark(format!("unfinished: {place}: {why}"));
        }
        let says = |from: crate::version::Side, name: &str| {
            let step = steps.iter().find(|step| step.from == from)?;
            named(&step.octets().ok()?, name)
        };
        source.client = says(crate::version::Side::Client, "User-Agent");
        source.server = says(crate::version::Side::Server, "Server");
        let mut vector = Vector {
            id: String::new(),
            title: None,
            version: "none".to_owned(),
            source,
            secure,
            flags: Vec::new(),
            unfinished: unfinished.is_some(),
            steps,
            expect: Expect::default(),
        };
        if let Err(why) = vector.conclude() {
            self.remark(format!("left out: {place}: {why}"));
            return;
        }
        if !messages.is_empty() {
            vector.expect.messages = messages;
            vector.hold_only_who_agrees(false);
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
        // It does not lie in a folder beside the schema.
        file.schema = None;
        Ok(Imported {
            file,
            remarks: self.remarks,
        })
    }
}

/// The file's name as a part of an id.
fn stem(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
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

/// The octets up to the first empty line, or what there is of them.
fn head(octets: &[u8]) -> &[u8] {
    let octets = octets.get(..MAX_HEAD_OCTETS).unwrap_or(octets);
    let end = memmem::find(octets, b"\r\n\r\n").unwrap_or(octets.len());
    octets.get(..end).unwrap_or(octets)
}

/// A header's value, where it is plain enough to stand in the source.
fn named(octets: &[u8], name: &str) -> Option<String> {
    let value = header(head(octets), name)?;
    let plain = value.bytes().all(|o| matches!(o, 0x20..=0x7e));
    (plain && !value.is_empty() && value.len() <= 200).then_some(value)
}

/// Why these octets of a client begin no WebSocket conversation.
fn foreign(octets: &[u8]) -> Option<&'static str> {
    const METHODS: [&[u8]; 8] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"TRACE ",
    ];
    let is = |prefix: &[u8]| octets.starts_with(prefix);
    if octets.is_empty() {
        Some("the client says nothing")
    } else if is(b"\x16\x03") || is(b"\x80") && octets.get(2) == Some(&1) {
        Some("TLS, which a capture cannot be read through; record where it is plain")
    } else if is(b"PRI * HTTP/2") {
        Some("HTTP/2")
    } else if is(b"<policy-file-request") {
        Some("a Flash policy request")
    } else if is(b"CONNECT ") {
        Some("it goes through a proxy by CONNECT; capture behind the proxy")
    } else if !METHODS.into_iter().any(is) {
        Some("not HTTP, or its begin is not in the capture")
    } else if asks(head(octets)) {
        None
    } else if memmem::find(octets, b"ec-WebSocket-").is_some() {
        Some("the upgrade is not the first request of the connection")
    } else if memmem::find(octets, b"\r\n\r\n").is_none() {
        Some("its head has no end there, and what there is of it asks for no WebSocket")
    } else {
        Some("plain HTTP")
    }
}

/// Whether a head asks for WebSocket.
fn asks(head: &[u8]) -> bool {
    head.split(|o| *o == b'\n').any(|line| {
        let mut parts = line.splitn(2, |o| *o == b':');
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let value = parts.next().unwrap_or_default().to_ascii_lowercase();
        let upgrade = name == b"upgrade" && memmem::find(&value, b"websocket").is_some();
        upgrade || name.starts_with(b"sec-websocket-") || name.starts_with(b"websocket-")
    })
}

/// A day since 1970, as it is written; of a time in nanoseconds.
fn date(time_ns: u64) -> Option<String> {
    let time = Timestamp::from_nanosecond(i128::from(time_ns)).ok()?;
    let day = time.strftime("%F").to_string();
    // A capture without a clock says 1970.
    (day != "1970-01-01").then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let day = |n: u64| date(n * 86_400 * 1_000_000_000);
        assert_eq!(day(0), None);
        assert_eq!(day(1).as_deref(), Some("1970-01-02"));
        assert_eq!(day(11_016).as_deref(), Some("2000-02-29"));
        assert_eq!(day(14_692).as_deref(), Some("2010-03-24"));
        assert_eq!(day(20_777).as_deref(), Some("2026-11-20"));
        assert_eq!(date(u64::MAX).as_deref(), Some("2554-07-21"));
    }

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
