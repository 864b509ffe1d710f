//! How connections leave that are to go: after a reload, and when the program is stopped.

use clap::Args;
use heirloom::net::{Reloader, Settings};

use super::units::milliseconds;

/// A day.
const DAY_MS: u64 = 86_400_000;

/// When connections are closed that may not stay.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct DrainArgs {
    /// Milliseconds that connections have left after a reload that has changed their route or taken
    /// it away; then they are closed as their version does, with 1001 where it has codes. 0 lets
    /// them stay until they end.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = milliseconds(0..=DAY_MS))]
    reload_drain_ms: u64,
    /// Milliseconds over which the closes after TERM and those of --reload-drain-ms are spread
    /// evenly, so that clients do not all come back in the same second. --drain-timeout-ms counts from the last of them on.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = milliseconds(0..=DAY_MS))]
    spread_ms: u64,
}

impl DrainArgs {
    /// These settings with the spread of a stop.
    pub(super) fn settings(&self, settings: Settings) -> Settings {
        settings.with_spread_ms(self.spread_ms)
    }

    /// Closes the connections whose routes a reload has changed, where that is asked for. Call it
    /// behind the reload.
    pub(super) fn retire(&self, reloader: &Reloader) {
        if self.reload_drain_ms > 0 {
            reloader.retire(self.reload_drain_ms, self.spread_ms);
        }
    }
}
