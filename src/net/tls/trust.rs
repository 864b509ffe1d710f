//! Which certificates of servers a client trusts.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::inspect::{Facts, is_name_for};

/// What the certificate of a server is compared with.
pub(super) enum Trusted {
    /// Nothing: any certificate is accepted.
    Anything,
    /// Authorities, and certificates that are trusted themselves.
    These {
        /// `None` where none of the given certificates is an authority.
        authorities: Option<Arc<WebPkiServerVerifier>>,
        /// Certificates that servers may show themselves.
        servers: Vec<CertificateDer<'static>>,
    },
}

/// Verifies the certificate of a server.
pub(super) struct Verifier {
    pub(super) trusted: Trusted,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Why a certificate is not trusted, beyond what rustls keeps of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate of the server is not trusted")]
pub(super) struct Untrusted {
    /// What the certificate of the server says.
    pub(super) facts: Facts,
    /// Certificates that the server sent beside it.
    pub(super) intermediates: usize,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (authorities, servers) = match &self.trusted {
            Trusted::Anything => return Ok(ServerCertVerified::assertion()),
            Trusted::These {
                authorities,
                servers,
            } => (authorities, servers),
        };
        let facts = || Facts::read(end_entity).ok_or(CertificateError::BadEncoding);
        if servers.iter().any(|server| server == end_entity) {
            let facts = facts()?;
            check_days(&facts, now)?;
            check_name(&facts, end_entity, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let verified = match authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let error = match verified {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        let facts = facts()?;
        let is_untrusted = match &error {
            // The second is of an authority that has the issuer's name and another
            // kind of key.
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
            ) => true,
            // webpki refuses a self-signed authority as a server by another name.
            Error::InvalidCertificate(CertificateError::Other(_)) => facts.is_self_issued(),
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
                return Err(wrong_name(&facts, server_name).into());
            }
            _ => false,
        };
        if !is_untrusted {
            return Err(error);
        }
        // The alert is certificate_unknown then, as browsers send it.
        let untrusted = Untrusted {
            facts,
            intermediates: intermediates.len(),
        };
        Err(CertificateError::Other(OtherError(Arc::new(untrusted))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn check_days(facts: &Facts, now: UnixTime) -> Result<(), CertificateError> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let unix_time = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    if seconds < facts.not_before {
        let not_before = unix_time(facts.not_before);
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        });
    }
    if seconds > facts.not_after {
        let not_after = unix_time(facts.not_after);
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        });
    }
    Ok(())
}

/// The name of a certificate that is trusted itself. A common name is enough where
/// it has no other: that is what people make for themselves, and no authority
/// could be deceived into it.
fn check_name(
    facts: &Facts,
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
) -> Result<(), CertificateError> {
    if facts.has_alternative_names {
        let parsed = ParsedCertificate::try_from(certificate);
        let verified = parsed.and_then(|parsed| verify_server_name(&parsed, server_name));
        return verified.map_err(|_| wrong_name(facts, server_name));
    }
    let host = server_name.to_str();
    let is_for = |name: &String| match server_name {
        ServerName::DnsName(_) => is_name_for(name, &host),
        _ => name.as_str() == host,
    };
    match facts.names.iter().any(is_for) {
        true => Ok(()),
        false => Err(wrong_name(facts, server_name)),
    }
}

fn wrong_name(facts: &Facts, server_name: &ServerName<'_>) -> CertificateError {
    CertificateError::NotValidForNameContext {
        expected: server_name.to_owned(),
        presented: vec![facts.listed_names()],
    }
}
