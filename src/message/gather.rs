//! Pieces to whole messages, borrowed where they arrived whole.

use alloc::borrow::Cow;
use alloc::collections::TryReserveError;
use alloc::string::String;
use alloc::vec::Vec;

use simdutf8::basic::from_utf8;

use super::{Message, Piece};
use crate::frame::Kind;

/// Memory in which a message is gathered: a vector, or what a caller has instead.
pub trait GatherBuffer: Default {
    /// The octets in it.
    fn octets(&self) -> &[u8];

    /// The same, to be changed where they lie.
    fn octets_mut(&mut self) -> &mut [u8];

    /// How many octets it can hold without more memory.
    fn capacity(&self) -> usize;

    /// Puts octets behind those in it.
    fn extend_from_slice(&mut self, octets: &[u8]);

    /// Makes it this long. What new octets are is not said.
    fn resize(&mut self, len: usize);
}

impl GatherBuffer for Vec<u8> {
    fn octets(&self) -> &[u8] {
        self
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }

    fn capacity(&self) -> usize {
        Vec::capacity(self)
    }

    fn extend_from_slice(&mut self, octets: &[u8]) {
        Vec::extend_from_slice(self, octets);
    }

    fn resize(&mut self, len: usize) {
        Vec::resize(self, len, 0);
    }
}

/// Gathers the pieces of one message at a time.
///
/// The buffer is borrowed from the caller while a message is incomplete and
/// handed back when it ends, so that a connection between messages owns none.
#[derive(Debug)]
pub struct Gather<B = Vec<u8>> {
    kind: Option<Kind>,
    /// Whether the text was checked while it arrived.
    checked: bool,
    octets: B,
    /// Octets in front of the payload that do not belong to it.
    spare: usize,
    /// Octets of payload, from `spare` on. What lies behind them is room.
    len: usize,
}

/// A text of a version that replaces what is not UTF-8, replaced.
fn replaced(octets: &[u8]) -> Cow<'_, [u8]> {
    match from_utf8(octets) {
        Ok(_) => Cow::Borrowed(octets),
        Err(_) => Cow::Owned(String::from_utf8_lossy(octets).into_owned().into_bytes()),
    }
}

/// A message that arrived whole in one piece: nothing is copied, unless text
/// had to be replaced.
#[derive(Debug)]
pub struct WholeMessage<'b> {
    kind: Kind,
    payload: Cow<'b, [u8]>,
}

impl<'b> WholeMessage<'b> {
    /// The message of a piece that is first and last; `None` of another.
    #[must_use]
    #[inline]
    pub fn of(piece: Piece<'b>) -> Option<WholeMessage<'b>> {
        if !(piece.first && piece.last) {
            return None;
        }
        let octets: &'b [u8] = piece.octets;
        let payload = if piece.checked || piece.kind == Kind::Binary {
            Cow::Borrowed(octets)
        } else {
            replaced(octets)
        };
        Some(WholeMessage {
            kind: piece.kind,
            payload,
        })
    }

    /// The message.
    #[must_use]
    #[inline]
    pub fn message(&self) -> Message<'_> {
        Message::checked(self.kind, &self.payload)
    }
}

impl Default for Gather {
    fn default() -> Gather {
        Gather::into_buffer(Vec::new(), 0)
    }
}

impl<B: GatherBuffer> Gather<B> {
    /// Gathers into this buffer and leaves `spare` octets in front of the
    /// payload free.
    #[must_use]
    pub fn into_buffer(octets: B, spare: usize) -> Gather<B> {
        Gather {
            kind: None,
            checked: false,
            octets,
            spare,
            len: 0,
        }
    }

    /// The kind of the message that is being gathered; `None` between messages.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Octets of payload gathered so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no payload was gathered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece by copying it.
    pub fn add(&mut self, piece: &Piece<'_>) {
        let (end, n) = (self.spare + self.len, piece.octets.len());
        match self.octets.octets_mut().get_mut(end..end + n) {
            Some(room) => room.copy_from_slice(piece.octets),
            None => {
                self.octets.resize(end);
                self.octets.extend_from_slice(piece.octets);
            }
        }
        self.add_in_place(piece.kind, piece.checked, n);
    }

    /// Octets of memory that the buffer takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// Takes the memory for `want` more octets, where `to_come` are known to come
    /// at least. The buffer doubles as a rule, but a frame whose length is known
    /// does not take more than it needs. `grow` gives the buffer, or another one
    /// with the same octets, at least the first capacity; the second is that of the
    /// whole frame, `usize::MAX` where that is not known.
    ///
    /// # Errors
    ///
    /// Where there is no memory; what was gathered stays.
    pub fn try_reserve(
        &mut self,
        want: usize,
        to_come: u64,
        grow: impl FnOnce(&mut B, usize, usize) -> Result<(), TryReserveError>,
    ) -> Result<(), TryReserveError> {
        let used = self.spare + self.len;
        if self.octets.capacity() >= used + want {
            return Ok(());
        }
        let to_come = usize::try_from(to_come).unwrap_or(usize::MAX);
        // Not less than an eighth, or many small fragments would move it often.
        let more = to_come.min(used).max(used / 8).max(want);
        if self.octets.octets().len() > used {
            self.octets.resize(used);
        }
        grow(&mut self.octets, used + more, used.saturating_add(to_come))
    }

    /// Room for `want` octets behind what was gathered. Octets that are read
    /// into it and turn out to be one piece are gathered by
    /// [`Gather::add_in_place`], without a copy.
    pub fn room(&mut self, want: usize) -> &mut [u8] {
        let start = self.spare + self.len;
        if self.octets.octets().len() < start + want {
            self.octets.resize(start + want);
        }
        let (_, behind) = self.octets.octets_mut().split_at_mut(start);
        behind.split_at_mut(want).0
    }

    /// The first `n` octets of the room are a piece of this kind; `checked` as
    /// [`Piece::checked`].
    ///
    /// # Panics
    ///
    /// Where the room was smaller.
    pub fn add_in_place(&mut self, kind: Kind, checked: bool, n: usize) {
        assert!(self.octets.octets().len() >= self.spare + self.len + n);
        self.kind = Some(kind);
        self.checked = checked;
        self.len += n;
    }

    /// The message, once its last piece was added; empty where none was. Text
    /// that was not checked while it arrived is replaced where it is not UTF-8.
    pub fn finish(&mut self) -> Message<'_> {
        let kind = self.kind.unwrap_or(Kind::Binary);
        if kind == Kind::Text && !self.checked {
            if let Cow::Owned(text) = replaced(self.payload()) {
                self.octets.resize(self.spare);
                self.octets.extend_from_slice(&text);
                self.len = text.len();
            }
        }
        Message::checked(kind, self.payload())
    }

    fn payload(&self) -> &[u8] {
        if self.is_empty() {
            return &[];
        }
        let (_, payload) = self.octets.octets().split_at(self.spare);
        payload.split_at(self.len).0
    }

    /// Makes ready for the next message; the buffer is kept.
    pub fn clear(&mut self) {
        self.kind = None;
        self.len = 0;
    }

    /// Gives the buffer up: what was gathered lies from `spare` to the end.
    #[must_use]
    pub fn into_octets(mut self) -> B {
        self.octets.resize(self.spare + self.len);
        self.octets
    }
}
