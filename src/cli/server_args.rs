//! What `serve` and `gateway` share: where to listen, which clients may connect, and how to
//! stop.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use heirloom::net::{Listen, Router, Server, Site, Takes};
use heirloom::{Config, Versions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use super::admin::{Admin, Told};
use super::listener_args::ListenerArgs;
use super::process_args::ProcessArgs;
use super::route_args::RouteArgs;
use super::supervisor::Supervisor;
use super::tls::Certificates;
use super::{Exit, complain, listening, output};

/// What a process, its one listener and its one route are.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    pub(super) listener: ListenerArgs,
    #[command(flatten)]
    pub(super) route: RouteArgs,
}

/// A server that is bound.
pub(super) struct Bound {
    pub(super) server: Server,
    /// What it shows, where it speaks TLS.
    pub(super) certificates: Option<Certificates>,
}

impl Bound {
    /// The site with what `/healthz?verbose` tells of this server.
    pub(super) fn site(certificates: Option<&Certificates>, router: &Router) -> Site {
        let site = Site::new(router);
        match certificates.cloned() {
            Some(certificates) => site.with_health(move || certificates.health()),
            None => site,
        }
    }

    /// The pages for operators, which end when it is dropped.
    ///
    /// # Errors
    ///
    /// Where they cannot be served, which is told.
    pub(super) fn admin(
        process: &ProcessArgs,
        server: &Server,
        certificates: Option<&Certificates>,
        router: &Router,
    ) -> Result<Option<Admin>, Exit> {
        let shown = certificates.cloned();
        process.admin.start(Told {
            metrics: server.metrics(),
            router: router.clone(),
            health: Box::new(move || {
                shown
                    .as_ref()
                    .map_or_else(String::new, Certificates::health)
            }),
        })
    }
}

impl ServerArgs {
    /// Warns where pages of any site may connect.
    pub(super) fn warn_of_origins(&self) {
        if self.route.allows_any_origin() {
            log::warn!(
                "pages of any site may connect to the backend; --origin names those that may, and \
                 docs/deployment.md says which to choose"
            );
        }
    }

    /// The limits and the policy.
    pub(super) fn config(&self, process: &ProcessArgs) -> Config {
        self.route.config(process.config())
    }

    /// A server that is bound and stops on signals. Its addresses go to standard
    /// output, or to standard error where standard output holds `json` only.
    pub(super) fn bind(
        &self,
        process: &ProcessArgs,
        config: Config,
        json: bool,
    ) -> Result<Bound, Exit> {
        let ListenerArgs { tls, flash, .. } = &self.listener;
        if self.route.versions == Versions::NONE {
            complain(&"no version is on; see --versions");
            return Err(Exit::Usage);
        }
        // From here on, also where nothing is read again.
        ignore_hang_ups().map_err(|error| {
            complain(&format!("cannot wait for signals: {error}"));
            Exit::Unreachable
        })?;
        let listeners = self.listener.places();
        let shown = tls.load()?;
        if let (None, Some(only_tls)) = (&shown, listeners.iter().find(|l| l.takes == Takes::Tls)) {
            let at = &only_tls.at;
            complain(&format!(
                "tls://{at} needs a certificate; give --tls-cert and --tls-key"
            ));
            return Err(Exit::Usage);
        }
        let takes_tls = |listen: &Listen| matches!(listen.takes, Takes::Tls | Takes::Both);
        if shown.is_some() && !listeners.iter().any(takes_tls) {
            complain(
                &"--tls-cert is given, and no --listen takes TLS; leave the certificate out, or \
                  listen on ADDR or tls://ADDR",
            );
            return Err(Exit::Usage);
        }
        let origins = config.origins.clone();
        let bound = Server::listen(&listeners, process.workers(), config);
        let mut server = bound.map_err(|error| {
            complain(&listening::explained(&error));
            Exit::Unreachable
        })?;
        if let Err(error) = server.shutdown_pipe().and_then(stop_on_signals) {
            complain(&format!("cannot wait for signals: {error}"));
            return Err(Exit::Unreachable);
        }
        let watched = match shown {
            Some(shown) => {
                server = server.with_tls(shown.clone());
                tls.watch(shown, server.reloader()).map(Some)
            }
            None => Ok(None),
        };
        let certificates = watched.map_err(|error| {
            complain(&format!("cannot wait for signals: {error}"));
            Exit::Unreachable
        })?;
        if flash.are_answered() {
            let policy = flash.policy(&origins, &server.listeners());
            server = server.with_flash_policy(policy);
        }
        for listen in server.listeners() {
            if let Some(address) = &listen.at.address() {
                warn_of_hixie(address, self.route.versions);
            }
            listening::announce(&listen, json);
        }
        listening::tell_families(&server.listeners());
        if output::has_failed() {
            return Err(Exit::Unreachable);
        }
        let proxies = self.listener.proxies();
        let settings = process.settings();
        let server = server.with_settings(settings).accept_proxy(proxies);
        Supervisor::of_environment()
            .start(&server)
            .map_err(|error| {
                complain(&format!("cannot start a thread: {error}"));
                Exit::Unreachable
            })?;
        Ok(Bound {
            server,
            certificates,
        })
    }
}

/// The first TERM or INT writes to the shutdown pipe, the second ends the program at once.
pub(super) fn stop_on_signals(writer: UnixStream) -> std::io::Result<()> {
    let draining = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: what the first one sets, the second one sees.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&draining))?;
        flag::register(signal, Arc::clone(&draining))?;
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(())
}

/// HUP changes nothing where there is nothing to read again, and never ends the
/// program.
fn ignore_hang_ups() -> std::io::Result<()> {
    flag::register(SIGHUP, Arc::new(AtomicBool::new(false))).map(drop)
}

/// hixie has no masks: it is unsafe where a shared cache or a transparent proxy
/// may stand between.
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
