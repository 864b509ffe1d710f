//! Masking: XOR in place, from any octet of the key.

use alloc::boxed::Box;

/// The key that masks the rest of a frame, rotated so that its first octet meets
/// the next octet of payload.
#[derive(Debug, Default)]
pub(crate) enum Mask {
    /// Not masked.
    #[default]
    Clear,
    /// hybi-05 and later.
    Four(u32),
    /// hybi-04: the key of the frame, 20 octets.
    Twenty(Box<[u8; 20]>),
}

impl Mask {
    /// Masks or unmasks these octets and rotates the key past them.
    #[inline]
    pub(crate) fn apply(&mut self, octets: &mut [u8]) {
        match self {
            Mask::Clear => {}
            Mask::Four(key) => {
                xor4(*key, octets);
                *key = rotated4(*key, octets.len());
            }
            Mask::Twenty(key) => xor20(key, octets),
        }
    }

    /// Masks or unmasks octets that stand `n` octets further on, and keeps the key
    /// as it is.
    pub(crate) fn apply_from(&self, n: usize, octets: &mut [u8]) {
        match self {
            Mask::Clear => {}
            Mask::Four(key) => xor4(rotated4(*key, n), octets),
            Mask::Twenty(key) => {
                let mut key = key.clone();
                key.rotate_left(n % 20);
                xor20(&mut key, octets);
            }
        }
    }

    /// The key as it lies on the wire.
    #[inline]
    pub(crate) fn four(key: [u8; 4]) -> Mask {
        Mask::Four(u32::from_le_bytes(key))
    }

    /// After how many octets the key repeats.
    pub(crate) fn period(&self) -> usize {
        match self {
            Mask::Clear => 1,
            Mask::Four(_) => 4,
            Mask::Twenty(key) => key.len(),
        }
    }

    /// The key as it was for the octets `n` positions later.
    pub(crate) fn rotated(mut self, n: usize) -> Mask {
        match &mut self {
            Mask::Clear => {}
            Mask::Four(key) => *key = rotated4(*key, n),
            Mask::Twenty(key) => key.rotate_left(n % 20),
        }
        self
    }
}

/// Unmasks a whole payload with a key of four octets, and gives whether all of it
/// is ASCII.
#[inline]
pub(super) fn unmask(key: u32, octets: &mut [u8]) -> bool {
    let wide = u64::from(key) << 32 | u64::from(key);
    // The octets behind the last whole word are unmasked with those before them,
    // as one word that is read before the loop and written after it.
    let last = rotated4(key, octets.len());
    let last = u64::from(last) << 32 | u64::from(last);
    let last = octets
        .last_chunk::<8>()
        .map(|octets| u64::from_le_bytes(*octets) ^ last);
    let mut seen = 0;
    let mut chunks = octets.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        let word = u64::from_le_bytes(eight) ^ wide;
        seen |= word;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    if let Some(last) = last {
        seen |= last;
        if let Some(octets) = octets.last_chunk_mut::<8>() {
            *octets = last.to_le_bytes();
        }
    } else {
        for (octet, k) in chunks.into_remainder().iter_mut().zip(wide.to_le_bytes()) {
            *octet ^= k;
            seen |= u64::from(*octet);
        }
    }
    seen & NOT_ASCII == 0
}

/// Masks a whole payload with a key of four octets.
#[inline]
pub(super) fn mask(key: u32, octets: &mut [u8]) {
    let wide = u64::from(key) << 32 | u64::from(key);
    // As in `unmask`.
    let last = rotated4(key, octets.len());
    let last = u64::from(last) << 32 | u64::from(last);
    let Some(last) = octets
        .last_chunk::<8>()
        .map(|octets| u64::from_le_bytes(*octets) ^ last)
    else {
        return xor4(key, octets);
    };
    for chunk in octets.chunks_exact_mut(8) {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_le_bytes(eight) ^ wide).to_le_bytes());
    }
    if let Some(octets) = octets.last_chunk_mut::<8>() {
        *octets = last.to_le_bytes();
    }
}

/// Whether all of these octets are ASCII.
#[inline]
pub(super) fn is_ascii(octets: &[u8]) -> bool {
    let mut seen = 0;
    let chunks = octets.chunks_exact(8);
    for octet in chunks.remainder() {
        seen |= u64::from(*octet);
    }
    for chunk in chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        seen |= u64::from_le_bytes(eight);
    }
    seen & NOT_ASCII == 0
}

/// The top bit of each of eight octets.
const NOT_ASCII: u64 = 0x8080_8080_8080_8080;

#[inline]
#[allow(clippy::cast_possible_truncation)] // two bits
fn rotated4(key: u32, n: usize) -> u32 {
    // The first octet is the lowest one.
    key.rotate_right((n & 3) as u32 * 8)
}

/// XOR with a key of twenty octets, and rotate it past them.
fn xor20(key: &mut [u8; 20], octets: &mut [u8]) {
    for chunk in octets.chunks_mut(20) {
        for (octet, k) in chunk.iter_mut().zip(key.iter()) {
            *octet ^= k;
        }
    }
    key.rotate_left(octets.len() % 20);
}

/// XOR with a key of four octets; the compiler makes vectors of the chunks.
#[inline]
fn xor4(word: u32, octets: &mut [u8]) {
    let wide = u64::from(word) << 32 | u64::from(word);
    let mut chunks = octets.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_le_bytes(eight) ^ wide).to_le_bytes());
    }
    for (octet, k) in chunks.into_remainder().iter_mut().zip(wide.to_le_bytes()) {
        *octet ^= k;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn by_hand(key: &[u8], octets: &[u8]) -> Vec<u8> {
        octets
            .iter()
            .zip(key.iter().cycle())
            .map(|(o, k)| o ^ k)
            .collect()
    }

    #[test]
    fn a_whole_payload_is_unmasked_and_ascii_is_noticed() {
        let key = [0x81, 2, 0xc3, 4];
        for length in 0..70 {
            for odd in 0..=length {
                let mut plain: Vec<u8> = (0..length).collect();
                if let Some(octet) = plain.get_mut(usize::from(odd)) {
                    *octet |= 0x80;
                }
                let mut octets = by_hand(&key, &plain);
                let ascii = unmask(u32::from_le_bytes(key), &mut octets);
                assert_eq!((&octets, ascii), (&plain, odd == length));
                mask(u32::from_le_bytes(key), &mut octets);
                assert_eq!(octets, by_hand(&key, &plain));
                assert_eq!(is_ascii(&plain), ascii);
            }
        }
    }

    #[test]
    fn any_cut_gives_the_same_octets() {
        let octets: Vec<u8> = (0..=200).collect();
        let four = [1, 2, 3, 4];
        let twenty: [u8; 20] = *b"a key of 20 octets..";
        for cut in 0..octets.len() {
            for (mut mask, key) in [
                (Mask::four(four), &four[..]),
                (Mask::Twenty(Box::new(twenty)), &twenty[..]),
            ] {
                let mut masked = octets.clone();
                let (head, tail) = masked.split_at_mut(cut);
                mask.apply(head);
                mask.apply(tail);
                assert_eq!(masked, by_hand(key, &octets), "cut at {cut}");
            }
        }
    }
}
