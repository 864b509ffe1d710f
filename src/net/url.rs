//! WebSocket URLs.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A WebSocket URL (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `wss`.
    pub secure: bool,
    /// Host and, unless it is the scheme's own, port, as `Host` says them.
    pub host: String,
    /// Path and query.
    pub target: String,
    name: String,
    port: u16,
}

impl Url {
    /// The addresses of its host, in the order the system gives them.
    ///
    /// # Errors
    ///
    /// Where the name has none.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, Unresolved> {
        let unresolved = |error| Unresolved {
            name: self.name.clone(),
            error,
        };
        let found = (self.name.as_str(), self.port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = found.map_err(unresolved)?.collect();
        if addresses.is_empty() {
            return Err(unresolved(io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
    }
}

/// A name that no address has.
#[derive(Debug, thiserror::Error)]
#[error("no address for {name}: {error}")]
pub struct Unresolved {
    /// The name.
    pub name: String,
    /// What the system says.
    #[source]
    pub error: io::Error,
}

/// Why a URL cannot be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not `ws://`.
    #[error("a URL begins with ws://")]
    Scheme,
    /// `wss://`, which needs TLS.
    #[error("wss is not spoken; put a TLS terminator in front and dial ws://")]
    Secure,
    /// No host.
    #[error("the URL has no host; an IPv6 address stands in brackets, [::1]")]
    Host,
    /// Not a port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// User information or a fragment, which a WebSocket URL has not, or an
    /// octet that belongs in no URL.
    #[error("a WebSocket URL has no user, no fragment (#), and visible ASCII only")]
    Part,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Url, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => {}
            "wss" => return Err(BadUrl::Secure),
            _ => return Err(BadUrl::Scheme),
        }
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
        let authority = authority.to_ascii_lowercase();
        if authority.starts_with('[') && !authority.contains(']') {
            return Err(BadUrl::Host);
        }
        let after_host = authority.rfind(']').map_or(0, |i| i + 1);
        let colon = authority
            .get(after_host..)
            .and_then(|tail| tail.find(':'))
            .map(|i| i + after_host);
        let (name, port) = match colon {
            None => (authority.as_str(), 80),
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
        let host = if port == 80 {
            name.to_owned()
        } else {
            format!("{name}:{port}")
        };
        Ok(Url {
            secure: false,
            host,
            target,
            name: name.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.host, self.target)
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
    fn a_url_says_host_as_the_header_does() {
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
    fn what_is_no_url_says_why() {
        for (text, why) in [
            ("http://h/", BadUrl::Scheme),
            ("h:80", BadUrl::Scheme),
            ("wss://h/", BadUrl::Secure),
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
    }
}
