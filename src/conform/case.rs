//! The format of cases.

use serde::{Deserialize, Serialize};

use crate::vector::{Fill, Level, MessageKind, StreamEnd};
use crate::version::Side;

/// One case, with the parameters of its family filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name: `1.1.1` as in Autobahn|Testsuite, or `hixie-76/echo-text`.
    pub id: String,
    /// What it shows, in one sentence.
    pub title: String,
    /// What it is good for, where the title does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The version that is spoken.
    #[serde(default = "rfc6455")]
    pub version: String,
    /// How bad it is where no outcome matches.
    pub level: Level,
    /// The section that says so.
    pub section: String,
    /// The side that is tested, where only one can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Side>,
    /// Whether no other case may run at the same time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sequential: bool,
    /// Milliseconds until the tester ends the conversation by itself, counted from
    /// the last octet that it could send or has received.
    #[serde(default = "one_second")]
    pub deadline_ms: u64,
    /// What it does at the deadline.
    #[serde(default, skip_serializing_if = "is_default")]
    pub at_deadline: AtDeadline,
    /// The opening handshake, where it is not the ordinary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Handshake>,
    /// The compression that is offered, or agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// What the tester sends, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<CaseStep>,
    /// What may be received, the best first.
    pub outcomes: Vec<Outcome>,
    /// How the connection must be closed.
    pub close: Closing,
    /// Whether the documents leave open what happens: the verdicts are
    /// INFORMATIONAL.
    #[serde(default, skip_serializing_if = "is_default")]
    pub informational: bool,
}

/// What the tester does at the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtDeadline {
    /// It fails the connection: close 1001.
    #[default]
    Fail,
    /// It closes it without a code.
    Close,
}

/// An opening handshake with its own octets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// Where a server is tested: the request, one string for each line. In a line,
    /// `{host}`, `{target}`, `{key}`, `{scheme}` (http or https) and `{origin}` stand
    /// for what the tester fills in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Vec<String>>,
    /// Where a client is tested: the response, one string for each line. In a line,
    /// `{accept}` and `{protocol}` stand for what the tester fills in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Vec<String>>,
    /// Whether the peer must refuse: a server by a status other than 101, a client
    /// by the end of TCP without a frame.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refused: bool,
    /// The statuses by which a server may refuse; any of 400 to 599 where it is
    /// empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// The names of the headers that the answer of a server must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
}

/// What is offered to a server, or agreed to with a client. A peer that does not
/// agree makes the case UNIMPLEMENTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    /// The value of `Sec-WebSocket-Extensions` in the request to a server.
    pub offer: String,
    /// Whether the answer of a server may lack a parameter that the offer demands:
    /// the known cases do not look.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lax_answer: bool,
    /// What is agreed to with a client: the first that one of its offers allows.
    pub accept: Vec<Offers>,
}

/// One answer to an offer of permessage-deflate (RFC 7692 section 7.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offers {
    /// Whether the client is asked for `client_no_context_takeover`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client_no_context_takeover: bool,
    /// The window that the client is asked for, in bits; none where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_max_window_bits: Option<u8>,
}

/// One thing that the tester does. Exactly one key is there, and beside it `chop`
/// and `repeat`, and `mark` beside `wait_ms`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseStep {
    /// A message, as a correct peer sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<CaseMessage>,
    /// A ping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<CaseContent>,
    /// A pong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pong: Option<CaseContent>,
    /// A close. It starts the closing handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<CloseStep>,
    /// One frame, right or wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<CaseFrame>,
    /// More payload of the frame before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<CaseContent>,
    /// Octets as they are, neither framed nor masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octets: Option<CaseContent>,
    /// Messages that are sent one after the other, each after the echo of the one
    /// before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roundtrips: Option<Roundtrips>,
    /// A pause. What is received meanwhile counts; the pause ends early where the
    /// peer closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// A pause with a name: where the connection is still open behind it, an event
    /// of this name is noted. Together with `wait_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// The end of our side of TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<StreamEnd>,
    /// The octets of one write. Steps without it that follow one another may leave
    /// in one write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chop: Option<usize>,
    /// How many times it is done; once where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<usize>,
}

/// Octets of a payload: exactly one key, or none for no octets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseContent {
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Octets in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// Octets that are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
    /// Octets that are made: they compress as real data of this kind do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
}

/// Octets that are made by rule, so that they need not be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// What they look like: `text`, `json`, `html`, `picture` or `packed`.
    pub like: String,
    /// How many.
    pub octets: usize,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseMessage {
    /// `text` or `binary`.
    pub kind: MessageKind,
    /// Its payload.
    #[serde(flatten)]
    pub content: CaseContent,
    /// The octets of payload of each frame, behind compression where there is any;
    /// one frame where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<usize>,
}

/// One frame, field by field (RFC 6455 section 5.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFrame {
    /// The opcode, 0 to 15, as this version numbers it.
    pub opcode: u8,
    /// FIN.
    #[serde(default = "yes")]
    pub fin: bool,
    /// RSV1 to RSV3 as a number: RSV1 is 4.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rsv: u8,
    /// Whether it is masked; as its side must where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
    /// The length that the header tells, where it is not that of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The octets of the extended length, 0, 2 or 8, where it is not the shortest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_octets: Option<u8>,
    /// Its payload, or the first of it.
    #[serde(flatten)]
    pub content: CaseContent,
}

/// A close frame of the tester.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseStep {
    /// The status code; no body where there is none and no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The octets behind the code.
    #[serde(flatten)]
    pub reason: CaseContent,
}

/// Messages that are echoed one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roundtrips {
    /// How many.
    pub count: usize,
    /// How many with `--full`, where that is another number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<usize>,
    /// Each of them. What is `generated` goes on from message to message.
    pub message: CaseMessage,
}

/// What may be received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// `OK` or `NON-STRICT`.
    pub verdict: super::result::Behavior,
    /// What is received, in order, and nothing else. Echoes of `roundtrips` are not
    /// listed: they are compared as they arrive.
    #[serde(default)]
    pub events: Vec<CaseEvent>,
    /// What may be received any number of times, and is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<EventKind>,
    /// Where the verdict is not OK: the level of what is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Its section, where it is not that of the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
}

/// One thing that is received, or a pause that has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseEvent {
    /// What it is.
    pub kind: EventKind,
    /// Its payload.
    #[serde(flatten)]
    pub content: CaseContent,
    /// The name of the pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}

/// What is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// A pause has passed and the connection is open.
    Mark,
}

/// How the connection must be closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Which end starts the closing handshake.
    pub by: CloseEnd,
    /// The codes that the peer may send; a close without a code is always right, and
    /// any code where there are none. Where the tester starts, it sends the first.
    #[serde(default)]
    pub codes: Vec<u16>,
    /// Whether the closing handshake must be finished (RFC 6455 section 7.1.4).
    pub clean: bool,
    /// Whether the tester closes by itself once the events have arrived; `false`
    /// where a step does.
    #[serde(default = "yes")]
    pub automatic: bool,
    /// Whether the case fails where the wrong end starts: the peer saw nothing
    /// wrong.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wrong_end_fails: bool,
    /// Whether the case fails where the code is wrong.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wrong_code_fails: bool,
    /// Whether the case fails where nothing of an outcome has arrived at the deadline
    /// and the peer has not closed: it hangs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub silence_fails: bool,
    /// Whether a server must still echo on a second connection, made behind the first
    /// one; clients are not asked for one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub serves_on: bool,
    /// How bad a wrong closing is; as the case where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// How bad a wrong code is; as a wrong closing where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_level: Option<Level>,
    /// The section that says so, where it is not that of the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseEnd {
    /// The tester.
    Tester,
    /// The peer that is tested.
    Peer,
    /// It does not matter.
    Either,
}

fn rfc6455() -> String {
    "rfc6455".to_owned()
}

fn one_second() -> u64 {
    1000
}

fn yes() -> bool {
    true
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
