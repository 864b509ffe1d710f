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
pub struct Hosts(Option<Vec<HostPattern>>);

/// A host such as `example.com`, which has any port, or `example.com:8076`, which has
/// this one; or all hosts below one, such as `*.example.com`. Letter case and a dot at the
/// end of a name make no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: HostName,
    /// Those below this name, and not the name itself.
    is_below: bool,
}

/// A host, and its port where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HostName {
    /// In lower case, without a dot at its end; the colons of IPv6 stand in
    /// brackets.
    name: String,
    port: Option<u16>,
}

impl HostPattern {
    /// This text as a host or pattern; `None` where it is neither.
    #[must_use]
    pub fn read(text: &str) -> Option<HostPattern> {
        let (text, is_below) = match text.strip_prefix("*.") {
            Some(below) => (below, true),
            None => (text, false),
        };
        let host = HostName::read(text)?;
        let has_below = !host.name.starts_with('[') && !host.name.contains('*');
        (!is_below || has_below).then_some(HostPattern { host, is_below })
    }

    /// Whether it has this Host. One without a port has that of `http` or of `https`.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = HostName::read(host);
        host.is_some_and(|host| self.has(&host, 80) || self.has(&host, 443))
    }

    /// Of two that match, the one with the greater precision was meant: a host before a
    /// pattern, a longer pattern before a shorter one, and one with a port before one
    /// without.
    #[must_use]
    pub fn precision(&self) -> impl Ord + use<> {
        let length = if self.is_below {
            self.host.name.len()
        } else {
            usize::MAX
        };
        (length, self.host.port.is_some())
    }

    /// `default_port` is that of a Host without one.
    fn has(&self, host: &HostName, default_port: u16) -> bool {
        let is_name = if self.is_below {
            let above = host.name.strip_suffix(&*self.host.name);
            above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
        } else {
            self.host.name == host.name
        };
        let port = host.port.unwrap_or(default_port);
        is_name && self.host.port.is_none_or(|own| own == port)
    }
}

impl Hosts {
    /// Any host, and none.
    #[must_use]
    pub fn any() -> Hosts {
        Hosts(None)
    }

    /// Only these, as [`HostPattern`] reads them. A text that is no host is not among
    /// them; see [`Hosts::is_host`].
    pub fn only<S: AsRef<str>>(hosts: impl IntoIterator<Item = S>) -> Hosts {
        let listed = hosts.into_iter();
        let listed = listed.filter_map(|host| HostPattern::read(host.as_ref()));
        Hosts(Some(listed.collect()))
    }

    /// Whether this text is a host, with or without a port, or a pattern.
    #[must_use]
    pub fn is_host(text: &str) -> bool {
        HostPattern::read(text).is_some()
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
        let default_port = if secure { 443 } else { 80 };
        listed.iter().any(|own| own.has(&host, default_port))
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_all_hosts_below_a_name_and_not_the_name() {
        let hosts = Hosts::only(["*.Example.com", "*.port.test:8076"]);
        for (host, allowed) in [
            ("a.example.com", true),
            ("A.B.EXAMPLE.com.:99", true),
            ("a.port.test:8076", true),
            ("example.com", false),
            (".example.com", false),
            ("aexample.com", false),
            ("a.example.com.evil.test", false),
            ("a.port.test", false),
        ] {
            assert_eq!(hosts.allow(host, false), allowed, "{host}");
        }
        for text in ["*", "*.", "a.*.com", "*.*.com", "*.[::1]", "*.::1", ""] {
            let is_exact = HostPattern::read(text).is_some_and(|read| !read.is_below);
            assert!(is_exact || !Hosts::is_host(text), "{text}");
        }
    }

    #[test]
    fn a_host_comes_before_a_pattern_and_a_port_before_none() {
        let precision = |text: &str| HostPattern::read(text).unwrap().precision();
        let order = ["*.com", "*.com:80", "*.a.com", "a.com", "a.com:80"];
        assert!(
            order
                .windows(2)
                .all(|two| precision(two[0]) < precision(two[1]))
        );
        let host = HostPattern::read("a.com:443").unwrap();
        assert!(host.matches("a.com") && host.matches("a.com:443") && !host.matches("a.com:8"));
    }

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
