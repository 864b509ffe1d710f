//! What hops and clients do to requests.

use super::super::Case;
use super::look::{hop, is, keys, spaces_more, starts, unreadable};
use crate::explain::part::PartKind;
use crate::explain::text::shown;
use crate::version::Side;

pub(super) fn tls(case: &Case<'_>) -> Option<String> {
    is(case, "tls-unexpected")?;
    Some("The client dialled wss:// and starts with TLS, but this port has no TLS.".to_owned())
}

pub(super) fn frames_alone(case: &Case<'_>) -> Option<String> {
    if case.code() != "head-malformed" && case.code() != "response-malformed" {
        return None;
    }
    let octets = unreadable(case, case.fault?.from)?;
    let first = octets.first()?;
    let frame = matches!(
        first,
        0x00 | 0x80 | 0x81 | 0x82 | 0x88 | 0x89 | 0x8a | 0xff | 0x84
    );
    frame.then(|| {
        "These octets look like frames, without the handshake that tells their version.".to_owned()
    })
}

pub(super) fn http_2(case: &Case<'_>) -> Option<String> {
    let preface = starts(unreadable(case, Side::Client), b"PRI * HTTP/2");
    let requested = case.part(PartKind::Request).map(|part| part.raw.as_slice());
    let preface = preface || starts(requested, b"PRI * HTTP/2");
    preface.then(|| "The client speaks HTTP/2.".to_owned())
}

pub(super) fn bare_lf(case: &Case<'_>) -> Option<String> {
    let malformed = case.code() == "response-malformed"
        && unreadable(case, Side::Server).is_some_and(|octets| octets.contains(&b'\n'))
        && unreadable(case, Side::Server).is_some_and(|octets| !octets.contains(&b'\r'));
    if case.code() != "head-bare-lf" && !malformed {
        return None;
    }
    Some(
        "A line ends in LF without CR: the head was typed or saved by a program that ends lines \
         this way, or a hop rewrote it."
            .to_owned(),
    )
}

pub(super) fn spaces_squeezed(case: &Case<'_>) -> Option<String> {
    is(case, "key-not-divisible")?;
    let mut told = Vec::new();
    for (n, key) in keys(case).iter().enumerate() {
        if key.with(0).is_some() {
            continue;
        }
        // A client puts at most twelve.
        let lost =
            (1..=12_u64.saturating_sub(key.spaces)).find(|lost| key.with(*lost).is_some())?;
        told.push(format!(
            "with {} key {} gives {} exactly",
            spaces_more(lost),
            n + 1,
            key.with(lost)?
        ));
    }
    let told = told.join(", and ");
    (!told.is_empty()).then(|| {
        format!(
            "A hop on the way squeezed runs of spaces in the keys into one: {told}.{}",
            hop(case)
        )
    })
}

pub(super) fn no_spaces(case: &Case<'_>) -> Option<String> {
    if !matches!(case.code(), "key-without-spaces" | "key-not-divisible") {
        return None;
    }
    Some(format!(
        "No client of hixie-76 makes such a key: a hop changed it, or another program wrote it.{}",
        hop(case)
    ))
}

pub(super) fn key_added(case: &Case<'_>) -> Option<String> {
    is(case, "version-missing")?;
    let request = case.part(PartKind::Request)?;
    let headers = request.headers();
    let key = headers.iter().find(|h| h.is("Sec-WebSocket-Key"))?;
    let others_lower = headers
        .iter()
        .all(|h| h.name.to_ascii_lowercase() == h.name);
    let hixie = case.request_header("Upgrade") == Some(b"WebSocket");
    (hixie && key.name == b"sec-websocket-key" && !others_lower).then(|| {
        "This is a request of hixie-75 to which HAProxy (3.2 or later, in HTTP mode) added a \
         sec-websocket-key of its own: its letters are lower case, unlike those of the others, and no \
         version comes with it."
            .to_owned()
    })
}

pub(super) fn version_forgotten(case: &Case<'_>) -> Option<String> {
    is(case, "version-missing")?;
    Some(
        "The client sends a key and forgets the version; or a proxy dropped Sec-WebSocket-Version, \
         or added the key."
            .to_owned(),
    )
}

pub(super) fn http_1_0(case: &Case<'_>) -> Option<String> {
    is(case, "http-version")?;
    let raw = unreadable(case, Side::Client)
        .or(case.part(PartKind::Request).map(|part| part.raw.as_slice()))?;
    let line = raw.split(|octet| *octet == b'\r').next()?;
    if !line.ends_with(b" HTTP/1.0") {
        return None;
    }
    Some(format!(
        "A proxy speaks HTTP/1.0 to the server, as nginx does by default.{}",
        hop(case)
    ))
}

pub(super) fn headers_stripped(case: &Case<'_>) -> Option<String> {
    let which = match case.code() {
        "upgrade-missing" => "Upgrade",
        "connection-missing" => "Connection: Upgrade",
        _ => return None,
    };
    Some(format!(
        "A proxy removed {which} from the request. Both headers are for one hop only, so a proxy \
         that does not know WebSocket drops them.{}",
        hop(case)
    ))
}

pub(super) fn third_key_held(case: &Case<'_>) -> Option<String> {
    let refused = case.status.is_some_and(|status| status != 101);
    let waits = case.fault.is_none()
        || refused
        || matches!(case.code(), "handshake-cut" | "connection-cut");
    (waits && case.lacks_third_key()).then(|| {
        "The eight octets behind the head did not arrive. No header announces them, so an HTTP \
         proxy does not count them as part of the request and holds them back until it sees the \
         101; and a server that waits for them never sends it."
            .to_owned()
    })
}

pub(super) fn version_listed(case: &Case<'_>) -> Option<String> {
    is(case, "version-list")?;
    Some("The request names several versions, as only a response may.".to_owned())
}

pub(super) fn version_unknown(case: &Case<'_>) -> Option<String> {
    is(case, "version-unknown")?;
    let number = shown(case.request_header("Sec-WebSocket-Version")?, 20);
    Some(match number.as_str() {
        "9" | "10" | "11" | "12" => {
            format!("Number {number} was never on the wire: drafts 09 to 12 all say 8.")
        }
        "0" | "1" | "2" | "3" => format!(
            "Number {number} was never on the wire: before hybi-04 a request had no number."
        ),
        _ => format!("No document defines version {number}."),
    })
}

pub(super) fn key_malformed(case: &Case<'_>) -> Option<String> {
    if !matches!(case.code(), "key-malformed" | "key-missing") {
        return None;
    }
    Some(match case.request_header("Sec-WebSocket-Key") {
        None => "The client sends a version and no key.".to_owned(),
        Some(key) if key.contains(&b' ') => {
            "The key holds spaces: a `+` of base64 was read as a space on the way.".to_owned()
        }
        Some(key) => format!(
            "The key has {} characters, and is not sixteen octets in base64: it was written by \
             hand, cut, or encoded twice.",
            key.len()
        ),
    })
}

pub(super) fn key_alone(case: &Case<'_>) -> Option<String> {
    is(case, "key-alone")?;
    Some("One of the two numbered keys was lost on the way, or never sent.".to_owned())
}

pub(super) fn origin_missing(case: &Case<'_>) -> Option<String> {
    is(case, "origin-missing")?;
    Some(
        "Without a key and a version it looks like hixie-75, but it names no origin: a program that \
         is not a browser asks for an upgrade and sends none of the newer headers."
            .to_owned(),
    )
}

pub(super) fn repeated(case: &Case<'_>) -> Option<String> {
    is(case, "header-repeated")?;
    Some(format!(
        "A header that may occur once occurs twice: a hop added its own.{}",
        hop(case)
    ))
}
