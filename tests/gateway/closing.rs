//! Closes, and connections that end without one.

use heirloom::conn::Tally;
use heirloom::net::ClosedBy;

use crate::gate::{
    ALL, HIXIE_75, HIXIE_76, bridge, gate, gate_with, milliseconds, receive_whole_at_client,
};
use crate::support::backend::{Backend, clear};
use crate::support::peer::{CLOSE, Peer, RFC, Speaks, TEXT, frame, request};

#[test]
fn closes_are_carried_with_code_and_reason_and_answered_end_to_end() {
    let backend = Backend::listen();
    let gate = gate(&backend);

    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send(&frame(CLOSE, b"\x0f\xa0why"));
    assert_eq!(served.receive_close(4000), "why");
    // The answer is the backend's, not ours.
    assert!(!client.receives_within(milliseconds(40)));
    served.send_text("one more");
    served.send(&clear(CLOSE, &[0x0f, 0xa0]));
    assert_eq!(client.receive_text(), "one more");
    client.close_frame(4000);
    client.ends();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.what), (ClosedBy::Client, "closed"));
    assert_eq!(seen.code, Some(4000));
    assert_eq!(
        seen.to_client,
        Tally {
            messages: 1,
            octets: 8
        }
    );

    let (mut client, mut served) = bridge(&gate, &backend, Speaks::Number(8));
    served.send(&clear(CLOSE, b"\x03\xf1too big"));
    assert_eq!(client.close_frame(1004), "too big");
    client.send(&frame(CLOSE, &[0x03, 0xec]));
    served.receive_close(1009);
    client.ends();
    let seen = gate.seen();
    assert_eq!((seen.by, seen.code), (ClosedBy::Backend, Some(1009)));

    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    served.send(&clear(CLOSE, &[]));
    assert_eq!(client.frame(), (CLOSE, vec![]));
    client.send(&frame(CLOSE, &[]));
    assert_eq!(served.masked_frame(), (CLOSE, vec![]));
    served.finish();
    client.ends();
}

#[test]
fn closes_of_hixie_are_codes_for_the_backend_and_its_code_closes_them() {
    let backend = Backend::listen();
    let gate = gate(&backend);

    let (mut old, mut served) = bridge(&gate, &backend, HIXIE_76);
    old.send(&[0xff, 0]);
    served.receive_close(1000);
    served.send(&clear(CLOSE, &[0x03, 0xe8]));
    assert_eq!(old.rest(), [0xff, 0]);

    for speaks in [HIXIE_75, HIXIE_76] {
        let (old, mut served) = bridge(&gate, &backend, speaks);
        old.finish();
        served.receive_close(1001);
        served.send(&clear(CLOSE, &[0x03, 0xe9]));
        served.finish();
    }

    for (speaks, words) in [(HIXIE_75, &[][..]), (HIXIE_76, &[0xff, 0])] {
        let (mut old, mut served) = bridge(&gate, &backend, speaks);
        served.send_text("last");
        served.send(&clear(CLOSE, b"\x03\xe9bye"));
        assert_eq!(old.receive_text(), "last");
        assert_eq!(old.rest(), words, "{speaks:?}");
    }
}

#[test]
fn a_client_that_closes_by_half_of_tcp_still_receives_what_the_backend_sends() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in [HIXIE_75, HIXIE_76] {
        let (mut old, mut served) = bridge(&gate, &backend, speaks);
        old.send_text("question");
        old.finish();
        assert_eq!(served.receive_text(), "question");
        served.receive_close(1001);
        let response = "x".repeat(300_000);
        served.send_text(&response);
        served.send(&clear(CLOSE, &[0x03, 0xe9]));
        assert!(old.receive_text() == response, "{speaks:?}");
        old.is_cut_off();
    }
}

#[test]
fn a_backend_that_half_closes_after_its_close_still_gets_the_client_s() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    served.send(&clear(CLOSE, &[0x03, 0xe8]));
    served.finish();
    client.close_frame(1000);
    client.send(&frame(CLOSE, &[0x03, 0xe8]));
    served.receive_close(1000);
    client.ends();
}

#[test]
fn a_backend_that_is_gone_is_told_each_in_its_version_s_own_way() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for resets in [false, true] {
        for speaks in ALL {
            let (mut client, served) = bridge(&gate, &backend, speaks);
            if resets {
                served.reset();
            } else {
                served.finish();
            }
            match speaks {
                HIXIE_75 => {}
                HIXIE_76 => assert_eq!(client.exactly(2), [0xff, 0]),
                RFC => drop(client.close_frame(1014)),
                Speaks::Number(_) => drop(client.close_frame(1001)),
            }
            if let Speaks::Number(_) = speaks {
                client.send(&frame(CLOSE, &[0x03, 0xe9]));
            }
            client.ends();
            drop(client);
            let seen = gate.seen();
            assert_eq!(seen.by, ClosedBy::Backend, "{speaks:?}");
            assert!(seen.opened);
        }
    }
}

#[test]
fn a_client_that_is_gone_is_1001_for_the_backend() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let (client, mut served) = bridge(&gate, &backend, speaks);
        client.reset();
        served.receive_close(1001);
        let seen = gate.seen();
        assert_eq!((seen.by, seen.what), (ClosedBy::Client, "reset"));
    }
}

#[test]
fn half_a_message_of_a_client_that_is_gone_is_never_whole_for_the_backend() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for speaks in ALL {
        let (mut client, mut served) = bridge(&gate, &backend, speaks);
        match speaks {
            // Its length is not known yet, so nothing of it goes on.
            HIXIE_75 | HIXIE_76 => client.send(b"\0half"),
            Speaks::Number(_) => {
                client.send(&frame(0x01, b"half"));
                assert_eq!(served.masked_frame(), (0x01, b"half".to_vec()));
            }
        }
        client.finish();
        served.receive_close(1001);
        drop(client);
        assert_eq!(gate.seen().what, "connection-cut", "{speaks:?}");
    }
}

#[test]
fn a_protocol_error_of_the_backend_is_told_to_it_and_1014_to_the_client() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    for (octets, code, what) in [
        (vec![0xc1, 0], 1002, "reserved-bits"),
        (frame(TEXT, b"masked"), 1002, "mask-unexpected"),
        (clear(TEXT, b"\xff"), 1007, "utf8-invalid"),
        (clear(CLOSE, &[0x03, 0xee]), 1002, "close-code-invalid"),
    ] {
        let (mut client, mut served) = bridge(&gate, &backend, RFC);
        served.send(&octets);
        assert_eq!(served.receive_close(code), what);
        assert_eq!(client.close_frame(1014), what);
        client.send(&frame(CLOSE, &[0x03, 0xf6]));
        client.ends();
        drop(client);
        let seen = gate.seen();
        assert_eq!((seen.by, seen.what), (ClosedBy::Backend, what));
    }
}

#[test]
fn half_a_frame_of_a_client_that_is_gone_ends_with_tcp() {
    let backend = Backend::listen();
    let gate = gate(&backend);
    let (mut client, mut served) = bridge(&gate, &backend, RFC);
    client.send(&frame(TEXT, b"halfhalf")[..2 + 4 + 4]);
    assert_eq!(served.exactly(2 + 4 + 4)[..2], [TEXT, 0x80 | 8]);
    client.reset();
    assert_eq!(served.rest(), b"");
}

#[test]
fn what_a_hixie_75_backend_has_sent_reaches_a_client_that_has_closed() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        set.backend.version = heirloom::Version::named("hixie-75").unwrap();
    });
    let mut client = Peer::connect(gate.address);
    client.send(&request(RFC, "/"));
    let mut served = backend.accept();
    let agreed = served.response_of_75();
    served.send(agreed.as_bytes());
    client.agree(RFC);
    client.send_text("one");
    client.send_text("two");
    client.send(&frame(CLOSE, b"\x0f\xa0why"));
    assert_eq!(served.exactly(10), b"\0one\xff\0two\xff");
    // Our side of TCP is the close.
    assert_eq!(served.rest(), b"");
    let long = "x".repeat(300_000);
    let answers = ["first", &long, "last"];
    for answer in answers {
        served.send(&[&[0], answer.as_bytes(), &[0xff]].concat());
    }
    served.finish();
    for answer in answers {
        assert!(receive_whole_at_client(&mut client) == answer.as_bytes());
    }
    assert_eq!(client.close_frame(4000), "");
    client.ends();
}
