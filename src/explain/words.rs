//! What each field is, in words: one `match` over fields, so that the compiler
//! asks for the words of a new one.

use std::fmt::Write;

use super::{Part, PartKind, Seen, shown};
use crate::frame::{Kind, Opcode};
use crate::trace::Field;
use crate::version::{Challenge, Closing, Layout, Side, Version};

/// A field of a part, with its words. All of its text is fit for a terminal or
/// a page of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The place of its first octet in this side's stream.
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
    /// The section that says so; empty where none needs to.
    pub section: String,
    /// Whether the octets ended inside it.
    pub cut: bool,
}

/// Whether a field decided anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It was looked at.
    Decides,
    /// It was passed over.
    Ignored,
    /// It is not read, or cannot be.
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
    }
}

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Request,
    Response,
    Proof,
    Frames(Side),
    Masking,
    Closing(Side),
    CloseCodes,
    Control,
    Http,
}

/// The section about this in the document of the version.
pub(super) fn section(version: Option<&Version>, about: About) -> String {
    let http = |section: &str| format!("RFC 9112 section {section}");
    let Some(version) = version else {
        return http("2.1");
    };
    let is_hixie = version.layout == Layout::Hixie75;
    let hixie = |section: &str| format!("{} section {section}", version.name);
    let rfc = match about {
        About::Http => return http("2.1"),
        About::Request if is_hixie => return hixie("4.1"),
        About::Response | About::Proof if is_hixie => return hixie("5.2"),
        About::Frames(from) | About::Closing(from) if is_hixie => {
            return hixie(if from == Side::Client { "5.3" } else { "4.2" });
        }
        About::Masking | About::CloseCodes | About::Control if is_hixie => return String::new(),
        // hybi-01 to -03 kept the handshake of hixie-76.
        About::Request | About::Response | About::Proof if version.has_body() => {
            return format!("{}, as hixie-76 section 5.2", version.name);
        }
        About::Request => "4.1",
        About::Response => "4.2.2",
        About::Proof => "1.3",
        About::Frames(_) => "5.2",
        About::Masking if matches!(version.layout, Layout::Hybi04 | Layout::Hybi05) => {
            return format!("{}, masking", version.name);
        }
        About::Masking => "5.3",
        About::Closing(_) => "5.5.1",
        About::CloseCodes => "7.4.1",
        About::Control => "5.5",
    };
    if version.is_rfc() {
        format!("RFC 6455 section {rfc}")
    } else {
        format!("{}, now RFC 6455 section {rfc}", version.name)
    }
}

/// What a part is, in a few words.
pub(super) fn title(part: &Part) -> String {
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
            let status = part.spans.iter().find(|s| s.span.field == Field::Status);
            let status = status.map(|s| shown(part.raw_of(&s.span), 20));
            format!("answer {}{cut}", status.unwrap_or_default())
        }
        PartKind::Key3 => format!("the third key{cut}"),
        PartKind::Digest => format!("the digest{cut}"),
        PartKind::After => "not parsed".to_owned(),
        PartKind::Unreadable => format!("unreadable{cut}"),
        PartKind::Frame => format!("{}{cut}", frame_title(part)),
    }
}

fn frame_title(part: &Part) -> String {
    let octets = part.payload_octets();
    let many = if octets == 1 { "octet" } else { "octets" };
    if let Some(kind) = part.value(Field::FrameType) {
        return match kind {
            0xff if is_close(part) => "goodbye".to_owned(),
            0 => format!("text frame, {octets} {many}"),
            _ => format!("frame of type {kind:02X}, {octets} {many}"),
        };
    }
    let Some(opcode) = part.value(Field::Opcode) else {
        return "frame".to_owned();
    };
    let mut title = format!("{} frame", opcode_name(part, opcode));
    if is_masked(part) {
        title.push_str(", masked");
    }
    if !is_last(part) {
        title.push_str(", to be continued");
    }
    let _ = write!(title, ", {octets} {many}");
    if let Some(code) = part.value(Field::CloseCode) {
        let _ = write!(title, ", code {code}");
    }
    title
}

/// Whether it is FF 00 in a version where that says goodbye.
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
        Some(Opcode::Close) => "close",
        Some(Opcode::Ping) => "ping",
        Some(Opcode::Pong) => "pong",
        None => "reserved",
    }
}

fn is_last(part: &Part) -> bool {
    match part.value(Field::More) {
        Some(more) => more == 0,
        None => part.value(Field::Fin) != Some(0),
    }
}

/// Whether what it says lies masked.
pub(super) fn is_masked(part: &Part) -> bool {
    part.value(Field::Mask) == Some(1)
        || part.value(Field::FrameNonce).is_some()
        || part.value(Field::MaskingKey).is_some()
}

/// Each field with its words.
pub(super) fn about(part: &Part) -> Vec<Item> {
    let mut header = Vec::new();
    let mut items = Vec::with_capacity(part.spans.len());
    for (n, seen) in part.spans.iter().enumerate() {
        let octets = part.raw_of(&seen.span);
        if matches!(seen.span.field, Field::HeaderName | Field::IgnoredName) {
            header = octets.to_vec();
        }
        let (words, about) = words(part, seen, n, &header);
        items.push(Item {
            at: seen.span.at.start,
            octets: seen.span.at.end - seen.span.at.start,
            bits: seen.span.bits.clone(),
            field: field_name(seen.span.field),
            value: value(part, seen),
            role: role(seen.span.field),
            words,
            section: about.map_or(String::new(), |about| section(part.version, about)),
            cut: seen.cut,
        });
    }
    items
}

fn role(field: Field) -> Role {
    match field {
        Field::IgnoredName | Field::IgnoredValue | Field::Skipped => Role::Ignored,
        Field::Unreadable | Field::AfterEnd => Role::Unread,
        _ => Role::Decides,
    }
}

/// No value is shown with more characters; the octets beyond are counted.
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

/// Octets in hex, with a space between.
pub(super) fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 3);
    for octet in octets {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "{octet:02x}");
    }
    text
}

type Words = (String, Option<About>);

fn words(part: &Part, seen: &Seen, n: usize, header: &[u8]) -> Words {
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
        Field::Target => ("what is asked for: a path of the server", Some(head)),
        Field::HttpVersion if from == Side::Client => {
            ("the version of HTTP, which must be 1.1", Some(head))
        }
        Field::HttpVersion => ("the version of HTTP", Some(head)),
        Field::Status if part.raw_of(span) == b"101" => {
            ("yes: from here on the protocol changes", Some(head))
        }
        Field::Status => ("no: only 101 lets the protocol change", Some(head)),
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
            "the proof: MD5 over both numbers and the third key. Whoever did not read all three \
             keys cannot know it",
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
        Field::Reserved if span.value == 0 => {
            ("kept for extensions; 0, as none was agreed", Some(frames))
        }
        Field::Reserved => return (reserved(span.value), Some(frames)),
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
        Field::Payload => return (payload(part, seen), Some(frames)),
        Field::Skipped => ("read and thrown away", Some(frames)),
        Field::ControlPayload
            if part.value(Field::Opcode).and_then(|o| opcode(part, o)) == Some(Opcode::Ping) =>
        {
            ("the pong must carry the same octets", Some(About::Control))
        }
        Field::ControlPayload => ("what the ping carried", Some(About::Control)),
        Field::CloseCode => {
            // Of those registered later the RFC knows nothing but the range.
            let about = match span.value {
                1012..=1014 => None,
                _ => Some(About::CloseCodes),
            };
            return (close_code(span.value), about);
        }
        Field::CloseReason => return (close_reason(part), Some(About::Closing(from))),
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
        | Field::FrameKey => ("computed, not on the wire", Some(About::Proof)),
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
            "compared octet by octet by clients of hixie-75: it must be `Web Socket Protocol \
             Handshake`, in two words"
        }
        _ => "for people; no client needs it",
    }
}

fn unreadable(part: &Part, seen: &Seen) -> String {
    let masked = part.version.is_some_and(|v| v.layout == Layout::Hybi04);
    if seen.cut {
        "the begin of a head that is not finished".to_owned()
    } else if masked && part.from == Side::Client {
        "masked frames: hybi-04 makes their key of the request's key and of the nonce in the \
         server's answer, which is not here"
            .to_owned()
    } else {
        "cannot be read".to_owned()
    }
}

fn after_end(part: &Part) -> String {
    let what = match part.from {
        Side::Client => "what the client sends after the end is not parsed",
        Side::Server => {
            "not parsed: the body of an HTTP answer, or what the server sends after the end"
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
                _ => ", and is thrown away",
            }
        ),
        0xff if is_close(part) => "with length 0: goodbye".to_owned(),
        _ => format!(
            "the top bit says that a length follows; type {kind:02X} is not defined, so as many \
             octets are thrown away"
        ),
    }
}

fn reserved(value: u64) -> String {
    let which: Vec<&str> = [(4, "RSV1"), (2, "RSV2"), (1, "RSV3")]
        .into_iter()
        .filter(|(bit, _)| value & bit != 0)
        .map(|(_, name)| name)
        .collect();
    let which = which.join(" and ");
    format!("{which} set, though no extension was agreed that gives it a meaning")
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
        Some(Opcode::Continuation) => "goes on with the message before".to_owned(),
        Some(Opcode::Data(Kind::Text)) => format!("a text begins{renumbered}"),
        Some(Opcode::Data(Kind::Binary)) => format!("octets without a reading begin{renumbered}"),
        Some(Opcode::Close) => format!("goodbye{renumbered}"),
        Some(Opcode::Ping) => format!("are you there?{renumbered}"),
        Some(Opcode::Pong) => format!("I am here{renumbered}"),
        None => format!("{name}: no frame of this version has this number"),
    }
}

fn opcode_about(part: &Part, number: u64) -> About {
    match opcode(part, number) {
        Some(Opcode::Close) => About::Closing(part.from),
        Some(Opcode::Ping | Opcode::Pong) => About::Control,
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
            "the masking key, in clear and new for each frame: all that follows is XORed with it, \
             over and over, the header included"
        }
        _ => {
            "the masking key, in clear and new for each frame: the payload is XORed with it, over \
             and over"
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
    let masked = if is_masked(part) { ", masked" } else { "" };
    match part.missing {
        Some(0) => format!("{what}{masked}; {octets} octets are here and the end is not"),
        Some(n) => format!("{what}{masked}; {octets} octets are here and {n} are missing"),
        None => format!("{what}{masked}"),
    }
}

fn close_code(code: u64) -> String {
    let meaning = match code {
        1000 => "normal: done",
        1001 => "going away: a page is left, or a server stops",
        1002 => "the other side broke the protocol",
        1003 => "a kind of message that is not taken here",
        1004 => "too large, up to hybi-12; reserved since",
        1005 => "never on the wire: it stands for no code",
        1006 => "never on the wire: it stands for no goodbye",
        1007 => "text that is not UTF-8",
        1008 => "against a rule of this server",
        1009 => "a message that is too big",
        1010 => "an extension that the client needs is not there",
        1011 => "the server failed",
        1012 => "the server starts anew",
        1013 => "try again later",
        1014 => "a gateway got a bad answer",
        1015 => "never on the wire: it stands for a failed TLS handshake",
        3000..=3999 => "registered by a library or framework",
        4000..=4999 => "between these two programs",
        _ => "no code that may be sent",
    };
    meaning.to_owned()
}

fn close_reason(part: &Part) -> String {
    match part.version.map(|v| v.closing) {
        Some(Closing::Hybi05) => "names who speaks: C for client, S for server".to_owned(),
        Some(Closing::Hybi01) => {
            "means nothing; the answer repeats it, so that goodbyes that cross can be told apart"
                .to_owned()
        }
        _ if part.value(Field::CloseCode).is_some() => "the reason, for people".to_owned(),
        _ => "half a code: a goodbye has no body, or one of at least two octets".to_owned(),
    }
}

/// What a header is for, where we know it, and whether it decided.
fn header_words(part: &Part, name: &[u8], decides: bool) -> Words {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let request = part.kind == PartKind::Request;
    let version = part.version;
    let hixie = version.is_some_and(|v| v.number.is_none());
    let about = if request {
        About::Request
    } else {
        About::Response
    };
    let known: Option<(&str, About)> = match (name.as_str(), request) {
        ("upgrade", true) => Some(("asks to change to this protocol", about)),
        ("upgrade", false) => Some(("names the protocol that follows", about)),
        ("connection", true) => Some((
            "says that Upgrade is for the next hop: a proxy that does not know it drops both",
            about,
        )),
        ("connection", false) => Some(("says again that the connection changes", about)),
        ("host", true) => Some((
            if hixie {
                "the server as the client knows it; it comes back in the location"
            } else {
                "the server as the client knows it"
            },
            about,
        )),
        ("origin", true) => Some((
            if hixie {
                "the page that asks, written by the browser; it comes back in the answer"
            } else {
                "the page that asks, written by the browser"
            },
            about,
        )),
        ("sec-websocket-origin", true) => Some((
            "the page that asks; the name of Origin from hybi-04 to hybi-10",
            about,
        )),
        ("sec-websocket-origin" | "websocket-origin", false) => Some((
            "the origin, said back: it must be the one that was sent",
            about,
        )),
        ("sec-websocket-location" | "websocket-location", false) => Some((
            "the URL, said back: it must be the one that the client dialled, scheme and port \
             included",
            about,
        )),
        ("sec-websocket-key1" | "sec-websocket-key2", true) => Some((
            "a key of hixie-76: its digits make a number, and its spaces divide it",
            About::Proof,
        )),
        ("sec-websocket-key", true) if hixie => Some((
            "no header of this version. HAProxy 3.2 and later put it there; the numbered keys \
                 decide all the same",
            about,
        )),
        ("sec-websocket-key", true) => Some((
            "sixteen random octets in base64; the answer must prove that they were read",
            About::Proof,
        )),
        ("sec-websocket-accept", false) => Some((
            "the proof: only who read the key and knows the GUID can make it",
            About::Proof,
        )),
        ("sec-websocket-nonce", false) => Some((
            "hybi-04: the server's part of the key that masks all that the client sends",
            About::Masking,
        )),
        ("sec-websocket-version", true) => Some(("the version; it decides", about)),
        ("sec-websocket-version", false) => Some(("the versions that this server speaks", about)),
        ("sec-websocket-draft", true) => Some(("the draft; 1 to 3 mean hybi-03", about)),
        ("sec-websocket-protocol" | "websocket-protocol", true) => Some((
            if hixie {
                "the subprotocol asked for: one string, which must come back as it is"
            } else {
                "the subprotocols asked for, best first; one of them may come back"
            },
            about,
        )),
        ("sec-websocket-protocol" | "websocket-protocol", false) => {
            Some(("the subprotocol that was chosen", about))
        }
        ("sec-websocket-extensions", true) => Some(("the extensions that are offered", about)),
        ("sec-websocket-extensions", false) => Some(("the extensions that are agreed", about)),
        ("cookie", true) => Some(("what the server asked the browser to keep", About::Http)),
        ("user-agent", true) => Some(("which program asks", About::Http)),
        ("via", _) => Some(("a proxy was on the way and says so", About::Http)),
        ("x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "forwarded", true) => {
            Some(("put there by a proxy on the way", About::Http))
        }
        ("server", false) => Some(("which program answers", About::Http)),
        ("date", false) => Some(("when it was answered", About::Http)),
        ("content-length", true) if version.is_some_and(Version::has_body) => Some((
            "announces the eight octets behind the head; only few clients do",
            about,
        )),
        ("content-length", _) => Some(("how many octets the body has", About::Http)),
        ("content-type", false) => Some(("what the body is", About::Http)),
        _ => None,
    };
    match (known, decides) {
        (Some((words, about)), _) => (words.to_owned(), Some(about)),
        (None, true) => ("looked at".to_owned(), None),
        (None, false) => ("nothing for WebSocket".to_owned(), None),
    }
}
