//! The opening handshake: octets to agreement and back.
//!
//! [`detect`] finds the version from the head alone. Each challenge has a file
//! of its own with both sides of one secret: what the server answers and what
//! the client verifies. All that is echoed passes one checked builder,
//! `HeadWriter`.

mod head;
mod hixie75;
mod hixie76;
mod hybi04;
mod hybi05;
mod origin;
mod request;
mod write;

use crate::bytes::Output;
use crate::error::{Refusal, Unsendable, Violation};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Challenge, Version, Versions};

pub(crate) use head::Scan;
use head::is_field_text;
pub use head::{Head, Header};
pub use hixie76::number as hixie76_number;
pub(crate) use hybi04::{MaskingKey, masking_key};
pub use hybi05::accept;
pub use origin::Origins;
pub use request::Request;
use write::HeadWriter;
pub use write::HttpResponse;
pub(crate) use write::write_refusal;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// Plain HTTP.
    Http,
    /// An upgrade to this version.
    Upgrade(&'static Version),
}

/// Finds the version from the head alone.
///
/// # Errors
///
/// The refusal that fits, where no version does or the version is not `on`.
pub fn detect(head: &Head<'_>, on: Versions) -> Result<Detected, Refusal> {
    let [method, _, http] = head.first_line();
    let upgrade = head.has_token("Upgrade", "websocket");
    // Looked at whatever comes of it, so that a watcher sees what decided.
    let connection = head.has_token("Connection", "upgrade");
    if !upgrade {
        let sec = |h: &Header<'_>| is_sec(h.name);
        if head.headers().iter().any(sec) {
            return Err(Refusal::UpgradeMissing);
        }
        // RFC 9112 section 3.2; HTTP/1.0, which health checks speak, has none.
        if http == "HTTP/1.1" {
            check_host(head)?;
        }
        return Ok(Detected::Http);
    }
    if http != "HTTP/1.1" {
        return Err(Refusal::HttpVersion);
    }
    if method != "GET" {
        return Err(Refusal::MethodNotGet);
    }
    if !connection {
        return Err(Refusal::ConnectionMissing);
    }
    check_host(head)?;
    let version = version(head, on)?;
    if on.contains(version) {
        Ok(Detected::Upgrade(version))
    } else {
        Err(Refusal::VersionOff { version, on })
    }
}

/// The decision table; its first row that fits decides.
fn version(head: &Head<'_>, on: Versions) -> Result<&'static Version, Refusal> {
    let key = head.at_most_one("Sec-WebSocket-Key")?.is_some();
    let keys = (
        head.at_most_one("Sec-WebSocket-Key1")?.is_some(),
        head.at_most_one("Sec-WebSocket-Key2")?.is_some(),
    );
    let draft = head.at_most_one("Sec-WebSocket-Draft")?.map(|h| h.value);
    if let Some(number) = version_number(head)? {
        let version = Version::numbered(number).ok_or(Refusal::VersionUnknown { number, on })?;
        // The number decides; numbered keys beside it mean nothing.
        return if key || !on.contains(version) {
            Ok(version)
        } else {
            Err(Refusal::KeyMissing)
        };
    }
    let row = |challenge, draft| {
        crate::version::VERSIONS
            .iter()
            .find(|v| v.number.is_none() && v.challenge == challenge && v.has_draft() == draft)
            .ok_or(Refusal::VersionMissing)
    };
    match (key, draft, keys) {
        // HAProxy adds a key of its own to hixie requests; no script in a
        // browser can set a numbered key, so both of them still prove a client
        // of hixie-76.
        (_, None | Some(b"0"), (true, true)) => row(Challenge::Hixie76, false),
        (true, ..) => Err(Refusal::VersionMissing),
        (false, Some(b"1" | b"2" | b"3"), (true, true)) => row(Challenge::Hixie76, true),
        (false, Some(_), _) => Err(Refusal::DraftMalformed),
        (false, None, (true, false) | (false, true)) => Err(Refusal::KeyAlone),
        (false, None, (false, false)) => {
            let other_sec = head
                .headers()
                .iter()
                .any(|h| is_sec(h.name) && !h.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"));
            if other_sec {
                return Err(Refusal::VersionMissing);
            }
            if !head.has("Origin") {
                return Err(Refusal::OriginMissing);
            }
            row(Challenge::Hixie75, false)
        }
    }
}

/// `Sec-WebSocket-Version`: one number from 0 to 255 without a leading zero
/// (RFC 6455 section 4.3), at most once (section 11.3.5).
fn version_number(head: &Head<'_>) -> Result<Option<u8>, Refusal> {
    let mut all = head.all("Sec-WebSocket-Version");
    let (first, second) = (all.next(), all.next());
    let Some(header) = first else {
        return Ok(None);
    };
    if second.is_some() || header.value.contains(&b',') {
        return Err(Refusal::VersionList);
    }
    let digits = header.value;
    let well_formed = digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| well_formed)
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or(Refusal::VersionMalformed)
}

fn is_sec(name: &str) -> bool {
    name.get(..14)
        .is_some_and(|start| start.eq_ignore_ascii_case("Sec-WebSocket-"))
}

fn check_host(head: &Head<'_>) -> Result<(), Refusal> {
    let host = head.at_most_one("Host")?.map(|h| h.value);
    match host {
        None | Some([]) => Err(Refusal::HostMissing),
        Some(host) if is_authority(host) => Ok(()),
        Some(_) => Err(Refusal::HostMalformed),
    }
}

/// Whether these octets can be a host and port (RFC 3986 section 3.2.2).
pub(crate) fn is_authority(octets: &[u8]) -> bool {
    octets
        .iter()
        .all(|o| o.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(o))
}

/// An answer that was read.
#[derive(Debug)]
pub struct Response<'b> {
    head: Head<'b>,
    subprotocol: Option<&'b str>,
}

impl<'b> Response<'b> {
    /// The head, to look headers up in.
    #[must_use]
    pub fn head(&self) -> &Head<'b> {
        &self.head
    }

    /// The status code, 0 where there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let [_, status, _] = self.head.first_line();
        if status.len() == 3 {
            status.parse().unwrap_or_default()
        } else {
            0
        }
    }

    /// The subprotocol the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'b str> {
        self.subprotocol
    }
}

/// What a server keeps of a request until it accepts: the request's buffer may
/// be gone by then.
#[derive(Debug)]
pub(crate) struct PendingResponse {
    pub(crate) version: &'static Version,
    proof: Proof,
    origin: String,
    location: String,
}

#[derive(Debug)]
enum Proof {
    Nothing,
    Numbers([u32; 2]),
    Key(String),
}

impl PendingResponse {
    /// Reads the challenge of a request that was found to be an upgrade.
    pub(crate) fn prepare<T: Trace>(
        request: &Request<'_>,
        version: &'static Version,
        public_url: Option<&str>,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<PendingResponse, Refusal> {
        let proof = match version.challenge {
            Challenge::Hixie75 => Proof::Nothing,
            Challenge::Hixie76 => Proof::Numbers(hixie76::numbers(request.head(), spans)?),
            Challenge::Hybi04 | Challenge::Hybi05 => {
                let key = hybi05::read_key(request.head(), version)?;
                if T::WATCHING {
                    hybi05::watched_accept(&key, spans);
                }
                Proof::Key(key)
            }
        };
        // The client's view of its own URL: Host and target verbatim.
        let location = if version.number.is_none() {
            match public_url {
                Some(base) => format!("{base}{}", request.target()),
                None => format!("ws://{}{}", request.host(), request.target()),
            }
        } else {
            String::new()
        };
        Ok(PendingResponse {
            version,
            proof,
            origin: request.origin().unwrap_or_default().to_owned(),
            location,
        })
    }

    /// Says what the client dialled: its scheme and authority.
    pub(crate) fn set_public_url(&mut self, base: &str) {
        let after_scheme = self.location.find("://").map_or(0, |i| i + 3);
        let authority = self.location.get(after_scheme..).unwrap_or_default();
        if let Some(path) = authority.find('/') {
            let target = authority.get(path..).unwrap_or_default();
            self.location = format!("{base}{target}");
        }
    }

    /// Writes the 101 head. hybi-04 makes its masking key on the way.
    pub(crate) fn write_response<T: Trace>(
        &self,
        subprotocol: Option<&str>,
        out: &mut Output<'_>,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<Option<MaskingKey>, Unsendable> {
        let nonce = match self.version.challenge {
            Challenge::Hybi04 => Some(hybi04::nonce(out)),
            _ => None,
        };
        let mut secret = None;
        let mut head = HeadWriter::begin(out.octets, status_line(self.version));
        match &self.proof {
            Proof::Nothing => hixie75::write_response(&self.origin, &self.location, &mut head),
            Proof::Numbers(_) => hixie76::write_response(&self.origin, &self.location, &mut head),
            Proof::Key(key) => {
                hybi05::write_response(key, nonce.as_deref(), &mut head, spans);
                secret = nonce.map(|nonce| masking_key(key, &nonce));
            }
        }
        if let Some(name) = subprotocol {
            head.header(self.version.subprotocol_header(), name);
        }
        head.end()?;
        Ok(secret)
    }

    /// The sixteen octets that answer the eight (hixie-76 section 5.2).
    pub(crate) fn digest<T: Trace>(
        &self,
        key3: [u8; 8],
        spans: &mut SpanWriter<'_, T>,
    ) -> [u8; 16] {
        match self.proof {
            Proof::Numbers(numbers) => hixie76::digest(numbers, key3, spans),
            Proof::Nothing | Proof::Key(_) => [0; 16],
        }
    }
}

/// The first line of a 101, as each draft prints it.
fn status_line(version: &Version) -> &'static str {
    match version.challenge {
        Challenge::Hixie75 => "HTTP/1.1 101 Web Socket Protocol Handshake",
        Challenge::Hixie76 => "HTTP/1.1 101 WebSocket Protocol Handshake",
        Challenge::Hybi04 | Challenge::Hybi05 => "HTTP/1.1 101 Switching Protocols",
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
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
    /// several are joined.
    pub subprotocols: &'a [&'a str],
    /// More headers, such as Cookie.
    pub headers: &'a [(&'a str, &'a str)],
}

impl ClientRequest<'_> {
    /// hixie clients always send an origin, in lower case.
    fn hixie_origin(&self) -> String {
        match self.origin {
            Some(origin) => origin.to_ascii_lowercase(),
            None => format!("http://{}", self.host.to_ascii_lowercase()),
        }
    }

    /// hixie asks for one string.
    fn opaque_subprotocol(&self) -> Option<String> {
        (!self.subprotocols.is_empty()).then(|| self.subprotocols.join(" "))
    }
}

/// What a client knows and a server must prove to have read.
#[derive(Debug)]
pub(crate) struct ExpectedResponse {
    pub(crate) version: &'static Version,
    key: String,
    numbers: [u32; 2],
    key3: [u8; 8],
    origin: String,
    /// The URL that was dialled: what may stand before its target, and that.
    bases: Vec<String>,
    target: String,
    offered: Vec<String>,
    /// The names of the extensions that were offered: none by a client of ours,
    /// some by one whose request was recorded.
    extensions: Vec<String>,
}

impl ExpectedResponse {
    /// Reads what was asked out of the request itself, so that a recorded
    /// request serves as well as one of ours.
    pub(crate) fn of(
        request: &Request<'_>,
        key3: [u8; 8],
        secure: bool,
    ) -> Result<ExpectedResponse, Refusal> {
        let version = request.version().ok_or(Refusal::UpgradeMissing)?;
        let text = |name| request.head().get(name).and_then(Header::text);
        let scheme = if secure { "wss" } else { "ws" };
        Ok(ExpectedResponse {
            version,
            key: text("Sec-WebSocket-Key").unwrap_or_default().to_owned(),
            numbers: match version.challenge {
                Challenge::Hixie76 => {
                    hixie76::numbers(request.head(), &mut SpanWriter::new(&mut (), 0))?
                }
                _ => [0; 2],
            },
            key3,
            origin: request.origin().unwrap_or_default().to_owned(),
            bases: vec![format!("{scheme}://{}", request.host())],
            target: request.target().to_owned(),
            offered: request.subprotocols().map(str::to_owned).collect(),
            extensions: extensions(request.head()).map(str::to_owned).collect(),
        })
    }

    /// Another scheme and authority that the location may name.
    pub(crate) fn allow_location(&mut self, base: String) {
        self.bases.push(base);
    }

    /// Checks the answer's head. hybi-04 makes its masking key on the way.
    pub(crate) fn verify<'b, T: Trace>(
        &self,
        head: Head<'b>,
        spans: &mut SpanWriter<'_, T>,
    ) -> (Response<'b>, Result<Option<MaskingKey>, Violation>) {
        let mut response = Response {
            head,
            subprotocol: None,
        };
        let status = response.status();
        let verdict = if status == 101 {
            match self.version.challenge {
                Challenge::Hixie75 => hixie75::verify(self, &response.head),
                Challenge::Hixie76 => hixie76::verify(self, &response.head),
                Challenge::Hybi04 | Challenge::Hybi05 => {
                    hybi05::verify(self, &response.head, spans)
                }
            }
        } else {
            Err(Violation::ResponseStatus { status })
        };
        let verdict = verdict.and_then(|subprotocol| {
            response.subprotocol = subprotocol;
            self.masking_key(&response.head, spans)
        });
        (response, verdict)
    }

    fn masking_key<T: Trace>(
        &self,
        head: &Head<'_>,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<Option<MaskingKey>, Violation> {
        if self.version.challenge != Challenge::Hybi04 {
            return Ok(None);
        }
        let nonce = head
            .only("Sec-WebSocket-Nonce")
            .and_then(Header::text)
            .ok_or(Violation::NonceMissing)?;
        Ok(Some(hybi04::watched_masking_key(&self.key, nonce, spans)))
    }

    /// Checks the sixteen octets of hixie-76.
    pub(crate) fn verify_digest<T: Trace>(
        &self,
        digest: &[u8],
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<(), Violation> {
        if hixie76::digest(self.numbers, self.key3, spans) == digest {
            Ok(())
        } else {
            Err(Violation::DigestMismatch)
        }
    }
}

/// What both hixie versions ask of an answer.
impl ExpectedResponse {
    /// Origin and location come back as they were sent, once each.
    fn verify_echo(&self, head: &Head<'_>, origin: &str, location: &str) -> Result<(), Violation> {
        let is =
            |name: &str, want: &str| head.only(name).is_some_and(|h| h.value == want.as_bytes());
        if !is(origin, &self.origin) {
            return Err(Violation::OriginMismatch);
        }
        let mut locations = self
            .bases
            .iter()
            .map(|base| format!("{base}{}", self.target));
        if !locations.any(|url| is(location, &url)) {
            return Err(Violation::LocationMismatch);
        }
        Ok(())
    }

    /// A hixie client that asked wants the whole string back; one that did not
    /// ask does not look.
    fn verify_opaque_subprotocol<'b>(
        &self,
        head: &Head<'b>,
        name: &str,
    ) -> Result<Option<&'b str>, Violation> {
        let Some(offered) = self.offered.first() else {
            return Ok(None);
        };
        head.only(name)
            .and_then(Header::text)
            .filter(|response| response == offered)
            .map(Some)
            .ok_or(Violation::SubprotocolMismatch)
    }
}

/// The names of the extensions in a head, without their parameters.
fn extensions<'h>(head: &'h Head<'_>) -> impl Iterator<Item = &'h str> {
    head.all("Sec-WebSocket-Extensions")
        .filter_map(Header::text)
        .flat_map(|value| value.split(','))
        .filter_map(|offer| offer.split(';').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Writes a request of this version; the eight octets of hixie-76 are its
/// last.
pub(crate) fn write_request(
    version: &'static Version,
    request: &ClientRequest<'_>,
    out: &mut Output<'_>,
) -> Result<(), Unsendable> {
    let target_ok = request.target.starts_with('/')
        && request
            .target
            .bytes()
            .all(|o| matches!(o, 0x21..=0x7e) && o != b'#');
    if !target_ok || !is_authority(request.host.as_bytes()) {
        return Err(Unsendable::HeaderValue);
    }
    let line = format!("GET {} HTTP/1.1", request.target);
    match version.challenge {
        Challenge::Hixie75 => {
            let mut head = HeadWriter::begin(out.octets, &line);
            hixie75::write_request(request, &mut head);
            head.end()
        }
        Challenge::Hixie76 => {
            let keys = [hixie76::make_key(out), hixie76::make_key(out)];
            let key3: [u8; 8] = out.draw();
            let mut head = HeadWriter::begin(out.octets, &line);
            hixie76::write_request(version, request, &keys, &mut head);
            head.end()?;
            out.octets.extend_from_slice(&key3);
            Ok(())
        }
        Challenge::Hybi04 | Challenge::Hybi05 => {
            let key = hybi05::make_key(out);
            let mut head = HeadWriter::begin(out.octets, &line);
            hybi05::write_request(version, request, &key, &mut head);
            head.end()
        }
    }
}

/// Names the eight or sixteen octets outside the head.
pub(crate) fn name_body<T: Trace>(octets: usize, field: Field, spans: &mut SpanWriter<'_, T>) {
    spans.octets(octets, field, 0);
}
