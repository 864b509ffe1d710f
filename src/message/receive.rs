//! The receiving half of the message layer: order, size limit, UTF-8.

use core::mem;
use core::ops::Range;

use super::Piece;
use crate::error::Violation;
use crate::frame::utf8::Utf8;
use crate::frame::{Chunk, Data, Kind};
use crate::version::Version;

/// Makes pieces of messages of the data frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Octets of the current message so far.
    octets: u64,
    utf8: Utf8,
    /// The kind of the current message; `None` between messages.
    kind: Option<Kind>,
    /// Whether no piece of the message was delivered yet.
    first: bool,
    /// Whether no piece of the frame was delivered yet.
    frame_first: bool,
    /// Whether the message is delivered compressed.
    compressed: bool,
}

impl Receiver {
    /// Octets of the current message so far.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether a message has started and not ended.
    #[inline]
    pub(crate) fn is_inside_message(&self) -> bool {
        self.kind.is_some()
    }

    /// The header of a data frame was read; a message may have `limit` octets.
    ///
    /// # Errors
    ///
    /// A frame out of order (RFC 6455 section 5.4), or a message that is longer
    /// than the limit.
    #[inline(always)]
    pub(crate) fn start_frame(&mut self, data: Data, limit: u64) -> Result<(), Violation> {
        match (data.kind, self.kind) {
            (Some(kind), None) => {
                self.first = true;
                self.octets = 0;
                self.utf8 = Utf8::default();
                self.kind = Some(kind);
                self.compressed = data.compressed;
            }
            (None, Some(_)) => {}
            (Some(_), Some(_)) => return Err(Violation::MessageInterrupted),
            (None, None) => return Err(Violation::ContinuationUnexpected),
        }
        self.frame_first = true;
        match data.length {
            Some(length) => self
                .count(length, limit)
                .map_err(|(violation, _)| violation),
            None => Ok(()),
        }
    }

    /// Payload of the frame whose header was read last.
    ///
    /// # Errors
    ///
    /// What is wrong with the payload, and in which of its octets.
    #[inline(always)]
    pub(crate) fn piece<'b>(
        &mut self,
        chunk: Chunk<'b>,
        version: &Version,
        limit: u64,
    ) -> Result<Piece<'b>, (Violation, Range<usize>)> {
        let Some(kind) = self.kind else {
            unreachable!("payload follows the header of a data frame");
        };
        let Chunk {
            octets,
            frame_to_come,
            frame_is_final,
            message_ends,
        } = chunk;
        let checked = version.checks_text() && !self.compressed;
        if frame_to_come.is_none() {
            // Its length was not known, so the payload is counted as it comes.
            if let Err((violation, at)) = self.count(octets.len() as u64, limit) {
                // What the limit allows may have arrived alone.
                let allowed = octets.get(..at.start).unwrap_or_default();
                if kind == Kind::Text && checked {
                    self.check(allowed, false)?;
                }
                return Err((violation, at));
            }
        }
        if kind == Kind::Text && checked {
            self.check(octets, message_ends)?;
        }
        if message_ends {
            self.kind = None;
        }
        Ok(Piece {
            kind,
            octets,
            first: mem::replace(&mut self.first, false),
            last: message_ends,
            checked,
            compressed: self.compressed,
            frame_first: mem::replace(&mut self.frame_first, false),
            frame_to_come,
            frame_is_final,
        })
    }

    /// Counts octets of the current message. An error names the first octet
    /// beyond the limit.
    #[inline(always)]
    fn count(&mut self, octets: u64, limit: u64) -> Result<(), (Violation, Range<usize>)> {
        match self.octets.checked_add(octets) {
            Some(message) if message <= limit => {
                self.octets = message;
                Ok(())
            }
            _ => {
                let room = usize::try_from(limit.saturating_sub(self.octets)).unwrap_or(0);
                Err((Violation::MessageTooBig { limit }, room..room + 1))
            }
        }
    }

    /// RFC 6455 section 8.1: text is checked as it arrives.
    #[inline(always)]
    fn check(&mut self, octets: &[u8], ends: bool) -> Result<(), (Violation, Range<usize>)> {
        if let Err(invalid) = self.utf8.feed(octets) {
            return Err((Violation::Utf8Invalid, invalid.at));
        }
        if ends && !self.utf8.is_complete() {
            return Err((Violation::Utf8Invalid, octets.len()..octets.len()));
        }
        Ok(())
    }
}
