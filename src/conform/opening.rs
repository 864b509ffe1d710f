//! Opening handshakes of the tester: its request to a server, its answer to a
//! client.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::case::{Case, Compression, Handshake, Offers};
use super::options::PlayOptions;
use crate::bytes::{Output, Random};
use crate::conn::{Config, Conn, Limits};
use crate::extension::{Coding, Deflate, Element, Name};
use crate::handshake::{ClientRequest, Request};
use crate::net::Url;
use crate::random::SystemRandom;
use crate::version::{Version, Versions};

/// What the tester is, at either end: any version, and messages of any length that
/// the engine still reads.
pub(super) fn config(message_bytes: u64) -> Arc<Config> {
    let limits = Limits::default().with_message_bytes(message_bytes);
    let config = Config::default().with_limits(limits);
    Arc::new(config.with_versions(Versions::ALL))
}

/// Appends the request to a server; gives the connection that reads the response,
/// or `None` where our client cannot read one to this request.
///
/// # Errors
///
/// Why there is no request.
pub(super) fn request(
    case: &Case,
    url: &Url,
    options: &PlayOptions,
    config: &Arc<Config>,
    octets: &mut Vec<u8>,
) -> Result<Option<Conn>, String> {
    let version = Version::named(&case.version)
        .ok_or_else(|| format!("no version is named {:?}", case.version))?;
    let own = case.handshake.as_ref().and_then(|own| own.request.as_ref());
    if let Some(lines) = own {
        octets.extend(filled_request(lines, version, url, options));
        return Ok(Conn::client_of(octets, url.secure, Arc::clone(config)).ok());
    }
    let offer = case.compression.as_ref().map(|c| c.offer.as_str());
    let offer = offer.map(|offer| ("Sec-WebSocket-Extensions", offer));
    let more = options.headers.iter();
    let more = more.map(|(name, value)| (name.as_str(), value.as_str()));
    let headers: Vec<(&str, &str)> = offer.into_iter().chain(more).collect();
    let subprotocols: Vec<&str> = options.subprotocols.iter().map(String::as_str).collect();
    let request = ClientRequest::new(&url.host, &url.target)
        .with_secure(url.secure)
        .with_origin(options.origin.as_deref())
        .with_subprotocols(&subprotocols)
        .with_headers(&headers);
    let mut random = SystemRandom;
    let mut out = Output::new(octets, &mut random);
    let conn = Conn::client(version, &request, Arc::clone(config), &mut out);
    let conn = conn.map_err(|error| error.to_string())?;
    match &case.compression {
        Some(compression) if compression.lax_answer => {
            let asked = lax(octets, &compression.offer);
            Ok(Conn::client_of(&asked, url.secure, Arc::clone(config)).ok())
        }
        _ => Ok(Some(conn)),
    }
}

/// The request as if it demanded nothing of what the server sends: any answer is
/// right that could be right for some offer.
fn lax(request: &[u8], offer: &str) -> Vec<u8> {
    const DEMANDS_NOTHING: &str =
        "permessage-deflate; client_no_context_takeover; client_max_window_bits";
    let text = String::from_utf8_lossy(request);
    text.replacen(offer, DEMANDS_NOTHING, 1).into_bytes()
}

/// The request of these lines, with the origin and the headers of the options where
/// it has none of that name.
fn filled_request(
    lines: &[String],
    version: &Version,
    url: &Url,
    options: &PlayOptions,
) -> Vec<u8> {
    let mut key = [0; 16];
    SystemRandom.fill(&mut key);
    let scheme = if url.secure { "https" } else { "http" };
    let origin = options.origin.clone();
    let origin = origin.unwrap_or_else(|| format!("{scheme}://{}", url.host));
    let has = |name: &str| {
        let mut names = lines.iter().filter_map(|line| line.split_once(':'));
        names.any(|(n, _)| n.trim().eq_ignore_ascii_case(name))
    };
    let given = options.origin.as_deref();
    let own_origin = version.origin.iter().any(|name| has(name));
    let given = given.filter(|_| !own_origin);
    let given = given.zip(version.origin.first().copied());
    let more = options.headers.iter();
    let more = more.map(|(name, value)| (value.as_str(), name.as_str()));
    let more = given.into_iter().chain(more);
    let more: Vec<String> = more
        .filter(|(_, name)| !has(name))
        .map(|(value, name)| format!("{name}: {value}\r\n"))
        .collect();
    let mut lines = lines.to_vec();
    if let Some(end) = lines.iter().position(|line| line == "\r\n") {
        lines.splice(end..end, more);
    }
    filled(
        &lines,
        &[
            ("{host}", &url.host),
            ("{target}", &url.target),
            ("{key}", &STANDARD.encode(key)),
            ("{scheme}", scheme),
            ("{origin}", &origin),
        ],
    )
}

/// The octets of these lines, each character an octet, with the words filled in.
fn filled(lines: &[String], words: &[(&str, &str)]) -> Vec<u8> {
    let mut text = lines.concat();
    for (word, value) in words {
        text = text.replace(word, value);
    }
    let octet = |c| u8::try_from(u32::from(c)).unwrap_or(b'?');
    text.chars().map(octet).collect()
}

/// What the tester answers to a client.
#[derive(Debug)]
pub(super) struct Answer {
    subprotocol: Option<String>,
    /// The compression that it agrees to, with the value of the header.
    agreed: Option<(Deflate, String)>,
    /// The octets, where they are not those of the core.
    own: Option<Handshake>,
}

impl Answer {
    /// The answer to this request.
    pub(super) fn to(request: &Request<'_>, case: &Case) -> Answer {
        // A hixie client does not go on without its subprotocol.
        let is_hixie = request.version().is_some_and(|v| v.number.is_none());
        let asked = request.subprotocols().next().map(str::to_owned);
        let own = case.handshake.clone().filter(|own| own.response.is_some());
        let agreed = case
            .compression
            .as_ref()
            .and_then(|compression| agreement(request, compression));
        Answer {
            subprotocol: asked.filter(|_| is_hixie || own.is_some()),
            agreed,
            own,
        }
    }

    /// The compression that is agreed to.
    pub(super) fn agreed(&self) -> Option<Deflate> {
        self.agreed.as_ref().map(|(deflate, _)| *deflate)
    }

    /// Accepts, and appends the response.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn write(&self, conn: &mut Conn, octets: &mut Vec<u8>) -> Result<(), String> {
        let carried: Vec<(&str, &[u8])> = self
            .agreed
            .iter()
            .map(|(_, value)| ("Sec-WebSocket-Extensions", value.as_bytes()))
            .collect();
        let start = octets.len();
        let mut random = SystemRandom;
        let mut out = Output::new(octets, &mut random);
        conn.accept_carrying(self.subprotocol.as_deref(), &carried, &mut out)
            .map_err(|error| error.to_string())?;
        let Some(lines) = self.own.as_ref().and_then(|own| own.response.as_ref()) else {
            return Ok(());
        };
        let right = String::from_utf8_lossy(octets.get(start..).unwrap_or_default()).into_owned();
        let header = |name: &str| {
            let lines = right.split("\r\n").filter_map(|line| line.split_once(": "));
            let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
            values.next().map_or("", |(_, value)| value)
        };
        let subprotocol = self.subprotocol.as_deref().unwrap_or_default();
        let own = filled(
            lines,
            &[
                ("{accept}", header("Sec-WebSocket-Accept")),
                ("{protocol}", subprotocol),
            ],
        );
        octets.truncate(start);
        octets.extend(own);
        Ok(())
    }
}

/// The first answer of the case that one of the client's offers allows, with the
/// value of the header: what the offer demands of the server, and what the answer
/// asks of the client.
fn agreement(request: &Request<'_>, compression: &Compression) -> Option<(Deflate, String)> {
    let offers: Vec<Asked> = request.extensions().filter_map(Asked::read).collect();
    compression
        .accept
        .iter()
        .find_map(|answer| offers.iter().find_map(|offer| offer.answered_by(answer)))
}

/// What an offer of permessage-deflate demands and allows.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    server_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Whether the client's window may be asked for.
    allows_client_window: bool,
}

impl Asked {
    fn read(offer: Element<'_>) -> Option<Asked> {
        let is_ours = offer.name == Name::PermessageDeflate.as_str();
        if !is_ours || crate::extension::fault_of_offer(offer).is_some() {
            return None;
        }
        let mut asked = Asked::default();
        for parameter in offer.parameters() {
            match parameter.name {
                "server_no_context_takeover" => asked.server_no_context_takeover = true,
                "server_max_window_bits" => {
                    let bits = (8..=15).find(|bits: &u8| {
                        let digits = bits.to_string();
                        parameter.value.is_some_and(|value| value.is(&digits))
                    });
                    asked.server_max_window_bits = bits;
                }
                "client_max_window_bits" => asked.allows_client_window = true,
                _ => {}
            }
        }
        Some(asked)
    }

    /// Any client can be asked to forget its context (RFC 7692 section 7.1.1.2).
    fn answered_by(&self, answer: &Offers) -> Option<(Deflate, String)> {
        if answer.client_max_window_bits.is_some() && !self.allows_client_window {
            return None;
        }
        let mut value = Name::PermessageDeflate.as_str().to_owned();
        if self.server_no_context_takeover {
            value.push_str("; server_no_context_takeover");
        }
        if let Some(bits) = self.server_max_window_bits {
            value.push_str(&format!("; server_max_window_bits={bits}"));
        }
        if answer.client_no_context_takeover {
            value.push_str("; client_no_context_takeover");
        }
        if let Some(bits) = answer.client_max_window_bits {
            value.push_str(&format!("; client_max_window_bits={bits}"));
        }
        let coding = |no_context_takeover, bits: Option<u8>| Coding {
            no_context_takeover,
            max_window_bits: bits.unwrap_or(Coding::default().max_window_bits),
        };
        let deflate = Deflate {
            name: Name::PermessageDeflate,
            server: coding(self.server_no_context_takeover, self.server_max_window_bits),
            client: coding(
                answer.client_no_context_takeover,
                answer.client_max_window_bits,
            ),
        };
        Some((deflate, value))
    }
}

/// The status of a response of HTTP/1 whose first line has arrived; `None` for
/// anything else.
#[must_use]
pub fn response_status(octets: &[u8]) -> Option<u16> {
    let (line, _) = octets.split_at(octets.iter().position(|octet| *octet == b'\n')?);
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    let status = rest.split(' ').nth(1)?.trim_end();
    status.parse().ok().filter(|s| (100..1000).contains(s))
}
