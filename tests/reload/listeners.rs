//! Listeners that come, stay and go while a server runs.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use heirloom::Config;
use heirloom::client::Connector;
use heirloom::handshake::Origins;
use heirloom::net::{
    CertificateFiles, ClientTls, ClientTlsOptions, FlashPolicy, Listen, ListenAt, ListenPolicy,
    Server, ServerTls, Takes,
};

use crate::support::PATIENCE;
use crate::support::certificate::Plan;
use crate::support::failing_app::{FailingApp, Hold};
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC, request};
use crate::support::server::Running;
use crate::support::sockets::{await_queued, await_refused};
use crate::support::tls_host::Files;
use crate::{Changing, echo, loopback, port_of};

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn unix(path: &Path, mode: u32) -> Listen {
    let path = path.to_owned();
    Listen::new(ListenAt::Unix { path, mode }, Takes::Plain)
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_listener_serves_one_that_is_gone_refuses_and_open_connections_stay() {
    let server = Changing::start(&[loopback(0)], 2, echo());
    let first = server.running.address.port();
    let mut early = Peer::open(at(first), RFC, "/");
    let both = [loopback(first), loopback(0)];
    let listeners = server.reloader.listen(&both).unwrap();
    let second = port_of(&listeners[1]);
    let mut late: Vec<Peer> = (0..8).map(|_| Peer::open(at(second), RFC, "/")).collect();
    Peer::open(at(first), RFC, "/").echo("both");
    server.reloader.listen(&listeners[1..]).unwrap();
    server.settle();
    await_refused(at(first));
    early.echo("still here");
    for peer in &mut late {
        peer.echo("here too");
    }
    Peer::open(at(second), RFC, "/").echo("and a new one");
    server.running.stop();
    early.close_frame(1001);
    // They are with both workers, and each stops by itself.
    for peer in &mut late {
        peer.close_frame(1001);
    }
    // It stops at its new listeners too.
    await_refused(at(second));
}

#[test]
fn port_0_stays_the_port_that_was_found_for_it() {
    let server = Changing::start(&[loopback(0), loopback(0)], 1, echo());
    let ports: Vec<u16> = server.reloader.listeners().iter().map(port_of).collect();
    let again = server.reloader.listen(&[loopback(0), loopback(0)]).unwrap();
    assert_eq!(again.iter().map(port_of).collect::<Vec<_>>(), ports);
    // The real port stands for the same one, and 0 for it afterwards.
    let real = server.reloader.listen(&[loopback(ports[1])]).unwrap();
    assert_eq!(port_of(&real[0]), ports[1]);
    let three = [loopback(0), loopback(0)];
    let listeners = server.reloader.listen(&three).unwrap();
    assert_eq!(port_of(&listeners[0]), ports[1]);
    assert_ne!(port_of(&listeners[1]), ports[1]);
    for listen in &listeners {
        Peer::open(at(port_of(listen)), RFC, "/").echo("here");
    }
}

#[test]
fn where_one_place_cannot_be_bound_nothing_changes() {
    let folder = Folder::new();
    let (path, kept) = (folder.path("s"), folder.path("kept"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let server = Changing::start(&[loopback(0), unix(&kept, 0o600)], 2, echo());
    let port = server.running.address.port();
    let wanted = [
        unix(&path, 0o600),
        unix(&kept, 0o660),
        loopback(taken.port()),
    ];
    let error = server.reloader.listen(&wanted).unwrap_err();
    assert_eq!(error.address, ListenAt::Tcp(taken));
    assert_eq!(error.error.kind(), ErrorKind::AddrInUse);
    server.settle();
    assert!(!path.exists(), "what was bound is given up");
    assert_eq!(mode_of(&kept), 0o600);
    Peer::open(at(port), RFC, "/").echo("as before");
    let twice = [loopback(port), loopback(port)];
    let error = server.reloader.listen(&twice).unwrap_err().to_string();
    assert!(error.contains("given twice"), "{error}");
    assert_eq!(server.reloader.listeners().len(), 2);
    Peer::open(at(port), RFC, "/").echo("as before");
}

#[test]
fn a_unix_socket_keeps_its_file_gets_its_mode_and_goes_with_its_listener() {
    let folder = Folder::new();
    let path = folder.path("s");
    let server = Changing::start(&[loopback(0), unix(&path, 0o600)], 2, echo());
    let before = fs::symlink_metadata(&path).unwrap().ino();
    let mut early = Peer::connect_unix(&path);
    early.upgrade(RFC, "/");
    server
        .reloader
        .listen(&[loopback(0), unix(&path, 0o666)])
        .unwrap();
    assert_eq!(mode_of(&path), 0o666);
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
    server.reloader.listen(&[loopback(0)]).unwrap();
    server.settle();
    assert!(!path.exists());
    early.echo("still here");
    server
        .reloader
        .listen(&[loopback(0), unix(&path, 0o600)])
        .unwrap();
    let mut late = Peer::connect_unix(&path);
    late.upgrade(RFC, "/");
    late.echo("again");
}

#[test]
fn an_address_can_become_narrower() {
    let all = Listen::new(ListenAt::Tcp(([0, 0, 0, 0], 0).into()), Takes::Both);
    let server = Changing::start(&[all], 2, echo());
    let port = port_of(&server.reloader.listeners()[0]);
    server.reloader.listen(&[loopback(port)]).unwrap();
    server.settle();
    Peer::open(at(port), RFC, "/").echo("here");
    await_refused(([127, 0, 0, 2], port).into());
}

#[test]
fn connections_that_wait_at_a_listener_that_is_closed_are_served() {
    let (entered, is_held) = channel();
    let (let_go, release) = channel();
    let hold = Mutex::new(Some(Hold { entered, release }));
    let server = Server::listen(&[loopback(0)], 1, Config::default()).unwrap();
    let (reloader, liveness) = (server.reloader(), server.liveness());
    let server = Running::server(server, move || FailingApp::new(hold.lock().unwrap().take()));
    let mut holder = Peer::open(server.address, RFC, "/");
    holder.send_text("hold");
    is_held.recv_timeout(PATIENCE).unwrap();
    // The worker stands still: these wait in the system's queue. They are more than
    // one round accepts.
    let mut waiting: Vec<Peer> = (0..200).map(|_| Peer::connect(server.address)).collect();
    for peer in &mut waiting {
        peer.send(&request(RFC, "/"));
    }
    await_queued(server.address, waiting.len());
    let listeners = reloader
        .listen(&[Listen::from(at(0)), loopback(0)])
        .unwrap();
    reloader.listen(&listeners[1..]).unwrap();
    let_go.send(()).unwrap();
    for peer in &mut waiting {
        peer.agree(RFC);
    }
    assert!(liveness.all_turn(PATIENCE));
    await_refused(server.address);
    for peer in &mut waiting {
        peer.echo("served");
    }
}

fn certificate() -> (Files, ServerTls) {
    let files = Files::of(&Plan::new(&["localhost"]).self_signed());
    let pair = CertificateFiles {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    };
    let tls = ServerTls::load(&[pair]).unwrap();
    (files, tls)
}

fn speaks_tls(files: &Files, port: u16) -> bool {
    let options = ClientTlsOptions::default().with_trusted(&files.certificate);
    let connector = Connector::new().with_tls(ClientTls::new(&options).unwrap());
    let url = format!("wss://localhost:{port}/");
    connector.connect(&url).is_ok()
}

#[test]
fn each_listener_has_certificates_of_its_own_and_gets_new_ones() {
    let ((one, first), (other, second)) = (certificate(), certificate());
    let with = |tls: &ServerTls| {
        let policy = ListenPolicy::default().with_tls(tls.clone());
        loopback(0).with_policy(policy)
    };
    let server = Changing::start(&[with(&first), with(&second), loopback(0)], 2, echo());
    let ports: Vec<u16> = server.reloader.listeners().iter().map(port_of).collect();
    for (port, knows_one, knows_other) in [
        (ports[0], true, false),
        (ports[1], false, true),
        (ports[2], false, false),
    ] {
        assert_eq!(speaks_tls(&one, port), knows_one, "{port}");
        assert_eq!(speaks_tls(&other, port), knows_other, "{port}");
    }
    let mut early = Peer::open(at(ports[0]), RFC, "/");
    server
        .reloader
        .listen(&[with(&second), with(&second), with(&first)])
        .unwrap();
    server.settle();
    assert!(speaks_tls(&other, ports[0]) && !speaks_tls(&one, ports[0]));
    assert!(speaks_tls(&one, ports[2]));
    early.echo("still here");
}

#[test]
fn each_listener_believes_the_proxies_of_its_own() {
    let policy = ListenPolicy::default().accept_proxy("127.0.0.0/8".parse().unwrap());
    let behind = loopback(0).with_policy(policy);
    let server = Changing::start(&[behind, loopback(0)], 1, echo());
    let ports: Vec<u16> = server.reloader.listeners().iter().map(port_of).collect();
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    let mut client = Peer::connect(at(ports[0]));
    client.send(header);
    client.upgrade(RFC, "/");
    client.echo("behind");
    let mut direct = Peer::open(at(ports[1]), RFC, "/");
    direct.echo("direct");
    let mut refused = Peer::connect(at(ports[1]));
    refused.send(header);
    let (head, body) = refused.response();
    assert_eq!(head.status(), 400);
    assert!(body.starts_with("proxy-header-unexpected: "), "{body}");
    // A listener that stays can be told otherwise.
    let plain = [loopback(ports[0]), loopback(ports[1])];
    server.reloader.listen(&plain).unwrap();
    server.settle();
    Peer::open(at(ports[0]), RFC, "/").echo("direct now");
}

#[test]
fn a_connection_keeps_the_policy_that_it_was_accepted_with() {
    let answer = |port: u16| FlashPolicy::of_origins(&Origins::any(), &[port]);
    let with = |port: u16| {
        let policy = ListenPolicy::default().with_flash_policy(answer(port));
        loopback(0).with_policy(policy)
    };
    let server = Changing::start(&[with(1)], 1, echo());
    let mut player = Peer::connect(server.running.address);
    player.send(b"<policy-file-");
    server.running.await_connections(1);
    server.reloader.listen(&[with(2)]).unwrap();
    server.settle();
    player.send(b"request/>\0");
    assert_eq!(player.rest(), answer(1).octets());
    let mut player = Peer::connect(server.running.address);
    player.send(b"<policy-file-request/>\0");
    assert_eq!(player.rest(), answer(2).octets());
}
