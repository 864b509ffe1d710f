//! `connect` and our own server.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use heirloom::VERSIONS;

use crate::host::Host;
use crate::program::{NOTHING, Stdin, connect};
use crate::support::PATIENCE;
use crate::support::program::{HEIRLOOM, Program};

#[test]
fn every_version_echoes_lines() {
    let server = Program::serve(&["--versions", "all"]);
    let lines = format!(
        "first\n\ngr\u{fc}\u{df}e \u{1f600}\n{}\nlast",
        "x".repeat(70_000)
    );
    for version in VERSIONS {
        let input = Stdin::Ends(lines.as_bytes());
        let ended = connect(server.address, &["--as", version.name], input);
        ended.exits(0);
        assert!(ended.out == format!("{lines}\n").as_bytes(), "{version}");
        assert_eq!(ended.stderr, "", "{version}");
    }
}

#[test]
fn more_than_the_buffers_hold_is_echoed_whole() {
    let server = Program::serve(&["--versions", "all"]);
    let line = "0123456789abcdef".repeat(4096);
    let lines: String = (0..300).map(|n| format!("{n} {line}\n")).collect();
    for version in VERSIONS {
        let input = Stdin::Ends(lines.as_bytes());
        let ended = connect(server.address, &["--as", version.name], input);
        ended.exits(0);
        let (got, want) = (ended.out.len(), lines.len());
        assert!(
            ended.out == lines.as_bytes(),
            "{version}: {got} of {want} octets"
        );
    }
}

#[test]
fn all_lines_reach_a_server_that_reads_slowly() {
    let (send, received) = channel();
    let host = Host::after_opening(move |conn| {
        let (mut octets, mut buffer) = (0, vec![0; 64 * 1024]);
        while let Ok(n @ 1..) = conn.reader.read(&mut buffer) {
            octets += n;
            thread::sleep(Duration::from_millis(1));
        }
        let _ = send.send(octets);
    });
    // More than the buffers of both ends take.
    let line = [&vec![b'x'; 65_535][..], b"\n"].concat();
    let input = line.repeat(200);
    // The version without a close, which ends its side of TCP.
    let args = ["--as", "hixie-75"];
    connect(host.address, &args, Stdin::Ends(&input)).exits(0);
    // Each text has two octets around it where the line had one behind it.
    let octets = received.recv_timeout(PATIENCE).unwrap();
    assert_eq!(octets, input.len() + 200);
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
    for version in VERSIONS {
        let args = ["--as", version.name, "--binary"];
        let ended = connect(server.address, &args, Stdin::Ends(b"\xff\0\x80\n"));
        if version.has_binary() {
            ended.exits(0);
            assert_eq!(ended.out, b"\xff\0\x80\n", "{version}");
        } else {
            let sentence = format!("{version} has no binary messages; ");
            ended.exits(2).complains(&sentence);
            assert_eq!(ended.out(), "");
        }
    }
}

#[test]
fn pings_are_for_versions_that_have_them() {
    let server = Program::serve(&["--versions", "all"]);
    for version in VERSIONS {
        let args = ["--as", version.name, "--ping"];
        let ended = connect(server.address, &args, Stdin::Ends(b"x\n"));
        if version.has_ping() {
            ended.exits(0);
            assert_eq!(ended.out(), "x\n");
            assert!(
                ended.stderr.starts_with("* pong after "),
                "{}",
                ended.stderr
            );
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        } else {
            ended
                .exits(2)
                .complains(&format!("{version} has no ping; "));
        }
    }
}

#[test]
fn a_line_that_is_no_text_is_wrong_usage() {
    let server = Program::serve(&[]);
    let ended = connect(server.address, &[], Stdin::Ends(b"\xff\n"));
    ended.exits(2).complains("a line is not UTF-8; ");
}

#[test]
fn connect_ends_well_when_its_output_is_a_closed_pipe() {
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
        if let Some(twin) = version.twin() {
            ended
                .exits(5)
                .complains("the server did not answer our close in time");
            let cause = format!("it may have answered as {twin}");
            assert!(ended.stderr.contains(&cause), "{}", ended.stderr);
            continue;
        }
        ended
            .exits(4)
            .complains("refused: the server refused with HTTP status 426; it says: version-off: ");
        let option = format!("`--versions +{version}` turns it on");
        assert!(ended.stderr.contains(&option), "{}", ended.stderr);
        assert_eq!(ended.out(), "");
    }
}

/// The request that a client of this version sends with these options.
fn request(version: &str, args: &[&str]) -> Vec<String> {
    let (tell, requests) = channel();
    let host = Host::new(move |conn| {
        let _ = tell.send(conn.lines.clone());
        conn.end();
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
    for version in VERSIONS {
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
    for version in VERSIONS {
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
    for version in VERSIONS {
        let args = ["--as", version.name, "--subprotocol", "chat", "-v"];
        let ended = connect(server.address, &args, Stdin::Ends(b"x\n"));
        ended.exits(0);
        assert_eq!(ended.out(), "x\n", "{version}");
        let agreed = ended.stderr.lines().any(|l| l == "* subprotocol chat");
        assert!(agreed, "{version}: {}", ended.stderr);
    }
}

#[test]
fn verbose_shows_both_heads_and_each_frame() {
    let server = Program::serve(&["--versions", "all"]);
    for version in VERSIONS {
        let args = ["--as", version.name, "-v"];
        let ended = connect(server.address, &args, Stdin::Ends(b"Hello\n"));
        ended.exits(0).is_escaped();
        assert_eq!(ended.out(), "Hello\n", "{version}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
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
            // The letter of the side that answers.
            "hybi-05" => "* closed S",
            _ if version.has_close_codes() => "* closed 1000",
            _ => "* closed",
        };
        assert_eq!(*lines.last().unwrap(), closed, "{version}");
    }
}

#[test]
fn a_message_of_one_octet_is_told_in_the_singular() {
    let server = Program::serve(&[]);
    let ended = connect(server.address, &["-v"], Stdin::Ends(b"x\n"));
    ended.exits(0);
    for told in ["* > text 1 octet\n", "fin 1, opcode 1, 1 octet\n"] {
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}
