//! How the side that is played is configured.

use super::{PlayCompression, PlayConfig, Vector};
use crate::conn::{Config, Limits};
use crate::extension::{Compression, Mode};
use crate::version::Versions;

impl Vector {
    /// The configuration of the side that is played: every version on, and what
    /// the vector's own `config` says. Where it says nothing of compression, the
    /// side has that on by which it agrees to the `extensions` that are expected.
    #[must_use]
    pub fn configuration(&self) -> Config {
        let own = self.config.clone().unwrap_or_default();
        let agreed = self.expect.extensions.as_deref();
        let mode = match own.compression {
            Some(PlayCompression::Off) => Mode::Off,
            Some(PlayCompression::Shared) => Mode::Shared,
            Some(PlayCompression::PerConnection) => Mode::PerConnection,
            None => agreed.map_or(Mode::Off, mode_of),
        };
        let mut compression = Compression::default().with_mode(mode);
        if let Some(threshold) = own.compression_threshold {
            compression = compression.with_threshold(threshold as usize);
        }
        let mut limits = Limits::default();
        if let Some(octets) = own.max_message_bytes {
            limits = limits.with_message_bytes(octets);
        }
        Config::default()
            .with_versions(Versions::ALL)
            .with_compression(compression)
            .with_limits(limits)
    }

    /// Sets how many octets a message must have to be compressed.
    pub(super) fn set_compression_threshold(&mut self, octets: Option<u32>) {
        let config = PlayConfig {
            compression_threshold: octets,
            ..self.config.clone().unwrap_or_default()
        };
        self.config = Some(config).filter(|config| *config != PlayConfig::default());
    }
}

/// The mode in which a server agrees to these extensions: without any context
/// that is kept, it shares its compressor.
pub(super) fn mode_of(agreed: &str) -> Mode {
    let has = |name: &str| agreed.split(';').any(|part| part.trim() == name);
    let keeps_none = has("server_no_context_takeover") && has("client_no_context_takeover");
    if keeps_none || has("no_context_takeover") {
        Mode::Shared
    } else {
        Mode::PerConnection
    }
}
