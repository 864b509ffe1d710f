//! Both ends of a connection in memory: the protocol without a socket, a clock
//! or a thread. A program that brings those can speak every version.
//!
//! `cargo run --example sans_io`, or `cargo run --example sans_io hixie-76`

use std::sync::Arc;

use heirloom::handshake::ClientRequest;
use heirloom::{
    Config, Conn, Message, Output, Session, SessionEvent, SystemRandom, Version, Versions,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or("rfc6455".into());
    let version = Version::named(&name).ok_or("no version has this name")?;
    let config = Arc::new(Config::default().with_versions(Versions::ALL));
    let request = ClientRequest::new("example.com", "/");

    // The octets on their way to the server, and to the client.
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    // Keys and masks must not be guessable. A test would give fixed octets.
    let mut random = SystemRandom;
    let mut out = Output::new(&mut to_server, &mut random);
    let client = Conn::client(version, &request, Arc::clone(&config), &mut out)?;
    let mut client = Session::new(client);
    let mut server = Session::new(Conn::server(config));
    // hixie-75 has no close, so that an empty wire ends this too.
    while !(to_server.is_empty() && to_client.is_empty()) {
        handle("server", &mut server, &mut to_server, &mut to_client)?;
        handle("client", &mut client, &mut to_client, &mut to_server)?;
    }
    Ok(())
}

/// One end parses all that has arrived, and answers.
fn handle(
    name: &str,
    session: &mut Session,
    from: &mut Vec<u8>,
    to: &mut Vec<u8>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = SystemRandom;
    let mut out = Output::new(to, &mut random);
    session.receive(from);
    from.clear();
    while let Some((event, conn)) = session.next(&mut out)? {
        match event {
            SessionEvent::Request(_) => conn.accept(None, &mut out)?,
            SessionEvent::Open if name == "client" => conn.send("Hello".into(), &mut out)?,
            SessionEvent::Message(message) => {
                println!("{name} receives {:?}", message.as_text());
                if name == "server" {
                    conn.send(Message::text("Hello to you"), &mut out)?;
                } else {
                    conn.close(1000, "", &mut out);
                }
            }
            SessionEvent::Close(reason) => println!("{name} receives a close: {:?}", reason.code),
            _ => {}
        }
    }
    Ok(())
}
