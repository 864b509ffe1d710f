//! `heirloom record` between real clients and servers: what is recorded plays,
//! and what is carried arrives, whatever becomes of the disk.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::vector::{File, Split, Step, StreamEnd, Vector, play, splits};
use heirloom::{Side, Version};

use crate::support::PATIENCE;
use crate::support::backend::gone;
use crate::support::peer::{BINARY, Peer, RFC, Speaks, frame};
use crate::support::program::{HEIRLOOM, Program, run};
use crate::support::sockets::await_read;

/// A folder of the test, which goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("heirloom-record-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The files with this ending, by name.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().path());
        let mut files: Vec<PathBuf> = entries
            .filter(|path| path.extension().is_some_and(|e| e == ending))
            .collect();
        files.sort();
        files
    }

    /// Waits for so many vectors.
    fn vectors(&self, n: usize) -> Vec<Vector> {
        eventually(|| self.files("json").len() >= n);
        let files = self.files("json");
        assert_eq!(files.len(), n);
        files.iter().map(|path| vector(path)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn vector(path: &Path) -> Vector {
    let text = fs::read(path).unwrap();
    let file = File::read(&text).unwrap();
    assert_eq!(file.to_canonical().as_bytes(), text, "not canonical");
    assert_eq!(file.vectors.len(), 1);
    file.vectors.into_iter().next().unwrap()
}

fn eventually(mut what: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < until, "it never comes to that");
        thread::sleep(Duration::from_millis(5));
    }
}

fn record(to: SocketAddr, out: &str, more: &[&str]) -> Program {
    let to = to.to_string();
    let mut command = Command::new(HEIRLOOM);
    command.args(["record", "--listen", "127.0.0.1:0", "--to", &to]);
    command.args(["--out", out, "--close-timeout-ms", "200"]);
    Program::start(command.args(more))
}

/// `heirloom connect`, which sends these lines.
fn connect(to: SocketAddr, version: &str, lines: &str) -> String {
    let url = format!("ws://{to}/echo");
    let mut child = Command::new(HEIRLOOM)
        .args(["connect", &url, "--as", version])
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = child.stdout.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    let mut received = vec![0; lines.len()];
    out.read_exact(&mut received).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    String::from_utf8(received).unwrap()
}

fn sent(vector: &Vector, from: Side) -> Vec<u8> {
    let own = vector.steps.iter().filter(|s| s.from == from);
    own.flat_map(|s| s.octets().unwrap()).collect()
}

fn ends(vector: &Vector) -> Vec<(Side, StreamEnd)> {
    let ends = vector.steps.iter().map(|s| s.end.map(|end| (s.from, end)));
    ends.flatten().collect()
}

fn plays(vector: &Vector) {
    for side in [Side::Server, Side::Client] {
        assert!(vector.expect.of(side).is_some(), "{side:?}: {vector:#?}");
        for cut in splits(vector, side) {
            play(vector, side, cut).unwrap();
        }
    }
}

#[test]
fn every_version_is_recorded_plays_and_is_replayed() {
    let folder = Folder::new();
    let serve = Program::serve(&["--versions", "all"]);
    let record = record(serve.address, folder.path(), &[]);
    let versions = ["hixie-75", "hixie-76", "hybi-03", "hybi-08", "rfc6455"];
    for (i, name) in versions.iter().enumerate() {
        assert_eq!(
            connect(record.address, name, "hello\ngrüße\n"),
            "hello\ngrüße\n"
        );
        let vectors = folder.vectors(i + 1);
        let vector = &vectors[i];
        let version = Version::named(name).unwrap();
        assert_eq!(vector.version, version.name);
        assert_eq!(vector.expect.detected.as_deref(), Some(version.name));
        assert!(!vector.unfinished);
        assert_eq!(vector.source.kind, "capture");
        assert_eq!(vector.source.timing.as_deref(), Some("recorded"));
        assert_eq!(vector.expect.messages.len(), 4, "{vector:#?}");
        assert!(sent(vector, Side::Client).starts_with(b"GET /echo HTTP/1.1\r\n"));
        assert_eq!(ends(vector).len(), 2, "{vector:#?}");
        plays(vector);
    }
    let again = run(&[
        "replay",
        folder.path(),
        "--against",
        &format!("ws://{}/", serve.address),
    ]);
    assert_eq!(again.code, Some(0), "{again:?}");

    record.signal("TERM");
    let (_, ended) = record.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    let files = folder.files("json");
    let want: Vec<String> = files
        .iter()
        .map(|f| format!("recorded {}", f.display()))
        .collect();
    assert_eq!(lines, want);
    assert_eq!(folder.files("open"), [""; 0].map(PathBuf::from));
}

#[test]
fn a_client_of_another_library_is_recorded() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let url = format!("ws://{}/", record.address);
    let (mut client, _) = tungstenite::connect(&url).unwrap();
    for message in ["a", "grüße"] {
        client.send(tungstenite::Message::text(message)).unwrap();
        assert_eq!(client.read().unwrap().to_text().unwrap(), message);
    }
    client.close(None).unwrap();
    while client.read().is_ok() {}
    drop(client);
    let vectors = folder.vectors(1);
    assert_eq!(vectors[0].version, "rfc6455");
    plays(&vectors[0]);
}

#[test]
fn writes_and_waits_are_kept() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let mut peer = Peer::connect(record.address);
    let request = crate::support::peer::request(RFC, "/");
    let (first, second) = request.split_at(20);
    peer.send(first);
    await_read(peer.stream());
    thread::sleep(Duration::from_millis(300));
    peer.send(second);
    peer.agree(RFC);
    peer.echo("x");
    peer.close();
    drop(peer);
    let vectors = folder.vectors(1);
    let steps = &vectors[0].steps;
    assert_eq!(steps[0].octets().unwrap(), first);
    assert_eq!(steps[1].octets().unwrap(), second);
    let waited = steps[1].after_ms.unwrap();
    assert!((200..60_000).contains(&waited), "{waited}");
    plays(&vectors[0]);
}

#[test]
fn a_kill_leaves_what_was_finished_and_one_journal() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let mut finished = Peer::open(record.address, RFC, "/");
    finished.close();
    drop(finished);
    let whole = folder.vectors(1);
    let mut open = Peer::open(record.address, RFC, "/");
    open.echo("before the kill");
    let journal = || folder.files("open");
    eventually(|| {
        let texts: Vec<String> = journal()
            .iter()
            .map(|p| fs::read_to_string(p).unwrap())
            .collect();
        matches!(texts.as_slice(), [one] if one.lines().count() >= 4)
    });
    record.signal("KILL");
    record.wait();
    plays(&folder.vectors(1)[0]);
    assert_eq!(journal().len(), 1);

    // The last line is torn, and another file stands half-written.
    let path = journal().remove(0);
    let mut text = fs::read(&path).unwrap();
    text.extend(b"{\"from\": \"client\", \"hex\": \"00 1");
    fs::write(&path, &text).unwrap();
    fs::write(path.with_extension("tmp"), b"{\"format\": 1, \"vec").unwrap();
    let recovered = run(&["record", "--recover", "--out", folder.path()]);
    assert_eq!(recovered.code, Some(0), "{recovered:?}");
    let vectors = folder.vectors(2);
    assert_eq!(vectors[0].id, whole[0].id);
    assert!(!vectors[0].unfinished && vectors[1].unfinished);
    assert_eq!(vectors[1].steps.len(), 4);
    assert_eq!(vectors[1].expect.messages.len(), 2);
    assert!(journal().is_empty() && folder.files("tmp").is_empty());
}

#[test]
fn a_stop_cuts_what_stays_open_and_keeps_it() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let mut peer = Peer::open(record.address, Speaks::Hixie76, "/");
    peer.echo("still here");
    record.signal("TERM");
    let (_, ended) = record.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    peer.is_cut_off();
    let vectors = folder.vectors(1);
    assert!(vectors[0].unfinished);
    assert!(folder.files("open").is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_stops_the_recording_and_not_the_traffic() {
    let folder = Folder::new();
    let out = folder.0.join("out");
    let serve = Program::serve(&[]);
    let record = record(serve.address, out.to_str().unwrap(), &[]);
    // It could be written when the recorder started.
    fs::remove_dir(&out).unwrap();
    fs::write(&out, b"").unwrap();
    for _ in 0..3 {
        let mut peer = Peer::open(record.address, RFC, "/");
        peer.echo("it goes on");
        peer.close();
    }
    record.signal("TERM");
    let (_, ended) = record.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "");
    assert!(ended.talk.contains("connections go on"), "{ended:?}");
}

#[test]
fn a_full_disk_stops_the_recording_and_not_the_traffic() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    // A limit on the size of files is as good as a full disk.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec {HEIRLOOM} record --listen 127.0.0.1:0 --to {} --out {}",
        serve.address,
        folder.path()
    );
    let record = Program::start(Command::new("sh").args(["-c", &script]));
    let mut peer = Peer::open(record.address, RFC, "/");
    // What does not repeat is not told as a repetition.
    let noise: Vec<u8> = (0..30_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 5) as u8)
        .collect();
    for _ in 0..3 {
        peer.send(&frame(BINARY, &noise));
        assert_eq!(peer.frame(), (BINARY, noise.clone()));
    }
    peer.close();
    drop(peer);
    let mut other = Peer::open(record.address, RFC, "/");
    other.echo("it goes on");
    other.close();
    drop(other);
    record.signal("TERM");
    let (_, ended) = record.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.talk.contains("connections go on"), "{ended:?}");
}

/// Sets a limit of a running program, such as `nofile=20`.
fn limit(program: &Program, what: &str) {
    let pid = program.id().to_string();
    let limit = format!("--{what}:");
    let status = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_for_a_moment_costs_no_recording() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    // A limit on the size of files is as good as a full disk, and can be lifted.
    let script = format!(
        "trap '' XFSZ; ulimit -S -f 1; exec {HEIRLOOM} record --listen 127.0.0.1:0 --to {} \
         --out {}",
        serve.address,
        folder.path()
    );
    let record = Program::start(Command::new("sh").args(["-c", &script]));
    let mut peer = Peer::open(record.address, RFC, "/");
    peer.send(&frame(BINARY, &[7; 3000]));
    assert_eq!(peer.frame(), (BINARY, vec![7; 3000]));
    record.await_talk("cannot write to");
    // One that ends meanwhile.
    let mut other = Peer::open(record.address, RFC, "/");
    other.close();
    drop(other);
    thread::sleep(Duration::from_millis(300));
    limit(&record, "fsize=unlimited");
    peer.echo("it is recorded to the end");
    peer.close();
    drop(peer);
    let vectors = folder.vectors(2);
    assert!(vectors.iter().all(|v| !v.unfinished), "{vectors:#?}");
    let messages: Vec<usize> = vectors.iter().map(|v| v.expect.messages.len()).collect();
    assert!(
        messages.contains(&4) && messages.contains(&0),
        "{vectors:#?}"
    );
    vectors.iter().for_each(plays);
    assert!(folder.files("open").is_empty());
}

#[test]
fn a_folder_that_comes_back_is_recorded_to() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    let serve = Program::serve(&[]);
    let record = record(serve.address, file.to_str().unwrap(), &[]);
    fs::remove_dir_all(&file).unwrap();
    fs::write(&file, b"").unwrap();
    Peer::open(record.address, RFC, "/").echo("not recorded");
    record.await_talk("cannot write to");
    fs::remove_file(&file).unwrap();
    let mut peer = Peer::open(record.address, RFC, "/");
    peer.echo("recorded");
    peer.close();
    drop(peer);
    let vectors = || {
        let entries = fs::read_dir(&file).map(|all| all.map(|e| e.unwrap().path()).collect());
        let paths: Vec<PathBuf> = entries.unwrap_or_default();
        let is_vector = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
        paths.into_iter().filter(is_vector).count()
    };
    eventually(|| vectors() >= 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_moment_without_descriptors_costs_no_later_recording_and_few_lines() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let started = Instant::now();
    record.leave_descriptors(0);
    let mut waiting: Vec<Peer> = (0..5).map(|_| Peer::connect(record.address)).collect();
    for peer in &mut waiting {
        peer.send(&crate::support::peer::request(RFC, "/"));
    }
    record.await_talk("cannot accept");
    thread::sleep(Duration::from_millis(1500));
    // Enough to accept, and not to reach the server or to write.
    record.leave_descriptors(2);
    thread::sleep(Duration::from_millis(700));
    record.allow_descriptors(1024);
    drop(waiting);
    let mut peer = Peer::open(record.address, RFC, "/after");
    peer.echo("recorded");
    peer.close();
    drop(peer);
    eventually(|| {
        let vectors = folder.files("json");
        let after = |path: &PathBuf| sent(&vector(path), Side::Client).starts_with(b"GET /after");
        vectors.iter().any(after)
    });
    record.signal("TERM");
    let (_, ended) = record.wait();
    let seconds = started.elapsed().as_secs() as usize + 1;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for kind in [
        "cannot accept",
        "cannot carry",
        "cannot connect",
        "cannot write",
    ] {
        let lines = ended.talk.lines().filter(|l| l.contains(kind)).count();
        assert!(lines <= seconds, "{lines} lines: {ended:?}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_told_of_once_a_second() {
    let folder = Folder::new();
    let record = record(gone(), folder.path(), &[]);
    let started = Instant::now();
    for _ in 0..200 {
        // A reset may come at any time.
        if let Ok(stream) = TcpStream::connect(record.address) {
            let _ = (&stream).read(&mut [0; 16]);
        }
    }
    record.signal("TERM");
    let (_, ended) = record.wait();
    let seconds = started.elapsed().as_secs() as usize + 1;
    let lines = ended.talk.lines().count();
    assert!((1..=seconds).contains(&lines), "{lines} lines: {ended:?}");
}

#[test]
fn recover_goes_on_after_an_odd_file_and_leaves_what_was_finished() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| fs::write(folder.0.join(name), text).unwrap();
    let step = "{\"from\": \"client\", \"hex\": \"47 45 54\"}\n";
    write("2026-01-01-0001.open", &format!("{step}no step\n{step}"));
    fs::create_dir(folder.0.join("2026-01-01-0002.open")).unwrap();
    write("2026-01-01-0003.open", step);
    // A recorder was killed between its last two steps.
    write("2026-01-01-0004.open", step);
    let recovered = run(&["record", "--recover", "--out", folder.path()]);
    assert_eq!(recovered.code, Some(1), "{recovered:?}");
    for (name, why) in [
        ("0001.open", "line 2 is no step"),
        ("0002.open", "directory"),
    ] {
        let told = |line: &str| line.contains(name) && line.contains(why);
        assert!(recovered.talk.lines().any(told), "{recovered:?}");
    }
    let vectors = folder.vectors(2);
    assert!(vectors.iter().all(|v| v.unfinished));
    assert_eq!(folder.files("open").len(), 2);

    let finished = folder.0.join("2026-01-01-0004.json");
    let mut whole = vector(&finished);
    whole.unfinished = false;
    let mut file = File::of(vec![whole]);
    file.schema = None;
    fs::write(&finished, file.to_canonical()).unwrap();
    write("2026-01-01-0004.open", step);
    run(&["record", "--recover", "--out", folder.path()]);
    assert!(!vector(&finished).unfinished, "it was finished before");
    assert_eq!(folder.files("open").len(), 2);
}

#[test]
#[cfg(unix)]
fn only_their_owner_reads_recordings() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let mut peer = Peer::open(record.address, RFC, "/");
    peer.echo("a cookie");
    eventually(|| !folder.files("open").is_empty());
    assert_eq!(mode(&folder.files("open")[0]), 0o600);
    peer.close();
    drop(peer);
    folder.vectors(1);
    assert_eq!(mode(&folder.files("json")[0]), 0o600);
}

#[test]
#[cfg(target_os = "linux")]
fn a_stop_does_not_wait_for_a_server_that_does_not_answer() {
    let folder = Folder::new();
    // Nothing answers in a network that is kept for documentation.
    let record = record("192.0.2.1:9".parse().unwrap(), folder.path(), &[]);
    let _peer = Peer::connect(record.address);
    thread::sleep(Duration::from_millis(100));
    record.signal("TERM");
    let status = record.ends_within(Duration::from_secs(3));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_standard_output_that_is_not_read_stops_neither_the_recording_nor_the_end() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    // Long names fill a pipe with few lines.
    let deep = format!("{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}", "d".repeat(200));
    let out = folder.0.join(deep);
    let record = record(serve.address, out.to_str().unwrap(), &[]);
    let count = 100;
    for _ in 0..count {
        let mut peer = Peer::open(record.address, RFC, "/");
        peer.echo("it goes on");
        peer.close();
    }
    let files = || fs::read_dir(&out).unwrap().map(|e| e.unwrap().path());
    eventually(|| {
        let done = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
        files().filter(done).count() == count
    });
    record.signal("TERM");
    let status = record.ends_within(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
}

/// A server by hand, and a client of it through the recorder.
fn by_hand(record: &Program, server: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(record.address).unwrap();
    let (server, _) = server.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

fn listen() -> (TcpListener, SocketAddr) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

#[test]
fn half_closes_and_resets_are_carried() {
    let folder = Folder::new();
    let (listener, address) = listen();
    let record = record(address, folder.path(), &[]);
    let mut buffer = [0; 16];

    // The client ends first, and the server still talks.
    let (mut client, mut server) = by_hand(&record, &listener);
    client.write_all(b"ask").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut asked = Vec::new();
    server.read_to_end(&mut asked).unwrap();
    assert_eq!(asked, b"ask");
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut response = Vec::new();
    client.read_to_end(&mut response).unwrap();
    assert_eq!(response, b"answer");
    let fin = folder.vectors(1).remove(0);
    assert_eq!(sent(&fin, Side::Client), b"ask");
    assert_eq!(sent(&fin, Side::Server), b"answer");
    let both = [
        (Side::Client, StreamEnd::Fin),
        (Side::Server, StreamEnd::Fin),
    ];
    assert_eq!(ends(&fin), both);
    assert_eq!(fin.version, "none");

    // The client resets.
    let (client, mut server) = by_hand(&record, &listener);
    (&client).write_all(b"ask").unwrap();
    server.read_exact(&mut buffer[..3]).unwrap();
    reset(client);
    let error = server.read(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let vectors = folder.vectors(2);
    assert_eq!(ends(&vectors[1]), [(Side::Client, StreamEnd::Rst)]);

    // The server does, after some words that arrive first.
    let (mut client, mut server) = by_hand(&record, &listener);
    client.write_all(b"ask").unwrap();
    server.read_exact(&mut buffer[..3]).unwrap();
    server.write_all(b"no").unwrap();
    client.read_exact(&mut buffer[..2]).unwrap();
    reset(server);
    let error = client.read(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let vectors = folder.vectors(3);
    assert_eq!(ends(&vectors[2]), [(Side::Server, StreamEnd::Rst)]);
    assert_eq!(sent(&vectors[2], Side::Server), b"no");
}

#[test]
fn an_unreachable_server_is_a_reset_and_no_vector() {
    let folder = Folder::new();
    let record = record(gone(), folder.path(), &[]);
    let mut peer = Peer::connect(record.address);
    peer.is_cut_off();
    record.await_talk("cannot connect to");
    assert!(folder.files("json").is_empty());
}

/// The most memory a program ever held, in octets.
fn peak(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn a_large_message_is_recorded_whole() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let mut peer = Peer::open(record.address, RFC, "/");
    // It and its echo together stay under what may wait for a slow disk.
    let noise: Vec<u8> = (0..400_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    thread::scope(|scope| {
        let mut half = peer.stream().try_clone().unwrap();
        let octets = frame(BINARY, &noise);
        scope.spawn(move || half.write_all(&octets).unwrap());
        assert_eq!(peer.frame(), (BINARY, noise.clone()));
    });
    peer.close();
    drop(peer);
    let vectors = folder.vectors(1);
    for side in [Side::Server, Side::Client] {
        assert!(vectors[0].expect.of(side).is_some());
        play(&vectors[0], side, Split::Whole).unwrap();
    }
}

#[test]
fn memory_does_not_grow_with_a_connection() {
    const OCTETS: usize = 64 * 1024 * 1024;
    let folder = Folder::new();
    let (listener, address) = listen();
    let record = record(address, folder.path(), &["--max-recording-bytes", "100000"]);
    let (mut client, mut server) = by_hand(&record, &listener);
    let before = peak(&record);
    let writer = thread::spawn(move || {
        let chunk = vec![b'x'; 1024 * 1024];
        for _ in 0..OCTETS / chunk.len() {
            server.write_all(&chunk).unwrap();
        }
    });
    // A client that is slow to start: all that waits, waits in the sockets.
    thread::sleep(Duration::from_millis(300));
    let (mut came, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        match client.read(&mut buffer).unwrap() {
            0 => break,
            n => came += n,
        }
    }
    assert_eq!(came, OCTETS);
    writer.join().unwrap();
    drop(client);
    let grown = peak(&record).saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} octets");
    let talk = record.await_talk("--max-recording-bytes");
    assert!(talk.contains("100000"), "{talk}");
    let vectors = folder.vectors(1);
    assert!(vectors[0].unfinished);
    assert!(sent(&vectors[0], Side::Server).len() <= 100_000);
}

#[test]
fn once_records_a_request_once_and_none_records_none() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    for round in 0..2 {
        // The second recorder finds what the first one left.
        let record = record(serve.address, folder.path(), &["--once"]);
        for _ in 0..2 {
            connect(serve.address, "rfc6455", "warm\n");
            let mut peer = Peer::open(record.address, RFC, "/");
            peer.close();
        }
        let mut other = Peer::open(record.address, RFC, &format!("/other-{round}"));
        other.close();
        drop(other);
        record.signal("TERM");
        let (_, ended) = record.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        folder.vectors(2 + round);
    }
    let record = record(serve.address, folder.path(), &["--none"]);
    let mut peer = Peer::open(record.address, RFC, "/never-seen");
    peer.close();
    drop(peer);
    record.signal("TERM");
    let (_, ended) = record.wait();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    folder.vectors(3);
}

#[test]
fn journals_are_steps_one_per_line() {
    let folder = Folder::new();
    let serve = Program::serve(&[]);
    let record = record(serve.address, folder.path(), &[]);
    let peer = Peer::open(record.address, RFC, "/");
    eventually(|| {
        let texts: Vec<String> = folder
            .files("open")
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        let Some(text) = texts.first() else {
            return false;
        };
        text.lines().count() == 2
            && text
                .lines()
                .all(|line| serde_json::from_str::<Step>(line).is_ok())
    });
    drop(peer);
}
