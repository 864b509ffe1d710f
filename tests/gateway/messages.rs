//! Messages and pings, and binary ones for who has none.

use heirloom::net::Binary;
use heirloom::net::ClosedBy;

use crate::gate::{HIXIE_76, bridge, gate, gate_with, milliseconds, receive_whole, request_with};
use crate::support::backend::{Backend, clear};
use crate::support::peer::{BINARY, DIGEST, PING, PONG, Peer, RFC, TEXT, frame, said};

#[test]
fn half_a_message_arrives_before_its_other_half_is_sent() {
    let backend = Backend::listen();
    let gate = gate(&backend);

    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    // A hixie text has no length before its end.
    old.send(b"\0half ");
    assert!(!served.receives_within(milliseconds(40)));
    old.send(b"whole\xff");
    assert_eq!(served.masked_frame(), (TEXT, b"half whole".to_vec()));
    served.send(&clear(0x01, b"and "));
    assert_eq!(old.exactly(5), b"\0and ");
    served.send(&clear(PING, b"p"));
    assert_eq!(served.masked_frame(), (PONG, b"p".to_vec()));
    served.send(&clear(0x80, b"back"));
    assert_eq!(old.exactly(5), b"back\xff");

    let (mut new, mut served) = bridge(&gate, &backend, RFC);
    new.send(&frame(0x02, b"half "));
    assert_eq!(served.masked_frame(), (0x02, b"half ".to_vec()));
    new.send(&frame(PING, b"q"));
    assert_eq!(served.masked_frame(), (PING, b"q".to_vec()));
    served.send(&clear(PONG, b"q"));
    assert_eq!(new.frame(), (PONG, b"q".to_vec()));
    new.send(&frame(0x80, b"whole"));
    assert_eq!(served.masked_frame(), (0x80, b"whole".to_vec()));
    // Half a frame, with its length.
    new.send(&frame(TEXT, b"half whole")[..2 + 4 + 5]);
    let start = served.exactly(2 + 4 + 5);
    assert_eq!(start[..2], [TEXT, 0x80 | 10]);
}

#[test]
fn a_character_cut_in_two_arrives_whole_and_one_that_is_never_whole_is_mended() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    let text = "😀".as_bytes();
    old.send(&[0, text[0], text[1]]);
    old.send(&[text[2], 0x80, b'x', 0xc3, 0xff]);
    assert_eq!(
        String::from_utf8(receive_whole(&mut served)).unwrap(),
        "😀x\u{fffd}"
    );
}

#[test]
fn a_message_over_the_limit_ends_both_and_never_arrives_whole() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.config.limits.message_bytes = 1000);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send(&frame(0x01, &[b'a'; 600]));
    client.send(&frame(0x80, &[b'a'; 401]));
    client.close_frame(1009);
    assert_eq!(served.masked_frame().0, 0x01);
    assert_eq!(served.receive_close(1001), "message-too-big");
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    served.send(&clear(0x01, &[b'a'; 600]));
    served.send(&clear(0x80, &[b'a'; 401]));
    served.receive_close(1009);
    assert_eq!(old.rest(), [&[0][..], &[b'a'; 600]].concat());
}

// Binary messages.

#[test]
fn binary_for_a_hixie_client_ends_with_1003_unless_base64_is_on() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    served.send(&clear(BINARY, b"\xff\0"));
    assert_eq!(served.receive_close(1003), "binary-unwanted");
    assert_eq!(old.rest(), [0xff, 0]);
    drop(old);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Backend, "binary-unwanted"));
    assert_eq!(seen.code, Some(1003));
}

#[test]
fn base64_is_what_a_side_without_binary_talks_where_it_is_on() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.backend.binary = Binary::Base64);
    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    old.send_text("AP8=");
    assert_eq!(served.masked_frame(), (BINARY, vec![0, 0xff]));
    served.send(&clear(BINARY, &[0xff, 0, 1]));
    assert_eq!(old.receive_text(), "/wAB");
    served.send(&clear(0x02, &[0xff]));
    served.send(&clear(0x80, &[0, 1, 2]));
    assert_eq!(old.receive_text(), "/wABAg==");
    old.send_text("no base64");
    served.receive_close(1001);
    assert_eq!(old.rest(), [0xff, 0]);
    drop(old);
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Client, "base64-malformed"));
}

#[test]
fn the_subprotocol_base64_is_answered_by_us_and_binary_asked_of_the_backend() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| set.backend.binary = Binary::Base64);
    for speaks in [HIXIE_76, RFC] {
        for agrees in [true, false] {
            let mut client = Peer::connect(gate.address);
            client.send(&request_with(
                speaks,
                "/",
                &["Sec-WebSocket-Protocol: base64"],
            ));
            let mut served = backend.accept();
            assert_eq!(served.head.header("Sec-WebSocket-Protocol"), Some("binary"));
            if agrees {
                served.agree_to(&[("Sec-WebSocket-Protocol", "binary")]);
            } else {
                served.agree_to(&[]);
            }
            let head = client.head();
            assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("base64"));
            if speaks == HIXIE_76 {
                assert_eq!(client.exactly(16), DIGEST);
            }
            client.send(&said(speaks, "AP8="));
            assert_eq!(served.masked_frame(), (BINARY, vec![0, 0xff]));
        }
    }
    // Who asks for both has binary, and is passed on as it is.
    let mut client = Peer::connect(gate.address);
    client.send(&request_with(
        RFC,
        "/",
        &["Sec-WebSocket-Protocol: binary, base64"],
    ));
    let mut served = backend.accept();
    let asked = served.head.header("Sec-WebSocket-Protocol");
    assert_eq!(asked, Some("binary, base64"));
    served.agree_to(&[("Sec-WebSocket-Protocol", "binary")]);
    client.agree(RFC);
    client.send(&frame(BINARY, b"\0"));
    assert_eq!(served.masked_frame(), (BINARY, vec![0]));
}
