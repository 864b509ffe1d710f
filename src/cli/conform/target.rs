//! The server under test.

use std::time::Duration;

use heirloom::conform::PlayOptions;
use heirloom::net::dial::DialTarget;
use heirloom::net::{ClientTls, Url};

use crate::cli::request_args::RequestArgs;

/// The server under test.
pub(super) struct Server<'a> {
    pub(super) url: &'a Url,
    pub(super) target: DialTarget,
    pub(super) tls: Option<&'a ClientTls>,
    pub(super) request: &'a RequestArgs,
    /// How long a connection or a plain opening handshake may take.
    pub(super) patience: Duration,
    pub(super) options: PlayOptions,
    pub(super) jobs: usize,
}
