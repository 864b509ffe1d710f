//! The origin policy.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Which origins may connect: exact tuples of scheme, host and port.
#[derive(Clone, Debug, Default)]
pub struct Origins(Option<Listed>);

#[derive(Clone, Debug, Default)]
struct Listed {
    tuples: Vec<String>,
    /// The origin of the server itself may connect.
    same: bool,
}

impl Origins {
    /// Any origin, and none.
    #[must_use]
    pub fn any() -> Origins {
        Origins(None)
    }

    /// Only these, such as `https://example.com` or `null`. A request without
    /// an origin is not among them.
    pub fn only<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Origins {
        let tuples = origins.into_iter().map(|o| tuple(o.as_ref()));
        Origins(Some(Listed {
            tuples: tuples.collect(),
            same: false,
        }))
    }

    /// Only pages that came from where they connect to: their origin is the
    /// request's own Host.
    #[must_use]
    pub fn same() -> Origins {
        Origins::only::<&str>([]).and_same()
    }

    /// These, and pages whose origin is the request's own Host.
    #[must_use]
    pub fn and_same(mut self) -> Origins {
        if let Some(listed) = &mut self.0 {
            listed.same = true;
        }
        self
    }

    /// Whether all origins may connect.
    pub(super) fn are_any(&self) -> bool {
        self.0.is_none()
    }

    /// The origins that are listed, in lower case and without default ports.
    #[cfg(feature = "net")]
    pub(crate) fn listed(&self) -> impl Iterator<Item = &str> {
        let tuples = self.0.iter().flat_map(|listed| &listed.tuples);
        tuples.map(String::as_str)
    }

    /// Whether a page of this origin may connect with this Host. `secure` is
    /// whether the client uses TLS, so that its page is of https.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>, host: &str, secure: bool) -> bool {
        match (&self.0, origin) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(listed), Some(origin)) => {
                let origin = tuple(origin);
                let is_own = || !host.is_empty() && origin == own(host, secure);
                listed.tuples.contains(&origin) || listed.same && is_own()
            }
        }
    }
}

/// The origin of the server, by the Host that a client sent.
fn own(host: &str, secure: bool) -> String {
    let mut origin = String::from(if secure { "https://" } else { "http://" });
    // A port may be empty (RFC 3986 section 3.2.3).
    origin.push_str(host.strip_suffix(':').unwrap_or(host));
    tuple(&origin)
}

/// An origin with its default port left out and in lower case, so that equal
/// tuples are equal strings.
fn tuple(origin: &str) -> String {
    let lower = origin.to_ascii_lowercase();
    let port = match lower.split_once("://") {
        Some(("http" | "ws", _)) => ":80",
        Some(("https" | "wss", _)) => ":443",
        _ => return lower,
    };
    lower
        .strip_suffix(port)
        .map_or(lower.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_is_the_tuple_of_scheme_host_and_port() {
        for (origin, host, secure, allowed) in [
            ("http://h:8076", "h:8076", false, true),
            ("http://H", "h:80", false, true),
            ("http://h:80", "h", false, true),
            ("http://h", "h:", false, true),
            ("https://h", "h:443", true, true),
            ("http://[::1]:81", "[::1]:81", false, true),
            ("https://h", "h", false, false),
            ("http://h", "h", true, false),
            ("http://h", "h:8076", false, false),
            ("http://h:443", "h", true, false),
            ("http://h.evil.test", "h", false, false),
            ("null", "null", false, false),
            ("http://", "", false, false),
        ] {
            let allow = |origins: Origins| origins.allow(Some(origin), host, secure);
            assert_eq!(allow(Origins::same()), allowed, "{origin} at {host}");
            assert!(!Origins::same().allow(None, host, secure));
            assert!(allow(Origins::only([origin]).and_same()));
        }
    }
}
