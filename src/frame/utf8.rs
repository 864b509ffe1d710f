//! UTF-8 across pieces: failed at the first invalid octet, or replaced by
//! U+FFFD.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use simdutf8::compat::from_utf8;

/// A check that runs along a text message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The octets of a character that is not yet complete.
    partial: [u8; 3],
    len: u8,
}

/// The text is not UTF-8, whatever follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// The first octet that is wrong, by its index in the octets that were fed:
    /// the same one in whatever portions the text arrives.
    pub(crate) at: Range<usize>,
}

impl Invalid {
    /// Finds the first wrong octet of the character that starts at `start`.
    #[cold]
    fn from(octets: &[u8], start: usize) -> Invalid {
        let (_, rest) = octets.split_at(start);
        let wrong = (1..=rest.len().min(4)).find(|n| {
            let (so_far, _) = rest.split_at(*n);
            core::str::from_utf8(so_far).is_err_and(|error| error.error_len().is_some())
        });
        let end = start + wrong.unwrap_or(1);
        Invalid { at: end - 1..end }
    }
}

impl Utf8 {
    /// Checks the next octets of the message.
    #[inline(always)]
    pub(crate) fn feed(&mut self, octets: &[u8]) -> Result<(), Invalid> {
        let rest = if self.len == 0 {
            octets
        } else {
            self.finish_character(octets)?
        };
        match from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) => match error.error_len() {
                Some(_) => {
                    let before = octets.len() - rest.len();
                    Err(Invalid::from(octets, before + error.valid_up_to()))
                }
                // Cut inside a character that may yet be completed.
                None => {
                    let (_, character) = rest.split_at(error.valid_up_to());
                    self.start_character(character);
                    Ok(())
                }
            },
        }
    }

    /// Whether the message may end here: no character is incomplete.
    pub(crate) fn is_complete(self) -> bool {
        self.len == 0
    }

    fn start_character(&mut self, octets: &[u8]) {
        for (to, from) in self.partial.iter_mut().zip(octets) {
            *to = *from;
            self.len += 1;
        }
    }

    /// Adds octets to the incomplete character until it is complete or wrong.
    fn finish_character<'o>(&mut self, octets: &'o [u8]) -> Result<&'o [u8], Invalid> {
        let mut character = [0; 4];
        let mut len = usize::from(self.len);
        for (to, from) in character.iter_mut().zip(self.partial) {
            *to = from;
        }
        let mut rest = octets;
        while let Some((octet, after)) = rest.split_first() {
            let consumed = octets.len() - after.len();
            let invalid = Invalid {
                at: consumed - 1..consumed,
            };
            let Some(slot) = character.get_mut(len) else {
                return Err(invalid);
            };
            *slot = *octet;
            len += 1;
            rest = after;
            let (so_far, _) = character.split_at(len);
            match core::str::from_utf8(so_far) {
                Ok(_) => {
                    self.len = 0;
                    return Ok(rest);
                }
                Err(error) if error.error_len().is_some() => return Err(invalid),
                Err(_) => {}
            }
        }
        self.len = 0;
        let (character, _) = character.split_at(len);
        self.start_character(character);
        Ok(rest)
    }
}

/// Replaces what is not UTF-8 in a text that arrives in pieces by U+FFFD, with
/// the same result as if the text had arrived whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replace {
    /// The octets of a character that is not yet complete.
    partial: [u8; 3],
    len: u8,
}

impl Replace {
    /// The next octets of the text, as far as they are certain; after the
    /// `last` ones nothing is kept back.
    pub(crate) fn feed<'o>(&mut self, octets: &'o [u8], last: bool) -> Cow<'o, [u8]> {
        let mut text = Cow::Borrowed(octets);
        if self.len > 0 {
            let (partial, _) = self.partial.split_at(usize::from(self.len));
            text = Cow::Owned([partial, octets].concat());
            self.len = 0;
        }
        let error = match from_utf8(&text) {
            Ok(_) => return text,
            Err(error) => error,
        };
        if error.error_len().is_none() && !last {
            let (_, character) = text.split_at(error.valid_up_to());
            self.start(character);
            return match text {
                Cow::Borrowed(octets) => {
                    let (valid, _) = octets.split_at(error.valid_up_to());
                    Cow::Borrowed(valid)
                }
                Cow::Owned(mut octets) => {
                    octets.truncate(error.valid_up_to());
                    Cow::Owned(octets)
                }
            };
        }
        let mut replaced = Vec::with_capacity(text.len() + 16);
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            replaced.extend_from_slice(chunk.valid().as_bytes());
            let at_end = chunks.peek().is_none();
            let may_go_on = at_end
                && core::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none());
            if may_go_on && !last {
                self.start(chunk.invalid());
            } else if !chunk.invalid().is_empty() {
                replaced.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        Cow::Owned(replaced)
    }

    /// Gives up the octets that were kept back.
    pub(crate) fn take(&mut self) -> &[u8] {
        let len = usize::from(core::mem::take(&mut self.len));
        self.partial.split_at(len).0
    }

    fn start(&mut self, octets: &[u8]) {
        for (to, from) in self.partial.iter_mut().zip(octets) {
            *to = *from;
            self.len += 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloc::string::String;

    use super::*;

    /// The number of octets after which the check fails, octet by octet.
    fn fails_after(text: &[u8]) -> Option<usize> {
        let mut check = Utf8::default();
        for (i, octet) in text.iter().enumerate() {
            if check.feed(&[*octet]).is_err() {
                return Some(i + 1);
            }
        }
        None
    }

    #[test]
    fn the_wrong_octet_is_the_same_however_the_text_is_cut() {
        for text in [
            &b"a\xff"[..],
            b"ab\xed\xa0\x80",
            b"\xe2\x82\xacx\xf4\x90\x80\x80y",
            b"\xf0\x9f\x98(",
            b"\xc3\x28",
        ] {
            let wrong = fails_after(text).unwrap();
            for cut in 0..=text.len() {
                let mut check = Utf8::default();
                let (head, tail) = text.split_at(cut);
                let at = match check.feed(head) {
                    Err(invalid) => invalid.at,
                    Ok(()) => {
                        let at = check.feed(tail).unwrap_err().at;
                        cut + at.start..cut + at.end
                    }
                };
                assert_eq!(at, wrong - 1..wrong, "{text:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_character_may_straddle_any_cut() {
        let text = "aé€😀".as_bytes();
        for cut in 0..=text.len() {
            let mut check = Utf8::default();
            let (head, tail) = text.split_at(cut);
            assert_eq!(check.feed(head), Ok(()));
            assert_eq!(check.feed(tail), Ok(()), "cut at {cut}");
            assert!(check.is_complete());
        }
    }

    #[test]
    fn the_first_bad_octet_fails() {
        assert_eq!(fails_after(b"a\xff"), Some(2));
        // A surrogate is wrong at its second octet, an overlong form too.
        assert_eq!(fails_after(b"\xed\xa0\x80"), Some(2));
        assert_eq!(fails_after(b"\xe0\x80\x80"), Some(2));
        assert_eq!(fails_after(b"\xf4\x90\x80\x80"), Some(2));
        assert_eq!(fails_after(b"\xc3\x28"), Some(2));
    }

    #[test]
    fn an_unfinished_character_is_not_whole() {
        let mut check = Utf8::default();
        assert_eq!(check.feed(b"\xf0\x9f\x98"), Ok(()));
        assert!(!check.is_complete());
    }

    #[test]
    fn a_text_in_pieces_is_replaced_as_the_whole_is() {
        for text in [
            &b"plain"[..],
            b"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
            b"\xf0\x9f\x98",
            b"a\xffb\xe2\x82c\xf0\x90\x80",
            b"\xe2\xe2\x82\xac\xed\xa0\x80\xf4\x90\x80\x80",
            b"\xf0\x9f\xff\x80\x80\xc3",
        ] {
            let whole = String::from_utf8_lossy(text).into_owned().into_bytes();
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut replace = Replace::default();
                    let mut replaced = Vec::new();
                    let (start, end) = text.split_at(second);
                    let (start, middle) = start.split_at(first);
                    for (piece, last) in [(start, false), (middle, false), (end, true)] {
                        replaced.extend_from_slice(&replace.feed(piece, last));
                    }
                    assert_eq!(replaced, whole, "{text:x?} at {first} and {second}");
                }
            }
        }
    }
}
