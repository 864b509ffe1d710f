//! Answers to an offer of extensions that are wrong: each has its own sentence in
//! `connect`, `probe` and `explain`.

use heirloom::extension::{Codecs, Level};

use crate::host::{Host, frame};
use crate::program::{Stdin, connect, heirloom, probe};
use crate::responses::add;

const HEADER: &str = "Sec-WebSocket-Extensions";

/// The heads of a handshake, up to what the server says of extensions.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A server that opens every connection and says this of extensions, a line each.
fn answering(lines: &'static [&'static str]) -> Host {
    Host::new(move |conn| {
        let mut head = conn.right_response();
        for line in lines {
            add(&mut head, &format!("Sec-WebSocket-Extensions: {line}"));
        }
        conn.send_head(&head);
        conn.read_to_end();
    })
}

/// An answer that is wrong, a line each, with its code and what is said of it: by
/// `connect` and `probe`, and by `explain`.
type Wrong = (
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

const UNEXPECTED: &str = "extension-unexpected";
const INVALID: &str = "extension-invalid";

const NO_LIST: &str = "Sec-WebSocket-Extensions is not a list of extensions with parameters: ";
const NO_EXTENSION: &str = "is no extension: that is a name, and behind each semicolon a parameter";
const TWICE: &str = "Sec-WebSocket-Extensions agrees to compression twice: ";
const ONE_ALONE: &str = ": to compression twice. Both mark what they compress by RSV1";
const BAD_WINDOW: &str = "has a window that is not 8, 9, 10, 11, 12, 13, 14 or 15: ";
const NO_WINDOW: &str = "the server names a window that is not 8 to 15: digits alone";
const NO_NUMBER: &str = "has a window without a number: ";
const NUMBER_LEFT_OUT: &str = "the server names a window without its number of bits. Only an offer";
const VALUE: &str = "gives a value to a parameter that takes none: ";
const GIVES_VALUE: &str = "the server gives a value to a parameter that takes none.";
const PARAMETER_TWICE: &str = "has the same parameter twice: ";
const NAMES_TWICE: &str = "the server names a parameter twice.";
const UNKNOWN: &str = "has a parameter that this extension does not have: ";
const ADDS: &str = "the server adds a parameter that this extension does not have.";
const NOT_OFFERED: &str = ", which the request does not offer.";

const WRONG: &[Wrong] = &[
    // What was not offered.
    (
        &["deflate-stream"],
        UNEXPECTED,
        "; deflate-stream was offered by clients from 2011-03 to 2013-04: all octets",
        NOT_OFFERED,
    ),
    (
        &["permessage-deflate, x-webkit-deflate-frame"],
        UNEXPECTED,
        "; x-webkit-deflate-frame was offered by clients from",
        NOT_OFFERED,
    ),
    (
        &["permessage-deflate", "x-deflate-frame; minLength=4"],
        UNEXPECTED,
        "; x-deflate-frame was offered by clients from",
        "agrees to x-deflate-frame; minLength=4, which the request does not offer.",
    ),
    (
        &["frobnicate; a=\"b\""],
        UNEXPECTED,
        "; no extension frobnicate is known",
        NOT_OFFERED,
    ),
    (
        &["Permessage-Deflate"],
        UNEXPECTED,
        "; Permessage-Deflate is permessage-deflate in other upper and lower case",
        "Permessage-Deflate is permessage-deflate in other upper and lower case",
    ),
    (
        &["permessage-deflate, server_max_window_bits=10"],
        INVALID,
        NO_LIST,
        NO_EXTENSION,
    ),
    (
        &["permessage-deflate, client_max_window_bits"],
        UNEXPECTED,
        "; client_max_window_bits is a parameter of permessage-deflate, and belongs behind that name",
        "client_max_window_bits is a parameter of permessage-deflate, and belongs behind that name",
    ),
    // One extension twice.
    (
        &["permessage-deflate, permessage-deflate"],
        INVALID,
        TWICE,
        ONE_ALONE,
    ),
    (
        &["permessage-deflate", "permessage-deflate"],
        INVALID,
        TWICE,
        ONE_ALONE,
    ),
    (
        &["permessage-deflate, permessage-deflate; foo"],
        INVALID,
        TWICE,
        ONE_ALONE,
    ),
    (
        &["permessage-deflate; foo, permessage-deflate"],
        INVALID,
        TWICE,
        ONE_ALONE,
    ),
    // No list at all.
    (&[";;;"], INVALID, NO_LIST, NO_EXTENSION),
    (
        &["permessage-deflate, ;;;"],
        INVALID,
        NO_LIST,
        ";;; is no extension: that is a name",
    ),
    (&["permessage-deflate;"], INVALID, NO_LIST, NO_EXTENSION),
    (&["permessage deflate"], INVALID, NO_LIST, NO_EXTENSION),
    (
        &["{\"permessage-deflate\": true}"],
        INVALID,
        NO_LIST,
        NO_EXTENSION,
    ),
    (
        &["permessage-deflate; server_max_window_bits="],
        INVALID,
        NO_LIST,
        NO_EXTENSION,
    ),
    (
        &["permessage-deflate; server_max_window_bits=\"10"],
        INVALID,
        NO_LIST,
        NO_EXTENSION,
    ),
    (
        &["permessage-deflate; server_max_window_bits=\"1 0\""],
        INVALID,
        NO_LIST,
        NO_EXTENSION,
    ),
    // Parameters.
    (&["permessage-deflate; foo"], INVALID, UNKNOWN, ADDS),
    (
        &["permessage-deflate; max_window_bits=10"],
        INVALID,
        UNKNOWN,
        ADDS,
    ),
    (
        &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        INVALID,
        PARAMETER_TWICE,
        NAMES_TWICE,
    ),
    (
        &["permessage-deflate; server_max_window_bits=10; server_max_window_bits=\"10\""],
        INVALID,
        PARAMETER_TWICE,
        NAMES_TWICE,
    ),
    (
        &["permessage-deflate; server_no_context_takeover=true"],
        INVALID,
        VALUE,
        GIVES_VALUE,
    ),
    (
        &["permessage-deflate; client_no_context_takeover=\"1\""],
        INVALID,
        VALUE,
        GIVES_VALUE,
    ),
    (
        &["permessage-deflate; server_max_window_bits"],
        INVALID,
        NO_NUMBER,
        NUMBER_LEFT_OUT,
    ),
    (
        &["permessage-deflate; client_max_window_bits"],
        INVALID,
        NO_NUMBER,
        NUMBER_LEFT_OUT,
    ),
    (
        &["permessage-deflate; client_max_window_bits=7"],
        INVALID,
        BAD_WINDOW,
        NO_WINDOW,
    ),
    (
        &["permessage-deflate; client_max_window_bits=16"],
        INVALID,
        BAD_WINDOW,
        NO_WINDOW,
    ),
    (
        &["permessage-deflate; server_max_window_bits=08"],
        INVALID,
        BAD_WINDOW,
        NO_WINDOW,
    ),
    (
        &["permessage-deflate; server_max_window_bits=-9"],
        INVALID,
        BAD_WINDOW,
        NO_WINDOW,
    ),
    (
        &["permessage-deflate; server_max_window_bits='10'"],
        INVALID,
        BAD_WINDOW,
        NO_WINDOW,
    ),
    (
        &["permessage-deflate; server_max_window_bits=\"7\""],
        INVALID,
        BAD_WINDOW,
        NO_WINDOW,
    ),
];

#[test]
fn a_wrong_answer_stands_beside_what_was_offered() {
    let offered = "permessage-deflate; client_max_window_bits";
    for &(lines, code, words, _) in WRONG {
        let answered = lines.join(", ");
        let host = answering(lines);
        let (ended, findings) = probe(host.address, &["--versions", "rfc6455"]);
        ended.exits(1).is_escaped();
        let finding = &findings[0];
        assert_eq!(finding["verdict"], code, "{finding}");
        let both = format!(": \"{offered}\" was offered and \"{answered}\" answered");
        let reason = finding["reason"].as_str().unwrap();
        assert!(reason.contains(&both), "{both} in {reason}");
        assert!(reason.contains(words), "{words} in {reason}");
        assert_eq!(finding["field"], "Sec-WebSocket-Extensions", "{finding}");
        let expected = format!("nothing, or an answer to {offered}");
        assert_eq!(finding["expected"], expected, "{finding}");
        assert_eq!(finding["seen"], answered, "{finding}");
        assert_eq!(finding["extensions"]["offered"], offered, "{finding}");
        assert_eq!(finding["extensions"]["answered"], answered, "{finding}");
        // The same where the offer demands what none of the answers has.
        for how in ["--compression=per-connection", "--compression=shared"] {
            let ended = connect(host.address, &[how], Stdin::Stays(b""));
            ended.exits(4).complains(&format!("{code}: ")).is_escaped();
            let told = &ended.stderr;
            assert!(told.contains(words), "{how}: {words} in {told}");
            let answered = format!(" was offered and \"{answered}\" answered");
            assert!(told.contains(&answered), "{how}: {answered} in {told}");
        }
    }
}

#[test]
fn a_wrong_answer_is_explained_by_its_own_cause() {
    for &(lines, code, _, cause) in WRONG {
        let lines = lines.iter().map(|line| format!("{HEADER}: {line}\r\n"));
        let response: String = [RESPONSE.to_owned()].into_iter().chain(lines).collect();
        let head = format!("{REQUEST}{response}\r\n");
        let explain = ["explain", "-", "--format", "raw"];
        let ended = heirloom(&explain, Stdin::Ends(head.as_bytes()));
        ended.exits(1);
        let told = ended.out().split_whitespace().collect::<Vec<_>>().join(" ");
        let verdict = format!("Verdict: broken, {code} ");
        for told_of in [&*verdict, cause, "Not to be taken: the response"] {
            assert!(told.contains(told_of), "{told_of} in {told}");
        }
        assert!(!told.contains("the server has no compression"), "{told}");
    }
}

#[test]
fn what_an_offer_demands_and_an_answer_lacks_is_named() {
    let host = answering(&["permessage-deflate"]);
    let ended = connect(host.address, &["--compression"], Stdin::Stays(b""));
    let lacks = "lacks server_no_context_takeover, which the offer demands: ";
    ended.exits(4).complains("extension-invalid: ");
    assert!(ended.stderr.contains(lacks), "{}", ended.stderr);
    for (offer, answer, words) in [
        (
            "server_max_window_bits=10",
            &["permessage-deflate"][..],
            "lacks server_max_window_bits, which the offer demands: ",
        ),
        (
            "server_max_window_bits=10",
            &["permessage-deflate; server_max_window_bits=11"],
            "has a larger window than was offered: ",
        ),
        (
            "server_max_window_bits=10",
            &["permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"],
            "by client_max_window_bits, which the client did not offer: ",
        ),
    ] {
        let host = answering(answer);
        let offer = format!("Sec-WebSocket-Extensions: permessage-deflate; {offer}");
        let ended = connect(host.address, &["--header", &offer], Stdin::Stays(b""));
        ended.exits(4).complains("extension-invalid: ");
        assert!(ended.stderr.contains(words), "{words} in {}", ended.stderr);
    }
}

/// Our client goes on, and others do not.
#[test]
fn an_empty_answer_is_remarked_on() {
    let words = "a server that agrees to nothing leaves the header out, and Safari fails";
    for empty in [&[""][..], &[" , ,"]] {
        let host = answering(empty);
        let (ended, findings) = probe(host.address, &["--versions", "rfc6455"]);
        ended.exits(0);
        let reason = findings[0]["reason"].as_str().unwrap();
        assert_eq!(findings[0]["verdict"], "speaks", "{reason}");
        assert!(reason.contains(words), "{reason}");
        let ended = connect(host.address, &["--compression"], Stdin::Ends(b""));
        let told = format!("heirloom: the response's {HEADER} is empty: {words}");
        assert!(ended.stderr.starts_with(&told), "{}", ended.stderr);
    }
    let head = format!("{REQUEST}{RESPONSE}{HEADER}:\r\n\r\n");
    let explain = ["explain", "-", "--format", "raw"];
    let ended = heirloom(&explain, Stdin::Ends(head.as_bytes()));
    ended.exits(0);
    assert!(ended.out().contains("The header names no extension."));
}

/// A message that is compressed with a window of so many bits, and refers far back.
fn deflated(bits: u8) -> Vec<u8> {
    let mut text = String::from("a sentence that comes again, and again, ");
    for n in 0..400 {
        text.push_str(&format!("{} ", n * 7919 % 1009));
    }
    let text = text.repeat(3);
    let mut deflated = Vec::new();
    let mut codecs = Codecs::default();
    let mut deflater = codecs.deflater(Level::Best, bits);
    deflater.message(text.as_bytes(), &mut deflated);
    deflated
}

/// A server that agrees to this extension, and sends these frames with its response.
fn speaking(agreed: &str, frames: Vec<u8>) -> Host {
    let agreed = format!("Sec-WebSocket-Extensions: {agreed}");
    Host::new(move |conn| {
        let mut head = conn.right_response();
        add(&mut head, &agreed);
        let mut octets = format!("{}\r\n\r\n", head.join("\r\n")).into_bytes();
        octets.extend_from_slice(&frames);
        octets.extend_from_slice(b"\x88\x02\x03\xe8");
        conn.send(&octets);
        conn.read_to_end();
    })
}

#[test]
fn a_server_is_told_of_that_goes_beyond_its_window() {
    let far = deflated(15);
    let (first, second) = far.split_at(100);
    let whole = frame(0xc1, &far);
    let parts = [frame(0x41, first), frame(0x89, b""), frame(0x80, second)].concat();
    // A message that keeps to it in front, and one that does not behind.
    let several = [
        frame(0xc1, &deflated(9)),
        frame(0x81, b"plain"),
        whole.clone(),
    ]
    .concat();
    let pmd = "permessage-deflate; server_max_window_bits=9";
    let per_frame = "x-webkit-deflate-frame; max_window_bits=9";
    let by_frames = [frame(0x41, &deflated(9)), frame(0xc0, &far)].concat();
    for (offer, agreed, frames, told) in [
        (None, pmd, whole.clone(), true),
        (None, pmd, parts, true),
        (None, pmd, several, true),
        (None, pmd, frame(0xc1, &deflated(9)), false),
        (None, "permessage-deflate", whole.clone(), false),
        (
            None,
            "permessage-deflate; client_max_window_bits=9",
            whole,
            false,
        ),
        (Some(per_frame), "x-webkit-deflate-frame", by_frames, true),
        (
            Some(per_frame),
            "x-webkit-deflate-frame",
            frame(0xc1, &deflated(9)),
            false,
        ),
    ] {
        let host = speaking(agreed, frames);
        let header = offer.map(|offer| format!("{HEADER}: {offer}"));
        let args = match &header {
            Some(header) => vec!["--header", header.as_str()],
            None => vec!["--compression=per-connection"],
        };
        let ended = connect(host.address, &args, Stdin::Ends(b""));
        let words = "window-exceeded: what is compressed refers ";
        assert!(
            ended.out().contains("a sentence that comes again"),
            "{agreed}"
        );
        if told {
            ended.exits(1).complains(words);
            let window = " octets back, beyond the window of 512 that was agreed on\n";
            assert!(ended.stderr.ends_with(window), "{}", ended.stderr);
        } else {
            ended.exits(0);
            assert_eq!(ended.stderr, "", "{agreed}");
        }
        if offer.is_some() {
            continue;
        }
        let (ended, findings) = probe(host.address, &["--versions", "rfc6455"]);
        let finding = &findings[0];
        if told {
            ended.exits(1);
            assert_eq!(finding["verdict"], "window-exceeded", "{finding}");
            assert_eq!(finding["field"], "window", "{finding}");
            assert_eq!(finding["expected"], "512", "{finding}");
            let reason = finding["reason"].as_str().unwrap();
            let seen = finding["seen"].as_str().unwrap();
            let refers = format!("what is compressed refers {seen} octets back, ");
            assert!(reason.starts_with(&refers), "{refers} in {reason}");
        } else {
            ended.exits(0);
            assert_eq!(finding["verdict"], "speaks", "{finding}");
        }
    }
}

#[test]
fn what_a_header_of_the_caller_offers_is_shown_too() {
    let host = answering(&["mux"]);
    let offer = [
        "--header",
        "Sec-WebSocket-Extensions: x-webkit-deflate-frame",
    ];
    let ended = connect(host.address, &offer, Stdin::Stays(b""));
    ended.exits(4);
    let told = "\"x-webkit-deflate-frame\" was offered and \"mux\" answered; mux was offered";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    // Where nothing is offered, nothing may be answered.
    let ended = connect(host.address, &["--as", "hybi-07"], Stdin::Stays(b""));
    ended.exits(4);
    let told = ": nothing was offered and \"mux\" answered; mux was offered";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn an_answer_that_would_control_a_terminal_is_escaped_and_cut() {
    static LINE: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!("\u{9b}31m\t{}", "x".repeat(3000)));
    static LINES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| vec![&LINE]);
    let host = answering(&LINES);
    let (ended, findings) = probe(host.address, &["--versions", "rfc6455"]);
    ended.exits(1).is_escaped();
    let seen = findings[0]["seen"].as_str().unwrap();
    assert!(
        seen.starts_with("\\u{9b}31m\\tx") && seen.ends_with('…'),
        "{seen}"
    );
    assert!(seen.len() < 300, "{seen}");
    let ended = connect(host.address, &["--compression"], Stdin::Stays(b""));
    ended.exits(4).is_escaped();
    assert!(ended.stderr.len() < 1000, "{}", ended.stderr);
}
