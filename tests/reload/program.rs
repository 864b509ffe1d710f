//! The program with a configuration file, which is read again under open
//! connections.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::ALL;
use crate::supervisor::Notices;
use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC};
use crate::support::program::{HEIRLOOM, Program};

/// Reloads after which descriptors and memory are counted first, and how many follow.
const WARM: usize = 20;
const RELOADS: usize = 100;
/// What the allocator may keep besides.
const GROWTH_KIB: u64 = 24 * 1024;

/// A gateway that tells when it has read its file again.
struct Gateway {
    program: Program,
    notices: Notices,
    folder: Folder,
}

impl Gateway {
    fn start(configuration: &str) -> Gateway {
        let folder = Folder::new();
        let file = folder.write("heirloom.toml", configuration);
        let notify = folder.path("notify");
        let notices = Notices::at(&notify);
        let mut command = Command::new(HEIRLOOM);
        command.args(["gateway", "--config", file.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", notify);
        let program = Program::start(&mut command);
        assert!(notices.next().starts_with("READY=1\n"));
        Gateway {
            program,
            notices,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path("heirloom.toml")
    }

    /// Has it read this, and waits until it has.
    fn reload(&self, configuration: &str) {
        fs::write(self.file(), configuration).unwrap();
        self.program.signal("HUP");
        assert!(self.notices.next().starts_with("RELOADING=1\n"));
        assert!(self.notices.next().starts_with("READY=1\n"));
    }

    fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.program.id());
        fs::read_dir(folder).unwrap().count()
    }

    fn resident_kib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.program.id());
        let status = fs::read_to_string(file).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }
}

/// One route stays, and the other one has these versions.
fn configuration(process: &str, versions: &str) -> String {
    format!(
        "{process}\nworkers = 2\n\
         [[listener]]\nlisten = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/stays\"\nto = \"echo\"\nversions = \"all\"\n\
         [[route]]\npath = \"/moves\"\nto = \"echo\"\nversions = \"{versions}\"\n"
    )
}

#[test]
fn clients_of_a_changed_route_are_sent_away_once_their_time_is_over() {
    let process = "reload-drain-ms = \"100ms\"\nspread-ms = \"200ms\"";
    let gateway = Gateway::start(&configuration(process, "all"));
    let open = |path: &str| {
        let open = |speaks| Peer::open(gateway.program.address, speaks, path);
        ALL.map(open)
    };
    let (mut kept, mut moved) = (open("/stays/x"), open("/moves/x"));
    // With a mistake nothing changes.
    gateway.reload("workers = 2\nlisten = \"nowhere\"\n");
    gateway.program.await_talk("nothing was changed");
    for peer in moved.iter_mut().chain(&mut kept) {
        peer.echo("as before");
    }
    gateway.reload(&configuration(process, "default"));
    for peer in &mut moved {
        peer.is_sent_away();
    }
    for peer in &mut kept {
        peer.echo("still here");
    }
    let mut late = Peer::open(gateway.program.address, RFC, "/moves/x");
    late.echo("the port is the same");
    gateway.program.signal("TERM");
    late.close_frame(1001);
}

#[test]
fn without_a_time_for_it_clients_of_a_changed_route_stay() {
    let gateway = Gateway::start(&configuration("", "all"));
    let mut peers = ALL.map(|speaks| Peer::open(gateway.program.address, speaks, "/moves/x"));
    gateway.reload(&configuration("", "rfc6455"));
    gateway.reload(&configuration("", "default"));
    for peer in &mut peers {
        peer.echo("still here");
    }
}

#[test]
fn the_program_reloads_in_a_loop_and_loses_nothing() {
    let gateway = Gateway::start(&configuration("reload-drain-ms = 1", "all"));
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ALL
        .iter()
        .cycle()
        .take(20)
        .map(|speaks| {
            let mut peer = Peer::open(gateway.program.address, *speaks, "/stays/x");
            let over = Arc::clone(&over);
            thread::spawn(move || {
                for number in 0.. {
                    peer.echo(&format!("number {number}"));
                    if over.load(Ordering::Relaxed) {
                        return peer.close();
                    }
                }
            })
        })
        .collect();
    let reload = |reload: usize| {
        let versions = ["all", "default", "rfc6455"][reload % 3];
        gateway.reload(&configuration("reload-drain-ms = 1", versions));
        let mut moved = Peer::open(gateway.program.address, RFC, "/moves/x");
        moved.echo("new");
        moved.close();
    };
    (0..WARM).for_each(reload);
    let before = (gateway.descriptors(), gateway.resident_kib());
    (0..RELOADS).for_each(reload);
    let until = std::time::Instant::now() + PATIENCE;
    while gateway.descriptors() > before.0 && std::time::Instant::now() < until {
        // The last client that has left is noticed.
        thread::sleep(Duration::from_millis(10));
    }
    let after = (gateway.descriptors(), gateway.resident_kib());
    assert!(after.0 <= before.0, "{before:?} before, {after:?} after");
    assert!(
        after.1 <= before.1 + GROWTH_KIB,
        "{before:?} before, {after:?} after"
    );
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("nothing is lost");
    }
}
