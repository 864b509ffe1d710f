//! The app of a table of routes: `serve`, `gateway`, or both on one port.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::address::PeerAddress;
use super::agreement::TlsAgreement;
use super::app::{App, Handle, Incoming, Reply, Summary};
use super::backend::{Backend, ClientAgreement, Http};
use super::lab::{Lab, escaped};
use super::lab_pages::PageEntry;
use super::link_id::LinkId;
use super::page::Page;
use super::proxy::ClientAddress;
use super::recorder::Recorder;
use super::refusal::{AnyRefusal, NetRefusal};
use super::route::{Destination, Route, RouteTable, Router};
use crate::bytes::Escaped;
use crate::error::{Refusal, Violation};
use crate::handshake::Request;
use crate::version::Version;

/// The path of health checks.
const HEALTH: &str = "/healthz";
/// Octets of a handshake that are kept where every one is explained.
const HANDSHAKE: usize = 64 * 1024;
/// Characters of a path that are kept for the log.
const PATH: usize = 1000;
/// One line for each handshake, at level info.
const HANDSHAKES: &str = "heirloom::handshakes";

/// One connection of a client, from its start to its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// The client's address, its own or from trusted proxies.
    pub client: PeerAddress,
    /// What was agreed on with it in TLS, once it has asked for something; `None`
    /// where it speaks none here.
    pub tls: Option<TlsAgreement>,
    /// The path that was asked for, without its query, which may hold secrets;
    /// `None` where no request was accepted as one.
    pub path: Option<&'a str>,
    /// The name of its route, where its request has one.
    pub route: Option<&'a str>,
    /// When it started.
    pub start: SystemTime,
    /// How long it was.
    pub duration: Duration,
    /// How it went and ended.
    pub summary: &'a Summary,
}

/// Gets the record of each connection that has ended.
type AccessLog = Arc<dyn Fn(&AccessRecord<'_>) + Send + Sync>;

/// Gives lines about the server's health.
type Health = Arc<dyn Fn() -> String + Send + Sync>;

/// What the connections of one worker are for, by the table of a [`Router`].
#[derive(Clone)]
pub struct Site {
    router: Router,
    table: Arc<RouteTable>,
    access_log: Option<AccessLog>,
    health: Option<Health>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// What is kept of a connection.
#[derive(Debug, Default)]
pub struct SiteData {
    /// Where it leads, once its request was accepted.
    route: Option<Arc<Route>>,
    /// Boxed, since most connections have none of it.
    details: Option<Box<Details>>,
}

/// What is kept of some connections only.
#[derive(Debug, Default)]
struct Details {
    /// The client, where it is logged or named to a backend.
    client: Option<ConnectedClient>,
    path: Option<Box<str>>,
    /// Its handshake was logged.
    logged: bool,
    /// Keeps its handshake, or what a lab page shows.
    recorder: Option<Recorder>,
    /// The lab page that opened it, and which of its connections it is.
    entry: Option<(Arc<PageEntry>, u64)>,
    /// What was agreed with it before its backend was asked.
    agreement: ClientAgreement,
}

#[derive(Debug)]
struct ConnectedClient {
    address: ClientAddress,
    start: SystemTime,
    instant: Instant,
}

impl Site {
    /// Leads along the routes of this router.
    #[must_use]
    pub fn new(router: &Router) -> Site {
        Site {
            router: router.clone(),
            table: router.table(),
            access_log: None,
            health: None,
        }
    }

    /// With a record of each connection that has ended for `log`, in place of
    /// the log's line for each handshake.
    #[must_use]
    pub fn with_access_log(
        mut self,
        log: impl Fn(&AccessRecord<'_>) + Send + Sync + 'static,
    ) -> Site {
        self.access_log = Some(Arc::new(log));
        self
    }

    /// With these lines, each with its end, behind the first of `/healthz?verbose`.
    #[must_use]
    pub fn with_health(mut self, health: impl Fn() -> String + Send + Sync + 'static) -> Site {
        self.health = Some(Arc::new(health));
        self
    }

    fn explains_all(&self) -> bool {
        let lab = self.table.lab();
        lab.is_some_and(Lab::wants_all)
    }

    /// Whether the addresses of clients are used.
    fn keeps_clients(&self) -> bool {
        self.access_log.is_some()
            || self.table.has_backend()
            || log::log_enabled!(target: HANDSHAKES, log::Level::Info)
            || self.explains_all()
    }

    /// The answer to plain HTTP.
    fn page(&self, route: Option<&Arc<Route>>, request: &Request<'_>) -> Reply {
        match request.method() {
            _ if is_health_check(request) => Reply::Http(self.health_page(route, request)),
            "GET" | "HEAD" => match route.and_then(|route| self.page_of(route, request)) {
                Some(reply) => reply,
                None => Reply::refuse(Refusal::NotFound),
            },
            _ => Reply::refuse(Refusal::MethodNotGet),
        }
    }

    /// The answer to a health check. Like every page of a server it says that it is
    /// not to be kept; a gateway's is without these headers, like its front page.
    fn health_page(&self, route: Option<&Arc<Route>>, request: &Request<'_>) -> Page {
        let is_verbose = request.query() == Some("verbose");
        let more = self.health.as_ref().filter(|_| is_verbose);
        let more = more.map_or_else(String::new, |health| health());
        let page = Page::new("text/plain; charset=utf-8", format!("ok\n{more}"));
        match route.map(|route| route.to()) {
            Some(Destination::Backend(_)) => page,
            _ => page
                .with_header("Content-Security-Policy", "default-src 'none'")
                .with_header("Cache-Control", "no-store"),
        }
    }

    fn page_of(&self, route: &Route, request: &Request<'_>) -> Option<Reply> {
        match route.to() {
            Destination::Lab(lab) => lab.reply(request),
            _ if request.path() != "/" => None,
            Destination::Echo => Some(Reply::Http(self.front_page(route, request))),
            Destination::Backend(_) => {
                let text = "this is a WebSocket gateway: dial it with ws://\n";
                Some(Reply::Http(Page::new("text/plain; charset=utf-8", text)))
            }
            Destination::Topic(_) => None,
        }
    }

    /// A short page, for an echo without a lab.
    fn front_page(&self, route: &Route, request: &Request<'_>) -> Page {
        let host = escaped(request.host());
        let topics: String = self
            .table
            .topic_paths()
            .map(|path| {
                let path = escaped(path);
                format!(
                    "<li><b>ws://{host}{path}</b> is a chat: each text goes to all others</li>\n"
                )
            })
            .collect();
        let versions: String = self
            .table
            .config_of(route)
            .versions
            .iter()
            .map(|v| format!("<li><b>{}</b>: {}</li>\n", v.name, escaped(v.clients)))
            .collect();
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
             <title>heirloom</title></head>\n<body>\n<h1>heirloom</h1>\n\
             <p>A WebSocket server for every version that ever went over a wire.</p>\n\
             <ul>\n<li><b>ws://{host}/</b> sends back what it gets, at any path</li>\n\
             {topics}</ul>\n<p>Versions that are on:</p>\n<ul>\n{versions}</ul>\n\
             </body>\n</html>\n"
        );
        Page::new("text/html; charset=utf-8", page)
            .with_header("Content-Security-Policy", "default-src 'none'")
            .with_header("Cache-Control", "no-store")
    }

    /// Asks a backend for a client.
    fn dial(
        backend: &Backend,
        request: &Request<'_>,
        version: &Version,
        data: &mut SiteData,
    ) -> Result<Reply, AnyRefusal> {
        let details = data.details.get_or_insert_default();
        // All clients of a table with a backend were noted.
        let client = details.client.as_mut().ok_or(NetRefusal::GoingAway)?;
        let (dial, agreement) = backend.dial(request, version, &mut client.address)?;
        details.agreement = agreement;
        Ok(Reply::Bridge(Box::new(dial)))
    }

    /// Sends a backend the plain HTTP of a client.
    fn relay(backend: &Backend, request: &Request<'_>, data: &mut SiteData) -> Reply {
        let details = data.details.get_or_insert_default();
        let Some(client) = &mut details.client else {
            // All clients of a table with a backend were noted.
            return Reply::refuse(NetRefusal::GoingAway);
        };
        match backend.relay(request, &mut client.address) {
            Ok(dial) => Reply::Bridge(Box::new(dial)),
            Err(refusal) => Reply::Refuse(refusal),
        }
    }

    /// Logs how a handshake went, and explains it where every one is.
    fn log_handshake(&self, details: &mut Details, verdict: &str) {
        let Some(client) = &details.client else {
            return;
        };
        if self.access_log.is_some() || std::mem::replace(&mut details.logged, true) {
            return;
        }
        let address = client.address.address;
        log::info!(target: HANDSHAKES, "{address} {verdict}");
        if let (Some(lab), Some(recorder)) = (self.table.lab(), &details.recorder) {
            lab.handshake(&client.address, recorder);
        }
    }

    fn write_access(log: &AccessLog, route: Option<&Route>, details: &Details, summary: &Summary) {
        let Some(client) = &details.client else {
            return;
        };
        let path = details.path.as_deref();
        let is_page = !summary.answered && summary.ended.what == "page";
        if is_page && path == Some(HEALTH) {
            // A balancer asks every second.
            return;
        }
        log(&AccessRecord {
            client: client.address.address,
            tls: client.address.tls,
            path,
            route: route.map(|route| &**route.name()),
            start: client.start,
            duration: client.instant.elapsed(),
            summary,
        });
    }
}

impl SiteData {
    /// The request of a lab page's own connection.
    fn enter_lab(&mut self, lab: &Lab, request: &Request<'_>) {
        if let Some(entry) = lab.entry_of(request) {
            let details = self.details.get_or_insert_default();
            // The rest of it is the page's secret.
            details.path = Some("/lab".into());
            details.connect(entry);
        }
    }

    fn entry(&self) -> Option<(&PageEntry, u64)> {
        let (entry, number) = self.details.as_ref()?.entry.as_ref()?;
        Some((entry, *number))
    }
}

impl Details {
    /// It is the connection of a lab page from now on.
    fn connect(&mut self, entry: Arc<PageEntry>) {
        let (number, recorder) = entry.connect(self.recorder.take());
        self.recorder = Some(recorder);
        self.entry = Some((entry, number));
    }
}

impl App for Site {
    type Data = SiteData;

    fn connected(&mut self, client: &ClientAddress, data: &mut SiteData) {
        if self.keeps_clients() {
            let details = data.details.get_or_insert_default();
            let connected = details.client.get_or_insert_with(|| ConnectedClient {
                address: *client,
                start: SystemTime::now(),
                instant: Instant::now(),
            });
            connected.address = *client;
        }
    }

    fn secured(&mut self, agreement: TlsAgreement, data: &mut SiteData) {
        let details = data.details.as_mut();
        if let Some(client) = details.and_then(|details| details.client.as_mut()) {
            client.address.secure = true;
            client.address.tls = Some(agreement);
        }
    }

    fn recorder(&mut self, data: &mut SiteData) -> Option<Recorder> {
        if self.explains_all() {
            let recorder = Recorder::new(HANDSHAKE);
            data.details.get_or_insert_default().recorder = Some(recorder.clone());
            return Some(recorder);
        }
        data.details.as_mut()?.recorder.take()
    }

    fn request(&mut self, request: &Request<'_>, data: &mut SiteData) -> Reply {
        if let Some(details) = &mut data.details {
            let path: String = request.path().chars().take(PATH).collect();
            details.path = Some(path.into());
        }
        let route = self.table.find(request.head());
        data.route = route.cloned();
        let Some(version) = request.version() else {
            return match relaying_backend(route, request) {
                Some(backend) => {
                    data.route = route.cloned();
                    Site::relay(backend, request, data)
                }
                None => self.page(route, request),
            };
        };
        let Some(route) = route else {
            return Reply::refuse(NetRefusal::NoRoute);
        };
        if let Destination::Backend(backend) = route.to() {
            return Site::dial(backend, request, version, data).unwrap_or_else(Reply::Refuse);
        }
        if let Destination::Lab(lab) = route.to() {
            data.enter_lab(lab, request);
        }
        match request.choose_subprotocol(route.subprotocols()) {
            Ok(chosen) => {
                if let Some((entry, number)) = data.entry() {
                    let chosen = chosen.map(str::to_owned);
                    entry.note(number, |seen| seen.subprotocol = chosen);
                }
                Reply::Accept(chosen.map(str::to_owned))
            }
            Err(refusal) => Reply::refuse(refusal),
        }
    }

    fn refused(&mut self, refusal: AnyRefusal, octets: &[u8], data: &mut SiteData) {
        let Some(entry) = self.table.lab().and_then(|lab| lab.entry_in(octets)) else {
            return;
        };
        data.details.get_or_insert_default().connect(entry);
        if let Some((entry, number)) = data.entry() {
            entry.note(number, |seen| {
                seen.refused = Some(refusal.code());
                if let AnyRefusal::Protocol(Refusal::VersionOff { version, .. }) = refusal {
                    seen.version = Some(version);
                }
            });
        }
    }

    fn backend_accepted(&mut self, subprotocol: Option<&str>, data: &mut SiteData) -> Reply {
        let details = data.details.as_ref();
        let agreement = details.map_or_else(ClientAgreement::default, |d| d.agreement);
        match (agreement.subprotocol, subprotocol) {
            (Some(own), _) => Reply::Accept(Some(own.to_owned())),
            (None, None) if agreement.insists => Reply::refuse(Refusal::SubprotocolUnknown),
            (None, chosen) => Reply::Accept(chosen.map(str::to_owned)),
        }
    }

    fn open(&mut self, link: &mut Handle<'_, Site>) {
        let route = link.data.route.take();
        if let Some(Destination::Topic(topic)) = route.as_deref().map(Route::to) {
            link.subscribe(topic);
        }
        link.data.route = route;
        let version = link.version();
        if let Some((entry, number)) = link.data.entry() {
            entry.note(number, |seen| {
                seen.version = version;
                seen.open = true;
            });
        }
        if let Some(details) = &mut link.data.details {
            let version = version.map_or("no version", |v| v.name);
            let path = details.path.as_deref().unwrap_or_default();
            let verdict = format!("{version} open {}", Escaped::<200>(path));
            self.log_handshake(details, &verdict);
        }
    }

    #[inline(always)]
    fn message(&mut self, incoming: Incoming<'_>, link: &mut Handle<'_, Site>) {
        let route = link.data.route.as_deref().map(Route::to);
        if matches!(route, Some(Destination::Topic(_))) {
            return publish(incoming, link);
        }
        if let Err(error) = link.send_back(incoming) {
            log::debug!("cannot echo: {error}");
        }
    }

    fn needs_input_before_reset(&mut self, data: &mut SiteData) -> bool {
        // What is echoed would not arrive; what a lab page sends is shown.
        let is_echo = matches!(
            data.route.as_deref().map(Route::to),
            Some(Destination::Echo | Destination::Lab(_))
        );
        !is_echo || data.entry().is_some()
    }

    fn route(&self, data: &SiteData) -> Option<Arc<str>> {
        data.route.as_ref().map(|route| Arc::clone(route.name()))
    }

    fn client(&self, data: &SiteData) -> Option<PeerAddress> {
        let client = data.details.as_ref()?.client.as_ref()?;
        Some(client.address.address)
    }

    fn closed(&mut self, _: LinkId, summary: &Summary, data: &mut SiteData) {
        if let Some((entry, number)) = data.entry() {
            entry.note(number, |seen| {
                seen.open = false;
                seen.closed = true;
            });
        }
        let Some(details) = &mut data.details else {
            return;
        };
        if let Some(log) = &self.access_log {
            return Site::write_access(log, data.route.as_deref(), details, summary);
        }
        let version = summary.version.map_or("no version", |v| v.name);
        let what = summary.ended.what;
        if what == "page" || summary.relayed && summary.ended.code.is_none() {
            return;
        }
        let verdict = match summary.ended.code {
            Some(status) => format!("{version} refused {status} {what}"),
            None => format!("{version} not finished: {what}"),
        };
        self.log_handshake(details, &verdict);
    }

    fn is_outdated(&mut self, data: &mut SiteData) -> bool {
        let route = data.route.as_ref();
        route.is_some_and(|route| !self.table.has(route))
    }

    fn reloaded(&mut self) {
        self.table = self.router.table();
    }
}

/// Sends a text to all others of its topic.
#[inline(never)]
fn publish(mut incoming: Incoming<'_>, link: &mut Handle<'_, Site>) {
    let message = incoming.message();
    // Not every subscriber has a version with binary messages.
    let Some(text) = message.as_text() else {
        return link.fail(Violation::BinaryUnwanted);
    };
    let route = link.data.route.take();
    if let Some(Destination::Topic(topic)) = route.as_deref().map(Route::to) {
        link.publish(topic, text);
    }
    link.data.route = route;
}

/// Whether this is a health check, which is always answered by us.
fn is_health_check(request: &Request<'_>) -> bool {
    matches!(request.method(), "GET" | "HEAD") && request.path() == HEALTH
}

/// The backend that gets this request of plain HTTP, if one does.
fn relaying_backend<'r>(
    route: Option<&'r Arc<Route>>,
    request: &Request<'_>,
) -> Option<&'r Backend> {
    match route?.to() {
        Destination::Backend(backend)
            if backend.http == Http::Pass && !is_health_check(request) =>
        {
            Some(backend)
        }
        _ => None,
    }
}
