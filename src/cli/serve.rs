//! `heirloom serve`: echo, a chat and the lab page.

use std::sync::Arc;

use clap::Args as ClapArgs;

use super::listener_args::ListenerArgs;
use super::process_args::{GatewayProcessArgs, ProcessArgs};
use super::route_args::RouteArgs;
use super::running::{self, CommandLine, Told};
use super::setup::{PathPattern, RouteSetup, Setup, To};
use super::{Exit, header_text};

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
    listener: ListenerArgs,
    #[command(flatten)]
    route: RouteArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// The path of the chat, and its topic.
const CHAT: &str = "/chat";

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let subprotocols: Arc<[String]> = args.subprotocol.into();
    let policy = args.route;
    let route = |paths: PathPattern, to: To| RouteSetup {
        identity: paths.to_string(),
        paths,
        to,
        subprotocols: Arc::clone(&subprotocols),
        policy: policy.clone(),
        bridge: None,
    };
    let setup = Setup {
        process: GatewayProcessArgs::of_serve(args.process),
        listeners: vec![args.listener],
        routes: vec![
            route(
                PathPattern::Exact(CHAT.to_owned()),
                To::Topic(CHAT.to_owned()),
            ),
            route(PathPattern::Below("/".to_owned()), To::Lab),
        ],
        has_one_policy: true,
        process_words: Vec::new(),
    };
    let told = if args.explain {
        Told::Explanations
    } else {
        Told::Handshakes
    };
    running::run(CommandLine(setup), told)
}
