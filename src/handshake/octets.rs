//! Classes of octets in heads, and searches that take eight octets at a time.

/// A set of octets.
#[derive(Debug)]
pub(super) struct OctetSet([bool; 256]);

impl OctetSet {
    #[allow(clippy::indexing_slicing)] // an octet is below 256
    pub(super) const fn of(mut octets: &[u8]) -> OctetSet {
        let mut set = [false; 256];
        while let [first, rest @ ..] = octets {
            set[*first as usize] = true;
            octets = rest;
        }
        OctetSet(set)
    }

    #[inline]
    #[allow(clippy::indexing_slicing)] // an octet is below 256
    pub(super) fn has(&self, octet: u8) -> bool {
        self.0[usize::from(octet)]
    }

    /// Whether all octets are of this set.
    #[inline]
    pub(super) fn has_all(&self, octets: &[u8]) -> bool {
        octets.iter().all(|octet| self.has(*octet))
    }
}

/// What a header's name may hold (RFC 9110 section 5.6.2).
static TOKEN: OctetSet =
    OctetSet::of(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// Whether this can be the name of a header, or a method.
#[inline]
pub(super) fn is_token(octets: &[u8]) -> bool {
    are_letters(octets) || !octets.is_empty() && TOKEN.has_all(octets)
}

/// Whether these are eight octets or more, and only letters and hyphens, as most
/// names of headers are.
#[inline]
fn are_letters(octets: &[u8]) -> bool {
    // The last eight may have been looked at in part.
    let Some(last) = octets.last_chunk() else {
        return false;
    };
    let mut other = other_than_letters(*last);
    let mut rest = octets;
    while let Some((word, after)) = rest.split_first_chunk() {
        other |= other_than_letters(*word);
        rest = after;
    }
    other == 0
}

/// The high bits of octets that are neither letters nor hyphens.
#[inline(always)]
fn other_than_letters(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    // No sum below carries into the next octet.
    let low = word & !HIGH;
    let lower = low | (ONES * 0x20);
    let from_a = lower + ONES * (0x80 - b'a' as u64);
    let above_z = lower + ONES * (0x7f - b'z' as u64);
    let no_hyphen = (low ^ (ONES * b'-' as u64)) + ONES * 0x7f;
    ((!from_a | above_z) & no_hyphen | word) & HIGH
}

/// Whether a header's name may hold this octet.
pub(super) fn is_token_octet(octet: u8) -> bool {
    TOKEN.has(octet)
}

/// Whether these octets may stand in a header that we write: visible ASCII and
/// spaces.
#[inline]
pub(super) fn is_field_text(octets: &[u8]) -> bool {
    octets.is_ascii() && run::<b' '>(octets) == octets.len()
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = ONES << 7;

/// How many letters and hyphens stand before the first other octet.
#[inline(always)]
pub(super) fn letters(octets: &[u8]) -> usize {
    let mut rest = octets;
    while let Some((word, after)) = rest.split_first_chunk() {
        let others = other_than_letters(*word);
        if others != 0 {
            return octets.len() - rest.len() + (others.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    let is_letter = |octet: &&u8| octet.is_ascii_alphabetic() || **octet == b'-';
    octets.len() - rest.len() + rest.iter().take_while(is_letter).count()
}

/// How many octets stand before the first one below `LOWEST`, or DEL.
#[inline(always)]
pub(super) fn run<const LOWEST: u8>(octets: &[u8]) -> usize {
    let mut rest = octets;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The high bit of an octet is set where it lies below, or is DEL. A
        // borrow may reach an octet only behind one that lies below.
        let below = word.wrapping_sub(ONES * LOWEST as u64);
        let del = (word & !HIGH).wrapping_add(ONES);
        let ends = (below | del) & !word & HIGH;
        if ends != 0 {
            return octets.len() - rest.len() + (ends.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    let ends = |octet: &u8| *octet < LOWEST || *octet == 0x7f;
    octets.len() - rest.len() + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Where the first colon is, in octets in which it is near.
#[inline(always)]
pub(super) fn find_colon(octets: &[u8]) -> Option<usize> {
    let mut rest = octets;
    while let Some((word, after)) = rest.split_first_chunk() {
        // An octet is zero where a colon is; the lowest one found is right.
        let word = u64::from_le_bytes(*word) ^ (ONES * b':' as u64);
        let colons = word.wrapping_sub(ONES) & !word & HIGH;
        if colons != 0 {
            return Some(octets.len() - rest.len() + (colons.trailing_zeros() / 8) as usize);
        }
        rest = after;
    }
    let before = octets.len() - rest.len();
    rest.iter().position(|o| *o == b':').map(|i| before + i)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn each_octet_ends_a_run_or_does_not_at_each_place() {
        for octet in 0..=255u8 {
            for at in 0..20 {
                for behind in [b"".as_slice(), b"\x7f\x01\xff abc:"] {
                    let mut octets: Vec<u8> = Vec::from([b'a'; 20]);
                    octets.splice(at..=at, [octet]);
                    octets.extend_from_slice(behind);
                    let slow = |lowest: u8| {
                        let ends = |o: &u8| *o < lowest || *o == 0x7f;
                        octets.iter().position(ends).unwrap_or(octets.len())
                    };
                    assert_eq!(run::<b' '>(&octets), slow(b' '), "{octet} at {at}");
                    assert_eq!(run::<b'!'>(&octets), slow(b'!'), "{octet} at {at}");
                    let is_other = |o: &u8| !o.is_ascii_alphabetic() && *o != b'-';
                    let others = octets.iter().position(is_other);
                    assert_eq!(letters(&octets), others.unwrap_or(octets.len()));
                    let colon = octets.iter().position(|o| *o == b':');
                    assert_eq!(find_colon(&octets), colon, "{octet} at {at}");
                }
            }
            let letters = octet.is_ascii_alphabetic() || octet == b'-';
            let others = other_than_letters([b'a', b'Z', octet, b'-', b'z', b'A', octet, b'b']);
            assert_eq!(others == 0, letters, "{octet}");
            let other = b"!#$%&'*+-.^_`|~".contains(&octet);
            assert_eq!(
                is_token_octet(octet),
                octet.is_ascii_alphanumeric() || other
            );
        }
    }
}
