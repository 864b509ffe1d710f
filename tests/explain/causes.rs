//! The causes that `explain` finds: a conversation that works is broken in the
//! ways in which hops and programs break it.

use heirloom::Side;
use heirloom::explain::{Explainer, Outcome, Verdict};

const HIXIE: &str = "GET /demo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Host: example.com:8076\r\nOrigin: http://example.com\r\nSec-WebSocket-Protocol: sample\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U";
const HIXIE_ANSWER: &str = "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Origin: http://example.com\r\n\
    Sec-WebSocket-Location: ws://example.com:8076/demo\r\nSec-WebSocket-Protocol: sample\r\n\r\n\
    8jKS'y:G*Co,Wxa-";
const FIRST: &str = "GET /demo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Host: example.com\r\nOrigin: http://example.com\r\n\r\n";
const FIRST_ANSWER: &str = "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\n\
    Connection: Upgrade\r\nWebSocket-Origin: http://example.com\r\n\
    WebSocket-Location: ws://example.com/demo\r\n\r\n";
const RFC: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const RFC_ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn verdict(client: &[u8], server: &[u8]) -> Verdict {
    let mut explainer = Explainer::new(false);
    explainer.feed(Side::Client, client);
    explainer.feed(Side::Server, server);
    explainer.finish().verdict
}

/// The verdict after these words of the request and the response were replaced.
fn found(client: &str, server: &str, changes: &[(&str, &str)]) -> Verdict {
    let (mut client, mut server) = (client.to_owned(), server.to_owned());
    for (from, to) in changes {
        assert!(client.contains(from) || server.contains(from), "{from}");
        client = client.replacen(from, to, 1);
        server = server.replacen(from, to, 1);
    }
    let octets =
        |text: &str| -> Vec<u8> { text.chars().map(|c| u8::try_from(c).unwrap()).collect() };
    verdict(&octets(&client), &octets(&server))
}

#[track_caller]
fn holds(verdict: &Verdict, code: &str, words: &str) {
    assert_eq!(verdict.code.unwrap_or(""), code, "{verdict:?}");
    let cause = verdict.cause.as_deref().unwrap_or("none");
    assert!(cause.contains(words), "{words:?} in {verdict:?}");
    assert!(
        verdict
            .cure
            .as_ref()
            .is_some_and(|cure| cure.ends_with(['.', '>'])),
        "{verdict:?}"
    );
}

#[test]
fn what_works_has_no_cause() {
    for (client, server) in [
        (HIXIE, HIXIE_ANSWER),
        (FIRST, FIRST_ANSWER),
        (RFC, RFC_ANSWER),
    ] {
        let verdict = found(client, server, &[]);
        assert_eq!(verdict.outcome, Outcome::Good, "{verdict:?}");
        assert_eq!((verdict.cause, verdict.cure), (None, None));
    }
}

#[test]
fn hops_that_change_a_hixie_request() {
    let squeezed = found(
        HIXIE,
        "",
        &[
            ("Key1: 4 @1  4", "Key1: 4 @1 4"),
            ("Host", "Via: 1.1 x\r\nHost"),
        ],
    );
    holds(
        &squeezed,
        "key-not-divisible",
        "with one space more key 1 gives 829309203 exactly",
    );
    holds(&squeezed, "key-not-divisible", "left its trace: Via");
    let none = found(HIXIE, "", &[("4 @1  46546xW%0l 1 5", "4@146546xW%0l15")]);
    holds(&none, "key-without-spaces", "a hop changed it");
    let one = found(
        HIXIE,
        "",
        &[("Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n", "")],
    );
    holds(&one, "key-alone", "lost on the way");
    // A key of a report: a run of spaces had become one.
    let seen = found(
        HIXIE,
        "",
        &[("4 @1  46546xW%0l 1 5", "2 L785 8o% s9Sy9@V. 4<1P5")],
    );
    holds(
        &seen,
        "key-not-divisible",
        "with one space more key 1 gives 557179883 exactly",
    );
}

#[test]
fn a_key_that_haproxy_adds() {
    let added = "Origin: http://example.com\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let first = found(FIRST, "", &[("Origin: http://example.com", added)]);
    holds(&first, "version-missing", "HAProxy (3.2 or later");
    // hixie-76 works all the same.
    let later = found(
        HIXIE,
        HIXIE_ANSWER,
        &[("Origin: http://example.com", added)],
    );
    assert_eq!(later.outcome, Outcome::Good);
    let forgotten = found(RFC, "", &[("Sec-WebSocket-Version: 13\r\n", "")]);
    holds(&forgotten, "version-missing", "forgets the version");
}

#[test]
fn hops_that_change_any_request() {
    for (from, to, code, words) in [
        (
            "HTTP/1.1\r\nHost",
            "HTTP/1.0\r\nHost",
            "http-version",
            "as nginx does",
        ),
        (
            "Upgrade: websocket\r\n",
            "",
            "upgrade-missing",
            "A proxy removed Upgrade",
        ),
        (
            "Connection: Upgrade",
            "Connection: close",
            "connection-missing",
            "removed Connection: Upgrade",
        ),
        (
            "Host: example.com",
            "Host: example.com\r\nHost: b",
            "header-repeated",
            "a hop added its own",
        ),
        (
            "Version: 13",
            "Version: 13, 8",
            "version-list",
            "names several versions",
        ),
        (
            "Version: 13",
            "Version: 9",
            "version-unknown",
            "drafts 09 to 12 all say 8",
        ),
        (
            "Version: 13",
            "Version: 0",
            "version-unknown",
            "had no number",
        ),
        (
            "Version: 13",
            "Version: 99",
            "version-unknown",
            "No document defines version 99",
        ),
        (
            "dGhlIHNhbXBsZSBub25jZQ==",
            "dGhl IHNhbXBsZSBub25jZQ==",
            "key-malformed",
            "read as a space",
        ),
        (
            "dGhlIHNhbXBsZSBub25jZQ==",
            "short",
            "key-malformed",
            "5 characters",
        ),
        (
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "",
            "key-missing",
            "no key",
        ),
        (
            "Host: example.com\r\n",
            "Host: example.com\n",
            "head-bare-lf",
            "LF without CR",
        ),
    ] {
        holds(&found(RFC, "", &[(from, to)]), code, words);
    }
    let nobody = found(FIRST, "", &[("Origin: http://example.com\r\n", "")]);
    holds(&nobody, "origin-missing", "names no origin");
}

#[test]
fn octets_that_are_no_request() {
    holds(
        &verdict(b"\x16\x03\x01\x02\x00\x01", b""),
        "tls-unexpected",
        "dialled wss",
    );
    holds(
        &verdict(b"\x81\x85\x37\xfa\x21\x3d\x7f", b""),
        "head-malformed",
        "look like frames",
    );
    holds(
        &verdict(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        "http-version",
        "HTTP/2",
    );
    holds(
        &verdict(RFC.as_bytes(), b"SSH-2.0-OpenSSH\r\n"),
        "response-malformed",
        "not speak HTTP",
    );
}

#[test]
fn a_third_key_that_is_held_back() {
    let head = HIXIE.strip_suffix("^n:ds[4U").unwrap();
    let words = "did not arrive";
    let waiting = found(head, "", &[]);
    assert_eq!(waiting.outcome, Outcome::Incomplete);
    holds(&waiting, "", words);
    let half = found(&format!("{head}^n:"), "", &[]);
    assert!(half.sentence.contains("3 of 8 octets"), "{half:?}");
    holds(&half, "", words);
    let answered = HIXIE_ANSWER.strip_suffix("8jKS'y:G*Co,Wxa-").unwrap();
    holds(&found(head, answered, &[]), "", words);
    holds(
        &found(head, "HTTP/1.1 504 Gateway Time-out\r\n\r\n", &[]),
        "refused",
        words,
    );
    let mut explainer = Explainer::new(false);
    explainer.feed(Side::Client, head.as_bytes());
    explainer.end(Side::Client);
    holds(&explainer.finish().verdict, "handshake-cut", words);
}

#[test]
fn answers_that_a_hixie_client_refuses() {
    let location = "Location: ws://example.com:8076/demo";
    for (from, to, code, words) in [
        (
            location,
            "Location: wss://example.com:8076/demo",
            "location-mismatch",
            "Only the scheme is wrong",
        ),
        (
            location,
            "Location: ws://example.com/demo",
            "location-mismatch",
            "The port is wrong",
        ),
        (
            location,
            "Location: ws://localhost:8076/demo",
            "location-mismatch",
            "not the URL that was dialled",
        ),
        (
            "Sec-WebSocket-Location",
            "WebSocket-Location",
            "location-mismatch",
            "of another version",
        ),
        (
            "Sec-WebSocket-Origin: http://example.com\r\n",
            "",
            "origin-mismatch",
            "does not repeat the origin",
        ),
        (
            "Sec-WebSocket-Origin: http://e",
            "Sec-WebSocket-Origin: http://E",
            "origin-mismatch",
            "letters of another case",
        ),
        (
            "Sec-WebSocket-Origin: http://e",
            "Sec-WebSocket-Origin: http://f",
            "origin-mismatch",
            "repeats http://fxample.com",
        ),
        (
            "sample\r\n\r\n8",
            "other\r\n\r\n8",
            "subprotocol-mismatch",
            "names other",
        ),
        (
            "Sec-WebSocket-Protocol: sample\r\n\r\n8",
            "\r\n8",
            "subprotocol-mismatch",
            "protocol mismatch",
        ),
        (
            "Sec-WebSocket-Protocol: sample\r\nSec",
            "Sec-WebSocket-Protocol: sample, other\r\nSec",
            "subprotocol-mismatch",
            "asked with one string, sample, other",
        ),
        (
            "101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\n",
            "101 x\r\n",
            "upgrade-mismatch",
            "no Upgrade",
        ),
        (
            "8jKS'y:G*Co,Wxa-",
            "0123456789abcdef",
            "digest-mismatch",
            "in hex",
        ),
        (
            "8jKS'y:G*Co,Wxa-",
            "0123456789abcde-",
            "digest-mismatch",
            "over other keys",
        ),
    ] {
        holds(&found(HIXIE, HIXIE_ANSWER, &[(from, to)]), code, words);
    }
    for (from, to, words) in [
        (
            "101 Web Socket Protocol",
            "101 Switching Protocols",
            "the reason phrase is",
        ),
        (
            "Upgrade: WebSocket\r\nConnection: Upgrade\r\nWeb",
            "Server: nginx\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nWeb",
            "Server comes first",
        ),
        (
            "Upgrade: WebSocket\r\nConnection: Upgrade\r\nWeb",
            "Upgrade: WebSocket\r\nConnection: upgrade\r\nWeb",
            "order or the letters",
        ),
    ] {
        holds(
            &found(FIRST, FIRST_ANSWER, &[(from, to)]),
            "response-lines",
            words,
        );
    }
}

/// The response with the digest of these octets.
fn digest_of(parts: &[&[u8]]) -> Vec<u8> {
    use md5::Digest;
    let digest = md5::Md5::digest(parts.concat());
    let head = HIXIE_ANSWER.strip_suffix("8jKS'y:G*Co,Wxa-").unwrap();
    [head.as_bytes(), digest.as_slice()].concat()
}

#[test]
fn digests_that_servers_got_wrong() {
    let one = 829_309_203_u32.to_be_bytes();
    let two = 259_970_620_u32.to_be_bytes();
    let key3 = b" ab cde\n";
    let client = HIXIE.replace("^n:ds[4U", " ab cde\n");
    let wrong = |parts: &[&[u8]], words: &str| {
        holds(
            &verdict(client.as_bytes(), &digest_of(parts)),
            "digest-mismatch",
            words,
        );
    };
    wrong(&[&one, &two, b"ab cde"], "trimmed white space");
    let (mut first, mut second) = (one, two);
    first.reverse();
    second.reverse();
    wrong(&[&first, &second, key3], "least significant octet first");
    wrong(&[&two, &one, key3], "second key for the first");
    wrong(&[&one, &two], "left the third key out");
    // A request whose keys still divide although spaces were lost.
    let client = HIXIE.replace("4 @1  46546xW%0l 1 5", "1 2");
    let recorded = digest_of(&[&4_u32.to_be_bytes(), &two, b"^n:ds[4U"]);
    let lost = verdict(client.as_bytes(), &recorded);
    holds(
        &lost,
        "digest-mismatch",
        "With 2 spaces more in key 1 this digest is right",
    );
}

#[test]
fn answers_that_a_newer_client_refuses() {
    for (from, to, code, words) in [
        (
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "dGhlIHNhbXBsZSBub25jZQ==",
            "accept-mismatch",
            "sends the key back",
        ),
        (
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "S3PPLMBITXAQ9KYGZZHZRBK+XOO=",
            "accept-mismatch",
            "Only the case of letters differs",
        ),
        (
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "me89jWimTRKTWwrS3aRrL53YZSo=",
            "accept-mismatch",
            "another key",
        ),
        (
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            "",
            "accept-mismatch",
            "has no Sec-WebSocket-Accept",
        ),
        (
            "Connection: Upgrade\r\nSec-WebSocket-Accept",
            "Connection: close\r\nSec-WebSocket-Accept",
            "connection-mismatch",
            "Connection: close",
        ),
        (
            "xOo=\r\n",
            "xOo=\r\nSec-WebSocket-Protocol: chat, superchat\r\n",
            "subprotocol-mismatch",
            "sends the list back",
        ),
        (
            "xOo=\r\n",
            "xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
            "extension-unexpected",
            "does not offer",
        ),
        (
            "xOo=\r\n",
            "xOo=\r\nSec-WebSocket-Extensions: x; =\r\n",
            "extension-invalid",
            "x; = is no extension",
        ),
        (
            "101 Switching Protocols",
            "200 OK",
            "refused",
            "as to a request for a page",
        ),
        (
            "101 Switching Protocols",
            "426 Upgrade Required",
            "refused",
            "other versions",
        ),
        (
            "101 Switching Protocols",
            "403 Forbidden",
            "refused",
            "this origin",
        ),
        (
            "101 Switching Protocols",
            "502 Bad Gateway",
            "refused",
            "A proxy answers 502",
        ),
    ] {
        holds(&found(RFC, RFC_ANSWER, &[(from, to)]), code, words);
    }
    // The example's accept, given for another key.
    let other = found(
        RFC,
        RFC_ANSWER,
        &[("dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==")],
    );
    holds(&other, "accept-mismatch", "the RFC's example, copied");
    let plus = heirloom::handshake::accept("AAAA AAAAAAAAAAAAAAAAA==");
    let changes = [
        ("dGhlIHNhbXBsZSBub25jZQ==", "AAAA+AAAAAAAAAAAAAAAAA=="),
        ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", plus.as_str()),
    ];
    holds(
        &found(RFC, RFC_ANSWER, &changes),
        "accept-mismatch",
        "as a space, as in a URL",
    );
    let hixie = found(HIXIE, "HTTP/1.1 400 Bad Request\r\n\r\n", &[]);
    holds(&hixie, "refused", "HAProxy 2.4 and later");
}

#[test]
fn frames_that_break_a_rule() {
    let framed = |client: &[u8], server: &[u8]| {
        let client = [RFC.as_bytes(), client].concat();
        verdict(&client, &[RFC_ANSWER.as_bytes(), server].concat())
    };
    holds(
        &framed(b"\x81\x05Hello", b""),
        "mask-missing",
        "without a mask",
    );
    holds(
        &framed(b"", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        "mask-unexpected",
        "masks like a client",
    );
    holds(
        &framed(b"", b"\xc1\x05Hello"),
        "reserved-bits",
        "RSV1 marks a compressed message",
    );
    holds(
        &framed(b"", b"\x00\x05Hello\xff"),
        "continuation-unexpected",
        "starts with 00",
    );
    holds(&framed(b"", b"\x81\x02\xe4!"), "utf8-invalid", "Latin-1");
    holds(
        &framed(b"", b"\x81\x02\x80!"),
        "utf8-invalid",
        "binary data",
    );
    holds(
        &framed(b"", b"\x88\x02\x03\xed"),
        "close-code-invalid",
        "sent 1005",
    );
    holds(
        &framed(b"", b"\x88\x02\x03\x00"),
        "close-code-invalid",
        "made 768 up",
    );
    let hixie = [HIXIE.as_bytes(), b"\x81\xff\xff\xff\xff\xff\x00"].concat();
    let framed = verdict(&hixie, HIXIE_ANSWER.as_bytes());
    holds(&framed, "message-too-big", "like one of RFC 6455");
    let mut explainer = Explainer::new(false);
    explainer.feed(Side::Client, RFC.as_bytes());
    explainer.feed(Side::Server, RFC_ANSWER.as_bytes());
    explainer.end(Side::Server);
    holds(
        &explainer.finish().verdict,
        "connection-cut",
        "The server was killed",
    );
}

#[test]
fn a_response_without_its_request_is_held_to_what_needs_none() {
    let alone = |from: &str, to: &str| {
        assert!(RFC_ANSWER.contains(from), "{from}");
        verdict(b"", RFC_ANSWER.replace(from, to).as_bytes())
    };
    let whole = alone("101", "101");
    assert_eq!(whole.outcome, Outcome::Incomplete);
    assert!(whole.sentence.contains("cannot be checked"), "{whole:?}");
    let other = alone("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAA");
    assert_eq!(other.outcome, Outcome::Incomplete);
    holds(
        &alone("Upgrade: websocket\r\n", ""),
        "upgrade-mismatch",
        "has no Upgrade",
    );
    holds(&alone("101", "404"), "refused", "nothing at this path");
}

#[test]
fn a_wrong_head_does_not_hide_the_digest_behind_it() {
    let response = HIXIE_ANSWER.replace("Connection: Upgrade", "Connection: close");
    let mut explainer = Explainer::new(false);
    explainer.feed(Side::Client, HIXIE.as_bytes());
    explainer.feed(Side::Server, response.as_bytes());
    let explanation = explainer.finish();
    assert_eq!(explanation.verdict.code, Some("connection-mismatch"));
    let kinds: Vec<&str> = explanation.parts.iter().map(|p| p.kind.name()).collect();
    assert_eq!(kinds, ["request", "key3", "answer", "digest"]);
}
