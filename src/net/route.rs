//! Routes: which requests, by host and path, get which policy, and where they
//! lead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::backend::Backend;
use super::checks;
use super::lab::Lab;
use crate::conn::{Config, Routes};
use crate::handshake::{Head, Header, HostPattern};

/// Where requests lead.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Destination {
    /// Each message is sent back.
    Echo,
    /// Each text is sent to all others that are connected to this topic.
    Topic(Arc<str>),
    /// The lab page, whose connections are echoes.
    Lab(Lab),
    /// Messages are carried to a backend and back.
    Backend(Arc<Backend>),
}

impl Destination {
    /// The topic of this name.
    #[must_use]
    pub fn topic(name: &str) -> Destination {
        Destination::Topic(name.into())
    }

    /// This backend.
    #[must_use]
    pub fn backend(backend: Backend) -> Destination {
        Destination::Backend(Arc::new(backend))
    }
}

/// The paths of a route. They are compared octet by octet with the path that was
/// sent: nothing is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Paths {
    /// This one.
    Exact(String),
    /// This one, and all below it.
    Below(String),
}

impl Paths {
    fn matches(&self, path: &str) -> bool {
        match self {
            Paths::Exact(exact) => path == exact,
            Paths::Below(prefix) => path.strip_prefix(&**prefix).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
            }),
        }
    }

    fn path(&self) -> &str {
        match self {
            Paths::Exact(path) | Paths::Below(path) => path,
        }
    }

    /// Of two that match, the longer one wins, and of equals the exact one.
    fn precision(&self) -> (usize, bool) {
        match self {
            Paths::Exact(exact) => (exact.len(), true),
            Paths::Below(prefix) => (prefix.len(), false),
        }
    }
}

/// A row of the table: which requests, by which policy, lead where.
#[derive(Clone, Debug)]
pub struct Route {
    /// `None` where it is for any.
    hosts: Option<Vec<HostPattern>>,
    name: Arc<str>,
    paths: Paths,
    config: Option<Arc<Config>>,
    subprotocols: Arc<[String]>,
    to: Destination,
}

impl Route {
    /// Requests for this path, of any host.
    #[must_use]
    pub fn exact(path: &str, to: Destination) -> Route {
        Route::of(Paths::Exact(path.to_owned()), to)
    }

    /// Requests for this path and all below it, of any host. `/app` has `/app`
    /// and `/app/x`, but not `/apple`; `/` has all paths.
    #[must_use]
    pub fn below(path: &str, to: Destination) -> Route {
        Route::of(Paths::Below(path.to_owned()), to)
    }

    fn of(paths: Paths, to: Destination) -> Route {
        Route {
            hosts: None,
            name: paths.path().into(),
            paths,
            config: None,
            subprotocols: Arc::from([]),
            to,
        }
    }

    /// Only for this host, such as `example.com`, with any port, or `example.com:8076`,
    /// or for those below one, such as `*.example.com`. It comes before routes for any
    /// host. A text that is no host is for none.
    #[must_use]
    pub fn with_host(self, host: &str) -> Route {
        self.with_hosts([host])
    }

    /// Only for these hosts.
    #[must_use]
    pub fn with_hosts<S: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = S>) -> Route {
        let hosts: Vec<S> = hosts.into_iter().collect();
        let names: Vec<&str> = hosts.iter().map(AsRef::as_ref).collect();
        let names = names.join(",").to_ascii_lowercase();
        self.name = format!("{names}{}", self.paths.path()).into();
        let patterns = hosts
            .iter()
            .filter_map(|host| HostPattern::read(host.as_ref()));
        self.hosts = Some(patterns.collect());
        self
    }

    /// Its name: its hosts, where it has some, and its path, as they were configured.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// With versions, origins, limits and public URL of its own.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Route {
        self.config = Some(config.into());
        self
    }

    /// With these subprotocols, where it does not lead to a backend.
    #[must_use]
    pub fn with_subprotocols(mut self, subprotocols: impl Into<Arc<[String]>>) -> Route {
        self.subprotocols = subprotocols.into();
        self
    }

    pub(super) fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    pub(super) fn to(&self) -> &Destination {
        &self.to
    }

    /// The topic at this very path, if it leads to one.
    fn exact_topic(&self) -> Option<&str> {
        match (&self.paths, &self.to) {
            (Paths::Exact(path), Destination::Topic(_)) => Some(path),
            _ => None,
        }
    }
}

/// A route in the order of the table: once for each of its hosts.
#[derive(Clone, Debug)]
struct Ranked {
    host: Option<HostPattern>,
    route: Arc<Route>,
}

impl Ranked {
    fn matches(&self, host: &str, path: &str) -> bool {
        let mut own = self.host.iter();
        self.route.paths.matches(path) && own.all(|own| own.matches(host))
    }

    /// Whether it comes before another one where both match.
    fn comes_before(&self, other: &Ranked) -> bool {
        let precision = |ranked: &Ranked| {
            let host = ranked.host.as_ref().map(HostPattern::precision);
            (host, ranked.route.paths.precision())
        };
        precision(self) >= precision(other)
    }
}

/// The routes of a server, and the configuration of requests without a route.
///
/// ```
/// use heirloom::net::{Destination, Route, RouteTable};
/// use heirloom::{Config, Versions};
///
/// let old = Config::default().with_versions(Versions::ALL);
/// let table = RouteTable::new(Config::default())
///     .with(Route::exact("/chat", Destination::topic("chat")))
///     .with(Route::below("/old", Destination::Echo).with_config(old));
/// ```
#[derive(Clone, Debug)]
pub struct RouteTable {
    config: Config,
    /// In the order in which they were given.
    routes: Vec<Arc<Route>>,
    /// The same, those first that come first where several match.
    ranked: Vec<Ranked>,
    /// The first one that leads to the lab.
    lab: Option<Arc<Route>>,
    /// A route leads to a backend.
    has_backend: bool,
    /// A route is for one host only.
    has_hosts: bool,
    /// A route has a configuration of its own.
    has_configs: bool,
}

impl RouteTable {
    /// A table without routes. `config` applies until a request's route is
    /// known, and where that has none of its own.
    #[must_use]
    pub fn new(config: Config) -> RouteTable {
        RouteTable {
            config,
            routes: Vec::new(),
            ranked: Vec::new(),
            lab: None,
            has_backend: false,
            has_hosts: false,
            has_configs: false,
        }
    }

    /// With this route. Of those that match a request, one for its host comes
    /// before one for hosts below a name, the longest name first, and that before one
    /// for any host; then the longest path wins, then the exact one, then the first.
    #[must_use]
    pub fn with(self, route: Route) -> RouteTable {
        self.with_shared(Arc::new(route))
    }

    /// The same with a route that another table may have too: connections that it
    /// accepted there are not outdated by this table.
    #[must_use]
    pub fn with_shared(mut self, route: Arc<Route>) -> RouteTable {
        self.has_hosts |= route.hosts.is_some();
        self.has_configs |= route.config.is_some();
        self.has_backend |= matches!(route.to, Destination::Backend(_));
        if self.lab.is_none() && matches!(route.to, Destination::Lab(_)) {
            self.lab = Some(Arc::clone(&route));
        }
        let hosts = match &route.hosts {
            Some(hosts) => hosts.iter().cloned().map(Some).collect(),
            None => vec![None],
        };
        for host in hosts {
            let route = Arc::clone(&route);
            let ranked = Ranked { host, route };
            let rank = self
                .ranked
                .partition_point(|other| other.comes_before(&ranked));
            self.ranked.insert(rank, ranked);
        }
        self.routes.push(route);
        self
    }

    /// Its routes, in the order in which they were given.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Whether it has this very route.
    pub(super) fn has(&self, route: &Arc<Route>) -> bool {
        self.routes.iter().any(|own| Arc::ptr_eq(own, route))
    }

    /// The route of this request.
    pub(super) fn find(&self, head: &Head<'_>) -> Option<&Arc<Route>> {
        let host = if self.has_hosts {
            head.get("Host").and_then(Header::text)
        } else {
            None
        };
        let (host, path) = (host.unwrap_or(""), head.path());
        let found = self.ranked.iter().find(|ranked| ranked.matches(host, path));
        found.map(|ranked| &ranked.route)
    }

    /// What applies to requests of this route.
    pub(super) fn config_of<'t>(&'t self, route: &'t Route) -> &'t Config {
        route.config.as_deref().unwrap_or(&self.config)
    }

    /// The paths that lead to a topic each.
    pub(super) fn topic_paths(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| route.exact_topic())
    }

    /// The topics that its routes lead to, each with the most octets of a text that
    /// one of these routes takes.
    #[must_use]
    pub fn topics(&self) -> BTreeMap<&str, u64> {
        let mut topics = BTreeMap::new();
        for route in &self.routes {
            if let Destination::Topic(topic) = &route.to {
                let octets = self.config_of(route).limits.message_bytes;
                let most = topics.entry(&**topic).or_default();
                *most = octets.max(*most);
            }
        }
        topics
    }

    /// The lab, if a route leads there.
    pub(super) fn lab(&self) -> Option<&Lab> {
        match &self.lab.as_ref()?.to {
            Destination::Lab(lab) => Some(lab),
            _ => None,
        }
    }

    /// The backends that its routes lead to.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.routes.iter().filter_map(|route| match &route.to {
            Destination::Backend(backend) => Some(backend),
            _ => None,
        })
    }

    /// The backends, each with the name of its route.
    pub(super) fn named_backends(&self) -> impl Iterator<Item = (&str, &Backend)> {
        self.routes.iter().filter_map(|route| match &route.to {
            Destination::Backend(backend) => Some((&**route.name(), &**backend)),
            _ => None,
        })
    }

    /// Whether a route leads to a backend.
    pub(super) fn has_backend(&self) -> bool {
        self.has_backend
    }
}

impl Routes for RouteTable {
    fn config_for(&self, head: &Head<'_>) -> Option<Arc<Config>> {
        if !self.has_configs {
            return None;
        }
        self.find(head)?.config.clone()
    }
}

/// A table of routes that can be replaced while a server runs.
#[derive(Clone, Debug)]
pub struct Router(Arc<Mutex<Arc<RouteTable>>>);

impl Router {
    /// Routes by this table.
    #[must_use]
    pub fn new(table: RouteTable) -> Router {
        table.backends().for_each(checks::watch);
        Router(Arc::new(Mutex::new(Arc::new(table))))
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Arc<RouteTable> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the table. A server gets the new one by
    /// [`Reloader::reload`](super::Reloader::reload) with [`Router::config`].
    pub fn replace(&self, table: RouteTable) {
        let new = Arc::new(table);
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, Arc::clone(&new));
        drop(current);
        // Connections may keep a backend for long after its route is gone.
        for backend in old.backends() {
            if !new.backends().any(|other| Arc::ptr_eq(other, backend)) {
                backend.targets.end_watch();
            }
        }
        new.backends().for_each(checks::watch);
    }

    /// The configuration for a [`Server`](super::Server): it looks requests up in
    /// the table.
    #[must_use]
    pub fn config(&self) -> Config {
        let table = self.table();
        table.config.clone().with_routes(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topic that this request leads to.
    fn found(table: &RouteTable, host: &str, path: &str) -> Option<String> {
        let octets = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let head = Head::request(octets.as_bytes(), 100, &[]).expect("a head");
        match &table.find(&head)?.to {
            Destination::Topic(name) => Some((**name).to_owned()),
            other => panic!("{other:?}"),
        }
    }

    fn table(routes: impl IntoIterator<Item = Route>) -> RouteTable {
        let table = RouteTable::new(Config::default());
        routes.into_iter().fold(table, RouteTable::with)
    }

    #[test]
    fn the_longest_path_wins_and_an_exact_one_before_a_prefix() {
        let table = table([
            Route::below("/", Destination::topic("all")),
            Route::below("/app", Destination::topic("app")),
            Route::below("/app/deep/", Destination::topic("deep")),
            Route::exact("/app", Destination::topic("exact")),
            Route::exact("/app", Destination::topic("late")),
        ]);
        for (path, topic) in [
            ("/", "all"),
            ("/apple", "all"),
            ("/app", "exact"),
            ("/app?query=/app/deep/", "exact"),
            ("/app/", "app"),
            ("/app/x", "app"),
            ("/app/deep", "app"),
            ("/app/deep/", "deep"),
            ("/app/deep/x", "deep"),
            ("/%61pp", "all"),
            ("http://h/app", "exact"),
        ] {
            assert_eq!(found(&table, "h", path).as_deref(), Some(topic), "{path}");
        }
    }

    #[test]
    fn a_route_for_the_host_comes_before_one_for_any() {
        let table = table([
            Route::below("/long/path", Destination::topic("any")),
            Route::below("/", Destination::topic("a")).with_host("A.example"),
            Route::below("/", Destination::topic("a81")).with_host("a.example:81"),
        ]);
        for (host, topic) in [
            ("a.example", Some("a")),
            ("a.EXAMPLE:8076", Some("a")),
            ("a.example:81", Some("a81")),
            ("b.example", Some("any")),
            ("xa.example", Some("any")),
        ] {
            let found = found(&table, host, "/long/path");
            assert_eq!(found.as_deref(), topic, "{host}");
        }
        assert_eq!(found(&table, "a.example", "/"), Some("a".to_owned()));
        assert_eq!(found(&table, "b.example", "/"), None);
    }

    #[test]
    fn the_longest_pattern_of_a_host_wins_and_a_host_before_it() {
        let hosts = |name: &str, hosts: &[&str]| {
            Route::below("/", Destination::topic(name)).with_hosts(hosts)
        };
        let table = table([
            hosts("wide", &["*.example", "other.test"]),
            hosts("deep", &["*.b.example"]),
            hosts("one", &["x.b.example", "[::1]"]),
            hosts("none", &["no host"]),
            Route::below("/longer", Destination::topic("any")),
        ]);
        for (host, topic) in [
            ("a.example", Some("wide")),
            ("other.test:99", Some("wide")),
            ("b.example", Some("wide")),
            ("a.b.example", Some("deep")),
            ("x.b.example.", Some("one")),
            ("[::1]:8076", Some("one")),
            ("example", Some("any")),
        ] {
            let found = found(&table, host, "/longer");
            assert_eq!(found.as_deref(), topic, "{host}");
        }
        assert_eq!(found(&table, "example", "/"), None);
    }

    #[test]
    fn each_topic_is_told_once_with_the_most_that_a_route_of_it_takes() {
        let limit = |octets| {
            let limits = crate::conn::Limits::default().with_message_bytes(octets);
            Config::default().with_limits(limits)
        };
        let routes = [
            Route::exact("/a", Destination::topic("room")).with_config(limit(7)),
            Route::exact("/b", Destination::topic("room")).with_config(limit(9)),
            Route::exact("/c", Destination::topic("small")),
            Route::below("/", Destination::Echo),
        ];
        let table = RouteTable::new(limit(5));
        let table = routes.into_iter().fold(table, RouteTable::with);
        let told: Vec<_> = table.topics().into_iter().collect();
        assert_eq!(told, [("room", 9), ("small", 5)]);
    }

    #[test]
    fn the_policy_of_a_request_is_that_of_its_route() {
        let limits = crate::conn::Limits::default().with_message_bytes(7);
        let own = Config::default().with_limits(limits);
        let table = table([
            Route::below("/own", Destination::Echo).with_config(own),
            Route::below("/", Destination::Echo),
        ]);
        let config = |path: &str| {
            let octets = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            let head = Head::request(octets.as_bytes(), 100, &[]).expect("a head");
            let config = table.config_for(&head)?;
            Some(config.limits.message_bytes)
        };
        assert_eq!(config("/own/x"), Some(7));
        assert_eq!(config("/"), None, "that of the connection goes on");
    }
}
