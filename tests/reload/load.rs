//! Reloads in a loop, under load.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::net::{Destination, Listen, ListenAt, Route, Takes};

use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC};
use crate::{ALL, Changing, loopback, no_routes, port_of, shared};

/// Set in the process that does the test: other tests open descriptors too.
const ALONE: &str = "HEIRLOOM_RELOADS_ALONE";
/// For how many seconds it goes on, where that is set.
const SECONDS: &str = "HEIRLOOM_RELOAD_SECONDS";
const CLIENTS: usize = 50;
/// What may be more at the end: what the allocator keeps, and the peaks of threads.
const GROWTH_KIB: u64 = 24 * 1024;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
fn reloads_in_a_loop_lose_nothing_and_leave_nothing_behind() {
    if env::var_os(ALONE).is_none() {
        let name = "load::reloads_in_a_loop_lose_nothing_and_leave_nothing_behind";
        let mut test = Command::new(env::current_exe().unwrap());
        let test = test.args(["--exact", name, "--nocapture"]).env(ALONE, "1");
        let output = test.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        return;
    }
    let seconds = env::var(SECONDS).map_or(5, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let folder = Folder::new();
    let kept = shared("/");
    let at = ListenAt::Unix {
        path: folder.path("s"),
        mode: 0o600,
    };
    let unix = Listen::new(at, Takes::Plain);
    let table = |others: bool| {
        let table = no_routes().with_shared(Arc::clone(&kept));
        if others {
            table.with(Route::below("/other", Destination::Echo))
        } else {
            table
        }
    };
    let server = Changing::start(&[loopback(0)], 2, table(true));
    let address = server.running.address;
    let (over, echoed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clients = (0..CLIENTS).map(|number| {
        let (over, echoed) = (Arc::clone(&over), Arc::clone(&echoed));
        let speaks = ALL[number % ALL.len()];
        let mut peer = Peer::open(address, speaks, "/");
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                peer.echo(&format!(
                    "{number} {}",
                    echoed.fetch_add(1, Ordering::Relaxed)
                ));
                thread::sleep(Duration::from_millis(1));
            }
            peer.close();
        })
    });
    let clients: Vec<_> = clients.collect();
    let (mut reloads, mut before) = (0, None);
    while Instant::now() < until || before.is_none() {
        let mut listeners = vec![loopback(address.port())];
        if reloads % 2 == 0 {
            listeners.extend([loopback(0), unix.clone()]);
        }
        let listeners = server.reloader.listen(&listeners).unwrap();
        server.route(table(reloads % 3 != 0));
        let mut moved = None;
        if let [_, other, _] = &listeners[..] {
            // What is new serves at once.
            let port = port_of(other);
            let mut peer = Peer::open(([127, 0, 0, 1], port).into(), RFC, "/");
            peer.echo("new");
            peer.close();
            moved = Some(Peer::connect_unix(&folder.path("s")));
        }
        if let Some(peer) = &mut moved {
            peer.upgrade(RFC, "/");
            peer.echo("new");
        }
        server.reloader.retire(0, 0);
        drop(moved);
        reloads += 1;
        if reloads == 60 {
            server.settle();
            before = Some((descriptors(), resident_kib()));
        }
    }
    // As it was when it was counted: even, and without the listeners of even ones.
    server.reloader.listen(&[loopback(address.port())]).unwrap();
    server.settle();
    let (descriptors_before, kib_before) = before.unwrap();
    let after = Instant::now() + PATIENCE;
    while descriptors() > descriptors_before && Instant::now() < after {
        // Clients that have left are noticed in the next turns.
        server.settle();
    }
    assert!(
        descriptors() <= descriptors_before,
        "{} descriptors, {descriptors_before} before, {reloads} reloads",
        descriptors()
    );
    let kib = resident_kib();
    assert!(
        kib <= kib_before + GROWTH_KIB,
        "{kib} KiB, {kib_before} before, {reloads} reloads"
    );
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("nothing is lost");
    }
    assert!(reloads >= 60 && echoed.load(Ordering::Relaxed) > 1000);
    println!(
        "{reloads} reloads, {} echoes",
        echoed.load(Ordering::Relaxed)
    );
}
