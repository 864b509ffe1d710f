//! What `connect` and `probe` tell of an answer that is no 101.

use crate::host::Host;
use crate::program::{NOTHING, connect, finds};
use crate::refusals::refusal;

/// What `connect` and `probe` say of this response.
fn said_of(response: Vec<u8>, severity: &str, verdict: &str) -> [String; 2] {
    let host = Host::sending(response);
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(4).is_escaped();
    let (_, reason) = finds(host.address, "rfc6455", severity, verdict);
    [ended.stderr, reason]
}

fn refused(head: &str, body: &str) -> [String; 2] {
    let octets = format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes();
    said_of(octets, "refused", "refused")
}

#[test]
fn a_redirect_names_where_it_leads_and_is_not_followed() {
    let said = refused(
        "302 Found\r\nLocation: https://other.example/chat\r\nContent-Length: 0",
        "",
    );
    for said in said {
        assert!(said.contains("HTTP status 302"), "{said}");
        assert!(
            said.contains("redirects to https://other.example/chat, which is not"),
            "{said}"
        );
        assert!(said.contains("(try wss://other.example/chat)"), "{said}");
    }
    for said in refused("308 Gone on\r\nLocation: /chat/\r\nContent-Length: 0", "") {
        assert!(
            said.contains("redirects to /chat/, which is not followed"),
            "{said}"
        );
        assert!(!said.contains("try"), "{said}");
    }
    // A Location of another status is no redirect.
    for said in refused("503 Busy\r\nLocation: /chat/\r\nContent-Length: 0", "") {
        assert!(!said.contains("redirects"), "{said}");
    }
}

#[test]
fn a_challenge_names_its_schemes() {
    for (head, schemes) in [
        ("401 No\r\nWWW-Authenticate: Basic realm=\"a, b\"", "Basic"),
        (
            "401 No\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"1,2\", Bearer\r\nWWW-Authenticate: Negotiate",
            "Digest, Bearer, Negotiate",
        ),
        ("407 No\r\nProxy-Authenticate: Basic realm=x", "Basic"),
    ] {
        let head = format!("{head}\r\nContent-Length: 8");
        for said in refused(&head, "sign in\n") {
            let asks = format!("; it asks for authentication: {schemes}");
            assert!(said.contains(&asks), "{said}");
            assert!(said.contains(": sign in"), "{said}");
        }
    }
}

#[test]
fn the_body_ends_where_its_length_says() {
    let second = "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n";
    for said in refused("426 Upgrade Required\r\nContent-Length: 0", second) {
        assert!(said.trim_end().ends_with("HTTP status 426"), "{said}");
    }
    for said in refused("400 Bad\r\nContent-Length: 4", &format!("stop{second}")) {
        assert!(said.trim_end().ends_with(": stop"), "{said}");
    }
    let chunked = format!("3\r\nsto\r\n2;x=y\r\np\n\r\n0\r\n\r\n{second}");
    for said in refused("400 Bad\r\nTransfer-Encoding: chunked", &chunked) {
        assert!(said.trim_end().ends_with(": stop"), "{said}");
    }
}

#[test]
fn of_a_page_the_title_is_shown_and_of_other_types_nothing() {
    let page = "<html>\n<head><title>\nError 404\n Not Found</title></head>\n<body>x</body>";
    let length = page.len();
    for kind in ["Content-Type: text/html;charset=utf-8\r\n", ""] {
        let head = format!("404 Not Found\r\n{kind}Content-Length: {length}");
        for said in refused(&head, page) {
            assert!(said.trim_end().ends_with(": Error 404 Not Found"), "{said}");
        }
    }
    let (head, body) = refusal("500 Bad", "Content-Type: image/png\r\n", "\u{89}PNG\n");
    for said in said_of([head, body].concat(), "refused", "refused") {
        assert!(said.trim_end().ends_with("HTTP status 500"), "{said}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_shown() {
    for (octets, shown) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "SSH-2.0-OpenSSH_9.6"),
        (b"220 mail.example ESMTP\r\n", "220 mail.example ESMTP"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "which looks like TLS"),
    ] {
        let said = said_of(octets.to_vec(), "wrong", "response-malformed");
        for said in said {
            assert!(said.contains("; the answer starts with "), "{said}");
            assert!(said.contains(shown), "{said}");
        }
    }
}
