//! A request: its head, read by the rules of its version.

use alloc::string::String;
use alloc::vec::Vec;

use super::detect::{Detected, Refused, detect_in, is_authority};
use super::head::{Head, Header};
use super::name::Name;
use super::octets::is_field_text;
use crate::error::Refusal;
use crate::extension::{self, Compression, Element};
use crate::version::{Version, Versions};

/// A request that was read, by the rules of its version.
#[derive(Debug)]
pub struct Request<'b> {
    head: Head<'b>,
    version: Option<&'static Version>,
    origin: Option<&'b [u8]>,
}

impl<'b> Request<'b> {
    /// A request with this head, which [`Request::check`] is to check.
    #[inline]
    pub(super) fn unchecked(head: Head<'b>) -> Request<'b> {
        Request {
            head,
            version: None,
            origin: None,
        }
    }

    /// Its head, to be read.
    #[inline]
    pub(super) fn head_mut(&mut self) -> &mut Head<'b> {
        &mut self.head
    }

    /// Checks all that needs no policy.
    pub(super) fn check(&mut self, on: Versions) -> Result<(), Refused> {
        if let Detected::Upgrade(version) = detect_in(&self.head, on)? {
            self.version = Some(version);
            self.check_target(version)?;
            self.check_body(version)?;
            self.origin = self.read_origin(version)?;
            self.check_subprotocol(version)?;
        }
        Ok(())
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

    /// The query of the target, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'b str> {
        Some(self.target().split_once('?')?.1)
    }

    /// The path of the target, without query and authority.
    #[must_use]
    pub fn path(&self) -> &'b str {
        self.head.path()
    }

    /// The Host, which was checked to be a host and port; empty in a plain
    /// request without one.
    #[must_use]
    pub fn host(&self) -> &'b str {
        core::str::from_utf8(self.host_octets()).unwrap_or_default()
    }

    pub(super) fn host_octets(&self) -> &'b [u8] {
        let host = self.head.value(Name::Host);
        host.filter(|host| is_authority(host)).unwrap_or_default()
    }

    /// The origin, from the header that this version names it in.
    #[must_use]
    pub fn origin(&self) -> Option<&'b str> {
        core::str::from_utf8(self.origin?).ok()
    }

    pub(super) fn origin_octets(&self) -> Option<&'b [u8]> {
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
        if spoken.is_empty() && !self.is_opaque() {
            return Ok(None);
        }
        let chosen = self
            .subprotocols()
            .find(|offered| spoken.iter().any(|s| s == offered));
        if chosen.is_none() && self.is_opaque() && self.subprotocols().next().is_some() {
            return Err(Refusal::SubprotocolUnknown);
        }
        Ok(chosen)
    }

    /// The extensions that the client offers, in order of preference.
    pub fn extensions(&self) -> impl Iterator<Item = Element<'b>> + '_ {
        self.head.extensions()
    }

    /// Whether extensions are offered.
    pub(super) fn offers_extensions(&self) -> bool {
        self.head.first(Name::Extensions).is_some()
    }

    /// What a server answers to the extensions that are offered.
    pub(crate) fn answer_to_extensions(
        &self,
        compression: &Compression,
    ) -> Option<extension::Answer> {
        let version = self.version?;
        let offers: Vec<&[u8]> = self.head.extension_values().collect();
        let agent = self.head.get("User-Agent").map(|agent| agent.value);
        extension::answer(offers.iter().copied(), version, compression, agent)
    }

    fn is_opaque(&self) -> bool {
        self.version.is_some_and(Version::has_opaque_subprotocol)
    }

    fn check_target(&self, version: &Version) -> Result<(), Refused> {
        let target = self.target();
        let at = self.head.first_line_at(1);
        let allowed = |octet: u8| matches!(octet, 0x21..=0x7e) && octet != b'#';
        if let Some((i, octet)) = target.bytes().enumerate().find(|(_, o)| !allowed(*o)) {
            let octet_at = at.start + i..at.start + i + 1;
            return Err((Refusal::TargetInvalid { octet: Some(octet) }, octet_at));
        }
        let is_path = target.starts_with('/');
        let is_uri = version.absolute_target
            && (target.starts_with("http://") || target.starts_with("https://"));
        if is_path || is_uri {
            Ok(())
        } else {
            Err((Refusal::TargetInvalid { octet: None }, at))
        }
    }

    /// A hixie client wants the whole of its subprotocol back, so one that cannot
    /// be echoed is not the same as none.
    fn check_subprotocol(&self, version: &Version) -> Result<(), Refused> {
        if !version.has_opaque_subprotocol() {
            return Ok(());
        }
        let mut all = self.head.all(version.subprotocol_header());
        let malformed = all.find(|header| header.text().is_none_or(str::is_empty));
        match malformed {
            Some(header) => Err((Refusal::SubprotocolMalformed, header.value_at())),
            None => Ok(()),
        }
    }

    fn check_body(&self, version: &Version) -> Result<(), Refused> {
        let length = self.head.at_most_one(Name::ContentLength)?;
        let fits = match length.map(|h| h.value) {
            None | Some(b"0") => true,
            // Netty's and Perl's clients announce the eight octets.
            Some(b"8") => version.has_body(),
            Some(_) => false,
        };
        let unexpected = if fits {
            self.head.first(Name::TransferEncoding)
        } else {
            length
        };
        match unexpected {
            None => Ok(()),
            Some(header) => Err((Refusal::BodyUnexpected, header.line_at())),
        }
    }

    fn read_origin(&self, version: &Version) -> Result<Option<&'b [u8]>, Refused> {
        let mut origin = None;
        for name in version.origin {
            let name = Name::of(name.as_bytes());
            let name = name.unwrap_or_else(|| unreachable!("origins are in known headers"));
            if let Some(value) = self.head.only_value(name)? {
                if value.is_empty() || !is_field_text(value) {
                    return Err((Refusal::OriginMalformed, self.head.value_at(name)));
                }
                origin = origin.or(Some(value));
            }
        }
        if origin.is_none() && version.echoes_location() {
            return Err((Refusal::OriginMissing, self.head.missing_at()));
        }
        Ok(origin)
    }
}
