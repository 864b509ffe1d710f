//! Outgoing connections: one client on a loop of its own.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::SystemRandom;
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event};
use crate::error::{Unsendable, Violation};
use crate::handshake::Ask;
use crate::trace::Trace;
use crate::version::Version;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Octets of one read.
const READ: usize = 64 * 1024;

/// A WebSocket URL (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `wss`.
    pub secure: bool,
    /// Host and, unless it is the scheme's own, port, as `Host` says them.
    pub host: String,
    /// Path and query.
    pub target: String,
    name: String,
    port: u16,
}

/// Why a URL cannot be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not `ws://`.
    #[error("a URL begins with ws://")]
    Scheme,
    /// `wss://`, which needs TLS.
    #[error("wss is not spoken; put a TLS terminator in front and dial ws://")]
    Secure,
    /// No host.
    #[error("the URL has no host")]
    Host,
    /// Not a port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// User information or a fragment, which a WebSocket URL has not, or an
    /// octet that belongs in no URL.
    #[error("a WebSocket URL has no user, no fragment (#), and visible ASCII only")]
    Part,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Url, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => {}
            "wss" => return Err(BadUrl::Secure),
            _ => return Err(BadUrl::Scheme),
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(split);
        let target = match target.chars().next() {
            None => "/".to_owned(),
            Some('?') => format!("/{target}"),
            Some(_) => target.to_owned(),
        };
        let visible = |text: &str| text.bytes().all(|o| matches!(o, 0x21..=0x7e));
        if !visible(rest) || authority.contains('@') || rest.contains('#') {
            return Err(BadUrl::Part);
        }
        let authority = authority.to_ascii_lowercase();
        let after_host = authority.rfind(']').map_or(0, |i| i + 1);
        let colon = authority
            .get(after_host..)
            .and_then(|tail| tail.find(':'))
            .map(|i| i + after_host);
        let (name, port) = match colon {
            None => (authority.as_str(), 80),
            Some(at) => {
                let (name, port) = authority.split_at(at);
                let port = port.trim_start_matches(':').parse();
                (name, port.ok().filter(|p| *p != 0).ok_or(BadUrl::Port)?)
            }
        };
        if name.is_empty() || !crate::handshake::is_authority(name.as_bytes()) {
            return Err(BadUrl::Host);
        }
        let host = if port == 80 {
            name.to_owned()
        } else {
            format!("{name}:{port}")
        };
        Ok(Url {
            secure: false,
            host,
            target,
            name: name.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.host, self.target)
    }
}

/// When the eight octets of hixie-76 are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In one write with the head, as browsers do.
    WithHead,
    /// In a write of their own, so much later.
    After(Duration),
    /// When the head of the answer has come, as behind some proxies.
    AfterAnswer,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No address has this name.
    #[error("no address for {0}: {1}")]
    Resolve(String, #[source] io::Error),
    /// Nobody answers there.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    /// It takes too long.
    #[error("nothing came in time")]
    TimedOut,
    /// The system has no loop to give.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[source] io::Error),
    /// The request would not be one line per header.
    #[error("cannot ask: {0}")]
    Ask(#[from] Unsendable),
}

/// What came of waiting.
#[derive(Debug)]
pub enum Step {
    /// Something was read or written.
    Progress,
    /// Somebody used the waker.
    Woken,
    /// The deadline has come.
    TimedOut,
    /// TCP has ended; whether it was time.
    Ended(Result<(), Violation>),
    /// TCP was reset, or broke otherwise.
    Broken(io::Error),
}

/// A client's connection.
pub struct Client {
    /// The protocol.
    pub conn: Conn,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    stream: TcpStream,
    buffer: Vec<u8>,
    unread: Vec<u8>,
    position: u64,
    said: Vec<u8>,
    /// The eight octets, while they are held back.
    body: Vec<u8>,
    body_due: Option<Instant>,
    body_after_answer: bool,
    readable: bool,
    writable: bool,
    /// Octets of answers, such as pongs, that may wait before nothing more is
    /// read; what we say ourselves does not count, or two ends that both wait
    /// for the other to read would wait for ever.
    limit: usize,
    answers: usize,
    /// Since when the peer has taken nothing of what waits for it.
    stalled: Option<Instant>,
    /// Our side of TCP ends when all is written.
    ends: bool,
    /// The answer was a refusal: what follows is its body, not for the parser.
    refused: bool,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
}

/// Octets of a refusal's body that are kept.
const BODY: usize = 64 * 1024;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects TCP and writes the request.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn dial(
        url: &Url,
        version: &'static Version,
        ask: &Ask<'_>,
        body: Body,
        config: Arc<Config>,
        deadline: Instant,
    ) -> Result<Client, DialError> {
        let mut said = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut said, &mut random);
        let limit = config.limits.output_bytes;
        let conn = Conn::client(version, ask, config, &mut out)?;
        let held = if version.has_body() && body != Body::WithHead {
            said.split_off(said.len().saturating_sub(8))
        } else {
            Vec::new()
        };
        let stream = connect(url, deadline)?;
        let poll = Poll::new().map_err(DialError::Poll)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(DialError::Poll)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, SOCKET, Interest::READABLE | Interest::WRITABLE)
            .map_err(DialError::Poll)?;
        Ok(Client {
            conn,
            poll,
            events: Events::with_capacity(8),
            waker: Arc::new(waker),
            stream,
            buffer: vec![0; READ],
            unread: Vec::new(),
            position: 0,
            said,
            body: held,
            body_due: match body {
                Body::After(wait) => Some(Instant::now() + wait),
                _ => None,
            },
            body_after_answer: body == Body::AfterAnswer,
            readable: true,
            writable: true,
            limit,
            answers: 0,
            stalled: None,
            ends: false,
            refused: false,
            broken: None,
        })
    }

    /// Ends [`Client::step`] from another thread with [`Step::Woken`].
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// What is said and not yet written; what is put here is sent.
    pub fn said(&mut self) -> &mut Vec<u8> {
        &mut self.said
    }

    /// What was received and not eaten: the body of a refusal, for one.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Octets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.position + self.unread.len() as u64
    }

    /// Since when the peer has taken nothing of what waits for it; `None`
    /// where nothing waits.
    #[must_use]
    pub fn stalled(&self) -> Option<Instant> {
        self.stalled
    }

    /// Talks through the connection.
    pub fn say<R>(&mut self, what: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let mut random = SystemRandom;
        what(
            &mut self.conn,
            &mut Output::new(&mut self.said, &mut random),
        )
    }

    /// Ends our side of TCP when all is written; the peer may still talk.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.ends = true;
        self.flush().map(|_| ())
    }

    /// Waits until something happens, writes or reads once, and tells `heard`
    /// each event. A peer that never stops talking does not put the deadline
    /// off.
    /// What the peer did wrong is told to `heard` too, and goodbye is said.
    pub fn step<T: Trace>(
        &mut self,
        deadline: Option<Instant>,
        trace: &mut T,
        heard: &mut dyn FnMut(Result<Event<'_>, Violation>),
    ) -> Step {
        loop {
            self.release_body();
            match self.flush() {
                Ok(true) => return Step::Progress,
                Ok(false) => {}
                // What the peer said before it broke off is still to be read.
                // What the peer said before it broke off, its reason above all,
                // may be there to be read.
                Err(error) => {
                    self.broken = Some(error);
                    self.readable = true;
                    self.writable = false;
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Step::TimedOut;
            }
            // Who does not listen is not heard, or our answers would pile up.
            if self.readable && self.answers <= self.limit {
                if let Some(step) = self.read(trace, heard) {
                    return step;
                }
            }
            if !self.readable {
                if let Some(error) = self.broken.take() {
                    return Step::Broken(error);
                }
            }
            let due = [deadline, self.body_due].into_iter().flatten().min();
            let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut self.events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Step::Broken(error),
            }
            let mut woken = false;
            for event in &self.events {
                match event.token() {
                    WAKER => woken = true,
                    _ => {
                        self.readable |= event.is_readable() || event.is_error();
                        self.writable |= event.is_writable();
                    }
                }
            }
            if woken {
                return Step::Woken;
            }
        }
    }

    fn read<T: Trace>(
        &mut self,
        trace: &mut T,
        heard: &mut dyn FnMut(Result<Event<'_>, Violation>),
    ) -> Option<Step> {
        match self.stream.read(&mut self.buffer) {
            Ok(0) => {
                self.readable = false;
                Some(Step::Ended(self.conn.end_of_input(self.unread.len())))
            }
            Ok(n) => {
                let came = self.buffer.get(..n).unwrap_or_default();
                self.unread.extend_from_slice(came);
                self.eat(trace, heard);
                Some(Step::Progress)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.readable = false;
                    None
                }
                ErrorKind::Interrupted => None,
                _ => Some(Step::Broken(error)),
            },
        }
    }

    fn eat<T: Trace>(
        &mut self,
        trace: &mut T,
        heard: &mut dyn FnMut(Result<Event<'_>, Violation>),
    ) {
        if self.refused {
            self.unread.truncate(BODY);
            return;
        }
        let before = self.said.len();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut self.said, &mut random);
        let mut input = Input::starting_at(&mut self.unread, self.position);
        loop {
            match self.conn.next_watched(&mut input, &mut out, trace) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if matches!(event, Event::Answer(_)) && self.body_after_answer {
                        self.body_due = Some(Instant::now());
                    }
                    heard(Ok(event));
                }
                Err(violation) => {
                    heard(Err(violation));
                    self.refused = matches!(violation, Violation::Refused { .. });
                    break;
                }
            }
        }
        self.position = input.position();
        self.answers += self.said.len() - before;
        let left = input.rest().len();
        self.unread.drain(..self.unread.len() - left);
    }

    fn release_body(&mut self) {
        if self.body_due.is_some_and(|due| due <= Instant::now()) {
            self.body_due = None;
            self.said.append(&mut self.body);
        }
    }

    /// Writes what can be written; whether anything was.
    fn flush(&mut self) -> io::Result<bool> {
        let mut wrote = false;
        while self.writable && !self.said.is_empty() {
            match self.stream.write(&self.said) {
                Ok(n) => {
                    self.said.drain(..n);
                    wrote = true;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.writable = false,
                    ErrorKind::Interrupted => {}
                    _ => {
                        self.said.clear();
                        self.stalled = None;
                        self.answers = 0;
                        return Err(error);
                    }
                },
            }
        }
        if self.said.is_empty() {
            self.stalled = None;
            self.answers = 0;
            if std::mem::take(&mut self.ends) {
                self.stream.shutdown(Shutdown::Write)?;
            }
        } else if wrote || self.stalled.is_none() {
            self.stalled = Some(Instant::now());
        }
        Ok(wrote)
    }
}

/// Tries each address of the name until the deadline.
fn connect(url: &Url, deadline: Instant) -> Result<std::net::TcpStream, DialError> {
    let resolve = |error| DialError::Resolve(url.name.clone(), error);
    let addresses = (url.name.as_str(), url.port)
        .to_socket_addrs()
        .map_err(resolve)?;
    let mut failed = resolve(ErrorKind::NotFound.into());
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DialError::TimedOut);
        }
        match std::net::TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let ready = stream
                    .set_nodelay(true)
                    .and_then(|()| stream.set_nonblocking(true));
                match ready {
                    Ok(()) => return Ok(stream),
                    Err(error) => failed = DialError::Connect(address, error),
                }
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => failed = DialError::TimedOut,
            Err(error) => failed = DialError::Connect(address, error),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String, u16) {
        let url: Url = text.parse().expect(text);
        (url.host, url.target, url.name, url.port)
    }

    #[test]
    fn a_url_says_host_as_the_header_does() {
        let some = |host: &str, target: &str, name: &str, port| {
            (host.to_owned(), target.to_owned(), name.to_owned(), port)
        };
        let plain = parts("ws://Example.com/a?b=c");
        assert_eq!(plain, some("example.com", "/a?b=c", "example.com", 80));
        assert_eq!(parts("ws://h:80"), some("h", "/", "h", 80));
        assert_eq!(parts("ws://h:8076?q"), some("h:8076", "/?q", "h", 8076));
        assert_eq!(parts("WS://[::1]:81/"), some("[::1]:81", "/", "::1", 81));
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, why) in [
            ("http://h/", BadUrl::Scheme),
            ("h:80", BadUrl::Scheme),
            ("wss://h/", BadUrl::Secure),
            ("ws:///", BadUrl::Host),
            ("ws://h:0/", BadUrl::Port),
            ("ws://h:x/", BadUrl::Port),
            ("ws://u@h/", BadUrl::Part),
            ("ws://h/#f", BadUrl::Part),
            ("ws://h/ x", BadUrl::Part),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text}");
        }
    }
}
