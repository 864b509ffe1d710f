//! Payloads: octets that are made while they are sent, and compared while they
//! arrive, so that a long one takes no memory.

use std::sync::Arc;

use super::case::{CaseContent, Generated};
use super::made;
use crate::vector::unhex;

/// Octets of a repeated pattern that are kept at once.
const BLOCK: usize = 64 * 1024;

/// The octets of a payload: those of a block, from `at` on and round again.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    block: Block,
    at: usize,
    left: u64,
}

#[derive(Clone, Debug)]
enum Block {
    Own(Arc<[u8]>),
    Made(&'static [u8]),
}

impl Block {
    fn octets(&self) -> &[u8] {
        match self {
            Block::Own(octets) => octets,
            Block::Made(octets) => octets,
        }
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::of_octets(&[])
    }
}

impl Payload {
    /// These octets.
    pub(super) fn of_octets(octets: &[u8]) -> Payload {
        Payload {
            block: Block::Own(octets.into()),
            at: 0,
            left: octets.len() as u64,
        }
    }

    /// The octets of this content; what is generated starts `offset` octets on.
    ///
    /// # Errors
    ///
    /// What is wrong with the content.
    pub(super) fn of(content: &CaseContent, offset: u64) -> Result<Payload, String> {
        if let Some(text) = &content.data {
            return Ok(Payload::of_octets(text.as_bytes()));
        }
        if let Some(hex) = &content.hex {
            return Ok(Payload::of_octets(&unhex(hex)?));
        }
        if let Some(fill) = &content.fill {
            let pattern = unhex(&fill.hex)?;
            let total = (pattern.len() as u64).saturating_mul(fill.times as u64);
            let kept = (BLOCK / pattern.len().max(1)).clamp(1, fill.times.max(1));
            return Ok(Payload {
                block: Block::Own(pattern.repeat(kept).into()),
                at: 0,
                left: total,
            });
        }
        if let Some(Generated { like, octets }) = &content.generated {
            let block = made::block(like)?;
            let at = offset % block.len().max(1) as u64;
            return Ok(Payload {
                block: Block::Made(block),
                at: usize::try_from(at).unwrap_or(0),
                left: *octets as u64,
            });
        }
        Ok(Payload::default())
    }

    /// How many octets are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next octets, at most this many; none where nothing is left.
    pub(super) fn next(&self, most: usize) -> &[u8] {
        let (_, ahead) = self.block.octets().split_at(self.at);
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        ahead.get(..most.min(left)).unwrap_or(ahead)
    }

    /// Goes on by so many octets, which are no more than [`Payload::next`] gave.
    pub(super) fn skip(&mut self, octets: usize) {
        self.left = self.left.saturating_sub(octets as u64);
        self.at += octets;
        if self.at >= self.block.octets().len() {
            self.at = 0;
        }
    }

    /// Compares what has arrived with what comes next. Gives the number of octets
    /// before the first that differs, where one does.
    pub(super) fn compare(&mut self, mut arrived: &[u8]) -> Result<(), usize> {
        let mut before = 0;
        while !arrived.is_empty() {
            let expected = self.next(arrived.len());
            let Some((same, rest)) = arrived.split_at_checked(expected.len()) else {
                return Err(before);
            };
            if expected.is_empty() {
                return Err(before);
            }
            if same != expected {
                let equal = same.iter().zip(expected).take_while(|(a, b)| a == b);
                return Err(before + equal.count());
            }
            before += same.len();
            self.skip(same.len());
            arrived = rest;
        }
        Ok(())
    }

    /// The first octets of what is left, `before` octets on, to be shown.
    pub(super) fn shown_from(&self, before: usize, most: usize) -> Vec<u8> {
        let mut ahead = self.clone();
        let mut to_skip = before;
        while to_skip > 0 {
            let n = ahead.next(to_skip).len();
            if n == 0 {
                return Vec::new();
            }
            ahead.skip(n);
            to_skip -= n;
        }
        ahead.next(most).to_vec()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::vector::Fill;

    fn fill(hex: &str, times: usize) -> CaseContent {
        CaseContent {
            fill: Some(Fill {
                hex: hex.to_owned(),
                times,
            }),
            ..CaseContent::default()
        }
    }

    fn all_of(mut payload: Payload, step: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        loop {
            let next = payload.next(step).to_vec();
            if next.is_empty() {
                return octets;
            }
            payload.skip(next.len());
            octets.extend(next);
        }
    }

    #[test]
    fn a_fill_is_what_it_says_however_it_is_taken() {
        let payload = Payload::of(&fill("61 62 63", 50_000), 0).unwrap();
        let whole = b"abc".repeat(50_000);
        for step in [1, 7, 4096, 1 << 20] {
            assert!(all_of(payload.clone(), step) == whole, "{step}");
        }
    }

    #[test]
    fn what_differs_is_found_and_where() {
        let payload = Payload::of(&fill("2a", 100_000), 0).unwrap();
        let mut arrived = vec![b'*'; 100_000];
        assert_eq!(payload.clone().compare(&arrived), Ok(()));
        arrived.push(b'*');
        assert_eq!(payload.clone().compare(&arrived), Err(100_000));
        arrived[70_000] = b'+';
        assert_eq!(payload.clone().compare(&arrived), Err(70_000));
        let mut parts = payload;
        assert_eq!(parts.compare(&arrived[..65_000]), Ok(()));
        assert_eq!(parts.compare(&arrived[65_000..]), Err(5_000));
    }

    #[test]
    fn what_is_generated_goes_on_from_any_octet() {
        for like in made::KINDS {
            let content = |octets| CaseContent {
                generated: Some(Generated {
                    like: like.to_owned(),
                    octets,
                }),
                ..CaseContent::default()
            };
            let long = all_of(Payload::of(&content(600_000), 0).unwrap(), 1000);
            for offset in [0, 1, 262_143, 262_144, 400_000] {
                let part = Payload::of(&content(5_000), offset as u64).unwrap();
                assert!(all_of(part, 999) == long[offset..offset + 5_000], "{like}");
            }
        }
    }
}
