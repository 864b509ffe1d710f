//! The client's end of the opening handshake: request out, response in.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::ask::ClientRequest;
use super::challenged::{Challenged, Violated};
use super::detect::is_authority;
use super::head::{Head, Header};
use super::policy::Config;
use super::request::Request;
use super::response::Response;
use super::scan::{HeadError, Scan};
use super::server::Derived;
use super::write::HeadWriter;
use super::{Agreement, hixie75, hixie76, hybi04, hybi05};
use crate::bytes::{Input, Output};
use crate::error::{Located, Refusal, Unsendable, Violation};
use crate::extension::{Compression, Deflate, HeldContexts, check_answer};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::{Challenge, Version, Versions};

/// What happened in the handshake.
#[derive(Debug)]
pub(crate) enum ClientEvent<'b> {
    /// The head of the response was read, and whether that is all.
    Response(Box<Response<'b>>, Option<Opened>),
    /// The digest of hixie-76 was read too.
    Open(Opened),
}

/// How the connection is open.
#[derive(Debug)]
pub(crate) enum Opened {
    /// As both ends agreed.
    Agreed(Agreement),
    /// As a client can read it that has not seen its own request.
    Unseen(&'static Version, Option<Deflate>),
}

/// How far the handshake has come.
#[derive(Debug)]
enum State {
    /// The head of the response is arriving.
    Head(Scan),
    /// The response was delivered, and this is wrong with it.
    Failed(Located<Violation>),
    /// hixie-76: the sixteen octets are arriving.
    Digest,
}

/// What the response is checked against.
#[derive(Debug)]
enum Expected {
    /// The request was seen.
    Known(Box<Challenged>),
    /// It was not: only what needs no request is checked. The version is that of
    /// the caller, or else the one that the response looks like.
    Unknown(Option<&'static Version>),
}

/// The client's end of one opening handshake.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    state: State,
    expected: Expected,
    /// The memory for the contexts of compression, where they were offered.
    contexts: Option<HeldContexts>,
}

impl ClientHandshake {
    /// Checks the server's response against this request, which includes the eight
    /// octets of hixie-76.
    pub(crate) fn of_request(
        request: &[u8],
        secure: bool,
        config: &Config,
    ) -> Result<ClientHandshake, Refusal> {
        let end = Scan::default()
            .find_end(request, config.limits.head_bytes)
            .map_err(|(error, _)| error.refusal())?
            .ok_or(Refusal::HeadMalformed)?;
        let (head, body) = request.split_at(end);
        let head = Head::request(head, config.limits.headers, &config.opaque_headers);
        let head = head.map_err(|(error, _)| error.refusal())?;
        let mut request = Request::unchecked(head);
        request
            .check(Versions::ALL)
            .map_err(|(refusal, _)| refusal)?;
        let key3 = body.first_chunk().copied().unwrap_or_default();
        Ok(ClientHandshake {
            state: State::Head(Scan::default()),
            expected: Expected::Known(Box::new(challenged_by(&request, key3, secure)?)),
            contexts: None,
        })
    }

    /// Reads a response whose request was not seen.
    pub(crate) fn without_request(version: Option<&'static Version>) -> ClientHandshake {
        ClientHandshake {
            state: State::Head(Scan::default()),
            expected: Expected::Unknown(version),
            contexts: None,
        }
    }

    /// Reads the sixteen octets of hixie-76 behind a response whose head was
    /// read elsewhere.
    pub(crate) fn digest_without_request(version: &'static Version) -> ClientHandshake {
        ClientHandshake {
            state: State::Digest,
            expected: Expected::Unknown(Some(version)),
            contexts: None,
        }
    }

    /// The version that was asked for, as far as it is known.
    pub(crate) fn version(&self) -> Option<&'static Version> {
        match &self.expected {
            Expected::Known(challenged) => Some(challenged.version),
            Expected::Unknown(version) => *version,
        }
    }

    /// Holds this memory, for the contexts that were offered.
    pub(crate) fn hold_contexts(&mut self, contexts: Option<HeldContexts>) {
        self.contexts = contexts;
    }

    /// Another scheme and authority that the location may name.
    pub(crate) fn allow_location(&mut self, base: String) {
        if let Expected::Known(challenged) = &mut self.expected {
            challenged.bases.push(base);
        }
    }

    /// What happened next in the input; `None` where more is needed.
    ///
    /// # Errors
    ///
    /// What is wrong with the response.
    pub(crate) fn next<'b, T: Trace>(
        &mut self,
        config: &Arc<Config>,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<ClientEvent<'b>>, Located<Violation>> {
        if let State::Head(scan) = &mut self.state {
            skip_interim(scan, config, input, trace);
        }
        match &mut self.state {
            State::Head(scan) => match find_head(scan, input.rest(), config) {
                Ok(None) => Ok(None),
                Ok(Some(end)) => self.read_response(end, input, trace).map(Some),
                Err((error, at)) => {
                    let start = input.position();
                    let n = input.take(at.end).len();
                    SpanWriter::new(trace, start).octets(n, Field::Unreadable, 0);
                    Err(Located::in_head(error.violation(), at, start))
                }
            },
            State::Failed(violation) => Err(violation.clone()),
            State::Digest => {
                let Some(digest) = input.rest().first_chunk::<16>().copied() else {
                    return Ok(None);
                };
                let start = input.position();
                let mut spans = SpanWriter::new(trace, start);
                spans.octets(16, Field::Digest, 0);
                input.take(16);
                let opened = self.verify_digest(&digest, &mut spans);
                opened
                    .map(|opened| Some(ClientEvent::Open(opened)))
                    .map_err(|violation| Located::new(violation, start..start + 16))
            }
        }
    }

    fn read_response<'b, T: Trace>(
        &mut self,
        end: usize,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<ClientEvent<'b>, Located<Violation>> {
        let start = input.position();
        let raw: &'b [u8] = input.take(end);
        let head = Head::response(raw).map_err(|(error, at)| {
            SpanWriter::new(trace, start).octets(end, Field::Unreadable, 0);
            Located::in_head(error.violation(), at, start)
        })?;
        let mut response = Response::new(head);
        let mut derived = Derived::default();
        let verified = if T::WATCHING {
            self.verify(&mut response, &mut SpanWriter::new(&mut derived, start))
        } else {
            self.verify(&mut response, &mut SpanWriter::new(&mut (), start))
        };
        let mut spans = SpanWriter::new(trace, start);
        response.head().name(&mut spans, false);
        derived.tell(&mut spans);
        let opened = match verified {
            Err((violation, at)) => {
                self.state = State::Failed(Located::in_head(violation, at, start));
                None
            }
            Ok(opened) if opened.version().has_body() => {
                self.state = State::Digest;
                None
            }
            Ok(opened) => Some(opened),
        };
        Ok(ClientEvent::Response(Box::new(response), opened))
    }

    /// Checks the head of the response.
    fn verify<T: Trace>(
        &mut self,
        response: &mut Response<'_>,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<Opened, Violated> {
        let status = response.status();
        if status != 101 {
            let at = response.head().first_line_at(1);
            return Err((Violation::ResponseStatus { status }, at));
        }
        match &mut self.expected {
            Expected::Known(challenged) => {
                let mut agreement = verify(challenged, response, spans)?;
                let deflate = agreement.deflate;
                let keeps_context = deflate.is_some_and(|deflate| deflate.keeps_context());
                let contexts = self.contexts.take();
                agreement.contexts = contexts.filter(|_| keeps_context);
                Ok(Opened::Agreed(agreement))
            }
            Expected::Unknown(version) => {
                let head = response.head();
                let guessed = looks_like(head);
                let found = version.or(guessed);
                let found = found.ok_or((Violation::UpgradeMismatch, head.missing_at()))?;
                *version = Some(found);
                verify_upgrade(found, head)?;
                let deflate = claimed_compression(found, head);
                response.set_compression(deflate);
                Ok(Opened::Unseen(found, deflate))
            }
        }
    }

    /// Checks the sixteen octets of hixie-76.
    fn verify_digest<T: Trace>(
        &self,
        digest: &[u8; 16],
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<Opened, Violation> {
        match &self.expected {
            Expected::Known(challenged) => {
                let proof = hixie76::digest(challenged.numbers, challenged.key3, spans);
                if proof != *digest {
                    return Err(Violation::DigestMismatch);
                }
                Ok(Opened::Agreed(Agreement {
                    version: challenged.version,
                    masking_key: None,
                    deflate: None,
                    contexts: None,
                }))
            }
            Expected::Unknown(Some(version)) => Ok(Opened::Unseen(version, None)),
            Expected::Unknown(None) => unreachable!("the head of the response tells the version"),
        }
    }
}

impl Opened {
    fn version(&self) -> &'static Version {
        match self {
            Opened::Agreed(agreement) => agreement.version,
            Opened::Unseen(version, _) => version,
        }
    }
}

/// Reads over responses with a status of 1xx other than 101: the final one comes
/// behind them (RFC 9110 section 15.2).
fn skip_interim<T: Trace>(
    scan: &mut Scan,
    config: &Arc<Config>,
    input: &mut Input<'_>,
    trace: &mut T,
) {
    while let Ok(Some(end)) = find_head(scan, input.rest(), config) {
        let (raw, _) = input.rest().split_at(end);
        // Nearly all are the final one, whose head is not parsed twice.
        if raw.get(9) != Some(&b'1') || raw.get(9..12) == Some(b"101") {
            return;
        }
        let Ok(head) = Head::response(raw) else {
            return;
        };
        let response = Response::new(head);
        if response.status() == 101 || !(100..200).contains(&response.status()) {
            return;
        }
        let mut spans = SpanWriter::new(trace, input.position());
        response.head().name(&mut spans, false);
        input.take(end);
        *scan = Scan::default();
    }
}

/// Looks for the end of a head.
fn find_head(
    scan: &mut Scan,
    octets: &[u8],
    config: &Config,
) -> Result<Option<usize>, (HeadError, Range<usize>)> {
    // A server of another protocol may send a line that never ends and wait.
    let other = octets.iter().zip(b"HTTP/").position(|(a, b)| a != b);
    match other {
        Some(i) => Err((HeadError::Malformed, i..i + 1)),
        None => scan.find_end(octets, config.limits.head_bytes),
    }
}

/// The version that a response looks like, by headers that are looked up, so that
/// the observer learns of them.
fn looks_like(head: &Head<'_>) -> Option<&'static Version> {
    let any = |names: [&str; 2]| names.map(|name| head.has(name)).contains(&true);
    let accept = head.has("Sec-WebSocket-Accept");
    let name = if head.has("Sec-WebSocket-Nonce") {
        "hybi-04"
    } else if accept {
        "rfc6455"
    } else if any(["Sec-WebSocket-Location", "Sec-WebSocket-Origin"]) {
        "hixie-76"
    } else if any(["WebSocket-Location", "WebSocket-Origin"]) {
        "hixie-75"
    } else {
        return None;
    };
    Version::named(name)
}

/// The compression that a response agrees to, where the request was not seen: any
/// offer may have asked for it.
fn claimed_compression(version: &'static Version, head: &Head<'_>) -> Option<Deflate> {
    let answered: Vec<&[u8]> = head.extension_values().collect();
    let answered = || answered.iter().copied();
    check_answer(version, answered(), answered()).ok()?
}

/// The checks of a response that need no request.
fn verify_upgrade(version: &Version, head: &Head<'_>) -> Result<(), Violated> {
    match version.challenge {
        Challenge::Hixie75 => hixie75::verify_upgrade(head),
        Challenge::Hixie76 => hixie76::verify_upgrade(head),
        Challenge::Hybi04 | Challenge::Hybi05 => hybi05::verify_upgrade(head),
    }
}

/// Reads what was asked out of the request itself, so that a recorded
/// request serves as well as one of ours.
fn challenged_by(
    request: &Request<'_>,
    key3: [u8; 8],
    secure: bool,
) -> Result<Challenged, Refusal> {
    let version = request.version().ok_or(Refusal::UpgradeMissing)?;
    let text = |name| request.head().get(name).and_then(Header::text);
    let scheme = if secure { "wss" } else { "ws" };
    let numbers = match version.challenge {
        Challenge::Hixie76 => {
            let mut nothing = ();
            let mut spans = SpanWriter::new(&mut nothing, 0);
            hixie76::numbers(request.head(), &mut spans).map_err(|(refusal, _)| refusal)?
        }
        _ => [0; 2],
    };
    Ok(Challenged {
        version,
        key: text("Sec-WebSocket-Key").unwrap_or_default().to_owned(),
        numbers,
        key3,
        origin: request.origin().unwrap_or_default().to_owned(),
        bases: vec![format!("{scheme}://{}", request.host())],
        target: request.target().to_owned(),
        subprotocols: request.subprotocols().map(str::to_owned).collect(),
        extensions: request
            .head()
            .extension_values()
            .map(<[u8]>::to_vec)
            .collect(),
    })
}

/// Checks the head of the response. hybi-04 makes its masking key on the
/// way.
fn verify<T: Trace>(
    challenged: &Challenged,
    response: &mut Response<'_>,
    spans: &mut SpanWriter<'_, T>,
) -> Result<Agreement, Violated> {
    let head = response.head();
    verify_upgrade(challenged.version, head)?;
    let (subprotocol, deflate) = match challenged.version.challenge {
        Challenge::Hixie75 => (hixie75::verify(challenged, head)?, None),
        Challenge::Hixie76 => (hixie76::verify(challenged, head)?, None),
        Challenge::Hybi04 | Challenge::Hybi05 => hybi05::verify(challenged, head, spans)?,
    };
    let masking_key = match challenged.version.challenge {
        Challenge::Hybi04 => Some(masking_key(&challenged.key, head, spans)?),
        _ => None,
    };
    response.set_subprotocol(subprotocol);
    response.set_compression(deflate);
    Ok(Agreement {
        version: challenged.version,
        masking_key,
        deflate,
        contexts: None,
    })
}

fn masking_key<T: Trace>(
    key: &str,
    head: &Head<'_>,
    spans: &mut SpanWriter<'_, T>,
) -> Result<[u8; 20], Violated> {
    let nonce = head.only("Sec-WebSocket-Nonce").and_then(Header::text);
    let nonce = nonce.ok_or_else(|| (Violation::NonceMissing, head.missing_at()))?;
    hybi04::derive(key.as_bytes(), nonce, spans);
    Ok(hybi04::masking_key(key.as_bytes(), nonce))
}

/// Writes a request of this version, with an offer of compression where it is on;
/// the eight octets of hixie-76 are its last.
///
/// # Errors
///
/// [`Unsendable::HeaderValue`] where a value would add a line; nothing is
/// written then.
pub(crate) fn write_request(
    version: &'static Version,
    request: &ClientRequest<'_>,
    compression: &Compression,
    out: &mut Output<'_>,
) -> Result<(), Unsendable> {
    let visible = |octet: u8| matches!(octet, 0x21..=0x7e) && octet != b'#';
    let target_ok = request.target.starts_with('/') && request.target.bytes().all(visible);
    if !target_ok || !is_authority(request.host.as_bytes()) {
        return Err(Unsendable::HeaderValue);
    }
    let line = format!("GET {} HTTP/1.1", request.target);
    match version.challenge {
        Challenge::Hixie75 => {
            let mut head = HeadWriter::start(out.octets, &line);
            hixie75::write_request(request, &mut head);
            head.end()
        }
        Challenge::Hixie76 => {
            let keys = [hixie76::make_key(out), hixie76::make_key(out)];
            let key3: [u8; 8] = out.draw();
            let mut head = HeadWriter::start(out.octets, &line);
            hixie76::write_request(version, request, &keys, &mut head);
            head.end()?;
            out.octets.extend_from_slice(&key3);
            Ok(())
        }
        Challenge::Hybi04 | Challenge::Hybi05 => {
            let key = hybi05::make_key(out);
            let mut head = HeadWriter::start(out.octets, &line);
            hybi05::write_request(version, request, compression, &key, &mut head);
            head.end()
        }
    }
}
