//! The recording as a vector: what the page's browser said can be held against
//! any server.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::support::peer::{KEY3, Peer, RFC};
use super::support::program::{Program, run};
use super::{EACH, HIXIE_76, Page, head_of_76, serve};

/// The vector of a page, from a download whose head is right.
fn downloaded(page: &Page) -> (String, Value) {
    let (head, body) = page.ask("vector");
    assert_eq!(head.status(), 200, "{body}");
    assert_eq!(
        head.header("Content-Disposition"),
        Some("attachment; filename=\"heirloom-recording.json\"")
    );
    assert_eq!(head.header("Content-Type"), Some("application/json"));
    assert_eq!(head.header("Cache-Control"), Some("no-store"));
    let file: Value = serde_json::from_str(&body).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 1);
    let vector = vectors[0].clone();
    (body, vector)
}

/// What `heirloom check` says of it, which must be good.
fn checked(body: &str) -> String {
    static SAVED: AtomicU64 = AtomicU64::new(0);
    let n = SAVED.fetch_add(1, Ordering::Relaxed);
    let name = format!("lab-{}-{n}.json", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, body).unwrap();
    let ended = run(&["check", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    assert_eq!(ended.code, Some(0), "{}{}\n{body}", ended.out, ended.talk);
    ended.out
}

#[test]
fn the_recording_of_each_version_passes_the_check() {
    let program = serve(&[], &["--versions", "all"]);
    for (speaks, version) in EACH {
        let page = Page::load(&program);
        let mut peer = page.open(speaks);
        peer.echo("grüße");
        let (body, vector) = downloaded(&page);
        assert_eq!(vector["version"], version);
        assert_eq!(vector["unfinished"], true);
        checked(&body);
        peer.close();
        page.await_closed();
        let (body, vector) = downloaded(&page);
        assert!(vector["unfinished"].is_null(), "{body}");
        assert_eq!(vector["expect"]["server"]["result"], "accept", "{body}");
        assert_eq!(vector["expect"]["client"]["result"], "accept", "{body}");
        assert!(!checked(&body).contains("skipped"), "{body}");
    }
}

#[test]
fn a_recording_of_a_client_that_just_went_passes_too() {
    let program = serve(&[], &["--versions", "all"]);
    for (speaks, version) in EACH {
        let page = Page::load(&program);
        let mut peer = page.open(speaks);
        peer.echo("hello");
        peer.reset();
        page.await_closed();
        let (body, vector) = downloaded(&page);
        assert!(vector["unfinished"].is_null(), "{body}");
        assert_eq!(vector["version"], version);
        assert!(!checked(&body).contains("skipped"), "{body}");
    }
}

#[test]
fn a_recording_that_was_cut_stays_unfinished() {
    let program = Program::serve(&[]);
    for speaks in [RFC, HIXIE_76] {
        let page = Page::load(&program);
        let mut peer = page.open(speaks);
        peer.echo(&"x".repeat(200_000));
        peer.close();
        assert_eq!(page.await_closed()["cut"], true);
        let (body, vector) = downloaded(&page);
        assert_eq!(vector["unfinished"], true);
        assert!(checked(&body).contains("1 skipped"));
    }
}

#[test]
fn a_recording_while_the_octets_are_awaited_passes_the_check() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let mut peer = Peer::connect(program.address);
    peer.send(&head_of_76(&page.path()));
    assert_eq!(peer.head().status(), 101);
    let (body, vector) = downloaded(&page);
    // The browser is about to say more.
    assert_eq!(vector["unfinished"], true, "{body}");
    checked(&body);
    peer.send(KEY3);
    peer.exactly(16);
    let (body, vector) = downloaded(&page);
    assert_eq!(vector["version"], "hixie-76");
    checked(&body);
}

#[test]
fn a_page_without_a_connection_has_no_recording() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let (head, body) = page.ask("vector");
    assert_eq!(head.status(), 404);
    assert_eq!(head.header("Content-Disposition"), None);
    let told: Value = serde_json::from_str(&body).unwrap();
    assert!(told["error"].is_string());
}
