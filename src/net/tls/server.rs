//! TLS of a server: its certificates, chosen by the name that the client asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "legacy-tls")]
use std::sync::OnceLock;
use std::time::SystemTime;

use rustls::crypto::ring::Ticketer;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, ServerConfig, SignatureAlgorithm, SignatureScheme};

use super::certificate::{CertificateFiles, Pair, TlsFileError, read_pair};
use super::hello::{ClientHello, ServedBy};
use super::inspect::{self, Facts};
#[cfg(feature = "legacy-tls")]
use super::legacy::{LegacyError, ServerContext};
use super::suite::ServerKey;
use super::{HTTP_1_1, provider};
use crate::bytes::Escaped;
use crate::net::agreement::Unserved;

/// A certificate that expires so soon is warned of, in seconds.
const SOON_SECONDS: i64 = 30 * DAY_SECONDS;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// TLS 1.2 and 1.3 of a server: its certificates, and how sessions are resumed.
/// Cheap to clone.
///
/// A client that names no host, or one that no certificate is valid for, gets the
/// first certificate. A client that offers application protocols and not
/// `http/1.1` among them is refused with the alert `no_application_protocol`
/// (RFC 7301 section 3.2). Sessions are resumed by tickets, so the server keeps
/// nothing of them; the keys of the tickets are made anew by each [`load`].
///
/// [`load`]: ServerTls::load
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    config: Arc<ServerConfig>,
    chooser: Arc<Chooser>,
    certificates: Vec<ServerCertificate>,
    warnings: Vec<String>,
    #[cfg(feature = "legacy-tls")]
    keys: Vec<rustls::pki_types::PrivateKeyDer<'static>>,
    /// One for each certificate, where old clients are served.
    #[cfg(feature = "legacy-tls")]
    legacy: OnceLock<Vec<ServerContext>>,
}

impl ServerTls {
    /// Reads certificates and keys. The first is shown where no name fits.
    ///
    /// # Errors
    ///
    /// Why the first file that is wrong cannot be used.
    pub fn load(files: &[CertificateFiles]) -> Result<ServerTls, TlsFileError> {
        if files.is_empty() {
            return Err(TlsFileError::NoFiles);
        }
        let mut chooser = Chooser::default();
        let mut certificates = Vec::new();
        let mut warnings = Vec::new();
        #[cfg(feature = "legacy-tls")]
        let mut keys = Vec::new();
        for files in files {
            let pair = read_pair(files)?;
            let certified = certify(files, &pair)?;
            warnings.extend(check_chain(files, &pair.facts)?);
            let Some(own) = pair.facts.into_iter().next() else {
                unreachable!("a file without a certificate is an error");
            };
            warnings.extend(check_names(files, &own));
            chooser.add(&own, certified);
            certificates.push(ServerCertificate {
                facts: own,
                files: files.clone(),
            });
            #[cfg(feature = "legacy-tls")]
            keys.push(pair.key);
        }
        let chooser = Arc::new(chooser);
        Ok(ServerTls(Arc::new(Shared {
            config: Arc::new(config(Arc::clone(&chooser))),
            chooser,
            certificates,
            warnings,
            #[cfg(feature = "legacy-tls")]
            keys,
            #[cfg(feature = "legacy-tls")]
            legacy: OnceLock::new(),
        })))
    }

    /// The certificates, in the order in which they were given.
    #[must_use]
    pub fn certificates(&self) -> &[ServerCertificate] {
        &self.0.certificates
    }

    /// What is probably wrong with the files, each a sentence: intermediate
    /// certificates that are missing, names that are missing. Days are not looked
    /// at; see [`ServerTls::day_warnings`].
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Which certificates have expired, expire within 30 days, or are not valid
    /// yet, each a sentence.
    #[must_use]
    pub fn day_warnings(&self, now: SystemTime) -> Vec<String> {
        let certificates = self.0.certificates.iter();
        certificates
            .filter_map(|certificate| certificate.day_warning(now))
            .collect()
    }

    /// Why this client is not served, if so.
    pub(super) fn why_unserved(&self, hello: &ClientHello) -> Option<Unserved> {
        match self.served_by(hello) {
            ServedBy::Modern => None,
            #[cfg(feature = "legacy-tls")]
            ServedBy::Legacy if self.0.legacy.get().is_some() => None,
            ServedBy::Legacy => Some(Unserved::TooOld),
            ServedBy::OnlySsl3 | ServedBy::NoSuite => Some(Unserved::NothingInCommon),
        }
    }

    /// What serves this client.
    fn served_by(&self, hello: &ClientHello) -> ServedBy {
        let keys = self.0.chooser.keys.iter();
        let keys: Vec<ServerKey> = keys.filter_map(|key| kind_of(&*key.key)).collect();
        hello.served_by(&keys)
    }

    /// What rustls serves with.
    pub(in crate::net) fn config(&self) -> &Arc<ServerConfig> {
        &self.0.config
    }
}

#[cfg(feature = "legacy-tls")]
impl ServerTls {
    /// Serves clients too that rustls cannot serve: TLS 1.0 and 1.1, suites in CBC
    /// mode, key exchange by RSA. What they send and receive is not safe from those
    /// who can read and change it on its way.
    ///
    /// # Errors
    ///
    /// Where OpenSSL cannot use a certificate.
    pub fn serve_legacy(&self) -> Result<(), LegacyError> {
        let chains = self.0.chooser.keys.iter().map(|key| key.cert.as_slice());
        let pairs = chains.zip(&self.0.keys);
        let contexts: Result<Vec<_>, _> = pairs
            .map(|(chain, key)| ServerContext::new(chain, key))
            .collect();
        // Where it was called before, nothing changes.
        let _ = self.0.legacy.set(contexts?);
        Ok(())
    }

    /// The certificate for a client that only OpenSSL serves, where those are
    /// served: the best for its name whose key it can use, RSA first, since few knew
    /// others; then any that it can use.
    pub(super) fn legacy_context(&self, hello: &ClientHello) -> Option<&ServerContext> {
        let contexts = self.0.legacy.get()?;
        if self.served_by(hello) != ServedBy::Legacy {
            return None;
        }
        let chooser = &self.0.chooser;
        let kind = |i: &usize| kind_of(&*chooser.keys.get(*i)?.key);
        let is_usable =
            |i: &usize| kind(i).is_some_and(|key| hello.served_by(&[key]) == ServedBy::Legacy);
        let is_rsa = |i: &usize| kind(i) == Some(ServerKey::Rsa);
        let named: Vec<usize> = chooser
            .named(hello.server_name())
            .filter(is_usable)
            .collect();
        let all: Vec<usize> = (0..chooser.keys.len()).filter(is_usable).collect();
        let best = [&named, &all].into_iter().find_map(|usable| {
            let rsa = usable.iter().copied().find(is_rsa);
            rsa.or(usable.first().copied())
        });
        contexts.get(best?)
    }
}

/// The kind of a server's key, as far as it decides which clients it serves.
fn kind_of(key: &dyn SigningKey) -> Option<ServerKey> {
    let signs = |scheme| key.choose_scheme(&[scheme]).is_some();
    match key.algorithm() {
        SignatureAlgorithm::RSA => Some(ServerKey::Rsa),
        SignatureAlgorithm::ECDSA if signs(SignatureScheme::ECDSA_NISTP256_SHA256) => {
            Some(ServerKey::EcdsaP256)
        }
        SignatureAlgorithm::ECDSA => Some(ServerKey::EcdsaP384),
        SignatureAlgorithm::ED25519 => Some(ServerKey::Ed25519),
        _ => None,
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("certificates", &self.0.certificates)
            .finish_non_exhaustive()
    }
}

/// A certificate that a server shows.
#[derive(Clone)]
pub struct ServerCertificate {
    facts: Facts,
    files: CertificateFiles,
}

impl ServerCertificate {
    /// DNS names in small letters, which may start with `*.`, and IP addresses: of
    /// its subject alternative name, or its common name where it has none.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// When it begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        inspect::system_time(self.facts.not_before)
    }

    /// When it expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        inspect::system_time(self.facts.not_after)
    }

    /// Where it was read from.
    #[must_use]
    pub fn files(&self) -> &CertificateFiles {
        &self.files
    }

    /// A sentence where it has expired, expires within 30 days, or is not valid
    /// yet.
    #[must_use]
    pub fn day_warning(&self, now: SystemTime) -> Option<String> {
        let now = inspect::unix_seconds(now);
        let facts = &self.facts;
        let left = facts.not_after.saturating_sub(now);
        let what = if now < facts.not_before {
            let day = inspect::day(facts.not_before);
            format!("is not valid before {day}; is the clock right?")
        } else if left < 0 {
            let day = inspect::day(facts.not_after);
            format!("expired on {day}, and clients refuse it; renew it")
        } else if left < SOON_SECONDS {
            let day = inspect::day(facts.not_after);
            let days = match left / DAY_SECONDS {
                0 => "in less than a day".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            format!("expires on {day}, {days}; renew it")
        } else {
            return None;
        };
        let file = self.files.certificate.display();
        let names = facts.listed_names();
        Some(format!("the certificate in {file} for {names} {what}"))
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("names", &self.facts.names)
            .field("not_after", &inspect::day(self.facts.not_after))
            .field("files", &self.files)
            .finish()
    }
}

fn config(chooser: Arc<Chooser>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider());
    let Ok(builder) = builder.with_safe_default_protocol_versions() else {
        unreachable!("ring has suites of TLS 1.2 and 1.3");
    };
    let mut config = builder.with_no_client_auth().with_cert_resolver(chooser);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Tickets are kept by the clients. Those that take none do a whole handshake each time.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => log::warn!("TLS sessions are not resumed: {error}"),
    }
    config
}

/// Puts the key to its certificate, where it is that of the first.
fn certify(files: &CertificateFiles, pair: &Pair) -> Result<Arc<CertifiedKey>, TlsFileError> {
    let file = || files.certificate.clone();
    if pair.facts.first().is_some_and(|own| own.is_version_1) {
        return Err(TlsFileError::Version1 { file: file() });
    }
    let Ok(key) = any_supported_type(&pair.key) else {
        let file = files.key.clone();
        return Err(TlsFileError::UnusableKey { file });
    };
    let certified = CertifiedKey::new(pair.chain.clone(), key);
    match certified.keys_match() {
        // A key that does not tell its public half is believed.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(_)) => match place_of_key(&certified) {
            Some(place) => Err(TlsFileError::ChainOrder {
                file: file(),
                number: place + 1,
                before: 1,
            }),
            None => Err(TlsFileError::KeyMismatch {
                certificate: file(),
                key: files.key.clone(),
            }),
        },
        Err(error) => Err(TlsFileError::BrokenCertificate {
            file: file(),
            number: 1,
            reason: Escaped::<200>(&error.to_string()).to_string(),
        }),
    }
}

/// Which certificate of the file the key belongs to.
fn place_of_key(certified: &CertifiedKey) -> Option<usize> {
    certified.cert.iter().position(|certificate| {
        let alone = CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key));
        alone.keys_match().is_ok()
    })
}

/// Finds certificates in the wrong order, and says what is missing or not needed.
fn check_chain(files: &CertificateFiles, chain: &[Facts]) -> Result<Vec<String>, TlsFileError> {
    let file = &files.certificate;
    let mut warnings = Vec::new();
    let mut unneeded = Vec::new();
    let issued = |issuer: &Facts, by: &Facts| by.issuer.octets == issuer.subject.octets;
    for (i, facts) in chain.iter().enumerate().skip(1) {
        let (before, after) = chain.split_at(i);
        if before.iter().any(|earlier| issued(facts, earlier)) {
            continue;
        }
        let later = after.iter().skip(1).position(|later| issued(facts, later));
        if let Some(later) = later {
            return Err(TlsFileError::ChainOrder {
                file: file.clone(),
                number: i + 1 + later + 1,
                before: i + 1,
            });
        }
        unneeded.push(i + 1);
    }
    if let Some(first) = unneeded.first() {
        warnings.push(format!(
            "{} of the certificates in {}, the first of them number {first}, issued none before them; remove what clients do not need",
            unneeded.len(),
            file.display()
        ));
    }
    let Some(own) = chain.first() else {
        return Ok(warnings);
    };
    let has_issuer = || chain.iter().skip(1).any(|facts| issued(facts, own));
    if !own.is_self_issued() && !has_issuer() {
        warnings.push(format!(
            "the certificate of the issuer, {}, is not in {}, so clients that do not know it refuse the server; append the intermediate certificates to the file",
            own.issuer.text,
            file.display()
        ));
    }
    Ok(warnings)
}

fn check_names(files: &CertificateFiles, own: &Facts) -> Option<String> {
    (!own.has_alternative_names).then(|| {
        format!(
            "the certificate in {} has no subjectAltName, so clients of today accept it for no name; let it be issued with one",
            files.certificate.display()
        )
    })
}

/// Which certificate is shown to which client.
#[derive(Debug, Default)]
struct Chooser {
    keys: Vec<Arc<CertifiedKey>>,
    /// Indices by DNS name.
    exact: HashMap<String, Vec<usize>>,
    /// Indices by the name behind the asterisk.
    wildcard: HashMap<String, Vec<usize>>,
}

impl Chooser {
    fn add(&mut self, facts: &Facts, key: Arc<CertifiedKey>) {
        let index = self.keys.len();
        self.keys.push(key);
        for name in &facts.names {
            let indices = match name.strip_prefix("*.") {
                Some(domain) => self.wildcard.entry(domain.to_owned()),
                None => self.exact.entry(name.clone()),
            };
            indices.or_default().push(index);
        }
    }

    /// The certificates for a name, the best first; then all.
    fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = usize> + '_ {
        self.named(name).chain(0..self.keys.len())
    }

    /// The certificates for a name, the best first.
    fn named(&self, name: Option<&str>) -> impl Iterator<Item = usize> + '_ {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let name = name.as_deref().unwrap_or("");
        let domain = name.split_once('.').map_or("", |(_, domain)| domain);
        let found = [self.exact.get(name), self.wildcard.get(domain)];
        found.into_iter().flatten().flatten().copied()
    }
}

impl ResolvesServerCert for Chooser {
    /// Of two certificates for a name, such as ECDSA and RSA, the first that the
    /// client can verify.
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let keys = || {
            let candidates = self.candidates(hello.server_name());
            candidates.filter_map(|index| self.keys.get(index))
        };
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(offered).is_some();
        keys().find(fits).or_else(|| keys().next()).cloned()
    }
}
