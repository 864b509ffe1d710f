//! What a server knows of TLS in front of it.

use super::Conn;

impl Conn {
    /// Server: before the request is read, says that the client uses TLS, which
    /// something in front has ended. Its page is of https then, and a Host
    /// without a port means 443.
    pub fn set_secure(&mut self) {
        if let Ok(server) = self.server_handshake() {
            server.set_secure();
        }
    }
}
