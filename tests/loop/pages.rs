//! Plain HTTP, and what a response may repeat of its request.

use heirloom::Config;

use crate::HIXIE_76;
use crate::support::peer::{Peer, RFC, request};
use crate::support::server::Running;

fn get(server: &Running, request: &str) -> (u16, String, Vec<String>) {
    let mut peer = Peer::connect(server.address);
    peer.send(request.as_bytes());
    let (head, body) = peer.response();
    (head.status(), body, head.lines)
}

#[test]
fn plain_requests_get_their_pages() {
    let server = Running::serve(Config::default());
    let (status, page, lines) = get(&server, "GET / HTTP/1.1\r\nHost: lab.test:81\r\n\r\n");
    assert_eq!(status, 200);
    assert!(page.contains("ws://lab.test:81/chat"), "{page}");
    assert!(
        page.contains("hixie-76") && page.contains("rfc6455"),
        "{page}"
    );
    assert!(!page.contains("hixie-75"), "it is off: {page}");
    let is_html = |l: &String| l.starts_with("Content-Type: text/html");
    assert!(lines.iter().any(is_html), "{lines:?}");
    let ask = |line: &str| get(&server, &format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
    let (status, _, lines) = ask("GET /healthz");
    assert_eq!(status, 200);
    assert!(
        lines.contains(&"Cache-Control: no-store".to_owned()),
        "a proxy must not answer for the server: {lines:?}"
    );
    assert_eq!(ask("GET /healthz?deep").1, "ok\n");
    let (status, body, _) = ask("GET /nowhere");
    assert_eq!(status, 404);
    assert!(body.starts_with("not-found: "), "{body}");
    let (status, body, lines) = ask("POST /");
    assert_eq!(status, 405);
    assert!(body.starts_with("method-not-get: "), "{body}");
    assert!(lines.contains(&"Allow: GET".to_owned()), "{lines:?}");
}

#[test]
fn head_is_get_without_the_body() {
    let server = Running::serve(Config::default());
    for path in ["/", "/healthz"] {
        let rest = format!("{path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (_, body, lines) = get(&server, &format!("GET {rest}"));
        let mut peer = Peer::connect(server.address);
        peer.send(format!("HEAD {rest}").as_bytes());
        assert_eq!(peer.head().lines, lines);
        peer.ends();
        assert!(!body.is_empty());
    }
}

#[test]
fn the_page_escapes_what_the_client_sent() {
    let server = Running::serve(Config::default());
    for host in ["<script>alert(1)</script>", "a\"b", "a&b;'", "h\u{80}"] {
        let (_, page, _) = get(&server, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(!page.contains(host), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}

#[test]
fn nothing_a_client_sends_adds_a_line_to_an_answer() {
    let server = Running::serve(Config::default());
    let names_of = |request: &str| {
        let mut peer = Peer::connect(server.address);
        peer.send(request.as_bytes());
        let head = peer.head();
        let names: Vec<String> = head.names().iter().map(|n| (*n).to_owned()).collect();
        (head.status(), names.join(" "), head)
    };
    let old = String::from_utf8(request(HIXIE_76, "/")).unwrap();
    let planned = "Upgrade Connection Sec-WebSocket-Origin Sec-WebSocket-Location";
    let percent = "%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a%E2%80%A8";
    // What is visible ASCII comes back as it was sent, on the one line it is
    // for.
    let origin = format!("http://{percent}");
    let (status, names, head) = names_of(&old.replace("http://example.com", &origin));
    assert_eq!((status, names.as_str()), (101, planned));
    assert_eq!(head.header("Sec-WebSocket-Origin"), Some(&*origin));
    let (status, names, head) = names_of(&old.replace("GET /", &format!("GET /{percent}")));
    assert_eq!((status, names.as_str()), (101, planned));
    let location = format!("ws://example.com/{percent}");
    assert_eq!(head.header("Sec-WebSocket-Location"), Some(&*location));
    // Behind a colon a Host has a port.
    let host = percent.replace(':', "=");
    let (status, names, head) =
        names_of(&old.replace("Host: example.com", &format!("Host: {host}")));
    assert_eq!((status, names.as_str()), (101, planned));
    let location = format!("ws://{host}/");
    assert_eq!(head.header("Sec-WebSocket-Location"), Some(&*location));
    // What is not is refused, and not one octet of it comes back.
    for bad in ["\r", "\n", "\0", "\x0b", "\x1b[31m", "\u{85}", "\u{2028}"] {
        let bad = format!("{bad}Set-Cookie:a=b");
        for at in ["http://example.com", "Host: example.com", "GET /"] {
            let request = old.replacen(at, &format!("{at}{bad}"), 1);
            let mut peer = Peer::connect(server.address);
            peer.send(request.as_bytes());
            let (head, body) = peer.response();
            assert_eq!(head.status(), 400, "{request:?}");
            let said = format!("{head:?}{body}");
            assert!(!said.contains("Set-Cookie"), "{said}");
        }
    }
    // A subprotocol is chosen from ours, never echoed.
    let new = String::from_utf8(request(RFC, "/")).unwrap();
    let asks = "\r\nSec-WebSocket-Protocol: spoken%0d%0a, spoken\r\nConnection:";
    let (status, names, head) = names_of(&new.replace("\r\nConnection:", asks));
    assert_eq!(status, 101);
    let planned = "Upgrade Connection Sec-WebSocket-Accept Sec-WebSocket-Protocol";
    assert_eq!(names, planned);
    assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("spoken"));
}
