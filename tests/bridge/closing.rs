//! Goodbyes and losses, as each version can be told of them.

use heirloom::conn::{Coding, Phase};
use heirloom::error::Violation;
use heirloom::frame::{Kind, Message};
use heirloom::version::{Closing, Layout};
use heirloom::{Side, VERSIONS, Version};

use crate::bridge::{Bridge, both, named, pairs};
use crate::memory::Received;
use crate::wire::{Op, frames};

/// How a peer of this version is told this code, after our end of `by` said it:
/// the body of its close frame, `None` where there are no close frames.
fn told(version: &Version, by: Side, code: u16, reason: &str) -> Option<Vec<u8>> {
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

/// The last frame that a client or backend was told, and that it was the only
/// close frame. `None` where it was told by the end of TCP.
fn last_words(bridge: &mut Bridge, side: Side) -> Option<Vec<u8>> {
    let node = bridge.outer(side);
    let version = node.version();
    let octets = node.came.clone();
    let Some(frames) = frames(version, side.peer(), &octets) else {
        // Masked by a secret: what its reader says must do.
        return match node.heard.last() {
            Some(Received::Close(code, text)) => {
                assert_eq!(*code, None);
                Some(text.clone().into_bytes())
            }
            _ => None,
        };
    };
    let closes = frames.iter().filter(|f| f.op == Op::Close).count();
    assert!(closes <= 1, "{version} is told goodbye {closes} times");
    assert!(node.ends || node.conn.phase() == Phase::Closed, "{version}");
    let last = frames.last()?;
    (last.op == Op::Close).then(|| last.payload.clone())
}

const CODES: [u16; 16] = [
    1005, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999,
];

#[test]
fn each_close_code_is_told_to_each_version_as_far_as_it_can_say_it() {
    for (client, backend) in pairs() {
        for from in both() {
            for code in CODES {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let speaker = bridge.outer(from).version();
                let hearer = bridge.outer(from.peer()).version();
                // What the speaker's own version makes of it.
                let (meant, reason) = match told(speaker, from, code, "why") {
                    _ if !speaker.has_close_codes() => (
                        match (speaker.name, from) {
                            // The end of TCP: a page that is left, a server
                            // that has said all.
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
                let want = told(hearer, from, meant, reason);
                let heard = last_words(&mut bridge, from.peer());
                assert_eq!(heard, want, "{code} from {speaker} to {hearer}");
                for side in both() {
                    let node = bridge.outer(side);
                    let at = format!("{code} from {speaker} to {hearer}");
                    assert_eq!(node.violation, None, "{at}");
                    assert_eq!(node.conn.phase(), Phase::Closed, "{at}");
                    assert_ne!(node.end, Some(Err(Violation::ConnectionCut)), "{at}");
                }
                for direction in [&bridge.forth, &bridge.back] {
                    // Each hears the other's, or, of hixie-75, its end.
                    assert!(
                        direction.close_code().is_some(),
                        "{code} {speaker} {hearer}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_code_that_is_not_for_the_wire_is_ever_written() {
    for (client, backend) in pairs() {
        for code in [1005u16, 1006, 1015, 1004, 0, 999, 1016, 2999, 5000, 65_535] {
            for side in both() {
                // By whoever may call it, and by a peer that sends it.
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let ((), said) = bridge
                    .ours(side)
                    .talk(|conn, out| conn.close(code, "why", out));
                bridge.outer(side).gets(&said);
                let version = bridge.outer(side).version();
                if let Some(frames) = frames(version, side.peer(), &said) {
                    let body = frames.first().map_or(&[][..], |f| &f.payload);
                    if version.has_close_codes() {
                        assert_eq!(body, b"", "{code} to {version}");
                    }
                }
                bridge.settle();
                assert_eq!(bridge.outer(side).violation, None, "{code} to {version}");
            }
        }
    }
}

#[test]
fn a_close_frame_of_hybi_05_names_who_speaks_whatever_the_other_end_said() {
    // docs/versions.md: a close frame with a letter.
    let hybi_05 = named("hybi-05");
    for code in CODES {
        let mut bridge = Bridge::open(hybi_05, named("rfc6455"), Coding::Plain);
        bridge.close(Side::Server, code, "");
        bridge.settle();
        assert_eq!(
            last_words(&mut bridge, Side::Client).unwrap(),
            b"S",
            "{code}"
        );
        let mut bridge = Bridge::open(named("rfc6455"), hybi_05, Coding::Plain);
        bridge.close(Side::Client, code, "");
        bridge.settle();
        assert_eq!(
            last_words(&mut bridge, Side::Server).unwrap(),
            b"C",
            "{code}"
        );
    }
}

#[test]
fn goodbyes_that_cross_end_both_without_a_fault() {
    for (client, backend) in pairs() {
        for late in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            bridge.close(Side::Client, 1000, "client");
            bridge.close(Side::Server, 1001, "backend");
            // One of the two is heard first.
            let n = bridge.ours(late.peer()).wire.len();
            bridge.step(late.peer(), true, n);
            bridge.settle();
            for side in both() {
                let node = bridge.outer(side);
                assert_eq!(node.violation, None, "{client} {backend}");
                assert_eq!(node.conn.phase(), Phase::Closed, "{client} {backend}");
                let _ = last_words(&mut bridge, side);
            }
            assert_eq!(bridge.violations, []);
        }
    }
}

#[test]
fn what_was_said_before_a_goodbye_is_heard_before_it() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            // The other one speaks too: it has not heard the goodbye yet.
            bridge.send(from, |conn, out| conn.send(Message::text("last"), out));
            bridge.close(from, 1000, "");
            bridge.send(from.peer(), |conn, out| {
                conn.send(Message::text("crossing"), out)
            });
            let n = bridge.ours(from).wire.len();
            bridge.step(from, true, n);
            bridge.settle();
            let last = Received::Message(Kind::Text, b"last".to_vec());
            assert_eq!(bridge.outer(from.peer()).messages(), [last]);
            // A hixie-75 that said goodbye hears no more here, and one of hixie
            // that was told goodbye, by the end of TCP, is not read any more.
            let speaker = bridge.outer(from).version();
            let hearer = bridge.outer(from.peer()).version();
            if speaker.closing != Closing::Hixie75 && hearer.layout != Layout::Hixie75 {
                let heard = bridge.outer(from).messages();
                let crossing = Received::Message(Kind::Text, b"crossing".to_vec());
                assert_eq!(heard, [crossing], "{client} to {backend}");
            }
        }
    }
}

#[test]
fn the_end_of_a_hixie_connection_is_a_goodbye_with_a_code() {
    for hixie in ["hixie-75", "hixie-76"].map(named) {
        for other in &VERSIONS {
            // A client that leaves, and a backend that has said all.
            for (from, code) in [(Side::Client, 1001), (Side::Server, 1000)] {
                let (client, backend) = match from {
                    Side::Client => (hixie, other),
                    Side::Server => (other, hixie),
                };
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                bridge.send(from, |conn, out| conn.send(Message::text("bye"), out));
                bridge.ours(from).is_cut_off();
                bridge.settle();
                let bye = Received::Message(Kind::Text, b"bye".to_vec());
                assert_eq!(bridge.outer(from.peer()).messages(), [bye]);
                let heard = last_words(&mut bridge, from.peer());
                assert_eq!(heard, told(other, from, code, ""), "{hixie} to {other}");
                assert_eq!(bridge.outer(from.peer()).violation, None);
                assert_eq!(bridge.violations, []);
            }
        }
    }
}

#[test]
fn ff_00_is_a_goodbye_with_1000() {
    for other in &VERSIONS {
        let mut bridge = Bridge::open(named("hixie-76"), other, Coding::Plain);
        bridge.front.gets(&[0xff, 0]);
        bridge.settle();
        let heard = last_words(&mut bridge, Side::Server);
        assert_eq!(heard, told(other, Side::Client, 1000, ""), "{other}");
        assert_eq!(bridge.client.came, [0xff, 0], "{other}");
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
            // What it says back has nobody to go to.
            while bridge.step(left, false, usize::MAX) || bridge.step_end(left, false) {}
            let heard = last_words(&mut bridge, left);
            let want = told(version, gone, code, "reset");
            assert_eq!(heard, want, "{client}, {backend}");
            let node = bridge.outer(left);
            assert_eq!(node.messages().len(), 1);
            assert_eq!(node.violation, None);
            assert_eq!(node.conn.phase(), Phase::Closed);
        }
    }
}

#[test]
fn who_said_goodbye_gets_it_back_when_the_other_end_is_lost() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let speaker = bridge.outer(from).version();
            bridge.close(from, 4000, "mine");
            let n = bridge.ours(from).wire.len();
            bridge.step(from, true, n);
            bridge.step_end(from, true);
            bridge.lose(from.peer(), "close-timeout");
            while bridge.step(from, false, usize::MAX) || bridge.step_end(from, false) {}
            let heard = last_words(&mut bridge, from);
            assert_eq!(
                heard,
                told(speaker, from.peer(), 4000, ""),
                "{client}, {backend}"
            );
        }
    }
}

#[test]
fn a_protocol_error_of_one_is_told_to_it_and_ends_the_other() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let speaker = bridge.outer(from).version();
            if speaker.layout != Layout::Hybi07 {
                continue;
            }
            // A reserved bit.
            bridge.ours(from).gets(&[0xc1, 0x80]);
            bridge.ours(from).gets(&[0; 4]);
            bridge.settle();
            let told_speaker = frames(speaker, from.peer(), &bridge.outer(from).came).unwrap();
            assert_eq!(told_speaker[0].payload[..2], [0x03, 0xea], "{speaker}");
            let code = if from == Side::Client { 1001 } else { 1014 };
            let hearer = bridge.outer(from.peer()).version();
            let heard = last_words(&mut bridge, from.peer());
            assert_eq!(heard, told(hearer, from, code, "connection-cut"));
        }
    }
}

#[test]
fn a_reason_is_carried_where_both_can_say_it() {
    let reason = "é".repeat(61);
    for client in ["hybi-06", "hybi-07", "hybi-08", "rfc6455"].map(named) {
        for backend in ["hybi-06", "hybi-07", "hybi-08", "rfc6455"].map(named) {
            for from in both() {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                bridge.close(from, 4001, &reason);
                bridge.settle();
                let heard = [Received::Close(Some(4001), reason.clone())];
                assert_eq!(bridge.outer(from.peer()).heard, heard);
            }
        }
    }
}
