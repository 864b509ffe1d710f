//! The conversation of a case, explained: what each octet is, and what probably
//! went wrong.

use heirloom::Side;
use heirloom::conform::CaseResult;
use heirloom::explain::{Explainer, Explanation, Outcome, Part, PartKind};
use heirloom::vector::hex;

/// The most parts of a conversation that are shown where something is wrong.
pub(super) const MAX_PARTS: usize = 80;
/// Octets of a part that stand in one line.
const LINE_OCTETS: usize = 24;
/// Lines of a head, and columns of each, that stand below a failure.
const HEAD_LINES: usize = 12;
const HEAD_COLUMNS: usize = 120;
/// Frames of a conversation that stand below a failure.
const MAX_FRAMES: usize = 6;

/// Explains a conversation; `secure` is whether it ran inside TLS.
pub(super) fn explained(result: &CaseResult, secure: bool) -> Explanation {
    let mut explainer = Explainer::new(secure);
    for step in &result.conversation {
        match (step.end, step.octets()) {
            (Some(_), _) if result.is_cut => {} // what came before is not there
            (Some(_), _) => explainer.end(step.from),
            (None, Ok(octets)) => explainer.feed(step.from, &octets),
            (None, Err(_)) => break, // the tester writes no such step
        }
    }
    explainer.finish()
}

/// Leaves `most` parts of a long conversation, without its middle; gives how many are
/// out.
pub(super) fn shortened(explanation: &mut Explanation, most: usize) -> usize {
    let parts = &mut explanation.parts;
    let Some(out @ 1..) = parts.len().checked_sub(most) else {
        return 0;
    };
    let half = most / 2;
    parts.drain(half..half + out);
    if let Some(place) = &mut explanation.verdict.place {
        place.part = match place.part {
            Some(part) if part < half => Some(part),
            Some(part) => part.checked_sub(out).filter(|part| *part >= half),
            None => None,
        };
    }
    out
}

/// What the explanation says about a failure: a label and a sentence. `why` is what
/// the case says of its purpose.
pub(super) fn cause(
    explanation: &Explanation,
    tested: Side,
    why: Option<&str>,
) -> Option<(&'static str, String)> {
    let verdict = &explanation.verdict;
    let of_peer = verdict.place.is_none_or(|place| place.from == tested);
    match verdict.outcome {
        // The tester breaks rules in order to see what the peer does.
        Outcome::Broken if !of_peer => {
            let kind = |at: usize| explanation.parts.get(at).map(|part| part.kind);
            let place = verdict.place.as_ref().and_then(|place| place.part);
            // Of a request the sentence is about the server that explains it, and the
            // title of the case says what is wrong.
            let is_request = place.and_then(kind) == Some(PartKind::Request);
            let sentence = || (!is_request).then(|| verdict.sentence.clone());
            let said = why.map(str::to_owned).or_else(sentence)?;
            Some(("sent on purpose", said))
        }
        Outcome::Broken | Outcome::Refused => {
            let cause = verdict.cause.clone();
            Some((
                "likely cause",
                cause.unwrap_or_else(|| verdict.sentence.clone()),
            ))
        }
        _ => None,
    }
}

/// What matters, one line for each part, with an arrow from the client or to it:
/// the octets of the last frames, or the lines of the answer where there are none.
pub(super) fn octets(explanation: &Explanation, tested: Side) -> Vec<(Side, String)> {
    let parts = &explanation.parts;
    let is_handshake = |part: &Part| {
        matches!(
            part.kind,
            PartKind::Request | PartKind::Response | PartKind::Key3 | PartKind::Digest
        )
    };
    let mut frames: Vec<&Part> = parts.iter().filter(|part| !is_handshake(part)).collect();
    let has_spoken = |part: &&Part| part.from == tested && part.kind != PartKind::After;
    let mut lines = Vec::new();
    if !frames.iter().any(has_spoken) {
        // It never sent a frame: what it said in the handshake tells more, and more
        // than the page behind it.
        let mut own = parts.iter().filter(|part| part.from == tested);
        let is_head = |part: &&Part| matches!(part.kind, PartKind::Request | PartKind::Response);
        let head = own.rfind(is_head).or(parts.iter().rfind(has_spoken));
        if let Some(head) = head {
            frames.retain(|part| part.from != tested);
            lines.extend(head_lines(head));
        }
    }
    let (_, last) = frames.split_at(frames.len().saturating_sub(MAX_FRAMES));
    lines.extend(last.iter().map(|part| line(part)));
    lines
}

/// The first lines of a head, or the octets of what has none.
fn head_lines(part: &Part) -> Vec<(Side, String)> {
    if !matches!(part.kind, PartKind::Request | PartKind::Response) {
        return vec![line(part)];
    }
    let text = String::from_utf8_lossy(&part.raw);
    let mut shown: Vec<(Side, String)> = Vec::new();
    let lines = text.lines().filter(|line| !line.is_empty());
    for (number, line) in lines.enumerate() {
        if number == HEAD_LINES {
            shown.push((part.from, "…".to_owned()));
            break;
        }
        let (cut, more) = match line.char_indices().nth(HEAD_COLUMNS) {
            Some((end, _)) => (line.get(..end).unwrap_or(line), " …"),
            None => (line, ""),
        };
        shown.push((part.from, format!("{cut}{more}")));
    }
    shown
}

fn line(part: &Part) -> (Side, String) {
    let shown = part.raw.get(..LINE_OCTETS).unwrap_or(&part.raw);
    let more = match part.octets.saturating_sub(shown.len() as u64) {
        0 => String::new(),
        more => format!(" … {more} more"),
    };
    let (at, title) = (part.at, part.title());
    (
        part.from,
        format!("octet {at}, {title}: {}{more}", hex(shown)),
    )
}
