//! A socket with its readiness: the only place that reads, writes, registers or
//! shuts down a connection's socket.
//!
//! Readiness is edge-triggered: the system reports a change once. A
//! [`Transport`] remembers what was reported until a call shows that it no
//! longer holds.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::address::{PeerAddress, ServerAddress};
use super::agreement::{TlsAgreement, TlsSession};
use super::keepalive::{self, Keepalive};
use super::tls::Tls;
use super::unix;

/// Whether the system has no descriptors or memory to spare.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// A Unix socket has none of TCP's options, and needs none: its system knows at
/// once when its peer is gone.
fn of_tcp(set: io::Result<()>) -> io::Result<()> {
    set.or_else(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT) => Ok(()),
        _ => Err(error),
    })
}

/// One end of a connection below the protocol.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    /// TLS between the socket and the protocol.
    tls: Option<Box<Tls>>,
    /// There may be something to read.
    readable: bool,
    /// The peer has ended its side, or may have: a short read proves nothing.
    read_closed: bool,
    /// The system takes octets.
    writable: bool,
    /// Registered for writing too.
    watches_writes: bool,
}

/// What carries the octets. A Unix socket is in the same type as TCP, because all
/// that is done to it is the same, and a second variant would take room.
#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    /// A connection is still to be made. Nothing is read, written or watched.
    Missing,
}

impl Socket {
    fn tcp(&self) -> io::Result<&TcpStream> {
        match self {
            Socket::Tcp(stream) => Ok(stream),
            Socket::Missing => Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// The result of one read.
#[derive(Debug)]
pub(super) enum ReadResult {
    /// This number of octets was read.
    Octets(usize),
    /// There is nothing to read now; an event will report when there is.
    Nothing,
    /// The peer has ended its side.
    End,
    /// The connection was reset, or broke otherwise.
    Broken(io::Error),
}

impl Transport {
    /// The place of a connection that is still to be made.
    pub(super) fn missing() -> Transport {
        Transport {
            socket: Socket::Missing,
            tls: None,
            readable: false,
            read_closed: false,
            writable: false,
            watches_writes: false,
        }
    }

    fn tcp(stream: TcpStream, ready: bool) -> Transport {
        Transport {
            socket: Socket::Tcp(stream),
            tls: None,
            readable: ready,
            read_closed: false,
            writable: ready,
            watches_writes: false,
        }
    }

    /// Accepts a connection. It has the options of its listener.
    ///
    /// # Errors
    ///
    /// As `accept(2)`.
    pub(super) fn accept(listener: &TcpListener) -> io::Result<(Transport, SocketAddr)> {
        let (stream, peer) = listener.accept()?;
        Ok((Transport::tcp(stream, true), peer))
    }

    /// Accepts a connection of a Unix socket.
    ///
    /// # Errors
    ///
    /// As `accept(2)`.
    pub(super) fn accept_unix(listener: &UnixListener) -> io::Result<Transport> {
        let (stream, _) = listener.accept()?;
        let stream = std::os::unix::net::UnixStream::from(stream);
        let stream = std::net::TcpStream::from(OwnedFd::from(stream));
        Ok(Transport::tcp(TcpStream::from_std(stream), true))
    }

    /// Starts to connect. [`Transport::is_connected`] returns true when that is
    /// done.
    ///
    /// # Errors
    ///
    /// Why it cannot even start; [`ErrorKind::WouldBlock`] where the queue of a Unix
    /// socket is full.
    pub(super) fn connect(address: &ServerAddress) -> io::Result<Transport> {
        let stream = match address {
            ServerAddress::Tcp(address) => TcpStream::connect(*address)?,
            ServerAddress::Unix(path) => TcpStream::from_std(unix::connect(path)?),
        };
        Ok(Transport::tcp(stream, false))
    }

    /// Takes over a connected socket.
    ///
    /// # Errors
    ///
    /// Where its options cannot be set.
    pub(super) fn from_std(stream: std::net::TcpStream) -> io::Result<Transport> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Transport::tcp(TcpStream::from_std(stream), true))
    }

    /// Speaks TLS from here on. Where these octets were read already, they are the
    /// peer's first. A client's first message goes out with the next write, or with
    /// [`Transport::advance_tls`].
    pub(super) fn start_tls(&mut self, mut tls: Tls, received: &[u8]) {
        tls.receive(received);
        self.readable = true;
        self.tls = Some(Box::new(tls));
    }

    /// Whether it speaks TLS.
    #[inline]
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Gives TLS up, which has failed. What still comes is no plaintext, and is to be
    /// thrown away.
    pub(super) fn give_up_tls(&mut self) {
        self.tls = None;
        self.readable = true;
        self.writable = true;
    }

    /// What TLS has agreed on: `None` without TLS, and before it has.
    pub(super) fn tls_agreement(&self) -> Option<TlsAgreement> {
        self.tls.as_ref()?.agreement()
    }

    /// What is known of the server, once TLS is agreed on with it.
    pub(super) fn tls_session(&self) -> Option<TlsSession> {
        self.tls.as_ref()?.session()
    }

    /// Goes on with the opening handshake of TLS; whether it is finished.
    ///
    /// # Errors
    ///
    /// What broke the connection.
    pub(super) fn advance_tls(&mut self) -> io::Result<bool> {
        let (Some(tls), Socket::Tcp(stream)) = (&mut self.tls, &mut self.socket) else {
            return Ok(true);
        };
        let mut more = self.readable;
        let advanced = tls.advance(stream, &mut more);
        self.readable = more || tls.has_more();
        self.writable = !tls.has_unsent();
        advanced
    }

    /// Whether the opening handshake of TLS is not finished.
    pub(super) fn is_in_tls_handshake(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the peer has ended TCP, and not TLS before it.
    pub(super) fn is_truncated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_truncated())
    }

    /// What was sent to the peer was cut off: TLS does not tell it that all is whole.
    pub(super) fn withhold_tls_close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.withhold_close();
        }
    }

    /// Whether something waits for the system below what it was asked to write: a
    /// part of TLS's own messages.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Octets of memory that TLS takes.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.held())
    }

    /// Whether a connection that was started stands now; `false` while it is
    /// under way.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let stream = self.socket.tcp()?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // Of any kind of socket, which the stream's own method is not.
        match SockRef::from(stream).peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends small writes at once.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        of_tcp(self.socket.tcp()?.set_nodelay(true))
    }

    /// Has TCP ask a silent peer whether it is there, or not.
    pub(super) fn set_keepalive(&self, keepalive: Option<Keepalive>) {
        let set = |stream| of_tcp(Keepalive::set(keepalive, SockRef::from(stream)));
        if let Err(error) = self.socket.tcp().and_then(set) {
            log::debug!(target: "heirloom::net", "TCP keepalive: {error}");
        }
    }

    /// Has TCP end the connection where the peer has not acknowledged what it was
    /// sent for so many milliseconds.
    pub(super) fn set_user_timeout(&self, ms: u64) {
        let set = |stream| of_tcp(keepalive::set_user_timeout(SockRef::from(stream), ms));
        if let Err(error) = self.socket.tcp().and_then(set) {
            log::debug!(target: "heirloom::net", "TCP_USER_TIMEOUT: {error}");
        }
    }

    /// The connection stands: it may be read and written at once.
    pub(super) fn assume_ready(&mut self) {
        self.readable = true;
        self.writable = true;
    }

    /// Stops watching.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.watches_writes = false;
        match &mut self.socket {
            Socket::Tcp(stream) => registry.deregister(stream),
            Socket::Missing => Ok(()),
        }
    }

    /// Watches a socket for reading that was watched by another token. What there
    /// is to read is reported anew.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn rename(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.watches_writes = false;
        self.readable = false;
        match &mut self.socket {
            Socket::Tcp(stream) => registry.reregister(stream, token, Interest::READABLE),
            Socket::Missing => Ok(()),
        }
    }

    /// The socket, which blocks from now on, and the TLS on it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn into_std(self) -> io::Result<(std::net::TcpStream, Option<Box<Tls>>)> {
        let Socket::Tcp(stream) = self.socket else {
            return Err(ErrorKind::NotConnected.into());
        };
        let stream = std::net::TcpStream::from(stream);
        stream.set_nonblocking(false)?;
        Ok((stream, self.tls))
    }

    /// Watches for reading, and for writing where `writes` is set.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        writes: bool,
    ) -> io::Result<()> {
        let mut interest = Interest::READABLE;
        if writes {
            interest |= Interest::WRITABLE;
            self.watches_writes = true;
        }
        match &mut self.socket {
            Socket::Tcp(stream) => registry.register(stream, token, interest),
            Socket::Missing => Ok(()),
        }
    }

    /// Watches for writing too, where the system has stopped taking octets. A
    /// socket that is not registered yet is registered for that later.
    ///
    /// # Errors
    ///
    /// The error of the system.
    #[inline]
    pub(super) fn watch_writes(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.watches_writes || self.writable {
            return Ok(());
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        let Socket::Tcp(stream) = &mut self.socket else {
            return Ok(());
        };
        self.watches_writes = true;
        match registry.reregister(stream, token, both) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            watched => watched,
        }
    }

    /// Remembers the readiness that an event reports.
    #[inline]
    pub(super) fn on_event(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_error();
        self.read_closed |= event.is_read_closed();
        self.writable |= event.is_writable();
        if self.tls.is_some() && self.writable {
            self.flush_tls();
        }
    }

    /// Writes TLS's own messages that wait. Where that fails, the next read or
    /// write does too.
    #[cold]
    fn flush_tls(&mut self) {
        if let (Some(tls), Socket::Tcp(stream)) = (&mut self.tls, &mut self.socket) {
            self.writable = tls.flush(stream).unwrap_or(true);
        }
    }

    /// Whether there may be something to read, the system takes octets, and the
    /// peer has not ended its side.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.readable && self.writable && !self.read_closed
    }

    /// Whether there may be something to read.
    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Lets the next read ask the system, whatever the last event reported: after
    /// a failed write there may still be octets of the peer to read.
    pub(super) fn assume_readable(&mut self) {
        self.readable = true;
    }

    /// Whether the peer has ended its side, or may have.
    #[inline]
    pub(super) fn is_read_closed(&self) -> bool {
        self.read_closed
    }

    /// Whether the system takes octets.
    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Does not write again before an event says that it can.
    pub(super) fn assume_full(&mut self) {
        self.writable = false;
    }

    /// Reads once. On Linux a short read from TCP proves that nothing is left,
    /// unless the peer has ended its side. That saves a second read.
    #[inline]
    pub(super) fn read(&mut self, room: &mut [u8]) -> ReadResult {
        let Socket::Tcp(stream) = &mut self.socket else {
            return ReadResult::Nothing;
        };
        if self.tls.is_some() {
            return self.read_tls(room);
        }
        loop {
            return match stream.read(room) {
                Ok(0) => {
                    self.readable = false;
                    self.read_closed = true;
                    ReadResult::End
                }
                Ok(n) => {
                    if cfg!(target_os = "linux") && n < room.len() && !self.read_closed {
                        self.readable = false;
                    }
                    ReadResult::Octets(n)
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.readable = false;
                        ReadResult::Nothing
                    }
                    ErrorKind::Interrupted => continue,
                    _ => ReadResult::Broken(error),
                },
            };
        }
    }

    /// Reads plaintext. A short read proves nothing: TLS keeps what it has no room
    /// for.
    #[inline(never)]
    fn read_tls(&mut self, room: &mut [u8]) -> ReadResult {
        let (Some(tls), Socket::Tcp(stream)) = (&mut self.tls, &mut self.socket) else {
            return ReadResult::Nothing;
        };
        let was_in_handshake = tls.is_handshaking();
        let mut more = self.readable;
        let read = tls.read(stream, room, &mut more, self.read_closed);
        self.readable = more || tls.has_more();
        if tls.has_unsent() {
            self.writable = false;
        } else if was_in_handshake && !tls.is_handshaking() {
            // Until now nothing was taken.
            self.writable = true;
        }
        match read {
            Ok(Some(0)) => {
                self.readable = false;
                self.read_closed = true;
                ReadResult::End
            }
            Ok(Some(n)) => ReadResult::Octets(n),
            Ok(None) => ReadResult::Nothing,
            Err(error) => ReadResult::Broken(error),
        }
    }

    /// Encrypts and writes.
    #[inline(never)]
    fn write_tls(&mut self, octets: &[u8]) -> io::Result<usize> {
        let (Some(tls), Socket::Tcp(stream)) = (&mut self.tls, &mut self.socket) else {
            return Ok(0);
        };
        let n = tls.write(stream, octets)?;
        self.writable = n == octets.len() && !tls.has_unsent();
        Ok(n)
    }

    /// Writes once, and gives how many octets the system took. Fewer than all of
    /// them mean that it takes no more for now; the others must be the first that
    /// are written next, since TLS may have encrypted some of them.
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more.
    #[inline]
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Socket::Tcp(stream) = &mut self.socket else {
            return Ok(0);
        };
        if self.tls.is_some() {
            return self.write_tls(octets);
        }
        loop {
            return match stream.write(octets) {
                Ok(n) => {
                    self.writable = n == octets.len();
                    Ok(n)
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.writable = false;
                        Ok(0)
                    }
                    ErrorKind::Interrupted => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// Ends our side; the peer may still send.
    ///
    /// # Errors
    ///
    /// Where there is no connection any more.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        match (&mut self.tls, &mut self.socket) {
            (Some(tls), Socket::Tcp(stream)) => {
                tls.shutdown(stream)?;
                // What is left of it is written when the system takes it.
                self.writable = !tls.has_unsent();
                Ok(())
            }
            _ => self.socket.tcp()?.shutdown(Shutdown::Write),
        }
    }

    /// Ends TLS, where there is some, before the socket goes.
    pub(super) fn end_tls(&mut self) {
        if self.tls.is_some() && !self.is_in_tls_handshake() {
            // Where it cannot be written, the peer is gone.
            let _ = self.shutdown_write();
        }
    }

    /// Ends the connection by a reset.
    pub(super) fn reset(self) {
        if let Socket::Tcp(stream) = &self.socket {
            // Where that is not possible, dropping it ends it in order.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Where there is no connection.
    pub(super) fn peer_address(&self) -> io::Result<PeerAddress> {
        let address = SockRef::from(self.socket.tcp()?).peer_addr()?;
        Ok(address
            .as_socket()
            .map_or(PeerAddress::Unix, PeerAddress::Tcp))
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.tcp()?.local_addr()
    }

    /// The error that the socket has kept, such as a reset.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.tcp()?.take_error()
    }
}
