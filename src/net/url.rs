//! WebSocket URLs.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// A WebSocket URL (RFC 6455 section 3), or that of a Unix socket in the form of npm
/// `ws`: `ws+unix:PATH:TARGET`. In a path `%`, `:`, `?` and `#`, and what is not
/// visible ASCII, are written as in other URLs: `%25`.
///
/// ```
/// use heirloom::net::Url;
///
/// let url = Url::parse("ws+unix:/run/chat.sock:/room?1")?;
/// assert_eq!((&*url.host, &*url.target), ("localhost", "/room?1"));
/// assert_eq!(url.endpoint().to_string(), "unix:/run/chat.sock");
/// # Ok::<(), heirloom::net::BadUrl>(())
/// ```
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
    /// The path of its Unix socket.
    unix: Option<Arc<Path>>,
}

impl Url {
    /// Parses a URL of either scheme, `ws` or `wss`.
    ///
    /// # Errors
    ///
    /// Why it is not a WebSocket URL.
    pub fn parse(text: &str) -> Result<Url, BadUrl> {
        if let Some((secure, rest)) = unix_scheme(text) {
            return Url::parse_unix(secure, rest);
        }
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
            unix: None,
        })
    }

    /// The URL of the path `/` at a Unix socket.
    #[must_use]
    pub fn of_unix(path: &Path, secure: bool) -> Url {
        Url {
            secure,
            host: LOCALHOST.to_owned(),
            target: "/".to_owned(),
            name: LOCALHOST.to_owned(),
            port: 0,
            unix: Some(path.into()),
        }
    }

    /// Parses what follows `ws+unix:`.
    fn parse_unix(secure: bool, rest: &str) -> Result<Url, BadUrl> {
        let rest = match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(BadUrl::UnixHost),
            None => rest,
        };
        let (path, target) = rest.split_once(':').unwrap_or((rest, "/"));
        let visible = |text: &str| text.bytes().all(|o| matches!(o, 0x21..=0x7e));
        if !visible(rest) || rest.contains('#') {
            return Err(BadUrl::Part);
        }
        let path = percent_decoded(path).ok_or(BadUrl::UnixPath)?;
        if path.is_empty() || path == b"@" || path.contains(&0) {
            return Err(BadUrl::UnixPath);
        }
        let mut url = Url::of_unix(Path::new(OsStr::from_bytes(&path)), secure);
        match target.chars().next() {
            None => {}
            Some('/') => target.clone_into(&mut url.target),
            Some('?') => url.target = format!("/{target}"),
            Some(_) => return Err(BadUrl::UnixPath),
        }
        Ok(url)
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
        match &self.unix {
            Some(path) => Endpoint(Host::Unix(Arc::clone(path))),
            None => Endpoint::of(&self.name, self.port),
        }
    }

    /// Its server, as an access line names it: the host, or the Unix socket.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.unix {
            Some(path) => format!("unix:{}", percent_encoded(path)),
            None => self.host.clone(),
        }
    }
}

/// The name of the server at a Unix socket.
const LOCALHOST: &str = "localhost";

/// What follows the scheme for Unix sockets, and whether that is with TLS.
fn unix_scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let schemes = [("ws+unix", false), ("wss+unix", true)];
    let found = schemes
        .iter()
        .find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    found.map(|(_, secure)| (*secure, rest))
}

/// The octets that a path of a URL stands for (RFC 3986 section 2.1); `None` where
/// they are not written right, or a query stands where none can be.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'?' => return None,
            octet => octet,
        });
    }
    Some(octets)
}

fn percent_encoded(path: &Path) -> String {
    let mut text = String::new();
    for octet in path.as_os_str().as_bytes() {
        match octet {
            b'%' | b':' | b'?' | b'#' => text.push_str(&format!("%{octet:02X}")),
            0x21..=0x7e => text.push(char::from(*octet)),
            octet => text.push_str(&format!("%{octet:02X}")),
        }
    }
    text
}

/// Where a server is: a host and a port, or `unix:` and the path of a Unix socket. A
/// host name is resolved when it is dialled.
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
    Unix(Arc<Path>),
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
            Host::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A text that is not a host with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give HOST:PORT, such as 127.0.0.1:8076 or [::1]:8076, or unix:PATH")]
pub struct BadEndpoint;

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Endpoint, BadEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = !matches!(path, "" | "@") && !path.contains('\0');
            let unix = || Endpoint(Host::Unix(Path::new(path).into()));
            return is_path.then(unix).ok_or(BadEndpoint);
        }
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
    /// A host where only a path can be.
    #[error("after ws+unix: stands the path of a socket, and no host: ws+unix:/run/chat.sock")]
    UnixHost,
    /// No path of a Unix socket, or what follows it is no target.
    #[error(
        "write ws+unix:PATH:TARGET, such as ws+unix:/run/chat.sock:/chat; in the path %, : and ? \
         are %25, %3A and %3F"
    )]
    UnixPath,
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
        if let Some(path) = &self.unix {
            let path = percent_encoded(path);
            return write!(f, "{scheme}+unix:{path}:{}", self.target);
        }
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
    fn the_url_of_a_unix_socket_is_that_of_npm_ws() {
        for (text, path, target, written) in [
            ("ws+unix:/a.sock", "/a.sock", "/", "ws+unix:/a.sock:/"),
            ("WS+unix:/a.sock:", "/a.sock", "/", "ws+unix:/a.sock:/"),
            (
                "ws+unix:///a.sock:/c?d=:/",
                "/a.sock",
                "/c?d=:/",
                "ws+unix:/a.sock:/c?d=:/",
            ),
            ("ws+unix:a:?q", "a", "/?q", "ws+unix:a:/?q"),
            ("ws+unix:@name:/x", "@name", "/x", "ws+unix:@name:/x"),
            (
                "ws+unix:/a%3ab%20%c3%BC%25",
                "/a:b ü%",
                "/",
                "ws+unix:/a%3Ab%20%C3%BC%25:/",
            ),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!(url.endpoint().to_string(), format!("unix:{path}"), "{text}");
            assert_eq!((&*url.host, &*url.target), ("localhost", target), "{text}");
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse(), Ok(url), "{text}");
        }
        let secure = Url::parse("wss+unix:/a.sock:/").expect("it is one");
        assert_eq!((secure.secure, secure.name()), (true, "localhost"));
        assert_eq!(secure.to_string(), "wss+unix:/a.sock:/");
        for (text, why) in [
            ("ws+unix:", BadUrl::UnixPath),
            ("ws+unix::/x", BadUrl::UnixPath),
            ("ws+unix:@", BadUrl::UnixPath),
            ("ws+unix:/a:b", BadUrl::UnixPath),
            ("ws+unix:/a?b", BadUrl::UnixPath),
            ("ws+unix:/a%", BadUrl::UnixPath),
            ("ws+unix:/a%4", BadUrl::UnixPath),
            ("ws+unix:/a%+4", BadUrl::UnixPath),
            ("ws+unix:/a%00", BadUrl::UnixPath),
            ("ws+unix://h/a", BadUrl::UnixHost),
            ("ws+unix:/a b", BadUrl::Part),
            ("ws+unix:/a:/#f", BadUrl::Part),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_a_host_with_a_port() {
        for (text, written) in [
            ("Backend.example:9000", "backend.example:9000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("unix:/A.sock", "unix:/A.sock"),
            ("unix:@a", "unix:@a"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), written);
        }
        for text in [
            "",
            "unix:",
            "unix:@",
            "h",
            ":80",
            "h:",
            "h:0",
            "127.0.0.1:0",
            "h:x",
            "a b:80",
        ] {
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
