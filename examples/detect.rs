//! The detector alone: reads the head of a request and prints which version it
//! asks for, or why it is refused, without a socket.
//!
//! `cargo run --example detect < request.txt`; on a terminal, or without
//! input, it reads a sample.

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;

use heirloom::error::Located;
use heirloom::{Config, Conn, Output, Session, SessionEvent, Versions};

/// A request of hixie-76 to which a proxy has added a key of RFC 6455. The two
/// numbered keys decide, since no script can set them.
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
        request.extend_from_slice(SAMPLE.as_bytes());
    }
    let mut session = Session::new(Conn::server(Arc::new(
        Config::default().with_versions(Versions::ALL),
    )));
    session.receive(&request);
    // A refusal is written to the output, as a server would send it. A server
    // needs random octets only for hybi-04, and only when it accepts.
    let (mut response, mut random) = (Vec::new(), |_: &mut [u8]| unreachable!());
    let event = session.next(&mut Output::new(&mut response, &mut random))?;
    match event.map(|(event, _)| event) {
        Some(SessionEvent::Request(request)) => match request.version() {
            Some(version) => println!("{version}: {}", version.document),
            None => println!("plain HTTP"),
        },
        Some(SessionEvent::Http(_)) => println!("plain HTTP"),
        Some(SessionEvent::Refused(refused)) => {
            let Located { error, at } = refused.refusal;
            let (status, code) = (error.status(), error.code());
            println!(
                "{status} {code}: {error} (octets {} to {})",
                at.start, at.end
            );
        }
        _ => println!("the head does not end; lines end in CR LF, the last one is empty"),
    }
    Ok(())
}
