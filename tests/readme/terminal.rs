//! A reader's shell. A command that serves runs on beside the next ones, as in
//! another window, until one that follows needs its port.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::blocks::{Block, Step};
use crate::support::peer::{CLOSE, Peer, RFC, Speaks, frame};
use crate::support::program::HEIRLOOM;
use crate::support::redis::Redis;

/// A build of the package takes longer than what runs.
const PATIENCE: Duration = Duration::from_secs(300);
/// The broker that the guide for operators writes.
const BROKER: &str = "redis://127.0.0.1:6379";
/// The ports that README and the guides write.
const WRITTEN: [&str; 4] = ["8076", "8077", "8078", "9000"];

pub(crate) struct Terminal {
    folder: PathBuf,
    /// By the port that README writes, the one that stands for it.
    ports: BTreeMap<&'static str, String>,
    /// By its written port, what serves there.
    serving: BTreeMap<&'static str, Serving>,
    /// What stands for the broker, once a command names it.
    broker: Option<Redis>,
}

struct Serving {
    command: String,
    child: Child,
    lines: Receiver<String>,
}

impl Terminal {
    /// In a folder with what README takes for given: the program on the path, a
    /// capture, and the vectors.
    pub(crate) fn new(name: &str) -> Terminal {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        symlink(HEIRLOOM, folder.join("bin/heirloom")).unwrap();
        symlink(root.join("vectors"), folder.join("vectors")).unwrap();
        let capture = root.join("tests/vector/import/reports/connect-proxy.pcap");
        fs::copy(capture, folder.join("capture.pcap")).unwrap();
        // curl draws no progress on a terminal.
        fs::write(folder.join(".curlrc"), "silent\n").unwrap();
        let ports = WRITTEN.into_iter().map(|written| (written, free_port()));
        let ports = ports.collect();
        Terminal {
            folder,
            ports,
            serving: BTreeMap::new(),
            broker: None,
        }
    }

    /// Does what a session shows.
    pub(crate) fn follow(&mut self, block: &Block<'_>) {
        for step in block.steps() {
            if step.command == "cargo test" {
                // It is what runs this, and .ci/run is where every change passes.
                assert!(crate::read(".ci/run").contains("step cargo test"));
            } else if serves(&step.command) {
                self.starts(&step.command);
                self.is_used(&step, block);
            } else {
                self.ends(&step, 0);
            }
        }
    }

    /// Starts what serves, in place of what has its port.
    pub(crate) fn starts(&mut self, command: &str) {
        let written = listens(command);
        if let Some(before) = self.serving.remove(written) {
            before.ctrl_c();
        }
        // What listens to other machines does it on loopback here.
        let mut command = command.replace("cargo run --release -- ", "heirloom ");
        if !command.contains("--listen ") {
            // Its default.
            command.push_str(" --listen 127.0.0.1:8076");
        }
        let command = self.with_ports(&command).replace("0.0.0.0", "127.0.0.1");
        let has_admin = command.contains("--admin 127.0.0.1:9076");
        let command = command.replace("--admin 127.0.0.1:9076", "--admin 127.0.0.1:0");
        let command = self.with_broker(command);
        let mut child = shell(&self.folder, &format!("exec {command}"));
        let lines = lines_of(&mut child);
        let serving = Serving {
            command,
            child,
            lines,
        };
        let port = &self.ports[written];
        let mut due = format!("listening on ws://127.0.0.1:{port}/");
        if serving.command.contains("--tls-cert") {
            due.push_str(&format!(" and wss://127.0.0.1:{port}/"));
        }
        // What is on the other stream comes in any order: the address of the admin pages,
        // and that nothing serves where the guide has its backends.
        let (mut lines, mut is_admin_due) = (Vec::new(), has_admin);
        while lines.is_empty() || is_admin_due {
            let line = serving.line();
            if is_admin_due && line.starts_with("admin on http://127.0.0.1:") {
                is_admin_due = false;
            } else if !line.starts_with("heirloom: warning: the backend 127.0.0.1:") {
                lines.push(line);
            }
        }
        assert_eq!(lines, [due], "{}", serving.command);
        self.serving.insert(written, serving);
    }

    /// A machine need not run a broker, so the command gets one of its own.
    fn with_broker(&mut self, command: String) -> String {
        if !command.contains(BROKER) {
            return command;
        }
        let broker = self.broker.get_or_insert_with(Redis::start);
        command.replace(BROKER, &broker.url())
    }

    /// The clients that README names, and the lines that it shows of them.
    fn is_used(&mut self, step: &Step, block: &Block<'_>) {
        let written = listens(&step.command);
        let clients = block.clients();
        for client in &clients {
            let (code, lines) = Self::run_in(&self.folder, &self.with_ports(client));
            assert_eq!((code, lines), (Some(0), vec!["hello".to_owned()]), "{step}");
        }
        if step.command.contains(" -vv") {
            self.opened_by_browsers(written);
        }
        let serving = &self.serving[written];
        // `record` and `gateway` have a line for each connection.
        let after = step.shown.iter().skip(1).map(Some);
        let unshown = if step.shown.is_empty() && serves_lines(&step.command) {
            clients.len()
        } else {
            0
        };
        for shown in after.chain((0..unshown).map(|_| None)) {
            let line = serving.line();
            if let Some(shown) = shown {
                self.compare(step, &line, shown);
            }
        }
        if let Some(first) = step.shown.first() {
            let due = format!("listening on ws://127.0.0.1:{written}/");
            assert_eq!(*first, due, "{step}");
        }
    }

    /// What the page of README makes PhantomJS do, and then Chromium.
    /// `tests/peers/run` has them do it.
    fn opened_by_browsers(&self, written: &str) {
        let address: SocketAddr = format!("127.0.0.1:{}", self.ports[written])
            .parse()
            .unwrap();
        let mut old = Peer::open(address, Speaks::Hixie76, "/");
        old.echo("hello");
        // WebKit of 2011 closes TCP and nothing else.
        old.finish();
        old.ends();
        let mut new = Peer::open(address, RFC, "/");
        new.echo("hello");
        // `close()` has no code.
        new.send(&frame(CLOSE, b""));
        assert_eq!(new.frame(), (CLOSE, Vec::new()));
        new.ends();
    }

    /// Puts a file where the commands run.
    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.join(name), content).unwrap();
    }

    pub(crate) fn copy(&self, from: &Path, name: &str) {
        fs::copy(from, self.folder.join(name)).unwrap();
    }

    /// Runs a command to its end, which has this exit status.
    pub(crate) fn ends(&self, step: &Step, status: i32) {
        let (code, lines) = Self::run_in(&self.folder, &self.with_ports(&step.command));
        assert_eq!(code, Some(status), "{step} prints {lines:#?}");
        // The output of some is left to the reader.
        if step.shown.is_empty() {
            return;
        }
        let mut lines = lines.iter();
        let mut shown = step.shown.iter().peekable();
        while let Some(due) = shown.next() {
            if due == "…" {
                // Any lines, up to the next that is shown.
                let Some(next) = shown.peek() else {
                    return;
                };
                while lines.as_slice().first().is_some_and(|line| line != *next) {
                    lines.next();
                }
                continue;
            }
            let line = lines.next();
            let line = line.unwrap_or_else(|| panic!("{step} does not print {due:?}"));
            self.compare(step, line, due);
        }
        assert_eq!(lines.as_slice(), [""; 0], "{step} prints more");
    }

    fn compare(&self, step: &Step, line: &str, shown: &str) {
        assert_eq!(
            self.normal(line),
            self.normal(&self.with_ports(shown)),
            "{step}"
        );
    }

    /// A server of the library.
    pub(crate) fn serves(&mut self, program: &Path, block: &Block<'_>) {
        let written = "8077";
        if let Some(before) = self.serving.remove(written) {
            before.ctrl_c();
        }
        let mut child = shell(&self.folder, &format!("exec {}", program.display()));
        let until = Instant::now() + crate::support::PATIENCE;
        let address = format!("127.0.0.1:{}", self.ports[written]);
        let client = format!("echo hello | heirloom connect ws://{address}/");
        let mut got = Self::run_in(&self.folder, &client);
        // It does not print that it listens.
        while got.0 == Some(3) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
            got = Self::run_in(&self.folder, &client);
        }
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(
            got,
            (Some(0), vec!["hello".to_owned()]),
            "README.md:{}",
            block.line
        );
    }

    /// Ctrl-C ends what still serves.
    pub(crate) fn end(mut self) {
        // A gateway before its backend.
        while let Some((_, serving)) = self.serving.pop_last() {
            serving.ctrl_c();
        }
    }

    /// The exit status, and the lines of both streams as a terminal shows them.
    pub(crate) fn run_in(folder: &Path, command: &str) -> (Option<i32>, Vec<String>) {
        let mut child = shell(folder, command);
        let lines = lines_of(&mut child);
        let (until, mut all) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    panic!("`{command}` does not end; it said {all:#?}");
                }
            }
        }
        (child.wait().unwrap().code(), all)
    }

    /// The text with this run's ports in place of those that README writes.
    pub(crate) fn with_ports(&self, text: &str) -> String {
        self.ports
            .iter()
            .fold(text.to_owned(), |text, (written, free)| {
                text.replace(&format!(":{written}"), &format!(":{free}"))
            })
    }

    /// The line without what differs between runs: times, durations, and the
    /// ports of clients.
    fn normal(&self, line: &str) -> String {
        let servers: Vec<_> = self.ports.values().map(String::as_str).collect();
        let line = without_times(line);
        let line = without_number(&line, "ms=", &[]);
        without_number(&line, "127.0.0.1:", &servers)
    }
}

impl Serving {
    fn line(&self) -> String {
        let line = self.lines.recv_timeout(crate::support::PATIENCE);
        line.unwrap_or_else(|_| panic!("`{}` prints no line", self.command))
    }

    /// Ends it as its user does.
    fn ctrl_c(mut self) {
        let kill = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
        let until = Instant::now() + crate::support::PATIENCE;
        while self
            .lines
            .recv_timeout(until - Instant::now().min(until))
            .is_ok()
        {}
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.command);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it runs until Ctrl-C.
fn serves(command: &str) -> bool {
    let command = command.replace("cargo run --release -- ", "heirloom ");
    let mut words = command.split_whitespace();
    words.next() == Some("heirloom") && matches!(words.next(), Some("serve" | "gateway" | "record"))
}

fn serves_lines(command: &str) -> bool {
    command.starts_with("heirloom gateway") || command.starts_with("heirloom record")
}

/// The port, as written, that a command listens on.
fn listens(command: &str) -> &'static str {
    let Some((_, after)) = command.split_once("--listen ") else {
        return "8076";
    };
    let address = after.split_whitespace().next().unwrap();
    let port = address.rsplit(':').next().unwrap();
    let known = WRITTEN.into_iter().find(|written| *written == port);
    known.unwrap_or_else(|| panic!("`{command}`: no port stands for {port}"))
}

/// A port below those that the system gives to clients.
fn free_port() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % 12_000;
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + (first + next) % 12_000;
        if TcpListener::bind(format!("127.0.0.1:{port}")).is_ok() {
            return port.to_string();
        }
    }
}

fn shell(folder: &Path, command: &str) -> Child {
    let path = std::env::var("PATH").unwrap();
    Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("CURL_HOME", folder)
        // The settings of the person who runs the tests do not matter here.
        .env_remove("RUST_LOG")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let out = BufReader::new(child.stdout.take().unwrap());
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in out.lines() {
            if tell.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

/// `2026-11-28T08:48:37.007Z` becomes `TIME`.
fn without_times(line: &str) -> String {
    const SHAPE: &str = "dddd-dd-ddTdd:dd:dd.dddZ";
    let is_time = |at: &str| {
        at.len() >= SHAPE.len()
            && at
                .bytes()
                .zip(SHAPE.bytes())
                .all(|(octet, shape)| octet == shape || shape == b'd' && octet.is_ascii_digit())
    };
    let (mut normal, mut rest) = (String::new(), line);
    while let Some(next) = rest.chars().next() {
        if is_time(rest) {
            normal.push_str("TIME");
            rest = &rest[SHAPE.len()..];
        } else {
            normal.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    normal
}

/// The number behind each `mark` becomes `N`, unless it is one of `kept`.
fn without_number(line: &str, mark: &str, kept: &[&str]) -> String {
    let mut parts = line.split(mark);
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit());
        let (number, rest) = part.split_at(end.unwrap_or(part.len()));
        let number = if number.is_empty() || kept.contains(&number) {
            number
        } else {
            "N"
        };
        normal.push_str(mark);
        normal.push_str(number);
        normal.push_str(rest);
    }
    normal
}

#[test]
fn what_differs_between_runs_is_no_difference() {
    let line = "a 2026-11-28T08:48:37.007Z ms=12 é 127.0.0.1:8076/ client=127.0.0.1:40488 ms=";
    let line = without_number(&without_times(line), "ms=", &[]);
    assert_eq!(
        without_number(&line, "127.0.0.1:", &["8076"]),
        "a TIME ms=N é 127.0.0.1:8076/ client=127.0.0.1:N ms="
    );
}
