//! Sockets that a supervisor has bound and passes.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Command;

use heirloom::net::{Listen, ListenAt, Passed, Takes};
use socket2::SockRef;

use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC};
use crate::support::program::{HEIRLOOM, Program, run};
use crate::{Changing, echo, loopback};

/// The program with these descriptors from 3 on, as systemd passes them. A shell puts
/// them there, and becomes the program.
fn activated(sockets: &[OwnedFd], variables: &str, args: &str) -> Command {
    let mut script = String::new();
    // First out of the way: their numbers may be those of others.
    for (index, socket) in sockets.iter().enumerate() {
        SockRef::from(socket).set_cloexec(false).unwrap();
        let number = socket.as_fd().as_raw_fd();
        script.push_str(&format!("exec {}<&{number} {number}<&-\n", 100 + index));
    }
    for index in 0..sockets.len() {
        let from = 100 + index;
        script.push_str(&format!("exec {}<&{from} {from}<&-\n", 3 + index));
    }
    let count = sockets.len();
    script.push_str(&format!(
        "export LISTEN_PID=$$ LISTEN_FDS={count} {variables}\nexec {HEIRLOOM} {args}\n"
    ));
    let mut command = Command::new("bash");
    command.args(["-c", &script]);
    command
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn the_program_serves_the_sockets_that_it_is_passed_and_leaves_their_files() {
    let folder = Folder::new();
    let path = folder.path("passed");
    let (web, local) = (tcp(), UnixListener::bind(&path).unwrap());
    let address = web.local_addr().unwrap();
    // Before it starts: the supervisor's queue takes them.
    let mut waiting = Peer::connect(address);
    let sockets = [OwnedFd::from(web), OwnedFd::from(local)];
    let mut command = activated(&sockets, "", "serve --listen systemd --workers 3");
    let program = Program::start(&mut command);
    assert_eq!(program.line, format!("listening on ws://{address}/\n"));
    waiting.upgrade(RFC, "/");
    waiting.echo("activated");
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::open(address, RFC, "/")).collect();
    let mut unix = Peer::connect_unix(&path);
    unix.upgrade(RFC, "/");
    for peer in peers.iter_mut().chain([&mut unix]) {
        peer.echo("by any worker");
    }
    program.signal("TERM");
    for peer in peers.iter_mut().chain([&mut unix, &mut waiting]) {
        peer.is_sent_away();
    }
    drop((peers, unix, waiting));
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
    assert!(path.exists(), "the supervisor's own file");
}

#[test]
fn a_name_chooses_among_the_sockets() {
    let (one, two) = (tcp(), tcp());
    let address = two.local_addr().unwrap();
    let sockets = [OwnedFd::from(one), OwnedFd::from(two)];
    let names = "LISTEN_FDNAMES=admin:web";
    let mut command = activated(&sockets, names, "serve --listen ws://systemd:web");
    let program = Program::start(&mut command);
    assert_eq!(program.line, format!("listening on ws://{address}/\n"));
    Peer::open(address, RFC, "/").echo("by name");
}

/// What the program says where it cannot take what it is passed.
fn refused(sockets: &[OwnedFd], variables: &str, listen: &str, code: i32) -> String {
    let args = format!("serve --listen {listen}");
    let output = activated(sockets, variables, &args).output();
    let output = output.expect("bash, which these tests need, is not installed");
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{talk}");
    talk
}

#[test]
fn what_is_passed_and_cannot_be_used_is_told() {
    let ended = run(&["serve", "--listen", "systemd"]);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.talk.contains("no socket was passed (LISTEN_FDS)"),
        "{}",
        ended.talk
    );

    let names = "LISTEN_FDNAMES=web";
    let talk = refused(&[tcp().into()], names, "systemd:wap", 2);
    assert!(talk.contains("passed were: web"), "{talk}");

    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let talk = refused(&[datagrams.into()], "", "systemd", 2);
    assert!(talk.contains("descriptor 3 (unknown)"), "{talk}");
    assert!(talk.contains("ListenStream="), "{talk}");

    let connected = std::net::TcpStream::connect(tcp().local_addr().unwrap()).unwrap();
    let talk = refused(&[connected.into()], "", "systemd", 2);
    assert!(talk.contains("Accept=no"), "{talk}");

    let talk = refused(&[tcp().into()], "LISTEN_PID=1", "systemd", 3);
    assert!(
        talk.contains("were passed to process 1, and this is "),
        "{talk}"
    );

    let talk = refused(&[tcp().into()], "LISTEN_FDS=4000000000", "systemd", 3);
    assert!(
        talk.contains("LISTEN_FDS is no number up to 1024"),
        "{talk}"
    );
}

#[test]
fn a_passed_socket_stays_over_a_reload() {
    let socket = tcp();
    let address = socket.local_addr().unwrap();
    let passed = Listen::new(ListenAt::Passed(Passed::tcp(socket).unwrap()), Takes::Both);
    let server = Changing::start(&[loopback(0), passed.clone()], 2, echo());
    let mut early = Peer::open(address, RFC, "/");
    for _ in 0..3 {
        server
            .reloader
            .listen(&[passed.clone(), loopback(0)])
            .unwrap();
        server.settle();
        Peer::open(address, RFC, "/").echo("new");
        early.echo("old");
    }
    let error = server
        .reloader
        .listen(&[passed.clone(), passed])
        .unwrap_err();
    assert!(error.to_string().contains("given twice"), "{error}");
}
