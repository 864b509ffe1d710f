//! UTF-8 across pieces: failed at the first bad octet, or mended.

use std::borrow::Cow;

use simdutf8::compat::from_utf8;

/// A check that runs along a text message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The octets of a character that is not yet whole.
    begun: [u8; 3],
    len: u8,
}

/// The text is not UTF-8, whatever follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Utf8 {
    /// Checks the next octets of the message.
    #[inline]
    pub(crate) fn feed(&mut self, octets: &[u8]) -> Result<(), Invalid> {
        let rest = if self.len == 0 {
            octets
        } else {
            self.finish_character(octets)?
        };
        match from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) => match error.error_len() {
                Some(_) => Err(Invalid),
                // Cut inside a character that may yet become one.
                None => self.begin_character(rest.get(error.valid_up_to()..).unwrap_or_default()),
            },
        }
    }

    /// Whether the message may end here: no character is left unfinished.
    pub(crate) fn is_whole(self) -> bool {
        self.len == 0
    }

    fn begin_character(&mut self, octets: &[u8]) -> Result<(), Invalid> {
        for (to, from) in self.begun.iter_mut().zip(octets) {
            *to = *from;
            self.len += 1;
        }
        Ok(())
    }

    /// Adds octets to the unfinished character until it is whole or wrong.
    fn finish_character<'o>(&mut self, octets: &'o [u8]) -> Result<&'o [u8], Invalid> {
        let mut character = [0; 4];
        let mut len = usize::from(self.len);
        for (to, from) in character.iter_mut().zip(self.begun) {
            *to = from;
        }
        let mut rest = octets;
        while let Some((octet, after)) = rest.split_first() {
            let Some(slot) = character.get_mut(len) else {
                return Err(Invalid);
            };
            *slot = *octet;
            len += 1;
            rest = after;
            let so_far = character.get(..len).unwrap_or_default();
            match std::str::from_utf8(so_far) {
                Ok(_) => {
                    self.len = 0;
                    return Ok(rest);
                }
                Err(error) if error.error_len().is_some() => return Err(Invalid),
                Err(_) => {}
            }
        }
        self.len = 0;
        self.begin_character(character.get(..len).unwrap_or_default())?;
        Ok(rest)
    }
}

/// Mends a text that comes in pieces: what is not UTF-8 becomes U+FFFD, the
/// same as if the text had come whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mend {
    /// The octets of a character that is not yet whole.
    begun: [u8; 3],
    len: u8,
}

impl Mend {
    /// The next octets of the text, as far as they are certain; after the
    /// `last` ones nothing is kept back.
    pub(crate) fn feed<'o>(&mut self, octets: &'o [u8], last: bool) -> Cow<'o, [u8]> {
        let mut text = Cow::Borrowed(octets);
        if self.len > 0 {
            let begun = self.begun.get(..usize::from(self.len)).unwrap_or_default();
            text = Cow::Owned([begun, octets].concat());
            self.len = 0;
        }
        let error = match from_utf8(&text) {
            Ok(_) => return text,
            Err(error) => error,
        };
        if error.error_len().is_none() && !last {
            self.begin(text.get(error.valid_up_to()..).unwrap_or_default());
            return match text {
                Cow::Borrowed(octets) => {
                    Cow::Borrowed(octets.get(..error.valid_up_to()).unwrap_or_default())
                }
                Cow::Owned(mut octets) => {
                    octets.truncate(error.valid_up_to());
                    Cow::Owned(octets)
                }
            };
        }
        let mut mended = Vec::with_capacity(text.len() + 16);
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            mended.extend_from_slice(chunk.valid().as_bytes());
            let at_end = chunks.peek().is_none();
            let may_go_on = at_end
                && std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none());
            if may_go_on && !last {
                self.begin(chunk.invalid());
            } else if !chunk.invalid().is_empty() {
                mended.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        Cow::Owned(mended)
    }

    fn begin(&mut self, octets: &[u8]) {
        for (to, from) in self.begun.iter_mut().zip(octets) {
            *to = *from;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn a_character_may_straddle_any_cut() {
        let text = "aé€😀".as_bytes();
        for cut in 0..=text.len() {
            let mut check = Utf8::default();
            let (head, tail) = text.split_at(cut);
            assert_eq!(check.feed(head), Ok(()));
            assert_eq!(check.feed(tail), Ok(()), "cut at {cut}");
            assert!(check.is_whole());
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
        assert!(!check.is_whole());
    }

    #[test]
    fn a_text_in_pieces_is_mended_as_the_whole_is() {
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
                    let mut mend = Mend::default();
                    let mut mended = Vec::new();
                    for (piece, last) in [
                        (text.get(..first), false),
                        (text.get(first..second), false),
                        (text.get(second..), true),
                    ] {
                        let piece = piece.unwrap_or_default();
                        mended.extend_from_slice(&mend.feed(piece, last));
                    }
                    assert_eq!(mended, whole, "{text:x?} at {first} and {second}");
                }
            }
        }
    }
}
