//! An implementation from elsewhere, against the server and the client
//! on the mio loop. `blocking.rs` has it against those that block.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heirloom::handshake::ClientRequest;
use heirloom::net::Url;
use heirloom::net::dial::{Connection, DialOptions, Progress};
use heirloom::{Config, SessionEvent, Version};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::support::PATIENCE;
use crate::support::server::Running;

fn messages() -> Vec<Message> {
    vec![
        Message::text(""),
        Message::text("grüße 😀"),
        Message::binary(vec![0, 255, 7]),
        Message::text("x".repeat(70_000)),
        Message::binary(vec![1; 1 << 20]),
    ]
}

#[test]
fn its_client_receives_its_own_messages_and_our_pong_and_close() {
    let server = Running::serve(Config::default());
    let (mut client, _) = tungstenite::connect(format!("ws://{}/", server.address)).unwrap();
    for message in messages() {
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
    client.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(
        client.read().unwrap(),
        Message::Pong("are you there".into())
    );
    let bye = CloseFrame {
        code: CloseCode::Normal,
        reason: "bye".into(),
    };
    client.close(Some(bye)).unwrap();
    let response = client.read().unwrap();
    assert!(matches!(response, Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
    assert!(client.read().is_err(), "the server ends TCP");
}

#[test]
fn its_client_receives_1001_when_we_go_away() {
    let server = Running::serve(Config::default());
    let (mut client, _) = tungstenite::connect(format!("ws://{}/", server.address)).unwrap();
    server.stop();
    let bye = client.read().unwrap();
    assert!(matches!(bye, Message::Close(Some(frame)) if frame.code == CloseCode::Away));
    while client.read().is_ok() {}
    server.wait();
}

/// Runs its server for one connection.
fn host(
    handle: impl FnOnce(&mut WebSocket<TcpStream>) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        handle(&mut tungstenite::accept(stream).unwrap());
    });
    (address, thread)
}

fn dial(address: SocketAddr) -> Connection {
    let url: Url = format!("ws://{address}/").parse().unwrap();
    let version = Version::named("rfc6455").unwrap();
    let request = ClientRequest::new(&url.host, &url.target);
    let deadline = Instant::now() + PATIENCE;
    Connection::dial(&url, version, &request, DialOptions::default(), deadline).unwrap()
}

#[test]
fn its_server_echoes_our_client_which_answers_inside_the_event() {
    let (address, server) = host(|socket| {
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
    });
    let mut client = dial(address);
    let texts = ["", "grüße 😀", "more"];
    let (mut sent, mut received, mut close) = (0, Vec::new(), None);
    let deadline = Some(Instant::now() + PATIENCE);
    while close.is_none() {
        // Each message is sent from inside the event that asks for it.
        let progress = client.step(deadline, &mut (), &mut |event, conn, out| {
            match event.unwrap() {
                SessionEvent::Message(message) => {
                    received.push(message.as_text().unwrap().to_owned());
                }
                SessionEvent::Close(reason) => close = reason.code,
                SessionEvent::Open => {}
                _ => return,
            }
            if let Some(text) = texts.get(sent) {
                sent += 1;
                conn.send((*text).into(), out).unwrap();
            } else {
                conn.close(1000, "bye", out);
            }
        });
        assert!(matches!(progress, Progress::Transferred), "{progress:?}");
    }
    assert_eq!(received, texts);
    assert_eq!(close, Some(1000));
    drop(client);
    server.join().unwrap();
}

#[test]
fn replies_inside_events_count_as_output_that_waits() {
    // It sends forever and never reads, and each message is answered.
    let (address, server) = host(|socket| {
        let _ = socket
            .get_ref()
            .set_write_timeout(Some(Duration::from_millis(500)));
        while socket.send(Message::text("x".repeat(1000))).is_ok() {}
    });
    let url: Url = format!("ws://{address}/").parse().unwrap();
    let version = Version::named("rfc6455").unwrap();
    let request = ClientRequest::new(&url.host, &url.target);
    let deadline = Instant::now() + PATIENCE;
    let options = DialOptions::default().with_output_bytes(64 * 1024);
    let mut client = Connection::dial(&url, version, &request, options, deadline).unwrap();
    let soon = Instant::now() + Duration::from_secs(1);
    loop {
        let progress = client.step(Some(soon), &mut (), &mut |event, conn, out| {
            if let Ok(SessionEvent::Message(message)) = event {
                conn.send(message, out).unwrap();
            }
        });
        // What one read brought is answered; nothing is read on top of it.
        let waiting = client.unsent().len();
        assert!(waiting < 64 * 1024 + 256 * 1024, "{waiting} octets wait");
        match progress {
            Progress::Transferred => {}
            _ => break,
        }
    }
    drop(client);
    server.join().unwrap();
}
