//! Half messages: what was never said to its end is never heard whole.

use heirloom::Side;
use heirloom::conn::Coding;
use heirloom::error::Violation;
use heirloom::frame::{Kind, Message};
use heirloom::version::Layout;

use crate::bridge::{Bridge, both, pairs};
use crate::node::open;
use crate::wire::{Op, frames};

/// How the one who speaks stops in the middle of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Goodbye,
    EndOfTcp,
    Reset,
    Violation,
}

#[test]
fn half_a_message_is_never_made_whole_however_its_speaker_stops() {
    for (client, backend) in pairs() {
        for from in both() {
            for stop in [Stop::Goodbye, Stop::EndOfTcp, Stop::Reset, Stop::Violation] {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let speaker = bridge.outer(from).version();
                let is_hixie = speaker.layout == Layout::Hixie75;
                if is_hixie && matches!(stop, Stop::Goodbye | Stop::Violation) {
                    // Inside a text there is neither.
                    continue;
                }
                bridge.send(from, |conn, out| {
                    conn.send_piece(Kind::Text, b"half", true, false, out)
                });
                bridge.settle();
                match stop {
                    Stop::Goodbye => bridge.close(from, 1000, ""),
                    Stop::EndOfTcp => bridge.ours(from).is_cut_off(),
                    Stop::Reset => {
                        let ended = bridge.ours(from).conn.end_of_input(1);
                        assert_eq!(ended, Err(Violation::ConnectionCut));
                        bridge.lose(from, "reset");
                    }
                    Stop::Violation => {
                        let (_, said) = bridge.outer(from).talk(|conn, out| {
                            conn.ping(b"", out).unwrap();
                            conn.send_piece(Kind::Text, b"x", false, false, out)
                        });
                        // A second message inside the first.
                        bridge.ours(from).gets(&said);
                        let (mut other, _) = open(speaker, 99);
                        if from == Side::Server {
                            (_, other) = open(speaker, 99);
                        }
                        let (_, said) =
                            other.talk(|conn, out| conn.send(Message::text("new"), out));
                        bridge.ours(from).gets(&said);
                    }
                }
                bridge.settle();
                let at = format!("{client}, {backend}: {from:?} stops by {stop:?}");
                let hearer = bridge.outer(from.peer());
                let version = hearer.version();
                assert_eq!(hearer.messages(), [], "{at}");
                assert_eq!(hearer.violation, None, "{at}");
                assert!(hearer.ends, "{at}: TCP does not end");
                if let Some(frames) = frames(version, from, &hearer.came) {
                    let whole = frames
                        .iter()
                        .any(|f| f.last && !matches!(f.op, Op::Close | Op::Ping | Op::Pong));
                    assert!(!whole, "{at}: {frames:?}");
                }
                if version.layout == Layout::Hixie75 {
                    assert!(!hearer.came.contains(&0xff), "{at}");
                    assert_eq!(hearer.end, Some(Err(Violation::ConnectionCut)), "{at}");
                }
            }
        }
    }
}
