//! The commands of the page on `conform`, and its case.

use std::process::Command;

use crate::blocks;
use crate::support::folder::Folder;
use crate::support::program::{HEIRLOOM, Program};

/// Cases that take long, which are left out where a command plays all.
const LONG: [&str; 2] = ["--skip", "6.4.*,9,12,13,vectors"];

#[test]
fn every_command_that_tests_a_server_ends_well() {
    let page = crate::read("docs/conform.md");
    let server = Program::serve(&[]);
    let address = server.address.to_string();
    let folder = Folder::new();
    let mut count = 0;
    for line in page.lines() {
        let Some(arguments) = line.strip_prefix("heirloom conform ws://") else {
            continue;
        };
        let line = format!(
            "conform ws://{}",
            arguments.replace("127.0.0.1:9001", &address)
        );
        let mut command = Command::new(HEIRLOOM);
        command.current_dir(&folder).args(line.split_whitespace());
        if !line.contains("--only") {
            command.args(LONG);
        }
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{line}: {ended:?}");
        count += 1;
    }
    assert!(count >= 4, "{count} commands");
    let baseline = std::fs::read_to_string(folder.path("conform.toml")).unwrap();
    assert!(baseline.contains("[expected]"), "{baseline}");
}

#[test]
fn the_case_of_the_page_is_played() {
    let page = crate::read("docs/conform.md");
    let blocks = blocks::of(&page);
    let case = blocks.iter().find(|block| block.name == "json").unwrap();
    let server = Program::serve(&[]);
    let folder = Folder::new();
    folder.write("mine.json", &case.text);
    let ended = Command::new(HEIRLOOM)
        .current_dir(&folder)
        .args(["conform", &format!("ws://{}/", server.address)])
        .args(["--cases", "mine.json", "--only", "mine"])
        .output()
        .unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{out}");
    assert!(out.starts_with("mine Cases of my own  1 ok\n"), "{out}");
}
