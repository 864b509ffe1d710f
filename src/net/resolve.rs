//! Host names become addresses: when they are dialled, and on threads of their
//! own, so that no loop waits for them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::address::ServerAddress;
use super::url::{Endpoint, Host, Unresolved};

/// How long an answer is used again.
const FRESH: Duration = Duration::from_secs(1);
/// Lookups at the same time; more wait.
const THREADS: usize = 32;
/// Lookups of one name at the same time.
const LOOKUPS: usize = 2;
/// A lookup that has lasted so long may hang: another dial starts a second one.
const SLOW: Duration = Duration::from_secs(1);

/// Finds the addresses of a name and a port.
type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The addresses of an endpoint.
pub(super) type Found = Result<Arc<[ServerAddress]>, Unresolved>;

/// Resolves host names. An answer is used for one second at most, and until a
/// connection to one of its addresses fails. A few lookups run at the same time,
/// each on a thread of its own that ends with it.
///
/// ```
/// use heirloom::net::Resolver;
///
/// // Tests and service registries have answers of their own.
/// let resolver = Resolver::new(|_name, port| Ok(vec![([127, 0, 0, 1], port).into()]));
/// ```
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<Name, Progress>,
    /// Names to look up, which wait for a thread.
    queue: VecDeque<Name>,
    threads: usize,
}

type Name = (String, u16);

/// What is known of a name.
#[derive(Default)]
struct Progress {
    fresh: Option<(Instant, Arc<[ServerAddress]>)>,
    /// Lookups that wait or run.
    lookups: usize,
    /// When the last of them was asked for.
    asked: Option<Instant>,
    waiters: VecDeque<Waiter>,
}

/// A dial that waits for an answer.
struct Waiter {
    deadline: Instant,
    tell: Box<dyn FnOnce(Found) + Send>,
}

impl Default for Resolver {
    /// The system's resolver. All of a process share one.
    fn default() -> Resolver {
        static SYSTEM: OnceLock<Resolver> = OnceLock::new();
        let system = || Resolver::new(|name, port| Ok((name, port).to_socket_addrs()?.collect()));
        SYSTEM.get_or_init(system).clone()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// With `lookup` to find the addresses of a name and a port. It may block.
    pub fn new(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        Resolver(Arc::new(Shared {
            lookup: Box::new(lookup),
            state: Mutex::default(),
        }))
    }

    /// The addresses, where they are known without a lookup.
    pub(super) fn known(&self, endpoint: &Endpoint) -> Option<Arc<[ServerAddress]>> {
        match &endpoint.0 {
            Host::Address(address) => Some(Arc::from([ServerAddress::Tcp(*address)])),
            Host::Unix(path) => Some(Arc::from([ServerAddress::Unix(Arc::clone(path))])),
            Host::Name(name, port) => {
                let state = self.0.state();
                let (at, addresses) = state.names.get(&(name.clone(), *port))?.fresh.as_ref()?;
                (at.elapsed() < FRESH).then(|| Arc::clone(addresses))
            }
        }
    }

    /// Looks the addresses up, and calls `tell` with them on another thread. The
    /// answer may come late; after the deadline it may not come at all.
    pub(super) fn resolve(
        &self,
        endpoint: &Endpoint,
        deadline: Instant,
        tell: impl FnOnce(Found) + Send + 'static,
    ) {
        let Host::Name(name, port) = &endpoint.0 else {
            return tell(self.known(endpoint).ok_or_else(|| nothing(endpoint)));
        };
        let now = Instant::now();
        let name = (name.clone(), *port);
        let mut state = self.0.state();
        let progress = state.names.entry(name.clone()).or_default();
        while progress.waiters.front().is_some_and(|w| w.deadline < now) {
            progress.waiters.pop_front();
        }
        let tell = Box::new(tell);
        progress.waiters.push_back(Waiter { deadline, tell });
        let is_slow = progress.asked.is_none_or(|at| now - at >= SLOW);
        if progress.lookups == 0 || progress.lookups < LOOKUPS && is_slow {
            progress.lookups += 1;
            progress.asked = Some(now);
            state.queue.push_back(name);
            self.start_thread(state);
        }
    }

    /// The addresses; waits for them. `None` where the deadline comes before.
    pub(super) fn resolve_until(&self, endpoint: &Endpoint, deadline: Instant) -> Option<Found> {
        if let Some(known) = self.known(endpoint) {
            return Some(Ok(known));
        }
        let (tell, found) = sync_channel(1);
        self.resolve(endpoint, deadline, move |answer| {
            // Its receiver may have given up.
            let _ = tell.send(answer);
        });
        let left = deadline.saturating_duration_since(Instant::now());
        match found.recv_timeout(left) {
            Ok(found) => Some(found),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(nothing(endpoint))),
        }
    }

    /// A connection to one of its addresses has failed: the next dial looks it up
    /// again.
    pub(super) fn forget(&self, endpoint: &Endpoint) {
        if let Host::Name(name, port) = &endpoint.0 {
            let mut state = self.0.state();
            if let Some(progress) = state.names.get_mut(&(name.clone(), *port)) {
                progress.fresh = None;
            }
        }
    }

    /// Starts a thread for what was queued, if there may be one more.
    fn start_thread(&self, mut state: MutexGuard<'_, State>) {
        if state.threads >= THREADS {
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("resolver".to_owned());
        if let Err(error) = thread.spawn(move || shared.run()) {
            let queued = {
                let mut state = self.0.state();
                state.threads -= 1;
                // Those that run take what waits.
                let alone = state.threads == 0;
                alone.then(|| std::mem::take(&mut state.queue))
            };
            for name in queued.into_iter().flatten() {
                let error = io::Error::new(error.kind(), error.to_string());
                self.0.answer(&name, Err(error));
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread: looks up what is queued, until nothing is.
    fn run(&self) {
        loop {
            let name = {
                let mut state = self.state();
                let Some(name) = state.queue.pop_front() else {
                    state.threads -= 1;
                    return;
                };
                name
            };
            let lookup = AssertUnwindSafe(|| (self.lookup)(&name.0, name.1));
            let found = catch_unwind(lookup)
                .unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")));
            self.answer(&name, found);
        }
    }

    /// Tells all that wait for this name.
    fn answer(&self, name: &Name, found: io::Result<Vec<SocketAddr>>) {
        let found: Found = match found {
            Ok(addresses) if !addresses.is_empty() => {
                Ok(addresses.into_iter().map(ServerAddress::Tcp).collect())
            }
            Ok(_) => Err(unresolved(&name.0, ErrorKind::NotFound.into())),
            Err(error) => Err(unresolved(&name.0, error)),
        };
        let waiters = {
            let mut state = self.state();
            let waiters = state.answered(name, &found);
            state.forget_old();
            waiters
        };
        for waiter in waiters {
            let copy = match &found {
                Ok(addresses) => Ok(Arc::clone(addresses)),
                Err(unresolved) => Err(unresolved.copy()),
            };
            (waiter.tell)(copy);
        }
    }
}

impl State {
    /// Keeps an answer, and gives what waits for it.
    fn answered(&mut self, name: &Name, found: &Found) -> VecDeque<Waiter> {
        let Some(progress) = self.names.get_mut(name) else {
            return VecDeque::new();
        };
        progress.lookups = progress.lookups.saturating_sub(1);
        if let Ok(addresses) = found {
            progress.fresh = Some((Instant::now(), Arc::clone(addresses)));
        }
        std::mem::take(&mut progress.waiters)
    }

    /// Forgets the names that have not been dialled for a while.
    fn forget_old(&mut self) {
        self.names.retain(|_, progress| {
            let is_fresh = |(at, _): &(Instant, _)| at.elapsed() < FRESH;
            progress.lookups > 0 || progress.fresh.as_ref().is_some_and(is_fresh)
        });
    }
}

fn unresolved(name: &str, error: io::Error) -> Unresolved {
    Unresolved {
        name: name.to_owned(),
        error,
    }
}

fn nothing(endpoint: &Endpoint) -> Unresolved {
    unresolved(&endpoint.to_string(), ErrorKind::NotFound.into())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn ask(resolver: &Resolver, text: &str) -> Found {
        let found = resolver.resolve_until(&endpoint(text), Instant::now() + PATIENCE);
        found.unwrap()
    }

    #[test]
    fn an_answer_is_used_again_until_a_connection_fails() {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lookups);
        let resolver = Resolver::new(move |_, port| {
            counted.fetch_add(1, Ordering::AcqRel);
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        let first = Instant::now();
        for _ in 0..3 {
            assert_eq!(ask(&resolver, "a:80").unwrap().len(), 1);
        }
        if first.elapsed() < FRESH {
            assert_eq!(lookups.load(Ordering::Acquire), 1);
        }
        let before = lookups.load(Ordering::Acquire);
        resolver.forget(&endpoint("a:80"));
        assert!(resolver.known(&endpoint("a:80")).is_none());
        ask(&resolver, "a:80").unwrap();
        assert_eq!(lookups.load(Ordering::Acquire), before + 1);
    }

    #[test]
    fn an_answer_is_not_used_after_a_second() {
        let resolver = Resolver::new(|_, port| Ok(vec![([127, 0, 0, 1], port).into()]));
        ask(&resolver, "a:80").unwrap();
        let mut state = resolver.0.state();
        let progress = state.names.get_mut(&("a".to_owned(), 80)).unwrap();
        let (at, _) = progress.fresh.as_mut().unwrap();
        *at = at.checked_sub(FRESH).unwrap();
        drop(state);
        assert!(resolver.known(&endpoint("a:80")).is_none());
    }

    #[test]
    fn an_address_needs_no_lookup() {
        let resolver = Resolver::new(|_, _| panic!("nothing is to be found"));
        let found = ask(&resolver, "127.0.0.1:80").unwrap();
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!(*found, [address.into()]);
        let found = ask(&resolver, "unix:/a.sock").unwrap();
        assert_eq!(found.first().unwrap().to_string(), "unix:/a.sock");
    }

    #[test]
    fn a_name_that_hangs_keeps_no_other_name_waiting() {
        let (tell, asked) = channel();
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        let resolver = Resolver::new(move |name, port| {
            if name == "hangs" {
                tell.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            }
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        let (tell, found) = channel();
        for _ in 0..3 {
            let tell = tell.clone();
            let deadline = Instant::now() + PATIENCE;
            resolver.resolve(&endpoint("hangs:1"), deadline, move |found| {
                tell.send(found).unwrap();
            });
        }
        asked.recv_timeout(PATIENCE).unwrap();
        // Nor do several.
        for port in 2..=15 {
            let deadline = Instant::now() + PATIENCE;
            resolver.resolve(&endpoint(&format!("hangs:{port}")), deadline, |_| {});
        }
        for i in 0..20 {
            ask(&resolver, &format!("a{i}:80")).unwrap();
        }
        drop(release);
        for _ in 0..3 {
            found.recv_timeout(PATIENCE).unwrap().unwrap();
        }
    }

    #[test]
    fn a_slow_lookup_is_joined_by_a_second_one() {
        let lookups = AtomicUsize::new(0);
        let (tell, asked) = channel();
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        let resolver = Resolver::new(move |_, port| {
            if lookups.fetch_add(1, Ordering::AcqRel) == 0 {
                tell.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            }
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        let (tell, found) = channel();
        resolver.resolve(&endpoint("a:80"), Instant::now() + PATIENCE, move |found| {
            tell.send(found).unwrap();
        });
        asked.recv_timeout(PATIENCE).unwrap();
        let mut state = resolver.0.state();
        let progress = state.names.get_mut(&("a".to_owned(), 80)).unwrap();
        progress.asked = progress.asked.and_then(|at| at.checked_sub(SLOW));
        drop(state);
        ask(&resolver, "a:80").unwrap();
        found.recv_timeout(PATIENCE).unwrap().unwrap();
        drop(release);
    }

    #[test]
    fn a_resolver_that_panics_has_found_nothing() {
        let resolver = Resolver::new(|_, _| panic!("on purpose"));
        let unresolved = ask(&resolver, "a:80").unwrap_err();
        assert_eq!(
            unresolved.to_string(),
            "no address for a: the resolver panicked"
        );
    }

    #[test]
    fn nothing_is_kept_of_names_that_are_not_dialled_any_more() {
        let resolver = Resolver::new(|_, _| Err(ErrorKind::NotFound.into()));
        for i in 0..100 {
            ask(&resolver, &format!("a{i}:80")).unwrap_err();
        }
        assert!(resolver.0.state().names.len() <= 1);
    }
}
