//! A client of any version, in five lines.
//!
//! `cargo run --example client ws://127.0.0.1:8076/`

fn main() -> Result<(), heirloom::Error> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or("ws://127.0.0.1:8076/".into());
    let mut socket = heirloom::client::connect(&url)?;
    socket.send("Hello")?;
    println!("{:?}", socket.read()?);
    socket.close(1000, "")
}
