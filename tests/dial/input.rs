//! What `connect` makes of its input, and how long it stays.

use std::io::Read;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::host::{Connection, Host, frame};
use crate::program::{Ended, NOTHING, Stdin, heirloom};
use crate::support::PATIENCE;
use crate::support::program::Program;

/// How long it waits for replies without an option.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// `heirloom connect` as it is without options.
fn connect(host: &Host, args: &[&str], stdin: Stdin<'_>) -> Ended {
    let url = format!("ws://{}/", host.address);
    heirloom(&[&["connect", &url], args].concat(), stdin)
}

/// A server that says this so many milliseconds after the handshake, and ends so
/// many later.
fn slow(text: &'static str, wait: u64, end: u64) -> Host {
    Host::after_opening(move |conn| {
        thread::sleep(Duration::from_millis(wait));
        conn.send(&frame(0x81, text.as_bytes()));
        thread::sleep(Duration::from_millis(end));
        conn.send(&frame(0x88, &[0x03, 0xe8]));
        conn.end();
    })
}

#[test]
fn a_reply_that_takes_its_time_is_shown() {
    let ended = connect(&slow("late", 700, 3000), &[], Stdin::Ends(b"hello\n"));
    ended.exits(0);
    assert_eq!(ended.out(), "late\n");
    assert!(ended.took > Duration::from_millis(1500), "{:?}", ended.took);
}

#[test]
fn each_message_of_the_server_extends_the_wait() {
    let host = Host::after_opening(|conn| {
        for text in ["one", "two", "three"] {
            thread::sleep(Duration::from_millis(700));
            conn.send(&frame(0x81, text.as_bytes()));
        }
        conn.end();
    });
    let ended = connect(&host, &[], Stdin::Ends(b"hello\n"));
    assert_eq!(ended.out(), "one\ntwo\nthree\n", "{}", ended.stderr);
}

#[test]
fn wait_says_how_long() {
    let host = slow("late", 1500, 100);
    let ended = connect(&host, &["--wait", "3"], Stdin::Ends(b"hello\n"));
    ended.exits(0);
    assert_eq!(ended.out(), "late\n");
    let ended = connect(&host, &["--wait", "100ms"], Stdin::Ends(b"hello\n"));
    assert_eq!(
        ended.out(),
        "late\n",
        "it arrives before the server's close"
    );
    let mute = Host::after_opening(Connection::read_to_end);
    let short = ["--wait", "0", "--close-timeout-ms", "100"];
    let took = || {
        let ended = connect(&mute, &short, Stdin::Ends(b"hello\n"));
        ended.exits(5).took
    };
    // Less than the wait without an option; the machine may be busy for a moment.
    let fastest = (0..10).map(|_| took()).find(|took| *took < DEFAULT_WAIT);
    assert!(fastest.is_some(), "it waits");
}

#[test]
fn with_empty_input_it_stays_until_the_server_closes() {
    let ended = connect(&slow("late", 1800, 500), &[], NOTHING);
    ended.exits(0);
    assert_eq!(ended.out(), "late\n");
    assert!(ended.took > Duration::from_millis(2000), "{:?}", ended.took);
}

#[test]
fn all_of_the_input_can_be_one_message() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    let args = ["connect", &url, "--wait", "200ms", "--one-message"];
    let text = "{\n  \"a\": 1\r\n}\n";
    let ended = heirloom(&args, Stdin::Ends(text.as_bytes()));
    ended.exits(0);
    assert_eq!(ended.out(), format!("{text}\n"));
    let octets: Vec<u8> = (0..=255).collect();
    let ended = heirloom(&[&args[..], &["--binary"]].concat(), Stdin::Ends(&octets));
    ended.exits(0);
    assert_eq!(ended.out, [&octets[..], b"\n"].concat());
    let limit = ["--max-message-bytes", "13"];
    let ended = heirloom(&[&args[..], &limit].concat(), Stdin::Ends(text.as_bytes()));
    ended.exits(2);
}

#[test]
fn messages_can_end_with_nul() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    let args = ["connect", &url, "--wait", "200ms", "-0"];
    let ended = heirloom(&args, Stdin::Ends(b"one\nline\n\0\0last"));
    ended.exits(0);
    assert_eq!(ended.out(), "one\nline\n\0\0last\0");
}

#[test]
fn hixie_75_ends_when_the_server_has_nothing_more_to_say() {
    let (tell, told) = channel();
    let host = Host::after_opening(move |conn| {
        // All of them take longer than a silence.
        for text in [b"\0one\xff", b"\0two\xff", b"\0six\xff", b"\0ten\xff"] {
            conn.send(text);
            thread::sleep(Duration::from_millis(400));
        }
        // Its half of TCP stays open.
        let mut octets = Vec::new();
        let _ = conn.reader.read_to_end(&mut octets);
        let _ = tell.send(octets);
        thread::sleep(PATIENCE);
    });
    let args = ["--as", "hixie-75", "--wait", "0"];
    let ended = connect(&host, &args, Stdin::Ends(b"hello\n"));
    ended.exits(0);
    assert_eq!(ended.out(), "one\ntwo\nsix\nten\n");
    assert_eq!(ended.stderr, "");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"\0hello\xff");
}

#[test]
fn quiet_shows_no_notes() {
    let host = Host::after_opening(|conn| {
        conn.send(&frame(0x88, &[0x03, 0xe9]));
        conn.end();
    });
    let ended = connect(&host, &[], NOTHING);
    assert_eq!(ended.stderr, "* closed 1001\n");
    let ended = connect(&host, &["-q"], NOTHING);
    ended.exits(0);
    assert_eq!(ended.stderr, "");
}
