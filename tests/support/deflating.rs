//! Two ends that agreed on compression, and what one sends to the other.

use std::sync::Arc;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Conn, Event, Phase};
use heirloom::error::Violation;
use heirloom::extension::{Codecs, Compression, Level, Mode};
use heirloom::message::Kind;
use heirloom::{Config, Limits, Message, Side, Versions};

use crate::memory::Seeded;

/// One end, with what it has received and not parsed.
pub(crate) struct End {
    pub(crate) conn: Conn,
    pub(crate) pending: Vec<u8>,
    pub(crate) out: Vec<u8>,
    pub(crate) random: Seeded,
    pub(crate) codecs: Codecs,
    pub(crate) arriving: Vec<u8>,
    pub(crate) received: Vec<(Kind, Vec<u8>)>,
    pub(crate) pings: usize,
    pub(crate) violation: Option<Violation>,
    /// Octets of the room.
    pub(crate) room: usize,
    /// The longest piece.
    pub(crate) longest: usize,
}

impl End {
    pub(crate) fn new(conn: Conn, room: usize) -> End {
        End {
            conn,
            pending: Vec::new(),
            out: Vec::new(),
            random: Seeded(7),
            codecs: Codecs::default(),
            arriving: Vec::new(),
            received: Vec::new(),
            pings: 0,
            violation: None,
            room,
            longest: 0,
        }
    }

    pub(crate) fn with<R>(&mut self, act: impl FnOnce(&mut Conn, &mut Output<'_>) -> R) -> R {
        let out = Output::new(&mut self.out, &mut self.random);
        act(
            &mut self.conn,
            &mut out.with_shared_codecs(&mut self.codecs),
        )
    }

    /// Octets of the peer arrive in portions of this size.
    pub(crate) fn receive(&mut self, octets: &[u8], portion: usize) {
        for portion in octets.chunks(portion) {
            self.pending.extend_from_slice(portion);
            while self.turn() {}
        }
    }

    /// Parses what has arrived; whether more waits for room.
    pub(crate) fn turn(&mut self) -> bool {
        let mut room = vec![0; self.room];
        let mut input = Input::new(&mut self.pending).with_room(&mut room);
        let out = Output::new(&mut self.out, &mut self.random);
        let mut out = out.with_shared_codecs(&mut self.codecs);
        let mut in_turn = 0;
        loop {
            match self.conn.next(&mut input, &mut out) {
                Ok(None) => break,
                Ok(Some(Event::Request(_))) => self.conn.accept(None, &mut out).unwrap(),
                Ok(Some(Event::Ping(_))) => self.pings += 1,
                Ok(Some(Event::Piece(piece))) => {
                    in_turn += piece.octets.len();
                    self.longest = self.longest.max(piece.octets.len());
                    self.arriving.extend_from_slice(piece.octets);
                    if piece.last {
                        let message = std::mem::take(&mut self.arriving);
                        self.received.push((piece.kind, message));
                    }
                }
                Ok(Some(_)) => {}
                Err(located) => {
                    self.violation.get_or_insert(located.error);
                }
            }
        }
        let waits = self.conn.waits_for_room();
        let parsed = usize::try_from(input.position()).unwrap();
        if waits {
            let is_progress = in_turn > 0 || parsed > 0 || self.room == 0;
            assert!(is_progress, "a turn without progress");
        }
        self.pending.drain(..parsed);
        waits
    }
}

/// What one end is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) mode: Mode,
    pub(crate) threshold: usize,
    pub(crate) level: Level,
}

impl Setting {
    pub(crate) fn config(self, limit: u64) -> Arc<Config> {
        let compression = Compression::default()
            .with_mode(self.mode)
            .with_threshold(self.threshold)
            .with_level(self.level);
        let config = Config::default()
            .with_versions(Versions::ALL)
            .with_compression(compression)
            .with_limits(Limits::default().with_message_bytes(limit));
        Arc::new(config)
    }
}

/// A request whose client offers this.
pub(crate) fn request(offer: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    )
}

/// Two open ends whose client offers this; `added` is what a server may add to the
/// answer of ours.
pub(crate) fn open(
    (offer, added): (&str, &str),
    settings: [Setting; 2],
    rooms: [usize; 2],
    limit: u64,
) -> (End, End) {
    let request = request(offer);
    let [of_server, of_client] = settings.map(|setting| setting.config(limit));
    let mut server = End::new(Conn::server(of_server), rooms[0]);
    let client = Conn::client_of(request.as_bytes(), false, of_client).unwrap();
    let mut client = End::new(client, rooms[1]);
    server.receive(request.as_bytes(), 1000);
    let response = String::from_utf8(std::mem::take(&mut server.out)).unwrap();
    let (status, extensions) = response.split_once("\r\nSec-WebSocket-Ext").unwrap();
    let extensions = extensions.replacen("\r\n", &format!("{added}\r\n"), 1);
    let response = format!("{status}\r\nSec-WebSocket-Ext{extensions}");
    client.receive(response.as_bytes(), 1000);
    assert_eq!(client.violation, None, "{response}");
    for end in [&server, &client] {
        assert_eq!(end.conn.phase(), Phase::Open, "{response}");
        assert!(end.conn.compression().is_some(), "{response}");
    }
    (server, client)
}

/// The key of frames that a client has masked.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame for this side.
pub(crate) fn frame(to: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = if to == Side::Server { 0x80 } else { 0 };
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(n) if n < 126 => frame.push(masked | n as u8),
        Ok(n) => {
            frame.push(masked | 126);
            frame.extend(n.to_be_bytes());
        }
        Err(_) => {
            frame.push(masked | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    match to {
        Side::Client => frame.extend_from_slice(payload),
        Side::Server => {
            frame.extend(KEY);
            frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
        }
    }
    frame
}

/// A message, deflated on its own.
pub(crate) fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut deflater = Codecs::default().deflater(Level::Best, 15);
    deflater.message(payload, &mut out);
    out
}

/// Something that one end sends.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Whole(Kind, Vec<u8>),
    /// In pieces of this many octets, and a last one of none, with pings between.
    Pieces(Kind, Vec<u8>, usize),
    Ping,
}

/// Sends it, and adds it to what was sent.
pub(crate) fn send(end: &mut End, act: &Act, sent: &mut Vec<(Kind, Vec<u8>)>, pings: &mut usize) {
    let message = |kind, octets: &[u8]| (kind, octets.to_vec());
    match act {
        Act::Ping => {
            end.with(|conn, out| conn.ping(b"?", out)).unwrap();
            *pings += 1;
        }
        Act::Whole(kind, octets) => {
            let message_to_send = match kind {
                Kind::Text => Message::text(std::str::from_utf8(octets).unwrap()),
                Kind::Binary => Message::binary(octets),
            };
            end.with(|conn, out| conn.send(message_to_send, out))
                .unwrap();
            sent.push(message(*kind, octets));
        }
        Act::Pieces(kind, octets, n) => {
            let pieces: Vec<&[u8]> = octets.chunks(*n).chain([&[][..]]).collect();
            for (i, piece) in pieces.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == pieces.len());
                end.with(|conn, out| conn.send_piece(*kind, piece, first, last, out))
                    .unwrap();
                if !last {
                    end.with(|conn, out| conn.ping(b"!", out)).unwrap();
                    *pings += 1;
                }
            }
            sent.push(message(*kind, octets));
        }
    }
}
