//! `heirloom record`: a relay that records each connection as a vector, octet for
//! octet.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args as ClapArgs;
use heirloom::bytes::Escaped;
use heirloom::net::dial::DialTarget;
use heirloom::net::relay::Relay;
use heirloom::net::{ClientTls, Endpoint, Listen, Resolver, Settings, Url};

use super::journal::{Mode, Store, complain_of};
use super::listening::{addresses, announce, server_address};
use super::signals::{ignore_harmless, stop_on_signals};
use super::trust::{OldServerArgs, TrustArgs};
use super::units::{milliseconds, octets, whole};
use super::{Exit, complain, output};

/// Record what a client and a server send each other: nothing is changed, and each connection
/// becomes a vector file.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom record --listen 127.0.0.1:8077 --to 127.0.0.1:8076 --out \
                  recordings\n\nAn open connection has a journal, NAME.open, beside the \
                  vectors. `heirloom record --recover --out DIR` makes vectors of the journals that \
                  a killed recorder left, and marks them `unfinished`; run it while no recorder \
                  writes there. A journal that it cannot read stays as it is, and the exit status \
                  is 1.\n\nWhile the disk takes nothing, connections go on and their steps wait in \
                  memory, up to 1 MiB each. Only their owner can read the files, which may hold \
                  cookies."
)]
pub(super) struct Args {
    /// Where to listen; may be given more than once. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", required_unless_present = "recover",
          value_parser = addresses)]
    listen: Vec<Vec<SocketAddr>>,
    /// The server, such as 127.0.0.1:8076, unix:PATH, or wss://example.com:443 where it speaks TLS:
    /// clients come in plain, and what is inside TLS is recorded. A host name is resolved for each
    /// connection.
    #[arg(long, value_name = "ADDR", required_unless_present = "recover",
          value_parser = relayed_server)]
    to: Option<RelayedServer>,
    /// The folder for the vectors; it is created if it does not exist.
    #[arg(long, value_name = "DIR", required_unless_present = "none")]
    out: Option<PathBuf>,
    /// Record only requests that no vector in the folder has yet; keys are not compared.
    #[arg(long, conflicts_with = "none")]
    once: bool,
    /// Record nothing, only relay.
    #[arg(long)]
    none: bool,
    /// Make vectors of the journals that a killed recorder left, and exit.
    #[arg(long, requires = "out", conflicts_with_all = ["listen", "to", "once", "none", "ca", "insecure", "tls_legacy"])]
    recover: bool,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    old_server: OldServerArgs,
    #[command(flatten)]
    limits: RecordLimits,
}

/// Limits and timeouts of connections.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
struct RecordLimits {
    /// Maximum octets of one recording; a longer one ends there and is marked unfinished.
    #[arg(long, value_name = "BYTES", default_value_t = 8_388_608,
          value_parser = octets(1_u64..=8_388_608))]
    max_recording_bytes: u64,
    /// Maximum connections at the same time; more wait until one ends.
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = whole(1_u32..=65_536))]
    max_connections: u32,
    /// Milliseconds to connect to the server.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().handshake_ms,
          value_parser = milliseconds(1..=86_400_000))]
    handshake_timeout_ms: u64,
    /// Milliseconds that connections have to end after TERM before they are cut off.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().close_ms,
          value_parser = milliseconds(1..=86_400_000))]
    close_timeout_ms: u64,
    /// Milliseconds in which neither side sends anything before both are cut off; 0 is never.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().idle_ms,
          value_parser = milliseconds(0..=86_400_000))]
    idle_timeout_ms: u64,
    /// Milliseconds without progress while one side does not read what the other sent.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().write_ms,
          value_parser = milliseconds(1..=86_400_000))]
    write_timeout_ms: u64,
}

/// Where connections are relayed to.
#[derive(Clone, Debug)]
struct RelayedServer {
    endpoint: Endpoint,
    /// The name that its certificate must be for, where it speaks TLS.
    tls_host: Option<String>,
}

impl RelayedServer {
    fn target(&self, tls: Option<ClientTls>) -> DialTarget {
        let target = DialTarget::from(self.endpoint.clone());
        match (tls, &self.tls_host) {
            (Some(tls), Some(host)) => target.with_tls(tls, host.clone()),
            _ => target,
        }
    }
}

fn relayed_server(text: &str) -> Result<RelayedServer, String> {
    let secure = ["wss://", "tls://"]
        .iter()
        .find_map(|s| text.strip_prefix(s));
    let Some(rest) = secure else {
        let endpoint = server_address(text)?;
        return Ok(RelayedServer {
            endpoint,
            tls_host: None,
        });
    };
    let url = Url::parse(&format!("wss://{rest}")).map_err(|error| error.to_string())?;
    if url.target != "/" {
        return Err("a path is not used here: requests keep their own; leave it out".to_owned());
    }
    Ok(RelayedServer {
        endpoint: url.endpoint(),
        tls_host: Some(url.name().to_owned()),
    })
}

/// Runs until a signal arrives and the last connection has ended.
pub(super) fn run(args: &Args) -> Exit {
    let mode = match (args.once, args.none) {
        (_, true) => Mode::None,
        (true, false) => Mode::Once,
        (false, false) => Mode::All,
    };
    let out = args.out.clone().unwrap_or_default();
    let max_octets = args.limits.max_recording_bytes;
    if args.recover {
        return match Store::new(&out, mode, max_octets).recover() {
            Ok(true) => Exit::Good,
            Ok(false) => Exit::Failed,
            Err(error) => {
                complain_of(&out, &error);
                Exit::Failed
            }
        };
    }
    let Some(to) = &args.to else {
        complain(&"--to is missing");
        return Exit::Usage;
    };
    let target = match args
        .trust
        .load(to.tls_host.is_some(), args.old_server.given())
    {
        Ok(tls) => to.target(tls),
        Err(exit) => return exit,
    };
    if mode != Mode::None {
        if let Err(error) = try_to_write(&out) {
            let shown = out.display().to_string();
            let shown = Escaped::<400>(&shown);
            complain(&format!("cannot write to {shown}: {error}"));
            return Exit::Unreachable;
        }
    }
    let settings = Settings::default()
        .with_connections(args.limits.max_connections as usize)
        .with_handshake_ms(args.limits.handshake_timeout_ms)
        .with_close_ms(args.limits.close_timeout_ms)
        .with_idle_ms(args.limits.idle_timeout_ms)
        .with_write_ms(args.limits.write_timeout_ms);
    let mut relay = match Relay::bind(&args.listen.concat(), target, Resolver::default(), settings)
    {
        Ok(relay) => relay,
        Err(error) => {
            complain(&error);
            return Exit::Unreachable;
        }
    };
    let stopped = ignore_harmless().and_then(|()| relay.shutdown_pipe());
    if let Err(error) = stopped.and_then(stop_on_signals) {
        complain(&format!("cannot wait for signals: {error}"));
        return Exit::Unreachable;
    }
    let store = Arc::new(Store::new(&out, mode, max_octets));
    for address in relay.addresses() {
        announce(&Listen::from(*address), false);
    }
    if output::has_failed() {
        return Exit::Unreachable;
    }
    relay.run(|| store.recorder());
    store.finish_kept();
    Exit::Good
}

/// Whether recordings can be written to this folder, before anything is relayed.
fn try_to_write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!(".heirloom-{}.tmp", std::process::id()));
    let mut file = File::create_new(&path)?;
    let written = file.write_all(b"\n").and_then(|()| file.sync_all());
    fs::remove_file(&path)?;
    written
}

/// The address of an option that takes one.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let found = addresses(text)?;
    found
        .first()
        .copied()
        .ok_or_else(|| "no address".to_owned())
}
