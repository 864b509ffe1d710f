//! The origin policy.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Which origins may connect: exact tuples of scheme, host and port.
#[derive(Clone, Debug, Default)]
pub struct Origins(Option<Vec<String>>);

impl Origins {
    /// Any origin, and none.
    #[must_use]
    pub fn any() -> Origins {
        Origins(None)
    }

    /// Only these, such as `https://example.com` or `null`. A request without
    /// an origin is not among them.
    pub fn only<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Origins {
        let tuples = origins.into_iter().map(|o| tuple(o.as_ref()));
        Origins(Some(tuples.collect()))
    }

    /// Whether a page of this origin may connect.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>) -> bool {
        match (&self.0, origin) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(listed), Some(origin)) => listed.contains(&tuple(origin)),
        }
    }
}

/// An origin with its default port left out and in lower case, so that equal
/// tuples are equal strings.
fn tuple(origin: &str) -> String {
    let lower = origin.to_ascii_lowercase();
    let port = match lower.split_once("://") {
        Some(("http" | "ws", _)) => ":80",
        Some(("https" | "wss", _)) => ":443",
        _ => return lower,
    };
    lower
        .strip_suffix(port)
        .map_or(lower.clone(), str::to_owned)
}
