//! How many connections there may be, over all workers, and how many each has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::addresses::Addresses;
use super::link::CountedAs;

/// Connections above the limit that are being refused at the same time; more
/// are closed at once.
const REFUSED: usize = 64;

/// The connections of all workers, counted.
#[derive(Debug)]
pub(in crate::net) struct Places {
    /// The clients of each worker, with those that are on their way to it.
    clients: Box<[AtomicUsize]>,
    connections: AtomicUsize,
    surplus: AtomicUsize,
    /// Those of each address, where they are limited.
    pub(super) addresses: Arc<Addresses>,
}

impl Places {
    /// Of a server with so many workers.
    pub(in crate::net) fn new(workers: usize) -> Places {
        Places {
            clients: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            connections: AtomicUsize::default(),
            surplus: AtomicUsize::default(),
            addresses: Arc::default(),
        }
    }

    /// A worker has one more client, or will have.
    pub(super) fn client_came(&self, worker: usize) {
        if let Some(clients) = self.clients.get(worker) {
            clients.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A worker has one client less.
    pub(super) fn client_left(&self, worker: usize) {
        if let Some(clients) = self.clients.get(worker) {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The worker that is to have the next client, where that is another one than
    /// the worker that accepted it: the one with the fewest, if the difference is
    /// more than an eighth. The system spreads many well enough, and a client that
    /// changes threads costs more.
    pub(super) fn better_worker(&self, accepted_by: usize) -> Option<usize> {
        if self.clients.len() == 1 {
            return None;
        }
        let count = |clients: &AtomicUsize| clients.load(Ordering::Relaxed);
        let own = self.clients.get(accepted_by).map(count)?;
        let counts = self.clients.iter().map(count).enumerate();
        let (worker, fewest) = counts.min_by_key(|(_, clients)| *clients)?;
        (own > fewest + fewest / 8).then_some(worker)
    }

    /// Takes a place for a new connection; `None` where there is not even one to
    /// refuse it.
    pub(super) fn take(&self, limit: usize) -> Option<CountedAs> {
        if take_one(&self.connections, limit) {
            Some(CountedAs::Connection)
        } else {
            take_one(&self.surplus, REFUSED).then_some(CountedAs::Surplus)
        }
    }

    /// A link is gone.
    pub(super) fn leave(&self, counted_as: CountedAs) {
        let counter = match counted_as {
            CountedAs::Connection => &self.connections,
            CountedAs::Surplus => &self.surplus,
            CountedAs::Bridge => return,
        };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more, if there are fewer than `limit`.
fn take_one(counter: &AtomicUsize, limit: usize) -> bool {
    let before = counter.fetch_add(1, Ordering::Relaxed);
    if before >= limit {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    before < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many clients each of these workers has, after each has accepted so many.
    fn spread<const N: usize>(accepted: [usize; N]) -> [usize; N] {
        let places = Places::new(N);
        for (worker, accepted) in accepted.into_iter().enumerate() {
            for _ in 0..accepted {
                places.client_came(places.better_worker(worker).unwrap_or(worker));
            }
        }
        let mut clients = [0; N];
        for (to, from) in clients.iter_mut().zip(&places.clients) {
            *to = from.load(Ordering::Relaxed);
        }
        clients
    }

    #[test]
    fn few_clients_are_spread_evenly() {
        assert_eq!(spread([20]), [20]);
        assert_eq!(spread([2, 0]), [1, 1]);
        assert_eq!(spread([6, 0, 0]), [2, 2, 2]);
        for accepted in [[17, 3], [3, 17], [20, 0]] {
            let [one, other] = spread(accepted);
            assert!(one.abs_diff(other) <= 2, "{one} and {other}");
        }
    }

    #[test]
    fn many_clients_stay_where_they_are_unless_they_are_too_many() {
        let places = Places::new(2);
        for (worker, clients) in [(0, 510), (1, 490)] {
            for _ in 0..clients {
                places.client_came(worker);
            }
        }
        assert_eq!(places.better_worker(0), None);
        for _ in 0..100 {
            places.client_came(0);
        }
        assert_eq!(places.better_worker(0), Some(1));
        places.client_left(0);
        assert_eq!(places.better_worker(1), None);
    }
}
