//! TLS of `serve` and `gateway`: which certificates are shown, and what happens when
//! their files change.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Args;
use heirloom::net::{CertificateFiles, ListenPolicy, Reloader, ServerTls};
use jiff::Timestamp;
use signal_hook::consts::SIGHUP;
use signal_hook::low_level::pipe;

use super::supervisor::Supervisor;
use super::trust::check_legacy;
use super::{Exit, complain, process};

/// How often the log says which certificates expire soon.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
    pub(super) fn load(&self) -> Result<Option<ServerTls>, Exit> {
        if self.tls_cert.len() != self.tls_key.len() {
            complain(&format!(
                "{} --tls-cert and {} --tls-key are given; give one key for each certificate, in \
                 the same order",
                self.tls_cert.len(),
                self.tls_key.len()
            ));
            return Err(Exit::Usage);
        }
        if self.tls_cert.is_empty() {
            return Ok(None);
        }
        check_legacy("--tls-legacy", self.tls_legacy)?;
        let tls = read(&self.files(), self.tls_legacy).map_err(|error| {
            complain(&error);
            Exit::Usage
        })?;
        if self.tls_legacy {
            log::warn!(
                "TLS 1.0 and 1.1, CBC suites and RSA key exchange are on (--tls-legacy): what such \
                 clients send and receive can be read and changed on its way"
            );
        }
        warn(&tls);
        Ok(Some(tls))
    }

    fn files(&self) -> Vec<CertificateFiles> {
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let files = pairs.map(|(certificate, key)| CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        });
        files.collect()
    }

    /// Reads the files again at each HUP, and says each day which certificates expire
    /// soon. What is given has those that are shown now.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn watch(
        &self,
        tls: ServerTls,
        reloader: Reloader,
    ) -> std::io::Result<Certificates> {
        let (mut reader, writer) = UnixStream::pair()?;
        reader.set_read_timeout(Some(DAY))?;
        pipe::register(SIGHUP, writer)?;
        let (files, legacy) = (self.files(), self.tls_legacy);
        let supervisor = Supervisor::of_environment();
        let shown = Certificates(Arc::new(Mutex::new(tls)));
        let watched = shown.clone();
        thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || {
                loop {
                    match reader.read(&mut [0; 64]) {
                        Ok(0) => return,
                        Ok(_) => supervisor.reload(|| {
                            let loaded = read(&files, legacy);
                            process::note_reload(loaded.is_ok());
                            match loaded {
                                Ok(loaded) => {
                                    process::note_reload(true);
                                    show(&reloader, &loaded);
                                    *watched.lock() = loaded;
                                }
                                Err(error) => {
                                    process::note_reload(false);
                                    log::error!("{error}; the certificates from before stay in use")
                                }
                            }
                            reloader.listeners()
                        }),
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(_) => {}
                    }
                    warn(&watched.lock());
                }
            })?;
        Ok(shown)
    }
}

/// All listeners show these certificates from now on.
fn show(reloader: &Reloader, tls: &ServerTls) {
    let mut listeners = reloader.listeners();
    for listen in &mut listeners {
        let policy = ListenPolicy::clone(&listen.policy);
        listen.policy = policy.with_tls(tls.clone()).into();
    }
    match reloader.listen(&listeners) {
        Ok(_) => log::info!("the certificates were read again"),
        Err(error) => log::error!("{error}; the certificates from before stay in use"),
    }
}

/// The certificates that a running server shows.
#[derive(Clone)]
pub(super) struct Certificates(Arc<Mutex<ServerTls>>);

impl Certificates {
    fn lock(&self) -> MutexGuard<'_, ServerTls> {
        // What was there before a panic is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line for each, with the day on which it expires; a mark where that is soon or
    /// over.
    pub(super) fn health(&self) -> String {
        let tls = self.lock();
        let mut lines = String::new();
        for certificate in tls.certificates() {
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

/// Says what is wrong with certificates that can be used all the same.
fn warn(tls: &ServerTls) {
    let of_days = tls.day_warnings(SystemTime::now());
    for warning in tls.warnings().iter().chain(&of_days) {
        log::warn!("{warning}");
    }
}
