//! A backend that requests lead to: asked in one version, whatever the client
//! speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use super::app::BackendDial;
use super::forwarded::Forwarded;
use super::proxy::{self, ClientAddress, Networks, ProxyVersion};
use super::refusal::{AnyRefusal, NetRefusal};
use super::url::Url;
use crate::bytes::Output;
use crate::conn::{Coding, Config, Conn};
use crate::error::{Refusal, Unsendable};
use crate::handshake::{ClientRequest, Header, Request};
use crate::random::SystemRandom;
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

/// Where a backend is, and how it is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// Its URL. A path in it is asked for whatever the client asked for.
    pub to: Url,
    /// Its addresses, tried in this order.
    pub addresses: Arc<[SocketAddr]>,
    /// The version that is spoken to it.
    pub version: &'static Version,
    /// What to do with binary messages where one side has none.
    pub binary: Binary,
    /// Whether it gets a PROXY header first.
    pub send_proxy: Option<ProxyVersion>,
    /// The peers whose forwarded headers are believed.
    pub trusted: Networks,
    /// The limits of our end as its client.
    pub config: Arc<Config>,
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
    /// A backend at this URL with these addresses, asked in this version.
    #[must_use]
    pub fn new(
        to: Url,
        addresses: impl Into<Arc<[SocketAddr]>>,
        version: &'static Version,
    ) -> Backend {
        Backend {
            to,
            addresses: addresses.into(),
            version,
            binary: Binary::default(),
            send_proxy: None,
            trusted: Networks::default(),
            config: Arc::default(),
        }
    }

    /// With this way to carry binary messages where one side has none.
    #[must_use]
    pub fn with_binary(mut self, binary: Binary) -> Backend {
        self.binary = binary;
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

    /// With these limits of our end as its client.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Arc<Config>>) -> Backend {
        self.config = config.into();
        self
    }

    /// Writes the request of this backend for a client that asks for an upgrade
    /// to `version`. `client` becomes the one that trusted proxies name.
    pub(super) fn dial(
        &self,
        request: &Request<'_>,
        version: &Version,
        client: &mut ClientAddress,
    ) -> Result<(BackendDial, ClientAgreement), AnyRefusal> {
        let forwarded = Forwarded::of(request, client, &self.trusted);
        let public_url = forwarded.public_url();
        let mut output = match self.send_proxy {
            // The address that it connected to is known wherever a PROXY header
            // can be.
            Some(version) => {
                let destination = client.destination.unwrap_or(client.address);
                proxy::write(version, client, destination)
            }
            None => Vec::new(),
        };
        if forwarded.client != client.address.ip() {
            // The port is that of a proxy.
            client.address = SocketAddr::new(forwarded.client, 0);
        }
        let (subprotocols, coding, agreement) = self.agree(request, version)?;
        let target = self.target(request);
        let mut headers = passed_headers(request)?;
        headers.extend(forwarded.headers);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let client_request = ClientRequest::new(&self.to.host, &target)
            .with_secure(self.to.secure)
            .with_origin(request.origin())
            .with_subprotocols(&subprotocols)
            .with_headers(&headers);
        let mut random = SystemRandom;
        let mut out = Output::new(&mut output, &mut random);
        let config = Arc::clone(&self.config);
        let mut conn =
            Conn::client(self.version, &client_request, config, &mut out).map_err(|error| {
                log::debug!(target: "heirloom::net", "cannot ask the backend: {error}");
                match error {
                    Unsendable::Request(refusal) => refusal,
                    _ => Refusal::TargetInvalid { octet: None },
                }
            })?;
        // An old server may go by the headers that name the client's URL, and
        // some take any X-Forwarded-Proto for https.
        let hosts = [Some(&*self.to.host), forwarded.host.as_deref()];
        for host in hosts.into_iter().flatten() {
            for scheme in ["ws", "wss"] {
                conn.allow_location(format!("{scheme}://{host}"));
            }
        }
        let dial = BackendDial {
            addresses: Arc::clone(&self.addresses),
            conn,
            output,
            coding,
            public_url,
        };
        Ok((dial, agreement))
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

    /// What the backend is asked for: the path of its URL, or the client's where
    /// that has none; and the client's query, where the URL has none.
    fn target(&self, request: &Request<'_>) -> String {
        let to = &*self.to.target;
        let query = request.target().split_once('?').map(|(_, query)| query);
        let path = if to == "/" { request.path() } else { to };
        match query {
            Some(query) if !path.contains('?') => format!("{path}?{query}"),
            _ => path.to_owned(),
        }
    }
}

/// The client's headers that a backend gets. All others end here: those of one
/// hop, those of the handshake, and those that only a proxy may write.
fn passed_headers(request: &Request<'_>) -> Result<Vec<(&'static str, String)>, NetRefusal> {
    let head = request.head();
    let mut passed = Vec::new();
    let mut cookies = Vec::new();
    for cookie in head.all("Cookie") {
        let name = "Cookie";
        cookies.push(cookie.text().ok_or(NetRefusal::HeaderNotPassed { name })?);
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
        let text = text.ok_or(NetRefusal::HeaderNotPassed { name })?;
        passed.push((name, text.to_owned()));
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
