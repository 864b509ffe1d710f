//! A server with a thread for each connection: it sends back what it receives,
//! in every version.
//!
//! `cargo run --example blocking_server`, then
//! `heirloom connect ws://127.0.0.1:8076/ --as hybi-00`

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use heirloom::server::{Acceptor, OwnedMessage};
use heirloom::{Config, Error, Versions};

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8076".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    // Without this only the versions that real clients still speak are on.
    let acceptor = Acceptor::new().with_config(Config::default().with_versions(Versions::ALL));
    for stream in listener.incoming() {
        let (stream, acceptor) = (stream?, acceptor.clone());
        thread::spawn(move || match echo(&acceptor, stream) {
            Ok(close) => println!("closed: {close:?}"),
            Err(error) => println!("{error}"),
        });
    }
    Ok(())
}

/// Sends messages back until the client closes.
fn echo(acceptor: &Acceptor, stream: TcpStream) -> Result<OwnedMessage, Error> {
    // A client that is silent for a minute is given up.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut socket = acceptor.accept(stream)?;
    println!("{} is open", socket.version());
    loop {
        let message = socket.read()?;
        match message.as_message() {
            Some(message) => socket.send(message)?,
            None => return Ok(message),
        }
    }
}
