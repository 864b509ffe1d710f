//! A backend that requests lead to: one server or several, asked in one version,
//! whatever the client speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use super::address::PeerAddress;
use super::asked::{Asked, Upgrade};
use super::backend_dial::{BackendDial, Carries, Course, Try, Way};
use super::forwarded::Forwarded;
use super::hops::{CDN_LOOP, HopName};
use super::networks::Networks;
use super::proxy::{self, ClientAddress, ProxyVersion};
use super::refusal::{AnyRefusal, NetRefusal};
use super::resolve::Resolver;
use super::targets::{Balance, Check, TargetOptions, TargetState, Targets};
use super::tls::ClientTls;
use super::url::Url;
use super::warning::SharedLimiter;
use crate::conn::{Coding, Config};
use crate::error::Refusal;
use crate::extension::{Compression, Mode};
use crate::handshake::{Head, Request};
use crate::version::Version;

/// The subprotocols by which websockify and its clients agree on how octets
/// travel.
const BASE64: &str = "base64";
const BINARY: &str = "binary";

/// What to do with binary messages where one side has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binary {
    /// Close both ends, with 1003 at the one that sent it.
    #[default]
    Refuse,
    /// Carry them as base64: a side without binary messages sends and receives
    /// base64 in its texts, and so does a client that asks for the subprotocol
    /// `base64`.
    Base64,
}

/// What to do with a request of plain HTTP, which asks for no upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    /// Answer it with a page of our own or a refusal.
    #[default]
    Refuse,
    /// Send it to the backend, and then all that either end sends, as it is.
    Pass,
}

/// Where a backend is, and how it is asked. It is one server, or several that serve
/// the same; clones know the same of which of them can be reached.
///
/// ```
/// use heirloom::Version;
/// use heirloom::net::{Backend, Balance};
///
/// let version = Version::named("rfc6455").ok_or("no such version")?;
/// let backend = Backend::new("ws://one.example:9000/".parse()?, version)
///     .with_targets(["ws://two.example:9000/".parse()?])
///     .with_balance(Balance::RoundRobin);
/// assert_eq!(backend.targets().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// Its servers.
    pub(super) targets: Arc<Targets>,
    /// Its name in the requests that it gets.
    pub(super) hop: HopName,
    /// Finds their addresses, each time one is dialled.
    pub resolver: Resolver,
    /// The version that is spoken to it.
    pub version: &'static Version,
    /// What to do with binary messages where one side has none.
    pub binary: Binary,
    /// What to do with plain HTTP.
    pub http: Http,
    /// Which servers are trusted, where its URL is `wss`; `None` are those that the
    /// system trusts.
    pub tls: Option<ClientTls>,
    /// Whether it gets a PROXY header first.
    pub send_proxy: Option<ProxyVersion>,
    /// The peers whose forwarded headers are believed.
    pub trusted: Networks,
    /// Names of further headers of clients that it gets; see
    /// [`Backend::check_passed`].
    pub pass_headers: Arc<[String]>,
    /// When compression is offered to it.
    pub offers_compression: OffersCompression,
    /// The limits of our end as its client.
    pub config: Arc<Config>,
    /// The same without compression.
    plain_config: Arc<Config>,
}

/// When compression is offered to a backend, where it is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffersCompression {
    /// For a client that agrees to it. Most of its messages go on as they are then,
    /// and those of another client cost no work.
    #[default]
    WithClient,
    /// For every client, as for a backend that is far away.
    Always,
    /// For none.
    Never,
}

/// What was agreed with a client before its backend is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientAgreement {
    /// The subprotocol that the client gets, whatever the backend is asked for:
    /// how octets travel is agreed with each by itself.
    pub(super) subprotocol: Option<&'static str>,
    /// The client does not go on without the subprotocol that it asked for.
    pub(super) insists: bool,
}

impl Backend {
    /// A backend at this URL, asked in this version. A path in the URL is asked for
    /// whatever the client asked for. Its name is resolved when it is dialled.
    #[must_use]
    pub fn new(to: Url, version: &'static Version) -> Backend {
        Backend {
            targets: Arc::new(Targets::new(vec![to], TargetOptions::default())),
            hop: HopName::new(),
            resolver: Resolver::default(),
            version,
            binary: Binary::default(),
            http: Http::default(),
            tls: None,
            send_proxy: None,
            trusted: Networks::default(),
            pass_headers: Arc::default(),
            offers_compression: OffersCompression::default(),
            config: Arc::default(),
            plain_config: Arc::default(),
        }
    }

    /// With these further servers, which are asked in the same way. Where one cannot
    /// be reached, the next is tried at once, in the time that the client has for
    /// its opening handshake.
    #[must_use]
    pub fn with_targets(mut self, more: impl IntoIterator<Item = Url>) -> Backend {
        let urls = self.targets.urls().into_iter().chain(more).collect();
        self.targets = Arc::new(Targets::new(urls, self.targets.options));
        self
    }

    /// With this choice among its servers.
    #[must_use]
    pub fn with_balance(self, balance: Balance) -> Backend {
        self.with_options(|options| options.balance = balance)
    }

    /// With this rest, in milliseconds, of a server that could not be reached. It
    /// doubles with each failure that follows, up to `most_ms`. Where all rest, all
    /// are tried. By default a second, and a minute at most.
    #[must_use]
    pub fn with_rest_ms(self, first_ms: u64, most_ms: u64) -> Backend {
        self.with_options(|options| (options.rest_ms, options.most_rest_ms) = (first_ms, most_ms))
    }

    /// With this time, in milliseconds, to reach one server where another one is
    /// left: to resolve its name, to connect and to agree on TLS. 2 seconds by
    /// default.
    #[must_use]
    pub fn with_connect_ms(self, ms: u64) -> Backend {
        self.with_options(|options| options.connect_ms = ms)
    }

    /// With its servers checked so, with so many milliseconds from one check to the
    /// next, at least 100. Checks begin when its route is in the table of a
    /// [`Router`](super::Router), and end when it is not there any more.
    #[must_use]
    pub fn with_check(self, check: Check, interval_ms: u64) -> Backend {
        self.with_options(|options| {
            (options.check, options.check_interval_ms) = (check, interval_ms.max(100));
        })
    }

    fn with_options(mut self, set: impl FnOnce(&mut TargetOptions)) -> Backend {
        let mut options = self.targets.options;
        set(&mut options);
        self.targets = Arc::new(Targets::new(self.targets.urls(), options));
        self
    }

    /// Its servers, and what is known of each.
    pub fn targets(&self) -> impl Iterator<Item = TargetState<'_>> {
        self.targets.states()
    }

    /// With TLS to it, where its URL is `wss`.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls) -> Backend {
        self.tls = Some(tls);
        self
    }

    /// With compression offered to it then.
    #[must_use]
    pub fn with_compression_offered(mut self, when: OffersCompression) -> Backend {
        self.offers_compression = when;
        self
    }

    /// With this resolver for its name.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Resolver) -> Backend {
        self.resolver = resolver;
        self
    }

    /// With this way to carry binary messages where one side has none.
    #[must_use]
    pub fn with_binary(mut self, binary: Binary) -> Backend {
        self.binary = binary;
        self
    }

    /// With this way to treat plain HTTP.
    #[must_use]
    pub fn with_http(mut self, http: Http) -> Backend {
        self.http = http;
        self
    }

    /// With a PROXY header in front of each connection.
    #[must_use]
    pub fn with_proxy_header(mut self, version: impl Into<Option<ProxyVersion>>) -> Backend {
        self.send_proxy = version.into();
        self
    }

    /// For clients whose forwarded headers are believed where they come from
    /// these networks.
    #[must_use]
    pub fn with_trusted(mut self, networks: Networks) -> Backend {
        self.trusted = networks;
        self
    }

    /// With these further headers of clients.
    #[must_use]
    pub fn with_passed_headers(mut self, names: impl Into<Arc<[String]>>) -> Backend {
        self.pass_headers = names.into();
        self
    }

    /// Checks that a header of this name can be passed to a backend.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn check_passed(name: &str) -> Result<(), &'static str> {
        let is_among = |names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !is_token(name) {
            Err("it is no name of a header")
        } else if lower.starts_with("sec-websocket-") || lower.starts_with("websocket-") {
            Err("it belongs to the opening handshake, which the gateway does with each side")
        } else if is_among(&OF_ONE_HOP) {
            Err("it concerns one hop only, from the client to the gateway")
        } else if is_among(&WRITTEN) {
            Err("the gateway writes it itself")
        } else {
            Ok(())
        }
    }

    /// With these limits of our end as its client.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Backend {
        self.config = config.into();
        let plain = Config::clone(&self.config).with_compression(Compression::default());
        self.plain_config = Arc::new(plain);
        self
    }

    /// The configuration of a connection for this client.
    fn config_for(&self, request: &Request<'_>) -> Arc<Config> {
        let offers = match self.offers_compression {
            OffersCompression::WithClient => {
                let compression = &self.config.compression;
                compression.mode != Mode::Off && request.answer_to_extensions(compression).is_some()
            }
            OffersCompression::Always => true,
            OffersCompression::Never => false,
        };
        let config = if offers {
            &self.config
        } else {
            &self.plain_config
        };
        Arc::clone(config)
    }

    /// Writes the request of this backend for a client that asks for an upgrade
    /// to `version`. `client` becomes the one that trusted proxies name.
    pub(super) fn dial(
        &self,
        request: &Request<'_>,
        version: &Version,
        client: &mut ClientAddress,
    ) -> Result<(BackendDial, ClientAgreement), AnyRefusal> {
        let hops = self.pass_hop(request)?;
        let (forwarded, introduction) = self.introduce(request, client);
        let public_url = forwarded.public_url();
        let (subprotocols, coding, agreement) = self.agree(request, version)?;
        let subprotocols = subprotocols.into_iter().map(str::to_owned).collect();
        let mut passed = passed_headers(request, &self.pass_headers)?;
        passed.push((CDN_LOOP.to_owned(), hops));
        let asked = Asked::Upgrade(Box::new(Upgrade {
            version: self.version,
            config: self.config_for(request),
            target: request.target().to_owned(),
            path: request.path().to_owned(),
            origin: request.origin().map(str::to_owned),
            subprotocols,
            headers: forwarded.headers,
            passed,
            public_host: forwarded.host,
        }));
        let (course, mut first) = self.course(asked, introduction, client)?;
        // An upgrade makes a connection.
        let conn = first.conn.take().ok_or(NetRefusal::BackendUnreachable)?;
        let carries = Carries::Messages {
            conn,
            coding,
            public_url,
        };
        Ok((dial_of(course, first, carries), agreement))
    }

    /// Sends this backend a request of plain HTTP as it is, but for the headers by
    /// which proxies name the client. `client` becomes the one that trusted
    /// proxies name.
    pub(super) fn relay(
        &self,
        request: &Request<'_>,
        client: &mut ClientAddress,
    ) -> Result<BackendDial, AnyRefusal> {
        let hops = self.pass_hop(request)?;
        let (forwarded, introduction) = self.introduce(request, client);
        let mut output = Vec::new();
        let head = request.head();
        write_relayed(head, &forwarded, &hops, &mut output);
        let (course, first) = self.course(Asked::Octets(output), introduction, client)?;
        let received = head.raw().len() as u64;
        Ok(dial_of(course, first, Carries::Octets { received }))
    }

    /// The way of a client through its servers, and the first one that is tried.
    fn course(
        &self,
        asked: Asked,
        introduction: Vec<u8>,
        client: &ClientAddress,
    ) -> Result<(Course, Try), AnyRefusal> {
        let way = Way {
            resolver: self.resolver.clone(),
            client_tls: self.tls.clone(),
            introduction,
        };
        let order = self.targets.order(client.address.ip());
        Course::begin(&self.targets, order, asked, way)
    }

    /// What a check sends to this server of it: a request for an upgrade, where it
    /// is to be more than a connection.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked.
    pub(super) fn check(&self, url: &Url) -> Result<Try, AnyRefusal> {
        let client = ClientAddress::from(PeerAddress::Unix);
        let introduction = self
            .send_proxy
            .map(|version| proxy::write(version, &client));
        let way = Way {
            resolver: self.resolver.clone(),
            client_tls: self.tls.clone(),
            introduction: introduction.unwrap_or_default(),
        };
        let own = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let asked = match self.targets.options.check {
            Check::WebSocket => Asked::Upgrade(Box::new(Upgrade {
                version: self.version,
                config: Arc::clone(&self.plain_config),
                target: "/".to_owned(),
                path: "/".to_owned(),
                origin: None,
                subprotocols: Vec::new(),
                headers: Vec::new(),
                passed: vec![
                    own(CDN_LOOP, &self.hop.alone()),
                    own("User-Agent", b"heirloom"),
                ],
                public_host: None,
            })),
            Check::Off | Check::Tcp => Asked::Octets(Vec::new()),
        };
        way.to(url, &asked)
    }

    /// The gateways that a request has passed, with this one.
    fn pass_hop(&self, request: &Request<'_>) -> Result<Vec<u8>, NetRefusal> {
        static LOOPS: SharedLimiter = SharedLimiter::new();
        self.hop.after(request.head()).inspect_err(|_| {
            if LOOPS.again() {
                let to = self.targets.get(0).map_or("", |target| target.name());
                log::warn!(
                    target: "heirloom::net",
                    "a request has come back to the gateway, or has passed too many: the backend \
                     {to} leads to the gateway itself"
                );
            }
        })
    }

    /// What is known of the client, and the PROXY header that names it where the
    /// backend wants one.
    fn introduce(&self, request: &Request<'_>, client: &mut ClientAddress) -> (Forwarded, Vec<u8>) {
        let forwarded = Forwarded::of(request, client, &self.trusted);
        let output = match self.send_proxy {
            // The address that it connected to is known wherever a PROXY header
            // can be.
            Some(version) => proxy::write(version, client),
            None => Vec::new(),
        };
        if let Some(ip) = forwarded
            .client
            .filter(|ip| client.address.ip() != Some(*ip))
        {
            // The port is that of a proxy.
            client.address = SocketAddr::new(ip, 0).into();
        }
        (forwarded, output)
    }

    /// The subprotocols to ask the backend for, how payload is coded, and what
    /// the client gets.
    fn agree<'r>(
        &self,
        request: &'r Request<'_>,
        version: &Version,
    ) -> Result<(Vec<&'r str>, Coding, ClientAgreement), Refusal> {
        let behind = self.version;
        let mut requested: Vec<&str> = request.subprotocols().collect();
        let mut coding = Coding::Plain;
        let mut agreement = ClientAgreement::default();
        if self.binary == Binary::Base64 {
            let asks_base64 = requested.contains(&BASE64);
            let in_front = !version.has_binary() || asks_base64 && !requested.contains(&BINARY);
            coding = match (in_front, behind.has_binary()) {
                (true, true) => Coding::Decode,
                (false, false) => Coding::Encode,
                _ => Coding::Plain,
            };
            if asks_base64 && in_front {
                agreement.subprotocol = Some(BASE64);
                requested = vec![if behind.has_binary() { BINARY } else { BASE64 }];
            } else if asks_base64 && coding == Coding::Encode {
                agreement.subprotocol = Some(BINARY);
                requested = vec![BASE64];
            }
        }
        agreement.insists = version.has_opaque_subprotocol()
            && !requested.is_empty()
            && agreement.subprotocol.is_none();
        if behind.has_opaque_subprotocol() {
            // It must repeat the whole of what it was asked for.
            requested.truncate(1);
        } else if version.has_opaque_subprotocol() && requested.iter().any(|name| !is_token(name)) {
            return Err(Refusal::SubprotocolUnknown);
        }
        Ok((requested, coding, agreement))
    }
}

/// To this server first, and then by this course.
fn dial_of(course: Course, first: Try, carries: Carries) -> BackendDial {
    BackendDial {
        endpoint: first.endpoint,
        resolver: first.resolver,
        tls: first.tls,
        introduction: first.introduction,
        output: first.output,
        carries,
        course: Some(Box::new(course)),
    }
}

/// Writes a head as it was received, with our headers of the client in place of
/// its own.
fn write_relayed(head: &Head<'_>, forwarded: &Forwarded, hops: &[u8], out: &mut Vec<u8>) {
    let raw = head.raw();
    let (lines, end_of_head) = raw.split_at(raw.len() - 2);
    let mut done = 0;
    let is_ours = |name: &str| names_client(name) || name.eq_ignore_ascii_case(CDN_LOOP);
    for header in head.headers().filter(|h| is_ours(h.name)) {
        let line = header.line_at();
        let (before, _) = lines.split_at(line.start);
        out.extend_from_slice(before.split_at(done).1);
        done = line.end + 2;
    }
    out.extend_from_slice(lines.split_at(done).1);
    for (name, value) in &forwarded.headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(CDN_LOOP.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(hops);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(end_of_head);
}

/// Whether a header of this name says who the client is, as only a proxy may.
/// Many backends take `_` in a name for `-`.
fn names_client(name: &str) -> bool {
    let name = name.replace('_', "-");
    let mut names = OF_CLIENT.iter();
    names.any(|own| own.eq_ignore_ascii_case(&name))
}

/// A header that a backend gets as the client sent it.
type PassedHeader = (String, Vec<u8>);

/// The client's headers that a backend gets, with those of these names. All
/// others end here: those of one hop, those of the handshake, and those that only
/// a proxy may write.
fn passed_headers(request: &Request<'_>, more: &[String]) -> Result<Vec<PassedHeader>, NetRefusal> {
    let head = request.head();
    let mut passed: Vec<PassedHeader> = Vec::new();
    // Old clients send an empty one where they have no cookies.
    let cookies: Vec<&[u8]> = head
        .all("Cookie")
        .map(|cookie| cookie.value)
        .filter(|value| !value.trim_ascii().is_empty())
        .collect();
    if !cookies.is_empty() {
        // RFC 9113 section 8.2.3 joins them so.
        passed.push(("Cookie".to_owned(), cookies.join(&b"; "[..])));
    }
    let mut authorizations = head.all("Authorization");
    if let Some(authorization) = authorizations.next() {
        let name = "Authorization";
        if authorizations.next().is_some() {
            return Err(NetRefusal::HeaderNotPassed { name });
        }
        passed.push((name.to_owned(), authorization.value.to_vec()));
    }
    if let Some(agent) = head.get("User-Agent") {
        passed.push(("User-Agent".to_owned(), agent.value.to_vec()));
    }
    for name in more {
        // Those that the client names there are for this hop (RFC 9110 section
        // 7.6.1).
        let is_passed = ALWAYS_PASSED.iter().any(|n| n.eq_ignore_ascii_case(name));
        if !is_passed && !head.has_token("Connection", name) {
            let lines = head.all(name);
            passed.extend(lines.map(|header| (name.clone(), header.value.to_vec())));
        }
    }
    Ok(passed)
}

/// The headers that are passed to every backend.
const ALWAYS_PASSED: [&str; 3] = ["Cookie", "Authorization", "User-Agent"];

/// Headers of one hop (RFC 9110 section 7.6.1), and those that say how long a
/// body is: a request for an upgrade has none.
const OF_ONE_HOP: [&str; 13] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Content-Length",
    "Content-Encoding",
];

/// Headers by which proxies name the client.
const OF_CLIENT: [&str; 4] = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
];

/// Headers that the gateway writes itself.
const WRITTEN: [&str; 7] = [
    "Host",
    "Origin",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    CDN_LOOP,
];

/// Whether this can stand in a list of subprotocols (RFC 6455 section 4.1).
fn is_token(name: &str) -> bool {
    name.bytes()
        .all(|o| o.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&o))
}
