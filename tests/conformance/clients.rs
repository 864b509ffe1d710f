//! Clients under test: they walk the cases, ask for what is not there, leave in the
//! middle, and have names that are none.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::support::folder::Folder;
use crate::support::peer::{CLOSE, Head, Peer, RFC, Speaks, frame, request};
use crate::support::program::{HEIRLOOM, Program};
use crate::{calm, results};

/// A tester of clients with these options.
pub(crate) fn tester(args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "conform",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--timeout-ms",
        "1000",
    ]);
    Program::start(command.args(args))
}

/// What the tester answers to a path, in the words of tungstenite's own client.
pub(crate) fn asked(address: SocketAddr, path: &str) -> Option<String> {
    let (mut socket, _) = tungstenite::connect(format!("ws://{address}{path}")).unwrap();
    let mut answer = None;
    while let Ok(message) = socket.read() {
        if let tungstenite::Message::Text(text) = message {
            answer = Some(text.to_string());
        }
    }
    answer
}

/// Runs a case as tungstenite's own client does.
pub(crate) fn run_case(address: SocketAddr, query: &str) {
    let (mut socket, _) = tungstenite::connect(format!("ws://{address}/runCase?{query}")).unwrap();
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            break;
        }
    }
}

fn declined(address: SocketAddr, path: &str) -> (Head, String) {
    let mut peer = Peer::connect(address);
    peer.send(&request(RFC, path));
    peer.response()
}

#[test]
fn a_client_walks_the_cases() {
    let _calm = calm();
    let folder = Folder::new();
    let junit = folder.path("report.xml");
    let tester = tester(&[
        "--only",
        "1.1,7.7.1",
        "--once",
        "--junit",
        junit.to_str().unwrap(),
    ]);
    let address = tester.address;
    let count: usize = asked(address, "/getCaseCount").unwrap().parse().unwrap();
    assert_eq!(count, 9);
    for case in 1..=count {
        let info: Value =
            serde_json::from_str(&asked(address, &format!("/getCaseInfo?case={case}")).unwrap())
                .unwrap();
        let keys: Vec<&String> = info.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["description", "id"]);
        run_case(address, &format!("case={case}&agent=walker%2F1+x"));
        let status = asked(
            address,
            &format!("/getCaseStatus?case={case}&agent=walker/1%20x"),
        );
        assert_eq!(status.as_deref(), Some("{\"behavior\":\"OK\"}"), "{info}");
    }
    assert!(!junit.exists());
    assert_eq!(asked(address, "/updateReports?agent=walker/1+x"), None);
    let (status, ended) = tester.wait();
    assert_eq!(status.code(), Some(0), "{ended:?}");
    let (lines, last) = results(&ended);
    assert_eq!((lines.len(), &last["exit"]), (9, &Value::from(0)));
    assert!(
        lines.iter().all(|line| line["agent"] == "walker/1 x"),
        "{ended:?}"
    );
    assert!(std::fs::read_to_string(junit).unwrap().contains("7.7.1"));
}

#[test]
fn without_options_the_cases_are_those_that_test_clients_know() {
    let tester = tester(&[]);
    assert_eq!(
        asked(tester.address, "/getCaseCount").as_deref(),
        Some("517")
    );
    let info = |case: u32| {
        let info = asked(tester.address, &format!("/getCaseInfo?case={case}")).unwrap();
        let info: Value = serde_json::from_str(&info).unwrap();
        info["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (info(1), info(517)),
        ("1.1.1".to_owned(), "13.7.18".to_owned())
    );
    assert_eq!(asked(tester.address, "/stopServer"), None);
    let (status, ended) = tester.wait();
    assert_eq!(status.code(), Some(3));
    assert!(
        ended.talk.contains("no client has run a case"),
        "{}",
        ended.talk
    );
}

#[test]
fn what_is_not_there_is_answered_by_http() {
    let _calm = calm();
    let tester = tester(&["--only", "1.1"]);
    let long = "x".repeat(10_000);
    for (path, status, says) in [
        ("/", 404, "/getCaseCount"),
        ("/runCase", 400, "case=1"),
        ("/runCase?case=1", 400, "agent=NAME"),
        ("/runCase?case=1&agent=", 400, "agent=NAME"),
        ("/runCase?case=0&agent=a", 404, "from 1 to 8"),
        ("/runCase?case=9&agent=a", 404, "from 1 to 8"),
        ("/runCase?case=x&agent=a", 404, "from 1 to 8"),
        (
            "/runCase?case=18446744073709551616&agent=a",
            404,
            "from 1 to 8",
        ),
        ("/runCase?casetuple=9.9.9&agent=a", 404, "no such case"),
        ("/runCase?case=1&case=2&agent=a", 400, "more than once"),
        ("/runCase?case=1&agent=a&agent=b", 400, "more than once"),
        ("/runCase?case=1&agent=%zz", 400, "percent-encoded"),
        ("/runCase?case=1&agent=%ff", 400, "percent-encoded"),
        ("/runCase?case=1&agent=a%0d%0ab", 400, "control characters"),
        ("/getCaseInfo", 400, "case=1"),
        ("/getCaseStatus?case=1&agent=a", 404, "has not run"),
        ("/updateReports", 400, "agent=NAME"),
        ("/updateReports?agent=nobody", 404, "has run a case"),
    ] {
        let (head, body) = declined(tester.address, path);
        assert_eq!(head.status(), status, "{path}: {body}");
        assert!(body.contains(says), "{path}: {body}");
    }
    let (head, body) = declined(tester.address, &format!("/runCase?case=1&agent={long}"));
    assert_eq!(head.status(), 400, "{body}");
    assert!(body.contains("at most 200 octets"), "{body}");
    // Nothing of this keeps a client from its cases.
    run_case(tester.address, "case=1&agent=a");
    let status = asked(tester.address, "/getCaseStatus?case=1&agent=a");
    assert_eq!(status.as_deref(), Some("{\"behavior\":\"OK\"}"));
}

#[test]
fn a_request_that_is_none_is_answered_and_no_other_suffers() {
    let tester = tester(&["--only", "1.1"]);
    let mut plain = Peer::connect(tester.address);
    plain.send(b"GET /getCaseCount HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(plain.head().status(), 426);
    let mut garbage = Peer::connect(tester.address);
    garbage.send(b"\x16\x03\x01 no request at all\r\n\r\n");
    assert!(garbage.head().status() >= 400);
    // It says nothing, and is gone.
    drop(Peer::connect(tester.address));
    let mut resets = Peer::connect(tester.address);
    resets.send(b"GET /runCase?case=1&agent=a HTTP/1.1\r\n");
    resets.reset();
    assert_eq!(asked(tester.address, "/getCaseCount").as_deref(), Some("8"));
}

#[test]
fn a_client_that_leaves_has_failed_and_may_come_again() {
    let _calm = calm();
    let tester = tester(&["--only", "1.1"]);
    let address = tester.address;
    for leave in [Peer::reset, |peer: Peer| drop(peer)] {
        let mut peer = Peer::open(address, RFC, "/runCase?case=2&agent=%2e%2e%2f");
        peer.frame();
        leave(peer);
        let status = asked(address, "/getCaseStatus?case=2&agent=../");
        assert_eq!(status.as_deref(), Some("{\"behavior\":\"FAILED\"}"));
    }
    // The same case twice at the same time: both end, and the last one counts.
    let other = thread::spawn(move || run_case(address, "casetuple=1.1.2&agent=../"));
    run_case(address, "case=2&agent=../");
    other.join().unwrap();
    let status = asked(address, "/getCaseStatus?case=2&agent=../");
    assert_eq!(status.as_deref(), Some("{\"behavior\":\"OK\"}"));
    tester.signal("TERM");
    let (status, ended) = tester.wait();
    assert_eq!(status.code(), Some(0), "{ended:?}");
}

#[test]
fn a_status_waits_for_the_case() {
    let _calm = calm();
    let tester = tester(&["--only", "1.1"]);
    let address = tester.address;
    let mut peer = Peer::open(address, RFC, "/runCase?case=2&agent=a");
    let (first, payload) = peer.frame();
    let mut status = Peer::connect(address);
    status.send(&request(RFC, "/getCaseStatus?case=2&agent=a"));
    // What was asked for later is answered, and this is not.
    assert_eq!(asked(address, "/getCaseCount").as_deref(), Some("8"));
    status.stream().set_nonblocking(true).unwrap();
    let early = status.stream().peek(&mut [0]);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    status.stream().set_nonblocking(false).unwrap();
    peer.send(&frame(first, &payload));
    peer.close_frame(1000);
    peer.send(&frame(CLOSE, &[0x03, 0xe8]));
    status.agree(RFC);
    assert_eq!(status.receive_text(), "{\"behavior\":\"OK\"}");
}

#[test]
fn old_versions_ask_and_are_tested_too() {
    let tester = tester(&["--only", "1.1.2,hixie-76"]);
    let mut peer = Peer::open(tester.address, Speaks::Hixie76, "/getCaseCount");
    let count: usize = peer.receive_text().parse().unwrap();
    assert!(count > 1, "{count}");
    assert_eq!(peer.exactly(2), [0xff, 0]);
    // The first case is of another version.
    let mut peer = Peer::connect(tester.address);
    peer.send(&request(Speaks::Hixie76, "/runCase?case=1&agent=old"));
    let (head, body) = peer.response();
    assert_eq!(head.status(), 400);
    assert!(
        body.contains("1.1.2 is about rfc6455, and the client speaks hixie-76"),
        "{body}"
    );
    let mut peer = Peer::open(tester.address, Speaks::Hixie75, "/getCaseCount");
    assert_eq!(peer.receive_text(), count.to_string());
    peer.ends();
}

#[test]
fn more_connections_than_places_wait() {
    let tester = tester(&["--only", "1.1"]);
    let idle: Vec<Peer> = (0..64).map(|_| Peer::connect(tester.address)).collect();
    let mut waits = Peer::connect(tester.address);
    waits.send(&request(RFC, "/getCaseCount"));
    assert!(!waits.receives_within(std::time::Duration::from_millis(300)));
    drop(idle);
    waits.agree(RFC);
    assert_eq!(waits.receive_text(), "8");
}
