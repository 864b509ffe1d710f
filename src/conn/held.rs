//! What waits on its way from one connection to another, for the end of its frame or
//! of its message, and whether it is compressed there.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{Conn, State};
use crate::bytes::Output;
use crate::error::Unsendable;
use crate::frame::{Kind, Position};
use crate::message::Piece;

/// A frame whose length is not known before it ends is gathered up to this many
/// octets, and goes on in fragments of that size. So do a hixie text, which has no
/// length, base64 that is decoded, and what is compressed on its way.
pub const FRAGMENT: usize = 64 * 1024;

/// Where a piece lies in its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct FramePart {
    pub(super) is_first: bool,
    /// Octets of the frame that follow the piece; `None` where its version, or
    /// that of the other end, has no lengths.
    pub(super) to_come: Option<u64>,
    /// Octets of the frame that follow the piece, as far as that is known.
    pub(super) known_to_come: u64,
    /// Octets of the piece.
    octets: u64,
    /// Whether the frame is the last of its message.
    pub(super) is_final: bool,
    /// Whether the frame ends with the piece.
    pub(super) ends: bool,
    /// Whether nothing in it is replaced.
    pub(super) is_exact: bool,
    /// Whether it is compressed, and carried as it is.
    pub(super) is_compressed: bool,
}

impl FramePart {
    pub(super) fn of(piece: &Piece<'_>, has_lengths: bool) -> FramePart {
        FramePart {
            is_first: piece.frame_first,
            to_come: piece.frame_to_come.filter(|_| has_lengths),
            known_to_come: piece.frame_to_come.unwrap_or(0),
            octets: piece.octets.len() as u64,
            is_final: piece.frame_is_final,
            ends: piece.last || piece.frame_to_come == Some(0),
            is_exact: piece.checked || piece.compressed || piece.kind == Kind::Binary,
            is_compressed: piece.compressed,
        }
    }

    /// The length of the frame that starts here.
    fn length(&self) -> Option<u64> {
        self.to_come?.checked_add(self.octets)
    }

    /// Whether the frame starts here and is too long to be held.
    pub(super) fn keeps_length(&self) -> bool {
        self.is_first && self.length().is_some_and(|length| length > FRAGMENT as u64)
    }

    /// How much of the frame that starts here may be held: all of a short one,
    /// so that it stays one frame when octets of it are replaced.
    fn most_held(&self) -> usize {
        match self.length() {
            Some(length) if length <= FRAGMENT as u64 => usize::MAX,
            _ => FRAGMENT,
        }
    }
}

/// Payload that waits for the end of its frame, or of its message.
#[derive(Debug, Default)]
pub(super) struct Held {
    octets: Vec<u8>,
    /// How much of the frame at hand may be held.
    most: usize,
    /// Whether the message at hand, as far as it is known, is too short to be
    /// compressed.
    is_short: bool,
}

impl Held {
    /// Octets of memory that it takes.
    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Throws it away.
    pub(super) fn discard(&mut self) {
        self.octets = Vec::new();
    }

    /// A frame starts, of which octets are held.
    pub(super) fn start_frame(&mut self, frame: &FramePart) {
        self.most = frame.most_held();
    }

    /// So many octets more of a message are at hand, and so many are sure to come,
    /// while nothing of it was sent to this end: is it too short to be compressed?
    pub(super) fn measure(&mut self, more: usize, to_come: u64, to: &Conn) {
        let at_hand = (self.octets.len() as u64).saturating_add(more as u64);
        self.is_short = at_hand.saturating_add(to_come) < to.least_compressed();
    }

    /// Whether the message at hand, as far as it is known, is too short to be
    /// compressed.
    pub(super) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Where these octets are more than may be held, those that fill a fragment up, and
    /// the rest.
    pub(super) fn split_excess<'b>(&self, octets: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        let room = self.most.saturating_sub(self.octets.len());
        (octets.len() > room).then(|| octets.split_at(room))
    }

    /// Holds these octets too.
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Takes all out, with these octets behind it.
    pub(super) fn take_with<'b>(&mut self, octets: &'b [u8]) -> Cow<'b, [u8]> {
        let mut held = core::mem::take(&mut self.octets);
        if held.is_empty() {
            return Cow::Borrowed(octets);
        }
        held.extend_from_slice(octets);
        Cow::Owned(held)
    }
}

impl Conn {
    /// Whether it compresses what it sends.
    #[inline]
    pub(crate) fn deflates(&self) -> bool {
        let may = match &self.state {
            State::Open(open) => open.wire.deflates(),
            State::PeerClosed(peer_closed) => peer_closed.open.wire.deflates(),
            State::Handshake(..) | State::Over(_) => false,
        };
        may && self.keeps_to_its_coding()
    }

    fn keeps_to_its_coding(&self) -> bool {
        let deflate = self.compression();
        deflate.is_some_and(|deflate| deflate.of(self.side()).can_be_kept())
    }

    /// The octets of the shortest message that it compresses, where a message is
    /// compressed as a whole.
    fn least_compressed(&self) -> u64 {
        let deflate = self.compression().filter(|_| self.deflates());
        match deflate {
            Some(deflate) if !deflate.is_per_frame() => self.config.compression.threshold as u64,
            _ => 0,
        }
    }

    /// Sends a part of a message in a frame of its own, compressed. A text must
    /// have been checked.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send, or a frame out of order; nothing
    /// is written then.
    pub(super) fn send_frame_deflated(
        &mut self,
        kind: Kind,
        position: Position,
        payload: &[u8],
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let compression = self.config.compression;
        let open = self.sending(kind)?;
        let mut sender = open.sender();
        sender.start_frame(kind, position.first)?;
        if let Some(deflate) = open.wire.deflate() {
            let piece = (kind, position, payload);
            open.send_piece_deflated(deflate, &compression, piece, out);
        }
        sender.end_frame(position.last);
        open.set_sender(sender);
        Ok(())
    }
}
