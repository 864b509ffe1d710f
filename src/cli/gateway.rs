//! `heirloom gateway`: any version in front, one version behind.

use clap::Args as ClapArgs;
use heirloom::net::{Router, Url, gateway};

use super::access::AccessLog;
use super::process_args::GatewayProcessArgs;
use super::route_args::BridgeArgs;
use super::server_args::{Bound, ServerArgs};
use super::{Exit, complain};

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
    #[arg(long, value_name = "URL", required = true, value_parser = super::request_args::url)]
    to: Vec<Url>,
    #[command(flatten)]
    bridge: BridgeArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    process: GatewayProcessArgs,
}

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let Args {
        to,
        bridge,
        server: server_args,
        process,
    } = args;
    let legacy = ("--backend-tls-legacy", bridge.backend_tls_legacy);
    let tls = match bridge.trust.load(to.iter().any(|url| url.secure), legacy) {
        Ok(tls) => tls,
        Err(exit) => return exit,
    };
    let output = match process.access.open() {
        Ok(output) => output,
        Err(exit) => return exit,
    };
    let config = bridge.config(server_args.config(&process.common));
    let bound = server_args.bind(&process.common, config.clone(), process.json);
    let Bound {
        server,
        certificates,
    } = match bound {
        Ok(bound) => bound,
        Err(exit) => return exit,
    };
    server_args.warn_of_origins();
    let log = AccessLog::new(process.json, output);
    let Some(mut backend) = bridge.backend(&to, config.clone()) else {
        complain(&"--to is missing; give the URL of a backend");
        return Exit::Usage;
    };
    backend.tls = tls;
    let router = Router::new(gateway::routes(config, backend));
    let server = server
        .with_settings(process.settings())
        .with_config(router.config());
    let (server, carrier) = match process.common.topics.carry(server, &router) {
        Ok(carried) => carried,
        Err(exit) => return exit,
    };
    let admin = Bound::admin(&process.common, &server, certificates.as_ref(), &router);
    let _admin = match admin {
        Ok(admin) => admin,
        Err(exit) => return exit,
    };
    server.run(|| {
        let log = log.clone();
        let site = Bound::site(certificates.as_ref(), &router);
        site.with_access_log(move |record| log.note(record))
    });
    if let Some(carrier) = carrier {
        carrier.finish();
    }
    Exit::Good
}
