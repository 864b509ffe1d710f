//! Access lines in a file: appended, renamed and opened again, on a full disk and
//! where nothing reads them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::metrics::{admin_of, scrape};
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::folder::Folder;
use crate::support::peer::Peer;
use crate::support::program::{Ended, HEIRLOOM, Program, run};

fn gateway(backend: &Backend, file: &Path, args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--origin",
        "http://example.com",
    ]);
    command.args(["--to", &backend.url(), "--access-log"]);
    Program::start(command.arg(file).args(args))
}

/// A connection whose line has this path.
fn visit(program: &Program, path: &str) {
    let mut peer = Peer::connect(program.address);
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    assert_eq!(peer.response().0.status(), 404);
}

/// The paths in the lines of a file, once there are so many.
fn paths(file: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') && text.lines().count() >= count || count == 0 {
            let path = |line: &str| {
                line.split(" path=")
                    .nth(1)?
                    .split(' ')
                    .next()
                    .map(str::to_owned)
            };
            return text.lines().map(|line| path(line).expect(line)).collect();
        }
        assert!(
            Instant::now() < until,
            "{count} lines are not there: {text}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn lines_are_appended_and_a_file_that_was_renamed_is_made_again() {
    let backend = Backend::listen();
    let folder = Folder::new();
    let file = folder.path("access.log");
    let old = folder.path("access.log.1");
    for signal in ["USR1", "HUP"] {
        let _ = fs::remove_file(&file);
        let program = gateway(&backend, &file, &["-v"]);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
        visit(&program, "/1");
        assert_eq!(paths(&file, 1), ["/1"]);
        fs::rename(&file, &old).unwrap();
        // Nothing has changed until it is told.
        visit(&program, "/2");
        assert_eq!(paths(&old, 2), ["/1", "/2"]);
        program.signal(signal);
        program.await_talk("the access log was opened again");
        visit(&program, "/3");
        assert_eq!(paths(&file, 1), ["/3"]);
        assert_eq!(paths(&old, 2), ["/1", "/2"]);
        program.signal("TERM");
        let (status, ended) = program.wait();
        assert_eq!(status.code(), Some(0), "{ended:?}");
        assert_eq!(ended.out, "", "lines go to the file alone");
        // What is there is kept.
        let program = gateway(&backend, &file, &[]);
        visit(&program, "/4");
        assert_eq!(paths(&file, 2), ["/3", "/4"]);
    }
}

#[test]
fn a_file_that_cannot_be_opened_again_leaves_the_old_one_in_use() {
    let backend = Backend::listen();
    let folder = Folder::new();
    let inside = folder.path("logs");
    fs::create_dir(&inside).unwrap();
    let file = inside.join("access.log");
    let program = gateway(&backend, &file, &[]);
    visit(&program, "/1");
    assert_eq!(paths(&file, 1), ["/1"]);
    let moved = folder.path("moved");
    fs::rename(&inside, &moved).unwrap();
    program.signal("USR1");
    let told = program.await_talk("cannot open the access log");
    assert!(told.contains("go on to the file from before"), "{told}");
    visit(&program, "/2");
    assert_eq!(paths(&moved.join("access.log"), 2), ["/1", "/2"]);
}

/// A gateway with this access log ends before it serves.
fn cannot_start(file: &Path) -> Ended {
    let to = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "ws://127.0.0.1:1",
    ];
    let ended = run(&[&to[..], &["--access-log", file.to_str().unwrap()]].concat());
    assert_eq!(ended.code, Some(3), "{ended:?}");
    ended
}

#[test]
fn the_program_does_not_start_without_its_access_log() {
    for file in ["/nowhere/access.log", "/"] {
        let ended = cannot_start(Path::new(file));
        let sentence = format!("cannot open the access log {file}: ");
        assert!(ended.talk.contains(&sentence), "{ended:?}");
        assert!(ended.talk.contains("see --access-log"), "{ended:?}");
    }
}

#[test]
fn a_dash_is_standard_output() {
    let backend = Backend::listen();
    let mut program = gateway(&backend, Path::new("-"), &[]);
    let mut out = program.take_lines();
    visit(&program, "/x");
    assert!(out.next_line().contains(" path=/x route=/ "));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_nothing_and_is_told_once_a_second_with_its_reason() {
    let backend = Backend::listen();
    let args = ["--admin", "127.0.0.1:0"];
    let program = gateway(&backend, Path::new("/dev/full"), &args);
    let admin = admin_of(&program);
    let begin = Instant::now();
    let (mut visits, mut told) = (0_u64, 0_u64);
    let mut lines: Vec<String> = Vec::new();
    while begin.elapsed() < Duration::from_millis(2500) {
        visit(&program, "/x");
        visits += 1;
    }
    let number = |line: &str| -> u64 {
        let number = line.split(' ').find_map(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("{line}"))
    };
    while told < visits {
        let line = program.await_talk("access lines are lost");
        assert!(line.contains("No space left on device"), "{line}");
        told += number(&line);
        lines.push(line);
    }
    assert_eq!(told, visits);
    let most = begin.elapsed().as_secs() as usize + 1;
    assert!((2..=most).contains(&lines.len()), "{lines:#?}");
    let lost = scrape(admin).get("heirloom_access_lines_lost_total", &[]);
    assert_eq!(lost, visits as f64);
}

#[test]
fn a_fifo_that_nothing_reads_any_more_is_told_and_read_again_after_a_signal() {
    let backend = Backend::listen();
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // Without a reader it is an error in place of a wait.
    cannot_start(&fifo);
    let reader = |path: &Path| {
        // Opened for both, so that it does not wait for the other end.
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    };
    let mut first = reader(&fifo);
    let program = gateway(&backend, &fifo, &["-v"]);
    visit(&program, "/1");
    let mut octets = [0; 4096];
    let n = first.read(&mut octets).unwrap();
    assert!(String::from_utf8_lossy(&octets[..n]).contains(" path=/1 "));
    drop(first);
    // A program that another test starts may have the reader until it runs.
    let until = Instant::now() + PATIENCE;
    loop {
        visit(&program, "/2");
        if let Some(told) = program.talk_within("access lines are lost", Duration::from_secs(2)) {
            assert!(told.contains("1 access lines are lost"), "{told}");
            break;
        }
        assert!(Instant::now() < until, "no line is lost");
    }
    let mut second = reader(&fifo);
    program.signal("USR1");
    program.await_talk("the access log was opened again");
    visit(&program, "/3");
    let mut read = String::new();
    while !read.contains(" path=/3 ") {
        let n = second.read(&mut octets).unwrap();
        read.push_str(&String::from_utf8_lossy(&octets[..n]));
    }
}
