//! Where servers of the command line listen: how that is written, and told.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use heirloom::net::{BadEndpoint, Endpoint, Listen, ListenAt, Passed, Takes, Url};

use super::{output, passed, suggest};

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
    let found = addresses(address)?;
    let listen = |address| Listen::new(ListenAt::Tcp(address), takes);
    Ok(found.into_iter().map(listen).collect())
}

/// The sockets that the supervisor has passed.
fn of_supervisor(name: Option<&str>, takes: Takes) -> Result<Vec<Listen>, String> {
    let listen = |passed: Passed| {
        let is_tcp = passed.address().is_some();
        let takes = if is_tcp { takes } else { at_unix(takes) };
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

pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let hint = "give HOST:PORT, such as 127.0.0.1:8076 or [::1]:0";
    if let Some(meant) = suggest::of_listener(text) {
        return Err(format!("{hint}; {meant}"));
    }
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; {hint}"))?;
    // `localhost` may be two addresses; the first is what was meant.
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
