//! HUP with a configuration file, while clients are connected.

use std::net::TcpStream;

use crate::support::backend::Backend;
use crate::support::peer::{Peer, RFC};
use crate::support::program::Program;
use crate::{Written, free, open_at, request_of};

/// Has it reload, and gives the line that says how that went.
fn reload(program: &Program, says: &str) -> String {
    program.signal("HUP");
    program.await_talk(says)
}

#[test]
fn a_reload_changes_listeners_and_routes_and_leaves_open_connections_alone() {
    let (first, second) = (free(), free());
    let (old, new) = (Backend::listen(), Backend::listen());
    let text = |listen: &str, to: &str, more: &str| {
        format!(
            "origin = \"same\"\n[[listener]]\nlisten = \"127.0.0.1:0\"\n\
             [[listener]]\nlisten = \"{listen}\"\n[[route]]\npath = \"/stays\"\norigin = []\n\
             to = \"echo\"\n[[route]]\npath = \"/app\"\norigin = []\nto = \"{to}\"\n{more}"
        )
    };
    let file = Written::new(&text(&first.to_string(), &old.url(), ""));
    let program = file.start(&["--workers", "2"]);
    let mut stays = open_at(first, "h", "/stays");
    let mut client = Peer::connect(program.address);
    client.send(&request_of("h", "/app"));
    let mut served = old.open();
    client.agree(RFC);

    let more = "[[route]]\npath = \"/more\"\norigin = []\nto = \"topic:more\"\n";
    file.write(&text(&second.to_string(), &new.url(), more));
    let line = reload(&program, "configuration reloaded");
    assert!(line.contains("2 listeners, 3 routes"), "{line}");
    assert!(line.contains(&format!("{second} is new")), "{line}");
    assert!(
        line.contains(&format!("{first} is no longer listened on")),
        "{line}"
    );
    assert!(line.contains("2 routes are new, 1 route is gone"), "{line}");

    // The open ones go on, by the routes that they have.
    stays.echo("over the old listener");
    client.send_text("to the old backend");
    assert_eq!(served.receive_text(), "to the old backend");
    // New ones come to the new places.
    let mut another = Peer::connect(second);
    another.send(&request_of("h", "/app"));
    let mut served = new.open();
    another.agree(RFC);
    another.send_text("to the new backend");
    assert_eq!(served.receive_text(), "to the new backend");
    open_at(program.address, "h", "/more").close();
    // A worker closes its listener when it reads its mail.
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    while TcpStream::connect(first).is_ok() {
        assert!(
            std::time::Instant::now() < until,
            "{first} is still listened on"
        );
    }
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_all_are_told() {
    let good =
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[route]]\norigin = \"same\"\nto = \"echo\"\n";
    let file = Written::new(good);
    let program = file.start(&[]);
    let mut open = open_with_origin(&program, "/a");
    file.write(
        &good
            .replace("\"same\"", "\"example.com\"")
            .replace("\"echo\"", "\"ecco\""),
    );
    program.signal("HUP");
    let path = file.path();
    let line = program.await_talk(&format!("{path}:4:10: "));
    assert!(line.contains("did you mean"), "{line}");
    let line = program.await_talk(&format!("{path}:5:6: "));
    assert!(
        line.contains("the configuration from before stay"),
        "{line}"
    );
    open.echo("open");
    open_with_origin(&program, "/b").echo("new");

    // A place that cannot be listened on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let more =
        format!("[[listener]]\nlisten = \"{place}\"\n[[route]]\npath = \"/x\"\nto = \"lab\"\n");
    file.write(&format!("{good}{more}"));
    let line = reload(&program, "nothing was changed");
    assert!(line.contains(&place.to_string()), "{line}");
    open.echo("open");
    open_with_origin(&program, "/x").echo("still an echo");

    std::fs::remove_file(&file.path).unwrap();
    reload(&program, "cannot be read");
    open.echo("open");
    file.write(good);
    let line = reload(&program, "configuration reloaded");
    assert!(line.contains("the routes are the same"), "{line}");
    open.echo("open");
}

fn open_with_origin(program: &Program, path: &str) -> Peer {
    let request = String::from_utf8(request_of("h", path)).unwrap();
    let mut peer = Peer::connect(program.address);
    let request = request.replacen("\r\n", "\r\nOrigin: http://h\r\n", 1);
    peer.send(request.as_bytes());
    peer.agree(RFC);
    peer
}

#[test]
fn connections_of_a_route_that_has_changed_are_closed_where_that_is_asked_for() {
    let text = |limit: u32| {
        format!(
            "reload-drain-ms = 1\n[[listener]]\nlisten = \"127.0.0.1:0\"\n\
             [[route]]\npath = \"/stays\"\nto = \"echo\"\n\
             [[route]]\npath = \"/changes\"\nmax-message-bytes = {limit}\nto = \"echo\"\n"
        )
    };
    let file = Written::new(&text(1000));
    let program = file.start(&["--workers", "2"]);
    let mut stays = Peer::open(program.address, RFC, "/stays");
    let mut changes = Peer::open(program.address, RFC, "/changes");
    file.write(&text(1001));
    let line = reload(&program, "configuration reloaded");
    assert!(line.contains("1 route is new, 1 route is gone"), "{line}");
    changes.close_frame(1001);
    stays.echo("not touched");
}

#[test]
fn what_takes_effect_at_the_start_is_told() {
    let text = |workers: u32, connections: u32| {
        format!(
            "workers = {workers}\nmax-connections = {connections}\n[[listener]]\n\
             listen = \"127.0.0.1:0\"\n[[route]]\nto = \"echo\"\n"
        )
    };
    let file = Written::new(&text(1, 5));
    let program = file.start(&[]);
    let mut open = Peer::open(program.address, RFC, "/");
    file.write(&text(2, 1));
    reload(&program, "`workers` has changed");
    open.echo("the one that may be there");
    let mut refused = Peer::connect(program.address);
    refused.send(&request_of("h", "/"));
    assert_eq!(refused.response().0.status(), 503);
}

#[test]
fn no_signal_that_services_get_ends_the_program() {
    let backend = Backend::listen();
    let out = crate::support::folder::Folder::new();
    let vectors = out.path("vectors");
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()],
        &[
            "record",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &backend.address.to_string(),
            "--out",
            vectors.to_str().unwrap(),
        ],
    ] {
        let mut command = std::process::Command::new(crate::support::program::HEIRLOOM);
        let program = Program::start(command.args(args));
        for signal in [
            "HUP", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "QUIT", "WINCH",
        ] {
            program.signal(signal);
        }
        // It serves on.
        drop(Peer::connect(program.address));
        program.signal("TERM");
        let (status, ended) = program.wait();
        assert_eq!(status.code(), Some(0), "{args:?}: {}", ended.talk);
    }
}
