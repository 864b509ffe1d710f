//! Recorded and specified opening handshakes as cases.

use heirloom::Side;
use heirloom::conform::{CaseResult, PlayOptions};
use heirloom::net::dial::DialError;
use heirloom::net::replay::ReplayConnection;
use heirloom::vector::{Level, Vector};

use super::server::Server;

/// One of them.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) level: Level,
    pub(super) section: String,
    /// The side that must conclude something.
    pub(super) tests: Side,
    pub(super) vector: Vector,
}

/// All of them.
pub(super) fn all() -> Vec<Recorded> {
    Vec::new()
}

impl Recorded {
    /// Plays the client of it to a server.
    pub(super) fn play_to_server(&self, _server: &Server<'_>) -> Result<CaseResult, DialError> {
        todo!()
    }

    /// Plays the server of it to a client.
    pub(super) fn play_to_client(
        &self,
        _connection: ReplayConnection,
        _received: &[u8],
        _options: &PlayOptions,
    ) -> CaseResult {
        todo!()
    }
}
