//! The portions in which octets arrive change nothing: not the events, not the
//! errors, not where an error lies, not what is sent. Nor does an observer, nor
//! whether a session or the caller keeps the buffer.

use std::ops::Range;

use heirloom::Version;
use heirloom::error::Violation;
use heirloom::version::Layout;
use proptest::prelude::*;

use crate::feeding::{Feeding, Sent, Stream};
use crate::memory::open;
use crate::pair::{side, version};

fn sent() -> impl Strategy<Value = Sent> {
    let octets = || prop::collection::vec(any::<u8>(), 0..20);
    let codes = prop_oneof![Just(1000), Just(1004), Just(4999), any::<u16>()];
    prop_oneof![
        "\\PC{0,30}".prop_map(Sent::Text),
        "x{100,140}".prop_map(Sent::Text),
        octets().prop_map(Sent::Binary),
        prop::collection::vec("\\PC{0,9}", 1..4).prop_map(Sent::Pieces),
        octets().prop_map(Sent::Ping),
        octets().prop_map(Sent::Pong),
        codes.prop_map(Sent::Close),
        octets().prop_map(Sent::Octets),
        // hixie frames with a length; hybi frames of every opcode.
        (any::<u8>(), 0u8..=0x84, octets()).prop_map(|(first, second, rest)| {
            Sent::Octets([&[first, second][..], &rest].concat())
        }),
    ]
}

fn stream() -> impl Strategy<Value = Stream> {
    let sent = prop::collection::vec(sent(), 0..6);
    let damage = prop::collection::vec((any::<usize>(), any::<u8>()), 0..3);
    let portions = prop::collection::vec(1usize..40, 1..8);
    let bools = (any::<bool>(), any::<bool>());
    (version(), bools, sent, damage, portions, any::<u64>()).prop_map(
        |(version, (to_client, with_handshake), sent, damage, portions, seed)| Stream {
            version,
            to: side(to_client),
            with_handshake,
            sent,
            damage,
            portions,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn portions_observers_and_buffers_change_nothing(stream in stream()) {
        stream.outcome();
    }
}

/// The property above meets what it is about.
#[test]
fn the_streams_hold_messages_closes_and_violations() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut events, mut violations) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let stream = stream().new_tree(&mut runner).unwrap().current();
        let outcome = Feeding::WHOLE.feed(stream.conn(), stream.seed, &stream.octets());
        events.extend(outcome.events);
        violations.extend(outcome.violation.map(|located| located.error.code()));
    }
    for event in [
        "request", "refused", "response", "open", "message", "ping", "pong", "close",
    ] {
        let count = events.iter().filter(|e| e.starts_with(event)).count();
        assert!(count > 20, "{count} times {event}");
    }
    violations.sort_unstable();
    violations.dedup();
    assert!(violations.len() > 15, "{violations:?}");
}

/// Each rule of frames, at every split: the error lies where the rule is broken.
#[test]
fn an_error_lies_where_the_rule_is_broken() {
    let rfc = Version::named("rfc6455").unwrap();
    let hixie = Version::named("hixie-76").unwrap();
    let cases: [(&Version, &[u8], Violation, Range<u64>); 14] = [
        (rfc, b"\x81\x01a\xc1\x00", Violation::ReservedBits, 3..4),
        (
            rfc,
            b"\x83\x00",
            Violation::ReservedOpcode { opcode: 3 },
            0..1,
        ),
        (rfc, b"\x09\x00", Violation::ControlFragmented, 0..1),
        (rfc, b"\x89\x7e\x00\x7e", Violation::ControlTooLong, 1..4),
        (rfc, b"\x81\x7e\x00\x01", Violation::LengthNotMinimal, 1..4),
        (rfc, b"\x81\x81abcd", Violation::MaskUnexpected, 1..2),
        (rfc, b"\x80\x00", Violation::ContinuationUnexpected, 0..2),
        (
            rfc,
            b"\x01\x00\x81\x00",
            Violation::MessageInterrupted,
            2..4,
        ),
        (rfc, b"\x88\x01a", Violation::CloseBodyShort, 2..3),
        (
            rfc,
            b"\x88\x02\x03\xed",
            Violation::CloseCodeInvalid { code: 1005 },
            2..4,
        ),
        (
            rfc,
            b"\x88\x03\x03\xe8\xff",
            Violation::CloseReasonUtf8,
            4..5,
        ),
        (
            rfc,
            b"\x82\x7e\x00\x83",
            Violation::MessageTooBig { limit: 130 },
            0..4,
        ),
        (rfc, b"\x81\x03a\xff", Violation::Utf8Invalid, 3..4),
        // An octet more than the limit, of a text without a length.
        (
            hixie,
            &[b'x'; 132],
            Violation::MessageTooBig { limit: 130 },
            131..132,
        ),
    ];
    for (version, octets, violation, at) in cases {
        let mut octets = octets.to_vec();
        if version.layout == Layout::Hixie75 {
            octets[0] = 0;
        }
        for first in 1..=octets.len() {
            let (mut client, _) = open(version, &Stream::config(), 7);
            let before = client.session.received();
            client.add_incoming(&octets);
            client.read(first);
            client.read(octets.len() - first);
            let found = client.violation.unwrap();
            assert_eq!(found.error, violation);
            let found = found.at.start - before..found.at.end - before;
            assert_eq!(found, at, "{violation:?} after {first}");
        }
    }
}
