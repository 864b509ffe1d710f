//! `heirloom serve`: echo, a room and a page.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::Args as ClapArgs;
use heirloom::handshake::Origins;
use heirloom::net::Server;
use heirloom::net::serve::Serve;
use heirloom::{Config, Versions};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use super::limits::ListenLimitArgs;
use super::{Exit, complain, header_text, say};

/// Serve every version: any path sends back what it gets, /chat is a room, / is a page.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: heirloom serve --listen 127.0.0.1:8076 --versions +hixie-75")]
pub(super) struct Args {
    /// Where to listen; may be given more than once. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8076", value_parser = addresses)]
    listen: Vec<Vec<SocketAddr>>,
    /// The versions that are on: names, `all`, `default`, `+NAME`, `-NAME`, separated by commas.
    #[arg(
        long,
        value_name = "LIST",
        default_value = "default",
        allow_hyphen_values = true
    )]
    versions: Versions,
    /// A subprotocol that is spoken; may be given more than once. A hixie client asks with one
    /// string, which may hold spaces; the others ask with a list.
    #[arg(long, value_name = "NAME", value_parser = header_text)]
    subprotocol: Vec<String>,
    /// An origin that may connect, such as https://example.com; may be given more than once. Any
    /// may where none is given.
    #[arg(long, value_name = "ORIGIN", value_parser = header_text)]
    origin: Vec<String>,
    /// The URL that clients dial where it is not ws:// and their Host, such as wss://example.com;
    /// hixie clients compare it.
    #[arg(long, value_name = "URL", value_parser = public_url)]
    public_url: Option<String>,
    /// Threads, each with a loop of its own; one per core where it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    #[command(flatten)]
    limits: ListenLimitArgs,
}

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let listen = args.listen.concat();
    let mut config = Config::default();
    config.limits = args.limits.limits();
    config.versions = args.versions;
    config.public_url = args.public_url;
    if !args.origin.is_empty() {
        config.origins = Origins::only(&args.origin);
    }
    if args.versions == Versions::NONE {
        complain(&"no version is on; see --versions");
        return Exit::Usage;
    }
    let workers = args.workers.map_or_else(cores, usize::from);
    let mut server = match Server::bind(&listen, workers, config) {
        Ok(server) => server,
        Err(error) => {
            complain(&error);
            return Exit::Unreachable;
        }
    };
    if let Err(error) = server.bell().and_then(stop_on_signals) {
        complain(&format!("cannot wait for signals: {error}"));
        return Exit::Unreachable;
    }
    for address in server.addresses() {
        warn_of_hixie(address, args.versions);
        say(&format!("listening on ws://{address}/"));
    }
    let subprotocols: Arc<[String]> = args.subprotocol.into();
    server.run(|| Serve::new(args.versions, Arc::clone(&subprotocols)));
    Exit::Good
}

/// The first TERM or INT rings the bell, the second ends the program at once.
pub(super) fn stop_on_signals(rope: UnixStream) -> std::io::Result<()> {
    let draining = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: what the first one sets, the second one sees.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&draining))?;
        flag::register(signal, Arc::clone(&draining))?;
        pipe::register(signal, rope.try_clone()?)?;
    }
    Ok(())
}

/// hixie has no masks: never where a shared cache or a transparent proxy may
/// sit.
fn warn_of_hixie(address: &SocketAddr, versions: Versions) {
    let unmasked: Vec<&str> = versions
        .iter()
        .filter(|v| !v.client_masks())
        .map(|v| v.name)
        .collect();
    if !address.ip().is_loopback() && !unmasked.is_empty() {
        log::warn!(
            "{address} is not loopback, and {} sends without masks: keep it off networks with \
             proxies that cache, or turn it off (--versions)",
            unmasked.join(" ")
        );
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let hint = "give HOST:PORT, such as 127.0.0.1:8076 or [::1]:0";
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

fn public_url(text: &str) -> Result<String, String> {
    let base = text.strip_suffix('/').unwrap_or(text);
    let authority = base.strip_prefix("ws://").or(base.strip_prefix("wss://"));
    let is_host = |o: u8| o.is_ascii_alphanumeric() || b"-._~:[]".contains(&o);
    match authority {
        Some(host) if !host.is_empty() && host.bytes().all(is_host) => Ok(base.to_owned()),
        _ => Err(
            "it must be ws://HOST or wss://HOST, with a port where it is not the usual one \
                  and without a path"
                .to_owned(),
        ),
    }
}
