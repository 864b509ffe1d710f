//! Servers under test: an echo, and those that flood, hang, reset, or die.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

use crate::hostile::{Hostile, Serve, echo, head, upgrade};
use crate::support::PATIENCE;
use crate::support::backend::gone;
use crate::support::folder::Folder;
use crate::support::program::{Ended, HEIRLOOM, Program, run};
use crate::{busy, calm, results};

/// The most memory that the program may ever hold, in KiB.
const MOST_KIB: u64 = 256 * 1024;

fn conform(url: &str, args: &[&str]) -> Ended {
    let fixed = [
        "conform",
        url,
        "--json",
        "--timeout-ms",
        "500",
        "--version",
        "rfc6455",
    ];
    run(&[&fixed, args].concat())
}

/// The verdict of each case.
fn verdicts(ended: &Ended) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let (lines, _) = results(ended);
    let mut all: Vec<(String, String)> = lines
        .iter()
        .map(|line| (text(&line["id"]), text(&line["behavior"])))
        .collect();
    all.sort();
    all
}

/// That each case of 1.1 has a verdict of this kind, or none.
fn all_are(ended: &Ended, behavior: &str) {
    let all = verdicts(ended);
    assert_eq!(all.len(), 8, "{ended:?}");
    for (id, verdict) in all {
        assert_eq!(verdict, behavior, "{id}: {ended:?}");
    }
}

#[test]
fn an_echo_passes_and_the_number_of_jobs_changes_nothing() {
    let _calm = calm();
    let server = Program::serve(&["--versions", "all"]);
    let url = format!("ws://{}/", server.address);
    let args = |jobs| ["--only", "1,2,3,4,5,7,vectors/hixie-76", "--jobs", jobs];
    let run = |jobs| run(&[&["conform", &url, "--json"], &args(jobs)[..]].concat());
    let (one, many) = (run("1"), run("16"));
    assert_eq!((one.code, many.code), (Some(0), Some(0)), "{one:?}");
    let all = verdicts(&one);
    assert_eq!(all, verdicts(&many));
    assert!(
        all.iter()
            .any(|(id, _)| id.starts_with("vectors/hixie-76/"))
    );
    assert!(
        all.iter()
            .all(|(_, verdict)| verdict != "FAILED" && verdict != "none")
    );
}

#[test]
fn versions_that_are_not_spoken_are_told_and_not_played() {
    let _calm = calm();
    let server = Program::serve(&["--versions", "rfc6455,hixie-76"]);
    let url = format!("ws://{}/", server.address);
    let only = "vectors/rfc6455/method-*,vectors/hixie-75,vectors/hybi-07,vectors/hixie-76";
    let args = ["conform", &url, "--json", "--only", only];
    let ended = run(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.talk.contains("hixie-75 is not spoken"),
        "{}",
        ended.talk
    );
    assert!(
        ended.talk.contains("hybi-07 is not spoken"),
        "{}",
        ended.talk
    );
    assert!(
        !ended.talk.contains("hixie-76 is not spoken"),
        "{}",
        ended.talk
    );
    let (lines, _) = results(&ended);
    for line in &lines {
        let is_off = ["hixie-75", "hybi-07"].contains(&line["version"].as_str().unwrap());
        assert_eq!(line["behavior"].is_null(), is_off, "{line}");
    }
    // What is named is played whatever the server says.
    let ended = run(&["conform", &url, "--json", "--version", "hixie-75"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.talk.contains("not spoken"), "{}", ended.talk);
    assert!(
        verdicts(&ended)
            .iter()
            .any(|(_, verdict)| verdict == "FAILED")
    );
}

#[test]
fn a_server_that_is_not_there_is_one_sentence() {
    let ended = conform(&format!("ws://{}/", gone()), &["--only", "1.1"]);
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.talk.lines().count(), 1, "{}", ended.talk);
    assert!(ended.talk.contains("cannot connect to"), "{}", ended.talk);
}

#[test]
fn a_server_that_is_not_there_leaves_no_older_report() {
    let folder = Folder::new();
    let junit = folder.write("report.xml", "an older one");
    let shown = junit.to_str().unwrap();
    let ended = conform("ws://127.0.0.1:1/", &["--only", "1.1", "--junit", shown]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let (lines, last) = results(&ended);
    assert_eq!(lines.len(), 8, "{ended:?}");
    assert_eq!(
        (&last["exit"], &last["summary"]["not-run"]),
        (&3.into(), &8.into())
    );
    let report = std::fs::read_to_string(&junit).unwrap();
    assert_eq!(report.matches("<skipped").count(), 8, "{report}");
}

#[test]
fn a_server_that_never_answers_is_one_sentence() {
    let server = Hostile::start(|_, stream| {
        // It holds the connection until the tester ends it.
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        Ok(Serve::On)
    });
    let ended = conform(&server.url(), &["--only", "1.1"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.talk.contains("answers no opening handshake"),
        "{}",
        ended.talk
    );
}

#[test]
fn a_server_of_plain_http_fails_each_case() {
    let server = Hostile::start(|_, mut stream| {
        head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
        Ok(Serve::On)
    });
    let ended = conform(&server.url(), &["--only", "1.1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    all_are(&ended, "FAILED");
}

#[test]
fn a_server_that_resets_each_connection_never_passes() {
    let server = Hostile::start(|_, mut stream| {
        head(&mut stream)?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(Serve::On)
    });
    let ended = conform(&server.url(), &["--only", "1.1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    all_are(&ended, "FAILED");
}

#[test]
fn a_server_that_hangs_behind_the_handshake_fails_each_case() {
    let _calm = calm();
    let server = Hostile::start(|_, mut stream| {
        upgrade(&mut stream)?;
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        Ok(Serve::On)
    });
    let begun = Instant::now();
    let ended = conform(&server.url(), &["--only", "1.1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    all_are(&ended, "FAILED");
    // One deadline, one close that is not replied to, at the same time for all.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn each_request_has_the_headers_that_are_asked_for() {
    let _calm = calm();
    let server = Hostile::start(|_, mut stream| {
        let mut peeked = [0; 2048];
        // The request comes in one write.
        let octets = stream.peek(&mut peeked)?;
        let head = String::from_utf8_lossy(&peeked[..octets]).into_owned();
        let has = |line: &str| head.contains(&format!("\r\n{line}\r\n"));
        if has("Authorization: x y") && has("Origin: http://a.example") && upgrade(&mut stream)? {
            echo(&mut stream)?;
        }
        Ok(Serve::On)
    });
    let args = [
        "--only",
        "1.1",
        "--header",
        "Authorization: x y",
        "--origin",
        "http://a.example",
    ];
    let ended = conform(&server.url(), &args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    all_are(&ended, "OK");
}

#[test]
fn a_server_of_one_connection_at_a_time_passes() {
    let _calm = calm();
    let busy = std::sync::Mutex::new(());
    let server = Hostile::start(move |_, mut stream| {
        let _alone = busy.lock().unwrap();
        if upgrade(&mut stream)? {
            echo(&mut stream)?;
            // The tester waits for the end of TCP, and others for it: longer than one
            // waits for the answer of a server.
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(Serve::On)
    });
    let args = ["--only", "1.1", "--version", "rfc6455", "--timeout-ms"];
    let ended = run(&[&["conform", &server.url(), "--json"], &args[..], &["1500"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    all_are(&ended, "OK");
}

#[test]
fn a_version_that_gets_no_answer_beside_cases_is_asked_for_again() {
    let _calm = calm();
    let asked = AtomicUsize::new(0);
    let server = Hostile::start(move |number, mut stream| {
        if number == 1 {
            // Whether it is there.
            upgrade(&mut stream)?;
            return Ok(Serve::On);
        }
        let mut peeked = [0; 2048];
        let octets = stream.peek(&mut peeked)?;
        let head = String::from_utf8_lossy(&peeked[..octets]).into_owned();
        if head.contains("Sec-WebSocket-Version: 13\r\n") {
            if upgrade(&mut stream)? {
                echo(&mut stream)?;
            }
        } else if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        } else {
            stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")?;
        }
        Ok(Serve::On)
    });
    let args = ["--only", "1.1,vectors/hybi-08", "--timeout-ms", "500"];
    let ended = run(&[&["conform", &server.url(), "--json"], &args[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let says = "hybi-08 is not spoken: it answers with HTTP status 426";
    assert!(ended.talk.contains(says), "{}", ended.talk);
}

/// Runs it against this server; it fails each case and stays small.
fn floods(serve: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) {
    let _busy = busy();
    let server = Hostile::start(move |_, mut stream| {
        if upgrade(&mut stream)? {
            serve(&mut stream)?;
        }
        Ok(Serve::On)
    });
    let mut child = Command::new(HEIRLOOM)
        .args([
            "conform",
            &server.url(),
            "--only",
            "1.1",
            "--version",
            "rfc6455",
            "--json",
        ])
        .args(["--timeout-ms", "500"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (id, begun) = (child.id(), Instant::now());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak_kib(id));
        assert!(begun.elapsed() < 6 * PATIENCE, "it goes on for too long");
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait_with_output().unwrap();
    let ended = Ended {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).unwrap(),
        talk: String::new(),
    };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    all_are(&ended, "FAILED");
    assert!((1..MOST_KIB).contains(&most), "{most} KiB");
}

/// The most memory that a process has held so far; 0 where it has ended.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.map_or(0, |kib| kib.parse().unwrap())
}

#[test]
fn a_flood_of_messages_ends() {
    floods(|stream| {
        let frame = [&[0x82, 0x7e, 0xff, 0xff][..], &[0; 65_535]].concat();
        loop {
            stream.write_all(&frame)?;
        }
    });
}

#[test]
fn an_answer_of_a_gigabyte_ends() {
    floods(|stream| {
        stream.write_all(&[0x81, 0x7f, 0, 0, 0, 0, 0x40, 0, 0, 0])?;
        for _ in 0..(1 << 14) {
            stream.write_all(&[b'a'; 65_536])?;
        }
        Ok(())
    });
}

#[test]
fn a_flood_of_pings_ends() {
    floods(|stream| {
        let pings = [0x89, 0x01, b'a'].repeat(10_000);
        loop {
            stream.write_all(&pings)?;
        }
    });
}

#[test]
fn a_head_without_an_end_ends() {
    let _busy = busy();
    let server = Hostile::start(|_, mut stream| {
        head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n")?;
        let line = format!("X: {}\r\n", "y".repeat(60_000));
        loop {
            stream.write_all(line.as_bytes())?;
        }
    });
    let ended = conform(&server.url(), &["--only", "1.1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    all_are(&ended, "FAILED");
}

/// A server that echoes on so many connections, the first of which asks whether it is
/// there, and then does something else.
fn echoes_then(
    connections: usize,
    then: impl Fn(TcpStream) -> std::io::Result<Serve> + Send + Sync + 'static,
) -> Hostile {
    Hostile::start(move |number, mut stream| {
        if number > connections {
            return then(stream);
        }
        if upgrade(&mut stream)? {
            echo(&mut stream)?;
        }
        Ok(Serve::On)
    })
}

#[test]
fn a_server_that_dies_is_named_with_the_case_before() {
    let _calm = calm();
    // With one case at a time, the fifth connection is that of 1.1.4.
    let server = echoes_then(4, |stream| {
        drop(stream);
        Ok(Serve::Gone)
    });
    let folder = Folder::new();
    let junit = folder.path("report.xml");
    let args = [
        "--only",
        "1.1",
        "--jobs",
        "1",
        "--junit",
        junit.to_str().unwrap(),
    ];
    let ended = conform(&server.url(), &args);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let (lines, last) = results(&ended);
    let stopped = last["stopped"].as_str().unwrap();
    assert!(stopped.contains("has stopped answering"), "{stopped}");
    assert!(
        stopped.contains("1.1.3") || stopped.contains("1.1.4"),
        "{stopped}"
    );
    assert!(!stopped.contains("1.1.1"), "{stopped}");
    assert_eq!(lines.len(), 8);
    assert_eq!(lines.last().unwrap()["verdict"], "not-run", "{ended:?}");
    let report = std::fs::read_to_string(junit).unwrap();
    assert!(report.contains("1.1.8"), "{report}");
}

#[test]
fn a_server_that_hangs_later_is_named_with_the_case_before() {
    let _calm = calm();
    let server = echoes_then(4, |stream| {
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        Ok(Serve::On)
    });
    let ended = conform(&server.url(), &["--only", "1.1", "--jobs", "1"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let (lines, last) = results(&ended);
    let stopped = last["stopped"].as_str().unwrap();
    assert!(stopped.contains("answers none of them"), "{stopped}");
    assert!(
        stopped.contains("the last case before that was 1.1.3"),
        "{stopped}"
    );
    let played = lines.iter().filter(|line| line["behavior"] == "OK");
    assert_eq!(played.count(), 3, "{ended:?}");
    assert!(!server.is_gone());
}

#[test]
fn the_cases_beside_each_other_are_all_named() {
    let _calm = calm();
    let server = echoes_then(4, |stream| {
        stream.shutdown(Shutdown::Both)?;
        Ok(Serve::Gone)
    });
    let ended = conform(&server.url(), &["--only", "1.1,1.2", "--jobs", "8"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let (lines, last) = results(&ended);
    assert_eq!(lines.len(), 16);
    assert!(
        last["stopped"]
            .as_str()
            .unwrap()
            .contains("stopped answering"),
        "{last}"
    );
}

#[test]
fn a_signal_ends_it_with_its_reports() {
    let (tell, begun) = channel();
    let server = Hostile::start(move |number, mut stream| {
        if upgrade(&mut stream)? && number > 1 {
            let _ = tell.send(());
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        Ok(Serve::On)
    });
    let folder = Folder::new();
    let junit = folder.path("report.xml");
    let child = Command::new(HEIRLOOM)
        .args(["conform", &server.url(), "--jobs", "1", "--only", "1"])
        .args(["--timeout-ms", "300", "--version", "rfc6455", "--junit"])
        .arg(&junit)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its handler is there before the first case begins.
    begun.recv_timeout(PATIENCE).unwrap();
    let kill = format!("kill -TERM {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let talk = String::from_utf8(ended.stderr).unwrap();
    assert!(talk.contains("interrupted"), "{talk}");
    assert!(std::fs::read_to_string(junit).unwrap().contains("1.1.8"));
}
