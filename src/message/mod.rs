//! Messages: frames to pieces of messages and back.
//!
//! A `Receiver` keeps the order of frames, the size limit and the check of
//! UTF-8 for one direction; a `Sender` keeps the order and the UTF-8 of what
//! we send. [`Gather`] makes whole messages of pieces.

mod gather;
mod receive;
mod send;
mod deflating;

use alloc::string::String;
use alloc::vec::Vec;

pub use crate::frame::Kind;
pub(crate) use deflating::{Deflating, Receiving, Step};
pub use gather::{Gather, GatherBuffer, WholeMessage};
pub(crate) use receive::Receiver;
pub(crate) use send::Sender;

/// A whole message. A text is valid UTF-8 by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    kind: Kind,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// A text message.
    #[must_use]
    pub fn text(text: &'a str) -> Message<'a> {
        Message {
            kind: Kind::Text,
            payload: text.as_bytes(),
        }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(octets: &'a [u8]) -> Message<'a> {
        Message {
            kind: Kind::Binary,
            payload: octets,
        }
    }

    /// A message whose text was checked before.
    pub(crate) fn checked(kind: Kind, payload: &'a [u8]) -> Message<'a> {
        debug_assert!(kind == Kind::Binary || core::str::from_utf8(payload).is_ok());
        Message { kind, payload }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The octets of the message.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Text => core::str::from_utf8(self.payload).ok(),
            Kind::Binary => None,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Message<'a> {
        Message::text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Message<'a> {
        Message::text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(octets: &'a [u8]) -> Message<'a> {
        Message::binary(octets)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(octets: &'a Vec<u8>) -> Message<'a> {
        Message::binary(octets)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(octets: &'a [u8; N]) -> Message<'a> {
        Message::binary(octets)
    }
}

/// Payload of a message, as much as has arrived. It lies unmasked in the
/// caller's own buffer.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece<'b> {
    /// Text or binary.
    pub kind: Kind,
    /// The octets. Text of a version that replaces what is not UTF-8 is here as
    /// it arrived; [`Gather`] and [`WholeMessage`] replace.
    pub octets: &'b mut [u8],
    /// Whether the message starts here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
    /// Whether the octets of a text were checked to be UTF-8.
    pub checked: bool,
    /// Whether the octets are compressed: of a message that a bridge carries as it
    /// is.
    pub compressed: bool,
    /// Whether a frame starts here.
    pub frame_first: bool,
    /// Octets of the frame that follow this piece; `None` of a hixie text, which
    /// has no length, and of a compressed frame.
    pub frame_to_come: Option<u64>,
    /// Whether the frame is the last of its message.
    pub frame_is_final: bool,
}

impl<'b> Piece<'b> {
    /// A whole message in one frame. A text was checked.
    #[inline(always)]
    pub(crate) fn whole(kind: Kind, octets: &'b mut [u8], has_length: bool) -> Piece<'b> {
        Piece {
            kind,
            octets,
            first: true,
            last: true,
            checked: true,
            compressed: false,
            frame_first: true,
            frame_to_come: has_length.then_some(0),
            frame_is_final: true,
        }
    }
}
