//! Pieces into whole messages, borrowed where they arrived whole.

use std::borrow::Cow;

use simdutf8::basic::from_utf8;

use crate::frame::{Kind, Message, Piece};

/// Gathers the pieces of one message at a time.
///
/// The buffer is borrowed from the caller while a message is incomplete and
/// handed back when it ends, so that a connection between messages owns none.
#[derive(Debug, Default)]
pub struct Gather {
    kind: Option<Kind>,
    octets: Vec<u8>,
    /// Octets in front of the payload that are not of it.
    spare: usize,
    /// Octets that hold payload, from `spare` on; behind them is room.
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
    /// `checked` says that the text was checked as it came.
    #[must_use]
    #[inline]
    pub fn of(piece: Piece<'b>, checked: bool) -> Option<WholeMessage<'b>> {
        if !(piece.first && piece.last) {
            return None;
        }
        let octets: &'b [u8] = piece.octets;
        let payload = if checked || piece.kind == Kind::Binary {
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

impl Gather {
    /// Gathers into this buffer, leaving `spare` octets in front of the
    /// payload free.
    #[must_use]
    pub fn into_buffer(octets: Vec<u8>, spare: usize) -> Gather {
        let mut gather = Gather {
            kind: None,
            octets,
            spare,
            len: 0,
        };
        if gather.octets.len() < spare {
            gather.octets.resize(spare, 0);
        }
        gather
    }

    /// The kind of the message that is gathered, while one is.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Octets gathered so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was gathered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece by copying it.
    pub fn add(&mut self, piece: &Piece<'_>) {
        self.kind = Some(piece.kind);
        let at = self.spare + self.len;
        self.octets.truncate(at.max(self.octets.len()));
        if let Some(room) = self.octets.get_mut(at..at + piece.octets.len()) {
            room.copy_from_slice(piece.octets);
        } else {
            self.octets.truncate(at);
            self.octets.extend_from_slice(piece.octets);
        }
        self.len += piece.octets.len();
    }

    /// Room behind what was gathered: octets that are read into it, and turn
    /// out to be one piece, are gathered by [`Gather::grow`] without a copy.
    pub fn room(&mut self, want: usize) -> &mut [u8] {
        let at = self.spare + self.len;
        if self.octets.len() < at + want {
            self.octets.resize(at + want, 0);
        }
        self.octets.get_mut(at..at + want).unwrap_or_default()
    }

    /// The first `n` octets of the room hold payload now.
    pub fn grow(&mut self, kind: Kind, n: usize) {
        self.kind = Some(kind);
        self.len = (self.len + n).min(self.octets.len().saturating_sub(self.spare));
    }

    /// The message, once its last piece was added. Text that was not `checked`
    /// as it came is replaced where it is not UTF-8.
    pub fn finish(&mut self, checked: bool) -> Message<'_> {
        let kind = self.kind.unwrap_or(Kind::Binary);
        let range = self.spare..self.spare + self.len;
        if kind == Kind::Text && !checked {
            let payload = self.octets.get(range.clone()).unwrap_or_default();
            if let Cow::Owned(text) = replaced(payload) {
                self.octets.truncate(self.spare);
                self.octets.extend_from_slice(&text);
                self.len = text.len();
            }
        }
        let payload = self.octets.get(self.spare..self.spare + self.len);
        Message::checked(kind, payload.unwrap_or_default())
    }

    /// Gives the buffer up: what was gathered lies from `spare` to the end,
    /// and nothing behind it.
    #[must_use]
    pub fn into_octets(mut self) -> Vec<u8> {
        self.octets.truncate(self.spare + self.len);
        self.octets
    }
}
