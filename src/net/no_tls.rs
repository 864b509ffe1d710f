//! In place of TLS, where its feature is off: there is none.

use std::io;

use mio::net::TcpStream;

use super::agreement::{Begun, TlsAgreement};

/// Why TLS has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {}

impl TlsFault {
    pub(in crate::net) fn of(_: &io::Error) -> Option<&TlsFault> {
        None
    }
}

/// The certificates of a server.
#[derive(Clone, Debug)]
pub enum ServerTls {}

/// Which servers a client trusts.
#[derive(Clone, Debug)]
pub enum ClientTls {}

/// TLS on a connection.
#[derive(Debug)]
pub(in crate::net) enum Tls {}

impl Tls {
    pub(in crate::net) fn begin(
        server: &ServerTls,
        _: &[u8],
    ) -> Result<Option<Begun<Tls>>, TlsFault> {
        match *server {}
    }

    pub(in crate::net) fn connect(
        client: &ClientTls,
        _: &str,
        _: Vec<u8>,
    ) -> Result<Tls, io::Error> {
        match *client {}
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

    pub(in crate::net) fn has_more(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn held(&self) -> usize {
        match *self {}
    }

    pub(in crate::net) fn read(
        &mut self,
        _: &mut TcpStream,
        _: &mut [u8],
        _: &mut bool,
        _: bool,
    ) -> io::Result<Option<usize>> {
        match *self {}
    }

    pub(in crate::net) fn write(&mut self, _: &mut TcpStream, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::net) fn flush(&mut self, _: &mut TcpStream) -> io::Result<bool> {
        match *self {}
    }

    pub(in crate::net) fn shutdown(&mut self, _: &mut TcpStream) -> io::Result<()> {
        match *self {}
    }
}
