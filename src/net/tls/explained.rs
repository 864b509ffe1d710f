//! What went wrong with TLS, as a sentence of cause and cure.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::inspect;
use super::trust::Untrusted;
use crate::bytes::Escaped;

/// What a client trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// The certificates of the system.
    System,
    /// Certificates of given files.
    Given,
    /// Any certificate.
    Anything,
}

/// What a client has against the certificate of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Nothing that is trusted has issued it.
    Untrusted,
    /// It is for other names.
    Name,
    /// It has expired, or is not valid yet.
    Days,
    /// It cannot be used, whatever is trusted.
    Other,
}

impl CertificateProblem {
    pub(super) fn of(error: &CertificateError) -> CertificateProblem {
        match error {
            CertificateError::UnknownIssuer
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                CertificateProblem::Untrusted
            }
            CertificateError::Other(other) if other.0.is::<Untrusted>() => {
                CertificateProblem::Untrusted
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                CertificateProblem::Name
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => CertificateProblem::Days,
            _ => CertificateProblem::Other,
        }
    }
}

/// The sentence for an error of a client that connects to `host`.
pub(super) fn of_client(roots: Roots, host: &str, error: &Error) -> String {
    let host = Escaped::<255>(host);
    match error {
        Error::InvalidCertificate(error) => certificate(roots, &host, error),
        Error::AlertReceived(alert) => alert_of_server(&host, *alert),
        Error::PeerIncompatible(reason) => incompatible(&host, reason),
        Error::NoApplicationProtocol => format!(
            "{host} chose a protocol other than http/1.1, which WebSocket needs; let the server speak HTTP/1.1"
        ),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{host} does not answer in TLS; does the URL have the right port and scheme?")
        }
        Error::InvalidMessage(reason) => format!(
            "{host} sent what is not TLS ({reason:?}); does the URL have the right port and scheme?"
        ),
        Error::DecryptError => format!(
            "a record from {host} does not decrypt: it was changed on its way, or one end is faulty; try again, then look at what stands between"
        ),
        Error::PeerMisbehaved(reason) => {
            format!("{host} breaks TLS ({reason:?}); update the server or the proxy before it")
        }
        Error::NoCertificatesPresented => {
            format!("{host} shows no certificate; give the server one")
        }
        other => {
            let other = other.to_string();
            format!("TLS with {host} failed: {}", Escaped::<300>(&other))
        }
    }
}

fn certificate(roots: Roots, host: &Escaped<'_, 255>, error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the certificate of {host} expired on {}, and today is {}; renew it on the server, or set the clock of this machine",
            day(not_after.as_secs()),
            day(time.as_secs())
        ),
        CertificateError::Expired => format!(
            "the certificate of {host} has expired; renew it on the server, or set the clock of this machine"
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the certificate of {host} is not valid before {}, and today is {}; set the clock of this machine, or of the one that issued it",
            day(not_before.as_secs()),
            day(time.as_secs())
        ),
        CertificateError::NotValidYet => format!(
            "the certificate of {host} is not valid yet; set the clock of this machine, or of the one that issued it"
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the certificate of the server is not for {host}; it is for {}; connect by one of these names, or let one be issued for {host}",
            presented.join(", ")
        ),
        CertificateError::NotValidForName => format!(
            "the certificate of the server is not for {host}; let one be issued for this name"
        ),
        CertificateError::Other(other) => match other.0.downcast_ref::<Untrusted>() {
            Some(untrusted) => not_trusted(roots, host, untrusted),
            None => {
                let reason = other.0.to_string();
                other_certificate(host, &reason)
            }
        },
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} was issued by an authority that is not trusted here; trust the certificate of that authority"
        ),
        CertificateError::BadEncoding => {
            format!("the certificate of {host} cannot be read; let it be issued again")
        }
        // Also where the signature of a handshake is wrong. That of a chain gives
        // UnknownIssuer: webpki looks for another issuer.
        CertificateError::BadSignature => format!(
            "{host} does not prove that it has the key of its certificate; give the server the key that belongs to it"
        ),
        CertificateError::Revoked => {
            format!("the certificate of {host} was revoked; let another be issued")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "the certificate of {host} is not one for servers; let one be issued with serverAuth in its extended key usage"
            )
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => format!(
            "the certificate of {host} is signed in a way that is not accepted, such as SHA-1 or a short key; let one be issued with SHA-256"
        ),
        other => {
            let reason = format!("{other:?}");
            other_certificate(host, &reason)
        }
    }
}

fn other_certificate(host: &Escaped<'_, 255>, reason: &str) -> String {
    if reason.contains("UnsupportedCertVersion") {
        return format!(
            "the certificate of {host} is X.509 version 1, which TLS here refuses; let one be issued with extensions, such as subjectAltName"
        );
    }
    let reason = Escaped::<200>(reason);
    format!("the certificate of {host} is not accepted ({reason}); let another be issued")
}

fn not_trusted(roots: Roots, host: &Escaped<'_, 255>, untrusted: &Untrusted) -> String {
    let facts = &untrusted.facts;
    if facts.is_self_issued() {
        return match roots {
            Roots::Given => format!(
                "the certificate of {host} is self-signed ({}) and is not among those that are trusted; trust the one that the server shows now",
                facts.subject.text
            ),
            _ => format!(
                "the certificate of {host} is self-signed ({}); copy it from the server and trust it, or let an authority issue one",
                facts.subject.text
            ),
        };
    }
    let issuer = &facts.issuer.text;
    let cure = match untrusted.intermediates {
        0 => {
            "trust the certificate of that authority, or let the server send the intermediate certificates, of which it sent none"
        }
        _ => "trust the certificate of the authority at the end of its chain",
    };
    let by = match roots {
        Roots::Given => "is not issued by one of those that are trusted, but by",
        _ => "was issued by an authority that this system does not trust,",
    };
    format!("the certificate of {host} {by} {issuer}; {cure}")
}

fn incompatible(host: &Escaped<'_, 255>, reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 => format!(
            "{host} speaks no TLS newer than 1.1, and here are 1.2 and 1.3; update the server"
        ),
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::EcPointsExtensionRequired => format!(
            "{host} and this client have no cipher suite in common ({reason:?}); allow suites with ECDHE and AES-GCM or ChaCha20 on the server"
        ),
        reason => format!("{host} speaks TLS that this client does not ({reason:?})"),
    }
}

fn alert_of_server(host: &Escaped<'_, 255>, alert: AlertDescription) -> String {
    let name = alert_name(alert);
    let cause = match alert {
        AlertDescription::HandshakeFailure => {
            "it found no cipher suite in common, or wants a certificate of the client; if it is old, it may speak only TLS 1.0 with CBC suites"
        }
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3; update it",
        AlertDescription::InsufficientSecurity => {
            "it asks for stronger suites than are offered; allow those with AES-GCM or ChaCha20"
        }
        AlertDescription::UnrecognisedName => {
            "it has no certificate for this name; is the host of the URL right?"
        }
        AlertDescription::NoApplicationProtocol => {
            "it does not speak HTTP/1.1, which WebSocket needs, at this port"
        }
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            "it wants a certificate of the client, and none is sent"
        }
        AlertDescription::InternalError => "it has a fault of its own; its log says more",
        AlertDescription::DecodeError
        | AlertDescription::IllegalParameter
        | AlertDescription::UnexpectedMessage => {
            "it did not understand the client; it, or a proxy before it, may be very old"
        }
        _ => "its log may say why",
    };
    format!("{host} ended TLS with the alert {name}: {cause}")
}

/// The name of an alert as RFC 8446 section 6 writes it.
pub(super) fn alert_name(alert: AlertDescription) -> String {
    let name = match alert {
        // Names in which two letters follow each other in capitals.
        AlertDescription::UnknownCA => return "unknown_ca".to_owned(),
        AlertDescription::BadRecordMac => return "bad_record_mac".to_owned(),
        AlertDescription::UnknownPSKIdentity => return "unknown_psk_identity".to_owned(),
        AlertDescription::UnrecognisedName => return "unrecognized_name".to_owned(),
        AlertDescription::Unknown(number) => return format!("number {number}"),
        other => format!("{other:?}"),
    };
    let mut written = String::new();
    for (i, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 {
            written.push('_');
        }
        written.push(letter.to_ascii_lowercase());
    }
    written
}

fn day(unix_seconds: u64) -> String {
    inspect::day(i64::try_from(unix_seconds).unwrap_or(i64::MAX))
}
