//! Conversations whose extensions are not spoken here.

use heirloom::Side::{Client, Server};
use heirloom::explain::{Outcome, PartKind, terminal};

use super::compression::{conversation, explained, holds};

/// The whole stream behind the handshake is compressed: no octet of it is a frame,
/// whatever it looks like.
#[test]
fn nothing_is_read_behind_the_handshake_of_deflate_stream() {
    for frames in [
        // A continuation of nothing, a reserved opcode, a reserved bit, a text.
        &[(Client, "00 48 00 b7 ff")][..],
        &[(Server, "04 c1 28 00")],
        &[(Server, "6a 14 f3 48 cd")],
        &[(Client, "81 80 00 00 00 00"), (Server, "81 00")],
    ] {
        let turns = conversation("deflate-stream", "deflate-stream", frames);
        let explanation = explained(&turns);
        let verdict = &explanation.verdict;
        assert_eq!(verdict.outcome, Outcome::Incomplete, "{verdict:?}");
        let cause = verdict.cause.as_deref().unwrap();
        assert!(cause.starts_with("Both sides agreed on deflate-stream (all"));
        let kinds = explanation.parts.iter().skip(2).map(|part| part.kind);
        assert!(kinds.clone().all(|kind| kind == PartKind::After));
        assert_eq!(kinds.count(), frames.len());
        assert!(!explanation.is_cut_off());
    }
    let turns = conversation("deflate-stream", "deflate-stream", &[]);
    assert_eq!(explained(&turns).verdict.outcome, Outcome::Good);
}

/// Every data frame is compressed and no bit tells: the first one ends the
/// explanation of its side, behind its header.
#[test]
fn the_first_data_frame_that_an_extension_changes_unmarked_is_the_last() {
    for name in ["deflate-application-data", "mux"] {
        let turns = conversation(
            name,
            name,
            &[
                (Server, "89 00"),
                (Client, "81 87 37fa213d c5b2ecf4fefd21"),
                (Client, "81 87 37fa213d c5b2ecf4fefd21"),
                (Server, "81 07 f2 48 cd c9 c9 07 00"),
            ],
        );
        let explanation = explained(&turns);
        let verdict = &explanation.verdict;
        assert_eq!(verdict.outcome, Outcome::Incomplete, "{verdict:?}");
        let cause = verdict.cause.as_deref().unwrap();
        assert!(cause.starts_with(&format!("Both sides agreed on {name} (")));
        let text = terminal::brief(&explanation);
        assert!(text.contains("ping frame"), "{text}");
        assert_eq!(text.matches("text frame").count(), 2, "{text}");
        let after = text.lines().filter(|line| line.ends_with("  not parsed"));
        assert_eq!(after.count(), 2, "{text}");
        assert!(!explanation.is_cut_off());
    }
    // What no extension changes is still a fault.
    let turns = conversation(
        "deflate-application-data",
        "deflate-application-data",
        &[(Client, "81 01 61")],
    );
    let explanation = explained(&turns);
    assert_eq!(explanation.verdict.outcome, Outcome::Broken);
    assert_eq!(explanation.verdict.code, Some("mask-missing"));
}

/// An extension of which nothing is known may change any payload and use any opcode,
/// and no rule besides.
#[test]
fn an_unknown_extension_may_mean_what_it_sends() {
    for (frame, code) in [
        ("c1 01 61", "reserved-bits"),
        ("83 01 61", "reserved-opcode"),
        ("81 01 ff", "utf8-invalid"),
        ("88 01 61", "close-body-short"),
    ] {
        let turns = conversation("permessage-bzip2", "permessage-bzip2", &[(Server, frame)]);
        let explanation = explained(&turns);
        let verdict = &explanation.verdict;
        assert_eq!(verdict.outcome, Outcome::Incomplete, "{verdict:?}");
        holds(
            &explanation,
            code,
            "Both sides agreed on permessage-bzip2, ",
        );
    }
    let turns = conversation("permessage-bzip2", "permessage-bzip2", &[(Server, "00 00")]);
    assert_eq!(explained(&turns).verdict.outcome, Outcome::Broken);
    // One that marks its frames leaves the others as they are.
    let name = "permessage-compress; method=deflate";
    let turns = conversation(name, name, &[(Server, "81 01 ff")]);
    assert_eq!(explained(&turns).verdict.outcome, Outcome::Broken);
}

/// Of several, the one is told that may mean what was sent, in whatever order they
/// stand.
#[test]
fn of_several_extensions_the_one_that_fits_is_told() {
    for (agreed, frame, told) in [
        (
            "permessage-compress, x-foo",
            "83 01 61",
            "Both sides agreed on x-foo, ",
        ),
        (
            "x-foo, permessage-compress",
            "83 01 61",
            "Both sides agreed on x-foo, ",
        ),
        (
            "permessage-compress, deflate-stream",
            "81 01 61",
            "Both sides agreed on deflate-stream (",
        ),
        // A stream with a block of the type that DEFLATE does not have.
        (
            "permessage-deflate, x-foo",
            "c1 01 06",
            "Both sides agreed on x-foo, ",
        ),
    ] {
        let explanation = explained(&conversation(agreed, agreed, &[(Server, frame)]));
        let verdict = &explanation.verdict;
        assert_eq!(verdict.outcome, Outcome::Incomplete, "{agreed}");
        let cause = verdict.cause.as_deref().unwrap();
        assert!(cause.starts_with(told), "{agreed}: {cause}");
    }
    // A reserved bit is none of those that mark nothing.
    let name = "deflate-application-data";
    let explanation = explained(&conversation(name, name, &[(Server, "c1 01 61")]));
    assert_eq!(explanation.verdict.outcome, Outcome::Broken);
}

/// No message has a length of exabytes: octets before it are missing, or are no frame.
#[test]
fn a_length_that_nobody_sends_is_broken() {
    for (length, outcome) in [
        ("0000000001000001", Outcome::Incomplete),
        ("4141414141414141", Outcome::Broken),
    ] {
        let frame = format!("81 7f {length} 61");
        let name = "permessage-deflate";
        let turns = conversation(name, name, &[(Server, &frame)]);
        let explanation = explained(&turns);
        assert_eq!(explanation.verdict.outcome, outcome, "{length}");
        assert_eq!(explanation.verdict.code, Some("message-too-big"));
    }
}
