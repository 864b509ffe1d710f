//! Gateways whose backends lead back to them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use heirloom::net::{Http, ProxyVersion, Resolver};

use crate::gate::{ALL, Gate, gate_with};
use crate::several::refused;
use crate::support::backend::Backend;
use crate::support::peer::{Peer, RFC, request};

/// A gateway whose backend has a name that is resolved to what the sender says.
fn gate_to_be_led(http: Http) -> (Gate, Arc<Mutex<Option<SocketAddr>>>) {
    let to = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&to);
    let gate = gate_with("ws://behind:1", |set| {
        set.backend = set.backend.clone().with_http(http);
        set.backend.resolver = Resolver::new(move |_, _| {
            let address: Option<SocketAddr> = *asked.lock().unwrap();
            Ok(address.into_iter().collect())
        });
    });
    (gate, to)
}

#[test]
fn a_gateway_that_leads_to_itself_says_so() {
    let (gate, to) = gate_to_be_led(Http::Pass);
    *to.lock().unwrap() = Some(gate.address);
    for speaks in ALL {
        let (status, body) = refused(&gate, speaks);
        assert_eq!(status, 508, "{speaks:?}: {body}");
        assert!(body.starts_with("gateway-loop: "), "{body}");
        let ends = [gate.seen(), gate.seen()];
        assert!(
            ends.iter().all(|seen| seen.what == "gateway-loop"),
            "{ends:?}"
        );
    }
    let mut client = Peer::connect(gate.address);
    client.send(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, body) = client.response();
    assert_eq!(head.status(), 508, "{body}");
}

#[test]
fn a_proxy_between_does_not_hide_it() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let to = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&to);
        let gate = gate_with("ws://behind:1", |set| {
            set.proxies = "127.0.0.1".parse().unwrap();
            set.backend.send_proxy = Some(version);
            set.backend.resolver = Resolver::new(move |_, _| {
                let address: Option<SocketAddr> = *asked.lock().unwrap();
                Ok(address.into_iter().collect())
            });
        });
        *to.lock().unwrap() = Some(gate.address);
        for speaks in ALL {
            let mut client = Peer::connect(gate.address);
            client.send(b"PROXY TCP4 192.0.2.1 127.0.0.1 9 9\r\n");
            client.send(&request(speaks, "/"));
            let (head, body) = client.response();
            assert_eq!(head.status(), 508, "{speaks:?}: {body}");
        }
    }
}

#[test]
fn a_circle_of_two_gateways_is_found() {
    let (one, to_two) = gate_to_be_led(Http::Refuse);
    let (two, to_one) = gate_to_be_led(Http::Refuse);
    *to_two.lock().unwrap() = Some(two.address);
    *to_one.lock().unwrap() = Some(one.address);
    for speaks in ALL {
        let (status, body) = refused(&one, speaks);
        assert_eq!(status, 508, "{speaks:?}: {body}");
        assert!(body.starts_with("gateway-loop: "), "{body}");
        // The client's, and the one that came back.
        assert_eq!([one.seen().what, one.seen().what], ["gateway-loop"; 2]);
        assert_eq!(two.seen().what, "gateway-loop");
    }
}

#[test]
fn two_gateways_in_a_row_are_no_circle() {
    let (one, to_two) = gate_to_be_led(Http::Refuse);
    let (two, to_one) = gate_to_be_led(Http::Refuse);
    let backend = Backend::listen();
    *to_two.lock().unwrap() = Some(two.address);
    *to_one.lock().unwrap() = Some(backend.address);
    let mut client = Peer::connect(one.address);
    client.send(&request(RFC, "/"));
    let served = backend.open();
    client.agree(RFC);
    let hops = served.head.header("CDN-Loop").unwrap();
    assert_eq!(hops.split(", ").count(), 2, "{hops}");
}
