//! Servers that speak TLS by rustls and then do what a test says; certificates in
//! files, for programs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha1::{Digest, Sha1};

use super::PATIENCE;
use super::certificate::Made;
use super::folder::Folder;

/// A connection of TLS.
pub(crate) type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// A server that hands each of its connections to the test.
pub(crate) struct TlsHost {
    pub(crate) address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl TlsHost {
    /// Speaks TLS with this certificate.
    pub(crate) fn new(made: &Made, handle: impl Fn(TlsStream) + Send + Sync + 'static) -> TlsHost {
        let config = server_config(made);
        TlsHost::plain(move |stream| handle(accept(&config, stream)))
    }

    /// Speaks nothing by itself.
    pub(crate) fn plain(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> TlsHost {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (seen, handle) = (Arc::clone(&over), Arc::new(handle));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, handle) = (stream.unwrap(), Arc::clone(&handle));
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                thread::spawn(move || handle(stream));
            }
        });
        TlsHost { address, over }
    }

    pub(crate) fn url(&self) -> String {
        format!("wss://{}/", self.address)
    }
}

impl Drop for TlsHost {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Ends the wait for the next one.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

pub(crate) fn server_config(made: &Made) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(made.key_der()).unwrap();
    let chain = vec![CertificateDer::from(made.der().to_vec())];
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

/// Speaks TLS on a connection from here on.
pub(crate) fn accept(config: &Arc<ServerConfig>, stream: TcpStream) -> TlsStream {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    StreamOwned::new(connection, stream)
}

/// Reads a head; `None` where it does not come.
pub(crate) fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).ok()?;
        head.push(octet[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Does the opening handshake of RFC 6455.
pub(crate) fn open(stream: &mut (impl Read + Write)) -> String {
    let head = read_head(stream).expect("a request arrives");
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let proof = Sha1::digest(format!("{}{guid}", key.unwrap()));
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(proof)
    );
    stream.write_all(response.as_bytes()).unwrap();
    stream.flush().unwrap();
    head
}

/// A certificate and its key in files.
pub(crate) struct Files {
    pub(crate) folder: Folder,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn of(made: &Made) -> Files {
        let folder = Folder::new();
        Files {
            certificate: folder.write("certificate.pem", made.pem()),
            key: folder.write("key.pem", made.key_pem()),
            folder,
        }
    }

    /// The options of a server that shows it.
    pub(crate) fn options(&self) -> [String; 4] {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (certificate, key) = (path(&self.certificate), path(&self.key));
        [
            "--tls-cert".to_owned(),
            certificate,
            "--tls-key".to_owned(),
            key,
        ]
    }

    /// The options of a client that trusts it.
    pub(crate) fn trusted(&self) -> [&str; 2] {
        ["--ca", self.certificate.to_str().unwrap()]
    }
}
