//! Every vector, at every split, from both sides; every octet is named; watching
//! changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use heirloom::error::{REFUSALS, VIOLATIONS};
use heirloom::trace::Span;
use heirloom::vector::{File, Level, Split, Vector, play, splits, watch};
use heirloom::{Side, VERSIONS};

const SIDES: [Side; 2] = [Side::Server, Side::Client];

fn files() -> Vec<(PathBuf, File)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut paths: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .flat_map(|dir| {
            fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        })
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let file = File::read(&fs::read(&path).unwrap());
            let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, file)
        })
        .collect()
}

fn vectors() -> Vec<Vector> {
    files()
        .into_iter()
        .flat_map(|(_, file)| file.vectors)
        .collect()
}

/// Runs a check over all vectors on all cores and fails with all that failed.
fn each(check: impl Fn(&Vector) -> Vec<String> + Sync) {
    let vectors = vectors();
    assert!(vectors.len() > 1000, "the corpus is gone");
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let (vectors, check) = (&vectors, &check);
                scope.spawn(move || vectors.iter().skip(n).step_by(2).flat_map(check).collect())
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|t| -> Vec<String> { t.join().unwrap() })
            .collect()
    });
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures
            .iter()
            .take(40)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn both_sides_conclude_what_each_vector_says_at_every_split() {
    each(|vector| {
        let failed = SIDES.iter().flat_map(|side| {
            splits(vector, *side)
                .into_iter()
                .filter_map(|split| play(vector, *side, split).err())
                .map(|failure| failure.to_string())
                .take(1)
        });
        failed.collect()
    });
}

#[test]
fn every_octet_is_named_once() {
    each(|vector| {
        let mut failures = Vec::new();
        for side in SIDES {
            for split in [Split::Whole, Split::Everywhere] {
                let mut spans: Vec<Span> = Vec::new();
                let Ok(played) = watch(vector, side, split, &mut spans) else {
                    continue; // another test fails then
                };
                if let Err(what) = covers(&spans, played.consumed) {
                    failures.push(format!("{} {side:?} {split}: {what}", vector.id));
                }
            }
        }
        failures
    });
}

/// Whether the spans cover each bit of these octets exactly once, in order.
fn covers(spans: &[Span], octets: u64) -> Result<(), String> {
    let mut at = 0;
    let mut bit = 0;
    for span in spans {
        if (span.at.start, span.bits.start) != (at, bit) {
            return Err(format!("{span:?} comes at octet {at} bit {bit}"));
        }
        if span.bits.end == 8 {
            (at, bit) = (span.at.end, 0);
        } else {
            bit = span.bits.end;
        }
    }
    if (at, bit) == (octets, 0) {
        Ok(())
    } else {
        Err(format!("named up to octet {at} bit {bit} of {octets}"))
    }
}

#[test]
fn watching_changes_nothing() {
    each(|vector| {
        let mut failures = Vec::new();
        for side in SIDES {
            for split in [Split::Whole, Split::Everywhere] {
                let watched = watch(vector, side, split, &mut Vec::<Span>::new());
                let alone = play(vector, side, split);
                if watched != alone {
                    failures.push(format!(
                        "{} {side:?} {split}: {watched:?} {alone:?}",
                        vector.id
                    ));
                }
            }
        }
        failures
    });
}

#[test]
fn every_file_fits_the_schema() {
    let schema = fs::read("vectors/schema.json").unwrap();
    let schema = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (path, _) in files() {
        let file = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if let Err(error) = validator.validate(&file) {
            panic!("{}: {error} at {}", path.display(), error.instance_path());
        }
    }
}

/// Every stable code of the core.
fn codes() -> impl Iterator<Item = &'static str> {
    let refusals = REFUSALS.iter().map(|(code, _)| *code);
    refusals.chain(VIOLATIONS.iter().map(|(code, _)| *code))
}

#[test]
fn ids_are_unique_and_codes_are_known() {
    let mut ids = BTreeSet::new();
    let codes: BTreeSet<&str> = codes().collect();
    for vector in vectors() {
        assert!(ids.insert(vector.id.clone()), "{} stands twice", vector.id);
        for side in SIDES {
            let code = vector.expect.of(side).and_then(|c| c.code.clone());
            if let Some(code) = code {
                assert!(codes.contains(code.as_str()), "{}: {code}", vector.id);
            }
        }
    }
}

#[test]
fn a_limit_of_this_project_binds_no_other_implementation() {
    let limits = [
        "message-too-big",
        "head-too-long",
        "head-too-many-headers",
        "response-too-long",
    ];
    for vector in vectors() {
        for conclusion in SIDES
            .map(|side| vector.expect.of(side))
            .into_iter()
            .flatten()
        {
            let is_limit = conclusion
                .code
                .as_deref()
                .is_some_and(|c| limits.contains(&c));
            assert!(
                !is_limit || conclusion.level() == Level::Ours,
                "{}: {conclusion:?}",
                vector.id
            );
            assert!(
                conclusion.level.is_some() || conclusion.section.is_none(),
                "{}: a section without a level",
                vector.id
            );
        }
    }
}

#[test]
fn the_schema_knows_the_versions_of_the_table() {
    let schema: serde_json::Value =
        serde_json::from_slice(&fs::read("vectors/schema.json").unwrap()).unwrap();
    let names = &schema["$defs"]["vector"]["properties"]["version"]["enum"];
    let names: Vec<&str> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    let table: Vec<&str> = VERSIONS.iter().map(|v| v.name).chain(["none"]).collect();
    assert_eq!(names, table);
}

#[test]
fn every_version_has_its_vectors_and_every_code_one_of_its_own() {
    let vectors = vectors();
    for version in VERSIONS {
        let own = vectors.iter().filter(|v| v.version == version.name).count();
        assert!(own > 20, "{version} has {own}");
    }
    // What no vector can show is shown elsewhere: by tests/loop, tests/gateway/
    // and tests/cli/program.rs.
    let elsewhere = [
        "base64-malformed",
        "binary-unwanted",
        "handshake-timeout",
        "host-forbidden",
        "internal-error",
        "memory-full",
        "message-timeout",
        "not-found",
        "origin-not-allowed",
        "version-off",
    ];
    let shown: BTreeSet<String> = vectors
        .iter()
        .flat_map(|v| {
            SIDES
                .into_iter()
                .filter_map(|s| v.expect.of(s)?.code.clone())
        })
        .collect();
    for code in codes() {
        assert_ne!(shown.contains(code), elsewhere.contains(&code), "{code}");
    }
}

#[test]
fn a_recorded_reply_may_stand_before_the_reply_to_a_close_of_the_same_write() {
    let json = br#"{"format": 1, "vectors": [{
        "id": "a", "version": "rfc6455", "source": {"kind": "derived", "ref": "this test"},
        "steps": [
            {"from": "client", "text": ["GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"]},
            {"from": "server", "text": ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"]},
            {"from": "client", "hex": "81 81 00 00 00 00 61 88 82 00 00 00 00 03 e8"},
            {"from": "server", "hex": "81 01 61 88 02 03 e8"},
            {"from": "server", "end": "fin"}
        ],
        "expect": {"server": {"result": "accept"}, "messages": [
            {"from": "client", "kind": "text", "data": "a"},
            {"from": "server", "kind": "text", "data": "a"}
        ]}
    }]}"#;
    let file = File::read(json).unwrap();
    for split in splits(&file.vectors[0], Side::Server) {
        play(&file.vectors[0], Side::Server, split).unwrap();
    }
}
