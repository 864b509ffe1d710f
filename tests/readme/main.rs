//! README.md as a reader uses it: every block in order, by the built program, and
//! what it prints is what README shows.
//!
//! `cargo run --release -- serve` is run as the built program; `cargo test` is
//! what runs this, and a step of `.ci/run`. The blocks for browsers, `js` and
//! `html`, are run by `tests/peers/run`, in Chromium and PhantomJS. A block of
//! any other kind fails.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod blocks;
mod conform;
mod crates;
mod terminal;

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use blocks::{Block, Kind, Step};
use crates::Crate;
use support::certificate::Plan;
use support::folder::Folder;
use support::program::{HEIRLOOM, Program};
use terminal::Terminal;

#[test]
fn every_block_does_what_it_shows() {
    let readme = read("README.md");
    let mut terminal = Terminal::new("readme");
    let mut package = Crate::new("readme");
    for block in blocks::of(&readme) {
        eprintln!("README.md:{}", block.line);
        match block.kind {
            Kind::Console if block.text.starts_with("$ cargo add ") => package.add(&block),
            Kind::Console => terminal.follow(&block),
            Kind::Rust => package.run(&block, &mut terminal),
            Kind::Browser => is_run_by_the_peers(&block),
            Kind::Other(kind) => {
                panic!("README.md:{}: nothing runs a block of {kind:?}", block.line)
            }
        }
    }
    terminal.end();
}

/// The commands of the guide for operators serve. What passes through them is
/// tested by `tests/peers/run`.
#[test]
fn every_gateway_of_the_deployment_guide_starts() {
    let guide = read("docs/deployment.md");
    let mut terminal = Terminal::new("deployment");
    let panel = Plan::new(&["panel.example", "127.0.0.1"]).self_signed();
    terminal.write("panel.pem", &panel.pem());
    terminal.write("panel.key", &panel.key_pem());
    terminal.write("backend.pem", &panel.pem());
    let mut count = 0;
    for line in guide.lines().filter(|l| l.starts_with("heirloom ")) {
        if line.contains("unix:") {
            starts_on_unix_sockets(line);
        } else if line.contains("--config") {
            takes_the_file_of_the_package(line);
        } else {
            terminal.starts(line);
        }
        count += 1;
    }
    assert!(count > 4, "{count} commands");
    terminal.end();
}

/// Runs a command with the file of the package, on a port of its own.
fn takes_the_file_of_the_package(line: &str) {
    let folder = Folder::new();
    let file = folder.as_ref().join("heirloom.toml");
    let text = read("packaging/heirloom.toml");
    assert!(text.contains("\"127.0.0.1:8076\""), "{text}");
    fs::write(&file, text.replace("127.0.0.1:8076", "127.0.0.1:0")).unwrap();
    let line = line.replace("/etc/heirloom/heirloom.toml", &file.display().to_string());
    let mut command = Command::new(HEIRLOOM);
    command.args(line.split_whitespace().skip(1));
    if line.contains("--check") {
        let checked = command.output().unwrap();
        assert!(checked.status.success(), "{line}: {checked:?}");
        return;
    }
    let program = Program::start(&mut command);
    program.signal("INT");
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(0), "{line}");
}

/// Runs a command of Unix sockets, with those of a folder of its own.
fn starts_on_unix_sockets(line: &str) {
    let folder = Folder::new();
    let line = line.replace("/run/heirloom/", &format!("{}/", folder.as_ref().display()));
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("heirloom"));
    let program = Program::start(Command::new(HEIRLOOM).args(words));
    program.signal("INT");
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(0), "{line}");
}

/// The commands of the page on `explain`, with a request and a capture.
#[test]
fn every_command_of_the_page_on_explain_ends_well() {
    let page = read("docs/explain.md");
    let terminal = Terminal::new("explain");
    let capture = "tests/vector/import/reports/connect-proxy.pcap";
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join(capture);
    terminal.copy(&capture, "session.pcap");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    terminal.write("request.txt", request);
    let block = &blocks::of(&page)[0];
    assert!(block.text.lines().count() > 4);
    for (index, command) in block.text.lines().enumerate() {
        let step = Step {
            line: block.line + 1 + index,
            command: command.to_owned(),
            shown: Vec::new(),
        };
        terminal.ends(&step, 0);
    }
    terminal.end();
}

/// The session of the page on vectors: the last octet of a digest is wrong.
#[test]
fn the_session_of_the_page_on_vectors_prints_what_is_shown() {
    let page = read("docs/vectors.md");
    let sessions: Vec<_> = blocks::of(&page)
        .into_iter()
        .filter(|block| block.text.starts_with("$ "))
        .collect();
    let [session] = sessions.as_slice() else {
        panic!("{} sessions", sessions.len());
    };
    let terminal = Terminal::new("vectors");
    let examples = read("vectors/hixie-76/draft-examples.json").replace("Wxa-\"", "WxaX\"");
    let mut examples: serde_json::Value = serde_json::from_str(&examples).unwrap();
    let vectors = examples["vectors"].as_array_mut().unwrap();
    vectors.retain(|vector| vector["id"] == "hixie-76/draft-overview");
    terminal.write("mine.json", &examples.to_string());
    for step in session.steps() {
        let fails = step.shown.iter().any(|line| line.starts_with("FAILED"));
        terminal.ends(&step, i32::from(fails));
    }
    terminal.end();
}

/// `tests/peers/readme.py` fails where it has no check for such a block.
fn is_run_by_the_peers(block: &Block<'_>) {
    assert!(
        read("tests/peers/readme.py").contains(&format!("only(found, \"{}\")", block.name)),
        "README.md:{}: tests/peers/readme.py does not run it",
        block.line
    );
    assert!(read(".ci/run").contains("step tests/peers/run"));
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
