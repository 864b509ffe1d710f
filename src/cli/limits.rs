//! The limits by name: those of every connection, and those of a listener. They
//! take units, such as `16MiB` and `5min`.

use clap::Args;
use heirloom::Limits;
use heirloom::net::Settings;

use super::units::{milliseconds, octets, whole};

/// What one connection may hold and wait for; each number has a bound.
#[derive(Clone, Debug, Args)]
pub(super) struct LimitArgs {
    #[command(flatten)]
    connection: ConnectionLimitArgs,
    #[command(flatten)]
    message: MessageLimitArgs,
}

impl LimitArgs {
    /// What the peer may send.
    pub(super) fn limits(&self) -> Limits {
        self.message.limits(self.connection.limits())
    }

    /// What a connection may hold, and how long it may take.
    pub(super) fn settings(&self) -> Settings {
        self.connection.settings()
    }
}

/// What a message may hold.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct MessageLimitArgs {
    /// Octets of a message, over all its fragments.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().message_bytes,
          value_parser = octets(1_u64..=1_073_741_824))]
    max_message_bytes: u64,
}

impl MessageLimitArgs {
    /// These limits, with that of a message.
    pub(super) fn limits(&self, limits: Limits) -> Limits {
        limits.with_message_bytes(self.max_message_bytes)
    }
}

/// What one connection may hold and wait for, whatever its messages are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct ConnectionLimitArgs {
    /// Octets of the head that the peer sends.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().head_bytes,
          value_parser = octets(64_u32..=1_048_576))]
    max_head_bytes: u32,
    /// Octets that may wait to be sent to one peer. Above it nothing is read that would add to
    /// them, and a subscriber of a topic is disconnected.
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576,
          value_parser = octets(1024_u32..=1_073_741_824))]
    max_output_bytes: u32,
    /// Milliseconds from the start of a connection to the end of its opening handshake.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().handshake_ms,
          value_parser = milliseconds(1..=86_400_000))]
    handshake_timeout_ms: u64,
    /// Milliseconds from our close to the end of the closing handshake.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().close_ms,
          value_parser = milliseconds(1..=86_400_000))]
    close_timeout_ms: u64,
    /// Milliseconds without progress while output waits.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().write_ms,
          value_parser = milliseconds(1..=86_400_000))]
    write_timeout_ms: u64,
}

impl ConnectionLimitArgs {
    /// What the peer may send before its messages.
    fn limits(&self) -> Limits {
        Limits::default().with_head_bytes(self.max_head_bytes)
    }

    /// What a connection may hold, and how long it may take.
    fn settings(&self) -> Settings {
        Settings::default()
            .with_output_bytes(self.max_output_bytes as usize)
            .with_handshake_ms(self.handshake_timeout_ms)
            .with_close_ms(self.close_timeout_ms)
            .with_write_ms(self.write_timeout_ms)
    }
}

/// What a server may hold and wait for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct ListenLimitArgs {
    #[command(flatten)]
    each: ConnectionLimitArgs,
    /// Octets of memory that all connections hold together, half of what the system allows by
    /// default. Above it new connections are refused with 503 and reading pauses; where unfinished
    /// messages hold it, the least active of their connections are closed with 1013.
    #[arg(long, value_name = "BYTES", value_parser = octets(65_536_u64..=1 << 50))]
    max_memory_bytes: Option<u64>,
    /// Connections at the same time; more are refused with 503.
    #[arg(long, value_name = "COUNT", default_value_t = 16_384,
          value_parser = whole(1_u32..=10_000_000))]
    max_connections: u32,
    /// Connections at the same time from one address, or one /64 network of IPv6; more are refused
    /// with 503. Behind --accept-proxy it is the address in the PROXY header. Without it there is
    /// no limit.
    #[arg(long, value_name = "COUNT", value_parser = whole(1_u32..=10_000_000))]
    max_connections_per_address: Option<u32>,
    /// Milliseconds without a sign of life from the client before it is sent a close; 0 is never.
    /// A client whose version has pings is pinged at half of the time. For one without pings,
    /// what it was sent is a sign too, as long as its TCP acknowledges it.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().idle_ms,
          value_parser = milliseconds(0..=86_400_000))]
    idle_timeout_ms: u64,
    /// Milliseconds of silence after which a client whose version has pings is pinged, so that what
    /// lies between keeps the connection open and a client that is gone is found; 0 is never, but
    /// for the ping of --idle-timeout-ms.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().ping_ms,
          value_parser = milliseconds(0..=86_400_000))]
    ping_interval_ms: u64,
    /// Milliseconds in which an unfinished message must grow by 16 KiB or end, before its
    /// connection is closed; 0 is never. A gateway passes messages on as they come and has no such
    /// limit.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().message_ms,
          value_parser = milliseconds(0..=86_400_000))]
    message_timeout_ms: u64,
    /// Milliseconds that connections have to end after TERM before they are closed.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().drain_ms,
          value_parser = milliseconds(1..=86_400_000))]
    drain_timeout_ms: u64,
}

impl ListenLimitArgs {
    /// What a client may send before its messages.
    pub(super) fn limits(&self) -> Limits {
        self.each.limits()
    }

    /// What the server may hold, and how long its connections may take.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = self
            .each
            .settings()
            .with_connections(self.max_connections as usize)
            .with_connections_per_address(self.max_connections_per_address.map(|n| n as usize))
            .with_idle_ms(self.idle_timeout_ms)
            .with_ping_ms(self.ping_interval_ms)
            .with_message_ms(self.message_timeout_ms)
            .with_drain_ms(self.drain_timeout_ms);
        if let Some(octets) = self.max_memory_bytes {
            settings.memory_bytes = usize::try_from(octets).unwrap_or(usize::MAX);
        }
        settings
    }
}
