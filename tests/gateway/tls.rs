//! A gateway whose backend speaks TLS: what is carried, and what is said where TLS
//! fails.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use crate::gate::gate_with;
use crate::support::PATIENCE;
use crate::support::certificate::{Made, Plan};
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::program::{HEIRLOOM, Program};
use crate::support::tls_host::{Files, TlsHost, accept, open, read_head, server_config};

fn own() -> Made {
    Plan::new(&["localhost", "127.0.0.1"]).self_signed()
}

/// `heirloom serve` with TLS only.
fn serve(files: &Files) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "serve",
        "--listen",
        "tls://127.0.0.1:0",
        "--versions",
        "all",
    ]);
    Program::start(command.args(files.options()))
}

fn gateway(to: &str, args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--versions", "all", "--to", to]);
    if !args.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    Program::start(command.args(args))
}

#[test]
fn every_version_is_spoken_to_a_backend_of_tls() {
    let files = Files::of(&own());
    let backend = serve(&files);
    let to = format!("wss://{}", backend.address);
    for version in ["hixie-75", "hixie-76", "hybi-03", "hybi-07", "rfc6455"] {
        let args = [&files.trusted()[..], &["--as", version]].concat();
        let gate = gateway(&to, &args);
        for speaks in [Speaks::Hixie75, Speaks::Hixie76, Speaks::Number(8), RFC] {
            let mut peer = Peer::open(gate.address, speaks, "/a");
            peer.echo("grüße");
            peer.echo(&"x".repeat(32 * 1024));
            if speaks != Speaks::Hixie75 {
                peer.close();
            }
        }
    }
}

#[test]
fn a_gateway_has_tls_on_both_sides() {
    let files = Files::of(&own());
    let backend = serve(&files);
    let to = format!("wss://localhost:{}", backend.address.port());
    let [ca, certificate] = files.trusted();
    let options = files.options();
    let options = options.each_ref().map(String::as_str);
    let args = [
        &["--listen", "tls://127.0.0.1:0", ca, certificate],
        &options[..],
    ]
    .concat();
    let gate = gateway(&to, &args);
    let url = format!("wss://{}/", gate.address);
    for version in ["hixie-75", "hixie-76", "rfc6455"] {
        let mut command = Command::new(HEIRLOOM);
        command.args([
            "connect",
            &url,
            ca,
            certificate,
            "--as",
            version,
            "--one-message",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"through both").unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{version}: {stderr}");
        assert_eq!(output.stdout, b"through both\n", "{version}");
    }
}

#[test]
fn a_proxy_header_comes_before_tls_in_plain() {
    let made = own();
    let files = Files::of(&made);
    let config = server_config(&made);
    let (tell, told) = channel();
    let host = TlsHost::plain(move |mut stream| {
        let mut line = Vec::new();
        let mut octet = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut octet).unwrap();
            line.push(octet[0]);
        }
        let mut first = [0];
        stream.peek(&mut first).unwrap();
        let _ = tell.send((String::from_utf8(line).unwrap(), first[0]));
        let mut stream = accept(&config, stream);
        let head = open(&mut stream);
        assert!(head.starts_with("GET /a "), "{head}");
        stream.write_all(b"\x81\x02hi").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let to = format!("wss://{}", host.address);
    let gate = gateway(&to, &[&files.trusted()[..], &["--send-proxy=v1"]].concat());
    let mut peer = Peer::open(gate.address, RFC, "/a");
    assert_eq!(peer.receive_text(), "hi");
    let (line, first) = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{line}"
    );
    assert_eq!(first, 0x16, "TLS begins behind it");
}

#[test]
fn plain_http_is_passed_to_a_backend_of_tls() {
    let made = own();
    let files = Files::of(&made);
    let host = TlsHost::new(&made, |mut stream| {
        let head = read_head(&mut stream).unwrap();
        assert!(head.starts_with("GET /page HTTP/1.1\r\n"), "{head}");
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";
        stream.write_all(answer.as_bytes()).unwrap();
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let to = format!("wss://{}", host.address);
    let gate = gateway(&to, &[&files.trusted()[..], &["--http", "pass"]].concat());
    let mut peer = Peer::connect(gate.address);
    peer.send(b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let (head, body) = peer.response();
    assert_eq!((head.status(), &*body), (200, "page"));
}

#[test]
fn a_response_that_was_cut_off_does_not_end_as_a_whole_one() {
    let made = own();
    let files = Files::of(&made);
    let host = TlsHost::new(&made, |mut stream| {
        read_head(&mut stream).unwrap();
        let half = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf";
        stream.write_all(half).unwrap();
        // TCP ends, and TLS has not.
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let to = format!("wss://{}", host.address);
    let mut gate = gateway(&to, &[&files.trusted()[..], &["--http", "pass"]].concat());
    let mut out = gate.take_lines();
    let mut peer = Peer::connect(gate.address);
    peer.send(b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let rest = peer.rest();
    assert!(rest.ends_with(b"half"), "{}", rest.escape_ascii());
    drop(peer);
    let line = out.next_line();
    assert!(line.contains(" by=backend ended=tls-truncated "), "{line}");
}

#[test]
fn a_backend_of_wss_without_settings_is_not_asked_in_plain() {
    let (tell, first) = channel();
    let host = TlsHost::plain(move |mut stream| {
        let mut octet = [0];
        if stream.read_exact(&mut octet).is_ok() {
            let _ = tell.send(octet[0]);
        }
    });
    // The library does not know what the program's options say.
    let gate = gate_with(&format!("wss://{}", host.address), |_| {});
    let mut peer = Peer::connect(gate.address);
    peer.send(&request(RFC, "/"));
    // A handshake of TLS, or nothing where the system trusts no certificate.
    assert_eq!(peer.head().status(), 502);
    assert_ne!(first.try_recv(), Ok(b'G'));
}

#[test]
fn a_client_learns_that_tls_fails_and_the_log_why() {
    let made = own();
    let files = Files::of(&made);
    let trusted = serve(&Files::of(&own()));
    let plain = Program::serve(&[]);
    let closing = TlsHost::plain(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let resetting = TlsHost::plain(|mut stream| {
        let _ = stream.read(&mut [0; 1]);
        let at_once = Some(std::time::Duration::ZERO);
        socket2::SockRef::from(&stream).set_linger(at_once).unwrap();
    });
    // The backend, what its client is told, what the log says.
    for (address, told, logged) in [
        (
            trusted.address,
            "its certificate is not accepted",
            "is self-signed (CN=localhost)",
        ),
        (
            plain.address,
            "it speaks no TLS on this port",
            "answers in plain HTTP",
        ),
        (
            closing.address,
            "it ended the connection in the opening handshake of TLS",
            "ended the connection in the opening handshake",
        ),
        (
            resetting.address,
            "it ended the connection in the opening handshake of TLS",
            "TLS with the backend fails",
        ),
    ] {
        let to = format!("wss://{address}");
        let gate = gateway(&to, &[&files.trusted()[..], &["--http", "pass"]].concat());
        for asked in [
            request(RFC, "/"),
            request(Speaks::Hixie76, "/"),
            b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec(),
        ] {
            let mut peer = Peer::connect(gate.address);
            peer.send(&asked);
            let (head, body) = peer.response();
            assert_eq!(head.status(), 502, "{body}");
            let start = format!(
                "backend-tls: the backend behind this gateway does not complete TLS: {told}"
            );
            assert!(body.starts_with(&start), "{body}");
            assert!(!body.contains("CN="), "{body}");
        }
        let line = gate.await_talk("TLS with the backend fails: ");
        assert!(line.contains(logged), "{line}");
    }
}
