//! `heirloom serve`: echo, a room and a page.

use std::sync::Arc;

use clap::Args as ClapArgs;
use heirloom::net::serve::Serve;

use super::front::FrontArgs;
use super::{Exit, header_text};

/// Serve every version: any path sends back what it gets, /chat is a room, / is a page.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: heirloom serve --listen 127.0.0.1:8076 --versions +hixie-75")]
pub(super) struct Args {
    /// A subprotocol that is spoken; may be given more than once. A hixie client asks with one
    /// string, which may hold spaces; the others ask with a list.
    #[arg(long, value_name = "NAME", value_parser = header_text)]
    subprotocol: Vec<String>,
    #[command(flatten)]
    front: FrontArgs,
}

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let server = match args.front.bind() {
        Ok(server) => server,
        Err(exit) => return exit,
    };
    let subprotocols: Arc<[String]> = args.subprotocol.into();
    server.run(|| Serve::new(args.front.versions, Arc::clone(&subprotocols)));
    Exit::Good
}
