//! Outgoing connections: one client on a loop of its own.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::agreement::TlsSession;
pub use super::connect::{DialError, DialTarget};
use super::keepalive::Keepalive;
use super::resolve::Resolver;
use super::tls::ClientTls;
use super::transport::{ReadResult, Transport};
use super::url::Url;
use crate::bytes::Output;
use crate::conn::{Config, Conn, Session, SessionEvent};
use crate::error::{Located, Violation};
use crate::handshake::ClientRequest;
use crate::random::SystemRandom;
use crate::trace::Trace;
use crate::version::Version;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Octets of one read.
const READ: usize = 64 * 1024;
/// Octets of a refusal's body that are kept.
const BODY: usize = 64 * 1024;

/// When the eight octets of hixie-76 are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyBody {
    /// In one write with the head, as browsers do.
    #[default]
    WithHead,
    /// In a write of their own, this much later.
    After(Duration),
    /// When the head of the response has arrived, as behind some proxies.
    AfterResponse,
}

/// How a connection is made, beside its URL, version and request.
///
/// ```
/// use heirloom::net::dial::{DialOptions, KeyBody};
/// let options = DialOptions::default().with_key_body(KeyBody::AfterResponse);
/// assert_eq!(options.output_bytes, 1024 * 1024);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialOptions {
    /// When the eight octets of hixie-76 are sent.
    pub key_body: KeyBody,
    /// The limits on what the server may send.
    pub config: Arc<Config>,
    /// Octets of replies, such as pongs, that may wait for the server before
    /// nothing more is read from it.
    pub output_bytes: usize,
    /// Finds the addresses of the server.
    pub resolver: Resolver,
    /// How TCP finds out that the server is gone without a word.
    pub keepalive: Option<Keepalive>,
    /// Which servers are trusted, where the URL is `wss`; those that the system
    /// trusts, where it is not set.
    pub tls: Option<ClientTls>,
}

impl Default for DialOptions {
    fn default() -> DialOptions {
        DialOptions {
            key_body: KeyBody::default(),
            config: Arc::default(),
            output_bytes: 1024 * 1024,
            resolver: Resolver::default(),
            keepalive: Some(Keepalive::default()),
            tls: None,
        }
    }
}

impl DialOptions {
    /// With the eight octets of hixie-76 sent at this time.
    #[must_use]
    pub fn with_key_body(mut self, key_body: KeyBody) -> DialOptions {
        self.key_body = key_body;
        self
    }

    /// With these limits on what the server may send.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> DialOptions {
        self.config = config.into();
        self
    }

    /// With this limit on the octets of replies that wait.
    #[must_use]
    pub fn with_output_bytes(mut self, octets: usize) -> DialOptions {
        self.output_bytes = octets;
        self
    }

    /// With this TCP keepalive, or without one.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> DialOptions {
        self.keepalive = keepalive.into();
        self
    }

    /// With these servers trusted, where the URL is `wss`.
    #[must_use]
    pub fn with_tls(mut self, tls: impl Into<Option<ClientTls>>) -> DialOptions {
        self.tls = tls.into();
        self
    }

    /// With this resolver for the name of the server.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Resolver) -> DialOptions {
        self.resolver = resolver;
        self
    }
}

/// What [`Connection::step`] waited for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress {
    /// Octets were read or written.
    Transferred,
    /// The waker was used.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// The peer has ended TCP; an error where it was too early.
    Ended(Result<(), Located<Violation>>),
    /// TCP was reset, or failed otherwise.
    Broken(io::Error),
}

/// Handles what [`Connection::step`] parsed, and may send by the connection
/// while it does. A violation by the peer is an `Err`; our close is in the output
/// then.
pub type OnEvent<'a> =
    dyn FnMut(Result<SessionEvent<'_>, Located<Violation>>, &mut Conn, &mut Output<'_>) + 'a;

/// A client's connection on a loop of its own.
pub struct Connection {
    session: Session,
    transport: Transport,
    outgoing: Outgoing,
    key3: DelayedKey3,
    waiting: Waiting,
    buffer: Box<[u8]>,
    /// The response was a refusal: what follows is its body, not frames.
    refused: bool,
}

/// The poll that a connection waits in.
struct Waiting {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
}

/// The eight octets of hixie-76, while they are held back.
struct DelayedKey3 {
    octets: Vec<u8>,
    due: Option<Instant>,
    after_response: bool,
}

/// What is sent and was not written yet.
struct Outgoing {
    octets: Vec<u8>,
    /// Octets of replies, such as pongs, among them. What the caller sends
    /// unasked does not count, or two ends that both wait for the other to read
    /// would wait forever.
    replies: usize,
    /// The limit on `replies`, above which nothing is read.
    limit: usize,
    /// Since when the peer has taken nothing.
    stalled: Option<Instant>,
    /// Our side of TCP ends when all is written.
    shuts_down: bool,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("conn", self.conn())
            .finish_non_exhaustive()
    }
}

impl Drop for Connection {
    /// Ends TLS, so that the server knows that nothing was cut off.
    fn drop(&mut self) {
        self.transport.end_tls();
    }
}

impl Connection {
    /// Connects TCP, agrees on TLS where the URL is `wss`, and sends the request.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn dial(
        url: &Url,
        version: &'static Version,
        request: &ClientRequest<'_>,
        options: DialOptions,
        deadline: Instant,
    ) -> Result<Connection, DialError> {
        let mut octets = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut octets, &mut random);
        let conn = Conn::client(version, request, options.config, &mut out)?;
        let key3 = DelayedKey3::split_off(&mut octets, version, options.key_body);
        let target = DialTarget::of(url, options.tls.as_ref())?;
        let mut transport = target.connect(&options.resolver, deadline)?;
        transport.set_keepalive(options.keepalive);
        let waiting = Waiting::new().map_err(DialError::Poll)?;
        transport
            .register(waiting.poll.registry(), SOCKET, true)
            .map_err(DialError::Poll)?;
        Ok(Connection {
            session: Session::new(conn),
            transport,
            outgoing: Outgoing::new(octets, options.output_bytes),
            key3: key3.started(options.key_body),
            waiting,
            buffer: vec![0; READ].into_boxed_slice(),
            refused: false,
        })
    }

    /// The protocol's state.
    #[must_use]
    pub fn conn(&self) -> &Conn {
        self.session.conn()
    }

    /// What TLS has agreed on; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSession> {
        self.transport.tls_session()
    }

    /// Whether the peer has ended TCP, and not TLS before it: what it sent last may
    /// be missing (RFC 8446 section 6.1).
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.transport.is_truncated()
    }

    /// Ends [`Connection::step`] from another thread with [`Progress::Woken`].
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waiting.waker)
    }

    /// What is sent and was not written yet.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.outgoing.octets
    }

    /// What was received and not parsed, such as the body of a refusal.
    #[must_use]
    pub fn unparsed(&self) -> &[u8] {
        self.session.unparsed()
    }

    /// What was parsed of the octets that were received last.
    #[must_use]
    pub fn parsed(&self) -> &[u8] {
        self.session.parsed()
    }

    /// Octets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.session.received()
    }

    /// Since when the peer has taken nothing of what waits for it; `None`
    /// where nothing waits.
    #[must_use]
    pub fn stalled(&self) -> Option<Instant> {
        self.outgoing.stalled
    }

    /// Calls the connection, to send by it.
    pub fn with_conn<R>(&mut self, call: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let mut random = SystemRandom;
        let mut out = Output::new(&mut self.outgoing.octets, &mut random);
        call(self.session.conn_mut(), &mut out)
    }

    /// Ends our side of TCP when all is written; the peer may still send.
    ///
    /// # Errors
    ///
    /// Where TCP has failed.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.outgoing.shuts_down = true;
        self.outgoing.flush(&mut self.transport).map(|_| ())
    }

    /// Waits until something happens, writes or reads once, and hands each event
    /// to `on_event`. The deadline holds although a peer never stops sending.
    pub fn step<T: Trace>(
        &mut self,
        deadline: Option<Instant>,
        trace: &mut T,
        on_event: &mut OnEvent<'_>,
    ) -> Progress {
        loop {
            self.key3.release(&mut self.outgoing.octets);
            match self.outgoing.flush(&mut self.transport) {
                Ok(true) => return Progress::Transferred,
                Ok(false) => {}
                Err(error) => {
                    self.outgoing.broken = Some(error);
                    self.transport.assume_full();
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Progress::TimedOut;
            }
            if self.outgoing.broken.is_some() {
                // What the peer sent before it ended TCP, such as the reason of
                // its close, may be there to be read.
                self.transport.assume_readable();
            }
            // Nothing is read from a peer that does not read our replies.
            if self.transport.is_readable() && self.outgoing.has_room() {
                if let Some(progress) = self.read(trace, on_event) {
                    return progress;
                }
            }
            if !self.transport.is_readable() {
                if let Some(error) = self.outgoing.broken.take() {
                    return Progress::Broken(error);
                }
            }
            let due = [deadline, self.key3.due].into_iter().flatten().min();
            match self.waiting.wait(due, &mut self.transport) {
                Ok(false) => {}
                Ok(true) => return Progress::Woken,
                Err(error) => return Progress::Broken(error),
            }
        }
    }

    fn read<T: Trace>(&mut self, trace: &mut T, on_event: &mut OnEvent<'_>) -> Option<Progress> {
        match self.transport.read(&mut self.buffer) {
            ReadResult::Octets(n) => {
                let (received, _) = self.buffer.split_at(n);
                self.session.receive(received);
                if self.refused {
                    self.session.truncate_unparsed(BODY);
                } else {
                    self.parse(trace, on_event);
                }
                Some(Progress::Transferred)
            }
            ReadResult::Nothing => None,
            ReadResult::End => Some(Progress::Ended(self.session.end_of_input())),
            ReadResult::Broken(error) => Some(Progress::Broken(error)),
        }
    }

    fn parse<T: Trace>(&mut self, trace: &mut T, on_event: &mut OnEvent<'_>) {
        let before = self.outgoing.octets.len();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut self.outgoing.octets, &mut random);
        loop {
            match self.session.next_watched(&mut out, trace) {
                Ok(None) => break,
                Ok(Some((event, conn))) => {
                    if matches!(event, SessionEvent::Response(_)) {
                        self.key3.response_received();
                    }
                    on_event(Ok(event), conn, &mut out);
                }
                Err(located) => {
                    self.refused = matches!(located.error, Violation::ResponseStatus { .. });
                    on_event(Err(located), self.session.conn_mut(), &mut out);
                    break;
                }
            }
        }
        self.outgoing.replies += self.outgoing.octets.len() - before;
    }
}

impl Waiting {
    fn new() -> io::Result<Waiting> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Waiting {
            poll,
            events: Events::with_capacity(8),
            waker,
        })
    }

    /// Waits for the socket or the waker; whether the waker was used.
    fn wait(&mut self, due: Option<Instant>, transport: &mut Transport) -> io::Result<bool> {
        let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, wait) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut woken = false;
        for event in &self.events {
            match event.token() {
                WAKER => woken = true,
                _ => transport.on_event(event),
            }
        }
        Ok(woken)
    }
}

impl DelayedKey3 {
    /// Takes the eight octets off the end of a request, where they are sent
    /// later.
    fn split_off(request: &mut Vec<u8>, version: &Version, key_body: KeyBody) -> DelayedKey3 {
        let octets = if version.has_body() && key_body != KeyBody::WithHead {
            request.split_off(request.len().saturating_sub(8))
        } else {
            Vec::new()
        };
        DelayedKey3 {
            octets,
            due: None,
            after_response: key_body == KeyBody::AfterResponse,
        }
    }

    /// The connection stands: time runs from here.
    fn started(mut self, key_body: KeyBody) -> DelayedKey3 {
        if let KeyBody::After(wait) = key_body {
            self.due = Some(Instant::now() + wait);
        }
        self
    }

    fn response_received(&mut self) {
        if self.after_response {
            self.due = Some(Instant::now());
        }
    }

    fn release(&mut self, octets: &mut Vec<u8>) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.due = None;
            octets.append(&mut self.octets);
        }
    }
}

impl Outgoing {
    fn new(octets: Vec<u8>, limit: usize) -> Outgoing {
        Outgoing {
            octets,
            replies: 0,
            limit,
            stalled: None,
            shuts_down: false,
            broken: None,
        }
    }

    fn has_room(&self) -> bool {
        self.replies <= self.limit
    }

    /// Writes what can be written; whether anything was.
    fn flush(&mut self, transport: &mut Transport) -> io::Result<bool> {
        let mut wrote = false;
        while transport.is_writable() && !self.octets.is_empty() {
            match transport.write(&self.octets) {
                Ok(n) => {
                    self.octets.drain(..n);
                    wrote |= n > 0;
                }
                Err(error) => {
                    self.octets.clear();
                    self.nothing_waits();
                    return Err(error);
                }
            }
        }
        if self.octets.is_empty() {
            self.nothing_waits();
            if std::mem::take(&mut self.shuts_down) {
                transport.shutdown_write()?;
            }
        } else if wrote || self.stalled.is_none() {
            self.stalled = Some(Instant::now());
        }
        Ok(wrote)
    }

    fn nothing_waits(&mut self) {
        self.stalled = None;
        self.replies = 0;
    }
}
