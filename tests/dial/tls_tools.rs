//! `replay --against wss://` and `record --to wss://`.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;

use crate::program::{Stdin, connect as connect_plain};
use crate::support::folder::Folder;
use crate::support::program::{HEIRLOOM, Program, run};
use crate::support::tls_host::{Files, TlsHost, open};
use crate::tls::{own, serve};

#[test]
fn vectors_are_played_to_a_server_inside_tls() {
    let files = Files::of(&own());
    let server = serve(&files);
    let url = format!("wss://{}/", server.address);
    // A server inside TLS names wss in the location of hixie.
    let vectors = [
        "vectors/hixie-75/frames.json",
        "vectors/hixie-76/frames.json",
        "vectors/hybi-03/control.json",
        "vectors/rfc6455/closing.json",
        "vectors/rfc6455/control.json",
    ];
    let args = [
        &["replay", "--against", &url],
        &files.trusted()[..],
        &vectors,
    ]
    .concat();
    let ended = run(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("all good"), "{ended:?}");
    for fault in [&["--slicer", "1"][..], &["--latency", "20"]] {
        let ended = run(&[&args[..], fault].concat());
        assert_eq!(ended.code, Some(0), "{fault:?}: {ended:?}");
    }
    // Behind a reset no close can arrive.
    let (_, without_closing) = args.split_first().unwrap();
    let without_closing = without_closing
        .iter()
        .filter(|word| !word.ends_with("closing.json"));
    let words: Vec<&str> = ["replay", "--reset-peer"]
        .into_iter()
        .chain(without_closing.copied())
        .collect();
    let ended = run(&words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = run(&["replay", "--against", &url, "vectors/rfc6455/closing.json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("`--ca FILE`"), "{ended:?}");
}

#[test]
fn a_replay_names_the_truncation_that_cost_it_an_answer() {
    let made = own();
    let files = Files::of(&made);
    let host = TlsHost::new(&made, |mut stream| {
        open(&mut stream);
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let url = host.url();
    let vectors = "vectors/rfc6455/closing.json";
    let args = [
        &["replay", vectors, "--against", &url],
        &files.trusted()[..],
    ]
    .concat();
    let ended = run(&args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("ends TCP and not TLS before it"),
        "{ended:?}"
    );
}

#[test]
fn what_is_inside_tls_is_recorded() {
    let files = Files::of(&own());
    let server = serve(&files);
    for scheme in ["wss", "tls"] {
        let folder = Folder::new();
        let out = folder.as_ref().to_str().unwrap();
        let to = format!("{scheme}://{}", server.address);
        let mut command = Command::new(HEIRLOOM);
        command.args([
            "record",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &to,
            "--out",
            out,
        ]);
        let record = Program::start(command.args(files.trusted()));
        let message = "x".repeat(1024 * 1024);
        let ended = connect_plain(record.address, &[], Stdin::Ends(message.as_bytes()));
        ended.exits(0);
        assert!(ended.out() == format!("{message}\n"));
        record.signal("TERM");
        assert_eq!(record.wait().0.code(), Some(0));
        let checked = run(&["check", out]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let file = fs::read_dir(out).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.contains("101 Switching Protocols"),
            "the head is in plain"
        );
    }
}

#[test]
fn a_client_of_a_recorder_is_cut_off_where_tls_fails() {
    let files = Files::of(&own());
    let server = serve(&Files::of(&own()));
    let to = format!("wss://{}", server.address);
    let mut command = Command::new(HEIRLOOM);
    command.args(["record", "--listen", "127.0.0.1:0", "--none", "--to", &to]);
    let record = Program::start(command.args(files.trusted()));
    let mut client = std::net::TcpStream::connect(record.address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let ended = client.read(&mut [0; 1]);
    assert!(ended.is_err(), "it is reset: {ended:?}");
    let line = record.await_talk("is self-signed");
    assert!(line.contains(&to), "{line}");
}
