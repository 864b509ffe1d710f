//! A client that sends a given number of messages or opens a given number of connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::Result;
use crate::generator::{self, Script};

/// A larger batch does not fit into the buffers of a socket, so it is written while its echo is read.
const FITS: usize = 96 * 1024;

/// Open connections. A batch is written in one piece, and the next follows when all echoes have arrived.
pub(crate) struct Batches {
    streams: Vec<TcpStream>,
    batch: Vec<u8>,
    echo: Vec<u8>,
    buffer: Vec<u8>,
}

impl Batches {
    pub(crate) fn open(
        address: SocketAddr,
        script: &Script,
        connections: usize,
        in_flight: usize,
    ) -> Result<Self> {
        let streams = (0..connections)
            .map(|_| generator::open(address, script))
            .collect::<Result<_>>()?;
        let echo = script.echo.repeat(in_flight);
        Ok(Batches {
            streams,
            batch: script.frame.repeat(in_flight),
            buffer: vec![0; echo.len()],
            echo,
        })
    }

    /// One batch on each connection, and every octet of every echo is compared.
    pub(crate) fn round(&mut self) -> Result<()> {
        if self.batch.len() > FITS {
            return self.large_round();
        }
        for stream in &mut self.streams {
            stream.write_all(&self.batch)?;
        }
        for stream in &mut self.streams {
            receive(stream, &mut self.buffer, &self.echo)?;
        }
        Ok(())
    }

    /// One connection after the other, and each is read while it is written.
    fn large_round(&mut self) -> Result<()> {
        let batch = &self.batch;
        for mut stream in &self.streams {
            std::thread::scope(|scope| {
                let writer = scope.spawn(move || stream.write_all(batch));
                receive(stream, &mut self.buffer, &self.echo)?;
                writer.join().map_err(|_| "the writer panicked")??;
                Ok::<_, Box<dyn std::error::Error>>(())
            })?;
        }
        Ok(())
    }
}

fn receive(mut stream: impl Read, buffer: &mut [u8], echo: &[u8]) -> Result<()> {
    stream.read_exact(buffer)?;
    if buffer == echo {
        Ok(())
    } else {
        Err("what comes back is not what was sent".into())
    }
}

/// One connection: connect, upgrade, echo of one message, reset.
pub(crate) fn visit(address: SocketAddr, script: &Script) -> Result<()> {
    let mut stream = generator::open(address, script)?;
    stream.write_all(&script.frame)?;
    receive(&stream, &mut vec![0; script.echo.len()], &script.echo)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}
