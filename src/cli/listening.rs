//! Where servers of the command line listen: how that is written, and told.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicU8, Ordering};

use heirloom::net::{
    BadEndpoint, BindError, Endpoint, Listen, ListenAt, Networks, Passed, Takes, Url,
};

use super::{machine, output, passed, remark_at_start, suggest};

/// The addresses of the name `localhost`.
const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// How many ports are tried that are to be free at both.
const TRIES: usize = 32;
/// The version of IP whose address `localhost` lacks on this machine: 4, 6, or 0 where
/// it lacks none. Told once it is known whether remarks are wanted.
static MISSING: AtomicU8 = AtomicU8::new(0);
/// Addresses of the machine that are told.
const TOLD: usize = 8;

/// Tells where a listener is, once it is bound, and what it takes: TLS where it has
/// a certificate.
pub(super) fn announce(listen: &Listen, json: bool) {
    let (at, has_tls) = (&listen.at, listen.policy.tls.is_some());
    let path = match at {
        ListenAt::Unix { path, .. } => Some(path.as_path()),
        ListenAt::Passed(passed) => passed.path(),
        _ => None,
    };
    let line = match (path, listen.takes) {
        (Some(path), takes) => {
            format!("listening on {}", Url::of_unix(path, takes == Takes::Tls))
        }
        _ if at.address().is_none() => format!("listening on {at}"),
        (_, Takes::Tls) => format!("listening on wss://{at}/"),
        (_, Takes::FlashPolicy) => format!("listening for Flash policy requests on {at}"),
        (_, Takes::Both) if has_tls => format!("listening on ws://{at}/ and wss://{at}/"),
        _ => format!("listening on ws://{at}/"),
    };
    if json {
        // Where standard error is closed, it cannot be told anywhere.
        let _ = writeln!(io::stderr(), "{line}");
    } else {
        // At once: the caller must know whether it could be written.
        output::write(format!("{line}\n").as_bytes());
    }
}

/// Where to listen, and what comes there.
pub(super) fn listeners(text: &str) -> Result<Vec<Listen>, String> {
    let schemes = [
        ("tls://", Takes::Tls),
        ("wss://", Takes::Tls),
        ("ws://", Takes::Plain),
    ];
    let scheme = schemes
        .iter()
        .find_map(|(scheme, takes)| Some((text.strip_prefix(scheme)?, takes)));
    let (address, takes) = match scheme {
        Some((address, takes)) => (address.strip_suffix('/').unwrap_or(address), *takes),
        None => (text, Takes::Both),
    };
    if let Some(rest) = address.strip_prefix("systemd") {
        match rest.strip_prefix(':') {
            Some("") => return Err("give the socket's name behind systemd:".to_owned()),
            Some(name) => return of_supervisor(Some(name), takes),
            None if rest.is_empty() => return of_supervisor(None, takes),
            None => {}
        }
    }
    if let Some(path) = address.strip_prefix("unix:") {
        if matches!(path, "" | "@") {
            return Err("give the path of the socket, such as unix:/run/heirloom.sock".to_owned());
        }
        let takes = at_unix(takes);
        let mode = 0o600;
        let path = path.into();
        let at = ListenAt::Unix { path, mode };
        return Ok(vec![Listen::new(at, takes)]);
    }
    let found = match localhost(address) {
        Some(both) => both,
        None => addresses(address)?,
    };
    let listen = |address| Listen::new(ListenAt::Tcp(address), takes);
    Ok(found.into_iter().map(listen).collect())
}

/// The sockets that the supervisor has passed.
fn of_supervisor(name: Option<&str>, takes: Takes) -> Result<Vec<Listen>, String> {
    let listen = |passed: Passed| {
        // What is not there yet may be of either kind.
        let takes = if passed.is_unix() {
            at_unix(takes)
        } else {
            takes
        };
        Listen::new(ListenAt::Passed(passed), takes)
    };
    Ok(passed::sockets(name)?.into_iter().map(listen).collect())
}

/// What a Unix socket takes: TLS only where that is said.
fn at_unix(takes: Takes) -> Takes {
    match takes {
        Takes::Both => Takes::Plain,
        takes => takes,
    }
}

pub(super) fn unix_mode(text: &str) -> Result<u32, String> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|o| o.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| is_octal && *mode <= 0o777)
        .ok_or_else(|| "give three octal digits, such as 600, 660 or 666".to_owned())
}

/// The addresses of `localhost` that this machine has, with one free port for both
/// where it is to be a free one.
fn localhost(text: &str) -> Option<Vec<SocketAddr>> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    if !host.eq_ignore_ascii_case("localhost") {
        return None;
    }
    let mut ips = LOCALHOST.to_vec();
    ips.retain(|ip| !is_missing(*ip));
    match &*ips {
        // Why neither can be bound is told when it is tried.
        [] => ips = LOCALHOST.to_vec(),
        [only] => MISSING.store(if only.is_ipv4() { 6 } else { 4 }, Ordering::Relaxed),
        _ => {}
    }
    let free = || (0..TRIES).find_map(|_| port_free_at_both());
    let port = match port {
        0 if ips.len() > 1 => free().unwrap_or_default(),
        port => port,
    };
    let address = |ip| SocketAddr::new(ip, port);
    Some(ips.into_iter().map(address).collect())
}

/// Whether the machine has no such address. Any other fault is left to the bind.
fn is_missing(ip: IpAddr) -> bool {
    match TcpListener::bind((ip, 0)) {
        Ok(_) => false,
        Err(error) => {
            let no_family = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
            error.kind() == ErrorKind::AddrNotAvailable || no_family
        }
    }
}

fn port_free_at_both() -> Option<u16> {
    let [one, other] = LOCALHOST;
    let first = TcpListener::bind((one, 0)).ok()?;
    let port = first.local_addr().ok()?.port();
    TcpListener::bind((other, port)).ok().map(|_| port)
}

/// Why a place cannot be bound, and what helps.
pub(super) fn explained(error: &BindError) -> String {
    let Some(address) = error.address.address() else {
        return error.to_string();
    };
    let port = address.port();
    let help = match error.error.kind() {
        ErrorKind::PermissionDenied if port < machine::first_free_port() => format!(
            "ports below {} need a privilege: `setcap cap_net_bind_service=+ep` on the program, a \
             socket that systemd binds (--listen systemd), or a higher port",
            machine::first_free_port()
        ),
        ErrorKind::AddrInUse => match machine::listener_at(address) {
            Some(program) => {
                format!("{program} listens at port {port}; end it, or give another port")
            }
            None => "another program uses it; end it, or give another port".to_owned(),
        },
        ErrorKind::AddrNotAvailable => {
            let any = match address {
                SocketAddr::V4(_) => "0.0.0.0",
                SocketAddr::V6(_) => "[::]",
            };
            let own = listed(machine::addresses(), |ip| ip.to_string());
            let own = own
                .map(|own| format!(", which has {own}"))
                .unwrap_or_default();
            format!("it is no address of this machine{own}; {any}:{port} stands for all of them")
        }
        _ => return error.to_string(),
    };
    format!("{error}; {help}")
}

/// Tells what is not listened on: the address that `localhost` lacks, and what an
/// address of IPv6 that stands for all leaves out.
pub(super) fn tell_families(listeners: &[Listen]) {
    match MISSING.swap(0, Ordering::Relaxed) {
        0 => {}
        version => remark_at_start(&format!("localhost has no address of IPv{version} here")),
    }
    let addresses = || listeners.iter().filter_map(|listen| listen.at.address());
    for all in addresses().filter(|at| at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        let port = all.port();
        if !addresses().any(|at| at.is_ipv4() && at.port() == port) {
            remark_at_start(&format!(
                "{all} takes IPv6 only; --listen 0.0.0.0:{port} beside it takes IPv4"
            ));
        }
    }
}

/// Tells where the page of the server is; nothing where its clients must send a PROXY
/// header.
pub(super) fn tell_page(listeners: &[Listen]) {
    let no_proxies = Networks::default();
    let page = listeners.iter().find_map(|listen| {
        if listen.policy.proxies != no_proxies {
            return None;
        }
        let scheme = match listen.takes {
            Takes::Both | Takes::Plain => "http",
            Takes::Tls => "https",
            Takes::FlashPolicy => return None,
        };
        Some((scheme, listen.at.address()?))
    });
    let Some((scheme, at)) = page else {
        return;
    };
    let url = |ip: IpAddr| format!("{scheme}://{}/", SocketAddr::new(ip, at.port()));
    let [loopback4, loopback6] = LOCALHOST;
    let (own, others) = match at.ip() {
        ip if !ip.is_unspecified() => (ip, Vec::new()),
        IpAddr::V4(_) => (loopback4, machine::addresses()),
        IpAddr::V6(_) => (loopback6, machine::addresses()),
    };
    let others: Vec<IpAddr> = others
        .into_iter()
        .filter(|ip| ip.is_ipv4() == at.is_ipv4())
        .collect();
    let others = listed(others, url).map(|all| format!("; from other machines {all}"));
    let url = url(own);
    remark_at_start(&format!(
        "open {url} in a browser{}",
        others.unwrap_or_default()
    ));
}

/// A list of addresses, and how many more there are.
fn listed(addresses: Vec<IpAddr>, told: impl Fn(IpAddr) -> String) -> Option<String> {
    let more = addresses.len().saturating_sub(TOLD);
    let told: Vec<String> = addresses.into_iter().take(TOLD).map(told).collect();
    let list = told.join(", ");
    match more {
        _ if told.is_empty() => None,
        0 => Some(list),
        more => Some(format!("{list} and {more} more")),
    }
}

pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let hint = "give HOST:PORT, such as 127.0.0.1:8076 or [::1]:0";
    if let Some(meant) = suggest::of_listener(text) {
        return Err(format!("{hint}; {meant}"));
    }
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; {hint}"))?;
    // A name may have several addresses; the first is what was meant.
    let first: Vec<SocketAddr> = found.take(1).collect();
    if first.is_empty() {
        Err(hint.to_owned())
    } else {
        Ok(first)
    }
}

/// Where a server is. Its name is not resolved.
pub(super) fn server_address(text: &str) -> Result<Endpoint, String> {
    match suggest::of_server(text) {
        Some(meant) => Err(format!("{BadEndpoint}; {meant}")),
        None => text.parse().map_err(|error: BadEndpoint| error.to_string()),
    }
}
