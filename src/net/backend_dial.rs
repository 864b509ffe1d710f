//! A backend to dial for a client: the server that is tried first, and those that are
//! tried after it.

use std::fmt::Display;
use std::sync::Arc;

use super::asked::Asked;
use super::refusal::{AnyRefusal, NetRefusal};
use super::resolve::Resolver;
use super::targets::{Check, Choice, Target, Targets, Untried};
use super::tls::ClientTls;
use super::url::{Endpoint, Url};
use crate::conn::{Coding, Conn};

/// A backend to dial for a client.
#[derive(Debug)]
#[non_exhaustive]
pub struct BackendDial {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Finds its addresses.
    pub resolver: Resolver,
    /// TLS to it, where it speaks that.
    pub tls: Option<BackendTls>,
    /// A PROXY header, where it wants one: it comes before everything, TLS too.
    pub introduction: Vec<u8>,
    /// What it is sent first: the request.
    pub output: Vec<u8>,
    /// What goes both ways after that.
    pub carries: Carries,
    /// The backend's other servers, where this is one of a [`Backend`](super::Backend).
    pub(super) course: Option<Box<Course>>,
}

impl BackendDial {
    /// The server at `endpoint`, which is sent `output` first.
    #[must_use]
    pub fn new(endpoint: Endpoint, output: Vec<u8>, carries: Carries) -> BackendDial {
        BackendDial {
            endpoint,
            resolver: Resolver::default(),
            tls: None,
            introduction: Vec::new(),
            output,
            carries,
            course: None,
        }
    }
}

/// How TLS is spoken to a backend.
#[derive(Clone, Debug)]
pub struct BackendTls {
    /// Which servers are trusted; `None` are those that the system trusts.
    pub client: Option<ClientTls>,
    /// The name that its certificate must have, or the address.
    pub host: String,
}

/// What goes from a client to its backend, and back.
#[derive(Debug)]
pub enum Carries {
    /// Messages, once both have done their opening handshake.
    Messages {
        /// Our end, as the backend's client.
        conn: Conn,
        /// How payload is coded on its way from the client.
        coding: Coding,
        /// The URL that the client dialled, where it differs from its Host.
        public_url: Option<String>,
    },
    /// Octets of plain HTTP as they are, until both have ended.
    Octets {
        /// How many octets of the client have arrived and are accounted for: its
        /// request's head.
        received: u64,
    },
}

/// How far a client has come with the servers of its backend.
#[derive(Debug)]
pub(super) struct Course {
    targets: Arc<Targets>,
    untried: Untried,
    choice: Choice,
    /// What each is asked for.
    asked: Asked,
    way: Way,
    /// When this server's time is over and the next one is tried, in milliseconds of
    /// the worker's life; `None` where it has all the time that the client has.
    pub(super) gives_up_ms: Option<u64>,
    /// When it was dialled.
    began_ms: u64,
    /// When the client's patience ends.
    deadline_ms: u64,
}

/// One server that is tried.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) endpoint: Endpoint,
    pub(super) resolver: Resolver,
    pub(super) tls: Option<BackendTls>,
    pub(super) introduction: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Our end as its client, where it is asked for an upgrade.
    pub(super) conn: Option<Conn>,
}

/// How servers are dialled, whatever they are asked for.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) resolver: Resolver,
    /// How TLS is spoken to those that speak it.
    pub(super) client_tls: Option<ClientTls>,
    /// A PROXY header.
    pub(super) introduction: Vec<u8>,
}

impl Way {
    /// To this server, which is asked for this.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked.
    pub(super) fn to(&self, url: &Url, asked: &Asked) -> Result<Try, AnyRefusal> {
        let (conn, output) = match asked {
            Asked::Upgrade(upgrade) => {
                let (conn, output) = upgrade.write(url)?;
                (Some(conn), output)
            }
            Asked::Octets(octets) => (None, octets.clone()),
        };
        let tls = url.secure.then(|| BackendTls {
            client: self.client_tls.clone(),
            host: url.name().to_owned(),
        });
        Ok(Try {
            endpoint: url.endpoint(),
            resolver: self.resolver.clone(),
            tls,
            introduction: self.introduction.clone(),
            output,
            conn,
        })
    }
}

impl Course {
    /// Through these servers, in this order. Gives the first one that is tried.
    ///
    /// # Errors
    ///
    /// Why none can be asked this.
    pub(super) fn begin(
        targets: &Arc<Targets>,
        untried: Untried,
        asked: Asked,
        way: Way,
    ) -> Result<(Course, Try), AnyRefusal> {
        let mut course = Course {
            targets: Arc::clone(targets),
            untried,
            choice: Choice {
                index: 0,
                is_trial: false,
            },
            asked,
            way,
            gives_up_ms: None,
            began_ms: 0,
            deadline_ms: 0,
        };
        let first = course
            .try_next()
            .unwrap_or_else(|| Err(NetRefusal::BackendUnreachable.into()))?;
        Ok((course, first))
    }

    /// The next server, if one is left that can be asked.
    pub(super) fn next(&mut self) -> Option<Try> {
        loop {
            if let Ok(next) = self.try_next()? {
                return Some(next);
            }
        }
    }

    fn try_next(&mut self) -> Option<Result<Try, AnyRefusal>> {
        self.choice = self.untried.take(&self.targets)?;
        let target = self.targets.get(self.choice.index)?;
        Some(self.way.to(&target.url, &self.asked))
    }

    /// The server that is tried now is dialled now; its client waits until the
    /// deadline. Where others are left, it gets its own time, and no more than its
    /// share of what the client has.
    pub(super) fn begins(&mut self, now_ms: u64, deadline_ms: u64) {
        (self.began_ms, self.deadline_ms) = (now_ms, deadline_ms);
        let others = u64::try_from(self.untried.len()).unwrap_or(u64::MAX);
        let share = deadline_ms.saturating_sub(now_ms) / others.saturating_add(1);
        let wait_ms = share.min(self.targets.options.connect_ms).max(1);
        self.gives_up_ms = (others > 0).then(|| now_ms.saturating_add(wait_ms));
    }

    /// When the client's patience ends, in milliseconds of the worker's life.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Whether another server is left.
    pub(super) fn has_more(&self) -> bool {
        !self.untried.is_empty()
    }

    /// The server that is tried now, as one of its backend's.
    pub(super) fn chosen(&self) -> ChosenTarget {
        ChosenTarget {
            targets: Arc::clone(&self.targets),
            index: self.choice.index,
        }
    }

    fn target(&self) -> Option<&Target> {
        self.targets.get(self.choice.index)
    }

    /// TCP is connected. Where TLS follows, or checks ask for an opening handshake, that
    /// proves nothing yet.
    pub(super) fn connected(&self, is_tls: bool) {
        if !is_tls && self.targets.options.check != Check::WebSocket {
            self.reached();
        }
    }

    /// It has answered, with this status. Only that proves TLS, and where checks ask for
    /// an opening handshake, only a 101 proves it.
    pub(super) fn answered(&self, is_tls: bool, status: Option<u16>) {
        let is_proof = match self.targets.options.check {
            Check::WebSocket => status == Some(101),
            Check::Off | Check::Tcp => is_tls,
        };
        if is_proof {
            self.reached();
        }
    }

    fn reached(&self) {
        if let Some(target) = self.target() {
            target.reached();
        }
    }

    /// It could not be reached, for this reason.
    pub(super) fn failed(&self, why: &dyn Display) {
        if let Some(target) = self.target() {
            target.failed(why, self.choice.is_trial);
        }
    }

    /// It was not reached by now. That is its failure only where it had the time
    /// that a connection may take: a client may come late.
    pub(super) fn ran_out(&self, now_ms: u64) {
        let had_ms = now_ms.saturating_sub(self.began_ms);
        if self.gives_up_ms.is_some_and(|at| at <= now_ms)
            || had_ms >= self.targets.options.connect_ms
        {
            self.failed(&format_args!("it did not answer within {had_ms} ms"));
        }
    }
}

/// A server of a backend that was chosen for a client.
#[derive(Clone, Debug)]
pub struct ChosenTarget {
    targets: Arc<Targets>,
    index: usize,
}

impl ChosenTarget {
    /// Its server, as access lines name it.
    #[must_use]
    pub fn server(&self) -> &str {
        self.targets.get(self.index).map_or("", Target::name)
    }
}
