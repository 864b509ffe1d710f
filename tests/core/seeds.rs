//! What is fuzzed holds for the octets that are kept: each file of `fuzz/seeds/` is
//! run as the fuzzer runs it.

use std::fs;
use std::path::Path;

use crate::feeding::Outcome;
use crate::fuzzed::{deflater, extension_header, frames, inflating_receiver};

/// What the files of a target hold.
fn seeds(target: &str) -> impl Iterator<Item = Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("fuzz/seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| {
        // Shown where it fails.
        println!("{}", file.display());
        fs::read(&file).unwrap()
    })
}

/// Runs a target on each of its files. The outcomes must hold these events and
/// these violations: a target that no longer gets far holds nothing.
#[track_caller]
fn run<I>(target: &str, run: fn(&[u8]) -> I, events: &[&str], violations: &[&str])
where
    I: IntoIterator<Item = Outcome>,
{
    let mut outcomes: Vec<Outcome> = run(b"").into_iter().collect();
    for octets in seeds(target) {
        outcomes.extend(run(&octets));
    }
    let is_there = |event: &str| {
        let mut all = outcomes.iter().flat_map(|outcome| &outcome.events);
        all.any(|found| found.starts_with(event))
    };
    let missing: Vec<_> = events.iter().filter(|event| !is_there(event)).collect();
    assert!(missing.is_empty(), "{target} has no {missing:?}");
    let found = outcomes
        .iter()
        .filter_map(|outcome| outcome.violation.as_ref());
    let found: Vec<_> = found.map(|located| located.error.code()).collect();
    let missing: Vec<_> = violations
        .iter()
        .filter(|code| !found.contains(code))
        .collect();
    assert!(missing.is_empty(), "{target} has no {missing:?}: {found:?}");
}

#[test]
fn the_inflating_receiver_holds_for_what_is_kept() {
    run(
        "inflating_receiver",
        |octets| [inflating_receiver::run(octets)],
        &["message", "ping", "close"],
        &[
            "compressed-bit-misplaced",
            "compressed-data-invalid",
            "message-too-big",
            "utf8-invalid",
        ],
    );
}

#[test]
fn the_deflater_holds_for_what_is_kept() {
    let mut seen = deflater::run(b"");
    for octets in seeds("deflater") {
        let types = deflater::run(&octets);
        for (seen, is_there) in seen.iter_mut().zip(types) {
            *seen |= is_there;
        }
    }
    assert_eq!(seen, [true; 3], "stored, fixed and dynamic blocks");
}

#[test]
fn the_header_of_extensions_holds_for_what_is_kept() {
    run(
        "extension_header",
        extension_header::run,
        &["open"],
        &["extension-invalid", "extension-unexpected"],
    );
}

#[test]
fn frames_hold_for_what_is_kept() {
    run(
        "frames",
        |octets| [frames::run(octets)],
        &[
            "request", "response", "open", "message", "ping", "pong", "close",
        ],
        &["continuation-unexpected", "reserved-bits"],
    );
}
