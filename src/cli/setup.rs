//! What a server is made of: its process, its listeners and its routes, as the command
//! line or a configuration file describes them; and what is wrong with it as a whole.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use heirloom::handshake::{Hosts, Origins};
use heirloom::net::lab::Lab;
use heirloom::net::{
    ClientTls, ConnectionStats, Destination, Listen, ListenAt, ListenPolicy, Route, RouteTable,
    ServerTls, Takes, Url,
};
use heirloom::{Config, Versions};

use super::Exit;
use super::lab::Explanations;
use super::listener_args::ListenerArgs;
use super::process_args::GatewayProcessArgs;
use super::route_args::{BridgeArgs, RouteArgs};

/// A server, described.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) process: GatewayProcessArgs,
    pub(super) listeners: Vec<ListenerArgs>,
    pub(super) routes: Vec<RouteSetup>,
    /// One policy is that of all requests, those without a route too.
    pub(super) has_one_policy: bool,
    /// The keys of the process in a file, and the words that they became.
    pub(super) process_words: Vec<(String, String)>,
}

/// A route, described.
#[derive(Clone, Debug)]
pub(super) struct RouteSetup {
    pub(super) paths: PathPattern,
    pub(super) to: To,
    pub(super) subprotocols: Arc<[String]>,
    pub(super) policy: RouteArgs,
    /// How requests are carried, where it leads to a backend.
    pub(super) bridge: Option<BridgeArgs>,
    /// The words that it was made of: with the same ones it is the same route.
    pub(super) identity: String,
}

/// Which paths a route has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathPattern {
    /// This one.
    Exact(String),
    /// This one, and all below it.
    Below(String),
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub(super) enum To {
    Echo,
    Topic(String),
    Lab,
    /// Servers that serve the same; at least one.
    Backend(Vec<Url>),
}

/// Which part of a setup something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Listener(usize),
    Route(usize),
}

/// A mistake in a setup.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) part: Part,
    /// The option that is wrong, without hyphens; empty where it is the part itself.
    pub(super) option: &'static str,
    pub(super) exit: Exit,
    /// A sentence of cause and cure, in which options have their hyphens.
    pub(super) text: String,
}

impl Fault {
    fn usage(part: Part, option: &'static str, text: impl Into<String>) -> Fault {
        Fault {
            part,
            option,
            exit: Exit::Usage,
            text: text.into(),
        }
    }
}

/// A setup whose files have been read.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) setup: Setup,
    /// What each listener shows, where it speaks TLS.
    shown: Vec<Option<ServerTls>>,
    /// Which servers each route trusts, where it dials TLS.
    trusted: Vec<Option<ClientTls>>,
}

/// A route that is in use, and what it was made of.
#[derive(Clone)]
pub(super) struct InUse {
    identity: String,
    route: Arc<Route>,
    pub(super) lab: Option<Lab>,
}

/// What the routes of a running server share.
pub(super) struct Shared {
    /// What the configurations of all routes are made of.
    pub(super) config: Config,
    pub(super) stats: ConnectionStats,
    /// Whether each handshake of a lab is explained.
    pub(super) explains_all: bool,
}

impl Setup {
    /// Reads the files that it names, and finds what only the whole shows. What is
    /// loaded is of use only without a fault.
    pub(super) fn load(self) -> (Loaded, Vec<Fault>) {
        let mut faults = Vec::new();
        self.check_places(&mut faults);
        self.check_routes(&mut faults);
        let mut shown = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            let part = Part::Listener(index);
            shown.push(load_listener(listener, part, &mut faults));
        }
        let mut trusted = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            match route.trusted() {
                Ok(tls) => trusted.push(tls),
                Err((exit, text)) => {
                    let option = route.trust_option(&text);
                    let part = Part::Route(index);
                    faults.push(Fault {
                        part,
                        option,
                        exit,
                        text,
                    });
                }
            }
        }
        let loaded = Loaded {
            setup: self,
            shown,
            trusted,
        };
        (loaded, faults)
    }

    /// Finds places that are given twice.
    fn check_places(&self, faults: &mut Vec<Fault>) {
        let mut seen = BTreeMap::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            for place in listener.places() {
                let is_free_port = place.at.address().is_some_and(|a| a.port() == 0);
                let at = place.at.to_string();
                if !is_free_port && seen.insert(at.clone(), index).is_some() {
                    let option = match place.takes {
                        Takes::FlashPolicy => "flash-policy-listen",
                        _ => "listen",
                    };
                    let text = format!("{at} is listened on twice; give each place once");
                    faults.push(Fault::usage(Part::Listener(index), option, text));
                }
            }
        }
    }

    /// Finds routes that accept nothing, and those that hide one another.
    fn check_routes(&self, faults: &mut Vec<Fault>) {
        let mut seen = BTreeMap::new();
        for (index, route) in self.routes.iter().enumerate() {
            let part = Part::Route(index);
            if route.policy.versions == Versions::NONE {
                let text = "no version is on; see --versions";
                faults.push(Fault::usage(part, "versions", text));
            }
            let contradiction = |bridge: &BridgeArgs| bridge.contradiction(&route.policy);
            if let Some(text) = route.bridge.as_ref().and_then(contradiction) {
                faults.push(Fault::usage(part, "backend-compression", text));
            }
            let hosts = route.policy.hosts();
            let hosts: Vec<String> = match hosts {
                [] => vec![String::new()],
                hosts => hosts.iter().map(|host| without_last_dot(host)).collect(),
            };
            for host in hosts {
                if seen.insert((host.clone(), &route.paths), index).is_some() {
                    let of = match &*host {
                        "" => String::new(),
                        host => format!(" of {host}"),
                    };
                    let text = format!(
                        "a route before this one has {}{of} already, so this one would get no \
                         request; give it another path or host, or leave it out",
                        route.paths
                    );
                    faults.push(Fault::usage(part, "path", text));
                }
            }
        }
    }

    /// The hosts that are answered to: those of all routes, or any where a route has
    /// none.
    fn hosts(&self) -> Hosts {
        let policies = || self.routes.iter().map(|route| &route.policy);
        if policies().any(|policy| policy.hosts().is_empty()) {
            return Hosts::any();
        }
        Hosts::only(policies().flat_map(RouteArgs::hosts))
    }

    /// The versions that a route has on.
    pub(super) fn versions(&self) -> Versions {
        let all = self.routes.iter().map(|route| route.policy.versions);
        all.fold(Versions::NONE, Versions::and)
    }

    /// The origins that may connect, to any route.
    fn origins(&self) -> Origins {
        match &*self.routes {
            [route] => route.policy.origins(),
            routes if routes.iter().any(|r| r.policy.allows_any_origin()) => Origins::any(),
            routes => RouteArgs::all_origins(routes.iter().map(|route| &route.policy)),
        }
    }

    /// Whether pages of any site may connect to a backend.
    pub(super) fn has_open_backend(&self) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.bridge.is_some() && route.policy.allows_any_origin())
    }
}

/// The certificates of a listener.
fn load_listener(
    listener: &ListenerArgs,
    part: Part,
    faults: &mut Vec<Fault>,
) -> Option<ServerTls> {
    let places = listener.places();
    let takes_tls = |place: &Listen| matches!(place.takes, Takes::Tls | Takes::Both);
    match listener.tls.load() {
        Ok(None) => {
            if let Some(only_tls) = places.iter().find(|place| place.takes == Takes::Tls) {
                let at = &only_tls.at;
                let text = format!("tls://{at} needs a certificate; give --tls-cert and --tls-key");
                faults.push(Fault::usage(part, "listen", text));
            }
            None
        }
        Ok(Some(_)) if !places.iter().any(takes_tls) => {
            let text = "--tls-cert is given, and no --listen takes TLS; leave the certificate \
                        out, or listen on ADDR or tls://ADDR";
            faults.push(Fault::usage(part, "tls-cert", text));
            None
        }
        Ok(shown) => shown,
        Err((exit, text)) => {
            let option = if text.starts_with("--tls-legacy") {
                "tls-legacy"
            } else {
                "tls-cert"
            };
            faults.push(Fault {
                part,
                option,
                exit,
                text,
            });
            None
        }
    }
}

impl RouteSetup {
    fn trusted(&self) -> Result<Option<ClientTls>, (Exit, String)> {
        let Some(bridge) = &self.bridge else {
            return Ok(None);
        };
        let is_secure = matches!(&self.to, To::Backend(urls) if urls.iter().any(|url| url.secure));
        let legacy = ("--backend-tls-legacy", bridge.backend_tls_legacy);
        bridge.trust.try_load(is_secure, legacy)
    }

    /// The option that a fault of trust is about.
    fn trust_option(&self, text: &str) -> &'static str {
        let options = ["insecure", "backend-tls-legacy"];
        let named = |option: &&&str| text.starts_with(&format!("--{option} "));
        options.iter().find(named).copied().unwrap_or("ca")
    }

    /// What it was made of, with the content of the files that it names.
    fn identity(&self, shared: &str) -> String {
        let files = self.bridge.iter().flat_map(|bridge| bridge.trust.files());
        let mut hasher = DefaultHasher::new();
        for file in files {
            fs::read(file).ok().hash(&mut hasher);
        }
        format!("{shared}\n{}\n{:x}", self.identity, hasher.finish())
    }

    /// The route, which is not in use yet.
    fn make(
        &self,
        tls: Option<ClientTls>,
        shared: &Shared,
        has_config: bool,
    ) -> (Route, Option<Lab>) {
        let mut config = self.policy.config(shared.config.clone());
        if let Some(bridge) = &self.bridge {
            config = bridge.config(config);
        }
        let mut own_lab = None;
        let to = match (&self.to, &self.bridge) {
            (To::Backend(urls), Some(bridge)) => match bridge.backend(urls, config.clone()) {
                Some(mut backend) => {
                    backend.tls = tls;
                    Destination::backend(backend)
                }
                None => unreachable!("a route to a backend has a URL"),
            },
            (To::Topic(name), _) => Destination::topic(name),
            (To::Lab, _) => {
                let explanations = Explanations {
                    all: shared.explains_all,
                    config: config.clone(),
                };
                let (stats, own) = (shared.stats.clone(), Arc::new(config.clone()));
                let lab = Lab::new(own, stats, Arc::new(explanations));
                own_lab = Some(lab.clone());
                Destination::Lab(lab)
            }
            (To::Echo | To::Backend(_), _) => Destination::Echo,
        };
        let mut route = match &self.paths {
            PathPattern::Exact(path) => Route::exact(path, to),
            PathPattern::Below(path) => Route::below(path, to),
        };
        route = route.with_subprotocols(Arc::clone(&self.subprotocols));
        if has_config {
            route = route.with_config(config);
            if !self.policy.hosts().is_empty() {
                route = route.with_hosts(self.policy.hosts());
            }
        }
        (route, own_lab)
    }
}

impl Loaded {
    /// Where it listens. What Flash players are answered is not known yet.
    pub(super) fn places(&self) -> Vec<Listen> {
        let groups = self.setup.listeners.iter().zip(&self.shown);
        let places = groups.flat_map(|(listener, shown)| {
            let policy = ListenPolicy::default()
                .with_tls(shown.clone())
                .accept_proxy(listener.proxies());
            let policy = Arc::new(policy);
            let mut places = listener.places();
            for place in &mut places {
                place.policy = Arc::clone(&policy);
            }
            places
        });
        places.collect()
    }

    /// The same with what Flash players are answered, where they are: that names the
    /// ports, which are known now.
    pub(super) fn places_with_flash(&self, bound: &[Listen]) -> Option<Vec<Listen>> {
        let mut groups = self.setup.listeners.iter();
        if !groups.any(|listener| listener.flash.are_answered()) {
            return None;
        }
        let mut places = bound.to_vec();
        let origins = self.setup.origins();
        let mut rest = &mut *places;
        for listener in &self.setup.listeners {
            let (own, others) = rest.split_at_mut(listener.places().len().min(rest.len()));
            rest = others;
            if listener.flash.are_answered() {
                let flash = listener.flash.policy(&origins, bound);
                for place in own {
                    let policy = ListenPolicy::clone(&place.policy);
                    place.policy = policy.with_flash_policy(flash.clone()).into();
                }
            }
        }
        Some(places)
    }

    /// The certificates of all listeners.
    pub(super) fn shown(&self) -> Vec<ServerTls> {
        self.shown.iter().flatten().cloned().collect()
    }

    /// The table of its routes. One that is in use already stays as it is.
    pub(super) fn table(&self, shared: &Shared, before: &[InUse]) -> (RouteTable, Vec<InUse>) {
        let setup = &self.setup;
        let config = match &*setup.routes {
            [route, ..] if setup.has_one_policy => {
                let config = route.policy.config(shared.config.clone());
                match &route.bridge {
                    Some(bridge) => bridge.config(config),
                    None => config,
                }
            }
            _ => {
                let config = shared.config.clone().with_hosts(setup.hosts());
                config.with_versions(setup.versions())
            }
        };
        let mut table = RouteTable::new(config);
        let mut in_use = Vec::new();
        let of_all = setup.process.common.of_routes();
        for (route, tls) in setup.routes.iter().zip(&self.trusted) {
            let identity = route.identity(&of_all);
            let same = before.iter().find(|before| before.identity == identity);
            let used = same.cloned().unwrap_or_else(|| {
                let (made, lab) = route.make(tls.clone(), shared, !setup.has_one_policy);
                let route = Arc::new(made);
                InUse {
                    identity,
                    route,
                    lab,
                }
            });
            table = table.with_shared(Arc::clone(&used.route));
            in_use.push(used);
        }
        (table, in_use)
    }

    /// Says what is worth a warning at its start.
    pub(super) fn warn(&self) {
        for listener in &self.setup.listeners {
            listener.tls.warn_of_legacy();
        }
    }
}

impl InUse {
    /// How many of these are not among the others.
    pub(super) fn count_new(these: &[InUse], others: &[InUse]) -> usize {
        let is_among = |one: &&InUse| others.iter().any(|o| Arc::ptr_eq(&o.route, &one.route));
        these.iter().filter(|one| !is_among(one)).count()
    }
}

/// A host as it is compared: in small letters, and without a dot at the end of its name.
fn without_last_dot(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.split_once(".:") {
        Some((name, port)) => format!("{name}:{port}"),
        None => host.strip_suffix('.').unwrap_or(&host).to_owned(),
    }
}

/// hixie has no masks: it is unsafe where a shared cache or a transparent proxy
/// may stand between.
pub(super) fn warn_of_hixie(at: &ListenAt, versions: Versions) {
    let Some(address) = at.address() else {
        return;
    };
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

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathPattern::Exact(path) => write!(f, "={path}"),
            PathPattern::Below(path) => f.write_str(path),
        }
    }
}
