//! TLS 1.0 and 1.1, and the suites of 2010 in TLS 1.2, by the OpenSSL of the system:
//! for peers that rustls cannot serve.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    AlpnError, ErrorCode, ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode,
    SslOptions, SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509VerifyResult};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::HTTP_1_1;
use crate::net::agreement::TlsAgreement;

/// AES and Camellia, with key exchange by RSA or ECDHE. Level 0 is what lets SHA-1
/// sign, which TLS 1.0 and 1.1 need. Anonymous suites, RC4, 3DES, export suites and
/// pre-shared keys are not there, whatever OpenSSL was built with.
const SUITES: &str = "HIGH:!aNULL:!eNULL:!PSK:!SRP:!RC4:!3DES:!DES:!EXPORT:@SECLEVEL=0";
/// `http/1.1` as ALPN lists it: with its length.
const ALPN: &[u8] = b"\x08http/1.1";

/// Octets of ciphertext that a peer may leave unread of what TLS itself answers.
const MAX_ANSWERS: usize = 256 * 1024;

/// What OpenSSL says that it cannot do.
#[derive(Debug, thiserror::Error)]
#[error("OpenSSL: {0}")]
pub struct LegacyError(#[from] ErrorStack);

/// The certificate of a server, for old clients.
#[derive(Clone)]
pub(super) struct ServerContext(SslContext);

impl ServerContext {
    pub(super) fn new(
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<ServerContext, LegacyError> {
        let mut context = builder(SslMethod::tls_server())?;
        // rustls serves all clients of TLS 1.3.
        context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        let mut chain = chain.iter();
        if let Some(own) = chain.next() {
            context.set_certificate(&*X509::from_der(own)?)?;
        }
        for between in chain {
            context.add_extra_chain_cert(X509::from_der(between)?)?;
        }
        context.set_private_key(&*PKey::private_key_from_der(key.secret_der())?)?;
        // Tickets resume sessions, so that nothing is kept of them.
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_alpn_select_callback(|_, offered| {
            let chosen = select_next_proto(ALPN, offered);
            chosen
                .filter(|p| *p == HTTP_1_1)
                .ok_or(AlpnError::ALERT_FATAL)
        });
        Ok(ServerContext(context.build()))
    }

    pub(super) fn accept(&self) -> Result<LegacySession, LegacyError> {
        let mut ssl = Ssl::new(&self.0)?;
        ssl.set_accept_state();
        LegacySession::new(ssl)
    }
}

/// Which servers are trusted.
#[derive(Clone)]
pub(super) struct ClientContext {
    context: SslContext,
    verifies: bool,
}

/// The certificates by which a server is trusted.
pub(super) enum LegacyTrust<'a> {
    /// Those of the system, as OpenSSL finds them.
    System,
    /// These: authorities, or a server's own.
    These(&'a [CertificateDer<'static>]),
    /// Any certificate is accepted.
    Anything,
}

impl ClientContext {
    pub(super) fn new(trust: &LegacyTrust<'_>) -> Result<ClientContext, LegacyError> {
        let mut context = builder(SslMethod::tls_client())?;
        match trust {
            LegacyTrust::System => context.set_default_verify_paths()?,
            LegacyTrust::These(certificates) => {
                let mut store = X509StoreBuilder::new()?;
                // A server's own certificate is trusted though it is no authority.
                store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
                for certificate in *certificates {
                    store.add_cert(X509::from_der(certificate)?)?;
                }
                context.set_cert_store(store.build());
            }
            LegacyTrust::Anything => {}
        }
        let verifies = !matches!(trust, LegacyTrust::Anything);
        context.set_verify(if verifies {
            SslVerifyMode::PEER
        } else {
            SslVerifyMode::NONE
        });
        context.set_alpn_protos(ALPN)?;
        Ok(ClientContext {
            context: context.build(),
            verifies,
        })
    }

    /// A connection to the server with this name or address. Its first message is
    /// among what is to be sent.
    pub(super) fn connect(&self, host: &str) -> Result<LegacySession, LegacyError> {
        let mut ssl = Ssl::new(&self.context)?;
        let address = host.parse::<IpAddr>();
        if address.is_err() {
            ssl.set_hostname(host)?;
        }
        if self.verifies {
            match address {
                Ok(address) => ssl.param_mut().set_ip(address)?,
                Err(_) => ssl.param_mut().set_host(host)?,
            }
        }
        ssl.set_connect_state();
        let mut session = LegacySession::new(ssl)?;
        // It stops where the server has to answer.
        let _ = session.stream.do_handshake();
        Ok(session)
    }
}

fn builder(method: SslMethod) -> Result<SslContextBuilder, LegacyError> {
    let mut context = SslContext::builder(method)?;
    // What the system's own file says of OpenSSL does not hold here.
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    context.set_cipher_list(SUITES)?;
    context.set_options(
        SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_COMPRESSION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_mode(SslMode::RELEASE_BUFFERS | SslMode::ENABLE_PARTIAL_WRITE);
    Ok(context)
}

/// A connection by OpenSSL, without its socket.
pub(super) struct LegacySession {
    stream: SslStream<Pipe>,
    is_handshaking: bool,
    /// Plaintext that was decrypted and not read.
    plaintext: Vec<u8>,
    pub(super) peer_closed: bool,
}

/// Ciphertext on its way in and out.
#[derive(Default)]
struct Pipe {
    received: Vec<u8>,
    /// Octets of it that were read.
    read: usize,
    sends: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let (_, rest) = self.received.split_at(self.read);
        if rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = rest.len().min(room.len());
        room.split_at_mut(n).0.copy_from_slice(rest.split_at(n).0);
        self.read += n;
        if self.read == self.received.len() {
            self.received = Vec::new();
            self.read = 0;
        }
        Ok(n)
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.sends.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LegacySession {
    fn new(ssl: Ssl) -> Result<LegacySession, LegacyError> {
        Ok(LegacySession {
            stream: SslStream::new(ssl, Pipe::default())?,
            is_handshaking: true,
            plaintext: Vec::new(),
            peer_closed: false,
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.is_handshaking
    }

    pub(super) fn agreement(&self) -> Option<TlsAgreement> {
        if self.is_handshaking {
            return None;
        }
        let ssl = self.stream.ssl();
        let suite = ssl.current_cipher()?.standard_name()?;
        Some(TlsAgreement {
            version: ssl.version_str(),
            suite: suite.trim_start_matches("TLS_"),
        })
    }

    /// Decrypts these octets, or goes on with the handshake; gives how many octets
    /// of plaintext may be read then.
    ///
    /// # Errors
    ///
    /// Why it has failed. The alert is among what is to be sent.
    pub(super) fn receive(&mut self, octets: &[u8]) -> Result<usize, String> {
        self.stream.get_mut().received.extend_from_slice(octets);
        if self.is_handshaking {
            match self.stream.do_handshake() {
                Ok(()) => self.is_handshaking = false,
                Err(error) if is_blocked(error.code()) => return Ok(0),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let mut room = [0; 16 * 1024];
        loop {
            match self.stream.ssl_read(&mut room) {
                Ok(n) => self.plaintext.extend_from_slice(room.split_at(n).0),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.peer_closed = true;
                    break;
                }
                Err(error) if is_blocked(error.code()) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        // OpenSSL answers each request for a renegotiation.
        if self.stream.get_ref().sends.len() > MAX_ANSWERS {
            return Err("the peer does not read what it is answered".to_owned());
        }
        Ok(self.plaintext.len())
    }

    /// Octets of memory of what waits in it.
    pub(super) fn held(&self) -> usize {
        self.stream.get_ref().sends.capacity()
    }

    /// Why the handshake has failed.
    fn failed(&self, error: &openssl::ssl::Error) -> String {
        let ssl = self.stream.ssl();
        let is_verified = ssl.verify_mode().contains(SslVerifyMode::PEER);
        match ssl.verify_result() {
            X509VerifyResult::OK => error.to_string(),
            _ if !is_verified => error.to_string(),
            problem => format!(
                "its certificate is not accepted: {}",
                problem.error_string()
            ),
        }
    }

    /// The protocol that was chosen by ALPN.
    pub(super) fn alpn(&self) -> Option<String> {
        let chosen = self.stream.ssl().selected_alpn_protocol()?;
        Some(String::from_utf8_lossy(chosen).into_owned())
    }

    /// The certificate that the peer has shown, in DER.
    pub(super) fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.stream.ssl().peer_certificate()?.to_der().ok()
    }

    /// Takes plaintext out; gives how many octets.
    pub(super) fn read(&mut self, room: &mut [u8]) -> usize {
        let n = self.plaintext.len().min(room.len());
        let taken = self.plaintext.drain(..n);
        room.split_at_mut(n).0.copy_from_slice(taken.as_slice());
        drop(taken);
        if self.plaintext.is_empty() {
            self.plaintext = Vec::new();
        }
        n
    }

    /// Encrypts octets; gives how many.
    ///
    /// # Errors
    ///
    /// Why it has failed.
    pub(super) fn write(&mut self, octets: &[u8]) -> Result<usize, String> {
        match self.stream.ssl_write(octets) {
            Ok(n) => Ok(n),
            Err(error) if is_blocked(error.code()) => Ok(0),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The ciphertext that is to be sent.
    pub(super) fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.stream.get_mut().sends
    }

    /// Whether there is some.
    pub(super) fn has_unsent(&self) -> bool {
        !self.stream.get_ref().sends.is_empty()
    }

    pub(super) fn close(&mut self) {
        let sent = self.stream.get_shutdown().contains(ShutdownState::SENT);
        if !sent && !self.is_handshaking {
            // The next write fails too.
            let _ = self.stream.shutdown();
        }
    }
}

/// Asks a server for one version of TLS with any suite but these, named as OpenSSL
/// does; gives the one that it takes, in the words of OpenSSL and of IANA. `None`
/// where it takes none. Certificates are not verified.
///
/// # Errors
///
/// Where OpenSSL knows no such version, or the server does not answer.
pub(in crate::net) fn ask(
    stream: std::net::TcpStream,
    host: &str,
    version: SslVersion,
    without: &[String],
) -> io::Result<Option<(String, &'static str)>> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_min_proto_version(Some(version))?;
    context.set_max_proto_version(Some(version))?;
    context.set_verify(SslVerifyMode::NONE);
    let is_new = version == SslVersion::TLS1_3;
    if is_new {
        let left = SUITES_OF_TLS_1_3
            .iter()
            .filter(|suite| !without.iter().any(|w| w == *suite));
        let left: Vec<&str> = left.copied().collect();
        if left.is_empty() {
            return Ok(None);
        }
        context.set_ciphersuites(&left.join(":"))?;
    } else {
        let without: String = without.iter().map(|suite| format!(":!{suite}")).collect();
        context.set_cipher_list(&format!("ALL:COMPLEMENTOFALL:@SECLEVEL=0{without}"))?;
    }
    let mut ssl = Ssl::new(&context.build())?;
    if host.parse::<IpAddr>().is_err() {
        ssl.set_hostname(host)?;
    }
    let mut stream = SslStream::new(ssl, stream)?;
    if let Err(error) = stream.connect() {
        // An alert is an answer, a timeout or a reset is none.
        return match error.into_io_error() {
            Ok(error) => Err(error),
            Err(_) => Ok(None),
        };
    }
    let taken = stream.ssl().current_cipher();
    Ok(taken.map(|suite| {
        let name = suite.standard_name().unwrap_or("unknown");
        let name = name.trim_start_matches("TLS_");
        (suite.name().to_owned(), name)
    }))
}

/// Those that OpenSSL may have, in its order of strength.
const SUITES_OF_TLS_1_3: [&str; 5] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
];

fn is_blocked(code: ErrorCode) -> bool {
    code == ErrorCode::WANT_READ || code == ErrorCode::WANT_WRITE
}
