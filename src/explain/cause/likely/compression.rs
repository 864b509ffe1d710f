//! What is wrong with compression.

use super::super::{Case, FaultKind};
use super::frame::{frame, hixie_frames, rfc_frames};
use super::look::is;
use crate::error::Violation;
use crate::explain::follow::inflates_on;
use crate::explain::inflated::Inflated;
use crate::explain::part::Part;
use crate::explain::text::{hex, shown};
use crate::extension::{Codecs, Exceeded, Inflater, TAIL, known};
use crate::trace::Field;

/// An extension that was agreed and that is not spoken here.
pub(super) fn extension_agreed(case: &Case<'_>) -> Option<String> {
    let (does, violation) = match case.fault.map(|fault| fault.kind) {
        None if case.stopped => ("which changes what is not parsed", None),
        Some(FaultKind::Violation(violation)) => {
            let does = match violation {
                Violation::ReservedBits => "which may give this bit a meaning",
                Violation::ReservedOpcode { .. } => "which may give this opcode a meaning",
                _ => "which may change what a frame holds",
            };
            (does, Some(violation))
        }
        _ => return None,
    };
    let agreed = case.foreign_extension(violation)?;
    let about = match known(agreed.name) {
        Some(known) => format!(" ({})", known.about),
        None => String::new(),
    };
    Some(format!(
        "Both sides agreed on {}{about}, {does}. Nothing need be wrong: this program does not have \
         that extension{}, so its explanation stops here.",
        shown(agreed.name.as_bytes(), 80),
        match known(agreed.name) {
            Some(known) if known.is_spoken => " in this version",
            _ => "",
        }
    ))
}

/// The most octets that a message is believed to have.
const BELIEVED: u64 = 1 << 40;

/// A message that is larger than what is explained, whatever its receiver takes.
pub(super) fn too_big_to_explain(case: &Case<'_>) -> Option<String> {
    let FaultKind::Violation(Violation::MessageTooBig { limit }) = case.fault?.kind else {
        return None;
    };
    // A length that is none: the frame is one of another version, or no frame.
    let length = frame(case).and_then(|part| part.value(Field::Length64));
    let is_no_length = length.is_some_and(|length| length > BELIEVED);
    let is_other = is_no_length || hixie_frames(case).is_some() || rfc_frames(case).is_some();
    let inflated = frame(case).and_then(|part| part.inflated.as_deref());
    let inflated = inflated.filter(|inflated| inflated.plain.octets > limit);
    let became = inflated.map_or(String::new(), |inflated| {
        format!(
            ": {} octets became {} when that was passed",
            inflated.compressed.octets, inflated.plain.octets
        )
    });
    (case.own_limit && !is_other).then(|| {
        format!(
            "A message is explained up to {limit} octets{became}. That limit is no rule of \
             WebSocket: nothing need be wrong."
        )
    })
}

/// Compressed frames without the handshake that gives RSV1 its meaning.
pub(super) fn handshake_missing(case: &Case<'_>) -> Option<String> {
    is(case, "reserved-bits")?;
    let rsv1 = frame(case)?.value(Field::Reserved)? & 4 != 0;
    (case.no_handshake && rsv1).then(|| {
        "RSV1 marks a compressed message or frame. Which compression was agreed on stands in the \
         handshake, which is not here."
            .to_owned()
    })
}

pub(super) fn bit_misplaced(case: &Case<'_>) -> Option<String> {
    is(case, "compressed-bit-misplaced")?;
    let from = case.fault?.from.name();
    Some(match frame(case)?.value(Field::Opcode)? {
        0 => format!(
            "The {from} sets RSV1 on every frame of a message. That is deflate-frame's way; \
             permessage-deflate sets it on the first frame alone."
        ),
        _ => format!(
            "The {from} sets RSV1 on a control frame: it compresses those too, or sets the bit on \
             every frame."
        ),
    })
}

pub(super) fn not_deflate(case: &Case<'_>) -> Option<String> {
    is(case, "compressed-data-invalid")?;
    let part = frame(case)?;
    let inflated = part.inflated.as_deref()?;
    let from = case.fault?.from.name();
    let octets = [inflated.compressed.kept.clone(), behind(case, part)].concat();
    let unit = inflated.unit();
    Some(match octets.as_slice() {
        [0x1f, 0x8b, ..] => {
            format!("The {unit} starts with 1f 8b: it is gzip, where raw DEFLATE is due.")
        }
        [a @ (0x58 | 0x68 | 0x78), b, ..]
            if u16::from_be_bytes([*a, *b]).checked_rem(31) == Some(0) =>
        {
            format!(
                "The {unit} starts with {}, the header of zlib: the {from} makes a zlib stream, where \
                 raw DEFLATE is due.",
                hex(&[*a, *b])
            )
        }
        octets if inflates_without_tail(case, part, octets) => format!(
            "The {unit} ends with {}, which a sender leaves out and a receiver puts back: the {from} \
             leaves it in. With the tail there twice the {unit} ends within the header of a stored \
             block. zlib inflates the {unit} all the same and fails at the next one, where a context \
             is kept.",
            hex(&TAIL)
        ),
        octets if keeps_context(case, part, inflated, octets) => format!(
            "Behind what the {from} sent before, the {unit} inflates: the {from} refers back to it \
             (context takeover), although it must not by what was agreed on."
        ),
        octets if is_text(octets) && inflated.compressed.is_whole() => format!(
            "The payload is text as it stands: the {from} sets RSV1 on a {unit} that it does not \
             compress."
        ),
        octets if is_unfinished(case, part, octets) => {
            let is_last = inflated.first_block().is_some_and(|block| block.bfinal);
            let why = if is_last {
                "its first block says that it is the last one (BFINAL), so the stream was ended where \
                 a flush is due, and its last four octets are not the tail that may be left out"
            } else {
                "it was not flushed to an octet, or more is missing at its end than the tail of four \
                 octets"
            };
            format!("All octets of the {unit} inflate, and it ends within a block: {why}.")
        }
        _ if inflated.first_block().is_some_and(|block| block.btype == 3) => format!(
            "The first block has the type 11, which DEFLATE does not have: the {unit} is not \
             compressed, or was compressed in another way."
        ),
        _ => format!(
            "The {unit} is not DEFLATE, or was changed or cut on the way; or it refers to octets that \
             were not sent."
        ),
    })
}

/// The payload of this frame behind the octet where it breaks: it is there, and was
/// not read.
fn behind(case: &Case<'_>, part: &Part) -> Vec<u8> {
    let is_next = |next: &&Part| next.from == part.from && next.at == part.end();
    let after = case.parts.iter().find(is_next);
    let (Some(after), Some(missing)) = (after, part.payload_missing()) else {
        return Vec::new();
    };
    let missing = usize::try_from(missing).unwrap_or(usize::MAX);
    let key = part.value(Field::MaskingKey).unwrap_or_default();
    let [.., a, b, c, d] = key.to_be_bytes();
    let read = usize::try_from(part.payload_octets()).unwrap_or_default();
    let key = [a, b, c, d]
        .into_iter()
        .cycle()
        .skip(read.checked_rem(4).unwrap_or_default());
    let octets = after.raw.iter().take(missing);
    octets.zip(key).map(|(octet, key)| octet ^ key).collect()
}

/// Whether the message inflates behind those before it, which a sender that starts
/// anew must not refer to.
fn keeps_context(case: &Case<'_>, part: &Part, broken: &Inflated, octets: &[u8]) -> bool {
    if !broken.deflate.of(part.from).no_context_takeover {
        return false;
    }
    let mut codecs = Codecs::default();
    let mut inflater = codecs.inflater();
    let has_before = read_before(case, part, &mut inflater);
    has_before == Some(true) && inflates_on(&mut inflater, octets, MOST_OCTETS, false)
}

/// Has the inflater read what the sender of this frame sent before it; whether there
/// was any. `None` where not all of it was kept.
fn read_before(case: &Case<'_>, part: &Part, inflater: &mut Inflater) -> Option<bool> {
    let own = case.parts.iter().filter(|before| before.from == part.from);
    let before = own.take_while(|before| before.at < part.at);
    let mut before = before.filter_map(|before| before.inflated.as_deref());
    before.try_fold(false, |_, message| {
        let is_whole = message.is_whole && message.compressed.is_whole();
        let kept = &message.compressed.kept;
        (is_whole && inflates_on(inflater, kept, message.plain.octets, true)).then_some(true)
    })
}

/// Whether these octets inflate as the payload of this frame; `ends` is whether they
/// are all of it.
fn inflates_as(case: &Case<'_>, part: &Part, octets: &[u8], ends: bool) -> bool {
    let mut codecs = Codecs::default();
    let mut inflater = codecs.inflater();
    let coding = part.coded.deflate.map(|deflate| deflate.of(part.from));
    let keeps_context = coding.is_some_and(|coding| !coding.no_context_takeover);
    if keeps_context && read_before(case, part, &mut inflater).is_none() {
        return false;
    }
    inflates_on(&mut inflater, octets, MOST_OCTETS, ends)
}

/// Whether the sender left the tail where it is.
fn inflates_without_tail(case: &Case<'_>, part: &Part, octets: &[u8]) -> bool {
    let is_read = is_read(part);
    octets
        .strip_suffix(&TAIL)
        .is_some_and(|stripped| is_read && inflates_as(case, part, stripped, true))
}

/// Whether nothing is wrong with the octets, but that they end where they must not.
fn is_unfinished(case: &Case<'_>, part: &Part, octets: &[u8]) -> bool {
    is_read(part) && inflates_as(case, part, octets, false)
}

/// Whether all of the message was read, and kept.
fn is_read(part: &Part) -> bool {
    let inflated = part.inflated.as_deref();
    let is_kept = inflated.is_some_and(|inflated| inflated.compressed.is_whole());
    is_kept && part.payload_missing() == Some(0)
}

pub(super) fn window_exceeded(case: &Case<'_>) -> Option<String> {
    is(case, Exceeded::CODE)?;
    let FaultKind::Beyond(beyond) = case.fault?.kind else {
        return None;
    };
    let part = frame(case)?;
    let from = part.from.name();
    let to = match (beyond.is_to_earlier, part.coded.deflate?.is_per_frame()) {
        (true, true) => ", to a frame before this one",
        (true, false) => ", to a message before this one",
        (false, _) => "",
    };
    Some(format!(
        "The {from} agrees to refer back at most {} octets and refers {} back{to}: its compressor \
         was not given the window. A receiver with a larger one does not notice; one that has the \
         window that was agreed on, and no more, fails.",
        beyond.window, beyond.distance
    ))
}

/// Octets to which a broken message is inflated at most.
const MOST_OCTETS: u64 = 1024 * 1024;

/// Whether octets are text that was not compressed.
fn is_text(octets: &[u8]) -> bool {
    let is_visible = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | 0x20..=0x7e);
    octets.len() > 3 && octets.iter().all(is_visible)
}

pub(super) fn inflates_too_far(case: &Case<'_>) -> Option<String> {
    is(case, "message-too-big")?;
    let inflated = frame(case)?.inflated.as_deref()?;
    let sent = inflated.compressed.octets;
    let came = inflated.plain.octets;
    Some(format!(
        "The message is small as it is sent and large when it is inflated: {sent} octets became \
         {came} when the limit was passed."
    ))
}
