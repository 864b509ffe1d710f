//! Both ends of a connection in memory: the protocol without a socket, a clock
//! or a thread. Whoever brings those can speak every version.
//!
//! `cargo run --example sans_io`, or `cargo run --example sans_io hixie-76`

use std::sync::Arc;

use heirloom::handshake::ClientRequest;
use heirloom::net::SystemRandom;
use heirloom::{Config, Conn, Event, Input, Message, Output, Version, Versions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or("rfc6455".into());
    let version = Version::named(&name).ok_or("no version has this name")?;
    let mut config = Config::default();
    config.versions = Versions::ALL;
    let config = Arc::new(config);
    let ask = ClientRequest {
        host: "example.com",
        target: "/",
        secure: false,
        origin: None,
        subprotocols: &[],
        headers: &[],
    };

    // What is on its way to the server, and to the client.
    let (mut up, mut down) = (Vec::new(), Vec::new());
    // Keys and masks must not be guessable; a test would take what it likes.
    let mut random = SystemRandom;
    let mut client = Conn::client(
        version,
        &ask,
        Arc::clone(&config),
        &mut Output::new(&mut up, &mut random),
    )?;
    let mut server = Conn::server(config);
    // hixie-75 says no goodbye, so silence ends this as well.
    while !(up.is_empty() && down.is_empty()) {
        turn("server", &mut server, &mut up, &mut down)?;
        turn("client", &mut client, &mut down, &mut up)?;
    }
    Ok(())
}

/// One end hears all that is there, and answers.
fn turn(
    who: &str,
    conn: &mut Conn,
    from: &mut Vec<u8>,
    to: &mut Vec<u8>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = SystemRandom;
    let mut out = Output::new(to, &mut random);
    let mut input = Input::new(from);
    while let Some(event) = conn.next(&mut input, &mut out)? {
        match event {
            Event::Request(_) => conn.accept(None, &mut out)?,
            Event::Open if who == "client" => conn.send(Message::text("Hello"), &mut out)?,
            Event::Piece(piece) => {
                println!("{who} hears {:?}", String::from_utf8_lossy(piece.octets));
                if who == "server" {
                    conn.send(Message::text("Hello, whoever you are"), &mut out)?;
                } else {
                    conn.close(1000, "", &mut out);
                }
            }
            Event::Close(reason) => println!("{who} hears goodbye {:?}", reason.code),
            _ => {}
        }
    }
    // What was not eaten would be shown again with what comes next.
    let left = input.rest().len();
    from.drain(..from.len() - left);
    Ok(())
}
