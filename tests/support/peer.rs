//! Clients that write their octets by hand: the library is not tested by its own
//! code here.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Hixie75,
    Hixie76,
    /// A version with a number, from 7 on.
    Number(u8),
}

pub(crate) const RFC: Speaks = Speaks::Number(13);

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The eight octets and the answer of the example of hixie-76 section 1.2.
pub(crate) const KEY3: &[u8] = b"^n:ds[4U";
pub(crate) const DIGEST: &[u8] = b"8jKS'y:G*Co,Wxa-";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A head that was answered.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) lines: Vec<String>,
}

impl Head {
    pub(crate) fn status(&self) -> u16 {
        self.lines[0].split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The only header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.lines[1..].iter().filter_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        });
        let first = all.next();
        assert_eq!(all.next(), None, "{name} stands twice: {self:?}");
        first
    }

    /// The names of all headers, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.lines[1..]
            .iter()
            .map(|line| line.split(": ").next().unwrap())
            .collect()
    }
}

/// One end of a connection. It sends what the test gives it, and waits no longer
/// than [`PATIENCE`].
pub(crate) struct Peer {
    reader: BufReader<TcpStream>,
    speaks: Speaks,
}

impl Peer {
    /// Connects and sends nothing.
    pub(crate) fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        Peer::over(stream)
    }

    /// Connects to a Unix socket.
    pub(crate) fn connect_unix(path: &Path) -> Peer {
        Peer::over_unix(UnixStream::connect(path).unwrap())
    }

    /// What is done to it is the same as with TCP.
    pub(crate) fn over_unix(stream: UnixStream) -> Peer {
        Peer::of(TcpStream::from(OwnedFd::from(stream)))
    }

    /// Connects with a small buffer for what it receives.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Peer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Peer::over(socket.into())
    }

    pub(crate) fn over(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        Peer::of(stream)
    }

    fn of(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer {
            reader: BufReader::new(stream),
            speaks: RFC,
        }
    }

    /// Connects and opens.
    pub(crate) fn open(address: SocketAddr, speaks: Speaks, path: &str) -> Peer {
        let mut peer = Peer::connect(address);
        peer.upgrade(speaks, path);
        peer
    }

    /// Does the opening handshake and holds the server to its proof.
    pub(crate) fn upgrade(&mut self, speaks: Speaks, path: &str) {
        self.send(&request(speaks, path));
        self.agree(speaks);
    }

    /// Reads the answer to a request that was sent.
    pub(crate) fn agree(&mut self, speaks: Speaks) {
        self.speaks = speaks;
        let head = self.head();
        match speaks {
            Speaks::Hixie75 => {
                assert_eq!(head.lines[0], "HTTP/1.1 101 Web Socket Protocol Handshake");
            }
            Speaks::Hixie76 => {
                assert_eq!(head.lines[0], "HTTP/1.1 101 WebSocket Protocol Handshake");
                assert_eq!(self.exactly(16), DIGEST);
            }
            Speaks::Number(_) => {
                assert_eq!(head.lines[0], "HTTP/1.1 101 Switching Protocols");
                let accept = head.header("Sec-WebSocket-Accept");
                assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            }
        }
    }

    pub(crate) fn speaks(&self) -> Speaks {
        self.speaks
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.reader.get_mut().write_all(octets).unwrap();
    }

    /// Each octet in a packet of its own.
    pub(crate) fn send_singly(&mut self, octets: &[u8]) {
        for octet in octets {
            self.send(&[*octet]);
        }
    }

    /// Ends its side of TCP.
    pub(crate) fn finish(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let at_once = Some(Duration::ZERO);
        SockRef::from(self.stream()).set_linger(at_once).unwrap();
    }

    pub(crate) fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut octets = vec![0; n];
        self.reader.read_exact(&mut octets).unwrap();
        octets
    }

    /// All that arrives until the other side ends; a reset is no end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        self.reader.read_to_end(&mut octets).unwrap();
        octets
    }

    /// Nothing more arrives.
    pub(crate) fn ends(&mut self) {
        assert_eq!(self.rest(), b"");
    }

    /// Waits until nothing more arrives, whatever arrives before and however it
    /// ends.
    pub(crate) fn is_cut_off(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => panic!("it does not end"),
                Err(_) => return,
            }
        }
    }

    /// Whether these octets arrive before the end, however that comes.
    pub(crate) fn receives(&mut self, octets: &[u8]) -> bool {
        let mut seen = Vec::new();
        loop {
            let new = match self.reader.fill_buf() {
                Ok([]) => return false,
                Ok(new) => new,
                Err(error) if is_timeout(error.kind()) => panic!("{seen:?} and no end"),
                Err(_) => return false,
            };
            let n = new.len();
            seen.extend_from_slice(new);
            self.reader.consume(n);
            if seen.windows(octets.len()).any(|window| window == octets) {
                return true;
            }
        }
    }

    /// Whether something has arrived that was not read, or the end.
    pub(crate) fn has_received(&self) -> bool {
        if !self.reader.buffer().is_empty() {
            return true;
        }
        self.stream().set_nonblocking(true).unwrap();
        let peeked = self.stream().peek(&mut [0]);
        self.stream().set_nonblocking(false).unwrap();
        !peeked.is_err_and(|error| is_timeout(error.kind()))
    }

    /// Whether something arrives, or the end, within this time.
    pub(crate) fn receives_within(&mut self, wait: Duration) -> bool {
        self.stream().set_read_timeout(Some(wait)).unwrap();
        let heard = match self.reader.fill_buf() {
            Ok(_) => true,
            Err(error) if is_timeout(error.kind()) => false,
            Err(error) => panic!("{error}"),
        };
        self.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        heard
    }

    /// A head up to its empty line.
    pub(crate) fn head(&mut self) -> Head {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            self.reader.read_until(b'\n', &mut line).unwrap();
            // Octets that are not UTF-8 are Latin-1.
            let line = String::from_utf8(line)
                .unwrap_or_else(|error| error.as_bytes().iter().map(|o| char::from(*o)).collect());
            let line = line.strip_suffix("\r\n").expect("lines end in CR LF");
            if line.is_empty() {
                return Head { lines };
            }
            lines.push(line.to_owned());
        }
    }

    /// An answer that is not an upgrade: its head and its whole body, after
    /// which the connection ends.
    pub(crate) fn response(&mut self) -> (Head, String) {
        let head = self.head();
        let body = self.rest();
        let length: usize = head.header("Content-Length").unwrap().parse().unwrap();
        assert_eq!(body.len(), length, "the body is cut: {head:?}");
        (head, String::from_utf8(body).unwrap())
    }

    /// One frame of a numbered version: its first octet and its payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.exactly(2);
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.exactly(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.exactly(8).try_into().unwrap()),
            short => u64::from(short),
        };
        assert!(length < 1 << 32, "a server's frame is masked or endless");
        (head[0], self.exactly(length as usize))
    }

    /// One frame of a client: its first octet and its payload, unmasked.
    pub(crate) fn masked_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.exactly(2);
        assert!(head[1] & 0x80 != 0, "a client's frame is not masked");
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.exactly(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.exactly(8).try_into().unwrap()),
            short => u64::from(short),
        };
        assert!(length < 1 << 32, "a frame is endless");
        let key = self.exactly(4);
        let payload = self.exactly(length as usize);
        let clear = payload.iter().zip(key.iter().cycle());
        (head[0], clear.map(|(o, k)| o ^ k).collect())
    }

    /// A close frame with this code, which pings may precede; its reason.
    pub(crate) fn close_frame(&mut self, code: u16) -> String {
        let (mut first, mut body) = self.frame();
        while first == PING {
            (first, body) = self.frame();
        }
        assert_eq!(first, CLOSE, "{body:?} is no close");
        assert_eq!(body[..2], code.to_be_bytes(), "{body:?}");
        String::from_utf8(body[2..].to_vec()).unwrap()
    }

    /// Sends a text.
    pub(crate) fn send_text(&mut self, text: &str) {
        let octets = said(self.speaks, text);
        self.send(&octets);
    }

    /// Receives a text.
    pub(crate) fn receive_text(&mut self) -> String {
        let octets = match self.speaks {
            Speaks::Number(_) => {
                let (first, payload) = self.frame();
                assert_eq!(first, TEXT, "{payload:?} is no text");
                payload
            }
            Speaks::Hixie75 | Speaks::Hixie76 => {
                assert_eq!(self.exactly(1), [0]);
                let mut text = Vec::new();
                self.reader.read_until(0xff, &mut text).unwrap();
                assert_eq!(text.pop(), Some(0xff), "the end is no end of a text");
                text
            }
        };
        String::from_utf8(octets).unwrap()
    }

    /// Sends a text and receives its echo.
    pub(crate) fn echo(&mut self, text: &str) {
        self.send_text(text);
        assert_eq!(self.receive_text(), text);
    }

    /// Closes first, the way its version does.
    pub(crate) fn close(&mut self) {
        match self.speaks {
            Speaks::Hixie75 => self.finish(),
            Speaks::Hixie76 => {
                self.send(&[0xff, 0]);
                assert_eq!(self.exactly(2), [0xff, 0]);
            }
            Speaks::Number(_) => {
                self.send(&frame(CLOSE, &[0x03, 0xe8]));
                assert_eq!(self.frame(), (CLOSE, vec![0x03, 0xe8]));
            }
        }
        self.ends();
    }

    /// Receives a close, with 1001 where there are codes, and replies.
    pub(crate) fn is_sent_away(&mut self) {
        match self.speaks {
            Speaks::Hixie75 => {}
            Speaks::Hixie76 => {
                assert_eq!(self.exactly(2), [0xff, 0]);
                self.send(&[0xff, 0]);
            }
            Speaks::Number(_) => {
                self.close_frame(1001);
                self.send(&frame(CLOSE, &[0x03, 0xe9]));
            }
        }
        self.ends();
    }
}

/// Whether a wait was over before anything arrived.
pub(crate) fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The opening request of a version, the eight octets included.
pub(crate) fn request(speaks: Speaks, path: &str) -> Vec<u8> {
    let first = format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n");
    let numbered = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let more = match speaks {
        Speaks::Hixie75 => "Upgrade: WebSocket\r\nOrigin: http://example.com\r\n\r\n".to_owned(),
        Speaks::Hixie76 => "Upgrade: WebSocket\r\nOrigin: http://example.com\r\n\
             Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
             Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U"
            .to_owned(),
        Speaks::Number(n) => format!("{numbered}Sec-WebSocket-Version: {n}\r\n\r\n"),
    };
    [first, more].concat().into_bytes()
}

/// A text as a client of this version sends it.
pub(crate) fn said(speaks: Speaks, text: &str) -> Vec<u8> {
    match speaks {
        Speaks::Number(_) => frame(TEXT, text.as_bytes()),
        Speaks::Hixie75 | Speaks::Hixie76 => [&[0], text.as_bytes(), &[0xff]].concat(),
    }
}

/// A masked frame; `first` is its first octet.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    match payload.len() {
        short @ ..=125 => octets.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            octets.push(0x80 | 126);
            octets.extend((middle as u16).to_be_bytes());
        }
        long => {
            octets.push(0x80 | 127);
            octets.extend((long as u64).to_be_bytes());
        }
    }
    octets.extend(MASK);
    octets.extend(payload.iter().zip(MASK.iter().cycle()).map(|(o, m)| o ^ m));
    octets
}
