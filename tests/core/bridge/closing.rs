//! Closes and losses, as far as each version can be told of them.

use heirloom::conn::{Coding, Phase};
use heirloom::error::Violation;
use heirloom::message::Message;
use heirloom::version::{Closing, Layout};
use heirloom::{Side, VERSIONS, Version};

use super::joined::{Bridge, both, named, pairs};
use super::wire::{Op, frames};
use crate::memory::Received;

/// The body of the close frame by which a peer of this version is told this code
/// by our end of `by`; `None` where there are no close frames.
fn close_body(version: &Version, by: Side, code: u16, reason: &str) -> Option<Vec<u8>> {
    let draft = |code| match code {
        1009 => 1004,
        1008 => 1003,
        1010 => 1002,
        1011..=1014 => 1001,
        code => code,
    };
    let code = match (version.name, code) {
        ("hixie-75", _) => return None,
        ("hixie-76" | "hybi-03" | "hybi-04", _) => return Some(Vec::new()),
        ("hybi-05", _) if by == Side::Client => return Some(b"C".to_vec()),
        ("hybi-05", _) => return Some(b"S".to_vec()),
        (_, 1005) => return Some(Vec::new()),
        ("rfc6455", code) => code,
        // 1007 came with the draft that made text fail.
        ("hybi-06" | "hybi-07", 1007) => 1002,
        (_, code) => draft(code),
    };
    Some([&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The body of the last frame that a client or backend received, which is its only
/// close frame. `None` where the end of TCP closed.
fn last_close(bridge: &mut Bridge, side: Side) -> Option<Vec<u8>> {
    let end = bridge.outer(side);
    let version = end.version();
    let octets = end.arrived.clone();
    let Some(frames) = frames(version, side.peer(), &octets) else {
        // Masked with a key of the handshake: what was received must do.
        return match end.received.last() {
            Some(Received::Close(code, text)) => {
                assert_eq!(*code, None);
                Some(text.clone().into_bytes())
            }
            _ => None,
        };
    };
    let closes = frames.iter().filter(|f| f.op == Op::Close).count();
    assert!(closes <= 1, "{version} receives {closes} closes");
    assert!(
        end.input_ends || end.conn().phase() == Phase::Closed,
        "{version}"
    );
    let last = frames.last()?;
    (last.op == Op::Close).then(|| last.payload.clone())
}

const CODES: [u16; 16] = [
    1005, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999,
];

#[test]
fn each_close_code_is_passed_on_to_each_version_as_far_as_it_can_carry_it() {
    for (client, backend) in pairs() {
        for from in both() {
            for code in CODES {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let sender = bridge.outer(from).version();
                let receiver = bridge.outer(from.peer()).version();
                // What the sender's own version makes of it.
                let (meant, reason) = match close_body(sender, from, code, "why") {
                    _ if !sender.has_close_codes() => (
                        match (sender.name, from) {
                            // The end of TCP: a page that is left, a server
                            // that has sent all.
                            ("hixie-75", Side::Client) => 1001,
                            _ => 1000,
                        },
                        "",
                    ),
                    Some(body) if body.is_empty() => (1005, ""),
                    Some(body) => match u16::from_be_bytes([body[0], body[1]]) {
                        1004 => (1009, "why"),
                        code => (code, "why"),
                    },
                    None => unreachable!(),
                };
                bridge.close(from, code, "why");
                bridge.settle();
                let want = close_body(receiver, from, meant, reason);
                let received = last_close(&mut bridge, from.peer());
                assert_eq!(received, want, "{code} from {sender} to {receiver}");
                for side in both() {
                    let end = bridge.outer(side);
                    let at = format!("{code} from {sender} to {receiver}");
                    assert_eq!(end.violation, None, "{at}");
                    assert_eq!(end.conn().phase(), Phase::Closed, "{at}");
                    assert_ne!(
                        end.end_of_input,
                        Some(Err(Violation::ConnectionCut)),
                        "{at}"
                    );
                }
                for direction in [&bridge.to_backend, &bridge.to_client] {
                    // Each carries the other's, or the end of TCP of hixie-75.
                    assert!(
                        direction.close_code().is_some(),
                        "{code} {sender} {receiver}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_code_that_must_not_be_sent_is_written() {
    for (client, backend) in pairs() {
        for code in [1005u16, 1006, 1015, 1004, 0, 999, 1016, 2999, 5000, 65_535] {
            for side in both() {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let ((), sent) = bridge
                    .ours(side)
                    .send(|conn, out| conn.close(code, "why", out));
                bridge.outer(side).add_incoming(&sent);
                let version = bridge.outer(side).version();
                if let Some(frames) = frames(version, side.peer(), &sent) {
                    let body = frames.first().map_or(&[][..], |f| &f.payload);
                    if version.has_close_codes() {
                        assert_eq!(body, b"", "{code} to {version}");
                    }
                }
                bridge.settle();
                let violation = &bridge.outer(side).violation;
                assert_eq!(*violation, None, "{code} to {version}");
            }
        }
    }
}

#[test]
fn a_close_frame_of_hybi_05_names_its_sender_whatever_the_other_end_sent() {
    // docs/versions.md: a close frame with a letter.
    let hybi_05 = named("hybi-05");
    for code in CODES {
        let mut bridge = Bridge::open(hybi_05, named("rfc6455"), Coding::Plain);
        bridge.close(Side::Server, code, "");
        bridge.settle();
        assert_eq!(
            last_close(&mut bridge, Side::Client).unwrap(),
            b"S",
            "{code}"
        );
        let mut bridge = Bridge::open(named("rfc6455"), hybi_05, Coding::Plain);
        bridge.close(Side::Client, code, "");
        bridge.settle();
        assert_eq!(
            last_close(&mut bridge, Side::Server).unwrap(),
            b"C",
            "{code}"
        );
    }
}

#[test]
fn closes_that_cross_end_both_without_a_fault() {
    for (client, backend) in pairs() {
        for late in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            bridge.close(Side::Client, 1000, "client");
            bridge.close(Side::Server, 1001, "backend");
            // One of the two is read first.
            let n = bridge.ours(late.peer()).incoming.len();
            bridge.step(late.peer(), true, n);
            bridge.settle();
            for side in both() {
                let end = bridge.outer(side);
                assert_eq!(end.violation, None, "{client} {backend}");
                assert_eq!(end.conn().phase(), Phase::Closed, "{client} {backend}");
                let _ = last_close(&mut bridge, side);
            }
            assert_eq!(bridge.violations, []);
        }
    }
}

#[test]
fn what_was_sent_before_a_close_is_received_before_it() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            // The other one sends too: it has not received the close yet.
            bridge.send(from, |conn, out| conn.send(Message::text("last"), out));
            bridge.close(from, 1000, "");
            bridge.send(from.peer(), |conn, out| {
                conn.send(Message::text("crossing"), out)
            });
            let n = bridge.ours(from).incoming.len();
            bridge.step(from, true, n);
            bridge.settle();
            let last = Received::text("last");
            assert_eq!(bridge.outer(from.peer()).messages(), [last]);
            // A hixie-75 that closed receives no more here, and one of hixie
            // that was closed by the end of TCP is not read any more.
            let sender = bridge.outer(from).version();
            let receiver = bridge.outer(from.peer()).version();
            if sender.closing != Closing::Hixie75 && receiver.layout != Layout::Hixie75 {
                let received = bridge.outer(from).messages();
                let crossing = Received::text("crossing");
                assert_eq!(received, [crossing], "{client} to {backend}");
            }
        }
    }
}

#[test]
fn the_end_of_a_hixie_connection_is_a_close_with_a_code() {
    for hixie in ["hixie-75", "hixie-76"].map(named) {
        for other in VERSIONS {
            // A client that leaves, and a backend that has sent all.
            for (from, code) in [(Side::Client, 1001), (Side::Server, 1000)] {
                let (client, backend) = match from {
                    Side::Client => (hixie, other),
                    Side::Server => (other, hixie),
                };
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                bridge.send(from, |conn, out| conn.send(Message::text("bye"), out));
                bridge.ours(from).lose_peer();
                bridge.settle();
                let bye = Received::text("bye");
                assert_eq!(bridge.outer(from.peer()).messages(), [bye]);
                let received = last_close(&mut bridge, from.peer());
                assert_eq!(
                    received,
                    close_body(other, from, code, ""),
                    "{hixie} to {other}"
                );
                assert_eq!(bridge.outer(from.peer()).violation, None);
                assert_eq!(bridge.violations, []);
            }
        }
    }
}

#[test]
fn ff_00_is_a_close_with_1000() {
    for other in VERSIONS {
        let mut bridge = Bridge::open(named("hixie-76"), other, Coding::Plain);
        bridge.front.add_incoming(&[0xff, 0]);
        bridge.settle();
        let received = last_close(&mut bridge, Side::Server);
        assert_eq!(
            received,
            close_body(other, Side::Client, 1000, ""),
            "{other}"
        );
        assert_eq!(bridge.client.arrived, [0xff, 0], "{other}");
    }
}

#[test]
fn a_lost_backend_is_1014_and_a_lost_client_is_1001() {
    for (client, backend) in pairs() {
        for (gone, code) in [(Side::Server, 1014), (Side::Client, 1001)] {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            bridge.send(gone, |conn, out| conn.send(Message::text("whole"), out));
            bridge.settle();
            bridge.lose(gone, "reset");
            let left = gone.peer();
            let version = bridge.outer(left).version();
            // What it replies goes nowhere.
            while bridge.step(left, false, usize::MAX) || bridge.step_end(left, false) {}
            let received = last_close(&mut bridge, left);
            let want = close_body(version, gone, code, "reset");
            assert_eq!(received, want, "{client}, {backend}");
            let end = bridge.outer(left);
            assert_eq!(end.messages().len(), 1);
            assert_eq!(end.violation, None);
            assert_eq!(end.conn().phase(), Phase::Closed);
        }
    }
}

#[test]
fn an_end_that_closed_gets_its_code_back_when_the_other_end_is_lost() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let sender = bridge.outer(from).version();
            bridge.close(from, 4000, "mine");
            let n = bridge.ours(from).incoming.len();
            bridge.step(from, true, n);
            bridge.step_end(from, true);
            bridge.lose(from.peer(), "close-timeout");
            while bridge.step(from, false, usize::MAX) || bridge.step_end(from, false) {}
            let received = last_close(&mut bridge, from);
            assert_eq!(
                received,
                close_body(sender, from.peer(), 4000, ""),
                "{client}, {backend}"
            );
        }
    }
}

#[test]
fn a_protocol_error_of_one_closes_it_and_ends_the_other() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let sender = bridge.outer(from).version();
            if sender.layout != Layout::Hybi07 {
                continue;
            }
            // A reserved bit.
            bridge.ours(from).add_incoming(&[0xc1, 0x80]);
            bridge.ours(from).add_incoming(&[0; 4]);
            bridge.settle();
            let sent = frames(sender, from.peer(), &bridge.outer(from).arrived).unwrap();
            assert_eq!(sent[0].payload[..2], [0x03, 0xea], "{sender}");
            let code = if from == Side::Client { 1001 } else { 1014 };
            let receiver = bridge.outer(from.peer()).version();
            let received = last_close(&mut bridge, from.peer());
            assert_eq!(received, close_body(receiver, from, code, "connection-cut"));
        }
    }
}

#[test]
fn a_reason_is_carried_where_both_versions_have_it() {
    let reason = "é".repeat(61);
    for client in ["hybi-06", "hybi-07", "hybi-08", "rfc6455"].map(named) {
        for backend in ["hybi-06", "hybi-07", "hybi-08", "rfc6455"].map(named) {
            for from in both() {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                bridge.close(from, 4001, &reason);
                bridge.settle();
                let received = [Received::Close(Some(4001), reason.clone())];
                assert_eq!(bridge.outer(from.peer()).received, received);
            }
        }
    }
}

#[test]
fn what_a_hixie_75_backend_sends_after_its_clients_close_is_received() {
    for client in VERSIONS.iter().filter(|v| v.closing != Closing::Hixie75) {
        let mut bridge = Bridge::open(client, named("hixie-75"), Coding::Plain);
        bridge.send(Side::Client, |conn, out| {
            conn.send(Message::text("ask"), out)
        });
        bridge.close(Side::Client, 4000, "");
        let n = bridge.front.incoming.len();
        bridge.step(Side::Client, true, n);
        assert!(bridge.backend.input_ends, "{client}");
        bridge.send(Side::Server, |conn, out| {
            conn.send(Message::text("answer"), out)
        });
        bridge.settle();
        assert_eq!(bridge.client.messages(), [Received::text("answer")]);
        let close = last_close(&mut bridge, Side::Client);
        let want = close_body(client, Side::Server, 4000, "");
        assert_eq!(close, want, "{client}");
        for end in [&bridge.client, &bridge.front, &bridge.rear, &bridge.backend] {
            assert_eq!(end.conn().phase(), Phase::Closed, "{client}");
            assert_eq!(end.violation, None);
        }
    }
}
