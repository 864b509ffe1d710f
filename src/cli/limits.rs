//! The limits by name: those of every connection, and those of a listener.

use clap::Args;
use heirloom::Limits;

/// What one connection may hold and wait for; each number has a bound.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Octets of the peer's head.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().head_bytes,
          value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    max_head_bytes: u32,
    /// Octets of a message, over all its fragments.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().message_bytes,
          value_parser = clap::value_parser!(u64).range(1..=1_073_741_824))]
    max_message_bytes: u64,
    /// Octets that wait for a peer that does not read; above it nothing more is taken that would
    /// add to them, and in a room the peer is dropped.
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576,
          value_parser = clap::value_parser!(u32).range(1024..=1_073_741_824))]
    max_output_bytes: u32,
    /// Milliseconds from the begin of a connection to the end of its handshake.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().handshake_ms,
          value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    handshake_timeout_ms: u64,
    /// Milliseconds from our goodbye to the end.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().close_ms,
          value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    close_timeout_ms: u64,
    /// Milliseconds without progress while output waits.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().write_ms,
          value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    write_timeout_ms: u64,
}

impl LimitArgs {
    pub(super) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.head_bytes = self.max_head_bytes;
        limits.message_bytes = self.max_message_bytes;
        limits.output_bytes = self.max_output_bytes as usize;
        limits.handshake_ms = self.handshake_timeout_ms;
        limits.close_ms = self.close_timeout_ms;
        limits.write_ms = self.write_timeout_ms;
        limits
    }
}

/// What a listener may hold and wait for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct ListenLimitArgs {
    #[command(flatten)]
    each: LimitArgs,
    /// Connections at once; more are told 503.
    #[arg(long, value_name = "COUNT", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    max_connections: u32,
    /// Milliseconds without a sign of the client before we say goodbye; 0 is never.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().idle_ms,
          value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    idle_timeout_ms: u64,
}

impl ListenLimitArgs {
    pub(super) fn limits(&self) -> Limits {
        let mut limits = self.each.limits();
        limits.connections = self.max_connections as usize;
        limits.idle_ms = self.idle_timeout_ms;
        limits
    }
}
