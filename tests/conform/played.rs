//! All cases, played to peers that are right.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use heirloom::conform::{CaseResult, CaseSet, PlayOptions, play_to_server};
use heirloom::net::Url;
use heirloom::net::dial::DialTarget;
use heirloom::extension::{Compression, Mode};
use heirloom::Config;

use crate::support::server::{Running};

/// Plays these cases to a server at the same time.
fn play_all(set: &CaseSet, url: &str) -> Vec<(String, CaseResult)> {
    let url = Url::parse(url).unwrap();
    let target = DialTarget::of(&url, None).unwrap();
    let options = PlayOptions::default();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(case) = set.cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = play_to_server(case, &target, &url, &options).unwrap();
                    results.lock().unwrap().push((case.id.clone(), result));
                }
            });
        }
    });
    results.into_inner().unwrap()
}

#[test]
fn a_right_server_passes() {
    let config = Config::default().with_compression(Compression::default().with_mode(Mode::PerConnection)).with_context_memory(heirloom::extension::ContextMemory::new(1<<30));
    let server = Running::serve_on(2, config);
    let set = CaseSet::built_in();
    let start = Instant::now();
    let results = play_all(&set, &format!("ws://{}/", server.address));
    println!("{} cases in {:?}", results.len(), start.elapsed());
    let mut slow: Vec<_> = results.iter().collect();
    slow.sort_by_key(|(_, r)| std::cmp::Reverse(r.duration));
    for (id, r) in slow.iter().take(40) { println!("{id} {:?}", r.duration); }
    for (id, result) in &results {
        if result.broken.is_some() || result.behavior.name() != "OK" {
            println!("{id} {} {} {:?} {:?} {:?}", result.behavior, result.closing, result.broken, result.difference, result.closing_difference);
        }
    }
}
