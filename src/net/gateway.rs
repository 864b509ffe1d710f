//! `gateway`: any version in front, one version behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{
    App, BackendDial, ClientAddress, Forwarded, HEALTH, LinkId, Networks, ProxyVersion, Reply,
    Summary, SystemRandom, Url, http_reply, proxy_header,
};
use crate::bytes::Output;
use crate::conn::{Coding, Config, Conn};
use crate::error::{Refusal, Unsendable};
use crate::handshake::{ClientRequest, Header, Request};
use crate::version::Version;

/// The subprotocols by which websockify and its clients agree on how octets
/// travel.
const BASE64: &str = "base64";
const BINARY: &str = "binary";

/// Characters of a path that are kept for the log.
const PATH: usize = 1000;

/// What becomes of binary messages where one side has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binary {
    /// Whoever sends one is told goodbye with 1003.
    #[default]
    Refuse,
    /// A side without binary messages talks base64, and so does a client that
    /// asks for the subprotocol `base64`: every text of it holds octets.
    Base64,
}

/// Where a gateway leads.
#[derive(Clone, Debug)]
pub struct Route {
    /// The backend. A path in it is asked for whatever the client asked for.
    pub to: Url,
    /// Its addresses, tried in this order.
    pub addresses: Arc<[SocketAddr]>,
    /// The version that is spoken to it.
    pub version: &'static Version,
    /// What becomes of binary messages where one side has none.
    pub binary: Binary,
    /// Whether it gets a PROXY header first.
    pub send_proxy: Option<ProxyVersion>,
    /// Whose forwarded headers are believed.
    pub trusted: Networks,
    /// The limits of our end as its client.
    pub config: Arc<Config>,
}

/// One connection of a client, from its begin to its end.
#[derive(Debug)]
pub struct AccessRecord<'a> {
    /// Who it was: the address of TCP, or what trusted proxies say.
    pub client: SocketAddr,
    /// The path that was asked for, without its query, which may hold secrets;
    /// `None` where no request was understood.
    pub path: Option<&'a str>,
    /// When it began.
    pub start: SystemTime,
    /// How long it was.
    pub duration: Duration,
    /// How it went and ended.
    pub summary: &'a Summary,
}

/// A gateway's part in the connections of one worker.
#[derive(Debug)]
pub struct Gateway<L> {
    route: Arc<Route>,
    log: L,
}

/// What is kept of a connection.
#[derive(Debug, Default)]
pub struct ConnectionData {
    connected: Option<ConnectedClient>,
    path: Option<Box<str>>,
    /// The subprotocol that the client gets, whatever the backend is asked for:
    /// how octets travel is agreed with each by itself.
    client_subprotocol: Option<&'static str>,
    /// The client does not go on without the subprotocol it asked for.
    insists: bool,
}

#[derive(Debug)]
struct ConnectedClient {
    client: ClientAddress,
    start: SystemTime,
    instant: Instant,
}

impl<L: FnMut(&AccessRecord<'_>)> Gateway<L> {
    /// Leads along this route, and tells `log` of each visit that has ended.
    pub fn new(route: Arc<Route>, log: L) -> Gateway<L> {
        Gateway { route, log }
    }

    fn dial(
        &self,
        request: &Request<'_>,
        data: &mut ConnectionData,
    ) -> Result<BackendDial, Refusal> {
        let route = &*self.route;
        let version = request.version().ok_or(Refusal::UpgradeMissing)?;
        let client = &mut data.connected.as_mut().ok_or(Refusal::GoingAway)?.client;
        let forwarded = Forwarded::of(request, client, &route.trusted);
        let public_url = forwarded.public_url();
        let proxy_header_first = route.send_proxy.map(|version| {
            // Where it connected to is known wherever a PROXY header can be.
            let destination = client.destination.unwrap_or(client.address);
            proxy_header(version, client, destination)
        });
        if forwarded.client != client.address.ip() {
            // The port is that of a proxy.
            client.address = SocketAddr::new(forwarded.client, 0);
        }

        let mut headers = passed_headers(request)?;
        headers.extend(forwarded.headers);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let (subprotocols, coding) = self.agree_on(request, version, data)?;
        let target = self.target(request);
        let client_request = ClientRequest {
            host: &route.to.host,
            target: &target,
            secure: route.to.secure,
            origin: request.origin(),
            subprotocols: &subprotocols,
            headers: &headers,
        };
        let mut output = proxy_header_first.unwrap_or_default();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut output, &mut random);
        let config = Arc::clone(&route.config);
        let mut conn =
            Conn::client(route.version, &client_request, config, &mut out).map_err(|error| {
                log::debug!(target: "heirloom::net", "cannot ask the backend: {error}");
                match error {
                    Unsendable::Request(refusal) => refusal,
                    _ => Refusal::TargetInvalid,
                }
            })?;
        // An old server may go by the headers that name the client's URL, and
        // some take any X-Forwarded-Proto for https.
        let hosts = [Some(&*route.to.host), forwarded.host.as_deref()];
        for host in hosts.into_iter().flatten() {
            for scheme in ["ws", "wss"] {
                conn.allow_location(format!("{scheme}://{host}"));
            }
        }
        Ok(BackendDial {
            addresses: Arc::clone(&route.addresses),
            conn,
            output,
            coding,
            public_url,
        })
    }

    /// The subprotocols to ask the backend for, and what becomes of octets.
    fn agree_on<'r>(
        &self,
        request: &'r Request<'_>,
        version: &Version,
        data: &mut ConnectionData,
    ) -> Result<(Vec<&'r str>, Coding), Refusal> {
        let behind = self.route.version;
        let mut requested: Vec<&str> = request.subprotocols().collect();
        let mut coding = Coding::Plain;
        if self.route.binary == Binary::Base64 {
            let asks_base64 = requested.contains(&BASE64);
            let in_front = !version.has_binary() || asks_base64 && !requested.contains(&BINARY);
            coding = match (in_front, behind.has_binary()) {
                (true, true) => Coding::Decode,
                (false, false) => Coding::Encode,
                _ => Coding::Plain,
            };
            if asks_base64 && in_front {
                data.client_subprotocol = Some(BASE64);
                requested = vec![if behind.has_binary() { BINARY } else { BASE64 }];
            } else if asks_base64 && coding == Coding::Encode {
                data.client_subprotocol = Some(BINARY);
                requested = vec![BASE64];
            }
        }
        data.insists = version.has_opaque_subprotocol()
            && !requested.is_empty()
            && data.client_subprotocol.is_none();
        if behind.has_opaque_subprotocol() {
            // It must say back the whole of what it was asked.
            requested.truncate(1);
        } else if version.has_opaque_subprotocol() && requested.iter().any(|name| !is_token(name)) {
            return Err(Refusal::SubprotocolUnknown);
        }
        Ok((requested, coding))
    }

    /// What the backend is asked for: the path of the route, or the client's
    /// where it has none; and the client's query, where the route has none.
    fn target(&self, request: &Request<'_>) -> String {
        let to = &*self.route.to.target;
        let query = request.target().split_once('?').map(|(_, query)| query);
        let path = if to == "/" { request.path() } else { to };
        match query {
            Some(query) if !path.contains('?') => format!("{path}?{query}"),
            _ => path.to_owned(),
        }
    }
}

impl<L: FnMut(&AccessRecord<'_>)> App for Gateway<L> {
    type Data = ConnectionData;

    fn connected(&mut self, client: &ClientAddress, data: &mut ConnectionData) {
        let connected = data.connected.get_or_insert_with(|| ConnectedClient {
            client: *client,
            start: SystemTime::now(),
            instant: Instant::now(),
        });
        connected.client = *client;
    }

    fn request(&mut self, request: &Request<'_>, data: &mut ConnectionData) -> Reply {
        let path: String = request.path().chars().take(PATH).collect();
        data.path = Some(path.into());
        if request.version().is_none() {
            return http_reply(request, "text/plain; charset=utf-8", Vec::new(), || {
                "this is a WebSocket gateway: dial it with ws://\n".to_owned()
            });
        }
        match self.dial(request, data) {
            Ok(dial) => Reply::Bridge(Box::new(dial)),
            Err(refusal) => Reply::Refuse(refusal),
        }
    }

    fn backend_accepted(&mut self, subprotocol: Option<&str>, data: &mut ConnectionData) -> Reply {
        match subprotocol {
            _ if data.client_subprotocol.is_some() => {
                Reply::Accept(data.client_subprotocol.map(str::to_owned))
            }
            None if data.insists => Reply::Refuse(Refusal::SubprotocolUnknown),
            chosen => Reply::Accept(chosen.map(str::to_owned)),
        }
    }

    fn closed(&mut self, _: LinkId, summary: &Summary, data: &mut ConnectionData) {
        let Some(connected) = &data.connected else {
            return;
        };
        let is_page = !summary.answered && summary.ended.what == "page";
        if is_page && data.path.as_deref() == Some(HEALTH) {
            // A balancer asks every second.
            return;
        }
        (self.log)(&AccessRecord {
            client: connected.client.address,
            path: data.path.as_deref(),
            start: connected.start,
            duration: connected.instant.elapsed(),
            summary,
        });
    }
}

/// The client's headers that a backend gets. All others end here: those of one
/// hop, those of the handshake, and those that only a proxy may write.
fn passed_headers(request: &Request<'_>) -> Result<Vec<(&'static str, String)>, Refusal> {
    let head = request.head();
    let mut passed = Vec::new();
    let mut cookies = Vec::new();
    for cookie in head.all("Cookie") {
        let name = "Cookie";
        cookies.push(cookie.text().ok_or(Refusal::HeaderNotPassed { name })?);
    }
    if !cookies.is_empty() {
        // RFC 9113 section 8.2.3 joins them so.
        passed.push(("Cookie", cookies.join("; ")));
    }
    let mut authorizations = head.all("Authorization");
    if let Some(authorization) = authorizations.next() {
        let name = "Authorization";
        let text = authorization
            .text()
            .filter(|_| authorizations.next().is_none());
        passed.push((
            name,
            text.ok_or(Refusal::HeaderNotPassed { name })?.to_owned(),
        ));
    }
    // Nothing depends on it, so an odd one is no reason to refuse.
    if let Some(agent) = head.get("User-Agent").and_then(Header::text) {
        passed.push(("User-Agent", agent.to_owned()));
    }
    Ok(passed)
}

/// Whether this can stand in a list of subprotocols (RFC 6455 section 4.1).
fn is_token(name: &str) -> bool {
    name.bytes()
        .all(|o| o.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&o))
}
