//! Cases, played to peers of either side.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use heirloom::conform::{Case, CaseResult, CaseSet, Pattern, PlayOptions};
use heirloom::conform::{play_to_client, play_to_server};
use heirloom::extension::{Compression, ContextMemory, Mode};
use heirloom::net::Url;
use heirloom::net::dial::DialTarget;
use heirloom::net::replay::{Faults, ReplayConnection};
use heirloom::vector::Level;
use heirloom::{Config, Side, Versions};

use crate::faulty::{Fault, Peer};
use crate::support::server::Running;

/// The built-in cases that one of these patterns names.
pub(crate) fn cases(patterns: &str) -> Vec<Case> {
    let patterns: Vec<Pattern> = patterns.split(' ').map(|p| p.parse().unwrap()).collect();
    let named = |case: &Case| patterns.iter().any(|pattern| pattern.matches(&case.id));
    let all = CaseSet::built_in().cases;
    let found: Vec<Case> = all.into_iter().filter(named).collect();
    assert!(!found.is_empty(), "no case is named by these patterns");
    found
}

/// Runs this for each item, many at the same time; most of them wait.
pub(crate) fn for_each<T: Sync>(items: &[T], jobs: usize, work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// Plays a case to the server at this address.
pub(crate) fn to_server_at(case: &Case, address: SocketAddr) -> CaseResult {
    let url = Url::parse(&format!("ws://{address}/")).unwrap();
    let target = DialTarget::of(&url, None).unwrap();
    play_to_server(case, &target, &url, &PlayOptions::default()).unwrap()
}

/// Plays a case to a peer that does this wrong.
pub(crate) fn to_peer(case: &Case, side: Side, fault: Fault) -> CaseResult {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    match side {
        Side::Server => {
            // It ends when the tester ends TCP, and how is judged by the tester.
            let serves_on = case.close.serves_on && fault != Fault::Dies;
            let peer = thread::spawn(move || {
                let first = Peer::serve(listener.accept()?.0, fault);
                match serves_on {
                    true => Peer::serve(listener.accept()?.0, fault),
                    false => first,
                }
            });
            let result = to_server_at(case, address);
            // Where the tester has not come back, this ends the wait for it.
            drop(TcpStream::connect(address));
            let _ = peer.join().unwrap();
            result
        }
        Side::Client => {
            let peer = thread::spawn(move || Peer::connect(TcpStream::connect(address)?, fault));
            let (stream, _) = listener.accept().unwrap();
            let result = to_client_behind(case, stream);
            let _ = peer.join().unwrap();
            result
        }
    }
}

/// Plays a case to the client behind this stream.
fn to_client_behind(case: &Case, mut stream: TcpStream) -> CaseResult {
    use std::io::Read;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        head.extend(octet);
    }
    let connection = ReplayConnection::over(stream, Faults::default()).unwrap();
    play_to_client(case, connection, &head, &PlayOptions::default())
}

/// The verdicts, and what was wrong.
pub(crate) fn told(case: &Case, result: &CaseResult) -> String {
    format!(
        "{}: {} {}, {:?} {:?}",
        case.id, result.behavior, result.closing, result.difference, result.closing_difference
    )
}

/// All but the long cases.
const SHORT: &str = "1 2 3 4 5 6 7 10 9.1.1 9.2.1 9.3.9 9.5.6 9.7.1 \
    12.1.1 12.2.2 12.3.3 12.4.11 12.5.4 13.1.1 13.2.2 13.3.3 13.4.3 13.5.4 13.6.4 13.7.11";

#[test]
fn our_server_passes() {
    let compression = Compression::default().with_mode(Mode::PerConnection);
    let config = Config::default().with_compression(compression);
    let memory = ContextMemory::new(64 * 1024 * 1024);
    let server = Running::serve(config.with_context_memory(memory));
    let failed = Mutex::new(Vec::new());
    for_each(&cases(SHORT), 16, |case| {
        let result = to_server_at(case, server.address);
        if result.broken.is_some() {
            failed.lock().unwrap().push(told(case, &result));
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_right_peer_passes() {
    let mut plays = Vec::new();
    for side in [Side::Server, Side::Client] {
        plays.extend(cases(SHORT).into_iter().map(|case| (case, side)));
        let ours = cases("rfc6455").into_iter();
        let musts = ours.filter(|case| case.level == Level::Must);
        plays.extend(musts.map(|case| (case, side)));
    }
    let failed = Mutex::new(Vec::new());
    for_each(&plays, 32, |(case, side)| {
        if case.tests.is_some_and(|tests| tests != *side) {
            return;
        }
        let result = to_peer(case, *side, Fault::None);
        if result.broken.is_some() {
            failed
                .lock()
                .unwrap()
                .push(format!("{side:?} {}", told(case, &result)));
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The cases of our own: handshakes, hostile input, versions of old.
#[test]
fn our_server_passes_our_own_cases() {
    let compression = Compression::default().with_mode(Mode::PerConnection);
    let config = Config::default().with_versions(Versions::ALL);
    let server = Running::serve(config.with_compression(compression));
    let is_ours = |case: &Case| !case.id.starts_with(|c: char| c.is_ascii_digit());
    let all = CaseSet::built_in().cases.into_iter().filter(is_ours);
    let ours: Vec<Case> = all
        .filter(|case| case.tests != Some(Side::Client))
        .collect();
    assert!(ours.len() > 100);
    let failed = Mutex::new(Vec::new());
    for_each(&ours, 16, |case| {
        let result = to_server_at(case, server.address);
        if result.broken.is_some() {
            failed.lock().unwrap().push(told(case, &result));
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}
