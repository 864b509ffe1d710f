//! The verdicts on wrong peers are those of Autobahn|Testsuite 25.10, which played
//! the same cases to the same peers. What it said is kept in `original.json`: for
//! each side and fault the cases that were not simply OK.
//!
//! `wrong_peers.rs` has it say so again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use heirloom::Side;

use crate::faulty::Fault;
use crate::mutation::{faults, name};
use crate::played::{cases, for_each, to_peer};

/// The cases that are compared.
const CASES: &str = "1.1.1 1.1.2 1.2.2 2.1 2.2 2.5 2.7 2.9 2.10 3.1 3.2 3.7 \
    4.1.1 4.1.3 4.2.3 5.1 5.2 5.3 5.6 5.9 5.15 5.18 5.19 6.1.1 6.2.3 6.3.1 6.4.1 6.4.3 6.6.1 \
    7.1.1 7.1.2 7.1.3 7.1.4 7.1.5 7.1.6 7.3 7.5.1 7.7.1 7.7.4 7.9.1 7.9.4 7.13.1 9.1.1 9.7.1";

/// Verdicts by fault and case: those on what was received and on the closing.
type Verdicts = BTreeMap<String, BTreeMap<String, String>>;

/// What is judged otherwise here: a fault, a case, our verdicts, and why.
const OTHERWISE: &[(Fault, &str, &str, &str)] = &[
    (Fault::CorruptsOctet, "9.1.1", "FAILED / OK", CONTENT),
    (Fault::Repeats, "9.1.1", "FAILED / OK", TWICE),
    (Fault::Repeats, "9.7.1", "FAILED / OK", TWICE),
    (Fault::KeepsTcp, "6.4.1", "OK / FAILED BY CLIENT", ENDLESS),
    (Fault::KeepsTcp, "6.4.3", "OK / FAILED BY CLIENT", ENDLESS),
];
const CONTENT: &str = "the original compares the lengths of long echoes, not their octets";
const TWICE: &str = "the original does not look at what follows the last echo";
const ENDLESS: &str = "the original waits for the end of TCP without end";

#[test]
fn wrong_peers_get_the_verdicts_of_the_original() {
    let json = include_str!("original.json");
    let kept: BTreeMap<String, Verdicts> = serde_json::from_str(json).unwrap();
    let mut plays = Vec::new();
    for (side, key) in [(Side::Server, "server"), (Side::Client, "client")] {
        let of_side = &kept[key];
        for fault in faults() {
            let Some(of_fault) = of_side.get(&name(fault)) else {
                continue;
            };
            for case in cases(CASES) {
                if let Some(verdicts) = of_fault.get(&case.id) {
                    plays.push((side, fault, case, verdicts.clone()));
                }
            }
        }
    }
    assert!(plays.len() > 200, "{}", plays.len());
    let differ = Mutex::new(Vec::new());
    for_each(&plays, 64, |(side, fault, case, original)| {
        let result = to_peer(case, *side, *fault);
        let ours = format!("{} / {}", result.behavior, result.closing);
        let mut otherwise = OTHERWISE.iter();
        let expected = otherwise
            .find(|(f, id, ..)| f == fault && *id == case.id)
            .map_or(original.as_str(), |(_, _, verdicts, _)| verdicts);
        if ours != expected {
            let what = format!(
                "{side:?} {} {}: {expected}, and ours {ours}",
                name(*fault),
                case.id
            );
            differ.lock().unwrap().push(what);
        }
    });
    let differ = differ.into_inner().unwrap();
    assert!(differ.is_empty(), "{differ:#?}");
}
