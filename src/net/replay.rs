//! One connection for octets of the caller: writes them in the portions and with
//! the delay that [`Faults`] sets, and returns what arrives.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::connect::{DialError, DialTarget};
use super::resolve::Resolver;
use super::transport::{ReadResult, Transport};

const SOCKET: Token = Token(0);
/// Octets of one read.
const READ: usize = 64 * 1024;

/// How octets are delivered. By default each send is one write, at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Octets of one write.
    pub slice_bytes: Option<usize>,
    /// How long octets are held back before they are written.
    pub latency: Duration,
    /// Octets after which the connection ends.
    pub limit_bytes: Option<u64>,
    /// Whether the connection ends by a reset.
    pub reset: bool,
}

impl Faults {
    /// Sets the size of each write.
    #[must_use]
    pub fn with_slice_bytes(mut self, octets: usize) -> Faults {
        self.slice_bytes = Some(octets);
        self
    }

    /// Sets the delay before octets are written.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Faults {
        self.latency = latency;
        self
    }

    /// Sets the number of octets after which the connection ends.
    #[must_use]
    pub fn with_limit_bytes(mut self, octets: u64) -> Faults {
        self.limit_bytes = Some(octets);
        self
    }

    /// Ends the connection by a reset.
    #[must_use]
    pub fn with_reset(mut self) -> Faults {
        self.reset = true;
        self
    }
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplayEvent<'l> {
    /// Octets arrived.
    Octets(&'l [u8]),
    /// The peer ended its side of TCP.
    Fin,
    /// The connection was reset.
    Rst,
    /// All that was to be sent is written.
    Written,
    /// The deadline has passed.
    TimedOut,
}

/// What is still to be sent.
enum Item {
    /// What is to be written, how much of it was, and the octets of one write.
    Octets(Vec<u8>, usize, usize),
    Fin,
    Rst,
}

/// One connection, which sends what it is given.
pub struct ReplayConnection {
    /// `None` after a reset.
    transport: Option<Transport>,
    poll: Poll,
    events: Events,
    queue: Queue,
    buffer: Box<[u8]>,
    /// The peer has ended its side, or the connection was reset.
    ended: bool,
}

/// What is to be sent, each item with the time at which it is due.
struct Queue {
    faults: Faults,
    items: VecDeque<(Instant, Item)>,
    /// Octets that were put into the queue.
    octets: u64,
    /// Octets that were written.
    written: u64,
    /// The limit was reached, or the peer takes nothing more.
    limit_reached: bool,
}

impl std::fmt::Debug for ReplayConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayConnection")
            .field("faults", &self.queue.faults)
            .finish_non_exhaustive()
    }
}

impl ReplayConnection {
    /// Connects, agrees on TLS where it is to be spoken, and waits until that is
    /// done.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn connect(
        target: &DialTarget,
        timeout: Duration,
        faults: Faults,
    ) -> Result<ReplayConnection, DialError> {
        let deadline = Instant::now() + timeout;
        let transport = target.connect(&Resolver::default(), deadline)?;
        ReplayConnection::of(transport, faults).map_err(DialError::Poll)
    }

    /// Takes over a connection.
    ///
    /// # Errors
    ///
    /// Where the system fails.
    pub fn over(stream: std::net::TcpStream, faults: Faults) -> io::Result<ReplayConnection> {
        ReplayConnection::of(Transport::from_std(stream)?, faults)
    }

    fn of(mut transport: Transport, faults: Faults) -> io::Result<ReplayConnection> {
        let poll = Poll::new()?;
        transport.register(poll.registry(), SOCKET, true)?;
        Ok(ReplayConnection {
            transport: Some(transport),
            poll,
            events: Events::with_capacity(8),
            queue: Queue::new(faults),
            buffer: vec![0; READ].into_boxed_slice(),
            ended: false,
        })
    }

    /// Sends these octets, as one write where no fault splits them.
    pub fn send(&mut self, octets: &[u8]) {
        self.queue.put_octets(octets, None);
    }

    /// Sends these octets in writes of this many.
    pub fn send_in_slices(&mut self, octets: &[u8], slice_bytes: usize) {
        self.queue.put_octets(octets, Some(slice_bytes));
    }

    /// The same, with a pause before each write but the first, so that each arrives
    /// by itself.
    pub fn send_paced(&mut self, octets: &[u8], slice_bytes: usize, pause: Duration) {
        self.queue.put_paced(octets, slice_bytes.max(1), pause);
    }

    /// How many octets were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.queue.written
    }

    /// Ends our side of TCP, or resets the connection.
    pub fn end(&mut self, reset: bool) {
        self.queue.put_end(reset);
    }

    /// Whether the peer has ended TCP, and not TLS before it: what it sent last may
    /// be missing (RFC 8446 section 6.1).
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.transport.as_ref().is_some_and(Transport::is_truncated)
    }

    /// Whether the limit was reached, so that nothing more is sent.
    #[must_use]
    pub fn is_limit_reached(&self) -> bool {
        self.queue.limit_reached
    }

    /// Whether all that was to be sent is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.queue.items.is_empty()
    }

    /// Waits until octets arrive, or all is written where something was to be.
    pub fn step(&mut self, deadline: Instant) -> ReplayEvent<'_> {
        let mut wrote = false;
        loop {
            let next_due = self.queue.flush(&mut self.transport, &mut wrote);
            let Some(transport) = &mut self.transport else {
                self.ended = true;
                return ReplayEvent::Rst;
            };
            if transport.is_readable() && !self.ended {
                match transport.read(&mut self.buffer) {
                    ReadResult::Octets(n) => {
                        return ReplayEvent::Octets(self.buffer.split_at(n).0);
                    }
                    ReadResult::Nothing => {}
                    ReadResult::End => {
                        self.ended = true;
                        return ReplayEvent::Fin;
                    }
                    ReadResult::Broken(_) => {
                        self.ended = true;
                        self.queue.items.clear();
                        return ReplayEvent::Rst;
                    }
                }
            }
            if wrote && self.queue.items.is_empty() {
                return ReplayEvent::Written;
            }
            let now = Instant::now();
            if deadline <= now {
                return ReplayEvent::TimedOut;
            }
            let due = next_due.map_or(deadline, |due| due.min(deadline));
            let wait = due.saturating_duration_since(now);
            match self.poll.poll(&mut self.events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return ReplayEvent::TimedOut,
            }
            for event in &self.events {
                transport.on_event(event);
            }
        }
    }
}

impl Queue {
    fn new(faults: Faults) -> Queue {
        Queue {
            faults,
            items: VecDeque::new(),
            octets: 0,
            written: 0,
            limit_reached: false,
        }
    }

    fn put(&mut self, item: Item) {
        self.items
            .push_back((Instant::now() + self.faults.latency, item));
    }

    fn put_paced(&mut self, octets: &[u8], size: usize, pause: Duration) {
        for (n, slice) in (0_u32..).zip(octets.chunks(size)) {
            self.put_octets(slice, None);
            if let Some((due, _)) = self.items.back_mut() {
                *due += pause.saturating_mul(n);
            }
        }
    }

    fn put_octets(&mut self, octets: &[u8], size: Option<usize>) {
        if self.limit_reached || octets.is_empty() {
            return;
        }
        let left = match self.faults.limit_bytes {
            Some(limit) => usize::try_from(limit.saturating_sub(self.octets)),
            None => Ok(usize::MAX),
        };
        let left = left.unwrap_or(usize::MAX);
        let sent = octets.get(..left).unwrap_or(octets);
        self.octets += sent.len() as u64;
        let size = size.or(self.faults.slice_bytes);
        let size = size.unwrap_or(usize::MAX).max(1);
        self.put(Item::Octets(sent.to_vec(), 0, size));
        if sent.len() < octets.len() {
            self.put_end(false);
            self.limit_reached = true;
        }
    }

    fn put_end(&mut self, reset: bool) {
        if self.limit_reached {
            return;
        }
        self.put(if reset || self.faults.reset {
            Item::Rst
        } else {
            Item::Fin
        });
    }

    /// Writes what is due, and notes in `wrote` that something was. Gives when
    /// the next item is due, where that is what it waits for.
    fn flush(&mut self, connection: &mut Option<Transport>, wrote: &mut bool) -> Option<Instant> {
        while let (Some((due, item)), Some(transport)) = (self.items.front_mut(), &mut *connection)
        {
            if *due > Instant::now() {
                return Some(*due);
            }
            match item {
                Item::Octets(octets, at, size) => {
                    if !transport.is_writable() {
                        return None;
                    }
                    let (_, left) = octets.split_at(*at);
                    match transport.write(left.get(..*size).unwrap_or(left)) {
                        Ok(n) => {
                            *at += n;
                            self.written += n as u64;
                            if *at < octets.len() {
                                continue;
                            }
                        }
                        Err(_) => {
                            // The peer takes nothing more; what it sent before
                            // is still to be read.
                            self.items.clear();
                            self.limit_reached = true;
                            transport.assume_readable();
                            *wrote = true;
                            return None;
                        }
                    }
                }
                Item::Fin => {
                    // It fails where the peer is gone; reading shows that.
                    let _ = transport.shutdown_write();
                }
                Item::Rst => {
                    if let Some(transport) = connection.take() {
                        transport.reset();
                    }
                }
            }
            *wrote = true;
            self.items.pop_front();
        }
        None
    }
}
