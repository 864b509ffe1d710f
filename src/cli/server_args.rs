//! What `serve` and `gateway` share: where to listen, which clients may connect, and how to
//! stop.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::Args;
use heirloom::handshake::{Hosts, Origins};
use heirloom::net::{Listen, ListenAt, Networks, Router, Server, Site, Takes};
use heirloom::{Config, Versions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use super::compression::CompressionArgs;
use super::flash::FlashArgs;
use super::limits::ListenLimitArgs;
use super::tls::{Certificates, TlsArgs};
use super::{Exit, complain, hint, listening, output};

/// Where clients connect, and which may.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Where to listen; may be given more than once. Port 0 takes a free one. With a certificate
    /// TLS and plain connections come to the same port; tls://ADDR takes TLS only, ws://ADDR plain
    /// connections only. unix:PATH is a Unix socket, which takes plain connections (tls://unix:PATH
    /// TLS) and whose file is removed at the end; unix:@NAME has no file (Linux).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8076", value_parser = listening::listeners)]
    listen: Vec<Vec<Listen>>,
    /// The permissions of the files of Unix sockets, in octal digits such as 660. A client needs
    /// the permission to write. An abstract name (unix:@NAME) has none: every user of the machine
    /// may connect.
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = listening::unix_mode)]
    unix_mode: u32,
    /// The versions that are on: names, `all`, `default`, `+NAME`, `-NAME`, separated by commas.
    #[arg(
        long,
        value_name = "LIST",
        default_value = "default",
        allow_hyphen_values = true,
        value_parser = super::version_list
    )]
    pub(super) versions: Versions,
    /// An origin whose pages may connect, such as https://example.com, or `same` for pages whose
    /// origin is the Host that they ask; may be given more than once. Without it all may.
    #[arg(long, value_name = "ORIGIN", value_parser = allowed_origin)]
    origin: Vec<String>,
    /// A host that is answered to, such as example.com with any port or example.com:8076; may be
    /// given more than once. Requests with another Host get 403. Without it all are answered.
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Vec<String>,
    /// The URL that clients dial where it is not ws:// and their Host, such as wss://example.com;
    /// hixie clients compare it.
    #[arg(long, value_name = "URL", value_parser = public_url)]
    public_url: Option<String>,
    /// Peers whose connections start with a PROXY header, of version 1 or 2, which is believed:
    /// addresses and networks such as 10.0.0.0/8, and `unix` for those of Unix sockets, separated by
    /// commas. Other peers must send none.
    #[arg(long, value_name = "NETS")]
    accept_proxy: Vec<Networks>,
    /// Threads, each with a loop of its own; one per core by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    flash: FlashArgs,
    #[command(flatten)]
    compression: CompressionArgs,
    #[command(flatten)]
    limits: ListenLimitArgs,
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
}

/// The word for pages whose origin is the Host that they ask.
const SAME: &str = "same";

impl ServerArgs {
    /// Warns where pages of any site may connect.
    pub(super) fn warn_of_origins(&self) {
        if self.origin.is_empty() {
            log::warn!(
                "pages of any site may connect to the backend; --origin names those that may, and \
                 docs/deployment.md says which to choose"
            );
        }
    }

    /// The limits and the policy.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::default()
            .with_limits(self.limits.limits())
            .with_versions(self.versions)
            .with_compression(self.compression.compression())
            .with_context_memory(self.compression.context_memory())
            .with_hint(hint::of_refusal);
        config.public_url.clone_from(&self.public_url);
        if !self.origin.is_empty() {
            let listed = self.origin.iter().filter(|origin| *origin != SAME);
            config.origins = Origins::only(listed);
            if self.origin.iter().any(|origin| origin == SAME) {
                config.origins = config.origins.and_same();
            }
        }
        if !self.host.is_empty() {
            config.hosts = Hosts::only(&self.host);
        }
        config
    }

    /// A server that is bound and stops on signals. Its addresses go to standard
    /// output, or to standard error where standard output holds `json` only.
    pub(super) fn bind(&self, json: bool) -> Result<Bound, Exit> {
        if self.versions == Versions::NONE {
            complain(&"no version is on; see --versions");
            return Err(Exit::Usage);
        }
        // From here on, also where nothing is read again.
        ignore_hang_ups().map_err(|error| {
            complain(&format!("cannot wait for signals: {error}"));
            Exit::Unreachable
        })?;
        let mut listeners = [self.listen.concat(), self.flash.listeners()].concat();
        for listen in &mut listeners {
            if let ListenAt::Unix { mode, .. } = &mut listen.at {
                *mode = self.unix_mode;
            }
        }
        let tls = self.tls.load()?;
        if let (None, Some(only_tls)) = (&tls, listeners.iter().find(|l| l.takes == Takes::Tls)) {
            let at = &only_tls.at;
            complain(&format!(
                "tls://{at} needs a certificate; give --tls-cert and --tls-key"
            ));
            return Err(Exit::Usage);
        }
        let takes_tls = |listen: &Listen| matches!(listen.takes, Takes::Tls | Takes::Both);
        if tls.is_some() && !listeners.iter().any(takes_tls) {
            complain(
                &"--tls-cert is given, and no --listen takes TLS; leave the certificate out, or \
                  listen on ADDR or tls://ADDR",
            );
            return Err(Exit::Usage);
        }
        let workers = self.workers.map_or_else(cores, usize::from);
        let bound = Server::listen(&listeners, workers, self.config());
        let mut server = bound.map_err(|error| {
            complain(&error);
            Exit::Unreachable
        })?;
        if let Err(error) = server.shutdown_pipe().and_then(stop_on_signals) {
            complain(&format!("cannot wait for signals: {error}"));
            return Err(Exit::Unreachable);
        }
        let watched = match tls {
            Some(tls) => {
                server = server.with_tls(tls.clone());
                self.tls.watch(tls, server.reloader()).map(Some)
            }
            None => Ok(None),
        };
        let certificates = watched.map_err(|error| {
            complain(&format!("cannot wait for signals: {error}"));
            Exit::Unreachable
        })?;
        if self.flash.are_answered() {
            let policy = self
                .flash
                .policy(&self.config().origins, server.listeners());
            server = server.with_flash_policy(policy);
        }
        for listen in server.listeners() {
            if let ListenAt::Tcp(address) = &listen.at {
                warn_of_hixie(address, self.versions);
            }
            listening::announce(listen, server.has_tls(), json);
        }
        if output::has_failed() {
            return Err(Exit::Unreachable);
        }
        let proxies = self.accept_proxy.iter().cloned().collect();
        let settings = self.limits.settings().with_hint(hint::of_net_refusal);
        Ok(Bound {
            server: server.with_settings(settings).accept_proxy(proxies),
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

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn allowed_origin(text: &str) -> Result<String, String> {
    if text == SAME {
        return Ok(text.to_owned());
    }
    super::request_args::origin(text)
}

fn host(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err("no pattern is read here; give each host, or leave it out".to_owned());
    }
    if Hosts::is_host(text) {
        return Ok(text.to_owned());
    }
    let hint = "a host is a name or an address, with a port where only that one is meant, such as \
                example.com or [::1]:8076";
    Err(match text.split_once("://") {
        Some((_, rest)) => {
            let meant = rest.split('/').next().unwrap_or(rest);
            format!("{hint}; did you mean {meant}?")
        }
        None => hint.to_owned(),
    })
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
