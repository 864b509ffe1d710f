//! What each field is, in words: one `match` over fields, so that the compiler
//! asks for the words of a new one.

use std::fmt::Write;

use super::header_words::{FieldWords, header_words};
use super::part::{Part, PartKind, Seen};
use super::rsv::reserved_words;
use super::section::{About, section};
use super::text::{count, hex, shown};
use crate::frame::{Control, Kind, Opcode};
use crate::trace::Field;
use crate::version::{Challenge, Closing, Layout, Side, Version};

/// A field of a part, with its words. All of its text is safe for a terminal and
/// for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The position of its first octet in this side's stream.
    pub at: u64,
    /// How many octets it lies in.
    pub octets: u64,
    /// The bits it fills in them, 0 being the most significant.
    pub bits: std::ops::Range<u8>,
    /// The stable name of the field.
    pub field: &'static str,
    /// Its value: text, a number, or octets in hex where there is no reading.
    pub value: String,
    /// Whether it decided anything.
    pub role: Role,
    /// What it is.
    pub words: String,
    /// The section of the document; empty where none is needed.
    pub section: String,
    /// Whether the octets ended inside it.
    pub cut: bool,
}

/// Whether a field decided anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The parse looked at it.
    Decides,
    /// The parse passed over it.
    Ignored,
    /// It was not parsed, or cannot be read.
    Unread,
}

impl Role {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Decides => "decides",
            Role::Ignored => "ignored",
            Role::Unread => "unread",
        }
    }
}

/// The stable name of a field.
#[must_use]
pub fn field_name(field: Field) -> &'static str {
    match field {
        Field::Method => "method",
        Field::Target => "target",
        Field::HttpVersion => "http-version",
        Field::Status => "status",
        Field::Reason => "reason",
        Field::Space => "space",
        Field::HeaderName => "header-name",
        Field::HeaderValue => "header-value",
        Field::IgnoredName => "ignored-name",
        Field::IgnoredValue => "ignored-value",
        Field::Separator => "separator",
        Field::LineEnd => "line-end",
        Field::HeadEnd => "head-end",
        Field::Unreadable => "unreadable",
        Field::Stray => "stray",
        Field::Key3 => "key3",
        Field::Digest => "digest",
        Field::FrameType => "frame-type",
        Field::LengthDigit => "length-digit",
        Field::Terminator => "terminator",
        Field::More => "more",
        Field::Fin => "fin",
        Field::Reserved => "rsv",
        Field::Reserved4 => "rsv4",
        Field::Opcode => "opcode",
        Field::Mask => "mask",
        Field::Length7 => "length-7",
        Field::Length16 => "length-16",
        Field::Length64 => "length-64",
        Field::MaskingKey => "masking-key",
        Field::FrameNonce => "frame-nonce",
        Field::Payload => "payload",
        Field::Skipped => "skipped",
        Field::ControlPayload => "control-payload",
        Field::CloseCode => "close-code",
        Field::CloseReason => "close-reason",
        Field::AfterEnd => "after-end",
        Field::Key => "key",
        Field::KeyDigits => "key-digits",
        Field::KeySpaces => "key-spaces",
        Field::KeyNumber => "key-number",
        Field::DigestInput => "digest-input",
        Field::AcceptInput => "accept-input",
        Field::AcceptDigest => "accept-digest",
        Field::Proof => "proof",
        Field::SecretInput => "secret-input",
        Field::Secret => "secret",
        Field::FrameKeyInput => "frame-key-input",
        Field::FrameKey => "frame-key",
        Field::Inflated => "inflated",
    }
}

impl Part {
    /// What it is, in a few words.
    #[must_use]
    pub fn title(&self) -> String {
        title(self)
    }

    /// Each field with its words, in order.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        let mut header = Vec::new();
        let mut items = Vec::with_capacity(self.spans.len());
        for (n, seen) in self.spans.iter().enumerate() {
            if matches!(seen.span.field, Field::HeaderName | Field::IgnoredName) {
                header = self.raw_of(&seen.span).to_vec();
            }
            let (words, about) = words(self, seen, n, &header);
            items.push(Item {
                at: seen.span.at.start,
                octets: seen.span.at.end - seen.span.at.start,
                bits: seen.span.bits.clone(),
                field: field_name(seen.span.field),
                value: value(self, seen),
                role: role(seen.span.field),
                words,
                section: about.map_or(String::new(), |about| section(self.version, about)),
                cut: seen.cut,
            });
        }
        items
    }
}

fn title(part: &Part) -> String {
    let name = part.version.map_or("", |v| v.name);
    let cut = if part.missing.is_some() {
        ", cut off"
    } else {
        ""
    };
    match part.kind {
        PartKind::Request if name.is_empty() => format!("request{cut}"),
        PartKind::Request => format!("request of {name}{cut}"),
        PartKind::Response => {
            let status = part.span(Field::Status);
            let status = status.map_or(String::new(), |seen| {
                format!(" {}", shown(part.raw_of(&seen.span), 20))
            });
            format!("response{status}{cut}")
        }
        PartKind::Key3 => format!("the third key{cut}"),
        PartKind::Digest => format!("the digest{cut}"),
        PartKind::Stray => "white space".to_owned(),
        PartKind::After => "not parsed".to_owned(),
        PartKind::Unreadable => format!("unreadable{cut}"),
        PartKind::Frame => format!("{}{cut}", frame_title(part)),
    }
}

fn frame_title(part: &Part) -> String {
    let octets = part.payload_octets();
    let octets = count(octets);
    if let Some(kind) = part.value(Field::FrameType) {
        return match kind {
            0xff if is_close(part) => "close".to_owned(),
            0 => format!("text frame, {octets}"),
            _ => format!("frame of type {kind:02X}, {octets}"),
        };
    }
    let Some(opcode) = part.value(Field::Opcode) else {
        return "frame".to_owned();
    };
    let mut title = format!("{} frame", opcode_name(part, opcode));
    if part.coded.is_compressed {
        title.push_str(", compressed");
    }
    if part.is_masked() {
        title.push_str(", masked");
    }
    if !is_last(part) {
        title.push_str(", to be continued");
    }
    let _ = write!(title, ", {octets}");
    if let Some(inflated) = &part.inflated {
        let _ = write!(title, ", {} inflated", inflated.plain.octets);
    }
    if let Some(code) = part.value(Field::CloseCode) {
        let _ = write!(title, ", code {code}");
    }
    title
}

/// Whether it is FF 00 in a version where that is a close.
fn is_close(part: &Part) -> bool {
    let length = part
        .spans
        .iter()
        .filter(|s| s.span.field == Field::LengthDigit);
    let zero = length.clone().all(|s| s.span.value == 0) && length.count() > 0;
    zero && part.version.is_some_and(|v| v.closing == Closing::Hixie76)
}

fn opcode(part: &Part, number: u64) -> Option<Opcode> {
    let layout = part.version?.layout;
    Opcode::numbered(u8::try_from(number).ok()?, layout).ok()
}

fn opcode_name(part: &Part, number: u64) -> &'static str {
    match opcode(part, number) {
        Some(Opcode::Continuation) => "continuation",
        Some(Opcode::Data(Kind::Text)) => "text",
        Some(Opcode::Data(Kind::Binary)) => "binary",
        Some(Opcode::Control(Control::Close)) => "close",
        Some(Opcode::Control(Control::Ping)) => "ping",
        Some(Opcode::Control(Control::Pong)) => "pong",
        None => "reserved",
    }
}

fn is_last(part: &Part) -> bool {
    match part.value(Field::More) {
        Some(more) => more == 0,
        None => part.value(Field::Fin) != Some(0),
    }
}

fn role(field: Field) -> Role {
    match field {
        Field::IgnoredName | Field::IgnoredValue | Field::Skipped | Field::Stray => Role::Ignored,
        Field::Unreadable | Field::AfterEnd => Role::Unread,
        _ => Role::Decides,
    }
}

/// The maximum number of characters of a value that are shown; the octets
/// beyond are counted.
const SHOWN: usize = 200;

fn value(part: &Part, seen: &Seen) -> String {
    let span = &seen.span;
    let raw = part.raw_of(span);
    let long = span.at.end - span.at.start > raw.len() as u64;
    let more = if long {
        " (and more than was kept)"
    } else {
        ""
    };
    match span.field {
        Field::Method
        | Field::Target
        | Field::HttpVersion
        | Field::Status
        | Field::Reason
        | Field::HeaderName
        | Field::HeaderValue
        | Field::IgnoredName
        | Field::IgnoredValue
        | Field::Unreadable
        | Field::Stray
        | Field::AfterEnd => format!("{}{more}", shown(raw, SHOWN)),
        Field::Payload | Field::Skipped | Field::ControlPayload | Field::CloseReason => {
            format!("{}{more}", shown(part.plain_of(span), SHOWN))
        }
        Field::Space | Field::Separator | Field::LineEnd | Field::HeadEnd => shown(raw, 20),
        Field::Key3 | Field::Digest | Field::MaskingKey | Field::FrameNonce => hex(raw),
        Field::FrameType | Field::Terminator => format!("0x{:02x}", span.value),
        Field::Opcode => format!("0x{:x}", span.value),
        _ if seen.cut => String::new(),
        _ => span.value.to_string(),
    }
}

fn words(part: &Part, seen: &Seen, n: usize, header: &[u8]) -> FieldWords {
    let span = &seen.span;
    let (from, version) = (part.from, part.version);
    let head = match part.kind {
        PartKind::Request => About::Request,
        PartKind::Response => About::Response,
        _ => About::Http,
    };
    let frames = About::Frames(from);
    let (words, about): (&str, _) = match span.field {
        Field::Method => ("the method, which must be GET", Some(head)),
        Field::Target => ("the target, a path of the server", Some(head)),
        Field::HttpVersion if from == Side::Client => {
            ("the version of HTTP, which must be 1.1", Some(head))
        }
        Field::HttpVersion => ("the version of HTTP", Some(head)),
        Field::Status if part.raw_of(span) == b"101" => {
            ("the protocol changes behind this head", Some(head))
        }
        Field::Status => ("no upgrade: only 101 changes the protocol", Some(head)),
        Field::Reason => (reason(version), Some(head)),
        Field::Space => ("a space", None),
        Field::HeaderName => ("the name of a header that was looked at", None),
        Field::IgnoredName => ("the name of a header that decides nothing", None),
        Field::HeaderValue => return header_words(part, header, true),
        Field::IgnoredValue => return header_words(part, header, false),
        Field::Separator if n > 0 && is_value(part, n - 1) => {
            ("white space behind the value, which does not count", None)
        }
        Field::Separator => ("a colon, and white space that does not count", None),
        Field::LineEnd => ("CR LF ends the line", None),
        Field::HeadEnd => ("the empty line that ends the head", None),
        Field::Unreadable => return (unreadable(part, seen), None),
        Field::Key3 => (
            "the third key: eight random octets behind the head. No header announces them, so a \
             proxy that knows only HTTP does not know that they belong to the request",
            Some(About::Proof),
        ),
        Field::Digest => (
            "the proof: MD5 over both numbers and the third key. Only a server that has read all \
             three keys can compute it",
            Some(About::Proof),
        ),
        Field::FrameType => return (frame_type(part, span.value), Some(frames)),
        Field::LengthDigit => (
            "seven bits of the length; a set top bit says that more follow",
            Some(frames),
        ),
        Field::Terminator => ("ends the text: FF occurs nowhere in UTF-8", Some(frames)),
        Field::More if span.value == 0 => {
            ("MORE is 0: the last frame of its message", Some(frames))
        }
        Field::More => (
            "MORE is 1: more frames of this message follow",
            Some(frames),
        ),
        Field::Fin if span.value == 0 => {
            ("FIN is 0: more frames of this message follow", Some(frames))
        }
        Field::Fin => ("FIN is 1: the last frame of its message", Some(frames)),
        Field::Reserved => return reserved_words(part, span.value),
        Field::Reserved4 if span.value == 0 => {
            ("reserved, must be 0; hybi-07 made it MASK", Some(frames))
        }
        Field::Reserved4 => (
            "reserved, but 1; in hybi-07 and later this bit is MASK",
            Some(frames),
        ),
        Field::Opcode => {
            return (
                opcode_words(part, span.value),
                Some(opcode_about(part, span.value)),
            );
        }
        Field::Mask => (mask_words(from, span.value), Some(About::Masking)),
        Field::Length7 => return (length_7(span.value), Some(frames)),
        Field::Length16 => (
            "the length, in two octets, most significant first",
            Some(frames),
        ),
        Field::Length64 => (
            "the length, in eight octets, most significant first",
            Some(frames),
        ),
        Field::MaskingKey => (masking_key(version), Some(About::Masking)),
        Field::FrameNonce => (
            "a nonce, new for each frame: SHA-1 over it and the key of the connection gives the \
             20 octets that mask this frame, header included",
            Some(About::Masking),
        ),
        Field::Payload if part.coded.is_compressed => {
            return (payload(part, seen), part.coded.about());
        }
        Field::Payload => return (payload(part, seen), Some(frames)),
        Field::Skipped => ("read and discarded", Some(frames)),
        Field::ControlPayload
            if part.value(Field::Opcode).and_then(|o| opcode(part, o))
                == Some(Opcode::Control(Control::Ping)) =>
        {
            ("the pong must carry the same octets", Some(About::Control))
        }
        Field::ControlPayload => (
            "the octets of the ping that this answers",
            Some(About::Control),
        ),
        Field::CloseCode => {
            // Codes that were registered later are not in the RFC.
            let about = match span.value {
                1012..=1014 => None,
                _ => Some(About::CloseCodes),
            };
            return (close_code(span.value), about);
        }
        Field::CloseReason => return (close_reason(part), Some(About::Closing(from))),
        Field::Stray => {
            let words = "belongs neither to the handshake nor to a frame; some servers send it, \
                         and it is skipped";
            return ((words.to_owned()), None);
        }
        Field::AfterEnd => return (after_end(part), None),
        Field::Key
        | Field::KeyDigits
        | Field::KeySpaces
        | Field::KeyNumber
        | Field::DigestInput
        | Field::AcceptInput
        | Field::AcceptDigest
        | Field::Proof
        | Field::SecretInput
        | Field::Secret
        | Field::FrameKeyInput
        | Field::FrameKey
        | Field::Inflated => ("computed, not on the wire", Some(About::Proof)),
    };
    (words.to_owned(), about)
}

fn is_value(part: &Part, n: usize) -> bool {
    let field = part.spans.get(n).map(|seen| seen.span.field);
    matches!(field, Some(Field::HeaderValue | Field::IgnoredValue))
}

fn reason(version: Option<&Version>) -> &'static str {
    match version.map(|v| v.challenge) {
        Some(Challenge::Hixie75) => {
            "clients of hixie-75 compare it octet by octet: it must be `Web Socket Protocol \
             Handshake`, with Web Socket in two words"
        }
        _ => "for people; no client reads it",
    }
}

fn unreadable(part: &Part, seen: &Seen) -> String {
    let masked = part.version.is_some_and(|v| v.layout == Layout::Hybi04);
    if seen.cut {
        "the start of a head that is not finished".to_owned()
    } else if masked && part.from == Side::Client {
        "masked frames: their key is made of the request's key and of the nonce in the server's \
         response, and the response is missing"
            .to_owned()
    } else {
        "cannot be read".to_owned()
    }
}

fn after_end(part: &Part) -> String {
    let what = match part.from {
        Side::Client => "what the client sends after the end is not parsed",
        Side::Server => {
            "not parsed: the body of an HTTP response, or what the server sends after the end"
        }
    };
    what.to_owned()
}

fn frame_type(part: &Part, kind: u64) -> String {
    match kind {
        0 => "a text follows, up to the next FF".to_owned(),
        1..=0x7f => format!(
            "type {kind:02X} is not defined; like 00 it runs to the next FF{}",
            match part.version.map(|v| v.closing) {
                Some(Closing::Hixie75) if part.from == Side::Client => ", and counts as text",
                _ => ", and is discarded",
            }
        ),
        0xff if is_close(part) => "with length 0 it is a close".to_owned(),
        _ => format!(
            "the top bit says that a length follows; type {kind:02X} is not defined, so that many \
             octets are discarded"
        ),
    }
}

fn opcode_words(part: &Part, number: u64) -> String {
    let late = part.version.is_some_and(|v| v.layout == Layout::Hybi07);
    let name = opcode_name(part, number);
    let renumbered = if late {
        ""
    } else {
        "; hybi-07 gave the opcodes new numbers"
    };
    match opcode(part, number) {
        Some(Opcode::Continuation) => "continues the message".to_owned(),
        Some(Opcode::Data(Kind::Text)) => format!("starts a text{renumbered}"),
        Some(Opcode::Data(Kind::Binary)) => format!("starts a binary message{renumbered}"),
        Some(Opcode::Control(Control::Close)) => format!("closes the connection{renumbered}"),
        Some(Opcode::Control(Control::Ping)) => format!("asks the peer for a pong{renumbered}"),
        Some(Opcode::Control(Control::Pong)) => format!("answers a ping{renumbered}"),
        None => format!("{name}: no frame of this version has this number"),
    }
}

fn opcode_about(part: &Part, number: u64) -> About {
    match opcode(part, number) {
        Some(Opcode::Control(Control::Close)) => About::Closing(part.from),
        Some(Opcode::Control(Control::Ping | Control::Pong)) => About::Control,
        _ => About::Frames(part.from),
    }
}

fn mask_words(from: Side, value: u64) -> &'static str {
    match (from, value) {
        (Side::Client, 1) => "MASK is 1: a key follows, as in every frame of a client",
        (Side::Client, _) => "MASK is 0, but a client masks every frame",
        (Side::Server, 0) => "MASK is 0: a server masks nothing",
        (Side::Server, _) => "MASK is 1, but a server masks nothing",
    }
}

fn length_7(value: u64) -> String {
    match value {
        126 => "126 says that the length follows in two octets".to_owned(),
        127 => "127 says that the length follows in eight octets".to_owned(),
        0 => "no payload".to_owned(),
        1 => "octet of payload".to_owned(),
        _ => "octets of payload".to_owned(),
    }
}

fn masking_key(version: Option<&Version>) -> &'static str {
    match version.map(|v| v.layout) {
        Some(Layout::Hybi05) => {
            "the masking key, not masked itself and new for each frame: all that follows, header included, \
             is XORed with it, four octets at a time"
        }
        _ => {
            "the masking key, not masked itself and new for each frame: the payload is XORed with it, four \
             octets at a time"
        }
    }
}

fn payload(part: &Part, seen: &Seen) -> String {
    let octets = seen.span.at.end - seen.span.at.start;
    let opens = part.value(Field::FrameType).is_some();
    let kind = part.value(Field::Opcode).map(|o| opcode_name(part, o));
    let what = match kind {
        _ if opens => "the text, as UTF-8",
        Some("text") => "the text, as UTF-8",
        Some("binary") => "the octets",
        _ => "the next piece of the message",
    };
    let what = match (part.coded.is_compressed, part.coded.deflate) {
        (true, Some(deflate)) if deflate.is_per_frame() => "the payload of the frame, compressed",
        (true, _) if part.coded.continues || !is_last(part) => "a piece of the compressed message",
        (true, _) => "the message, compressed",
        (false, _) => what,
    };
    let masked = if part.is_masked() { ", masked" } else { "" };
    match part.missing {
        Some(0) => format!(
            "{what}{masked}; {} arrived, the end is missing",
            count(octets)
        ),
        Some(n) => format!("{what}{masked}; {} arrived, {n} missing", count(octets)),
        None => format!("{what}{masked}"),
    }
}

fn close_code(code: u64) -> String {
    let meaning = match code {
        1000 => "normal closure",
        1001 => "going away: the page was left, or the server stops",
        1002 => "protocol error: the peer broke a rule",
        1003 => "unsupported data: this kind of message is not accepted",
        1004 => "message too large up to hybi-12, reserved since then",
        1005 => "must not be sent: it stands for a close without a code",
        1006 => "must not be sent: it stands for an end without a close",
        1007 => "invalid payload: text that is not UTF-8",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "the server did not agree to an extension that the client needs",
        1011 => "internal error",
        1012 => "the server restarts",
        1013 => "try again later",
        1014 => "bad gateway: the backend sent an invalid response",
        1015 => "must not be sent: it stands for a failed TLS handshake",
        3000..=3999 => "registered for a library or framework",
        4000..=4999 => "private use, between these two programs",
        _ => "a code that must not be sent",
    };
    meaning.to_owned()
}

fn close_reason(part: &Part) -> String {
    match part.version.map(|v| v.closing) {
        Some(Closing::Hybi05) => "names the sender: C for client, S for server".to_owned(),
        Some(Closing::Hybi01) => {
            "has no meaning; the reply repeats it, so that two closes that cross can be told apart"
                .to_owned()
        }
        _ if part.value(Field::CloseCode).is_some() => "the reason, for people".to_owned(),
        _ => "half a code: a close frame has no body, or one of at least two octets".to_owned(),
    }
}
