//! One element of `Forwarded` (RFC 7239 section 4).

/// The element of one hop.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// The value of `for`.
    pub(super) node: Option<String>,
    pub(super) host: Option<String>,
    pub(super) proto: Option<String>,
}

impl Element {
    pub(super) fn read(text: &str) -> Option<Element> {
        let mut element = Element::default();
        for pair in unquoted(text, ';').filter(|pair| !pair.is_empty()) {
            let (name, written) = pair.split_once('=')?;
            let value = value(written)?;
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => &mut element.node,
                "host" => &mut element.host,
                "proto" => &mut element.proto,
                "" => return None,
                other if other.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-') => {
                    return None;
                }
                _ => continue,
            };
            // Each at most once.
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(element)
    }
}

/// Splits at each separator that is not inside quotes.
pub(super) fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let separates = c == separator && !quoted;
        if escaped {
            escaped = false;
        } else if c == '"' {
            quoted = !quoted;
        } else {
            escaped = quoted && c == '\\';
        }
        separates
    })
    .map(str::trim)
}

/// A token or a quoted string. Many proxies write addresses without quotes,
/// with their colons and brackets.
fn value(written: &str) -> Option<String> {
    let Some(inner) = written.strip_prefix('"') else {
        let is_bare = !written.is_empty() && !written.contains(['"', '\\', ' ']);
        return is_bare.then(|| written.to_owned());
    };
    let mut value = String::new();
    let mut rest = inner.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(value),
            '\\' => value.push(rest.next()?),
            c => value.push(c),
        }
    }
}
