//! `Sec-WebSocket-Extensions`: a list of names, each with parameters (RFC 6455
//! section 9.1).
//!
//! Nothing is copied: an [`Element`] borrows from the value of its header.

use core::ops::Range;

/// One extension of a list: what a client offers, or what a server agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'b> {
    /// The name, in the letters it was sent in.
    pub name: &'b str,
    /// From the first semicolon on.
    parameters: &'b [u8],
    start: usize,
    end: usize,
}

/// One parameter of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'b> {
    /// The name, in the letters it was sent in.
    pub name: &'b str,
    /// What follows the `=`, without the quotes.
    pub value: Option<Value<'b>>,
}

/// The value of a parameter: a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'b>(&'b str);

impl<'b> Value<'b> {
    /// The characters; in quotes, a backslash only protects the next one.
    pub fn chars(self) -> impl Iterator<Item = char> + use<'b> {
        // No token holds a backslash.
        self.0.chars().filter(|c| *c != '\\')
    }

    /// Whether it is this token.
    #[must_use]
    pub fn is(self, token: &str) -> bool {
        self.chars().eq(token.chars())
    }
}

/// The octets of a header's value that are no list of extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the value: the element that cannot be read.
    pub at: Range<usize>,
}

/// The extensions in the value of one header, in order. An element that cannot be
/// read takes no other with it. Empty elements are left out.
pub fn elements(value: &[u8]) -> impl Iterator<Item = Result<Element<'_>, Malformed>> + Clone {
    Elements {
        value,
        rest: Some(value),
    }
}

#[derive(Clone)]
struct Elements<'b> {
    value: &'b [u8],
    /// What follows the last comma; `None` behind the last element.
    rest: Option<&'b [u8]>,
}

impl<'b> Iterator for Elements<'b> {
    type Item = Result<Element<'b>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let (element, after) = split(rest, b',');
            self.rest = after;
            let element_start = trim_start(element);
            let start = self.value.len() - rest.len() + (element.len() - element_start.len());
            let element = trim_end(element_start);
            if !element.is_empty() {
                return Some(Element::read(element, start));
            }
        }
    }
}

impl<'b> Element<'b> {
    fn read(octets: &'b [u8], start: usize) -> Result<Element<'b>, Malformed> {
        let end = start + octets.len();
        let malformed = || Malformed { at: start..end };
        let (name, _) = split(octets, b';');
        let (_, parameters) = octets.split_at(name.len());
        let element = Element {
            name: token(trim_end(name)).ok_or_else(malformed)?,
            parameters,
            start,
            end,
        };
        // Once for all, so that those who look need not ask.
        let mut rest = parameters;
        while let Some((parameter, after)) = Parameter::read(rest).map_err(|()| malformed())? {
            let _: Parameter<'_> = parameter;
            rest = after;
        }
        Ok(element)
    }

    /// The parameters, in order.
    pub fn parameters(self) -> impl Iterator<Item = Parameter<'b>> + use<'b> {
        let mut rest = self.parameters;
        core::iter::from_fn(move || {
            let (parameter, after) = Parameter::read(rest).ok()??;
            rest = after;
            Some(parameter)
        })
    }

    /// Where it lies in the value of its header.
    #[must_use]
    pub fn at(&self) -> Range<usize> {
        self.start..self.end
    }
}

impl<'b> Parameter<'b> {
    /// Reads the parameter behind the semicolon in front, and gives what follows it;
    /// `None` at the end.
    fn read(octets: &'b [u8]) -> Result<Option<(Parameter<'b>, &'b [u8])>, ()> {
        let Some((b';', octets)) = octets.split_first() else {
            return if octets.is_empty() { Ok(None) } else { Err(()) };
        };
        let (parameter, _) = split(octets, b';');
        let (_, after) = octets.split_at(parameter.len());
        let parameter = trim_end(trim_start(parameter));
        let (name, value) = split(parameter, b'=');
        let name = token(trim_end(name)).ok_or(())?;
        let value = match value.map(trim_start) {
            None => None,
            Some([b'"', quoted @ .., b'"']) => Some(quoted_token(quoted).ok_or(())?),
            Some(value) => Some(Value(token(value).ok_or(())?)),
        };
        Ok(Some((Parameter { name, value }, after)))
    }
}

/// What stands between quotes, where it is a token with or without backslashes.
fn quoted_token(quoted: &[u8]) -> Option<Value<'_>> {
    let mut is_escaped = false;
    let mut length = 0;
    for octet in quoted {
        if *octet == b'\\' && !is_escaped {
            is_escaped = true;
        } else if is_token_octet(*octet) {
            is_escaped = false;
            length += 1;
        } else {
            return None;
        }
    }
    let text = core::str::from_utf8(quoted).ok()?;
    (length > 0 && !is_escaped).then_some(Value(text))
}

/// What stands before the first separator outside quotes, and what follows it.
fn split(octets: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (i, octet) in octets.iter().enumerate() {
        match *octet {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            octet if octet == separator && !is_quoted => {
                let (before, after) = octets.split_at(i);
                return (before, after.get(1..));
            }
            _ => {}
        }
    }
    (octets, None)
}

fn token(octets: &[u8]) -> Option<&str> {
    let is_token = !octets.is_empty() && octets.iter().all(|octet| is_token_octet(*octet));
    is_token.then(|| core::str::from_utf8(octets).ok())?
}

/// RFC 9110 section 5.6.2.
fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', after @ ..] = octets {
        octets = after;
    }
    octets
}

fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t'] = octets {
        octets = before;
    }
    octets
}
