//! The keys of a route: which requests it gets, and where it leads.

use clap::Args;

use super::super::header_text;
use super::super::route_args::{BridgeArgs, RouteArgs};
use super::super::setup::{PathPattern, To};
use super::super::{request_args, suggest};

/// The keys of a `[[route]]`.
#[derive(Clone, Debug, Args)]
pub(super) struct RouteKeys {
    /// The path that it has, `/chat` with all below it, or `=/chat` alone.
    #[arg(long, default_value = "/", value_parser = path_pattern)]
    pub(super) path: PathPattern,
    /// Where it leads: `echo`, `lab`, `topic:NAME`, or the URL of a backend, or several.
    #[arg(long, required = true, value_parser = destination)]
    pub(super) to: Vec<To>,
    /// A subprotocol of ours, where it does not lead to a backend.
    #[arg(long, value_name = "NAME", value_parser = header_text)]
    pub(super) subprotocol: Vec<String>,
    #[command(flatten)]
    pub(super) policy: RouteArgs,
    #[command(flatten)]
    pub(super) bridge: BridgeArgs,
}

/// The keys that say where a route leads: each route has its own.
pub(super) const OWN: [&str; 2] = ["path", "to"];
/// The keys that are about TLS to a backend.
pub(super) const OF_TLS: [&str; 3] = ["ca", "insecure", "backend-tls-legacy"];

/// Characters of the name of a topic.
const TOPIC: usize = 200;

fn path_pattern(text: &str) -> Result<PathPattern, String> {
    let is_path = |path: &str| {
        let may_be = |o: u8| matches!(o, 0x21..=0x7e) && !b"?#*\"<>\\^`{|}".contains(&o);
        path.bytes().all(may_be)
    };
    let found = match text.strip_prefix('=') {
        Some(exact) => PathPattern::Exact(exact.to_owned()),
        None => PathPattern::Below(text.to_owned()),
    };
    let path = text.strip_prefix('=').unwrap_or(text);
    if path.starts_with('/') && is_path(path) {
        return Ok(found);
    }
    let hint = "give /chat for this path and all below it, or =/chat for it alone; a path is sent \
                as it is, so what is not ASCII stands as %XX";
    Err(match text.strip_suffix("/*") {
        Some(below) if is_path(below) && (below.is_empty() || below.starts_with('/')) => {
            let meant = if below.is_empty() { "/" } else { below };
            format!("{hint}; did you mean {meant}?")
        }
        _ => hint.to_owned(),
    })
}

pub(super) fn destination(text: &str) -> Result<To, String> {
    match text {
        "echo" => return Ok(To::Echo),
        "lab" => return Ok(To::Lab),
        "topic" | "topic:" => {
            return Err("a topic has a name: give topic:NAME, such as topic:chat".to_owned());
        }
        _ => {}
    }
    if let Some(name) = text.strip_prefix("topic:") {
        let is_name = name.chars().count() <= TOPIC && !name.chars().any(char::is_control);
        return if is_name {
            Ok(To::Topic(name.to_owned()))
        } else {
            Err(format!(
                "the name of a topic has at most {TOPIC} characters, and none of control"
            ))
        };
    }
    let words = ["echo", "lab", "topic:NAME"];
    let url = request_args::url(text).map_err(|why| match suggest::of_name(text, words) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("give echo, lab, topic:NAME, or the URL of a backend; {why}"),
    })?;
    Ok(To::Backend(vec![url]))
}

/// One destination of several values: only backends may be several.
pub(super) fn one_destination(several: &[To]) -> Result<To, &'static str> {
    if let [one] = several {
        return Ok(one.clone());
    }
    let mut all = Vec::new();
    for to in several {
        match to {
            To::Backend(urls) => all.extend(urls.iter().cloned()),
            _ => {
                return Err(
                    "a list is for the URLs of several backends; a route leads to one of \
                             echo, lab and topic:NAME",
                );
            }
        }
    }
    if all.is_empty() {
        return Err("this list is empty; give the URL of a backend, or echo, lab or topic:NAME");
    }
    Ok(To::Backend(all))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_all_below_it_unless_it_stands_behind_an_equals_sign() {
        let below = |path: &str| PathPattern::Below(path.to_owned());
        let exact = |path: &str| PathPattern::Exact(path.to_owned());
        assert_eq!(path_pattern("/"), Ok(below("/")));
        assert_eq!(path_pattern("/a/b"), Ok(below("/a/b")));
        assert_eq!(path_pattern("=/"), Ok(exact("/")));
        assert_eq!(path_pattern("=/a%20b"), Ok(exact("/a%20b")));
        for text in [
            "", "*", "a", "/a*", "=", "=a", "/*/b", "/a?b", "/a b", "/é", "/a#b",
        ] {
            assert!(path_pattern(text).is_err(), "{text}");
        }
        for (text, meant) in [("/*", "mean /?"), ("/a/*", "mean /a?")] {
            assert!(
                path_pattern(text).is_err_and(|why| why.contains(meant)),
                "{text}"
            );
        }
        for text in ["/", "/a", "=/a"] {
            assert_eq!(path_pattern(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn only_backends_may_be_several() {
        let all = |texts: &[&str]| -> Vec<To> {
            texts
                .iter()
                .map(|text| destination(text).unwrap())
                .collect()
        };
        let two = one_destination(&all(&["ws://a/", "wss://b/"]));
        assert!(matches!(two, Ok(To::Backend(urls)) if urls.len() == 2));
        assert!(one_destination(&all(&["ws://a/", "echo"])).is_err());
        assert!(one_destination(&all(&["topic:a", "topic:b"])).is_err());
        assert!(one_destination(&[]).is_err());
        for text in ["topic", "topic:", "Echo", "http://h/", "topic:\u{1b}", ""] {
            assert!(destination(text).is_err(), "{text}");
        }
    }
}
