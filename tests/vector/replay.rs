//! `heirloom replay`: servers and clients that are right pass, and what is
//! wrong with the others is named by octet and rule.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::backend::gone;
use crate::support::program::{Ended, HEIRLOOM, Program, run};

/// A server that reads one request and sends this, then reads to the end.
fn wrong_server(sends: &'static [u8], body: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            response(&mut stream.unwrap(), sends, body);
        }
    });
    address
}

fn response(stream: &mut TcpStream, sends: &[u8], body: usize) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut octet).unwrap_or(0) == 0 {
            return;
        }
        request.extend(octet);
    }
    let mut key3 = vec![0; body];
    let _ = stream.read_exact(&mut key3);
    let _ = stream.write_all(sends);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn against(path: &str, server: SocketAddr, more: &[&str]) -> Ended {
    let url = format!("ws://{server}/");
    let mut args = vec![
        "replay",
        path,
        "--against",
        &url,
        "--json",
        "--timeout-ms",
        "300",
    ];
    args.extend(more);
    run(&args)
}

/// The line about this vector.
fn line<'e>(ended: &'e Ended, id: &str) -> &'e str {
    let quoted = format!("\"id\":\"{id}\"");
    let line = ended.out.lines().find(|line| line.contains(&quoted));
    line.unwrap_or_else(|| panic!("{id} is not there: {ended:?}"))
}

#[test]
fn our_own_server_passes_all_vectors_over_a_socket() {
    let serve = Program::serve(&[
        "--versions",
        "all",
        "--subprotocol",
        "sample",
        "--subprotocol",
        "my old protocol",
    ]);
    let url = format!("ws://{}/", serve.address);
    let ended = run(&[
        "replay",
        "vectors",
        "--against",
        &url,
        "--path",
        "/",
        "--json",
    ]);
    let results: Vec<Value> = ended
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |result: &str| {
        results
            .iter()
            .filter(|r| r["result"] == result)
            .collect::<Vec<_>>()
    };
    let failed = of("failed");
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(ended.code, Some(0), "{}", ended.talk);
    assert!(of("ok").len() > 1400, "{} are ok", of("ok").len());
    // What cannot be turned round is named, and nothing else is left out for want of it.
    for result in of("not-run") {
        let why = result["not_run"].as_str().unwrap();
        let reasons = [
            "which no echo returns",
            "a compressed message of its own",
            "its server closes by itself",
            "our client cannot send it",
        ];
        assert!(reasons.iter().any(|r| why.contains(r)), "{result}");
    }
    for turned in [
        "hybi-07/fragments-from-server",
        "hixie-76/message-behind-digest",
    ] {
        assert!(of("ok").iter().any(|r| r["id"] == turned), "{turned}");
    }
}

/// The proof of the key that most vectors have.
const ANSWER_13: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn only_some_vectors_are_played() {
    let server = wrong_server(ANSWER_13, 0);
    let ended = against(
        "vectors",
        server,
        &["--only", "rfc6455/ping-125,hybi-0?/ping-empty"],
    );
    let ids: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids.len(), 7, "{ids:?}");
    assert!(ids.contains(&Value::from("rfc6455/ping-125")), "{ids:?}");

    let ended = run(&["check", "vectors", "--only", "*/text-empty", "--json"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.out.lines().count(), 9, "{}", ended.out);
    for command in [
        &["check", "vectors", "--only", "no/such"][..],
        &[
            "replay",
            "vectors",
            "--only",
            "no/such",
            "--against",
            "ws://127.0.0.1:1/",
        ],
    ] {
        let ended = run(command);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.talk.contains("no vector has such an id"), "{ended:?}");
    }
}

#[test]
fn a_message_that_is_turned_round_must_come_back() {
    let server = wrong_server(ANSWER_13, 0);
    let only = ["--only", "rfc6455/message-behind-answer"];
    let ended = against("vectors/rfc6455", server, &only);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let unknown = line(&ended, "rfc6455/message-behind-answer");
    assert!(unknown.contains("need not echo (--path)"), "{unknown}");
    let promised = [&only[..], &["--path", "/echo"]].concat();
    let ended = against("vectors/rfc6455", server, &promised);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let line = line(&ended, "rfc6455/message-behind-answer");
    assert!(
        line.contains("0 of 1 messages arrived") || line.contains("does not arrive"),
        "{line}"
    );
}

#[test]
fn a_limit_of_ours_is_no_failure_of_another_server() {
    let server = wrong_server(ANSWER_13, 0);
    let only = "rfc6455/message-over-limit,rfc6455/length-top-bit";
    let ended = against("vectors/rfc6455", server, &["--only", only]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ours: Value = serde_json::from_str(line(&ended, "rfc6455/message-over-limit")).unwrap();
    assert_eq!(ours["result"], "skipped", "{ours}");
    assert_eq!(ours["level"], "ours", "{ours}");
    let skipped = ours["skipped"].as_str().unwrap();
    assert!(
        skipped.starts_with("only heirloom is held to it: "),
        "{ours}"
    );
    let must: Value = serde_json::from_str(line(&ended, "rfc6455/length-top-bit")).unwrap();
    assert_eq!(must["result"], "failed", "{must}");
    assert_eq!(
        (&must["level"], &must["section"]),
        (&"must".into(), &"RFC 6455, section 5.2".into())
    );
    let difference = &must["differences"][0];
    assert_eq!(difference["side"], "server", "{must}");
    assert_eq!(difference["what"], must["failures"][0], "{must}");
}

#[test]
fn vectors_behind_the_end_of_a_server_are_not_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        response(&mut stream, ANSWER_13, 0);
    });
    let ended = against("vectors/rfc6455/control.json", address, &[]);
    served.join().unwrap();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let results: Vec<Value> = ended
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let (first, rest) = results.split_first().unwrap();
    assert_eq!(first["result"], "failed", "{first}");
    assert!(rest.len() > 3);
    let mut gone = rest.iter().filter(|r| r["result"] == "not-run");
    let why = gone.next().unwrap()["not_run"].as_str().unwrap();
    let id = first["id"].as_str().unwrap();
    assert!(
        why.starts_with(&format!("the peer is gone since {id}: ")),
        "{why}"
    );
    assert!(rest.iter().all(|r| r["result"] != "failed"), "{rest:#?}");
}

const ANSWER_76: &[u8] = b"HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
    Upgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Origin: http://example.com\r\n\
    Sec-WebSocket-Location: ws://example.com/demo\r\n\r\n\
    n`9eBk9z$R8pOtVc";

#[test]
fn a_bad_digest_is_named_by_its_octet() {
    let server = wrong_server(ANSWER_76, 8);
    let ended = against("vectors/hixie-76/frames.json", server, &[]);
    assert_eq!(ended.code, Some(1));
    let line = line(&ended, "hixie-76/text");
    let octet = ANSWER_76.len() - 1;
    assert!(line.contains("digest-mismatch"), "{line}");
    let what = format!("octet {octet} is \\\"c\\\" where \\\"b\\\" was expected");
    assert!(line.contains(&what), "{line}");
    let hex = "6e 60 39 65 42 6b 39 7a 24 52 38 70 4f 74 56";
    assert!(
        line.contains(&format!("the digest is {hex} 63 and {hex} 62")),
        "{line}"
    );
}

#[test]
fn a_swapped_header_order_in_75_is_named_by_its_octet() {
    let server = wrong_server(
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n\
          Connection: Upgrade\r\nUpgrade: WebSocket\r\n\
          WebSocket-Origin: http://example.com\r\n\
          WebSocket-Location: ws://example.com/demo\r\n\r\n",
        0,
    );
    let ended = against("vectors/hixie-75/frames.json", server, &[]);
    assert_eq!(ended.code, Some(1));
    let line = line(&ended, "hixie-75/text");
    assert!(line.contains("response-lines"), "{line}");
    let what = "octet 44 is \\\"C\\\" where \\\"U\\\" was expected";
    assert!(line.contains(what), "{line}");
}

#[test]
fn a_header_that_is_missing_or_wrong_is_named() {
    const MISSING: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let server = wrong_server(MISSING, 0);
    let ended = against("vectors/rfc6455/rfc-examples.json", server, &[]);
    assert_eq!(ended.code, Some(1));
    let missing = format!(
        "accept-mismatch: the header Sec-WebSocket-Accept is missing from the {} octets",
        MISSING.len()
    );
    assert!(ended.out.contains(&missing), "{ended:?}");

    let server = wrong_server(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOx=\r\n\r\n",
        0,
    );
    let ended = against("vectors/rfc6455/rfc-examples.json", server, &[]);
    let what = "accept-mismatch: in Sec-WebSocket-Accept, octet 123 is \\\"x\\\" where \\\"o\\\"";
    assert!(ended.out.contains(what), "{ended:?}");

    let server = wrong_server(
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n\
          Upgrade: WebSocket\r\nConnection: Upgrade\r\n\
          WebSocket-Origin: http://example.com\r\n\
          WebSocket-Location: wss://example.com/demo\r\n\r\n",
        0,
    );
    let ended = against("vectors/hixie-75/frames.json", server, &[]);
    let line = line(&ended, "hixie-75/text");
    assert!(
        line.contains("location-mismatch: in WebSocket-Location, octet 145"),
        "{line}"
    );
}

#[test]
fn a_server_that_upgrades_what_it_must_refuse_is_caught() {
    let server = wrong_server(ANSWER_76, 8);
    let ended = against("vectors/hixie-76/bad-keys.json", server, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.out.contains("the server upgrades, and key-"),
        "{ended:?}"
    );
}

#[test]
fn silence_is_a_failure_and_no_hang() {
    let server = wrong_server(b"", 0);
    let ended = against("vectors/rfc6455/rfc-examples.json", server, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .out
            .contains("the head of the response does not arrive"),
        "{ended:?}"
    );
    let ended = against("vectors/rfc6455/rfc-examples.json", gone(), &[]);
    assert!(ended.out.contains("cannot connect"), "{ended:?}");
    assert_eq!(ended.code, Some(3));
}

#[test]
fn faults_and_exactness() {
    let serve = Program::serve(&["--versions", "all"]);
    let path = "vectors/hixie-76/frames.json";
    for more in [
        &["--slicer", "1"] as &[&str],
        &["--slicer", "3", "--latency", "5"],
        &["--limit-data", "40"],
        &["--limit-data", "250", "--reset-peer"],
        &["--pace", "recorded"],
        &["--rewrite-host"],
    ] {
        let ended = against(path, serve.address, more);
        let failed = ended
            .out
            .lines()
            .find(|l| l.contains("\"result\":\"failed\""));
        assert_eq!(failed, None, "{more:?}");
        assert!(
            ended.out.contains("\"result\":\"ok\""),
            "{more:?}: {ended:?}"
        );
    }
    let exact = against(path, serve.address, &["--exact"]);
    let text = line(&exact, "hixie-76/text");
    assert!(text.contains("\"result\":\"ok\""), "{text}");

    let server = wrong_server(
        b"HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
          Upgrade: WebSocket\r\nConnection: Upgrade\r\nServer: x\r\n\
          Sec-WebSocket-Origin: http://example.com\r\n\
          Sec-WebSocket-Location: ws://example.com/demo\r\n\r\n\
          n`9eBk9z$R8pOtVb\x00Hello\xff",
        8,
    );
    let exact = against(path, server, &["--exact"]);
    let text = line(&exact, "hixie-76/text");
    assert!(text.contains("not exact: octet 86 is \\\"r\\\""), "{text}");
    let ignored = against(path, server, &["--exact", "--ignore-header", "server"]);
    let text = line(&ignored, "hixie-76/text");
    assert!(text.contains("\"result\":\"ok\""), "{text}");
}

/// `heirloom connect` to a replayed server, which sends these lines.
fn connect(to: SocketAddr, version: &str, lines: &str) {
    let url = format!("ws://{to}/demo");
    let mut child = Command::new(HEIRLOOM)
        .args(["connect", &url, "--as", version])
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait().unwrap();
}

fn listen(path: &str) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["replay", path, "--listen", "127.0.0.1:0", "--json"]);
    Program::start(command.args(["--timeout-ms", "2000"]))
}

/// A file with one vector of the corpus.
fn one(path: &str, id: &str) -> std::path::PathBuf {
    let mut file = heirloom::vector::File::read(&std::fs::read(path).unwrap()).unwrap();
    file.vectors.retain(|vector| vector.id == id);
    assert_eq!(file.vectors.len(), 1, "{id}");
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("heirloom-replay-{}-{number}.json", std::process::id());
    let to = std::env::temp_dir().join(name);
    std::fs::write(&to, file.to_canonical()).unwrap();
    to
}

#[test]
fn a_client_that_is_right_passes_and_receives_the_recorded_messages() {
    for (version, folder) in [
        ("hixie-75", "hixie-75"),
        ("hixie-76", "hixie-76"),
        ("8", "hybi-08"),
        ("13", "rfc6455"),
    ] {
        let id = format!("{folder}/text");
        let file = one(&format!("vectors/{folder}/frames.json"), &id);
        let replay = listen(file.to_str().unwrap());
        connect(replay.address, version, "Hello\n");
        let (_, ended) = replay.wait();
        assert!(
            ended.out.contains("\"result\":\"ok\""),
            "{version}: {ended:?}"
        );
        assert_eq!(ended.code, Some(0), "{version}: {ended:?}");
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_client_of_another_version_or_none_is_named() {
    let file = one("vectors/hixie-76/frames.json", "hixie-76/text");
    let replay = listen(file.to_str().unwrap());
    connect(replay.address, "13", "Hello\n");
    let (_, ended) = replay.wait();
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("the client speaks rfc6455"), "{ended:?}");

    let replay = listen(file.to_str().unwrap());
    let (_, ended) = replay.wait();
    assert!(
        ended.out.contains("no client connected in time"),
        "{ended:?}"
    );

    let replay = listen(file.to_str().unwrap());
    let mut stream = TcpStream::connect(replay.address).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    let (_, ended) = replay.wait();
    assert!(ended.out.contains("not-found"), "{ended:?}");
    std::fs::remove_file(file).unwrap();
}
