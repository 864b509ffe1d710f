//! What `connect` and `probe` share: the arguments of a request.

use clap::Args;
use heirloom::handshake::ClientRequest;
use heirloom::net::{BadUrl, Url};

/// What a request asks for beside the version.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// A subprotocol to ask for; may be given more than once, the preferred one first.
    #[arg(long, value_name = "NAME", value_parser = super::header_text)]
    subprotocol: Vec<String>,
    /// The origin of the page; where it is not given, hixie clients send http:// and the host.
    #[arg(long, value_name = "ORIGIN", value_parser = super::header_text)]
    origin: Option<String>,
    /// A header to send beside those of the handshake, as `Name: value`; may be given more than
    /// once.
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
}

impl RequestArgs {
    /// Calls `dial` with the request for this URL.
    pub(super) fn with<R>(&self, url: &Url, dial: impl FnOnce(&ClientRequest<'_>) -> R) -> R {
        let subprotocols: Vec<&str> = self.subprotocol.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> = self
            .header
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let request = ClientRequest::new(&url.host, &url.target)
            .with_secure(url.secure)
            .with_origin(self.origin.as_deref())
            .with_subprotocols(&subprotocols)
            .with_headers(&headers);
        dial(&request)
    }
}

pub(super) fn url(text: &str) -> Result<Url, BadUrl> {
    text.parse()
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write it as `Name: value`".to_owned())?;
    let token = |o: u8| o.is_ascii_alphanumeric() || b"-_.!~*+^'`|&%$#".contains(&o);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("the name of a header is letters, digits and hyphens".to_owned());
    }
    Ok((name.to_owned(), super::header_text(value.trim())?))
}
