//! A backend of several servers: which one a client gets, and what becomes of clients
//! while some of them are away.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::net::{Balance, ClosedBy, Http, Resolver, TargetState};
use socket2::SockRef;

use crate::gate::{ALL, Gate, HIXIE_75, Set, bridge, gate_with, milliseconds};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, Silent, clear, gone};
use crate::support::peer::{Peer, RFC, Speaks, request, said};
use crate::support::program::{HEIRLOOM, Program};

pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}")
}

/// A gateway with these servers.
pub(crate) fn gate_of(urls: &[String], set: impl FnOnce(&mut Set)) -> Gate {
    let (first, more) = urls.split_first().unwrap();
    gate_with(first, |all| {
        let more = more.iter().map(|url| url.parse().unwrap());
        all.backend = all.backend.clone().with_targets(more);
        set(all);
    })
}

fn balanced(balance: Balance) -> impl FnOnce(&mut Set) {
    move |set| set.backend = set.backend.clone().with_balance(balance)
}

/// A client that is refused; the status and the body.
pub(crate) fn refused(gate: &Gate, speaks: Speaks) -> (u16, String) {
    let mut client = Peer::connect(gate.address);
    client.send(&request(speaks, "/"));
    let (head, body) = client.response();
    (head.status(), body)
}

#[test]
fn the_first_that_can_be_reached_is_used_in_every_version() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let urls = [url(gone()), one.url(), two.url()];
    // Longer than a client waits for its 101.
    let gate = gate_of(&urls, |set| {
        set.backend = set.backend.clone().with_connect_ms(60_000);
    });
    for speaks in ALL {
        let start = Instant::now();
        let (mut client, mut served) = bridge(&gate, &one, speaks);
        assert!(start.elapsed() < Duration::from_secs(3), "{speaks:?}");
        client.send_text("found");
        assert_eq!(served.receive_text(), "found");
        let host = served.head.header("Host").map(str::to_owned);
        assert_eq!(host, Some(one.address.to_string()), "its own Host");
        drop(client);
        served.receive_close(1001);
        drop(served);
        let seen = gate.seen();
        assert_eq!(seen.target, Some(one.address.to_string()));
        assert_eq!((seen.status, seen.by), (Some(101), ClosedBy::Client));
    }
    two.has_nobody();
}

#[test]
fn each_server_has_its_turn() {
    let backends = [(); 3].map(|()| Backend::listen());
    let urls = backends.each_ref().map(Backend::url);
    let gate = gate_of(&urls, balanced(Balance::RoundRobin));
    for _ in 0..3 {
        for backend in &backends {
            bridge(&gate, backend, RFC);
        }
    }
}

#[test]
fn a_client_gets_the_server_of_its_address() {
    let backends = [(); 3].map(|()| Backend::listen());
    let urls = backends.each_ref().map(Backend::url);
    let gate = gate_of(&urls, |set| {
        balanced(Balance::ClientAddress)(set);
        set.proxies = "127.0.0.1".parse().unwrap();
    });
    let server_of = |client: u8| {
        let mut peer = Peer::connect(gate.address);
        peer.send(format!("PROXY TCP4 10.0.0.{client} 127.0.0.1 9 9\r\n").as_bytes());
        peer.send(&request(RFC, "/"));
        let head = loop {
            // One of the three has it, and none else connects.
            if let Some(mut served) = backends.iter().find_map(Backend::accept_now) {
                served.agree_to(&[]);
                break served.head;
            }
            thread::yield_now();
        };
        peer.agree(RFC);
        head.header("Host").unwrap().to_owned()
    };
    let first: Vec<String> = (0..20).map(server_of).collect();
    let again: Vec<String> = (0..20).map(server_of).collect();
    assert_eq!(first, again);
    for backend in &backends {
        let own = backend.address.to_string();
        assert!(first.contains(&own), "{own} has no client: {first:?}");
    }
}

/// Names that the test resolves: `one` and so on, to what `addresses` has at that place.
/// Counts how often each was looked up.
#[derive(Clone)]
pub(crate) struct Names {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    asked: Arc<[AtomicUsize; 4]>,
}

impl Names {
    pub(crate) fn of(addresses: &[SocketAddr]) -> Names {
        Names {
            addresses: Arc::new(Mutex::new(addresses.to_vec())),
            asked: Arc::default(),
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let n = self.addresses.lock().unwrap().len();
        (0..n).map(|i| format!("ws://name{i}:9000")).collect()
    }

    pub(crate) fn resolver(&self) -> Resolver {
        let names = self.clone();
        Resolver::new(move |name, _| {
            let index: usize = name.strip_prefix("name").unwrap().parse().unwrap();
            names.asked[index].fetch_add(1, Ordering::AcqRel);
            let addresses = names.addresses.lock().unwrap();
            addresses.get(index).map_or_else(
                || Err(io::Error::other("no such host")),
                |address| Ok(vec![*address]),
            )
        })
    }

    fn asked(&self, index: usize) -> usize {
        self.asked[index].load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, index: usize, address: SocketAddr) {
        self.addresses.lock().unwrap()[index] = address;
    }
}

/// What is known of each server: whether it rests, how often it was reached, and how
/// often it was not.
fn resting(backend: &heirloom::net::Backend) -> Vec<(bool, u64, u64)> {
    let counts = |t: TargetState<'_>| (t.is_resting, t.connects, t.failures);
    backend.targets().map(counts).collect()
}

#[test]
fn a_server_that_failed_rests_and_is_found_again() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let names = Names::of(&[gone(), two.address]);
    let kept = Mutex::new(None);
    let gate = gate_of(&names.urls(), |set| {
        set.backend.resolver = names.resolver();
        // For as long as five clients take.
        set.backend = set.backend.clone().with_rest_ms(3_000, 3_000);
        *kept.lock().unwrap() = Some(set.backend.clone());
    });
    for _ in 0..5 {
        bridge(&gate, &two, RFC);
    }
    assert_eq!(names.asked(0), 1, "a server that rests is not dialled");
    let backend = kept.into_inner().unwrap().unwrap();
    assert_eq!(resting(&backend), [(true, 0, 1), (false, 5, 0)]);
    names.set(0, one.address);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let mut served = loop {
            match one.accept_now().or_else(|| two.accept_now()) {
                Some(served) => break served,
                None => thread::yield_now(),
            }
        };
        served.agree_to(&[]);
        client.agree(RFC);
        let host = served.head.header("Host").map(str::to_owned);
        if host.as_deref() == Some("name0:9000") {
            break;
        }
        assert!(Instant::now() < until, "it is never tried again");
    }
    assert_eq!(resting(&backend)[0], (false, 1, 1));
    bridge(&gate, &one, RFC);
}

#[test]
fn a_client_is_not_refused_only_because_all_rest() {
    let backend = Backend::listen();
    let names = Names::of(&[gone(), gone()]);
    let gate = gate_of(&names.urls(), |set| {
        set.backend.resolver = names.resolver();
        set.backend = set.backend.clone().with_rest_ms(3_600_000, 3_600_000);
    });
    for n in 1..=3 {
        let (status, body) = refused(&gate, RFC);
        assert_eq!(status, 502);
        assert!(body.starts_with("backend-unreachable: "), "{body}");
        assert_eq!((names.asked(0), names.asked(1)), (n, n), "both are tried");
        let seen = gate.seen();
        assert_eq!(
            (seen.by, seen.what),
            (ClosedBy::Backend, "backend-unreachable")
        );
        assert_eq!(seen.target.as_deref(), Some("name1:9000"));
        assert_eq!(seen.status, None);
    }
    names.set(1, backend.address);
    bridge(&gate, &backend, HIXIE_75);
}

#[test]
fn an_answer_is_no_failure() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let gate = gate_of(&[one.url(), two.url()], |_| {});
    for (status, says) in [(403, 403), (404, 404), (500, 502), (503, 502)] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, "/"));
        let response = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        one.accept().send(response.as_bytes());
        assert_eq!(client.response().0.status(), says);
        drop(client);
        assert_eq!(gate.seen().status, Some(status));
    }
    two.has_nobody();
}

#[test]
fn a_server_that_ends_without_an_answer_is_followed_by_the_next() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let gate = gate_of(&[one.url(), two.url()], |_| {});
    for speaks in ALL {
        for ends in [Peer::reset, |peer: Peer| peer.finish()] {
            let mut client = Peer::connect(gate.address);
            client.send(&request(speaks, "/"));
            ends(one.accept().into_peer());
            let mut served = two.open();
            client.agree(speaks);
            served.send_text("here");
            assert_eq!(client.receive_text(), "here");
        }
    }
    // With one octet it has begun to answer.
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    let mut served = one.accept();
    served.send(b"H");
    drop(served);
    let (head, body) = client.response();
    assert_eq!(head.status(), 502, "{body}");
    two.has_nobody();
}

#[test]
fn a_black_hole_does_not_use_up_the_time_of_the_next() {
    let silent = Silent::new();
    let backend = Backend::listen();
    let urls = [url(silent.address), url(silent.address), backend.url()];
    let mut kept = None;
    let gate = gate_of(&urls, |set| {
        let own = set.backend.clone().with_connect_ms(500);
        set.backend = own.with_rest_ms(3_600_000, 3_600_000);
        kept = Some(set.backend.clone());
    });
    for _ in 0..3 {
        bridge(&gate, &backend, RFC);
    }
    // They rest: the first client has waited for them, and no other.
    let known = [(true, 0, 1), (true, 0, 1), (false, 3, 0)];
    assert_eq!(resting(&kept.unwrap()), known);
    // A short deadline is shared.
    let urls = [url(silent.address), url(silent.address), backend.url()];
    let gate = gate_of(&urls, |set| set.settings.handshake_ms = 3_000);
    bridge(&gate, &backend, RFC);
}

#[test]
fn a_black_hole_that_stands_alone_is_noted() {
    let silent = Silent::new();
    let mut kept = None;
    let gate = gate_of(&[url(silent.address)], |set| {
        set.settings.handshake_ms = 1_000;
        set.backend = set.backend.clone().with_connect_ms(250);
        kept = Some(set.backend.clone());
    });
    let (status, body) = refused(&gate, RFC);
    assert_eq!(status, 504, "{body}");
    assert_eq!(gate.seen().target, Some(silent.address.to_string()));
    let target = kept.unwrap();
    let failures = || target.targets().map(|target| target.failures).sum::<u64>();
    let until = Instant::now() + PATIENCE;
    while failures() == 0 {
        assert!(Instant::now() < until, "it is not noted");
        thread::yield_now();
    }
}

#[test]
fn a_name_that_hangs_does_not_use_up_the_time_of_the_next() {
    let backend = Backend::listen();
    let address = backend.address;
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let urls = ["ws://hangs:1".to_owned(), "ws://known:1".to_owned()];
    let gate = gate_of(&urls, |set| {
        set.backend = set.backend.clone().with_connect_ms(500);
        set.backend.resolver = Resolver::new(move |name, _| {
            if name == "hangs" {
                let _ = released.lock().unwrap().recv();
            }
            Ok(vec![address])
        });
    });
    for _ in 0..3 {
        bridge(&gate, &backend, RFC);
    }
    drop(release);
}

#[test]
fn plain_http_goes_on_to_the_next_with_all_of_its_body() {
    let silent = Silent::new();
    let backend = Backend::listen();
    let urls = [url(gone()), url(silent.address), backend.url()];
    let gate = gate_of(&urls, |set| {
        set.backend = set
            .backend
            .clone()
            .with_http(Http::Pass)
            .with_connect_ms(500);
    });
    let body = "x".repeat(300_000);
    let mut client = Peer::connect(gate.address);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(format!("{head}{body}").as_bytes());
    let mut served = backend.accept();
    assert_eq!(served.exactly(body.len()), body.as_bytes());
    served.send(b"HTTP/1.1 204 Got it\r\nConnection: close\r\n\r\n");
    served.finish();
    assert_eq!(client.head().status(), 204);
    client.finish();
    drop((client, served));
    let seen = gate.seen();
    assert_eq!((seen.relayed, seen.status), (true, Some(204)));
    assert_eq!(seen.target, Some(backend.address.to_string()));
}

#[test]
fn plain_http_is_not_sent_twice() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let gate = gate_of(&[one.url(), two.url()], |set| {
        set.backend = set.backend.clone().with_http(Http::Pass);
    });
    let mut client = Peer::connect(gate.address);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    drop(one.accept());
    let (head, body) = client.response();
    assert_eq!(head.status(), 502, "{body}");
    assert!(body.starts_with("backend-cut: "), "{body}");
    two.has_nobody();
}

#[test]
fn a_client_that_leaves_is_not_dialled_for_again() {
    let silent = Silent::new();
    let two = Backend::listen();
    let gate = gate_of(&[url(silent.address), two.url()], |set| {
        set.backend = set.backend.clone().with_connect_ms(5_000);
    });
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    client.reset();
    assert_eq!(gate.seen().by, ClosedBy::Client);
    two.has_nobody();
}

#[test]
fn fifty_addresses_are_tried_in_time() {
    let silent = Silent::new();
    let backend = Backend::listen();
    let silent_ones = |n| vec![silent.address; n];
    let addresses = [silent_ones(30), vec![backend.address], silent_ones(19)].concat();
    let gate = gate_with("ws://fifty:1", |set| {
        set.settings.handshake_ms = 2_000;
        set.backend.resolver = Resolver::new(move |_, _| Ok(addresses.clone()));
    });
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send_text("found");
    assert_eq!(served.receive_text(), "found");
}

/// With TLS to servers that these certificates prove, and no patience with clients.
#[cfg(feature = "tls")]
fn trusts(tls: &heirloom::net::ClientTls) -> impl FnOnce(&mut Set) {
    |set| {
        set.backend.tls = Some(tls.clone());
        set.settings.close_ms = 100;
    }
}

#[test]
#[cfg(feature = "tls")]
fn a_server_without_tls_is_followed_by_one_that_has_it_and_by_a_plain_one() {
    use crate::support::certificate::Plan;
    use crate::support::tls_host::{TlsHost, open};
    use heirloom::net::{ClientTls, ClientTlsOptions};

    let plain = Backend::listen();
    let speaks_no_tls = TlsHost::plain(|mut stream| {
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let cuts = TlsHost::plain(drop);
    let own = Plan::new(&["localhost", "127.0.0.1"]).self_signed();
    let host = TlsHost::new(&own, |mut stream| {
        open(&mut stream);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let stranger = Plan::new(&["localhost", "127.0.0.1"]).self_signed();
    let untrusted = TlsHost::new(&stranger, |_| {});
    let folder = crate::support::folder::Folder::new();
    let mut options = ClientTlsOptions::default();
    options.trusted = vec![folder.write("ca.pem", own.pem())];
    let tls = ClientTls::new(&options).unwrap();
    let bad = [speaks_no_tls.url(), cuts.url(), untrusted.url()];
    for speaks in ALL {
        let urls = [&bad[..], &[host.url(), plain.url()]].concat();
        let gate = gate_of(&urls, trusts(&tls));
        let mut client = Peer::open(gate.address, speaks, "/");
        client.send_text("by TLS");
        let urls = [&bad[..], &[plain.url()]].concat();
        let gate = gate_of(&urls, trusts(&tls));
        let (mut client, mut served) = bridge(&gate, &plain, speaks);
        client.send_text("plain");
        assert_eq!(served.receive_text(), "plain");
    }
}

/// A server that sends back what it gets, and can be killed and started again.
struct Echo {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    streams: Arc<Mutex<HashMap<usize, TcpStream>>>,
}

impl Echo {
    fn start_at(address: SocketAddr) -> Echo {
        let listener = TcpListener::bind(address).unwrap();
        let echo = Echo {
            address: listener.local_addr().unwrap(),
            over: Arc::default(),
            streams: Arc::default(),
        };
        let (over, streams) = (Arc::clone(&echo.over), Arc::clone(&echo.streams));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut held = streams.lock().unwrap();
                if over.load(Ordering::Acquire) {
                    return;
                }
                let stream = stream.unwrap();
                held.insert(number, stream.try_clone().unwrap());
                drop(held);
                let streams = Arc::clone(&streams);
                thread::spawn(move || {
                    // It ends when its connection does, however that is.
                    let _ = catch_unwind(AssertUnwindSafe(|| Echo::serve(stream)));
                    // Thousands come in a second, and each is a descriptor.
                    streams.lock().unwrap().remove(&number);
                });
            }
        });
        echo
    }

    fn serve(stream: TcpStream) {
        let ends = stream.try_clone().unwrap();
        let mut peer = Peer::over(stream);
        let head = peer.head();
        let mut served = Served::over(peer, head);
        served.agree_to(&[]);
        // The end of TCP is no fault here.
        while ends.peek(&mut [0]).is_ok_and(|octets| octets > 0) {
            let (first, payload) = served.masked_frame();
            served.send(&clear(first, &payload));
        }
    }

    /// Ends it in the middle of what it does.
    fn kill(&self) {
        self.over.store(true, Ordering::Release);
        let streams = std::mem::take(&mut *self.streams.lock().unwrap());
        for stream in streams.into_values() {
            // The other end may be gone.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // The listener is gone when nothing takes this any more.
        while let Ok(stream) = TcpStream::connect(self.address) {
            drop(stream);
            thread::yield_now();
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn clients_do_not_notice_a_server_that_comes_and_goes() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (mut one, two) = (Echo::start_at(any), Echo::start_at(any));
    let gate = gate_of(&[url(one.address), url(two.address)], |set| {
        let own = set.backend.clone().with_balance(Balance::RoundRobin);
        set.backend = own.with_rest_ms(20, 100);
    });
    let address = gate.address;
    let (done, all) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (done, all) = (Arc::clone(&done), Arc::clone(&all));
            let speaks = ALL[n % ALL.len()];
            thread::spawn(move || {
                let (mut connections, mut echoes) = (0, 0);
                while !done.load(Ordering::Acquire) {
                    let mut client = Peer::connect(address);
                    client.send(&request(speaks, "/"));
                    // There is always one that can be reached.
                    client.agree(speaks);
                    connections += 1;
                    all.fetch_add(1, Ordering::Relaxed);
                    let text = format!("{n} says {connections}");
                    client.send(&said(speaks, &text));
                    // Its server may be gone since.
                    echoes += usize::from(client.receives(text.as_bytes()));
                }
                (connections, echoes)
            })
        })
        .collect();
    let (mut rounds, until) = (0, Instant::now() + PATIENCE);
    while rounds < 8 || all.load(Ordering::Relaxed) < 50 {
        assert!(Instant::now() < until, "clients are not served");
        rounds += 1;
        thread::sleep(milliseconds(50));
        let address = one.address;
        drop(one);
        thread::sleep(milliseconds(50));
        one = Echo::start_at(address);
    }
    done.store(true, Ordering::Release);
    let counts: Vec<(usize, usize)> = clients.into_iter().map(|c| c.join().unwrap()).collect();
    let connections: usize = counts.iter().map(|(connections, _)| connections).sum();
    let echoes: usize = counts.iter().map(|(_, echoes)| echoes).sum();
    assert!(echoes > 0 && echoes <= connections, "{counts:?}");
}

/// `heirloom gateway` in front of these.
fn program(urls: &[String], args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0"]);
    for url in urls {
        command.args(["--to", url]);
    }
    Program::start(command.args(args))
}

#[test]
fn the_log_tells_once_of_each_change_and_of_each_step_where_that_is_asked_for() {
    let backend = Backend::listen();
    let away = gone();
    let urls = [
        url(away),
        format!("ws://localhost:{}", backend.address.port()),
    ];
    for (args, steps) in [(&["--backend-rest-ms", "1"][..], false), (&["-v"], true)] {
        let gateway = program(&urls, args);
        for _ in 0..20 {
            let mut client = Peer::connect(gateway.address);
            client.send(&request(RFC, "/"));
            backend.open();
            client.agree(RFC);
        }
        gateway.signal("TERM");
        let (_, ended) = gateway.wait();
        let count = |what: &str| ended.talk.lines().filter(|l| l.contains(what)).count();
        let told = format!("the backend {away} cannot be reached: ");
        assert_eq!(count(&told), 1, "{}", ended.talk);
        let step = format!("cannot connect to {away}: ");
        assert_eq!(count(&step) > 0, steps, "{}", ended.talk);
        assert_eq!(count("is tried next") > 0, steps, "{}", ended.talk);
        let host = format!("backend=localhost:{} status=101 ", backend.address.port());
        let lines = ended.out.lines().filter(|line| line.contains(&host));
        assert_eq!(lines.count(), 20, "{}", ended.out);
    }
}
