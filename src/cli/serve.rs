//! `heirloom serve`: echo, a chat and the lab page.

use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use heirloom::net::lab::Lab;
use heirloom::net::{Router, serve};

use super::lab::Explanations;
use super::process_args::ProcessArgs;
use super::server_args::{Bound, ServerArgs};
use super::{Exit, header_text, listening};

/// Serve clients of every version: any path echoes, /chat is a chat, / is the lab page.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: heirloom serve --listen 127.0.0.1:8076 --versions +hixie-75")]
pub(super) struct Args {
    /// A subprotocol of the server; may be given more than once. A hixie client asks with one
    /// string, which may hold spaces; the others ask with a list.
    #[arg(long, value_name = "NAME", value_parser = header_text)]
    subprotocol: Vec<String>,
    /// Explain each handshake on standard output, octet by octet, as it happens.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// The time that the explanations of the last handshakes have after the last
/// connection.
const LAST_EXPLANATIONS: Duration = Duration::from_secs(5);

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let config = args.server.config(&args.process);
    let Bound {
        server,
        certificates,
    } = match args.server.bind(&args.process, config.clone(), false) {
        Ok(bound) => bound,
        Err(exit) => return exit,
    };
    let explanations = Explanations {
        all: args.explain,
        config: config.clone(),
    };
    let lab = Lab::new(
        Arc::new(config.clone()),
        server.stats(),
        Arc::new(explanations),
    );
    if !args.server.listener.has_proxies() {
        listening::tell_page(&server.listeners());
    }
    let table = serve::routes_with(config, args.subprotocol, Some(lab.clone()));
    let router = Router::new(table);
    let server = server.with_config(router.config());
    let (server, carrier) = match args.process.topics.carry(server, &router) {
        Ok(carried) => carried,
        Err(exit) => return exit,
    };
    let admin = Bound::admin(&args.process, &server, certificates.as_ref(), &router);
    let _admin = match admin {
        Ok(admin) => admin,
        Err(exit) => return exit,
    };
    server.run(|| Bound::site(certificates.as_ref(), &router));
    if let Some(carrier) = carrier {
        carrier.finish();
    }
    lab.finish(LAST_EXPLANATIONS);
    Exit::Good
}
