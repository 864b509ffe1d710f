//! The numbers of the admin listener: they are what clients did, and what the access
//! lines say.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use heirloom::Config;
use heirloom::net::{Router, Server, Site, serve};
use serde_json::Value;

use crate::gate::{HIXIE_75, HIXIE_76};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served, clear};
use crate::support::certificate::Plan;
use crate::support::metrics::Scrape;
use crate::support::peer::{CLOSE, KEY3, Peer, RFC, Speaks, frame, request};
use crate::support::program::{HEIRLOOM, Program, run};
use crate::support::tls_host::Files;

/// The address in the line that tells it.
pub(crate) fn admin_of(program: &Program) -> SocketAddr {
    let line = program.await_talk("admin on http://");
    let (_, address) = line.split_once("http://").unwrap();
    address.trim_end_matches('/').parse().unwrap()
}

/// A page of the admin listener: its status, its media type and its body.
pub(crate) fn get(admin: SocketAddr, target: &str) -> (u16, String, String) {
    let mut peer = Peer::connect(admin);
    peer.send(format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes());
    let (head, body) = peer.response();
    let kind = head.header("Content-Type").unwrap().to_owned();
    (head.status(), kind, body)
}

pub(crate) fn scrape(admin: SocketAddr) -> Scrape {
    let (status, kind, body) = get(admin, "/metrics");
    assert_eq!(status, 200, "{body}");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    Scrape::read(&body)
}

/// The first scrape of which this holds.
fn scrape_when(admin: SocketAddr, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let until = Instant::now() + PATIENCE;
    loop {
        let scrape = scrape(admin);
        if holds(&scrape) {
            return scrape;
        }
        assert!(Instant::now() < until, "{what} never holds: {scrape:#?}");
    }
}

fn gateway(to: &str, args: &[&str]) -> (Program, SocketAddr) {
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    command.args([
        "--versions",
        "all",
        "--origin",
        "http://example.com",
        "--to",
        to,
    ]);
    let program = Program::start(command.args(args));
    let admin = admin_of(&program);
    (program, admin)
}

fn open(program: &Program, backend: &Backend, speaks: Speaks) -> (Peer, Served) {
    let mut client = Peer::connect(program.address);
    let mut whole = String::from_utf8(request(speaks, "/")).unwrap();
    if let Speaks::Number(_) = speaks {
        whole = whole.replace("Connection:", "Origin: http://example.com\r\nConnection:");
    }
    client.send(whole.as_bytes());
    let served = backend.open();
    client.agree(speaks);
    (client, served)
}

/// Of each name that a gateway speaks in these tests.
const SPOKEN: [(Speaks, &str); 5] = [
    (HIXIE_75, "hixie-75"),
    (HIXIE_76, "hixie-76"),
    (Speaks::Number(7), "hybi-07"),
    (Speaks::Number(8), "hybi-08"),
    (RFC, "rfc6455"),
];

#[test]
fn the_numbers_are_what_clients_did_while_they_are_there_and_when_they_are_gone() {
    let backend = Backend::listen();
    let (mut program, admin) = gateway(&backend.url(), &["--workers", "2"]);
    let mut lines = program.take_lines();
    let mut pairs = Vec::new();
    // One of the first, two of the second, and so on.
    for (index, (speaks, _)) in SPOKEN.iter().enumerate() {
        for _ in 0..=index {
            let (mut client, mut served) = open(&program, &backend, *speaks);
            client.send_text("grüße");
            assert_eq!(served.receive_text(), "grüße");
            served.send_text("you");
            assert_eq!(client.receive_text(), "you");
            pairs.push((client, served));
        }
    }
    let pairs_count = pairs.len();
    let count = pairs_count as f64;
    let handshakes = "heirloom_handshakes_total";
    let held_by = |scrape: &Scrape, is_open: bool| {
        for (index, (_, name)) in SPOKEN.iter().enumerate() {
            let own = index as f64 + 1.0;
            let labels = [("version", *name), ("state", "open"), ("route", "/")];
            let there = scrape.get("heirloom_connections", &labels);
            assert_eq!(there, if is_open { own } else { 0.0 }, "{scrape:#?}");
            let went_well = scrape.get(handshakes, &[("version", name), ("code", "101")]);
            assert_eq!(went_well, own, "{scrape:#?}");
            for (direction, octets) in [("received", 7.0), ("sent", 3.0)] {
                let labels = [("version", *name), ("direction", direction)];
                let messages = scrape.get("heirloom_messages_total", &labels);
                assert_eq!(messages, own, "{scrape:#?}");
                let all = scrape.get("heirloom_payload_bytes_total", &labels);
                assert_eq!(all, own * octets, "{scrape:#?}");
            }
        }
        assert_eq!(scrape.get("heirloom_backend_dials_total", &[]), count);
        assert_eq!(scrape.get("heirloom_backend_connects_total", &[]), count);
        assert_eq!(
            scrape.get("heirloom_connections_accepted_total", &[]),
            count
        );
    };
    let there = scrape(admin);
    held_by(&there, true);
    assert_eq!(there.sum("heirloom_connections", &[]), count);
    assert_eq!(there.sum("heirloom_connections_closed_total", &[]), 0.0);
    // They go in the way that each has, and each has a line then.
    for (mut client, mut served) in pairs {
        match client.speaks() {
            Speaks::Number(_) => {
                client.send(&frame(CLOSE, &[0x03, 0xe8]));
                served.receive_close(1000);
                served.send(&clear(CLOSE, &[0x03, 0xe8]));
                client.close_frame(1000);
            }
            Speaks::Hixie76 => {
                client.send(&[0xff, 0]);
                served.receive_close(1000);
                served.send(&clear(CLOSE, &[0x03, 0xe8]));
                assert_eq!(client.exactly(2), [0xff, 0]);
            }
            Speaks::Hixie75 => client.finish(),
        }
        drop((client, served));
    }
    for _ in 0..pairs_count {
        lines.next_line();
    }
    let gone = scrape(admin);
    held_by(&gone, false);
    assert_eq!(gone.sum("heirloom_connections", &[]), 0.0, "{gone:#?}");
    let closed = [("by", "client"), ("reason", "closed")];
    assert_eq!(
        gone.get("heirloom_connections_closed_total", &closed),
        count
    );
}

/// A field of an access line.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let word = line
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    word.unwrap_or_else(|| panic!("no {name}: {line}"))
}

#[test]
fn refusals_and_ends_are_counted_by_code_as_the_access_lines_have_them() {
    let backend = Backend::listen();
    let (program, admin) = gateway(&backend.url(), &[]);
    let ask = |octets: &[u8]| {
        let mut client = Peer::connect(program.address);
        client.send(octets);
        client.response().0.status()
    };
    // The origin of these is not allowed, or missing.
    for _ in 0..3 {
        assert_eq!(ask(&request(RFC, "/")), 403);
    }
    let other = String::from_utf8(request(HIXIE_76, "/")).unwrap();
    let other = other.replace("http://example.com", "http://other.example");
    assert_eq!(ask(other.as_bytes()), 403);
    for _ in 0..2 {
        assert_eq!(ask(&request(Speaks::Number(99), "/")), 426);
    }
    assert_eq!(ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
    assert_eq!(ask(b"GET /no HTTP/1.1\r\nHost: h\r\n\r\n"), 404);
    // The backend refuses this one.
    let mut client = Peer::connect(program.address);
    client.send(&request(HIXIE_75, "/"));
    backend.accept().send(b"HTTP/1.1 403 No\r\n\r\n");
    assert_eq!(client.response().0.status(), 403);
    // And this one never sends its eight octets.
    let mut client = Peer::connect(program.address);
    let whole = request(HIXIE_76, "/");
    client.send(&whole[..whole.len() - KEY3.len()]);
    let served = backend.open();
    assert_eq!(client.head().status(), 101);
    drop(client);
    drop(served);
    let all = "heirloom_connections_closed_total";
    let told = scrape_when(admin, "ten have ended", |scrape| {
        scrape.sum(all, &[]) == 10.0
    });
    assert_eq!(told.get("heirloom_connections_accepted_total", &[]), 10.0);
    assert_eq!(told.get("heirloom_http_pages_total", &[]), 1.0);
    let failures = told.get(
        "heirloom_backend_failures_total",
        &[("code", "backend-refused")],
    );
    assert_eq!(failures, 1.0);
    program.signal("TERM");
    let (_, ended) = program.wait();
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 10);
    // Each code has as many handshakes as lines, and each end as many connections.
    let mut codes = BTreeSet::new();
    for line in &lines {
        let version = match field(line, "version") {
            "-" => "none",
            version => version,
        };
        let code = match (field(line, "state"), field(line, "ended")) {
            ("open" | "answered", _) => "101",
            ("page", _) => continue,
            (_, code) => code,
        };
        codes.insert((version.to_owned(), code.to_owned()));
    }
    let handshakes = "heirloom_handshakes_total";
    for (version, code) in &codes {
        let alike = lines.iter().filter(|line| {
            let own = field(line, "version");
            let is_open = matches!(field(line, "state"), "open" | "answered");
            (own == version || own == "-" && version == "none")
                && if is_open {
                    code == "101"
                } else {
                    field(line, "ended") == code
                }
        });
        let labels = [("version", &**version), ("code", &**code)];
        let counted = told.get(handshakes, &labels);
        assert_eq!(counted, alike.count() as f64, "{labels:?}: {told:#?}");
    }
    assert_eq!(told.sum(handshakes, &[]), 9.0, "{told:#?}");
    assert_eq!(told.all(handshakes).count(), codes.len(), "{told:#?}");
    for (labels, count) in told.all(all) {
        let alike = lines.iter().filter(|line| {
            field(line, "by") == labels["by"] && field(line, "ended") == labels["reason"]
        });
        assert_eq!(count, alike.count() as f64, "{labels:?}: {lines:#?}");
    }
}

#[test]
fn backends_that_are_not_there_and_plain_http_that_is_passed_are_counted() {
    let gone = Backend::listen();
    let url = gone.url();
    drop(gone);
    let (program, admin) = gateway(&url, &["--http", "pass"]);
    for octets in [
        request(HIXIE_76, "/"),
        b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
    ] {
        let mut client = Peer::connect(program.address);
        client.send(&octets);
        assert_eq!(client.response().0.status(), 502);
    }
    let told = scrape_when(admin, "both have ended", |scrape| {
        scrape.sum("heirloom_connections_closed_total", &[]) == 2.0
    });
    assert_eq!(told.get("heirloom_backend_dials_total", &[]), 2.0);
    assert_eq!(told.get("heirloom_backend_connects_total", &[]), 0.0);
    let code = [("code", "backend-unreachable")];
    assert_eq!(told.get("heirloom_backend_failures_total", &code), 2.0);
    assert_eq!(told.get("heirloom_http_passed_total", &[]), 1.0);
    let refused = [("version", "hixie-76"), ("code", "backend-unreachable")];
    assert_eq!(told.get("heirloom_handshakes_total", &refused), 1.0);
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_says_what_it_has() {
    let backend = Backend::listen();
    let (program, admin) = gateway(&backend.url(), &["--max-memory-bytes", "64MiB"]);
    let told = scrape(admin);
    let descriptors = |told: &Scrape| told.get("process_open_fds", &[]);
    let before = descriptors(&told);
    let resident = told.get("process_resident_memory_bytes", &[]);
    assert!((1e6..1e9).contains(&resident), "{resident}");
    assert!(told.get("process_max_fds", &[]) > before);
    assert_eq!(
        told.get("heirloom_memory_limit_bytes", &[]),
        64.0 * 1024.0 * 1024.0
    );
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(told.get("heirloom_build_info", &version), 1.0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let started = told.get("process_start_time_seconds", &[]);
    assert!(
        (0.0..60.0).contains(&(now.as_secs_f64() - started)),
        "{started}"
    );
    assert_eq!(told.get("heirloom_draining", &[]), 0.0);
    // A client and its backend have a descriptor each.
    let _pairs: Vec<_> = (0..5).map(|_| open(&program, &backend, RFC)).collect();
    scrape_when(admin, "each has one", |told| {
        descriptors(told) == before + 10.0
    });
}

#[test]
fn each_number_is_of_one_moment_while_clients_come_and_go() {
    let program = Program::serve(&["--admin", "127.0.0.1:0", "--workers", "2"]);
    let admin = admin_of(&program);
    let address = program.address;
    let until = Instant::now() + Duration::from_secs(2);
    let visits = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut visits = 0.0;
                    while Instant::now() < until {
                        Peer::open(address, RFC, "/").echo("hello");
                        visits += 1.0;
                    }
                    visits
                })
            })
            .collect();
        let mut before = 0.0;
        while Instant::now() < until {
            let told = scrape(admin);
            let accepted = told.get("heirloom_connections_accepted_total", &[]);
            let there = told.sum("heirloom_connections", &[]);
            let gone = told.sum("heirloom_connections_closed_total", &[]);
            assert_eq!(accepted, there + gone, "{told:#?}");
            assert!(accepted >= before, "{accepted} after {before}");
            before = accepted;
        }
        visitors
            .into_iter()
            .map(|visitor| visitor.join().unwrap())
            .sum::<f64>()
    });
    let told = scrape_when(admin, "all are gone", |told| {
        told.sum("heirloom_connections", &[]) == 0.0
    });
    assert_eq!(told.get("heirloom_connections_accepted_total", &[]), visits);
    let labels = [("version", "rfc6455"), ("code", "101")];
    assert_eq!(told.get("heirloom_handshakes_total", &labels), visits);
}

/// The names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("heirloom_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_and_the_documentation_name_the_metrics_that_are_there() {
    let backend = Backend::listen();
    let (program, admin) = gateway(&backend.url(), &[]);
    // The certificates could not be read again: there are none. Metrics without a
    // sample have a TYPE all the same.
    let told = scrape(admin);
    let there: BTreeSet<String> = told.types.keys().cloned().collect();
    drop(program);
    let dashboard = fs::read_to_string("docs/grafana-dashboard.json").unwrap();
    let json: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = json["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "panels share an id");
    let mut used = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let names = names_in(target["expr"].as_str().unwrap());
            assert!(!names.is_empty(), "{target}");
            used.extend(names);
        }
        assert!(panel["gridPos"]["w"].is_u64(), "{panel}");
    }
    let missing: Vec<_> = used.difference(&there).collect();
    assert!(missing.is_empty(), "the dashboard names {missing:?}");
    let guide = fs::read_to_string("docs/deployment.md").unwrap();
    let (_, section) = guide.split_once("\n## Metrics\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<String> = rows
        .flat_map(|row| names_in(row.split('|').nth(1).unwrap()))
        .collect();
    let undocumented: Vec<_> = there.difference(&documented).collect();
    assert!(undocumented.is_empty(), "no row for {undocumented:?}");
    let absent: Vec<_> = documented.difference(&there).collect();
    assert!(absent.is_empty(), "no metric is called {absent:?}");
}

#[test]
fn handshakes_of_tls_and_the_end_of_certificates_are_told() {
    let made = Plan::new(&[
        "localhost",
        "127.0.0.1",
        "a.example",
        "b.example",
        "c.example",
    ])
    .years(2020, 2040)
    .self_signed();
    let files = Files::of(&made);
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "serve",
        "--listen",
        "tls://127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    let program = Program::start(command.args(files.options()));
    let admin = admin_of(&program);
    let url = format!("wss://{}/", program.address);
    let ended = run(&["probe", &url, "--versions", "rfc6455", "--insecure"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // No ClientHello is so short.
    let mut client = Peer::connect(program.address);
    client.send(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    client.is_cut_off();
    let told = scrape_when(admin, "all have ended", |told| {
        told.sum("heirloom_tls_failures_total", &[]) > 0.0
            && told.sum("heirloom_connections", &[]) == 0.0
    });
    let agreed = told.get(
        "heirloom_tls_handshakes_total",
        &[("tls_version", "TLSv1.3")],
    );
    assert!(agreed >= 1.0, "{told:#?}");
    let opened = [("version", "rfc6455"), ("code", "101")];
    assert!(
        told.get("heirloom_handshakes_total", &opened) >= 1.0,
        "{told:#?}"
    );
    assert_eq!(
        told.sum("heirloom_tls_failures_total", &[]),
        1.0,
        "{told:#?}"
    );
    // Four of its five names.
    let names = "localhost 127.0.0.1 a.example b.example";
    let labels = [("certificate", "1"), ("names", names)];
    let ends = told.get("heirloom_certificate_expiry_timestamp_seconds", &labels);
    // The first moment of 2040.
    assert_eq!(ends, 2_208_988_800.0, "{told:#?}");
    // Files that are not there any more: the certificate from before stays.
    std::fs::remove_file(&files.key).unwrap();
    program.signal("HUP");
    program.await_talk("stay in use");
    let told = scrape(admin);
    assert_eq!(
        told.get("heirloom_reloads_total", &[("result", "bad")]),
        1.0
    );
    assert_eq!(
        told.get("heirloom_reloads_total", &[("result", "good")]),
        0.0
    );
    assert_eq!(
        told.get("heirloom_certificate_expiry_timestamp_seconds", &labels),
        ends
    );
}

#[test]
fn each_server_of_a_backend_has_its_numbers() {
    let gone = Backend::listen();
    let (url, name) = (gone.url(), gone.address.to_string());
    drop(gone);
    let backend = Backend::listen();
    let (program, admin) = gateway(&url, &["--to", &backend.url()]);
    let _pair = open(&program, &backend, RFC);
    let told = scrape(admin);
    let there = backend.address.to_string();
    for (server, up, connects, failures) in [(&name, 0.0, 0.0, 1.0), (&there, 1.0, 1.0, 0.0)] {
        let labels = [("route", "/"), ("server", &**server)];
        let of = |metric: &str| told.get(&format!("heirloom_backend_server_{metric}"), &labels);
        assert_eq!(of("up"), up, "{server}: {told:#?}");
        assert_eq!(of("connects_total"), connects, "{server}: {told:#?}");
        assert_eq!(of("failures_total"), failures, "{server}: {told:#?}");
    }
    assert_eq!(told.get("heirloom_backend_dials_total", &[]), 2.0);
    assert_eq!(told.get("heirloom_backend_connects_total", &[]), 1.0);
    // The client has noticed nothing of it.
    assert_eq!(told.sum("heirloom_backend_failures_total", &[]), 0.0);
}

#[test]
fn numbers_are_given_within_a_bounded_time_also_by_a_server_that_does_not_run() {
    let router = Router::new(serve::routes(Config::default()));
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[address], 2, router.config()).unwrap();
    let (metrics, stopper) = (server.metrics(), server.stopper());
    let address = server.addresses()[0];
    let begin = Instant::now();
    let before = metrics.snapshot();
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert_eq!((before.workers, before.silent_workers), (2, 2));
    let running = std::thread::spawn(move || server.run(|| Site::new(&router)));
    let mut peer = Peer::open(address, RFC, "/chat");
    let during = metrics.snapshot();
    assert_eq!(during.silent_workers, 0);
    assert_eq!(during.connection_count(), 1);
    assert_eq!(during.connections[0].route.as_deref(), Some("/chat"));
    assert!(!during.is_draining);
    stopper.stop();
    peer.is_sent_away();
    running.join().unwrap();
    let after = metrics.snapshot();
    assert_eq!((after.accepted, after.silent_workers), (1, 0));
    assert_eq!(after.connection_count(), 0);
    assert!(after.is_draining);
    assert!(metrics.connections(10).listed.is_empty());
}
