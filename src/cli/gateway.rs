//! `heirloom gateway`: any version in front, one version behind.

use clap::{Args as ClapArgs, ValueEnum};
use heirloom::Version;
use heirloom::conn::Config;
use heirloom::net::{
    Backend, Binary, Http, Networks, OffersCompression, ProxyVersion, Router, Settings, Url,
    gateway,
};

use super::access::AccessLog;
use super::server_args::{Bound, ServerArgs};
use super::trust::TrustArgs;
use super::units::milliseconds;
use super::{Exit, version};

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
    /// connection.
    #[arg(long, value_name = "URL", value_parser = super::request_args::url)]
    to: Url,
    /// The version of the connections to the backend.
    #[arg(long = "as", value_name = "VERSION", default_value = "rfc6455", value_parser = version)]
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
        require_equals = true,
        default_missing_value = "v1"
    )]
    send_proxy: Option<ProxyVersion>,
    /// Milliseconds without an octet from either end of a connection whose plain HTTP is passed.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().http_ms,
          value_parser = milliseconds(1..=86_400_000), help_heading = "Limits")]
    http_timeout_ms: u64,
    /// When compression is offered to the backend, where it is on: for clients that agree to it, for
    /// all, as where the way to the backend is long, or for none.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = OffersArg::WithClient,
          help_heading = "Compression")]
    backend_compression: OffersArg,
    /// Write the line of each connection as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: TrustArgs,
    /// Speak TLS to a backend of 2010 too: TLS 1.0 and 1.1, suites in CBC mode, and key exchange by
    /// RSA, by the system's OpenSSL at its security level 0. What is sent and received can then be
    /// read and changed on its way. Needs the feature legacy-tls.
    #[arg(long, help_heading = "TLS")]
    backend_tls_legacy: bool,
    #[command(flatten)]
    server: ServerArgs,
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

/// Runs until a signal and the last connection.
pub(super) fn run(args: Args) -> Exit {
    let tls = match args.trust.load(
        args.to.secure,
        ("--backend-tls-legacy", args.backend_tls_legacy),
    ) {
        Ok(tls) => tls,
        Err(exit) => return exit,
    };
    let Bound {
        server,
        certificates,
    } = match args.server.bind(args.json) {
        Ok(bound) => bound,
        Err(exit) => return exit,
    };
    args.server.warn_of_origins();
    let settings = server.settings().clone();
    let server = server.with_settings(settings.with_http_ms(args.http_timeout_ms));
    let log = AccessLog::new(&args.to, args.json);
    let config = args.config();
    let mut backend = args.backend(config.clone());
    backend.tls = tls;
    let router = Router::new(gateway::routes(config, backend));
    let server = server.with_config(router.config());
    server.run(|| {
        let log = log.clone();
        let site = Bound::site(certificates.as_ref(), &router);
        site.with_access_log(move |record| log.note(record))
    });
    Exit::Good
}

impl Args {
    fn config(&self) -> Config {
        let config = self.server.config();
        config.with_opaque_headers(self.pass_header.clone())
    }

    /// The backend; `config` is that of the clients.
    fn backend(&self, mut config: Config) -> Backend {
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
        Backend::new(self.to.clone(), self.version)
            .with_binary(binary)
            .with_http(http)
            .with_compression_offered(offers)
            .with_proxy_header(self.send_proxy)
            .with_passed_headers(self.pass_header.clone())
            .with_trusted(self.accept_forwarded.iter().cloned().collect())
            .with_config(config)
    }
}

/// The name of a header that can be passed.
fn passed_header(name: &str) -> Result<String, String> {
    match Backend::check_passed(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(why) => Err(why.to_owned()),
    }
}
