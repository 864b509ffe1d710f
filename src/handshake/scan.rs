//! The search for the end of a head that arrives in portions.

use core::ops::Range;

use memchr::memchr;

use crate::error::{Refusal, Violation};

/// What is wrong with a head, of a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    TooLong { limit: u32 },
    TooManyHeaders { limit: u16 },
    BareLf,
    Folded,
    HttpVersion,
    Target { octet: u8 },
    Malformed,
}

impl HeadError {
    /// As a server says it to a client.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            HeadError::TooLong { limit } => Refusal::HeadTooLong { limit },
            HeadError::TooManyHeaders { limit } => Refusal::TooManyHeaders { limit },
            HeadError::BareLf => Refusal::BareLf,
            HeadError::Folded => Refusal::HeadFolded,
            HeadError::HttpVersion => Refusal::HttpVersion,
            HeadError::Target { octet } => Refusal::TargetInvalid { octet: Some(octet) },
            HeadError::Malformed => Refusal::HeadMalformed,
        }
    }

    /// As a client says it of a server.
    pub(crate) fn violation(self) -> Violation {
        match self {
            HeadError::TooLong { .. } => Violation::ResponseTooLong,
            _ => Violation::ResponseMalformed,
        }
    }
}

/// An error, and its octets from the start of the head.
pub(super) type At<E> = (E, Range<usize>);

/// How far the search for the end of a head has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
    line: usize,
}

impl Scan {
    /// Whether nothing was looked at yet.
    pub(crate) fn is_new(self) -> bool {
        self.seen == 0
    }

    /// How many octets were looked at, while none of them ends a line.
    pub(super) fn seen_of_first_line(self) -> Option<usize> {
        (self.line == 0).then_some(self.seen)
    }

    /// Looks for the empty line, from where the last look ended: a head that
    /// arrives octet by octet costs linear time. Gives the length of the head.
    pub(crate) fn find_end(
        &mut self,
        octets: &[u8],
        limit: u32,
    ) -> Result<Option<usize>, At<HeadError>> {
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        let too_long = || (HeadError::TooLong { limit }, max..max.saturating_add(1));
        loop {
            let unseen = octets.get(self.seen..).unwrap_or_default();
            let Some(i) = memchr(b'\n', unseen) else {
                self.seen = octets.len();
                return if octets.len() > max {
                    Err(too_long())
                } else {
                    Ok(None)
                };
            };
            let end = self.seen + i + 1;
            if end > max {
                return Err(too_long());
            }
            let line = octets.get(self.line..end).unwrap_or_default();
            match line {
                [b'\r', b'\n'] if self.line == 0 => return Err((HeadError::Malformed, 0..end)),
                [b'\r', b'\n'] => return Ok(Some(end)),
                // RFC 9112 section 2.2 leaves a bare LF to choice; some hops
                // read it as the end of a line and some do not, so refuse.
                [.., b'\r', b'\n'] => {}
                _ => return Err((HeadError::BareLf, end - 1..end)),
            }
            self.seen = end;
            self.line = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_for_the_end_goes_on_where_it_ended() {
        let mut scan = Scan::default();
        assert_eq!(
            scan.find_end(b"GET / HTTP/1.1\r\nHost: aaaa", 1000),
            Ok(None)
        );
        // A second look at the octets from before would find an end here.
        let other = b"GET / HTTP/1.1\r\nHost: \r\n\r\nb\r\n\r\n";
        assert_eq!(scan.find_end(other, 1000), Ok(Some(other.len())));
    }

    #[test]
    fn a_head_that_is_cut_anywhere_ends_at_the_same_octet() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nmore";
        for cut in 0..head.len() {
            let mut scan = Scan::default();
            let (start, _) = head.split_at(cut);
            let first = scan.find_end(start, 1000);
            let end = match first {
                Ok(None) => scan.find_end(head, 1000),
                found => found,
            };
            assert_eq!(end, Ok(Some(head.len() - 4)), "cut at {cut}");
        }
    }
}
