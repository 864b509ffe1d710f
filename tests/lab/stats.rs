//! The list of connections that are open now, over all workers.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::peer::{Peer, RFC};
use super::support::program::Program;
use super::{EACH, HIXIE_76, Page, head_of_76, serve, within};

fn versions(told: &Value) -> Vec<String> {
    let listed = told["listed"].as_array().unwrap();
    let names = listed.iter().map(|one| one["version"].as_str().unwrap());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

fn ages(told: &Value) -> Vec<u64> {
    let listed = told["listed"].as_array().unwrap();
    listed
        .iter()
        .map(|one| one["age"].as_u64().unwrap())
        .collect()
}

/// Waits until so many are counted; how long it took.
fn counted(page: &Page, open: usize) -> (Value, Duration) {
    let begin = Instant::now();
    let told = within(&format!("{open} are open"), || {
        Some(page.json("connections")).filter(|told| told["open"] == open)
    });
    (told, begin.elapsed())
}

#[test]
fn every_version_is_listed_from_every_worker_and_a_client_that_is_gone_is_not() {
    let program = serve(&[], &["--versions", "all", "--workers", "2"]);
    let page = Page::load(&program);
    assert_eq!(page.json("connections")["open"], 0);
    let begin = Instant::now();
    let mut peers: Vec<Peer> = (0..3)
        .flat_map(|_| EACH)
        .map(|(speaks, _)| Peer::open(program.address, speaks, "/anywhere"))
        .collect();
    let (told, _) = counted(&page, 12);
    let mut all: Vec<String> = (0..3)
        .flat_map(|_| EACH)
        .map(|(_, v)| v.to_owned())
        .collect();
    all.sort();
    assert_eq!(versions(&told), all);
    let most = begin.elapsed().as_secs() + 1;
    assert!(ages(&told).iter().all(|age| *age <= most), "{told}");
    // The first of them closes in the old way, by TCP alone.
    peers.remove(0).close();
    let (told, took) = counted(&page, 11);
    all.remove(0);
    assert_eq!(versions(&told), all);
    // A second at most since the worker counted, and some for the asking.
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(peers);
    counted(&page, 0);
}

#[test]
fn a_connection_grows_older_and_the_youngest_stand_first() {
    let program = serve(&[], &["--workers", "2"]);
    let page = Page::load(&program);
    let old = Peer::open(program.address, RFC, "/");
    within("it is two seconds old", || {
        let told = page.json("connections");
        ages(&told).first().filter(|age| **age >= 2).copied()
    });
    let young = page.open(HIXIE_76);
    let (told, _) = counted(&page, 2);
    let listed = told["listed"].as_array().unwrap();
    assert_eq!(listed[0]["version"], "hixie-76", "{told}");
    assert_eq!(listed[1]["version"], "rfc6455", "{told}");
    assert!(ages(&told)[0] < ages(&told)[1], "{told}");
    drop((old, young));
}

#[test]
fn a_client_in_its_handshake_is_not_counted() {
    let program = serve(&[], &["--workers", "1"]);
    let page = Page::load(&program);
    let mut half = Peer::connect(program.address);
    half.send(&head_of_76("/"));
    assert_eq!(half.head().status(), 101);
    let silent = Peer::connect(program.address);
    let _open = Peer::open(program.address, RFC, "/");
    let (told, _) = counted(&page, 1);
    assert_eq!(versions(&told), ["rfc6455"]);
    drop((half, silent));
}

#[test]
fn all_are_counted_and_so_many_are_listed() {
    for (workers, most) in [("1", 256), ("2", 300)] {
        let program = Program::serve(&["--workers", workers]);
        let page = Page::load(&program);
        let peers: Vec<Peer> = (0..300)
            .map(|n| Peer::open(program.address, [RFC, HIXIE_76][n % 2], "/"))
            .collect();
        let (told, _) = counted(&page, 300);
        let listed = told["listed"].as_array().unwrap().len();
        assert!((256..=most).contains(&listed), "{listed}");
        drop(peers);
        counted(&page, 0);
    }
}
