//! A client that blocks: `connect("ws://…")` or `connect("wss://…")` gives a WebSocket of
//! any version.
//!
//! ```no_run
//! let mut socket = heirloom::client::connect("ws://127.0.0.1:8076/")?;
//! socket.send("Hello")?;
//! println!("{:?}", socket.read()?);
//! socket.close(1000, "")?;
//! # Ok::<(), heirloom::Error>(())
//! ```

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::blocking::{OwnedMessage, WebSocket};
use super::blocking::{SessionStream, is_timeout};
use super::connect::{DialError, DialTarget};
use super::error::Error;
use super::keepalive::Keepalive;
use super::resolve::Resolver;
use super::stream::Stream;
use super::tls::ClientTls;
use super::url::Url;
use crate::bytes::Output;
use crate::conn::{Config, Conn, SessionEvent};
use crate::error::{Located, Violation};
use crate::handshake::{ClientRequest, Response};
use crate::random::SystemRandom;
use crate::version::{VERSIONS, Version};

/// Connects to a `ws://` or `wss://` URL as a client of RFC 6455. It must be done
/// within ten seconds; later reads and writes have no timeout but that of the stream.
/// With `wss://` the servers are trusted that the system trusts;
/// [`Connector::with_tls`] trusts others.
///
/// # Errors
///
/// [`Error::Url`], [`Error::Dial`], [`Error::Rejected`] where the server refuses,
/// and [`Error::Violation`] where its response is wrong.
pub fn connect(url: &str) -> Result<WebSocket<Stream>, Error> {
    Connector::new().connect(url)
}

/// Does the opening handshake over a stream that is connected, as a client of
/// RFC 6455. The URL is what to ask for; with `wss://` the stream is expected to
/// be TLS.
///
/// ```no_run
/// # fn over_unix() -> Result<(), heirloom::Error> {
/// let stream = std::os::unix::net::UnixStream::connect("/run/chat.sock")?;
/// let mut socket = heirloom::client::over(stream, "ws://localhost/chat")?;
/// socket.send("Hello")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`connect`].
pub fn over<S: Read + Write>(stream: S, url: &str) -> Result<WebSocket<S>, Error> {
    Connector::new().over(stream, url)
}

/// A client's connection before it is made: the version, and what is asked for.
///
/// ```no_run
/// use heirloom::Version;
/// use heirloom::client::Connector;
///
/// let version = Version::named("hixie-76").ok_or("there is one")?;
/// let socket = Connector::new()
///     .with_version(version)
///     .with_subprotocols(["chat"])
///     .with_header("Cookie", "id=1")
///     .connect("ws://127.0.0.1:8076/")?;
/// assert_eq!(socket.version(), version);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    version: &'static Version,
    subprotocols: Vec<String>,
    origin: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Duration,
    config: Arc<Config>,
    tls: Option<ClientTls>,
}

impl Default for Connector {
    fn default() -> Connector {
        let [.., newest] = VERSIONS else {
            unreachable!("the table has rows");
        };
        Connector {
            version: newest,
            subprotocols: Vec::new(),
            origin: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            config: Arc::default(),
            tls: None,
        }
    }
}

impl Connector {
    /// A client of RFC 6455 that asks for nothing special.
    #[must_use]
    pub fn new() -> Connector {
        Connector::default()
    }

    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: &'static Version) -> Connector {
        self.version = version;
        self
    }

    /// Asks for these subprotocols, in order of preference.
    #[must_use]
    pub fn with_subprotocols<T: Into<String>>(
        mut self,
        subprotocols: impl IntoIterator<Item = T>,
    ) -> Connector {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Sends this origin.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<String>) -> Connector {
        self.origin = Some(origin.into());
        self
    }

    /// Sends this header besides those of the handshake.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Connector {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long [`Connector::connect`] may take, to the end of the opening
    /// handshake; ten seconds unless it is set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Connector {
        self.timeout = timeout;
        self
    }

    /// With these limits on what the server may send.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Connector {
        self.config = config.into();
        self
    }

    /// With these servers trusted, where the URL is `wss://`.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls) -> Connector {
        self.tls = Some(tls);
        self
    }

    /// Connects to a `ws://` or `wss://` URL.
    ///
    /// # Errors
    ///
    /// As [`connect`].
    pub fn connect(&self, url: &str) -> Result<WebSocket<Stream>, Error> {
        let url: Url = url.parse()?;
        let deadline = Instant::now() + self.timeout;
        let target = DialTarget::of(&url, self.tls.as_ref()).map_err(DialError::from)?;
        let transport = target.connect(&Resolver::default(), deadline)?;
        transport.set_keepalive(Some(Keepalive::default()));
        let stream = Stream::of(transport)?;
        let until = |stream: &Stream| {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(DialError::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
            Ok(())
        };
        let socket = self
            .handshake(stream, &url, until)
            .map_err(|error| match error {
                Error::Io(error) if is_timeout(&error) => DialError::TimedOut.into(),
                error => error,
            })?;
        socket.get_ref().set_read_timeout(None)?;
        socket.get_ref().set_write_timeout(None)?;
        Ok(socket)
    }

    /// Does the opening handshake over a stream that is connected. The stream
    /// must block; its own timeouts apply.
    ///
    /// # Errors
    ///
    /// As [`over`].
    pub fn over<S: Read + Write>(&self, stream: S, url: &str) -> Result<WebSocket<S>, Error> {
        let url = Url::parse(url)?;
        self.handshake(stream, &url, |_| Ok(()))
    }

    /// `before_io` is called before each read and write.
    fn handshake<S: Read + Write>(
        &self,
        stream: S,
        url: &Url,
        before_io: impl Fn(&S) -> Result<(), Error>,
    ) -> Result<WebSocket<S>, Error> {
        let mut request = Vec::new();
        let conn = self.request(url, &mut request)?;
        let mut handshake = ClientHandshake {
            wire: SessionStream::new(stream, conn, request),
            before_io,
            subprotocol: None,
            content_length: 0,
        };
        while !handshake.next()? {
            handshake.receive()?;
        }
        Ok(WebSocket::opened(
            handshake.wire,
            self.version,
            handshake.subprotocol,
        ))
    }

    /// Writes the request.
    fn request(&self, url: &Url, octets: &mut Vec<u8>) -> Result<Conn, Error> {
        let subprotocols: Vec<&str> = self.subprotocols.iter().map(String::as_str).collect();
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let request = ClientRequest::new(&url.host, &url.target)
            .with_secure(url.secure)
            .with_origin(self.origin.as_deref())
            .with_subprotocols(&subprotocols)
            .with_headers(&headers);
        let mut random = SystemRandom;
        let mut out = Output::new(octets, &mut random);
        let conn = Conn::client(self.version, &request, Arc::clone(&self.config), &mut out);
        Ok(conn.map_err(DialError::Request)?)
    }
}

/// Octets of a refusal's body that are read.
const BODY: usize = 64 * 1024;

/// An opening handshake on its way.
struct ClientHandshake<S, F> {
    wire: SessionStream<S>,
    before_io: F,
    subprotocol: Option<String>,
    /// The length of the response's body, where it has a Content-Length.
    content_length: usize,
}

impl<S: Read + Write, F: Fn(&S) -> Result<(), Error>> ClientHandshake<S, F> {
    /// Parses what was received; whether the connection is open.
    fn next(&mut self) -> Result<bool, Error> {
        let mut random = SystemRandom;
        loop {
            let (session, mut out) = self.wire.session_and_output(&mut random);
            let event = match session.next(&mut out) {
                Ok(None) => return Ok(false),
                Ok(Some((event, _))) => event,
                Err(located) => return Err(self.failed(located)),
            };
            match event {
                SessionEvent::Open => return Ok(true),
                SessionEvent::Response(response) => {
                    self.content_length = content_length(&response);
                    self.subprotocol = response.subprotocol().map(str::to_owned);
                }
                _ => {}
            }
        }
    }

    /// Sends what is to be sent, and reads once.
    fn receive(&mut self) -> Result<(), Error> {
        (self.before_io)(&self.wire.stream)?;
        self.wire.flush()?;
        (self.before_io)(&self.wire.stream)?;
        if !self.wire.fill()? {
            self.wire.session.end_of_input()?;
        }
        Ok(())
    }

    /// The error, with the body of a server that refused.
    fn failed(&mut self, located: Located<Violation>) -> Error {
        let Violation::ResponseStatus { status } = located.error else {
            return located.into();
        };
        let want = self.content_length.min(BODY);
        while self.wire.session.unparsed().len() < want {
            let ready = (self.before_io)(&self.wire.stream).is_ok();
            // The status is known, so nothing that goes wrong here matters.
            if !ready || !self.wire.fill().is_ok_and(|more| more) {
                break;
            }
        }
        self.wire.session.truncate_unparsed(BODY);
        let body = String::from_utf8_lossy(self.wire.session.unparsed()).into_owned();
        Error::Rejected { status, body }
    }
}

/// The length of the body that follows.
fn content_length(response: &Response<'_>) -> usize {
    let length = response.head().get("Content-Length");
    length
        .and_then(|length| length.text()?.parse().ok())
        .unwrap_or(0)
}
