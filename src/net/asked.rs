//! What a client asks its backend for: written once for each server that is tried.

use std::sync::Arc;

use super::refusal::AnyRefusal;
use super::url::Url;
use crate::bytes::Output;
use crate::conn::{Config, Conn};
use crate::error::{Refusal, Unsendable};
use crate::handshake::{CarriedHeader, ClientRequest};
use crate::random::SystemRandom;
use crate::version::Version;

/// What a request asks a backend for.
#[derive(Debug)]
pub(super) enum Asked {
    /// An upgrade.
    Upgrade(Box<Upgrade>),
    /// Plain HTTP: these octets, whichever server gets them.
    Octets(Vec<u8>),
}

/// A request for an upgrade, without the server that gets it.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The version that is asked for.
    pub(super) version: &'static Version,
    /// That of our end as the backend's client.
    pub(super) config: Arc<Config>,
    /// What the client has asked for, and the path of that.
    pub(super) target: String,
    pub(super) path: String,
    pub(super) origin: Option<String>,
    pub(super) subprotocols: Vec<String>,
    /// The headers that name the client.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Further headers of the client, and those that only carry.
    pub(super) passed: Vec<(String, Vec<u8>)>,
    /// The host that the client named.
    pub(super) public_host: Option<String>,
}

impl Upgrade {
    /// Writes it for this server.
    ///
    /// # Errors
    ///
    /// What no server would take.
    pub(super) fn write(&self, to: &Url) -> Result<(Conn, Vec<u8>), AnyRefusal> {
        let target = self.target_at(to);
        let subprotocols: Vec<&str> = self.subprotocols.iter().map(|name| &**name).collect();
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let passed: Vec<CarriedHeader<'_>> =
            self.passed.iter().map(|(n, v)| (&**n, &**v)).collect();
        let request = ClientRequest::new(&to.host, &target)
            .with_secure(to.secure)
            .with_origin(self.origin.as_deref())
            .with_subprotocols(&subprotocols)
            .with_headers(&headers)
            .with_carried(&passed);
        let mut octets = Vec::new();
        let mut random = SystemRandom;
        let mut out = Output::new(&mut octets, &mut random);
        let config = Arc::clone(&self.config);
        let mut conn = Conn::client(self.version, &request, config, &mut out).map_err(|error| {
            log::debug!(target: "heirloom::net", "cannot ask the backend: {error}");
            match error {
                Unsendable::Request(refusal) => refusal,
                _ => Refusal::TargetInvalid { octet: None },
            }
        })?;
        // An old server may go by the headers that name the client's URL, and
        // some take any X-Forwarded-Proto for https.
        let hosts = [Some(&*to.host), self.public_host.as_deref()];
        for host in hosts.into_iter().flatten() {
            for scheme in ["ws", "wss"] {
                conn.allow_location(format!("{scheme}://{host}"));
            }
        }
        Ok((conn, octets))
    }

    /// What a server is asked for: the path of its URL, or the client's where that
    /// has none; and the client's query, where the URL has none.
    fn target_at(&self, to: &Url) -> String {
        let query = self.target.split_once('?').map(|(_, query)| query);
        let path = if to.target == "/" {
            &self.path
        } else {
            &to.target
        };
        match query {
            Some(query) if !path.contains('?') => format!("{path}?{query}"),
            _ => path.clone(),
        }
    }
}
