//! Reports of `conform` about a server that is right, and about one that is not.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::server;
use serde_json::Value;

use support::folder::Folder;
use support::program::{Ended, Program, run};

/// A chapter that takes no second, and one with what the original has not.
const SHORT: &str = "1,3,6.3,7.7";

fn conform(url: &str, more: &[&str]) -> Ended {
    // Cases that get no echo end after twice this time.
    let usual = ["conform", url, "--only", SHORT, "--timeout-ms", "2000"];
    run(&[&usual[..], more].concat())
}

/// A server that answers each text with `no`, under a name that would do harm in a
/// page.
fn wrong_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let Ok(mut socket) = server::accept(stream) else {
                    return;
                };
                while let Ok(event) = socket.read() {
                    if event.as_message().is_none() || socket.send("<b>no</b>\x1b[2J").is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_right_server_passes_in_every_format() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    let files = [
        ["--junit", &path("report.xml")],
        ["--html", &path("pages")],
        ["--autobahn", &path("original")],
    ];
    let json = conform(&url, &[&["--json"], files.concat().as_slice()].concat());
    assert_eq!(json.code, Some(0), "{json:?}");
    let schema = include_str!("../../docs/conform.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let lines: Vec<Value> = json
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        assert!(schema.is_valid(line), "{line}");
    }
    let (end, cases) = lines.split_last().unwrap();
    assert!(
        cases.iter().all(|case| case["verdict"] == "ok"),
        "{}",
        json.out
    );
    assert_eq!(end["summary"]["ok"], cases.len());
    assert_eq!(end["exit"], 0);

    let index = fs::read(folder.path("original/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let (_, listed) = index.as_object().unwrap().iter().next().unwrap();
    for (id, case) in listed.as_object().unwrap() {
        assert_eq!(
            (&case["behavior"], &case["behaviorClose"]),
            (&"OK".into(), &"OK".into())
        );
        let file = folder
            .path("original")
            .join(case["reportfile"].as_str().unwrap());
        let detail: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(detail["id"], **id);
        // A clean closing is not required of every case, and is there where it is.
        let is_required = detail["expectedClose"]["requireClean"].as_bool().unwrap();
        assert!(!is_required || detail["wasClean"] == true, "{detail}");
    }
    // What was received is what was expected: an echo.
    let echoed = listed["1.1.2"]["reportfile"].as_str().unwrap();
    let echoed = fs::read(folder.path("original").join(echoed)).unwrap();
    let echoed: Value = serde_json::from_slice(&echoed).unwrap();
    assert_eq!(echoed["received"], echoed["expected"]["OK"]);
    assert_eq!(echoed["received"].as_array().unwrap().len(), 1);
    assert_eq!(echoed["rxFrameStats"], serde_json::json!({"1": 1, "8": 1}));

    let xml = fs::read_to_string(folder.path("report.xml")).unwrap();
    let counts = format!("tests=\"{}\" skipped=\"0\" failures=\"0\"", cases.len());
    assert!(xml.contains(&counts), "{xml}");
    let pages = fs::read_dir(folder.path("pages")).unwrap().count();
    assert_eq!(pages, cases.len() + 1);

    let tap = conform(&url, &["--tap"]);
    assert!(
        tap.out.starts_with("TAP version 14\nok 1 - "),
        "{}",
        tap.out
    );
    assert!(tap.out.ends_with(&format!("\n1..{}\n", cases.len())));
    let quiet = conform(&url, &["--quiet"]);
    assert_eq!((quiet.code, &*quiet.out), (Some(0), ""));
}

#[test]
fn a_wrong_server_fails_and_what_it_says_is_inert() {
    let url = wrong_server();
    let ended = conform(&url, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        "\n1.1.2 ",
        "FAILED",
        "  must, RFC 6455 section ",
        "    expected  ",
        "    seen      ",
        "  → octet ",
        "  ← octet ",
        &format!("  alone: heirloom conform {url} --timeout-ms 2000 --only 1.1.2 -v"),
        "; exit status 1\n",
    ] {
        assert!(
            ended.out.contains(part),
            "{part:?} is missing in {}",
            ended.out
        );
    }
    assert!(
        !ended.out.contains('\x1b') && ended.out.contains("\\x1b[2J"),
        "{}",
        ended.out
    );
    let verbose = run(&["conform", &url, "--only", "1.1.2", "-v"]);
    assert!(verbose.out.contains("Sec-WebSocket-Key"), "{}", verbose.out);

    let folder = Folder::new();
    let page = folder.path("report.html");
    conform(&url, &["--html", page.to_str().unwrap()]);
    let page = fs::read_to_string(page).unwrap();
    assert!(!page.contains("<b>no") && page.contains("&lt;b&gt;no"));
    let html = scraper::Html::parse_document(&page);
    assert!(html.errors.is_empty(), "{:?}", html.errors);
}

/// A server that refuses all, with a page.
fn refusing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ =
                    stream.write_all(b"HTTP/1.1 400 No\r\nContent-Length: 12\r\n\r\nUnsupported\n");
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    url
}

#[test]
fn a_refusal_is_shown_by_its_head_and_by_what_it_lacks() {
    let url = refusing_server();
    let ended = run(&["conform", &url, "--only", "rfc6455/request-version-0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        "    expected  handshake: the header Sec-WebSocket-Version\n",
        "    seen      handshake: no such header\n",
        "  ← HTTP/1.1 400 No\n  ← Content-Length: 12\n",
        "  sent on purpose: There is no version 0.",
    ] {
        assert!(
            ended.out.contains(part),
            "{part} is missing in {}",
            ended.out
        );
    }
    for part in ["on here", "not parsed"] {
        assert!(!ended.out.contains(part), "{}", ended.out);
    }
}

#[test]
fn an_index_without_cases_is_written_again() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    let folder = Folder::new();
    let path = folder.path("original");
    let path = path.to_str().unwrap();
    for _ in 0..2 {
        let only = ["conform", &url, "--only", "rfc6455/request-plain"];
        let ended = run(&[&only[..], &["--autobahn", path]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn a_closed_pipe_ends_a_test_of_a_server() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    // With one job all cases take many seconds.
    let mut child = Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .args(["conform", &url, "--json", "--jobs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    drop(out);
    let begun = Instant::now();
    let ended = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let talk = String::from_utf8(ended.stderr).unwrap();
    assert!(!talk.contains("interrupted"), "{talk}");
}

#[test]
fn a_baseline_that_was_written_holds_until_something_changes() {
    let url = wrong_server();
    let folder = Folder::new();
    let file = folder.path("expected.toml");
    let baseline = file.to_str().unwrap();
    let written = conform(&url, &["--write-baseline", baseline]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let held = conform(&url, &["--baseline", baseline]);
    assert_eq!(held.code, Some(0), "{held:?}");
    assert!(held.out.contains(" expected failures;"), "{}", held.out);
    // One failure less is expected.
    let text = fs::read_to_string(&file).unwrap();
    let (before, line) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&file, before).unwrap();
    let more = conform(&url, &["--baseline", baseline]);
    assert_eq!(more.code, Some(1), "{more:?}");
    assert!(more.out.contains(", 1 failed, "), "{line}: {}", more.out);
    // A right server passes what is expected to fail.
    fs::write(&file, &text).unwrap();
    let server = Program::serve(&[]);
    let right = format!("ws://{}/", server.address);
    let passes = conform(&right, &["--baseline", baseline]);
    assert_eq!(passes.code, Some(1), "{passes:?}");
    let remove = format!("passes now: remove it from {baseline}");
    assert!(passes.out.contains(&remove), "{}", passes.out);
    // A mistake has its line.
    fs::write(&file, "[expected]\n\"1.1.99\" = \"FAILED\"\n").unwrap();
    let mistaken = conform(&right, &["--baseline", baseline]);
    assert_eq!((mistaken.code, &*mistaken.out), (Some(2), ""));
    let place = format!("{baseline}:2:1: no case is called \"1.1.99\"");
    assert!(mistaken.talk.contains(&place), "{}", mistaken.talk);
}

#[test]
fn a_server_that_is_gone_leaves_whole_reports() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    // It echoes nothing, and listens no more after its first connections.
    let gone = thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let folder = Folder::new();
    let page = folder.path("report.html");
    let ended = conform(&url, &["--json", "--html", page.to_str().unwrap()]);
    gone.join().unwrap();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let last: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["verdict"], &last["severity"]),
        (&"stopped".into(), &"error".into())
    );
    assert!(last["stopped"].is_string() && last["summary"]["not-run"].as_u64() > Some(0));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("– not run<small>"), "{page}");
}
