//! How the backend of a bridge is dialled: its name is resolved, then its
//! addresses are tried.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use mio::{Registry, Token};

use super::clock::Clock;
use crate::net::address::ServerAddress;
use crate::net::attempts::{Attempted, Attempts};
use crate::net::backend_dial::BackendTls;
use crate::net::refusal::NetRefusal;
use crate::net::resolve::{Found, Resolver};
use crate::net::tls::{ClientTls, Tls};
use crate::net::transport::{Transport, is_exhausted};
use crate::net::url::{Endpoint, Unresolved};
use crate::net::warning::log_step;

/// Set in the tokens of the sockets that are tried: what becomes of one of them
/// must not be taken for an event of the link's own socket.
pub(super) const ATTEMPT: usize = 1 << 63;

/// A backend that is not connected yet.
#[derive(Debug)]
pub(super) struct Dialling {
    endpoint: Endpoint,
    resolver: Resolver,
    /// TLS to it, and what comes before that.
    tls: Option<(BackendTls, Vec<u8>)>,
    /// When the client's patience ends, in milliseconds of the worker's life.
    deadline_ms: u64,
    /// `None` while its name is being resolved.
    attempts: Option<Attempts>,
    /// They were looked up for this dial, not for one before.
    is_looked_up: bool,
    /// The addresses of its name, which the log has not got yet.
    addresses: Option<Arc<[ServerAddress]>>,
}

/// Addresses of a name that the log names.
const TOLD_ADDRESSES: usize = 8;

/// How far a connection to a backend has come.
#[derive(Debug)]
pub(super) enum Connecting {
    /// TCP is connected.
    Done(Transport),
    /// It is under way.
    Waiting,
    /// No address is left, and they were looked up a moment ago: the backend may
    /// have moved since.
    Outdated,
    /// No address is left.
    Failed(io::Error),
}

impl Dialling {
    /// To this endpoint until then. `tls` is spoken behind its octets, which are sent
    /// before it.
    pub(super) fn new(
        endpoint: Endpoint,
        resolver: Resolver,
        tls: Option<(BackendTls, Vec<u8>)>,
        deadline_ms: u64,
    ) -> Dialling {
        Dialling {
            endpoint,
            resolver,
            tls,
            deadline_ms,
            attempts: None,
            is_looked_up: false,
            addresses: None,
        }
    }

    /// An address has failed: the log gets them all, once.
    fn tell_addresses(&mut self) {
        if let Some(addresses) = self.addresses.take() {
            let told = addresses.iter().take(TOLD_ADDRESSES);
            let told: Vec<String> = told.map(ToString::to_string).collect();
            let more = addresses.len().saturating_sub(TOLD_ADDRESSES);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            log_step(format_args!(
                "{} is {}{more}",
                self.endpoint,
                told.join(", ")
            ));
        }
    }

    /// The TLS that a connection is to have which stands now.
    ///
    /// # Errors
    ///
    /// Where there is no TLS with such a host.
    pub(super) fn take_tls(&mut self) -> io::Result<Option<Tls>> {
        let Some((tls, introduction)) = self.tls.take() else {
            return Ok(None);
        };
        let client = tls.client.map_or_else(ClientTls::of_system, Ok);
        let tls = client.and_then(|client| Tls::connect(&client, &tls.host, introduction));
        tls.map(Some).map_err(io::Error::other)
    }

    /// When its client's patience ends, in milliseconds of the worker's life.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Its addresses, where they are known without a lookup.
    pub(super) fn known(&self) -> Option<Arc<[ServerAddress]>> {
        self.resolver.known(&self.endpoint)
    }

    /// Looks its addresses up, and calls `tell` with them on another thread.
    pub(super) fn look_up(&mut self, clock: &Clock, tell: impl FnOnce(Found) + Send + 'static) {
        self.is_looked_up = true;
        let deadline = clock.at(self.deadline_ms);
        self.resolver.resolve(&self.endpoint, deadline, tell);
    }

    /// Its addresses are known now.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub(super) fn resolved(&mut self, found: Found, now_ms: u64) -> io::Result<()> {
        let addresses: Arc<[ServerAddress]> = found.map_err(|error| {
            log_step(format_args!("{error}"));
            io::Error::other(error)
        })?;
        self.addresses = self.endpoint.is_name().then(|| Arc::clone(&addresses));
        self.attempts = Some(Attempts::new(&addresses, now_ms, self.deadline_ms));
        Ok(())
    }

    /// When the next address is tried, if one is left.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.attempts.as_ref()?.due_ms()
    }

    /// An event of an attempt; whether it reports that its socket takes octets, and
    /// no error.
    pub(super) fn note_event(&mut self, is_connected: bool) {
        if let Some(attempts) = self.attempts.as_mut().filter(|_| is_connected) {
            attempts.set_reported();
        }
    }

    /// Looks what became of the attempts, and starts those that are due.
    pub(super) fn advance(&mut self, token: usize, now_ms: u64, registry: &Registry) -> Connecting {
        let Some(attempts) = &mut self.attempts else {
            return Connecting::Waiting;
        };
        let attempted = attempts.advance(now_ms, registry, Token(token | ATTEMPT));
        let has_failed = attempts.has_failed();
        if has_failed || matches!(attempted, Attempted::Failed(_)) {
            self.tell_addresses();
        }
        match attempted {
            Attempted::Waiting => Connecting::Waiting,
            Attempted::Connected(mut transport) => {
                if !has_failed {
                    self.attempts = None;
                }
                if let Err(error) = transport.set_nodelay() {
                    log::debug!(target: "heirloom::net", "TCP_NODELAY: {error}");
                }
                match transport.rename(registry, Token(token)) {
                    Ok(()) => Connecting::Done(transport),
                    Err(error) => Connecting::Failed(error),
                }
            }
            Attempted::Failed(failed)
                if !self.is_looked_up && self.endpoint.is_name() && !is_local(failed.as_ref()) =>
            {
                self.attempts = None;
                self.resolver.forget(&self.endpoint);
                Connecting::Outdated
            }
            Attempted::Failed(failed) => {
                let not_found = || io::Error::from(ErrorKind::NotFound);
                Connecting::Failed(failed.map_or_else(not_found, |(_, error)| error))
            }
        }
    }
}

/// Why a client is refused whose backend has no connection: because the backend
/// does not answer, or because the system gives us no socket.
pub(super) fn no_connection(error: &io::Error) -> NetRefusal {
    let inner = error.get_ref();
    let of_lookup = inner.and_then(|inner| inner.downcast_ref::<Unresolved>());
    let error = of_lookup.map_or(error, |unresolved| &unresolved.error);
    if error.kind() == ErrorKind::AddrNotAvailable || is_exhausted(error) {
        NetRefusal::OutOfSockets
    } else {
        NetRefusal::BackendUnreachable
    }
}

/// Whether the system gave us no socket: another lookup would not help, and would
/// need one.
fn is_local(failed: Option<&(ServerAddress, io::Error)>) -> bool {
    failed.is_some_and(|(_, error)| no_connection(error) == NetRefusal::OutOfSockets)
}

impl Drop for Dialling {
    /// An address has failed, or none has answered in time: the name is looked up
    /// again when it is dialled next.
    fn drop(&mut self) {
        if self.attempts.is_some() {
            self.resolver.forget(&self.endpoint);
        }
    }
}
