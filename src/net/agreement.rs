//! What the two ends of TLS have agreed on, or why they have not, in the words of
//! logs and headers.

use std::time::SystemTime;

/// What the two ends of a connection of TLS have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TlsAgreement {
    /// The version, such as `TLSv1.3`, as OpenSSL, HAProxy and nginx write it.
    pub version: &'static str,
    /// The cipher suite, by the name that IANA registers without its `TLS_`, such as
    /// `AES_128_GCM_SHA256` or `ECDHE_RSA_WITH_AES_128_CBC_SHA`.
    pub suite: &'static str,
}

/// Why a client is not served for what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), allow(dead_code))]
pub(super) enum Unserved {
    /// It is as old as 2010, and TLS as old as that is off.
    TooOld,
    /// It offers nothing that could be served.
    NothingInCommon,
}

/// TLS as a client has begun it.
#[derive(Debug)]
pub(super) struct Begun<T> {
    /// `None` where the version alone is too old, and the alert that says so is all
    /// that is sent.
    pub(super) tls: Option<T>,
    /// Why it will fail, and what the client offers, for the log.
    pub(super) unserved: Option<(Unserved, String)>,
}

/// What a client knows of its connection of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSession {
    /// Version and suite.
    pub agreement: TlsAgreement,
    /// The protocol that the server has chosen by ALPN (RFC 7301), such as
    /// `http/1.1`; `None` where it knows no ALPN.
    pub alpn: Option<String>,
    /// The certificate that the server has shown.
    pub certificate: Option<ShownCertificate>,
}

/// What the certificate of a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShownCertificate {
    /// DNS names in small letters, which may start with `*.`, and IP addresses. They
    /// are as the server sent them: escape them where they are shown.
    pub names: Vec<String>,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
    /// The day on which it expires, such as 2026-12-31.
    pub last_day: String,
    /// The name of its issuer, safe to show.
    pub issuer: String,
    /// Whether the subject is its own issuer.
    pub is_self_signed: bool,
}

/// A fatal alert of this description (RFC 8446 section 6), in a record that every
/// version of TLS reads: what is sent where no session can make one.
const fn alert(description: u8) -> [u8; 7] {
    [0x15, 3, 1, 0, 2, 2, description]
}

/// A message cannot be read.
#[cfg(feature = "tls")]
pub(super) const DECODE_ERROR: [u8; 7] = alert(50);
/// The version that is offered is known, and not served.
pub(super) const PROTOCOL_VERSION: [u8; 7] = alert(70);
/// What TLS cannot tell, such as too many connections.
pub(super) const INTERNAL_ERROR: [u8; 7] = alert(80);
