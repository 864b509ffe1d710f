//! What is said where the command is used wrong, and the list of cases.

use std::collections::BTreeSet;

use crate::support::folder::Folder;
use crate::support::program::run;

/// Runs it, and expects status 2 and these words.
fn is_wrong(args: &[&str], words: &[&str]) {
    let args = [&["conform"], args].concat();
    let ended = run(&args);
    assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
    for word in words {
        assert!(
            ended.talk.contains(word),
            "{args:?}: {word:?} is missing in {}",
            ended.talk
        );
    }
    assert_eq!(ended.out, "", "{args:?}");
}

#[test]
fn each_mistake_has_its_sentence() {
    let url = "ws://127.0.0.1:9/";
    is_wrong(&[], &["URL", "--listen", "--exec"]);
    is_wrong(&["127.0.0.1:9"], &["did you mean ws://127.0.0.1:9?"]);
    is_wrong(&[url, "--listen", "127.0.0.1:0"], &["cannot be used with"]);
    is_wrong(&[url, "--jobs", "0"], &["from 1 to 256"]);
    is_wrong(&[url, "--jobs", "257"], &["from 1 to 256"]);
    is_wrong(&[url, "--timeout-ms", "0"], &["between 1 and"]);
    is_wrong(&[url, "--only", ""], &["--only", "empty pattern"]);
    is_wrong(&[url, "--only", "1.1.99"], &["1.1.99 (--only)", "--list"]);
    is_wrong(&[url, "--skip", "hixie76/*"], &["hixie76/* (--skip)"]);
    is_wrong(&[url, "--only", "1.1.1x"], &["did you mean 1.1.1?"]);
    is_wrong(
        &[url, "--only", "1", "--skip", "1"],
        &["no case that tests a server is left"],
    );
    is_wrong(&[url, "--version", "hybi-99"], &["hybi-99"]);
    is_wrong(&["--exec", "true"], &["{url}", "--listen"]);
    is_wrong(&["--listen", "127.0.0.1:0", "--agent", "x"], &["--agent"]);
    is_wrong(
        &["--listen", "127.0.0.1:0", "--exec-timeout-ms", "5"],
        &["--exec"],
    );
    is_wrong(&[url, "--exec-timeout-ms", "5"], &["cannot be used with"]);
    is_wrong(&[url, "--once"], &["cannot be used with"]);
    is_wrong(&["--listen", "nowhere"], &["HOST:PORT"]);
}

#[test]
fn a_file_of_own_cases_has_to_be_one() {
    let folder = Folder::new();
    let url = "ws://127.0.0.1:9/";
    let none = folder.path("none.json");
    is_wrong(&[url, "--cases", none.to_str().unwrap()], &["none.json"]);
    let bad = folder.write("bad.json", "{\"format\": 1}");
    is_wrong(&[url, "--cases", bad.to_str().unwrap()], &["bad.json"]);
    let taken = folder.write("taken.json", own_case("vectors/rfc6455/mine"));
    is_wrong(
        &[url, "--cases", taken.to_str().unwrap()],
        &["taken.json", "vectors/rfc6455/mine", "another id"],
    );
}

/// A file with one case.
fn own_case(id: &str) -> String {
    let group = heirloom::conform::group_of(id);
    format!(
        r#"{{"format": 1, "groups": {{"{group}": "Own cases"}}, "cases": [{{"id": "{id}",
        "title": "Own", "why": "Of a test.", "section": "RFC 6455 section 5.2", "level": "must",
        "steps": [{{"frame": {{"opcode": 1, "data": "a"}}}}], "outcomes": [{{"verdict": "OK"}}],
        "close": {{"by": "tester", "codes": [1000], "clean": true}}}}]}}"#
    )
}

#[test]
fn own_cases_are_listed_in_their_place() {
    let folder = Folder::new();
    let own = folder.write("own.json", own_case("1.1.9"));
    let instead = folder.write("instead.json", own_case("1.1.3"));
    let (own, instead) = (own.to_str().unwrap(), instead.to_str().unwrap());
    let files = ["--cases", own, "--cases", instead];
    let args = ["conform", "--list", "--only", "1.1,1.2.1"];
    let ended = run(&[&args[..], &files[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ids = ended.out.lines().filter_map(|line| line.split(' ').next());
    let expected = [
        "1.1.1", "1.1.2", "1.1.3", "1.1.4", "1.1.5", "1.1.6", "1.1.7", "1.1.8", "1.1.9", "1.2.1",
    ];
    assert_eq!(ids.collect::<Vec<_>>(), expected);
    let third = ended.out.lines().find(|line| line.starts_with("1.1.3"));
    assert!(third.unwrap().ends_with("Own"), "{ended:?}");
}

#[test]
fn a_baseline_that_cannot_be_written_is_told_before_the_test() {
    let folder = Folder::new();
    let path = folder.path("none/expected.toml");
    // Nothing listens at this port, and that is not what is said.
    let url = "ws://127.0.0.1:9/";
    let ended = run(&["conform", url, "--write-baseline", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.talk.contains("cannot write"), "{ended:?}");
    assert!(!ended.talk.contains("connect"), "{ended:?}");
}

#[test]
fn a_baseline_expects_failures_only() {
    let folder = Folder::new();
    let text = "[expected]\n\"1.1.1\" = \"OK\"\n\"1.1.2\" = \"UNIMPLEMENTED/OK\"\n\
                \"1.1.3\" = \"OK/UNCLEAN\"\n\"1.1.4\" = \"NON-STRICT\"\n";
    let path = folder.write("expected.toml", text);
    let url = "ws://127.0.0.1:9/";
    let ended = run(&["conform", url, "--baseline", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for says in ["expected.toml:2:11", "expected.toml:3:11", "no failure"] {
        assert!(ended.talk.contains(says), "{says}: {ended:?}");
    }
    assert_eq!(ended.talk.lines().count(), 2, "{ended:?}");
}

#[test]
fn the_list_has_each_known_case_once() {
    let ended = run(&["conform", "--list"]);
    assert_eq!((ended.code, ended.talk.as_str()), (Some(0), ""));
    let ids: Vec<&str> = ended
        .out
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    let known = |id: &&&str| id.starts_with(|c: char| c.is_ascii_digit());
    assert_eq!(ids.iter().filter(known).count(), 517);
    assert_eq!((ids[0], ids[1]), ("1.1.1", "1.1.2"));
    assert!(ids.iter().any(|id| id.starts_with("vectors/")));
}

#[test]
fn the_list_of_a_selection_is_that_selection() {
    let ended = run(&[
        "conform",
        "--list",
        "--only",
        "1.1,1.2.1",
        "--skip",
        "1.1.2",
        "--json",
    ]);
    let ids: Vec<String> = ended
        .out
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["version"], "rfc6455");
            assert_eq!(line["level"], "must");
            line["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected = [
        "1.1.1", "1.1.3", "1.1.4", "1.1.5", "1.1.6", "1.1.7", "1.1.8", "1.2.1",
    ];
    assert_eq!(ids, expected);
}

/// What breaks one rule counts once, although recorded handshakes break it too.
#[test]
fn no_recorded_handshake_says_what_a_case_says() {
    let ended = run(&["conform", "--list", "--json"]);
    let ids: BTreeSet<String> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    for (case, recorded) in [
        (
            "rfc6455/request-host-missing",
            "vectors/rfc6455/host-missing",
        ),
        ("rfc6455/request-http-1-0", "vectors/rfc6455/http-1-0"),
        ("rfc6455/request-version-0", "vectors/none/version-0"),
        (
            "rfc6455/response-accept-missing",
            "vectors/rfc6455/answer-accept-missing",
        ),
        ("hybi-04/request-key-missing", "vectors/hybi-04/key-missing"),
    ] {
        assert!(ids.contains(case) && !ids.contains(recorded), "{recorded}");
    }
    assert!(ids.contains("vectors/rfc6455/host-empty"));
    assert!(ids.contains("vectors/hixie-75/host-missing"));
}
