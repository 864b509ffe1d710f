//! The client side. It is cheap, and checks what it receives.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::Result;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Rfc6455,
    Hixie76,
}

/// Longer than any answer may take: beyond it the run fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// What must be received in one turn of a connection.
enum Expected {
    /// These octets.
    Exactly(Vec<u8>),
    /// A head of a 101 with this line in it, and these octets after its empty line.
    Upgrade {
        line: &'static [u8],
        digest: &'static [u8],
    },
}

struct Turn {
    send: Vec<u8>,
    expect: Expected,
}

/// All that a connection sends, made once.
pub(crate) struct Script {
    upgrade: Option<Turn>,
    pub(crate) frame: Vec<u8>,
    pub(crate) echo: Vec<u8>,
    /// `echo` is payload, in any frames.
    any_frames: bool,
    close: Turn,
}

const HIXIE_REQUEST: &[u8] = b"GET /demo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: example.com\r\n\
Origin: http://example.com\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\
\r\n^n:ds[4U";
const RFC_REQUEST: &[u8] =
    b"GET /demo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// The same with the twelve header fields that a browser sends.
const BROWSER_REQUEST: &[u8] =
    b"GET /demo HTTP/1.1\r\nHost: example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
Sec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Connection: Upgrade\r\nCookie: id=81b1c4a09be24b7d; language=de; consent=1\r\nPragma: no-cache\r\n\
Cache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of RFC 6455, masked as a client must or bare as a server must.
fn rfc_frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Result<Vec<u8>> {
    let mut frame = vec![first];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..126 => frame.push(bit | u8::try_from(length)?),
        length @ 126..0x1_0000 => {
            frame.push(bit | 126);
            frame.extend(u16::try_from(length)?.to_be_bytes());
        }
        length => {
            frame.push(bit | 127);
            frame.extend(u64::try_from(length)?.to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        frame.extend(mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(octet, key)| octet ^ key),
        );
    } else {
        frame.extend(payload);
    }
    Ok(frame)
}

impl Script {
    /// `bare`: the server sends every octet back as it is, a request too.
    pub(crate) fn new(wire: Wire, size: usize, bare: bool, with_upgrade: bool) -> Result<Self> {
        let letters = (b'a'..=b'z').cycle().take(size);
        let (request, response, frame, echo, close, close_reply) = match wire {
            Wire::Rfc6455 => {
                // All values and no short period, so that neither a mask nor a cache gains by it.
                let payload: Vec<u8> = (0..size)
                    .map(|at| (at * 131 % 251).to_le_bytes()[0])
                    .collect();
                let code = 1000_u16.to_be_bytes();
                (
                    RFC_REQUEST,
                    Expected::Upgrade {
                        line: b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
                        digest: b"",
                    },
                    rfc_frame(0x82, &payload, Some(MASK))?,
                    rfc_frame(0x82, &payload, None)?,
                    rfc_frame(0x88, &code, Some(MASK))?,
                    rfc_frame(0x88, &code, None)?,
                )
            }
            Wire::Hixie76 => {
                let frame: Vec<u8> = [0x00].into_iter().chain(letters).chain([0xff]).collect();
                let end = vec![0xff, 0x00];
                let response = Expected::Upgrade {
                    line: b"\r\nupgrade: websocket\r\n",
                    digest: b"8jKS'y:G*Co,Wxa-",
                };
                (
                    HIXIE_REQUEST,
                    response,
                    frame.clone(),
                    frame,
                    end.clone(),
                    end,
                )
            }
        };
        let send = request.to_vec();
        Ok(if bare {
            Script {
                upgrade: with_upgrade.then(|| Turn {
                    expect: Expected::Exactly(send.clone()),
                    send,
                }),
                echo: frame.clone(),
                frame,
                any_frames: false,
                close: Turn {
                    expect: Expected::Exactly(close.clone()),
                    send: close,
                },
            }
        } else {
            Script {
                upgrade: Some(Turn {
                    send,
                    expect: response,
                }),
                frame,
                echo,
                any_frames: false,
                close: Turn {
                    send: close,
                    expect: Expected::Exactly(close_reply),
                },
            }
        })
    }
}

impl Script {
    /// The messages are this text. A client of RFC 6455 sends the request of a browser.
    pub(crate) fn of_text(wire: Wire, text: &str) -> Result<Self> {
        let mut script = Script::new(wire, text.len(), false, true)?;
        let text = text.as_bytes();
        match wire {
            Wire::Rfc6455 => {
                script.frame = rfc_frame(0x81, text, Some(MASK))?;
                script.echo = rfc_frame(0x81, text, None)?;
                if let Some(turn) = &mut script.upgrade {
                    turn.send = BROWSER_REQUEST.to_vec();
                }
            }
            Wire::Hixie76 => {
                script.frame = [&[0x00], text, &[0xff]].concat();
                script.echo = script.frame.clone();
            }
        }
        Ok(script)
    }

    /// For a server in the middle, which may send a message in other frames than it received.
    /// A hixie text has no frames to be cut into.
    pub(crate) fn in_any_frames(mut self, wire: Wire) -> Result<Self> {
        if wire == Wire::Rfc6455 {
            let mut walk = Walk::default();
            let mut payload = Vec::new();
            let mut rest = &*self.echo;
            while let Some(some) = walk.next(&mut rest)? {
                payload.extend_from_slice(some);
            }
            self.echo = payload;
            self.any_frames = true;
        }
        Ok(self)
    }

    /// What a client sends first.
    pub(crate) fn request(&self) -> &[u8] {
        self.upgrade.as_ref().map_or(&[], |turn| &turn.send)
    }

    /// Whether these octets are the whole answer to it.
    pub(crate) fn is_upgraded(&self, got: &[u8]) -> Result<bool> {
        self.upgrade
            .as_ref()
            .map_or(Ok(true), |turn| is_whole(&turn.expect, got))
    }

    /// Octets that a whole connection sends.
    pub(crate) fn life(&self) -> usize {
        let request = self.upgrade.as_ref().map_or(0, |turn| turn.send.len());
        request + self.frame.len() + self.close.send.len()
    }
}

/// Whether the whole answer has arrived. More than the answer is an error: the server sent it unasked.
fn is_whole(response: &Expected, got: &[u8]) -> Result<bool> {
    match response {
        Expected::Exactly(expected) if expected.starts_with(got) => Ok(got.len() == expected.len()),
        Expected::Exactly(_) => Err("what comes back is not what was sent".into()),
        Expected::Upgrade { line, digest } => {
            let Some(head) = got
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
                .map(|at| at + 4)
            else {
                return if got.len() < 4096 {
                    Ok(false)
                } else {
                    Err("the answer's head does not end".into())
                };
            };
            let text = got[..head].to_ascii_lowercase();
            if !text.starts_with(b"http/1.1 101 ")
                || !text.windows(line.len()).any(|window| window == *line)
            {
                return Err(format!(
                    "not upgraded: {}",
                    String::from_utf8_lossy(got).escape_debug()
                )
                .into());
            }
            if got.len() < head + digest.len() {
                return Ok(false);
            }
            if &got[head..] != *digest {
                return Err("the proof behind the answer is wrong".into());
            }
            Ok(true)
        }
    }
}

/// Connects, and waits for it.
pub(crate) fn connect(address: SocketAddr) -> Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Upgrades, and waits for it.
pub(crate) fn upgrade(stream: &mut (impl Read + Write), script: &Script) -> Result<()> {
    match &script.upgrade {
        Some(turn) => exchange(stream, &turn.send, &turn.expect),
        None => Ok(()),
    }
}

/// Sends one message, and waits for its echo.
pub(crate) fn echo_once(stream: &mut (impl Read + Write), script: &Script) -> Result<()> {
    exchange(
        stream,
        &script.frame,
        &Expected::Exactly(script.echo.clone()),
    )
}

/// Connects and upgrades, and waits for both.
pub(crate) fn open(address: SocketAddr, script: &Script) -> Result<std::net::TcpStream> {
    let mut stream = connect(address)?;
    upgrade(&mut stream, script)?;
    Ok(stream)
}

/// Sends and receives, and waits for both. For octets that fit into a socket's buffers.
fn exchange(stream: &mut (impl Read + Write), send: &[u8], expect: &Expected) -> Result<()> {
    stream.write_all(send)?;
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(expect, &got)? {
        match stream.read(&mut buffer)? {
            0 => return Err("the server ends the connection early".into()),
            count => got.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

/// Reads the frames of a server of RFC 6455, in whatever portions they arrive.
#[derive(Default)]
struct Walk {
    head: [u8; 10],
    /// Octets of the header that have arrived.
    have: usize,
    /// Octets of payload that are still to come.
    rest: u64,
}

impl Walk {
    /// The next octets of payload; `None` where no more have arrived.
    fn next<'b>(&mut self, octets: &mut &'b [u8]) -> Result<Option<&'b [u8]>> {
        while let Some(&first) = octets.first() {
            if self.rest > 0 {
                let here = usize::try_from(self.rest)?.min(octets.len());
                let (payload, after) = octets.split_at(here);
                *octets = after;
                self.rest -= here as u64;
                return Ok(Some(payload));
            }
            self.head[self.have] = first;
            self.have += 1;
            *octets = &octets[1..];
            let length = match self.head[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            if self.have < 2 || self.have < length {
                continue;
            }
            // Parts of messages, and nothing else.
            if !matches!(self.head[0] & 0x7f, 0..=2) {
                return Err("not a frame of a message comes back".into());
            }
            self.rest = match length {
                4 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
                10 => u64::from_be_bytes(self.head[2..].try_into()?),
                _ => u64::from(self.head[1]),
            };
            self.have = 0;
        }
        Ok(None)
    }
}

/// The result of a round.
#[derive(Clone, Copy)]
pub(crate) struct Count {
    pub(crate) done: u64,
    pub(crate) wall: Duration,
}

/// A stream that does not wait, which is plain TCP or has TLS in it.
pub(crate) trait Link: Read + Write + Source {}

impl Link for TcpStream {}

struct Sender<S> {
    stream: S,
    /// Octets of the batch that are not written yet.
    unsent: usize,
    /// Octets of its echo that have not arrived yet.
    due: usize,
    /// Whether this connection's echo is compared octet by octet.
    compare: bool,
    /// Where the echo may arrive in any frames.
    walk: Option<Walk>,
}

/// Open connections, each with some messages in flight. One write sends them all; the next follows when all echoes
/// have arrived.
pub(crate) struct Talk<S = TcpStream> {
    poll: Poll,
    events: Events,
    senders: Vec<Sender<S>>,
    batch: Vec<u8>,
    echo: Vec<u8>,
    in_flight: u64,
    buffer: Vec<u8>,
}

impl Talk {
    pub(crate) fn open(
        address: SocketAddr,
        script: &Script,
        connections: usize,
        in_flight: usize,
    ) -> Result<Self> {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = open(address, script)?;
            stream.set_nonblocking(true)?;
            streams.push(TcpStream::from_std(stream));
        }
        Talk::of(streams, script, in_flight)
    }
}

impl<S: Link> Talk<S> {
    /// On connections that are upgraded. An echo is smaller than the buffer of a read.
    pub(crate) fn of(streams: Vec<S>, script: &Script, in_flight: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut senders = Vec::new();
        for (index, mut stream) in streams.into_iter().enumerate() {
            poll.registry().register(
                &mut stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            senders.push(Sender {
                stream,
                unsent: 0,
                due: 0,
                compare: true,
                walk: script.any_frames.then(Walk::default),
            });
        }
        let mut talk = Talk {
            poll,
            events: Events::with_capacity(1024),
            senders,
            batch: script.frame.repeat(in_flight),
            echo: script.echo.repeat(in_flight),
            in_flight: u64::try_from(in_flight)?,
            buffer: vec![0; 256 * 1024],
        };
        // One batch each is compared octet by octet; after that octets are counted.
        talk.run(Duration::ZERO)?;
        for sender in &mut talk.senders {
            sender.compare = false;
        }
        Ok(talk)
    }

    /// Sends for this time and then waits for every echo: at least one batch on each connection.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Count> {
        let start = Instant::now();
        let (end, give_up) = (start + time, start + time + PATIENCE);
        let mut done = 0;
        let mut busy = self.senders.len();
        for sender in &mut self.senders {
            sender.start(&self.batch, &self.echo)?;
        }
        let mut last = start;
        while busy > 0 {
            // It never sleeps: a generator that does costs the server a wake-up now and then, which is noise.
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.events.is_empty() {
                // Lets a backend on this core run.
                std::thread::yield_now();
            }
            let now = Instant::now();
            for event in &self.events {
                let Token(index) = event.token();
                let sender = &mut self.senders[index];
                if sender.due == 0 && !event.is_read_closed() {
                    continue;
                }
                sender.receive(&self.echo, &mut self.buffer)?;
                sender.send(&self.batch)?;
                if sender.due == 0 {
                    done += self.in_flight;
                    last = now;
                    if now < end {
                        sender.start(&self.batch, &self.echo)?;
                    } else {
                        busy -= 1;
                    }
                }
            }
            if now > give_up {
                return Err(format!("{busy} connections still wait for their echo").into());
            }
        }
        Ok(Count {
            done,
            wall: last - start,
        })
    }
}

impl<S: Link> Sender<S> {
    fn start(&mut self, batch: &[u8], echo: &[u8]) -> Result<()> {
        self.unsent = batch.len();
        self.due = echo.len();
        self.send(batch)
    }

    fn send(&mut self, batch: &[u8]) -> Result<()> {
        while self.unsent > 0 {
            match self.stream.write(&batch[batch.len() - self.unsent..]) {
                Ok(count) => self.unsent -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, echo: &[u8], buffer: &mut [u8]) -> Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("the server ends a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.take(echo, &buffer[..count])?;
            if count < buffer.len() {
                return Ok(());
            }
        }
    }
}

impl<S> Sender<S> {
    fn take(&mut self, echo: &[u8], mut octets: &[u8]) -> Result<()> {
        let Some(mut walk) = self.walk.take() else {
            return self.check(echo, octets);
        };
        while let Some(payload) = walk.next(&mut octets)? {
            self.check(echo, payload)?;
        }
        self.walk = Some(walk);
        Ok(())
    }

    fn check(&mut self, echo: &[u8], octets: &[u8]) -> Result<()> {
        let at = echo.len() - self.due;
        self.due = self
            .due
            .checked_sub(octets.len())
            .ok_or("more comes back than was sent")?;
        if self.compare && *octets != echo[at..at + octets.len()] {
            return Err("what comes back is not what was sent".into());
        }
        Ok(())
    }
}

/// One connection that waits for each echo: the time of a round trip.
pub(crate) struct Trips<S = std::net::TcpStream> {
    stream: S,
    frame: Vec<u8>,
    echo: usize,
    walk: Option<Walk>,
}

impl Trips {
    pub(crate) fn open(address: SocketAddr, script: &Script) -> Result<Self> {
        Ok(Trips::of(open(address, script)?, script))
    }
}

impl<S: Read + Write> Trips<S> {
    /// On a connection that is upgraded.
    pub(crate) fn of(stream: S, script: &Script) -> Self {
        Trips {
            stream,
            frame: script.frame.clone(),
            echo: script.echo.len(),
            walk: script.any_frames.then(Walk::default),
        }
    }

    /// Some round trips, one after the other, in nanoseconds.
    pub(crate) fn run(&mut self, trips: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(trips);
        let mut buffer = [0; 4096];
        for _ in 0..trips {
            let start = Instant::now();
            self.stream.write_all(&self.frame)?;
            let mut came = 0;
            while came < self.echo {
                let count = self.stream.read(&mut buffer)?;
                if count == 0 {
                    return Err("the server ends the connection".into());
                }
                let mut octets = &buffer[..count];
                match &mut self.walk {
                    None => came += count,
                    Some(walk) => {
                        while let Some(payload) = walk.next(&mut octets)? {
                            came += payload.len();
                        }
                    }
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e9);
        }
        Ok(times)
    }
}

struct Round {
    stream: TcpStream,
    /// The turn that is being sent or received.
    turn: usize,
    unsent: usize,
    got: Vec<u8>,
}

enum Progress {
    Waits,
    Over,
}

/// Connections that live for one message: connect, upgrade, echo, close.
pub(crate) struct Rounds {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    turns: Vec<Turn>,
    slots: Vec<Option<Round>>,
    buffer: Vec<u8>,
    opened: u32,
}

impl Rounds {
    pub(crate) fn new(address: SocketAddr, script: Script, at_once: usize) -> Result<Self> {
        let mut turns = Vec::from_iter(script.upgrade);
        turns.push(Turn {
            send: script.frame,
            expect: Expected::Exactly(script.echo),
        });
        turns.push(script.close);
        Ok(Rounds {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            address,
            turns,
            slots: (0..at_once).map(|_| None).collect(),
            buffer: vec![0; 4096],
            opened: 0,
        })
    }

    /// Keeps all places busy for this time, then waits until every connection has ended.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Count> {
        let start = Instant::now();
        let (end, give_up) = (start + time, start + time + PATIENCE);
        let mut done = 0;
        let mut busy = 0;
        for slot in 0..self.slots.len() {
            self.start(slot)?;
            busy += 1;
        }
        while busy > 0 {
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = Instant::now();
            let mut over = Vec::new();
            for event in &self.events {
                let Token(slot) = event.token();
                if let Some(round) = &mut self.slots[slot] {
                    if let Progress::Over = round.go_on(&self.turns, &mut self.buffer)? {
                        over.push(slot);
                    }
                }
            }
            for slot in over {
                self.slots[slot] = None;
                done += 1;
                if now < end {
                    self.start(slot)?;
                } else {
                    busy -= 1;
                }
            }
            if now > give_up {
                return Err(format!("{busy} connections do not end").into());
            }
        }
        Ok(Count {
            done,
            wall: start.elapsed(),
        })
    }

    fn start(&mut self, slot: usize) -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // The end that closes first keeps the pair of addresses for a minute. So each connection has a pair of its own:
        // ports of 127.1.x.y outside the range of the system, used again only after millions of others.
        socket.set_reuse_address(true)?;
        let (host, port) = (self.opened / 20_000, self.opened % 20_000);
        let [.., high, low] = (host % 65_000 + 1).to_be_bytes();
        let source = SocketAddr::from((
            Ipv4Addr::new(127, 1, high, low),
            u16::try_from(10_000 + port)?,
        ));
        self.opened = self.opened.wrapping_add(1);
        socket.bind(&source.into())?;
        socket.set_nonblocking(true)?;
        match socket.connect(&self.address.into()) {
            Ok(()) => {}
            // In progress: the socket becomes writable when it is connected.
            Err(error)
                if error.raw_os_error() == Some(115)
                    || error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let mut stream = TcpStream::from_std(std::net::TcpStream::from(socket));
        self.poll.registry().register(
            &mut stream,
            Token(slot),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let unsent = self.turns.first().map_or(0, |turn| turn.send.len());
        self.slots[slot] = Some(Round {
            stream,
            turn: 0,
            unsent,
            got: Vec::new(),
        });
        Ok(())
    }
}

impl Round {
    fn go_on(&mut self, turns: &[Turn], buffer: &mut [u8]) -> Result<Progress> {
        loop {
            if let Some(turn) = turns.get(self.turn) {
                if self.unsent > 0 {
                    match self
                        .stream
                        .write(&turn.send[turn.send.len() - self.unsent..])
                    {
                        Ok(count) => self.unsent -= count,
                        Err(error) if may_wait(&error) => return Ok(Progress::Waits),
                        Err(error) => return Err(error.into()),
                    }
                    // The answer cannot have arrived yet.
                    return Ok(Progress::Waits);
                }
            }
            let count = match self.stream.read(buffer) {
                Ok(count) => count,
                Err(error) if may_wait(&error) => return Ok(Progress::Waits),
                Err(error) => return Err(error.into()),
            };
            let Some(turn) = turns.get(self.turn) else {
                return if count == 0 {
                    Ok(Progress::Over)
                } else {
                    Err("octets after the close".into())
                };
            };
            if count == 0 {
                return Err("the server ends the connection early".into());
            }
            self.got.extend_from_slice(&buffer[..count]);
            if is_whole(&turn.expect, &self.got)? {
                self.got.clear();
                self.turn += 1;
                self.unsent = turns.get(self.turn).map_or(0, |turn| turn.send.len());
            } else if count < buffer.len() {
                return Ok(Progress::Waits);
            }
        }
    }
}

fn may_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}

/// Connections that have sent one message and are idle now.
pub(crate) fn idle(
    address: SocketAddr,
    script: &Script,
    connections: usize,
) -> Result<Vec<std::net::TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = open(address, script)?;
        echo_once(&mut stream, script)?;
        streams.push(stream);
    }
    Ok(streams)
}
