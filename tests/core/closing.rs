//! Closing handshakes between two ends, in every order.

use heirloom::bytes::Output;
use heirloom::conn::{Conn, Phase};
use heirloom::message::{Kind, Message};
use heirloom::version::{Closing, Layout};
use heirloom::{Side, VERSIONS, Version};
use proptest::prelude::*;

use crate::memory::Received;
use crate::pair::{Pair, side, version};

/// What two ends send before and while they close.
#[derive(Clone, Copy, Debug)]
struct Order {
    first: Side,
    /// Both close, before either has read the other's close.
    both: bool,
    /// Which ends leave the reply to their caller.
    manual: [bool; 2],
    /// An end that replies has more to send first.
    late_message: bool,
    /// The end that closes has sent half a message.
    half: bool,
}

fn order() -> impl Strategy<Value = Order> {
    let bools = any::<[bool; 6]>();
    bools.prop_map(|[first, both, client, server, late_message, half]| Order {
        first: side(first),
        both,
        manual: [client, server],
        late_message,
        half,
    })
}

fn close(conn: &mut Conn, out: &mut Output<'_>) {
    conn.close(1000, "bye", out);
}

/// Carries octets until both ends have the other's close, and lets the callers
/// that have control reply to it.
fn finish(pair: &mut Pair, order: Order) {
    for _ in 0..4 {
        pair.settle();
        for side in [Side::Client, Side::Server] {
            let end = pair.end(side);
            let is_asked = end.conn().phase() == Phase::Open
                && matches!(end.received.last(), Some(Received::Close(..)));
            if !is_asked {
                continue;
            }
            if order.late_message {
                let sent = pair.send(side, |conn, out| conn.send(Message::text("late"), out));
                assert_eq!(sent, Ok(()));
            }
            let (_, sent) = pair.end(side).send(close);
            pair.end(side.peer()).add_incoming(&sent);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_closing_handshake_completes_at_both_ends_in_every_order(
        version in version().prop_filter("has closes", |v| v.closing != Closing::Hixie75),
        order in order(),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(version, seed);
        for (side, manual) in [Side::Client, Side::Server].into_iter().zip(order.manual) {
            if manual {
                pair.end(side).session.conn_mut().set_manual_control();
            }
        }
        let first = order.first;
        if order.half && version.layout != Layout::Hixie75 {
            let half = |conn: &mut Conn, out: &mut Output<'_>| {
                conn.send_piece(Kind::Text, b"half", true, false, out)
            };
            pair.send(first, half).unwrap();
        }
        let closers = if order.both { vec![first, first.peer()] } else { vec![first] };
        for side in closers {
            let (_, sent) = pair.end(side).send(close);
            pair.end(side.peer()).add_incoming(&sent);
        }
        finish(&mut pair, order);
        let code = version.has_close_codes().then_some(1000);
        for side in [Side::Client, Side::Server] {
            let end = pair.end(side);
            prop_assert_eq!(&end.violation, &None);
            prop_assert!(end.conn().is_close_complete(), "{side}");
            prop_assert!(end.conn().has_sent_all(), "{side}");
            prop_assert_eq!(end.conn().phase(), Phase::Closed);
            let closes = end.received.iter().filter(|r| matches!(r, Received::Close(..)));
            let codes: Vec<Option<u16>> = closes.map(|close| match close {
                Received::Close(code, _) => *code,
                _ => None,
            }).collect();
            prop_assert_eq!(codes, vec![code]);
            // Nothing is sent or read after it, and the end of TCP is in order.
            let (late, sent) = end.send(|conn, out| conn.send(Message::text("x"), out));
            prop_assert!(late.is_err() && sent.is_empty());
            prop_assert_eq!(end.session.end_of_input(), Ok(()));
            prop_assert!(end.conn().is_close_complete());
        }
    }
}

/// hixie-75 sends nothing to close: TCP ends.
#[test]
fn the_end_of_tcp_closes_hixie_75() {
    let version = Version::named("hixie-75").unwrap();
    for first in [Side::Client, Side::Server] {
        let mut pair = Pair::open(version, 7);
        let (_, sent) = pair.end(first).send(close);
        assert_eq!(sent, b"");
        assert!(pair.end(first).conn().has_sent_all());
        let other = pair.end(first.peer());
        assert_eq!(other.session.end_of_input(), Ok(()));
        assert!(other.conn().is_close_complete());
    }
}

/// The end of TCP without a close is a fault, but for hixie between messages.
#[test]
fn the_end_of_tcp_without_a_close_is_no_closing_handshake() {
    for version in VERSIONS {
        for side in [Side::Client, Side::Server] {
            let mut end = match side {
                Side::Client => Pair::open(version, 7).client,
                Side::Server => Pair::open(version, 7).server,
            };
            let ended = end.session.end_of_input();
            let is_hixie = version.layout == Layout::Hixie75;
            assert_eq!(ended.is_ok(), is_hixie, "{version}");
            assert_eq!(end.conn().is_close_complete(), is_hixie, "{version}");
            assert_eq!(end.conn().phase(), Phase::Closed);
        }
    }
}
