//! What the two ends of TLS have agreed on, in the words of logs and headers.

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
