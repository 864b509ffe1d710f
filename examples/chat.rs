//! A room where old and new browsers hear each other, in ten lines: the
//! application of `heirloom serve`, in a program of your own.
//!
//! `cargo run --example chat`, then open `ws://127.0.0.1:8076/chat` from
//! anywhere, in any version.

use std::sync::Arc;

use heirloom::net::Server;
use heirloom::net::serve::Serve;
use heirloom::{Config, Versions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    // Without this only the versions that real clients still speak are on.
    config.versions = Versions::ALL;
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8076".into());
    let server = Server::bind(&[address.parse()?], 2, config)?;
    for address in server.addresses() {
        println!("listening on ws://{address}/chat");
    }
    // Called once for each worker: what they share is posted, not locked.
    server.run(|| Serve::new(Versions::ALL, Arc::from([])));
    Ok(())
}
