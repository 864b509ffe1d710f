//! The servers of a backend: which there are, which of them a client gets, and how one
//! is found to be away.

use clap::{Args, ValueEnum};
use heirloom::Version;
use heirloom::net::{Backend, Balance, Check, Url};

use super::units::milliseconds;

/// How the servers of a backend share its clients.
#[derive(Clone, Debug, Args)]
pub(super) struct BackendArgs {
    /// Which of several backends a client gets: the first that can be reached, each in turn, or the
    /// same one for the same address.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = BalanceArg::First,
          help_heading = "Several backends")]
    balance: BalanceArg,
    /// Milliseconds that a backend rests which could not be reached. The time doubles with each
    /// failure that follows, up to a minute. Where all rest, all are tried.
    #[arg(long, value_name = "MS", default_value_t = 1_000,
          value_parser = milliseconds(1..=86_400_000), help_heading = "Several backends")]
    backend_rest_ms: u64,
    /// Milliseconds to reach a backend while another one is left to be tried: to resolve its name, to
    /// connect and to agree on TLS. The last one has the rest of --handshake-timeout-ms.
    #[arg(long, value_name = "MS", default_value_t = 2_000,
          value_parser = milliseconds(1..=86_400_000), help_heading = "Several backends")]
    backend_connect_timeout_ms: u64,
    /// Check backends beside the connections of clients: by a connection of TCP, and of TLS for
    /// wss://, or by an opening handshake.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = CheckArg::Off,
          help_heading = "Several backends")]
    backend_check: CheckArg,
    /// Milliseconds from one check of a backend to the next.
    #[arg(long, value_name = "MS", default_value_t = 5_000,
          value_parser = milliseconds(100..=86_400_000), help_heading = "Several backends")]
    backend_check_interval_ms: u64,
}

/// The longest rest of a backend, unless the first one is longer.
const MOST_REST_MS: u64 = 60_000;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BalanceArg {
    First,
    RoundRobin,
    ClientAddress,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CheckArg {
    Off,
    Tcp,
    Websocket,
}

impl BackendArgs {
    /// The servers at these URLs, which are asked in this version; `None` without one.
    pub(super) fn backend(&self, to: &[Url], version: &'static Version) -> Option<Backend> {
        let mut urls = to.iter().cloned();
        let first = urls.next()?;
        let balance = match self.balance {
            BalanceArg::First => Balance::First,
            BalanceArg::RoundRobin => Balance::RoundRobin,
            BalanceArg::ClientAddress => Balance::ClientAddress,
        };
        let check = match self.backend_check {
            CheckArg::Off => Check::Off,
            CheckArg::Tcp => Check::Tcp,
            CheckArg::Websocket => Check::WebSocket,
        };
        let most_rest_ms = MOST_REST_MS.max(self.backend_rest_ms);
        let backend = Backend::new(first, version)
            .with_targets(urls)
            .with_balance(balance)
            .with_rest_ms(self.backend_rest_ms, most_rest_ms)
            .with_connect_ms(self.backend_connect_timeout_ms)
            .with_check(check, self.backend_check_interval_ms);
        Some(backend)
    }
}
