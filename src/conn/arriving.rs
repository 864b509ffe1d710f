//! What is known of the message that is arriving.

use super::open::Open;
use super::{Conn, State};
use crate::bytes::Input;
use crate::message::Deflating;

impl Conn {
    /// The octets of payload that are still to come of the current frame, where
    /// its length is known. A caller that gathers whole messages may read them
    /// straight into the message's buffer.
    #[must_use]
    pub fn payload_to_come(&self) -> u64 {
        self.receiving().map_or(0, Open::payload_to_come)
    }

    /// Whether the header of a message has arrived, and not its end.
    #[cfg(feature = "net")]
    pub(crate) fn is_inside_message(&self) -> bool {
        self.receiving().is_some_and(Open::is_inside_message)
    }

    /// Whether the parse stopped because the room is full, or enough was inflated: give
    /// [`Conn::next`] an input with new room ([`Input::with_room`]), before more is read.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        match &self.state {
            State::Open(open) => {
                let deflating = open.deflating();
                deflating.is_some_and(Deflating::waits_for_room)
            }
            _ => false,
        }
    }

    /// Octets of memory that compression holds between two calls: for a message that
    /// arrives, and for contexts.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn held_for_compression(&self) -> (usize, usize) {
        match &self.state {
            State::Open(open) => open.held_for_compression(),
            State::PeerClosed(peer_closed) => peer_closed.open.held_for_compression(),
            State::Handshake(..) | State::Over(_) => (0, 0),
        }
    }

    /// How many octets come next, as far as they have arrived, that belong to one
    /// data frame, where that is compressed, was started, or is one of several of
    /// its message; `None` where something else comes next.
    pub(super) fn fragment_ahead(&self, input: &Input<'_>) -> Option<usize> {
        match &self.state {
            State::Open(open) => open.fragment_ahead(input),
            _ => None,
        }
    }

    /// Whether a text without a length is arriving: it ends at its 0xFF.
    #[must_use]
    pub fn text_to_come(&self) -> bool {
        self.receiving()
            .is_some_and(Open::is_in_text_without_length)
    }
}
