//! A worker that is bound and does not run yet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::UnixStream;
use mio::{Interest, Poll, Token, Waker};

use super::acceptor::Acceptor;
use super::mail::{Mailboxes, OwnMailboxes};
use crate::net::listen::{Listen, ListenAt};

pub(super) const WAKER: Token = Token(0);
pub(super) const FIRST_LISTENER: usize = 1;
/// No link's token: its generation would be 0.
pub(super) const SHUTDOWN: Token = Token(u32::MAX as usize);

/// What a worker needs before it runs: listeners, mailboxes and a way to wake
/// it.
#[derive(Debug)]
pub(in crate::net) struct BoundWorker {
    pub(super) poll: Poll,
    pub(super) acceptor: Acceptor,
    waker: Arc<Waker>,
    pub(super) mailboxes: OwnMailboxes,
    pub(super) shutdown: Option<UnixStream>,
}

impl BoundWorker {
    /// Binds these places and writes the real ports back. The first worker binds
    /// Unix sockets too.
    ///
    /// # Errors
    ///
    /// The first that cannot be bound, and why.
    pub(in crate::net) fn bind(
        places: &mut [Listen],
        is_first: bool,
    ) -> Result<BoundWorker, (ListenAt, io::Error)> {
        let at = || {
            let nowhere = ListenAt::Tcp(SocketAddr::from(([0, 0, 0, 0], 0)));
            places.first().map_or(nowhere, |place| place.at.clone())
        };
        let poll = Poll::new().map_err(|error| (at(), error))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(|error| (at(), error))?;
        let waker = Arc::new(waker);
        let acceptor = Acceptor::bind(places, poll.registry(), FIRST_LISTENER, is_first)?;
        Ok(BoundWorker {
            poll,
            acceptor,
            mailboxes: OwnMailboxes(Mailboxes::new(&waker)),
            waker,
            shutdown: None,
        })
    }

    /// Gives the end of a pipe that drains all workers.
    ///
    /// # Errors
    ///
    /// Where the system gives no sockets.
    pub(in crate::net) fn add_shutdown_pipe(
        &mut self,
    ) -> io::Result<std::os::unix::net::UnixStream> {
        let (writer, reader) = std::os::unix::net::UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        reader.set_nonblocking(true)?;
        let mut reader = UnixStream::from_std(reader);
        self.poll
            .registry()
            .register(&mut reader, SHUTDOWN, Interest::READABLE)?;
        self.shutdown = Some(reader);
        Ok(writer)
    }

    pub(in crate::net) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(in crate::net) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes.0
    }
}
