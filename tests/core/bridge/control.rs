//! Pings and pongs, passed on and answered by us.

use heirloom::conn::Coding;
use heirloom::message::Message;

use super::joined::{Bridge, both, pairs};
use crate::memory::Received;

#[test]
fn a_ping_reaches_the_other_end_or_is_answered_by_us() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            let to = from.peer();
            if !bridge.outer(from).version().has_ping() {
                continue;
            }
            bridge.send(from, |conn, out| conn.ping(b"there?", out));
            bridge.settle();
            let has_ping = bridge.outer(to).version().has_ping();
            let want = [Received::Ping(b"there?".to_vec())];
            let received = &bridge.outer(to).received;
            assert_eq!(received[..], want[..usize::from(has_ping)]);
            let pong = [Received::Pong(b"there?".to_vec())];
            assert_eq!(bridge.outer(from).received, pong, "{client} to {backend}");
        }
    }
}

#[test]
fn a_pong_without_a_ping_is_passed_on_where_there_are_pongs() {
    for (client, backend) in pairs() {
        for from in both() {
            let mut bridge = Bridge::open(client, backend, Coding::Plain);
            if !bridge.outer(from).version().has_ping() {
                continue;
            }
            bridge.send(from, |conn, out| conn.pong(b"alive", out));
            bridge.send(from, |conn, out| conn.send(Message::text("after"), out));
            bridge.settle();
            let other = bridge.outer(from.peer());
            let after = Received::text("after");
            let mut want = vec![Received::Pong(b"alive".to_vec()), after];
            if !other.version().has_ping() {
                want.remove(0);
            }
            assert_eq!(other.received, want, "{client} to {backend}");
            assert_eq!(bridge.outer(from).received, []);
        }
    }
}
