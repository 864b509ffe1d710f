//! The listeners of a server: what was asked for, where they really are, and how
//! they change while it runs.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listen::{Listen, ListenAt, ListenPolicy};
use super::listener::{self, Listener};
use super::unix;

/// Why a server does not listen somewhere.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct BindError {
    /// Where.
    pub address: ListenAt,
    /// Why.
    #[source]
    pub error: io::Error,
}

impl BindError {
    fn at(address: &ListenAt) -> impl Fn(io::Error) -> BindError {
        move |error| BindError {
            address: address.clone(),
            error,
        }
    }
}

/// The listeners of a server, which its handles share.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening(Arc<Mutex<Places>>);

/// Where a server listens.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

#[derive(Clone, Debug)]
struct Place {
    /// As it was asked for: the port may be 0.
    asked: ListenAt,
    /// With its real port.
    listen: Listen,
}

/// What has changed: one list for each worker of what it listens on besides.
pub(super) struct Change {
    places: Vec<Place>,
    pub(super) bound: Vec<Vec<Listener>>,
}

impl Listening {
    pub(super) fn lock(&self) -> MutexGuard<'_, Places> {
        // A list is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// With their real ports.
    pub(super) fn listeners(&self) -> Vec<Listen> {
        let places = self.0.iter();
        places.map(|place| place.listen.clone()).collect()
    }

    /// Changes the policy of all.
    pub(super) fn change_policies(&mut self, mut change: impl FnMut(&mut ListenPolicy)) {
        for place in &mut self.0 {
            change(Arc::make_mut(&mut place.listen.policy));
        }
    }

    /// Binds what is new, those of TCP once for each worker. A listener that is at
    /// a place already keeps its socket.
    ///
    /// # Errors
    ///
    /// The first that cannot be bound. Then nothing has changed.
    pub(super) fn bind(&self, wanted: &[Listen], workers: usize) -> Result<Change, BindError> {
        let kept = self.kept(wanted)?;
        for (listen, kept) in wanted.iter().zip(&kept) {
            if let (ListenAt::Tcp(address), None) = (&listen.at, kept) {
                self.check_free(*address)
                    .map_err(BindError::at(&listen.at))?;
            }
        }
        let mut bound: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
        let mut places = Vec::new();
        for (listen, kept) in wanted.iter().zip(&kept) {
            let mut asked = listen.at.clone();
            let mut listen = listen.clone();
            match kept {
                Some(place) => {
                    listen.at = place.listen.at.with_mode_of(&asked);
                    asked = place.asked.clone();
                }
                None => {
                    // A queue that all workers watch would wake all of them for each
                    // connection. So the first one accepts, and hands over.
                    let has_own_queue = matches!(asked, ListenAt::Tcp(_));
                    let binders = if has_own_queue { workers } else { 1 };
                    for its in bound.iter_mut().take(binders) {
                        let listener = Listener::bind(&listen).map_err(BindError::at(&asked))?;
                        listen.at = listener.at().clone();
                        its.push(listener);
                    }
                }
            }
            places.push(Place { asked, listen });
        }
        self.change_modes(&places)?;
        Ok(Change { places, bound })
    }

    /// From now on these are the listeners.
    pub(super) fn replace(&mut self, change: Change) -> Vec<Vec<Listener>> {
        self.0 = change.places;
        change.bound
    }

    /// For each of these the place that it has already.
    fn kept(&self, wanted: &[Listen]) -> Result<Vec<Option<&Place>>, BindError> {
        let mut left: Vec<&Place> = self.0.iter().collect();
        let mut take = |is_same: &dyn Fn(&Place) -> bool| {
            let found = left.iter().position(|place| is_same(place))?;
            Some(left.remove(found))
        };
        let mut kept: Vec<Option<&Place>> = Vec::new();
        for (index, listen) in wanted.iter().enumerate() {
            let mut others = wanted.iter().take(index);
            let is_free_port = listen.at.address().is_some_and(|a| a.port() == 0);
            if !is_free_port && others.any(|other| other.at.is_same_place(&listen.at)) {
                let twice = io::Error::new(
                    ErrorKind::AddrInUse,
                    "it is given twice; give each place once",
                );
                return Err(BindError::at(&listen.at)(twice));
            }
            kept.push(take(&|place| place.listen.at.is_same_place(&listen.at)));
        }
        // Port 0 stands for the one that was found for it before.
        for (listen, kept) in wanted.iter().zip(&mut kept) {
            if kept.is_none() {
                *kept = take(&|place| place.asked.is_same_place(&listen.at));
            }
        }
        Ok(kept)
    }

    /// Checks that no other server listens there.
    fn check_free(&self, address: SocketAddr) -> io::Result<()> {
        let overlaps = |other: SocketAddr| {
            let all = address.ip().is_unspecified() || other.ip().is_unspecified();
            other.port() == address.port() && all && other.is_ipv4() == address.is_ipv4()
        };
        let mut own = self.0.iter().filter_map(|place| place.listen.at.address());
        if own.any(overlaps) {
            // This server does, at an address that has this one or is in it.
            return Ok(());
        }
        listener::check_free(address)
    }

    /// Gives the files of Unix sockets that stay their new modes.
    fn change_modes(&self, places: &[Place]) -> Result<(), BindError> {
        for place in places {
            let ListenAt::Unix { path, mode } = &place.listen.at else {
                continue;
            };
            let mut before = self.0.iter();
            let before = before.find(|before| before.listen.at.is_same_place(&place.listen.at));
            if before.is_some_and(|before| before.listen.at != place.listen.at) {
                unix::set_mode(path, *mode).map_err(BindError::at(&place.asked))?;
            }
        }
        Ok(())
    }
}
