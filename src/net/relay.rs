//! In the middle: carries octets between clients and one server as they come,
//! changes nothing, and tells a [`TrafficRecorder`] what it carries.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use super::BindError;
use crate::conn::Limits;
use crate::version::Side;

/// Octets of one chunk; each direction holds at most one.
const CHUNK: usize = 64 * 1024;
/// Chunks of one direction before the other has its turn.
const ROUNDS: usize = 16;
/// How long to wait when the system gives no more descriptors or threads.
const RETRY: Duration = Duration::from_millis(100);

const WAKER: Token = Token(0);
const SHUTDOWN: Token = Token(1);
/// The first listener; in a connection's own loop, the client.
const FIRST: usize = 2;

/// Is told what is carried on one connection, in the order in which it came.
pub trait TrafficRecorder: Send + 'static {
    /// This side wrote; it was one read here.
    fn octets(&mut self, from: Side, octets: &[u8]);

    /// This side ended.
    fn end(&mut self, from: Side, how: Ending);

    /// The sockets are closed. `cut` says why, where neither side ended it.
    fn done(self, cut: Option<CutShort>);
}

/// How one side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Fin,
    /// By a reset.
    Rst,
}

/// Why a connection was cut off in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutShort {
    /// The relay was stopped, and the connection did not end in time.
    #[error("it was still open when the recorder was told to stop")]
    Stopped,
    /// Somebody does not take what the other says.
    #[error("one side took nothing for too long (--write-timeout-ms)")]
    WriteTimeout,
    /// Nobody said anything.
    #[error("neither side said anything for too long (--idle-timeout-ms)")]
    IdleTimeout,
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The system's loop failed.
    #[error("the system failed")]
    System,
}

/// What the connections share with the listeners.
#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    limits: Limits,
    open: AtomicUsize,
    /// When connections are cut off; set by the stop.
    cut_at: OnceLock<Instant>,
    waker: Waker,
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
}

impl Relay {
    /// Binds these addresses and carries to `to`. Of the limits it uses those
    /// of connections and time: `handshake_ms` for reaching the server,
    /// `close_ms` for ending after the stop.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn bind(
        addresses: &[SocketAddr],
        to: SocketAddr,
        limits: Limits,
    ) -> Result<Relay, BindError> {
        let first = addresses.first().copied().unwrap_or(to);
        let failed = |address, error| BindError { address, error };
        let poll = Poll::new().map_err(|error| failed(first, error))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(|error| failed(first, error))?;
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for (i, address) in addresses.iter().enumerate() {
            let listen = || -> io::Result<(TcpListener, SocketAddr)> {
                let listener = std::net::TcpListener::bind(address)?;
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
                to,
                limits,
                open: AtomicUsize::new(0),
                cut_at: OnceLock::new(),
                waker,
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
    /// Where the system gives no sockets.
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

    /// Runs until the shutdown pipe is written to; then listens no more and gives the open
    /// connections `close_ms` to end. `recorder` makes the recorder of each connection.
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
        let close = Duration::from_millis(self.shared.limits.close_ms);
        // Only set here.
        let _ = self.shared.cut_at.set(Instant::now() + close);
        for one in &carried {
            if let Err(error) = one.waker.wake() {
                log::error!("cannot wake a connection: {error}");
            }
        }
        for one in carried {
            if one.thread.join().is_err() {
                log::error!("a connection has panicked");
            }
        }
    }

    /// Takes all that wait; says whether to try again without being told.
    fn accept<T: TrafficRecorder>(
        &self,
        recorder: &impl Fn() -> T,
        carried: &mut Vec<CarriedConnection>,
    ) -> bool {
        for listener in &self.listeners {
            loop {
                if self.shared.open.load(Ordering::Acquire) >= self.shared.limits.connections {
                    // The others wait in the system's queue; whoever ends
                    // wakes us.
                    return false;
                }
                match listener.accept() {
                    Ok((client, peer)) => match self.start(client, peer, recorder()) {
                        Ok(one) => carried.push(one),
                        Err(error) => {
                            log::warn!("cannot carry a connection of {peer}: {error}");
                            return true;
                        }
                    },
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                        _ => {
                            log::warn!("cannot accept: {error}");
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
        client: TcpStream,
        peer: SocketAddr,
        recorder: T,
    ) -> io::Result<CarriedConnection> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let guard = Open::of(&self.shared);
        let thread = thread::Builder::new()
            .name("carried".to_owned())
            .spawn(move || {
                let shared = &guard.0;
                match reach(shared) {
                    Ok(server) => Carrier::new(shared, poll, client, server, recorder).run(),
                    Err(error) => {
                        log::warn!("{peer}: cannot reach {}: {error}", shared.to);
                        abort(client);
                        recorder.done(Some(CutShort::Unreachable));
                    }
                }
            })?;
        Ok(CarriedConnection { thread, waker })
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

fn reach(shared: &Shared) -> io::Result<TcpStream> {
    let patience = Duration::from_millis(shared.limits.handshake_ms.max(1));
    let stream = std::net::TcpStream::connect_timeout(&shared.to, patience)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Ends a connection by a reset.
fn abort(stream: TcpStream) {
    // Where that cannot be, it ends in order.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// One end of a connection, and what it said that the other has not yet.
struct CarriedEnd {
    side: Side,
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// It takes nothing more: it was reset, though that was not read yet.
    broken: bool,
    chunk: Box<[u8]>,
    /// What of the chunk is still to be carried.
    left: std::ops::Range<usize>,
    ended: Option<Ending>,
    carried: bool,
}

impl CarriedEnd {
    fn new(side: Side, stream: TcpStream) -> CarriedEnd {
        CarriedEnd {
            side,
            stream,
            readable: true,
            writable: true,
            broken: false,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            left: 0..0,
            ended: None,
            carried: false,
        }
    }
}

/// What came of a turn of one direction.
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
    /// When something last went on.
    moved: Instant,
}

impl<'s, T: TrafficRecorder> Carrier<'s, T> {
    fn new(
        shared: &'s Shared,
        poll: Poll,
        client: TcpStream,
        server: TcpStream,
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
            abort(self.client.stream);
            abort(self.server.stream);
        } else {
            drop((self.client.stream, self.server.stream));
        }
        self.recorder.done(cut);
    }

    fn failed(&self, error: &io::Error) -> CutShort {
        log::error!("cannot wait for {}: {error}", self.shared.to);
        CutShort::System
    }

    fn register(&mut self) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        for (end, token) in [(&mut self.client, FIRST), (&mut self.server, FIRST + 1)] {
            end.stream.set_nodelay(true)?;
            self.poll
                .registry()
                .register(&mut end.stream, Token(token), both)?;
        }
        Ok(())
    }

    /// Carries until both sides have ended; why it was cut, where it was.
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
            if self.client.carried && self.server.carried {
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
                end.readable |= event.is_readable() || event.is_error();
                end.writable |= event.is_writable();
                // Who has ended is not read any more, but may still reset.
                if event.is_error() && end.ended == Some(Ending::Fin) {
                    let error = end.stream.take_error();
                    end.broken |= !matches!(error, Ok(None));
                }
            }
        }
    }

    /// The next deadline, and what it means.
    fn due(&self) -> Option<(Instant, CutShort)> {
        let limits = &self.shared.limits;
        let after = |ms| self.moved + Duration::from_millis(ms);
        let waiting = !self.client.left.is_empty() || !self.server.left.is_empty();
        let stopped = self.shared.cut_at.get().map(|at| (*at, CutShort::Stopped));
        let stalled = waiting.then(|| (after(limits.write_ms), CutShort::WriteTimeout));
        let idle = (limits.idle_ms > 0).then(|| (after(limits.idle_ms), CutShort::IdleTimeout));
        let all = [stopped, stalled, idle].into_iter().flatten();
        all.min_by_key(|(at, _)| *at)
    }

    /// Carries what `from` says.
    fn pump(&mut self, from: Side) -> Pumped {
        let (this, other) = match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        };
        for _ in 0..ROUNDS {
            if !this.left.is_empty() {
                if other.broken {
                    this.left = 0..0;
                    continue;
                }
                if !other.writable {
                    return Pumped::Waits;
                }
                let chunk = this.chunk.get(this.left.clone()).unwrap_or_default();
                match other.stream.write(chunk) {
                    Ok(n) => {
                        this.left.start += n;
                        self.moved = Instant::now();
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => other.writable = false,
                        ErrorKind::Interrupted => {}
                        _ => {
                            // What it said before is still to be read.
                            other.broken = true;
                            other.readable = true;
                            return Pumped::More;
                        }
                    },
                }
                continue;
            }
            if this.broken && this.ended == Some(Ending::Fin) {
                this.ended = Some(Ending::Rst);
                self.recorder.end(this.side, Ending::Rst);
            }
            match this.ended {
                Some(Ending::Rst) => return Pumped::Reset,
                Some(Ending::Fin) if this.carried => return Pumped::Waits,
                Some(Ending::Fin) => {
                    // It fails where the other is gone; its reading says so.
                    let _ = other.stream.shutdown(Shutdown::Write);
                    this.carried = true;
                    return Pumped::Waits;
                }
                None => {}
            }
            if !this.readable {
                return Pumped::Waits;
            }
            let ended = match this.stream.read(&mut this.chunk) {
                Ok(0) if this.broken => Ending::Rst,
                Ok(0) => Ending::Fin,
                Ok(n) => {
                    this.left = 0..n;
                    self.moved = Instant::now();
                    let received = this.chunk.get(..n).unwrap_or_default();
                    self.recorder.octets(this.side, received);
                    continue;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock if !this.broken => {
                        this.readable = false;
                        return Pumped::Waits;
                    }
                    _ => Ending::Rst,
                },
            };
            this.ended = Some(ended);
            self.moved = Instant::now();
            self.recorder.end(this.side, ended);
        }
        Pumped::More
    }
}
