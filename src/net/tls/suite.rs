//! The cipher suites of TLS that clients were seen to offer: their names, and
//! which of them can still be served.

use std::fmt;

/// What signs for a server: the kind of key in its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerKey {
    /// RSA of 2048 bits or more.
    Rsa,
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
}

/// The number of a cipher suite, as it stands in a ClientHello.
///
/// ```
/// # #[cfg(feature = "tls")] {
/// use heirloom::net::Suite;
///
/// assert_eq!(Suite(0x002f).to_string(), "TLS_RSA_WITH_AES_128_CBC_SHA");
/// assert_eq!(Suite(0xfefe).to_string(), "0xFEFE");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite(pub u16);

/// Which version brought what a suite needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// TLS 1.3 alone.
    Tls13,
    /// ECDHE with AEAD: today's suites of TLS 1.2.
    Modern,
    /// What OpenSSL 3 serves from TLS 1.0 on, at its security level 0.
    Old,
    /// What OpenSSL 3 serves in TLS 1.2 only, and rustls not.
    Old12,
    /// Served by neither: RC4, DES, 3DES, export and anonymous suites, those
    /// whose key exchange needs parameters or certificates that are not in use.
    Gone,
    /// No suite, but a signal in the list of suites.
    Signal,
}

/// The key exchange of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Any group, any key: TLS 1.3.
    Any,
    /// ECDHE, signed by RSA.
    EcdheRsa,
    /// ECDHE, signed by ECDSA or Ed25519.
    EcdheEcdsa,
    /// Encrypted to the RSA key of the certificate.
    Rsa,
    /// Another one.
    Other,
}

type Row = (u16, &'static str, Era, Exchange);

use Era::{Gone, Modern, Old, Old12, Signal, Tls13};
use Exchange::{Any, EcdheEcdsa, EcdheRsa, Other, Rsa};

/// The suites that browsers and libraries from 2009 until today offer, by their
/// names at IANA (TLS Cipher Suites registry), in the order of their numbers. The
/// last rows are private numbers.
const SUITES: &[Row] = &[
    (0x0001, "TLS_RSA_WITH_NULL_MD5", Gone, Rsa),
    (0x0002, "TLS_RSA_WITH_NULL_SHA", Gone, Rsa),
    (0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5", Gone, Rsa),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5", Gone, Rsa),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA", Gone, Rsa),
    (0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5", Gone, Rsa),
    (0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA", Gone, Rsa),
    (0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", Gone, Rsa),
    (0x0009, "TLS_RSA_WITH_DES_CBC_SHA", Gone, Rsa),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", Gone, Rsa),
    (0x0011, "TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA", Gone, Other),
    (0x0012, "TLS_DHE_DSS_WITH_DES_CBC_SHA", Gone, Other),
    (0x0013, "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA", Gone, Other),
    (0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", Gone, Other),
    (0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA", Gone, Other),
    (0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", Gone, Other),
    (0x0017, "TLS_DH_anon_EXPORT_WITH_RC4_40_MD5", Gone, Other),
    (0x0018, "TLS_DH_anon_WITH_RC4_128_MD5", Gone, Other),
    (0x0019, "TLS_DH_anon_EXPORT_WITH_DES40_CBC_SHA", Gone, Other),
    (0x001a, "TLS_DH_anon_WITH_DES_CBC_SHA", Gone, Other),
    (0x001b, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA", Gone, Other),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", Old, Rsa),
    (0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA", Gone, Other),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", Gone, Other),
    (0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA", Gone, Other),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", Old, Rsa),
    (0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA", Gone, Other),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", Gone, Other),
    (0x003a, "TLS_DH_anon_WITH_AES_256_CBC_SHA", Gone, Other),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256", Old12, Rsa),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256", Old12, Rsa),
    (0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256", Gone, Other),
    (0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA", Old, Rsa),
    (0x0044, "TLS_DHE_DSS_WITH_CAMELLIA_128_CBC_SHA", Gone, Other),
    (0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", Gone, Other),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", Gone, Other),
    (0x006a, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256", Gone, Other),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", Gone, Other),
    (0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA", Old, Rsa),
    (0x0087, "TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA", Gone, Other),
    (0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA", Gone, Other),
    (0x008a, "TLS_PSK_WITH_RC4_128_SHA", Gone, Other),
    (0x008b, "TLS_PSK_WITH_3DES_EDE_CBC_SHA", Gone, Other),
    (0x008c, "TLS_PSK_WITH_AES_128_CBC_SHA", Gone, Other),
    (0x008d, "TLS_PSK_WITH_AES_256_CBC_SHA", Gone, Other),
    (0x0096, "TLS_RSA_WITH_SEED_CBC_SHA", Gone, Rsa),
    (0x0099, "TLS_DHE_DSS_WITH_SEED_CBC_SHA", Gone, Other),
    (0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA", Gone, Other),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", Old12, Rsa),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", Old12, Rsa),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", Gone, Other),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", Gone, Other),
    (0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256", Gone, Other),
    (0x00a3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384", Gone, Other),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", Signal, Other),
    (0x1301, "TLS_AES_128_GCM_SHA256", Tls13, Any),
    (0x1302, "TLS_AES_256_GCM_SHA384", Tls13, Any),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256", Tls13, Any),
    (0x5600, "TLS_FALLBACK_SCSV", Signal, Other),
    (0xc002, "TLS_ECDH_ECDSA_WITH_RC4_128_SHA", Gone, Other),
    (0xc003, "TLS_ECDH_ECDSA_WITH_3DES_EDE_CBC_SHA", Gone, Other),
    (0xc004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA", Gone, Other),
    (0xc005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA", Gone, Other),
    (0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", Gone, EcdheEcdsa),
    (
        0xc008,
        "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
        Gone,
        EcdheEcdsa,
    ),
    (
        0xc009,
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        Old,
        EcdheEcdsa,
    ),
    (
        0xc00a,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        Old,
        EcdheEcdsa,
    ),
    (0xc00c, "TLS_ECDH_RSA_WITH_RC4_128_SHA", Gone, Other),
    (0xc00d, "TLS_ECDH_RSA_WITH_3DES_EDE_CBC_SHA", Gone, Other),
    (0xc00e, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA", Gone, Other),
    (0xc00f, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA", Gone, Other),
    (0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA", Gone, EcdheRsa),
    (
        0xc012,
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        Gone,
        EcdheRsa,
    ),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Old, EcdheRsa),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Old, EcdheRsa),
    (
        0xc023,
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        Old12,
        EcdheEcdsa,
    ),
    (
        0xc024,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
        Old12,
        EcdheEcdsa,
    ),
    (
        0xc025,
        "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256",
        Gone,
        Other,
    ),
    (
        0xc026,
        "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA384",
        Gone,
        Other,
    ),
    (
        0xc027,
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        Old12,
        EcdheRsa,
    ),
    (
        0xc028,
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        Old12,
        EcdheRsa,
    ),
    (0xc029, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA256", Gone, Other),
    (0xc02a, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA384", Gone, Other),
    (
        0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Modern,
        EcdheEcdsa,
    ),
    (
        0xc02c,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Modern,
        EcdheEcdsa,
    ),
    (
        0xc02d,
        "TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256",
        Gone,
        Other,
    ),
    (
        0xc02e,
        "TLS_ECDH_ECDSA_WITH_AES_256_GCM_SHA384",
        Gone,
        Other,
    ),
    (
        0xc02f,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Modern,
        EcdheRsa,
    ),
    (
        0xc030,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Modern,
        EcdheRsa,
    ),
    (0xc031, "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256", Gone, Other),
    (0xc032, "TLS_ECDH_RSA_WITH_AES_256_GCM_SHA384", Gone, Other),
    (
        0xcca8,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Modern,
        EcdheRsa,
    ),
    (
        0xcca9,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Modern,
        EcdheEcdsa,
    ),
    (
        0xccaa,
        "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Gone,
        Other,
    ),
    (0xfeff, "SSL_RSA_FIPS_WITH_3DES_EDE_CBC_SHA", Gone, Rsa),
];

impl Suite {
    fn row(self) -> Option<&'static Row> {
        let found = SUITES.binary_search_by_key(&self.0, |row| row.0);
        found.ok().and_then(|i| SUITES.get(i))
    }

    /// The name at IANA, of suites that clients from 2009 on were seen to offer.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|(_, name, ..)| *name)
    }

    /// Whether it is no suite at all: a value that stands there to be ignored
    /// (RFC 8701), or a signal such as that of RFC 5746.
    #[must_use]
    pub fn is_signal(self) -> bool {
        is_grease(self.0) || self.era() == Signal
    }

    pub(super) fn era(self) -> Era {
        self.row().map_or(Gone, |(_, _, era, _)| *era)
    }

    pub(super) fn exchange(self) -> Exchange {
        self.row().map_or(Other, |(.., exchange)| *exchange)
    }

    /// Whether a server with this key can speak it.
    pub(super) fn takes(self, key: ServerKey) -> bool {
        match self.exchange() {
            Any => true,
            EcdheRsa | Rsa => key == ServerKey::Rsa,
            EcdheEcdsa => key != ServerKey::Rsa,
            Other => false,
        }
    }
}

impl fmt::Display for Suite {
    /// Writes its name, or its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{:04X}", self.0),
        }
    }
}

/// Whether this number stands in a list only so that servers learn to ignore
/// what they do not know (RFC 8701 section 2).
pub(super) fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_every_row_is_found() {
        assert!(SUITES.is_sorted_by(|a, b| a.0 < b.0));
        for (number, name, ..) in SUITES {
            assert_eq!(Suite(*number).name(), Some(*name));
        }
    }

    #[test]
    fn the_modern_suites_are_those_of_rustls() {
        let of_rustls = rustls::crypto::ring::ALL_CIPHER_SUITES.iter();
        let mut of_rustls: Vec<u16> = of_rustls.map(|s| u16::from(s.suite())).collect();
        of_rustls.sort_unstable();
        let is_modern = |row: &&Row| matches!(row.2, Modern | Tls13);
        let ours: Vec<u16> = SUITES.iter().filter(is_modern).map(|row| row.0).collect();
        assert_eq!(ours, of_rustls);
    }

    #[test]
    fn a_name_tells_what_its_row_says() {
        for (number, name, era, exchange) in SUITES {
            let with = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
            let broken = [
                "RC4", "DES", "NULL", "anon", "EXPORT", "DSS", "ECDH_", "SEED", "IDEA",
            ];
            if with(&broken) || with(&["TLS_DHE_"]) {
                assert_eq!(*era, Gone, "{name}");
            }
            assert_eq!(*exchange == EcdheRsa, with(&["_ECDHE_RSA_"]), "{name}");
            assert_eq!(*exchange == EcdheEcdsa, with(&["_ECDHE_ECDSA_"]), "{name}");
            assert_eq!(*exchange == Rsa, with(&["TLS_RSA_", "SSL_RSA_"]), "{name}");
            assert_eq!(
                *era == Old,
                *era != Gone && name.ends_with("CBC_SHA"),
                "{name}"
            );
            assert_eq!(*era == Tls13, number >> 8 == 0x13, "{name}");
        }
    }
}
