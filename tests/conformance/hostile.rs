//! A server that does what this test says, connection by connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// A listening server. It stops when `Serve::Gone` is returned, or with the test.
pub(crate) struct Hostile {
    pub(crate) address: SocketAddr,
    gone: Receiver<()>,
}

/// Whether the server goes on to accept.
pub(crate) enum Serve {
    On,
    /// No connection is taken any more.
    Gone,
}

impl Hostile {
    /// Calls `serve` with each connection and its number, from 1 on.
    pub(crate) fn start(
        serve: impl Fn(usize, TcpStream) -> std::io::Result<Serve> + Send + Sync + 'static,
    ) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, gone) = channel();
        let serve = Arc::new(serve);
        thread::spawn(move || {
            // Dropping it ends what waits to be accepted.
            let listener = Arc::new(Mutex::new(Some(listener.try_clone().unwrap())));
            let mut number = 0;
            loop {
                let accepting = listener
                    .lock()
                    .unwrap()
                    .as_ref()
                    .map(|l| l.try_clone().unwrap());
                let Some(accepting) = accepting else {
                    break;
                };
                let Ok((stream, _)) = accepting.accept() else {
                    break;
                };
                drop(accepting);
                number += 1;
                let (serve, own) = (Arc::clone(&serve), Arc::clone(&listener));
                let one = move || {
                    // A tester that ends the connection is no fault here.
                    if let Ok(Serve::Gone) = serve(number, stream) {
                        *own.lock().unwrap() = None;
                    }
                };
                thread::spawn(one);
            }
            let _ = tell.send(());
        });
        Hostile { address, gone }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Whether it has stopped by itself.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.try_recv().is_ok()
    }
}

/// Reads a request to the end of its head.
pub(crate) fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet)?;
        head.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Upgrades a client of RFC 6455; refuses any other with status 400. Whether it has
/// upgraded.
pub(crate) fn upgrade(stream: &mut TcpStream) -> std::io::Result<bool> {
    let head = head(stream)?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Sec-WebSocket-Key")
            .then(|| value.trim().to_owned())
    });
    let Some(key) = key.filter(|_| head.contains("Sec-WebSocket-Version: 13\r\n")) else {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        stream.shutdown(Shutdown::Both)?;
        return Ok(false);
    };
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest.finalize());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nServer: \
         Hostile/1.0\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes())?;
    Ok(true)
}

/// Sends back the frames that arrive, until the tester ends TCP.
pub(crate) fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut header = [0; 2];
        stream.read_exact(&mut header)?;
        let length = match header[1] & 127 {
            126 => {
                let mut extended = [0; 2];
                stream.read_exact(&mut extended)?;
                usize::from(u16::from_be_bytes(extended))
            }
            127 => {
                let mut extended = [0; 8];
                stream.read_exact(&mut extended)?;
                u64::from_be_bytes(extended) as usize
            }
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask)?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        for (octet, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *octet ^= mask;
        }
        let first = match header[0] {
            0x89 => 0x8a,
            first => first,
        };
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(length as u8),
            126..=65_535 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        stream.write_all(&frame)?;
        if first == 0x88 {
            return stream.shutdown(Shutdown::Write);
        }
    }
}
