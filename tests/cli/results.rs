//! Results that cannot be written, and servers that are not there: every command
//! in every format tells, and its exit status too.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::backend::gone;
use crate::support::peer::{Peer, RFC};
use crate::support::program::{HEIRLOOM, Program, run};

const VECTORS: &str = "vectors/rfc6455/rfc-examples.json";

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("results-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// An address where nothing listens.
fn dead() -> String {
    format!("ws://{}/", gone())
}

/// A HAR with one WebSocket.
fn har(folder: &Path) -> String {
    let path = folder.join("one.har");
    let har = r#"{"log": {"entries": [{"request": {"method": "GET", "url": "ws://h/", "headers": [
        {"name": "Host", "value": "h"}, {"name": "Upgrade", "value": "websocket"},
        {"name": "Connection", "value": "Upgrade"}, {"name": "Sec-WebSocket-Version", "value": "13"},
        {"name": "Sec-WebSocket-Key", "value": "dGhlIHNhbXBsZSBub25jZQ=="}]},
        "response": {"status": 101, "statusText": "Switching Protocols", "headers": [
        {"name": "Upgrade", "value": "websocket"}, {"name": "Connection", "value": "Upgrade"},
        {"name": "Sec-WebSocket-Accept", "value": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}]},
        "_webSocketMessages": [{"type": "send", "time": 1, "opcode": 1, "data": "a"}]}]}}"#;
    fs::write(&path, har).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Every command that ends by itself, in every format, against this server.
fn commands(url: &str, folder: &Path) -> Vec<Vec<String>> {
    let har = har(folder);
    let lines: Vec<String> = [
        "--help",
        "--version",
        "serve --help",
        "versions",
        "versions --json",
        "completions bash",
        "man",
        &format!("check {VECTORS}"),
        &format!("check {VECTORS} --json"),
        &format!("check {VECTORS} --tap"),
        &format!("explain {VECTORS}"),
        &format!("explain {VECTORS} --brief"),
        &format!("explain {VECTORS} --json"),
        &format!("explain {VECTORS} --html"),
        "explain --version hixie-76",
        &format!("import {har} -q"),
        &format!("probe {url} --versions 13"),
        &format!("probe {url} --versions 13 --json"),
        &format!("replay {VECTORS} --against {url}"),
        &format!("replay {VECTORS} --against {url} --json"),
        &format!("replay {VECTORS} --against {url} --tap"),
        &format!("connect {url} --wait 1"),
    ]
    .map(str::to_owned)
    .to_vec();
    let words = |line: &String| line.split(' ').map(str::to_owned).collect();
    lines.iter().map(words).collect()
}

/// Runs it with this standard output, and one line as input; its exit status and
/// what it says on standard error.
fn run_into(args: &[String], out: Stdio) -> (Option<i32>, String) {
    let mut child = Command::new(HEIRLOOM)
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nothing reads its standard output, where that is a pipe.
    drop(child.stdout.take());
    // It may end before it reads anything.
    let _ = child.stdin.take().unwrap().write_all(b"hello\n");
    ended(child, args)
}

fn ended(mut child: Child, args: &[String]) -> (Option<i32>, String) {
    let until = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{args:?} does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[test]
fn a_full_disk_is_an_error_in_every_command_and_format() {
    let folder = folder("full");
    let server = Program::serve(&["--versions", "all"]);
    let mut commands = commands(&format!("ws://{}/", server.address), &folder);
    let out = folder.join("out");
    let out = out.to_str().unwrap();
    // They tell where they listen before they serve.
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &[
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--to",
            "ws://127.0.0.1:9/",
        ],
        &[
            "record",
            "--listen",
            "127.0.0.1:0",
            "--to",
            "127.0.0.1:9",
            "--out",
            out,
        ],
        &["replay", VECTORS, "--listen", "127.0.0.1:0"],
    ] {
        commands.push(strings(args));
    }
    for args in commands {
        let (code, errors) = run_into(&args, full().into());
        assert_eq!(code, Some(3), "{args:?}: {errors}");
        let sentence = "heirloom: cannot write to standard output: ";
        assert!(errors.contains(sentence), "{args:?}: {errors}");
        assert_eq!(errors.matches(sentence).count(), 1, "{args:?}: {errors}");
    }
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let folder = folder("pipe");
    let server = Program::serve(&["--versions", "all"]);
    for args in commands(&format!("ws://{}/", server.address), &folder) {
        let (code, errors) = run_into(&args, Stdio::piped());
        assert_eq!((code, &*errors), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let folder = folder("reports");
    let server = Program::serve(&["--versions", "all"]);
    let url = format!("ws://{}/", server.address);
    let har = har(&folder);
    let nowhere = "/nowhere/at/all.xml";
    for path in ["/dev/full", nowhere] {
        for args in [
            &["check", VECTORS, "--junit", path][..],
            &["check", VECTORS, "--json", "--junit", path],
            &["replay", VECTORS, "--against", &url, "--junit", path],
            &["probe", &url, "--versions", "13", "--junit", path],
            &["import", &har, "--out", path],
        ] {
            let (code, errors) = run_into(&strings(args), Stdio::null());
            assert_eq!(code, Some(3), "{args:?}: {errors}");
            let sentence = format!("heirloom: cannot write {path}: ");
            assert!(errors.contains(&sentence), "{args:?}: {errors}");
        }
    }
}

#[test]
fn a_recorder_that_cannot_write_does_not_listen() {
    let folder = folder("record");
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    for out in [file.join("below"), PathBuf::from("/proc/no/such")] {
        let out = out.to_str().unwrap();
        let args = [
            "record",
            "--listen",
            "127.0.0.1:0",
            "--to",
            "127.0.0.1:9",
            "--out",
            out,
        ];
        let ended = run(&args);
        assert_eq!((ended.code, &*ended.out), (Some(3), ""), "{}", ended.talk);
        let sentence = format!("heirloom: cannot write to {out}: ");
        assert!(ended.talk.starts_with(&sentence), "{}", ended.talk);
    }
}

#[test]
fn a_dead_server_is_an_error_in_every_command_and_format() {
    let folder = folder("dead");
    let report = folder.join("report.xml");
    let report = report.to_str().unwrap();
    for url in [dead(), "ws://no-such-name.invalid/".to_owned()] {
        let url = url.as_str();
        for format in [&[][..], &["--json"], &["--tap"], &["--junit", report]] {
            for command in [&["probe", url][..], &["replay", VECTORS, "--against", url]] {
                if command[0] == "probe" && format == ["--tap"] {
                    continue;
                }
                let _ = fs::remove_file(report);
                let args = [command, format].concat();
                let ended = run(&args);
                assert_eq!(ended.code, Some(3), "{args:?}: {}", ended.talk);
                match format.first() {
                    Some(&"--json") => {
                        let lines = ended.out.lines();
                        let lines: Vec<Value> = lines
                            .map(|line| serde_json::from_str(line).unwrap())
                            .collect();
                        assert_eq!(lines.len(), 1, "{args:?}: {}", ended.out);
                        assert_eq!(lines[0]["severity"], "error", "{args:?}: {}", ended.out);
                    }
                    Some(&"--tap") => assert!(ended.out.contains("\nnot ok 1 - "), "{}", ended.out),
                    Some(_) => {
                        let xml = fs::read_to_string(report).unwrap();
                        assert!(xml.contains("errors=\"1\""), "{args:?}: {xml}");
                        assert!(xml.contains("<error "), "{args:?}: {xml}");
                        assert!(!xml.contains("<failure "), "{args:?}: {xml}");
                    }
                    None => assert!(
                        (ended.out + &ended.talk).contains("cannot connect")
                            || url.contains("invalid"),
                        "{args:?}"
                    ),
                }
            }
        }
        assert_eq!(run(&["connect", url]).code, Some(3));
    }
}

#[test]
fn where_no_version_is_spoken_junit_is_not_green() {
    let server = Program::serve(&["--versions", "13"]);
    let folder = folder("unspoken");
    let report = folder.join("report.xml");
    let url = format!("ws://{}/", server.address);
    let junit = ["--junit", report.to_str().unwrap()];
    let ended = run(&[&["probe", &url, "--versions", "7,8"][..], &junit].concat());
    assert_eq!(ended.code, Some(4), "{}", ended.out);
    let xml = fs::read_to_string(&report).unwrap();
    assert!(xml.contains("errors=\"2\""), "{xml}");
    // A refusal beside a version that is spoken is as it should be.
    let ended = run(&[&["probe", &url, "--versions", "8,13"][..], &junit].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let xml = fs::read_to_string(&report).unwrap();
    assert!(xml.contains("errors=\"0\""), "{xml}");
}

#[test]
fn with_json_standard_output_holds_json_only() {
    let server = Program::serve(&[]);
    let to = format!("ws://{}/", server.address);
    let mut child = Command::new(HEIRLOOM)
        .args(["gateway", "--listen", "127.0.0.1:0", "--to", &to, "--json"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut errors, &mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on ws://").unwrap();
    let address = address.strip_suffix('/').unwrap().parse().unwrap();
    let mut peer = Peer::open(address, RFC, "/");
    peer.echo("through");
    peer.close();
    drop(peer);
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out.lines().count(), 1, "{out}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(line["version"], "rfc6455");
}

#[test]
fn every_verdict_has_the_same_keys() {
    let schema = fs::read_to_string("docs/verdict.schema.json").unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let folder = folder("keys");
    let wrong = folder.join("wrong.json");
    let vectors = fs::read_to_string("vectors/hixie-76/draft-examples.json").unwrap();
    fs::write(
        &wrong,
        vectors.replace("8jKS'y:G*Co,Wxa-", "8jKS'y:G*Co,WxaX"),
    )
    .unwrap();
    let wrong = wrong.to_str().unwrap();
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    let mut severities = Vec::new();
    let mut differs = 0;
    for args in [
        &["check", VECTORS, wrong, "Cargo.toml", "--json"][..],
        &["replay", VECTORS, wrong, "--against", &url, "--json"],
        &["replay", VECTORS, "--against", &url, "--json", "--exact"],
        &["replay", VECTORS, "--against", &dead(), "--json"],
        &["probe", &url, "--json"],
        &["probe", &dead(), "--json"],
        &["explain", VECTORS, "--json"],
        &["explain", wrong, "--json"],
    ] {
        let ended = run(args);
        assert!(!ended.out.is_empty(), "{args:?}: {}", ended.talk);
        for line in ended.out.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let verdict = match value.get("conclusion") {
                Some(conclusion) => conclusion,
                None => &value,
            };
            let errors: Vec<String> = schema
                .iter_errors(verdict)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{args:?}: {errors:?}: {line}");
            let severity = verdict["severity"].as_str().unwrap().to_owned();
            if severity == "wrong" {
                assert!(verdict["side"].is_string(), "{line}");
                differs += usize::from(
                    ["octet", "field", "expected", "seen"]
                        .iter()
                        .all(|key| !verdict[key].is_null()),
                );
            }
            severities.push(severity);
        }
    }
    for severity in ["good", "refused", "wrong", "error"] {
        assert!(
            severities.iter().any(|s| s == severity),
            "{severity}: {severities:?}"
        );
    }
    assert!(differs >= 3, "{differs} verdicts say all of a difference");
}

#[test]
fn quiet_is_quiet() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    for args in [
        &["check", VECTORS, "-q"][..],
        &["replay", VECTORS, "--against", &url, "-q"],
        &["probe", &url, "--versions", "13", "-q"],
    ] {
        let ended = run(args);
        let heard = (ended.code, &*ended.out, &*ended.talk);
        assert_eq!(heard, (Some(0), "", ""), "{args:?}");
    }
    let ended = run(&["check", "Cargo.toml", "-q"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("FAILED Cargo.toml"), "{}", ended.out);
}

#[test]
fn colour_is_where_it_is_asked_for() {
    for (args, coloured) in [
        (&["check", VECTORS][..], false),
        (&["check", VECTORS, "--color", "always"], true),
        (&["--color=always", "check", VECTORS], true),
        (&["check", VECTORS, "--color", "never"], false),
        (&["check", VECTORS, "--color", "auto"], false),
        (&["serve", "--help", "--color", "always"], true),
        (&["serve", "--help"], false),
    ] {
        let ended = run(args);
        assert_eq!(ended.code, Some(0), "{args:?}");
        assert_eq!(
            ended.out.contains('\u{1b}'),
            coloured,
            "{args:?}: {}",
            ended.out
        );
    }
    let ended = run(&["check", "--color", "always", "--nonsense"]);
    assert!(ended.talk.contains('\u{1b}'), "{}", ended.talk);
    let ended = run(&["check", "--color", "sometimes", VECTORS]);
    assert_eq!(ended.code, Some(2));
}

#[test]
fn messages_have_one_prefix() {
    for args in [
        &["check"][..],
        &["serve", "--nonsense"],
        &["check", "/no/such/path"],
        &["explain", "/no/such/path"],
        &["connect", "http://h/"],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, Some(2), "{args:?}");
        assert!(
            ended.talk.starts_with("heirloom: "),
            "{args:?}: {}",
            ended.talk
        );
    }
    let listen = ["serve", "--listen", "0.0.0.0:0", "--versions", "all"];
    let program = Program::start(Command::new(HEIRLOOM).args(listen));
    let line = program.await_talk("hixie");
    assert!(line.starts_with("heirloom: warning: "), "{line}");
}
