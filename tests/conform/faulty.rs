//! A small server and client of RFC 6455 that echo, with a switch for each fault
//! that a case is to find.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use heirloom::extension::{Codecs, Coding, Compression, Deflate, Deflater, Inflater, Level, Mode};
use heirloom::{Side, Version};

/// What a peer does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Reserved bits mean nothing to it.
    IgnoresRsv,
    /// Frames of reserved opcodes are skipped.
    SkipsReservedOpcodes,
    /// Frames that break a rule are skipped.
    SkipsBadFrames,
    /// A control frame may be in fragments.
    TakesFragmentedControl,
    /// A control frame may be long.
    TakesLongControl,
    /// A continuation that continues nothing is skipped.
    SkipsLoneContinuation,
    /// A message may start inside another.
    TakesInterruption,
    /// The payload of a pong is another one.
    WrongPong,
    /// Pings are not answered.
    NoPong,
    /// Pongs are answered.
    AnswersPongs,
    /// A ping is answered when the message around it has ended.
    LatePong,
    /// Pings are answered the last one first.
    SwapsPongs,
    /// A text comes back as a binary message and the other way round.
    WrongKind,
    /// Messages are cut after so many octets.
    Truncates(usize),
    /// One octet in the middle is another one.
    CorruptsOctet,
    /// Payload of continuations is lost.
    DropsContinuations,
    /// Messages come twice.
    Repeats,
    /// Empty messages are not echoed.
    DropsEmpty,
    /// Texts are not checked.
    NoUtf8,
    /// Texts are checked when they have ended.
    LateUtf8,
    /// Texts are checked when a frame has ended.
    FrameUtf8,
    /// Each frame of a text must be UTF-8 by itself.
    StrictFrameUtf8,
    /// Closes are not checked, and replied to with 1000.
    TakesAnyClose,
    /// Close codes are not checked, and repeated.
    TakesAnyCode,
    /// A code that may be sent is refused.
    RefusesCode(u16),
    /// The reply to a close has another code.
    WrongCode,
    /// A close is not replied to: TCP ends.
    NoReply,
    /// Nothing happens on a close.
    IgnoresClose,
    /// A server does not end TCP.
    KeepsTcp,
    /// Frames behind a close are answered.
    AnswersBehindClose,
    /// It masks what it must not, or does not mask what it must.
    WrongMask,
    /// A server sets RSV1 of each message, and has agreed on nothing.
    SetsRsv,
    /// The length of a short message has two octets.
    LongLength,
    /// The proof of the handshake is wrong.
    WrongAccept,
    /// Compression is agreed on that was not offered.
    UnaskedCompression,
    /// Each message is inflated anew.
    ForgetsContext,
    /// Each frame of a compressed message is inflated anew.
    InflatesFrames,
    /// The agreed window is exceeded.
    ExceedsWindow,
    /// A compressed message is not marked.
    NoRsvOnCompressed,
    /// Any answer to the handshake is taken.
    TakesAnyResponse,
    /// Any request is taken.
    TakesAnyRequest,
    /// No request, or no response, is taken.
    RefusesAll,
    /// A server ends with its first connection.
    Dies,
    /// A length may have its top bit, and need not be in the shortest form.
    TakesAnyLength,
    /// Frames may be masked or not.
    TakesAnyMask,
    /// What cannot be inflated is nothing.
    TakesBadDeflate,
    /// A server agrees to compression, and to nothing that the offer demands.
    AnswersBare,
}

/// How long a peer waits for octets.
const PATIENCE: Duration = Duration::from_secs(8);
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// One end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    side: Side,
    fault: Fault,
    buffer: Vec<u8>,
    codecs: Codecs,
    deflate: Option<Deflate>,
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
    close_sent: bool,
    late_pongs: Vec<Vec<u8>>,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    rsv: u8,
    opcode: u8,
    length: u64,
    key: Option<[u8; 4]>,
    /// Whether the length is in its shortest form, and has no top bit.
    length_is_right: bool,
}

/// A message that arrives.
struct Arriving {
    opcode: u8,
    compressed: bool,
    octets: Vec<u8>,
    utf8: Utf8,
}

/// Checks UTF-8 as it arrives.
#[derive(Default)]
struct Utf8 {
    tail: Vec<u8>,
}

impl Utf8 {
    fn feed(&mut self, octets: &[u8]) -> bool {
        self.tail.extend_from_slice(octets);
        match std::str::from_utf8(&self.tail) {
            Ok(_) => self.tail.clear(),
            Err(error) if error.error_len().is_none() => {
                // What is cut must still be able to become a character.
                self.tail.drain(..error.valid_up_to());
            }
            Err(_) => return false,
        }
        true
    }

    fn is_complete(&self) -> bool {
        self.tail.is_empty()
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

impl Peer {
    fn new(stream: TcpStream, side: Side, fault: Fault) -> io::Result<Peer> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Peer {
            stream,
            side,
            fault,
            buffer: Vec::new(),
            codecs: Codecs::default(),
            deflate: None,
            inflater: None,
            deflater: None,
            close_sent: false,
            late_pongs: Vec::new(),
        })
    }

    /// Serves one connection.
    pub(crate) fn serve(stream: TcpStream, fault: Fault) -> io::Result<()> {
        let mut peer = Peer::new(stream, Side::Server, fault)?;
        peer.answer()?;
        peer.converse()
    }

    /// Asks for an upgrade, and echoes.
    pub(crate) fn connect(stream: TcpStream, fault: Fault) -> io::Result<()> {
        Peer::connect_to(stream, "/", fault)
    }

    /// The same with this path and query.
    pub(crate) fn connect_to(stream: TcpStream, target: &str, fault: Fault) -> io::Result<()> {
        let mut peer = Peer::new(stream, Side::Client, fault)?;
        peer.ask(target)?;
        peer.converse()
    }

    // The opening handshake.

    fn head(&mut self) -> io::Result<String> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            self.receive()?;
        }
    }

    fn answer(&mut self) -> io::Result<()> {
        let head = self.head()?;
        let key = header(&head, "Sec-WebSocket-Key").unwrap_or_default();
        let is_right = head.starts_with("GET ")
            && head
                .lines()
                .next()
                .is_some_and(|line| line.ends_with("HTTP/1.1"))
            && head
                .lines()
                .skip(1)
                .all(|line| line.is_empty() || names_a_header(line))
            && has(&head, "Upgrade", "websocket")
            && has(&head, "Connection", "upgrade")
            && header(&head, "Host").is_some()
            && STANDARD.decode(&key).is_ok_and(|key| key.len() == 16)
            && header(&head, "Sec-WebSocket-Version").as_deref() == Some("13");
        let is_right = is_right && self.fault != Fault::RefusesAll;
        if !is_right && self.fault != Fault::TakesAnyRequest {
            let refusal = "HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n\
                           Connection: close\r\nContent-Length: 0\r\n\r\n";
            let status = match header(&head, "Sec-WebSocket-Version").as_deref() {
                Some("13") | None => "400 Bad Request",
                Some(_) => "426 Upgrade Required",
            };
            let refusal = refusal.replace("400 Bad Request", status);
            self.stream.write_all(refusal.as_bytes())?;
            self.stream.shutdown(Shutdown::Write)?;
            return Err(broken("the request"));
        }
        let mut accept = accept_of(&key);
        if self.fault == Fault::WrongAccept {
            accept = accept_of("another key");
        }
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        );
        let offers = header(&head, "Sec-WebSocket-Extensions").unwrap_or_default();
        let compression = Compression::default().with_mode(Mode::PerConnection);
        let answer =
            heirloom::extension::answer([offers.as_bytes()], rfc6455(), &compression, None);
        if let Some(answer) = &answer {
            self.deflate = Some(answer.deflate);
        }
        if answer.is_some() && self.fault == Fault::AnswersBare {
            response.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        } else if let Some(answer) = answer {
            response.push_str(&format!("Sec-WebSocket-Extensions: {answer}\r\n"));
        } else if self.fault == Fault::UnaskedCompression {
            response.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        response.push_str("\r\n");
        self.stream.write_all(response.as_bytes())
    }

    fn ask(&mut self, target: &str) -> io::Result<()> {
        let offer = "permessage-deflate; client_max_window_bits";
        let key = STANDARD.encode([7; 16]);
        let host = self.stream.peer_addr()?;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        let head = self.head()?;
        let status = head.lines().next().unwrap_or_default();
        let answered = header(&head, "Sec-WebSocket-Extensions").unwrap_or_default();
        let agreed =
            heirloom::extension::check_answer(rfc6455(), [offer.as_bytes()], [answered.as_bytes()]);
        let is_right = status.starts_with("HTTP/1.1 101")
            && has(&head, "Upgrade", "websocket")
            && has(&head, "Connection", "upgrade")
            && header(&head, "Sec-WebSocket-Accept") == Some(accept_of(&key))
            && header(&head, "Sec-WebSocket-Protocol").is_none()
            && agreed.is_ok();
        let is_right = is_right && self.fault != Fault::RefusesAll;
        if !is_right && self.fault != Fault::TakesAnyResponse {
            return Err(broken("the response"));
        }
        self.deflate = agreed.ok().flatten();
        Ok(())
    }

    // Octets.

    fn receive(&mut self) -> io::Result<()> {
        let mut octets = [0; 16 * 1024];
        let n = self.stream.read(&mut octets)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&octets[..n]);
        Ok(())
    }

    fn octets(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            self.receive()?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    fn header(&mut self) -> io::Result<Header> {
        let start = self.octets(2)?;
        let (first, second) = (start[0], start[1]);
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.octets(2)?.try_into().unwrap())),
            127 => u64::from_be_bytes(self.octets(8)?.try_into().unwrap()),
            short => u64::from(short),
        };
        let key = match second & 0x80 {
            0 => None,
            _ => Some(self.octets(4)?.try_into().unwrap()),
        };
        let length_is_right = match second & 0x7f {
            126 => length > 125,
            127 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        Ok(Header {
            length_is_right,
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 15,
            length,
            key,
        })
    }

    fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let masks = (self.side == Side::Client) != (self.fault == Fault::WrongMask);
        let mask = if masks { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..=125 if self.fault == Fault::LongLength && first & 8 == 0 => {
                frame.extend([mask | 126, 0, n as u8]);
            }
            n @ 0..=125 => frame.push(mask | n as u8),
            n @ 126..=0xffff => {
                frame.push(mask | 126);
                frame.extend((n as u16).to_be_bytes());
            }
            n => {
                frame.push(mask | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        let key = [1, 2, 3, 4];
        if masks {
            frame.extend(key);
        }
        let start = frame.len();
        frame.extend(payload);
        if masks {
            unmask(&mut frame[start..], key, 0);
        }
        self.stream.write_all(&frame)
    }

    // Frames and messages.

    fn converse(&mut self) -> io::Result<()> {
        let mut message: Option<Arriving> = None;
        let mut control_goes_on = false;
        loop {
            let header = self.header()?;
            if self.skips(&header, message.is_some(), &mut control_goes_on)? {
                self.octets(usize::try_from(header.length).unwrap())?;
                continue;
            }
            if header.opcode >= 8 {
                let mut payload = self.octets(usize::try_from(header.length).unwrap())?;
                unmask(&mut payload, header.key.unwrap_or_default(), 0);
                control_goes_on = !header.fin;
                self.control(header.opcode, &payload)?;
                continue;
            }
            if header.opcode != 0 {
                message = Some(Arriving {
                    opcode: header.opcode,
                    compressed: header.rsv & 4 != 0 && self.deflate.is_some(),
                    octets: Vec::new(),
                    utf8: Utf8::default(),
                });
            }
            let mut at_hand = message.take().expect("a message was started");
            self.payload(&header, &mut at_hand)?;
            if header.fin {
                self.message(at_hand)?;
            } else {
                message = Some(at_hand);
            }
        }
    }

    /// Whether a frame is skipped. One that breaks a rule fails the connection.
    fn skips(
        &mut self,
        header: &Header,
        inside: bool,
        control_goes_on: &mut bool,
    ) -> io::Result<bool> {
        let is_control = header.opcode >= 8;
        let may_be_compressed = self.deflate.is_some() && (1..=2).contains(&header.opcode);
        let rsv_is_right = header.rsv == 0 || header.rsv == 4 && may_be_compressed;
        let is_known = matches!(header.opcode, 0..=2 | 8..=10);
        if !is_known && self.fault == Fault::SkipsReservedOpcodes {
            return Ok(true);
        }
        let continues_nothing = header.opcode == 0 && !inside;
        let of_control = continues_nothing && std::mem::take(control_goes_on);
        if of_control || continues_nothing && self.fault == Fault::SkipsLoneContinuation {
            return Ok(true);
        }
        let is_right = (rsv_is_right || self.fault == Fault::IgnoresRsv)
            && is_known
            && (!is_control || header.fin || self.fault == Fault::TakesFragmentedControl)
            && (!is_control || header.length <= 125 || self.fault == Fault::TakesLongControl)
            && (header.length_is_right || self.fault == Fault::TakesAnyLength)
            && (header.key.is_some() == (self.side == Side::Server)
                || self.fault == Fault::TakesAnyMask)
            && (is_control || header.opcode != 0 || inside)
            && (is_control
                || header.opcode == 0
                || !inside
                || self.fault == Fault::TakesInterruption);
        if !is_right && self.fault != Fault::SkipsBadFrames {
            return Err(self.fail(1002));
        }
        Ok(!is_right)
    }

    /// Reads the payload of a data frame as it arrives.
    fn payload(&mut self, header: &Header, message: &mut Arriving) -> io::Result<()> {
        let mut left = header.length;
        let mut frame = Vec::new();
        let key = header.key.unwrap_or_default();
        while left > 0 {
            if self.buffer.is_empty() {
                self.receive()?;
            }
            let n = self.buffer.len().min(usize::try_from(left).unwrap());
            let mut octets: Vec<u8> = self.buffer.drain(..n).collect();
            unmask(&mut octets, key, frame.len());
            frame.extend_from_slice(&octets);
            left -= n as u64;
            let is_text = message.opcode == 1 && !message.compressed;
            if is_text && self.checks_at_once() && !message.utf8.feed(&octets) {
                return Err(self.fail(1007));
            }
        }
        if message.opcode == 1 && !message.compressed {
            let is_wrong = match self.fault {
                Fault::FrameUtf8 => !message.utf8.feed(&frame),
                Fault::StrictFrameUtf8 => std::str::from_utf8(&frame).is_err(),
                _ => false,
            };
            if is_wrong {
                return Err(self.fail(1007));
            }
        }
        if message.compressed {
            frame = self.inflate(&frame, header.fin)?;
        }
        if header.opcode != 0 || self.fault != Fault::DropsContinuations {
            message.octets.extend(frame);
        }
        Ok(())
    }

    fn checks_at_once(&self) -> bool {
        !matches!(
            self.fault,
            Fault::NoUtf8 | Fault::LateUtf8 | Fault::FrameUtf8 | Fault::StrictFrameUtf8
        )
    }

    fn coding(&self, sender: Side) -> Coding {
        self.deflate.map(|d| d.of(sender)).unwrap_or_default()
    }

    fn inflate(&mut self, octets: &[u8], ends: bool) -> io::Result<Vec<u8>> {
        let coding = self.coding(self.side.peer());
        let mut inflater = self
            .inflater
            .take()
            .unwrap_or_else(|| self.codecs.inflater());
        let mut room = vec![0; 64 * 1024];
        let (mut inflated, mut rest) = (Vec::new(), octets);
        let ends_here = ends || self.fault == Fault::InflatesFrames;
        let result = loop {
            let Ok(step) = inflater.inflate(rest, &mut room) else {
                break Err(());
            };
            inflated.extend_from_slice(&room[..step.written]);
            rest = &rest[step.consumed..];
            if rest.is_empty() && !step.room_is_full {
                break Ok(());
            }
        };
        let mut is_corrupt = result.is_err();
        while ends_here && !is_corrupt {
            match inflater.finish(&mut room) {
                Ok(finished) => {
                    inflated.extend_from_slice(&room[..finished.written]);
                    if finished.is_finished {
                        break;
                    }
                }
                Err(_) => is_corrupt = true,
            }
        }
        if is_corrupt && self.fault == Fault::TakesBadDeflate {
            return Ok(Vec::new());
        }
        if is_corrupt {
            return Err(self.fail(1007));
        }
        let forgets = coding.no_context_takeover || self.fault == Fault::ForgetsContext;
        if ends && forgets || self.fault == Fault::InflatesFrames {
            inflater.reset();
        }
        self.inflater = Some(inflater);
        Ok(inflated)
    }

    /// A whole message has arrived: it is echoed.
    fn message(&mut self, message: Arriving) -> io::Result<()> {
        let Arriving {
            opcode,
            mut octets,
            compressed,
            utf8,
        } = message;
        let is_right = match self.fault {
            Fault::NoUtf8 | Fault::StrictFrameUtf8 => true,
            _ if compressed => std::str::from_utf8(&octets).is_ok(),
            Fault::LateUtf8 => std::str::from_utf8(&octets).is_ok(),
            _ => utf8.is_complete(),
        };
        if opcode == 1 && !is_right {
            return Err(self.fail(1007));
        }
        match self.fault {
            Fault::Truncates(n) => octets.truncate(n),
            Fault::CorruptsOctet => {
                let middle = octets.len() / 2;
                if let Some(octet) = octets.get_mut(middle) {
                    *octet ^= 1;
                }
            }
            Fault::DropsEmpty if octets.is_empty() => return Ok(()),
            _ => {}
        }
        let opcode = match self.fault {
            Fault::WrongKind => 3 - opcode,
            _ => opcode,
        };
        let times = if self.fault == Fault::Repeats { 2 } else { 1 };
        for _ in 0..times {
            self.echo(opcode, &octets)?;
        }
        for pong in std::mem::take(&mut self.late_pongs) {
            self.send(0x8a, &pong)?;
        }
        Ok(())
    }

    fn echo(&mut self, opcode: u8, octets: &[u8]) -> io::Result<()> {
        let coding = self.coding(self.side);
        if self.deflate.is_none() || !coding.can_be_kept() {
            let rsv = if self.fault == Fault::SetsRsv {
                0x40
            } else {
                0
            };
            return self.send(0x80 | rsv | opcode, octets);
        }
        let bits = match self.fault {
            Fault::ExceedsWindow => 15,
            _ => coding.max_window_bits,
        };
        let mut deflater = self
            .deflater
            .take()
            .unwrap_or_else(|| self.codecs.deflater(Level::Best, bits));
        let mut deflated = Vec::new();
        deflater.message(octets, &mut deflated);
        if coding.no_context_takeover {
            deflater.reset();
        }
        self.deflater = Some(deflater);
        let rsv = match self.fault {
            Fault::NoRsvOnCompressed => 0,
            _ => 0x40,
        };
        self.send(0x80 | rsv | opcode, &deflated)
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        match (opcode, self.fault) {
            (9, Fault::NoPong) => Ok(()),
            (9, Fault::WrongPong) => self.send(0x8a, b"another one"),
            (9, Fault::LatePong) => {
                self.late_pongs.push(payload.to_vec());
                Ok(())
            }
            (9, Fault::SwapsPongs) => {
                self.late_pongs.insert(0, payload.to_vec());
                if self.late_pongs.len() == 2 {
                    for pong in std::mem::take(&mut self.late_pongs) {
                        self.send(0x8a, &pong)?;
                    }
                }
                Ok(())
            }
            (9, _) => self.send(0x8a, payload),
            (10, Fault::AnswersPongs) => self.send(0x8a, payload),
            (8, _) => self.close(payload),
            _ => Ok(()),
        }
    }

    // The closing handshake.

    /// Fails the connection: sends a close and reads to the end of TCP.
    fn fail(&mut self, code: u16) -> io::Error {
        let sent = self.send(0x88, &code.to_be_bytes());
        sent.and_then(|()| self.drain())
            .err()
            .unwrap_or_else(|| broken("failed"))
    }

    /// Ends TCP, where this end is to, and reads to the peer's end of it.
    fn drain(&mut self) -> io::Result<()> {
        if self.side == Side::Server && self.fault != Fault::KeepsTcp {
            self.stream.shutdown(Shutdown::Write)?;
        }
        while self.receive().is_ok() {
            self.buffer.clear();
        }
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> io::Result<()> {
        let code = body.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = body.get(2..).unwrap_or_default();
        let code_is_right = match (code, self.fault) {
            (_, Fault::TakesAnyClose | Fault::TakesAnyCode) => true,
            (Some(code), Fault::RefusesCode(refused)) if code == refused => false,
            (None, _) => body.is_empty(),
            (Some(code), _) => {
                matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
            }
        };
        if !code_is_right {
            return Err(self.fail(1002));
        }
        let takes_any = matches!(self.fault, Fault::TakesAnyClose | Fault::NoUtf8);
        if std::str::from_utf8(reason).is_err() && !takes_any {
            return Err(self.fail(1007));
        }
        match self.fault {
            Fault::NoReply => {}
            Fault::IgnoresClose => return Ok(()),
            Fault::WrongCode => self.send(0x88, &1003_u16.to_be_bytes())?,
            Fault::TakesAnyClose => self.send(0x88, &1000_u16.to_be_bytes())?,
            Fault::AnswersBehindClose => {
                if self.close_sent {
                    return Ok(());
                }
                self.close_sent = true;
                self.send(0x88, body.get(..2).unwrap_or_default())?;
                // What was sent behind the close has arrived, or will.
                self.stream
                    .set_read_timeout(Some(Duration::from_millis(200)))?;
                return Ok(());
            }
            _ => self.send(0x88, body.get(..2).unwrap_or_default())?,
        }
        self.drain()?;
        Err(broken("closed"))
    }
}

/// Accepts the upgrade, and leaves the rest to the caller.
pub(crate) fn upgrade(stream: &mut TcpStream) -> io::Result<()> {
    let mut peer = Peer::new(stream.try_clone()?, Side::Server, Fault::None)?;
    peer.answer()
}

fn rfc6455() -> &'static Version {
    Version::named("rfc6455").unwrap()
}

fn accept_of(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    STANDARD.encode(sha1.finalize())
}

/// Whether this line of a head is a name and its value.
fn names_a_header(line: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && !name.contains(' '))
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let values: Vec<&str> = lines
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn has(head: &str, name: &str, token: &str) -> bool {
    let value = header(head, name).unwrap_or_default();
    let mut tokens = value.split(',');
    tokens.any(|t| t.trim().eq_ignore_ascii_case(token))
}

fn unmask(octets: &mut [u8], key: [u8; 4], at: usize) {
    for (i, octet) in octets.iter_mut().enumerate() {
        *octet ^= key[(at + i) % 4];
    }
}
