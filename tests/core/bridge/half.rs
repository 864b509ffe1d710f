//! Half messages: what was not sent to its end is never received whole.

use heirloom::Side;
use heirloom::bytes::Input;
use heirloom::conn::Coding;
use heirloom::error::Violation;
use heirloom::message::{Kind, Message};
use heirloom::version::Layout;

use super::joined::{Bridge, both, pairs};
use super::wire::{Op, frames};
use crate::memory::{config, open};

/// How a sender stops in the middle of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Close,
    EndOfTcp,
    Reset,
    Violation,
}

#[test]
fn half_a_message_is_never_made_whole_however_its_sender_stops() {
    for (client, backend) in pairs() {
        for from in both() {
            for stop in [Stop::Close, Stop::EndOfTcp, Stop::Reset, Stop::Violation] {
                let mut bridge = Bridge::open(client, backend, Coding::Plain);
                let sender = bridge.outer(from).version();
                let is_hixie = sender.layout == Layout::Hixie75;
                if is_hixie && matches!(stop, Stop::Close | Stop::Violation) {
                    // Inside a text there is neither.
                    continue;
                }
                bridge.send(from, |conn, out| {
                    conn.send_piece(Kind::Text, b"half", true, false, out)
                });
                bridge.settle();
                match stop {
                    Stop::Close => bridge.close(from, 1000, ""),
                    Stop::EndOfTcp => bridge.ours(from).lose_peer(),
                    Stop::Reset => {
                        let left = &mut [0];
                        let conn = bridge.ours(from).session.conn_mut();
                        let ended = conn.end_of_input(&Input::new(left));
                        assert_eq!(ended.unwrap_err().error, Violation::ConnectionCut);
                        bridge.lose(from, "reset");
                    }
                    Stop::Violation => {
                        let (_, sent) = bridge.outer(from).send(|conn, out| {
                            conn.ping(b"", out).unwrap();
                            conn.send_piece(Kind::Text, b"x", false, false, out)
                        });
                        // A second message inside the first.
                        bridge.ours(from).add_incoming(&sent);
                        let (client, server) = open(sender, &config(), 99);
                        let mut other = match from {
                            Side::Client => client,
                            Side::Server => server,
                        };
                        let (_, sent) =
                            other.send(|conn, out| conn.send(Message::text("new"), out));
                        bridge.ours(from).add_incoming(&sent);
                    }
                }
                bridge.settle();
                let at = format!("{client}, {backend}: {from} stops by {stop:?}");
                let receiver = bridge.outer(from.peer());
                let version = receiver.version();
                assert_eq!(receiver.messages(), [], "{at}");
                assert_eq!(receiver.violation, None, "{at}");
                assert!(receiver.input_ends, "{at}: TCP does not end");
                if let Some(frames) = frames(version, from, &receiver.arrived) {
                    let whole = frames
                        .iter()
                        .any(|f| f.last && !matches!(f.op, Op::Close | Op::Ping | Op::Pong));
                    assert!(!whole, "{at}: {frames:?}");
                }
                if version.layout == Layout::Hixie75 {
                    assert!(!receiver.arrived.contains(&0xff), "{at}");
                    assert_eq!(
                        receiver.end_of_input,
                        Some(Err(Violation::ConnectionCut)),
                        "{at}"
                    );
                }
            }
        }
    }
}
