//! What a server may hold and how long it waits: counts in octets or
//! connections, times in milliseconds.

use super::keepalive::Keepalive;
use super::refusal::Hint;
use super::system_memory;

/// How much a server holds for its connections, and how long it waits for them.
/// What one message or head may have is in the [`Limits`](crate::Limits) of a
/// [`Config`](crate::Config).
///
/// ```
/// use heirloom::net::Settings;
///
/// let settings = Settings::default().with_connections(100).with_idle_ms(60_000);
/// assert_eq!(settings.handshake_ms, 10_000);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Octets that wait for a peer that does not read. Above it nothing is read
    /// that would add to them; a subscriber of a topic is disconnected.
    pub output_bytes: usize,
    /// Octets of memory that all connections hold together: messages that are
    /// not finished, input, output that waits, recordings. Above it new
    /// connections are refused with 503, and connections that hold some are not
    /// read. Where messages that are not finished hold it, the least active of
    /// their connections are closed with 1013.
    pub memory_bytes: usize,
    /// Connections at the same time; more are refused with 503.
    pub connections: usize,
    /// Connections at the same time from one address, or from one /64 network of
    /// IPv6; more are refused with 503. Behind a trusted proxy the address is that
    /// of its PROXY header. `None` is no limit.
    pub connections_per_address: Option<usize>,
    /// Milliseconds for the opening handshake, from the connection of TCP on.
    pub handshake_ms: u64,
    /// Milliseconds for the closing handshake, from our close on.
    pub close_ms: u64,
    /// Milliseconds without a sign of life from the client before it gets a
    /// close; 0 is never. A client whose version has pings gets one at half of
    /// the time, and all that it sends is a sign of life. For one without pings
    /// what it was sent is such a sign too, as long as its TCP acknowledges it.
    pub idle_ms: u64,
    /// Milliseconds of silence after which a client whose version has pings gets one;
    /// 0 is none, but for that of the idle timeout. What lies between keeps such a
    /// connection open, and TCP finds out where the client is gone. A ping without
    /// an answer is followed by no other.
    pub ping_ms: u64,
    /// Milliseconds in which a message that is not finished must grow by 16 KiB or
    /// end; its connection is closed otherwise. 0 is no limit. The time that the
    /// server itself does not read does not count, and a bridge has no limit: it
    /// passes on what it gets.
    pub message_ms: u64,
    /// Milliseconds without progress while output waits.
    pub write_ms: u64,
    /// Milliseconds without an octet from either end of a connection whose plain
    /// HTTP goes to a backend.
    pub http_ms: u64,
    /// Milliseconds that connections have to end when the server is stopped; then
    /// they are closed.
    pub drain_ms: u64,
    /// Milliseconds over which the closes are spread when the server is stopped, so
    /// that its clients do not all come back at once; `drain_ms` counts from their
    /// end on.
    pub spread_ms: u64,
    /// How TCP finds out that a peer, client or backend, is gone without a word;
    /// `None` where it does not look.
    pub keepalive: Option<Keepalive>,
    /// A sentence that is added to the text of the server's own refusals, such
    /// as which option of a program sets a limit.
    pub hint: Option<Hint>,
}

impl Default for Settings {
    /// 1 MiB of output, half of the memory that the process may use, 16,384
    /// connections, 10 seconds for the opening handshake, 5 for the closing one, no
    /// idle timeout, a ping after 30 seconds of silence, a minute for 16 KiB of a
    /// message, 30 seconds without progress, 60 of silence where plain HTTP goes to a
    /// backend, closes of a stop that are not spread, 30 seconds from the last of them
    /// to the end, TCP keepalive after a minute of silence.
    ///
    /// The memory that the process may use is the least of physical memory, the
    /// limits of its cgroups, and half of its address space (`RLIMIT_AS`); it is
    /// taken as 1 GiB where the system does not tell.
    fn default() -> Settings {
        Settings {
            output_bytes: 1024 * 1024,
            memory_bytes: system_memory::share(),
            connections: 16_384,
            connections_per_address: None,
            handshake_ms: 10_000,
            close_ms: 5_000,
            idle_ms: 0,
            ping_ms: 30_000,
            message_ms: 60_000,
            write_ms: 30_000,
            http_ms: 60_000,
            drain_ms: 30_000,
            spread_ms: 0,
            keepalive: Some(Keepalive::default()),
            hint: None,
        }
    }
}

impl Settings {
    /// Sets the maximum of unsent octets for each peer.
    #[must_use]
    pub fn with_output_bytes(mut self, octets: usize) -> Settings {
        self.output_bytes = octets;
        self
    }

    /// Sets the maximum of memory that all connections hold together, in octets.
    #[must_use]
    pub fn with_memory_bytes(mut self, octets: usize) -> Settings {
        self.memory_bytes = octets;
        self
    }

    /// Sets the maximum number of connections from one address, or none.
    #[must_use]
    pub fn with_connections_per_address(
        mut self,
        connections: impl Into<Option<usize>>,
    ) -> Settings {
        self.connections_per_address = connections.into();
        self
    }

    /// Sets the maximum number of connections.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Settings {
        self.connections = connections;
        self
    }

    /// Sets the timeout of the opening handshake, in milliseconds.
    #[must_use]
    pub fn with_handshake_ms(mut self, ms: u64) -> Settings {
        self.handshake_ms = ms;
        self
    }

    /// Sets the timeout of the closing handshake, in milliseconds.
    #[must_use]
    pub fn with_close_ms(mut self, ms: u64) -> Settings {
        self.close_ms = ms;
        self
    }

    /// Sets the time, in milliseconds, after which a client that gives no sign of
    /// life gets a close; 0 is never.
    #[must_use]
    pub fn with_idle_ms(mut self, ms: u64) -> Settings {
        self.idle_ms = ms;
        self
    }

    /// Sets the silence, in milliseconds, after which a client is pinged; 0 is never,
    /// but before the idle timeout.
    #[must_use]
    pub fn with_ping_ms(mut self, ms: u64) -> Settings {
        self.ping_ms = ms;
        self
    }

    /// Milliseconds of silence after which a client is pinged.
    pub(super) fn ping_after_ms(&self) -> Option<u64> {
        let before_end = (self.idle_ms > 0).then_some(self.idle_ms / 2);
        let own = (self.ping_ms > 0).then_some(self.ping_ms);
        before_end.into_iter().chain(own).min()
    }

    /// Milliseconds after which TCP ends a connection whose peer has not acknowledged
    /// what it was sent: as long as a silent one is asked, and no less than output
    /// may wait.
    pub(super) fn user_timeout_ms(&self) -> Option<u64> {
        let keepalive_ms = self.keepalive.map(|keepalive| keepalive.total_ms());
        keepalive_ms.map(|ms| ms.max(self.write_ms))
    }

    /// Sets the time, in milliseconds, in which a message that is not finished must
    /// grow by 16 KiB or end; 0 is no limit.
    #[must_use]
    pub fn with_message_ms(mut self, ms: u64) -> Settings {
        self.message_ms = ms;
        self
    }

    /// Sets how long output may wait without progress, in milliseconds.
    #[must_use]
    pub fn with_write_ms(mut self, ms: u64) -> Settings {
        self.write_ms = ms;
        self
    }

    /// Sets how long neither end may send anything where plain HTTP goes to a
    /// backend, in milliseconds.
    #[must_use]
    pub fn with_http_ms(mut self, ms: u64) -> Settings {
        self.http_ms = ms;
        self
    }

    /// Sets the time for connections to end when the server is stopped, in
    /// milliseconds.
    #[must_use]
    pub fn with_drain_ms(mut self, ms: u64) -> Settings {
        self.drain_ms = ms;
        self
    }

    /// Sets the time over which the closes of a stop are spread, in milliseconds.
    #[must_use]
    pub fn with_spread_ms(mut self, ms: u64) -> Settings {
        self.spread_ms = ms;
        self
    }

    /// With this TCP keepalive, or without one.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Settings {
        self.keepalive = keepalive.into();
        self
    }

    /// With this hint added to the server's own refusals.
    #[must_use]
    pub fn with_hint(mut self, hint: Hint) -> Settings {
        self.hint = Some(hint);
        self
    }
}
