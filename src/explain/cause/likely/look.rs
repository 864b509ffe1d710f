//! How causes look at a conversation.

use super::super::Case;
use crate::explain::part::PartKind;
use crate::trace::Field;
use crate::version::Side;

pub(super) fn is(case: &Case<'_>, code: &str) -> Option<()> {
    (case.code() == code).then_some(())
}

pub(super) fn starts(octets: Option<&[u8]>, with: &[u8]) -> bool {
    octets.is_some_and(|octets| octets.starts_with(with))
}

pub(super) fn unreadable<'a>(case: &Case<'a>, side: Side) -> Option<&'a [u8]> {
    let own = case.parts.iter().filter(|part| part.from == side);
    let mut own = own.filter(|part| part.kind == PartKind::Unreadable);
    own.next().map(|part| part.raw.as_slice())
}

/// A hop that left a trace in the request.
pub(super) fn hop(case: &Case<'_>) -> String {
    const TRACES: [&str; 5] = [
        "Via",
        "X-Forwarded-For",
        "Forwarded",
        "X-Forwarded-Proto",
        "X-Real-IP",
    ];
    let found = TRACES
        .into_iter()
        .find(|name| case.request_header(name).is_some());
    match found {
        Some(name) => format!(" A hop left its trace: {name}."),
        None => String::new(),
    }
}

/// The digits and spaces of a key.
pub(super) struct Key {
    digits: u64,
    pub(super) spaces: u64,
}

impl Key {
    /// Its number if it had `more` spaces more.
    pub(super) fn with(&self, more: u64) -> Option<u32> {
        let spaces = self.spaces + more;
        let whole = self.digits.checked_rem(spaces)? == 0;
        let number = self.digits.checked_div(spaces)?;
        u32::try_from(number).ok().filter(|_| whole)
    }
}

/// The keys of hixie-76 that were read.
pub(super) fn keys(case: &Case<'_>) -> Vec<Key> {
    let Some(request) = case.part(PartKind::Request) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    let mut digits = None;
    for (field, octets) in &request.derived {
        match (field, octets.first_chunk()) {
            (Field::KeyDigits, _) => {
                digits = std::str::from_utf8(octets)
                    .ok()
                    .and_then(|d| d.parse().ok());
            }
            (Field::KeySpaces, Some(spaces)) => keys.extend(digits.take().map(|digits| Key {
                digits,
                spaces: u64::from(u32::from_be_bytes(*spaces)),
            })),
            _ => {}
        }
    }
    keys
}

pub(super) fn spaces_more(lost: u64) -> String {
    match lost {
        1 => "one space more".to_owned(),
        _ => format!("{lost} spaces more"),
    }
}
