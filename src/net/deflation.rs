//! A long message that is deflated in portions, one in each turn of its connection,
//! so that other connections have their turns between them.
//!
//! Nothing of it is written before all of it is deflated, because the header of its
//! frame has the length. So it can be sent uncompressed at any time before that.

use super::backlog::Backlog;
use super::buffer::Buffer;
use crate::bytes::Output;
use crate::extension::{Codecs, Compression, Deflater};
use crate::frame::{Framing, Kind};

/// A whole message that is being deflated.
#[derive(Debug)]
pub(super) struct Deflation {
    kind: Kind,
    /// The message, behind room for a header.
    message: Buffer,
    /// What stands around it where it is sent as it is.
    plain: Framing,
    /// Octets of it that were deflated.
    at: usize,
    /// What they were deflated to, behind room for a header.
    deflated: Buffer,
    deflater: Box<Deflater>,
}

/// After this many octets a message that has become no shorter is sent as it is.
const TRIED: usize = 1024 * 1024;

impl Deflation {
    /// Of this message, which lies behind room for a header and is `plain` where it is
    /// not compressed.
    pub(super) fn new(
        (kind, message): (Kind, Buffer),
        plain: Framing,
        deflater: Box<Deflater>,
    ) -> Deflation {
        let mut deflated = Buffer::default();
        deflated.extend_from_slice(&[0; Framing::MAX_HEADER]);
        Deflation {
            kind,
            message,
            plain,
            at: 0,
            deflated,
            deflater,
        }
    }

    /// Octets of memory that it takes.
    pub(super) fn capacity(&self) -> usize {
        self.message.capacity() + self.deflated.capacity() + Deflater::OCTETS
    }

    /// Deflates as much as one turn may. Gives whether the message is ready to be sent.
    pub(super) fn go_on(&mut self, compression: &Compression, out: &mut Output<'_>) -> bool {
        let (_, rest) = self.message.split_at(Framing::MAX_HEADER + self.at);
        let portion = compression.portion().min(rest.len());
        let ends = portion == rest.len();
        let (portion, _) = rest.split_at(portion);
        let mut deflated = out.with_codecs(Codecs::take_buffer);
        if ends {
            self.deflater.finish(portion, &mut deflated);
        } else {
            self.deflater.part(portion, &mut deflated);
        }
        self.deflated.extend_from_slice(&deflated);
        out.with_codecs(|codecs| codecs.give_back_buffer(deflated));
        out.count_deflated(compression.cost_of(portion.len()));
        self.at += portion.len();
        ends || self.at >= TRIED && self.deflated.len() >= Framing::MAX_HEADER + self.at
    }

    /// Sends the message, behind what waits in this backlog: compressed where all of
    /// it is, and that makes it shorter. Gives a buffer that can be used again.
    pub(super) fn send(self, backlog: &mut Backlog, out: &mut Output<'_>) -> Buffer {
        let length = self.message.len() - Framing::MAX_HEADER;
        let deflated = self.deflated.len() - Framing::MAX_HEADER;
        out.with_codecs(|codecs| codecs.give_back_deflater(self.deflater));
        if self.at == length && deflated < length {
            backlog.push_large(self.deflated, &Framing::compressed(self.kind, deflated));
            self.message
        } else {
            backlog.push_large(self.message, &self.plain);
            self.deflated
        }
    }
}
