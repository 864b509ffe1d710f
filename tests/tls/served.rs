//! What `serve` does inside TLS is what it does without.

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use heirloom::VERSIONS;
use mio::{Events, Interest, Poll, Token};

use crate::secure::{Certificates, Client, End, Secure, Tls, receives_within, tcp};
use crate::support::PATIENCE;
use crate::support::peer::{CLOSE, Peer, RFC, Speaks, TEXT, frame, request};
use crate::support::program::{HEIRLOOM, Program, run};

const BOTH: [Tls; 2] = [Tls::V1_2, Tls::V1_3];

fn text(octets: usize) -> String {
    "heirloom ".chars().cycle().take(octets).collect()
}

#[test]
fn every_version_echoes_inside_tls_and_beside_it_on_one_port() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--versions", "all"]);
    let (plain, secure) = program.line.trim_end().split_once(" and ").unwrap();
    assert_eq!(plain, format!("listening on ws://{}/", program.address));
    assert_eq!(secure, format!("wss://{}/", program.address));
    for tls in BOTH {
        for version in VERSIONS {
            let stream = certificates.connect(program.address, tls).stream;
            let mut inside = Client::open(stream, version, true);
            let mut beside = Client::open(tcp(program.address), version, false);
            for octets in [0, 1, 125, 126, 4096, 16_384, 65_535, 65_536, 1 << 20] {
                inside.echo(&text(octets));
                beside.echo(&text(octets.min(1000)));
            }
        }
    }
}

#[test]
fn hixie_locations_say_wss() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--versions", "all"]);
    for (speaks, name) in [
        (Speaks::Hixie76, "Sec-WebSocket-Location"),
        (Speaks::Hixie75, "WebSocket-Location"),
    ] {
        let mut secure = certificates.connect(program.address, Tls::V1_3);
        let head = secure.upgrade(speaks, "/demo");
        assert!(
            head.contains(&format!("\r\n{name}: wss://example.com/demo\r\n")),
            "{head}"
        );
        let mut plain = Peer::connect(program.address);
        plain.send(&request(speaks, "/demo"));
        assert_eq!(plain.head().header(name), Some("ws://example.com/demo"));
    }
}

#[test]
fn fragments_and_compressed_messages_are_echoed() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&[]);
    for tls in BOTH {
        let mut secure = certificates.open(program.address, tls, RFC, "/");
        for first in [0x01, 0x00] {
            secure.send(&frame(first, b"half"));
        }
        secure.send(&frame(0x80, b"!"));
        assert_eq!(secure.receive_text(), "halfhalf!");
        // "Hello" of RFC 7692 section 7.2.3.1.
        let mut secure = certificates.connect(program.address, tls);
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let asked = String::from_utf8(request(RFC, "/"))
            .unwrap()
            .replace("\r\n\r\n", offer);
        secure.send(asked.as_bytes());
        let head = secure.head();
        assert!(head.contains("permessage-deflate"), "{head}");
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        secure.send(&frame(0xc1, &hello));
        let (first, payload) = secure.frame();
        let is_whole = first == TEXT && payload == b"Hello";
        assert!(
            is_whole || first == 0xc1 && payload == hello,
            "{first:x} {payload:?}"
        );
    }
}

#[test]
fn octet_by_octet_is_as_good_as_at_once() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&[]);
    for tls in BOTH {
        let mut singly = Singly(tcp(program.address));
        let name = "localhost".try_into().unwrap();
        let mut connection =
            rustls::ClientConnection::new(certificates.trusted(tls), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut singly).unwrap();
        }
        let mut stream = rustls::StreamOwned::new(connection, singly);
        let version = heirloom::Version::named("rfc6455").unwrap();
        stream.flush().unwrap();
        Client::open(&mut stream, version, true).echo(&text(300));
    }
}

/// Writes each octet alone.
struct Singly(std::net::TcpStream);

impl Read for Singly {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Singly {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.write(&octets[..octets.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_listener_takes_tls_only_or_plain_only() {
    let certificates = Certificates::of_loopback();
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "serve",
        "--listen",
        "tls://127.0.0.1:0",
        "--listen",
        "ws://127.0.0.1:0",
    ]);
    let mut program = Program::start(command.args(certificates.options()));
    assert_eq!(
        program.line,
        format!("listening on wss://{}/\n", program.address)
    );
    let plain = program.take_lines().next_line();
    let plain = plain.strip_prefix("listening on ws://").unwrap();
    let plain = plain.strip_suffix('/').unwrap().parse().unwrap();
    certificates
        .open(program.address, Tls::V1_3, RFC, "/")
        .echo("inside");
    Peer::open(plain, RFC, "/").echo("beside");

    let mut peer = Peer::connect(program.address);
    peer.send(&request(RFC, "/"));
    let (head, body) = peer.response();
    assert_eq!(head.status(), 400);
    assert!(body.starts_with("plain-on-tls-port: "), "{body}");

    let mut peer = Peer::connect(plain);
    peer.send(&crate::hello("opera-65"));
    let (head, body) = peer.response();
    assert_eq!(head.status(), 400);
    assert!(body.starts_with("tls-unexpected: "), "{body}");
}

#[test]
fn tls_only_without_a_certificate_is_an_error_of_usage() {
    let ended = run(&["serve", "--listen", "tls://127.0.0.1:0"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.talk.contains("needs a certificate"), "{}", ended.talk);
}

#[test]
fn a_certificate_that_no_listener_shows_is_an_error_of_usage() {
    let certificates = Certificates::of_loopback();
    for listen in ["ws://127.0.0.1:0", "unix:@heirloom-test-of-certificates"] {
        let args = [&["serve", "--listen", listen], &certificates.options()[..]].concat();
        let ended = run(&args);
        assert_eq!(ended.code, Some(2), "{listen}");
        assert!(
            ended.talk.contains("no --listen takes TLS"),
            "{}",
            ended.talk
        );
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_and_gets_all_in_the_end() {
    const MESSAGES: usize = 400;
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1", "--max-output-bytes", "65536"]);
    for tls in BOTH {
        let mut secure = certificates.open(program.address, tls, RFC, "/");
        let mut other = certificates.open(program.address, tls, RFC, "/");
        let message = text(64 * 1024);
        let octets = frame(TEXT, message.as_bytes());
        secure.socket().set_nonblocking(true).unwrap();
        let mut watched = mio::net::TcpStream::from_std(secure.socket().try_clone().unwrap());
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
        let registry = poll.registry().try_clone().unwrap();
        let (token, writes) = (Token(0), Interest::WRITABLE);
        registry.register(&mut watched, token, writes).unwrap();
        // Until the system takes nothing more: the server has stopped reading.
        let mut sent = 0;
        loop {
            let at = sent % octets.len();
            let part = &octets[at..octets.len().min(at + 8192)];
            let conn = &mut secure.stream.conn;
            if !conn.wants_write() {
                assert!(sent < MESSAGES * octets.len(), "the server took all");
                sent += conn.writer().write(part).unwrap();
            }
            match conn.write_tls(&mut secure.stream.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll.poll(&mut events, Some(Duration::from_millis(300)))
                        .unwrap();
                    if events.is_empty() {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        other.echo("is not kept waiting");
        // Both ways at once: the last message is finished while the first are read.
        let whole = sent.div_ceil(octets.len());
        let (due, mut got) = (whole * (10 + message.len()), 0);
        let mut room = vec![0; 64 * 1024];
        let both = writes | Interest::READABLE;
        registry.reregister(&mut watched, token, both).unwrap();
        let until = Instant::now() + PATIENCE;
        while got < due {
            assert!(Instant::now() < until, "{got} of {due} octets came");
            let (conn, sock) = (&mut secure.stream.conn, &mut secure.stream.sock);
            if !conn.wants_write() && sent < whole * octets.len() {
                sent += conn.writer().write(&octets[sent % octets.len()..]).unwrap();
            }
            let moved = [conn.write_tls(sock), conn.read_tls(sock)];
            conn.process_new_packets().unwrap();
            while let Ok(n @ 1..) = conn.reader().read(&mut room) {
                got += n;
            }
            if moved.iter().all(|moved| !matches!(moved, Ok(1..))) {
                poll.poll(&mut events, Some(PATIENCE)).unwrap();
            }
        }
        assert_eq!(got, due);
        secure.socket().set_nonblocking(false).unwrap();
        secure.echo("still here");
    }
}

#[test]
fn closes_end_with_a_close_notify_whoever_begins() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--versions", "all"]);
    for tls in BOTH {
        // The client closes WebSocket, and waits.
        let mut secure = certificates.open(program.address, tls, RFC, "/");
        secure.send(&frame(CLOSE, &[0x03, 0xe8]));
        assert_eq!(secure.frame(), (CLOSE, vec![0x03, 0xe8]));
        secure.ends();
        // It sends its close_notify right behind its close.
        let mut secure = certificates.open(program.address, tls, RFC, "/");
        secure.send(&frame(CLOSE, &[0x03, 0xe8]));
        secure.notify();
        assert_eq!(secure.frame(), (CLOSE, vec![0x03, 0xe8]));
        secure.ends();
        // The server closes, for a frame without a mask.
        let mut secure = certificates.open(program.address, tls, RFC, "/");
        secure.send(&[TEXT, 1, b'x']);
        let (first, body) = secure.frame();
        assert_eq!((first, &body[..2]), (CLOSE, &[0x03, 0xea][..]));
        secure.ends();
        // hixie-75 closes by the end alone.
        let mut secure = certificates.open(program.address, tls, Speaks::Hixie75, "/");
        secure.echo("old");
        secure.notify();
        secure.ends();
        // hixie-76.
        let mut secure = certificates.open(program.address, tls, Speaks::Hixie76, "/");
        secure.send(&[0xff, 0]);
        assert_eq!(secure.exactly(2), [0xff, 0]);
        secure.ends();
        // A page.
        let mut secure = certificates.connect(program.address, tls);
        secure.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (page, end) = secure.rest();
        assert!(page.starts_with(b"HTTP/1.1 200 ") && page.ends_with(b"\r\n\r\nok\n"));
        assert_eq!(end, End::Notified);
    }
}

#[test]
fn a_stop_drains_what_is_inside_tls() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1"]);
    let open = BOTH.map(|tls| certificates.open(program.address, tls, RFC, "/"));
    let mut half = tcp(program.address);
    half.write_all(&crate::hello("opera-65")[..100]).unwrap();
    let mut first = tcp(program.address);
    first.write_all(&[0x16]).unwrap();
    // All are read when another one is served.
    Peer::open(program.address, RFC, "/").echo("served");
    program.signal("TERM");
    for mut secure in open {
        let (first, body) = secure.frame();
        assert_eq!((first, &body[..2]), (CLOSE, &[0x03, 0xe9][..]));
        secure.send(&frame(CLOSE, &[0x03, 0xe9]));
        secure.ends();
    }
    for socket in [&mut half, &mut first] {
        let octets = crate::secure::all_of(socket);
        // An alert, and no HTTP.
        assert_eq!(octets, [0x15, 3, 1, 0, 2, 2, 80]);
    }
    drop((half, first));
    assert!(program.ends_within(PATIENCE).success());
}

#[test]
fn the_name_chooses_the_certificate_and_a_reload_replaces_it_for_new_connections() {
    let certificates = Certificates::new(&[&["a.example", "localhost"], &["*.b.example"]]);
    let program = certificates.serve(&["--workers", "2", "-v"]);
    let config = certificates.trusted(Tls::V1_3);
    let shown = |name: &str| Secure::connect(program.address, config.clone(), name).certificate();
    let mut open = certificates.open(program.address, Tls::V1_3, RFC, "/");
    let before = shown("a.example");
    assert_eq!(shown("localhost"), before);
    let other = shown("x.b.example");
    assert_ne!(other, before);

    let renewed = certificates.issue(0, &["a.example", "localhost"]);
    program.signal("HUP");
    program.await_talk("the certificates were read again");
    // Each worker learns of it by mail.
    let until = Instant::now() + PATIENCE;
    while (0..8).any(|_| shown("a.example") != renewed) {
        assert!(Instant::now() < until, "the old certificate is still shown");
    }
    assert_eq!(shown("x.b.example"), other);
    open.echo("not touched");

    certificates.spoil(1);
    program.signal("HUP");
    let line = program.await_talk("stay in use");
    assert!(line.contains("cert-1.pem"), "{line}");
    assert_eq!(shown("x.b.example"), other);
    assert_eq!(shown("a.example"), renewed);
    open.echo("not touched");
    program.signal("TERM");
    drop(open);
    let (_, ended) = program.wait();
    assert!(!ended.talk.contains("stay in use"), "{}", ended.talk);
    assert!(certificates.folder().path("cert-1.pem").exists());
}

#[test]
fn a_topic_has_subscribers_inside_tls_and_beside_it() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "2", "--versions", "all"]);
    let mut inside = certificates.open(program.address, Tls::V1_3, RFC, "/chat");
    let mut old = certificates.open(program.address, Tls::V1_2, Speaks::Hixie76, "/chat");
    let mut beside = Peer::open(program.address, RFC, "/chat");
    inside.send_text("from inside");
    assert_eq!(old.receive_text(), "from inside");
    assert_eq!(beside.receive_text(), "from inside");
    beside.send_text("from beside");
    assert_eq!(old.receive_text(), "from beside");
    assert_eq!(inside.receive_text(), "from beside");
}

#[test]
fn pages_come_over_https_and_their_origin_is_https() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--origin", "same"]);
    let mut secure = certificates.connect(program.address, Tls::V1_3);
    secure.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (page, _) = secure.rest();
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("<html"),
        "{page}"
    );
    for (scheme, status) in [("https", 101), ("http", 403)] {
        let mut secure = certificates.connect(program.address, Tls::V1_3);
        let asked = String::from_utf8(request(RFC, "/")).unwrap();
        let origin = format!("\r\nOrigin: {scheme}://example.com\r\n\r\n");
        secure.send(asked.replace("\r\n\r\n", &origin).as_bytes());
        let head = secure.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}

#[test]
fn what_is_explained_is_plaintext() {
    let certificates = Certificates::of_loopback();
    let mut program = certificates.serve(&["--explain"]);
    let mut lines = program.take_lines();
    let mut secure = certificates.open(program.address, Tls::V1_3, RFC, "/seen");
    secure.echo("seen");
    let until = Instant::now() + PATIENCE;
    let mut all = String::new();
    while !all.contains("GET /seen") {
        assert!(Instant::now() < until, "{all}");
        all.push_str(&lines.next_line());
        all.push('\n');
    }
    assert!(!all.contains("16 03 01"), "{all}");
}

#[test]
fn a_handshake_that_is_awaited_keeps_no_one_waiting() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1"]);
    let mut half = tcp(program.address);
    let hello = crate::hello("opera-65");
    half.write_all(&hello[..hello.len() - 1]).unwrap();
    assert!(!receives_within(&half, Duration::from_millis(50)));
    certificates
        .open(program.address, Tls::V1_3, RFC, "/")
        .echo("served");
    half.write_all(&hello[hello.len() - 1..]).unwrap();
    assert!(receives_within(&half, PATIENCE));
}
