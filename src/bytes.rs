//! Octets in and out: the one cursor over what was received, and where output
//! goes.

use alloc::vec::Vec;
use core::{fmt, mem};

use crate::extension::Codecs;

/// Octets of payload that are inflated in one go at least, however small the room.
const LEAST_INFLATED: usize = 8 * 1024;

/// Octets that were received and not yet consumed.
///
/// What is taken lives as long as the buffer, not as long as the cursor, so
/// that an event may be kept while the next one is asked for. What is left
/// when a parse needs more goes in front of the octets that arrive next.
#[derive(Debug)]
pub struct Input<'b> {
    rest: &'b mut [u8],
    at: u64,
    /// Where inflated payload is written.
    room: &'b mut [u8],
    /// Octets of payload that may be inflated to it.
    to_inflate: usize,
}

impl<'b> Input<'b> {
    /// A cursor at the start of the stream.
    #[must_use]
    pub fn new(octets: &'b mut [u8]) -> Input<'b> {
        Input::starting_at(octets, 0)
    }

    /// A cursor whose first octet is number `at` of the stream; a
    /// [`Trace`](crate::trace::Trace) reports positions in the stream.
    #[must_use]
    pub fn starting_at(octets: &'b mut [u8], at: u64) -> Input<'b> {
        Input {
            rest: octets,
            at,
            room: &mut [],
            to_inflate: LEAST_INFLATED,
        }
    }

    /// The same with room for what is inflated, which a connection that agreed on
    /// compression needs. Where the room is full, `Conn::waits_for_room` says so,
    /// and the parse goes on with another input that has new room. It says so too
    /// once as many octets as the room has, and at least 8 KiB, were taken from the
    /// input: there are streams of which little or nothing comes out. Pieces of
    /// messages lie in the room.
    #[must_use]
    pub fn with_room(self, room: &'b mut [u8]) -> Input<'b> {
        let to_inflate = room.len().max(LEAST_INFLATED);
        Input {
            room,
            to_inflate,
            ..self
        }
    }

    /// Octets that may be inflated before others have their turn.
    pub(crate) fn to_inflate(&self) -> usize {
        self.to_inflate
    }

    /// Notes that this many octets were inflated.
    pub(crate) fn count_inflated(&mut self, octets: usize) {
        self.to_inflate = self.to_inflate.saturating_sub(octets);
    }

    /// What is left of the room.
    pub(crate) fn room(&self) -> &[u8] {
        self.room
    }

    /// The next `n` octets, which are not consumed, and what is left of the room.
    pub(crate) fn ahead(&mut self, n: usize) -> (&[u8], &mut [u8]) {
        (self.rest.split_at(n).0, self.room)
    }

    /// Takes the first `n` octets of the room.
    pub(crate) fn take_room(&mut self, n: usize) -> &'b mut [u8] {
        let (taken, room) = mem::take(&mut self.room).split_at_mut(n);
        self.room = room;
        taken
    }

    /// What is not yet consumed.
    #[must_use]
    #[inline]
    pub fn rest(&self) -> &[u8] {
        self.rest
    }

    /// The same, to be changed where it lies.
    #[inline]
    pub(crate) fn rest_mut(&mut self) -> &mut [u8] {
        self.rest
    }

    /// The position of the next octet in the stream.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Consumes `n` octets, or as many as there are.
    #[inline]
    pub fn take(&mut self, n: usize) -> &'b mut [u8] {
        let rest = mem::take(&mut self.rest);
        let n = n.min(rest.len());
        let (taken, rest) = rest.split_at_mut(n);
        self.rest = rest;
        self.at += n as u64;
        taken
    }

    /// Consumes all that is left.
    pub fn take_all(&mut self) -> &'b mut [u8] {
        self.take(usize::MAX)
    }
}

/// A source of random octets: keys, nonces and masks are made of them. A real
/// connection needs octets that cannot be guessed; a replay gives those that
/// were recorded.
pub trait Random {
    /// Fills the slice.
    fn fill(&mut self, octets: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Random for F {
    fn fill(&mut self, octets: &mut [u8]) {
        self(octets);
    }
}

/// Where output goes, and where its random octets come from.
pub struct Output<'o> {
    /// The octets to send; only ever appended to.
    pub octets: &'o mut Vec<u8>,
    /// The source of keys, nonces and masks.
    pub random: &'o mut dyn Random,
    codecs: Option<&'o mut Codecs>,
}

impl<'o> Output<'o> {
    /// Output is appended to `octets`.
    pub fn new(octets: &'o mut Vec<u8>, random: &'o mut dyn Random) -> Output<'o> {
        Output {
            octets,
            random,
            codecs: None,
        }
    }

    /// The same, with the compressors that the connections of a thread share.
    /// Without them each message makes its own.
    #[must_use]
    pub fn with_shared_codecs(self, codecs: &'o mut Codecs) -> Output<'o> {
        Output {
            codecs: Some(codecs),
            ..self
        }
    }

    /// Whether others wait for their turn while something is deflated.
    pub(crate) fn has_limit_of_deflating(&self) -> bool {
        let codecs = self.codecs.as_ref();
        codecs.is_some_and(|codecs| codecs.has_limit())
    }

    /// Whether more may be deflated before others have their turn.
    #[inline]
    pub(crate) fn may_deflate(&self) -> bool {
        let codecs = self.codecs.as_ref();
        codecs.is_none_or(|codecs| codecs.may_deflate())
    }

    /// Notes that this was deflated.
    pub(crate) fn count_deflated(&mut self, octets: usize) {
        if let Some(codecs) = &mut self.codecs {
            codecs.count_deflated(octets);
        }
    }

    /// Uses the compressors.
    pub(crate) fn with_codecs<R>(&mut self, use_codecs: impl FnOnce(&mut Codecs) -> R) -> R {
        match &mut self.codecs {
            Some(codecs) => use_codecs(codecs),
            None => use_codecs(&mut Codecs::default()),
        }
    }

    /// As many random octets as the array has.
    pub(crate) fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.random.fill(&mut octets);
        octets
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("octets", &self.octets.len())
            .finish_non_exhaustive()
    }
}

/// What a peer sent, made safe for a terminal, a log or a page of text: nothing
/// invisible, nothing that moves the cursor or turns the direction of writing,
/// and no more than `MAX` characters.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a, const MAX: usize = 200>(pub &'a str);

impl<const MAX: usize> fmt::Display for Escaped<'_, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (i, c) in self.0.chars().enumerate() {
            if i == MAX {
                return f.write_char('…');
            }
            match c {
                '\'' | '"' | '\\' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn escaped_text_is_inert() {
        let hostile = "a\x1b[2J\r\n\u{202e}b\u{2028}\u{9b}\u{7f}é😀\"";
        let shown = Escaped::<200>(hostile).to_string();
        let kept = r#"a\u{1b}[2J\r\n\u{202e}b\u{2028}\u{9b}\u{7f}é😀""#;
        assert_eq!(shown, kept);
        assert_eq!(Escaped::<3>("abcdef").to_string(), "abc…");
    }
}
