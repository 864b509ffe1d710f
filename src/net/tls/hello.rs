//! What a client offers in its first message of TLS, the ClientHello, and what
//! can serve it.

use std::fmt;

use super::suite::{Era, Exchange, ServerKey, Suite};

/// The suites that are shown in a line of the log.
const SHOWN_SUITES: usize = 16;
/// The octets of a name that are shown; no DNS name is longer.
const SHOWN_NAME_OCTETS: usize = 255;

/// P-256, P-384 and X25519.
const GROUPS_OF_RUSTLS: [u16; 3] = [23, 24, 29];
/// The same, P-521 and X448.
const GROUPS_OF_OPENSSL: [u16; 5] = [23, 24, 25, 29, 30];

/// A version of SSL or TLS by its number in a ClientHello, such as 0x0301 for
/// TLS 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsVersion(pub u16);

impl TlsVersion {
    /// SSL 3.0 (RFC 6101).
    pub const SSL_3: TlsVersion = TlsVersion(0x0300);
    /// TLS 1.0 (RFC 2246).
    pub const TLS_1_0: TlsVersion = TlsVersion(0x0301);
    /// TLS 1.1 (RFC 4346).
    pub const TLS_1_1: TlsVersion = TlsVersion(0x0302);
    /// TLS 1.2 (RFC 5246).
    pub const TLS_1_2: TlsVersion = TlsVersion(0x0303);
    /// TLS 1.3 (RFC 8446).
    pub const TLS_1_3: TlsVersion = TlsVersion(0x0304);
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TlsVersion::SSL_3 => f.write_str("SSL 3.0"),
            TlsVersion::TLS_1_0 => f.write_str("TLS 1.0"),
            TlsVersion::TLS_1_1 => f.write_str("TLS 1.1"),
            TlsVersion::TLS_1_2 => f.write_str("TLS 1.2"),
            TlsVersion::TLS_1_3 => f.write_str("TLS 1.3"),
            TlsVersion(number) => write!(f, "version 0x{number:04X}"),
        }
    }
}

/// What can serve a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServedBy {
    /// TLS 1.3, or TLS 1.2 with a suite that has forward secrecy and AEAD.
    Modern,
    /// TLS 1.0 to 1.2 with older suites, which are off unless they are asked for.
    Legacy,
    /// Nothing: no version after SSL 3.0 is offered.
    OnlySsl3,
    /// Nothing: no suite is offered that is still implemented and that a key of
    /// the server can speak. Such are RC4, DES, 3DES, export and anonymous suites,
    /// and suites for another kind of key.
    NoSuite,
}

/// What a client offers in its ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    pub(super) is_ssl2_framed: bool,
    pub(super) version: TlsVersion,
    pub(super) suites: Vec<Suite>,
    pub(super) has_null_compression: bool,
    pub(super) extensions: Extensions,
}

/// The extensions that decide what can serve a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub(super) server_name: Option<Vec<u8>>,
    pub(super) alpn: Option<Vec<Vec<u8>>>,
    pub(super) versions: Option<Vec<TlsVersion>>,
    pub(super) groups: Option<Vec<u16>>,
    pub(super) signature_schemes: Option<Vec<u16>>,
}

impl ClientHello {
    /// Whether it is in the framing of SSLv2. Such a hello has no extensions, and
    /// rustls does not read it.
    #[must_use]
    pub fn is_ssl2_framed(&self) -> bool {
        self.is_ssl2_framed
    }

    /// The highest version that is offered.
    #[must_use]
    pub fn highest_version(&self) -> TlsVersion {
        let listed = self.extensions.versions.iter().flatten().max();
        listed.copied().unwrap_or(self.version)
    }

    /// The versions that are listed, in the client's order, without those of RFC
    /// 8701. A client before TLS 1.3 lists none: it offers all up to the highest
    /// that it still has on.
    #[must_use]
    pub fn versions(&self) -> Option<&[TlsVersion]> {
        self.extensions.versions.as_deref()
    }

    /// The suites in the client's order, without those of RFC 8701 and signals.
    pub fn suites(&self) -> impl Iterator<Item = Suite> + '_ {
        self.suites.iter().copied().filter(|s| !s.is_signal())
    }

    /// The name that the client dialled, if it says one that a host may have:
    /// letters, digits, hyphens, underscores and dots.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let name = std::str::from_utf8(self.extensions.server_name.as_deref()?).ok()?;
        let in_name = |o: u8| o.is_ascii_alphanumeric() || matches!(o, b'-' | b'_' | b'.');
        name.bytes().all(in_name).then_some(name)
    }

    /// The protocols of ALPN (RFC 7301), such as `http/1.1`, in the client's order.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.extensions.alpn.iter().flatten().map(Vec::as_slice)
    }

    /// Whether rustls serves this client with a certificate of this key.
    ///
    /// TLS 1.2 without the extension `signature_algorithms` means SHA-1 (RFC 5246
    /// section 7.4.1.4.1), which rustls does not sign with.
    #[must_use]
    pub fn is_modern(&self, key: ServerKey) -> bool {
        let era = if self.offers(TlsVersion::TLS_1_3) {
            // rustls does not fall back from it.
            Era::Tls13
        } else if self.offers(TlsVersion::TLS_1_2) {
            Era::Modern
        } else {
            return false;
        };
        let groups = self.extensions.groups.as_deref().unwrap_or_default();
        let schemes = self.extensions.signature_schemes.as_deref();
        !self.is_ssl2_framed
            && self.has_null_compression
            && groups.iter().any(|group| GROUPS_OF_RUSTLS.contains(group))
            && schemes.is_some_and(|schemes| schemes.iter().any(|s| signs(key, era, *s)))
            && self.suites().any(|s| s.era() == era && s.takes(key))
    }

    /// What serves this client, where the server has certificates of these keys.
    ///
    /// [`ServedBy::Legacy`] is said of clients that OpenSSL 3 serves at security
    /// level 0, without parameters for DHE: key exchange by RSA or ECDHE, with AES
    /// or Camellia.
    #[must_use]
    pub fn served_by(&self, keys: &[ServerKey]) -> ServedBy {
        if keys.iter().any(|key| self.is_modern(*key)) {
            return ServedBy::Modern;
        }
        if self.highest_version() <= TlsVersion::SSL_3 {
            return ServedBy::OnlySsl3;
        }
        let is_served = |suite: Suite| keys.iter().any(|key| self.is_legacy(suite, *key));
        if self.has_null_compression && self.suites().any(is_served) {
            ServedBy::Legacy
        } else {
            ServedBy::NoSuite
        }
    }

    /// Whether OpenSSL speaks this suite to this client with this key.
    fn is_legacy(&self, suite: Suite, key: ServerKey) -> bool {
        // Older clients than those of rustls know nothing of it.
        if key == ServerKey::Ed25519 {
            return false;
        }
        let is_offered = match suite.era() {
            Era::Tls13 => self.offers(TlsVersion::TLS_1_3),
            Era::Modern | Era::Old12 => self.offers(TlsVersion::TLS_1_2),
            Era::Old => {
                let old = [
                    TlsVersion::TLS_1_0,
                    TlsVersion::TLS_1_1,
                    TlsVersion::TLS_1_2,
                ];
                old.iter().any(|version| self.offers(*version))
            }
            Era::Gone | Era::Signal => false,
        };
        // RFC 8422 section 4: without the extension any group may be chosen.
        let has_group = self.extensions.groups.as_ref().is_none_or(|groups| {
            let known = |group: &u16| GROUPS_OF_OPENSSL.contains(group);
            groups.iter().any(known)
        });
        is_offered && suite.takes(key) && (suite.exchange() == Exchange::Rsa || has_group)
    }

    fn offers(&self, version: TlsVersion) -> bool {
        match &self.extensions.versions {
            Some(listed) => listed.contains(&version),
            None => version <= self.version && version < TlsVersion::TLS_1_3,
        }
    }
}

/// Whether a server with this key signs by this scheme (RFC 8446 section 4.2.3).
fn signs(key: ServerKey, era: Era, scheme: u16) -> bool {
    match key {
        // PKCS #1 is for TLS 1.2 alone.
        ServerKey::Rsa => match scheme {
            0x0401 | 0x0501 | 0x0601 => era == Era::Modern,
            0x0804..=0x0806 => true,
            _ => false,
        },
        ServerKey::EcdsaP256 => scheme == 0x0403,
        ServerKey::EcdsaP384 => scheme == 0x0503,
        ServerKey::Ed25519 => scheme == 0x0807,
    }
}

impl fmt::Display for ClientHello {
    /// Writes one line for a log: versions, suites by name, the server name. What
    /// the client chose freely is escaped, and cut where it is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.highest_version().fmt(f)?;
        if self.is_ssl2_framed {
            f.write_str(" in the framing of SSLv2")?;
        }
        let mut suites = self.suites();
        for (i, suite) in suites.by_ref().take(SHOWN_SUITES).enumerate() {
            let before = if i == 0 { ", suites " } else { " " };
            write!(f, "{before}{suite}")?;
        }
        match suites.count() {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        let Some(name) = &self.extensions.server_name else {
            return f.write_str(", no SNI");
        };
        let shown = name.get(..SHOWN_NAME_OCTETS).unwrap_or(name);
        let dots = if shown.len() < name.len() { "..." } else { "" };
        write!(f, ", SNI {}{dots}", shown.escape_ascii())
    }
}
