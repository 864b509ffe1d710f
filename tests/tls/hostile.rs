//! What breaks TLS, or is none, and what becomes of it. Others are served meanwhile.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ProtocolVersion};

use crate::hello;
use crate::secure::{Certificates, Secure, Tls, all_of, receives_within, tcp};
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::peer::{CLOSE, Peer, RFC, Speaks, request};
use crate::support::program::{HEIRLOOM, Lines, Program};

/// A gateway, whose lines tell how each connection ended.
struct Gate {
    program: Program,
    lines: Lines,
    certificates: Certificates,
    backend: Backend,
}

impl Gate {
    fn new(more: &[&str]) -> Gate {
        let certificates = Certificates::of_loopback();
        let backend = Backend::listen();
        let mut command = std::process::Command::new(HEIRLOOM);
        command.args(["gateway", "--listen", "127.0.0.1:0", "--versions", "all"]);
        command.args(["--to", &backend.url(), "--workers", "1"]);
        let mut program = Program::start(command.args(certificates.options()).args(more));
        Gate {
            lines: program.take_lines(),
            program,
            certificates,
            backend,
        }
    }

    /// The next line, from its `by`.
    fn ended(&mut self) -> String {
        let line = self.lines.next_line();
        line[line.find(" by=").unwrap() + 1..].to_owned()
    }

    fn tcp(&self) -> TcpStream {
        tcp(self.program.address)
    }

    /// Another client is served.
    fn serves(&mut self) {
        let mut peer = Peer::connect(self.program.address);
        peer.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(peer.response().0.status(), 200);
    }
}

/// The alert of TLS that is at the end of these octets: its description.
fn alert(octets: &[u8]) -> u8 {
    match octets {
        [.., 0x15, 3, _, 0, 2, 2, description] => *description,
        _ => panic!("{octets:?} end in no alert"),
    }
}

const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;

#[test]
fn half_a_hello_ends_at_the_deadline_without_an_octet() {
    let mut gate = Gate::new(&["--handshake-timeout-ms", "1000"]);
    let whole = hello("opera-65");
    let ssl2 = hello("java-6u45");
    for part in [
        &whole[..1],
        &whole[..2],
        &whole[..5],
        &whole[..whole.len() - 1],
        &ssl2[..1],
        &ssl2[..9],
    ] {
        let mut socket = gate.tcp();
        socket.write_all(part).unwrap();
        gate.serves();
        assert_eq!(all_of(&mut socket), b"", "{part:?}");
        assert_eq!(
            gate.ended(),
            "by=client ended=tls-handshake-timeout code=- tls=-"
        );
    }
    // A whole one, and then nothing: our part of the handshake came, and no HTTP.
    let mut socket = gate.tcp();
    socket.write_all(&whole).unwrap();
    let octets = all_of(&mut socket);
    assert_eq!(octets[..2], [0x16, 3]);
    assert!(!octets.windows(4).any(|window| window == b"HTTP"));
    assert_eq!(
        gate.ended(),
        "by=client ended=tls-handshake-timeout code=- tls=-"
    );
}

#[test]
fn half_a_hello_and_an_end_of_tcp_get_no_response() {
    let mut gate = Gate::new(&[]);
    let whole = hello("opera-65");
    for part in [&whole[..1], &whole[..100]] {
        let mut socket = gate.tcp();
        socket.write_all(part).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_of(&mut socket), b"", "{part:?}");
        assert_eq!(gate.ended(), "by=client ended=handshake-cut code=- tls=-");
    }
}

#[test]
fn a_handshake_octet_by_octet_is_not_extended() {
    let mut gate = Gate::new(&["--handshake-timeout-ms", "500"]);
    let mut socket = gate.tcp();
    let begun = Instant::now();
    for octet in hello("opera-65") {
        if socket.write_all(&[octet]).is_err()
            || receives_within(&socket, Duration::from_millis(10))
        {
            break;
        }
    }
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(all_of(&mut socket), b"");
    assert_eq!(
        gate.ended(),
        "by=client ended=tls-handshake-timeout code=- tls=-"
    );
}

#[test]
fn old_clients_get_an_alert_and_the_log_says_what_would_let_them_in() {
    for (id, said) in [
        ("android-2.3.7", "TLS 1.0, suites TLS_RSA_WITH_RC4_128_MD5"),
        ("java-6u45", "TLS 1.0 in the framing of SSLv2"),
    ] {
        // One line a second: each has a server of its own.
        let mut gate = Gate::new(&[]);
        let mut socket = gate.tcp();
        socket.write_all(&hello(id)).unwrap();
        let octets = all_of(&mut socket);
        drop(socket);
        assert_eq!(
            (octets.len(), alert(&octets)),
            (7, PROTOCOL_VERSION),
            "{id}"
        );
        let code = gate.ended();
        // This server has a key of ECDSA, which the oldest do not know.
        let codes = ["tls-too-old", "tls-nothing-in-common"];
        assert!(
            codes
                .iter()
                .any(|c| code == format!("by=server ended={c} code=- tls=-")),
            "{code}"
        );
        let line = gate.program.await_talk("it offers");
        assert!(line.contains(said), "{line}");
        if code.contains("too-old") {
            assert!(line.ends_with("; `--tls-legacy` lets it in"), "{line}");
        }
    }
}

#[test]
fn broken_records_fail_with_an_alert() {
    let mut gate = Gate::new(&[]);
    let empty = [0x16, 3, 1, 0, 0];
    let mut whole = hello("android-4.4.2");
    whole.extend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let too_large = [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 100]].concat();
    let of_alert = [0x16, 3, 1, 0, 4, 2, 0, 0, 0];
    let ssl3 = [0x16, 3, 0, 0, 4, 1, 0, 0, 0];
    for octets in [&empty[..], &whole, &too_large, &of_alert, &ssl3] {
        let mut socket = gate.tcp();
        socket.write_all(octets).unwrap();
        let answer = all_of(&mut socket);
        drop(socket);
        assert!(alert(&answer) > 0, "{octets:?}");
        assert!(!answer.windows(4).any(|window| window == b"HTTP"));
        assert_eq!(
            gate.ended(),
            "by=client ended=tls-failed code=- tls=-",
            "{octets:?}"
        );
        gate.serves();
    }
}

#[test]
fn a_hello_of_64_kib_costs_its_limit_and_no_more() {
    let mut gate = Gate::new(&["--handshake-timeout-ms", "2000"]);
    let mut socket = gate.tcp();
    // Of 65535 octets, in records of the maximum length.
    let mut message = vec![1, 0, 0xff, 0xff, 3, 3];
    message.extend([7; 32]);
    message.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let rest = 4 + 0xffff - message.len() - 2;
    message.extend((rest as u16).to_be_bytes());
    message.extend([0xff, 0xf0]);
    message.extend((rest as u16 - 4).to_be_bytes());
    message.resize(4 + 0xffff, 0);
    for fragment in message.chunks(16_384) {
        let length = (fragment.len() as u16).to_be_bytes();
        socket
            .write_all(&[&[0x16, 3, 1], &length[..], fragment].concat())
            .unwrap();
    }
    assert!(alert(&all_of(&mut socket)) > 0);
    drop(socket);
    gate.ended();
    // Longer than any.
    let mut socket = gate.tcp();
    let _ = socket.write_all(
        &[
            &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..],
            &[0; 16_380],
        ]
        .concat(),
    );
    assert!(alert(&all_of(&mut socket)) > 0);
    drop(socket);
    gate.ended();
    gate.serves();
}

#[test]
fn alerts_end_a_handshake() {
    let mut gate = Gate::new(&[]);
    for level in [1, 2] {
        let mut socket = gate.tcp();
        socket.write_all(&hello("opera-65")).unwrap();
        assert!(receives_within(&socket, PATIENCE));
        // unknown_ca, as of a client that does not trust the certificate.
        socket.write_all(&[0x15, 3, 3, 0, 2, level, 48]).unwrap();
        all_of(&mut socket);
        drop(socket);
        assert_eq!(gate.ended(), "by=client ended=tls-failed code=- tls=-");
    }
    gate.serves();
}

#[test]
fn garbage_behind_the_handshake_fails_and_what_came_before_is_answered() {
    let mut gate = Gate::new(&[]);
    for tls in [Tls::V1_2, Tls::V1_3] {
        let mut secure = gate.certificates.connect(gate.program.address, tls);
        secure
            .socket()
            .write_all(b"\x17\x03\x03\x00\x20garbage garbage garbage garbage ")
            .unwrap();
        let octets = all_of(secure.socket());
        assert!(!octets.is_empty(), "no alert");
        drop(secure);
        assert_eq!(gate.ended(), "by=client ended=tls-failed code=- tls=-");
        let mut secure = gate.certificates.connect(gate.program.address, tls);
        secure
            .socket()
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .unwrap();
        all_of(secure.socket());
        drop(secure);
        assert_eq!(gate.ended(), "by=client ended=tls-failed code=- tls=-");
    }
    gate.serves();
}

#[test]
fn tls_inside_tls_and_a_policy_request_inside_it_are_refused() {
    let mut gate = Gate::new(&["--flash-policy"]);
    for octets in [&hello("opera-65")[..], b"<policy-file-request/>\0"] {
        let mut secure = gate.certificates.connect(gate.program.address, Tls::V1_3);
        secure.send(octets);
        secure.notify();
        let (answer, _) = secure.rest();
        assert!(
            answer.starts_with(b"HTTP/1.1 400 "),
            "{}",
            answer.escape_ascii()
        );
        let ended = gate.ended();
        assert!(ended.starts_with("by=server ended="), "{ended}");
        assert!(ended.contains(" code=400 "), "{ended}");
    }
}

#[test]
fn an_end_without_close_notify_is_told_and_one_with_it_is_not() {
    for (ends, told) in [(false, "tls-truncated"), (true, "closed")] {
        let mut gate = Gate::new(&["--as", "rfc6455"]);
        let mut secure = gate.certificates.connect(gate.program.address, Tls::V1_3);
        secure.send(&request(Speaks::Hixie75, "/"));
        let mut served = gate.backend.open();
        secure.head();
        secure.send(b"\0old\xff");
        assert_eq!(served.receive_text(), "old");
        if ends {
            secure.notify();
        } else {
            secure.finish();
        }
        all_of(secure.socket());
        let _ = served.masked_frame();
        served.send(&crate::support::backend::clear(CLOSE, &[0x03, 0xe8]));
        drop(served);
        let ended = gate.ended();
        assert!(
            ended.starts_with(&format!("by=client ended={told} ")),
            "{ended}"
        );
        assert!(ended.contains(" tls=TLSv1.3/"), "{ended}");
    }
    // Without a close of RFC 6455.
    let mut gate = Gate::new(&[]);
    let mut secure = gate.certificates.connect(gate.program.address, Tls::V1_2);
    secure.send(&request(RFC, "/"));
    let _served = gate.backend.open();
    secure.head();
    secure.finish();
    all_of(secure.socket());
    let ended = gate.ended();
    assert!(
        ended.starts_with("by=client ended=tls-truncated "),
        "{ended}"
    );
    assert!(ended.contains(" tls=TLSv1.2/ECDHE_ECDSA_WITH_"), "{ended}");
}

#[test]
fn what_comes_behind_a_close_notify_is_not_read() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--versions", "all", "--workers", "1"]);
    let mut secure = certificates.open(program.address, Tls::V1_3, Speaks::Hixie75, "/");
    secure.send_text("before");
    secure.notify();
    secure.socket().write_all(&[0x17, 3, 3, 0, 20]).unwrap();
    let _ = secure.socket().write_all(&[7; 20]);
    assert_eq!(secure.receive_text(), "before");
    secure.ends();
    certificates
        .open(program.address, Tls::V1_3, RFC, "/")
        .echo("others");
}

/// Goes on writing until the server has ended it, at most for a while; gives the
/// number of octets.
fn flood(socket: &mut TcpStream, octets: &[u8], most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        match socket.write(octets) {
            Ok(n) => sent += n,
            Err(error) => {
                let waits = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!waits, "it is not read and not ended");
                break;
            }
        }
    }
    sent
}

#[test]
fn empty_records_without_an_end_keep_others_waiting_for_a_moment_only() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1", "--handshake-timeout-ms", "3000"]);
    let mut other = certificates.open(program.address, Tls::V1_3, RFC, "/");
    let mut secure = certificates.connect(program.address, Tls::V1_3);
    // Encrypted by its own keys, which are not ours to use; plain ones are refused.
    let empty = [0x17, 3, 3, 0, 0].repeat(20_000);
    let address = program.address;
    std::thread::scope(|scope| {
        let flooded = scope.spawn(move || flood(secure.socket(), &empty, 50_000_000));
        while !flooded.is_finished() {
            let begun = Instant::now();
            other.echo("not kept");
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
        // It was ended at the first of them.
        assert!(flooded.join().unwrap() < 50_000_000);
    });
    // Empty records of the handshake.
    let mut socket = tcp(address);
    let empty = [0x16, 3, 1, 0, 0].repeat(20_000);
    assert!(flood(&mut socket, &empty, 50_000_000) < 50_000_000);
    other.echo("still here");
}

#[test]
fn empty_messages_of_tls_count_as_no_sign_of_life() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1", "--handshake-timeout-ms", "2000"]);
    let mut secure = certificates.connect(program.address, Tls::V1_2);
    let mut other = certificates.open(program.address, Tls::V1_3, RFC, "/");
    let until = Instant::now() + PATIENCE;
    // rustls writes no empty records: one octet of a head each, for ever.
    loop {
        assert!(Instant::now() < until, "the deadline was extended");
        let sent = secure
            .stream
            .write_all(b"G")
            .and_then(|()| secure.stream.flush());
        if sent.is_err() || receives_within(secure.socket(), Duration::from_millis(20)) {
            break;
        }
        other.echo("not kept");
    }
    let (answer, _) = secure.rest();
    assert!(
        answer.starts_with(b"HTTP/1.1 4"),
        "{}",
        answer.escape_ascii()
    );
}

#[test]
fn a_client_that_never_reads_its_handshake_is_ended() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1", "--handshake-timeout-ms", "3000"]);
    let sockets: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut socket = tcp(program.address);
            socket.write_all(&hello("opera-65")).unwrap();
            socket
        })
        .collect();
    certificates
        .open(program.address, Tls::V1_3, RFC, "/")
        .echo("others");
    for mut socket in sockets {
        let octets = all_of(&mut socket);
        assert_eq!(octets[0], 0x16);
    }
}

#[test]
fn renegotiation_is_not_done() {
    let mut gate = Gate::new(&[]);
    let mut secure = gate.certificates.connect(gate.program.address, Tls::V1_2);
    // rustls offers no second handshake: one in plain is what an attacker can send.
    secure.socket().write_all(&hello("android-4.4.2")).unwrap();
    let octets = all_of(secure.socket());
    assert!(!octets.is_empty(), "no alert");
    let version = secure.stream.conn.protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
    drop(secure);
    assert_eq!(gate.ended(), "by=client ended=tls-failed code=- tls=-");
    gate.serves();
}

#[test]
fn surplus_connections_are_told_in_what_they_speak() {
    let certificates = Certificates::of_loopback();
    let program = certificates.serve(&["--workers", "1", "--max-connections", "1"]);
    let mut first = certificates.open(program.address, Tls::V1_3, RFC, "/");
    // Nothing comes before its first octet is there.
    let mut late = tcp(program.address);
    assert!(!receives_within(&late, Duration::from_millis(50)));
    late.write_all(&hello("opera-65")).unwrap();
    let octets = all_of(&mut late);
    assert_eq!((octets.len(), alert(&octets)), (7, INTERNAL_ERROR));
    let mut old = tcp(program.address);
    old.write_all(&hello("java-6u45")).unwrap();
    assert_eq!(alert(&all_of(&mut old)), INTERNAL_ERROR);
    let mut peer = Peer::connect(program.address);
    peer.send(&request(RFC, "/"));
    let (head, body) = peer.response();
    assert_eq!(head.status(), 503);
    assert!(body.starts_with("too-many-connections: "), "{body}");
    first.echo("has its place");
}

#[test]
fn a_surplus_connection_that_says_nothing_is_told_at_the_deadline() {
    let certificates = Certificates::of_loopback();
    let more = [
        "--workers",
        "1",
        "--max-connections",
        "1",
        "--handshake-timeout-ms",
        "200",
    ];
    let program = certificates.serve(&more);
    let _first = certificates.open(program.address, Tls::V1_3, RFC, "/");
    let (head, body) = Peer::connect(program.address).response();
    assert_eq!(head.status(), 503);
    assert!(body.starts_with("too-many-connections: "), "{body}");
}

#[test]
fn first_lines_of_other_protocols_are_refused_at_once() {
    let mut gate = Gate::new(&[]);
    for line in [
        "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        "EHLO mail.example.com\r\n",
    ] {
        let begun = Instant::now();
        let mut peer = Peer::connect(gate.program.address);
        peer.send(line.as_bytes());
        let (head, _) = peer.response();
        assert_eq!(head.status(), 400, "{line}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        let ended = gate.ended();
        assert!(ended.starts_with("by=server ended="), "{ended}");
    }
}

#[test]
fn two_thousand_half_open_handshakes_leave_others_unharmed() {
    const HALF: usize = 2000;
    let certificates = Certificates::of_loopback();
    let limit = (HALF + 10).to_string();
    let more = [
        "--workers",
        "1",
        "--max-connections",
        &limit,
        "--handshake-timeout-ms",
        "60000",
    ];
    let program = certificates.serve(&more);
    let mut other = certificates.open(program.address, Tls::V1_3, RFC, "/");
    let whole = hello("opera-65");
    let mut sockets = Vec::new();
    let mut slowest = Duration::ZERO;
    for i in 0..HALF {
        let mut socket = tcp(program.address);
        socket
            .write_all(&whole[..1 + i % (whole.len() - 1)])
            .unwrap();
        sockets.push(socket);
        if i % 20 == 0 {
            let begun = Instant::now();
            other.echo("unharmed");
            slowest = slowest.max(begun.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    certificates
        .open(program.address, Tls::V1_2, RFC, "/")
        .echo("new ones too");
    drop(sockets);
    other.echo("unharmed");
}

#[test]
fn memory_has_its_limit_inside_tls() {
    let certificates = Certificates::of_loopback();
    let more = [
        "--workers",
        "1",
        "--max-memory-bytes",
        "4194304",
        "--handshake-timeout-ms",
        "2000",
    ];
    let program = certificates.serve(&more);
    let mut open: Vec<Secure> = (0..8)
        .map(|_| certificates.open(program.address, Tls::V1_3, RFC, "/"))
        .collect();
    // A MiB of a message of two, each: eight MiB in all.
    for secure in &mut open {
        let mut head = vec![0x82, 0xff];
        head.extend((2_u64 << 20).to_be_bytes());
        head.extend([0; 4]);
        let _ = secure.stream.write_all(&head);
        for _ in 0..16 {
            if secure.stream.write_all(&[7; 65_536]).is_err() {
                break;
            }
        }
    }
    // Some were given up, and with their memory others go on.
    let until = Instant::now() + PATIENCE;
    let is_given_up =
        |secure: &Secure| receives_within(&secure.stream.sock, Duration::from_millis(50));
    while !open.iter().any(is_given_up) {
        assert!(Instant::now() < until, "none was given up");
    }
    drop(open);
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "the memory does not return");
        let mut socket = tcp(program.address);
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(certificates.trusted(Tls::V1_3), name).unwrap();
        if connection.complete_io(&mut socket).is_ok() && !connection.is_handshaking() {
            break;
        }
    }
}
