//! TLS of a server: its certificates, chosen by the name that the client asks for.

use std::sync::Arc;

/// The certificates of a server.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<rustls::ServerConfig>,
}

impl ServerTls {
    pub(in crate::net) fn config(&self) -> &Arc<rustls::ServerConfig> {
        &self.config
    }
}
