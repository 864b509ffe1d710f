//! What the machine says of itself: its addresses, the ports that need a privilege,
//! and which program listens at a port. It is asked when something has gone wrong,
//! or once at the start.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use heirloom::bytes::Escaped;

/// Octets of a file of the system that are read.
const FILE: u64 = 4 * 1024 * 1024;
/// How long a program is looked for.
const SEARCH: Duration = Duration::from_millis(500);
/// Ports below this one need a privilege, where the system does not say which do.
const PRIVILEGED: u16 = 1024;

/// The addresses of its interfaces, without those that no other machine reaches or
/// that need the name of an interface. Those of IPv4 are first.
pub(super) fn addresses() -> Vec<IpAddr> {
    let reached = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut found: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).collect();
    found.retain(reached);
    found.sort_unstable();
    found.dedup();
    found
}

/// The first port that any program may listen at.
pub(super) fn first_free_port() -> u16 {
    let said = read("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    said.trim().parse().unwrap_or(PRIVILEGED)
}

/// The program that listens at this port, as far as that can be seen.
pub(super) fn listener_at(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let sockets: Vec<(String, String)> = tables
        .iter()
        .flat_map(|table| {
            let table = read(table);
            let listening = table
                .lines()
                .filter_map(|line| socket_at(line, address.port()));
            listening.collect::<Vec<_>>()
        })
        .collect();
    let (_, user) = sockets.first()?;
    let found = sockets.iter().find_map(|(number, _)| program_of(number));
    Some(found.unwrap_or_else(|| format!("a program of user {}", Escaped::<20>(user))))
}

/// The number and the user of the socket of this line of a table, where it listens at
/// this port.
fn socket_at(line: &str, port: u16) -> Option<(String, String)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, own) = fields.next()?.rsplit_once(':')?;
    if u16::from_str_radix(own, 16).ok()? != port {
        return None;
    }
    // 0A is LISTEN.
    let listens = fields.nth(1)? == "0A";
    let user = fields.nth(3)?.to_owned();
    let number = fields.nth(1)?.to_owned();
    listens.then_some((number, user))
}

/// The program that has this socket. Those of other users are seen by root only.
fn program_of(number: &str) -> Option<String> {
    let until = Instant::now() + SEARCH;
    let link = format!("socket:[{number}]");
    let has_it = |process: &Path| {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten();
        open.flatten()
            .take_while(|_| Instant::now() < until)
            .any(|open| fs::read_link(open.path()).is_ok_and(|to| to.as_os_str() == &*link))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes.take_while(|_| Instant::now() < until) {
        let id = process.file_name();
        let Some(id) = id.to_str().and_then(|id| id.parse::<u32>().ok()) else {
            continue;
        };
        if has_it(&process.path()) {
            let name = read(process.path().join("comm"));
            return Some(format!("{} (process {id})", Escaped::<40>(name.trim())));
        }
    }
    None
}

/// A file of the system; nothing where it cannot be read.
fn read(path: impl AsRef<Path>) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error is as good.
        let _ = file.take(FILE).read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_program_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let found = listener_at(address).expect("it is seen");
        let id = std::process::id();
        assert!(found.ends_with(&format!(" (process {id})")), "{found}");
        drop(listener);
        assert_eq!(listener_at(address), None);
    }

    #[test]
    fn a_line_that_is_no_socket_is_passed_over() {
        let line =
            "1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 33 0 77 1";
        assert_eq!(
            socket_at(line, 80),
            Some(("77".to_owned(), "33".to_owned()))
        );
        assert_eq!(socket_at(line, 81), None);
        assert_eq!(socket_at(&line.replace("0A", "01"), 80), None);
        for rubbish in [
            "",
            "sl local_address",
            "1: x",
            "1: 0:0050",
            "1: 0:0050 0 0A 0 0",
        ] {
            assert_eq!(socket_at(rubbish, 80), None, "{rubbish}");
        }
    }
}
