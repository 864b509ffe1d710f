//! What the three reserved bits say.

use super::header_words::FieldWords;
use super::part::Part;
use super::section::About;
use crate::extension::Deflate;
use crate::trace::Field;

/// The reserved bits of a frame in words.
pub(super) fn reserved_words(part: &Part, value: u64) -> FieldWords {
    let frames = About::Frames(part.from);
    let Some(deflate) = part.coded.deflate else {
        let words = match value {
            0 => "reserved for extensions; 0, because none was agreed".to_owned(),
            _ => without_meaning(value),
        };
        return (words, Some(frames));
    };
    match value {
        4 => (compressed(part, deflate).to_owned(), part.coded.about()),
        0 => (uncompressed(part, deflate).to_owned(), part.coded.about()),
        _ => (without_meaning(value & 3), Some(frames)),
    }
}

/// RSV1 is set.
fn compressed(part: &Part, deflate: Deflate) -> &'static str {
    match part.value(Field::Opcode) {
        Some(1 | 2) if !deflate.is_per_frame() => {
            "RSV1, compressed: the message that starts here is compressed as a whole"
        }
        Some(0..=2) if deflate.is_per_frame() => {
            "RSV1, compressed: the payload of this frame is compressed"
        }
        Some(0) => {
            "RSV1, compressed: but it stands on the first frame of a message only, and this one \
             continues it"
        }
        _ => "RSV1, compressed: but a control frame is never compressed",
    }
}

/// No bit is set.
fn uncompressed(part: &Part, deflate: Deflate) -> &'static str {
    match part.value(Field::Opcode) {
        Some(0) if part.coded.is_compressed => {
            "0: RSV1 stood on the first frame, and the message goes on compressed"
        }
        Some(0) if !deflate.is_per_frame() => "0: the message goes on uncompressed",
        Some(1 | 2) if !deflate.is_per_frame() => "RSV1 is 0: this message is not compressed",
        Some(0..=2) => "RSV1 is 0: this frame is not compressed",
        _ => "0: a control frame is never compressed",
    }
}

fn without_meaning(value: u64) -> String {
    let set: Vec<&str> = [(4, "RSV1"), (2, "RSV2"), (1, "RSV3")]
        .into_iter()
        .filter(|(bit, _)| value & bit != 0)
        .map(|(_, name)| name)
        .collect();
    let (are, them) = match set.len() {
        1 => ("is", "it"),
        _ => ("are", "them"),
    };
    let set = set.join(" and ");
    format!("{set} {are} set, but no agreed extension gives {them} a meaning")
}
