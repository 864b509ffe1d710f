//! What Linux tells of the TCP sockets of this machine. By it a test knows what has
//! arrived and what was read: a write that has returned says neither. Where there is no
//! Linux nothing is known, and nothing is waited for.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// A socket of TCP over IPv4.
pub(crate) struct Socket {
    /// Its port.
    pub(crate) local: u16,
    /// The port of the other end; 0 where it listens.
    pub(crate) remote: u16,
    /// Octets that were written and that the other end has not acknowledged.
    pub(crate) unacknowledged: usize,
    /// Octets that have arrived and were not read; connections that were not
    /// accepted, where it listens.
    pub(crate) unread: usize,
    /// Which timer runs: 2 is keepalive.
    pub(crate) timer: u8,
}

const TABLE: &str = "/proc/net/tcp";

/// All of them.
pub(crate) fn sockets() -> Vec<Socket> {
    let Ok(table) = fs::read_to_string(TABLE) else {
        return Vec::new();
    };
    let number = |hex: &str| usize::from_str_radix(hex, 16).unwrap();
    let port = |address: &str| number(address.rsplit(':').next().unwrap()) as u16;
    let rows = table.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (unacknowledged, unread) = fields[4].split_once(':').unwrap();
        Socket {
            local: port(fields[1]),
            remote: port(fields[2]),
            unacknowledged: number(unacknowledged),
            unread: number(unread),
            timer: number(&fields[5][..2]) as u8,
        }
    });
    rows.collect()
}

/// The socket of this port whose other end has that one.
pub(crate) fn socket(local: u16, remote: u16) -> Option<Socket> {
    let mut all = sockets().into_iter();
    all.find(|socket| (socket.local, socket.remote) == (local, remote))
}

/// Waits until the other end, on this machine, has read all that was written here.
pub(crate) fn await_read(stream: &TcpStream) {
    let port = |address: io::Result<SocketAddr>| address.unwrap().port();
    let (own, other) = (port(stream.local_addr()), port(stream.peer_addr()));
    eventually("it is read", || {
        socket(own, other).is_none_or(|socket| socket.unacknowledged == 0)
            && socket(other, own).is_none_or(|socket| socket.unread == 0)
    });
}

/// Waits until nothing listens at this address: a program that another test starts has
/// the descriptors of all tests until it runs.
pub(crate) fn await_refused(address: SocketAddr) {
    eventually("it is refused", || {
        let connected = TcpStream::connect(address);
        connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

/// Waits until so many connections at this address are finished by the system, and
/// are not accepted.
pub(crate) fn await_queued(address: SocketAddr, connections: usize) {
    eventually("they are in the queue", || {
        queued(address).is_none_or(|queued| queued == connections)
    });
}

/// How many that is; `None` where it is not known.
pub(crate) fn queued(address: SocketAddr) -> Option<usize> {
    let all = sockets().into_iter();
    let listening = all.filter(|s| (s.local, s.remote) == (address.port(), 0));
    listening.map(|socket| socket.unread).reduce(|a, b| a + b)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        thread::yield_now();
    }
}
