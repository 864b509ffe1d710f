//! TLS of a client: which servers it trusts.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};
use rustls_native_certs::CertificateResult;

use super::certificate::{PemFile, TlsFileError, read_facts};
use super::explained::{self, Roots};
#[cfg(feature = "legacy-tls")]
use super::legacy::{ClientContext, LegacyError, LegacySession, LegacyTrust};
use super::trust::{Trusted, Verifier};
use super::{HTTP_1_1, provider};

/// Errors of the system's certificates that a sentence lists.
const LISTED: usize = 3;

/// Which servers a client trusts. Without any setting these are the ones that the
/// system trusts.
///
/// ```
/// use heirloom::net::ClientTlsOptions;
///
/// let options = ClientTlsOptions::default().with_trusted("own-server.pem");
/// assert!(!options.insecure);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientTlsOptions {
    /// PEM files with certificates that are trusted instead of those of the
    /// system. An authority is trusted with all that it issues; any other, and
    /// the server's own self-signed one, where a server shows exactly this
    /// certificate. Names and days are verified in both cases.
    pub trusted: Vec<PathBuf>,
    /// Accepts any certificate, of any name, and reads no `trusted`. A program
    /// between client and server can then read and change everything.
    pub insecure: bool,
    /// Speaks TLS by OpenSSL, from TLS 1.0 on and with the suites of 2010, for
    /// servers that know nothing newer.
    #[cfg(feature = "legacy-tls")]
    pub legacy: bool,
}

impl ClientTlsOptions {
    /// With servers of 2010, or not.
    #[cfg(feature = "legacy-tls")]
    #[must_use]
    pub fn with_legacy(mut self, legacy: bool) -> ClientTlsOptions {
        self.legacy = legacy;
        self
    }

    /// With the certificates of this PEM file trusted, and no longer those of the
    /// system.
    #[must_use]
    pub fn with_trusted(mut self, file: impl Into<PathBuf>) -> ClientTlsOptions {
        self.trusted.push(file.into());
        self
    }

    /// With any certificate accepted, or not.
    #[must_use]
    pub fn with_insecure(mut self, insecure: bool) -> ClientTlsOptions {
        self.insecure = insecure;
        self
    }
}

/// Why a client cannot speak TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientTlsError {
    /// A file with trusted certificates cannot be used.
    #[error("{0}")]
    File(#[from] TlsFileError),
    /// The system has no certificates to trust.
    #[error("this system trusts no certificate{}; install its certificates, such as the package ca-certificates, set SSL_CERT_FILE to a file that has them, or name the certificates to trust", listed(.errors))]
    NoRoots {
        /// What went wrong with those of the system.
        errors: Vec<String>,
    },
    /// OpenSSL cannot use what is trusted.
    #[cfg(feature = "legacy-tls")]
    #[error("{0}")]
    Legacy(#[from] LegacyError),
    /// TLS cannot verify a server of this name.
    #[error("{host} is no host name or IP address that a certificate can be for")]
    Name {
        /// The host.
        host: String,
    },
}

fn listed(errors: &[String]) -> String {
    match errors {
        [] => String::new(),
        errors => {
            let shown: Vec<&str> = errors.iter().take(LISTED).map(String::as_str).collect();
            format!(" ({})", shown.join("; "))
        }
    }
}

/// TLS 1.2 and 1.3 of a client. Cheap to clone; clones resume each other's
/// sessions.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    roots: Roots,
    warnings: Arc<[String]>,
    /// For servers of 2010.
    #[cfg(feature = "legacy-tls")]
    legacy: Option<ClientContext>,
}

impl ClientTls {
    /// Reads the certificates that are trusted. Those of the system are more than
    /// a hundred, so make it once.
    ///
    /// # Errors
    ///
    /// Why a file cannot be used, or that there is nothing to trust.
    pub fn new(options: &ClientTlsOptions) -> Result<ClientTls, ClientTlsError> {
        #[cfg(feature = "legacy-tls")]
        if options.legacy {
            return ClientTls::new_legacy(options);
        }
        if options.insecure {
            Ok(ClientTls::build(Roots::Anything, Trusted::Anything))
        } else if options.trusted.is_empty() {
            ClientTls::of_loaded(rustls_native_certs::load_native_certs())
        } else {
            let trusted = trusted_by_files(&options.trusted)?;
            Ok(ClientTls::build(Roots::Given, trusted))
        }
    }

    /// For servers of 2010.
    #[cfg(feature = "legacy-tls")]
    fn new_legacy(options: &ClientTlsOptions) -> Result<ClientTls, ClientTlsError> {
        let mut given = Vec::new();
        for file in &options.trusted {
            let certificates = PemFile::read(file)?.certificates()?;
            read_facts(file, &certificates)?;
            given.extend(certificates);
        }
        let trust = if options.insecure {
            LegacyTrust::Anything
        } else if given.is_empty() {
            LegacyTrust::System
        } else {
            LegacyTrust::These(&given)
        };
        // rustls is not asked.
        let tls = ClientTls::build(Roots::Anything, Trusted::Anything);
        Ok(ClientTls {
            legacy: Some(ClientContext::new(&trust)?),
            roots: if options.insecure {
                Roots::Anything
            } else {
                Roots::Given
            },
            ..tls
        })
    }

    /// A connection by OpenSSL, where servers of 2010 are dialled.
    ///
    /// # Errors
    ///
    /// Where the host can have no certificate.
    #[cfg(feature = "legacy-tls")]
    pub(super) fn legacy_session(
        &self,
        host: &str,
    ) -> Result<Option<LegacySession>, ClientTlsError> {
        let context = self.legacy.as_ref();
        Ok(context.map(|context| context.connect(host)).transpose()?)
    }

    /// Trusts what administrators let this system trust.
    pub(super) fn of_loaded(loaded: CertificateResult) -> Result<ClientTls, ClientTlsError> {
        let mut warnings: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(loaded.certs);
        if ignored > 0 {
            warnings.push(format!(
                "{ignored} certificates that the system trusts cannot be read and are ignored"
            ));
        }
        let authorities = authorities(roots);
        if authorities.is_none() {
            return Err(ClientTlsError::NoRoots { errors: warnings });
        }
        let trusted = Trusted::These {
            authorities,
            servers: Vec::new(),
        };
        let tls = ClientTls::build(Roots::System, trusted);
        Ok(ClientTls {
            warnings: warnings.into(),
            ..tls
        })
    }

    fn build(roots: Roots, trusted: Trusted) -> ClientTls {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let verifier = Arc::new(Verifier {
            trusted,
            algorithms,
        });
        let builder = ClientConfig::builder_with_provider(provider);
        let Ok(builder) = builder.with_safe_default_protocol_versions() else {
            unreachable!("ring has suites of TLS 1.2 and 1.3");
        };
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        ClientTls {
            config: Arc::new(config),
            roots,
            warnings: Arc::new([]),
            #[cfg(feature = "legacy-tls")]
            legacy: None,
        }
    }

    /// Trusts what the system does. Its certificates are read at the first call of
    /// the process.
    ///
    /// # Errors
    ///
    /// [`ClientTlsError::NoRoots`].
    pub fn of_system() -> Result<ClientTls, ClientTlsError> {
        static OF_SYSTEM: OnceLock<ClientTls> = OnceLock::new();
        if let Some(tls) = OF_SYSTEM.get() {
            return Ok(tls.clone());
        }
        let tls = ClientTls::new(&ClientTlsOptions::default())?;
        Ok(OF_SYSTEM.get_or_init(|| tls).clone())
    }

    /// Certificates of the system that could not be read, each a sentence.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether any certificate is accepted.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.roots == Roots::Anything
    }

    /// A connection to the server of a URL. `host` is a name or an IP address,
    /// without a port; an IPv6 address may stand in brackets.
    ///
    /// # Errors
    ///
    /// [`ClientTlsError::Name`].
    pub(in crate::net) fn connection(
        &self,
        host: &str,
    ) -> Result<ClientConnection, ClientTlsError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let name = ServerName::try_from(bare.unwrap_or(host).to_owned());
        let connection = name
            .ok()
            .and_then(|name| ClientConnection::new(Arc::clone(&self.config), name).ok());
        connection.ok_or_else(|| ClientTlsError::Name {
            host: host.to_owned(),
        })
    }

    /// The sentence of cause and cure for an error of such a connection.
    pub(in crate::net) fn explain(&self, host: &str, error: &Error) -> String {
        explained::of_client(self.roots, host, error)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// The certificates of files: authorities with what they issue, and each of them
/// as the one of a server.
fn trusted_by_files(files: &[PathBuf]) -> Result<Trusted, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    let mut servers: Vec<CertificateDer<'static>> = Vec::new();
    for file in files {
        let certificates = PemFile::read(file)?.certificates()?;
        let facts = read_facts(file, &certificates)?;
        for (certificate, facts) in certificates.into_iter().zip(facts) {
            // rustls would trust what any certificate of the store issued.
            let may_issue = facts.is_authority || (facts.is_version_1 && facts.is_self_issued());
            if may_issue {
                // One that cannot be read as an authority may still be a server's.
                let _ = roots.add(certificate.clone());
            }
            servers.push(certificate);
        }
    }
    Ok(Trusted::These {
        authorities: authorities(roots),
        servers,
    })
}

fn authorities(roots: RootCertStore) -> Option<Arc<WebPkiServerVerifier>> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    // It fails where there are none.
    builder.build().ok()
}
