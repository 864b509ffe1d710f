//! The built program, as a script sees it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

pub(crate) const HEIRLOOM: &str = env!("CARGO_BIN_EXE_heirloom");

/// A program that serves. It is killed if the test has not ended it.
pub(crate) struct Program {
    child: Child,
    /// The lines of standard error; ends when the program does.
    talk: Receiver<String>,
    out: Option<BufReader<ChildStdout>>,
    /// The first line it printed.
    pub(crate) line: String,
    /// Port 0 where it listens at a Unix socket.
    pub(crate) address: SocketAddr,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) talk: String,
}

/// How long it may run: some play hundreds of cases or vectors.
const RUN: Duration = Duration::from_secs(120);

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    let mut command = Command::new(HEIRLOOM);
    let mut child = spawn(command.args(args));
    let out = read_all(child.stdout.take().unwrap());
    let talk = read_all(child.stderr.take().unwrap());
    let (Ok(out), Ok(talk)) = (out.recv_timeout(RUN), talk.recv_timeout(RUN)) else {
        let _ = child.kill();
        panic!("`heirloom {}` does not end", args.join(" "));
    };
    Ended {
        code: child.wait().unwrap().code(),
        out,
        talk,
    }
}

fn spawn(command: &mut Command) -> Child {
    command
        // The settings of the person who runs the tests do not matter here.
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn read_all(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, all) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        let _ = tell.send(text);
    });
    all
}

/// The line that tells where a program listens, and the rest of that stream.
type FirstLine = (String, Option<BufReader<ChildStdout>>);

impl Program {
    /// `heirloom` with these arguments, on a free port of loopback.
    pub(crate) fn serve(args: &[&str]) -> Program {
        let mut command = Command::new(HEIRLOOM);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        Program::start(command.args(args))
    }

    /// Starts it and waits for the line that tells where it listens.
    pub(crate) fn start(command: &mut Command) -> Program {
        // Standard output holds JSON only then.
        let json = command.get_args().any(|argument| argument == "--json");
        let mut child = spawn(command);
        let talk = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = channel();
        let (tell_line, first) = channel();
        let tell_of_json = tell_line.clone();
        thread::spawn(move || {
            for line in talk.lines() {
                let line = line.unwrap();
                if json && line.starts_with("listening on ") {
                    let _ = tell_of_json.send((format!("{line}\n"), None));
                } else {
                    let _ = tell.send(line);
                }
            }
            // It has ended, and may never have listened.
            if json {
                let _ = tell_of_json.send((String::new(), None));
            }
        });
        Program::of(child, lines, json, (tell_line, first))
    }

    /// Starts it; its standard error is a pipe that is not read. The pipe stays
    /// open for as long as what is returned beside it.
    pub(crate) fn start_unheard(command: &mut Command) -> (Program, impl Sized + use<>) {
        let mut child = spawn(command);
        let talk = child.stderr.take().unwrap();
        let (tell, lines) = channel();
        (Program::of(child, lines, false, channel()), (tell, talk))
    }

    /// Waits for its end for as long as a server may take that has nothing to
    /// wait for.
    pub(crate) fn ends_within(mut self, wait: Duration) -> ExitStatus {
        let until = Instant::now() + wait;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end within {wait:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A child that is to say where it listens: with `json` on standard error.
    fn of(
        mut child: Child,
        lines: Receiver<String>,
        json: bool,
        (tell_line, first): (Sender<FirstLine>, Receiver<FirstLine>),
    ) -> Program {
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut later = None;
        if json {
            later = Some(out);
        } else {
            thread::spawn(move || {
                let mut line = String::new();
                let _ = out.read_line(&mut line);
                let _ = tell_line.send((line, Some(out)));
            });
        }
        let Ok((line, out)) = first.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("it says nothing");
        };
        let is_unix = line.starts_with("listening on ws") && line.contains("+unix:");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.strip_suffix("/\n"))
            .and_then(|rest| rest.split_once("://"))
            .and_then(|(_, address)| address.split('/').next())
            .and_then(|address| address.parse().ok())
            .or(is_unix.then(|| SocketAddr::from(([0, 0, 0, 0], 0))));
        let Some(address) = address else {
            let _ = child.kill();
            let talk: Vec<String> = lines.iter().collect();
            panic!("{line:?} does not say where it listens; {talk:?}");
        };
        Program {
            child,
            talk: lines,
            out: out.or(later),
            line,
            address,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Leaves it so many free descriptors, until more are allowed.
    pub(crate) fn leave_descriptors(&self, free: usize) {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let taken: Vec<usize> = folder
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        // The limit is on numbers, and there may be gaps.
        let mut gaps = (0..).filter(|number| !taken.contains(number));
        self.allow_descriptors(gaps.nth(free).unwrap());
    }

    /// Sets the limit on its descriptors.
    pub(crate) fn allow_descriptors(&self, limit: usize) {
        let status = Command::new("prlimit")
            .args(["--pid", &self.id().to_string()])
            .arg(format!("--nofile={limit}:"))
            .status();
        assert!(status.unwrap().success());
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Closes the pipe that it prints its lines to.
    pub(crate) fn hang_up(&mut self) {
        self.out = None;
    }

    /// The lines it prints on standard output from now on.
    pub(crate) fn take_lines(&mut self) -> Lines {
        Lines {
            out: self.out.take(),
            read: None,
        }
    }

    /// Waits for its end without reading its lines.
    pub(crate) fn wait_unread(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            // Standard error ends when the program does.
            if let Err(RecvTimeoutError::Disconnected) = self.talk.recv_timeout(PATIENCE) {
                return self.child.wait().unwrap();
            }
        }
        panic!("it does not end");
    }

    /// Waits until it prints a line on standard error that contains this.
    pub(crate) fn await_talk(&self, what: &str) -> String {
        self.await_long_talk(what, PATIENCE)
    }

    /// The same, for what takes longer.
    pub(crate) fn await_long_talk(&self, what: &str, wait: Duration) -> String {
        let line = self.talk_within(what, wait);
        line.unwrap_or_else(|| panic!("it never says {what:?}"))
    }

    /// The next line on standard error that contains this, where it comes in time.
    pub(crate) fn talk_within(&self, what: &str, wait: Duration) -> Option<String> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.talk.recv_timeout(left) {
                Ok(line) if line.contains(what) => return Some(line),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for its end; gives what it printed after the first line.
    pub(crate) fn wait(mut self) -> (ExitStatus, Ended) {
        let until = Instant::now() + PATIENCE;
        let mut talk = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.talk.recv_timeout(left) {
                Ok(line) => talk.push_str(&format!("{line}\n")),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; it said {talk}"),
            }
        }
        let mut out = String::new();
        if let Some(rest) = &mut self.out {
            rest.read_to_string(&mut out).unwrap();
        }
        let status = self.child.wait().unwrap();
        let code = status.code();
        (status, Ended { code, out, talk })
    }
}

/// Lines of a program's standard output. Nothing is read before the first is
/// asked for.
pub(crate) struct Lines {
    out: Option<BufReader<ChildStdout>>,
    read: Option<Receiver<String>>,
}

impl Lines {
    pub(crate) fn next_line(&mut self) -> String {
        self.line_within(PATIENCE).expect("it says a line")
    }

    pub(crate) fn line_within(&mut self, wait: Duration) -> Option<String> {
        if let Some(out) = self.out.take() {
            let (tell, lines) = channel();
            thread::spawn(move || {
                for line in out.lines() {
                    if tell.send(line.unwrap()).is_err() {
                        return;
                    }
                }
            });
            self.read = Some(lines);
        }
        self.read.as_ref()?.recv_timeout(wait).ok()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
