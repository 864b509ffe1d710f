//! Counted by the allocator: no allocation for a message, none kept for an
//! idle connection but its own record.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod codecs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use heirloom::Config;
use heirloom::extension::{Codecs, Compression, Level, Mode};
use heirloom::net::{Router, Server, Site, serve};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static OCTETS: AtomicIsize = AtomicIsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        OCTETS.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        OCTETS.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.load(Ordering::SeqCst)
}

fn octets() -> usize {
    OCTETS.load(Ordering::SeqCst).try_into().unwrap()
}

const RFC: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const RFC_ANSWER: usize = 129;
const HIXIE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Origin: http://h\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U";
const HIXIE_ANSWER: usize = 167;

/// What a request for compression has more than [`RFC`], and its answer more than
/// [`RFC_ANSWER`].
const OFFER: &[u8] = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const DEFLATING_ANSWER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n";

fn deflating_request() -> Vec<u8> {
    [RFC.split_at(RFC.len() - 2).0, OFFER].concat()
}

fn connect(address: SocketAddr, request: &[u8], response: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut head = [0; 512];
    stream.read_exact(&mut head[..response]).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

fn echo(stream: &mut TcpStream, sent: &[u8], back: &mut [u8]) {
    stream.write_all(sent).unwrap();
    stream.read_exact(back).unwrap();
}

/// What connections that go on send and receive.
struct Echoes {
    rfc: TcpStream,
    hixie: TcpStream,
}

impl Echoes {
    fn open(address: SocketAddr) -> Echoes {
        Echoes {
            rfc: connect(address, RFC, RFC_ANSWER),
            hixie: connect(address, HIXIE, HIXIE_ANSWER),
        }
    }

    fn rounds(&mut self, n: usize) {
        let mut masked = [0; 131];
        masked[..2].copy_from_slice(&[0x82, 0xfd]);
        let mut text = [b'x'; 127];
        (text[0], text[126]) = (0, 0xff);
        let mut back = [0; 127];
        for _ in 0..n {
            echo(&mut self.rfc, &masked, &mut back);
            echo(&mut self.hixie, &text, &mut back);
        }
    }
}

/// Runs `test` against a server with one worker.
fn with_server<R>(mode: Mode, test: impl FnOnce(SocketAddr) -> R) -> R {
    let compression = Compression::default().with_mode(mode);
    let config = Config::default().with_compression(compression);
    let router = Router::new(serve::routes(config));
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[loopback], 1, router.config()).unwrap();
    let (address, stopper) = (server.addresses()[0], server.stopper());
    let serving = thread::spawn(move || {
        server.run(|| Site::new(&router));
    });
    let result = test(address);
    stopper.stop();
    serving.join().unwrap();
    result
}

/// How many octets each of many idle connections takes that have sent a frame and
/// received it back.
fn octets_of_idle(address: SocketAddr, (request, answer): (&[u8], usize), frame: &[u8]) -> isize {
    const IDLE: usize = 1000;
    let open = || {
        let mut stream = connect(address, request, answer);
        stream.write_all(frame).unwrap();
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], frame[0]);
        stream.read_exact(&mut vec![0; head[1].into()]).unwrap();
        stream
    };
    let mut echoes = Echoes::open(address);
    echoes.rounds(10);
    // What the worker has for all of them.
    let first = open();
    let mut idle = Vec::with_capacity(IDLE);
    let before = OCTETS.load(Ordering::SeqCst);
    idle.extend((0..IDLE).map(|_| open()));
    // The last echo came after all that its connection needed was done.
    echoes.rounds(1);
    let each = (OCTETS.load(Ordering::SeqCst) - before) / IDLE as isize;
    drop((first, idle));
    each
}

/// A binary frame of a client, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length, 0, 0, 0, 0], payload].concat()
}

/// One test, so that nothing else allocates while it counts.
#[test]
fn messages_and_idle_connections_allocate_nothing() {
    let messages = with_server(Mode::Off, |address| {
        let mut echoes = Echoes::open(address);
        echoes.rounds(10);
        let before = allocations();
        echoes.rounds(1000);
        allocations() - before
    });
    assert_eq!(messages, 0, "allocations for 2,000 messages");

    let payload = [b'x'; 100];
    let each = with_server(Mode::Off, |address| {
        octets_of_idle(address, (RFC, RFC_ANSWER), &masked(0x82, &payload))
    });
    println!("{each} octets for an idle connection");
    assert!(each <= 128, "{each} octets for an idle connection");
    let (request, answer) = (deflating_request(), RFC_ANSWER + DEFLATING_ANSWER.len());
    let mut deflated = Vec::new();
    let mut deflater = Codecs::default().deflater(Level::Default, 15);
    deflater.message(&payload, &mut deflated);
    let compressing = with_server(Mode::Shared, |address| {
        octets_of_idle(address, (&request, answer), &masked(0xc2, &deflated))
    });
    println!("{compressing} octets for one with compression");
    assert!(
        compressing <= each + 16,
        "{compressing} octets for one with compression"
    );
    // Last: at first the test harness may still allocate.
    codecs::codecs_hold_what_they_say();
}
