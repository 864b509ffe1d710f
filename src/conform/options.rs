//! How cases are played.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How cases are played.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlayOptions {
    /// Whether cases with `full` numbers of messages play all of these.
    pub full: bool,
    /// How long a case with a long deadline may go on without progress.
    pub patience: Duration,
    /// How long TCP, TLS and the opening handshake may take, each.
    pub opening: Duration,
    /// Octets of each direction that are kept of a conversation.
    pub kept_octets: usize,
    /// The same of a case that passed.
    pub kept_of_passed: usize,
    /// The origin of the page, in requests to a server; a hixie client sends
    /// that of the host where it is missing.
    pub origin: Option<String>,
    /// The subprotocols that ordinary requests ask for.
    pub subprotocols: Vec<String>,
    /// More headers of requests, by name and value; a request of a case with a header
    /// of that name keeps its own.
    pub headers: Vec<(String, String)>,
    /// Once it is true, a case that is being played ends within a second, and its
    /// verdict means nothing.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Default for PlayOptions {
    /// Not in full, 5 s of patience and for the opening, 64 KiB kept, and 4 KiB of
    /// what passed.
    fn default() -> PlayOptions {
        PlayOptions {
            full: false,
            patience: Duration::from_secs(5),
            opening: Duration::from_secs(5),
            kept_octets: 64 * 1024,
            kept_of_passed: 4 * 1024,
            origin: None,
            subprotocols: Vec::new(),
            headers: Vec::new(),
            stop: None,
        }
    }
}

impl PlayOptions {
    /// Whether cases with `full` numbers of messages play all of these.
    #[must_use]
    pub fn with_full(mut self, full: bool) -> PlayOptions {
        self.full = full;
        self
    }

    /// Sets how long a case with a long deadline may go on without progress.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> PlayOptions {
        self.patience = patience;
        self
    }

    /// Sets how long TCP, TLS and the opening handshake may take, each.
    #[must_use]
    pub fn with_opening(mut self, opening: Duration) -> PlayOptions {
        self.opening = opening;
        self
    }

    /// Sets how many octets of each direction are kept of a conversation.
    #[must_use]
    pub fn with_kept_octets(mut self, octets: usize) -> PlayOptions {
        self.kept_octets = octets;
        self.kept_of_passed = self.kept_of_passed.min(octets);
        self
    }

    /// Sets how many octets of each direction are kept of a case that passed.
    #[must_use]
    pub fn with_kept_of_passed(mut self, octets: usize) -> PlayOptions {
        self.kept_of_passed = octets;
        self
    }

    /// Sets the origin in ordinary requests.
    #[must_use]
    pub fn with_origin(mut self, origin: Option<String>) -> PlayOptions {
        self.origin = origin;
        self
    }

    /// Sets the subprotocols that ordinary requests ask for.
    #[must_use]
    pub fn with_subprotocols(mut self, names: Vec<String>) -> PlayOptions {
        self.subprotocols = names;
        self
    }

    /// Sets more headers of ordinary requests.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> PlayOptions {
        self.headers = headers;
        self
    }

    /// Sets what ends a case that is being played.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> PlayOptions {
        self.stop = Some(stop);
        self
    }

    pub(super) fn is_stopped(&self) -> bool {
        let stop = self.stop.as_ref();
        stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}
