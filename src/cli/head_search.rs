//! Looks for the end of a head in octets that arrive in small pieces: each is
//! looked at once.

/// Looks for the end of a head that arrives in pieces, at each octet once.
#[derive(Debug, Default)]
pub(super) struct HeadSearch {
    pub(super) octets: Vec<u8>,
    /// How many octets were looked at, over all pieces.
    looked_at: usize,
}

impl HeadSearch {
    /// Adds a piece; where the empty line starts, once it is there.
    pub(super) fn add(&mut self, piece: &[u8]) -> Option<usize> {
        const END: &[u8] = b"\r\n\r\n";
        // It may have started in the pieces before.
        let from = self.octets.len().saturating_sub(END.len() - 1);
        self.octets.extend_from_slice(piece);
        let (_, new) = self.octets.split_at(from);
        self.looked_at += new.len();
        let found = new.windows(END.len()).position(|four| four == END);
        found.map(|at| from + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_octet_by_octet_is_looked_at_once() {
        let head = [&[b'a'; 400_000][..], b"\r\n\r\nrest"].concat();
        let mut search = HeadSearch::default();
        let found = head.chunks(1).find_map(|octet| search.add(octet));
        assert_eq!(found, Some(400_000));
        assert!(search.looked_at <= 4 * head.len(), "{}", search.looked_at);
        for n in 0..head.len() - 4 {
            let mut search = HeadSearch::default();
            let (one, other) = head.split_at(n);
            if n % 9973 == 0 || n > 399_990 {
                let found = search.add(one).or_else(|| search.add(other));
                assert_eq!(found, Some(400_000), "{n}");
            }
        }
    }
}
