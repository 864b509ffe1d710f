//! Compressed conversations: recorded, replayed and imported.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::Side;
use heirloom::vector::import::{Options, import};
use heirloom::vector::{ExpectedResult, File, Vector, play, splits};

use crate::support::PATIENCE;
use crate::support::program::{HEIRLOOM, Program, run};

const LINE: &str = "a line that is longer than the threshold, a line that is longer than it\n";
const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// `heirloom connect` with these arguments, which sends this line three times.
fn connect(to: SocketAddr, args: &[&str]) -> String {
    let url = format!("ws://{to}/echo");
    let mut child = Command::new(HEIRLOOM)
        .args(["connect", &url, "--wait", "1"])
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = LINE.repeat(3);
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// A path of the test's own in the folder for temporary files.
fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir();
    path.join(format!("heirloom-compressed-{}-{name}", std::process::id()))
}

/// The first vector in this folder.
fn first(folder: &Path) -> Vector {
    let until = Instant::now() + PATIENCE;
    loop {
        let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        let mut files = entries.filter(|path| path.extension().is_some_and(|e| e == "json"));
        if let Some(path) = files.next() {
            let file = File::read(&fs::read(path).unwrap()).unwrap();
            return file.vectors.into_iter().next().unwrap();
        }
        assert!(Instant::now() < until, "nothing is recorded");
        thread::sleep(Duration::from_millis(5));
    }
}

fn plays(vector: &Vector) {
    for side in [Side::Server, Side::Client] {
        let conclusion = vector.expect.of(side);
        let accepts = conclusion.is_some_and(|c| c.result == ExpectedResult::Accept);
        assert!(accepts, "{side}: {vector:#?}");
        for split in splits(vector, side) {
            play(vector, side, split).unwrap();
        }
    }
}

/// How many frames of this side have RSV1: each step behind the head is one.
fn compressed(vector: &Vector, from: Side) -> usize {
    let own = vector.steps.iter().filter(|s| s.from == from).skip(1);
    let octets = own.map(|step| step.octets().unwrap());
    octets
        .filter(|octets| octets.first() == Some(&0xc1))
        .count()
}

#[test]
fn what_is_recorded_keeps_the_wire_and_plays() {
    for (serves, connects, agreed) in [
        (&[][..], &["--compression"][..], BOTH),
        (
            &["--compression", "per-connection"],
            &["--compression=per-connection"],
            "permessage-deflate",
        ),
        // The server compresses all, or nothing though it agreed.
        (&["--compression-threshold", "0"], &["--compression"], BOTH),
        (
            &["--compression-threshold", "1MiB"],
            &["--compression"],
            BOTH,
        ),
    ] {
        let folder = place("recorded");
        fs::create_dir(&folder).unwrap();
        let serve = Program::serve(serves);
        let mut command = Command::new(HEIRLOOM);
        let to = serve.address.to_string();
        command.args(["record", "--listen", "127.0.0.1:0", "--to", &to]);
        let record = Program::start(command.arg("--out").arg(&folder));
        assert_eq!(connect(record.address, connects), LINE.repeat(3));
        let vector = first(&folder);
        assert_eq!(vector.expect.extensions.as_deref(), Some(agreed));
        assert_eq!(vector.expect.messages.len(), 6, "{vector:#?}");
        for message in &vector.expect.messages {
            assert_eq!(message.octets().unwrap(), LINE.trim_end().as_bytes());
        }
        assert!(compressed(&vector, Side::Client) > 0, "{vector:#?}");
        let is_plain = serves.contains(&"1MiB");
        assert_eq!(compressed(&vector, Side::Server) == 0, is_plain);
        plays(&vector);
        // Another server compresses as it likes.
        let again = run(&[
            "replay",
            folder.to_str().unwrap(),
            "--against",
            &format!("ws://{to}/"),
        ]);
        assert_eq!(again.code, Some(0), "{again:?}");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn replay_plays_compressed_vectors_to_a_server_that_agrees_to_the_same() {
    for (mode, extensions) in [
        ("per-connection", "permessage-deflate"),
        ("shared", BOTH),
        ("off", "-"),
    ] {
        let serve = Program::serve(&["--compression", mode, "--versions", "all"]);
        let url = format!("ws://{}/", serve.address);
        for path in [
            "vectors/rfc6455/deflate.json",
            "vectors/rfc6455/deflate-bad.json",
            "vectors/rfc6455/deflate-frame.json",
            "vectors/hybi-08/deflate-frame.json",
        ] {
            let args = ["replay", path, "--against", &url, "--json"];
            let ended = run(&[&args[..], &["--timeout-ms", "1000"]].concat());
            assert!(ended.out.lines().count() > 5, "{ended:?}");
            for line in ended.out.lines() {
                assert!(!line.contains("\"result\":\"failed\""), "{mode}: {line}");
            }
            let played = ended.out.contains("\"result\":\"ok\"");
            let expects = extensions != "-" && path.contains("rfc6455/deflate.json");
            assert!(played || !expects, "{mode} {path}: {ended:?}");
        }
    }
}

/// A file with one vector of the corpus.
fn one(path: &str, id: &str) -> PathBuf {
    let mut file = File::read(&fs::read(path).unwrap()).unwrap();
    file.vectors.retain(|vector| vector.id == id);
    assert_eq!(file.vectors.len(), 1, "{id}");
    let to = place("one.json");
    fs::write(&to, file.to_canonical()).unwrap();
    to
}

#[test]
fn replay_plays_compressed_vectors_to_a_client_that_offers_the_same() {
    let id = "rfc6455/deflate-hello-alone-from-server";
    let file = one("vectors/rfc6455/deflate.json", id);
    for (args, result) in [
        (&["--compression"][..], "ok"),
        (&["--compression=off"], "skipped"),
    ] {
        let mut command = Command::new(HEIRLOOM);
        command.args(["replay", file.to_str().unwrap(), "--json"]);
        command.args(["--listen", "127.0.0.1:0", "--timeout-ms", "2000"]);
        let replay = Program::start(&mut command);
        let received = connect(replay.address, args);
        let (_, ended) = replay.wait();
        assert!(
            ended.out.contains(&format!("\"result\":\"{result}\"")),
            "{ended:?}"
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(received.contains("Hello\nHello\n"), result == "ok");
    }
    fs::remove_file(file).unwrap();
}

const SCRIPT: &str = r#"
connect tcp://localhost:8001
connected
write "GET / HTTP/1.1\r\n" "Host: example.com\r\n" "Upgrade: websocket\r\n"
write "Connection: Upgrade\r\n" "Sec-WebSocket-Version: 13\r\n"
write "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
write "Sec-WebSocket-Extensions: permessage-deflate\r\n" "\r\n"
read "HTTP/1.1 101 Switching Protocols\r\n" "Upgrade: websocket\r\n"
read "Connection: Upgrade\r\n" "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
read "Sec-WebSocket-Extensions: permessage-deflate\r\n" "\r\n"
write [0xc1 0x87 0x00 0x00 0x00 0x00 0xf2 0x48 0xcd 0xc9 0xc9 0x07 0x00]
write [0xc1 0x85 0x00 0x00 0x00 0x00 0xf2 0x00 0x11 0x00 0x00]
read [0xc1 0x07 0xf2 0x48 0xcd 0xc9 0xc9 0x07 0x00]
close
closed
"#;

#[test]
fn a_script_with_compressed_frames_becomes_a_vector() {
    let imported = import(SCRIPT.as_bytes(), &Options::of("a.rpt")).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(
        vector.expect.extensions.as_deref(),
        Some("permessage-deflate")
    );
    let texts: Vec<_> = vector.expect.messages.iter().map(|m| &m.data).collect();
    assert_eq!(texts, [&Some("Hello".to_owned()); 3]);
    // The server's octets are those of ours that compresses every message.
    let config = vector.config.as_ref().unwrap();
    assert_eq!(config.compression_threshold, Some(0));
    assert!(vector.expect.client.is_some());
    // It is written and read again.
    let again = File::read(imported.file.to_canonical().as_bytes()).unwrap();
    assert_eq!(again.vectors[0].config, vector.config);
}

#[test]
fn a_har_of_a_compressed_conversation_has_inflated_messages() {
    let header = |name: &str, value: &str| serde_json::json!({"name": name, "value": value});
    let har = |messages: serde_json::Value| {
        serde_json::json!({"log": {"version": "1.2", "creator": {"name": "a"}, "entries": [{
            "startedDateTime": "2024-05-06T07:08:10.123Z", "_resourceType": "websocket",
            "request": {"method": "GET", "url": "ws://example.com/", "httpVersion": "HTTP/1.1",
                "headers": [header("Host", "example.com"), header("Upgrade", "websocket"),
                    header("Connection", "Upgrade"), header("Sec-WebSocket-Version", "13"),
                    header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                    header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]},
            "response": {"status": 101, "statusText": "Switching Protocols",
                "headers": [header("Upgrade", "websocket"), header("Connection", "Upgrade"),
                    header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                    header("Sec-WebSocket-Extensions", "permessage-deflate")]},
            "_webSocketMessages": messages}]}})
    };
    let vector = |messages| {
        let text = serde_json::to_vec(&har(messages)).unwrap();
        let imported = import(&text, &Options::of("a.har")).unwrap();
        imported.file.vectors.into_iter().next().unwrap()
    };
    let bare = vector(serde_json::json!([]));
    assert_eq!(
        bare.expect.extensions.as_deref(),
        Some("permessage-deflate")
    );
    plays(&bare);
    let full = vector(serde_json::json!([{"type": "send", "time": 1, "opcode": 1, "data": LINE}]));
    assert_eq!(full.expect.messages[0].data.as_deref(), Some(LINE));
    assert_eq!(full.expect.extensions, bare.expect.extensions);
}
