//! Where the program listens, what it says of it, and why it cannot.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;

use crate::support::peer::{Peer, RFC};
use crate::support::program::{HEIRLOOM, Program, run};

/// The program in a network of its own, where only loopback is, behind these commands.
fn alone(before: &str, args: &[&str]) -> Command {
    // A user that is not root gets the rights by a namespace of users.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new("unshare");
    command.arg(if is_root { "-n" } else { "-rn" });
    let script = format!("ip link set lo up && {before} \"$@\"");
    command.args(["sh", "-c", &script, "sh", HEIRLOOM]);
    command.args(args);
    command
}

/// What it says on standard error where it does not start.
fn refusal(command: &mut Command) -> String {
    let ended = command.output().unwrap_or_else(|error| {
        panic!("{error}; install Debian's packages util-linux and iproute2 (unshare, setpriv, ip)")
    });
    let talk = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{talk}");
    assert_eq!(talk.lines().count(), 1, "{talk}");
    talk
}

/// The lines of both streams of a server until it has ended.
fn lines_of(mut program: Program, more: usize) -> (Vec<String>, String) {
    let mut lines = vec![program.line.trim_end().to_owned()];
    let mut rest = program.take_lines();
    for _ in 0..more {
        lines.push(rest.next_line());
    }
    program.signal("TERM");
    let (_, ended) = program.wait();
    (lines, ended.talk)
}

#[test]
fn localhost_is_both_addresses_with_one_port() {
    let program = Program::start(&mut alone("exec", &["serve", "--listen", "localhost:0"]));
    let port = program.address.port();
    let (lines, talk) = lines_of(program, 1);
    assert_eq!(lines[0], format!("listening on ws://127.0.0.1:{port}/"));
    assert_eq!(lines[1], format!("listening on ws://[::1]:{port}/"));
    assert!(!talk.contains("no address of"), "{talk}");
}

#[test]
fn localhost_is_served_where_the_machine_has_no_ipv6() {
    let no_ipv6 = "ip -6 address delete ::1/128 dev lo && exec";
    let program = Program::start(&mut alone(no_ipv6, &["serve", "--listen", "localhost:0"]));
    let (_, talk) = lines_of(program, 0);
    assert!(
        talk.contains("localhost has no address of IPv6 here"),
        "{talk}"
    );
    let program = Program::start(Command::new(HEIRLOOM).args(["serve", "--listen", "LOCALHOST:0"]));
    Peer::open(program.address, RFC, "/").echo("here");
}

#[test]
fn an_address_of_ipv6_for_all_says_that_ipv4_is_left_out() {
    let args = ["serve", "--listen", "[::]:8076"];
    let (lines, talk) = lines_of(Program::start(&mut alone("exec", &args)), 0);
    assert_eq!(lines, ["listening on ws://[::]:8076/"]);
    let remark = "[::]:8076 takes IPv6 only; --listen 0.0.0.0:8076 beside it takes IPv4";
    assert!(talk.contains(remark), "{talk}");
    assert!(
        talk.contains("open http://[::1]:8076/ in a browser"),
        "{talk}"
    );
    let both = [&args[..], &["--listen", "0.0.0.0:8076"]].concat();
    let (_, talk) = lines_of(Program::start(&mut alone("exec", &both)), 1);
    assert!(!talk.contains("takes IPv6 only"), "{talk}");
}

#[test]
fn the_page_is_told_once_and_not_with_quiet() {
    let program = Program::serve(&[]);
    let address = program.address;
    let (_, talk) = lines_of(program, 0);
    let sentence = format!("open http://{address}/ in a browser\n");
    assert_eq!(talk.matches(&sentence).count(), 1, "{talk}");
    let (_, talk) = lines_of(Program::serve(&["--quiet"]), 0);
    assert_eq!(talk, "");
    // Only those that send a PROXY header could open it.
    let (_, talk) = lines_of(Program::serve(&["--accept-proxy", "127.0.0.1"]), 0);
    assert!(!talk.contains("browser"), "{talk}");
}

#[test]
fn where_it_listens_on_all_addresses_they_are_told_up_to_a_bound() {
    let more =
        "for n in 1 2 3 4 5 6 7 8 9 10; do ip address add 192.0.2.$n/24 dev lo; done && exec";
    let args = ["serve", "--listen", "0.0.0.0:8076", "--versions", "rfc6455"];
    let (_, talk) = lines_of(Program::start(&mut alone(more, &args)), 0);
    let first = "open http://127.0.0.1:8076/ in a browser; from other machines \
                 http://192.0.2.1:8076/, http://192.0.2.2:8076/, ";
    assert!(talk.contains(first), "{talk}");
    assert!(talk.contains("http://192.0.2.8:8076/ and 2 more"), "{talk}");
}

#[test]
fn a_port_that_needs_a_privilege_says_what_helps() {
    let talk = refusal(&mut alone(
        "exec setpriv --bounding-set=-net_bind_service",
        &["serve", "--listen", "0.0.0.0:80"],
    ));
    assert!(
        talk.starts_with("heirloom: cannot listen on 0.0.0.0:80: "),
        "{talk}"
    );
    for help in [
        "below 1024",
        "cap_net_bind_service",
        "--listen systemd",
        "a higher port",
    ] {
        assert!(talk.contains(help), "{help}: {talk}");
    }
}

#[test]
fn a_port_that_is_taken_says_which_program_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let ended = run(&["serve", "--listen", &address.to_string()]);
    assert_eq!(ended.code, Some(3));
    let own = format!(
        "(process {}) listens at port {}",
        std::process::id(),
        address.port()
    );
    assert!(ended.talk.contains(&own), "{}", ended.talk);
}

#[test]
fn an_address_of_another_machine_says_which_this_one_has() {
    let add = "ip address add 192.0.2.7/24 dev lo && exec";
    let talk = refusal(&mut alone(add, &["serve", "--listen", "198.51.100.1:0"]));
    let sentence = "it is no address of this machine, which has 192.0.2.7; 0.0.0.0:0 stands";
    assert!(talk.contains(sentence), "{talk}");
    let talk = refusal(&mut alone(
        "exec",
        &["serve", "--listen", "[2001:db8::1]:8076"],
    ));
    let sentence = "it is no address of this machine; [::]:8076 stands for all of them";
    assert!(talk.contains(sentence), "{talk}");
}

#[test]
fn an_address_of_ipv6_is_served_beside_one_of_ipv4_with_the_same_port() {
    let Ok(probe) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        panic!("loopback has no IPv6; give it ::1 (ip address add ::1/128 dev lo)");
    };
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let listen = format!("localhost:{port}");
    let program = Program::start(Command::new(HEIRLOOM).args(["serve", "--listen", &listen]));
    Peer::open(program.address, RFC, "/").echo("IPv4");
    let other = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    Peer::open(other, RFC, "/").echo("IPv6");
}
