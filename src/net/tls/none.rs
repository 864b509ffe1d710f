//! In place of TLS, where its feature is off: there is none.

use std::io;

use crate::net::agreement::{Begun, TlsAgreement, TlsSession};

/// Why TLS has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {}

impl TlsFault {
    pub(in crate::net) fn code(&self) -> &'static str {
        match *self {}
    }

    pub(in crate::net) fn of(_: &io::Error) -> Option<&TlsFault> {
        None
    }
}

/// There is none.
#[derive(Clone, Copy, Debug)]
enum Never {}

/// The certificates of a server.
#[derive(Clone, Debug)]
pub struct ServerTls(Never);

/// Which servers a client trusts.
#[derive(Clone, Debug)]
pub struct ClientTls(Never);

impl ClientTls {
    /// Fails: there is no TLS.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn of_system() -> Result<ClientTls, ClientTlsError> {
        Err(ClientTlsError::Off)
    }
}

/// Why a client cannot speak TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientTlsError {
    /// The feature `tls` is off.
    #[error("this build speaks no TLS; build it with the feature tls")]
    Off,
}

/// TLS on a connection.
#[derive(Debug)]
pub(in crate::net) enum Tls {}

impl Tls {
    pub(in crate::net) fn begin(
        server: &ServerTls,
        _: &[u8],
    ) -> Result<Option<Begun<Tls>>, TlsFault> {
        match server.0 {}
    }

    pub(in crate::net) fn connect(
        client: &ClientTls,
        _: &str,
        _: Vec<u8>,
    ) -> Result<Tls, ClientTlsError> {
        match client.0 {}
    }

    pub(in crate::net) fn receive(&mut self, _: &[u8]) {
        match *self {}
    }

    pub(in crate::net) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn is_truncated(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn agreement(&self) -> Option<TlsAgreement> {
        match *self {}
    }

    pub(in crate::net) fn session(&self) -> Option<TlsSession> {
        match *self {}
    }

    pub(in crate::net) fn advance<S>(&mut self, _: &mut S, _: &mut bool) -> io::Result<bool> {
        match *self {}
    }

    pub(in crate::net) fn take_taken(&mut self) -> usize {
        match *self {}
    }

    pub(in crate::net) fn has_more(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn withhold_close(&mut self) {
        match *self {}
    }

    pub(in crate::net) fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn held(&self) -> usize {
        match *self {}
    }

    pub(in crate::net) fn read<S>(
        &mut self,
        _: &mut S,
        _: &mut [u8],
        _: &mut bool,
        _: bool,
    ) -> io::Result<Option<usize>> {
        match *self {}
    }

    pub(in crate::net) fn write<S>(&mut self, _: &mut S, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::net) fn flush<S>(&mut self, _: &mut S) -> io::Result<bool> {
        match *self {}
    }

    pub(in crate::net) fn shutdown<S>(&mut self, _: &mut S) -> io::Result<()> {
        match *self {}
    }
}
