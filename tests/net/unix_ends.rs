//! Unix sockets behind us: URLs and addresses of them, and what a backend and an
//! access line say of a client that has no address.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use heirloom::client::Connector;

use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC, Speaks};
use crate::support::program::{HEIRLOOM, Program, run};
use crate::unix::{at, serve, stop};

/// A gateway at one socket, in front of another.
fn gateway(front: &Path, back: &Path, args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["gateway", "--listen", &at(front)]);
    command.args(["--to", &format!("ws+{}:/", at(back)), "--versions", "all"]);
    Program::start(command.args(args))
}

#[test]
fn a_gateway_has_unix_sockets_at_both_ends_and_says_so() {
    let folder = Folder::new();
    let [front, back] = ["front", "back"].map(|name| folder.path(name));
    let server = serve(&back, &[]);
    let program = gateway(&front, &back, &[]);
    for speaks in [Speaks::Hixie75, Speaks::Hixie76, RFC] {
        let mut peer = Peer::connect_unix(&front);
        peer.upgrade(speaks, "/room");
        peer.echo("through two sockets");
        peer.echo(&"x".repeat(1 << 20));
        peer.close();
    }
    let lines = stop(program);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    for line in lines.lines() {
        assert!(line.contains(" client=unix: "), "{line}");
        let backend = format!(" backend={} ", at(&back));
        assert!(line.contains(&backend), "{line}");
    }
    stop(server);
}

#[test]
fn a_backend_is_told_that_the_client_has_no_address() {
    let folder = Folder::new();
    let [front, back] = ["front", "back"].map(|name| folder.path(name));
    let backend = UnixListener::bind(&back).unwrap();
    for (args, introduction) in [
        (&["--send-proxy"][..], &b"PROXY UNKNOWN\r\n"[..]),
        (&["--send-proxy=v2"], b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"),
        (&["--send-proxy", "v2"], b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"),
    ] {
        let program = gateway(&front, &back, args);
        let mut client = Peer::connect_unix(&front);
        client.send(&crate::support::peer::request(RFC, "/"));
        let (stream, _) = backend.accept().unwrap();
        let mut served = Peer::over_unix(stream);
        assert_eq!(served.exactly(introduction.len()), introduction);
        let head = served.head();
        assert_eq!(head.header("Host"), Some("localhost"));
        assert_eq!(head.header("X-Forwarded-For"), Some("unix:"));
        let element = "for=unknown;host=\"example.com\";proto=http";
        assert_eq!(head.header("Forwarded"), Some(element));
        drop((served, client));
        stop(program);
    }
}

#[test]
fn a_proxy_at_a_unix_socket_is_believed_where_the_word_is_given() {
    let folder = Folder::new();
    let [front, back] = ["front", "back"].map(|name| folder.path(name));
    let server = serve(&back, &[]);
    let program = gateway(&front, &back, &["--accept-proxy", "unix"]);
    for header in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
        "PROXY UNKNOWN\r\n",
    ] {
        let mut peer = Peer::connect_unix(&front);
        peer.send(header.as_bytes());
        peer.upgrade(RFC, "/");
        peer.echo("behind a proxy");
        peer.close();
    }
    let lines = stop(program);
    assert!(lines.contains(" client=192.0.2.1:1000 "), "{lines}");
    assert!(lines.contains(" client=unix: "), "{lines}");

    let program = gateway(&front, &back, &["--accept-forwarded", "unix"]);
    let mut peer = Peer::connect_unix(&front);
    let request = crate::support::peer::request(RFC, "/");
    let request = String::from_utf8(request).unwrap();
    let named = "\r\nX-Forwarded-For: 192.0.2.1\r\nHost:";
    peer.send(request.replacen("\r\nHost:", named, 1).as_bytes());
    peer.agree(RFC);
    peer.close();
    let lines = stop(program);
    assert!(lines.contains(" client=192.0.2.1 "), "{lines}");

    let program = gateway(&front, &back, &["--accept-proxy", "127.0.0.0/8"]);
    let mut peer = Peer::connect_unix(&front);
    peer.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n");
    let (head, body) = peer.response();
    assert_eq!(head.status(), 400, "{body}");
    stop(program);
    stop(server);
}

#[test]
fn connect_probe_record_and_replay_reach_a_server_by_the_url_it_announces() {
    let folder = Folder::new();
    let path = folder.path("a:b %");
    let server = serve(&path, &[]);
    let url = server.line.trim().strip_prefix("listening on ").unwrap();
    assert!(url.ends_with("/a%3Ab%20%25:/"), "{url}");
    let mut connect = Command::new(HEIRLOOM)
        .args(["connect", url, "--as", "hixie-76"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    connect.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = connect.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"hello\n");
    let probed = run(&["probe", url, "--versions", "rfc6455"]);
    assert_eq!(probed.code, Some(0), "{probed:?}");

    let out = folder.path("vectors");
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "record",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &at(&path),
        "--out",
    ]);
    let recorder = Program::start(command.arg(&out));
    let mut peer = Peer::open(recorder.address, RFC, "/");
    peer.echo("recorded");
    peer.close();
    drop(peer);
    stop(recorder);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    let replayed = run(&["replay", out.to_str().unwrap(), "--against", url]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");

    let mut socket = Connector::new()
        .with_timeout(Duration::from_secs(5))
        .connect(url)
        .unwrap();
    socket.send("by the library").unwrap();
    assert_eq!(socket.read().unwrap().as_text(), Some("by the library"));
    stop(server);
}

#[test]
fn why_there_is_no_connection_is_named() {
    let folder = Folder::new();
    let [none, dead, file] = ["none", "dead", "file"].map(|name| folder.path(name));
    drop(UnixListener::bind(&dead).unwrap());
    fs::write(&file, "").unwrap();
    for (path, why) in [
        (&none, "there is no such file"),
        (
            &dead,
            "connection refused: no server listens at the socket any more",
        ),
        (&file, "connection refused: the file is no socket"),
    ] {
        let ended = run(&["connect", &format!("ws+{}", at(path))]);
        assert_eq!(ended.code, Some(3), "{}", ended.talk);
        let whole = format!("cannot connect to {}: {why}", at(path));
        assert!(ended.talk.contains(&whole), "{}", ended.talk);
    }
    // Behind a gateway, the client is told.
    let front = folder.path("front");
    let program = gateway(&front, &none, &[]);
    let mut peer = Peer::connect_unix(&front);
    peer.send(&crate::support::peer::request(RFC, "/"));
    let (head, body) = peer.response();
    assert_eq!(head.status(), 502, "{body}");
    program.await_talk(" cannot be reached: there is no such file");
    stop(program);
}

#[test]
fn a_backend_whose_queue_is_full_is_tried_until_there_is_room() {
    let folder = Folder::new();
    let [front, back] = ["front", "back"].map(|name| folder.path(name));
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&back).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let backend = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let program = gateway(&front, &back, &[]);
    // One waits in the queue, the others for it.
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Peer::connect_unix(&front);
            client.send(&crate::support::peer::request(RFC, "/"));
            client
        })
        .collect();
    let served = thread::spawn(move || {
        let accept = |_| Peer::over_unix(backend.accept().unwrap().0);
        let served: Vec<Peer> = (0..3).map(accept).collect();
        for mut peer in served {
            peer.head();
        }
    });
    served.join().unwrap();
    drop(clients);
    stop(program);
}
