//! TLS between a socket and the protocol: ciphertext is read and written, plaintext
//! goes up and comes down.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use super::carrier::{Carrier, Dry, read_socket, write_all};
use super::client::{ClientTls, ClientTlsError};
use super::explained::CertificateProblem;
use super::fault::TlsFault;
use super::hello::{ClientHello, TlsVersion};
use super::inspect::{self, Facts};
#[cfg(feature = "legacy-tls")]
use super::legacy::LegacySession;
use super::server::ServerTls;
#[cfg(feature = "legacy-tls")]
use crate::bytes::Escaped;
use crate::net::agreement::{Begun, DECODE_ERROR, ShownCertificate, TlsAgreement, TlsSession};

/// Octets of ciphertext of one read; other connections wait no longer than that.
const READ: usize = 64 * 1024;
/// Octets of the largest record with its header (RFC 8446 section 5.2, RFC 5246
/// section 6.2.3).
const RECORD: usize = 5 + 16 * 1024 + 2048;
/// Plaintext that is encrypted before the system has taken its ciphertext.
const WRITE: usize = 64 * 1024;
/// Octets of memory of a session that has nothing to do, about: keys, and the buffer
/// of one small record.
const SESSION: usize = 8 * 1024;
/// Reads that bring no plaintext, until other connections have their turns.
const MAX_READS: usize = 4;

thread_local! {
    /// What a read has brought, until it is decrypted: one for all connections of
    /// a thread.
    static CIPHERTEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection of TLS, without its socket.
#[cfg_attr(
    feature = "legacy-tls",
    allow(clippy::large_enum_variant, reason = "few sessions are old ones")
)]
enum Session {
    Rustls(rustls::Connection),
    #[cfg(feature = "legacy-tls")]
    Legacy(Box<LegacySession>),
}

/// What is known of the server of a connection, while TLS is agreed on.
struct Dialled {
    tls: ClientTls,
    host: String,
    /// What is sent before TLS, and not sent yet.
    introduction: Vec<u8>,
    /// Something was received.
    answered: bool,
}

/// TLS on a connection.
pub(in crate::net) struct Tls {
    session: Session,
    /// Where our end is the client.
    dialled: Option<Box<Dialled>>,
    /// Ciphertext that was received and not decrypted, since there was no room for
    /// its plaintext.
    received: Vec<u8>,
    /// Octets of plaintext that may be read.
    plaintext: usize,
    /// Octets of plaintext that are encrypted, and not reported as written: the
    /// system has not taken their ciphertext.
    taken: usize,
    /// It has failed, and what was decrypted before is read first.
    fault: Option<TlsFault>,
    /// The peer has sent its close_notify.
    peer_closed: bool,
    /// The peer has ended TCP without one.
    truncated: bool,
    /// Our side has ended.
    closed: bool,
    /// What we sent was cut off, so the peer must not be told that it is whole.
    withholds_close: bool,
    /// Our side of TCP is shut down when all is written.
    shuts_down: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Of a client that has sent these octets first: `None` while its first message
    /// is not whole. What is no such message fails like one that nothing serves,
    /// with the alert that says so.
    ///
    /// # Errors
    ///
    /// Where the certificate cannot be used.
    pub(in crate::net) fn begin(
        server: &ServerTls,
        octets: &[u8],
    ) -> Result<Option<Begun<Tls>>, TlsFault> {
        let hello = match ClientHello::read(octets) {
            Ok(None) => return Ok(None),
            Ok(Some(hello)) => Some(hello),
            Err(_) => None,
        };
        #[cfg(feature = "legacy-tls")]
        if let Some(context) = hello
            .as_ref()
            .and_then(|hello| server.legacy_context(hello))
        {
            let session = context.accept();
            let session = session.map_err(|error| TlsFault::Legacy(error.to_string()))?;
            return Ok(Some(Begun {
                tls: Some(Tls::of(Session::Legacy(Box::new(session)))),
                unserved: None,
            }));
        }
        let unserved = hello.as_ref().and_then(|hello| {
            let why = server.why_unserved(hello)?;
            Some((why, hello.to_string()))
        });
        let is_old = hello.is_some_and(|hello| hello.highest_version() < TlsVersion::TLS_1_2);
        let tls = if unserved.is_some() && is_old {
            None
        } else {
            let config = Arc::clone(server.config());
            Some(Tls::new(rustls::ServerConnection::new(config)?))
        };
        Ok(Some(Begun { tls, unserved }))
    }

    /// Of a connection to the server with this name. The `introduction` is sent
    /// before it, in plain.
    ///
    /// # Errors
    ///
    /// Where the host can have no certificate.
    pub(in crate::net) fn connect(
        client: &ClientTls,
        host: &str,
        introduction: Vec<u8>,
    ) -> Result<Tls, ClientTlsError> {
        let mut tls = Tls::dialled(client, host)?;
        tls.dialled = Some(Box::new(Dialled {
            tls: client.clone(),
            host: host.to_owned(),
            introduction,
            answered: false,
        }));
        Ok(tls)
    }

    /// By OpenSSL where servers of 2010 are dialled, by rustls otherwise.
    fn dialled(client: &ClientTls, host: &str) -> Result<Tls, ClientTlsError> {
        #[cfg(feature = "legacy-tls")]
        if let Some(session) = client.legacy_session(host)? {
            return Ok(Tls::of(Session::Legacy(Box::new(session))));
        }
        Ok(Tls::new(client.connection(host)?))
    }

    fn new(connection: impl Into<rustls::Connection>) -> Tls {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(WRITE));
        Tls::of(Session::Rustls(connection))
    }

    fn of(session: Session) -> Tls {
        Tls {
            session,
            dialled: None,
            received: Vec::new(),
            plaintext: 0,
            taken: 0,
            fault: None,
            peer_closed: false,
            truncated: false,
            closed: false,
            withholds_close: false,
            shuts_down: false,
        }
    }

    /// Takes ciphertext that was read before it was known to be some.
    pub(in crate::net) fn receive(&mut self, octets: &[u8]) {
        self.received.extend_from_slice(octets);
    }

    /// Whether the opening handshake of TLS is not finished.
    pub(in crate::net) fn is_handshaking(&self) -> bool {
        match &self.session {
            Session::Rustls(connection) => connection.is_handshaking(),
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => session.is_handshaking(),
        }
    }

    /// Whether the peer has ended TCP without a close_notify: what it has sent may
    /// have been cut off (RFC 8446 section 6.1).
    pub(in crate::net) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// What was agreed on, once it is.
    pub(in crate::net) fn agreement(&self) -> Option<TlsAgreement> {
        match &self.session {
            Session::Rustls(connection) => {
                let version = match connection.protocol_version()? {
                    rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
                    rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
                    _ => return None,
                };
                let suite = connection.negotiated_cipher_suite()?.suite().as_str()?;
                let suite = suite
                    .trim_start_matches("TLS13_")
                    .trim_start_matches("TLS_");
                Some(TlsAgreement { version, suite })
            }
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => session.agreement(),
        }
    }

    /// What a client knows of its connection, once it is agreed on.
    pub(in crate::net) fn session(&self) -> Option<TlsSession> {
        let agreement = self.agreement()?;
        let (alpn, facts) = match &self.session {
            Session::Rustls(connection) => {
                let alpn = connection.alpn_protocol().map(String::from_utf8_lossy);
                let shown = connection.peer_certificates().and_then(<[_]>::first);
                (
                    alpn.map(Cow::into_owned),
                    shown.and_then(|der| Facts::read(der)),
                )
            }
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => {
                let shown = session.peer_certificate();
                (session.alpn(), shown.and_then(|der| Facts::read(&der)))
            }
        };
        Some(TlsSession {
            agreement,
            alpn,
            certificate: facts.map(certificate),
        })
    }

    /// Goes on with the opening handshake, as far as it goes now; whether it is
    /// finished. `more` as for [`Tls::read`].
    ///
    /// # Errors
    ///
    /// As [`Tls::read`].
    pub(in crate::net) fn advance(
        &mut self,
        socket: &mut impl Carrier,
        more: &mut bool,
    ) -> io::Result<bool> {
        // Where nothing can be written, there may still be an alert to read.
        let flushed = self.flush(socket);
        while self.is_handshaking() && *more {
            let mut received = std::mem::take(&mut self.received);
            if received.is_empty() {
                received.resize(RECORD, 0);
                let Some(n) = read_socket(socket, &mut received)? else {
                    *more = false;
                    break;
                };
                if n == 0 {
                    return Err(TlsFault::Cut.into());
                }
                received.truncate(n);
            }
            let mut octets = &*received;
            let mut fault = None;
            while fault.is_none() && !octets.is_empty() && self.is_handshaking() {
                let answer = self.check_answer(octets);
                fault = answer.and_then(|()| self.process(&mut octets)).err();
            }
            self.received = octets.to_vec();
            let flushed = self.flush(socket);
            if let Some(fault) = fault {
                return Err(fault.into());
            }
            flushed?;
        }
        flushed?;
        Ok(!self.is_handshaking())
    }

    /// Octets that were encrypted and not reported as written, which they are
    /// herewith.
    pub(in crate::net) fn take_taken(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }

    /// Whether a read would give something without asking the system.
    pub(in crate::net) fn has_more(&self) -> bool {
        self.plaintext > 0 || !self.received.is_empty() || self.fault.is_some() || self.peer_closed
    }

    /// What we sent was cut off: TCP ends without a close_notify then.
    pub(in crate::net) fn withhold_close(&mut self) {
        self.withholds_close = true;
    }

    /// Whether ciphertext waits for the system to take it.
    pub(in crate::net) fn has_unsent(&self) -> bool {
        match &self.session {
            Session::Rustls(connection) => connection.wants_write(),
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => session.has_unsent(),
        }
    }

    /// Octets of memory that it takes, about.
    pub(in crate::net) fn held(&self) -> usize {
        let session = match &self.session {
            Session::Rustls(_) => SESSION,
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => SESSION + session.held(),
        };
        session + self.received.capacity() + self.plaintext + self.taken
    }

    /// Reads plaintext: `None` where there is none now, 0 octets at the end. Asks
    /// the system only while `more` is set, and clears it when the system has
    /// nothing left. `read_closed` is whether the peer may have ended its side.
    ///
    /// # Errors
    ///
    /// What broke the connection; a [`TlsFault`] inside it where that was TLS. Its
    /// alert is sent then, as far as the system takes it.
    pub(in crate::net) fn read(
        &mut self,
        socket: &mut impl Carrier,
        room: &mut [u8],
        more: &mut bool,
        read_closed: bool,
    ) -> io::Result<Option<usize>> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let mut n = 0;
        if self.plaintext > 0 || !self.received.is_empty() {
            let received = std::mem::take(&mut self.received);
            n = self.decrypt(socket, &received, room)?;
        }
        let mut reads = 0;
        while n == 0 && *more && !self.peer_closed && reads < MAX_READS {
            reads += 1;
            let read = CIPHERTEXT.with_borrow_mut(|ciphertext| {
                ciphertext.resize(READ, 0);
                let most = room.len().clamp(RECORD, READ);
                let (ciphertext, _) = ciphertext.split_at_mut(most);
                let read = read_socket(socket, ciphertext)?;
                let Some(k) = read else {
                    *more = false;
                    return Ok(None);
                };
                let is_short = k < most && !read_closed;
                if k == 0 || cfg!(target_os = "linux") && is_short {
                    *more = false;
                }
                if k == 0 {
                    return Ok(Some(0));
                }
                n = self.decrypt(socket, ciphertext.split_at(k).0, room)?;
                Ok::<_, io::Error>(Some(k))
            })?;
            match read {
                None => break,
                Some(0) => {
                    self.truncated = true;
                    if self.dialled.is_some() && self.is_handshaking() {
                        return Err(TlsFault::Cut.into());
                    }
                    return Ok(Some(0));
                }
                Some(_) => {}
            }
        }
        if n == 0 && self.peer_closed {
            *more = false;
            return Ok(Some(0));
        }
        Ok((n > 0).then_some(n))
    }

    /// Decrypts what was received, into this room, and keeps what has none. What
    /// TLS answers by itself is written.
    fn decrypt(
        &mut self,
        socket: &mut impl Carrier,
        mut octets: &[u8],
        room: &mut [u8],
    ) -> io::Result<usize> {
        let is_large = octets.len() > 4096;
        let mut n = 0;
        let mut fault = None;
        loop {
            n += self.take_plaintext(room.split_at_mut(n).1);
            if octets.is_empty() || n == room.len() || self.peer_closed {
                break;
            }
            if let Err(error) = self
                .check_answer(octets)
                .and_then(|()| self.process(&mut octets))
            {
                fault = Some(error);
                break;
            }
        }
        if fault.is_none() && !self.peer_closed {
            self.received.extend_from_slice(octets);
        }
        if is_large && octets.is_empty() {
            self.shrink();
        }
        if fault.is_some() && self.owes_alert() {
            // Where it does not arrive, the end of TCP says the same.
            let _ = write_all(socket, &mut DECODE_ERROR.to_vec());
        }
        let flushed = if self.has_unsent() {
            self.flush(socket).map(drop)
        } else {
            Ok(())
        };
        match (fault, flushed) {
            // What came before it is delivered first.
            (Some(fault), _) if n > 0 => self.fault = Some(fault),
            (Some(fault), _) => return Err(fault.into()),
            (None, Err(error)) if n == 0 => return Err(error),
            // The next write fails too.
            (None, _) => {}
        }
        Ok(n)
    }

    /// Whether a client, whose first message cannot be read, is told nothing of it:
    /// rustls has no alert for one that is too long.
    fn owes_alert(&self) -> bool {
        match &self.session {
            Session::Rustls(connection) => {
                self.dialled.is_none()
                    && connection.protocol_version().is_none()
                    && !connection.wants_write()
            }
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(_) => false,
        }
    }

    /// Checks that the first octets of a server are a record of TLS.
    fn check_answer(&mut self, octets: &[u8]) -> Result<(), TlsFault> {
        let Some(dialled) = self.dialled.as_mut().filter(|dialled| !dialled.answered) else {
            return Ok(());
        };
        dialled.answered = true;
        match octets {
            // Alert, handshake.
            [0x15 | 0x16, ..] => Ok(()),
            _ => Err(TlsFault::NotTls {
                first: octets.iter().take(40).copied().collect(),
            }),
        }
    }

    /// The fault that an error of rustls is.
    fn fault_of(dialled: Option<&Dialled>, error: rustls::Error) -> TlsFault {
        match dialled {
            None => TlsFault::Client(error),
            Some(dialled) => {
                let sentence = dialled.tls.explain(&dialled.host, &error);
                match error {
                    rustls::Error::InvalidCertificate(error) => TlsFault::Certificate {
                        problem: CertificateProblem::of(&error),
                        sentence,
                    },
                    _ => TlsFault::Server(sentence),
                }
            }
        }
    }

    /// Decrypts some of these octets.
    fn process(&mut self, octets: &mut &[u8]) -> Result<(), TlsFault> {
        match &mut self.session {
            Session::Rustls(connection) => {
                let dialled = self.dialled.as_deref();
                if connection.read_tls(octets).is_err() {
                    let text = "a record is larger than its buffer".to_owned();
                    return Err(Self::fault_of(dialled, rustls::Error::General(text)));
                }
                let state = connection.process_new_packets();
                let state = state.map_err(|error| Self::fault_of(dialled, error))?;
                self.plaintext = state.plaintext_bytes_to_read();
                self.peer_closed = state.peer_has_closed();
                Ok(())
            }
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => {
                let received = std::mem::take(octets);
                let dialled = self.dialled.as_deref();
                let plaintext = session.receive(received).map_err(|error| match dialled {
                    Some(dialled) => {
                        let host = Escaped::<255>(&dialled.host);
                        TlsFault::Server(format!("TLS with {host} failed: {error}"))
                    }
                    None => TlsFault::Legacy(error),
                });
                self.plaintext = plaintext?;
                self.peer_closed = session.peer_closed;
                Ok(())
            }
        }
    }

    fn take_plaintext(&mut self, room: &mut [u8]) -> usize {
        if self.plaintext == 0 || room.is_empty() {
            return 0;
        }
        let mut n = 0;
        match &mut self.session {
            Session::Rustls(connection) => {
                let mut reader = connection.reader();
                while let Ok(k @ 1..) = reader.read(room.split_at_mut(n).1) {
                    n += k;
                    if n == room.len() {
                        break;
                    }
                }
            }
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => n = session.read(room),
        }
        self.plaintext = self.plaintext.saturating_sub(n);
        n
    }

    /// Gives the memory of a large record back.
    fn shrink(&mut self) {
        match &mut self.session {
            // It looks at its buffer only when it reads.
            Session::Rustls(connection) => drop(connection.read_tls(&mut Dry)),
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(_) => {}
        }
    }

    /// Encrypts and writes; gives how many of these octets the system took. The
    /// ciphertext of the others may be under way: they must be what is written
    /// next. Nothing is taken before the opening handshake is finished.
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more.
    pub(in crate::net) fn write(
        &mut self,
        socket: &mut impl Carrier,
        octets: &[u8],
    ) -> io::Result<usize> {
        if !self.flush(socket)? || self.is_handshaking() {
            return Ok(0);
        }
        let mut written = std::mem::take(&mut self.taken);
        loop {
            let (_, rest) = octets.split_at(written.min(octets.len()));
            if rest.is_empty() {
                return Ok(written);
            }
            let n = match &mut self.session {
                Session::Rustls(connection) => connection.writer().write(rest)?,
                #[cfg(feature = "legacy-tls")]
                Session::Legacy(session) => {
                    let (some, _) = rest.split_at(rest.len().min(WRITE));
                    session.write(some).map_err(TlsFault::Legacy)?
                }
            };
            if n == 0 {
                return Ok(written);
            }
            // The keys of TLS 1.2 are used up after 2^24 records: rustls takes
            // octets then, and sends none of them.
            if !self.has_unsent() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if !self.flush(socket)? {
                self.taken = n;
                return Ok(written);
            }
            written += n;
        }
    }

    /// Writes ciphertext that waits; whether the system took all.
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more.
    pub(in crate::net) fn flush(&mut self, socket: &mut impl Carrier) -> io::Result<bool> {
        if let Some(dialled) = &mut self.dialled {
            if !write_all(socket, &mut dialled.introduction)? {
                return Ok(false);
            }
        }
        match &mut self.session {
            Session::Rustls(connection) => {
                while connection.wants_write() {
                    match connection.write_tls(socket) {
                        Ok(0) => return Err(ErrorKind::WriteZero.into()),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => {
                if !write_all(socket, session.unsent())? {
                    return Ok(false);
                }
            }
        }
        if std::mem::take(&mut self.shuts_down) {
            socket.end_writes()?;
        }
        Ok(true)
    }

    /// Sends a close_notify, and ends our side of TCP behind it.
    ///
    /// # Errors
    ///
    /// Where there is no connection any more.
    pub(in crate::net) fn shutdown(&mut self, socket: &mut impl Carrier) -> io::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        match &mut self.session {
            _ if self.withholds_close => {}
            Session::Rustls(connection) => connection.send_close_notify(),
            #[cfg(feature = "legacy-tls")]
            Session::Legacy(session) => session.close(),
        }
        self.shuts_down = true;
        self.flush(socket).map(drop)
    }
}

fn certificate(facts: Facts) -> ShownCertificate {
    ShownCertificate {
        is_self_signed: facts.is_self_issued(),
        names: facts.names,
        not_before: inspect::system_time(facts.not_before),
        not_after: inspect::system_time(facts.not_after),
        last_day: inspect::day(facts.not_after),
        issuer: facts.issuer.text,
    }
}
