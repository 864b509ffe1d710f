//! Servers that do what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heirloom::Version;
use md5::Digest;
use socket2::SockRef;

use crate::support::PATIENCE;

/// A server that handles each connection as the test says.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// One connection, whose request was read.
pub(crate) struct Connection {
    pub(crate) reader: BufReader<TcpStream>,
    pub(crate) lines: Vec<String>,
}

impl Host {
    pub(crate) fn new(handle: impl Fn(&mut Connection) + Send + Sync + 'static) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let handle = Arc::new(handle);
        let seen = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, handle) = (stream.unwrap(), Arc::clone(&handle));
                thread::spawn(move || {
                    if let Some(mut conn) = Connection::receive(stream) {
                        handle(&mut conn);
                    }
                });
            }
        });
        Host { address, over }
    }

    /// A server whose handshake is right.
    pub(crate) fn after_opening(handle: impl Fn(&mut Connection) + Send + Sync + 'static) -> Host {
        Host::new(move |conn| {
            conn.open();
            handle(conn);
        })
    }

    /// A server that sends this, whatever it receives, and waits.
    pub(crate) fn sending(octets: Vec<u8>) -> Host {
        Host::new(move |conn| {
            conn.send(&octets);
            conn.read_to_end();
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Ends the wait for the next one.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

impl Connection {
    pub(crate) fn receive(stream: TcpStream) -> Option<Connection> {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut conn = Connection {
            reader: BufReader::new(stream),
            lines: Vec::new(),
        };
        loop {
            let mut line = String::new();
            conn.reader.read_line(&mut line).ok()?;
            let line = line.strip_suffix("\r\n")?;
            if line.is_empty() {
                return Some(conn);
            }
            conn.lines.push(line.to_owned());
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.lines.iter().filter_map(|line| line.split_once(": "));
        headers.find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The lines of the right response, by hand.
    pub(crate) fn right_response(&self) -> Vec<String> {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let target = self.lines[0].split(' ').nth(1).unwrap();
        let location = format!("ws://{}{target}", self.header("Host").unwrap());
        let origin = self.header("Origin").unwrap_or_default();
        let mut response: Vec<String>;
        if let Some(key) = self.header("Sec-WebSocket-Key") {
            let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
            let proof = sha1::Sha1::digest(format!("{key}{guid}"));
            response = lines(&[
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade",
            ]);
            response.push(format!("Sec-WebSocket-Accept: {}", STANDARD.encode(proof)));
            if self.header("Sec-WebSocket-Version") == Some("4") {
                response.push("Sec-WebSocket-Nonce: H+cNj5elaybfGIQv1esl2w==".to_owned());
            }
            return response;
        }
        let (first, sec) = match self.header("Sec-WebSocket-Key1") {
            Some(_) => ("HTTP/1.1 101 WebSocket Protocol Handshake", "Sec-"),
            None => ("HTTP/1.1 101 Web Socket Protocol Handshake", ""),
        };
        response = lines(&[first, "Upgrade: WebSocket", "Connection: Upgrade"]);
        response.push(format!("{sec}WebSocket-Origin: {origin}"));
        response.push(format!("{sec}WebSocket-Location: {location}"));
        response
    }

    /// The sixteen octets, once the eight have arrived; `None` where the version
    /// has none, or they do not arrive.
    pub(crate) fn digest(&mut self) -> Option<[u8; 16]> {
        let mut input = Vec::new();
        for name in ["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"] {
            let key = self.header(name)?;
            let digits: String = key.chars().filter(char::is_ascii_digit).collect();
            let spaces = key.chars().filter(|c| *c == ' ').count() as u64;
            let number = digits.parse::<u64>().unwrap() / spaces;
            input.extend_from_slice(&(number as u32).to_be_bytes());
        }
        let mut key3 = [0; 8];
        self.reader.read_exact(&mut key3).ok()?;
        input.extend_from_slice(&key3);
        Some(md5::Md5::digest(&input).into())
    }

    pub(crate) fn send_head(&mut self, lines: &[String]) {
        self.send(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes());
    }

    /// The opening handshake as it should be.
    pub(crate) fn open(&mut self) {
        let lines = self.right_response();
        self.send_head(&lines);
        if let Some(digest) = self.digest() {
            self.send(&digest);
        }
    }

    /// Whether it could be sent; the client may be gone.
    pub(crate) fn send(&mut self, octets: &[u8]) -> bool {
        self.reader.get_mut().write_all(octets).is_ok()
    }

    /// Sends it until the client is gone.
    pub(crate) fn send_forever(&mut self, octets: &[u8]) {
        let until = Instant::now() + 2 * PATIENCE;
        while self.send(octets) && Instant::now() < until {}
    }

    /// Reads until the client ends TCP.
    pub(crate) fn read_to_end(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(1..) = self.reader.read(&mut buffer) {}
    }

    /// Ends our side, and reads until the client ends, so that nothing is reset.
    pub(crate) fn end(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
        self.read_to_end();
    }

    pub(crate) fn reset(&self) {
        let at_once = Some(Duration::ZERO);
        SockRef::from(self.reader.get_ref())
            .set_linger(at_once)
            .unwrap();
    }
}

/// A frame of a server in clear, from hybi-01 on.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    match payload.len() {
        n @ 0..126 => octets.push(n as u8),
        n => {
            octets.push(126);
            octets.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    octets.extend_from_slice(payload);
    octets
}

pub(crate) fn named(name: &str) -> &'static Version {
    Version::named(name).unwrap()
}
