//! WebSocket URLs.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A WebSocket URL (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Url {
    /// Whether it is `wss`.
    pub secure: bool,
    /// Host and, unless it is the scheme's own, port, as in the `Host` header.
    pub host: String,
    /// Path and query.
    pub target: String,
    name: String,
    port: u16,
}

impl Url {
    /// Parses a URL of either scheme, `ws` or `wss`.
    ///
    /// # Errors
    ///
    /// Why it is not a WebSocket URL.
    pub fn parse(text: &str) -> Result<Url, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(BadUrl::Scheme),
        };
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(split);
        let target = match target.chars().next() {
            None => "/".to_owned(),
            Some('?') => format!("/{target}"),
            Some(_) => target.to_owned(),
        };
        let visible = |text: &str| text.bytes().all(|o| matches!(o, 0x21..=0x7e));
        if !visible(rest) || authority.contains('@') || rest.contains('#') {
            return Err(BadUrl::Part);
        }
        let default_port = if secure { 443 } else { 80 };
        let authority = authority.to_ascii_lowercase();
        let (name, port) = split_authority(&authority, default_port)?;
        let host = if port == default_port {
            name.to_owned()
        } else {
            format!("{name}:{port}")
        };
        Ok(Url {
            secure,
            host,
            target,
            name: name.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }

    /// The name or address of its host, without brackets and port: what a
    /// certificate must be for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its server is.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::of(&self.name, self.port)
    }
}

/// Where a server is: a host and a port. A host name is resolved when it is
/// dialled.
///
/// ```
/// use heirloom::net::Endpoint;
///
/// let endpoint: Endpoint = "backend.example:9000".parse()?;
/// assert_eq!(endpoint.to_string(), "backend.example:9000");
/// # Ok::<(), heirloom::net::BadEndpoint>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(pub(super) Host);

/// The host of an endpoint, with the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Address(SocketAddr),
    Name(String, u16),
}

impl Endpoint {
    fn of(host: &str, port: u16) -> Endpoint {
        match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).into(),
            Err(_) => Endpoint(Host::Name(host.to_owned(), port)),
        }
    }
}

impl Endpoint {
    /// Whether it has to be resolved.
    pub(super) fn is_name(&self) -> bool {
        matches!(self.0, Host::Name(..))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint(Host::Address(address))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Address(address) => address.fmt(f),
            Host::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// A text that is not a host with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give HOST:PORT, such as 127.0.0.1:8076 or [::1]:8076")]
pub struct BadEndpoint;

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Endpoint, BadEndpoint> {
        // An IPv6 address may name its interface.
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 {
                Err(BadEndpoint)
            } else {
                Ok(address.into())
            };
        }
        // Port 0 is none that can be dialled, so it stands for a missing one.
        let text = text.to_ascii_lowercase();
        let (name, port) = split_authority(&text, 0).map_err(|_| BadEndpoint)?;
        if port == 0 {
            return Err(BadEndpoint);
        }
        Ok(Endpoint::of(name.trim_matches(['[', ']']), port))
    }
}

/// A host name without an address.
#[derive(Debug, thiserror::Error)]
#[error("no address for {name}: {error}")]
#[non_exhaustive]
pub struct Unresolved {
    /// The host name.
    pub name: String,
    /// The error of the system.
    #[source]
    pub error: io::Error,
}

impl Unresolved {
    /// The same for another dial that waited for it.
    pub(super) fn copy(&self) -> Unresolved {
        let error = match self.error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.error.kind(), self.error.to_string()),
        };
        Unresolved {
            name: self.name.clone(),
            error,
        }
    }
}

/// Why a text is not a URL that can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// Neither `ws://` nor `wss://`.
    #[error("a URL begins with ws:// or wss://")]
    Scheme,
    /// `wss://`, in a build without the feature `tls`.
    #[error("this build speaks no TLS; build it with the feature tls, or put a TLS terminator in front and dial ws://")]
    Secure,
    /// No host.
    #[error("the URL has no host; an IPv6 address stands in brackets, [::1]")]
    Host,
    /// Not a port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// User information or a fragment, which a WebSocket URL does not have, or an
    /// octet that no URL has.
    #[error("a WebSocket URL has no user, no fragment (#), and visible ASCII only")]
    Part,
}

impl FromStr for Url {
    type Err = BadUrl;

    /// Parses a URL that is to be dialled: `wss` needs the feature `tls`.
    fn from_str(text: &str) -> Result<Url, BadUrl> {
        let url = Url::parse(text)?;
        if url.secure && !cfg!(feature = "tls") {
            return Err(BadUrl::Secure);
        }
        Ok(url)
    }
}

/// The host and the port of an authority.
fn split_authority(authority: &str, default_port: u16) -> Result<(&str, u16), BadUrl> {
    if authority.starts_with('[') && !authority.contains(']') {
        return Err(BadUrl::Host);
    }
    let after_host = authority.rfind(']').map_or(0, |i| i + 1);
    let colon = authority
        .get(after_host..)
        .and_then(|tail| tail.find(':'))
        .map(|i| i + after_host);
    let (name, port) = match colon {
        None => (authority, default_port),
        Some(at) => {
            let (name, port) = authority.split_at(at);
            let port = port.strip_prefix(':').unwrap_or(port);
            // `parse` would take a sign.
            let digits = port.bytes().all(|o| o.is_ascii_digit());
            let port = port.parse().ok().filter(|p| digits && *p != 0);
            (name, port.ok_or(BadUrl::Port)?)
        }
    };
    if name.is_empty() || !crate::handshake::is_authority(name.as_bytes()) {
        return Err(BadUrl::Host);
    }
    Ok((name, port))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.host, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String, u16) {
        let url: Url = text.parse().expect(text);
        (url.host, url.target, url.name, url.port)
    }

    #[test]
    fn the_host_of_a_url_is_that_of_the_header() {
        let some = |host: &str, target: &str, name: &str, port| {
            (host.to_owned(), target.to_owned(), name.to_owned(), port)
        };
        let plain = parts("ws://Example.com/a?b=c");
        assert_eq!(plain, some("example.com", "/a?b=c", "example.com", 80));
        assert_eq!(parts("ws://h:80"), some("h", "/", "h", 80));
        assert_eq!(parts("ws://h:8076?q"), some("h:8076", "/?q", "h", 8076));
        assert_eq!(parts("WS://[::1]:81/"), some("[::1]:81", "/", "::1", 81));
    }

    #[test]
    fn wss_is_parsed_where_the_stream_is_the_caller_s() {
        let url = Url::parse("wss://h:443/x").expect("it is one");
        assert_eq!((url.secure, url.host.as_str(), url.port), (true, "h", 443));
        assert_eq!(url.to_string(), "wss://h/x");
        let url = Url::parse("wss://h:80").expect("it is one");
        assert_eq!(url.host, "h:80");
    }

    #[test]
    fn an_endpoint_is_a_host_with_a_port() {
        for (text, written) in [
            ("Backend.example:9000", "backend.example:9000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), written);
        }
        for text in ["", "h", ":80", "h:", "h:0", "127.0.0.1:0", "h:x", "a b:80"] {
            assert_eq!(text.parse::<Endpoint>(), Err(BadEndpoint), "{text}");
        }
    }

    #[test]
    fn another_text_is_refused_with_the_reason() {
        for (text, why) in [
            ("http://h/", BadUrl::Scheme),
            ("h:80", BadUrl::Scheme),
            ("ws:///", BadUrl::Host),
            ("ws://[::1/", BadUrl::Host),
            ("ws://[::1:80/", BadUrl::Host),
            ("ws://h:0/", BadUrl::Port),
            ("ws://h:x/", BadUrl::Port),
            ("ws://h::80/", BadUrl::Port),
            ("ws://h:+80/", BadUrl::Port),
            ("ws://u@h/", BadUrl::Part),
            ("ws://h/#f", BadUrl::Part),
            ("ws://h/ x", BadUrl::Part),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text}");
        }
        let secure = "wss://h/".parse::<Url>();
        let port = secure.map(|url| url.endpoint().to_string());
        if cfg!(feature = "tls") {
            assert_eq!(port.as_deref(), Ok("h:443"));
        } else {
            assert_eq!(port, Err(BadUrl::Secure));
        }
    }
}
