//! Servers: workers that run an app, and what other threads can do to them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use super::app::App;
use super::flash::FlashPolicy;
use super::link_id::LinkId;
use super::listen::{Listen, ListenAt, ListenPolicy};
use super::listening::{BindError, Listening};
use super::liveness::Liveness;
use super::networks::Networks;
use super::post::{NewListeners, NotPosted, Policy, Post};
use super::settings::Settings;
use super::state::ServerState;
use super::stats::{Board, ConnectionStats, Metrics};
use super::tap::Tap;
use super::tls::ServerTls;
use super::worker::{BoundWorker, Mailboxes, Places, Setup, Worker};
use crate::conn::Config;
use crate::message::Message;

/// A server that is bound and not yet running.
#[derive(Debug)]
pub struct Server {
    policy: Policy,
    workers: Vec<BoundWorker>,
    listening: Listening,
    tap: Option<Tap>,
    board: Arc<Board>,
}

impl Server {
    /// Binds these addresses, once for each worker; port 0 becomes a free one.
    /// `config` applies to each request whose route has none of its own.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn bind(
        addresses: &[SocketAddr],
        workers: usize,
        config: impl Into<Arc<Config>>,
    ) -> Result<Server, BindError> {
        let places: Vec<Listen> = addresses.iter().copied().map(Listen::from).collect();
        Server::listen(&places, workers, config)
    }

    /// Binds these listeners, those of TCP once for each worker; port 0 becomes a
    /// free one. The first worker accepts the clients of Unix sockets, and hands
    /// them over to the others where these have fewer. `config` applies to each
    /// request whose route has none of its own.
    ///
    /// # Errors
    ///
    /// The first listener that cannot be bound.
    pub fn listen(
        listeners: &[Listen],
        workers: usize,
        config: impl Into<Arc<Config>>,
    ) -> Result<Server, BindError> {
        let listening = Listening::default();
        let change = listening.lock().bind(listeners, workers.max(1))?;
        let bound = listening.lock().replace(change);
        let workers = bound.into_iter().map(BoundWorker::new);
        let bound_workers: io::Result<Vec<BoundWorker>> = workers.collect();
        let bound_workers = bound_workers.map_err(|error| {
            let nowhere = ListenAt::Tcp(SocketAddr::from(([0, 0, 0, 0], 0)));
            let address = listeners
                .first()
                .map_or(nowhere, |listen| listen.at.clone());
            BindError { address, error }
        })?;
        Ok(Server {
            policy: Policy {
                config: config.into(),
                settings: Settings::default(),
            },
            board: Arc::new(Board::new(bound_workers.iter().map(BoundWorker::waker))),
            workers: bound_workers,
            listening,
            tap: None,
        })
    }

    /// With this configuration in place of the one that it was bound with.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Server {
        self.policy.config = config.into();
        self
    }

    /// Its counts and timeouts.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.policy.settings
    }

    /// With these counts and timeouts.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Server {
        self.policy.settings = settings;
        self
    }

    /// Requires a PROXY header on connections from these networks, and believes
    /// it; refuses one on all other connections. This goes for all its listeners.
    #[must_use]
    pub fn accept_proxy(self, networks: Networks) -> Server {
        let listening = &self.listening;
        let change = |policy: &mut ListenPolicy| policy.proxies = networks.clone();
        listening.lock().change_policies(change);
        self
    }

    /// Speaks TLS with these certificates, on all listeners that take it.
    #[must_use]
    pub fn with_tls(self, tls: ServerTls) -> Server {
        let listening = &self.listening;
        let change = |policy: &mut ListenPolicy| policy.tls = Some(tls.clone());
        listening.lock().change_policies(change);
        self
    }

    /// Whether one of its listeners has certificates.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        let listeners = self.listeners();
        listeners.iter().any(|listen| listen.policy.tls.is_some())
    }

    /// Answers Flash players that ask for a policy, on all its listeners.
    #[must_use]
    pub fn with_flash_policy(self, policy: FlashPolicy) -> Server {
        let listening = &self.listening;
        let change = |listener: &mut ListenPolicy| listener.flash = Some(policy.clone());
        listening.lock().change_policies(change);
        self
    }

    /// Hands what its connections publish to this tap too, beside the subscribers
    /// that they have here.
    #[must_use]
    pub fn with_tap(mut self, tap: Tap) -> Server {
        self.tap = Some(tap);
        self
    }

    /// The addresses of TCP, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.listeners();
        let addresses = listeners.iter().filter_map(|listen| listen.at.address());
        addresses.collect()
    }

    /// Its listeners, with their real ports.
    #[must_use]
    pub fn listeners(&self) -> Vec<Listen> {
        self.listening.lock().listeners()
    }

    /// Which connections are open.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        ConnectionStats(Arc::clone(&self.board))
    }

    /// The numbers of what it does, for another thread than those of its workers.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics(Arc::clone(&self.board))
    }

    /// Whether it drains.
    #[must_use]
    pub fn state(&self) -> ServerState {
        self.board.state.clone()
    }

    /// Finds out whether its workers still turn, once it runs.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        let mailboxes = self.mailboxes().into_iter();
        let inboxes = mailboxes.map(|mailboxes| mailboxes.inbox);
        Liveness::new(inboxes.collect(), self.board.state.clone())
    }

    /// A way to send to its connections and topics from any thread.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender(self.mailboxes().into())
    }

    /// A way to stop it from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.mailboxes().into(), self.board.state.clone())
    }

    /// A way to change its settings and listeners while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader {
            mailboxes: self.mailboxes().into(),
            listening: self.listening.clone(),
        }
    }

    fn mailboxes(&self) -> Vec<Mailboxes> {
        let workers = self.workers.iter();
        workers.map(|worker| worker.mailboxes().clone()).collect()
    }

    /// A pipe into the first worker's own loop: an octet written to it stops the
    /// server, so that a signal handler can do it without a thread.
    ///
    /// # Errors
    ///
    /// Where the system gives no sockets.
    pub fn shutdown_pipe(&mut self) -> io::Result<std::os::unix::net::UnixStream> {
        let first = self.workers.first_mut().ok_or(io::ErrorKind::NotFound)?;
        first.add_shutdown_pipe()
    }

    /// A pipe into the first worker's own loop: the worker calls `call` once, when an
    /// octet was written to it. So a program needs no thread that waits for something
    /// rare: in a process of one thread each system call costs less. `call` must not
    /// wait.
    ///
    /// # Errors
    ///
    /// Where the system gives no sockets.
    pub fn calling_pipe(
        &mut self,
        call: impl FnOnce() + Send + 'static,
    ) -> io::Result<std::os::unix::net::UnixStream> {
        let first = self.workers.first_mut().ok_or(io::ErrorKind::NotFound)?;
        first.add_call(Box::new(call))
    }

    /// Runs until it was stopped and every connection has ended; `app` makes the
    /// app of each worker. A single worker runs on the calling thread: a process
    /// of one thread pays less for each system call.
    ///
    /// # Panics
    ///
    /// Where the system gives no threads.
    pub fn run<A: App>(mut self, app: impl Fn() -> A + Sync) {
        let listening = self.listening.lock();
        let places = listening.listeners();
        for worker in &mut self.workers {
            worker.set_policies(&places);
            // Behind what a reloader has posted before the last policies were set.
            let places = places.clone().into();
            let bound = Vec::new();
            let post = Post::Listen(Box::new(NewListeners { places, bound }));
            worker.mailboxes().inbox.post_anyway(post);
        }
        drop(listening);
        let setup = Setup {
            mailboxes: self.mailboxes(),
            policy: Arc::new(self.policy),
            board: self.board,
            places: Arc::new(Places::new(self.workers.len())),
            tap: self.tap,
        };
        let (setup, app) = (&setup, &app);
        let alone = self.workers.len() == 1;
        thread::scope(|scope| {
            for (index, bound) in self.workers.into_iter().enumerate() {
                let run = move || Worker::new(bound, index, app(), setup.clone()).run();
                if alone {
                    return run();
                }
                let name = format!("worker-{index}");
                let thread = thread::Builder::new().name(name).spawn_scoped(scope, run);
                assert!(thread.is_ok(), "cannot start a thread");
            }
        });
    }
}

/// Sends to connections and topics of a running [`Server`], from any thread or
/// timer. It never waits.
///
/// ```no_run
/// use heirloom::Config;
/// use heirloom::net::{Router, Server, Site, serve};
///
/// let router = Router::new(serve::routes(Config::default()));
/// let server = Server::bind(&["127.0.0.1:8076".parse()?], 2, router.config())?;
/// let sender = server.sender();
/// std::thread::spawn(move || {
///     // All clients in the chat get the time, whatever their version.
///     while sender.publish("/chat", "tick").is_ok() {
///         std::thread::sleep(std::time::Duration::from_secs(1));
///     }
/// });
/// server.run(|| Site::new(&router));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sender(Arc<[Mailboxes]>);

/// Why a [`Sender`] did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// As many posts wait for the server's worker as may; try again later.
    #[error("the mailbox of the server is full")]
    Full,
    /// The server has ended.
    #[error("the server has ended")]
    Ended,
}

impl From<NotPosted> for SendError {
    fn from(not_posted: NotPosted) -> SendError {
        match not_posted {
            NotPosted::Full => SendError::Full,
            NotPosted::Closed => SendError::Ended,
        }
    }
}

impl Sender {
    /// Sends a message to one connection. Nothing happens where it is gone, is
    /// not open, or has a version that cannot send this message. A connection
    /// that does not read fast enough is ended.
    ///
    /// # Errors
    ///
    /// Where the server takes no more for now, or has ended.
    pub fn send(&self, to: LinkId, message: Message<'_>) -> Result<(), SendError> {
        let post = Post::Send {
            token: to.token,
            kind: message.kind(),
            payload: message.payload().to_vec(),
        };
        self.post(to.worker, post)
    }

    /// Closes one connection, with this code and reason as far as its version
    /// has them. Nothing happens where it is gone.
    ///
    /// # Errors
    ///
    /// Where the server takes no more for now, or has ended.
    pub fn close(&self, link: LinkId, code: u16, reason: &str) -> Result<(), SendError> {
        let post = Post::Close {
            token: link.token,
            code,
            reason: reason.to_owned(),
        };
        self.post(link.worker, post)
    }

    /// Sends a text to all subscribers of a topic. Texts of one thread arrive in
    /// their order. A [`Tap`] does not get them.
    ///
    /// # Errors
    ///
    /// Where the server takes no more for now, or has ended.
    pub fn publish(&self, topic: &str, text: &str) -> Result<(), SendError> {
        // It passes the text on to the others, so that all of them get it or none.
        let first = self.0.first().ok_or(SendError::Ended)?;
        Ok(first.outside.post_text(topic, text)?)
    }

    fn post(&self, worker: usize, post: Post) -> Result<(), SendError> {
        let mailboxes = self.0.get(worker).ok_or(SendError::Ended)?;
        Ok(mailboxes.outside.post(post)?)
    }
}

/// Stops a [`Server`].
#[derive(Clone, Debug)]
pub struct Stopper(Arc<[Mailboxes]>, ServerState);

impl Stopper {
    /// Stops listening, closes every connection in its version's own way, and
    /// lets the server end.
    pub fn stop(&self) {
        self.1.set_draining();
        for mailboxes in self.0.iter() {
            mailboxes.inbox.post_anyway(Post::Drain);
        }
    }
}

/// Changes the settings and listeners of a running [`Server`].
#[derive(Clone, Debug)]
pub struct Reloader {
    mailboxes: Arc<[Mailboxes]>,
    listening: Listening,
}

impl Reloader {
    /// From now on the server listens at these places, with these policies. What
    /// is new is bound before anything is closed. A place that stays keeps its
    /// socket: an address of TCP, the path of a Unix socket, whose file gets the
    /// mode that is given, or a socket that was passed. Port 0 stays the port that
    /// was found for it. Gives the listeners with their real ports.
    ///
    /// Open connections stay, and connections that wait at a listener that is
    /// closed are accepted first. One that comes in the moment of its end may be
    /// reset.
    ///
    /// # Errors
    ///
    /// The first place that cannot be bound, or is given twice. Then nothing has
    /// changed.
    pub fn listen(&self, listeners: &[Listen]) -> Result<Vec<Listen>, BindError> {
        let mut listening = self.listening.lock();
        let change = listening.bind(listeners, self.mailboxes.len())?;
        let bound = listening.replace(change);
        let places = listening.listeners();
        let shared: Arc<[Listen]> = places.clone().into();
        for (mailboxes, bound) in self.mailboxes.iter().zip(bound) {
            let places = Arc::clone(&shared);
            let new = NewListeners { places, bound };
            mailboxes.inbox.post_anyway(Post::Listen(Box::new(new)));
        }
        Ok(places)
    }

    /// The listeners, with their real ports.
    #[must_use]
    pub fn listeners(&self) -> Vec<Listen> {
        self.listening.lock().listeners()
    }

    /// Closes the connections whose route the current table does not have, as
    /// [`App::is_outdated`] says: each gets its version's own close, with 1001 where
    /// that has a code. That starts when `drain_ms` milliseconds are over, and is
    /// spread evenly over `spread_ms` more. Both ends of a bridge are closed. A
    /// client in its opening handshake finishes that before.
    pub fn retire(&self, drain_ms: u64, spread_ms: u64) {
        for mailboxes in self.mailboxes.iter() {
            mailboxes.inbox.post_anyway(Post::Retire {
                drain_ms,
                spread_ms,
            });
        }
    }

    /// From now on new requests get this configuration, with the routes in it,
    /// and all connections these counts and timeouts. Connections whose request
    /// has arrived keep the configuration of their route.
    pub fn reload(&self, config: impl Into<Arc<Config>>, settings: Settings) {
        let policy = Arc::new(Policy {
            config: config.into(),
            settings,
        });
        for mailboxes in self.mailboxes.iter() {
            let post = Post::Settings(Arc::clone(&policy));
            mailboxes.inbox.post_anyway(post);
        }
    }
}
