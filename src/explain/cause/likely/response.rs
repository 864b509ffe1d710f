//! What servers and hops do to the heads of responses.

use super::super::Case;
use super::look::is;
use crate::explain::part::PartKind;
use crate::explain::text::shown;
use crate::trace::Field;
use crate::version::Layout;

pub(super) fn lines_of_75(case: &Case<'_>) -> Option<String> {
    is(case, "response-lines")?;
    let response = case.part(PartKind::Response)?;
    let headers = response.headers();
    let first = headers
        .first()
        .map(|h| shown(h.name, 60))
        .unwrap_or_default();
    let reason = response
        .spans
        .iter()
        .find(|s| s.span.field == Field::Reason);
    let reason = reason.map(|s| response.raw_of(&s.span)).unwrap_or_default();
    let began = "Browsers of hixie-75 compare the first three lines octet by octet";
    Some(if reason != b"Web Socket Protocol Handshake" {
        format!(
            "{began}, and the reason phrase is `{}`: a hop rewrote the status line, or the \
             server answers as for a newer version.",
            shown(reason, 60)
        )
    } else if !first.eq_ignore_ascii_case("Upgrade") {
        format!(
            "{began}, and {first} comes first: a proxy adds headers of its own (nginx puts Server \
             and Date there) or sorts them."
        )
    } else {
        format!("{began}, and a hop changed the order or the letters of Upgrade and Connection.")
    })
}

/// The location that the server sent and the one that the client dialled.
fn locations(case: &Case<'_>) -> Option<(String, String)> {
    is(case, "location-mismatch")?;
    let name = match case.part(PartKind::Response)?.header("WebSocket-Location") {
        Some(_) => "WebSocket-Location",
        None => "Sec-WebSocket-Location",
    };
    let got = String::from_utf8_lossy(case.response_header(name)?).into_owned();
    let host = String::from_utf8_lossy(case.request_header("Host")?).into_owned();
    let request = case.part(PartKind::Request)?;
    let target = request
        .spans
        .iter()
        .find(|s| s.span.field == Field::Target)?;
    let target = String::from_utf8_lossy(request.raw_of(&target.span)).into_owned();
    let scheme = if case.secure { "wss" } else { "ws" };
    Some((got, format!("{scheme}://{host}{target}")))
}

fn both(got: &str, want: &str) -> String {
    let (got, want) = (shown(got.as_bytes(), 80), shown(want.as_bytes(), 80));
    format!("the server names {got}, and the client dialled {want}")
}

pub(super) fn location_scheme(case: &Case<'_>) -> Option<String> {
    let (got, want) = locations(case)?;
    let (got_scheme, got_rest) = got.split_once("://")?;
    let (want_scheme, want_rest) = want.split_once("://")?;
    (got_rest == want_rest && got_scheme != want_scheme).then(|| {
        format!(
            "Only the scheme is wrong: {}. A proxy ends TLS, and the server does not know that.",
            both(&got, &want)
        )
    })
}

pub(super) fn location_port(case: &Case<'_>) -> Option<String> {
    let (got, want) = locations(case)?;
    let name = |url: &str| -> Option<(String, String)> {
        let rest = url.split_once("://")?.1;
        let authority = rest.split('/').next()?;
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) => (name, port),
            None => (authority, ""),
        };
        Some((name.to_owned(), port.to_owned()))
    };
    let ((got_name, got_port), (want_name, want_port)) = (name(&got)?, name(&want)?);
    (got_name == want_name && got_port != want_port).then(|| {
        format!(
            "The port is wrong: {}. The server put its own port there, or none, instead of the one \
             in Host.",
            both(&got, &want)
        )
    })
}

pub(super) fn location_missing(case: &Case<'_>) -> Option<String> {
    is(case, "location-mismatch")?;
    let (own, other) = match case.version?.layout {
        Layout::Hixie75 if case.version?.has_body() => {
            ("Sec-WebSocket-Location", "WebSocket-Location")
        }
        Layout::Hixie75 => ("WebSocket-Location", "Sec-WebSocket-Location"),
        _ => ("Sec-WebSocket-Location", "WebSocket-Location"),
    };
    if case.response_header(own).is_some() {
        return None;
    }
    Some(match case.response_header(other) {
        Some(_) => {
            format!(
                "The response has {other}, which is the header of another version, and no {own}."
            )
        }
        None => {
            format!(
                "The response has no {own}: it is made for another version, or a hop dropped it."
            )
        }
    })
}

pub(super) fn location_else(case: &Case<'_>) -> Option<String> {
    let (got, want) = locations(case)?;
    Some(format!(
        "The location is not the URL that was dialled: {}. Clients of this version compare the \
         whole of it.",
        both(&got, &want)
    ))
}

pub(super) fn origin_echo(case: &Case<'_>) -> Option<String> {
    is(case, "origin-mismatch")?;
    let requested = case.request_header("Origin")?;
    let got = case
        .response_header("Sec-WebSocket-Origin")
        .or(case.response_header("WebSocket-Origin"));
    Some(match got {
        None => {
            "The response does not repeat the origin: it is made for another version.".to_owned()
        }
        Some(got) if got.eq_ignore_ascii_case(requested) => {
            "The origin comes back with letters of another case, and clients compare it octet by octet."
                .to_owned()
        }
        Some(got) => format!(
            "The server repeats {}, but the client sent {}: the server is set to an origin of its own, \
             or a hop changed one of them.",
            shown(got, 80),
            shown(requested, 80)
        ),
    })
}

fn subprotocols<'a>(case: &Case<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    is(case, "subprotocol-mismatch")?;
    let name = case.version?.subprotocol_header();
    Some((
        case.request_header(name).unwrap_or_default(),
        case.response_header(name),
    ))
}

pub(super) fn subprotocol_left_out(case: &Case<'_>) -> Option<String> {
    let (requested, got) = subprotocols(case)?;
    got.is_none().then(|| {
        format!(
            "The client asked for the subprotocol {}, and the response has none. Safari 5 and iOS 4 \
             and 5 then fail with \"protocol mismatch\".",
            shown(requested, 80)
        )
    })
}

pub(super) fn subprotocol_of_list(case: &Case<'_>) -> Option<String> {
    let (requested, got) = subprotocols(case)?;
    let got = got?;
    let hixie = case.version?.number.is_none();
    let listed = requested
        .split(|o| matches!(o, b',' | b' '))
        .any(|name| name == got);
    (hixie && listed).then(|| {
        format!(
            "The server chose {} from what it took for a list, but a client of this version asked \
             with one string, {}, and wants all of it back.",
            shown(got, 60),
            shown(requested, 80)
        )
    })
}

pub(super) fn subprotocol_listed(case: &Case<'_>) -> Option<String> {
    let (requested, got) = subprotocols(case)?;
    let got = shown(got?, 80);
    Some(if requested.is_empty() {
        format!("The client asked for no subprotocol, and the server names {got}.")
    } else if got.contains(',') {
        format!("The server sends the list back, {got}, instead of one of its names.")
    } else {
        format!(
            "The server names {got}, and the client asked for {}.",
            shown(requested, 80)
        )
    })
}

pub(super) fn upgrade_gone(case: &Case<'_>) -> Option<String> {
    let name = match case.code() {
        "upgrade-mismatch" => "Upgrade",
        "connection-mismatch" => "Connection",
        _ => return None,
    };
    Some(match case.response_header(name) {
        None => format!("The response is 101 but has no {name}: a hop removed it."),
        Some(got) => format!(
            "The response has {name}: {}, which clients of this version do not accept.",
            shown(got, 60)
        ),
    })
}

pub(super) fn refused_by_hop(case: &Case<'_>) -> Option<String> {
    is(case, "refused")?;
    let status = case.status?;
    let hixie = case.version.is_some_and(|v| v.number.is_none());
    Some(match status {
        400 if hixie => {
            "HAProxy 2.4 and later, in HTTP mode, answers 400 itself to a request of this version: \
             it wants a Sec-WebSocket-Key. A server may answer 400 too."
                .to_owned()
        }
        502..=504 => format!(
            "A proxy answers {status}: the server behind it did not answer in time, or not in a way \
             that the proxy accepts as an upgrade."
        ),
        300..=399 => {
            "The server redirects the client, and few WebSocket clients follow a redirect."
                .to_owned()
        }
        200 => {
            "The server answers as to a request for a page: a hop removed Upgrade, or this path has \
             no WebSocket."
                .to_owned()
        }
        _ => return None,
    })
}

pub(super) fn refused_by_server(case: &Case<'_>) -> Option<String> {
    is(case, "refused")?;
    Some(match case.status? {
        401 | 407 => "The server wants credentials.".to_owned(),
        403 => "The server does not let pages of this origin connect, or this client.".to_owned(),
        404 => "There is nothing at this path.".to_owned(),
        426 => {
            "The server speaks other versions; Sec-WebSocket-Version in its response lists them."
                .to_owned()
        }
        505 => "The server wants HTTP/1.1: a hop speaks 1.0 to it.".to_owned(),
        _ => "The server refuses the upgrade.".to_owned(),
    })
}

pub(super) fn no_http(case: &Case<'_>) -> Option<String> {
    is(case, "response-malformed")?;
    Some("The program that answers does not speak HTTP.".to_owned())
}
