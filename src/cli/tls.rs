//! TLS of `serve` and `gateway`: which certificates are shown, and what is told of
//! them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use clap::Args;
use heirloom::net::{CertificateFiles, ServerTls};
use jiff::Timestamp;

use super::Exit;
use super::trust::{NotLoaded, check_legacy};

/// The certificates of a server.
#[derive(Clone, Debug, Args)]
pub(super) struct TlsArgs {
    /// A PEM file with the server's certificate first and the intermediate certificates behind it:
    /// the server speaks TLS too. May be given more than once, each with its --tls-key; a client
    /// gets the one that is for the name it asks for, or the first.
    #[arg(long, value_name = "FILE", help_heading = "TLS", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,
    /// A PEM file with the key of the --tls-cert in the same place, not encrypted. HUP reads all
    /// these files again, and open connections stay as they are.
    #[arg(long, value_name = "FILE", help_heading = "TLS", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,
    /// Serve clients of 2010 too: TLS 1.0 and 1.1, suites in CBC mode, and key exchange by RSA
    /// without forward secrecy, by the system's OpenSSL at its security level 0. What such a client
    /// sends and receives can be read and changed on its way. Clients that offer TLS 1.3, or TLS
    /// 1.2 with a suite of today, are served as before. SSL 3, RC4 and 3DES stay off. Needs the
    /// feature legacy-tls.
    #[arg(long, help_heading = "TLS", requires = "tls_cert")]
    tls_legacy: bool,
}

impl TlsArgs {
    /// The certificates, where some are given.
    pub(super) fn load(&self) -> Result<Option<ServerTls>, NotLoaded> {
        if self.tls_cert.len() != self.tls_key.len() {
            let why = format!(
                "{} --tls-cert and {} --tls-key are given; give one key for each certificate, in \
                 the same order",
                self.tls_cert.len(),
                self.tls_key.len()
            );
            return Err((Exit::Usage, why));
        }
        if self.tls_cert.is_empty() {
            return Ok(None);
        }
        check_legacy("--tls-legacy", self.tls_legacy)?;
        let tls = read(&self.files(), self.tls_legacy);
        tls.map(Some).map_err(|error| (Exit::Usage, error))
    }

    /// Warns where TLS of 2010 is on.
    pub(super) fn warn_of_legacy(&self) {
        if self.tls_legacy {
            log::warn!(
                "TLS 1.0 and 1.1, CBC suites and RSA key exchange are on (--tls-legacy): what such \
                 clients send and receive can be read and changed on its way"
            );
        }
    }

    fn files(&self) -> Vec<CertificateFiles> {
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let files = pairs.map(|(certificate, key)| CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        });
        files.collect()
    }
}

/// The certificates that the listeners of a running server show.
#[derive(Clone, Default)]
pub(super) struct Certificates(Arc<Mutex<Vec<ServerTls>>>);

impl Certificates {
    /// From now on these are shown.
    pub(super) fn set(&self, shown: Vec<ServerTls>) {
        *self.lock() = shown;
    }

    /// Says what is wrong with certificates that can be used all the same.
    pub(super) fn warn(&self) {
        for tls in self.lock().iter() {
            let of_days = tls.day_warnings(SystemTime::now());
            for warning in tls.warnings().iter().chain(&of_days) {
                log::warn!("{warning}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ServerTls>> {
        // What was there before a panic is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line for each, with the day on which it expires; a mark where that is soon or
    /// over.
    pub(super) fn health(&self) -> String {
        let shown = self.lock();
        let mut lines = String::new();
        for certificate in shown.iter().flat_map(ServerTls::certificates) {
            let expires = Timestamp::try_from(certificate.not_after());
            let expires = expires.map_or_else(|_| "never".to_owned(), |at| at.to_string());
            let names = certificate.names().join(" ");
            // The warning of the log names files, which are not for every client.
            let warning = certificate.day_warning(SystemTime::now());
            let mark = warning.map_or("", |_| "warning: ");
            lines.push_str(&format!(
                "{mark}certificate for {names}: expires {expires}\n"
            ));
        }
        lines
    }
}

/// Reads the files.
fn read(files: &[CertificateFiles], legacy: bool) -> Result<ServerTls, String> {
    let tls = ServerTls::load(files).map_err(|error| error.to_string())?;
    #[cfg(feature = "legacy-tls")]
    if legacy {
        tls.serve_legacy().map_err(|error| error.to_string())?;
    }
    // Without the feature the option was refused.
    let _ = legacy;
    Ok(tls)
}
