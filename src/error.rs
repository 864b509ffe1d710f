//! What goes wrong, and at which end.
//!
//! Three errors for three causes: a [`Refusal`] is why a server does not
//! upgrade a request, and has an HTTP status; a [`Violation`] is why a
//! connection fails, and has a close code; an [`Unsendable`] is what the
//! caller asked to send and this version or state cannot. Each refusal and
//! violation has a stable code, which scripts and vectors may depend on:
//! [`REFUSALS`] and [`VIOLATIONS`] list them. [`Located`] adds the octets in
//! which the parse broke.

use core::fmt;
use core::ops::Range;

use crate::version::{KeyLength, Version, Versions};

/// An error of a parse, with the octets in which it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error} (octets {} to {} of the peer's stream)", at.start, at.end)]
pub struct Located<E: fmt::Display> {
    /// What is wrong.
    pub error: E,
    /// Where it is wrong, by the position of the octets in the peer's stream.
    /// The range is empty where something is missing: it is missing there.
    pub at: Range<u64>,
}

impl<E: fmt::Display> Located<E> {
    /// This error in these octets.
    pub(crate) fn new(error: E, at: Range<u64>) -> Located<E> {
        Located { error, at }
    }

    /// Up to where the peer's stream was right, where it was read up to `position`:
    /// how far that is, in a compressed frame, depends on how its octets arrived.
    #[cfg(feature = "vector")]
    pub(crate) fn after(&self, position: u64) -> u64 {
        if self.at.is_empty() {
            self.at.end
        } else {
            position
        }
    }

    /// This error in these octets of a head that starts at octet `start`.
    pub(crate) fn in_head(error: E, at: Range<usize>, start: u64) -> Located<E> {
        Located {
            error,
            at: start + at.start as u64..start + at.end as u64,
        }
    }
}

/// Defines an enum of errors with the table of its stable codes.
macro_rules! coded {
    (
        $(#[$doc:meta])* enum $name:ident, $number:ident -> $number_type:ty: $(#[$number_doc:meta])*,
        $(#[$table_doc:meta])* $table:ident;
        $( $(#[$variant_doc:meta])* $variant:ident $({ $($field:ident : $type:ty),+ })? = $code:literal, $value:expr; )+
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
            pub const fn $number(self) -> $number_type {
                match self { $( $name::$variant { .. } => $value, )+ }
            }
        }

        $(#[$table_doc])*
        pub const $table: &[(&str, $number_type)] = &[ $( ($code, $value), )+ ];
    };
}
#[cfg_attr(not(feature = "net"), allow(unused_imports))]
pub(crate) use coded;

coded! {
    /// Why a request is not upgraded. The text is one sentence of cause and
    /// cure, written for the person who runs the client.
    enum Refusal,
    status -> u16: /** The HTTP status of the response. */,
    /// Every stable code of a [`Refusal`] with its HTTP status.
    REFUSALS;

    /// Plain HTTP for a path that has no page.
    #[error("there is nothing here but WebSocket; the page is at /")]
    NotFound = "not-found", 404;
    /// `Sec-WebSocket-*` without `Upgrade: websocket`.
    #[error("the request has Sec-WebSocket headers but no `Upgrade: websocket`: a proxy on the way has removed it; let that proxy pass Upgrade and Connection on")]
    UpgradeMissing = "upgrade-missing", 400;
    /// `Sec-WebSocket-*` without `Upgrade: websocket`, but with a body or another
    /// method than GET.
    #[error("the request has Sec-WebSocket headers but no `Upgrade: websocket`, and a body or a method that no WebSocket request has: this looks like request smuggling, a second request hidden in the body of the first")]
    UpgradeSmuggled = "upgrade-smuggled", 400;
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
    #[error("this port speaks ws, not wss: the client started a TLS handshake")]
    TlsUnexpected = "tls-unexpected", 400;
    /// LF without CR.
    #[error("a line of the head ends in LF alone; lines end in CR LF")]
    BareLf = "head-bare-lf", 400;
    /// A header that goes on in the next line.
    #[error("a header is folded over two lines; write it on one")]
    HeadFolded = "head-folded", 400;
    /// More octets than a head may have.
    #[error("the head is longer than {limit} octets")]
    HeadTooLong { limit: u32 } = "head-too-long", 431;
    /// More headers than a head may have.
    #[error("the head has more than {limit} headers")]
    TooManyHeaders { limit: u16 } = "head-too-many-headers", 431;
    /// A header that may stand once stands twice.
    #[error("the header {name} is there twice; once is right")]
    HeaderRepeated { name: &'static str } = "header-repeated", 400;
    /// A target that is neither a path nor an absolute http URI, or that holds
    /// an octet which no target has.
    #[error("the request target {}", TargetFault(*octet))]
    TargetInvalid { octet: Option<u8> } = "target-invalid", 400;
    /// No Host, or an empty one.
    #[error("the request has no Host header")]
    HostMissing = "host-missing", 400;
    /// A Host with octets that no host has.
    #[error("the Host header is not a host and port")]
    HostMalformed = "host-malformed", 400;
    /// The host policy does not allow this Host.
    #[error("this server does not answer to the Host of this request")]
    HostForbidden = "host-forbidden", 403;
    /// A body where there is none.
    #[error("a WebSocket request has no body, but this one announces one by Content-Length or Transfer-Encoding")]
    BodyUnexpected = "body-unexpected", 400;
    /// The handshake did not finish in time.
    #[error("the request was not finished in time; a hixie-76 request needs eight octets after its head, which some proxies hold back")]
    HandshakeTimeout = "handshake-timeout", 408;
    /// An unknown version number.
    #[error("WebSocket version {number} does not exist; {} on here", Listed(*on))]
    VersionUnknown { number: u8, on: Versions } = "version-unknown", 426;
    /// A version that is known and off.
    #[error("{version} is known but off here, {} on", Listed(*on))]
    VersionOff { version: &'static Version, on: Versions } = "version-off", 426;
    /// `Sec-WebSocket-Version` is not a number from 0 to 255.
    #[error("Sec-WebSocket-Version must be one number from 0 to 255 without a leading zero")]
    VersionMalformed = "version-malformed", 400;
    /// `Sec-WebSocket-Version` is a list or stands twice.
    #[error("Sec-WebSocket-Version must be one number; a list belongs in responses only")]
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
    /// A key that is not base64 of the right length.
    #[error("Sec-WebSocket-Key must be {length}; this one has {characters} characters{}", Decoded(*octets))]
    KeyMalformed { length: KeyLength, characters: u32, octets: Option<u8> } = "key-malformed", 400;
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
    #[error("the number in Sec-WebSocket-Key{key} is not a multiple of its {spaces} spaces: a proxy may have squeezed runs of spaces, or the client is WebSocket4Net, which makes such keys")]
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
    /// The origin policy does not allow this origin.
    #[error("pages of this origin may not connect here")]
    OriginNotAllowed = "origin-not-allowed", 403;
    /// A hixie client insists on a subprotocol that cannot be echoed.
    #[error("the subprotocol that the request asks for is empty, or holds octets that are not visible ASCII or space, and clients of this version do not go on without it")]
    SubprotocolMalformed = "subprotocol-malformed", 400;
    /// A hixie client insists on a subprotocol that is not spoken.
    #[error("the subprotocol asked for is not spoken here, and clients of this version do not go on without it")]
    SubprotocolUnknown = "subprotocol-unknown", 400;
}

/// What is wrong with a request target.
struct TargetFault(Option<u8>);

impl fmt::Display for TargetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("must be a path that starts with `/`"),
            Some(b'#') => f.write_str("holds a `#`: a fragment is not sent to servers"),
            Some(octet) => write!(
                f,
                "holds the octet 0x{octet:02x}; only visible ASCII may stand there, and all else is percent-encoded"
            ),
        }
    }
}

/// What a key holds, where it is base64 at all.
struct Decoded(Option<u8>);

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(octets) => write!(f, ", which hold {octets} octets"),
            None => f.write_str(" and is not base64"),
        }
    }
}

/// A set of versions as the subject of a sentence, with its verb.
struct Listed(Versions);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().count() {
            0 => f.write_str("nothing is"),
            1 => write!(f, "{} is", self.0),
            _ => write!(f, "{} are", self.0),
        }
    }
}

coded! {
    /// Why a connection fails (RFC 6455 section 7.1.7).
    enum Violation,
    close_code -> Option<u16>: /** The code of the close frame that a peer of RFC 6455 gets; peers of older versions get what their version can carry. `None` where no close frame can be sent, because the handshake or TCP has failed. */,
    /// Every stable code of a [`Violation`] with its close code.
    VIOLATIONS;

    /// RFC 6455 section 5.2: a reserved bit is set.
    #[error("a reserved bit is set and no extension was agreed")]
    ReservedBits = "reserved-bits", Some(1002);
    /// RFC 7692 section 6.1: the bit of compression on a control frame or a
    /// continuation.
    #[error("RSV1, the bit of compression, is set on a frame that cannot have it: a control frame, or one that continues a message")]
    CompressedBitMisplaced = "compressed-bit-misplaced", Some(1002);
    /// RFC 7692 section 7.2.2: a payload that cannot be inflated.
    #[error("a compressed message cannot be inflated: its octets are no DEFLATE stream, or lean on text that the window does not hold")]
    CompressedDataInvalid = "compressed-data-invalid", Some(1007);
    /// RFC 6455 section 5.2: an undefined opcode.
    #[error("opcode {opcode} is reserved in this version")]
    ReservedOpcode { opcode: u8 } = "reserved-opcode", Some(1002);
    /// RFC 6455 section 5.5: a control frame in fragments.
    #[error("a control frame is fragmented")]
    ControlFragmented = "control-fragmented", Some(1002);
    /// RFC 6455 section 5.5: a control frame over 125 octets.
    #[error("a control frame has more than 125 octets of payload")]
    ControlTooLong = "control-too-long", Some(1002);
    /// RFC 6455 section 5.2: a longer length form than needed.
    #[error("a length is not in its shortest form")]
    LengthNotMinimal = "length-not-minimal", Some(1002);
    /// A length beyond 63 bits, or a hixie length of too many octets.
    #[error("a length is out of range")]
    LengthOutOfRange = "length-out-of-range", Some(1002);
    /// RFC 6455 section 5.1: a client frame without a mask.
    #[error("a client's frame is not masked")]
    MaskMissing = "mask-missing", Some(1002);
    /// RFC 6455 section 5.1: a server frame with a mask.
    #[error("a server's frame is masked")]
    MaskUnexpected = "mask-unexpected", Some(1002);
    /// RFC 6455 section 5.4: a continuation of nothing.
    #[error("a continuation frame continues nothing")]
    ContinuationUnexpected = "continuation-unexpected", Some(1002);
    /// RFC 6455 section 5.4: a new message inside another.
    #[error("a new message starts inside an unfinished one")]
    MessageInterrupted = "message-interrupted", Some(1002);
    /// RFC 6455 section 8.1: text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8Invalid = "utf8-invalid", Some(1007);
    /// RFC 6455 section 5.5.1: a close body of one octet.
    #[error("a close frame has a body of one octet")]
    CloseBodyShort = "close-body-short", Some(1002);
    /// RFC 6455 section 7.4: a close code that is not for the wire.
    #[error("close code {code} must not be sent")]
    CloseCodeInvalid { code: u16 } = "close-code-invalid", Some(1002);
    /// RFC 6455 section 5.5.1: a reason that is not UTF-8.
    #[error("a close reason is not valid UTF-8")]
    CloseReasonUtf8 = "close-reason-utf8", Some(1007);
    /// More octets than a message may have.
    #[error("a message is longer than {limit} octets")]
    MessageTooBig { limit: u64 } = "message-too-big", Some(1009);
    /// The application takes no binary messages.
    #[error("binary messages are not accepted here")]
    BinaryUnwanted = "binary-unwanted", Some(1003);
    /// A text that carries octets in base64 does not.
    #[error("a text is not base64, which this connection agreed on for octets")]
    Base64Malformed = "base64-malformed", Some(1007);
    /// A failure of this end.
    #[error("an internal error ended this connection")]
    Internal = "internal-error", Some(1011);
    /// The memory of this end is used up by messages that are not finished.
    #[error("the memory for connections is used up, and this message was not finished; send it again later")]
    MemoryFull = "memory-full", Some(1013);
    /// A message that was not finished in time.
    #[error("a message was not finished in time")]
    MessageTimeout = "message-timeout", Some(1008);

    /// What the server sent is not an HTTP response.
    #[error("the response is not HTTP")]
    ResponseMalformed = "response-malformed", None;
    /// The response's head is longer than a head may be.
    #[error("the head of the response is too long")]
    ResponseTooLong = "response-too-long", None;
    /// The response's status is not 101.
    #[error("the server refused with HTTP status {status}")]
    ResponseStatus { status: u16 } = "refused", None;
    /// hixie-75 section 4.1: the first three lines are compared octet by octet.
    #[error("the first three lines of the response are not those of hixie-75, octet for octet")]
    ResponseLines = "response-lines", None;
    /// `Upgrade` is missing or has another value.
    #[error("the response's Upgrade is missing, repeated or not `websocket`")]
    UpgradeMismatch = "upgrade-mismatch", None;
    /// `Connection` is missing or does not contain Upgrade.
    #[error("the response's Connection is missing or does not say Upgrade")]
    ConnectionMismatch = "connection-mismatch", None;
    /// `Sec-WebSocket-Accept` is not the proof.
    #[error("Sec-WebSocket-Accept does not prove that the server read our key")]
    AcceptMismatch = "accept-mismatch", None;
    /// The sixteen octets are not the proof.
    #[error("the sixteen octets after the head do not prove that the server read our keys")]
    DigestMismatch = "digest-mismatch", None;
    /// hybi-04 without a nonce.
    #[error("the response has no Sec-WebSocket-Nonce, or two")]
    NonceMissing = "nonce-missing", None;
    /// The echoed origin is not ours.
    #[error("the response's origin is missing or not the one we sent")]
    OriginMismatch = "origin-mismatch", None;
    /// The location is not the URL we dialled.
    #[error("the response's location is missing or not the URL we asked for; behind a TLS terminator or a proxy the server must be told its public URL")]
    LocationMismatch = "location-mismatch", None;
    /// The subprotocol is not one we offered, or not there though hixie needs it.
    #[error("the response's subprotocol is not one we asked for")]
    SubprotocolMismatch = "subprotocol-mismatch", None;
    /// An extension that was not offered.
    #[error("the response has an extension that we did not offer")]
    ExtensionUnexpected = "extension-unexpected", None;
    /// An extension that was offered, but not so.
    #[error("the response's Sec-WebSocket-Extensions {fault}")]
    ExtensionInvalid { fault: ExtensionFault } = "extension-invalid", None;
    /// TCP ended before the handshake did.
    #[error("the connection ended before the handshake was finished")]
    HandshakeCut = "handshake-cut", None;
    /// TCP ended inside a message, or without the closing handshake that this
    /// version has.
    #[error("the connection ended without a closing handshake")]
    ConnectionCut = "connection-cut", None;
}

/// What is wrong with an extension that a server agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionFault {
    /// No list of extensions.
    #[error("is not a list of extensions with parameters")]
    Malformed,
    /// More elements than are looked at.
    #[error("names more than 64 extensions")]
    TooMany,
    /// A second extension that compresses.
    #[error("agrees to compression twice")]
    Twice,
    /// A parameter that the extension does not have.
    #[error("has a parameter that this extension does not have")]
    UnknownParameter,
    /// A parameter that stands twice.
    #[error("has the same parameter twice")]
    RepeatedParameter,
    /// A flag with a value.
    #[error("gives a value to a parameter that takes none")]
    UnwantedValue,
    /// A window without a value.
    #[error("has a window without a number")]
    MissingValue,
    /// A window that is not from 8 to 15.
    #[error("has a window that is not 8, 9, 10, 11, 12, 13, 14 or 15")]
    BadWindow,
    /// `client_max_window_bits` where the client did not offer it.
    #[error("limits the client's window by client_max_window_bits, which the client did not offer")]
    WindowNotOffered,
    /// A larger window than was offered.
    #[error("has a larger window than was offered")]
    WindowTooLarge,
    /// `server_no_context_takeover` is not there, and the offer has it.
    #[error("lacks server_no_context_takeover, which the offer demands")]
    ContextDemandIgnored,
    /// `server_max_window_bits` is not there, and the offer has it.
    #[error("lacks server_max_window_bits, which the offer demands")]
    WindowDemandIgnored,
}

/// What this version, or this state, cannot send. It is an error of the caller:
/// nothing was written.
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
    #[error("a message starts with its first piece")]
    PieceWithoutFirst,
    /// A value that cannot stand in a header.
    #[error("a header value holds octets other than visible ASCII and space")]
    HeaderValue,
    /// hybi-04: the handshake was not seen, so the masking key is not known.
    #[error("the masking key of this connection is made in its handshake, which was not seen")]
    NoMaskingKey,
    /// A request that no server would take, such as one with two Hosts.
    #[error("no server takes this request: {0}")]
    Request(Refusal),
}
