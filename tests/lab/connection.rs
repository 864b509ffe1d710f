//! What a page is told of its own connection, in every version.

use serde_json::Value;

use super::support::peer::{DIGEST, KEY3, Peer, RFC, Speaks, said};
use super::support::program::Program;
use super::{EACH, HIXIE_76, Page, head_of_76, hex, hostile_values, is_inert, request_with, serve};

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The octets of one side, as the parts of an explanation have them.
fn octets(told: &Value, side: &str) -> String {
    let parts = told["explanation"]["parts"].as_array().unwrap();
    let own = parts.iter().filter(|part| part["side"] == side);
    let hex: Vec<&str> = own.map(|part| part["hex"].as_str().unwrap()).collect();
    hex.join(" ")
}

/// All that the derivations say.
fn derived(told: &Value) -> String {
    let mut said = String::new();
    for part in told["explanation"]["parts"].as_array().unwrap() {
        for derivation in part["derivations"].as_array().into_iter().flatten() {
            for step in derivation["steps"].as_array().unwrap() {
                for run in step["runs"].as_array().unwrap() {
                    said.push_str(run["text"].as_str().unwrap());
                }
                said.push('\n');
            }
        }
    }
    said
}

fn is_good(told: &Value, version: &str) {
    assert_eq!(told["open"], true, "{told}");
    assert_eq!(told["version"], version);
    assert_eq!(told["cut"], false);
    assert_eq!(told["explanation"]["version"], version);
    assert_eq!(told["explanation"]["verdict"]["result"], "good", "{told}");
    let row = heirloom::Version::named(version).unwrap();
    assert_eq!(told["document"], row.document);
    assert_eq!(told["clients"], row.clients);
    let parts = told["explanation"]["parts"].as_array().unwrap();
    assert_eq!(parts[0]["side"], "client");
    assert!(parts.iter().any(|part| part["side"] == "server"));
}

#[test]
fn the_handshake_of_each_version_is_explained_octet_by_octet() {
    let program = serve(&[], &["--versions", "all", "--subprotocol", "chat"]);
    for (speaks, version) in EACH {
        let name = if version.starts_with("hixie") {
            "WebSocket-Protocol"
        } else {
            "Sec-WebSocket-Protocol"
        };
        let name = if speaks == HIXIE_76 {
            "Sec-WebSocket-Protocol"
        } else {
            name
        };
        let agent = "Mozilla/5.0 PhantomJS/1.9.8";
        let page = Page::load_as(&program, agent);
        let asked = request_with(speaks, &page.path(), &format!("{name}: chat\r\n"));
        let mut peer = Peer::connect(program.address);
        peer.send(&asked);
        let head = peer.head();
        let mut answered = (head.lines.join("\r\n") + "\r\n\r\n").into_bytes();
        if speaks == HIXIE_76 {
            answered.extend(peer.exactly(16));
        }
        let told = page.connection();
        is_good(&told, version);
        assert_eq!(told["subprotocol"], "chat");
        assert_eq!(told["agent"], agent);
        // What it is called is not what it speaks.
        assert_eq!(told["speaks"], "PhantomJS 1.9 is known to speak hixie-76.");
        assert_eq!(octets(&told, "client"), hex(&asked));
        assert_eq!(octets(&told, "server"), hex(&answered));
        let derived = derived(&told);
        match speaks {
            Speaks::Hixie75 => {}
            Speaks::Hixie76 => {
                for shown in [hex(KEY3), hex(DIGEST)] {
                    assert!(derived.contains(&shown), "{shown} is not in {derived}");
                }
            }
            Speaks::Number(_) => assert!(derived.contains(ACCEPT), "{derived}"),
        }
    }
}

#[test]
fn a_connection_that_is_closed_is_told_on() {
    let program = serve(&[], &["--versions", "all"]);
    for (speaks, version) in EACH {
        let page = Page::load(&program);
        let mut peer = page.open(speaks);
        assert!(page.connection()["subprotocol"].is_null());
        peer.echo("hello");
        peer.close();
        let told = page.await_closed();
        assert_eq!(told["version"], version);
        assert_eq!(told["explanation"]["verdict"]["result"], "good", "{told}");
        page.open(speaks).echo("again");
    }
}

#[test]
fn the_eight_octets_may_come_in_a_write_of_their_own() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let mut peer = Peer::connect(program.address);
    peer.send(&head_of_76(&page.path()));
    let head = peer.head();
    let told = page.connection();
    assert_eq!(told["open"], false);
    assert!(told["version"].is_null());
    assert_eq!(octets(&told, "client"), hex(&head_of_76(&page.path())));
    let verdict = &told["explanation"]["verdict"]["result"];
    assert_eq!(verdict, "incomplete", "{told}");
    peer.send(KEY3);
    assert_eq!(peer.exactly(16), DIGEST);
    let told = page.connection();
    is_good(&told, "hixie-76");
    assert_eq!(octets(&told, "client"), hex(&page.request(HIXIE_76)));
    let answered = [(head.lines.join("\r\n") + "\r\n\r\n").as_bytes(), DIGEST].concat();
    assert_eq!(octets(&told, "server"), hex(&answered));
    assert!(derived(&told).contains(&hex(DIGEST)));
}

#[test]
fn a_head_may_come_in_any_portions_and_with_what_follows() {
    let program = Program::serve(&[]);
    for speaks in [HIXIE_76, RFC] {
        let version = if speaks == RFC { "rfc6455" } else { "hixie-76" };
        let page = Page::load(&program);
        let mut peer = Peer::connect(program.address);
        peer.send_singly(&page.request(speaks));
        peer.agree(speaks);
        let told = page.connection();
        is_good(&told, version);
        assert_eq!(octets(&told, "client"), hex(&page.request(speaks)));

        let page = Page::load(&program);
        let whole = [page.request(speaks), said(speaks, "early")].concat();
        let mut peer = Peer::connect(program.address);
        peer.send(&whole);
        peer.agree(speaks);
        assert_eq!(peer.receive_text(), "early");
        let told = page.connection();
        is_good(&told, version);
        assert_eq!(octets(&told, "client"), hex(&whole));
    }
}

#[test]
fn behind_a_proxy_the_proxys_header_is_no_part_of_it() {
    let program = Program::serve(&["--accept-proxy", "127.0.0.1"]);
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    let proxied = |octets: &[u8]| {
        let mut peer = Peer::connect(program.address);
        peer.send(&[line, octets].concat());
        peer
    };
    let (_, body) = proxied(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").response();
    let token = body.split("var token = '").nth(1).unwrap();
    let path = format!("/lab/{}", token.split('\'').next().unwrap());
    let asked = super::request(HIXIE_76, &path);
    let mut peer = proxied(&asked);
    peer.agree(HIXIE_76);
    let question = format!("GET {path}/connection HTTP/1.1\r\nHost: h\r\n\r\n");
    let (_, body) = proxied(question.as_bytes()).response();
    let told: Value = serde_json::from_str(&body).unwrap();
    is_good(&told, "hixie-76");
    assert_eq!(octets(&told, "client"), hex(&asked));
}

#[test]
fn of_two_connections_of_a_page_the_last_one_counts() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let mut first = page.open(RFC);
    let mut second = page.open(HIXIE_76);
    is_good(&page.connection(), "hixie-76");
    first.close();
    // The server has let go of the first when the list has one.
    super::within("one is left", || {
        Some(()).filter(|()| page.json("connections")["open"] == 1)
    });
    is_good(&page.connection(), "hixie-76");
    second.echo("still here");
    assert!(octets(&page.connection(), "client").ends_with(&hex(b"\0still here\xff")));
    second.close();
    assert_eq!(page.await_closed()["version"], "hixie-76");
}

#[test]
fn a_connection_that_is_refused_after_another_was_open_is_not_open() {
    let program = Program::serve(&["--subprotocol", "chat"]);
    let page = Page::load(&program);
    let mut first = page.open(RFC);
    let mut second = Peer::connect(program.address);
    let other = "Sec-WebSocket-Protocol: other\r\n";
    second.send(&request_with(HIXIE_76, &page.path(), other));
    assert_eq!(second.head().status(), 400);
    second.rest();
    let told = page.connection();
    assert_eq!(told["open"], false, "{told}");
    assert!(told["version"].is_null());
    assert_eq!(
        told["explanation"]["verdict"]["result"], "refused",
        "{told}"
    );
    first.echo("goes on");
}

#[test]
fn a_hostile_head_is_inert_in_what_the_page_is_told() {
    let program = Program::serve(&[]);
    let mut told_of = 0;
    for value in hostile_values() {
        let page = Page::load(&program);
        let mut asked = request_with(RFC, &page.path(), "X-Evil: MARK\r\n");
        let at = asked.windows(4).position(|w| w == b"MARK").unwrap();
        asked.splice(at..at + 4, value.iter().copied());
        let mut peer = Peer::connect(program.address);
        peer.send(&asked);
        if peer.head().status() != 101 {
            assert!(value.iter().any(|o| o.is_ascii_control()), "{value:?}");
            continue;
        }
        let body = page.ask("connection").1;
        is_inert(&body);
        let told: Value = serde_json::from_str(&body).unwrap();
        is_good(&told, "rfc6455");
        assert_eq!(octets(&told, "client"), hex(&asked));
        strings_are_inert(&told);
        let vector = page.ask("vector").1;
        is_inert(&vector);
        told_of += 1;
    }
    assert!(told_of >= 6, "{told_of}");
}

fn strings_are_inert(value: &Value) {
    match value {
        Value::String(text) => is_inert(text),
        Value::Array(list) => list.iter().for_each(strings_are_inert),
        Value::Object(map) => map.values().for_each(strings_are_inert),
        _ => {}
    }
}

#[test]
fn a_version_that_is_off_is_named_to_the_page_and_its_handshake_kept() {
    let program = serve(&[], &["--versions", "rfc6455"]);
    let page = Page::load(&program);
    let mut client = Peer::connect(program.address);
    client.send(&page.request(HIXIE_76));
    let (head, body) = client.response();
    assert_eq!(head.status(), 426);
    assert!(body.starts_with("version-off: "), "{body}");
    drop(client);
    let told = page.connection();
    assert_eq!(told["refused"], "version-off", "{told}");
    assert_eq!(told["version"], "hixie-76");
    assert_eq!(told["open"], false);
    let parts = told["explanation"]["parts"].as_array().unwrap();
    let kinds: Vec<&str> = parts.iter().filter_map(|p| p["kind"].as_str()).collect();
    assert!(kinds.starts_with(&["request"]), "{kinds:?}");
    assert!(kinds.contains(&"answer"), "{kinds:?}");
}

#[test]
fn what_is_right_behind_tls_and_a_proxy_is_told_as_right() {
    let url = "wss://public.example";
    let program = serve(&[], &["--public-url", url, "--max-head-bytes", "65536"]);
    let page = Page::load(&program);
    let more = format!("Cookie: {}\r\n", "a".repeat(20_000));
    let mut client = Peer::connect(program.address);
    client.send(&request_with(HIXIE_76, &page.path(), &more));
    client.agree(HIXIE_76);
    is_good(&page.connection(), "hixie-76");
}
