//! Which version a request asks for: a pure function of its head.

use super::head::{Head, Header};
use super::name::Name;
use super::octets::OctetSet;
use crate::error::{Located, Refusal};
use crate::version::{Challenge, VERSIONS, Version, Versions};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// Plain HTTP: no upgrade.
    Http,
    /// An upgrade to this version.
    Upgrade(&'static Version),
}

/// A refusal and the octets of the head in which its cause lies.
pub(super) type Refused = (Refusal, core::ops::Range<usize>);

/// Finds the version from the head alone.
///
/// # Errors
///
/// The refusal that fits, where no version does or the version is not `on`. Its
/// octets count from the start of the head.
pub fn detect(head: &Head<'_>, on: Versions) -> Result<Detected, Located<Refusal>> {
    detect_in(head, on).map_err(|(refusal, at)| Located::in_head(refusal, at, 0))
}

pub(super) fn detect_in(head: &Head<'_>, on: Versions) -> Result<Detected, Refused> {
    let [method, _, http] = head.first_line();
    let upgrade = head.has_known_token(Name::Upgrade, "websocket");
    // Looked up in any case, so that the observer sees what decided.
    let connection = head.has_known_token(Name::Connection, "Upgrade");
    if !upgrade {
        if let Some(sec) = head.headers().find(|h| is_sec(h.name)) {
            // A body can hold a second request, for a hop that reads the first
            // one as WebSocket.
            let has_body = ["Content-Length", "Transfer-Encoding"]
                .into_iter()
                .filter_map(|name| head.headers().find(|h| h.name.eq_ignore_ascii_case(name)))
                .any(|header| header.value != b"0");
            let refusal = if has_body || method != "GET" {
                Refusal::UpgradeSmuggled
            } else {
                Refusal::UpgradeMissing
            };
            return Err((refusal, sec.line_at()));
        }
        // RFC 9112 section 3.2; HTTP/1.0, which health checks speak, has none.
        if http == "HTTP/1.1" {
            check_host(head)?;
        }
        return Ok(Detected::Http);
    }
    if http != "HTTP/1.1" {
        return Err((Refusal::HttpVersion, head.first_line_at(2)));
    }
    if method != "GET" {
        return Err((Refusal::MethodNotGet, head.first_line_at(0)));
    }
    if !connection {
        let at = head.get("Connection").map(Header::line_at);
        let at = at.unwrap_or_else(|| head.missing_at());
        return Err((Refusal::ConnectionMissing, at));
    }
    check_host(head)?;
    let version = version(head, on)?;
    if on.contains(version) {
        Ok(Detected::Upgrade(version))
    } else {
        let names = ["Sec-WebSocket-Version", "Sec-WebSocket-Key1", "Upgrade"];
        let at = names.iter().find_map(|name| head.get(name));
        let at = at.map_or_else(|| head.missing_at(), Header::line_at);
        Err((Refusal::VersionOff { version, on }, at))
    }
}

/// The decision table; the first row of it that fits decides.
fn version(head: &Head<'_>, on: Versions) -> Result<&'static Version, Refused> {
    let key = head.only_value(Name::Key)?;
    let key1 = head.at_most_one(Name::Key1)?;
    let key2 = head.at_most_one(Name::Key2)?;
    let draft = head.at_most_one(Name::Draft)?;
    if let Some(number) = version_number(head)? {
        let at = || head.value_at(Name::Version);
        let unknown = || (Refusal::VersionUnknown { number, on }, at());
        let version = Version::numbered(number).ok_or_else(unknown)?;
        // The number decides; numbered keys beside it mean nothing.
        return if key.is_some() || !on.contains(version) {
            Ok(version)
        } else {
            Err((Refusal::KeyMissing, head.missing_at()))
        };
    }
    let version_missing = || (Refusal::VersionMissing, head.missing_at());
    // The header names the document that the client's author read, not how it
    // frames: two known clients send it and frame as hixie-76. Where hybi-03 is
    // on, the first octet of a frame tells (`conn`).
    let hybi03_is_on = VERSIONS.iter().any(|v| v.has_draft() && on.contains(v));
    let row = |challenge, draft| {
        let mut unnumbered = VERSIONS.iter().filter(|v| v.number.is_none());
        unnumbered
            .find(|v| v.challenge == challenge && v.has_draft() == draft)
            .ok_or_else(version_missing)
    };
    match (key, draft.map(|h| h.value), key1, key2) {
        // HAProxy adds a key of its own to hixie requests. No script in a
        // browser can set a numbered key, so both of them still prove a client
        // of hixie-76.
        (_, None | Some(b"0"), Some(_), Some(_)) => row(Challenge::Hixie76, false),
        (Some(_), ..) => Err(version_missing()),
        (None, Some(b"1" | b"2" | b"3"), Some(_), Some(_)) => row(Challenge::Hixie76, hybi03_is_on),
        (None, Some(_), _, _) => {
            let at = draft.map_or_else(|| head.missing_at(), Header::value_at);
            Err((Refusal::DraftMalformed, at))
        }
        (None, None, Some(alone), None) | (None, None, None, Some(alone)) => {
            Err((Refusal::KeyAlone, alone.line_at()))
        }
        (None, None, None, None) => {
            let other_sec = head
                .headers()
                .find(|h| is_sec(h.name) && !h.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"));
            if let Some(other) = other_sec {
                return Err((Refusal::VersionMissing, other.line_at()));
            }
            if !head.has("Origin") {
                return Err((Refusal::OriginMissing, head.missing_at()));
            }
            row(Challenge::Hixie75, false)
        }
    }
}

/// `Sec-WebSocket-Version`: one number from 0 to 255 without a leading zero
/// (RFC 6455 section 4.3), at most once (section 11.3.5).
fn version_number(head: &Head<'_>) -> Result<Option<u8>, Refused> {
    let value = head
        .only_value(Name::Version)
        .map_err(|(_, at)| (Refusal::VersionList, at))?;
    let Some(digits) = value else {
        return Ok(None);
    };
    if digits.contains(&b',') {
        return Err((Refusal::VersionList, head.value_at(Name::Version)));
    }
    let well_formed = digits.len() == 1 || digits.first() != Some(&b'0');
    number(digits)
        .filter(|_| well_formed)
        .and_then(|number| u8::try_from(number).ok())
        .map(Some)
        .ok_or_else(|| (Refusal::VersionMalformed, head.value_at(Name::Version)))
}

fn is_sec(name: &str) -> bool {
    name.get(..14)
        .is_some_and(|start| start.eq_ignore_ascii_case("Sec-WebSocket-"))
}

fn check_host(head: &Head<'_>) -> Result<(), Refused> {
    match head.only_value(Name::Host)? {
        None => Err((Refusal::HostMissing, head.missing_at())),
        // The line: there is no value to point to.
        Some([]) => Err((Refusal::HostMissing, head.value_at(Name::Host))),
        Some(host) if is_authority(host) => Ok(()),
        Some(_) => Err((Refusal::HostMalformed, head.value_at(Name::Host))),
    }
}

/// Whether these octets can be a host and port (RFC 3986 section 3.2.2): a port
/// is a number from 1 to 65535, or empty.
pub(crate) fn is_authority(octets: &[u8]) -> bool {
    static NAME: OctetSet = OctetSet::of(
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~%!$&'()*+,;=",
    );
    let mut rest = octets;
    let mut port = None;
    loop {
        let name = rest.iter().position(|octet| !NAME.has(*octet));
        let after = name.and_then(|name| rest.get(name..));
        match after {
            None => return port.is_none_or(is_port),
            // The colons of an IPv6 address stand in brackets.
            Some([b']', after @ ..]) => (port, rest) = (None, after),
            Some([b'[', after @ ..]) => rest = after,
            Some([b':', after @ ..]) => {
                if port.is_none() && is_port(after) {
                    return true;
                }
                (port, rest) = (port.or(Some(after)), after);
            }
            Some(_) => return false,
        }
    }
}

fn is_port(digits: &[u8]) -> bool {
    digits.is_empty() || number(digits).is_some_and(|port| port > 0)
}

/// A number of digits, at least one of them.
fn number(digits: &[u8]) -> Option<u16> {
    let mut number: u16 = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(value.into())?;
    }
    (!digits.is_empty()).then_some(number)
}
