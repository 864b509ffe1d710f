//! What was probably meant: near misses of version names, URLs, addresses and
//! options.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use heirloom::Version;
use heirloom::net::Url;
use heirloom::version::VERSIONS;

/// Octets of a text for which a near name is looked for.
const LONGEST_NAME: usize = 64;

/// The version whose name is close to this one.
pub(super) fn of_version(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let number = digits.trim_start_matches('0');
    let has = |word: &str| name.contains(word);
    // Drafts that no name tells apart on the wire.
    if (has("hybi") || has("draft")) && !has("hixie") {
        match number {
            "9" | "11" | "12" => return Some("hybi-08"),
            "13" | "14" | "15" | "16" | "17" => return Some("rfc6455"),
            _ => {}
        }
    }
    if has("6455") || matches!(&*name, "rfc" | "websocket" | "ws" | "modern") {
        return Some("rfc6455");
    }
    let bare = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .flat_map(char::to_lowercase)
            .collect()
    };
    let asked = bare(&name);
    let spelled = |version: &&Version| {
        let names = std::iter::once(&version.name).chain(version.aliases);
        names.into_iter().any(|name| bare(name) == asked)
    };
    if let Some(version) = VERSIONS.iter().find(spelled) {
        return Some(version.name);
    }
    // The number alone tells, whatever stands around it.
    let is_number = |version: &&Version| {
        version.aliases.contains(&&*digits) || version.aliases.contains(&number)
    };
    let words = ["hixie", "hybi", "draft", "version", "ietf"];
    let tells = words.iter().any(|word| has(word)) || name.starts_with('v');
    if let Some(version) = VERSIONS.iter().find(is_number).filter(|_| tells) {
        return Some(version.name);
    }
    // The letters may be wrong, the number must be right.
    VERSIONS
        .iter()
        .filter(|version| {
            version
                .name
                .trim_start_matches(|c: char| !c.is_ascii_digit())
                == digits
        })
        .map(|version| (distance(&name, version.name), version.name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| name)
}

/// The name that was probably meant: the one that is closest to this text.
pub(super) fn of_name<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > LONGEST_NAME {
        return None;
    }
    let text = text.to_ascii_lowercase().replace('_', "-");
    let most = 1 + text.len() / 5;
    let near = names.into_iter().map(|name| (distance(&text, name), name));
    let near = near.filter(|(distance, _)| *distance <= most);
    near.min().map(|(_, name)| name)
}

/// How many letters must be changed, added or left out to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, c) in one.chars().enumerate() {
        let mut next = vec![i + 1];
        let both = other.iter().zip(row.windows(2));
        for (d, pair) in both {
            let (above_left, above) = match pair {
                [above_left, above] => (*above_left, *above),
                _ => continue,
            };
            let left = next.last().copied().unwrap_or_default();
            let changed = above_left + usize::from(c != *d);
            next.push(changed.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The WebSocket URL that this text would be.
pub(super) fn of_url(text: &str) -> Option<String> {
    let text = text.trim();
    let meant = match text.split_once(':') {
        Some((scheme, rest)) if is_word(scheme, &["http", "https", "ws", "wss", "tcp"]) => {
            let rest = rest.trim_start_matches('/');
            let secure = is_word(scheme, &["https", "wss"]);
            format!("{}://{rest}", if secure { "wss" } else { "ws" })
        }
        Some((scheme, path)) if is_word(scheme, &["unix"]) => format!("ws+unix:{path}"),
        _ if text.contains("://") => return None,
        // Only a port.
        Some(("", port)) if is_port(port) => format!("ws://127.0.0.1:{port}/"),
        _ if is_port(text) => format!("ws://127.0.0.1:{text}/"),
        _ => format!("ws://{}", text.trim_start_matches('/')),
    };
    let url = Url::parse(&meant).ok()?;
    let plain = !url.host.is_empty() && !url.host.starts_with('-');
    plain.then_some(meant)
}

fn is_word(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The address of a listener that was probably meant: that of a URL, or two of
/// which only the port was given.
pub(super) fn of_listener(text: &str) -> Option<String> {
    if text.contains("://") {
        return of_server(text);
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(format!("did you mean [{text}]:8076?"));
    }
    port_of(text).map(|port| {
        format!(
            "did you mean 127.0.0.1:{port}, which this machine alone can reach, or 0.0.0.0:{port}, \
             which all can?"
        )
    })
}

/// The address of a server that was probably meant.
pub(super) fn of_server(text: &str) -> Option<String> {
    if let Some((_, rest)) = text.split_once("://") {
        let address = rest.split('/').next().unwrap_or(rest);
        return Some(format!("did you mean {address}?"));
    }
    port_of(text).map(|port| format!("did you mean 127.0.0.1:{port}?"))
}

/// The port, where there is only one.
fn port_of(text: &str) -> Option<u16> {
    let port = text.strip_prefix([':', '*']).unwrap_or(text);
    let port = port.trim_start_matches(':');
    port.parse().ok()
}

/// A tip about an option that does not exist.
pub(super) fn of_argument(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let name = argument.split('=').next().unwrap_or(argument);
    let tip = match name {
        "--port" | "-p" | "--bind" | "--address" | "--addr" | "--host" | "-l" | "-b" => {
            "the address and the port are one option, such as `--listen 127.0.0.1:8076`; connect and \
             probe take a URL, such as ws://127.0.0.1:8076/"
        }
        _ if port_of(name).is_some() => {
            "where to listen is an option, such as `--listen 127.0.0.1:8076`; connect and probe take a \
             URL, such as ws://127.0.0.1:8076/"
        }
        _ if is_negative(name) => "no option takes a number below 0",
        "--version" | "-V" => "`--as VERSION` or `--versions LIST` says which versions to speak",
        "--colour" => "`--color auto|always|never`",
        "--timeout" | "--handshake-timeout" => {
            "timeouts are named by what they wait for; see --help"
        }
        _ => return None,
    };
    Some(tip.to_owned())
}

/// Whether this is the start of a negative number, of which clap names the first
/// digit where a unit follows.
fn is_negative(text: &str) -> bool {
    let digit = text.strip_prefix('-').and_then(|rest| rest.chars().next());
    digit.is_some_and(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_of_a_version_is_found() {
        for (name, meant) in [
            ("hixie76", "hixie-76"),
            ("Hixie-75", "hixie-75"),
            ("hixie_76", "hixie-76"),
            ("hixi-76", "hixie-76"),
            ("draft-76", "hixie-76"),
            ("hixie-00", "hixie-76"),
            ("hybi8", "hybi-08"),
            ("hybi-8", "hybi-08"),
            ("hybi-09", "hybi-08"),
            ("hybi-17", "rfc6455"),
            ("hybi10", "hybi-08"),
            ("RFC-6455", "rfc6455"),
            ("rfc 6455", "rfc6455"),
            ("6455", "rfc6455"),
            ("v13", "rfc6455"),
            ("hybi13", "rfc6455"),
            ("draft-ietf-hybi-thewebsocketprotocol-06", "hybi-06"),
            ("hibi-07", "hybi-07"),
        ] {
            assert_eq!(of_version(name), Some(meant), "{name}");
        }
        for name in ["", "nonsense", "99", "hybi-99"] {
            assert_eq!(of_version(name), None, "{name}");
        }
    }

    #[test]
    fn a_text_that_would_be_a_url_is_found() {
        for (text, meant) in [
            ("http://h/chat", Some("ws://h/chat")),
            ("HTTPS://h/", Some("wss://h/")),
            ("localhost:8076", Some("ws://localhost:8076")),
            ("example.com/a", Some("ws://example.com/a")),
            ("//example.com/a", Some("ws://example.com/a")),
            ("ws:/h/", Some("ws://h/")),
            ("unix:/a.sock", Some("ws+unix:/a.sock")),
            (":9000", Some("ws://127.0.0.1:9000/")),
            ("9000", Some("ws://127.0.0.1:9000/")),
            ("ftp://h/", None),
            ("h:99999", None),
            ("a b", None),
        ] {
            assert_eq!(of_url(text).as_deref(), meant, "{text}");
        }
    }
}
