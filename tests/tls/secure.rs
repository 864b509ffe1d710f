//! Clients that speak TLS by rustls, and servers with certificates that a test has
//! made.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heirloom::bytes::Output;
use heirloom::conn::{Conn, Session, SessionEvent};
use heirloom::handshake::ClientRequest;
use heirloom::message::Message;
use heirloom::{Config, SystemRandom, Version, Versions};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::PATIENCE;
use crate::support::certificate::{Made, Plan};
use crate::support::folder::Folder;
use crate::support::peer::{DIGEST, RFC, Speaks, TEXT, request, said};
use crate::support::program::Program;

/// What the certificates of a test are issued by, and where they are.
pub(crate) struct Certificates {
    folder: Folder,
    authority: Made,
    files: Vec<(PathBuf, PathBuf)>,
}

impl Certificates {
    /// One certificate for each list of names.
    pub(crate) fn new(all: &[&[&str]]) -> Certificates {
        let authority = Plan::new(&[]).common_name("Root").authority();
        let folder = Folder::new();
        let path = |kind: &str, i: usize| folder.path(&format!("{kind}-{i}.pem"));
        let files = (0..all.len()).map(|i| (path("cert", i), path("key", i)));
        let certificates = Certificates {
            authority: authority.self_signed(),
            files: files.collect(),
            folder,
        };
        for (i, names) in all.iter().enumerate() {
            certificates.issue(i, names);
        }
        certificates
    }

    /// One for `localhost` and the loopback addresses.
    pub(crate) fn of_loopback() -> Certificates {
        Certificates::new(&[&["localhost", "127.0.0.1", "::1"]])
    }

    /// Writes a new certificate into these files.
    pub(crate) fn issue(&self, i: usize, names: &[&str]) -> Vec<u8> {
        let made = Plan::new(names).signed_by(&self.authority);
        let (certificate, key) = &self.files[i];
        std::fs::write(certificate, made.pem() + &self.authority.pem()).unwrap();
        std::fs::write(key, made.key_pem()).unwrap();
        made.der().to_vec()
    }

    /// Writes rubbish into these files.
    pub(crate) fn spoil(&self, i: usize) {
        std::fs::write(&self.files[i].0, "rubbish").unwrap();
    }

    /// The options of a server that shows all of them.
    pub(crate) fn options(&self) -> Vec<&str> {
        let mut options = Vec::new();
        for (certificate, key) in &self.files {
            options.extend(["--tls-cert", certificate.to_str().unwrap()]);
            options.extend(["--tls-key", key.to_str().unwrap()]);
        }
        options
    }

    /// `heirloom serve` with these and more options.
    pub(crate) fn serve(&self, more: &[&str]) -> Program {
        Program::serve(&[&self.options()[..], more].concat())
    }

    /// What clients trust, of this version or of both.
    pub(crate) fn trusted(&self, tls: Tls) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from(self.authority.der().to_vec());
        roots.add(root).unwrap();
        let versions: &[_] = match tls {
            Tls::V1_2 => &[&rustls::version::TLS12],
            Tls::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Arc::new(config)
    }

    /// A client that has agreed on TLS.
    pub(crate) fn connect(&self, address: SocketAddr, tls: Tls) -> Secure {
        Secure::connect(address, self.trusted(tls), "localhost")
    }

    /// A client with an open connection of WebSocket inside TLS.
    pub(crate) fn open(&self, address: SocketAddr, tls: Tls, speaks: Speaks, path: &str) -> Secure {
        let mut secure = self.connect(address, tls);
        secure.upgrade(speaks, path);
        secure
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// The versions of TLS that rustls has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    V1_2,
    V1_3,
}

/// A client inside TLS.
pub(crate) struct Secure {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
    speaks: Speaks,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a close_notify.
    Notified,
    /// By TCP alone.
    Truncated,
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl Secure {
    pub(crate) fn connect(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> Secure {
        Secure::over(tcp(address), config, name)
    }

    /// Agrees on TLS over this connection.
    pub(crate) fn over(mut socket: TcpStream, config: Arc<ClientConfig>, name: &str) -> Secure {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        Secure {
            stream: StreamOwned::new(connection, socket),
            speaks: RFC,
        }
    }

    /// The certificate that the server has shown.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// The socket below TLS.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream.sock
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut octets = vec![0; n];
        self.stream.read_exact(&mut octets).unwrap();
        octets
    }

    /// A head up to its empty line.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exactly(1));
        }
        String::from_utf8(head).unwrap()
    }

    /// All that comes, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        let mut octets = Vec::new();
        match self.stream.read_to_end(&mut octets) {
            Ok(_) => (octets, End::Notified),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => (octets, End::Truncated),
            Err(error) => panic!("{error}"),
        }
    }

    /// Nothing more comes, and it ends as TLS says.
    pub(crate) fn ends(&mut self) {
        assert_eq!(self.rest(), (Vec::new(), End::Notified));
    }

    /// Sends a close_notify, and nothing more.
    pub(crate) fn notify(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
    }

    /// Ends its side of TCP.
    pub(crate) fn finish(&mut self) {
        self.stream.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// Does the opening handshake and holds the server to its proof.
    pub(crate) fn upgrade(&mut self, speaks: Speaks, path: &str) -> String {
        self.send(&request(speaks, path));
        self.speaks = speaks;
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        if speaks == Speaks::Hixie76 {
            assert_eq!(self.exactly(16), DIGEST);
        }
        head
    }

    /// One frame of a server.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.exactly(2);
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.exactly(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.exactly(8).try_into().unwrap()),
            short => u64::from(short),
        };
        (head[0], self.exactly(length as usize))
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        let octets = said(self.speaks, text);
        self.send(&octets);
    }

    pub(crate) fn receive_text(&mut self) -> String {
        let text = match self.speaks {
            Speaks::Number(_) => {
                let (first, payload) = self.frame();
                assert_eq!(first, TEXT, "{payload:?} is no text");
                payload
            }
            Speaks::Hixie75 | Speaks::Hixie76 => {
                assert_eq!(self.exactly(1), [0]);
                let mut text = Vec::new();
                while text.last() != Some(&0xff) {
                    text.extend(self.exactly(1));
                }
                text.pop();
                text
            }
        };
        String::from_utf8(text).unwrap()
    }

    pub(crate) fn echo(&mut self, text: &str) {
        self.send_text(text);
        assert_eq!(self.receive_text(), text);
    }
}

/// Whether something comes on a socket, or its end, within this time.
pub(crate) fn receives_within(socket: &TcpStream, wait: Duration) -> bool {
    socket.set_read_timeout(Some(wait)).unwrap();
    let heard = match socket.peek(&mut [0]) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    };
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    heard
}

/// All that comes on a socket, whatever its end is.
pub(crate) fn all_of(socket: &mut TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut room = [0; 4096];
    loop {
        match socket.read(&mut room) {
            Ok(0) => return octets,
            Ok(n) => octets.extend_from_slice(&room[..n]),
            Err(error) => {
                let waits = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!waits, "it does not end; {octets:?} came");
                return octets;
            }
        }
    }
}

/// A client of any version, over a stream, by the core of the library.
pub(crate) struct Client<S> {
    stream: S,
    session: Session,
}

impl<S: Read + Write> Client<S> {
    /// Opens; `secure` is whether the stream is inside TLS, which the location of a
    /// hixie server must say.
    pub(crate) fn open(stream: S, version: &'static Version, secure: bool) -> Client<S> {
        let config = Arc::new(Config::default().with_versions(Versions::ALL));
        let request = ClientRequest::new("localhost:8076", "/echo")
            .with_origin("http://example.com")
            .with_secure(secure);
        let mut octets = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut octets, &mut random);
        let conn = Conn::client(version, &request, config, &mut out).unwrap();
        let mut client = Client {
            stream,
            session: Session::new(conn),
        };
        client.write(&octets);
        while client.session.conn().phase() == heirloom::conn::Phase::Handshake {
            assert_eq!(client.turn(), None);
        }
        client
    }

    fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
        self.stream.flush().unwrap();
    }

    /// What comes next: a message, or nothing where more has to be read.
    fn turn(&mut self) -> Option<Vec<u8>> {
        let mut octets = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut octets, &mut random);
        let next = self.session.next(&mut out).unwrap();
        let message = match next {
            Some((SessionEvent::Message(message), _)) => Some(message.payload().to_vec()),
            Some(_) => None,
            None => {
                let mut room = [0; 16 * 1024];
                let n = self.stream.read(&mut room).unwrap();
                assert!(n > 0, "it ends");
                self.session.receive(&room[..n]);
                None
            }
        };
        self.write(&octets);
        message
    }

    pub(crate) fn send(&mut self, text: &str) {
        let mut octets = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut octets, &mut random);
        let conn = self.session.conn_mut();
        conn.send(Message::text(text), &mut out).unwrap();
        self.write(&octets);
    }

    pub(crate) fn receive(&mut self) -> String {
        loop {
            if let Some(message) = self.turn() {
                return String::from_utf8(message).unwrap();
            }
        }
    }

    pub(crate) fn echo(&mut self, text: &str) {
        self.send(text);
        assert!(self.receive() == text, "{} octets differ", text.len());
    }
}
