//! Compression: what `connect` offers and tells, and what `probe` finds.

use crate::host::Host;
use crate::program::{NOTHING, Stdin, connect, heirloom, probe};
use crate::responses::add;
use crate::support::program::Program;

const PROSE: &str =
    "one line that is long enough, one line that is long enough, one line that is\n";
const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn connect_offers_nothing_unless_it_is_told_to() {
    let server = Program::serve(&[]);
    let ended = connect(server.address, &["-v"], Stdin::Ends(PROSE.as_bytes()));
    ended.exits(0);
    assert_eq!(ended.out(), PROSE);
    for word in ["Extensions", "compress"] {
        assert!(!ended.stderr.contains(word), "{}", ended.stderr);
    }
}

#[test]
fn connect_compresses_where_both_want_it_and_tells_what_was_agreed_on() {
    for (args, serves, agreed) in [
        (&["--compression"][..], &[][..], Some(BOTH)),
        (&["--compression=shared"], &[], Some(BOTH)),
        (
            &["--compression=per-connection"],
            &["--compression", "per-connection"],
            Some("permessage-deflate"),
        ),
        (
            &["--compression=per-connection", "--as", "hybi-07"],
            &[],
            Some(BOTH),
        ),
        (&["--compression", "shared"], &[], Some(BOTH)),
        (&["--compression=off"], &[], None),
        (&["--compression"], &["--compression", "off"], None),
    ] {
        let server = Program::serve(serves);
        let lines = PROSE.repeat(3);
        let input = Stdin::Ends(lines.as_bytes());
        let ended = connect(server.address, &[args, &["-v"]].concat(), input);
        ended.exits(0);
        assert_eq!(ended.out(), lines, "{args:?}");
        let note = agreed.map(|agreed| format!("* compression {agreed}\n"));
        let told = ended.stderr.contains("* compression ");
        assert_eq!(told, agreed.is_some(), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(note.as_deref().unwrap_or_default()));
        let compressed = ended.stderr.contains("fin 1, compressed, opcode 1");
        assert_eq!(compressed, agreed.is_some(), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn connect_knows_the_words() {
    for wrong in ["--compression=deflate", "--compression="] {
        let ended = heirloom(&["connect", "ws://h/", wrong], NOTHING);
        ended.exits(2);
        assert!(ended.stderr.contains("per-connection"), "{}", ended.stderr);
    }
    // Spelled as `serve` spells it, also in front of the URL.
    for (how, told) in [
        ("deflate", "invalid value 'deflate'"),
        ("shared", "did you mean ws://h:1?"),
        ("per-connection", "did you mean ws://h:1?"),
    ] {
        let ended = heirloom(&["connect", "--compression", how, "h:1"], NOTHING);
        ended.exits(2);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    // A URL that is empty, as by a variable that is not set, is no word.
    let ended = heirloom(&["connect", "--compression", ""], NOTHING);
    ended.exits(2);
    assert!(!ended.stderr.contains("per-connection"), "{}", ended.stderr);
    let old = ["connect", "ws://h/", "--compression", "--as", "hixie-76"];
    let ended = heirloom(&old, NOTHING);
    ended.exits(2).complains("hixie-76 has no compression");
}

#[test]
fn probe_shows_what_was_offered_and_answered() {
    for (serves, answered) in [
        (&["--versions", "all"][..], Some(BOTH)),
        (
            &["--versions", "all", "--compression", "per-connection"],
            Some("permessage-deflate"),
        ),
        (&["--versions", "all", "--compression", "off"], None),
    ] {
        let server = Program::serve(serves);
        let (ended, findings) = probe(server.address, &[]);
        ended.exits(0);
        for finding in findings {
            let version = finding["version"].as_str().unwrap();
            let reason = finding["reason"].as_str().unwrap();
            assert_eq!(finding["verdict"], "speaks", "{finding}");
            if !["hybi-07", "hybi-08", "rfc6455"].contains(&version) {
                assert!(finding.get("extensions").is_none(), "{finding}");
                continue;
            }
            let extensions = &finding["extensions"];
            let offered = "permessage-deflate; client_max_window_bits";
            assert_eq!(extensions["offered"], offered, "{finding}");
            assert_eq!(extensions["answered"].as_str(), answered, "{finding}");
            let sentence = match answered {
                Some(answered) => format!("was offered and \"{answered}\" answered; it "),
                None => "was offered and nothing answered; it ".to_owned(),
            };
            assert!(reason.contains(&sentence), "{finding}");
        }
    }
}

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

#[test]
fn a_wrong_answer_stands_beside_what_was_offered() {
    let offered = "permessage-deflate; client_max_window_bits";
    let unexpected = "extension-unexpected";
    let invalid = "extension-invalid";
    for (lines, answered, code, words) in [
        (
            &["deflate-stream"][..],
            "deflate-stream",
            unexpected,
            "; deflate-stream was offered by clients from 2011-03 to 2013-04: all octets",
        ),
        (
            &["permessage-deflate, x-webkit-deflate-frame"],
            "permessage-deflate, x-webkit-deflate-frame",
            unexpected,
            "; x-webkit-deflate-frame was offered by clients from",
        ),
        (
            &["permessage-deflate", "x-deflate-frame; minLength=4"],
            "permessage-deflate, x-deflate-frame; minLength=4",
            unexpected,
            "; x-deflate-frame was offered by clients from",
        ),
        (
            &["frobnicate; a=\"b\""],
            "frobnicate; a=\"b\"",
            unexpected,
            "; no extension frobnicate is known",
        ),
        (
            &["permessage-deflate; foo"],
            "permessage-deflate; foo",
            invalid,
            "has a parameter that this extension does not have: ",
        ),
        (
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            invalid,
            "has the same parameter twice: ",
        ),
        (
            &["permessage-deflate, permessage-deflate"],
            "permessage-deflate, permessage-deflate",
            invalid,
            "agrees to compression twice: ",
        ),
        (
            &["permessage-deflate; client_max_window_bits=16"],
            "permessage-deflate; client_max_window_bits=16",
            invalid,
            "is not a number from 8 to 15: ",
        ),
    ] {
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
        let per_connection = ["--compression=per-connection"];
        let ended = connect(host.address, &per_connection, Stdin::Stays(b""));
        ended.exits(4).complains(&format!("{code}: ")).is_escaped();
        for told in [&*both, words] {
            assert!(ended.stderr.contains(told), "{told} in {}", ended.stderr);
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
