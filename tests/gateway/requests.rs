//! What the backend is told of the client: the request, what proxies say, the
//! PROXY protocol.

use heirloom::net::ProxyVersion;

use crate::gate::{ALL, HIXIE_75, HIXIE_76, gate, gate_with, request_with};
use crate::support::backend::Backend;
use crate::support::peer::{DIGEST, Peer, RFC, Speaks, request, said};

#[test]
fn the_request_to_the_backend_is_our_own_with_what_the_list_allows() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let lines = [
        "Cookie: a=b",
        "Authorization: Basic Zm9vOmJhcg==",
        "User-Agent: Old/1.0 (TV)",
        "cookie: c=d",
        // None of these.
        "Proxy-Authorization: Basic eA==",
        "Proxy-Connection: keep-alive",
        "Keep-Alive: 5",
        "TE: trailers",
        "Trailer: X",
        "Via: 1.1 evil",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "X-Anything: else",
        "Accept-Encoding: gzip",
        "Expect: 100-continue",
    ];
    let mut client = Peer::connect(gate.address);
    let whole = String::from_utf8(request_with(RFC, "/chat?a=b", &lines)).unwrap();
    let whole = whole.replace("Connection: Upgrade", "Connection: Upgrade, X-Anything");
    client.send(whole.as_bytes());
    let served = backend.accept();
    let head = &served.head;
    assert_eq!(head.lines[0], "GET /chat?a=b HTTP/1.1");
    let mut names = head.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "Authorization",
            "CDN-Loop",
            "Connection",
            "Cookie",
            "Forwarded",
            "Host",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Upgrade",
            "User-Agent",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
        ]
    );
    let host = backend.address.to_string();
    for (name, value) in [
        ("Host", &*host),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Cookie", "a=b; c=d"),
        ("Authorization", "Basic Zm9vOmJhcg=="),
        ("User-Agent", "Old/1.0 (TV)"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "example.com"),
        ("Forwarded", "for=127.0.0.1;host=\"example.com\";proto=http"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    // The key is ours and not the client's.
    let key = head.header("Sec-WebSocket-Key").unwrap();
    assert_ne!(key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(key.len(), 24);
}

#[test]
fn the_origin_of_each_version_goes_on_and_none_is_made_up() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (speaks, lines, origin) in [
        (HIXIE_75, &[][..], Some("http://example.com")),
        (HIXIE_76, &[], Some("http://example.com")),
        (
            Speaks::Number(8),
            &["Sec-WebSocket-Origin: http://a.example"],
            Some("http://a.example"),
        ),
        (
            RFC,
            &["Origin: https://b.example"],
            Some("https://b.example"),
        ),
        (RFC, &[], None),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(speaks, "/", lines));
        let served = backend.accept();
        assert_eq!(served.head.header("Origin"), origin, "{speaks:?}");
        assert_eq!(served.head.header("Sec-WebSocket-Origin"), None);
    }
}

#[test]
fn what_cannot_be_passed_on_is_refused_and_no_backend_is_dialled() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for lines in [
        &["Authorization: a", "Authorization: b"][..],
        &["Authorization: a", "User-Agent: b", "authorization: a"],
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(RFC, "/", lines));
        let (head, body) = client.response();
        assert_eq!(head.status(), 400, "{lines:?}");
        assert!(
            body.starts_with("header-not-passed: ") || body.starts_with("head-"),
            "{lines:?}: {body}"
        );
    }
    backend.has_nobody();
}

#[test]
fn the_path_is_the_route_s_or_the_client_s_and_the_query_goes_on() {
    for (route, asked, want) in [
        ("", "/", "/"),
        ("", "/a/b?c=d", "/a/b?c=d"),
        ("/", "/a?b", "/a?b"),
        ("/app", "/a/b", "/app"),
        ("/app", "/a?c=d", "/app?c=d"),
        ("/app?x=y", "/a?c=d", "/app?x=y"),
        ("", "http://elsewhere.example/p?q", "/p?q"),
        ("", "/a%0d%0aX:y", "/a%0d%0aX:y"),
        ("", "//evil.example/x", "//evil.example/x"),
    ] {
        let backend = Backend::listen();
        let gate = gate_with(&format!("{}{route}", backend.url()), |_| {});
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, asked));
        let served = backend.accept();
        let line = format!("GET {want} HTTP/1.1");
        assert_eq!(served.head.lines[0], line, "{route:?} and {asked}");
    }
}

#[test]
fn subprotocols_are_asked_for_and_what_is_chosen_is_told() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (choice, lines) in [
        (None, &["Sec-WebSocket-Protocol: chat, superchat"][..]),
        (
            Some("superchat"),
            &["Sec-WebSocket-Protocol: chat, superchat"],
        ),
        (
            Some("chat"),
            &[
                "Sec-WebSocket-Protocol: chat",
                "Sec-WebSocket-Protocol: superchat",
            ],
        ),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(RFC, "/", lines));
        let mut served = backend.accept();
        let asked = served.head.header("Sec-WebSocket-Protocol");
        assert_eq!(asked, Some("chat, superchat"));
        match choice {
            Some(choice) => served.agree_to(&[("Sec-WebSocket-Protocol", choice)]),
            None => served.agree_to(&[]),
        }
        assert_eq!(client.head().header("Sec-WebSocket-Protocol"), choice);
    }
}

#[test]
fn a_hixie_client_that_does_not_get_its_subprotocol_is_refused() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for agrees in [true, false] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(
            HIXIE_76,
            "/",
            &["Sec-WebSocket-Protocol: chat"],
        ));
        let mut served = backend.accept();
        assert_eq!(served.head.header("Sec-WebSocket-Protocol"), Some("chat"));
        if agrees {
            served.agree_to(&[("Sec-WebSocket-Protocol", "chat")]);
            let head = client.head();
            assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("chat"));
        } else {
            served.agree_to(&[]);
            let (head, body) = client.response();
            assert_eq!(head.status(), 400);
            assert!(body.starts_with("subprotocol-unknown: "), "{body}");
            // It had agreed, so it gets a close and nothing else.
            served.receive_close(1001);
        }
    }
}

#[test]
fn forwarded_headers_of_trusted_peers_are_believed_and_of_others_replaced() {
    let lines = [
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: public.example",
    ];
    for trusted in [true, false] {
        let backend = Backend::listen();
        let gate = gate_with(&backend.url(), |set| {
            if trusted {
                set.backend.trusted = "127.0.0.0/8".parse().unwrap();
            }
        });
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(HIXIE_76, "/chat", &lines));
        let mut served = backend.open();
        let location = client.head();
        let location = location
            .header("Sec-WebSocket-Location")
            .unwrap()
            .to_owned();
        let head = &served.head;
        let [who, proto, host] =
            ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"].map(|n| head.header(n));
        if trusted {
            assert_eq!(who, Some("192.0.2.7, 127.0.0.1"));
            assert_eq!((proto, host), (Some("https"), Some("public.example")));
            assert_eq!(location, "wss://public.example/chat");
        } else {
            assert_eq!(who, Some("127.0.0.1"));
            assert_eq!((proto, host), (Some("http"), Some("example.com")));
            assert_eq!(location, "ws://example.com/chat");
        }
        assert_eq!(client.exactly(16), DIGEST);
        served.send_text("x");
        client.reset();
        let who = if trusted { "192.0.2.7" } else { "127.0.0.1" };
        assert_eq!(gate.seen().client.ip().to_string(), who);
    }
}

#[test]
fn the_public_url_stands_in_the_location_whatever_proxies_say() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.config.public_url = Some("wss://known.example".to_owned());
        set.backend.trusted = "127.0.0.1".parse().unwrap();
    });
    for (speaks, name) in [
        (HIXIE_75, "WebSocket-Location"),
        (HIXIE_76, "Sec-WebSocket-Location"),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request_with(
            speaks,
            "/a?b",
            &["X-Forwarded-Host: x.example"],
        ));
        let _served = backend.open();
        let head = client.head();
        assert_eq!(head.header(name), Some("wss://known.example/a?b"));
    }
}

// The PROXY protocol.

const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x50";

#[test]
fn a_proxy_header_of_a_listed_peer_names_the_client_however_it_comes() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
    });
    let v1 = &b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"[..];
    for header in [v1, V2] {
        for singly in [false, true] {
            for speaks in [HIXIE_76, RFC] {
                let mut client = Peer::connect(gate.address);
                let all = [header, &request(speaks, "/")].concat();
                if singly {
                    client.send_singly(&all);
                } else {
                    client.send(&all);
                }
                let mut served = backend.open();
                client.agree(speaks);
                assert_eq!(served.head.header("X-Forwarded-For"), Some("192.0.2.7"));
                client.send_text("behind");
                assert_eq!(served.receive_text(), "behind");
                client.reset();
                let seen = gate.seen();
                assert_eq!(seen.client, "192.0.2.7:4711".parse().unwrap());
            }
        }
    }
}

#[test]
fn a_listed_peer_without_a_proxy_header_is_refused() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
    });
    for begin in [
        request(RFC, "/"),
        b"PROXY TCP4 nonsense\r\n".to_vec(),
        vec![0x16, 3, 1],
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&begin);
        let (head, body) = client.response();
        assert_eq!(head.status(), 400);
        assert!(body.starts_with("proxy-header: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!((seen.what, seen.path), ("proxy-header", None));
    }
    backend.has_nobody();
}

#[test]
fn a_proxy_header_of_a_peer_that_is_not_listed_is_refused() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "192.0.2.0/24".parse().unwrap();
    });
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"[..], V2] {
        let mut client = Peer::connect(gate.address);
        client.send(&[header, &request(RFC, "/")].concat());
        let (head, body) = client.response();
        assert_eq!(head.status(), 400);
        assert!(body.starts_with("proxy-header-unexpected: "), "{body}");
        drop(client);
        let seen = gate.seen();
        assert_eq!(seen.what, "proxy-header-unexpected");
        assert!(seen.client.ip().is_loopback());
    }
    backend.has_nobody();
}

#[test]
fn a_proxy_header_that_never_ends_is_over_at_the_deadline() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
        set.settings.handshake_ms = 200;
    });
    let mut client = Peer::connect(gate.address);
    client.send(b"PROXY TCP4 ");
    assert_eq!(client.response().0.status(), 408);
}

#[test]
fn the_backend_gets_a_proxy_header_first_where_it_wants_one() {
    for (version, begin) in [
        (ProxyVersion::V1, &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..]),
        (
            ProxyVersion::V2,
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"[..],
        ),
    ] {
        let backend = Backend::listen();
        let gate = gate_with(&backend.url(), |set| set.backend.send_proxy = Some(version));
        let mut client = Peer::connect(gate.address);
        let from = client.stream().local_addr().unwrap().port();
        client.send(&request(RFC, "/"));
        let mut served = backend.accept_raw();
        assert_eq!(served.exactly(begin.len()), begin);
        match version {
            ProxyVersion::V1 => {
                let ports = format!("{from} {}\r\n", gate.address.port());
                assert_eq!(served.exactly(ports.len()), ports.as_bytes());
            }
            ProxyVersion::V2 => {
                let ports = [from.to_be_bytes(), gate.address.port().to_be_bytes()].concat();
                assert_eq!(served.exactly(4), ports);
            }
        }
        assert_eq!(served.head().lines[0], "GET / HTTP/1.1");
    }
}

#[test]
fn a_proxy_header_that_came_goes_on_as_the_one_that_is_sent() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.proxies = "127.0.0.1".parse().unwrap();
        set.backend.send_proxy = Some(ProxyVersion::V1);
    });
    let mut client = Peer::connect(gate.address);
    client.send(&[V2, &request(RFC, "/")].concat());
    let mut served = backend.accept_raw();
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    assert_eq!(served.exactly(line.len()), line);
}

#[test]
fn a_url_inside_the_query_or_the_path_is_neither_routed_nor_logged() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (asked, path) in [
        ("/app?next=http://idp.example/secret", "/app"),
        ("/a/http://x/b?q=1", "/a/http://x/b"),
        ("http://h.example/app?next=ws://x/y", "/app"),
        ("http://h.example?next=/x", "/"),
    ] {
        let mut client = Peer::connect(gate.address);
        client.send(&request(RFC, asked));
        let served = backend.accept();
        let query = asked.split_once('?').unwrap().1;
        assert_eq!(
            served.head.lines[0],
            format!("GET {path}?{query} HTTP/1.1"),
            "{asked}"
        );
        drop((served, client));
        assert_eq!(gate.seen().path.as_deref(), Some(path), "{asked}");
    }
}

#[test]
fn a_path_is_kept_for_the_log_up_to_a_bound() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let long = format!("/{}", "a".repeat(9_000));
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, &long));
    let served = backend.accept();
    assert_eq!(served.head.lines[0], format!("GET {long} HTTP/1.1"));
    drop((served, client));
    assert_eq!(gate.seen().path.map(|path| path.len()), Some(1000));
}

#[test]
fn what_a_client_puts_in_front_of_a_proxys_element_is_not_believed() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.backend.trusted = "127.0.0.1".parse().unwrap();
    });
    let line = "Forwarded: for=6.6.6.6;host=evil.example;proto=https, \
                for=192.0.2.7;host=real.example;proto=http";
    let mut client = Peer::connect(gate.address);
    client.send(&request_with(RFC, "/", &[line]));
    let served = backend.accept();
    let head = &served.head;
    assert_eq!(head.header("X-Forwarded-Host"), Some("real.example"));
    assert_eq!(head.header("X-Forwarded-Proto"), Some("http"));
}

#[test]
fn each_side_agrees_on_base64_by_itself() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.backend.binary = heirloom::net::Binary::Base64;
        set.backend.version = heirloom::Version::named("hixie-76").unwrap();
    });
    let mut client = Peer::connect(gate.address);
    let line = "Sec-WebSocket-Protocol: binary, base64";
    client.send(&request_with(RFC, "/", &[line]));
    let mut served = backend.accept();
    let asked = served.head.header("Sec-WebSocket-Protocol");
    assert_eq!(asked, Some("base64"));
    let key3 = served.exactly(8);
    let response = served.response_of_76();
    let response = response.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: base64\r\n\r\n");
    let digest = served.digest(&key3);
    served.send(&[response.as_bytes(), &digest].concat());
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("binary"));
}

#[test]
fn values_that_are_only_carried_pass_octet_for_octet() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let mut client = Peer::connect(gate.address);
    let lines = [
        "Cookie: name=Jos@; tab=\t.; del=\x7f; esc=\x1b",
        "Authorization: @\x01",
        "User-Agent: @/1\x1b",
    ];
    let mut octets = request_with(RFC, "/", &lines);
    for octet in &mut octets {
        if *octet == b'@' {
            *octet = 0xe9;
        }
    }
    client.send(&octets);
    let served = backend.accept();
    for (name, value) in [
        ("Cookie", "name=Jos\u{e9}; tab=\t.; del=\x7f; esc=\x1b"),
        ("Authorization", "\u{e9}\x01"),
        ("User-Agent", "\u{e9}/1\x1b"),
    ] {
        assert_eq!(served.head.header(name), Some(value));
    }
}

#[test]
fn empty_cookies_are_left_out() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (lines, want) in [
        (&["Cookie: "][..], None),
        (&["Cookie:", "Cookie:  "], None),
        (&["Cookie: ", "Cookie: a=1"], Some("a=1")),
        (&["Cookie: a=1", "Cookie:", "Cookie: b=2"], Some("a=1; b=2")),
    ] {
        for speaks in [HIXIE_76, RFC] {
            let mut client = Peer::connect(gate.address);
            client.send(&request_with(speaks, "/", lines));
            let served = backend.accept();
            assert_eq!(served.head.header("Cookie"), want, "{speaks:?} {lines:?}");
        }
    }
}

#[test]
fn headers_that_are_named_are_passed_with_all_their_lines() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        let names = ["x-auth-token", "X-Many", "X-Hop", "cookie"].map(str::to_owned);
        set.config.opaque_headers = names.to_vec();
        set.backend.pass_headers = names.to_vec().into();
    });
    let mut client = Peer::connect(gate.address);
    let lines = [
        "X-Auth-Token: sec\x1fret\x7f",
        "X-Many: one",
        "X-MANY: two",
        "X-Hop: mine",
        "X-Other: no",
        "Cookie: a=b",
    ];
    let whole = String::from_utf8(request_with(RFC, "/", &lines)).unwrap();
    let whole = whole.replace("Connection: Upgrade", "Connection: Upgrade, X-Hop");
    client.send(whole.as_bytes());
    let served = backend.accept();
    let head = &served.head;
    assert_eq!(head.header("X-Auth-Token"), Some("sec\x1fret\x7f"));
    let many: Vec<&String> = head
        .lines
        .iter()
        .filter(|l| l.starts_with("X-Many"))
        .collect();
    assert_eq!(many, ["X-Many: one", "X-Many: two"]);
    assert_eq!(
        head.header("X-Hop"),
        None,
        "the client named it in Connection"
    );
    assert_eq!(head.header("X-Other"), None);
    assert_eq!(head.header("Cookie"), Some("a=b"));
}

#[test]
fn headers_of_one_hop_and_of_the_handshake_cannot_be_named() {
    for name in [
        "Connection",
        "upgrade",
        "TE",
        "Transfer-Encoding",
        "Keep-Alive",
        "Proxy-Authorization",
        "Content-Length",
        "Sec-WebSocket-Key",
        "sec-websocket-extensions",
        "WebSocket-Protocol",
        "Host",
        "Origin",
        "X-Forwarded-For",
        "Forwarded",
        "",
        "two words",
        "colon:",
        "caf\u{e9}",
    ] {
        assert!(
            heirloom::net::Backend::check_passed(name).is_err(),
            "{name}"
        );
    }
    for name in ["X-Auth-Token", "Accept-Language", "Via", "Cookie"] {
        assert_eq!(heirloom::net::Backend::check_passed(name), Ok(()), "{name}");
    }
}

#[test]
fn cookies_that_the_backend_sets_in_its_101_reach_the_client() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let mut client = Peer::connect(gate.address);
        client.send(&request(speaks, "/"));
        let mut served = backend.accept();
        served.agree_to(&[
            ("Set-Cookie", "session=1; Path=/; HttpOnly"),
            ("X-Powered-By", "backend"),
            ("set-cookie", "other=\u{e9}\x7f"),
        ]);
        let head = client.head();
        assert_eq!(head.status(), 101);
        let lines = head.lines.iter();
        let cookies: Vec<&String> = lines.filter(|l| l.starts_with("Set-Cookie")).collect();
        assert_eq!(
            cookies,
            [
                "Set-Cookie: session=1; Path=/; HttpOnly",
                "Set-Cookie: other=\u{e9}\x7f"
            ],
            "{speaks:?}"
        );
        assert_eq!(head.header("X-Powered-By"), None);
        if speaks == HIXIE_76 {
            assert_eq!(client.exactly(16), DIGEST);
        }
        client.send(&said(speaks, "on"));
        assert_eq!(served.receive_text(), "on");
    }
}

#[test]
fn what_a_client_must_do_about_a_refusal_reaches_it() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (status, passes) in [(401, true), (429, true), (407, false), (500, false)] {
        for speaks in [HIXIE_76, RFC] {
            let mut client = Peer::connect(gate.address);
            client.send(&request(speaks, "/"));
            let mut served = backend.accept();
            let response = format!(
                "HTTP/1.1 {status} No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                 www-authenticate: Bearer\r\nRetry-After: 120\r\nSet-Cookie: a=b\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            served.send(response.as_bytes());
            let (head, _) = client.response();
            let lines = head.lines.iter();
            let ways: Vec<&String> = lines.filter(|l| l.starts_with("WWW-Auth")).collect();
            if passes {
                assert_eq!(head.status(), status);
                let want = [
                    "WWW-Authenticate: Basic realm=\"x\"",
                    "WWW-Authenticate: Bearer",
                ];
                assert_eq!(ways, want);
                assert_eq!(head.header("Retry-After"), Some("120"));
            } else {
                assert_eq!(head.status(), 502);
                assert_eq!(ways.len(), 0);
                assert_eq!(head.header("Retry-After"), None);
            }
            assert_eq!(head.header("Set-Cookie"), None);
        }
    }
}
