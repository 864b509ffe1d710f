//! The names of headers that decide about an opening handshake.

/// A header that a server looks up in the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Host,
    Origin,
    Upgrade,
    Connection,
    ContentLength,
    TransferEncoding,
    Key,
    Key1,
    Key2,
    HixieProtocol,
    Draft,
    SecOrigin,
    Version,
    Protocol,
    Extensions,
}

impl Name {
    pub(super) const COUNT: usize = 15;

    /// As RFC 6455 and its drafts write it.
    #[inline]
    pub(super) fn text(self) -> &'static str {
        match self {
            Name::Host => "Host",
            Name::Origin => "Origin",
            Name::Upgrade => "Upgrade",
            Name::Connection => "Connection",
            Name::ContentLength => "Content-Length",
            Name::TransferEncoding => "Transfer-Encoding",
            Name::Key => "Sec-WebSocket-Key",
            Name::Key1 => "Sec-WebSocket-Key1",
            Name::Key2 => "Sec-WebSocket-Key2",
            Name::HixieProtocol => "WebSocket-Protocol",
            Name::Draft => "Sec-WebSocket-Draft",
            Name::SecOrigin => "Sec-WebSocket-Origin",
            Name::Version => "Sec-WebSocket-Version",
            Name::Protocol => "Sec-WebSocket-Protocol",
            Name::Extensions => "Sec-WebSocket-Extensions",
        }
    }

    /// Which one this is, whatever its letter case. Length and first letter leave
    /// one to compare with.
    #[inline]
    pub(super) fn of(name: &[u8]) -> Option<Name> {
        let first = name.first()?.to_ascii_lowercase();
        let (candidate, is_exact) = match (name.len(), first) {
            (4, b'h') => (Name::Host, name == b"Host"),
            (6, b'o') => (Name::Origin, name == b"Origin"),
            (7, b'u') => (Name::Upgrade, name == b"Upgrade"),
            (10, b'c') => (Name::Connection, name == b"Connection"),
            (14, b'c') => (Name::ContentLength, name == b"Content-Length"),
            (17, b't') => (Name::TransferEncoding, name == b"Transfer-Encoding"),
            (17, b's') => (Name::Key, name == b"Sec-WebSocket-Key"),
            (18, b's') if name.last() == Some(&b'1') => (Name::Key1, name == b"Sec-WebSocket-Key1"),
            (18, b's') => (Name::Key2, name == b"Sec-WebSocket-Key2"),
            (18, b'w') => (Name::HixieProtocol, name == b"WebSocket-Protocol"),
            (19, b's') => (Name::Draft, name == b"Sec-WebSocket-Draft"),
            (20, b's') => (Name::SecOrigin, name == b"Sec-WebSocket-Origin"),
            (21, b's') => (Name::Version, name == b"Sec-WebSocket-Version"),
            (22, b's') => (Name::Protocol, name == b"Sec-WebSocket-Protocol"),
            (24, b's') => (Name::Extensions, name == b"Sec-WebSocket-Extensions"),
            _ => return None,
        };
        (is_exact || name.eq_ignore_ascii_case(candidate.text().as_bytes())).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_in_any_letter_case() {
        let mut found = 0;
        for name in [
            Name::Host,
            Name::Origin,
            Name::Upgrade,
            Name::Connection,
            Name::ContentLength,
            Name::TransferEncoding,
            Name::Key,
            Name::Key1,
            Name::Key2,
            Name::HixieProtocol,
            Name::Draft,
            Name::SecOrigin,
            Name::Version,
            Name::Protocol,
            Name::Extensions,
        ] {
            assert_eq!(name as usize, found);
            found += 1;
            let text = name.text();
            assert_eq!(Name::of(text.as_bytes()), Some(name));
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), Some(name));
            assert_eq!(Name::of(text.to_ascii_lowercase().as_bytes()), Some(name));
            assert_eq!(
                Name::of(text.replace('o', "x").as_bytes()) == Some(name),
                !text.contains('o')
            );
        }
        assert_eq!(found, Name::COUNT);
        assert_eq!(Name::of(b""), None);
        assert_eq!(Name::of(b"Sec-WebSocket-Accept"), None);
    }
}
