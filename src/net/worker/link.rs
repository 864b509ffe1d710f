//! A link: a socket, the connection behind it, and what waits to be written.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;

use crate::conn::{Conn, Limits};
use crate::message::Gather;
use crate::net::{ClosedBy, EndReason, Recorder};
use crate::version::{Side, Version};

use super::BridgeLink;

/// How far a link has come. Each stage has one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake, from accept on.
    Handshake,
    /// Messages go both ways.
    Open,
    /// The last words are being written, or the peer's are awaited.
    Closing,
    /// The write side is shut; what still comes is thrown away, so that no
    /// reset eats our last words (RFC 9112 section 9.6).
    Draining,
}

/// A socket and the connection behind it. Between messages it owns no buffer.
#[derive(Debug)]
pub(super) struct Link<G> {
    pub(super) conn: Conn,
    pub(super) data: G,
    /// Octets that were received and not eaten.
    pub(super) unparsed: Vec<u8>,
    pub(super) backlog: Backlog,
    pub(super) gather: Option<Box<Gather>>,
    /// From when the deadline of this stage counts, in milliseconds.
    pub(super) since_ms: u64,
    /// When the wheel looks next; 0 for never.
    pub(super) armed_ms: u64,
    pub(super) stream: TcpStream,
    /// Octets thrown away while draining.
    pub(super) drained: u32,
    pub(super) stage: Stage,
    /// The system may have something to read; cleared when it says it has not.
    pub(super) readable: bool,
    /// The peer has ended its side, or may have: a short read proves nothing.
    pub(super) read_closed: bool,
    /// The system takes octets; cleared when it says it does not.
    pub(super) writable: bool,
    /// Registered for writing too.
    pub(super) watches_writes: bool,
    /// Waits in the ready list.
    pub(super) queued: bool,
    /// Read again only when other workers have taken the mail.
    pub(super) read_paused_by_mailbox: bool,
    /// What is eaten next has come already: nothing is read for it.
    pub(super) has_unparsed: bool,
    /// Its partner does not take what it says, or cannot yet.
    pub(super) read_paused_by_bridge: bool,
    /// A PROXY header comes first.
    pub(super) expects_proxy_header: bool,
    pub(super) counted_as: CountedAs,
    pub(super) record: LinkRecord,
    /// The other link of its bridge.
    pub(super) bridge: Option<Box<BridgeLink>>,
    /// When it was accepted, in seconds of the worker's life.
    pub(super) began_s: u32,
    /// It asked to be in the room.
    pub(super) in_room: bool,
    /// It is in the room.
    pub(super) is_member: bool,
}

/// Which of the bounded places a link takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountedAs {
    /// One of the connections there may be.
    Connection,
    /// One too many, which is told so.
    Surplus,
    /// None: that of the client it was dialled for.
    Bridge,
}

/// What is told of a link when it is gone.
#[derive(Debug, Default)]
pub(super) struct LinkRecord {
    /// A 101 was sent.
    pub(super) answered: bool,
    /// The handshake came to its end.
    pub(super) opened: bool,
    /// Boxed, since an idle link has none of it.
    details: Option<Box<LinkDetails>>,
}

#[derive(Debug, Default)]
struct LinkDetails {
    /// How it ended: what was seen first.
    ended: Option<EndReason>,
    /// The version that was asked for, where it is off.
    requested_version: Option<&'static Version>,
    /// Where it is kept what goes over its wire.
    recorder: Option<Recorder>,
    /// Octets of what is being said in this turn that are on it already.
    recorded: usize,
}

impl LinkRecord {
    /// Notes an end, unless another was seen before.
    pub(super) fn end(&mut self, ended: EndReason) {
        self.details
            .get_or_insert_default()
            .ended
            .get_or_insert(ended);
    }

    /// Notes a version that is off.
    pub(super) fn set_requested_version(&mut self, version: &'static Version) {
        self.details.get_or_insert_default().requested_version = Some(version);
    }

    pub(super) fn requested_version(&self) -> Option<&'static Version> {
        self.details.as_ref()?.requested_version
    }

    /// How it ended, once that is known.
    pub(super) fn ended(&self) -> Option<EndReason> {
        self.details.as_ref()?.ended
    }

    /// Keeps what goes over the wire.
    pub(super) fn start_recording(&mut self, recorder: Recorder) {
        self.details.get_or_insert_default().recorder = Some(recorder);
    }

    /// Keeps what was said in this turn so far.
    pub(super) fn note_output(&mut self, out: &[u8]) {
        if let Some(LinkDetails {
            recorder: Some(recorder),
            recorded,
            ..
        }) = self.details.as_deref_mut()
        {
            recorder.note(Side::Server, out.get(*recorded..).unwrap_or_default());
            *recorded = out.len();
        }
    }

    /// What was said in this turn is written.
    fn turn_over(&mut self, out: &[u8]) {
        self.note_output(out);
        if let Some(details) = &mut self.details {
            details.recorded = 0;
        }
    }

    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.details.as_ref()?.recorder.as_ref()
    }
}

/// What came of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadResult {
    Octets(usize),
    Nothing,
    End,
    Broken,
}

impl<G: Default> Link<G> {
    pub(super) fn new(stream: TcpStream, conn: Conn, now_ms: u64) -> Link<G> {
        Link {
            conn,
            data: G::default(),
            unparsed: Vec::new(),
            backlog: Backlog::default(),
            gather: None,
            since_ms: now_ms,
            armed_ms: 0,
            stream,
            drained: 0,
            stage: Stage::Handshake,
            readable: true,
            read_closed: false,
            writable: true,
            watches_writes: false,
            queued: false,
            read_paused_by_mailbox: false,
            has_unparsed: false,
            read_paused_by_bridge: false,
            expects_proxy_header: false,
            counted_as: CountedAs::Connection,
            record: LinkRecord::default(),
            bridge: None,
            began_s: u32::try_from(now_ms / 1000).unwrap_or(u32::MAX),
            in_room: false,
            is_member: false,
        }
    }
}

impl<G> Link<G> {
    /// Whether it may be read: nobody is, who does not take what he asked for.
    pub(super) fn wants_read(&self, limits: &Limits) -> bool {
        let has_room = self.backlog.len() <= self.high_water(limits);
        // Who waits for a backend may go on talking, but not for ever.
        // What has come already is eaten in any case.
        let unparsed_fits =
            self.bridge.is_none() || self.has_unparsed || self.unparsed.len() < super::TURN;
        (self.readable || self.has_unparsed)
            && !self.read_paused_by_mailbox
            && !self.read_paused_by_bridge
            && has_room
            && unparsed_fits
    }

    /// Octets of backlog above which nothing more is read that would add to
    /// it. Both ways of a bridge, with what one turn of each adds, hold no more
    /// than one link that answers itself.
    pub(super) fn high_water(&self, limits: &Limits) -> usize {
        if self.bridge.is_some() {
            limits.output_bytes / 4
        } else {
            limits.output_bytes
        }
    }

    /// Whose doing it is when this link's peer does something.
    pub(super) fn peer(&self) -> ClosedBy {
        ClosedBy::facing(self.conn.side())
    }

    /// The deadline of its stage, if there is one.
    pub(super) fn due_ms(&self, limits: &Limits) -> Option<u64> {
        let wait = match self.stage {
            Stage::Handshake => limits.handshake_ms,
            // Whoever takes our last words slowly may have them all.
            Stage::Open | Stage::Closing if !self.backlog.is_empty() => limits.write_ms,
            // A bridge is as idle as its client.
            Stage::Open if limits.idle_ms == 0 || self.conn.side() == Side::Client => return None,
            Stage::Open => limits.idle_ms,
            Stage::Closing | Stage::Draining => limits.close_ms,
        };
        Some(self.since_ms.saturating_add(wait))
    }

    /// Reads once. On Linux a short read proves that nothing is left, unless
    /// the peer has ended its side: that saves the read that would only say so.
    pub(super) fn read(
        stream: &mut TcpStream,
        readable: &mut bool,
        read_closed: bool,
        room: &mut [u8],
    ) -> ReadResult {
        loop {
            return match stream.read(room) {
                Ok(0) => {
                    *readable = false;
                    ReadResult::End
                }
                Ok(n) => {
                    if cfg!(target_os = "linux") && n < room.len() && !read_closed {
                        *readable = false;
                    }
                    ReadResult::Octets(n)
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        *readable = false;
                        ReadResult::Nothing
                    }
                    ErrorKind::Interrupted => continue,
                    _ => ReadResult::Broken,
                },
            };
        }
    }

    /// Writes what was just said, behind what waits. `out` is empty after.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<Progress> {
        self.record.turn_over(out);
        let first = self.flush_out(out);
        // Also where the write failed: what one should have heard must never
        // be there when the next one is written to.
        out.clear();
        let mut progress = first?;
        while self.writable {
            let Some(waiting) = self.backlog.front() else {
                break;
            };
            let n = write(&mut self.stream, waiting, &mut self.writable)?;
            if n > 0 {
                progress = Progress::Some;
            }
            self.backlog.wrote(n);
        }
        Ok(progress)
    }

    /// Writes what many hear, or lets it wait, without a copy.
    pub(super) fn send_shared(&mut self, octets: Arc<[u8]>) -> io::Result<()> {
        if let Some(recorder) = self.record.recorder() {
            recorder.note(Side::Server, &octets);
        }
        let mut written = 0;
        if self.backlog.is_empty() && self.writable {
            written = write(&mut self.stream, &octets, &mut self.writable)?;
        }
        if written < octets.len() {
            self.backlog.push_shared(octets, written);
        }
        Ok(())
    }

    fn flush_out(&mut self, out: &[u8]) -> io::Result<Progress> {
        if !self.backlog.is_empty() || !self.writable || out.is_empty() {
            self.backlog.push_small(out);
            return Ok(Progress::None);
        }
        let n = write(&mut self.stream, out, &mut self.writable)?;
        if n < out.len() {
            self.backlog.push_small(out.get(n..).unwrap_or_default());
        }
        Ok(if n > 0 {
            Progress::Some
        } else {
            Progress::None
        })
    }
}

/// Whether something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    None,
    Some,
}

/// Writes once; a short write means that the system is full for now.
fn write(stream: &mut TcpStream, octets: &[u8], writable: &mut bool) -> io::Result<usize> {
    loop {
        return match stream.write(octets) {
            Ok(n) => {
                *writable = n == octets.len();
                Ok(n)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    *writable = false;
                    Ok(0)
                }
                ErrorKind::Interrupted => continue,
                _ => Err(error),
            },
        };
    }
}

/// Octets that wait for the peer.
#[derive(Debug, Default)]
pub(in crate::net) struct Backlog(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Chunk>,
    /// Octets of the first chunk that are written.
    written: usize,
    len: usize,
    /// Large chunks that were written, for the pool.
    spent: Option<Vec<u8>>,
}

/// A chunk grows to this, so that many small messages are one write.
const CHUNK: usize = 64 * 1024;

/// Octets that wait: our own, or what many links were told.
#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Chunk {
    fn octets(&self) -> &[u8] {
        match self {
            Chunk::Own(octets) => octets,
            Chunk::Shared(octets) => octets,
        }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets that wait.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |w| w.len)
    }

    /// Puts octets behind what waits, by copying them.
    pub(in crate::net) fn push_small(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let waiting = self.0.get_or_insert_default();
        waiting.len += octets.len();
        match waiting.chunks.back_mut() {
            Some(Chunk::Own(last)) if last.len() + octets.len() <= CHUNK => {
                last.extend_from_slice(octets);
            }
            _ => waiting.chunks.push_back(Chunk::Own(octets.to_vec())),
        }
    }

    /// Puts a buffer behind what waits, without a copy: `front` is written
    /// into its first octets, which are spare, right before the payload.
    pub(in crate::net) fn push_large(&mut self, buffer: Vec<u8>, front: &[u8], behind: Option<u8>) {
        let mut buffer = buffer;
        let spare = crate::conn::Framing::MAX;
        let start = spare - front.len().min(spare);
        if let Some(room) = buffer.get_mut(start..spare) {
            room.copy_from_slice(front);
        }
        buffer.extend(behind);
        let waiting = self.0.get_or_insert_default();
        waiting.len += buffer.len() - start;
        if waiting.chunks.is_empty() {
            waiting.written = start;
            waiting.chunks.push_back(Chunk::Own(buffer));
        } else {
            // Only the first chunk may begin late.
            let octets = buffer.split_off(start);
            waiting.chunks.push_back(Chunk::Own(octets));
        }
    }

    /// Puts shared octets behind what waits, without a copy.
    fn push_shared(&mut self, octets: Arc<[u8]>, written: usize) {
        let waiting = self.0.get_or_insert_default();
        waiting.len += octets.len() - written;
        if waiting.chunks.is_empty() {
            waiting.written = written;
        }
        waiting.chunks.push_back(Chunk::Shared(octets));
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
                waiting.spent = Some(octets);
            }
        }
    }

    /// A buffer that was written and may be used again. Gives all memory back
    /// once nothing waits.
    pub(super) fn spent(&mut self) -> Option<Vec<u8>> {
        let spent = self.0.as_mut()?.spent.take();
        if self.is_empty() {
            self.0 = None;
        }
        spent
    }
}
