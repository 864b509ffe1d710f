//! The server's end of the opening handshake: request in, response out.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::detect::Refused;
use super::head::{Head, line_and_octet};
use super::malformed::why_no_request;
use super::name::Name;
use super::notes::RequestLine;
use super::policy::Config;
use super::request::Request;
use super::scan::{At, HeadError, Scan};
use super::write::{CarriedHeader, HttpResponse, write_refusal};
use super::{Agreement, hixie75, hixie76, hybi04, hybi05};
use crate::bytes::{Input, Output};
use crate::error::{Located, Refusal, Unsendable};
use crate::extension::{self, HeldContexts};
use crate::trace::{Field, Span, SpanWriter, Trace};
use crate::version::{Challenge, Version};

/// What happened in the handshake.
#[derive(Debug)]
pub(crate) enum ServerEvent<'b> {
    /// A client asks for an upgrade.
    Request(Box<Request<'b>>),
    /// A client asks for something else.
    Http(Box<Request<'b>>),
    /// These octets are refused; the response is written.
    Refused(Located<Refusal>, &'b [u8]),
    /// The eight octets of hixie-76 have arrived, and the digest is written.
    Open(Agreement),
}

/// How far the handshake has come.
#[derive(Debug)]
enum State {
    /// The head of the request is arriving.
    Head(Scan),
    /// The request was delivered; a response is due.
    Requested(PendingResponse),
    /// A request without an upgrade was delivered; a response is due, with or
    /// without a body.
    Http { with_body: bool },
    /// hixie-76: the head of the response was sent; eight octets are arriving.
    Key3(&'static Version, [u32; 2]),
}

/// The server's end of one opening handshake.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    state: State,
    /// The client is known to use TLS, whatever the public URL says.
    secure: bool,
}

impl ServerHandshake {
    pub(crate) fn new() -> ServerHandshake {
        ServerHandshake {
            state: State::Head(Scan::default()),
            secure: false,
        }
    }

    /// The client uses TLS.
    pub(crate) fn set_secure(&mut self) {
        self.secure = true;
    }

    /// Whether the request has not arrived.
    pub(crate) fn awaits_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// The version that was asked for, once a request was delivered.
    pub(crate) fn version(&self) -> Option<&'static Version> {
        match &self.state {
            State::Requested(response) => Some(response.version),
            State::Key3(version, _) => Some(version),
            State::Head(_) | State::Http { .. } => None,
        }
    }

    /// What happened next in the input; `None` where more input, or a response
    /// of the caller, is needed. `config` becomes that of the request's route.
    // Inlined, it copies the request once more.
    #[inline(never)]
    pub(crate) fn next<'b, T: Trace>(
        &mut self,
        config: &mut Arc<Config>,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Option<ServerEvent<'b>> {
        match &mut self.state {
            State::Head(scan) => {
                let noted = note_whole(*scan, input.rest(), config);
                let end = match &noted {
                    Some((request, _)) => Ok(Some(request.head().noted_length())),
                    None => find_head(scan, input.rest(), config),
                };
                match end {
                    Ok(None) => None,
                    Ok(Some(end)) => {
                        Some(self.read_request((end, noted), config, input, out, trace))
                    }
                    Err(refused) => {
                        Some(self.refuse_unreadable(refused, config, input, out, trace))
                    }
                }
            }
            State::Requested(_) | State::Http { .. } => None,
            State::Key3(version, numbers) => {
                let key3 = *input.rest().first_chunk::<8>()?;
                let mut spans = SpanWriter::new(trace, input.position());
                spans.octets(8, Field::Key3, 0);
                let digest = hixie76::digest(*numbers, key3, &mut spans);
                out.octets.extend_from_slice(&digest);
                input.take(8);
                Some(ServerEvent::Open(Agreement {
                    version,
                    masking_key: None,
                    deflate: None,
                    contexts: None,
                }))
            }
        }
    }

    fn read_request<'b, T: Trace>(
        &mut self,
        (end, noted): (usize, Option<Noted<'b>>),
        config: &mut Arc<Config>,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> ServerEvent<'b> {
        let start = input.position();
        let raw: &'b [u8] = input.take(end);
        let read = match noted.and_then(|noted| take_noted(raw, noted)) {
            Some(request) => Ok(request),
            None => Head::request(raw, config.limits.headers, &config.opaque_headers)
                .map(|head| Box::new(Request::unchecked(head))),
        };
        let mut request = match read {
            Ok(request) => request,
            Err((error, at)) => {
                SpanWriter::new(trace, start).octets(end, Field::Unreadable, 0);
                let refused = (error.refusal(), at);
                return self.refuse_head(refused, start, raw, config, out);
            }
        };
        let routes = config.routes.as_ref();
        if let Some(of_route) = routes.and_then(|r| r.config_for(request.head())) {
            *config = of_route;
        }
        // The observer learns of the lines in order, and then of what was
        // derived from them.
        let mut derived = Derived::default();
        let checked = if T::WATCHING {
            let mut spans = SpanWriter::new(&mut derived, start);
            self.check(&mut request, config, &mut spans)
        } else {
            self.check(&mut request, config, &mut SpanWriter::new(&mut (), start))
        };
        if T::WATCHING {
            let mut spans = SpanWriter::new(trace, start);
            request.head().name(&mut spans, true);
            derived.tell(&mut spans);
        }
        match checked {
            Ok(()) if request.version().is_some() => ServerEvent::Request(request),
            Ok(()) => ServerEvent::Http(request),
            Err(refused) => self.refuse_head(refused, start, raw, config, out),
        }
    }

    /// Checks a request; the state is then the one in which a response is due.
    fn check<T: Trace>(
        &mut self,
        request: &mut Request<'_>,
        config: &Config,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<(), Refused> {
        let with_body = request.method() != "HEAD";
        self.state = State::Http { with_body };
        let secure = self.secure || config.is_secure();
        // First: a page that may not ask here learns nothing else.
        config.hosts.check(request.head(), secure)?;
        request.check(config.versions)?;
        let Some(version) = request.version() else {
            return Ok(());
        };
        if T::WATCHING {
            // The caller chooses among the subprotocols, so they decide.
            request.head().look_up(version.subprotocol_header());
        }
        if !config.origins.are_any()
            && !config
                .origins
                .allow(request.origin(), request.host(), secure)
        {
            let names = version.origin.iter();
            let origin = names.filter_map(|name| request.head().get(name)).next();
            let at = origin.map_or_else(|| request.head().missing_at(), |h| h.value_at());
            return Err((Refusal::OriginNotAllowed, at));
        }
        let base = Base {
            public_url: config.public_url.as_deref(),
            secure: self.secure,
        };
        let mut response = PendingResponse::prepare(request, version, &base, spans)?;
        response.choose_compression(request, config);
        self.state = State::Requested(response);
        Ok(())
    }

    /// Octets that are no head: they are named up to the one that shows it, and
    /// thrown away.
    fn refuse_unreadable<'b, T: Trace>(
        &mut self,
        refused: Refused,
        config: &Config,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> ServerEvent<'b> {
        let start = input.position();
        let raw: &'b [u8] = input.take(refused.1.end);
        SpanWriter::new(trace, start).octets(raw.len(), Field::Unreadable, 0);
        self.refuse_head(refused, start, raw, config, out)
    }

    fn refuse_head<'b>(
        &mut self,
        (refusal, at): Refused,
        start: u64,
        raw: &'b [u8],
        config: &Config,
        out: &mut Output<'_>,
    ) -> ServerEvent<'b> {
        let place = names_place(refusal).then(|| line_and_octet(raw, at.start));
        if let Some(with_body) = self.response_body() {
            write_refusal(refusal, place, config, with_body, out.octets);
        }
        ServerEvent::Refused(Located::in_head(refusal, at, start), raw)
    }

    /// Writes the 101, with these headers that are carried. Gives the agreement,
    /// unless the eight octets of hixie-76 are due.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where no upgrade is asked for,
    /// [`Unsendable::HeaderValue`] where the subprotocol would add a line.
    pub(crate) fn accept(
        &mut self,
        subprotocol: Option<&str>,
        carried: &[CarriedHeader<'_>],
        out: &mut Output<'_>,
    ) -> Result<Option<Agreement>, Unsendable> {
        let State::Requested(response) = &mut self.state else {
            return Err(Unsendable::NotOpen);
        };
        let masking_key = response.write(subprotocol, carried, out)?;
        let version = response.version;
        if let Proof::Hixie76(_, numbers) = response.proof {
            self.state = State::Key3(version, numbers);
            return Ok(None);
        }
        Ok(Some(Agreement {
            version,
            masking_key,
            deflate: response.extensions.map(|answer| answer.deflate),
            contexts: response.contexts.take(),
        }))
    }

    /// Sets the URL that the client dialled, where it differs from its Host.
    pub(crate) fn set_public_url(&mut self, base: &str) {
        if let State::Requested(response) = &mut self.state {
            if let Proof::Hixie75(echo) | Proof::Hixie76(echo, _) = &mut response.proof {
                echo.set_base(base);
            }
        }
    }

    /// Writes a refusal, unless the head of a 101 was written.
    pub(crate) fn refuse(&mut self, refusal: Refusal, config: &Config, out: &mut Output<'_>) {
        if let Some(with_body) = self.response_body() {
            write_refusal(refusal, None, config, with_body, out.octets);
        }
    }

    /// Writes another response.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] after the head of a 101,
    /// [`Unsendable::HeaderValue`] where a header would add a line.
    pub(crate) fn respond(
        &mut self,
        response: &HttpResponse<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        let with_body = self.response_body().ok_or(Unsendable::NotOpen)?;
        response.write(with_body, out.octets)
    }

    /// Whether a response has a body; `None` where it was sent.
    fn response_body(&self) -> Option<bool> {
        match self.state {
            State::Head(_) | State::Requested(_) => Some(true),
            State::Http { with_body } => Some(with_body),
            State::Key3(..) => None,
        }
    }
}

/// Whether the place of this refusal helps to find its cause: that of a value or
/// an octet which is there does, that of one which is missing does not.
fn names_place(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::HeadMalformed
            | Refusal::BareLf
            | Refusal::HeadFolded
            | Refusal::HeaderRepeated { .. }
            | Refusal::TargetInvalid { .. }
            | Refusal::HostMalformed
            | Refusal::BodyUnexpected
            | Refusal::VersionMalformed
            | Refusal::VersionList
            | Refusal::DraftMalformed
            | Refusal::KeyMalformed { .. }
            | Refusal::KeyWithoutDigits { .. }
            | Refusal::KeyWithoutSpaces { .. }
            | Refusal::KeyNotDivisible { .. }
            | Refusal::KeyTooLarge { .. }
            | Refusal::OriginMalformed
            | Refusal::SubprotocolMalformed
    )
}

/// A request whose head was noted, and its first line.
type Noted<'b> = (Box<Request<'b>>, RequestLine);

/// Notes a head that has arrived at once, as nearly all do. The request is made
/// where it stays, since it is large.
fn note_whole<'b>(scan: Scan, octets: &[u8], config: &Config) -> Option<Noted<'b>> {
    let max = usize::try_from(config.limits.head_bytes).unwrap_or(usize::MAX);
    if !scan.is_new() || !octets.first()?.is_ascii_alphabetic() {
        return None;
    }
    let octets = octets.get(..max).unwrap_or(octets);
    let mut request = Box::new(Request::unchecked(Head::unread()));
    let head = request.head_mut();
    let line = head.note_request(octets, config.limits.headers, &config.opaque_headers)?;
    Some((request, line))
}

/// The request of the octets that were noted.
fn take_noted<'b>(raw: &'b [u8], (mut request, line): Noted<'b>) -> Option<Box<Request<'b>>> {
    request.head_mut().take_request(raw, line)?;
    Some(request)
}

/// Looks for the end of a head.
fn find_head(scan: &mut Scan, octets: &[u8], config: &Config) -> Result<Option<usize>, Refused> {
    let refused = |(error, at): At<HeadError>| (error.refusal(), at);
    match octets.first() {
        None => return Ok(None),
        Some(0x16) => return Err((Refusal::TlsUnexpected, 0..1)),
        Some(first) if !first.is_ascii_alphabetic() => return Err((Refusal::HeadMalformed, 0..1)),
        Some(_) => {}
    }
    let limit = config.limits.head_bytes;
    if let Some(seen) = scan.seen_of_first_line() {
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        let within = octets.get(..max).unwrap_or(octets);
        if let Some(why) = why_no_request(within, seen) {
            return Err(refused(why));
        }
    }
    scan.find_end(octets, limit).map_err(refused)
}

/// What a server keeps of a request until it accepts: the request's buffer may
/// be gone by then.
#[derive(Debug)]
struct PendingResponse {
    version: &'static Version,
    proof: Proof,
    extensions: Option<extension::Answer>,
    /// The memory for the contexts of compression, where some are kept.
    contexts: Option<HeldContexts>,
}

/// What the response proves, and by what.
#[derive(Debug)]
enum Proof {
    Hixie75(Echo),
    Hixie76(Echo, [u32; 2]),
    /// hybi-04 also needs the key of the request.
    Hybi04([u8; 28], Vec<u8>),
    Hybi05([u8; 28]),
}

/// What a hixie response repeats of its request.
#[derive(Debug)]
struct Echo {
    /// The origin, then the location.
    octets: Vec<u8>,
    origin: usize,
    /// How much of the location is scheme and authority, which the client dialled;
    /// the target follows.
    base: usize,
}

/// What is known of the URL that the client dialled, beside its request.
struct Base<'a> {
    public_url: Option<&'a str>,
    /// The client uses TLS.
    secure: bool,
}

impl Echo {
    /// The client's view of its own URL: Host and target verbatim.
    fn of(request: &Request<'_>, base: &Base<'_>) -> Echo {
        let origin = request.origin_octets().unwrap_or_default();
        let base = match base.public_url {
            Some(base) => ["", base].map(str::as_bytes),
            None if base.secure => [b"wss://", request.host_octets()],
            None => [b"ws://", request.host_octets()],
        };
        Echo::join(origin, base, request.target().as_bytes())
    }

    fn join(origin: &[u8], base: [&[u8]; 2], target: &[u8]) -> Echo {
        let [scheme, authority] = base;
        Echo {
            octets: [origin, scheme, authority, target].concat(),
            origin: origin.len(),
            base: scheme.len() + authority.len(),
        }
    }

    fn set_base(&mut self, base: &str) {
        let (origin, location) = self.parts();
        let (_, target) = location.split_at(self.base);
        *self = Echo::join(origin, [b"", base.as_bytes()], target);
    }

    /// Origin and location.
    fn parts(&self) -> (&[u8], &[u8]) {
        self.octets.split_at(self.origin)
    }
}

impl PendingResponse {
    /// Reads the challenge of a request that asks for an upgrade.
    fn prepare<T: Trace>(
        request: &Request<'_>,
        version: &'static Version,
        base: &Base<'_>,
        spans: &mut SpanWriter<'_, T>,
    ) -> Result<PendingResponse, Refused> {
        let proof = match version.challenge {
            Challenge::Hixie75 => Proof::Hixie75(Echo::of(request, base)),
            Challenge::Hixie76 => {
                let numbers = hixie76::numbers(request.head(), spans)?;
                Proof::Hixie76(Echo::of(request, base), numbers)
            }
            Challenge::Hybi04 | Challenge::Hybi05 => {
                let key = hybi05::read_key(request.head(), version)?;
                hybi05::derive(key, spans);
                let proof = hybi05::proof(key);
                match version.challenge {
                    Challenge::Hybi04 => Proof::Hybi04(proof, key.to_vec()),
                    _ => Proof::Hybi05(proof),
                }
            }
        };
        Ok(PendingResponse {
            version,
            proof,
            extensions: None,
            contexts: None,
        })
    }

    /// Chooses among the extensions that the client offers.
    fn choose_compression(&mut self, request: &Request<'_>, config: &Config) {
        if !request.offers_extensions() {
            return;
        }
        let (compression, contexts) = config.new_compression();
        self.extensions = request.answer_to_extensions(&compression);
        self.contexts = contexts.filter(|_| {
            let deflate = self.extensions.map(|answer| answer.deflate);
            deflate.is_some_and(|deflate| deflate.keeps_context())
        });
    }

    /// Writes the head of the 101. Gives hybi-04's masking key, which is made on
    /// the way.
    fn write(
        &self,
        subprotocol: Option<&str>,
        carried: &[CarriedHeader<'_>],
        out: &mut Output<'_>,
    ) -> Result<Option<[u8; 20]>, Unsendable> {
        let nonce = match self.version.challenge {
            Challenge::Hybi04 => Some(hybi04::nonce(out)),
            _ => None,
        };
        let mut masking_key = None;
        let mut head = match &self.proof {
            Proof::Hixie75(echo) => hixie75::start_response(echo.parts(), out.octets),
            Proof::Hixie76(echo, _) => hixie76::start_response(echo.parts(), out.octets),
            Proof::Hybi04(proof, _) | Proof::Hybi05(proof) => {
                hybi05::start_response(proof, out.octets)
            }
        };
        if let (Proof::Hybi04(_, key), Some(nonce)) = (&self.proof, nonce) {
            head.header("Sec-WebSocket-Nonce", &nonce);
            masking_key = Some(hybi04::masking_key(key, &nonce));
        }
        if let Some(answer) = self.extensions {
            head.header(Name::Extensions.text(), &answer.to_string());
        }
        if let Some(name) = subprotocol {
            head.header(self.version.subprotocol_header(), name);
        }
        head.carried(carried);
        head.end()?;
        Ok(masking_key)
    }
}

/// Keeps what was derived from a head until the head was named.
#[derive(Default)]
pub(super) struct Derived(Vec<(Field, Vec<u8>)>);

impl Derived {
    /// Reports it now.
    pub(super) fn tell<T: Trace>(&mut self, spans: &mut SpanWriter<'_, T>) {
        for (field, octets) in mem::take(&mut self.0) {
            spans.derive(field, &octets);
        }
    }
}

impl Trace for Derived {
    fn see(&mut self, _: Span) {}

    fn derive(&mut self, field: Field, octets: &[u8]) {
        self.0.push((field, octets.to_vec()));
    }
}
