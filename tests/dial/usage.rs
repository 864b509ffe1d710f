//! Wrong usage.

use crate::host::{Connection, Host};
use crate::program::{NOTHING, connect, heirloom, probe};

#[test]
fn wrong_usage_exits_2_and_names_what_is_wrong() {
    let cases: [(&[&str], &str); 33] = [
        (&["connect"], "URL"),
        (&["connect", "http://h/"], "a URL begins with ws://"),
        (&["connect", "h:80"], "a URL begins with ws://"),
        (&["connect", "ws://h/", "--insecure"], "dial wss://"),
        (&["probe", "ws://h/", "--ca", "ca.pem"], "dial wss://"),
        (
            &["connect", "wss://h/", "--ca", "ca.pem", "--insecure"],
            "cannot be used with",
        ),
        (&["connect", "ws://u@h/"], "no user"),
        (&["connect", "http://h/a"], "did you mean ws://h/a?"),
        (&["connect", "h:80/a"], "did you mean ws://h:80/a?"),
        (&["connect", "https://h/"], "did you mean wss://h/?"),
        (&["connect", ":9000"], "did you mean ws://127.0.0.1:9000/?"),
        (&["probe", "localhost:9000"], "ws://localhost:9000?"),
        (
            &["connect", "ws://h/", "--as", "hybi-09"],
            "did you mean hybi-08?",
        ),
        (
            &["connect", "ws://h/", "--as", "hixie76"],
            "did you mean hixie-76?",
        ),
        (
            &["probe", "ws://h/", "--versions", "13,hixie76"],
            "did you mean hixie-76?",
        ),
        (
            &["connect", "ws://h/", "--origin", "page.example"],
            "did you mean https://page.example",
        ),
        (
            &["probe", "ws://h/", "--origin", "http://page.example/"],
            "did you mean http://page.example?",
        ),
        (
            &["connect", "ws://h/", "--port", "9000"],
            "ws://127.0.0.1:8076/",
        ),
        (
            &["connect", "ws://h/", "-0", "--one-message"],
            "--one-message",
        ),
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
        (
            &["probe", "ws://h/", "--timeout-ms", "-1"],
            "give milliseconds",
        ),
        (&["connect", "ws://h/", "--wait", "-1"], "give seconds"),
        (
            &["connect", "ws://h/", "--wait", "-1s"],
            "no option takes a number below 0",
        ),
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
