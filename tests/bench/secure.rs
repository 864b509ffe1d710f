//! The client side of TLS 1.3. It is the same for all servers.
//!
//! It compares the certificate with the one that it has made, and verifies no signature: that would cost more than all
//! that the server does.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::event::{Event, Source};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, StreamOwned,
};
use socket2::SockRef;

use crate::Result;
use crate::generator::{self, Count, Link, Script};

/// The suite of every connection; the key exchange is X25519.
pub(crate) const SUITE: &str = "TLS_AES_128_GCM_SHA256";

/// Octets of one read.
const READ: usize = 64 * 1024;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    /// Of one read, for all connections.
    static CIPHERTEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream that waits.
pub(crate) type Waiting = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A certificate of ECDSA with P-256, and its key, in files.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// One file with both, as HAProxy wants it.
    pub(crate) both: PathBuf,
}

impl Certificate {
    pub(crate) fn make(folder: &Path) -> Result<Certificate> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: &str| -> io::Result<PathBuf> {
            let file = folder.join(name);
            std::fs::write(&file, text)?;
            Ok(file)
        };
        Ok(Certificate {
            der: made.cert.der().clone(),
            certificate: write("certificate.pem", &certificate)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &format!("{certificate}{key}"))?,
        })
    }

    /// What a client needs that resumes no session.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        Ok(Arc::new(self.config()?))
    }

    fn config(&self) -> Result<ClientConfig> {
        let mut provider = default_provider();
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Known(self.der.clone())))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Trusts one certificate.
#[derive(Debug)]
struct Known(CertificateDer<'static>);

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if **shown == *self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Tickets of one server, each for one handshake. The memory of rustls keeps eight.
#[derive(Debug, Default)]
struct Tickets {
    kept: Mutex<Vec<Tls13ClientSessionValue>>,
    gives: AtomicBool,
}

impl ClientSessionStore for Tickets {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if let Ok(mut kept) = self.kept.lock() {
            if kept.len() < 1000 {
                kept.push(ticket);
            }
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if !self.gives.load(Ordering::Relaxed) {
            return None;
        }
        self.kept.lock().ok()?.pop()
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

fn client(config: &Arc<ClientConfig>) -> Result<ClientConnection> {
    let name = ServerName::try_from("localhost")?;
    Ok(ClientConnection::new(Arc::clone(config), name)?)
}

/// Connects and upgrades over TLS, and waits for both.
pub(crate) fn open(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    script: &Script,
) -> Result<Waiting> {
    let mut stream = StreamOwned::new(client(config)?, generator::connect(address)?);
    generator::upgrade(&mut stream, script)?;
    Ok(stream)
}

/// Connections that have sent one message and are idle now.
pub(crate) fn idle(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    script: &Script,
    connections: usize,
) -> Result<Vec<Waiting>> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = open(address, config, script)?;
        generator::echo_once(&mut stream, script)?;
        streams.push(stream);
    }
    Ok(streams)
}

/// The first octets of a ClientHello, which is as long as a client's.
pub(crate) fn half_a_hello(config: &Arc<ClientConfig>) -> Result<Vec<u8>> {
    let mut hello = Vec::new();
    client(config)?.write_tls(&mut hello)?;
    hello.truncate(hello.len() / 2);
    Ok(hello)
}

/// A stream that does not wait.
pub(crate) struct Secure {
    socket: TcpStream,
    tls: ClientConnection,
}

impl Secure {
    pub(crate) fn of(stream: Waiting) -> Result<Secure> {
        stream.sock.set_nonblocking(true)?;
        Ok(Secure {
            socket: TcpStream::from_std(stream.sock),
            tls: stream.conn,
        })
    }

    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Decrypts these octets into the room.
    fn decrypt(&mut self, mut octets: &[u8], room: &mut [u8]) -> io::Result<usize> {
        let mut n = 0;
        while !octets.is_empty() {
            self.tls.read_tls(&mut octets)?;
            self.tls
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            loop {
                match self.tls.reader().read(&mut room[n..]) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(count) => n += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(n)
    }
}

impl Read for Secure {
    /// Reads all that is there. The room must be larger than that.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut n = 0;
        loop {
            self.send().or_else(may_wait)?;
            let count = CIPHERTEXT.with_borrow_mut(|ciphertext| {
                ciphertext.resize(READ, 0);
                let count = self.socket.read(ciphertext)?;
                n += self.decrypt(&ciphertext[..count], &mut room[n..])?;
                Ok::<_, io::Error>(count)
            });
            let count = match count {
                Ok(0) => return Ok(0),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock && n > 0 => return Ok(n),
                Err(error) => return Err(error),
            };
            // A short read took all there was.
            if count < READ {
                self.send().or_else(may_wait)?;
                return if n > 0 {
                    Ok(n)
                } else {
                    Err(ErrorKind::WouldBlock.into())
                };
            }
        }
    }
}

impl Write for Secure {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.send()?;
        let count = self.tls.writer().write(octets)?;
        self.send().or_else(may_wait)?;
        if count > 0 {
            Ok(count)
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// What is not sent now is sent with the next read.
fn may_wait(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}

impl Source for Secure {
    fn register(&mut self, registry: &Registry, token: Token, of: Interest) -> io::Result<()> {
        self.socket.register(registry, token, of)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, of: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, of)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl Link for Secure {}

/// Connections that live for one opening handshake: connect, TLS, upgrade, reset.
pub(crate) struct Greetings {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    script: Script,
    /// How each handshake must go.
    kind: HandshakeKind,
    slots: Vec<Option<Greeting>>,
    buffer: Vec<u8>,
}

struct Greeting {
    link: Secure,
    got: Vec<u8>,
}

impl Greetings {
    /// `resumes`: whether each handshake resumes the session of one before.
    pub(crate) fn new(
        address: SocketAddr,
        certificate: &Certificate,
        script: Script,
        at_once: usize,
        resumes: bool,
    ) -> Result<Greetings> {
        let mut config = certificate.config()?;
        let mut kind = HandshakeKind::Full;
        let tickets = Arc::new(Tickets::default());
        if resumes {
            config.resumption = Resumption::store(tickets.clone());
            kind = HandshakeKind::Resumed;
        }
        let config = Arc::new(config);
        if resumes {
            // Each handshake takes one ticket and brings at least one; these bring some in reserve.
            for _ in 0..2 * at_once {
                open(address, &config, &script)?;
            }
            tickets.gives.store(true, Ordering::Relaxed);
        }
        Ok(Greetings {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            address,
            config,
            script,
            kind,
            slots: (0..at_once).map(|_| None).collect(),
            buffer: vec![0; 2 * READ],
        })
    }

    /// Keeps all places busy for this time, then waits until every connection is upgraded.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Count> {
        let start = Instant::now();
        let (end, give_up) = (start + time, start + time + PATIENCE);
        let mut done = 0;
        for slot in 0..self.slots.len() {
            self.start(slot)?;
        }
        let mut busy = self.slots.len();
        while busy > 0 {
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = Instant::now();
            let slots: Vec<usize> = self.events.iter().map(slot).collect();
            for slot in slots {
                if !self.go_on(slot)? {
                    continue;
                }
                done += 1;
                if now < end {
                    self.start(slot)?;
                } else {
                    busy -= 1;
                }
            }
            if now > give_up {
                return Err(format!("{busy} connections are not upgraded").into());
            }
        }
        Ok(Count {
            done,
            wall: start.elapsed(),
        })
    }

    fn start(&mut self, slot: usize) -> Result<()> {
        let mut link = Secure {
            socket: TcpStream::connect(self.address)?,
            tls: client(&self.config)?,
        };
        // It waits in there until the handshake is finished.
        link.tls.writer().write_all(self.script.request())?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut link, Token(slot), both)?;
        let got = Vec::new();
        self.slots[slot] = Some(Greeting { link, got });
        Ok(())
    }

    /// Whether this one is upgraded, and over.
    fn go_on(&mut self, slot: usize) -> Result<bool> {
        let Some(greeting) = &mut self.slots[slot] else {
            return Ok(false);
        };
        let count = match greeting.link.read(&mut self.buffer) {
            Ok(0) => return Err("the server ends the connection early".into()),
            Ok(count) => count,
            Err(error) => {
                may_wait(error)?;
                return Ok(false);
            }
        };
        greeting.got.extend_from_slice(&self.buffer[..count]);
        if !self.script.is_upgraded(&greeting.got)? {
            return Ok(false);
        }
        let kind = greeting.link.tls.handshake_kind();
        if kind != Some(self.kind) {
            return Err(format!("a handshake is {kind:?} instead of {:?}", self.kind).into());
        }
        // The reset leaves nothing behind at either end.
        SockRef::from(&greeting.link.socket).set_linger(Some(Duration::ZERO))?;
        self.slots[slot] = None;
        Ok(true)
    }
}

fn slot(event: &Event) -> usize {
    let Token(slot) = event.token();
    slot
}
