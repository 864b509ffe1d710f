//! The socket below TLS, which may block or not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// A socket below TLS.
pub(in crate::net) trait Carrier: Read + Write {
    /// Ends our side of TCP.
    fn end_writes(&self) -> io::Result<()>;
}

impl Carrier for mio::net::TcpStream {
    fn end_writes(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Carrier for std::net::TcpStream {
    fn end_writes(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Reads once: `None` where there is nothing now, 0 octets at the end.
pub(super) fn read_socket(socket: &mut impl Carrier, room: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.read(room) {
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes octets and removes them; whether the system took all.
pub(super) fn write_all(socket: &mut impl Carrier, octets: &mut Vec<u8>) -> io::Result<bool> {
    while !octets.is_empty() {
        match socket.write(octets) {
            Ok(n) => drop(octets.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Has nothing to read.
pub(super) struct Dry;

impl Read for Dry {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}
