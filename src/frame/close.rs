//! Close frames: what their bodies say in each version.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::Violation;
use crate::version::{Closing, InvalidUtf8, Side, Version};

/// The body of a close frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason<'b> {
    /// The status code, where this version has codes and one was sent.
    pub code: Option<u16>,
    /// The reason. What is not UTF-8 is replaced by U+FFFD.
    pub text: Cow<'b, str>,
}

/// Normal closure (RFC 6455 section 7.4.1).
pub const NORMAL: u16 = 1000;
/// The endpoint is going away.
pub const GOING_AWAY: u16 = 1001;
/// No code was received; never on the wire.
pub const NO_STATUS: u16 = 1005;
/// A gateway got no proper answer from its backend.
pub const BAD_GATEWAY: u16 = 1014;

/// Reads the body of a close frame. An error comes with the octets of the body
/// in which it lies.
pub(crate) fn read<'b>(
    version: &Version,
    body: &'b [u8],
) -> Result<Reason<'b>, (Violation, Range<usize>)> {
    if version.closing != Closing::Hybi06 {
        // No code: a letter since hybi-05, anything before that.
        return Ok(Reason {
            code: None,
            text: String::from_utf8_lossy(body),
        });
    }
    let Some((code, text)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() {
            Ok(Reason::default())
        } else {
            Err((Violation::CloseBodyShort, 0..1))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_receive(version, code) {
        return Err((Violation::CloseCodeInvalid { code }, 0..2));
    }
    let text = match (core::str::from_utf8(text), version.invalid_utf8) {
        (Ok(text), _) => Cow::Borrowed(text),
        (Err(_), InvalidUtf8::Replace) => String::from_utf8_lossy(text),
        (Err(error), InvalidUtf8::Fail) => {
            let valid = 2 + error.valid_up_to();
            return Err((Violation::CloseReasonUtf8, valid..body.len()));
        }
    };
    Ok(Reason {
        code: Some(code),
        text,
    })
}

/// RFC 6455 section 7.4; 1004 meant "too large" before version 13.
fn may_receive(version: &Version, code: u16) -> bool {
    match code {
        1004 => !version.rfc_rules,
        _ => may_send(code),
    }
}

/// Whether a close frame of RFC 6455 may carry this code.
pub(crate) fn may_send(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The body of the close frame that starts the closing handshake. The reason is
/// cut between two characters to fit 123 octets.
pub(crate) fn body(version: &Version, from: Side, code: u16, reason: &str) -> Vec<u8> {
    match version.closing {
        Closing::Hixie75 | Closing::Hixie76 | Closing::Hybi01 => Vec::new(),
        Closing::Hybi05 => vec![letter(from)],
        Closing::Hybi06 => {
            let mut body = code_for(version, code).to_be_bytes().to_vec();
            body.extend_from_slice(cut(reason, 123).as_bytes());
            body
        }
    }
}

/// The body of the close frame that replies to one with the body `received`.
pub(crate) fn reply(version: &Version, from: Side, received: &[u8]) -> Vec<u8> {
    match version.closing {
        Closing::Hixie75 | Closing::Hixie76 => Vec::new(),
        // hybi-03 repeats the body, so that crossing closes can be told apart.
        Closing::Hybi01 => received.to_vec(),
        Closing::Hybi05 => vec![letter(from)],
        Closing::Hybi06 => received.iter().copied().take(2).collect(),
    }
}

/// hybi-05: the first octet names the sender.
fn letter(from: Side) -> u8 {
    match from {
        Side::Client => b'C',
        Side::Server => b'S',
    }
}

/// The code as a peer of this version knows it: before 13 there were 1000 to
/// 1004, and 1007 since hybi-10.
#[must_use]
pub fn code_for(version: &Version, code: u16) -> u16 {
    if version.rfc_rules {
        return code;
    }
    match code {
        1009 => 1004,
        1007 if version.checks_text() => 1007,
        1007 => 1002,
        1008 => 1003,
        1010 => 1002,
        1011..=1014 => 1001,
        _ => code,
    }
}

/// As many whole characters as fit.
fn cut(text: &str, octets: usize) -> &str {
    let mut end = text.len().min(octets);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end).0
}
