//! Counted by the allocator: a long message takes the tester little memory, however
//! much the peer sends.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use heirloom::conform::{Case, CaseResult, CaseSet, PlayOptions, play_to_server};
use heirloom::net::Url;
use heirloom::net::dial::DialTarget;

struct Counting;

static OCTETS: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = isize::try_from(layout.size()).unwrap_or(isize::MAX);
        let now = OCTETS.fetch_add(size, Ordering::Relaxed) + size;
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let size = isize::try_from(layout.size()).unwrap_or(isize::MAX);
        OCTETS.fetch_sub(size, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Octets of one read.
const PORTION: usize = 16 * 1024;

/// A server that takes no memory for messages: it passes the payload on while it
/// arrives.
struct Server {
    stream: TcpStream,
    room: Vec<u8>,
}

impl Server {
    fn accept(listener: &TcpListener) -> io::Result<Server> {
        let mut stream = listener.accept()?.0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet)?;
            head.extend(octet);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut keys = head
            .lines()
            .filter_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let mut sha1 = Sha1::new();
        sha1.update(keys.next().unwrap().as_bytes());
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = STANDARD.encode(sha1.finalize());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(response.as_bytes())?;
        Ok(Server {
            stream,
            room: vec![0; PORTION],
        })
    }

    fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut octets = [0; N];
        self.stream.read_exact(&mut octets)?;
        Ok(octets)
    }

    /// Echoes frames until a close.
    fn echo(mut self) -> io::Result<()> {
        loop {
            let [first, second] = self.read()?;
            let (mut header, length) = match second & 0x7f {
                127 => {
                    let length: [u8; 8] = self.read()?;
                    let header = [&[first, 127][..], &length].concat();
                    (header, u64::from_be_bytes(length))
                }
                126 => {
                    let length: [u8; 2] = self.read()?;
                    let header = [&[first, 126][..], &length].concat();
                    (header, u64::from(u16::from_be_bytes(length)))
                }
                short => (vec![first, short], u64::from(short)),
            };
            let key: [u8; 4] = self.read()?;
            self.stream.write_all(&header)?;
            header.clear();
            let mut left = usize::try_from(length).unwrap();
            while left > 0 {
                let n = left.min(PORTION);
                self.stream.read_exact(&mut self.room[..n])?;
                for (octet, key) in self.room[..n].iter_mut().zip(key.iter().cycle()) {
                    *octet ^= key;
                }
                self.stream.write_all(&self.room[..n])?;
                left -= n;
            }
            if first & 15 == 8 {
                return Ok(());
            }
        }
    }

    /// Sends the same octets until nothing more is taken.
    fn flood(mut self, octets: &[u8]) {
        while self.stream.write_all(octets).is_ok() {}
    }
}

fn case(id: &str) -> Case {
    let cases = CaseSet::built_in().cases;
    cases.into_iter().find(|case| case.id == id).unwrap()
}

/// Plays a case; gives the octets that it took at most beside those before it.
fn play(id: &str, serve: impl FnOnce(Server) + Send + 'static) -> (CaseResult, isize) {
    let case = case(id);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
    let target = DialTarget::of(&url, None).unwrap();
    let server = thread::spawn(move || serve(Server::accept(&listener).unwrap()));
    let before = OCTETS.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let result = play_to_server(&case, &target, &url, &PlayOptions::default()).unwrap();
    let taken = PEAK.load(Ordering::SeqCst) - before;
    server.join().unwrap();
    (result, taken)
}

/// What the tester may take.
const MOST: isize = 2 * 1024 * 1024;

#[test]
fn a_long_message_takes_little() {
    for id in ["9.1.6", "9.2.6", "9.3.9", "9.5.6"] {
        let (result, taken) = play(id, |server| server.echo().unwrap());
        assert_eq!(result.broken, None, "{id}: {result:?}");
        assert!(result.octets.0 >= 1024 * 1024, "{id}");
        assert!(taken < MOST, "{id} takes {taken} octets");
    }
    // A server that sends without end, inside a frame, and frame behind frame.
    let long = b"\x82\x7f\x00\x00\x00\xff\x00\x00\x00\x00";
    let (result, taken) = play("1.1.1", |mut server| {
        server.stream.write_all(long).unwrap();
        server.flood(&[0; PORTION]);
    });
    assert_eq!(result.behavior.name(), "FAILED");
    assert!(taken < MOST, "{taken} octets");
    let (result, taken) = play("1.1.1", |server| server.flood(b"\x81\x02hi"));
    assert_eq!(result.behavior.name(), "FAILED");
    assert!(taken < MOST, "{taken} octets");
}
