//! What a supervisor is told, and what its journal gets.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use heirloom::Config;
use heirloom::net::Server;

use crate::loopback;
use crate::support::PATIENCE;
use crate::support::certificate::Plan;
use crate::support::failing_app::{FailingApp, Hold};
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC};
use crate::support::program::{HEIRLOOM, Program};
use crate::support::server::Running;
use crate::support::tls_host::Files;

/// The socket of a supervisor, and what the program sends to it.
pub(crate) struct Notices(UnixDatagram);

impl Notices {
    pub(crate) fn at(path: &Path) -> Notices {
        Notices::by(UnixDatagram::bind(path).unwrap())
    }

    fn by(socket: UnixDatagram) -> Notices {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Notices(socket)
    }

    pub(crate) fn next(&self) -> String {
        let mut octets = [0; 4096];
        let n = self.0.recv(&mut octets).expect("it is told something");
        String::from_utf8(octets[..n].to_vec()).unwrap()
    }

    /// The next that is not about the watchdog.
    fn next_change(&self) -> String {
        loop {
            let next = self.next();
            if next != "WATCHDOG=1\n" {
                return next;
            }
        }
    }
}

fn serve(notify: &str, args: &[&str]) -> Command {
    let mut command = Command::new(HEIRLOOM);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(args);
    command.env("NOTIFY_SOCKET", notify);
    command
}

#[test]
fn a_supervisor_is_told_of_the_start_each_reload_the_stop_and_that_the_program_lives() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let notices = Notices::at(&path);
    let files = Files::of(&Plan::new(&["localhost"]).self_signed());
    let mut command = serve(path.to_str().unwrap(), &[]);
    command.env("WATCHDOG_USEC", "200000");
    let program = Program::start(command.args(files.options()));
    let ready = format!("READY=1\nSTATUS=listening on {}\n", program.address);
    assert_eq!(notices.next(), ready);
    for _ in 0..3 {
        assert_eq!(notices.next(), "WATCHDOG=1\n");
    }
    for _ in 0..2 {
        program.signal("HUP");
        let told = notices.next_change();
        let rest = told
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .expect(&told);
        let time: u64 = rest.trim_end().parse().unwrap();
        assert!(time > 0);
        assert_eq!(notices.next_change(), ready);
    }
    let mut peer = Peer::open(program.address, RFC, "/");
    program.signal("TERM");
    assert_eq!(notices.next_change(), "STOPPING=1\nSTATUS=draining\n");
    // The watchdog is told as long as it drains.
    assert_eq!(notices.next(), "WATCHDOG=1\n");
    peer.is_sent_away();
    drop(peer);
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn an_abstract_name_is_told_too_and_without_a_watchdog_nothing_else_is() {
    let name = format!("heirloom-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let notices = Notices::by(UnixDatagram::bind_addr(&address).unwrap());
    let program = Program::start(&mut serve(&format!("@{name}"), &[]));
    assert!(notices.next().starts_with("READY=1\n"));
    program.signal("TERM");
    assert!(notices.next().starts_with("STOPPING=1\n"));
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn a_supervisor_that_cannot_be_told_does_not_keep_the_program_from_serving() {
    for name in ["vsock:2:1", "/nowhere/notify"] {
        let program = Program::start(&mut serve(name, &[]));
        program.await_talk("cannot tell the supervisor anything");
        Peer::open(program.address, RFC, "/").echo("served");
    }
}

#[test]
fn the_watchdog_is_not_told_while_one_worker_is_stuck() {
    let (entered, is_held) = channel();
    let (let_go, release) = channel();
    let hold = Mutex::new(Some(Hold { entered, release }));
    let server = Server::listen(&[loopback(0)], 2, Config::default()).unwrap();
    let liveness = server.liveness();
    let server = Running::server(server, move || FailingApp::new(hold.lock().unwrap().take()));
    assert!(liveness.all_turn(PATIENCE));
    // One of these is at the worker that can be held.
    let mut peers: Vec<Peer> = (0..8)
        .map(|_| Peer::open(server.address, RFC, "/"))
        .collect();
    for peer in &mut peers {
        peer.send_text("hold");
    }
    is_held.recv_timeout(PATIENCE).unwrap();
    assert!(!liveness.all_turn(Duration::from_millis(100)));
    assert!(!liveness.all_turn(Duration::from_millis(100)));
    // Each that says it holds the worker again.
    drop(let_go);
    assert!(liveness.all_turn(PATIENCE));
}

/// The program, with its standard error as the journal that systemd names.
fn in_journal(args: &str) -> Command {
    let script =
        format!("export JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr)\nexec {HEIRLOOM} {args}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

#[test]
fn lines_for_the_journal_have_a_priority_and_no_time() {
    let serve = "serve -vv --listen 0.0.0.0:0 --versions all --workers 1";
    let program = Program::start(&mut in_journal(serve));
    let warning = program.await_talk("sends without masks");
    assert!(warning.starts_with("<4>0.0.0.0:"), "{warning}");
    let address = ([127, 0, 0, 1], program.address.port()).into();
    Peer::open(address, RFC, "/").echo("hello");
    let debug = program.await_talk("open: rfc6455");
    assert_eq!(debug, "<7>open: rfc6455");
    let address = program.address;
    let output = in_journal(&format!("serve --listen {address}"))
        .output()
        .unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.starts_with("<3>cannot listen on "), "{talk}");
    // Another stream is the journal.
    let mut command = Command::new(HEIRLOOM);
    command.env("JOURNAL_STREAM", "1:1");
    command.args(["serve", "--listen", "0.0.0.0:0", "--versions", "all"]);
    let program = Program::start(&mut command);
    let warning = program.await_talk("sends without masks");
    assert!(warning.starts_with("heirloom: warning: "), "{warning}");
}
