//! The sending half of the message layer: order and UTF-8.

use crate::error::Unsendable;
use crate::frame::Kind;
use crate::frame::utf8::Utf8;

/// Keeps the order of what is sent in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender {
    /// The kind of the message that is being sent in pieces; `None` between
    /// messages.
    kind: Option<Kind>,
    utf8: Utf8,
    /// Whether the payload of a frame is not finished.
    inside_frame: bool,
}

impl Sender {
    /// Whether nothing of a message has been sent that is not finished.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        !self.is_inside_message() && !self.inside_frame
    }

    /// Whether a message is being sent in pieces and is not finished.
    #[inline]
    pub(crate) fn is_inside_message(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether the header of a frame was sent and its payload is not finished:
    /// until then no other frame may be sent.
    #[inline]
    pub(crate) fn is_inside_frame(&self) -> bool {
        self.inside_frame
    }

    /// A control frame is to be sent.
    ///
    /// # Errors
    ///
    /// [`Unsendable::MessageUnfinished`] inside a frame.
    pub(crate) fn control(&self) -> Result<(), Unsendable> {
        if self.inside_frame {
            return Err(Unsendable::MessageUnfinished);
        }
        Ok(())
    }

    /// A frame of a message is to be sent, payload by payload. Its text was
    /// checked by the caller.
    ///
    /// # Errors
    ///
    /// A frame out of order.
    pub(crate) fn start_frame(&mut self, kind: Kind, first: bool) -> Result<(), Unsendable> {
        self.check_order(first)?;
        self.kind = Some(kind);
        self.inside_frame = true;
        Ok(())
    }

    /// The payload of the frame is finished; `last` says whether its message is.
    pub(crate) fn end_frame(&mut self, last: bool) {
        self.inside_frame = false;
        if last {
            self.kind = None;
        }
    }

    fn check_order(&self, first: bool) -> Result<(), Unsendable> {
        match (first, self.kind) {
            _ if self.inside_frame => Err(Unsendable::MessageUnfinished),
            (true, Some(_)) => Err(Unsendable::MessageUnfinished),
            (false, None) => Err(Unsendable::PieceWithoutFirst),
            _ => Ok(()),
        }
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
        self.check_order(first)?;
        let mut utf8 = if first { Utf8::default() } else { self.utf8 };
        if kind == Kind::Text && (utf8.feed(octets).is_err() || last && !utf8.is_complete()) {
            return Err(Unsendable::TextNotUtf8);
        }
        self.utf8 = utf8;
        self.kind = (!last).then_some(kind);
        Ok(())
    }
}
