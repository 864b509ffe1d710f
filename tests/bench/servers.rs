//! The servers that are measured beside `heirloom`. Each runs in a process of its own until its parent has ended.
//!
//! Each has one thread: with a second, every system call on a descriptor counts the users of it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::{Domain, Socket, Type};
use tungstenite::handshake::server::{NoCallback, ServerHandshake};
use tungstenite::handshake::{HandshakeError, MidHandshake, derive_accept_key};
use tungstenite::{Message, WebSocket};

use crate::Result;

const LISTENER: Token = Token(usize::MAX);

/// What a read takes at most, in the bare echo as in the program under test.
const READ: usize = 64 * 1024;

/// Serves in the role that the parent process asks for.
///
/// The bare echo closes a connection after `life` octets: it cannot read a close frame, and the end that closes first
/// has more to do. 0 is never.
pub(crate) fn run(role: &str, life: usize) -> Result<()> {
    let listener = listen()?;
    match role {
        "bare" => mio_loop::<Bare>(listener, life),
        "tungstenite" => mio_loop::<Tungstenite>(listener, life),
        "fastwebsockets" => fastwebsockets(listener),
        other => Err(format!("no server is called {other}").into()),
    }
}

/// Binds a loopback port and prints it. `TCP_NODELAY` on the listener saves one call per connection: Linux inherits it.
fn listen() -> Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    let listener = std::net::TcpListener::from(socket);
    let mut out = io::stdout();
    writeln!(out, "listening on ws://{}/", listener.local_addr()?)?;
    out.flush()?;
    Ok(listener)
}

/// One connection of a mio server: how it starts, and what it does when its socket is ready.
trait Peer: Sized {
    /// Takes the accepted socket, registers it, and reads at once: a client's first octets are usually there. `None`: over.
    fn start(
        stream: TcpStream,
        token: Token,
        registry: &Registry,
        buffer: &mut [u8],
        life: usize,
    ) -> io::Result<Option<Self>>;
    /// Does what can be done now. `false`: the connection is over.
    fn turn(&mut self, event: &Event, registry: &Registry, buffer: &mut [u8]) -> io::Result<bool>;
}

fn mio_loop<P: Peer>(listener: std::net::TcpListener, life: usize) -> Result<()> {
    let parent = parent_id();
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ];
    let mut peers: Vec<Option<P>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    loop {
        match poll.poll(&mut events, Some(Duration::from_secs(1))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        // However the parent ended, this process ends too.
        if events.is_empty() && parent_id() != parent {
            return Ok(());
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    let slot = free.pop().unwrap_or_else(|| {
                        peers.push(None);
                        peers.len() - 1
                    });
                    let peer = P::start(stream, Token(slot), poll.registry(), &mut buffer, life)
                        .unwrap_or(None);
                    if peer.is_none() {
                        free.push(slot);
                    }
                    peers[slot] = peer;
                }
                continue;
            }
            let Token(slot) = event.token();
            if let Some(peer) = &mut peers[slot] {
                if !peer
                    .turn(event, poll.registry(), &mut buffer)
                    .unwrap_or(false)
                {
                    peers[slot] = None;
                    free.push(slot);
                }
            }
        }
    }
}

/// The yardstick: octets are sent back as they are.
struct Bare {
    stream: TcpStream,
    token: Token,
    /// Octets that the system has not taken yet. While there are any, nothing more is read.
    owed: Vec<u8>,
    /// Octets to echo before it closes; 0 is never.
    life: usize,
}

impl Bare {
    fn echo(&mut self, ended: bool, registry: &Registry, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let taken = match self.stream.write(&buffer[..count]) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if taken < count {
                self.owed.extend_from_slice(&buffer[taken..count]);
                registry.reregister(
                    &mut self.stream,
                    self.token,
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                return Ok(true);
            }
            if self.life > 0 {
                self.life = self.life.saturating_sub(count);
                if self.life == 0 {
                    return Ok(false);
                }
            }
            // A read shorter than the buffer took all there was; only the end of the stream could still be behind it.
            if count < buffer.len() && !ended {
                return Ok(true);
            }
        }
    }
}

impl Peer for Bare {
    fn start(
        mut stream: TcpStream,
        token: Token,
        registry: &Registry,
        buffer: &mut [u8],
        life: usize,
    ) -> io::Result<Option<Self>> {
        registry.register(&mut stream, token, Interest::READABLE)?;
        let mut peer = Bare {
            stream,
            token,
            owed: Vec::new(),
            life,
        };
        Ok(peer.echo(false, registry, buffer)?.then_some(peer))
    }

    fn turn(&mut self, event: &Event, registry: &Registry, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.owed.is_empty() {
            match self.stream.write(&self.owed) {
                Ok(taken) => drop(self.owed.drain(..taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if !self.owed.is_empty() {
                return Ok(true);
            }
            registry.reregister(&mut self.stream, self.token, Interest::READABLE)?;
        }
        self.echo(event.is_read_closed(), registry, buffer)
    }
}

/// Tungstenite as its users drive it without blocking: read messages until there are none, then flush once.
struct Tungstenite {
    state: State,
    token: Token,
    blocked: bool,
}

enum State {
    Shaking(Option<MidHandshake<ServerHandshake<TcpStream, NoCallback>>>),
    Open(WebSocket<TcpStream>),
}

type Shaken = std::result::Result<
    WebSocket<TcpStream>,
    HandshakeError<ServerHandshake<TcpStream, NoCallback>>,
>;

impl Tungstenite {
    fn shaken(&mut self, outcome: Shaken, registry: &Registry) -> io::Result<bool> {
        match outcome {
            Ok(socket) => {
                self.state = State::Open(socket);
                self.echo(registry)
            }
            Err(HandshakeError::Interrupted(middle)) => {
                self.state = State::Shaking(Some(middle));
                Ok(true)
            }
            Err(HandshakeError::Failure(_)) => Ok(false),
        }
    }

    fn echo(&mut self, registry: &Registry) -> io::Result<bool> {
        let State::Open(socket) = &mut self.state else {
            return Ok(false);
        };
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    match socket.write(message) {
                        Ok(()) => {}
                        Err(tungstenite::Error::Io(error))
                            if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return Ok(false),
                    }
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break;
                }
                Err(_) => return Ok(false),
            }
        }
        let blocked = match socket.flush() {
            Ok(()) => false,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(_) => return Ok(false),
        };
        if blocked != self.blocked {
            self.blocked = blocked;
            let both = Interest::READABLE | Interest::WRITABLE;
            let interest = if blocked { both } else { Interest::READABLE };
            registry.reregister(socket.get_mut(), self.token, interest)?;
        }
        Ok(true)
    }
}

impl Peer for Tungstenite {
    fn start(
        mut stream: TcpStream,
        token: Token,
        registry: &Registry,
        _: &mut [u8],
        _: usize,
    ) -> io::Result<Option<Self>> {
        registry.register(&mut stream, token, Interest::READABLE)?;
        let mut peer = Tungstenite {
            state: State::Shaking(None),
            token,
            blocked: false,
        };
        Ok(peer
            .shaken(tungstenite::accept(stream), registry)?
            .then_some(peer))
    }

    fn turn(&mut self, _: &Event, registry: &Registry, _: &mut [u8]) -> io::Result<bool> {
        match &mut self.state {
            State::Open(_) => self.echo(registry),
            State::Shaking(middle) => match middle.take() {
                Some(middle) => self.shaken(middle.handshake(), registry),
                None => Ok(false),
            },
        }
    }
}

fn fastwebsockets(listener: std::net::TcpListener) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let mut input = tokio::net::unix::pipe::Receiver::from_owned_fd(input)?;
        tokio::spawn(async move {
            // The parent has the other end and never writes, so this ends when the parent does.
            let _ = tokio::io::AsyncReadExt::read(&mut input, &mut [0]).await;
            std::process::exit(0);
        });
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // A peer that is gone ends its own task and nothing else.
                let _ = fastwebsockets_echo(stream).await;
            });
        }
    })
}

async fn fastwebsockets_echo(
    mut stream: tokio::net::TcpStream,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use fastwebsockets::{Frame, OpCode, Role, WebSocket};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    // The cheapest upgrade that is correct: the generator's head arrives whole, with one spelling of the key.
    let mut head = [0; 1024];
    let mut have = 0;
    while !head[..have].ends_with(b"\r\n\r\n") {
        match stream.read(&mut head[have..]).await? {
            0 => return Ok(()),
            count => have += count,
        }
    }
    let text = std::str::from_utf8(&head[..have])?;
    let key = text
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .ok_or("no key")?;
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(response.as_bytes()).await?;

    let mut socket = WebSocket::after_handshake(stream, Role::Server);
    socket.set_auto_close(true);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => {
                socket
                    .write_frame(Frame::new(true, frame.opcode, None, frame.payload))
                    .await?;
            }
            _ => {}
        }
    }
}
