//! A connection of a client that blocks: TCP, or TLS over it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::agreement::TlsSession;
use super::tls::Tls;
use super::transport::Transport;

/// What [`client::connect`](super::client::connect) connects: TCP, or TLS over it
/// where the URL is `wss`.
///
/// An error of kind [`WouldBlock`](ErrorKind::WouldBlock) or
/// [`TimedOut`](ErrorKind::TimedOut) means that a timeout has passed; the stream
/// goes on after that.
pub struct Stream {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
}

impl Stream {
    pub(super) fn of(transport: Transport) -> io::Result<Stream> {
        let (socket, tls) = transport.into_std()?;
        Ok(Stream { socket, tls })
    }

    /// How long a read waits; `None` is for ever.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::set_read_timeout`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    /// How long a write waits; `None` is for ever.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::set_write_timeout`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }

    /// The address of the server.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What TLS has agreed on; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSession> {
        self.tls.as_ref()?.session()
    }

    /// The socket, to set its options. With TLS only that may be read and written
    /// which is encrypted.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.socket
    }

    /// Ends our side: TLS first, then TCP. The server may still send.
    ///
    /// # Errors
    ///
    /// Where TCP has failed.
    pub fn end_writes(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.shutdown(&mut self.socket),
            None => self.socket.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Stream {
    /// Where the server has ended TCP and not TLS before it, this is an error of kind
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof): what it sent last may have been
    /// cut off (RFC 8446 section 6.1).
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(room);
        };
        if room.is_empty() {
            return Ok(0);
        }
        loop {
            let mut more = true;
            // A short read proves nothing to a socket that blocks.
            match tls.read(&mut self.socket, room, &mut more, true)? {
                Some(0) if tls.is_truncated() => return Err(truncated()),
                Some(n) => return Ok(n),
                None if more => {}
                None => return Err(ErrorKind::WouldBlock.into()),
            }
        }
    }
}

#[cfg(feature = "tls")]
fn truncated() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, super::tls::TlsFault::Truncated)
}

#[cfg(not(feature = "tls"))]
fn truncated() -> io::Error {
    ErrorKind::UnexpectedEof.into()
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(octets);
        };
        // What is encrypted is written next, whatever the caller writes then.
        let n = tls.write(&mut self.socket, octets)? + tls.take_taken();
        if n == 0 && !octets.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.tls {
            Some(tls) => tls.flush(&mut self.socket)?,
            None => true,
        };
        if flushed {
            Ok(())
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("socket", &self.socket)
            .field("is_tls", &self.tls.is_some())
            .finish()
    }
}
