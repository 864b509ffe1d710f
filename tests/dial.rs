//! `connect` and `probe`, as scripts use them: against our own server in every
//! version, and against servers that hang, lie, refuse, flood, reset or break
//! off. Each gets its verdict, its sentence and its exit code in time.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heirloom::{VERSIONS, Version};
use md5::Digest;
use serde_json::Value;
use socket2::SockRef;

use support::PATIENCE;
use support::program::{HEIRLOOM, Program};

/// Every deadline that a test sets is far below this, and every default but
/// that of one attempt of `probe` is above.
const SOON: Duration = Duration::from_secs(4);

/// What a server may send to do harm where it is shown as it is.
const EVIL: &str = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\u{2028}\u{7f}";

// The program.

/// What the program hears.
#[derive(Clone, Copy)]
enum Stdin<'a> {
    /// This, and then the end.
    Ends(&'a [u8]),
    /// This, and then nothing for as long as the program lives.
    Stays(&'a [u8]),
}

const NOTHING: Stdin<'_> = Stdin::Ends(b"");

/// A program that came to its end.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: Vec<u8>,
    talk: String,
    took: Duration,
}

impl Ended {
    fn out(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// It ended in time, with this code.
    fn exits(&self, code: i32) -> &Ended {
        let shown = String::from_utf8_lossy(&self.out[..self.out.len().min(2000)]).into_owned();
        let talk = &self.talk;
        assert_eq!(self.code, Some(code), "it says {talk:?} and {shown:?}");
        assert!(self.took < SOON, "{:?} are no deadline: {talk}", self.took);
        self
    }

    /// All it says to a person is one sentence, which begins so.
    fn says(&self, begin: &str) -> &Ended {
        let begin = format!("heirloom: {begin}");
        assert!(self.talk.starts_with(&begin), "{:?}", self.talk);
        assert_eq!(self.talk.lines().count(), 1, "{:?}", self.talk);
        assert!(self.talk.ends_with('\n'), "{:?}", self.talk);
        self
    }

    /// Nothing that it says moves a cursor.
    fn is_inert(&self) -> &Ended {
        let shown = |c: char| c == '\n' || (' '..='~').contains(&c) || "…\u{fffd}".contains(c);
        assert!(self.talk.chars().all(shown), "{:?}", self.talk);
        assert!(self.out().chars().all(shown), "{:?}", self.out());
        self
    }
}

/// Runs the program to its end.
fn heirloom(args: &[&str], stdin: Stdin<'_>) -> Ended {
    let began = Instant::now();
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
        // The program may end before it has heard all.
        let _ = input.write_all(&octets);
        if stays {
            let _ = until.recv();
        }
    });
    let out = read_all(child.stdout.take().unwrap());
    let talk = read_all(child.stderr.take().unwrap());
    let (Ok(out), Ok(talk)) = (out.recv_timeout(PATIENCE), talk.recv_timeout(PATIENCE)) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("`heirloom {}` does not end", args.join(" "));
    };
    let code = child.wait().unwrap().code();
    drop(lives);
    Ended {
        code,
        out,
        talk: String::from_utf8(talk).unwrap(),
        took: began.elapsed(),
    }
}

/// Reads to the end; of a flood only the begin is kept.
fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
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
fn connect(address: SocketAddr, args: &[&str], stdin: Stdin<'_>) -> Ended {
    let url = format!("ws://{address}/");
    let fixed = ["connect", &url];
    let short = ["--handshake-timeout-ms", "700", "--close-timeout-ms", "500"];
    heirloom(&[&fixed[..], &short, args].concat(), stdin)
}

/// What `heirloom probe --json` finds, with a short deadline.
fn probe(address: SocketAddr, args: &[&str]) -> (Ended, Vec<Value>) {
    let url = format!("ws://{address}/");
    let fixed = ["probe", &url, "--json", "--timeout-ms", "700"];
    let ended = heirloom(&[&fixed[..], args].concat(), NOTHING);
    let json = |line| serde_json::from_str(line).unwrap();
    let findings = ended.out().lines().map(json).collect();
    (ended, findings)
}

/// Probes one version; every attempt finds this. The reason of the last.
fn finds(address: SocketAddr, version: &str, severity: &str, verdict: &str) -> (Ended, String) {
    let (ended, findings) = probe(address, &["--versions", version]);
    assert!(!findings.is_empty(), "{}", ended.talk);
    let mut reason = "";
    for finding in &findings {
        assert_eq!(finding["version"], version, "{finding}");
        assert_eq!(finding["severity"], severity, "{finding}");
        assert_eq!(finding["verdict"], verdict, "{finding}");
        assert!(finding["ms"].as_u64().unwrap() < 4000, "{finding}");
        reason = finding["reason"].as_str().unwrap();
        assert!(!reason.is_empty(), "{finding}");
    }
    ended.is_inert();
    assert_eq!(ended.talk, "");
    (ended, reason.to_owned())
}

// Servers of the test.

/// A server that does to each visitor what the test says.
struct Host {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// One connection, whose request has come.
struct Visit {
    reader: BufReader<TcpStream>,
    lines: Vec<String>,
}

impl Host {
    fn new(act: impl Fn(&mut Visit) + Send + Sync + 'static) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let act = Arc::new(act);
        let seen = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, act) = (stream.unwrap(), Arc::clone(&act));
                thread::spawn(move || {
                    if let Some(mut visit) = Visit::receive(stream) {
                        act(&mut visit);
                    }
                });
            }
        });
        Host { address, over }
    }

    /// A server whose handshake is right.
    fn after_opening(act: impl Fn(&mut Visit) + Send + Sync + 'static) -> Host {
        Host::new(move |visit| {
            visit.open();
            act(visit);
        })
    }

    /// A server that says this, whatever it hears, and waits.
    fn saying(octets: Vec<u8>) -> Host {
        Host::new(move |visit| {
            visit.say(&octets);
            visit.wait();
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Ends the wait for the next one.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

impl Visit {
    fn receive(stream: TcpStream) -> Option<Visit> {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut visit = Visit {
            reader: BufReader::new(stream),
            lines: Vec::new(),
        };
        loop {
            let mut line = String::new();
            visit.reader.read_line(&mut line).ok()?;
            let line = line.strip_suffix("\r\n")?;
            if line.is_empty() {
                return Some(visit);
            }
            visit.lines.push(line.to_owned());
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.lines.iter().filter_map(|line| line.split_once(": "));
        headers.find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The lines of the right answer, by hand.
    fn right(&self) -> Vec<String> {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let target = self.lines[0].split(' ').nth(1).unwrap();
        let location = format!("ws://{}{target}", self.header("Host").unwrap());
        let origin = self.header("Origin").unwrap_or_default();
        let mut response: Vec<String>;
        if let Some(key) = self.header("Sec-WebSocket-Key") {
            let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
            let proof = sha1::Sha1::digest(format!("{key}{guid}"));
            response = lines(&[
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade",
            ]);
            response.push(format!("Sec-WebSocket-Accept: {}", STANDARD.encode(proof)));
            if self.header("Sec-WebSocket-Version") == Some("4") {
                response.push("Sec-WebSocket-Nonce: H+cNj5elaybfGIQv1esl2w==".to_owned());
            }
            return response;
        }
        let (first, sec) = match self.header("Sec-WebSocket-Key1") {
            Some(_) => ("HTTP/1.1 101 WebSocket Protocol Handshake", "Sec-"),
            None => ("HTTP/1.1 101 Web Socket Protocol Handshake", ""),
        };
        response = lines(&[first, "Upgrade: WebSocket", "Connection: Upgrade"]);
        response.push(format!("{sec}WebSocket-Origin: {origin}"));
        response.push(format!("{sec}WebSocket-Location: {location}"));
        response
    }

    /// The sixteen octets, once the eight have come; `None` where the version
    /// has none, or they do not come.
    fn digest(&mut self) -> Option<[u8; 16]> {
        let mut input = Vec::new();
        for name in ["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"] {
            let key = self.header(name)?;
            let digits: String = key.chars().filter(char::is_ascii_digit).collect();
            let spaces = key.chars().filter(|c| *c == ' ').count() as u64;
            let number = digits.parse::<u64>().unwrap() / spaces;
            input.extend_from_slice(&(number as u32).to_be_bytes());
        }
        let mut key3 = [0; 8];
        self.reader.read_exact(&mut key3).ok()?;
        input.extend_from_slice(&key3);
        Some(md5::Md5::digest(&input).into())
    }

    fn say_head(&mut self, lines: &[String]) {
        self.say(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes());
    }

    /// The opening handshake as it should be.
    fn open(&mut self) {
        let lines = self.right();
        self.say_head(&lines);
        if let Some(digest) = self.digest() {
            self.say(&digest);
        }
    }

    /// Whether it could be said; a visitor may be gone.
    fn say(&mut self, octets: &[u8]) -> bool {
        self.reader.get_mut().write_all(octets).is_ok()
    }

    /// Says it until nobody hears any more.
    fn say_for_ever(&mut self, octets: &[u8]) {
        let until = Instant::now() + 2 * PATIENCE;
        while self.say(octets) && Instant::now() < until {}
    }

    /// Reads until the visitor goes.
    fn wait(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(1..) = self.reader.read(&mut buffer) {}
    }

    /// Ends our side, and lets the visitor go first, so that nothing is reset.
    fn end(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
        self.wait();
    }

    fn reset(&self) {
        let at_once = Some(Duration::ZERO);
        SockRef::from(self.reader.get_ref())
            .set_linger(at_once)
            .unwrap();
    }
}

/// A frame of a server in clear, from hybi-01 on.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    match payload.len() {
        n @ 0..126 => octets.push(n as u8),
        n => {
            octets.push(126);
            octets.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    octets.extend_from_slice(payload);
    octets
}

fn named(name: &str) -> &'static Version {
    Version::named(name).unwrap()
}

// Servers that say too little.

#[test]
fn a_server_that_says_nothing_times_out() {
    let host = Host::new(Visit::wait);
    for version in ["hixie-75", "hixie-76", "rfc6455"] {
        let ended = connect(host.address, &["--as", version], Stdin::Stays(b"x\n"));
        ended.exits(5).says("the server did not answer in time");
        let (ended, reason) = finds(host.address, version, "silent", "hangs");
        assert_eq!(ended.code, Some(5));
        assert_eq!(reason, "no answer came in time (--timeout-ms)");
    }
}

#[test]
fn a_server_that_dribbles_its_head_times_out() {
    let host = Host::new(|visit| {
        visit.say(b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ");
        while visit.say(b"x") {
            thread::sleep(Duration::from_millis(20));
        }
    });
    connect(host.address, &[], NOTHING)
        .exits(5)
        .says("the server did not answer in time");
    assert_eq!(
        finds(host.address, "rfc6455", "silent", "hangs").0.code,
        Some(5)
    );
}

#[test]
fn a_101_without_its_sixteen_octets_is_told_from_no_answer() {
    let host = Host::new(|visit| {
        let lines = visit.right();
        visit.say_head(&lines);
        visit.wait();
    });
    for version in ["hixie-76", "hybi-03"] {
        let ended = connect(host.address, &["--as", version], NOTHING);
        ended
            .exits(5)
            .says("the 101 came and the sixteen octets that prove it did not");
        let (ended, reason) = finds(host.address, version, "silent", "hangs");
        assert_eq!(ended.code, Some(5));
        assert!(reason.contains("the sixteen octets did not"), "{reason}");
    }
}

#[test]
fn an_end_before_the_sixteen_octets_is_told_from_no_answer() {
    let host = Host::new(|visit| {
        let lines = visit.right();
        visit.say_head(&lines);
        visit.end();
    });
    let ended = connect(host.address, &["--as", "hixie-76"], NOTHING);
    ended
        .exits(4)
        .says("the server ended the connection between its 101 and the end");
    let (ended, reason) = finds(host.address, "hixie-76", "silent", "ends");
    assert_eq!(ended.code, Some(4));
    assert!(reason.contains("between its 101 and the end"), "{reason}");
}

#[test]
fn a_server_that_ends_at_once_has_not_answered() {
    let host = Host::new(Visit::end);
    let ended = connect(host.address, &["--as", "hybi-06"], Stdin::Stays(b""));
    let sentence = "the server ended the connection without an answer; it may not speak hybi-06";
    ended.exits(4).says(sentence);
    let (ended, _) = finds(host.address, "hybi-06", "silent", "ends");
    ended.exits(4);
}

#[test]
fn a_server_that_resets_has_not_answered() {
    let host = Host::new(|visit| visit.reset());
    for version in ["hixie-75", "rfc6455"] {
        let ended = connect(host.address, &["--as", version], Stdin::Stays(b""));
        ended.exits(4).says("the connection broke: ");
        let (ended, reason) = finds(host.address, version, "silent", "resets");
        ended.exits(4);
        assert!(reason.starts_with("the connection broke: "), "{reason}");
    }
}

#[test]
fn a_port_where_nobody_listens_exits_3() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let sentence = format!("cannot connect to {address}: ");
    connect(address, &[], NOTHING).exits(3).says(&sentence);
    let (ended, findings) = probe(address, &[]);
    ended.exits(3);
    assert_eq!(findings.len(), 1, "the others would find the same");
    assert_eq!(findings[0]["verdict"], "unreachable");
    assert_eq!(findings[0]["severity"], "silent");
    assert!(
        findings[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with(&sentence)
    );
}

// Servers that lie.

type Lines = Vec<String>;

fn set(lines: &mut Lines, name: &str, value: &str) {
    let line = lines.iter_mut().find(|l| l.starts_with(name)).unwrap();
    *line = format!("{name}: {value}");
}

fn leave_out(lines: &mut Lines, name: &str) {
    let before = lines.len();
    lines.retain(|l| !l.starts_with(name));
    assert_eq!(lines.len(), before - 1, "{name}");
}

fn add(lines: &mut Lines, line: &str) {
    lines.push(line.to_owned());
}

/// The answer to this version is right but for one lie, which both commands
/// call by its name.
fn is_caught(version: &str, code: &str, lie: fn(&mut Lines)) {
    let host = Host::new(move |visit| {
        let mut lines = visit.right();
        lie(&mut lines);
        visit.say_head(&lines);
        if let Some(digest) = visit.digest() {
            visit.say(&digest);
        }
        visit.wait();
    });
    let ended = connect(host.address, &["--as", version], Stdin::Stays(b"x\n"));
    ended.exits(4).says(&format!("{code}: ")).is_inert();
    assert_eq!(ended.out(), "");
    finds(host.address, version, "wrong", code).0.exits(1);
}

#[test]
fn a_wrong_or_missing_accept_is_caught_in_every_version_that_has_one() {
    for version in VERSIONS.iter().filter(|v| v.number.is_some()) {
        is_caught(version.name, "accept-mismatch", |lines| {
            set(
                lines,
                "Sec-WebSocket-Accept",
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            );
        });
    }
    is_caught("rfc6455", "accept-mismatch", |lines| {
        leave_out(lines, "Sec-WebSocket-Accept");
    });
    is_caught("rfc6455", "accept-mismatch", |lines| {
        let right = lines[3].clone();
        add(lines, &right);
    });
}

#[test]
fn a_wrong_digest_is_caught_in_every_version_that_has_one() {
    let host = Host::new(|visit| {
        let lines = visit.right();
        visit.say_head(&lines);
        visit.say(b"8jKS'y:G*Co,Wxa-");
        visit.wait();
    });
    for version in VERSIONS.iter().filter(|v| v.has_body()) {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        ended.exits(4).says("digest-mismatch: ");
        finds(host.address, version.name, "wrong", "digest-mismatch")
            .0
            .exits(1);
    }
}

#[test]
fn a_101_without_any_proof_is_caught() {
    let bare: fn(&mut Lines) = |lines| lines.truncate(1);
    is_caught("hixie-75", "response-lines", bare);
    is_caught("hixie-76", "upgrade-mismatch", bare);
    is_caught("hybi-03", "upgrade-mismatch", bare);
    is_caught("hybi-04", "upgrade-mismatch", bare);
    is_caught("rfc6455", "upgrade-mismatch", bare);
    is_caught("rfc6455", "connection-mismatch", |lines| {
        leave_out(lines, "Connection");
    });
}

#[test]
fn a_wrong_origin_is_caught() {
    is_caught("hixie-75", "origin-mismatch", |lines| {
        set(lines, "WebSocket-Origin", "http://other.example");
    });
    is_caught("hixie-76", "origin-mismatch", |lines| {
        set(lines, "Sec-WebSocket-Origin", "http://other.example");
    });
    is_caught("hybi-03", "origin-mismatch", |lines| {
        leave_out(lines, "Sec-WebSocket-Origin");
    });
}

#[test]
fn a_wrong_location_is_caught() {
    is_caught("hixie-75", "location-mismatch", |lines| {
        set(lines, "WebSocket-Location", "ws://other.example/");
    });
    is_caught("hixie-76", "location-mismatch", |lines| {
        let secure = lines[4].replace("ws://", "wss://");
        lines[4] = secure;
    });
    is_caught("hybi-03", "location-mismatch", |lines| {
        leave_out(lines, "Sec-WebSocket-Location");
    });
}

#[test]
fn the_first_three_lines_of_hixie_75_are_compared_octet_by_octet() {
    is_caught("hixie-75", "response-lines", |lines| lines.swap(1, 2));
    is_caught("hixie-75", "response-lines", |lines| {
        set(lines, "Upgrade", "websocket");
    });
}

#[test]
fn a_subprotocol_nobody_asked_for_is_caught() {
    is_caught("rfc6455", "subprotocol-mismatch", |lines| {
        add(lines, "Sec-WebSocket-Protocol: chat");
    });
}

#[test]
fn a_subprotocol_that_hixie_asked_for_and_does_not_get_is_caught() {
    let host = Host::after_opening(Visit::wait);
    for version in ["hixie-75", "hixie-76", "hybi-03"] {
        let ask = ["--as", version, "--subprotocol", "chat"];
        let ended = connect(host.address, &ask, Stdin::Stays(b""));
        ended.exits(4).says("subprotocol-mismatch: ");
    }
}

#[test]
fn an_extension_nobody_offered_is_caught() {
    is_caught("rfc6455", "extension-unexpected", |lines| {
        add(lines, "Sec-WebSocket-Extensions: permessage-deflate");
    });
    is_caught("hybi-07", "extension-unexpected", |lines| {
        add(
            lines,
            "Sec-WebSocket-Extensions: x-webkit-deflate-frame, deflate-stream",
        );
    });
}

#[test]
fn hybi_04_without_a_nonce_is_caught() {
    is_caught("hybi-04", "nonce-missing", |lines| {
        leave_out(lines, "Sec-WebSocket-Nonce");
    });
}

// Servers that refuse.

fn refusal(status: &str, more: &str, body: &str) -> (Vec<u8>, Vec<u8>) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    (head.into_bytes(), body.as_bytes().to_vec())
}

#[test]
fn a_refusal_is_repeated_without_its_escape_sequences() {
    let body = format!("{EVIL}come back later{EVIL}\nsecond line\n");
    let (head, body) = refusal("400 Bad Request", "", &body);
    let host = Host::saying([head, body].concat());
    for version in &VERSIONS {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        let sentence = "refused: the server refused with HTTP status 400; it says: ";
        ended.exits(4).says(sentence).is_inert();
        assert!(ended.talk.contains("come back later"), "{}", ended.talk);
        let (ended, reason) = finds(host.address, version.name, "refused", "refused");
        ended.exits(4);
        assert!(reason.starts_with("HTTP status 400: "), "{reason}");
        assert!(reason.contains("come back later"), "{reason}");
    }
    // As a person sees it.
    let url = format!("ws://{}/", host.address);
    heirloom(&["probe", &url], NOTHING).exits(4).is_inert();
}

#[test]
fn the_body_of_a_refusal_may_come_after_its_head() {
    let (head, body) = refusal("503 Service Unavailable", "", "going-away: try later\n");
    let host = Host::new(move |visit| {
        visit.say(&head);
        thread::sleep(Duration::from_millis(100));
        visit.say(&body);
        visit.wait();
    });
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(4).says("refused: ");
    let says = "; it says: going-away: try later\n";
    assert!(ended.talk.ends_with(says), "{}", ended.talk);
    let (_, reason) = finds(host.address, "rfc6455", "refused", "refused");
    assert_eq!(reason, "HTTP status 503: going-away: try later");
}

#[test]
fn a_refusal_without_a_body_does_not_keep_us_waiting() {
    let (head, _) = refusal("403 Forbidden", "", "");
    let host = Host::saying(head);
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(4).says("refused: ");
    assert!(ended.talk.ends_with("HTTP status 403\n"), "{}", ended.talk);
    let (_, reason) = finds(host.address, "rfc6455", "refused", "refused");
    assert_eq!(reason, "HTTP status 403");
}

#[test]
fn a_426_says_which_versions_it_lists() {
    let lists = "Upgrade: websocket\r\nSec-WebSocket-Version: 13, 8\r\n";
    let (head, body) = refusal("426 Upgrade Required", lists, "too old\n");
    let host = Host::saying([head, body].concat());
    let (ended, findings) = probe(host.address, &["--versions", "5,6"]);
    ended.exits(4).is_inert();
    assert_eq!(findings.len(), 2);
    for finding in findings {
        assert_eq!(finding["verdict"], "refused");
        assert_eq!(finding["severity"], "refused");
        assert_eq!(finding["status"], 426);
        assert_eq!(finding["lists"], "13, 8");
        assert_eq!(
            finding["reason"],
            "HTTP status 426, which lists 13, 8: too old"
        );
    }
    connect(host.address, &["--as", "5"], NOTHING)
        .exits(4)
        .says("refused: the server refused with HTTP status 426; it says: too old");
}

#[test]
fn what_is_no_answer_of_http_is_called_malformed() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"HTTP/1.1 200 OK\nServer: bare line feeds\n\n",
        b"\x1b[31m\x00\x00\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/2 101\r\n\r\n",
    ] {
        let host = Host::saying(garbage.to_vec());
        let ended = connect(host.address, &[], Stdin::Stays(b""));
        ended.exits(4).says("response-malformed: ").is_inert();
        finds(host.address, "rfc6455", "wrong", "response-malformed")
            .0
            .exits(1);
    }
}

// Servers that say too much.

#[test]
fn a_head_without_end_is_too_long() {
    for octets in [&b"X-Flood: yes\r\n"[..], &[b'x'; 4096]] {
        let octets = octets.to_vec();
        let host = Host::new(move |visit| {
            visit.say(b"HTTP/1.1 101 Switching Protocols\r\nX-Flood: ");
            visit.say_for_ever(&octets);
        });
        let ended = connect(host.address, &[], Stdin::Stays(b""));
        ended.exits(4).says("response-too-long: ");
        finds(host.address, "rfc6455", "wrong", "response-too-long")
            .0
            .exits(1);
    }
}

/// What an endless flood is made of: version and octets of one write.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("hixie-75", b"\0flood\xff".repeat(1000)),
        ("hixie-76", b"\0flood\xff".repeat(1000)),
        ("hybi-03", frame(0x04, b"flood").repeat(1000)),
        ("hybi-06", frame(0x84, b"flood").repeat(1000)),
        ("rfc6455", frame(0x81, b"flood").repeat(1000)),
        // One message that never ends.
        ("rfc6455", frame(0x01, &[b'x'; 1000])),
        // Nothing but control frames.
        ("rfc6455", frame(0x8a, b"").repeat(1000)),
        // Frames that are skipped.
        ("hixie-76", b"\x80\x05flood".repeat(1000)),
    ]
}

/// Says its octets without end, and hears nothing.
fn flooding(octets: Vec<u8>) -> Host {
    Host::after_opening(move |visit| {
        if octets[0] == 0x01 {
            visit.say(&octets);
            let more = frame(0x00, &octets[4..]);
            visit.say_for_ever(&more);
        } else {
            visit.say_for_ever(&octets);
        }
    })
}

#[test]
fn a_flood_does_not_hold_up_our_end() {
    for (version, octets) in floods() {
        // A message that never ends is ended by its limit.
        let code = if octets[0] == 0x01 { 1 } else { 5 };
        let host = flooding(octets);
        let ended = connect(host.address, &["--as", version], Stdin::Ends(b"enough\n"));
        ended.exits(code);
        if code == 5 {
            ended.says("the server did not answer our goodbye in time");
        } else {
            ended.says("message-too-big: ");
        }
    }
}

#[test]
fn a_flood_in_answer_to_one_message_is_called_so() {
    for (version, octets) in floods() {
        let host = flooding(octets);
        finds(host.address, version, "wrong", "floods").0.exits(1);
    }
}

#[test]
fn a_server_that_pings_and_never_reads_is_not_answered_without_end() {
    // Each ping asks for an answer that it does not take.
    let pings = frame(0x89, &[b'x'; 125]).repeat(500);
    let host = flooding(pings);
    let ended = connect(host.address, &[], Stdin::Ends(b""));
    ended.exits(5);
    finds(host.address, "rfc6455", "wrong", "floods").0.exits(1);
}

#[test]
fn a_server_that_never_reads_is_left_in_time() {
    let host = Host::after_opening(|_| thread::sleep(PATIENCE));
    // More than the buffers of both ends take.
    let lines = [&vec![b'x'; 1 << 20][..], b"\n"].concat().repeat(32);
    let stdin = Stdin::Ends(&lines);
    let ended = connect(host.address, &["--write-timeout-ms", "500"], stdin);
    ended
        .exits(5)
        .says("the server takes nothing of what we say (--write-timeout-ms)");
}

// Servers that go wrong after the handshake.

/// The octets of one violation after a right handshake: version, code, octets.
fn violations() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        (
            "rfc6455",
            "mask-unexpected",
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
        ),
        ("rfc6455", "reserved-opcode", frame(0x83, b"x")),
        ("rfc6455", "reserved-bits", frame(0xc1, b"x")),
        ("rfc6455", "utf8-invalid", frame(0x81, b"\xc3(")),
        ("rfc6455", "control-fragmented", frame(0x09, b"")),
        ("rfc6455", "close-code-invalid", frame(0x88, b"\x03\xed")),
        ("rfc6455", "close-body-short", frame(0x88, b"\x03")),
        ("hybi-08", "utf8-invalid", frame(0x81, b"\xc3(")),
        ("hybi-07", "reserved-opcode", frame(0x84, b"x")),
        ("hybi-06", "reserved-opcode", frame(0x88, b"\x03\xe8")),
        (
            "hybi-05",
            "reserved-bits",
            b"\x84\x85\x37\xfa\x21\x3d".to_vec(),
        ),
        ("hybi-04", "continuation-unexpected", frame(0x80, b"x")),
        // FIN is MORE there, and a close cannot go on.
        ("hybi-03", "control-fragmented", frame(0x81, b"")),
        (
            "hixie-76",
            "message-too-big",
            b"\x80\xff\xff\xff\xff\x7f".to_vec(),
        ),
        (
            "hixie-75",
            "message-too-big",
            b"\x80\xff\xff\xff\xff\x7f".to_vec(),
        ),
    ]
}

#[test]
fn a_frame_that_breaks_the_protocol_is_called_by_its_name() {
    for (version, code, octets) in violations() {
        for ends in [true, false] {
            let octets = octets.clone();
            let host = Host::after_opening(move |visit| {
                visit.say(&octets);
                if ends {
                    visit.end();
                } else {
                    visit.wait();
                }
            });
            // Whether there is more to say or not, and whether the server goes
            // or stays.
            for stdin in [NOTHING, Stdin::Stays(b"")] {
                let ended = connect(host.address, &["--as", version], stdin);
                ended.exits(1).says(&format!("{code}: ")).is_inert();
            }
            finds(host.address, version, "wrong", code).0.exits(1);
        }
    }
}

#[test]
fn a_violation_after_our_goodbye_is_called_by_its_name_too() {
    let host = Host::after_opening(|visit| {
        // The echo, and then an answer to our goodbye that is masked.
        visit.say(&frame(0x81, "heirloom probe: grüße".as_bytes()));
        thread::sleep(Duration::from_millis(200));
        visit.say(b"\x88\x82\x01\x02\x03\x04\x02\xea");
        visit.wait();
    });
    let ended = connect(host.address, &[], NOTHING);
    ended.exits(1).says("mask-unexpected: ");
    finds(host.address, "rfc6455", "wrong", "mask-unexpected")
        .0
        .exits(1);
}

#[test]
fn a_goodbye_with_a_code_is_a_good_end_and_shown() {
    let reason = format!("{EVIL}maintenance");
    let body = [&[0x0f, 0xa0], reason.as_bytes()].concat();
    for ends in [true, false] {
        let close = frame(0x88, &body);
        let host = Host::after_opening(move |visit| {
            visit.say(&close);
            if ends {
                visit.end();
            } else {
                // It should end TCP now, and does not.
                visit.wait();
            }
        });
        let ended = connect(host.address, &["-v"], Stdin::Stays(b""));
        ended.exits(0).is_inert();
        let last = ended.talk.lines().last().unwrap();
        assert!(last.starts_with("* closed 4000 "), "{last}");
        assert!(last.ends_with("maintenance"), "{last}");
        connect(host.address, &[], Stdin::Stays(b"")).exits(0);
        let (ended, said) = finds(host.address, "rfc6455", "good", "speaks");
        ended.exits(0);
        assert!(said.ends_with("and says goodbye at once"), "{said}");
    }
}

#[test]
fn a_goodbye_in_one_packet_with_the_handshake_is_a_goodbye() {
    let host = Host::new(|visit| {
        let mut octets = format!("{}\r\n\r\n", visit.right().join("\r\n")).into_bytes();
        octets.extend_from_slice(&frame(0x88, b"\x0f\xa0"));
        visit.say(&octets);
        visit.end();
    });
    let ended = connect(host.address, &["-v"], Stdin::Stays(b""));
    ended.exits(0);
    assert!(ended.talk.ends_with("* closed 4000\n"), "{}", ended.talk);
    let (_, said) = finds(host.address, "rfc6455", "good", "speaks");
    assert!(said.ends_with("and says goodbye at once"), "{said}");
}

#[test]
fn a_goodbye_counts_though_the_rest_is_reset() {
    let host = Host::after_opening(|visit| {
        visit.say(&frame(0x88, b"\x03\xe8"));
        // What we say after it reaches nobody.
        thread::sleep(Duration::from_millis(100));
        visit.reset();
    });
    connect(host.address, &[], Stdin::Stays(b"")).exits(0);
}

#[test]
fn an_end_without_goodbye_is_a_cut_where_there_are_goodbyes() {
    let host = Host::after_opening(Visit::end);
    for version in &VERSIONS {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        if version.name.starts_with("hixie") {
            // Browsers were seen to end so.
            ended.exits(0);
            assert_eq!(ended.talk, "");
        } else {
            ended.exits(1).says("connection-cut: ");
        }
        let (ended, reason) = finds(host.address, version.name, "silent", "ends");
        ended.exits(4);
        let begin = "the handshake is right, and then the server ended";
        assert!(reason.starts_with(begin), "{reason}");
    }
}

#[test]
fn an_end_inside_a_message_is_a_cut_in_every_version() {
    let host = Host::after_opening(|visit| {
        let half: &[u8] = match visit.header("Sec-WebSocket-Version") {
            None if visit.header("Sec-WebSocket-Draft").is_some() => b"\x04\x05he",
            None => b"\0he",
            Some("4" | "5" | "6") => b"\x84\x05he",
            Some(_) => b"\x81\x05he",
        };
        visit.say(half);
        visit.end();
    });
    for version in &VERSIONS {
        let ended = connect(host.address, &["--as", version.name], Stdin::Stays(b""));
        ended.exits(1).says("connection-cut: ");
        assert_eq!(ended.out(), "", "half a message is none");
    }
}

#[test]
fn a_reset_after_the_handshake_is_told() {
    let host = Host::after_opening(|visit| {
        thread::sleep(Duration::from_millis(100));
        visit.reset();
    });
    let ended = connect(host.address, &[], Stdin::Stays(b""));
    ended.exits(1).says("the connection broke: ");
    let (ended, reason) = finds(host.address, "rfc6455", "silent", "resets");
    ended.exits(4);
    assert!(reason.starts_with("the handshake is right, and then"));
}

#[test]
fn a_server_that_does_not_answer_our_goodbye_times_out() {
    let host = Host::after_opening(Visit::wait);
    for version in VERSIONS.iter().filter(|v| v.name != "hixie-75") {
        let ended = connect(host.address, &["--as", version.name], NOTHING);
        ended
            .exits(5)
            .says("the server did not answer our goodbye in time");
    }
}

#[test]
fn a_pong_that_does_not_come_is_missed() {
    let host = Host::after_opening(Visit::wait);
    let ended = connect(host.address, &["--ping"], NOTHING);
    ended.exits(5).says("the pong did not come in time");
}

#[test]
fn a_server_that_opens_and_stays_silent_speaks_all_the_same() {
    let host = Host::after_opening(Visit::wait);
    let url = format!("ws://{}/", host.address);
    let args = ["probe", &url, "--json", "--versions", "13,75"];
    let ended = heirloom(&args, NOTHING);
    assert_eq!(ended.code, Some(0), "{}", ended.out());
    for line in ended.out().lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        assert_eq!(finding["verdict"], "speaks", "{finding}");
        let reason = finding["reason"].as_str().unwrap();
        assert!(reason.ends_with("came within a second"), "{reason}");
    }
}

#[test]
fn what_a_server_says_is_shown_without_its_escape_sequences() {
    let host = Host::new(|visit| {
        let mut lines = visit.right();
        lines[0] = "HTTP/1.1 101 \u{9b}31mSwitching\u{202e}".to_owned();
        add(&mut lines, "X-Evil: \u{9b}2J\u{202e}\u{2028}x");
        visit.say_head(&lines);
        visit.say(&frame(0x89, EVIL.as_bytes()));
        visit.say(&frame(0x8a, EVIL.as_bytes()));
        visit.say(&frame(0x88, &[&[0x03, 0xe8], EVIL.as_bytes()].concat()));
        visit.end();
    });
    let ended = connect(host.address, &["-vvv"], Stdin::Stays(b""));
    ended.is_inert();
    assert!(ended.talk.contains("< X-Evil: "), "{}", ended.talk);
    let (ended, _) = probe(host.address, &["--versions", "13"]);
    ended.is_inert();
}

#[test]
fn messages_in_a_pipe_are_as_the_server_sent_them() {
    let host = Host::after_opening(|visit| {
        visit.say(&frame(0x81, EVIL.as_bytes()));
        visit.say(&frame(0x82, b"\0\xff\x1b[0m"));
        visit.say(&frame(0x88, b""));
        visit.end();
    });
    let ended = connect(host.address, &[], Stdin::Stays(b""));
    ended.exits(0);
    let want = [EVIL.as_bytes(), b"\n\0\xff\x1b[0m\n"].concat();
    assert_eq!(ended.out, want);
}

#[test]
fn a_message_over_the_limit_is_not_shown() {
    let host = Host::after_opening(|visit| {
        visit.say(&frame(0x81, b"ten octets"));
        visit.say(&frame(0x81, b"and eleven."));
        visit.wait();
    });
    let limit = ["--max-message-bytes", "10"];
    let ended = connect(host.address, &limit, Stdin::Stays(b""));
    ended.exits(1).says("message-too-big: ");
    assert_eq!(ended.out(), "ten octets\n");
}

// Our own server.

#[test]
fn every_version_echoes_lines() {
    let server = Program::serve(&["--versions", "all"]);
    let lines = format!(
        "first\n\ngr\u{fc}\u{df}e \u{1f600}\n{}\nlast",
        "x".repeat(70_000)
    );
    for version in &VERSIONS {
        let said = Stdin::Ends(lines.as_bytes());
        let ended = connect(server.address, &["--as", version.name], said);
        ended.exits(0);
        assert!(ended.out == format!("{lines}\n").as_bytes(), "{version}");
        assert_eq!(ended.talk, "", "{version}");
    }
}

#[test]
fn more_than_the_buffers_hold_is_echoed_whole() {
    let server = Program::serve(&["--versions", "all"]);
    let line = "0123456789abcdef".repeat(4096);
    let lines: String = (0..300).map(|n| format!("{n} {line}\n")).collect();
    for version in &VERSIONS {
        let said = Stdin::Ends(lines.as_bytes());
        let ended = connect(server.address, &["--as", version.name], said);
        ended.exits(0);
        let (got, want) = (ended.out.len(), lines.len());
        assert!(
            ended.out == lines.as_bytes(),
            "{version}: {got} of {want} octets"
        );
    }
}

#[test]
fn what_was_said_before_the_end_reaches_a_server_that_reads_slowly() {
    let (tell, heard) = channel();
    let host = Host::after_opening(move |visit| {
        let (mut octets, mut buffer) = (0, vec![0; 64 * 1024]);
        while let Ok(n @ 1..) = visit.reader.read(&mut buffer) {
            octets += n;
            thread::sleep(Duration::from_millis(1));
        }
        let _ = tell.send(octets);
    });
    // More than the buffers of both ends take.
    let line = [&vec![b'x'; 65_535][..], b"\n"].concat();
    let said = line.repeat(200);
    // The version without a goodbye, which ends its side of TCP.
    let args = ["--as", "hixie-75"];
    connect(host.address, &args, Stdin::Ends(&said)).exits(0);
    // Two octets around each text where the line had one behind.
    let octets = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(octets, said.len() + 200);
}

#[test]
fn a_line_may_end_in_cr_lf_and_every_alias_names_its_version() {
    let server = Program::serve(&["--versions", "all"]);
    for name in VERSIONS.iter().flat_map(|v| v.aliases) {
        let ended = connect(server.address, &["--as", name], Stdin::Ends(b"a\r\nb\r\n"));
        ended.exits(0);
        assert_eq!(ended.out(), "a\nb\n", "{name}");
    }
}

#[test]
fn binary_is_for_versions_that_have_it() {
    let server = Program::serve(&["--versions", "all"]);
    for version in &VERSIONS {
        let args = ["--as", version.name, "--binary"];
        let ended = connect(server.address, &args, Stdin::Ends(b"\xff\0\x80\n"));
        if version.has_binary() {
            ended.exits(0);
            assert_eq!(ended.out, b"\xff\0\x80\n", "{version}");
        } else {
            let sentence = format!("{version} has no binary messages; ");
            ended.exits(2).says(&sentence);
            assert_eq!(ended.out(), "");
        }
    }
}

#[test]
fn pings_are_for_versions_that_have_them() {
    let server = Program::serve(&["--versions", "all"]);
    for version in &VERSIONS {
        let args = ["--as", version.name, "--ping"];
        let ended = connect(server.address, &args, Stdin::Ends(b"x\n"));
        if version.has_ping() {
            ended.exits(0);
            assert_eq!(ended.out(), "x\n");
            assert!(ended.talk.starts_with("* pong after "), "{}", ended.talk);
            assert_eq!(ended.talk.lines().count(), 1, "{}", ended.talk);
        } else {
            ended.exits(2).says(&format!("{version} has no ping; "));
        }
    }
}

#[test]
fn a_line_that_is_no_text_is_wrong_usage() {
    let server = Program::serve(&[]);
    let ended = connect(server.address, &[], Stdin::Ends(b"\xff\n"));
    ended.exits(2).says("a line is not UTF-8; ");
}

#[test]
fn nobody_needs_to_read_what_connect_prints() {
    let server = Program::serve(&[]);
    let url = format!("ws://{}/", server.address);
    let mut child = Command::new(HEIRLOOM)
        .args(["connect", &url, "--close-timeout-ms", "500"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hello\n").unwrap();
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it does not end");
            }
        }
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_version_that_is_off_is_refused_with_the_option_that_turns_it_on() {
    let server = Program::serve(&[]);
    for version in VERSIONS.iter().filter(|v| !v.default_on) {
        let ended = connect(server.address, &["--as", version.name], Stdin::Ends(b"x\n"));
        ended
            .exits(4)
            .says("refused: the server refused with HTTP status 426; it says: version-off: ");
        let option = format!("`--versions +{version}` turns it on");
        assert!(ended.talk.contains(&option), "{}", ended.talk);
        assert_eq!(ended.out(), "");
    }
}

/// The request that a client of this version sends with these options.
fn request(version: &str, args: &[&str]) -> Vec<String> {
    let (tell, requests) = channel();
    let host = Host::new(move |visit| {
        let _ = tell.send(visit.lines.clone());
        visit.end();
    });
    connect(
        host.address,
        &[&["--as", version][..], args].concat(),
        NOTHING,
    )
    .exits(4);
    let lines = requests.recv_timeout(PATIENCE).unwrap();
    let host_line = format!("Host: {}", host.address);
    assert!(lines.contains(&host_line), "{lines:?}");
    lines
}

#[test]
fn subprotocols_origin_and_headers_arrive() {
    let args = [
        "--subprotocol",
        "superchat",
        "--subprotocol",
        "chat",
        "--origin",
        "http://page.example",
        "--header",
        "Cookie: a=b; c=d",
        "--header",
        "X-More:  spaced  ",
    ];
    for version in &VERSIONS {
        let lines = request(version.name, &args);
        let has = |line: &str| {
            let times = lines.iter().filter(|l| *l == line).count();
            assert_eq!(times, 1, "{version}: {line} in {lines:?}");
        };
        assert_eq!(lines[0], "GET / HTTP/1.1");
        has("Cookie: a=b; c=d");
        has("X-More: spaced");
        has(&format!("{}: http://page.example", version.origin[0]));
        match version.name {
            "hixie-75" => has("WebSocket-Protocol: superchat chat"),
            "hixie-76" | "hybi-03" => has("Sec-WebSocket-Protocol: superchat chat"),
            _ => has("Sec-WebSocket-Protocol: superchat, chat"),
        }
        if let Some(number) = version.number {
            has(&format!("Sec-WebSocket-Version: {number}"));
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_sent() {
    for version in &VERSIONS {
        let lines = request(version.name, &[]);
        for name in ["WebSocket-Protocol", "Sec-WebSocket-Protocol", "Cookie"] {
            let there = lines.iter().any(|l| l.starts_with(&format!("{name}:")));
            assert!(!there, "{version}: {lines:?}");
        }
        let origin = lines.iter().any(|l| l.contains("rigin: "));
        let needed = version.number.is_none() || matches!(version.number, Some(4 | 5));
        assert_eq!(origin, needed, "{version}: {lines:?}");
    }
}

#[test]
fn a_subprotocol_that_is_spoken_is_agreed_in_every_version() {
    let server = Program::serve(&["--versions", "all", "--subprotocol", "chat"]);
    for version in &VERSIONS {
        let args = ["--as", version.name, "--subprotocol", "chat", "-v"];
        let ended = connect(server.address, &args, Stdin::Ends(b"x\n"));
        ended.exits(0);
        assert_eq!(ended.out(), "x\n", "{version}");
        let agreed = ended.talk.lines().any(|l| l == "* subprotocol chat");
        assert!(agreed, "{version}: {}", ended.talk);
    }
}

#[test]
fn verbose_shows_both_heads_and_each_frame() {
    let server = Program::serve(&["--versions", "all"]);
    for version in &VERSIONS {
        let args = ["--as", version.name, "-v"];
        let ended = connect(server.address, &args, Stdin::Ends(b"Hello\n"));
        ended.exits(0).is_inert();
        assert_eq!(ended.out(), "Hello\n", "{version}");
        let lines: Vec<&str> = ended.talk.lines().collect();
        assert_eq!(lines[0], "> GET / HTTP/1.1", "{version}");
        let at = |what: &str| {
            let place = lines.iter().position(|line| line.starts_with(what));
            place.unwrap_or_else(|| panic!("{version}: no {what} in {lines:?}"))
        };
        let echo = match version.name {
            "hixie-75" | "hixie-76" => "* < frame: type 00, end of text",
            "hybi-03" => "* < frame: more 0, opcode 4, 5 octets",
            "hybi-04" | "hybi-05" | "hybi-06" => "* < frame: fin 1, opcode 4, 5 octets",
            _ => "* < frame: fin 1, opcode 1, 5 octets",
        };
        let order = [
            at(">"),
            at("< HTTP/1.1 101 "),
            at(&format!("* open, {version}")),
            at("* > text 5 octets"),
            at(echo),
            at("* closed"),
        ];
        assert!(order.is_sorted(), "{version}: {order:?} in {lines:?}");
        let closed = match version.name {
            // The letter of the one who answers.
            "hybi-05" => "* closed S",
            _ if version.has_close_codes() => "* closed 1000",
            _ => "* closed",
        };
        assert_eq!(*lines.last().unwrap(), closed, "{version}");
    }
}

#[test]
fn probe_says_that_our_server_speaks_all() {
    let server = Program::serve(&["--versions", "all"]);
    let url = format!("ws://{}/", server.address);
    let ended = heirloom(&["probe", &url], NOTHING);
    ended.exits(0).is_inert();
    assert_eq!(ended.talk, "");
    let names: Vec<&str> = ended
        .out()
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    let want = [
        "hixie-75",
        "hixie-76 (with the head)",
        "hixie-76 (150 ms later)",
        "hixie-76 (after the 101)",
        "hybi-03",
        "hybi-04",
        "hybi-05",
        "hybi-06",
        "hybi-07",
        "hybi-08",
        "rfc6455",
    ];
    let named = names.iter().zip(want).all(|(n, w)| n.starts_with(w));
    assert!(named && names.len() == want.len(), "{names:?}");
    for line in ended.out().lines() {
        assert!(line.contains(" speaks "), "{line}");
        let heard = line.ends_with("; it echoes") || line.ends_with("; it answers a ping");
        assert!(heard, "{line}");
    }
    let (ended, findings) = probe(server.address, &[]);
    ended.exits(0);
    assert_eq!(findings.len(), 11);
    for finding in findings {
        assert_eq!(finding["verdict"], "speaks", "{finding}");
        assert_eq!(finding["severity"], "good", "{finding}");
        assert_eq!(finding["status"], 101, "{finding}");
    }
}

#[test]
fn probe_says_which_are_off_and_how_to_turn_them_on() {
    let server = Program::serve(&[]);
    let (ended, findings) = probe(server.address, &[]);
    ended.exits(0);
    assert_eq!(findings.len(), 11);
    for finding in &findings {
        let version = named(finding["version"].as_str().unwrap());
        if version.default_on {
            assert_eq!(finding["verdict"], "speaks", "{finding}");
        } else {
            assert_eq!(finding["verdict"], "refused", "{finding}");
            assert_eq!(finding["status"], 426, "{finding}");
            assert_eq!(finding["lists"], "13, 8, 7", "{finding}");
            let option = format!("--versions +{version}");
            let reason = finding["reason"].as_str().unwrap();
            assert!(reason.contains(&option), "{finding}");
        }
    }
    let (ended, again) = probe(server.address, &["--fail-on", "refused"]);
    ended.exits(1);
    assert_eq!(again.len(), findings.len());
    let on = ["--versions", "default", "--fail-on", "refused"];
    probe(server.address, &on).0.exits(0);
    let off = ["--versions", "75,4"];
    probe(server.address, &off).0.exits(4);
}

#[test]
fn the_floor_of_severity_decides_the_exit_code() {
    let silent = Host::new(Visit::end);
    for (floor, code) in [("wrong", 4), ("silent", 1), ("refused", 1), ("good", 1)] {
        let args = ["--versions", "13", "--fail-on", floor];
        probe(silent.address, &args).0.exits(code);
    }
    let server = Program::serve(&[]);
    let args = ["--versions", "13", "--fail-on", "good"];
    probe(server.address, &args).0.exits(1);
}

#[test]
fn probe_asks_with_what_it_is_told() {
    let server = Program::serve(&["--subprotocol", "chat", "--origin", "http://page.example"]);
    let args = [
        "--versions",
        "default",
        "--subprotocol",
        "chat",
        "--origin",
        "http://page.example",
    ];
    let (ended, findings) = probe(server.address, &args);
    ended.exits(0);
    for finding in findings {
        assert_eq!(finding["verdict"], "speaks", "{finding}");
        let reason = finding["reason"].as_str().unwrap();
        assert!(reason.contains(", subprotocol chat; "), "{finding}");
    }
    let (ended, findings) = probe(server.address, &["--versions", "13"]);
    ended.exits(4);
    assert_eq!(findings[0]["status"], 403);
}

#[test]
fn junit_counts_what_is_as_bad_as_the_floor() {
    let server = Program::serve(&[]);
    let folder = std::env::temp_dir().join(format!("heirloom-junit-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for (floor, failures) in [("wrong", 0), ("refused", 5)] {
        let path = folder.join(format!("{floor}.xml"));
        let junit = ["--junit", path.to_str().unwrap(), "--fail-on", floor];
        let (ended, _) = probe(server.address, &junit);
        ended.exits(i32::from(failures > 0));
        let xml = fs::read_to_string(&path).unwrap();
        let tags = tags(&xml);
        let count = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
        assert_eq!(count("testsuite"), 1);
        assert_eq!(count("testcase"), 11);
        assert_eq!(count("failure"), failures);
        for name in ["testsuites", "testsuite"] {
            let tag = tags.iter().find(|tag| tag.name == name).unwrap();
            assert_eq!(tag.attribute("tests"), Some("11"), "{xml}");
            let said = failures.to_string();
            assert_eq!(tag.attribute("failures"), Some(&*said), "{xml}");
            assert_eq!(tag.attribute("errors"), Some("0"), "{xml}");
        }
        for tag in tags.iter().filter(|tag| tag.name == "failure") {
            assert_eq!(tag.attribute("type"), Some("refused"));
            assert!(tag.attribute("message").unwrap().contains("--versions +"));
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn junit_of_hostile_words_is_well_formed() {
    let body = format!("<&>\"']]>{EVIL}\0\u{fffe}\n");
    let (head, body) = refusal("400 Bad", "", &body);
    let host = Host::saying([head, body].concat());
    let name = format!("heirloom-hostile-{}.xml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let junit = ["--junit", path.to_str().unwrap(), "--fail-on", "refused"];
    probe(host.address, &junit).0.exits(1);
    let xml = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(
        tags(&xml).iter().filter(|t| t.name == "failure").count(),
        11
    );
    let shown = |c: char| c == '\n' || (' '..='~').contains(&c) || c == '\u{fffd}';
    assert!(xml.chars().all(shown), "{xml:?}");
}

#[test]
fn junit_that_cannot_be_written_is_wrong_usage() {
    let server = Program::serve(&[]);
    let junit = ["--versions", "13", "--junit", "/nowhere/at/all.xml"];
    let (ended, findings) = probe(server.address, &junit);
    ended.exits(2).says("cannot write /nowhere/at/all.xml: ");
    assert_eq!(findings.len(), 1);
}

/// An element of XML.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<&str> {
        let mut all = self.attributes.iter();
        all.find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The elements of a document, which must be well formed.
fn tags(xml: &str) -> Vec<Tag> {
    let (mut tags, mut open, mut rest) = (Vec::new(), Vec::new(), xml);
    while let Some((text, after)) = rest.split_once('<') {
        is_text(text);
        // Quoted values may hold what ends a tag.
        let mut quote = None;
        let end = after
            .find(|c| {
                match quote {
                    Some(q) if c == q => quote = None,
                    None if c == '"' || c == '\'' => quote = Some(c),
                    _ => {}
                }
                quote.is_none() && c == '>'
            })
            .unwrap_or_else(|| panic!("a tag does not end: {after}"));
        let (tag, after) = (&after[..end], &after[end + 1..]);
        rest = after;
        if tag.starts_with('?') {
            assert!(tag.ends_with('?') && tags.is_empty(), "<{tag}>");
        } else if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{xml}");
        } else {
            let (inside, empty) = match tag.strip_suffix('/') {
                Some(inside) => (inside, true),
                None => (tag, false),
            };
            let (name, mut values) = inside.split_once(' ').unwrap_or((inside, ""));
            let mut attributes = Vec::new();
            while let Some((name, value)) = values.split_once("=\"") {
                let (value, after) = value.split_once('"').unwrap();
                is_text(value);
                attributes.push((name.trim().to_owned(), value.to_owned()));
                values = after;
            }
            assert_eq!(values.trim(), "", "<{tag}>");
            if !empty {
                open.push(name.to_owned());
            }
            let name = name.to_owned();
            tags.push(Tag { name, attributes });
        }
    }
    is_text(rest);
    assert!(open.is_empty(), "{open:?} do not end: {xml}");
    tags
}

/// No mark stands bare.
fn is_text(text: &str) {
    assert!(!text.contains(['<', '>']), "{text}");
    for after in text.split('&').skip(1) {
        let name = after.split(';').next().unwrap();
        let known = ["lt", "gt", "amp", "quot", "apos"].contains(&name);
        assert!(known || name.starts_with('#'), "&{name};");
    }
}

// Wrong usage.

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 16] = [
        (&["connect"], "URL"),
        (&["connect", "http://h/"], "a URL begins with ws://"),
        (&["connect", "h:80"], "a URL begins with ws://"),
        (&["connect", "wss://h/"], "wss is not spoken"),
        (&["connect", "ws://u@h/"], "no user"),
        (&["connect", "ws://h/", "--as", "hybi-09"], "hybi-08"),
        (
            &["connect", "ws://h/", "--header", "no colon"],
            "Name: value",
        ),
        (&["connect", "ws://h/", "--header", "a b: c"], "letters"),
        (
            &["connect", "ws://h/", "--header", "a: b\r\nc: d"],
            "--header",
        ),
        (&["connect", "ws://h/", "--origin", "\u{e9}"], "--origin"),
        (
            &["connect", "ws://h/", "--subprotocol", ""],
            "--subprotocol",
        ),
        (&["probe"], "URL"),
        (&["probe", "ws://h:99999/"], "port"),
        (&["probe", "ws://h/", "--versions", "hybi-09"], "hybi-09"),
        (&["probe", "ws://h/", "--timeout-ms", "0"], "--timeout-ms"),
        (&["probe", "ws://h/", "--fail-on", "bad"], "refused"),
    ];
    for (args, word) in cases {
        let ended = heirloom(args, NOTHING);
        ended.exits(2);
        assert_eq!(ended.out(), "", "{args:?}");
        assert!(ended.talk.contains(word), "{args:?}: {}", ended.talk);
    }
}

#[test]
fn a_request_that_no_server_takes_is_not_sent_and_told_why() {
    let host = Host::new(Visit::end);
    for (args, why) in [
        (
            ["--header", "Host: other"],
            "the header Host is there twice",
        ),
        (
            ["--header", "Content-Length: 5"],
            "announces one by Content-Length",
        ),
        (["--max-head-bytes", "64"], "longer than 64 octets"),
    ] {
        let ended = connect(host.address, &args, NOTHING);
        ended.exits(2).says("cannot ask: ");
        assert!(ended.talk.contains(why), "{args:?}: {}", ended.talk);
    }
}

#[test]
fn to_probe_for_no_version_is_wrong_usage() {
    let host = Host::new(Visit::end);
    let (ended, findings) = probe(host.address, &["--versions=-all"]);
    assert!(findings.is_empty());
    ended.exits(2);
    assert!(ended.talk.contains("--versions"), "{}", ended.talk);
}
