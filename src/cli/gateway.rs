//! `heirloom gateway`: any version in front, one version behind.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Args as ClapArgs, ValueEnum};
use heirloom::Version;
use heirloom::net::gateway::{Binary, Gateway, Route};
use heirloom::net::{Networks, ProxyVersion, Url};

use super::access::AccessLog;
use super::server_args::ServerArgs;
use super::{Exit, complain, version};

/// Put any version in front of a modern backend, which stays as it is.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom gateway --listen 0.0.0.0:8076 --to ws://127.0.0.1:9000/app\n\n\
                  Standard output gets one line for each connection that has ended; \
                  docs/deployment.md says what it holds and how the gateway stands behind \
                  HAProxy and nginx."
)]
pub(super) struct Args {
    /// The backend. A path is asked for whatever the client asked for; without one it is the
    /// client's own. The client's query goes on unless the URL has one.
    #[arg(long, value_name = "URL", value_parser = super::request_args::url)]
    to: Url,
    /// The version that is spoken to the backend.
    #[arg(long = "as", value_name = "VERSION", default_value = "rfc6455", value_parser = version)]
    version: &'static Version,
    /// Binary messages where one side has none: end the connection of who sends one with 1003, or
    /// let that side talk base64 in texts, as websockify does.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = BinaryArg::Refuse)]
    binary: BinaryArg,
    /// Peers whose X-Forwarded-For, -Proto, -Host and Forwarded are believed: addresses and
    /// networks, separated by commas. Those of others are thrown away.
    #[arg(long, value_name = "NETS")]
    accept_forwarded: Vec<Networks>,
    /// Begin connections to the backend with a PROXY header, of version v1 or v2.
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "v1"
    )]
    send_proxy: Option<ProxyVersion>,
    /// Write the line of each connection as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Octets that we add to a head at most: who asks, in two ways.
const ADDED: u32 = 8 * 1024;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BinaryArg {
    Refuse,
    Base64,
}

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let addresses: Vec<SocketAddr> = match args.to.addresses() {
        Ok(addresses) => addresses,
        Err(error) => {
            complain(&error);
            return Exit::Unreachable;
        }
    };
    let server = match args.server.bind() {
        Ok(server) => server,
        Err(exit) => return exit,
    };
    let log = match AccessLog::open(&args.to, args.json) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("cannot write access lines: {error}"));
            return Exit::Unreachable;
        }
    };
    // What is passed on and added must fit where the client's own head did.
    let mut config = args.server.config();
    config.limits.head_bytes = config.limits.head_bytes.saturating_add(ADDED);
    let route = Arc::new(Route {
        to: args.to,
        addresses: addresses.into(),
        version: args.version,
        binary: match args.binary {
            BinaryArg::Refuse => Binary::Refuse,
            BinaryArg::Base64 => Binary::Base64,
        },
        send_proxy: args.send_proxy,
        trusted: args.accept_forwarded.into_iter().collect(),
        config: Arc::new(config),
    });
    server.run(|| {
        let log = log.clone();
        Gateway::new(Arc::clone(&route), move |record| log.note(record))
    });
    log.close();
    Exit::Good
}
