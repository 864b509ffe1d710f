//! `--check`, and how a program starts from a file.

use std::path::Path;
use std::process::Command;

use crate::Written;
use crate::support::certificate::Plan;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC};
use crate::support::program::{Ended, HEIRLOOM, Program, run};

fn check(path: &str) -> Ended {
    run(&["gateway", "--config", path, "--check"])
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/heirloom.toml");

#[test]
fn the_example_is_good_as_it_stands() {
    let ended = check(EXAMPLE);
    assert_eq!(ended.code, Some(0), "{}", ended.talk);
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    assert!(
        ended.out.ends_with(" is good: 1 listener, 3 routes\n"),
        "{}",
        ended.out
    );
}

#[test]
fn the_example_serves_with_a_port_that_is_free() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let file = Written::new(&text.replace("\"127.0.0.1:8076\"", "\"127.0.0.1:0\""));
    let program = file.start(&[]);
    Peer::open(program.address, RFC, "/echo/x").echo("hello");
    let mut one = Peer::open(program.address, RFC, "/chat");
    let mut other = Peer::open(program.address, RFC, "/chat");
    one.send_text("to all others");
    assert_eq!(other.receive_text(), "to all others");
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
}

#[test]
fn a_certificate_may_be_for_sockets_that_are_passed_later() {
    let folder = Folder::new();
    let made = Plan::new(&["localhost"]).self_signed();
    folder.write("h.pem", made.pem());
    folder.write("h.key", made.key_pem());
    let listener =
        "[[listener]]\nlisten = \"systemd\"\ntls-cert = \"h.pem\"\ntls-key = \"h.key\"\n";
    let file = folder.write("h.toml", format!("{listener}[[route]]\nto = \"echo\"\n"));
    let ended = check(&file.display().to_string());
    assert_eq!(ended.code, Some(0), "{}", ended.talk);
}

#[test]
fn every_mistake_is_told_with_its_place_and_the_program_does_not_start() {
    let file = Written::new(
        "workers = 0\nzebra = \"\\u001b[31m\"\n[[listener]]\nlisten = \"127.0.0.1:0\"\n\
         tls-cert = \"none.pem\"\ntls-key = \"none.pem\"\n[[route]]\nto = \"topic\"\n",
    );
    let ended = check(file.path());
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    let lines: Vec<&str> = ended.talk.lines().collect();
    let path = file.path();
    let [workers, zebra, certificate, topic] = &*lines else {
        panic!("{lines:#?}");
    };
    assert!(workers.starts_with(&format!("{path}:1:11: ")), "{workers}");
    assert!(zebra.starts_with(&format!("{path}:2:1: ")), "{zebra}");
    assert!(
        certificate.starts_with(&format!("{path}:5:1: ")),
        "{certificate}"
    );
    assert!(topic.starts_with(&format!("{path}:8:6: ")), "{topic}");
    let ended = run(&["gateway", "--config", path]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert_eq!(ended.talk.lines().count(), 4, "{}", ended.talk);
}

#[test]
fn a_file_that_cannot_be_a_configuration_is_one_clear_error() {
    let folder = Folder::new();
    let long = folder.write("long.toml", "# long\n".repeat(1_600_000));
    let binary = folder.write("binary.toml", [0x7f, b'E', b'L', b'F', 0, 0, 0xff, 0xfe]);
    let latin = folder.write("latin.toml", b"# caf\xe9\n");
    let none = folder.path("none.toml");
    let in_folder: &Path = folder.as_ref();
    for (path, says) in [
        (&*long, "longer than 1048576 octets"),
        (&*binary, ":1:7: this is no UTF-8"),
        (&*latin, ":1:6: this is no UTF-8"),
        (&*none, "cannot be read"),
        (in_folder, "cannot be read"),
    ] {
        let ended = check(path.to_str().unwrap());
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{}", ended.talk);
        assert_eq!(ended.talk.lines().count(), 1, "{}", ended.talk);
        assert!(ended.talk.contains(says), "{}", ended.talk);
    }
}

#[test]
fn options_of_the_process_may_stand_beside_the_file_and_others_may_not() {
    let file = Written::new(
        "json = false\nmax-connections = 0\n[[listener]]\nlisten = \"127.0.0.1:0\"\n\
         [[route]]\nto = \"echo\"\n",
    );
    // The file's value is looked at all the same.
    assert_eq!(check(file.path()).code, Some(2));
    file.write(
        "max-connections = 1\n[[listener]]\nlisten = \"127.0.0.1:0\"\n[[route]]\nto = \"echo\"\n",
    );
    let program = file.start(&["--max-connections", "2", "-v"]);
    let mut first = Peer::open(program.address, RFC, "/");
    Peer::open(program.address, RFC, "/").echo("the second");
    first.echo("the first");
    for option in [
        &["--listen", "127.0.0.1:0"][..],
        &["--to", "ws://a"],
        &["--versions", "all"],
        &["--insecure"],
        &["--flash-policy"],
    ] {
        let ended = run(&[&["gateway", "--config", file.path()], option].concat());
        assert_eq!(ended.code, Some(2), "{}", ended.talk);
        assert!(
            ended
                .talk
                .contains(&format!("{} stands in the file", option[0])),
            "{}",
            ended.talk
        );
    }
    let ended = run(&["gateway", "--to", "ws://a", "--check"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.talk.contains("--config"), "{}", ended.talk);
}

#[test]
fn paths_are_relative_to_the_file() {
    let file = Written::new(
        "access-log = \"lines.log\"\n[[listener]]\nlisten = \"127.0.0.1:0\"\n[[route]]\nto = \"echo\"\n",
    );
    let elsewhere = Folder::new();
    let mut command = Command::new(HEIRLOOM);
    command.current_dir(&elsewhere);
    let program = Program::start(command.args(["gateway", "--config", file.path()]));
    Peer::open(program.address, RFC, "/logged").close();
    program.signal("TERM");
    assert_eq!(program.wait().0.code(), Some(0));
    let lines = std::fs::read_to_string(file.folder.path("lines.log")).unwrap();
    assert!(lines.contains(" path=/logged "), "{lines}");
}

/// What is about the run of the program, and no key.
const NO_KEYS: [&str; 7] = [
    "config", "check", "verbose", "quiet", "color", "help", "version",
];

#[test]
fn every_option_of_gateway_has_a_key_that_the_guide_lists() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deployment.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let is_row = |line: &&str| {
        let sections = ["| the top | ", "| `[[listener]]` | ", "| `[[route]]` | "];
        sections.iter().any(|start| line.starts_with(start))
    };
    let rows: Vec<&str> = guide.lines().filter(is_row).collect();
    assert_eq!(rows.len(), 3);
    let help = run(&["gateway", "--help"]).out;
    let options = help.lines().filter_map(|line| {
        let (_, option) = line
            .get(..8)?
            .split_once("--")
            .map(|_| line.split_once("--"))??;
        let end = option.find([' ', '[', '=', '.']).unwrap_or(option.len());
        Some(&option[..end])
    });
    let options: Vec<&str> = options.filter(|option| !NO_KEYS.contains(option)).collect();
    assert!(options.len() > 40, "{options:?}");
    for option in options {
        let key = format!("`{option}`");
        let count: usize = rows.iter().map(|row| row.matches(&*key).count()).sum();
        assert_eq!(count, 1, "--{option}");
    }
}
