//! The verdicts on wrong peers are those of Autobahn|Testsuite.

use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;

use heirloom::Side;

use crate::faulty::{Fault, Peer};
use crate::mutation::FOUND;
use crate::played::{cases, for_each, to_peer};

const CASES: &str = "1.1.1 1.1.2 1.1.6 1.2.2 2.1 2.2 2.5 2.7 2.9 2.10 3.1 3.2 3.7 4.1.1 4.1.3 4.2.3 5.1 5.2 5.3 5.6 5.9 5.15 5.18 5.19 \
    6.1.1 6.2.3 6.3.1 6.4.1 6.4.3 6.6.1 7.1.1 7.1.2 7.1.3 7.1.4 7.1.5 7.1.6 7.3 7.5.1 7.7.1 7.7.4 7.9.1 7.9.4 7.13.1 9.1.1 9.7.1 10.1.1 12.1.3 13.3.1";

fn faults() -> Vec<Fault> {
    let mut faults = vec![Fault::None];
    for (fault, ..) in FOUND {
        if !faults.contains(fault) {
            faults.push(*fault);
        }
    }
    faults
}

#[test]
#[ignore = "serves each fault on a port of its own, to play the original to them"]
fn serve_faults() {
    let mut port = 19_000;
    for fault in faults() {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        println!("{port} {fault:?}");
        port += 1;
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || Peer::serve(stream.unwrap(), fault));
            }
        });
    }
    thread::sleep(std::time::Duration::from_secs(3600));
}

#[test]
#[ignore = "walks the original"]
fn walk_original() {
    let count = cases(CASES).len();
    for_each(&faults(), 16, |fault| {
        for n in 1..=count {
            let stream = std::net::TcpStream::connect("127.0.0.1:19100").unwrap();
            let target = format!(
                "/runCase?case={n}&agent={}",
                format!("{fault:?}").replace(['(', ')'], "-")
            );
            let _ = Peer::connect_to(stream, &target, *fault);
        }
    });
    let stream = std::net::TcpStream::connect("127.0.0.1:19100").unwrap();
    let _ = Peer::connect_to(stream, "/updateReports?agent=None", Fault::None);
}

#[test]
#[ignore = "prints our verdicts"]
fn print_client_verdicts() {
    let mut plays = Vec::new();
    for fault in faults() {
        plays.extend(cases(CASES).into_iter().map(|case| (fault, case)));
    }
    let lines = Mutex::new(Vec::new());
    for_each(&plays, 32, |(fault, case)| {
        let result = to_peer(case, Side::Client, *fault);
        lines.lock().unwrap().push(format!(
            "VERDICT {} {} {} / {} / {:?}",
            format!("{fault:?}").replace(['(', ')'], "-"),
            case.id,
            result.behavior,
            result.closing,
            result.closed.remote_code
        ));
    });
    for line in lines.into_inner().unwrap() {
        println!("{line}");
    }
}

#[test]
#[ignore = "prints our verdicts"]
fn print_verdicts() {
    let mut plays = Vec::new();
    for fault in faults() {
        plays.extend(cases(CASES).into_iter().map(|case| (fault, case)));
    }
    let lines = Mutex::new(Vec::new());
    for_each(&plays, 32, |(fault, case)| {
        let result = to_peer(case, Side::Server, *fault);
        lines.lock().unwrap().push(format!(
            "VERDICT {fault:?} {} {} / {} / {:?}",
            case.id, result.behavior, result.closing, result.closed.remote_code
        ));
    });
    for line in lines.into_inner().unwrap() {
        println!("{line}");
    }
}
