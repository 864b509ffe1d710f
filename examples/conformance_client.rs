//! A client that walks the cases of a fuzzing server, such as that of
//! Autobahn|Testsuite: it sends back what it receives, with compression.
//!
//! `cargo run --example conformance_client ws://127.0.0.1:9001 per-connection`

use heirloom::client::Connector;
use heirloom::extension::{Compression, Mode};
use heirloom::{Config, Error};

const AGENT: &str = "agent=heirloom";

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("ws://127.0.0.1:9001".into());
    let mode = match arguments.next().as_deref() {
        Some("off") => Mode::Off,
        Some("per-connection") => Mode::PerConnection,
        _ => Mode::Shared,
    };
    let compression = Compression::default().with_mode(mode).with_threshold(0);
    let connector = Connector::new().with_config(Config::default().with_compression(compression));
    let mut socket = connector.connect(&format!("{url}/getCaseCount"))?;
    let count = socket.read()?;
    let count = count.as_text().and_then(|text| text.parse().ok());
    for case in 1..=count.unwrap_or(0) {
        // A case may well end in an error: whether that is right, the server knows.
        if let Err(error) = echo(&connector, &format!("{url}/runCase?case={case}&{AGENT}")) {
            println!("case {case}: {error}");
        }
    }
    echo(&connector, &format!("{url}/updateReports?{AGENT}"))
}

/// Sends back what it receives, until the other side closes.
fn echo(connector: &Connector, url: &str) -> Result<(), Error> {
    let mut socket = connector.connect(url)?;
    let result = loop {
        let received = match socket.read() {
            Ok(received) => received,
            Err(error) => break Err(error),
        };
        let Some(message) = received.as_message() else {
            break Ok(());
        };
        if let Err(error) = socket.send(message) {
            break Err(error);
        }
    };
    // The server may have reset TCP, once it had our close.
    let _ = socket.finish();
    result
}
