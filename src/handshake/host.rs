//! The host policy: the names under which a server may be asked.
//!
//! A page of any site can have the name of that site resolve to the address of
//! this server (DNS rebinding). For the browser both are then one origin, so no
//! list of origins helps. What the page cannot change is the Host that its
//! browser sends.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::detect::{Refused, is_authority};
use super::head::{Head, Header};
use crate::error::Refusal;

/// Which hosts a server answers to.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Option<Vec<HostName>>);

/// A host, and its port where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HostName {
    /// In lower case, without a dot at its end; the colons of IPv6 stand in
    /// brackets.
    name: String,
    port: Option<u16>,
}

impl Hosts {
    /// Any host, and none.
    #[must_use]
    pub fn any() -> Hosts {
        Hosts(None)
    }

    /// Only these, such as `example.com`, which has any port, or
    /// `example.com:8076`, which has this one. Letter case and a dot at the end
    /// of a name make no difference. A text that is no host is not among them;
    /// see [`Hosts::is_host`].
    pub fn only<S: AsRef<str>>(hosts: impl IntoIterator<Item = S>) -> Hosts {
        let listed = hosts.into_iter();
        Hosts(Some(
            listed.filter_map(|h| HostName::read(h.as_ref())).collect(),
        ))
    }

    /// Whether this text is a host, with or without a port.
    #[must_use]
    pub fn is_host(text: &str) -> bool {
        HostName::read(text).is_some()
    }

    /// Whether a request with this Host is answered. `secure` is whether its
    /// client uses TLS: that decides which port a Host without one means.
    #[must_use]
    pub fn allow(&self, host: &str, secure: bool) -> bool {
        let Some(listed) = &self.0 else {
            return true;
        };
        let Some(host) = HostName::read(host) else {
            return false;
        };
        let port = host.port.unwrap_or(if secure { 443 } else { 80 });
        let mut listed = listed.iter();
        listed.any(|own| own.name == host.name && own.port.is_none_or(|own| own == port))
    }

    /// Refuses a request for another host. One without a Host passes: it is of
    /// HTTP/1.0, which no browser speaks, and cannot be an upgrade.
    pub(super) fn check(&self, head: &Head<'_>, secure: bool) -> Result<(), Refused> {
        if self.0.is_none() {
            return Ok(());
        }
        // An absolute target takes precedence (RFC 9112 section 3.2.2), so both
        // must be right.
        if let Some(authority) = head.target_authority() {
            if !self.allow(authority, secure) {
                return Err((Refusal::HostForbidden, head.first_line_at(1)));
            }
        }
        let mut all = head.all("Host");
        let other = all.find(|host| !host.text().is_some_and(|text| self.allow(text, secure)));
        match other {
            Some(other) => Err((Refusal::HostForbidden, Header::value_at(other))),
            None => Ok(()),
        }
    }
}

impl HostName {
    /// The host in a Host header, or in an option.
    fn read(text: &str) -> Option<HostName> {
        // People write an address of IPv6 with and without its brackets.
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(HostName::of_address(address, None));
        }
        if text.is_empty() || !is_authority(text.as_bytes()) {
            return None;
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (text, ""),
        };
        let port = if port.is_empty() {
            None
        } else {
            Some(port.parse().ok()?)
        };
        if let Some(address) = name.strip_prefix('[') {
            let address = address.strip_suffix(']')?.parse().ok()?;
            return Some(HostName::of_address(address, port));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty()).then(|| HostName {
            name: name.to_ascii_lowercase(),
            port,
        })
    }

    /// An address has many spellings, and one here.
    fn of_address(address: Ipv6Addr, port: Option<u16>) -> HostName {
        let mut name = String::from("[");
        name.push_str(&address.to_string());
        name.push(']');
        HostName { name, port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_any_port_and_a_name_with_a_port_has_that_one() {
        let hosts = Hosts::only(["example.com", "Other.Test.:8076", "[::1]", "fe80::1"]);
        for (host, allowed) in [
            ("example.com", true),
            ("EXAMPLE.com:1", true),
            ("example.com.", true),
            ("example.com.:80", true),
            ("example.com:", true),
            ("other.test:8076", true),
            ("other.test.:8076", true),
            ("[::1]", true),
            ("[::1]:8076", true),
            ("[0:0:0:0:0:0:0:1]:8076", true),
            ("[FE80::1]", true),
            ("other.test", false),
            ("other.test:80", false),
            ("sub.example.com", false),
            ("example.com.evil.test", false),
            ("notexample.com", false),
            ("example.com..", false),
            ("[::2]", false),
            ("127.0.0.1", false),
            ("", false),
            (":80", false),
            ("[::1", false),
            ("a b", false),
        ] {
            assert_eq!(hosts.allow(host, false), allowed, "{host}");
            assert!(Hosts::any().allow(host, false), "{host}");
        }
    }

    #[test]
    fn a_host_without_a_port_has_the_port_of_its_scheme() {
        let plain = Hosts::only(["h:80"]);
        assert!(plain.allow("h", false) && plain.allow("h:80", true));
        assert!(!plain.allow("h", true));
        let tls = Hosts::only(["h:443"]);
        assert!(tls.allow("h", true) && !tls.allow("h", false));
    }
}
