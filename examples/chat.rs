//! A chat for old and new browsers, a clock that speaks in it, and an echo: a
//! table of routes, and a thread that publishes to a topic.
//!
//! `cargo run --example chat`, then open `ws://127.0.0.1:8076/chat` from
//! anywhere, in any version.

use std::thread;
use std::time::{Duration, Instant};

use heirloom::net::{Destination, Route, RouteTable, Router, Server, Site};
use heirloom::{Config, Versions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without this only the versions that real clients still speak are on.
    let config = Config::default().with_versions(Versions::ALL);
    let table = RouteTable::new(config)
        .with(Route::exact("/chat", Destination::topic("chat")))
        .with(Route::below("/", Destination::Echo));
    let router = Router::new(table);

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8076".into());
    let server = Server::bind(&[address.parse()?], 2, router.config())?;
    for address in server.addresses() {
        println!("listening on ws://{address}/chat");
    }

    let sender = server.sender();
    thread::spawn(move || {
        let start = Instant::now();
        loop {
            thread::sleep(Duration::from_secs(10));
            let text = format!("open for {} s", start.elapsed().as_secs());
            // A worker that is busy does not hold the clock up.
            if let Err(error) = sender.publish("chat", &text) {
                eprintln!("not published: {error}");
            }
        }
    });

    // Called once for each worker: what they share is posted, not locked.
    server.run(|| Site::new(&router));
    Ok(())
}
