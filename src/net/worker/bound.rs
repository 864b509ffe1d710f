//! A worker that is bound and does not run yet.

use std::io;
use std::sync::Arc;

use mio::net::UnixStream;
use mio::{Interest, Poll, Token, Waker};

use super::acceptor::Acceptor;
use super::mail::{Mailboxes, OwnMailboxes};
use crate::net::listen::Listen;
use crate::net::listener::Listener;

pub(super) const WAKER: Token = Token(0);
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
    /// With these listeners.
    ///
    /// # Errors
    ///
    /// Where the system has no more for it.
    pub(in crate::net) fn new(listeners: Vec<Listener>) -> io::Result<BoundWorker> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut acceptor = Acceptor::new();
        for listener in listeners {
            acceptor.add(listener, poll.registry())?;
        }
        Ok(BoundWorker {
            poll,
            acceptor,
            mailboxes: OwnMailboxes(Mailboxes::new(&waker)),
            waker,
            shutdown: None,
        })
    }

    /// Connections are treated as these places say.
    pub(in crate::net) fn set_policies(&mut self, places: &[Listen]) {
        self.acceptor.update(places);
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
