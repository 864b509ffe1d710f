//! The detector alone: reads the head of a request and says which version it
//! asks for, or why it is refused. No socket is touched.
//!
//! `cargo run --example detect < request.txt`; on a terminal, or without
//! input, it judges a sample.

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;

use heirloom::{Config, Conn, Event, Input, Output, Versions};

/// Between hixie-76 and RFC 6455: a proxy has added a key of its own to an old
/// request. The two numbered keys decide, since no script can set them.
const SAMPLE: &str = "GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut request = Vec::new();
    if !io::stdin().is_terminal() {
        io::stdin().read_to_end(&mut request)?;
    }
    if request.is_empty() {
        request = SAMPLE.into();
    }
    let mut config = Config::default();
    config.versions = Versions::ALL;
    let mut conn = Conn::server(Arc::new(config));
    // A refusal is written here, as a server would send it; a server needs
    // randomness only for hybi-04, and only once it accepts.
    let (mut response, mut random) = (Vec::new(), |_: &mut [u8]| {});
    let mut input = Input::new(&mut request);
    match conn.next(&mut input, &mut Output::new(&mut response, &mut random))? {
        Some(Event::Request(request)) => match request.version() {
            Some(version) => println!("{version}: {}", version.document),
            None => println!("plain HTTP"),
        },
        Some(Event::Http(_)) => println!("plain HTTP"),
        Some(Event::Refused(refusal, _)) => {
            println!("{} {}: {refusal}", refusal.status(), refusal.code());
        }
        _ => println!("the head does not end; lines end in CR LF, the last one is empty"),
    }
    Ok(())
}
