//! Binary messages as base64, where sides compress.

use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heirloom::extension::Mode;
use heirloom::net::Binary;

use super::{
    Agreed, EXTENSIONS, End, Frames, before_hixie, gate_before_hixie, hixie_text, mode, noise,
};
use crate::gate::{Gate, gate_with, request_with};
use crate::support::backend::{Backend, Served};
use crate::support::peer::{BINARY, PONG, Peer, RFC, TEXT};

/// A client that asks for base64 and agrees to this, and its backend.
fn bridge_in_base64(
    gate: &Gate,
    backend: &Backend,
    of_client: Agreed,
    of_backend: Agreed,
) -> (End<Peer>, End<Served>) {
    let mut client = Peer::connect(gate.address);
    let mut lines = vec!["Sec-WebSocket-Protocol: base64".to_owned()];
    lines.extend(of_client.value().map(|v| format!("{EXTENSIONS}: {v}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    client.send(&request_with(RFC, "/", &lines));
    let mut served = backend.accept();
    let mut headers = vec![("Sec-WebSocket-Protocol", "binary")];
    headers.extend(of_backend.value().map(|value| (EXTENSIONS, value)));
    served.agree_to(&headers);
    client.agree(RFC);
    (End::new(client, of_client), End::new(served, of_backend))
}

#[test]
fn base64_is_right_however_each_side_compresses() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        mode(Mode::PerConnection)(set);
        set.backend.binary = Binary::Base64;
    });
    for of_client in Agreed::ALL {
        for of_backend in Agreed::ALL {
            let (mut client, mut served) = bridge_in_base64(&gate, &backend, of_client, of_backend);
            for octets in [0, 1, 2, 3, 200, 50_000, 200_000] {
                let binary = [noise(octets / 2), vec![7; octets - octets / 2]].concat();
                let coded = STANDARD.encode(&binary);
                for cut in [None, Some(1), Some(octets / 2)] {
                    let received = thread::scope(|scope| {
                        scope.spawn(|| send_cut(&mut client, TEXT, coded.as_bytes(), cut));
                        served.receive()
                    });
                    assert_eq!(received.first & 0x0f, 2);
                    assert!(received.payload == binary, "{octets} to the backend");
                    let received = thread::scope(|scope| {
                        scope.spawn(|| send_cut(&mut served, BINARY, &binary, cut));
                        client.receive()
                    });
                    assert_eq!(received.first & 0x0f, 1);
                    assert!(
                        received.payload == coded.as_bytes(),
                        "{octets} to the client"
                    );
                }
            }
        }
    }
}

/// Sends a message in one frame, or in two that are cut here.
fn send_cut<P: Frames>(end: &mut End<P>, first: u8, payload: &[u8], cut: Option<usize>) {
    match cut {
        None => end.send(first, &[payload]),
        Some(at) => {
            let (one, two) = payload.split_at(at.min(payload.len()));
            end.send(first, &[one, two]);
        }
    }
}

#[test]
fn binary_of_a_client_that_compresses_is_base64_for_a_hixie_backend() {
    let backend = Backend::listen();
    let gate = gate_before_hixie(&backend, Binary::Base64);
    for agreed in Agreed::ALL {
        let (mut client, mut served) = before_hixie(&gate, &backend, agreed);
        client.send(BINARY, &[&[0, 0xff, 1]]);
        assert_eq!(hixie_text(&mut served), b"AP8B");
        client.send(BINARY, &[&[0], &[0xff]]);
        assert_eq!(hixie_text(&mut served), b"AP8=");
        assert_eq!(client.peer.read(), (PONG, vec![0]));
        let zeros = vec![0; 90_000];
        client.send(BINARY, &[&zeros]);
        assert!(hixie_text(&mut served) == vec![b'A'; 120_000]);
        served.send(b"\0AP8=\xff");
        let received = client.receive();
        assert_eq!(
            (received.first & 0x0f, received.payload),
            (2, vec![0, 0xff])
        );
    }
}
