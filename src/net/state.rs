//! Whether a server drains.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether a [`Server`](super::Server) drains. Clones are of the same server.
#[derive(Clone, Debug, Default)]
pub struct ServerState(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    drains: Mutex<bool>,
    changed: Condvar,
}

impl ServerState {
    /// Whether it is being stopped: it takes no new connections, and ends with the
    /// last one.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.lock()
    }

    /// Waits until it drains, at most this long. Gives whether it does.
    #[must_use]
    pub fn wait_for_drain(&self, at_most: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), at_most, |drains| !*drains);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// It drains from now on.
    pub(super) fn set_draining(&self) {
        *self.lock() = true;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
