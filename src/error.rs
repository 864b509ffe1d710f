//! What goes wrong, and whose fault it is.
//!
//! Three errors for three culprits: a [`Refusal`] says why we will not
//! upgrade, and knows its HTTP status; a [`Violation`] says how the peer broke
//! the protocol, and knows its close code; an [`Unsendable`] says what we were
//! asked to send and this version cannot say. Each has a stable code, which
//! scripts and vectors may depend on: [`REFUSALS`] and [`VIOLATIONS`] list
//! them.

use crate::version::{Version, Versions};

/// Defines an enum of errors with the table of its stable codes.
macro_rules! coded {
    (
        $(#[$doc:meta])* enum $name:ident, $number:ident: $(#[$number_doc:meta])*,
        $(#[$table_doc:meta])* $table:ident;
        $( $(#[$variant_doc:meta])* $variant:ident $({ $($field:ident : $type:ty),+ })? = $code:literal, $value:literal; )+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_doc])* $variant $({ $(#[doc = "What was seen."] $field: $type),+ })?, )+
        }

        impl $name {
            /// The stable code: lower case, words joined by hyphens.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $( $name::$variant { .. } => $code, )+ }
            }

            $(#[$number_doc])*
            #[must_use]
            pub const fn $number(self) -> u16 {
                match self { $( $name::$variant { .. } => $value, )+ }
            }
        }

        $(#[$table_doc])*
        pub const $table: &[(&str, u16)] = &[ $( ($code, $value), )+ ];
    };
}

coded! {
    /// Why a request is not upgraded. The text is one sentence of cause and
    /// cure, fit for the person who runs the client.
    enum Refusal,
    status: /** The HTTP status of the answer. */,
    /// Every stable code of a [`Refusal`] with its HTTP status.
    REFUSALS;

    /// Plain HTTP for a path that has no page.
    #[error("there is nothing here but WebSocket; the page is at /")]
    NotFound = "not-found", 404;
    /// `Sec-WebSocket-*` without `Upgrade: websocket`.
    #[error("the request has Sec-WebSocket headers but no `Upgrade: websocket`: a proxy on the way has removed it; let that proxy pass Upgrade and Connection on")]
    UpgradeMissing = "upgrade-missing", 400;
    /// `Upgrade: websocket` without `Connection: Upgrade`.
    #[error("the request has `Upgrade: websocket` but no `Connection: Upgrade`: a proxy on the way has removed it; let that proxy pass Upgrade and Connection on")]
    ConnectionMissing = "connection-missing", 400;
    /// A method other than GET.
    #[error("the method must be GET")]
    MethodNotGet = "method-not-get", 405;
    /// HTTP other than 1.1.
    #[error("WebSocket needs HTTP/1.1; nginx speaks HTTP/1.0 to its backends unless told `proxy_http_version 1.1`")]
    HttpVersion = "http-version", 505;
    /// Not an HTTP request.
    #[error("this is not an HTTP request")]
    HeadMalformed = "head-malformed", 400;
    /// The first octet of a TLS record.
    #[error("this port speaks ws, not wss: the client began with TLS")]
    TlsUnexpected = "tls-unexpected", 400;
    /// No PROXY header where there must be one.
    #[error("this listener takes connections from that address with a PROXY header only (--accept-proxy); let the balancer send one, or take its address from the list")]
    ProxyHeader = "proxy-header", 400;
    /// A PROXY header where none is believed.
    #[error("the connection begins with a PROXY header, and none is believed from this address; name it in --accept-proxy, or let the balancer send none")]
    ProxyHeaderUnexpected = "proxy-header-unexpected", 400;
    /// LF without CR.
    #[error("a line of the head ends in LF alone; lines end in CR LF")]
    BareLf = "head-bare-lf", 400;
    /// A header that goes on in the next line.
    #[error("a header is folded over two lines; write it on one")]
    HeadFolded = "head-folded", 400;
    /// More octets than a head may have.
    #[error("the head is longer than {limit} octets (--max-head-bytes)")]
    HeadTooLong { limit: u32 } = "head-too-long", 431;
    /// More headers than a head may have.
    #[error("the head has more than {limit} headers")]
    TooManyHeaders { limit: u16 } = "head-too-many-headers", 431;
    /// A header that may stand once stands twice.
    #[error("the header {name} is there twice; once is right")]
    HeaderRepeated { name: &'static str } = "header-repeated", 400;
    /// A target that is neither a path nor an absolute http URI.
    #[error("the request target must be a path that begins with `/`, without spaces or a fragment")]
    TargetInvalid = "target-invalid", 400;
    /// No Host, or an empty one.
    #[error("the request has no Host header")]
    HostMissing = "host-missing", 400;
    /// A Host with octets that no host has.
    #[error("the Host header is not a host and port")]
    HostMalformed = "host-malformed", 400;
    /// A body where there is none.
    #[error("a WebSocket request has no body, but this one announces one by Content-Length or Transfer-Encoding")]
    BodyUnexpected = "body-unexpected", 400;
    /// The handshake did not finish in time.
    #[error("the request was not finished in time (--handshake-timeout-ms); a hixie-76 request needs eight octets after its head, which some proxies hold back")]
    HandshakeTimeout = "handshake-timeout", 408;
    /// A version number nobody speaks.
    #[error("WebSocket version {number} does not exist; {} on here", Listed(*on))]
    VersionUnknown { number: u8, on: Versions } = "version-unknown", 426;
    /// A version that is known and off.
    #[error("{version} is known but off here, {} on; `--versions +{version}` turns it on", Listed(*on))]
    VersionOff { version: &'static Version, on: Versions } = "version-off", 426;
    /// `Sec-WebSocket-Version` is not a number from 0 to 255.
    #[error("Sec-WebSocket-Version must be one number from 0 to 255 without a leading zero")]
    VersionMalformed = "version-malformed", 400;
    /// `Sec-WebSocket-Version` is a list or stands twice.
    #[error("Sec-WebSocket-Version must be one number; a list belongs into answers only")]
    VersionList = "version-list", 400;
    /// A key without a version.
    #[error("there is a Sec-WebSocket-Key or another Sec-WebSocket header but no Sec-WebSocket-Version: either the client forgot the version, or a proxy added the key to a hixie request")]
    VersionMissing = "version-missing", 400;
    /// `Sec-WebSocket-Draft` other than 0 to 3, or without both keys.
    #[error("Sec-WebSocket-Draft must be 0, 1, 2 or 3 and come with Sec-WebSocket-Key1 and -Key2")]
    DraftMalformed = "draft-malformed", 400;
    /// A version without a key.
    #[error("the request has no Sec-WebSocket-Key")]
    KeyMissing = "key-missing", 400;
    /// A key that is not base64 of the right number of octets.
    #[error("Sec-WebSocket-Key must be 16 octets in base64, which is 24 characters")]
    KeyMalformed = "key-malformed", 400;
    /// One of the two numbered keys is missing.
    #[error("only one of Sec-WebSocket-Key1 and -Key2 is there; hixie-76 needs both")]
    KeyAlone = "key-alone", 400;
    /// hixie-76 section 5.2: a key has no digit.
    #[error("Sec-WebSocket-Key{key} has no digit")]
    KeyWithoutDigits { key: u8 } = "key-without-digits", 400;
    /// hixie-76 section 5.2: a key has no space.
    #[error("Sec-WebSocket-Key{key} has no space; a proxy may have trimmed it, or this is no WebSocket client")]
    KeyWithoutSpaces { key: u8 } = "key-without-spaces", 400;
    /// hixie-76 section 5.2: the number is no multiple of the spaces.
    #[error("the number in Sec-WebSocket-Key{key} is not a multiple of its {spaces} spaces; a proxy may have squeezed runs of spaces")]
    KeyNotDivisible { key: u8, spaces: u32 } = "key-not-divisible", 400;
    /// The quotient does not fit 32 bits.
    #[error("the number in Sec-WebSocket-Key{key}, divided by its spaces, does not fit 32 bits")]
    KeyTooLarge { key: u8 } = "key-too-large", 400;
    /// hixie without an origin: there is nothing to echo.
    #[error("the request has no Origin, which a hixie client always sends; a newer client needs Sec-WebSocket-Version and Sec-WebSocket-Key")]
    OriginMissing = "origin-missing", 400;
    /// An origin that cannot be echoed.
    #[error("the Origin is empty, or holds octets that are not visible ASCII")]
    OriginMalformed = "origin-malformed", 400;
    /// The origin policy says no.
    #[error("pages of this origin may not connect here (--origin)")]
    OriginNotAllowed = "origin-not-allowed", 403;
    /// A hixie client insists on a subprotocol that is not spoken.
    #[error("the subprotocol asked for is not spoken here, and clients of this version do not go on without it")]
    SubprotocolUnknown = "subprotocol-unknown", 400;
    /// Gateway: a header that is passed on holds what we do not write.
    #[error("the request's {name} holds octets other than visible ASCII and spaces, or stands twice, and is not passed on to the backend")]
    HeaderNotPassed { name: &'static str } = "header-not-passed", 400;
    /// Gateway: the backend said no.
    #[error("the backend behind this gateway refused with HTTP status {status}")]
    BackendRefused { status: u16 } = "backend-refused", 502;
    /// Gateway: what answers is no WebSocket server of the version we speak to it.
    #[error("the backend behind this gateway does not answer as a WebSocket server does: {violation}; see --to and --as")]
    BackendHandshake { violation: Violation } = "backend-handshake", 502;
    /// Gateway: nobody answers there.
    #[error("the backend behind this gateway cannot be reached; is it running where --to says?")]
    BackendUnreachable = "backend-unreachable", 502;
    /// Gateway: the backend does not answer in time.
    #[error("the backend behind this gateway did not answer in time (--handshake-timeout-ms)")]
    BackendTimeout = "backend-timeout", 504;
    /// As many connections as there may be.
    #[error("there are as many connections as there may be (--max-connections); try again later")]
    TooManyConnections = "too-many-connections", 503;
    /// The server is going away.
    #[error("the server is going away; try again later")]
    GoingAway = "going-away", 503;
}

impl Refusal {
    /// The HTTP status that is answered: that of the backend where it found
    /// fault with the request, [`Refusal::status`] otherwise. 426 is about the
    /// version that a gateway speaks to it and 407 about one hop, which are
    /// none of the client's.
    #[must_use]
    pub const fn response_status(self) -> u16 {
        match self {
            Refusal::BackendRefused { status: 407 | 426 } => self.status(),
            Refusal::BackendRefused { status } if status >= 400 && status < 500 => status,
            _ => self.status(),
        }
    }
}

/// Words for a set of versions in a sentence.
struct Listed(Versions);

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.iter().count() {
            0 => f.write_str("nothing is"),
            1 => write!(f, "{} is", self.0),
            _ => write!(f, "{} are", self.0),
        }
    }
}

coded! {
    /// How the peer broke the protocol.
    enum Violation,
    close_code: /** The close code that says so to a peer of RFC 6455; older versions say what they can. 1006 is never on the wire: there is nobody to say it to. */,
    /// Every stable code of a [`Violation`] with its close code.
    VIOLATIONS;

    /// RFC 6455 section 5.2: a reserved bit is set.
    #[error("a reserved bit is set and no extension was agreed")]
    ReservedBits = "reserved-bits", 1002;
    /// RFC 6455 section 5.2: an opcode nobody defined.
    #[error("opcode {opcode} is reserved in this version")]
    ReservedOpcode { opcode: u8 } = "reserved-opcode", 1002;
    /// RFC 6455 section 5.5: a control frame in fragments.
    #[error("a control frame is fragmented")]
    ControlFragmented = "control-fragmented", 1002;
    /// RFC 6455 section 5.5: a control frame over 125 octets.
    #[error("a control frame has more than 125 octets of payload")]
    ControlTooLong = "control-too-long", 1002;
    /// RFC 6455 section 5.2: a longer length form than needed.
    #[error("a length is not in its shortest form")]
    LengthNotMinimal = "length-not-minimal", 1002;
    /// A length beyond 63 bits, or a hixie length of too many octets.
    #[error("a length is out of range")]
    LengthOutOfRange = "length-out-of-range", 1002;
    /// RFC 6455 section 5.1: a client frame without a mask.
    #[error("a client's frame is not masked")]
    MaskMissing = "mask-missing", 1002;
    /// RFC 6455 section 5.1: a server frame with a mask.
    #[error("a server's frame is masked")]
    MaskUnexpected = "mask-unexpected", 1002;
    /// RFC 6455 section 5.4: a continuation of nothing.
    #[error("a continuation frame continues nothing")]
    ContinuationUnexpected = "continuation-unexpected", 1002;
    /// RFC 6455 section 5.4: a new message inside another.
    #[error("a new message begins inside an unfinished one")]
    MessageInterrupted = "message-interrupted", 1002;
    /// RFC 6455 section 8.1: text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8Invalid = "utf8-invalid", 1007;
    /// RFC 6455 section 5.5.1: a close body of one octet.
    #[error("a close frame has a body of one octet")]
    CloseBodyShort = "close-body-short", 1002;
    /// RFC 6455 section 7.4: a close code that is not for the wire.
    #[error("close code {code} must not be sent")]
    CloseCodeInvalid { code: u16 } = "close-code-invalid", 1002;
    /// RFC 6455 section 5.5.1: a reason that is not UTF-8.
    #[error("a close reason is not valid UTF-8")]
    CloseReasonUtf8 = "close-reason-utf8", 1007;
    /// More octets than a message may have.
    #[error("a message is longer than {limit} octets (--max-message-bytes)")]
    MessageTooBig { limit: u64 } = "message-too-big", 1009;
    /// The application takes no binary messages.
    #[error("binary messages are not accepted here")]
    BinaryUnwanted = "binary-unwanted", 1003;
    /// A text that carries octets in base64 does not.
    #[error("a text is not base64, which this connection agreed on for octets")]
    Base64Malformed = "base64-malformed", 1007;
    /// Our own failure, said to the peer.
    #[error("an internal error ended this connection")]
    Internal = "internal-error", 1011;

    /// The answer is not an HTTP response.
    #[error("the answer is not an HTTP response")]
    ResponseMalformed = "response-malformed", 1006;
    /// The answer's head is longer than a head may be.
    #[error("the head of the answer is too long")]
    ResponseTooLong = "response-too-long", 1006;
    /// The answer is not 101.
    #[error("the server refused with HTTP status {status}")]
    ResponseStatus { status: u16 } = "refused", 1006;
    /// hixie-75 section 4.1: the first three lines are compared octet by octet.
    #[error("the first three lines of the answer are not those of hixie-75, octet for octet")]
    ResponseLines = "response-lines", 1006;
    /// `Upgrade` is missing or says something else.
    #[error("the answer's Upgrade is missing, repeated or not `websocket`")]
    UpgradeMismatch = "upgrade-mismatch", 1006;
    /// `Connection` is missing or does not say Upgrade.
    #[error("the answer's Connection is missing or does not say Upgrade")]
    ConnectionMismatch = "connection-mismatch", 1006;
    /// `Sec-WebSocket-Accept` is not the proof.
    #[error("Sec-WebSocket-Accept does not prove that the server read our key")]
    AcceptMismatch = "accept-mismatch", 1006;
    /// The sixteen octets are not the proof.
    #[error("the sixteen octets after the head do not prove that the server read our keys")]
    DigestMismatch = "digest-mismatch", 1006;
    /// hybi-04 without a nonce.
    #[error("the answer has no Sec-WebSocket-Nonce, or two")]
    NonceMissing = "nonce-missing", 1006;
    /// The echoed origin is not ours.
    #[error("the answer's origin is missing or not the one we sent")]
    OriginMismatch = "origin-mismatch", 1006;
    /// The location is not the URL we dialled.
    #[error("the answer's location is missing or not the URL we asked for; behind a TLS terminator or a proxy the server must be told its public URL")]
    LocationMismatch = "location-mismatch", 1006;
    /// The subprotocol is not one we offered, or not there though hixie needs it.
    #[error("the answer's subprotocol is not one we asked for")]
    SubprotocolMismatch = "subprotocol-mismatch", 1006;
    /// An extension nobody offered.
    #[error("the answer has an extension that we did not offer")]
    ExtensionUnexpected = "extension-unexpected", 1006;
    /// TCP ended before the handshake did.
    #[error("the connection ended before the handshake was finished")]
    HandshakeCut = "handshake-cut", 1006;
    /// TCP ended inside a message, or without goodbye where there is one.
    #[error("the connection ended without a closing handshake")]
    ConnectionCut = "connection-cut", 1006;
}

/// What this version, or this state, cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// The version has no binary messages.
    #[error("{0} has no binary messages")]
    NoBinary(&'static Version),
    /// The version has no pings.
    #[error("{0} has no ping and no pong")]
    NoPing(&'static Version),
    /// The payload of a control frame is over 125 octets.
    #[error("a control frame takes at most 125 octets of payload, not {0}")]
    ControlTooLong(usize),
    /// The handshake is not finished, or the connection is closing.
    #[error("the connection is not open")]
    NotOpen,
    /// A message is being sent piece by piece and is not finished.
    #[error("another message is being sent and is not finished")]
    MessageUnfinished,
    /// The pieces of a text do not make valid UTF-8.
    #[error("text must be valid UTF-8")]
    TextNotUtf8,
    /// A piece was sent without the first piece of its message.
    #[error("a message begins with its first piece")]
    PieceWithoutFirst,
    /// A value that cannot stand in a header.
    #[error("a header value holds octets other than visible ASCII and space")]
    HeaderValue,
    /// A request that no server would take, such as one with two Hosts.
    #[error("no server takes this request: {0}")]
    Request(Refusal),
}
