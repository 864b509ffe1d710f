//! What the two ends of TLS have agreed on, or why they have not, in the words of
//! logs and headers.

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
