//! A WebSocket over any stream that can be read and written: no loop, no
//! callbacks, one call at a time.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::error::Error;
use super::stream::Stream;
use crate::bytes::Output;
use crate::conn::{Conn, Phase, Session, SessionEvent};
use crate::error::{Located, Violation};
use crate::frame::Reason;
use crate::message::{Kind, Message};
use crate::random::SystemRandom;
use crate::version::Version;

/// Octets of one read.
const READ: usize = 16 * 1024;
/// How long, and how many octets, the end of TCP waits for the peer's.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_OCTETS: usize = 64 * 1024 * 1024;

/// A message or the close of the peer, as [`WebSocket::read`] gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The peer has sent a close, and was sent one back. It is the last that is
    /// read.
    Close(Reason<'static>),
}

impl OwnedMessage {
    /// The message, to send it on; `None` of a close.
    ///
    /// ```no_run
    /// # fn echo(mut socket: heirloom::server::WebSocket<std::net::TcpStream>)
    /// # -> Result<(), heirloom::Error> {
    /// while let Some(message) = socket.read()?.as_message() {
    ///     socket.send(message)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_message(&self) -> Option<Message<'_>> {
        match self {
            OwnedMessage::Text(text) => Some(Message::text(text)),
            OwnedMessage::Binary(octets) => Some(Message::binary(octets)),
            OwnedMessage::Close(_) => None,
        }
    }

    /// The text, where this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            OwnedMessage::Text(text) => Some(text),
            OwnedMessage::Binary(_) | OwnedMessage::Close(_) => None,
        }
    }

    fn of(message: Message<'_>) -> OwnedMessage {
        match message.kind() {
            // Valid by construction, so nothing is replaced here.
            Kind::Text => {
                OwnedMessage::Text(String::from_utf8_lossy(message.payload()).into_owned())
            }
            Kind::Binary => OwnedMessage::Binary(message.payload().to_vec()),
        }
    }
}

/// An open WebSocket, of either side and any version, over a stream.
///
/// [`client`](super::client) and [`server`](super::accept) make them. Each call
/// blocks as long as the stream does. Pings and the close of the peer are
/// answered while [`WebSocket::read`] runs, so a program should always come back
/// to it. What a peer may send is bounded by
/// [`Limits`](crate::conn::Limits); the time it may take is bounded by the
/// timeouts of the stream, such as
/// [`TcpStream::set_read_timeout`](std::net::TcpStream::set_read_timeout).
///
/// A timeout of the stream loses nothing: [`WebSocket::read`] and
/// [`WebSocket::flush`] go on where they were. Dropping a `WebSocket` drops the
/// stream without a close; over TCP [`WebSocket::finish`] ends it in order.
pub struct WebSocket<S> {
    wire: SessionStream<S>,
    version: &'static Version,
    subprotocol: Option<String>,
    last_pong: Option<Vec<u8>>,
    /// Whether [`OwnedMessage::Close`] was delivered.
    close_delivered: bool,
}

impl<S: Read + Write> WebSocket<S> {
    /// The connection is open.
    pub(super) fn opened(
        wire: SessionStream<S>,
        version: &'static Version,
        subprotocol: Option<String>,
    ) -> WebSocket<S> {
        WebSocket {
            wire,
            version,
            subprotocol,
            last_pong: None,
            close_delivered: false,
        }
    }

    /// Reads the next message. The close of the peer is the last; where its
    /// version has none, the end of the stream is.
    ///
    /// # Errors
    ///
    /// [`Error::Violation`] where the peer broke the protocol, which includes a
    /// stream that ends without a close; [`Error::Io`] where the stream fails;
    /// [`Error::Closed`] behind a close.
    pub fn read(&mut self) -> Result<OwnedMessage, Error> {
        loop {
            let event = self.next_event();
            let flushed = self.wire.flush();
            match event {
                // What the peer sent stands, though it may take nothing more.
                Ok(Some(message)) => return Ok(message),
                Err(located) => return Err(located.into()),
                Ok(None) => {}
            }
            if self.wire.session.conn().phase() == Phase::Closed {
                return Err(Error::Closed);
            }
            // A peer that does not take our pongs is not read.
            flushed?;
            if !self.wire.fill()? {
                return self.end_of_stream();
            }
        }
    }

    /// The next message in what was received.
    fn next_event(&mut self) -> Result<Option<OwnedMessage>, Located<Violation>> {
        let mut random = SystemRandom;
        let (session, mut out) = self.wire.session_and_output(&mut random);
        while let Some((event, _)) = session.next(&mut out)? {
            match event {
                SessionEvent::Message(message) => return Ok(Some(OwnedMessage::of(message))),
                SessionEvent::Pong(payload) => self.last_pong = Some(payload.to_vec()),
                SessionEvent::Close(reason) => {
                    self.close_delivered = true;
                    let (code, text) = (reason.code, reason.text.into_owned().into());
                    return Ok(Some(OwnedMessage::Close(Reason { code, text })));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn end_of_stream(&mut self) -> Result<OwnedMessage, Error> {
        self.wire.session.end_of_input()?;
        if self.close_delivered {
            return Err(Error::Closed);
        }
        self.close_delivered = true;
        Ok(OwnedMessage::Close(Reason::default()))
    }

    /// Sends a message: a text, octets, or a [`Message`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`] where this version has no such message, or after a
    /// close; [`Error::Io`] where the stream fails. What the stream did not take
    /// is kept: after a timeout call [`WebSocket::flush`], not this again.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        let message = message.into();
        self.with_conn(|conn, out| conn.send(message, out))?;
        self.flush()
    }

    /// Sends a ping with at most 125 octets. [`WebSocket::last_pong`] gives the
    /// payload of its pong when that was read.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`]; hixie-75 and hixie-76 have no ping.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.with_conn(|conn, out| conn.ping(payload, out))?;
        self.flush()
    }

    /// Sends a close, as far as this version has one, and the code and reason,
    /// as far as it carries them; after a close it does nothing. Messages of the
    /// peer may still be under way: read until [`OwnedMessage::Close`] or an
    /// error. hixie-75 has no close: drop the `WebSocket` to end the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the stream fails.
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), Error> {
        self.with_conn(|conn, out| conn.close(code, reason, out));
        self.flush()
    }

    fn with_conn<R>(&mut self, call: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let mut random = SystemRandom;
        let (session, mut out) = self.wire.session_and_output(&mut random);
        call(session.conn_mut(), &mut out)
    }

    /// Writes what the stream did not take before. The other calls do this by
    /// themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the stream fails.
    pub fn flush(&mut self) -> Result<(), Error> {
        Ok(self.wire.flush()?)
    }
}

impl<S> WebSocket<S> {
    /// The version that both sides speak.
    #[must_use]
    pub fn version(&self) -> &'static Version {
        self.version
    }

    /// The subprotocol that was agreed.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The payload of the last pong that was read.
    #[must_use]
    pub fn last_pong(&self) -> Option<&[u8]> {
        self.last_pong.as_deref()
    }

    /// Octets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.wire.session.received()
    }

    /// The stream, to set its timeouts.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.wire.stream
    }

    /// The stream. What is read from it or written to it here is lost to the
    /// connection.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.wire.stream
    }

    /// Gives the stream back. Octets that were read and not delivered are lost;
    /// [`WebSocket::into_parts`] keeps them.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.wire.stream
    }

    /// The stream, and the session with the octets that were read and not
    /// delivered.
    #[must_use]
    pub fn into_parts(self) -> (S, Session) {
        (self.wire.stream, self.wire.session)
    }
}

impl WebSocket<TcpStream> {
    /// Ends TCP in order, after an error or when the close of the peer was
    /// read: ends our side, then reads and discards what the peer still sends,
    /// for at most a second. Where a socket is dropped while octets wait to be
    /// read, TCP is reset, and the peer may never see the close that it was
    /// sent.
    ///
    /// # Errors
    ///
    /// Where TCP has failed before.
    pub fn finish(self) -> Result<(), Error> {
        let end = |stream: &mut TcpStream| stream.shutdown(Shutdown::Write);
        self.wire
            .finish(end, |stream, left| stream.set_read_timeout(Some(left)))
    }
}

impl WebSocket<Stream> {
    /// Ends TLS, where there is some, and TCP in order, after an error or when the
    /// close of the server was read: ends our side, then reads and discards what
    /// the server still sends, for at most a second. Where a socket is dropped while
    /// octets wait to be read, TCP is reset, and the server may never see the close
    /// that it was sent.
    ///
    /// # Errors
    ///
    /// Where TCP has failed before.
    pub fn finish(self) -> Result<(), Error> {
        self.wire.finish(Stream::end_writes, |stream, left| {
            stream.set_read_timeout(Some(left))
        })
    }
}

/// Whether an error means that the peer has ended the connection.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotConnected | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// Whether an error means that a timeout of a stream has passed.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("version", &self.version.name)
            .field("subprotocol", &self.subprotocol)
            .field("phase", &self.wire.session.conn().phase())
            .finish_non_exhaustive()
    }
}

/// A session with the stream that feeds it.
pub(super) struct SessionStream<S> {
    pub(super) stream: S,
    pub(super) session: Session,
    /// What is sent and was not written yet.
    output: Vec<u8>,
    buffer: Box<[u8]>,
}

impl<S: Read + Write> SessionStream<S> {
    /// `output` is what is sent first.
    pub(super) fn new(stream: S, conn: Conn, output: Vec<u8>) -> SessionStream<S> {
        SessionStream {
            stream,
            session: Session::new(conn),
            output,
            buffer: vec![0; READ].into_boxed_slice(),
        }
    }

    pub(super) fn session_and_output<'s>(
        &'s mut self,
        random: &'s mut SystemRandom,
    ) -> (&'s mut Session, Output<'s>) {
        (&mut self.session, Output::new(&mut self.output, random))
    }

    /// Writes all that is to be sent. What the stream did not take stays.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            let (_, left) = self.output.split_at(written);
            if left.is_empty() {
                break self.stream.flush();
            }
            match self.stream.write(left) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(n) => written += n.min(left.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.output.drain(..written);
        result
    }

    /// Ends our side, and discards what the peer still sends, for a while.
    fn finish(
        mut self,
        end_writes: impl FnOnce(&mut S) -> io::Result<()>,
        set_timeout: impl Fn(&mut S, Duration) -> io::Result<()>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + LINGER;
        let flushed = self.flush();
        match end_writes(&mut self.stream) {
            // The peer has closed, and waits for nothing more.
            Err(error) if self.session.conn().phase() == Phase::Closed && is_gone(&error) => {
                return Ok(flushed?);
            }
            ended => ended?,
        }
        let mut octets = 0;
        while octets < LINGER_OCTETS {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            set_timeout(&mut self.stream, left)?;
            match self.stream.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => octets += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What is cut off now would have been discarded.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(flushed?)
    }

    /// Reads once; `false` at the end of the stream.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(n) => {
                    let received = self.buffer.get(..n).ok_or(ErrorKind::InvalidData)?;
                    self.session.receive(received);
                    return Ok(n > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
