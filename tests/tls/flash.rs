//! The policy that Flash players ask for, on the port of the clients and on its own.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use crate::secure::{Certificates, Tls, all_of, receives_within, tcp};
use crate::support::PATIENCE;
use crate::support::peer::{Peer, RFC, request};
use crate::support::program::Program;
use crate::support::sockets::await_read;

const REQUEST: &[u8] = b"<policy-file-request/>\0";

/// The policy for these domains, and a port.
fn policy(domains: &[&str], ports: &str) -> String {
    let mut policy = String::from("<?xml version=\"1.0\"?><cross-domain-policy>");
    for domain in domains {
        policy += &format!("<allow-access-from domain=\"{domain}\" to-ports=\"{ports}\"/>");
    }
    policy + "</cross-domain-policy>\0"
}

fn ask(address: std::net::SocketAddr, octets: &[u8]) -> String {
    let mut socket = tcp(address);
    socket.write_all(octets).unwrap();
    String::from_utf8(all_of(&mut socket)).unwrap()
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[test]
fn a_player_is_answered_on_the_port_of_the_clients_with_tls_and_without() {
    let certificates = Certificates::of_loopback();
    let plain = Program::serve(&["--flash-policy"]);
    let secure = certificates.serve(&["--flash-policy"]);
    for program in [&plain, &secure] {
        let policy = policy(&LOOPBACK, &program.address.port().to_string());
        assert_eq!(ask(program.address, REQUEST), policy);
        Peer::open(program.address, RFC, "/").echo("beside");
    }
    certificates
        .open(secure.address, Tls::V1_3, RFC, "/")
        .echo("inside");
}

#[test]
fn a_request_may_come_in_two_parts_cut_anywhere() {
    let program = Program::serve(&["--flash-policy", "--workers", "1"]);
    let policy = policy(&LOOPBACK, &program.address.port().to_string());
    for cut in 1..REQUEST.len() {
        let mut socket = tcp(program.address);
        socket.write_all(&REQUEST[..cut]).unwrap();
        await_read(&socket);
        // The turn is over that has read it.
        Peer::open(program.address, RFC, "/").echo("meanwhile");
        assert!(
            !receives_within(&socket, Duration::from_millis(1)),
            "at {cut}"
        );
        socket.write_all(&REQUEST[cut..]).unwrap();
        assert_eq!(all_of(&mut socket), policy.as_bytes(), "at {cut}");
    }
    // The 00 is missing, and TCP ends.
    let mut socket = tcp(program.address);
    socket.write_all(&REQUEST[..22]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all_of(&mut socket), policy.as_bytes());
    // More is missing.
    let mut socket = tcp(program.address);
    socket.write_all(&REQUEST[..21]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all_of(&mut socket), b"");
}

#[test]
fn half_a_request_ends_at_the_deadline() {
    let program = Program::serve(&["--flash-policy", "--handshake-timeout-ms", "500"]);
    let answer = ask(program.address, &REQUEST[..10]);
    assert!(!answer.contains("cross-domain-policy"), "{answer}");
}

#[test]
fn without_the_option_there_is_no_policy() {
    let program = Program::serve(&[]);
    let answer = ask(program.address, REQUEST);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn domains_come_from_the_origins_or_are_given() {
    let origins = [
        "--origin",
        "https://b.example:8443",
        "--origin",
        "http://a.example",
    ];
    let program = Program::serve(&[&["--flash-policy"][..], &origins].concat());
    let port = program.address.port().to_string();
    assert_eq!(
        ask(program.address, REQUEST),
        policy(&["a.example", "b.example"], &port)
    );
    let given = [
        "--flash-policy-domain",
        "*.example.com",
        "--flash-policy-port",
        "65535",
    ];
    let program = Program::serve(&given);
    let ports = format!("{},65535", program.address.port());
    assert_eq!(
        ask(program.address, REQUEST),
        policy(&["*.example.com"], &ports)
    );
}

#[test]
fn a_port_of_its_own_answers_players_only() {
    let mut program = Program::serve(&["--flash-policy-listen", "127.0.0.1:0"]);
    let line = program.take_lines().next_line();
    let own = line
        .strip_prefix("listening for Flash policy requests on ")
        .unwrap();
    let own = own.parse().unwrap();
    let policy = policy(&LOOPBACK, &program.address.port().to_string());
    assert_eq!(ask(own, REQUEST), policy);
    assert_eq!(ask(program.address, REQUEST), policy);
    assert_eq!(ask(own, &request(RFC, "/")), "");
    assert_eq!(ask(own, &crate::hello("opera-65")), "");
    let mut socket = tcp(own);
    socket.write_all(&REQUEST[..5]).unwrap();
    assert!(!receives_within(&socket, Duration::from_millis(50)));
    socket.write_all(&REQUEST[5..]).unwrap();
    assert!(receives_within(&socket, PATIENCE));
}
