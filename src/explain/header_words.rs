//! What each header of a head is for.

use super::part::{Part, PartKind};
use super::section::About;
use crate::version::Version;

/// What a field is, and the subject of its section.
pub(super) type FieldWords = (String, Option<About>);

/// What a header is for, where that is known, or else whether it decided.
pub(super) fn header_words(part: &Part, name: &[u8], decides: bool) -> FieldWords {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let request = part.kind == PartKind::Request;
    let version = part.version;
    let hixie = version.is_some_and(|v| v.number.is_none());
    let about = if request {
        About::Request
    } else {
        About::Response
    };
    let known: Option<(&str, About)> = match (name.as_str(), request) {
        ("upgrade", true) => Some(("asks to change to this protocol", about)),
        ("upgrade", false) => Some(("names the protocol that follows", about)),
        ("connection", true) => Some((
            "says that Upgrade is for the next hop only: a proxy that does not know it drops both",
            about,
        )),
        ("connection", false) => Some(("confirms that the connection changes", about)),
        ("host", true) => Some((
            if hixie {
                "the host and port that the client dialled; the location of the response repeats \
                 them"
            } else {
                "the host and port that the client dialled"
            },
            about,
        )),
        ("origin", true) => Some((
            if hixie {
                "the origin of the page that connects, set by the browser; the response repeats it"
            } else {
                "the origin of the page that connects, set by the browser"
            },
            about,
        )),
        ("sec-websocket-origin", true) => Some((
            "the origin of the page that connects, under the name that it had from hybi-04 to hybi-10",
            about,
        )),
        ("sec-websocket-origin" | "websocket-origin", false) => Some((
            "the origin, repeated: it must be the one that the client sent",
            about,
        )),
        ("sec-websocket-location" | "websocket-location", false) => Some((
            "the URL, repeated: it must be the one that the client dialled, scheme and port \
             included",
            about,
        )),
        ("sec-websocket-key1" | "sec-websocket-key2", true) => Some((
            "a key of hixie-76: its digits make a number, and its spaces divide it",
            About::Proof,
        )),
        ("sec-websocket-key", true) if hixie => Some((
            "not a header of this version: HAProxy 3.2 and later add it. The numbered keys still \
             decide",
            about,
        )),
        ("sec-websocket-key", true) => Some((
            "sixteen random octets in base64; the response must prove that the server read them",
            About::Proof,
        )),
        ("sec-websocket-accept", false) => Some((
            "the proof: only a server that has read the key and knows the GUID can compute it",
            About::Proof,
        )),
        ("sec-websocket-nonce", false) => Some((
            "hybi-04: the server's part of the key that masks all frames of the client",
            About::Masking,
        )),
        ("sec-websocket-version", true) => Some(("the version; it decides", about)),
        ("sec-websocket-version", false) => Some(("the versions that this server speaks", about)),
        ("sec-websocket-draft", true) => Some(("the draft; 1 to 3 mean hybi-03", about)),
        ("sec-websocket-protocol" | "websocket-protocol", true) => Some((
            if hixie {
                "the subprotocol that the client asks for: one string, which the response must repeat"
            } else {
                "the subprotocols that the client offers, best first; the server may choose one"
            },
            about,
        )),
        ("sec-websocket-protocol" | "websocket-protocol", false) => {
            Some(("the subprotocol that the server chose", about))
        }
        ("sec-websocket-extensions", true) => {
            Some(("the extensions that the client offers", about))
        }
        ("sec-websocket-extensions", false) => {
            Some(("the extensions that the server agrees to", about))
        }
        ("cookie", true) => Some(("what the server asked the browser to keep", About::Http)),
        ("user-agent", true) => Some(("the program of the client", About::Http)),
        ("via", _) => Some(("a proxy on the way names itself", About::Http)),
        ("x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "forwarded", true) => {
            Some(("added by a proxy on the way", About::Http))
        }
        ("server", false) => Some(("the program of the server", About::Http)),
        ("date", false) => Some(("when the response was made", About::Http)),
        ("content-length", true) if version.is_some_and(Version::has_body) => Some((
            "announces the eight octets behind the head; few clients send it",
            about,
        )),
        ("content-length", _) => Some(("how many octets the body has", About::Http)),
        ("content-type", false) => Some(("what the body is", About::Http)),
        _ => None,
    };
    match (known, decides) {
        (Some((words, about)), _) => (words.to_owned(), Some(about)),
        (None, true) => ("the parse looked at it".to_owned(), None),
        (None, false) => ("has no meaning for WebSocket".to_owned(), None),
    }
}
