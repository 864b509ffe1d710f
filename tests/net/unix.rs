//! Servers at Unix sockets: their files, and their clients.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use heirloom::Config;
use heirloom::handshake::Request;
use heirloom::net::{App, ClientAddress, Listen, ListenAt, PeerAddress, Reply, Server, Takes};

use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC, Speaks};
use crate::support::program::{HEIRLOOM, Program, run};

pub(crate) fn at(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// `heirloom serve` at this socket.
pub(crate) fn serve(path: &Path, args: &[&str]) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args(["serve", "--listen", &at(path)]);
    Program::start(command.args(args))
}

/// Stops it; it ends well.
pub(crate) fn stop(program: Program) -> String {
    program.signal("TERM");
    let (status, ended) = program.wait();
    assert_eq!(status.code(), Some(0), "{}", ended.talk);
    ended.out
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[test]
fn every_version_is_served_and_the_file_goes_with_the_server() {
    let folder = Folder::new();
    let path = folder.path("s");
    let program = serve(&path, &["--versions", "all"]);
    let line = format!("listening on ws+unix:{}:/\n", path.display());
    assert_eq!(program.line, line);
    for speaks in [Speaks::Hixie75, Speaks::Hixie76, Speaks::Number(8), RFC] {
        let mut peer = Peer::connect_unix(&path);
        peer.upgrade(speaks, "/");
        peer.echo("grüße");
        // More than a socket holds, so that both ends have to wait.
        peer.echo(&"x".repeat(1 << 20));
        peer.close();
    }
    assert!(is_socket(&path));
    stop(program);
    assert!(!path.exists());
}

#[test]
fn the_file_has_its_mode_from_the_moment_it_exists() {
    let folder = Folder::new();
    let path = folder.path("s");
    for (umask, args, mode) in [
        ("0", &[][..], 0o600),
        ("077", &["--unix-mode", "0660"][..], 0o660),
        ("0", &["--unix-mode", "640"][..], 0o640),
    ] {
        for _ in 0..5 {
            let script = format!("umask {umask}; exec \"$@\"");
            let mut command = Command::new("sh");
            command.args(["-c", &script, "sh", HEIRLOOM, "serve"]);
            command.args(["--listen", &at(&path)]).args(args);
            let watched = path.clone();
            let first = thread::spawn(move || {
                let until = Instant::now() + PATIENCE;
                while Instant::now() < until {
                    match fs::symlink_metadata(&watched) {
                        Ok(file) => return file.mode() & 0o777,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
                    }
                }
                panic!("there is no file");
            });
            let program = Program::start(&mut command);
            // Never more than was asked for; the umask may have made it less.
            let seen = first.join().unwrap();
            assert_eq!(seen & !mode, 0, "{seen:o} with the umask {umask}");
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            stop(program);
        }
    }
    for mode in ["", "66", "668", "0x1", "1777", "00660"] {
        let ended = run(&["serve", "--listen", &at(&path), "--unix-mode", mode]);
        assert_eq!(ended.code, Some(2), "{mode}");
        assert!(ended.talk.contains("octal digits"), "{}", ended.talk);
    }
}

#[test]
fn what_a_server_left_behind_is_replaced_and_a_live_server_never() {
    let folder = Folder::new();
    let path = folder.path("s");
    let killed = serve(&path, &[]);
    killed.signal("KILL");
    killed.wait();
    assert!(is_socket(&path), "nothing could remove it");
    let program = serve(&path, &[]);
    let mut peer = Peer::connect_unix(&path);
    peer.upgrade(RFC, "/");
    let ended = run(&["serve", "--listen", &at(&path)]);
    assert_eq!(ended.code, Some(3));
    let why = format!(
        "cannot listen on {}: a server listens there already",
        at(&path)
    );
    assert!(ended.talk.contains(&why), "{}", ended.talk);
    peer.echo("still served");
    let mut second = Peer::connect_unix(&path);
    second.upgrade(RFC, "/");
    second.echo("the file is still the first one's");
    drop((peer, second));
    stop(program);
}

#[test]
fn a_file_of_another_kind_is_never_removed() {
    let folder = Folder::new();
    let [file, below, link, other] = ["file", "below", "link", "other"].map(|n| folder.path(n));
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&below).unwrap();
    let dead = folder.path("dead");
    drop(UnixListener::bind(&dead).unwrap());
    symlink(&dead, &link).unwrap();
    let _datagrams = UnixDatagram::bind(&other).unwrap();
    for path in [&file, &below, &link, &other] {
        let before = fs::symlink_metadata(path).unwrap().ino();
        let ended = run(&["serve", "--listen", &at(path)]);
        assert_eq!(ended.code, Some(3), "{path:?}");
        let why = if path == &other {
            "a server listens there already"
        } else {
            "a file that is no socket, which is not removed; choose another path"
        };
        assert!(ended.talk.contains(why), "{path:?}: {}", ended.talk);
        assert_eq!(fs::symlink_metadata(path).unwrap().ino(), before);
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(is_socket(&dead));
}

#[test]
fn the_file_is_gone_while_the_server_drains_and_after_a_second_signal() {
    let folder = Folder::new();
    let path = folder.path("s");
    let program = serve(&path, &[]);
    let mut peer = Peer::connect_unix(&path);
    peer.upgrade(RFC, "/");
    program.signal("TERM");
    // It waits for the reply to its close.
    peer.close_frame(1001);
    assert!(!path.exists());
    // Another may start meanwhile, whose file stays.
    let next = serve(&path, &[]);
    program.signal("TERM");
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(143));
    assert!(is_socket(&path));
    stop(next);
    assert!(!path.exists());
}

#[test]
fn a_socket_that_has_replaced_it_stays() {
    let folder = Folder::new();
    let path = folder.path("s");
    let program = serve(&path, &[]);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    stop(program);
    assert!(is_socket(&path));
}

#[test]
fn nothing_is_left_where_another_listener_cannot_be_bound() {
    let folder = Folder::new();
    let path = folder.path("s");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = ["serve", "--listen", &at(&path), "--listen", &address];
    let ended = run(&listen);
    assert_eq!(ended.code, Some(3), "{}", ended.talk);
    assert!(!path.exists());
    let bad = at(&folder.path("none/s"));
    let ended = run(&["serve", "--listen", &at(&path), "--listen", &bad]);
    assert_eq!(ended.code, Some(3), "{}", ended.talk);
    assert!(!path.exists());
}

#[test]
fn a_path_that_is_too_long_is_named_and_the_longest_is_served() {
    let folder = Folder::new();
    let room = 107 - folder.path("").as_os_str().len();
    let longest = folder.path(&"s".repeat(room));
    let program = serve(&longest, &[]);
    let mut peer = Peer::connect_unix(&longest);
    peer.upgrade(RFC, "/");
    peer.echo("at the end of a long path");
    drop(peer);
    stop(program);
    let long = folder.path(&"s".repeat(room + 1));
    let why = "the path has 108 octets, and the path of a Unix socket at most 107";
    let ended = run(&["serve", "--listen", &at(&long)]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.talk.contains(why), "{}", ended.talk);
    let ended = run(&["connect", &format!("ws+{}", at(&long))]);
    assert!(ended.talk.contains(why), "{}", ended.talk);
    for empty in ["unix:", "unix:@", "tls://unix:"] {
        let ended = run(&["serve", "--listen", empty]);
        assert_eq!(ended.code, Some(2), "{}", ended.talk);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_abstract_name_has_no_file_and_one_server() {
    let name = format!("@heirloom-{}", std::process::id());
    let listen = format!("unix:{name}");
    let mut command = Command::new(HEIRLOOM);
    let program = Program::start(command.args(["serve", "--listen", &listen]));
    assert_eq!(program.line, format!("listening on ws+unix:{name}:/\n"));
    let url = program.line.trim().strip_prefix("listening on ").unwrap();
    let probed = run(&["probe", url, "--versions", "rfc6455"]);
    assert_eq!(probed.code, Some(0), "{probed:?}");
    let ended = run(&["serve", "--listen", &listen]);
    assert!(
        ended.talk.contains("has this abstract name already"),
        "{}",
        ended.talk
    );
    stop(program);
    let ended = run(&["connect", &format!("ws+unix:{name}")]);
    assert!(
        ended.talk.contains("no server has this abstract name"),
        "{}",
        ended.talk
    );
}

const WORKERS: usize = 3;

/// Counts the clients of its worker.
struct Counts(Arc<[AtomicUsize; WORKERS]>, usize);

impl App for Counts {
    type Data = ();

    fn connected(&mut self, client: &ClientAddress, (): &mut ()) {
        assert_eq!(client.address, PeerAddress::Unix);
        self.0[self.1].fetch_add(1, Ordering::Relaxed);
    }

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }
}

fn listener(path: &Path) -> Listen {
    let at = ListenAt::Unix {
        path: path.to_owned(),
        mode: 0o600,
    };
    Listen::new(at, Takes::Plain)
}

#[test]
fn all_workers_serve_the_clients_of_one_socket() {
    let folder = Folder::new();
    let path = folder.path("s");
    let server = Server::listen(&[listener(&path)], WORKERS, Config::default()).unwrap();
    let stopper = server.stopper();
    let counts: Arc<[AtomicUsize; WORKERS]> = Arc::default();
    let (own, next) = (Arc::clone(&counts), AtomicUsize::new(0));
    let running = thread::spawn(move || {
        server.run(|| Counts(Arc::clone(&own), next.fetch_add(1, Ordering::Relaxed)));
    });
    let open = || {
        let mut peer = Peer::connect_unix(&path);
        peer.upgrade(RFC, "/");
        peer
    };
    let peers: Vec<Peer> = (0..30).map(|_| open()).collect();
    let counts = [0, 1, 2].map(|worker| counts[worker].load(Ordering::Relaxed));
    assert_eq!(counts.iter().sum::<usize>(), peers.len());
    let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
    assert!(spread <= 2, "{counts:?}");
    drop(peers);
    stopper.stop();
    running.join().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_server_that_is_never_run_leaves_no_file() {
    let folder = Folder::new();
    let path = folder.path("s");
    let server = Server::listen(&[listener(&path)], 2, Config::default()).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
    drop(server);
    assert!(!path.exists());
}

#[test]
fn clients_of_a_unix_socket_are_not_limited_by_an_address() {
    let folder = Folder::new();
    let path = folder.path("s");
    let program = serve(&path, &["--max-connections-per-address", "1"]);
    let peers: Vec<Peer> = (0..5)
        .map(|_| {
            let mut peer = Peer::connect_unix(&path);
            peer.upgrade(RFC, "/");
            peer
        })
        .collect();
    drop(peers);
    stop(program);
}

#[test]
fn curl_is_served_plain_and_in_tls() {
    let folder = Folder::new();
    let [plain, tls] = ["plain", "tls"].map(|name| folder.path(name));
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| folder.path(name));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let only_tls = format!("tls://{}", at(&tls));
    let args = [
        "--listen",
        &only_tls,
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
    ];
    let mut program = serve(&plain, &args);
    let line = program.take_lines().next_line();
    assert_eq!(line, format!("listening on wss+unix:{}:/", tls.display()));
    for (path, url) in [
        (&plain, "http://localhost/healthz"),
        (&tls, "https://localhost/healthz"),
    ] {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--max-time",
            "10",
            "--cacert",
            certificate,
            "--unix-socket",
        ]);
        let output = command.arg(path).arg(url).output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"ok\n", "{url}: {talk}");
    }
    // The plain one takes no TLS.
    let mut command = Command::new("curl");
    command.args(["-sSk", "--max-time", "10", "--unix-socket"]);
    let output = command
        .arg(&plain)
        .arg("https://localhost/")
        .output()
        .unwrap();
    assert!(!output.status.success());
    program.signal("TERM");
    assert_eq!(program.wait().0.code(), Some(0));
}
