//! What `connect`, `probe` and `conform` share: the arguments of a request.

use clap::Args;
use heirloom::conform::PlayOptions;
use heirloom::handshake::ClientRequest;
use heirloom::net::{BadUrl, Url};

use super::suggest;

/// What a request asks for beside the version.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// A subprotocol to ask for; may be given more than once, the preferred one first.
    #[arg(long, value_name = "NAME", value_parser = super::header_text)]
    subprotocol: Vec<String>,
    /// The origin of the page; where it is not given, hixie clients send http:// and the host.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
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

impl RequestArgs {
    /// Has cases ask for the same.
    pub(super) fn apply(&self, options: PlayOptions) -> PlayOptions {
        options
            .with_origin(self.origin.clone())
            .with_subprotocols(self.subprotocol.clone())
            .with_headers(self.header.clone())
    }
}

/// A URL that can be dialled.
pub(super) fn url(text: &str) -> Result<Url, String> {
    text.parse().map_err(|error: BadUrl| {
        let meant = Some(error).filter(|error| *error == BadUrl::Scheme);
        match meant.and_then(|_| suggest::of_url(text)) {
            Some(meant) => format!("{error}; did you mean {meant}?"),
            None => error.to_string(),
        }
    })
}

/// The origin of a page: scheme and host, with a port where it is not the usual
/// one, or `null`.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let text = super::header_text(text)?;
    if text == "null" {
        return Ok(text);
    }
    if text == "*" {
        return Err("no pattern is read here; give each origin, or leave it out".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let meant = text.trim_end_matches('/');
        if meant.eq_ignore_ascii_case("same") {
            return Err("did you mean same? `--origin` of serve and gateway takes it".to_owned());
        }
        return Err(format!(
            "an origin is a scheme and a host; did you mean https://{meant} or http://{meant}?"
        ));
    };
    let in_scheme = |o: u8| o.is_ascii_alphanumeric() || b"+-.".contains(&o);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
        return Err("an origin starts with a scheme, such as https://".to_owned());
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if host.len() < rest.len() {
        let meant = format!("{scheme}://{host}");
        return Err(format!(
            "an origin has no path and no `/` at its end; did you mean {meant}?"
        ));
    }
    let host_name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return Err("the port of an origin is a number from 1 to 65535".to_owned());
            }
            name
        }
        _ => host,
    };
    let in_host = |o: u8| o.is_ascii_alphanumeric() || b"-._~:[]%".contains(&o);
    // file:// has no host.
    let may_be_empty = scheme.eq_ignore_ascii_case("file");
    if !host_name.bytes().all(in_host) || host_name.is_empty() && !may_be_empty {
        return Err(
            "an origin is a scheme and a host, with a port where it is not the usual one"
                .to_owned(),
        );
    }
    Ok(text)
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
