//! Which pages may connect: `--origin same`, `--host`, and what `gateway` says
//! where it has neither.

use std::process::Command;

use crate::support::backend::Backend;
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::program::{HEIRLOOM, Program};

const ALL: [&str; 2] = ["--versions", "all"];

/// A request for this host by a page of this origin.
fn asks(speaks: Speaks, host: &str, origin: Option<&str>) -> Vec<u8> {
    let text = String::from_utf8(request(speaks, "/any")).unwrap();
    let (first, rest) = text.split_once("\r\n").unwrap();
    let rest = rest.split_inclusive("\r\n").filter(|line| {
        let is = |name: &str| line.to_ascii_lowercase().starts_with(name);
        !is("host:") && !is("origin:") && !is("sec-websocket-origin:")
    });
    let rest: String = rest.collect();
    let name = match speaks {
        Speaks::Number(4..=8) => "Sec-WebSocket-Origin",
        _ => "Origin",
    };
    let origin = origin.map(|origin| format!("{name}: {origin}\r\n"));
    let origin = origin.unwrap_or_default();
    format!("{first}\r\nHost: {host}\r\n{origin}{rest}").into_bytes()
}

const OLD_AND_NEW: [Speaks; 5] = [
    Speaks::Hixie75,
    Speaks::Hixie76,
    Speaks::Number(7),
    Speaks::Number(8),
    RFC,
];

/// Sends this; the status and the body of the answer.
fn answer(program: &Program, octets: &[u8]) -> (u16, String) {
    let mut peer = Peer::connect(program.address);
    peer.send(octets);
    let head = peer.head();
    if head.status() == 101 {
        return (101, String::new());
    }
    drop(peer);
    let mut peer = Peer::connect(program.address);
    peer.send(octets);
    let (head, body) = peer.response();
    (head.status(), body)
}

#[test]
fn same_takes_pages_whose_origin_is_the_host_and_no_others() {
    let program = Program::serve(&[&ALL[..], &["--origin", "same"]].concat());
    for speaks in OLD_AND_NEW {
        for (host, origin) in [
            ("lab.test:8076", "http://lab.test:8076"),
            ("LAB.test", "http://lab.TEST"),
            ("lab.test:80", "http://lab.test"),
            ("[::1]:8076", "http://[::1]:8076"),
        ] {
            let (status, body) = answer(&program, &asks(speaks, host, Some(origin)));
            assert_eq!(status, 101, "{host} {origin}: {body}");
        }
        for (host, origin) in [
            ("lab.test:8076", "http://lab.test"),
            ("lab.test:8076", "https://lab.test:8076"),
            ("lab.test", "https://lab.test"),
            ("lab.test", "http://evil.test"),
            ("lab.test", "http://lab.test.evil.test"),
            ("null", "null"),
        ] {
            let (status, body) = answer(&program, &asks(speaks, host, Some(origin)));
            assert_eq!(status, 403, "{host} {origin}");
            assert!(body.starts_with("origin-not-allowed: "), "{body}");
        }
    }
    let (status, _) = answer(&program, &asks(RFC, "lab.test", None));
    assert_eq!(status, 403, "no origin is not the same origin");
}

#[test]
fn same_stands_beside_others_and_behind_tls_it_is_https() {
    let url = ["--public-url", "wss://lab.test"];
    let listed = ["--origin", "same", "--origin", "https://other.test"];
    let program = Program::serve(&[&ALL[..], &url, &listed].concat());
    for speaks in OLD_AND_NEW {
        for (origin, status) in [
            ("https://lab.test", 101),
            ("https://lab.test:443", 101),
            ("https://other.test", 101),
            ("http://lab.test", 403),
            ("http://other.test", 403),
        ] {
            let answered = answer(&program, &asks(speaks, "lab.test", Some(origin))).0;
            assert_eq!(answered, status, "{origin}");
        }
    }
}

#[test]
fn a_proxy_that_is_believed_says_that_the_client_uses_tls() {
    let only = ["--origin", "same", "--host", "lab.test:443"];
    let proxy = ["--accept-proxy", "127.0.0.1"];
    let program = Program::serve(&[&ALL[..], &only, &proxy].concat());
    // Version 2 of the header: TCP over IPv4, and what was said of TLS.
    let header = |tls: u8| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14".to_vec();
        header.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
        header.extend([0x20, 0, 5, tls, 0, 0, 0, 0]);
        header
    };
    for speaks in OLD_AND_NEW {
        for (tls, origin, status) in [
            (1, "https://lab.test", 101),
            (1, "http://lab.test", 403),
            (0, "https://lab.test", 403),
        ] {
            let octets = [header(tls), asks(speaks, "lab.test", Some(origin))].concat();
            assert_eq!(answer(&program, &octets).0, status, "{tls} {origin}");
        }
    }
}

#[test]
fn a_request_with_another_host_gets_403_whatever_it_asks() {
    let hosts = ["--host", "lab.test", "--host", "Port.test:8076"];
    let program = Program::serve(&[&ALL[..], &hosts].concat());
    let (with_ip, ip) = (["--host", "[::1]", "--host", "127.0.0.1"], "127.0.0.1");
    let by_address = Program::serve(&[&ALL[..], &with_ip].concat());
    let plain = |path: &str, host: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
    };
    for (program, host, allowed) in [
        (&program, "lab.test", true),
        (&program, "lab.test:1234", true),
        (&program, "LAB.test.", true),
        (&program, "port.test:8076", true),
        (&program, "port.test", false),
        (&program, "port.test:80", false),
        (&program, "evil.test", false),
        (&program, "evil.lab.test", false),
        (&program, ip, false),
        (&by_address, ip, true),
        (&by_address, "127.0.0.1:8076", true),
        (&by_address, "[::1]:8076", true),
        (&by_address, "[0:0::1]", true),
        (&by_address, "localhost", false),
    ] {
        for speaks in OLD_AND_NEW {
            let origin = Some("http://lab.test");
            let (status, body) = answer(program, &asks(speaks, host, origin));
            assert_eq!(status, if allowed { 101 } else { 403 }, "{host}: {body}");
            assert!(allowed || body.starts_with("host-forbidden: "), "{body}");
        }
        for path in ["/", "/healthz", "/lab/0123/connection", "/nothing"] {
            let (status, body) = answer(program, &plain(path, host));
            assert_eq!(status == 403, !allowed, "{host}{path}: {status}");
            assert!(allowed || body.starts_with("host-forbidden: "), "{body}");
            assert!(!body.contains("port.test"), "the list is told: {body}");
        }
    }
    // The target wins over the Host, so both must be right.
    let absolute = b"GET http://evil.test/ HTTP/1.1\r\nHost: lab.test\r\n\r\n";
    assert_eq!(answer(&program, absolute).0, 403);
    let absolute = b"GET http://lab.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    assert_eq!(answer(&program, absolute).0, 403);
    // A version that is off or unknown is not told to a page that may not ask.
    let unknown = asks(Speaks::Number(99), "evil.test", None);
    assert_eq!(answer(&program, &unknown).0, 403);
}

#[test]
fn a_health_check_without_a_host_is_answered() {
    let program = Program::serve(&["--host", "lab.test"]);
    let check = b"GET /healthz HTTP/1.0\r\n\r\n";
    assert_eq!(answer(&program, check), (200, "ok\n".to_owned()));
    let check = b"GET /healthz HTTP/1.0\r\nHost: evil.test\r\n\r\n";
    assert_eq!(answer(&program, check).0, 403);
    let check = b"GET /healthz HTTP/1.1\r\n\r\n";
    assert_eq!(answer(&program, check).0, 400, "HTTP/1.1 has a Host");
}

#[test]
fn a_host_that_is_none_is_an_error_of_usage() {
    for (host, says) in [
        ("http://lab.test/x", "did you mean lab.test?"),
        ("a b", "a host is a name or an address"),
        ("lab.test:0", "a host is a name or an address"),
        ("", "a host is a name or an address"),
    ] {
        let ended = crate::support::program::run(&["serve", "--host", host]);
        assert_eq!(ended.code, Some(2), "{host}: {}", ended.talk);
        assert!(ended.talk.contains(says), "{host}: {}", ended.talk);
    }
}

/// Starts a gateway and stops it; what it said on standard error.
fn said_by_gateway(args: &[&str]) -> String {
    let backend = Backend::listen();
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()]);
    let program = Program::start(command.args(args));
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
    ended.talk
}

#[test]
fn a_gateway_without_origins_says_so_once_and_quietly_not() {
    let says = |talk: &str| talk.contains("--origin");
    let talk = said_by_gateway(&[]);
    assert_eq!(talk.lines().count(), 1, "{talk}");
    assert!(says(&talk), "{talk}");
    assert!(says(&said_by_gateway(&["--host", "lab.test"])));
    for args in [
        &["-q"][..],
        &["--origin", "same"],
        &["--origin", "http://a.test"],
    ] {
        assert_eq!(said_by_gateway(args), "", "{args:?}");
    }
}
