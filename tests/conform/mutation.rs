//! Each case can fail: for every fault there are cases that find it, and for every
//! case that must be passed there is a fault that it finds.

use std::collections::BTreeSet;
use std::sync::Mutex;

use heirloom::Side;
use heirloom::conform::{Case, CaseSet, CloseEnd};
use heirloom::vector::Level;

use crate::faulty::Fault;
use crate::played::{cases, for_each, to_peer, told};

/// Which of the cases that are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those in which the peer must end the connection.
    Failing,
    /// The others.
    Passing,
    /// Those that must be passed.
    Musts,
    /// Those of handshakes that must be refused.
    Refused,
    /// The others of handshakes.
    Accepted,
}
use Which::{Accepted, All, Failing, Musts, Passing, Refused};

const BOTH: &[Side] = &[Side::Server, Side::Client];
const SERVER: &[Side] = &[Side::Server];
const CLIENT: &[Side] = &[Side::Client];

/// Each fault with the sides that can have it, and the cases that must find it.
pub(crate) const FOUND: &[(Fault, &[Side], Which, &str)] = &[
    (Fault::IgnoresRsv, BOTH, All, "3.1 3.2 3.3 3.4 3.5 3.6"),
    (Fault::SkipsReservedOpcodes, BOTH, All, "4"),
    (Fault::SkipsBadFrames, BOTH, Failing, "2.5 3 4 5"),
    (Fault::TakesFragmentedControl, BOTH, All, "5.1 5.2"),
    (Fault::TakesLongControl, BOTH, All, "2.5 7.3.6"),
    (
        Fault::SkipsLoneContinuation,
        BOTH,
        All,
        "5.9 5.10 5.11 5.12 5.13 5.14 5.15 5.16 5.17",
    ),
    (Fault::TakesInterruption, BOTH, All, "5.18"),
    (
        Fault::WrongPong,
        BOTH,
        All,
        "2.1 2.2 2.3 2.4 2.6 2.9 2.10 5.6 5.7 5.8 5.19 5.20",
    ),
    (Fault::NoPong, BOTH, All, "2.1 2.6 2.9 2.11 5.6 5.19"),
    (Fault::AnswersPongs, BOTH, All, "2.7 2.8 2.9"),
    (Fault::LatePong, BOTH, All, "5.6 5.7 5.8 5.19 5.20"),
    (Fault::SwapsPongs, BOTH, All, "2.10 2.11 5.19 5.20"),
    (Fault::WrongKind, BOTH, Passing, "1 5.3 6 9.1.1 9.2.1"),
    (Fault::Truncates(125), BOTH, All, "1.1.3 1.1.4 1.1.5 1.2.3"),
    (Fault::Truncates(126), BOTH, All, "1.1.4 1.1.5 1.2.4"),
    (Fault::Truncates(127), BOTH, All, "1.1.5 1.2.5"),
    (Fault::Truncates(65_534), BOTH, All, "1.1.6 1.2.6"),
    (
        Fault::Truncates(65_535),
        BOTH,
        All,
        "1.1.7 1.1.8 1.2.7 1.2.8 10.1.1",
    ),
    (
        Fault::CorruptsOctet,
        BOTH,
        Passing,
        "1.1.2 1.1.8 1.2.2 1.2.8 5.3 6.2 6.22 9.1.1 9.3.9 12.1.1",
    ),
    (
        Fault::DropsContinuations,
        BOTH,
        All,
        "5.3 5.4 5.5 5.6 5.7 5.8 5.19 5.20 6.1.3 6.2.2 6.2.3",
    ),
    (Fault::Repeats, BOTH, All, "1.1.1 1.2.2 5.3 6.2.1"),
    (Fault::DropsEmpty, BOTH, All, "1.1.1 1.2.1 6.1.1 6.1.2"),
    (Fault::NoUtf8, BOTH, Failing, "6"),
    (Fault::NoUtf8, BOTH, All, "7.5.1"),
    (Fault::LateUtf8, BOTH, All, "6.4"),
    (Fault::FrameUtf8, BOTH, All, "6.4.3 6.4.4"),
    (Fault::StrictFrameUtf8, BOTH, All, "6.2.3 6.2.4"),
    (Fault::TakesAnyClose, BOTH, All, "7.3.2 7.5.1 7.9"),
    (Fault::TakesAnyCode, BOTH, All, "7.9"),
    (
        Fault::RefusesCode(1000),
        BOTH,
        All,
        "7.1.1 7.3.3 7.3.4 7.3.5 7.7.1",
    ),
    (Fault::RefusesCode(1011), BOTH, All, "7.7.9"),
    (Fault::RefusesCode(1003), BOTH, All, "7.7.4"),
    (
        Fault::WrongCode,
        BOTH,
        All,
        "1.1.1 7.1.1 7.3.1 7.3.3 7.7.1 7.7.2 7.7.3 7.7.5 7.7.6",
    ),
    (
        Fault::WrongCode,
        BOTH,
        All,
        "7.7.7 7.7.8 7.7.9 7.7.10 7.7.11 7.7.12 7.7.13",
    ),
    (
        Fault::NoReply,
        BOTH,
        All,
        "1.1.1 2.7 7.1.1 7.1.2 7.1.3 7.1.4 7.1.5 7.3.1 7.3.3 7.7.1",
    ),
    (
        Fault::IgnoresClose,
        BOTH,
        All,
        "1.1.1 2.8 7.1.1 7.1.5 7.3.1 7.7.2",
    ),
    (Fault::KeepsTcp, SERVER, All, "1.1.1 7.1.1 7.3.1 7.7.1"),
    (Fault::AnswersBehindClose, SERVER, All, "7.1.3 7.1.4 7.1.5"),
    (Fault::WrongMask, BOTH, All, "1.1.1 1.2.2 2.1"),
    (Fault::SetsRsv, BOTH, All, "1.1.1 1.2.2"),
    (Fault::LongLength, BOTH, All, "1.1.1 1.2.2"),
    (Fault::WrongAccept, SERVER, All, "1.1.1"),
    (Fault::UnaskedCompression, SERVER, All, "1.1.1"),
    (Fault::ForgetsContext, CLIENT, All, "12.1.3 13.1.3"),
    (Fault::InflatesFrames, BOTH, All, "12.1.11 13.1.11"),
    (Fault::ExceedsWindow, SERVER, All, "13.3.6 13.5.6"),
    (Fault::NoRsvOnCompressed, BOTH, All, "12.1.1 13.7.1"),
    (Fault::WrongKind, BOTH, Musts, "9"),
    (Fault::TakesAnyRequest, SERVER, Refused, "rfc6455/request-*"),
    (Fault::RefusesAll, SERVER, Accepted, "rfc6455/request-*"),
    (
        Fault::TakesAnyResponse,
        CLIENT,
        Refused,
        "rfc6455/response-*",
    ),
    (Fault::RefusesAll, CLIENT, Accepted, "rfc6455/response-*"),
    (Fault::TakesAnyLength, BOTH, All, "rfc6455/length-*"),
    (Fault::TakesAnyMask, SERVER, All, "rfc6455/unmasked-*"),
    (Fault::TakesAnyMask, CLIENT, All, "rfc6455/masked-*"),
    (
        Fault::WrongKind,
        SERVER,
        All,
        "rfc6455/header-octet-by-octet",
    ),
    (
        Fault::WrongKind,
        BOTH,
        All,
        "rfc6455/pongs-10000 rfc6455/pings-10000 rfc6455/fragments-*",
    ),
    (Fault::NoPong, BOTH, All, "rfc6455/messages-empty-1000"),
    (
        Fault::Dies,
        SERVER,
        All,
        "rfc6455/announced-* rfc6455/rst-* rfc6455/fin-* rfc6455/deflate-bomb",
    ),
    (
        Fault::AnswersBehindClose,
        SERVER,
        All,
        "rfc6455/texts-behind-a-close",
    ),
    (
        Fault::TakesAnyClose,
        BOTH,
        All,
        "rfc6455/close-code-1015 rfc6455/close-reason-cut",
    ),
    (Fault::NoUtf8, BOTH, All, "rfc6455/not-utf-8-*"),
    (
        Fault::TakesBadDeflate,
        BOTH,
        All,
        "rfc6455/deflate-garbage rfc6455/deflate-reserved-block rfc6455/deflate-distance",
    ),
    (
        Fault::AnswersBare,
        SERVER,
        All,
        "rfc6455/deflate-demanded-*",
    ),
    (
        Fault::IgnoresRsv,
        BOTH,
        All,
        "rfc6455/deflate-on-continuation rfc6455/deflate-on-ping",
    ),
];

/// The faults, and none.
pub(crate) fn faults() -> Vec<Fault> {
    let mut faults = vec![Fault::None];
    for (fault, ..) in FOUND {
        if !faults.contains(fault) {
            faults.push(*fault);
        }
    }
    faults
}

/// What a fault is called in reports, as an agent.
pub(crate) fn name(fault: Fault) -> String {
    format!("{fault:?}").replace('(', "-").replace(')', "")
}

fn found_by(which: Which, patterns: &str) -> Vec<Case> {
    let fails = |case: &Case| case.close.by == CloseEnd::Peer;
    cases(patterns)
        .into_iter()
        .filter(|case| match which {
            All => true,
            Failing => fails(case),
            Passing => !fails(case),
            Musts => case.level == Level::Must,
            Refused => case.handshake.as_ref().is_some_and(|own| own.refused),
            Accepted => case.handshake.as_ref().is_some_and(|own| !own.refused),
        })
        .collect()
}

#[test]
fn every_fault_is_found() {
    let mut plays = Vec::new();
    for (fault, sides, which, patterns) in FOUND {
        for case in found_by(*which, patterns) {
            for side in *sides {
                plays.push((*fault, *side, case.clone()));
            }
        }
    }
    let survived = Mutex::new(Vec::new());
    for_each(&plays, 64, |(fault, side, case)| {
        let result = to_peer(case, *side, *fault);
        if result.broken.is_none() {
            let told = told(case, &result);
            survived
                .lock()
                .unwrap()
                .push(format!("{fault:?} of a {side:?} in {told}"));
        }
    });
    let survived = survived.into_inner().unwrap();
    assert!(survived.is_empty(), "{survived:#?}");
}

/// What must be passed and has no fault here that it finds: chapters 12 and 13 but
/// for the cases that are named above, and the versions before RFC 6455, which these
/// peers do not speak. Of the cases that only a server is to pass for serving on
/// (`Dies`), a client has nothing to fail by but octets that it should not send.
const WITHOUT: [&str; 4] = ["12", "13", "hixie-*", "hybi-*"];

#[test]
fn every_case_of_the_protocol_finds_a_fault() {
    let mut found = BTreeSet::new();
    for (_, _, which, patterns) in FOUND {
        found.extend(found_by(*which, patterns).into_iter().map(|case| case.id));
    }
    let left: BTreeSet<String> = cases(&WITHOUT.join(" "))
        .into_iter()
        .map(|c| c.id)
        .collect();
    let without: Vec<String> = CaseSet::built_in()
        .cases
        .into_iter()
        .filter(|case| case.level == Level::Must)
        .filter(|case| !left.contains(&case.id))
        .map(|case| case.id)
        .filter(|id| !found.contains(id))
        .collect();
    assert!(without.is_empty(), "{without:?}");
}
