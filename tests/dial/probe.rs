//! `probe` and our own server.

use crate::host::{Connection, Host, named};
use crate::program::{NOTHING, heirloom, probe};
use crate::support::program::Program;

#[test]
fn probe_finds_that_our_server_speaks_all_versions() {
    let server = Program::serve(&["--versions", "all"]);
    let url = format!("ws://{}/", server.address);
    let ended = heirloom(&["probe", &url], NOTHING);
    ended.exits(0).is_escaped();
    assert_eq!(ended.stderr, "");
    let names: Vec<&str> = ended
        .out()
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    let want = [
        "hixie-75",
        "hixie-76 (with the head)",
        "hixie-76 (150 ms later)",
        "hixie-76 (after the 101)",
        "hybi-03",
        "hybi-04",
        "hybi-05",
        "hybi-06",
        "hybi-07",
        "hybi-08",
        "rfc6455",
    ];
    let named = names.iter().zip(want).all(|(n, w)| n.starts_with(w));
    assert!(named && names.len() == want.len(), "{names:?}");
    for line in ended.out().lines() {
        assert!(line.contains(" speaks "), "{line}");
        let answered = line.ends_with("; it echoes") || line.ends_with("; it answers a ping");
        assert!(answered, "{line}");
    }
    let (ended, findings) = probe(server.address, &[]);
    ended.exits(0);
    assert_eq!(findings.len(), 11);
    for finding in findings {
        assert_eq!(finding["verdict"], "speaks", "{finding}");
        assert_eq!(finding["severity"], "good", "{finding}");
        assert_eq!(finding["status"], 101, "{finding}");
    }
}

#[test]
fn probe_shows_which_versions_are_off_and_how_to_turn_them_on() {
    let server = Program::serve(&[]);
    let (ended, findings) = probe(server.address, &[]);
    ended.exits(0);
    assert_eq!(findings.len(), 11);
    for finding in &findings {
        let version = named(finding["version"].as_str().unwrap());
        if version.default_on {
            assert_eq!(finding["verdict"], "speaks", "{finding}");
        } else if let Some(twin) = version.twin() {
            // It was answered as its twin, and its frames are not understood.
            assert_eq!(finding["verdict"], "hangs", "{finding}");
            assert_eq!(finding["status"], 101, "{finding}");
            let reason = finding["reason"].as_str().unwrap();
            assert!(reason.contains(twin.name), "{finding}");
        } else {
            assert_eq!(finding["verdict"], "refused", "{finding}");
            assert_eq!(finding["status"], 426, "{finding}");
            assert_eq!(finding["lists"], "13, 8, 7", "{finding}");
            let option = format!("--versions +{version}");
            let reason = finding["reason"].as_str().unwrap();
            assert!(reason.contains(&option), "{finding}");
        }
    }
    let (ended, again) = probe(server.address, &["--fail-on", "refused"]);
    ended.exits(1);
    assert_eq!(again.len(), findings.len());
    let on = ["--versions", "default", "--fail-on", "refused"];
    probe(server.address, &on).0.exits(0);
    let off = ["--versions", "75,4"];
    probe(server.address, &off).0.exits(4);
}

#[test]
fn the_floor_of_severity_decides_the_exit_code() {
    let silent = Host::new(Connection::end);
    for (floor, code) in [("wrong", 4), ("silent", 1), ("refused", 1), ("good", 1)] {
        let args = ["--versions", "13", "--fail-on", floor];
        probe(silent.address, &args).0.exits(code);
    }
    let server = Program::serve(&[]);
    let args = ["--versions", "13", "--fail-on", "good"];
    probe(server.address, &args).0.exits(1);
}

#[test]
fn probe_sends_the_subprotocol_and_origin_it_is_given() {
    let server = Program::serve(&["--subprotocol", "chat", "--origin", "http://page.example"]);
    let args = [
        "--versions",
        "default",
        "--subprotocol",
        "chat",
        "--origin",
        "http://page.example",
    ];
    let (ended, findings) = probe(server.address, &args);
    ended.exits(0);
    for finding in findings {
        assert_eq!(finding["verdict"], "speaks", "{finding}");
        let reason = finding["reason"].as_str().unwrap();
        assert!(reason.contains(", subprotocol chat; "), "{finding}");
    }
    let (ended, findings) = probe(server.address, &["--versions", "13"]);
    ended.exits(4);
    assert_eq!(findings[0]["status"], 403);
}
