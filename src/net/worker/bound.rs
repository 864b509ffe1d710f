//! A worker that is bound and does not run yet.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mio::net::UnixStream;
use mio::{Interest, Poll, Registry, Token, Waker};

use super::acceptor::Acceptor;
use super::mail::{Mailboxes, OwnMailboxes};
use crate::net::listen::Listen;
use crate::net::listener::Listener;

pub(super) const WAKER: Token = Token(0);
/// No link's token: its generation would be 0.
pub(super) const SHUTDOWN: Token = Token(u32::MAX as usize);

/// The same.
pub(super) const CALL: Token = Token(u32::MAX as usize - 1);

/// What a worker calls once, when an octet comes out of a pipe.
pub(super) struct Call {
    reader: UnixStream,
    call: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl Call {
    /// An octet has come: calls, unless it has done so. What comes later is not read.
    pub(super) fn call(&mut self, registry: &Registry) {
        let Some(call) = self.call.take() else {
            return;
        };
        if let Err(error) = registry.deregister(&mut self.reader) {
            log::debug!("cannot stop watching a pipe: {error}");
        }
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            log::error!("what a pipe calls has panicked");
        }
    }
}

/// What a worker needs before it runs: listeners, mailboxes and a way to wake
/// it.
#[derive(Debug)]
pub(in crate::net) struct BoundWorker {
    pub(super) poll: Poll,
    pub(super) acceptor: Acceptor,
    waker: Arc<Waker>,
    pub(super) mailboxes: OwnMailboxes,
    pub(super) shutdown: Option<UnixStream>,
    pub(super) call: Option<Call>,
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
            call: None,
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
        let (writer, mut reader) = pipe()?;
        self.poll
            .registry()
            .register(&mut reader, SHUTDOWN, Interest::READABLE)?;
        self.shutdown = Some(reader);
        Ok(writer)
    }

    /// Gives the end of a pipe that has `call` called once.
    ///
    /// # Errors
    ///
    /// Where the system gives no sockets.
    pub(in crate::net) fn add_call(
        &mut self,
        call: Box<dyn FnOnce() + Send>,
    ) -> io::Result<std::os::unix::net::UnixStream> {
        let (writer, mut reader) = pipe()?;
        let registry = self.poll.registry();
        registry.register(&mut reader, CALL, Interest::READABLE)?;
        let call = Some(call);
        self.call = Some(Call { reader, call });
        Ok(writer)
    }

    pub(in crate::net) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(in crate::net) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes.0
    }
}

/// A pipe, with the end that a worker watches.
fn pipe() -> io::Result<(std::os::unix::net::UnixStream, UnixStream)> {
    let (writer, reader) = std::os::unix::net::UnixStream::pair()?;
    writer.set_nonblocking(true)?;
    reader.set_nonblocking(true)?;
    Ok((writer, UnixStream::from_std(reader)))
}
