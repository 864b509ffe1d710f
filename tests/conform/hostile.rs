//! Peers that flood, hang, reset or speak something else: each case has a verdict
//! in time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::conform::{Behavior, Case, CaseResult, ClosingVerdict};

use crate::played::{cases, to_server_at};

fn case(id: &str) -> Case {
    cases(id).remove(0)
}

/// Plays a case to this server; gives how long it took as well.
fn play(case: &Case, serve: impl FnOnce(TcpStream) + Send + 'static) -> (CaseResult, Duration) {
    play_until_over(case, |stream, _| serve(stream))
}

/// The same with a server that is told when the case has its verdict.
fn play_until_over(
    case: &Case,
    serve: impl FnOnce(TcpStream, Receiver<()>) + Send + 'static,
) -> (CaseResult, Duration) {
    let (over, is_over) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0, is_over));
    let start = Instant::now();
    let result = to_server_at(case, address);
    let took = start.elapsed();
    drop(over);
    server.join().unwrap();
    (result, took)
}

/// Reads to the end of TCP.
fn wait(mut stream: TcpStream) {
    let mut octets = [0; 4096];
    while matches!(stream.read(&mut octets), Ok(1..)) {}
}

/// Accepts the upgrade.
fn upgrade(stream: &mut TcpStream) {
    crate::faulty::upgrade(stream).unwrap();
}

fn is_failed(result: &CaseResult) {
    assert_eq!(result.behavior, Behavior::Failed, "{result:?}");
    assert_ne!(result.closing, ClosingVerdict::Ok, "{result:?}");
    assert!(result.broken.is_some());
    let difference = result.difference.as_ref().expect("a reason");
    assert!(!difference.what.is_empty());
}

/// The opening takes at most 5 s, the deadline is 1 s, and the closing takes 2 s.
const SOON: Duration = Duration::from_millis(3_500);
const OPENING: Duration = Duration::from_secs(7);

#[test]
fn a_server_that_does_not_answer_has_a_verdict() {
    let (result, took) = play(&case("1.1.1"), wait);
    is_failed(&result);
    assert!(!result.closed.was_open);
    assert!(took < OPENING, "{took:?}");
    let (result, took) = play(&case("1.1.1"), |mut stream| {
        stream.write_all(b"HTTP/1.1 101 Switching Pro").unwrap();
        wait(stream);
    });
    is_failed(&result);
    assert!(took < OPENING, "{took:?}");
}

#[test]
fn a_server_of_plain_http_has_a_verdict() {
    let (result, took) = play(&case("1.1.1"), |mut stream| {
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        stream.write_all(response.as_bytes()).unwrap();
        // The tester goes away, and does not read it all.
        while stream.write_all(&[b'a'; 65536]).is_ok() {}
    });
    is_failed(&result);
    assert!(took < SOON, "{took:?}");
    let difference = result.difference.unwrap();
    assert_eq!(difference.field.as_deref(), Some("status"));
    assert_eq!(difference.seen.as_deref(), Some("200"));
    let (result, _) = play(&case("1.1.1"), |mut stream| {
        stream.write_all(b"220 mail.example.com ESMTP\r\n").unwrap();
        wait(stream);
    });
    is_failed(&result);
}

#[test]
fn a_server_that_ends_tcp_has_a_verdict() {
    let (result, took) = play(&case("1.1.1"), drop);
    is_failed(&result);
    assert!(took < SOON, "{took:?}");
    let (result, took) = play(&case("1.1.1"), |mut stream| {
        upgrade(&mut stream);
        stream.shutdown(Shutdown::Both).unwrap();
    });
    is_failed(&result);
    assert!(took < SOON, "{took:?}");
    assert!(result.closed.was_open && !result.closed.clean);
}

#[test]
fn a_server_that_hangs_has_a_verdict() {
    for id in ["1.1.2", "2.2", "3.1", "7.7.1", "9.1.1"] {
        let (result, took) = play(&case(id), |mut stream| {
            upgrade(&mut stream);
            wait(stream);
        });
        assert!(result.broken.is_some(), "{id}: {result:?}");
        assert!(took < OPENING, "{id}: {took:?}");
    }
}

#[test]
fn a_server_that_does_not_read_has_a_verdict() {
    let (result, took) = play_until_over(&case("9.1.6"), |mut stream, is_over| {
        upgrade(&mut stream);
        // It fails when the case is over: nothing is sent.
        let _ = is_over.recv();
    });
    is_failed(&result);
    assert!(took < Duration::from_secs(9), "{took:?} {result:?}");
}

#[test]
fn a_server_that_drips_has_a_verdict() {
    let drip = |first: &'static [u8], octets: &'static [u8]| {
        move |mut stream: TcpStream| {
            upgrade(&mut stream);
            let _ = stream.write_all(first);
            while stream.write_all(octets).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    };
    let (result, took) = play(
        &case("1.1.2"),
        drip(b"\x82\x7f\x00\x00\x00\x00\x00\x0f\x00\x00", b"*"),
    );
    is_failed(&result);
    assert!(took < Duration::from_secs(16), "{took:?}");
    let (result, took) = play(&case("1.1.2"), drip(b"", b"\x89\x00"));
    is_failed(&result);
    assert!(took < Duration::from_secs(16), "{took:?}");
}

#[test]
fn a_server_that_floods_has_a_verdict() {
    for octets in [&b"\x81\x02hi"[..], b"\x89\x00", b"\x01\x00", b"GET "] {
        let (result, took) = play(&case("1.1.1"), move |mut stream| {
            upgrade(&mut stream);
            let many = octets.repeat(4096);
            while stream.write_all(&many).is_ok() {}
        });
        is_failed(&result);
        assert!(took < SOON, "{octets:?}: {took:?}");
    }
}
