//! The program, run to its end.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::program::HEIRLOOM;

/// Every deadline that a test sets is far below this, and every default but
/// that of one attempt of `probe` is above.
pub(crate) const SOON: Duration = Duration::from_secs(4);

/// What a server may send to do harm where it is shown as it is.
pub(crate) const EVIL: &str = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\u{2028}\u{7f}";

/// What the program reads from standard input.
#[derive(Clone, Copy)]
pub(crate) enum Stdin<'a> {
    /// This, and then the end.
    Ends(&'a [u8]),
    /// This, and then nothing for as long as the program lives.
    Stays(&'a [u8]),
}

pub(crate) const NOTHING: Stdin<'_> = Stdin::Ends(b"");

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// It ended in time, with this code.
    pub(crate) fn exits(&self, code: i32) -> &Ended {
        let shown = String::from_utf8_lossy(&self.out[..self.out.len().min(2000)]).into_owned();
        let stderr = &self.stderr;
        assert_eq!(self.code, Some(code), "it prints {stderr:?} and {shown:?}");
        assert!(
            self.took < SOON,
            "{:?} are no deadline: {stderr}",
            self.took
        );
        self
    }

    /// Standard error is one sentence, which starts with this.
    pub(crate) fn complains(&self, start: &str) -> &Ended {
        let start = format!("heirloom: {start}");
        assert!(self.stderr.starts_with(&start), "{:?}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{:?}", self.stderr);
        assert!(self.stderr.ends_with('\n'), "{:?}", self.stderr);
        self
    }

    /// Nothing in its output moves a cursor.
    pub(crate) fn is_escaped(&self) -> &Ended {
        let shown = |c: char| c == '\n' || (' '..='~').contains(&c) || "…\u{fffd}".contains(c);
        assert!(self.stderr.chars().all(shown), "{:?}", self.stderr);
        assert!(self.out().chars().all(shown), "{:?}", self.out());
        self
    }
}

/// Runs the program to its end.
pub(crate) fn heirloom(args: &[&str], stdin: Stdin<'_>) -> Ended {
    let start = Instant::now();
    let mut child = Command::new(HEIRLOOM)
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let (lives, until) = channel::<()>();
    let (octets, stays) = match stdin {
        Stdin::Ends(octets) => (octets.to_vec(), false),
        Stdin::Stays(octets) => (octets.to_vec(), true),
    };
    thread::spawn(move || {
        // The program may end before it has read all.
        let _ = input.write_all(&octets);
        if stays {
            let _ = until.recv();
        }
    });
    let out = read_all(child.stdout.take().unwrap());
    let stderr = read_all(child.stderr.take().unwrap());
    let (Ok(out), Ok(stderr)) = (out.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE)) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("`heirloom {}` does not end", args.join(" "));
    };
    let code = child.wait().unwrap().code();
    drop(lives);
    Ended {
        code,
        out,
        stderr: String::from_utf8(stderr).unwrap(),
        took: start.elapsed(),
    }
}

/// Reads to the end; of a flood only the start is kept.
pub(crate) fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, all) = channel();
    thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if kept.len() < 64 << 20 {
                kept.extend_from_slice(&buffer[..n]);
            }
        }
        let _ = tell.send(kept);
    });
    all
}

/// `heirloom connect` with short deadlines.
pub(crate) fn connect(address: SocketAddr, args: &[&str], stdin: Stdin<'_>) -> Ended {
    let url = format!("ws://{address}/");
    let fixed = ["connect", &url];
    // No waiting for replies, unless a test asks for it.
    let short = [
        "--handshake-timeout-ms",
        "1000",
        "--close-timeout-ms",
        "500",
        "--wait",
        "0",
    ];
    heirloom(&[&fixed[..], &short, args].concat(), stdin)
}

/// What `heirloom probe --json` finds, with a short deadline.
pub(crate) fn probe(address: SocketAddr, args: &[&str]) -> (Ended, Vec<Value>) {
    let url = format!("ws://{address}/");
    let fixed = ["probe", &url, "--json", "--timeout-ms", "1000"];
    let ended = heirloom(&[&fixed[..], args].concat(), NOTHING);
    let json = |line| serde_json::from_str(line).unwrap();
    let findings = ended.out().lines().map(json).collect();
    (ended, findings)
}

/// Probes one version; every attempt finds this. The reason of the last.
pub(crate) fn finds(
    address: SocketAddr,
    version: &str,
    severity: &str,
    verdict: &str,
) -> (Ended, String) {
    let (ended, findings) = probe(address, &["--versions", version]);
    assert!(!findings.is_empty(), "{}", ended.stderr);
    let mut reason = "";
    for finding in &findings {
        assert_eq!(finding["version"], version, "{finding}");
        assert_eq!(finding["severity"], severity, "{finding}");
        assert_eq!(finding["verdict"], verdict, "{finding}");
        assert!(finding["ms"].as_u64().unwrap() < 4000, "{finding}");
        reason = finding["reason"].as_str().unwrap();
        assert!(!reason.is_empty(), "{finding}");
    }
    ended.is_escaped();
    assert_eq!(ended.stderr, "");
    (ended, reason.to_owned())
}
