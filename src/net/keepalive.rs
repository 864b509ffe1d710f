//! How TCP finds out that a peer is gone without a word.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// When TCP asks a peer that is silent whether it is still there. A peer that
/// gives no answer was cut off, and its connection ends.
///
/// ```
/// use heirloom::net::Keepalive;
///
/// // A peer that is gone is noticed within two minutes.
/// assert_eq!(Keepalive::default().total_ms(), 120_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// Milliseconds of silence before the first probe.
    pub silence_ms: u64,
    /// Milliseconds between probes.
    pub interval_ms: u64,
    /// Probes without an answer after which the connection ends.
    pub probes: u32,
}

impl Default for Keepalive {
    /// The first probe after a minute, then five more, ten seconds apart.
    fn default() -> Keepalive {
        Keepalive {
            silence_ms: 60_000,
            interval_ms: 10_000,
            probes: 6,
        }
    }
}

impl Keepalive {
    /// Sets the silence before the first probe, in milliseconds.
    #[must_use]
    pub fn with_silence_ms(mut self, ms: u64) -> Keepalive {
        self.silence_ms = ms;
        self
    }

    /// Sets the time between probes, in milliseconds.
    #[must_use]
    pub fn with_interval_ms(mut self, ms: u64) -> Keepalive {
        self.interval_ms = ms;
        self
    }

    /// Sets the number of probes.
    #[must_use]
    pub fn with_probes(mut self, probes: u32) -> Keepalive {
        self.probes = probes;
        self
    }

    /// Milliseconds after which a silent peer is gone.
    #[must_use]
    pub fn total_ms(&self) -> u64 {
        let probing = self.interval_ms.saturating_mul(u64::from(self.probes));
        self.silence_ms.saturating_add(probing)
    }

    /// Sets it for a socket; on a listener, for the connections that it accepts.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn set(keepalive: Option<Keepalive>, socket: SockRef<'_>) -> io::Result<()> {
        let Some(keepalive) = keepalive else {
            return socket.set_keepalive(false);
        };
        // The system counts in seconds and takes no 0.
        let whole = |ms: u64| Duration::from_secs(ms.div_ceil(1000).clamp(1, 32_767));
        let params = TcpKeepalive::new().with_time(whole(keepalive.silence_ms));
        #[cfg(any(target_os = "linux", target_vendor = "apple", windows))]
        let params = params
            .with_interval(whole(keepalive.interval_ms))
            .with_retries(keepalive.probes.clamp(1, 127));
        socket.set_tcp_keepalive(&params)
    }
}

/// Ends a connection whose peer has not acknowledged what it was sent for so
/// long. Systems without this wait as long as they send again.
///
/// # Errors
///
/// What the system says.
pub(super) fn set_user_timeout(socket: SockRef<'_>, ms: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let ms = ms.clamp(1, u64::from(u32::MAX >> 1));
        socket.set_tcp_user_timeout(Some(Duration::from_millis(ms)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, ms);
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_a_listener_has_those_have_that_it_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_user_timeout(SockRef::from(&listener), 12_345).unwrap();
        Keepalive::set(Some(Keepalive::default()), SockRef::from(&listener)).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        let timeout = accepted.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_millis(12_345)));
        assert!(accepted.keepalive().unwrap());
    }
}
