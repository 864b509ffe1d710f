//! Which versions and suites of TLS a server takes: it is asked for each, one
//! connection at a time.

use std::time::{Duration, Instant};

use openssl::ssl::SslVersion;

use super::connect::{DialError, DialTarget};
use super::resolve::Resolver;
use super::tls::ask;
use super::url::Url;

/// The versions that are asked for, oldest first.
const VERSIONS: [(&str, SslVersion); 4] = [
    ("TLSv1", SslVersion::TLS1),
    ("TLSv1.1", SslVersion::TLS1_1),
    ("TLSv1.2", SslVersion::TLS1_2),
    ("TLSv1.3", SslVersion::TLS1_3),
];
/// Suites of one version that are found at most.
const MAX_SUITES: usize = 40;

/// The time that all connections may take together.
const MAX_TIME: Duration = Duration::from_secs(60);

/// What a server takes of one version of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOffer {
    /// Such as `TLSv1.2`.
    pub version: &'static str,
    /// The suites by their IANA names without `TLS_`, in the order in which the server chose them;
    /// none where it does not take the version.
    pub suites: Vec<&'static str>,
}

/// Asks the server of a URL for each version of TLS, and again without the suites
/// that it chose, until it takes none. What OpenSSL was built without is not asked
/// for, such as SSL 3, RC4 and 3DES on most systems. Certificates are not verified.
/// Each read and write has `timeout`, and all together a minute.
///
/// # Errors
///
/// Where TCP cannot be connected, or the server does not answer each time: then it
/// is not known what it takes.
pub fn survey(
    url: &Url,
    resolver: &Resolver,
    timeout: Duration,
) -> Result<Vec<TlsOffer>, DialError> {
    let target = DialTarget::from(url.endpoint());
    let start = Instant::now();
    let mut offers = Vec::new();
    for (name, version) in VERSIONS {
        let mut found = Vec::new();
        let mut suites = Vec::new();
        while suites.len() < MAX_SUITES {
            let transport = target.connect(resolver, Instant::now() + timeout)?;
            // None is agreed on yet.
            let (stream, _) = transport.into_std().map_err(DialError::Poll)?;
            let set = stream
                .set_read_timeout(Some(timeout))
                .and_then(|()| stream.set_write_timeout(Some(timeout)));
            set.map_err(DialError::Poll)?;
            let taken = ask(stream, url.name(), version, &found);
            let Some((own_name, suite)) = taken.map_err(DialError::TlsFailed)? else {
                break;
            };
            if start.elapsed() > MAX_TIME {
                return Err(DialError::TimedOut);
            }
            found.push(own_name);
            suites.push(suite);
        }
        offers.push(TlsOffer {
            version: name,
            suites,
        });
    }
    Ok(offers)
}
