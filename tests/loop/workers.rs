//! Several workers share the clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use heirloom::Config;
use heirloom::handshake::Request;
use heirloom::net::{App, ClientAddress, Reply};

use crate::support::peer::{Peer, RFC};
use crate::support::server::Running;

const WORKERS: usize = 3;

/// Counts the clients of its worker.
struct Counts(Arc<[AtomicUsize; WORKERS]>, usize);

impl App for Counts {
    type Data = ();

    fn connected(&mut self, _: &ClientAddress, (): &mut ()) {
        self.0[self.1].fetch_add(1, Ordering::Relaxed);
    }

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }
}

fn serve() -> (Running, Arc<[AtomicUsize; WORKERS]>) {
    let counts: Arc<[AtomicUsize; WORKERS]> = Arc::default();
    let (own, next) = (Arc::clone(&counts), AtomicUsize::new(0));
    let server = Running::app(WORKERS, Config::default(), move || {
        Counts(Arc::clone(&own), next.fetch_add(1, Ordering::Relaxed))
    });
    (server, counts)
}

#[test]
fn a_few_clients_are_spread_evenly() {
    let (server, counts) = serve();
    let clients: Vec<Peer> = (0..21)
        .map(|_| Peer::open(server.address, RFC, "/"))
        .collect();
    let counts = [0, 1, 2].map(|worker| counts[worker].load(Ordering::Relaxed));
    assert_eq!(counts.iter().sum::<usize>(), clients.len());
    let most = counts.iter().max().unwrap();
    let fewest = counts.iter().min().unwrap();
    assert!(most - fewest <= 1, "{counts:?}");
}

#[test]
fn clients_that_come_together_are_spread_and_none_is_lost() {
    let (server, counts) = serve();
    let address = server.address;
    let threads: Vec<_> = (0..60)
        .map(|_| std::thread::spawn(move || Peer::open(address, RFC, "/")))
        .collect();
    let clients: Vec<Peer> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let counts = [0, 1, 2].map(|worker| counts[worker].load(Ordering::Relaxed));
    assert_eq!(counts.iter().sum::<usize>(), clients.len());
    assert!(counts.iter().all(|count| *count >= 15), "{counts:?}");
    // All of them are closed in order, by the workers that have them.
    server.stop();
    for mut client in clients {
        assert_eq!(client.close_frame(1001), "going-away");
    }
    server.wait();
}
