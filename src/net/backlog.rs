//! Output that waits for a peer: octets that were sent and that the system does
//! not take yet.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::budget::{Budget, Charge};
use super::buffer::Buffer;
use super::transport::Transport;
use crate::frame::Framing;

/// Octets that wait for one peer.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Chunk>,
    /// Octets of the first chunk that were written.
    written: usize,
    len: usize,
    /// Octets of memory that its own chunks take; shared ones are counted once for
    /// all.
    own: usize,
    /// Large chunks that were written, for the pool.
    spent: Option<Buffer>,
}

/// A chunk grows to this, so that many small messages are one write.
const CHUNK: usize = 64 * 1024;

/// Whether something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    None,
    Some,
}

/// Octets that wait: of one connection, or shared by many.
#[derive(Debug)]
enum Chunk {
    Own(Buffer),
    Shared(Part),
}

/// Octets that many connections send, in memory once.
#[derive(Debug)]
pub(super) struct Shared {
    octets: Vec<u8>,
    _charge: Charge,
}

impl Shared {
    pub(super) fn new(octets: Vec<u8>, budget: &Arc<Budget>) -> Arc<Shared> {
        let _charge = budget.charge(octets.capacity());
        Arc::new(Shared { octets, _charge })
    }

    #[inline]
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// A part of what many connections send.
#[derive(Clone, Debug)]
pub(super) struct Part {
    of: Arc<Shared>,
    at: Range<usize>,
}

impl Part {
    /// All of it between these two octets.
    pub(super) fn new(of: &Arc<Shared>, at: Range<usize>) -> Part {
        let of = Arc::clone(of);
        assert!(at.start <= at.end && at.end <= of.octets.len());
        Part { of, at }
    }

    #[inline]
    pub(super) fn octets(&self) -> &[u8] {
        let (octets, _) = self.of.octets.split_at(self.at.end);
        octets.split_at(self.at.start).1
    }
}

impl Chunk {
    fn octets(&self) -> &[u8] {
        match self {
            Chunk::Own(octets) => octets,
            Chunk::Shared(part) => part.octets(),
        }
    }
}

impl Backlog {
    /// Writes these octets, behind those that wait. `out` is empty then.
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more.
    #[inline]
    pub(super) fn send(
        &mut self,
        out: &mut Vec<u8>,
        transport: &mut Transport,
    ) -> io::Result<Progress> {
        let first = self.send_or_keep(out, transport);
        // Also where the write failed: what was for this peer must never be there
        // when the next one is written to.
        out.clear();
        let mut progress = first?;
        while transport.is_writable() {
            let Some(waiting) = self.front() else {
                break;
            };
            let n = transport.write(waiting)?;
            if n > 0 {
                progress = Progress::Some;
            }
            self.wrote(n);
        }
        Ok(progress)
    }

    #[inline]
    fn send_or_keep(&mut self, out: &[u8], transport: &mut Transport) -> io::Result<Progress> {
        if !self.is_empty() || !transport.is_writable() || out.is_empty() {
            self.push_small(out);
            return Ok(Progress::None);
        }
        let n = transport.write(out)?;
        if n < out.len() {
            self.push_small(out.split_at(n).1);
        }
        Ok(if n > 0 {
            Progress::Some
        } else {
            Progress::None
        })
    }

    /// Writes octets that many connections share, or keeps them, without a copy.
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more.
    pub(super) fn send_shared(&mut self, part: Part, transport: &mut Transport) -> io::Result<()> {
        let mut written = 0;
        if self.is_empty() && transport.is_writable() {
            written = transport.write(part.octets())?;
        }
        if written < part.octets().len() {
            self.push_shared(part, written);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets that wait.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |w| w.len)
    }

    /// Octets of memory that it takes for itself alone.
    #[inline]
    pub(super) fn own_capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |w| w.own)
    }

    /// Puts octets behind what waits, by copying them.
    pub(super) fn push_small(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let waiting = self.0.get_or_insert_default();
        waiting.len += octets.len();
        match waiting.chunks.back_mut() {
            Some(Chunk::Own(last)) if last.len() + octets.len() <= CHUNK => {
                let before = last.capacity();
                last.extend_from_slice(octets);
                waiting.own += last.capacity() - before;
            }
            _ => {
                let mut chunk = Buffer::default();
                chunk.extend_from_slice(octets);
                waiting.own += chunk.capacity();
                waiting.chunks.push_back(Chunk::Own(chunk));
            }
        }
    }

    /// Puts a buffer behind what waits, without a copy. Its first
    /// [`Framing::MAX_HEADER`] octets are spare: the header is written into
    /// them, right before the payload.
    pub(super) fn push_large(&mut self, mut buffer: Buffer, framing: &Framing) {
        let header = framing.header();
        let start = Framing::MAX_HEADER - header.len();
        let (spare, _) = buffer.split_at_mut(Framing::MAX_HEADER);
        let (_, before_payload) = spare.split_at_mut(start);
        before_payload.copy_from_slice(header);
        buffer.extend_from_slice(framing.terminator().as_slice());
        let waiting = self.0.get_or_insert_default();
        waiting.len += buffer.len() - start;
        if waiting.chunks.is_empty() {
            waiting.written = start;
        } else {
            // Only the first chunk may have octets that are not sent.
            buffer.copy_within(start.., 0);
            buffer.truncate(buffer.len() - start);
        }
        waiting.own += buffer.capacity();
        waiting.chunks.push_back(Chunk::Own(buffer));
    }

    /// Puts shared octets, of which so many were written, behind what waits, without
    /// a copy.
    pub(super) fn push_shared(&mut self, part: Part, written: usize) {
        let waiting = self.0.get_or_insert_default();
        waiting.len += part.octets().len() - written;
        if waiting.chunks.is_empty() {
            waiting.written = written;
        }
        waiting.chunks.push_back(Chunk::Shared(part));
    }

    fn front(&self) -> Option<&[u8]> {
        let waiting = self.0.as_ref()?;
        waiting.chunks.front()?.octets().get(waiting.written..)
    }

    fn wrote(&mut self, n: usize) {
        let Some(waiting) = &mut self.0 else {
            return;
        };
        waiting.written += n;
        waiting.len -= n;
        if waiting
            .chunks
            .front()
            .is_some_and(|c| c.octets().len() == waiting.written)
        {
            waiting.written = 0;
            if let Some(Chunk::Own(octets)) = waiting.chunks.pop_front() {
                waiting.own = waiting.own.saturating_sub(octets.capacity());
                waiting.spent = Some(octets);
            }
        }
    }

    /// A buffer that was written and may be used again. Gives all memory back
    /// once nothing waits.
    #[inline]
    pub(super) fn spent(&mut self) -> Option<Buffer> {
        let spent = self.0.as_mut()?.spent.take();
        if self.is_empty() {
            self.0 = None;
        }
        spent
    }
}
