//! The only code that touches a socket: servers on a mio loop.
//!
//! A [`Server`] runs workers, each a thread with a loop, listeners and
//! connections of its own. What a connection is for, an [`App`] says.

pub mod dial;
mod forwarded;
pub mod gateway;
mod proxy;
mod recorder;
pub mod relay;
pub mod replay;
pub mod serve;
mod stats;
mod url;
mod worker;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use mio::Waker;

use crate::bytes::{Output, Random};
use crate::conn::{Coding, Config, Conn, Tally};
use crate::error::{Refusal, Unsendable, Violation};
use crate::frame::Message;
use crate::handshake::Request;
use crate::message::{Gather, WholeMessage};
use crate::version::{Side, Version};

pub use forwarded::Forwarded;
pub use proxy::{ClientAddress, Networks, NetworksError, ProxyVersion, UnknownProxyVersion};
use proxy::{read as read_proxy_header, write as proxy_header};
pub use recorder::{Recorder, Recording};
use stats::LISTED;
pub use stats::{ConnectionInfo, ConnectionStats, StatsSnapshot};
pub use url::{BadUrl, Unresolved, Url};

/// What connections are for. Each worker has an app of its own.
pub trait App: Sized {
    /// What the app keeps of a connection.
    type Data: Default;

    /// Somebody has connected. Said again where a PROXY header names another
    /// client.
    fn connected(&mut self, client: &ClientAddress, data: &mut Self::Data) {
        let _ = (client, data);
    }

    /// A client asks for an upgrade, or for a page.
    fn request(&mut self, request: &Request<'_>, data: &mut Self::Data) -> Reply;

    /// A client's first octets, a head or what should have been one, were
    /// refused before [`App::request`] was asked.
    fn refused(&mut self, refusal: &Refusal, octets: &[u8], data: &mut Self::Data) {
        let _ = (refusal, octets, data);
    }

    /// Whether this connection is recorded. Asked when somebody has
    /// connected, and again when a request was answered or refused: a recording that
    /// is begun then has the request's head too.
    fn recorder(&mut self, data: &mut Self::Data) -> Option<Recorder> {
        let _ = data;
        None
    }

    /// The backend of a bridge agreed, to this subprotocol: what its client is
    /// told.
    fn backend_accepted(&mut self, subprotocol: Option<&str>, data: &mut Self::Data) -> Reply {
        let _ = data;
        Reply::Accept(subprotocol.map(str::to_owned))
    }

    /// The handshake is finished.
    fn open(&mut self, link: &mut Handle<'_, Self>) {
        let _ = link;
    }

    /// A whole message has come. Those of a bridge go on without being asked
    /// about.
    fn message(&mut self, incoming: Incoming<'_>, link: &mut Handle<'_, Self>) {
        let _ = (incoming, link);
    }

    /// The connection is gone.
    fn closed(&mut self, id: LinkId, summary: &Summary, data: &mut Self::Data) {
        let _ = (id, summary, data);
    }
}

/// What an [`App`] answers to a request.
#[derive(Debug)]
pub enum Reply {
    /// Upgrade, with this subprotocol.
    Accept(Option<String>),
    /// Refuse.
    Refuse(Refusal),
    /// Answer with plain HTTP.
    Http {
        /// The HTTP status.
        status: u16,
        /// The media type.
        content_type: &'static str,
        /// More headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Dial a backend, and upgrade when it agrees.
    Bridge(Box<BackendDial>),
}

/// Where balancers ask whether we are there.
const HEALTH: &str = "/healthz";

/// The answer to plain HTTP: `front` at `/`, and `/healthz`.
fn http_reply(
    request: &Request<'_>,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    front: impl FnOnce() -> String,
) -> Reply {
    let (content_type, body) = match (request.method(), request.path()) {
        ("GET" | "HEAD", "/") => (content_type, front()),
        ("GET" | "HEAD", HEALTH) => ("text/plain; charset=utf-8", "ok\n".to_owned()),
        ("GET" | "HEAD", _) => return Reply::Refuse(Refusal::NotFound),
        _ => return Reply::Refuse(Refusal::MethodNotGet),
    };
    Reply::Http {
        status: 200,
        content_type,
        headers,
        body: body.into_bytes(),
    }
}

/// A backend to dial for a client.
#[derive(Debug)]
pub struct BackendDial {
    /// Where it is; tried in this order.
    pub addresses: Arc<[SocketAddr]>,
    /// Our end, as its client.
    pub conn: Conn,
    /// What it is told first: the request, behind a PROXY header where it wants
    /// one.
    pub output: Vec<u8>,
    /// What becomes of the client's octets.
    pub coding: Coding,
    /// What the client dialled, where it is known better than by its Host.
    pub public_url: Option<String>,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client.
    Client,
    /// The backend of a bridge.
    Backend,
    /// We.
    Server,
}

impl ClosedBy {
    /// Who is at the other end of a connection whose this end is ours.
    fn facing(side: Side) -> ClosedBy {
        match side {
            Side::Server => ClosedBy::Client,
            Side::Client => ClosedBy::Backend,
        }
    }
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClosedBy::Client => "client",
            ClosedBy::Backend => "backend",
            ClosedBy::Server => "server",
        })
    }
}

/// How a connection came to its end: what was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndReason {
    /// Whose doing it was.
    pub by: ClosedBy,
    /// The stable code of a refusal or violation; `closed` for a goodbye,
    /// `reset`, `page`, or what ran out: `idle-timeout`, `write-timeout`,
    /// `close-timeout`.
    pub what: &'static str,
    /// The status of an answer, or the code of a goodbye.
    pub code: Option<u16>,
}

/// What is known of a connection that is gone.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The version that was spoken, or asked for.
    pub version: Option<&'static Version>,
    /// Whether a 101 was sent.
    pub answered: bool,
    /// Whether the handshake came to its end.
    pub opened: bool,
    /// How it ended.
    pub ended: EndReason,
    /// What a bridge carried from the client.
    pub from_client: Tally,
    /// What a bridge carried to the client.
    pub to_client: Tally,
}

/// Names a link for as long as it lives; never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(usize);

/// A whole message that has come.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// It came whole, and lies in the loop's buffer.
    Whole(WholeMessage<'a>),
    /// It came in pieces, and lies in a buffer of its own.
    Gathered(&'a mut Gather, bool),
}

impl Incoming<'_> {
    /// The message.
    pub fn message(&mut self) -> Message<'_> {
        match self {
            Incoming::Whole(whole) => whole.message(),
            Incoming::Gathered(gather, checked) => gather.finish(*checked),
        }
    }
}

/// A link, while its app is asked.
pub struct Handle<'a, A: App> {
    /// Its name.
    pub id: LinkId,
    /// What the app keeps of it.
    pub data: &'a mut A::Data,
    conn: &'a mut Conn,
    out: Output<'a>,
    backlog: &'a mut worker::Backlog,
    room: &'a mut worker::Room,
    in_room: &'a mut bool,
    is_recorded: bool,
}

impl<A: App> Handle<'_, A> {
    /// The version it speaks.
    #[must_use]
    pub fn version(&self) -> Option<&'static Version> {
        self.conn.version()
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot say.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), Unsendable> {
        self.conn.send(message, &mut self.out)
    }

    /// Sends a message back the way it came, from where it lies.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot say.
    #[inline]
    pub fn send_back(&mut self, incoming: Incoming<'_>) -> Result<(), Unsendable> {
        match incoming {
            Incoming::Whole(whole) => self.send(whole.message()),
            Incoming::Gathered(gather, checked) => {
                let message = gather.finish(checked);
                let (kind, length) = (message.kind(), message.payload().len());
                // A shorter one leaves with its neighbours in one write; and
                // what is recorded goes by one way only.
                if length < worker::TURN || self.is_recorded {
                    return self.conn.send(gather.finish(checked), &mut self.out);
                }
                let Some((front, behind)) = self.conn.framing_of(kind, length)? else {
                    return self.conn.send(gather.finish(checked), &mut self.out);
                };
                let gather = std::mem::take(gather);
                self.backlog.push_small(self.out.octets);
                self.out.octets.clear();
                self.backlog
                    .push_large(gather.into_octets(), front.octets(), behind);
                Ok(())
            }
        }
    }

    /// Says goodbye.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.conn.close(code, reason, &mut self.out);
    }

    /// Ends the connection for what the peer did.
    pub fn abort(&mut self, violation: Violation) {
        self.conn.abort(violation, &mut self.out);
    }

    /// Enters the server's room, until the connection ends.
    pub fn enter_room(&mut self) {
        *self.in_room = true;
    }

    /// Says a text to all others in the room, in all workers. Who does not take
    /// what he hears is dropped, and nobody waits for him.
    pub fn tell_room(&mut self, text: &str) {
        self.room.publish(self.id, text);
    }
}

impl<A: App> fmt::Debug for Handle<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    ///
    /// Where the system has no randomness to give: a mask that can be guessed
    /// must never go out.
    fn fill(&mut self, octets: &mut [u8]) {
        if let Err(error) = getrandom::fill(octets) {
            panic!("the system gives no random octets: {error}");
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub error: io::Error,
}

/// What workers share.
#[derive(Debug, Default)]
struct Shared {
    /// Connections of all workers.
    connections: AtomicUsize,
    /// Connections above the limit that are being told so.
    surplus: AtomicUsize,
    draining: AtomicBool,
}

/// A server that is bound and not yet running.
#[derive(Debug)]
pub struct Server {
    config: Config,
    proxies: Networks,
    workers: Vec<worker::BoundWorker>,
    addresses: Vec<SocketAddr>,
    stats: ConnectionStats,
    shared: Arc<Shared>,
}

impl Server {
    /// Binds these addresses, once for each worker; port 0 becomes a free one.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn bind(
        addresses: &[SocketAddr],
        workers: usize,
        config: Config,
    ) -> Result<Server, BindError> {
        let mut bound = addresses.to_vec();
        for address in addresses {
            worker::check_free(*address)?;
        }
        let mut bound_workers = Vec::new();
        for _ in 0..workers.max(1) {
            bound_workers.push(worker::BoundWorker::bind(&mut bound)?);
        }
        Ok(Server {
            config,
            proxies: Networks::default(),
            stats: ConnectionStats::new(bound_workers.iter().map(worker::BoundWorker::waker)),
            workers: bound_workers,
            addresses: bound,
            shared: Arc::default(),
        })
    }

    /// Takes connections from these networks with a PROXY header in front
    /// only, and believes it; from others, none.
    #[must_use]
    pub fn accept_proxy(mut self, networks: Networks) -> Server {
        self.proxies = networks;
        self
    }

    /// The addresses, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Which connections are open.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.stats.clone()
    }

    /// A way to stop it from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            shared: Arc::clone(&self.shared),
            wakers: self
                .workers
                .iter()
                .map(worker::BoundWorker::waker)
                .collect(),
        }
    }

    /// A pipe into the first worker's own loop: an octet written to it stops the
    /// server, so that a signal handler can do it without a thread.
    ///
    /// # Errors
    ///
    /// Where the system gives no sockets.
    pub fn shutdown_pipe(&mut self) -> io::Result<std::os::unix::net::UnixStream> {
        let stopper = self.stopper();
        let first = self.workers.first_mut().ok_or(io::ErrorKind::NotFound)?;
        first.add_shutdown_pipe(stopper)
    }

    /// Runs until it was stopped and every connection has ended; `app` makes
    /// the app of each worker. A single worker runs on the calling thread:
    /// a process of one thread pays less for each system call.
    ///
    /// # Panics
    ///
    /// Where the system gives no threads.
    pub fn run<A: App>(self, app: impl Fn() -> A + Sync) {
        let peers = worker::mailboxes(&self.workers);
        let (config, proxies, shared) = (&self.config, &self.proxies, &self.shared);
        let stats = &self.stats;
        let app = &app;
        let alone = self.workers.len() == 1;
        thread::scope(|scope| {
            for (i, (bound_worker, mail)) in self.workers.into_iter().zip(peers).enumerate() {
                let name = format!("worker-{i}");
                let run = move || {
                    let setup = worker::WorkerSetup {
                        config: config.clone(),
                        proxies: proxies.clone(),
                        stats: stats.clone(),
                        index: i,
                        shared: Arc::clone(shared),
                    };
                    worker::Worker::new(bound_worker, mail, app(), setup).run()
                };
                if alone {
                    return run();
                }
                let thread = thread::Builder::new().name(name).spawn_scoped(scope, run);
                assert!(thread.is_ok(), "cannot start a thread");
            }
        });
    }
}

/// Stops a [`Server`].
#[derive(Clone, Debug)]
pub struct Stopper {
    shared: Arc<Shared>,
    wakers: Vec<Arc<Waker>>,
}

impl Stopper {
    /// Stops listening, says goodbye to every connection in its version's own
    /// way, and lets the server end.
    pub fn stop(&self) {
        self.shared.draining.store(true, Ordering::Release);
        for waker in &self.wakers {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake a worker: {error}");
            }
        }
    }
}
