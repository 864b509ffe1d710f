//! The listeners of one worker, accepted in batches.

use std::io;
use std::sync::Arc;

use mio::{Registry, Token};

#[cfg(feature = "tls")]
use crate::net::listen::ListenPolicy;
use crate::net::listen::{Listen, ListenAt};
use crate::net::listener::{Fault, Listener};
use crate::net::post::NewClient;
use crate::net::settings::Settings;

/// Connections accepted from one listener in one turn of the loop.
const BATCH: usize = 64;
/// Retry of an accept that failed for want of descriptors, in milliseconds.
const RETRY_MS: u64 = 100;
/// The token of all listeners: an event has all of them looked at.
pub(super) const LISTENER: Token = Token(1);

/// The listeners of one worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    /// A connection may be waiting.
    waiting: bool,
    /// When an accept that failed is tried again.
    retry_ms: Option<u64>,
}

/// What an accept gave.
#[derive(Debug)]
pub(super) enum Accepted {
    Connection(NewClient),
    /// The system has no descriptors or memory to spare.
    Exhausted(io::Error),
}

/// How far a turn's accepts have come.
#[derive(Debug, Default)]
pub(super) struct Round {
    listener: usize,
    accepted: usize,
}

impl Acceptor {
    pub(super) fn new() -> Acceptor {
        Acceptor {
            listeners: Vec::new(),
            waiting: true,
            retry_ms: None,
        }
    }

    /// Accepts from this listener too. Connections may wait there already.
    ///
    /// # Errors
    ///
    /// Where the system does not watch it.
    pub(super) fn add(&mut self, mut listener: Listener, registry: &Registry) -> io::Result<()> {
        listener.register(registry, LISTENER)?;
        self.listeners.push(listener);
        self.waiting = true;
        Ok(())
    }

    /// Whether one of its listeners is at none of these places.
    pub(super) fn has_other_than(&self, places: &[Listen]) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| place_of(listener, places).is_none())
    }

    /// Connections that come from now on are treated as these places say.
    pub(super) fn update(&mut self, places: &[Listen]) {
        for listener in &mut self.listeners {
            if let Some(place) = place_of(listener, places) {
                listener.takes = place.takes;
                listener.policy = Arc::clone(&place.policy);
            }
        }
    }

    /// Closes the listeners that are at none of these places.
    pub(super) fn close_all_but(&mut self, places: &[Listen], registry: &Registry) {
        self.close_where(registry, |listener| place_of(listener, places).is_none());
    }

    /// Closes the listeners whose sockets another program has bound: what waits there is
    /// for the program that is passed them next.
    pub(super) fn leave_passed(&mut self, registry: &Registry) {
        self.close_where(registry, |listener| {
            matches!(listener.at(), ListenAt::Passed(_))
        });
    }

    fn close_where(&mut self, registry: &Registry, closes: impl Fn(&Listener) -> bool) {
        let listeners = std::mem::take(&mut self.listeners);
        for mut listener in listeners {
            if !closes(&listener) {
                self.listeners.push(listener);
            } else if let Err(error) = listener.deregister(registry) {
                log::debug!("cannot stop watching a listener: {error}");
            }
        }
    }

    /// What applies to the connections of each of its listeners.
    #[cfg(feature = "tls")] // for the certificates in them
    pub(super) fn policies(&self) -> impl Iterator<Item = &ListenPolicy> {
        self.listeners.iter().map(|listener| &*listener.policy)
    }

    /// An event reports that a connection waits.
    pub(super) fn set_waiting(&mut self) {
        self.waiting = true;
    }

    /// Whether another round would accept more at once.
    #[inline]
    pub(super) fn has_more(&self, now_ms: u64) -> bool {
        self.waiting && self.retry_ms.is_none_or(|at| at <= now_ms)
    }

    /// A descriptor is free again.
    pub(super) fn retry_soon(&mut self, now_ms: u64) {
        if self.retry_ms.is_some() {
            self.retry_ms = Some(now_ms);
        }
    }

    /// Milliseconds until connections are accepted, if that is not left to an
    /// event.
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        match self.retry_ms {
            Some(at) => Some(at.saturating_sub(now_ms).max(1)),
            None => self.waiting.then_some(0),
        }
    }

    /// Starts to accept, if it is time.
    pub(super) fn start_round(&mut self, now_ms: u64) -> Option<Round> {
        if !self.waiting || self.retry_ms.is_some_and(|at| at > now_ms) {
            return None;
        }
        self.retry_ms = None;
        self.waiting = false;
        Some(Round::default())
    }

    /// Accepts the next connection of this round. Events are edge-triggered:
    /// whatever the error, connections may still wait in the queue, and no further
    /// event will report them.
    pub(super) fn next(&mut self, round: &mut Round, now_ms: u64) -> Option<Accepted> {
        loop {
            let listener = self.listeners.get(round.listener)?;
            if round.accepted == BATCH {
                self.waiting = true;
            } else {
                match listener.accept() {
                    Ok((transport, address)) => {
                        round.accepted += 1;
                        return Some(Accepted::Connection(NewClient {
                            transport,
                            address,
                            takes: listener.takes,
                            policy: Arc::clone(&listener.policy),
                        }));
                    }
                    Err(error) => match Fault::of(&error) {
                        Fault::Gone => {
                            round.accepted += 1;
                            continue;
                        }
                        Fault::Empty => {}
                        Fault::Exhausted => {
                            round.listener += 1;
                            round.accepted = 0;
                            self.waiting = true;
                            self.retry_ms = Some(now_ms + RETRY_MS);
                            return Some(Accepted::Exhausted(error));
                        }
                        Fault::Broken => log::error!("a listener is broken: {error}"),
                    },
                }
            }
            round.listener += 1;
            round.accepted = 0;
        }
    }

    /// Sets the TCP keepalive of the connections that are accepted from now on.
    pub(super) fn set_keepalive(&self, settings: &Settings) {
        for listener in &self.listeners {
            listener.set_keepalive(settings.keepalive, settings.user_timeout_ms());
        }
    }

    /// Stops listening.
    pub(super) fn close(&mut self, registry: &Registry) {
        self.waiting = false;
        self.retry_ms = None;
        self.close_all_but(&[], registry);
    }
}

/// The one of these places at which a listener is.
fn place_of<'p>(listener: &Listener, places: &'p [Listen]) -> Option<&'p Listen> {
    let mut places = places.iter();
    places.find(|place| place.at.is_same_place(listener.at()))
}
