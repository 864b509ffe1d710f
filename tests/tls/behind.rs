//! What a gateway tells of the TLS of its clients: to its backend, and in the line of
//! each connection.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::secure::{Certificates, Secure, Tls, tcp};
use crate::support::backend::{Backend, Served};
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::program::{HEIRLOOM, Program};

const SUITES: [(Tls, &str, &str); 2] = [
    (Tls::V1_2, "TLSv1.2", "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (Tls::V1_3, "TLSv1.3", "AES_256_GCM_SHA384"),
];

fn gateway(certificates: &Certificates, backend: &Backend, more: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0", "--versions", "all"]);
    command.args(["--to", &backend.url()]);
    Program::start(command.args(certificates.options()).args(more))
}

/// A client whose request was sent, and what its backend got.
fn ask(
    certificates: &Certificates,
    program: &Program,
    backend: &Backend,
    tls: Tls,
) -> (Secure, Served) {
    let mut secure = certificates.connect(program.address, tls);
    secure.send(&request(RFC, "/p"));
    let served = backend.accept();
    (secure, served)
}

#[test]
fn the_backend_is_told_of_https_and_the_line_of_its_version_and_suite() {
    let certificates = Certificates::of_loopback();
    let backend = Backend::listen();
    let mut program = gateway(&certificates, &backend, &[]);
    let mut lines = program.take_lines();
    for (tls, version, suite) in SUITES {
        let (mut secure, mut served) = ask(&certificates, &program, &backend, tls);
        assert_eq!(served.head.header("X-Forwarded-Proto"), Some("https"));
        let forwarded = served.head.header("Forwarded").unwrap();
        assert!(forwarded.contains("proto=https"), "{forwarded}");
        served.agree_to(&[]);
        assert!(secure.head().starts_with("HTTP/1.1 101 "));
        secure.send_text("through");
        assert_eq!(served.receive_text(), "through");
        served.send_text("and back");
        assert_eq!(secure.receive_text(), "and back");
        served.send_text(&"x".repeat(300_000));
        assert_eq!(secure.receive_text().len(), 300_000);
        drop(served);
        secure.notify();
        let line = lines.next_line();
        assert!(line.ends_with(&format!(" tls={version}/{suite}")), "{line}");
    }
    let mut plain = Peer::connect(program.address);
    plain.send(&request(RFC, "/p"));
    let served = backend.accept();
    assert_eq!(served.head.header("X-Forwarded-Proto"), Some("http"));
    drop(served);
    plain.is_cut_off();
    assert!(lines.next_line().ends_with(" tls=-"));
}

#[test]
fn the_line_has_it_in_json_too() {
    let certificates = Certificates::of_loopback();
    let backend = Backend::listen();
    let mut program = gateway(&certificates, &backend, &["--json"]);
    let mut lines = program.take_lines();
    let (mut secure, served) = ask(&certificates, &program, &backend, Tls::V1_3);
    drop(served);
    secure.rest();
    let line: Value = serde_json::from_str(&lines.next_line()).unwrap();
    assert_eq!(line["tls"], "TLSv1.3/AES_256_GCM_SHA384");
    let mut plain = Peer::connect(program.address);
    plain.send(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    plain.response();
    let line: Value = serde_json::from_str(&lines.next_line()).unwrap();
    assert_eq!(line["tls"], Value::Null);
}

#[test]
fn the_proxy_header_to_the_backend_names_version_and_suite() {
    let certificates = Certificates::of_loopback();
    let backend = Backend::listen();
    let program = gateway(&certificates, &backend, &["--send-proxy=v2"]);
    for (tls, version, suite) in SUITES {
        let mut secure = certificates.connect(program.address, tls);
        let from: SocketAddr = secure.socket().local_addr().unwrap();
        secure.send(&request(RFC, "/p"));
        let mut peer = backend.accept_raw();
        let fixed = peer.exactly(16);
        assert_eq!(fixed[..14], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
        let length = u16::from_be_bytes([fixed[14], fixed[15]]);
        let rest = peer.exactly(usize::from(length));
        assert_eq!(rest[8..10], from.port().to_be_bytes());
        let suite = format!("TLS_{suite}");
        let mut tlv = vec![0x20, 0, (5 + 3 + version.len() + 3 + suite.len()) as u8];
        tlv.extend([1, 0, 0, 0, 1, 0x21, 0, version.len() as u8]);
        tlv.extend(version.bytes());
        tlv.extend([0x23, 0, suite.len() as u8]);
        tlv.extend(suite.bytes());
        assert_eq!(rest[12..], tlv);
        assert_eq!(peer.head().lines[0], "GET /p HTTP/1.1");
    }
}

#[test]
fn a_trusted_proxy_may_stand_before_tls() {
    let certificates = Certificates::of_loopback();
    let backend = Backend::listen();
    let mut program = gateway(&certificates, &backend, &["--accept-proxy", "127.0.0.1"]);
    let mut lines = program.take_lines();
    let v1 = b"PROXY TCP4 198.51.100.1 203.0.113.2 1000 443\r\n";
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x01\xcb\0\x71\x02\x03\xe8\x01\xbb";
    for header in [&v1[..], v2] {
        let mut socket = tcp(program.address);
        socket.write_all(header).unwrap();
        let mut secure = Secure::over(socket, certificates.trusted(Tls::V1_3), "localhost");
        secure.send(&request(Speaks::Hixie76, "/p"));
        let mut served = backend.open();
        assert_eq!(served.head.header("X-Forwarded-For"), Some("198.51.100.1"));
        assert_eq!(served.head.header("X-Forwarded-Proto"), Some("https"));
        let head = secure.head();
        assert!(
            head.contains("Sec-WebSocket-Location: wss://example.com/p\r\n"),
            "{head}"
        );
        secure.exactly(16);
        served.send_text("in");
        assert_eq!(secure.exactly(4), b"\0in\xff");
        drop(served);
        secure.rest();
        let line = lines.next_line();
        assert!(line.contains(" client=198.51.100.1:1000 "), "{line}");
        assert!(line.contains(" tls=TLSv1.3/"), "{line}");
    }
    // No header inside TLS, and none at all.
    let mut socket = tcp(program.address);
    socket.write_all(&crate::hello("opera-65")).unwrap();
    let answer = crate::secure::all_of(&mut socket);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    assert!(lines.next_line().contains("ended=proxy-header code=400"));
}

#[test]
fn what_is_passed_as_plain_http_goes_through_tls() {
    let certificates = Certificates::of_loopback();
    let backend = Backend::listen();
    let program = gateway(&certificates, &backend, &["--http", "pass"]);
    let mut secure = certificates.connect(program.address, Tls::V1_3);
    secure.send(b"POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    let mut peer = backend.accept_raw();
    let head = peer.head();
    assert_eq!(head.lines[0], "POST /form HTTP/1.1");
    assert_eq!(peer.exactly(5), b"hello");
    let body = vec![b'y'; 1 << 20];
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    peer.send(&body);
    assert!(secure.head().starts_with("HTTP/1.1 200 OK"));
    assert!(secure.exactly(body.len()) == body);
    peer.finish();
    secure.ends();
}
