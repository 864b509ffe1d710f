//! Vector files: recorded or specified conversations, with what each side must
//! conclude from them.
//!
//! The format is `vectors/schema.json`: octets are Latin-1 strings or hex, and a
//! step is one write. [`play`](self::play()) plays a vector to the core in memory
//! and compares; [`File::to_canonical`] writes a file.

mod show;
mod diff;
mod write;
mod recorded;
mod configured;
mod script;
mod played;
mod judge;
mod play;
mod conclude;
#[cfg(feature = "import")]
pub mod import;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::message::Kind;
use crate::version::{Side, Version};

pub use self::diff::Difference;
pub use self::play::{play, splits, watch};
pub use self::played::Played;
pub use self::script::{Failure, Script, Split};
pub(crate) use self::show::unhex;
pub use self::show::{hex, shown};

/// A file of vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where the schema is.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The format, which is 1.
    pub format: u32,
    /// What each flag means.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// The vectors.
    pub vectors: Vec<Vector>,
}

/// One conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Its name, unique over all files.
    pub id: String,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The version that it is about; `none` where it is about no version.
    pub version: String,
    /// Where it comes from.
    pub source: Source,
    /// Whether it ran inside TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secure: bool,
    /// Words that the notes of the file explain.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "write::as_sorted"
    )]
    pub flags: Vec<String>,
    /// Whether the recording was cut off.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfinished: bool,
    /// How the side that is played is configured, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PlayConfig>,
    /// What both sides wrote, in order.
    pub steps: Vec<Step>,
    /// What each side must conclude.
    pub expect: Expect,
}

/// How the side that is played is configured: the options of `heirloom serve` of
/// the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayConfig {
    /// Whether, and in which memory, messages are compressed. Where it is not
    /// given, the side agrees to the `extensions` that are expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<PlayCompression>,
    /// Messages of fewer octets are sent uncompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_threshold: Option<u32>,
    /// The most octets of a message that is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<u64>,
}

/// Whether, and in which memory, the side that is played compresses messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlayCompression {
    /// It agrees to no compression.
    Off,
    /// It compresses each message on its own.
    Shared,
    /// It keeps a context from message to message.
    PerConnection,
}

/// Where a vector comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `spec`, `capture`, `issue` or `derived`.
    pub kind: String,
    /// The document and section, or where it was published.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The client and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The server and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// When it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// `recorded` or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    /// The licence under which it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

/// One write, or the end of one direction.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The side that wrote.
    pub from: Side,
    /// Octets as Latin-1, with one string for each line of a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Vec<String>>,
    /// Octets in hex.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write::as_some_hex"
    )]
    pub hex: Option<String>,
    /// Octets that are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
    /// The end of this direction of TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<StreamEnd>,
    /// The wait before it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// A remark for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Octets that are repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The octets in hex.
    #[serde(serialize_with = "write::as_hex")]
    pub hex: String,
    /// How many times they are repeated.
    pub times: usize,
}

/// How one direction of TCP ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamEnd {
    /// In order.
    Fin,
    /// By a reset.
    Rst,
}

/// What each side must conclude.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What the server must conclude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Conclusion>,
    /// What the client must conclude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Conclusion>,
    /// The version that is detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<String>,
    /// hixie-76: the number in the first key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_number_1: Option<u32>,
    /// hixie-76: the number in the second key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_number_2: Option<u32>,
    /// The subprotocol that both sides agree on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subprotocol: Option<String>,
    /// The compression that both sides agree on, as a response names it: its
    /// parameters in the order of RFC 7692 section 7.1, and no window of 15 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<String>,
    /// The messages that each side receives, in order. Compressed ones are
    /// inflated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<ReceivedMessage>,
    /// Which close is sent first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Close>,
}

impl Expect {
    /// What this side must conclude; `None` where the vector expects nothing of it.
    #[must_use]
    pub fn of(&self, side: Side) -> Option<&Conclusion> {
        match side {
            Side::Client => self.client.as_ref(),
            Side::Server => self.server.as_ref(),
        }
    }
}

/// What one side must conclude.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conclusion {
    /// Whether it accepts or rejects the conversation.
    pub result: ExpectedResult,
    /// The stable code of a refusal or violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The HTTP status of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The close code of a violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<u16>,
    /// How strongly the documents ask for this; `must` where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The section that does, where it is not that of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
}

impl Conclusion {
    /// How strongly the documents ask for this.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.unwrap_or(Level::Must)
    }
}

/// How strongly the documents ask for something (RFC 2119), the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is required: MUST.
    Must,
    /// It is recommended: SHOULD.
    Should,
    /// It is left to the implementation: MAY.
    May,
    /// It is a choice or a limit of this project, and no other implementation is
    /// held to it.
    Ours,
}

impl Level {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::May => "may",
            Level::Ours => "ours",
        }
    }
}

/// Whether a side accepts or rejects a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedResult {
    /// The conversation is correct.
    Accept,
    /// The other side is wrong, and this side refuses the request or fails the
    /// connection.
    Reject,
    /// The documents allow both.
    Either,
}

/// A message, ping or pong that is received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a message")]
pub struct ReceivedMessage {
    /// The side that sent it.
    pub from: Side,
    /// Whether it is a text, a binary message, a ping or a pong.
    pub kind: MessageKind,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Octets in hex.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write::as_some_hex"
    )]
    pub hex: Option<String>,
    /// Octets that are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
}

/// What kind of message is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

impl From<Kind> for MessageKind {
    fn from(kind: Kind) -> MessageKind {
        match kind {
            Kind::Text => MessageKind::Text,
            Kind::Binary => MessageKind::Binary,
        }
    }
}

/// Which close is sent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Close {
    /// `clean` in a version without close codes, `none` where no close is sent.
    Word(CloseWord),
    /// Which side sends a close first, with its code and reason.
    Sent(CloseSent),
}

/// A close without a code, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseWord {
    /// Both sides send a close.
    Clean,
    /// Neither side sends a close.
    None,
}

/// The close that is sent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseSent {
    /// The side that sends it.
    pub from: Side,
    /// The status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde needs
fn is_false(value: &bool) -> bool {
    !value
}

/// Why a vector file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is not JSON of this shape.
    #[error("not a vector file: {0}")]
    Shape(#[from] serde_json::Error),
    /// Its format is not 1.
    #[error("format {0} is not known; the only format is 1")]
    Format(u32),
    /// A vector contradicts itself, or cannot be played.
    #[error("{id}: {what}")]
    Vector {
        /// The vector.
        id: String,
        /// What is wrong with it.
        what: String,
    },
}

/// The most octets of a vector, and of the messages in it.
const MAX_OCTETS: usize = 64 * 1024 * 1024;

impl File {
    /// Reads a file, and checks what its shape does not show.
    ///
    /// # Errors
    ///
    /// Where it is not a vector file, or one of its vectors cannot be played.
    pub fn read(json: &[u8]) -> Result<File, Unusable> {
        let file: File = serde_json::from_slice(json)?;
        if file.format != 1 {
            return Err(Unusable::Format(file.format));
        }
        let mut ids = BTreeSet::new();
        for vector in &file.vectors {
            if !ids.insert(vector.id.as_str()) {
                return Err(Unusable::Vector {
                    id: vector.id.clone(),
                    what: "another vector has the same id".to_owned(),
                });
            }
            vector.check().map_err(|what| Unusable::Vector {
                id: vector.id.clone(),
                what,
            })?;
            if let Some(flag) = vector.flags.iter().find(|f| !file.notes.contains_key(*f)) {
                return Err(Unusable::Vector {
                    id: vector.id.clone(),
                    what: format!("the flag {flag:?} is not explained in the notes"),
                });
            }
        }
        Ok(file)
    }
}

impl Vector {
    fn check(&self) -> Result<(), String> {
        let known = |name: &str| Version::named(name).is_some_and(|v| v.name == name);
        if self.version != "none" && !known(&self.version) {
            return Err(format!("no version is named {:?}", self.version));
        }
        if let Some(name) = self.expect.detected.as_deref().filter(|name| !known(name)) {
            return Err(format!("no version is named {name:?}"));
        }
        let mut total = 0;
        for step in &self.steps {
            let ways = [step.text.is_some(), step.hex.is_some(), step.fill.is_some()];
            let ways_used =
                ways.iter().filter(|way| **way).count() + usize::from(step.end.is_some());
            if ways_used != 1 {
                return Err("a step has one of text, hex, fill and end".to_owned());
            }
            if let Some(fill) = &step.fill {
                grow(&mut total, fill.length()?)?;
            } else {
                grow(&mut total, step.octets()?.len())?;
            }
        }
        let mut total = 0;
        for received in &self.expect.messages {
            let ways = [
                received.data.is_some(),
                received.hex.is_some(),
                received.fill.is_some(),
            ];
            if ways.iter().filter(|way| **way).count() != 1 {
                return Err("a message has one of data, hex and fill".to_owned());
            }
            if let Some(fill) = &received.fill {
                grow(&mut total, fill.length()?)?;
            } else {
                grow(&mut total, received.octets()?.len())?;
            }
        }
        Ok(())
    }
}

/// Counts octets before they are allocated.
fn grow(total: &mut usize, by: usize) -> Result<(), String> {
    *total = total.saturating_add(by);
    if *total > MAX_OCTETS {
        return Err(format!("it is longer than {MAX_OCTETS} octets"));
    }
    Ok(())
}

impl Step {
    /// The octets of this write; empty where it is the end of a direction.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, hex or fill.
    pub fn octets(&self) -> Result<Vec<u8>, String> {
        if let Some(lines) = &self.text {
            return latin1(lines);
        }
        octets_of(self.hex.as_deref(), self.fill.as_ref())
    }
}

impl ReceivedMessage {
    /// Its octets.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, hex or fill.
    pub fn octets(&self) -> Result<Vec<u8>, String> {
        match &self.data {
            Some(text) => Ok(text.clone().into_bytes()),
            None => octets_of(self.hex.as_deref(), self.fill.as_ref()),
        }
    }
}

impl Fill {
    /// How many octets it is, without making them.
    pub(crate) fn length(&self) -> Result<usize, String> {
        let total = unhex(&self.hex)?.len().checked_mul(self.times);
        total
            .filter(|n| *n <= MAX_OCTETS)
            .ok_or_else(|| format!("a fill is longer than {MAX_OCTETS} octets"))
    }
}

fn octets_of(hex: Option<&str>, fill: Option<&Fill>) -> Result<Vec<u8>, String> {
    match (hex, fill) {
        (Some(hex), _) => unhex(hex),
        (None, Some(fill)) => {
            fill.length()?;
            Ok(unhex(&fill.hex)?.repeat(fill.times))
        }
        (None, None) => Ok(Vec::new()),
    }
}

fn latin1(lines: &[String]) -> Result<Vec<u8>, String> {
    let chars = lines.iter().flat_map(|line| line.chars());
    chars
        .map(|c| {
            let code = u32::from(c);
            u8::try_from(code).map_err(|_| {
                format!(
                    "a text holds U+{code:04X}, but each character is one octet, U+0000 to U+00FF"
                )
            })
        })
        .collect()
}
