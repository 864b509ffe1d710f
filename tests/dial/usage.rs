//! Wrong usage.

use crate::host::{Connection, Host};
use crate::program::{NOTHING, connect, heirloom, probe};

#[test]
fn wrong_usage_exits_2_and_names_what_is_wrong() {
    let cases: [(&[&str], &str); 16] = [
        (&["connect"], "URL"),
        (&["connect", "http://h/"], "a URL begins with ws://"),
        (&["connect", "h:80"], "a URL begins with ws://"),
        (&["connect", "wss://h/"], "wss is not spoken"),
        (&["connect", "ws://u@h/"], "no user"),
        (&["connect", "ws://h/", "--as", "hybi-09"], "hybi-08"),
        (
            &["connect", "ws://h/", "--header", "no colon"],
            "Name: value",
        ),
        (&["connect", "ws://h/", "--header", "a b: c"], "letters"),
        (
            &["connect", "ws://h/", "--header", "a: b\r\nc: d"],
            "--header",
        ),
        (&["connect", "ws://h/", "--origin", "\u{e9}"], "--origin"),
        (
            &["connect", "ws://h/", "--subprotocol", ""],
            "--subprotocol",
        ),
        (&["probe"], "URL"),
        (&["probe", "ws://h:99999/"], "port"),
        (&["probe", "ws://h/", "--versions", "hybi-09"], "hybi-09"),
        (&["probe", "ws://h/", "--timeout-ms", "0"], "--timeout-ms"),
        (&["probe", "ws://h/", "--fail-on", "bad"], "refused"),
    ];
    for (args, word) in cases {
        let ended = heirloom(args, NOTHING);
        ended.exits(2);
        assert_eq!(ended.out(), "", "{args:?}");
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_request_that_no_server_takes_is_not_sent() {
    let host = Host::new(Connection::end);
    for (args, why) in [
        (
            ["--header", "Host: other"],
            "the header Host is there twice",
        ),
        (
            ["--header", "Content-Length: 5"],
            "announces one by Content-Length",
        ),
        (["--max-head-bytes", "64"], "longer than 64 octets"),
    ] {
        let ended = connect(host.address, &args, NOTHING);
        ended.exits(2).complains("cannot send the request: ");
        assert!(ended.stderr.contains(why), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn probing_for_no_version_is_wrong_usage() {
    let host = Host::new(Connection::end);
    let (ended, findings) = probe(host.address, &["--versions=-all"]);
    assert!(findings.is_empty());
    ended.exits(2);
    assert!(ended.stderr.contains("--versions"), "{}", ended.stderr);
}
