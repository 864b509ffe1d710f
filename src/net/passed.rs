//! A listening socket that another program has bound, such as systemd.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::SockRef;

/// A listening socket that another program has bound, and has handed to this one.
/// Clones are the same socket. It stays open while one of them is kept, and its
/// file, if it has one, is never removed.
#[derive(Clone, Debug)]
pub struct Passed(Arc<PassedSocket>);

#[derive(Debug)]
enum PassedSocket {
    Tcp(TcpListener, SocketAddr),
    /// With its path, unless it has none.
    Unix(UnixListener, Option<PathBuf>),
    /// What was asked for, and why it is not there.
    Missing(String, String),
}

impl Passed {
    /// A socket of TCP.
    ///
    /// # Errors
    ///
    /// Where it does not listen, or the system does not tell its address.
    pub fn tcp(socket: TcpListener) -> io::Result<Passed> {
        check_listens(SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Passed(Arc::new(PassedSocket::Tcp(socket, address))))
    }

    /// A Unix socket.
    ///
    /// # Errors
    ///
    /// Where it does not listen, or the system does not tell its address.
    pub fn unix(socket: UnixListener) -> io::Result<Passed> {
        check_listens(SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let path = address.as_pathname().map(Path::to_owned);
        Ok(Passed(Arc::new(PassedSocket::Unix(socket, path))))
    }

    /// In place of a socket that was to be passed, as `asked`, and was not: to listen
    /// there fails, for this reason.
    #[must_use]
    pub fn missing(asked: &str, why: &str) -> Passed {
        let missing = PassedSocket::Missing(asked.to_owned(), why.to_owned());
        Passed(Arc::new(missing))
    }

    /// Its address, where it is one of TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match *self.0 {
            PassedSocket::Tcp(_, address) => Some(address),
            PassedSocket::Unix(..) | PassedSocket::Missing(..) => None,
        }
    }

    /// Whether it is a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(&*self.0, PassedSocket::Unix(..))
    }

    /// Its path, where it is a Unix socket that has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &*self.0 {
            PassedSocket::Tcp(..) | PassedSocket::Missing(..) => None,
            PassedSocket::Unix(_, path) => path.as_deref(),
        }
    }

    /// Another descriptor of it.
    pub(super) fn duplicate(&self) -> io::Result<Duplicate> {
        Ok(match &*self.0 {
            PassedSocket::Tcp(socket, address) => Duplicate::Tcp(socket.try_clone()?, *address),
            PassedSocket::Unix(socket, _) => Duplicate::Unix(socket.try_clone()?),
            PassedSocket::Missing(_, why) => {
                return Err(io::Error::new(ErrorKind::NotFound, why.clone()));
            }
        })
    }
}

/// Another descriptor of a socket that was passed.
#[derive(Debug)]
pub(super) enum Duplicate {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener),
}

fn check_listens(socket: SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? {
        return Ok(());
    }
    let what = "the socket does not listen; pass one that does (Accept=no in a unit of systemd)";
    Err(io::Error::new(ErrorKind::InvalidInput, what))
}

impl PartialEq for Passed {
    /// Whether they are clones of each other.
    fn eq(&self, other: &Passed) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Passed {}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            PassedSocket::Tcp(_, address) => address.fmt(f),
            PassedSocket::Unix(_, Some(path)) => write!(f, "unix:{}", path.display()),
            PassedSocket::Missing(asked, _) => f.write_str(asked),
            PassedSocket::Unix(_, None) => f.write_str("a Unix socket without a path"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_socket_that_does_not_listen_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let connected = TcpListener::from(OwnedFd::from(stream));
        let error = Passed::tcp(connected).unwrap_err().to_string();
        assert!(error.contains("does not listen"), "{error}");
        let passed = Passed::tcp(listener).unwrap();
        assert_eq!(passed.address(), Some(address));
        assert_eq!(passed, passed.clone());
    }
}
