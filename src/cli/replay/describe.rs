//! Which octet breaks which rule, in words.

use std::sync::Arc;

use heirloom::conn::Conn;
use heirloom::error::{Located, Violation};
use heirloom::vector::{Difference, hex};
use heirloom::{Config, Version};

use super::moves::head_len;
use super::passive::PassiveEndpoint;
use crate::cli::verdict::header_of;

/// Octets shown on each side of the one that differs.
const CONTEXT: usize = 24;
/// Octets shown of what was received.
const MAX_SHOWN: usize = 120;

/// What our own server, which speaks these subprotocols, sends to this request,
/// digest and all; empty where it would refuse.
pub(super) fn model(request: &[u8], spoken: Vec<String>, config: Arc<Config>) -> Vec<u8> {
    let mut endpoint = PassiveEndpoint::new(Conn::server(config), spoken);
    endpoint.receive(request, &mut |_: &mut [u8]| {});
    if endpoint.received.refusal.is_some() {
        return Vec::new();
    }
    endpoint.output
}

/// A violation in what was received: its code, its octet, what stands there and
/// what was expected.
pub(super) fn violation(
    located: &Located<Violation>,
    version: Option<&Version>,
    seen: &[u8],
    model: &[u8],
) -> Difference {
    let violation = located.error;
    let code = violation.code();
    let head = head_len(seen).unwrap_or(seen.len());
    let (head, body) = seen.split_at(head);
    let (model_head, model_body) = model.split_at(head_len(model).unwrap_or(model.len()));
    let found = Difference::default().at(located.at.start);
    let mut found = match violation.close_code() {
        None => found.in_field("head"),
        Some(_) => found.in_field("frame"),
    };
    found.seen = Some(shown(before(seen, located.at.end)));
    found.expected = Some(violation.to_string());
    let where_and_what = match violation {
        Violation::ResponseLines => {
            let lines = model_head.split_inclusive(|o| *o == b'\n').take(3);
            let want = lines.collect::<Vec<_>>().concat();
            found = found.in_field("lines").between(shown(&want), shown(head));
            difference(head.get(..want.len()).unwrap_or(head), &want, 0)
        }
        Violation::DigestMismatch => {
            let digest = body.get(..16).unwrap_or(body);
            found = found
                .in_field("digest")
                .between(hex(model_body), hex(digest));
            format!(
                "{}; the digest is {} and {} was expected",
                difference(digest, model_body, head.len()),
                hex(digest),
                hex(model_body)
            )
        }
        _ => match header_of(violation, version) {
            Some(name) => {
                let value = |head| {
                    let first = values(name, head).into_iter().next();
                    first.map(|(_, value)| shown(value))
                };
                found = found.in_field(name);
                (found.expected, found.seen) = (value(model_head), value(head));
                header(name, head, model_head)
            }
            None => {
                let at = located.at.start;
                format!("found at octet {at}, after {}", shown(before(seen, at)))
            }
        },
    };
    found.what = format!("{code}: {where_and_what} ({violation})");
    found
}

fn header(name: &str, head: &[u8], model: &[u8]) -> String {
    let want = values(name, model).into_iter().next();
    let found = values(name, head);
    let expected = match &want {
        Some((_, value)) => format!("{} was expected", shown(value)),
        None => "none was expected".to_owned(),
    };
    match (found.as_slice(), want) {
        ([], _) => format!(
            "the header {name} is missing from the {} octets of the head, and {expected}",
            head.len()
        ),
        ([(at, value)], Some((_, want))) => {
            format!("in {name}, {}", difference(value, want, *at))
        }
        ([(at, value)], None) => {
            format!("{name} at octet {at} is {}, and {expected}", shown(value))
        }
        ([_, (at, _), ..], _) => {
            format!("the header {name} is there again at octet {at}, and {expected} once")
        }
    }
}

/// The values of a header, each with the position of its first octet.
fn values<'h>(name: &str, head: &'h [u8]) -> Vec<(usize, &'h [u8])> {
    let mut at = 0;
    let mut found = Vec::new();
    for line in head.split_inclusive(|octet| *octet == b'\n') {
        let start = at;
        at += line.len();
        let Some(colon) = line.iter().position(|octet| *octet == b':') else {
            continue;
        };
        let (line_name, value) = line.split_at(colon);
        if line_name.eq_ignore_ascii_case(name.as_bytes()) {
            let (_, value) = value.split_at(1);
            let lead = value.len() - value.trim_ascii_start().len();
            found.push((start + colon + 1 + lead, value.trim_ascii()));
        }
    }
    found
}

/// The first octet that differs, in its context.
pub(super) fn difference(seen: &[u8], want: &[u8], start: usize) -> String {
    let at = want.iter().zip(seen).take_while(|(w, s)| w == s).count();
    let context = |octets: &[u8]| {
        let from = at.saturating_sub(CONTEXT);
        let to = octets.len().min(at + CONTEXT);
        shown(octets.split_at(to).0.split_at(from.min(to)).1)
    };
    let one = |octets: &[u8]| match octets.get(at) {
        Some(octet) => shown(&[*octet]),
        None => "missing".to_owned(),
    };
    format!(
        "octet {} is {} where {} was expected: {} for {}",
        start + at,
        one(seen),
        one(want),
        context(seen),
        context(want)
    )
}

/// The octets before this position.
fn before(seen: &[u8], at: u64) -> &[u8] {
    let end = usize::try_from(at).unwrap_or(usize::MAX).min(seen.len());
    let (before, _) = seen.split_at(end);
    before.split_at(end.saturating_sub(CONTEXT)).1
}

/// Octets for a person, in quotes.
pub(super) fn shown(octets: &[u8]) -> String {
    heirloom::vector::shown(octets, MAX_SHOWN)
}
