//! Outgoing connections: one client on a loop of its own.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::{SystemRandom, Unresolved, Url};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event};
use crate::error::{Unsendable, Violation};
use crate::handshake::ClientRequest;
use crate::trace::Trace;
use crate::version::Version;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Octets of one read.
const READ: usize = 64 * 1024;

/// When the eight octets of hixie-76 are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyBody {
    /// In one write with the head, as browsers do.
    WithHead,
    /// In a write of their own, so much later.
    After(Duration),
    /// When the head of the answer has come, as behind some proxies.
    AfterResponse,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No address has this name.
    #[error(transparent)]
    Resolve(#[from] Unresolved),
    /// Nobody answers there.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    /// It takes too long.
    #[error("nothing came in time")]
    TimedOut,
    /// The system has no loop to give.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[source] io::Error),
    /// The request would not be one line per header.
    #[error("cannot ask: {0}")]
    Request(#[from] Unsendable),
}

/// What came of waiting.
#[derive(Debug)]
pub enum Progress {
    /// Something was read or written.
    Transferred,
    /// Somebody used the waker.
    Woken,
    /// The deadline has come.
    TimedOut,
    /// TCP has ended; whether it was time.
    Ended(Result<(), Violation>),
    /// TCP was reset, or broke otherwise.
    Broken(io::Error),
}

/// A client's connection.
pub struct Connection {
    /// The protocol.
    pub conn: Conn,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    stream: TcpStream,
    buffer: Vec<u8>,
    unread: Vec<u8>,
    position: u64,
    out: Vec<u8>,
    /// The eight octets, while they are held back.
    body: Vec<u8>,
    body_due: Option<Instant>,
    body_after_response: bool,
    readable: bool,
    writable: bool,
    /// Octets of answers, such as pongs, that may wait before nothing more is
    /// read; what we say ourselves does not count, or two ends that both wait
    /// for the other to read would wait for ever.
    limit: usize,
    answers: usize,
    /// Since when the peer has taken nothing of what waits for it.
    stalled: Option<Instant>,
    /// Our side of TCP ends when all is written.
    ends: bool,
    /// The answer was a refusal: what follows is its body, not for the parser.
    refused: bool,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
}

/// Octets of a refusal's body that are kept.
const BODY: usize = 64 * 1024;

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects TCP and writes the request.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn dial(
        url: &Url,
        version: &'static Version,
        request: &ClientRequest<'_>,
        body: KeyBody,
        config: Arc<Config>,
        deadline: Instant,
    ) -> Result<Connection, DialError> {
        let mut request_octets = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut request_octets, &mut random);
        let limit = config.limits.output_bytes;
        let conn = Conn::client(version, request, config, &mut out)?;
        let held_back = if version.has_body() && body != KeyBody::WithHead {
            request_octets.split_off(request_octets.len().saturating_sub(8))
        } else {
            Vec::new()
        };
        let stream = connect(url, deadline)?;
        let poll = Poll::new().map_err(DialError::Poll)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(DialError::Poll)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, SOCKET, Interest::READABLE | Interest::WRITABLE)
            .map_err(DialError::Poll)?;
        Ok(Connection {
            conn,
            poll,
            events: Events::with_capacity(8),
            waker: Arc::new(waker),
            stream,
            buffer: vec![0; READ],
            unread: Vec::new(),
            position: 0,
            out: request_octets,
            body: held_back,
            body_due: match body {
                KeyBody::After(wait) => Some(Instant::now() + wait),
                _ => None,
            },
            body_after_response: body == KeyBody::AfterResponse,
            readable: true,
            writable: true,
            limit,
            answers: 0,
            stalled: None,
            ends: false,
            refused: false,
            broken: None,
        })
    }

    /// Ends [`Connection::step`] from another thread with [`Progress::Woken`].
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// What is said and not yet written; what is put here is sent.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What was received and not eaten: the body of a refusal, for one.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Octets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.position + self.unread.len() as u64
    }

    /// Since when the peer has taken nothing of what waits for it; `None`
    /// where nothing waits.
    #[must_use]
    pub fn stalled(&self) -> Option<Instant> {
        self.stalled
    }

    /// Talks through the connection.
    pub fn with_conn<R>(&mut self, what: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let mut random = SystemRandom;
        what(&mut self.conn, &mut Output::new(&mut self.out, &mut random))
    }

    /// Ends our side of TCP when all is written; the peer may still talk.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.ends = true;
        self.flush().map(|_| ())
    }

    /// Waits until something happens, writes or reads once, and tells `on_event`
    /// each event. A peer that never stops talking does not put the deadline
    /// off.
    /// What the peer did wrong is told to `on_event` too, and goodbye is said.
    pub fn step<T: Trace>(
        &mut self,
        deadline: Option<Instant>,
        trace: &mut T,
        on_event: &mut dyn FnMut(Result<Event<'_>, Violation>),
    ) -> Progress {
        loop {
            self.release_body();
            match self.flush() {
                Ok(true) => return Progress::Transferred,
                Ok(false) => {}
                // What the peer said before it broke off, its reason above all,
                // may be there to be read.
                Err(error) => {
                    self.broken = Some(error);
                    self.readable = true;
                    self.writable = false;
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Progress::TimedOut;
            }
            // Who does not listen is not heard, or our answers would pile up.
            if self.readable && self.answers <= self.limit {
                if let Some(step) = self.read(trace, on_event) {
                    return step;
                }
            }
            if !self.readable {
                if let Some(error) = self.broken.take() {
                    return Progress::Broken(error);
                }
            }
            let due = [deadline, self.body_due].into_iter().flatten().min();
            let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut self.events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Progress::Broken(error),
            }
            let mut woken = false;
            for event in &self.events {
                match event.token() {
                    WAKER => woken = true,
                    _ => {
                        self.readable |= event.is_readable() || event.is_error();
                        self.writable |= event.is_writable();
                    }
                }
            }
            if woken {
                return Progress::Woken;
            }
        }
    }

    fn read<T: Trace>(
        &mut self,
        trace: &mut T,
        on_event: &mut dyn FnMut(Result<Event<'_>, Violation>),
    ) -> Option<Progress> {
        match self.stream.read(&mut self.buffer) {
            Ok(0) => {
                self.readable = false;
                Some(Progress::Ended(self.conn.end_of_input(self.unread.len())))
            }
            Ok(n) => {
                let received = self.buffer.get(..n).unwrap_or_default();
                self.unread.extend_from_slice(received);
                self.parse(trace, on_event);
                Some(Progress::Transferred)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.readable = false;
                    None
                }
                ErrorKind::Interrupted => None,
                _ => Some(Progress::Broken(error)),
            },
        }
    }

    fn parse<T: Trace>(
        &mut self,
        trace: &mut T,
        on_event: &mut dyn FnMut(Result<Event<'_>, Violation>),
    ) {
        if self.refused {
            self.unread.truncate(BODY);
            return;
        }
        let before = self.out.len();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut self.out, &mut random);
        let mut input = Input::starting_at(&mut self.unread, self.position);
        loop {
            match self.conn.next_watched(&mut input, &mut out, trace) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if matches!(event, Event::Response(_)) && self.body_after_response {
                        self.body_due = Some(Instant::now());
                    }
                    on_event(Ok(event));
                }
                Err(violation) => {
                    on_event(Err(violation));
                    self.refused = matches!(violation, Violation::ResponseStatus { .. });
                    break;
                }
            }
        }
        self.position = input.position();
        self.answers += self.out.len() - before;
        let left = input.rest().len();
        self.unread.drain(..self.unread.len() - left);
    }

    fn release_body(&mut self) {
        if self.body_due.is_some_and(|due| due <= Instant::now()) {
            self.body_due = None;
            self.out.append(&mut self.body);
        }
    }

    /// Writes what can be written; whether anything was.
    fn flush(&mut self) -> io::Result<bool> {
        let mut wrote = false;
        while self.writable && !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(n) => {
                    self.out.drain(..n);
                    wrote = true;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.writable = false,
                    ErrorKind::Interrupted => {}
                    _ => {
                        self.out.clear();
                        self.stalled = None;
                        self.answers = 0;
                        return Err(error);
                    }
                },
            }
        }
        if self.out.is_empty() {
            self.stalled = None;
            self.answers = 0;
            if std::mem::take(&mut self.ends) {
                self.stream.shutdown(Shutdown::Write)?;
            }
        } else if wrote || self.stalled.is_none() {
            self.stalled = Some(Instant::now());
        }
        Ok(wrote)
    }
}

/// Tries each address of the name until the deadline.
fn connect(url: &Url, deadline: Instant) -> Result<std::net::TcpStream, DialError> {
    let mut failed = DialError::TimedOut;
    for address in url.addresses()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DialError::TimedOut);
        }
        match std::net::TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let ready = stream
                    .set_nodelay(true)
                    .and_then(|()| stream.set_nonblocking(true));
                match ready {
                    Ok(()) => return Ok(stream),
                    Err(error) => failed = DialError::Connect(address, error),
                }
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => failed = DialError::TimedOut,
            Err(error) => failed = DialError::Connect(address, error),
        }
    }
    Err(failed)
}
