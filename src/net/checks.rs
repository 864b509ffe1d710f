//! Checks of backends: one thread of the process connects to their servers now and then,
//! or does an opening handshake with them.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::attempts::{Attempted, Attempts};
use super::backend::Backend;
use super::backend_dial::Try;
use super::health::now_ms;
use super::resolve::Found;
use super::tls::{ClientTls, Tls};
use super::transport::{ReadResult, Transport, is_exhausted};
use super::url::Unresolved;
use crate::bytes::{Input, Output};
use crate::conn::{Conn, Event};
use crate::random::SystemRandom;

const WAKER: Token = Token(0);
/// Octets of an answer that are read: a head, and what may come with it.
const ANSWER: usize = 64 * 1024;

/// The thread, while it has something to watch.
static THREAD: Mutex<Option<Inbox>> = Mutex::new(None);

/// Where the thread is told of something.
#[derive(Clone)]
struct Inbox {
    posts: Sender<Post>,
    waker: Arc<Waker>,
}

enum Post {
    Watch(Weak<Backend>),
    Resolved { token: usize, found: Found },
}

/// Checks the servers of this backend from now on, where it is to be checked, until
/// that is ended or it is dropped.
pub(super) fn watch(backend: &Arc<Backend>) {
    if !backend.targets.begin_watch() {
        return;
    }
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.is_none() {
        match start() {
            Ok(inbox) => *thread = Some(inbox),
            Err(error) => return log::error!("backends are not checked: {error}"),
        }
    }
    if let Some(inbox) = &*thread {
        inbox.post(Post::Watch(Arc::downgrade(backend)));
    }
}

fn start() -> io::Result<Inbox> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (posts, received) = channel();
    let inbox = Inbox { posts, waker };
    let checks = Checks {
        poll,
        received,
        inbox: inbox.clone(),
        watched: Vec::new(),
        running: HashMap::new(),
        last_token: WAKER.0,
    };
    let thread = thread::Builder::new().name("backend-checks".to_owned());
    thread.spawn(move || checks.run())?;
    Ok(inbox)
}

impl Inbox {
    fn post(&self, post: Post) {
        // It is there as long as the inbox can be reached.
        let _ = self.posts.send(post);
        let _ = self.waker.wake();
    }
}

struct Checks {
    poll: Poll,
    received: Receiver<Post>,
    inbox: Inbox,
    watched: Vec<Watched>,
    /// Checks by the tokens of their sockets.
    running: HashMap<usize, Running>,
    last_token: usize,
}

/// A server that is checked.
struct Watched {
    backend: Weak<Backend>,
    index: usize,
    /// When it is checked next.
    due_ms: u64,
    /// The check that is under way.
    token: Option<usize>,
}

/// A check that is under way.
struct Running {
    deadline_ms: u64,
    asks: Try,
    stage: Stage,
}

enum Stage {
    Resolving,
    Connecting(Attempts),
    Talking(Box<Talk>),
}

/// A connection that a check has made.
struct Talk {
    transport: Transport,
    /// Our end, where an opening handshake is done.
    conn: Option<Conn>,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

/// What has come of a check.
enum Came {
    Nothing,
    Reached,
    Failed(String),
    /// The cause lies here.
    Unknown,
}

impl Checks {
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.timeout()) {
                if error.kind() != ErrorKind::Interrupted {
                    log::error!("backends are not checked any more: {error}");
                    return;
                }
            }
            for event in &events {
                let running = self.running.get_mut(&event.token().0);
                if let Some(Stage::Talking(talk)) = running.map(|running| &mut running.stage) {
                    talk.transport.on_event(event);
                }
            }
            while let Ok(post) = self.received.try_recv() {
                self.take(post);
            }
            self.watched.retain(|watched| {
                let backend = watched.backend.upgrade();
                backend.is_some_and(|backend| backend.targets.is_watched())
            });
            self.start_due();
            self.advance_all();
            if self.ends() {
                return;
            }
        }
    }

    /// Whether there is nothing to watch any more. What comes later starts another
    /// thread.
    fn ends(&mut self) -> bool {
        if !self.watched.is_empty() {
            return false;
        }
        let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
        match self.received.try_recv() {
            Ok(post) => {
                drop(thread);
                self.take(post);
                false
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                *thread = None;
                true
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let now_ms = now_ms();
        let starts = self.watched.iter().map(|watched| match watched.token {
            Some(_) => u64::MAX,
            None => watched.due_ms,
        });
        let ends = self.running.values().map(|running| {
            let next_ms = match &running.stage {
                Stage::Connecting(attempts) => attempts.due_ms(),
                _ => None,
            };
            next_ms.map_or(running.deadline_ms, |ms| ms.min(running.deadline_ms))
        });
        let due_ms = starts.chain(ends).min()?;
        (due_ms < u64::MAX).then(|| Duration::from_millis(due_ms.saturating_sub(now_ms)))
    }

    fn take(&mut self, post: Post) {
        match post {
            Post::Watch(backend) => {
                let servers = backend.upgrade().map_or(0, |backend| backend.targets.len());
                let now_ms = now_ms();
                // It may have been ended a moment ago.
                self.watched
                    .retain(|watched| !watched.backend.ptr_eq(&backend));
                self.watched.extend((0..servers).map(|index| Watched {
                    backend: Weak::clone(&backend),
                    index,
                    due_ms: now_ms,
                    token: None,
                }));
            }
            Post::Resolved { token, found } => {
                if let Some(running) = self.running.get_mut(&token) {
                    running.resolved(found);
                }
            }
        }
    }

    fn start_due(&mut self) {
        let now_ms = now_ms();
        for watched in &mut self.watched {
            if watched.token.is_some() || watched.due_ms > now_ms {
                continue;
            }
            let Some(backend) = watched.backend.upgrade() else {
                continue;
            };
            let options = backend.targets.options;
            watched.due_ms = now_ms.saturating_add(options.check_interval_ms);
            let Some(target) = backend.targets.get(watched.index) else {
                continue;
            };
            let asks = match backend.check(&target.url) {
                Ok(asks) => asks,
                Err(refusal) => {
                    target.failed(&refusal, true);
                    continue;
                }
            };
            self.last_token += 1;
            let token = self.last_token;
            watched.token = Some(token);
            let deadline_ms = now_ms.saturating_add(options.connect_ms);
            let mut running = Running {
                deadline_ms,
                asks,
                stage: Stage::Resolving,
            };
            match running.asks.resolver.known(&running.asks.endpoint) {
                Some(known) => running.resolved(Ok(known)),
                None => {
                    let deadline = Instant::now() + Duration::from_millis(options.connect_ms);
                    let inbox = self.inbox.clone();
                    let asks = &running.asks;
                    asks.resolver
                        .resolve(&asks.endpoint, deadline, move |found| {
                            inbox.post(Post::Resolved { token, found });
                        });
                }
            }
            self.running.insert(token, running);
        }
    }

    /// Goes on with all checks. There are few, and none waits for another.
    fn advance_all(&mut self) {
        let now_ms = now_ms();
        for watched in &mut self.watched {
            let Some(token) = watched.token else {
                continue;
            };
            let Some(running) = self.running.get_mut(&token) else {
                watched.token = None;
                continue;
            };
            let came = match running.advance(token, now_ms, &self.poll) {
                Came::Nothing if now_ms >= running.deadline_ms => {
                    Came::Failed("a check has no answer in time".to_owned())
                }
                came => came,
            };
            let backend = watched.backend.upgrade();
            let target = backend.as_ref().and_then(|b| b.targets.get(watched.index));
            match (came, target) {
                (Came::Nothing, _) => continue,
                (Came::Reached, Some(target)) => target.reached(),
                (Came::Failed(why), Some(target)) => {
                    running.asks.resolver.forget(&running.asks.endpoint);
                    target.failed(&why, true);
                }
                (Came::Unknown | Came::Reached | Came::Failed(_), _) => {}
            }
            self.running.remove(&token);
            watched.token = None;
            // From its end on.
            if let Some(backend) = backend {
                let interval_ms = backend.targets.options.check_interval_ms;
                watched.due_ms = now_ms.saturating_add(interval_ms);
            }
        }
        let watched = &self.watched;
        self.running
            .retain(|token, _| watched.iter().any(|w| w.token == Some(*token)));
    }
}

impl Running {
    fn resolved(&mut self, found: Found) {
        let attempts = match found {
            Ok(addresses) => Attempts::new(&addresses, now_ms(), self.deadline_ms),
            Err(unresolved) => return self.fail(unresolved),
        };
        if matches!(self.stage, Stage::Resolving) {
            self.stage = Stage::Connecting(attempts);
        }
    }

    /// Its name has no address: it has no attempts either.
    fn fail(&mut self, unresolved: Unresolved) {
        log::debug!(target: "heirloom::net", "{unresolved}");
        self.stage = Stage::Connecting(Attempts::new(&[], 0, 0));
    }

    fn advance(&mut self, token: usize, now_ms: u64, poll: &Poll) -> Came {
        if let Stage::Connecting(attempts) = &mut self.stage {
            match attempts.advance(now_ms, poll.registry(), Token(token)) {
                Attempted::Waiting => return Came::Nothing,
                Attempted::Failed(None) => return Came::Failed("its name has no address".into()),
                Attempted::Failed(Some((_, error))) if is_exhausted(&error) => {
                    return Came::Unknown;
                }
                Attempted::Failed(Some((_, error))) => return failed(&error),
                Attempted::Connected(transport) => match self.talk(transport) {
                    Ok(talk) => self.stage = Stage::Talking(Box::new(talk)),
                    Err(error) => return failed(&error),
                },
            }
        }
        match &mut self.stage {
            Stage::Talking(talk) => talk.advance().unwrap_or_else(|error| failed(&error)),
            Stage::Resolving | Stage::Connecting(_) => Came::Nothing,
        }
    }

    /// TCP is connected.
    fn talk(&mut self, mut transport: Transport) -> io::Result<Talk> {
        let mut unsent = std::mem::take(&mut self.asks.output);
        let introduction = std::mem::take(&mut self.asks.introduction);
        if let Some(tls) = &self.asks.tls {
            let client = match &tls.client {
                Some(client) => client.clone(),
                None => ClientTls::of_system().map_err(io::Error::other)?,
            };
            let tls = Tls::connect(&client, &tls.host, introduction).map_err(io::Error::other)?;
            transport.start_tls(tls, &[]);
        } else {
            unsent.splice(0..0, introduction);
        }
        Ok(Talk {
            transport,
            conn: self.asks.conn.take(),
            unsent,
            received: Vec::new(),
        })
    }
}

impl Talk {
    fn advance(&mut self) -> io::Result<Came> {
        if self.transport.is_in_tls_handshake() && !self.transport.advance_tls()? {
            return Ok(Came::Nothing);
        }
        while !self.unsent.is_empty() {
            let written = self.transport.write(&self.unsent)?;
            self.unsent.drain(..written);
            if written == 0 {
                return Ok(Came::Nothing);
            }
        }
        if self.conn.is_none() {
            return Ok(Came::Reached);
        }
        let mut room = [0; 4096];
        loop {
            match self.transport.read(&mut room) {
                ReadResult::Octets(n) => {
                    self.received.extend_from_slice(room.split_at(n).0);
                    match self.parse() {
                        Came::Nothing if self.received.len() > ANSWER => {
                            return Ok(Came::Failed("its answer has no end".to_owned()));
                        }
                        Came::Nothing => {}
                        came => return Ok(came),
                    }
                }
                ReadResult::Nothing => return Ok(Came::Nothing),
                ReadResult::End => {
                    let why = "it ended the connection without an answer";
                    return Ok(Came::Failed(why.to_owned()));
                }
                ReadResult::Broken(error) => return Err(error),
            }
        }
    }

    /// Reads its answer.
    fn parse(&mut self) -> Came {
        let Some(conn) = &mut self.conn else {
            return Came::Reached;
        };
        let (mut close, mut random) = (Vec::new(), SystemRandom);
        let mut out = Output::new(&mut close, &mut random);
        let mut input = Input::new(&mut self.received);
        let came = loop {
            match conn.next(&mut input, &mut out) {
                Ok(Some(Event::Open)) => break Came::Reached,
                Ok(Some(_)) => {}
                Ok(None) => break Came::Nothing,
                Err(located) => break failed(&located.error),
            }
        };
        let left = input.rest().len();
        self.received.drain(..self.received.len() - left);
        if matches!(came, Came::Reached) {
            conn.close(1000, "", &mut Output::new(&mut close, &mut random));
            // It has answered, whatever becomes of the close.
            let _ = self.transport.write(&close);
            let _ = self.transport.shutdown_write();
        }
        came
    }
}

fn failed(why: &dyn Display) -> Came {
    Came::Failed(why.to_string())
}
