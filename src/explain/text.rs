//! Octets and bits as text that is safe for a terminal and for a page.

use std::fmt::Write;
use std::ops::Range;

use crate::bytes::Escaped;

/// What a peer sent, safe to show: text where it is text, else octet by octet.
/// What is longer than `max` characters is cut, and the octets beyond are
/// counted.
pub(super) fn shown(octets: &[u8], max: usize) -> String {
    let Ok(text) = std::str::from_utf8(octets) else {
        let cut = octets.get(..max).unwrap_or(octets);
        let text = cut.escape_ascii().to_string();
        return counted(
            text.replace("\\'", "'").replace("\\\"", "\""),
            octets.len() - cut.len(),
        );
    };
    let end = text.char_indices().nth(max).map_or(text.len(), |(n, _)| n);
    let (cut, _) = text.split_at(end);
    counted(Escaped::<{ usize::MAX }>(cut).to_string(), text.len() - end)
}

fn counted(mut text: String, more: usize) -> String {
    if more > 0 {
        text.push_str(&format!("… ({} more)", count(more as u64)));
    }
    text
}

/// `1 octet`, `5 octets`.
pub(super) fn count(octets: u64) -> String {
    match octets {
        1 => "1 octet".to_owned(),
        _ => format!("{octets} octets"),
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

/// Octets as characters, with a point for each that is not visible ASCII.
pub(super) fn printable(octets: &[u8]) -> String {
    let char = |octet: &u8| match octet {
        0x20..=0x7e => char::from(*octet),
        _ => '.',
    };
    octets.iter().map(char).collect()
}

/// Which bits of an octet a field fills, and their value: `.000....`.
pub(super) fn bit_pattern(at: Range<u8>, value: u64) -> String {
    let pattern = (0..8_u8).map(|bit| match at.end.checked_sub(bit + 1) {
        Some(shift) if at.contains(&bit) => {
            if value >> shift & 1 == 1 {
                '1'
            } else {
                '0'
            }
        }
        _ => '.',
    });
    pattern.collect()
}

/// A sentence with a capital, without its full stop.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return String::new();
    };
    let first = first.to_uppercase().to_string();
    first + chars.as_str().trim_end_matches('.')
}
