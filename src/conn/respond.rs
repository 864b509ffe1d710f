//! The server's end of an opening handshake: what is known of the client besides
//! its request, and the response.

use alloc::sync::Arc;

use super::{Conn, Handshake, State};
use crate::bytes::Output;
use crate::error::{Refusal, Unsendable};
#[cfg(any(feature = "explain", feature = "conform"))]
use crate::extension::{Agreed, Deflate};
use crate::handshake::{HttpResponse, ServerHandshake};

impl Conn {
    /// The server's handshake, while there is one.
    pub(super) fn server_handshake(&mut self) -> Result<&mut ServerHandshake, Unsendable> {
        if let State::Handshake(opening) = &mut self.state {
            if let Handshake::Server(server) = &mut opening.handshake {
                return Ok(server);
            }
        }
        Err(Unsendable::NotOpen)
    }

    /// Server: upgrades. The 101 is written; the connection is open at
    /// [`Event::Open`](super::Event::Open).
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where no request waits for a response,
    /// [`Unsendable::HeaderValue`] where the subprotocol would add a line.
    pub fn accept(
        &mut self,
        subprotocol: Option<&str>,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        self.accept_carrying(subprotocol, &[], out)
    }

    /// Reads on by the compression that a recorded response, or that of a tester,
    /// agrees to, and not by that of a response of ours.
    #[cfg(any(feature = "explain", feature = "conform"))]
    pub(crate) fn read_compressed(&mut self, deflate: Option<Deflate>) {
        if let State::Open(open) = &mut self.state {
            open.wire = open.wire.with_deflate(deflate.map(Agreed::from));
        }
    }

    /// Server: between request and response, sets the URL that the client dialled,
    /// such as `wss://example.com`, where it differs from its Host. hixie clients
    /// compare it. [`Config::public_url`](super::Config::public_url) takes
    /// precedence.
    pub fn set_public_url(&mut self, base: &str) {
        if self.config.public_url.is_none() {
            if let Ok(server) = self.server_handshake() {
                server.set_public_url(base);
            }
        }
    }

    /// Server: before the request is read, says that the client uses TLS, which was
    /// ended here or by something in front. Its page is of https then, a Host
    /// without a port means 443, and it has dialled `wss` where no public URL says
    /// otherwise.
    pub fn set_secure(&mut self) {
        if let Ok(server) = self.server_handshake() {
            server.set_secure();
        }
    }

    /// Server: answers with a refusal, and the connection is over. Writes nothing
    /// once the head of a 101 was written.
    pub fn refuse(&mut self, refusal: Refusal, out: &mut Output<'_>) {
        let config = Arc::clone(&self.config);
        if let Ok(server) = self.server_handshake() {
            server.refuse(refusal, &config, out);
        }
        self.end(false);
    }

    /// Server: answers with these octets, which are no HTTP, and the connection is
    /// over. Writes nothing once a response was begun.
    pub fn answer_otherwise(&mut self, octets: &[u8], out: &mut Output<'_>) {
        if self.server_handshake().is_ok() {
            out.octets.extend_from_slice(octets);
        }
        self.end(false);
    }

    /// Server: answers with another response, and the connection is over.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NotOpen`] where no response can be sent,
    /// [`Unsendable::HeaderValue`] where a header would add a line.
    pub fn respond(
        &mut self,
        response: &HttpResponse<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), Unsendable> {
        self.server_handshake()?.respond(response, out)?;
        self.end(false);
        Ok(())
    }
}
