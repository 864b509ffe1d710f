//! Compression in the opening handshake, octets in and octets out.

use std::sync::Arc;

use heirloom::conn::{Conn, Phase, Session, SessionEvent};
use heirloom::extension::{Compression, Mode};
use heirloom::handshake::ClientRequest;
use heirloom::{Config, Output, VERSIONS, Version, Versions};

use crate::memory::Seeded;

fn config(mode: Mode) -> Arc<Config> {
    let compression = Compression::default().with_mode(mode);
    let config = Config::default().with_versions(Versions::ALL);
    Arc::new(config.with_compression(compression))
}

/// What a server answers to this request, which arrives in two portions.
fn respond(config: &Arc<Config>, request: &[u8], split: usize) -> (Vec<u8>, Vec<String>) {
    let mut server = Session::new(Conn::server(Arc::clone(config)));
    let (mut sent, mut offered) = (Vec::new(), Vec::new());
    let mut random = Seeded(1);
    let (a, b) = request.split_at(split);
    for portion in [a, b] {
        server.receive(portion);
        let mut out = Output::new(&mut sent, &mut random);
        while let Some((event, conn)) = server.next(&mut out).unwrap() {
            if let SessionEvent::Request(request) = event {
                offered.extend(request.extensions().map(|offer| offer.name.to_owned()));
                conn.accept(None, &mut out).unwrap();
            }
        }
    }
    (sent, offered)
}

fn request(version: &'static Version, config: &Arc<Config>) -> (Conn, Vec<u8>) {
    let request = ClientRequest::new("example.com", "/").with_origin("http://example.com");
    let (mut sent, mut random) = (Vec::new(), Seeded(2));
    let mut out = Output::new(&mut sent, &mut random);
    let conn = Conn::client(version, &request, Arc::clone(config), &mut out).unwrap();
    (conn, sent)
}

fn line(head: &str) -> Option<&str> {
    let mut lines = head.split("\r\n");
    lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "))
}

#[test]
fn client_and_server_agree_in_every_version_that_can() {
    for version in VERSIONS {
        for ours in [Mode::Off, Mode::Shared, Mode::PerConnection] {
            for theirs in [Mode::Off, Mode::Shared, Mode::PerConnection] {
                let (conn, sent) = request(version, &config(ours));
                let can = version.has_compression();
                let head = String::from_utf8_lossy(&sent);
                assert_eq!(line(&head).is_some(), can && ours != Mode::Off, "{head}");
                let (response, offered) = respond(&config(theirs), &sent, sent.len());
                assert_eq!(offered.len(), usize::from(line(&head).is_some()));
                let agrees = can && ours != Mode::Off && theirs != Mode::Off;
                let text = String::from_utf8_lossy(&response);
                let answer = line(&text);
                assert_eq!(answer.is_some(), agrees, "{text}");
                assert!(answer.is_none_or(|answer| !answer.is_empty()));
                let mut client = Session::new(conn);
                client.receive(&response);
                let (mut out, mut random) = (Vec::new(), Seeded(3));
                let mut out = Output::new(&mut out, &mut random);
                while let Some((event, _)) = client.next(&mut out).unwrap() {
                    if let SessionEvent::Response(response) = event {
                        let read = response.compression().map(|deflate| deflate.to_string());
                        assert_eq!(read.as_deref(), answer);
                        assert_eq!(response.extensions().count(), usize::from(agrees));
                    }
                }
                if !version.has_body() {
                    assert_eq!(client.conn().phase(), Phase::Open);
                }
            }
        }
    }
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n";

#[test]
fn a_server_answers_the_same_at_every_split() {
    let safari = "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.2 Safari/605.1.15\r\n";
    for (headers, answer) in [
        ("", None),
        ("Sec-WebSocket-Extensions:\r\n", None),
        ("Sec-WebSocket-Extensions: deflate-stream\r\n", None),
        (
            "sec-websocket-extensions: x-webkit-deflate-frame\r\nSEC-WEBSOCKET-EXTENSIONS: permessage-deflate; server_max_window_bits=\"9\"\r\n",
            Some("permessage-deflate; server_max_window_bits=9"),
        ),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; \u{e9}\r\n",
            None,
        ),
        (
            &format!("{safari}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            None,
        ),
    ] {
        let request = format!("{REQUEST}{headers}\r\n");
        let config = config(Mode::PerConnection);
        let (sent, _) = respond(&config, request.as_bytes(), request.len());
        let whole = String::from_utf8_lossy(&sent);
        assert!(whole.starts_with("HTTP/1.1 101 "), "{whole}");
        assert_eq!(line(&whole), answer, "{headers}");
        assert_eq!(whole.contains("Extensions"), answer.is_some());
        for split in 0..request.len() {
            assert_eq!(respond(&config, request.as_bytes(), split).0, sent);
        }
    }
}
