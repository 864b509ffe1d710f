//! The two kinds of versions, and the ways in which their octets may arrive.

use heirloom::Config;

use crate::support::peer::{
    BINARY, CLOSE, DIGEST, KEY3, PING, PONG, Peer, RFC, TEXT, frame, request, said,
};
use crate::support::server::{Running, setup};
use crate::{HIXIE_76, head_of_76};

#[test]
fn both_versions_talk_at_once_and_close_each_in_its_own_way() {
    let server = Running::serve(Config::default());
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    let mut new = Peer::open(server.address, RFC, "/");
    for text in ["Hello", "", "grüß 😀", &"long ".repeat(1000)] {
        old.send_text(text);
        new.send_text(text);
        assert_eq!(old.receive_text(), text);
        assert_eq!(new.receive_text(), text);
    }
    old.close();
    new.close();
}

#[test]
fn binary_comes_back_as_binary() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    for octets in [&b""[..], &[0, 0xff, 0x80], &[7; 70_000]] {
        peer.send(&frame(BINARY, octets));
        assert_eq!(peer.frame(), (BINARY, octets.to_vec()));
    }
}

#[test]
fn heads_and_frames_may_come_octet_by_octet() {
    let server = Running::serve(Config::default());
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::connect(server.address);
        peer.send_singly(&request(speaks, "/"));
        peer.agree(speaks);
        for text in ["one by one", &"x".repeat(200)] {
            peer.send_singly(&said(speaks, text));
            assert_eq!(peer.receive_text(), text);
        }
        peer.close();
    }
}

#[test]
fn a_head_and_its_first_message_may_come_at_once() {
    let server = Running::serve(Config::default());
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::connect(server.address);
        peer.send(&[request(speaks, "/"), said(speaks, "early")].concat());
        peer.agree(speaks);
        assert_eq!(peer.receive_text(), "early");
        peer.close();
    }
}

#[test]
fn the_eight_octets_may_wait_for_the_101() {
    // Most proxies hold them back until they have seen it.
    let server = Running::serve(Config::default());
    let mut peer = Peer::connect(server.address);
    peer.send(&head_of_76());
    assert_eq!(peer.head().status(), 101);
    peer.send(KEY3);
    assert_eq!(peer.exactly(16), DIGEST);
}

#[test]
fn messages_of_one_write_come_back_in_order() {
    let server = Running::serve(Config::default());
    let texts: Vec<String> = (0..500).map(|n| format!("message {n}")).collect();
    for speaks in [HIXIE_76, RFC] {
        let mut peer = Peer::open(server.address, speaks, "/");
        let octets: Vec<u8> = texts.iter().flat_map(|text| said(speaks, text)).collect();
        peer.send(&octets);
        for text in &texts {
            assert_eq!(peer.receive_text(), *text);
        }
    }
}

#[test]
fn a_ping_between_fragments_is_answered_before_the_message() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(0x01, b"Hel"));
    peer.send(&frame(PING, b"there?"));
    // The answer is awaited, so the message cannot have been whole.
    assert_eq!(peer.frame(), (PONG, b"there?".to_vec()));
    peer.send(&frame(0x80, b"lo"));
    assert_eq!(peer.receive_text(), "Hello");
}

#[test]
fn messages_of_a_megabyte_come_back_whole() {
    let server = Running::serve(Config::default());
    let text = "é".repeat(512 * 1024);
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    let mut new = Peer::open(server.address, RFC, "/");
    for _ in 0..3 {
        old.send_text(&text);
        new.send_text(&text);
        assert!(new.receive_text() == text);
        assert!(old.receive_text() == text);
        let octets: Vec<u8> = (0..1u32 << 20).map(|n| n as u8).collect();
        new.send(&frame(BINARY, &octets));
        assert!(new.frame() == (BINARY, octets));
    }
}

#[test]
fn a_message_of_many_fragments_comes_back_whole() {
    let server = Running::serve(Config::default());
    let octets: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    for size in [7, 1000, 65_536] {
        let mut peer = Peer::open(server.address, RFC, "/");
        let mut frames = frame(0x02, b"");
        for piece in octets.chunks(size) {
            frames.extend(frame(0x00, piece));
        }
        frames.extend(frame(0x80, b""));
        peer.send(&frames);
        assert!(
            peer.frame() == (BINARY, octets.clone()),
            "in pieces of {size}"
        );
    }
}

#[test]
fn a_message_at_the_limit_comes_back_and_one_octet_more_is_refused() {
    let server = Running::serve(Config::default());
    let most = 16 << 20;
    let octets = vec![b'm'; most];
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(TEXT, &octets));
    assert!(peer.frame() == (TEXT, octets));
    // The length alone is enough to refuse it.
    let head = [&[BINARY, 0x80 | 127][..], &(most as u64 + 1).to_be_bytes()].concat();
    peer.send(&head);
    peer.send(&[0; 4]);
    peer.close_frame(1009);
    peer.ends();
}

#[test]
fn fragments_that_are_too_much_together_are_refused() {
    let server = Running::serve(setup(|s| s.config.limits.message_bytes = 1000));
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(0x01, &[b'a'; 600]));
    peer.send(&frame(0x80, &[b'a'; 401]));
    peer.close_frame(1009);
    peer.ends();
    let mut old = Peer::open(server.address, HIXIE_76, "/");
    old.send_text(&"a".repeat(1001));
    assert_eq!(old.exactly(2), [0xff, 0]);
    old.ends();
}

#[test]
fn a_close_frame_without_a_code_is_answered_without_one() {
    let server = Running::serve(Config::default());
    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(CLOSE, b""));
    assert_eq!(peer.frame(), (CLOSE, Vec::new()));
    peer.ends();
}
