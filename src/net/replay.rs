//! One connection for somebody else's octets: says what it is given, when and
//! in the portions it is told to, and tells what comes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

const SOCKET: Token = Token(0);
/// Octets of one read.
const READ: usize = 64 * 1024;

/// How octets are delivered; nothing of it by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Octets of one write.
    pub slice_bytes: Option<usize>,
    /// How long octets are held back before they are written.
    pub latency: Duration,
    /// Octets after which the connection ends.
    pub limit_bytes: Option<u64>,
    /// Ends are resets.
    pub reset: bool,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplayEvent<'l> {
    /// Octets.
    Octets(&'l [u8]),
    /// The peer says no more.
    Fin,
    /// The connection was reset.
    Rst,
    /// All that was to be said is written.
    Written,
    /// The deadline has come.
    TimedOut,
}

/// What is still to be said.
enum Item {
    Octets(Vec<u8>),
    Fin,
    Rst,
}

/// One connection, which says what it is given.
pub struct ReplayConnection {
    /// None after a reset.
    stream: Option<TcpStream>,
    poll: Poll,
    events: Events,
    faults: Faults,
    queue: VecDeque<(Instant, Item)>,
    /// Octets that were put into the queue.
    octets: u64,
    /// The limit was reached: nothing more is said.
    limit_reached: bool,
    buffer: Box<[u8]>,
    readable: bool,
    writable: bool,
    ended: bool,
}

impl std::fmt::Debug for ReplayConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayConnection")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl ReplayConnection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn connect(
        address: SocketAddr,
        patience: Duration,
        faults: Faults,
    ) -> io::Result<ReplayConnection> {
        let patience = patience.max(Duration::from_millis(1));
        ReplayConnection::over(
            std::net::TcpStream::connect_timeout(&address, patience)?,
            faults,
        )
    }

    /// Takes over a connection.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn over(stream: std::net::TcpStream, faults: Faults) -> io::Result<ReplayConnection> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let poll = Poll::new()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, SOCKET, both)?;
        Ok(ReplayConnection {
            stream: Some(stream),
            poll,
            events: Events::with_capacity(8),
            faults,
            queue: VecDeque::new(),
            octets: 0,
            limit_reached: false,
            buffer: vec![0; READ].into_boxed_slice(),
            readable: true,
            writable: true,
            ended: false,
        })
    }

    /// Says these octets, as one write where no fault says otherwise.
    pub fn send(&mut self, octets: &[u8]) {
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
        let size = self.faults.slice_bytes.unwrap_or(usize::MAX).max(1);
        for slice in sent.chunks(size) {
            self.put(Item::Octets(slice.to_vec()));
        }
        if sent.len() < octets.len() {
            self.end(false);
            self.limit_reached = true;
        }
    }

    /// Says that nothing more comes, or breaks the connection.
    pub fn end(&mut self, reset: bool) {
        if self.limit_reached {
            return;
        }
        self.put(if reset || self.faults.reset {
            Item::Rst
        } else {
            Item::Fin
        });
    }

    /// Whether the limit was reached, so that nothing more is said.
    #[must_use]
    pub fn is_limit_reached(&self) -> bool {
        self.limit_reached
    }

    /// Whether all that was to be said is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.queue.is_empty()
    }

    fn put(&mut self, item: Item) {
        self.queue
            .push_back((Instant::now() + self.faults.latency, item));
    }

    /// Waits until something comes, or all is written where something was to
    /// be.
    pub fn step(&mut self, deadline: Instant) -> ReplayEvent<'_> {
        let mut wrote = false;
        loop {
            let waits = self.flush(&mut wrote);
            if self.stream.is_none() {
                self.ended = true;
                return ReplayEvent::Rst;
            }
            if self.readable && !self.ended {
                match self.read() {
                    Ok(Some(0)) => return ReplayEvent::Fin,
                    Ok(Some(n)) => {
                        return ReplayEvent::Octets(self.buffer.get(..n).unwrap_or_default());
                    }
                    Ok(None) => {}
                    Err(()) => return ReplayEvent::Rst,
                }
            }
            if wrote && self.queue.is_empty() {
                return ReplayEvent::Written;
            }
            let now = Instant::now();
            if deadline <= now {
                return ReplayEvent::TimedOut;
            }
            let due = waits.map_or(deadline, |due| due.min(deadline));
            match self
                .poll
                .poll(&mut self.events, Some(due.saturating_duration_since(now)))
            {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return ReplayEvent::TimedOut,
            }
            for event in &self.events {
                self.readable |= event.is_readable() || event.is_error();
                self.writable |= event.is_writable();
            }
        }
    }

    /// Octets that came, 0 at the end, nothing where one must wait; an error
    /// is a reset.
    fn read(&mut self) -> Result<Option<usize>, ()> {
        let Some(stream) = &mut self.stream else {
            return Err(());
        };
        match stream.read(&mut self.buffer) {
            Ok(n) => {
                self.ended = n == 0;
                Ok(Some(n))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.readable = false;
                    Ok(None)
                }
                ErrorKind::Interrupted => Ok(None),
                _ => {
                    self.ended = true;
                    self.queue.clear();
                    Err(())
                }
            },
        }
    }

    /// Writes what is due; when the next is, where that is what it waits for.
    fn flush(&mut self, wrote: &mut bool) -> Option<Instant> {
        while let (Some((due, item)), Some(stream)) = (self.queue.front_mut(), &mut self.stream) {
            if *due > Instant::now() {
                return Some(*due);
            }
            match item {
                Item::Octets(octets) => {
                    if !self.writable {
                        return None;
                    }
                    match stream.write(octets) {
                        Ok(n) if n < octets.len() => {
                            octets.drain(..n);
                            continue;
                        }
                        Ok(_) => {}
                        Err(error) => match error.kind() {
                            ErrorKind::WouldBlock => {
                                self.writable = false;
                                return None;
                            }
                            ErrorKind::Interrupted => continue,
                            _ => {
                                // The peer takes nothing more; what it said
                                // before is still to be read.
                                self.queue.clear();
                                self.limit_reached = true;
                                self.readable = true;
                                *wrote = true;
                                return None;
                            }
                        },
                    }
                }
                Item::Fin => {
                    // It fails where the peer is gone; reading says so.
                    let _ = stream.shutdown(Shutdown::Write);
                }
                Item::Rst => {
                    // Where that cannot be, it ends in order.
                    let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                    self.stream = None;
                }
            }
            *wrote = true;
            self.queue.pop_front();
        }
        None
    }
}
