//! A name with several addresses: a silent one does not use up the time of the
//! others, for a client and for a relay.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use heirloom::handshake::ClientRequest;
use heirloom::net::dial::{Connection, DialError, DialOptions};
use heirloom::net::relay::{CutShort, Ending, Relay, TrafficRecorder};
use heirloom::net::{Endpoint, Resolver, Settings, Url};
use heirloom::{Side, Version};

use crate::support::backend::{Backend, Silent};
use crate::support::peer::Peer;

fn dial(addresses: Vec<SocketAddr>, patience: Duration) -> Result<Connection, DialError> {
    let url: Url = "ws://server.example:9000/".parse().unwrap();
    let options =
        DialOptions::default().with_resolver(Resolver::new(move |_, _| Ok(addresses.clone())));
    let request = ClientRequest::new(&url.host, &url.target);
    let version = Version::named("rfc6455").unwrap();
    Connection::dial(&url, version, &request, options, Instant::now() + patience)
}

#[test]
fn a_client_reaches_the_address_that_answers() {
    let (silent, server) = (Silent::new(), Backend::listen());
    // Without a share for each, those before it take 1,250 ms.
    let silent_ones = |n| vec![silent.address; n];
    let addresses = [silent_ones(5), vec![server.address], silent_ones(10)].concat();
    for patience in [1_200, 10_000].map(Duration::from_millis) {
        let start = Instant::now();
        dial(addresses.clone(), patience).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        server.accept_raw();
    }
}

#[test]
fn where_none_answers_the_time_is_up() {
    let silent = Silent::new();
    let start = Instant::now();
    let patience = Duration::from_millis(300);
    let error = dial(vec![silent.address; 3], patience).unwrap_err();
    assert!(matches!(error, DialError::TimedOut), "{error}");
    assert!(start.elapsed() >= patience);
    let error = dial(Vec::new(), patience).unwrap_err();
    assert!(matches!(error, DialError::Resolve(_)), "{error}");
}

#[test]
fn a_lookup_that_hangs_ends_with_the_deadline() {
    let url: Url = "ws://server.example:9000/".parse().unwrap();
    let hangs = Resolver::new(|_, _| {
        loop {
            thread::park();
        }
    });
    let options = DialOptions::default().with_resolver(hangs);
    let request = ClientRequest::new(&url.host, &url.target);
    let version = Version::named("rfc6455").unwrap();
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = Connection::dial(&url, version, &request, options, deadline).unwrap_err();
    assert!(matches!(error, DialError::TimedOut), "{error}");
}

struct Nothing;

impl TrafficRecorder for Nothing {
    fn octets(&mut self, _: Side, _: &[u8]) {}
    fn end(&mut self, _: Side, _: Ending) {}
    fn done(self, _: Option<CutShort>) {}
}

#[test]
fn a_relay_reaches_the_address_that_answers() {
    let (silent, server) = (Silent::new(), Backend::listen());
    let addresses = vec![silent.address, server.address];
    let resolver = Resolver::new(move |_, _| Ok(addresses.clone()));
    let to: Endpoint = "server.example:9000".parse().unwrap();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let mut relay = Relay::bind(&[loopback], to, resolver, Settings::default()).unwrap();
    let address = relay.addresses()[0];
    let pipe = relay.shutdown_pipe().unwrap();
    let running = thread::spawn(move || relay.run(|| Nothing));
    let mut client = Peer::connect(address);
    client.send(b"carried");
    assert_eq!(server.accept_raw().exactly(7), b"carried");
    drop(client);
    std::io::Write::write_all(&mut &pipe, b"x").unwrap();
    running.join().unwrap();
}
