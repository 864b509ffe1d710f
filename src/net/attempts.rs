//! Connecting to one of several addresses: they are tried one after the other, a
//! little apart, and the first that answers is used (RFC 8305 section 5).

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use mio::{Registry, Token};

use super::address::ServerAddress;
use super::transport::Transport;
use super::warning::log_step;

/// Milliseconds after which the next address is tried although the last one may
/// still answer (RFC 8305 section 8).
const STAGGER_MS: u64 = 250;
/// Milliseconds until a Unix socket is tried again whose queue was full. TCP itself
/// tries again; a Unix socket does not.
const FULL_QUEUE_MS: u64 = 10;

/// The addresses of one server, while none of them has answered. Times are in
/// milliseconds of the caller's clock.
#[derive(Debug)]
pub(super) struct Attempts {
    untried: VecDeque<ServerAddress>,
    running: Vec<(ServerAddress, Transport)>,
    /// When the next address is tried.
    next_ms: u64,
    deadline_ms: u64,
    failed: Option<(ServerAddress, io::Error)>,
    /// An event reported that a socket takes octets, and no error.
    reported: bool,
}

/// How far they have come.
#[derive(Debug)]
pub(super) enum Attempted {
    /// This one is connected. It is still watched by the token of the attempts.
    Connected(Transport),
    /// An event of a socket, or the time of the next attempt, is waited for.
    Waiting,
    /// No address is left; why the last one failed, where there was one.
    Failed(Option<(ServerAddress, io::Error)>),
}

impl Attempts {
    /// Of these addresses, none of which is tried yet. Each gets a share of the
    /// time until the deadline before the next one starts, at most a quarter of
    /// a second.
    pub(super) fn new(addresses: &[ServerAddress], now_ms: u64, deadline_ms: u64) -> Attempts {
        Attempts {
            untried: in_turns(addresses),
            running: Vec::new(),
            next_ms: now_ms,
            deadline_ms,
            failed: None,
            reported: false,
        }
    }

    /// When [`Attempts::advance`] has something to do without an event.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (!self.untried.is_empty()).then_some(self.next_ms)
    }

    /// An event of a socket reports that it takes octets, and no error: where it is
    /// the only one, it is connected.
    pub(super) fn set_reported(&mut self) {
        self.reported = true;
    }

    /// Looks which attempts have ended, and starts those that are due. Their
    /// sockets are watched by this token.
    pub(super) fn advance(&mut self, now_ms: u64, registry: &Registry, token: Token) -> Attempted {
        let reported = std::mem::take(&mut self.reported) && self.running.len() == 1;
        for (address, mut transport) in std::mem::take(&mut self.running) {
            let connected = if reported {
                Ok(true)
            } else {
                transport.is_connected()
            };
            match connected {
                Ok(true) => {
                    self.running.clear();
                    transport.assume_ready();
                    return Attempted::Connected(transport);
                }
                Ok(false) => self.running.push((address, transport)),
                Err(error) => {
                    log_step(format_args!("cannot connect to {address}: {error}"));
                    self.failed = Some((address, error));
                    self.next_ms = now_ms;
                }
            }
        }
        while self.next_ms <= now_ms || self.running.is_empty() {
            let Some(address) = self.untried.pop_front() else {
                break;
            };
            match start(&address, registry, token) {
                Ok(transport) => {
                    let left = self.deadline_ms.saturating_sub(now_ms);
                    let shares = u64::try_from(self.untried.len() + 1).unwrap_or(u64::MAX);
                    self.next_ms = now_ms + STAGGER_MS.min(left / shares).max(1);
                    self.running.push((address, transport));
                }
                Err(error) if is_full_queue(&address, &error) => {
                    // It is the only address.
                    self.untried.push_front(address);
                    self.next_ms = now_ms + FULL_QUEUE_MS;
                    return Attempted::Waiting;
                }
                Err(error) => {
                    log_step(format_args!("cannot connect to {address}: {error}"));
                    self.failed = Some((address, error));
                }
            }
        }
        if self.running.is_empty() {
            Attempted::Failed(self.failed.take())
        } else {
            Attempted::Waiting
        }
    }

    /// Whether an address has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}

/// Whether a Unix socket takes no connection for now.
fn is_full_queue(address: &ServerAddress, error: &io::Error) -> bool {
    matches!(address, ServerAddress::Unix(_)) && error.kind() == ErrorKind::WouldBlock
}

fn start(address: &ServerAddress, registry: &Registry, token: Token) -> io::Result<Transport> {
    let mut transport = Transport::connect(address)?;
    transport.register(registry, token, true)?;
    Ok(transport)
}

/// The addresses with their families in turns, the first one's first: where one
/// family does not work at all, the other does not wait behind all of it (RFC
/// 8305 section 4).
fn in_turns(addresses: &[ServerAddress]) -> VecDeque<ServerAddress> {
    let Some(first) = addresses.first() else {
        return VecDeque::new();
    };
    let (mut this, mut other): (VecDeque<ServerAddress>, VecDeque<ServerAddress>) = addresses
        .iter()
        .cloned()
        .partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut all = VecDeque::with_capacity(addresses.len());
    while !this.is_empty() || !other.is_empty() {
        all.extend(this.pop_front());
        all.extend(other.pop_front());
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mio::Poll;
    use socket2::{Domain, Socket, Type};
    use std::net::SocketAddr;
    use std::sync::Arc;

    /// An address that does not answer: its queue holds one connection, and that
    /// is there.
    pub(crate) fn silent() -> (Socket, Vec<std::net::TcpStream>, ServerAddress) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let wait = std::time::Duration::from_millis(100);
        let mut held = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, wait) {
            held.push(stream);
        }
        (socket, held, address.into())
    }

    fn address(text: &str) -> ServerAddress {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn families_take_turns() {
        let [a, b, c] = ["[::1]:1", "[::1]:2", "[::1]:3"].map(address);
        let [x, y] = ["127.0.0.1:1", "127.0.0.1:2"].map(address);
        let turns = |given: [&ServerAddress; 5]| in_turns(&given.map(Clone::clone));
        let want = [&a, &x, &b, &y, &c].map(Clone::clone);
        assert_eq!(turns([&a, &b, &c, &x, &y]), want);
        let want = [&x, &a, &y, &b, &c].map(Clone::clone);
        assert_eq!(turns([&x, &y, &a, &b, &c]), want);
        assert!(in_turns(&[]).is_empty());
    }

    #[test]
    fn an_event_of_the_only_attempt_saves_the_question() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let mut attempts = Attempts::new(&[good.into()], 0, 10_000);
        let first = attempts.advance(0, poll.registry(), Token(7));
        assert!(matches!(first, Attempted::Waiting));
        attempts.set_reported();
        let second = attempts.advance(0, poll.registry(), Token(7));
        assert!(matches!(second, Attempted::Connected(_)));
    }

    #[test]
    fn an_event_of_one_of_several_attempts_names_none() {
        let (_socket, _held, silent) = silent();
        let poll = Poll::new().unwrap();
        let mut attempts = Attempts::new(&[silent.clone(), silent], 0, 10_000);
        for now_ms in [0, 250] {
            let _ = attempts.advance(now_ms, poll.registry(), Token(7));
        }
        attempts.set_reported();
        let next = attempts.advance(251, poll.registry(), Token(7));
        assert!(matches!(next, Attempted::Waiting));
    }

    #[test]
    fn a_silent_address_does_not_keep_the_next_one_waiting() {
        let (_socket, _held, silent) = silent();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let mut attempts = Attempts::new(&[silent, good.into()], 0, 10_000);
        let advance =
            |attempts: &mut Attempts, now_ms| attempts.advance(now_ms, poll.registry(), Token(7));
        assert!(matches!(advance(&mut attempts, 0), Attempted::Waiting));
        assert_eq!(attempts.due_ms(), Some(250));
        assert!(matches!(advance(&mut attempts, 249), Attempted::Waiting));
        assert_eq!(attempts.due_ms(), Some(250));
        let mut reached = advance(&mut attempts, 250);
        assert_eq!(attempts.due_ms(), None);
        while matches!(reached, Attempted::Waiting) {
            reached = advance(&mut attempts, 251);
        }
        let Attempted::Connected(transport) = reached else {
            panic!("{reached:?}");
        };
        assert_eq!(transport.peer_address().unwrap(), good.into());
    }

    #[test]
    fn each_address_gets_a_share_of_a_short_deadline() {
        let (_socket, _held, silent) = silent();
        let poll = Poll::new().unwrap();
        let mut attempts = Attempts::new(&vec![silent; 4], 1000, 1100);
        let mut now_ms = 1000;
        let mut starts = Vec::new();
        loop {
            starts.push(now_ms);
            let attempted = attempts.advance(now_ms, poll.registry(), Token(7));
            assert!(matches!(attempted, Attempted::Waiting));
            match attempts.due_ms() {
                Some(due_ms) => now_ms = due_ms,
                None => break,
            }
        }
        assert_eq!(starts, [1000, 1025, 1050, 1075]);
    }

    #[test]
    fn a_unix_socket_with_a_full_queue_is_tried_again() {
        let name = format!("@heirloom-test-{}", std::process::id());
        let path = std::path::Path::new(&name);
        let (listener, _) = crate::net::unix::listen(path, 0o600, 0).unwrap();
        let _held = crate::net::unix::connect(path).unwrap();
        let poll = Poll::new().unwrap();
        let mut attempts = Attempts::new(&[ServerAddress::Unix(Arc::from(path))], 0, 1000);
        let advance =
            |attempts: &mut Attempts, now_ms| attempts.advance(now_ms, poll.registry(), Token(7));
        assert!(matches!(advance(&mut attempts, 0), Attempted::Waiting));
        assert_eq!(attempts.due_ms(), Some(FULL_QUEUE_MS));
        listener.accept().unwrap();
        assert!(matches!(advance(&mut attempts, 10), Attempted::Waiting));
        let connected = advance(&mut attempts, 11);
        let Attempted::Connected(transport) = connected else {
            panic!("{connected:?}");
        };
        let peer = transport.peer_address().unwrap();
        assert_eq!(peer, crate::net::address::PeerAddress::Unix);
    }

    #[test]
    fn without_an_address_it_has_failed() {
        let poll = Poll::new().unwrap();
        let mut attempts = Attempts::new(&[], 0, 1000);
        let attempted = attempts.advance(0, poll.registry(), Token(7));
        assert!(matches!(attempted, Attempted::Failed(None)));
    }
}
