//! A backend of several servers: which one a client gets, and what becomes of clients
//! while some of them are away.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::net::{Balance, Binary, Check, ClosedBy, Http, Resolver, TargetState};
use socket2::SockRef;

use crate::gate::{ALL, Gate, HIXIE_75, Set, bridge, gate_with, milliseconds};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, Silent, clear};
use crate::support::peer::{Peer, RFC, Speaks, request, said};

/// An address where nothing listens.
fn gone() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}")
}

/// A gateway with these servers.
fn gate_of(urls: &[String], set: impl FnOnce(&mut Set)) -> Gate {
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
fn refused(gate: &Gate, speaks: Speaks) -> (u16, String) {
    let mut client = Peer::connect(gate.address);
    client.send(&request(speaks, "/"));
    let (head, body) = client.response();
    (head.status(), body)
}

#[test]
fn the_first_that_can_be_reached_is_used_in_every_version() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let urls = [url(gone()), one.url(), two.url()];
    let gate = gate_of(&urls, |_| {});
    for speaks in ALL {
        let start = Instant::now();
        let (mut client, mut served) = bridge(&gate, &one, speaks);
        assert!(start.elapsed() < Duration::from_secs(1), "{speaks:?}");
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
struct Names {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    asked: Arc<[AtomicUsize; 4]>,
}

impl Names {
    fn of(addresses: &[SocketAddr]) -> Names {
        Names {
            addresses: Arc::new(Mutex::new(addresses.to_vec())),
            asked: Arc::default(),
        }
    }

    fn urls(&self) -> Vec<String> {
        let n = self.addresses.lock().unwrap().len();
        (0..n).map(|i| format!("ws://name{i}:9000")).collect()
    }

    fn resolver(&self) -> Resolver {
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

    fn set(&self, index: usize, address: SocketAddr) {
        self.addresses.lock().unwrap()[index] = address;
    }
}

#[test]
fn a_server_that_failed_rests_and_is_found_again() {
    let (one, two) = (Backend::listen(), Backend::listen());
    let names = Names::of(&[gone(), two.address]);
    let kept = Mutex::new(None);
    let gate = gate_of(&names.urls(), |set| {
        set.backend.resolver = names.resolver();
        set.backend = set.backend.clone().with_rest_ms(300, 300);
        *kept.lock().unwrap() = Some(set.backend.clone());
    });
    for _ in 0..5 {
        bridge(&gate, &two, RFC);
    }
    assert_eq!(names.asked(0), 1, "a server that rests is not dialled");
    let backend = kept.into_inner().unwrap().unwrap();
    let resting = |backend: &heirloom::net::Backend| -> Vec<(bool, u64, u64)> {
        let counts = |t: TargetState<'_>| (t.is_resting, t.connects, t.failures);
        backend.targets().map(counts).collect()
    };
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
    let gate = gate_of(&urls, |set| {
        set.backend = set.backend.clone().with_connect_ms(200);
    });
    for round in 0..3 {
        let start = Instant::now();
        bridge(&gate, &backend, RFC);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert!(
            round == 0 || took < milliseconds(200),
            "they rest: {took:?}"
        );
    }
    // A short deadline is shared.
    let urls = [url(silent.address), url(silent.address), backend.url()];
    let gate = gate_of(&urls, |set| set.settings.handshake_ms = 1_500);
    bridge(&gate, &backend, RFC);
}

#[test]
fn a_name_that_hangs_does_not_use_up_the_time_of_the_next() {
    let backend = Backend::listen();
    let address = backend.address;
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let urls = ["ws://hangs:1".to_owned(), "ws://known:1".to_owned()];
    let gate = gate_of(&urls, |set| {
        set.backend = set.backend.clone().with_connect_ms(100);
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
            .with_connect_ms(200);
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
    let addresses = [vec![silent.address; 49], vec![backend.address]].concat();
    let gate = gate_with("ws://fifty:1", |set| {
        set.settings.handshake_ms = 5_000;
        set.backend.resolver = Resolver::new(move |_, _| Ok(addresses.clone()));
    });
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send_text("the last");
    assert_eq!(served.receive_text(), "the last");
}

/// A gateway whose backend has a name that is resolved to what the sender says.
fn gate_to_be_led(http: Http) -> (Gate, Arc<Mutex<Option<SocketAddr>>>) {
    let to = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&to);
    let gate = gate_with("ws://behind:1", |set| {
        set.backend = set
            .backend
            .clone()
            .with_http(http)
            .with_binary(Binary::Base64);
        set.backend.resolver = Resolver::new(move |_, _| {
            let address: Option<SocketAddr> = *asked.lock().unwrap();
            Ok(address.into_iter().collect())
        });
    });
    (gate, to)
}

#[test]
fn a_gateway_that_leads_to_itself_says_so() {
    let (gate, to) = gate_to_be_led(Http::Pass);
    *to.lock().unwrap() = Some(gate.address);
    for speaks in ALL {
        let (status, body) = refused(&gate, speaks);
        assert_eq!(status, 508, "{speaks:?}: {body}");
        assert!(body.starts_with("gateway-loop: "), "{body}");
        let ends = [gate.seen(), gate.seen()];
        assert!(
            ends.iter().all(|seen| seen.what == "gateway-loop"),
            "{ends:?}"
        );
    }
    let mut client = Peer::connect(gate.address);
    client.send(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, body) = client.response();
    assert_eq!(head.status(), 508, "{body}");
}

#[test]
fn a_circle_of_two_gateways_is_found() {
    let (one, to_two) = gate_to_be_led(Http::Refuse);
    let (two, to_one) = gate_to_be_led(Http::Refuse);
    *to_two.lock().unwrap() = Some(two.address);
    *to_one.lock().unwrap() = Some(one.address);
    for speaks in ALL {
        let (status, body) = refused(&one, speaks);
        assert_eq!(status, 508, "{speaks:?}: {body}");
        assert!(body.starts_with("gateway-loop: "), "{body}");
        // The client's, and the one that came back.
        assert_eq!([one.seen().what, one.seen().what], ["gateway-loop"; 2]);
        assert_eq!(two.seen().what, "gateway-loop");
    }
}

#[test]
fn two_gateways_in_a_row_are_no_circle() {
    let (one, to_two) = gate_to_be_led(Http::Refuse);
    let (two, to_one) = gate_to_be_led(Http::Refuse);
    let backend = Backend::listen();
    *to_two.lock().unwrap() = Some(two.address);
    *to_one.lock().unwrap() = Some(backend.address);
    let mut client = Peer::connect(one.address);
    client.send(&request(RFC, "/"));
    let served = backend.open();
    client.agree(RFC);
    let hops = served.head.header("CDN-Loop").unwrap();
    assert_eq!(hops.split(", ").count(), 2, "{hops}");
}

/// What is known of the servers of a backend: whether each rests.
fn resting(backend: &heirloom::net::Backend) -> Vec<bool> {
    backend.targets().map(|target| target.is_resting).collect()
}

fn await_resting(backend: &heirloom::net::Backend, want: &[bool]) {
    let until = Instant::now() + PATIENCE;
    while resting(backend) != want {
        assert!(Instant::now() < until, "{:?} never was", want);
        thread::sleep(milliseconds(5));
    }
}

/// A gateway whose servers are checked every 50 ms, and its backend.
fn checked(
    urls: &[String],
    check: Check,
    set: impl FnOnce(&mut Set),
) -> (Gate, heirloom::net::Backend) {
    let mut backend = None;
    let gate = gate_of(urls, |all| {
        set(all);
        let own = all
            .backend
            .clone()
            .with_check(check, 50)
            .with_rest_ms(3_600_000, 3_600_000);
        backend = Some(own.clone());
        all.backend = own;
    });
    (gate, backend.unwrap())
}

#[test]
fn a_check_of_tcp_finds_a_server_before_a_client_does() {
    let one = Backend::listen();
    let names = Names::of(&[gone(), one.address]);
    let (gate, backend) = checked(&names.urls(), Check::Tcp, |set| {
        set.backend.resolver = names.resolver();
    });
    await_resting(&backend, &[true, false]);
    // It is there again, and an hour of rest does not matter.
    let two = Backend::listen();
    names.set(0, two.address);
    await_resting(&backend, &[false, false]);
    // Checks send nothing.
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    let mut served = loop {
        let mut peer = two.accept_raw();
        let mut first = [0];
        if peer.stream().peek(&mut first).unwrap_or(0) > 0 {
            let head = peer.head();
            break Served::over(peer, head);
        }
    };
    served.agree_to(&[]);
    client.agree(RFC);
}

#[test]
fn a_check_by_an_opening_handshake_ends_as_a_client_does() {
    let backend = Backend::listen();
    let (_gate, known) = checked(&[backend.url()], Check::WebSocket, |set| {
        set.backend.send_proxy = Some(heirloom::net::ProxyVersion::V1);
    });
    // One that refuses is away, and so is one that says nothing.
    for answer in [
        "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let mut peer = backend.accept_raw();
        assert_eq!(peer.head().lines[0], "PROXY UNKNOWN");
        peer.send(answer.as_bytes());
        drop(peer);
        await_resting(&known, &[true]);
    }
    let mut peer = backend.accept_raw();
    let introduction = "PROXY UNKNOWN\r\n";
    assert_eq!(peer.exactly(introduction.len()), introduction.as_bytes());
    let head = peer.head();
    assert!(head.header("CDN-Loop").unwrap().starts_with("heirloom-"));
    let mut served = Served::over(peer, head);
    served.agree_to(&[]);
    served.receive_close(1000);
    await_resting(&known, &[false]);
}

#[test]
fn checks_end_with_their_backend() {
    let backend = Backend::listen();
    let (gate, known) = checked(&[backend.url()], Check::Tcp, |_| {});
    backend.accept_raw();
    backend.accept_raw();
    drop((gate, known));
    // One may be under way.
    thread::sleep(milliseconds(100));
    while backend.accept_raw_now().is_some() {}
    thread::sleep(milliseconds(200));
    assert!(backend.accept_raw_now().is_none());
}

#[test]
fn a_check_that_hangs_delays_no_other() {
    let silent = Silent::new();
    let backend = Backend::listen();
    let urls = [url(silent.address), backend.url()];
    let (_gate, known) = checked(&urls, Check::WebSocket, |set| {
        set.backend = set.backend.clone().with_connect_ms(2_000);
    });
    let begin = Instant::now();
    for _ in 0..5 {
        backend.open().receive_close(1000);
    }
    let took = begin.elapsed();
    assert!(took < milliseconds(1_500), "{took:?}");
    await_resting(&known, &[true, false]);
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
        let gate = gate_of(&urls, |set| set.backend.tls = Some(tls.clone()));
        let mut client = Peer::open(gate.address, speaks, "/");
        client.send_text("by TLS");
        let urls = [&bad[..], &[plain.url()]].concat();
        let gate = gate_of(&urls, |set| set.backend.tls = Some(tls.clone()));
        let (mut client, mut served) = bridge(&gate, &plain, speaks);
        client.send_text("plain");
        assert_eq!(served.receive_text(), "plain");
    }
}

/// A server that sends back what it gets, and can be killed and started again.
struct Echo {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
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
            for stream in listener.incoming() {
                let mut streams = streams.lock().unwrap();
                if over.load(Ordering::Acquire) {
                    return;
                }
                let stream = stream.unwrap();
                streams.push(stream.try_clone().unwrap());
                drop(streams);
                // It ends when its connection does, however that is.
                thread::spawn(move || catch_unwind(AssertUnwindSafe(|| Echo::serve(stream))));
            }
        });
        echo
    }

    fn serve(stream: TcpStream) {
        let mut peer = Peer::over(stream);
        let head = peer.head();
        let mut served = Served::over(peer, head);
        served.agree_to(&[]);
        loop {
            let (first, payload) = served.masked_frame();
            served.send(&clear(first, &payload));
        }
    }

    /// Ends it in the middle of what it does.
    fn kill(&self) {
        self.over.store(true, Ordering::Release);
        let streams = std::mem::take(&mut *self.streams.lock().unwrap());
        for stream in streams {
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
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (done, speaks) = (Arc::clone(&done), ALL[n % ALL.len()]);
            thread::spawn(move || {
                let (mut connections, mut echoes) = (0, 0);
                while !done.load(Ordering::Acquire) {
                    let mut client = Peer::connect(address);
                    client.send(&request(speaks, "/"));
                    // There is always one that can be reached.
                    client.agree(speaks);
                    connections += 1;
                    let text = format!("{n} says {connections}");
                    client.send(&said(speaks, &text));
                    // Its server may be gone since.
                    echoes += usize::from(client.receives(text.as_bytes()));
                }
                (connections, echoes)
            })
        })
        .collect();
    for _ in 0..8 {
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
    assert!(connections >= 50, "{counts:?}");
    assert!(echoes > 0 && echoes <= connections, "{counts:?}");
}
