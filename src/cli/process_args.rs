//! The options of a whole process of `serve` and `gateway`.

use std::thread;

use clap::Args;
use heirloom::Config;
use heirloom::net::Settings;

use super::access::AccessArgs;
use super::admin::AdminArgs;
use super::compression::CompressionMemoryArgs;
use super::draining::DrainArgs;
use super::hint;
use super::limits::ListenLimitArgs;
use super::topics::TopicsArgs;
use super::units::{milliseconds, whole};

/// What a process may hold and wait for, whatever its listeners and routes are.
#[derive(Clone, Debug, Args)]
pub(super) struct ProcessArgs {
    /// Threads, each with a loop of its own; one per core by default.
    #[arg(long, value_name = "N", value_parser = whole(1_u16..=1024),
          help_heading = "Operation")]
    workers: Option<u16>,
    #[command(flatten)]
    compression_memory: CompressionMemoryArgs,
    #[command(flatten)]
    limits: ListenLimitArgs,
    #[command(flatten)]
    pub(super) drain: DrainArgs,
    #[command(flatten)]
    pub(super) admin: AdminArgs,
    #[command(flatten)]
    pub(super) topics: TopicsArgs,
}

/// The same of a gateway.
#[derive(Clone, Debug, Args)]
pub(super) struct GatewayProcessArgs {
    /// Milliseconds without an octet from either end of a connection whose plain HTTP is passed.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().http_ms,
          value_parser = milliseconds(1..=86_400_000), help_heading = "Limits")]
    http_timeout_ms: u64,
    /// Write the line of each connection as JSON.
    #[arg(long, help_heading = "Operation")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    #[command(flatten)]
    pub(super) common: ProcessArgs,
}

impl ProcessArgs {
    /// Its threads.
    pub(super) fn workers(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.workers.map_or_else(cores, usize::from)
    }

    /// The configuration of a request before its route is known, and what all
    /// routes share.
    pub(super) fn config(&self) -> Config {
        Config::default()
            .with_limits(self.limits.limits())
            .with_context_memory(self.compression_memory.context_memory())
            .with_hint(hint::of_refusal)
    }

    /// What of it is in the configuration of each route, as text.
    pub(super) fn of_routes(&self) -> String {
        format!("{:?} {:?}", self.limits.limits(), self.compression_memory)
    }

    /// Its counts and timeouts.
    fn settings(&self) -> Settings {
        let settings = self.limits.settings().with_hint(hint::of_net_refusal);
        self.drain.settings(settings)
    }
}

impl GatewayProcessArgs {
    /// Those of `serve`, which has no others.
    pub(super) fn of_serve(common: ProcessArgs) -> GatewayProcessArgs {
        GatewayProcessArgs {
            http_timeout_ms: Settings::default().http_ms,
            json: false,
            access: AccessArgs::default(),
            common,
        }
    }

    /// Its counts and timeouts.
    pub(super) fn settings(&self) -> Settings {
        self.common.settings().with_http_ms(self.http_timeout_ms)
    }
}
