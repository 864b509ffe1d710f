//! A client that the tester starts itself. The command writes the URL to a file, and
//! the test is the client.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::calm;
use crate::clients::{asked, run_case};
use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC};
use crate::support::program::{Ended, HEIRLOOM, Program, run};

/// A tester that starts this command.
fn tester(command: &str, args: &[&str]) -> Program {
    let mut program = Command::new(HEIRLOOM);
    program.args(["conform", "--only", "1.1", "--exec", command]);
    Program::start(program.args(args))
}

/// What a file holds, once there is something in it.
fn written(path: &Path) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => assert!(Instant::now() < until, "{} is not written", path.display()),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a client that walks `cases` of the eight, and ends with `code` once it has.
fn walk(cases: usize, updates: bool, code: u8) -> Ended {
    let _calm = calm();
    let folder = Folder::new();
    let (url, done) = (folder.path("url"), folder.path("done"));
    let command = format!(
        "echo {{url}} > {}; while ! [ -e {} ]; do sleep 0.01; done; exit {code}",
        url.display(),
        done.display()
    );
    let tester = tester(&command, &[]);
    let url = written(&url);
    let address: SocketAddr = url.strip_prefix("ws://").unwrap().parse().unwrap();
    assert_eq!(address, tester.address);
    for case in 1..=cases {
        run_case(address, &format!("case={case}&agent=a"));
    }
    if updates {
        assert_eq!(asked(address, "/updateReports?agent=a"), None);
    }
    fs::write(done, "").unwrap();
    tester.wait().1
}

#[test]
fn a_client_that_finishes_decides_by_its_cases() {
    let all = walk(8, true, 0);
    assert_eq!(all.code, Some(0), "{all:?}");
    assert!(all.out.contains("8 ok"), "{all:?}");
    // It has finished, whatever it says.
    let bad = walk(8, false, 7);
    assert_eq!(bad.code, Some(0), "{bad:?}");
    assert!(bad.talk.contains("exit status: 7"), "{bad:?}");
    let some = walk(3, true, 0);
    assert_eq!(some.code, Some(0), "{some:?}");
    assert!(some.out.contains("5 not run"), "{some:?}");
    assert!(some.talk.contains("asked for 3 of 8 cases"), "{some:?}");
    // What it says counts where it has not finished.
    let crashed = walk(3, true, 7);
    assert_eq!(crashed.code, Some(3), "{crashed:?}");
    assert!(
        crashed.talk.contains("exit status: 7 after 3 of 8 cases"),
        "{crashed:?}"
    );
}

#[test]
fn a_client_that_does_not_finish_is_no_success() {
    let early = walk(3, false, 0);
    assert_eq!(early.code, Some(3), "{early:?}");
    assert!(early.talk.contains("after 3 of 8 cases"), "{early:?}");
    let none = run(&["conform", "--exec", "exit 5 # {url}"]);
    assert_eq!(none.code, Some(3), "{none:?}");
    assert!(none.talk.contains("exit status: 5"), "{none:?}");
    let none = run(&["conform", "--exec", "true {url}"]);
    assert_eq!(none.code, Some(3), "{none:?}");
    assert!(none.talk.contains("ran no case"), "{none:?}");
}

#[test]
fn a_client_that_takes_too_long_is_ended_with_all_that_it_started() {
    let folder = Folder::new();
    let pid = folder.path("pid");
    let command = format!("sleep 1000 & echo $! > {}; wait # {{url}}", pid.display());
    let tester = tester(&command, &["--exec-timeout-ms", "4000"]);
    let pid = written(&pid);
    let (_, ended) = tester.wait();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.talk.contains("did not end within 4000 ms"),
        "{ended:?}"
    );
    has_ended(&pid);
}

#[test]
fn a_client_that_takes_too_long_after_its_reports_is_no_success() {
    let _calm = calm();
    let folder = Folder::new();
    let url = folder.path("url");
    let command = format!("echo {{url}} > {}; sleep 1000", url.display());
    let tester = tester(&command, &["--exec-timeout-ms", "6000"]);
    written(&url);
    run_case(tester.address, "case=1&agent=a");
    assert_eq!(asked(tester.address, "/updateReports?agent=a"), None);
    let (_, ended) = tester.wait();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.talk.contains("after 1 of 8 cases"), "{ended:?}");
}

#[test]
fn a_signal_ends_the_client_and_is_no_success() {
    let _calm = calm();
    let folder = Folder::new();
    let pid = folder.path("pid");
    let command = format!("sleep 1000 & echo $! > {}; wait # {{url}}", pid.display());
    for signal in ["INT", "TERM"] {
        let tester = tester(&command, &[]);
        let started = written(&pid);
        run_case(tester.address, "case=1&agent=a");
        tester.signal(signal);
        let (_, ended) = tester.wait();
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.talk.contains("interrupted"), "{ended:?}");
        assert!(ended.out.contains("7 not run"), "{ended:?}");
        has_ended(&started);
        fs::remove_file(&pid).unwrap();
    }
}

#[test]
fn the_last_case_counts_though_the_client_has_ended() {
    // The client ends in the middle of its last case, which ends later.
    let _calm = calm();
    let folder = Folder::new();
    let (url, done, pid) = (folder.path("url"), folder.path("done"), folder.path("pid"));
    let command = format!(
        "echo $$ > {}; echo {{url}} > {}; while ! [ -e {} ]; do sleep 0.01; done",
        pid.display(),
        url.display(),
        done.display()
    );
    let tester = tester(&command, &[]);
    written(&url);
    let pid = written(&pid);
    for case in 1..=7 {
        run_case(tester.address, &format!("case={case}&agent=a"));
    }
    let mut peer = Peer::open(tester.address, RFC, "/runCase?case=8&agent=a");
    peer.frame();
    fs::write(done, "").unwrap();
    // It is gone when the tester has asked how it ended.
    until(&pid, |stat| stat.is_empty());
    drop(peer);
    let (_, ended) = tester.wait();
    // The case has failed, and all eight have a verdict.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("1 failed"), "{ended:?}");
}

#[test]
fn what_a_client_leaves_behind_is_ended() {
    let folder = Folder::new();
    let pid = folder.path("pid");
    let command = format!("sleep 1000 & echo $! > {} # {{url}}", pid.display());
    let ended = run(&["conform", "--exec", &command]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    has_ended(&written(&pid));
}

/// That this process is gone, or only waits to be asked how it ended.
fn has_ended(pid: &str) {
    until(pid, |stat| stat.is_empty() || stat.contains(") Z "));
}

/// Waits until what the system says of a process is so; nothing where it is gone.
fn until(pid: &str, is_so: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if is_so(&stat) {
            return;
        }
        assert!(Instant::now() < deadline, "{stat}");
        thread::sleep(Duration::from_millis(5));
    }
}
