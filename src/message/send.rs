//! The sending half of the message layer: order and UTF-8.

use crate::error::Unsendable;
use crate::frame::Kind;
use crate::frame::utf8::Utf8;

/// Keeps the order of what is sent in one direction.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The kind of the message that is being sent in pieces; `None` between
    /// messages.
    kind: Option<Kind>,
    utf8: Utf8,
}

impl Sender {
    /// Whether a message is being sent in pieces and is not finished.
    #[inline]
    pub(crate) fn is_inside_message(&self) -> bool {
        self.kind.is_some()
    }

    /// A whole message is to be sent.
    ///
    /// # Errors
    ///
    /// [`Unsendable::MessageUnfinished`] where another one is not finished.
    #[inline]
    pub(crate) fn whole(&self) -> Result<(), Unsendable> {
        if self.is_inside_message() {
            return Err(Unsendable::MessageUnfinished);
        }
        Ok(())
    }

    /// A piece of a message is to be sent.
    ///
    /// # Errors
    ///
    /// A piece out of order, or text that is not UTF-8.
    pub(crate) fn piece(
        &mut self,
        kind: Kind,
        octets: &[u8],
        first: bool,
        last: bool,
    ) -> Result<(), Unsendable> {
        match (first, self.kind) {
            (true, Some(_)) => return Err(Unsendable::MessageUnfinished),
            (false, None) => return Err(Unsendable::PieceWithoutFirst),
            _ => {}
        }
        let mut utf8 = if first { Utf8::default() } else { self.utf8 };
        if kind == Kind::Text && (utf8.feed(octets).is_err() || last && !utf8.is_complete()) {
            return Err(Unsendable::TextNotUtf8);
        }
        self.utf8 = utf8;
        self.kind = (!last).then_some(kind);
        Ok(())
    }
}
