//! `heirloom gateway`: any version in front, one version behind.

use std::path::PathBuf;

use clap::{ArgMatches, Args as ClapArgs};
use heirloom::net::Url;

use super::Exit;
use super::config::ConfigFile;
use super::listener_args::ListenerArgs;
use super::process_args::GatewayProcessArgs;
use super::route_args::{BridgeArgs, RouteArgs};
use super::running::{self, CommandLine, Told};
use super::setup::{PathPattern, RouteSetup, Setup, To};

/// Accept clients of any version in front of a backend of one version, which needs no change.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom gateway --listen 0.0.0.0:8076 --to ws://127.0.0.1:9000/app\n\n\
                  Standard output gets one line for each connection that has ended; \
                  docs/deployment.md says what it holds and how the gateway stands behind \
                  HAProxy and nginx."
)]
pub(super) struct Args {
    /// The URL of the backend, such as ws://127.0.0.1:9000/, wss://chat.example/ or
    /// ws+unix:/run/chat.sock:/. A path in it replaces the path of the client's request. The
    /// client's query is passed on unless the URL has one. The host name is resolved for each
    /// connection. May be given more than once: where one server cannot be reached, the next is
    /// tried at once.
    #[arg(long, value_name = "URL", value_parser = super::request_args::url,
          required_unless_present_any = ["config", "check"])]
    to: Vec<Url>,
    /// Read listeners, routes and all else from this file of TOML, whose keys are these options;
    /// docs/deployment.md describes it. Options of the process may stand beside it, and come before
    /// those of the file. HUP reads it again.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell all mistakes of the file of --config, each with its line and column, and end.
    #[arg(long, requires = "config")]
    check: bool,
    #[command(flatten)]
    bridge: BridgeArgs,
    #[command(flatten)]
    listener: ListenerArgs,
    #[command(flatten)]
    route: RouteArgs,
    #[command(flatten)]
    process: GatewayProcessArgs,
}

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args, matches: Option<&ArgMatches>) -> Exit {
    if let Some(path) = args.config {
        let file = match ConfigFile::new(path, matches) {
            Ok(file) => file,
            Err(exit) => return exit,
        };
        return if args.check {
            file.check()
        } else {
            running::run(file, Told::Access)
        };
    }
    let route = RouteSetup {
        paths: PathPattern::Below("/".to_owned()),
        to: To::Backend(args.to),
        subprotocols: [].into(),
        policy: args.route,
        bridge: Some(args.bridge),
        identity: String::new(),
    };
    let setup = Setup {
        process: args.process,
        listeners: vec![args.listener],
        routes: vec![route],
        has_one_policy: true,
        process_words: Vec::new(),
    };
    running::run(CommandLine(setup), Told::Access)
}
