//! A request: what its version lets one know of it.

use super::{Detected, Head, Header, detect, is_authority};
use crate::error::Refusal;
use crate::version::{Version, Versions};

/// A request that was read, with what its version lets one know.
#[derive(Debug)]
pub struct Request<'b> {
    head: Head<'b>,
    version: Option<&'static Version>,
    origin: Option<&'b str>,
}

impl<'b> Request<'b> {
    /// Checks all that needs no policy.
    pub(crate) fn read(head: Head<'b>, on: Versions) -> Result<Request<'b>, Refusal> {
        let version = match detect(&head, on)? {
            Detected::Http => None,
            Detected::Upgrade(version) => Some(version),
        };
        let mut request = Request {
            head,
            version,
            origin: None,
        };
        if let Some(version) = version {
            request.check_target(version)?;
            request.check_body(version)?;
            request.origin = request.read_origin(version)?;
        }
        Ok(request)
    }

    /// The version asked for; `None` for plain HTTP.
    #[must_use]
    pub fn version(&self) -> Option<&'static Version> {
        self.version
    }

    /// The head, to look headers up in.
    #[must_use]
    pub fn head(&self) -> &Head<'b> {
        &self.head
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'b str {
        self.head.first_line()[0]
    }

    /// The target as it was sent.
    #[must_use]
    pub fn target(&self) -> &'b str {
        self.head.first_line()[1]
    }

    /// The path of the target, without query and authority.
    #[must_use]
    pub fn path(&self) -> &'b str {
        let target = self.target();
        // A query may hold a URL of its own, and so may a path.
        let before = target.split('?').next().unwrap_or(target);
        match before.split_once("://") {
            Some((_, rest)) if !before.starts_with('/') => {
                rest.find('/').map_or("/", |i| rest.get(i..).unwrap_or("/"))
            }
            _ => before,
        }
    }

    /// The Host, which was checked to be a host and port; empty in a plain
    /// request without one.
    #[must_use]
    pub fn host(&self) -> &'b str {
        self.head
            .get("Host")
            .and_then(Header::text)
            .filter(|host| is_authority(host.as_bytes()))
            .unwrap_or_default()
    }

    /// The origin, from the header that this version names it in.
    #[must_use]
    pub fn origin(&self) -> Option<&'b str> {
        self.origin
    }

    /// The subprotocols asked for, in order of preference. A hixie client asks
    /// with one opaque string, which is one element here.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let opaque = self.is_opaque();
        self.head
            .all(
                self.version
                    .map_or("Sec-WebSocket-Protocol", Version::subprotocol_header),
            )
            .filter_map(Header::text)
            .flat_map(move |value| {
                let separator = if opaque { '\n' } else { ',' };
                value.split(separator).map(str::trim)
            })
            .filter(|name| !name.is_empty())
    }

    /// Chooses among the subprotocols that are `spoken`, by this version's own
    /// rule: a hixie client does not go on without the one it asked for.
    ///
    /// # Errors
    ///
    /// [`Refusal::SubprotocolUnknown`] where the client would not go on.
    pub fn choose_subprotocol(&self, spoken: &[String]) -> Result<Option<&str>, Refusal> {
        let chosen = self
            .subprotocols()
            .find(|offered| spoken.iter().any(|s| s == offered));
        if chosen.is_none() && self.is_opaque() && self.subprotocols().next().is_some() {
            return Err(Refusal::SubprotocolUnknown);
        }
        Ok(chosen)
    }

    fn is_opaque(&self) -> bool {
        self.version.is_some_and(Version::has_opaque_subprotocol)
    }

    fn check_target(&self, version: &Version) -> Result<(), Refusal> {
        let target = self.target();
        let visible = target.bytes().all(|o| matches!(o, 0x21..=0x7e)) && !target.contains('#');
        let is_path = target.starts_with('/');
        // RFC 6455 section 4.2.1 item 1, since hybi-08.
        let is_uri = version.number >= Some(8)
            && (target.starts_with("http://") || target.starts_with("https://"));
        if visible && (is_path || is_uri) {
            Ok(())
        } else {
            Err(Refusal::TargetInvalid)
        }
    }

    fn check_body(&self, version: &Version) -> Result<(), Refusal> {
        let length = self.head.at_most_one("Content-Length")?.map(|h| h.value);
        let fits = match length {
            None | Some(b"0") => true,
            // Netty's and Perl's clients announce the eight octets.
            Some(b"8") => version.has_body(),
            Some(_) => false,
        };
        if fits && !self.head.has("Transfer-Encoding") {
            Ok(())
        } else {
            Err(Refusal::BodyUnexpected)
        }
    }

    fn read_origin(&self, version: &Version) -> Result<Option<&'b str>, Refusal> {
        let mut origin = None;
        for name in version.origin {
            if let Some(header) = self.head.at_most_one(name)? {
                let text = header.text().filter(|t| !t.is_empty());
                origin = origin.or(Some(text.ok_or(Refusal::OriginMalformed)?));
            }
        }
        if origin.is_none() && version.number.is_none() {
            return Err(Refusal::OriginMissing);
        }
        Ok(origin)
    }
}
