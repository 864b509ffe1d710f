//! TLS where it is not expected, and TLS that ends as it should not.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;

use crate::host::Host;
use crate::program::{NOTHING, Stdin, heirloom};
use crate::support::PATIENCE;
use crate::support::program::Program;
use crate::support::tls_host::{Files, TlsHost, open, read_head};
use crate::tls::{connect, own, serve};

const SPEAKS_TLS: &str = "the server speaks TLS on this port; dial wss://";

#[test]
fn a_plain_client_at_a_port_of_tls_is_told() {
    let files = Files::of(&own());
    let server = serve(&files);
    let url = format!("ws://{}/", server.address);
    let ended = connect(&url, &[], NOTHING);
    ended.exits(4).complains("refused");
    assert!(ended.stderr.contains(SPEAKS_TLS), "{}", ended.stderr);

    // As nginx, Apache and Go say it, and as those that send an alert.
    let page = |body: &str| {
        let length = body.len();
        format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    for answer in [
        page(
            "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
        ),
        page(
            "<title>400 Bad Request</title><p>You're speaking plain HTTP to an SSL-enabled server port.<br />",
        ),
        page("Client sent an HTTP request to an HTTPS server.\n"),
        vec![0x15, 3, 1, 0, 2, 2, 70],
        vec![0x15, 3, 3, 0, 2, 2, 10],
    ] {
        let host = Host::new(move |conn| {
            conn.send(&answer);
            conn.end();
        });
        let ended = connect(&format!("ws://{}/", host.address), &[], NOTHING);
        ended.exits(4).is_escaped();
        assert!(ended.stderr.contains(SPEAKS_TLS), "{}", ended.stderr);
        let url = format!("ws://{}/", host.address);
        let args = ["probe", &url, "--versions", "rfc6455"];
        let probed = heirloom(&args, NOTHING);
        assert!(probed.out().contains(SPEAKS_TLS), "{}", probed.out());
    }
    // What says nothing at all may be anything.
    let host = Host::new(|conn| conn.end());
    let ended = connect(&format!("ws://{}/", host.address), &[], NOTHING);
    ended.exits(4);
    assert!(ended.stderr.contains("wss://"), "{}", ended.stderr);
}

#[test]
fn a_client_of_tls_at_a_plain_port_is_told() {
    let server = Program::serve(&[]);
    let url = format!("wss://{}/", server.address);
    let ended = connect(&url, &["--insecure"], NOTHING);
    ended.exits(3);
    let told = "the server does not speak TLS on this port: it answers in plain HTTP; dial ws://";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);

    for (answer, told) in [
        (
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            "it answers \"SSH-2.0-OpenSSH",
        ),
        (b"\x1b[31m", "it answers \""),
        (b"", "ended the connection in the opening handshake of TLS"),
    ] {
        let host = TlsHost::plain(move |mut stream| {
            let mut hello = [0; 1024];
            let _ = stream.read(&mut hello);
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let ended = connect(&host.url(), &["--insecure"], NOTHING);
        ended.exits(3).is_escaped();
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert!(ended.stderr.contains("dial ws://"), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_stalls_in_the_handshake_is_given_up() {
    let files = Files::of(&own());
    let config = crate::support::tls_host::server_config(&own());
    // It says nothing, or half of what it has to say.
    for half in [false, true] {
        let config = config.clone();
        let host = TlsHost::plain(move |mut stream| {
            if half {
                let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
                while !connection.wants_write() {
                    connection.read_tls(&mut stream).unwrap();
                    connection.process_new_packets().unwrap();
                }
                let mut flight = Vec::new();
                while connection.wants_write() {
                    connection.write_tls(&mut flight).unwrap();
                }
                stream.write_all(&flight[..flight.len() / 2]).unwrap();
            }
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let args = [&files.trusted()[..], &["--handshake-timeout-ms", "700"]].concat();
        let ended = heirloom(&[&["connect", &host.url()], &args[..]].concat(), NOTHING);
        ended.exits(5).complains(
            "TCP is connected, and the server did not go on with the opening handshake of TLS",
        );
        let url = host.url();
        let probe = ["probe", &url, "--insecure", "--timeout-ms", "700"];
        let ended = heirloom(&probe, NOTHING);
        ended.exits(5);
        assert!(ended.out().contains("handshake of TLS"), "{}", ended.out());
    }
}

/// The close of a server, 1000.
const CLOSE: [u8; 4] = [0x88, 2, 3, 0xe8];

#[test]
fn a_truncation_is_told_and_a_complete_close_is_none() {
    let made = own();
    let files = Files::of(&made);
    let trusted = files.trusted();
    // Whether a close is sent first, whether TLS is ended, the exit status.
    for (closes, notifies, code) in [
        (false, false, 1),
        (false, true, 1),
        (true, false, 0),
        (true, true, 0),
    ] {
        let (tell, told) = channel();
        let host = TlsHost::new(&made, move |mut stream| {
            open(&mut stream);
            if closes {
                stream.write_all(&CLOSE).unwrap();
                let mut answer = [0; 8];
                stream.read_exact(&mut answer).unwrap();
                let _ = tell.send(stream.read(&mut answer).map_err(|error| error.kind()));
            }
            if notifies {
                stream.conn.send_close_notify();
            }
            let _ = stream.flush();
            let _ = stream.sock.shutdown(Shutdown::Write);
            let _ = stream.sock.read_to_end(&mut Vec::new());
        });
        let ended = connect(&host.url(), &trusted, Stdin::Stays(b""));
        ended.exits(code);
        let is_told = ended.stderr.contains("tls-truncated: ");
        assert_eq!(is_told, !closes && !notifies, "{}", ended.stderr);
        if closes {
            // The client ends TLS as it should.
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(0));
        }
    }
}

#[test]
fn an_end_is_the_close_of_hixie_75_unless_it_may_have_cut_a_text() {
    let made = own();
    let files = Files::of(&made);
    for (notifies, code) in [(true, 0), (false, 1)] {
        let host = TlsHost::new(&made, move |mut stream| {
            let head = read_head(&mut stream).unwrap();
            let header = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().to_owned()
            };
            let response = format!(
                "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\n\
                 Connection: Upgrade\r\nWebSocket-Origin: {}\r\n\
                 WebSocket-Location: wss://{}/\r\n\r\n\0whole\u{0}",
                header("Origin: "),
                header("Host: "),
            );
            let response = response.trim_end_matches('\0').as_bytes();
            stream.write_all(&[response, b"\xff"].concat()).unwrap();
            if notifies {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
            let _ = stream.sock.shutdown(Shutdown::Write);
            let _ = stream.sock.read_to_end(&mut Vec::new());
        });
        let args = [&files.trusted()[..], &["--as", "hixie-75"]].concat();
        let ended = connect(&host.url(), &args, Stdin::Stays(b""));
        ended.exits(code);
        assert_eq!(ended.out(), "whole\n");
        let told = ended.stderr.contains("tls-truncated: ");
        assert_eq!(told, !notifies, "{}", ended.stderr);
    }
}

#[test]
fn what_comes_behind_the_end_of_tls_is_not_read() {
    let made = own();
    let files = Files::of(&made);
    let host = TlsHost::new(&made, |mut stream| {
        open(&mut stream);
        stream.write_all(b"\x81\x05whole").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        // A record that no key belongs to, as a program between could add it.
        let _ = stream
            .sock
            .write_all(b"\x17\x03\x03\x00\x20AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let ended = connect(&host.url(), &files.trusted(), Stdin::Stays(b""));
    ended.exits(1).complains("connection-cut");
    assert_eq!(ended.out(), "whole\n");
}
