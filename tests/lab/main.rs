//! The lab page of `heirloom serve` and its live view, from the built program
//! and real sockets.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod connection;
mod explained;
mod live;
mod page;
mod script;
mod stats;
mod token;
mod vector;

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::PATIENCE;
use support::peer::{Head, KEY3, Peer, Speaks, request};
use support::program::{Ended, HEIRLOOM, Program};

const HIXIE_75: Speaks = Speaks::Hixie75;
const HIXIE_76: Speaks = Speaks::Hixie76;

/// One of each way to prove a handshake, by name.
const EACH: [(Speaks, &str); 4] = [
    (HIXIE_75, "hixie-75"),
    (HIXIE_76, "hixie-76"),
    (Speaks::Number(8), "hybi-08"),
    (Speaks::Number(13), "rfc6455"),
];

/// A page that was loaded.
struct Page {
    address: SocketAddr,
    token: String,
    head: Head,
    body: String,
}

impl Page {
    fn load(program: &Program) -> Page {
        Page::load_as(program, "plain")
    }

    /// Loaded by a browser of this name.
    fn load_as(program: &Program, agent: &str) -> Page {
        let (head, body) = ask(program.address, "GET", "/", agent);
        assert_eq!(head.status(), 200, "{body}");
        let token = body.split("var token = '").nth(1).unwrap();
        let token = token.split('\'').next().unwrap().to_owned();
        assert!(is_secret(&token), "{token:?}");
        Page {
            address: program.address,
            token,
            head,
            body,
        }
    }

    /// Where its own connection goes.
    fn path(&self) -> String {
        format!("/lab/{}", self.token)
    }

    fn request(&self, speaks: Speaks) -> Vec<u8> {
        request(speaks, &self.path())
    }

    fn open(&self, speaks: Speaks) -> Peer {
        Peer::open(self.address, speaks, &self.path())
    }

    fn ask(&self, what: &str) -> (Head, String) {
        ask(
            self.address,
            "GET",
            &format!("{}/{what}", self.path()),
            "plain",
        )
    }

    fn json(&self, what: &str) -> Value {
        let (head, body) = self.ask(what);
        assert_eq!(head.status(), 200, "{body}");
        assert_eq!(head.header("Content-Type"), Some("application/json"));
        assert_eq!(head.header("Cache-Control"), Some("no-store"));
        serde_json::from_str(&body).unwrap()
    }

    fn connection(&self) -> Value {
        self.json("connection")
    }

    /// Waits until the server knows that the connection is gone.
    fn await_closed(&self) -> Value {
        within("it is closed", || {
            Some(self.connection()).filter(|c| c["open"] == false)
        })
    }
}

/// Sixteen octets in hex.
fn is_secret(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|o| o.is_ascii_hexdigit())
}

/// Plain HTTP by hand.
fn ask(address: SocketAddr, method: &str, path: &str, agent: &str) -> (Head, String) {
    let mut peer = Peer::connect(address);
    peer.send(plain(method, path, agent).as_bytes());
    peer.response()
}

fn plain(method: &str, path: &str, agent: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\n\r\n")
}

/// A request of this version with more headers.
fn request_with(speaks: Speaks, path: &str, more: &str) -> Vec<u8> {
    let whole = request(speaks, path);
    let at = whole.windows(11).position(|w| w == b"Connection:");
    let (before, behind) = whole.split_at(at.unwrap());
    [before, more.as_bytes(), behind].concat()
}

/// A request of hixie-76 without its eight octets.
fn head_of_76(path: &str) -> Vec<u8> {
    let mut whole = request(HIXIE_76, path);
    whole.truncate(whole.len() - KEY3.len());
    whole
}

/// Asks again until there is an answer.
fn within<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// `heirloom serve` with options in front of and behind its name.
fn serve(before: &[&str], behind: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command
        .args(before)
        .args(["serve", "--listen", "127.0.0.1:0"]);
    Program::start(command.args(behind))
}

/// Stops it; all that it said after the first line.
fn stop(mut program: Program) -> Ended {
    let mut lines = program.take_lines();
    // From now on they are read, however many there are.
    let first = lines.line_within(Duration::ZERO);
    program.signal("TERM");
    let (status, mut ended) = program.wait();
    let rest = std::iter::from_fn(|| lines.line_within(PATIENCE));
    for line in first.into_iter().chain(rest) {
        ended.out.push_str(&line);
        ended.out.push('\n');
    }
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
    ended
}

fn hex(octets: &[u8]) -> String {
    let octets: Vec<String> = octets.iter().map(|o| format!("{o:02x}")).collect();
    octets.join(" ")
}

/// Whether a character does something to a terminal or to the direction of
/// writing.
fn is_alive(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_inert(text: &str) {
    let alive: Vec<char> = text.chars().filter(|c| is_alive(*c)).collect();
    assert!(alive.is_empty(), "{alive:?}");
}

/// Values of headers that should not work: those that a head may hold, and
/// those for which it is refused.
fn hostile_values() -> Vec<Vec<u8>> {
    let long = "<i>\"'&".repeat(2600);
    let mut values: Vec<Vec<u8>> = [
        "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b onmouseover='x'>&lt;",
        "</script></style></title></code><!-- <![CDATA[ ]]>",
        "{token}{nonce}{agent}{speaks}{versions}",
        "\u{202e}gpj\u{2066}\u{200b}\u{2028}\u{feff}",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "\u{9b}31m\u{85}",
        "a\u{8}\u{7f}\u{0}b",
        &long[..15_000],
    ]
    .iter()
    .map(|value| value.as_bytes().to_vec())
    .collect();
    values.push(b"\x9b31m\xff\xfe".to_vec());
    values
}
