//! Compression through the gateway: each side agrees by itself, and what one
//! sends arrives at the other, however each of them compresses.

mod agreed;
mod base64;
mod held;
mod limits;
mod mixed;
mod texts;
mod threshold;

use std::thread;

use heirloom::Version;
use heirloom::extension::{Codecs, Compression, Deflater, Inflater, Level, Mode};
use heirloom::net::{Backend as To, Binary, OffersCompression};

use crate::gate::{Gate, HIXIE_76, Set, gate_with, request_with};
use crate::support::backend::{Backend, Served, clear};
use crate::support::peer::{BINARY, CLOSE, PING, PONG, Peer, RFC, TEXT, frame};

/// RSV1, which marks what is compressed.
const COMPRESSED: u8 = 0x40;

/// The value that asks for no context, and the one that agrees to none.
const NO_CONTEXT: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The header in which compression is offered and answered.
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// What one side of the bridge agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreed {
    Nothing,
    /// Each message on its own.
    Alone,
    /// A message may refer to those before it.
    Contexts,
}

use Agreed::{Alone, Contexts, Nothing};

impl Agreed {
    const ALL: [Agreed; 3] = [Nothing, Alone, Contexts];

    /// What a client offers, or a server answers, to agree to this.
    fn value(self) -> Option<&'static str> {
        match self {
            Nothing => None,
            Alone => Some(NO_CONTEXT),
            Contexts => Some("permessage-deflate"),
        }
    }
}

/// A peer that sends and receives frames: the first octet, and the payload.
trait Frames: Send {
    fn write(&mut self, first: u8, payload: &[u8]);
    fn read(&mut self) -> (u8, Vec<u8>);
}

impl Frames for Peer {
    fn write(&mut self, first: u8, payload: &[u8]) {
        self.send(&frame(first, payload));
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        self.frame()
    }
}

impl Frames for Served {
    fn write(&mut self, first: u8, payload: &[u8]) {
        self.send(&clear(first, payload));
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        self.masked_frame()
    }
}

/// What was received of one message.
#[derive(Debug)]
struct Received {
    /// The first octet of the first frame, without FIN.
    first: u8,
    /// The payload of its frames, as it was on the wire.
    frames: Vec<Vec<u8>>,
    payload: Vec<u8>,
    /// Control frames that came before its end.
    controls: Vec<(u8, Vec<u8>)>,
}

/// A peer that compresses as it has agreed.
struct End<P> {
    peer: P,
    agreed: Agreed,
    deflater: Box<Deflater>,
    inflater: Box<Inflater>,
}

impl<P: Frames> End<P> {
    fn new(peer: P, agreed: Agreed) -> End<P> {
        let mut codecs = Codecs::default();
        End {
            peer,
            agreed,
            deflater: codecs.deflater(Level::Best, 15),
            inflater: codecs.inflater(),
        }
    }

    /// Sends a message in frames of these payloads, with a ping after each but the
    /// last.
    fn send(&mut self, first: u8, parts: &[&[u8]]) {
        let last = parts.len() - 1;
        if self.agreed == Alone {
            self.deflater.reset();
        }
        for (n, part) in parts.iter().enumerate() {
            let mut octets = Vec::new();
            match self.agreed {
                Nothing => octets.extend_from_slice(part),
                Alone | Contexts if n == last => self.deflater.finish(part, &mut octets),
                Alone | Contexts => self.deflater.part(part, &mut octets),
            }
            let kind = match (n, self.agreed) {
                (0, Nothing) => first & 0x0f,
                (0, Alone | Contexts) => first & 0x0f | COMPRESSED,
                _ => 0,
            };
            let fin = if n == last { 0x80 } else { 0 };
            self.peer.write(fin | kind, &octets);
            if n != last {
                self.peer.write(PING, &[n as u8]);
            }
        }
    }

    /// Receives a message, which must be right by what was agreed.
    fn receive(&mut self) -> Received {
        let mut received = Received {
            first: 0,
            frames: Vec::new(),
            payload: Vec::new(),
            controls: Vec::new(),
        };
        loop {
            let (first, payload) = self.peer.read();
            if first & 0x08 != 0 {
                assert_ne!(first, CLOSE, "{payload:?}");
                received.controls.push((first, payload));
                continue;
            }
            if received.frames.is_empty() {
                received.first = first & 0x7f;
                assert!(received.first & COMPRESSED == 0 || self.agreed != Nothing);
            } else {
                assert_eq!(first & 0x7f, 0, "a continuation has no other bit");
            }
            received.frames.push(payload);
            if first & 0x80 != 0 {
                break;
            }
        }
        let wire = received.frames.concat();
        received.payload = match received.first & COMPRESSED {
            0 => wire,
            _ => self.inflate(&wire),
        };
        received
    }

    fn inflate(&mut self, mut octets: &[u8]) -> Vec<u8> {
        if self.agreed == Alone {
            self.inflater.reset();
        }
        let mut payload = Vec::new();
        let mut room = vec![0; 64 * 1024];
        loop {
            let step = self.inflater.inflate(octets, &mut room).unwrap();
            payload.extend_from_slice(&room[..step.written]);
            octets = &octets[step.consumed..];
            if !step.room_is_full {
                break;
            }
        }
        loop {
            let step = self.inflater.finish(&mut room).unwrap();
            payload.extend_from_slice(&room[..step.written]);
            if step.is_finished {
                return payload;
            }
        }
    }
}

/// Compression in this mode, offered to the backend whatever the client agrees to.
fn mode(mode: Mode) -> impl FnOnce(&mut Set) {
    move |set| {
        set.backend.offers_compression = OffersCompression::Always;
        let compression = Compression::default().with_mode(mode);
        set.config = set.config.clone().with_compression(compression);
    }
}

/// A gateway that compresses in this mode, and carries no longer message.
fn gate(backend: &Backend, in_mode: Mode, most: u64) -> Gate {
    gate_with(&backend.url(), |set| {
        mode(in_mode)(set);
        set.config.limits.message_bytes = most;
    })
}

const MOST: u64 = 16 * 1024 * 1024;

/// A client and a backend that agree to this, each on its side.
fn bridge(
    gate: &Gate,
    backend: &Backend,
    of_client: Agreed,
    of_backend: Agreed,
) -> (End<Peer>, End<Served>) {
    let (client, served) = bridge_by(gate, backend, of_client.value(), of_backend.value());
    (End::new(client, of_client), End::new(served, of_backend))
}

/// A client that offers this, and a backend that answers that.
fn bridge_by(
    gate: &Gate,
    backend: &Backend,
    offer: Option<&str>,
    answer: Option<&str>,
) -> (Peer, Served) {
    let mut client = Peer::connect(gate.address);
    let offer = offer.map(|offer| format!("{EXTENSIONS}: {offer}"));
    let lines: Vec<&str> = offer.iter().map(String::as_str).collect();
    client.send(&request_with(RFC, "/", &lines));
    let mut served = backend.accept();
    let headers: Vec<(&str, &str)> = answer.iter().map(|answer| (EXTENSIONS, *answer)).collect();
    served.agree_to(&headers);
    client.agree(RFC);
    (client, served)
}

/// A text of this many octets, some of them parts of longer characters, that gets
/// shorter where it is compressed.
fn text(octets: usize) -> String {
    let mut text = String::new();
    let mut n = 0;
    while text.len() + 16 <= octets {
        text.push_str(&format!("grüße {}, ", n % 1000));
        n += 1;
    }
    while text.len() < octets {
        text.push('a');
    }
    text
}

/// Octets that get no shorter.
fn noise(octets: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(octets).collect()
}

/// Sends a message from one end to the other, while that receives it.
fn pass<A: Frames, B: Frames>(
    (from, to): (&mut End<A>, &mut End<B>),
    first: u8,
    parts: &[&[u8]],
) -> Received {
    let received = thread::scope(|scope| {
        scope.spawn(|| from.send(first, parts));
        to.receive()
    });
    let what = (from.agreed, to.agreed, parts.len());
    assert_eq!(received.first & 0x0f, first & 0x0f, "{what:?}");
    assert!(received.payload == parts.concat(), "{what:?}");
    let pings: Vec<_> = (0..parts.len() as u8 - 1)
        .map(|n| (PING, vec![n]))
        .collect();
    assert_eq!(received.controls, pings, "{what:?}");
    received
}

/// Messages of all kinds go from one end to the other.
fn pass_all<A: Frames, B: Frames>(from: &mut End<A>, to: &mut End<B>) {
    for octets in [0, 1, 63, 64, 125, 1000, 0xffff, 0x1_0000, 0x1_0001, 300_000] {
        let (text, noise) = (text(octets), noise(octets));
        for (first, payload) in [(TEXT, text.as_bytes()), (BINARY, &noise[..])] {
            let received = pass((from, to), first, &[payload]);
            let frames = received.frames.len();
            assert!(
                octets > 0x1_0000 || frames == 1,
                "{octets}: {frames} frames"
            );
            let (one, two) = payload.split_at(octets / 3);
            pass((from, to), first, &[one, two]);
            // The cut lies within a character of the text, and some parts are empty.
            let (one, two) = payload.split_at((octets / 2).min(3));
            pass((from, to), first, &[b"", one, b"", two, b""]);
        }
    }
}

#[test]
fn what_is_sent_arrives_however_each_side_compresses() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    thread::scope(|scope| {
        for of_client in Agreed::ALL {
            for of_backend in Agreed::ALL {
                let (mut client, mut served) = bridge(&gate, &backend, of_client, of_backend);
                scope.spawn(move || {
                    pass_all(&mut client, &mut served);
                    pass_all(&mut served, &mut client);
                    // Both still have the same contexts.
                    pass((&mut client, &mut served), TEXT, &[b"the end"]);
                    pass((&mut served, &mut client), TEXT, &[b"the end"]);
                    client.peer.write(PONG, b"p");
                    assert_eq!(served.peer.read(), (PONG, b"p".to_vec()));
                });
            }
        }
    });
}

#[test]
fn a_hixie_client_speaks_to_a_backend_that_compresses() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    for of_backend in Agreed::ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(HIXIE_76, "/", &[]));
        let mut served = backend.accept();
        let headers: Vec<_> = of_backend
            .value()
            .map(|v| (EXTENSIONS, v))
            .into_iter()
            .collect();
        served.agree_to(&headers);
        client.agree(HIXIE_76);
        let mut served = End::new(served, of_backend);
        for octets in [0, 1, 200, 0x1_0000, 300_000] {
            let said = text(octets);
            let received = thread::scope(|scope| {
                scope.spawn(|| client.send_text(&said));
                served.receive()
            });
            assert_eq!(received.first & 0x0f, 1);
            assert!(
                received.payload == said.as_bytes(),
                "{octets} from the client"
            );
            let (one, two) = said.as_bytes().split_at(octets / 2);
            let heard = thread::scope(|scope| {
                scope.spawn(|| served.send(TEXT, &[one, b"", two]));
                client.receive_text()
            });
            assert!(heard == said, "{octets} from the backend");
            // It has no pings: each is answered by the gateway.
            assert_eq!(served.peer.read(), (PONG, vec![0]));
            assert_eq!(served.peer.read(), (PONG, vec![1]));
        }
    }
}

/// A gateway in front of a backend that speaks hixie-76, a client that has agreed
/// to this, and that backend.
fn before_hixie(gate: &Gate, backend: &Backend, agreed: Agreed) -> (End<Peer>, Served) {
    let mut client = Peer::connect(gate.address);
    let offer = agreed.value().map(|offer| format!("{EXTENSIONS}: {offer}"));
    let lines: Vec<&str> = offer.iter().map(String::as_str).collect();
    let origin = ["Origin: http://example.com"];
    client.send(&request_with(RFC, "/", &[&origin[..], &lines].concat()));
    let mut served = backend.accept();
    assert_eq!(served.head.header(EXTENSIONS), None);
    let key3 = served.exactly(8);
    let response = served.response_of_76();
    let digest = served.digest(&key3);
    served.send(&[response.as_bytes(), &digest].concat());
    client.agree(RFC);
    (End::new(client, agreed), served)
}

fn gate_before_hixie(backend: &Backend, binary: Binary) -> Gate {
    let url = backend.url();
    gate_with(&url, |set| {
        mode(Mode::PerConnection)(set);
        let version = Version::named("hixie-76").unwrap();
        set.backend = To::new(url.parse().unwrap(), version).with_binary(binary);
    })
}

/// Receives a text in the frame of hixie-76.
fn hixie_text(peer: &mut Peer) -> Vec<u8> {
    assert_eq!(peer.exactly(1), [0]);
    let mut text = Vec::new();
    loop {
        match peer.exactly(1)[0] {
            0xff => return text,
            octet => text.push(octet),
        }
    }
}

#[test]
fn a_client_that_compresses_speaks_to_a_hixie_backend() {
    let backend = Backend::listen();
    let gate = gate_before_hixie(&backend, Binary::default());
    for agreed in Agreed::ALL {
        let (mut client, mut served) = before_hixie(&gate, &backend, agreed);
        for octets in [0, 1, 200, 0x1_0000, 300_000] {
            let said = text(octets);
            let (one, two) = said.as_bytes().split_at(octets / 2);
            for parts in [&[said.as_bytes()][..], &[one, b"", two]] {
                let heard = thread::scope(|scope| {
                    scope.spawn(|| client.send(TEXT, parts));
                    hixie_text(&mut served)
                });
                assert!(heard == said.as_bytes(), "{octets} from the client");
                for n in 1..parts.len() {
                    assert_eq!(client.peer.read(), (PONG, vec![n as u8 - 1]));
                }
            }
            let received = thread::scope(|scope| {
                let octets = [&[0], said.as_bytes(), &[0xff]].concat();
                let served = &mut served;
                scope.spawn(move || Peer::send(served, &octets));
                client.receive()
            });
            assert!(
                received.payload == said.as_bytes(),
                "{octets} from the backend"
            );
        }
    }
}

// What goes on as it is.

/// A message compressed as the gateway never compresses: in stored blocks, six
/// octets longer than the payload.
fn stored(payload: &[u8]) -> Vec<u8> {
    let n = payload.len() as u16;
    [
        &[0],
        &n.to_le_bytes()[..],
        &(!n).to_le_bytes(),
        payload,
        &[0],
    ]
    .concat()
}

/// Writes these frames and receives the message that arrives.
fn relay<A: Frames, B: Frames>(
    (from, to): (&mut End<A>, &mut End<B>),
    frames: &[(u8, &[u8])],
) -> Received {
    for (first, payload) in frames {
        from.peer.write(*first, payload);
    }
    to.receive()
}

/// A short message in one frame goes on as it is; one that may be longer than the
/// limit, or comes in fragments, is inflated and compressed again.
fn keeps_short_ones<A: Frames, B: Frames>(from: &mut End<A>, to: &mut End<B>) {
    for kind in [TEXT, BINARY] {
        let short = [b'a'; 94];
        let wire = stored(&short);
        let first = kind | COMPRESSED;
        let received = relay((from, to), &[(first, &wire)]);
        assert_eq!(received.frames[..], [&wire[..]], "it was not kept");
        assert_eq!(
            (received.first, &received.payload[..]),
            (first & 0x7f, &short[..])
        );

        let (one, two) = wire.split_at(50);
        let fragments = [(first & 0x7f, one), (PING, &b"p"[..]), (0x80, two)];
        let received = relay((from, to), &fragments);
        assert_ne!(received.frames.concat(), wire, "fragments were kept");
        assert_eq!(received.payload, short);
        assert_eq!(received.controls, [(PING, b"p".to_vec())]);

        let long = [b'a'; 95];
        let wire = stored(&long);
        let received = relay((from, to), &[(first, &wire)]);
        assert_eq!(received.frames.len(), 1);
        assert_ne!(received.frames[0], wire, "a long one was kept");
        assert_eq!(received.payload, long);

        // What is not compressed may be compressed on its way.
        let received = relay((from, to), &[(kind, &long)]);
        assert_eq!(received.payload, long);
        // A message of no octets, and the next one behind it.
        let received = relay((from, to), &[(first, &[0]), (first, &stored(b"x"))]);
        assert_eq!(
            (received.first, received.frames),
            (first & 0x7f, vec![vec![0]])
        );
        assert_eq!(to.receive().payload, b"x");
    }
}

#[test]
fn a_short_message_goes_on_as_it_is_where_both_sides_compress_each_on_its_own() {
    let backend = Backend::listen();
    for in_mode in [Mode::Shared, Mode::PerConnection] {
        let gate = gate(&backend, in_mode, 100 * 1032);
        let (mut client, mut served) = bridge(&gate, &backend, Alone, Alone);
        keeps_short_ones(&mut client, &mut served);
        keeps_short_ones(&mut served, &mut client);
    }
}

/// Whether a short message goes on as it is from one end to the other.
fn keeps<A: Frames, B: Frames>(from: &mut End<A>, to: &mut End<B>) -> bool {
    let payload = [b'a'; 94];
    let wire = stored(&payload);
    let received = relay((from, to), &[(TEXT | COMPRESSED, &wire)]);
    assert_eq!(received.payload, payload);
    received.first & COMPRESSED != 0 && received.frames == [wire]
}

#[test]
fn what_is_compressed_with_a_context_is_compressed_again() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    for of_client in [Alone, Contexts] {
        for of_backend in Agreed::ALL {
            let (mut client, mut served) = bridge(&gate, &backend, of_client, of_backend);
            let kept = of_client == Alone && of_backend == Alone;
            assert_eq!(keeps(&mut client, &mut served), kept);
            if of_backend != Nothing {
                assert_eq!(keeps(&mut served, &mut client), kept);
            }
        }
    }
}

#[test]
fn each_direction_keeps_by_its_own_parameters() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    let no_context = NO_CONTEXT.to_owned();
    for (offer, answer, up, down) in [
        // A context of the backend, or of the client, alone.
        (
            "",
            "permessage-deflate; client_no_context_takeover",
            true,
            false,
        ),
        (
            "",
            "permessage-deflate; server_no_context_takeover",
            false,
            true,
        ),
        // A window that is smaller on the other side.
        (
            "",
            &format!("{no_context}; client_max_window_bits=10"),
            false,
            true,
        ),
        ("; server_max_window_bits=10", &no_context, true, false),
        (
            "; server_max_window_bits=10",
            &format!("{no_context}; server_max_window_bits=10"),
            true,
            true,
        ),
        (
            "; server_max_window_bits=10",
            &format!("{no_context}; server_max_window_bits=8"),
            true,
            true,
        ),
        (
            "; client_max_window_bits=10",
            &format!("{no_context}; client_max_window_bits=10"),
            false,
            true,
        ),
    ] {
        let offer = format!("{no_context}{offer}");
        let (client, served) = bridge_by(&gate, &backend, Some(&offer), Some(answer));
        let (mut client, mut served) = (End::new(client, Alone), End::new(served, Alone));
        assert_eq!(keeps(&mut client, &mut served), up, "{offer} and {answer}");
        assert_eq!(
            keeps(&mut served, &mut client),
            down,
            "{offer} and {answer}"
        );
    }
}

#[test]
fn a_frame_that_is_kept_is_not_waited_for() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    let (mut client, mut served) = bridge(&gate, &backend, Alone, Alone);
    let wire = stored(b"half whole");
    let whole = frame(TEXT | COMPRESSED, &wire);
    let (half, rest) = whole.split_at(2 + 4 + 8);
    client.peer.send(half);
    let mut arrived = served.peer.exactly(half.len());
    client.peer.send(rest);
    arrived.extend(served.peer.exactly(rest.len()));
    assert_eq!(arrived[..2], [TEXT | COMPRESSED, 0x80 | wire.len() as u8]);
    let key = [arrived[2], arrived[3], arrived[4], arrived[5]];
    let clear = arrived[6..].iter().zip(key.iter().cycle());
    assert_eq!(clear.map(|(o, k)| o ^ k).collect::<Vec<u8>>(), wire);
}
