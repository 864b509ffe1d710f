//! Compression: what `connect` offers and tells, and what `probe` finds.

use crate::host::{Host, frame};
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

/// A frame that breaks a rule of compression is told with what was agreed on.
#[test]
fn probe_tells_a_bad_stream_with_what_was_agreed_on() {
    let host = Host::new(move |conn| {
        let mut head = conn.right_response();
        add(&mut head, "Sec-WebSocket-Extensions: permessage-deflate");
        conn.send_head(&head);
        // A block of the type that DEFLATE does not have.
        conn.send(&frame(0xc1, b"\x06"));
        conn.read_to_end();
    });
    let (_, findings) = probe(host.address, &["--versions", "rfc6455"]);
    let finding = &findings[0];
    assert_eq!(finding["verdict"], "compressed-data-invalid", "{finding}");
    let reason = finding["reason"].as_str().unwrap();
    assert!(
        reason.contains("was offered and \"permessage-deflate\" answered"),
        "{finding}"
    );
}
