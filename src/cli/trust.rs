//! Which servers are trusted that a `wss://` URL leads to, and what was agreed on with
//! one.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use heirloom::bytes::Escaped;
use heirloom::net::{ClientTls, ClientTlsError, ClientTlsOptions, TlsSession};
use serde::Serialize;

use super::{Exit, complain, hint};

/// Which servers are trusted.
#[derive(Debug, Args)]
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
    /// Accept any certificate of a wss:// server, for any name: what is between can read and change
    /// all that is sent. It is said on standard error each time.
    #[arg(long, help_heading = "TLS")]
    insecure: bool,
}

impl TrustArgs {
    /// Which servers are trusted, where TLS is spoken: only then are certificates
    /// read.
    pub(super) fn load(&self, secure: bool) -> Result<Option<ClientTls>, Exit> {
        if !secure {
            if self.insecure || !self.ca.is_empty() {
                let option = if self.insecure { "--insecure" } else { "--ca" };
                complain(&format!(
                    "{option} is about the certificate of a wss:// server, and none is dialled; \
                     leave it out, or dial wss://"
                ));
                return Err(Exit::Usage);
            }
            return Ok(None);
        }
        let mut options = ClientTlsOptions::default().with_insecure(self.insecure);
        options.trusted.clone_from(&self.ca);
        let tls = if self.insecure || !self.ca.is_empty() {
            ClientTls::new(&options)
        } else {
            ClientTls::of_system()
        };
        let tls = tls.map_err(|error| {
            let hint = hint::of_client_tls(&error);
            complain(&format!("{error}{hint}"));
            match error {
                ClientTlsError::File(_) => Exit::Usage,
                _ => Exit::Unreachable,
            }
        })?;
        for warning in tls.warnings() {
            log::info!("{warning}");
        }
        if self.insecure {
            complain(
                &"--insecure: the certificate of the server is not verified, so what is between \
                  can read and change all that is sent",
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
