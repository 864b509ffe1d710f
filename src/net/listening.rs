//! The listeners of a server: what was asked for, where they really are, and how
//! they change while it runs.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::listen::{Listen, ListenAt, ListenPolicy};
use super::listener::{self, Closed, Listener};
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

/// How long a place that was given up may take to be free again.
const CLOSING: Duration = Duration::from_secs(2);

/// Where a server listens.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    /// What it has given up, and its workers have perhaps not closed yet.
    closing: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    /// As it was asked for: the port may be 0.
    asked: ListenAt,
    /// With its real port.
    listen: Listen,
    closed: Arc<Closed>,
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
        let places = self.places.iter();
        places.map(|place| place.listen.clone()).collect()
    }

    /// Changes the policy of all.
    pub(super) fn change_policies(&mut self, mut change: impl FnMut(&mut ListenPolicy)) {
        for place in &mut self.places {
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
            if kept.is_none() {
                self.await_closed(&listen.at);
                self.check_free(&listen.at)
                    .map_err(BindError::at(&listen.at))?;
            }
        }
        let mut bound: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
        let mut places = Vec::new();
        for (listen, kept) in wanted.iter().zip(&kept) {
            let mut asked = listen.at.clone();
            let mut listen = listen.clone();
            let (open, mut closed) = Closed::new();
            match kept {
                Some(place) => {
                    listen.at = place.listen.at.with_mode_of(&asked);
                    asked = place.asked.clone();
                    closed = Arc::clone(&place.closed);
                }
                None => {
                    // A queue that all workers watch would wake all of them for each
                    // connection. So the first one accepts, and hands over.
                    let has_own_queue = matches!(asked, ListenAt::Tcp(_));
                    let binders = if has_own_queue { workers } else { 1 };
                    for its in bound.iter_mut().take(binders) {
                        let listener = Listener::bind(&listen, open.clone());
                        let listener = listener.map_err(BindError::at(&asked))?;
                        listen.at = listener.at().clone();
                        its.push(listener);
                    }
                }
            }
            places.push(Place {
                asked,
                listen,
                closed,
            });
        }
        self.change_modes(&places)?;
        Ok(Change { places, bound })
    }

    /// From now on these are the listeners.
    pub(super) fn replace(&mut self, change: Change) -> Vec<Vec<Listener>> {
        let given_up = std::mem::replace(&mut self.places, change.places);
        let is_kept = |place: &Place| {
            let mut places = self.places.iter();
            places.any(|other| Arc::ptr_eq(&other.closed, &place.closed))
        };
        self.closing
            .retain(|place| !place.closed.wait(Duration::ZERO));
        let given_up = given_up.into_iter().filter(|place| !is_kept(place));
        self.closing.extend(given_up);
        change.bound
    }

    /// For each of these the place that it has already.
    fn kept(&self, wanted: &[Listen]) -> Result<Vec<Option<&Place>>, BindError> {
        let mut left: Vec<&Place> = self.places.iter().collect();
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
    fn check_free(&self, at: &ListenAt) -> io::Result<()> {
        let ListenAt::Tcp(address) = at else {
            return Ok(());
        };
        let mut places = self.places.iter();
        if places.any(|place| overlap(&place.listen.at, at)) {
            // This server does, at an address that has this one or is in it.
            return Ok(());
        }
        listener::check_free(*address)
    }

    /// Waits until the workers have closed what they listened on there before.
    fn await_closed(&self, at: &ListenAt) {
        let closing = self.closing.iter();
        for place in closing.filter(|place| overlap(&place.listen.at, at)) {
            if !place.closed.wait(CLOSING) {
                log::debug!("a worker does not close {at}");
            }
        }
    }

    /// Gives the files of Unix sockets that stay their new modes, or changes none.
    fn change_modes(&self, places: &[Place]) -> Result<(), BindError> {
        let mut changed: Vec<&Place> = Vec::new();
        for place in places {
            let mut before = self.places.iter();
            let before = before.find(|before| before.listen.at.is_same_place(&place.listen.at));
            let Some(before) = before.filter(|before| before.listen.at != place.listen.at) else {
                continue;
            };
            if let Err(error) = set_mode(&place.listen.at) {
                for before in changed {
                    if let Err(error) = set_mode(&before.listen.at) {
                        log::warn!("{}: {error}", before.listen.at);
                    }
                }
                return Err(BindError::at(&place.asked)(error));
            }
            changed.push(before);
        }
        Ok(())
    }
}

/// Gives the file of a Unix socket the mode that it is to have.
fn set_mode(at: &ListenAt) -> io::Result<()> {
    match at {
        ListenAt::Unix { path, mode } => unix::set_mode(path, *mode),
        _ => Ok(()),
    }
}

/// Whether two places are one, or one is a part of the other: all addresses of a
/// machine, and one of them.
fn overlap(one: &ListenAt, other: &ListenAt) -> bool {
    let (ListenAt::Tcp(one), ListenAt::Tcp(other)) = (one, other) else {
        return one.is_same_place(other);
    };
    let is_one_in_other =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && is_one_in_other
}
