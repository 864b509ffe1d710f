//! A client of permessage-deflate. Its messages were compressed beforehand, each on its own, so that it costs little.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(20);
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Text, in one frame, compressed.
const COMPRESSED: u8 = 0xc1;
/// Text, in one frame, as it is.
const PLAIN: u8 = 0x81;

/// What is asked of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Nothing,
    /// Each message is compressed on its own.
    OwnContexts,
    /// A message may refer to those before it.
    Takeover,
}

impl Offer {
    fn request(self) -> String {
        let offer = match self {
            Offer::Nothing => "",
            Offer::OwnContexts => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover\r\n"
            }
            Offer::Takeover => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        };
        format!(
            "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
        )
    }
}

/// Messages, and the batches of frames that send them.
pub(crate) struct Load {
    messages: Vec<Vec<u8>>,
    batches: Vec<Vec<u8>>,
    in_flight: usize,
    offer: Offer,
}

impl Load {
    pub(crate) fn new(messages: Vec<Vec<u8>>, in_flight: usize, offer: Offer) -> Result<Load> {
        let config = DeflateConfig {
            window_bits: -15,
            ..DeflateConfig::default()
        };
        let mut deflate = Deflate::new_with_config(config);
        let mut frames = Vec::new();
        for message in &messages {
            frames.push(frame(&mut deflate, message, offer)?);
        }
        let batches = frames.chunks(in_flight).map(<[_]>::concat).collect();
        Ok(Load {
            messages,
            batches,
            in_flight,
            offer,
        })
    }
}

/// A frame as a client sends it.
fn frame(deflate: &mut Deflate, message: &[u8], offer: Offer) -> Result<Vec<u8>> {
    let (first, payload) = if offer == Offer::Nothing {
        (PLAIN, message.to_vec())
    } else {
        let mut out = vec![0; message.len() + message.len() / 8 + 64];
        let done = deflate.compress(message, &mut out, DeflateFlush::SyncFlush);
        done.map_err(|error| format!("a message does not deflate: {error:?}"))?;
        out.truncate(usize::try_from(deflate.total_out())?.saturating_sub(4));
        deflate.reset();
        (COMPRESSED, out)
    };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length)?),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length)?.to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(length)?.to_be_bytes());
        }
    }
    frame.extend(MASK);
    let masks = MASK.iter().cycle();
    frame.extend(payload.iter().zip(masks).map(|(octet, key)| octet ^ key));
    Ok(frame)
}

/// Connects and upgrades. The answer must agree to what is offered.
fn open(address: SocketAddr, offer: Offer) -> Result<std::net::TcpStream> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(offer.request().as_bytes())?;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err("the server ends the connection early".into()),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    let head = String::from_utf8(head)?.to_ascii_lowercase();
    let agrees = match offer {
        Offer::Nothing => true,
        Offer::OwnContexts => head.contains("server_no_context_takeover"),
        Offer::Takeover => {
            head.contains("permessage-deflate") && !head.contains("server_no_context_takeover")
        }
    };
    if head.starts_with("http/1.1 101 ") && agrees {
        Ok(stream)
    } else {
        Err(format!("not what was offered: {}", head.escape_debug()).into())
    }
}

/// Reads the frames of a server, in whatever portions they arrive.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    /// Octets of payload that are still to come.
    rest: usize,
    /// The payload so far, where it is compared.
    payload: Vec<u8>,
}

impl Frames {
    /// Counts messages and their octets on the wire.
    fn read(
        &mut self,
        mut octets: &[u8],
        mut check: Option<&mut Check<'_>>,
        done: &mut Done,
    ) -> Result<()> {
        loop {
            if self.rest > 0 {
                let here = self.rest.min(octets.len());
                let (payload, after) = octets.split_at(here);
                octets = after;
                self.rest -= here;
                if check.is_some() {
                    self.payload.extend_from_slice(payload);
                }
                if self.rest > 0 {
                    return Ok(());
                }
                self.end(check.as_deref_mut(), done)?;
            }
            let Some((first, after)) = octets.split_first() else {
                return Ok(());
            };
            octets = after;
            self.head.push(*first);
            let length = match self.head.get(1) {
                None => continue,
                Some(126) => 4,
                Some(127) => 10,
                Some(_) => 2,
            };
            if self.head.len() < length {
                continue;
            }
            self.rest = match length {
                4 => usize::from(u16::from_be_bytes(self.head[2..].try_into()?)),
                10 => usize::try_from(u64::from_be_bytes(self.head[2..].try_into()?))?,
                _ => usize::from(self.head[1]),
            };
            done.octets += self.rest as u64;
            if self.rest == 0 {
                self.end(check.as_deref_mut(), done)?;
            }
        }
    }

    /// The payload of a frame was read.
    fn end(&mut self, check: Option<&mut Check<'_>>, done: &mut Done) -> Result<()> {
        let first = self.head[0];
        if first & 0x0f > 2 {
            return Err(format!("not a frame of a message: {first:02x}").into());
        }
        if let Some(check) = check {
            check.frame(first, &self.payload)?;
        }
        self.payload.clear();
        self.head.clear();
        done.messages += u64::from(first >> 7);
        Ok(())
    }
}

/// Inflates what comes back, and compares it.
struct Check<'l> {
    load: &'l Load,
    inflate: Box<Inflate>,
    message: usize,
    inflated: Vec<u8>,
    is_compressed: bool,
}

impl<'l> Check<'l> {
    fn new(load: &'l Load) -> Check<'l> {
        Check {
            load,
            inflate: Box::new(Inflate::new(false, 15)),
            message: 0,
            inflated: Vec::new(),
            is_compressed: false,
        }
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Result<()> {
        if first & 0x0f != 0 {
            self.is_compressed = first & 0x40 != 0;
        }
        let is_last = first & 0x80 != 0;
        if self.is_compressed {
            self.inflate(payload)?;
            if is_last {
                self.inflate(&[0, 0, 0xff, 0xff])?;
            }
        } else {
            self.inflated.extend_from_slice(payload);
        }
        if is_last {
            let messages = &self.load.messages;
            if self.inflated != messages[self.message % messages.len()] {
                return Err("what comes back is not what was sent".into());
            }
            self.message += 1;
            self.inflated.clear();
            if self.load.offer == Offer::OwnContexts {
                self.inflate.reset(false);
            }
        }
        Ok(())
    }

    fn inflate(&mut self, mut octets: &[u8]) -> Result<()> {
        let mut room = vec![0; 64 * 1024];
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let done = self
                .inflate
                .decompress(octets, &mut room, InflateFlush::NoFlush);
            let read = usize::try_from(self.inflate.total_in() - read)?;
            let written = usize::try_from(self.inflate.total_out() - written)?;
            self.inflated.extend_from_slice(&room[..written]);
            octets = &octets[read..];
            if written < room.len() {
                // Without input and output there is nothing to do, which is an error to zlib.
                return match done {
                    Err(error) if !octets.is_empty() => {
                        Err(format!("what comes back does not inflate: {error:?}").into())
                    }
                    _ => Ok(()),
                };
            }
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) messages: u64,
    /// Octets of their payloads, as they were sent.
    pub(crate) octets: u64,
    pub(crate) wall: Duration,
}

struct Sender {
    stream: TcpStream,
    batch: usize,
    /// Octets of the batch that are not written yet.
    unsent: usize,
    /// Messages that have not come back yet.
    due: usize,
    frames: Frames,
}

/// Open connections, each with some messages in flight. One write sends them all; the next follows when all have come
/// back.
pub(crate) struct Deflated {
    poll: Poll,
    events: Events,
    senders: Vec<Sender>,
    load: Load,
    buffer: Vec<u8>,
}

impl Deflated {
    pub(crate) fn open(address: SocketAddr, load: Load, connections: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut senders = Vec::new();
        for index in 0..connections {
            let stream = open(address, load.offer)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(index), interest)?;
            senders.push(Sender {
                stream,
                batch: 0,
                unsent: 0,
                due: 0,
                frames: Frames::default(),
            });
        }
        let mut deflated = Deflated {
            poll,
            events: Events::with_capacity(1024),
            senders,
            load,
            buffer: vec![0; 256 * 1024],
        };
        deflated.run(Duration::ZERO, true)?;
        // Every connection starts elsewhere.
        for (index, sender) in deflated.senders.iter_mut().enumerate() {
            sender.batch += index;
        }
        Ok(deflated)
    }

    /// Sends for this time and then waits for every answer: at least one batch on each connection.
    pub(crate) fn run(&mut self, time: Duration, compares: bool) -> Result<Done> {
        let start = Instant::now();
        let (end, give_up) = (start + time, start + time + PATIENCE);
        let mut done = Done::default();
        let mut busy = self.senders.len();
        let Deflated { load, buffer, .. } = self;
        let mut checks: Vec<Check<'_>> = Vec::new();
        if compares {
            checks.extend(self.senders.iter().map(|_| Check::new(load)));
        }
        for sender in &mut self.senders {
            sender.start(load)?;
        }
        while busy > 0 {
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = Instant::now();
            for event in &self.events {
                let Token(index) = event.token();
                let sender = &mut self.senders[index];
                if sender.due == 0 && !event.is_read_closed() {
                    continue;
                }
                sender.receive(buffer, checks.get_mut(index), &mut done)?;
                sender.send(load)?;
                if sender.due == 0 {
                    if now < end {
                        sender.start(load)?;
                    } else {
                        busy -= 1;
                    }
                }
            }
            if now > give_up {
                return Err(format!("{busy} connections still wait for their answers").into());
            }
        }
        done.wall = start.elapsed();
        Ok(done)
    }
}

impl Sender {
    fn start(&mut self, load: &Load) -> Result<()> {
        self.batch += 1;
        self.unsent = self.batch(load).len();
        self.due = load.in_flight;
        self.send(load)
    }

    /// The batch before the next one: the first is the first.
    fn batch<'l>(&self, load: &'l Load) -> &'l [u8] {
        &load.batches[(self.batch - 1) % load.batches.len()]
    }

    fn send(&mut self, load: &Load) -> Result<()> {
        let batch = self.batch(load);
        while self.unsent > 0 {
            match self.stream.write(&batch[batch.len() - self.unsent..]) {
                Ok(count) => self.unsent -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        buffer: &mut [u8],
        mut check: Option<&mut Check<'_>>,
        done: &mut Done,
    ) -> Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("the server ends a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let before = done.messages;
            self.frames
                .read(&buffer[..count], check.as_deref_mut(), done)?;
            let came = usize::try_from(done.messages - before)?;
            let due = self.due.checked_sub(came);
            self.due = due.ok_or("more comes back than was sent")?;
            if count < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// Connections that have echoed one message and are idle now.
pub(crate) fn idle(address: SocketAddr, load: &Load, count: usize) -> Result<Vec<impl Sized>> {
    let mut streams = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..count {
        let mut stream = open(address, load.offer)?;
        stream.write_all(&load.batches[0])?;
        let (mut frames, mut done) = (Frames::default(), Done::default());
        while done.messages < load.in_flight as u64 {
            match stream.read(&mut buffer)? {
                0 => return Err("the server ends a connection".into()),
                count => frames.read(&buffer[..count], None, &mut done)?,
            }
        }
        streams.push(stream);
    }
    Ok(streams)
}
