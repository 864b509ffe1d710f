//! TLS of `serve` and `gateway`: which certificates are shown, and what happens when
//! their files change.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Args;
use heirloom::net::{CertificateFiles, Reloader, ServerTls};
use signal_hook::consts::SIGHUP;
use signal_hook::low_level::pipe;

use super::{Exit, complain};

/// How often the log says which certificates expire soon.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificates of a server.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// A certificate in PEM, with the intermediate certificates behind it: the server speaks TLS
    /// too. May be given more than once, each with its --tls-key; a client gets the one whose name
    /// it asks for, or the first.
    #[arg(long, value_name = "FILE", help_heading = "TLS", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,
    /// The key of the --tls-cert in the same place, in PEM and not encrypted. HUP reads all files
    /// again, and open connections stay as they are.
    #[arg(long, value_name = "FILE", help_heading = "TLS", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,
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
        let tls = ServerTls::load(&self.files()).map_err(|error| {
            complain(&error);
            Exit::Usage
        })?;
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
    /// soon.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn watch(&self, tls: ServerTls, reloader: Reloader) -> std::io::Result<()> {
        let (mut reader, writer) = UnixStream::pair()?;
        reader.set_read_timeout(Some(DAY))?;
        pipe::register(SIGHUP, writer)?;
        let (files, mut tls) = (self.files(), tls);
        thread::Builder::new().name("certificates".to_owned()).spawn(move || {
            loop {
                match reader.read(&mut [0; 64]) {
                    Ok(0) => return,
                    Ok(_) => match ServerTls::load(&files) {
                        Ok(loaded) => {
                            log::info!("the certificates were read again");
                            tls = loaded;
                            reloader.show_certificates(tls.clone());
                        }
                        Err(error) => {
                            log::error!("{error}; the certificates from before stay in use");
                        }
                    },
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => {}
                }
                warn(&tls);
            }
        })?;
        Ok(())
    }
}

/// Says what is wrong with certificates that can be used all the same.
fn warn(tls: &ServerTls) {
    let of_days = tls.day_warnings(SystemTime::now());
    for warning in tls.warnings().iter().chain(&of_days) {
        log::warn!("{warning}");
    }
}
