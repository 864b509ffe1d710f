//! An implementation that nobody here wrote, as client and as server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use heirloom::bytes::{Input, Output};
use heirloom::conn::{Conn, Event, Phase};
use heirloom::handshake::ClientRequest;
use heirloom::message::Gather;
use heirloom::net::serve::Serve;
use heirloom::net::{Server, Stopper, SystemRandom};
use heirloom::{Config, Version, Versions};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

fn serve() -> (String, Stopper, thread::JoinHandle<()>) {
    let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], 1, Config::default()).unwrap();
    let url = format!("ws://{}/", server.addresses()[0]);
    let stopper = server.stopper();
    let thread = thread::spawn(move || {
        server.run(|| Serve::new(Versions::default(), Arc::from([])));
    });
    (url, stopper, thread)
}

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
fn its_client_hears_its_own_messages_and_our_pong_and_close() {
    let (url, stopper, thread) = serve();
    let (mut client, _) = tungstenite::connect(&url).unwrap();
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
    stopper.stop();
    thread.join().unwrap();
}

#[test]
fn its_client_is_told_that_we_go_away() {
    let (url, stopper, thread) = serve();
    let (mut client, _) = tungstenite::connect(&url).unwrap();
    stopper.stop();
    let bye = client.read().unwrap();
    assert!(matches!(bye, Message::Close(Some(frame)) if frame.code == CloseCode::Away));
    while client.read().is_ok() {}
    thread.join().unwrap();
}

/// Reads until the server has said something; gives the messages.
fn pump(conn: &mut Conn, stream: &mut TcpStream, wire: &mut Vec<u8>) -> Vec<Message> {
    let mut buffer = [0; 65_536];
    let mut heard = Vec::new();
    let n = stream.read(&mut buffer).unwrap();
    wire.extend_from_slice(&buffer[..n]);
    let mut said = Vec::new();
    let mut random = SystemRandom;
    let mut out = Output::new(&mut said, &mut random);
    let mut input = Input::new(wire);
    let mut gather = Gather::default();
    while let Some(event) = conn.next(&mut input, &mut out).unwrap() {
        match event {
            Event::Piece(piece) => {
                gather.add(&piece);
                if piece.last {
                    let message = gather.finish(true);
                    heard.push(match message.as_text() {
                        Some(text) => Message::text(text),
                        None => Message::binary(message.payload().to_vec()),
                    });
                    gather = Gather::default();
                }
            }
            Event::Close(reason) => heard.push(Message::text(format!("closed {:?}", reason.code))),
            _ => {}
        }
    }
    let left = input.rest().len();
    wire.drain(..wire.len() - left);
    stream.write_all(&said).unwrap();
    heard
}

#[test]
fn its_server_takes_our_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut socket: WebSocket<TcpStream> =
            tungstenite::accept(listener.accept().unwrap().0).unwrap();
        while let Ok(message) = socket.read() {
            if !message.is_close() {
                socket.send(message).unwrap();
            }
        }
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let mut said = Vec::new();
    let mut random = SystemRandom;
    let mut out = Output::new(&mut said, &mut random);
    let host = address.to_string();
    let ask = ClientRequest {
        host: &host,
        target: "/",
        secure: false,
        origin: None,
        subprotocols: &[],
        headers: &[],
    };
    let version = Version::named("rfc6455").unwrap();
    let mut conn = Conn::client(version, &ask, Arc::default(), &mut out).unwrap();
    stream.write_all(&said).unwrap();
    let mut wire = Vec::new();
    while conn.phase() == Phase::Handshake {
        pump(&mut conn, &mut stream, &mut wire);
    }
    for text in ["", "grüße 😀", "more"] {
        let mut said = Vec::new();
        let mut out = Output::new(&mut said, &mut random);
        conn.send(heirloom::Message::text(text), &mut out).unwrap();
        stream.write_all(&said).unwrap();
        let mut heard = Vec::new();
        while heard.is_empty() {
            heard = pump(&mut conn, &mut stream, &mut wire);
        }
        assert_eq!(heard, [Message::text(text)]);
    }
    let mut said = Vec::new();
    conn.close(1000, "bye", &mut Output::new(&mut said, &mut random));
    stream.write_all(&said).unwrap();
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard = pump(&mut conn, &mut stream, &mut wire);
    }
    assert_eq!(heard, [Message::text("closed Some(1000)")]);
    drop(stream);
    server.join().unwrap();
}
