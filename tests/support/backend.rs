//! Backends that write their octets by hand: the right response, or a wrong one
//! that the test asks for.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::peer::{CLOSE, Head, Peer, TEXT};
use super::sockets;

/// An address that does not answer: nothing is accepted there, and its queue is
/// full.
pub(crate) struct Silent {
    _listener: Socket,
    _queued: Vec<TcpStream>,
    pub(crate) address: SocketAddr,
}

impl Silent {
    pub(crate) fn new() -> Silent {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let moment = Duration::from_millis(100);
        let mut queued = Vec::new();
        loop {
            match TcpStream::connect_timeout(&address, moment) {
                Ok(stream) => queued.push(stream),
                Err(_) if sockets::queued(address) != Some(0) => break,
                // The machine was busy.
                Err(_) => {}
            }
        }
        Silent {
            _queued: queued,
            _listener: listener,
            address,
        }
    }
}

/// An address where nothing listens. Until the process ends no other socket gets its
/// port.
pub(crate) fn gone() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&loopback.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// Listens on a free port of loopback.
pub(crate) struct Backend {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A connection of a gateway, whose request was read.
pub(crate) struct Served {
    peer: Peer,
    pub(crate) head: Head,
}

impl Deref for Served {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Served {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

impl Backend {
    pub(crate) fn listen() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // On Linux accept waits no longer than this.
        SockRef::from(&listener)
            .set_read_timeout(Some(PATIENCE))
            .unwrap();
        let address = listener.local_addr().unwrap();
        Backend { listener, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The next connection, of which nothing is read.
    pub(crate) fn accept_raw(&self) -> Peer {
        let (stream, _) = self.listener.accept().expect("somebody connects");
        Peer::over(stream)
    }

    /// The next connection and its request.
    pub(crate) fn accept(&self) -> Served {
        let mut peer = self.accept_raw();
        let head = peer.head();
        Served::over(peer, head)
    }

    /// The next connection, where one has come.
    pub(crate) fn accept_raw_now(&self) -> Option<Peer> {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        let (stream, _) = accepted.ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(Peer::over(stream))
    }

    /// The same with its request.
    pub(crate) fn accept_now(&self) -> Option<Served> {
        let mut peer = self.accept_raw_now()?;
        let head = peer.head();
        Some(Served::over(peer, head))
    }

    /// The next connection, open.
    pub(crate) fn open(&self) -> Served {
        let mut served = self.accept();
        served.agree_to(&[]);
        served
    }

    /// No gateway has connected.
    pub(crate) fn has_nobody(&self) {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        assert!(accepted.is_err(), "somebody connected");
    }
}

impl Served {
    /// A connection of which this head was read.
    pub(crate) fn over(peer: Peer, head: Head) -> Served {
        Served { peer, head }
    }

    /// The connection.
    pub(crate) fn into_peer(self) -> Peer {
        self.peer
    }

    /// The proof that the key was read (RFC 6455 section 4.2.2).
    pub(crate) fn proof(&self) -> String {
        let key = self.head.header("Sec-WebSocket-Key").unwrap();
        let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        STANDARD.encode(Sha1::digest(format!("{key}{guid}")))
    }

    /// The right answer.
    pub(crate) fn response_of_rfc(&self) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            self.proof()
        )
    }

    /// The right answer, with more headers.
    pub(crate) fn agree_to(&mut self, headers: &[(&str, &str)]) {
        let mut response = self.response_of_rfc();
        for (name, value) in headers {
            response.insert_str(response.len() - 2, &format!("{name}: {value}\r\n"));
        }
        self.peer.send(response.as_bytes());
    }

    /// The head of hixie-75 that is right.
    pub(crate) fn response_of_75(&self) -> String {
        let header = |name| self.head.header(name).unwrap();
        let path = self.head.lines[0].split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\n\
             Connection: Upgrade\r\nWebSocket-Origin: {}\r\n\
             WebSocket-Location: ws://{}{path}\r\n\r\n",
            header("Origin"),
            header("Host"),
        )
    }

    /// The head of hixie-76 that is right; the eight octets are not read.
    pub(crate) fn response_of_76(&self) -> String {
        let header = |name| self.head.header(name).unwrap();
        let path = self.head.lines[0].split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Origin: {}\r\n\
             Sec-WebSocket-Location: ws://{}{path}\r\n\r\n",
            header("Origin"),
            header("Host"),
        )
    }

    /// The sixteen octets (hixie-76 section 5.2).
    pub(crate) fn digest(&self, key3: &[u8]) -> Vec<u8> {
        let number = |name| {
            let key = self.head.header(name).unwrap();
            let digits: String = key.chars().filter(char::is_ascii_digit).collect();
            let spaces = key.chars().filter(|c| *c == ' ').count() as u64;
            (digits.parse::<u64>().unwrap() / spaces) as u32
        };
        let [one, two] = ["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"].map(number);
        let all = [&one.to_be_bytes()[..], &two.to_be_bytes(), key3].concat();
        Md5::digest(all).to_vec()
    }

    /// Receives a text in one frame.
    pub(crate) fn receive_text(&mut self) -> String {
        let (first, payload) = self.peer.masked_frame();
        assert_eq!(first, TEXT, "{payload:?} is no text");
        String::from_utf8(payload).unwrap()
    }

    /// Sends a text in one frame.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.peer.send(&clear(TEXT, text.as_bytes()));
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        self.peer.reset();
    }

    /// Receives a close with 1001, replies, and waits for the end.
    pub(crate) fn is_sent_away(&mut self) {
        self.receive_close(1001);
        self.peer.send(&clear(CLOSE, &[0x03, 0xe9]));
        self.peer.is_cut_off();
    }

    /// Receives a close with this code; gives its reason.
    pub(crate) fn receive_close(&mut self, code: u16) -> String {
        let (first, body) = self.peer.masked_frame();
        assert_eq!(first, CLOSE, "{body:?} is no close");
        assert_eq!(body[..2], code.to_be_bytes(), "{body:?}");
        String::from_utf8(body[2..].to_vec()).unwrap()
    }
}

/// A frame of a server; `first` is its first octet.
pub(crate) fn clear(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    match payload.len() {
        short @ ..=125 => octets.push(short as u8),
        middle @ 126..=0xffff => {
            octets.push(126);
            octets.extend((middle as u16).to_be_bytes());
        }
        long => {
            octets.push(127);
            octets.extend((long as u64).to_be_bytes());
        }
    }
    octets.extend_from_slice(payload);
    octets
}
