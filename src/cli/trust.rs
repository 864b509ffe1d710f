//! Which servers are trusted that a `wss://` URL leads to, and what was agreed on with
//! one.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use heirloom::bytes::Escaped;
use heirloom::net::{ClientTls, ClientTlsError, ClientTlsOptions, TlsSession, Url};
use serde::Serialize;

use super::{Exit, complain, hint};

/// Which servers are trusted.
#[derive(Clone, Debug, Args)]
pub(super) struct TrustArgs {
    /// A PEM file with certificates that are trusted instead of those of the system: authorities,
    /// or the server's own certificate where it is self-signed. Names and days are verified. May be
    /// given more than once.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "TLS",
        conflicts_with = "insecure"
    )]
    ca: Vec<PathBuf>,
    /// Accept any certificate of a wss:// server, for any name: an attacker on the way can read and
    /// change all that is sent. A line on standard error says so each time.
    #[arg(long, help_heading = "TLS")]
    insecure: bool,
}

/// Which TLS is spoken to the server.
#[derive(Debug, Args)]
pub(super) struct OldServerArgs {
    /// Speak TLS to servers of 2010 too: TLS 1.0 and 1.1, suites in CBC mode, and key exchange by
    /// RSA, by the system's OpenSSL at its security level 0. What is sent and received can then be
    /// read and changed on its way. Needs the feature legacy-tls.
    #[arg(long, help_heading = "TLS")]
    pub(super) tls_legacy: bool,
}

impl OldServerArgs {
    /// The option, and whether it is given.
    pub(super) fn given(&self) -> (&'static str, bool) {
        ("--tls-legacy", self.tls_legacy)
    }
}

/// Why something cannot be loaded, and how the program ends where it needs it.
pub(super) type NotLoaded = (Exit, String);

/// Refuses an option for TLS of 2010 where the program cannot speak it.
pub(super) fn check_legacy(option: &str, is_given: bool) -> Result<(), NotLoaded> {
    if is_given && cfg!(not(feature = "legacy-tls")) {
        let why = format!(
            "{option} needs a program that was built with the feature legacy-tls: cargo build \
             --release --features legacy-tls"
        );
        return Err((Exit::Usage, why));
    }
    Ok(())
}

impl TrustArgs {
    /// Which servers are trusted, where TLS is spoken: only then are certificates
    /// read. `legacy` is the option for servers of 2010, and whether it is given. It
    /// complains of what is wrong.
    pub(super) fn load(
        &self,
        secure: bool,
        legacy: (&str, bool),
    ) -> Result<Option<ClientTls>, Exit> {
        self.try_load(secure, legacy).map_err(|(exit, why)| {
            complain(&why);
            exit
        })
    }

    /// The files of certificates that are trusted.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.ca
    }

    /// The same, and the caller complains.
    pub(super) fn try_load(
        &self,
        secure: bool,
        (legacy_option, legacy): (&str, bool),
    ) -> Result<Option<ClientTls>, NotLoaded> {
        check_legacy(legacy_option, legacy)?;
        if !secure {
            if self.insecure || !self.ca.is_empty() || legacy {
                let option = match (self.insecure, self.ca.is_empty()) {
                    (true, _) => "--insecure",
                    (false, false) => "--ca",
                    (false, true) => legacy_option,
                };
                let why = format!(
                    "{option} is about TLS with a wss:// server, and none is dialled; \
                     leave it out, or dial wss://"
                );
                return Err((Exit::Usage, why));
            }
            return Ok(None);
        }
        let mut options = ClientTlsOptions::default().with_insecure(self.insecure);
        options.trusted.clone_from(&self.ca);
        #[cfg(feature = "legacy-tls")]
        let options = options.with_legacy(legacy);
        let tls = if self.insecure || !self.ca.is_empty() || legacy {
            ClientTls::new(&options)
        } else {
            ClientTls::of_system()
        };
        let tls = tls.map_err(|error| {
            let hint = hint::of_client_tls(&error);
            let exit = match error {
                ClientTlsError::File(_) => Exit::Usage,
                _ => Exit::Unreachable,
            };
            (exit, format!("{error}{hint}"))
        })?;
        for warning in tls.warnings() {
            log::info!("{warning}");
        }
        if legacy {
            log::warn!(
                "TLS 1.0 and 1.1, CBC suites and RSA key exchange are on ({legacy_option}): what is \
                 sent and received can be read and changed on its way"
            );
        }
        if self.insecure {
            complain(
                &"--insecure: the certificate of the server is not verified, so an \
                  attacker on the way can read and change all that is sent",
            );
        }
        Ok(Some(tls))
    }
}

/// What was agreed on with a server, and what its certificate says: a line, or keys
/// of JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TlsSeen {
    version: &'static str,
    suite: &'static str,
    alpn: Option<String>,
    certificate: Option<CertificateSeen>,
    /// What else the server takes, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offers: Option<Vec<Offer>>,
}

/// What a server takes of one version of TLS.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Offer {
    version: &'static str,
    suites: Vec<&'static str>,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.suites {
            [] => write!(f, "{}: no", self.version),
            suites => write!(f, "{}: {}", self.version, suites.join(" ")),
        }
    }
}

/// Asks a server which versions and suites of TLS it takes, where this program has
/// what that needs. `None` where it was not asked, or does not answer.
pub(super) fn survey(url: &Url, timeout: Duration) -> Option<Vec<Offer>> {
    #[cfg(feature = "legacy-tls")]
    {
        let found = heirloom::net::survey(url, &heirloom::net::Resolver::default(), timeout);
        let offers = found.ok()?.into_iter().map(|offer| Offer {
            version: offer.version,
            suites: offer.suites,
        });
        Some(offers.collect())
    }
    #[cfg(not(feature = "legacy-tls"))]
    {
        let _ = (url, timeout);
        None
    }
}

/// What a certificate says.
#[derive(Clone, Debug, Serialize)]
struct CertificateSeen {
    names: Vec<String>,
    issuer: String,
    self_signed: bool,
    /// The day, such as 2026-12-31.
    expires: String,
}

/// Names of a certificate that are shown.
const MAX_NAMES: usize = 16;

impl TlsSeen {
    pub(super) fn of(session: &TlsSession) -> TlsSeen {
        let certificate = session.certificate.as_ref().map(|certificate| {
            let names = certificate.names.iter().take(MAX_NAMES);
            CertificateSeen {
                names: names.map(|name| Escaped::<255>(name).to_string()).collect(),
                issuer: certificate.issuer.clone(),
                self_signed: certificate.is_self_signed,
                expires: certificate.last_day.clone(),
            }
        });
        let alpn = session.alpn.as_ref();
        TlsSeen {
            version: session.agreement.version,
            suite: session.agreement.suite,
            alpn: alpn.map(|alpn| Escaped::<60>(alpn).to_string()),
            certificate,
            offers: None,
        }
    }
}

impl fmt::Display for TlsSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, ", self.version, self.suite)?;
        match &self.alpn {
            Some(alpn) => write!(f, "ALPN {alpn}")?,
            None => f.write_str("no ALPN")?,
        }
        let Some(certificate) = &self.certificate else {
            return Ok(());
        };
        f.write_str("; certificate for ")?;
        match certificate.names.join(", ") {
            names if names.is_empty() => f.write_str("no name")?,
            names => f.write_str(&names)?,
        }
        if certificate.self_signed {
            f.write_str(", self-signed")?;
        } else {
            write!(f, ", issued by {}", certificate.issuer)?;
        }
        write!(f, ", expires {}", certificate.expires)
    }
}
