//! A relay in the middle: carries octets between clients and one server as they
//! arrive, changes nothing, and hands what it carries to a [`TrafficRecorder`].

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use super::connect::DialTarget;
use super::keepalive::Keepalive;
use super::listen::ListenAt;
use super::listening::BindError;
use super::resolve::Resolver;
use super::settings::Settings;
use super::transport::{ReadResult, Transport};
use super::warning::WarningLimiter;
use crate::version::Side;

/// Octets of one chunk; each direction holds at most one.
const CHUNK: usize = 64 * 1024;
/// Chunks of one direction before the other has its turn.
const ROUNDS: usize = 16;
/// How long to wait when the system has no more descriptors or threads.
const RETRY: Duration = Duration::from_millis(100);
/// How often a stop looks whether a connection is still being connected.
const CONNECT_CHECK: Duration = Duration::from_millis(10);

const WAKER: Token = Token(0);
const SHUTDOWN: Token = Token(1);
/// The first listener; in a connection's own loop, the client.
const FIRST: usize = 2;

/// Records what is carried on one connection, in the order in which it arrived.
pub trait TrafficRecorder: Send + 'static {
    /// This side sent these octets; they were one read here.
    fn octets(&mut self, from: Side, octets: &[u8]);

    /// This side ended TCP.
    fn end(&mut self, from: Side, how: Ending);

    /// The sockets are closed. `cut` is the reason where neither side ended the
    /// connection.
    fn done(self, cut: Option<CutShort>);
}

/// How one side ended TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Fin,
    /// By a reset.
    Rst,
}

/// Why a connection was cut off in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutShort {
    /// The relay was stopped, and the connection did not end in time.
    #[error("the connection was still open when the recorder was stopped")]
    Stopped,
    /// One side does not read what the other sends.
    #[error("one side read nothing for too long (--write-timeout-ms)")]
    WriteTimeout,
    /// Neither side sent anything.
    #[error("neither side sent anything for too long (--idle-timeout-ms)")]
    IdleTimeout,
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The system's poll failed.
    #[error("the system failed")]
    System,
}

/// What the connections share with the listeners.
#[derive(Debug)]
struct Shared {
    to: DialTarget,
    resolver: Resolver,
    settings: Settings,
    open: AtomicUsize,
    /// When connections are cut off; set by the stop.
    cut_at: OnceLock<Instant>,
    waker: Waker,
    warnings: Warnings,
}

/// Warnings that any client can cause: of each kind, one line a second.
#[derive(Debug)]
struct Warnings {
    start: Instant,
    accept: Mutex<WarningLimiter>,
    carry: Mutex<WarningLimiter>,
    connect: Mutex<WarningLimiter>,
    wait: Mutex<WarningLimiter>,
}

impl Warnings {
    fn new() -> Warnings {
        Warnings {
            start: Instant::now(),
            accept: Mutex::default(),
            carry: Mutex::default(),
            connect: Mutex::default(),
            wait: Mutex::default(),
        }
    }

    /// Whether it is time for another warning of this kind.
    fn again(&self, kind: &Mutex<WarningLimiter>) -> bool {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut limiter = kind.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.again(now_ms)
    }
}

/// A relay that is bound and not yet running.
#[derive(Debug)]
pub struct Relay {
    poll: Poll,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    shutdown: Option<mio::net::UnixStream>,
    shared: Arc<Shared>,
}

struct CarriedConnection {
    thread: JoinHandle<()>,
    waker: Arc<Waker>,
    /// Whether the server was reached.
    connected: Arc<AtomicBool>,
}

impl CarriedConnection {
    /// Waits for its end. One that is still being connected has nothing to record
    /// and is left then.
    fn wait(self, connects_until: Instant) {
        while !self.connected.load(Ordering::Acquire) && !self.thread.is_finished() {
            if Instant::now() >= connects_until {
                return;
            }
            thread::sleep(CONNECT_CHECK);
        }
        if self.thread.join().is_err() {
            log::error!("a connection has panicked");
        }
    }
}

impl Relay {
    /// Binds these addresses, to carry their connections to `to`, which is
    /// resolved for each of them. Of the settings it uses those of connections and time: `handshake_ms` for
    /// connecting to the server, `close_ms` for ending after the stop.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn bind(
        addresses: &[SocketAddr],
        to: impl Into<DialTarget>,
        resolver: Resolver,
        settings: Settings,
    ) -> Result<Relay, BindError> {
        let first = addresses.first().copied();
        let first = first.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let failed = |address, error| BindError {
            address: ListenAt::Tcp(address),
            error,
        };
        let poll = Poll::new().map_err(|error| failed(first, error))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(|error| failed(first, error))?;
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for (i, address) in addresses.iter().enumerate() {
            let listen = || -> io::Result<(TcpListener, SocketAddr)> {
                let listener = std::net::TcpListener::bind(address)?;
                // Connections inherit it.
                Keepalive::set(settings.keepalive, SockRef::from(&listener))?;
                listener.set_nonblocking(true)?;
                let mut listener = TcpListener::from_std(listener);
                let token = Token(FIRST + i);
                poll.registry()
                    .register(&mut listener, token, Interest::READABLE)?;
                let real = listener.local_addr()?;
                Ok((listener, real))
            };
            let (listener, real) = listen().map_err(|error| failed(*address, error))?;
            listeners.push(listener);
            bound.push(real);
        }
        Ok(Relay {
            poll,
            listeners,
            addresses: bound,
            shutdown: None,
            shared: Arc::new(Shared {
                to: to.into(),
                resolver,
                settings,
                open: AtomicUsize::new(0),
                cut_at: OnceLock::new(),
                waker,
                warnings: Warnings::new(),
            }),
        })
    }

    /// The addresses, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A pipe into the relay's own loop: an octet written to it stops the relay,
    /// so that a signal handler can do it without a thread.
    ///
    /// # Errors
    ///
    /// Where the system has no more sockets.
    pub fn shutdown_pipe(&mut self) -> io::Result<UnixStream> {
        let (writer, reader) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        reader.set_nonblocking(true)?;
        let mut reader = mio::net::UnixStream::from_std(reader);
        self.poll
            .registry()
            .register(&mut reader, SHUTDOWN, Interest::READABLE)?;
        self.shutdown = Some(reader);
        Ok(writer)
    }

    /// Runs until the shutdown pipe is written to; then stops listening and
    /// gives the open connections `close_ms` to end. `recorder` makes the
    /// recorder of each connection.
    pub fn run<T: TrafficRecorder>(mut self, recorder: impl Fn() -> T) {
        let mut events = Events::with_capacity(64);
        let mut carried: Vec<CarriedConnection> = Vec::new();
        let mut retry = false;
        loop {
            let wait = retry.then_some(RETRY);
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::error!("cannot wait for connections: {error}");
                    break;
                }
            }
            if events.iter().any(|event| event.token() == SHUTDOWN) {
                break;
            }
            carried.retain(|c| !c.thread.is_finished());
            retry = self.accept(&recorder, &mut carried);
        }
        drop(self.listeners);
        let close = Duration::from_millis(self.shared.settings.close_ms);
        let cut_at = Instant::now() + close;
        // Only set here.
        let _ = self.shared.cut_at.set(cut_at);
        for one in &carried {
            if let Err(error) = one.waker.wake() {
                log::error!("cannot wake a connection: {error}");
            }
        }
        for one in carried {
            one.wait(cut_at);
        }
    }

    /// Accepts all connections that wait; whether to try again later without an
    /// event.
    fn accept<T: TrafficRecorder>(
        &self,
        recorder: &impl Fn() -> T,
        carried: &mut Vec<CarriedConnection>,
    ) -> bool {
        let warnings = &self.shared.warnings;
        for listener in &self.listeners {
            loop {
                if self.shared.open.load(Ordering::Acquire) >= self.shared.settings.connections {
                    // The others wait in the system's queue; a connection that
                    // ends wakes this loop.
                    return false;
                }
                match Transport::accept(listener) {
                    Ok((client, peer)) => match self.start(client, peer, recorder()) {
                        Ok(one) => carried.push(one),
                        Err(error) => {
                            if warnings.again(&warnings.carry) {
                                log::warn!("cannot carry a connection of {peer}: {error}");
                            }
                            return true;
                        }
                    },
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                        _ => {
                            if warnings.again(&warnings.accept) {
                                log::warn!("cannot accept: {error}");
                            }
                            return true;
                        }
                    },
                }
            }
        }
        false
    }

    fn start<T: TrafficRecorder>(
        &self,
        client: Transport,
        peer: SocketAddr,
        recorder: T,
    ) -> io::Result<CarriedConnection> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let guard = Open::of(&self.shared);
        let connected = Arc::new(AtomicBool::new(false));
        let reached = Arc::clone(&connected);
        let thread = thread::Builder::new()
            .name("carried".to_owned())
            .spawn(move || {
                let shared = &guard.0;
                let timeout = Duration::from_millis(shared.settings.handshake_ms);
                let deadline = Instant::now() + timeout;
                match shared.to.connect(&shared.resolver, deadline) {
                    Ok(server) => {
                        reached.store(true, Ordering::Release);
                        server.set_keepalive(shared.settings.keepalive);
                        Carrier::new(shared, poll, client, server, recorder).run();
                    }
                    Err(error) => {
                        if shared.warnings.again(&shared.warnings.connect) {
                            log::warn!("{peer}: {}: {error}", shared.to);
                        }
                        client.reset();
                        recorder.done(Some(CutShort::Unreachable));
                    }
                }
            })?;
        Ok(CarriedConnection {
            thread,
            waker,
            connected,
        })
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Shared>);

impl Open {
    fn of(shared: &Arc<Shared>) -> Open {
        shared.open.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        // Where it cannot be woken, the next connection does it.
        let _ = self.0.waker.wake();
    }
}

/// One end of a connection, with what it sent and the other was not sent yet.
struct CarriedEnd {
    side: Side,
    transport: Transport,
    /// Nothing more can be written to it: it was reset, though that was not
    /// read yet.
    broken: bool,
    chunk: Box<[u8]>,
    /// The part of the chunk that is still to be written.
    left: Range<usize>,
    ended: Option<Ending>,
    /// Whether its end was carried to the other.
    end_carried: bool,
}

impl CarriedEnd {
    fn new(side: Side, transport: Transport) -> CarriedEnd {
        CarriedEnd {
            side,
            transport,
            broken: false,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            left: 0..0,
            ended: None,
            end_carried: false,
        }
    }

    /// Writes the chunk of `from` to this end; whether any of it was written.
    fn write_chunk_of(&mut self, from: &mut CarriedEnd) -> bool {
        let (chunk, _) = from.chunk.split_at(from.left.end);
        let (_, chunk) = chunk.split_at(from.left.start);
        match self.transport.write(chunk) {
            Ok(n) => {
                from.left.start += n;
                n > 0
            }
            Err(_) => {
                // What it sent before is still to be read.
                self.broken = true;
                false
            }
        }
    }

    /// Reads a chunk; the end of this side, where it has ended. `None` where
    /// there is nothing to read.
    fn read_chunk(&mut self) -> Option<Result<&[u8], Ending>> {
        if !self.transport.is_readable() && !self.broken {
            return None;
        }
        match self.transport.read(&mut self.chunk) {
            ReadResult::Octets(n) => {
                self.left = 0..n;
                Some(Ok(self.chunk.split_at(n).0))
            }
            ReadResult::End if !self.broken => Some(Err(Ending::Fin)),
            ReadResult::Nothing if !self.broken => None,
            ReadResult::End | ReadResult::Nothing | ReadResult::Broken(_) => Some(Err(Ending::Rst)),
        }
    }
}

/// The outcome of one step of a direction.
enum Pumped {
    /// It waits for a socket.
    Waits,
    /// There may be more at once.
    More,
    /// The other end is to be reset.
    Reset,
}

struct Carrier<'s, T> {
    shared: &'s Shared,
    poll: Poll,
    client: CarriedEnd,
    server: CarriedEnd,
    recorder: T,
    /// When octets were last read or written.
    moved: Instant,
}

impl<'s, T: TrafficRecorder> Carrier<'s, T> {
    fn new(
        shared: &'s Shared,
        poll: Poll,
        client: Transport,
        server: Transport,
        recorder: T,
    ) -> Carrier<'s, T> {
        Carrier {
            shared,
            poll,
            client: CarriedEnd::new(Side::Client, client),
            server: CarriedEnd::new(Side::Server, server),
            recorder,
            moved: Instant::now(),
        }
    }

    fn run(mut self) {
        let cut = match self.register() {
            Ok(()) => self.carry(),
            Err(error) => Some(self.failed(&error)),
        };
        if let Some(cut) = cut {
            log::info!("a connection was cut off: {cut}");
        }
        let reset = |end: &CarriedEnd| end.ended == Some(Ending::Rst);
        if cut.is_some() || reset(&self.client) || reset(&self.server) {
            self.client.transport.reset();
            self.server.transport.reset();
        } else {
            drop((self.client, self.server));
        }
        self.recorder.done(cut);
    }

    fn failed(&self, error: &io::Error) -> CutShort {
        let warnings = &self.shared.warnings;
        if warnings.again(&warnings.wait) {
            log::error!("cannot wait for {}: {error}", self.shared.to);
        }
        CutShort::System
    }

    fn register(&mut self) -> io::Result<()> {
        self.client.transport.set_nodelay()?;
        for (end, token) in [(&mut self.client, FIRST), (&mut self.server, FIRST + 1)] {
            end.transport
                .register(self.poll.registry(), Token(token), true)?;
        }
        Ok(())
    }

    /// Carries until both sides have ended; the reason where it was cut off.
    fn carry(&mut self) -> Option<CutShort> {
        let mut events = Events::with_capacity(8);
        loop {
            let mut more = false;
            for from in [Side::Client, Side::Server] {
                match self.pump(from) {
                    Pumped::Waits => {}
                    Pumped::More => more = true,
                    Pumped::Reset => return None,
                }
            }
            if self.client.end_carried && self.server.end_carried {
                return None;
            }
            let due = self.due();
            let now = Instant::now();
            if let Some((_, cut)) = due.filter(|(at, _)| *at <= now) {
                return Some(cut);
            }
            let wait = if more {
                Some(Duration::ZERO)
            } else {
                due.map(|(at, _)| at.saturating_duration_since(now))
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(self.failed(&error)),
            }
            for event in &events {
                let end = match event.token() {
                    Token(FIRST) => &mut self.client,
                    WAKER => continue,
                    _ => &mut self.server,
                };
                end.transport.on_event(event);
                // An end that has ended TCP is not read any more, but may still
                // be reset.
                if event.is_error() && end.ended == Some(Ending::Fin) {
                    let error = end.transport.take_error();
                    end.broken |= !matches!(error, Ok(None));
                }
            }
        }
    }

    /// The next deadline, and what it means.
    fn due(&self) -> Option<(Instant, CutShort)> {
        let settings = &self.shared.settings;
        let after = |ms| self.moved + Duration::from_millis(ms);
        let waiting = !self.client.left.is_empty() || !self.server.left.is_empty();
        let stopped = self.shared.cut_at.get().map(|at| (*at, CutShort::Stopped));
        let stalled = waiting.then(|| (after(settings.write_ms), CutShort::WriteTimeout));
        let idle = (settings.idle_ms > 0).then(|| (after(settings.idle_ms), CutShort::IdleTimeout));
        let all = [stopped, stalled, idle].into_iter().flatten();
        all.min_by_key(|(at, _)| *at)
    }

    /// Carries what `from` sends.
    fn pump(&mut self, from: Side) -> Pumped {
        for _ in 0..ROUNDS {
            if let Some(pumped) = self.pump_once(from) {
                return pumped;
            }
        }
        Pumped::More
    }

    /// Writes or reads once; `None` where the direction may go on.
    fn pump_once(&mut self, from: Side) -> Option<Pumped> {
        let (this, other) = match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        };
        if !this.left.is_empty() {
            if other.broken {
                this.left = 0..0;
                return None;
            }
            if !other.transport.is_writable() {
                return Some(Pumped::Waits);
            }
            if other.write_chunk_of(this) {
                self.moved = Instant::now();
            }
            return other.broken.then_some(Pumped::More);
        }
        if this.broken && this.ended == Some(Ending::Fin) {
            this.ended = Some(Ending::Rst);
            self.recorder.end(this.side, Ending::Rst);
        }
        match this.ended {
            Some(Ending::Rst) => return Some(Pumped::Reset),
            Some(Ending::Fin) => {
                if !this.end_carried {
                    // It fails where the other is gone; its reading shows that.
                    let _ = other.transport.shutdown_write();
                    this.end_carried = true;
                }
                return Some(Pumped::Waits);
            }
            None => {}
        }
        let side = this.side;
        match this.read_chunk() {
            None => return Some(Pumped::Waits),
            Some(Ok(octets)) => self.recorder.octets(side, octets),
            Some(Err(ending)) => {
                this.ended = Some(ending);
                self.recorder.end(side, ending);
            }
        }
        self.moved = Instant::now();
        None
    }
}
