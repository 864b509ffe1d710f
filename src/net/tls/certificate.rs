//! Certificates and keys, read from PEM files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::inspect::Facts;
use crate::bytes::Escaped;

/// Octets of a file; certificates and keys are a thousandth of it.
const FILE_BYTES: u64 = 1024 * 1024;
/// Labels of a PEM file that a sentence lists.
const LISTED: usize = 4;
const BEGIN: &[u8] = b"-----BEGIN ";

/// The PEM files of a certificate: the server's own certificate and the
/// intermediate ones behind it, and the private key of the first. Both may be the
/// same file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct CertificateFiles {
    /// The file of the certificates.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

/// Why certificates or a key cannot be taken from files. Each sentence names the
/// file and the cure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileError {
    /// No certificate was given at all.
    #[error("TLS needs a certificate and its key; give the files of at least one")]
    NoFiles,
    /// The file cannot be opened or read.
    #[error("{} cannot be read: {error}; {}", .file.display(), unreadable_cure(.error))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        #[source]
        error: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is a {kind}; give a file with PEM in it", .file.display())]
    NotAFile {
        /// The file.
        file: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// More than 1 MiB.
    #[error("{} has more than {FILE_BYTES} octets, so it is no certificate or key; give another file", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A binary form: DER or PKCS #12.
    #[error("{} is {form}, not PEM; convert it: {command}", .file.display())]
    Binary {
        /// The file.
        file: PathBuf,
        /// What it is.
        form: &'static str,
        /// The command that converts it.
        command: String,
    },
    /// Neither PEM nor one of the binary forms.
    #[error("{} has no PEM in it; a PEM file has lines such as -----BEGIN CERTIFICATE-----", .file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
    },
    /// PEM that breaks its own rules.
    #[error("the PEM in {} is broken: {reason}; copy the file again", .file.display())]
    BrokenPem {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// PEM without a certificate.
    #[error("{} has no certificate in it, but {found}; give the file that has -----BEGIN CERTIFICATE-----", .file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
        /// What it has.
        found: String,
    },
    /// PEM without a private key.
    #[error("{} has no private key in it, but {found}; give the file that has -----BEGIN PRIVATE KEY-----", .file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
        /// What it has.
        found: String,
    },
    /// The key was given as the certificate, and the certificate as the key.
    #[error("{} is the key and {} the certificate; swap the two", .certificate.display(), .key.display())]
    Swapped {
        /// The file that was given as the certificate.
        certificate: PathBuf,
        /// The file that was given as the key.
        key: PathBuf,
    },
    /// A key behind a passphrase, which a server cannot ask for.
    #[error("the key in {} is encrypted, and a server has no terminal to ask for the passphrase; write it without one: openssl pkey -in {} -out FILE", .file.display(), .file.display())]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// A key of a kind or size that TLS here has no use for.
    #[error("the key in {} cannot be used; make one of ECDSA with P-256 or P-384, RSA with 2048 to 8192 bits, or Ed25519", .file.display())]
    UnusableKey {
        /// The file.
        file: PathBuf,
    },
    /// What stands in CERTIFICATE is none.
    #[error("certificate {number} in {} cannot be read: {reason}; copy the file again, or let it be issued again", .file.display())]
    BrokenCertificate {
        /// The file.
        file: PathBuf,
        /// Which one of the file, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// X.509 version 1, which clients of TLS refuse.
    #[error("the certificate in {} is X.509 version 1, which clients refuse; let it be issued with extensions, such as subjectAltName", .file.display())]
    Version1 {
        /// The file.
        file: PathBuf,
    },
    /// The key is that of another certificate.
    #[error("the key in {} is not the key of the certificate in {}; give the two that were made together", .key.display(), .certificate.display())]
    KeyMismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificates of a file are not in the order in which TLS sends them.
    #[error("the certificates in {} are in the wrong order: number {number} must stand before number {before}; the server's own is first, and each is followed by that of its issuer", .file.display())]
    ChainOrder {
        /// The file.
        file: PathBuf,
        /// The certificate that stands too late, from 1.
        number: usize,
        /// The one that stands too early.
        before: usize,
    },
}

fn unreadable_cure(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "is the path right?",
        ErrorKind::PermissionDenied => "let the user of this process read it",
        _ => "check the file and its disk",
    }
}

/// What a PEM file has, and its text.
pub(super) struct PemFile {
    file: PathBuf,
    text: Vec<u8>,
    /// What stands in its BEGIN lines.
    labels: Vec<String>,
}

impl PemFile {
    /// Reads a file, and says what it is where it is not PEM.
    pub(super) fn read(file: &Path) -> Result<PemFile, TlsFileError> {
        let text = read_bounded(file)?;
        if has_indented(&text) {
            return Err(TlsFileError::BrokenPem {
                file: file.to_owned(),
                reason: "a BEGIN line does not start with its hyphens".to_owned(),
            });
        }
        let labels = labels(&text);
        if labels.is_empty() {
            return Err(not_pem(file, &text));
        }
        Ok(PemFile {
            file: file.to_owned(),
            text,
            labels,
        })
    }

    /// Every certificate, at least one, in the order of the file.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let mut certificates = Vec::new();
        for section in self.sections() {
            match section {
                Ok((SectionKind::Certificate, der)) => certificates.push(CertificateDer::from(der)),
                Ok(_) => {}
                // The lines above an encrypted key are not base64.
                Err(_) if self.is_encrypted() => {}
                Err(reason) => return Err(self.broken(reason)),
            }
        }
        if certificates.is_empty() {
            return Err(TlsFileError::NoCertificate {
                file: self.file.clone(),
                found: self.found(),
            });
        }
        Ok(certificates)
    }

    /// The first private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        for section in self.sections() {
            match section {
                Ok((kind, der)) => {
                    if let Some(key) = PrivateKeyDer::from_pem(kind, der) {
                        return Ok(key);
                    }
                }
                Err(_) if self.is_encrypted() => {}
                Err(reason) => return Err(self.broken(reason)),
            }
        }
        let file = self.file.clone();
        if self.is_encrypted() {
            return Err(TlsFileError::EncryptedKey { file });
        }
        Err(TlsFileError::NoKey {
            file,
            found: self.found(),
        })
    }

    /// Whether it has certificates.
    fn has_certificate(&self) -> bool {
        self.labels.iter().any(|label| label == "CERTIFICATE")
    }

    /// Whether it has a key, encrypted or not.
    fn has_key(&self) -> bool {
        self.labels
            .iter()
            .any(|label| label.ends_with("PRIVATE KEY"))
    }

    /// RFC 5958 has a label of its own for encrypted keys, RFC 1421 a header.
    fn is_encrypted(&self) -> bool {
        let has_label = self.labels.iter().any(|l| l == "ENCRYPTED PRIVATE KEY");
        let is_header = |line: &[u8]| line.starts_with(b"Proc-Type: 4,ENCRYPTED");
        has_label || lines(&self.text).any(is_header)
    }

    fn sections(&self) -> impl Iterator<Item = Result<(SectionKind, Vec<u8>), String>> + '_ {
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.text);
        sections.map(|section| section.map_err(|error| broken_reason(&error)))
    }

    fn broken(&self, reason: String) -> TlsFileError {
        TlsFileError::BrokenPem {
            file: self.file.clone(),
            reason,
        }
    }

    /// What the file has, as the object of a sentence.
    fn found(&self) -> String {
        let mut found: Vec<&str> = Vec::new();
        for label in &self.labels {
            let what = match label.as_str() {
                "CERTIFICATE" => "a certificate",
                "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                    "a certificate request, which an authority makes a certificate of"
                }
                "TRUSTED CERTIFICATE" => "a certificate in a form of OpenSSL's own",
                "PUBLIC KEY" => "a public key",
                "ENCRYPTED PRIVATE KEY" => "an encrypted private key",
                label if label.ends_with("PRIVATE KEY") => "a private key",
                label => label,
            };
            if !found.contains(&what) && found.len() < LISTED {
                found.push(what);
            }
        }
        found.join(" and ")
    }
}

/// A certificate with the ones behind it, and its key, as the files have them.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) facts: Vec<Facts>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Reads a certificate and its key. Whether they match is not looked at.
pub(super) fn read_pair(files: &CertificateFiles) -> Result<Pair, TlsFileError> {
    let certificate = PemFile::read(&files.certificate)?;
    let key = PemFile::read(&files.key)?;
    let is_key = certificate.has_key() && !certificate.has_certificate();
    let is_certificate = key.has_certificate() && !key.has_key();
    if is_key && is_certificate {
        return Err(TlsFileError::Swapped {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        });
    }
    let chain = certificate.certificates()?;
    let key = key.key()?;
    let facts = read_facts(&files.certificate, &chain)?;
    Ok(Pair { chain, facts, key })
}

/// What each certificate of a file says.
pub(super) fn read_facts(
    file: &Path,
    certificates: &[CertificateDer<'_>],
) -> Result<Vec<Facts>, TlsFileError> {
    let facts = certificates.iter().enumerate().map(|(i, certificate)| {
        Facts::read(certificate).ok_or_else(|| TlsFileError::BrokenCertificate {
            file: file.to_owned(),
            number: i + 1,
            reason: "it is not X.509".to_owned(),
        })
    });
    facts.collect()
}

/// At most [`FILE_BYTES`] of a regular file. A pipe would keep its reader waiting.
fn read_bounded(file: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |error| TlsFileError::Unreadable {
        file: file.to_owned(),
        error,
    };
    let opened = open(file).map_err(unreadable)?;
    let kind = opened.metadata().map_err(unreadable)?.file_type();
    if !kind.is_file() {
        let kind = match () {
            () if kind.is_dir() => "directory",
            () if kind.is_fifo() => "pipe",
            () => "device",
        };
        let file = file.to_owned();
        return Err(TlsFileError::NotAFile { file, kind });
    }
    let mut text = Vec::new();
    let mut bounded = opened.take(FILE_BYTES + 1);
    bounded.read_to_end(&mut text).map_err(unreadable)?;
    if bounded.limit() == 0 {
        let file = file.to_owned();
        return Err(TlsFileError::TooLarge { file });
    }
    Ok(text)
}

/// Opens a file to read it. It does not wait for the other end of a pipe.
fn open(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(file)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| matches!(octet, b'\n' | b'\r'))
}

/// What stands in the BEGIN lines, safe to show.
fn labels(text: &[u8]) -> Vec<String> {
    let label = |line: &[u8]| {
        let label = String::from_utf8_lossy(line.strip_prefix(BEGIN)?);
        let label = label.trim_end().trim_end_matches('-');
        Some(Escaped::<60>(label).to_string())
    };
    lines(text).filter_map(label).collect()
}

/// Whether a BEGIN line is indented, or stands behind the mark that some editors
/// put at the start of a file. It would be passed over.
fn has_indented(text: &[u8]) -> bool {
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t' | 0xef | 0xbb | 0xbf);
    lines(text).any(|line| {
        let blanks = line.iter().take_while(|octet| is_blank(octet)).count();
        blanks > 0 && line.get(blanks..).is_some_and(|l| l.starts_with(BEGIN))
    })
}

fn not_pem(file: &Path, octets: &[u8]) -> TlsFileError {
    let shown = file.display();
    let (form, command) = match octets {
        // A PKCS #12 file is a SEQUENCE whose first element is the INTEGER 3.
        [0x30, rest @ ..] if starts_with_integer_3(rest) => (
            "PKCS #12",
            format!("openssl pkcs12 -in {shown} -nodes -out FILE"),
        ),
        [0x30, ..] if Facts::read(octets).is_some() => (
            "a certificate in DER",
            format!("openssl x509 -in {shown} -inform DER -out FILE"),
        ),
        [0x30, ..] if PrivateKeyDer::try_from(octets).is_ok() => (
            "a key in DER",
            format!("openssl pkey -in {shown} -inform DER -out FILE"),
        ),
        _ => {
            let file = file.to_owned();
            return TlsFileError::NotPem { file };
        }
    };
    TlsFileError::Binary {
        file: file.to_owned(),
        form,
        command,
    }
}

/// Whether the first element behind a DER length is the INTEGER 3.
fn starts_with_integer_3(length_and_body: &[u8]) -> bool {
    let body = match length_and_body {
        [0x82, _, _, body @ ..] | [0x83, _, _, _, body @ ..] => body,
        [0x81, _, body @ ..] | [0x80, body @ ..] => body,
        [_, body @ ..] => body,
        [] => &[],
    };
    body.starts_with(&[0x02, 0x01, 0x03])
}

fn broken_reason(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            let label = label.trim_matches('-').trim_start_matches("END ");
            format!("there is no END line for {}", Escaped::<60>(label))
        }
        Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!(
                "the line {} does not end in five hyphens",
                Escaped::<60>(&line)
            )
        }
        Error::Base64Decode(_) => "its lines are not base64".to_owned(),
        other => Escaped::<100>(&other.to_string()).to_string(),
    }
}
