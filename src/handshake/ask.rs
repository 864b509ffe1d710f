//! What a client asks for.

use alloc::format;
use alloc::string::String;

/// What a client asks for.
///
/// ```
/// use heirloom::handshake::ClientRequest;
/// let request = ClientRequest::new("example.com", "/chat?room=1")
///     .with_origin("http://example.com")
///     .with_subprotocols(&["chat"]);
/// assert_eq!(request.host, "example.com");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientRequest<'a> {
    /// Host and, unless it is the scheme's own, port.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Whether the URL is `wss`.
    pub secure: bool,
    /// The origin of the page. A hixie request always has one: `http://` and
    /// the host where this is `None`.
    pub origin: Option<&'a str>,
    /// Subprotocols in order of preference. hixie asks for one string, so
    /// several are joined by spaces.
    pub subprotocols: &'a [&'a str],
    /// More headers, such as Cookie.
    pub headers: &'a [(&'a str, &'a str)],
    /// Headers that are only carried, whatever octets their values hold.
    pub carried: &'a [(&'a str, &'a [u8])],
}

impl<'a> ClientRequest<'a> {
    /// Asks for this path and query of this host and port, by `ws`.
    #[must_use]
    pub fn new(host: &'a str, target: &'a str) -> ClientRequest<'a> {
        ClientRequest {
            host,
            target,
            secure: false,
            origin: None,
            subprotocols: &[],
            headers: &[],
            carried: &[],
        }
    }

    /// Whether the URL is `wss`.
    #[must_use]
    pub fn with_secure(mut self, secure: bool) -> ClientRequest<'a> {
        self.secure = secure;
        self
    }

    /// For a page of this origin.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<Option<&'a str>>) -> ClientRequest<'a> {
        self.origin = origin.into();
        self
    }

    /// With these subprotocols, in order of preference.
    #[must_use]
    pub fn with_subprotocols(mut self, subprotocols: &'a [&'a str]) -> ClientRequest<'a> {
        self.subprotocols = subprotocols;
        self
    }

    /// With these headers besides.
    #[must_use]
    pub fn with_headers(mut self, headers: &'a [(&'a str, &'a str)]) -> ClientRequest<'a> {
        self.headers = headers;
        self
    }

    /// With these headers, which are only carried.
    #[must_use]
    pub fn with_carried(mut self, headers: &'a [(&'a str, &'a [u8])]) -> ClientRequest<'a> {
        self.carried = headers;
        self
    }

    /// hixie clients always send an origin, in lower case.
    pub(super) fn hixie_origin(&self) -> String {
        match self.origin {
            Some(origin) => origin.to_ascii_lowercase(),
            None => format!("http://{}", self.host.to_ascii_lowercase()),
        }
    }

    /// hixie asks for one string.
    pub(super) fn opaque_subprotocol(&self) -> Option<String> {
        (!self.subprotocols.is_empty()).then(|| self.subprotocols.join(" "))
    }
}
