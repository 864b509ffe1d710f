//! A server with an application of its own: it sends back what it receives, and
//! says in which version.
//!
//! `cargo run --example echo`, then `heirloom connect ws://127.0.0.1:8076/ --as hybi-00`

use heirloom::error::Refusal;
use heirloom::handshake::Request;
use heirloom::net::{App, Handle, Incoming, Reply, Server};
use heirloom::{Config, Message, Versions};

/// One of these serves all connections of a worker, so it needs no locks.
struct Echo;

impl App for Echo {
    // Nothing is kept of a connection.
    type Data = ();

    fn request(&mut self, request: &Request<'_>, (): &mut ()) -> Reply {
        match request.version() {
            Some(_) => Reply::Accept(None),
            // A browser that asks for a page.
            None => Reply::refuse(Refusal::NotFound),
        }
    }

    fn open(&mut self, link: &mut Handle<'_, Echo>) {
        let name = link.version().map_or("", |version| version.name);
        // Every version has texts.
        let _ = link.send(Message::text(&format!("you speak {name}")));
    }

    fn message(&mut self, incoming: Incoming<'_>, link: &mut Handle<'_, Echo>) {
        // A message that arrived as binary goes back as binary, so the version has
        // it. This fails only while the connection closes.
        let _ = link.send_back(incoming);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8076".into());
    let config = Config::default().with_versions(Versions::ALL);
    let server = Server::bind(&[address.parse()?], 2, config)?;
    for address in server.addresses() {
        println!("listening on ws://{address}/");
    }
    server.run(|| Echo);
    Ok(())
}
