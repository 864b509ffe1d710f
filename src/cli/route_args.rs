//! The options of a route: which requests it accepts, for `serve` and `gateway`, and how
//! a gateway carries them to their backend.

use clap::{Args, ValueEnum};
use heirloom::handshake::{Hosts, Origins};
use heirloom::net::{Backend, Binary, Http, Networks, OffersCompression, ProxyVersion, Url};
use heirloom::{Config, Version, Versions};

use super::backends::BackendArgs;
use super::compression::CompressionArgs;
use super::limits::MessageLimitArgs;
use super::trust::TrustArgs;

/// Which requests a route accepts.
#[derive(Clone, Debug, Args)]
pub(super) struct RouteArgs {
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
    /// A host that is answered to, such as example.com with any port, example.com:8076, or
    /// *.example.com for all below it; may be given more than once. Requests with another Host get
    /// 403. Without it all are answered.
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Vec<String>,
    /// The URL that clients dial where it is not ws:// and their Host, such as wss://example.com;
    /// hixie clients compare it.
    #[arg(long, value_name = "URL", value_parser = public_url)]
    public_url: Option<String>,
    #[command(flatten)]
    compression: CompressionArgs,
    #[command(flatten)]
    message: MessageLimitArgs,
}

/// The word for pages whose origin is the Host that they ask.
const SAME: &str = "same";

impl RouteArgs {
    /// Whether pages of any site may connect.
    pub(super) fn allows_any_origin(&self) -> bool {
        self.origin.is_empty()
    }

    /// The hosts that it is for; none where it is for any.
    pub(super) fn hosts(&self) -> &[String] {
        &self.host
    }

    /// The origins whose pages may connect.
    pub(super) fn origins(&self) -> Origins {
        RouteArgs::all_origins([self])
    }

    /// The origins that one of these has listed; any where none has.
    pub(super) fn all_origins<'a>(all: impl IntoIterator<Item = &'a RouteArgs>) -> Origins {
        let listed: Vec<&String> = all.into_iter().flat_map(|args| &args.origin).collect();
        if listed.is_empty() {
            return Origins::any();
        }
        let has_same = listed.iter().any(|origin| *origin == SAME);
        let origins = Origins::only(listed.into_iter().filter(|origin| *origin != SAME));
        if has_same {
            origins.and_same()
        } else {
            origins
        }
    }

    /// The configuration of its requests; `config` is what all routes share.
    pub(super) fn config(&self, config: Config) -> Config {
        let limits = self.message.limits(config.limits.clone());
        let mut config = config
            .with_limits(limits)
            .with_versions(self.versions)
            .with_compression(self.compression.compression());
        config.public_url.clone_from(&self.public_url);
        config.origins = self.origins();
        if !self.host.is_empty() {
            config.hosts = Hosts::only(&self.host);
        }
        config
    }
}

/// How a gateway carries the requests of a route to its backend.
#[derive(Clone, Debug, Args)]
pub(super) struct BridgeArgs {
    /// The version of the connections to the backend.
    #[arg(long = "as", value_name = "VERSION", default_value = "rfc6455",
          value_parser = super::version)]
    version: &'static Version,
    /// What to do with binary messages when one side has none: close with 1003, or carry them as
    /// base64 text, as websockify does.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = BinaryArg::Refuse)]
    binary: BinaryArg,
    /// What to do with plain HTTP, which asks for no upgrade: answer it with 404 or 405, or pass it
    /// to the backend with all that follows on its connection. GET and HEAD of /healthz are always
    /// answered by the gateway.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = HttpArg::Refuse)]
    http: HttpArg,
    /// Peers whose X-Forwarded-For, -Proto, -Host and Forwarded are believed: addresses and
    /// networks, and `unix` for those of Unix sockets, separated by commas. Those of other peers are
    /// dropped.
    #[arg(long, value_name = "NETS")]
    accept_forwarded: Vec<Networks>,
    /// A further header of clients that the backend gets, all its lines as they are; may be given
    /// more than once. Cookie, Authorization, User-Agent and the origin are always passed.
    #[arg(long, value_name = "NAME", value_parser = passed_header)]
    pass_header: Vec<String>,
    /// Start connections to the backend with a PROXY header, of version v1 or v2.
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        default_missing_value = "v1"
    )]
    send_proxy: Option<ProxyVersion>,
    /// When compression is offered to the backend, where it is on: for clients that agree to it, for
    /// all, as where the way to the backend is long, or for none.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = OffersArg::WithClient,
          help_heading = "Compression")]
    backend_compression: OffersArg,
    #[command(flatten)]
    backends: BackendArgs,
    #[command(flatten)]
    pub(super) trust: TrustArgs,
    /// Speak TLS to a backend of 2010 too: TLS 1.0 and 1.1, suites in CBC mode, and key exchange by
    /// RSA, by the system's OpenSSL at its security level 0. What is sent and received can then be
    /// read and changed on its way. Needs the feature legacy-tls.
    #[arg(long, help_heading = "TLS")]
    pub(super) backend_tls_legacy: bool,
}

/// The most octets that the gateway adds to a head: the client's address, in two ways.
const ADDED: u32 = 8 * 1024;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BinaryArg {
    Refuse,
    Base64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OffersArg {
    WithClient,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HttpArg {
    Refuse,
    Pass,
}

impl BridgeArgs {
    /// The configuration of clients, with what the bridge needs of their heads.
    pub(super) fn config(&self, config: Config) -> Config {
        config.with_opaque_headers(self.pass_header.clone())
    }

    /// What is asked for and cannot be, under this policy.
    pub(super) fn contradiction(&self, policy: &RouteArgs) -> Option<String> {
        let never = "so nothing can be offered to the backend";
        match self.backend_compression {
            OffersArg::Always if policy.compression.is_off() => Some(format!(
                "--compression is off, {never}; turn it on, or leave --backend-compression out"
            )),
            OffersArg::Always if !self.version.has_compression() => Some(format!(
                "--as {} has no compression, {never}; use a later version, or leave \
                 --backend-compression out",
                self.version
            )),
            _ => None,
        }
    }

    /// The backend at these URLs, `None` without one; `config` is that of the clients.
    pub(super) fn backend(&self, to: &[Url], mut config: Config) -> Option<Backend> {
        let binary = match self.binary {
            BinaryArg::Refuse => Binary::Refuse,
            BinaryArg::Base64 => Binary::Base64,
        };
        let http = match self.http {
            HttpArg::Refuse => Http::Refuse,
            HttpArg::Pass => Http::Pass,
        };
        let offers = match self.backend_compression {
            OffersArg::WithClient => OffersCompression::WithClient,
            OffersArg::Always => OffersCompression::Always,
            OffersArg::Never => OffersCompression::Never,
        };
        // What is passed on and added must fit where the client's own head did.
        config.limits.head_bytes = config.limits.head_bytes.saturating_add(ADDED);
        let backend = self.backends.backend(to, self.version)?;
        let backend = backend
            .with_binary(binary)
            .with_http(http)
            .with_compression_offered(offers)
            .with_proxy_header(self.send_proxy)
            .with_passed_headers(self.pass_header.clone())
            .with_trusted(self.accept_forwarded.iter().cloned().collect())
            .with_config(config);
        Some(backend)
    }
}

fn allowed_origin(text: &str) -> Result<String, String> {
    if text == SAME {
        return Ok(text.to_owned());
    }
    super::request_args::origin(text)
}

fn host(text: &str) -> Result<String, String> {
    if Hosts::is_host(text) && (!text.contains('*') || text.starts_with("*.")) {
        return Ok(text.to_owned());
    }
    if text.contains('*') {
        return Err(
            "a pattern is `*.` and a name, such as *.example.com; leave the option out for all hosts"
                .to_owned(),
        );
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

/// The name of a header that can be passed.
fn passed_header(name: &str) -> Result<String, String> {
    match Backend::check_passed(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(why) => Err(why.to_owned()),
    }
}
