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

/// One test, so that nothing else allocates while it counts.
#[test]
fn messages_and_idle_connections_allocate_nothing() {
    let router = Router::new(serve::routes(Config::default()));
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[loopback], 1, router.config()).unwrap();
    let (address, stopper) = (server.addresses()[0], server.stopper());
    let serving = thread::spawn(move || {
        server.run(|| Site::new(&router));
    });

    let mut rfc = connect(address, RFC, RFC_ANSWER);
    let mut hixie = connect(address, HIXIE, HIXIE_ANSWER);
    let mut masked = [0; 131];
    masked[..2].copy_from_slice(&[0x82, 0xfd]);
    let mut text = [b'x'; 127];
    (text[0], text[126]) = (0, 0xff);
    let mut back = [0; 127];
    let mut rounds = |n: usize| {
        for _ in 0..n {
            echo(&mut rfc, &masked, &mut back);
            echo(&mut hixie, &text, &mut back);
        }
    };
    rounds(10);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    rounds(1000);
    let messages = ALLOCATIONS.load(Ordering::SeqCst) - before;
    assert_eq!(messages, 0, "allocations for 2,000 messages");

    const IDLE: usize = 1000;
    let mut idle = Vec::with_capacity(IDLE);
    let before = OCTETS.load(Ordering::SeqCst);
    idle.extend((0..IDLE).map(|_| connect(address, RFC, RFC_ANSWER)));
    // The last answer came after all that its connection needed was done.
    rounds(1);
    let each = (OCTETS.load(Ordering::SeqCst) - before) / IDLE as isize;
    println!("{each} octets for an idle connection");
    assert!(each <= 128, "{each} octets for an idle connection");

    drop((idle, rfc, hixie));
    stopper.stop();
    serving.join().unwrap();
    // Last: at first the test harness may still allocate.
    codecs::codecs_hold_what_they_say();
}
