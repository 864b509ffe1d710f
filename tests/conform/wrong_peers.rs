//! The wrong peers of `--test conform`, for Autobahn|Testsuite to play its cases to.
//! What it says of them is kept in `original.json`.
//!
//! - `cargo bench --bench wrong_peers -- serve` serves each fault on a port of its own,
//!   and prints port and fault, for `wstest -m fuzzingclient`. It ends when it is killed.
//! - `cargo bench --bench wrong_peers -- walk PORT` walks the cases of
//!   `wstest -m fuzzingserver` at this port, as a client of each fault.

// It takes a part of what the tests have.
#![allow(dead_code, unused_imports, unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod faulty;
mod mutation;
mod played;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use faulty::{Fault, Peer};
use mutation::{faults, name};
use played::for_each;

/// The first port of those at which faults are served.
const PORT: u16 = 19_000;

fn main() -> ExitCode {
    // Cargo adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match (&*args, args.get(1).and_then(|port| port.parse().ok())) {
        (["serve"], _) => serve(),
        (["walk", _], Some(port)) => walk(port),
        _ => {
            eprintln!("serve, or walk PORT; the first lines of this file say more");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn serve() {
    let mut servers = Vec::new();
    for (port, fault) in (PORT..).zip(faults()) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        println!("{port} {}", name(fault));
        servers.push(thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || Peer::serve(stream.unwrap(), fault));
            }
        }));
    }
    for server in servers {
        server.join().unwrap();
    }
}

fn walk(port: u16) {
    let (mut counter, _) =
        tungstenite::connect(format!("ws://127.0.0.1:{port}/getCaseCount")).unwrap();
    let count: usize = counter.read().unwrap().to_text().unwrap().parse().unwrap();
    let connect = |target: &str, fault| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // How it ends is judged there.
        let _ = Peer::connect_to(stream, target, fault);
    };
    for_each(&faults(), 12, |fault| {
        for n in 1..=count {
            connect(&format!("/runCase?case={n}&agent={}", name(*fault)), *fault);
        }
    });
    connect("/updateReports?agent=None", Fault::None);
}
